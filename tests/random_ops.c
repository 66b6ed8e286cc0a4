/*
 * random_ops.c - the makers of ops without blocks. op_try turns down what the op's rule does not allow, so a maker needs to be
 * right only most of the time: a step may well add nothing.
 */
#include "random_inside.h"

#include <string.h>

/* ---- elementwise ---- */

Value *gen_make_unary(Gen *g, OpCode code) {
    if (code == OP_not) return gen_unary(g, code, gen_some(g, gen_is_bool, 0));
    bool any_number = code == OP_neg || code == OP_abs || code == OP_sign;
    Value *x = gen_some(g, any_number ? gen_is_number : elem_is_float, 0);
    if (g->o->smooth && (code == OP_log || code == OP_log1p || code == OP_sqrt)) x = gen_positive(g, x);
    if (code == OP_exp || code == OP_expm1) x = gen_tame(g, x);
    return gen_unary(g, code, x);
}

Value *gen_make_convert(Gen *g) {
    Value *x = gen_some(g, g->o->smooth ? elem_is_float : gen_is_anything, 0);
    Elem to = g->o->smooth ? (gen_chance(g, 2) ? F32 : F64) : (Elem)gen_below(g, ELEM_COUNT);
    return x->type->elem == to ? NULL : g_convert(&g->b, x, to);
}

Value *gen_make_binary(Gen *g, OpCode code) {
    bool logic = code == OP_and || code == OP_or, equal = code == OP_eq || code == OP_ne;
    bool real = code == OP_div || code == OP_pow;
    if (code == OP_mix) {
        Value *i = gen_some(g, gen_is_integer, 0);
        return gen_binary(g, code, gen_of_type(g, type_with_elem(i->type, I64)), i);
    }
    Value *x = gen_some(g,
                        logic   ? gen_is_bool
                        : equal ? gen_is_anything
                        : real  ? elem_is_float
                                : gen_is_number,
                        0),
          *y = gen_of_type(g, x->type);
    bool whole = elem_is_int(x->type->elem);
    if (whole && (code == OP_floor_div || code == OP_mod))
        y = gen_binary(g, OP_max, y, gen_constant(g, y->type, 1)); /* no division by 0 */
    if (g->o->smooth && code == OP_div) y = gen_positive(g, y);
    if (g->o->smooth && code == OP_pow) x = gen_positive(g, x), y = gen_tame(g, y);
    Value *r = gen_binary(g, code, x, y);
    return code == OP_mul || code == OP_pow || code == OP_div ? gen_tame(g, r) : r;
}

Value *gen_make_fma(Gen *g) {
    Value *x = gen_some(g, elem_is_float, 0);
    return gen_tame(g, gen_try_op(g, OP_fma, 3, (Value *[]){x, gen_of_type(g, x->type), gen_of_type(g, x->type)}, 0, NULL, NULL));
}

Value *gen_make_select(Gen *g) {
    Value *x = gen_some(g, gen_is_anything, 0);
    return gen_try_op(g, OP_select, 3, (Value *[]){gen_of_type(g, type_with_elem(x->type, BOOL)), x, gen_of_type(g, x->type)}, 0,
                      NULL, NULL);
}

/* ---- shape ---- */

/* Integers in [0, d) of the shape of t. */
static Value *gen_index_below(Gen *g, const Type *t, Dim d) {
    static const Elem kinds[] = {I32, I64, U8};
    Elem elem = kinds[gen_below(g, 3)];
    if (d.n == 0) return NULL;
    Value *limit =
        d.batch ? g_convert(&g->b, gen_binary(g, OP_mul, g_batch(&g->b), gen_constant(g, type_scalar(I32), (double)d.n)), elem)
                : gen_constant(g, type_scalar(elem), (double)d.n);
    t = type_with_elem(t, elem);
    return gen_binary(g, OP_mod, gen_of_type(g, t), t->rank ? gen_splat(g, limit, t) : limit);
}

