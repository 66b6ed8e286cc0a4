/*
 * test_random.c - random graphs through the text forms, the verifier and the passes, before and after compared by the evaluator.
 * A failure prints the seed and the graph, made as small as cutting can make it.
 *
 * NNC_SEEDS=N in the environment takes N graphs a test instead of the usual number, NNC_SEED=S begins at seed S.
 */
#include "../random_property.h"
#include "ir/gradcheck.h"
#include "passes/machine.h"
#include "passes/pipeline.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- comparing ---- */

typedef struct Run {
    bool ok;
    EvalFault fault;
    Tensor *out[64];
    int n;
} Run;

static Run run(Arena *a, const Func *f, EvalType type, int64_t batch, uint64_t seed, bool smooth) {
    Run r = {.n = (int)f->body->results.n};
    Tensor **in = random_inputs(a, f, type, batch, seed, smooth);
    r.ok = eval_func(a, f, type, batch, in, r.out, &r.fault);
    for (size_t i = 0; i < f->body->params.n; i++) tensor_release(in[i]);
    return r;
}

static void run_end(Run *r) {
    for (int i = 0; i < r->n && r->ok; i++) tensor_release(r->out[i]);
}

/* Equal bits (tolerance 0); or equal but for the sign of zeros, and of infinities, which a zero may have made, and whether what
 * is not finite is NaN (SIGNS_ASIDE): what simplify's headers allow it to change; or near: |a - b| <= tolerance * (1 + |a|),
 * where both are finite. */
static const double SIGNS_ASIDE = 1e-300;

static const char *same_tensors(Arena *a, int which, const Tensor *x, const Tensor *y, double tolerance) {
    int64_t at;
    if (tensor_same(x, y, &at)) return NULL;
    if (at < 0) return arena_printf(a, "result %d has another shape", which);
    for (; at < x->count; at++) {
        double u = tensor_get(x, at), v = tensor_get(y, at);
        bool same = (isnan(u) && isnan(v)) || (u == v && !signbit(u) == !signbit(v));
        bool near = tolerance > 0 &&
                    (isfinite(u) && isfinite(v) ? fabs(u - v) <= tolerance * (1 + fabs(u)) : !isfinite(u) && !isfinite(v));
        if (!same && !near)
            return arena_printf(a, "result %d, element %d: %.17g (%a) before, %.17g (%a) after", which, (int)at, u, u, v, v);
    }
    return NULL;
}

static const char *same_runs(Arena *a, Run *x, Run *y, double tolerance) {
    const char *why = NULL;
    if (x->ok != y->ok) why = arena_printf(a, "one ends in a fault: %s", x->ok ? y->fault.text : x->fault.text);
    for (int i = 0; i < x->n && x->ok && y->ok && !why; i++) why = same_tensors(a, i, x->out[i], y->out[i], tolerance);
    run_end(x);
    run_end(y);
    return why;
}

static const char *same_functions(Arena *a, const Module *before, const Module *after, const RandomOptions *o, EvalType type,
                                  double tolerance) {
    const Func *f = func_by_name(before, "f"), *g = func_by_name(after, "f");
    for (int64_t batch = 1; batch <= RANDOM_BATCH_BOUND; batch += 2) {
        Run x = run(a, f, type, batch, o->seed, o->smooth), y = run(a, g, type, batch, o->seed, o->smooth);
        const char *why = same_runs(a, &x, &y, tolerance);
        if (why) return arena_printf(a, "with B = %d in %s: %s", (int)batch, type == EVAL_F32 ? "f32" : "f64", why);
    }
    return NULL;
}

/* ---- graphs themselves ---- */

static const char *verifies(Arena *a, const RandomOptions *o) {
    Module *m = random_graph(a, o);
    return graph_verify(a, m, STAGE_FRONT);
}

static const char *reads_as_it_prints(Arena *a, const RandomOptions *o) {
    Module *m = random_graph(a, o);
    const char *text = text_of(a, m, STAGE_FRONT);
    Module *copy = copy_of(a, m, STAGE_FRONT);
    if (!copy) return "what was printed cannot be read";
    if (strcmp(text, text_of(a, copy, STAGE_FRONT)) != 0) return "printed again it is another text";
    return o->grads ? NULL : same_functions(a, m, copy, o, EVAL_F32, 0);
}

