/*
 * check.c - --verify-passes: every function evaluated before and after every pass, on random inputs.
 *
 * Passes over graphs may change the order of sums (hoist, join) and are compared in f64, where that makes no difference worth speaking of. autodiff is
 * compared by what it is for: its gradients against differences of the loss (ir/gradcheck.h). Loops are compared bit for bit with the graph they were made
 * of, in f32: `lower` gets the graph's numbers from the evaluator, and no pass after it may change one.
 */
#include "ir/eval.h"
#include "ir/gradcheck.h"
#include "passes/report.h"

#include <math.h>
#include <string.h>

typedef struct CheckFunc {
    const char *name;
    int64_t batch;
    size_t n_in, n_out;
    Slot **in, **out;
    Tensor **given; /* f64, by parameter */
    Tensor **f64;   /* by result; NULL: hangs on a grad that is not expanded yet */
    Tensor **f32;   /* by result, of the last graph */
} CheckFunc;

struct CheckState {
    GradCheck *grads; /* NULL: there were none, or they are done */
    Vec(CheckFunc) funcs;
};

/* ---- graphs ---- */

static void find_grad(Op *op, void *arg) {
    if (op->code == OP_grad) *(bool *)arg = true;
}

static bool op_is_grad(Op *op) {
    bool found = op->code == OP_grad;
    for (int i = 0; i < op->n_blocks; i++) block_walk(op->blocks[i], find_grad, &found);
    return found;
}

/* by value id: does it hang on a grad op? */
static bool *tainted_values(Arena *a, const Func *f) {
    bool *tainted = arena_make_n(a, bool, (size_t)f->n_values + 1);
    for (Op *op = f->body->first; op; op = op->next) {
        bool taint = op_is_grad(op);
        for (int i = 0; i < op->n_in; i++) taint |= tainted[op->in[i]->id];
        Values captures = op_captures(a, op);
        for (size_t i = 0; i < captures.n; i++) taint |= tainted[captures.at[i]->id];
        for (int i = 0; i < op->n_out; i++) tainted[op->out[i]->id] = taint;
    }
    return tainted;
}

static bool has_grads(const Module *m) {
    bool found = false;
    for (size_t i = 0; i < m->funcs.n; i++) block_walk(m->funcs.at[i]->body, find_grad, &found);
    return found;
}

static Tensor *given_for(const CheckFunc *c, const Slot *s) {
    for (size_t i = 0; i < c->n_in; i++)
        if (strcmp(c->in[i]->name, s->name) == 0) return c->given[i];
    bug("a pass made @%s read %%%s, which it did not read before", c->name, s->name);
}

static CheckFunc *check_of(struct CheckState *s, const char *name) {
    for (size_t i = 0; i < s->funcs.n; i++)
        if (strcmp(s->funcs.at[i].name, name) == 0) return &s->funcs.at[i];
    return NULL;
}

static Tensor **inputs_of(Arena *a, const CheckFunc *c, const Func *f, EvalType type) {
    Tensor **in = arena_make_n(a, Tensor *, f->in_slots.n + 1);
    for (size_t i = 0; i < f->in_slots.n; i++) {
        const Slot *s = f->in_slots.at[i];
        Tensor *x = given_for(c, s);
        void *raw = arena_alloc_n(a, (size_t)x->count + 1, 8);
        tensor_store(x, s->type->elem, raw);
        in[i] = type == EVAL_F64 ? tensor_keep(x) : tensor_from(type, s->type, c->batch, raw);
    }
    return in;
}

