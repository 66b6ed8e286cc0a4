/*
 * test_tile_blocks.c - long chains over one axis in blocks, and pieces of long sums: before and after tile, vectorize and parallelize, the same bits.
 */
#include "run_tile.h"

/* More rows than the second cache holds: the chain in blocks, whole ones and what is left of a batch; tiles, panels and chunks with a rest and without, and an epilogue that sees rows and columns. */
START_TEST(long_chains_in_blocks) {
    static const int sizes[][3] = {{66, 50, 600}, {131, 40, 1500}, {64, 96, 520}, {72, 7, 513}, {67, 130, 700}, {128, 48, 1024}};
    Arena *a = arena_new();
    int m = sizes[_i][0], n = sizes[_i][1], k = sizes[_i][2];
    const char *buffers = arena_printf(a,
                                       "  buffer %%x: f32[B, %d]\n  buffer %%w: f32[B, %d]\n  buffer %%q: f32[%d]\n  buffer %%r: "
                                       "f32[%d]\n  buffer %%y: f32[%d, %d]\n",
                                       m, n, m, n, m, n);
    const char *kernel =
        arena_printf(a,
                     "    let e: f32 = mul(0.5, %%q[0])\n    for i in 0..%d, j in 0..%d {\n      let c: f32 = tanh(%%q[i])\n     "
                     " acc s: f32 = 0\n"
                     "      for k in 0..B { s = fma(%%x[k, i], %%w[k, j], s) }\n"
                     "      let d: f32 = mul(c, %%r[j])\n      %%y[i, j] = sub(%%y[i, j], fma(s, d, e))\n    }\n",
                     m, n);
    const char *text = step_text(a, buffers, kernel, k);
    static const int batches[] = {1, 64, 257, 511};
    compare(text, k, TILED);
    compare(text, batches[_i % 4], TILED);
    const char *shown = marked_text(a, text);
    bool blocks = strstr(shown, "buffer %k.sums") != NULL;
    ck_assert_msg(blocks == ((int64_t)m * k * 4 > machines[0].l2 / 2), "%s", shown);
    arena_free(a);
}
END_TEST

/* Tiles of a block ask for rows of the next one: whole tiles of the whole panels alone, and only where these are enough for few lines each. */
START_TEST(rows_of_the_next_block_are_fetched_ahead) {
    static const struct {
        int m, n;
        bool asked;
    } cases[] = {{512, 128, true}, {512, 136, true}, {512, 24, false}};
    Arena *a = arena_new();
    int m = cases[_i].m, n = cases[_i].n;
    const char *shown = text_on(a, over_samples_text(a, m, n, "s", 2048), &machines[1]);
    ck_assert_msg(strstr(shown, "buffer %k.sums") != NULL, "%s", shown);
    ck_assert_msg((strstr(shown, "for q in 0..") != NULL) == cases[_i].asked, "%s", shown);
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
static void compare_rows_of_batch(const char *x, const char *factor, int batch) {
    Arena *a = arena_new();
    const char *buffers = arena_printf(a, "  buffer %%x: %s\n  buffer %%w: f32[150, 40]\n  buffer %%p: f32[3, B, 40]\n", x);
    const char *kernel = arena_printf(a,
                                      "    for piece in 0..3, n in 0..B, o in 0..40 {\n      acc s: f32 = 0\n"
                                      "      for k in 64*piece..min(150, 64*piece + 64) { s = fma(%s, %%w[k, o], s) }\n"
                                      "      %%p[piece, n, o] = s\n    }\n",
                                      factor);
    compare(step_text(a, buffers, kernel, 37), batch, TILED);
    arena_free(a);
}

START_TEST(pieces_with_short_batches) { compare_rows_of_batch("u8[B, 150]", "div(f32 convert(%x[n, k]), 255)", _i); }
END_TEST

/* A page apart, so that they meet in one set of the cache: rows of whole tiles are packed, single ones are not. */
START_TEST(pieces_with_rows_that_meet) { compare_rows_of_batch("f32[B, 150] stride [1024, 1]", "%x[n, k]", _i); }
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
    LoopsProgram *p = marked(a, text[1]);
    ck_assert_int_eq(count_marks(find_kernel(p), MARK_PARALLEL), 1);
    ck_assert_int_eq(count_marks(find_kernel(p), MARK_VECTOR), 1);
    arena_free(a);
}
END_TEST

Suite *tile_blocks_suite(void);
Suite *tile_blocks_suite(void) {
    Suite *s = suite_create("tile_blocks");
    TCase *t = tcase_create("tile_blocks");
    tcase_add_loop_test(t, rows_of_the_next_block_are_fetched_ahead, 0, 3);
    tcase_add_loop_test(t, long_chains_in_blocks, 0, 6);
    tcase_add_loop_test(t, pieces_of_products, 0, 20);
    tcase_add_loop_test(t, pieces_with_short_batches, 1, 38);
    tcase_add_loop_test(t, pieces_with_rows_that_meet, 1, 38);
    tcase_add_loop_test(t, pieces_of_convolutions, 1, 7);
    tcase_add_loop_test(t, pieces_of_fixed_length, 1, 7);
    tcase_add_test(t, trees_of_pieces);
    suite_add_tcase(s, t);
    return s;
}
