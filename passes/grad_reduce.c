/*
 * grad_reduce.c - gradient rules of sum, prod and the extremes over axes, and the helpers that undo a reduction.
 */
#include "grad.h"

#include <string.h>

/* The axes of a tensor of this rank that are not reduced. */
static int kept_axes(const Op *op, int rank, int64_t *kept) {
    const int64_t *axes;
    int64_t n = op_ints(op, A_axes, &axes);
    int m = 0;
    for (int64_t i = 0, k = 0; i < rank; i++) {
        if (k < n && axes[k] == i)
            k++;
        else
            kept[m++] = i;
    }
    return m;
}

typedef struct Repeat {
    const Type *to;
    const int64_t *axes; /* of `to` that are not new */
} Repeat;

static Value *repeat_by(GradCtx *c, Value *v, const void *arg) {
    const Repeat *r = arg;
    return g_broadcast(&c->b, v, r->to->rank, r->to->dim, r->axes);
}

/* y = sum of x over axes:  dx = dy repeated along them */
void grad_sum(GradCtx *c, Op *op, Value *const *dy) {
    const Type *x = op->in[0]->type;
    int64_t kept[MAX_RANK];
    kept_axes(op, x->rank, kept);
    gr_give(c, op->in[0], gr_move(c, dy[0], repeat_by, &(Repeat){x, kept}));
}

/* x with its reduced axes brought to one side and joined into one: first (front) or last. perm and apart undo it; see bring_back.
 */
typedef struct Joined {
    Value *x;
    int64_t perm[MAX_RANK];
    const Type *apart; /* after the transposition, before the axes were joined */
    int64_t axis;
} Joined;

static Joined join_axes(GradCtx *c, const Op *op, bool front) {
    Value *x = op->in[0];
    const int64_t *axes;
    int64_t n = op_ints(op, A_axes, &axes), kept[MAX_RANK];
    int m = kept_axes(op, x->type->rank, kept), rank = 0;
    Joined j = {.axis = front ? 0 : m};
    memcpy(j.perm + (front ? 0 : m), axes, (size_t)n * sizeof *axes);
    memcpy(j.perm + (front ? n : 0), kept, (size_t)m * sizeof *kept);
    bool moved = false;
    for (int i = 0; i < x->type->rank; i++) moved |= j.perm[i] != i;
    Value *t = moved ? g_transpose(&c->b, x, j.perm) : x;
    j.apart = t->type;
    Dim one = {1, false}, dims[MAX_RANK + 1];
    for (int64_t i = 0; i < n; i++) {
        Dim d = x->type->dim[axes[i]];
        one = (Dim){one.n * d.n, one.batch || d.batch};
    }
    if (front) dims[rank++] = one;
    for (int i = 0; i < m; i++) dims[rank++] = x->type->dim[kept[i]];
    if (!front) dims[rank++] = one;
    j.x = n == 1 ? t : g_reshape(&c->b, t, rank, dims);
    return j;
}

static Value *bring_home(GradCtx *c, Value *g, const void *arg) {
    const Joined *j = arg;
    if (!type_same_shape(g->type, j->apart)) g = g_reshape(&c->b, g, j->apart->rank, j->apart->dim);
    int64_t back[MAX_RANK];
    bool moved = false;
    for (int i = 0; i < j->apart->rank; i++) {
        back[j->perm[i]] = i;
        moved |= j->perm[i] != i;
    }
    return moved ? g_transpose(&c->b, g, back) : g;
}

static Value *bring_back(GradCtx *c, const Joined *j, Value *g) { return gr_move(c, g, bring_home, j); }

/* v, which lacks the axis, repeated along it to the shape of like. */
static Value *repeat_along(GradCtx *c, Value *v, const Type *like, int64_t axis) {
    int64_t kept[MAX_RANK];
    for (int i = 0, k = 0; i < like->rank; i++)
        if (i != axis) kept[k++] = i;
    return gr_move(c, v, repeat_by, &(Repeat){like, kept});
}

/* An operand without elements has nothing but an empty gradient; its axes need not be one that can be joined (0 * B is none). */
static bool gave_nothing(GradCtx *c, const Op *op) {
    const Type *x = op->in[0]->type;
    bool empty = false;
    for (int i = 0; i < x->rank; i++) empty |= !x->dim[i].batch && x->dim[i].n == 0;
    if (empty) gr_give(c, op->in[0], gr_like(c, op->in[0], 0));
    return empty;
}

