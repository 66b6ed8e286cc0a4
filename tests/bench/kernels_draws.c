/*
 * kernels_draws.c - random numbers, one thread: what `uniform`, `normal` and `bernoulli` of the language become, beside what fills a tensor of PyTorch. Numbers differ (each draw of
 * ours is a function of its place, theirs come from a stream), so only gross faults are looked for: means.
 */
#include "kernels.h"

#include <math.h>
#include <stdio.h>

enum { N = 1 << 16 };

typedef struct Draw {
    const char *name, *expr;
    double mean, deviation;
} Draw;

#define UNIFORM(site) "uniform(" #site ", key, i64(i))"
static const Draw draws[] = {
    {"uniform", UNIFORM(7), 0.5, 0.289},
    {"normal", "mul(sqrt(mul(-2, log(sub(1, " UNIFORM(7) ")))), cos(mul(6.2831855, " UNIFORM(8) ")))", 0, 1},
    {"bernoulli", "f32 convert(lt(" UNIFORM(7) ", f32 0.3))", 0.3, 0.458},
};

static const char *draw_text(Arena *a, const Draw *d) {
    return arena_printf(a,
                        "loops lowered\nsource \"%s.loops\" 0x1\n\nstep @f {\n  buffer %%k: i64[1]\n  buffer %%y: f32[%d]\n"
                        "  kernel @k {\n    let key: i64 = %%k[0]\n    for i in 0..%d { %%y[i] = %s }\n  }\n}\n",
                        d->name, N, N, d->expr);
}

static void check(const Draw *d, const float *y) {
    double sum = 0;
    for (int i = 0; i < N; i++) sum += y[i];
    if (!(fabs(sum / N - d->mean) < 6 * d->deviation / sqrt(N))) fail("%s: WRONG NUMBERS, mean %g", d->name, sum / N);
}

static void bench_draw(const Setup *u, const Draw *d, const Torch *torch) {
    Arena *a = arena_new();
    Compiled *c = compiled_new(u, d->name, draw_text(a, d), TEXT_LOOPS, 1);
    Question q = {torch, arena_printf(a, "%s %d", d->name, N)};
    Timed t[] = {{.call = compiled_call, .arg = c}, {.ask = torch_ask, .arg = &q}};
    int n = u->torch ? 2 : 1;
    timed_in_turns(u, t, n);
    check(d, compiled_buffer(c, "y", NULL));
    print_numbers(u, "draws", d->name, "torch", N, t, n);
    timed_free(t, n);
    compiled_free(c);
    arena_free(a);
}

void bench_draws(const Setup *setup) {
    Setup one = *setup;
    one.threads = 1;
    Torch torch = torch_start(&one);
    one.peer = torch.pid;
    if (!one.json) {
        printf("\nrandom numbers, 10^9 a second, one thread; ratio above 1: ours is faster\n%-16s  %8s", "case", "nnc");
        puts(one.torch ? "   PyTorch  ratio" : "");
    }
    for (size_t i = 0; i < sizeof draws / sizeof *draws; i++)
        if (wanted(&one, draws[i].name)) bench_draw(&one, &draws[i], &torch);
    torch_end(&torch);
}
