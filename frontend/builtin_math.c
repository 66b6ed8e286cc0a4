/*
 * builtin_math.c - functions of one element, and reductions.
 */
#include "elab.h"
#include "ir/math.h"

#include <math.h>

/* ---- element by element ---- */

static double sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }

static double on_number(int code, double x) {
    switch (code) {
    case OP_exp: return exp(x);
    case OP_expm1: return expm1(x);
    case OP_log: return log(x);
    case OP_log1p: return log1p(x);
    case OP_sqrt: return sqrt(x);
    case OP_abs: return fabs(x);
    case OP_sign: return sign(x);
    case OP_floor: return floor(x);
    case OP_ceil: return ceil(x);
    case OP_round: return rint(x);
    case OP_sin: return sin(x);
    case OP_cos: return cos(x);
    case OP_tanh: return tanh(x);
    case OP_sigmoid: return math_sigmoid64(x);
    case OP_erf: return erf(x);
    default: bug("no such function of a number: %d", code);
    }
}

static bool keeps_whole(int code) {
    return code == OP_abs || code == OP_sign || code == OP_floor || code == OP_ceil || code == OP_round;
}

static Val elementwise(Elab *e, const Builtin *b, const Call *c) {
    Val v = c->arg[0];
    if (v.kind == VAL_NUMBER && !v.batch) return val_number(on_number(b->code, v.num));
    if (val_is_number(v)) return val_scalar(emit_unary(e, (OpCode)b->code, number_as(e, v, F64, c->loc)), keeps_whole(b->code));
    Value *x = tensor_of(e, v, c->arg_loc[0]);
    if (!x) return val_error();
    bool any_number = b->code == OP_abs || b->code == OP_sign;
    if (any_number ? x->type->elem == BOOL : !elem_is_float(x->type->elem)) {
        elab_error(e, c->arg_loc[0], 210, "%s is for floats, not %s", b->name, type_name(x->type));
        elab_note(e, (Loc){0}, "f32(...) converts");
        return val_error();
    }
    return val_tensor(emit_unary(e, (OpCode)b->code, x));
}

static Val clip(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Val x = c->arg[0], lo = c->arg[1], hi = c->arg[2];
    Val below = expr_binary(e, OPERATOR_LT, x, lo, c->loc), above = expr_binary(e, OPERATOR_GT, x, hi, c->loc);
    if (below.kind == VAL_BOOL && above.kind == VAL_BOOL) return below.truth ? lo : above.truth ? hi : x;
    Val inner = above.kind == VAL_BOOL ? (above.truth ? hi : x) : expr_select(e, above, hi, x, c->loc);
    return below.kind == VAL_BOOL ? (below.truth ? lo : inner) : expr_select(e, below, lo, inner, c->loc);
}

/* ---- reductions ---- */

static Val reduce_list(Elab *e, const Builtin *b, Val list, Loc at) {
    bool is_max = b->code == OP_reduce_max, is_min = b->code == OP_reduce_min;
    if ((is_max || is_min) && list.list->n == 0) return elab_error(e, at, 218, "%s of an empty list", b->name);
    Val r = is_max || is_min ? list.list->at[0] : val_number(b->code == OP_prod ? 1 : 0);
    for (size_t i = is_max || is_min; i < list.list->n; i++) {
        Val v = list.list->at[i];
        if (!elab_work(e, at, 1)) return val_error();
        if (!val_is_number(v)) {
            elab_error(e, at, 205, "%s of a list is for numbers; it holds %s", b->name, val_text(e, v));
            if (v.kind == VAL_TENSOR) elab_note(e, (Loc){0}, "total(xs) adds tensors, stack(xs) makes one of them");
            return val_error();
        }
        if (is_max || is_min) {
            Val c = number_binary(e, is_max ? OPERATOR_GE : OPERATOR_LE, r, v, at);
            if (c.kind != VAL_BOOL) return elab_error(e, at, 110, "%s of a list is for numbers known when compiled", b->name);
            r = c.truth ? r : v;
        } else
            r = number_binary(e, b->code == OP_prod ? OPERATOR_MUL : OPERATOR_ADD, r, v, at);
        if (r.kind == VAL_ERROR) return r;
    }
    return r;
}

static bool keep_dims(Elab *e, Val v, Loc at, bool *keep) {
    *keep = v.kind == VAL_BOOL && v.truth;
    if (v.kind == VAL_NONE || v.kind == VAL_BOOL) return true;
    elab_error(e, at, 110, "keepdims is true or false, not %s", val_text(e, v));
    return false;
}

