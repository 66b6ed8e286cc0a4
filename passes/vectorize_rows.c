/*
 * vectorize_rows.c - rows become lanes, where what is done along a row is short.
 *
 *   for i in 0..B {                                            =>   for ii in 0..B by 16 {
 *     acc best = -inf                                                 for i in 0..min(16, -ii + B) vector 16 {
 *     for j in 0..10 { best = ..%x[i, j].. }                            acc best = -inf
 *     for j in 0..10 { %e[j] = exp(sub(%x[i, j], best)) }               for j in 0..10 { best = ..%x[i + ii, j].. }
 *     acc s[16] = 0                                                     for j in 0..10 { %e[j, i] = exp(sub(%x[i + ii, j], best)) }
 *     for j in 0..10 by 16, l in j..min(10, j + 16) {                   acc s[16] = 0
 *       s[l - j] = add(s[l - j], %e[l])                                 for j in 0..10 by 16 unroll, l in j..min(10, j + 16) unroll { .. %e[l, i] .. }
 *     }                                                                 %y[i + ii] = tree(add, s)
 *     %y[i] = tree(add, s)                                            }
 *   }                                                               }
 *
 * Softmax and its loss over ten classes are such a nest. Along the row most of a vector would be empty, maxima and what is computed once a row would stay scalar, and the
 * tree of the sixteen partial sums would be one step after the other. Here each row is a lane: every statement of the row is done for as many rows at once as a vector has
 * lanes, in the order in which one row had it, so no bit changes. Loads along a column are gathered; that must be paid for by the rest: see `worth_it`.
 * Scratch of the thread that holds a part of one row (%e) gets a place for each lane. Loops over partial sums are unrolled, so that these are registers.
 */
#include "passes/machine.h"
#include "passes/rewrite.h"
#include "passes/vectorize.h"

enum { ROW_MOST = 4 * SUM_LANES }; /* turns of the loops inside: beyond that a row fills vectors of its own */

typedef struct Rows {
    Arena *arena;
    Step *step;
    const PtrMap *users; /* see vectorize_users */
    const StepNode *kernel;
    Stmt *loop;
    LaneScan scan;           /* what is touched that others see */
    Vec(const Buffer *) own; /* scratch of the thread, used by nobody else */
    Vec(const Var *) looked; /* indices that were looked up: they differ by lane in no order */
    int faults;              /* places that can fail */
    bool possible, loops;
    int lanes;
} Rows;

/* ---- who uses a buffer ---- */

static int uses_in_expr(const Expr *e, const Buffer *b) {
    if (!e) return 0;
    int n = e->kind == EXPR_LOAD && e->buffer == b;
    for (int i = 0; i < e->n_args; i++) n += uses_in_expr(e->args[i], b);
    return n;
}

static int uses_in(const Body *body, const Buffer *b) {
    int n = 0;
    for (const Stmt *s = body->first; s; s = s->next)
        n += uses_in_expr(s->value, b) + ((s->kind == STMT_STORE || s->kind == STMT_PREFETCH) && s->buffer == b) +
             uses_in(&s->body, b);
    return n;
}

typedef struct Users {
    Arena *arena;
    const Step *step;
    const StepNode *node; /* the kernel at hand */
    PtrMap users;
} Users;

static void add_user(Users *u, const Buffer *b) {
    const void *known = map_get(&u->users, b);
    if (!known) map_put(u->arena, &u->users, b, (void *)(uintptr_t)u->node);
    if (known && known != u->node) map_put(u->arena, &u->users, b, (void *)(uintptr_t)u->step);
}

static void users_in_expr(Users *u, const Expr *e) {
    if (!e) return;
    if (e->kind == EXPR_LOAD) add_user(u, e->buffer);
    for (int i = 0; i < e->n_args; i++) users_in_expr(u, e->args[i]);
}

static void users_in(Users *u, const Body *body) {
    for (const Stmt *s = body->first; s; s = s->next) {
        users_in_expr(u, s->value);
        if (s->kind == STMT_STORE || s->kind == STMT_PREFETCH) add_user(u, s->buffer);
        users_in(u, &s->body);
    }
}

