/*
 * reciprocal.c - many divisions by one number become one division and many products.
 * in:  graph with or without grads.   out: the same.
 * keeps: types, slots.   leaves: constants and broadcasts for simplify.
 *
 *   %y = div %x, (broadcast %s axes [0] : f32[B, 128])          %s: f32[B]
 *   =>  %r = div 1, %s ; %y = mul %x, (broadcast %r axes [0])
 *   %y = div %x, (constant 255)  =>  %y = mul %x, (constant 0.003921569)
 *
 * A division costs what a dozen products cost. Normalisations (batch, layer, softmax) and optimizers divide whole tensors by what
 * is one number a row, a channel, or for all; pixels are divided by 255. It runs before autodiff, whose rule for the product
 * needs no division of the large tensor, either, and behind it. As long as there are grads it takes only divisors that are surely
 * not 0: the gradient's rule for a quotient takes care of 0 * inf in branches not taken, that for a product does not.
 *
 * Bits: x * (1 / s) is rounded twice where x / s is rounded once, so that it may be off by one unit in the last place; the same
 * on every machine. Where s is a denormal number, 1 / s may be infinite.
 *
 * Not done: f64, which is asked for where digits count; small tensors, such as means, where a division costs nothing and is exact
 * when the quotient is.
 */
#include "bounds.h"
#include "pipeline.h"

#include <math.h>

enum { LARGE = 256, SHARED = 8 }; /* elements (for one sample) of what is divided; how many of them share a divisor */

/* The divisor's reciprocal, repeated as the divisor was; NULL if it is not worth it. */
static Value *reciprocal(Builder *b, const Op *op, bool grads) {
    const Op *by = op->in[1]->def;
    const Type *t = op->out[0]->type;
    if (!by || t->elem != F32 || type_count(t, 1) < LARGE) return NULL;
    if (by->code == OP_constant) {
        double k = op_real(by, A_value);
        return fabs(k) >= 1e-30 && fabs(k) <= 1e30 ? g_constant(b, t, 1 / k) : NULL;
    }
    if (by->code != OP_broadcast || type_count(by->in[0]->type, 1) > type_count(t, 1) / SHARED) return NULL;
    if (grads && !(value_at_least(by->in[0]) >= 1e-30)) return NULL;
    Value *s = by->in[0], *r = g_binary(b, OP_div, g_constant(b, s->type, 1), s);
    return op_make(b, OP_broadcast, 1, &r, 1, by->attrs, t);
}

static void reciprocal_block(PassCtx *c, Block *block, bool grads) {
    for (Op *op = block->first; op; op = op->next) {
        for (int i = 0; i < op->n_blocks; i++) reciprocal_block(c, op->blocks[i], grads);
        if (op->code != OP_div) continue;
        Builder b = {.arena = c->arena, .func = block->func, .block = block, .before = op, .loc = op->loc};
        Value *r = reciprocal(&b, op, grads);
        if (!r) continue;
        op->code = OP_mul; /* the same operands and result otherwise */
        op->in[1] = r;
    }
}

bool pass_reciprocal(PassCtx *c, Module *m) {
    for (size_t i = 0; i < m->funcs.n; i++) {
        Block *body = m->funcs.at[i]->body;
        reciprocal_block(c, body, block_has(body, OP_grad));
    }
    return true;
}
