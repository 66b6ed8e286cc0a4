/*
 * builtin_shape.c - functions that move elements about, make tensors from nothing, or take them by index.
 */
#include "elab.h"

/* ---- shape ---- */

static bool same_count(const Type *t, int rank, const Dim *dims) {
    double have = 1, want = 1;
    bool batch = type_has_batch(t), asked = false;
    for (int i = 0; i < t->rank; i++) have *= (double)t->dim[i].n;
    for (int i = 0; i < rank; i++) {
        want *= (double)dims[i].n;
        asked = asked || dims[i].batch;
    }
    return have == want && (batch == asked || have == 0);
}

static Val reshape(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Value *x = tensor_as(e, c->arg[0], F32, c->arg_loc[0]);
    int rank;
    Dim dims[MAX_RANK];
    if (!x || !dims_of_list(e, c->arg[1], c->arg_loc[1], &rank, dims)) return val_error();
    if (!same_count(x->type, rank, dims))
        return elab_error(e, c->loc, 209, "%s has another number of elements than [%s]", type_name(x->type),
                          dims_text(e, rank, dims));
    return val_tensor(emit_reshape(e, x, rank, dims));
}

static Val transpose(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Value *x = tensor_of(e, c->arg[0], c->arg_loc[0]);
    if (!x) return val_error();
    int r = x->type->rank;
    int64_t perm[MAX_RANK];
    for (int i = 0; i < r; i++) perm[i] = r - 1 - i;
    if (c->given[1]) {
        Val p = c->arg[1];
        if (p.kind != VAL_LIST || p.list->n != (size_t)r)
            return elab_error(e, c->arg_loc[1], 211, "the axes of %s in a new order are a list of %d, not %s", type_name(x->type),
                              r, val_text(e, p));
        bool seen[MAX_RANK] = {false};
        for (int i = 0; i < r; i++) {
            if (!axis_of(e, p.list->at[i], r, c->arg_loc[1], &perm[i])) return val_error();
            if (seen[perm[i]]) return elab_error(e, c->arg_loc[1], 211, "axis %" PRId64 " stands twice in the order", perm[i]);
            seen[perm[i]] = true;
        }
    }
    return val_tensor(emit_transpose(e, x, perm));
}

/* The tensors of a list, all of one element type. */
static bool tensors_of(Elab *e, Val list, Loc at, Values *out) {
    if (list.kind == VAL_ERROR) return false;
    if (list.kind != VAL_LIST || list.list->n == 0) {
        elab_error(e, at, 205, "a list of tensors is wanted here, not %s", val_text(e, list));
        return false;
    }
    for (size_t i = 0; i < list.list->n; i++) {
        Value *v = tensor_as(e, list.list->at[i], out->n ? out->at[0]->type->elem : F32, at);
        if (!v) return false;
        if (out->n && v->type->elem != out->at[0]->type->elem) {
            elab_error(e, at, 201, "the element types differ: %s and %s", type_name(out->at[0]->type), type_name(v->type));
            return false;
        }
        vec_push(e->a, out, v);
    }
    return true;
}

static Val concat(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Values xs = {0};
    int64_t axis;
    if (!tensors_of(e, c->arg[0], c->arg_loc[0], &xs)) return val_error();
    const Type *t = xs.at[0]->type;
    if (!axis_of(e, c->given[1] ? c->arg[1] : val_number(0), t->rank, c->loc, &axis)) return val_error();
    for (size_t i = 1; i < xs.n; i++) {
        const Type *u = xs.at[i]->type;
        bool fits = u->rank == t->rank;
        for (int k = 0; fits && k < t->rank; k++) fits = k == axis || dim_same(t->dim[k], u->dim[k]);
        if (!fits)
            return elab_error(e, c->loc, 202, "%s and %s cannot be joined along axis %" PRId64 ": the other axes differ",
                              type_name(t), type_name(u), axis);
    }
    return val_tensor(emit_concat(e, (int)xs.n, xs.at, axis));
}

