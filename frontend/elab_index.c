/*
 * elab_index.c - x[i], x[:, t], x[..., -1], x[a:b], x[:, new], E[tokens], and x[i] = v.
 *
 * The items of a bracket are read against the axes of x, one each (`...` stands for as many as are left over, `new` for none).
 * Constant parts become one `slice`, run-time scalars a `take` each, and what is left is a reshape. Negative indices count from the
 * end, as constants only.
 *
 * Several indices that are tensors are broadcast to one shape and pick element by element, as in NumPy; the axes of that shape
 * stand where the first of them stands (NumPy's rule too, but where a `:` stands between them: there it moves them to the front).
 * On the left of `=` a loop writes one element after the other, so that of equal indices the last wins.
 */
#include "elab.h"

typedef enum ItemKind { ITEM_ALL, ITEM_SLICE, ITEM_ONE, ITEM_SCALAR, ITEM_TENSOR, ITEM_NEW } ItemKind;

typedef struct Item {
    ItemKind kind;
    int64_t from, to; /* SLICE, ONE: from alone */
    Value *index;     /* SCALAR, TENSOR */
    Loc loc;
} Item;

typedef struct Items {
    int n;
    Item at[3 * MAX_RANK];
} Items;

/* ---- lists and strings of the interpreter ---- */

static bool list_place(Elab *e, const AstNode *n, int64_t size, int64_t standard, int64_t *out, bool end) {
    *out = standard;
    if (!n) return true;
    if (!expr_whole(e, n, "an index of a list", out)) return false;
    int64_t i = *out;
    if (i < 0) i += size;
    if (i < 0 || i > size || (i == size && !end)) {
        elab_error(e, n->loc, 208, "index %" PRId64 " is outside a list of %" PRId64, *out, size);
        return false;
    }
    *out = i;
    return true;
}

static Val index_list(Elab *e, Val base, const AstNode *n) {
    if (n->call.items.n != 1) return elab_error(e, n->loc, 208, "a list has one index");
    const AstNode *item = n->call.items.at[0];
    int64_t size = (int64_t)base.list->n, from, to;
    if (item->kind == AST_SLICE) {
        if (!list_place(e, item->slice.from, size, 0, &from, true) || !list_place(e, item->slice.to, size, size, &to, true))
            return val_error();
        return val_list(e, VAL_LIST, to > from ? (size_t)(to - from) : 0, base.list->at + from);
    }
    if (!list_place(e, item, size, 0, &from, false)) return val_error();
    return base.list->at[from];
}

/* ---- reading the items ---- */

static bool read_slice(Elab *e, const AstNode *n, Dim d, Item *out) {
    const AstNode *from = n->slice.from, *to = n->slice.to;
    *out = (Item){.kind = ITEM_ALL, .loc = n->loc};
    if (!from && !to) return true;
    Val a = from ? expr_read(e, from) : val_number(0), b = to ? expr_read(e, to) : val_dim(d);
    if (a.kind == VAL_ERROR || b.kind == VAL_ERROR) return false;
    if (d.batch) { /* the whole of it, however it is said */
        if (a.kind == VAL_NUMBER && a.num == 0 && b.kind == VAL_NUMBER && b.batch && b.num == (double)d.n) return true;
        elab_error(e, n->loc, 213, "the batch axis can only be taken whole here");
        return false;
    }
    if (!val_whole(a, &out->from) || !val_whole(b, &out->to)) {
        elab_error(e, n->loc, 208, "the ends of a slice are whole numbers known when compiled");
        if (a.kind == VAL_SCALAR || b.kind == VAL_SCALAR)
            elab_note(e, (Loc){0}, "x[t + arange(3)] takes three places from t on, with a t known when the program runs");
        return false;
    }
    int64_t given_from = out->from, given_to = out->to;
    if (out->from < 0) out->from += d.n;
    if (out->to < 0) out->to += d.n;
    if (out->from >= 0 && out->to >= 0 && out->from <= d.n && out->to <= d.n && out->from > out->to) {
        elab_error(e, n->loc, 208, "the slice %" PRId64 ":%" PRId64 " ends before it begins, on an axis of %" PRId64, given_from,
                   given_to, d.n);
        elab_note(e, (Loc){0}, "reverse(x, axis) turns an axis round");
        return false;
    }
    if (out->from < 0 || out->to > d.n || out->from > d.n || out->to < 0) {
        elab_error(e, n->loc, 208, "the slice %" PRId64 ":%" PRId64 " is outside an axis of %" PRId64, given_from, given_to, d.n);
        return false;
    }
    if (out->to < out->from) out->to = out->from;
    out->kind = ITEM_SLICE;
    return true;
}

