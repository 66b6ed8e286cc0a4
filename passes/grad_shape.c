/*
 * grad_shape.c - gradient rules of the ops that move elements about. Each of them is a linear map that copies, so its gradient is
 * the map that brings the copies home: what was repeated is summed, what was cut off gets zeros, what was picked is put back.
 */
#include "grad.h"

#include <string.h>

static Value *pad_zero(GradCtx *c, Value *x, const int64_t *low, const int64_t *high, const int64_t *interior) {
    int rank = x->type->rank;
    Value *zero = g_constant(&c->b, type_scalar(x->type->elem), 0);
    Attr attrs[] = {attr_ints(c->arena, A_low, low, rank), attr_ints(c->arena, A_high, high, rank),
                    attr_ints(c->arena, A_interior, interior, rank)};
    return op_make(&c->b, OP_pad, 2, (Value *[]){x, zero}, 3, attrs, NULL);
}

static Value *reshape_like(GradCtx *c, Value *x, const Type *t) {
    return type_same_shape(x->type, t) ? x : g_reshape(&c->b, x, t->rank, t->dim);
}

/* The axes of a broadcast's result along which it repeats, and its operand. */
typedef struct Repeated {
    const Type *x;
    int n;
    int64_t axes[MAX_RANK];
} Repeated;

/* How many of the axes that go stand before `axis`; -1: it is one of them. */
static int gone_before(const Repeated *r, int64_t axis) {
    int n = 0;
    while (n < r->n && r->axes[n] < axis) n++;
    return n < r->n && r->axes[n] == axis ? -1 : n;
}

/* Does the condition repeat, too, along all that is summed? */
static bool repeats(const Value *cond, const void *arg) {
    if (((const Repeated *)arg)->n == 0) return true;
    if (!cond->def || cond->def->code != OP_broadcast) return false;
    const int64_t *axes;
    int64_t n = op_ints(cond->def, A_axes, &axes);
    for (int64_t i = 0; i < n; i++)
        if (gone_before(arg, axes[i]) < 0) return false;
    return true;
}

/* dy summed to x's shape; a condition that repeats is repeated less often. */
static Value *gather_repeated(GradCtx *c, Value *v, const void *arg) {
    const Repeated *r = arg;
    if (v->type->elem != BOOL || r->n == 0) return gr_sum_to(c, v, r->n, r->axes, r->x);
    Dim dims[MAX_RANK];
    int64_t to[MAX_RANK];
    const int64_t *axes;
    int rank = 0;
    int64_t n = op_ints(v->def, A_axes, &axes);
    for (int i = 0; i < v->type->rank; i++)
        if (gone_before(r, i) >= 0) dims[rank++] = v->type->dim[i];
    for (int64_t i = 0; i < n; i++) to[i] = axes[i] - gone_before(r, axes[i]);
    return reshape_like(c, g_broadcast(&c->b, v->def->in[0], rank, dims, to), r->x);
}

/* y[.., i_axes, ..] = x[i], repeated along all other axes and along axes of size 1:  dx = sum of dy over those */
void grad_broadcast(GradCtx *c, Op *op, Value *const *dy) {
    Value *x = op->in[0];
    const Type *to = op->out[0]->type;
    const int64_t *axes;
    op_ints(op, A_axes, &axes);
    Repeated r = {.x = x->type};
    int k = 0;
    for (int i = 0; i < to->rank; i++) {
        bool kept = k < x->type->rank && axes[k] == i;
        if (!kept || !dim_same(x->type->dim[k], to->dim[i])) r.axes[r.n++] = i;
        k += kept;
    }
    gr_give(c, x, gr_mask_is(c, dy[0], repeats, &r) ? gr_move(c, dy[0], gather_repeated, &r) : gather_repeated(c, dy[0], &r));
}

static Value *reshape_back(GradCtx *c, Value *v, const void *x) { return reshape_like(c, v, x); }

/* y = x in another shape:  dx = dy in x's */
void grad_reshape(GradCtx *c, Op *op, Value *const *dy) {
    gr_give(c, op->in[0], gr_move(c, dy[0], reshape_back, op->in[0]->type));
}

