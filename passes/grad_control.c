/*
 * grad_control.c - the gradient of scan: another scan that runs the other way.
 *
 *   forward   for t:  c' , y = body(t, c, x_t, w)        c carried, x_t slices, y stacked, w captured from outside
 *   backward  for t, the other way:
 *             dc, dx_t, dw += gradient of body at (dc', dy_t)
 *             carried: dc and the sums dw; slices: dy_t, x_t and what was kept; stacked: dx_t
 *
 * The backward body is first written as though the values of the forward body stood beside it. Then every forward value that it
 * uses is provided:
 *   - t is t, slices x_t are sliced again, and what lies outside the loop (what does not vary with t) is simply used;
 *   - carried values are kept: the forward scan stacks them, the backward scan slices them;
 *   - what is dear to compute (products, sums, transcendental functions, inner loops, ...) is kept likewise;
 *   - what is cheap is computed again from these, unless that would make more numbers to keep than the value itself has.
 * The number of ops does not depend on the number of turns.
 */
#include "grad.h"
#include "scan.h"

#include <string.h>

typedef struct ScanGrad {
    GradCtx *c; /* around the scan */
    GradCtx in; /* in the backward body */
    Op *op;     /* the forward scan; results are added to it */
    Block *fwd, *back;
    int64_t carry, n_xs;
    Scan scan;            /* its parts */
    bool *active;         /* [carry]: a cotangent may come back through it */
    Value **dcarry;       /* [carry]: the parameter that brings it */
    Values sums;          /* captured values that want a gradient, */
    Values dsums;         /* ... and the parameters that bring their sums */
    Values params;        /* slices of the backward body, with */
    Values stacked;       /* ... what each is a slice of, */
    Vec(int64_t) axes;    /* ... and along which axis */
    Vec(int64_t) dx_axes; /* where the cotangents of the slices are stacked */
} ScanGrad;

/* ---- which carried values bring something back ---- */

/* Marks what the reached values of the block depend on, as far as it is wanted. */
static void reach_back(const ScanGrad *s, bool *reached) {
    for (Op *op = s->fwd->last; op; op = op->prev) {
        bool any = false;
        for (int i = 0; i < op->n_out && !any; i++) any = reached[op->out[i]->id];
        if (!any) continue;
        for (int i = 0; i < op->n_in; i++) reached[op->in[i]->id] |= gr_wanted(s->c, op->in[i]);
        Values captured = op_captures(s->c->scratch, op);
        for (size_t i = 0; i < captured.n; i++) reached[captured.at[i]->id] |= gr_wanted(s->c, captured.at[i]);
    }
}

static void find_active(ScanGrad *s) {
    bool *reached = arena_make_n(s->c->scratch, bool, (size_t)s->c->b.func->n_values);
    for (int i = 0; i < s->op->n_out; i++)
        if (gr_of(s->c, s->op->out[i])) reached[s->fwd->results.at[i]->id] = true;
    for (int64_t k = 0; k < s->carry; k++) s->active[k] = gr_of(s->c, s->op->out[k]) != NULL;
    for (bool again = true; again;) {
        again = false;
        reach_back(s, reached);
        for (int64_t k = 0; k < s->carry; k++) {
            if (s->active[k] || !reached[s->fwd->params.at[k + 1]->id]) continue;
            s->active[k] = again = true;
            reached[s->fwd->results.at[k]->id] = true;
        }
    }
}

/* ---- parameters of the backward body ---- */

/* A new parameter. They come in the order of need; order_params puts them in that of the rule. */
static Value *param(ScanGrad *s, const Type *t, const char *name) { return block_param(s->back, t, name); }

static Value *slice_param(ScanGrad *s, Value *whole, int64_t axis, const Type *t, const char *name) {
    Value *v = param(s, t, name);
    vec_push(s->c->scratch, &s->params, v);
    vec_push(s->c->scratch, &s->stacked, whole);
    vec_push(s->c->scratch, &s->axes, axis);
    return v;
}

static void order_params(ScanGrad *s, Value *t) {
    Block *b = s->back;
    b->params.n = 0;
    vec_push(s->c->arena, &b->params, t);
    for (int64_t k = 0; k < s->carry; k++)
        if (s->active[k]) vec_push(s->c->arena, &b->params, s->dcarry[k]);
    for (size_t i = 0; i < s->dsums.n; i++) vec_push(s->c->arena, &b->params, s->dsums.at[i]);
    for (size_t i = 0; i < s->params.n; i++) vec_push(s->c->arena, &b->params, s->params.at[i]);
    for (size_t i = 0; i < b->params.n; i++) b->params.at[i]->index = (int)i;
}

