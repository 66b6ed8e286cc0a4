/*
 * test_collapse.c - collapse: sums over axes that lie in memory as one become one loop and keep their bits, others stay as they are.
 */
#include "run_loops.h"

static const struct {
    const char *what, *buffers, *loops, *sum; /* buffers: what is summed; loops around the sum, the sum */
    int left;                                 /* loops over what is reduced that are left */
} cases[] = {
    {"a batch and its rows", "%x: f32[B, 6, 5]\n  buffer %w: f32[B, 6, 7]", "a in 0..B, t in 0..6",
     "fma(%x[a, t, i], %w[a, t, j], s)", 1},
    {"three axes", "%x: f32[B, 6, 3, 5]\n  buffer %w: f32[B, 6, 3, 7]", "a in 0..B, t in 0..6, u in 0..3",
     "fma(%x[a, t, u, i], %w[a, t, u, j], s)", 1},
    {"a column, scaled by rows", "%x: f32[B, 6, 5]\n  buffer %w: f32[B, 6]", "a in 0..B, t in 0..6",
     "add(s, mul(%x[a, t, i], %w[a, t]))", 1},
    {"some rows of the batch", "%x: f32[B, 6, 5]\n  buffer %w: f32[B, 6, 7]", "a in 0..3, t in 0..6",
     "fma(%x[a, t, i], %w[a, t, j], s)", 1},
    {"gaps between rows that are the same in both", "%x: f32[B, 6, 5] stride [54, 9, 1]\n  buffer %w: f32[B, 6, 7]",
     "a in 0..B, t in 0..6", "fma(%x[a, t, i], %w[a, t, j], s)", 1},
    {"rows of samples apart", "%x: f32[B, 6, 5] stride [40, 5, 1]\n  buffer %w: f32[B, 6, 7]", "a in 0..B, t in 0..6",
     "fma(%x[a, t, i], %w[a, t, j], s)", 2},
    {"not all rows", "%x: f32[B, 6, 5]\n  buffer %w: f32[B, 6, 7]", "a in 0..B, t in 0..5", "fma(%x[a, t, i], %w[a, t, j], s)",
     2},
    {"another order in one", "%x: f32[6, B, 5]\n  buffer %w: f32[B, 6, 7]", "a in 0..B, t in 0..6",
     "fma(%x[t, a, i], %w[a, t, j], s)", 2},
    {"one axis alone in one", "%x: f32[B, 6, 5]\n  buffer %w: f32[6, 7]", "a in 0..B, t in 0..6", "fma(%x[a, t, i], %w[t, j], s)",
     2},
    {"a window", "%x: f32[B, 10, 5]\n  buffer %w: f32[B, 6, 7]", "a in 0..B, t in 0..6", "fma(%x[a, i + t, i], %w[a, t, j], s)",
     2},
    {"the number of the row", "%x: f32[B, 6, 5]\n  buffer %w: f32[B, 6, 7]", "a in 0..B, t in 0..6",
     "fma(mul(%x[a, t, i], f32(t)), %w[a, t, j], s)", 2},
    {"the batch behind the rows", "%x: f32[6, B, 5]\n  buffer %w: f32[6, B, 7]", "t in 0..6, a in 0..B",
     "fma(%x[t, a, i], %w[t, a, j], s)", 2},
};
enum { CASES = sizeof cases / sizeof *cases };

static int loops_deep(const Body *body) {
    int most = 0;
    for (const Stmt *s = body->first; s; s = s->next) {
        int n = (s->kind == STMT_FOR) + loops_deep(&s->body);
        if (n > most) most = n;
    }
    return most;
}

START_TEST(axes_that_lie_as_one) {
    Arena *a = arena_new();
    const char *text =
        arena_printf(a,
                     "loops lowered\nsource \"nest.nn\" 0x1\n\nstep @f batch B<=4 {\n  buffer %s\n  buffer %%y: f32[5, 7]\n"
                     "  kernel @k {\n    for i in 0..5, j in 0..7 {\n      acc s: f32 = 0\n"
                     "      for %s { s = %s }\n      %%y[i, j] = s\n    }\n  }\n}\n",
                     cases[_i].buffers, cases[_i].loops, cases[_i].sum);
    for (int64_t batch = 4; batch >= 3; batch--) {
        LoopsProgram *plain = loops_read(a, text), *one = loops_read(a, text);
        Step *before = plain->steps.at[0], *after = one->steps.at[0];
        size_t own = before->buffers.n;
        PassCtx c = {.arena = a, .diag = diag_new(a)};
        ck_assert(pass_collapse(&c, one));
        const char *why = loops_verify(a, one, LOOPS_LOWERED);
        ck_assert_msg(!why, "%s: %s", cases[_i].what, why);
        ck_assert_msg(loops_deep(&after->nodes.at[0]->body) == 2 + cases[_i].left, "%s: %d loops are left", cases[_i].what,
                      loops_deep(&after->nodes.at[0]->body) - 2);
        void **want = loops_run(a, before, own, batch), **got = loops_run(a, after, own, batch);
        ck_assert_msg(memcmp(want[2], got[2], 5 * 7 * 4) == 0, "%s: other bits", cases[_i].what);
        Text shown = {0};
        loops_print(one, LOOPS_LOWERED, NULL, &shown, a);
        loops_read(a, text_str(a, &shown)); /* views are read back, too */
    }
    arena_free(a);
}
END_TEST

/* The same view of a buffer serves all that read it so. */
START_TEST(one_view_of_a_buffer) {
    Arena *a = arena_new();
    LoopsProgram *p = loops_read(
        a, "loops lowered\nsource \"nest.nn\" 0x1\n\nstep @f batch B<=4 {\n  buffer %x: f32[B, 6, 5]\n  buffer %y: f32[5]\n"
           "  kernel @k {\n    for i in 0..5 {\n      acc s: f32 = 0\n      for a in 0..B, t in 0..6 { s = add(s, mul(%x[a, t, "
           "i], %x[a, t, i])) }\n"
           "      acc u: f32 = 0\n      for a in 0..B, t in 0..6 { u = add(u, %x[a, t, i]) }\n      %y[i] = mul(s, u)\n    }\n  "
           "}\n}\n");
    PassCtx c = {.arena = a, .diag = diag_new(a)};
    ck_assert(pass_collapse(&c, p));
    const Step *s = p->steps.at[0];
    ck_assert_uint_eq(s->buffers.n, 3);
    ck_assert(s->buffers.at[2]->same == s->buffers.at[0] && s->buffers.at[2]->rank == 2 && s->buffers.at[2]->dim[0].n == 6);
    arena_free(a);
}
END_TEST

Suite *collapse_suite(void);
Suite *collapse_suite(void) {
    Suite *s = suite_create("collapse");
    TCase *t = tcase_create("collapse");
    tcase_add_loop_test(t, axes_that_lie_as_one, 0, CASES);
    tcase_add_test(t, one_view_of_a_buffer);
    suite_add_tcase(s, t);
    return s;
}