static Value *expand_at(Elab *e, Value *x, int64_t axis) {
    Dim dims[MAX_RANK + 1];
    int r = x->type->rank;
    for (int i = 0; i <= r; i++) dims[i] = i == axis ? (Dim){1, false} : x->type->dim[i - (i > axis)];
    return emit_reshape(e, x, r + 1, dims);
}

static bool room(Elab *e, int rank, Loc at) {
    if (rank <= MAX_RANK) return true;
    elab_error(e, at, 219, "a tensor has at most %d dimensions", MAX_RANK);
    return false;
}

static Val stack(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Values xs = {0};
    int64_t axis;
    if (!tensors_of(e, c->arg[0], c->arg_loc[0], &xs)) return val_error();
    const Type *t = xs.at[0]->type;
    if (!room(e, t->rank + 1, c->loc) || !axis_of(e, c->given[1] ? c->arg[1] : val_number(0), t->rank + 1, c->loc, &axis))
        return val_error();
    for (size_t i = 0; i < xs.n; i++) {
        if (xs.at[i]->type != t)
            return elab_error(e, c->loc, 202, "%s and %s cannot be stacked: the shapes differ", type_name(t),
                              type_name(xs.at[i]->type));
        xs.at[i] = expand_at(e, xs.at[i], axis);
    }
    return val_tensor(emit_concat(e, (int)xs.n, xs.at, axis));
}

static Val expand(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Value *x = tensor_of(e, c->arg[0], c->arg_loc[0]);
    int64_t axis;
    if (!x || !room(e, x->type->rank + 1, c->loc) || !axis_of(e, c->arg[1], x->type->rank + 1, c->loc, &axis)) return val_error();
    return val_tensor(expand_at(e, x, axis));
}

/* split(x, n, axis=): n equal parts */
static Val split(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Value *x = tensor_of(e, c->arg[0], c->arg_loc[0]);
    int64_t n, axis;
    if (!x || !axis_of(e, c->given[2] ? c->arg[2] : val_number(-1), x->type->rank, c->loc, &axis)) return val_error();
    Dim d = x->type->dim[axis];
    if (!val_whole(c->arg[1], &n) || n < 1 || d.batch || d.n % n != 0)
        return elab_error(e, c->loc, 211, "an axis of %s cannot be cut into equal parts, %s of them", dims_text(e, 1, &d),
                          val_whole(c->arg[1], &n) ? intern_printf("%" PRId64, n) : val_text(e, c->arg[1]));
    Vec(Val) out = {0};
    for (int64_t k = 0; k < n; k++) {
        int64_t start[MAX_RANK], limit[MAX_RANK], step[MAX_RANK];
        for (int i = 0; i < x->type->rank; i++) {
            Dim own = x->type->dim[i];
            start[i] = i == axis ? k * (d.n / n) : 0;
            limit[i] = i == axis ? (k + 1) * (d.n / n) : own.batch ? -1 : own.n;
            step[i] = 1;
        }
        vec_push(e->a, &out, val_tensor(emit_slice(e, x, start, limit, step)));
    }
    return val_list(e, VAL_LIST, out.n, out.at);
}

static Val reverse(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Value *x = tensor_of(e, c->arg[0], c->arg_loc[0]);
    int n;
    int64_t axes[MAX_RANK];
    if (!x || !axes_of(e, c->arg[1], x->type->rank, c->loc, &n, axes)) return val_error();
    Attr a = attr_ints(e->a, A_axes, axes, n);
    return val_tensor(emit(e, OP_reverse, 1, &x, 1, &a, NULL));
}

