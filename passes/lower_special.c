/*
 * lower_special.c - ops that write where an index says: take_add, scatter_add, and sort and top_k (lower_sort.c). Each becomes a kernel of its own.
 *
 *   %g = take_add %dy, %i axis 0 : f32[V, D]     for d0 in 0..D by 64 {
 *                                                  for v in 0..V, d in 0..min(64, D - d0) { %g[v, d0 + d] = 0 }
 *                                                  for b in 0..B {
 *                                                    index i = %i[b] ; check i < V
 *                                                    for d in 0..min(64, D - d0) { %g[i, d0 + d] = add(%g[i, d0 + d], %dy[b, d0 +
 * d]) } } }
 *
 * The order of the index operand stays as it is: only the other axes are shared out.
 */
#include "passes/lower.h"

enum { ADD_BLOCK = 64 };

bool op_special(const Lower *l, const Op *op) {
    (void)l;
    if (op->code == OP_scatter_add) {
        Dim d = op->in[1]->type->dim[op_int(op, A_axis)];
        return d.batch || d.n != 1;
    }
    return op->code == OP_take_add || op->code == OP_sort || op->code == OP_top_k;
}

static void add_to(Lower *l, const Home *h, const Affine *const *at, Expr *y) {
    const Affine *where[MAX_RANK + 1];
    home_index(l, h, at, where);
    home_store(l, h, at, low_binary(l, OP_add, expr_load(l->arena, h->buffer, where), y));
}

/* y: [o.., j.., r..], i: [j..] -> [o.., n, r..]; the last axis of r goes in blocks, so that an index is loaded once for many
 * elements. */
static void lower_take_add(Lower *l, const Op *op, const Home *h) {
    const Value *y = op->in[0], *i = op->in[1];
    const Type *t = op->out[0]->type;
    int axis = (int)op_int(op, A_axis), last = t->rank - 1, n_i = i->type->rank;
    const Affine *to[MAX_RANK + 1], *from[MAX_RANK + 1], *block = NULL, *rest = NULL;
    bool blocked = axis < last;
    for (int k = 0; k < t->rank; k++)
        if (k != axis && !(blocked && k == last)) to[k] = low_open_axis(l, k, t->dim[k]);
    if (blocked) {
        block = affine_var(l->arena, low_open(l, "block", low_number(l, 0), low_dim(l, t->dim[last]), ADD_BLOCK));
        rest = affine_add(l->arena, low_dim(l, t->dim[last]), affine_scale(l->arena, block, -1));
    }
    Scope *outer = l->scope;
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 0) to[axis] = low_open_axis(l, axis, t->dim[axis]);
        for (int k = 0; pass && k < n_i; k++) from[axis + k] = low_open_axis(l, axis + 4 + k, i->type->dim[k]);
        if (pass) to[axis] = pull_index(l, i, from + axis, low_dim(l, t->dim[axis]));
        if (blocked) {
            Var *v = low_open(l, low_axis_name(last), low_number(l, 0), low_number(l, ADD_BLOCK), 1);
            stmt_add_limit(l->arena, l->scope->stmt, rest);
            to[last] = affine_add(l->arena, block, affine_var(l->arena, v));
        }
        for (int k = 0; k < axis; k++) from[k] = to[k];
        for (int k = axis + 1; k < t->rank; k++) from[k - 1 + n_i] = to[k];
        if (pass)
            add_to(l, h, to, pull(l, y, from));
        else
            home_store(l, h, to, expr_const(l->arena, t->elem, 0));
        low_close_to(l, outer);
    }
}

/* y, i: [o, m, r] -> [o, n, r] */
static void lower_scatter_add(Lower *l, const Op *op, const Home *h) {
    const Value *y = op->in[0], *i = op->in[1];
    const Type *t = op->out[0]->type;
    int axis = (int)op_int(op, A_axis);
    const Affine *to[MAX_RANK + 1], *from[MAX_RANK + 1];
    for (int k = 0; k < t->rank; k++)
        if (k != axis) to[k] = from[k] = low_open_axis(l, k, t->dim[k]);
    Scope *outer = l->scope;
    to[axis] = low_open_axis(l, axis, t->dim[axis]);
    home_store(l, h, to, expr_const(l->arena, t->elem, 0));
    low_close_to(l, outer);
    from[axis] = low_open_axis(l, axis, i->type->dim[axis]);
    to[axis] = pull_index(l, i, from, low_dim(l, t->dim[axis]));
    add_to(l, h, to, pull(l, y, from));
    low_close_to(l, outer);
}

void lower_special(Lower *l, const Op *op, Home *const *homes) {
    kernel_begin(l, op_info[op->code].name, op->loc);
    Scope *outer = l->scope;
    if (op->code == OP_take_add)
        lower_take_add(l, op, homes[0]);
    else if (op->code == OP_scatter_add)
        lower_scatter_add(l, op, homes[0]);
    else
        lower_sort(l, op, homes);
    low_close_to(l, outer);
    kernel_end(l);
}
