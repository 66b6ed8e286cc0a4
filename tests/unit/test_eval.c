/*
 * test_eval.c - the reference evaluator against numbers worked out by hand: the cases in tests/golden/eval, each in f64 and in
 * f32; the order of sums on inputs whose sum tells the order; memory; values that stand in for others.
 *
 * A case file holds cases like
 *
 *   case a row is taken
 *   batch 2                          the number of samples, 1 if not given
 *   in x: f32[B, 2] = 1 2 3 4
 *     %y = reverse %x, axes=[1] : f32[B, 2]
 *   out y: f32[B, 2] = 2 1 4 3
 *   tolerance 1e-6                   |got - want| <= tolerance * (1 + |want|); exact (with the sign of zeros) if not given
 *   only f32                         or f64
 *   fault 7                          instead of out: it ends in a run-time error, about this value
 */
#include "ir/eval.h"

#include <check.h>
#include <glob.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef NNC_SOURCE_ROOT
#define NNC_SOURCE_ROOT "."
#endif

/* ---- cases in files ---- */

enum { MOST_SLOTS = 16, MOST_NUMBERS = 4096 };

typedef struct Given {
    char name[64], type[64];
    double at[MOST_NUMBERS];
    int n;
} Given;

typedef struct Case {
    const char *file;
    char name[128], ops[8192], only[8];
    Given in[MOST_SLOTS], out[MOST_SLOTS];
    int n_in, n_out;
    int64_t batch;
    double tolerance;
    bool faults;
    int64_t fault_value;
} Case;

/* "x: f32[2, 3] = 1 2 3 4 5 6"; one number stands for all elements */
static void read_given(Case *c, Given *g, const char *line) {
    int n = 0;
    ck_assert_msg(sscanf(line, " %63[^:]: %63[^=]=%n", g->name, g->type, &n) == 2 && n, "%s: case %s: cannot read `%s`", c->file,
                  c->name, line);
    for (char *end; g->n < MOST_NUMBERS; line += n, n = (int)(end - line)) {
        double v = strtod(line + n, &end);
        if (end == line + n) break;
        g->at[g->n++] = v;
    }
}

/* The type as slots have it, with the bound of B. */
static const char *slot_type(Arena *a, const char *type) {
    const char *b = strchr(type, 'B');
    return b ? arena_printf(a, "%.*sB<=64%s", (int)(b - type), type, b + 1) : type;
}

static Module *case_module(Arena *a, const Case *c) {
    Text t = {0};
    text_add(a, &t, "graph front\n");
    for (int i = 0; i < c->n_in; i++) text_printf(a, &t, "var %%%s: %s\n", c->in[i].name, slot_type(a, c->in[i].type));
    for (int i = 0; i < c->n_out; i++) text_printf(a, &t, "var %%out.%s: %s\n", c->out[i].name, slot_type(a, c->out[i].type));
    text_add(a, &t, "func @f(");
    for (int i = 0; i < c->n_in; i++) text_printf(a, &t, "%s%%%s: %s", i ? ", " : "", c->in[i].name, slot_type(a, c->in[i].type));
    text_add(a, &t, ") -> (");
    for (int i = 0; i < c->n_out; i++)
        text_printf(a, &t, "%s%%out.%s: %s", i ? ", " : "", c->out[i].name, slot_type(a, c->out[i].type));
    text_printf(a, &t, ") batch 64 {\n%s return", c->ops);
    for (int i = 0; i < c->n_out; i++) text_printf(a, &t, "%s %%%s", i ? "," : "", c->out[i].name);
    text_add(a, &t, "\n}\n");
    Diag *d = diag_new(a);
    Stage stage;
    const char *text = text_str(a, &t);
    Module *m = graph_parse(a, d, c->name, text, strlen(text), &stage);
    if (!m) diag_print(d, stderr);
    ck_assert_msg(m != NULL, "%s: case %s: the graph cannot be read:\n%s", c->file, c->name, text);
    return m;
}

static Tensor *given_tensor(const Case *c, const Given *g, EvalType type, const Type *t) {
    Tensor *x = tensor_new(type, t, c->batch);
    ck_assert_msg(g->n == 1 || g->n == x->count, "%s: case %s: %s has %d numbers, not %d", c->file, c->name, g->name, g->n,
                  (int)x->count);
    for (int64_t i = 0; i < x->count; i++) tensor_set(x, i, g->at[g->n == 1 ? 0 : i]);
    return x;
}

static bool near_enough(double got, double want, double tolerance) {
    if (isnan(want)) return isnan(got);
    if (tolerance == 0) return got == want && !signbit(got) == !signbit(want);
    return got == want || fabs(got - want) <= tolerance * (1 + fabs(want));
}

