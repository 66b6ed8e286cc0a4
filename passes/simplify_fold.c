/*
 * simplify_fold.c - elementwise ops whose operands are all constants become constants, with the bits that the program would
 * compute: f32 arithmetic in f32 with the functions of math.def, f64 with the C library's, integers wrapping. This file is
 * compiled without contraction.
 *
 * A constant holds a double: i64 results that a double does not hold exactly stay ops, and so does what may stop the program
 * (integers divided by 0).
 */
#include "simplify.h"

#include "ir/math.h"

#include <math.h>

/* clang-format off: one line an op */
static bool fold_f32(OpCode code, const float *x, float *r) {
    switch ((int)code) {
    case OP_neg: *r = -x[0]; return true;
    case OP_abs: *r = fabsf(x[0]); return true;
    case OP_sign: *r = x[0] > 0 ? 1 : x[0] < 0 ? -1 : x[0]; return true;
    case OP_exp: *r = math_exp(x[0]); return true;
    case OP_expm1: *r = math_expm1(x[0]); return true;
    case OP_log: *r = math_log(x[0]); return true;
    case OP_log1p: *r = math_log1p(x[0]); return true;
    case OP_sqrt: *r = sqrtf(x[0]); return true;
    case OP_sin: *r = math_sin(x[0]); return true;
    case OP_cos: *r = math_cos(x[0]); return true;
    case OP_tanh: *r = math_tanh(x[0]); return true;
    case OP_sigmoid: *r = math_sigmoid(x[0]); return true;
    case OP_erf: *r = math_erf(x[0]); return true;
    case OP_floor: *r = floorf(x[0]); return true;
    case OP_ceil: *r = ceilf(x[0]); return true;
    case OP_round: *r = rintf(x[0]); return true;
    case OP_add: *r = x[0] + x[1]; return true;
    case OP_sub: *r = x[0] - x[1]; return true;
    case OP_mul: *r = x[0] * x[1]; return true;
    case OP_div: *r = x[0] / x[1]; return true;
    case OP_floor_div: *r = math_floor_div(x[0], x[1]); return true;
    case OP_mod: *r = math_mod(x[0], x[1]); return true;
    case OP_pow: *r = math_pow(x[0], x[1]); return true;
    case OP_max: *r = x[0] >= x[1] ? x[0] : x[1]; return true;
    case OP_min: *r = x[0] <= x[1] ? x[0] : x[1]; return true;
    case OP_fma: *r = fmaf(x[0], x[1], x[2]); return true;
    default: return false;
    }
}

static bool fold_f64(OpCode code, const double *x, double *r) {
    switch ((int)code) {
    case OP_neg: *r = -x[0]; return true;
    case OP_abs: *r = fabs(x[0]); return true;
    case OP_sign: *r = x[0] > 0 ? 1 : x[0] < 0 ? -1 : x[0]; return true;
    case OP_exp: *r = exp(x[0]); return true;
    case OP_expm1: *r = expm1(x[0]); return true;
    case OP_log: *r = log(x[0]); return true;
    case OP_log1p: *r = log1p(x[0]); return true;
    case OP_sqrt: *r = sqrt(x[0]); return true;
    case OP_sin: *r = sin(x[0]); return true;
    case OP_cos: *r = cos(x[0]); return true;
    case OP_tanh: *r = tanh(x[0]); return true;
    case OP_sigmoid: *r = math_sigmoid64(x[0]); return true;
    case OP_erf: *r = erf(x[0]); return true;
    case OP_floor: *r = floor(x[0]); return true;
    case OP_ceil: *r = ceil(x[0]); return true;
    case OP_round: *r = rint(x[0]); return true;
    case OP_add: *r = x[0] + x[1]; return true;
    case OP_sub: *r = x[0] - x[1]; return true;
    case OP_mul: *r = x[0] * x[1]; return true;
    case OP_div: *r = x[0] / x[1]; return true;
    case OP_floor_div: *r = math_floor_div64(x[0], x[1]); return true;
    case OP_mod: *r = math_mod64(x[0], x[1]); return true;
    case OP_pow: *r = pow(x[0], x[1]); return true;
    case OP_max: *r = x[0] >= x[1] ? x[0] : x[1]; return true;
    case OP_min: *r = x[0] <= x[1] ? x[0] : x[1]; return true;
    case OP_fma: *r = fma(x[0], x[1], x[2]); return true;
    default: return false;
    }
}

