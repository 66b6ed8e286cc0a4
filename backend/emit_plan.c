/*
 * emit_plan.c - what is to be emitted, before anything is: the calls of kernels in every step with the memory they touch, the kernels that remain when equal ones are one
 * (emit_same.c), and how they are shared out among LLVM modules.
 *
 * UNITS. LLVM compiles a module on one thread, and two modules of two contexts on two. So the kernels of a program are put into units of about the same work, each a
 * module with its own context, and compile.c makes them on as many threads as there are cores. How many units there are and what is in them follows from the
 * program alone, so the bytes of the result do not depend on the machine's cores. Unit 0 also holds the steps and the tables of the program.
 */
#include "emit.h"

#include <stdlib.h>
#include <string.h>

/* ---- the memory a kernel touches ---- */

typedef struct Uses {
    Arena *arena;
    int *buffer; /* by id: the last kernel seen that uses it */
    int kernel;
    Vec(Buffer *) list;
    Vec(int64_t) sites;
} Uses;

static void use_buffer(Uses *u, Buffer *b) {
    if (u->buffer[b->id] == u->kernel) return;
    u->buffer[b->id] = u->kernel;
    vec_push(u->arena, &u->list, b);
}

static void use_site(Uses *u, int64_t site) {
    for (size_t i = 0; i < u->sites.n; i++)
        if (u->sites.at[i] == site) return;
    vec_push(u->arena, &u->sites, site);
}

static void use_expr(Uses *u, const Expr *x) {
    if (x->kind == EXPR_UNIFORM) use_site(u, x->site);
    if (x->kind == EXPR_LOAD) use_buffer(u, x->buffer);
    for (int i = 0; i < x->n_args; i++) use_expr(u, x->args[i]);
}

static void use_body(Uses *u, const Body *body) {
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->kind == STMT_STORE || s->kind == STMT_PREFETCH) use_buffer(u, s->buffer);
        if (s->value) use_expr(u, s->value);
        if (s->kind == STMT_FOR || s->kind == STMT_IF) use_body(u, &s->body);
    }
}

const Buffer *emit_placed(const Buffer *b) {
    while (b->place == PLACE_NONE && b->same) b = b->same;
    if (b->place == PLACE_NONE) bug("buffer %s has no place", b->name);
    return b;
}

static bool overlap(const Buffer *x, const Buffer *y) {
    const Buffer *a = emit_placed(x), *b = emit_placed(y);
    if (a == b) return true;
    if (a->place != b->place) return false;
    switch (a->place) {
    case PLACE_ARENA:
    case PLACE_THREAD: return a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
    case PLACE_SLOT:
    case PLACE_FIELD: return a->slot == b->slot;
    case PLACE_DATA: return false;
    case PLACE_NONE: break;
    }
    return false;
}

static int64_t place_offset(const Buffer *b) {
    b = emit_placed(b);
    return b->place == PLACE_ARENA || b->place == PLACE_THREAD ? b->offset : 0;
}

/* Buffers that overlap, directly or through others, share a piece; its pointer is that of the lowest. */
static void find_pieces(Arena *a, KernelCall *c) {
    int n = c->n_buffers, *piece = arena_make_n(a, int, (size_t)n + 1), *number = arena_make_n(a, int, (size_t)n + 1);
    for (int i = 0; i < n; i++) piece[i] = i;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++) {
            if (!overlap(c->buffers[i], c->buffers[j]) || piece[i] == piece[j]) continue;
            int from = piece[i], to = piece[j];
            for (int k = 0; k < n; k++)
                if (piece[k] == from) piece[k] = to;
        }
    c->lowest = arena_make_n(a, const Buffer *, (size_t)n + 1);
    c->offset = arena_make_n(a, int64_t, (size_t)n + 1);
    for (int i = 0; i < n; i++) number[i] = -1;
    for (int i = 0; i < n; i++) {
        if (number[piece[i]] < 0) number[piece[i]] = c->n_pieces++;
        piece[i] = number[piece[i]];
        const Buffer **low = &c->lowest[piece[i]];
        if (!*low || place_offset(c->buffers[i]) < place_offset(*low)) *low = c->buffers[i];
    }
    for (int i = 0; i < n; i++) c->offset[i] = place_offset(c->buffers[i]) - place_offset(c->lowest[piece[i]]);
    c->piece = piece;
}

