/*
 * test_fuse_again.c - what fuse computes again where it is read (passes/fuse_again.c): what is stored then, on which machine, and
 * in which order parameters are read and overwritten. On random graphs test_random.c and test_random_loops.c compare every bit.
 */
#include "run_graph.h"
#include "run_loops.h"

static const Machine avx512 = {.vector_bytes = 64, .vector_registers = 32, .masked = true, .l1 = 1 << 15, .l2 = 1 << 20};

/* Values that kernels store, as large as a batch times 512. */
static int stored(const TestGraph *g) {
    int n = 0;
    for (const Op *op = g->f->body->first; op; op = op->next)
        for (int k = 0; op->code == OP_kernel && k < op->n_out; k++) {
            const Type *t = op->out[k]->type;
            n += t->rank == 2 && t->dim[1].n == 512;
        }
    return n;
}

/* Fuses for the machine and compares every bit of the results with those of the graph as it was. */
static TestGraph fused_same(const char *text, const Machine *machine) {
    TestGraph before = test_read(text), after = test_fused(text, machine);
    enum { MOST = 8 };
    Tensor *in[MOST], *want[MOST], *got[MOST];
    const Block *body = before.f->body;
    uint64_t seed = 7;
    ck_assert(body->params.n <= MOST && body->results.n <= MOST);
    for (size_t i = 0; i < body->params.n; i++) in[i] = test_draw(EVAL_F32, body->params.at[i]->type, 3, &seed, -2, 2, 0);
    test_run(&before, EVAL_F32, 3, in, want);
    test_run(&after, EVAL_F32, 3, in, got);
    for (size_t i = 0; i < body->results.n; i++) {
        ck_assert_int_eq(want[i]->count, got[i]->count);
        for (int64_t k = 0; k < want[i]->count; k++) ck_assert(tensor_get(want[i], k) == tensor_get(got[i], k));
        tensor_release(want[i]);
        tensor_release(got[i]);
    }
    for (size_t i = 0; i < body->params.n; i++) tensor_release(in[i]);
    arena_free(before.a);
    return after;
}

#define HEAD                                                                                                                     \
    "graph expanded\nfield %x: f32[B<=4096, 16] of @c\nfield %g: f32[B<=4096, 16] of @c\nparam %w: f32[16, 512] = 0\n"           \
    "param %v: f32[512, 16] = 0\nparam %s: f32[512] = 0\nvar %y: f32[B<=4096, 16] of @c\nvar %y2: f32[B<=4096, 512] of @c\n"     \
    "var %d: f32[B<=4096, 512] of @c\n\ncommand @c() {\n}\n\n"

/* ---- what is stored ---- */

/* a dense layer with gelu, the product behind it, and the way back through both */
static const char gelu[] =
    HEAD "func @f(%x: f32[B<=4096, 16], %g: f32[B<=4096, 16], %w: f32[16, 512], %v: f32[512, 16]) -> (%y: f32[B<=4096, 16], %d: "
         "f32[B<=4096, 512]) {\n"
         "  %a = contract \"mk,kn->mn\" %x, %w : f32[B, 512]\n  %c = constant 0.70710677 : f32[B, 512]\n"
         "  %s = mul %a, %c : f32[B, 512]\n  %e = erf %s : f32[B, 512]\n  %one = constant 1 : f32[B, 512]\n"
         "  %p = add %one, %e : f32[B, 512]\n  %t = mul %a, %p : f32[B, 512]\n  %half = constant 0.5 : f32[B, 512]\n"
         "  %h = mul %t, %half : f32[B, 512]\n  %q = mul %s, %s : f32[B, 512]\n  %n = neg %q : f32[B, 512]\n"
         "  %r = exp %n : f32[B, 512]\n  %y = contract \"mk,kn->mn\" %h, %v : f32[B, 16]\n"
         "  %dz = contract \"mn,kn->mk\" %g, %v : f32[B, 512]\n  %u = mul %dz, %half : f32[B, 512]\n"
         "  %i = mul %u, %p : f32[B, 512]\n  %j = mul %u, %a : f32[B, 512]\n  %k = mul %j, %r : f32[B, 512]\n"
         "  %d = add %i, %k : f32[B, 512]\n  return %y, %d\n}\n";

