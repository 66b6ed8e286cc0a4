/*
 * graph_change.c - what passes do to a graph: unlink, move, replace and copy ops, count uses, walk, find what a block uses from
 * outside.
 */
#include "graph.h"

#include <string.h>

/* ---- walking ---- */

void block_walk(Block *b, void (*visit)(Op *op, void *arg), void *arg) {
    for (Op *op = b->first, *next; op; op = next) {
        next = op->next; /* the visitor may remove the op */
        Block **blocks = op->blocks;
        int n = op->n_blocks;
        visit(op, arg);
        for (int i = 0; i < n; i++) block_walk(blocks[i], visit, arg);
    }
}

bool block_has(const Block *b, OpCode code) {
    for (const Op *op = b->first; op; op = op->next) {
        if (op->code == code) return true;
        for (int i = 0; i < op->n_blocks; i++)
            if (block_has(op->blocks[i], code)) return true;
    }
    return false;
}

bool module_has(const Module *m, OpCode code) {
    for (size_t i = 0; i < m->funcs.n; i++)
        if (block_has(m->funcs.at[i]->body, code)) return true;
    return false;
}

/* ---- unlinking and moving ---- */

static void op_unlink(Op *op) {
    Block *b = op->block;
    *(op->prev ? &op->prev->next : &b->first) = op->next;
    *(op->next ? &op->next->prev : &b->last) = op->prev;
    op->prev = op->next = NULL;
    op->block = NULL;
}

void op_remove(Op *op) { op_unlink(op); }

void op_move_before(Op *op, Op *place) {
    if (op == place || op->next == place) return;
    op_unlink(op);
    op->block = place->block;
    op->next = place;
    op->prev = place->prev;
    *(op->prev ? &op->prev->next : &op->block->first) = op;
    place->prev = op;
    for (int i = 0; i < op->n_out; i++) op->out[i]->block = op->block;
}

/* ---- replacing ---- */

typedef Value *Rename(Value *v, const void *arg);

static void block_rename(Block *b, Rename *rename, const void *arg) {
    for (Op *op = b->first; op; op = op->next) {
        for (int i = 0; i < op->n_in; i++) op->in[i] = rename(op->in[i], arg);
        for (int i = 0; i < op->n_blocks; i++) block_rename(op->blocks[i], rename, arg);
    }
    for (size_t i = 0; i < b->results.n; i++) b->results.at[i] = rename(b->results.at[i], arg);
}

static Value *rename_one(Value *v, const void *arg) {
    Value *const *pair = arg;
    return v == pair[0] ? pair[1] : v;
}

void value_replace(Func *f, Value *from, Value *to) {
    Value *pair[2] = {from, to};
    block_rename(f->body, rename_one, pair);
}

static Value *rename_mapped(Value *v, const void *arg) {
    Value *const *map = arg;
    while (map[v->id] && map[v->id] != v) v = map[v->id];
    return v;
}

void func_replace_all(Func *f, Value *const *map) { block_rename(f->body, rename_mapped, map); }

/* ---- copying ---- */

typedef struct Copy {
    Builder *b;
    Value **map;
    const Func *from;
    int bound; /* values with smaller ids have a place in map: those that existed when the copy began */
} Copy;

static Value *copy_use(const Copy *c, Value *v) { return v->id < c->bound && c->map[v->id] ? c->map[v->id] : v; }

static Value *copy_value(Copy *c, const Value *v, Op *def, Block *block) {
    Value *w = arena_make(c->b->arena, Value);
    *w = *v;
    w->def = def;
    w->block = block;
    w->id = c->b->func->n_values++;
    c->map[v->id] = w;
    return w;
}

static Op *copy_op(Copy *c, const Op *op, Block *to, Op *before);

static Block *copy_block(Copy *c, const Block *b, Op *owner) {
    Arena *a = c->b->arena;
    Block *copy = block_new(c->b->func, owner);
    for (size_t i = 0; i < b->params.n; i++) vec_push(a, &copy->params, copy_value(c, b->params.at[i], NULL, copy));
    for (const Op *op = b->first; op; op = op->next) copy_op(c, op, copy, NULL);
    for (size_t i = 0; i < b->results.n; i++) vec_push(a, &copy->results, copy_use(c, b->results.at[i]));
    return copy;
}

