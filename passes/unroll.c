/*
 * unroll.c - write short scans out, so that fusion and constants see across their turns.
 * in:  graph, grads expanded.   out: the same, without scans whose written-out length is small.
 * keeps: every bit.   leaves: slices, joins and constants for simplify.
 *
 *   %h, %y = scan %h0, %x carry 1 axes [0] yaxes [0] trip 2 { (%t, %c, %x_t) %n = mul %c, %x_t ; yield %n, %n }
 *   =>  %n0 = mul %h0, (slice 0 of %x) ; %n1 = mul %n0, (slice 1 of %x) ; %h = %n1 ; %y = concat %n0, %n1
 *
 * Not done: unrolling long scans by a factor. Their turns are separated by products that each need the one before, and pointwise
 * work between two products is one kernel already, so a longer body would only be more code.
 */
#include "pipeline.h"
#include "scan.h"

enum { MOST_OPS = 48, MOST_TURNS = 8 };

typedef struct Count {
    int ops;
    bool dear; /* products: they are what the time goes into; a loop around them costs nothing */
} Count;

static void count(Op *op, void *arg) {
    Count *c = arg;
    c->ops++;
    c->dear |= op->code == OP_contract || op->code == OP_conv || op->code == OP_scan || op->code == OP_while;
}

static bool is_short(const Scan *s) {
    Count c = {0};
    block_walk(s->body, count, &c);
    return s->trip >= 1 && s->trip <= MOST_TURNS && s->trip * (c.ops + s->n_xs) <= MOST_OPS && (!c.dear || s->trip <= 2);
}

/* Place t of x along the axis, without the axis. */
static Value *place(Builder *b, Value *x, int64_t axis, int64_t t, const Type *type) {
    return g_reshape(b, g_part(b, x, axis, t, t + 1), type->rank, type->dim);
}

/* One turn at place t, with carried values c; leaves the next in c and what is stacked in y. */
static void turn(Arena *scratch, Builder *b, const Scan *s, int64_t t, Value **c, Value **y) {
    Value **map = arena_make_n(scratch, Value *, (size_t)b->func->n_values + 1),
          **next = arena_make_n(scratch, Value *, (size_t)s->carry);
    int n = b->func->n_values;
    map[s->body->params.at[0]->id] = g_constant(b, type_scalar(I32), (double)t);
    for (int64_t k = 0; k < s->carry; k++) map[s->body->params.at[k + 1]->id] = c[k];
    for (int64_t k = 0; k < s->n_xs; k++) {
        const Value *p = s->body->params.at[1 + s->carry + k];
        map[p->id] = place(b, s->op->in[s->carry + k], s->axes[k], t, p->type);
    }
    /* values made meanwhile are not in the body: the map need not know them, but op_clone wants room for all there are */
    Value **wide = arena_make_n(scratch, Value *, (size_t)b->func->n_values + 1);
    for (int i = 0; i < n; i++) wide[i] = map[i];
    for (const Op *op = s->body->first; op; op = op->next) op_clone(b, op, wide);
    for (int64_t k = 0; k < s->carry + s->n_ys; k++) {
        Value *v = s->body->results.at[k];
        v = v->id < n && wide[v->id] ? wide[v->id] : v;
        if (k < s->carry)
            next[k] = v;
        else
            y[k - s->carry] = v;
    }
    for (int64_t k = 0; k < s->carry; k++) c[k] = next[k];
}

static Value *joined(Arena *scratch, Builder *b, const Scan *s, Value **ys, int64_t k) {
    const Type *t = s->op->out[s->carry + k]->type;
    Dim one[MAX_RANK];
    for (int i = 0; i < t->rank; i++) one[i] = i == s->yaxes[k] ? (Dim){1, false} : t->dim[i];
    Value **parts = arena_make_n(scratch, Value *, (size_t)s->trip);
    for (int64_t i = 0; i < s->trip; i++) parts[i] = g_reshape(b, ys[i * s->n_ys + k], t->rank, one);
    return s->trip == 1 ? parts[0] : g_concat(b, (int)s->trip, parts, s->yaxes[k]);
}

static void write_out(PassCtx *p, Func *f, Op *op) {
    Arena *scratch = arena_new();
    Scan s = scan_of(op);
    Builder b = {.arena = p->arena, .func = f, .block = op->block, .before = op, .loc = op->loc};
    Value **c = arena_make_n(scratch, Value *, (size_t)s.carry), **ys = arena_make_n(scratch, Value *, (size_t)(s.n_ys * s.trip));
    for (int64_t k = 0; k < s.carry; k++) c[k] = op->in[k];
    for (int64_t i = 0; i < s.trip; i++) {
        int64_t t = s.reverse ? s.trip - 1 - i : i;
        turn(scratch, &b, &s, t, c, ys + t * s.n_ys);
    }
    Values out = {0};
    for (int64_t k = 0; k < s.carry; k++) vec_push(scratch, &out, c[k]);
    for (int64_t k = 0; k < s.n_ys; k++) vec_push(scratch, &out, joined(scratch, &b, &s, ys, k));
    Value **map = arena_make_n(scratch, Value *, (size_t)f->n_values);
    for (int i = 0; i < op->n_out; i++) map[op->out[i]->id] = out.at[i];
    func_replace_all(f, map);
    op_remove(op);
    arena_free(scratch);
}

/* Inner scans first: written out they count with the body around them. */
static void unroll_block(PassCtx *c, Block *b) {
    for (Op *op = b->first, *next; op; op = next) {
        next = op->next;
        for (int i = 0; i < op->n_blocks; i++) unroll_block(c, op->blocks[i]);
        if (op->code != OP_scan) continue;
        Scan s = scan_of(op);
        if (is_short(&s)) write_out(c, b->func, op);
    }
}

bool pass_unroll(PassCtx *c, Module *m) {
    for (size_t i = 0; i < m->funcs.n; i++) unroll_block(c, m->funcs.at[i]->body);
    return true;
}
