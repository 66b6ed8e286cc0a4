/*
 * emit_variant.c - partial tiles without tests in the inner loop, and the questions that decide how a loop may be emitted.
 *
 * A register tile at the edge has fewer rows or columns:
 *
 *   for ii in 0..B step 14 {                              for i in 0..min(14, B - ii) unroll { ... }   deep inside, in a loop over k
 *
 * Where all variables of such a limit L are known (here: at the top of the body of ii), the body is emitted in variants:
 *
 *   if (L >= 14)   whole tiles: every turn of the unrolled loops exists
 *   else           if L is a constant in the last turn of ii (384 rows in tiles of 14: 6 are left): ii is that constant, and so L
 *                  else if L == the rows left when the batch is as large as it may be: that constant
 *                  else 14 turns, of which only L exist: rows that do not exist are computed from the operands of the last one that does and are
 *                  never stored. That is harmless where all they change is their own elements of an accumulator (emit_harmless).
 */
#include "emit.h"

/* ---- facts ---- */

const Fact *emit_fact(const Emit *e, const Affine *limit) {
    for (size_t i = e->facts.n; i-- > 0;)
        if (affine_same(e->facts.at[i].limit, limit)) return &e->facts.at[i];
    return NULL;
}

/* A limit that asks for variants, with the constant limit beside it. */
typedef struct Wish {
    const Affine *limit;
    int64_t whole;
} Wish;

static bool bound_here(const Emit *e, const Affine *x) {
    for (int i = 0; i < x->n; i++)
        if (!e->bind[x->term[i].var->id].set || e->bind[x->term[i].var->id].vec) return false;
    return x->n > 0;
}

/* Is var of a loop inside `body`? Bindings of an earlier variant may still be there. */
static bool declared_in(const Body *body, const Var *v) {
    for (const Stmt *s = body->first; s; s = s->next) {
        if ((s->kind == STMT_FOR || s->kind == STMT_INDEX) && s->var == v) return true;
        if ((s->kind == STMT_FOR || s->kind == STMT_IF) && declared_in(&s->body, v)) return true;
    }
    return false;
}

static bool wished(Emit *e, const Body *top, const Stmt *s, Wish *w) {
    if (s->mark != MARK_UNROLL && s->mark != MARK_VECTOR) return false;
    if (!affine_is_constant(s->lo) || s->lo->constant != 0) return false;
    w->whole = INT64_MAX;
    for (int i = 0; i < s->n_limits; i++)
        if (affine_is_constant(s->limits[i]) && s->limits[i]->constant < w->whole) w->whole = s->limits[i]->constant;
    if (w->whole == INT64_MAX || w->whole <= 1) return false;
    for (int i = 0; i < s->n_limits; i++) {
        const Affine *x = s->limits[i];
        int64_t min, max;
        if (affine_is_constant(x) || !bound_here(e, x) || emit_fact(e, x)) continue;
        bool inner = false;
        for (int j = 0; j < x->n; j++) inner |= declared_in(top, x->term[j].var);
        emit_affine_range(e, x, &min, &max);
        Lin l = emit_lin(e, x, false);
        if (inner || min >= w->whole || l.n == 0) continue;
        w->limit = x;
        return true;
    }
    return false;
}

static bool find_wish(Emit *e, const Body *top, const Body *body, Wish *w) {
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->kind == STMT_FOR && wished(e, top, s, w)) return true;
        if ((s->kind == STMT_FOR || s->kind == STMT_IF) && find_wish(e, top, &s->body, w)) return true;
    }
    return false;
}

/* The variable's last value, if its loop says: lo and one limit constant (a batch taken as large as it may be). */
static bool last_turn(const Emit *e, const Stmt *loop, bool full_batch, int64_t *last) {
    if (!loop || loop->n_limits != 1 || !affine_is_constant(loop->lo)) return false;
    const Affine *x = loop->limits[0];
    int64_t limit = x->constant;
    for (int i = 0; i < x->n; i++) {
        if (!full_batch || x->term[i].var != e->step->batch) return false;
        limit += x->term[i].factor * e->step->batch_bound;
    }
    if (limit <= loop->lo->constant) return false;
    *last = loop->lo->constant + (limit - 1 - loop->lo->constant) / loop->step * loop->step;
    return true;
}

/* L is at least 1 because a variable in it stops before: L + v is a limit of v's loop. */
static bool at_least_one(Emit *e, const Affine *limit) {
    int64_t min, max;
    emit_affine_range(e, limit, &min, &max);
    if (min >= 1) return true;
    for (int i = 0; i < limit->n; i++) {
        const Bind *b = &e->bind[limit->term[i].var->id];
        if (!b->loop || limit->term[i].factor != -1) continue;
        const Affine *sum = affine_add(e->arena, limit, affine_var(e->arena, limit->term[i].var));
        for (int j = 0; j < b->loop->n_limits; j++)
            if (affine_same(b->loop->limits[j], sum)) return true;
    }
    return false;
}

