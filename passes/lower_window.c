/*
 * lower_window.c - windows that move over the axes between the first and the last: their largest, their sum, and the two
 * gradients. An element of the result is a loop over its window; an element of window_put is a loop over the windows that it is
 * in, and over each of these.
 *
 *   %y = window_max %x, size=[2, 2], ...        acc best: f32 = -inf
 *                                               for p in 0..2, q in 0..2 { v = %x[n, 2*i + p, 2*j + q, c] ; best = v if it beats
 * best }
 *
 * Where windows tile the map, a nest with a window_put goes over them, and over the places of each inside (lower_kernel.c): the maximum of a window is found once. Where they overlap or
 * begin elsewhere, each element would look through all its windows again, k^4 places for windows of k x k; there a kernel in front finds the maxima, and an element asks each of its windows
 * for a number:
 *
 *   %g = window_put %x, %y, size=[3, 3], ...    for n, i, j, c { .. the loops above .. ; %g.maxima[n, i, j, c] = where }
 *                                               for n, i, j, c {
 *                                                 acc g: f32 = 0
 *                                                 for m in max(0, i - 2)..min(I, i + 1), o in .. {
 *                                                   let first: bool = eq(%g.maxima[n, m, o, c], 3*(i - m) + j - o)
 *                                                   g = add(g, select(first, %y[n, m, o, c], 0)) }
 *                                                 %g[n, i, j, c] = g }
 */
#include "passes/lower.h"

typedef struct Windows {
    int n;
    const int64_t *size, *stride, *low;
} Windows;

static Windows read_windows(const Op *op) {
    Windows w = {.n = op->in[0]->type->rank - 2};
    op_ints(op, A_size, &w.size);
    op_ints(op, A_stride, &w.stride);
    op_ints(op, A_low, &w.low);
    return w;
}

/* Opens the loops over a window's places; at: the index of x for window `out`; guard: on which axes it may lie outside. *flat:
 * the place's number in the window. */
static void open_window(Lower *l, const Op *op, const Windows *w, const Affine *const *out, const Affine **at, bool *guard,
                        const Affine **flat) {
    *flat = low_number(l, 0);
    at[0] = out[0];
    at[w->n + 1] = out[w->n + 1];
    guard[0] = guard[w->n + 1] = false;
    for (int i = 0; i < w->n; i++) {
        const Affine *k = affine_var(l->arena, low_open_dim(l, low_axis_name(6 + i), (Dim){w->size[i], false}));
        at[i + 1] =
            affine_add_constant(l->arena, affine_add(l->arena, affine_scale(l->arena, out[i + 1], w->stride[i]), k), -w->low[i]);
        guard[i + 1] = true;
        *flat = affine_add(l->arena, affine_scale(l->arena, *flat, w->size[i]), k);
    }
    (void)op;
}

static Expr *pull_window_sum(Lower *l, const Op *op, const Affine *const *index) {
    Windows w = read_windows(op);
    Elem elem = op->out[0]->type->elem;
    const Affine *at[MAX_RANK + 1], *flat;
    bool guard[MAX_RANK + 1];
    Temp *acc = low_acc(l, low_value_name(op->out[0]), elem, 0, expr_const(l->arena, elem, 0));
    Scope *here = l->scope;
    open_window(l, op, &w, index, at, guard, &flat);
    low_set(l, acc, low_binary(l, OP_add, low_temp(l, acc), pull_or(l, op->in[0], at, guard, 0)));
    low_close_to(l, here);
    return low_temp(l, acc);
}

/* The largest of window `out` of x in *best; where it is first (the number of the place in the window) in *where, and the element
 * of `other` there in *picked, if they are asked for. Padding is the least value: the window's first real element beats it or
 * equals it, and then the first place that is inside is found by starting `where` below all places. */
