/*
 * random_graph.c - see random_graph.h.
 *
 * A pool of values grows; a step draws an op and operands from the pool, making new ones where nothing fits. op_try turns down what the op's rule does not allow, so
 * the makers below need to be right only most of the time: a step may well add nothing.
 */
#include "random_graph.h"

#include "ir/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Gen {
    const RandomOptions *o;
    Arena *arena;
    Builder b;
    uint64_t state;
    Values pool;
    Value *key, *first;
    int depth; /* blocks around */
    int outputs;
} Gen;

enum { MOST_ELEMENTS = 3000, MOST_DEPTH = 2 };

/* ---- random choices ---- */

static uint64_t next(Gen *g) { return random_stir(g->state += 0x9e3779b97f4a7c15u); }
static int below(Gen *g, int n) { return n > 0 ? (int)((next(g) >> 33) % (uint64_t)n) : 0; }
static bool chance(Gen *g, int of) { return below(g, of) == 0; }

static Dim random_dim(Gen *g) {
    static const int sizes[] = {1, 1, 2, 2, 3, 3, 4, 5, 7, 16, 17};
    if (!g->o->smooth && chance(g, 24)) return (Dim){0, false};
    return (Dim){sizes[below(g, g->o->smooth ? 8 : 11)], false};
}

static const Type *random_type(Gen *g, Elem elem, int least_rank) {
    Dim dims[4];
    int rank = least_rank + below(g, 4 - least_rank);
    for (int i = 0; i < rank; i++) dims[i] = random_dim(g);
    if (rank && chance(g, 3)) {
        int axis = chance(g, 3) ? below(g, rank) : 0;
        dims[axis] = (Dim){axis == 0 && chance(g, 8) ? 2 : 1, true};
    }
    return type_make(elem, rank, dims);
}

/* Values of more axes are not used again, so that adding one or two never gets beyond MAX_RANK. */
static bool small_enough(const Type *t) { return t->rank <= 6 && type_count(t, RANDOM_BATCH_BOUND) <= MOST_ELEMENTS; }

/* ---- making values ---- */

static Value *try_op(Gen *g, OpCode code, int n_in, Value *const *in, int n_attrs, const Attr *attrs, const Type *type) {
    const char *why;
    for (int i = 0; i < n_in; i++)
        if (!in[i]) return NULL;
    return op_try(&g->b, code, n_in, in, n_attrs, attrs, type, &why);
}

static Value *unary(Gen *g, OpCode code, Value *x) { return try_op(g, code, 1, &x, 0, NULL, NULL); }
static Value *binary(Gen *g, OpCode code, Value *x, Value *y) { return try_op(g, code, 2, (Value *[]){x, y}, 0, NULL, NULL); }
static Value *constant(Gen *g, const Type *t, double v) { return g_constant(&g->b, t, v); }

static Value *splat(Gen *g, Value *scalar, const Type *t) {
    Attr axes = attr_ints(g->arena, A_axes, NULL, 0);
    return try_op(g, OP_broadcast, 1, &scalar, 1, &axes, t);
}

static Value *drawn(Gen *g, const Type *t) {
    Attr site = attr_i(A_site, (int64_t)(next(g) >> 1));
    bool counts = t->rank > 0 && chance(g, 3);
    return try_op(g, OP_uniform, 1 + counts, (Value *[]){g->key, g->first}, 1, &site, type_with_elem(t, F32));
}

static Value *number_literal(Gen *g, const Type *t) {
    int64_t n = type_count(t, 1);
    double *at = arena_make_n(g->arena, double, (size_t)n);
    for (int64_t i = 0; i < n; i++) at[i] = t->elem == BOOL ? below(g, 2) : below(g, 9);
    Attr values = attr_reals(g->arena, A_values, at, n);
    return try_op(g, OP_literal, 0, NULL, 1, &values, t);
}

/* A new value of the type, that depends on no input. */
static Value *fresh(Gen *g, const Type *t) {
    if (!type_has_batch(t) && type_count(t, 1) <= 8 && chance(g, 3)) return number_literal(g, t);
    if (t->elem != BOOL && t->rank && chance(g, 4) && !g->o->smooth) {
        Attr axis = attr_i(A_axis, below(g, t->rank));
        return try_op(g, OP_iota, 0, NULL, 1, &axis, t);
    }
    if (chance(g, 4)) return constant(g, t, t->elem == BOOL ? below(g, 2) : below(g, 5));
    Value *u = drawn(g, t);
    if (t->elem == BOOL) return binary(g, OP_lt, u, constant(g, u->type, 0.5));
    bool real = elem_is_float(t->elem);
    return g_convert(&g->b, binary(g, OP_sub, binary(g, OP_mul, u, constant(g, u->type, real ? 3 : 9)), constant(g, u->type, real ? 1.5 : 0)), t->elem);
}

static bool is_number(Elem e) { return e != BOOL; }

/* A random value of the pool that pleases, or NULL. */
static Value *from_pool(Gen *g, bool (*pleases)(Elem e), int least_rank) {
    size_t n = g->pool.n, start = (size_t)below(g, (int)n);
    if (chance(g, 2) && n > 8) start = n - 1 - (size_t)below(g, 8); /* rather what was made lately */
    for (size_t i = 0; i < n; i++) {
        Value *v = g->pool.at[(start + i) % n];
        if (pleases(v->type->elem) && v->type->rank >= least_rank && v != g->key && v != g->first) return v;
    }
    return NULL;
}

static Value *some(Gen *g, bool (*pleases)(Elem e), int least_rank) {
    Value *v = from_pool(g, pleases, least_rank);
    Elem elem = pleases(F32) ? F32 : pleases(BOOL) ? BOOL : I32;
    for (int tries = 0; !v && tries < 9; tries++) v = fresh(g, random_type(g, elem, least_rank)); /* not every type is legal */
    return v ? v : constant(g, type_make(elem, 4, (Dim[]){{1, false}, {2, false}, {1, false}, {3, false}}), 1);
}

