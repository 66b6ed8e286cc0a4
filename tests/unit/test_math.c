/*
 * test_math.c - the f32 functions of math.def over a sample of all f32 (NNC_FULL=1: over every one, an hour on one core; tests/math_all.c does
 * that in minutes), their special values and corners; the random numbers of random.h against published answers.
 */
#include "../ulps.h"
#include "ir/math.h"
#include "ir/random.h"

#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The bounds are those that math.def states. */
static const struct {
    const char *name;
    float (*ours)(float);
    double (*exact)(double);
    double bound;
} functions[] = {
    {"exp", math_exp, exp, 0.9},        {"expm1", math_expm1, expm1, 1.53}, {"log", math_log, log, 0.94},
    {"log1p", math_log1p, log1p, 1.55}, {"sin", math_sin, sin, 1.54},       {"cos", math_cos, cos, 1.54},
    {"tanh", math_tanh, tanh, 1.97},    {"erf", math_erf, erf, 1.14},       {"sigmoid", math_sigmoid, math_sigmoid64, 2.41},
};
enum { N_FUNCTIONS = sizeof functions / sizeof *functions };

START_TEST(a_sample_of_all) {
    double worst = 0;
    const char *full = getenv("NNC_FULL");
    uint64_t step = full && strcmp(full, "0") != 0 ? 1 : 9973;
    for (uint64_t u = (uint64_t)_i % step; u < UINT64_C(1) << 32; u += step) {
        float x = f32_of_bits((uint32_t)u);
        double ulp = ulps(functions[_i].ours(x), functions[_i].exact(x));
        ck_assert_msg(ulp <= functions[_i].bound, "%s(%a) is %a: %g ulp", functions[_i].name, x, functions[_i].ours(x), ulp);
        if (ulp > worst) worst = ulp;
    }
    ck_assert(worst > 0.3); /* it is f32 that was measured */
}
END_TEST

START_TEST(corners) {
    static const float x[] = {0,
                              -0.0f,
                              1,
                              -1,
                              INFINITY,
                              -INFINITY,
                              NAN,
                              0x1p-149f,
                              -0x1p-149f,
                              0x1p-126f,
                              0x1.fffffep127f,
                              -0x1.fffffep127f,
                              88.72283f,
                              88.72284f,
                              -103.97208f,
                              -103.97209f,
                              -87.4f,
                              0x1.fffffep-1f,
                              0x1.000002p0f,
                              0.6f,
                              0x1.333336p-1f,
                              0.92f,
                              9.1f,
                              4.0f,
                              -0x1.fffffep-1f,
                              -0x1.000002p0f,
                              0x1.921fb6p0f,
                              0x1.921fb6p1f,
                              16367173 * 0x1p72f,
                              0x1p16f,
                              0x1.000002p16f,
                              0x1.921fb6p16f,
                              0x1.9ea40ep15f,
                              0x1p24f,
                              0x1p50f,
                              0x1p76f,
                              0x1p102f};
    for (int f = 0; f < N_FUNCTIONS; f++)
        for (size_t i = 0; i < sizeof x / sizeof *x; i++) {
            double ulp = ulps(functions[f].ours(x[i]), functions[f].exact(x[i]));
            ck_assert_msg(ulp <= functions[f].bound, "%s(%a) is %a, not %a", functions[f].name, x[i], functions[f].ours(x[i]),
                          functions[f].exact(x[i]));
        }
}
END_TEST

static bool same_bits(float a, float b) { return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b)); }

