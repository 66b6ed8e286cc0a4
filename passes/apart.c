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

static const Stmt *inner_loop(const Body *body, const Var *v) { /* the loop over v in the body */
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->kind != STMT_FOR && s->kind != STMT_IF) continue;
        const Stmt *found = s->kind == STMT_FOR && s->var == v ? s : inner_loop(&s->body, v);
        if (found) return found;
    }
    return NULL;
}

/* From where to where the variable of a loop runs; false: that hangs on other variables. */
static bool loop_bounds(const Step *step, const Stmt *loop, int64_t *first, int64_t *last) {
    bool known = false;
    for (int i = 0; i < loop->n_limits; i++) known |= affine_is_known(loop->limits[i]);
    if (!known || !affine_is_constant(loop->lo)) return false;
    *first = loop->lo->constant;
    *last = *first + (loop_turns(step, loop) - 1) * loop->step;
    return true;
}

/* Plain cases only: the other variables of the index are loops inside. */
static bool range_of(const Step *step, const Stmt *loop, const Affine *index, Range *r) {
    *r = (Range){affine_factor(index, loop->var) * loop->step, index->constant, index->constant};
    if (r->factor == 0) return false;
    for (int k = 0; k < index->n; k++) {
        const Term *t = &index->term[k];
        if (t->var == loop->var) continue;
        const Stmt *inner = inner_loop(&loop->body, t->var);
        int64_t first, last;
        if (!inner || !loop_bounds(step, inner, &first, &last)) return false;
        r->first += t->factor * (t->factor > 0 ? first : last);
        r->last += t->factor * (t->factor > 0 ? last : first);
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

static bool all_apart(Arena *a, const Step *step, const Stmt *loop) {
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
    bool apart = all_apart(scratch, step, loop);
    arena_free(scratch);
    return apart;
}

/* ---- loops of a kernel ---- */

/* Between which values an index stays in all turns of the kernel's loops; false: it hangs on more than them. */
static bool index_bounds(const Step *step, const Body *kernel, const Affine *x, int64_t *lo, int64_t *hi) {
    *lo = *hi = x->constant;
    for (int k = 0; k < x->n; k++) {
        const Stmt *loop = inner_loop(kernel, x->term[k].var);
        int64_t first, last, factor = x->term[k].factor;
        if (!loop || !loop_bounds(step, loop, &first, &last)) return false;
        *lo += factor * (factor > 0 ? first : last);
        *hi += factor * (factor > 0 ? last : first);
    }
    return true;
}

/* Whether two accesses to one memory never meet: along some axis the one stays below the other. */
static bool accesses_apart(const Step *step, const Body *kernel, const Access *x, const Access *y) {
    if (!same_axes(x->buffer, y->buffer)) return false;
    for (int axis = 0; axis < x->n_index; axis++) {
        int64_t lo, hi, other_lo, other_hi;
        if (!index_bounds(step, kernel, x->index[axis], &lo, &hi)) continue;
        if (!index_bounds(step, kernel, y->index[axis], &other_lo, &other_hi)) continue;
        if (hi < other_lo || other_hi < lo) return true;
    }
    return false;
}

/* Whether neither stores what the other touches. Lets are computed by every thread, at its own time. */
static bool stmts_apart(const Step *step, const Body *kernel, const Turns *t, const Turns *other) {
    for (size_t i = 0; i < t->accesses.n; i++)
        for (size_t k = 0; k < other->accesses.n; k++) {
            const Access *x = &t->accesses.at[i], *y = &other->accesses.at[k];
            if ((x->store || y->store) && buffer_memory(x->buffer) == buffer_memory(y->buffer) &&
                !accesses_apart(step, kernel, x, y))
                return false;
        }
    return true;
}

/* A statement at the top of a kernel. */
typedef struct Top {
    Turns touched;
    bool tiles;
} Top;

static bool tops_apart(Arena *a, const Step *step, const Body *kernel) {
    Vec(Top) tops = {0};
    for (const Stmt *s = kernel->first; s; s = s->next) {
        if (s->kind != STMT_LET && s->kind != STMT_INDEX && s->kind != STMT_CHECK && s->kind != STMT_FOR) return false;
        Top top = {{.arena = a}, stmt_has_mark(s, MARK_PARALLEL)};
        add_stmt(&top.touched, s);
        vec_push(a, &tops, top);
    }
    for (size_t i = 0; i < tops.n; i++)
        for (size_t k = 0; k < i; k++)
            if (!(tops.at[i].tiles && tops.at[k].tiles) && !stmts_apart(step, kernel, &tops.at[i].touched, &tops.at[k].touched))
                return false;
    return true;
}

bool nests_apart(const Step *step, const Body *kernel) {
    Arena *scratch = arena_new();
    bool apart = tops_apart(scratch, step, kernel);
    arena_free(scratch);
    return apart;
}