static void compare(const Case *c, EvalType type, const Given *want, const Tensor *got) {
    for (int64_t i = 0; i < got->count; i++) {
        double w = want->at[want->n == 1 ? 0 : i], g = tensor_get(got, i);
        if (type == EVAL_F32 && got->elem == F32 && c->tolerance == 0) w = (float)w;
        ck_assert_msg(near_enough(g, w, c->tolerance), "%s: case %s in %s: %s[%d] is %.17g, not %.17g", c->file, c->name,
                      type == EVAL_F64 ? "f64" : "f32", want->name, (int)i, g, w);
    }
}

static void run_case(const Case *c, EvalType type) {
    Arena *a = arena_new();
    const Func *f = func_by_name(case_module(a, c), "f");
    Tensor *in[MOST_SLOTS], *out[MOST_SLOTS];
    for (int i = 0; i < c->n_in; i++) in[i] = given_tensor(c, &c->in[i], type, f->body->params.at[i]->type);
    EvalFault fault;
    bool ok = c->faults
                  ? eval_values(a, f, &(EvalOptions){.type = type, .batch = c->batch}, in, 1, f->body->last->out, out, &fault)
                  : eval_func(a, f, type, c->batch, in, out, &fault);
    ck_assert_msg(ok != c->faults, "%s: case %s: %s", c->file, c->name, ok ? "no fault" : fault.text);
    if (!ok)
        ck_assert_msg(fault.value == c->fault_value && fault.op && fault.text, "%s: case %s: the fault is about %d: %s", c->file,
                      c->name, (int)fault.value, fault.text);
    for (int i = 0; i < c->n_out && ok; i++) {
        int64_t at;
        Tensor *want = given_tensor(c, &c->out[i], type, f->body->results.at[i]->type);
        (void)tensor_same(want, out[i], &at);
        ck_assert_msg(at >= 0, "%s: case %s: %s has another shape", c->file, c->name, c->out[i].name);
        compare(c, type, &c->out[i], out[i]);
        tensor_release(want);
        tensor_release(out[i]);
    }
    for (int i = 0; i < c->n_in; i++) {
        ck_assert_msg(in[i]->refs == 1, "%s: case %s: input %d is still held", c->file, c->name, i);
        tensor_release(in[i]);
    }
    arena_free(a);
}

static void finish_case(Case *c) {
    if (!*c->name) return;
    ck_assert_msg(c->n_out > 0 || c->faults, "%s: case %s says nothing", c->file, c->name);
    if (strcmp(c->only, "f64") != 0) run_case(c, EVAL_F32);
    if (strcmp(c->only, "f32") != 0) run_case(c, EVAL_F64);
}

static void case_line(Case *c, const char *line) {
    char word[32] = "";
    int n = 0;
    sscanf(line, "%31s%n", word, &n);
    if (strcmp(word, "case") == 0) {
        finish_case(c);
        *c = (Case){.file = c->file, .batch = 1};
        snprintf(c->name, sizeof c->name, "%s", line + n + 1);
        c->name[strcspn(c->name, "\n")] = 0;
    } else if (strcmp(word, "in") == 0)
        read_given(c, &c->in[c->n_in++], line + n);
    else if (strcmp(word, "out") == 0)
        read_given(c, &c->out[c->n_out++], line + n);
    else if (strcmp(word, "batch") == 0)
        c->batch = atoi(line + n);
    else if (strcmp(word, "tolerance") == 0)
        c->tolerance = atof(line + n);
    else if (strcmp(word, "only") == 0)
        sscanf(line + n, "%7s", c->only);
    else if (strcmp(word, "fault") == 0)
        c->faults = true, c->fault_value = atoll(line + n);
    else if (*word && *word != '#')
        strcat(c->ops, line);
}

static void run_file(const char *path) {
    FILE *in = fopen(path, "r");
    ck_assert_msg(in != NULL, "cannot open %s", path);
    static Case c;
    static char line[65536];
    c = (Case){.file = strrchr(path, '/') + 1, .batch = 1};
    while (fgets(line, sizeof line, in)) case_line(&c, line);
    finish_case(&c);
    fclose(in);
}

START_TEST(cases_in_files) {
    glob_t found;
    ck_assert_int_eq(glob(NNC_SOURCE_ROOT "/tests/golden/eval/*.eval", 0, NULL, &found), 0);
    ck_assert_int_ge((int)found.gl_pathc, 8);
    for (size_t i = 0; i < found.gl_pathc; i++) run_file(found.gl_pathv[i]);
    globfree(&found);
}
END_TEST

