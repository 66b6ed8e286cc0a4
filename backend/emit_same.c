/*
 * emit_same.c - kernels that are equal up to their buffers are emitted once: the forward pass of training, testing and predicting is one function.
 *
 * A kernel is written down with its variables, temps and buffers numbered in the order in which they come up. A buffer is its element type, its shape, and where in which
 * parameter of the function it lies. Two kernels with the same text are the same function. Places in the source count where they show (a check names its
 * line); with -g all of them do.
 */
#include "emit.h"

#include <string.h>

typedef struct Key {
    Arena *arena;
    Text text;
    bool debug_lines;
    int *var, *temp; /* numbers by id, 0: none yet */
    int n_var, n_temp;
    const KernelCall *call;
} Key;

static void put(Key *k, const char *what, int64_t n) { text_printf(k->arena, &k->text, "%s%" PRId64 " ", what, n); }

static void put_var(Key *k, const Var *v) {
    if (!k->var[v->id]) k->var[v->id] = ++k->n_var;
    put(k, "v", k->var[v->id]);
}

static void put_temp(Key *k, const Temp *t) {
    bool known = k->temp[t->id] != 0;
    if (!known) k->temp[t->id] = ++k->n_temp;
    put(k, "t", k->temp[t->id]);
    if (known) return;
    put(k, t->acc ? "acc" : "let", t->elem);
    for (int i = 0; i < t->rank; i++) put(k, "", t->dim[i]);
}

static void put_affine(Key *k, const Affine *x) {
    put(k, "(", x->constant);
    for (int i = 0; i < x->n; i++) {
        put(k, "", x->term[i].factor);
        put_var(k, x->term[i].var);
    }
    text_add(k->arena, &k->text, ")");
}

static void put_buffer(Key *k, const Buffer *b) {
    for (int i = 0; i < k->call->n_buffers; i++)
        if (k->call->buffers[i] == b) put(k, "%", i);
}

static void put_expr(Key *k, const Expr *x) {
    put(k, "e", x->kind);
    put(k, "", x->elem);
    uint64_t bits;
    memcpy(&bits, &x->value, sizeof bits);
    if (x->kind == EXPR_CONST || x->guarded) put(k, x->guarded ? "else" : "", (int64_t)bits);
    if (x->kind == EXPR_OP || x->kind == EXPR_TREE) put(k, "op", x->op);
    for (int i = 0; x->kind == EXPR_UNIFORM && i < k->call->n_sites; i++)
        if (k->call->sites[i] == x->site) put(k, "site", i);
    if (x->buffer) put_buffer(k, x->buffer);
    if (x->temp) put_temp(k, x->temp);
    for (int i = 0; i < x->n_index; i++) put_affine(k, x->index[i]);
    for (int i = 0; i < x->n_args; i++) put_expr(k, x->args[i]);
}

static bool may_divide(const Expr *x) {
    if (x->kind == EXPR_OP && (x->op == OP_floor_div || x->op == OP_mod)) return true;
    for (int i = 0; i < x->n_args; i++)
        if (may_divide(x->args[i])) return true;
    return false;
}

static void put_body(Key *k, const Body *body) {
    for (const Stmt *s = body->first; s; s = s->next) {
        put(k, "s", s->kind);
        if (k->debug_lines || s->kind == STMT_CHECK || (s->value && may_divide(s->value))) put(k, "line", s->loc.line);
        if (s->var) put_var(k, s->var);
        if (s->temp) put_temp(k, s->temp);
        if (s->buffer) put_buffer(k, s->buffer);
        if (s->lo) put_affine(k, s->lo);
        for (int i = 0; i < s->n_limits; i++) put_affine(k, s->limits[i]);
        if (s->kind == STMT_FOR) {
            put(k, "by", s->step);
            put(k, "mark", s->mark);
            put(k, "width", s->width);
        }
        for (int i = 0; i < s->n_index; i++) put_affine(k, s->index[i]);
        if (s->value) put_expr(k, s->value);
        if (s->kind == STMT_INDEX) {
            put(k, "index", s->index_kind);
            put(k, "", s->by);
        }
        if (s->affine) put_affine(k, s->affine);
        if (s->size) put_affine(k, s->size);
        if (s->kind != STMT_FOR && s->kind != STMT_IF) continue;
        text_add(k->arena, &k->text, "{");
        put_body(k, &s->body);
        text_add(k->arena, &k->text, "}");
    }
}

static void put_places(Key *k) {
    for (int i = 0; i < k->call->n_buffers; i++) {
        const Buffer *b = k->call->buffers[i];
        put(k, "piece", k->call->piece[i]);
        put(k, "at", k->call->offset[i]);
        put(k, "", b->elem);
        for (int j = 0; j < b->rank; j++) {
            put(k, b->dim[j].batch ? "B*" : "", b->dim[j].n);
            put(k, "", b->stride[j]);
        }
    }
}

/* Variants of partial tiles look at the largest batch (emit_variant.c); nothing else does. */
static bool has_partial_tiles(const Body *body) {
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->kind != STMT_FOR && s->kind != STMT_IF) continue;
        if (s->kind == STMT_FOR && s->mark != MARK_SERIAL && s->mark != MARK_PARALLEL && s->n_limits > 1 &&
            affine_is_constant(s->lo)) {
            for (int i = 0; i < s->n_limits; i++)
                if (!affine_is_constant(s->limits[i])) return true;
        }
        if (has_partial_tiles(&s->body)) return true;
    }
    return false;
}

const char *emit_kernel_key(const KernelCall *c, bool debug_lines) {
    Arena *scratch = arena_new(); /* as large as the step, and there may be thousands of kernels in it */
    Key k = {.arena = scratch, .call = c, .debug_lines = debug_lines};
    k.var = arena_make_n(scratch, int, (size_t)c->step->n_vars + 1);
    k.temp = arena_make_n(scratch, int, (size_t)c->step->n_temps + 1);
    if (has_partial_tiles(&c->node->body)) put(&k, "B<=", c->step->batch_bound);
    put(&k, "sites", c->n_sites);
    put(&k, "outer", c->n_outer);
    for (int i = 0; i < c->n_outer; i++) put_var(&k, c->outer[i]);
    if (c->step->batch) put_var(&k, c->step->batch);
    put_places(&k);
    put_body(&k, &c->node->body);
    const char *key = intern(text_str(scratch, &k.text));
    arena_free(scratch);
    return key;
}
