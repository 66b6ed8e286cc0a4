/*
 * test_fuse.c - what fuse groups: counts of kernels and of buffers on steps as the front end and autodiff leave them
 * (tests/golden/fuse), and single rules on a few lines. That no bit changes is test_lower.c's and test_random.c's business.
 */
#include "run_graph.h"
#include "run_loops.h"

static char *read_golden(const char *name) {
    char path[500];
    snprintf(path, sizeof path, "%s/tests/golden/fuse/%s", NNC_SOURCE_ROOT, name);
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s is missing", path);
    char *s = calloc(1, 1 << 20);
    size_t n = fread(s, 1, (1 << 20) - 1, f);
    ck_assert_uint_gt(n, 0);
    fclose(f);
    return s;
}

static int kernels(const TestGraph *g) { return test_count_ops(g->f->body, OP_kernel); }

static int results(const TestGraph *g) {
    int n = 0;
    for (const Op *op = g->f->body->first; op; op = op->next)
        if (op->code == OP_kernel) n += op->n_out;
    return n;
}

/* ---- the step of a dense network ---- */

/* Buffers that hold something between kernels, each written once: what is not a slot and not another view. */
static int temporaries(const Step *s, Text *names, Arena *a) {
    int n = 0;
    for (size_t i = 0; i < s->buffers.n; i++) {
        const Buffer *b = s->buffers.at[i];
        if (b->same || b->slot || b->place != PLACE_NONE) continue;
        text_printf(a, names, " %s: %s", b->name, type_name(type_make(b->elem, b->rank, b->dim)));
        n++;
    }
    return n;
}

START_TEST(the_mlp_step_takes_few_kernels) {
    char *text = read_golden("mlp.graph");
    TestGraph g = test_fused(text, NULL);
    ck_assert_msg(kernels(&g) <= 9, "%d kernels:\n%s", kernels(&g), test_text(&g));
    LoopsProgram *p = pass_lower(&g.c, g.m);
    ck_assert_ptr_nonnull(p);
    Text names = {0};
    int n = temporaries(p->steps.at[0], &names, g.a);
    /* e^-a and h of the hidden layer, z, the samples' losses and hits, dz of both layers */
    ck_assert_msg(n <= 7, "%d buffers:%s", n, text_str(g.a, &names));
    int count = 0;
    for (size_t i = 0; i < p->steps.at[0]->nodes.n; i++) count += p->steps.at[0]->nodes.at[i]->kind == STEP_KERNEL;
    ck_assert_msg(count <= 12, "%d kernels after lower", count);
    arena_free(g.a);
    free(text);
}
END_TEST

START_TEST(weights_are_updated_where_they_lie) {
    char *text = read_golden("mlp.graph");
    TestGraph g = test_fused(text, NULL);
    LoopsProgram *p = pass_lower(&g.c, g.m);
    Text t = {0};
    loops_print(p, LOOPS_LOWERED, NULL, &t, g.a);
    const char *s = text_str(g.a, &t);
    ck_assert_msg(!strstr(s, "kernel @copy"), "%s", s);
    ck_assert_msg(strstr(s, "%w1[") && strstr(s, "= sub(%w1["), "%s", s);
    arena_free(g.a);
    free(text);
}
END_TEST

/* ---- single rules ---- */

#define HEAD                                                                                                                     \
    "graph expanded\nfield %x: f32[B<=8, 20] of @c\nparam %w: f32[20, 30] = 0\nparam %b: f32[30] = 0\nvar %y: f32[B<=8, 30] of " \
    "@c\nvar %s: f32[B<=8] of @c\nvar %t: f32 of @c\n"                                                                           \
    "var %v: f32[B<=8, 20] of @c\ncommand @c() {\n}\n"

START_TEST(bias_and_activation_follow_the_product) {
    TestGraph g =
        test_fused(HEAD "func @f(%x: f32[B<=8, 20], %w: f32[20, 30], %b: f32[30]) -> (%y: f32[B<=8, 30]) {\n"
                        "  %z = contract \"bi,io->bo\" %x, %w : f32[B, 30]\n  %bb = broadcast %b, axes=[1] : f32[B, 30]\n  "
                        "%a = add %z, %bb : f32[B, 30]\n"
                        "  %h = tanh %a : f32[B, 30]\n  return %h\n}\n",
                   NULL);
    ck_assert_int_eq(kernels(&g), 1);
    arena_free(g.a);
}
END_TEST

