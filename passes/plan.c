/*
 * plan.c - a place in one arena for every buffer of a step, known when compiled.
 * in:    loops after tile, vectorize, parallelize.
 * out:   every buffer lies in the frame, in the batch, in the program, or at an offset of the arena; step->arena is its size;
 *        buffers that nobody uses are gone.
 * keeps: every bit.   spoils: nothing.
 *
 *   kernel a: writes %x                x lives 0..1, y 1..2, z 2..3
 *   kernel b: reads %x, writes %y  =>  %x arena 0, %y arena 4096, %z arena 0
 *   kernel c: reads %y, writes %z      or, where b reads each element of x only where it writes it, %y is %x
 *
 * Kernels are counted in the order of the text. A buffer lives from the first kernel that touches it to the last; one that is
 * touched inside a loop of the step and outside of it lives through the whole loop. Places are found for the largest first: the
 * lowest offset (a multiple of 64) where nothing lies that lives at the same time (Pisarchyk and Lee, "Efficient memory
 * management for deep neural net inference", 2020: greedy by size). `barriers` sees the places, and puts a barrier where two
 * buffers that share bytes follow each other.
 *
 * Buffers of which each thread has a copy are placed in the same way in a part of their own, which lies once for each thread behind what they share:
 * a thread touches no more memory than it needs, however many there may be, and nobody waits for what only one thread sees.
 */
#include "passes/plan.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 64 };

/* ---- when does a buffer live? ---- */

typedef struct Walk {
    Lives *lives;
    const Step *step;
    int now;
    int loop_from; /* the outermost loop that we are in began here; -1: none */
    bool store;
} Walk;

static void touch(Walk *w, Buffer *b, bool store) {
    Life *l = &w->lives->at[buffer_root(b)->id];
    if (l->first < 0) {
        l->first = w->now;
        l->written_first = store;
    }
    if (w->now > l->last) l->last = w->now;
    w->lives->at[b->id].used = true;
    l->used = true;
}

static void touch_expr(Expr **e, void *arg) {
    if ((*e)->kind == EXPR_LOAD) touch(arg, (*e)->buffer, false);
}

static void touch_stmt(Stmt *s, void *arg) {
    stmt_walk_exprs(s, touch_expr, arg);
    if (s->kind == STMT_STORE) touch(arg, s->buffer, true);
}

/* A buffer that was there before the loop, or that is touched after it, or that a turn reads before it writes it, lives through
 * the loop. */
static void stretch(Walk *w, int from, int to) {
    for (size_t i = 0; i < w->lives->n; i++) {
        Life *l = &w->lives->at[i];
        if (l->first < 0 || l->last < from || l->first > to) continue;
        bool inside = l->first >= from && l->last <= to;
        if (inside && l->written_first) continue;
        if (l->first > from) l->first = from;
        if (l->last < to) l->last = to;
    }
}

typedef struct Loop {
    int from, to;
} Loop;

typedef Vec(Loop) Loops;

static void walk_nodes(Arena *a, Walk *w, Loops *loops, StepNode *const *nodes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        StepNode *k = nodes[i];
        if (k->kind == STEP_BARRIER) continue;
        if (k->kind == STEP_KERNEL) {
            body_walk(&k->body, touch_stmt, w);
            w->now++;
            continue;
        }
        int from = w->now;
        if (k->count) touch(w, k->count, false);
        w->now++;
        walk_nodes(a, w, loops, k->nodes.at, k->nodes.n);
        if (k->count) touch(w, k->count, false); /* a condition is looked at again after the body */
        vec_push(a, loops, ((Loop){from, w->now}));
        w->now++;
    }
}

Lives plan_lives(Arena *a, const Step *s) {
    Lives lives = {.n = s->buffers.n};
    Loops loops = {0};
    lives.at = arena_make_n(a, Life, s->buffers.n);
    for (size_t i = 0; i < lives.n; i++) lives.at[i] = (Life){-1, -1, false, false};
    Walk w = {.lives = &lives, .step = s};
    walk_nodes(a, &w, &loops, s->nodes.at, s->nodes.n);
    /* inner loops end before outer ones; a second round for what an outer one stretched into an inner one */
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < loops.n; i++) stretch(&w, loops.at[i].from, loops.at[i].to);
    lives.end = w.now;
    return lives;
}

/* ---- in place ---- */

typedef struct InPlace {
    const Buffer *from, *to;
    const Stmt *top;
    const Stmt *store, *store_top;
    int stores;
    bool bad, after;
} InPlace;

