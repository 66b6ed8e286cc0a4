/*
 * autodiff.c - expand every `grad` into ops: reverse mode, graph to graph.
 * in:  typed graph.   out: no `grad`, no `stop_gradient`; the same values otherwise.
 * keeps: types, slots, order of ops.   adds: yields to scans whose values the way back needs.
 *
 *   %h = tanh %x ; %l = sum %h axes [0] ; %g = grad %l, %x
 *   =>  %h = tanh %x ; %l = sum %h axes [0]
 *       %dh = broadcast 1 ; %g = mul %dh, (sub 1, (mul %h, %h))                @ gradient of line 3
 *
 * From the loss back to the first op, each op whose result has a cotangent gives cotangents to its operands by its rule
 * (grad_*.c), if they depend on what is differentiated by. Grads are expanded in program order, those in nested blocks where
 * their op stands, so that a grad sees the ops that earlier ones became: gradients of gradients need nothing more. A grad inside
 * a block sees the ops of the blocks around it, too; what earlier turns of a loop did to a carried value is not part of it.
 *
 * A cotangent that never came is zero: it is not built until somebody asks for it, and that is worth a warning (E0801).
 */
#include "grad.h"
#include "pipeline.h"

#include <stdio.h>
#include <string.h>

static GradRule *const rules[OP_COUNT] = {
#define OP(name, operands, attrs, rule, elementwise, stages, gradient, evaluator, doc) [OP_##name] = grad_##gradient,
#include "ir/ops.def"
#undef OP
};

/* `none`: the results are no floats or do not depend on floats; `zero`: the slope is zero. Either way nothing goes back. */
void grad_none(GradCtx *c, Op *op, Value *const *dy) { (void)c, (void)op, (void)dy; }
void grad_zero(GradCtx *c, Op *op, Value *const *dy) { (void)c, (void)op, (void)dy; }

void grad_refuse(GradCtx *c, Op *op, Value *const *dy) {
    (void)dy;
    if (op->code == OP_while)
        gr_fault(c, op,
                 "how often a `while` turns is known only when it has run, and its way back would have to keep every turn; use "
                 "`repeat n` with a constant n");
    else
        bug("no gradient passes through `%s`: %s", op_info[op->code].name, op_text(c->arena, op));
}

static bool passes_gradient(OpCode code) { return rules[code] != grad_none && rules[code] != grad_zero; }

/* ---- cotangents ---- */

bool gr_wanted(const GradCtx *c, const Value *v) { return v->id < c->n_wanted && c->wanted[v->id]; }

Value *gr_of(const GradCtx *c, const Value *v) { return v->id < c->n_ct ? c->ct[v->id] : NULL; }

void gr_set(GradCtx *c, Value *v, Value *g) {
    if (g->type != v->type) bug("a cotangent of %s for %s", type_name(g->type), type_name(v->type));
    if (v->id >= c->n_ct) { /* values made since the table was */
        int n = c->b.func->n_values;
        Value **ct = arena_make_n(c->scratch, Value *, (size_t)n);
        if (c->n_ct) memcpy(ct, c->ct, (size_t)c->n_ct * sizeof *ct);
        c->ct = ct;
        c->n_ct = n;
    }
    c->ct[v->id] = g;
}

void gr_give(GradCtx *c, Value *v, Value *g) {
    if (!gr_wanted(c, v)) return;
    Value *old = gr_of(c, v);
    gr_set(c, v, old ? gr_add(c, old, g) : g);
}

void gr_fault(GradCtx *c, const Op *op, const char *why) {
    const char *what = op->code == OP_scan ? "loop" /* a `scan` or a `repeat` */ : intern_printf("`%s`", op_info[op->code].name);
    diag_error(c->diag, op->loc, 802, "no gradient passes through this %s: %s", what, why);
    diag_note(c->diag, c->grad->loc, "the gradient is asked for here");
    c->failed = true;
}

/* ---- small builders ---- */

bool gr_constant(const Value *v, double *value) {
    while (v->def && v->def->code == OP_broadcast) v = v->def->in[0];
    if (!v->def || v->def->code != OP_constant) return false;
    *value = op_real(v->def, A_value);
    return true;
}

Value *gr_sum_to(GradCtx *c, Value *x, int n, const int64_t *axes, const Type *like) {
    if (n) x = g_reduce(&c->b, OP_sum, x, n, axes);
    return type_same_shape(x->type, like) ? x : g_reshape(&c->b, x, like->rank, like->dim);
}