static const char *d_name(const Value *v) { return v->name ? intern_printf("d_%s", v->name) : NULL; }

/* The cotangents that come in: those of the carried values after the turn, those of what the turn yielded, and the sums so far.
 */
static void seed(ScanGrad *s) {
    const int64_t *yaxes;
    op_ints(s->op, A_yaxes, &yaxes);
    for (int64_t k = 0; k < s->carry; k++) {
        if (!s->active[k]) continue;
        s->dcarry[k] = param(s, s->fwd->params.at[k + 1]->type, d_name(s->fwd->params.at[k + 1]));
    }
    Values captured = op_captures(s->c->scratch, s->op);
    for (size_t i = 0; i < captured.n; i++) {
        Value *w = captured.at[i];
        if (!gr_wanted(s->c, w)) continue;
        vec_push(s->c->scratch, &s->sums, w);
        vec_push(s->c->scratch, &s->dsums, param(s, w->type, d_name(w)));
        gr_set(&s->in, w, s->dsums.at[s->dsums.n - 1]);
    }
    for (int64_t k = 0; k < s->carry; k++)
        if (s->active[k]) gr_give(&s->in, s->fwd->results.at[k], s->dcarry[k]);
    for (int i = (int)s->carry; i < s->op->n_out; i++) {
        Value *dy = gr_of(s->c, s->op->out[i]), *y = s->fwd->results.at[i];
        if (dy) gr_give(&s->in, y, slice_param(s, dy, yaxes[i - s->carry], y->type, d_name(y)));
    }
}

/* Captured values that the body gave nothing are dropped again. */
static void drop_idle_sums(ScanGrad *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->sums.n; i++) {
        if (gr_of(&s->in, s->sums.at[i]) == s->dsums.at[i]) continue;
        s->sums.at[n] = s->sums.at[i];
        s->dsums.at[n++] = s->dsums.at[i];
    }
    s->sums.n = s->dsums.n = n;
}

/* ---- what is kept, what is computed again ---- */

/* Is the op's answer worth keeping? Draws are not: they are drawn again where they are used. */
static bool is_dear(const Op *op) {
    if (op_is_function(op->code)) return true;
    switch ((int)op->code) {
    case OP_uniform:
    case OP_constant:
    case OP_literal:
    case OP_iota:
    case OP_batch: return false;
    case OP_broadcast:
    case OP_reshape:
    case OP_transpose:
    case OP_slice:
    case OP_pad:
    case OP_concat:
    case OP_reverse: return false;
    case OP_take:
    case OP_gather:
    case OP_dynamic_slice: return false;
    default: return !op_info[op->code].elementwise;
    }
}

/* Numbers a turn that computing v again would make us keep, beyond what is needed already; stops counting at `limit`. */
static int64_t price(const ScanGrad *s, const bool *needed, bool *seen, const Value *v, int64_t limit) {
    if (v->block != s->fwd || needed[v->id] || seen[v->id]) return 0;
    seen[v->id] = true;
    if (!v->def) { /* carried values are kept; t and slices are there */
        bool carried = v->index >= 1 && v->index <= s->carry;
        return carried ? type_count(v->type, 1) : 0;
    }
    if (is_dear(v->def)) return type_count(v->type, 1);
    int64_t sum = 0;
    for (int i = 0; i < v->def->n_in && sum <= limit; i++) sum += price(s, needed, seen, v->def->in[i], limit);
    return sum;
}

static bool keep(const ScanGrad *s, const bool *needed, const Op *op) {
    for (int i = 0; i < op->n_out; i++)
        if (needed[op->out[i]->id] && scan_stack_axis(&s->scan, op->out[i]->type) < 0) return false;
    if (is_dear(op)) return true;
    int64_t own = type_count(op->out[0]->type, 1), sum = 0;
    Arena *scratch = arena_new();
    bool *seen = arena_make_n(scratch, bool, (size_t)s->c->b.func->n_values);
    for (int i = 0; i < op->n_in && sum <= own; i++) sum += price(s, needed, seen, op->in[i], own);
    arena_free(scratch);
    return sum > own;
}

