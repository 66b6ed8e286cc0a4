/*
 * lower_extreme.c - greatest and least elements and their places.
 *
 *   %m = reduce_max %x axes [0]             acc best: f32 = -inf
 *                                           for i in 0..B {
 *                                             let v: f32 = %x[i, j]
 *                                             let better: bool = or(gt(v, best), and(ne(v, v), eq(best, best)))
 *                                             best = select(better, v, best)
 *                                           }
 *
 * Along the last axis that chain is one element after the other, and its lanes would be gathered. A long one is looked for in 16 lanes first, which leave NaN out but keep
 * one if there is any. What they find is the result bit for bit, whatever the order, unless it is a zero (which of both signs came first?) or there was a NaN (which
 * one?): only then does the chain run.
 *
 *   %m = reduce_max %x axes [1]             acc best: f32[16] = -inf ; acc nan: f32[16] = 0
 *                                           for j in 0..1000 by 16, l in j..min(1000, j + 16) {
 *                                             let v: f32 = %x[i, l]
 *                                             best[l - j] = select(gt(v, best[l - j]), v, best[l - j])
 *                                             nan[l - j] = select(ne(v, v), v, nan[l - j])
 *                                           }
 *                                           let best.1: f32 = tree(max, best) ; let nan.1: f32 = tree(add, nan)
 *                                           let unsure: bool = or(eq(best.1, 0), ne(nan.1, nan.1))
 *                                           index again = select(unsure, i64(1000), 0)
 *                                           acc best.2: f32 = select(unsure, -inf, best.1)
 *                                           for j in 0..min(1000, again) { .. the chain .. }
 */
#include "passes/lower.h"

#include <math.h>

enum { LONG_ROW = 2 * SUM_LANES }; /* elements up to which a row is left to the chain */

double low_least(Elem e) { return elem_is_float(e) ? -INFINITY : e == I32 ? -0x1p31 : e == I64 ? -0x1p63 : 0; }
static double greatest(Elem e) { return elem_is_float(e) ? INFINITY : e == I32 ? 0x1p31 - 1 : e == I64 ? 0x1p63 : 255; }

/* Does v, which comes later, take the place of best? NaN once taken stays. */
Expr *low_beats(Lower *l, bool largest, Temp *v, Temp *best) {
    Expr *better = low_binary(l, largest ? OP_gt : OP_lt, low_temp(l, v), low_temp(l, best));
    if (!elem_is_float(v->elem)) return better;
    Expr *nan = low_binary(l, OP_ne, low_temp(l, v), low_temp(l, v));
    Expr *was = low_binary(l, OP_eq, low_temp(l, best), low_temp(l, best));
    Expr *both[2] = {nan, was};
    Expr *either[2] = {better, expr_op(l->arena, OP_and, BOOL, 2, both)};
    return expr_op(l->arena, OP_or, BOOL, 2, either);
}

static Expr *choose(Lower *l, Expr *cond, Expr *x, Expr *y) {
    Expr *args[3] = {cond, x, y};
    return expr_op(l->arena, OP_select, x->elem, 3, args);
}

Expr *low_choose(Lower *l, Temp *cond, Expr *x, Expr *y) { return choose(l, low_temp(l, cond), x, y); }

/* An extreme on its way to a result. */
typedef struct Extreme {
    const Op *op;
    const Value *x;
    const Affine *const *index; /* of the result */
    bool largest;
    double start; /* nothing is below (above) it */
} Extreme;

static bool is_reduced(const Op *op, int axis) {
    if (op->code == OP_argmax || op->code == OP_argmin) return op_int(op, A_axis) == axis;
    const int64_t *at;
    int64_t n = op_ints(op, A_axes, &at);
    for (int64_t k = 0; k < n; k++)
        if (at[k] == axis) return true;
    return false;
}

/* Opens loops over the reduced axes, over the last one of the operand if `last`, and fills in the operand's index. Returns the outermost loop, or NULL. */
static Stmt *open_axes(Lower *l, const Extreme *x, bool last, const Affine **at) {
    Stmt *outermost = NULL;
    int rank = x->x->type->rank;
    for (int i = 0, kept = 0; i < rank; i++) {
        if (!is_reduced(x->op, i)) {
            at[i] = x->index[kept++];
        } else if (last || i < rank - 1) {
            at[i] = affine_var(l->arena, low_open_dim(l, low_axis_name(i), x->x->type->dim[i]));
            if (!outermost) outermost = l->scope->stmt;
        }
    }
    return outermost;
}

/* Element after element. best starts as something that nothing is below, so the first element is taken or equal to it; `where` starts at the first place.
 * turns: how often the outermost loop turns at most; NULL: as often as there are elements. */