static void with_fact(Emit *e, const Body *body, const Stmt *loop, Fact f) {
    int scope = emit_scope(e);
    vec_push(e->arena, &e->facts, f);
    emit_variants(e, body, loop);
    e->facts.n--;
    emit_scope_end(e, scope);
}

/* If only the last turn of some variable's loop is partial, that variable: then its value there is `*last`. */
static const Var *partial_only_last(Emit *e, const Wish *w, int64_t *last) {
    if (w->limit->n != 1) return NULL;
    const Var *v = w->limit->term[0].var;
    const Stmt *loop = e->bind[v->id].loop;
    if (!last_turn(e, loop, false, last)) return NULL;
    int64_t before = w->limit->constant + w->limit->term[0].factor * (*last - loop->step);
    return before >= w->whole || *last == loop->lo->constant ? v : NULL;
}

/* The rows left in the last tile of the largest batch, or 0. */
static int64_t usual_rest(Emit *e, const Wish *w) {
    int64_t value = w->limit->constant;
    for (int i = 0; i < w->limit->n; i++) {
        const Var *v = w->limit->term[i].var;
        int64_t last;
        if (v == e->step->batch)
            last = e->step->batch_bound;
        else if (!last_turn(e, e->bind[v->id].loop, true, &last))
            return 0;
        value += w->limit->term[i].factor * last;
    }
    return value > 0 && value < w->whole ? value : 0;
}

static void other_variants(Emit *e, const Body *body, const Stmt *loop, const Wish *w, LLVMValueRef limit) {
    int64_t last, usual = usual_rest(e, w);
    const Var *v = partial_only_last(e, w, &last);
    if (v) {
        Bind keep = e->bind[v->id];
        int scope = emit_scope(e);
        emit_bind(e, v, NULL, last, last, last);
        emit_variants(e, body, loop);
        emit_scope_end(e, scope);
        e->bind[v->id] = keep;
        return;
    }
    if (!at_least_one(e, w->limit)) { /* tests where they stand */
        with_fact(e, body, loop, (Fact){.limit = w->limit, .turns = INT64_MIN, .at_least = true});
        return;
    }
    LLVMBasicBlockRef on = emit_block(e, "on");
    if (usual) {
        LLVMBasicBlockRef same = emit_block(e, "usual"), other = emit_block(e, "other");
        LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, limit, emit_i64(e, usual), ""), same, other);
        LLVMPositionBuilderAtEnd(e->b, same);
        with_fact(e, body, loop, (Fact){.limit = w->limit, .turns = usual});
        LLVMBuildBr(e->b, on);
        LLVMPositionBuilderAtEnd(e->b, other);
    }
    bool frugal = e->frugal;
    e->frugal = true;
    LLVMValueRef last_one = LLVMBuildNSWSub(e->b, limit, emit_i64(e, 1), "");
    with_fact(e, body, loop, (Fact){.limit = w->limit, .turns = w->whole, .real = limit, .last = last_one, .body = body});
    e->frugal = frugal;
    LLVMBuildBr(e->b, on);
    LLVMPositionBuilderAtEnd(e->b, on);
}

void emit_variants(Emit *e, const Body *body, const Stmt *loop) {
    Wish w;
    if (e->lanes > 1 || !find_wish(e, body, body, &w)) {
        emit_body(e, body);
        return;
    }
    LLVMValueRef limit = emit_affine(e, w.limit).v;
    LLVMBasicBlockRef whole = emit_block(e, "whole"), part = emit_block(e, "part"), done = emit_block(e, "done");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSGE, limit, emit_i64(e, w.whole), ""), whole, part);
    LLVMPositionBuilderAtEnd(e->b, whole);
    with_fact(e, body, loop, (Fact){.limit = w.limit, .turns = w.whole, .at_least = true});
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, part);
    other_variants(e, body, loop, &w, limit);
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, done);
}

/* ---- turns that do not exist ---- */

/* Every use of the accumulator t, which is made in the body, has on its axis a variable whose loop ends at the limit. */
typedef struct AccUse {
    const Temp *t;
    const Affine *limit;
    int axis;
    const Emit *e;
    bool fine;
} AccUse;

static bool ends_at(const AccUse *u, const Affine *index, const Body *body);

static const Stmt *loop_in(const Body *body, const Var *v) {
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->kind == STMT_FOR && s->var == v) return s;
        if (s->kind != STMT_FOR && s->kind != STMT_IF) continue;
        const Stmt *in = loop_in(&s->body, v);
        if (in) return in;
    }
    return NULL;
}

