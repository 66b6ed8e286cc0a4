/*
 * builtin_random.c - draws. All are made of `uniform`, the one random op: no gradient passes through a draw (L6).
 */
#include "elab.h"

#include <math.h>

static Val uniform(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    int rank;
    Dim dims[MAX_RANK];
    if (!dims_of_list(e, c->arg[0], c->arg_loc[0], &rank, dims)) return val_error();
    return val_tensor(draw_uniform(e, rank, dims, c, 0));
}

/* sqrt(-2 log(1 - u)) cos(2 π v), Box & Muller 1958; 1 - u is never 0 */
static Val normal(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    int rank;
    Dim dims[MAX_RANK];
    if (!dims_of_list(e, c->arg[0], c->arg_loc[0], &rank, dims)) return val_error();
    Value *u = draw_uniform(e, rank, dims, c, 1), *v = draw_uniform(e, rank, dims, c, 2);
    if (!u || !v) return val_error();
    const Type *t = u->type;
    Value *radius = emit_unary(e, OP_log, emit_binary(e, OP_sub, emit_constant(e, t, 1), u));
    radius = emit_unary(e, OP_sqrt, emit_binary(e, OP_mul, emit_constant(e, t, -2), radius));
    Value *angle = emit_binary(e, OP_mul, emit_constant(e, t, 6.283185307179586), v);
    return val_tensor(emit_binary(e, OP_mul, radius, emit_unary(e, OP_cos, angle)));
}

/* 1 with probability p, else 0, of the type of p */
static Val bernoulli(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Value *p = tensor_as(e, c->arg[0], F32, c->arg_loc[0]);
    if (!p) return val_error();
    if (!elem_is_float(p->type->elem))
        return elab_error(e, c->arg_loc[0], 210, "a probability is a float, not %s", type_name(p->type));
    Value *u = emit_convert(e, draw_uniform(e, p->type->rank, p->type->dim, c, 0), p->type->elem);
    return val_tensor(emit_convert(e, emit_binary(e, OP_lt, u, p), p->type->elem));
}

/* argmax of logits + Gumbel noise, -log(-log u) (Gumbel 1954) */
static Val categorical(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Value *x = tensor_of(e, c->arg[0], c->arg_loc[0]);
    if (!x) return val_error();
    if (!elem_is_float(x->type->elem) || x->type->rank == 0)
        return elab_error(e, c->arg_loc[0], 210, "logits are floats along an axis, not %s", type_name(x->type));
    Value *u = emit_convert(e, draw_uniform(e, x->type->rank, x->type->dim, c, 0), x->type->elem);
    Value *noise = emit_unary(e, OP_neg, emit_unary(e, OP_log, emit_unary(e, OP_neg, emit_unary(e, OP_log, u))));
    Value *sum = emit_binary(e, OP_add, emit_unary(e, OP_stop_gradient, x), noise);
    Attr a = attr_i(A_axis, x->type->rank - 1);
    return sum ? val_tensor(emit(e, OP_argmax, 1, &sum, 1, &a, NULL)) : val_error();
}

/* the places of n uniform numbers in rising order */
static Val permutation(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Dim n;
    if (!dim_of_val(c->arg[0], &n))
        return elab_error(e, c->arg_loc[0], 207, "a permutation is of a whole number known when compiled, not of %s",
                          val_text(e, c->arg[0]));
    Value *u = draw_uniform(e, 1, &n, c, 0);
    Attr a = attr_i(A_axis, 0);
    Value *s = u ? emit(e, OP_sort, 1, &u, 1, &a, NULL) : NULL;
    return s ? val_tensor(s->def->out[1]) : val_error();
}

/* floor(u n), below n even where the product rounds up to it */
static Val randint(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    int rank;
    Dim dims[MAX_RANK];
    if (!dims_of_list(e, c->arg[0], c->arg_loc[0], &rank, dims)) return val_error();
    if (!val_is_number(c->arg[1]))
        return elab_error(e, c->arg_loc[1], 205, "randint draws below a number, not below %s", val_text(e, c->arg[1]));
    if (c->arg[1].kind == VAL_NUMBER && !c->arg[1].batch && (c->arg[1].num < 1 || c->arg[1].num != floor(c->arg[1].num)))
        return elab_error(e, c->arg_loc[1], 207, "randint draws below a whole number from 1, not below %g", c->arg[1].num);
    Value *u = draw_uniform(e, rank, dims, c, 0);
    if (!u) return val_error();
    u = emit_convert(e, u, F64);
    Value *n = emit_broadcast(e, number_as(e, c->arg[1], F64, c->arg_loc[1]), rank, dims);
    Value *k = emit_unary(e, OP_floor, emit_binary(e, OP_mul, u, n));
    if (!k) return val_error();
    Value *last = emit_binary(e, OP_sub, n, emit_constant(e, k->type, 1));
    return val_tensor(emit_convert(e, emit_binary(e, OP_min, k, last), I32));
}

const Builtin builtin_random[] = {
    {"uniform", "shape", uniform, 0},
    {"normal", "shape", normal, 0},
    {"bernoulli", "p", bernoulli, 0},
    {"categorical", "logits", categorical, 0},
    {"permutation", "n", permutation, 0},
    {"randint", "shape, n", randint, 0},
    {0},
};

/* ---- gradients and the lists of a model's parameters ---- */

static Val grad(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    return expr_grad(e, c->arg[0], c->arg[1], c->loc);
}

static Val stop_gradient(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    if (val_is_number(c->arg[0])) return c->arg[0];
    return val_tensor(emit_unary(e, OP_stop_gradient, tensor_of(e, c->arg[0], c->arg_loc[0])));
}

/* params(M): all parameters; weights(M): those of rank two and more */
static Val params(Elab *e, const Builtin *b, const Call *c) {
    OwnedList owned = {0};
    if (!owned_collect(e, c->arg[0], false, c->arg_loc[0], &owned)) return val_error();
    Vec(Val) out = {0};
    for (size_t i = 0; i < owned.n; i++)
        if (!owned.at[i]->failed && owned.at[i]->slot->type->rank >= b->code)
            vec_push(e->a, &out, ((Val){.kind = VAL_OWNED, .owned = owned.at[i]}));
    return val_list(e, VAL_LIST, out.n, out.at);
}

const Builtin builtin_other[] = {
    {"grad", "loss, x", grad, 0},
    {"stop_gradient", "x", stop_gradient, 0},
    {"params", "model", params, 0},
    {"weights", "model", params, 2},
    {0},
};
