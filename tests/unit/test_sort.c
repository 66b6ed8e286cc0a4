/*
 * test_sort.c - sort and top_k held to the evaluator bit for bit, on rows that are hard on them: equal elements, both zeros, NaN, infinities, the least and the greatest numbers, rows that rise
 * (each element is larger than all that top_k has kept) and fall. As lowered, behind the passes over loops, and as machine code on one thread and two.
 */
#include "run_graph.h"
#include "run_loops.h"
#include "run_native.h"

#include <math.h>

/* ---- rows ---- */

typedef enum RowKind { TIES, HARD, DISTINCT, RISING, FALLING, STAIRS, LEAST, LATE, NANS, ROW_KINDS } RowKind;

/* A number among those that are hard to order. */
static double hard(Elem e, uint64_t *seed) {
    static const double real[] = {NAN, -0.0, 0.0, INFINITY, -INFINITY, 1, -1, 0x1p-149}, whole[] = {0, 1, 0, 1, 2, 255, 254, 3},
                        wide[] = {0x1p31 - 1, -0x1p31, 0, -1, 1, -0x1p31 + 1, 7, -7};
    const double *from = elem_is_float(e) ? real : e == U8 ? whole : wide;
    return from[draw(seed) % 8];
}

static double least_of(Elem e) { return elem_is_float(e) ? -INFINITY : e == U8 ? 0 : e == I32 ? -0x1p31 : -0x1p63; }

/* Element i of n in its row. */
static double element(RowKind kind, Elem e, int64_t i, int64_t n, uint64_t *seed) {
    switch (kind) {
    case TIES: return (double)(draw(seed) % 5);
    case HARD: return hard(e, seed);
    case DISTINCT: return (double)(int64_t)(draw(seed) >> 40);
    case RISING: return (double)i;
    case FALLING: return (double)(n - i);
    case STAIRS: return (double)(i / 3);
    case LEAST: return least_of(e);
    case LATE: return i + 5 < n ? least_of(e) : (double)(i + 5 - n);
    case NANS: return elem_is_float(e) && draw(seed) % 3 ? NAN : (double)(draw(seed) % 3);
    case ROW_KINDS: break;
    }
    return 0;
}

static Tensor *draw_rows(const Type *t, int axis, int64_t batch, RowKind kind) {
    Tensor *x = tensor_new(EVAL_F32, t, batch);
    uint64_t seed = (uint64_t)kind + 1;
    int64_t inner = 1, n = x->dim[axis];
    for (int k = axis + 1; k < x->rank; k++) inner *= x->dim[k];
    for (int64_t i = 0; i < x->count; i++) {
        double v = element(kind, t->elem, i / inner % n, n, &seed);
        tensor_set(x, i, t->elem == U8 ? fmod(v, 256) : v);
    }
    return x;
}

/* ---- running ---- */

typedef struct Case {
    const char *x, *rows, *places, *op; /* types, and the op with its attributes */
} Case;

static const Case cases[] = {
    {"f32[1, 3]", "f32[1, 3]", "i32[1, 3]", "sort %x, axis=0"},
    {"f32[5, 16]", "f32[5, 16]", "i32[5, 16]", "sort %x, axis=1"},
    {"f32[2, 17]", "f32[2, 17]", "i32[2, 17]", "sort %x, axis=1"},
    {"f32[33]", "f32[33]", "i32[33]", "sort %x, axis=0"},
    {"f32[3, 100, 2]", "f32[3, 100, 2]", "i32[3, 100, 2]", "sort %x, axis=1"},
    {"f32[513, 2]", "f32[513, 2]", "i32[513, 2]", "sort %x, axis=0"},
    {"f64[2, 77]", "f64[2, 77]", "i32[2, 77]", "sort %x, axis=1"},
    {"u8[3, 301]", "u8[3, 301]", "i32[3, 301]", "sort %x, axis=1"},
    {"i64[2, 40]", "i64[2, 40]", "i32[2, 40]", "sort %x, axis=1"},
    {"f32[B, 37]", "f32[B, 37]", "i32[B, 37]", "sort %x, axis=0"},
    {"f32[9, 10]", "f32[9, 1]", "i32[9, 1]", "top_k %x, k=1"},
    {"f32[2, 1]", "f32[2, 1]", "i32[2, 1]", "top_k %x, k=1"},
    {"f32[2, 300]", "f32[2, 0]", "i32[2, 0]", "top_k %x, k=0"},
    {"f32[3, 65]", "f32[3, 1]", "i32[3, 1]", "top_k %x, k=1"},
    {"f32[3, 1000]", "f32[3, 8]", "i32[3, 8]", "top_k %x, k=8"},
    {"f32[2, 2, 1001]", "f32[2, 2, 10]", "i32[2, 2, 10]", "top_k %x, k=10"},
    {"f32[2000]", "f32[17]", "i32[17]", "top_k %x, k=17"},
    {"f32[2, 1500]", "f32[2, 40]", "i32[2, 40]", "top_k %x, k=40"},
    {"f32[2, 129]", "f32[2, 100]", "i32[2, 100]", "top_k %x, k=100"},
    {"f32[3, 50]", "f32[3, 50]", "i32[3, 50]", "top_k %x, k=50"},
    {"f64[2, 333]", "f64[2, 3]", "i32[2, 3]", "top_k %x, k=3"},
    {"i32[3, 400]", "i32[3, 5]", "i32[3, 5]", "top_k %x, k=5"},
    {"u8[2, 400]", "u8[2, 5]", "i32[2, 5]", "top_k %x, k=5"},
    {"i64[2, 200]", "i64[2, 2]", "i32[2, 2]", "top_k %x, k=2"},
    {"f32[B, 301]", "f32[B, 6]", "i32[B, 6]", "top_k %x, k=6"},
    {"f32[B]", "f32[1]", "i32[1]", "top_k %x, k=1"},
};
enum { CASES = sizeof cases / sizeof *cases, BATCH = 40 };

