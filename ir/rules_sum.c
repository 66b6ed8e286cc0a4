/*
 * rules_sum.c - type rules of products (contract, conv), reductions, places of extremes, sorting and windows.
 *
 * A spec such as "bij,bjk->bik" names every axis of both operands and of the result by a letter. A letter in both operands and
 * the result runs along all three (batch, group); in both operands alone it is summed over; in one operand and the result it is
 * free. One that is in a single operand and not in the result is refused (sum first), and so is one that stands twice in a
 * tensor. For conv the letters of `window` stand in all three and mean different sizes in each: see infer_conv.
 */
#include "rules.h"

#include <ctype.h>
#include <string.h>

/* ---- specs ---- */

typedef struct Spec {
    const char *part[3]; /* first operand, second operand, result: not terminated */
    int rank[3];
} Spec;

static bool spec_split(const char *s, Spec *spec) {
    const char *comma = strchr(s, ','), *arrow = strstr(s, "->");
    if (!comma || !arrow || comma > arrow) return false;
    spec->part[0] = s;
    spec->part[1] = comma + 1;
    spec->part[2] = arrow + 2;
    spec->rank[0] = (int)(comma - s);
    spec->rank[1] = (int)(arrow - comma - 1);
    spec->rank[2] = (int)strlen(arrow + 2);
    for (int p = 0; p < 3; p++)
        for (int i = 0; i < spec->rank[p]; i++)
            if (!isascii((unsigned char)spec->part[p][i]) || !isalpha((unsigned char)spec->part[p][i])) return false;
    return true;
}

/* The axis of part p that carries the label, or -1. */
static int spec_find(const Spec *s, int p, char label) {
    const char *at = s->rank[p] ? memchr(s->part[p], label, (size_t)s->rank[p]) : NULL;
    return at ? (int)(at - s->part[p]) : -1;
}

bool spec_axes(const char *spec, char label, int *a, int *b, int *out) {
    Spec s;
    if (!spec_split(spec, &s)) return false;
    *a = spec_find(&s, 0, label);
    *b = spec_find(&s, 1, label);
    *out = spec_find(&s, 2, label);
    return true;
}

static const char *spec_read(Rule *r, Spec *s) {
    const char *text = op_str(r->op, A_spec);
    if (!spec_split(text, s)) return rule_fault(r, "the spec \"%s\" is not of the form \"ab,bc->ac\"", text);
    for (int p = 0; p < 2; p++)
        if (s->rank[p] != rule_in(r, p)->rank)
            return rule_fault(r, "the spec \"%s\" has %d label%s for operand %d, which is %s", text, s->rank[p],
                              s->rank[p] == 1 ? "" : "s", p + 1, type_name(rule_in(r, p)));
    if (s->rank[2] > MAX_RANK) return rule_fault(r, "the result has more than %d dimensions", MAX_RANK);
    for (int p = 0; p < 3; p++)
        for (int i = 0; i < s->rank[p]; i++) {
            char l = s->part[p][i];
            if (spec_find(s, p, l) != i) return rule_fault(r, "label %c stands twice in one tensor", l);
            bool in[3] = {spec_find(s, 0, l) >= 0, spec_find(s, 1, l) >= 0, spec_find(s, 2, l) >= 0};
            if (!in[0] && !in[1]) return rule_fault(r, "label %c of the result is in no operand", l);
            if (!in[2] && !(in[0] && in[1])) return rule_fault(r, "label %c is in one operand alone: sum over it first", l);
        }
    return NULL;
}

static const char *same_numbers(Rule *r) {
    const Type *a = rule_in(r, 0), *b = rule_in(r, 1);
    if (a->elem != b->elem) return rule_fault(r, "the element types differ (%s, %s)", type_name(a), type_name(b));
    return elem_is_number(a->elem) ? NULL : "bools cannot be multiplied";
}

