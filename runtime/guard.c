/*
 * guard.c - --guard: the first NaN or infinity in what a step wrote, and the kernel that it came out of.
 *
 *     mlp.nn:35: the value `train.loss` has 1 elements of 1 that are NaN or infinite (...) at step 7 (...); written by `train.step`; the first NaN came out of its kernel
 *     @contract.2 (mlp.nn:22), an infinity before it out of @exp.1 (mlp.nn:20)
 *
 * After each call the slots that it wrote are looked at. A step is a function of the frame and the batch, so where one is bad the step is done again, by one thread, from the
 * frame as it was before: once to see in which order kernels come (loops of the step go round as often as their numbers say), and once more looking at what each of them writes.
 * A kernel may leave a part of a buffer alone, where anything may lie from before: so what is bad must also be new. Infinities inside a step are no fault by themselves
 * (what a mask excludes, a maximum of nothing): the step is guarded by its results, and the first NaN, if there is one, is where it broke.
 */
#include "guard.h"
#include "threads.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

bool nn_guard_begin(struct nn_run *r) {
    size_t n = (size_t)r->program->frame;
    if (!r->guarded) r->guarded = nn_alloc(r->env, n + 1);
    if (r->guarded) memcpy(r->guarded, r->frame, n);
    return r->guarded != NULL;
}

/* ---- which kernel? ---- */

/* A kernel in the order in which they ran, and how often it had run before. */
struct found {
    int64_t kernel, turn; /* kernel -1: none */
};

struct search {
    struct nn_watch watch;
    struct nn_run *r;
    const struct nn_call *call;
    int64_t *ran, n, room; /* kernels, in the order of the first run */
    int64_t now;           /* of the second run: which of these comes next */
    char **before;         /* by store: what lay there before its kernel */
    struct found nan, infinity;
    bool failed;
};

static void list_lap(struct nn_watch *watch, int64_t k) {
    struct search *s = (struct search *)watch;
    if (k < 0 || k == s->call->func->n_kernels || s->failed) return;
    if (s->n == s->room) {
        int64_t room = s->room ? 2 * s->room : 64, *ran = nn_grow(s->r->env, s->ran, (size_t)room * sizeof *ran);
        s->failed = !ran;
        if (!ran) return;
        s->ran = ran;
        s->room = room;
    }
    s->ran[s->n++] = k;
}

static int64_t store_count(const struct search *s, const struct nn_store *w) {
    int64_t n = w->count + w->count_batch * s->call->batch;
    return n > 0 ? n : 0; /* an axis of 0 elements */
}

static const char *store_place(const struct search *s, const struct nn_store *w) {
    return w->slot < 0 ? s->call->arena + w->offset : s->call->frame + s->r->program->slots[w->slot].offset;
}

