/*
 * kernels.c - how fast are the kernels that nnc makes? Products in all orders of operands that a backward pass has, beside OpenBLAS, the fma peak and the
 * register tile alone (data in L1), measured in turns in one run; medians of rounds.
 *
 *   kernels [--cpu=NAME] [--rounds=N] [--threads=N] [FILTER]
 *
 * Each product is written as the plain nest that `lower` makes, goes through tile, vectorize, parallelize and the backend, and is checked against OpenBLAS's numbers.
 * GFLOP/s; "tile" is the share of the register tile's speed, "blas" the ratio to OpenBLAS (above 1: ours is faster).
 */
#include "passes/machine.h"
#include "passes/pipeline.h"
#include "tests/unit/run_native.h"

#include <cblas.h>
#include <math.h>
#include <time.h>

void openblas_set_num_threads(int n);

static int threads = 1;

/* With one thread the thread's own time: what else runs on the machine counts less. */
static double now(void) {
    struct timespec t;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_size(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static double median(double *at, int n) {
    qsort(at, (size_t)n, sizeof *at, by_size);
    return n % 2 ? at[n / 2] : (at[n / 2 - 1] + at[n / 2]) / 2;
}

/* ---- things to measure ---- */

typedef struct Case {
    const char *name, *order; /* order: "nn" x @ w, "nt" dy @ w', "tn" x' @ dy */
    int m, n, k;              /* result m x n, chains of k */
    bool batch;               /* m (for tn: k) is the batch */
} Case;

static const Case cases[] = {
    {"512", "nn", 512, 512, 512, false},          {"512", "nt", 512, 512, 512, false},          {"512", "tn", 512, 512, 512, false},
    {"1024", "nn", 1024, 1024, 1024, false},      {"1024", "nt", 1024, 1024, 1024, false},      {"1024", "tn", 1024, 1024, 1024, false},
    {"mlp1 fwd", "nn", 128, 512, 784, true},      {"mlp1 dw", "tn", 784, 512, 128, true},       {"mlp2 fwd", "nn", 128, 512, 512, true},
    {"mlp2 dx", "nt", 128, 512, 512, true},       {"mlp2 dw", "tn", 512, 512, 128, true},       {"mlp3 fwd", "nn", 128, 10, 512, true},
    {"mlp3 dx", "nt", 128, 512, 10, true},        {"mlp3 dw", "tn", 512, 10, 128, true},        {"odd", "nn", 123, 457, 311, false},
    {"odd", "nt", 123, 457, 311, false},          {"odd", "tn", 123, 457, 311, false},          {"mnist 10", "nn", 10, 300, 784, true},
    {"tiny fwd", "nn", 32, 32, 64, true},         {"tiny dw", "tn", 64, 32, 32, true},          {"row", "nn", 1, 512, 784, false},
};

typedef struct Setup {
    const BackendTarget *target;
    int rounds, threads;
} Setup;

static const char *case_text(Arena *a, const Case *c) {
    bool t1 = c->order[0] == 't', t2 = c->order[1] == 't';
    const char *m = c->batch && !t1 ? "B" : arena_printf(a, "%d", c->m), *k = c->batch && t1 ? "B" : arena_printf(a, "%d", c->k);
    return arena_printf(a,
                        "loops lowered\nsource \"kernels.nn\" 0x1\n\nstep @f%s {\n  buffer %%x: f32[%s, %s]\n  buffer %%w: f32[%s, %s]\n  buffer %%y: f32[%s, %d]\n"
                        "  kernel @k {\n    for i in 0..%s, j in 0..%d {\n      acc s: f32 = 0\n      for k in 0..%s { s = fma(%%x[%s], %%w[%s], s) }\n"
                        "      %%y[i, j] = s\n    }\n  }\n}\n",
                        c->batch ? arena_printf(a, " batch B<=%d", t1 ? c->k : c->m) : "", t1 ? k : m, t1 ? m : k, t2 ? arena_printf(a, "%d", c->n) : k,
                        t2 ? k : arena_printf(a, "%d", c->n), m, c->n, m, c->n, k, t1 ? "k, i" : "i, k", t2 ? "j, k" : "k, j");
}

static LoopsProgram *passed(Arena *a, LoopsProgram *p, const BackendTarget *t) {
    Machine machine = {t->vector_bytes, t->vector_registers, t->masked, t->l1, t->l2};
    PassCtx c = {.arena = a, .diag = diag_new(a), .machine = &machine};
    if (!pass_tile(&c, p) || !pass_vectorize(&c, p) || !pass_parallelize(&c, p) || !pass_barriers(&c, p)) {
        diag_print(c.diag, stderr);
        return NULL;
    }
    return p;
}

/* Seconds of one call, from enough calls to fill some milliseconds. */
typedef struct Timed {
    void (*call)(void *arg);
    void *arg;
    int repeats;
} Timed;

static double time_once(const Timed *t) {
    double start = now();
    for (int i = 0; i < t->repeats; i++) t->call(t->arg);
    return (now() - start) / t->repeats;
}

static void calibrate(Timed *t) {
    t->repeats = 1;
    t->call(t->arg);
    double once = time_once(t);
    t->repeats = once > 0.01 ? 1 : (int)(0.01 / once) + 1;
}

/* ---- the fma peak and the register tile ---- */

/* Twelve chains of fma, vectors of the machine: a text of loops like any other. */
static const char *peak_text(Arena *a, int lanes, int chains) {
    return arena_printf(a,
                        "loops lowered\nsource \"kernels.nn\" 0x1\n\nstep @f {\n  buffer %%x: f32[%d]\n  buffer %%y: f32[%d, %d]\n  kernel @k {\n    let a: f32 = %%x[0]\n"
                        "    let b: f32 = %%x[1]\n    acc s: f32[%d, %d] = 1\n    for k in 0..10000 unroll 2, i in 0..%d unroll, j in 0..%d vector %d { s[i, j] = fma(s[i, j], a, b) }\n"
                        "    for i in 0..%d unroll, j in 0..%d vector %d { %%y[i, j] = s[i, j] }\n  }\n}\n",
                        lanes, chains, lanes, chains, lanes, chains, lanes, lanes, chains, lanes, lanes);
}

static const char *tile_text(Arena *a, int rows, int columns, int lanes, int k) {
    return arena_printf(a,
                        "loops lowered\nsource \"kernels.nn\" 0x1\n\nstep @f {\n  buffer %%a: f32[%d, %d] stride [%d, 1]\n  buffer %%b: f32[%d, %d]\n  buffer %%c: f32[%d, %d]\n"
                        "  kernel @k {\n    acc s: f32[%d, %d] = 0\n    for k in 0..%d unroll 4, i in 0..%d unroll, j in 0..%d vector %d { s[i, j] = fma(%%a[i, k], %%b[k, j], s[i, j]) }\n"
                        "    for i in 0..%d unroll, j in 0..%d vector %d { %%c[i, j] = s[i, j] }\n  }\n}\n",
                        rows, k, k + 4, k, columns, rows, columns, rows, columns, k, rows, columns, lanes, rows, columns, lanes);
}

/* ---- running ---- */

typedef struct Run {
    const Case *c;
    Native *native;
    NativeRun memory;
    int64_t batch;
    int threads;
    float *x, *w, *y, *blas;
} Run;

static void call_native(void *arg) {
    Run *r = arg;
    if (r->threads > 1) {
        native_call(r->native, &r->memory, "f", r->batch, r->threads);
        return;
    }
    const struct nn_func *f = &r->native->program->funcs[0];
    struct nn_call call = {.frame = r->memory.frame, .arena = r->memory.scratch, .fields = r->memory.fields, .batch = r->batch, .threads = 1, .fault = &r->memory.fault,
                           .func = f};
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, 1);
    call.barrier = (struct nn_barrier *)&barrier;
    f->step(&call);
    pthread_barrier_destroy(&barrier);
}

static void call_blas(void *arg) {
    Run *r = arg;
    const Case *c = r->c;
    bool t1 = c->order[0] == 't', t2 = c->order[1] == 't';
    cblas_sgemm(CblasRowMajor, t1 ? CblasTrans : CblasNoTrans, t2 ? CblasTrans : CblasNoTrans, c->m, c->n, c->k, 1, r->x, t1 ? c->m : c->k, r->w, t2 ? c->k : c->n, 0,
                r->blas, c->n);
}

static float *buffer_of(const Run *r, const char *name) {
    const Step *s = r->native->loops->steps.at[0];
    for (size_t i = 0; i < s->buffers.n; i++)
        if (!strcmp(s->buffers.at[i]->name, name)) return native_memory(r->native, &r->memory, s->buffers.at[i]);
    return NULL;
}

static bool set_up(Run *r, const Setup *u, const char *text, bool passes) {
    Arena *a = arena_new();
    LoopsProgram *p = native_parse(a, text);
    if (p && passes) p = passed(a, p, u->target);
    r->native = p ? native_build(a, p, u->target, getenv("NNC_KEEP") != NULL) : NULL;
    if (!r->native) return false;
    r->memory = native_memory_new(r->native, "f");
    memset(r->memory.scratch, 0, (size_t)r->native->program->funcs[0].arena);
    return true;
}

static void tear_down(Run *r) {
    native_memory_free(r->native, &r->memory);
    native_free(r->native);
    free(r->blas);
}

static void fill(float *p, int64_t n, unsigned seed) {
    for (int64_t i = 0; i < n; i++) p[i] = (float)((int)((seed = seed * 1664525u + 1013904223u) >> 16) % 2001 - 1000) / 1000.f;
}

/* Largest difference, in units of the size of the terms. */
static double difference(const Run *r) {
    double most = 0;
    for (int64_t i = 0; i < (int64_t)r->c->m * r->c->n; i++) most = fmax(most, fabs((double)r->y[i] - r->blas[i]));
    return most / sqrt(r->c->k);
}

/* A kernel that is measured beside all others: the fma peak, the register tile. */
typedef struct Yardstick {
    Run run;
    Timed timed;
    double flop;
} Yardstick;

static void yardstick_make(Yardstick *m, const Setup *u, const char *text, double flop) {
    m->run = (Run){.threads = 1};
    m->flop = flop;
    if (!set_up(&m->run, u, text, false)) exit(1);
    fill(buffer_of(&m->run, m->run.native->loops->steps.at[0]->buffers.at[0]->name), 8, 3);
    m->timed = (Timed){call_native, &m->run, 1};
    calibrate(&m->timed);
}

static double yardstick_speed(const Yardstick *m) { return m->flop / time_once(&m->timed) * 1e-9; }

static void measure(const Setup *u, const Case *c, const Yardstick *tile) {
    Run r = {.c = c, .threads = u->threads, .batch = c->batch ? (c->order[0] == 't' ? c->k : c->m) : 1};
    Arena *a = arena_new();
    if (!set_up(&r, u, case_text(a, c), true)) exit(1);
    r.x = buffer_of(&r, "x");
    r.w = buffer_of(&r, "w");
    r.y = buffer_of(&r, "y");
    r.blas = native_aligned((int64_t)c->m * c->n * 4);
    fill(r.x, (int64_t)c->m * c->k, 1);
    fill(r.w, (int64_t)c->n * c->k, 2);
    Timed ours = {call_native, &r, 1}, blas = {call_blas, &r, 1};
    calibrate(&ours);
    calibrate(&blas);
    double off = difference(&r), flop = 2.0 * c->m * c->n * c->k;
    double *at = calloc((size_t)u->rounds * 4, sizeof *at), *x = at, *y = at + u->rounds, *of_tile = y + u->rounds, *of_blas = of_tile + u->rounds;
    for (int i = 0; i < u->rounds; i++) {
        double whole = yardstick_speed(tile) * u->threads;
        x[i] = flop / time_once(&ours) * 1e-9;
        y[i] = flop / time_once(&blas) * 1e-9;
        of_tile[i] = x[i] / whole;
        of_blas[i] = x[i] / y[i];
    }
    printf("%-9s %s  %4d x %4d x %4d  %8.1f  %5.0f%%  %8.1f  %5.2f%s\n", c->name, c->order, c->m, c->n, c->k, median(x, u->rounds), 100 * median(of_tile, u->rounds),
           median(y, u->rounds), median(of_blas, u->rounds), off < 1e-4 ? "" : arena_printf(a, "  WRONG NUMBERS: off by %g", off));
    fflush(stdout);
    free(at);
    tear_down(&r);
    arena_free(a);
}

int main(int argc, char **argv) {
    Setup u = {.rounds = 7, .threads = 1};
    const char *cpu = NULL, *filter = NULL;
    for (int i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "--cpu=", 6)) cpu = argv[i] + 6;
        else if (!strncmp(argv[i], "--rounds=", 9)) u.rounds = atoi(argv[i] + 9) > 0 ? atoi(argv[i] + 9) : 1;
        else if (!strncmp(argv[i], "--threads=", 10)) u.threads = atoi(argv[i] + 10) > 0 ? atoi(argv[i] + 10) : 1;
        else filter = argv[i];
    }
    Arena *a = arena_new();
    Diag *d = diag_new(a);
    u.target = backend_target(a, d, NULL, cpu, false);
    if (!u.target) return diag_print(d, stderr), 2;
    threads = u.threads;
    openblas_set_num_threads(u.threads);
    int lanes = u.target->vector_bytes / 4, rows = lanes == 16 ? 14 : 6, chains = lanes == 16 ? 24 : 12;
    Yardstick peak, tile;
    yardstick_make(&peak, &u, peak_text(a, lanes, chains), 2.0 * 10000 * chains * lanes);
    yardstick_make(&tile, &u, tile_text(a, rows, 2 * lanes, lanes, 256), 2.0 * rows * 2 * lanes * 256);
    double *p = calloc((size_t)u.rounds * 2, sizeof *p), *q = p + u.rounds;
    for (int i = 0; i < u.rounds; i++) {
        p[i] = yardstick_speed(&peak);
        q[i] = yardstick_speed(&tile) / p[i];
    }
    printf("fma peak %.1f GFLOP/s, register tile %d x %d in L1: %.0f%% of it, %s, %d threads\n", median(p, u.rounds), rows, 2 * lanes, 100 * median(q, u.rounds),
           u.target->shown, u.threads);
    free(p);
    printf("%-9s order %18s  %8s  %6s  %8s  %5s\n", "case", "m x n x k", "nnc", "tile", "OpenBLAS", "ratio");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (!filter || strstr(cases[i].name, filter)) measure(&u, &cases[i], &tile);
    arena_free(a);
    return 0;
}
