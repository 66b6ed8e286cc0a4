/*
 * rules_shape.c - type rules of the ops that move elements about. How they treat B: a batch axis is taken whole or not at all
 * (slice, pad), may be split off or joined to the leading axis (reshape), and k tensors of n * B joined along the leading axis
 * make (k * n) * B (concat).
 */
#include "rules.h"

#include <string.h>

static Shape shape_of(const Type *t) {
    Shape s = {.rank = t->rank};
    memcpy(s.dim, t->dim, (size_t)t->rank * sizeof *t->dim);
    return s;
}

static const char *given(Rule *r) {
    return r->types[0] ? NULL : rule_fault(r, "the result of `%s` has no type", op_info[r->op->code].name);
}

static const char *same_elem(Rule *r, const Type *a, const Type *b) {
    if (a->elem == b->elem) return NULL;
    return rule_fault(r, "the element types differ (%s, %s)", type_name(a), type_name(b));
}

static const char *want_index(Rule *r, const Type *t) {
    return elem_is_int(t->elem) ? NULL
                                : rule_fault(r, "the index of `%s` is %s, not integers", op_info[r->op->code].name, type_name(t));
}

/* x[d0, .. dk] -> t, operand axis i at result axis axes[i]. */
const char *infer_broadcast(Rule *r) {
    const char *why = given(r);
    if (why) return why;
    const Type *x = rule_in(r, 0), *t = r->types[0];
    const int64_t *axes;
    int64_t n = op_ints(r->op, A_axes, &axes);
    if ((why = rule_length(r, A_axes, x->rank)) || (why = same_elem(r, x, t)) || (why = rule_axes(r, axes, n, t->rank)))
        return why;
    for (int i = 0; i < x->rank; i++) {
        Dim from = x->dim[i], to = t->dim[axes[i]];
        if (dim_same(from, to) || (from.n == 1 && !from.batch)) continue;
        return rule_fault(r, "axis %d of %s cannot be repeated to axis %" PRId64 " of %s", i, type_name(x), axes[i],
                          type_name(t));
    }
    return NULL;
}

/* The same number of elements for every B: constant parts multiply to the same, and B stands in both or in neither. */
const char *infer_reshape(Rule *r) {
    const char *why = given(r);
    if (why) return why;
    const Type *x = rule_in(r, 0), *t = r->types[0];
    if ((why = same_elem(r, x, t))) return why;
    if (type_count(x, 1) != type_count(t, 1) || (type_has_batch(x) != type_has_batch(t) && type_count(x, 1) != 0))
        return rule_fault(r, "%s and %s have different numbers of elements", type_name(x), type_name(t));
    return NULL;
}

const char *infer_transpose(Rule *r) {
    const Type *x = rule_in(r, 0);
    const int64_t *perm;
    op_ints(r->op, A_perm, &perm);
    const char *why = rule_length(r, A_perm, x->rank);
    if (why) return why;
    Shape s = {.rank = x->rank};
    unsigned seen = 0;
    for (int i = 0; i < x->rank; i++) {
        if ((why = rule_axis(r, perm[i], x->rank))) return why;
        if (seen >> perm[i] & 1) return rule_fault(r, "axis %" PRId64 " stands twice in the permutation", perm[i]);
        seen |= 1u << perm[i];
        s.dim[i] = x->dim[perm[i]];
    }
    return rule_result(r, 0, x->elem, &s);
}

const char *infer_slice(Rule *r) {
    const Type *x = rule_in(r, 0);
    const int64_t *start, *limit, *step;
    op_ints(r->op, A_start, &start);
    op_ints(r->op, A_limit, &limit);
    op_ints(r->op, A_step, &step);
    const char *why;
    if ((why = rule_length(r, A_start, x->rank)) || (why = rule_length(r, A_limit, x->rank)) ||
        (why = rule_length(r, A_step, x->rank)))
        return why;
    Shape s = shape_of(x);
    for (int i = 0; i < x->rank; i++) {
        if (x->dim[i].batch) {
            if (start[i] != 0 || limit[i] != -1 || step[i] != 1)
                return rule_fault(r, "the batch axis %d can only be taken whole (0:-1:1)", i);
            continue;
        }
        if (start[i] < 0 || limit[i] < start[i] || limit[i] > x->dim[i].n || step[i] < 1)
            return rule_fault(r, "the slice %" PRId64 ":%" PRId64 ":%" PRId64 " does not fit axis %d of %s", start[i], limit[i],
                              step[i], i, type_name(x));
        s.dim[i].n = (limit[i] - start[i]) / step[i] + ((limit[i] - start[i]) % step[i] != 0);
    }
    return rule_result(r, 0, x->elem, &s);
}

