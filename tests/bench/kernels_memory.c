/*
 * kernels_memory.c - what should move at memory speed: updates of parameters, fused elementwise groups, reductions, products with one row.
 * Arrays do not fit into the last-level cache four times over.
 *
 * Each case is a graph that goes through fuse, lower and all that follows, as in a step. Beside it, in turns: the triad a = b + 3 c and,
 * for what only reads, a sum, both written in C. GB/s are bytes that the case names. What the memory moves can be more: a store to a line
 * that was not read first reads it (write-allocate), so the triad names 12 bytes a number and moves 16. Both shares are printed; where a
 * case writes what it has read, as updates do, the first is the larger one.
 */
#include "kernels.h"
#include "runtime/threads.h"

#include <stdio.h>
#include <string.h>

enum { COLUMNS = 1024 };

typedef enum Beside { BESIDE_TRIAD, BESIDE_READ } Beside;

/* $N: all numbers, $R x $C: the same (but for a part of a row) as a matrix; $M: few rows. */
typedef struct Case {
    const char *name;
    double named, moved; /* bytes a number */
    Beside beside;
    const char *slots, *head, *body;
} Case;

#define VECTORS3 "param %w: f32[$N] = 1\nparam %v: f32[$N] = 0\nparam %g: f32[$N] = 1\n"
#define MATRIX   "param %x: f32[$R, $C] = 1\n"