static Op *copy_op(Copy *c, const Op *op, Block *to, Op *before) {
    Arena *a = c->b->arena;
    Op *copy = arena_make(a, Op);
    *copy = *op; /* attributes are never changed in place: both may share them */
    copy->in = arena_make_n(a, Value *, (size_t)op->n_in);
    copy->out = arena_make_n(a, Value *, (size_t)op->n_out);
    copy->blocks = arena_make_n(a, Block *, (size_t)op->n_blocks);
    for (int i = 0; i < op->n_in; i++) copy->in[i] = copy_use(c, op->in[i]);
    for (int i = 0; i < op->n_blocks; i++) copy->blocks[i] = copy_block(c, op->blocks[i], copy);
    for (int i = 0; i < op->n_out; i++) copy->out[i] = copy_value(c, op->out[i], copy, to);
    copy->block = to;
    copy->next = before;
    copy->prev = before ? before->prev : to->last;
    *(copy->prev ? &copy->prev->next : &to->first) = copy;
    *(before ? &before->prev : &to->last) = copy;
    return copy;
}

Op *op_clone(Builder *b, const Op *op, Value **map) {
    Copy c = {b, map, op->block->func, op->block->func->n_values};
    return copy_op(&c, op, b->block, b->before);
}

/* ---- changing one op ---- */

void op_set_attr(Arena *a, Op *op, Attr attr) {
    Attr *attrs = arena_make_n(a, Attr, (size_t)op->n_attrs); /* copies of the op may share the old ones */
    memcpy(attrs, op->attrs, (size_t)op->n_attrs * sizeof *attrs);
    for (int i = 0; i < op->n_attrs; i++)
        if (attrs[i].key == attr.key) {
            attrs[i] = attr;
            op->attrs = attrs;
            return;
        }
    bug("op `%s` has no attribute `%s`", op_info[op->code].name, attr_name(attr.key));
}

Value *op_add_result(Arena *a, Op *op, const Type *t, const char *name) {
    Value *v = arena_make(a, Value);
    *v = (Value){.type = t, .name = name, .def = op, .block = op->block, .index = op->n_out, .id = op->block->func->n_values++};
    Value **out = arena_make_n(a, Value *, (size_t)op->n_out + 1);
    if (op->n_out) memcpy(out, op->out, (size_t)op->n_out * sizeof *out);
    out[op->n_out++] = v;
    op->out = out;
    return v;
}

/* ---- uses ---- */

static void count_block(const Block *b, int *uses) {
    for (const Op *op = b->first; op; op = op->next) {
        for (int i = 0; i < op->n_in; i++) uses[op->in[i]->id]++;
        for (int i = 0; i < op->n_blocks; i++) count_block(op->blocks[i], uses);
    }
    for (size_t i = 0; i < b->results.n; i++) uses[b->results.at[i]->id]++;
}

int *func_count_uses(Arena *a, const Func *f) {
    int *uses = arena_make_n(a, int, (size_t)f->n_values);
    count_block(f->body, uses);
    return uses;
}

typedef struct Captures {
    Arena *arena;
    const Op *op;
    bool *seen; /* by id */
    Values found;
} Captures;

/* Does the value belong to a block of op, or to one nested in it? */
static bool inside(const Op *op, const Value *v) {
    for (const Block *b = v->block; b && b->op; b = b->op->block)
        if (b->op == op) return true;
    return false;
}

static void capture(Captures *c, Value *v) {
    if (c->seen[v->id]) return;
    c->seen[v->id] = true;
    if (!inside(c->op, v)) vec_push(c->arena, &c->found, v);
}

static void capture_block(Captures *c, const Block *b) {
    for (const Op *op = b->first; op; op = op->next) {
        for (int i = 0; i < op->n_in; i++) capture(c, op->in[i]);
        for (int i = 0; i < op->n_blocks; i++) capture_block(c, op->blocks[i]);
    }
    for (size_t i = 0; i < b->results.n; i++) capture(c, b->results.at[i]);
}

Values op_captures(Arena *a, const Op *op) {
    if (!op->n_blocks) return (Values){0};
    Captures c = {a, op, NULL, {0}};
    c.seen = arena_make_n(a, bool, (size_t)op->blocks[0]->func->n_values);
    for (int i = 0; i < op->n_blocks; i++) capture_block(&c, op->blocks[i]);
    return c.found;
}
