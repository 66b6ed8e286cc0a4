/*
 * test_backend.c - compiled steps against loops_eval, bit for bit: every statement, expression and op, vectors of 1, 4, 8, 16 lanes and what is left of them, partial
 * tiles, sizes 0 and 1, several threads; for this machine and for AVX2. All steps of a text are compiled into one shared object; every buffer (what the step must not
 * touch included) is compared.
 */
#include "run_native.h"

#include "ir/math.h"

#include <check.h>
#include <math.h>

/* ---- memory filled with numbers that are awkward ---- */

static uint64_t state;

static uint32_t draw(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

static double awkward(void) {
    static const double odd[] = {0,   -0.0, 1,     -1,   0.5,    1e-40, -1e-42, INFINITY, -INFINITY,
                                 NAN, 1e30, -3e38, 87.3, -103.9, 1e-7,  3e9,    -2.5,     1.5};
    if (draw() % 4 == 0) return odd[draw() % (sizeof odd / sizeof *odd)];
    return ((double)draw() / (1u << 30) - 1) * (draw() % 3 ? 4 : 200);
}

static void fill(const Buffer *b, char *p, bool tame) {
    int64_t n = b->bytes / elem_size(b->elem);
    for (int64_t i = 0; i < n; i++) {
        double x = tame ? (double)draw() / (1u << 30) - 1 : awkward();
        switch (b->elem) {
        case F32: ((float *)p)[i] = (float)x; break;
        case F64: ((double *)p)[i] = x; break;
        case I32: ((int32_t *)p)[i] = draw() % 8 ? (int32_t)(draw() % 41) - 20 : (int32_t)(draw() * 2); break;
        case I64:
            ((int64_t *)p)[i] = draw() % 8 ? (int64_t)(draw() % 41) - 20 : (int64_t)((uint64_t)draw() << 32 | draw());
            break;
        case U8: ((uint8_t *)p)[i] = (uint8_t)draw(); break;
        case BOOL: p[i] = draw() & 1; break;
        }
    }
}

/* ---- one step, both ways ---- */

/* The same bytes, or both NaN. */
static bool same(const Buffer *b, const char *got, const char *want, int64_t *where) {
    int64_t size = elem_size(b->elem), n = b->bytes / size;
    for (int64_t i = 0; i < n; i++) {
        if (!memcmp(got + i * size, want + i * size, (size_t)size)) continue;
        if (b->elem == F32 && isnan(((const float *)got)[i]) && isnan(((const float *)want)[i])) continue;
        if (b->elem == F64 && isnan(((const double *)got)[i]) && isnan(((const double *)want)[i])) continue;
        *where = i;
        return false;
    }
    return true;
}

static double element(const Buffer *b, const char *p, int64_t i) {
    switch (b->elem) {
    case F32: return ((const float *)p)[i];
    case F64: return ((const double *)p)[i];
    case I32: return ((const int32_t *)p)[i];
    case I64: return (double)((const int64_t *)p)[i];
    case U8:
    case BOOL: return ((const uint8_t *)p)[i];
    }
    return 0;
}

static void one_run(const Native *n, const char *cpu, const Step *s, int64_t batch, int threads, uint64_t seed, bool faults) {
    const char *name = s->func->name;
    NativeRun r = native_memory_new(n, name);
    void **memory = arena_make_n(n->arena, void *, s->buffers.n + 1);
    state = seed;
    bool tame = strstr(name, "tame") != NULL;
    for (size_t i = 0; i < s->buffers.n; i++) {
        const Buffer *b = s->buffers.at[i];
        char *mine = native_memory(n, &r, b);
        if (!mine || native_root(b) != b) continue;
        fill(b, mine, tame);
        memory[i] = malloc((size_t)b->bytes + 64);
        memcpy(memory[i], mine, (size_t)b->bytes);
    }
    for (size_t i = 0; i < s->buffers.n; i++) {
        const Buffer *b = s->buffers.at[i], *root = native_root(b);
        if (root != b && memory[root->id]) memory[i] = memory[root->id];
    }
    bool fine = loops_eval(n->arena, s, batch, memory);
    native_call(n, &r, name, batch, threads);
    ck_assert_msg(fine == (r.fault.kind == 0), "%s cpu %s B %d threads %d: fault %d, evaluator %s", name, cpu ? cpu : "native",
                  (int)batch, threads, (int)r.fault.kind, fine ? "had none" : "had one");
    for (size_t i = 0; i < s->buffers.n && (fine || faults); i++) {
        const Buffer *b = s->buffers.at[i];
        int64_t at;
        if (!memory[i] || b->place == PLACE_DATA) continue;
        const char *mine = native_memory(n, &r, b);
        if (!mine || same(b, mine, memory[i], &at)) continue;
        ck_abort_msg("%s cpu %s B %d threads %d seed %d: %%%s[%d] is %.9g, the evaluator has %.9g", name, cpu ? cpu : "native",
                     (int)batch, threads, (int)seed, b->name, (int)at, element(b, mine, at), element(b, memory[i], at));
    }
    for (size_t i = 0; i < s->buffers.n; i++)
        if (native_root(s->buffers.at[i]) == s->buffers.at[i]) free(memory[i]);
    native_memory_free(n, &r);
}

static const char *const cpus[] = {NULL, "x86-64-v3"};

/* Runs all steps of the text at batches 1, some, and the bound, on 1, 2 and 3 threads. */
static void all_steps(const char *text, bool faults) {
    for (size_t c = 0; c < sizeof cpus / sizeof *cpus; c++) {
        Native *n = native_load(text, cpus[c], false);
        ck_assert_msg(n != NULL, "the text cannot be compiled: %.200s", text);
        for (size_t i = 0; i < n->loops->steps.n; i++) {
            const Step *s = n->loops->steps.at[i];
            int64_t batches[4] = {s->batch_bound, 1, s->batch_bound / 2 + 1, s->batch_bound > 3 ? s->batch_bound - 3 : 1};
            for (int j = 0; j < (s->batch_bound ? 4 : 1); j++) {
                one_run(n, cpus[c], s, batches[j] ? batches[j] : 1, 1, 7 + (uint64_t)j, faults);
                one_run(n, cpus[c], s, batches[j] ? batches[j] : 1, 2 + j % 2, 11 + (uint64_t)j, faults);
            }
        }
        native_free(n);
    }
}

#define HEAD "loops lowered\nsource \"test.nn\" 0x12\n"

/* ---- texts made for every op, type and width ---- */

static void elementwise(Text *t, Arena *a, const char *name, const char *elem, const char *result, int n_args, const char *expr,
                        int width, int size) {
    char mark[32] = "";
    if (width > 1) snprintf(mark, sizeof mark, " vector %d", width);
    text_printf(a, t, "step @%s.%s.%s.%d.%d {\n  buffer %%x: %s[%d]\n", name, elem, result, width, size, elem, size);
    if (n_args > 1) text_printf(a, t, "  buffer %%y: %s[%d]\n", elem, size);
    if (n_args > 2) text_printf(a, t, "  buffer %%z: %s[%d]\n", elem, size);
    text_printf(a, t, "  buffer %%r: %s[%d]\n  kernel @k {\n    for i in 0..%d%s { %%r[i] = %s }\n  }\n}\n", result, size, size,
                mark, expr);
}

static const char *args_text(int n) { return n == 1 ? "%x[i]" : n == 2 ? "%x[i], %y[i]" : "%x[i], %y[i], %z[i]"; }

static void ops_text(Text *t, Arena *a, const char *elem, const char *const *ops, const int *widths) {
    for (; *ops; ops++) {
        OpCode op = op_by_name(*ops);
        bool compares = strchr("enlg", **ops) && strlen(*ops) == 2;
        for (const int *w = widths; *w; w++)
            elementwise(t, a, *ops, elem, compares ? "bool" : elem, op_info[op].max_in,
                        arena_printf(a, "%s(%s)", *ops, args_text(op_info[op].max_in)), *w, 37);
    }
}

START_TEST(every_op) {
    Arena *a = arena_new();
    Text t = {0};
    text_add(a, &t, HEAD);
    static const int widths[] = {1, 4, 16, 0}, few[] = {1, 8, 0};
    static const char *const reals[] = {"neg", "abs",  "sign",      "exp",     "expm1", "log",  "log1p", "sqrt", "sin",
                                        "cos", "tanh", "erf",       "sigmoid", "floor", "ceil", "round", "add",  "sub",
                                        "mul", "div",  "floor_div", "mod",     "pow",   "max",  "min",   "eq",   "ne",
                                        "lt",  "le",   "gt",        "ge",      "fma",   NULL};
    static const char *const ints[] = {"neg", "abs", "sign", "add", "sub", "mul", "max", "min",
                                       "eq",  "ne",  "lt",   "le",  "gt",  "ge",  NULL};
    static const char *const bytes[] = {"add", "sub", "mul", "max", "min", "eq", "ne", "lt", "le", "gt", "ge", NULL};
    static const char *const truths[] = {"not", "and", "or", "eq", "ne", NULL};
    ops_text(&t, a, "f32", reals, widths);
    ops_text(&t, a, "f64", reals, few);
    ops_text(&t, a, "i32", ints, widths);
    ops_text(&t, a, "i64", ints, few);
    ops_text(&t, a, "u8", bytes, widths);
    ops_text(&t, a, "bool", truths, few);
    static const char *const all[] = {"f32", "f64", "i32", "i64", "u8", "bool"};
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++)
            for (const int *w = few; *w && i != j; w++)
                elementwise(&t, a, "convert", all[i], all[j], 1, arena_printf(a, "%s convert(%%x[i])", all[j]), *w, 21);
    for (const int *w = few; *w; w++) {
        elementwise(&t, a, "select", "f32", "f32", 2, "select(lt(%x[i], %y[i]), %x[i], f32 7)", *w, 21);
        elementwise(&t, a, "mix", "i64", "i64", 2, "mix(%x[i], %y[i])", *w, 21);
        elementwise(&t, a, "uniform", "i64", "f32", 2, "uniform(-81985529216486896, %x[i], %y[i])", *w, 21);
        elementwise(&t, a, "index", "i64", "i32", 1, "i32(3*i + 5)", *w, 21);
    }
    all_steps(text_str(a, &t), false);
    arena_free(a);
}
END_TEST

