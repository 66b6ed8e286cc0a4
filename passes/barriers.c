/*
 * barriers.c - puts a barrier where data cross threads, and nowhere else.
 * in:  a planned program with shared loops.   out: the least barriers, in order: where a kernel touches memory that others wrote, or writes what
 *      others touched, since the last one.
 * keeps: every bit.   spoils: nothing.
 *
 *   kernel a (writes %h, shared) ; barrier ; kernel b (writes %g alone) ; barrier ; kernel c (reads %h)
 *   =>  kernel a ; kernel b ; barrier ; kernel c
 *
 * Turns of a shared loop directly in a kernel are made by whichever thread is free (backend/emit_loop.c), so nothing may be passed on from a turn of one kernel to "the same" turn of
 * the next without a barrier.
 *
 * Memory is compared as the plan laid it out: two buffers that follow each other in the same bytes of the arena meet, too. Kernels without a
 * parallel loop are run by one thread, always the same, and need no barrier between themselves. The end of a step is a barrier.
 */
#include "passes/nest.h"
#include "passes/pipeline.h"

typedef struct Touch {
    const Buffer *buffer;
    int64_t end;        /* ARENA, THREAD: behind its last byte in the arena, of all threads' copies */
    bool store, shared; /* shared: by all threads; else by the first alone */
} Touch;

typedef Vec(Touch) Touches;
typedef Vec(StepNode *) StepNodes;

static bool in_arena(const Buffer *b) { return b->place == PLACE_ARENA || b->place == PLACE_THREAD; }

/* Threads' own copies do not meet, as long as it is the same thread that has the bytes. */
static bool overlap(const Touch *x, const Touch *y) {
    const Buffer *a = buffer_memory(x->buffer), *b = buffer_memory(y->buffer);
    if (a->place == PLACE_THREAD && b->place == PLACE_THREAD && a->offset == b->offset && a->bytes == b->bytes) return false;
    if (a == b) return true;
    if (in_arena(a) && in_arena(b)) return a->offset < y->end && b->offset < x->end;
    if (a->place != b->place) return false;
    return (a->place == PLACE_SLOT || a->place == PLACE_FIELD) && a->slot == b->slot;
}

static bool meet(const Touches *before, const Touches *now) {
    for (size_t i = 0; i < before->n; i++)
        for (size_t k = 0; k < now->n; k++) {
            const Touch *x = &before->at[i], *y = &now->at[k];
            if ((x->store || y->store) && (x->shared || y->shared) && overlap(x, y)) return true;
        }
    return false;
}

static void add_touch(Arena *a, Touches *t, const Step *step, const Buffer *b, bool store, bool shared) {
    if (b->place == PLACE_DATA) return;
    for (size_t i = 0; i < t->n; i++)
        if (t->at[i].buffer == b && t->at[i].store == store && t->at[i].shared == shared) return;
    const Buffer *memory = buffer_memory(b);
    int64_t copies = memory->place == PLACE_THREAD && step->threads > 1 ? step->threads : 1;
    vec_push(a, t, ((Touch){b, memory->offset + memory->bytes * copies, store, shared}));
}

static void touch_expr(Arena *a, Touches *t, const Step *step, const Expr *e, bool shared) {
    if (!e) return;
    if (e->kind == EXPR_LOAD) add_touch(a, t, step, e->buffer, false, shared);
    for (int i = 0; i < e->n_args; i++) touch_expr(a, t, step, e->args[i], shared);
}

static void touch_body(Arena *a, Touches *t, const Step *step, const Body *body, bool shared) {
    for (const Stmt *s = body->first; s; s = s->next) {
        touch_expr(a, t, step, s->value, shared);
        if (s->kind == STMT_STORE) add_touch(a, t, step, s->buffer, true, shared);
        touch_body(a, t, step, &s->body, shared);
    }
}

static Touches kernel_touches(Arena *a, const Step *step, const StepNode *kernel) {
    Touches t = {0};
    bool shared = false;
    for (const Stmt *s = kernel->body.first; s; s = s->next) shared |= stmt_has_mark(s, MARK_PARALLEL);
    touch_body(a, &t, step, &kernel->body, shared);
    return t;
}

static void add_barrier(Arena *a, StepNodes *out, Touches *pending, Loc loc) {
    StepNode *node = arena_make(a, StepNode);
    node->kind = STEP_BARRIER;
    node->loc = loc;
    vec_push(a, out, node);
    pending->n = 0;
}

/* pending: what was touched since the last barrier. */
static void place_barriers(Arena *a, const Step *step, StepNode *const *nodes, size_t n, Touches *pending, StepNodes *out) {
    for (size_t i = 0; i < n; i++) {
        StepNode *node = nodes[i];
        if (node->kind == STEP_BARRIER) continue;
        if (node->kind == STEP_KERNEL) {
            Touches now = kernel_touches(a, step, node);
            if (meet(pending, &now)) add_barrier(a, out, pending, node->loc);
            for (size_t k = 0; k < now.n; k++) add_touch(a, pending, step, now.at[k].buffer, now.at[k].store, now.at[k].shared);
            vec_push(a, out, node);
            continue;
        }
        /* a loop of the step: all threads must agree on its count or condition, and each turn follows the one before */
        if (pending->n) add_barrier(a, out, pending, node->loc);
        StepNodes inner = {0};
        place_barriers(a, step, node->nodes.at, node->nodes.n, pending, &inner);
        if (pending->n) add_barrier(a, &inner, pending, node->loc);
        node->nodes.at = inner.at;
        node->nodes.n = inner.n;
        node->nodes.cap = inner.cap;
        vec_push(a, out, node);
    }
}

bool pass_barriers(PassCtx *c, LoopsProgram *p) {
    for (size_t i = 0; i < p->steps.n; i++) {
        Step *step = p->steps.at[i];
        StepNodes out = {0};
        Touches pending = {0};
        place_barriers(c->arena, step, step->nodes.at, step->nodes.n, &pending, &out);
        step->nodes.at = out.at;
        step->nodes.n = out.n;
        step->nodes.cap = out.cap;
    }
    return true;
}
