/*
 * test_convolutions.c - what is made of nests of convolutions: long chains in blocks (tile_chain.c), windows of rows, panels, sums that wait, and borders around what only is read
 * (halo.c). Each nest gives the same bits before and after, on machines with wide, narrow and small caches, with short batches, odd sizes, strides, dilation, groups.
 */
#include "ir/loops.h"
#include "passes/machine.h"
#include "run_loops.h"

#include <check.h>
#include <string.h>

/* Caches so small that chains of some dozen turns are long. */
static const Machine machines[] = {
    {.vector_bytes = 64, .vector_registers = 32, .masked = true, .l1 = 4096, .l2 = 1 << 14},
    {.vector_bytes = 32, .vector_registers = 16, .masked = false, .l1 = 2048, .l2 = 1 << 13},
    {.vector_bytes = 16, .vector_registers = 32, .masked = false, .l1 = 1024, .l2 = 1 << 15},
};
enum { N_MACHINES = sizeof machines / sizeof *machines };

/* The text of a step with and without halo, tile and what marks loops, bit for bit. shown: a word that the marked text must have, on the first machine. */
static void compare(const char *text, int64_t batch, const char *shown) {
    for (int m = 0; m < N_MACHINES; m++) {
        Arena *a = arena_new();
        LoopsProgram *plain = loops_read(a, text), *fast = loops_read(a, text);
        const Step *before = plain->steps.at[0], *after = fast->steps.at[0];
        size_t own = before->buffers.n;
        PassCtx c = {.arena = a, .diag = diag_new(a), .machine = &machines[m], .verify = true};
        ck_assert(pass_halo(&c, fast) && pass_tile(&c, fast));
        const char *why = loops_verify(a, fast, LOOPS_TILED);
        ck_assert_msg(!why, "after tile: %s", why);
        ck_assert(pass_vectorize(&c, fast) && pass_parallelize(&c, fast) && pass_barriers(&c, fast));
        why = loops_verify(a, fast, LOOPS_MARKED);
        ck_assert_msg(!why, "after parallelize: %s", why);
        Text out = {0};
        loops_print(fast, LOOPS_MARKED, NULL, &out, a);
        ck_assert_msg(m || !shown || strstr(text_str(a, &out), shown), "no `%s` in\n%s", shown, text_str(a, &out));
        void **want = loops_run(a, before, own, batch), **got = loops_run(a, after, own, batch);
        for (size_t i = 0; i < own; i++)
            ck_assert_msg(before->buffers.at[i]->bytes != after->buffers.at[i]->bytes || /* a temporary that has a border now */
                              memcmp(want[i], got[i], (size_t)before->buffers.at[i]->bytes) == 0,
                          "machine %d: %%%s differs\n%s", m, before->buffers.at[i]->name, text_str(a, &out));
        arena_free(a);
    }
}

static const char *step_text(Arena *a, const char *buffers, const char *kernel) {
    return arena_printf(a, "loops lowered\nsource \"nest.nn\" 0x1\n\nstep @f batch B<=6 {\n%s  kernel @k {\n%s  }\n}\n", buffers,
                        kernel);
}

/* ---- the gradient of a kernel, with the update in its epilogue ---- */

/* Places of results, taps, channels in and out, stride, dilation. */
static const struct {
    int height, width, v, u, in, out, stride, dilation;
    const char *shown;
} gradients[] = {
    {5, 6, 3, 3, 18, 36, 1, 1, "window"}, {7, 8, 3, 3, 10, 16, 1, 1, "sums"}, {5, 5, 2, 3, 33, 7, 2, 1, "sums"},
    {6, 4, 3, 2, 17, 70, 1, 2, "window"}, {9, 9, 1, 1, 30, 35, 1, 1, "sums"}, {3, 2, 3, 3, 21, 50, 1, 1, "sums"},
    {8, 7, 3, 3, 3, 20, 1, 1, "sums"},    {8, 7, 5, 5, 1, 20, 1, 1, NULL},
};
enum { N_GRADIENTS = sizeof gradients / sizeof *gradients };

