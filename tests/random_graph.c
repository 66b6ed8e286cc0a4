/*
 * random_graph.c - see random_graph.h.
 *
 * A pool of values grows; a step draws an op and operands from the pool, making new ones where nothing fits (random_values.c,
 * random_ops.c). Here stand the ops with blocks, the steps, inputs, results and gradients, and shrinking.
 */
#include "random_inside.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DEPTH = 2 };

/* ---- control ---- */

static void step(Gen *g);

/* A value of the type made inside the block, from the pool's newest part if there is one there. */
static Value *inside(Gen *g, const Type *t, size_t from) {
    for (size_t i = g->pool.n; i > from; i--)
        if (g->pool.at[i - 1]->type == t && (i == from + 1 || !gen_chance(g, 3))) return g->pool.at[i - 1];
    return gen_of_type(g, t);
}

static void steps_inside(Gen *g, Block *block, int n) {
    g->b.block = block;
    g->depth++;
    for (int i = 0; i < n; i++) step(g);
    g->depth--;
}

static const Type *dropped_axis(const Type *t, int axis) {
    Dim dims[MAX_RANK];
    int n = 0;
    for (int i = 0; i < t->rank; i++)
        if (i != axis) dims[n++] = t->dim[i];
    return type_make(t->elem, n, dims);
}

typedef struct Turns {
    Dim dim;      /* of what is sliced and stacked */
    bool batched; /* trip is -1, the count B */
    bool counted; /* trip is -1, the count a number of its own; nothing is sliced or stacked */
} Turns;

static Value *turn_count(Gen *g, Turns t) {
    if (t.counted) return gen_constant(g, type_scalar(I32), gen_below(g, 5));
    return gen_binary(g, OP_mul, g_batch(&g->b), gen_constant(g, type_scalar(I32), (double)t.dim.n));
}

/* Slices of the pool, all with the same number of turns; -1: none that will do. */
static int choose_slices(Gen *g, Turns *turns, Value **in, int64_t *axes) {
    int n = gen_below(g, 3);
    Value *x = n ? gen_some(g, gen_is_anything, 1) : NULL;
    turns->dim = (Dim){gen_below(g, 5), false};
    if (!x) return turns->counted = !gen_differentiable(g) && gen_chance(g, 3), 0;
    axes[0] = gen_below(g, x->type->rank);
    in[0] = x;
    turns->dim = x->type->dim[axes[0]];
    turns->batched = turns->dim.batch;
    if (turns->batched && gen_differentiable(g))
        return -1; /* the way back would keep values of the batch for each of its samples */
    if (n == 2) {
        Dim dims[2] = {turns->dim, {2, false}};
        in[1] = gen_of_type(g, type_make(F32, 2, dims));
        axes[1] = 0;
    }
    return n;
}

static bool carries_well(Elem e) { return e == F32 || e == I32 || e == F64; }

