/*
 * kernel_cost.c - what a kernel must compute and move at least, counted on its loops: for the rates that --profile prints. Free of LLVM.
 *
 * Operations are those on floats in the innermost statements, times the turns of the loops around (a fused multiply-add is two, a function one). Bytes are, for each buffer
 * that is not the thread's own, as many elements as are loaded, at most the whole buffer; and the same for those stored. Both are counted for a batch of one and for
 * the largest, and taken to be linear in between, which they are but for remainders.
 *
 * A loop whose turns depend on another one's variable (the last tile: min(14, B - 14*ii)) makes that one be walked turn by turn, as long as that is cheap; beyond that a
 * loop's middle turn stands for all.
 */
#include "backend.h"

#include <string.h>

/* Elements of one buffer. */
typedef struct Traffic {
    const Buffer *buffer;
    double loads, stores;
} Traffic;

typedef struct Count {
    Arena *arena;
    const Step *step;
    int64_t *value; /* by var id: where it stands */
    int64_t walks;  /* turns that may still be walked */
    double flop;
    Vec(Traffic) traffic; /* of the buffers that the kernel names */
} Count;

static int64_t value_of(const Count *c, const Affine *x) {
    int64_t v = x->constant;
    for (int i = 0; i < x->n; i++) v += x->term[i].factor * c->value[x->term[i].var->id];
    return v;
}

static double operations(OpCode op) {
    if (op == OP_fma) return 2;
    return op == OP_convert || op == OP_select ? 0 : 1;
}

static Traffic *traffic(Count *c, const Buffer *b) {
    for (size_t i = 0; i < c->traffic.n; i++)
        if (c->traffic.at[i].buffer == b) return &c->traffic.at[i];
    vec_push(c->arena, &c->traffic, ((Traffic){.buffer = b}));
    return &c->traffic.at[c->traffic.n - 1];
}

static void count_expr(Count *c, const Expr *x, double times) {
    if (x->kind == EXPR_LOAD) traffic(c, x->buffer)->loads += times;
    if (x->kind == EXPR_OP && elem_is_float(x->elem)) c->flop += times * operations(x->op);
    if (x->kind == EXPR_TREE && elem_is_float(x->elem)) c->flop += times * 15;
    for (int i = 0; i < x->n_args; i++) count_expr(c, x->args[i], times);
}

static bool in_affine(const Affine *x, const Var *v) { return x && affine_factor(x, v) != 0; }

/* Do turns or conditions inside depend on v? */
static bool steers(const Body *body, const Var *v) {
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->kind == STMT_IF && in_affine(s->affine, v)) return true;
        if (s->kind == STMT_FOR) {
            if (in_affine(s->lo, v)) return true;
            for (int i = 0; i < s->n_limits; i++)
                if (in_affine(s->limits[i], v)) return true;
        }
        if ((s->kind == STMT_FOR || s->kind == STMT_IF) && steers(&s->body, v)) return true;
    }
    return false;
}

static void count_body(Count *c, const Body *body, double times);

static void count_for(Count *c, const Stmt *s, double times) {
    int64_t lo = value_of(c, s->lo), end = INT64_MAX;
    for (int i = 0; i < s->n_limits; i++) {
        int64_t limit = value_of(c, s->limits[i]);
        if (limit < end) end = limit;
    }
    int64_t turns = end > lo ? (end - lo + s->step - 1) / s->step : 0;
    if (turns == 0) return;
    if (steers(&s->body, s->var) && turns <= c->walks) {
        c->walks -= turns;
        for (int64_t i = 0; i < turns; i++) {
            c->value[s->var->id] = lo + i * s->step;
            count_body(c, &s->body, times);
        }
        return;
    }
    c->value[s->var->id] = lo + turns / 2 * s->step;
    count_body(c, &s->body, times * (double)turns);
}

static void count_body(Count *c, const Body *body, double times) {
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->value) count_expr(c, s->value, times);
        switch (s->kind) {
        case STMT_FOR: count_for(c, s, times); break;
        case STMT_IF:
            if (value_of(c, s->affine) >= 0) count_body(c, &s->body, times);
            break;
        case STMT_STORE: traffic(c, s->buffer)->stores += times; break;
        case STMT_INDEX: c->value[s->var->id] = s->index_kind == INDEX_VALUE ? 0 : value_of(c, s->affine) / s->by; break;
        case STMT_LET:
        case STMT_ACC:
        case STMT_ASSIGN:
        case STMT_CHECK:
        case STMT_PREFETCH: break;
        }
    }
}

static double buffer_elements(const Buffer *b, int64_t batch) {
    double n = 1;
    for (int i = 0; i < b->rank; i++) n *= (double)dim_size(b->dim[i], batch);
    return n;
}

static void count(Arena *a, const Step *step, const StepNode *node, int64_t batch, double *flop, double *bytes) {
    enum { WALKS_MOST = 20000 };
    Count c = {.arena = a, .step = step, .walks = WALKS_MOST};
    c.value = arena_make_n(a, int64_t, (size_t)step->n_vars + 1);
    if (step->batch) c.value[step->batch->id] = batch;
    count_body(&c, &node->body, 1);
    *flop = c.flop;
    *bytes = 0;
    for (size_t i = 0; i < c.traffic.n; i++) {
        const Traffic *t = &c.traffic.at[i];
        double most = buffer_elements(t->buffer, batch), loads = t->loads < most ? t->loads : most,
               stores = t->stores < most ? t->stores : most;
        if (t->buffer->place != PLACE_THREAD) *bytes += (loads + stores) * (double)elem_size(t->buffer->elem);
    }
}

void kernel_cost(const Step *step, const StepNode *node, struct nn_kernel *k) {
    Arena *a = arena_new();
    double flop, bytes;
    int64_t most = step->batch ? step->batch_bound : 1;
    count(a, step, node, 1, &k->flop, &k->bytes);
    if (most > 1) {
        count(a, step, node, most, &flop, &bytes);
        k->flop_batch = (flop - k->flop) / (double)(most - 1);
        k->bytes_batch = (bytes - k->bytes) / (double)(most - 1);
        k->flop -= k->flop_batch;
        k->bytes -= k->bytes_batch;
    }
    arena_free(a);
}