/* ---- work ---- */

/* KERNEL_WORK: what a function costs by itself. LONG_OP: a function written out, its rare cases and the masked vector at the end; by the time that LLVM takes for it. */
enum { HEAVY = 1 << 24, LONG_OP = 200, KERNEL_WORK = 120 };

static int64_t expr_work(const Expr *x) {
    int64_t n = emit_long_op(x) ? LONG_OP : 1;
    for (int i = 0; i < x->n_args; i++) n += expr_work(x->args[i]);
    for (int i = 0; i < x->n_index; i++) n += x->index[i]->n;
    return n;
}

/* How many times the body of a loop is written out. Long ones are not (emit_rolled.c). */
static int64_t copies(const Stmt *s) {
    if (emit_long(&s->body)) return 1;
    int64_t turns = stmt_distance(s);
    if (s->mark == MARK_UNROLL && s->width > 0) return s->width;
    if (s->mark == MARK_UNROLL && turns > 0 && turns <= 256) return turns;
    if (s->mark == MARK_VECTOR && emit_indexes_acc(s) && turns > s->width) return (turns + s->width - 1) / s->width;
    return 1;
}

/* About how many instructions become of it. */
static int64_t body_work(const Body *body) {
    int64_t n = 0;
    for (const Stmt *s = body->first; s && n < HEAVY; s = s->next) {
        n += 2;
        if (s->value) n += expr_work(s->value);
        if (s->kind == STMT_FOR) n += 8 + copies(s) * body_work(&s->body);
        if (s->kind == STMT_IF) n += body_work(&s->body);
    }
    return n < HEAVY ? n : HEAVY;
}

/* ---- calls and kernels ---- */

typedef struct Planning {
    EmitPlan *plan;
    const Step *step;
    const Var *outer[EMIT_OUTER_MOST]; /* variables of the step's loops around */
    int n_outer;
    int *used; /* by buffer id: Uses.buffer */
    int n_kernels;
} Planning;

/* The kernel that an interned text belongs to, as its key or its name; -1: none yet. */
static int kernel_by(const EmitPlan *p, const char *text) { return (int)(intptr_t)map_get(&p->by_text, text) - 1; }

static void belongs(EmitPlan *p, const char *text, int kernel) {
    map_put(p->arena, &p->by_text, text, (void *)(intptr_t)(kernel + 1));
}

/* Names are unique within a step, and steps have names of their own; still, a name that is there already gets a number. */
static const char *unique_name(EmitPlan *p, const char *name) {
    const char *found = name;
    for (int n = 2; kernel_by(p, found) >= 0; n++) found = intern_printf("%s.same%d", name, n);
    return found;
}

static int kernel_of(EmitPlan *p, const KernelCall *c) {
    const char *key = emit_kernel_key(c, p->debug_lines);
    int which = kernel_by(p, key);
    if (which >= 0) return which;
    which = (int)p->kernels.n;
    const char *name = unique_name(p, intern_printf("%s.%s", c->step->func->name, c->node->name));
    belongs(p, key, which);
    belongs(p, name, which);
    vec_push(p->arena, &p->kernels,
             ((Kernel){.key = key, .name = name, .call = (int)p->calls.n, .work = KERNEL_WORK + body_work(&c->node->body)}));
    return which;
}

static void plan_kernel(Planning *s, const StepNode *node) {
    EmitPlan *p = s->plan;
    Uses u = {.arena = p->arena, .buffer = s->used, .kernel = ++s->n_kernels};
    use_body(&u, &node->body);
    KernelCall c = {.step = s->step,
                    .node = node,
                    .buffers = u.list.at,
                    .n_buffers = (int)u.list.n,
                    .sites = u.sites.at,
                    .n_sites = (int)u.sites.n};
    c.outer = arena_make_n(p->arena, const Var *, (size_t)s->n_outer + 1);
    c.n_outer = s->n_outer;
    memcpy(c.outer, s->outer, (size_t)s->n_outer * sizeof *c.outer);
    find_pieces(p->arena, &c);
    c.kernel = kernel_of(p, &c);
    vec_push(p->arena, &p->calls, c);
}

