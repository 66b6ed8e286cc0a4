/*
 * fuse_prepare.c - what fuse does to a block before it groups ops: small changes that let more be fused, and change no bit.
 *
 *   %d = div (convert %image), %c : f32[B, 28, 28]        %r = reshape %image : u8[B, 784]
 *   %x = reshape %d : f32[B, 784]                     =>  %x = div (convert %r), %c : f32[B, 784]       (the reshape is another
 * view of memory)
 *
 *   %h = max %zero, %a                                    %h = max %zero, %a
 *   %m = ge %zero, %a                                 =>  %m = ge %zero, %h                             (only %h is stored)
 */
#include "passes/fuse.h"

#include <string.h>

/* ---- masks from the answer ---- */

static bool same_constant(const Value *a, const Value *b) {
    if (a == b) return a->def && a->def->code == OP_constant;
    if (!a->def || !b->def || a->def->code != OP_constant || b->def->code != OP_constant || a->type != b->type) return false;
    double x = op_real(a->def, A_value), y = op_real(b->def, A_value);
    return memcmp(&x, &y, sizeof x) == 0;
}

/* ge(c, x) -> ge(c, y) where y = max(c, x) is there: the same for every x, NaN too, and y is stored where x is not. So the mask
 * of a relu is found again from what the layer gave, and is not stored beside it. */
void fuse_masks(Fuse *f) {
    Op **max_of = arena_make_n(f->arena, Op *, (size_t)f->n_values + 1); /* by id of x */
    for (int i = 0; i < f->n_ops; i++) {
        Op *op = f->op[i];
        if (op->code == OP_max && op->in[0]->def && op->in[0]->def->code == OP_constant && op->in[1]->id < f->n_values) {
            if (!max_of[op->in[1]->id]) max_of[op->in[1]->id] = op;
        } else if (op->code == OP_ge && op->in[1]->id < f->n_values && max_of[op->in[1]->id]) {
            Op *max = max_of[op->in[1]->id];
            double c = same_constant(op->in[0], max->in[0]) ? op_real(max->in[0]->def, A_value) : 0.0 / 0.0;
            if (c == c) op->in[1] = max->out[0];
        }
    }
}

/* ---- reshapes of what is computed from memory go up to the memory, where they cost nothing ---- */

static bool lies_in_memory(const Fuse *f, const Value *v) {
    int i = fuse_op_of(f, v);
    return i < 0 || (f->op[i]->code == OP_reshape && lies_in_memory(f, f->op[i]->in[0]));
}

/* reshape(f(x, y)) -> f(reshape(x), reshape(y)) for cheap elementwise f of tensors in memory, constants and draws. Returns NULL
 * if it is not such. */
static Value *reshaped(Fuse *f, Builder *b, Value *v, const Type *t, int depth) {
    int i = fuse_op_of(f, v);
    const Type *want = type_make(v->type->elem, t->rank, t->dim);
    if (lies_in_memory(f, v)) return depth ? op_make(b, OP_reshape, 1, &v, 0, NULL, want) : NULL;
    const Op *op = f->op[i];
    if (op->code == OP_constant) return op_make(b, OP_constant, 0, NULL, op->n_attrs, op->attrs, want);
    if (!op_info[op->code].elementwise || op->n_in == 0 || fuse_cost(op->code) >= SCALAR_COST || depth > FREE_COST)
        return NULL; /* iota counts along its axis */
    Value *in[3];
    for (int k = 0; k < op->n_in; k++)
        if (!(in[k] = reshaped(f, b, op->in[k], t, depth + 1))) return NULL;
    return op_make(b, op->code, op->n_in, in, op->n_attrs, op->attrs, want);
}

static bool all_from_memory(const Fuse *f, const Value *v, int depth) {
    if (lies_in_memory(f, v)) return depth > 0;
    const Op *op = f->op[fuse_op_of(f, v)];
    if (op->code == OP_constant) return depth > 0;
    if (!op_info[op->code].elementwise || op->n_in == 0 || fuse_cost(op->code) >= SCALAR_COST || depth > FREE_COST) return false;
    for (int k = 0; k < op->n_in; k++)
        if (!all_from_memory(f, op->in[k], depth + 1)) return false;
    return true;
}

void fuse_list_ops(Fuse *f) {
    Block *b = f->block;
    f->n_ops = 0;
    for (Op *op = b->first; op; op = op->next) f->n_ops++;
    f->n_values = f->func->n_values;
    f->op = arena_make_n(f->arena, Op *, (size_t)f->n_ops);
    f->op_of = arena_make_n(f->arena, int, (size_t)f->n_values);
    int n = 0;
    for (Op *op = b->first; op; op = op->next) {
        f->op[n++] = op;
        for (int k = 0; k < op->n_out; k++) f->op_of[op->out[k]->id] = n;
    }
}

void fuse_reshape_early(Fuse *f) {
    for (int i = 0; i < f->n_ops; i++) {
        Op *op = f->op[i];
        if (op->code != OP_reshape || !all_from_memory(f, op->in[0], 0)) continue;
        Builder b = {.arena = f->func->module->arena,
                     .func = f->func,
                     .block = f->block,
                     .before = op,
                     .loc = f->op[fuse_op_of(f, op->in[0])]->loc};
        Value *v = reshaped(f, &b, op->in[0], op->out[0]->type, 0);
        if (v) value_replace(f->func, op->out[0], v);
    }
}

void fuse_drop_dead(Fuse *f) {
    int *uses = func_count_uses(f->arena, f->func);
    for (Op *op = f->block->last, *prev; op; op = prev) {
        prev = op->prev;
        bool used = false;
        for (int k = 0; k < op->n_out; k++) used |= uses[op->out[k]->id] > 0;
        if (used || op->n_out == 0) continue;
        for (int k = 0; k < op->n_in; k++) uses[op->in[k]->id]--;
        Values inner = {0};
        if (op->n_blocks) inner = op_captures(f->arena, op);
        if (inner.n) uses = NULL;
        op_remove(op);
        if (!uses) uses = func_count_uses(f->arena, f->func);
    }
}
