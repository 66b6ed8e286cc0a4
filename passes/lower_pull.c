/*
 * lower_pull.c - an element of a value as an expression: pull(v, index). See lower.h.
 *
 *   %x = convert %image : f32[B, 28, 28]       pull(%c, [b, k])  =  max(0, add(div(convert(%image[b, q, r]), 255), %bias[k]))
 *   %a = div %x, %255                                               with  index q = (k) / 28, index r = (k) mod 28
 *   %b = reshape %a : f32[B, 784] ...
 *
 * A value that is used more than once, or that does not change in the innermost loop, gets a let and is found again under it.
 */
#include "passes/lower.h"

#include <math.h>

/* ---- homes ---- */

Home *home_plain(Lower *l, Buffer *b) {
    Home *h = arena_make(l->arena, Home);
    h->buffer = b;
    for (int i = 0; i < b->rank; i++) h->axis[i] = i;
    return h;
}

bool home_is_whole(const Home *h, const Type *t) {
    if (h->buffer->rank != t->rank) return false;
    for (int i = 0; i < t->rank; i++)
        if (h->axis[i] != i || h->offset[i] || !dim_same(h->buffer->dim[i], t->dim[i])) return false;
    return true;
}

bool home_has_edges(const Home *h, const Type *t) {
    for (int i = 0; i < h->buffer->rank; i++)
        if (h->axis[i] >= 0 && (h->offset[i] || !dim_same(h->buffer->dim[i], t->dim[h->axis[i]]))) return false;
    return true;
}

void home_index(Lower *l, const Home *h, const Affine *const *index, const Affine **out) {
    for (int i = 0; i < h->buffer->rank; i++)
        out[i] = h->axis[i] >= 0 ? affine_add_constant(l->arena, index[h->axis[i]], h->offset[i]) : h->index[i];
}

void home_store(Lower *l, const Home *h, const Affine *const *index, Expr *e) {
    if (h->also && e->kind != EXPR_CONST && e->kind != EXPR_TEMP) e = low_temp(l, low_let(l, h->buffer->name, e));
    for (const Home *to = h; to; to = to->also) {
        const Affine *at[MAX_RANK + 1];
        home_index(l, to, index, at);
        low_emit(l, stmt_store(l->arena, to->buffer, at, to == h ? e : expr_clone(l->arena, e)));
    }
}

/* The home of a row of the nest's point, if index is in this point's row. */
static Home *local_home(const Lower *l, const Value *v, const Affine *const *index) {
    if (!l->local || !l->local[v->id]) return NULL;
    for (int i = 0; i < l->n_point; i++)
        if (!affine_same(index[i], l->point[i])) return NULL;
    return l->local[v->id];
}

static Home *home_of(const Lower *l, const Value *v, const Affine *const *index) {
    Home *h = local_home(l, v, index);
    return h ? h : l->home[v->id];
}

/* ---- what has been made ---- */

static Made *find_made(const Lower *l, const Value *v, int n, const Affine *const *index, bool var) {
    for (Scope *s = l->scope; s; s = s->outer)
        for (size_t i = s->made.n; i-- > 0;) {
            Made *m = &s->made.at[i];
            if (m->value != v || m->n != n || (m->var != NULL) != var) continue;
            bool same = true;
            for (int k = 0; k < n && same; k++) same = affine_same(m->index[k], index[k]);
            if (same) return m;
        }
    return NULL;
}

static void note_made(Lower *l, const Value *v, int n, const Affine *const *index, Temp *t, Var *var, const Affine *size) {
    const Affine **at = arena_make_n(l->arena, const Affine *, (size_t)n + 1);
    for (int i = 0; i < n; i++) at[i] = index[i];
    vec_push(l->arena, &l->scope->made, ((Made){v, n, at, t, var, size}));
}

Temp *low_made(const Lower *l, const Value *v, int n, const Affine *const *key) {
    Made *m = find_made(l, v, n, key, false);
    return m ? m->temp : NULL;
}

void low_note_made(Lower *l, const Value *v, int n, const Affine *const *key, Temp *t) { note_made(l, v, n, key, t, NULL, NULL); }

