/*
 * simplify_shape.c - chains of ops that move elements about become one, or none; constants pass through them; products read their
 * operands as they lie.
 *
 *   reshape(reshape x)         = reshape x                transpose(transpose x)       = transpose x
 *   broadcast(broadcast x)     = broadcast x              broadcast(reshape x)         = broadcast x, where the reshape only adds
 * or drops axes of one slice(slice x)             = slice x                  slice(concat ..)             = slice of the part it
 * lies in pad(..) + pad(..)          = concat of parts that lie side by side (what the slices of a joined product leave behind on
 * the way back) contract(transpose a, b)   = contract with the labels exchanged; of b only if the order of the summed labels,
 * which is the order of the sum, stays contract(broadcast a, b)   = contract without the label that a was repeated along, if b
 * has it sum over axes of one       = reshape                  op(constant)                 = constant sum(neg x) = neg(sum x)
 * All keep every bit, but for the sign of zero where zeros were added (see simplify_algebra.c).
 */
#include "simplify.h"
#include "spec.h"

static const int64_t *ints(const Op *op, AttrKey key) {
    const int64_t *at;
    op_ints(op, key, &at);
    return at;
}

static bool is_one(Dim d) { return d.n == 1 && !d.batch; }

/* ---- one operand ---- */

static Value *do_reshape(Simplify *s, Op *op) {
    Value *x = op->in[0];
    const Type *t = op->out[0]->type;
    if (x->type == t) return x;
    Op *inner = made_by(x, OP_reshape);
    if (inner) return g_reshape(&s->b, inner->in[0], t->rank, t->dim);
    inner = made_by(x, OP_broadcast);
    if (inner && inner->in[0]->type->rank == 0) return g_broadcast(&s->b, inner->in[0], t->rank, t->dim, NULL);
    return NULL;
}

static Value *do_transpose(Simplify *s, Op *op) {
    Value *x = op->in[0];
    const int64_t *perm = ints(op, A_perm);
    bool same = true;
    for (int i = 0; i < x->type->rank; i++) same &= perm[i] == i;
    if (same) return x;
    Op *inner = made_by(x, OP_transpose);
    int64_t both[MAX_RANK];
    if (inner) {
        const int64_t *first = ints(inner, A_perm);
        for (int i = 0; i < x->type->rank; i++) both[i] = first[perm[i]];
        return g_transpose(&s->b, inner->in[0], both);
    }
    if (!(inner = made_by(x, OP_broadcast))) return NULL;
    /* the axes of what was repeated must still be in order */
    const int64_t *axes = ints(inner, A_axes);
    int n = inner->in[0]->type->rank;
    for (int k = 0; k < n; k++) {
        for (int i = 0; i < x->type->rank; i++)
            if (perm[i] == axes[k]) both[k] = i;
        if (k && both[k] < both[k - 1]) return NULL;
    }
    const Type *t = op->out[0]->type;
    return g_broadcast(&s->b, inner->in[0], t->rank, t->dim, both);
}

/* Can `from` become `to` by adding and dropping axes of one? Then place[i] is where axis i of `to` comes from, -1 for an axis of
 * one. */
static bool only_ones(const Type *from, const Type *to, int *place) {
    int k = 0;
    for (int i = 0; i < to->rank; i++) {
        place[i] = -1;
        if (is_one(to->dim[i])) continue;
        while (k < from->rank && is_one(from->dim[k])) k++;
        if (k == from->rank || !dim_same(from->dim[k], to->dim[i])) return false;
        place[i] = k++;
    }
    while (k < from->rank && is_one(from->dim[k])) k++;
    return k == from->rank;
}

/* x without its axes of one. */
static Value *squeeze(Simplify *s, Value *x) {
    Dim dims[MAX_RANK];
    int n = 0;
    for (int i = 0; i < x->type->rank; i++)
        if (!is_one(x->type->dim[i])) dims[n++] = x->type->dim[i];
    return g_reshape(&s->b, x, n, dims);
}

