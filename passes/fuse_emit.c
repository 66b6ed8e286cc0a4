/*
 * fuse_emit.c - writes the groups that fuse.c has made as `kernel` ops, in an order that their needs allow.
 *
 * A kernel's block is the group's ops in their order, with copies of the free ops that they use; its results are what others use.
 * A reshape of what lies in memory stays outside: it is another view of it, and needs no kernel.
 */
#include "passes/fuse.h"

#include <string.h>

typedef struct Emit {
    Fuse *f;
    bool *stored;  /* by op: others use its value */
    bool *outside; /* by op: a free op that stands outside of kernels, at its new place */
    Op *end;       /* everything new stands before it */
    Value **now;   /* by value id: what stands for it outside from now on; NULL: itself */
    /* the kernel being written */
    int group;
    Builder b;
    Value **inside;  /* by value id: the copy in this kernel */
    Vec(int) copied; /* ids in `inside` */
} Emit;

static bool is_movable_leaf(OpCode c) { return c == OP_constant || c == OP_iota || c == OP_batch || c == OP_broadcast; }

/* A reshape whose elements lie in memory when kernel `group` runs (-1: control, a result). */
static bool is_view(const Fuse *f, const Value *v, int group) {
    while (v->def && v->def->code == OP_reshape) {
        int i = fuse_op_of(f, v);
        if (i < 0) return true;
        if (f->role[i] == ROLE_MEMBER) return f->group_of[i] != group;
        v = v->def->in[0];
    }
    int i = fuse_op_of(f, v);
    return i < 0 ? !v->def || !is_movable_leaf(v->def->code) : f->role[i] != ROLE_FREE && f->group_of[i] != group;
}

/* ---- what others use ---- */

static void note_stored(Emit *e, const Value *v, int user) {
    const Fuse *f = e->f;
    int i = fuse_op_of(f, v);
    if (i < 0) return;
    if (f->role[i] == ROLE_FREE) {
        for (int k = 0; k < f->op[i]->n_in; k++) note_stored(e, f->op[i]->in[k], user);
    } else if (f->group_of[i] != user) {
        e->stored[i] = true;
    }
}

static void find_stored(Emit *e) {
    const Fuse *f = e->f;
    for (int i = 0; i < f->n_ops; i++) {
        if (f->kept[i]) e->stored[i] = true;
        if (f->role[i] == ROLE_FREE) continue;
        for (int k = 0; k < f->op[i]->n_in; k++) note_stored(e, f->op[i]->in[k], f->group_of[i]);
        if (!f->op[i]->n_blocks) continue;
        Values inner = op_captures(f->arena, f->op[i]);
        for (size_t k = 0; k < inner.n; k++) note_stored(e, inner.at[k], -1);
    }
    for (size_t k = 0; k < f->block->results.n; k++) note_stored(e, f->block->results.at[k], -1);
}

/* ---- free ops outside ---- */

/* Takes the free ops that make v, which stands outside of kernels, to the new end of the block. */
static void place_outside(Emit *e, const Value *v) {
    Fuse *f = e->f;
    int i = fuse_op_of(f, v);
    if (i < 0 || f->role[i] != ROLE_FREE || e->outside[i]) return;
    for (int k = 0; k < f->op[i]->n_in; k++) place_outside(e, f->op[i]->in[k]);
    e->outside[i] = true;
    op_move_before(f->op[i], e->end);
}

/* ---- one kernel ---- */

static Value *copy_op(Emit *e, const Op *op);

/* What stands for v inside the kernel. */
static Value *inside_value(Emit *e, Value *v) {
    Fuse *f = e->f;
    if (v->id < f->n_values && e->inside[v->id]) return e->inside[v->id];
    int i = fuse_op_of(f, v);
    if (i < 0)
        return v->def && v->id < f->n_values && v->def->block->func == f->func && is_movable_leaf(v->def->code)
                   ? copy_op(e, v->def)
                   : v;
    if (f->role[i] != ROLE_FREE) return v;
    if (f->op[i]->code == OP_literal || (f->op[i]->code == OP_reshape && is_view(f, v, e->group))) {
        place_outside(e, v);
        return v;
    }
    return copy_op(e, f->op[i]);
}

static Value *copy_op(Emit *e, const Op *op) {
    Fuse *f = e->f;
    Value **in = arena_make_n(f->arena, Value *, (size_t)op->n_in + 1);
    const Type **types = arena_make_n(f->arena, const Type *, (size_t)op->n_out);
    for (int k = 0; k < op->n_in; k++) in[k] = inside_value(e, op->in[k]);
    for (int k = 0; k < op->n_out; k++) types[k] = op->out[k]->type;
    e->b.loc = op->loc;
    Op *copy = op_make_full(&e->b, op->code, op->n_in, in, op->n_attrs, op->attrs, 0, NULL, op->n_out, types);
    for (int k = 0; k < op->n_out; k++) {
        copy->out[k]->name = op->out[k]->name;
        e->inside[op->out[k]->id] = copy->out[k];
        vec_push(f->arena, &e->copied, op->out[k]->id);
    }
    return copy->n_out ? copy->out[0] : NULL;
}