/* ---- numbers from indices ---- */

/* An index as a number of type elem. */
static Expr *index_number(Lower *l, Elem elem, const Affine *x) {
    if (elem == I32 || elem == I64) return expr_index(l->arena, elem, x);
    Expr *e = low_i64(l, x);
    return expr_op(l->arena, OP_convert, elem, 1, &e);
}

/* How many elements lie from one index of axis k to the next, as i64; *constant where that does not depend on B. */
static Expr *row_size(Lower *l, const Type *t, int k, int64_t *constant) {
    int64_t n = 1, batch = 0;
    for (int i = k + 1; i < t->rank; i++) {
        n *= t->dim[i].n;
        batch |= t->dim[i].batch;
    }
    *constant = batch ? -1 : n;
    return low_i64(l, batch ? affine_scale(l->arena, affine_var(l->arena, l->step->batch), n) : low_number(l, n));
}

/* The place of an element in row-major order, as an i64 number. */
static Expr *flat_number(Lower *l, const Type *t, const Affine *const *index) {
    const Affine *sum = low_number(l, 0);
    Expr *rest = NULL;
    for (int k = 0; k < t->rank; k++) {
        int64_t n;
        Expr *size = row_size(l, t, k, &n);
        if (n >= 0) {
            sum = affine_add(l->arena, sum, affine_scale(l->arena, index[k], n));
        } else {
            Expr *part = low_binary(l, OP_mul, low_i64(l, index[k]), size);
            rest = rest ? low_binary(l, OP_add, rest, part) : part;
        }
    }
    return rest ? low_binary(l, OP_add, rest, low_i64(l, sum)) : low_i64(l, sum);
}

/* ---- ops that move elements: the index of the operand ---- */

static bool is_one(Dim d) { return d.n == 1 && !d.batch; }

/* One group of reshape_index: axes i0..i of t and j0..j of x hold the same elements. Axes of one element do not count; if one
 * axis is left on either side, it goes over as it is. */
static void reshape_group(Lower *l, const Type *t, int i0, int i, const Affine *const *index, const Type *x, int j0, int j,
                          const Affine **out) {
    int n_t = 0, n_x = 0, first_x = -1, last_t = -1;
    bool hard = false; /* B stands behind another axis: sizes are known when it runs only */
    for (int k = i0; k < i; k++) {
        if (is_one(t->dim[k])) continue;
        hard |= t->dim[k].batch && n_t > 0;
        n_t++;
        last_t = k;
    }
    for (int k = j0; k < j; k++) {
        out[k] = low_number(l, 0);
        if (is_one(x->dim[k])) continue;
        hard |= x->dim[k].batch && n_x > 0;
        if (n_x++ == 0) first_x = k;
    }
    if (n_x == 0) return;
    if (n_t == 1 && n_x == 1) {
        out[first_x] = index[last_t];
        return;
    }
    const Affine *flat = low_number(l, 0);
    if (hard) {
        Dim dims[MAX_RANK];
        for (int k = i0; k < i; k++) dims[k - i0] = t->dim[k];
        flat = low_index_value(l, "flat", flat_number(l, type_make(t->elem, i - i0, dims), index + i0), 0, INT64_MAX / 8);
    } else {
        int64_t stride = 1;
        for (int k = i - 1; k >= i0; stride *= t->dim[k].n, k--)
            if (!is_one(t->dim[k])) flat = affine_add(l->arena, flat, affine_scale(l->arena, index[k], stride));
    }
    for (int k = j - 1; k > first_x; k--) {
        if (is_one(x->dim[k])) continue;
        if (hard) {
            int64_t lo, hi;
            low_range(l, low_dim(l, x->dim[k]), &lo, &hi);
            Expr *r = low_binary(l, OP_mod, low_i64(l, flat), low_i64(l, low_dim(l, x->dim[k])));
            Expr *q = low_binary(l, OP_floor_div, low_i64(l, flat), low_i64(l, low_dim(l, x->dim[k])));
            out[k] = low_index_value(l, "r", r, 0, hi - 1);
            flat = low_index_value(l, "q", q, 0, INT64_MAX / 8);
        } else {
            int64_t n = x->dim[k].n ? x->dim[k].n : 1;
            out[k] = low_mod(l, flat, n);
            flat = low_div(l, flat, n);
        }
    }
    out[first_x] = flat;
}

