/*
 * test_tile.c - tile, vectorize and parallelize: a nest before and after gives the same bits, for products in every order of operands, batches of products,
 * convolutions, odd sizes and short batches, on machines with wide, narrow and no vectors. The texts use names of their own: the passes read nests.
 */
#include "passes/nest.h"
#include "run_tile.h"

#include <math.h>

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
    const char *kernel = product_text(a, s[0], s[1], arena_printf(a, "%d", s[2]), xt ? "k, i" : "i, k", wt ? "j, k" : "k, j",
                                      "max(0, add(s, %b[j]))");
    compare(step_text(a, buffers, kernel, 0), 1, TILED);
    arena_free(a);
}
END_TEST

/* Ten columns beside rows that are neighbours: vectors lie along the rows, and results are scattered. */
START_TEST(few_columns_are_turned_around) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: f32[B, 205]\n  buffer %w: f32[B, 10]\n  buffer %y: f32[205, 10]\n";
    const char *text = step_text(a, buffers, product_text(a, 205, 10, "B", "k, i", "k, j", "sub(%y[i, j], s)"), 130);
    compare(text, 129, TILED_VECTORS);
    const char *shown = marked_text(a, text);
    ck_assert_msg(strstr(shown, "%w[k, 5*ii + i], %x[k, 80*jj + j]"), "not turned around:\n%s", shown);
    /* lets that hang on what was the column, on what has become it, and on both */
    const char *more = "  buffer %x: f32[B, 205]\n  buffer %w: f32[B, 10]\n  buffer %q: f32[205]\n  buffer %r: f32[10]\n"
                       "  buffer %y: f32[205, 10]\n";
    const char *kernel = "    for i in 0..205, j in 0..10 {\n      let c: f32 = tanh(%q[i])\n      let b: f32 = tanh(%r[j])\n"
                         "      let d: f32 = mul(c, b)\n      acc s: f32 = 0\n"
                         "      for k in 0..B { s = fma(%x[k, i], %w[k, j], s) }\n"
                         "      %y[i, j] = mul(add(s, c), add(d, b))\n    }\n";
    compare(step_text(a, more, kernel, 130), 129, TILED_VECTORS);
    arena_free(a);
}
END_TEST

/* All columns fit the first cache: rows of tiles, also of a short batch, each by one thread. */
START_TEST(near_columns_are_passed_row_by_row) {
    Arena *a = arena_new();
    const char *fixed = "  buffer %x: f32[9, 47]\n  buffer %w: f32[9, 172]\n  buffer %y: f32[47, 172]\n";
    const char *batch = "  buffer %x: f32[B, 9]\n  buffer %w: f32[172, 9]\n  buffer %y: f32[B, 172]\n";
    compare(step_text(a, fixed, product_text(a, 47, 172, "9", "k, i", "k, j", "s"), 0), 1, TILED);
    const char *kernel = "    for i in 0..B, j in 0..172 {\n      acc s: f32 = 0\n"
                         "      for k in 0..9 { s = fma(%x[i, k], %w[j, k], s) }\n      %y[i, j] = s\n    }\n";
    for (int batch_size = 1; batch_size <= 40; batch_size += 13) compare(step_text(a, batch, kernel, 40), batch_size, TILED);
    arena_free(a);
}
END_TEST

/* A let in front of the nest is there in kernels that pack, too; a sum of the kernel is not, and such a nest stays as it is. */
START_TEST(lets_before_the_nest) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: f32[30, 40]\n  buffer %w: f32[40, 300]\n  buffer %s: f32[2]\n  buffer %y: f32[30, 300]\n";
    const char *nest = product_text(a, 30, 300, "40", "i, k", "k, j", "mul(s, d)");
    const char *factor = "fma(mul(%x[i, k], d), mul(%w[k, j], d), s)";
    const char *at = strstr(nest, "fma("), *end = strstr(at, " }");
    nest = arena_printf(a, "%.*s%s%s", (int)(at - nest), nest, factor, end);
    const char *lets = "    let c: f32 = mul(%s[0], %s[1])\n    let d: f32 = add(c, 1)\n";
    compare(step_text(a, buffers, arena_printf(a, "%s%s", lets, nest), 0), 1, TILED);
    const char *sum = "    acc d: f32 = 0\n    for q in 0..2 { d = add(d, %s[q]) }\n";
    compare(step_text(a, buffers, arena_printf(a, "%s%s", sum, nest), 0), 1, NOT_TILED);
    arena_free(a);
}
END_TEST

/* Rows and panels packed, a row of tiles at a time: whole tiles and what is left, both ways. */
START_TEST(rows_that_are_neighbours) {
    Arena *a = arena_new();
    int m = _i % 2 ? 45 : 56, n = _i / 2 ? 70 : 96;
    compare(over_samples_text(a, m, n, "mul(s, 2)", 90), 90 - _i, TILED);
    arena_free(a);
}
END_TEST

/* Rows of whole lines of memory are packed together, for several tiles; behind the groups are tiles of full size and smaller ones. */
START_TEST(rows_of_several_tiles_are_packed_together) {
    static const int sizes[][2] = {{128, 96}, {132, 96}, {131, 96}, {135, 128}, {36, 96}};
    Arena *a = arena_new();
    int m = sizes[_i][0], n = sizes[_i][1];
    const char *text = over_samples_text(a, m, n, "s", 50);
    for (int batch = 50; batch > 0; batch -= 49) compare(text, batch, TILED);
    const char *shown = text_on(a, text, &machines[1]);
    ck_assert_msg((strstr(shown, "%k.rows[ii, k, i] = %x[k, ") != NULL) == (m > 100), "%s", shown);
    arena_free(a);
}
END_TEST

/* Has it accumulators of both sizes with AVX2, and the same bits everywhere? */
static void check_two_sizes(Arena *a, const char *text, const char *large, const char *small) {
    compare(text, 1, TILED);
    const char *shown = text_on(a, text, &machines[1]);
    ck_assert_msg(strstr(shown, large) && strstr(shown, small), "%s", shown);
}