static bool read_index(Elab *e, const AstNode *n, Dim d, Item *out) {
    Val v = expr_read(e, n);
    *out = (Item){.kind = ITEM_ONE, .loc = n->loc};
    if (v.kind == VAL_ERROR) return false;
    if (val_whole(v, &out->from)) {
        int64_t given = out->from;
        if (d.batch) {
            if (given < 0) {
                elab_error(e, n->loc, 208, "a negative index on the batch axis, whose size is known when the program runs");
                return false;
            }
            out->kind = ITEM_SCALAR;
            out->index = emit_constant(e, type_scalar(I32), (double)given);
            return out->index != NULL;
        }
        if (given < 0) out->from += d.n;
        if (out->from >= 0 && out->from < d.n) return true;
        elab_error(e, n->loc, 208, "index %" PRId64 " is outside an axis of %" PRId64, given, d.n);
        return false;
    }
    if (val_is_number(v)) {
        if (v.kind == VAL_NUMBER || !v.whole) {
            elab_error(e, n->loc, 208, "an index is a whole number, not %s", val_text(e, v));
            return false;
        }
        out->kind = ITEM_SCALAR;
        out->index = number_as(e, v, I32, n->loc);
        return out->index != NULL;
    }
    Value *x = tensor_of(e, v, n->loc);
    if (!x) return false;
    if (!elem_is_int(x->type->elem)) {
        elab_error(e, n->loc, 208, "an index is an integer, not %s", type_name(x->type));
        if (x->type->elem == BOOL)
            elab_note(e, (Loc){0}, "a mask chooses in place: `if mask then x else 0`; sum(f32(mask)) counts");
        return false;
    }
    out->kind = x->type->rank ? ITEM_TENSOR : ITEM_SCALAR;
    out->index = x;
    return true;
}

static bool read_items(Elab *e, const Type *t, const AstNode *n, Items *out) {
    const Nodes *items = &n->call.items;
    int used = 0, rest = -1;
    for (uint32_t i = 0; i < items->n; i++) {
        const AstNode *item = items->at[i];
        if (item->kind == AST_KEYWORD) {
            elab_error(e, item->loc, 208, "an index has no names");
            return false;
        }
        if (item->kind == AST_REST && !item->rest.value) {
            if (rest >= 0) {
                elab_error(e, item->loc, 208, "`...` may stand once in an index");
                return false;
            }
            rest = (int)i;
        } else if (item->kind != AST_NEW)
            used++;
    }
    if (items->n == 0) {
        elab_error(e, n->loc, 208, "there is no index in these brackets");
        return false;
    }
    if (used > t->rank || items->n > 2 * MAX_RANK) {
        elab_error(e, n->loc, 208, "%d indices for %s", used, type_name(t));
        return false;
    }
    int axis = 0;
    out->n = 0;
    for (uint32_t i = 0; i < items->n; i++) {
        const AstNode *item = items->at[i];
        Item *to = &out->at[out->n];
        if ((int)i == rest) {
            for (int k = t->rank - used; k > 0; k--, axis++) out->at[out->n++] = (Item){.kind = ITEM_ALL, .loc = item->loc};
            continue;
        }
        out->n++;
        if (item->kind == AST_NEW) {
            *to = (Item){.kind = ITEM_NEW, .loc = item->loc};
            continue;
        }
        Dim d = t->dim[axis++];
        if (item->kind == AST_SLICE ? !read_slice(e, item, d, to) : !read_index(e, item, d, to)) return false;
    }
    for (; axis < t->rank; axis++) out->at[out->n++] = (Item){.kind = ITEM_ALL, .loc = n->loc};
    return true;
}