START_TEST(the_way_back_makes_the_slope_of_gelu_again) {
    TestGraph g = fused_same(gelu, &avx512);
    ck_assert_int_eq(stored(&g), 3); /* a, h, d; not 1 + erf, not the exponential */
    ck_assert_int_eq(test_count_ops(g.f->body, OP_erf), 2);
    ck_assert_int_eq(test_count_ops(g.f->body, OP_exp), 1); /* nobody needs it in front any more */
    ck_assert_int_eq(test_count_ops(g.f->body, OP_contract), 3);
    arena_free(g.a);
}
END_TEST

START_TEST(what_stays_in_the_cache_is_read) {
    Machine large = avx512;
    large.l2 = 1 << 30;
    TestGraph g = fused_same(gelu, &large);
    ck_assert_int_eq(stored(&g), 5);
    ck_assert_int_eq(test_count_ops(g.f->body, OP_erf), 1);
    arena_free(g.a);
}
END_TEST

START_TEST(without_vectors_functions_cost_more_than_memory) {
    Machine plain = avx512;
    plain.vector_bytes = 4;
    TestGraph g = fused_same(gelu, &plain);
    ck_assert_int_eq(test_count_ops(g.f->body, OP_erf), 1);
    ck_assert_int_eq(test_count_ops(g.f->body, OP_exp), 1);
    arena_free(g.a);
}
END_TEST

/* x - mean(x), which two products' epilogues read: x must be stored for another reason, and the means are small */
START_TEST(what_several_read_goes_if_none_of_them_needs_it) {
    TestGraph g = fused_same(
        HEAD "func @f(%x: f32[B<=4096, 16], %g: f32[B<=4096, 16], %w: f32[16, 512]) -> (%y2: f32[B<=4096, 512], %d: "
             "f32[B<=4096, 512]) {\n"
             "  %a = contract \"mk,kn->mn\" %x, %w : f32[B, 512]\n  %m = sum %a, axes=[1] : f32[B]\n"
             "  %mb = broadcast %m, axes=[0] : f32[B, 512]\n  %z = sub %a, %mb : f32[B, 512]\n  %zz = mul %z, %z : f32[B, 512]\n"
             "  %v = sum %zz, axes=[1] : f32[B]\n  %vb = broadcast %v, axes=[0] : f32[B, 512]\n"
             "  %p = contract \"mk,kn->mn\" %g, %w : f32[B, 512]\n  %q = mul %p, %z : f32[B, 512]\n"
             "  %gg = add %g, %x : f32[B, 16]\n  %r = contract \"mk,kn->mn\" %gg, %w : f32[B, 512]\n  %t = mul %r, %z : f32[B, "
             "512]\n  %d = mul %t, %vb : f32[B, 512]\n  return %q, %d\n}\n",
        &avx512);
    ck_assert_msg(stored(&g) == 3, "%s", test_text(&g)); /* a and the results */
    ck_assert_int_eq(test_count_ops(g.f->body, OP_sum), 2);
    arena_free(g.a);
}
END_TEST

/* ---- parameters ---- */

/* How many kernels of the step copy, and the text of all. */
static int copies(TestGraph *g, const char **text) {
    LoopsProgram *p = pass_lower(&g->c, g->m);
    ck_assert_ptr_nonnull(p);
    Text t = {0};
    loops_print(p, LOOPS_LOWERED, NULL, &t, g->a);
    *text = text_str(g->a, &t);
    int n = 0;
    for (const char *s = *text; (s = strstr(s, "kernel @copy")); s++) n++;
    return n;
}

