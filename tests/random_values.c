/* random_values.c - random numbers, types and values for random_graph.c: see random_inside.h. */
#include "random_inside.h"

enum { MOST_ELEMENTS = 3000, MOST_ELEMENTS_LARGE = 20000, MOST_EVER = 1 << 22 };

/* ---- random choices ---- */

uint64_t gen_next(Gen *g) { return random_stir(g->state += 0x9e3779b97f4a7c15u); }
int gen_below(Gen *g, int n) { return n > 0 ? (int)((gen_next(g) >> 33) % (uint64_t)n) : 0; }
bool gen_chance(Gen *g, int of) { return gen_below(g, of) == 0; }

Dim gen_dim(Gen *g) {
    static const int sizes[] = {1, 1, 2, 2, 3, 3, 4, 5, 7, 16, 17};
    static const int large[] = {1, 7, 8, 12, 13, 31, 32, 33, 48, 65};
    if (g->o->large) return (Dim){large[gen_below(g, 10)], false};
    if (!g->o->smooth && gen_chance(g, 24)) return (Dim){0, false};
    return (Dim){sizes[gen_below(g, g->o->smooth ? 8 : 11)], false};
}

const Type *gen_type(Gen *g, Elem elem, int least_rank) {
    Dim dims[4];
    int rank = least_rank + gen_below(g, 4 - least_rank);
    for (int i = 0; i < rank; i++) dims[i] = gen_dim(g);
    if (rank && gen_chance(g, 3)) {
        int axis = gen_chance(g, 3) ? gen_below(g, rank) : 0;
        dims[axis] = (Dim){axis == 0 && gen_chance(g, 8) ? 2 : 1, true};
    }
    return type_make(elem, rank, dims);
}

/* Values of more axes are not used again, so that adding one or two never gets beyond MAX_RANK. */
bool gen_small_enough(const Gen *g, const Type *t) {
    return t->rank <= 6 && type_count(t, RANDOM_BATCH_BOUND) <= (g->o->large ? MOST_ELEMENTS_LARGE : MOST_ELEMENTS);
}

bool gen_fits_memory(const Type *t) { return type_count(t, RANDOM_BATCH_BOUND) <= MOST_EVER; }

/* ---- making values ---- */

Value *gen_try_op(Gen *g, OpCode code, int n_in, Value *const *in, int n_attrs, const Attr *attrs, const Type *type) {
    const char *why;
    for (int i = 0; i < n_in; i++)
        if (!in[i]) return NULL;
    return op_try(&g->b, code, n_in, in, n_attrs, attrs, type, &why);
}

Value *gen_unary(Gen *g, OpCode code, Value *x) { return gen_try_op(g, code, 1, &x, 0, NULL, NULL); }
Value *gen_binary(Gen *g, OpCode code, Value *x, Value *y) { return gen_try_op(g, code, 2, (Value *[]){x, y}, 0, NULL, NULL); }
Value *gen_constant(Gen *g, const Type *t, double v) { return g_constant(&g->b, t, v); }

Value *gen_splat(Gen *g, Value *scalar, const Type *t) {
    Attr axes = attr_ints(g->arena, A_axes, NULL, 0);
    return gen_try_op(g, OP_broadcast, 1, &scalar, 1, &axes, t);
}

Value *gen_drawn(Gen *g, const Type *t) {
    Attr site = attr_i(A_site, (int64_t)(gen_next(g) >> 1));
    bool counts = t->rank > 0 && gen_chance(g, 3);
    return gen_try_op(g, OP_uniform, 1 + counts, (Value *[]){g->key, g->first}, 1, &site, type_with_elem(t, F32));
}

static Value *gen_number_literal(Gen *g, const Type *t) {
    int64_t n = type_count(t, 1);
    double *at = arena_make_n(g->arena, double, (size_t)n);
    for (int64_t i = 0; i < n; i++) at[i] = t->elem == BOOL ? gen_below(g, 2) : gen_below(g, 9);
    Attr values = attr_reals(g->arena, A_values, at, n);
    return gen_try_op(g, OP_literal, 0, NULL, 1, &values, t);
}