static void write_kernel(Emit *e, int g) {
    Fuse *f = e->f;
    const Group *group = f->groups.at[g];
    Arena *arena = f->func->module->arena;
    Block *block = block_new(f->func, NULL);
    Vec(const Type *) types = {0};
    Values out = {0};
    e->group = g;
    e->b = (Builder){.arena = arena, .func = f->func, .block = block};
    for (size_t k = 0; k < group->ops.n; k++) {
        const Op *op = f->op[group->ops.at[k]];
        copy_op(e, op);
        for (int o = 0; o < op->n_out && e->stored[group->ops.at[k]]; o++) {
            vec_push(arena, &block->results, e->inside[op->out[o]->id]);
            vec_push(f->arena, &types, op->out[o]->type);
            vec_push(f->arena, &out, op->out[o]);
        }
    }
    const Op *named = f->op[group->ops.at[group->ops.n - 1]];
    for (size_t k = group->ops.n; k-- > 0;) {
        OpCode c = f->op[group->ops.at[k]]->code;
        if (fuse_is_product(c)) named = f->op[group->ops.at[k]];
    }
    if (out.n) {
        Builder b = {.arena = arena, .func = f->func, .block = f->block, .before = e->end, .loc = named->loc};
        Op *kernel = op_make_full(&b, OP_kernel, 0, NULL, 0, NULL, 1, &block, (int)out.n, types.at);
        block->op = kernel;
        for (size_t k = 0; k < out.n; k++) {
            kernel->out[k]->name = out.at[k]->name;
            e->now[out.at[k]->id] = kernel->out[k];
        }
    }
    for (size_t k = 0; k < e->copied.n; k++) e->inside[e->copied.at[k]] = NULL;
    e->copied.n = 0;
}

static void write_control(Emit *e, Op *op) {
    Fuse *f = e->f;
    for (int k = 0; k < op->n_in; k++) place_outside(e, op->in[k]);
    Values inner = op_captures(f->arena, op);
    for (size_t k = 0; k < inner.n; k++) place_outside(e, inner.at[k]);
    op_move_before(op, e->end);
}

/* ---- all of them ---- */

static bool is_ready(const Fuse *f, const Group *g, const uint64_t *done) {
    for (int w = 0; w < f->words; w++)
        if (g->needs[w] & ~done[w]) return false;
    return true;
}

/* The groups that are there, by their first op. */
static int *groups_in_order(const Fuse *f, size_t *n) {
    int *order = arena_make_n(f->arena, int, f->groups.n + 1);
    *n = 0;
    for (int i = 0; i < f->n_ops; i++)
        if (f->role[i] != ROLE_FREE && f->groups.at[f->group_of[i]]->ops.at[0] == i) order[(*n)++] = f->group_of[i];
    return order;
}

static void write_groups(Emit *e) {
    Fuse *f = e->f;
    uint64_t *done = arena_make_n(f->arena, uint64_t, (size_t)f->words);
    size_t n, first = 0;
    int *order = groups_in_order(f, &n);
    for (int g = 0; g < (int)f->groups.n; g++)
        if (f->groups.at[g]->gone) done[g / 64] |= (uint64_t)1 << (g % 64);
    for (size_t written = 0; written < n; written++) {
        while (order[first] < 0) first++;
        size_t k = first;
        while (k < n && (order[k] < 0 || !is_ready(f, f->groups.at[order[k]], done))) k++;
        if (k == n) bug("fuse: the groups of @%s wait for each other", f->func->name);
        int g = order[k];
        const Group *group = f->groups.at[g];
        order[k] = -1;
        done[g / 64] |= (uint64_t)1 << (g % 64);
        if (f->role[group->ops.at[0]] == ROLE_CONTROL)
            write_control(e, f->op[group->ops.at[0]]);
        else
            write_kernel(e, g);
    }
}

void fuse_emit(Fuse *f) {
    Emit emit = {.f = f}, *e = &emit;
    Block *block = f->block;
    e->stored = arena_make_n(f->arena, bool, (size_t)f->n_ops + 1);
    e->outside = arena_make_n(f->arena, bool, (size_t)f->n_ops + 1);
    e->inside = arena_make_n(f->arena, Value *, (size_t)f->n_values + 1);
    e->now = arena_make_n(f->arena, Value *, (size_t)f->n_values + 1);
    Builder b = {.arena = f->func->module->arena, .func = f->func, .block = block};
    const Type *i32 = type_scalar(I32);
    e->end = op_make_full(&b, OP_batch, 0, NULL, 0, NULL, 0, NULL, 1, &i32); /* a mark: gone in the end */
    find_stored(e);
    write_groups(e);
    for (size_t k = 0; k < block->results.n; k++) place_outside(e, block->results.at[k]);
    Value **map = arena_make_n(f->arena, Value *, (size_t)f->func->n_values);
    memcpy(map, e->now, (size_t)f->n_values * sizeof *map);
    func_replace_all(f->func, map);
    for (int i = f->n_ops; i-- > 0;)
        if (f->role[i] != ROLE_CONTROL && !e->outside[i]) op_remove(f->op[i]);
    op_remove(e->end);
}
