/*
 * lower_top.c - top_k of few elements: each row is walked once, beside a list of the k largest so far.
 *
 *   %best[0] = nan ; %best[1 + p] = -inf, %place[1 + p] = p                                 for p in 0..k
 *   for i in 0..k { enter(x[i], i), as far as place i }
 *   acc entered = 0
 *   for j in k..n by STRIDE {
 *     let worst = %best[k] ; acc hit: i32[16] = 0
 *     for m in j..min(n, j + STRIDE) by 16, l in m..min(n, m + 16) { hit[l - m] = x[l] before worst ? 1 : hit[l - m] }
 *     if any of hit, and entered <= patience {
 *       for i in j..min(n, j + STRIDE) { if x[i] before %best[k] { enter(x[i], i) ; entered += 1 } } } }
 *
 *   enter(v, i):  %next[p] = v before %best[p] ? (v before %best[p - 1] ? %best[p - 1] : v) : %best[p]       for all places p, %next_place alike; then %best = %next
 *
 * Of a row in no order few elements enter: the first k, and element i behind them with the chance k / i, k (1 + ln(n / k)) in all. All others cost one comparison, in vectors: where none of STRIDE
 * elements stands before the worst one kept, they are done with. What enters moves those behind it by one; as the list is in order, each of its places finds its element by looking at two, whatever
 * the other places do, so that loop has vectors, too. An element enters behind equal ones: the first stays the first.
 *
 * The list begins with k of the least value, as if they had stood at the places 0..k-1. While element i < k is looked at, the list has i elements. If it is of the least value itself, what lies at
 * place i is it already; if not, it stands before that, and what lies behind place i stays where it is.
 *
 * Rows that rise are the worst case: every element enters. So the list has PATIENCE times as many entries as a row in no order has; a row that wants more is sorted by merging, and what the list has
 * cost then is a small part of that: only where it is expected to be, the list is tried at all (top_is_short).
 */
#include "passes/lower_sort.h"

#include <math.h>

enum {
    STRIDE = 64, /* elements that are looked at together */
    LANES = 8,   /* the list has whole vectors of so many */
    PATIENCE = 2,
};

/* How many elements of a row in no order enter the list. */
static double entries(const Sort *s) {
    double k = (double)s->keep, n = (double)s->n;
    return k > 0 ? k * (1 + log(n / k)) : 0;
}

/* Measured (AVX2), in nanoseconds: an entry takes 28 and 0.2 for each place of the list, to sort takes some 20 an element. Entries may take a quarter of the time of sorting, so a row that
 * PATIENCE gives up on takes at most half as long again as one that is sorted at once; of long rows much less. */
bool top_is_short(const Sort *s) { return s->falling && entries(s) * (140 + (double)s->keep) <= 25 * (double)s->n; }

typedef struct List {
    Sort *s;
    Lower *l;
    Elem elem;
    int64_t many;              /* places that the list has: k and some, so that vectors of it are whole */
    Buffer *best, *place;      /* the list, from 1 on, and where its elements stood */
    Buffer *next, *next_place; /* the list with one element more */
    Temp *entered;
} List;

static Expr *choose(const List *t, Expr *cond, Expr *x, Expr *y) {
    Expr *args[3] = {cond, x, y};
    return expr_op(t->l->arena, OP_select, x->elem, 3, args);
}

static Expr *number(const List *t, Elem elem, double k) { return expr_const(t->l->arena, elem, k); }
static Expr *load(const List *t, Buffer *b, const Affine *at) { return expr_load(t->l->arena, b, &at); }
static void store(const List *t, Buffer *b, const Affine *at, Expr *e) { low_emit(t->l, stmt_store(t->l->arena, b, &at, e)); }
static const Affine *moved(const List *t, const Affine *x, int64_t by) { return affine_add_constant(t->l->arena, x, by); }

/* for name in from..n, and at most `most` turns of step 1 */
static const Affine *open(const List *t, const char *name, const Affine *from, const Affine *n, int64_t step, int64_t most) {
    Var *v = low_open(t->l, name, from, n, step);
    if (most) stmt_add_limit(t->l->arena, t->l->scope->stmt, moved(t, from, most));
    return affine_var(t->l->arena, v);
}

static void fill(const List *t) {
    Lower *l = t->l;
    Scope *outer = l->scope;
    store(t, t->best, low_number(l, 0), number(t, t->elem, sort_greatest(t->elem)));
    const Affine *p = affine_var(l->arena, low_open(l, "p", low_number(l, 0), low_number(l, t->many), 1));
    store(t, t->best, moved(t, p, 1), number(t, t->elem, low_least(t->elem)));
    store(t, t->place, moved(t, p, 1), expr_index(l->arena, I32, p));
    low_close_to(l, outer);
}

/* 0 where e holds, -1 where it does not. */
static const Affine *holds(const List *t, const char *name, Expr *e) {
    return low_index_value(t->l, name, choose(t, e, number(t, I64, 0), number(t, I64, -1)), -1, 0);
}

/* More entries than that, and the row is sorted. */
static Expr *is_patient(const List *t) {
    return low_binary(t->l, OP_le, low_temp(t->l, t->entered), number(t, I64, floor(PATIENCE * entries(t->s))));
}