Value *gen_make_broadcast(Gen *g) {
    Value *x = gen_some(g, gen_is_anything, 0);
    Dim dims[MAX_RANK];
    int64_t axes[MAX_RANK];
    int rank = 0;
    bool batch = type_has_batch(x->type);
    for (int i = 0; i <= x->type->rank; i++) {
        while (rank + x->type->rank - i < 7 && gen_chance(g, 3)) {
            dims[rank] = gen_dim(g);
            if (!batch && gen_chance(g, 4)) dims[rank] = (Dim){1, true}, batch = true;
            rank++;
        }
        if (i == x->type->rank) break;
        axes[i] = rank;
        dims[rank] = x->type->dim[i];
        if (!dims[rank].batch && dims[rank].n == 1 && gen_chance(g, 2)) dims[rank] = gen_dim(g);
        rank++;
    }
    Attr a = attr_ints(g->arena, A_axes, axes, x->type->rank);
    const Type *t = type_make(x->type->elem, rank, dims);
    return gen_fits_memory(t) ? gen_try_op(g, OP_broadcast, 1, &x, 1, &a, t) : NULL;
}

/* Joins two neighbouring axes, splits one, or adds or drops an axis of 1. */
Value *gen_make_reshape(Gen *g) {
    Value *x = gen_some(g, gen_is_anything, 0);
    const Type *t = x->type;
    Dim dims[MAX_RANK];
    int rank = 0, at = gen_below(g, t->rank + 1), how = gen_below(g, 3);
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
    return gen_try_op(g, OP_reshape, 1, &x, 0, NULL, type_make(t->elem, rank, dims));
}

Value *gen_make_transpose(Gen *g) {
    Value *x = gen_some(g, gen_is_anything, 2);
    int64_t perm[MAX_RANK];
    for (int i = 0; i < x->type->rank; i++) {
        int k = gen_below(g, i + 1);
        perm[i] = perm[k];
        perm[k] = i;
    }
    Attr a = attr_ints(g->arena, A_perm, perm, x->type->rank);
    return gen_try_op(g, OP_transpose, 1, &x, 1, &a, NULL);
}

Value *gen_make_slice(Gen *g) {
    Value *x = gen_some(g, gen_is_anything, 1);
    int64_t start[MAX_RANK], limit[MAX_RANK], step[MAX_RANK];
    int rank = x->type->rank;
    for (int i = 0; i < rank; i++) {
        int n = (int)x->type->dim[i].n;
        bool whole = x->type->dim[i].batch || gen_chance(g, 3);
        start[i] = whole ? 0 : gen_below(g, n + (g->o->smooth ? 0 : 1));
        limit[i] = whole ? (x->type->dim[i].batch ? -1 : n) : start[i] + (n > start[i] ? 1 + gen_below(g, n - (int)start[i]) : 0);
        step[i] = whole ? 1 : 1 + gen_below(g, 3);
    }
    Attr a[] = {attr_ints(g->arena, A_start, start, rank), attr_ints(g->arena, A_limit, limit, rank),
                attr_ints(g->arena, A_step, step, rank)};
    return gen_try_op(g, OP_slice, 1, &x, 3, a, NULL);
}

Value *gen_make_pad(Gen *g) {
    Value *x = gen_some(g, gen_is_anything, 1);
    int64_t low[MAX_RANK] = {0}, high[MAX_RANK] = {0}, interior[MAX_RANK] = {0};
    int rank = x->type->rank;
    for (int i = 0; i < rank; i++) {
        if (x->type->dim[i].batch || gen_chance(g, 2)) continue;
        low[i] = gen_below(g, 4) - 1;
        high[i] = gen_below(g, 4) - 1;
        interior[i] = gen_chance(g, 3) ? 1 + gen_below(g, 2) : 0;
    }
    Attr a[] = {attr_ints(g->arena, A_low, low, rank), attr_ints(g->arena, A_high, high, rank),
                attr_ints(g->arena, A_interior, interior, rank)};
    return gen_try_op(g, OP_pad, 2, (Value *[]){x, gen_of_type(g, type_scalar(x->type->elem))}, 3, a, NULL);
}

Value *gen_make_concat(Gen *g) {
    Value *x = gen_some(g, gen_is_anything, 1), *in[4] = {x};
    int n = 1 + gen_below(g, 3), axis = gen_below(g, x->type->rank);
    if (axis && x->type->dim[axis].batch && gen_differentiable(g)) return NULL; /* no gradient passes through that */
    for (int k = 1; k < n; k++) {
        Dim dims[MAX_RANK];
        memcpy(dims, x->type->dim, (size_t)x->type->rank * sizeof *dims);
        if (!dims[axis].batch) dims[axis] = gen_dim(g);
        in[k] = gen_of_type(g, type_make(x->type->elem, x->type->rank, dims));
    }
    Attr a = attr_i(A_axis, axis);
    return gen_try_op(g, OP_concat, n, in, 1, &a, NULL);
}