/* clang-format off */
static const Case cases[] = {
    {"sgd", 12, 12, BESIDE_TRIAD,
     "param %w: f32[$N] = 1\n"
     "param %g: f32[$N] = 1\n",
     "(%w: f32[$N], %g: f32[$N]) -> (%w: f32[$N])",
     "  %lr = constant 0.001 : f32[$N]\n"
     "  %0 = mul %lr, %g : f32[$N]\n"
     "  %1 = sub %w, %0 : f32[$N]\n"
     "  return %1\n"},
    {"momentum", 20, 20, BESIDE_TRIAD, VECTORS3,
     "(%w: f32[$N], %v: f32[$N], %g: f32[$N]) -> (%w: f32[$N], %v: f32[$N])",
     "  %mu = constant 0.9 : f32[$N]\n"
     "  %lr = constant 0.001 : f32[$N]\n"
     "  %0 = mul %mu, %v : f32[$N]\n"
     "  %1 = add %0, %g : f32[$N]\n"
     "  %2 = mul %lr, %1 : f32[$N]\n"
     "  %3 = sub %w, %2 : f32[$N]\n"
     "  return %3, %1\n"},
    {"adam", 28, 28, BESIDE_TRIAD, VECTORS3 "param %m: f32[$N] = 0\n",
     "(%w: f32[$N], %m: f32[$N], %v: f32[$N], %g: f32[$N]) -> (%w: f32[$N], %m: f32[$N], %v: f32[$N])",
     "  %b1 = constant 0.9 : f32[$N]\n"
     "  %c1 = constant 0.1 : f32[$N]\n"
     "  %b2 = constant 0.999 : f32[$N]\n"
     "  %c2 = constant 0.001 : f32[$N]\n"
     "  %eps = constant 1e-8 : f32[$N]\n"
     "  %0 = mul %b1, %m : f32[$N]\n"
     "  %1 = mul %c1, %g : f32[$N]\n"
     "  %m1 = add %0, %1 : f32[$N]\n"
     "  %2 = mul %g, %g : f32[$N]\n"
     "  %3 = mul %b2, %v : f32[$N]\n"
     "  %4 = mul %c2, %2 : f32[$N]\n"
     "  %v1 = add %3, %4 : f32[$N]\n"
     "  %5 = sqrt %v1 : f32[$N]\n"
     "  %6 = add %5, %eps : f32[$N]\n"
     "  %7 = div %m1, %6 : f32[$N]\n"
     "  %8 = mul %c2, %7 : f32[$N]\n"
     "  %w1 = sub %w, %8 : f32[$N]\n"
     "  return %w1, %m1, %v1\n"},
    {"scale, relu", 8, 12, BESIDE_TRIAD,
     "param %x: f32[$N] = 1\n"
     "var %y: f32[$N] of @c\n",
     "(%x: f32[$N]) -> (%y: f32[$N])",
     "  %s = constant 1.5 : f32[$N]\n"
     "  %z = constant 0 : f32[$N]\n"
     "  %0 = mul %s, %x : f32[$N]\n"
     "  %1 = max %0, %z : f32[$N]\n"
     "  return %1\n"},
    {"sum of all", 4, 4, BESIDE_READ,
     "param %x: f32[$N] = 1\n"
     "var %y: f32 of @c\n",
     "(%x: f32[$N]) -> (%y: f32)",
     "  %0 = sum %x, axes=[0] : f32\n"
     "  return %0\n"},
    {"sum of rows", 4, 4, BESIDE_READ, MATRIX "var %y: f32[$R] of @c\n",
     "(%x: f32[$R, $C]) -> (%y: f32[$R])",
     "  %0 = sum %x, axes=[1] : f32[$R]\n"
     "  return %0\n"},
    {"sum of columns", 4, 4, BESIDE_READ, MATRIX "var %y: f32[$C] of @c\n",
     "(%x: f32[$R, $C]) -> (%y: f32[$C])",
     "  %0 = sum %x, axes=[0] : f32[$C]\n"
     "  return %0\n"},
    {"max of rows", 4, 4, BESIDE_READ, MATRIX "var %y: f32[$R] of @c\n",
     "(%x: f32[$R, $C]) -> (%y: f32[$R])",
     "  %0 = reduce_max %x, axes=[1] : f32[$R]\n"
     "  return %0\n"},
    {"softmax", 8, 12, BESIDE_TRIAD, MATRIX "var %y: f32[$R, $C] of @c\n",
     "(%x: f32[$R, $C]) -> (%y: f32[$R, $C])",
     "  %0 = reduce_max %x, axes=[1] : f32[$R]\n"
     "  %1 = broadcast %0, axes=[0] : f32[$R, $C]\n"
     "  %2 = sub %x, %1 : f32[$R, $C]\n"
     "  %3 = exp %2 : f32[$R, $C]\n"
     "  %4 = sum %3, axes=[1] : f32[$R]\n"
     "  %5 = broadcast %4, axes=[0] : f32[$R, $C]\n"
     "  %6 = div %3, %5 : f32[$R, $C]\n"
     "  return %6\n"},
    {"row' x row, sgd", 8, 8, BESIDE_TRIAD, MATRIX "param %u: f32[1, $R] = 1\nparam %v: f32[1, $C] = 1\n",
     "(%x: f32[$R, $C], %u: f32[1, $R], %v: f32[1, $C]) -> (%x: f32[$R, $C])",
     "  %0 = contract \"bi,bo->io\" %u, %v : f32[$R, $C]\n"
     "  %lr = constant 0.001 : f32[$R, $C]\n"
     "  %1 = mul %lr, %0 : f32[$R, $C]\n"
     "  %2 = sub %x, %1 : f32[$R, $C]\n"
     "  return %2\n"},
};

/* What a layer computes for a batch of one, and what goes back through it. */
static const Case products[] = {
    {"x matrix", 4, 4, BESIDE_READ, MATRIX "param %u: f32[$M, $R] = 1\nvar %y: f32[$M, $C] of @c\n",
     "(%x: f32[$R, $C], %u: f32[$M, $R]) -> (%y: f32[$M, $C])",
     "  %0 = contract \"bi,io->bo\" %u, %x : f32[$M, $C]\n"
     "  return %0\n"},
    {"x matrix'", 4, 4, BESIDE_READ, MATRIX "param %u: f32[$M, $C] = 1\nvar %y: f32[$M, $R] of @c\n",
     "(%x: f32[$R, $C], %u: f32[$M, $C]) -> (%y: f32[$M, $R])",
     "  %0 = contract \"bo,io->bi\" %u, %x : f32[$M, $R]\n"
     "  return %0\n"},
};
/* clang-format on */

