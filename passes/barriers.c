/*
 * barriers.c - puts a barrier where data cross threads, and nowhere else.
 * in:  a planned program with shared loops.   out: the least barriers, in order: where a kernel touches memory that others wrote, or writes what
 *      others touched, since the last one. What a loop of the step asks for its turns is touched by all.
 * keeps: every bit.   spoils: nothing.
 *
 *   kernel a (writes %h, shared) ; barrier ; kernel b (writes %g alone) ; barrier ; kernel c (reads %h)
 *   =>  kernel a ; kernel b ; barrier ; kernel c
 *
 * Turns of a shared loop directly in a kernel are made by whichever thread is free (backend/emit_loop.c), so nothing may be passed on from a turn of one kernel to "the same" turn of
 * the next without a barrier.
 *
 * Memory is compared as the plan laid it out: two buffers that follow each other in the same bytes of the arena meet, too. What a thread has for itself nobody else
 * touches. Kernels without a parallel loop are run by one thread, always the same, and need no barrier between themselves. The end of a step is a barrier.
 *
 * What was touched since the last barrier is kept as bits by memory, and for the arena in a tree over its pieces: a step of ten thousand kernels takes as long as its text.
 */
#include "passes/nest.h"
#include "passes/pipeline.h"

#include <stdlib.h>

/* ---- what has been touched since the last barrier ---- */

enum { LOAD_ALONE = 1, LOAD_SHARED = 2, STORE_ALONE = 4, STORE_SHARED = 8 };
enum { SHARED = LOAD_SHARED | STORE_SHARED, STORES = STORE_ALONE | STORE_SHARED };

/* Bits that are 0 again at the next barrier, without anybody having to clear them. */
typedef struct Bits {
    int since;
    unsigned bits;
} Bits;

/* Where a buffer lies, in numbers that are compared in no time. */
typedef struct Where {
    int memory;   /* the buffer, or the first one of its slot */
    int from, to; /* in the arena: pieces between two ends of buffers, as counted by offset; from == to: not there */
} Where;

/* `whole` and `any` are a tree over the pieces of the arena: node k is above 2k and 2k + 1, and piece p is node leaves + p. whole: what touched all pieces below a
 * node; any: what touched some. So a buffer costs the logarithm of the pieces, however many lie in it. */
typedef struct Memory {
    Arena *arena;
    const Step *step;
    const Where *where; /* by buffer id */
    size_t leaves;
    int now;      /* barriers so far */
    bool touched; /* anything since the last one */
    Bits *memory, *whole, *any;
    int *seen; /* by buffer id: the last kernel that loaded it, that stored to it */
    int kernel;
} Memory;

static unsigned bits(const Memory *m, const Bits *b) { return b->since == m->now ? b->bits : 0; }

static void set_bits(const Memory *m, Bits *b, unsigned more) { *b = (Bits){m->now, bits(m, b) | more}; }

static unsigned in_pieces(const Memory *m, size_t node, size_t lo, size_t hi, size_t from, size_t to) {
    if (to <= lo || hi <= from) return 0;
    if (from <= lo && hi <= to) return bits(m, &m->any[node]);
    size_t mid = (lo + hi) / 2;
    return bits(m, &m->whole[node]) | in_pieces(m, 2 * node, lo, mid, from, to) | in_pieces(m, 2 * node + 1, mid, hi, from, to);
}

static void set_pieces(const Memory *m, size_t node, size_t lo, size_t hi, size_t from, size_t to, unsigned more) {
    if (to <= lo || hi <= from) return;
    set_bits(m, &m->any[node], more);
    if (from <= lo && hi <= to) {
        set_bits(m, &m->whole[node], more);
        return;
    }
    size_t mid = (lo + hi) / 2;
    set_pieces(m, 2 * node, lo, mid, from, to, more);
    set_pieces(m, 2 * node + 1, mid, hi, from, to, more);
}

/* Who touched the bytes of a buffer. */
static unsigned touched(const Memory *m, const Where *w) {
    return bits(m, &m->memory[w->memory]) | in_pieces(m, 1, 0, m->leaves, (size_t)w->from, (size_t)w->to);
}

static void touch(Memory *m, const Where *w, unsigned how) {
    m->touched = true;
    set_pieces(m, 1, 0, m->leaves, (size_t)w->from, (size_t)w->to, how);
    set_bits(m, &m->memory[w->memory], how);
}

/* ---- where buffers lie ---- */

static int by_number(const void *x, const void *y) {
    return *(const int64_t *)x < *(const int64_t *)y ? -1 : *(const int64_t *)x > *(const int64_t *)y;
}

static size_t number_of(const int64_t *sorted, size_t n, int64_t x) {
    const int64_t *at = bsearch(&x, sorted, n, sizeof *sorted, by_number);
    return (size_t)(at - sorted);
}

/* Sorts the places in the arena where buffers begin and end; returns how many there are. */
static size_t list_ends(const Step *s, int64_t *end) {
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < s->buffers.n; i++) {
        const Buffer *b = buffer_memory(s->buffers.at[i]);
        if (b->place != PLACE_ARENA) continue;
        end[n++] = b->offset;
        end[n++] = b->offset + b->bytes;
    }
    qsort(end, n, sizeof *end, by_number);
    for (size_t i = 0; i < n; i++)
        if (!kept || end[kept - 1] != end[i]) end[kept++] = end[i];
    return kept;
}

