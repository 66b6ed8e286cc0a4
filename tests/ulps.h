/*
 * ulps.h - how far a function's result lies from the true one; for the tests of math.def.
 */
#ifndef NNC_TESTS_ULPS_H
#define NNC_TESTS_ULPS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* The f32 with these bits. */
static inline float f32_of_bits(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Distance of `got` from `want` in units of the last place of `want`; infinity where one is NaN, infinite or a zero of the other sign, and the other is not. */
static inline double ulps(float got, double want) {
    float rounded = (float)want;
    if (isnan(rounded) || isnan(got)) return isnan(rounded) && isnan(got) ? 0 : INFINITY;
    if (isinf(rounded) || isinf(got)) return got == rounded ? 0 : INFINITY;
    if ((want == 0 || got == 0) && !signbit(got) != !signbit(want)) return INFINITY;
    int e;
    frexp(want, &e);
    return fabs(got - want) * ldexp(1, 24 - (e < -125 ? -125 : e));
}

#endif
