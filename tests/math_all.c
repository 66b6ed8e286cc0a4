/*
 * math_all.c - the functions of math.def against the C library's f64 functions, over every f32 (one argument), or a large sample
 * and hard cases (pow).
 *
 *   math_all [FUNCTION...] [--step=N]       every N-th bit pattern (default 1: all 2^32)
 *
 * Prints the largest error of each in ulp, where it is and how long that took; the bounds here are those that math.def states, and to exceed one is a
 * failure (status 1). ulp means the spacing of f32 at the exact result: 2^-149 for denormal ones. Where the exact result rounds to infinity, zero or is NaN, the
 * result must be that; the sign of a zero counts.
 *
 * The rows are compiled here once more, so that the compiler makes vectors of them: a block of arguments goes through ours, through the reference, and through the comparison.
 * The reference is glibc's vector library where there is one, else its scalar functions. The former are within 4 ulp of f64, the latter within 1 (glibc manual, "Errors in
 * Math Functions"; libmvec's stated bound): 2^-27 of an ulp of f32 at most. A block with a new worst error, or anything that is not a finite number close to the exact one,
 * is compared again, one by one with the scalar functions, and that is what is printed.
 *
 * With -DWITHOUT_FMA (math_all_no_fma): the rows as nnc --no-fma compiles them, f32's fma through f64.
 */
#include <math.h>
#ifdef WITHOUT_FMA
static inline float through_f64(float a, float b, float c) { return (float)((double)a * (double)b + (double)c); }
#define fmaf through_f64
#endif
#include "../ir/math.c"
#include "ulps.h"
#undef fmaf

#include <features.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BLOCK = 1024 };

typedef enum Which { EXP, EXPM1, LOG, LOG1P, SIN, COS, TANH, ERF, SIGMOID } Which;

typedef struct Function {
    const char *name;
    Which which;
    float (*ours)(float);
    double (*exact)(double);
    double bound; /* ulp */
} Function;

static const Function functions[] = {
    {"exp", EXP, math_exp, exp, 0.9},
    {"expm1", EXPM1, math_expm1, expm1, 1.53},
    {"log", LOG, math_log, log, 0.94},
    {"log1p", LOG1P, math_log1p, log1p, 1.55},
    {"sin", SIN, math_sin, sin, 1.54},
    {"cos", COS, math_cos, cos, 1.54},
    {"tanh", TANH, math_tanh, tanh, 1.97},
    {"erf", ERF, math_erf, erf, 1.14},
    {"sigmoid", SIGMOID, math_sigmoid, math_sigmoid64, 2.41},
};
enum { N_FUNCTIONS = sizeof functions / sizeof *functions };

typedef struct Worst {
    double ulp;
    float x, y;
} Worst;

static void worse(Worst *w, double ulp, float x, float y) {
    if (!(ulp <= w->ulp)) *w = (Worst){ulp, x, y};
}

/* ---- blocks ---- */

/* y[i] = f(x[i]), by the rows, which become part of the loop (flatten). */
__attribute__((flatten)) static void ours_of(Which f, const float *restrict x, float *restrict y) {
    switch (f) {
    case EXP:
        for (int i = 0; i < BLOCK; i++) y[i] = math_exp(x[i]);
        break;
    case EXPM1:
        for (int i = 0; i < BLOCK; i++) y[i] = math_expm1(x[i]);
        break;
    case LOG:
        for (int i = 0; i < BLOCK; i++) y[i] = math_log(x[i]);
        break;
    case LOG1P:
        for (int i = 0; i < BLOCK; i++) y[i] = math_log1p(x[i]);
        break;
    case SIN:
        for (int i = 0; i < BLOCK; i++) y[i] = math_sin(x[i]);
        break;
    case COS:
        for (int i = 0; i < BLOCK; i++) y[i] = math_cos(x[i]);
        break;
    case TANH:
        for (int i = 0; i < BLOCK; i++) y[i] = math_tanh(x[i]);
        break;
    case ERF:
        for (int i = 0; i < BLOCK; i++) y[i] = math_erf(x[i]);
        break;
    case SIGMOID:
        for (int i = 0; i < BLOCK; i++) y[i] = math_sigmoid(x[i]);
        break;
    }
}