/* ---- x[...] ---- */

/* The constant slices and indices, as one op; axes stay. */
static Value *slice_constants(Elab *e, Value *x, const Items *items) {
    int64_t start[MAX_RANK], limit[MAX_RANK], step[MAX_RANK];
    bool any = false;
    int axis = 0;
    for (int i = 0; i < items->n; i++) {
        const Item *it = &items->at[i];
        if (it->kind == ITEM_NEW) continue;
        Dim d = x->type->dim[axis];
        start[axis] = 0;
        limit[axis] = d.batch ? -1 : d.n;
        step[axis] = 1;
        if (it->kind == ITEM_SLICE || it->kind == ITEM_ONE) {
            start[axis] = it->from;
            limit[axis] = it->kind == ITEM_ONE ? it->from + 1 : it->to;
            any = any || start[axis] != 0 || limit[axis] != d.n;
        }
        axis++;
    }
    return any ? emit_slice(e, x, start, limit, step) : x;
}

/* The places of the items that are tensors, and the shape that these have together. */
typedef struct Picked {
    int n;
    int item[MAX_RANK], axis[MAX_RANK]; /* of x */
    Value *index[MAX_RANK];             /* integers of the common shape, checked by whoever uses them */
    int rank;
    Dim dims[MAX_RANK];
} Picked;

/* False after an error; n is 0 where no item is a tensor. */
static bool read_picked(Elab *e, const Items *items, Picked *p, Loc at) {
    *p = (Picked){0};
    int axis = 0;
    for (int i = 0; i < items->n; i++) {
        const Item *it = &items->at[i];
        if (it->kind == ITEM_TENSOR) {
            p->item[p->n] = i;
            p->axis[p->n] = axis;
            p->index[p->n++] = it->index;
        }
        axis += it->kind != ITEM_NEW;
    }
    for (int i = 0; i < p->n; i++) {
        const Type *both = type_make(I32, p->rank, p->dims);
        if (!broadcast_shape(e, i ? items->at[p->item[i]].loc : at, both, p->index[i]->type, &p->rank, p->dims)) return false;
    }
    emit_at(e, at);
    for (int i = 0; i < p->n; i++) p->index[i] = emit_broadcast(e, p->index[i], p->rank, p->dims);
    return true;
}

/* The index itself, with the check that it is inside an axis of d: element i of 0, 1, 2, ... */
static Value *checked_index(Elab *e, Value *index, Dim d) {
    if (!index) return NULL;
    Attr axis = attr_i(A_axis, 0);
    return emit_take(e, emit(e, OP_iota, 0, NULL, 1, &axis, type_make(I32, 1, &d)), index, 0);
}

/* Brings the picked axes of x side by side, the batch first, and makes one axis of them; *at: where it stands. They stay where the
 * first of them is, unless the batch is among them, which can be merged on the leading axis only. */
static Value *merge_axes(Elab *e, Value *x, const Picked *p, const int *order, int *at) {
    int64_t perm[MAX_RANK];
    int rank = x->type->rank, n = 0;
    bool moved = false, picked[MAX_RANK] = {false};
    for (int i = 0; i < p->n; i++) picked[p->axis[i]] = true;
    *at = x->type->dim[p->axis[order[0]]].batch ? 0 : p->axis[0];
    for (int k = 0; n < *at; k++)
        if (!picked[k]) perm[n++] = k;
    for (int i = 0; i < p->n; i++) perm[n++] = p->axis[order[i]];
    for (int k = 0; k < rank; k++) {
        bool before = false;
        for (int i = 0; i < n; i++) before = before || perm[i] == k;
        if (!before) perm[n++] = k;
    }
    for (int k = 0; k < rank; k++) moved = moved || perm[k] != k;
    if (moved) x = emit_transpose(e, x, perm);
    if (!x) return NULL;
    Dim dims[MAX_RANK], one = {1, false};
    for (int k = 0; k < p->n; k++) one = (Dim){one.n * x->type->dim[*at + k].n, one.batch || x->type->dim[*at + k].batch};
    n = 0;
    for (int k = 0; k < *at; k++) dims[n++] = x->type->dim[k];
    dims[n++] = one;
    for (int k = *at + p->n; k < rank; k++) dims[n++] = x->type->dim[k];
    return emit_reshape(e, x, n, dims);
}

