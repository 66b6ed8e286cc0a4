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
        if (b->elem == F32)
            ((float *)memory)[i] = (float)((int)(lcg(&seed) >> 16) % 2001 - 1000) / 700.f;
        else if (b->elem == U8)
            ((unsigned char *)memory)[i] = (unsigned char)(lcg(&seed) >> 20);
        else
            memset((char *)memory + i * elem_size(b->elem), 0, (size_t)elem_size(b->elem));
    }
}

static int count_marks(const Body *body, Mark mark) {
    int n = 0;
    for (const Stmt *s = body->first; s; s = s->next) n += (s->kind == STMT_FOR && s->mark == mark) + count_marks(&s->body, mark);
    return n;
}

static int step_marks(StepNode *const *nodes, size_t n, Mark mark) {
    int sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += count_marks(&nodes[i]->body, mark) + step_marks(nodes[i]->nodes.at, nodes[i]->nodes.n, mark);
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

/* tiled: the nest must have been read as a product, on machines with vectors at least. */
typedef enum Tiled { NOT_TILED, TILED, TILED_VECTORS } Tiled;
static void compare(const char *text, int64_t batch, Tiled tiled) {
    for (int m = 0; m < N_MACHINES; m++) {
        Arena *a = arena_new();
        LoopsProgram *plain = read(a, text), *fast = read(a, text);
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
    static const int sizes[][3] = {{1, 1, 1},   {1, 16, 8},   {3, 5, 7},    {14, 32, 9}, {13, 33, 4},
                                   {28, 48, 1}, {29, 10, 31}, {64, 17, 64}, {7, 100, 3}};
    static const char *orders[] = {"x[i, k], w[k, j]", "x[k, i], w[k, j]", "x[i, k], w[j, k]", "x[k, i], w[j, k]"};
    const int *s = sizes[_i % 9];
    const char *order = orders[_i / 9];
    Arena *a = arena_new();
    bool xt = order[2] == 'k', wt = strstr(order, "w[j") != NULL;
    const char *buffers = arena_printf(
        a, "  buffer %%x: f32[%d, %d]\n  buffer %%w: f32[%d, %d]\n  buffer %%b: f32[%d]\n  buffer %%y: f32[%d, %d]\n",
        xt ? s[2] : s[0], xt ? s[0] : s[2], wt ? s[1] : s[2], wt ? s[2] : s[1], s[1], s[0], s[1]);
    const char *kernel = arena_printf(
        a,
        "    for i in 0..%d, j in 0..%d {\n      acc s: f32 = 0\n      for k in 0..%d { s = fma(%%x[%s], %%w[%s], s) }\n"
        "      let t: f32 = add(s, %%b[j])\n      %%y[i, j] = max(0, t)\n    }\n",
        s[0], s[1], s[2], xt ? "k, i" : "i, k", wt ? "j, k" : "k, j");
    compare(step_text(a, buffers, kernel, 0), 1, TILED);
    arena_free(a);
}
END_TEST

/* Rows and panels packed, a row of tiles at a time: whole tiles and what is left, both ways. */
START_TEST(rows_that_are_neighbours) {
    Arena *a = arena_new();
    int m = _i % 2 ? 45 : 56, n = _i / 2 ? 70 : 96;
    const char *buffers =
        arena_printf(a, "  buffer %%x: f32[B, %d]\n  buffer %%d: f32[B, %d]\n  buffer %%y: f32[%d, %d]\n", m, n, m, n);
    const char *kernel = arena_printf(
        a,
        "    for i in 0..%d, j in 0..%d {\n      acc s: f32 = 0\n      for k in 0..B { s = fma(%%x[k, i], %%d[k, j], s) }\n"
        "      let t: f32 = mul(s, 2)\n      %%y[i, j] = t\n    }\n",
        m, n);
    compare(step_text(a, buffers, kernel, 90), 90 - _i, TILED);
    arena_free(a);
}
END_TEST

/* Rows that lie 4096 bytes apart are packed in front. */
START_TEST(rows_that_collide) {
    Arena *a = arena_new();
    int m = _i % 2 ? 45 : 56, n = _i / 2 ? 200 : 192;
    const char *buffers = arena_printf(
        a, "  buffer %%x: f32[%d, 53] stride [1024, 1]\n  buffer %%w: f32[53, %d]\n  buffer %%y: f32[%d, %d]\n", m, n, m, n);
    const char *kernel = arena_printf(
        a,
        "    for i in 0..%d, j in 0..%d {\n      acc s: f32 = 0\n      for k in 0..53 { s = fma(%%x[i, k], %%w[k, j], s) }\n"
        "      %%y[i, j] = s\n    }\n",
        m, n);
    compare(step_text(a, buffers, kernel, 0), 1, TILED);
    arena_free(a);
}
END_TEST

START_TEST(short_batches) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %in: u8[B, 30]\n  buffer %w: f32[30, 40]\n  buffer %y: f32[B, 40]\n";
    const char *kernel = "    for n in 0..B, o in 0..40 {\n      acc s: f32 = 0\n      for k in 0..30 { s = fma(div(f32 "
                         "convert(%in[n, k]), 255), %w[k, o], s) }\n"
                         "      %y[n, o] = tanh(s)\n    }\n";
    compare(step_text(a, buffers, kernel, 37), _i, TILED);
    arena_free(a);
}
END_TEST

START_TEST(weight_update_in_the_epilogue) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: f32[B, 20]\n  buffer %d: f32[B, 33]\n  buffer %w: f32[20, 33]\n  buffer %v: f32[20, 33]\n"
                          "  buffer %lr: f32\n";
    const char *kernel = "    let rate: f32 = %lr\n    for i in 0..20, j in 0..33 {\n      acc g: f32 = 0\n      for n in 0..B { "
                         "g = fma(%x[n, i], %d[n, j], g) }\n"
                         "      let m: f32 = add(mul(0.9, %v[i, j]), g)\n      %v[i, j] = m\n      %w[i, j] = sub(%w[i, j], "
                         "mul(rate, m))\n    }\n";
    compare(step_text(a, buffers, kernel, 19), _i, TILED);
    arena_free(a);
}
END_TEST

