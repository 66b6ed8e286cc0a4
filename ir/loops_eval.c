/*
 * loops_eval.c - runs a step as plainly as can be: one statement after the other, on one thread, whatever loops are marked as.
 * For tests of lower, tile, plan and the backend.
 *
 *   memory[b->id] is where buffer b lies, with the buffer's strides. Where it is NULL the evaluator finds a place itself: `same`
 * shares that buffer's; arena places lie in one block, at their offsets (so a plan that overlaps what lives together gives wrong
 * numbers); constant data is written out; anything else gets memory of its own, filled with ones (NaN), so that reading what
 * nobody wrote shows.
 *
 * Every access is checked: one outside its buffer is a bug of whoever made the loops. A failed CHECK and an integer division by 0
 * are faults of the run: they make loops_eval return false in the end.
 */
#include "loops.h"
#include "math.h"
#include "random.h"

#include <math.h>
#include <string.h>

/* A scalar: floats in f (an f32 exactly), integers and bool in i. */
typedef struct Num {
    double f;
    int64_t i;
} Num;

/* One axis of a buffer: elements, and bytes from one to the next. */
typedef struct Axis {
    int64_t n, bytes;
} Axis;

typedef struct Run {
    const Step *step;
    int64_t batch;
    unsigned char **memory; /* by buffer id */
    Axis **axes;            /* by buffer id, then axis */
    int64_t *var;           /* by id */
    Num **temp;             /* by id: its elements */
    bool ok;
} Run;

/* ---- scalar arithmetic ---- */

static Num of_float(Elem e, double f) { return (Num){.f = e == F32 ? (double)(float)f : f}; }

static int64_t wrap(Elem e, uint64_t u) {
    if (e == U8) return (int64_t)(u & 0xff);
    if (e == I32) return (int64_t)(u & 0x7fffffff) - (int64_t)(u & 0x80000000);
    return u <= INT64_MAX ? (int64_t)u : -(int64_t)(UINT64_MAX - u) - 1;
}

static Num of_int(Elem e, int64_t i) { return (Num){.i = wrap(e, (uint64_t)i)}; }

static Num convert(Elem from, Elem to, Num x) {
    if (to == BOOL) return (Num){.i = elem_is_float(from) ? x.f != 0 : x.i != 0};
    if (elem_is_float(to)) {
        if (elem_is_float(from)) return of_float(to, x.f);
        return (Num){.f = to == F32 ? (double)(float)x.i : (double)x.i};
    }
    if (!elem_is_float(from)) return of_int(to, x.i);
    if (isnan(x.f)) return (Num){0};
    double lo = to == U8 ? 0 : to == I32 ? -0x1p31 : -0x1p63, hi = to == U8 ? 256 : to == I32 ? 0x1p31 : 0x1p63;
    if (x.f <= lo) return (Num){.i = to == I64 ? INT64_MIN : (int64_t)lo};
    if (trunc(x.f) >= hi) return (Num){.i = to == I64 ? INT64_MAX : (int64_t)hi - 1};
    return (Num){.i = (int64_t)x.f};
}

static double float_sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; } /* NaN and both zeros stay */

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch-enum" /* the ops that are not elementwise */

static double float_op(OpCode op, bool single, const Num *x) {
    double a = x[0].f, b = x[1].f;
    float s = (float)a, t = (float)b;
    switch (op) {
    case OP_neg: return -a;
    case OP_abs: return fabs(a);
    case OP_sign: return float_sign(a);
    case OP_exp: return single ? math_exp(s) : exp(a);
    case OP_expm1: return single ? math_expm1(s) : expm1(a);
    case OP_log: return single ? math_log(s) : log(a);
    case OP_log1p: return single ? math_log1p(s) : log1p(a);
    case OP_sqrt: return single ? sqrtf(s) : sqrt(a);
    case OP_sin: return single ? math_sin(s) : sin(a);
    case OP_cos: return single ? math_cos(s) : cos(a);
    case OP_tanh: return single ? math_tanh(s) : tanh(a);
    case OP_sigmoid: return single ? math_sigmoid(s) : math_sigmoid64(a);
    case OP_erf: return single ? math_erf(s) : erf(a);
    case OP_floor: return floor(a);
    case OP_ceil: return ceil(a);
    case OP_round: return nearbyint(a);
    case OP_add: return single ? s + t : a + b;
    case OP_sub: return single ? s - t : a - b;
    case OP_mul: return single ? s * t : a * b;
    case OP_div: return single ? s / t : a / b;
    case OP_floor_div: return single ? math_floor_div(s, t) : math_floor_div64(a, b);
    case OP_mod: return single ? math_mod(s, t) : math_mod64(a, b);
    case OP_pow: return single ? math_pow(s, t) : pow(a, b);
    case OP_max: return a >= b ? a : b;
    case OP_min: return a <= b ? a : b;
    case OP_fma: return single ? fmaf(s, t, (float)x[2].f) : fma(a, b, x[2].f);
    default: bug("`%s` of floats", op_info[op].name);
    }
}