enum { AMOUNT_LIMIT = 1 << 30 }; /* of paddings, strides, dilations: so that sums and products of a few of them stay in 64 bits */

static const char *amount(Rule *r, AttrKey key, int64_t v, int64_t low) {
    if (v >= low && v <= AMOUNT_LIMIT) return NULL;
    return rule_fault(r, "`%s` is %" PRId64 ", outside %" PRId64 "..%d", attr_name(key), v, low, AMOUNT_LIMIT);
}

const char *infer_pad(Rule *r) {
    const Type *x = rule_in(r, 0), *value = rule_in(r, 1);
    const int64_t *low, *high, *interior;
    op_ints(r->op, A_low, &low);
    op_ints(r->op, A_high, &high);
    op_ints(r->op, A_interior, &interior);
    const char *why;
    if (value != type_scalar(x->elem)) return rule_fault(r, "the value to pad %s with is %s", type_name(x), type_name(value));
    if ((why = rule_length(r, A_low, x->rank)) || (why = rule_length(r, A_high, x->rank)) ||
        (why = rule_length(r, A_interior, x->rank)))
        return why;
    Shape s = shape_of(x);
    for (int i = 0; i < x->rank; i++) {
        if ((why = amount(r, A_low, low[i], -AMOUNT_LIMIT)) || (why = amount(r, A_high, high[i], -AMOUNT_LIMIT)) ||
            (why = amount(r, A_interior, interior[i], 0)))
            return why;
        if (x->dim[i].batch) {
            if (low[i] || high[i] || interior[i]) return rule_fault(r, "the batch axis %d cannot be padded", i);
            continue;
        }
        int64_t inner;
        if (__builtin_mul_overflow(x->dim[i].n, interior[i] + 1, &inner) || inner > INT64_MAX / 2)
            return "a tensor has at most 2^40 elements";
        s.dim[i].n = low[i] + dilated(x->dim[i].n, interior[i] + 1) + high[i];
        if (s.dim[i].n < 0) return rule_fault(r, "axis %d of %s would have %" PRId64 " elements", i, type_name(x), s.dim[i].n);
    }
    return rule_result(r, 0, x->elem, &s);
}

const char *infer_concat(Rule *r) {
    const Op *op = r->op;
    if (op->n_in == 0) return "`concat` wants at least one operand";
    const Type *x = rule_in(r, 0);
    int64_t axis = op_int(op, A_axis);
    const char *why = rule_axis(r, axis, x->rank);
    if (why) return why;
    Shape s = shape_of(x);
    for (int k = 1; k < op->n_in; k++) {
        const Type *y = rule_in(r, k);
        if ((why = same_elem(r, x, y))) return why;
        if (x->rank != y->rank) return rule_fault(r, "the ranks differ (%s, %s)", type_name(x), type_name(y));
        for (int i = 0; i < x->rank; i++)
            if (i != axis && !dim_same(x->dim[i], y->dim[i]))
                return rule_fault(r, "%s and %s differ on axis %d, which is not the one they are joined along", type_name(x),
                                  type_name(y), i);
        if (x->dim[axis].batch != y->dim[axis].batch)
            return rule_fault(r, "a batch axis and a constant one cannot be joined (%s, %s)", type_name(x), type_name(y));
        if (__builtin_add_overflow(s.dim[axis].n, y->dim[axis].n, &s.dim[axis].n)) return "a tensor has at most 2^40 elements";
    }
    return rule_result(r, 0, x->elem, &s);
}

const char *infer_reverse(Rule *r) {
    const int64_t *axes;
    int64_t n = op_ints(r->op, A_axes, &axes);
    r->types[0] = rule_in(r, 0);
    return rule_axes(r, axes, n, rule_in(r, 0)->rank);
}

/* x[.., n, ..], i[p, q] -> [.., p, q, ..] */
static const char *take_shape(Rule *r, const Type *x, const Type *i, Shape *s) {
    int64_t axis = op_int(r->op, A_axis);
    const char *why;
    if ((why = want_index(r, i)) || (why = rule_axis(r, axis, x->rank))) return why;
    s->rank = 0;
    for (int k = 0; k < axis; k++) s->dim[s->rank++] = x->dim[k];
    for (int k = 0; k < i->rank; k++) s->dim[s->rank++] = i->dim[k];
    for (int k = (int)axis + 1; k < x->rank; k++) s->dim[s->rank++] = x->dim[k];
    return type_fault(s->rank, s->dim);
}

const char *infer_take(Rule *r) {
    Shape s;
    const char *why = take_shape(r, rule_in(r, 0), rule_in(r, 1), &s);
    return why ? why : rule_result(r, 0, rule_in(r, 0)->elem, &s);
}