/* Tiles of two sizes, and panels of two widths, where one smaller one would be much smaller: of rows that are known and of a batch, which may be short. */
START_TEST(tiles_of_two_sizes) {
    Arena *a = arena_new();
    const char *batch = "  buffer %x: f32[B, 64]\n  buffer %w: f32[64, 32]\n  buffer %y: f32[B, 32]\n";
    const char *kernel = "    for i in 0..B, j in 0..32 {\n      acc s: f32 = 0\n"
                         "      for k in 0..64 { s = fma(%x[i, k], %w[k, j], s) }\n      %y[i, j] = s\n    }\n";
    const char *text = step_text(a, batch, kernel, 32);
    check_two_sizes(a, text, "t: f32[6, 16]", "t: f32[5, 16]");
    for (int b = 0; b <= 32; b++) compare(text, b, TILED);
    text = step_text(a, "  buffer %x: f32[32, 64]\n  buffer %w: f32[64, 32]\n  buffer %y: f32[32, 32]\n",
                     product_text(a, 32, 32, "64", "i, k", "k, j", "s"), 0);
    check_two_sizes(a, text, "t: f32[6, 16]", "t: f32[5, 16]");
    text = step_text(a, "  buffer %x: f32[50, 128]\n  buffer %w: f32[50, 176]\n  buffer %y: f32[128, 176]\n",
                     product_text(a, 128, 176, "50", "k, i", "k, j", "s"), 0);
    check_two_sizes(a, text, "t: f32[4, 24]", "t: f32[4, 16]");
    ck_assert(strstr(text_on(a, text, &machines[1]), "16*jj + 48"));
    arena_free(a);
}
END_TEST

/* Rows that lie 4096 bytes apart are packed in front. */
START_TEST(rows_that_collide) {
    Arena *a = arena_new();
    int m = _i % 2 ? 45 : 56, n = _i / 2 ? 200 : 192;
    const char *buffers = arena_printf(
        a, "  buffer %%x: f32[%d, 53] stride [1024, 1]\n  buffer %%w: f32[53, %d]\n  buffer %%y: f32[%d, %d]\n", m, n, m, n);
    const char *kernel = product_text(a, m, n, "53", "i, k", "k, j", "s");
    compare(step_text(a, buffers, kernel, 0), 1, TILED);
    arena_free(a);
}
END_TEST

/* Rows that are neighbours, more than the second cache holds: packed in front, a few tiles at a time, and the rest of them. */
START_TEST(neighbours_in_front) {
    static const int rows[] = {3, 45, 56, 70};
    Arena *a = arena_new();
    int m = rows[_i];
    const char *buffers =
        arena_printf(a, "  buffer %%x: f32[17, %d]\n  buffer %%w: f32[17, 300]\n  buffer %%y: f32[%d, 300]\n", m, m);
    compare(step_text(a, buffers, product_text(a, m, 300, "17", "k, i", "k, j", "s"), 0), 1, TILED);
    arena_free(a);
}
END_TEST

/* Two panels, and rows from beyond the second cache: each panel would fetch them line by line. */
START_TEST(far_rows_for_two_panels) {
    Arena *a = arena_new();
    const char *text = over_samples_text(a, 60, 100, "s", 2300);
    for (int batch = 200; batch > 0; batch -= 199) compare(text, batch, TILED);
    const char *shown = marked_text(a, text);
    ck_assert_msg(strstr(shown, "kernel @k.pack_rows"), "%s", shown);
    arena_free(a);
}
END_TEST

/* A long chain over two axes along which the columns lie, and not the rows: columns are packed in front of the blocks of the chain. */
START_TEST(long_chain_of_packed_columns) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: f32[B, 64, 20]\n  buffer %w: f32[280, B, 64]\n  buffer %y: f32[20, 280]\n";
    const char *kernel = "    for i in 0..20, j in 0..280 {\n      acc s: f32 = 0\n"
                         "      for a in 0..B, b in 0..64 { s = fma(%x[a, b, i], %w[j, a, b], s) }\n      %y[i, j] = s\n    }\n";
    for (int batch = 3; batch > 0; batch -= 2) compare(step_text(a, buffers, kernel, 40), batch, TILED);
    arena_free(a);
}
END_TEST

/* An index computed between the loops of the reduction: columns that hang on it are read where they lie, and not at all in tiles if they are no neighbours there. */
START_TEST(an_index_in_the_reduction) {
    Arena *a = arena_new();
    const char *kernel =
        "    for i in 0..9, j in 0..70 {\n      acc s: f32 = 0\n      for k in 0..6 {\n        index q = (i + k) / 2\n"
        "        for c in 0..40 { s = fma(%%x[%s], %%w[%s], s) }\n      }\n      %%y[i, j] = s\n    }\n";
    const char *buffers = "  buffer %x: f32[9, 7, 40]\n  buffer %w: f32[8, 70, 70]\n  buffer %y: f32[9, 70]\n";
    compare(step_text(a, buffers, arena_printf(a, kernel, "i, k, c", "q, c, j"), 0), 1, TILED);
    compare(step_text(a, buffers, arena_printf(a, kernel, "i, k, c", "q, j, c"), 0), 1, NOT_TILED);
    arena_free(a);
}
END_TEST

/* Where threads pack their own panels the first tile of rows does so in passing; a batch may be too short for one. */
START_TEST(first_tile_packs) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: f32[B, 12]\n  buffer %w: f32[12, 700]\n  buffer %y: f32[B, 700]\n";
    const char *kernel =
        "    for i in 0..B, j in 0..700 {\n      acc s: f32 = 0\n      for k in 0..12 { s = fma(%x[i, k], %w[k, j], s) }\n"
        "      %y[i, j] = tanh(s)\n    }\n";
    const char *text = step_text(a, buffers, kernel, 37);
    for (int batch = 1; batch <= 37; batch += 12) compare(text, batch, TILED);
    Text shown = {0};
    loops_print(marked(a, text), LOOPS_MARKED, NULL, &shown, a);
    const char *at = text_str(a, &shown);
    ck_assert_msg(strstr(at, "%k.panel[k, j] = %w[k,") && strstr(at, "fma(%x[i, k], %w[k,") && strstr(at, "for ii in 1..tiles"),
                  "packed by itself:\n%s", at);
    compare(step_text(a, "  buffer %x: f32[29, 12]\n  buffer %w: f32[12, 700]\n  buffer %y: f32[29, 700]\n",
                      product_text(a, 29, 700, "12", "i, k", "k, j", "s"), 0),
            1, TILED);
    arena_free(a);
}
END_TEST

/* Panels of two widths, an even number of each, where a rest of columns would make one thread's part larger; not where there is no rest, or an odd number of vectors. */
START_TEST(panels_are_shared_evenly) {
    static const struct {
        int columns, groups;
    } cases[] = {{512, 4}, {352, 2}, {480, 0}, {500, 0}};
    Arena *a = arena_new();
    int n = cases[_i].columns;
    const char *buffers =
        arena_printf(a, "  buffer %%x: f32[B, 128]\n  buffer %%w: f32[128, %d]\n  buffer %%y: f32[B, %d]\n", n, n);
    const char *kernel = arena_printf(a,
                                      "    for i in 0..B, j in 0..%d {\n      acc s: f32 = 0\n      for k in 0..128 { s = "
                                      "fma(%%x[i, k], %%w[k, j], s) }\n      %%y[i, j] = s\n    }\n",
                                      n);
    const char *text = step_text(a, buffers, kernel, 32);
    for (int batch = 5; batch <= 32; batch += 27) compare(text, batch, TILED);
    const char *shown = marked_text(a, text);
    const char *group = strstr(shown, "index group = (jj) / ");
    ck_assert_msg((group != NULL) == (cases[_i].groups > 0), "%d columns:\n%s", n, shown);
    if (group) {
        long turns = strtol(strstr(shown, "for jj in 0..") + 13, NULL, 10), each = strtol(group + 21, NULL, 10);
        ck_assert_int_eq(turns, each * cases[_i].groups);
    }
    arena_free(a);
}
END_TEST