static Value *make_scan(Gen *g) {
    Value *in[8];
    Turns turns = {0};
    int64_t axes[2], yaxes[2];
    int carry = 1 + gen_below(g, 2), n_ys = gen_below(g, 3);
    for (int i = 0; i < carry; i++) in[i] = gen_some(g, g->o->smooth ? elem_is_float : carries_well, 0);
    int n_xs = choose_slices(g, &turns, in + carry, axes), n_in = carry + n_xs;
    if (n_xs < 0) return NULL;
    if (turns.counted) n_ys = 0;
    if (turns.batched || turns.counted) in[n_in++] = turn_count(g, turns);
    for (int i = 0; i < n_in; i++)
        if (!in[i] || !gen_small_enough(g, in[i]->type)) return NULL;
    Block *block = block_new(g->b.func, NULL), *around = g->b.block;
    size_t from = g->pool.n;
    Value *t = block_param(block, type_scalar(I32), "t");
    if (!g->o->smooth) vec_push(g->arena, &g->pool, t);
    for (int i = 0; i < carry; i++) vec_push(g->arena, &g->pool, block_param(block, in[i]->type, NULL));
    for (int i = 0; i < n_xs; i++)
        vec_push(g->arena, &g->pool, block_param(block, dropped_axis(in[carry + i]->type, (int)axes[i]), NULL));
    steps_inside(g, block, 1 + gen_below(g, 4));
    const Type *types[4];
    for (int i = 0; i < carry; i++) {
        Value *v = inside(g, in[i]->type, from);
        types[i] = v->type;
        vec_push(g->arena, &block->results, gen_tame(g, v));
    }
    for (int i = 0; i < n_ys; i++) {
        Value *y = g->pool.at[from + (size_t)gen_below(g, (int)(g->pool.n - from))];
        if (turns.batched && type_has_batch(y->type)) y = block->results.at[0]; /* one B a tensor */
        if (y->type->rank > 4) y = t;
        Dim dims[MAX_RANK];
        int k = 0;
        yaxes[i] = turns.dim.n > 1 && turns.batched ? 0 : gen_below(g, y->type->rank + 1);
        for (int j = 0; j <= y->type->rank; j++) dims[j] = j == yaxes[i] ? turns.dim : y->type->dim[k++];
        types[carry + i] = type_make(y->type->elem, y->type->rank + 1, dims);
        vec_push(g->arena, &block->results, y);
    }
    g->b.block = around;
    g->pool.n = from;
    Attr attrs[] = {attr_i(A_carry, carry), attr_ints(g->arena, A_axes, axes, n_xs), attr_ints(g->arena, A_yaxes, yaxes, n_ys),
                    attr_i(A_reverse, gen_below(g, 2)), attr_i(A_trip, turns.batched || turns.counted ? -1 : turns.dim.n)};
    const char *why;
    Op *op = op_try_full(&g->b, OP_scan, n_in, in, 5, attrs, 1, &block, carry + n_ys, types, &why);
    if (!op) return NULL;
    for (int i = 1; i < op->n_out; i++)
        if (gen_small_enough(g, op->out[i]->type)) vec_push(g->arena, &g->pool, op->out[i]);
    return op->out[0];
}

/* A counter below a limit, and a value that is changed. */
static Value *make_while(Gen *g) {
    Value *in[2] = {gen_constant(g, type_scalar(I32), gen_below(g, 3)), gen_some(g, carries_well, 0)};
    Block *blocks[2] = {block_new(g->b.func, NULL), block_new(g->b.func, NULL)}, *around = g->b.block;
    Value *count = block_param(blocks[0], type_scalar(I32), "n");
    block_param(blocks[0], in[1]->type, NULL);
    g->b.block = blocks[0];
    vec_push(g->arena, &blocks[0]->results, gen_binary(g, OP_lt, count, gen_constant(g, type_scalar(I32), gen_below(g, 6))));
    size_t from = g->pool.n;
    Value *n = block_param(blocks[1], type_scalar(I32), "n");
    vec_push(g->arena, &g->pool, block_param(blocks[1], in[1]->type, NULL));
    steps_inside(g, blocks[1], 1 + gen_below(g, 3));
    vec_push(g->arena, &blocks[1]->results, gen_binary(g, OP_add, n, gen_constant(g, type_scalar(I32), 1)));
    vec_push(g->arena, &blocks[1]->results, inside(g, in[1]->type, from));
    g->b.block = around;
    g->pool.n = from;
    Attr max = attr_i(A_max, gen_below(g, 6));
    const Type *types[2] = {in[0]->type, in[1]->type};
    const char *why;
    Op *op = op_try_full(&g->b, OP_while, 2, in, 1, &max, 2, blocks, 2, types, &why);
    if (!op) return NULL;
    vec_push(g->arena, &g->pool, op->out[0]);
    return op->out[1];
}

/* ---- steps ---- */