static int64_t int_op(Run *r, OpCode op, Elem e, const Num *x) {
    int64_t a = x[0].i, b = x[1].i;
    switch (op) {
    case OP_neg: return wrap(e, 0 - (uint64_t)a);
    case OP_abs: return wrap(e, a < 0 ? 0 - (uint64_t)a : (uint64_t)a);
    case OP_sign: return (a > 0) - (a < 0);
    case OP_add: return wrap(e, (uint64_t)a + (uint64_t)b);
    case OP_sub: return wrap(e, (uint64_t)a - (uint64_t)b);
    case OP_mul: return wrap(e, (uint64_t)a * (uint64_t)b);
    case OP_max: return a >= b ? a : b;
    case OP_min: return a <= b ? a : b;
    case OP_floor_div:
    case OP_mod:
        if (b == 0) return r->ok = false, 0;
        if (b == -1) return op == OP_mod ? 0 : wrap(e, 0 - (uint64_t)a);
        int64_t q = a / b - (a % b != 0 && (a < 0) != (b < 0));
        return op == OP_mod ? a - q * b : q;
    case OP_not: return !a;
    case OP_and: return a && b;
    case OP_or: return a || b;
    case OP_mix: return (int64_t)random_mix((uint64_t)a, (uint64_t)b);
    default: bug("`%s` of integers", op_info[op].name);
    }
}

static bool compare(OpCode op, bool real, const Num *x) {
    switch (op) {
    case OP_eq: return real ? x[0].f == x[1].f : x[0].i == x[1].i;
    case OP_ne: return real ? x[0].f != x[1].f : x[0].i != x[1].i;
    case OP_lt: return real ? x[0].f < x[1].f : x[0].i < x[1].i;
    case OP_le: return real ? x[0].f <= x[1].f : x[0].i <= x[1].i;
    case OP_gt: return real ? x[0].f > x[1].f : x[0].i > x[1].i;
    case OP_ge: return real ? x[0].f >= x[1].f : x[0].i >= x[1].i;
    default: bug("`%s` does not compare", op_info[op].name);
    }
}

static Num scalar_op(Run *r, const Expr *e, const Num *x) {
    switch (e->op) {
    case OP_fma: /* nearly all that is ever run: without a call */
        if (e->elem == F32) return (Num){.f = fmaf((float)x[0].f, (float)x[1].f, (float)x[2].f)};
        break;
    case OP_convert: return convert(e->args[0]->elem, e->elem, x[0]);
    case OP_eq:
    case OP_ne:
    case OP_lt:
    case OP_le:
    case OP_gt:
    case OP_ge: return (Num){.i = compare(e->op, elem_is_float(e->args[0]->elem), x)};
    case OP_select: return x[0].i ? x[1] : x[2];
    default: break;
    }
    if (elem_is_float(e->elem)) return (Num){.f = float_op(e->op, e->elem == F32, x)};
    return (Num){.i = int_op(r, e->op, e->elem, x)};
}

#pragma GCC diagnostic pop

/* ---- memory ---- */

static Num load_at(Elem e, const unsigned char *p) {
    switch (e) {
    case F32: {
        float f;
        memcpy(&f, p, sizeof f);
        return (Num){.f = f};
    }
    case F64: {
        double f;
        memcpy(&f, p, sizeof f);
        return (Num){.f = f};
    }
    case I32: {
        int32_t i;
        memcpy(&i, p, sizeof i);
        return (Num){.i = i};
    }
    case I64: {
        int64_t i;
        memcpy(&i, p, sizeof i);
        return (Num){.i = i};
    }
    case U8: return (Num){.i = *p};
    case BOOL: return (Num){.i = *p != 0};
    }
    return (Num){0};
}

static void store_at(Elem e, unsigned char *p, Num v) {
    switch (e) {
    case F32: {
        float f = (float)v.f;
        memcpy(p, &f, sizeof f);
    } break;
    case F64: memcpy(p, &v.f, sizeof v.f); break;
    case I32: {
        int32_t i = (int32_t)v.i;
        memcpy(p, &i, sizeof i);
    } break;
    case I64: memcpy(p, &v.i, sizeof v.i); break;
    case U8:
    case BOOL: *p = (unsigned char)v.i; break;
    }
}

static int64_t affine_value(const Run *r, const Affine *x) {
    int64_t v = x->constant;
    for (int i = 0; i < x->n; i++) v += x->term[i].factor * r->var[x->term[i].var->id];
    return v;
}