static bool ends_at(const AccUse *u, const Affine *index, const Body *body) {
    if (index->n != 1 || index->constant != 0 || index->term[0].factor != 1) return false;
    const Stmt *loop = loop_in(body, index->term[0].var);
    for (int i = 0; loop && i < loop->n_limits; i++)
        if (affine_same(loop->limits[i], u->limit)) return true;
    return false;
}

static bool uses_in_expr(const AccUse *u, const Expr *x, const Body *top) {
    if (x->kind == EXPR_TREE && x->temp == u->t) return false;
    if (x->kind == EXPR_TEMP && x->temp == u->t && !ends_at(u, x->index[u->axis], top)) return false;
    for (int i = 0; i < x->n_args; i++)
        if (!uses_in_expr(u, x->args[i], top)) return false;
    return true;
}

static bool uses_end(const AccUse *u, const Body *body, const Body *top) {
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->kind == STMT_ASSIGN && s->temp == u->t && !ends_at(u, s->index[u->axis], top)) return false;
        if (s->value && !uses_in_expr(u, s->value, top)) return false;
        if ((s->kind == STMT_FOR || s->kind == STMT_IF) && !uses_end(u, &s->body, top)) return false;
    }
    return true;
}

static bool made_in(const Body *body, const Temp *t) {
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->kind == STMT_ACC && s->temp == t) return true;
        if ((s->kind == STMT_FOR || s->kind == STMT_IF) && made_in(&s->body, t)) return true;
    }
    return false;
}

static bool may_fault(const Expr *x) {
    if (x->kind == EXPR_OP && (x->op == OP_floor_div || x->op == OP_mod) && !elem_is_float(x->elem)) return true;
    for (int i = 0; i < x->n_args; i++)
        if (may_fault(x->args[i])) return true;
    return false;
}

static bool only_accumulates(const Stmt *loop, const Fact *f, const Body *body) {
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->value && may_fault(s->value)) return false;
        switch (s->kind) {
        case STMT_LET: break;
        case STMT_FOR:
            for (int i = 0; i < s->n_limits; i++)
                if (affine_factor(s->limits[i], loop->var)) return false;
            if (affine_factor(s->lo, loop->var) || !only_accumulates(loop, f, &s->body)) return false;
            break;
        case STMT_ASSIGN: {
            AccUse u = {.t = s->temp, .limit = f->limit, .axis = -1};
            for (int i = 0; i < s->n_index; i++)
                if (s->index[i]->n == 1 && s->index[i]->term[0].var == loop->var && s->index[i]->term[0].factor == 1) u.axis = i;
            if (u.axis < 0 || !made_in(f->body, s->temp) || !uses_end(&u, f->body, f->body)) return false;
            break;
        }
        case STMT_ACC:
        case STMT_STORE:
        case STMT_INDEX:
        case STMT_CHECK:
        case STMT_PREFETCH:
        case STMT_IF: return false;
        }
    }
    return true;
}

bool emit_harmless(Emit *e, const Stmt *s, const Fact *f) {
    (void)e;
    return f->body && only_accumulates(s, f, &s->body);
}

/* ---- may a body be evaluated in lanes? ---- */

/* What differs by lane: variables and temps by id. */
typedef struct Lanes {
    bool *var, *temp, *made; /* made: temps declared inside the loop */
} Lanes;

static bool affine_differs(const Lanes *l, const Affine *x) {
    for (int i = 0; i < x->n; i++)
        if (l->var[x->term[i].var->id]) return true;
    return false;
}

static bool differs(const Lanes *l, const Expr *x) {
    if (x->kind == EXPR_TEMP && l->temp[x->temp->id]) return true;
    if (x->kind == EXPR_TREE && l->temp[x->temp->id]) return true;
    for (int i = 0; i < x->n_index; i++)
        if (affine_differs(l, x->index[i])) return true;
    for (int i = 0; i < x->n_args; i++)
        if (differs(l, x->args[i])) return true;
    return false;
}

static bool index_differs(const Lanes *l, int n, const Affine *const *index) {
    for (int i = 0; i < n; i++)
        if (affine_differs(l, index[i])) return true;
    return false;
}

static bool body_fits(Lanes *l, const Body *body);

static bool inner_loop_fits(Lanes *l, const Stmt *s) {
    if (s->mark == MARK_PARALLEL || affine_differs(l, s->lo)) return false;
    for (int i = 0; i < s->n_limits; i++)
        if (affine_differs(l, s->limits[i])) return false;
    return body_fits(l, &s->body);
}