static int64_t wrap(Elem e, uint64_t v) {
    if (e == I32) return (int32_t)(uint32_t)v;
    if (e == U8) return (uint8_t)v;
    return (int64_t)v;
}

static bool fold_int(OpCode code, Elem e, const int64_t *x, int64_t *r) {
    uint64_t a = (uint64_t)x[0], b = (uint64_t)x[1];
    switch ((int)code) {
    case OP_neg: *r = wrap(e, 0 - a); return true;
    case OP_abs: *r = x[0] < 0 ? wrap(e, 0 - a) : x[0]; return true;
    case OP_sign: *r = (x[0] > 0) - (x[0] < 0); return true;
    case OP_add: *r = wrap(e, a + b); return true;
    case OP_sub: *r = wrap(e, a - b); return true;
    case OP_mul: *r = wrap(e, a * b); return true;
    case OP_max: *r = x[0] >= x[1] ? x[0] : x[1]; return true;
    case OP_min: *r = x[0] <= x[1] ? x[0] : x[1]; return true;
    case OP_floor_div:
    case OP_mod: {
        if (x[1] == 0 || x[1] == -1) return false; /* stops the program; the smallest number overflows */
        int64_t q = x[0] / x[1], m = x[0] % x[1];
        if (m != 0 && (m < 0) != (x[1] < 0)) q--, m += x[1];
        *r = code == OP_mod ? m : q;
        return true;
    }
    default: return false;
    }
}

static bool fold_compare(OpCode code, double x, double y, double *r) {
    switch ((int)code) {
    case OP_eq: *r = x == y; return true;
    case OP_ne: *r = x != y; return true;
    case OP_lt: *r = x < y; return true;
    case OP_le: *r = x <= y; return true;
    case OP_gt: *r = x > y; return true;
    case OP_ge: *r = x >= y; return true;
    case OP_and: *r = x != 0 && y != 0; return true;
    case OP_or: *r = x != 0 || y != 0; return true;
    default: return false;
    }
}
/* clang-format on */

/* float -> integer truncates, saturates, NaN is 0; integer -> integer wraps; to bool: != 0 */
static double fold_convert(Elem from, Elem to, double x) {
    if (to == F64) return x;
    if (to == F32) return (double)(float)x;
    if (to == BOOL) return x != 0;
    if (!elem_is_float(from)) return (double)wrap(to, (uint64_t)(int64_t)x);
    double low = to == I32 ? INT32_MIN : to == U8 ? 0 : -0x1p63, high = to == I32 ? INT32_MAX : to == U8 ? 255 : 0x1p63;
    if (isnan(x)) return 0;
    x = trunc(x) + 0.0; /* -0 becomes 0 */
    return x < low ? low : x > high ? high : x;
}

/* The result of an elementwise op on numbers of type `elem`, with the bits that the program would compute; false where the run
 * must decide (an integer divided by 0) or the number does not fit a constant. `out` is the element type of the result. */
static bool fold_scalar(OpCode code, Elem elem, Elem out, const double *in, double *result) {
    if (code == OP_convert) {
        *result = fold_convert(elem, out, in[0]);
        return out != I64 || fabs(*result) <= 0x1p53;
    }
    if (code == OP_not) return *result = in[0] == 0, true;
    if (fold_compare(code, in[0], in[1], result)) return true;
    if (elem == F32) {
        float x[3] = {(float)in[0], (float)in[1], (float)in[2]}, r;
        return fold_f32(code, x, &r) && (*result = (double)r, true);
    }
    if (elem == F64) return fold_f64(code, in, result);
    if (elem == BOOL) return false;
    int64_t x[3] = {(int64_t)in[0], (int64_t)in[1], (int64_t)in[2]}, r;
    if (!fold_int(code, elem, x, &r) || r > (int64_t)1 << 53 || r < -((int64_t)1 << 53)) return false;
    *result = (double)r;
    return true;
}

Value *simplify_fold(Simplify *s, Op *op) {
    if (!op_info[op->code].elementwise || op->n_in < 1 || op->n_in > 3) return NULL;
    double in[3] = {0}, r;
    if (op->code == OP_select) { /* one constant is enough */
        if (is_constant(op->in[0], in)) return op->in[in[0] ? 1 : 2];
        return NULL;
    }
    for (int i = 0; i < op->n_in; i++)
        if (!is_constant(op->in[i], &in[i])) return NULL;
    if (!fold_scalar(op->code, op->in[0]->type->elem, op->out[0]->type->elem, in, &r)) return NULL;
    return g_constant(&s->b, op->out[0]->type, r);
}