/* The results of f that do not hang on a grad, others NULL. */
static bool evaluate(Arena *a, const CheckFunc *c, const Func *f, EvalType type, Tensor **out, EvalFault *fault) {
    bool *tainted = tainted_values(a, f);
    size_t n = f->body->results.n;
    Value **wanted = arena_make_n(a, Value *, n + 1);
    Tensor **found = arena_make_n(a, Tensor *, n + 1);
    int n_wanted = 0;
    for (size_t i = 0; i < n; i++)
        if (!tainted[f->body->results.at[i]->id]) wanted[n_wanted++] = f->body->results.at[i];
    EvalOptions options = {.type = type, .batch = c->batch};
    Tensor **in = inputs_of(a, c, f, type);
    bool ok = eval_values(a, f, &options, in, n_wanted, wanted, found, fault);
    for (size_t i = 0; i < f->in_slots.n; i++) tensor_release(in[i]);
    if (!ok) return false;
    for (size_t i = 0, k = 0; i < n; i++) out[i] = tainted[f->body->results.at[i]->id] ? NULL : found[k++];
    return true;
}

static const char *begin(PassCheck *c, Program *p) {
    c->state = arena_make(c->arena, struct CheckState);
    if (p->loops) return NULL;
    if (has_grads(p->graph)) c->state->grads = gradcheck_begin(c->arena, p->graph);
    for (size_t i = 0; i < p->graph->funcs.n; i++) {
        const Func *f = p->graph->funcs.at[i];
        CheckFunc check = {.name = f->name, .batch = f->batch_bound > 3 ? 3 : f->batch_bound ? f->batch_bound : 1};
        EvalFault fault = {0};
        check.n_in = f->in_slots.n;
        check.in = f->in_slots.at;
        check.given = gradcheck_inputs(c->arena, f, check.batch, i + 1, &fault);
        if (!check.given) return fault.text;
        check.n_out = f->out_slots.n;
        check.out = f->out_slots.at;
        check.f64 = arena_make_n(c->arena, Tensor *, check.n_out + 1);
        if (!evaluate(c->arena, &check, f, EVAL_F64, check.f64, &fault)) return fault.text;
        vec_push(c->arena, &c->state->funcs, check);
    }
    return NULL;
}

/* The place of the first element that differs by more than another order of sums can do, or a constant that simplify folded and so rounded to f32 (2^-24); -1 if
 * there is none. */
static int64_t differs(const Tensor *x, const Tensor *y) {
    if (x->count != y->count) return 0;
    double scale = 0;
    for (int64_t i = 0; i < y->count; i++)
        if (fabs(tensor_get(y, i)) > scale && isfinite(tensor_get(y, i))) scale = fabs(tensor_get(y, i));
    for (int64_t i = 0; i < x->count; i++) {
        double a = tensor_get(x, i), b = tensor_get(y, i);
        if (a == b || (isnan(a) && isnan(b))) continue;
        if (!(fabs(a - b) <= 1e-6 * scale + 1e-7)) return i;
    }
    return -1;
}

static const char *say(PassCheck *c, const CheckFunc *f, const char *slot, int64_t at, double now, double before) {
    return arena_printf(c->arena, "@%s: %%%s[%" PRId64 "] was %.17g and is now %.17g", f->name, slot, at, before, now);
}

static const char *check_graph(PassCheck *c, const Func *f, CheckFunc *check, const char *pass) {
    Arena *a = arena_new();
    EvalFault fault = {0};
    Tensor **now = arena_make_n(a, Tensor *, f->out_slots.n + 1);
    const char *why = NULL;
    if (!evaluate(a, check, f, EVAL_F64, now, &fault)) why = arena_printf(c->arena, "@%s: %s", f->name, fault.text);
    for (size_t i = 0; i < f->out_slots.n && !why; i++) {
        for (size_t k = 0; k < check->n_out; k++) {
            if (strcmp(check->out[k]->name, f->out_slots.at[i]->name) != 0 || !now[i]) continue;
            if (!check->f64[k]) {
                check->f64[k] = tensor_keep(now[i]);
                continue;
            }
            int64_t at = differs(now[i], check->f64[k]);
            if (at >= 0) why = say(c, check, check->out[k]->name, at, tensor_get(now[i], at), tensor_get(check->f64[k], at));
        }
        tensor_release(now[i]);
    }
    (void)pass;
    arena_free(a);
    return why;
}