/* Columns that are the same in every turn of a loop of the step are packed once, in front of it. 0: they are; 1: other ones every turn; 2: another kernel of the loop writes them;
 * 3: they change in the outer loop alone. */
START_TEST(packed_in_front_of_a_loop) {
    Arena *a = arena_new();
    const char *w = _i == 1 ? "%w[t, k, j]" : _i == 3 ? "%w[u, k, j]" : "%w[0, k, j]";
    const char *text =
        arena_printf(a,
                     "loops lowered\nsource \"nest.nn\" 0x1\n\nstep @f batch B<=19 {\n  buffer %%x: f32[B, 12]\n  "
                     "buffer %%w: f32[3, 12, 160]\n"
                     "  buffer %%y: f32[B, 160]\n  loop u in 0..2 {\n    loop t in 0..2 {\n      kernel @k {\n    "
                     "    for i in 0..B, j in 0..160 {\n"
                     "          acc s: f32 = 0\n          for k in 0..12 { s = fma(%%x[i, k], %s, s) }\n          "
                     "%%y[i, j] = add(%%y[i, j], s)\n        }\n"
                     "      }\n      barrier\n      kernel @change {\n        for k in 0..12 { %%%s[0, k%s] = add(%%y[0, "
                     "k], 1) }\n      }\n      barrier\n    }\n  }\n}\n",
                     w, _i == 2 ? "w" : "x", _i == 2 ? ", 3" : "");
    for (int batch = 1; batch <= 19; batch += 18) compare(text, batch, TILED);
    const Step *step = marked(a, text)->steps.at[0];
    const StepNode *first = step->nodes.at[0], *outer = step->nodes.at[step->nodes.n - 1], *in_outer = outer->nodes.at[0];
    ck_assert(outer->kind == STEP_LOOP);
    ck_assert_int_eq(first->kind == STEP_KERNEL && strcmp(first->name, "k.pack") == 0, _i == 0);
    ck_assert_int_eq(in_outer->kind == STEP_KERNEL && strcmp(in_outer->name, "k.pack") == 0, _i == 3);
    arena_free(a);
}
END_TEST

/* Maps that products read outside of get a border of zeros. The index of the place that is read, along the two axes; what is found outside; how samples are counted; whether
 * there is a border then. */
static const struct {
    const char *at, *outside, *samples;
    bool border;
} maps[] = {
    {"n, x + v - 1, y + u - 1, c", "0", "0..B", true},
    {"n, 2*x + v - 2, y + 2*u - 3, c", "0", "0..B", true},
    {"n, x - v + 1, y - u + 2, c", "0", "2..min(B, 5)", true},
    {"n, x + v, y + u - 1, c", "1", "0..B", false},      /* something else than 0 */
    {"n + 1, x + v - 1, y + u, c", "0", "0..B", false},  /* outside of the batch */
    {"n, x + v - 1, y + u + n, c", "0", "0..B", false},  /* nobody knows how far */
    {"n, x + v + 40, y + u - 1, c", "0", "0..B", false}, /* mostly border */
};

START_TEST(maps_with_a_border) {
    Arena *a = arena_new();
    const char *text = arena_printf(
        a,
        "loops lowered\nsource \"nest.nn\" 0x1\n\nstep @f batch B<=6 {\n  buffer %%x: f32[B, 6, 7, 3]\n  buffer %%a: f32[B, 6, "
        "7, 3]\n  buffer %%w: f32[3, 3, "
        "3, 40]\n  buffer %%y: f32[B, 6, 7, 40]\n  buffer %%z: f32[B, 6, 7, 3]\n  kernel @make {\n    for n in 0..B, x in 0..6, "
        "y in 0..7, c in 0..3 { "
        "%%a[n, x, y, c] = mul(2, %%x[n, x, y, c]) }\n  }\n  barrier\n  kernel @conv {\n    for n in %s, x in 0..6, y in 0..7, d "
        "in 0..40 {\n"
        "      acc s: f32 = 0\n      for v in 0..3, u in 0..3, c in 0..3 { s = fma(%%a[%s] else %s, %%w[v, u, c, d], s) }\n      "
        "%%y[n, x, y, d] = s\n    }\n"
        "  }\n  kernel @other {\n    for n in 0..B, x in 0..6, y in 0..7, c in 0..3 { %%z[n, x, y, c] = neg(%%a[n, x, y, c]) }\n "
        " }\n}\n",
        maps[_i].samples, maps[_i].at, maps[_i].outside);
    for (int batch = 1; batch <= 6; batch += 5) {
        LoopsProgram *plain = loops_read(a, text), *with = loops_read(a, text);
        const Step *before = plain->steps.at[0], *after = with->steps.at[0];
        PassCtx c = {.arena = a, .diag = diag_new(a), .machine = &(Machine){.vector_bytes = 64, .l2 = 1 << 14}};
        ck_assert(pass_halo(&c, with));
        const char *why = loops_verify(a, with, LOOPS_LOWERED);
        ck_assert_msg(!why, "after halo: %s", why);
        ck_assert_int_eq(after->nodes.n > before->nodes.n, maps[_i].border);
        Text shown = {0};
        loops_print(with, LOOPS_LOWERED, NULL, &shown, a);
        ck_assert_int_eq(strstr(text_str(a, &shown), "else") == NULL, maps[_i].border);
        void **want = loops_run(a, before, before->buffers.n, batch), **got = loops_run(a, after, before->buffers.n, batch);
        for (int i = 3; i < 5; i++)
            ck_assert_msg(memcmp(want[i], got[i], (size_t)before->buffers.at[i]->bytes) == 0, "%%%s differs",
                          before->buffers.at[i]->name);
    }
    arena_free(a);
}
END_TEST

/* Many small products: their panels are packed by whoever needs them, not all in front. */
START_TEST(small_products_pack_their_own) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %p: f32[12, 40, 24]\n  buffer %q: f32[12, 24, 90]\n  buffer %r: f32[12, 40, 90]\n";
    const char *kernel = "    for h in 0..12, t in 0..40, u in 0..90 {\n      acc e: f32 = 0\n      for c in 0..24 { e = "
                         "fma(%p[h, t, c], %q[h, c, u], e) }\n      %r[h, t, u] = e\n    }\n";
    const char *text = step_text(a, buffers, kernel, 0);
    compare(text, 1, TILED);
    ck_assert_int_eq((int)marked(a, text)->steps.at[0]->nodes.n, 1);
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

