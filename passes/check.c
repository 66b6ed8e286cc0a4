/*
 * check.c - --verify-passes: every function evaluated before and after every pass, on random inputs.
 *
 * Passes over graphs may change the order of sums (hoist, join) and are compared in f64, where that makes no difference worth speaking of. A pass that folds
 * f32 constants rounds them as the program would, to 2^-24: only results that hang on a constant made by the pass may differ by that (1e-5, where numbers
 * cancel; all others 1e-9), and they are what the passes after it are compared with. autodiff is compared by what it is for: its gradients against differences of the loss (ir/gradcheck.h), in a copy of the
 * module, because losses and gradients that are looked at could not be fused away. Loops are compared bit for bit with the graph they were made of, in f32:
 * `lower` gets the graph's numbers from the evaluator, and no pass after it may change one.
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
    Tensor **f32;   /* by result, of the last graph: n_f32 of them */
    size_t n_f32;
    Vec(double) constants; /* of the last graph */
} CheckFunc;

struct CheckState {
    const char *grads; /* the graph as text before the pass that expands its gradients; NULL: there are none, or they are done */
    Vec(CheckFunc) funcs;
};

typedef bool Blames(const Op *op, void *arg);

/* ---- graphs ---- */

static bool blames_grads(const Op *op, void *arg) {
    (void)arg;
    bool found = op->code == OP_grad;
    for (int i = 0; i < op->n_blocks; i++) found |= block_has(op->blocks[i], OP_grad);
    return found;
}

/* by value id: does it hang on an op that is blamed? */
static bool *tainted_values(Arena *a, const Func *f, Blames *blames, void *arg) {
    bool *tainted = arena_make_n(a, bool, (size_t)f->n_values + 1);
    for (Op *op = f->body->first; op; op = op->next) {
        bool taint = blames(op, arg);
        for (int i = 0; i < op->n_in; i++) taint |= tainted[op->in[i]->id];
        Values captures = op_captures(a, op);
        for (size_t i = 0; i < captures.n; i++) taint |= tainted[captures.at[i]->id];
        for (int i = 0; i < op->n_out; i++) tainted[op->out[i]->id] = taint;
    }
    return tainted;
}

typedef struct Constants {
    Arena *arena;
    CheckFunc *check;
    bool found;
} Constants;

/* More than 12 binary digits: a rounding may have made it. (Numbers that passes write, 2 or 0.5, are exact.) */
static bool looks_rounded(double v) {
    int exponent;
    double digits = ldexp(frexp(v, &exponent), 12);
    return isfinite(v) && digits != floor(digits);
}

static bool is_float_constant(const Op *op) { return op->code == OP_constant && elem_is_float(op->out[0]->type->elem); }

static void note_constant(Op *op, void *arg) {
    Constants *c = arg;
    if (is_float_constant(op)) vec_push(c->arena, &c->check->constants, op_real(op, A_value));
}

static void find_new_constant(Op *op, void *arg) {
    Constants *c = arg;
    if (!is_float_constant(op) || !looks_rounded(op_real(op, A_value))) return;
    for (size_t i = 0; i < c->check->constants.n; i++)
        if (c->check->constants.at[i] == op_real(op, A_value)) return;
    c->found = true;
}

static bool blames_new_constants(const Op *op, void *arg) {
    Constants c = {.check = arg};
    find_new_constant((Op *)(uintptr_t)op, &c);
    for (int i = 0; i < op->n_blocks; i++) block_walk(op->blocks[i], find_new_constant, &c);
    return c.found;
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
    bool *tainted = tainted_values(a, f, blames_grads, NULL);
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

static const char *text_of(Arena *a, const Program *p) {
    Text t = {0};
    graph_print(p->graph, p->stage, NULL, &t, a);
    return text_str(a, &t);
}

static void note_constants(Arena *a, const Func *f, CheckFunc *check) {
    Constants found = {a, check, false};
    check->constants.n = 0;
    block_walk(f->body, note_constant, &found);
}

static const char *begin(PassCheck *c, Program *p) {
    c->state = arena_make(c->arena, struct CheckState);
    if (p->loops) return NULL;
    if (module_has(p->graph, OP_grad)) c->state->grads = text_of(c->arena, p);
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
        note_constants(c->arena, f, &check);
        vec_push(c->arena, &c->state->funcs, check); /* what it holds is released whatever comes */
        if (!evaluate(c->arena, &check, f, EVAL_F64, check.f64, &fault)) return fault.text;
    }
    return NULL;
}

