/*
 * grad_mask.c - the cotangents of branches: what `select` did not take stays 0 on the whole way back (rule E4 of the language).
 *
 *   %y = select %c, %a, %b       %a = mul %x, %f           %x = 0, %f = log %x = -inf where %c is false
 *   da = select %c, dy, 0        dx = mul da, %f           0 * inf is NaN
 *                            =>  dx = select %c, (mul dy, %f), 0
 *
 * So the select moves outwards: a cotangent knows its mask (which branches lead to it) and what stands inside, which the rules
 * multiply, add and move about; the mask is put around the answer. It costs no more than one select, which stands later. What
 * was inside is used no more, or it is the cotangent of something itself.
 *
 * A mask is a list of conditions, each inside the one before. Cotangents of one value that came different ways are added inside
 * what their masks have in common; what is left of them lets through what either does.
 *
 * Kept by products and quotients, sums of two cotangents, moves of elements and their repetition; not by contract, conv, sums
 * over elements that conditions tell apart, gather, scan: there the masked cotangent is a value like others. Neither by the zeros
 * that a slice's gradient puts around: a condition for each slice of one value, padded, and their `or`, would cost more than the
 * arithmetic between (the gates of a masked GRU). The selects of max, min and reduce_max are no masks: nobody guards with them,
 * and relu would keep its operand for every product on the way back.
 */
#include "grad.h"

#include <string.h>

struct Mask {
    Mask *outer; /* NULL: none */
    Value *cond;
    bool is_else; /* lets through where cond is false */
    int depth;
    Value *open; /* where it and all outer ones let through; NULL: not built yet */
};

enum { DEEPEST = 32 }; /* `if` in `if`; a mask of more begins anew, so that what is built stays linear in the program */

typedef struct Masked {
    Mask *mask; /* NULL: this value has none */
    Value *inside;
} Masked;

struct Masks {
    Masked *at; /* by value id */
    int n;
};

Masks *gr_no_masks(Arena *scratch) { return arena_make(scratch, Masks); }

static Masked unmask(const GradCtx *c, Value *v) {
    Masked none = {NULL, v};
    return v->id < c->masks->n && c->masks->at[v->id].mask ? c->masks->at[v->id] : none;
}

static void remember(GradCtx *c, const Value *v, Masked m) {
    Masks *all = c->masks;
    if (v->id >= all->n) {
        int n = 2 * c->b.func->n_values;
        Masked *at = arena_make_n(c->scratch, Masked, (size_t)n);
        if (all->n) memcpy(at, all->at, (size_t)all->n * sizeof *at);
        all->at = at;
        all->n = n;
    }
    all->at[v->id] = m;
}

static Mask *mask_make(GradCtx *c, Mask *outer, Value *cond, bool is_else) {
    Mask *m = arena_make(c->scratch, Mask);
    *m = (Mask){outer, cond, is_else, outer ? outer->depth + 1 : 1, NULL};
    return m;
}

/* Where the mask lets through, as a bool; of its conditions those inside `from` (NULL: all). */
static Value *open_from(GradCtx *c, Mask *m, const Mask *from) {
    if (!from && m->open) return m->open;
    Value *open = m->is_else ? g_unary(&c->b, OP_not, m->cond) : m->cond;
    if (m->outer != from) open = g_binary(&c->b, OP_and, open_from(c, m->outer, from), open);
    if (!from) m->open = open;
    return open;
}

/* v where the mask lets through, else 0. */
static Value *apply(GradCtx *c, Mask *m, const Mask *from, Value *v) {
    if (m == from) return v;
    Value *zero = gr_like(c, v, 0);
    if (m->outer == from && m->is_else) return g_select(&c->b, m->cond, zero, v);
    return g_select(&c->b, open_from(c, m, from), v, zero);
}

static Value *put_on(GradCtx *c, Mask *m, Value *inside) {
    if (!m) return inside;
    Value *v = apply(c, m, NULL, inside);
    remember(c, v, (Masked){m, inside});
    return v;
}

/* ---- masks that are the same ---- */

/* One condition, or one that was repeated or reshaped twice in the same way. */
static bool same_condition(const Value *a, const Value *b) {
    if (a == b) return true;
    const Op *x = a->def, *y = b->def;
    if (!x || !y || x->code != y->code || a->type != b->type) return false;
    if (x->code == OP_reshape) return same_condition(x->in[0], y->in[0]);
    const int64_t *i, *k;
    if (x->code != OP_broadcast || op_ints(x, A_axes, &i) != op_ints(y, A_axes, &k)) return false;
    return memcmp(i, k, (size_t)x->in[0]->type->rank * sizeof *i) == 0 && same_condition(x->in[0], y->in[0]);
}