START_TEST(batched_product_with_odd_names) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %p: f32[3, 5, 11, 8]\n  buffer %q: f32[3, 5, 13, 8]\n  buffer %r: f32[3, 5, 11, 13]\n";
    const char *kernel = "    for z in 0..3, h in 0..5, t in 0..11, u in 0..13 {\n      acc e: f32 = 0\n      for c in 0..8 { e "
                         "= fma(%p[z, h, t, c], %q[z, h, u, c], e) }\n"
                         "      %r[z, h, t, u] = e\n    }\n";
    compare(step_text(a, buffers, kernel, 0), 1, TILED);
    arena_free(a);
}
END_TEST

START_TEST(convolution_is_a_nest_of_seven) {
    Arena *a = arena_new();
    const char *buffers =
        "  buffer %a: f32[B, 9, 10, 3]\n  buffer %w: f32[3, 3, 3, 20]\n  buffer %b: f32[20]\n  buffer %h: f32[B, 7, 8, 20]\n";
    const char *kernel = "    for n in 0..B, y in 0..7, x in 0..8, c in 0..20 {\n      acc s: f32 = 0\n      for p in 0..3, q in "
                         "0..3, d in 0..3 { s = fma(%a[n, y + p, x + q, d], %w[p, q, d, c], s) }\n"
                         "      %h[n, y, x, c] = max(0, add(s, %b[c]))\n    }\n";
    compare(step_text(a, buffers, kernel, 5), _i, TILED);
    arena_free(a);
}
END_TEST

/* ---- pieces of long chains: they are cut every 64 here, which the passes read from the nest ---- */