static void users_in_nodes(Users *u, StepNode *const *nodes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        u->node = nodes[i];
        users_in(u, &nodes[i]->body);
        users_in_nodes(u, nodes[i]->nodes.at, nodes[i]->nodes.n);
    }
}

PtrMap vectorize_users(Arena *a, const Step *step) {
    Users u = {.arena = a, .step = step};
    users_in_nodes(&u, step->nodes.at, step->nodes.n);
    for (size_t i = 0; i < step->buffers.n; i++)
        if (step->buffers.at[i]->same) map_put(a, &u.users, step->buffers.at[i]->same, (void *)(uintptr_t)step);
    return u.users;
}

static bool is_own(const Rows *r, const Buffer *b) {
    for (size_t i = 0; i < r->own.n; i++)
        if (r->own.at[i] == b) return true;
    return false;
}

/* Scratch of the thread that only this loop uses: what lies in it belongs to one row. */
static bool find_own(Rows *r, const Buffer *b) {
    if (is_own(r, b)) return true;
    if (b->place != PLACE_THREAD || b->same) return false;
    for (int i = 0; i < b->rank; i++)
        if (b->dim[i].batch) return false;
    if (map_get(r->users, b) != r->kernel || uses_in(&r->loop->body, b) != uses_in(&r->kernel->body, b)) return false;
    vec_push(r->arena, &r->own, b);
    return true;
}

/* ---- may it be done? ---- */

static void access(Rows *r, const Buffer *b, int n, const Affine *const *index, bool store) {
    if (elem_size(b->elem) > r->scan.widest) r->scan.widest = elem_size(b->elem);
    if (!find_own(r, b)) vec_push(r->arena, &r->scan.accesses, ((Access){b, n, index, store}));
}

static void read_expr(Rows *r, const Expr *e) {
    if (!e) return;
    if (e->kind == EXPR_LOAD) access(r, e->buffer, e->n_index, e->index, false);
    if (e->kind == EXPR_OP && (e->op == OP_floor_div || e->op == OP_mod) && !elem_is_float(e->elem)) r->faults++;
    if (e->kind != EXPR_CONST && elem_size(e->elem) > r->scan.widest) r->scan.widest = elem_size(e->elem);
    for (int i = 0; i < e->n_args; i++) read_expr(r, e->args[i]);
}

static bool hangs_on_batch(const Affine *x) {
    for (int i = 0; i < x->n; i++)
        if (x->term[i].var->kind != VAR_LOOP) return true;
    return false;
}

/* The turns of a loop inside, or 0: not known when compiling, or not the same for all rows. */
static int64_t row_turns(const Rows *r, const Stmt *s) {
    if (s->mark != MARK_SERIAL || hangs_on_batch(s->lo) || affine_uses(s->lo, r->loop->var)) return 0;
    for (int i = 0; i < s->n_limits; i++)
        if (hangs_on_batch(s->limits[i]) || affine_uses(s->limits[i], r->loop->var)) return 0;
    return loop_turns(r->step, s);
}

/* turns: of the loops around, inside the row. */
static void read_body(Rows *r, const Body *body, int64_t turns) {
    for (const Stmt *s = body->first; s; s = s->next) {
        int faults = r->faults;
        read_expr(r, s->value);
        switch (s->kind) {
        case STMT_FOR: {
            int64_t n = row_turns(r, s);
            r->loops = true;
            if (n <= 0 || n * turns > ROW_MOST)
                r->possible = false;
            else
                read_body(r, &s->body, n * turns);
            break;
        }
        case STMT_ACC:
            if (s->temp->rank > 1) r->possible = false;
            vec_push(r->arena, &r->scan.inside, s->temp);
            break;
        case STMT_ASSIGN:
            if (!lanes_declared(&r->scan, s->temp)) r->possible = false;
            break;
        case STMT_STORE: access(r, s->buffer, s->n_index, s->index, true); break;
        case STMT_INDEX: vec_push(r->arena, &r->looked, s->var); break;
        case STMT_CHECK:
            r->faults++;
            if (affine_uses(s->size, r->loop->var)) r->possible = false;
            break;
        case STMT_LET: break;
        case STMT_IF:
        case STMT_PREFETCH: r->possible = false; break;
        }
        if (r->faults > faults && turns > 1) r->possible = false; /* which fails first must not change */
        if (!r->possible) return;
    }
}

