/*
 * kernels.h - what the parts of the kernel benchmark share: texts compiled as nnc compiles them, calls timed in turns, lines of a table.
 *
 *   kernels.c           the command line, the fma peak and the register tile that all else is compared with
 *   kernels_run.c       this header: compiling, running, timing
 *   kernels_products.c  products in three orders, beside OpenBLAS and PyTorch; the hand-written nests
 *   kernels_conv.c      convolutions: forward and both gradients
 *   kernels_memory.c    updates, reductions, products with one row: beside what memory gives
 *   kernels_math.c      exp, log, tanh, ...: beside glibc's vector functions
 */
#ifndef NNC_BENCH_KERNELS_H
#define NNC_BENCH_KERNELS_H

#include "backend/backend.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum { MOST_THREADS = 64 };

typedef struct Setup {
    const BackendTarget *target;
    int rounds, threads;
    struct nn_team *team; /* of so many threads */
    bool json;            /* one JSON object a line in place of the table */
    const char *filter;   /* only cases whose name holds this; NULL: all */
    const char *torch;    /* a Python that has PyTorch; NULL: without */
    pid_t peer;           /* its process while it runs, else 0 */
} Setup;

/* ---- a step, compiled and loaded ---- */

typedef struct Compiled Compiled;

typedef enum TextKind {
    TEXT_LOOPS,       /* through tile, vectorize, parallelize and barriers, as every step */
    TEXT_LOOPS_PLAIN, /* as it stands */
    TEXT_GRAPH,       /* expanded stage: through fuse, lower and all that follows */
} TextKind;

/* Compiles the first step of a text and loads it. batch: B of the step. Ends the benchmark with a message where the text is wrong. */
Compiled *compiled_new(const Setup *u, const char *name, const char *text, TextKind kind, int64_t batch);
void compiled_free(Compiled *c);
/* Runs the step once as a program does: on as many threads as the setup allows and the step was planned for, or on one where that turns out to be faster. */
void compiled_call(void *compiled);
/* Runs it on the calling thread, which may be any of a team. */
void compiled_call_alone(const Compiled *c);
/* The memory of a buffer (loops) or a slot (graph); *n: its numbers. Ends the benchmark if there is none of this name. */
float *compiled_buffer(const Compiled *c, const char *name, int64_t *n);
/* The same, but NULL if there is none. */
float *compiled_find(const Compiled *c, const char *name, int64_t *n);

/* ---- time ---- */

/* Something to time: called so often that a measurement takes some milliseconds. */
typedef struct Timed {
    void (*call)(void *arg);
    void *arg;
    double (*ask)(void *arg); /* in place of call: measures itself and gives the seconds of one call (another process) */
    int repeats;
    double *seconds; /* of one call, a number a round */
} Timed;

/* Runs the n things in turns, as many rounds as the setup says, and fills their `seconds`. With several threads each waits until those of the one before
 * sleep. */
void timed_in_turns(const Setup *u, Timed *t, int n);
void timed_free(Timed *t, int n);
/* Median over the rounds of x; of x / y, round by round. */
double timed_median(const Setup *u, const Timed *x);
double timed_ratio(const Setup *u, const Timed *x, const Timed *y);
/* A line of a table, or of JSON: 10^9 numbers a second of a call that makes `count`, ours at t[0] and, if n is 2, beside it those of `other` at t[1]. */
void print_numbers(const Setup *u, const char *part, const char *name, const char *other, double count, const Timed *t, int n);

/* ---- PyTorch ---- */

typedef struct Torch {
    FILE *to, *from; /* NULL: none */
    pid_t pid;
} Torch;

/* Starts it if the setup names one, and ends the benchmark if that has no PyTorch. */
Torch torch_start(const Setup *u);
void torch_end(Torch *t);
/* A line that kernels_torch.py understands. */
typedef struct Question {
    const Torch *torch;
    const char *line;
} Question;

/* Timed.ask: the seconds of what the line asks for. arg: const Question. */
double torch_ask(void *question);

/* ---- numbers ---- */

/* n numbers of [lo, hi), the same for the same seed. */
void fill_numbers(float *at, int64_t n, double lo, double hi, unsigned seed);
/* n numbers on huge pages, `shift` cache lines behind the start of a page: blocks that all begin at a page fall into the same sets of a
 * cache. Ends the benchmark if there is no memory. Freed with numbers_free. */
float *numbers_new(int64_t n, int shift);
void numbers_free(float *at, int shift);
/* Numbers that do not fit into the last-level cache four times over. */
int64_t numbers_beyond_caches(void);
bool wanted(const Setup *u, const char *name);
/* Ends the benchmark with a message. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- the parts ---- */

typedef struct Yardsticks {
    Compiled *peak, *tiles[MOST_THREADS]; /* tiles: one a thread, with memory of its own */
    int threads;
    struct nn_team *team;
    double peak_flop, tile_flop; /* operations of a call of one thread */
    double tiles_flop;           /* of call_tiles */
    double gflops_tile;          /* of one thread, median */
} Yardsticks;

/* The register tile, by every thread at once: what the machine gives two of its cores together may be less than twice what it gives one. arg: const Yardsticks. */
void call_tiles(void *yardsticks);

void bench_products(const Setup *u, const Yardsticks *y);
void bench_nests(const Setup *u, const Yardsticks *y);
void bench_convolutions(const Setup *u, const Yardsticks *y);
void bench_memory(const Setup *u);
void bench_math(const Setup *u);
void bench_draws(const Setup *u);

#endif