/* Draws whose vectors read windows (backend/random.c), beside those that cannot: rows that begin anywhere in a group of 64, another key in each row and in each turn, rows in
 * the other order, two draws in turns, every second element, and elements that are counted on from a number in memory. */
START_TEST(draws) {
    Arena *a = arena_new();
    Text t = {0};
    text_add(a, &t, HEAD);
    static const int widths[] = {1, 2, 4, 8, 16, 32}, lengths[] = {1, 7, 64, 67, 300};
    for (int w = 0; w < 6; w++)
        for (int n = 0; n < 5; n++) {
            char mark[32] = "";
            if (widths[w] > 1) snprintf(mark, sizeof mark, " vector %d", widths[w]);
            text_printf(a, &t,
                        "step @rows.%d.%d batch B<=7 {\n"
                        "  buffer %%key: i64[7]\n  buffer %%first: u8[1]\n  buffer %%r: f32[B, %d]\n  buffer %%q: f32[B, %d]\n  "
                        "buffer %%p: f32[B, %d]\n"
                        "  kernel @k {\n    let key: i64 = %%key[0]\n    let first: i64 = convert(%%first[0])\n"
                        "    for i in 0..B parallel, j in 0..%d%s {\n"
                        "      %%r[i, j] = uniform(77, key, add(mul(first, i64 %d), i64(%d*i + j)))\n"
                        "      %%q[i, j] = sub(uniform(-5, key, i64(%d*i + j + 64)), uniform(-6, key, i64(2*j + 3*i)))\n    }\n"
                        "    for i in 0..B {\n      let own: i64 = %%key[i]\n"
                        "      for j in 0..%d%s { %%p[-i + B - 1, j] = uniform(78, own, i64(-%d*i + j + %d)) }\n    }\n  }\n}\n",
                        widths[w], lengths[n], lengths[n], lengths[n], lengths[n], lengths[n], mark, lengths[n], lengths[n],
                        lengths[n], lengths[n], mark, lengths[n], 6 * lengths[n]);
        }
    all_steps(text_str(a, &t), false);
    arena_free(a);
}
END_TEST