START_TEST(gradients_of_kernels) {
    Arena *a = arena_new();
    int h = gradients[_i].height, w = gradients[_i].width, v = gradients[_i].v, u = gradients[_i].u, in = gradients[_i].in,
        out = gradients[_i].out, stride = gradients[_i].stride, dilation = gradients[_i].dilation;
    const char *buffers = arena_printf(
        a, "  buffer %%x: f32[B, %d, %d, %d]\n  buffer %%d: f32[B, %d, %d, %d]\n  buffer %%w: f32[%d, %d, %d, %d]\n",
        dilation * (h - 1) + stride * (v - 1) + 1, dilation * (w - 1) + stride * (u - 1) + 1, in, h, w, out, v, u, in, out);
    const char *kernel = arena_printf(
        a,
        "    for p in 0..%d, q in 0..%d, c in 0..%d, o in 0..%d {\n      acc s: f32 = 0\n"
        "      for n in 0..B, y in 0..%d, z in 0..%d { s = fma(%%x[n, %d*p + %d*y, %d*q + %d*z, c], %%d[n, y, z, o], s) }\n"
        "      %%w[p, q, c, o] = sub(%%w[p, q, c, o], mul(0.1, s))\n    }\n",
        v, u, in, out, h, w, stride, dilation, stride, dilation);
    for (int batch = 1; batch <= 3; batch += 2) compare(step_text(a, buffers, kernel), batch, gradients[_i].shown);
    arena_free(a);
}
END_TEST

/* Channels in groups, which both factors see. */
START_TEST(gradients_in_groups) {
    Arena *a = arena_new();
    const char *buffers =
        "  buffer %x: f32[B, 8, 8, 2, 13]\n  buffer %d: f32[B, 6, 6, 2, 20]\n  buffer %w: f32[2, 3, 3, 13, 20]\n";
    const char *kernel =
        "    for g in 0..2, p in 0..3, q in 0..3, c in 0..13, o in 0..20 {\n      acc s: f32 = 0\n"
        "      for n in 0..B, y in 0..6, z in 0..6 { s = fma(%x[n, p + y, q + z, g, c], %d[n, y, z, g, o], s) }\n"
        "      %w[g, p, q, c, o] = s\n    }\n";
    compare(step_text(a, buffers, kernel), _i, "sums");
    arena_free(a);
}
END_TEST

/* ---- one channel a group: the lanes are groups ---- */

static const int groups_of[] = {1, 2, 5, 8, 16, 21, 37, 64};
enum { N_GROUPS = sizeof groups_of / sizeof *groups_of };

/* What the loads of a tile end with whose columns are groups. */
static const char *shown_of(int groups) { return groups > 1 ? "j, o]" : NULL; }

START_TEST(depthwise) {
    Arena *a = arena_new();
    int groups = groups_of[_i];
    for (int stride = 1; stride <= 2; stride++) {
        const char *buffers = arena_printf(a,
                                           "  buffer %%x: f32[B, %d, %d, %d, 1]\n  buffer %%w: f32[3, 3, 1, %d, 1]\n"
                                           "  buffer %%b: f32[%d]\n  buffer %%y: f32[B, 5, 7, %d, 1]\n",
                                           4 * stride + 4 - stride, 6 * stride + 4 - stride,
                                           /* with strides the last windows stick out */ groups, groups, groups, groups);
        const char *kernel = arena_printf(
            a,
            "    for n in 0..B, y in 0..5, z in 0..7, g in 0..%d, o in 0..1 {\n      acc s: f32 = 0\n"
            "      for p in 0..3, q in 0..3, c in 0..1 { s = fma(%%x[n, %d*y + p, %d*z + q, g, c]%s, %%w[p, q, c, g, o], s) }\n"
            "      %%y[n, y, z, g, o] = max(0, add(s, %%b[g]))\n    }\n",
            groups, stride, stride, stride > 1 ? " else 0" : "");
        for (int batch = 1; batch <= 3; batch += 2) compare(step_text(a, buffers, kernel), batch, shown_of(groups));
    }
    arena_free(a);
}
END_TEST