START_TEST(random_graphs_are_valid) { for_seeds(verifies, &(RandomOptions){.grads = true}, 300); }
END_TEST
START_TEST(random_graphs_can_be_printed_and_read) {
    for_seeds(reads_as_it_prints, &(RandomOptions){0}, 100);
    for_seeds(reads_as_it_prints, &(RandomOptions){.grads = true}, 100);
}
END_TEST

/* Every op, sizes 0 and 1, short batches: what the other tests rely on. */
START_TEST(random_graphs_have_everything) {
    int drawn[OP_COUNT] = {0}, zeros = 0, ones = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        Arena *a = arena_new();
        random_graph(a, &(RandomOptions){.seed = seed,
                                         .steps = 4 + (int)(seed % 28),
                                         .grads = seed % 2,
                                         .drawn = drawn,
                                         .zero_sized = &zeros,
                                         .size_one = &ones});
        arena_free(a);
    }
    for (int i = 0; i < OP_COUNT; i++)
        ck_assert_msg(drawn[i] >= 20 || i == OP_kernel, "`%s` was drawn %d times in 300 graphs", op_info[i].name, drawn[i]);
    ck_assert_int_gt(zeros, 100);
    ck_assert_int_gt(ones, 1000);
}
END_TEST

/* Most values are numbers, or comparing them would say little. */
START_TEST(random_graphs_compute_numbers) {
    int64_t finite = 0, all = 0, faults = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        Arena *a = arena_new();
        RandomOptions o = {.seed = seed, .steps = 4 + (int)(seed % 28)};
        Run r = run(a, func_by_name(random_graph(a, &o), "f"), EVAL_F32, 1 + (int64_t)(seed % RANDOM_BATCH_BOUND), seed, false);
        faults += !r.ok;
        for (int i = 0; i < r.n && r.ok; i++)
            for (int64_t k = 0; k < r.out[i]->count; k++) all++, finite += isfinite(tensor_get(r.out[i], k)) != 0;
        run_end(&r);
        arena_free(a);
    }
    ck_assert_msg(finite > all / 2 && all > 10000, "%d of %d", (int)finite, (int)all);
    ck_assert_int_lt((int)faults, 10);
}
END_TEST

/* ---- passes ---- */

/* With the pass's errors, if it has any. */
static const char *pass_fault(Arena *a, PassCtx *c, const char *pass) {
    diag_print(c->diag, stderr);
    return arena_printf(a, "%s reports an error", pass);
}

static PassCtx context(Arena *a) { return (PassCtx){.arena = a, .diag = diag_new(a), .verify = true}; }

static const char *pass_keeps(Arena *a, const RandomOptions *o, bool (*pass)(PassCtx *, Module *), bool expand_first,
                              double tolerance, Stage after) {
    Module *m = random_graph(a, o);
    PassCtx c = context(a);
    if (expand_first && !pass_autodiff(&c, m)) return pass_fault(a, &c, "autodiff");
    Module *before = copy_of(a, m, expand_first ? STAGE_EXPANDED : STAGE_FRONT);
    if (!before) return "what autodiff made cannot be printed and read";
    if (!pass(&c, m)) return pass_fault(a, &c, "the pass");
    const char *why = graph_verify(a, m, after);
    if (why) return arena_printf(a, "after the pass: %s\n%s", why, text_of(a, m, after));
    why = same_functions(a, before, m, o, tolerance > SIGNS_ASIDE ? EVAL_F64 : EVAL_F32, tolerance);
    return why ? arena_printf(a, "%s\n%s", why, text_of(a, m, after)) : NULL;
}

/* Without pow, which simplify may compute otherwise (its header says how). */
static RandomOptions without_pow(RandomOptions o) {
    o.only_allowed = true;
    for (int i = 0; i < OP_COUNT; i++) o.allow[i] = i != OP_pow;
    return o;
}

static const char *simplify_keeps(Arena *a, const RandomOptions *o) {
    return pass_keeps(a, o, pass_simplify, false, SIGNS_ASIDE, STAGE_FRONT);
}
static const char *simplify_keeps_gradients(Arena *a, const RandomOptions *o) {
    return pass_keeps(a, o, pass_simplify, true, SIGNS_ASIDE, STAGE_EXPANDED);
}

START_TEST(simplify_changes_no_bit) {
    RandomOptions plain = without_pow((RandomOptions){0}), grads = without_pow((RandomOptions){.grads = true}),
                  smooth = without_pow((RandomOptions){.smooth = true});
    for_seeds(simplify_keeps, &plain, 150);
    for_seeds(simplify_keeps_gradients, &grads, 100);
    for_seeds(simplify_keeps_gradients, &smooth, 50);
}
END_TEST