/* Arguments of every sign and exponent, in order, so that most vectors are of one kind; mixed: so that rare lanes (F_RARE) have usual
 * neighbours. Among them the exact special values. */
static void of_every_exponent(float *x, uint32_t n, bool mixed) {
    static const float special[] = {0.0f,      -0.0f,     INFINITY,        -INFINITY,       NAN,     1.0f,    -1.0f,
                                    0x1p-149f, -0x1p-149, 0x1.fffffcp-127, 0x1p-126f,       0x1p16f, -0x1p16, 0x1.000002p16f,
                                    0x1p-95f,  88.72283f, 88.72284f,       0x1.fffffep127f, 0x1p-25f};
    enum { N_SPECIAL = sizeof special / sizeof *special };
    for (uint32_t j = 0; j < n; j++) {
        uint32_t bits = (mixed ? j * 40503 % n : j) << 16 | (draw() & 0xffff);
        memcpy(&x[j], &bits, 4);
        if (j % 1024 < N_SPECIAL) x[j] = special[(j + j / 1024) % N_SPECIAL];
    }
}

/* The f32 functions over all signs and exponents, in vectors, against the rows of math.def in scalar C. */
START_TEST(every_exponent) {
    enum { N = 1 << 16 };
    static const struct {
        const char *name;
        float (*f)(float);
    } rows[] = {{"exp", math_exp}, {"expm1", math_expm1}, {"log", math_log}, {"log1p", math_log1p},    {"sin", math_sin},
                {"cos", math_cos}, {"tanh", math_tanh},   {"erf", math_erf}, {"sigmoid", math_sigmoid}};
    enum { N_ROWS = sizeof rows / sizeof *rows };
    Arena *a = arena_new();
    Text t = {0};
    text_add(a, &t, HEAD);
    for (int i = 0; i < N_ROWS; i++)
        text_printf(a, &t,
                    "step @%s {\n  buffer %%x: f32[%d]\n  buffer %%y: f32[%d]\n  kernel @k {\n    for i in 0..%d vector 16 { "
                    "%%y[i] = %s(%%x[i]) }\n  }\n}\n",
                    rows[i].name, N, N, N, rows[i].name);
    text_printf(a, &t,
                "step @pow {\n  buffer %%x: f32[%d]\n  buffer %%y: f32[%d]\n  buffer %%z: f32[%d]\n  kernel @k {\n"
                "    for i in 0..%d vector 16 { %%y[i] = pow(%%x[i], %%z[i]) }\n  }\n}\n",
                N, N, N, N);
    for (size_t c = 0; c < sizeof cpus / sizeof *cpus; c++) {
        Native *n = native_load(text_str(a, &t), cpus[c], false);
        ck_assert_ptr_nonnull(n);
        for (int k = 0; k < 2 * (N_ROWS + 1); k++) {
            int i = k / 2;
            const char *name = i < N_ROWS ? rows[i].name : "pow";
            const Step *s = native_step(n, name);
            NativeRun r = native_memory_new(n, name);
            float *x = native_memory(n, &r, s->buffers.at[0]), *y = native_memory(n, &r, s->buffers.at[1]);
            float *z = i < N_ROWS ? NULL : native_memory(n, &r, s->buffers.at[2]);
            state = 5 + (uint64_t)i;
            of_every_exponent(x, N, k % 2);
            for (uint32_t j = 0; z && j < N; j++) z[j] = (float)awkward();
            native_call(n, &r, name, 1, 1);
            for (int j = 0; j < N; j++) {
                float want = z ? math_pow(x[j], z[j]) : rows[i].f(x[j]);
                ck_assert_msg(!memcmp(&want, &y[j], 4) || (isnan(want) && isnan(y[j])), "%s(%a) is %a, math.def says %a", name,
                              x[j], y[j], want);
            }
            native_memory_free(n, &r);
        }
        native_free(n);
    }
    arena_free(a);
}
END_TEST

