/*
 * test_tile.c - tile, vectorize and parallelize: a nest before and after gives the same bits, for products in every order of operands, batches of products,
 * convolutions, odd sizes and short batches, on machines with wide, narrow and no vectors. The texts use names of their own: the passes read nests.
 */
#include "ir/loops.h"
#include "passes/machine.h"
#include "passes/nest.h"
#include "passes/pipeline.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const Machine machines[] = {
    {.vector_bytes = 64, .vector_registers = 32, .masked = true, .l1 = 32768, .l2 = 1 << 20},
    {.vector_bytes = 32, .vector_registers = 16, .masked = false, .l1 = 32768, .l2 = 1 << 18},
    {.vector_bytes = 64, .vector_registers = 32, .masked = true, .l1 = 1 << 12, .l2 = 1 << 14},
    {.vector_bytes = 4, .vector_registers = 16, .masked = false, .l1 = 1024, .l2 = 4096},
};
enum { N_MACHINES = sizeof machines / sizeof *machines };

static LoopsProgram *read(Arena *a, const char *text) {
    Diag *d = diag_new(a);
    LoopsStage stage;
    LoopsProgram *p = loops_parse(a, d, "nest.loops", text, strlen(text), &stage);
    if (!p || diag_errors(d)) {
        diag_print(d, stderr);
        ck_abort_msg("the test's own text cannot be read:\n%s", text);
    }
    return p;
}

static unsigned lcg(unsigned *state) { return *state = *state * 1664525u + 1013904223u; }

static void fill(const Buffer *b, void *memory, unsigned seed) {
    int64_t n = b->bytes / elem_size(b->elem);
    for (int64_t i = 0; i < n; i++) {
        if (b->elem == F32) ((float *)memory)[i] = (float)((int)(lcg(&seed) >> 16) % 2001 - 1000) / 700.f;
        else if (b->elem == U8) ((unsigned char *)memory)[i] = (unsigned char)(lcg(&seed) >> 20);
        else memset((char *)memory + i * elem_size(b->elem), 0, (size_t)elem_size(b->elem));
    }
}

static int count_marks(const Body *body, Mark mark) {
    int n = 0;
    for (const Stmt *s = body->first; s; s = s->next) n += (s->kind == STMT_FOR && s->mark == mark) + count_marks(&s->body, mark);
    return n;
}

static int step_marks(StepNode *const *nodes, size_t n, Mark mark) {
    int sum = 0;
    for (size_t i = 0; i < n; i++) sum += count_marks(&nodes[i]->body, mark) + step_marks(nodes[i]->nodes.at, nodes[i]->nodes.n, mark);
    return sum;
}

/* Runs the step with its own buffers (those that the text declares) filled from a seed; returns their memory by buffer id. */
static void **run(Arena *a, const Step *s, size_t n_own, int64_t batch) {
    void **memory = arena_make_n(a, void *, s->buffers.n);
    for (size_t i = 0; i < n_own; i++) {
        memory[i] = arena_alloc(a, (size_t)s->buffers.at[i]->bytes + 64);
        fill(s->buffers.at[i], memory[i], (unsigned)i + 7);
    }
    ck_assert(loops_eval(a, s, batch, memory));
    return memory;
}

/* tiled: the nest must have been read as a product. */
static void compare(const char *text, int64_t batch, bool tiled) {
    for (int m = 0; m < N_MACHINES; m++) {
        Arena *a = arena_new();
        LoopsProgram *plain = read(a, text), *fast = read(a, text);
        Step *before = plain->steps.at[0], *after = fast->steps.at[0];
        size_t own = before->buffers.n;
        PassCtx c = {.arena = a, .diag = diag_new(a), .machine = &machines[m], .verify = true};
        ck_assert(pass_tile(&c, fast));
        const char *why = loops_verify(a, fast, LOOPS_TILED);
        ck_assert_msg(!why, "after tile: %s", why);
        if (tiled) ck_assert_msg(step_marks(after->nodes.at, after->nodes.n, MARK_UNROLL) > 0, "not read as a product:\n%s", text);
        ck_assert(pass_vectorize(&c, fast) && pass_parallelize(&c, fast) && pass_barriers(&c, fast));
        why = loops_verify(a, fast, LOOPS_MARKED);
        ck_assert_msg(!why, "after parallelize: %s", why);
        void **want = run(a, before, own, batch), **got = run(a, after, own, batch);
        for (size_t i = 0; i < own; i++)
            ck_assert_msg(memcmp(want[i], got[i], (size_t)before->buffers.at[i]->bytes) == 0, "machine %d: %%%s differs\n%s", m,
                          before->buffers.at[i]->name, text);
        arena_free(a);
    }
}

/* A step of one kernel. */
static const char *step_text(Arena *a, const char *buffers, const char *kernel, int64_t bound) {
    return arena_printf(a, "loops lowered\nsource \"nest.nn\" 0x1\n\nstep @f%s {\n%s  kernel @k {\n%s  }\n}\n",
                        bound ? arena_printf(a, " batch B<=%" PRId64, bound) : "", buffers, kernel);
}

