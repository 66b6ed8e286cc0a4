/*
 * grad_elementwise.c - gradient rules of the ops that work element by element.
 *
 * Where the derivative is a function of the answer (exp, tanh, sqrt, 1/x) the rule uses the answer, so that the operand need not
 * be kept. A branch of `select` that was not taken must not turn 0 * inf into NaN: gr_mul and its kin see to that (grad_mask.c).
 * Where the derivative itself can be infinite (div, log, log1p, sqrt, pow, and exp, which overflows) a zero cotangent gives zero
 * from wherever it comes.
 */
#include "bounds.h"
#include "grad.h"

/* A divisor that is at least this, and a quotient by it, are as finite as the rest of the program. */
static const double clear_of_zero = 1e-30;

/* g / b, guarded unless b is surely not 0 */
static Value *divided(GradCtx *c, Value *dy, Value *g, Value *b) {
    double k;
    Value *q = gr_div(c, g, b);
    bool finite = (gr_constant(b, &k) && k != 0) || value_at_least(b) >= clear_of_zero;
    return finite ? q : gr_guard(c, dy, q);
}

/* y = -a:  da = -dy */
void grad_neg(GradCtx *c, Op *op, Value *const *dy) { gr_give(c, op->in[0], gr_neg(c, dy[0])); }

/* y = |a|:  da = dy sign(a), 0 at 0 */
void grad_abs(GradCtx *c, Op *op, Value *const *dy) {
    gr_give(c, op->in[0], gr_mul(c, dy[0], g_unary(&c->b, OP_sign, op->in[0])));
}

/* y = e^a:  da = dy y */
void grad_exp(GradCtx *c, Op *op, Value *const *dy) {
    Value *g = gr_mul(c, dy[0], op->out[0]);
    gr_give(c, op->in[0], value_at_most(op->in[0]) <= 80 ? g : gr_guard(c, dy[0], g));
}

/* y = e^a - 1:  da = dy (y + 1) */
void grad_expm1(GradCtx *c, Op *op, Value *const *dy) {
    Value *slope = gr_add(c, op->out[0], gr_like(c, op->out[0], 1));
    gr_give(c, op->in[0], gr_guard(c, dy[0], gr_mul(c, dy[0], slope)));
}

/* y = log a:  da = dy / a */
void grad_log(GradCtx *c, Op *op, Value *const *dy) { gr_give(c, op->in[0], divided(c, dy[0], dy[0], op->in[0])); }

/* y = log(1 + a):  da = dy / (1 + a) */
void grad_log1p(GradCtx *c, Op *op, Value *const *dy) {
    Value *a1 = gr_add(c, op->in[0], gr_like(c, op->in[0], 1));
    gr_give(c, op->in[0], divided(c, dy[0], dy[0], a1));
}

/* y = sqrt a:  da = dy / (2 y) */
void grad_sqrt(GradCtx *c, Op *op, Value *const *dy) {
    gr_give(c, op->in[0], divided(c, dy[0], gr_scale(c, dy[0], 0.5), op->out[0]));
}

/* y = sin a:  da = dy cos a */
void grad_sin(GradCtx *c, Op *op, Value *const *dy) {
    gr_give(c, op->in[0], gr_mul(c, dy[0], g_unary(&c->b, OP_cos, op->in[0])));
}

/* y = cos a:  da = -dy sin a */
void grad_cos(GradCtx *c, Op *op, Value *const *dy) {
    gr_give(c, op->in[0], gr_neg(c, gr_mul(c, dy[0], g_unary(&c->b, OP_sin, op->in[0]))));
}

/* y = tanh a:  da = dy (1 - y^2) */
void grad_tanh(GradCtx *c, Op *op, Value *const *dy) {
    Value *y = op->out[0];
    gr_give(c, op->in[0], gr_mul(c, dy[0], gr_sub(c, gr_like(c, y, 1), gr_mul(c, y, y))));
}

/* y = 1 / (1 + e^-a):  da = dy y (1 - y) */
void grad_sigmoid(GradCtx *c, Op *op, Value *const *dy) {
    Value *y = op->out[0];
    gr_give(c, op->in[0], gr_mul(c, dy[0], gr_mul(c, y, gr_sub(c, gr_like(c, y, 1), y))));
}

/* y = erf a:  da = dy 2/sqrt(pi) e^(-a^2) */
void grad_erf(GradCtx *c, Op *op, Value *const *dy) {
    Value *a = op->in[0];
    Value *bell = g_unary(&c->b, OP_exp, gr_neg(c, gr_mul(c, a, a)));
    gr_give(c, a, gr_mul(c, dy[0], gr_scale(c, bell, 1.1283791670955126)));
}

static Value *convert_to(GradCtx *c, Value *v, const void *type) { return g_convert(&c->b, v, ((const Type *)type)->elem); }