#if defined __AVX2__ && defined HAVE_MVEC && __GLIBC_PREREQ(2, 35)
#ifdef __AVX512F__
enum { WIDTH = 8 };
#define MVEC(name) _ZGVeN8v_##name
#else
enum { WIDTH = 4 };
#define MVEC(name) _ZGVdN4v_##name
#endif
typedef double Reals __attribute__((vector_size(8 * WIDTH)));
Reals MVEC(exp)(Reals), MVEC(expm1)(Reals), MVEC(log)(Reals), MVEC(log1p)(Reals), MVEC(sin)(Reals), MVEC(cos)(Reals),
    MVEC(tanh)(Reals), MVEC(erf)(Reals);
static Reals (*const of_many[])(Reals) = {
    [EXP] = MVEC(exp), [EXPM1] = MVEC(expm1), [LOG] = MVEC(log), [LOG1P] = MVEC(log1p), [SIN] = MVEC(sin),
    [COS] = MVEC(cos), [TANH] = MVEC(tanh),   [ERF] = MVEC(erf), [SIGMOID] = NULL,
};

static void exact_of(const Function *f, const float *x, double *y) {
    double wide[BLOCK];
    for (int i = 0; i < BLOCK; i++) wide[i] = x[i];
    if (!of_many[f->which]) { /* the library has no such function of vectors */
        for (int i = 0; i < BLOCK; i++) y[i] = f->exact(wide[i]);
        return;
    }
    for (int i = 0; i < BLOCK; i += WIDTH) {
        Reals v;
        memcpy(&v, wide + i, sizeof v);
        v = of_many[f->which](v);
        memcpy(y + i, &v, sizeof v);
    }
}
#else
static void exact_of(const Function *f, const float *x, double *y) {
    for (int i = 0; i < BLOCK; i++) y[i] = f->exact(x[i]);
}
#endif

/* The largest error of a block as ulps() has it, or infinity where a pair wants a closer look. Both NaN, or the same bits after rounding (infinities, zeros), is none. */
static double block_error(const float *restrict got, const double *restrict want) {
    double worst = 0;
    for (int i = 0; i < BLOCK; i++) {
        float rounded = (float)want[i];
        uint32_t a, b;
        int64_t e;
        memcpy(&a, &got[i], sizeof a);
        memcpy(&b, &rounded, sizeof b);
        memcpy(&e, &want[i], sizeof e);
        e = (int64_t)((uint64_t)e >> 52 & 0x7ff) - 1022; /* |want| = m 2^e, 1/2 <= m < 1 */
        e = e < -125 ? -125 : e;
        int64_t scale_bits = (24 - e + 1023) << 52;
        double scale, error;
        memcpy(&scale, &scale_bits, sizeof scale);
        error = fabs((double)got[i] - want[i]) * scale;
        int nans = (got[i] != got[i]) & (rounded != rounded),
            special = ((a & 0x7f800000) == 0x7f800000) | ((b & 0x7f800000) == 0x7f800000) | (a << 1 == 0) | (b << 1 == 0);
        error = special ? (nans | (a == b) ? 0.0 : INFINITY) : error;
        worst = error > worst ? error : worst;
    }
    return worst;
}

/* Bit patterns first, first + step, ... below end: at most BLOCK of them, the last repeated. */
static void check_block(const Function *f, uint64_t first, uint64_t step, uint64_t end, Worst *worst) {
    float x[BLOCK], y[BLOCK];
    double exact[BLOCK];
    uint64_t u = first;
    for (int i = 0; i < BLOCK; i++) {
        x[i] = f32_of_bits((uint32_t)u);
        if (u + step < end) u += step;
    }
    ours_of(f->which, x, y);
    exact_of(f, x, exact);
    if (block_error(y, exact) <= worst->ulp * (1 - 0x1p-20)) return;
    for (int i = 0; i < BLOCK; i++) worse(worst, ulps(y[i], f->exact(x[i])), x[i], 0);
}