/* Provides a forward value as a slice of what was kept. */
static void provide_kept(ScanGrad *s, Value **map, Value *v) {
    int64_t axis;
    Value *whole = scan_stack(s->c->arena, &s->scan, v, &axis);
    map[v->id] = slice_param(s, whole, axis, v->type, v->name);
}

static void need_block(const ScanGrad *s, bool *needed, const Block *b) {
    for (const Op *op = b->first; op; op = op->next) {
        for (int i = 0; i < op->n_in; i++) needed[op->in[i]->id] |= op->in[i]->block == s->fwd;
        for (int i = 0; i < op->n_blocks; i++) need_block(s, needed, op->blocks[i]);
    }
    for (size_t i = 0; i < b->results.n; i++) needed[b->results.at[i]->id] |= b->results.at[i]->block == s->fwd;
}

static void rename_block(Block *b, const Block *fwd, Value *const *map) {
    for (Op *op = b->first; op; op = op->next) {
        for (int i = 0; i < op->n_in; i++)
            if (op->in[i]->block == fwd) op->in[i] = map[op->in[i]->id];
        for (int i = 0; i < op->n_blocks; i++) rename_block(op->blocks[i], fwd, map);
    }
    for (size_t i = 0; i < b->results.n; i++)
        if (b->results.at[i]->block == fwd) b->results.at[i] = map[b->results.at[i]->id];
}

/* Why a value that the loop carries has no tensor over all turns. */
static const char *not_kept(const Scan *s, const Type *t) {
    if (!s->stacks) return "the number of its turns is known only when it runs, so that what it carries cannot be kept";
    if (t->rank == MAX_RANK)
        return intern_printf("what it carries would have to be kept for every turn, and %s has as many axes as a tensor can have",
                             type_name(t));
    double n = (double)s->turns.n;
    for (int i = 0; i < t->rank; i++) n *= (double)t->dim[i].n;
    if (n > 0x1p40)
        return intern_printf("what it carries would have to be kept for every turn: %s, %s times, is more than 2^40 elements",
                             type_name(t), dim_text(s->turns));
    return "along the batch, a carried value that holds the batch would have to be kept for every sample";
}

/* Parameters of the forward body, for the backward one. */
static void provide_params(ScanGrad *s, const bool *needed, Value **map, Value *t) {
    const int64_t *axes;
    op_ints(s->op, A_axes, &axes);
    map[s->fwd->params.at[0]->id] = t;
    for (int64_t k = 1; k < (int64_t)s->fwd->params.n; k++) {
        Value *v = s->fwd->params.at[k];
        if (!needed[v->id]) continue;
        if (k > s->carry)
            map[v->id] = slice_param(s, s->op->in[k - 1], axes[k - 1 - s->carry], v->type, v->name);
        else if (scan_stack_axis(&s->scan, v->type) >= 0)
            provide_kept(s, map, v);
        else {
            gr_fault(s->c, s->op, not_kept(&s->scan, v->type));
            map[v->id] = v;
        }
    }
}

/* Makes every forward value that the backward body uses available there. */
static void provide(ScanGrad *s, Value *t) {
    Func *f = s->c->b.func;
    bool *needed = arena_make_n(s->c->scratch, bool, (size_t)f->n_values);
    Value **map = arena_make_n(s->c->scratch, Value *, (size_t)f->n_values);
    need_block(s, needed, s->back);
    Vec(Op *) again = {0};
    for (Op *op = s->fwd->last; op; op = op->prev) {
        bool any = false;
        for (int i = 0; i < op->n_out && !any; i++) any = needed[op->out[i]->id];
        if (!any) continue;
        if (keep(s, needed, op)) {
            for (int i = 0; i < op->n_out; i++)
                if (needed[op->out[i]->id]) provide_kept(s, map, op->out[i]);
            continue;
        }
        vec_push(s->c->scratch, &again, op);
        for (int i = 0; i < op->n_in; i++) needed[op->in[i]->id] |= op->in[i]->block == s->fwd;
        Values captured = op_captures(s->c->scratch, op);
        for (size_t i = 0; i < captured.n; i++) needed[captured.at[i]->id] |= captured.at[i]->block == s->fwd;
    }
    provide_params(s, needed, map, t);
    Builder b = {.arena = s->c->arena, .func = f, .block = s->back, .before = s->back->first};
    for (size_t i = again.n; i-- > 0;) op_clone(&b, again.at[i], map)->loc.what = intern("computed again");
    rename_block(s->back, s->fwd, map);
}