/* clang-format off */
static Value *make(Gen *g, OpCode code) {
    switch (code) {
    case OP_neg: case OP_abs: case OP_sign: case OP_exp: case OP_expm1: case OP_log: case OP_log1p: case OP_sqrt: case OP_sin: case OP_cos: case OP_tanh:
    case OP_sigmoid: case OP_erf: case OP_floor: case OP_ceil: case OP_round: case OP_not: return gen_make_unary(g, code);
    case OP_convert: return gen_make_convert(g);
    case OP_add: case OP_sub: case OP_mul: case OP_div: case OP_floor_div: case OP_mod: case OP_pow: case OP_max: case OP_min: case OP_eq: case OP_ne: case OP_lt:
    case OP_le: case OP_gt: case OP_ge: case OP_and: case OP_or: case OP_mix: return gen_make_binary(g, code);
    case OP_fma: return gen_make_fma(g);
    case OP_select: return gen_make_select(g);
    case OP_constant: case OP_literal: case OP_iota: return gen_fresh(g, gen_type(g, g->o->smooth ? F32 : (Elem)gen_below(g, ELEM_COUNT), 0));
    case OP_batch: return g_batch(&g->b);
    case OP_uniform: return gen_drawn(g, gen_type(g, F32, 0));
    case OP_broadcast: return gen_make_broadcast(g);
    case OP_reshape: return gen_make_reshape(g);
    case OP_transpose: return gen_make_transpose(g);
    case OP_slice: return gen_make_slice(g);
    case OP_pad: return gen_make_pad(g);
    case OP_concat: return gen_make_concat(g);
    case OP_reverse: return gen_make_reverse(g);
    case OP_take: case OP_take_add: return gen_make_take(g, code);
    case OP_gather: case OP_scatter_add: return gen_make_gather(g, code);
    case OP_dynamic_slice: case OP_dynamic_update: return gen_make_dynamic(g, code);
    case OP_contract: return gen_make_contract(g);
    case OP_conv: return gen_make_conv(g);
    case OP_sum: case OP_prod: case OP_reduce_max: case OP_reduce_min: case OP_any: case OP_all: return gen_make_reduce(g, code);
    case OP_argmax: case OP_argmin: case OP_sort: case OP_top_k: return gen_make_along(g, code);
    case OP_window_max: case OP_window_sum: case OP_window_put: case OP_window_pick: return gen_make_window(g, code);
    case OP_scan: return g->depth < MOST_DEPTH ? make_scan(g) : NULL;
    case OP_while: return g->depth < MOST_DEPTH ? make_while(g) : NULL;
    case OP_stop_gradient: return gen_unary(g, code, gen_some(g, gen_is_anything, 0));
    case OP_grad: case OP_kernel: case OP_COUNT: return NULL;
    }
    return NULL;
}
/* clang-format on */

/* Ops that jump or bend, or make floats into something else. */
static bool is_smooth(OpCode code) {
    static const OpCode rough[] = {
        OP_abs,    OP_sign, OP_floor, OP_ceil,       OP_round,      OP_floor_div,   OP_mod,        OP_max,           OP_min,
        OP_eq,     OP_ne,   OP_lt,    OP_le,         OP_gt,         OP_ge,          OP_reduce_max, OP_reduce_min,    OP_argmax,
        OP_argmin, OP_sort, OP_top_k, OP_window_max, OP_window_put, OP_window_pick, OP_while,      OP_stop_gradient, OP_mix,
        OP_batch,  OP_any,  OP_all,   OP_and,        OP_or,         OP_not};
    for (size_t i = 0; i < sizeof rough / sizeof *rough; i++)
        if (rough[i] == code) return false;
    return true;
}

static bool may_draw(const Gen *g, OpCode code) {
    if (g->o->only_allowed && !g->o->allow[code]) return false;
    if ((code == OP_scan || code == OP_while) && g->o->no_control) return false;
    if (code == OP_while && gen_differentiable(g)) return false;
    return code != OP_grad && code != OP_kernel && (!g->o->smooth || is_smooth(code));
}

static void step(Gen *g) {
    for (int tries = 0; tries < 20; tries++) {
        OpCode code = (OpCode)gen_below(g, OP_COUNT);
        if (!may_draw(g, code)) continue;
        Value *v = make(g, code);
        if (!v || !gen_small_enough(g, v->type)) continue; /* a large one stays unused */
        vec_push(g->arena, &g->pool, v);
        for (int i = 1; v->def && v->def->n_out > 1 && v->def->n_blocks == 0 && i < v->def->n_out; i++)
            vec_push(g->arena, &g->pool, v->def->out[i]);
        return;
    }
}

/* ---- the whole ---- */