static Memory memory_new(Arena *a, const Step *s) {
    size_t n = s->buffers.n;
    Memory m = {.arena = a, .step = s, .now = 1, .leaves = 1};
    int64_t *end = arena_make_n(a, int64_t, 2 * n + 1);
    Where *where = arena_make_n(a, Where, n + 1);
    size_t n_ends = list_ends(s, end);
    PtrMap slots = {0};
    for (size_t i = 0; i < n; i++) {
        const Buffer *b = buffer_memory(s->buffers.at[i]);
        Where *w = &where[i];
        *w = (Where){.memory = b->id};
        if (b->place == PLACE_SLOT || b->place == PLACE_FIELD) {
            if (!map_get(&slots, b->slot)) map_put(a, &slots, b->slot, (void *)(intptr_t)(b->id + 1));
            w->memory = (int)(intptr_t)map_get(&slots, b->slot) - 1;
        }
        if (b->place != PLACE_ARENA) continue;
        w->from = (int)number_of(end, n_ends, b->offset);
        w->to = (int)number_of(end, n_ends, b->offset + b->bytes);
    }
    while (m.leaves < n_ends) m.leaves *= 2;
    m.where = where;
    m.memory = arena_make_n(a, Bits, n + 1);
    m.whole = arena_make_n(a, Bits, 2 * m.leaves);
    m.any = arena_make_n(a, Bits, 2 * m.leaves);
    m.seen = arena_make_n(a, int, 2 * n + 1);
    return m;
}

/* ---- what a kernel touches ---- */

typedef struct Touch {
    const Where *where;
    unsigned how;
} Touch;

typedef Vec(Touch) Touches;
typedef Vec(StepNode *) StepNodes;

static void add_touch(Memory *m, Touches *t, const Buffer *b, bool store, bool shared) {
    int *seen = &m->seen[2 * b->id + store];
    if (b->place == PLACE_DATA || buffer_memory(b)->place == PLACE_THREAD || *seen == m->kernel) return;
    *seen = m->kernel;
    unsigned how = store ? (shared ? STORE_SHARED : STORE_ALONE) : shared ? LOAD_SHARED : LOAD_ALONE;
    vec_push(m->arena, t, ((Touch){&m->where[b->id], how}));
}

static void touch_expr(Memory *m, Touches *t, const Expr *e, bool shared) {
    if (!e) return;
    if (e->kind == EXPR_LOAD) add_touch(m, t, e->buffer, false, shared);
    for (int i = 0; i < e->n_args; i++) touch_expr(m, t, e->args[i], shared);
}

static void touch_body(Memory *m, Touches *t, const Body *body, bool shared) {
    for (const Stmt *s = body->first; s; s = s->next) {
        touch_expr(m, t, s->value, shared);
        if (s->kind == STMT_STORE) add_touch(m, t, s->buffer, true, shared);
        touch_body(m, t, &s->body, shared);
    }
}

static Touches kernel_touches(Memory *m, const StepNode *kernel) {
    Touches t = {0};
    bool shared = false;
    for (const Stmt *s = kernel->body.first; s; s = s->next) shared |= stmt_has_mark(s, MARK_PARALLEL);
    m->kernel++;
    touch_body(m, &t, &kernel->body, shared);
    return t;
}

/* One of two has stored, and not both were the first thread. */
static bool meets(const Memory *m, const Touch *t) {
    unsigned others = 0;
    switch (t->how) {
    case LOAD_ALONE: others = STORE_SHARED; break;
    case LOAD_SHARED: others = STORES; break;
    case STORE_ALONE: others = SHARED; break;
    default: others = SHARED | STORES | LOAD_ALONE; break;
    }
    return touched(m, t->where) & others;
}

/* ---- barriers ---- */

static void add_barrier(Arena *a, StepNodes *out, Memory *m, Loc loc) {
    vec_push(a, out, step_barrier(a, loc));
    m->now++;
    m->touched = false;
}

/* Every thread looks at the condition of a loop before each turn and behind the last one, at the count of one before the first: who computes the next
 * value, or puts something else into that memory, waits until all have looked. */
static void touch_count(Memory *m, const StepNode *loop) {
    if (loop->count) touch(m, &m->where[loop->count->id], LOAD_SHARED);
}

static void place_barriers(Arena *a, Memory *m, StepNode *const *nodes, size_t n, StepNodes *out) {
    for (size_t i = 0; i < n; i++) {
        StepNode *node = nodes[i];
        if (node->kind == STEP_BARRIER) continue;
        if (node->kind == STEP_KERNEL) {
            Touches now = kernel_touches(m, node);
            bool met = false;
            for (size_t k = 0; k < now.n && !met; k++) met = meets(m, &now.at[k]);
            if (met) add_barrier(a, out, m, node->loc);
            for (size_t k = 0; k < now.n; k++) touch(m, now.at[k].where, now.at[k].how);
            vec_push(a, out, node);
            continue;
        }
        /* a loop of the step: all threads must agree on its count or condition, and each turn follows the one before */
        if (m->touched) add_barrier(a, out, m, node->loc);
        StepNodes inner = {0};
        touch_count(m, node);
        place_barriers(a, m, node->nodes.at, node->nodes.n, &inner);
        if (m->touched) add_barrier(a, &inner, m, node->loc);
        node->nodes.at = inner.at;
        node->nodes.n = inner.n;
        node->nodes.cap = inner.cap;
        touch_count(m, node);
        vec_push(a, out, node);
    }
}

bool pass_barriers(PassCtx *c, LoopsProgram *p) {
    Arena *scratch = arena_new();
    for (size_t i = 0; i < p->steps.n; i++) {
        Step *step = p->steps.at[i];
        StepNodes out = {0};
        Memory m = memory_new(scratch, step);
        place_barriers(c->arena, &m, step->nodes.at, step->nodes.n, &out);
        step->nodes.at = out.at;
        step->nodes.n = out.n;
        step->nodes.cap = out.cap;
    }
    arena_free(scratch);
    return true;
}