static Expr *chain(Lower *l, const Extreme *x, Expr *start, const Affine *turns) {
    bool place = x->op->code == OP_argmax || x->op->code == OP_argmin;
    const Affine *at[MAX_RANK + 1];
    Temp *best = low_acc(l, "best", x->x->type->elem, 0, start);
    Temp *where = place ? low_acc(l, "where", I32, 0, expr_const(l->arena, I32, 0)) : NULL;
    Scope *here = l->scope;
    Stmt *outermost = open_axes(l, x, true, at);
    if (turns) stmt_add_limit(l->arena, outermost, turns);
    Temp *v = low_let(l, "v", pull(l, x->x, at));
    Temp *better = low_let(l, "better", low_beats(l, x->largest, v, best));
    if (where) low_set(l, where, low_choose(l, better, expr_index(l->arena, I32, at[op_int(x->op, A_axis)]), low_temp(l, where)));
    low_set(l, best, low_choose(l, better, low_temp(l, v), low_temp(l, best)));
    low_close_to(l, here);
    return low_temp(l, where ? where : best);
}

/* The best of each of 16 lanes, in `best`; and (nan not NULL) a NaN of each lane that has one. */
static void search_lanes(Lower *l, const Extreme *x, Temp *best, Temp *nan) {
    const Affine *at[MAX_RANK + 1];
    int last = x->x->type->rank - 1;
    const Affine *size = low_dim(l, x->x->type->dim[last]);
    Scope *here = l->scope;
    open_axes(l, x, false, at);
    Var *block = low_open(l, low_axis_name(last), low_number(l, 0), size, SUM_LANES);
    const Affine *first = affine_var(l->arena, block);
    at[last] = affine_var(l->arena, low_open(l, "l", first, size, 1));
    stmt_add_limit(l->arena, l->scope->stmt, affine_add_constant(l->arena, first, SUM_LANES));
    const Affine *lane = affine_add(l->arena, at[last], affine_scale(l->arena, first, -1));
    Temp *v = low_let(l, "v", pull(l, x->x, at));
    Expr *better = low_binary(l, x->largest ? OP_gt : OP_lt, low_temp(l, v), expr_temp(l->arena, best, &lane));
    low_emit(l, stmt_assign(l->arena, best, &lane, choose(l, better, low_temp(l, v), expr_temp(l->arena, best, &lane))));
    if (nan) {
        Expr *is_nan = low_binary(l, OP_ne, low_temp(l, v), low_temp(l, v));
        low_emit(l, stmt_assign(l->arena, nan, &lane, choose(l, is_nan, low_temp(l, v), expr_temp(l->arena, nan, &lane))));
    }
    low_close_to(l, here);
}

static Expr *in_lanes(Lower *l, const Extreme *x) {
    Elem elem = x->x->type->elem;
    Temp *best = low_acc(l, "best", elem, SUM_LANES, expr_const(l->arena, elem, x->start));
    Temp *nan = elem_is_float(elem) ? low_acc(l, "nan", elem, SUM_LANES, expr_const(l->arena, elem, 0)) : NULL;
    search_lanes(l, x, best, nan);
    Temp *found = low_let(l, "best", expr_tree(l->arena, x->largest ? OP_max : OP_min, best));
    if (!nan) return low_temp(l, found);
    Temp *any = low_let(l, "nan", expr_tree(l->arena, OP_add, nan));
    Expr *doubts[2] = {low_binary(l, OP_eq, low_temp(l, found), expr_const(l->arena, elem, 0)),
                       low_binary(l, OP_ne, low_temp(l, any), low_temp(l, any))};
    Temp *unsure = low_let(l, "unsure", expr_op(l->arena, OP_or, BOOL, 2, doubts));
    int outermost = 0;
    while (!is_reduced(x->op, outermost)) outermost++;
    const Affine *size = low_dim(l, x->x->type->dim[outermost]);
    int64_t lo, hi;
    low_range(l, size, &lo, &hi);
    const Affine *again =
        low_index_value(l, "again", low_choose(l, unsure, low_i64(l, size), low_i64(l, low_number(l, 0))), 0, hi);
    return chain(l, x, low_choose(l, unsure, expr_const(l->arena, elem, x->start), low_temp(l, found)), again);
}

Expr *pull_extreme(Lower *l, const Op *op, const Affine *const *index) {
    const Type *t = op->in[0]->type;
    bool largest = op->code == OP_reduce_max || op->code == OP_argmax, place = op->code == OP_argmax || op->code == OP_argmin;
    Extreme x = {op, op->in[0], index, largest, largest ? low_least(t->elem) : greatest(t->elem)};
    if (!place && t->rank && is_reduced(op, t->rank - 1) && t->elem != BOOL &&
        dim_size(t->dim[t->rank - 1], l->step->batch_bound) > LONG_ROW)
        return in_lanes(l, &x);
    return chain(l, &x, expr_const(l->arena, t->elem, x.start), NULL);
}