static Value *transpose_by(GradCtx *c, Value *v, const void *perm) { return g_transpose(&c->b, v, perm); }

/* y[i] = x[perm i]:  dx by the inverse permutation */
void grad_transpose(GradCtx *c, Op *op, Value *const *dy) {
    const int64_t *perm;
    int64_t n = op_ints(op, A_perm, &perm), back[MAX_RANK];
    for (int64_t i = 0; i < n; i++) back[perm[i]] = i;
    gr_give(c, op->in[0], gr_move(c, dy[0], transpose_by, back));
}

/* y[i] = x[start + step i]:  dx is dy with step - 1 zeros between, and zeros where x was cut off */
void grad_slice(GradCtx *c, Op *op, Value *const *dy) {
    const Type *x = op->in[0]->type, *y = op->out[0]->type;
    const int64_t *start, *step;
    op_ints(op, A_start, &start);
    op_ints(op, A_step, &step);
    int64_t low[MAX_RANK], high[MAX_RANK], interior[MAX_RANK];
    for (int i = 0; i < x->rank; i++) {
        low[i] = high[i] = interior[i] = 0;
        if (x->dim[i].batch) continue;
        int64_t n = y->dim[i].n, span = n ? (n - 1) * step[i] + 1 : 0;
        low[i] = start[i];
        interior[i] = step[i] - 1;
        high[i] = x->dim[i].n - start[i] - span;
    }
    gr_give(c, op->in[0], pad_zero(c, dy[0], low, high, interior));
}

/* The part of t, which has the shape of pad's result, that came from pad's operand x; 0 for what negative padding cut off. */
static Value *unpad(GradCtx *c, Value *t, const void *arg) {
    const Op *op = arg;
    const Type *x = op->in[0]->type;
    const int64_t *low, *high, *interior;
    op_ints(op, A_low, &low);
    op_ints(op, A_high, &high);
    op_ints(op, A_interior, &interior);
    int64_t back_low[MAX_RANK], back_high[MAX_RANK], none[MAX_RANK] = {0}, start[MAX_RANK], limit[MAX_RANK], step[MAX_RANK];
    bool cut = false;
    for (int i = 0; i < x->rank; i++) {
        back_low[i] = low[i] < 0 ? -low[i] : 0;
        back_high[i] = high[i] < 0 ? -high[i] : 0;
        cut |= back_low[i] || back_high[i];
        start[i] = low[i] > 0 ? low[i] : 0;
        step[i] = interior[i] + 1;
        limit[i] = x->dim[i].batch ? -1 : x->dim[i].n ? start[i] + (x->dim[i].n - 1) * step[i] + 1 : start[i];
        if (x->dim[i].batch) step[i] = 1;
    }
    if (cut) t = pad_zero(c, t, back_low, back_high, none);
    return g_slice(&c->b, t, start, limit, step);
}

/* y = value around and between x:  dx = dy at x's places, dvalue = the sum of dy at the others */
void grad_pad(GradCtx *c, Op *op, Value *const *dy) {
    Value *x = op->in[0], *value = op->in[1];
    if (gr_wanted(c, x)) gr_give(c, x, gr_move(c, dy[0], unpad, op));
    if (!gr_wanted(c, value)) return;
    Value *one = g_constant(&c->b, value->type, 1);
    Value *mask = op_make(&c->b, OP_pad, 2, (Value *[]){gr_like(c, x, 0), one}, op->n_attrs, op->attrs, NULL);
    int64_t axes[MAX_RANK];
    for (int i = 0; i < mask->type->rank; i++) axes[i] = i;
    gr_give(c, value, gr_sum_to(c, gr_mul(c, dy[0], mask), mask->type->rank, axes, value->type));
}

typedef struct Section {
    int64_t axis, from, to;
    const Type *like;
} Section;

static Value *cut_out(GradCtx *c, Value *v, const void *arg) {
    const Section *p = arg;
    return reshape_like(c, g_part(&c->b, v, p->axis, p->from, p->to), p->like);
}