static Value *add_input(Gen *g, SlotKind kind, const char *name, const Type *t) {
    Slot *s = slot_new(g->b.func->module, kind, name, t, (Loc){0});
    if (kind == SLOT_FIELD || kind == SLOT_VAR) s->command = intern("c");
    s->batch_bound = type_has_batch(t) ? RANDOM_BATCH_BOUND : 0;
    Value *v = func_read(g->b.func, s);
    vec_push(g->arena, &g->pool, v);
    return v;
}

static void add_inputs(Gen *g) {
    Dim batch[] = {{1, true}, {1 + gen_below(g, 5), false}, {1 + gen_below(g, 3), false}};
    g->key = add_input(g, SLOT_KEY, "key", type_scalar(I64));
    g->first = add_input(g, SLOT_FIRST, "first", type_scalar(I64));
    add_input(g, SLOT_FIELD, "image", type_make(gen_chance(g, 2) ? F32 : U8, 1 + gen_below(g, 3), batch));
    add_input(g, SLOT_FIELD, "label", type_make(I32, 1, batch));
    for (int i = 0; i < 3; i++) {
        const Type *t = gen_type(g, i == 2 && gen_chance(g, 3) ? F64 : F32, i);
        add_input(g, type_has_batch(t) ? SLOT_FIELD : SLOT_PARAM, intern_printf("p%d", i), t);
    }
}

/* A parameter of the type that no result is written to yet. */
static Slot *unwritten_param(Gen *g, const Type *t) {
    const Func *f = g->b.func;
    for (size_t i = 0; i < f->in_slots.n; i++) {
        Slot *s = f->in_slots.at[i];
        bool written = s->kind != SLOT_PARAM || s->type != t;
        for (size_t k = 0; k < f->out_slots.n; k++) written |= f->out_slots.at[k] == s;
        if (!written) return s;
    }
    return NULL;
}

static void add_output(Gen *g, Value *v) {
    int k = g->outputs++;
    if (k < RANDOM_MOST_OUTPUTS && g->o->drop[k]) return;
    Slot *param = gen_chance(g, 3) ? unwritten_param(g, v->type) : NULL;
    if (param) {
        func_write(g->b.func, param, v); /* an update: the old value may have readers still */
        return;
    }
    Slot *s = slot_new(g->b.func->module, SLOT_VAR, intern_printf("out%zu", g->b.func->out_slots.n), v->type, (Loc){0});
    s->command = intern("c");
    s->batch_bound = type_has_batch(v->type) ? RANDOM_BATCH_BOUND : 0;
    func_write(g->b.func, s, v);
}

/* The sum of v times drawn weights, as f32. */
static Value *weighed(Gen *g, Value *v) {
    Value *u = gen_drawn(g, v->type),
          *p = gen_binary(g, OP_mul, g_convert(&g->b, v, F32), gen_binary(g, OP_sub, u, gen_constant(g, u->type, 0.25)));
    int64_t axes[MAX_RANK];
    for (int i = 0; i < p->type->rank; i++) axes[i] = i;
    return p->type->rank ? g_reduce(&g->b, OP_sum, p, p->type->rank, axes) : p;
}

/* Gradients of a sum of the newest floats with respect to inputs and one value in between; then, if smooth, of a sum of these. */
static void add_gradients(Gen *g) {
    Value *loss = gen_constant(g, type_scalar(F32), 0), *in[8];
    const Type *types[8];
    int summed = 0, n = 1;
    for (size_t i = g->pool.n; i > 0 && summed < 4; i--)
        if (elem_is_float(g->pool.at[i - 1]->type->elem))
            loss = gen_binary(g, OP_add, loss, weighed(g, g->pool.at[i - 1])), summed++;
    in[0] = loss;
    g->b.loc.line = 1;
    for (size_t i = 0; i < g->pool.n && n < 5; i++)
        if (elem_is_float(g->pool.at[i]->type->elem)) types[n - 1] = g->pool.at[i]->type, in[n++] = g->pool.at[i];
    Op *op = op_make_full(&g->b, OP_grad, n, in, 0, NULL, 0, NULL, n - 1, types);
    for (int i = 0; i < op->n_out; i++) add_output(g, op->out[i]);
    if (!g->o->smooth) return;
    Value *sum = weighed(g, op->out[0]);
    for (int i = 1; i < op->n_out; i++) sum = gen_binary(g, OP_add, sum, weighed(g, op->out[i]));
    in[0] = sum;
    g->b.loc.line = 2;
    Op *second = op_make_full(&g->b, OP_grad, n, in, 0, NULL, 0, NULL, n - 1, types);
    for (int i = 0; i < second->n_out; i++) add_output(g, second->out[i]);
}

