/*
 * math.c - math.def expanded to scalar C: each row is one statement. See math.h.
 */
#include "math.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline int32_t bits_of(float x) {
    int32_t i;
    memcpy(&i, &x, sizeof i);
    return i;
}

static inline float float_of(int32_t i) {
    float x;
    memcpy(&x, &i, sizeof x);
    return x;
}

/* Integers wrap; the shift by sign is written without relying on what >> does to negative numbers. */
static inline int32_t wrap(uint32_t u) {
    int32_t i;
    memcpy(&i, &u, sizeof i);
    return i;
}

static inline int32_t shift_sign(int32_t a, int n) { return a >= 0 ? a >> n : ~(~a >> n); }

static inline double power_of_two(double t) {
    uint64_t u;
    memcpy(&u, &t, sizeof u);
    u = (u + 1023) << 52;
    double r;
    memcpy(&r, &u, sizeof r);
    return r;
}

#define MATH_FN1(name)   float math_##name(float x) {
#define MATH_FN2(name)   float math_##name(float x, float y) {
#define MATH_RARE1(name) static float math_##name(float x) {
#define MATH_RETURN(r)                                                                                                           \
    return r;                                                                                                                    \
    }

#define F_CONST(r, c)        const float r = c;
#define F_ADD(r, a, b)       const float r = a + b;
#define F_SUB(r, a, b)       const float r = a - b;
#define F_MUL(r, a, b)       const float r = a * b;
#define F_DIV(r, a, b)       const float r = a / b;
#define F_FMA(r, a, b, c)    const float r = fmaf(a, b, c);
#define F_MIN(r, a, b)       const float r = a < b ? a : b;
#define F_MAX(r, a, b)       const float r = a > b ? a : b;
#define F_ABS(r, a)          const float r = fabsf(a);
#define F_NEG(r, a)          const float r = -a;
#define F_LT(m, a, b)        const bool m = a < b;
#define F_LE(m, a, b)        const bool m = a <= b;
#define F_EQ(m, a, b)        const bool m = a == b;
#define F_SELECT(r, m, a, b) const float r = m ? a : b;
#define F_TABLE(r, i, ...)                                                                                                       \
    static const float r##_of[8] = {__VA_ARGS__};                                                                                \
    const float r = r##_of[i & 7];
#define F_BITS(i, a)         const int32_t i = bits_of(a);
#define F_D(r, a)            const double r = a;
#define D_CONST(r, c)        const double r = c;
#define D_ADD(r, a, b)       const double r = a + b;
#define D_SUB(r, a, b)       const double r = a - b;
#define D_MUL(r, a, b)       const double r = a * b;
#define D_DIV(r, a, b)       const double r = a / b;
#define D_FMA(r, a, b, c)    const double r = fma(a, b, c);
#define D_MIN(r, a, b)       const double r = a < b ? a : b;
#define D_MAX(r, a, b)       const double r = a > b ? a : b;
#define D_ABS(r, a)          const double r = fabs(a);
#define D_LT(m, a, b)        const bool m = a < b;
#define D_LE(m, a, b)        const bool m = a <= b;
#define D_EQ(m, a, b)        const bool m = a == b;
#define D_SELECT(r, m, a, b) const double r = m ? a : b;
#define D_F(r, a)            const float r = (float)(a);
#define D_SCALE(r, t)        const double r = power_of_two(t);
#define I_CONST(r, c)        const int32_t r = c;
#define I_ADD(r, a, b)       const int32_t r = wrap((uint32_t)a + (uint32_t)b);
#define I_SUB(r, a, b)       const int32_t r = wrap((uint32_t)a - (uint32_t)b);
#define I_AND(r, a, b)       const int32_t r = a & b;
#define I_OR(r, a, b)        const int32_t r = a | b;
#define I_XOR(r, a, b)       const int32_t r = a ^ b;
#define I_SHL(r, a, n)       const int32_t r = wrap((uint32_t)a << n);
#define I_SAR(r, a, n)       const int32_t r = shift_sign(a, n);
#define I_SHR(r, a, n)       const int32_t r = wrap((uint32_t)a >> n);
#define I_LT(m, a, b)        const bool m = a < b;
#define I_EQ(m, a, b)        const bool m = a == b;
#define I_F(r, a)            const float r = (float)a;
#define I_FLOAT(r, i)        const float r = float_of(i);
#define M_AND(m, a, b)       const bool m = a && b;
#define M_OR(m, a, b)        const bool m = a || b;
#define M_NOT(m, a)          const bool m = !a;

#define F_RARE(r, m, name, a, b) const float r = m ? math_##name(a) : b;

#include "math.def"

double math_sigmoid64(double x) {
    double e = exp(-fabs(x));
    return (x < 0 ? e : 1) / (1 + e);
}

/* ---- quotient rounded down, and remainder ---- */

/* Is x, which is not 0, on the other side of 0 than b? */
static bool other_side(double x, double b) { return b > 0 ? x < 0 : x > 0; }

/* The rounded quotient is never below the exact one's floor, and at most 1 above it; that shows as a remainder on the wrong side of
 * 0. fma gives its sign, and the right one without an error, as no quotient of as many digits as b's can. */
float math_floor_div(float a, float b) {
    float q = floorf(a / b), r = fmaf(-q, b, a);
    return other_side(r, b) ? q - 1 : q;
}

double math_floor_div64(double a, double b) {
    double q = floor(a / b), r = fma(-q, b, a);
    return other_side(r, b) ? q - 1 : q;
}

/* The remainder that has a's sign, to that of b. */
static double to_side(double m, double b) { return other_side(m, b) ? m + b : m; }

float math_mod(float a, float b) {
    float q = floorf(a / b), r = fmaf(-q, b, a);
    if (!(fabsf(q) < 0x1p24F)) return (float)to_side(fmod((double)a, (double)b), (double)b);
    return other_side(r, b) ? fmaf(-(q - 1), b, a) : r;
}

double math_mod64(double a, double b) {
    double q = floor(a / b), r = fma(-q, b, a);
    if (!(fabs(q) < 0x1p53)) return to_side(fmod(a, b), b);
    return other_side(r, b) ? fma(-(q - 1), b, a) : r;
}
