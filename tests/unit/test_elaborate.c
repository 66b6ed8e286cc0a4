/*
 * test_elaborate.c - the elaborator, rule by rule (E1 ... B7 are the names of docs/language-rules.md): what a program means is
 * asked of the reference evaluator, what it becomes of the module, what is wrong with it of the messages. And: every sample
 * reaches a graph that verifies.
 */
#include "frontend/elaborate.h"
#include "frontend/parse.h"
#include "ir/eval.h"
#include "ir/graph.h"
#include "passes/pipeline.h"
#include "texts.h"

#include <check.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- helpers ---- */

static Arena *arena;

static void setup(void) { arena = arena_new(); }
static void teardown(void) { arena_free(arena); }

static const char *printed(const Diag *d) { return test_messages(arena, d); }

static Module *elaborate_n(const char *text, Diag **d, const Define *defines, size_t n) {
    *d = diag_new(arena);
    Ast *ast = parse_source(arena, *d, "t.nn", text, strlen(text));
    ElaborateOptions o = {.defines = defines, .n_defines = n};
    return elaborate(arena, *d, ast, &o);
}

static Module *module_of(const char *text) {
    Diag *d;
    Module *m = elaborate_n(text, &d, NULL, 0);
    ck_assert_msg(m, "%s\n%s", text, printed(d));
    const char *why = graph_verify(arena, m, STAGE_FRONT);
    ck_assert_msg(!why, "%s\n%s", text, why);
    return m;
}

/* "2:5 E0202, 3:1 E0101": places and codes of all errors. */
static const char *errors_of(const char *text) {
    Diag *d;
    elaborate_n(text, &d, NULL, 0);
    return test_codes(arena, printed(d), false);
}

static const char *messages_of(const char *text) {
    Diag *d;
    elaborate_n(text, &d, NULL, 0);
    return printed(d);
}

#define ck_errors(text, want) ck_assert_str_eq(errors_of(text), want)

static const char *graph_text(const Module *m) {
    Text t = {0};
    graph_print(m, STAGE_FRONT, NULL, &t, arena);
    return text_str(arena, &t);
}

static int count(const char *text, const char *what) {
    int n = 0;
    for (const char *s = text; (s = strstr(s, what)); s += strlen(what)) n++;
    return n;
}

static Tensor *slot_input(const Slot *s, int64_t seed) {
    Tensor *t = tensor_new(EVAL_F64, s->type, 1);
    double v = s->kind == SLOT_KEY                                                        ? (double)seed
               : s->kind == SLOT_FIRST || s->kind == SLOT_COUNTER || s->kind == SLOT_STEP ? 0
                                                                                          : s->fill;
    for (int64_t i = 0; i < t->count; i++) tensor_set(t, i, v);
    return t;
}

static const Slot *printed_slot(Node *const *nodes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (nodes[i]->kind == NODE_PRINT) return nodes[i]->pieces.at[0].slot;
        const Slot *s = printed_slot(nodes[i]->body.at, nodes[i]->body.n);
        if (s) return s;
    }
    return NULL;
}

static const char *printed_type(const Module *m) {
    const Slot *s = printed_slot(m->commands.at[0]->body.at, m->commands.at[0]->body.n);
    return s ? type_name(s->type) : "nothing";
}

/* The value that the first `print` of the first command shows, in f64; up to `room` elements are written to out. */
static int64_t result_of(const char *program, double *out, int64_t room) {
    Module *m = module_of(program);
    Diag *d = diag_new(arena);
    PassCtx ctx = {.arena = arena, .diag = d};
    pass_autodiff(&ctx, m);
    ck_assert_msg(!diag_errors(d), "%s\n%s", program, printed(d));
    const Slot *shown = printed_slot(m->commands.at[0]->body.at, m->commands.at[0]->body.n);
    for (size_t i = 0; i < m->funcs.n; i++) {
        Func *f = m->funcs.at[i];
        for (size_t k = 0; k < f->out_slots.n; k++) {
            if (f->out_slots.at[k] != shown) continue;
            size_t n_in = f->in_slots.n;
            Tensor **in = arena_make_n(arena, Tensor *, n_in + 1);
            Tensor **results = arena_make_n(arena, Tensor *, f->out_slots.n);
            for (size_t j = 0; j < n_in; j++) in[j] = slot_input(f->in_slots.at[j], 1);
            EvalFault fault;
            bool good = eval_func(arena, f, EVAL_F64, 1, in, results, &fault);
            ck_assert_msg(good, "%s\n%s", program, good ? "" : fault.text);
            int64_t n = results[k]->count;
            for (int64_t j = 0; j < n && j < room; j++) out[j] = tensor_get(results[k], j);
            for (size_t j = 0; j < n_in; j++) tensor_release(in[j]);
            for (size_t j = 0; j < f->out_slots.n; j++) tensor_release(results[j]);
            return n;
        }
    }
    ck_abort_msg("no function writes what is printed:\n%s", graph_text(m));
}

typedef struct Expected {
    const char *expression;
    int n;
    double want[16];
} Expected;

/* Each expression has these elements, in row-major order. */
static void check_values(const char *prelude, const Expected *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char *program =
            arena_printf(arena, "%s\ncommand c {\n    result = %s\n    print result\n}\n", prelude, rows[i].expression);
        double got[64];
        int64_t have = result_of(program, got, 64);
        ck_assert_msg(have == rows[i].n, "%s has %d elements, not %d", rows[i].expression, (int)have, rows[i].n);
        for (int k = 0; k < rows[i].n; k++)
            if (got[k] != rows[i].want[k] && !(fabs(got[k] - rows[i].want[k]) <= 1e-6 + 1e-6 * fabs(rows[i].want[k])))
                ck_abort_msg("%s: element %d is %.9g, not %.9g", rows[i].expression, k, got[k], rows[i].want[k]);
    }
}

#define CHECK_VALUES(prelude, ...)                                                                                               \
    do {                                                                                                                         \
        static const Expected rows[] = {__VA_ARGS__};                                                                            \
        check_values(prelude, rows, sizeof rows / sizeof *rows);                                                                 \
    } while (0)

/* ---- expressions ---- */

START_TEST(E1_precedence) {
    CHECK_VALUES("", {"f32(-2^2)", 1, {-4}}, {"f32(2^3^2)", 1, {512}}, {"f32(2 + 3 * 4)", 1, {14}}, {"f32(7 // 2 * 2)", 1, {6}},
                 {"f32(if not 1 > 2 and true then 1 else 2)", 1, {1}}, {"f32([1, 2]) |> sum", 1, {3}},
                 {"f32(10 - 4 - 3)", 1, {3}});
}
END_TEST

START_TEST(E2_pipes) {
    CHECK_VALUES("fn add(x, k) = x + k\nfn adder(k) = k + 1\n", {"f32([1, 2]) |> add(10)", 2, {11, 12}},
                 {"f32([1, 2]) |> add(k=5) |> add(1)", 2, {7, 8}}, {"f32([3, 4]) |> max", 1, {4}},
                 {"f32([[1, 2], [3, 4]]) |> sum(axis=0)", 2, {4, 6}});
}
END_TEST

START_TEST(E3_numbers_are_exact_and_take_the_type_they_meet) {
    CHECK_VALUES("option n = 3\n", {"2 / 3 * f32([3])", 1, {2}}, {"n * f32([2])", 1, {6}}, {"f32([1]) + n / 2", 1, {2.5}},
                 {"arange(3) + 1", 3, {1, 2, 3}}, {"f32(n // 2 + n % 2)", 1, {2}}, {"f32(if n > 2 then n else 0)", 1, {3}});
    ck_errors("command c { x = u8(arange(3)) + 300 }\n", "1:17 E0203");
    ck_errors("command c { x = arange(3) * 0.5 }\n", "1:17 E0203");
    ck_errors("command c { x = arange(3) / 2 }\n", "1:17 E0216");
    ck_errors("command c { x = zeros([3 / 2]) }\n", "1:23 E0207");
    ck_errors("command c { x = zeros([2]) + arange(2) }\n", "1:17 E0201");
    ck_errors("option n = 3\ncommand c { x = zeros([n]) }\n", "2:23 E0207");
}
END_TEST