/* The batch is summed over: rows and columns in every order of memory, chunks of rows and of columns, whole blocks and short ones. */
START_TEST(pieces_of_products) {
    static const int sizes[][2] = {{1, 16}, {5, 7}, {15, 70}, {33, 10}, {230, 3}};
    static const char *orders[] = {"x[k, i], d[k, j]", "x[i, k], d[k, j]", "x[k, i], d[j, k]", "x[i, k], d[j, k]"};
    static const int batches[] = {200, 130, 129, 64, 3, 1};
    int m = sizes[_i % 5][0], n = sizes[_i % 5][1];
    const char *order = orders[_i / 5];
    Arena *a = arena_new();
    bool xt = order[2] == 'k', dt = strstr(order, "d[j") == NULL;
    const char *buffers = arena_printf(a, "  buffer %%x: f32[%s]\n  buffer %%d: f32[%s]\n  buffer %%p: f32[4, %d, %d]\n",
                                       xt ? arena_printf(a, "B, %d", m) : arena_printf(a, "%d, 200", m),
                                       dt ? arena_printf(a, "B, %d", n) : arena_printf(a, "%d, 200", n), m, n);
    const char *kernel = arena_printf(
        a,
        "    index q = (B + 63) / 64\n    for piece in 0..min(q, 4), i in 0..%d, j in 0..%d {\n      acc s: f32 = 0\n"
        "      for k in 64*piece..min(B, 64*piece + 64) { s = fma(%%x[%.4s], %%d[%.4s], s) }\n      %%p[piece, i, j] = s\n    "
        "}\n",
        m, n, order + 2, strstr(order, "d[") + 2);
    Tiled tiled = dt ? TILED : m > 1 ? TILED_VECTORS : NOT_TILED;
    for (int b = _i % 3; b < 6; b += m > 100 ? 4 : 2) compare(step_text(a, buffers, kernel, 200), batches[b], tiled);
    arena_free(a);
}
END_TEST

/* Rows are the batch: as many as there are; the chain has a fixed length. */
START_TEST(pieces_with_short_batches) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: u8[B, 150]\n  buffer %w: f32[150, 40]\n  buffer %p: f32[3, B, 40]\n";
    const char *kernel = "    for piece in 0..3, n in 0..B, o in 0..40 {\n      acc s: f32 = 0\n"
                         "      for k in 64*piece..min(150, 64*piece + 64) { s = fma(div(f32 convert(%x[n, k]), 255), %w[k, o], "
                         "s) }\n      %p[piece, n, o] = s\n    }\n";
    compare(step_text(a, buffers, kernel, 37), _i, TILED);
    arena_free(a);
}
END_TEST

/* Several axes are one chain, cut in the middle of rows: a weight gradient. */
START_TEST(pieces_of_convolutions) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: f32[B, 9, 10, 6]\n  buffer %d: f32[B, 7, 8, 20]\n  buffer %p: f32[6, 3, 3, 6, 20]\n";
    const char *kernel =
        "    index q = (56*B + 63) / 64\n    for piece in 0..min(q, 6), p in 0..3, r in 0..3, c in 0..6, o in 0..20 {\n"
        "      index begin = max(i64(0), floor_div(i64(64*piece), i64(56)))\n      index stop = floor_div(i64(64*piece + 63), "
        "i64(56))\n"
        "      acc s: f32 = 0\n      for n in begin..min(B, stop + 1) {\n"
        "        index begin.1 = max(i64(0), floor_div(i64(64*piece - 56*n), i64(8)))\n        index stop.1 = "
        "floor_div(i64(64*piece - 56*n + 63), i64(8))\n"
        "        for y in begin.1..min(7, stop.1 + 1) {\n          index begin.2 = max(i64(0), i64(64*piece - 56*n - 8*y))\n"
        "          for z in begin.2..min(8, 64*piece - 56*n - 8*y + 64) { s = fma(%x[n, p + y, r + z, c], %d[n, y, z, o], s) }\n "
        "       }\n      }\n"
        "      %p[piece, p, r, c, o] = s\n    }\n";
    compare(step_text(a, buffers, kernel, 6), _i, TILED);
    arena_free(a);
}
END_TEST