/* y = x1, x2, ... along axis:  each gets its slice. Along the batch axis y is [k B, ..], read as [k, B, ..] and sliced there */
void grad_concat(GradCtx *c, Op *op, Value *const *dy) {
    int64_t axis = op_int(op, A_axis), at = 0;
    const Type *y = dy[0]->type;
    bool batch = y->dim[axis].batch;
    Value *whole = dy[0];
    if (batch) {
        Dim d[MAX_RANK + 1] = {{y->dim[0].n, false}, {1, true}};
        if (axis != 0 || y->rank == MAX_RANK) {
            gr_fault(c, op, "it joins along a batch axis that is not the first");
            return;
        }
        memcpy(d + 2, y->dim + 1, (size_t)(y->rank - 1) * sizeof *d);
        whole = gr_move(c, dy[0], reshape_back, type_make(y->elem, y->rank + 1, d));
    }
    for (int k = 0; k < op->n_in; k++) {
        const Type *x = op->in[k]->type;
        int64_t n = x->dim[axis].n;
        Section p = {axis, at, at + n, x};
        if (gr_wanted(c, op->in[k])) gr_give(c, op->in[k], gr_move(c, whole, cut_out, &p));
        at += n;
    }
}

static Value *backwards(GradCtx *c, Value *v, const void *arg) {
    const Op *op = arg;
    return op_make(&c->b, OP_reverse, 1, &v, op->n_attrs, op->attrs, NULL);
}

/* y = x backwards:  dx = dy backwards */
void grad_reverse(GradCtx *c, Op *op, Value *const *dy) { gr_give(c, op->in[0], gr_move(c, dy[0], backwards, op)); }

/* ---- picking and putting back; each is the other's gradient ---- */

/* y = x[.., i, ..]:  dx = zeros, plus dy where i says */
void grad_take(GradCtx *c, Op *op, Value *const *dy) {
    gr_give(c, op->in[0], op_make(&c->b, OP_take_add, 2, (Value *[]){dy[0], op->in[1]}, op->n_attrs, op->attrs, op->in[0]->type));
}
void grad_take_add(GradCtx *c, Op *op, Value *const *dy) {
    gr_give(c, op->in[0], op_make(&c->b, OP_take, 2, (Value *[]){dy[0], op->in[1]}, op->n_attrs, op->attrs, NULL));
}

/* One place taken along the axis: dx is dy where the index is i, else 0, element by element. (That i lies inside has been checked
 * on the way there.) */
static Value *one_place(GradCtx *c, const Op *op, Value *dy) {
    Value *i = op->in[1]->type->elem == U8 ? g_convert(&c->b, op->in[1], I32) : op->in[1]; /* places beyond 255 */
    const Type *x = op->in[0]->type, *it = type_with_elem(x, i->type->elem);
    int64_t axes[MAX_RANK];
    for (int k = 0; k < x->rank; k++) axes[k] = k;
    Value *index = g_broadcast(&c->b, i, x->rank, x->dim, axes), *wide = g_broadcast(&c->b, dy, x->rank, x->dim, axes);
    Attr axis = attr_i(A_axis, op_int(op, A_axis));
    Value *place = op_make(&c->b, OP_iota, 0, NULL, 1, &axis, it);
    return g_select(&c->b, g_binary(&c->b, OP_eq, place, index), wide, g_constant(&c->b, x, 0));
}

/* Does the sum lie in memory when it is added to? It does if a loop carries it, exchanged in places or not. */
static bool is_carried(const Value *sum) {
    while (sum->def && (sum->def->code == OP_dynamic_update || sum->def->code == OP_scatter_add)) sum = sum->def->in[0];
    return !sum->def;
}

/* The gradient of x, plus y at the places along the axis: where there is a sum already, it is added to in place. */
static void give_places(GradCtx *c, Value *x, int64_t axis, Value *y, Value *places) {
    if (!gr_wanted(c, x)) return;
    Value *sum = gr_of(c, x);
    Attr attr = attr_i(A_axis, axis);
    gr_set(c, x, op_make(&c->b, OP_scatter_add, 3, (Value *[]){sum ? sum : gr_like(c, x, 0), y, places}, 1, &attr, NULL));
}