/* index of t -> index of x, which has the same elements in row-major order. Axes are compared from the last one on in groups of
 * equal size. */
static void reshape_index(Lower *l, const Type *t, const Affine *const *index, const Type *x, const Affine **out) {
    int i = t->rank, j = x->rank;
    while (i > 0 || j > 0) {
        int i0 = i, j0 = j;
        int64_t a = 1, b = 1;
        bool ab = false, bb = false;
        do { /* take axes on the side that has fewer elements until both have the same */
            bool left = j0 == 0 || (i0 > 0 && (a < b || (a == b && !ab && bb) || (a == b && ab == bb && i0 == i)));
            if (left)
                a *= t->dim[--i0].n, ab |= t->dim[i0].batch;
            else
                b *= x->dim[--j0].n, bb |= x->dim[j0].batch;
        } while ((a != b || ab != bb) && (i0 > 0 || j0 > 0));
        while (i0 > 0 && is_one(t->dim[i0 - 1])) i0--;
        while (j0 > 0 && is_one(x->dim[j0 - 1])) j0--;
        reshape_group(l, t, i0, i, index, x, j0, j, out);
        i = i0;
        j = j0;
    }
}

/* The index into operand 0 of an op that only moves elements; false if it is no such op. */
static bool moved_index(Lower *l, const Op *op, const Affine *const *index, const Affine **out) {
    const int64_t *at, *step;
    const Type *x = op->n_in ? op->in[0]->type : NULL;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch-enum"
    switch (op->code) {
    case OP_stop_gradient:
        for (int i = 0; i < x->rank; i++) out[i] = index[i];
        return true;
    case OP_broadcast:
        op_ints(op, A_axes, &at);
        for (int i = 0; i < x->rank; i++) out[i] = x->dim[i].n == 1 && !x->dim[i].batch ? low_number(l, 0) : index[at[i]];
        return true;
    case OP_transpose:
        op_ints(op, A_perm, &at);
        for (int i = 0; i < x->rank; i++) out[at[i]] = index[i];
        return true;
    case OP_slice:
        op_ints(op, A_start, &at);
        op_ints(op, A_step, &step);
        for (int i = 0; i < x->rank; i++)
            out[i] = affine_add_constant(l->arena, affine_scale(l->arena, index[i], step[i]), at[i]);
        return true;
    case OP_reverse: {
        int64_t n = op_ints(op, A_axes, &at);
        for (int i = 0; i < x->rank; i++) out[i] = index[i];
        for (int64_t k = 0; k < n; k++) {
            const Affine *last = affine_add_constant(l->arena, low_dim(l, x->dim[at[k]]), -1);
            out[at[k]] = affine_add(l->arena, last, affine_scale(l->arena, index[at[k]], -1));
        }
        return true;
    }
    case OP_reshape: reshape_index(l, op->out[0]->type, index, x, out); return true;
    default: return false;
    }
#pragma GCC diagnostic pop
}

const Affine *pull_index(Lower *l, const Value *v, const Affine *const *index, const Affine *size) {
    const Affine *at[MAX_RANK + 1];
    if (v->def && v->def->code == OP_broadcast &&
        !home_of(l, v, index)) { /* it stands outside of the loops that it is repeated along */
        moved_index(l, v->def, index, at);
        return pull_index(l, v->def->in[0], at, size);
    }
    Made *m = find_made(l, v, v->type->rank, index, true);
    if (m && affine_same(m->size, size)) return affine_var(l->arena, m->var);
    Hoisted h = low_hoist(l, low_scope_of(l, v->type->rank, index));
    Expr *e = pull(l, v, index);
    int64_t lo, hi;
    low_range(l, size, &lo, &hi);
    Var *var = low_var(l, VAR_INDEX, low_value_name(v), 0, hi > 0 ? hi - 1 : 0);
    low_emit(l, stmt_index(l->arena, var, INDEX_VALUE, NULL, 0, e));
    low_emit(l, stmt_check(l->arena, var, size));
    note_made(l, v, v->type->rank, index, NULL, var, size);
    low_return(l, h);
    return affine_var(l->arena, var);
}