/* C11, annex F.10: where a function must give an exact value. Denormals are kept: functions near the identity give them back. */
static const struct {
    float (*f)(float);
    float x, y;
} special[] = {
    {math_exp, 0.0f, 1},
    {math_exp, -0.0f, 1},
    {math_exp, -INFINITY, 0.0f},
    {math_exp, INFINITY, INFINITY},
    {math_exp, 0x1p-149f, 1},
    {math_expm1, 0.0f, 0.0f},
    {math_expm1, -0.0f, -0.0f},
    {math_expm1, -INFINITY, -1},
    {math_expm1, INFINITY, INFINITY},
    {math_expm1, 0x1p-149f, 0x1p-149f},
    {math_expm1, -0x1.8p-148f, -0x1.8p-148f},
    {math_log, 0.0f, -INFINITY},
    {math_log, -0.0f, -INFINITY},
    {math_log, 1, 0.0f},
    {math_log, -1, NAN},
    {math_log, -INFINITY, NAN},
    {math_log, -0x1p-149f, NAN},
    {math_log, INFINITY, INFINITY},
    {math_log1p, 0.0f, 0.0f},
    {math_log1p, -0.0f, -0.0f},
    {math_log1p, -1, -INFINITY},
    {math_log1p, -0x1.000002p0f, NAN},
    {math_log1p, -INFINITY, NAN},
    {math_log1p, INFINITY, INFINITY},
    {math_log1p, 0x1p-149f, 0x1p-149f},
    {math_sin, 0.0f, 0.0f},
    {math_sin, -0.0f, -0.0f},
    {math_sin, INFINITY, NAN},
    {math_sin, -INFINITY, NAN},
    {math_sin, 0x1p-149f, 0x1p-149f},
    {math_sin, -0x1.8p-148f, -0x1.8p-148f},
    {math_cos, 0.0f, 1},
    {math_cos, -0.0f, 1},
    {math_cos, INFINITY, NAN},
    {math_cos, -INFINITY, NAN},
    {math_cos, 0x1p-149f, 1},
    {math_tanh, 0.0f, 0.0f},
    {math_tanh, -0.0f, -0.0f},
    {math_tanh, INFINITY, 1},
    {math_tanh, -INFINITY, -1},
    {math_tanh, 0x1p-149f, 0x1p-149f},
    {math_tanh, -0x1.8p-148f, -0x1.8p-148f},
    {math_sigmoid, 0.0f, 0.5f},
    {math_sigmoid, -0.0f, 0.5f},
    {math_sigmoid, INFINITY, 1},
    {math_sigmoid, -INFINITY, 0},
    {math_sigmoid, -104.0f, 0},
    {math_sigmoid, 0x1.fffffep127f, 1},
    {math_erf, 0.0f, 0.0f},
    {math_erf, -0.0f, -0.0f},
    {math_erf, INFINITY, 1},
    {math_erf, -INFINITY, -1},
};

START_TEST(special_values) {
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        ck_assert_msg(same_bits(special[i].f(special[i].x), special[i].y), "case %zu: f(%a) is %a, not %a", i, special[i].x,
                      special[i].f(special[i].x), special[i].y);
    for (int f = 0; f < N_FUNCTIONS; f++)
        ck_assert_msg(isnan(functions[f].ours(NAN)) && isnan(functions[f].ours(-NAN)), "%s", functions[f].name);
}
END_TEST