START_TEST(E4_choices) {
    CHECK_VALUES("fn root(x) = if x > 0 then sqrt(x) else 0\n", {"if f32([1, 2]) > 1.5 then 5 else f32([7, 8])", 2, {7, 5}},
                 {"root(f32([-1, 4]))", 2, {0, 2}}, {"f32(if 1 > 2 then no_such_name else 3)", 1, {3}});
    ck_errors("command c { x = if zeros([2]) then 1 else 2 }\n", "1:17 E0215");
}
END_TEST

START_TEST(E4_zero_cotangents) {
    double g[2];
    int64_t n = result_of(
        "param x: f32[2] = 0\ncommand c {\n    result = grad(sum(if x > 0 then sqrt(x) else x), x)\n    print result\n}\n", g, 2);
    ck_assert_int_eq(n, 2);
    ck_assert_msg(g[0] == 1 && g[1] == 1, "%g %g", g[0], g[1]);
}
END_TEST

START_TEST(E5_indices) {
    CHECK_VALUES("fn m() = f32([[1, 2, 3], [4, 5, 6]])\n", {"m()[1]", 3, {4, 5, 6}}, {"m()[-1, -1]", 1, {6}},
                 {"m()[:, 1]", 2, {2, 5}}, {"m()[..., 0:2]", 4, {1, 2, 4, 5}}, {"m()[:, new, 2]", 2, {3, 6}},
                 {"m()[i32([1, 0, 1]), 0]", 3, {4, 1, 4}}, {"m()[argmax(f32([0, 1]))]", 3, {4, 5, 6}}, {"m()[0, 1:1]", 0, {0}},
                 {"m()[:, 1:]", 4, {2, 3, 5, 6}});
    ck_errors("command c { x = zeros([3])[3] }\n", "1:28 E0208");
    ck_errors("command c { x = zeros([3])[1:5] }\n", "1:28 E0208");
    ck_errors("command c { x = zeros([3])[0, 0] }\n", "1:17 E0208");
    ck_errors("command c { x = zeros([3])[f32(1)] }\n", "1:28 E0208");
}
END_TEST

START_TEST(E5_update_of_a_part) {
    double x[6];
    result_of("command c {\n    result = zeros([2, 3])\n    result[:, 1] = f32([5, 6])\n    result[1] = 2\n    print result\n}\n",
              x, 6);
    const double want[] = {0, 5, 0, 2, 2, 2};
    for (int i = 0; i < 6; i++) ck_assert_double_eq(x[i], want[i]);
}
END_TEST

/* Several tensors in a bracket pick element by element; their axes stand where the first of them stands. */
START_TEST(E5_several_tensors) {
    CHECK_VALUES("fn x() = reshape(f32(arange(24)), [2, 3, 4])\nfn i() = i32([1, 0, 1])\nfn j() = i32([2, 2, 0])\n",
                 {"x()[i(), j()]", 12, {20, 21, 22, 23, 8, 9, 10, 11, 12, 13, 14, 15}},
                 {"x()[:, j(), j()]", 6, {10, 10, 0, 22, 22, 12}}, {"x()[i(), :, j()]", 9, {14, 18, 22, 2, 6, 10, 12, 16, 20}},
                 {"x()[0, i(), j()]", 3, {6, 2, 4}}, {"x()[i(), 1, j()]", 3, {18, 6, 16}},
                 {"x()[i()[0:2, new], j()[new, 0:2], 3]", 4, {23, 23, 11, 11}}, {"x()[1, :, j()][:, 0]", 3, {14, 18, 22}});
    ck_errors("command c { x = zeros([3, 3])[arange(2), arange(3)] }\n", "1:42 E0202");
    ck_errors("data d { x: f32[4] = csv(\"a.csv\") }\ncommand c {\n    for x in d batch 2 { print x[arange(len(x)), i32(x[:, "
              "0])] }\n}\n",
              "");
}
END_TEST

START_TEST(E5_update_by_tensors) {
    double x[9];
    result_of("param w: f32[3] = 1\ncommand c {\n    result = zeros([3, 3])\n    result[i32([2, 0, 2]), i32([1, 0, 1])] = w * "
              "f32([4, 5, 6])\n    "
              "result[new, 1] = 7\n    print result\n}\n",
              x, 9);
    const double want[] = {5, 0, 0, 7, 7, 7, 0, 6, 0}; /* of equal places the last wins */
    for (int i = 0; i < 9; i++) ck_assert_double_eq(x[i], want[i]);
    result_of("param w: f32[3] = 1\ncommand c {\n    y = zeros([3, 3])\n    y[i32([2, 0, 2])] = w[:, new] * 2\n    result = "
              "grad(sum(y * y), w)\n    "
              "print result\n}\n",
              x, 3);
    ck_assert_msg(x[0] == 0 && x[1] == 24 && x[2] == 24, "%g %g %g", x[0], x[1], x[2]); /* 3 columns, 2 * 2 * 2 w */
    ck_errors("command c {\n    x = zeros([3, 3])\n    x[arange(2), 0] = zeros([3])\n}\n", "3:5 E0202");
}
END_TEST