typedef struct Shape {
    int rows, columns;
} Shape;
static const Shape shapes[] = {{1, 1024}, {1, 6000}, {1, 32768}, {4, 4096}};

static void add_sized(Arena *a, Text *t, const char *s, int64_t n, Shape shape) {
    for (; *s; s++) {
        if (*s != '$')
            text_add(a, t, arena_printf(a, "%c", *s));
        else
            s++, text_add(a, t,
                          arena_printf(a, "%lld",
                                       (long long)(*s == 'N'   ? n
                                                   : *s == 'R' ? n / shape.columns
                                                   : *s == 'C' ? shape.columns
                                                               : shape.rows)));
    }
}

static const char *case_text(Arena *a, const Case *c, int64_t n, Shape shape) {
    Text t = {0};
    text_add(a, &t, "graph expanded\n\n");
    add_sized(a, &t, c->slots, n, shape);
    text_add(a, &t, "\ncommand @c() {\n}\n\nfunc @f");
    add_sized(a, &t, c->head, n, shape);
    text_add(a, &t, " {\n");
    add_sized(a, &t, c->body, n, shape);
    text_add(a, &t, "}\n");
    return text_str(a, &t);
}

/* ---- what memory gives ---- */

typedef float quad __attribute__((vector_size(16))); /* every machine has these, and memory is slower than they are */

typedef struct Memory {
    float *a, *b, *c;
    int64_t n;
    int64_t threads;
    struct nn_team *team;
    volatile float sum[MOST_THREADS]; /* of each thread: that somebody wants it */
} Memory;

/* Lines of memory [*from, *to) are those of this thread. */
static void part_of(const Memory *m, int64_t thread, int64_t threads, int64_t *from, int64_t *to) {
    *from = m->n / 16 * thread / threads;
    *to = m->n / 16 * (thread + 1) / threads;
}

static void triad_part(void *arg, int64_t thread, int64_t threads) {
    const Memory *m = arg;
    quad *a = (quad *)m->a;
    const quad *b = (const quad *)m->b, *c = (const quad *)m->c;
    int64_t from, to;
    part_of(m, thread, threads, &from, &to);
    for (int64_t i = from; i < to; i++) { /* a line a turn */
        a[4 * i] = b[4 * i] + 3 * c[4 * i];
        a[4 * i + 1] = b[4 * i + 1] + 3 * c[4 * i + 1];
        a[4 * i + 2] = b[4 * i + 2] + 3 * c[4 * i + 2];
        a[4 * i + 3] = b[4 * i + 3] + 3 * c[4 * i + 3];
    }
}

static void read_part(void *arg, int64_t thread, int64_t threads) {
    Memory *m = arg;
    const quad *b = (const quad *)m->b;
    quad s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    int64_t from, to;
    part_of(m, thread, threads, &from, &to);
    for (int64_t i = from; i < to; i++) {
        s0 += b[4 * i];
        s1 += b[4 * i + 1];
        s2 += b[4 * i + 2];
        s3 += b[4 * i + 3];
    }
    s0 += s1 + s2 + s3;
    m->sum[thread] = s0[0] + s0[1] + s0[2] + s0[3];
}

/* By the threads of the team, as steps run: a parallel region of OpenMP inside of one that is open already (nn_team_run's) would have one thread. */
static void triad(void *arg) {
    const Memory *m = arg;
    nn_team_do(m->team, m->threads, triad_part, arg);
}

static void read_all(void *arg) {
    const Memory *m = arg;
    nn_team_do(m->team, m->threads, read_part, arg);
}