/* y = largest (smallest) of x over axes:  dx = dy at the first place that has it, 0 elsewhere */
void grad_reduce_max(GradCtx *c, Op *op, Value *const *dy) {
    const int64_t *axes;
    int64_t n = op_ints(op, A_axes, &axes);
    const Type *x = op->in[0]->type;
    if (n == 0) {
        gr_give(c, op->in[0], dy[0]);
        return;
    }
    if (gave_nothing(c, op)) return;
    /* one axis stays where it is; several are joined behind the others, or before them if the batch is among them, because k * B
     * leads */
    bool batch = false;
    for (int64_t i = 0; i < n; i++) batch |= x->dim[axes[i]].batch;
    Joined j = {.x = op->in[0], .apart = x, .axis = axes[0]};
    for (int i = 0; i < x->rank; i++) j.perm[i] = i;
    if (n > 1) j = join_axes(c, op, batch);
    Attr axis = attr_i(A_axis, j.axis);
    OpCode code = op->code == OP_reduce_max ? OP_argmax : OP_argmin;
    Value *place = op_make(&c->b, code, 1, &j.x, 1, &axis, NULL);
    const Type *it = type_with_elem(j.x->type, I32);
    Value *index = op_make(&c->b, OP_iota, 0, NULL, 1, &axis, it);
    Value *here = g_binary(&c->b, OP_eq, index, repeat_along(c, place, it, j.axis));
    Value *g = gr_map(c, repeat_along(c, dy[0], j.x->type, j.axis), gr_where, &here);
    gr_give(c, op->in[0], bring_back(c, &j, g));
}

/* x moved by k places along the axis (towards the end for k > 0), ones coming in. */
static Value *shift_ones(GradCtx *c, Value *x, int64_t axis, int64_t k) {
    int rank = x->type->rank;
    int64_t low[MAX_RANK] = {0}, high[MAX_RANK] = {0}, interior[MAX_RANK] = {0};
    low[axis] = k;
    high[axis] = -k;
    Value *one = g_constant(&c->b, type_scalar(x->type->elem), 1);
    Attr attrs[] = {attr_ints(c->arena, A_low, low, rank), attr_ints(c->arena, A_high, high, rank),
                    attr_ints(c->arena, A_interior, interior, rank)};
    return op_make(&c->b, OP_pad, 2, (Value *[]){x, one}, 3, attrs, NULL);
}

/* At each place the product of all before it (way 1) or behind it (way -1): products over 1, 2, 4, ... places, doubled. */
static Value *products_beside(GradCtx *c, Value *x, int64_t axis, int way) {
    int64_t n = x->type->dim[axis].n;
    Value *p = shift_ones(c, x, axis, way);
    for (int64_t k = 1; k < n - 1; k *= 2) p = gr_mul(c, p, shift_ones(c, p, axis, way * k));
    return p;
}

/* The same along the batch, whose size is known only when it runs: a scan that carries the product of what it has passed. */
static Value *products_passed(GradCtx *c, Value *x, int64_t axis, bool behind) {
    Dim rest[MAX_RANK];
    int rank = 0;
    for (int i = 0; i < x->type->rank; i++)
        if (i != axis) rest[rank++] = x->type->dim[i];
    const Type *t = type_make(x->type->elem, rank, rest);
    Block *body = block_new(c->b.func, NULL);
    block_param(body, type_scalar(I32), "t");
    Value *passed = block_param(body, t, "passed"), *here = block_param(body, t, "here");
    Builder inside = c->b;
    inside.block = body;
    inside.before = NULL;
    vec_push(c->arena, &body->results, g_binary(&inside, OP_mul, passed, here));
    vec_push(c->arena, &body->results, passed);
    Value *turns = op_make(&c->b, OP_batch, 0, NULL, 0, NULL, NULL);
    if (x->type->dim[axis].n > 1) turns = gr_mul(c, turns, g_constant(&c->b, turns->type, (double)x->type->dim[axis].n));
    Value *in[] = {g_constant(&c->b, t, 1), x, turns};
    Attr attrs[] = {attr_i(A_carry, 1), attr_ints(c->arena, A_axes, &axis, 1), attr_ints(c->arena, A_yaxes, &axis, 1),
                    attr_i(A_reverse, behind), attr_i(A_trip, -1)};
    return op_make_full(&c->b, OP_scan, 3, in, 5, attrs, 1, &body, 2, NULL)->out[1];
}

/* y = product of x over axes:  dx_i = dy (product of x before i) (product of x behind i). No division: x may hold zeros, and the
 * second derivative at zeros is right, too. */
void grad_prod(GradCtx *c, Op *op, Value *const *dy) {
    const int64_t *axes;
    int64_t n = op_ints(op, A_axes, &axes);
    if (n == 0) {
        gr_give(c, op->in[0], dy[0]);
        return;
    }
    if (gave_nothing(c, op)) return;
    bool batch = false;
    for (int64_t i = 0; i < n; i++) batch |= op->in[0]->type->dim[axes[i]].batch;
    Joined j = join_axes(c, op, batch); /* k * B leads */
    Value *dys = repeat_along(c, dy[0], j.x->type, j.axis);
    Value *before = batch ? products_passed(c, j.x, j.axis, false) : products_beside(c, j.x, j.axis, 1);
    Value *behind = batch ? products_passed(c, j.x, j.axis, true) : products_beside(c, j.x, j.axis, -1);
    gr_give(c, op->in[0], bring_back(c, &j, gr_mul(c, dys, gr_mul(c, before, behind))));
}
