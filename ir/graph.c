/*
 * graph.c - modules, slots, functions, and the builder that makes ops.
 *
 * Nothing is freed singly: all lives in the module's arena. Lists of ops are doubly linked, so that a pass inserts and removes in
 * constant time. Every op that is made passes its type rule first: a graph that exists is well typed.
 */
#include "graph.h"

#include <string.h>

/* ---- modules, slots, functions ---- */

Module *module_new(Arena *a) {
    Module *m = arena_make(a, Module);
    m->arena = a;
    return m;
}

Slot *slot_new(Module *m, SlotKind kind, const char *name, const Type *t, Loc loc) {
    Slot *s = arena_make(m->arena, Slot);
    s->kind = kind;
    s->name = intern(name);
    s->type = t;
    s->loc = loc;
    s->index = (int)m->slots.n;
    vec_push(m->arena, &m->slots, s);
    return s;
}

bool slot_is_batch(const Slot *s) { return s->kind == SLOT_FIELD || s->kind == SLOT_INPUT; }

Slot *slot_by_name(const Module *m, const char *name) {
    name = intern(name);
    for (size_t i = 0; i < m->slots.n; i++)
        if (m->slots.at[i]->name == name) return m->slots.at[i];
    return NULL;
}

bool slot_in_frame(const Slot *s) { return s->kind != SLOT_FIELD && s->kind != SLOT_INPUT; }

int64_t slot_bytes(const Slot *s) {
    return type_count(s->type, s->batch_bound > 0 ? s->batch_bound : 1) * elem_size(s->type->elem);
}

/* A parameter and what its optimizer remembers are walked side by side. 128 MB apart, or a larger power of two, they lie in the same banks of
 * some memories, and an update moves a third of what it moves with some pages between them (docs/speed.md, "Memory"). */
enum { SLOT_ALIGN = 64, LARGE_SLOT = 4 << 20, APART = 17 * 4096 };

int64_t slot_room(const Slot *s) {
    int64_t bytes = slot_bytes(s);
    if (bytes < 1) bytes = 1;
    return (bytes + SLOT_ALIGN - 1) / SLOT_ALIGN * SLOT_ALIGN + (bytes >= LARGE_SLOT ? APART : 0);
}

Func *func_by_name(const Module *m, const char *name) {
    name = intern(name);
    for (size_t i = 0; i < m->funcs.n; i++)
        if (m->funcs.at[i]->name == name) return m->funcs.at[i];
    return NULL;
}

Func *func_new(Module *m, const char *name, Loc loc) {
    Func *f = arena_make(m->arena, Func);
    f->module = m;
    f->name = intern(name);
    f->loc = loc;
    f->body = block_new(f, NULL);
    vec_push(m->arena, &m->funcs, f);
    return f;
}

Value *func_read(Func *f, Slot *s) {
    for (size_t i = 0; i < f->in_slots.n; i++)
        if (f->in_slots.at[i] == s) return f->body->params.at[i];
    vec_push(f->module->arena, &f->in_slots, s);
    return block_param(f->body, s->type, s->name);
}

void func_write(Func *f, Slot *s, Value *v) {
    vec_push(f->module->arena, &f->out_slots, s);
    vec_push(f->module->arena, &f->body->results, v);
}

Block *block_new(Func *f, Op *owner) {
    Block *b = arena_make(f->module->arena, Block);
    b->func = f;
    b->op = owner;
    return b;
}

static Value *value_new(Func *f, const Type *t) {
    Value *v = arena_make(f->module->arena, Value);
    v->type = t;
    v->id = f->n_values++;
    return v;
}

Value *block_param(Block *b, const Type *t, const char *name) {
    Value *v = value_new(b->func, t);
    v->name = intern(name);
    v->block = b;
    v->index = (int)b->params.n;
    vec_push(b->func->module->arena, &b->params, v);
    return v;
}

/* ---- making ops ---- */

Builder builder_at_end(Func *f) { return (Builder){.arena = f->module->arena, .func = f, .block = f->body, .loc = f->loc}; }

static void op_link(Block *block, Op *before, Op *op) {
    op->block = block;
    op->next = before;
    op->prev = before ? before->prev : block->last;
    *(op->prev ? &op->prev->next : &block->first) = op;
    *(before ? &before->prev : &block->last) = op;
}

