/* nest.c - see nest.h. */
#include "passes/nest.h"

bool affine_uses(const Affine *x, const Var *v) { return x && affine_factor(x, v) != 0; }

bool expr_uses_var(const Expr *e, const Var *v) {
    if (!e) return false;
    for (int i = 0; i < e->n_index; i++)
        if (affine_uses(e->index[i], v)) return true;
    for (int i = 0; i < e->n_args; i++)
        if (expr_uses_var(e->args[i], v)) return true;
    return false;
}

bool expr_uses_temp(const Expr *e, const Temp *t) {
    if (!e) return false;
    if ((e->kind == EXPR_TEMP || e->kind == EXPR_TREE) && e->temp == t) return true;
    for (int i = 0; i < e->n_args; i++)
        if (expr_uses_temp(e->args[i], t)) return true;
    return false;
}

bool stmt_uses_var(const Stmt *s, const Var *v) {
    if (affine_uses(s->lo, v) || affine_uses(s->affine, v) || affine_uses(s->size, v)) return true;
    for (int i = 0; i < s->n_limits; i++)
        if (affine_uses(s->limits[i], v)) return true;
    for (int i = 0; i < s->n_index; i++)
        if (affine_uses(s->index[i], v)) return true;
    if (s->kind == STMT_CHECK && s->var == v) return true;
    if (expr_uses_var(s->value, v)) return true;
    for (const Stmt *b = s->body.first; b; b = b->next)
        if (stmt_uses_var(b, v)) return true;
    return false;
}

int64_t access_stride(const Buffer *b, int n, const Affine *const *index, const Var *v) {
    int64_t stride = 0;
    for (int i = 0; i < n; i++) stride += affine_factor(index[i], v) * b->stride[i];
    return stride;
}

static int op_cost(OpCode op) {
    if (op_is_function(op)) return op == OP_pow ? 40 : 16;
    if (op == OP_div || op == OP_sqrt || op == OP_floor_div || op == OP_mod) return 5;
    return 1;
}

int expr_cost(const Expr *e) {
    if (!e) return 0;
    int cost = e->kind == EXPR_OP ? op_cost(e->op) : e->kind == EXPR_UNIFORM ? 40 : e->kind == EXPR_TREE ? 8 : 0;
    for (int i = 0; i < e->n_args; i++) cost += expr_cost(e->args[i]);
    return cost;
}

/* The value of x, B at its bound; other variables count as 0. */
static int64_t affine_most(const Step *s, const Affine *x) {
    int64_t most = x->constant;
    for (int i = 0; i < x->n; i++)
        if (x->term[i].var->kind == VAR_BATCH) most += x->term[i].factor * s->batch_bound;
    return most;
}

bool affine_is_known(const Affine *x) {
    for (int i = 0; i < x->n; i++)
        if (x->term[i].var->kind != VAR_BATCH) return false;
    return true;
}

bool loop_is_plain(const Stmt *loop) {
    return loop->n_limits == 1 && affine_is_known(loop->limits[0]) && affine_is_constant(loop->lo) && loop->lo->constant == 0;
}

/* The distance from lo to a limit, if both hang on the same outer variables; else the limit counts from 0 on. Limits that tell nothing alone: as if
 * what is not known were 0. */
int64_t loop_turns(const Step *s, const Stmt *loop) {
    int64_t most = INT64_MAX;
    bool any = false;
    for (int i = 0; i < loop->n_limits; i++) {
        const Affine *limit = loop->limits[i];
        int64_t distance = affine_most(s, limit) - affine_most(s, loop->lo);
        bool told = affine_is_known(limit);
        if (!told) {
            bool same = limit->n == loop->lo->n;
            for (int k = 0; same && k < limit->n; k++)
                same = limit->term[k].var == loop->lo->term[k].var && limit->term[k].factor == loop->lo->term[k].factor;
            told = same;
        }
        if (any && !told) continue;
        if ((told && !any) || distance < most) most = distance;
        any |= told;
    }
    if (most == INT64_MAX) return 1;
    return most > 0 ? (most + loop->step - 1) / loop->step : 0;
}

/* x for the largest batch, where that can be told from what the kernel's top defines. */
static bool at_bound(const Step *s, const Body *kernel, const Affine *x, int64_t *value) {
    int64_t sum = x->constant, part;
    for (int i = 0; i < x->n; i++) {
        const Var *v = x->term[i].var;
        if (v->kind == VAR_BATCH) {
            part = s->batch_bound;
        } else {
            const Stmt *let = NULL;
            for (const Stmt *b = kernel->first; b && !let; b = b->next)
                if (b->kind == STMT_INDEX && b->var == v && b->index_kind == INDEX_DIV) let = b;
            if (!let || !at_bound(s, kernel, let->affine, &part) || part < 0) return false;
            part /= let->by;
        }
        sum += x->term[i].factor * part;
    }
    *value = sum;
    return true;
}