/* A random increasing list of axes, maybe empty. */
static int64_t gen_axes(Gen *g, int rank, int64_t *axes) {
    int64_t n = 0;
    for (int i = 0; i < rank; i++)
        if (gen_chance(g, 2)) axes[n++] = i;
    if (n == 0 && rank) axes[n++] = gen_below(g, rank);
    return n;
}

Value *gen_make_reverse(Gen *g) {
    Value *x = gen_some(g, gen_is_anything, 1);
    int64_t axes[MAX_RANK], n = gen_axes(g, x->type->rank, axes);
    Attr a = attr_ints(g->arena, A_axes, axes, n);
    return gen_try_op(g, OP_reverse, 1, &x, 1, &a, NULL);
}

Value *gen_make_take(Gen *g, OpCode code) {
    bool adds = code == OP_take_add;
    Value *x = gen_some(g, adds ? gen_is_number : gen_is_anything, 1); /* or, for take_add, a value of the result's type */
    int axis = gen_below(g, x->type->rank);
    Dim dims[MAX_RANK] = {{0}}, index_dims[2];
    int index_rank = gen_below(g, 3), rank = 0;
    for (int i = 0; i < index_rank; i++) index_dims[i] = gen_dim(g);
    if (index_rank && axis == 0 && !type_has_batch(x->type) && gen_chance(g, 3)) index_dims[0] = (Dim){1, true};
    Value *i = gen_index_below(g, type_make(I32, index_rank, index_dims), x->type->dim[axis]);
    Attr a = attr_i(A_axis, axis);
    if (!adds) return gen_try_op(g, code, 2, (Value *[]){x, i}, 1, &a, NULL);
    for (int k = 0; k < axis; k++) dims[rank++] = x->type->dim[k];
    for (int k = 0; k < index_rank; k++) dims[rank++] = index_dims[k];
    for (int k = axis + 1; k < x->type->rank; k++) dims[rank++] = x->type->dim[k];
    const Type *t = type_make(x->type->elem, rank, dims);
    return gen_small_enough(g, t) ? gen_tame(g, gen_try_op(g, code, 2, (Value *[]){gen_of_type(g, t), i}, 1, &a, x->type)) : NULL;
}

Value *gen_make_gather(Gen *g, OpCode code) {
    bool adds = code == OP_scatter_add;
    Value *x = gen_some(g, adds ? gen_is_number : gen_is_anything, 1);
    int axis = gen_below(g, x->type->rank);
    Dim dims[MAX_RANK];
    memcpy(dims, x->type->dim, (size_t)x->type->rank * sizeof *dims);
    dims[axis] = gen_dim(g);
    const Type *t = type_make(x->type->elem, x->type->rank, dims);
    Value *i = gen_index_below(g, t, x->type->dim[axis]);
    Attr a = attr_i(A_axis, axis);
    if (!adds) return gen_try_op(g, code, 2, (Value *[]){x, i}, 1, &a, NULL);
    return gen_tame(g, gen_try_op(g, code, 3, (Value *[]){x, gen_of_type(g, t), i}, 1, &a, NULL));
}

Value *gen_make_dynamic(Gen *g, OpCode code) {
    Value *x = gen_some(g, gen_is_anything, 1), *in[2 + MAX_RANK] = {x};
    Dim dims[MAX_RANK];
    int64_t axes[MAX_RANK], sizes[MAX_RANK], n = gen_axes(g, x->type->rank, axes);
    int first = code == OP_dynamic_slice ? 1 : 2;
    memcpy(dims, x->type->dim, (size_t)x->type->rank * sizeof *dims);
    for (int64_t k = 0; k < n; k++) {
        Dim d = dims[axes[k]];
        sizes[k] = d.batch ? 1 : gen_below(g, (int)d.n + 1);
        in[first + k] = gen_index_below(g, type_scalar(I32), d.batch ? d : (Dim){d.n - sizes[k] + 1, false});
        dims[axes[k]] = (Dim){sizes[k], false};
    }
    Attr a[] = {attr_ints(g->arena, A_axes, axes, n), attr_ints(g->arena, A_sizes, sizes, n)};
    if (first == 2) in[1] = gen_of_type(g, type_make(x->type->elem, x->type->rank, dims));
    return gen_try_op(g, code, first + (int)n, in, first == 1 ? 2 : 1, a, NULL);
}

