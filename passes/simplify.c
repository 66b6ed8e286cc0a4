/*
 * simplify.c - fold constants, apply identities, share equal ops, shorten chains of shape ops, empty scans of what does not vary, drop dead code.
 *
 * in:  typed graph of any stage before fuse.   out: the same stage; simplifying it again changes nothing.
 * keeps: slots, names where it can, every bit of every result but for what simplify_algebra.c names.   spoils: use counts.
 *
 *   %a = mul %x, (constant 1) ; %b = add %a, %y ; %c = add %x, %y ; %d = mul %b, %c ; %e = exp %d    (%e unused)
 *   =>  %b = add %x, %y ; %d = mul %b, %b
 *
 * A sweep visits ops in order: operands are first replaced by what stands for them now, then the rules are asked (simplify_fold,
 * _algebra, _shape, _conv, _scan), and what they built in front of the op is visited before going on; then an equal op seen
 * before takes the op's place. A block's ops see those of the blocks around it. Constants are not shared between blocks: each
 * block has its own, so that none is carried into a loop. Then dead ops go (simplify_dead.c), and sweeps are repeated until one
 * changes nothing. Each is linear in the size of the function.
 */
#include "simplify.h"
#include "pipeline.h"

#include <string.h>

/* ---- replacing ---- */

static void map_room(Simplify *s, int id) {
    if (id < s->n_map) return;
    int n = s->func->n_values > 2 * s->n_map ? s->func->n_values : 2 * s->n_map;
    if (n <= id) n = id + 1;
    Value **map = arena_make_n(s->scratch, Value *, (size_t)n);
    if (s->n_map) memcpy(map, s->map, (size_t)s->n_map * sizeof *map);
    s->map = map;
    s->n_map = n;
}

Value *simplify_now(const Simplify *s, Value *v) {
    while (v->id < s->n_map && s->map[v->id] && s->map[v->id] != v) v = s->map[v->id];
    return v;
}

void simplify_replace(Simplify *s, Value *old, Value *v) {
    v = simplify_now(s, v);
    if (v == old) return;
    if (v->type != old->type) bug("simplify: %s in place of %s", type_name(v->type), type_name(old->type));
    map_room(s, old->id);
    s->map[old->id] = v;
    if (!v->name && v->def) v->name = old->name;
    s->changed = true;
}

bool simplify_single_use(const Simplify *s, const Value *v) { return v->id < s->n_uses && s->uses[v->id] <= 1; }

/* ---- equal ops ---- */

typedef struct Entry {
    Op *op;
    int next; /* in its bucket: index of entry + 1 */
    size_t bucket;
} Entry;

typedef struct Table {
    int *bucket; /* index of entry + 1 */
    size_t n_buckets;
    Vec(Entry) entries; /* a stack: those of inner blocks are taken off when the block ends */
} Table;

static bool commutes(OpCode code) {
    return code == OP_add || code == OP_mul || code == OP_and || code == OP_or || code == OP_eq || code == OP_ne;
}

static uint64_t hash_attr(const Attr *a, uint64_t h) {
    switch (attr_kind(a->key)) {
    case ATTR_INT:
    case ATTR_BOOL: return hash_bytes(&a->i, sizeof a->i, h);
    case ATTR_REAL: return hash_bytes(&a->f, sizeof a->f, h);
    case ATTR_STR: return hash_bytes(&a->s, sizeof a->s, h);
    case ATTR_INTS: return hash_bytes(a->ints.at, (size_t)a->ints.n * sizeof *a->ints.at, h);
    case ATTR_REALS: return hash_bytes(a->reals.at, (size_t)a->reals.n * sizeof *a->reals.at, h);
    }
    return h;
}

static bool same_attr(const Attr *a, const Attr *b) {
    switch (attr_kind(a->key)) {
    case ATTR_INT:
    case ATTR_BOOL: return a->i == b->i;
    case ATTR_REAL: return memcmp(&a->f, &b->f, sizeof a->f) == 0; /* 0 and -0 differ */
    case ATTR_STR: return a->s == b->s;
    case ATTR_INTS: return same_ints(a->ints.at, a->ints.n, b->ints.at, b->ints.n);
    case ATTR_REALS:
        return a->reals.n == b->reals.n && a->reals.n &&
               memcmp(a->reals.at, b->reals.at, (size_t)a->reals.n * sizeof *a->reals.at) == 0;
    }
    return false;
}