/* y[p, j] = x[p, i[p, j]]:  dx += dy where i says */
void grad_gather(GradCtx *c, Op *op, Value *const *dy) {
    Value *x = op->in[0], *sum = gr_of(c, x);
    int64_t axis = op_int(op, A_axis);
    Dim places = op->out[0]->type->dim[axis];
    if (places.n == 1 && !places.batch && !(sum && is_carried(sum)))
        gr_give(c, x, one_place(c, op, dy[0]));
    else
        give_places(c, x, axis, dy[0], op->in[1]);
}

/* r = x, plus y where i says:  dx = dr, dy[p, j] = dr[p, i[p, j]] */
void grad_scatter_add(GradCtx *c, Op *op, Value *const *dy) {
    gr_give(c, op->in[0], dy[0]);
    if (gr_wanted(c, op->in[1]))
        gr_give(c, op->in[1], op_make(&c->b, OP_gather, 2, (Value *[]){dy[0], op->in[2]}, op->n_attrs, op->attrs, NULL));
}

/* values = x[places], sorted or the k largest:  dx = zeros, plus dy at the places. Nothing comes back through places, which are
 * integers */
void grad_sort(GradCtx *c, Op *op, Value *const *dy) {
    if (!dy[0]) return;
    Value *x = op->in[0];
    give_places(c, x, op->code == OP_sort ? op_int(op, A_axis) : x->type->rank - 1, dy[0], op->out[1]);
}

static Value *dynamic_slice(GradCtx *c, Value *x, const Op *op, int first, const Type *sizes_of) {
    const int64_t *axes;
    int64_t n = op_ints(op, A_axes, &axes), sizes[MAX_RANK];
    Value *in[MAX_RANK + 1] = {x};
    for (int64_t k = 0; k < n; k++) {
        sizes[k] = sizes_of->dim[axes[k]].n;
        in[k + 1] = op->in[first + k];
    }
    Attr attrs[] = {attr_ints(c->arena, A_axes, axes, n), attr_ints(c->arena, A_sizes, sizes, n)};
    return op_make(&c->b, OP_dynamic_slice, (int)n + 1, in, 2, attrs, NULL);
}

static Value *dynamic_update(GradCtx *c, Value *x, Value *u, const Op *op, int first) {
    const int64_t *axes;
    int64_t n = op_ints(op, A_axes, &axes);
    Value *in[MAX_RANK + 2] = {x, u};
    for (int64_t k = 0; k < n; k++) in[k + 2] = op->in[first + k];
    Attr attr = attr_ints(c->arena, A_axes, axes, n);
    return op_make(&c->b, OP_dynamic_update, (int)n + 2, in, 1, &attr, NULL);
}

/* y = x[i : i + size]:  dx[i : i + size] += dy. Into a sum that is already there this touches the slice alone, so that reading
 * x[t] in every turn of a loop costs on the way back what it cost on the way there. */
void grad_dynamic_slice(GradCtx *c, Op *op, Value *const *dy) {
    Value *x = op->in[0], *sum = gr_of(c, x);
    if (!gr_wanted(c, x)) return;
    if (!sum) {
        gr_give(c, x, dynamic_update(c, gr_like(c, x, 0), dy[0], op, 1));
        return;
    }
    Value *old = dynamic_slice(c, sum, op, 1, dy[0]->type);
    gr_set(c, x, dynamic_update(c, sum, gr_add(c, old, dy[0]), op, 1));
}

/* y = x with u at i:  dx = dy with zeros there, du = dy[i : i + size] */
void grad_dynamic_update(GradCtx *c, Op *op, Value *const *dy) {
    Value *x = op->in[0], *u = op->in[1];
    if (gr_wanted(c, x)) gr_give(c, x, dynamic_update(c, dy[0], gr_like(c, u, 0), op, 2));
    if (gr_wanted(c, u)) gr_give(c, u, dynamic_slice(c, dy[0], op, 2, u->type));
}