/* ---- products, sums, windows ---- */

/* Labels of x: each is summed, shared or free; the second operand has further free ones. Both lists and the result are shuffled.
 */
static void shuffle_labels(Gen *g, char *s, Dim *dims, int n) {
    for (int i = n - 1; i > 0; i--) {
        int k = gen_below(g, i + 1);
        char l = s[i];
        Dim d = dims ? dims[i] : (Dim){0};
        s[i] = s[k];
        s[k] = l;
        if (dims) dims[i] = dims[k], dims[k] = d;
    }
}

Value *gen_make_contract(Gen *g) {
    bool large = g->o->large; /* a matrix product, or a batch of them */
    Value *x = gen_some(g, large ? elem_is_float : gen_is_number, large ? 2 : 0);
    char a[8] = "", b[8] = "", c[12] = "";
    Dim dims[8];
    int na = x->type->rank, nb = 0, nc = 0;
    bool batch = false;
    for (int i = 0; i < na; i++) {
        int how = large && i < 2 ? 2 - 2 * i : gen_below(g, 3);
        a[i] = (char)('a' + i);
        if (how != 2) b[nb] = a[i], dims[nb++] = x->type->dim[i];
        if (how != 0) c[nc++] = a[i], batch |= x->type->dim[i].batch;
    }
    for (int i = 0; i < 2 && (gen_chance(g, 2) || (large && i == 0)); i++)
        c[nc++] = b[nb] = (char)('m' + i), dims[nb++] = gen_dim(g);
    for (int i = 0; i < nb; i++)
        if (dims[i].batch && dims[i].n > 1) return NULL; /* 2 * B leads or does not stand at all */
    (void)batch;
    shuffle_labels(g, b, dims, nb);
    shuffle_labels(g, c, NULL, nc);
    const Type *t = type_make(x->type->elem, nb, dims);
    if (!gen_small_enough(g, t)) return NULL;
    Value *y = gen_of_type(g, t);
    bool swap = gen_chance(g, 2);
    Attr spec = attr_s(A_spec, intern_printf("%s,%s->%s", swap ? b : a, swap ? a : b, c));
    return gen_tame(g, gen_try_op(g, OP_contract, 2, (Value *[]){swap ? y : x, swap ? x : y}, 1, &spec, NULL));
}

/* A value of the pool that windows can go over: [N, x, c] or [N, x, y, c] of f32 or i32, with at least one place. What stands behind other ops may lie in
 * memory as no new value does: in a part of a stack, in another order. NULL: none, or not this time. */
static Value *gen_map(Gen *g) {
    if (!gen_chance(g, 2)) return NULL;
    size_t start = (size_t)gen_below(g, (int)g->pool.n);
    for (size_t i = 0; i < g->pool.n; i++) {
        Value *v = g->pool.at[(start + i) % g->pool.n];
        const Type *t = v->type;
        bool good = (t->elem == F32 || (t->elem == I32 && !g->o->smooth)) && (t->rank == 3 || t->rank == 4);
        for (int k = 0; k < t->rank && good; k++) good = t->dim[k].n > 0 && (k == 0 || !t->dim[k].batch);
        if (good) return v;
    }
    return NULL;
}