/* ---- conditions ---- */

/* Opens conditions for 0 <= x < size where that is not sure. */
static void open_inside(Lower *l, const Affine *x, const Affine *size) {
    const Affine *room = affine_add_constant(l->arena, affine_add(l->arena, size, affine_scale(l->arena, x, -1)), -1);
    int64_t lo, hi;
    low_range(l, x, &lo, &hi);
    if (lo < 0) low_open_if(l, x);
    low_range(l, room, &lo, &hi);
    if (lo < 0) low_open_if(l, room);
}

Expr *pull_or(Lower *l, const Value *x, const Affine *const *index, const bool *guard, double fill) {
    bool any = false;
    for (int i = 0; i < x->type->rank; i++) {
        int64_t lo, hi;
        low_range(l, index[i], &lo, &hi);
        any |= guard[i] && (lo < 0 || x->type->dim[i].batch || hi >= x->type->dim[i].n);
    }
    if (!any) return pull(l, x, index);
    const Affine *at[MAX_RANK + 1], *next[MAX_RANK + 1];
    Home *h = home_of(l, x, index);
    const Value *v = x;
    for (int i = 0; i < x->type->rank; i++) at[i] = index[i];
    while (!h && v->def && v->def->code == OP_transpose) { /* an order of axes keeps inside and outside apart */
        moved_index(l, v->def, at, next);
        v = v->def->in[0];
        for (int i = 0; i < v->type->rank; i++) at[i] = next[i];
        h = home_of(l, v, at);
    }
    if (h && h->buffer && home_has_edges(h, v->type)) {
        home_index(l, h, at, next);
        return expr_load_else(l->arena, h->buffer, next, fill);
    }
    Temp *t = low_acc(l, low_value_name(x), x->type->elem, 0, expr_const(l->arena, x->type->elem, fill));
    Scope *here = l->scope;
    for (int i = 0; i < x->type->rank; i++)
        if (guard[i]) open_inside(l, index[i], low_dim(l, x->type->dim[i]));
    low_set(l, t, pull(l, x, index));
    low_close_to(l, here);
    return low_temp(l, t);
}

/* value around x, and between its elements */
static Expr *pull_pad(Lower *l, const Op *op, const Affine *const *index) {
    const Value *x = op->in[0], *fill = op->in[1];
    const int64_t *low, *interior;
    op_ints(op, A_low, &low);
    op_ints(op, A_interior, &interior);
    const Affine *at[MAX_RANK + 1], *hole[MAX_RANK + 1];
    bool guard[MAX_RANK + 1], holes = false;
    for (int i = 0; i < x->type->rank; i++) {
        at[i] = affine_add_constant(l->arena, index[i], -low[i]);
        hole[i] = NULL;
        guard[i] = !x->type->dim[i].batch;
        if (interior[i] == 0) continue;
        hole[i] = low_mod(l, at[i], interior[i] + 1);
        at[i] = low_div(l, at[i], interior[i] + 1);
        holes = true;
    }
    if (!holes && fill->def && fill->def->code == OP_constant) return pull_or(l, x, at, guard, op_real(fill->def, A_value));
    Temp *t = low_acc(l, "padded", x->type->elem, 0, pull(l, fill, NULL));
    Scope *here = l->scope;
    for (int i = 0; i < x->type->rank; i++) {
        if (!guard[i]) continue;
        open_inside(l, at[i], low_dim(l, x->type->dim[i]));
        if (hole[i] && !(affine_is_constant(hole[i]) && hole[i]->constant == 0))
            low_open_if(l, affine_scale(l->arena, hole[i], -1));
    }
    low_set(l, t, pull(l, x, at));
    low_close_to(l, here);
    return low_temp(l, t);
}

