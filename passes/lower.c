/*
 * lower.c - from the graph to loops: every function becomes a step.
 * in:    a graph after autodiff; fused (a kernel op is a kernel) or not (then each op is one).
 * out:   loops in stage `lowered`: obvious nests, all loops serial, a barrier behind every kernel, buffers without places.
 * keeps: the bits of every result, the order of sums as graph.h states it, places in the source.
 *
 *   %h = contract "bi,io->bo" %x, %w : f32[B, 64]         kernel @dense.1 {
 *                                                   =>      for b in 0..B, o in 0..64 {
 *                                                             acc h: f32 = 0
 *                                                             for i in 0..784 { h = fma(%x[b, i], %w[i, o], h) }
 *                                                             %h[b, o] = h
 *                                                           }
 *                                                         }
 *
 * A nest is what the ops say and no more; how it is cut, vectorized and shared out is the business of the passes behind. Slots
 * are buffers in the frame, read and overwritten where they lie (lower_block.c says when that is allowed). Files: lower_block.c
 * blocks, lower_kernel.c groups of ops, lower_pull.c elements, lower_reduce.c sums, lower_window.c windows, lower_special.c
 * take_add, scatter_add, lower_sort.c and lower_top.c sort and top_k, lower_control.c scan and while, lower_scope.c the pen.
 */
#include "passes/lower.h"

/* The buffer of a slot: one for its old and its new value. */
static Home *slot_home(Lower *l, Slot *s) {
    for (size_t i = 0; i < l->step->buffers.n; i++)
        if (l->step->buffers.at[i]->slot == s && !l->step->buffers.at[i]->same) return home_plain(l, l->step->buffers.at[i]);
    Buffer *b = step_buffer(l->arena, l->step, s->name, s->type->elem, s->type->rank, s->type->dim, s->loc);
    b->place = slot_in_frame(s) ? PLACE_SLOT : PLACE_FIELD;
    b->slot = s;
    return home_plain(l, b);
}

static bool lower_func(PassCtx *c, LoopsProgram *p, Func *f) {
    Lower lower = {.ctx = c, .arena = p->arena, .func = f}, *l = &lower;
    Step *s = l->step = arena_make(l->arena, Step);
    Nodes nodes = {0};
    s->func = f;
    s->batch_bound = f->batch_bound;
    l->nodes = &nodes;
    l->home = arena_make_n(l->arena, Home *, (size_t)f->n_values + 1);
    l->maxima = arena_make_n(l->arena, Buffer *, (size_t)f->n_values + 1);
    l->uses = func_count_uses(l->arena, f);
    l->place = arena_make_n(l->arena, int, (size_t)f->n_values + 1);
    l->local_table = arena_make_n(l->arena, Home *, (size_t)f->n_values + 1);
    l->keep_table = arena_make_n(l->arena, bool, (size_t)f->n_values + 1);
    if (f->batch_bound) s->batch = low_var(l, VAR_BATCH, "B", 1, f->batch_bound);
    Target *targets = arena_make_n(l->arena, Target, f->body->results.n);
    for (size_t i = 0; i < f->body->params.n; i++) l->home[f->body->params.at[i]->id] = slot_home(l, f->in_slots.at[i]);
    for (size_t i = 0; i < f->body->results.n; i++) {
        targets[i].home = slot_home(l, f->out_slots.at[i]);
        for (size_t k = 0; k < f->body->params.n; k++)
            if (f->in_slots.at[k] == f->out_slots.at[i]) targets[i].old = f->body->params.at[k];
    }
    lower_block(l, f->body, targets);
    if (nodes.n && nodes.at[nodes.n - 1]->kind == STEP_BARRIER) nodes.n--; /* the end of the step is one */
    for (size_t i = 0; i < nodes.n; i++) vec_push(l->arena, &s->nodes, nodes.at[i]);
    plan_drop_unused(s); /* of attempts to write in place that failed, and parameters that nobody reads */
    vec_push(l->arena, &p->steps, s);
    return !l->failed;
}

LoopsProgram *pass_lower(PassCtx *c, Module *m) {
    LoopsProgram *p = arena_make(c->arena, LoopsProgram);
    bool ok = true;
    p->module = m;
    p->arena = c->arena;
    for (size_t i = 0; i < m->funcs.n; i++) ok &= lower_func(c, p, m->funcs.at[i]);
    return ok ? p : NULL;
}
