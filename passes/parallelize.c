/*
 * parallelize.c - decides how many threads a step is worth, and which loops they share.
 * in:  loops with tiles and vectors.   out: step->threads; in every kernel that is worth it the outermost loop whose turns do not meet is `parallel`.
 * keeps: every bit: a turn is computed whole by one thread.   spoils: nothing.
 *
 *   for i in 0..B { for j in 0..N vector 16 { ... } }        =>   for i in 0..B parallel { for j in 0..N vector 16 { ... } }
 *   for j in 0..235200 vector 16 { ... }                     =>   for jb in 0..115 parallel { for j in 2048 * jb..min(235200, 2048 * jb + 2048) vector 16 { ... } }
 *
 * A kernel that stores outside its loops, or whose loops depend on one another, is left to one thread. A step too short to share (a
 * barrier costs some thousand cycles) is planned for one thread, and its marks are taken back. No step is planned for more threads than its loops can
 * keep busy.
 */
#include "passes/apart.h"
#include "passes/machine.h"
#include "passes/nest.h"
#include "passes/pipeline.h"

#include <math.h>

enum {
    KERNEL_WORTH = 6000,  /* cycles below which a kernel is not shared */
    THREAD_WORTH = 60000, /* cycles of a step for each thread that it is worth */
    STRIP = 2048,         /* most elements of a strip of a long vector loop */
    STRIP_WORTH = 1500,   /* cycles of the shortest */
    BARRIER = 60,         /* cycles that one thread more adds to a barrier */
    MOST_THREADS = 256,   /* that a step is planned for */
};

/* ---- what a statement costs, in cycles, roughly ---- */

static int loads(const Expr *e) {
    if (!e) return 0;
    int n = e->kind == EXPR_LOAD ? 1 : 0;
    for (int i = 0; i < e->n_args; i++) n += loads(e->args[i]);
    return n;
}

static double stmt_cost(const Step *step, const Body *kernel, const Stmt *s) {
    double cost = 0;
    if (s->value) cost = 0.5 * (expr_cost(s->value) + loads(s->value));
    if (s->kind == STMT_STORE) cost += 0.5;
    if (s->kind == STMT_INDEX && s->index_kind != INDEX_VALUE) cost += 1;
    for (const Stmt *b = s->body.first; b; b = b->next) cost += stmt_cost(step, kernel, b);
    if (s->kind == STMT_IF) cost *= 0.5;
    if (s->kind == STMT_FOR) {
        double turns = (double)loop_turns_in(step, kernel, s);
        cost = (cost + 0.5) * turns;
        if (s->mark == MARK_VECTOR) cost /= s->width;
    }
    return cost;
}

static double body_cost(const Step *step, const Body *b) {
    double cost = 0;
    for (const Stmt *s = b->first; s; s = s->next) cost += stmt_cost(step, b, s);
    return cost;
}

/* How often the nodes of a loop of the step are repeated, roughly. */
static double repeats(const StepNode *node) {
    if (node->kind == STEP_LOOP) return node->trip && affine_is_constant(node->trip) ? (double)node->trip->constant : 16;
    if (node->kind == STEP_WHILE) return (double)(node->max < 16 ? node->max : 16);
    return 1;
}

static double nodes_cost(const Step *step, StepNode *const *nodes, size_t n) {
    double cost = 0;
    for (size_t i = 0; i < n; i++)
        cost += repeats(nodes[i]) * (body_cost(step, &nodes[i]->body) + nodes_cost(step, nodes[i]->nodes.at, nodes[i]->nodes.n));
    return cost;
}

/* ---- how many threads? ---- */

/* A piece of work that is shared in equal turns; 1 turn: not shared. */
typedef struct Work {
    double cost, turns;
} Work;
typedef Vec(Work) Works;

/* Turns that are shared out: those of directly nested parallel loops are one space. */
static double shared_turns(const Step *step, const Body *kernel, const Stmt *s) {
    if (s->kind != STMT_FOR || s->mark != MARK_PARALLEL) return 1;
    double turns = (double)loop_turns_in(step, kernel, s);
    for (s = s->body.first; s && !s->next && s->kind == STMT_FOR && s->mark == MARK_PARALLEL; s = s->body.first)
        turns *= (double)loop_turns_in(step, kernel, s);
    return turns < 1 ? 1 : turns;
}

static void add_work(Arena *a, const Step *step, const Body *kernel, const Stmt *s, double repeated, Works *works) {
    if (s->kind == STMT_FOR && s->mark != MARK_PARALLEL &&
        stmt_has_mark(s, MARK_PARALLEL)) { /* every thread runs it, with its part of what is inside */
        for (const Stmt *b = s->body.first; b; b = b->next)
            add_work(a, step, kernel, b, repeated * (double)loop_turns_in(step, kernel, s), works);
        return;
    }
    vec_push(a, works, ((Work){repeated * stmt_cost(step, kernel, s), shared_turns(step, kernel, s)}));
}

static void list_work(Arena *a, const Step *step, StepNode *const *nodes, size_t n, double repeated, Works *works) {
    for (size_t i = 0; i < n; i++) {
        const StepNode *node = nodes[i];
        for (const Stmt *s = node->body.first; s; s = s->next) add_work(a, step, &node->body, s, repeated, works);
        list_work(a, step, node->nodes.at, node->nodes.n, repeated * repeats(node), works);
    }
}

static double time_with(const Works *works, double threads) {
    double time = 0;
    for (size_t i = 0; i < works->n; i++) {
        const Work *w = &works->at[i];
        double share = ceil(w->turns / threads) / w->turns;
        time += w->cost * (w->turns > 1 ? share : 1);
        if (w->turns > 1) time += threads * BARRIER; /* all wait for the last one; on average not for every piece of work */
    }
    return time;
}