static Expr *pull_concat(Lower *l, const Op *op, const Affine *const *index) {
    int64_t axis = op_int(op, A_axis);
    const Affine *at[MAX_RANK + 1], *begin = low_number(l, 0);
    for (int i = 0; i < op->out[0]->type->rank; i++) at[i] = index[i];
    Temp *t = NULL;
    for (int k = 0; k < op->n_in; k++) {
        const Affine *size = low_dim(l, op->in[k]->type->dim[axis]);
        int64_t lo, hi, lo2, hi2;
        at[axis] = affine_add(l->arena, index[axis], affine_scale(l->arena, begin, -1));
        begin = affine_add(l->arena, begin, size);
        low_range(l, at[axis], &lo, &hi);
        low_range(l, affine_add(l->arena, size, affine_scale(l->arena, at[axis], -1)), &lo2, &hi2);
        if (hi < 0 || hi2 < 1) continue; /* never here */
        if (!t && lo >= 0 && lo2 >= 1) return pull(l, op->in[k], at);
        if (!t) t = low_acc(l, "joined", op->out[0]->type->elem, 0, expr_const(l->arena, op->out[0]->type->elem, 0));
        Scope *here = l->scope;
        open_inside(l, at[axis], size);
        low_set(l, t, pull(l, op->in[k], at));
        low_close_to(l, here);
    }
    return t ? low_temp(l, t) : expr_const(l->arena, op->out[0]->type->elem, 0);
}

/* ---- indices that are loaded ---- */

static Expr *pull_take(Lower *l, const Op *op, const Affine *const *index) {
    const Value *x = op->in[0], *i = op->in[1];
    int64_t axis = op_int(op, A_axis);
    const Affine *at[MAX_RANK + 1];
    for (int k = 0; k < x->type->rank; k++) {
        if (k < axis)
            at[k] = index[k];
        else if (k == axis)
            at[k] = pull_index(l, i, index + axis, low_dim(l, x->type->dim[axis]));
        else
            at[k] = index[k - 1 + i->type->rank];
    }
    return pull(l, x, at);
}

static Expr *pull_gather(Lower *l, const Op *op, const Affine *const *index) {
    const Value *x = op->in[0], *i = op->in[1];
    int64_t axis = op_int(op, A_axis);
    const Affine *at[MAX_RANK + 1];
    for (int k = 0; k < x->type->rank; k++)
        at[k] = k == axis ? pull_index(l, i, index, low_dim(l, x->type->dim[axis])) : index[k];
    return pull(l, x, at);
}

/* One index along the axis, added to a constant: x + y where it is this place, else x. (Others: lower_special.c.) */
static Expr *pull_scatter_one(Lower *l, const Op *op, const Affine *const *index) {
    const Value *x = op->in[0], *y = op->in[1], *i = op->in[2];
    const Type *t = op->out[0]->type;
    int64_t axis = op_int(op, A_axis);
    const Affine *at[MAX_RANK + 1];
    for (int k = 0; k < t->rank; k++) at[k] = k == axis ? low_number(l, 0) : index[k];
    const Affine *place = pull_index(l, i, at, low_dim(l, t->dim[axis]));
    Expr *here = low_binary(l, OP_eq, expr_index(l->arena, I32, place), expr_index(l->arena, I32, index[axis]));
    Expr *args[3] = {here, low_binary(l, OP_add, pull(l, x, index), pull(l, y, at)), pull(l, x, index)};
    return expr_op(l->arena, OP_select, t->elem, 3, args);
}

const Affine *low_dynamic_start(Lower *l, const Value *start, Dim whole, Dim size) {
    const Affine *room = affine_add(l->arena, low_dim(l, whole), affine_scale(l->arena, low_dim(l, size), -1));
    return pull_index(l, start, NULL, affine_add_constant(l->arena, room, 1));
}