static Val reduce_tensor(Elab *e, const Builtin *b, const Call *c, Val axis, Val keepdims) {
    Value *x = tensor_of(e, c->arg[0], c->arg_loc[0]);
    int n;
    int64_t axes[MAX_RANK];
    bool keep;
    if (!x || !axes_of(e, axis, x->type->rank, c->loc, &n, axes) || !keep_dims(e, keepdims, c->loc, &keep)) return val_error();
    Elem elem = x->type->elem;
    bool logical = b->code == OP_any || b->code == OP_all, mean = b->code == -1;
    if (logical != (elem == BOOL)) {
        elab_error(e, c->arg_loc[0], 210, "%s is for %s, not %s", b->name, logical ? "bools" : "numbers", type_name(x->type));
        if (!logical) elab_note(e, (Loc){0}, "f32(...) or i32(...) makes 0 and 1 of bools");
        return val_error();
    }
    if (mean && !elem_is_float(elem)) {
        elab_error(e, c->arg_loc[0], 210, "mean is for floats, not %s", type_name(x->type));
        elab_note(e, (Loc){0}, "f32(...) converts");
        return val_error();
    }
    bool extreme = b->code == OP_reduce_max || b->code == OP_reduce_min;
    for (int i = 0; i < n; i++)
        if (x->type->dim[axes[i]].n == 0 && (extreme || mean))
            return elab_error(e, c->loc, 218, "%s of nothing: axis %" PRId64 " of %s is empty", b->name, axes[i],
                              type_name(x->type));
    if (mean) return val_tensor(n ? mean_over(e, x, n, axes, keep) : x);
    if (elem == U8 && b->code == OP_sum) x = emit_convert(e, x, I32);
    return val_tensor(reduce_keep(e, (OpCode)b->code, x, n, axes, keep));
}

static Val reduction(Elab *e, const Builtin *b, const Call *c) {
    if (c->arg[0].kind == VAL_LIST && b->code != OP_any && b->code != OP_all && b->code != -1)
        return reduce_list(e, b, c->arg[0], c->loc);
    return reduce_tensor(e, b, c, c->arg[1], c->arg[2]);
}

/* max(a, b) of two, max(x, axis=) over axes */
static Val extreme(Elab *e, const Builtin *b, const Call *c) {
    bool is_max = b->code == OP_reduce_max;
    if (!c->given[1]) {
        if (c->arg[0].kind == VAL_LIST) return reduce_list(e, b, c->arg[0], c->loc);
        return reduce_tensor(e, b, c, c->arg[2], c->arg[3]);
    }
    Val x = c->arg[0], y = c->arg[1];
    if (c->given[2] || c->given[3]) return elab_error(e, c->loc, 106, "%s of two values has no axis", b->name);
    OpCode code = is_max ? OP_max : OP_min;
    if (val_is_number(x) && val_is_number(y)) {
        Val first = number_binary(e, is_max ? OPERATOR_GE : OPERATOR_LE, x, y, c->loc);
        if (first.kind == VAL_BOOL) return first.truth ? x : y;
        bool whole = val_always_whole(x) && val_always_whole(y);
        return val_scalar(emit_binary(e, code, number_as(e, x, F64, c->loc), number_as(e, y, F64, c->loc)), whole);
    }
    Value *p, *q;
    if (!expr_pair(e, x, y, c->loc, &p, &q)) return val_error();
    if (p->type->elem == BOOL) return elab_error(e, c->loc, 210, "%s is for numbers, not bools", b->name);
    return val_tensor(emit_binary(e, code, p, q));
}

static Val arg_extreme(Elab *e, const Builtin *b, const Call *c) {
    Value *x = tensor_of(e, c->arg[0], c->arg_loc[0]);
    int64_t axis;
    if (!x || !axis_of(e, c->given[1] ? c->arg[1] : val_number(-1), x->type->rank, c->loc, &axis)) return val_error();
    Attr a = attr_i(A_axis, axis);
    Value *v = emit(e, (OpCode)b->code, 1, &x, 1, &a, NULL);
    return val_tensor(v);
}

const Builtin builtin_math[] = {
    {"exp", "x", elementwise, OP_exp},
    {"log", "x", elementwise, OP_log},
    {"log1p", "x", elementwise, OP_log1p},
    {"expm1", "x", elementwise, OP_expm1},
    {"sqrt", "x", elementwise, OP_sqrt},
    {"abs", "x", elementwise, OP_abs},
    {"sign", "x", elementwise, OP_sign},
    {"floor", "x", elementwise, OP_floor},
    {"ceil", "x", elementwise, OP_ceil},
    {"round", "x", elementwise, OP_round},
    {"sin", "x", elementwise, OP_sin},
    {"cos", "x", elementwise, OP_cos},
    {"tanh", "x", elementwise, OP_tanh},
    {"sigmoid", "x", elementwise, OP_sigmoid},
    {"erf", "x", elementwise, OP_erf},
    {"clip", "x, lo, hi", clip, 0},
    {"max", "x, y=, axis=, keepdims=", extreme, OP_reduce_max},
    {"min", "x, y=, axis=, keepdims=", extreme, OP_reduce_min},
    {"sum", "x, axis=, keepdims=", reduction, OP_sum},
    {"mean", "x, axis=, keepdims=", reduction, -1},
    {"prod", "x, axis=, keepdims=", reduction, OP_prod},
    {"any", "x, axis=, keepdims=", reduction, OP_any},
    {"all", "x, axis=, keepdims=", reduction, OP_all},
    {"argmax", "x, axis=", arg_extreme, OP_argmax},
    {"argmin", "x, axis=", arg_extreme, OP_argmin},
    {0},
};