/* y = a in another element type:  da = dy in a's */
void grad_convert(GradCtx *c, Op *op, Value *const *dy) {
    if (gr_wanted(c, op->in[0])) gr_give(c, op->in[0], gr_map(c, dy[0], convert_to, op->in[0]->type));
}

/* y = a + b:  da = db = dy */
void grad_add(GradCtx *c, Op *op, Value *const *dy) {
    gr_give(c, op->in[0], dy[0]);
    gr_give(c, op->in[1], dy[0]);
}

/* y = a - b:  da = dy, db = -dy */
void grad_sub(GradCtx *c, Op *op, Value *const *dy) {
    gr_give(c, op->in[0], dy[0]);
    if (gr_wanted(c, op->in[1])) gr_give(c, op->in[1], gr_neg(c, dy[0]));
}

/* y = a b:  da = dy b, db = dy a */
void grad_mul(GradCtx *c, Op *op, Value *const *dy) {
    for (int i = 0; i < 2; i++)
        if (gr_wanted(c, op->in[i])) gr_give(c, op->in[i], gr_mul(c, dy[0], op->in[1 - i]));
}

/* y = a / b:  da = dy / b, db = -(dy / b) y; for a = 1 that is -(dy y) y, without a division */
void grad_div(GradCtx *c, Op *op, Value *const *dy) {
    Value *a = op->in[0], *b = op->in[1], *y = op->out[0];
    double k;
    if (gr_wanted(c, a)) gr_give(c, a, divided(c, dy[0], dy[0], b));
    if (!gr_wanted(c, b)) return;
    Value *q = gr_constant(a, &k) && k == 1 ? gr_mul(c, dy[0], y) : gr_div(c, dy[0], b);
    Value *g = gr_neg(c, gr_mul(c, q, y));
    gr_give(c, b, value_at_least(b) >= clear_of_zero ? g : gr_guard(c, dy[0], g));
}

/* y = a - b floor(a / b), floor of the exact quotient:  da = dy, db = -dy floor(a / b) */
void grad_mod(GradCtx *c, Op *op, Value *const *dy) {
    Value *a = op->in[0], *b = op->in[1];
    gr_give(c, a, dy[0]);
    if (!gr_wanted(c, b)) return;
    Value *q = g_binary(&c->b, OP_floor_div, a, b);
    gr_give(c, b, gr_guard(c, dy[0], gr_neg(c, gr_mul(c, dy[0], q))));
}

/* y = a^b:  da = (dy b) a^(b - 1), db = (dy y) log a; each 0 where what stands in parentheses is (a^0 is flat, and so is 0^b in b
 * > 0) */
void grad_pow(GradCtx *c, Op *op, Value *const *dy) {
    Value *a = op->in[0], *b = op->in[1];
    if (gr_wanted(c, a)) {
        Value *t = gr_mul(c, dy[0], b);
        Value *less = gr_sub(c, b, gr_like(c, b, 1));
        gr_give(c, a, gr_guard(c, t, gr_mul(c, t, g_binary(&c->b, OP_pow, a, less))));
    }
    if (gr_wanted(c, b)) {
        Value *t = gr_mul(c, dy[0], op->out[0]);
        gr_give(c, b, gr_guard(c, t, gr_mul(c, t, g_unary(&c->b, OP_log, a))));
    }
}

static Value *where_not(GradCtx *c, Value *v, const void *cond) {
    return g_select(&c->b, *(Value *const *)cond, gr_like(c, v, 0), v);
}

/* y = cond ? a : b, the larger or smaller of the two:  that one gets dy, the other 0 */
static void to_extreme(GradCtx *c, Value *cond, const Op *op, Value *dy) {
    if (gr_wanted(c, op->in[0])) gr_give(c, op->in[0], gr_map(c, dy, gr_where, &cond));
    if (gr_wanted(c, op->in[1])) gr_give(c, op->in[1], gr_map(c, dy, where_not, &cond));
}

/* y = a >= b ? a : b */
void grad_max(GradCtx *c, Op *op, Value *const *dy) { to_extreme(c, g_binary(&c->b, OP_ge, op->in[0], op->in[1]), op, dy[0]); }

/* y = a <= b ? a : b */
void grad_min(GradCtx *c, Op *op, Value *const *dy) { to_extreme(c, g_binary(&c->b, OP_le, op->in[0], op->in[1]), op, dy[0]); }

/* y = c ? a : b:  the branch taken gets dy, the other 0, which stays 0 on its way back */
void grad_select(GradCtx *c, Op *op, Value *const *dy) {
    if (gr_wanted(c, op->in[1])) gr_give(c, op->in[1], gr_branch(c, op->in[0], dy[0], false));
    if (gr_wanted(c, op->in[2])) gr_give(c, op->in[2], gr_branch(c, op->in[0], dy[0], true));
}

/* y = a b + d:  da = dy b, db = dy a, dd = dy */
void grad_fma(GradCtx *c, Op *op, Value *const *dy) {
    grad_mul(c, op, dy);
    gr_give(c, op->in[2], dy[0]);
}