static bool is_bool(Elem e) { return e == BOOL; }
static bool is_anything(Elem e) { return (void)e, true; }
static bool is_integer(Elem e) { return elem_is_int(e); }

/* A value of just this type: one of the pool, or a new one. */
static Value *of_type(Gen *g, const Type *t) {
    size_t n = g->pool.n, start = (size_t)below(g, (int)n);
    for (size_t i = 0; i < n && !chance(g, 16); i++) {
        Value *v = g->pool.at[(start + i) % n];
        if (v->type == t && v != g->key && v != g->first) return v;
    }
    return fresh(g, t);
}

/* ---- keeping numbers moderate, if smooth ---- */

static bool differentiable(const Gen *g) { return g->o->differentiable || g->o->grads || g->o->smooth; }

static Value *tame(Gen *g, Value *v) {
    if (!v || !g->o->smooth || !elem_is_float(v->type->elem)) return v;
    return unary(g, chance(g, 2) ? OP_tanh : OP_sin, v);
}

/* x^2 + 1/2 */
static Value *positive(Gen *g, Value *x) { return binary(g, OP_add, binary(g, OP_mul, x, x), constant(g, x->type, 0.5)); }

/* ---- elementwise ---- */

static Value *make_unary(Gen *g, OpCode code) {
    if (code == OP_not) return unary(g, code, some(g, is_bool, 0));
    bool any_number = code == OP_neg || code == OP_abs || code == OP_sign;
    Value *x = some(g, any_number ? is_number : elem_is_float, 0);
    if (g->o->smooth && (code == OP_log || code == OP_log1p || code == OP_sqrt)) x = positive(g, x);
    if (code == OP_exp || code == OP_expm1) x = tame(g, x);
    return unary(g, code, x);
}

static Value *make_convert(Gen *g) {
    Value *x = some(g, g->o->smooth ? elem_is_float : is_anything, 0);
    Elem to = g->o->smooth ? (chance(g, 2) ? F32 : F64) : (Elem)below(g, ELEM_COUNT);
    return x->type->elem == to ? NULL : g_convert(&g->b, x, to);
}

static Value *make_binary(Gen *g, OpCode code) {
    bool logic = code == OP_and || code == OP_or, equal = code == OP_eq || code == OP_ne;
    bool real = code == OP_div || code == OP_pow;
    if (code == OP_mix) {
        Value *i = some(g, is_integer, 0);
        return binary(g, code, of_type(g, type_with_elem(i->type, I64)), i);
    }
    Value *x = some(g, logic ? is_bool : equal ? is_anything : real ? elem_is_float : is_number, 0), *y = of_type(g, x->type);
    bool whole = elem_is_int(x->type->elem);
    if (whole && (code == OP_floor_div || code == OP_mod)) y = binary(g, OP_max, y, constant(g, y->type, 1)); /* no division by 0 */
    if (g->o->smooth && code == OP_div) y = positive(g, y);
    if (g->o->smooth && code == OP_pow) x = positive(g, x), y = tame(g, y);
    Value *r = binary(g, code, x, y);
    return code == OP_mul || code == OP_pow || code == OP_div ? tame(g, r) : r;
}

static Value *make_fma(Gen *g) {
    Value *x = some(g, elem_is_float, 0);
    return tame(g, try_op(g, OP_fma, 3, (Value *[]){x, of_type(g, x->type), of_type(g, x->type)}, 0, NULL, NULL));
}

static Value *make_select(Gen *g) {
    Value *x = some(g, is_anything, 0);
    return try_op(g, OP_select, 3, (Value *[]){of_type(g, type_with_elem(x->type, BOOL)), x, of_type(g, x->type)}, 0, NULL, NULL);
}

/* ---- shape ---- */

/* Integers in [0, d) of the shape of t. */
static Value *index_below(Gen *g, const Type *t, Dim d) {
    static const Elem kinds[] = {I32, I64, U8};
    Elem elem = kinds[below(g, 3)];
    if (d.n == 0) return NULL;
    Value *limit = d.batch ? g_convert(&g->b, binary(g, OP_mul, g_batch(&g->b), constant(g, type_scalar(I32), (double)d.n)), elem) : constant(g, type_scalar(elem), (double)d.n);
    t = type_with_elem(t, elem);
    return binary(g, OP_mod, of_type(g, t), t->rank ? splat(g, limit, t) : limit);
}

static Value *make_broadcast(Gen *g) {
    Value *x = some(g, is_anything, 0);
    Dim dims[MAX_RANK];
    int64_t axes[MAX_RANK];
    int rank = 0;
    bool batch = type_has_batch(x->type);
    for (int i = 0; i <= x->type->rank; i++) {
        while (rank + x->type->rank - i < 7 && chance(g, 3)) {
            dims[rank] = random_dim(g);
            if (!batch && chance(g, 4)) dims[rank] = (Dim){1, true}, batch = true;
            rank++;
        }
        if (i == x->type->rank) break;
        axes[i] = rank;
        dims[rank] = x->type->dim[i];
        if (!dims[rank].batch && dims[rank].n == 1 && chance(g, 2)) dims[rank] = random_dim(g);
        rank++;
    }
    Attr a = attr_ints(g->arena, A_axes, axes, x->type->rank);
    return try_op(g, OP_broadcast, 1, &x, 1, &a, type_make(x->type->elem, rank, dims));
}