/* ---- the order of sums, on numbers that tell ---- */

/* A function with parameters of the given types, made by the builder. */
typedef struct Made {
    Arena *arena;
    Func *f;
    Builder b;
} Made;

static Made made(void) {
    Arena *a = arena_new();
    Module *m = module_new(a);
    Func *f = func_new(m, "f", (Loc){0});
    f->batch_bound = 64;
    return (Made){a, f, builder_at_end(f)};
}

static Value *param(Made *m, const char *name, Elem elem, int rank, const int64_t *dim) {
    Dim dims[MAX_RANK];
    for (int i = 0; i < rank; i++) dims[i] = (Dim){dim[i], false};
    return func_read(m->f, slot_new(m->f->module, SLOT_VAR, name, type_make(elem, rank, dims), (Loc){0}));
}

static void result(Made *m, Value *v) {
    func_write(m->f, slot_new(m->f->module, SLOT_VAR, intern_printf("out%zu", m->f->out_slots.n), v->type, (Loc){0}), v);
}

/* Numbers of very different sizes, so that almost every order of adding them gives another f32. */
static float wild(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    int e = (int)(*state >> 58) % 24;
    float m = (float)((int)(*state >> 33 & 0xffffff) - 0x800000) * 0x1p-23f;
    return ldexpf(m, e);
}

static float tree_of(const float *p, int64_t n) {
    if (n == 1) return p[0];
    int64_t m = 1;
    while (2 * m < n) m *= 2;
    return tree_of(p, m) + tree_of(p + m, n - m);
}

/* The definitions of graph.h once more, for one output with its terms in order. */
static float defined_chain(const float *a, const float *b, int64_t n) {
    float piece[16] = {0};
    int64_t count = n <= 4096 ? 1 : (n + 4095) / 4096;
    for (int64_t r = 0; r < n; r++) piece[r / 4096] = b ? fmaf(a[r], b[r], piece[r / 4096]) : piece[r / 4096] + a[r];
    return tree_of(piece, count);
}

static float defined_lanes(const float *x, int64_t n) {
    float piece[16] = {0};
    int64_t count = n <= 4096 ? 1 : (n + 4095) / 4096;
    for (int64_t p = 0; p < count; p++) {
        float lane[16] = {0};
        for (int64_t r = p * 4096; r < n && r < (p + 1) * 4096; r++) lane[r % 16] += x[r];
        for (int l = 0; l < 8; l++) lane[l] += lane[l + 8];
        for (int l = 0; l < 4; l++) lane[l] += lane[l + 4];
        piece[p] = (lane[0] + lane[2]) + (lane[1] + lane[3]);
    }
    return tree_of(piece, count);
}

static const int64_t lengths[] = {0, 1, 2, 15, 16, 17, 33, 100, 4095, 4096, 4097, 8192, 8193, 12289, 20481};
enum { N_LENGTHS = sizeof lengths / sizeof *lengths, LONGEST = 20481, ROW = 3 };

static Tensor *run_one(Made *m, Tensor *const *in) {
    Tensor *out;
    EvalFault fault;
    ck_assert_msg(eval_func(m->arena, m->f, EVAL_F32, 1, in, &out, &fault), "%s", fault.text);
    return out;
}

/* x: [n, ROW] summed over axis 0 (chains), [ROW, n] over axis 1 (lanes), and [n] * [n, ROW] by contract. */
static void check_length(int64_t n, int which, uint64_t seed) {
    Made m = made();
    int64_t tall[] = { n, ROW }, wide[] = { ROW, n }, line[] = {n}, axis = which == 1;
    Value *x = param(&m, "x", F32, 2, which == 1 ? wide : tall), *w = which == 2 ? param(&m, "w", F32, 1, line) : NULL;
    result(&m, which == 2 ? g_contract(&m.b, "k,kr->r", w, x) : g_reduce(&m.b, OP_sum, x, 1, &axis));
    Tensor *in[2] = {tensor_new(EVAL_F32, x->type, 1), w ? tensor_new(EVAL_F32, w->type, 1) : NULL};
    float *terms = calloc(3 * LONGEST, sizeof *terms), *weights = terms + LONGEST;
    for (int64_t i = 0; w && i < n; i++) tensor_set(in[1], i, weights[i] = wild(&seed));
    for (int64_t i = 0; i < n * ROW; i++) tensor_set(in[0], i, wild(&seed));
    Tensor *out = run_one(&m, in);
    for (int r = 0; r < ROW; r++) {
        for (int64_t k = 0; k < n; k++) terms[k] = (float)tensor_get(in[0], which == 1 ? r * n + k : k * ROW + r);
        float want = which == 0   ? defined_chain(terms, NULL, n)
                     : which == 1 ? defined_lanes(terms, n)
                                  : defined_chain(weights, terms, n);
        ck_assert_msg((float)tensor_get(out, r) == want, "sum %d of %d terms: %a, not %a", which, (int)n, tensor_get(out, r),
                      want);
    }
    tensor_release(out);
    tensor_release(in[0]);
    tensor_release(in[1]);
    free(terms);
    arena_free(m.arena);
}