/* Division of integers: rounded down; by zero a fault and 0 in compiled code. */
START_TEST(int_division) {
    Arena *a = arena_new();
    Text t = {0};
    text_add(a, &t, HEAD);
    static const char *const elems[] = {"i32", "i64", "u8"};
    for (int i = 0; i < 3; i++)
        for (int w = 1; w <= 8; w *= 8) {
            const char *safe =
                i == 2 ? "max(%y[i], u8 1)" : arena_printf(a, "select(eq(%%y[i], %s 0), %s -1, %%y[i])", elems[i], elems[i]);
            elementwise(&t, a, "floor_div", elems[i], elems[i], 2, arena_printf(a, "floor_div(%%x[i], %s)", safe), w, 200);
            elementwise(&t, a, "mod", elems[i], elems[i], 2, arena_printf(a, "mod(%%x[i], %s)", safe), w, 200);
            elementwise(&t, a, "mod0", elems[i], elems[i], 2, "mod(%x[i], sub(%y[i], %y[i]))", w, 20);
        }
    all_steps(text_str(a, &t), false);
    arena_free(a);
}
END_TEST

/* Lengths of vector loops, constant and not, and their remainders. */
START_TEST(lengths) {
    Arena *a = arena_new();
    Text t = {0};
    text_add(a, &t, HEAD);
    static const char *const elems[] = {"f32", "u8", "f64"};
    for (int e = 0; e < 3; e++)
        for (int n = 0; n <= 49; n += n < 19 ? 1 : 15)
            text_printf(a, &t,
                        "step @len.%s.%d {\n  buffer %%x: %s[64]\n  buffer %%y: %s[64]\n  kernel @k {\n"
                        "    for i in 0..%d vector 16 { %%y[i + 3] = add(%%x[i], %%x[i + 1]) }\n  }\n}\n",
                        elems[e], n, elems[e], elems[e], n);
    for (int e = 0; e < 3; e++)
        text_printf(
            a, &t,
            "step @run.%s batch B<=41 {\n  buffer %%x: %s[B, 3]\n  buffer %%y: %s[B]\n  buffer %%z: %s[B, 3]\n  kernel @k {\n"
            "    for i in 0..B vector 8 { %%y[i] = add(%%x[i, 0], %%x[i, 2]) }\n"
            "    for i in 0..B vector 4, k in 0..3 { %%z[i, k] = add(%%x[i, -k + 2], %%x[-i + B - 1, k]) }\n  }\n}\n",
            elems[e], elems[e], elems[e], elems[e]);
    all_steps(text_str(a, &t), false);
    arena_free(a);
}
END_TEST

/* Loops that call functions take two vectors at once: every kind of remainder behind them, and rare lanes in either vector. */
START_TEST(lengths_of_functions) {
    Arena *a = arena_new();
    Text t = {0};
    text_add(a, &t, HEAD);
    static const int constant[] = {24, 32, 40, 56, 64, 75, 128, 131, 144, 152, 157}, most[] = {20, 41, 64, 150, 163};
    for (int w = 8; w <= 16; w *= 2) {
        for (size_t i = 0; i < sizeof constant / sizeof *constant; i++)
            elementwise(&t, a, i % 2 ? "log" : "exp", "f32", "f32", 2, i % 2 ? "log(%x[i])" : "mul(exp(%x[i]), sin(%y[i]))", w,
                        constant[i]);
        for (size_t i = 0; i < sizeof most / sizeof *most; i++)
            text_printf(a, &t,
                        "step @run.%d.%d batch B<=%d {\n  buffer %%x: f32[B]\n  buffer %%y: f32[B]\n  buffer %%z: f32[B, 3]\n  "
                        "kernel @k {\n"
                        "    for i in 0..B vector %d { %%y[i] = %s(%%x[i]) }\n"
                        "    for i in 0..B by 2 vector %d { %%z[i, 1] = erf(%%x[-i + B - 1]) }\n  }\n}\n",
                        w, most[i], most[i], w, i % 2 ? "log" : "exp", w);
    }
    all_steps(text_str(a, &t), false);
    arena_free(a);
}
END_TEST

/* ---- texts written out ---- */