static Expr *pull_dynamic_slice(Lower *l, const Op *op, const Affine *const *index) {
    const Value *x = op->in[0];
    const int64_t *axes;
    int64_t n = op_ints(op, A_axes, &axes);
    const Affine *at[MAX_RANK + 1];
    for (int k = 0; k < x->type->rank; k++) at[k] = index[k];
    for (int64_t k = 0; k < n; k++) {
        const Affine *start = low_dynamic_start(l, op->in[1 + k], x->type->dim[axes[k]], op->out[0]->type->dim[axes[k]]);
        at[axes[k]] = affine_add(l->arena, index[axes[k]], start);
    }
    return pull(l, x, at);
}

static Expr *pull_dynamic_update(Lower *l, const Op *op, const Affine *const *index) {
    const Value *x = op->in[0], *u = op->in[1];
    const int64_t *axes;
    int64_t n = op_ints(op, A_axes, &axes);
    const Affine *at[MAX_RANK + 1];
    for (int k = 0; k < x->type->rank; k++) at[k] = index[k];
    for (int64_t k = 0; k < n; k++) {
        const Affine *start = low_dynamic_start(l, op->in[2 + k], x->type->dim[axes[k]], u->type->dim[axes[k]]);
        at[axes[k]] = affine_add(l->arena, index[axes[k]], affine_scale(l->arena, start, -1));
    }
    Temp *t = low_acc(l, "updated", x->type->elem, 0, pull(l, x, index));
    Scope *here = l->scope;
    for (int64_t k = 0; k < n; k++) open_inside(l, at[axes[k]], low_dim(l, u->type->dim[axes[k]]));
    low_set(l, t, pull(l, u, at));
    low_close_to(l, here);
    return low_temp(l, t);
}

/* ---- everything ---- */

/* The numbers of a literal lie in the program. */
static Home *literal_home(Lower *l, const Value *v) {
    const Attr *at = op_attr(v->def, A_values);
    Buffer *b = step_buffer(l->arena, l->step, low_value_name(v), v->type->elem, v->type->rank, v->type->dim, v->def->loc);
    b->place = PLACE_DATA;
    b->data = at->reals.at;
    return l->home[v->id] = home_plain(l, b);
}

static Expr *pull_uniform(Lower *l, const Op *op, const Affine *const *index) {
    const Type *t = op->out[0]->type;
    Expr *key = pull(l, op->in[0], NULL), *at;
    if (op->n_in > 1) { /* samples are counted from `first`: a leading axis of k * B begins at k * first */
        int64_t row;
        Expr *size = row_size(l, t, 0, &row);
        if (t->dim[0].batch && t->dim[0].n > 1) size = low_binary(l, OP_mul, size, low_i64(l, low_number(l, t->dim[0].n)));
        at = low_binary(l, OP_add, low_binary(l, OP_mul, pull(l, op->in[1], NULL), size), flat_number(l, t, index));
    } else {
        at = flat_number(l, t, index);
    }
    return expr_uniform(l->arena, op_int(op, A_site), key, at);
}

/* Without looking for what has been made. */
static Expr *compute(Lower *l, const Value *v, const Affine *const *index) {
    const Op *op = v->def;
    if (!op) bug("lower: a parameter of type %s has no place", type_name(v->type));
    Loc outside = l->loc;
    if (op->loc.file) l->loc = op->loc;
    Expr *e = NULL;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch-enum"
    switch (op->code) {
    case OP_uniform: e = pull_uniform(l, op, index); break;
    case OP_pad: e = pull_pad(l, op, index); break;
    case OP_concat: e = pull_concat(l, op, index); break;
    case OP_take: e = pull_take(l, op, index); break;
    case OP_gather: e = pull_gather(l, op, index); break;
    case OP_scatter_add: e = pull_scatter_one(l, op, index); break;
    case OP_dynamic_slice: e = pull_dynamic_slice(l, op, index); break;
    case OP_dynamic_update: e = pull_dynamic_update(l, op, index); break;
    default:
        if (op_info[op->code].elementwise) {
            Expr *args[3];
            for (int i = 0; i < op->n_in; i++) args[i] = pull(l, op->in[i], index);
            e = expr_op(l->arena, op->code, v->type->elem, op->n_in, args);
        } else if (op_reduces(op->code)) {
            e = pull_reduction(l, op, index);
        } else {
            bug("lower: an element of `%s` cannot be computed alone", op_info[op->code].name);
        }
    }
#pragma GCC diagnostic pop
    l->loc = outside;
    return e;
}