static uint64_t hash_op(const Op *op) {
    uint64_t h = (uint64_t)op->code;
    int a = op->n_in > 0 ? op->in[0]->id : 0, b = op->n_in > 1 ? op->in[1]->id : 0;
    if (commutes(op->code) && a > b) { /* one hash for both orders */
        int t = a;
        a = b;
        b = t;
    }
    int ids[4] = {a, b, op->n_in > 2 ? op->in[2]->id : 0, op->n_in};
    h = hash_bytes(ids, sizeof ids, h);
    h = hash_bytes(&op->out[0]->type, sizeof op->out[0]->type, h);
    for (int i = 0; i < op->n_attrs; i++) h = hash_attr(&op->attrs[i], h);
    return h;
}

static bool same_op(const Op *a, const Op *b) {
    if (a->code != b->code || a->n_in != b->n_in || a->out[0]->type != b->out[0]->type) return false;
    bool same = true;
    for (int i = 0; i < a->n_in && same; i++) same = a->in[i] == b->in[i];
    if (!same && !(commutes(a->code) && a->in[0] == b->in[1] && a->in[1] == b->in[0])) return false;
    for (int i = 0; i < a->n_attrs; i++)
        if (!same_attr(&a->attrs[i], &b->attrs[i])) return false;
    return true;
}

/* Ops that every block has for itself: they cost nothing where their readers are. */
static bool is_local(OpCode code) {
    return code == OP_constant || code == OP_iota || code == OP_broadcast || code == OP_batch || code == OP_literal;
}

/* The equal op seen before, or NULL; then op is remembered. */
static Op *find_equal(Simplify *s, Table *t, Op *op) {
    if (op->n_blocks || op->code == OP_grad || op->n_out == 0) return NULL;
    size_t k = (size_t)hash_op(op) & (t->n_buckets - 1);
    for (int i = t->bucket[k]; i; i = t->entries.at[i - 1].next) {
        Op *old = t->entries.at[i - 1].op;
        if (same_op(old, op) && (old->block == op->block || !is_local(op->code))) return old;
    }
    Entry e = {op, t->bucket[k], k};
    vec_push(s->scratch, &t->entries, e);
    t->bucket[k] = (int)t->entries.n;
    return NULL;
}

static void leave_scope(Table *t, size_t n) {
    while (t->entries.n > n) {
        Entry *e = &t->entries.at[--t->entries.n];
        t->bucket[e->bucket] = e->next;
    }
}

/* ---- values that a gradient is asked for ---- */

/* While there are ops `grad`, the values they differentiate by are as opaque as parameters: whatever looked through them (to a constant, to
 * what a reshape reshapes) or merged them with an equal value would change which uses the gradient counts. So their ops stay as
 * they are, and nobody sees them during a sweep. */
static void pin(Op *op, void *arg) {
    Simplify *s = arg;
    for (int i = 1; i < op->n_in && op->code == OP_grad; i++) {
        Value *v = op->in[i];
        if (!v->def) continue;
        s->pinned[v->id] = true;
        vec_push(s->scratch, &s->hidden, v->def);
    }
}

static bool is_pinned(const Simplify *s, const Op *op) {
    for (int i = 0; i < op->n_out; i++)
        if (op->out[i]->id < s->n_uses && s->pinned[op->out[i]->id]) return true;
    return false;
}

static void hide(Simplify *s, bool hidden) {
    for (size_t i = 0; i < s->hidden.n; i++) {
        Op *op = s->hidden.at[i];
        for (int k = 0; k < op->n_out; k++)
            if (s->pinned[op->out[k]->id]) op->out[k]->def = hidden ? NULL : op;
    }
}

/* ---- a sweep ---- */

static void sweep_block(Simplify *s, Table *t, Block *b);

/* A constant of a block around this one, made again here, so that the block does not depend on it. */
static Value *own_constant(Simplify *s, Op *op, Value *v) {
    double k;
    if (!is_constant(v, &k) || v->block == op->block) return v;
    Builder b = s->b;
    b.block = op->block;
    b.before = op;
    b.loc = v->def->loc;
    s->changed = true;
    return g_constant(&b, v->type, k);
}