START_TEST(products) {
    static const int sizes[][3] = {{1, 1, 1}, {1, 16, 8}, {3, 5, 7}, {14, 32, 9}, {13, 33, 4}, {28, 48, 1}, {29, 10, 31}, {64, 17, 64}, {7, 100, 3}};
    static const char *orders[] = {"x[i, k], w[k, j]", "x[k, i], w[k, j]", "x[i, k], w[j, k]", "x[k, i], w[j, k]"};
    const int *s = sizes[_i % 9];
    const char *order = orders[_i / 9];
    Arena *a = arena_new();
    bool xt = order[2] == 'k', wt = strstr(order, "w[j") != NULL;
    const char *buffers = arena_printf(a, "  buffer %%x: f32[%d, %d]\n  buffer %%w: f32[%d, %d]\n  buffer %%b: f32[%d]\n  buffer %%y: f32[%d, %d]\n",
                                       xt ? s[2] : s[0], xt ? s[0] : s[2], wt ? s[1] : s[2], wt ? s[2] : s[1], s[1], s[0], s[1]);
    const char *kernel = arena_printf(a,
                                      "    for i in 0..%d, j in 0..%d {\n      acc s: f32 = 0\n      for k in 0..%d { s = fma(%%x[%s], %%w[%s], s) }\n"
                                      "      let t: f32 = add(s, %%b[j])\n      %%y[i, j] = max(0, t)\n    }\n",
                                      s[0], s[1], s[2], xt ? "k, i" : "i, k", wt ? "j, k" : "k, j");
    compare(step_text(a, buffers, kernel, 0), 1, true);
    arena_free(a);
}
END_TEST

/* Rows and panels packed, a row of tiles at a time: whole tiles and what is left, both ways. */
START_TEST(rows_that_are_neighbours) {
    Arena *a = arena_new();
    int m = _i % 2 ? 45 : 56, n = _i / 2 ? 70 : 96;
    const char *buffers = arena_printf(a, "  buffer %%x: f32[B, %d]\n  buffer %%d: f32[B, %d]\n  buffer %%y: f32[%d, %d]\n", m, n, m, n);
    const char *kernel = arena_printf(a,
                                      "    for i in 0..%d, j in 0..%d {\n      acc s: f32 = 0\n      for k in 0..B { s = fma(%%x[k, i], %%d[k, j], s) }\n"
                                      "      let t: f32 = mul(s, 2)\n      %%y[i, j] = t\n    }\n",
                                      m, n);
    compare(step_text(a, buffers, kernel, 90), 90 - _i, true);
    arena_free(a);
}
END_TEST

/* Rows that lie 4096 bytes apart are packed in front. */
START_TEST(rows_that_collide) {
    Arena *a = arena_new();
    int m = _i % 2 ? 45 : 56, n = _i / 2 ? 200 : 192;
    const char *buffers = arena_printf(a, "  buffer %%x: f32[%d, 53] stride [1024, 1]\n  buffer %%w: f32[53, %d]\n  buffer %%y: f32[%d, %d]\n", m, n, m, n);
    const char *kernel = arena_printf(a, "    for i in 0..%d, j in 0..%d {\n      acc s: f32 = 0\n      for k in 0..53 { s = fma(%%x[i, k], %%w[k, j], s) }\n"
                                         "      %%y[i, j] = s\n    }\n", m, n);
    compare(step_text(a, buffers, kernel, 0), 1, true);
    arena_free(a);
}
END_TEST

START_TEST(short_batches) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %in: u8[B, 30]\n  buffer %w: f32[30, 40]\n  buffer %y: f32[B, 40]\n";
    const char *kernel = "    for n in 0..B, o in 0..40 {\n      acc s: f32 = 0\n      for k in 0..30 { s = fma(div(f32 convert(%in[n, k]), 255), %w[k, o], s) }\n"
                         "      %y[n, o] = tanh(s)\n    }\n";
    compare(step_text(a, buffers, kernel, 37), _i, true);
    arena_free(a);
}
END_TEST

START_TEST(weight_update_in_the_epilogue) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: f32[B, 20]\n  buffer %d: f32[B, 33]\n  buffer %w: f32[20, 33]\n  buffer %v: f32[20, 33]\n"
                          "  buffer %lr: f32\n";
    const char *kernel = "    let rate: f32 = %lr\n    for i in 0..20, j in 0..33 {\n      acc g: f32 = 0\n      for n in 0..B { g = fma(%x[n, i], %d[n, j], g) }\n"
                         "      let m: f32 = add(mul(0.9, %v[i, j]), g)\n      %v[i, j] = m\n      %w[i, j] = sub(%w[i, j], mul(rate, m))\n    }\n";
    compare(step_text(a, buffers, kernel, 19), _i, true);
    arena_free(a);
}
END_TEST

START_TEST(batched_product_with_odd_names) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %p: f32[3, 5, 11, 8]\n  buffer %q: f32[3, 5, 13, 8]\n  buffer %r: f32[3, 5, 11, 13]\n";
    const char *kernel = "    for z in 0..3, h in 0..5, t in 0..11, u in 0..13 {\n      acc e: f32 = 0\n      for c in 0..8 { e = fma(%p[z, h, t, c], %q[z, h, u, c], e) }\n"
                         "      %r[z, h, t, u] = e\n    }\n";
    compare(step_text(a, buffers, kernel, 0), 1, true);
    arena_free(a);
}
END_TEST