/* Sizes of a label that is not windowed: equal in both operands, and the result's. */
static const char *spec_plain(Rule *r, const Spec *s, char l, Shape *out) {
    int a = spec_find(s, 0, l), b = spec_find(s, 1, l), c = spec_find(s, 2, l);
    if (a >= 0 && b >= 0 && !dim_same(rule_in(r, 0)->dim[a], rule_in(r, 1)->dim[b]))
        return rule_fault(r, "the %s sizes differ (%s, %s)", c < 0 ? "inner" : "shared", dim_text(rule_in(r, 0)->dim[a]),
                          dim_text(rule_in(r, 1)->dim[b]));
    if (c >= 0) out->dim[c] = a >= 0 ? rule_in(r, 0)->dim[a] : rule_in(r, 1)->dim[b];
    return NULL;
}

/* a, b: e.g. f32[B, I], f32[I, O] by "bi,io->bo" -> f32[B, O] */
const char *infer_contract(Rule *r) {
    Spec s;
    const char *why;
    if ((why = same_numbers(r)) || (why = spec_read(r, &s))) return why;
    Shape out = {.rank = s.rank[2]};
    for (int p = 0; p < 3; p++)
        for (int i = 0; i < s.rank[p]; i++)
            if ((why = spec_plain(r, &s, s.part[p][i], &out))) return why;
    return rule_result(r, 0, rule_in(r, 0)->elem, &out);
}

/* ---- windows ---- */

enum { AMOUNT_LIMIT = 1 << 30 };

static const char *amounts(Rule *r, AttrKey key, int64_t want, int64_t low) {
    const int64_t *at;
    int64_t n = op_ints(r->op, key, &at);
    const char *why = rule_length(r, key, want);
    if (why) return why;
    for (int64_t i = 0; i < n; i++)
        if (at[i] < low || at[i] > AMOUNT_LIMIT)
            return rule_fault(r, "`%s` is %" PRId64 ", outside %" PRId64 "..%d", attr_name(key), at[i], low, AMOUNT_LIMIT);
    return NULL;
}

int64_t window_count(int64_t n, int64_t low, int64_t high, int64_t size, int64_t stride) {
    int64_t room = low + n + high - size;
    int64_t steps = room / stride - (room % stride < 0); /* floor */
    return steps + 1 < 0 ? -1 : steps + 1;
}

/* One windowed label of conv: a in the first operand, k in the second, and the result has
 * floor((low + dilated(a, lhs_dilation) + high - dilated(k, rhs_dilation)) / stride) + 1 places. */
static const char *conv_window(Rule *r, const Spec *s, int64_t w, char l, Shape *out) {
    int ia = spec_find(s, 0, l), ib = spec_find(s, 1, l), ic = spec_find(s, 2, l);
    if (ia < 0 || ib < 0 || ic < 0)
        return rule_fault(r, "the windowed label %c does not stand in both operands and the result", l);
    Dim a = rule_in(r, 0)->dim[ia], k = rule_in(r, 1)->dim[ib];
    if (a.batch || k.batch) return rule_fault(r, "the windowed label %c is the batch", l);
    if (a.n > AMOUNT_LIMIT || k.n > AMOUNT_LIMIT) return rule_fault(r, "the windowed label %c has more than 2^30 places", l);
    const int64_t *stride, *low, *high, *lhs, *rhs;
    op_ints(r->op, A_stride, &stride);
    op_ints(r->op, A_low, &low);
    op_ints(r->op, A_high, &high);
    op_ints(r->op, A_lhs_dilation, &lhs);
    op_ints(r->op, A_rhs_dilation, &rhs);
    int64_t n = window_count(dilated(a.n, lhs[w]), low[w], high[w], dilated(k.n, rhs[w]), stride[w]);
    if (n < 0)
        return rule_fault(r, "a window of %" PRId64 " is larger than the %" PRId64 " elements it moves over (label %c)",
                          dilated(k.n, rhs[w]), low[w] + dilated(a.n, lhs[w]) + high[w], l);
    out->dim[ic] = (Dim){n, false};
    return NULL;
}