static const char statements[] = HEAD
    "step @sums.tame batch B<=37 {\n"
    "  buffer %x: f32[B, 100]\n"
    "  buffer %s: f32[B]\n"
    "  buffer %m: f32[B]\n"
    "  buffer %c: f32[100]\n"
    "  kernel @rows {\n"
    "    for i in 0..B parallel {\n"
    "      acc v: f32[16] = 0\n"
    "      for k in 0..100 by 16, l in k..min(100, k + 16) vector 16 { v[-k + l] = add(v[-k + l], %x[i, l]) }\n"
    "      %s[i] = tree(add, v)\n"
    "      acc w: f32[16] = -inf\n"
    "      for k in 0..100 by 16, l in 0..min(16, -k + 100) vector 16 { w[l] = max(w[l], %x[i, k + l]) }\n"
    "      %m[i] = tree(max, w)\n"
    "    }\n"
    "  }\n"
    "  kernel @columns {\n"
    "    for j in 0..100 vector 16 {\n"
    "      acc a: f32 = 0\n"
    "      for i in 0..B { a = add(a, %x[i, j]) }\n"
    "      %c[j] = a\n"
    "    }\n"
    "  }\n"
    "}\n"
    "step @lanes.tame batch B<=37 {\n"
    "  buffer %x: f32[B, 33]\n"
    "  buffer %s: f32[33]\n"
    "  kernel @columns_of_lanes {\n"
    "    for j in 0..33 vector 8 {\n"
    "      acc v: f32[16] = 0\n"
    "      for k in 0..B by 16, l in 0..min(16, B - k) unroll { v[l] = add(v[l], %x[k + l, j]) }\n"
    "      %s[j] = tree(add, v)\n"
    "    }\n"
    "  }\n"
    "}\n"
    "step @embed batch B<=9 {\n"
    "  buffer %table: f32[20, 5]\n"
    "  buffer %i: i32[B]\n"
    "  buffer %y: f32[B, 5]\n"
    "  buffer %z: f32[B, 5]\n"
    "  buffer %g: f32[20, 5]\n"
    "  kernel @take {\n"
    "    for b in 0..B, j in 0..5 vector 4 {\n"
    "      index k = mod(%i[b], i32 20)\n"
    "      check k < 20\n"
    "      %y[b, j] = %table[k, j]\n"
    "    }\n"
    "    for b in 0..B vector 8 {\n"
    "      index k = mod(%i[b], i32 20)\n"
    "      check k < 20\n"
    "      for j in 0..5 { %z[b, j] = mul(%table[k, j], f32 2) }\n"
    "    }\n"
    "    for b in 0..B {\n"
    "      index k = mod(%i[b], i32 20)\n"
    "      check k < 20\n"
    "      for j in 0..5 vector 4 { %g[k, j] = add(%g[k, j], %y[b, j]) }\n"
    "    }\n"
    "  }\n"
    "}\n"
    "step @divmod batch B<=23 {\n"
    "  buffer %x: f32[B, 6]\n"
    "  buffer %y: f32[6, B]\n"
    "  buffer %z: f32[B, 6]\n"
    "  kernel @k {\n"
    "    for p in 0..6*B vector 8 {\n"
    "      index q = (p) / 6\n"
    "      index r = (p) mod 6\n"
    "      %y[r, q] = %x[q, r]\n"
    "    }\n"
    "    for p in 0..6*B {\n"
    "      index q = (p - 3) / 6\n"
    "      index r = (p - 3) mod 6\n"
    "      if 0 <= q { %z[q, r] = f32(100*q - r) }\n"
    "    }\n"
    "  }\n"
    "}\n"
    "step @guards batch B<=11 {\n"
    "  buffer %x: f32[B, 9]\n"
    "  buffer %u: u8[B, 9]\n"
    "  buffer %b: bool[B, 9]\n"
    "  buffer %y: f32[B, 13]\n"
    "  buffer %v: u8[B, 13]\n"
    "  buffer %w: bool[B, 13]\n"
    "  buffer %s: f32[B, 13]\n"
    "  kernel @k {\n"
    "    for i in 0..B, j in 0..13 vector 16 {\n"
    "      %y[i, j] = add(%x[i - 1, j - 2] else 0, %x[i + 1, j] else -inf)\n"
    "      %v[i, j] = add(%u[i, j - 2] else 7, %u[i, -j + 8] else 1)\n"
    "      %w[i, j] = or(%b[i, j - 3] else 1, %b[i + 1, 2] else 0)\n"
    "    }\n"
    "    for i in 0..B, j in 0..13 {\n"
    "      %s[i, j] = add(%x[i - 1, j - 2] else 0, %x[i, 2*j - 5] else 3)\n"
    "      if 0 <= j - 6 { %s[i, j] = 4 }\n"
    "    }\n"
    "    for i in 0..B, j in 0..13 vector 4 {\n"
    "      if 0 <= j - 6 {\n"
    "        if 0 <= -j + 9 { %s[i, j] = neg(%s[i, j]) }\n"
    "      }\n"
    "    }\n"
    "  }\n"
    "}\n"
    "step @conv.tame batch B<=3 {\n"
    "  buffer %a: f32[B, 7, 6, 3]\n"
    "  buffer %w: f32[3, 3, 3, 20]\n"
    "  buffer %h: f32[B, 7, 6, 20]\n"
    "  kernel @k {\n"
    "    for n in 0..B parallel, y in 0..7 parallel, x in 0..6, c in 0..20 vector 16 {\n"
    "      acc s: f32 = 0\n"
    "      for p in 0..3, q in 0..3 unroll, d in 0..3 unroll { s = fma(%a[n, p + y - 1, q + x - 1, d] else 0, %w[p, q, d, c], s) "
    "}\n"
    "      %h[n, y, x, c] = tanh(s)\n"
    "    }\n"
    "  }\n"
    "}\n"
    "step @tiles.tame batch B<=33 {\n"
    "  buffer %a: f32[B, 30]\n"
    "  buffer %w: f32[30, 50]\n"
    "  buffer %p: f32[2, 30, 32]\n"
    "  buffer %h: f32[B, 50]\n"
    "  buffer %g: f32[B, 50]\n"
    "  kernel @pack {\n"
    "    for jj in 0..2 parallel, k in 0..30, j in 0..32 vector 16 { %p[jj, k, j] = %w[k, j + 32*jj] else 0 }\n"
    "  }\n"
    "  barrier\n"
    "  kernel @product {\n"
    "    for jj in 0..50 by 32 parallel, ii in 0..B by 7 parallel {\n"
    "      acc s: f32[7, 32] = 0\n"
    "      for k in 0..30 unroll 4, i in 0..min(7, B - ii) unroll, j in 0..min(32, -jj + 50) vector 16 {\n"
    "        s[i, j] = fma(%a[i + ii, k], %w[k, j + jj], s[i, j])\n"
    "      }\n"
    "      for i in 0..min(7, B - ii) unroll, j in 0..min(32, -jj + 50) vector 16 { %h[i + ii, j + jj] = max(s[i, j], f32 0) }\n"
    "    }\n"
    "  }\n"
    "  kernel @packed {\n"
    "    for jj in 0..2 parallel, ii in 0..B by 7 parallel {\n"
    "      acc s: f32[7, 32] = 0\n"
    "      for k in 0..30 unroll 4, i in 0..min(7, B - ii) unroll, j in 0..32 vector 16 { s[i, j] = fma(%a[i + ii, k], %p[jj, k, "
    "j], s[i, j]) }\n"
    "      for i in 0..min(7, B - ii) unroll, j in 0..min(32, -32*jj + 50) vector 16 { %g[i + ii, j + 32*jj] = max(s[i, j], f32 "
    "0) }\n"
    "    }\n"
    "  }\n"
    "}\n"
    "step @epilogue.tame batch B<=19 {\n"
    "  buffer %a: f32[B, 30]\n"
    "  buffer %w: f32[30, 44]\n"
    "  buffer %b: f32[44]\n"
    "  buffer %h: f32[B, 44]\n"
    "  buffer %g: f32[B, 44]\n"
    "  kernel @product {\n"
    "    for ii in 0..B by 5 parallel {\n"
    "      acc s: f32[5, 48] = 0\n"
    "      for k in 0..30 unroll 4, i in 0..min(5, B - ii) unroll, j in 0..48 vector 16 {\n"
    "        s[i, j] = fma(%a[i + ii, k], %w[k, j] else 0, s[i, j])\n"
    "      }\n"
    "      for i in 0..min(5, B - ii) unroll, j in 0..min(48, 44) vector 16 {\n"
    "        let t: f32 = tanh(add(s[i, j], %b[j]))\n"
    "        %h[i + ii, j] = t\n"
    "        %g[i + ii, j] = exp(mul(t, s[i, j]))\n"
    "      }\n"
    "    }\n"
    "  }\n"
    "}\n"
    "step @epilogue2.tame batch B<=19 {\n"
    "  buffer %g: f32[B, 44]\n"
    "  buffer %b: f32[44]\n"
    "  buffer %w: f32[30, 44]\n"
    "  buffer %a: f32[B, 30]\n"
    "  buffer %h: f32[B, 44]\n"
    "  kernel @equal {\n"
    "    for ii in 0..B by 5 parallel {\n"
    "      acc s: f32[5, 48] = 0\n"
    "      for k in 0..30 unroll 4, i in 0..min(5, B - ii) unroll, j in 0..48 vector 16 {\n"
    "        s[i, j] = fma(%a[i + ii, k], %w[k, j] else 0, s[i, j])\n"
    "      }\n"
    "      for i in 0..min(5, B - ii) unroll, j in 0..min(48, 44) vector 16 {\n"
    "        let t: f32 = tanh(add(s[i, j], %b[j]))\n"
    "        %h[i + ii, j] = t\n"
    "        %g[i + ii, j] = exp(mul(t, s[i, j]))\n"
    "      }\n"
    "    }\n"
    "  }\n"
    "  barrier\n"
    "  kernel @equal_but_for_names {\n"
    "    for x in 0..B vector 8 { %a[x, 0] = uniform(5, 7, i64(x)) }\n"
    "  }\n"
    "  barrier\n"
    "  kernel @equal_but_for_numbers {\n"
    "    for x in 0..B vector 8 { %a[x, 0] = add(%a[x, 0], uniform(5, 8, i64(x))) }\n"
    "  }\n"
    "}\n"
    "step @across {\n"
    "  buffer %w: f32[40, 37]\n"
    "  buffer %p: f32[37, 40]\n"
    "  buffer %u: u8[40, 37]\n"
    "  buffer %q: u8[37, 40]\n"
    "  kernel @k {\n"
    "    for b in 0..2, k in 0..16 unroll, j in 0..32 vector 16 { %p[k + 16*b, j] = %w[j, k + 16*b] }\n"
    "    for k in 0..8 unroll, j in 0..40 vector 8 { %q[k + 3, j] = %u[j, k + 3] }\n"
    "  }\n"
    "}\n"
    "step @loops.tame batch B<=6 {\n"
    "  buffer %x: f32[5, B, 4]\n"
    "  buffer %h: f32[B, 4]\n"
    "  buffer %n: i32\n"
    "  buffer %more: bool\n"
    "  buffer %k: i32\n"
    "  kernel @start {\n"
    "    %n = 3\n"
    "    %k = 0\n"
    "    %more = 1\n"
    "  }\n"
    "  barrier\n"
    "  loop t in 0..5 {\n"
    "    kernel @cell {\n"
    "      for i in 0..B parallel, j in 0..4 vector 4 { %h[i, j] = tanh(add(%h[i, j], %x[-t + 4, i, j])) }\n"
    "    }\n"
    "    barrier\n"
    "  }\n"
    "  loop u in 0..%n {\n"
    "    kernel @twice {\n"
    "      for i in 0..B parallel, j in 0..4 { %h[i, j] = add(%h[i, j], f32(u)) }\n"
    "    }\n"
    "    barrier\n"
    "  }\n"
    "  while %more max 9 {\n"
    "    barrier\n"
    "    kernel @turn {\n"
    "      %k = add(%k, i32 1)\n"
    "      %more = lt(%k, i32 5)\n"
    "    }\n"
    "    barrier\n"
    "  }\n"
    "}\n"
    "step @serial.tame batch B<=5 {\n"
    "  buffer %x: f32[B, 40]\n"
    "  buffer %y: f32[B, 40]\n"
    "  buffer %t: f32[40, B]\n"
    "  buffer %d: f32[3] data [1, 2.5, -0.1]\n"
    "  buffer %o: u8[40]\n"
    "  buffer %q: bool[40]\n"
    "  kernel @not_lanes {\n"
    "    acc s: f32 = 1\n"
    "    for j in 0..40 vector 8 { s = fma(s, f32 0.5, %x[0, j]) }\n"
    "    %y[0, 0] = s\n"
    "    acc m: f32[5, 5] = 2\n"
    "    for i in 0..5, j in 0..5 { m[i, j] = add(m[j, i], f32(i - 2*j)) }\n"
    "    for i in 0..5 { %y[0, i + 1] = m[-i + 4, i] }\n"
    "    for j in 0..40 vector 8, i in 0..B { %t[j, i] = mul(%x[i, j], %d[2]) }\n"
    "    for j in 0..40 vector 16 {\n"
    "      let c: bool = lt(%x[0, j], f32 0)\n"
    "      acc b: bool = 0\n"
    "      b = or(b, c)\n"
    "      %q[j] = b\n"
    "      %o[j] = select(b, u8 3, u8 convert(%x[0, j]))\n"
    "    }\n"
    "    for j in 0..13 unroll 4 { %y[0, j + 20] = f32(j) }\n"
    "    for j in 0..B unroll 2 { %y[0, j + 34] = f32(j) }\n"
    "    for j in 3..15 by 5 unroll { %y[0, j + 3] = 9 }\n"
    "  }\n"
    "}\n"
    "step @f64.tame batch B<=5 {\n"
    "  buffer %x: f64[B, 21]\n"
    "  buffer %s: f64[B]\n"
    "  buffer %n: i64[B]\n"
    "  kernel @k {\n"
    "    for i in 0..B {\n"
    "      acc v: f64[16] = 0\n"
    "      for k in 0..21 by 16, l in 0..min(16, -k + 21) vector 16 { v[l] = add(v[l], exp(%x[i, k + l])) }\n"
    "      %s[i] = tree(add, v)\n"
    "      acc c: i64 = 0\n"
    "      for k in 0..21 { c = add(c, i64 convert(gt(%x[i, k], f64 0))) }\n"
    "      %n[i] = c\n"
    "    }\n"
    "  }\n"
    "}\n"
    "step @ends.tame batch B<=5 {\n" /* where least and largest of integers begin */
    "  buffer %x: i64[B, 9]\n"
    "  buffer %n: i64[B, 2]\n"
    "  kernel @k {\n"
    "    for i in 0..B {\n"
    "      acc a: i64 = 9.223372036854776e+18\n"
    "      acc b: i64 = -9.223372036854776e+18\n"
    "      for k in 0..9 { a = min(a, %x[i, k]) }\n"
    "      for k in 0..9 { b = max(b, %x[i, k]) }\n"
    "      %n[i, 0] = a\n"
    "      %n[i, 1] = b\n"
    "    }\n"
    "  }\n"
    "}\n"
    "step @same.tame batch B<=5 {\n"
    "  buffer %x: f32[B, 10]\n"
    "  buffer %flat: f32[B, 2, 5] same %x\n"
    "  buffer %y: f32[B, 10]\n"
    "  kernel @k {\n"
    "    for i in 0..B {\n"
    "      prefetch %x[i + 1, 0]\n"
    "      for j in 0..10 vector 4 { %x[i, j] = add(%x[i, j], f32 1) }\n"
    "    }\n"
    "    for i in 0..B, j in 0..5, p in 0..2 { %y[i, j + 5*p] = %flat[i, p, j] }\n"
    "  }\n"
    "}\n";

