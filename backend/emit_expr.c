/*
 * emit_expr.c - scalar expressions on scalars and on vectors of lanes: what each op of ops.def is in LLVM.
 *
 * Nothing here may change a bit: plain fadd, fmul, fdiv without flags; fma is llvm.fma; max and min are a comparison and a choice (llvm.maximum is another function and
 * slower); float to integer goes through the saturating conversions (out of range is poison otherwise). Integer division looks at its divisor first: by 0 it reports a
 * fault and gives 0, and the most negative number by -1 wraps.
 */
#include "emit.h"

#include <math.h>
#include <string.h>

/* ---- making vectors ---- */

LLVMValueRef emit_splat_value(Emit *e, LLVMValueRef scalar, int lanes) {
    if (lanes == 1) return scalar;
    LLVMTypeRef t = LLVMVectorType(LLVMTypeOf(scalar), (unsigned)lanes);
    if (LLVMIsConstant(scalar)) {
        LLVMValueRef all[1024];
        if (lanes > 1024) bug("a vector of %d lanes", lanes);
        for (int i = 0; i < lanes; i++) all[i] = scalar;
        return LLVMConstVector(all, (unsigned)lanes);
    }
    LLVMValueRef old = emit_fresh(e, scalar, NULL, t);
    if (old) return old;
    LLVMValueRef one = LLVMBuildInsertElement(e->b, LLVMGetPoison(t), scalar, LLVMConstInt(e->i64, 0, 0), "");
    LLVMValueRef all = LLVMConstNull(LLVMVectorType(e->i32, (unsigned)lanes));
    return emit_remember(e, scalar, NULL, t, LLVMBuildShuffleVector(e->b, one, LLVMGetPoison(t), all, ""));
}

Val emit_splat(Emit *e, Val v) { return v.lanes == 1 ? (Val){emit_splat_value(e, v.v, e->lanes), e->lanes} : v; }

/* 0, factor, 2 * factor, ... */
LLVMValueRef emit_iota(Emit *e, LLVMTypeRef t, int lanes, int64_t factor) {
    (void)e;
    LLVMValueRef all[1024];
    if (lanes > 1024) bug("a vector of %d lanes", lanes);
    for (int i = 0; i < lanes; i++) all[i] = LLVMConstInt(t, (uint64_t)(i * factor), 1);
    return LLVMConstVector(all, (unsigned)lanes);
}

static LLVMValueRef constant(LLVMTypeRef t, double value, Elem elem) {
    if (elem_is_float(elem)) return LLVMConstReal(t, value);
    return LLVMConstInt(t, (uint64_t)const_int(value), 1);
}

/* `lanes` times the number; t: the type of one. */
LLVMValueRef emit_all_equal(Emit *e, LLVMTypeRef t, int lanes, double value, Elem elem) {
    return emit_splat_value(e, constant(t, value, elem), lanes);
}

/* Is any lane set? */
LLVMValueRef emit_any(Emit *e, LLVMValueRef mask, int lanes) {
    if (lanes == 1) return mask;
    LLVMTypeRef t = LLVMTypeOf(mask);
    return emit_intrinsic(e, "llvm.vector.reduce.or", 1, &t, 1, &mask);
}

static LLVMTypeRef like(Emit *e, LLVMTypeRef scalar, int lanes) {
    (void)e;
    return emit_vector(scalar, lanes);
}

/* ---- conversions ---- */

static LLVMValueRef not_zero(Emit *e, LLVMValueRef v, Elem from) {
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(v));
    if (elem_is_float(from)) return LLVMBuildFCmp(e->b, LLVMRealUNE, v, zero, "");
    return LLVMBuildICmp(e->b, LLVMIntNE, v, zero, "");
}

static LLVMValueRef float_to_int(Emit *e, LLVMValueRef v, LLVMTypeRef to, bool is_signed) {
    LLVMTypeRef types[2] = {to, LLVMTypeOf(v)};
    return emit_intrinsic(e, is_signed ? "llvm.fptosi.sat" : "llvm.fptoui.sat", 2, types, 1, &v);
}

