/*
 * eval_element.c - the evaluator's elementwise ops, and values that come from nothing.
 *
 * f32 under EVAL_F32 is computed in float with the functions of math.def, everything else of floats in double with the C
 * library's. C's + - * / and sqrt round correctly, fma is exact, and this folder is compiled without contraction.
 */
#include "eval_inside.h"
#include "math.h"
#include "random.h"

/* Loops over all elements. T is the elements' C type, a, b, c the operands' elements. */
#define EACH(T, result)                                                                                                          \
    do {                                                                                                                         \
        T *to = r->data;                                                                                                         \
        for (int64_t i = 0; i < r->count; i++) {                                                                                 \
            T a = ((const T *)x->data)[i], b = y ? ((const T *)y->data)[i] : a;                                                  \
            (void)b;                                                                                                             \
            to[i] = (T)(result);                                                                                                 \
        }                                                                                                                        \
    } while (0)
#define EACH_TRUTH(T, result)                                                                                                    \
    do {                                                                                                                         \
        uint8_t *to = r->data;                                                                                                   \
        for (int64_t i = 0; i < r->count; i++) {                                                                                 \
            T a = ((const T *)x->data)[i], b = ((const T *)y->data)[i];                                                          \
            to[i] = (result) != 0;                                                                                               \
        }                                                                                                                        \
    } while (0)

/* ---- one operand ---- */

/* sign: NaN and both zeros stay. */
static void unary_f32(OpCode code, Tensor *r, const Tensor *x) {
    const Tensor *y = NULL;
#define F(name, result)                                                                                                          \
    case OP_##name: EACH(float, result); return;
    switch ((int)code) {
        F(neg, -a)
        F(abs, fabsf(a))
        F(sign, a > 0 ? 1.0f : a < 0 ? -1.0f : a)
        F(exp, math_exp(a))
        F(expm1, math_expm1(a))
        F(log, math_log(a))
        F(log1p, math_log1p(a))
        F(sqrt, sqrtf(a))
        F(sin, math_sin(a))
        F(cos, math_cos(a))
        F(tanh, math_tanh(a))
        F(sigmoid, math_sigmoid(a))
        F(erf, math_erf(a))
        F(floor, floorf(a))
        F(ceil, ceilf(a))
        F(round, rintf(a))
    }
#undef F
    bug("the evaluator has no `%s` of f32", op_info[code].name);
}

static void unary_f64(OpCode code, Tensor *r, const Tensor *x) {
    const Tensor *y = NULL;
#define F(name, result)                                                                                                          \
    case OP_##name: EACH(double, result); return;
    switch ((int)code) {
        F(neg, -a)
        F(abs, fabs(a))
        F(sign, a > 0 ? 1.0 : a < 0 ? -1.0 : a)
        F(exp, exp(a))
        F(expm1, expm1(a))
        F(log, log(a))
        F(log1p, log1p(a))
        F(sqrt, sqrt(a))
        F(sin, sin(a))
        F(cos, cos(a))
        F(tanh, tanh(a))
        F(sigmoid, math_sigmoid64(a))
        F(erf, erf(a))
        F(floor, floor(a))
        F(ceil, ceil(a))
        F(round, rint(a))
    }
#undef F
    bug("the evaluator has no `%s` of f64", op_info[code].name);
}

/* Integers through i64, which wraps like the narrower types do. */
static int64_t unary_int(OpCode code, int64_t a) {
    switch ((int)code) {
    case OP_neg: return (int64_t)(0 - (uint64_t)a);
    case OP_abs: return a < 0 ? (int64_t)(0 - (uint64_t)a) : a;
    case OP_sign: return (a > 0) - (a < 0);
    case OP_not: return !a;
    }
    bug("the evaluator has no `%s` of integers", op_info[code].name);
}

bool eval_unary(Eval *e, const Op *op) {
    const Tensor *x = eval_in(e, op, 0);
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    if (x->elem == F32)
        unary_f32(op->code, r, x);
    else if (x->elem == F64)
        unary_f64(op->code, r, x);
    else
        for (int64_t i = 0; i < r->count; i++) int_put(r, i, unary_int(op->code, int_at(x, i)));
    return true;
}