/* Joins two neighbouring axes, splits one, or adds or drops an axis of 1. */
static Value *make_reshape(Gen *g) {
    Value *x = some(g, is_anything, 0);
    const Type *t = x->type;
    Dim dims[MAX_RANK];
    int rank = 0, at = below(g, t->rank + 1), how = below(g, 3);
    for (int i = 0; i <= t->rank; i++) {
        if (i == at && how == 0) dims[rank++] = (Dim){1, false};
        if (i == t->rank) break;
        if (how == 1 && i == at && i + 1 < t->rank && !t->dim[i + 1].batch) {
            dims[rank++] = (Dim){t->dim[i].n * t->dim[i + 1].n, t->dim[i].batch};
            i++;
        } else if (how == 2 && i == at && t->dim[i].n % 2 == 0 && t->dim[i].n) {
            dims[rank++] = (Dim){t->dim[i].n / 2, t->dim[i].batch};
            dims[rank++] = (Dim){2, false};
        } else {
            dims[rank++] = t->dim[i];
        }
    }
    return try_op(g, OP_reshape, 1, &x, 0, NULL, type_make(t->elem, rank, dims));
}

static Value *make_transpose(Gen *g) {
    Value *x = some(g, is_anything, 2);
    int64_t perm[MAX_RANK];
    for (int i = 0; i < x->type->rank; i++) {
        int k = below(g, i + 1);
        perm[i] = perm[k];
        perm[k] = i;
    }
    Attr a = attr_ints(g->arena, A_perm, perm, x->type->rank);
    return try_op(g, OP_transpose, 1, &x, 1, &a, NULL);
}

static Value *make_slice(Gen *g) {
    Value *x = some(g, is_anything, 1);
    int64_t start[MAX_RANK], limit[MAX_RANK], step[MAX_RANK];
    int rank = x->type->rank;
    for (int i = 0; i < rank; i++) {
        int n = (int)x->type->dim[i].n;
        bool whole = x->type->dim[i].batch || chance(g, 3);
        start[i] = whole ? 0 : below(g, n + (g->o->smooth ? 0 : 1));
        limit[i] = whole ? (x->type->dim[i].batch ? -1 : n) : start[i] + (n > start[i] ? 1 + below(g, n - (int)start[i]) : 0);
        step[i] = whole ? 1 : 1 + below(g, 3);
    }
    Attr a[] = {attr_ints(g->arena, A_start, start, rank), attr_ints(g->arena, A_limit, limit, rank), attr_ints(g->arena, A_step, step, rank)};
    return try_op(g, OP_slice, 1, &x, 3, a, NULL);
}

static Value *make_pad(Gen *g) {
    Value *x = some(g, is_anything, 1);
    int64_t low[MAX_RANK] = {0}, high[MAX_RANK] = {0}, interior[MAX_RANK] = {0};
    int rank = x->type->rank;
    for (int i = 0; i < rank; i++) {
        if (x->type->dim[i].batch || chance(g, 2)) continue;
        low[i] = below(g, 4) - 1;
        high[i] = below(g, 4) - 1;
        interior[i] = chance(g, 3) ? 1 + below(g, 2) : 0;
    }
    Attr a[] = {attr_ints(g->arena, A_low, low, rank), attr_ints(g->arena, A_high, high, rank), attr_ints(g->arena, A_interior, interior, rank)};
    return try_op(g, OP_pad, 2, (Value *[]){x, of_type(g, type_scalar(x->type->elem))}, 3, a, NULL);
}

static Value *make_concat(Gen *g) {
    Value *x = some(g, is_anything, 1), *in[4] = {x};
    int n = 1 + below(g, 3), axis = below(g, x->type->rank);
    if (axis && x->type->dim[axis].batch && differentiable(g)) return NULL; /* no gradient passes through that */
    for (int k = 1; k < n; k++) {
        Dim dims[MAX_RANK];
        memcpy(dims, x->type->dim, (size_t)x->type->rank * sizeof *dims);
        if (!dims[axis].batch) dims[axis] = random_dim(g);
        in[k] = of_type(g, type_make(x->type->elem, x->type->rank, dims));
    }
    Attr a = attr_i(A_axis, axis);
    return try_op(g, OP_concat, n, in, 1, &a, NULL);
}

/* A random increasing list of axes, maybe empty. */
static int64_t random_axes(Gen *g, int rank, int64_t *axes) {
    int64_t n = 0;
    for (int i = 0; i < rank; i++)
        if (chance(g, 2)) axes[n++] = i;
    if (n == 0 && rank) axes[n++] = below(g, rank);
    return n;
}

static Value *make_reverse(Gen *g) {
    Value *x = some(g, is_anything, 1);
    int64_t axes[MAX_RANK], n = random_axes(g, x->type->rank, axes);
    Attr a = attr_ints(g->arena, A_axes, axes, n);
    return try_op(g, OP_reverse, 1, &x, 1, &a, NULL);
}

static Value *make_take(Gen *g, OpCode code) {
    bool adds = code == OP_take_add;
    Value *x = some(g, adds ? is_number : is_anything, 1); /* or, for take_add, a value of the result's type */
    int axis = below(g, x->type->rank);
    Dim dims[MAX_RANK] = {{0}}, index_dims[2];
    int index_rank = below(g, 3), rank = 0;
    for (int i = 0; i < index_rank; i++) index_dims[i] = random_dim(g);
    if (index_rank && axis == 0 && !type_has_batch(x->type) && chance(g, 3)) index_dims[0] = (Dim){1, true};
    Value *i = index_below(g, type_make(I32, index_rank, index_dims), x->type->dim[axis]);
    Attr a = attr_i(A_axis, axis);
    if (!adds) return try_op(g, code, 2, (Value *[]){x, i}, 1, &a, NULL);
    for (int k = 0; k < axis; k++) dims[rank++] = x->type->dim[k];
    for (int k = 0; k < index_rank; k++) dims[rank++] = index_dims[k];
    for (int k = axis + 1; k < x->type->rank; k++) dims[rank++] = x->type->dim[k];
    const Type *t = type_make(x->type->elem, rank, dims);
    return small_enough(t) ? tame(g, try_op(g, code, 2, (Value *[]){of_type(g, t), i}, 1, &a, x->type)) : NULL;
}

