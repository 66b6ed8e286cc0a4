/*
 * lower_scope.c - the pen that lower writes with: scopes that are open, variables and what is known of their range, index
 * arithmetic.
 */
#include "passes/lower.h"

#include <string.h>

const Affine *low_number(Lower *l, int64_t k) { return affine_constant(l->arena, k); }

const Affine *low_dim(Lower *l, Dim d) {
    if (!d.batch) return low_number(l, d.n);
    return affine_scale(l->arena, affine_var(l->arena, l->step->batch), d.n);
}

Var *low_var(Lower *l, VarKind kind, const char *name, int64_t lo, int64_t hi) {
    Var *v = step_var(l->arena, l->step, kind, name);
    while ((int)l->vars.n <= v->id) vec_push(l->arena, &l->vars, ((VarInfo){INT64_MIN / 4, INT64_MAX / 4, NULL}));
    l->vars.at[v->id] = (VarInfo){lo, hi, l->scope};
    return v;
}

static int64_t clamp(__int128 x) {
    const int64_t most = INT64_MAX / 4;
    return x > most ? most : x < -most ? -most : (int64_t)x;
}

void low_range(const Lower *l, const Affine *x, int64_t *lo, int64_t *hi) {
    __int128 a = x->constant, b = x->constant;
    for (int i = 0; i < x->n; i++) {
        const VarInfo *v = &l->vars.at[x->term[i].var->id];
        __int128 p = (__int128)v->lo * x->term[i].factor, q = (__int128)v->hi * x->term[i].factor;
        a += p < q ? p : q;
        b += p < q ? q : p;
    }
    *lo = clamp(a);
    *hi = clamp(b);
}

/* ---- scopes ---- */

void low_emit(Lower *l, Stmt *s) {
    s->loc = l->loc;
    body_insert_before(l->scope->body, l->scope->before, s);
}

static void scope_push(Lower *l, Stmt *s, bool guard) {
    Scope *c = arena_make(l->arena, Scope);
    c->outer = l->scope;
    c->depth = l->scope ? l->scope->depth + 1 : 0;
    c->body = &s->body;
    c->stmt = s;
    c->guard = guard;
    l->scope = c;
}

Var *low_open(Lower *l, const char *name, const Affine *lo, const Affine *limit, int64_t step) {
    int64_t a, b, c, d;
    low_range(l, lo, &a, &b);
    low_range(l, limit, &c, &d);
    Var *v = low_var(l, VAR_LOOP, name, a, d - 1 > a ? d - 1 : a);
    Stmt *s = stmt_for(l->arena, v, lo, limit, step, MARK_SERIAL, 0);
    low_emit(l, s);
    scope_push(l, s, d <= a); /* out of a loop that never turns nothing may be moved: what it reads may have no elements */
    l->vars.at[v->id].scope = l->scope;
    return v;
}

Var *low_open_dim(Lower *l, const char *name, Dim d) { return low_open(l, name, low_number(l, 0), low_dim(l, d), 1); }

void low_open_if(Lower *l, const Affine *at_least_0) {
    Stmt *s = stmt_if(l->arena, at_least_0);
    low_emit(l, s);
    scope_push(l, s, true);
}

const Affine *low_open_axis(Lower *l, int axis, Dim d) { return affine_var(l->arena, low_open_dim(l, low_axis_name(axis), d)); }

void low_close(Lower *l) { l->scope = l->scope->outer; }

void low_close_to(Lower *l, const Scope *s) {
    while (l->scope != s) low_close(l);
}

/* ---- scalars ---- */

Temp *low_let(Lower *l, const char *name, Expr *e) {
    Temp *t = step_temp(l->arena, l->step, name, e->elem, false, 0, NULL);
    low_emit(l, stmt_let(l->arena, t, e));
    return t;
}

Temp *low_acc(Lower *l, const char *name, Elem elem, int64_t lanes, Expr *start) {
    Temp *t = step_temp(l->arena, l->step, name, elem, true, lanes ? 1 : 0, &lanes);
    low_emit(l, stmt_acc(l->arena, t, start));
    return t;
}

Expr *low_temp(Lower *l, Temp *t) { return expr_temp(l->arena, t, NULL); }

void low_set(Lower *l, Temp *t, Expr *e) { low_emit(l, stmt_assign(l->arena, t, NULL, e)); }

Expr *low_binary(Lower *l, OpCode op, Expr *x, Expr *y) {
    Expr *args[2] = {x, y};
    bool compares = op == OP_eq || op == OP_ne || op == OP_lt || op == OP_le || op == OP_gt || op == OP_ge;
    return expr_op(l->arena, op, compares ? BOOL : x->elem, 2, args);
}