START_TEST(depthwise_gradients) {
    Arena *a = arena_new();
    int groups = groups_of[_i];
    const char *buffers = arena_printf(a,
                                       "  buffer %%x: f32[B, 8, 8, %d, 1]\n  buffer %%d: f32[B, 6, 6, %d, 1]\n"
                                       "  buffer %%w: f32[3, 3, 1, %d, 1]\n  buffer %%p: f32[2, 3, 3, 1, %d, 1]\n",
                                       groups, groups, groups, groups);
    const char *whole =
        arena_printf(a,
                     "    for p in 0..3, q in 0..3, c in 0..1, g in 0..%d, o in 0..1 {\n      acc s: f32 = 0\n"
                     "      for n in 0..B, y in 0..6, z in 0..6 { s = fma(%%x[n, p + y, q + z, g, c], %%d[n, y, z, "
                     "g, o], s) }\n      %%w[p, q, c, g, o] = sub(%%w[p, q, c, g, o], mul(0.1, s))\n    }\n",
                     groups);
    const char *pieces =
        arena_printf(a,
                     "    for piece in 0..2, p in 0..3, q in 0..3, c in 0..1, g in 0..%d, o in 0..1 {\n      acc s: f32 = 0\n"
                     "      for n in 2*piece..min(B, 2*piece + 2), y in 0..6, z in 0..6 { s = fma(%%x[n, p + y, q + z, g, c], "
                     "%%d[n, y, z, g, o], s) }\n      %%p[piece, p, q, c, g, o] = s\n    }\n",
                     groups);
    for (int batch = 1; batch <= 3; batch += 2) {
        compare(step_text(a, buffers, whole), batch, shown_of(groups));
        compare(step_text(a, buffers, pieces), batch, shown_of(groups));
    }
    arena_free(a);
}
END_TEST

/* Pieces of 64 that begin and end in the middle of rows. */
START_TEST(pieces_of_gradients) {
    Arena *a = arena_new();
    int in = _i % 2 ? 9 : 20, out = _i % 3 ? 34 : 21;
    const char *buffers =
        arena_printf(a, "  buffer %%x: f32[B, 9, 10, %d]\n  buffer %%d: f32[B, 7, 8, %d]\n  buffer %%p: f32[6, 3, 3, %d, %d]\n",
                     in, out, in, out);
    const char *kernel = arena_printf(
        a,
        "    index q = (56*B + 63) / 64\n    for piece in 0..min(q, 6), p in 0..3, r in 0..3, c in 0..%d, o in 0..%d {\n"
        "      index begin = max(i64(0), floor_div(i64(64*piece), i64(56)))\n      index stop = floor_div(i64(64*piece + 63), "
        "i64(56))\n"
        "      acc s: f32 = 0\n      for n in begin..min(B, stop + 1) {\n"
        "        index begin.1 = max(i64(0), floor_div(i64(64*piece - 56*n), i64(8)))\n        index stop.1 = "
        "floor_div(i64(64*piece - 56*n + 63), i64(8))\n"
        "        for y in begin.1..min(7, stop.1 + 1) {\n          index begin.2 = max(i64(0), i64(64*piece - 56*n - 8*y))\n"
        "          for z in begin.2..min(8, 64*piece - 56*n - 8*y + 64) { s = fma(%%x[n, p + y, r + z, c], %%d[n, y, z, o], s) "
        "}\n"
        "        }\n      }\n      %%p[piece, p, r, c, o] = s\n    }\n",
        in, out);
    compare(step_text(a, buffers, kernel), _i, "sums");
    arena_free(a);
}
END_TEST

/* ---- forward, where the weights of a column do not fit the second cache ---- */

/* Rows are places or the batch; weights as they are or transposed, as on the way back. */
START_TEST(long_chains_forward) {
    Arena *a = arena_new();
    bool transposed = _i % 2, batch_rows = _i / 2 % 2;
    int width = batch_rows ? 2 : 9;
    const char *buffers = arena_printf(
        a, "  buffer %%x: f32[B, 4, %d, 70]\n  buffer %%w: f32[%s]\n  buffer %%b: f32[37]\n  buffer %%y: f32[B, 2, %d, 37]\n",
        width + 2, transposed ? "3, 3, 37, 70" : "3, 3, 70, 37", width);
    const char *kernel =
        arena_printf(a,
                     "    for n in 0..B, y in 0..2, z in 0..%d, o in 0..37 {\n      acc s: f32 = 0\n"
                     "      for p in 0..3, q in 0..3, c in 0..70 { s = fma(%%x[n, y + p, z + q, c], %%w[p, q, %s], s) }\n"
                     "      %%y[n, y, z, o] = max(0, add(s, %%b[o]))\n    }\n",
                     width, transposed ? "o, c" : "c, o");
    compare(step_text(a, buffers, kernel), 1 + _i, "sums");
    arena_free(a);
}
END_TEST

