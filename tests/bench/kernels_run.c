/*
 * kernels_run.c - compiles texts as nnc does, runs them as the runtime does, times them in turns. See kernels.h.
 */
#include "kernels.h"
#include "passes/machine.h"
#include "passes/pipeline.h"
#include "runtime/threads.h"
#include "tests/unit/run_native.h"

#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

void fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("kernels: ", stderr);
    vfprintf(stderr, format, args);
    fputs("\n", stderr);
    va_end(args);
    exit(1);
}

bool wanted(const Setup *u, const char *name) { return !u->filter || strstr(name, u->filter); }

/* ---- compiling ---- */

struct Compiled {
    Native *native;
    NativeRun memory;
    struct nn_call call;
    struct nn_team *team;
    int64_t threads;
    struct nn_pace pace; /* as in a run of a program, which notices where one thread is faster */
};

static bool run_passes(PassCtx *c, Program *p, TextKind kind) {
    if (kind == TEXT_LOOPS_PLAIN) return true;
    if (kind == TEXT_GRAPH) return pipeline_run(c, p, &(PipelineOptions){0});
    /* Not the plan: buffers that are only read would lie under those that are only written. */
    return pass_halo(c, p->loops) && pass_collapse(c, p->loops) && pass_tile(c, p->loops) && pass_vectorize(c, p->loops) &&
           pass_parallelize(c, p->loops) && pass_barriers(c, p->loops);
}

Compiled *compiled_new(const Setup *u, const char *name, const char *text, TextKind kind, int64_t batch) {
    Arena *a = arena_new();
    Diag *d = diag_new(a);
    const BackendTarget *t = u->target;
    Machine machine = {t->vector_bytes, t->vector_registers, t->masked, t->l1, t->l2};
    PassCtx c = {.arena = a, .diag = d, .machine = &machine, .threads = u->threads};
    Program p = {0};
    diag_source(d, name, text, strlen(text));
    if (kind == TEXT_GRAPH)
        p.graph = graph_parse(a, d, name, text, strlen(text), &p.stage);
    else
        p.loops = loops_parse(a, d, name, text, strlen(text), &p.loops_stage);
    if (!(kind == TEXT_GRAPH ? p.graph != NULL : p.loops != NULL) || !run_passes(&c, &p, kind)) {
        diag_print(d, stderr);
        fail("`%s` does not compile", name);
    }
    Compiled *x = arena_make(a, Compiled);
    x->native = native_build(a, p.loops, t, getenv("NNC_KEEP") != NULL);
    if (!x->native) fail("`%s` does not compile", name);
    const struct nn_func *f = &x->native->program->funcs[0];
    x->memory = native_memory_new(x->native, f->name);
    memset(x->memory.scratch, 0, (size_t)(f->arena + f->own));
    x->team = u->team;
    x->threads = kind == TEXT_LOOPS_PLAIN || f->threads <= 0 ? 1 : f->threads < u->threads ? f->threads : u->threads;
    x->call = (struct nn_call){.frame = x->memory.frame,
                               .arena = x->memory.scratch,
                               .fields = x->memory.fields,
                               .batch = batch,
                               .fault = &x->memory.fault,
                               .func = f};
    return x;
}

void compiled_free(Compiled *c) {
    native_memory_free(c->native, &c->memory);
    native_free(c->native);
}

static double seconds_of(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void compiled_call(void *compiled) {
    Compiled *c = compiled;
    bool several = c->threads > 1;
    double start = several ? seconds_of(CLOCK_MONOTONIC) : 0;
    nn_threads_step(c->team, &c->call, several ? nn_pace_threads(&c->pace, c->threads) : 1);
    if (several) nn_pace_note(&c->pace, seconds_of(CLOCK_MONOTONIC) - start);
}

void compiled_call_alone(const Compiled *c) {
    struct nn_call call = c->call;
    call.thread = 0;
    call.threads = 1;
    call.func->step(&call);
}

float *compiled_find(const Compiled *c, const char *name, int64_t *n) {
    const Step *s = c->native->loops->steps.at[0];
    for (size_t i = 0; i < s->buffers.n; i++) {
        const Buffer *b = s->buffers.at[i];
        if (strcmp(b->name, name) != 0) continue;
        if (n) *n = b->bytes / 4;
        return native_memory(c->native, &c->memory, b);
    }
    return NULL;
}

float *compiled_buffer(const Compiled *c, const char *name, int64_t *n) {
    float *p = compiled_find(c, name, n);
    if (!p) fail("a step has no buffer %%%s", name);
    return p;
}

/* ---- time ---- */

/* With one thread the thread's own time: what else runs on the machine counts less. */
static double now(const Setup *u) { return seconds_of(u->threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC); }

/* Is a thread of the process awake, other than the caller? false also where the system does not tell. */
static bool awake(pid_t process) {
    char path[64], line[512];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/task", (int)process);
    DIR *threads = opendir(path);
    for (struct dirent *d; threads && !found && (d = readdir(threads));) {
        int id = atoi(d->d_name);
        if (id <= 0 || id == (int)getpid()) continue;
        snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)process, id);
        FILE *f = fopen(path, "r");
        const char *state = f && fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL; /* "id (name) R ..." */
        found = state && state[1] == ' ' && state[2] == 'R';
        if (f) fclose(f);
    }
    if (threads) closedir(threads);
    return found;
}