static const char *check_gradients(PassCheck *c, Program *p) {
    for (size_t i = 0; i < p->graph->funcs.n; i++) {
        const Func *f = p->graph->funcs.at[i];
        CheckFunc *check = check_of(c->state, f->name);
        if (!check || !gradcheck_count(c->state->grads, f)) continue;
        Arena *a = arena_new();
        GradOptions options = {.seed = 1};
        GradSummary sum = {0};
        EvalFault fault = {0};
        Tensor **in = inputs_of(a, check, f, EVAL_F64);
        bool ok = gradcheck_run(a, c->state->grads, f, check->batch, in, &options, &sum, &fault);
        const char *why = !ok ? arena_printf(c->arena, "@%s: %s", f->name, fault.text)
                          : sum.failed ? arena_printf(c->arena, "@%s: %d of %d differences do not agree with the gradients", f->name, sum.failed, sum.compared)
                                       : NULL;
        for (size_t k = 0; k < f->in_slots.n; k++) tensor_release(in[k]);
        arena_free(a);
        if (why) return why;
    }
    c->state->grads = NULL;
    return NULL;
}

/* ---- loops ---- */

static const char *check_step(PassCheck *c, const Step *s, CheckFunc *check, const Func *f) {
    Arena *a = arena_new();
    EvalFault fault = {0};
    const char *why = NULL;
    if (!check->f32) {
        check->f32 = arena_make_n(c->arena, Tensor *, f->out_slots.n + 1);
        if (!evaluate(a, check, f, EVAL_F32, check->f32, &fault)) why = arena_printf(c->arena, "@%s: %s", f->name, fault.text);
    }
    void **memory = arena_make_n(a, void *, s->buffers.n + 1);
    for (size_t i = 0; i < s->buffers.n && !why; i++) {
        const Buffer *b = s->buffers.at[i];
        if (b->same || (b->place != PLACE_SLOT && b->place != PLACE_FIELD)) continue;
        memory[i] = arena_alloc(a, (size_t)b->bytes + 64);
        for (size_t k = 0; k < f->in_slots.n; k++)
            if (strcmp(f->in_slots.at[k]->name, b->slot->name) == 0) tensor_store(given_for(check, b->slot), b->elem, memory[i]);
    }
    if (!why && !loops_eval(a, s, check->batch, memory)) why = arena_printf(c->arena, "@%s: the step ended in a run-time error", f->name);
    for (size_t i = 0; i < s->buffers.n && !why; i++) {
        const Buffer *b = s->buffers.at[i];
        if (!memory[i] || b->place != PLACE_SLOT) continue;
        for (size_t k = 0; k < f->out_slots.n && !why; k++) {
            if (strcmp(f->out_slots.at[k]->name, b->slot->name) != 0) continue;
            Tensor *got = tensor_from(EVAL_F32, f->out_slots.at[k]->type, check->batch, memory[i]);
            int64_t at;
            if (!tensor_same(got, check->f32[k], &at)) why = say(c, check, b->slot->name, at, tensor_get(got, at < 0 ? 0 : at), tensor_get(check->f32[k], at < 0 ? 0 : at));
            tensor_release(got);
        }
    }
    arena_free(a);
    return why;
}

const char *pass_check(void *arg, Program *p, const char *pass) {
    PassCheck *c = arg;
    if (!pass) return begin(c, p);
    if (c->state->grads && !has_grads(p->graph)) {
        const char *why = check_gradients(c, p);
        if (why) return why;
    }
    for (size_t i = 0; i < p->graph->funcs.n; i++) {
        const Func *f = p->graph->funcs.at[i];
        CheckFunc *check = check_of(c->state, f->name);
        if (!check) continue;
        const char *why = p->loops ? check_step(c, p->loops->steps.at[i], check, f) : check_graph(c, f, check, pass);
        if (why) return why;
    }
    return NULL;
}