/* A whole batch is no multiple of a tile: what it leaves is one smaller tile, and not a row at a time. */
START_TEST(a_whole_batch_leaves_one_tile) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: f32[B, 64]\n  buffer %w: f32[64, 64]\n  buffer %y: f32[B, 64]\n";
    const char *kernel = "    for i in 0..B, j in 0..64 {\n      acc s: f32 = 0\n"
                         "      for k in 0..64 { s = fma(%x[i, k], %w[k, j], s) }\n      %y[i, j] = s\n    }\n";
    const char *text = step_text(a, buffers, kernel, 47);
    compare(text, _i, TILED);
    const char *shown = marked_text(a, text);
    ck_assert_msg(strstr(shown, "index rests = "), "%s", shown);
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

/* Of the lets beside the chain one knows the column only by another one, one by an index of its own, one not at all. */
START_TEST(lets_that_hang_on_lets_of_the_column) {
    Arena *a = arena_new();
    const char *text = step_text(
        a,
        "  buffer %x: f32[B, 33]\n  buffer %w: f32[33, 250]\n  buffer %s: f32[B, 250]\n"
        "  buffer %q: f32[B]\n  buffer %h: f32[B, 250]\n",
        "    for m in 0..B, n in 0..250 {\n      let row: f32 = %q[m]\n      let first: f32 = mul(%s[m, n], row)\n"
        "      let second: f32 = add(first, first)\n      let third: f32 = mul(row, second)\n      index half = (n) / 2\n"
        "      let near: f32 = %s[m, half]\n      acc t: f32 = 0\n      for k in 0..33 { t = fma(%x[m, k], %w[k, n], t) }\n"
        "      %h[m, n] = add(mul(add(third, second), add(third, first)), mul(near, t))\n    }\n",
        70);
    compare(text, 70, TILED_VECTORS);
    compare(text, 3, TILED_VECTORS);
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

/* Rows of tiles are places of the pictures where there are enough of them, as samples lie far apart; else samples: B alone is divided into tiles. */
START_TEST(places_are_rows) {
    static const struct {
        int side, channels;
        bool samples;
    } rows[] = {{28, 1, false}, {26, 3, false}, {3, 64, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Arena *a = arena_new();
        int out = rows[i].side, in = out + 4, c = rows[i].channels;
        const char *buffers = arena_printf(
            a, "  buffer %%a: f32[B, %d, %d, %d]\n  buffer %%w: f32[5, 5, %d, 16]\n  buffer %%h: f32[B, %d, %d, 16]\n", in, in, c,
            c, out, out);
        const char *kernel =
            arena_printf(a,
                         "    for n in 0..B, y in 0..%d, x in 0..%d, o in 0..16 {\n      acc s: f32 = 0\n"
                         "      for p in 0..5, q in 0..5, d in 0..%d { s = fma(%%a[n, y + p, x + q, d], %%w[p, q, d, o], s) }\n"
                         "      %%h[n, y, x, o] = s\n    }\n",
                         out, out, c);
        const char *text = step_text(a, buffers, kernel, 40);
        compare(text, 2, TILED);
        for (int m = 0; m < 2; m++)
            ck_assert_msg((strstr(text_on(a, text, &machines[m]), "(B") != NULL) == rows[i].samples, "row %d, machine %d:\n%s",
                          (int)i, m, text_on(a, text, &machines[m]));
        arena_free(a);
    }
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

/* ---- few rows ---- */

/* The form that tile gives a nest on a machine is told by its scratch: %NAME.sums or %NAME.block. Its text reads as the same loops. */
static bool has_scratch(Arena *a, const char *text, const Machine *machine, const char *ending) {
    LoopsProgram *p = loops_read(a, text);
    PassCtx c = {.arena = a, .diag = diag_new(a), .machine = machine};
    ck_assert(pass_tile(&c, p) && pass_vectorize(&c, p));
    Text once = {0}, twice = {0};
    loops_print(p, LOOPS_MARKED, NULL, &once, a);
    loops_print(loops_read(a, text_str(a, &once)), LOOPS_MARKED, NULL, &twice, a);
    ck_assert_str_eq(text_str(a, &once), text_str(a, &twice));
    bool found = false;
    for (size_t i = 0; i < p->steps.at[0]->buffers.n; i++) {
        const char *name = p->steps.at[0]->buffers.at[i]->name, *dot = strrchr(name, '.');
        found |= dot && strcmp(dot, ending) == 0;
    }
    return found;
}

static const char *few_text(Arena *a, const int *size, const char *order, const char *result) {
    int m = size[0], n = size[1], k = size[2];
    bool xt = order[2] == 'k', wt = strstr(order, "w[j") != NULL;
    const char *buffers = arena_printf(
        a, "  buffer %%x: f32[%d, %d]\n  buffer %%w: f32[%d, %d]\n  buffer %%b: f32[%d]\n  buffer %%y: f32[%d, %d]\n", xt ? k : m,
        xt ? m : k, wt ? n : k, wt ? k : n, n, m, n);
    return step_text(a, buffers,
                     product_text(a, m, n, arena_printf(a, "%d", k), xt ? "k, i" : "i, k", wt ? "j, k" : "k, j", result), 0);
}

/* A matrix along the columns that is larger than a cache: whole tiles and strips, less, more; chains with and without a rest. The second machine has wider caches. */
START_TEST(few_rows_along_columns) {
    static const int sizes[][3] = {{1, 200, 32}, {1, 197, 31}, {3, 230, 33},  {4, 265, 24},
                                   {8, 200, 40}, {2, 322, 17}, {1, 1031, 18}, {4, 1700, 41}};
    static const char *orders[] = {"x[i, k], w[k, j]", "x[k, i], w[k, j]"};
    const int *size = sizes[_i % 8];
    Arena *a = arena_new();
    const char *text = few_text(a, size, orders[_i / 8], _i % 2 ? "max(0, add(s, %b[j]))" : "s");
    compare(text, 1, TILED);
    ck_assert(has_scratch(a, text, &machines[2], ".sums"));
    ck_assert(has_scratch(a, text, &machines[1], ".sums") == (size[0] <= 4 && size[1] * size[2] > 1 << 16));
    arena_free(a);
}
END_TEST

/* A matrix along the chain: columns that fill blocks, that leave some, fewer than a block has; chains likewise. */
START_TEST(few_rows_along_the_chain) {
    static const int sizes[][3] = {{1, 16, 16}, {1, 32, 64},  {1, 33, 16}, {1, 40, 17}, {2, 37, 50}, {4, 100, 64}, {1, 24, 100},
                                   {3, 17, 31}, {8, 19, 100}, {1, 15, 40}, {1, 8, 20},  {9, 64, 64}, {1, 64, 15},  {1, 1000, 70}};
    static const char *orders[] = {"x[i, k], w[j, k]", "x[k, i], w[j, k]"};
    const int *size = sizes[_i % 14];
    Arena *a = arena_new();
    const char *text = few_text(a, size, orders[_i / 14], _i % 2 ? "max(0, add(s, %b[j]))" : "s");
    compare(text, 1, TILED);
    bool wide = size[0] <= 8 && size[1] >= 16 && size[2] >= 16, narrow = size[0] <= 4 && size[1] >= 8 && size[2] >= 16;
    ck_assert(has_scratch(a, text, &machines[0], ".block") == wide);
    ck_assert(has_scratch(a, text, &machines[1], ".block") == narrow);
    arena_free(a);
}
END_TEST

/* Numbers of eight bytes: half as many lanes, and half as many in a line of memory. */
START_TEST(few_rows_of_f64) {
    static const int sizes[][3] = {{1, 150, 33}, {2, 131, 40}, {1, 20, 19}, {3, 30, 64}};
    const int *size = sizes[_i % 4];
    Arena *a = arena_new();
    char *text =
        arena_printf(a, "%s", few_text(a, size, _i / 4 ? "x[i, k], w[j, k]" : "x[i, k], w[k, j]", "max(0, add(s, %b[j]))"));
    for (char *at = text; (at = strstr(at, "f32")) != NULL;) memcpy(at, "f64", 3);
    compare(text, 1, TILED);
    if (_i / 4) ck_assert(has_scratch(a, text, &machines[0], ".block"));
    if (_i / 4 == 0 && size[1] > 96) ck_assert(has_scratch(a, text, &machines[2], ".sums"));
    arena_free(a);
}
END_TEST

/* Rows a page of memory apart: a block of theirs is copied beside that of the matrix. */
START_TEST(few_rows_that_collide) {
    Arena *a = arena_new();
    const char *text = few_text(a, (int[]){3, 24, 1024}, "x[i, k], w[j, k]", "s");
    compare(text, 1, TILED);
    ck_assert(has_scratch(a, text, &machines[0], ".block") && has_scratch(a, text, &machines[0], ".rows"));
    ck_assert(!has_scratch(a, few_text(a, (int[]){3, 24, 1000}, "x[i, k], w[j, k]", "s"), &machines[0], ".rows"));
    text = few_text(a, (int[]){2, 17, 1024 + 1024}, "x[i, k], w[j, k]", "max(0, add(s, %b[j]))");
    compare(text, 1, TILED);
    arena_free(a);
}
END_TEST

/* A batch of one at most; chains cut every 64 (or 60, which no block divides), the last piece short; several matrices. */
START_TEST(few_rows_in_pieces) {
    static const char *orders[] = {"k, j", "j, k"};
    int n = _i % 3 == 0 ? 200 : _i % 3 == 1 ? 211 : 24, cut = _i / 3 % 2 ? 60 : 64;
    bool across = _i / 6 % 2, along = !across && n > 64;
    Arena *a = arena_new();
    const char *buffers =
        arena_printf(a, "  buffer %%x: f32[B, 3, 150]\n  buffer %%w: f32[3, %d, %d]\n  buffer %%p: f32[3, B, 3, %d]\n",
                     across ? n : 150, across ? 150 : n, n);
    const char *kernel =
        arena_printf(a,
                     "    for piece in 0..3, n in 0..B, h in 0..3, j in 0..%d {\n      acc s: f32 = 0\n"
                     "      for k in %d*piece..min(150, %d*piece + %d) { s = fma(%%x[n, h, k], %%w[h, %s], s) }\n"
                     "      %%p[piece, n, h, j] = s\n    }\n",
                     n, cut, cut, cut, orders[across]);
    const char *text = step_text(a, buffers, kernel, 1);
    compare(text, 1, TILED);
    ck_assert(has_scratch(a, text, &machines[2], across ? ".block" : ".sums") == (across || along));
    arena_free(a);
}
END_TEST

/* The matrix is as long as the batch: pieces of what there is. */
START_TEST(few_rows_over_the_batch) {
    static const int batches[] = {200, 130, 129, 64, 3, 1};
    Arena *a = arena_new();
    const char *text = step_text(
        a, "  buffer %x: f32[B]\n  buffer %w: f32[B, 230]\n  buffer %p: f32[4, 230]\n",
        "    index q = (B + 63) / 64\n    for piece in 0..min(q, 4), j in 0..230 {\n      acc s: f32 = 0\n"
        "      for k in 64*piece..min(B, 64*piece + 64) { s = fma(%x[k], %w[k, j], s) }\n      %p[piece, j] = s\n    }\n",
        200);
    for (int i = 0; i < 6; i++) compare(text, batches[i], TILED);
    ck_assert(has_scratch(a, text, &machines[2], ".sums"));
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

START_TEST(long_kernels_are_shared) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: f32[300000]\n  buffer %y: f32[300000]\n";
    const char *text = step_text(a, buffers, "    for i in 0..300000 { %y[i] = tanh(%x[i]) }\n", 0);
    compare(text, 1, NOT_TILED);
    LoopsProgram *p = marked(a, text);
    ck_assert_int_eq(count_marks(find_kernel(p), MARK_PARALLEL), 1);
    ck_assert_int_eq(count_marks(find_kernel(p), MARK_VECTOR), 1);
    ck_assert_int_gt((int)p->steps.at[0]->threads, 1);
    arena_free(a);
}
END_TEST

/* Softmax and its loss over `columns` classes, with scratch of the thread, an index that is looked up and checked, and both ways of summing up a row. */
static const char *row_text(Arena *a, int columns, int64_t bound) {
    const char *buffers =
        arena_printf(a,
                     "  buffer %%x: f32[B, %d]\n  buffer %%c: u8[B]\n  buffer %%y: f32[B, %d]\n  buffer %%l: f32[B]\n"
                     "  buffer %%e: f32[%d] thread 0\n",
                     columns, columns, columns);
    const char *kernel = arena_printf(
        a,
        "    for n in 0..B {\n      acc best: f32 = -inf\n      for j in 0..%d {\n        let v: f32 = %%x[n, j]\n"
        "        let better: bool = or(gt(v, best), and(ne(v, v), eq(best, best)))\n        best = select(better, v, best)\n     "
        " }\n"
        "      for j in 0..%d { %%e[j] = exp(sub(%%x[n, j], best)) }\n      acc s: f32[16] = 0\n"
        "      for j in 0..%d by 16, l in j..min(%d, j + 16) { s[-j + l] = add(s[-j + l], %%e[l]) }\n"
        "      let t: f32 = tree(add, s)\n      let q: f32 = mul(convert(%%c[n]), %.9g)\n      let r: i32 = convert(q)\n      "
        "index k = r\n      check k < %d\n"
        "      for j in 0..%d { %%y[n, j] = div(%%e[j], t) }\n      %%l[n] = sub(log(t), sub(%%x[n, k], best))\n    }\n",
        columns, columns, columns, columns, columns / 256.0, columns, columns);
    return step_text(a, buffers, kernel, bound);
}

/* Is there a vector loop with loops inside? */
static bool rows_are_lanes(const Body *body) {
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->kind != STMT_FOR) continue;
        for (const Stmt *b = s->mark == MARK_VECTOR ? s->body.first : NULL; b; b = b->next)
            if (b->kind == STMT_FOR) return true;
        if (rows_are_lanes(&s->body)) return true;
    }
    return false;
}

START_TEST(short_rows_become_lanes) {
    static const int columns[] = {1, 2, 9, 10, 16, 17, 33};
    static const int64_t rows[] = {1, 5, 31, 32, 33};
    Arena *a = arena_new();
    const char *text = row_text(a, columns[_i], 33);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) compare(text, rows[i], NOT_TILED);
    LoopsProgram *p = loops_read(a, text);
    PassCtx c = {.arena = a, .diag = diag_new(a), .machine = &machines[0]};
    ck_assert(pass_tile(&c, p) && pass_vectorize(&c, p));
    ck_assert_msg(rows_are_lanes(find_kernel(p)), "%d columns", columns[_i]);
    arena_free(a);
}
END_TEST