int64_t loop_turns_in(const Step *s, const Body *kernel, const Stmt *loop) {
    int64_t lo, hi, most = INT64_MAX;
    if (!at_bound(s, kernel, loop->lo, &lo)) return loop_turns(s, loop);
    for (int i = 0; i < loop->n_limits; i++)
        if (at_bound(s, kernel, loop->limits[i], &hi) && hi < most) most = hi;
    if (most == INT64_MAX) return loop_turns(s, loop);
    return most > lo ? (most - lo + loop->step - 1) / loop->step : 0;
}

bool stmt_has_mark(const Stmt *s, Mark mark) {
    if (s->kind == STMT_FOR && s->mark == mark) return true;
    for (const Stmt *b = s->body.first; b; b = b->next)
        if (stmt_has_mark(b, mark)) return true;
    return false;
}

void stmt_unshare(Stmt *s) {
    if (s->kind == STMT_FOR && s->mark == MARK_PARALLEL) s->mark = MARK_SERIAL;
    for (Stmt *b = s->body.first; b; b = b->next) stmt_unshare(b);
}

static bool is_let(const Stmt *s) { return s->kind == STMT_LET || s->kind == STMT_INDEX || s->kind == STMT_CHECK; }

static bool is_zero(const Expr *e) { return e->kind == EXPR_CONST && e->value == 0; }

/* acc = fma(x, y, acc), the only statement of its body */
static bool read_fma(const Stmt *s, const Temp *acc, Product *p) {
    if (s->kind != STMT_ASSIGN || s->next || s->temp != acc) return false;
    const Expr *e = s->value;
    if (e->kind != EXPR_OP || e->op != OP_fma || e->n_args != 3) return false;
    if (e->args[2]->kind != EXPR_TEMP || e->args[2]->temp != acc) return false;
    p->x = e->args[0];
    p->y = e->args[1];
    return !expr_uses_temp(p->x, acc) && !expr_uses_temp(p->y, acc);
}

static bool read_reduction(Arena *a, Stmt *s, Product *p) {
    while (s && p->n_reduce < NEST_MAX) {
        for (; s && s->kind == STMT_INDEX; s = s->next) vec_push(a, &p->bounds[p->n_reduce], s);
        if (!s || s->kind != STMT_FOR || s->mark != MARK_SERIAL || s->step != 1) return false;
        if (p->n_reduce == 0)
            p->epilogue = s->next;
        else if (s->next)
            return false;
        p->reduce[p->n_reduce++] = s;
        s = s->body.first;
        if (s && s->kind == STMT_ASSIGN) return read_fma(s, p->acc->temp, p);
    }
    return false;
}

static bool straight(const Stmt *s) { /* an epilogue that can be repeated for every element of a tile */
    for (; s; s = s->next)
        if (s->kind != STMT_LET && s->kind != STMT_STORE && s->kind != STMT_INDEX && s->kind != STMT_CHECK) return false;
    return true;
}

bool product_read(Arena *a, Stmt *top, Product *p) {
    *p = (Product){0};
    Stmt *s = top;
    while (s) {
        if (is_let(s)) {
            vec_push(a, &p->lets, s);
            s = s->next;
        } else if (s->kind == STMT_FOR && !s->next && s->mark == MARK_SERIAL && s->step == 1 && p->n_outer < NEST_MAX) {
            if (!affine_is_constant(s->lo) || s->lo->constant != 0) return false;
            p->outer[p->n_outer++] = s;
            s = s->body.first;
        } else if (s->kind == STMT_FOR && s == top && s->mark == MARK_SERIAL &&
                   s->step == 1) { /* others may follow the top one */
            if (!affine_is_constant(s->lo) || s->lo->constant != 0) return false;
            p->outer[p->n_outer++] = s;
            s = s->body.first;
        } else {
            break;
        }
    }
    if (!s || s->kind != STMT_ACC || s->temp->rank || !is_zero(s->value) || !elem_is_float(s->temp->elem)) return false;
    p->acc = s;
    if (!s->next || !read_reduction(a, s->next, p)) return false;
    return p->n_outer > 0 && straight(p->epilogue);
}