/* ---- which values matter ---- */

static bool mark(bool *wanted, const Value *v) {
    if (wanted[v->id] || !elem_is_float(v->type->elem)) return false;
    return wanted[v->id] = true;
}

/* The results of a scan whose body has been marked; the body is marked again while carried values spread the mark. */
static bool mark_scan(bool *wanted, const Op *op) {
    const Block *b = op->blocks[0];
    int64_t carry = op_int(op, A_carry), n_xs = op_ints(op, A_axes, NULL);
    bool any = false;
    for (int64_t k = 0; k < carry + n_xs; k++)
        if (wanted[op->in[k]->id]) any |= mark(wanted, b->params.at[k + 1]);
    for (bool again = true; again;) {
        again = false;
        any |= gr_mark_block(wanted, b);
        for (int64_t k = 0; k < carry; k++)
            if (wanted[b->results.at[k]->id] && mark(wanted, b->params.at[k + 1])) any = again = true;
    }
    for (size_t k = 0; k < b->results.n; k++)
        if (wanted[b->results.at[k]->id] || ((int64_t)k < carry && wanted[b->params.at[k + 1]->id]))
            any |= mark(wanted, op->out[k]);
    return any;
}

static bool mark_op(Arena *scratch, bool *wanted, const Op *op) {
    if (op->code == OP_scan) return mark_scan(wanted, op);
    if (!passes_gradient(op->code)) return false;
    bool from = false, any = false;
    for (int i = 0; i < op->n_in && !from; i++) from = wanted[op->in[i]->id];
    if (!from && op->n_blocks) {
        Values captured = op_captures(scratch, op);
        for (size_t i = 0; i < captured.n && !from; i++) from = wanted[captured.at[i]->id];
    }
    for (int i = 0; from && i < op->n_out; i++) any |= mark(wanted, op->out[i]);
    return any;
}

static bool mark_until(Arena *scratch, bool *wanted, const Block *b, const Op *end) {
    bool any = false;
    for (Op *op = b->first; op != end; op = op->next) any |= mark_op(scratch, wanted, op);
    return any;
}

bool gr_mark_block(bool *wanted, const Block *b) {
    Arena *scratch = arena_new();
    bool any = mark_until(scratch, wanted, b, NULL);
    arena_free(scratch);
    return any;
}

/* Everything before `op`, in its block and those around it. */
static void mark_before(Arena *scratch, bool *wanted, const Op *op) {
    if (op->block->op) mark_before(scratch, wanted, op->block->op);
    mark_until(scratch, wanted, op->block, op);
}

/* ---- the way back ---- */

static Loc gradient_of(Loc at) {
    char text[64];
    snprintf(text, sizeof text, "gradient of line %d", at.line);
    if (at.file) at.what = intern(text);
    return at;
}

static void run_op(GradCtx *c, Op *op) {
    if (!passes_gradient(op->code)) return;
    bool reached = false, want = op->n_blocks > 0;
    for (int i = 0; i < op->n_out && !reached; i++) reached = gr_of(c, op->out[i]) != NULL;
    if (!reached) return;
    for (int i = 0; i < op->n_in && !want; i++) want = gr_wanted(c, op->in[i]);
    if (!want) return;
    Value *one, **dy = op->n_out == 1 ? &one : arena_make_n(c->scratch, Value *, (size_t)op->n_out);
    for (int i = 0; i < op->n_out; i++) dy[i] = gr_of(c, op->out[i]);
    c->b.loc = gradient_of(op->loc);
    rules[op->code](c, op, dy);
}

void gr_run(GradCtx *c, Op *last) {
    for (Op *op = last; op; op = op->prev) run_op(c, op);
}

GradCtx gr_inside(GradCtx *c, Block *into) {
    GradCtx in = *c;
    in.b.block = into;
    in.b.before = NULL;
    in.ct = NULL;
    in.n_ct = 0;
    return in;
}

/* ---- one grad op ---- */

/* The name of a value that an earlier piece of the command left, before a loop or in an earlier turn, and that the loss is made of with a slope; NULL: none. Such
 * values are where people lose a gradient: it does not cross the loops of a command. */