Expr *low_i64(Lower *l, const Affine *x) { return expr_index(l->arena, I64, x); }

/* ---- index arithmetic ---- */

/* x = by * *whole + *rest with rest in [0, by) for sure; false if that cannot be seen. */
static bool split(Lower *l, const Affine *x, int64_t by, const Affine **whole, const Affine **rest) {
    int64_t c = x->constant % by;
    if (c < 0) c += by;
    const Affine *q = low_number(l, (x->constant - c) / by), *r = low_number(l, c);
    for (int i = 0; i < x->n; i++) {
        const Affine *v = affine_var(l->arena, x->term[i].var);
        int64_t f = x->term[i].factor;
        if (f % by == 0)
            q = affine_add(l->arena, q, affine_scale(l->arena, v, f / by));
        else
            r = affine_add(l->arena, r, affine_scale(l->arena, v, f));
    }
    int64_t lo, hi;
    low_range(l, r, &lo, &hi);
    *whole = q;
    *rest = r;
    return lo >= 0 && hi < by;
}

/* The innermost scope that knows all variables of the index, but not outside of a condition. */
static Scope *scope_of(const Lower *l, const Affine *const *index, int n) {
    Scope *found = NULL;
    for (Scope *s = l->scope; s && !found; s = s->outer) {
        if (s->guard || !s->outer) found = s;
        for (int k = 0; k < n && !found; k++)
            for (int i = 0; i < index[k]->n; i++)
                if (l->vars.at[index[k]->term[i].var->id].scope == s) found = s;
    }
    return found;
}

Scope *low_scope_of(const Lower *l, int n, const Affine *const *index) { return scope_of(l, index, n); }

/* Goes to an outer scope, before the statement inside which the code is now. Returns what low_return needs. */
Hoisted low_hoist(Lower *l, Scope *target) {
    Hoisted h = {l->scope, target, target->before, l->plain};
    if (target == l->scope) return h;
    Scope *child = l->scope;
    while (child->outer != target) child = child->outer;
    target->before = child->stmt;
    l->scope = target;
    l->plain = false;
    return h;
}

void low_return(Lower *l, Hoisted h) {
    h.target->before = h.before;
    l->scope = h.from;
    l->plain = h.plain;
}

static const Affine *index_let(Lower *l, const Affine *x, int64_t by, IndexKind kind) {
    Hoisted h = low_hoist(l, scope_of(l, &x, 1));
    int64_t lo, hi;
    low_range(l, x, &lo, &hi);
    lo = kind == INDEX_MOD ? 0 : lo / by - (lo % by < 0);
    hi = kind == INDEX_MOD ? by - 1 : hi / by - (hi % by < 0);
    Var *v = low_var(l, VAR_INDEX, kind == INDEX_DIV ? "q" : "r", lo, hi);
    low_emit(l, stmt_index(l->arena, v, kind, x, by, NULL));
    low_return(l, h);
    return affine_var(l->arena, v);
}

const Affine *low_div(Lower *l, const Affine *x, int64_t by) {
    const Affine *q, *r;
    if (by == 1 || split(l, x, by, &q, &r)) return by == 1 ? x : q;
    /* what is divisible need not be divided when it runs */
    int64_t lo, hi;
    low_range(l, r, &lo, &hi);
    return affine_add(l->arena, q, index_let(l, r, by, INDEX_DIV));
}

const Affine *low_mod(Lower *l, const Affine *x, int64_t by) {
    const Affine *q, *r;
    if (by == 1) return low_number(l, 0);
    return split(l, x, by, &q, &r) ? r : index_let(l, r, by, INDEX_MOD);
}

const Affine *low_index_value(Lower *l, const char *name, Expr *e, int64_t lo, int64_t hi) {
    Var *v = low_var(l, VAR_INDEX, name, lo, hi);
    low_emit(l, stmt_index(l->arena, v, INDEX_VALUE, NULL, 0, e));
    return affine_var(l->arena, v);
}

const char *low_axis_name(int axis) {
    static const char *const names[] = {"i", "j", "k", "m", "n", "o", "p", "q", "r", "s", "t", "u"};
    return names[axis < 12 ? axis : 11];
}

const char *low_value_name(const Value *v) {
    while (!v->name && v->def && v->def->code == OP_kernel) v = v->def->blocks[0]->results.at[v->index];
    return v->name ? v->name : v->def ? op_info[v->def->code].name : "v";
}