START_TEST(sums_follow_the_order) {
    for (int i = 0; i < N_LENGTHS; i++)
        for (int which = 0; which < 3; which++) check_length(lengths[i], which, 7 + (uint64_t)i);
}
END_TEST

/* That the test above can fail: on these inputs other orders give other numbers. */
START_TEST(the_order_matters) {
    float x[LONGEST], y[LONGEST];
    uint64_t seed = 7;
    for (int i = 0; i < LONGEST; i++) x[i] = wild(&seed), y[i] = wild(&seed);
    ck_assert(defined_chain(x, NULL, 4097) != defined_lanes(x, 4097));
    float one_chain = 0, unfused = 0;
    for (int i = 0; i < 20481; i++) one_chain += x[i];
    ck_assert(one_chain != defined_chain(x, NULL, 20481));
    for (int i = 0; i < 4096; i++) unfused += x[i] * y[i];
    ck_assert(unfused != defined_chain(x, y, 4096));
}
END_TEST

/* Reduced labels are taken in the order of the second operand: "ij,ji->" runs over j slowest. */
START_TEST(labels_in_the_order_of_the_second_operand) {
    enum { I = 7, J = 11 };
    for (int swapped = 0; swapped < 2; swapped++) {
        Made m = made();
        int64_t ij[] = {I, J}, ji[] = {J, I};
        Value *x = param(&m, "x", F32, 2, ij), *y = param(&m, "y", F32, 2, swapped ? ji : ij);
        result(&m, g_contract(&m.b, swapped ? "ij,ji->" : "ij,ij->", x, y));
        Tensor *in[2] = {tensor_new(EVAL_F32, x->type, 1), tensor_new(EVAL_F32, y->type, 1)};
        uint64_t seed = 3;
        for (int i = 0; i < I * J; i++) tensor_set(in[0], i, wild(&seed)), tensor_set(in[1], i, wild(&seed));
        float acc = 0;
        for (int r = 0; r < I * J; r++) {
            int i = swapped ? r % I : r / J, j = swapped ? r / I : r % J;
            acc = fmaf((float)tensor_get(in[0], i * J + j), (float)tensor_get(in[1], r), acc);
        }
        Tensor *out = run_one(&m, in);
        ck_assert_msg((float)tensor_get(out, 0) == acc, "%a, not %a", tensor_get(out, 0), acc);
        tensor_release(out);
        tensor_release(in[0]);
        tensor_release(in[1]);
        arena_free(m.arena);
    }
}
END_TEST

/* A convolution and its chain written out, with padding, stride and both dilations: zeros count. */
START_TEST(conv_is_one_chain) {
    enum { X = 6, C = 3, K = 3, D = 2, OUT = 9 };
    Made m = made();
    int64_t xs[] = { 1, X, C }, ks[] = {K, C, D}, stride = 1, low = 1, high = 1, lhs = 2, rhs = 2;
    Value *x = param(&m, "x", F32, 3, xs), *k = param(&m, "k", F32, 3, ks), *ops[] = {x, k};
    Attr attrs[] = {attr_s(A_spec, "nxc,xcd->nxd"),
                    attr_s(A_window, "x"),
                    attr_ints(m.arena, A_stride, &stride, 1),
                    attr_ints(m.arena, A_low, &low, 1),
                    attr_ints(m.arena, A_high, &high, 1),
                    attr_ints(m.arena, A_lhs_dilation, &lhs, 1),
                    attr_ints(m.arena, A_rhs_dilation, &rhs, 1)};
    Value *y = op_make(&m.b, OP_conv, 2, ops, 7, attrs, NULL);
    ck_assert_int_eq((int)y->type->dim[1].n, OUT); /* 1 + 11 + 1 - 5 + 1 */
    result(&m, y);
    Tensor *in[2] = {tensor_new(EVAL_F32, x->type, 1), tensor_new(EVAL_F32, k->type, 1)};
    uint64_t seed = 5;
    for (int i = 0; i < X * C; i++) tensor_set(in[0], i, wild(&seed));
    for (int i = 0; i < K * C * D; i++) tensor_set(in[1], i, wild(&seed));
    Tensor *out = run_one(&m, in);
    for (int o = 0; o < OUT; o++)
        for (int d = 0; d < D; d++) {
            float acc = 0;
            for (int p = 0; p < K; p++)
                for (int c = 0; c < C; c++) {
                    int at = o + 2 * p - 1; /* in x with a zero between neighbours */
                    float v = at < 0 || at > 2 * (X - 1) || at % 2 ? 0 : (float)tensor_get(in[0], at / 2 * C + c);
                    acc = fmaf(v, (float)tensor_get(in[1], (p * C + c) * D + d), acc);
                }
            ck_assert_msg((float)tensor_get(out, o * D + d) == acc, "place %d, channel %d: %a, not %a", o, d,
                          tensor_get(out, o * D + d), acc);
        }
    tensor_release(out);
    tensor_release(in[0]);
    tensor_release(in[1]);
    arena_free(m.arena);
}
END_TEST