/* C11, F.10.4.4, line by line. */
START_TEST(special_powers) {
    static const float p[][3] = {
        {0.0f, -3, INFINITY},
        {-0.0f, -3, -INFINITY},
        {-0.0f, -2, INFINITY},
        {-0.0f, -2.5f, INFINITY},
        {0.0f, -INFINITY, INFINITY},
        {-0.0f, -INFINITY, INFINITY},
        {0.0f, 3, 0.0f},
        {-0.0f, 3, -0.0f},
        {-0.0f, 2, 0.0f},
        {-0.0f, 2.5f, 0.0f},
        {-1, INFINITY, 1},
        {-1, -INFINITY, 1},
        {1, NAN, 1},
        {1, INFINITY, 1},
        {NAN, 0.0f, 1},
        {NAN, -0.0f, 1},
        {INFINITY, -0.0f, 1},
        {-2, 0.5f, NAN},
        {-0x1p-149f, 1.5f, NAN},
        {0.5f, -INFINITY, INFINITY},
        {-0.5f, -INFINITY, INFINITY},
        {2, -INFINITY, 0.0f},
        {-2, -INFINITY, 0.0f},
        {0.5f, INFINITY, 0.0f},
        {-0.5f, INFINITY, 0.0f},
        {2, INFINITY, INFINITY},
        {-2, INFINITY, INFINITY},
        {-INFINITY, -3, -0.0f},
        {-INFINITY, -2, 0.0f},
        {-INFINITY, -0.5f, 0.0f},
        {-INFINITY, 3, -INFINITY},
        {-INFINITY, 2, INFINITY},
        {-INFINITY, 0.5f, INFINITY},
        {INFINITY, -1, 0.0f},
        {INFINITY, 0.25f, INFINITY},
        {NAN, 1, NAN},
        {2, NAN, NAN},
        {0x1p-149f, 1, 0x1p-149f},
        {-0x1p-149f, 1, -0x1p-149f},
        {2, -149, 0x1p-149f},
        {2, -151, 0.0f},
        {-2, 127, -0x1p127f},
        {-2, 0x1p24f, INFINITY},
        {-1, 0x1.fffffep23f, -1},
        {-1, 0x1p24f, 1},
    };
    for (size_t i = 0; i < sizeof p / sizeof *p; i++)
        ck_assert_msg(same_bits(math_pow(p[i][0], p[i][1]), p[i][2]), "pow(%a, %a) is %a, not %a", p[i][0], p[i][1],
                      math_pow(p[i][0], p[i][1]), p[i][2]);
}
END_TEST

/* Odd functions are odd bit for bit, and none leaves its range. */
START_TEST(laws) {
    for (uint64_t u = 0; u < 0x7f800000; u += 7919) {
        float x = f32_of_bits((uint32_t)u);
        ck_assert(math_tanh(-x) == -math_tanh(x) && math_erf(-x) == -math_erf(x) && math_sin(-x) == -math_sin(x) &&
                  math_cos(-x) == math_cos(x));
        ck_assert(fabsf(math_tanh(x)) <= 1 && fabsf(math_erf(x)) <= 1 && fabsf(math_sin(x)) <= 1 && fabsf(math_cos(x)) <= 1 &&
                  math_exp(-x) <= 1 && math_expm1(-x) >= -1);
    }
}
END_TEST

START_TEST(powers) {
    static const float v[] = {0,
                              1,
                              2,
                              3,
                              0.5f,
                              1.5f,
                              0x1p-149f,
                              0x1p-126f,
                              0x1.fffffep127f,
                              INFINITY,
                              NAN,
                              0x1.fffffep-1f,
                              0x1.000002p0f,
                              0x1p24f,
                              0x1.000002p24f,
                              16777215,
                              8388607,
                              8388609,
                              10,
                              0.1f,
                              1e30f,
                              127,
                              150};
    int n = sizeof v / sizeof *v;
    for (int i = 0; i < 4 * n * n; i++) {
        float x = v[i / 4 % n] * (i & 1 ? -1.0f : 1.0f), y = v[i / 4 / n] * (i & 2 ? -1.0f : 1.0f);
        double ulp = ulps(math_pow(x, y), pow(x, y));
        ck_assert_msg(ulp <= 0.51, "pow(%a, %a) is %a, not %a", x, y, math_pow(x, y), pow(x, y));
    }
    for (uint64_t i = 0; i < 100000; i++) {
        uint64_t h = random_stir(i);
        float x = f32_of_bits((uint32_t)(h & 0x7fffffff)), y = (float)(((double)(h >> 40) / 0x1p23 - 1) * 160 / log2(x));
        double ulp = ulps(math_pow(x, y), pow(x, y));
        ck_assert_msg(ulp <= 0.51, "pow(%a, %a) is %a, not %a", x, y, math_pow(x, y), pow(x, y));
    }
}
END_TEST