static Value *do_broadcast(Simplify *s, Op *op) {
    Value *x = op->in[0];
    const Type *t = op->out[0]->type;
    if (x->type == t) return x;
    const int64_t *axes = ints(op, A_axes);
    int64_t both[MAX_RANK];
    Op *inner = made_by(x, OP_broadcast);
    if (inner) {
        const int64_t *first = ints(inner, A_axes);
        for (int i = 0; i < inner->in[0]->type->rank; i++) both[i] = axes[first[i]];
        return g_broadcast(&s->b, inner->in[0], t->rank, t->dim, both);
    }
    if (!(inner = made_by(x, OP_reshape))) return NULL;
    int place[MAX_RANK], n = 0;
    Value *y = inner->in[0];
    if (!only_ones(y->type, x->type, place)) return NULL;
    bool ones = false, left = false;
    for (int i = 0; i < y->type->rank; i++) ones |= is_one(y->type->dim[i]);
    for (int i = 0; i < x->type->rank; i++) left |= is_one(x->type->dim[i]);
    if (ones && !left) return NULL; /* x is y without its ones already */
    if (ones) y = squeeze(s, y);
    for (int i = 0; i < x->type->rank; i++)
        if (place[i] >= 0) both[n++] = axes[i];
    return g_broadcast(&s->b, y, t->rank, t->dim, both);
}

static Value *do_reverse(Simplify *s, Op *op) {
    Value *x = op->in[0];
    const int64_t *axes = ints(op, A_axes);
    int64_t n = op_ints(op, A_axes, NULL), left[MAX_RANK], m = 0;
    for (int64_t i = 0; i < n; i++)
        if (!is_one(x->type->dim[axes[i]])) left[m++] = axes[i];
    if (m == 0) return x;
    Op *inner = made_by(x, OP_reverse);
    if (inner && same_ints(ints(inner, A_axes), op_ints(inner, A_axes, NULL), axes, n)) return inner->in[0];
    if (m == n) return NULL;
    Attr attr = attr_ints(s->arena, A_axes, left, m);
    return op_make(&s->b, OP_reverse, 1, &x, 1, &attr, NULL);
}

static Value *make_pad(Simplify *s, Value *x, Value *value, const int64_t *low, const int64_t *high, const int64_t *interior) {
    int n = x->type->rank;
    Attr attrs[] = {attr_ints(s->arena, A_low, low, n), attr_ints(s->arena, A_high, high, n),
                    attr_ints(s->arena, A_interior, interior, n)};
    return op_make(&s->b, OP_pad, 2, (Value *[]){x, value}, 3, attrs, NULL);
}

static bool all_zero(const int64_t *at, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (at[i]) return false;
    return true;
}

static bool same_constant(const Value *a, const Value *b) {
    double x, y;
    return a == b || (is_constant(a, &x) && is_constant(b, &y) && memcmp(&x, &y, sizeof x) == 0);
}

static Value *do_pad(Simplify *s, Op *op) {
    Value *x = op->in[0];
    int n = x->type->rank;
    const int64_t *low = ints(op, A_low), *high = ints(op, A_high), *interior = ints(op, A_interior);
    if (all_zero(low, n) && all_zero(high, n) && all_zero(interior, n)) return x;
    double k;
    if (is_constant(x, &k) && same_constant(x, op->in[1])) return g_constant(&s->b, op->out[0]->type, k);
    Op *inner = made_by(x, OP_pad);
    if (!inner || !same_constant(inner->in[1], op->in[1]) || !all_zero(interior, n)) return NULL;
    int64_t both_low[MAX_RANK], both_high[MAX_RANK];
    for (int i = 0; i < n; i++) { /* what the inner one cut off does not come back */
        both_low[i] = ints(inner, A_low)[i] + low[i];
        both_high[i] = ints(inner, A_high)[i] + high[i];
        if (ints(inner, A_low)[i] < 0 || ints(inner, A_high)[i] < 0) return NULL;
    }
    return make_pad(s, inner->in[0], op->in[1], both_low, both_high, ints(inner, A_interior));
}

/* ---- slices ---- */