/* a: f32[N, X, Y, C], b: f32[P, Q, C, D] by "nxyc,xycd->nxyd" with window "xy" -> f32[N, X', Y', D] */
const char *infer_conv(Rule *r) {
    Spec s;
    const char *why, *window = op_str(r->op, A_window);
    int64_t n = (int64_t)strlen(window);
    if ((why = same_numbers(r)) || (why = spec_read(r, &s)) || (why = amounts(r, A_stride, n, 1)) ||
        (why = amounts(r, A_low, n, -AMOUNT_LIMIT)) || (why = amounts(r, A_high, n, -AMOUNT_LIMIT)) ||
        (why = amounts(r, A_lhs_dilation, n, 1)) || (why = amounts(r, A_rhs_dilation, n, 1)))
        return why;
    Shape out = {.rank = s.rank[2]};
    for (int64_t w = 0; w < n; w++) {
        if (strchr(window, window[w]) != window + w) return rule_fault(r, "label %c stands twice in the window", window[w]);
        if ((why = conv_window(r, &s, w, window[w], &out))) return why;
    }
    for (int p = 0; p < 3; p++)
        for (int i = 0; i < s.rank[p]; i++)
            if (!strchr(window, s.part[p][i]) && (why = spec_plain(r, &s, s.part[p][i], &out))) return why;
    return rule_result(r, 0, rule_in(r, 0)->elem, &out);
}

/* x: [N, d.., C]; size, stride, low, high: one number for each of d -> [N, d'.., C] with the same counting as conv. */
static const char *window_shape(Rule *r, const Type *x, Shape *s) {
    const char *why;
    int64_t n = x->rank - 2;
    if (n < 0)
        return rule_fault(r, "`%s` wants a first and a last axis around those it moves along, not %s", op_info[r->op->code].name,
                          type_name(x));
    if (!elem_is_number(x->elem)) return "windows are taken of numbers, not bools";
    if ((why = amounts(r, A_size, n, 1)) || (why = amounts(r, A_stride, n, 1)) || (why = amounts(r, A_low, n, 0)) ||
        (why = amounts(r, A_high, n, 0)))
        return why;
    const int64_t *size, *stride, *low, *high;
    op_ints(r->op, A_size, &size);
    op_ints(r->op, A_stride, &stride);
    op_ints(r->op, A_low, &low);
    op_ints(r->op, A_high, &high);
    s->rank = x->rank;
    memcpy(s->dim, x->dim, (size_t)x->rank * sizeof *x->dim);
    for (int64_t i = 0; i < n; i++) {
        Dim *d = &s->dim[i + 1];
        if (d->batch)
            return rule_fault(r, "axis %" PRId64 " of %s is the batch: windows do not move along it", i + 1, type_name(x));
        /* every window must hold an element, or there is no largest */
        if (r->op->code != OP_window_sum && (low[i] >= size[i] || high[i] >= size[i] || d->n == 0))
            return rule_fault(r, "a window of %" PRId64 " along axis %" PRId64 " would hold padding alone", size[i], i + 1);
        d->n = window_count(d->n, low[i], high[i], size[i], stride[i]);
        if (d->n < 0)
            return rule_fault(r, "a window of %" PRId64 " is larger than axis %" PRId64 " of %s with its padding", size[i], i + 1,
                              type_name(x));
    }
    return type_fault(s->rank, s->dim);
}

const char *infer_window(Rule *r) {
    Shape s;
    const char *why = window_shape(r, rule_in(r, 0), &s);
    return why ? why : rule_result(r, 0, rule_in(r, 0)->elem, &s);
}

const char *infer_window_put(Rule *r) {
    const Type *x = rule_in(r, 0), *y = rule_in(r, 1);
    Shape s;
    const char *why = window_shape(r, x, &s);
    if (why) return why;
    const Type *want = type_make(x->elem, s.rank, s.dim);
    if (y != want) return rule_fault(r, "the windows of %s give %s, not %s", type_name(x), type_name(want), type_name(y));
    r->types[0] = x;
    return NULL;
}

