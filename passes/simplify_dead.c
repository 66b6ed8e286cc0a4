/*
 * simplify_dead.c - what nobody uses goes: ops, and of scans the stacks, carried values and slices.
 *
 *   %h, %c, %y = scan %h0, %c0, %x carry 2 ...  with %y unused and %c only ever used to make the next %c
 *   =>  %h = scan %h0, %x carry 1 ...
 *
 * Ops are pure, so that an unused one can go; a fault that it would have had at run time (an index outside) goes with it.
 */
#include "simplify.h"

#include <string.h>

typedef struct Dead {
    Arena *arena, *scratch;
    Func *func;
    int *uses;
    bool changed;
} Dead;

static void drop_uses(Dead *d, const Op *op) {
    for (int i = 0; i < op->n_in; i++) d->uses[op->in[i]->id]--;
    for (int i = 0; i < op->n_blocks; i++) {
        const Block *b = op->blocks[i];
        for (const Op *inner = b->first; inner; inner = inner->next) drop_uses(d, inner);
        for (size_t k = 0; k < b->results.n; k++) d->uses[b->results.at[k]->id]--;
    }
}

/* ---- scans ---- */

/* Which values of the body the living results depend on. A carried value lives if its result is used, or its parameter by what
 * lives. */
static void mark_live(Dead *d, const Op *scan, bool *live, bool *carried) {
    const Block *b = scan->blocks[0];
    int64_t carry = op_int(scan, A_carry);
    for (size_t k = 0; k < b->results.n; k++) {
        if (d->uses[scan->out[k]->id] == 0) continue;
        live[b->results.at[k]->id] = true;
        if ((int64_t)k < carry) carried[k] = true;
    }
    for (bool again = true; again;) {
        again = false;
        for (Op *op = b->last; op; op = op->prev) {
            bool any = false;
            for (int i = 0; i < op->n_out && !any; i++) any = live[op->out[i]->id];
            if (!any) continue;
            for (int i = 0; i < op->n_in; i++) live[op->in[i]->id] = true;
            Values captured = op_captures(d->scratch, op);
            for (size_t i = 0; i < captured.n; i++) live[captured.at[i]->id] = true;
        }
        for (int64_t k = 0; k < carry; k++) {
            if (carried[k] || !live[b->params.at[k + 1]->id]) continue;
            carried[k] = again = true;
            live[b->results.at[k]->id] = true;
        }
    }
}

static void renumber(Block *b) {
    for (size_t i = 0; i < b->params.n; i++) b->params.at[i]->index = (int)i;
}

/* Takes out carried values whose keep is false, with their parameter, initial value and result. */
static void drop_carried(Dead *d, Op *op, const bool *keep) {
    Block *b = op->blocks[0];
    int64_t carry = op_int(op, A_carry);
    size_t n = 0, in = 0, out = 0;
    for (size_t i = 0; i < b->params.n; i++)
        if (i == 0 || (int64_t)i > carry || keep[i - 1]) b->params.at[n++] = b->params.at[i];
    b->params.n = n;
    renumber(b);
    for (int64_t i = 0; i < op->n_in; i++) {
        if (i < carry && !keep[i])
            d->uses[op->in[i]->id]--;
        else
            op->in[in++] = op->in[i];
    }
    op->n_in = (int)in;
    n = 0;
    for (int64_t i = 0; i < op->n_out; i++) {
        if (i < carry && !keep[i]) {
            d->uses[b->results.at[i]->id]--;
            n++;
            continue;
        }
        b->results.at[out] = b->results.at[i];
        op->out[out] = op->out[i];
        op->out[out]->index = (int)out;
        out++;
    }
    b->results.n = out;
    op->n_out = (int)out;
    op_set_attr(d->arena, op, attr_i(A_carry, carry - (int64_t)n));
}