static void prune_block(const Block *b, const int *uses, bool *again) {
    for (Op *op = b->last, *prev; op; op = prev) {
        prev = op->prev;
        int used = 0;
        for (int i = 0; i < op->n_out; i++) used += uses[op->out[i]->id];
        for (int i = 0; i < op->n_blocks && used; i++) prune_block(op->blocks[i], uses, again);
        if (used) continue;
        op_remove(op);
        *again = true;
    }
}

static void prune(Arena *a, Func *f) {
    for (bool again = true; again;) {
        again = false;
        prune_block(f->body, func_count_uses(a, f), &again);
    }
}

/* ---- cutting ---- */

typedef struct OpList {
    Arena *arena;
    Vec(Op *) ops;
} OpList;

static void list_op(Op *op, void *arg) {
    OpList *list = arg;
    vec_push(list->arena, &list->ops, op);
}

static OpList ops_of(Arena *a, const Func *f) {
    OpList list = {.arena = a};
    block_walk(f->body, list_op, &list);
    return list;
}

/* A new input, behind all others, so that those keep their values. */
static Value *input_instead(Func *f, const Type *t) {
    bool batch = type_has_batch(t);
    Slot *s = slot_new(f->module, batch ? SLOT_FIELD : SLOT_PARAM, intern_printf("cut%zu", f->in_slots.n), t, (Loc){0});
    if (batch) s->command = intern("c");
    s->batch_bound = batch ? RANDOM_BATCH_BOUND : 0;
    return func_read(f, s);
}

static void cut_op(Arena *a, Func *f, Op *op, int how) {
    const int *uses = func_count_uses(a, f);
    for (int i = 0; i < op->n_out; i++) {
        Value *v = op->out[i], *operand = how > 1 && how - 2 + i < op->n_in ? op->in[how - 2 + i] : NULL;
        if (!uses[v->id]) continue;
        value_replace(f, v, operand && operand->type == v->type ? operand : input_instead(f, v->type));
    }
    op_remove(op);
}

/* From the last op to the first, so that what only cut ops used has no use any more when it is reached. */
static void cut_ops(Arena *a, Func *f, const unsigned char *cut) {
    OpList list = ops_of(a, f);
    for (size_t i = list.ops.n < RANDOM_MOST_OPS ? list.ops.n : RANDOM_MOST_OPS; i-- > 0;) {
        bool inside = false; /* of an op that is cut itself */
        for (const Op *around = list.ops.at[i]->block->op; around && !inside; around = around->block->op)
            for (size_t k = 0; k < i && !inside; k++) inside = cut[k] && list.ops.at[k] == around;
        if (cut[i] && !inside) cut_op(a, f, list.ops.at[i], cut[i]);
    }
}

/* ---- the finished graph ---- */

static void count_op(Op *op, void *arg) {
    const RandomOptions *o = arg;
    if (o->drawn) o->drawn[op->code]++;
    for (int i = 0; i < op->n_out; i++)
        for (int k = 0; k < op->out[i]->type->rank; k++) {
            if (o->zero_sized && op->out[i]->type->dim[k].n == 0) ++*o->zero_sized;
            if (o->size_one && op->out[i]->type->dim[k].n == 1) ++*o->size_one;
        }
}

Module *random_graph(Arena *a, const RandomOptions *o) {
    Module *m = module_new(a);
    Func *f = func_new(m, "f", (Loc){0});
    f->batch_bound = RANDOM_BATCH_BOUND;
    Gen g = {.o = o, .arena = a, .b = builder_at_end(f), .state = random_stir(o->seed)};
    add_inputs(&g);
    size_t inputs = g.pool.n;
    for (int i = 0; i < o->steps && i < RANDOM_MOST_STEPS; i++) {
        g.state = random_mix(o->seed, (uint64_t)i);
        step(&g);
    }
    g.state = random_mix(o->seed, RANDOM_MOST_STEPS);
    size_t made = g.pool.n;
    for (size_t i = made; i > inputs && i + 8 > made; i--) add_output(&g, g.pool.at[i - 1]);
    if (g.outputs == 0) add_output(&g, gen_constant(&g, type_scalar(F32), 0));
    if (o->grads || o->smooth) add_gradients(&g);
    cut_ops(a, f, o->cut);
    if (o->prune) prune(a, f);
    block_walk(f->body, count_op, (void *)o);
    return m;
}

