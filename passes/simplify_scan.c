/*
 * simplify_scan.c - what does not vary from turn to turn leaves a scan.
 *
 *   carried and never changed    the parameter is the initial value            sliced twice alike     one slice
 *   computed of outer values     computed once, in front                       stacked twice alike    one stack
 *   stacked outer values         repeated, outside                             one turn               written out
 *
 * Ops that cost next to nothing (constants, broadcasts, indices) stay inside, where they fuse with their readers, unless
 * something that leaves needs them. Ops that may stop the program (indices, integer division) leave only a scan that surely
 * turns.
 */
#include "scan.h"
#include "simplify.h"

#include <string.h>

static int64_t carried(const Op *op) { return op_int(op, A_carry); }

/* ---- carried values that never change ---- */

static bool fixed_carries(Simplify *s, Op *op) {
    Block *b = op->blocks[0];
    bool any = false;
    for (int64_t k = 0; k < carried(op); k++) {
        Value *p = b->params.at[k + 1], *r = simplify_now(s, b->results.at[k]), *init = op->in[k];
        if (r != p && r != init) continue;
        if (r == init && simplify_now(s, p) == init && simplify_now(s, op->out[k]) == init) continue; /* done */
        simplify_replace(s, p, init);
        simplify_replace(s, op->out[k], init);
        b->results.at[k] = init;
        any = true;
    }
    return any;
}

/* ---- the same slice, the same stack ---- */

static bool same_slices(Simplify *s, Op *op) {
    Block *b = op->blocks[0];
    const int64_t *axes;
    int64_t n = op_ints(op, A_axes, &axes), c = carried(op);
    bool any = false;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++) {
            Value *p = b->params.at[1 + c + i], *q = b->params.at[1 + c + j];
            if (op->in[c + i] != op->in[c + j] || axes[i] != axes[j] || simplify_now(s, p) != p) continue;
            simplify_replace(s, p, q);
            any = true;
            break;
        }
    return any;
}

static bool same_stacks(Simplify *s, Op *op) {
    Block *b = op->blocks[0];
    const int64_t *yaxes;
    int64_t n = op_ints(op, A_yaxes, &yaxes), c = carried(op);
    bool any = false;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++) {
            if (b->results.at[c + i] != b->results.at[c + j] || yaxes[i] != yaxes[j] ||
                simplify_now(s, op->out[c + i]) != op->out[c + i])
                continue;
            simplify_replace(s, op->out[c + i], op->out[c + j]);
            any = true;
            break;
        }
    return any;
}

/* A stacked value from outside is that value repeated. */
static bool fixed_stacks(Simplify *s, Op *op) {
    Block *b = op->blocks[0];
    const int64_t *yaxes;
    int64_t n = op_ints(op, A_yaxes, &yaxes), c = carried(op);
    bool any = false;
    for (int64_t i = 0; i < n; i++) {
        Value *v = simplify_now(s, b->results.at[c + i]), *out = op->out[c + i];
        if (value_inside(op, v) || simplify_now(s, out) != out) continue;
        int64_t axes[MAX_RANK];
        for (int k = 0; k < v->type->rank; k++) axes[k] = k + (k >= yaxes[i]);
        simplify_replace(s, out, g_broadcast(&s->b, v, out->type->rank, out->type->dim, axes));
        any = true;
    }
    return any;
}

/* ---- what can be computed once ---- */

static bool may_stop(const Op *op) {
    switch ((int)op->code) {
    case OP_take:
    case OP_take_add:
    case OP_gather:
    case OP_scatter_add:
    case OP_dynamic_slice:
    case OP_dynamic_update: return true;
    case OP_floor_div:
    case OP_mod: return elem_is_int(op->out[0]->type->elem);
    default: return op->n_blocks > 0;
    }
}

static bool is_cheap(OpCode code) {
    return code == OP_constant || code == OP_iota || code == OP_broadcast || code == OP_batch || code == OP_literal ||
           code == OP_uniform;
}

typedef struct Moves {
    const Op *scan;
    Simplify *s;
    const bool *fixed; /* by id: made inside of outer values alone */
} Moves;

/* Moves the op that makes v, and what that needs, in front of the scan. */
static void move_out(Moves *m, Value *v) {
    if (!v->def || v->block != m->scan->blocks[0]) return;
    for (int i = 0; i < v->def->n_in; i++) move_out(m, v->def->in[i]);
    op_move_before(v->def, (Op *)m->scan);
}

static bool outer_or_fixed(const Moves *m, const Value *v) { return !value_inside(m->scan, v) || m->fixed[v->id]; }

static bool invariants(Simplify *s, Op *scan) {
    bool *fixed = arena_make_n(s->scratch, bool, (size_t)s->func->n_values), turns = op_int(scan, A_trip) > 0, any = false;
    Moves m = {scan, s, fixed};
    for (Op *op = scan->blocks[0]->first, *next; op; op = next) {
        next = op->next;
        if (op->code == OP_grad || (may_stop(op) && !turns)) continue;
        bool ok = true;
        for (int i = 0; i < op->n_in && ok; i++) ok = outer_or_fixed(&m, op->in[i]);
        if (op->n_blocks) {
            Values captured = op_captures(s->scratch, op);
            for (size_t i = 0; i < captured.n && ok; i++) ok = outer_or_fixed(&m, captured.at[i]);
            for (size_t i = 0; i < captured.n && ok; i++)
                ok = !value_inside(scan, captured.at[i]); /* cheap ones would have to be moved for it */
        }
        if (!ok) continue;
        for (int i = 0; i < op->n_out; i++) fixed[op->out[i]->id] = true;
        if (is_cheap(op->code)) continue;
        for (int i = 0; i < op->n_in; i++) move_out(&m, op->in[i]);
        op_move_before(op, scan);
        any = true;
    }
    return any;
}

/* ---- one turn ---- */

/* trip 1: the body is the program. Slices are at place 0. */
static bool one_turn(Simplify *s, Op *op) {
    if (op_int(op, A_trip) != 1) return false;
    Block *b = op->blocks[0];
    const int64_t *axes, *yaxes;
    int64_t c = carried(op), n_xs = op_ints(op, A_axes, &axes);
    op_ints(op, A_yaxes, &yaxes);
    simplify_replace(s, b->params.at[0], g_constant(&s->b, type_scalar(I32), 0));
    for (int64_t k = 0; k < c; k++) simplify_replace(s, b->params.at[k + 1], op->in[k]);
    for (int64_t k = 0; k < n_xs; k++) {
        Value *p = b->params.at[1 + c + k];
        simplify_replace(s, p, g_reshape(&s->b, op->in[c + k], p->type->rank, p->type->dim));
    }
    while (b->first) op_move_before(b->first, op);
    /* results: outer users see the body's values, as they will be when the moved ops have been looked at */
    for (int i = 0; i < op->n_out; i++) {
        Value *v = b->results.at[i], *out = op->out[i];
        simplify_replace(s, out, i < c ? v : g_reshape(&s->b, v, out->type->rank, out->type->dim));
    }
    op_remove(op);
    return true;
}

bool simplify_scan(Simplify *s, Op *op) {
    if (one_turn(s, op)) return true;
    bool any = invariants(s, op);
    any |= fixed_carries(s, op);
    any |= same_slices(s, op);
    any |= same_stacks(s, op);
    any |= fixed_stacks(s, op);
    return any;
}