/* Draws behind a product are made in front of it, unless they are few. Without a product they are made where they are read. */
START_TEST(draws_behind_products_are_stored) {
    static const struct {
        int n, kernels;
        const char *of;
    } rows[] = {{30, 1, "z"}, {300, 2, "z"}, {300, 1, "x"}};
    for (int i = 0; i < 3; i++) {
        Arena *a = arena_new();
        const char *t = arena_printf(a, "f32[B, %d]", rows[i].n), *of = rows[i].of;
        int n = rows[i].n;
        const char *slots = arena_printf(a,
                                         "graph expanded\nvar %%key: i64 of @c\nfield %%x: f32[B<=8, %d] of @c\n"
                                         "param %%w: f32[%d, %d] = 0\nvar %%y: f32[B<=8, %d] of @c\ncommand @c() {\n}\n"
                                         "func @f(%%key: i64, %%x: f32[B<=8, %d], %%w: f32[%d, %d]) -> (%%y: f32[B<=8, %d]) {\n",
                                         n, n, n, n, n, n, n, n);
        TestGraph g = test_fused(
            arena_printf(
                a,
                "%s  %%first = constant 0 : i64\n  %%z = contract \"bi,io->bo\" %%x, %%w : %s\n"
                "  %%u = uniform %%key, %%first, site=5 : %s\n  %%p = constant 0.75 : %s\n"
                "  %%l = lt %%u, %%p : bool[B, %d]\n  %%m = convert %%l : %s\n  %%y = mul %%%s, %%m : %s\n  return %%y\n}\n",
                slots, t, t, t, n, t, of, t),
            NULL);
        ck_assert_msg(kernels(&g) == rows[i].kernels, "row %d: %d kernels:\n%s", i, kernels(&g), test_text(&g));
        ck_assert_int_eq(test_count_ops(g.f->body, OP_uniform), 1);
        arena_free(g.a);
        arena_free(a);
    }
}
END_TEST

START_TEST(a_softmax_is_one_kernel_over_rows) {
    TestGraph g =
        test_fused(HEAD "func @f(%x: f32[B<=8, 20]) -> (%v: f32[B<=8, 20]) {\n"
                        "  %m = reduce_max %x, axes=[1] : f32[B]\n  %mb = broadcast %m, axes=[0] : f32[B, 20]\n  %d = sub "
                        "%x, %mb : f32[B, 20]\n  %e = exp %d : f32[B, 20]\n"
                        "  %s = sum %e, axes=[1] : f32[B]\n  %sb = broadcast %s, axes=[0] : f32[B, 20]\n  %p = div %e, %sb "
                        ": f32[B, 20]\n  return %p\n}\n",
                   NULL);
    ck_assert_int_eq(kernels(&g), 1);
    ck_assert_int_eq(results(&g), 1);
    LoopsProgram *p = pass_lower(&g.c, g.m);
    int kept = 0;
    for (size_t i = 0; i < p->steps.at[0]->buffers.n; i++) kept += p->steps.at[0]->buffers.at[i]->place == PLACE_THREAD;
    ck_assert_int_eq(kept, 1); /* e^.. of a row: two loops need it, and it is computed once */
    arena_free(g.a);
}
END_TEST

START_TEST(a_softmax_stays_apart_from_the_product_before_it) {
    TestGraph g = test_fused(
        HEAD "func @f(%x: f32[B<=8, 20], %w: f32[20, 30]) -> (%s: f32[B<=8]) {\n"
             "  %z = contract \"bi,io->bo\" %x, %w : f32[B, 30]\n  %m = reduce_max %z, axes=[1] : f32[B]\n  return %m\n}\n",
        NULL);
    ck_assert_int_eq(kernels(&g), 2);
    arena_free(g.a);
}
END_TEST