START_TEST(E6_padding) {
    static const struct {
        const char *call;
        const char *type;
    } rows[] = {
        {"x |> conv[4, 3]", "f32[2, 7, 4]"},
        {"x |> conv[4, 3, stride=2]", "f32[2, 4, 4]"},
        {"x |> conv[4, 3, pad=valid]", "f32[2, 5, 4]"},
        {"x |> conv[4, 3, pad=2]", "f32[2, 9, 4]"},
        {"x |> conv[4, 3, dilation=2, pad=valid]", "f32[2, 3, 4]"},
        {"x |> maxpool[2]", "f32[2, 3, 3]"},
        {"x |> maxpool[3, stride=2, pad=same]", "f32[2, 4, 3]"},
        {"x |> conv_transpose[4, 3, stride=2]", "f32[2, 14, 4]"},
        {"x |> conv_transpose[4, 3, stride=2, pad=valid]", "f32[2, 15, 4]"},
        {"x |> conv_transpose[4, 3, stride=2, pad=1]", "f32[2, 13, 4]"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Module *m = module_of(arena_printf(arena,
                                           "layer l(x: f32[B, n, 3]) { return %s }\nmodel net = l\ncommand c {\n    result = "
                                           "net(zeros([2, 7, 3]))\n    print result\n}\n",
                                           rows[i].call));
        ck_assert_msg(strcmp(printed_type(m), rows[i].type) == 0, "%s gives %s, not %s", rows[i].call, printed_type(m),
                      rows[i].type);
    }
}
END_TEST

START_TEST(E6_convolution_is_cross_correlation) {
    CHECK_VALUES("fn x() = reshape(f32([1, 2, 3, 4, 5]), [1, 5, 1])\nfn k() = reshape(f32([1, 10, 100]), [3, 1, 1])\n",
                 {"convolve(x(), k(), pad=valid)", 3, {321, 432, 543}}, {"convolve(x(), k())", 5, {210, 321, 432, 543, 54}},
                 {"convolve(x(), k(), stride=2)", 3, {210, 432, 54}},
                 {"convolve_back(x(), k(), pad=valid)", 7, {1, 12, 123, 234, 345, 450, 500}},
                 {"convolve_back(x()[:, 0:2], k(), stride=2)", 4, {1, 10, 102, 20}}, {"max_windows(x(), 2, stride=2)", 2, {2, 4}},
                 {"sum_windows(x(), 3, stride=1, pad=1)", 5, {3, 6, 9, 12, 9}});
}
END_TEST

START_TEST(E7_extremes) {
    CHECK_VALUES("", {"max(f32([1, 5]), 3)", 2, {3, 5}}, {"clip(f32([-1, 0.5, 2]), 0, 1)", 3, {0, 0.5, 1}},
                 {"max(f32([[1, 5], [7, 2]]), axis=1)", 2, {5, 7}}, {"min(f32([3, 1, 2]))", 1, {1}},
                 {"argmax(f32([1, 3, 3]))", 1, {1}}, {"sum(zeros([0]))", 1, {0}}, {"prod(zeros([0]))", 1, {1}},
                 {"f32(clip(5, 0, 3))", 1, {3}});
    double g[3];
    result_of("param x: f32[3] = 0\ncommand c {\n    result = grad(sum(max(0, x)) + max(x), x)\n    print result\n}\n", g, 3);
    ck_assert_msg(g[0] == 1 && g[1] == 0 && g[2] == 0, "%g %g %g", g[0], g[1], g[2]); /* the first of equal values */
    ck_errors("command c { x = max(zeros([0])) }\n", "1:17 E0218");
}
END_TEST

START_TEST(E8_conversion) {
    CHECK_VALUES("", {"i32(f32([3.7, -3.7, 1e20]))", 3, {3, -3, 2147483647}}, {"u8(f32([300, -5, 7.9]))", 3, {255, 0, 7}},
                 {"round(f32([0.5, 1.5, 2.5]))", 3, {0, 2, 2}}, {"i32([7, -7]) // 2", 2, {3, -4}},
                 {"i32([7, -7]) % 4", 2, {3, 1}}, {"f32(f32([1, 0]) > 0.5)", 2, {1, 0}}, {"f32(i32(3.7))", 1, {3}});
}
END_TEST

START_TEST(matrix_products) {
    CHECK_VALUES("fn a() = f32([[1, 2], [3, 4]])\nfn v() = f32([5, 6])\n", {"a() @ v()", 2, {17, 39}}, {"v() @ a()", 2, {23, 34}},
                 {"v() @ v()", 1, {61}}, {"a()' @ a()", 4, {10, 14, 14, 20}},
                 {"stack([a(), 2 * a()]) @ a()", 8, {7, 10, 15, 22, 14, 20, 30, 44}},
                 {"stack([a(), a()]) @ stack([a()])", 8, {7, 10, 15, 22, 7, 10, 15, 22}},
                 {"einsum(\"ij,jk->ki\", a(), a())", 4, {7, 15, 10, 22}}, {"einsum(\"ij->j\", a())", 2, {4, 6}},
                 {"einsum(\"ij,ij,j->i\", a(), a(), v())", 2, {29, 141}});
    ck_errors("command c { x = zeros([2, 3]) @ zeros([4, 5]) }\n", "1:17 E0204");
    ck_errors("command c { x = zeros([2, 2]) / 16 @ zeros([2, 2]) }\n", "1:33 E0204");
}
END_TEST

/* ---- names, instances, shapes ---- */

START_TEST(N1_names) {
    ck_errors("const a = 1\nconst a = 2\n", "2:1 E0102");
    ck_errors("fn f(x) = g(x)\nfn g(x) = f(x)\ncommand c { y = f(1) }\n", "2:11 E0104");
    ck_errors("param w: f32 = 0\ncommand c { w = f32(1) }\n", "2:13 E0105");
    ck_errors("option w = 0\ncommand c { w = 1 }\n", "2:13 E0105");
    ck_errors("layer l[N: int](x: f32[B]) {\n    N = 2\n    return x\n}\nmodel m = l[1]\ncommand c { y = m(zeros([2])) }\n",
              "2:5 E0105");
    ck_assert_ptr_nonnull(strstr(messages_of("command c { x = softmx(zeros([2])) }\n"), "did you mean `softmax`?"));
    module_of("fn accuracy2(z) = sum(z)\ncommand c {\n    for i in 0..2 {\n        sum = zeros([2])\n        track t = "
              "sum(sum)\n    }\n}\n");                                   /* an applied name skips values */
    module_of("fn relu(x) = x + 1\ncommand c { print relu(f32(1)) }\n"); /* user names hide the library's */
    ck_errors("data d { x: f32 = csv(\"a.csv\") }\nfn f() = d\ncommand c { x = f() }\n", "2:10 E0103");
}
END_TEST

START_TEST(N2_constants_in_types) {
    const char *m = messages_of("const T = 40\nfn f(x: f32[B, T]) = x\ncommand c { y = f(zeros([2, 28])) }\n");
    ck_assert_msg(strstr(m, "T is 40, here 28") && strstr(m, "t.nn:1:1: note"), "%s", m);
    ck_errors("param w: f32[2] = 0\nfn f(x: f32[w]) = x\ncommand c { y = f(zeros([2])) }\n", "2:13 E0207");
    ck_errors("fn f(x: f32[n], y: f32[n]) = x\ncommand c { y = f(zeros([2]), zeros([3])) }\n", "2:31 E0205");
}
END_TEST

static void has_slots(const Module *m, const char *names) {
    char *copy = arena_strndup(arena, names, strlen(names));
    for (char *s = strtok(copy, " "); s; s = strtok(NULL, " "))
        ck_assert_msg(slot_by_name(m, s), "no slot %s:\n%s", s, graph_text(m));
}

START_TEST(N3_names_of_parameters) {
    const char *apply = "command c { print net(zeros([2, 4])) }\n";
    has_slots(module_of(arena_printf(
                  arena, "layer l(x: f32[B, 4]) { return x |> dense[3] |> relu |> dense[2] }\nmodel net = l\n%s", apply)),
              "net.dense_1.w net.dense_1.b net.dense_2.w net.dense_2.b");
    has_slots(module_of(arena_printf(
                  arena, "layer l(x: f32[B, 4]) {\n    let f = dense[4]\n    return f(f(x))\n}\nmodel net = l\n%s", apply)),
              "net.f.w net.f.b");
    has_slots(module_of(arena_printf(
                  arena, "layer l(x: f32[B, 4]) {\n    for i in 0..3 { x = x |> dense[4] }\n    return x\n}\nmodel net = l\n%s",
                  apply)),
              "net.dense_1.w net.dense_2.w net.dense_3.b");
    has_slots(module_of(arena_printf(arena,
                                     "layer l(x: f32[B, 4]) {\n    for i in 0..2 {\n        let d = dense[4]\n        param g: "
                                     "f32 = 1\n        x = g * d(x)\n    }\n    return x\n}\nmodel net = l\n%s",
                                     apply)),
              "net.d_1.w net.d_2.w net.g_1 net.g_2");
    has_slots(module_of("layer l(x: f32[B, 4]) { return x |> dense[2] }\nmodel nets = [l for i in 0..2]\ncommand c { print "
                        "total([net(zeros([2, 4])) for net in nets]) }\n"),
              "nets.0.dense_1.w nets.1.dense_1.b");
    Module *m = module_of("layer l(x: f32[B, T, 4]) {\n    h = zeros([B, 4])\n    scan xt in x along 1 { h = tanh(dense[4](xt) + "
                          "h) }\n    return h\n}\nmodel net = l\ncommand c { print net(zeros([2, 3, 4])) }\n");
    has_slots(m, "net.dense_1.w");
    ck_assert_ptr_null(slot_by_name(m, "net.dense_2.w")); /* in a scan one in all */
    m = module_of("layer l {\n    fn f(x) = dense[4](x)\n}\nmodel net = l\ncommand c {\n    a = net.f(zeros([2, 4]))\n    print "
                  "net.f(a)\n}\n");
    ck_assert_ptr_null(slot_by_name(m, "net.dense_2.w")); /* in a fn of a layer one however often it is called */
}
END_TEST

START_TEST(N3_names_over_both_modes) {
    const char *text =
        "layer l(x: f32[B, 4]) {\n    if learning { x = x |> dense[4] }\n    return x |> dense[1]\n}\nmodel net = l\n"
        "command test { print net(zeros([2, 4])) }\n"
        "command train {\n    for i in 0..2 { minimize mean(net(zeros([2, 4]))) over net using sgd }\n    save net to \"a\"\n}\n";
    Module *m = module_of(text);
    ck_assert_int_eq(slot_by_name(m, "net.dense_1.w")->type->dim[1].n, 4);
    ck_assert_int_eq(slot_by_name(m, "net.dense_2.w")->type->dim[1].n, 1);
    ck_errors("layer l { param w: f32 = 0 }\nlayer k(x: f32[B]) { return x }\nmodel a = k\ncommand c { save a to \"f\" }\n",
              "4:18 E0304");
    ck_errors("command c { y = dense[2](zeros([1, 3])) }\n", "1:17 E0109");
    ck_errors("fn f(x) = dense[2](x)\ncommand c { y = f(zeros([1, 3])) }\n", "1:11 E0109");
}
END_TEST

START_TEST(N4_first_application_fixes_shapes) {
    const char *text = "layer l { let d = dense[2]\n    fn f(x) = d(x)\n}\nmodel m = l\ncommand c {\n    a = m.f(zeros([1, "
                       "3]))\n    b = m.f(zeros([1, 4]))\n}\n";
    ck_errors(text, "2:15 E0212");
    ck_assert_ptr_nonnull(strstr(messages_of(text), "t.nn:7:9: note: in function f, applied here to x: f32[1, 4]"));
    /* what is known only after an application cannot be asked for before one */
    const char *early = "layer l(x: f32[B, n]) { return x |> dense[2] }\nmodel m = l\ncommand c {\n    y = l2(m) + "
                        "sum(m(zeros([1, 3])))\n    print y\n}\n";
    ck_errors(early, "4:9 E0108");
    ck_assert_ptr_nonnull(strstr(messages_of(early), "t.nn:2:11: note: the instance is made here"));
    for (const char *const *w = (const char *const[]){"params(m)", "weights(m)", "grad(f32(1), m)", NULL}; *w; w++)
        ck_assert_int_eq(
            count(
                errors_of(arena_printf(
                    arena, "layer l(x: f32[B, n]) { return x |> dense[2] }\nmodel m = l\ncommand c { for p in %s { print p } }\n",
                    *w)),
                "E0108"),
            1);
    has_slots(module_of("layer l {\n    let c = conv[4, 3]\n    fn f(x: f32[B, n, 2]) = c(x)\n}\nmodel m = l\ncommand c {\n    "
                        "print m.f(zeros([1, 5, 2]))\n    print m.f(zeros([1, 9, 2]))\n}\n"),
              "m.c.w");
}
END_TEST

START_TEST(N5_configuration) {
    ck_errors("option n = 3\nlayer l[N: int](x: f32[B, 2]) { return x |> dense[N] }\nmodel m = l[n]\ncommand c { print "
              "m(zeros([1, 2])) }\n",
              "3:13 E0110");
    module_of("option rate = 0.5\nlayer l(x: f32[B, 2]) { return x |> dropout[rate] }\nmodel m = l\ncommand c { print "
              "m(zeros([1, 2])) }\n");
    ck_errors("option n = 3\ndata d { x: f32 = csv(\"a.csv\") }\ncommand c {\n    for x in d batch n { track mean(x) }\n}\n",
              "4:22 E0110");
}
END_TEST

START_TEST(N6_the_batch) {
    Module *m = module_of("command c(x: f32[B, 3, 2]) -> (y: f32[B, 2]) {\n    flat = reshape(x, [B * 3, 2])\n    y = "
                          "mean(reshape(flat, [B, 3, 2]), axis=1)\n}\n");
    ck_assert_int_eq(slot_by_name(m, "c.x")->batch_bound, 256);
    ck_errors("command c(x: f32[B, 3]) -> (y: f32[3, B]) { y = reshape(x, [3, 2 * B]) }\n", "1:60 E0213");
    ck_errors("command c(x: f32[B, 3]) -> (y: f32[3, 3]) { y = reshape(x, [3, 3]) }\n", "1:49 E0209");
    m = module_of("data d { x: f32[3] = csv(\"a.csv\") }\ncommand c {\n    for x in d batch 8 drop_last { track s = sum(x, "
                  "axis=1) }\n    for x in d batch 8 { track t = sum(x, axis=1) }\n}\n");
    ck_assert_str_eq(type_name(slot_by_name(m, "c.s")->type), "f32"); /* still known to be the batch: averaged */
    ck_assert_str_eq(type_name(slot_by_name(m, "c.t")->type), "f32");
}
END_TEST

/* ---- loops and effects ---- */

START_TEST(L1_carried_names) {
    double x[4];
    result_of("command c {\n    a = 0\n    b = f32(1)\n    repeat 5 {\n        a, b = b, a + b\n    }\n    result = stack([a, "
              "b])\n    print result\n}\n",
              x, 2);
    ck_assert_msg(x[0] == 5 && x[1] == 8, "%g %g", x[0], x[1]);
    result_of("command c {\n    n = 1\n    s = zeros([2])\n    while n < 100 max 50 {\n        n = n * 2\n        s = s + n\n    "
              "}\n    result = s + n\n    print result\n}\n",
              x, 2);
    ck_assert_msg(x[0] == 254 + 128, "%g", x[0]);
    ck_errors("command c {\n    x = zeros([2])\n    for i in 0..3 { x = concat([x, x]) }\n    print x\n}\n", "3:21 E0301");
    ck_errors("fn f(x) {\n    repeat 3 { x = concat([x, x]) }\n    return x\n}\ncommand c { print f(zeros([2])) }\n",
              "2:16 E0301");
    module_of(
        "command c {\n    x = zeros([2])\n    for i in 0..3 {\n        x = arange(4)\n        print x\n    }\n}\n"); /* never read
                                                                                                                        before:
                                                                                                                        not
                                                                                                                        carried */
}
END_TEST

START_TEST(L1_command_loops_carry_by_slots) {
    Module *m = module_of("command c {\n    total = 0\n    for i in 0..5 {\n        for j in 0..2 { total = total + f32(i) }\n   "
                          "     print total\n    }\n    print total\n}\n");
    ck_assert_msg(count(graph_text(m), "c.total") > 4, "%s", graph_text(m));
    Command *c = m->commands.at[0];
    ck_assert_int_eq(c->body.at[1]->kind, NODE_RANGE);
    ck_assert_int_eq(c->body.at[1]->hi.n, 5);
}
END_TEST

START_TEST(L2_scan) {
    double x[12];
    const char *p = "fn sums(x: f32[B, T]) {\n    s = zeros([B])\n    return scan t in x along 1 %s {\n        s = s + t\n       "
                    " yield s\n    }\n}\n"
                    "command c {\n    result = sums(f32([[1, 2, 3], [4, 5, 6]]))\n    print result\n}\n";
    result_of(arena_printf(arena, p, ""), x, 6);
    ck_assert_msg(x[0] == 1 && x[2] == 6 && x[5] == 15, "%g %g %g", x[0], x[2], x[5]);
    result_of(arena_printf(arena, p, "backwards"), x, 6);
    ck_assert_msg(x[0] == 6 && x[2] == 3 && x[3] == 15, "%g %g %g", x[0], x[2], x[3]);
    result_of("command c {\n    result = scan t in 2..5 along 0 { yield f32(t) * ones([2]) }\n    print result\n}\n", x, 6);
    ck_assert_msg(x[0] == 2 && x[5] == 4, "%g %g", x[0], x[5]);
    ck_errors("command c { s = 0\n    scan x in zeros([2, 3]) { s = s + sum(x) }\n    print s\n}\n", "2:5 E0303");
    ck_errors("option k = 2\ncommand c {\n    ys = repeat k { yield f32(1) }\n    print ys\n}\n", "3:21 E0302");
}
END_TEST

START_TEST(L3_copies) {
    Module *m = module_of("command c {\n    for n in [2, 3] { print zeros([n]) }\n    for n in 0..2 { print zeros([3]) }\n}\n");
    int prints = 0, loops = 0;
    for (size_t i = 0; i < m->commands.at[0]->body.n; i++) {
        prints += m->commands.at[0]->body.at[i]->kind == NODE_PRINT;
        loops += m->commands.at[0]->body.at[i]->kind == NODE_RANGE;
    }
    ck_assert_int_eq(prints, 2);
    ck_assert_int_eq(loops, 1);
}
END_TEST

START_TEST(L4_versions) {
    double g[1];
    /* the loss saw w as it came (3) and as it was after the write (10): d(w0^2 + 5 w1)/dw = 2 * 3 + 5 */
    result_of("param w: f32 = 3\ncommand c {\n    a = w^2\n    w <- f32(10)\n    loss = a + 5 * w\n    result = grad(loss, w)\n  "
              "  print result\n}\n",
              g, 1);
    ck_assert_double_eq(g[0], 11);
    /* `<-` cuts the gradient: the second version does not lead back to the first */
    result_of("param w: f32 = 3\ncommand c {\n    w <- 4 * w\n    result = grad(5 * w, w)\n    print result\n}\n", g, 1);
    ck_assert_double_eq(g[0], 5);
    result_of("param w: f32 = 3\ncommand c {\n    w <- w + 1\n    result = w + 0\n    print result\n}\n", g, 1);
    ck_assert_double_eq(g[0], 4);
    /* a loop carries what it writes, and losses in it see that: w <- w - 0.1 * 2 w, three times */
    result_of("param w: f32 = 1\ncommand c {\n    repeat 3 { minimize w^2 over w using sgd[0.1] }\n    result = w + 0\n    print "
              "result\n}\n",
              g, 1);
    ck_assert_double_eq_tol(g[0], 0.512, 1e-7);
    ck_errors("param w: f32 = 3\nfn f() { w <- f32(1) }\ncommand c { f() }\n", "2:10 E0304");
}
END_TEST

START_TEST(L5_learning) {
    const char *p = "layer l(x: f32[B, 4]) { return x |> dropout[0.5] |> dense[1] }\nmodel net = l\ncommand c {\n    for i in "
                    "0..3 {\n        y = mean(net(ones([8, 4])))\n        %s\n        print y\n    }\n}\n";
    ck_assert_int_eq(count(graph_text(module_of(arena_printf(arena, p, "minimize y over net using sgd"))), "lt "),
                     1); /* the draw */
    ck_assert_int_eq(count(graph_text(module_of(arena_printf(arena, p, "z = y"))), "lt "), 0);
    ck_assert_int_eq(count(graph_text(module_of(arena_printf(arena, p, "for w in params(net) { w <- 2 * w }"))), "lt "), 1);
    ck_assert_int_eq(count(graph_text(module_of(
                               arena_printf(arena, p, "for j in 0..2 { minimize mean(net(ones([8, 4]))) over net using sgd }"))),
                           "lt "),
                     1); /* loops inside do not count */
    /* through a called function; a state alone does not make it learning */
    module_of("layer l {\n    param w: f32 = 1\n    state s: f32 = 0\n    fn mode() = if learning then 1 else 0\n    fn set(x) { "
              "w <- x }\n    fn note(x) { s <- x }\n}\nmodel m = l\n"
              "command c {\n    for i in 0..2 {\n        m.set(f32(2))\n        if m.mode() == 0 { print no_such_name }\n    }\n "
              "   for i in 0..2 {\n        m.note(f32(2))\n        if m.mode() == 1 { print no_such_name }\n    }\n}\n");
}
END_TEST

START_TEST(L6_draws) {
    const char *two = graph_text(module_of(
        "fn noise() = uniform([3])\ncommand c {\n    print noise() + noise()\n    repeat 2 { print_me = uniform([2]) }\n}\n"));
    const char *a = strstr(two, "site="), *b = a ? strstr(a + 5, "site=") : NULL;
    ck_assert_msg(a && b && strncmp(a, b, 20) != 0, "two calls draw alike:\n%s", two);
    Module *m = module_of(
        "command c {\n    s = zeros([2])\n    repeat 4 {\n        repeat 3 { s = s + uniform([2]) }\n    }\n    print s\n}\n");
    ck_assert_int_eq(count(graph_text(m), "= mix "), 2); /* a key for each loop */
    m = module_of("data d { x: f32[3] = csv(\"a.csv\") }\ncommand c {\n    for x in d batch 8 { track n = mean(x + "
                  "normal(shape(x)), axis=1) }\n}\n");
    ck_assert_msg(strstr(graph_text(m), "%first"), "%s", graph_text(m)); /* counted from the place in the epoch */
    /* initial values follow the parameter's name alone */
    Module *p =
        module_of("layer l(x: f32[B, 2]) { return x |> dense[2] }\nmodel net = l\ncommand c { print net(ones([1, 2])) }\n");
    Module *q = module_of("# moved\n\nlayer l(x: f32[B, 2]) {\n    y = x + 1\n    return y |> dense[2]\n}\nmodel net = "
                          "l\ncommand d { print net(ones([1, 2])) }\n");
    const char *sp = strstr(graph_text(p), "site="), *sq = strstr(graph_text(q), "site=");
    ck_assert_msg(sp && sq && strncmp(sp, sq, strcspn(sp, " ")) == 0, "initial values moved with the text");
}
END_TEST

START_TEST(L7_track) {
    ck_errors("command c { track x = f32(1) }\n", "1:13 E0308");
    ck_errors("command c {\n    for i in 0..3 { track f32(i) + 1 }\n}\n", "2:27 E0309");
    ck_errors("command c {\n    for i in 0..3 { track a = f32(1), a = f32(2) }\n}\n", "2:39 E0309");
    ck_errors("param a: f32 = 0\ncommand c {\n    for i in 0..3 { track a = f32(1) }\n}\n", "3:27 E0309");
    ck_errors("command c {\n    a = f32(0)\n    for i in 0..3 {\n        a = a + 1\n        track a\n    }\n}\n", "5:15 E0309");
    Module *m = module_of("fn right(x) = mean(x)\ncommand c {\n    for i in 0..3 {\n        x = f32(i)\n        track x, "
                          "ones([2]) |> right, t = x > 1\n    }\n    print x, right, t\n}\n");
    const Node *track = m->commands.at[0]->body.at[0]->body.at[1];
    ck_assert_int_eq(track->kind, NODE_TRACK);
    ck_assert_int_eq((int)track->tracked.n, 3);
    ck_assert_str_eq(track->tracked.at[0].name, "x");
    ck_assert_str_eq(track->tracked.at[1].name, "right");
}
END_TEST

START_TEST(L8_optimizers) {
    Module *m = module_of("optimizer heavy[lr: f32 = 0.1](w: f32[...S], g: f32[...S]) {\n    state v: f32[...S] = 0\n    v <- "
                          "0.9 * v + g\n    w <- w - lr * v\n}\n"
                          "param a: f32[2, 3] = 1\nparam b: f32 = 1\ncommand c {\n    for i in 0..2 {\n        minimize sum(a^2) "
                          "+ b^2 over a, b using heavy\n        minimize b^2 over b using heavy[0.5]\n    }\n}\n");
    has_slots(m, "a.heavy.v b.heavy.v b.heavy.v_2");
    ck_assert_str_eq(type_name(slot_by_name(m, "a.heavy.v")->type), "f32[2, 3]");
    ck_errors("command c {\n    x = zeros([2])\n    minimize sum(x) over x using sgd\n}\n", "3:26 E0103");
    ck_errors("param w: f32[2] = 1\ncommand c { minimize w over w using sgd }\n", "2:22 E0306");
    ck_errors("state s: f32 = 1\ncommand c { minimize s^2 over s using sgd }\n", "2:13 E0305");
}
END_TEST

START_TEST(L10_while) {
    ck_errors("command c {\n    x = zeros([2])\n    while x < 1 max 5 { x = x + 1 }\n    print x\n}\n", "3:11 E0215");
}
END_TEST

/* ---- commands, files ---- */

START_TEST(C1_weights) {
    Module *m = module_of("layer l(x: f32[B, 2]) { return x |> dense[2] }\nmodel net = l\nmodel other = l\n"
                          "command train {\n    for i in 0..2 { minimize mean(net(ones([2, 2]))) over net using sgd }\n    save "
                          "net to \"a.safetensors\"\n}\n"
                          "command test { print net(ones([2, 2])) }\ncommand fresh { print other(ones([2, 2])) }\n");
    ck_assert(m->commands.at[0]->learns);
    ck_assert_int_eq((int)m->commands.at[0]->weights.n, 0);
    ck_assert_int_eq((int)m->commands.at[1]->weights.n, 2);
    ck_assert_str_eq(m->commands.at[1]->weights_file, "a.safetensors");
    ck_assert_int_eq((int)m->commands.at[2]->weights.n, 0); /* saved nowhere: it starts from initial values */
}
END_TEST

START_TEST(C2_options_and_data) {
    ck_errors("option seed = 3\n", "1:1 E0502");
    ck_errors("option s = \"a\"\n", "1:12 E0502");
    ck_errors("data d { x: f32[2] = cvs(\"a.csv\") }\n", "1:22 E0401");
    ck_errors("data d { x: f32[2] = csv(\"a.csv\", colums=1) }\n", "1:35 E0401");
    ck_errors("data d { x: f32[2] = csv(\"a.csv\") }\ncommand c {\n    for x, y in d batch 2 { track mean(x) }\n}\n",
              "3:12 E0404");
    Module *m =
        module_of("vocab v = words(\"a.txt\", size=50)\ndata d shuffle { x: i32[len(v)] = lines(\"b\", \"c\", vocab=v, length=9) "
                  "}\ncommand c {\n    for x in d[2..30] batch 4 shuffle { track n = mean(f32(x), axis=1) }\n}\n");
    ck_assert_str_eq(type_name(m->data.at[0]->fields.at[0].type), "i32[50]");
    ck_assert_int_eq((int)m->data.at[0]->fields.at[0].loader.files.n, 2);
}
END_TEST

START_TEST(D_defines) {
    static const char *text =
        "const kind = \"plain\"\nconst n = 3\nconst f = relu\nconst deep = false\ncommand c {\n    result = (if kind == \"odd\" "
        "then f(-1 * ones([n])) else zeros([1])) + (if deep then 1 else 0)\n    print result\n}\n";
    Define good[] = {{"kind", "odd"}, {"n", "4"}, {"f", "tanh"}, {"deep", "true"}};
    Diag *d;
    Module *m = elaborate_n(text, &d, good, 4);
    ck_assert_msg(m, "%s", printed(d));
    ck_assert_str_eq(printed_type(m), "f32[4]");
    Define wrong[][1] = {{{"kinds", "x"}}, {{"n", "word"}}, {{"n", "true"}}, {{"f", "3"}}, {{"deep", "7"}}, {{"n", "("}}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) ck_assert_ptr_null(elaborate_n(text, &d, wrong[i], 1));
}
END_TEST

/* ---- built-ins ---- */

START_TEST(B1_results) {
    CHECK_VALUES("", {"eye(2)", 4, {1, 0, 0, 1}}, {"one_hot(i32([2, 0]), 3)", 6, {0, 0, 1, 1, 0, 0}}, {"full([2], 7)", 2, {7, 7}},
                 {"arange(2, 5)", 3, {2, 3, 4}}, {"sum(u8([200, 100]))", 1, {300}}, {"mean(f32([1, 2, 6]))", 1, {3}},
                 {"f32(any(f32([0, 1]) > 0.5))", 1, {1}}, {"prod(f32([2, 3, 4]))", 1, {24}},
                 {"f32(all(zeros([3]) == 1))", 1, {0}});
    ck_errors("command c { x = sum(zeros([2]) > 1) }\n", "1:21 E0210");
    ck_errors("command c { x = exp(arange(2)) }\n", "1:21 E0210");
}
END_TEST

START_TEST(B2_lists) {
    CHECK_VALUES("const l = [3, 1] + [2]\n", {"f32(l)", 3, {3, 1, 2}}, {"f32(sum(l) + prod(l) + max(l) + len(l))", 1, {18}},
                 {"f32(l[1:])", 2, {1, 2}}, {"f32([2 * x for x in l])", 3, {6, 2, 4}},
                 {"f32([a * b for a, b in l, 0..3])", 3, {0, 1, 4}}, {"f32(broadcast(5, [2]))", 2, {5, 5}},
                 {"f32(if l == [3, 1, 2] then 1 else 0)", 1, {1}}, {"f32(l[-1])", 1, {2}});
}
END_TEST

START_TEST(B3_shapes) {
    CHECK_VALUES("fn m() = f32([[1, 2, 3, 4], [5, 6, 7, 8]])\n", {"split(m(), 2, axis=1)[1]", 4, {3, 4, 7, 8}},
                 {"pad(f32([1, 2]), [[1, 2]], value=9)", 5, {9, 1, 2, 9, 9}}, {"sort(f32([3, 1, 2]))", 3, {1, 2, 3}},
                 {"reverse(m(), axis=1)[0]", 4, {4, 3, 2, 1}}, {"gather(m(), i32([[1], [2]]), axis=1)", 2, {2, 7}},
                 {"transpose(m(), [1, 0])[0]", 2, {1, 5}}, {"stack([f32([1, 2]), f32([3, 4])], axis=1)", 4, {1, 3, 2, 4}},
                 {"concat([m(), m()], axis=0)[2]", 4, {1, 2, 3, 4}}, {"f32(shape(expand(m(), 1)))", 3, {2, 1, 4}},
                 {"f32(len(m()))", 1, {2}}, {"broadcast(f32([1, 2]), [2, 2])", 4, {1, 2, 1, 2}});
    double x[2];
    result_of("command c {\n    v, i = top_k(f32([1, 5, 3]), 2)\n    result = v * 10 + f32(i)\n    print result\n}\n", x, 2);
    ck_assert_msg(x[0] == 51 && x[1] == 32, "%g %g", x[0], x[1]);
}
END_TEST

/* ---- the library: closed forms ---- */

START_TEST(library_activations) {
    CHECK_VALUES("fn x() = f32([-2, 0, 3])\n", {"sigmoid(x())", 3, {0.119202922, 0.5, 0.952574127}}, {"relu(x())", 3, {0, 0, 3}},
                 {"leaky_relu(x())", 3, {-0.02, 0, 3}}, {"leaky_relu(x(), 0.5)", 3, {-1, 0, 3}},
                 {"softplus(x())", 3, {0.126928011, 0.693147181, 3.04858735}}, {"elu(x())", 3, {-0.864664717, 0, 3}},
                 {"gelu(x())", 3, {-0.0455002639, 0, 2.99595031}},
                 {"maxout[3](reshape(f32([1, 9, 3, 4, 2, 6]), [1, 6]))", 2, {9, 6}},
                 {"softmax(f32([1, 2, 3]))", 3, {0.0900305732, 0.244728471, 0.665240956}},
                 {"log_softmax(f32([1, 2, 3]))", 3, {-2.40760596, -1.40760596, -0.407605964}},
                 {"logsumexp(f32([1, 2, 3]))", 1, {3.40760596}}, {"logsumexp(f32([1000, 1000]))", 1, {1000.69315}},
                 {"logsumexp(log(f32([[0, 0], [0, 1]])))", 2, {-INFINITY, 0}}, {"logsumexp(-log(f32([0, 1])))", 1, {INFINITY}},
                 {"softmax(f32([[0, 0], [0, 1000]]))", 4, {0.5, 0.5, 0, 1}});
}
END_TEST

START_TEST(library_losses_and_metrics) {
    CHECK_VALUES(
        "fn z() = f32([[2, 1, 0], [0, 0, 5]])\nfn l() = i32([0, 1])\n", {"mse(f32([1, 2]), f32([3, 2]))", 1, {2}},
        {"cross_entropy(z(), l())", 1, {(0.407605964 + 5.01338553) / 2}},
        {"cross_entropy(z(), l(), smooth=0.3)",
         1,
         {0.7 * 2.71049575 +
          0.3 * ((0.407605964 + 1.407605964 + 2.407605964) / 3 + (5.01338553 + 5.01338553 + 0.01338553) / 3) / 2}},
        {"masked_cross_entropy(z(), l(), l() == 0)", 1, {0.407605964}},
        {"bce(f32([0, 3]), f32([1, 0]))", 1, {(0.693147181 + 3.04858735) / 2}}, {"hinge(f32([2, 0.5]), f32([1, -1]))", 1, {0.75}},
        {"nll(f32([[-1, -2]]), i32([1]))", 1, {2}}, {"kl_normal(f32([[1, 0]]), f32([[0, 0]]))", 1, {0.5}},
        {"accuracy(z(), i32([0, 0]))", 1, {0.5}}, {"top_k_accuracy[1](z(), l())", 1, {0.5}},
        {"top_k_accuracy[2](z(), l())", 1, {0.5}}, {"top_k_accuracy[3](z(), l())", 1, {1}}, {"perplexity(f32(0))", 1, {1}},
        {"confusion(z(), l())", 9, {0.5, 0, 0, 0, 0, 0.5, 0, 0, 0}}, {"binary_nll(f32([0]), f32([1]))", 1, {0.693147181}});
    CHECK_VALUES(
        "param w: f32[2, 2] = 2\nparam b: f32[2] = 5\nlayer l { param v: f32[1, 2] = 3\n    param c: f32 = 9\n}\nmodel m = l\n",
        {"l1(m)", 1, {6}}, {"l2(m)", 1, {18}});
}
END_TEST

START_TEST(library_attention) {
    CHECK_VALUES("fn q() = f32([[1, 0]])\nfn k() = f32([[[1, 0], [0, 1]]])\n", {"dot_scores(q(), k())", 2, {1, 0}},
                 {"cosine_scores(2 * q(), 3 * k())", 2, {1, 0}},
                 {"scaled_dot_product(k(), k(), k(), f32([[1, 0], [1, 1]]) > 0)", 4, {1, 0, 0.330238, 0.669762}},
                 {"positional_encoding(zeros([1, 2, 2]))", 4, {0, 1, 0.841470985, 0.540302306}});
}
END_TEST

START_TEST(library_schedules_preprocess) {
    CHECK_VALUES("", {"f32(exponential(0.1, 0.5, 3))", 1, {0.0125}}, {"f32(staircase(1, 0.1, 59, 30))", 1, {0.1}},
                 {"f32(cosine(1, 50, 100))", 1, {0.5}}, {"f32(warmup(1, 4, 10))", 1, {0.5}},
                 {"f32(inverse_sqrt(1, 99, 25))", 1, {0.5}}, {"standardize(f32([[3, 4]]), f32([1, 2]), f32([2, 1]))", 2, {1, 2}},
                 {"global_contrast(f32([[1, 3]]))", 2, {-1, 1}},
                 {"f32(matrix_inverse_sqrt(f64([[4, 0], [0, 9]])))", 4, {0.5, 0, 0, 0.333333333}},
                 {"zca(f32([[3, 3]]), f32([1, 2]), f32([[0.5, 0], [0, 2]]))", 2, {1, 2}});
}
END_TEST

START_TEST(library_layers) {
    static const struct {
        const char *layer, *input, *type, *slots;
    } rows[] = {
        {"dense[5]", "[2, 3, 4]", "f32[2, 3, 5]", "net.dense_1.w net.dense_1.b"},
        {"dense[5, bias=false]", "[2, 4]", "f32[2, 5]", "net.dense_1.w"},
        {"conv[6, 3, groups=2]", "[2, 8, 8, 4]", "f32[2, 8, 8, 6]", "net.conv_1.w net.conv_1.b"},
        {"conv[6, [1, 3, 3]]", "[2, 4, 8, 8, 4]", "f32[2, 4, 8, 8, 6]", "net.conv_1.w"},
        {"conv_transpose[6, 4, stride=2]", "[2, 7, 7, 4]", "f32[2, 14, 14, 6]", "net.conv_transpose_1.w"},
        {"avgpool[2]", "[2, 7, 7, 4]", "f32[2, 3, 3, 4]", ""},
        {"global_avgpool", "[2, 7, 7, 4]", "f32[2, 4]", ""},
        {"flatten", "[2, 3, 4]", "f32[2, 12]", ""},
        {"dropout[0.5]", "[2, 3]", "f32[2, 3]", ""},
        {"batch_norm", "[2, 3, 4]", "f32[2, 3, 4]", "net.batch_norm_1.γ net.batch_norm_1.running_var"},
        {"layer_norm", "[2, 3, 4]", "f32[2, 3, 4]", "net.layer_norm_1.β"},
        {"residual[dense[4]]", "[2, 4]", "f32[2, 4]", "net.dense_1.w"},
        {"rnn[6]", "[2, 3, 4]", "f32[2, 3, 6]", "net.rnn_1.cell.W net.rnn_1.cell.U"},
        {"lstm[6]", "[2, 3, 4]", "f32[2, 3, 6]", "net.lstm_1.cell.Wf net.lstm_1.cell.bo"},
        {"peephole_lstm[6]", "[2, 3, 4]", "f32[2, 3, 6]", "net.peephole_lstm_1.lstm_1.cell.Wf"},
        {"coupled_lstm[6]", "[2, 3, 4]", "f32[2, 3, 6]", "net.coupled_lstm_1.lstm_1.cell.Wf"},
        {"gru[6]", "[2, 3, 4]", "f32[2, 3, 6]", "net.gru_1.cell.Wz"},
        {"gru[6, after=true]", "[2, 3, 4]", "f32[2, 3, 6]", "net.gru_1.cell.ch"},
        {"bidirectional[gru, 6]", "[2, 3, 4]", "f32[2, 3, 12]",
         "net.bidirectional_1.forward.cell.Wz net.bidirectional_1.backward.cell.Wz"},
        {"random_crop[5, 5]", "[2, 7, 7, 1]", "f32[2, 5, 5, 1]", ""},
        {"random_flip", "[2, 7, 7, 1]", "f32[2, 7, 7, 1]", ""},
        {"random_affine(angle=0.1, zoom=0.1, shift=2)", "[2, 7, 7, 1]", "f32[2, 7, 7, 1]", ""},
        {"random_shift(2)", "[2, 7, 7, 1]", "f32[2, 7, 7, 1]", ""},
        {"cutout[3]", "[2, 7, 7, 1]", "f32[2, 7, 7, 1]", ""},
        {"gaussian_noise(0.1)", "[2, 3]", "f32[2, 3]", ""},
        {"salt_and_pepper(0.1)", "[2, 3]", "f32[2, 3]", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int learning = 0; learning < 2; learning++) {
            const char *text =
                arena_printf(arena,
                             "layer l(x: f32[...]) { return x |> %s }\nmodel net = l\nparam k: f32 = 1\ncommand c {\n    for i "
                             "in 0..2 {\n        result = net(k * ones(%s))\n        print result\n        %s\n    }\n}\n",
                             rows[i].layer, rows[i].input, learning ? "minimize mean(result) over k using sgd" : "");
            Module *m = module_of(text);
            ck_assert_msg(strcmp(printed_type(m), rows[i].type) == 0, "%s gives %s, not %s", rows[i].layer, printed_type(m),
                          rows[i].type);
            has_slots(m, rows[i].slots);
        }
    module_of("layer l(x: i32[B, T]) {\n    e = x |> embedding[50, 8]\n    let look = additive_attention[6]\n    c, a = "
              "look(e[:, 0], e, x != 0)\n    h = multi_head_attention[2](e, e, e, (x != 0)[:, new, new])\n    return concat([c, "
              "h[:, 0]], axis=-1)\n}\n"
              "model net = l\ncommand c { print net(i32(ones([2, 5]))) }\n");
}
END_TEST

START_TEST(library_initial_values) {
    double w[64];
    int64_t n = result_of("command c {\n    w = orthogonal([8, 8])\n    result = w' @ w\n    print result\n}\n", w, 64);
    ck_assert_int_eq((int)n, 64);
    for (int i = 0; i < 64; i++) ck_assert_msg(fabs(w[i] - (i % 9 == 0)) < 1e-4, "w'w[%d] is %g", i, w[i]);
    static const struct {
        const char *name;
        double deviation;
    } rows[] = {{"glorot_uniform", 0.0790569},
                {"glorot_normal", 0.0790569},
                {"he_uniform", 0.0912871},
                {"he_normal", 0.0912871},
                {"lecun_normal", 0.0645497}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double s[2];
        result_of(arena_printf(
                      arena,
                      "command c {\n    w = %s([240, 80])\n    result = stack([mean(w), sqrt(mean(w^2))])\n    print result\n}\n",
                      rows[i].name),
                  s, 2);
        ck_assert_msg(fabs(s[0]) < 0.003 && fabs(s[1] / rows[i].deviation - 1) < 0.02, "%s: mean %g, deviation %g", rows[i].name,
                      s[0], s[1]);
    }
}
END_TEST

START_TEST(random_values_have_their_moments) {
    double s[8];
    result_of("command c {\n    n = normal([20000])\n    u = uniform([20000])\n    b = bernoulli(0.3 * ones([20000]))\n    k = "
              "f32(randint([20000], 5))\n    z = f32(categorical(zeros([20000, 4])))\n"
              "    result = stack([mean(n), mean(n^2), mean(u), mean(b), mean(k), max(k), mean(z), sum(f32(permutation(10)))])\n "
              "   print result\n}\n",
              s, 8);
    static const double want[] = {0, 1, 0.5, 0.3, 2, 4, 1.5, 45};
    for (int i = 0; i < 8; i++) ck_assert_msg(fabs(s[i] - want[i]) < 0.04, "moment %d is %g, not %g", i, s[i], want[i]);
}
END_TEST

/* ---- messages ---- */

START_TEST(D3_one_error_a_place) {
    ck_errors("layer l(x: f32[B, 2]) {\n    for i in 0..3 { y = x @ zeros([3, 3]) }\n    return x\n}\nmodel m = l\ncommand c { "
              "print m(zeros([1, 2])) }\ncommand d { print m(zeros([1, 2])) }\n",
              "2:25 E0204");
    ck_assert_ptr_nonnull(strstr(messages_of("command c {\n    for n in [2, 3] { y = zeros([n]) + zeros([3]) }\n}\n"),
                                 "in copy n = 2 of this `for`"));
}
END_TEST

START_TEST(D5_library_faults_at_the_users_place) {
    const char *m = messages_of(
        "layer l(x: i32[B, 2]) { return x |> dense[3] }\nmodel net = l\ncommand c { print net(i32(zeros([1, 2]))) }\n");
    ck_assert_msg(strstr(m, "t.nn:1:32: error[E0205]: input `x` of dense is i32[1, 2], but f32 is wanted"), "%s", m);
    ck_assert_msg(strstr(m, "std/layers.nn"), "%s", m);
}
END_TEST

START_TEST(D5_grammar_and_names_together) {
    ck_errors("command c { x = ! }\nconst a = b\n", "1:17 E0011, 1:19 E0006, 2:11 E0101");
}
END_TEST

START_TEST(D6_limits) {
    ck_errors("command c { x = zeros([2000000, 2000000]) }\n", "1:23 E0219");
    ck_errors("const l = 0..5000000\n", "1:11 E0219");
}
END_TEST

/* ---- whole programs ---- */

static void check_folder(const char *folder) {
    DIR *d = opendir(folder);
    if (!d) return;
    for (struct dirent *entry; (entry = readdir(d));) {
        size_t n = strlen(entry->d_name);
        if (n < 4 || strcmp(entry->d_name + n - 3, ".nn") != 0) continue;
        FILE *f = fopen(arena_printf(arena, "%s/%s", folder, entry->d_name), "rb");
        ck_assert_ptr_nonnull(f);
        char *text = arena_alloc(arena, 1 << 16);
        fread(text, 1, (1 << 16) - 1, f);
        fclose(f);
        Module *m = module_of(text);
        const char *first = graph_text(m); /* reading what was printed and printing it again gives the same */
        Diag *diag = diag_new(arena);
        Stage stage;
        Module *again = graph_parse(arena, diag, "t.graph", first, strlen(first), &stage);
        ck_assert_msg(again, "%s\n%s", entry->d_name, printed(diag));
        ck_assert_msg(strcmp(graph_text(again), first) == 0, "%s: print, read, print differ", entry->d_name);
    }
    closedir(d);
}

START_TEST(every_sample_elaborates) { check_folder(NNC_SOURCE_ROOT "/samples"); }
END_TEST

START_TEST(twice_is_the_same) {
    const char *text = "layer l(x: f32[B, 4]) { return x |> dense[3] |> dropout[0.1] |> dense[2] }\nmodel net = l\ncommand c {\n "
                       "   for i in 0..2 { minimize mean(net(normal([8, 4]))) over net using adam[0.1] }\n}\n";
    ck_assert_str_eq(graph_text(module_of(text)), graph_text(module_of(text)));
}
END_TEST

/* Right programs, cut off and with letters exchanged: messages, never anything else. */
START_TEST(broken_programs_end_in_messages) {
    const char *text =
        "option lr = 0.1\nconst n = 3\ndata d { x: f32[4] = csv(\"a.csv\", columns=0..4)\n    y: u8 = csv(\"a.csv\", columns=4) "
        "}\n"
        "layer l[N: int](x: f32[B, D]) -> f32[B, N] {\n    param w: f32[D, N] = glorot_uniform(shape)\n    h = x @ w\n    for i "
        "in 0..n { h = h |> dense[N] |> relu }\n    s = zeros([B, N])\n"
        "    repeat 3 { s = s + h * uniform([B, 1]) }\n    return if s > 0 then s else 0\n}\nmodel net = l[2]\ncommand train {\n "
        "   for epoch in 0..3 {\n        for x, y in d[0..9] batch 4 shuffle {\n"
        "            z = net(x)\n            loss = cross_entropy(z, y)\n            minimize loss over net using adam[lr * 0.9 "
        "^ epoch]\n            track loss, accuracy(z, y)\n        }\n        keep lowest loss\n    }\n"
        "    save net to \"a\"\n}\ncommand p(x: f32[B, 4]) -> (y: f32[B, 2]) { y = softmax(net(x)) }\n";
    size_t n = strlen(text);
    unsigned state = 1;
    for (int k = 0; k < 400; k++) {
        char *copy = arena_strndup(arena, text, n);
        state = state * 1103515245 + 12345;
        size_t i = (state >> 8) % n;
        state = state * 1103515245 + 12345;
        size_t j = (state >> 8) % n;
        switch (k % 4) {
        case 0: copy[i] = text[j]; break;
        case 1: memmove(copy + i, copy + i + 1, n - i); break;
        case 2: copy[i] = "0123456789-[](){}.,"[(state >> 4) % 19]; break;
        default: /* a word in the place of another */
            for (size_t m = 0; m < 5 && i + m < n && j + m < n; m++) copy[i + m] = text[j + m];
        }
        Diag *d;
        Module *m = elaborate_n(copy, &d, NULL, 0);
        const char *why = m ? graph_verify(arena, m, STAGE_FRONT) : NULL;
        ck_assert_msg(!why, "%s\n%s", copy, why);
        if (k % 100 == 99) { /* memory */
            arena_free(arena);
            arena = arena_new();
        }
    }
}
END_TEST

Suite *elaborate_suite(void);
Suite *elaborate_suite(void) {
    Suite *s = suite_create("elaborate");
    TCase *t = tcase_create("elaborate");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 120);
    const TTest *const tests[] = {E1_precedence,
                                  E2_pipes,
                                  E3_numbers_are_exact_and_take_the_type_they_meet,
                                  E4_choices,
                                  E4_zero_cotangents,
                                  E5_indices,
                                  E5_update_of_a_part,
                                  E5_several_tensors,
                                  E5_update_by_tensors,
                                  E6_padding,
                                  E6_convolution_is_cross_correlation,
                                  E7_extremes,
                                  E8_conversion,
                                  matrix_products,
                                  N1_names,
                                  N2_constants_in_types,
                                  N3_names_of_parameters,
                                  N3_names_over_both_modes,
                                  N4_first_application_fixes_shapes,
                                  N5_configuration,
                                  N6_the_batch,
                                  L1_carried_names,
                                  L1_command_loops_carry_by_slots,
                                  L2_scan,
                                  L3_copies,
                                  L4_versions,
                                  L5_learning,
                                  L6_draws,
                                  L7_track,
                                  L8_optimizers,
                                  L10_while,
                                  C1_weights,
                                  C2_options_and_data,
                                  D_defines,
                                  B1_results,
                                  B2_lists,
                                  B3_shapes,
                                  library_activations,
                                  library_losses_and_metrics,
                                  library_attention,
                                  library_schedules_preprocess,
                                  library_layers,
                                  library_initial_values,
                                  random_values_have_their_moments,
                                  D3_one_error_a_place,
                                  D5_library_faults_at_the_users_place,
                                  D5_grammar_and_names_together,
                                  D6_limits,
                                  every_sample_elaborates,
                                  twice_is_the_same,
                                  broken_programs_end_in_messages};
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) tcase_add_test(t, tests[i]);
    suite_add_tcase(s, t);
    return s;
}