/* A new value of the type, that depends on no input. */
Value *gen_fresh(Gen *g, const Type *t) {
    if (!type_has_batch(t) && type_count(t, 1) <= 8 && gen_chance(g, 3)) return gen_number_literal(g, t);
    if (t->elem != BOOL && t->rank && gen_chance(g, 4) && !g->o->smooth) {
        Attr axis = attr_i(A_axis, gen_below(g, t->rank));
        return gen_try_op(g, OP_iota, 0, NULL, 1, &axis, t);
    }
    if (gen_chance(g, 4)) return gen_constant(g, t, t->elem == BOOL ? gen_below(g, 2) : gen_below(g, 5));
    Value *u = gen_drawn(g, t);
    if (t->elem == BOOL) return gen_binary(g, OP_lt, u, gen_constant(g, u->type, 0.5));
    bool real = elem_is_float(t->elem);
    return g_convert(&g->b,
                     gen_binary(g, OP_sub, gen_binary(g, OP_mul, u, gen_constant(g, u->type, real ? 3 : 9)),
                                gen_constant(g, u->type, real ? 1.5 : 0)),
                     t->elem);
}

bool gen_is_number(Elem e) { return e != BOOL; }

/* A random value of the pool that pleases, or NULL. */
static Value *gen_from_pool(Gen *g, bool (*pleases)(Elem e), int least_rank) {
    size_t n = g->pool.n, start = (size_t)gen_below(g, (int)n);
    if (gen_chance(g, 2) && n > 8) start = n - 1 - (size_t)gen_below(g, 8); /* rather what was made lately */
    for (size_t i = 0; i < n; i++) {
        Value *v = g->pool.at[(start + i) % n];
        if (pleases(v->type->elem) && v->type->rank >= least_rank && v != g->key && v != g->first) return v;
    }
    return NULL;
}

Value *gen_some(Gen *g, bool (*pleases)(Elem e), int least_rank) {
    Value *v = gen_from_pool(g, pleases, least_rank);
    Elem elem = pleases(F32) ? F32 : pleases(BOOL) ? BOOL : I32;
    for (int tries = 0; !v && tries < 9; tries++) v = gen_fresh(g, gen_type(g, elem, least_rank)); /* not every type is legal */
    return v ? v : gen_constant(g, type_make(elem, 4, (Dim[]){{1, false}, {2, false}, {1, false}, {3, false}}), 1);
}

bool gen_is_bool(Elem e) { return e == BOOL; }
bool gen_is_anything(Elem e) { return (void)e, true; }
bool gen_is_integer(Elem e) { return elem_is_int(e); }

/* A value of just this type: one of the pool, or a new one. */
Value *gen_of_type(Gen *g, const Type *t) {
    size_t n = g->pool.n, start = (size_t)gen_below(g, (int)n);
    for (size_t i = 0; i < n && !gen_chance(g, 16); i++) {
        Value *v = g->pool.at[(start + i) % n];
        if (v->type == t && v != g->key && v != g->first) return v;
    }
    return gen_fresh(g, t);
}

/* ---- keeping numbers moderate, if smooth ---- */

bool gen_differentiable(const Gen *g) { return g->o->differentiable || g->o->grads || g->o->smooth; }

Value *gen_tame(Gen *g, Value *v) {
    if (!v || !g->o->smooth || !elem_is_float(v->type->elem)) return v;
    return gen_unary(g, gen_chance(g, 2) ? OP_tanh : OP_sin, v);
}

/* x^2 + 1/2 */
Value *gen_positive(Gen *g, Value *x) {
    return gen_binary(g, OP_add, gen_binary(g, OP_mul, x, x), gen_constant(g, x->type, 0.5));
}