const char *infer_take_add(Rule *r) {
    const char *why = given(r);
    if (why) return why;
    const Type *t = r->types[0], *y = rule_in(r, 0);
    Shape s;
    if ((why = take_shape(r, t, rule_in(r, 1), &s)) || (why = same_elem(r, y, t))) return why;
    if (t->elem == BOOL) return "`take_add` adds numbers, not bools";
    if (type_make(y->elem, s.rank, s.dim) != y)
        return rule_fault(r, "taking by %s from %s gives %s, not %s", type_name(rule_in(r, 1)), type_name(t),
                          type_name(type_make(t->elem, s.rank, s.dim)), type_name(y));
    return NULL;
}

/* Do two shapes agree but along axis? */
static const char *gather_shape(Rule *r, const Type *x, const Type *i) {
    int64_t axis = op_int(r->op, A_axis);
    const char *why;
    if ((why = want_index(r, i)) || (why = rule_axis(r, axis, x->rank))) return why;
    if (x->rank != i->rank) return rule_fault(r, "the ranks differ (%s, %s)", type_name(x), type_name(i));
    for (int k = 0; k < x->rank; k++)
        if (k != axis && !dim_same(x->dim[k], i->dim[k]))
            return rule_fault(r, "%s and %s differ on axis %d", type_name(x), type_name(i), k);
    return NULL;
}

const char *infer_gather(Rule *r) {
    const char *why = gather_shape(r, rule_in(r, 0), rule_in(r, 1));
    if (why) return why;
    r->types[0] = type_with_elem(rule_in(r, 1), rule_in(r, 0)->elem);
    return NULL;
}

const char *infer_scatter_add(Rule *r) {
    const Type *x = rule_in(r, 0), *y = rule_in(r, 1), *i = rule_in(r, 2);
    const char *why = gather_shape(r, x, i);
    if (why || (why = same_elem(r, y, x))) return why;
    if (x->elem == BOOL) return "`scatter_add` adds numbers, not bools";
    if (!type_same_shape(y, i)) return rule_fault(r, "values and indices differ in shape (%s, %s)", type_name(y), type_name(i));
    r->types[0] = x;
    return NULL;
}

/* Operands from `first` on are integer scalars, one for each of the axes. */
static const char *want_starts(Rule *r, int first, int rank) {
    const int64_t *axes;
    int64_t n = op_ints(r->op, A_axes, &axes);
    const char *why = rule_axes(r, axes, n, rank);
    if (why) return why;
    if (r->op->n_in - first != n) return rule_fault(r, "%" PRId64 " axes, but %d start indices", n, r->op->n_in - first);
    for (int k = first; k < r->op->n_in; k++)
        if (rule_in(r, k)->rank || !elem_is_int(rule_in(r, k)->elem))
            return rule_fault(r, "a start index is %s, not an integer scalar", type_name(rule_in(r, k)));
    return NULL;
}

const char *infer_dynamic_slice(Rule *r) {
    const Type *x = rule_in(r, 0);
    const int64_t *axes, *sizes;
    int64_t n = op_ints(r->op, A_axes, &axes);
    op_ints(r->op, A_sizes, &sizes);
    const char *why;
    if ((why = want_starts(r, 1, x->rank)) || (why = rule_length(r, A_sizes, n))) return why;
    Shape s = shape_of(x);
    for (int64_t k = 0; k < n; k++) {
        Dim *d = &s.dim[axes[k]];
        /* on a batch axis the run-time check of the index knows the real size */
        if (sizes[k] < 0 || (!d->batch && sizes[k] > d->n))
            return rule_fault(r, "%" PRId64 " elements do not fit axis %" PRId64 " of %s", sizes[k], axes[k], type_name(x));
        *d = (Dim){sizes[k], false};
    }
    return rule_result(r, 0, x->elem, &s);
}

const char *infer_dynamic_update(Rule *r) {
    const Type *x = rule_in(r, 0), *u = rule_in(r, 1);
    const int64_t *axes;
    int64_t n = op_ints(r->op, A_axes, &axes);
    const char *why;
    if ((why = want_starts(r, 2, x->rank)) || (why = same_elem(r, x, u))) return why;
    if (x->rank != u->rank) return rule_fault(r, "the ranks differ (%s, %s)", type_name(x), type_name(u));
    for (int i = 0, k = 0; i < x->rank; i++) {
        bool placed = k < n && axes[k] == i;
        k += placed;
        bool fits = placed && !u->dim[i].batch && (x->dim[i].batch || u->dim[i].n <= x->dim[i].n);
        if (!fits && !dim_same(x->dim[i], u->dim[i]))
            return rule_fault(r, "%s does not fit into %s along axis %d", type_name(u), type_name(x), i);
    }
    r->types[0] = x;
    return NULL;
}
