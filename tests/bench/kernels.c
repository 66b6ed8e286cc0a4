/*
 * kernels.c - how fast are the kernels that nnc makes, beside what the machine can do and what libraries do? All is measured in turns in
 * one run; medians of rounds.
 *
 *   kernels [--cpu=NAME] [--rounds=N] [--threads=N] [--torch=PYTHON] [--json] [--only=products,nests,convolutions,memory,math,draws] [FILTER]
 *
 * First line: the fma peak, and the share of it that the register tile reaches alone, with its operands in L1: no product can be faster,
 * and none should be much slower. "tile" in the tables is the share of that. Nothing else should run on the machine; with one thread the
 * thread's own time is taken, which forgives the most, and all that is compared runs on one processor: of two that look alike one may have a busier neighbour.
 */
#if defined __linux__ && !defined _GNU_SOURCE
#define _GNU_SOURCE /* sched_setaffinity */
#endif

#include "kernels.h"
#include "runtime/threads.h"

#include <cblas.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void openblas_set_num_threads(int n);

/* Chains of fma, vectors of the machine: a text of loops like any other. */
static const char *peak_text(Arena *a, int lanes, int chains) {
    return arena_printf(a,
                        "loops lowered\nsource \"peak.loops\" 0x1\n\nstep @f {\n  buffer %%x: f32[%d]\n  buffer %%y: f32[%d, "
                        "%d]\n  kernel @k {\n    let a: f32 = %%x[0]\n"
                        "    let b: f32 = %%x[1]\n    acc s: f32[%d, %d] = 1\n    for k in 0..10000 unroll 2, i in 0..%d unroll, "
                        "j in 0..%d vector %d { s[i, j] = fma(s[i, j], a, b) }\n"
                        "    for i in 0..%d unroll, j in 0..%d vector %d { %%y[i, j] = s[i, j] }\n  }\n}\n",
                        lanes, chains, lanes, chains, lanes, chains, lanes, lanes, chains, lanes, lanes);
}

/* The register tile that `tile` makes of a product, alone: rows of a where they lie (their ends 4 numbers apart, or all would fall into
 * the same sets of the cache), a packed panel of b. */
static const char *tile_text(Arena *a, int rows, int columns, int lanes, int k) {
    return arena_printf(a,
                        "loops lowered\nsource \"tile.loops\" 0x1\n\nstep @f {\n  buffer %%x: f32[%d, %d] stride [%d, 1]\n  "
                        "buffer %%w: f32[%d, %d]\n  buffer %%y: f32[%d, %d]\n"
                        "  kernel @k {\n    acc s: f32[%d, %d] = 0\n    for k in 0..%d unroll 4, i in 0..%d unroll, j in 0..%d "
                        "vector %d { s[i, j] = fma(%%x[i, k], %%w[k, j], s[i, j]) }\n"
                        "    for i in 0..%d unroll, j in 0..%d vector %d { %%y[i, j] = s[i, j] }\n  }\n}\n",
                        rows, k, k + 4, k, columns, rows, columns, rows, columns, k, rows, columns, lanes, rows, columns, lanes);
}

static Compiled *yardstick(const Setup *u, const char *name, const char *text) {
    Compiled *c = compiled_new(u, name, text, TEXT_LOOPS_PLAIN, 1);
    int64_t n;
    float *x = compiled_buffer(c, "x", &n);
    fill_numbers(x, n, 0.5, 0.9, 3);
    return c;
}

enum { TILE_CALLS = 128 }; /* of a thread: one is short beside the start of a parallel region */

static void call_tile(void *yardsticks, int64_t thread, int64_t threads) {
    const Yardsticks *y = yardsticks;
    (void)threads;
    for (int k = 0; k < TILE_CALLS; k++) compiled_call_alone(y->tiles[thread]);
}

void call_tiles(void *yardsticks) {
    const Yardsticks *y = yardsticks;
    nn_team_do(y->team, y->threads, call_tile, yardsticks);
}