START_TEST(pixels_become_numbers_inside_each_product) {
    TestGraph g =
        test_fused("graph expanded\nfield %x: u8[B<=8, 4, 5] of @c\nparam %w: f32[20, 30] = 0\nvar %y: f32[B<=8, 30] of "
                   "@c\nvar %z: f32[B<=8, 20] of @c\ncommand @c() {\n}\n"
                   "func @f(%x: u8[B<=8, 4, 5], %w: f32[20, 30]) -> (%y: f32[B<=8, 30], %w: f32[20, 30]) {\n"
                   "  %f = convert %x : f32[B, 4, 5]\n  %c = constant 255 : f32[B, 4, 5]\n  %d = div %f, %c : f32[B, 4, "
                   "5]\n  %r = reshape %d : f32[B, 20]\n"
                   "  %y = contract \"bi,io->bo\" %r, %w : f32[B, 30]\n  %g = contract \"bi,bo->io\" %r, %y : f32[20, 30]\n "
                   " return %y, %g\n}\n",
                   NULL);
    ck_assert_int_eq(kernels(&g), 2);
    ck_assert_int_eq(results(&g), 2);
    ck_assert_int_eq(test_count_ops(g.f->body, OP_convert), 2);
    ck_assert_int_eq((int)g.f->body->first->code, OP_reshape); /* of the pixels, not of the numbers: another view */
    arena_free(g.a);
}
END_TEST

START_TEST(a_gradient_that_others_need_is_updated_apart) {
    /* clipping by the norm of the gradient: the update waits for the whole of it */
    TestGraph g =
        test_fused(HEAD "func @f(%x: f32[B<=8, 20], %y: f32[B<=8, 30], %w: f32[20, 30]) -> (%w: f32[20, 30]) {\n"
                        "  %g = contract \"bi,bo->io\" %x, %y : f32[20, 30]\n  %q = mul %g, %g : f32[20, 30]\n  %n = sum "
                        "%q, axes=[0, 1] : f32\n  %r = sqrt %n : f32\n"
                        "  %rb = broadcast %r, axes=[] : f32[20, 30]\n  %u = div %g, %rb : f32[20, 30]\n  %v = sub %w, %u : "
                        "f32[20, 30]\n  return %v\n}\n",
                   NULL);
    ck_assert_int_eq(kernels(&g), 3);
    ck_assert_int_eq(results(&g), 3);
    arena_free(g.a);
}
END_TEST

START_TEST(what_one_kernel_needs_moves_there) {
    /* 1 - h belongs to the second kernel: storing it beside h would be a second write */
    TestGraph g =
        test_fused(HEAD "func @f(%x: f32[B<=8, 20], %w: f32[20, 30], %y: f32[B<=8, 30]) -> (%y: f32[B<=8, 30], %t: f32) {\n"
                        "  %z = contract \"bi,io->bo\" %x, %w : f32[B, 30]\n  %h = tanh %z : f32[B, 30]\n  %one = constant "
                        "1 : f32[B, 30]\n  %d = sub %one, %h : f32[B, 30]\n"
                        "  %w2 = contract \"bi,bo->io\" %x, %h : f32[20, 30]\n  %c = contract \"bi,io->bo\" %x, %w2 : "
                        "f32[B, 30]\n  %m = mul %c, %d : f32[B, 30]\n"
                        "  %s = sum %m, axes=[0, 1] : f32\n  return %m, %s\n}\n",
                   NULL);
    ck_assert_int_eq(kernels(&g), 4);
    ck_assert_int_eq(results(&g), 4);
    arena_free(g.a);
}
END_TEST