/* A row of the point that several loops read: computed once, into memory of the thread. */
static Home *keep_row(Lower *l, const Value *v) {
    Step *s = l->step;
    Dim dims[MAX_RANK];
    int n = 0;
    Home *h = arena_make(l->arena, Home);
    for (int i = l->n_point; i < v->type->rank; i++) {
        h->axis[n] = i;
        dims[n++] = v->type->dim[i];
    }
    h->buffer = step_buffer(l->arena, s, low_value_name(v), v->type->elem, n, dims, v->def->loc);
    h->buffer->place = PLACE_THREAD;
    Hoisted back = low_hoist(l, l->point_scope);
    const Affine *at[MAX_RANK + 1];
    for (int i = 0; i < v->type->rank; i++)
        at[i] = i < l->n_point ? l->point[i] : affine_var(l->arena, low_open_dim(l, low_axis_name(i), v->type->dim[i]));
    home_store(l, h, at, compute(l, v, at));
    low_close_to(l, back.target);
    low_return(l, back);
    return l->local[v->id] = h;
}

static Expr *load_home(Lower *l, const Home *h, const Affine *const *index) {
    if (h->number) return NULL;
    const Affine *at[MAX_RANK + 1];
    home_index(l, h, index, at);
    return expr_load(l->arena, h->buffer, at);
}

/* Under a let in the scope where it belongs, if that is an outer one or the value is used more than once. */
static Expr *pull_let(Lower *l, const Value *v, const Affine *const *index, const Home *h) {
    int rank = v->type->rank;
    Made *m = find_made(l, v, rank, index, false);
    if (m) return low_temp(l, m->temp);
    Scope *target = low_scope_of(l, rank, index);
    if (target != l->scope) {
        Hoisted back = low_hoist(l, target);
        Expr *e = h ? load_home(l, h, index) : compute(l, v, index);
        if (e->kind != EXPR_TEMP || e->n_index) {
            Temp *t = low_let(l, low_value_name(v), e);
            note_made(l, v, rank, index, t, NULL, NULL);
            e = low_temp(l, t);
        } else {
            note_made(l, v, rank, index, e->temp, NULL, NULL);
        }
        low_return(l, back);
        return e;
    }
    if (h) return load_home(l, h, index);
    Expr *e = compute(l, v, index);
    if (e->kind == EXPR_TEMP && e->n_index == 0)
        note_made(l, v, rank, index, e->temp, NULL, NULL);
    else if (l->uses[v->id] > 1 && !l->plain && e->kind == EXPR_OP) {
        Temp *t = low_let(l, low_value_name(v), e);
        note_made(l, v, rank, index, t, NULL, NULL);
        return low_temp(l, t);
    }
    return e;
}

Expr *pull(Lower *l, const Value *v, const Affine *const *index) {
    const Affine *at[MAX_RANK + 1];
    const Home *h = home_of(l, v, index);
    if (!h && v->def && v->def->code == OP_literal) h = literal_home(l, v);
    if (h && h->number && h->plus) return low_binary(l, OP_add, pull(l, h->plus, NULL), index_number(l, I32, h->number));
    if (h && h->number) return index_number(l, v->type->elem, h->number);
    if (h) return pull_let(l, v, index, h);
    const Op *op = v->def;
    if (op && op->code == OP_constant) return expr_const(l->arena, v->type->elem, op_real(op, A_value));
    if (op && op->code == OP_batch) return expr_index(l->arena, I32, affine_var(l->arena, l->step->batch));
    if (op && op->code == OP_iota) return index_number(l, v->type->elem, index[op_int(op, A_axis)]);
    if (op && moved_index(l, op, index, at)) return pull(l, op->in[0], at);
    if (l->keep && l->keep[v->id]) {
        bool here = true;
        for (int i = 0; i < l->n_point; i++) here &= affine_same(index[i], l->point[i]);
        if (here) return load_home(l, keep_row(l, v), index);
    }
    return pull_let(l, v, index, NULL);
}