/* In f64, where what is computed in another order changes next to nothing. A function of a constant is folded to an f32, which is off by 6e-8 of it: powers and their cosines make a
 * hundred times that of it. */
static const char *simplify_keeps_numbers(Arena *a, const RandomOptions *o) {
    return pass_keeps(a, o, pass_simplify, true, 1e-4, STAGE_EXPANDED);
}

START_TEST(simplify_changes_little_with_pow) { for_seeds(simplify_keeps_numbers, &(RandomOptions){.smooth = true}, 100); }
END_TEST

static const char *simplify_twice(Arena *a, const RandomOptions *o) {
    Module *m = random_graph(a, o);
    PassCtx c = context(a);
    if (!pass_simplify(&c, m)) return "simplify reports an error";
    const char *once = text_of(a, m, STAGE_FRONT);
    if (!pass_simplify(&c, m)) return "simplify reports an error the second time";
    const char *twice = text_of(a, m, STAGE_FRONT);
    return strcmp(once, twice) == 0 ? NULL : arena_printf(a, "simplify changes what it has simplified:\n%s\n%s", once, twice);
}

START_TEST(simplify_twice_is_simplify_once) { for_seeds(simplify_twice, &(RandomOptions){.grads = true}, 100); }
END_TEST

/* hoist's gathered sums are rounded otherwise; numbers stay. unroll and fuse keep every bit. */
static const char *hoist_keeps(Arena *a, const RandomOptions *o) {
    return pass_keeps(a, o, pass_hoist, true, 1e-6, STAGE_EXPANDED);
}
static const char *unroll_keeps(Arena *a, const RandomOptions *o) {
    return pass_keeps(a, o, pass_unroll, true, 0, STAGE_EXPANDED);
}
static const char *fuse_keeps(Arena *a, const RandomOptions *o) { return pass_keeps(a, o, pass_fuse, true, 0, STAGE_FUSED); }

/* For a machine whose caches hold nothing: whatever costs less to make again than to store is made again. */
static bool fuse_without_cache(PassCtx *c, Module *m) {
    static const Machine none = {.vector_bytes = 64, .vector_registers = 32, .masked = true};
    c->machine = &none;
    return pass_fuse(c, m);
}

static const char *fuse_again_keeps(Arena *a, const RandomOptions *o) {
    return pass_keeps(a, o, fuse_without_cache, true, 0, STAGE_FUSED);
}

/* Graphs with more scans than chance would draw. */
static RandomOptions with_scans(RandomOptions o) {
    static const OpCode codes[] = {OP_scan, OP_contract,  OP_add,       OP_mul,     OP_tanh,  OP_sum,
                                   OP_take, OP_broadcast, OP_transpose, OP_uniform, OP_concat};
    o.only_allowed = true;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) o.allow[codes[i]] = true;
    return o;
}

START_TEST(hoist_keeps_the_numbers) {
    RandomOptions scans = with_scans((RandomOptions){.smooth = true});
    for_seeds(hoist_keeps, &scans, 100);
    for_seeds(hoist_keeps, &(RandomOptions){.smooth = true}, 50);
}
END_TEST

START_TEST(unroll_changes_no_bit) {
    RandomOptions scans = with_scans((RandomOptions){.grads = true});
    for_seeds(unroll_keeps, &scans, 100);
    for_seeds(unroll_keeps, &(RandomOptions){0}, 100);
}
END_TEST

START_TEST(fuse_changes_no_bit) {
    for_seeds(fuse_keeps, &(RandomOptions){0}, 150);
    for_seeds(fuse_keeps, &(RandomOptions){.grads = true}, 100);
    for_seeds(fuse_again_keeps, &(RandomOptions){.grads = true}, 100);
    for_seeds(fuse_again_keeps, &(RandomOptions){.smooth = true}, 60);
}
END_TEST