/* ---- the backward scan ---- */

/* What the body gives: cotangents of the carried values before the turn, sums, cotangents of the slices. */
static void write_results(ScanGrad *s, Values *dxs) {
    Arena *a = s->c->arena;
    const int64_t *axes;
    op_ints(s->op, A_axes, &axes);
    for (int64_t k = 0; k < s->carry; k++) {
        if (!s->active[k]) continue;
        Value *v = s->fwd->params.at[k + 1], *g = gr_of(&s->in, v);
        vec_push(a, &s->back->results, g ? g : gr_like(&s->in, v, 0));
    }
    for (size_t i = 0; i < s->sums.n; i++) vec_push(a, &s->back->results, gr_of(&s->in, s->sums.at[i]));
    for (int64_t k = 0; k < s->n_xs; k++) {
        Value *g = gr_of(&s->in, s->fwd->params.at[1 + s->carry + k]);
        if (!g || !gr_wanted(s->c, s->op->in[s->carry + k])) continue;
        vec_push(a, &s->back->results, g);
        vec_push(s->c->scratch, dxs, s->op->in[s->carry + k]);
        vec_push(s->c->scratch, &s->dx_axes, axes[k]);
    }
}

static Op *make_back(ScanGrad *s) {
    GradCtx *c = s->c;
    Values in = {0};
    for (int64_t k = 0; k < s->carry; k++) {
        if (!s->active[k]) continue;
        Value *g = gr_of(c, s->op->out[k]);
        vec_push(c->scratch, &in, g ? g : gr_like(c, s->op->out[k], 0));
    }
    for (size_t i = 0; i < s->sums.n; i++) vec_push(c->scratch, &in, gr_like(c, s->sums.at[i], 0));
    int64_t carry = (int64_t)in.n;
    for (size_t i = 0; i < s->stacked.n; i++) vec_push(c->scratch, &in, s->stacked.at[i]);
    int64_t trip = op_int(s->op, A_trip);
    if (trip < 0) vec_push(c->scratch, &in, s->op->in[s->op->n_in - 1]);
    Attr attrs[] = {attr_i(A_carry, carry), attr_ints(c->arena, A_axes, s->axes.at, (int64_t)s->axes.n),
                    attr_ints(c->arena, A_yaxes, s->dx_axes.at, (int64_t)s->dx_axes.n),
                    attr_i(A_reverse, !op_int(s->op, A_reverse)), attr_i(A_trip, trip)};
    return op_make_full(&c->b, OP_scan, (int)in.n, in.at, 5, attrs, 1, &s->back, (int)s->back->results.n, NULL);
}

/* Hands the results to whom they belong. */
static void give_results(ScanGrad *s, const Op *back, const Values *dxs) {
    int at = 0;
    for (int64_t k = 0; k < s->carry; k++)
        if (s->active[k]) gr_give(s->c, s->op->in[k], back->out[at++]);
    for (size_t i = 0; i < s->sums.n; i++) gr_give(s->c, s->sums.at[i], back->out[at++]);
    for (size_t i = 0; i < dxs->n; i++) gr_give(s->c, dxs->at[i], back->out[at++]);
}

void grad_scan(GradCtx *c, Op *op, Value *const *dy) {
    (void)dy; /* find_active and seed look them up */
    ScanGrad s = {.c = c,
                  .op = op,
                  .fwd = op->blocks[0],
                  .carry = op_int(op, A_carry),
                  .n_xs = op_ints(op, A_axes, NULL),
                  .scan = scan_of(op)};
    s.back = block_new(c->b.func, NULL);
    s.in = gr_inside(c, s.back);
    s.active = arena_make_n(c->scratch, bool, (size_t)s.carry);
    s.dcarry = arena_make_n(c->scratch, Value *, (size_t)s.carry);
    Value *t = param(&s, type_scalar(I32), s.fwd->params.at[0]->name);
    find_active(&s);
    seed(&s);
    gr_run(&s.in, s.fwd->last);
    c->failed |= s.in.failed;
    drop_idle_sums(&s);
    Values dxs = {0};
    write_results(&s, &dxs);
    if (s.back->results.n == 0 || c->failed) return;
    provide(&s, t);
    if (c->failed) return;
    order_params(&s, t);
    give_results(&s, make_back(&s), &dxs);
}