static void window_best(Lower *l, const Op *op, const Affine *const *out, Temp **best, Temp **where, const Value *other,
                        Temp **picked) {
    Windows w = read_windows(op);
    const Value *x = op->in[0];
    Elem elem = x->type->elem;
    const Affine *at[MAX_RANK + 1], *flat;
    bool guard[MAX_RANK + 1];
    *best = low_acc(l, "best", elem, 0, expr_const(l->arena, elem, low_least(elem)));
    bool exact = where || picked;
    Temp *first = exact ? low_acc(l, "where", I32, 0, expr_const(l->arena, I32, -1)) : NULL;
    if (picked) *picked = low_acc(l, "picked", elem, 0, expr_const(l->arena, elem, 0));
    Scope *here = l->scope;
    open_window(l, op, &w, out, at, guard, &flat);
    if (exact) { /* places of padding do not count */
        for (int i = 0; i < w.n; i++) {
            const Affine *room =
                affine_add(l->arena, low_number(l, x->type->dim[i + 1].n - 1), affine_scale(l->arena, at[i + 1], -1));
            int64_t lo, hi;
            low_range(l, at[i + 1], &lo, &hi);
            if (lo < 0) low_open_if(l, at[i + 1]);
            low_range(l, room, &lo, &hi);
            if (lo < 0) low_open_if(l, room);
            guard[i + 1] = false;
        }
    }
    Temp *v = low_let(l, "v", pull_or(l, x, at, guard, low_least(elem)));
    Expr *wins = low_beats(l, true, v, *best);
    if (exact) {
        Expr *none = low_binary(l, OP_lt, low_temp(l, first), expr_const(l->arena, I32, 0));
        Expr *args[2] = {wins, none};
        wins = expr_op(l->arena, OP_or, BOOL, 2, args);
    }
    Temp *better = low_let(l, "better", wins);
    if (picked) low_set(l, *picked, low_choose(l, better, pull(l, other, at), low_temp(l, *picked)));
    if (first) low_set(l, first, low_choose(l, better, expr_index(l->arena, I32, flat), low_temp(l, first)));
    low_set(l, *best, low_choose(l, better, low_temp(l, v), low_temp(l, *best)));
    low_close_to(l, here);
    if (where) *where = first;
}

static bool overlap(const Windows *w) {
    for (int i = 0; i < w->n; i++)
        if (w->size[i] != w->stride[i]) return true;
    return false;
}

bool low_windows_tile(const Op *op, const int64_t **size) {
    Windows w = read_windows(op);
    *size = w.size;
    for (int i = 0; i < w.n; i++)
        if (w.low[i]) return false;
    return op->code == OP_window_put && !overlap(&w);
}

bool low_maxima_apart(const Op *op) {
    const int64_t *size;
    if (op->code != OP_window_put || low_windows_tile(op, &size)) return false;
    Windows w = read_windows(op);
    int64_t places = 1;
    for (int i = 0; i < w.n && places <= 2; i++) places *= w.size[i];
    return places > 2; /* each looks at all of them, or all are looked at once and a number for each: places^2 > 2 places */
}

void lower_maxima(Lower *l, const Op *op) {
    const Type *t = op->in[1]->type;
    Buffer *b =
        step_buffer(l->arena, l->step, intern_printf("%s.maxima", low_value_name(op->out[0])), I32, t->rank, t->dim, op->loc);
    const Affine *out[MAX_RANK + 1];
    Temp *best, *where;
    kernel_begin(l, "maxima", op->loc);
    Scope *outer = l->scope;
    for (int i = 0; i < t->rank; i++) out[i] = low_open_axis(l, i, t->dim[i]);
    window_best(l, op, out, &best, &where, NULL, NULL);
    low_emit(l, stmt_store(l->arena, b, out, low_temp(l, where)));
    low_close_to(l, outer);
    kernel_end(l);
    low_barrier(l);
    l->maxima[op->out[0]->id] = b;
}

/* Opens the loops over the windows that place `index` of x is in. out: the window; *mine: the number of the place in it. */
static void open_windows_of(Lower *l, const Op *op, const Windows *w, const Affine *const *index, const Affine **out,
                            const Affine **mine) {
    for (int i = 0; i < w->n; i++) {
        /* from the first window that ends behind this place to the last that begins before it */
        const Affine *place = affine_add_constant(l->arena, index[i + 1], w->low[i]);
        const Affine *from = low_div(l, affine_add_constant(l->arena, place, w->stride[i] - w->size[i]), w->stride[i]);
        int64_t lo, hi, n = op->in[1]->type->dim[i + 1].n;
        low_range(l, from, &lo, &hi);
        if (lo < 0)
            from = low_index_value(l, "from", low_binary(l, OP_max, low_i64(l, low_number(l, 0)), low_i64(l, from)), 0,
                                   hi > 0 ? hi : 0);
        const Affine *behind = affine_add_constant(l->arena, low_div(l, place, w->stride[i]), 1);
        Var *v = low_open(l, low_axis_name(3 + i), from, low_number(l, n), 1);
        stmt_add_limit(l->arena, l->scope->stmt, behind);
        l->vars.at[v->id] = (VarInfo){0, n > 0 ? n - 1 : 0, l->scope};
        out[i + 1] = affine_var(l->arena, v);
        const Affine *k = affine_add(l->arena, place, affine_scale(l->arena, out[i + 1], -w->stride[i]));
        *mine = affine_add(l->arena, affine_scale(l->arena, *mine, w->size[i]), k);
    }
}