START_TEST(every_statement) { all_steps(statements, false); }
END_TEST

/* A failed check: the fault says index and size, the variable becomes 0, and nothing outside is touched. */
START_TEST(faults) {
    static const char text[] = HEAD "step @f {\n"
                                    "  buffer %i: i32[4] data [1, 2, 9, -1]\n"
                                    "  buffer %t: f32[3] data [5, 6, 7]\n"
                                    "  buffer %y: f32[4]\n"
                                    "  kernel @k {\n"
                                    "    for j in 0..4 WHAT {\n"
                                    "      index k = %i[j]\n"
                                    "      check k < 3                 @ test.nn:17:3\n"
                                    "      %y[j] = %t[k]\n"
                                    "    }\n"
                                    "  }\n"
                                    "}\n";
    static const char *const marks[] = {"", "vector 4"};
    for (int m = 0; m < 2; m++) {
        Arena *a = arena_new();
        const char *cut = strstr(text, "WHAT");
        Native *n = native_load(arena_printf(a, "%.*s%s%s", (int)(cut - text), text, marks[m], cut + 4), NULL, false);
        ck_assert_ptr_nonnull(n);
        NativeRun r = native_memory_new(n, "f");
        native_call(n, &r, "f", 1, 1);
        ck_assert_int_eq(r.fault.kind, NN_INDEX);
        ck_assert_int_eq(r.fault.value, 9);
        ck_assert_int_eq(r.fault.bound, 3);
        ck_assert_int_eq(r.fault.line, 17);
        const float *y = (const float *)(r.scratch + native_step(n, "f")->buffers.at[2]->offset);
        ck_assert(y[0] == 6 && y[1] == 7 && y[2] == 5 && y[3] == 5);
        native_memory_free(n, &r);
        native_free(n);
        arena_free(a);
    }
}
END_TEST