static Value *slice_of_slice(Simplify *s, Op *op, const Op *inner) {
    int64_t start[MAX_RANK], limit[MAX_RANK], step[MAX_RANK];
    for (int i = 0; i < op->in[0]->type->rank; i++) {
        int64_t s0 = ints(inner, A_start)[i], d0 = ints(inner, A_step)[i], d = ints(op, A_step)[i];
        Dim size = op->out[0]->type->dim[i];
        start[i] = s0 + d0 * ints(op, A_start)[i];
        step[i] = d0 * d;
        if (!size.batch && size.n == 0) start[i] = 0; /* nothing begins anywhere, also where the inner slice has no place */
        limit[i] = size.batch ? -1 : size.n ? start[i] + (size.n - 1) * step[i] + 1 : start[i];
    }
    return g_slice(&s->b, inner->in[0], start, limit, step);
}

static Value *slice_of_concat(Simplify *s, Op *op, const Op *inner) {
    int64_t axis = op_int(inner, A_axis), at = 0, rank = op->in[0]->type->rank;
    if (op->in[0]->type->dim[axis].batch) return NULL;
    const int64_t *start = ints(op, A_start), *limit = ints(op, A_limit);
    for (int k = 0; k < inner->n_in; k++) {
        int64_t n = inner->in[k]->type->dim[axis].n;
        if (start[axis] >= at && limit[axis] <= at + n) {
            int64_t from[MAX_RANK], to[MAX_RANK];
            memcpy(from, start, (size_t)rank * sizeof *from);
            memcpy(to, limit, (size_t)rank * sizeof *to);
            from[axis] -= at;
            to[axis] -= at;
            return g_slice(&s->b, inner->in[k], from, to, ints(op, A_step));
        }
        at += n;
    }
    return NULL;
}

/* A slice that holds nothing of what was padded around. */
static Value *slice_of_pad(Simplify *s, Op *op, const Op *inner) {
    int rank = op->in[0]->type->rank;
    int64_t from[MAX_RANK], to[MAX_RANK];
    if (!all_zero(ints(inner, A_interior), rank)) return NULL;
    for (int i = 0; i < rank; i++) {
        Dim d = inner->in[0]->type->dim[i];
        from[i] = ints(op, A_start)[i] - ints(inner, A_low)[i];
        to[i] = d.batch ? -1 : ints(op, A_limit)[i] - ints(inner, A_low)[i];
        if (!d.batch && (from[i] < 0 || to[i] > d.n)) return NULL;
    }
    return g_slice(&s->b, inner->in[0], from, to, ints(op, A_step));
}

/* Along axes that x was repeated along it does not matter where the slice lies. */
static Value *slice_of_broadcast(Simplify *s, Op *op, const Op *inner) {
    const Type *x = inner->in[0]->type, *t = op->out[0]->type;
    const int64_t *axes = ints(inner, A_axes);
    for (int i = 0; i < x->rank; i++)
        if (!dim_same(t->dim[axes[i]], op->in[0]->type->dim[axes[i]]) && !is_one(x->dim[i])) return NULL;
    return g_broadcast(&s->b, inner->in[0], t->rank, t->dim, axes);
}

static Value *do_slice(Simplify *s, Op *op) {
    Value *x = op->in[0];
    if (x->type == op->out[0]->type) return x;
    Op *inner = x->def;
    if (!inner) return NULL;
    if (inner->code == OP_slice) return slice_of_slice(s, op, inner);
    if (inner->code == OP_concat) return slice_of_concat(s, op, inner);
    if (inner->code == OP_pad) return slice_of_pad(s, op, inner);
    if (inner->code == OP_broadcast) return slice_of_broadcast(s, op, inner);
    return NULL;
}

static Value *do_dynamic_slice(Simplify *s, Op *op) {
    const Type *x = op->in[0]->type;
    const int64_t *axes = ints(op, A_axes), *sizes = ints(op, A_sizes);
    int64_t n = op_ints(op, A_axes, NULL), start[MAX_RANK], limit[MAX_RANK], step[MAX_RANK];
    for (int i = 0; i < x->rank; i++) {
        start[i] = 0;
        limit[i] = x->dim[i].batch ? -1 : x->dim[i].n;
        step[i] = 1;
    }
    for (int64_t k = 0; k < n; k++) {
        double at;
        if (x->dim[axes[k]].batch || !is_constant(op->in[k + 1], &at)) return NULL;
        if (at < 0 || at + (double)sizes[k] > (double)x->dim[axes[k]].n) return NULL; /* the program stops there, at run time */
        start[axes[k]] = (int64_t)at;
        limit[axes[k]] = (int64_t)at + sizes[k];
    }
    return g_slice(&s->b, op->in[0], start, limit, step);
}