/* Each row needs what the one before left: no lanes. */
START_TEST(rows_that_need_one_another_are_no_lanes) {
    Arena *a = arena_new();
    const char *kernel =
        "    for n in 0..B {\n      acc s: f32 = 0\n      for j in 0..10 { s = add(exp(s), exp(exp(%x[n, j]))) }\n"
        "      for j in 0..10 { %x[n + 1, j] = exp(s) }\n    }\n";
    const char *text = step_text(a, "  buffer %x: f32[40, 10]\n  buffer %b: f32[B]\n", kernel, 39);
    compare(text, 39, NOT_TILED);
    ck_assert(!rows_are_lanes(find_kernel(marked(a, text))));
    arena_free(a);
}
END_TEST

/* Shared out, each thread with scratch of its own. */
START_TEST(many_short_rows_are_shared) {
    Arena *a = arena_new();
    LoopsProgram *p = marked(a, row_text(a, 10, 100000));
    ck_assert_int_gt((int)p->steps.at[0]->threads, 1);
    ck_assert(stmt_has_mark(find_kernel(p)->first, MARK_PARALLEL) && rows_are_lanes(find_kernel(p)));
    arena_free(a);
}
END_TEST

static int count_prefetches(const Body *body) {
    int n = 0;
    for (const Stmt *s = body->first; s; s = s->next) n += (s->kind == STMT_PREFETCH) + count_prefetches(&s->body);
    return n;
}