/* The fewest threads, `most` at the most, with which the step takes hardly longer than with the best number: each has scratch of its own. */
static int64_t useful_threads(Arena *a, const Step *step, int64_t most) {
    Works works = {0};
    list_work(a, step, step->nodes.at, step->nodes.n, 1, &works);
    double best = time_with(&works, 1);
    for (int64_t n = 2; n <= most; n++) {
        double time = time_with(&works, (double)n);
        if (time < best) best = time;
    }
    int64_t n = 1;
    while (time_with(&works, (double)n) > 1.03 * best) n++;
    return n;
}

/* ---- marking ---- */

/* for j in 0..N vector 16  =>  for jb parallel { for j in STRIP * jb .. vector 16 }; strips are shorter where a turn costs much. */
static void strip(Arena *a, Step *step, Body *body, Stmt *loop) {
    if (loop->n_limits != 1 || !affine_is_constant(loop->limits[0]) || !affine_is_constant(loop->lo) || loop->lo->constant)
        return;
    int64_t n = loop->limits[0]->constant, length = STRIP;
    double cost = stmt_cost(step, body, loop) / (double)n;
    while (length > 2 * loop->width && length / 2 * cost >= STRIP_WORTH) length /= 2;
    Var *jb = step_var(a, step, VAR_LOOP, intern_printf("%s.strip", loop->var->name));
    Stmt *outer = stmt_for(a, jb, affine_constant(a, 0), affine_constant(a, (n + length - 1) / length), 1, MARK_PARALLEL, 0);
    outer->loc = loop->loc;
    body_insert_before(body, loop, outer);
    body_remove(body, loop);
    loop->prev = loop->next = NULL;
    loop->lo = affine_scale(a, affine_var(a, jb), length);
    const Affine **limits = arena_make_n(a, const Affine *, 2);
    limits[0] = loop->limits[0];
    limits[1] = affine_add_constant(a, loop->lo, length);
    loop->limits = limits;
    loop->n_limits = 2;
    body_add(&outer->body, loop);
}

static bool can_share(const Step *step, const Stmt *loop) {
    return loop->kind == STMT_FOR && (loop->mark == MARK_SERIAL || loop->mark == MARK_VECTOR) && turns_apart(step, loop);
}

/* All loops, or none: tiles are marked already, and what stands beside them (a value of another kernel made again, fuse_again.c) goes with them. */
static void share_kernel(PassCtx *c, Step *step, StepNode *kernel) {
    bool tiles = false;
    for (const Stmt *s = kernel->body.first; s; s = s->next) tiles |= stmt_has_mark(s, MARK_PARALLEL);
    if (!tiles && body_cost(step, &kernel->body) < KERNEL_WORTH) return;
    if (!nests_apart(step, &kernel->body)) return;
    for (const Stmt *s = kernel->body.first; s; s = s->next)
        if (s->kind == STMT_FOR && !stmt_has_mark(s, MARK_PARALLEL) && !can_share(step, s)) return;
    for (Stmt *s = kernel->body.first, *next; s; s = next) {
        next = s->next;
        if (s->kind != STMT_FOR || stmt_has_mark(s, MARK_PARALLEL)) continue;
        if (s->mark == MARK_VECTOR)
            strip(c->arena, step, &kernel->body, s);
        else
            s->mark = MARK_PARALLEL;
    }
}

/* Tiles beside a statement that is not shared: the kernel is left to one thread. */
static void settle_kernel(PassCtx *c, Step *step, StepNode *kernel) {
    (void)c, (void)step;
    bool all = true;
    for (const Stmt *s = kernel->body.first; s; s = s->next)
        if (s->kind != STMT_LET && s->kind != STMT_INDEX && s->kind != STMT_CHECK) all &= stmt_has_mark(s, MARK_PARALLEL);
    if (all) return;
    for (Stmt *s = kernel->body.first; s; s = s->next) stmt_unshare(s);
}

static void each_kernel(PassCtx *c, Step *step, StepNode *const *nodes, size_t n, void (*visit)(PassCtx *, Step *, StepNode *)) {
    for (size_t i = 0; i < n; i++) {
        if (nodes[i]->kind == STEP_KERNEL) visit(c, step, nodes[i]);
        each_kernel(c, step, nodes[i]->nodes.at, nodes[i]->nodes.n, visit);
    }
}

static void unshare_kernel(PassCtx *c, Step *step, StepNode *kernel) {
    (void)c, (void)step;
    for (Stmt *s = kernel->body.first; s; s = s->next) stmt_unshare(s);
}

bool pass_parallelize(PassCtx *c, LoopsProgram *p) {
    for (size_t i = 0; i < p->steps.n; i++) {
        Step *step = p->steps.at[i];
        double worth = nodes_cost(step, step->nodes.at, step->nodes.n) / THREAD_WORTH;
        step->threads = worth < 2 ? 1 : worth > MOST_THREADS ? MOST_THREADS : (int64_t)worth;
        if (c->threads && step->threads > c->threads) step->threads = c->threads;
        if (step->threads > 1) {
            each_kernel(c, step, step->nodes.at, step->nodes.n, share_kernel);
            each_kernel(c, step, step->nodes.at, step->nodes.n, settle_kernel);
            step->threads = useful_threads(c->arena, step, step->threads);
        }
        if (step->threads == 1) each_kernel(c, step, step->nodes.at, step->nodes.n, unshare_kernel);
    }
    return true;
}
