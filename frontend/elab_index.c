/*
 * elab_index.c - x[i], x[:, t], x[..., -1], x[a:b], x[:, new], E[tokens], and x[i] = v.
 *
 * The items of a bracket are read against the axes of x, one each (`...` stands for as many as are left over, `new` for none).
 * Constant parts become one `slice`, run-time parts a `take` each, and what is left is a reshape. Negative indices count from the
 * end, as constants only.
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
        return false;
    }
    int64_t given_from = out->from, given_to = out->to;
    if (out->from < 0) out->from += d.n;
    if (out->to < 0) out->to += d.n;
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

static Val index_tensor(Elab *e, Value *x, const AstNode *n) {
    Items items;
    if (!read_items(e, x->type, n, &items)) return val_error();
    emit_at(e, n->loc);
    x = slice_constants(e, x, &items);
    if (!x) return val_error();
    int tensors = 0;
    for (int i = 0; i < items.n; i++) tensors += items.at[i].kind == ITEM_TENSOR;
    if (tensors > 1)
        return elab_not_yet(e, n->loc, "more than one index that is a tensor (gather(x, index, axis) takes along one axis)");
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
            x = emit_take(e, x, it->index, axis);
            for (int k = 0; x && k < it->index->type->rank && rank < 3 * MAX_RANK; k++) dims[rank++] = x->type->dim[axis++];
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
    if (base.kind != VAL_TENSOR && base.kind != VAL_OWNED)
        return elab_error(e, n->loc, 103, "%s has no elements", val_text(e, base));
    Value *x = tensor_of(e, base, n->loc);
    return x ? index_tensor(e, x, n) : val_error();
}

/* ---- x[...] = v: a copy with that part replaced ---- */

Val index_update(Elab *e, Val base, const AstNode *n, Val v) {
    if (base.kind == VAL_ERROR || v.kind == VAL_ERROR) return val_error();
    if (base.kind != VAL_TENSOR)
        return elab_error(e, n->loc, 103, "%s has no elements that could be replaced", val_text(e, base));
    Value *x = tensor_of(e, base, n->loc);
    Items items;
    if (!x || !read_items(e, x->type, n, &items)) return val_error();
    emit_at(e, n->loc);
    Dim part[MAX_RANK],
        shown[MAX_RANK]; /* the part with all axes, and as v is written: without those that have one place by an index */
    int64_t axes[MAX_RANK];
    Value *in[MAX_RANK + 2];
    int n_axes = 0, axis = 0, rank = 0;
    for (int i = 0; i < items.n; i++) {
        const Item *it = &items.at[i];
        if (it->kind == ITEM_NEW || it->kind == ITEM_TENSOR)
            return elab_not_yet(e, it->loc, "`new` or an index that is a tensor on the left of `=`");
        Dim d = x->type->dim[axis];
        if (it->kind == ITEM_SLICE) d = (Dim){it->to - it->from, false};
        if (it->kind == ITEM_ONE || it->kind == ITEM_SCALAR)
            d = (Dim){1, false};
        else
            shown[rank++] = d;
        part[axis] = d;
        if (it->kind != ITEM_ALL) {
            axes[n_axes] = axis;
            in[2 + n_axes++] =
                it->kind == ITEM_SCALAR ? emit_convert(e, it->index, I32) : emit_constant(e, type_scalar(I32), (double)it->from);
        }
        axis++;
    }
    Value *u = tensor_to(e, v, type_make(x->type->elem, rank, shown), n->loc);
    if (!u) return val_error();
    emit_at(e, n->loc);
    u = emit_reshape(e, u, x->type->rank, part);
    if (n_axes == 0) return val_tensor(u);
    in[0] = x;
    in[1] = u;
    Attr a = attr_ints(e->a, A_axes, axes, n_axes);
    return val_tensor(emit(e, OP_dynamic_update, 2 + n_axes, in, 1, &a, NULL));
}