/* Takes out stacks that nobody uses. */
static void drop_stacks(Dead *d, Op *op) {
    Block *b = op->blocks[0];
    const int64_t *yaxes;
    int64_t carry = op_int(op, A_carry), n = op_ints(op, A_yaxes, &yaxes), *left = arena_make_n(d->scratch, int64_t, (size_t)n),
            m = 0;
    for (int64_t k = 0; k < n; k++) {
        if (d->uses[op->out[carry + k]->id] == 0) {
            d->uses[b->results.at[carry + k]->id]--;
            continue;
        }
        b->results.at[carry + m] = b->results.at[carry + k];
        op->out[carry + m] = op->out[carry + k];
        op->out[carry + m]->index = (int)(carry + m);
        left[m++] = yaxes[k];
    }
    if (m == n) return;
    b->results.n = (size_t)(carry + m);
    op->n_out = (int)(carry + m);
    op_set_attr(d->arena, op, attr_ints(d->arena, A_yaxes, left, m));
    d->changed = true;
}

/* Is something sliced or stacked that tells the number of turns of a scan along the batch? Its last such thing stays. */
static bool needs_length(const Op *op, int64_t left) { return op_int(op, A_trip) < 0 && left == 0; }

/* Takes out slices whose parameter is not used. */
static void drop_slices(Dead *d, Op *op) {
    Block *b = op->blocks[0];
    const int64_t *axes;
    int64_t carry = op_int(op, A_carry), n = op_ints(op, A_axes, &axes), *left = arena_make_n(d->scratch, int64_t, (size_t)n),
            m = 0;
    for (int64_t k = 0; k < n; k++) {
        Value *p = b->params.at[1 + carry + k];
        if (d->uses[p->id] == 0 && !(k == n - 1 && needs_length(op, m))) {
            d->uses[op->in[carry + k]->id]--;
            continue;
        }
        b->params.at[1 + carry + m] = p;
        op->in[carry + m] = op->in[carry + k];
        left[m++] = axes[k];
    }
    if (m == n) return;
    b->params.n = (size_t)(1 + carry + m);
    renumber(b);
    if (op_int(op, A_trip) < 0) op->in[carry + m] = op->in[carry + n];
    op->n_in -= (int)(n - m);
    op_set_attr(d->arena, op, attr_ints(d->arena, A_axes, left, m));
    d->changed = true;
}

static void dead_block(Dead *d, Block *b);

static void dead_scan(Dead *d, Op *op) {
    int64_t carry = op_int(op, A_carry);
    bool *live = arena_make_n(d->scratch, bool, (size_t)d->func->n_values),
         *carried = arena_make_n(d->scratch, bool, (size_t)carry), all = true;
    drop_stacks(d, op);
    mark_live(d, op, live, carried);
    for (int64_t k = 0; k < carry; k++) all &= carried[k];
    if (!all) {
        /* what only the dead carried values depend on is made unused first: their results go, then their ops, then their
         * parameters */
        drop_carried(d, op, carried);
        d->changed = true;
    }
    Block *b = op->blocks[0];
    for (Op *inner = b->last, *prev; inner; inner = prev) { /* dead cycles: nothing that lives uses these */
        prev = inner->prev;
        bool any = false;
        for (int i = 0; i < inner->n_out && !any; i++) any = live[inner->out[i]->id];
        if (any) continue;
        drop_uses(d, inner);
        op_remove(inner);
        d->changed = true;
    }
    dead_block(d, b);
    drop_slices(d, op);
}

/* ---- blocks, from the end: users before what they use ---- */

static void dead_block(Dead *d, Block *b) {
    for (Op *op = b->last, *prev; op; op = prev) {
        prev = op->prev;
        bool used = op->code == OP_grad; /* its warnings are for the user */
        for (int i = 0; i < op->n_out && !used; i++) used = d->uses[op->out[i]->id] > 0;
        if (!used) {
            drop_uses(d, op);
            op_remove(op);
            d->changed = true;
        } else if (op->code == OP_scan) {
            dead_scan(d, op);
        } else {
            for (int i = 0; i < op->n_blocks; i++) dead_block(d, op->blocks[i]);
        }
    }
}

bool simplify_dead(Arena *a, Func *f) {
    Arena *scratch = arena_new();
    Dead d = {.arena = a, .scratch = scratch, .func = f, .uses = func_count_uses(scratch, f)};
    dead_block(&d, f->body);
    arena_free(scratch);
    return d.changed;
}
