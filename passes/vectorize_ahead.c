/*
 * vectorize_ahead.c - while a row is computed with, the next one is fetched.
 *
 *   for i in 0..4096 {                                                    for i in 0..4096 {
 *     .. max over %x[i, j] ..                                               .. max over %x[i, j] ..
 *     for j in 0..1024 vector 16 { %e[j] = exp(sub(%x[i, j], best)) }  =>   for j in 0..1024 vector 16 {
 *     .. sum over %e[j] ..                                                    prefetch %x[i + 1, j] ; prefetch %y[i, j]
 *     for j in 0..1024 vector 16 { %y[i, j] = mul(%e[j], _div) }              %e[j] = exp(sub(%x[i, j], best))
 *   }                                                                     } ..
 *
 * Softmax goes over a row several times. The first time it waits for memory, then memory waits for the exponentials, and then again the stores for lines to be written to.
 * Hints in the loop that computes let both work at once. Only for matrices that no cache holds, in rows of some lines.
 */
#include "passes/machine.h"
#include "passes/rewrite.h"
#include "passes/vectorize.h"

enum { DEAR = 16, ROW_LEAST = 1024, HINTS_MOST = 4 }; /* what a function costs (nest.c); bytes of a row; hints in a loop */

typedef struct Ahead {
    Arena *arena;
    const Step *step;
    const Stmt *rows, *dear; /* the loop over rows; the vector loop in it that computes */
    int64_t l2;
    Vec(Stmt *) hints;
} Ahead;

static bool is_dear(const Stmt *s) {
    if (s->kind != STMT_FOR || s->mark != MARK_VECTOR) return false;
    int cost = 0;
    for (const Stmt *b = s->body.first; b; b = b->next) {
        if (b->kind != STMT_LET && b->kind != STMT_STORE) return false;
        cost += expr_cost(b->value);
    }
    return cost >= DEAR;
}

/* An element of a row of a matrix that is larger than the caches, side by side along v. */
static bool from_memory(const Ahead *h, const Buffer *b, int n, const Affine *const *index, const Var *v) {
    int64_t row = access_stride(b, n, index, h->rows->var) * elem_size(b->elem);
    return b->place != PLACE_THREAD && access_stride(b, n, index, v) == 1 && row >= ROW_LEAST &&
           row * loop_turns(h->step, h->rows) > h->l2;
}

/* A hint for the buffer's element at the index with v, the variable of the loop it stands in, for the dear loop's; rows further on: `on`. */
static void hint(Ahead *h, Buffer *b, int n, const Affine *const *index, const Var *v, int64_t on) {
    for (size_t i = 0; i < h->hints.n; i++)
        if (h->hints.at[i]->buffer == b) return;
    if (h->hints.n == HINTS_MOST) return;
    const Affine *next = affine_add_constant(h->arena, affine_var(h->arena, h->rows->var), on),
                 *here = affine_var(h->arena, h->dear->var), **at = arena_make_n(h->arena, const Affine *, (size_t)n);
    for (int i = 0; i < n; i++) {
        at[i] = affine_substitute(h->arena, index[i], v, here);
        at[i] = affine_substitute(h->arena, at[i], h->rows->var, next);
    }
    Stmt *s = stmt_prefetch(h->arena, b, at);
    s->loc = h->dear->loc;
    vec_push(h->arena, &h->hints, s);
}

static void hint_loads(Ahead *h, const Expr *e) {
    if (!e) return;
    if (e->kind == EXPR_LOAD && !e->guarded && from_memory(h, e->buffer, e->n_index, e->index, h->dear->var))
        hint(h, e->buffer, e->n_index, e->index, h->dear->var, 1);
    for (int i = 0; i < e->n_args; i++) hint_loads(h, e->args[i]);
}

/* What later loops of the row store, as far as they go along it like the dear one. */
static void hint_stores(Ahead *h, const Stmt *loop) {
    if (loop->kind != STMT_FOR || loop->mark != MARK_VECTOR || !affine_same(loop->lo, h->dear->lo) ||
        !affine_same(loop->limits[0], h->dear->limits[0]))
        return;
    for (const Stmt *b = loop->body.first; b; b = b->next)
        if (b->kind == STMT_STORE && from_memory(h, b->buffer, b->n_index, b->index, loop->var))
            hint(h, b->buffer, b->n_index, b->index, loop->var, 0);
}

void vectorize_ahead(PassCtx *c, const Step *step, Body *body) {
    for (Stmt *rows = body->first; rows; rows = rows->next) {
        if (rows->kind != STMT_FOR || rows->step != 1 || rows->mark != MARK_SERIAL) continue;
        vectorize_ahead(c, step, &rows->body);
        for (Stmt *dear = rows->body.first; dear; dear = dear->next) {
            if (!is_dear(dear) || !dear->prev) continue;        /* the only loop of a row waits for nothing */
            if (dear->body.first->kind == STMT_PREFETCH) break; /* done before: the text was read again */
            Ahead h = {.arena = c->arena, .step = step, .rows = rows, .dear = dear, .l2 = c->machine->l2};
            for (const Stmt *b = dear->body.first; b; b = b->next) hint_loads(&h, b->value);
            for (const Stmt *s = dear->next; s; s = s->next) hint_stores(&h, s);
            for (size_t i = 0; i < h.hints.n; i++) body_insert_before(&dear->body, dear->body.first, h.hints.at[i]);
            break;
        }
    }
}