/* Softmax over rows that no cache holds fetches the next row and the lines that it will store; over rows that a cache holds it does not. */
START_TEST(long_rows_are_fetched_ahead) {
    Arena *a = arena_new();
    const char *kernel =
        "    for i in 0..40 {\n      acc s: f32[16] = 0\n      for j in 0..300 by 16, l in j..min(300, j + 16) {\n"
        "        s[-j + l] = add(s[-j + l], %x[i, l])\n      }\n      let t: f32 = tree(add, s)\n"
        "      for j in 0..300 { %e[j] = exp(sub(%x[i, j], t)) }\n      for j in 0..300 { %y[i, j] = mul(%e[j], t) }\n    }\n";
    const char *text =
        step_text(a, "  buffer %x: f32[40, 300]\n  buffer %y: f32[40, 300]\n  buffer %e: f32[300] thread 0\n", kernel, 0);
    compare(text, 1, NOT_TILED);
    for (int m = 0; m < N_MACHINES; m++) {
        LoopsProgram *p = loops_read(a, text);
        PassCtx c = {.arena = a, .diag = diag_new(a), .machine = &machines[m]};
        ck_assert(pass_tile(&c, p) && pass_vectorize(&c, p));
        ck_assert_int_eq(count_prefetches(find_kernel(p)), machines[m].l2 < 40 * 1200 && machines[m].vector_bytes > 4 ? 2 : 0);
    }
    arena_free(a);
}
END_TEST

static int fetches_of(const Body *body, const char *buffer) {
    int n = 0;
    for (const Stmt *s = body->first; s; s = s->next)
        n += (s->kind == STMT_PREFETCH && strcmp(s->buffer->name, buffer) == 0) + fetches_of(&s->body, buffer);
    return n;
}

/* How often the tiled step of the text asks for places of the buffer. */
static int step_fetches(Arena *a, const char *text, const Machine *machine, const char *buffer) {
    LoopsProgram *p = loops_read(a, text);
    PassCtx c = {.arena = a, .diag = diag_new(a), .machine = machine};
    ck_assert(pass_tile(&c, p));
    const Step *step = p->steps.at[0];
    int n = 0;
    for (size_t i = 0; i < step->nodes.n; i++) n += fetches_of(&step->nodes.at[i]->body, buffer);
    return n;
}

/* What the epilogue reads of a temporary that the second cache does not hold is asked for while the chains run; of one that it may
 * hold it is not. */
START_TEST(epilogues_of_large_temporaries_are_fetched_ahead) {
    Arena *a = arena_new();
    const char *buffers =
        "  buffer %x: f32[96, 128]\n  buffer %w: f32[128, 96]\n  buffer %h: f32[96, 96]\n  buffer %y: f32[96, 96]\n";
    const char *text = step_text(a, buffers, product_text(a, 96, 96, "128", "i, k", "k, j", "mul(s, tanh(%h[i, j]))"), 0);
    compare(text, 1, TILED);
    for (int m = 0; m < N_MACHINES; m++) {
        int fetches = step_fetches(a, text, &machines[m], "h");
        ck_assert_msg((fetches > 0) == (machines[m].l2 < 96 * 96 * 4), "machine %d: %d", m, fetches);
    }
    arena_free(a);
}
END_TEST