Value *gen_make_conv(Gen *g) {
    Value *x = gen_map(g);
    int n = x ? x->type->rank - 2 : 1 + gen_below(g, 2), groups = x ? 0 : gen_below(g, 2), ra = 0, rb = 0;
    Dim a[8], b[8], batch = gen_chance(g, 2) ? (Dim){1, true} : (Dim){1 + gen_below(g, 2), false},
                    channels = {1 + gen_below(g, 3), false}, group = {1 + gen_below(g, 2), false};
    int64_t stride[2], low[2], high[2], lhs[2], rhs[2];
    a[ra++] = batch;
    for (int i = 0; i < n; i++) {
        a[ra++] = (Dim){(g->o->large ? 4 : 1) + gen_below(g, 6), false};
        b[rb++] = (Dim){1 + gen_below(g, 3), false};
        stride[i] = 1 + gen_below(g, 3);
        low[i] = gen_below(g, 4) - 1;
        high[i] = gen_below(g, 4) - 1;
        lhs[i] = 1 + gen_chance(g, 4) * gen_below(g, 3);
        rhs[i] = 1 + gen_chance(g, 4) * gen_below(g, 3);
    }
    if (groups) a[ra++] = b[rb++] = group;
    if (g->o->large) channels = gen_dim(g);
    if (x) channels = x->type->dim[n + 1];
    a[ra++] = b[rb++] = channels;
    b[rb++] = g->o->large ? gen_dim(g) : (Dim){1 + gen_below(g, 3), false};
    static const char *const specs[2][2] = {{"nxc,xcd->nxd", "nxyc,xycd->nxyd"}, {"nxgc,xgcd->nxgd", "nxygc,xygcd->nxygd"}};
    Elem elem = x ? x->type->elem : gen_chance(g, 4) && !g->o->smooth ? I32 : F32;
    if (!x) x = gen_of_type(g, type_make(elem, ra, a));
    Attr attrs[] = {attr_s(A_spec, specs[groups][n - 1]),       attr_s(A_window, n == 1 ? "x" : "xy"),
                    attr_ints(g->arena, A_stride, stride, n),   attr_ints(g->arena, A_low, low, n),
                    attr_ints(g->arena, A_high, high, n),       attr_ints(g->arena, A_lhs_dilation, lhs, n),
                    attr_ints(g->arena, A_rhs_dilation, rhs, n)};
    return gen_tame(g, gen_try_op(g, OP_conv, 2, (Value *[]){x, gen_of_type(g, type_make(elem, rb, b))}, 7, attrs, NULL));
}

Value *gen_make_reduce(Gen *g, OpCode code) {
    bool truth = code == OP_any || code == OP_all;
    Value *x = gen_some(g, truth ? gen_is_bool : gen_is_number, 1);
    int64_t axes[MAX_RANK], n = gen_axes(g, x->type->rank, axes);
    Attr a = attr_ints(g->arena, A_axes, axes, n);
    return gen_tame(g, gen_try_op(g, code, 1, &x, 1, &a, NULL));
}

Value *gen_make_along(Gen *g, OpCode code) {
    Value *x = gen_some(g, gen_is_number, 1);
    int last = (int)x->type->dim[x->type->rank - 1].n;
    Attr a = code == OP_top_k ? attr_i(A_k, gen_below(g, last + 1)) : attr_i(A_axis, gen_below(g, x->type->rank));
    return gen_try_op(g, code, 1, &x, 1, &a, NULL);
}

Value *gen_make_window(Gen *g, OpCode code) {
    Dim dims[4], out[4];
    Value *x = gen_map(g);
    int n = x ? x->type->rank - 2 : 1 + gen_below(g, 2), rank = 0;
    int64_t size[2], stride[2], low[2], high[2];
    dims[rank++] = gen_chance(g, 2) ? (Dim){1, true} : (Dim){1 + gen_below(g, 2), false};
    for (int i = 0; i < n; i++) {
        dims[rank++] = (Dim){1 + gen_below(g, 6), false};
        size[i] = 1 + gen_below(g, 3);
        stride[i] = 1 + gen_below(g, 3);
        low[i] = gen_below(g, (int)size[i]);
        high[i] = gen_below(g, (int)size[i]);
    }
    dims[rank++] = (Dim){1 + gen_below(g, 3), false};
    if (x) memcpy(dims, x->type->dim, (size_t)rank * sizeof *dims);
    memcpy(out, dims, sizeof out);
    for (int i = 0; i < n; i++) {
        int64_t room = low[i] + dims[i + 1].n + high[i] - size[i];
        if (room < 0) return NULL;
        out[i + 1].n = room / stride[i] + 1;
    }
    Elem elem = x ? x->type->elem : gen_chance(g, 4) && !g->o->smooth ? I32 : F32;
    Attr attrs[] = {attr_ints(g->arena, A_size, size, n), attr_ints(g->arena, A_stride, stride, n),
                    attr_ints(g->arena, A_low, low, n), attr_ints(g->arena, A_high, high, n)};
    Value *in[2] = {x ? x : gen_of_type(g, type_make(elem, rank, dims))};
    if (code == OP_window_put) in[1] = gen_of_type(g, type_make(elem, rank, out));
    if (code == OP_window_pick) in[1] = gen_of_type(g, in[0]->type);
    return gen_tame(g, gen_try_op(g, code, in[1] ? 2 : 1, in, 4, attrs, NULL));
}