/* Frame, fields and the tables: a slot's place, a field's pointer, names and numbers as the runtime reads them. */
START_TEST(tables) {
    static const char text[] =
        HEAD "param %w: f32[3, 4] = 0.5\noption %lr: f32 = 0.25\n"
             "step @f {\n  buffer %w: f32[3, 4] slot \"w\"\n  buffer %lr: f32 slot \"lr\"\n"
             "  kernel @k {\n    for i in 0..3, j in 0..4 { %w[i, j] = mul(%lr, f32(i + 10*j)) }\n  }\n}\n";
    Native *n = native_load(text, NULL, false);
    ck_assert_ptr_nonnull(n);
    const struct nn_program *p = n->program;
    ck_assert_int_eq(p->abi, NN_ABI);
    ck_assert_int_eq(p->n_slots, 2);
    ck_assert_str_eq(p->slots[0].name, "w");
    ck_assert_int_eq(p->slots[0].n_dims, 2);
    ck_assert_int_eq(p->slots[0].dims[1], 4);
    ck_assert_int_eq(p->slots[0].bytes, 48);
    ck_assert_int_eq(p->slots[0].batch_axis, -1);
    ck_assert(p->slots[0].fill == 0.5 && p->slots[1].fill == 0.25);
    ck_assert_int_eq(p->slots[1].offset, 64);
    ck_assert_int_eq(p->frame, 128);
    ck_assert_int_eq(p->n_funcs, 1);
    ck_assert_int_eq((int64_t)(p->hash), 0x12);
    NativeRun r = native_memory_new(n, "f");
    *(float *)(r.frame + 64) = 2;
    native_call(n, &r, "f", 1, 1);
    ck_assert(((float *)r.frame)[6] == 2 * (1 + 20));
    native_memory_free(n, &r);
    native_free(n);
}
END_TEST

