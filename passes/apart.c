/*
 * apart.c - may loops run side by side? The turns of one, or the loops of a kernel: whether nothing that one stores is touched by another.
 *
 *   for i in 0..B { %y[i] = ... }                                                turns: each stores in a row of its own
 *   for i in 0..B { %z[i, j] = ... } ; for i in 0..B { %z[i, j + 256] = ... }     loops: the one stays below column 256, the other above
 *
 * Places are compared axis by axis, by the interval in which an index stays. What cannot be seen so is taken to meet.
 */
#include "passes/apart.h"

#include <stdlib.h>

/* ---- what is touched ---- */

typedef struct Turns {
    Arena *arena;
    Vec(Access) accesses;
    Vec(const Temp *) declared;
    bool outside; /* an acc from outside is assigned */
} Turns;

static void add_loads(Turns *t, const Expr *e) {
    if (!e) return;
    if (e->kind == EXPR_LOAD) vec_push(t->arena, &t->accesses, ((Access){e->buffer, e->n_index, e->index, false}));
    for (int i = 0; i < e->n_args; i++) add_loads(t, e->args[i]);
}

static void add_stmt(Turns *t, const Stmt *s) {
    add_loads(t, s->value);
    if (s->kind == STMT_STORE) vec_push(t->arena, &t->accesses, ((Access){s->buffer, s->n_index, s->index, true}));
    if (s->kind == STMT_ACC || s->kind == STMT_LET) vec_push(t->arena, &t->declared, s->temp);
    if (s->kind == STMT_ASSIGN) {
        bool inside = false;
        for (size_t i = 0; i < t->declared.n; i++) inside |= t->declared.at[i] == s->temp;
        t->outside |= !inside;
    }
    for (const Stmt *b = s->body.first; b; b = b->next) add_stmt(t, b);
}

/* ---- turns of a loop ---- */

/* What turn t of a loop touches along an axis: factor * t + first .. factor * t + last. */
typedef struct Range {
    int64_t factor, first, last;
} Range;

/* Where loops over v, of which there may be several, begin and end. */
typedef struct Bounds {
    const Step *step;
    const Var *v;
    bool any, unknown; /* unknown: it hangs on other variables than B */
    int64_t first, last;
} Bounds;

static void add_bounds(Bounds *b, const Stmt *s) {
    if (s->kind == STMT_FOR && s->var == b->v) {
        bool known = false;
        for (int i = 0; i < s->n_limits; i++) known |= affine_is_known(s->limits[i]);
        b->unknown |= !known || !affine_is_constant(s->lo);
        int64_t first = s->lo->constant, last = first + (loop_turns(b->step, s) - 1) * s->step;
        b->first = b->any && b->first < first ? b->first : first;
        b->last = b->any && b->last > last ? b->last : last;
        b->any = true;
    }
    for (const Stmt *inner = s->body.first; inner; inner = inner->next) add_bounds(b, inner);
}

static Bounds bounds_in(const Step *step, const Stmt *s, const Var *v) {
    Bounds b = {.step = step, .v = v};
    add_bounds(&b, s);
    return b;
}

/* Adds factor * v to what an index is between. */
static void add_term(const Bounds *b, int64_t factor, int64_t *first, int64_t *last) {
    *first += factor * (factor > 0 ? b->first : b->last);
    *last += factor * (factor > 0 ? b->last : b->first);
}

/* Plain cases only: the other variables of the index are loops inside. */
static bool range_of(const Step *step, const Stmt *loop, const Affine *index, Range *r) {
    *r = (Range){affine_factor(index, loop->var) * loop->step, index->constant, index->constant};
    if (r->factor == 0) return false;
    for (int k = 0; k < index->n; k++) {
        const Term *t = &index->term[k];
        if (t->var == loop->var) continue;
        Bounds b = bounds_in(step, loop, t->var);
        if (!b.any || b.unknown) return false;
        add_term(&b, t->factor, &r->first, &r->last);
    }
    return true;
}

/* Whether two buffers of one memory have the same axes, so that places of them can be compared axis by axis. */
static bool same_axes(const Buffer *a, const Buffer *b) {
    if (a->rank != b->rank) return false;
    for (int d = 0; d < a->rank; d++)
        if (a->stride[d] != b->stride[d]) return false;
    return true;
}