/* ---- several operands ---- */

/* If y is the slice of the same value that lies right behind slice x along the axis: both as one slice. */
static Value *slices_as_one(Simplify *s, Value *x, Value *y, int64_t axis) {
    Op *a = made_by(x, OP_slice), *b = made_by(y, OP_slice);
    if (!a || !b || a->in[0] != b->in[0] || x->type->dim[axis].batch) return NULL;
    int64_t limit[MAX_RANK];
    for (int i = 0; i < x->type->rank; i++) {
        limit[i] = ints(i == axis ? b : a, A_limit)[i];
        if (ints(a, A_step)[i] != ints(b, A_step)[i] || (i == axis && ints(a, A_step)[i] != 1)) return NULL;
        if (i == axis ? ints(a, A_limit)[i] != ints(b, A_start)[i]
                      : ints(a, A_start)[i] != ints(b, A_start)[i] || limit[i] != ints(b, A_limit)[i])
            return NULL;
    }
    return g_slice(&s->b, a->in[0], ints(a, A_start), limit, ints(a, A_step));
}

/* concat of parts that are concats along the same axis, or slices side by side of one value. */
static Value *do_concat(Simplify *s, Op *op) {
    int64_t axis = op_int(op, A_axis);
    if (op->n_in == 1) return op->in[0];
    double k;
    bool alike = is_constant(op->in[0], &k);
    for (int i = 1; i < op->n_in && alike; i++) alike = same_constant(op->in[0], op->in[i]);
    if (alike) return g_constant(&s->b, op->out[0]->type, k);
    Values parts = {0};
    for (int i = 0; i < op->n_in; i++) {
        Op *inner = made_by(op->in[i], OP_concat);
        Dim d = op->in[i]->type->dim[axis];
        if (inner && op_int(inner, A_axis) == axis && simplify_single_use(s, op->in[i]))
            for (int j = 0; j < inner->n_in; j++) vec_push(s->scratch, &parts, inner->in[j]);
        else if (d.n != 0)
            vec_push(s->scratch, &parts, op->in[i]);
    }
    for (size_t i = 0; i + 1 < parts.n;) {
        Value *both = slices_as_one(s, parts.at[i], parts.at[i + 1], axis);
        if (!both) {
            i++;
            continue;
        }
        parts.at[i] = both;
        memmove(parts.at + i + 1, parts.at + i + 2, (parts.n - i - 2) * sizeof *parts.at);
        parts.n--;
    }
    if (parts.n == (size_t)op->n_in && memcmp(parts.at, op->in, parts.n * sizeof *parts.at) == 0) return NULL;
    if (parts.n == 0) return op->in[0];
    return g_concat(&s->b, (int)parts.n, parts.at, axis);
}

/* A value with zeros before and behind it along one axis. */
typedef struct Padded {
    Value *x;
    int64_t axis, low, high;
} Padded;

static bool read_padded(Value *v, Padded *p) {
    Op *op = made_by(v, OP_pad);
    double k;
    if (!op || !is_constant(op->in[1], &k) || k != 0) return false;
    const int64_t *low = ints(op, A_low), *high = ints(op, A_high);
    *p = (Padded){op->in[0], -1, 0, 0};
    for (int i = 0; i < v->type->rank; i++) {
        if (ints(op, A_interior)[i] || low[i] < 0 || high[i] < 0) return false;
        if (low[i] == 0 && high[i] == 0) continue;
        if (p->axis >= 0) return false;
        *p = (Padded){op->in[0], i, low[i], high[i]};
    }
    return p->axis >= 0;
}