/* The attributes in the order of the op's row, whatever order they were given in. */
static Attr *attrs_in_order(Arena *a, OpCode code, int n, const Attr *attrs) {
    const OpInfo *info = &op_info[code];
    Attr *out = arena_make_n(a, Attr, (size_t)n);
    int found = 0;
    for (int k = 0; k < info->n_attrs; k++)
        for (int i = 0; i < n; i++)
            if (attrs[i].key == info->attrs[k] && found < n) out[found++] = attrs[i];
    if (found != n || n != info->n_attrs)
        bug("`%s` wants the attributes (%s), and got %d, of which %d are its own", info->name, info->attr_names, n, found);
    return out;
}

/* A constant of type f32 is an f32: rounded here, once, so that what is computed and what is printed are the same. */
static void round_constants(Arena *a, Op *op, const Type *t) {
    if (!t || t->elem != F32 || (op->code != OP_constant && op->code != OP_literal)) return;
    Attr *v = &op->attrs[0];
    if (op->code == OP_constant) {
        v->f = (double)(float)v->f;
        return;
    }
    double *at = arena_make_n(a, double, (size_t)v->reals.n);
    for (int64_t i = 0; i < v->reals.n; i++) at[i] = (double)(float)v->reals.at[i];
    v->reals.at = at;
}

/* An op that stands nowhere yet and has no results yet. */
static Op *op_alone(Arena *a, OpCode code, int n_in, Value *const *in, int n_attrs, const Attr *attrs, int n_blocks,
                    Block *const *blocks) {
    Op *op = arena_make(a, Op);
    op->code = code;
    op->n_in = n_in;
    op->in = arena_make_n(a, Value *, (size_t)n_in);
    for (int i = 0; i < n_in; i++) op->in[i] = in[i];
    op->n_attrs = n_attrs;
    op->attrs = attrs_in_order(a, code, n_attrs, attrs);
    op->n_blocks = n_blocks;
    op->blocks = arena_make_n(a, Block *, (size_t)n_blocks);
    for (int i = 0; i < n_blocks; i++) op->blocks[i] = blocks[i];
    return op;
}

/* Asks the rule. The results' given types are needed before there are results: dummies carry them. */
static const char *op_types(Arena *a, Op *op, int n_out, const Type *const *given, const Type **types) {
    Value *dummies = arena_make_n(a, Value, (size_t)n_out);
    op->n_out = n_out;
    op->out = arena_make_n(a, Value *, (size_t)n_out);
    for (int i = 0; i < n_out; i++) {
        dummies[i].type = given ? given[i] : NULL;
        op->out[i] = &dummies[i];
    }
    const char *why = op_infer(a, op, types);
    for (int i = 0; i < n_out && !why; i++)
        if (given && given[i] && given[i] != types[i])
            why = arena_printf(a, "result %d is %s, not %s", i + 1, type_name(types[i]), type_name(given[i]));
    return why;
}

static void op_place(Builder *b, Op *op, const Type *const *types) {
    for (int i = 0; i < op->n_out; i++) {
        Value *v = value_new(b->func, types[i]);
        v->def = op;
        v->block = b->block;
        v->index = i;
        op->out[i] = v;
    }
    for (int i = 0; i < op->n_blocks; i++) op->blocks[i]->op = op;
    op->loc = b->loc;
    op_link(b->block, b->before, op);
}

Op *op_try_full(Builder *b, OpCode code, int n_in, Value *const *in, int n_attrs, const Attr *attrs, int n_blocks,
                Block *const *blocks, int n_out, const Type *const *types, const char **why) {
    Op *op = op_alone(b->arena, code, n_in, in, n_attrs, attrs, n_blocks, blocks);
    if (n_out > 0 && types) round_constants(b->arena, op, types[0]);
    const Type **found = arena_make_n(b->arena, const Type *, (size_t)n_out);
    if ((*why = op_types(b->arena, op, n_out, types, found))) return NULL;
    op_place(b, op, found);
    return op;
}

static _Noreturn void op_refused(const Builder *b, OpCode code, const char *why) {
    bug("%s:%d: op `%s` made in @%s: %s", b->loc.file ? b->loc.file : "?", b->loc.line, op_info[code].name, b->func->name, why);
}

Op *op_make_full(Builder *b, OpCode code, int n_in, Value *const *in, int n_attrs, const Attr *attrs, int n_blocks,
                 Block *const *blocks, int n_out, const Type *const *types) {
    const char *why;
    Op *op = op_try_full(b, code, n_in, in, n_attrs, attrs, n_blocks, blocks, n_out, types, &why);
    if (!op) op_refused(b, code, why);
    return op;
}

