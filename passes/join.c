/*
 * join.c - inside loops, make few large products of many small ones, while there is one graph to change: before autodiff.
 * in:  graph with grads.   out: the same.
 * keeps: types, slots.   leaves: joined operands, which simplify and hoist take further.
 *
 *   split   %z = concat %h, %x_t axis 1 ; %a = contract "bi,io->bo" %z, %W      (%W from outside, %h carried, %x_t not)
 *           =>  %a = add (contract %h, (slice %W rows of %h)), (contract %x_t, (slice %W rows of %x_t))
 *           so that hoist can lift the second product for all turns at once
 *   join    %f = contract "bi,io->bo" %h, %Wf ; %g = contract "bi,io->bo" %h, %Wg
 *           =>  %W = concat %Wf, %Wg axis 1, in front of the loop ; %p = contract "bi,io->bo" %h, %W ; %f, %g = slices of %p
 *           so that the gates of a cell are one product, and by autodiff each of its gradients is one, too
 *
 * Bits: a split product is two chains and an addition where it was one chain; the same on every machine. Joining keeps every bit.
 *
 * Not done: products outside loops. Joining them would copy the weights in every step, and they are large already.
 */
#include "pipeline.h"
#include "scan.h"
#include "spec.h"

typedef struct Join {
    PassCtx *c;
    Func *func;
    Scan s;
    Arena *scratch;
    Builder before; /* in front of the scan */
    bool *carried;  /* by id: depends on a carried value */
    int n_ids;
} Join;

static void mark_carried(Join *j) {
    const Block *b = j->s.body;
    j->n_ids = j->func->n_values;
    j->carried = arena_make_n(j->scratch, bool, (size_t)j->n_ids);
    for (int64_t k = 0; k < j->s.carry; k++) j->carried[b->params.at[k + 1]->id] = true;
    for (const Op *op = b->first; op; op = op->next) {
        bool any = op->n_blocks > 0;
        for (int i = 0; i < op->n_in && !any; i++) any = j->carried[op->in[i]->id];
        for (int i = 0; any && i < op->n_out; i++) j->carried[op->out[i]->id] = true;
    }
}

/* ---- split ---- */

/* One product of a concat along a summed label: neighbouring parts that are alike (carried or not) stay together. */
static Value *split(Join *j, Op *op, Op *concat) {
    Spec s = read_spec(op);
    int64_t axis = op_int(concat, A_axis), at = 0;
    char label = s.a[axis];
    Value *w = op->in[1], *sum = NULL;
    int64_t w_axis = strchr(s.b, label) - s.b;
    Builder b = {.arena = j->c->arena, .func = j->func, .block = op->block, .before = op, .loc = op->loc};
    j->before.loc = op->loc;
    for (int i = 0, end; i < concat->n_in; i = end) {
        int64_t n = 0;
        bool carried = j->carried[concat->in[i]->id];
        for (end = i; end < concat->n_in && j->carried[concat->in[end]->id] == carried; end++)
            n += concat->in[end]->type->dim[axis].n;
        Value *x = end - i == 1 ? concat->in[i] : g_concat(&b, end - i, concat->in + i, axis);
        Value *p = g_contract(&b, op_str(op, A_spec), x, g_part(&j->before, w, w_axis, at, at + n));
        sum = sum ? g_binary(&b, OP_add, sum, p) : p;
        at += n;
    }
    return sum;
}

static bool wants_split(const Join *j, const Op *op) {
    if (op->code != OP_contract || value_inside(j->s.op, op->in[1])) return false;
    const Op *concat = op->in[0]->def;
    if (!concat || concat->code != OP_concat || concat->block != j->s.body || !elem_is_float(op->out[0]->type->elem))
        return false;
    Spec s = read_spec(op);
    char label = s.a[op_int(concat, A_axis)];
    if (!strchr(s.b, label) || strchr(s.out, label)) return false;
    bool some[2] = {false, false};
    for (int i = 0; i < concat->n_in; i++) some[j->carried[concat->in[i]->id]] = true;
    return some[0] && some[1];
}

static void split_all(Join *j) {
    mark_carried(j);
    Value **map = arena_make_n(j->scratch, Value *, (size_t)j->n_ids);
    Vec(Op *) gone = {0};
    for (Op *op = j->s.body->first; op; op = op->next) {
        if (!wants_split(j, op)) continue;
        map[op->out[0]->id] = split(j, op, op->in[0]->def);
        vec_push(j->scratch, &gone, op);
    }
    if (!gone.n) return;
    block_replace(j->s.body, map, j->n_ids);
    for (size_t i = 0; i < gone.n; i++) op_remove(gone.at[i]);
}

