/*
 * lower_control.c - scan and while: loops of the step, with kernels inside.
 *
 * Each carried value has a buffer of its own, which is filled before the loop and which the kernels of the body overwrite as a function's kernels
 * overwrite its slots. A slice is read where it lies in the whole tensor, a yield is written where it belongs in the stack: both are homes with one axis
 * fixed at the turn.
 *
 *   %h, %ys = scan %h0, %xs ... { ... }      kernel @copy { h = h0 }
 *                                            loop t in 0..28 { kernels: read h, xs[.., t, ..]; write h, ys[.., t, ..] }
 */
#include "passes/lower.h"

/* The part of buffer b at `at` of axis `axis`: the home of a value with one axis less. */
static Home *slice_home(Lower *l, const Home *whole, int64_t axis, const Affine *at) {
    Home *h = arena_make(l->arena, Home);
    h->buffer = whole->buffer;
    for (int i = 0; i < whole->buffer->rank; i++) {
        int a = whole->axis[i];
        h->index[i] = a == axis ? at : whole->index[i];
        h->axis[i] = a == axis || a < 0 ? -1 : a - (a > axis);
    }
    return h;
}

/* A value that has no memory gets some: a constant that is carried or counted. */
static Home *home_in_memory(Lower *l, Value *v) {
    Home *h = l->home[v->id];
    if (h && h->buffer) return h;
    h = home_plain(l, low_buffer(l, v));
    const Value *from = v;
    lower_copies(l, 1, &from, &h, l->func->loc);
    return l->home[v->id] = h;
}

static void fill_carried(Lower *l, int n, Value *const *init, Home **homes, Loc loc) {
    const Value **from = arena_make_n(l->arena, const Value *, (size_t)n);
    for (int i = 0; i < n; i++) {
        from[i] = init[i];
        homes[i] = home_plain(l, low_buffer(l, init[i]));
    }
    lower_copies(l, n, from, homes, loc);
}

/* Kernels go into the loop until loop_end. */
static StepNode *loop_begin(Lower *l, StepNodeKind kind, Loc loc, Nodes *inside, Nodes **outside) {
    StepNode *k = arena_make(l->arena, StepNode);
    k->kind = kind;
    k->loc = loc;
    *outside = l->nodes;
    l->nodes = inside;
    return k;
}

static void loop_end(Lower *l, StepNode *k, Nodes *outside) {
    low_barrier(l); /* the next turn reads what this one wrote */
    for (size_t i = 0; i < l->nodes->n; i++) vec_push(l->arena, &k->nodes, l->nodes->at[i]);
    l->nodes = outside;
    vec_push(l->arena, l->nodes, k);
    low_barrier(l);
}

void lower_scan(Lower *l, const Op *op) {
    const Block *b = op->blocks[0];
    const int64_t *axes, *yaxes;
    int carry = (int)op_int(op, A_carry);
    int64_t n_xs = op_ints(op, A_axes, &axes), n_ys = op_ints(op, A_yaxes, &yaxes), trip = op_int(op, A_trip);
    Home **carried = arena_make_n(l->arena, Home *, (size_t)carry);
    for (int64_t i = 0; i < n_xs; i++) home_in_memory(l, op->in[carry + i]);
    Home *count = trip < 0 ? home_in_memory(l, op->in[op->n_in - 1]) : NULL;
    fill_carried(l, carry, op->in, carried, op->loc);
    Nodes inside = {0}, *outside;
    StepNode *k = loop_begin(l, STEP_LOOP, op->loc, &inside, &outside);
    /* with a count that is known when it runs, slices and stacks have a batch axis: the most turns are the bound */
    int64_t most = trip < 0 ? INT32_MAX : trip;
    k->var = low_var(l, VAR_LOOP, "t", 0, most > 0 ? most - 1 : 0);
    k->trip = trip < 0 ? NULL : low_number(l, trip);
    k->count = count ? count->buffer : NULL;
    const Affine *t = affine_var(l->arena, k->var);
    if (op_int(op, A_reverse)) {
        if (trip < 0) { /* the number of turns as an index: all stacked axes have it, and so has every sliced one */
            Dim d = {1, true};
            if (n_xs) d = op->in[carry]->type->dim[axes[0]];
            t = affine_add_constant(l->arena, affine_add(l->arena, low_dim(l, d), affine_scale(l->arena, t, -1)), -1);
        } else {
            t = affine_add_constant(l->arena, affine_scale(l->arena, t, -1), trip - 1);
        }
    }
    Home *turn = arena_make(l->arena, Home);
    turn->number = t;
    l->home[b->params.at[0]->id] = turn;
    for (int i = 0; i < carry; i++) l->home[b->params.at[1 + i]->id] = carried[i];
    for (int64_t i = 0; i < n_xs; i++) l->home[b->params.at[1 + carry + i]->id] = slice_home(l, l->home[op->in[carry + i]->id], axes[i], t);
    Target *targets = arena_make_n(l->arena, Target, b->results.n);
    for (int i = 0; i < carry; i++) targets[i] = (Target){carried[i], b->params.at[1 + i]};
    for (int64_t i = 0; i < n_ys; i++) {
        Home *stack = home_plain(l, low_buffer(l, op->out[carry + i]));
        l->home[op->out[carry + i]->id] = stack;
        targets[carry + i] = (Target){slice_home(l, stack, yaxes[i], t), NULL};
    }
    lower_block(l, b, targets);
    loop_end(l, k, outside);
    for (int i = 0; i < carry; i++) l->home[op->out[i]->id] = carried[i];
}

static void forget_homes(Lower *l, const Block *b) {
    for (const Op *op = b->first; op; op = op->next) {
        for (int i = 0; i < op->n_out; i++) l->home[op->out[i]->id] = NULL;
        for (int i = 0; i < op->n_blocks; i++) forget_homes(l, op->blocks[i]);
    }
}

/* The condition is computed before the loop and at the end of every turn. */
static void write_condition(Lower *l, const Block *cond, Home *const *carried, Home *to) {
    forget_homes(l, cond);
    for (size_t i = 0; i < cond->params.n; i++) l->home[cond->params.at[i]->id] = carried[i];
    Target target = {to, NULL};
    lower_block(l, cond, &target);
}

void lower_while(Lower *l, const Op *op) {
    const Block *cond = op->blocks[0], *body = op->blocks[1];
    Home **carried = arena_make_n(l->arena, Home *, (size_t)op->n_in);
    fill_carried(l, op->n_in, op->in, carried, op->loc);
    Home *go = home_plain(l, low_buffer(l, cond->results.at[0]));
    write_condition(l, cond, carried, go);
    Nodes inside = {0}, *outside;
    StepNode *k = loop_begin(l, STEP_WHILE, op->loc, &inside, &outside);
    k->count = go->buffer;
    k->max = op_int(op, A_max);
    Target *targets = arena_make_n(l->arena, Target, body->results.n);
    for (int i = 0; i < op->n_in; i++) {
        l->home[body->params.at[i]->id] = carried[i];
        targets[i] = (Target){carried[i], body->params.at[i]};
    }
    lower_block(l, body, targets);
    write_condition(l, cond, carried, go);
    loop_end(l, k, outside);
    for (int i = 0; i < op->n_in; i++) l->home[op->out[i]->id] = carried[i];
}
