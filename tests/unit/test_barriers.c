/*
 * test_barriers.c - barriers, held to the rule written out again in the plainest way: every touch since the last barrier is compared with every touch of the next
 * kernel. Steps are random: buffers that overlap in the arena, threads' copies, slots, views; kernels shared or of one thread; loops of the step, with conditions in memory or without.
 */
#include "../random_property.h"
#include "passes/pipeline.h"

#include <check.h>

typedef struct Touch {
    const Buffer *buffer;
    bool store, shared;
} Touch;

typedef struct Rule {
    Arena *arena;
    Vec(Touch) before; /* since the last barrier */
    Vec(bool) barrier; /* in front of each kernel, and in front of and at the end of each loop, in the order of the text */
} Rule;

static const Buffer *memory_of(const Buffer *b) {
    while (b->same) b = b->same;
    return b;
}

/* May two threads that touch the buffers touch the same bytes? */
static bool same_bytes(const Buffer *x, const Buffer *y) {
    const Buffer *a = memory_of(x), *b = memory_of(y);
    if (a->place != b->place) return false;
    if (a->place == PLACE_SLOT) return a->slot == b->slot;
    return a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

/* What other threads can see of it. */
static void list_touches(const StepNode *kernel, Touch *now, size_t *n) {
    const Stmt *loop = kernel->body.first;
    bool shared = loop->mark == MARK_PARALLEL;
    *n = 0;
    for (const Stmt *s = loop->body.first; s; s = s->next) {
        if (memory_of(s->value->buffer)->place != PLACE_THREAD) now[(*n)++] = (Touch){s->value->buffer, false, shared};
        if (memory_of(s->buffer)->place != PLACE_THREAD) now[(*n)++] = (Touch){s->buffer, true, shared};
    }
}

static void expect(Rule *r, StepNode *const *nodes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (nodes[i]->kind != STEP_KERNEL) {
            Touch count = {nodes[i]->count, false, true}; /* all threads look at it, before the turns and behind them */
            vec_push(r->arena, &r->barrier, r->before.n > 0);
            r->before.n = 0;
            if (count.buffer) vec_push(r->arena, &r->before, count);
            expect(r, nodes[i]->nodes.at, nodes[i]->nodes.n);
            vec_push(r->arena, &r->barrier, r->before.n > 0);
            r->before.n = 0;
            if (count.buffer) vec_push(r->arena, &r->before, count);
            continue;
        }
        Touch now[16];
        size_t k;
        bool meet = false;
        list_touches(nodes[i], now, &k);
        for (size_t p = 0; p < r->before.n; p++)
            for (size_t q = 0; q < k; q++) {
                const Touch *x = &r->before.at[p], *y = &now[q];
                meet |= (x->store || y->store) && (x->shared || y->shared) && same_bytes(x->buffer, y->buffer);
            }
        vec_push(r->arena, &r->barrier, meet);
        if (meet) r->before.n = 0;
        for (size_t q = 0; q < k; q++) vec_push(r->arena, &r->before, now[q]);
    }
}

/* The barriers that are there, in the same order; false if two follow each other or one stands where none may. */
static bool compare(const Rule *r, size_t *at, StepNode *const *nodes, size_t n, bool inside) {
    bool barrier = false;
    for (size_t i = 0; i < n; i++) {
        if (nodes[i]->kind == STEP_BARRIER) {
            if (barrier) return false;
            barrier = true;
            continue;
        }
        if (r->barrier.at[(*at)++] != barrier) return false;
        barrier = false;
        if (nodes[i]->kind != STEP_KERNEL && !compare(r, at, nodes[i]->nodes.at, nodes[i]->nodes.n, true)) return false;
    }
    return inside ? r->barrier.at[(*at)++] == barrier : !barrier;
}

/* ---- random steps ---- */

static int64_t draw(uint64_t *seed, int64_t n) {
    return (int64_t)((*seed = *seed * 6364136223846793005u + 1442695040888963407u) >> 33) % n;
}