/* Panels that the first cache does not hold are asked for some turns ahead; those that it holds are not. So are packed rows that the second one does not hold. */
START_TEST(packed_operands_are_fetched_ahead) {
    Arena *a = arena_new();
    for (int k = 40; k <= 200; k += 160) {
        const char *buffers =
            arena_printf(a, "  buffer %%x: f32[28, %d]\n  buffer %%w: f32[%d, 300]\n  buffer %%y: f32[28, 300]\n", k, k);
        const char *text = step_text(a, buffers, product_text(a, 28, 300, k == 40 ? "40" : "200", "i, k", "k, j", "s"), 0);
        compare(text, 1, TILED);
        for (int m = 0; m < 3; m += 2) {
            int fetches = step_fetches(a, text, &machines[m], "k.panel");
            ck_assert_msg((fetches > 0) == (m == 2 || k == 200), "chains of %d, machine %d: %d", k, m, fetches);
        }
    }
    const char *buffers = "  buffer %x: f32[50, 90]\n  buffer %w: f32[50, 300]\n  buffer %y: f32[90, 300]\n",
               *text = step_text(a, buffers, product_text(a, 90, 300, "50", "k, i", "k, j", "s"), 0);
    for (int m = 0; m < 3; m += 2) {
        int fetches = step_fetches(a, text, &machines[m], "k.rows");
        ck_assert_msg((fetches > 0) == (m == 2), "machine %d: %d", m, fetches);
    }
    arena_free(a);
}
END_TEST

/* Columns that lie along the chain: those of the next panel are asked for by the tiles of this one, if there are enough of them. */
START_TEST(the_next_panel_is_fetched_ahead) {
    Arena *a = arena_new();
    for (int m = 40; m <= 200; m += 160) {
        const char *buffers =
            arena_printf(a, "  buffer %%x: f32[%d, 200]\n  buffer %%w: f32[700, 200]\n  buffer %%y: f32[%d, 700]\n", m, m);
        int fetches =
            step_fetches(a, step_text(a, buffers, product_text(a, m, 700, "200", "i, k", "j, k", "s"), 0), &machines[0], "w");
        ck_assert_msg((fetches > 0) == (m == 200), "%d rows: %d", m, fetches);
    }
    const char *buffers = "  buffer %x: f32[120, 30]\n  buffer %w: f32[800, 30]\n  buffer %y: f32[120, 800]\n",
               *text = step_text(a, buffers, product_text(a, 120, 800, "30", "i, k", "j, k", "s"), 0);
    compare(text, 1, TILED);
    ck_assert_int_gt(step_fetches(a, text, &machines[2], "w"), 0);
    arena_free(a);
}
END_TEST

/* What is packed lies in rows far apart: rows 2 KB apart, two of which meet in a set of the first cache, are asked for less far ahead than others, or they would be gone again. */
START_TEST(rows_that_meet_are_fetched_later) {
    static const struct {
        int columns, ahead;
    } cases[] = {{700, 16}, {512, 8}, {1024, 4}, {256, 16}};
    Arena *a = arena_new();
    int n = cases[_i].columns;
    const char *buffers =
        arena_printf(a, "  buffer %%x: f32[70, 200]\n  buffer %%w: f32[200, %d]\n  buffer %%y: f32[70, %d]\n", n, n);
    const char *shown = marked_text(a, step_text(a, buffers, product_text(a, 70, n, "200", "i, k", "k, j", "s"), 0));
    const char *want = arena_printf(a, "prefetch %%w[k + %d,", cases[_i].ahead);
    ck_assert_msg(strstr(shown, want), "no %s:\n%s", want, shown);
    arena_free(a);
}
END_TEST

/* Sums of enough columns for vectors have a buffer for a strip of them, on the machine with the smallest caches that has vectors. */
static void check_summed_by_rows(Arena *a, const char *text, int columns) {
    LoopsProgram *p = loops_read(a, text);
    size_t before = p->steps.at[0]->buffers.n;
    PassCtx c = {.arena = a, .diag = diag_new(a), .machine = &machines[2]};
    ck_assert(pass_tile(&c, p) && pass_vectorize(&c, p));
    ck_assert_msg(p->steps.at[0]->buffers.n == before + (columns >= 64), "%d columns", columns);
}

START_TEST(columns_of_large_matrices_are_summed_by_rows) {
    static const int columns[] = {63, 700, 1024, 1100, 2500};
    Arena *a = arena_new();
    int n = columns[_i], m = 12000 / n; /* more than the third machine's caches hold */
    const char *buffers =
        arena_printf(a, "  buffer %%x: f32[%d, %d]\n  buffer %%w: f32[%d]\n  buffer %%y: f32[%d]\n", m, n, m, n);
    const char *kernel =
        arena_printf(a,
                     "    for j in 0..%d {\n      acc s: f32 = 0.5\n      for i in 0..%d {\n        let v: f32 = "
                     "mul(%%x[i, j], %%w[i])\n        s = add(s, v)\n      }\n      let t: f32 = neg(s)\n"
                     "      %%y[j] = sub(%%y[j], t)\n    }\n",
                     n, m);
    const char *text = step_text(a, buffers, kernel, 0);
    compare(text, 1, NOT_TILED);
    check_summed_by_rows(a, text, n);
    arena_free(a);
}
END_TEST

/* Places of a window inside lanes: few are written out, many (5 x 5) and dear ones are not; windows at the end may be smaller. */
START_TEST(windows_inside_lanes_are_written_out) {
    static const struct {
        int size;
        const char *value;
        int loops; /* that are written out */
    } cases[] = {{2, "%x[n, 2*i + p, 2*j + q, c]", 2},
                 {3, "%x[n, 2*i + p, 2*j + q, c]", 2},
                 {5, "%x[n, 2*i + p, 2*j + q, c]", 1},
                 {3, "tanh(exp(tanh(%x[n, 2*i + p, 2*j + q, c])))", 1}};
    Arena *a = arena_new();
    int size = cases[_i].size;
    const char *buffers = "  buffer %x: f32[B, 15, 17, 33]\n  buffer %y: f32[B, 7, 7, 33]\n";
    const char *kernel =
        arena_printf(a,
                     "    for n in 0..B, i in 0..7, j in 0..7, c in 0..33 {\n      acc s: f32 = 0\n"
                     "      for p in 0..min(%d, 15 - 2*i), q in 0..%d { s = add(s, %s) }\n      %%y[n, i, j, c] = s\n    }\n",
                     size, size < 4 ? size : 4, cases[_i].value);
    const char *text = step_text(a, buffers, kernel, 3);
    for (int batch = 1; batch <= 3; batch++) compare(text, batch, NOT_TILED);
    ck_assert_int_eq(count_marks(find_kernel(marked(a, text)), MARK_UNROLL), cases[_i].loops);
    arena_free(a);
}
END_TEST