static Value *make_gather(Gen *g, OpCode code) {
    bool adds = code == OP_scatter_add;
    Value *x = some(g, adds ? is_number : is_anything, 1);
    int axis = below(g, x->type->rank);
    Dim dims[MAX_RANK];
    memcpy(dims, x->type->dim, (size_t)x->type->rank * sizeof *dims);
    dims[axis] = random_dim(g);
    const Type *t = type_make(x->type->elem, x->type->rank, dims);
    Value *i = index_below(g, t, x->type->dim[axis]);
    Attr a = attr_i(A_axis, axis);
    if (!adds) return try_op(g, code, 2, (Value *[]){x, i}, 1, &a, NULL);
    return tame(g, try_op(g, code, 2, (Value *[]){of_type(g, t), i}, 1, &a, x->type));
}

static Value *make_dynamic(Gen *g, OpCode code) {
    Value *x = some(g, is_anything, 1), *in[2 + MAX_RANK] = {x};
    Dim dims[MAX_RANK];
    int64_t axes[MAX_RANK], sizes[MAX_RANK], n = random_axes(g, x->type->rank, axes);
    int first = code == OP_dynamic_slice ? 1 : 2;
    memcpy(dims, x->type->dim, (size_t)x->type->rank * sizeof *dims);
    for (int64_t k = 0; k < n; k++) {
        Dim d = dims[axes[k]];
        sizes[k] = d.batch ? 1 : below(g, (int)d.n + 1);
        in[first + k] = index_below(g, type_scalar(I32), d.batch ? d : (Dim){d.n - sizes[k] + 1, false});
        dims[axes[k]] = (Dim){sizes[k], false};
    }
    Attr a[] = {attr_ints(g->arena, A_axes, axes, n), attr_ints(g->arena, A_sizes, sizes, n)};
    if (first == 2) in[1] = of_type(g, type_make(x->type->elem, x->type->rank, dims));
    return try_op(g, code, first + (int)n, in, first == 1 ? 2 : 1, a, NULL);
}

/* ---- products, sums, windows ---- */

/* Labels of x: each is summed, shared or free; the second operand has further free ones. Both lists and the result are shuffled. */
static void shuffle_labels(Gen *g, char *s, Dim *dims, int n) {
    for (int i = n - 1; i > 0; i--) {
        int k = below(g, i + 1);
        char l = s[i];
        Dim d = dims ? dims[i] : (Dim){0};
        s[i] = s[k];
        s[k] = l;
        if (dims) dims[i] = dims[k], dims[k] = d;
    }
}

static Value *make_contract(Gen *g) {
    Value *x = some(g, is_number, 0);
    char a[8] = "", b[8] = "", c[12] = "";
    Dim dims[8];
    int na = x->type->rank, nb = 0, nc = 0;
    bool batch = false;
    for (int i = 0; i < na; i++) {
        int how = below(g, 3);
        a[i] = (char)('a' + i);
        if (how != 2) b[nb] = a[i], dims[nb++] = x->type->dim[i];
        if (how != 0) c[nc++] = a[i], batch |= x->type->dim[i].batch;
    }
    for (int i = 0; i < 2 && chance(g, 2); i++) c[nc++] = b[nb] = (char)('m' + i), dims[nb++] = random_dim(g);
    for (int i = 0; i < nb; i++)
        if (dims[i].batch && dims[i].n > 1) return NULL; /* 2 * B leads or does not stand at all */
    (void)batch;
    shuffle_labels(g, b, dims, nb);
    shuffle_labels(g, c, NULL, nc);
    const Type *t = type_make(x->type->elem, nb, dims);
    if (!small_enough(t)) return NULL;
    Value *y = of_type(g, t);
    bool swap = chance(g, 2);
    Attr spec = attr_s(A_spec, intern_printf("%s,%s->%s", swap ? b : a, swap ? a : b, c));
    return tame(g, try_op(g, OP_contract, 2, (Value *[]){swap ? y : x, swap ? x : y}, 1, &spec, NULL));
}

static Value *make_conv(Gen *g) {
    int n = 1 + below(g, 2), groups = below(g, 2), ra = 0, rb = 0;
    Dim a[8], b[8], batch = chance(g, 2) ? (Dim){1, true} : (Dim){1 + below(g, 2), false}, channels = {1 + below(g, 3), false}, group = {1 + below(g, 2), false};
    int64_t stride[2], low[2], high[2], lhs[2], rhs[2];
    a[ra++] = batch;
    for (int i = 0; i < n; i++) {
        a[ra++] = (Dim){1 + below(g, 6), false};
        b[rb++] = (Dim){1 + below(g, 3), false};
        stride[i] = 1 + below(g, 3);
        low[i] = below(g, 4) - 1;
        high[i] = below(g, 4) - 1;
        lhs[i] = 1 + chance(g, 4) * below(g, 3);
        rhs[i] = 1 + chance(g, 4) * below(g, 3);
    }
    if (groups) a[ra++] = b[rb++] = group;
    a[ra++] = b[rb++] = channels;
    b[rb++] = (Dim){1 + below(g, 3), false};
    static const char *const specs[2][2] = {{"nxc,xcd->nxd", "nxyc,xycd->nxyd"}, {"nxgc,xgcd->nxgd", "nxygc,xygcd->nxygd"}};
    Elem elem = chance(g, 4) && !g->o->smooth ? I32 : F32;
    Attr attrs[] = {attr_s(A_spec, specs[groups][n - 1]),          attr_s(A_window, n == 1 ? "x" : "xy"),          attr_ints(g->arena, A_stride, stride, n),
                    attr_ints(g->arena, A_low, low, n),            attr_ints(g->arena, A_high, high, n),           attr_ints(g->arena, A_lhs_dilation, lhs, n),
                    attr_ints(g->arena, A_rhs_dilation, rhs, n)};
    return tame(g, try_op(g, OP_conv, 2, (Value *[]){of_type(g, type_make(elem, ra, a)), of_type(g, type_make(elem, rb, b))}, 7, attrs, NULL));
}