static bool possible(Rows *r) {
    const Stmt *s = r->loop;
    if (s->mark != MARK_SERIAL || s->step != 1 || !affine_is_constant(s->lo) || s->lo->constant) return false;
    r->scan = (LaneScan){.arena = r->arena, .step = r->step, .loop = s, .widest = 4};
    r->possible = true;
    read_body(r, &s->body, 1);
    return r->possible && r->loops && r->faults <= 1 && lanes_apart(&r->scan);
}

/* ---- is it worth it? ---- */

static int loads(const Expr *e) {
    if (!e) return 0;
    int n = e->kind == EXPR_LOAD;
    for (int i = 0; i < e->n_args; i++) n += loads(e->args[i]);
    return n;
}

static double plain_cost(const Rows *r, const Body *body) {
    double cost = 0;
    for (const Stmt *s = body->first; s; s = s->next) {
        cost += expr_cost(s->value) + loads(s->value) + (s->kind == STMT_STORE);
        if (s->kind == STMT_FOR) cost += (double)loop_turns(r->step, s) * (plain_cost(r, &s->body) + 1);
    }
    return cost;
}

/* One row after the other, the loops inside in vectors along the row where they can be. */
static double one_by_one(const Rows *r, const Body *body) {
    double cost = 0;
    for (const Stmt *s = body->first; s; s = s->next) {
        cost += expr_cost(s->value) + loads(s->value) + (s->kind == STMT_STORE);
        if (s->kind != STMT_FOR) continue;
        LaneScan scan = {.arena = r->arena, .step = r->step};
        int64_t turns = loop_turns(r->step, s);
        if (lanes_score(&scan, s) > 0)
            cost += (double)((turns + r->lanes - 1) / r->lanes) * (plain_cost(r, &s->body) + 1);
        else
            cost += (double)turns * (one_by_one(r, &s->body) + 1);
    }
    return cost;
}

/* A vector of it costs one, or one a lane. */
static double access_cost(const Rows *r, const Buffer *b, int n, const Affine *const *index) {
    if (is_own(r, b)) return 1;
    for (size_t k = 0; k < r->looked.n; k++)
        if (access_stride(b, n, index, r->looked.at[k])) return r->lanes;
    int64_t stride = access_stride(b, n, index, r->loop->var);
    return stride == 0 || stride == 1 ? 1 : r->lanes;
}

static double loads_cost(const Rows *r, const Expr *e) {
    if (!e) return 0;
    double cost = e->kind == EXPR_LOAD ? access_cost(r, e->buffer, e->n_index, e->index) : e->kind == EXPR_TREE ? 8 : 0;
    for (int i = 0; i < e->n_args; i++) cost += loads_cost(r, e->args[i]);
    return cost;
}

/* As many rows as a vector has lanes. */
static double together(const Rows *r, const Body *body) {
    double cost = 0;
    for (const Stmt *s = body->first; s; s = s->next) {
        cost += expr_cost(s->value) + loads_cost(r, s->value);
        if (s->kind == STMT_STORE) cost += access_cost(r, s->buffer, s->n_index, s->index);
        if (s->kind == STMT_FOR) cost += (double)loop_turns(r->step, s) * (together(r, &s->body) + 0.5);
    }
    return cost;
}

/* Lanes must win by a third: what they gather is a guess. And there must be rows enough to fill them. Rows that lie side by side need nothing of this: their loop is
 * marked as it is. */
static bool worth_it(const Rows *r) {
    LaneScan scan = {.arena = r->arena, .step = r->step};
    if (lanes_score(&scan, r->loop) > 0) return false;
    if (r->lanes < 2 || loop_turns(r->step, r->loop) < r->lanes) return false;
    return 4 * together(r, &r->loop->body) < 3 * r->lanes * one_by_one(r, &r->loop->body);
}

/* ---- doing it ---- */

static void widen_index(Arena *a, const Affine ***index, int *n, const Affine *lane) {
    const Affine **wide = arena_make_n(a, const Affine *, (size_t)*n + 1);
    for (int i = 0; i < *n; i++) wide[i] = (*index)[i];
    wide[(*n)++] = lane;
    *index = wide;
}

