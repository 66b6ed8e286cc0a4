/*
 * run_loops.h - what tests of lower, fuse, tile and plan share: loops read from text, and a step run by the loops evaluator on tensors,
 * with its results as tensors.
 */
#ifndef NNC_TESTS_RUN_LOOPS_H
#define NNC_TESTS_RUN_LOOPS_H

#include "ir/eval.h"
#include "ir/loops.h"
#include "passes/pipeline.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* Reads a text; a fault in it fails the test. */
static inline LoopsProgram *loops_read(Arena *a, const char *text) {
    LoopsStage stage;
    Diag *d = diag_new(a);
    diag_source(d, "test.loops", text, strlen(text));
    LoopsProgram *p = loops_parse(a, d, "test.loops", text, strlen(text), &stage);
    if (!p || diag_errors(d)) {
        diag_print(d, stderr);
        ck_abort_msg("the text of the test does not parse:\n%s", text);
    }
    return p;
}

/* The buffer in which a slot lies, or NULL if the step does not touch it. */
static inline Buffer *slot_buffer(const Step *s, const Slot *slot) {
    for (size_t i = 0; i < s->buffers.n; i++)
        if (s->buffers.at[i]->slot == slot && !s->buffers.at[i]->same) return s->buffers.at[i];
    return NULL;
}

/* Copies between a tensor and memory that is laid out by the buffer's strides (counted at the bound of the batch). */
static inline void copy_tensor(const Tensor *x, const Buffer *b, char *memory, bool out) {
    int64_t index[MAX_RANK] = {0};
    size_t size = (size_t)elem_size(b->elem);
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = 0;
        for (int k = 0; k < b->rank; k++) at += index[k] * b->stride[k];
        char *element = (char *)x->data + (size_t)i * size, *place = memory + (size_t)at * size;
        memcpy(out ? element : place, out ? place : element, size);
        for (int k = b->rank - 1; k >= 0 && ++index[k] == x->dim[k]; k--) index[k] = 0;
    }
}

/* Runs the step on inputs[i] for parameter i of its function; results as the function has them (the caller releases them), in
 * EVAL_F32's form. */
static inline bool run_step(Arena *a, const Step *s, int64_t batch, Tensor *const *inputs, Tensor **outputs) {
    const Func *f = s->func;
    void **memory = arena_make_n(a, void *, s->buffers.n + 1);
    for (size_t i = 0; i < s->buffers.n; i++) {
        const Buffer *b = s->buffers.at[i];
        if (b->slot && !b->same) memory[i] = arena_alloc(a, (size_t)b->bytes + 64);
    }
    for (size_t i = 0; i < s->buffers.n; i++) {
        Buffer *root = buffer_root(s->buffers.at[i]);
        if (root->slot) memory[i] = memory[root->id];
    }
    for (size_t i = 0; i < f->body->params.n; i++) {
        const Buffer *b = slot_buffer(s, f->in_slots.at[i]);
        if (b) copy_tensor(inputs[i], b, memory[b->id], false);
    }
    if (!loops_eval(a, s, batch, memory)) return false;
    for (size_t i = 0; i < f->body->results.n; i++) {
        const Buffer *b = slot_buffer(s, f->out_slots.at[i]);
        outputs[i] = tensor_new(EVAL_F32, f->body->results.at[i]->type, batch);
        if (b) copy_tensor(outputs[i], b, memory[b->id], true);
        /* a result that is its own parameter unchanged may not be touched at all */
        for (size_t k = 0; k < f->body->params.n && !b; k++)
            if (f->in_slots.at[k] == f->out_slots.at[i])
                memcpy(outputs[i]->data, inputs[k]->data, (size_t)inputs[k]->count * (size_t)elem_size(inputs[k]->elem));
    }
    return true;
}

#endif