static Value *make_reduce(Gen *g, OpCode code) {
    bool truth = code == OP_any || code == OP_all;
    Value *x = some(g, truth ? is_bool : is_number, 1);
    int64_t axes[MAX_RANK], n = random_axes(g, x->type->rank, axes);
    for (int64_t k = 0; k < n && code == OP_prod && differentiable(g); k++)
        if (x->type->dim[axes[k]].batch) return NULL; /* no gradient passes through a product over the batch */
    Attr a = attr_ints(g->arena, A_axes, axes, n);
    return tame(g, try_op(g, code, 1, &x, 1, &a, NULL));
}

static Value *make_along(Gen *g, OpCode code) {
    Value *x = some(g, is_number, 1);
    int last = (int)x->type->dim[x->type->rank - 1].n;
    Attr a = code == OP_top_k ? attr_i(A_k, below(g, last + 1)) : attr_i(A_axis, below(g, x->type->rank));
    return try_op(g, code, 1, &x, 1, &a, NULL);
}

static Value *make_window(Gen *g, OpCode code) {
    Dim dims[4], out[4];
    int n = 1 + below(g, 2), rank = 0;
    int64_t size[2], stride[2], low[2], high[2];
    dims[rank++] = chance(g, 2) ? (Dim){1, true} : (Dim){1 + below(g, 2), false};
    for (int i = 0; i < n; i++) {
        dims[rank++] = (Dim){1 + below(g, 6), false};
        size[i] = 1 + below(g, 3);
        stride[i] = 1 + below(g, 3);
        low[i] = below(g, (int)size[i]);
        high[i] = below(g, (int)size[i]);
    }
    dims[rank++] = (Dim){1 + below(g, 3), false};
    memcpy(out, dims, sizeof out);
    for (int i = 0; i < n; i++) {
        int64_t room = low[i] + dims[i + 1].n + high[i] - size[i];
        if (room < 0) return NULL;
        out[i + 1].n = room / stride[i] + 1;
    }
    Elem elem = chance(g, 4) && !g->o->smooth ? I32 : F32;
    Attr attrs[] = {attr_ints(g->arena, A_size, size, n), attr_ints(g->arena, A_stride, stride, n), attr_ints(g->arena, A_low, low, n), attr_ints(g->arena, A_high, high, n)};
    Value *in[2] = {of_type(g, type_make(elem, rank, dims))};
    if (code == OP_window_put) in[1] = of_type(g, type_make(elem, rank, out));
    if (code == OP_window_pick) in[1] = of_type(g, in[0]->type);
    return tame(g, try_op(g, code, in[1] ? 2 : 1, in, 4, attrs, NULL));
}

/* ---- control ---- */

static void step(Gen *g);

/* A value of the type made inside the block, from the pool's newest part if there is one there. */
static Value *inside(Gen *g, const Type *t, size_t from) {
    for (size_t i = g->pool.n; i > from; i--)
        if (g->pool.at[i - 1]->type == t && (i == from + 1 || !chance(g, 3))) return g->pool.at[i - 1];
    return of_type(g, t);
}

static void steps_inside(Gen *g, Block *block, int n) {
    g->b.block = block;
    g->depth++;
    for (int i = 0; i < n; i++) step(g);
    g->depth--;
}

static const Type *dropped_axis(const Type *t, int axis) {
    Dim dims[MAX_RANK];
    int n = 0;
    for (int i = 0; i < t->rank; i++)
        if (i != axis) dims[n++] = t->dim[i];
    return type_make(t->elem, n, dims);
}

typedef struct Turns {
    Dim dim;      /* of what is sliced and stacked */
    bool batched; /* trip is -1, the count B */
    bool counted; /* trip is -1, the count a number of its own; nothing is sliced or stacked */
} Turns;

static Value *turn_count(Gen *g, Turns t) {
    if (t.counted) return constant(g, type_scalar(I32), below(g, 5));
    return binary(g, OP_mul, g_batch(&g->b), constant(g, type_scalar(I32), (double)t.dim.n));
}

/* Slices of the pool, all with the same number of turns; -1: none that will do. */
static int choose_slices(Gen *g, Turns *turns, Value **in, int64_t *axes) {
    int n = below(g, 3);
    Value *x = n ? some(g, is_anything, 1) : NULL;
    turns->dim = (Dim){below(g, 5), false};
    if (!x) return turns->counted = !differentiable(g) && chance(g, 3), 0;
    axes[0] = below(g, x->type->rank);
    in[0] = x;
    turns->dim = x->type->dim[axes[0]];
    turns->batched = turns->dim.batch;
    if (turns->batched && differentiable(g)) return -1; /* the way back would keep values of the batch for each of its samples */
    if (n == 2) {
        Dim dims[2] = {turns->dim, {2, false}};
        in[1] = of_type(g, type_make(F32, 2, dims));
        axes[1] = 0;
    }
    return n;
}

static bool carries_well(Elem e) { return e == F32 || e == I32 || e == F64; }