/* Rows that two loops count, turns and the samples of a batch, which may be short. */
START_TEST(columns_of_turns_and_samples_are_summed_by_rows) {
    static const int columns[] = {63, 700, 1100};
    Arena *a = arena_new();
    int n = columns[_i / 2], m = 3000 / n, batch = _i % 2 ? 4 : 3;
    const char *buffers =
        arena_printf(a, "  buffer %%x: f32[%d, B, %d]\n  buffer %%w: f32[%d, B]\n  buffer %%y: f32[%d]\n", m, n, m, n);
    const char *kernel = arena_printf(a,
                                      "    for j in 0..%d {\n      acc s: f32 = 0.5\n      for t in 0..%d, b in 0..B {\n"
                                      "        let v: f32 = mul(%%x[t, b, j], %%w[t, b])\n        s = add(s, v)\n      }\n"
                                      "      %%y[j] = sub(%%y[j], s)\n    }\n",
                                      n, m);
    const char *text = step_text(a, buffers, kernel, 4);
    compare(text, batch, NOT_TILED);
    check_summed_by_rows(a, text, n);
    arena_free(a);
}
END_TEST

/* Pieces of a long sum, which begin and end in the middle of a sample's rows. */
START_TEST(columns_of_pieces_are_summed_by_rows) {
    static const int columns[] = {31, 64, 77};
    Arena *a = arena_new();
    int n = columns[_i];
    const char *buffers = arena_printf(a, "  buffer %%x: f32[B, 9, %d]\n  buffer %%y: f32[3, %d]\n", n, n);
    const char *kernel =
        arena_printf(a,
                     "    index q = (9*B + 63) / 64\n    for piece in 0..min(q, 3), j in 0..%d {\n      acc s: f32 = 0\n"
                     "      index begin = max(i64(0), floor_div(i64(64*piece), i64(9)))\n"
                     "      index stop = floor_div(i64(64*piece + 63), i64(9))\n"
                     "      for b in begin..min(B, stop + 1) {\n        index begin.1 = max(i64(0), i64(64*piece - 9*b))\n"
                     "        for r in begin.1..min(9, 64*piece - 9*b + 64) { s = add(s, %%x[b, r, j]) }\n      }\n"
                     "      %%y[piece, j] = s\n    }\n",
                     n);
    const char *text = step_text(a, buffers, kernel, 20);
    static const int batches[] = {20, 14, 7, 1};
    for (int i = 0; i < 4; i++) compare(text, batches[i], NOT_TILED);
    check_summed_by_rows(a, text, n);
    arena_free(a);
}
END_TEST

/* Rows and columns that are left over must not leave the whole kernel to one thread. */
START_TEST(rests_are_shared) {
    static const struct {
        int m, n;
    } cases[] = {{790, 300}, {790, 512}, {517, 10}, {100, 100}, {790, 1000}};
    Arena *a = arena_new();
    int m = cases[_i].m, n = cases[_i].n;
    LoopsProgram *p = marked(a, over_samples_text(a, m, n, "s", 300));
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
    ck_assert_int_eq((int)marked(a, step_text(a, buffers, kernel, 0))->steps.at[0]->threads, 3);
    arena_free(a);
}
END_TEST

START_TEST(carried_turns_are_not_shared) {
    Arena *a = arena_new();
    const char *buffers = "  buffer %x: f32[300001]\n";
    const char *text = step_text(a, buffers, "    for i in 0..300000 { %x[i + 1] = tanh(%x[i]) }\n", 0);
    compare(text, 1, NOT_TILED);
    LoopsProgram *p = marked(a, text);
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
    tcase_add_loop_test(t, a_whole_batch_leaves_one_tile, 0, 48);
    tcase_add_test(t, few_columns_are_turned_around);
    tcase_add_test(t, places_are_rows);
    tcase_add_test(t, near_columns_are_passed_row_by_row);
    tcase_add_test(t, lets_before_the_nest);
    tcase_add_loop_test(t, rows_that_are_neighbours, 0, 4);
    tcase_add_loop_test(t, rows_of_several_tiles_are_packed_together, 0, 5);
    tcase_add_test(t, tiles_of_two_sizes);
    tcase_add_loop_test(t, rows_that_collide, 0, 4);
    tcase_add_loop_test(t, neighbours_in_front, 0, 4);
    tcase_add_test(t, far_rows_for_two_panels);
    tcase_add_test(t, long_chain_of_packed_columns);
    tcase_add_test(t, an_index_in_the_reduction);
    tcase_add_test(t, first_tile_packs);
    tcase_add_loop_test(t, panels_are_shared_evenly, 0, 4);
    tcase_add_loop_test(t, packed_in_front_of_a_loop, 0, 4);
    tcase_add_loop_test(t, maps_with_a_border, 0, sizeof maps / sizeof *maps);
    tcase_add_test(t, small_products_pack_their_own);
    tcase_add_loop_test(t, weight_update_in_the_epilogue, 1, 20);
    tcase_add_test(t, lets_that_hang_on_lets_of_the_column);
    tcase_add_test(t, batched_product_with_odd_names);
    tcase_add_loop_test(t, convolution_is_a_nest_of_seven, 1, 6);
    tcase_add_test(t, matrix_times_vector_stays_right);
    tcase_add_loop_test(t, few_rows_along_columns, 0, 16);
    tcase_add_loop_test(t, few_rows_along_the_chain, 0, 28);
    tcase_add_loop_test(t, few_rows_of_f64, 0, 8);
    tcase_add_test(t, few_rows_that_collide);
    tcase_add_loop_test(t, few_rows_in_pieces, 0, 12);
    tcase_add_test(t, few_rows_over_the_batch);
    tcase_add_loop_test(t, sums_and_elements, 1, 24);
    tcase_add_loop_test(t, short_rows_become_lanes, 0, 7);
    tcase_add_test(t, rows_that_need_one_another_are_no_lanes);
    tcase_add_test(t, many_short_rows_are_shared);
    tcase_add_loop_test(t, columns_of_large_matrices_are_summed_by_rows, 0, 5);
    tcase_add_loop_test(t, windows_inside_lanes_are_written_out, 0, 4);
    tcase_add_loop_test(t, columns_of_pieces_are_summed_by_rows, 0, 3);
    tcase_add_loop_test(t, columns_of_turns_and_samples_are_summed_by_rows, 0, 6);
    tcase_add_test(t, long_rows_are_fetched_ahead);
    tcase_add_test(t, epilogues_of_large_temporaries_are_fetched_ahead);
    tcase_add_test(t, packed_operands_are_fetched_ahead);
    tcase_add_test(t, the_next_panel_is_fetched_ahead);
    tcase_add_loop_test(t, rows_that_meet_are_fetched_later, 0, 4);
    tcase_add_test(t, long_kernels_are_shared);
    tcase_add_loop_test(t, rests_are_shared, 0, 5);
    tcase_add_test(t, threads_without_work_are_not_planned);
    tcase_add_test(t, carried_turns_are_not_shared);
    suite_add_tcase(s, t);
    return s;
}