/* %t = a s of the way forward is read again behind another product; s changes in the same step. */
#define SCALED                                                                                                                   \
    HEAD "func @f(%x: f32[B<=4096, 16], %g: f32[B<=4096, 16], %w: f32[16, 512], %s: f32[512]) -> (%y2: f32[B<=4096, 512], %d: "  \
         "f32[B<=4096, 512], %s: f32[512]) {\n"                                                                                  \
         "  %a = contract \"mk,kn->mn\" %x, %w : f32[B, 512]\n  %sb = broadcast %s, axes=[1] : f32[B, 512]\n"                    \
         "  %t = mul %a, %sb : f32[B, 512]\n  %h = tanh %t : f32[B, 512]\n  %n = sum %a, axes=[0] : f32[512]\n"                  \
         "  %s2 = sub %s, %n : f32[512]\n  %p = contract \"mk,kn->mn\" %g, %w : f32[B, 512]\n"                                   \
         "  %pa = add %p, %a : f32[B, 512]\n"

START_TEST(a_parameter_is_read_before_it_is_overwritten) {
    TestGraph g = fused_same(SCALED "  %d = mul %pa, %t : f32[B, 512]\n  return %h, %d, %s2\n}\n", &avx512);
    ck_assert_msg(stored(&g) == 3, "%s", test_text(&g)); /* a, h, d: t is made again, of s as it was */
    const char *text;
    ck_assert_int_eq(copies(&g, &text), 0);
    const char *read = strstr(text, "%d["), *write = strstr(text, "= sub(%s[");
    ck_assert_msg(read && write && read < write, "%s", text);
    arena_free(g.a);
}
END_TEST

/* Groups of rows and small updates share kernels: not those of which one overwrites what the other reads now. */
START_TEST(an_update_does_not_share_a_kernel_with_what_reads_it) {
    TestGraph g = fused_same(SCALED "  %pt = mul %pa, %t : f32[B, 512]\n  %k = sum %pt, axes=[1] : f32[B]\n"
                                    "  %kb = broadcast %k, axes=[0] : f32[B, 512]\n  %d = sub %pa, %kb : f32[B, 512]\n"
                                    "  return %h, %d, %s2\n}\n",
                             &avx512);
    ck_assert_msg(stored(&g) == 4, "%s", test_text(&g)); /* a, h, pa, d */
    const char *text;
    ck_assert_msg(copies(&g, &text) == 0, "%s", text);
    arena_free(g.a);
}
END_TEST

START_TEST(a_parameter_that_must_change_first_is_not_read_later) {
    TestGraph g = fused_same(SCALED "  %sc = broadcast %s2, axes=[1] : f32[B, 512]\n  %pt = mul %pa, %t : f32[B, 512]\n"
                                    "  %d = mul %pt, %sc : f32[B, 512]\n  return %h, %d, %s2\n}\n",
                             &avx512);
    ck_assert_msg(stored(&g) == 4, "%s", test_text(&g)); /* t, too */
    const char *text;
    ck_assert_int_eq(copies(&g, &text), 0);
    arena_free(g.a);
}
END_TEST

START_TEST(fusing_the_same_graph_twice_gives_the_same_text) {
    TestGraph a = test_fused(gelu, &avx512), b = test_fused(gelu, &avx512);
    ck_assert_str_eq(test_text(&a), test_text(&b));
    arena_free(a.a);
    arena_free(b.a);
}
END_TEST

Suite *fuse_again_suite(void);

Suite *fuse_again_suite(void) {
    Suite *s = suite_create("fuse_again");
    TCase *t = tcase_create("fuse_again");
    tcase_add_test(t, the_way_back_makes_the_slope_of_gelu_again);
    tcase_add_test(t, what_stays_in_the_cache_is_read);
    tcase_add_test(t, without_vectors_functions_cost_more_than_memory);
    tcase_add_test(t, what_several_read_goes_if_none_of_them_needs_it);
    tcase_add_test(t, a_parameter_is_read_before_it_is_overwritten);
    tcase_add_test(t, an_update_does_not_share_a_kernel_with_what_reads_it);
    tcase_add_test(t, a_parameter_that_must_change_first_is_not_read_later);
    tcase_add_test(t, fusing_the_same_graph_twice_gives_the_same_text);
    suite_add_tcase(s, t);
    return s;
}