Val emit_conversion(Emit *e, Val v, Elem from, Elem to) {
    if (from == to) return v;
    LLVMTypeRef t = like(e, emit_elem(e, to), v.lanes);
    LLVMValueRef r;
    if (to == BOOL) {
        r = not_zero(e, v.v, from);
    } else if (elem_is_float(from)) {
        if (elem_is_float(to))
            r = to == F64 ? LLVMBuildFPExt(e->b, v.v, t, "") : LLVMBuildFPTrunc(e->b, v.v, t, "");
        else
            r = float_to_int(e, v.v, t, to != U8);
    } else if (from == U8 || from == BOOL) {
        r = elem_is_float(to) ? LLVMBuildUIToFP(e->b, v.v, t, "") : LLVMBuildZExt(e->b, v.v, t, "");
    } else if (elem_is_float(to)) {
        r = LLVMBuildSIToFP(e->b, v.v, t, "");
    } else {
        r = elem_size(to) < elem_size(from) ? LLVMBuildTrunc(e->b, v.v, t, "") : LLVMBuildSExt(e->b, v.v, t, "");
    }
    return (Val){r, v.lanes};
}

/* ---- ops ---- */

static LLVMValueRef one_arg(Emit *e, const char *name, LLVMValueRef x) {
    LLVMTypeRef t = LLVMTypeOf(x);
    return emit_intrinsic(e, name, 1, &t, 1, &x);
}

/* f64 functions are the C library's, lane by lane. */
static LLVMValueRef library(Emit *e, const char *name, int n, LLVMValueRef *args, int lanes) {
    LLVMTypeRef params[2] = {e->f64, e->f64};
    LLVMValueRef fn = emit_function(e, name, e->f64, n, params);
    LLVMTypeRef type = LLVMGlobalGetValueType(fn);
    if (lanes == 1) return LLVMBuildCall2(e->b, type, fn, args, (unsigned)n, "");
    LLVMValueRef r = LLVMGetPoison(LLVMTypeOf(args[0]));
    for (int l = 0; l < lanes; l++) {
        LLVMValueRef at = LLVMConstInt(e->i32, (unsigned)l, 0), one[2];
        for (int i = 0; i < n; i++) one[i] = LLVMBuildExtractElement(e->b, args[i], at, "");
        r = LLVMBuildInsertElement(e->b, r, LLVMBuildCall2(e->b, type, fn, one, (unsigned)n, ""), at, "");
    }
    return r;
}

/* As math_sigmoid64: the C library has none. */
static LLVMValueRef sigmoid_f64(Emit *e, LLVMValueRef x, int lanes) {
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(x)), one = emit_all_equal(e, emit_elem(e, F64), lanes, 1, F64);
    LLVMValueRef minus_size = LLVMBuildFNeg(e->b, one_arg(e, "llvm.fabs", x), ""), p = library(e, "exp", 1, &minus_size, lanes);
    LLVMValueRef m = LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOLT, x, zero, ""), p, one, "");
    return LLVMBuildFDiv(e->b, m, LLVMBuildFAdd(e->b, one, p, ""), "");
}

static LLVMValueRef function(Emit *e, OpCode op, Elem elem, int n, LLVMValueRef *args, int lanes) {
    if (elem == F32) return emit_math(e, op, args[0], n > 1 ? args[1] : NULL);
    if (op == OP_sigmoid) return sigmoid_f64(e, args[0], lanes);
    return library(e, op_info[op].name, n, args, lanes);
}

static LLVMValueRef absolute(Emit *e, Elem elem, LLVMValueRef x) {
    if (elem_is_float(elem)) return one_arg(e, "llvm.fabs", x);
    if (elem == U8) return x;
    LLVMValueRef negative = LLVMBuildICmp(e->b, LLVMIntSLT, x, LLVMConstNull(LLVMTypeOf(x)), "");
    return LLVMBuildSelect(e->b, negative, LLVMBuildNeg(e->b, x, ""), x, "");
}

/* x > 0 ? 1 : x < 0 ? -1 : x: NaN and both zeros stay */
static LLVMValueRef sign(Emit *e, Elem elem, LLVMValueRef x, int lanes) {
    LLVMTypeRef t = emit_elem(e, elem);
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(x)), one = emit_all_equal(e, t, lanes, 1, elem),
                 minus = emit_all_equal(e, t, lanes, -1, elem);
    if (elem == U8) return LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntNE, x, zero, ""), one, zero, "");
    if (!elem_is_float(elem)) {
        LLVMValueRef below = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, x, zero, ""), minus, zero, "");
        return LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSGT, x, zero, ""), one, below, "");
    }
    LLVMValueRef below = LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOLT, x, zero, ""), minus, x, "");
    return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOGT, x, zero, ""), one, below, "");
}