/* The threads of those who had their turn go on spinning for some 20 ms, in case there is more to do, on cores that whoever is next wants. */
static void wait_for_rest(const Setup *u) {
    for (int i = 0; u->threads > 1 && i < 1000 && (awake(getpid()) || (u->peer && awake(u->peer))); i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* Seconds until threads that slept run as in the middle of a program. What a virtual machine's processors were together on, the system around it moves apart within some 20 ms: until then
 * two threads are as slow as one. */
static const double WAKING = 0.03;

static void wake(const Setup *u, const Timed *t) {
    double start = now(u);
    while (u->threads > 1 && now(u) - start < WAKING) t->call(t->arg);
}

static double time_once(const Setup *u, const Timed *t) {
    wait_for_rest(u);
    if (t->ask) return t->ask(t->arg);
    wake(u, t);
    double start = now(u);
    for (int i = 0; i < t->repeats; i++) t->call(t->arg);
    return (now(u) - start) / t->repeats;
}

/* Some 10 ms: far above the clock's grain, far below what makes a round long. */
static void calibrate(const Setup *u, Timed *t) {
    t->repeats = 1;
    time_once(u, t);
    double once = time_once(u, t);
    t->repeats = once > 0.01 ? 1 : (int)(0.01 / (once + 1e-9)) + 1;
}

void timed_in_turns(const Setup *u, Timed *t, int n) {
    for (int k = 0; k < n; k++) {
        t[k].seconds = calloc((size_t)u->rounds, sizeof(double));
        if (!t[k].seconds) fail("no memory");
        calibrate(u, &t[k]);
    }
    for (int i = 0; i < u->rounds; i++)
        for (int k = 0; k < n; k++) t[k].seconds[i] = time_once(u, &t[k]);
}

void timed_free(Timed *t, int n) {
    for (int k = 0; k < n; k++) free(t[k].seconds);
}

static int by_size(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static double median_of(const Setup *u, const Timed *x, const Timed *y) {
    int n = u->rounds;
    double *at = calloc((size_t)n, sizeof *at);
    if (!at) fail("no memory");
    for (int i = 0; i < n; i++) at[i] = x->seconds[i] / (y ? y->seconds[i] : 1);
    qsort(at, (size_t)n, sizeof *at, by_size);
    double m = n % 2 ? at[n / 2] : (at[n / 2 - 1] + at[n / 2]) / 2;
    free(at);
    return m;
}

double timed_median(const Setup *u, const Timed *x) { return median_of(u, x, NULL); }
double timed_ratio(const Setup *u, const Timed *x, const Timed *y) { return median_of(u, x, y); }

void print_numbers(const Setup *u, const char *part, const char *name, const char *other, double count, const Timed *t, int n) {
    double speed = count / timed_median(u, &t[0]) * 1e-9, theirs = n > 1 ? count / timed_median(u, &t[1]) * 1e-9 : 0,
           ratio = n > 1 ? timed_ratio(u, &t[1], &t[0]) : 0;
    if (u->json) {
        printf("{\"part\": \"%s\", \"name\": \"%s\", \"gnumbers\": %.3f", part, name, speed);
        if (n > 1) printf(", \"%s_gnumbers\": %.3f, \"%s_ratio\": %.4f", other, theirs, other, ratio);
        puts("}");
    } else if (n > 1) {
        printf("%-16s  %8.2f  %8.2f  %5.2f\n", name, speed, theirs, ratio);
    } else {
        printf("%-16s  %8.2f\n", name, speed);
    }
    fflush(stdout);
}

/* ---- numbers ---- */

void fill_numbers(float *at, int64_t n, double lo, double hi, unsigned seed) {
    for (int64_t i = 0; i < n; i++) at[i] = (float)(lo + (hi - lo) * ((seed = seed * 1664525u + 1013904223u) >> 8) * 0x1p-24);
}

float *numbers_new(int64_t n, int shift) {
    float *p = native_aligned(4 * n + 64 * shift);
    return p + 16 * shift;
}

void numbers_free(float *at, int shift) { free(at - 16 * shift); }

int64_t numbers_beyond_caches(void) {
    int64_t least = 1 << 25, n = 0;
#if defined _SC_LEVEL3_CACHE_SIZE
    n = sysconf(_SC_LEVEL3_CACHE_SIZE); /* times four, and four bytes a number */
#endif
    return (n > least ? n : least) / 4096 * 4096;
}