/* NULL: outside, which must be guarded. */
static unsigned char *element(const Run *r, const Buffer *b, const Affine *const *index, bool guarded) {
    int64_t at = 0;
    const Axis *axis = r->axes[b->id];
    for (int i = 0; i < b->rank; i++) {
        int64_t k = affine_value(r, index[i]);
        if (k < 0 || k >= axis[i].n) {
            if (guarded) return NULL;
            bug("step @%s: %%%s is indexed by %" PRId64 " on axis %d of %" PRId64, r->step->func->name, b->name, k, i, axis[i].n);
        }
        at += k * axis[i].bytes;
    }
    return r->memory[b->id] + at;
}

static Num *temp_element(const Run *r, const Temp *t, const Affine *const *index) {
    int64_t at = 0;
    for (int i = 0; i < t->rank; i++) {
        int64_t k = affine_value(r, index[i]);
        if (k < 0 || k >= t->dim[i])
            bug("step @%s: `%s` is indexed by %" PRId64 " on axis %d", r->step->func->name, t->name, k, i);
        at = at * t->dim[i] + k;
    }
    return &r->temp[t->id][at];
}

/* ---- expressions and statements ---- */

static Num eval(Run *r, const Expr *e);

static Num eval_tree(Run *r, const Expr *e) {
    Num lane[SUM_LANES];
    memcpy(lane, r->temp[e->temp->id], sizeof lane);
    for (int half = SUM_LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++) {
            Num pair[3] = {lane[l], lane[l + half]};
            lane[l] = scalar_op(r, e, pair);
        }
    return lane[0];
}

static Num eval(Run *r, const Expr *e) {
    switch (e->kind) {
    case EXPR_CONST:
        if (elem_is_float(e->elem)) return of_float(e->elem, e->value);
        return (Num){.i = const_int(e->value)};
    case EXPR_LOAD: {
        const unsigned char *p = element(r, e->buffer, e->index, e->guarded);
        if (p) return load_at(e->elem, p);
        return elem_is_float(e->elem) ? of_float(e->elem, e->value) : (Num){.i = (int64_t)e->value};
    }
    case EXPR_TEMP: return *temp_element(r, e->temp, e->index);
    case EXPR_INDEX: {
        int64_t k = affine_value(r, e->index[0]);
        return convert(I64, e->elem, (Num){.i = k});
    }
    case EXPR_OP: {
        Num x[3] = {{.f = 0}};
        for (int i = 0; i < e->n_args; i++) x[i] = eval(r, e->args[i]);
        return scalar_op(r, e, x);
    }
    case EXPR_UNIFORM: {
        Num key = eval(r, e->args[0]), at = eval(r, e->args[1]);
        return (Num){.f = random_uniform((uint64_t)key.i, (uint64_t)e->site, (uint64_t)at.i)};
    }
    case EXPR_TREE: return eval_tree(r, e);
    }
    return (Num){0};
}

static void run_body(Run *r, const Body *b);

static void run_for(Run *r, const Stmt *s) {
    int64_t end = affine_value(r, s->limits[0]);
    for (int i = 1; i < s->n_limits; i++) {
        int64_t limit = affine_value(r, s->limits[i]);
        if (limit < end) end = limit;
    }
    for (int64_t k = affine_value(r, s->lo); k < end; k += s->step) {
        r->var[s->var->id] = k;
        run_body(r, &s->body);
    }
}

static void run_index(Run *r, const Stmt *s) {
    int64_t *v = &r->var[s->var->id];
    if (s->index_kind == INDEX_VALUE) {
        *v = eval(r, s->value).i;
        return;
    }
    int64_t k = affine_value(r, s->affine), m = ((k % s->by) + s->by) % s->by;
    *v = s->index_kind == INDEX_MOD ? m : (k - m) / s->by;
}

static void run_stmt(Run *r, const Stmt *s) {
    switch (s->kind) {
    case STMT_FOR: run_for(r, s); break;
    case STMT_LET:
    case STMT_ACC: {
        Num v = eval(r, s->value);
        int64_t n = 1;
        for (int i = 0; i < s->temp->rank; i++) n *= s->temp->dim[i];
        for (int64_t i = 0; i < n; i++) r->temp[s->temp->id][i] = v;
    } break;
    case STMT_ASSIGN: {
        Num v = eval(r, s->value);
        *temp_element(r, s->temp, s->index) = v;
    } break;
    case STMT_STORE: {
        Num v = eval(r, s->value);
        store_at(s->buffer->elem, element(r, s->buffer, s->index, false), v);
    } break;
    case STMT_INDEX: run_index(r, s); break;
    case STMT_CHECK: {
        int64_t *v = &r->var[s->var->id];
        if (*v < 0 || *v >= affine_value(r, s->size)) {
            r->ok = false;
            *v = 0;
        }
    } break;
    case STMT_PREFETCH: break;
    case STMT_IF:
        if (affine_value(r, s->affine) >= 0) run_body(r, &s->body);
        break;
    }
}