static LLVMValueRef compare(Emit *e, OpCode op, Elem elem, LLVMValueRef a, LLVMValueRef b) {
    static const struct {
        OpCode op;
        LLVMRealPredicate real;
        LLVMIntPredicate with_sign, without;
    } rows[] = {
        {OP_eq, LLVMRealOEQ, LLVMIntEQ, LLVMIntEQ},   {OP_ne, LLVMRealUNE, LLVMIntNE, LLVMIntNE},
        {OP_lt, LLVMRealOLT, LLVMIntSLT, LLVMIntULT}, {OP_le, LLVMRealOLE, LLVMIntSLE, LLVMIntULE},
        {OP_gt, LLVMRealOGT, LLVMIntSGT, LLVMIntUGT}, {OP_ge, LLVMRealOGE, LLVMIntSGE, LLVMIntUGE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].op != op) continue;
        if (elem_is_float(elem)) return LLVMBuildFCmp(e->b, rows[i].real, a, b, "");
        return LLVMBuildICmp(e->b, elem == U8 || elem == BOOL ? rows[i].without : rows[i].with_sign, a, b, "");
    }
    bug("%s is no comparison", op_info[op].name);
}

/* Reports division by zero in any lane that is there; returns the divisor with 1 in place of 0. */
static LLVMValueRef checked_divisor(Emit *e, const Expr *x, LLVMValueRef b, int lanes, LLVMValueRef *is_zero) {
    (void)x;
    LLVMTypeRef t = LLVMTypeOf(b);
    LLVMValueRef zero = LLVMBuildICmp(e->b, LLVMIntEQ, b, LLVMConstNull(t), ""), bad = zero;
    if (e->mask && lanes > 1) bad = LLVMBuildAnd(e->b, bad, e->mask, "");
    LLVMBasicBlockRef fault = emit_block(e, "divide"), on = emit_block(e, "on");
    LLVMBuildCondBr(e->b, emit_any(e, bad, lanes), fault, on);
    LLVMPositionBuilderAtEnd(e->b, fault);
    emit_fault(e, NN_DIVIDE, e->stmt_loc, emit_i64(e, 0), emit_i64(e, 0));
    LLVMBuildBr(e->b, on);
    LLVMPositionBuilderAtEnd(e->b, on);
    *is_zero = zero;
    return LLVMBuildSelect(e->b, zero, emit_splat_value(e, LLVMConstInt(lanes > 1 ? LLVMGetElementType(t) : t, 1, 0), lanes), b,
                           "");
}

/* Quotient and remainder rounded down; where b is 0 both are 0, and by -1 nothing traps. */
static LLVMValueRef int_divide(Emit *e, const Expr *x, LLVMValueRef a, LLVMValueRef b, int lanes, bool want_mod) {
    LLVMTypeRef t = LLVMTypeOf(a);
    LLVMValueRef zero = LLVMConstNull(t), is_zero, r;
    b = checked_divisor(e, x, b, lanes, &is_zero);
    if (x->elem == U8) {
        r = want_mod ? LLVMBuildURem(e->b, a, b, "") : LLVMBuildUDiv(e->b, a, b, "");
        return LLVMBuildSelect(e->b, is_zero, zero, r, "");
    }
    LLVMValueRef minus = LLVMConstAllOnes(t), is_minus = LLVMBuildICmp(e->b, LLVMIntEQ, b, minus, "");
    LLVMValueRef one = emit_splat_value(e, LLVMConstInt(lanes > 1 ? LLVMGetElementType(t) : t, 1, 0), lanes);
    LLVMValueRef by = LLVMBuildSelect(e->b, is_minus, one, b, "");
    LLVMValueRef q = LLVMBuildSDiv(e->b, a, by, ""), m = LLVMBuildSub(e->b, a, LLVMBuildMul(e->b, q, by, ""), "");
    LLVMValueRef off = LLVMBuildAnd(e->b, LLVMBuildICmp(e->b, LLVMIntNE, m, zero, ""),
                                    LLVMBuildICmp(e->b, LLVMIntSLT, LLVMBuildXor(e->b, m, by, ""), zero, ""), "");
    if (want_mod)
        r = LLVMBuildSelect(e->b, off, LLVMBuildAdd(e->b, m, by, ""), m, "");
    else
        r = LLVMBuildSelect(e->b, is_minus, LLVMBuildNeg(e->b, a, ""),
                            LLVMBuildSelect(e->b, off, LLVMBuildSub(e->b, q, one, ""), q, ""), "");
    return LLVMBuildSelect(e->b, is_zero, zero, r, "");
}