/* ---- two operands ---- */

static void binary_f32(OpCode code, Tensor *r, const Tensor *x, const Tensor *y) {
#define F(name, result)                                                                                                          \
    case OP_##name: EACH(float, result); return;
#define T(name, result)                                                                                                          \
    case OP_##name: EACH_TRUTH(float, result); return;
    switch ((int)code) {
        F(add, a + b)
        F(sub, a - b)
        F(mul, a * b)
        F(div, a / b)
        F(floor_div, math_floor_div(a, b))
        F(mod, math_mod(a, b))
        F(pow, math_pow(a, b))
        F(max, a >= b ? a : b)
        F(min, a <= b ? a : b)
        T(eq, a == b)
        T(ne, a != b)
        T(lt, a < b)
        T(le, a <= b)
        T(gt, a > b)
        T(ge, a >= b)
    }
    bug("the evaluator has no `%s` of f32", op_info[code].name);
#undef F
#undef T
}

static void binary_f64(OpCode code, Tensor *r, const Tensor *x, const Tensor *y) {
#define F(name, result)                                                                                                          \
    case OP_##name: EACH(double, result); return;
#define T(name, result)                                                                                                          \
    case OP_##name: EACH_TRUTH(double, result); return;
    switch ((int)code) {
        F(add, a + b)
        F(sub, a - b)
        F(mul, a * b)
        F(div, a / b)
        F(floor_div, math_floor_div64(a, b))
        F(mod, math_mod64(a, b))
        F(pow, pow(a, b))
        F(max, a >= b ? a : b)
        F(min, a <= b ? a : b)
        T(eq, a == b)
        T(ne, a != b)
        T(lt, a < b)
        T(le, a <= b)
        T(gt, a > b)
        T(ge, a >= b)
    }
    bug("the evaluator has no `%s` of f64", op_info[code].name);
#undef F
#undef T
}

