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

bool op_special(const Op *op) {
    return (op->code == OP_scatter_add && !op_scatters_one(op)) || op->code == OP_take_add || op->code == OP_sort ||
           op->code == OP_top_k;
}

static void add_to(Lower *l, const Home *h, const Affine *const *at, Expr *y) {
    const Affine *where[MAX_RANK + 1];
    home_index(l, h, at, where);
    home_store(l, h, at, low_binary(l, OP_add, expr_load(l->arena, h->buffer, where), y));
}

/* take_add     y: [o.., j.., r..], i: [j..]         -> [o.., n, r..]
 * scatter_add  y: [o.., j, r..],   i: [o.., j, r..] -> [o.., n, r..], and x before: if it lies there already, only what is added to is touched
 * The last axis of r goes in blocks, so that an index that is the same for many elements is loaded once for them. */
static void lower_added(Lower *l, const Op *op, const Home *h) {
    bool scatter = op->code == OP_scatter_add;
    const Value *x = scatter ? op->in[0] : NULL, *y = op->in[scatter], *i = op->in[scatter + 1];
    const Type *t = op->out[0]->type;
    int axis = (int)op_int(op, A_axis), last = t->rank - 1, n_i = scatter ? 1 : i->type->rank;
    const Affine *to[MAX_RANK + 1], *from[MAX_RANK + 1], *block = NULL, *rest = NULL;
    bool blocked = axis < last;
    for (int k = 0; k < t->rank; k++)
        if (k != axis && !(blocked && k == last)) to[k] = low_open_axis(l, k, t->dim[k]);
    if (blocked) {
        block = affine_var(l->arena, low_open(l, "block", low_number(l, 0), low_dim(l, t->dim[last]), ADD_BLOCK));
        rest = affine_add(l->arena, low_dim(l, t->dim[last]), affine_scale(l->arena, block, -1));
    }
    Scope *outer = l->scope;
    for (int pass = x && !h->also && home_has(l, x, h); pass < 2; pass++) {
        if (pass == 0) to[axis] = low_open_axis(l, axis, t->dim[axis]);
        for (int k = 0; pass && k < n_i; k++) from[axis + k] = low_open_axis(l, axis + 4 + k, i->type->dim[scatter ? axis : k]);
        if (blocked) {
            Var *v = low_open(l, low_axis_name(last), low_number(l, 0), low_number(l, ADD_BLOCK), 1);
            stmt_add_limit(l->arena, l->scope->stmt, rest);
            to[last] = affine_add(l->arena, block, affine_var(l->arena, v));
        }
        for (int k = 0; k < axis; k++) from[k] = to[k];
        for (int k = axis + 1; k < t->rank; k++) from[k - 1 + n_i] = to[k];
        if (pass) to[axis] = pull_index(l, i, scatter ? from : from + axis, low_dim(l, t->dim[axis]));
        if (pass)
            add_to(l, h, to, pull(l, y, from));
        else
            home_store(l, h, to, x ? pull(l, x, to) : expr_const(l->arena, t->elem, 0));
        low_close_to(l, outer);
    }
}

void lower_special(Lower *l, const Op *op, Home *const *homes) {
    kernel_begin(l, op_info[op->code].name, op->loc);
    Scope *outer = l->scope;
    if (op->code == OP_take_add || op->code == OP_scatter_add)
        lower_added(l, op, homes[0]);
    else
        lower_sort(l, op, homes);
    low_close_to(l, outer);
    kernel_end(l);
}
