/*
 * collapse.c - a sum over axes that lie in memory as one runs over one.
 *
 * in:  loops, lowered.   out: the same, with fewer loops, and views of the buffers that are read.
 *
 *   for a in 0..B, t in 0..64 { s = fma(%x[a, t, i], %y[a, t, j], s) }
 *     =>  for a in 0..64*B { s = fma(%x.1[a, i], %y.1[a, j], s) }           %x.1: f32[64*B, 128], the same memory as %x
 *
 * It is the same chain: its index runs over the axes in their order (graph.h). tile can pack rows and columns of a chain that is one loop and cut it where its caches want, and vectorize sums
 * the columns of a matrix row by row. Behind halo: a map with a border has gaps between its rows.
 */
#include "passes/nest.h"
#include "passes/pipeline.h"

typedef struct Collapse {
    Arena *arena;
    Step *step;
    const Var *outer, *inner;
    int64_t turns;    /* of the inner loop */
    const Affine *as; /* the loop that stands for both */
    bool ok, any;     /* may they become one, does anything run along them? */
} Collapse;

static bool is_var(const Affine *x, const Var *v) {
    return x->n == 1 && x->constant == 0 && x->term[0].var == v && x->term[0].factor == 1;
}

/* The axis of the load that the outer variable is, the inner one being the axis behind it; -1: neither stands in it; -2: they do in another way, or the axes are not one. */
static int axis_of(const Collapse *c, const Expr *e) {
    int at = -1;
    for (int i = 0; i < e->n_index; i++) {
        bool uses = affine_uses(e->index[i], c->outer) || affine_uses(e->index[i], c->inner);
        if (!uses || (at >= 0 && i == at + 1)) continue;
        if (at >= 0 || i + 1 >= e->n_index || !is_var(e->index[i], c->outer) || !is_var(e->index[i + 1], c->inner)) return -2;
        at = i;
    }
    if (at < 0) return -1;
    const Buffer *b = e->buffer;
    bool one = !b->dim[at + 1].batch && b->dim[at + 1].n == c->turns && b->stride[at] == c->turns * b->stride[at + 1];
    return one && !e->guarded ? at : -2;
}

static void look(Collapse *c, const Expr *e) {
    int axis = -1;
    if (e->kind == EXPR_LOAD)
        axis = axis_of(c, e);
    else
        for (int i = 0; i < e->n_index; i++)
            if (affine_uses(e->index[i], c->outer) || affine_uses(e->index[i], c->inner)) axis = -2;
    c->any |= axis >= 0;
    c->ok &= axis != -2 && e->kind != EXPR_UNIFORM;
    for (int i = 0; i < e->n_args; i++) look(c, e->args[i]);
}

/* b with the axes `at` and at + 1 as one. */
static Buffer *view(Collapse *c, Buffer *b, int at) {
    Dim dims[MAX_RANK];
    int64_t stride[MAX_RANK];
    for (int i = 0, k = 0; i < b->rank; i++) {
        if (i == at + 1) continue;
        dims[k] = b->dim[i];
        if (i == at) dims[k].n *= b->dim[at + 1].n;
        stride[k++] = b->stride[i == at ? at + 1 : i];
    }
    return step_view(c->arena, c->step, b, b->rank - 1, dims, stride);
}

static void change(Collapse *c, Expr *e) {
    int at = e->kind == EXPR_LOAD ? axis_of(c, e) : -1;
    if (at >= 0) {
        const Affine **index = arena_make_n(c->arena, const Affine *, (size_t)e->n_index);
        for (int i = 0, k = 0; i < e->n_index; i++)
            if (i != at + 1) index[k++] = i == at ? c->as : e->index[i];
        e->buffer = view(c, e->buffer, at);
        e->index = index;
        e->n_index--;
    }
    for (int i = 0; i < e->n_args; i++) change(c, e->args[i]);
}

/* From 0 on, one by one, a known number of times. */
static bool counts_up(const Stmt *s) {
    return s->kind == STMT_FOR && s->step == 1 && s->mark == MARK_SERIAL && loop_is_plain(s) &&
           (affine_is_constant(s->limits[0]) || s->limits[0]->constant == 0);
}

/* Adds to accumulators, and nothing else? */
static bool only_sums(const Body *body) {
    for (const Stmt *s = body->first; s; s = s->next)
        if (s->kind != STMT_ASSIGN || s->n_index) return false;
    return body->first != NULL;
}

/* Makes one loop of s and the loop that is all of its body, if that can be. */
static void collapse_loop(Collapse *c, Stmt *s) {
    Stmt *inner = s->body.first;
    if (!counts_up(s) || !inner || inner->next || !counts_up(inner) || !affine_is_constant(inner->limits[0])) return;
    if (!only_sums(&inner->body)) return;
    c->outer = s->var;
    c->inner = inner->var;
    c->turns = inner->limits[0]->constant;
    c->ok = true;
    c->any = false;
    for (const Stmt *at = inner->body.first; at; at = at->next) look(c, at->value);
    if (!c->ok || !c->any || c->turns == 0) return;
    Var *v = step_var(c->arena, c->step, VAR_LOOP, s->var->name);
    c->as = affine_var(c->arena, v);
    for (Stmt *at = inner->body.first; at; at = at->next) change(c, at->value);
    const Affine **limits = arena_make_n(c->arena, const Affine *, 1);
    limits[0] = affine_scale(c->arena, s->limits[0], c->turns);
    s->var = v;
    s->limits = limits;
    s->body = inner->body;
}

/* The innermost loops first: three axes become two, and then one. */
static void collapse_body(Collapse *c, Body *body) {
    for (Stmt *s = body->first; s; s = s->next) {
        collapse_body(c, &s->body);
        collapse_loop(c, s);
    }
}

static void collapse_nodes(Collapse *c, StepNode *const *nodes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        collapse_body(c, &nodes[i]->body);
        collapse_nodes(c, nodes[i]->nodes.at, nodes[i]->nodes.n);
    }
}

bool pass_collapse(PassCtx *ctx, LoopsProgram *p) {
    for (size_t i = 0; i < p->steps.n; i++) {
        Collapse c = {.arena = ctx->arena, .step = p->steps.at[i]};
        collapse_nodes(&c, c.step->nodes.at, c.step->nodes.n);
    }
    return true;
}