Value *op_try(Builder *b, OpCode code, int n_in, Value *const *in, int n_attrs, const Attr *attrs, const Type *type,
              const char **why) {
    if (op_block_count(code)) bug("`%s` has blocks: op_make_full makes it", op_info[code].name);
    int n_out = code == OP_grad ? n_in - 1 : code == OP_sort || code == OP_top_k ? 2 : 1;
    const Type **given = NULL;
    if (type && n_out > 0) {
        given = arena_make_n(b->arena, const Type *, (size_t)n_out);
        given[0] = type;
    }
    Op *op = op_try_full(b, code, n_in, in, n_attrs, attrs, 0, NULL, n_out, given, why);
    return op && n_out ? op->out[0] : NULL;
}

Value *op_make(Builder *b, OpCode code, int n_in, Value *const *in, int n_attrs, const Attr *attrs, const Type *type) {
    const char *why;
    Value *v = op_try(b, code, n_in, in, n_attrs, attrs, type, &why);
    if (!v && why) op_refused(b, code, why);
    return v;
}

/* ---- short forms ---- */

Value *g_unary(Builder *b, OpCode code, Value *x) { return op_make(b, code, 1, &x, 0, NULL, NULL); }

Value *g_binary(Builder *b, OpCode code, Value *x, Value *y) { return op_make(b, code, 2, (Value *[]){x, y}, 0, NULL, NULL); }

Value *g_select(Builder *b, Value *cond, Value *x, Value *y) {
    return op_make(b, OP_select, 3, (Value *[]){cond, x, y}, 0, NULL, NULL);
}

Value *g_constant(Builder *b, const Type *t, double value) {
    Attr v = attr_f(A_value, value);
    return op_make(b, OP_constant, 0, NULL, 1, &v, t);
}

Value *g_convert(Builder *b, Value *x, Elem elem) {
    return x->type->elem == elem ? x : op_make(b, OP_convert, 1, &x, 0, NULL, type_with_elem(x->type, elem));
}

Value *g_reshape(Builder *b, Value *x, int rank, const Dim *dims) {
    const Type *t = type_make(x->type->elem, rank, dims);
    return t == x->type ? x : op_make(b, OP_reshape, 1, &x, 0, NULL, t);
}

Value *g_broadcast(Builder *b, Value *x, int rank, const Dim *dims, const int64_t *axes) {
    const Type *t = type_make(x->type->elem, rank, dims);
    if (t == x->type) return x; /* axes are increasing: equal types mean the identity */
    Attr a = attr_ints(b->arena, A_axes, axes, x->type->rank);
    return op_make(b, OP_broadcast, 1, &x, 1, &a, t);
}

Value *g_transpose(Builder *b, Value *x, const int64_t *perm) {
    Attr a = attr_ints(b->arena, A_perm, perm, x->type->rank);
    return op_make(b, OP_transpose, 1, &x, 1, &a, NULL);
}

Value *g_reduce(Builder *b, OpCode code, Value *x, int n, const int64_t *axes) {
    Attr a = attr_ints(b->arena, A_axes, axes, n);
    return op_make(b, code, 1, &x, 1, &a, NULL);
}

Value *g_contract(Builder *b, const char *spec, Value *x, Value *y) {
    Attr a = attr_s(A_spec, spec);
    return op_make(b, OP_contract, 2, (Value *[]){x, y}, 1, &a, NULL);
}

Value *g_slice(Builder *b, Value *x, const int64_t *start, const int64_t *limit, const int64_t *step) {
    int64_t n = x->type->rank;
    Attr a[] = {attr_ints(b->arena, A_start, start, n), attr_ints(b->arena, A_limit, limit, n),
                attr_ints(b->arena, A_step, step, n)};
    return op_make(b, OP_slice, 1, &x, 3, a, NULL);
}

Value *g_part(Builder *b, Value *x, int64_t axis, int64_t from, int64_t to) {
    int64_t start[MAX_RANK], limit[MAX_RANK], step[MAX_RANK];
    for (int i = 0; i < x->type->rank; i++) {
        start[i] = i == axis ? from : 0;
        limit[i] = i == axis ? to : x->type->dim[i].batch ? -1 : x->type->dim[i].n;
        step[i] = 1;
    }
    return g_slice(b, x, start, limit, step);
}

Value *g_concat(Builder *b, int n, Value *const *xs, int64_t axis) {
    Attr a = attr_i(A_axis, axis);
    return op_make(b, OP_concat, n, xs, 1, &a, NULL);
}

Value *g_batch(Builder *b) { return op_make(b, OP_batch, 0, NULL, 0, NULL, NULL); }