/* ---- borders around what only is read, and around maps that pieces read ---- */

static const struct {
    const char *place, *writes;
    int out;
    bool copied;
} sources[] = {
    {"slot \"x\"", "", 24, true},
    {"slot \"x\"", "  kernel @write {\n    for i in 0..4 { %x[0, 0, 0, 0] = 1 }\n  }\n", 24, false}, /* the step writes it */
    {"slot \"x\"", "", 1, false},                                                                    /* read only some times */
};

START_TEST(what_is_read_is_copied) {
    Arena *a = arena_new();
    const char *text = arena_printf(a,
                                    "loops lowered\nsource \"nest.nn\" 0x1\nparam %%x: f32[4, 6, 7, 3] = 0.5\n\nstep @f {\n  "
                                    "buffer %%x: f32[4, 6, 7, 3] %s\n  "
                                    "buffer %%w: f32[3, 3, 3, %d]\n  buffer %%y: f32[4, 6, 7, %d]\n  buffer %%z: f32[4, 6, 7, "
                                    "3]\n  kernel @conv {\n    for n in 0..4, "
                                    "x in 0..6, y in 0..7, d in 0..%d {\n      acc s: f32 = 0\n      for v in 0..3, u in 0..3, c "
                                    "in 0..3 { s = fma(%%x[n, x + v - 1, "
                                    "y + u - 1, c] else 0, %%w[v, u, c, d], s) }\n      %%y[n, x, y, d] = s\n    }\n  }\n  "
                                    "kernel @other {\n    for n in 0..4, x in "
                                    "0..6, y in 0..7, c in 0..3 { %%z[n, x, y, c] = neg(%%x[n, x, y, c]) }\n  }\n%s}\n",
                                    sources[_i].place, sources[_i].out, sources[_i].out, sources[_i].out, sources[_i].writes);
    LoopsProgram *p = loops_read(a, text);
    PassCtx c = {.arena = a, .diag = diag_new(a), .machine = &machines[0]};
    ck_assert(pass_halo(&c, p));
    Text out = {0};
    loops_print(p, LOOPS_LOWERED, NULL, &out, a);
    ck_assert_msg((strstr(text_str(a, &out), "else") == NULL) == sources[_i].copied, "%s", text_str(a, &out));
    ck_assert_int_eq(p->steps.at[0]->buffers.n, 4 + sources[_i].copied);
    compare(text, 1, NULL);
    arena_free(a);
}
END_TEST

/* A convolution in groups reads a map by another shape, its channels in two parts: by the map's own behind halo, with a border. Not where it reads outside along the parts, or where axes lie
 * in another way. */
