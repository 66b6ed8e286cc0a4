/* rewrite.c - see rewrite.h. */
#include "passes/rewrite.h"

Rewrite rewrite_new(Arena *a, Step *s) {
    Rewrite r = {0};
    r.arena = a;
    r.step = s;
    return r;
}

void rewrite_var(Rewrite *r, const Var *from, const Affine *to) { vec_push(r->arena, &r->vars, ((struct RewriteVar){from, to})); }

void rewrite_temp(Rewrite *r, const Temp *from, Expr *to) { vec_push(r->arena, &r->temps, ((struct RewriteTemp){from, to})); }

void rewrite_buffer(Rewrite *r, const Buffer *from, Buffer *to) {
    vec_push(r->arena, &r->buffers, ((struct RewriteBuffer){from, to}));
}

static const Affine *find_var(const Rewrite *r, const Var *v) {
    for (size_t i = r->vars.n; i-- > 0;)
        if (r->vars.at[i].from == v) return r->vars.at[i].to;
    return NULL;
}

static Expr *find_temp(const Rewrite *r, const Temp *t) {
    for (size_t i = r->temps.n; i-- > 0;)
        if (r->temps.at[i].from == t) return r->temps.at[i].to;
    return NULL;
}

static Buffer *find_buffer(const Rewrite *r, Buffer *b) {
    for (size_t i = r->buffers.n; i-- > 0;)
        if (r->buffers.at[i].from == b) return r->buffers.at[i].to;
    return b;
}

const Affine *rewrite_affine(const Rewrite *r, const Affine *x) {
    if (!x) return NULL;
    const Affine *sum = affine_constant(r->arena, x->constant);
    for (int i = 0; i < x->n; i++) {
        const Affine *to = find_var(r, x->term[i].var);
        if (!to) to = affine_var(r->arena, x->term[i].var);
        sum = affine_add(r->arena, sum, affine_scale(r->arena, to, x->term[i].factor));
    }
    return sum;
}

static const Affine **rewrite_indices(const Rewrite *r, int n, const Affine *const *index) {
    if (!n) return NULL;
    const Affine **to = arena_make_n(r->arena, const Affine *, (size_t)n);
    for (int i = 0; i < n; i++) to[i] = rewrite_affine(r, index[i]);
    return to;
}

Expr *rewrite_expr(const Rewrite *r, const Expr *e) {
    if (!e) return NULL;
    if (e->kind == EXPR_TEMP && !e->n_index) {
        Expr *to = find_temp(r, e->temp);
        if (to) return to;
    }
    Expr *copy = arena_make(r->arena, Expr);
    *copy = *e;
    copy->index = rewrite_indices(r, e->n_index, e->index);
    if (e->kind == EXPR_LOAD) {
        copy->buffer = find_buffer(r, e->buffer);
        if (r->guard && !e->guarded) {
            copy->guarded = true;
            copy->value = 0;
        }
    }
    if (e->kind == EXPR_TEMP || e->kind == EXPR_TREE) {
        Expr *to = find_temp(r, e->temp);
        if (to && to->kind == EXPR_TEMP) copy->temp = to->temp;
    }
    if (e->n_args) {
        copy->args = arena_make_n(r->arena, Expr *, (size_t)e->n_args);
        for (int i = 0; i < e->n_args; i++) copy->args[i] = rewrite_expr(r, e->args[i]);
    }
    return copy;
}

static void renew_var(Rewrite *r, const Stmt *s, Stmt *copy) {
    copy->var = step_var(r->arena, r->step, s->var->kind, s->var->name);
    rewrite_var(r, s->var, affine_var(r->arena, copy->var));
}

static void renew_temp(Rewrite *r, const Stmt *s, Stmt *copy) {
    const Temp *t = s->temp;
    copy->temp = step_temp(r->arena, r->step, t->name, t->elem, t->acc, t->rank, t->dim);
    Expr *use = arena_make(r->arena, Expr);
    *use = (Expr){.kind = EXPR_TEMP, .elem = t->elem, .temp = copy->temp};
    rewrite_temp(r, t, use);
}

Stmt *rewrite_stmt(Rewrite *r, const Stmt *s) {
    Stmt *copy = arena_make(r->arena, Stmt);
    *copy = *s;
    copy->prev = copy->next = NULL;
    copy->body = (Body){0};
    copy->lo = rewrite_affine(r, s->lo);
    copy->limits = rewrite_indices(r, s->n_limits, s->limits);
    copy->index = rewrite_indices(r, s->n_index, s->index);
    copy->affine = rewrite_affine(r, s->affine);
    copy->size = rewrite_affine(r, s->size);
    copy->value = rewrite_expr(r, s->value);
    if (s->buffer) copy->buffer = find_buffer(r, s->buffer);
    switch (s->kind) {
    case STMT_FOR:
    case STMT_INDEX: renew_var(r, s, copy); break;
    case STMT_LET:
    case STMT_ACC: renew_temp(r, s, copy); break;
    case STMT_ASSIGN: {
        Expr *to = find_temp(r, s->temp);
        if (to) copy->temp = to->temp;
        break;
    }
    case STMT_CHECK: {
        const Affine *to = find_var(r, s->var);
        if (to) {
            if (to->n != 1) bug("a checked variable became something else");
            copy->var = to->term[0].var;
        }
        break;
    }
    case STMT_STORE:
    case STMT_PREFETCH:
    case STMT_IF: break;
    }
    for (Stmt *b = s->body.first; b; b = b->next) body_add(&copy->body, rewrite_stmt(r, b));
    return copy;
}
