/*
 * run_graph.h - what tests of graph passes share: a function read from text, inputs drawn from a seed, the evaluator run on them.
 */
#ifndef NNC_TESTS_RUN_GRAPH_H
#define NNC_TESTS_RUN_GRAPH_H

#include "ir/eval.h"
#include "ir/graph.h"
#include "passes/machine.h"
#include "passes/pipeline.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64 */
static inline uint64_t draw(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
static inline double draw_real(uint64_t *state, double low, double high) {
    return low + (high - low) * (double)(draw(state) >> 11) * 0x1p-53;
}

typedef struct TestGraph {
    Arena *a;
    Diag *d;
    Module *m;
    Func *f; /* the first function */
    Stage stage;
    PassCtx c;
} TestGraph;

static inline void test_verify(const TestGraph *g, const char *after) {
    const char *why = graph_verify(g->a, g->m, g->stage);
    ck_assert_msg(why == NULL, "after %s: %s", after, why);
}

/* Reads a text; a fault in it fails the test. */
static inline TestGraph test_read(const char *text) {
    TestGraph g = {.a = arena_new()};
    g.d = diag_new(g.a);
    diag_source(g.d, "test.graph", text, strlen(text));
    g.m = graph_parse(g.a, g.d, "test.graph", text, strlen(text), &g.stage);
    if (!g.m) {
        diag_print(g.d, stderr);
        ck_abort_msg("the text of the test does not parse:\n%s", text);
    }
    g.f = g.m->funcs.at[0];
    g.c = (PassCtx){.arena = g.a, .diag = g.d};
    test_verify(&g, "reading");
    return g;
}

static inline const char *test_text(const TestGraph *g) {
    Text t = {0};
    graph_print(g->m, g->stage, NULL, &t, g->a);
    return text_str(g->a, &t);
}

/* The graph behind `fuse`, for a machine or none in particular (NULL). */
static inline TestGraph test_fused(const char *text, const Machine *machine) {
    TestGraph g = test_read(text);
    g.c.machine = machine;
    ck_assert(pass_fuse(&g.c, g.m));
    g.stage = STAGE_FUSED;
    test_verify(&g, "fuse");
    return g;
}

/* Ops of the block and of those in it. */
static inline int test_count_ops(const Block *b, OpCode code) {
    int n = 0;
    for (const Op *op = b->first; op; op = op->next) {
        n += op->code == code;
        for (int k = 0; k < op->n_blocks; k++) n += test_count_ops(op->blocks[k], code);
    }
    return n;
}

/* Floats in [low, high), integers in [0, below), bools. */
static inline Tensor *test_draw(EvalType type, const Type *t, int64_t B, uint64_t *seed, double low, double high, int64_t below) {
    Tensor *x = tensor_new(type, t, B);
    ck_assert_ptr_nonnull(x);
    for (int64_t i = 0; i < x->count; i++) {
        if (elem_is_float(t->elem))
            tensor_set(x, i, draw_real(seed, low, high));
        else if (t->elem == BOOL)
            tensor_set(x, i, (double)(draw(seed) & 1));
        else
            tensor_set(x, i, (double)(draw(seed) % (uint64_t)below));
    }
    return x;
}

static inline void test_run(const TestGraph *g, EvalType type, int64_t B, Tensor *const *in, Tensor **out) {
    Arena *a = arena_new();
    EvalFault fault;
    bool ok = eval_func(a, g->f, type, B, in, out, &fault);
    ck_assert_msg(ok, "the run stopped: %s, at %s", fault.text, fault.op ? op_text(g->a, fault.op) : "?");
    arena_free(a);
}

#endif