/* a - b q, rounded once: without the instruction by the C library, as ir/math.c does */
static LLVMValueRef what_is_left(Emit *e, LLVMValueRef a, LLVMValueRef b, LLVMValueRef q) {
    LLVMTypeRef t = LLVMTypeOf(a);
    LLVMValueRef args[3] = {LLVMBuildFNeg(e->b, q, ""), b, a};
    return emit_intrinsic(e, "llvm.fma", 1, &t, 3, args);
}

/* Is x, which is not 0, on the other side of 0 than b? */
static LLVMValueRef other_side(Emit *e, LLVMValueRef x, LLVMValueRef b) {
    LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(x));
    return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOGT, b, zero, ""), LLVMBuildFCmp(e->b, LLVMRealOLT, x, zero, ""),
                           LLVMBuildFCmp(e->b, LLVMRealOGT, x, zero, ""), "");
}

/* The remainder by the C library's fmod, which is exact whatever the quotient. */
static LLVMValueRef slow_mod(Emit *e, Elem elem, LLVMValueRef a, LLVMValueRef b, int lanes) {
    LLVMTypeRef t = LLVMTypeOf(a), wide = emit_vector(e->f64, lanes);
    LLVMValueRef args[2] = {a, b};
    if (elem == F32)
        for (int i = 0; i < 2; i++) args[i] = LLVMBuildFPExt(e->b, args[i], wide, "");
    LLVMValueRef m = library(e, "fmod", 2, args, lanes);
    m = LLVMBuildSelect(e->b, other_side(e, m, args[1]), LLVMBuildFAdd(e->b, m, args[1], ""), m, "");
    return elem == F32 ? LLVMBuildFPTrunc(e->b, m, t, "") : m;
}

/* math_floor_div and math_mod of ir/math.c, step by step; a lane with a quotient too long for its type sends all to slow_mod. */
static LLVMValueRef float_divide(Emit *e, Elem elem, LLVMValueRef a, LLVMValueRef b, int lanes, bool want_mod) {
    LLVMTypeRef one_lane = emit_elem(e, elem);
    LLVMValueRef one = emit_all_equal(e, one_lane, lanes, 1, elem);
    LLVMValueRef limit = emit_all_equal(e, one_lane, lanes, elem == F32 ? 0x1p24 : 0x1p53, elem);
    LLVMValueRef q = one_arg(e, "llvm.floor", LLVMBuildFDiv(e->b, a, b, "")), r = what_is_left(e, a, b, q);
    LLVMValueRef less = LLVMBuildFSub(e->b, q, one, ""), off = other_side(e, r, b);
    if (!want_mod) return LLVMBuildSelect(e->b, off, less, q, "");
    LLVMValueRef fast = LLVMBuildSelect(e->b, off, what_is_left(e, a, b, less), r, "");
    LLVMValueRef big = LLVMBuildFCmp(e->b, LLVMRealUGE, one_arg(e, "llvm.fabs", q), limit, "");
    LLVMBasicBlockRef from = LLVMGetInsertBlock(e->b), slow = emit_block(e, "long_quotient"), on = emit_block(e, "on");
    LLVMBuildCondBr(e->b, emit_any(e, big, lanes), slow, on);
    LLVMPositionBuilderAtEnd(e->b, slow);
    LLVMValueRef exact = LLVMBuildSelect(e->b, big, slow_mod(e, elem, a, b, lanes), fast, "");
    LLVMBuildBr(e->b, on);
    LLVMPositionBuilderAtEnd(e->b, on);
    LLVMValueRef result = LLVMBuildPhi(e->b, LLVMTypeOf(a), "");
    LLVMAddIncoming(result, (LLVMValueRef[]){fast, exact}, (LLVMBasicBlockRef[]){from, slow}, 2);
    return result;
}

static LLVMValueRef divide_down(Emit *e, const Expr *x, LLVMValueRef a, LLVMValueRef b, int lanes, bool want_mod) {
    if (elem_is_float(x->elem)) return float_divide(e, x->elem, a, b, lanes, want_mod);
    return int_divide(e, x, a, b, lanes, want_mod);
}

static LLVMValueRef choose(Emit *e, OpCode op, Elem elem, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildSelect(e->b, compare(e, op == OP_max ? OP_ge : OP_le, elem, a, b), a, b, "");
}

