/*
 * test_apart.c - loops of one kernel: they are shared out to threads if none stores what another touches, tiles beside plain loops too; else one thread runs all.
 */
#include "passes/nest.h"
#include "run_tile.h"

static const char buffers[] = "  buffer %x: f32[200, 512]\n  buffer %y: f32[200, 512]\n  buffer %z: f32[200, 512]\n"
                              "  buffer %b: f32[B, 16, 18, 512]\n  buffer %q: f32[60, 64]\n  buffer %w: f32[64, 96]\n"
                              "  buffer %p: f32[60, 96]\n  buffer %r: f32[60, 96]\n  buffer %t: f32[60, 96]\n";
/* What makes the step worth several threads. */
static const char work[] =
    "  buffer %f: f32[100000]\n  kernel @work {\n    for i in 0..100000 { %f[i] = tanh(tanh(tanh(f32(i)))) }\n  }\n";
static const char product[] = "    for i in 0..60, j in 0..96 {\n      acc s: f32 = 0\n"
                              "      for k in 0..64 { s = fma(%q[i, k], %w[k, j], s) }\n      %p[i, j] = s\n    }\n";

static const struct {
    const char *what;
    bool product; /* in front of the loops */
    const char *loops;
    bool shared;
} cases[] = {
    {"two halves of rows", false,
     "    for i in 0..200, j in 0..256 { %y[i, j] = %x[i, j] }\n    for i in 0..200, j in 0..256 { %y[i, j + 256] = "
     "%z[i, j] }\n",
     true},
    {"two columns that meet", false,
     "    for i in 0..200, j in 0..257 { %y[i, j] = %x[i, j] }\n    for i in 0..200, j in 0..256 { %y[i, j + 256] = "
     "%z[i, j] }\n",
     false},
    {"rows above and below", false,
     "    for i in 0..120, j in 0..512 { %y[i, j] = %x[i, j] }\n    for i in 120..200, j in 0..512 { %y[i, j] = tanh(%z[i, "
     "j]) }\n",
     true},
    {"from the end", false,
     "    for i in 0..100, j in 0..512 { %y[i, j] = %x[i, j] }\n    for i in 0..100, j in 0..512 { %y[-i + 199, j] = %z[i, "
     "j] "
     "}\n",
     true},
    {"from the end, and one more", false,
     "    for i in 0..101, j in 0..512 { %y[i, j] = %x[i, j] }\n    for i in 0..100, j in 0..512 { %y[-i + 199, j] = %z[i, "
     "j] "
     "}\n",
     false},
    {"the half that the other one stores is read", false,
     "    for i in 0..200, j in 0..256 { %y[i, j] = %x[i, j] }\n    for i in 0..200, j in 0..256 { %z[i, j] = tanh(%y[i, j "
     "+ 255]) }\n",
     false},
    {"as far as a number says that is not known before", false,
     "    let r: i32 = convert(abs(%x[0, 0]))\n    index n = r\n    check n < 99\n    for i in 0..100, j in 0..n { %y[i + j, 0] "
     "= %x[i, j] }\n",
     false},
    {"every other column", false,
     "    for i in 0..200, j in 0..256 { %y[i, 2*j] = %x[i, j] }\n    for i in 0..200, j in 0..256 { %y[i, 2*j + 1] = "
     "%z[i, j] "
     "}\n",
     false}, /* intervals do not show it */
    {"sides of a batch of maps", false,
     "    for n in 0..B, i in 0..1, j in 0..18, c in 0..512 { %b[n, i, j, c] = 0 }\n"
     "    for n in 0..B, i in 15..16, j in 0..18, c in 0..512 { %b[n, i, j, c] = 0 }\n"
     "    for n in 0..B, i in 1..15, j in 0..1, c in 0..512 { %b[n, i, j, c] = 0 }\n"
     "    for n in 0..B, i in 1..15, j in 17..18, c in 0..512 { %b[n, i, j, c] = 0 }\n",
     true},
    {"sides that meet in the corners", false,
     "    for n in 0..B, i in 0..1, j in 0..18, c in 0..512 { %b[n, i, j, c] = 0 }\n"
     "    for n in 0..B, i in 0..16, j in 0..1, c in 0..512 { %b[n, i, j, c] = 0 }\n",
     false},
    {"a product and a loop beside it", true, "    for i in 0..60, j in 0..96 { %r[i, j] = exp(%t[i, j]) }\n", true},
    {"... that reads what the product stores", true, "    for i in 0..60, j in 0..96 { %r[i, j] = exp(%p[i, j]) }\n", false},
    {"... that stores where the product does", true, "    for i in 0..60, j in 0..96 { %p[i, j] = exp(%t[i, j]) }\n", false},
    {"... whose turns hang on one another", true, "    for i in 1..60 { %r[i, 0] = exp(%r[i - 1, 0]) }\n", false},
    {"two products", true,
     "    for i in 0..60, j in 0..60 {\n      acc t: f32 = 0\n"
     "      for k in 0..96 { t = fma(%r[i, k], %t[j, k], t) }\n      %y[i, j] = t\n    }\n",
     true},
    {"... of which one needs the other", true,
     "    for i in 0..60, j in 0..60 {\n      acc t: f32 = 0\n"
     "      for k in 0..96 { t = fma(%p[i, k], %t[j, k], t) }\n      %y[i, j] = t\n    }\n",
     false},
};
enum { CASES = sizeof cases / sizeof *cases };

START_TEST(loops_beside_each_other) {
    Arena *a = arena_new();
    const char *kernel = arena_printf(a, "%s%s", cases[_i].product ? product : "", cases[_i].loops);
    compare(step_text(a, buffers, kernel, 8), 7, cases[_i].product ? TILED_VECTORS : NOT_TILED);
    const char *text = step_text(a, arena_printf(a, "%s%s", buffers, work), kernel, 8);
    const Step *s = marked(a, text)->steps.at[0];
    int loops = 0, shared = 0;
    /* what was packed is in kernels in front */
    for (const Stmt *top = s->nodes.at[s->nodes.n - 1]->body.first; top; top = top->next) {
        loops += top->kind == STMT_FOR;
        shared += stmt_has_mark(top, MARK_PARALLEL);
    }
    ck_assert_int_ge(loops, 1 + cases[_i].product);
    ck_assert_msg(shared == (cases[_i].shared ? loops : 0), "%s: %d of %d loops are shared\n%s", cases[_i].what, shared, loops,
                  text);
    arena_free(a);
}
END_TEST

Suite *apart_suite(void);
Suite *apart_suite(void) {
    Suite *s = suite_create("apart");
    TCase *t = tcase_create("apart");
    tcase_add_loop_test(t, loops_beside_each_other, 0, CASES);
    suite_add_tcase(s, t);
    return s;
}