/* The terms of a sum that are padded alike and used nowhere else. Returns false where a term is something else. */
static bool collect_padded(Simplify *s, Value *v, int64_t axis, Padded *at, int *n, int room) {
    Padded p;
    if (read_padded(v, &p)) {
        if (p.axis != axis || *n == room) return false;
        int i = (*n)++;
        for (; i > 0 && at[i - 1].low > p.low; i--) at[i] = at[i - 1];
        at[i] = p;
        return true;
    }
    Op *add = made_by(v, OP_add);
    return add && simplify_single_use(s, v) && collect_padded(s, add->in[0], axis, at, n, room) &&
           collect_padded(s, add->in[1], axis, at, n, room);
}

enum { MOST_PARTS = 64 };

/* pad(x) + pad(y) + ..., each of a place of its own, side by side without gaps: concat(x, y, ..), padded on the outside. */
static Value *add_padded(Simplify *s, Op *op) {
    Padded at[MOST_PARTS], first;
    int n = 0;
    Value *v = op->in[1];
    for (int i = 0; !read_padded(v, &first); i++) {
        Op *add = made_by(v, OP_add);
        if (!add || i == MOST_PARTS) return NULL;
        v = add->in[1];
    }
    int64_t axis = first.axis, size = op->out[0]->type->dim[axis].n;
    if (op->out[0]->type->dim[axis].batch) return NULL;
    for (int i = 0; i < 2; i++)
        if (!collect_padded(s, op->in[i], axis, at, &n, MOST_PARTS)) return NULL;
    Value *parts[MOST_PARTS];
    for (int i = 0; i < n; i++) {
        if (i && at[i].low != size - at[i - 1].high) return NULL;
        parts[i] = at[i].x;
    }
    Value *whole = g_concat(&s->b, n, parts, axis);
    if (at[0].low == 0 && at[n - 1].high == 0) return whole;
    int64_t low[MAX_RANK] = {0}, high[MAX_RANK] = {0}, interior[MAX_RANK] = {0};
    low[axis] = at[0].low;
    high[axis] = at[n - 1].high;
    return make_pad(s, whole, g_constant(&s->b, type_scalar(op->out[0]->type->elem), 0), low, high, interior);
}

/* ---- reductions ---- */

static Value *do_reduce(Simplify *s, Op *op) {
    Value *x = op->in[0];
    const int64_t *axes = ints(op, A_axes);
    int64_t n = op_ints(op, A_axes, NULL);
    const Type *t = op->out[0]->type;
    bool ones = true;
    for (int64_t i = 0; i < n; i++) ones &= is_one(x->type->dim[axes[i]]);
    if (ones) return n ? g_reshape(&s->b, x, t->rank, t->dim) : x;
    Op *inner = op->code == OP_sum && elem_is_float(t->elem) ? made_by(x, OP_neg) : NULL;
    if (inner)
        return g_unary(&s->b, OP_neg,
                       g_reduce(&s->b, OP_sum, inner->in[0], (int)n, axes)); /* rounding does not look at the sign */
    double k;
    if (!is_constant(x, &k)) return NULL;
    if (op->code == OP_sum && k != 0) return NULL; /* the sum of n equal numbers, each added by itself, is for the run */
    if (op->code == OP_prod && k != 1) return NULL;
    if ((op->code == OP_any || op->code == OP_all) && type_count(x->type, 1) == 0) return NULL;
    return g_constant(&s->b, t, op->code == OP_sum ? 0 : k);
}

/* ---- products ---- */

static Value *remake(Simplify *s, const Op *op, const Spec *p, Value *a, Value *b) {
    Attr *attrs = arena_make_n(s->arena, Attr, (size_t)op->n_attrs);
    memcpy(attrs, op->attrs, (size_t)op->n_attrs * sizeof *attrs);
    attrs[0] = attr_s(A_spec, spec_text(p));
    return op_make(&s->b, op->code, 2, (Value *[]){a, b}, op->n_attrs, attrs, NULL);
}

/* The labels of a sum in the order in which the second operand lists them. */
static void sum_order(const Spec *p, const char *windowed, char *order) {
    int n = 0;
    for (const char *l = p->b; *l; l++)
        if (!strchr(p->out, *l) || strchr(windowed, *l)) order[n++] = *l;
    order[n] = 0;
}

