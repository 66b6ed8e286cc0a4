/*
 * call.c - one call of a compiled function: the slots that the runtime keeps for it, the threads, and what can go wrong in it.
 */
#include "guard.h"
#include "profile.h"
#include "run.h"
#include <inttypes.h>
#include <string.h>

/* Slots that the runtime itself keeps: written before every call, for they differ from loop to loop. */
static void put_places(struct nn_run *r, const struct nn_func *f) {
    const struct nn_slot *slots = r->program->slots;
    uint64_t key = r->loop >= 0 ? r->items[r->loop].key : r->settings->seed;
    for (int64_t i = 0; i < f->n_reads; i++) {
        const struct nn_slot *s = &slots[f->reads[i]];
        if (s->kind == NN_KEY) {
            memcpy(r->frame + s->offset, &key, sizeof key);
        } else if (s->kind == NN_FIRST) {
            int64_t loop = r->loop;
            while (loop >= 0 && r->items[loop].node->kind != NN_DATA) loop = r->items[loop].loop;
            *(int64_t *)(r->frame + s->offset) = loop >= 0 ? r->items[loop].turn * r->items[loop].node->sets[0].batch : 0;
        }
    }
}

int64_t nn_run_batch(const struct nn_run *r) {
    for (int64_t loop = r->loop; loop >= 0; loop = r->items[loop].loop) {
        if (r->items[loop].node->kind == NN_DATA) return r->items[loop].batch;
    }
    return r->input_batch;
}

void nn_text_position(struct nn_run *r, struct nn_text *t) {
    const char *before = " (";
    nn_text_printf(r->env, t, " at step %" PRId64, r->steps);
    for (int64_t loop = r->loop; loop >= 0; loop = r->items[loop].loop) {
        const struct nn_item *item = &r->items[loop];
        nn_text_printf(r->env, t, "%s%s %" PRId64 " of the loop in line %" PRId64, before, item->node->epoch ? "epoch" : "turn",
                       item->turn, item->node->line);
        before = ", ";
    }
    if (r->loop >= 0) nn_text_add(r->env, t, ")");
}

static bool faulted(struct nn_run *r, const struct nn_fault *fault) {
    struct nn_text where = {0};
    nn_text_position(r, &where);
    const char *source = r->program->source;
    if (fault->kind == NN_INDEX) {
        nn_fail(r->env, NN_RUNTIME, "%s:%" PRId64 ": index %" PRId64 " is out of range: the axis has %" PRId64 " element%s%s",
                source, fault->line, fault->value, fault->bound, fault->bound == 1 ? "" : "s", nn_text_str(&where));
    } else if (fault->kind == NN_MEMORY) {
        nn_fail(r->env, NN_RUNTIME, "%s:%" PRId64 ": there is not enough memory for the numbers of this line%s", source,
                fault->line, nn_text_str(&where));
    } else {
        nn_fail(r->env, NN_RUNTIME, "%s:%" PRId64 ": division of integers by zero%s", source, fault->line, nn_text_str(&where));
    }
    nn_text_free(r->env, &where);
    return false;
}

int64_t nn_run_threads(const struct nn_run *r, const struct nn_func *f) {
    return f->threads > 0 && f->threads < r->threads ? f->threads : r->threads;
}

bool nn_run_call(struct nn_run *r, int64_t index) {
    const struct nn_func *f = &r->program->funcs[index];
    struct nn_fault fault = {0};
    int64_t threads = nn_run_threads(r, f);
    struct nn_call call = {.frame = r->frame,
                           .arena = r->arena,
                           .fields = r->fields,
                           .batch = f->batch_bound > 0 ? nn_run_batch(r) : 1,
                           .fault = &fault,
                           .func = f};
    if (r->settings->profile && !nn_profile_call(r, index, &call)) return false;
    put_places(r, f);
    if (r->settings->guard && !nn_guard_begin(r)) return false;
    struct nn_pace *pace = threads > 1 ? &r->paces[index] : NULL;
    double start = pace || r->settings->profile ? nn_now(r->env) : 0;
    nn_threads_step(r->team, &call, pace ? nn_pace_threads(pace, threads) : threads);
    double seconds = pace || r->settings->profile ? nn_now(r->env) - start : 0;
    if (pace) nn_pace_note(pace, seconds);
    r->func_seconds[index] += seconds;
    r->func_calls[index]++;
    if (fault.kind != NN_NO_FAULT) return faulted(r, &fault);
    return !r->settings->guard || nn_guard(r, &call);
}