/* A long chain of a convolution forward: its weights are packed for all pieces at once. */
START_TEST(pieces_of_fixed_length) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: f32[B, 9, 30]\n  buffer %w: f32[3, 30, 40]\n  buffer %p: f32[2, B, 7, 40]\n";
    const char *kernel = "    for piece in 0..2, n in 0..B, y in 0..7, o in 0..40 {\n      index begin = max(i64(0), "
                         "floor_div(i64(64*piece), i64(30)))\n"
                         "      index stop = floor_div(i64(64*piece + 63), i64(30))\n      acc s: f32 = 0\n      for p in "
                         "begin..min(3, stop + 1) {\n"
                         "        index begin.1 = max(i64(0), i64(64*piece - 30*p))\n"
                         "        for c in begin.1..min(30, 64*piece - 30*p + 64) { s = fma(%x[n, y + p, c], %w[p, c, o], s) }\n "
                         "     }\n      %p[piece, n, y, o] = s\n    }\n";
    compare(step_text(a, buffers, kernel, 6), _i, TILED);
    arena_free(a);
}
END_TEST

/* Pieces added up: lanes along the results, turns shared. */
START_TEST(trees_of_pieces) {
    Arena *a = arena_new();
    const char *text[2];
    for (int large = 0; large < 2; large++) {
        int rows = large ? 600 : 3, columns = large ? 500 : 37;
        const char *buffers = arena_printf(a, "  buffer %%x: f32[B]\n  buffer %%p: f32[7, %d, %d]\n", rows, columns);
        const char *kernel =
            arena_printf(a,
                         "    index q = (B + 63) / 64\n    for k in 0..%d, n in 0..%d {\n"
                         "      for i in 0..min(q - 1, 6) by 2 { %%p[i, k, n] = add(%%p[i, k, n], %%p[i + 1, k, n]) }\n"
                         "      for i in 0..min(q - 2, 5) by 4 { %%p[i, k, n] = add(%%p[i, k, n], %%p[i + 2, k, n]) }\n    }\n",
                         rows, columns);
        text[large] = step_text(a, buffers, kernel, 400);
    }
    compare(text[0], 400, NOT_TILED);
    compare(text[0], 130, NOT_TILED);
    LoopsProgram *p = read(a, text[1]);
    PassCtx c = {.arena = a, .diag = diag_new(a), .machine = &machines[0]};
    ck_assert(pass_tile(&c, p) && pass_vectorize(&c, p) && pass_parallelize(&c, p));
    ck_assert_int_eq(count_marks(&p->steps.at[0]->nodes.at[0]->body, MARK_PARALLEL), 1);
    ck_assert_int_eq(count_marks(&p->steps.at[0]->nodes.at[0]->body, MARK_VECTOR), 1);
    arena_free(a);
}
END_TEST

START_TEST(matrix_times_vector_stays_right) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %w: f32[20, 33]\n  buffer %x: f32[33]\n  buffer %y: f32[20]\n";
    const char *kernel = "    for i in 0..20 {\n      acc s: f32 = 0\n      for k in 0..33 { s = fma(%w[i, k], %x[k], s) }\n     "
                         " %y[i] = s\n    }\n";
    compare(step_text(a, buffers, kernel, 0), 1, NOT_TILED);
    arena_free(a);
}
END_TEST

START_TEST(sums_and_elements) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: f32[B, 37]\n  buffer %m: f32[37]\n  buffer %r: f32[B]\n  buffer %y: f32[B, 37]\n";
    const char *kernel =
        "    for j in 0..37 {\n      acc s: f32 = 0\n      for n in 0..B { s = add(s, %x[n, j]) }\n      %m[j] = s\n    }\n"
        "    for n in 0..B {\n      acc l: f32[16] = 0\n      for k in 0..3 {\n        for i in 0..min(16, 37 - 16 * k) { l[i] = "
        "add(l[i], %x[n, 16 * k + i]) }\n      }\n"
        "      let t: f32 = tree(add, l)\n      %r[n] = t\n      for j in 0..37 { %y[n, j] = exp(sub(%x[n, j], t)) }\n    }\n";
    compare(step_text(a, buffers, kernel, 23), _i, NOT_TILED);
    arena_free(a);
}
END_TEST

static Body *find_kernel(LoopsProgram *p) { return &p->steps.at[0]->nodes.at[0]->body; }