static void plan_nodes(Planning *s, StepNode *const *at, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const StepNode *node = at[i];
        switch (node->kind) {
        case STEP_BARRIER: break;
        case STEP_KERNEL: plan_kernel(s, node); break;
        case STEP_LOOP:
        case STEP_WHILE:
            if (s->n_outer == EMIT_OUTER_MOST)
                bug("loops nested deeper than %d in step %s", EMIT_OUTER_MOST, s->step->func->name);
            if (node->var) s->outer[s->n_outer++] = node->var;
            plan_nodes(s, node->nodes.at, node->nodes.n);
            if (node->var) s->n_outer--;
            break;
        }
    }
}

/* ---- units ---- */

/* A unit costs about as much as 500 of work by itself: that is what the size of units is chosen by, and that there are several even of a small program. */
enum { UNIT_WORK = 9000, UNITS_MOST = 64, TABLES_WORK = 1000, CALL_WORK = 40 };

static int heavier(const void *x, const void *y) {
    const Kernel *a = *(Kernel *const *)x, *b = *(Kernel *const *)y;
    if (a->work != b->work) return a->work > b->work ? -1 : 1;
    return a < b ? -1 : a > b;
}

/* The heaviest first, each into the unit that has least. Where a step calls many kernels, unit 0 has the steps (and the tables) alone: LLVM's registers for
 * 3,000 calls take it five seconds, code as it comes less than one. */
static void share_out(EmitPlan *p, int units_most) {
    int64_t total = 0, work[UNITS_MOST] = {0};
    Kernel **order = arena_make_n(p->arena, Kernel *, p->kernels.n + 1);
    for (size_t i = 0; i < p->kernels.n; i++) {
        total += p->kernels.at[i].work;
        order[i] = &p->kernels.at[i];
    }
    p->work = total + CALL_WORK * (int64_t)p->calls.n;
    int64_t n = (total + UNIT_WORK - 1) / UNIT_WORK;
    if (n > 1) n += n % 2; /* so that two cores have the same to do */
    for (size_t i = 0; i < p->program->steps.n; i++)
        p->own_steps |= units_most > 1 && p->first_call[i + 1] - p->first_call[i] > CALLS_MOST;
    p->n_units = n < 1 ? 1 : n > units_most - p->own_steps ? units_most - p->own_steps : (int)n;
    p->n_units += p->own_steps;
    qsort(order, p->kernels.n, sizeof *order, heavier);
    work[0] = TABLES_WORK + CALL_WORK * (int64_t)p->calls.n; /* the tables and the steps */
    for (size_t i = 0; i < p->kernels.n; i++) {
        int least = p->own_steps;
        for (int u = least + 1; u < p->n_units; u++)
            if (work[u] < work[least]) least = u;
        order[i]->unit = least;
        work[least] += order[i]->work;
    }
}

EmitPlan *emit_plan(Arena *a, const LoopsProgram *program, const char *only, bool debug_lines, bool whole) {
    EmitPlan *p = arena_make(a, EmitPlan);
    *p = (EmitPlan){.arena = a, .program = program, .only = only, .debug_lines = debug_lines};
    p->first_call = arena_make_n(a, size_t, program->steps.n + 1);
    int64_t most = 0;
    for (size_t i = 0; i < program->steps.n; i++) {
        Step *step = program->steps.at[i];
        if (step->batch_bound > p->largest_batch) p->largest_batch = step->batch_bound;
        p->first_call[i] = p->calls.n;
        if (only && strcmp(only, step->func->name) != 0) continue;
        Planning s = {.plan = p, .step = step, .used = arena_make_n(a, int, step->buffers.n + 1)};
        size_t before = p->kernels.n;
        plan_nodes(&s, step->nodes.at, step->nodes.n);
        int64_t work = CALL_WORK * (int64_t)(p->calls.n - p->first_call[i]);
        for (size_t k = before; k < p->kernels.n; k++) work += p->kernels.at[k].work;
        if (work > most) {
            most = work;
            p->largest = step;
        }
    }
    p->first_call[program->steps.n] = p->calls.n;
    share_out(p, whole ? 1 : UNITS_MOST);
    return p;
}