/* The type as a slot has it: B with its bound. */
static const char *bounded(Arena *a, const char *type) {
    const char *at = strchr(type, 'B');
    return at ? arena_printf(a, "%.*sB<=%d%s", (int)(at - type), type, BATCH, at + 1) : type;
}

static TestGraph read_case(Arena *a, const Case *c) {
    const char *x = bounded(a, c->x), *rows = bounded(a, c->rows), *places = bounded(a, c->places);
    return test_read(arena_printf(a,
                                  "graph expanded\n%s %%x: %s of @c\nvar %%v: %s of @c\nvar %%p: %s of @c\ncommand @c() {\n}\n"
                                  "func @f(%%x: %s) -> (%%v: %s, %%p: %s) {\n  %%v, %%i = %s : %s, %s\n  return %%v, %%i\n}\n",
                                  strchr(x, 'B') ? "field" : "var", x, rows, places, x, rows, places, c->op, c->rows, c->places));
}

typedef bool Run(Arena *a, const void *how, Step *s, int64_t batch, Tensor *const *in, Tensor **out);

static bool run_plain(Arena *a, const void *how, Step *s, int64_t batch, Tensor *const *in, Tensor **out) {
    (void)how;
    return run_step(a, s, batch, in, out);
}

static bool run_compiled(Arena *a, const void *how, Step *s, int64_t batch, Tensor *const *in, Tensor **out) {
    const Native *n = how;
    const Func *f = s->func;
    (void)a;
    NativeRun r = native_memory_new(n, "f");
    const Buffer *x = slot_buffer(s, f->in_slots.at[0]);
    if (x) copy_tensor(in[0], x, native_memory(n, &r, x), false);
    native_call(n, &r, "f", batch, (int)s->threads > 1 ? 2 : 1);
    for (size_t k = 0; k < 2; k++) {
        const Buffer *b = slot_buffer(s, f->out_slots.at[k]);
        out[k] = tensor_new(EVAL_F32, f->body->results.at[k]->type, batch);
        if (b) copy_tensor(out[k], b, native_memory(n, &r, b), true);
    }
    bool ok = r.fault.kind == 0;
    native_memory_free(n, &r);
    return ok;
}

/* Rows of every kind, in batches of every length that matters, against the evaluator. */
static void check_rows(const TestGraph *g, const Case *c, Step *s, const char *when, Run *run, const void *how) {
    const Value *x = g->f->body->params.at[0];
    const char *at_axis = strstr(c->op, "axis=");
    int axis = at_axis ? atoi(at_axis + 5) : x->type->rank - 1;
    static const int64_t batches[] = {BATCH, 1, 17};
    for (int b = 0; b < (g->f->batch_bound ? 3 : 1); b++)
        for (RowKind kind = 0; kind < ROW_KINDS; kind++) {
            Arena *a = arena_new();
            Tensor *in[1] = {draw_rows(x->type, axis, batches[b], kind)}, *want[2], *have[2];
            test_run(g, EVAL_F32, batches[b], in, want);
            ck_assert_msg(run(a, how, s, batches[b], in, have), "%s: the step stopped", c->op);
            for (int k = 0; k < 2; k++) {
                int64_t at;
                bool same = tensor_same(want[k], have[k], &at);
                ck_assert_msg(same, "%s of %s, %s, rows of kind %d, B = %d: %s %d is %.9g, not %.9g", c->op, c->x, when,
                              (int)kind, (int)batches[b], k ? "place" : "element", (int)at, at < 0 ? 0 : tensor_get(have[k], at),
                              at < 0 ? 0 : tensor_get(want[k], at));
                tensor_release(want[k]);
                tensor_release(have[k]);
            }
            tensor_release(in[0]);
            arena_free(a);
        }
}

static void check_loops(const TestGraph *g, const Case *c, LoopsProgram *p, LoopsStage stage, const char *when) {
    const char *why = loops_verify(g->a, p, stage);
    ck_assert_msg(!why, "%s of %s, %s: %s", c->op, c->x, when, why);
    check_rows(g, c, p->steps.at[0], when, run_plain, NULL);
}

START_TEST(rows_have_the_evaluators_order) {
    const Case *c = &cases[_i];
    Arena *a = arena_new();
    TestGraph g = read_case(a, c);
    const BackendTarget *target = backend_target(g.a, g.d, NULL, NULL, false);
    Machine machine = {target->vector_bytes, target->vector_registers, target->masked, target->l1, target->l2};
    g.c.machine = &machine;
    LoopsProgram *p = pass_lower(&g.c, g.m);
    ck_assert_ptr_nonnull(p);
    check_loops(&g, c, p, LOOPS_LOWERED, "lowered");
    ck_assert(pass_vectorize(&g.c, p) && pass_parallelize(&g.c, p));
    check_loops(&g, c, p, LOOPS_MARKED, "in lanes");
    ck_assert(pass_plan(&g.c, p) && pass_barriers(&g.c, p));
    p->steps.at[0]->threads = 1 + _i % 2;
    Native *n = native_build(g.a, p, target, false);
    ck_assert_ptr_nonnull(n);
    check_rows(&g, c, p->steps.at[0], "compiled", run_compiled, n);
    dlclose(n->handle);
    arena_free(g.a);
    arena_free(a);
}
END_TEST

Suite *sort_suite(void);

Suite *sort_suite(void) {
    Suite *s = suite_create("sort");
    TCase *t = tcase_create("sort");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, rows_have_the_evaluators_order, 0, CASES);
    suite_add_tcase(s, t);
    return s;
}
