/* evaluate.c - see evaluate.h. */
#include "backend/evaluate.h"

#include <stdlib.h>
#include <string.h>

/* What a step needs beside the call: hung on nn_func.context. */
typedef struct Evaluated {
    const Func *func;
    const struct nn_program *program;
    EvalType type;
    const GradCheck *check; /* NULL: gradients are not checked, or have been */
    const GradOptions *options;
    GradSummary *summary;
} Evaluated;

static const void *slot_memory(const Evaluated *e, const struct nn_call *call, const Slot *s) {
    const struct nn_slot *slot = &e->program->slots[s->index];
    return slot_in_frame(s) ? call->frame + slot->offset : call->fields[slot->offset];
}

/* Fields and inputs stand as they were read; what is in the frame stands as compiled steps keep it. */
static int64_t slot_bound(const Evaluated *e, const Slot *s) {
    return slot_in_frame(s) ? e->program->slots[s->index].batch_bound : 0;
}

static void report(const EvalFault *fault, struct nn_call *call) {
    if (call->fault->kind != NN_NO_FAULT) return;
    bool index = fault->op &&
                 (fault->op->code == OP_take || fault->op->code == OP_gather || fault->op->code == OP_dynamic_slice ||
                  fault->op->code == OP_dynamic_update || fault->op->code == OP_take_add || fault->op->code == OP_scatter_add);
    call->fault->line = fault->loc.line;
    call->fault->value = fault->value;
    call->fault->bound = fault->bound;
    call->fault->kind = fault->memory ? NN_MEMORY : index ? NN_INDEX : NN_DIVIDE;
}

static bool check_gradients(Arena *a, Evaluated *e, int64_t B, Tensor *const *in, EvalFault *fault) {
    if (!e->check) return true;
    GradSummary sum = {0};
    Tensor **beside = gradcheck_beside(a, e->func, in, e->options->seed);
    if (!beside) bug("out of memory");
    bool ok = gradcheck_run(a, e->check, e->func, B, beside, e->options, &sum, fault);
    for (size_t i = 0; i < e->func->in_slots.n; i++) tensor_release(beside[i]);
    e->check = NULL;
    e->summary->compared += sum.compared;
    e->summary->failed += sum.failed;
    e->summary->nonzero += sum.nonzero;
    e->summary->kinks += sum.kinks;
    return ok;
}

/* One thread computes, the others of the team are done at once. */
static void evaluate_step(struct nn_call *call) {
    if (call->thread != 0) return;
    Evaluated *e = call->func->context;
    const Func *f = e->func;
    size_t n_in = f->in_slots.n, n_out = f->out_slots.n;
    int64_t B = f->batch_bound ? call->batch : 1;
    Tensor **in = calloc(n_in + 1, sizeof *in), **out = calloc(n_out + 1, sizeof *out);
    Arena *a = arena_new();
    if (!in || !out) bug("out of memory");
    for (size_t i = 0; i < n_in; i++) {
        const Slot *s = f->in_slots.at[i];
        if (!(in[i] = tensor_from_slot(e->type, s->type, B, slot_bound(e, s), slot_memory(e, call, s)))) bug("out of memory");
    }
    EvalFault fault = {0};
    if (check_gradients(a, e, B, in, &fault) && eval_func(a, f, e->type, B, in, out, &fault)) {
        for (size_t i = 0; i < n_out; i++) {
            const Slot *s = f->out_slots.at[i];
            if (!tensor_store_slot(out[i], s->type, B, slot_bound(e, s), (void *)(uintptr_t)slot_memory(e, call, s)))
                bug("out of memory");
            tensor_release(out[i]);
        }
    } else {
        report(&fault, call);
    }
    for (size_t i = 0; i < n_in; i++) tensor_release(in[i]);
    free(in);
    free(out);
    arena_free(a);
}

void evaluate_steps(Arena *a, const Module *m, struct nn_program *program, EvalType type) {
    for (size_t i = 0; i < m->funcs.n; i++) {
        struct nn_func *func =
            (struct nn_func *)(uintptr_t)&program->funcs[i]; /* the caller's own memory: program_make made it */
        Evaluated *e = arena_make(a, Evaluated);
        *e = (Evaluated){.func = m->funcs.at[i], .program = program, .type = type};
        func->step = evaluate_step;
        func->context = e;
        func->threads = 1;
    }
}

void evaluate_steps_checked(Arena *a, const Module *m, struct nn_program *program, const GradCheck *check,
                            const GradOptions *options, GradSummary *summary) {
    evaluate_steps(a, m, program, EVAL_F64);
    for (size_t i = 0; i < m->funcs.n; i++) {
        Evaluated *e = program->funcs[i].context;
        if (!gradcheck_count(check, e->func)) continue;
        e->check = check;
        e->options = options;
        e->summary = summary;
    }
}
