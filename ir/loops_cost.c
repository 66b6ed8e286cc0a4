/*
 * loops_cost.c - what a kernel must compute and move at least, counted on its loops: for --plan, and for the rates that --profile prints.
 *
 * Operations are those on floats in the innermost statements, times the turns of the loops around (a fused multiply-add is two, a function one; converting and selecting
 * are none). Bytes are, for each buffer that is not the thread's own, as many elements as are loaded, at most the whole buffer; and the same for those stored.
 *
 * A loop whose turns depend on another one's variable (the last tile: min(14, B - 14*ii)) makes that one be walked turn by turn, as long as that is cheap; beyond that a
 * loop's middle turn stands for all but the first and the last. A loop whose turns depend on what lies in memory is counted as if that were 0.
 */
#include "loops.h"

/* Elements of one buffer. */
typedef struct Traffic {
    const Buffer *buffer;
    double loads, stores;
} Traffic;

typedef struct Count {
    Arena *arena;
    int64_t *value; /* by var id: where it stands */
    int64_t walks;  /* turns that may still be walked */
    double operations;
    Vec(Traffic) traffic; /* of the buffers that the kernel names */
} Count;

static int64_t value_of(const Count *c, const Affine *x) {
    int64_t v = x->constant;
    for (int i = 0; i < x->n; i++) v += x->term[i].factor * c->value[x->term[i].var->id];
    return v;
}

static double op_operations(OpCode op) {
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
    if (x->kind == EXPR_OP && elem_is_float(x->elem)) c->operations += times * op_operations(x->op);
    if (x->kind == EXPR_TREE && elem_is_float(x->elem)) c->operations += times * 15;
    for (int i = 0; i < x->n_args; i++) count_expr(c, x->args[i], times);
}

static bool in_affine(const Affine *x, const Var *v) { return x && affine_factor(x, v) != 0; }

static bool in_expr(const Expr *x, const Var *v) {
    for (int i = 0; i < x->n_index; i++)
        if (in_affine(x->index[i], v)) return true;
    for (int i = 0; i < x->n_args; i++)
        if (in_expr(x->args[i], v)) return true;
    return false;
}

/* Do turns or conditions of these statements depend on v, directly or by an index computed of it? */
static bool steers(const Stmt *s, const Var *v) {
    for (; s; s = s->next) {
        if (s->kind == STMT_IF && in_affine(s->affine, v)) return true;
        if (s->kind == STMT_INDEX && (in_affine(s->affine, v) || (s->value && in_expr(s->value, v))) && steers(s->next, s->var))
            return true;
        if (s->kind == STMT_FOR) {
            if (in_affine(s->lo, v)) return true;
            for (int i = 0; i < s->n_limits; i++)
                if (in_affine(s->limits[i], v)) return true;
        }
        if ((s->kind == STMT_FOR || s->kind == STMT_IF) && steers(s->body.first, v)) return true;
    }
    return false;
}

static int64_t floor_div(int64_t x, int64_t by) { return by ? x / by - (x % by != 0 && (x < 0) != (by < 0)) : 0; }

/* An index that is computed; 0 for one that depends on what lies in memory. */
static int64_t index_of(const Count *c, const Expr *x) {
    if (x->kind == EXPR_CONST) return (int64_t)x->value;
    if (x->kind == EXPR_INDEX) return value_of(c, x->index[0]);
    if (x->kind != EXPR_OP || x->n_args != 2) return 0;
    int64_t p = index_of(c, x->args[0]), q = index_of(c, x->args[1]);
    if (x->op == OP_add) return p + q;
    if (x->op == OP_sub) return p - q;
    if (x->op == OP_mul) return p * q;
    if (x->op == OP_max) return p > q ? p : q;
    if (x->op == OP_min) return p < q ? p : q;
    return x->op == OP_floor_div ? floor_div(p, q) : 0;
}

static int64_t index_value(const Count *c, const Stmt *s) {
    if (s->index_kind == INDEX_VALUE) return index_of(c, s->value);
    int64_t x = value_of(c, s->affine), q = floor_div(x, s->by);
    return s->index_kind == INDEX_DIV ? q : x - q * s->by;
}

static void count_body(Count *c, const Body *body, double times);

static void count_turn(Count *c, const Stmt *s, int64_t at, double times) {
    c->value[s->var->id] = at;
    count_body(c, &s->body, times);
}

static void count_for(Count *c, const Stmt *s, double times) {
    int64_t lo = value_of(c, s->lo), end = INT64_MAX;
    for (int i = 0; i < s->n_limits; i++) {
        int64_t limit = value_of(c, s->limits[i]);
        if (limit < end) end = limit;
    }
    int64_t turns = end > lo ? (end - lo + s->step - 1) / s->step : 0;
    if (turns == 0) return;
    if (!steers(s->body.first, s->var)) {
        count_turn(c, s, lo, times * (double)turns);
    } else if (turns <= c->walks || turns <= 3) {
        c->walks -= turns;
        for (int64_t i = 0; i < turns; i++) count_turn(c, s, lo + i * s->step, times);
    } else {
        count_turn(c, s, lo, times);
        count_turn(c, s, lo + turns / 2 * s->step, times * (double)(turns - 2));
        count_turn(c, s, lo + (turns - 1) * s->step, times);
    }
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
        case STMT_INDEX: c->value[s->var->id] = index_value(c, s); break;
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

static LoopsCost kernel_cost(Count *c, const StepNode *kernel, int64_t batch) {
    enum { WALKS_MOST = 20000 };
    c->walks = WALKS_MOST;
    c->operations = 0;
    c->traffic.n = 0;
    count_body(c, &kernel->body, 1);
    LoopsCost cost = {.operations = c->operations};
    for (size_t i = 0; i < c->traffic.n; i++) {
        const Traffic *t = &c->traffic.at[i];
        double most = buffer_elements(t->buffer, batch), loads = t->loads < most ? t->loads : most,
               stores = t->stores < most ? t->stores : most;
        if (t->buffer->place != PLACE_THREAD) cost.bytes += (loads + stores) * (double)elem_size(t->buffer->elem);
    }
    return cost;
}

static void costs_of(Count *c, LoopsCosts *costs, StepNode *const *nodes, size_t n, int64_t batch) {
    for (size_t i = 0; i < n; i++) {
        if (nodes[i]->kind == STEP_KERNEL) vec_push(c->arena, costs, kernel_cost(c, nodes[i], batch));
        costs_of(c, costs, nodes[i]->nodes.at, nodes[i]->nodes.n, batch);
    }
}

LoopsCosts step_costs(Arena *a, const Step *step, int64_t batch) {
    LoopsCosts costs = {0};
    Count c = {.arena = a, .value = arena_make_n(a, int64_t, (size_t)step->n_vars + 1)};
    if (step->batch) c.value[step->batch->id] = batch;
    costs_of(&c, &costs, step->nodes.at, step->nodes.n, batch);
    return costs;
}