/* The place of the first element that differs by more than another order of sums can do, or, where `rounded`, a constant of 24 digits; -1 if there is none. */
static int64_t differs(const Tensor *x, const Tensor *y, bool rounded) {
    if (x->count != y->count) return 0;
    double scale = 0, relative = rounded ? 1e-5 : 1e-9; /* a difference of near numbers makes 2^-24 a hundred times larger */
    for (int64_t i = 0; i < y->count; i++)
        if (fabs(tensor_get(y, i)) > scale && isfinite(tensor_get(y, i))) scale = fabs(tensor_get(y, i));
    for (int64_t i = 0; i < x->count; i++) {
        double a = tensor_get(x, i), b = tensor_get(y, i);
        if (a == b || (isnan(a) && isnan(b))) continue;
        if (!(fabs(a - b) <= relative * scale + 0.1 * relative)) return i;
    }
    return -1;
}

static const char *say(PassCheck *c, const CheckFunc *f, const char *slot, int64_t at, double now, double before) {
    return arena_printf(c->arena, "@%s: %%%s[%" PRId64 "] was %.17g and is now %.17g", f->name, slot, at, before, now);
}

/* One result, now and before. What is new, or newly rounded, is what later passes are compared with. */
static const char *check_result(PassCheck *c, CheckFunc *check, size_t k, Tensor *now, bool rounded) {
    const char *why = NULL;
    if (check->f64[k]) {
        int64_t at = differs(now, check->f64[k], rounded);
        if (at >= 0) why = say(c, check, check->out[k]->name, at, tensor_get(now, at), tensor_get(check->f64[k], at));
        if (!rounded) return why;
        tensor_release(check->f64[k]);
    }
    check->f64[k] = tensor_keep(now);
    return why;
}

static const char *check_graph(PassCheck *c, const Func *f, CheckFunc *check) {
    Arena *a = arena_new();
    EvalFault fault = {0};
    Tensor **now = arena_make_n(a, Tensor *, f->out_slots.n + 1);
    const char *why = NULL;
    bool *rounded = tainted_values(a, f, blames_new_constants, check);
    if (!evaluate(a, check, f, EVAL_F64, now, &fault)) why = arena_printf(c->arena, "@%s: %s", f->name, fault.text);
    for (size_t i = 0; i < f->out_slots.n; i++) {
        for (size_t k = 0; k < check->n_out && !why; k++)
            if (now[i] && strcmp(check->out[k]->name, f->out_slots.at[i]->name) == 0)
                why = check_result(c, check, k, now[i], rounded[f->body->results.at[i]->id]);
        tensor_release(now[i]);
    }
    note_constants(c->arena, f, check);
    arena_free(a);
    return why;
}

static const char *check_func_gradients(PassCheck *c, const GradCheck *grads, const Func *f, CheckFunc *check) {
    Arena *a = arena_new();
    GradOptions options = {.seed = 1, .directions = 1, .elements = 2}; /* --gradcheck compares more */
    GradSummary sum = {0};
    EvalFault fault = {0};
    Tensor **in = inputs_of(a, check, f, EVAL_F64);
    bool ok = gradcheck_run(a, grads, f, check->batch, in, &options, &sum, &fault);
    const char *why = NULL;
    if (!ok)
        why = arena_printf(c->arena, "@%s: %s", f->name, fault.text);
    else if (sum.failed)
        why = arena_printf(c->arena, "@%s: %d of %d differences do not agree with the gradients", f->name, sum.failed,
                           sum.compared);
    for (size_t k = 0; k < f->in_slots.n; k++) tensor_release(in[k]);
    arena_free(a);
    return why;
}