/* pad(x, [[before, after], ...], value=0) */
static Val pad(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Value *x = tensor_of(e, c->arg[0], c->arg_loc[0]);
    if (!x) return val_error();
    int r = x->type->rank;
    int64_t low[MAX_RANK], high[MAX_RANK], interior[MAX_RANK] = {0};
    Val w = c->arg[1];
    if (w.kind != VAL_LIST || w.list->n != (size_t)r)
        return elab_error(e, c->arg_loc[1], 211, "%s is padded by a list of %d pairs [before, after], not by %s",
                          type_name(x->type), r, val_text(e, w));
    for (int i = 0; i < r; i++) {
        Val p = w.list->at[i];
        if (p.kind != VAL_LIST || p.list->n != 2 || !val_whole(p.list->at[0], &low[i]) || !val_whole(p.list->at[1], &high[i]) ||
            low[i] < 0 || high[i] < 0)
            return elab_error(e, c->arg_loc[1], 211, "the padding of an axis is a pair of whole numbers [before, after]");
        if (x->type->dim[i].batch && (low[i] || high[i]))
            return elab_error(e, c->arg_loc[1], 213, "the batch axis cannot be padded");
    }
    Value *value = number_as(e, c->given[2] ? c->arg[2] : val_number(0), x->type->elem, c->loc);
    Value *in[] = {x, value};
    Attr a[] = {attr_ints(e->a, A_low, low, r), attr_ints(e->a, A_high, high, r), attr_ints(e->a, A_interior, interior, r)};
    return val_tensor(emit(e, OP_pad, 2, in, 3, a, NULL));
}

/* broadcast(x, shape); of a number or list: a list of n (B2) */
static Val broadcast(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Val x = c->arg[0];
    if (x.kind == VAL_NUMBER || x.kind == VAL_LIST) {
        int64_t n;
        Val shape = c->arg[1];
        if (shape.kind == VAL_LIST && shape.list->n == 1) shape = shape.list->at[0];
        if (val_whole(shape, &n) && n > LIMIT_LIST)
            return elab_error(e, c->arg_loc[1], 219, "a list has at most %d elements", (int)LIMIT_LIST);
        if (!val_whole(shape, &n) || n < 0)
            return elab_error(e, c->arg_loc[1], 207, "a list is made of [n] elements, not of %s", val_text(e, c->arg[1]));
        if (x.kind == VAL_LIST && x.list->n != 1) {
            if (x.list->n == (size_t)n) return x;
            return elab_error(e, c->arg_loc[0], 207, "a list of %" PRId64 " is wanted here, one number an axis, not of %zu", n,
                              x.list->n);
        }
        ValList *l = arena_make(e->a, ValList);
        l->n = (size_t)n;
        l->at = arena_make_n(e->a, Val, l->n + 1);
        for (size_t i = 0; i < l->n; i++) l->at[i] = x.kind == VAL_LIST ? x.list->at[0] : x;
        return (Val){.kind = VAL_LIST, .list = l};
    }
    Value *v = tensor_as(e, x, F32, c->arg_loc[0]);
    int rank;
    Dim dims[MAX_RANK];
    if (!v || !dims_of_list(e, c->arg[1], c->arg_loc[1], &rank, dims)) return val_error();
    return val_tensor(tensor_to(e, val_tensor(v), type_make(v->type->elem, rank, dims), c->loc));
}

static Val shape(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Val x = c->arg[0];
    const Type *t = NULL;
    if (x.kind == VAL_OWNED) t = x.owned->slot->type;
    if (!t) {
        Value *v = tensor_of(e, x, c->arg_loc[0]);
        if (!v) return val_error();
        t = v->type;
    }
    Val dims[MAX_RANK];
    for (int i = 0; i < t->rank; i++) dims[i] = val_dim(t->dim[i]);
    return val_list(e, VAL_LIST, (size_t)t->rank, dims);
}

static Val len(Elab *e, const Builtin *b, const Call *c) {
    Val x = c->arg[0];
    if (x.kind == VAL_LIST) return val_number((double)x.list->n);
    if (x.kind == VAL_VOCAB) return val_number((double)e->m->vocabs.at[x.vocab]->size);
    if (x.kind == VAL_STRING) { /* characters, as columns count them */
        size_t n = 0;
        for (const char *s = x.text; *s; s++) n += ((unsigned char)*s & 0xc0) != 0x80;
        return val_number((double)n);
    }
    Val s = shape(e, b, c);
    if (s.kind == VAL_ERROR) return s;
    if (s.list->n == 0) return elab_error(e, c->loc, 211, "a scalar has no length");
    return s.list->at[0];
}

/* ---- making ---- */

static Val filled(Elab *e, Val dims_, Loc at, double x) {
    int rank;
    Dim dims[MAX_RANK];
    if (!dims_of_list(e, dims_, at, &rank, dims)) return val_error();
    return val_tensor(emit_constant(e, type_make(F32, rank, dims), x));
}