/* Statements outside the loops count as one nest: a kernel that stores there is run by one thread, in order. */
static const Stmt *top_of(const Stmt *top, const Stmt *s) {
    return top || s->kind == STMT_FOR || s->kind == STMT_IF ? (top ? top : s) : NULL;
}

static void find_store(InPlace *p, const Body *b, const Stmt *top) {
    for (const Stmt *s = b->first; s; s = s->next) {
        const Stmt *t = top_of(top, s);
        if (s->kind == STMT_STORE && buffer_root(s->buffer) == p->to) {
            p->stores++;
            p->store = s;
            p->store_top = t;
        }
        if (s->kind == STMT_STORE && buffer_root(s->buffer) == p->from) p->bad = true;
        find_store(p, &s->body, t);
    }
}

static void check_expr(InPlace *p, const Expr *e, const Stmt *top) {
    if (e->kind == EXPR_LOAD && buffer_root(e->buffer) == p->to) p->bad = true; /* it reads what it has written */
    if (e->kind == EXPR_LOAD && buffer_root(e->buffer) == p->from) {
        bool fits = !p->after && top == p->store_top && !e->guarded && e->n_index == p->store->n_index;
        for (int i = 0; fits && i < e->n_index; i++)
            fits = affine_same(e->index[i], p->store->index[i]) && e->buffer->stride[i] == p->store->buffer->stride[i] &&
                   dim_same(e->buffer->dim[i], p->store->buffer->dim[i]);
        if (!fits) p->bad = true;
    }
    for (int i = 0; i < e->n_args; i++) check_expr(p, e->args[i], top);
}

static void check_loads(InPlace *p, const Body *b, const Stmt *top) {
    for (const Stmt *s = b->first; s; s = s->next) {
        const Stmt *t = top_of(top, s);
        if (s->value) check_expr(p, s->value, t);
        if (s == p->store) p->after = true;
        check_loads(p, &s->body, t);
    }
}

/* May the kernel write `to` where `from` lies? It reads each element of `from` only where it writes the same one, and before. */
static bool plan_in_place(const StepNode *kernel, const Buffer *from, const Buffer *to) {
    if (from->elem != to->elem) return false;
    InPlace p = {.from = from, .to = to};
    find_store(&p, &kernel->body, NULL);
    if (p.stores != 1 || p.bad) return false;
    check_loads(&p, &kernel->body, NULL);
    return !p.bad;
}

/* The kernels of the step, by the number that lives count by; NULL: the begin or end of a loop. */
static void list_kernels(Arena *a, StepNode *const *nodes, size_t n, Nodes *out) {
    for (size_t i = 0; i < n; i++) {
        StepNode *k = nodes[i];
        if (k->kind == STEP_BARRIER) continue;
        vec_push(a, out, k->kind == STEP_KERNEL ? k : NULL);
        if (k->kind == STEP_KERNEL) continue;
        list_kernels(a, k->nodes.at, k->nodes.n, out);
        vec_push(a, out, NULL);
    }
}

static bool is_temporary(const Buffer *b) { return !b->same && b->place == PLACE_NONE; }

typedef Vec(int) Ints;

/* The first of the buffers ending with i's first kernel, before i, that can give i its memory; -1: none. */
static int giver(const Step *s, const Lives *lives, const Ints *ending, const StepNode *kernel, size_t i) {
    const Life *born = &lives->at[i];
    int best = -1;
    for (size_t e = 0; e < ending->n; e++) {
        int k = ending->at[e];
        const Buffer *from = s->buffers.at[k], *to = s->buffers.at[i];
        if ((size_t)k >= i || (best >= 0 && k > best) || !is_temporary(from)) continue; /* `same` looks back */
        if (lives->at[k].last != born->first || lives->at[k].first == born->first) continue;
        if (from->bytes >= to->bytes && plan_in_place(kernel, from, to)) best = k;
    }
    return best;
}

/* A buffer whose life ends in the kernel in which another begins gives it its memory, if the kernel allows. */
static void share_in_place(Arena *a, Step *s, Lives *lives) {
    Nodes kernels = {0};
    list_kernels(a, s->nodes.at, s->nodes.n, &kernels);
    Ints *ending = arena_make_n(a, Ints, (size_t)lives->end + 1); /* by kernel: buffers whose last it is, or once was */
    for (size_t k = 0; k < s->buffers.n; k++)
        if (is_temporary(s->buffers.at[k]) && lives->at[k].used) vec_push(a, &ending[lives->at[k].last], (int)k);
    for (size_t i = 0; i < s->buffers.n; i++) {
        Buffer *to = s->buffers.at[i];
        Life *born = &lives->at[i];
        if (!is_temporary(to) || !born->used || born->first >= (int)kernels.n || !kernels.at[born->first]) continue;
        int k = giver(s, lives, &ending[born->first], kernels.at[born->first], i);
        if (k < 0) continue;
        to->same = s->buffers.at[k];
        if (born->last <= lives->at[k].last) continue;
        lives->at[k].last = born->last;
        vec_push(a, &ending[born->last], k);
    }
}