static bool same_mask(const Mask *a, const Mask *b) {
    for (; a != b; a = a->outer, b = b->outer)
        if (!a || !b || a->is_else != b->is_else || !same_condition(a->cond, b->cond)) return false;
    return true;
}

/* The outer conditions that both have, as part of *a and as part of *b. */
static void find_common(Mask **a, Mask **b) {
    while (*a && *b && !same_mask(*a, *b)) {
        int deeper = (*a)->depth - (*b)->depth;
        if (deeper >= 0) *a = (*a)->outer;
        if (deeper <= 0) *b = (*b)->outer;
    }
    if (!*a || !*b) *a = *b = NULL;
}

/* The two branches of one condition? */
static bool are_opposite(const Mask *a, const Mask *b) { return a->is_else != b->is_else && same_condition(a->cond, b->cond); }

/* ---- what rules do with cotangents ---- */

Value *gr_branch(GradCtx *c, Value *cond, Value *dy, bool is_else) {
    Masked m = unmask(c, dy);
    if (m.mask && m.mask->depth == DEEPEST) m = (Masked){NULL, dy};
    return put_on(c, mask_make(c, m.mask, cond, is_else), m.inside);
}

Value *gr_map(GradCtx *c, Value *dy, GradMap *map, const void *arg) {
    Masked m = unmask(c, dy);
    return put_on(c, m.mask, map(c, m.inside, arg));
}

static Mask *move_mask(GradCtx *c, Mask *m, GradMap *move, const void *arg) {
    return m ? mask_make(c, move_mask(c, m->outer, move, arg), move(c, m->cond, arg), m->is_else) : NULL;
}

Value *gr_move(GradCtx *c, Value *dy, GradMap *move, const void *arg) {
    Masked m = unmask(c, dy);
    Value *inside = move(c, m.inside, arg);
    return put_on(c, move_mask(c, m.mask, move, arg), inside);
}

bool gr_mask_is(const GradCtx *c, Value *dy, bool (*ok)(const Value *cond, const void *arg), const void *arg) {
    for (const Mask *m = unmask(c, dy).mask; m; m = m->outer)
        if (!ok(m->cond, arg)) return false;
    return true;
}

Value *gr_add(GradCtx *c, Value *x, Value *y) {
    Masked a = unmask(c, x), b = unmask(c, y);
    if (!a.mask || !b.mask) return g_binary(&c->b, OP_add, x, y);
    Mask *in_a = a.mask, *in_b = b.mask;
    find_common(&in_a, &in_b);
    if (in_a != a.mask && in_b != b.mask && a.mask->outer == in_a && b.mask->outer == in_b && are_opposite(a.mask, b.mask)) {
        const Mask *m = a.mask;
        Value *then = m->is_else ? b.inside : a.inside, *otherwise = m->is_else ? a.inside : b.inside;
        return put_on(c, in_a, g_select(&c->b, m->cond, then, otherwise));
    }
    Value *sum = g_binary(&c->b, OP_add, apply(c, a.mask, in_a, a.inside), apply(c, b.mask, in_b, b.inside));
    if (a.mask == in_a || b.mask == in_b) return put_on(c, in_a, sum);
    Value *either = g_binary(&c->b, OP_or, open_from(c, a.mask, in_a), open_from(c, b.mask, in_b));
    return put_on(c, mask_make(c, in_a, either, false), sum);
}

static Value *negate(GradCtx *c, Value *x, const void *arg) { return (void)arg, g_unary(&c->b, OP_neg, x); }
static Value *multiply(GradCtx *c, Value *x, const void *f) { return g_binary(&c->b, OP_mul, x, *(Value *const *)f); }
static Value *divide(GradCtx *c, Value *x, const void *by) { return g_binary(&c->b, OP_div, x, *(Value *const *)by); }

Value *gr_where(GradCtx *c, Value *v, const void *cond) { return g_select(&c->b, *(Value *const *)cond, v, gr_like(c, v, 0)); }

Value *gr_neg(GradCtx *c, Value *x) { return gr_map(c, x, negate, NULL); }
Value *gr_mul(GradCtx *c, Value *x, Value *f) { return gr_map(c, x, multiply, &f); }
Value *gr_div(GradCtx *c, Value *x, Value *by) { return gr_map(c, x, divide, &by); }

Value *gr_guard(GradCtx *c, Value *dy, Value *g) {
    Masked d = unmask(c, dy), m = unmask(c, g);
    if (d.mask && d.mask == m.mask) return put_on(c, d.mask, gr_guard(c, d.inside, m.inside));
    double k;
    if (gr_constant(dy, &k) && k != 0) return g;
    Value *zero = gr_like(c, dy, 0),
          *infinite = g_binary(&c->b, OP_and, g_binary(&c->b, OP_eq, dy, zero), g_binary(&c->b, OP_ne, g, g));
    return g_select(&c->b, infinite, zero, g);
}
