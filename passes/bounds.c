/*
 * bounds.c - bounds of values, by what made them: sqrt(x^2 + eps) >= sqrt(eps), the number of samples >= 1, x - max x <= 0, sum
 * of exp(x - max x) >= 1. Rounding is monotone, so that a bound that a float can hold survives it. Followed a few ops deep: what
 * cannot be seen then is unknown.
 */
#include "bounds.h"

#include <math.h>

enum { DEEP = 16 };

/* What made v, behind ops that only repeat, move or convert it. */
static const Value *behind(const Value *v) {
    while (v->def && (v->def->code == OP_broadcast || v->def->code == OP_reshape || v->def->code == OP_stop_gradient))
        v = v->def->in[0];
    return v;
}

/* Is v the maximum of x over some axes, put back beside it? Then x - v <= 0, and 0 somewhere along these axes. */
static bool is_maximum_of(const Value *v, const Value *x, const Op **max) {
    v = behind(v);
    *max = v->def;
    return v->def && v->def->code == OP_reduce_max && v->def->in[0] == x;
}

static bool is_shifted(const Value *v, const Op **max) {
    return v->def && v->def->code == OP_sub && is_maximum_of(v->def->in[1], v->def->in[0], max);
}

static bool same_axes(const Op *a, const Op *b) {
    const int64_t *x, *y;
    int64_t n = op_ints(a, A_axes, &x), m = op_ints(b, A_axes, &y);
    for (int64_t i = 0; i < n && n == m; i++)
        if (x[i] != y[i]) return false;
    return n == m;
}

static double at_least(const Value *v, int deep);

static double at_least_sum(const Op *op, int deep) {
    const Op *max, *e = op->in[0]->def;
    if (e && e->code == OP_exp && is_shifted(e->in[0], &max) && same_axes(op, max)) return 1; /* e^0 is one of the terms */
    return at_least(op->in[0], deep) >= 0 ? 0 : -INFINITY;
}

static double at_least_product(const Op *op, int deep) {
    if (op->in[0] == op->in[1]) return 0;
    double a = at_least(op->in[0], deep), b = at_least(op->in[1], deep);
    return a >= 0 && b >= 0 ? a * b : -INFINITY;
}

static double at_least_quotient(const Op *op, int deep) {
    double a = at_least(op->in[0], deep), b = at_least(op->in[1], deep);
    return a >= 0 && b > 0 ? (value_at_most(op->in[1]) < INFINITY ? a / value_at_most(op->in[1]) : 0) : -INFINITY;
}

static double at_least(const Value *v, int deep) {
    v = behind(v);
    const Op *op = v->def;
    if (!op || deep == 0) return -INFINITY;
    deep--;
    switch ((int)op->code) {
    case OP_constant: return op_real(op, A_value);
    case OP_batch: return 1;
    case OP_convert: return elem_is_float(v->type->elem) ? at_least(op->in[0], deep) : -INFINITY;
    case OP_abs: return elem_is_float(v->type->elem) ? 0 : -INFINITY;
    case OP_exp:
    case OP_sigmoid: return 0;
    case OP_sqrt: return sqrt(fmax(at_least(op->in[0], deep), 0));
    case OP_add: return elem_is_float(v->type->elem) ? at_least(op->in[0], deep) + at_least(op->in[1], deep) : -INFINITY;
    case OP_max: return fmax(at_least(op->in[0], deep), at_least(op->in[1], deep));
    case OP_min: return fmin(at_least(op->in[0], deep), at_least(op->in[1], deep));
    case OP_select: return fmin(at_least(op->in[1], deep), at_least(op->in[2], deep));
    case OP_mul: return elem_is_float(v->type->elem) ? at_least_product(op, deep) : -INFINITY;
    case OP_div: return at_least_quotient(op, deep);
    case OP_sum: return elem_is_float(v->type->elem) ? at_least_sum(op, deep) : -INFINITY;
    case OP_tanh:
    case OP_erf:
    case OP_sin:
    case OP_cos: return -1;
    default: return -INFINITY;
    }
}

double value_at_least(const Value *v) { return at_least(v, DEEP); }

/* x and -x: the smaller of the two is not above 0. */
static bool are_opposite(const Value *x, const Value *y) {
    return (x->def && x->def->code == OP_neg && x->def->in[0] == y) || (y->def && y->def->code == OP_neg && y->def->in[0] == x);
}

double value_at_most(const Value *v) {
    const Op *max;
    v = behind(v);
    double k = INFINITY;
    if (!v->def) return INFINITY;
    if (v->def->code == OP_constant) k = op_real(v->def, A_value);
    if (is_shifted(v, &max)) k = 0;
    if (v->def->code == OP_min && are_opposite(v->def->in[0], v->def->in[1])) k = 0;
    return isnan(k) ? INFINITY : k;
}