/* Whether along this axis every access to the memory of x stays within a range of its own turn. */
static bool apart_along(const Step *step, const Stmt *loop, const Turns *t, const Access *x, int axis) {
    Range all;
    if (!range_of(step, loop, x->index[axis], &all)) return false;
    for (size_t k = 0; k < t->accesses.n; k++) {
        const Access *y = &t->accesses.at[k];
        if (buffer_memory(y->buffer) != buffer_memory(x->buffer)) continue;
        if (!same_axes(x->buffer, y->buffer)) return false;
        Range r;
        if (!range_of(step, loop, y->index[axis], &r) || r.factor != all.factor) return false;
        if (r.first < all.first) all.first = r.first;
        if (r.last > all.last) all.last = r.last;
    }
    return all.last - all.first < llabs(all.factor);
}

static bool turns_of_apart(Arena *a, const Step *step, const Stmt *loop) {
    Turns t = {.arena = a};
    for (const Stmt *b = loop->body.first; b; b = b->next) add_stmt(&t, b);
    if (t.outside) return false;
    for (size_t i = 0; i < t.accesses.n; i++) {
        const Access *x = &t.accesses.at[i];
        if (!x->store || x->buffer->place == PLACE_THREAD) continue;
        bool apart = false;
        for (int axis = 0; axis < x->n_index && !apart; axis++) apart = apart_along(step, loop, &t, x, axis);
        if (!apart) return false;
    }
    return true;
}

bool turns_apart(const Step *step, const Stmt *loop) {
    Arena *scratch = arena_new();
    bool apart = turns_of_apart(scratch, step, loop);
    arena_free(scratch);
    return apart;
}

/* ---- loops of a kernel ---- */

/* Between which values the part of an index stays that hangs on loops of s; false: it cannot be seen. What hangs on loops around goes to *around. */
static bool index_bounds(Arena *a, const Step *step, const Stmt *s, const Affine *x, int64_t *lo, int64_t *hi,
                         const Affine **around) {
    *lo = *hi = x->constant;
    *around = affine_constant(a, 0);
    for (int k = 0; k < x->n; k++) {
        Bounds b = bounds_in(step, s, x->term[k].var);
        int64_t factor = x->term[k].factor;
        if (b.unknown || (!b.any && x->term[k].var->kind == VAR_INDEX)) return false;
        if (b.any)
            add_term(&b, factor, lo, hi);
        else
            *around = affine_add(a, *around, affine_scale(a, affine_var(a, x->term[k].var), factor));
    }
    return true;
}

bool accesses_apart(Arena *a, const Step *step, const Stmt *s, const Access *x, const Stmt *t, const Access *y) {
    if (!same_axes(x->buffer, y->buffer)) return false;
    for (int axis = 0; axis < x->n_index; axis++) {
        int64_t lo, hi, other_lo, other_hi;
        const Affine *around, *other_around;
        if (!index_bounds(a, step, s, x->index[axis], &lo, &hi, &around)) continue;
        if (!index_bounds(a, step, t, y->index[axis], &other_lo, &other_hi, &other_around)) continue;
        if (affine_same(around, other_around) && (hi < other_lo || other_hi < lo)) return true;
    }
    return false;
}

/* A statement at the top of a kernel. */
typedef struct Top {
    const Stmt *stmt;
    Turns touched;
    bool tiles;
} Top;

/* Whether neither stores what the other touches. Lets are computed by every thread, at its own time. */
static bool tops_apart(const Step *step, const Top *x, const Top *y) {
    for (size_t i = 0; i < x->touched.accesses.n; i++)
        for (size_t k = 0; k < y->touched.accesses.n; k++) {
            const Access *a = &x->touched.accesses.at[i], *b = &y->touched.accesses.at[k];
            if ((a->store || b->store) && buffer_memory(a->buffer) == buffer_memory(b->buffer) &&
                !accesses_apart(x->touched.arena, step, x->stmt, a, y->stmt, b))
                return false;
        }
    return true;
}

static bool all_tops_apart(Arena *a, const Step *step, const Body *kernel) {
    Vec(Top) tops = {0};
    for (const Stmt *s = kernel->first; s; s = s->next) {
        if (s->kind != STMT_LET && s->kind != STMT_INDEX && s->kind != STMT_CHECK && s->kind != STMT_FOR) return false;
        Top top = {s, {.arena = a}, stmt_has_mark(s, MARK_PARALLEL)};
        add_stmt(&top.touched, s);
        vec_push(a, &tops, top);
    }
    for (size_t i = 0; i < tops.n; i++)
        for (size_t k = 0; k < i; k++)
            if (!(tops.at[i].tiles && tops.at[k].tiles) && !tops_apart(step, &tops.at[i], &tops.at[k])) return false;
    return true;
}

bool nests_apart(const Step *step, const Body *kernel) {
    Arena *scratch = arena_new();
    bool apart = all_tops_apart(scratch, step, kernel);
    arena_free(scratch);
    return apart;
}