static void run_body(Run *r, const Body *b) {
    for (const Stmt *s = b->first; s; s = s->next) run_stmt(r, s);
}

static void run_nodes(Run *r, StepNode *const *nodes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const StepNode *k = nodes[i];
        int64_t trip = 0;
        switch (k->kind) {
        case STEP_BARRIER: break;
        case STEP_KERNEL: run_body(r, &k->body); break;
        case STEP_LOOP:
            trip = k->trip ? affine_value(r, k->trip) : load_at(I32, r->memory[k->count->id]).i;
            for (int64_t t = 0; t < trip; t++) {
                r->var[k->var->id] = t;
                run_nodes(r, k->nodes.at, k->nodes.n);
            }
            break;
        case STEP_WHILE:
            for (int64_t t = 0; t < k->max && load_at(BOOL, r->memory[k->count->id]).i; t++)
                run_nodes(r, k->nodes.at, k->nodes.n);
            break;
        }
    }
}

/* ---- places ---- */

static unsigned char *constants(Arena *a, const Buffer *b) {
    int64_t n = 1;
    for (int i = 0; i < b->rank; i++) n *= b->dim[i].n;
    unsigned char *p = arena_alloc_n(a, (size_t)n + 1, (size_t)elem_size(b->elem));
    for (int64_t i = 0; i < n; i++) {
        Num v = elem_is_float(b->elem) ? of_float(b->elem, b->data[i]) : (Num){.i = (int64_t)b->data[i]};
        store_at(b->elem, p + i * elem_size(b->elem), v);
    }
    return p;
}

static void place_buffers(Arena *a, Run *r, void *const *memory) {
    unsigned char *block = NULL;
    for (size_t i = 0; i < r->step->buffers.n; i++) {
        Buffer *b = r->step->buffers.at[i];
        r->axes[i] = arena_make_n(a, Axis, (size_t)b->rank + 1);
        for (int k = 0; k < b->rank; k++)
            r->axes[i][k] = (Axis){dim_size(b->dim[k], r->batch), b->stride[k] * elem_size(b->elem)};
        if (memory && memory[i]) {
            r->memory[i] = memory[i];
        } else if (b->same) {
            r->memory[i] = r->memory[b->same->id];
        } else if (b->place == PLACE_DATA) {
            r->memory[i] = constants(a, b);
        } else if ((b->place == PLACE_ARENA || b->place == PLACE_THREAD) && r->step->arena + r->step->own) {
            size_t bytes = (size_t)step_own_at(r->step, 1);
            if (!block) memset(block = arena_alloc(a, bytes), 0xff, bytes);
            r->memory[i] = block + (b->place == PLACE_THREAD ? step_own_at(r->step, 0) : 0) + b->offset;
        } else {
            r->memory[i] = arena_alloc(a, (size_t)b->bytes + 1);
            memset(r->memory[i], 0xff, (size_t)b->bytes);
        }
    }
}

static void place_temp(Stmt *s, void *arg) {
    struct {
        Arena *arena;
        Run *run;
    } *c = arg;
    if (s->kind != STMT_LET && s->kind != STMT_ACC) return;
    size_t n = 1;
    for (int i = 0; i < s->temp->rank; i++) n *= (size_t)s->temp->dim[i];
    c->run->temp[s->temp->id] = arena_make_n(c->arena, Num, n);
}

static void place_temps(Arena *a, Run *r, StepNode *const *nodes, size_t n) {
    struct {
        Arena *arena;
        Run *run;
    } c = {a, r};
    for (size_t i = 0; i < n; i++) {
        body_walk(&nodes[i]->body, place_temp, &c);
        place_temps(a, r, nodes[i]->nodes.at, nodes[i]->nodes.n);
    }
}

bool loops_eval(Arena *a, const Step *s, int64_t batch, void *const *memory) {
    Run r = {.step = s, .batch = batch, .ok = true};
    r.memory = arena_make_n(a, unsigned char *, s->buffers.n);
    r.axes = arena_make_n(a, Axis *, s->buffers.n + 1);
    r.var = arena_make_n(a, int64_t, (size_t)s->n_vars + 1);
    r.temp = arena_make_n(a, Num *, (size_t)s->n_temps + 1);
    if (s->batch) r.var[s->batch->id] = batch;
    place_buffers(a, &r, memory);
    place_temps(a, &r, s->nodes.at, s->nodes.n);
    run_nodes(&r, s->nodes.at, s->nodes.n);
    return r.ok;
}