START_TEST(small_updates_share_a_kernel) {
    TestGraph g =
        test_fused("graph expanded\nparam %a: f32[50] = 0\nparam %b: f32[7, 9] = 0\nparam %c: f32[3] = 0\nparam %ga: "
                   "f32[50] = 0\nparam %gb: f32[7, 9] = 0\nparam %gc: f32[3] = 0\n"
                   "option %lr: f32 = 0.1\ncommand @c() {\n}\n"
                   "func @f(%a: f32[50], %b: f32[7, 9], %c: f32[3], %ga: f32[50], %gb: f32[7, 9], %gc: f32[3], %lr: f32) -> "
                   "(%a: f32[50], %b: f32[7, 9], %c: f32[3]) {\n"
                   "  %la = broadcast %lr, axes=[] : f32[50]\n  %lb = broadcast %lr, axes=[] : f32[7, 9]\n  %lc = broadcast "
                   "%lr, axes=[] : f32[3]\n"
                   "  %ua = mul %la, %ga : f32[50]\n  %ub = mul %lb, %gb : f32[7, 9]\n  %uc = mul %lc, %gc : f32[3]\n"
                   "  %na = sub %a, %ua : f32[50]\n  %nb = sub %b, %ub : f32[7, 9]\n  %nc = sub %c, %uc : f32[3]\n  return "
                   "%na, %nb, %nc\n}\n",
                   NULL);
    ck_assert_int_eq(kernels(&g), 1);
    LoopsProgram *p = pass_lower(&g.c, g.m);
    Text names = {0};
    ck_assert_int_eq(temporaries(p->steps.at[0], &names, g.a), 0);
    arena_free(g.a);
}
END_TEST

START_TEST(dear_scalars_are_computed_once) {
    /* 1 - b^t, in f64, of Adam: a kernel of its own, and not in every element's or every update's loop */
    TestGraph g =
        test_fused("graph expanded\nparam %a: f32[50] = 0\nparam %b: f32[60] = 0\noptstate %t: f64 = 0\ncommand @c() {\n}\n"
                   "func @f(%a: f32[50], %b: f32[60], %t: f64) -> (%a: f32[50], %b: f32[60], %t: f64) {\n"
                   "  %one = constant 1 : f64\n  %t1 = add %t, %one : f64\n  %beta = constant 0.999 : f64\n  %p = pow "
                   "%beta, %t1 : f64\n  %d = sub %one, %p : f64\n  %f = convert %d : f32\n"
                   "  %fa = broadcast %f, axes=[] : f32[50]\n  %fb = broadcast %f, axes=[] : f32[60]\n  %na = div %a, %fa : "
                   "f32[50]\n  %nb = div %b, %fb : f32[60]\n  return %na, %nb, %t1\n}\n",
                   NULL);
    ck_assert_int_eq(kernels(&g), 2);
    ck_assert_int_eq(test_count_ops(g.f->body, OP_pow), 1);
    arena_free(g.a);
}
END_TEST

START_TEST(fuse_leaves_nothing_outside) {
    TestGraph g = test_fused(
        HEAD
        "func @f(%x: f32[B<=8, 20]) -> (%v: f32[B<=8, 20], %t: f32) {\n  %n = neg %x : f32[B, 20]\n  %zero = constant 0 : f32\n"
        "  %r = scan %zero, carry=1, axes=[], yaxes=[], reverse=false, trip=3 : f32 {\n    block (%i: i32, %c: f32)\n    %k = "
        "convert %i : f32\n    %d = add %c, %k : f32\n"
        "    yield %d\n  }\n  return %n, %r\n}\n",
        NULL);
    for (const Op *op = g.f->body->first; op; op = op->next)
        ck_assert_msg(op->code == OP_kernel || op->code == OP_scan || op->code == OP_constant, "%s", op_text(g.a, op));
    ck_assert_int_eq(kernels(&g), 2);
    arena_free(g.a);
}
END_TEST

Suite *fuse_suite(void);

Suite *fuse_suite(void) {
    Suite *s = suite_create("fuse");
    TCase *t = tcase_create("fuse");
    tcase_add_test(t, the_mlp_step_takes_few_kernels);
    tcase_add_test(t, weights_are_updated_where_they_lie);
    tcase_add_test(t, bias_and_activation_follow_the_product);
    tcase_add_test(t, draws_behind_products_are_stored);
    tcase_add_test(t, a_softmax_is_one_kernel_over_rows);
    tcase_add_test(t, a_softmax_stays_apart_from_the_product_before_it);
    tcase_add_test(t, pixels_become_numbers_inside_each_product);
    tcase_add_test(t, a_gradient_that_others_need_is_updated_apart);
    tcase_add_test(t, what_one_kernel_needs_moves_there);
    tcase_add_test(t, small_updates_share_a_kernel);
    tcase_add_test(t, dear_scalars_are_computed_once);
    tcase_add_test(t, fuse_leaves_nothing_outside);
    suite_add_tcase(s, t);
    return s;
}