static const struct {
    const char *map, *index;
    bool border;
} shapes[] = {
    {"f32[B, 7, 8, 2, 3]", "n, x + v - 1, y + u - 1, h, c", true},
    {"f32[B, 7, 8, 2, 3]", "n, x, y + u - 1, h, c + v - 1", false},
    {"f32[B, 7, 4, 2, 6]", "n, x + v - 1, y - 3, u - 1, c + 2*h", false},
    {"f32[B, 7, 8, 6]", "n, x + v - 1, y + u - 1, 3*h + c", true},
    {"f32[B, 7, 8, 3, 2]", "n, x + v - 1, y + u - 1, c, h", true},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

START_TEST(groups_read_a_border) {
    Arena *a = arena_new();
    const char *text =
        arena_printf(a,
                     "loops lowered\nsource \"nest.nn\" 0x1\n\nstep @f batch B<=6 {\n  buffer %%x: f32[B, 7, 8, 6]\n"
                     "  buffer %%w: f32[3, 3, 3, 2, 20]\n  buffer %%y: f32[B, 7, 8, 2, 20]\n  buffer %%a: f32[B, 7, 8, 6]\n"
                     "  buffer %%g: %s same %%a\n"
                     "  kernel @make {\n    for n in 0..B, x in 0..7, y in 0..8, c in 0..6 { %%a[n, x, y, c] = mul(2, %%x[n, x, "
                     "y, c]) }\n  }\n  barrier\n"
                     "  kernel @conv {\n    for n in 0..B, x in 0..7, y in 0..8, h in 0..2, d in 0..20 {\n      acc s: f32 = 0\n"
                     "      for v in 0..3, u in 0..3, c in 0..3 { s = fma(%%g[%s] else 0, %%w[v, u, c, h, d], s) }\n"
                     "      %%y[n, x, y, h, d] = s\n    }\n  }\n}\n",
                     shapes[_i].map, shapes[_i].index);
    for (int batch = 1; batch <= 6; batch += 5) {
        LoopsProgram *plain = loops_read(a, text), *with = loops_read(a, text);
        const Step *before = plain->steps.at[0], *after = with->steps.at[0];
        PassCtx c = {.arena = a, .diag = diag_new(a), .machine = &machines[0]};
        ck_assert(pass_halo(&c, with));
        const char *why = loops_verify(a, with, LOOPS_LOWERED);
        ck_assert_msg(!why, "after halo: %s", why);
        Text out = {0};
        loops_print(with, LOOPS_LOWERED, NULL, &out, a);
        ck_assert_msg((strstr(text_str(a, &out), "else") == NULL) == shapes[_i].border, "%s", text_str(a, &out));
        void **want = loops_run(a, before, 3, batch), **got = loops_run(a, after, 3, batch);
        const Buffer *y = buffer_named(before, "y");
        ck_assert(memcmp(want[y->id], got[buffer_named(after, "y")->id], (size_t)y->bytes) == 0);
    }
    arena_free(a);
}
END_TEST

/* Where a piece begins hangs on index lets, which are at least 0. */
START_TEST(pieces_read_a_border) {
    Arena *a = arena_new();
    const char *text = "loops lowered\nsource \"nest.nn\" 0x1\n\nstep @f batch B<=6 {\n  buffer %x: f32[B, 7, 30]\n  buffer %a: "
                       "f32[B, 7, 30]\n  buffer "
                       "%w: f32[3, 30, 40]\n  buffer %p: f32[2, B, 7, 40]\n  kernel @make {\n    for n in 0..B, y in 0..7, c in "
                       "0..30 { %a[n, y, c] = "
                       "mul(2, %x[n, y, c]) }\n  }\n  barrier\n  kernel @k {\n    for piece in 0..2, n in 0..B, y in 0..7, o in "
                       "0..40 {\n      index "
                       "begin = max(i64(0), floor_div(i64(64*piece), i64(30)))\n      index stop = floor_div(i64(64*piece + 63), "
                       "i64(30))\n      acc s: "
                       "f32 = 0\n      for p in begin..min(3, stop + 1) {\n        index begin.1 = max(i64(0), i64(64*piece - "
                       "30*p))\n        for c in "
                       "begin.1..min(30, 64*piece - 30*p + 64) { s = fma(%a[n, y + p - 1, c] else 0, %w[p, c, o], s) }\n      "
                       "}\n      %p[piece, n, y, "
                       "o] = s\n    }\n  }\n}\n";
    compare(text, _i, "kernel @a.halo");
    arena_free(a);
}
END_TEST

Suite *convolutions_suite(void);
Suite *convolutions_suite(void) {
    Suite *s = suite_create("convolutions");
    TCase *t = tcase_create("convolutions");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, gradients_of_kernels, 0, N_GRADIENTS);
    tcase_add_loop_test(t, gradients_in_groups, 1, 3);
    tcase_add_loop_test(t, depthwise, 0, N_GROUPS);
    tcase_add_loop_test(t, depthwise_gradients, 0, N_GROUPS);
    tcase_add_loop_test(t, pieces_of_gradients, 1, 4);
    tcase_add_loop_test(t, long_chains_forward, 0, 4);
    tcase_add_loop_test(t, what_is_read_is_copied, 0, sizeof sources / sizeof *sources);
    tcase_add_loop_test(t, pieces_read_a_border, 1, 3);
    tcase_add_loop_test(t, groups_read_a_border, 0, N_SHAPES);
    suite_add_tcase(s, t);
    return s;
}
