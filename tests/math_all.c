/*
 * math_all.c - the functions of math.def against the C library's f64 functions, over every f32 (one argument), or a large sample
 * and hard cases (pow).
 *
 *   math_all [FUNCTION...] [--step=N]       every N-th bit pattern (default 1: all 2^32)
 *
 * Prints the largest error of each in ulp and where it is; the bounds here are those that math.def states, and to exceed one is a
 * failure (status 1). The error of the reference itself is below 2^-50 and does not count. ulp means the spacing of f32 at the
 * exact result: 2^-149 for denormal ones. Where the exact result rounds to infinity, zero or is NaN, the result must be that; the
 * sign of a zero counts.
 */
#include "../ir/math.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Function {
    const char *name;
    float (*ours)(float);
    double (*exact)(double);
    double bound; /* ulp */
} Function;

static const Function functions[] = {
    {"exp", math_exp, exp, 0.88},       {"expm1", math_expm1, expm1, 1.51}, {"log", math_log, log, 0.92},
    {"log1p", math_log1p, log1p, 1.52}, {"sin", math_sin, sin, 0.54},       {"cos", math_cos, cos, 0.54},
    {"tanh", math_tanh, tanh, 1.4},     {"erf", math_erf, erf, 1.15},
};
enum { N_FUNCTIONS = sizeof functions / sizeof *functions };

typedef struct Worst {
    double ulp;
    float x, y;
} Worst;

static float float_of(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* Distance of `got` from `want` in units of the last place of `want`; infinity where one is NaN, infinite or a zero of the other
 * sign and the other is not. */
static double ulps(float got, double want) {
    float rounded = (float)want;
    if (isnan(rounded) || isnan(got)) return isnan(rounded) && isnan(got) ? 0 : INFINITY;
    if (isinf(rounded) || isinf(got)) return got == rounded ? 0 : INFINITY;
    if (want == 0 || got == 0)
        if (!signbit(got) != !signbit(want)) return INFINITY;
    int e;
    frexp(want, &e);
    return fabs(got - want) * ldexp(1, 24 - (e < -125 ? -125 : e));
}

static void worse(Worst *w, double ulp, float x, float y) {
    if (!(ulp <= w->ulp)) *w = (Worst){ulp, x, y};
}

static Worst check_all(const Function *f, uint64_t step) {
    Worst worst = {0};
#pragma omp parallel
    {
        Worst mine = {0};
#pragma omp for schedule(dynamic, 1)
        for (int64_t part = 0; part < 1024; part++)
            for (uint64_t u = ((uint64_t)part << 22) + (step - ((uint64_t)part << 22) % step) % step;
                 u < ((uint64_t)part + 1) << 22; u += step) {
                float x = float_of((uint32_t)u);
                worse(&mine, ulps(f->ours(x), f->exact(x)), x, 0);
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
        float x = float_of(hard[i / 2 % n] | (uint32_t)(i & 1) << 31),
              y = float_of(hard[i / 2 / n % n] | (uint32_t)(i / 2 / n / n) << 31);
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
            float x = float_of((uint32_t)h), y = float_of((uint32_t)(h >> 32));
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

static int report(const char *name, Worst w, double bound) {
    int bad = !(w.ulp <= bound);
    printf("%-6s largest error %.4f ulp (bound %g) at %a, %a%s\n", name, w.ulp, bound, w.x, w.y, bad ? "  FAILED" : "");
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
        if (wanted)
            bad |= i < N_FUNCTIONS ? report(name, check_all(&functions[i], step), functions[i].bound)
                                   : report(name, check_pow(step), 0.51);
    }
    return bad;
}
