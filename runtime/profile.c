/*
 * profile.c - --profile: where the time of a run went, by function, by kernel and source line.
 *
 *      seconds      calls    us a call   share  function
 *       1.2031       6000       200.52   97.9%  train.step (mlp.nn:32)
 *       0.8113       6000       135.22   66.0%    contract.1 (mlp.nn:22) 52.1 GFLOP/s, 9.30 GB/s
 *       0.0102      54000         0.19    0.8%    waiting for other threads
 *       0.0009       6000         0.15    0.1%    around the kernels
 *
 * Time is that of thread 0, measured from the end of one kernel (or barrier) to the end of the next: some 30 ns of each are the measuring. A kernel's share of work that
 * another thread does longer shows as waiting. Rates are what the kernel must compute and move at least, as the compiler counts it, over the time of the thread that takes longest: thread 0 may
 * have had no share of a small one.
 */
#include "profile.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Of one function and one thread: nanoseconds and how often, of each kernel and, behind the last, of its barriers. Those of the threads lie one behind the other, watch.apart bytes
 * apart. */
struct nn_profile {
    struct nn_watch watch;
    uint64_t last; /* lap, in nanoseconds */
    struct nn_laps {
        uint64_t ns, calls;
    } at[];
};

static void lap(struct nn_watch *watch, int64_t k) {
    struct nn_profile *p = (struct nn_profile *)watch;
    uint64_t t = now();
    if (k >= 0) {
        p->at[k].ns += t - p->last;
        p->at[k].calls++;
    }
    p->last = t;
}

bool nn_profile_make(struct nn_run *r) {
    if (!r->settings->profile) return true;
    r->profiles = nn_alloc_n(r->env, r->program->n_funcs, sizeof *r->profiles);
    r->func_batch = nn_alloc_n(r->env, r->program->n_funcs, sizeof *r->func_batch);
    return r->profiles && r->func_batch;
}

void nn_profile_free(struct nn_run *r) {
    for (int64_t i = 0; r->profiles && i < r->program->n_funcs; i++) nn_free(r->env, r->profiles[i]);
    nn_free(r->env, r->profiles);
    nn_free(r->env, r->func_batch);
}

static struct nn_profile *profile_of(struct nn_profile *first, int64_t thread) {
    return (struct nn_profile *)((char *)first + thread * first->watch.apart);
}

static struct nn_profile *make_profile(struct nn_run *r, int64_t n_kernels, int64_t threads) {
    enum { APART = 128 }; /* no thread writes to a line of memory that another one writes to, nor to its neighbour */
    size_t size = sizeof(struct nn_profile) + (size_t)(n_kernels + 1) * sizeof(struct nn_laps);
    int64_t apart = (int64_t)(size + 2 * APART - 1) / APART * APART;
    struct nn_profile *p = nn_alloc_n(r->env, threads, (size_t)apart);
    if (!p) return NULL;
    p->watch.apart = apart;
    for (int64_t t = 0; t < threads; t++) profile_of(p, t)->watch = (struct nn_watch){lap, apart};
    return p;
}

bool nn_profile_call(struct nn_run *r, int64_t index, struct nn_call *call) {
    int64_t n = r->program->funcs[index].n_kernels;
    r->func_batch[index] += call->batch;
    if (n == 0) return true;
    struct nn_profile **p = &r->profiles[index];
    if (!*p) *p = make_profile(r, n, nn_run_threads(r, &r->program->funcs[index]));
    if (!*p) return false;
    call->watch = &(*p)->watch;
    return true;
}

/* ---- the table ---- */

static void line(struct nn_run *r, double seconds, int64_t calls, double all) {
    nn_print(r->env, NN_ERR, "%12.4f %10" PRId64 " %12.2f %6.1f%%  ", seconds, calls, 1e6 * seconds / (double)calls,
             all > 0 ? 100 * seconds / all : 0.0);
}

struct row {
    uint64_t ns, calls;
    uint64_t longest; /* nanoseconds of the thread that took longest */
    int64_t kernel;
};

