/*
 * lower_control.c - scan and while: loops of the step, with kernels inside.
 *
 * A slice is read where it lies in the whole tensor, a yield is written where it belongs in the stack: both are homes with one
 * axis fixed at the turn. A carried value has a buffer of its own, which is filled before the loop and which the kernels of the
 * body overwrite as a function's kernels overwrite its slots. But a carried value that is yielded, too (as what a turn begins
 * with, or what it ends with), lives in the stack: one place more than there are turns, place t is what turn t begins with, and
 * place t + 1 what it ends with. Nothing is copied.
 *
 *   %h, %ys = scan %h0, %xs, carry=1 {       kernel @copy { hs[0] = h0 }
 *     block (%t, %c, %x)                     loop t in 0..28 {
 *     %n = ... %c ... %x                       kernel: hs[t + 1] = ... hs[t] ... xs[.., t, ..]
 *     yield %n, %n }                         }                                            %ys is hs from 1 on, %h is hs[28]
 */
#include "passes/lower.h"

/* The part of `whole` at `at` of axis `axis`: the home of a value with one axis less. */
static Home *slice_home(Lower *l, const Home *whole, int64_t axis, const Affine *at) {
    Home *h = arena_make(l->arena, Home);
    h->buffer = whole->buffer;
    for (int i = 0; i < whole->buffer->rank; i++) {
        int a = whole->axis[i];
        h->offset[i] = whole->offset[i];
        h->index[i] = a == axis ? affine_add_constant(l->arena, at, whole->offset[i]) : whole->index[i];
        h->axis[i] = a == axis || a < 0 ? -1 : a - (a > axis);
    }
    return h;
}

/* A value that has no memory (of its own alone) gets some: a constant that is sliced or counted. */
static Home *home_in_memory(Lower *l, Value *v, bool alone) {
    Home *h = l->home[v->id];
    if (h && h->buffer && (!alone || home_is_whole(h, v->type))) return h;
    h = home_plain(l, low_buffer(l, v));
    const Value *from = v;
    lower_copies(l, 1, &from, &h, l->func->loc);
    return l->home[v->id] = h;
}

