/*
 * kernels_math.c - functions of one number over an array in L1, one thread: ours beside glibc's vector functions (libmvec), which GCC calls
 * for loops under -ffast-math. Those promise 4 ulp; ours state theirs in ir/math.def and are checked over every f32 by tests/math_all.c.
 * Here only gross faults are looked for.
 */
#include "kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 2048 }; /* with the results half of a small L1 cache */

typedef struct Function {
    const char *name;
    double lo, hi;
    double (*exact)(double);
    void (*glibc16)(const float *x, float *y), (*glibc8)(const float *x, float *y);
} Function;

#if defined HAVE_MVEC && defined __x86_64__
#include <immintrin.h>

/* One loop over vectors of 16 and one over vectors of 8 a function; the names are those of the vector ABI of x86. */
#define VECTOR(name)                                                                                                             \
    __m512 _ZGVeN16v_##name##f(__m512);                                                                                          \
    __m256 _ZGVdN8v_##name##f(__m256);                                                                                           \
    __attribute__((target("avx512f"))) static void name##_16(const float *x, float *y) {                                         \
        for (int i = 0; i < N; i += 16) _mm512_storeu_ps(y + i, _ZGVeN16v_##name##f(_mm512_loadu_ps(x + i)));                    \
    }                                                                                                                            \
    __attribute__((target("avx2"))) static void name##_8(const float *x, float *y) {                                             \
        for (int i = 0; i < N; i += 8) _mm256_storeu_ps(y + i, _ZGVdN8v_##name##f(_mm256_loadu_ps(x + i)));                      \
    }
// clang-format off
VECTOR(exp) VECTOR(expm1) VECTOR(log) VECTOR(log1p) VECTOR(tanh) VECTOR(erf) VECTOR(sin) VECTOR(cos)
#define GLIBC(f) f##_16, f##_8
#else
#define GLIBC(f) NULL, NULL
#endif

static const Function functions[] = {
    {"exp", -20, 20, exp, GLIBC(exp)},
    {"expm1", -4, 4, expm1, GLIBC(expm1)},
    {"log", 1e-3, 100, log, GLIBC(log)},
    {"log1p", -0.5, 10, log1p, GLIBC(log1p)},
    {"tanh", -5, 5, tanh, GLIBC(tanh)},
    {"erf", -3, 3, erf, GLIBC(erf)},
    {"sin", -10, 10, sin, GLIBC(sin)},
    {"cos", -10, 10, cos, GLIBC(cos)},
};
// clang-format on

static const char *function_text(Arena *a, const char *name) {
    return arena_printf(a,
                        "loops lowered\nsource \"%s.loops\" 0x1\n\nstep @f {\n  buffer %%x: f32[%d]\n  buffer %%y: f32[%d]\n  "
                        "kernel @k {\n    for i in 0..%d { %%y[i] = %s(%%x[i]) }\n  }\n}\n",
                        name, N, N, N, name);
}

typedef struct Glibc {
    void (*run)(const float *x, float *y);
    const float *x;
    float *y;
} Glibc;

static void call_glibc(void *arg) {
    const Glibc *g = arg;
    g->run(g->x, g->y);
}

static void check(const Function *f, const float *x, const float *y) {
    for (int i = 0; i < N; i++) {
        double want = f->exact(x[i]);
        if (!(fabs(y[i] - want) <= 1e-6 + 1e-6 * fabs(want)))
            fail("%s(%g): WRONG NUMBER %g, not %g", f->name, (double)x[i], (double)y[i], want);
    }
}

static void bench_function(const Setup *u, const Function *f) {
    Arena *a = arena_new();
    Compiled *c = compiled_new(u, f->name, function_text(a, f->name), TEXT_LOOPS, 1);
    float *x = compiled_buffer(c, "x", NULL), *y = compiled_buffer(c, "y", NULL);
    fill_numbers(x, N, f->lo, f->hi, 7);
    Glibc g = {u->target->vector_bytes == 64   ? f->glibc16
               : u->target->vector_bytes == 32 ? f->glibc8
                                               : NULL,
               x, numbers_new(N, 9)};
    Timed t[] = {{.call = compiled_call, .arg = c}, {.call = call_glibc, .arg = &g}};
    int n = g.run ? 2 : 1;
    timed_in_turns(u, t, n);
    check(f, x, y);
    print_numbers(u, "math", f->name, "glibc", N, t, n);
    timed_free(t, n);
    numbers_free(g.y, 9);
    compiled_free(c);
    arena_free(a);
}

void bench_math(const Setup *u) {
    Setup one = *u;
    one.threads = 1;
    if (!u->json)
        printf("\nfunctions, 10^9 numbers a second, one thread; ratio above 1: ours is faster\n%-16s  %8s  %8s  %5s\n", "case",
               "nnc", "glibc", "ratio");
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (wanted(u, functions[i].name)) bench_function(&one, &functions[i]);
}