/* ---- cases ---- */

static const char *first_name(Arena *a, const char *from) {
    const char *at = strchr(from, '%') + 1;
    return arena_strndup(a, at, strcspn(at, ":"));
}

/* Every parameter gets numbers of its own: memory that was never written lies in one page of zeros. */
static void fill_slots(Arena *a, const Case *c, const Compiled *x) {
    for (const char *at = c->slots; (at = strstr(at, "param ")) != NULL; at++) {
        int64_t n;
        float *numbers = compiled_buffer(x, first_name(a, at), &n);
        fill_numbers(numbers, n, 0.25, 1, 5);
    }
}

static void bench_case(const Setup *u, const char *name, const Case *c, Shape shape, Memory *m) {
    Arena *a = arena_new();
    Compiled *x = compiled_new(u, name, case_text(a, c, m->n, shape), TEXT_GRAPH, 1);
    fill_slots(a, c, x);
    Timed t[] = {{.call = compiled_call, .arg = x}, {.call = c->beside == BESIDE_TRIAD ? triad : read_all, .arg = m}};
    timed_in_turns(u, t, 2);
    double beside_named = c->beside == BESIDE_TRIAD ? 12 : 4, beside_moved = c->beside == BESIDE_TRIAD ? 16 : 4, n = (double)m->n;
    double ratio = timed_ratio(u, &t[1], &t[0]), named = c->named * n / timed_median(u, &t[0]) * 1e-9,
           yard = beside_named * n / timed_median(u, &t[1]) * 1e-9;
    const char *beside = c->beside == BESIDE_TRIAD ? "triad" : "read";
    if (u->json)
        printf("{\"part\": \"memory\", \"name\": \"%s\", \"threads\": %d, \"gbs\": %.2f, \"beside\": \"%s\", \"beside_gbs\": "
               "%.2f, \"share\": %.4f, \"share_moved\": %.4f}\n",
               name, u->threads, named, beside, yard, ratio * c->named / beside_named, ratio * c->moved / beside_moved);
    else
        printf("%-21s  %8.2f  %-5s %8.2f  %5.0f%%  %5.0f%%\n", name, named, beside, yard, 100 * ratio * c->named / beside_named,
               100 * ratio * c->moved / beside_moved);
    fflush(stdout);
    timed_free(t, 2);
    compiled_free(x);
    arena_free(a);
}

void bench_memory(const Setup *u) {
    int64_t n = numbers_beyond_caches() / COLUMNS * COLUMNS;
    Memory m = {numbers_new(n, 0), numbers_new(n, 21), numbers_new(n, 42), n, u->threads, u->team, {0}};
    fill_numbers(m.a, n, 0, 1, 1);
    fill_numbers(m.b, n, 0, 1, 2);
    fill_numbers(m.c, n, 0, 1, 3);
    if (!u->json)
        printf("\nmemory, GB/s of bytes that are named; %lld MB an array\n%-21s  %8s  %-5s %8s  %6s  %6s\n", (long long)(n >> 18),
               "case", "nnc", "beside", "GB/s", "named", "moved");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (wanted(u, cases[i].name)) bench_case(u, cases[i].name, &cases[i], (Shape){1, COLUMNS}, &m);
    for (size_t i = 0; i < sizeof products / sizeof *products * (sizeof shapes / sizeof *shapes); i++) {
        const Case *c = &products[i / (sizeof shapes / sizeof *shapes)];
        Shape shape = shapes[i % (sizeof shapes / sizeof *shapes)];
        char name[64];
        snprintf(name, sizeof name, "%d row%s %s, %d", shape.rows, shape.rows > 1 ? "s" : "", c->name, shape.columns);
        if (wanted(u, name)) bench_case(u, name, c, shape, &m);
    }
    numbers_free(m.a, 0);
    numbers_free(m.b, 21);
    numbers_free(m.c, 42);
}