static void random_buffers(Arena *a, Step *s, uint64_t *seed) {
    Dim dim = {64, false};
    Slot *slots = arena_make_n(a, Slot, 3);
    for (int i = 0; i < 24; i++) {
        Buffer *b = step_buffer(a, s, "b", U8, 1, &dim, (Loc){0});
        b->bytes = 64 * (1 + draw(seed, 4));
        b->offset = 64 * draw(seed, 24);
        b->place = draw(seed, 3) ? PLACE_ARENA : PLACE_THREAD;
        if (i >= 20) b->place = PLACE_SLOT, b->slot = &slots[draw(seed, 3)];
        if (i >= 12 && i < 16) { /* a view */
            b->same = s->buffers.at[draw(seed, i)];
            b->place = b->same->place;
            b->offset = b->same->offset;
        }
    }
}

static StepNode *random_kernel(Arena *a, Step *s, uint64_t *seed) {
    StepNode *k = arena_make(a, StepNode);
    k->kind = STEP_KERNEL;
    k->name = "k";
    Var *v = step_var(a, s, VAR_LOOP, "i");
    Stmt *loop = stmt_for(a, v, affine_constant(a, 0), affine_constant(a, 64), 1, draw(seed, 3) ? MARK_SERIAL : MARK_PARALLEL, 0);
    const Affine *index = affine_var(a, v);
    for (int64_t n = 1 + draw(seed, 2); n > 0; n--) {
        Buffer *from = s->buffers.at[draw(seed, 24)], *to = s->buffers.at[draw(seed, 24)];
        body_add(&loop->body, stmt_store(a, to, &index, expr_load(a, from, &index)));
    }
    body_add(&k->body, loop);
    return k;
}

static void random_nodes(Arena *a, Step *s, uint64_t *seed, StepNode *around, int depth) {
    for (int64_t n = 2 + draw(seed, 12); n > 0; n--) {
        StepNode *node = draw(seed, 8) || depth == 2 ? random_kernel(a, s, seed) : arena_make(a, StepNode);
        if (!node->name) {
            node->kind = STEP_LOOP;
            node->var = step_var(a, s, VAR_LOOP, "t");
            node->trip = affine_constant(a, 3);
            Buffer *count = s->buffers.at[draw(seed, 24)];
            if (memory_of(count)->place != PLACE_THREAD) node->kind = STEP_WHILE, node->count = count, node->max = 3;
            random_nodes(a, s, seed, node, depth + 1);
        }
        vec_push(a, &around->nodes, node);
    }
}

START_TEST(barriers_stand_where_data_cross) {
    int seen = 0;
    for (uint64_t round = 0; round < 3000; round++) {
        Arena *a = arena_new();
        uint64_t seed = round;
        Step *s = arena_make(a, Step);
        StepNode all = {0};
        s->threads = 1 + draw(&seed, 4);
        random_buffers(a, s, &seed);
        random_nodes(a, s, &seed, &all, 0);
        for (size_t i = 0; i < all.nodes.n; i++) vec_push(a, &s->nodes, all.nodes.at[i]);
        Rule r = {.arena = a};
        expect(&r, s->nodes.at, s->nodes.n);
        for (size_t i = 0; i < r.barrier.n; i++) seen += r.barrier.at[i];
        LoopsProgram *p = arena_make(a, LoopsProgram);
        p->arena = a;
        vec_push(a, &p->steps, s);
        PassCtx c = {.arena = a, .diag = diag_new(a)};
        ck_assert(pass_barriers(&c, p));
        size_t at = 0;
        ck_assert_msg(compare(&r, &at, s->nodes.at, s->nodes.n, false) && at == r.barrier.n, "round %d", (int)round);
        arena_free(a);
    }
    ck_assert_int_gt(seen, 3000);
}
END_TEST

Suite *barriers_suite(void);

Suite *barriers_suite(void) {
    Suite *s = suite_create("barriers");
    TCase *t = tcase_create("barriers");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, barriers_stand_where_data_cross);
    suite_add_tcase(s, t);
    return s;
}