/* The answers that Random123 publishes for philox4x32 with ten rounds (its file kat_vectors): counter, key, block. */
START_TEST(philox_known_answers) {
    static const uint32_t known[][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t c[4];
        memcpy(c, known[i], sizeof c);
        philox4x32(c, known[i][4], known[i][5]);
        for (int k = 0; k < 4; k++) ck_assert_uint_eq(c[k], known[i][6 + k]);
    }
}
END_TEST

/* Element e is word (e / 16) mod 4 of block (e / 64) * 16 + e mod 16, also beyond 2^32 blocks. */
START_TEST(draws_by_element) {
    uint64_t key = 0x299f31d0a4093822, site = 0x0370734413198a2e, block = 0x85a308d3243f6a88;
    static const uint32_t want[4] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
    for (uint64_t w = 0; w < 4; w++) {
        uint64_t e = (block & 0x0fffffffffffffff) / 16 * 64 + w * 16 + block % 16;
        ck_assert_uint_eq(e % 16, 8);
        uint32_t c[4] = {(uint32_t)block, (uint32_t)(block >> 32) & 0x0fffffff, (uint32_t)site, (uint32_t)(site >> 32)};
        philox4x32(c, (uint32_t)key, (uint32_t)(key >> 32));
        ck_assert_uint_eq(random_word(key, site, e), c[w]);
    }
    uint32_t c[4] = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344};
    philox4x32(c, 0xa4093822, 0x299f31d0);
    ck_assert_int_eq(memcmp(c, want, sizeof c), 0);
}
END_TEST

/* Mean, variance and the largest distance of the distribution from the uniform one (Kolmogorov and Smirnov), far beyond chance if
 * it failed. */
START_TEST(draws_are_uniform) {
    enum { N = 1 << 16 };
    double sum = 0, square = 0;
    static int bin[256];
    memset(bin, 0, sizeof bin);
    for (uint64_t e = 0; e < N; e++) {
        float u = random_uniform(42, 17, e);
        ck_assert(u >= 0 && u < 1 && u * 0x1p24f == floorf(u * 0x1p24f));
        sum += u;
        square += (double)u * u;
        bin[(int)(u * 256)]++;
    }
    ck_assert(fabs(sum / N - 0.5) < 0.006 && fabs(square / N - 1.0 / 3) < 0.006);
    double below = 0, farthest = 0;
    for (int i = 0; i < 256; i++) {
        below += bin[i];
        farthest = fmax(farthest, fabs(below / N - (i + 1) / 256.0));
    }
    ck_assert(farthest < 0.01);
}
END_TEST

START_TEST(keys_are_stirred) {
    ck_assert_uint_eq(random_stir(0x9e3779b97f4a7c15), 0xe220a8397b1dcdaf); /* the first number of splitmix64 with seed 0 */
    ck_assert(random_mix(1, 0) != random_mix(1, 1) && random_mix(1, 0) != random_mix(2, 0) &&
              random_mix(random_mix(1, 2), 3) != random_mix(random_mix(1, 3), 2));
}
END_TEST

Suite *math_suite(void);

Suite *math_suite(void) {
    Suite *s = suite_create("math");
    TCase *t = tcase_create("math");
    tcase_set_timeout(t, getenv("NNC_FULL") ? 7200 : 60);
    tcase_add_loop_test(t, a_sample_of_all, 0, N_FUNCTIONS);
    tcase_add_test(t, corners);
    tcase_add_test(t, special_values);
    tcase_add_test(t, special_powers);
    tcase_add_test(t, laws);
    tcase_add_test(t, powers);
    tcase_add_test(t, philox_known_answers);
    tcase_add_test(t, draws_by_element);
    tcase_add_test(t, draws_are_uniform);
    tcase_add_test(t, keys_are_stirred);
    suite_add_tcase(s, t);
    return s;
}