/* What is not a gradient stays as it was, bit for bit. */
static const char *autodiff_keeps(Arena *a, const RandomOptions *o) {
    RandomOptions plain = *o;
    plain.grads = plain.smooth = false;
    plain.differentiable = true;
    Module *m = random_graph(a, o), *without = o->smooth ? NULL : random_graph(a, &plain);
    PassCtx c = context(a);
    if (!pass_autodiff(&c, m)) return pass_fault(a, &c, "autodiff");
    const char *why = graph_verify(a, m, STAGE_EXPANDED);
    if (why) return arena_printf(a, "after autodiff: %s", why);
    if (!without) return NULL;
    Func *f = func_by_name(m, "f"), *g = func_by_name(without, "f");
    Run x = run(a, g, EVAL_F32, 2, o->seed, false), y = run(a, f, EVAL_F32, 2, o->seed, false);
    for (int i = x.n; i < y.n && y.ok; i++) tensor_release(y.out[i]); /* the gradients stand last */
    y.n = x.n;
    return same_runs(a, &x, &y, 0);
}

START_TEST(autodiff_keeps_the_rest) { for_seeds(autodiff_keeps, &(RandomOptions){.grads = true}, 150); }
END_TEST

static void first_bad(const GradReport *r, void *arg) {
    char *text = arg;
    if (!r->ok && !*text)
        snprintf(text, 256, "derivative %d by %s (x %d, element %d) is %.12g, differences say %.12g", r->loc.line, r->x, r->index,
                 (int)r->element, r->gradient, r->difference);
}

static const char *gradients_agree(Arena *a, const RandomOptions *o) {
    Module *m = random_graph(a, o);
    Func *f = func_by_name(m, "f");
    GradCheck *g = gradcheck_begin(a, m);
    PassCtx c = context(a);
    if (!pass_autodiff(&c, m)) return pass_fault(a, &c, "autodiff");
    int64_t batch = 1 + (int64_t)(o->seed % RANDOM_BATCH_BOUND);
    Tensor **in = random_inputs(a, f, EVAL_F64, batch, o->seed, true);
    char *bad = arena_alloc(a, 256);
    GradOptions options = {.seed = o->seed, .directions = 1, .elements = 1, .tolerance = 1e-5, .report = first_bad, .arg = bad};
    GradSummary sum;
    EvalFault fault;
    bool ok = gradcheck_run(a, g, f, batch, in, &options, &sum, &fault);
    for (size_t i = 0; i < f->body->params.n; i++) tensor_release(in[i]);
    shared->nonzero += sum.nonzero;
    return !ok ? fault.text : *bad ? bad : NULL;
}

START_TEST(gradients_of_random_graphs) {
    shared->nonzero = 0;
    for_seeds(gradients_agree, &(RandomOptions){.smooth = true}, 60);
    ck_assert_int_gt(shared->nonzero, 100);
}
END_TEST

/* The shrinker: of a made-up failure (a tanh and a sum) little more than these two is left, from every seed. */
static const char *has_no_tanh_and_sum(Arena *a, const RandomOptions *o) {
    int drawn[OP_COUNT] = {0};
    RandomOptions counted = *o;
    counted.drawn = drawn;
    random_graph(a, &counted);
    return drawn[OP_tanh] && drawn[OP_sum] ? "both" : NULL;
}

START_TEST(failures_are_shrunk) {
    Property *holds = has_no_tanh_and_sum;
    int failures = 0;
    for (uint64_t seed = 0; failures < 12; seed++) {
        RandomOptions o = {.seed = seed, .steps = 40};
        if (!still_fails(&o, &holds)) continue;
        failures++;
        int left = random_shrink(&o, still_fails, &holds);
        ck_assert(still_fails(&o, &holds));
        ck_assert_msg(left <= 4, "seed %d: %d ops left", (int)seed, left);
    }
}
END_TEST

Suite *random_suite(void);

Suite *random_suite(void) {
    Suite *s = suite_create("random");
    property_start();
    TCase *t = tcase_create("random");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, random_graphs_are_valid);
    tcase_add_test(t, random_graphs_can_be_printed_and_read);
    tcase_add_test(t, random_graphs_have_everything);
    tcase_add_test(t, random_graphs_compute_numbers);
    tcase_add_test(t, simplify_changes_no_bit);
    tcase_add_test(t, simplify_changes_little_with_pow);
    tcase_add_test(t, simplify_twice_is_simplify_once);
    tcase_add_test(t, hoist_keeps_the_numbers);
    tcase_add_test(t, unroll_changes_no_bit);
    tcase_add_test(t, fuse_changes_no_bit);
    tcase_add_test(t, autodiff_keeps_the_rest);
    tcase_add_test(t, gradients_of_random_graphs);
    tcase_add_test(t, failures_are_shrunk);
    suite_add_tcase(s, t);
    return s;
}