/* ---- places ---- */

static void drop_unused(Step *s, const Lives *lives) {
    size_t n = 0;
    for (size_t i = 0; i < s->buffers.n; i++) {
        Buffer *b = s->buffers.at[i];
        if (!lives->at[i].used) continue;
        b->id = (int)n;
        s->buffers.at[n++] = b;
    }
    s->buffers.n = n;
}

void plan_drop_unused(Step *s) {
    Arena *scratch = arena_new();
    Lives lives = plan_lives(scratch, s);
    drop_unused(s, &lives);
    arena_free(scratch);
}

static int64_t round_up(int64_t n) { return (n + ALIGN - 1) / ALIGN * ALIGN; }

typedef struct Item {
    Buffer *buffer;
    Life life;
    int64_t bytes;
} Item;

static int by_size(const void *x, const void *y) {
    const Item *a = x, *b = y;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? 1 : -1;
    return a->buffer->id - b->buffer->id;
}

static int by_offset(const void *x, const void *y) {
    const Item *const *a = x, *const *b = y;
    if ((*a)->buffer->offset != (*b)->buffer->offset) return (*a)->buffer->offset < (*b)->buffer->offset ? -1 : 1;
    return 0;
}

/* The lowest gap between those placed already that live at the same time. */
static int64_t find_gap(const Item *item, Item **near, size_t n) {
    int64_t at = 0;
    qsort(near, n, sizeof *near, by_offset);
    for (size_t i = 0; i < n; i++) {
        if (near[i]->buffer->offset >= at + item->bytes) break;
        int64_t end = near[i]->buffer->offset + near[i]->bytes;
        if (end > at) at = end;
    }
    return at;
}

/* Places the temporaries that threads share, or those of which each has its own. Returns the bytes that they need. */
static int64_t place(Arena *a, Step *s, const Lives *lives, PlaceKind kind) {
    Item *items = arena_make_n(a, Item, s->buffers.n + 1), **near = arena_make_n(a, Item *, s->buffers.n + 1);
    size_t n = 0;
    int64_t bytes = 0;
    for (size_t i = 0; i < s->buffers.n; i++) {
        Buffer *b = s->buffers.at[i];
        if (b->same || !lives->at[i].used || b->place != kind) continue;
        items[n++] = (Item){b, lives->at[i], round_up(b->bytes)};
    }
    if (n) qsort(items, n, sizeof *items, by_size);
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        for (size_t j = 0; j < i; j++)
            if (items[j].life.first <= items[i].life.last && items[i].life.first <= items[j].life.last) near[k++] = &items[j];
        Buffer *b = items[i].buffer;
        b->offset = find_gap(&items[i], near, k);
        if (b->place == PLACE_NONE) b->place = PLACE_ARENA;
        if (b->offset + items[i].bytes > bytes) bytes = b->offset + items[i].bytes;
    }
    return bytes;
}

static void place_views(Step *s) {
    for (size_t i = 0; i < s->buffers.n; i++) {
        Buffer *b = s->buffers.at[i], *root = buffer_root(b);
        if (b == root) continue;
        b->place = root->place;
        b->offset = root->offset;
        b->slot = root->slot;
        b->data = root->data;
    }
}

bool pass_plan(PassCtx *c, LoopsProgram *p) {
    Arena *scratch = arena_new();
    bool ok = true;
    for (size_t i = 0; i < p->steps.n; i++) {
        Step *s = p->steps.at[i];
        Lives lives = plan_lives(scratch, s);
        share_in_place(scratch, s, &lives);
        s->arena = place(scratch, s, &lives, PLACE_NONE);
        s->own = place(scratch, s, &lives, PLACE_THREAD);
        place_views(s);
        drop_unused(s, &lives);
        int64_t needed = step_own_at(s, s->threads > 1 ? s->threads : 1);
        if (c->max_mem && needed > c->max_mem) {
            diag_error(c->diag, s->func->loc, 805,
                       "@%s needs %" PRId64 " bytes for what is between its inputs and results, more than the %" PRId64
                       " of --max-mem",
                       s->func->name, needed, c->max_mem);
            ok = false;
        }
    }
    arena_free(scratch);
    return ok;
}