static void widen_loads(Arena *a, Expr *e, const Buffer *b, const Affine *lane) {
    if (!e) return;
    if (e->kind == EXPR_LOAD && e->buffer == b) widen_index(a, &e->index, &e->n_index, lane);
    for (int i = 0; i < e->n_args; i++) widen_loads(a, e->args[i], b, lane);
}

static void widen(Arena *a, Body *body, const Buffer *b, const Affine *lane) {
    for (Stmt *s = body->first; s; s = s->next) {
        widen_loads(a, s->value, b, lane);
        if (s->kind == STMT_STORE && s->buffer == b) widen_index(a, &s->index, &s->n_index, lane);
        widen(a, &s->body, b, lane);
    }
}

/* Unrolls the loops in which partial sums are indexed; says whether there is one. */
static bool unroll_sums(Body *body) {
    bool any = false;
    for (Stmt *s = body->first; s; s = s->next) {
        if (s->kind == STMT_ASSIGN && s->temp->rank) any = true;
        if (s->kind != STMT_FOR || !unroll_sums(&s->body)) continue;
        s->mark = MARK_UNROLL;
        any = true;
    }
    return any;
}

static Buffer *wide_buffer(const Rows *r, const Buffer *b) {
    Dim dims[MAX_RANK + 2];
    for (int i = 0; i < b->rank; i++) dims[i] = b->dim[i];
    dims[b->rank] = (Dim){r->lanes, false};
    Buffer *wide = step_buffer(r->arena, r->step, b->name, b->elem, b->rank + 1, dims, b->loc);
    wide->place = PLACE_THREAD;
    return wide;
}

static void make(const Rows *r, Body *around) {
    Arena *a = r->arena;
    Stmt *old = r->loop;
    Var *first = step_var(a, r->step, VAR_LOOP, intern_printf("%s%s", old->var->name, old->var->name)),
        *v = step_var(a, r->step, VAR_LOOP, old->var->name);
    Stmt *outer = stmt_for(a, first, old->lo, old->limits[0], r->lanes, MARK_SERIAL, 0);
    Stmt *rows = stmt_for(a, v, affine_constant(a, 0), affine_constant(a, r->lanes), 1, MARK_VECTOR, r->lanes);
    outer->loc = rows->loc = old->loc;
    for (int i = 0; i < old->n_limits; i++) {
        stmt_add_limit(a, outer, old->limits[i]);
        stmt_add_limit(a, rows, affine_add(a, old->limits[i], affine_scale(a, affine_var(a, first), -1)));
    }
    Rewrite w = rewrite_new(a, r->step);
    rewrite_var(&w, old->var, affine_add(a, affine_var(a, first), affine_var(a, v)));
    for (size_t i = 0; i < r->own.n; i++) rewrite_buffer(&w, r->own.at[i], wide_buffer(r, r->own.at[i]));
    for (const Stmt *s = old->body.first; s; s = s->next) body_add(&rows->body, rewrite_stmt(&w, s));
    for (size_t i = 0; i < r->own.n; i++) widen(a, &rows->body, w.buffers.at[i].to, affine_var(a, v));
    unroll_sums(&rows->body);
    body_add(&outer->body, rows);
    body_insert_before(around, old, outer);
    body_remove(around, old);
}

void vectorize_rows(PassCtx *c, Step *step, const PtrMap *users, const StepNode *kernel, Body *body) {
    for (Stmt *s = body->first, *next; s; s = next) {
        next = s->next;
        if (s->kind != STMT_FOR || s->mark == MARK_VECTOR)
            continue; /* a vector's body is lanes already: the pass may see its own work again, as text */
        Rows r = {.arena = c->arena, .step = step, .users = users, .kernel = kernel, .loop = s};
        bool fits = possible(&r);
        r.lanes = machine_lanes(c->machine, r.scan.widest < 4 ? 4 : r.scan.widest);
        if (fits && worth_it(&r))
            make(&r, body);
        else
            vectorize_rows(c, step, users, kernel, &s->body);
    }
}