static Val zeros(Elab *e, const Builtin *b, const Call *c) { return filled(e, c->arg[0], c->arg_loc[0], b->code); }

static Val full(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    int rank;
    Dim dims[MAX_RANK];
    if (!dims_of_list(e, c->arg[0], c->arg_loc[0], &rank, dims)) return val_error();
    Val v = c->arg[1];
    Elem elem = F32;
    if (!val_is_number(v)) {
        Value *x = tensor_of(e, v, c->arg_loc[1]);
        if (!x) return val_error();
        elem = x->type->elem;
        v = val_tensor(x);
    }
    return val_tensor(tensor_to(e, v, type_make(elem, rank, dims), c->loc));
}

static Value *iota(Elab *e, Elem elem, int rank, const Dim *dims, int64_t axis) {
    Attr a = attr_i(A_axis, axis);
    return emit(e, OP_iota, 0, NULL, 1, &a, type_make(elem, rank, dims));
}

/* Whole numbers up to the one before `to`, in i32. */
static bool arange_fits(Elab *e, int64_t to, Loc at) {
    if (to <= (int64_t)INT32_MAX + 1) return true;
    elab_error(e, at, 203, "arange would count to %" PRId64 ", which does not fit in i32", to - 1);
    return false;
}

static Val arange(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    int64_t from = 0, to;
    Dim d;
    if (!c->given[1] && dim_of_val(c->arg[0], &d))
        return d.batch || arange_fits(e, d.n, c->loc) ? val_tensor(iota(e, I32, 1, &d, 0)) : val_error();
    if (!c->given[1] || !val_whole(c->arg[0], &from) || !val_whole(c->arg[1], &to))
        return elab_error(e, c->loc, 207, "arange counts to a whole number known when compiled, not to %s",
                          val_text(e, c->arg[c->given[1] ? 1 : 0]));
    if (!arange_fits(e, to, c->loc)) return val_error();
    d = (Dim){to > from ? to - from : 0, false};
    return expr_binary(e, OPERATOR_ADD, val_tensor(iota(e, I32, 1, &d, 0)), val_number((double)from), c->loc);
}

static Val eye(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Dim d[2];
    if (!dim_of_val(c->arg[0], &d[0]) || d[0].batch)
        return elab_error(e, c->loc, 207, "the size of a matrix is a whole number known when compiled, not %s",
                          val_text(e, c->arg[0]));
    d[1] = d[0];
    Value *same = emit_binary(e, OP_eq, iota(e, I32, 2, d, 0), iota(e, I32, 2, d, 1));
    return val_tensor(emit_convert(e, same, F32));
}

/* [.., n]: 1 where the index is, else 0 */
static Val one_hot(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Value *i = tensor_as(e, c->arg[0], I32, c->arg_loc[0]);
    Dim n;
    if (!i) return val_error();
    if (!elem_is_int(i->type->elem))
        return elab_error(e, c->arg_loc[0], 210, "one_hot is for integers, not %s", type_name(i->type));
    if (!dim_of_val(c->arg[1], &n) || n.batch)
        return elab_error(e, c->arg_loc[1], 207, "the number of classes is a whole number known when compiled, not %s",
                          val_text(e, c->arg[1]));
    int r = i->type->rank + 1;
    if (!room(e, r, c->loc)) return val_error();
    Dim dims[MAX_RANK];
    for (int k = 0; k < r - 1; k++) dims[k] = i->type->dim[k];
    dims[r - 1] = n;
    i = emit_convert(e, i, I32);
    if (!i) return val_error();
    i = expand_at(e, i, r - 1);
    Value *same = emit_binary(e, OP_eq, emit_broadcast(e, i, r, dims), iota(e, I32, r, dims, r - 1));
    return val_tensor(emit_convert(e, same, F32));
}

/* ---- by index ---- */