static bool fits(Lanes *l, const Stmt *s) {
    switch (s->kind) {
    case STMT_FOR: return inner_loop_fits(l, s);
    case STMT_LET: l->temp[s->temp->id] = differs(l, s->value); return true;
    case STMT_ACC: l->temp[s->temp->id] = l->made[s->temp->id] = true; return true;
    case STMT_ASSIGN:
        return l->made[s->temp->id] ? !index_differs(l, s->n_index, s->index) : index_differs(l, s->n_index, s->index);
    case STMT_STORE: return index_differs(l, s->n_index, s->index);
    case STMT_INDEX:
        l->var[s->var->id] = s->index_kind == INDEX_VALUE ? differs(l, s->value) : affine_differs(l, s->affine);
        return true;
    case STMT_CHECK: return !affine_differs(l, s->size);
    case STMT_PREFETCH: return true;
    case STMT_IF: return body_fits(l, &s->body);
    }
    return false;
}

static bool body_fits(Lanes *l, const Body *body) {
    for (const Stmt *s = body->first; s; s = s->next)
        if (!fits(l, s)) return false;
    return true;
}

bool emit_lanes_fit(Emit *e, const Stmt *s) {
    Lanes l = {arena_make_n(e->arena, bool, (size_t)e->step->n_vars), arena_make_n(e->arena, bool, (size_t)e->step->n_temps),
               arena_make_n(e->arena, bool, (size_t)e->step->n_temps)};
    l.var[s->var->id] = true;
    return body_fits(&l, &s->body);
}

bool emit_has_parallel(const Body *body) {
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->kind == STMT_FOR && s->mark == MARK_PARALLEL) return true;
        if ((s->kind == STMT_FOR || s->kind == STMT_IF) && emit_has_parallel(&s->body)) return true;
    }
    return false;
}

/* ---- accumulators and small elements ---- */

static bool expr_indexes(const Expr *x, const Var *v) {
    if (x->kind == EXPR_TEMP && x->temp->acc)
        for (int i = 0; i < x->n_index; i++)
            if (affine_factor(x->index[i], v)) return true;
    for (int i = 0; i < x->n_args; i++)
        if (expr_indexes(x->args[i], v)) return true;
    return false;
}

static bool body_indexes(const Body *body, const Var *v) {
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->kind == STMT_ASSIGN)
            for (int i = 0; i < s->n_index; i++)
                if (affine_factor(s->index[i], v)) return true;
        if (s->value && expr_indexes(s->value, v)) return true;
        if ((s->kind == STMT_FOR || s->kind == STMT_IF) && body_indexes(&s->body, v)) return true;
    }
    return false;
}

bool emit_indexes_acc(const Stmt *s) { return body_indexes(&s->body, s->var); }

static bool expr_takes(const Expr *x, const Temp *t, const Var *v) {
    if (x->kind == EXPR_TEMP && x->temp == t)
        for (int i = 0; i < x->n_index; i++)
            if (affine_factor(x->index[i], v)) return true;
    for (int i = 0; i < x->n_args; i++)
        if (expr_takes(x->args[i], t, v)) return true;
    return false;
}

/* Does the body use t with an index that has v in it? */
static bool takes(const Body *body, const Temp *t, const Var *v) {
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->kind == STMT_ASSIGN && s->temp == t)
            for (int i = 0; i < s->n_index; i++)
                if (affine_factor(s->index[i], v)) return true;
        if (s->value && expr_takes(s->value, t, v)) return true;
        if ((s->kind == STMT_FOR || s->kind == STMT_IF) && takes(&s->body, t, v)) return true;
    }
    return false;
}

static int width_from(const Stmt *s, const Temp *t) {
    for (; s; s = s->next) {
        if (s->kind == STMT_FOR && s->mark == MARK_VECTOR && takes(&s->body, t, s->var)) return s->width;
        int inner = s->kind == STMT_FOR || s->kind == STMT_IF ? width_from(s->body.first, t) : 1;
        if (inner > 1) return inner;
    }
    return 1;
}

int emit_acc_width(const Stmt *declaration) {
    int w = width_from(declaration->next, declaration->temp);
    return w & (w - 1) ? 1 : w;
}

static bool expr_has_bytes(const Expr *x) {
    if (x->kind == EXPR_LOAD && elem_size(x->buffer->elem) < 4) return true;
    for (int i = 0; i < x->n_args; i++)
        if (expr_has_bytes(x->args[i])) return true;
    return false;
}

bool emit_has_bytes(const Body *body) {
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->kind == STMT_STORE && elem_size(s->buffer->elem) < 4) return true;
        if (s->value && expr_has_bytes(s->value)) return true;
        if ((s->kind == STMT_FOR || s->kind == STMT_IF) && emit_has_bytes(&s->body)) return true;
    }
    return false;
}