static Yardsticks measure_yardsticks(const Setup *u, Arena *a) {
    int lanes = u->target->vector_bytes / 4,
        rows = lanes == 16  ? 9
               : lanes == 8 ? 6
                            : 8,
        chains = lanes == 16 ? 24 : 12, columns = (lanes == 16 ? 3 : 2) * lanes;
    int64_t l1 = u->target->l1 > 0 ? u->target->l1 : 32 << 10;
    int k = (int)(l1 / 2 / (columns * 4)); /* the panel fills half of the L1 cache */
    Yardsticks y = {.peak_flop = 2.0 * 10000 * chains * lanes, .tile_flop = 2.0 * rows * columns * k};
    y.tiles_flop = y.tile_flop * TILE_CALLS * u->threads;
    y.peak = yardstick(u, "peak.loops", peak_text(a, lanes, chains));
    y.threads = u->threads;
    y.team = u->team;
    for (int i = 0; i < y.threads; i++) y.tiles[i] = yardstick(u, "tile.loops", tile_text(a, rows, columns, lanes, k));
    Timed t[] = {{.call = compiled_call, .arg = y.peak}, {.call = compiled_call, .arg = y.tiles[0]}};
    timed_in_turns(u, t, 2);
    double peak = y.peak_flop / timed_median(u, &t[0]) * 1e-9, share = timed_ratio(u, &t[0], &t[1]) * y.tile_flop / y.peak_flop;
    y.gflops_tile = y.tile_flop / timed_median(u, &t[1]) * 1e-9;
    if (u->json) {
        printf("{\"part\": \"tile\", \"rows\": %d, \"columns\": %d, \"peak_gflops\": %.1f, \"gflops\": %.1f, \"share\": %.4f, "
               "\"cpu\": \"%s\", \"vector_bytes\": %d}\n",
               rows, columns, peak, y.gflops_tile, share, u->target->shown, u->target->vector_bytes);
    } else {
        printf("fma peak %.1f GFLOP/s a core, register tile %d x %d in L1 %.1f: %.0f%% of it, %s, %d thread%s\n", peak, rows,
               columns, y.gflops_tile, 100 * share, u->target->shown, u->threads, u->threads > 1 ? "s" : "");
    }
    timed_free(t, 2);
    return y;
}

/* One thread: this process and those that it starts stay on one processor. Several, or where a system has no such thing: as the system likes. */
static void stay_on_one_processor(const Setup *u) {
#ifdef __linux__
    cpu_set_t set;
    int cpu = sched_getcpu();
    if (u->threads > 1 || cpu < 0) return;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
#else
    (void)u;
#endif
}

static const char *value_of(const char *arg, const char *name) {
    size_t n = strlen(name);
    return strncmp(arg, name, n) == 0 && arg[n] == '=' ? arg + n + 1 : NULL;
}

static int number_of(const char *name, const char *text, long most) {
    char *end;
    long n = strtol(text, &end, 10);
    if (*end || end == text || n < 1 || n > most) fail("%s takes a number from 1 to %ld, not `%s`", name, most, text);
    return (int)n;
}

typedef struct Job {
    Setup *setup;
    const char *only;
    Arena *arena;
} Job;

static void run_parts(struct nn_team *team, void *arg) {
    Job *job = arg;
    Setup *u = job->setup;
    u->team = team;
    if (team->threads < u->threads) fail("the system gives %d threads, not %d", (int)team->threads, u->threads);
    Yardsticks y = measure_yardsticks(u, job->arena);
    if (strstr(job->only, "products")) bench_products(u, &y);
    if (strstr(job->only, "nests")) bench_nests(u, &y);
    if (strstr(job->only, "convolutions")) bench_convolutions(u, &y);
    if (strstr(job->only, "memory")) bench_memory(u);
    if (strstr(job->only, "math")) bench_math(u);
    if (strstr(job->only, "draws")) bench_draws(u);
    compiled_free(y.peak);
    for (int i = 0; i < y.threads; i++) compiled_free(y.tiles[i]);
}

int main(int argc, char **argv) {
    Setup u = {.rounds = 7, .threads = 1};
    const char *cpu = NULL, *only = "products,nests,convolutions,memory,math,draws";
    for (int i = 1; i < argc; i++) {
        const char *v;
        if ((v = value_of(argv[i], "--cpu")))
            cpu = v;
        else if ((v = value_of(argv[i], "--rounds")))
            u.rounds = number_of("--rounds", v, 1000);
        else if ((v = value_of(argv[i], "--threads")))
            u.threads = number_of("--threads", v, MOST_THREADS);
        else if ((v = value_of(argv[i], "--torch")))
            u.torch = v;
        else if ((v = value_of(argv[i], "--only")))
            only = v;
        else if (strcmp(argv[i], "--json") == 0)
            u.json = true;
        else if (argv[i][0] == '-')
            fail("there is no option %s; the top of kernels.c lists them", argv[i]);
        else
            u.filter = argv[i];
    }
    Arena *a = arena_new();
    Diag *d = diag_new(a);
    u.target = backend_target(a, d, NULL, cpu, false);
    if (!u.target) return diag_print(d, stderr), 2;
    stay_on_one_processor(&u);
    openblas_set_num_threads(u.threads);
    Job job = {&u, only, a};
    nn_team_run(u.threads, run_parts, &job);
    arena_free(a);
    return 0;
}