/* x[.., i, .., j, ..] -> the picked axes as those of the indices. The other items see x without the second and later ones. */
static Value *take_picked(Elab *e, Value *x, const Picked *p) {
    int order[MAX_RANK] = {0}, at;
    for (int i = 0; i < p->n; i++) order[i] = i;
    for (int i = 1; i < p->n; i++)
        if (x->type->dim[p->axis[i]].batch) {
            for (int k = i; k > 0; k--) order[k] = order[k - 1];
            order[0] = i;
        }
    Dim all = {1, false};
    for (int i = 0; i < p->n; i++) all.n *= x->type->dim[p->axis[i]].n, all.batch = all.batch || x->type->dim[p->axis[i]].batch;
    Elem elem = all.batch || all.n > INT32_MAX ? I64 : I32;
    Value *place = NULL;
    for (int i = 0; i < p->n; i++) { /* ((i0 n1) + i1) n2 + i2 ... */
        Dim d = x->type->dim[p->axis[order[i]]];
        Value *index = emit_convert(e, checked_index(e, p->index[order[i]], d), elem);
        if (index && place) {
            place = emit_binary(e, OP_mul, place, emit_constant(e, place->type, (double)d.n));
            index = emit_binary(e, OP_add, place, index);
        }
        place = index;
    }
    x = merge_axes(e, x, p, order, &at);
    x = place && x ? emit_take(e, x, place, at) : NULL;
    if (!x || at == p->axis[0]) return x;
    int64_t perm[MAX_RANK]; /* back from the front to where the first index stands; before it only axes that are not picked */
    int n = 0;
    for (int k = 0; k < p->axis[0]; k++) perm[n++] = p->rank + k;
    for (int k = 0; k < p->rank; k++) perm[n++] = k;
    for (; n < x->type->rank; n++) perm[n] = n;
    return emit_transpose(e, x, perm);
}

static Val index_tensor(Elab *e, Value *x, const AstNode *n) {
    Items items;
    Picked picked;
    if (!read_items(e, x->type, n, &items)) return val_error();
    emit_at(e, n->loc);
    x = slice_constants(e, x, &items);
    if (!x || !read_picked(e, &items, &picked, n->loc)) return val_error();
    if (x->type->rank + picked.rank - picked.n > MAX_RANK)
        return elab_error(e, n->loc, 219, "a tensor has at most %d dimensions", MAX_RANK);
    if (picked.n > 1) x = take_picked(e, x, &picked);
    int axis = 0;
    Dim dims[4 * MAX_RANK]; /* of the result; axes of single places drop out */
    int rank = 0;
    for (int i = 0; i < items.n && x; i++) {
        const Item *it = &items.at[i];
        switch (it->kind) {
        case ITEM_NEW: dims[rank++] = (Dim){1, false}; break;
        case ITEM_ALL:
        case ITEM_SLICE: dims[rank++] = x->type->dim[axis++]; break;
        case ITEM_ONE: axis++; break;
        case ITEM_SCALAR: x = emit_take(e, x, it->index, axis); break; /* the axis goes */
        case ITEM_TENSOR:
            if (i != picked.item[0]) break; /* went with the first */
            if (picked.n == 1) x = emit_take(e, x, it->index, axis);
            for (int k = 0; x && k < picked.rank; k++) dims[rank++] = x->type->dim[axis++];
            break;
        }
    }
    if (!x) return val_error();
    if (rank > MAX_RANK) return elab_error(e, n->loc, 219, "a tensor has at most %d dimensions", MAX_RANK);
    return val_tensor(emit_reshape(e, x, rank, dims));
}

