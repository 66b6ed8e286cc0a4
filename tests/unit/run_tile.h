/*
 * run_tile.h - what the tests of tile share: machines to tile for, a nest before and after compared bit for bit, texts of products.
 */
#ifndef NNC_TESTS_RUN_TILE_H
#define NNC_TESTS_RUN_TILE_H

#include "passes/machine.h"
#include "run_loops.h"

static const Machine machines[] = {
    {.vector_bytes = 64, .vector_registers = 32, .masked = true, .l1 = 32768, .l2 = 1 << 20},
    {.vector_bytes = 32, .vector_registers = 16, .masked = false, .l1 = 32768, .l2 = 1 << 18},
    {.vector_bytes = 64, .vector_registers = 32, .masked = true, .l1 = 1 << 12, .l2 = 1 << 14},
    {.vector_bytes = 4, .vector_registers = 16, .masked = false, .l1 = 1024, .l2 = 4096},
};
enum { N_MACHINES = sizeof machines / sizeof *machines };

static inline int count_marks(const Body *body, Mark mark) {
    int n = 0;
    for (const Stmt *s = body->first; s; s = s->next) n += (s->kind == STMT_FOR && s->mark == mark) + count_marks(&s->body, mark);
    return n;
}

static inline int step_marks(StepNode *const *nodes, size_t n, Mark mark) {
    int sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += count_marks(&nodes[i]->body, mark) + step_marks(nodes[i]->nodes.at, nodes[i]->nodes.n, mark);
    return sum;
}

/* tiled: the nest must have been read as a product, on machines with vectors at least. */
typedef enum Tiled { NOT_TILED, TILED, TILED_VECTORS } Tiled;
static inline void compare(const char *text, int64_t batch, Tiled tiled) {
    for (int m = 0; m < N_MACHINES; m++) {
        Arena *a = arena_new();
        LoopsProgram *plain = loops_read(a, text), *fast = loops_read(a, text);
        Step *before = plain->steps.at[0], *after = fast->steps.at[0];
        size_t own = before->buffers.n;
        PassCtx c = {.arena = a, .diag = diag_new(a), .machine = &machines[m], .verify = true};
        ck_assert(pass_tile(&c, fast));
        const char *why = loops_verify(a, fast, LOOPS_TILED);
        ck_assert_msg(!why, "after tile: %s", why);
        if (tiled == TILED || (tiled && machines[m].vector_bytes > 4))
            ck_assert_msg(step_marks(after->nodes.at, after->nodes.n, MARK_UNROLL) > 0, "not read as a product:\n%s", text);
        ck_assert(pass_vectorize(&c, fast) && pass_parallelize(&c, fast) && pass_barriers(&c, fast));
        why = loops_verify(a, fast, LOOPS_MARKED);
        ck_assert_msg(!why, "after parallelize: %s", why);
        void **want = loops_run(a, before, own, batch), **got = loops_run(a, after, own, batch);
        for (size_t i = 0; i < own; i++) /* scratch of the thread is no result */
            ck_assert_msg(before->buffers.at[i]->place == PLACE_THREAD ||
                              memcmp(want[i], got[i], (size_t)before->buffers.at[i]->bytes) == 0,
                          "machine %d: %%%s differs\n%s", m, before->buffers.at[i]->name, text);
        arena_free(a);
    }
}

/* The text tiled and marked for a machine. */
static inline LoopsProgram *marked_on(Arena *a, const char *text, const Machine *machine) {
    LoopsProgram *p = loops_read(a, text);
    PassCtx c = {.arena = a, .diag = diag_new(a), .machine = machine};
    ck_assert(pass_tile(&c, p) && pass_vectorize(&c, p) && pass_parallelize(&c, p));
    return p;
}

/* ... printed. */
static inline const char *text_on(Arena *a, const char *text, const Machine *machine) {
    Text shown = {0};
    loops_print(marked_on(a, text, machine), LOOPS_MARKED, NULL, &shown, a);
    return text_str(a, &shown);
}

/* For the widest machine. */
static inline LoopsProgram *marked(Arena *a, const char *text) { return marked_on(a, text, &machines[0]); }
static inline const char *marked_text(Arena *a, const char *text) { return text_on(a, text, &machines[0]); }

static inline Body *find_kernel(LoopsProgram *p) { return &p->steps.at[0]->nodes.at[0]->body; }

/* A step of one kernel. */
static inline const char *step_text(Arena *a, const char *buffers, const char *kernel, int64_t bound) {
    return arena_printf(a, "loops lowered\nsource \"nest.nn\" 0x1\n\nstep @f%s {\n%s  kernel @k {\n%s  }\n}\n",
                        bound ? arena_printf(a, " batch B<=%" PRId64, bound) : "", buffers, kernel);
}

/* y[i, j] = result, where s is the sum over k in 0..turns of x * w: matrices of m by n. */
static inline const char *product_text(Arena *a, int m, int n, const char *turns, const char *x, const char *w,
                                       const char *result) {
    return arena_printf(a,
                        "    for i in 0..%d, j in 0..%d {\n      acc s: f32 = 0\n"
                        "      for k in 0..%s { s = fma(%%x[%s], %%w[%s], s) }\n      %%y[i, j] = %s\n    }\n",
                        m, n, turns, x, w, result);
}

/* A step of y = x' @ w, or what `result` makes of its sums s: samples of a batch of up to `bound`, m of x and n of w. */
static inline const char *over_samples_text(Arena *a, int m, int n, const char *result, int64_t bound) {
    const char *buffers =
        arena_printf(a, "  buffer %%x: f32[B, %d]\n  buffer %%w: f32[B, %d]\n  buffer %%y: f32[%d, %d]\n", m, n, m, n);
    return step_text(a, buffers, product_text(a, m, n, "B", "k, i", "k, j", result), bound);
}

#endif