Tensor **random_inputs(Arena *a, const Func *f, EvalType type, int64_t batch, uint64_t seed, bool smooth) {
    static const double special[] = {0, -0.0, 1, -1, INFINITY, -INFINITY, NAN, 1e-40, 3e38, 100};
    Tensor **x = arena_make_n(a, Tensor *, f->body->params.n + 1);
    uint64_t state = random_stir(seed);
    for (size_t i = 0; i < f->body->params.n; i++) {
        const Type *t = f->body->params.at[i]->type;
        x[i] = tensor_new(type, t, batch);
        for (int64_t k = 0; k < x[i]->count; k++) {
            uint64_t r = random_stir(state += 0x9e3779b97f4a7c15u);
            double v = (double)(r >> 40) * 0x1p-22 - 2; /* exact in f32 */
            if (!elem_is_float(t->elem))
                v = t->elem == BOOL ? (double)(r & 1) : t->elem == U8 ? (double)(r % 9) : (double)(int)(r % 12) - 3;
            else if (!smooth && r % 64 == 0)
                v = special[(r >> 8) % (sizeof special / sizeof *special)];
            if (f->in_slots.at[i]->kind == SLOT_FIRST) v = (double)(r % 1000);
            tensor_set(x[i], k, t->elem == F32 ? (double)(float)v : v);
        }
    }
    return x;
}

/* ---- shrinking ---- */

/* The number of ops before or after cutting; -1 if what is left is no valid graph. */
static int count_ops(const RandomOptions *o, bool after) {
    RandomOptions plain = *o;
    plain.drawn = plain.zero_sized = plain.size_one = NULL;
    if (!after) memset(plain.cut, 0, sizeof plain.cut), plain.prune = false;
    Arena *a = arena_new();
    Module *m = random_graph(a, &plain);
    int n = graph_verify(a, m, STAGE_FRONT) ? -1 : (int)ops_of(a, func_by_name(m, "f")).ops.n;
    arena_free(a);
    return n;
}

/* Sets those of the n flags that are 0 to `value`, if the graph stays valid and failing; returns whether any was set. */
static bool shrink_flags(RandomOptions *o, void *flags, int n, int value, bool (*fails)(const RandomOptions *o, void *arg),
                         void *arg) {
    unsigned char *flag = flags, before[RANDOM_MOST_OPS];
    bool any = false;
    memcpy(before, flag, (size_t)n);
    for (int i = 0; i < n; i++)
        if (!flag[i]) any = true, flag[i] = (unsigned char)value;
    if (!any) return false;
    if (count_ops(o, true) >= 0 && fails(o, arg)) return true;
    memcpy(flag, before, (size_t)n);
    return false;
}

int random_shrink(RandomOptions *o, bool (*fails)(const RandomOptions *o, void *arg), void *arg) {
    shrink_flags(o, &o->prune, 1, true, fails, arg);
    for (bool again = true; again;) {
        again = false;
        for (int i = RANDOM_MOST_OUTPUTS; i-- > 0;) again |= shrink_flags(o, &o->drop[i], 1, true, fails, arg);
        int n = count_ops(o, false); /* dropping results leaves the ops in their places: only cutting and pruning remove any */
        if (n > RANDOM_MOST_OPS) n = RANDOM_MOST_OPS;
        for (int size = n; size > 0; size /= 2) /* many at a time, then few */
            for (int from = n - size; from > -size; from -= size)
                again |= shrink_flags(o, o->cut + (from > 0 ? from : 0), from > 0 ? size : from + size, 1, fails, arg);
        for (int i = n; i-- > 0;)
            for (int operand = 0; operand < 3; operand++) again |= shrink_flags(o, &o->cut[i], 1, 2 + operand, fails, arg);
    }
    return count_ops(o, true);
}