/* Wrong names are diagnostics, never LLVM's abort. */
START_TEST(targets) {
    Arena *a = arena_new();
    static const char *const bad[][2] = {
        {NULL, "x86-64-v33"}, {NULL, "pentium"}, {"sparc-sun-solaris", NULL}, {NULL, "x86-64"}, {"aarch64-linux-gnu", "native"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Diag *d = diag_new(a);
        ck_assert_ptr_null(backend_target(a, d, bad[i][0], bad[i][1], false));
        ck_assert_int_eq(diag_errors(d), 1);
    }
    Diag *d = diag_new(a);
    size_t n;
    const char *const *names = backend_cpus(&n);
    for (size_t i = 0; i < n; i++) {
        const BackendTarget *x = backend_target(a, d, NULL, names[i], true),
                            *y = backend_target(a, d, "aarch64-linux-gnu", names[i], true);
        ck_assert_msg(x || y, "%s is known to no machine", names[i]);
    }
    arena_free(a);
}
END_TEST

Suite *backend_suite(void);
Suite *backend_suite(void) {
    Suite *s = suite_create("backend");
    TCase *t = tcase_create("backend");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, every_op);
    tcase_add_test(t, draws);
    tcase_add_test(t, every_exponent);
    tcase_add_test(t, int_division);
    tcase_add_test(t, lengths);
    tcase_add_test(t, lengths_of_functions);
    tcase_add_test(t, every_statement);
    tcase_add_test(t, faults);
    tcase_add_test(t, tables);
    tcase_add_test(t, targets);
    suite_add_tcase(s, t);
    return s;
}