/* The first store of a kernel, or of one behind it. */
static int64_t first_store(const struct nn_func *f, int64_t kernel) {
    int64_t lo = 0, hi = f->n_stores;
    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;
        if (f->stores[mid].kernel < kernel)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Keeps what lies where the next kernel will write. */
static void keep_before(struct search *s) {
    const struct nn_func *f = s->call->func;
    if (s->now == s->n) return;
    int64_t kernel = s->ran[s->now];
    for (int64_t i = first_store(f, kernel); i < f->n_stores && f->stores[i].kernel == kernel && !s->failed; i++) {
        const struct nn_store *w = &f->stores[i];
        size_t bytes = (size_t)(store_count(s, w) * nn_elem_size(w->elem));
        if (!s->before[i]) s->before[i] = nn_alloc(s->r->env, bytes + 1);
        s->failed = !s->before[i];
        if (!s->failed) memcpy(s->before[i], store_place(s, w), bytes);
    }
}

/* How often the kernel that has just run had run before. */
static int64_t turn_of(const struct search *s) {
    int64_t turn = 0;
    for (int64_t i = 0; i < s->now; i++) turn += s->ran[i] == s->ran[s->now];
    return turn;
}

static void look(struct search *s, int64_t store, int64_t kernel) {
    const struct nn_store *w = &s->call->func->stores[store];
    const char *at = store_place(s, w), *before = s->before[store];
    int64_t size = nn_elem_size(w->elem);
    for (int64_t i = 0; i < store_count(s, w); i++) {
        double v = nn_value_at(at, w->elem, i);
        if (isfinite(v) || memcmp(at + i * size, before + i * size, (size_t)size) == 0) continue;
        struct found *found = isnan(v) ? &s->nan : &s->infinity;
        if (found->kernel < 0) *found = (struct found){kernel, turn_of(s)};
        if (isnan(v)) return;
    }
}

static void look_lap(struct nn_watch *watch, int64_t k) {
    struct search *s = (struct search *)watch;
    const struct nn_func *f = s->call->func;
    if (s->failed || s->nan.kernel >= 0 || k == f->n_kernels) return;
    if (k >= 0) {
        for (int64_t i = first_store(f, k); i < f->n_stores && f->stores[i].kernel == k; i++) look(s, i, k);
        s->now++;
    }
    keep_before(s);
}

static void again(struct search *s, void (*lap)(struct nn_watch *, int64_t)) {
    struct nn_call call = *s->call;
    struct nn_fault fault = {0};
    memcpy(s->r->frame, s->r->guarded, (size_t)s->r->program->frame);
    memset(s->r->arena, 0,
           (size_t)(call.func->arena + call.func->own)); /* or what is written there would be what lay there already */
    s->watch.lap = lap;
    call.watch = &s->watch;
    call.fault = &fault;
    nn_threads_step(s->r->team, &call, 1);
}

static void text_kernel(struct nn_run *r, struct nn_text *t, const struct nn_func *f, const char *what,
                        const struct found *found) {
    const struct nn_kernel *k = &f->kernels[found->kernel];
    nn_text_printf(r->env, t, "%s @%s (%s)", what, k->name, k->place);
    if (found->turn) nn_text_printf(r->env, t, ", the %" PRId64 ". time it ran in this step", found->turn + 1);
}

/* "; the first NaN came out of its kernel @log.3 (blow.nn:12)": nothing where the step is no compiled code. */
static bool text_origin(struct nn_run *r, const struct nn_call *call, struct nn_text *t) {
    const struct nn_func *f = call->func;
    struct search s = {.r = r, .call = call, .nan = {-1, 0}, .infinity = {-1, 0}};
    if (f->n_kernels == 0) return true;
    s.before = nn_alloc_n(r->env, f->n_stores + 1, sizeof *s.before);
    s.failed = !s.before;
    if (!s.failed) again(&s, list_lap);
    if (!s.failed) again(&s, look_lap);
    if (!s.failed && s.nan.kernel >= 0) text_kernel(r, t, f, "; the first NaN came out of its kernel", &s.nan);
    if (!s.failed && s.infinity.kernel >= 0)
        text_kernel(r, t, f, s.nan.kernel >= 0 ? ", an infinity before it out of" : "; the first infinity came out of its kernel",
                    &s.infinity);
    for (int64_t i = 0; s.before && i < f->n_stores; i++) nn_free(r->env, s.before[i]);
    nn_free(r->env, s.before);
    nn_free(r->env, s.ran);
    return !s.failed;
}

/* ---- what is bad? ---- */

static const char *const kind_names[] = {"parameter", "state", "optimizer state", "value", "option", "counter",
                                         "step",      "key",   "place",           "field", "input"};

struct values {
    int64_t n, bad;
    double least, most; /* of the others */
};

static bool look_at_slot(struct nn_run *r, int64_t slot, struct values *v) {
    const struct nn_slot *s = &r->program->slots[slot];
    int64_t n = s->bytes / nn_elem_size(s->elem);
    if (s->batch_axis >= 0 && s->batch_bound > 0) n = n / s->batch_bound * nn_run_batch(r); /* beyond: left from a larger batch */
    const char *at = nn_run_value(r, slot);
    *v = (struct values){.n = n, .least = INFINITY, .most = -INFINITY};
    for (int64_t k = 0; at && k < n; k++) {
        double x = nn_value_at(at, s->elem, k);
        v->bad += !isfinite(x);
        if (isfinite(x) && x < v->least) v->least = x;
        if (isfinite(x) && x > v->most) v->most = x;
    }
    return at != NULL;
}

bool nn_guard(struct nn_run *r, const struct nn_call *call) {
    const struct nn_func *f = call->func;
    for (int64_t i = 0; i < f->n_writes; i++) {
        const struct nn_slot *s = &r->program->slots[f->writes[i]];
        struct values v;
        if (s->elem != NN_F32 && s->elem != NN_F64) continue;
        if (!look_at_slot(r, f->writes[i], &v)) return false;
        if (v.bad == 0) continue;
        struct nn_text where = {0}, origin = {0};
        char others[80] = "";
        if (v.bad < v.n) snprintf(others, sizeof others, " (the others lie between %g and %g)", v.least, v.most);
        nn_text_position(r, &where);
        if (text_origin(r, call, &origin))
            nn_fail(r->env, NN_RUNTIME,
                    "%s:%" PRId64 ": the %s `%s` has %" PRId64 " elements of %" PRId64
                    " that are NaN or infinite%s%s; written by `%s`%s",
                    r->program->source, s->line > 0 ? s->line : f->line, kind_names[s->kind], s->name, v.bad, v.n, others,
                    nn_text_str(&where), f->name, nn_text_str(&origin));
        nn_text_free(r->env, &where);
        nn_text_free(r->env, &origin);
        return false;
    }
    return true;
}