/* ---- join ---- */

/* The one label of the weights that is free: in the result and not in the first operand. 0: there are several, or none. */
static char free_label(const Spec *s) {
    char found = 0;
    for (const char *l = s->b; *l; l++) {
        if (strchr(s->a, *l)) continue;
        if (found) return 0;
        found = *l;
    }
    return found;
}

/* Can these two be joined: the same product of the same value with weights from outside, of the same shape but for the free
 * label? */
static bool alike(const Op *x, const Op *y, int64_t w_axis) {
    if (y->code != OP_contract || y->in[0] != x->in[0] || op_str(x, A_spec) != op_str(y, A_spec)) return false;
    const Type *a = x->in[1]->type, *b = y->in[1]->type;
    for (int i = 0; i < a->rank; i++)
        if (i != w_axis && !dim_same(a->dim[i], b->dim[i])) return false;
    return a->elem == b->elem && !a->dim[w_axis].batch && !b->dim[w_axis].batch;
}

enum { MOST_JOINED = 64 };

/* May a tensor be as large with n places along an axis? */
static bool fits(const Type *t, int64_t axis, int64_t n) {
    Dim dims[MAX_RANK];
    for (int i = 0; i < t->rank; i++) dims[i] = t->dim[i];
    dims[axis].n = n;
    return !type_fault(t->rank, dims);
}

static void join_at(Join *j, Op *first) {
    Spec s = read_spec(first);
    char label = free_label(&s);
    if (!label || value_inside(j->s.op, first->in[1])) return;
    int64_t w_axis = strchr(s.b, label) - s.b, o_axis = strchr(s.out, label) - s.out;
    Op *group[MOST_JOINED];
    Value *ws[MOST_JOINED];
    int n = 0;
    int64_t places = 0;
    for (Op *op = first; op && n < MOST_JOINED; op = op->next) {
        if (!alike(first, op, w_axis) || value_inside(j->s.op, op->in[1])) continue;
        places += op->in[1]->type->dim[w_axis].n;
        if (!fits(first->in[1]->type, w_axis, places) || !fits(first->out[0]->type, o_axis, places)) break;
        group[n++] = op;
    }
    if (n < 2) return;
    for (int i = 0; i < n; i++) ws[i] = group[i]->in[1];
    j->before.loc = first->loc;
    Value *w = g_concat(&j->before, n, ws, w_axis);
    Builder b = {.arena = j->c->arena, .func = j->func, .block = j->s.body, .before = first, .loc = first->loc};
    Value *p = g_contract(&b, op_str(first, A_spec), first->in[0], w);
    int n_map = j->func->n_values;
    Value **map = arena_make_n(j->scratch, Value *, (size_t)n_map);
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        int64_t size = ws[i]->type->dim[w_axis].n;
        b.loc = group[i]->loc;
        map[group[i]->out[0]->id] = g_part(&b, p, o_axis, at, at + size);
        map[group[i]->out[0]->id]->name = group[i]->out[0]->name;
        at += size;
    }
    block_replace(j->s.body, map, n_map);
    for (int i = 0; i < n; i++) op_remove(group[i]);
}

static void join_all(Join *j) {
    for (Op *op = j->s.body->first, *next; op; op = next) {
        next = op->next;
        if (op->code != OP_contract) continue;
        Op *prev = op->prev; /* the group goes; what is made of it stands here */
        join_at(j, op);
        if (op->block == NULL) next = prev ? prev->next : j->s.body->first;
        if (op->block == NULL && next && next->code == OP_contract) next = next->next;
    }
}

/* ---- the pass ---- */

static void join_block(PassCtx *c, Block *b) {
    for (Op *op = b->first; op; op = op->next) {
        for (int i = 0; i < op->n_blocks; i++) join_block(c, op->blocks[i]);
        if (op->code != OP_scan) continue;
        Join j = {.c = c, .func = b->func, .s = scan_of(op), .scratch = arena_new()};
        j.before = (Builder){.arena = c->arena, .func = b->func, .block = b, .before = op, .loc = op->loc};
        split_all(&j);
        join_all(&j);
        arena_free(j.scratch);
    }
}

bool pass_join(PassCtx *c, Module *m) {
    for (size_t i = 0; i < m->funcs.n; i++) join_block(c, m->funcs.at[i]->body);
    return true;
}