static const char *handed_over(const GradCtx *c) {
    const Func *f = c->b.func;
    for (size_t i = 0; i < f->in_slots.n; i++) {
        const Slot *s = f->in_slots.at[i];
        if (s->kind != SLOT_VAR || !elem_is_float(s->type->elem)) continue;
        bool *from = arena_make_n(c->scratch, bool, (size_t)f->n_values);
        mark(from, f->body->params.at[i]);
        mark_before(c->scratch, from, c->grad);
        if (!from[c->grad->in[0]->id]) continue;
        const char *dot = strchr(s->name, '.');
        return dot ? dot + 1 : s->name;
    }
    return NULL;
}

static void warn_unreached(const GradCtx *c, const Value *x) {
    diag_warning(c->diag, c->grad->loc, 801,
                 "the gradient with respect to %s%s%s is 0 everywhere: the loss does not depend on it in a way that has a slope",
                 x->name ? "`" : "this", x->name ? x->name : "", x->name ? "`" : "");
    const char *before = handed_over(c);
    if (before)
        diag_note(c->diag, (Loc){0},
                  "it is made of `%s`, which was computed before a loop of the command, or in an earlier turn: gradients do not "
                  "cross those; "
                  "compute it where the gradient is taken",
                  before);
}

static Value *result_of(GradCtx *c, const Op *g, int i) {
    Value *x = g->in[i + 1], *dx = gr_of(c, x);
    if (!dx) {
        if (!c->failed) warn_unreached(c, x); /* else it may be 0 because of the error alone */
        c->b.loc = g->loc;
        dx = gr_like(c, x, 0);
    }
    if (!dx->name) dx->name = g->out[i]->name;
    return dx;
}

static bool expand(PassCtx *p, Func *f, Op *g) {
    Arena *scratch = arena_new();
    bool *wanted = arena_make_n(scratch, bool, (size_t)f->n_values);
    for (int i = 1; i < g->n_in; i++) mark(wanted, g->in[i]);
    mark_before(scratch, wanted, g);
    GradCtx c = {.b = {.arena = p->arena, .func = f, .block = g->block, .before = g, .loc = gradient_of(g->loc)},
                 .arena = p->arena,
                 .scratch = scratch,
                 .diag = p->diag,
                 .grad = g,
                 .wanted = wanted,
                 .masks = gr_no_masks(scratch),
                 .n_wanted = f->n_values};
    if (gr_wanted(&c, g->in[0])) gr_set(&c, g->in[0], gr_like(&c, g->in[0], 1));
    for (Op *at = g; at; at = at->block->op) gr_run(&c, at->prev);
    Values results = {0};
    for (int i = 0; i < g->n_out; i++) vec_push(scratch, &results, result_of(&c, g, i));
    Value **map = arena_make_n(scratch, Value *, (size_t)f->n_values); /* no value is made from here on */
    for (int i = 0; i < g->n_out; i++) map[g->out[i]->id] = results.at[i];
    func_replace_all(f, map);
    op_remove(g);
    arena_free(scratch);
    return !c.failed;
}

/* ---- the pass ---- */

static bool expand_block(PassCtx *p, Block *b) {
    bool ok = true;
    for (Op *op = b->first, *next; op; op = next) {
        next = op->next;
        for (int i = 0; i < op->n_blocks; i++) ok &= expand_block(p, op->blocks[i]);
        if (op->code == OP_grad) ok &= expand(p, b->func, op);
    }
    return ok;
}

typedef struct Stops {
    Value **map;
    Vec(Op *) ops;
    Arena *scratch;
} Stops;

static void find_stop(Op *op, void *arg) {
    Stops *s = arg;
    if (op->code != OP_stop_gradient) return;
    s->map[op->out[0]->id] = op->in[0];
    vec_push(s->scratch, &s->ops, op);
}

/* What stop_gradient held back has been held back: its operand takes its place. */
static void drop_stops(Func *f) {
    Arena *scratch = arena_new();
    Stops s = {.map = arena_make_n(scratch, Value *, (size_t)f->n_values), .scratch = scratch};
    block_walk(f->body, find_stop, &s);
    if (s.ops.n) func_replace_all(f, s.map);
    for (size_t i = 0; i < s.ops.n; i++) op_remove(s.ops.at[i]);
    arena_free(scratch);
}

bool pass_autodiff(PassCtx *c, Module *m) {
    bool ok = true;
    for (size_t i = 0; i < m->funcs.n; i++) {
        ok &= expand_block(c, m->funcs.at[i]->body);
        drop_stops(m->funcs.at[i]);
    }
    return ok;
}