/* Whether one of the STRIDE elements from j on stands before the worst one kept. */
static const Affine *look(const List *t, const Affine *j) {
    Lower *l = t->l;
    Scope *outer = l->scope;
    Temp *worst = low_let(l, "worst", load(t, t->best, low_number(l, t->s->keep)));
    Temp *hit = low_acc(l, "hit", I32, SUM_LANES, number(t, I32, 0));
    const Affine *m = open(t, "m", j, t->s->length, SUM_LANES, STRIDE), *i = open(t, "l", m, t->s->length, 1, SUM_LANES);
    const Affine *lane = affine_add(l->arena, i, affine_scale(l->arena, m, -1));
    Temp *v = low_let(l, "v", sort_element(t->s, i));
    Expr *before = sort_before(l, low_temp(l, v), low_temp(l, worst), true);
    low_emit(l, stmt_assign(l->arena, hit, &lane, choose(t, before, number(t, I32, 1), expr_temp(l->arena, hit, &lane))));
    low_close_to(l, outer);
    Temp *any = low_let(l, "any", expr_tree(l->arena, OP_max, hit));
    Expr *some = low_binary(l, OP_gt, low_temp(l, any), number(t, I32, 0));
    return holds(t, "some", low_binary(l, OP_and, some, is_patient(t)));
}

/* v, element i, enters the list, of whose places `many` may change, and not those from `limit` on (NULL: all may). */
static void enter(const List *t, Temp *v, const Affine *i, int64_t many, const Affine *limit) {
    Lower *l = t->l;
    Scope *outer = l->scope;
    for (int pass = 0; pass < 2; pass++) {
        const Affine *p = open(t, "p", low_number(l, 1), low_number(l, many + 1), 1, 0), *before = moved(t, p, -1);
        if (limit) stmt_add_limit(l->arena, l->scope->stmt, limit);
        if (pass == 0) {
            Temp *here = low_let(l, "here", load(t, t->best, p)), *ahead = low_let(l, "ahead", load(t, t->best, before));
            Temp *passes = low_let(l, "passes", sort_before(l, low_temp(l, v), low_temp(l, here), true)),
                 *passes_two = low_let(l, "passes_two", sort_before(l, low_temp(l, v), low_temp(l, ahead), true));
            Expr *value = low_choose(l, passes_two, low_temp(l, ahead), low_temp(l, v)),
                 *from = low_choose(l, passes_two, load(t, t->place, before), expr_index(l->arena, I32, i));
            store(t, t->next, p, low_choose(l, passes, value, low_temp(l, here)));
            store(t, t->next_place, p, low_choose(l, passes, from, load(t, t->place, p)));
        } else {
            store(t, t->best, p, load(t, t->next, p));
            store(t, t->place, p, load(t, t->next_place, p));
        }
        low_close_to(l, outer);
    }
}

/* The first k elements all enter. */
static void begin(const List *t) {
    Lower *l = t->l;
    Scope *outer = l->scope;
    const Affine *i = affine_var(l->arena, low_open(l, "e", low_number(l, 0), low_number(l, t->s->keep), 1));
    Temp *v = low_let(l, "v", sort_element(t->s, i));
    enter(t, v, i, t->s->keep, moved(t, i, 2));
    low_close_to(l, outer);
}

/* The elements behind the first k, STRIDE by STRIDE. */
static void walk(const List *t) {
    Lower *l = t->l;
    Scope *outer = l->scope;
    const Affine *j = open(t, low_axis_name(t->s->axis), low_number(l, t->s->keep), t->s->length, STRIDE, 0);
    low_open_if(l, look(t, j));
    const Affine *i = open(t, "e", j, t->s->length, 1, STRIDE);
    Temp *v = low_let(l, "v", sort_element(t->s, i)), *worst = low_let(l, "worst", load(t, t->best, low_number(l, t->s->keep)));
    low_open_if(l, holds(t, "better", sort_before(l, low_temp(l, v), low_temp(l, worst), true)));
    enter(t, v, i, t->many, NULL);
    low_set(l, t->entered, low_binary(l, OP_add, low_temp(l, t->entered), number(t, I64, 1)));
    low_close_to(l, outer);
}

void top_by_list(Sort *s, Home *const *homes) {
    Lower *l = s->l;
    Scope *outer = l->scope;
    List t = {.s = s, .l = l, .elem = s->x->type->elem, .many = (s->keep + LANES - 1) / LANES * LANES};
    t.best = sort_buffer(s, "best", t.elem, 1, 1, t.many + 1);
    t.place = sort_buffer(s, "place", I32, 1, 1, t.many + 1);
    t.next = sort_buffer(s, "next", t.elem, 1, 1, t.many + 1);
    t.next_place = sort_buffer(s, "next_place", I32, 1, 1, t.many + 1);
    fill(&t);
    begin(&t);
    t.entered = low_acc(l, "entered", I64, 0, number(&t, I64, 0));
    walk(&t);
    const Affine *found = holds(&t, "found", is_patient(&t));
    low_open_if(l, found);
    const Affine *i = low_open_axis(l, s->axis, s->op->out[0]->type->dim[s->axis]);
    s->at[s->axis] = i;
    home_store(l, homes[0], s->at, load(&t, t.best, moved(&t, i, 1)));
    home_store(l, homes[1], s->at, load(&t, t.place, moved(&t, i, 1)));
    low_close_to(l, outer);
    low_open_if(l, affine_add_constant(l->arena, affine_scale(l->arena, found, -1), -1));
    sort_by_merging(s, homes);
    low_close_to(l, outer);
}