const char *infer_window_pick(Rule *r) {
    const Type *x = rule_in(r, 0), *v = rule_in(r, 1);
    Shape s;
    const char *why = window_shape(r, x, &s);
    if (why) return why;
    if (x != v) return rule_fault(r, "the operands of `window_pick` differ (%s, %s)", type_name(x), type_name(v));
    return rule_result(r, 0, x->elem, &s);
}

/* ---- reductions ---- */

static const char *reduce(Rule *r, bool nonempty) {
    const Type *x = rule_in(r, 0);
    const int64_t *axes;
    int64_t n = op_ints(r->op, A_axes, &axes);
    const char *why = rule_axes(r, axes, n, x->rank);
    if (why) return why;
    Shape s = {0};
    for (int i = 0, k = 0; i < x->rank; i++) {
        if (k < n && axes[k] == i) {
            k++;
            if (nonempty && x->dim[i].n == 0) return rule_fault(r, "axis %d of %s is empty: it has no extreme", i, type_name(x));
            continue;
        }
        s.dim[s.rank++] = x->dim[i];
    }
    return rule_result(r, 0, x->elem, &s);
}

const char *infer_reduce_number(Rule *r) {
    if (!elem_is_number(rule_in(r, 0)->elem))
        return rule_fault(r, "`%s` wants numbers, not %s", op_info[r->op->code].name, type_name(rule_in(r, 0)));
    return reduce(r, false);
}

const char *infer_reduce_nonempty(Rule *r) {
    if (!elem_is_number(rule_in(r, 0)->elem))
        return rule_fault(r, "`%s` wants numbers, not %s", op_info[r->op->code].name, type_name(rule_in(r, 0)));
    return reduce(r, true);
}

const char *infer_reduce_bool(Rule *r) {
    if (rule_in(r, 0)->elem != BOOL)
        return rule_fault(r, "`%s` wants bools, not %s", op_info[r->op->code].name, type_name(rule_in(r, 0)));
    return reduce(r, false);
}

const char *infer_arg(Rule *r) {
    const Type *x = rule_in(r, 0);
    int64_t axis = op_int(r->op, A_axis);
    const char *why = rule_axis(r, axis, x->rank);
    if (why) return why;
    if (!elem_is_number(x->elem)) return rule_fault(r, "`%s` wants numbers, not %s", op_info[r->op->code].name, type_name(x));
    if (x->dim[axis].n == 0) return rule_fault(r, "axis %" PRId64 " of %s is empty: it has no extreme", axis, type_name(x));
    Shape s = {0};
    for (int i = 0; i < x->rank; i++)
        if (i != axis) s.dim[s.rank++] = x->dim[i];
    return rule_result(r, 0, I32, &s);
}

const char *infer_sort(Rule *r) {
    const Type *x = rule_in(r, 0);
    const char *why = rule_axis(r, op_int(r->op, A_axis), x->rank);
    if (why) return why;
    if (!elem_is_number(x->elem)) return rule_fault(r, "`sort` wants numbers, not %s", type_name(x));
    r->types[0] = x;
    r->types[1] = type_with_elem(x, I32);
    return NULL;
}

const char *infer_top_k(Rule *r) {
    const Type *x = rule_in(r, 0);
    int64_t k = op_int(r->op, A_k);
    if (x->rank == 0) return "`top_k` wants at least one axis";
    if (!elem_is_number(x->elem)) return rule_fault(r, "`top_k` wants numbers, not %s", type_name(x));
    if (k < 0 || k > x->dim[x->rank - 1].n) /* a batch has at least one sample */
        return rule_fault(r, "the last axis of %s does not have %" PRId64 " elements", type_name(x), k);
    Shape s = {.rank = x->rank};
    memcpy(s.dim, x->dim, (size_t)x->rank * sizeof *x->dim);
    s.dim[x->rank - 1] = (Dim){k, false};
    const char *why = rule_result(r, 0, x->elem, &s);
    return why ? why : rule_result(r, 1, I32, &s);
}