static Value *make_scan(Gen *g) {
    Value *in[8];
    Turns turns = {0};
    int64_t axes[2], yaxes[2];
    int carry = 1 + below(g, 2), n_ys = below(g, 3);
    for (int i = 0; i < carry; i++) in[i] = some(g, g->o->smooth ? elem_is_float : carries_well, 0);
    int n_xs = choose_slices(g, &turns, in + carry, axes), n_in = carry + n_xs;
    if (n_xs < 0) return NULL;
    if (turns.counted) n_ys = 0;
    if (turns.batched || turns.counted) in[n_in++] = turn_count(g, turns);
    for (int i = 0; i < n_in; i++)
        if (!in[i] || !small_enough(in[i]->type)) return NULL;
    Block *block = block_new(g->b.func, NULL), *around = g->b.block;
    size_t from = g->pool.n;
    Value *t = block_param(block, type_scalar(I32), "t");
    if (!g->o->smooth) vec_push(g->arena, &g->pool, t);
    for (int i = 0; i < carry; i++) vec_push(g->arena, &g->pool, block_param(block, in[i]->type, NULL));
    for (int i = 0; i < n_xs; i++) vec_push(g->arena, &g->pool, block_param(block, dropped_axis(in[carry + i]->type, (int)axes[i]), NULL));
    steps_inside(g, block, 1 + below(g, 4));
    const Type *types[4];
    for (int i = 0; i < carry; i++) {
        Value *v = inside(g, in[i]->type, from);
        types[i] = v->type;
        vec_push(g->arena, &block->results, tame(g, v));
    }
    for (int i = 0; i < n_ys; i++) {
        Value *y = g->pool.at[from + (size_t)below(g, (int)(g->pool.n - from))];
        if (turns.batched && type_has_batch(y->type)) y = block->results.at[0]; /* one B a tensor */
        if (y->type->rank > 4) y = t;
        Dim dims[MAX_RANK];
        int k = 0;
        yaxes[i] = turns.dim.n > 1 && turns.batched ? 0 : below(g, y->type->rank + 1);
        for (int j = 0; j <= y->type->rank; j++) dims[j] = j == yaxes[i] ? turns.dim : y->type->dim[k++];
        types[carry + i] = type_make(y->type->elem, y->type->rank + 1, dims);
        vec_push(g->arena, &block->results, y);
    }
    g->b.block = around;
    g->pool.n = from;
    Attr attrs[] = {attr_i(A_carry, carry),         attr_ints(g->arena, A_axes, axes, n_xs),
                    attr_ints(g->arena, A_yaxes, yaxes, n_ys), attr_i(A_reverse, below(g, 2)),
                    attr_i(A_trip, turns.batched || turns.counted ? -1 : turns.dim.n)};
    const char *why;
    Op *op = op_try_full(&g->b, OP_scan, n_in, in, 5, attrs, 1, &block, carry + n_ys, types, &why);
    if (!op) return NULL;
    for (int i = 1; i < op->n_out; i++)
        if (small_enough(op->out[i]->type)) vec_push(g->arena, &g->pool, op->out[i]);
    return op->out[0];
}

/* A counter below a limit, and a value that is changed. */
static Value *make_while(Gen *g) {
    Value *in[2] = {constant(g, type_scalar(I32), below(g, 3)), some(g, carries_well, 0)};
    Block *blocks[2] = {block_new(g->b.func, NULL), block_new(g->b.func, NULL)}, *around = g->b.block;
    Value *count = block_param(blocks[0], type_scalar(I32), "n");
    block_param(blocks[0], in[1]->type, NULL);
    g->b.block = blocks[0];
    vec_push(g->arena, &blocks[0]->results, binary(g, OP_lt, count, constant(g, type_scalar(I32), below(g, 6))));
    size_t from = g->pool.n;
    Value *n = block_param(blocks[1], type_scalar(I32), "n");
    vec_push(g->arena, &g->pool, block_param(blocks[1], in[1]->type, NULL));
    steps_inside(g, blocks[1], 1 + below(g, 3));
    vec_push(g->arena, &blocks[1]->results, binary(g, OP_add, n, constant(g, type_scalar(I32), 1)));
    vec_push(g->arena, &blocks[1]->results, inside(g, in[1]->type, from));
    g->b.block = around;
    g->pool.n = from;
    Attr max = attr_i(A_max, below(g, 6));
    const Type *types[2] = {in[0]->type, in[1]->type};
    const char *why;
    Op *op = op_try_full(&g->b, OP_while, 2, in, 1, &max, 2, blocks, 2, types, &why);
    if (!op) return NULL;
    vec_push(g->arena, &g->pool, op->out[0]);
    return op->out[1];
}

/* ---- steps ---- */

static Value *make(Gen *g, OpCode code) {
    switch (code) {
    case OP_neg: case OP_abs: case OP_sign: case OP_exp: case OP_expm1: case OP_log: case OP_log1p: case OP_sqrt: case OP_sin: case OP_cos: case OP_tanh:
    case OP_erf: case OP_floor: case OP_ceil: case OP_round: case OP_not: return make_unary(g, code);
    case OP_convert: return make_convert(g);
    case OP_add: case OP_sub: case OP_mul: case OP_div: case OP_floor_div: case OP_mod: case OP_pow: case OP_max: case OP_min: case OP_eq: case OP_ne: case OP_lt:
    case OP_le: case OP_gt: case OP_ge: case OP_and: case OP_or: case OP_mix: return make_binary(g, code);
    case OP_fma: return make_fma(g);
    case OP_select: return make_select(g);
    case OP_constant: case OP_literal: case OP_iota: return fresh(g, random_type(g, g->o->smooth ? F32 : (Elem)below(g, ELEM_COUNT), 0));
    case OP_batch: return g_batch(&g->b);
    case OP_uniform: return drawn(g, random_type(g, F32, 0));
    case OP_broadcast: return make_broadcast(g);
    case OP_reshape: return make_reshape(g);
    case OP_transpose: return make_transpose(g);
    case OP_slice: return make_slice(g);
    case OP_pad: return make_pad(g);
    case OP_concat: return make_concat(g);
    case OP_reverse: return make_reverse(g);
    case OP_take: case OP_take_add: return make_take(g, code);
    case OP_gather: case OP_scatter_add: return make_gather(g, code);
    case OP_dynamic_slice: case OP_dynamic_update: return make_dynamic(g, code);
    case OP_contract: return make_contract(g);
    case OP_conv: return make_conv(g);
    case OP_sum: case OP_prod: case OP_reduce_max: case OP_reduce_min: case OP_any: case OP_all: return make_reduce(g, code);
    case OP_argmax: case OP_argmin: case OP_sort: case OP_top_k: return make_along(g, code);
    case OP_window_max: case OP_window_sum: case OP_window_put: case OP_window_pick: return make_window(g, code);
    case OP_scan: return g->depth < MOST_DEPTH ? make_scan(g) : NULL;
    case OP_while: return g->depth < MOST_DEPTH ? make_while(g) : NULL;
    case OP_stop_gradient: return unary(g, code, some(g, is_anything, 0));
    case OP_grad: case OP_kernel: case OP_COUNT: return NULL;
    }
    return NULL;
}