/* The same where windows do not overlap: there is one, or none (open_windows_there). */
static void window_of(Lower *l, const Windows *w, const Affine *const *index, const Affine **out, const Affine **mine) {
    for (int i = 0; i < w->n; i++) {
        const Affine *place = affine_add_constant(l->arena, index[i + 1], w->low[i]);
        out[i + 1] = low_div(l, place, w->stride[i]);
        const Affine *k = affine_add(l->arena, place, affine_scale(l->arena, out[i + 1], -w->stride[i]));
        *mine = affine_add(l->arena, affine_scale(l->arena, *mine, w->size[i]), k);
    }
}

/* Opens conditions that window `out` is none behind the last. */
static void open_windows_there(Lower *l, const Op *op, const Windows *w, const Affine *const *out) {
    for (int i = 0; i < w->n; i++) {
        int64_t lo, hi;
        const Affine *room =
            affine_add(l->arena, low_number(l, op->in[1]->type->dim[i + 1].n - 1), affine_scale(l->arena, out[i + 1], -1));
        low_range(l, room, &lo, &hi);
        if (lo < 0) low_open_if(l, room);
    }
}

/* Which place of window `out` is its first maximum: what lower_maxima has found, or it is found here, outside of the loops over the window's places. */
static Expr *first_maximum(Lower *l, const Op *op, const Affine **out) {
    const Value *v = op->out[0];
    int rank = v->type->rank;
    if (l->maxima[v->id]) return expr_load(l->arena, l->maxima[v->id], out);
    out[rank] = low_number(l, 0); /* noted under one index more than elements of the result have */
    Temp *best, *where = low_made(l, v, rank + 1, out);
    if (!where) {
        Hoisted h = low_hoist(l, low_scope_of(l, rank, out));
        window_best(l, op, out, &best, &where, NULL, NULL);
        low_note_made(l, v, rank + 1, out, where);
        low_return(l, h);
    }
    return low_temp(l, where);
}

/* The gradient of window_max at one element of x: the windows that it is in, in order, and y of those whose first maximum it is.
 */
static Expr *pull_window_put(Lower *l, const Op *op, const Affine *const *index) {
    Windows w = read_windows(op);
    const Value *y = op->in[1];
    Elem elem = y->type->elem;
    const Affine *out[MAX_RANK + 1], *mine = low_number(l, 0);
    Temp *acc = low_acc(l, low_value_name(op->out[0]), elem, 0, expr_const(l->arena, elem, 0));
    Scope *here = l->scope;
    out[0] = index[0];
    out[w.n + 1] = index[w.n + 1];
    if (overlap(&w))
        open_windows_of(l, op, &w, index, out, &mine);
    else
        window_of(l, &w, index, out, &mine);
    Expr *first = first_maximum(l, op, out);
    if (!overlap(&w)) open_windows_there(l, op, &w, out);
    Temp *here_first = low_let(l, "first", low_binary(l, OP_eq, first, expr_index(l->arena, I32, mine)));
    Expr *more = low_choose(l, here_first, pull(l, y, out), expr_const(l->arena, elem, 0));
    low_set(l, acc, low_binary(l, OP_add, low_temp(l, acc), more));
    low_close_to(l, here);
    return low_temp(l, acc);
}

Expr *pull_window(Lower *l, const Op *op, const Affine *const *index) {
    Temp *best, *picked;
    if (op->code == OP_window_sum) return pull_window_sum(l, op, index);
    if (op->code == OP_window_put) return pull_window_put(l, op, index);
    window_best(l, op, index, &best, NULL, op->code == OP_window_pick ? op->in[1] : NULL,
                op->code == OP_window_pick ? &picked : NULL);
    return low_temp(l, op->code == OP_window_pick ? picked : best);
}