/* An index that is chosen: LLVM would make a branch of it, as what is loaded there waits for it; but which one depends on data (sorting), and nobody can foretell it. */
static LLVMValueRef chosen(Emit *e, Elem elem, LLVMValueRef *a) {
    LLVMValueRef v = LLVMBuildSelect(e->b, a[0], a[1], a[2], "");
    if (elem == I64 && LLVMIsASelectInst(v)) {
        LLVMMetadataRef none = LLVMMDNodeInContext2(e->ctx, NULL, 0);
        LLVMSetMetadata(v, LLVMGetMDKindIDInContext(e->ctx, "unpredictable", 13), LLVMMetadataAsValue(e->ctx, none));
    }
    return v;
}

static LLVMValueRef arithmetic(Emit *e, OpCode op, bool real, LLVMValueRef a, LLVMValueRef b) {
    if (op == OP_add) return real ? LLVMBuildFAdd(e->b, a, b, "") : LLVMBuildAdd(e->b, a, b, "");
    if (op == OP_sub) return real ? LLVMBuildFSub(e->b, a, b, "") : LLVMBuildSub(e->b, a, b, "");
    return real ? LLVMBuildFMul(e->b, a, b, "") : LLVMBuildMul(e->b, a, b, "");
}

/* a: operands of `lanes` lanes each; from: the element type of the (first, for select second) operand. */
static LLVMValueRef apply(Emit *e, const Expr *x, OpCode op, Elem from, LLVMValueRef *a, int lanes) {
    bool real = elem_is_float(from);
    LLVMTypeRef t = LLVMTypeOf(a[0]);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored                                                                                                   \
    "-Wswitch-enum" /* only the elementwise rows of ops.def can stand here; the bug() below names any other */
    switch (op) {
    case OP_neg: return real ? LLVMBuildFNeg(e->b, a[0], "") : LLVMBuildNeg(e->b, a[0], "");
    case OP_abs: return absolute(e, from, a[0]);
    case OP_sign: return sign(e, from, a[0], lanes);
    case OP_exp:
    case OP_expm1:
    case OP_log:
    case OP_log1p:
    case OP_sin:
    case OP_cos:
    case OP_tanh:
    case OP_sigmoid:
    case OP_erf: return function(e, op, from, 1, a, lanes);
    case OP_pow: return function(e, op, from, 2, a, lanes);
    case OP_sqrt: return one_arg(e, "llvm.sqrt", a[0]);
    case OP_floor: return one_arg(e, "llvm.floor", a[0]);
    case OP_ceil: return one_arg(e, "llvm.ceil", a[0]);
    case OP_round: return one_arg(e, "llvm.roundeven", a[0]);
    case OP_not: return LLVMBuildNot(e->b, a[0], "");
    case OP_convert: return emit_conversion(e, (Val){a[0], lanes}, from, x->elem).v;
    case OP_stop_gradient: return a[0];
    case OP_add:
    case OP_sub:
    case OP_mul: return arithmetic(e, op, real, a[0], a[1]);
    case OP_div: return LLVMBuildFDiv(e->b, a[0], a[1], "");
    case OP_floor_div: return divide_down(e, x, a[0], a[1], lanes, false);
    case OP_mod: return divide_down(e, x, a[0], a[1], lanes, true);
    case OP_max:
    case OP_min: return choose(e, op, from, a[0], a[1]);
    case OP_eq:
    case OP_ne:
    case OP_lt:
    case OP_le:
    case OP_gt:
    case OP_ge: return compare(e, op, from, a[0], a[1]);
    case OP_and: return LLVMBuildAnd(e->b, a[0], a[1], "");
    case OP_or: return LLVMBuildOr(e->b, a[0], a[1], "");
    case OP_fma:
        if (!e->target->fma) return LLVMBuildFAdd(e->b, LLVMBuildFMul(e->b, a[0], a[1], ""), a[2], "");
        return emit_intrinsic(e, "llvm.fma", 1, &t, 3, a);
    case OP_select: return chosen(e, x->elem, a);
    case OP_mix: return emit_mix(e, a[0], emit_conversion(e, (Val){a[1], lanes}, x->args[1]->elem, I64).v);
    default: bug("the backend has no code for op %s", op_info[op].name);
    }
#pragma GCC diagnostic pop
}