/* Ops that jump or bend, or make floats into something else. */
static bool is_smooth(OpCode code) {
    static const OpCode rough[] = {OP_abs, OP_sign, OP_floor, OP_ceil, OP_round, OP_floor_div, OP_mod, OP_max, OP_min, OP_eq, OP_ne, OP_lt, OP_le, OP_gt, OP_ge, OP_reduce_max,
                                   OP_reduce_min, OP_argmax, OP_argmin, OP_sort, OP_top_k, OP_window_max, OP_window_put, OP_window_pick, OP_while, OP_stop_gradient, OP_mix, OP_batch, OP_any, OP_all, OP_and, OP_or, OP_not};
    for (size_t i = 0; i < sizeof rough / sizeof *rough; i++)
        if (rough[i] == code) return false;
    return true;
}

static bool may_draw(const Gen *g, OpCode code) {
    if (g->o->only_allowed && !g->o->allow[code]) return false;
    if ((code == OP_scan || code == OP_while) && g->o->no_control) return false;
    if (code == OP_while && differentiable(g)) return false;
    return code != OP_grad && code != OP_kernel && (!g->o->smooth || is_smooth(code));
}

static void step(Gen *g) {
    for (int tries = 0; tries < 20; tries++) {
        OpCode code = (OpCode)below(g, OP_COUNT);
        if (!may_draw(g, code)) continue;
        Value *v = make(g, code);
        if (!v || !small_enough(v->type)) continue; /* a large one stays unused */
        vec_push(g->arena, &g->pool, v);
        for (int i = 1; v->def && v->def->n_out > 1 && v->def->n_blocks == 0 && i < v->def->n_out; i++) vec_push(g->arena, &g->pool, v->def->out[i]);
        return;
    }
}

/* ---- the whole ---- */

static Value *add_input(Gen *g, SlotKind kind, const char *name, const Type *t) {
    Slot *s = slot_new(g->b.func->module, kind, name, t, (Loc){0});
    if (kind == SLOT_FIELD || kind == SLOT_VAR) s->command = intern("c");
    s->batch_bound = type_has_batch(t) ? RANDOM_BATCH_BOUND : 0;
    Value *v = func_read(g->b.func, s);
    vec_push(g->arena, &g->pool, v);
    return v;
}

static void add_inputs(Gen *g) {
    Dim batch[] = {{1, true}, {1 + below(g, 5), false}, {1 + below(g, 3), false}};
    g->key = add_input(g, SLOT_KEY, "key", type_scalar(I64));
    g->first = add_input(g, SLOT_FIRST, "first", type_scalar(I64));
    add_input(g, SLOT_FIELD, "image", type_make(chance(g, 2) ? F32 : U8, 1 + below(g, 3), batch));
    add_input(g, SLOT_FIELD, "label", type_make(I32, 1, batch));
    for (int i = 0; i < 3; i++) {
        const Type *t = random_type(g, i == 2 && chance(g, 3) ? F64 : F32, i);
        add_input(g, type_has_batch(t) ? SLOT_FIELD : SLOT_PARAM, intern_printf("p%d", i), t);
    }
}

/* A parameter of the type that no result is written to yet. */
static Slot *unwritten_param(Gen *g, const Type *t) {
    const Func *f = g->b.func;
    for (size_t i = 0; i < f->in_slots.n; i++) {
        Slot *s = f->in_slots.at[i];
        bool written = s->kind != SLOT_PARAM || s->type != t;
        for (size_t k = 0; k < f->out_slots.n; k++) written |= f->out_slots.at[k] == s;
        if (!written) return s;
    }
    return NULL;
}

static void add_output(Gen *g, Value *v) {
    int k = g->outputs++;
    if (k < RANDOM_MOST_OUTPUTS && g->o->drop[k]) return;
    Slot *param = chance(g, 3) ? unwritten_param(g, v->type) : NULL;
    if (param) {
        func_write(g->b.func, param, v); /* an update: the old value may have readers still */
        return;
    }
    Slot *s = slot_new(g->b.func->module, SLOT_VAR, intern_printf("out%zu", g->b.func->out_slots.n), v->type, (Loc){0});
    s->command = intern("c");
    s->batch_bound = type_has_batch(v->type) ? RANDOM_BATCH_BOUND : 0;
    func_write(g->b.func, s, v);
}

/* The sum of v times drawn weights, as f32. */
static Value *weighed(Gen *g, Value *v) {
    Value *u = drawn(g, v->type), *p = binary(g, OP_mul, g_convert(&g->b, v, F32), binary(g, OP_sub, u, constant(g, u->type, 0.25)));
    int64_t axes[MAX_RANK];
    for (int i = 0; i < p->type->rank; i++) axes[i] = i;
    return p->type->rank ? g_reduce(&g->b, OP_sum, p, p->type->rank, axes) : p;
}