static Val gather(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Value *x = tensor_of(e, c->arg[0], c->arg_loc[0]), *i = tensor_of(e, c->arg[1], c->arg_loc[1]);
    int64_t axis;
    if (!x || !i || !axis_of(e, c->arg[2], x->type->rank, c->loc, &axis)) return val_error();
    if (!elem_is_int(i->type->elem))
        return elab_error(e, c->arg_loc[1], 208, "an index is an integer, not %s", type_name(i->type));
    bool fits = i->type->rank == x->type->rank;
    for (int k = 0; fits && k < x->type->rank; k++) fits = k == axis || dim_same(x->type->dim[k], i->type->dim[k]);
    if (!fits)
        return elab_error(e, c->loc, 202, "gather takes along one axis: %s and the index %s must agree in the others",
                          type_name(x->type), type_name(i->type));
    Value *in[] = {x, i};
    Attr a = attr_i(A_axis, axis);
    return val_tensor(emit(e, OP_gather, 2, in, 1, &a, NULL));
}

static Val sorted(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Value *x = tensor_of(e, c->arg[0], c->arg_loc[0]);
    int64_t axis;
    if (!x || !axis_of(e, c->given[1] ? c->arg[1] : val_number(-1), x->type->rank, c->loc, &axis)) return val_error();
    Attr a = attr_i(A_axis, axis);
    return val_tensor(emit(e, OP_sort, 1, &x, 1, &a, NULL));
}

static Val top_k(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Value *x = tensor_of(e, c->arg[0], c->arg_loc[0]);
    int64_t k;
    if (!x) return val_error();
    if (!val_whole(c->arg[1], &k) || k < 1)
        return elab_error(e, c->arg_loc[1], 207, "k is a whole number from 1, known when compiled, not %s",
                          val_text(e, c->arg[1]));
    if (x->type->rank == 0 || x->type->dim[x->type->rank - 1].batch || x->type->dim[x->type->rank - 1].n < k)
        return elab_error(e, c->loc, 208, "there are no %" PRId64 " elements on the last axis of %s", k, type_name(x->type));
    Attr a = attr_i(A_k, k);
    Value *v = emit(e, OP_top_k, 1, &x, 1, &a, NULL);
    if (!v) return val_error();
    Val both[] = {val_tensor(v->def->out[0]), val_tensor(v->def->out[1])};
    return val_list(e, VAL_TUPLE, 2, both);
}

/* x in the element type of y: how a function of the library serves f32 and f64 alike */
static Val like(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Value *y = tensor_of(e, c->arg[1], c->arg_loc[1]);
    return y ? builtin_cast(e, c->arg[0], y->type->elem, c->loc) : val_error();
}

/* x; an error where the condition is known not to hold. One that a run decides is nobody's fault yet. */
static Val require(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    if (c->arg[1].kind == VAL_ERROR) return val_error();
    if (c->arg[2].kind != VAL_STRING) return elab_error(e, c->arg_loc[2], 211, "require ends with a string: what is wanted");
    if (c->arg[1].kind != VAL_BOOL || c->arg[1].truth) return c->arg[0];
    return elab_error(e, c->loc, 214, "%s", c->arg[2].text);
}

const Builtin builtin_shape[] = {
    {"reshape", "x, shape", reshape, 0},
    {"transpose", "x, axes=", transpose, 0},
    {"concat", "xs, axis=", concat, 0},
    {"stack", "xs, axis=", stack, 0},
    {"split", "x, n, axis=", split, 0},
    {"reverse", "x, axis=", reverse, 0},
    {"pad", "x, widths, value=", pad, 0},
    {"broadcast", "x, shape", broadcast, 0},
    {"expand", "x, axis", expand, 0},
    {"shape", "x", shape, 0},
    {"len", "x", len, 0},
    {"zeros", "shape", zeros, 0},
    {"ones", "shape", zeros, 1},
    {"full", "shape, value", full, 0},
    {"eye", "n", eye, 0},
    {"arange", "n, to=", arange, 0},
    {"one_hot", "index, n", one_hot, 0},
    {"gather", "x, index, axis", gather, 0},
    {"sort", "x, axis=", sorted, 0},
    {"top_k", "x, k", top_k, 0},
    {"like", "x, y", like, 0},
    {"require", "x, condition, why", require, 0},
    {0},
};