Val expr_element(Elab *e, Val base, const AstNode *n) {
    if (base.kind == VAL_ERROR) return base;
    if (base.kind == VAL_LIST) return index_list(e, base, n);
    if (base.kind == VAL_INSTANCE)
        return elab_error(e, n->loc, 103, "%s has its configuration already: `(...)` applies it", val_text(e, base));
    if (base.kind == VAL_TUPLE)
        return elab_error(e, n->loc, 103, "%s are no list: `a, b = f(x)` gives each a name", val_text(e, base));
    if (base.kind != VAL_TENSOR && base.kind != VAL_OWNED)
        return elab_error(e, n->loc, 103, "%s has no elements", val_text(e, base));
    Value *x = tensor_of(e, base, n->loc);
    return x ? index_tensor(e, x, n) : val_error();
}

/* ---- x[...] = v: a copy with that part replaced ---- */

/* What an assignment writes: the part of x with all its axes, and as v is written: without those that have one place by an index,
 * with those of the picked ones where the first of these stands. */
typedef struct Part {
    Dim dims[MAX_RANK], shown[4 * MAX_RANK];
    int rank, picked; /* of shown; where the axes of the indices begin there */
    int64_t axes[MAX_RANK];
    Value *start[MAX_RANK]; /* as many as axes; NULL: a picked one */
    int n_axes;
} Part;

/* i32, as a place to begin at is. What does not fit in that is outside, too. */
static Value *start_index(Elab *e, Value *index, Dim d) {
    return index && index->type->elem == I64 ? checked_index(e, index, d) : emit_convert(e, index, I32);
}

static void read_part(Elab *e, const Type *t, const Items *items, const Picked *picked, Part *p) {
    *p = (Part){0};
    int axis = 0;
    for (int i = 0; i < items->n; i++) {
        const Item *it = &items->at[i];
        if (it->kind == ITEM_NEW) {
            p->shown[p->rank++] = (Dim){1, false};
            continue;
        }
        Dim d = t->dim[axis];
        if (it->kind == ITEM_SLICE) d = (Dim){it->to - it->from, false};
        if (it->kind == ITEM_TENSOR && i == picked->item[0]) {
            p->picked = p->rank;
            for (int k = 0; k < picked->rank; k++) p->shown[p->rank++] = picked->dims[k];
        }
        if (it->kind == ITEM_ONE || it->kind == ITEM_SCALAR || it->kind == ITEM_TENSOR)
            d = (Dim){1, false};
        else
            p->shown[p->rank++] = d;
        p->dims[axis] = d;
        if (it->kind != ITEM_ALL) {
            p->axes[p->n_axes] = axis;
            p->start[p->n_axes++] = it->kind == ITEM_TENSOR   ? NULL
                                    : it->kind == ITEM_SCALAR ? start_index(e, it->index, t->dim[axis])
                                                              : emit_constant(e, type_scalar(I32), (double)it->from);
        }
        axis++;
    }
}

/* x with u, of the part's shown shape without the picked axes, at the starts. */
static Value *replace_part(Elab *e, Value *x, Value *u, const Part *p) {
    Value *in[MAX_RANK + 2] = {x, emit_reshape(e, u, x->type->rank, p->dims)};
    for (int i = 0; i < p->n_axes; i++) in[2 + i] = p->start[i];
    Attr a = attr_ints(e->a, A_axes, p->axes, p->n_axes);
    return emit(e, OP_dynamic_update, 2 + p->n_axes, in, 1, &a, NULL);
}