static void update_operands(Simplify *s, Op *op) {
    for (int i = 0; i < op->n_in; i++) op->in[i] = own_constant(s, op, simplify_now(s, op->in[i]));
}

static Value *apply_rules(Simplify *s, Op *op) {
    static SimplifyRule *const rules[] = {simplify_fold, simplify_algebra, simplify_shape, simplify_conv};
    if (op->n_out != 1 || op->n_blocks) return NULL;
    s->b.block = op->block;
    s->b.before = op;
    s->b.loc = op->loc;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        Value *v = rules[i](s, op);
        if (v) return v;
    }
    return NULL;
}

/* Looks at one op. Returns where to go on: the first op that was put in front of it, or the next. */
static Op *visit(Simplify *s, Table *t, Op *op) {
    Op *prev = op->prev;
    Block *block = op->block;
    update_operands(s, op);
    if (op->prev != prev) return prev ? prev->next : block->first; /* its own constants come first */
    if (is_pinned(s, op)) {
        for (int i = 0; i < op->n_blocks; i++) sweep_block(s, t, op->blocks[i]);
        return op->next;
    }
    Value *v = apply_rules(s, op);
    if (v) {
        simplify_replace(s, op->out[0], v);
        op_remove(op);
        return prev ? prev->next : block->first;
    }
    if (op->code == OP_scan) {
        s->b = (Builder){.arena = s->arena, .func = s->func, .block = block, .before = op, .loc = op->loc};
        if (simplify_scan(s, op)) {
            s->changed = true;
            return prev ? prev->next : block->first;
        }
    }
    Op *old = find_equal(s, t, op);
    if (old) {
        Op *next = op->next;
        for (int i = 0; i < op->n_out; i++) simplify_replace(s, op->out[i], old->out[i]);
        op_remove(op);
        return next;
    }
    for (int i = 0; i < op->n_blocks; i++) sweep_block(s, t, op->blocks[i]);
    return op->next;
}

static void sweep_block(Simplify *s, Table *t, Block *b) {
    size_t scope = t->entries.n;
    int64_t fuel = 0;
    for (Op *op = b->first; op; op = op->next) fuel += 100;
    fuel += 1000000;
    for (Op *op = b->first; op;) {
        if (fuel-- == 0) bug("simplify goes round in circles in @%s, at  %s", s->func->name, op_text(s->arena, op));
        op = visit(s, t, op);
    }
    for (size_t i = 0; i < b->results.n; i++) b->results.at[i] = simplify_now(s, b->results.at[i]);
    leave_scope(t, scope);
}

static bool sweep(PassCtx *c, Func *f) {
    Arena *scratch = arena_new();
    Simplify s = {.b = {.arena = c->arena, .func = f}, .arena = c->arena, .scratch = scratch, .func = f, .n_uses = f->n_values};
    s.uses = func_count_uses(scratch, f);
    Table t = {.n_buckets = 256};
    while (t.n_buckets < (size_t)f->n_values) t.n_buckets *= 2;
    t.bucket = arena_make_n(scratch, int, t.n_buckets);
    s.pinned = arena_make_n(scratch, bool, (size_t)f->n_values + 1);
    block_walk(f->body, pin, &s);
    hide(&s, true);
    sweep_block(&s, &t, f->body);
    hide(&s, false);
    if (s.changed && f->n_values > 0) {
        map_room(&s, f->n_values - 1);
        func_replace_all(f, s.map);
    }
    arena_free(scratch);
    return s.changed;
}

enum { MOST_SWEEPS = 100 };

bool pass_simplify(PassCtx *c, Module *m) {
    for (size_t i = 0; i < m->funcs.n; i++) {
        Func *f = m->funcs.at[i];
        int sweeps = 0;
        for (bool again = true; again; sweeps++) {
            if (sweeps == MOST_SWEEPS) bug("simplify does not come to an end in @%s", f->name);
            again = sweep(c, f);
            again |= simplify_dead(c->arena, f);
        }
    }
    return true;
}