/* Writes the first values of what is carried. */
static void fill_carried(Lower *l, int n, Value *const *init, Home *const *homes, Loc loc) {
    const Value **from = arena_make_n(l->arena, const Value *, (size_t)n);
    for (int i = 0; i < n; i++) from[i] = init[i];
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

/* What a carried value of a scan is read from and written to. */
typedef struct Carried {
    Home *first, *before, *after, *last; /* where it lies before the loop, at the begin and end of a turn, behind the loop */
} Carried;

typedef struct Scan {
    const Op *op;
    const Block *block;
    int carry;
    int64_t n_xs, n_ys, trip;
    const int64_t *axes, *yaxes;
    bool reverse;
    const Affine *t; /* the turn's place in what is sliced and stacked */
    Carried *carried;
    Target *targets;
} Scan;

/* A yield that is carried value i at the begin (or, *after, at the end) of its turn; -1: none. */
static int64_t find_yield(const Scan *s, int i, int64_t from, bool *after) {
    for (int64_t j = from; j < s->n_ys; j++) {
        const Value *y = s->block->results.at[s->carry + j];
        *after = y == s->block->results.at[i];
        if (*after || y == s->block->params.at[1 + i]) return j;
    }
    return -1;
}

/* A stack of turns along `axis` of the buffer, which are axis `turns` of the value. */
static Home *turned_home(Lower *l, Buffer *stack, int64_t axis, int64_t turns) {
    Home *h = home_plain(l, stack);
    for (int k = 0; k < stack->rank; k++) {
        int of_turn = k - (k > axis); /* axis of the value of one turn */
        h->axis[k] = k == axis ? (int)turns : of_turn + (of_turn >= turns);
    }
    return h;
}

/* A stack with one place more than there are turns; yields that it holds lie in it, whichever axis of theirs the turns are. */
static Carried carried_in_stack(Lower *l, Scan *s, int i, int64_t yield) {
    const Value *v = s->op->in[i];
    int64_t axis = s->yaxes[yield];
    Dim dims[MAX_RANK + 1];
    bool after;
    for (int k = 0; k <= v->type->rank; k++) dims[k] = k == axis ? (Dim){s->trip + 1, false} : v->type->dim[k - (k > axis)];
    Buffer *b = step_buffer(l->arena, l->step, low_value_name(s->op->out[s->carry + yield]), v->type->elem, v->type->rank + 1,
                            dims, s->op->loc);
    Home *stack = home_plain(l, b);
    for (int64_t j = find_yield(s, i, yield, &after); j >= 0; j = find_yield(s, i, j + 1, &after)) {
        if (l->home[s->op->out[s->carry + j]->id]) continue;
        Home *h = turned_home(l, b, axis, s->yaxes[j]);
        h->offset[axis] = after != s->reverse;
        l->home[s->op->out[s->carry + j]->id] = h;
    }
    const Affine *next = affine_add_constant(l->arena, s->t, 1);
    const Affine *begin = low_number(l, 0), *end = low_number(l, s->trip);
    return (Carried){slice_home(l, stack, axis, s->reverse ? end : begin), slice_home(l, stack, axis, s->reverse ? next : s->t),
                     slice_home(l, stack, axis, s->reverse ? s->t : next), slice_home(l, stack, axis, s->reverse ? begin : end)};
}

static void place_carried(Lower *l, Scan *s) {
    for (int i = 0; i < s->carry; i++) {
        bool after;
        int64_t yield = s->trip >= 0 ? find_yield(s, i, 0, &after) : -1;
        while (yield >= 0 && l->home[s->op->out[s->carry + yield]->id]) yield = find_yield(s, i, yield + 1, &after);
        if (yield >= 0) {
            s->carried[i] = carried_in_stack(l, s, i, yield);
            s->targets[i] = (Target){s->carried[i].after, NULL};
        } else {
            Home *h = home_plain(l, low_buffer(l, s->op->in[i]));
            s->carried[i] = (Carried){h, h, h, h};
            s->targets[i] = (Target){h, s->block->params.at[1 + i]};
        }
        l->home[s->block->params.at[1 + i]->id] = s->carried[i].before;
    }
}

static void place_yields(Lower *l, Scan *s) {
    for (int64_t j = 0; j < s->n_ys; j++) {
        const Value *out = s->op->out[s->carry + j];
        if (l->home[out->id]) continue; /* in a carried value's stack */
        Home *stack = l->home[out->id] = home_plain(l, low_buffer(l, out));
        s->targets[s->carry + j] = (Target){slice_home(l, stack, s->yaxes[j], s->t), NULL};
    }
}

/* The place of turn `var` in what is sliced and stacked. With a count that is known when it runs all those axes have its length; without such axes it is
 * nobody's place. */
static const Affine *turn_place(Lower *l, const Scan *s, Var *var) {
    const Affine *t = affine_var(l->arena, var);
    if (!s->reverse || (s->trip < 0 && !s->n_xs && !s->n_ys)) return t;
    Dim d = s->trip >= 0 ? (Dim){s->trip, false} : (Dim){1, true};
    if (s->trip < 0 && s->n_xs) d = s->op->in[s->carry]->type->dim[s->axes[0]];
    return affine_add_constant(l->arena, affine_add(l->arena, low_dim(l, d), affine_scale(l->arena, t, -1)), -1);
}

void lower_scan(Lower *l, const Op *op) {
    Scan scan = {.op = op,
                 .block = op->blocks[0],
                 .carry = (int)op_int(op, A_carry),
                 .trip = op_int(op, A_trip),
                 .reverse = op_int(op, A_reverse)},
         *s = &scan;
    s->n_xs = op_ints(op, A_axes, &s->axes);
    s->n_ys = op_ints(op, A_yaxes, &s->yaxes);
    s->carried = arena_make_n(l->arena, Carried, (size_t)s->carry);
    s->targets = arena_make_n(l->arena, Target, s->block->results.n);
    for (int i = 0; i < op->n_out; i++) l->home[op->out[i]->id] = NULL;
    for (int64_t i = 0; i < s->n_xs; i++) home_in_memory(l, op->in[s->carry + i], false);
    Buffer *count = s->trip < 0 ? home_in_memory(l, op->in[op->n_in - 1], true)->buffer : NULL;
    int64_t most = s->trip < 0 ? INT32_MAX : s->trip;
    Var *var = low_var(l, VAR_LOOP, "t", 0, most > 0 ? most - 1 : 0);
    s->t = turn_place(l, s, var);
    place_carried(l, s);
    place_yields(l, s);
    Home **first = arena_make_n(l->arena, Home *, (size_t)s->carry);
    for (int i = 0; i < s->carry; i++) first[i] = s->carried[i].first;
    fill_carried(l, s->carry, op->in, first, op->loc);
    Nodes inside = {0}, *outside;
    StepNode *k = loop_begin(l, STEP_LOOP, op->loc, &inside, &outside);
    k->var = var;
    k->trip = s->trip < 0 ? NULL : low_number(l, s->trip);
    k->count = count;
    Home *turn = arena_make(l->arena, Home);
    turn->number = s->t;
    if (s->reverse && s->trip < 0 && !s->n_xs && !s->n_ys) { /* no axis says how many turns there are: count - 1 - t */
        turn->number = affine_add_constant(l->arena, affine_scale(l->arena, affine_var(l->arena, var), -1), -1);
        turn->plus = op->in[op->n_in - 1];
    }
    l->home[s->block->params.at[0]->id] = turn;
    for (int64_t i = 0; i < s->n_xs; i++)
        l->home[s->block->params.at[1 + s->carry + i]->id] = slice_home(l, l->home[op->in[s->carry + i]->id], s->axes[i], s->t);
    lower_block(l, s->block, s->targets);
    loop_end(l, k, outside);
    for (int i = 0; i < s->carry; i++) l->home[op->out[i]->id] = s->carried[i].last;
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
    for (int i = 0; i < op->n_in; i++) carried[i] = home_plain(l, low_buffer(l, op->in[i]));
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