/* The axes from `from` on, `count` of them, to the front and made one. */
static Value *in_front(Elab *e, Value *u, int from, int count, Dim one) {
    int64_t perm[MAX_RANK];
    Dim dims[MAX_RANK] = {one};
    int rank = u->type->rank, n = 0;
    for (int k = 0; k < count; k++) perm[n++] = from + k;
    for (int k = 0; k < rank; k++)
        if (k < from || k >= from + count) {
            dims[1 + n - count] = u->type->dim[k];
            perm[n++] = k;
        }
    if (from) u = emit_transpose(e, u, perm);
    return emit_reshape(e, u, rank - count + 1, dims);
}

/* for each place k of the indices: x[i[k], j[k], ..] = u[k], as a scan that carries x */
static Value *replace_picked(Elab *e, Value *x, Value *u, const Picked *picked, Part *p, Loc at) {
    Dim one = {1, false};
    for (int k = 0; k < picked->rank; k++) one = (Dim){one.n * picked->dims[k].n, one.batch || picked->dims[k].batch};
    Value *in[MAX_RANK + 3] = {x, in_front(e, u, p->picked, picked->rank, one)};
    int n = 2;
    for (int i = 0; i < picked->n; i++)
        in[n++] = emit_reshape(e, start_index(e, picked->index[i], x->type->dim[picked->axis[i]]), 1, &one);
    if (one.batch) in[n++] = number_as(e, val_dim(one), I32, at);
    for (int i = 0; i < n; i++)
        if (!in[i]) return NULL;
    Builder outside = e->b;
    Block *b = block_new(e->b.func, NULL);
    block_param(b, type_scalar(I32), "k");
    Value *now = block_param(b, x->type, "part"), *part = NULL;
    int64_t axes[MAX_RANK + 1] = {0};
    e->b.block = b;
    e->b.before = NULL;
    for (int i = 1; i < n - one.batch; i++) {
        const Type *t = in[i]->type;
        Value *v = block_param(b, type_make(t->elem, t->rank - 1, t->dim + 1), NULL);
        if (i == 1) part = v;
        for (int k = 0; k < p->n_axes && i > 1; k++)
            if (p->axes[k] == picked->axis[i - 2]) p->start[k] = v;
    }
    now = replace_part(e, now, part, p);
    e->b = outside;
    if (!now) return NULL;
    vec_push(e->a, &b->results, now);
    Attr attrs[] = {attr_i(A_carry, 1), attr_ints(e->a, A_axes, axes, 1 + picked->n), attr_ints(e->a, A_yaxes, axes, 0),
                    attr_i(A_reverse, false), attr_i(A_trip, one.batch ? -1 : one.n)};
    const char *why = NULL;
    if (!elab_spend(e, at, 1)) return NULL;
    Op *op = op_try_full(&e->b, OP_scan, n, in, 5, attrs, 1, &b, 1, &x->type, &why);
    if (!op) elab_error(e, at, 214, "%s", why);
    return op ? op->out[0] : NULL;
}

Val index_update(Elab *e, Val base, const AstNode *n, Val v) {
    if (base.kind == VAL_ERROR || v.kind == VAL_ERROR) return val_error();
    if (base.kind != VAL_TENSOR)
        return elab_error(e, n->loc, 103, "%s has no elements that could be replaced", val_text(e, base));
    Value *x = tensor_of(e, base, n->loc);
    Items items;
    Picked picked;
    Part part;
    if (!x || !read_items(e, x->type, n, &items)) return val_error();
    emit_at(e, n->loc);
    if (!read_picked(e, &items, &picked, n->loc)) return val_error();
    read_part(e, x->type, &items, &picked, &part);
    if (part.rank > MAX_RANK) return elab_error(e, n->loc, 219, "a tensor has at most %d dimensions", MAX_RANK);
    Value *u = tensor_to(e, v, type_make(x->type->elem, part.rank, part.shown), n->loc);
    if (!u) return val_error();
    emit_at(e, n->loc);
    if (picked.n) return val_tensor(replace_picked(e, x, u, &picked, &part, n->loc));
    if (part.n_axes == 0) return val_tensor(emit_reshape(e, u, x->type->rank, part.dims));
    return val_tensor(replace_part(e, x, u, &part));
}