/* ---- frame ---- */

/* A value that stands in for another: what only the other needed does not run (it would divide by 0). */
START_TEST(a_value_can_be_replaced) {
    Made m = made();
    Value *x = param(&m, "x", I32, 0, NULL), *zero = param(&m, "zero", I32, 0, NULL);
    Value *q = g_binary(&m.b, OP_floor_div, x, zero), *y = g_binary(&m.b, OP_add, q, x);
    result(&m, y);
    Tensor *in[2] = {tensor_new(EVAL_F64, x->type, 1), tensor_new(EVAL_F64, x->type, 1)}, *q7 = tensor_new(EVAL_F64, x->type, 1),
           *out;
    tensor_set(in[0], 0, 5);
    tensor_set(q7, 0, 7);
    EvalFault fault;
    ck_assert(!eval_func(m.arena, m.f, EVAL_F64, 1, in, &out, &fault));
    ck_assert(fault.op == q->def);
    EvalOptions options = {.type = EVAL_F64, .batch = 1, .n_instead = 1, .instead = &q, .with = &q7};
    ck_assert(eval_values(m.arena, m.f, &options, in, 1, &y, &out, &fault));
    ck_assert(tensor_get(out, 0) == 12);
    tensor_release(out);
    ck_assert_int_eq(q7->refs, 1);
    tensor_release(q7);
    tensor_release(in[0]);
    tensor_release(in[1]);
    arena_free(m.arena);
}
END_TEST

typedef struct Held {
    size_t before, most;
} Held;

static size_t bytes_held(void) {
    struct mallinfo2 now = mallinfo2();
    return now.uordblks + now.hblkhd;
}

static void note_held(const Op *op, Tensor *const *results, void *arg) {
    (void)op, (void)results;
    Held *h = arg;
    size_t now = bytes_held() - h->before;
    if (now > h->most) h->most = now;
}

/* Forty tensors of 16 MB one after the other: three of them (input, operand, result) are held at a time. */
START_TEST(values_die_after_their_last_use) {
    Made m = made();
    int64_t dim = 1 << 21;
    Value *x = param(&m, "x", F64, 1, &dim), *v = x;
    for (int i = 0; i < 40; i++) v = g_unary(&m.b, OP_neg, v);
    result(&m, v);
    Held held = {bytes_held(), 0};
    Tensor *in = tensor_new(EVAL_F64, x->type, 1), *out;
    tensor_set(in, 5, 3);
    EvalFault fault;
    EvalOptions options = {.type = EVAL_F64, .batch = 1, .observe = note_held, .arg = &held};
    ck_assert(eval_values(m.arena, m.f, &options, &in, 1, &v, &out, &fault));
    ck_assert(tensor_get(out, 5) == 3);
    ck_assert_msg(held.most < 3 * ((size_t)dim * 8) + (1 << 20), "%zu bytes were held", held.most);
    tensor_release(out);
    tensor_release(in);
    arena_free(m.arena);
}
END_TEST

Suite *eval_suite(void);

Suite *eval_suite(void) {
    Suite *s = suite_create("eval");
    TCase *t = tcase_create("eval");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, cases_in_files);
    tcase_add_test(t, sums_follow_the_order);
    tcase_add_test(t, the_order_matters);
    tcase_add_test(t, labels_in_the_order_of_the_second_operand);
    tcase_add_test(t, conv_is_one_chain);
    tcase_add_test(t, a_value_can_be_replaced);
    tcase_add_test(t, values_die_after_their_last_use);
    suite_add_tcase(s, t);
    return s;
}