/* The longest first, else in the step's order. */
static int longer(const void *x, const void *y) {
    const struct row *a = x, *b = y;
    if (a->ns != b->ns) return a->ns > b->ns ? -1 : 1;
    return a->kernel < b->kernel ? -1 : a->kernel > b->kernel;
}

/* `batch`: the mean. A rate is not told where nothing was counted, or the time is that of the clock alone. */
static void rates(struct nn_run *r, const struct nn_kernel *k, const struct row *row, double batch) {
    double flop = (k->flop + k->flop_batch * batch) * (double)row->calls,
           bytes = (k->bytes + k->bytes_batch * batch) * (double)row->calls, ns = (double)row->longest;
    const char *before = " ";
    if (row->longest == 0) return;
    if (flop > 0) nn_print(r->env, NN_ERR, "%s%.3g GFLOP/s", before, flop / ns), before = ", ";
    if (bytes > 0) nn_print(r->env, NN_ERR, "%s%.3g GB/s", before, bytes / ns);
}

/* The kernels of function f, which took `seconds` in all. */
static bool kernels(struct nn_run *r, int64_t f, double seconds, double all) {
    const struct nn_func *func = &r->program->funcs[f];
    struct nn_profile *profile = r->profiles[f];
    int64_t threads = nn_run_threads(r, func);
    double batch = (double)r->func_batch[f] / (double)r->func_calls[f];
    struct row *rows = nn_alloc_n(r->env, func->n_kernels + 1, sizeof *rows);
    if (!rows) return false;
    uint64_t inside = 0;
    for (int64_t k = 0; k <= func->n_kernels; k++) {
        rows[k] = (struct row){.ns = profile->at[k].ns, .calls = profile->at[k].calls, .kernel = k};
        for (int64_t t = 0; t < threads; t++) {
            uint64_t ns = profile_of(profile, t)->at[k].ns;
            if (ns > rows[k].longest) rows[k].longest = ns;
        }
        inside += rows[k].ns;
    }
    qsort(rows, (size_t)func->n_kernels + 1, sizeof *rows, longer);
    for (int64_t i = 0; i <= func->n_kernels; i++) {
        const struct row *row = &rows[i];
        if (row->calls == 0) continue;
        line(r, 1e-9 * (double)row->ns, (int64_t)row->calls, all);
        if (row->kernel == func->n_kernels) {
            nn_print(r->env, NN_ERR, "  waiting for other threads\n");
            continue;
        }
        nn_print(r->env, NN_ERR, "  %s (%s)", func->kernels[row->kernel].name, func->kernels[row->kernel].place);
        rates(r, &func->kernels[row->kernel], row, batch);
        nn_print(r->env, NN_ERR, "\n");
    }
    nn_free(r->env, rows);
    double around = seconds - 1e-9 * (double)inside;
    line(r, around > 0 ? around : 0, r->func_calls[f], all);
    nn_print(r->env, NN_ERR, "  around the kernels\n");
    return true;
}

void nn_report_profile(struct nn_run *r) {
    double all = r->data_seconds;
    for (int64_t i = 0; i < r->program->n_funcs; i++) all += r->func_seconds[i];
    nn_print(r->env, NN_ERR, "%12s %10s %12s %7s  %s\n", "seconds", "calls", "us a call", "share", "function");
    for (int64_t i = 0; i < r->program->n_funcs; i++) {
        if (r->func_calls[i] == 0) continue;
        line(r, r->func_seconds[i], r->func_calls[i], all);
        nn_print(r->env, NN_ERR, "%s (%s:%" PRId64 ")\n", r->program->funcs[i].name, r->program->source,
                 r->program->funcs[i].line);
        if (r->profiles[i] && !kernels(r, i, r->func_seconds[i], all)) return;
    }
    if (r->data_calls == 0) return;
    line(r, r->data_seconds, r->data_calls, all);
    nn_print(r->env, NN_ERR, "waiting for data\n");
}