/* b != 0. The one quotient that overflows, of the smallest i64 by -1, wraps; of the smallest i32 it wraps when it is put. */
static int64_t floor_quotient(int64_t a, int64_t b) {
    if (b == -1) return (int64_t)(0 - (uint64_t)a);
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static int64_t binary_int(OpCode code, int64_t a, int64_t b) {
    uint64_t u = (uint64_t)a, v = (uint64_t)b;
    switch ((int)code) {
    case OP_add: return (int64_t)(u + v);
    case OP_sub: return (int64_t)(u - v);
    case OP_mul: return (int64_t)(u * v);
    case OP_floor_div: return floor_quotient(a, b);
    case OP_mod: return (int64_t)(u - v * (uint64_t)floor_quotient(a, b));
    case OP_max: return a >= b ? a : b;
    case OP_min: return a <= b ? a : b;
    case OP_eq: return a == b;
    case OP_ne: return a != b;
    case OP_lt: return a < b;
    case OP_le: return a <= b;
    case OP_gt: return a > b;
    case OP_ge: return a >= b;
    case OP_and: return a && b;
    case OP_or: return a || b;
    case OP_mix: return (int64_t)random_mix(u, v);
    }
    bug("the evaluator has no `%s` of integers", op_info[code].name);
}

bool eval_binary(Eval *e, const Op *op) {
    const Tensor *x = eval_in(e, op, 0), *y = eval_in(e, op, 1);
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    if (x->elem == F32) return binary_f32(op->code, r, x, y), true;
    if (x->elem == F64) return binary_f64(op->code, r, x, y), true;
    for (int64_t i = 0; i < r->count; i++) {
        int64_t b = int_at(y, i);
        if (b == 0 && (op->code == OP_floor_div || op->code == OP_mod))
            return eval_fault(e, op, 0, "a division by 0 (%" PRId64 " by 0)", int_at(x, i));
        int_put(r, i, binary_int(op->code, int_at(x, i), b));
    }
    return true;
}

/* ---- three operands ---- */

bool eval_fma(Eval *e, const Op *op) {
    const Tensor *x = eval_in(e, op, 0), *y = eval_in(e, op, 1), *z = eval_in(e, op, 2);
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    if (r->elem == F32)
        for (int64_t i = 0; i < r->count; i++)
            ((float *)r->data)[i] = fmaf(((const float *)x->data)[i], ((const float *)y->data)[i], ((const float *)z->data)[i]);
    else
        for (int64_t i = 0; i < r->count; i++)
            ((double *)r->data)[i] =
                fma(((const double *)x->data)[i], ((const double *)y->data)[i], ((const double *)z->data)[i]);
    return true;
}

bool eval_select(Eval *e, const Op *op) {
    const Tensor *c = eval_in(e, op, 0), *x = eval_in(e, op, 1), *y = eval_in(e, op, 2);
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    for (int64_t i = 0; i < r->count; i++) copy_at(r, i, int_at(c, i) ? x : y, i);
    return true;
}

/* ---- convert ---- */

/* Truncated, saturated at the ends of the type, 0 for NaN. 2^63 is the first double beyond i64. */
static int64_t real_to_int(double v, Elem to) {
    if (to == BOOL) return v != 0;
    double low = to == U8 ? 0 : to == I32 ? INT32_MIN : -0x1p63, high = to == U8 ? UINT8_MAX : to == I32 ? INT32_MAX : 0x1p63;
    if (isnan(v)) return 0;
    v = trunc(v);
    if (v <= low) return to == I64 ? INT64_MIN : (int64_t)low;
    if (v >= high) return to == I64 ? INT64_MAX : (int64_t)high;
    return (int64_t)v;
}

bool eval_convert(Eval *e, const Op *op) {
    const Tensor *x = eval_in(e, op, 0);
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    bool from_real = elem_is_float(x->elem), to_real = elem_is_float(r->elem);
    for (int64_t i = 0; i < r->count; i++) {
        if (from_real && to_real)
            real_put(r, i, real_at(x, i));
        else if (from_real)
            int_put(r, i, real_to_int(real_at(x, i), r->elem));
        else if (!to_real)
            int_put(r, i, int_at(x, i));
        else if (r->elem == F32)
            ((float *)r->data)[i] = (float)int_at(x, i); /* rounded once, not by way of double */
        else
            ((double *)r->data)[i] = (double)int_at(x, i);
    }
    return true;
}

/* ---- from nothing ---- */

static void put_number(Tensor *r, int64_t i, double v) {
    if (elem_is_float(r->elem))
        real_put(r, i, v);
    else
        int_put(r, i, (int64_t)v);
}

bool eval_constant(Eval *e, const Op *op) {
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    for (int64_t i = 0; i < r->count; i++) put_number(r, i, op_real(op, A_value));
    return true;
}

bool eval_literal(Eval *e, const Op *op) {
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    const Attr *values = op_attr(op, A_values);
    for (int64_t i = 0; i < r->count; i++) put_number(r, i, values->reals.at[i]);
    return true;
}

bool eval_iota(Eval *e, const Op *op) {
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    int64_t axis = op_int(op, A_axis), stride[MAX_RANK];
    strides_of(r, stride);
    for (int64_t i = 0; i < r->count; i++) put_number(r, i, (double)(i / stride[axis] % r->dim[axis]));
    return true;
}

bool eval_batch(Eval *e, const Op *op) {
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    int_put(r, 0, e->options->batch);
    return true;
}

/* key: i64, first: i64 -> f32[..]. `first` is the number of a sample: a leading axis of k * B begins at k * first. */
bool eval_uniform(Eval *e, const Op *op) {
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    uint64_t key = (uint64_t)int_at(eval_in(e, op, 0), 0), site = (uint64_t)op_int(op, A_site), begin = 0;
    if (op->n_in == 2) {
        const Type *t = op->out[0]->type;
        uint64_t row = t->dim[0].batch ? (uint64_t)t->dim[0].n : 1;
        for (int i = 1; i < r->rank; i++) row *= (uint64_t)r->dim[i];
        begin = (uint64_t)int_at(eval_in(e, op, 1), 0) * row;
    }
    for (int64_t i = 0; i < r->count; i++) real_put(r, i, random_uniform(key, site, begin + (uint64_t)i));
    return true;
}