static Value *product_of_transpose(Simplify *s, Op *op) {
    const char *windowed = op->code == OP_conv ? op_str(op, A_window) : "";
    for (int k = 0; k < 2; k++) {
        Op *inner = made_by(op->in[k], OP_transpose);
        if (!inner) continue;
        Spec p = read_spec(op), q = p;
        const int64_t *perm = ints(inner, A_perm);
        for (int i = 0; spec_part(&p, k)[i]; i++) spec_part(&q, k)[perm[i]] = spec_part(&p, k)[i];
        char before[MAX_RANK + 1], after[MAX_RANK + 1];
        sum_order(&p, windowed, before);
        sum_order(&q, windowed, after);
        if (strcmp(before, after) != 0) continue;
        return remake(s, op, &q, k ? op->in[0] : inner->in[0], k ? inner->in[0] : op->in[1]);
    }
    return NULL;
}

/* An operand that was repeated along a new axis whose label the other operand has, too: the label goes, if it is not summed over.
 */
static Value *product_of_broadcast(Simplify *s, Op *op) {
    for (int k = 0; k < 2; k++) {
        Op *inner = made_by(op->in[k], OP_broadcast);
        if (!inner) continue;
        Spec p = read_spec(op), q = p;
        const Type *x = inner->in[0]->type, *wide = op->in[k]->type;
        const int64_t *axes = ints(inner, A_axes);
        int n = 0;
        bool ok = x->rank < wide->rank;
        for (int i = 0, j = 0; i < wide->rank && ok; i++) {
            char label = spec_part(&p, k)[i];
            if (j < x->rank && axes[j] == i) {
                ok = dim_same(x->dim[j++], wide->dim[i]);
                spec_part(&q, k)[n++] = label;
            } else
                ok = strchr(spec_part(&p, 1 - k), label) && strchr(p.out, label);
        }
        spec_part(&q, k)[n] = 0;
        if (ok) return remake(s, op, &q, k ? op->in[0] : inner->in[0], k ? inner->in[0] : op->in[1]);
    }
    return NULL;
}

/* transpose(contract ..): the product writes its result as it is wanted. */
static Value *transpose_of_product(Simplify *s, Op *op) {
    Op *inner = op->in[0]->def;
    if (!inner || (inner->code != OP_contract && inner->code != OP_conv) || !simplify_single_use(s, op->in[0])) return NULL;
    Spec p = read_spec(inner), q = p;
    const int64_t *perm = ints(op, A_perm);
    for (int i = 0; p.out[i]; i++) q.out[i] = p.out[perm[i]];
    return remake(s, inner, &q, inner->in[0], inner->in[1]);
}

/* ---- constants ---- */

/* Ops that only move the elements of their first operand. */
static bool moves(OpCode code) {
    return code == OP_broadcast || code == OP_reshape || code == OP_transpose || code == OP_slice || code == OP_reverse ||
           code == OP_dynamic_slice;
}

Value *simplify_shape(Simplify *s, Op *op) {
    Value *v;
    double k;
    if (moves(op->code) && op->code != OP_dynamic_slice && is_constant(op->in[0], &k))
        return g_constant(&s->b, op->out[0]->type, k);
    switch ((int)op->code) {
    case OP_reshape: return do_reshape(s, op);
    case OP_transpose: return (v = do_transpose(s, op)) ? v : transpose_of_product(s, op);
    case OP_broadcast: return do_broadcast(s, op);
    case OP_reverse: return do_reverse(s, op);
    case OP_slice: return do_slice(s, op);
    case OP_dynamic_slice: return do_dynamic_slice(s, op);
    case OP_pad: return do_pad(s, op);
    case OP_concat: return do_concat(s, op);
    case OP_add: return add_padded(s, op);
    case OP_sum:
    case OP_prod:
    case OP_reduce_max:
    case OP_reduce_min:
    case OP_any:
    case OP_all: return do_reduce(s, op);
    case OP_contract: return (v = product_of_transpose(s, op)) ? v : product_of_broadcast(s, op);
    case OP_conv: return product_of_transpose(s, op);
    default: return NULL;
    }
}