static Worst check_all(const Function *f, uint64_t step) {
    enum { PARTS = 4096, PART_BITS = 20 };
    Worst worst = {0};
#pragma omp parallel
    {
        Worst mine = {0};
#pragma omp for schedule(dynamic, 1)
        for (int64_t part = 0; part < PARTS; part++) {
            uint64_t from = (uint64_t)part << PART_BITS, end = ((uint64_t)part + 1) << PART_BITS;
            from += (step - from % step) % step;
            for (uint64_t u = from; u < end; u += step * BLOCK) check_block(f, u, step, end, &mine);
        }
#pragma omp critical
        worse(&worst, mine.ulp, mine.x, 0);
    }
    return worst;
}

/* pow: all pairs of special values and powers of two, then pseudo-random pairs whose result is finite half of the time. */
static Worst check_pow(uint64_t step) {
    static const uint32_t hard[] = {0,          1,          2,          0x007fffff, 0x00800000, 0x34000000, 0x3effffff,
                                    0x3f000000, 0x3f000001, 0x3f7fffff, 0x3f800000, 0x3f800001, 0x3fffffff, 0x40000000,
                                    0x40400000, 0x40490fdb, 0x40a00000, 0x42ae0000, 0x42b80000, 0x4b7fffff, 0x4b800000,
                                    0x4b800001, 0x4c000000, 0x7f000000, 0x7f7fffff, 0x7f800000, 0x7fc00000, 0x3dcccccd,
                                    0x41200000, 0x4b000001, 0x4a800001, 0x3fc00000, 0x40200000};
    Worst worst = {0};
    int n = sizeof hard / sizeof *hard;
    for (int i = 0; i < 4 * n * n; i++) {
        float x = f32_of_bits(hard[i / 2 % n] | (uint32_t)(i & 1) << 31),
              y = f32_of_bits(hard[i / 2 / n % n] | (uint32_t)(i / 2 / n / n) << 31);
        worse(&worst, ulps(math_pow(x, y), pow(x, y)), x, y);
    }
    int64_t count = (int64_t)((UINT64_C(1) << 28) / step);
#pragma omp parallel
    {
        Worst mine = {0};
#pragma omp for
        for (int64_t i = 0; i < count; i++) {
            uint64_t h = (uint64_t)(i + 1) * 0x9e3779b97f4a7c15u;
            h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
            h = (h ^ h >> 27) * 0x94d049bb133111ebu;
            h ^= h >> 31;
            float x = f32_of_bits((uint32_t)h), y = f32_of_bits((uint32_t)(h >> 32));
            if (i & 1) { /* |log2 of the result| < 160 */
                x = fabsf(x);
                if (x > 0 && x < INFINITY && x != 1) y = (float)(((double)(h >> 40) / 0x1p23 - 1) * 160 / log2(x));
            } else if (i & 2) {
                y = (float)((int)(h >> 58) - 32); /* small whole powers, of negative numbers too */
            }
            worse(&mine, ulps(math_pow(x, y), pow(x, y)), x, y);
        }
#pragma omp critical
        worse(&worst, mine.ulp, mine.x, mine.y);
    }
    return worst;
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int report(const char *name, Worst w, double bound, double start) {
    int bad = !(w.ulp <= bound);
    printf("%-6s largest error %.4f ulp (bound %g) at %a, %a; %.1f s%s\n", name, w.ulp, bound, w.x, w.y, seconds() - start,
           bad ? "  FAILED" : "");
    fflush(stdout);
    return bad;
}

int main(int argc, char **argv) {
    uint64_t step = 1;
    int named = 0, bad = 0;
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "--step=", 7) == 0)
            step = strtoull(argv[i] + 7, NULL, 10);
        else
            named++;
    if (step == 0) return fprintf(stderr, "math_all: --step must be a positive number\n"), 2;
    for (int i = 0; i <= N_FUNCTIONS; i++) {
        const char *name = i < N_FUNCTIONS ? functions[i].name : "pow";
        int wanted = !named;
        for (int k = 1; k < argc; k++) wanted |= strcmp(argv[k], name) == 0;
        double start = seconds();
        if (wanted)
            bad |= i < N_FUNCTIONS ? report(name, check_all(&functions[i], step), functions[i].bound, start)
                                   : report(name, check_pow(step), 0.51, start);
    }
    return bad;
}
