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

/* Numbers that hang on the seed alone: floats in -1.43..1.43, bytes, and 0 for other elements. */
static inline void loops_fill(const Buffer *b, void *memory, unsigned seed) {
    int64_t n = b->bytes / elem_size(b->elem);
    for (int64_t i = 0; i < n; i++) {
        if (elem_is_float(b->elem) || b->elem == U8) seed = seed * 1664525u + 1013904223u;
        int number = (int)(seed >> 16) % 2001 - 1000;
        if (b->elem == F32)
            ((float *)memory)[i] = (float)number / 700.f;
        else if (b->elem == F64)
            ((double *)memory)[i] = number / 700.;
        else if (b->elem == U8)
            ((unsigned char *)memory)[i] = (unsigned char)(seed >> 20);
        else
            memset((char *)memory + i * elem_size(b->elem), 0, (size_t)elem_size(b->elem));
    }
}

/* Runs the step with its own buffers (those that the text declares) filled from a seed; returns their memory by buffer id. */
static inline void **loops_run(Arena *a, const Step *s, size_t n_own, int64_t batch) {
    void **memory = arena_make_n(a, void *, s->buffers.n);
    for (size_t i = 0; i < n_own; i++) {
        memory[i] = arena_alloc(a, (size_t)s->buffers.at[i]->bytes + 64);
        loops_fill(s->buffers.at[i], memory[i], (unsigned)i + 7);
    }
    ck_assert(loops_eval(a, s, batch, memory));
    return memory;
}

/* NULL: the step has none of this name. */
static inline Buffer *buffer_named(const Step *s, const char *name) {
    for (size_t i = 0; i < s->buffers.n; i++)
        if (strcmp(s->buffers.at[i]->name, name) == 0) return s->buffers.at[i];
    return NULL;
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