START_TEST(convolution_is_a_nest_of_seven) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %a: f32[B, 9, 10, 3]\n  buffer %w: f32[3, 3, 3, 20]\n  buffer %b: f32[20]\n  buffer %h: f32[B, 7, 8, 20]\n";
    const char *kernel = "    for n in 0..B, y in 0..7, x in 0..8, c in 0..20 {\n      acc s: f32 = 0\n      for p in 0..3, q in 0..3, d in 0..3 { s = fma(%a[n, y + p, x + q, d], %w[p, q, d, c], s) }\n"
                         "      %h[n, y, x, c] = max(0, add(s, %b[c]))\n    }\n";
    compare(step_text(a, buffers, kernel, 5), _i, true);
    arena_free(a);
}
END_TEST

START_TEST(matrix_times_vector_stays_right) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %w: f32[20, 33]\n  buffer %x: f32[33]\n  buffer %y: f32[20]\n";
    const char *kernel = "    for i in 0..20 {\n      acc s: f32 = 0\n      for k in 0..33 { s = fma(%w[i, k], %x[k], s) }\n      %y[i] = s\n    }\n";
    compare(step_text(a, buffers, kernel, 0), 1, false);
    arena_free(a);
}
END_TEST

START_TEST(sums_and_elements) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: f32[B, 37]\n  buffer %m: f32[37]\n  buffer %r: f32[B]\n  buffer %y: f32[B, 37]\n";
    const char *kernel = "    for j in 0..37 {\n      acc s: f32 = 0\n      for n in 0..B { s = add(s, %x[n, j]) }\n      %m[j] = s\n    }\n"
                         "    for n in 0..B {\n      acc l: f32[16] = 0\n      for k in 0..3 {\n        for i in 0..min(16, 37 - 16 * k) { l[i] = add(l[i], %x[n, 16 * k + i]) }\n      }\n"
                         "      let t: f32 = tree(add, l)\n      %r[n] = t\n      for j in 0..37 { %y[n, j] = exp(sub(%x[n, j], t)) }\n    }\n";
    compare(step_text(a, buffers, kernel, 23), _i, false);
    arena_free(a);
}
END_TEST

static Body *find_kernel(LoopsProgram *p) { return &p->steps.at[0]->nodes.at[0]->body; }

START_TEST(long_kernels_are_shared) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: f32[300000]\n  buffer %y: f32[300000]\n";
    const char *text = step_text(a, buffers, "    for i in 0..300000 { %y[i] = tanh(%x[i]) }\n", 0);
    compare(text, 1, false);
    LoopsProgram *p = read(a, text);
    PassCtx c = {.arena = a, .diag = diag_new(a), .machine = &machines[0]};
    ck_assert(pass_tile(&c, p) && pass_vectorize(&c, p) && pass_parallelize(&c, p));
    ck_assert_int_eq(count_marks(find_kernel(p), MARK_PARALLEL), 1);
    ck_assert_int_eq(count_marks(find_kernel(p), MARK_VECTOR), 1);
    ck_assert_int_gt((int)p->steps.at[0]->threads, 1);
    arena_free(a);
}
END_TEST

START_TEST(carried_turns_are_not_shared) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: f32[300001]\n";
    const char *text = step_text(a, buffers, "    for i in 0..300000 { %x[i + 1] = tanh(%x[i]) }\n", 0);
    compare(text, 1, false);
    LoopsProgram *p = read(a, text);
    PassCtx c = {.arena = a, .diag = diag_new(a), .machine = &machines[0]};
    ck_assert(pass_tile(&c, p) && pass_vectorize(&c, p) && pass_parallelize(&c, p));
    ck_assert_int_eq(count_marks(find_kernel(p), MARK_PARALLEL) + count_marks(find_kernel(p), MARK_VECTOR), 0);
    arena_free(a);
}
END_TEST

Suite *tile_suite(void);
Suite *tile_suite(void) {
    Suite *s = suite_create("tile");
    TCase *t = tcase_create("tile");
    tcase_add_loop_test(t, products, 0, 36);
    tcase_add_loop_test(t, short_batches, 1, 38);
    tcase_add_loop_test(t, rows_that_are_neighbours, 0, 4);
    tcase_add_loop_test(t, rows_that_collide, 0, 4);
    tcase_add_loop_test(t, weight_update_in_the_epilogue, 1, 20);
    tcase_add_test(t, batched_product_with_odd_names);
    tcase_add_loop_test(t, convolution_is_a_nest_of_seven, 1, 6);
    tcase_add_test(t, matrix_times_vector_stays_right);
    tcase_add_loop_test(t, sums_and_elements, 1, 24);
    tcase_add_test(t, long_kernels_are_shared);
    tcase_add_test(t, carried_turns_are_not_shared);
    suite_add_tcase(s, t);
    return s;
}