START_TEST(long_kernels_are_shared) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: f32[300000]\n  buffer %y: f32[300000]\n";
    const char *text = step_text(a, buffers, "    for i in 0..300000 { %y[i] = tanh(%x[i]) }\n", 0);
    compare(text, 1, NOT_TILED);
    LoopsProgram *p = read(a, text);
    PassCtx c = {.arena = a, .diag = diag_new(a), .machine = &machines[0]};
    ck_assert(pass_tile(&c, p) && pass_vectorize(&c, p) && pass_parallelize(&c, p));
    ck_assert_int_eq(count_marks(find_kernel(p), MARK_PARALLEL), 1);
    ck_assert_int_eq(count_marks(find_kernel(p), MARK_VECTOR), 1);
    ck_assert_int_gt((int)p->steps.at[0]->threads, 1);
    arena_free(a);
}
END_TEST

static LoopsProgram *shared(Arena *a, const char *text) {
    LoopsProgram *p = read(a, text);
    PassCtx c = {.arena = a, .diag = diag_new(a), .machine = &machines[0]};
    ck_assert(pass_tile(&c, p) && pass_vectorize(&c, p) && pass_parallelize(&c, p));
    return p;
}

/* Rows and columns that are left over must not leave the whole kernel to one thread. */
START_TEST(rests_are_shared) {
    static const struct {
        int m, n;
    } cases[] = {{790, 300}, {790, 512}, {517, 10}, {100, 100}};
    Arena *a = arena_new();
    int m = cases[_i].m, n = cases[_i].n;
    const char *buffers =
        arena_printf(a, "  buffer %%x: f32[B, %d]\n  buffer %%d: f32[B, %d]\n  buffer %%y: f32[%d, %d]\n", m, n, m, n);
    const char *kernel = arena_printf(a,
                                      "    for i in 0..%d, j in 0..%d {\n      acc s: f32 = 0\n"
                                      "      for b in 0..B { s = fma(%%x[b, i], %%d[b, j], s) }\n      %%y[i, j] = s\n    }\n",
                                      m, n);
    LoopsProgram *p = shared(a, step_text(a, buffers, kernel, 300));
    const Step *step = p->steps.at[0];
    ck_assert_int_gt((int)step->threads, 1);
    for (size_t i = 0; i < step->nodes.n; i++)
        for (const Stmt *s = step->nodes.at[i]->body.first; s; s = s->next)
            ck_assert_msg(s->kind != STMT_FOR || stmt_has_mark(s, MARK_PARALLEL), "%d x %d: a loop of @%s is left to one thread",
                          m, n, step->nodes.at[i]->name);
    arena_free(a);
}
END_TEST

/* Scratch is planned for every thread: no more of them than there is work to share. */
START_TEST(threads_without_work_are_not_planned) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: f32[3, 1000000]\n  buffer %y: f32[3, 9]\n";
    const char *kernel = "    for i in 0..3 {\n      acc s: f32 = 0\n      for k in 0..1000000 { s = add(s, tanh(%x[i, k])) }\n  "
                         "    %y[i, 0] = s\n    }\n";
    ck_assert_int_eq((int)shared(a, step_text(a, buffers, kernel, 0))->steps.at[0]->threads, 3);
    arena_free(a);
}
END_TEST

START_TEST(carried_turns_are_not_shared) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: f32[300001]\n";
    const char *text = step_text(a, buffers, "    for i in 0..300000 { %x[i + 1] = tanh(%x[i]) }\n", 0);
    compare(text, 1, NOT_TILED);
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
    tcase_add_loop_test(t, pieces_of_products, 0, 20);
    tcase_add_loop_test(t, pieces_with_short_batches, 1, 38);
    tcase_add_loop_test(t, pieces_of_convolutions, 1, 7);
    tcase_add_loop_test(t, pieces_of_fixed_length, 1, 7);
    tcase_add_test(t, trees_of_pieces);
    tcase_add_test(t, matrix_times_vector_stays_right);
    tcase_add_loop_test(t, sums_and_elements, 1, 24);
    tcase_add_test(t, long_kernels_are_shared);
    tcase_add_loop_test(t, rests_are_shared, 0, 4);
    tcase_add_test(t, threads_without_work_are_not_planned);
    tcase_add_test(t, carried_turns_are_not_shared);
    suite_add_tcase(s, t);
    return s;
}
