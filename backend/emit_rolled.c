/*
 * emit_rolled.c - what stands behind a register tile, where it is long: activation functions of 28 vectors written out are kilobytes of code that take longer to compile than
 * to run. The tile is copied from registers to the stack once, and the loops over it stay loops:
 *
 *   for i in 0..14 unroll, j in 0..32 vector 16 { h[i, j] = tanh(s[i, j]) }
 *   =>  shadow = s ;  for i in 0..14, j in 0..32 by vectors { h[i, j] = tanh(shadow[i, j]) }
 *
 * Only loops that read accumulators and change none; the accumulators themselves stay in registers.
 */
#include "emit.h"

bool emit_long_op(const Expr *x) {
    return x->kind == EXPR_UNIFORM || (x->kind == EXPR_OP && op_is_function(x->op) && elem_is_float(x->elem));
}

static bool is_long(const Expr *x) {
    if (emit_long_op(x)) return true;
    for (int i = 0; i < x->n_args; i++)
        if (is_long(x->args[i])) return true;
    return false;
}

bool emit_long(const Body *body) {
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->value && is_long(s->value)) return true;
        if ((s->kind == STMT_FOR || s->kind == STMT_IF) && emit_long(&s->body)) return true;
    }
    return false;
}

/* Does the expression call a function that is a chain of f32? wide: set if some number in it has more than 4 bytes (pow is f64 inside). */
static bool is_chain(const Expr *x, bool *wide) {
    bool some = x->kind == EXPR_OP && op_is_function(x->op);
    if (x->kind == EXPR_UNIFORM) return false; /* read from a window (random.c) */
    *wide |= elem_size(x->elem) > 4 || (some && x->op == OP_pow);
    for (int i = 0; i < x->n_args; i++) some |= is_chain(x->args[i], wide);
    return some;
}

bool emit_waits(const Body *body) {
    bool some = false, wide = false;
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->kind != STMT_LET && s->kind != STMT_STORE && s->kind != STMT_INDEX && s->kind != STMT_PREFETCH) return false;
        if (s->value) some |= is_chain(s->value, &wide);
    }
    return some && !wide;
}

typedef Vec(Temp *) Temps;

static void accs_in(Emit *e, const Expr *x, Temps *list) {
    if (x->kind == EXPR_TEMP && x->temp->acc) {
        for (size_t i = 0; i < list->n; i++)
            if (list->at[i] == x->temp) return;
        vec_push(e->arena, list, x->temp);
    }
    for (int i = 0; i < x->n_args; i++) accs_in(e, x->args[i], list);
}

/* Lists the accumulators that the body reads; false if it makes or changes one. */
static bool only_reads(Emit *e, const Body *body, Temps *list) {
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->kind == STMT_ACC || s->kind == STMT_ASSIGN) return false;
        if (s->value) {
            if (s->value->kind == EXPR_TREE) return false;
            accs_in(e, s->value, list);
        }
        if ((s->kind == STMT_FOR || s->kind == STMT_IF) && !only_reads(e, &s->body, list)) return false;
    }
    return true;
}

bool emit_rolled(Emit *e, const Stmt *s) {
    Temps list = {0};
    int64_t least = INT64_MAX;
    for (int i = 0; i < s->n_limits; i++)
        if (affine_is_constant(s->limits[i]) && s->limits[i]->constant < least) least = s->limits[i]->constant;
    if (s->mark == MARK_VECTOR && (!emit_indexes_acc(s) || s->width < 2)) return false;
    int64_t bodies = s->mark == MARK_VECTOR ? least / s->width : least;
    if (e->rolled || e->lanes > 1 || e->mask || bodies < 2 || !emit_long(&s->body) || !only_reads(e, &s->body, &list))
        return false;
    for (size_t i = 0; i < list.n; i++)
        if (e->cell[list.at[i]->id].lanes != 1) return false;
    LLVMValueRef *real = arena_make_n(e->arena, LLVMValueRef, list.n + 1);
    for (size_t i = 0; i < list.n; i++) {
        Cell *c = &e->cell[list.at[i]->id];
        real[i] = c->memory;
        if (list.at[i]->rank) c->memory = emit_acc_shadow(e, list.at[i]);
    }
    int scope = emit_scope(e);
    e->rolled = true;
    emit_for_rolled(e, s);
    e->rolled = false;
    emit_scope_end(e, scope);
    for (size_t i = 0; i < list.n; i++) e->cell[list.at[i]->id].memory = real[i];
    return true;
}