/* Gradients of a sum of the newest floats with respect to inputs and one value in between; then, if smooth, of a sum of these. */
static void add_gradients(Gen *g) {
    Value *loss = constant(g, type_scalar(F32), 0), *in[8];
    const Type *types[8];
    int summed = 0, n = 1;
    for (size_t i = g->pool.n; i > 0 && summed < 4; i--)
        if (elem_is_float(g->pool.at[i - 1]->type->elem)) loss = binary(g, OP_add, loss, weighed(g, g->pool.at[i - 1])), summed++;
    in[0] = loss;
    g->b.loc.line = 1;
    for (size_t i = 0; i < g->pool.n && n < 5; i++)
        if (elem_is_float(g->pool.at[i]->type->elem)) types[n - 1] = g->pool.at[i]->type, in[n++] = g->pool.at[i];
    Op *op = op_make_full(&g->b, OP_grad, n, in, 0, NULL, 0, NULL, n - 1, types);
    for (int i = 0; i < op->n_out; i++) add_output(g, op->out[i]);
    if (!g->o->smooth) return;
    Value *sum = weighed(g, op->out[0]);
    for (int i = 1; i < op->n_out; i++) sum = binary(g, OP_add, sum, weighed(g, op->out[i]));
    in[0] = sum;
    g->b.loc.line = 2;
    Op *second = op_make_full(&g->b, OP_grad, n, in, 0, NULL, 0, NULL, n - 1, types);
    for (int i = 0; i < second->n_out; i++) add_output(g, second->out[i]);
}

static void prune(Arena *a, Func *f) {
    for (bool again = true; again;) {
        again = false;
        int *uses = func_count_uses(a, f);
        for (Op *op = f->body->last, *prev; op; op = prev) {
            prev = op->prev;
            int used = 0;
            for (int i = 0; i < op->n_out; i++) used += uses[op->out[i]->id];
            if (used) continue;
            op_remove(op);
            again = true;
        }
    }
}

static void count_op(Op *op, void *arg) {
    const RandomOptions *o = arg;
    if (o->drawn) o->drawn[op->code]++;
    for (int i = 0; i < op->n_out; i++)
        for (int k = 0; k < op->out[i]->type->rank; k++) {
            if (o->zero_sized && op->out[i]->type->dim[k].n == 0) ++*o->zero_sized;
            if (o->size_one && op->out[i]->type->dim[k].n == 1) ++*o->size_one;
        }
}

Module *random_graph(Arena *a, const RandomOptions *o) {
    Module *m = module_new(a);
    Func *f = func_new(m, "f", (Loc){0});
    f->batch_bound = RANDOM_BATCH_BOUND;
    Gen g = {.o = o, .arena = a, .b = builder_at_end(f), .state = random_stir(o->seed)};
    add_inputs(&g);
    size_t inputs = g.pool.n;
    for (int i = 0; i < o->steps && i < RANDOM_MOST_STEPS; i++) {
        g.state = random_mix(o->seed, (uint64_t)i);
        if (!o->skip[i]) step(&g);
    }
    g.state = random_mix(o->seed, RANDOM_MOST_STEPS);
    size_t made = g.pool.n;
    for (size_t i = made; i > inputs && i + 8 > made; i--) add_output(&g, g.pool.at[i - 1]);
    if (g.outputs == 0) add_output(&g, constant(&g, type_scalar(F32), 0));
    if (o->grads || o->smooth) add_gradients(&g);
    if (o->prune) prune(a, f);
    block_walk(f->body, count_op, (void *)o);
    return m;
}

Tensor **random_inputs(Arena *a, const Func *f, EvalType type, int64_t batch, uint64_t seed, bool smooth) {
    static const double special[] = {0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 1e-40, 3e38, 100};
    Tensor **x = arena_make_n(a, Tensor *, f->body->params.n + 1);
    uint64_t state = random_stir(seed);
    for (size_t i = 0; i < f->body->params.n; i++) {
        const Type *t = f->body->params.at[i]->type;
        x[i] = tensor_new(type, t, batch);
        for (int64_t k = 0; k < x[i]->count; k++) {
            uint64_t r = random_stir(state += 0x9e3779b97f4a7c15u);
            double v = (double)(r >> 40) * 0x1p-22 - 2; /* exact in f32 */
            if (!elem_is_float(t->elem)) v = t->elem == BOOL ? (double)(r & 1) : t->elem == U8 ? (double)(r % 9) : (double)(int)(r % 12) - 3;
            else if (!smooth && r % 64 == 0) v = special[(r >> 8) % (sizeof special / sizeof *special)];
            if (f->in_slots.at[i]->kind == SLOT_FIRST) v = (double)(r % 1000);
            tensor_set(x[i], k, t->elem == F32 ? (double)(float)v : v);
        }
    }
    return x;
}

/* Sets what stays failing; returns whether anything was set. */
static bool shrink_flag(RandomOptions *o, bool *flag, bool (*fails)(const RandomOptions *o, void *arg), void *arg) {
    if (*flag) return false;
    *flag = true;
    if (fails(o, arg)) return true;
    return *flag = false;
}

int random_shrink(RandomOptions *o, bool (*fails)(const RandomOptions *o, void *arg), void *arg) {
    for (bool again = true; again;) {
        again = shrink_flag(o, &o->prune, fails, arg);
        for (int i = RANDOM_MOST_OUTPUTS; i-- > 0;) again |= shrink_flag(o, &o->drop[i], fails, arg);
        for (int i = o->steps; i-- > 0;) again |= shrink_flag(o, &o->skip[i], fails, arg);
    }
    int left = 0;
    for (int i = 0; i < o->steps; i++) left += !o->skip[i];
    return left;
}