static Val op_value(Emit *e, const Expr *x) {
    LLVMValueRef a[3];
    Val v[3];
    int lanes = 1;
    if (x->n_args < 1 || x->n_args > 3) bug("op %s with %d operands in an expression", op_info[x->op].name, x->n_args);
    for (int i = 0; i < x->n_args; i++) {
        v[i] = emit_expr(e, x->args[i]);
        if (v[i].lanes > lanes) lanes = v[i].lanes;
    }
    for (int i = 0; i < x->n_args; i++) a[i] = lanes > 1 ? emit_splat(e, v[i]).v : v[i].v;
    return (Val){apply(e, x, x->op, x->args[0]->elem, a, lanes), lanes};
}

/* ---- tree(op, acc) ---- */

static LLVMValueRef combine(Emit *e, const Expr *x, LLVMValueRef a, LLVMValueRef b, int lanes) {
    LLVMValueRef two[2] = {a, b};
    return apply(e, x, x->op, x->temp->elem, two, lanes);
}

/* One vector: halves are added until one is left. */
static Val tree_of_vector(Emit *e, const Expr *x, LLVMValueRef v, int lanes) {
    for (int half = lanes / 2; half >= 1; half /= 2) {
        LLVMValueRef lo[SUM_LANES], hi[SUM_LANES];
        for (int i = 0; i < half; i++) {
            lo[i] = LLVMConstInt(e->i32, (unsigned)i, 0);
            hi[i] = LLVMConstInt(e->i32, (unsigned)(i + half), 0);
        }
        if (half == 1) {
            v = combine(e, x, LLVMBuildExtractElement(e->b, v, lo[0], ""), LLVMBuildExtractElement(e->b, v, hi[0], ""), 1);
            break;
        }
        LLVMValueRef none = LLVMGetPoison(LLVMTypeOf(v));
        LLVMValueRef a = LLVMBuildShuffleVector(e->b, v, none, LLVMConstVector(lo, (unsigned)half), "");
        LLVMValueRef b = LLVMBuildShuffleVector(e->b, v, none, LLVMConstVector(hi, (unsigned)half), "");
        v = combine(e, x, a, b, half);
    }
    return (Val){v, 1};
}

static Val tree(Emit *e, const Expr *x) {
    const Cell *c = &e->cell[x->temp->id];
    if (!c->set || !c->memory) bug("tree of %s, which is no accumulator", x->temp->name);
    LLVMTypeRef t = emit_memory_elem(e, x->temp->elem);
    bool truth = x->temp->elem == BOOL;
    /* pieces as the accumulator lies in registers: vectors of its width, or elements of c->lanes lanes */
    int lanes = c->lanes, n = SUM_LANES;
    if (lanes == 1) {
        lanes = c->width < SUM_LANES ? c->width : SUM_LANES;
        n = SUM_LANES / lanes;
    }
    LLVMValueRef part[SUM_LANES];
    for (int i = 0; i < n; i++) {
        LLVMValueRef p = emit_bytes_on(e, c->memory, (int64_t)i * lanes * elem_size(x->temp->elem));
        part[i] = LLVMBuildLoad2(e->b, emit_vector(t, lanes), p, "");
        LLVMSetAlignment(part[i], (unsigned)elem_size(x->temp->elem));
        if (truth) part[i] = LLVMBuildICmp(e->b, LLVMIntNE, part[i], LLVMConstNull(LLVMTypeOf(part[i])), "");
    }
    for (int half = n / 2; half >= 1; half /= 2)
        for (int i = 0; i < half; i++) part[i] = combine(e, x, part[i], part[i + half], lanes);
    if (c->lanes == 1) return tree_of_vector(e, x, part[0], lanes);
    return (Val){part[0], lanes};
}

/* ---- all expressions ---- */

Val emit_expr(Emit *e, const Expr *x) {
    switch (x->kind) {
    case EXPR_CONST: return (Val){constant(emit_elem(e, x->elem), x->value, x->elem), 1};
    case EXPR_LOAD: return emit_load(e, x);
    case EXPR_TEMP:
        if (x->temp->acc) return emit_acc_load(e, x);
        if (!e->cell[x->temp->id].set) bug("%s is used before it is made", x->temp->name);
        return e->cell[x->temp->id].let;
    case EXPR_INDEX: return emit_conversion(e, emit_affine(e, x->index[0]), I64, x->elem);
    case EXPR_OP: return op_value(e, x);
    case EXPR_UNIFORM: return emit_uniform(e, x);
    case EXPR_TREE: return tree(e, x);
    }
    bug("an expression of kind %d", (int)x->kind);
}