/* autodiff again, on the module as it was before. */
static const char *check_gradients(PassCheck *c) {
    Arena *a = arena_new();
    Stage stage;
    PassCtx ctx = {.arena = a, .diag = diag_new(a)};
    Module *m = graph_parse(a, ctx.diag, "before autodiff", c->state->grads, strlen(c->state->grads), &stage);
    if (!m) bug("what was printed before `autodiff` cannot be read back");
    GradCheck *grads = gradcheck_begin(a, m);
    const char *why = pass_autodiff(&ctx, m) ? NULL : "the gradients could not be expanded again";
    for (size_t i = 0; i < m->funcs.n && !why; i++) {
        CheckFunc *check = check_of(c->state, m->funcs.at[i]->name);
        if (check && gradcheck_count(grads, m->funcs.at[i])) why = check_func_gradients(c, grads, m->funcs.at[i], check);
    }
    arena_free(a);
    return why;
}

/* ---- loops ---- */

static const char *check_step(PassCheck *c, const Step *s, CheckFunc *check, const Func *f) {
    Arena *a = arena_new();
    EvalFault fault = {0};
    const char *why = NULL;
    if (!check->f32) {
        check->n_f32 = f->out_slots.n;
        check->f32 = arena_make_n(c->arena, Tensor *, check->n_f32 + 1);
        if (!evaluate(a, check, f, EVAL_F32, check->f32, &fault)) why = arena_printf(c->arena, "@%s: %s", f->name, fault.text);
    }
    void **memory = arena_make_n(a, void *, s->buffers.n + 1);
    for (size_t i = 0; i < s->buffers.n && !why; i++) {
        const Buffer *b = s->buffers.at[i];
        if (b->same || (b->place != PLACE_SLOT && b->place != PLACE_FIELD)) continue;
        memory[i] = arena_alloc(a, (size_t)b->bytes + 64);
        for (size_t k = 0; k < f->in_slots.n; k++)
            if (strcmp(f->in_slots.at[k]->name, b->slot->name) == 0 &&
                !tensor_store_slot(given_for(check, b->slot), b->slot->type, check->batch,
                                   b->place == PLACE_SLOT ? f->batch_bound : 0, memory[i]))
                bug("out of memory");
    }
    if (!why && !loops_eval(a, s, check->batch, memory))
        why = arena_printf(c->arena, "@%s: the step ended in a run-time error", f->name);
    for (size_t i = 0; i < s->buffers.n && !why; i++) {
        const Buffer *b = s->buffers.at[i];
        if (!memory[i] || b->place != PLACE_SLOT) continue;
        for (size_t k = 0; k < f->out_slots.n && !why; k++) {
            if (strcmp(f->out_slots.at[k]->name, b->slot->name) != 0) continue;
            Tensor *got = tensor_from_slot(EVAL_F32, f->out_slots.at[k]->type, check->batch, f->batch_bound, memory[i]);
            if (!got) bug("out of memory");
            int64_t at;
            if (!tensor_same(got, check->f32[k], &at))
                why = say(c, check, b->slot->name, at, tensor_get(got, at < 0 ? 0 : at),
                          tensor_get(check->f32[k], at < 0 ? 0 : at));
            tensor_release(got);
        }
    }
    arena_free(a);
    return why;
}

const char *pass_check(void *arg, Program *p, const char *pass) {
    PassCheck *c = arg;
    if (!pass) return begin(c, p);
    if (c->state->grads) {
        bool pending = module_has(p->graph, OP_grad);
        const char *why = pending ? NULL : check_gradients(c);
        if (why) return why;
        c->state->grads = pending ? text_of(c->arena, p) : NULL;
    }
    for (size_t i = 0; i < p->graph->funcs.n; i++) {
        const Func *f = p->graph->funcs.at[i];
        CheckFunc *check = check_of(c->state, f->name);
        if (!check) continue;
        const char *why = p->loops ? check_step(c, p->loops->steps.at[i], check, f) : check_graph(c, f, check);
        if (why) return why;
    }
    return NULL;
}

static void release(Tensor **x, size_t n) {
    for (size_t i = 0; x && i < n; i++) tensor_release(x[i]);
}

void pass_check_end(PassCheck *c) {
    for (size_t i = 0; c->state && i < c->state->funcs.n; i++) {
        const CheckFunc *f = &c->state->funcs.at[i];
        release(f->given, f->n_in);
        release(f->f64, f->n_out);
        release(f->f32, f->n_f32);
    }
}
