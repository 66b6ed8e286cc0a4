/*
 * kernels_conv.c - convolutions of 3 x 3 places, channels last: forward and both gradients, as shares of the register tile.
 *
 * Each is a graph with one conv (and, for the gradients, a grad of it), so it takes the way of every convolution in a program. Some
 * results of each are computed again in double, from the definition:
 *
 *     y[n, i, j, o]  = Σ_{v, u, c} x[n, i + v - border, j + u - border, c] w[v, u, c, o]
 *     dw[v, u, c, o] = Σ_{n, i, j} x[n, i + v - border, j + u - border, c] dy[n, i, j, o]
 *     dx[n, i, j, c] = Σ_{v, u, o} dy[n, i - v + border, j - u + border, o] w[v, u, c, o]
 */
#include "kernels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct Case {
    const char *name;
    int batch, size, in, out, border; /* pictures size x size x in */
    double share;                     /* wanted of the register tile */
} Case;

static const Case cases[] = {
    {"13x13x32-64", 32, 13, 32, 64, 0, 0.85},
    {"16x16x64-128", 16, 16, 64, 128, 1, 0.85},
    {"8x8x256-256", 16, 8, 256, 256, 1, 0.85},
    {"32x32x3-32", 32, 32, 3, 32, 1, 0.5},
};

typedef enum What { FORWARD, GRAD_W, GRAD_X } What;
static const char *const words[] = {[FORWARD] = "y", [GRAD_W] = "dw", [GRAD_X] = "dx"};

static int out_size(const Case *c) { return c->size + 2 * c->border - 2; }

static const char *case_text(Arena *a, const Case *c, What what) {
    const char *x = arena_printf(a, "f32[%d, %d, %d, %d]", c->batch, c->size, c->size, c->in);
    const char *w = arena_printf(a, "f32[3, 3, %d, %d]", c->in, c->out);
    const char *y = arena_printf(a, "f32[%d, %d, %d, %d]", c->batch, out_size(c), out_size(c), c->out);
    const char *result = what == FORWARD ? y : what == GRAD_W ? w : x;
    const char *grad = arena_printf(a,
                                    "  %%1 = mul %%0, %%dy : %s\n"
                                    "  %%2 = sum %%1, axes=[0, 1, 2, 3] : f32\n"
                                    "  %%3 = grad %%2, %s : %s\n"
                                    "  return %%3\n",
                                    y, what == GRAD_W ? "%w" : "%x", result);
    return arena_printf(a,
                        "graph front\n\nparam %%x: %s = 0\nparam %%w: %s = 0\nparam %%dy: %s = 0\nvar %%r: %s of @c\n\n"
                        "command @c() {\n}\n\n"
                        "func @f(%%x: %s, %%w: %s, %%dy: %s) -> (%%r: %s) {\n"
                        "  %%0 = conv \"nxyc,xycd->nxyd\" %%x, %%w, window=\"xy\", stride=[1, 1], low=[%d, %d], high=[%d, %d], "
                        "lhs_dilation=[1, 1], rhs_dilation=[1, 1] : %s\n"
                        "%s}\n",
                        x, w, y, result, x, w, y, result, c->border, c->border, c->border, c->border, y,
                        what == FORWARD ? "  return %0\n" : grad);
}

/* ---- the definition ---- */

typedef struct Arrays {
    const float *x, *w, *dy;
} Arrays;

/* Number [n, i, j, k] of pictures; 0 outside. */
static double at(const float *p, int size, int channels, int n, int i, int j, int k) {
    if (i < 0 || j < 0 || i >= size || j >= size) return 0;
    return p[(((int64_t)n * size + i) * size + j) * channels + k];
}

static double exact(const Case *c, What what, const Arrays *a, int64_t place) {
    int last = what == GRAD_X ? c->in : c->out, k = (int)(place % last), b = c->border, to = out_size(c);
    int64_t rest = place / last;
    double sum = 0;
    if (what == GRAD_W) {
        int in = (int)(rest % c->in), u = (int)(rest / c->in % 3), v = (int)(rest / c->in / 3);
        for (int n = 0; n < c->batch; n++)
            for (int i = 0; i < to; i++)
                for (int j = 0; j < to; j++)
                    sum += at(a->x, c->size, c->in, n, i + v - b, j + u - b, in) * at(a->dy, to, c->out, n, i, j, k);
        return sum;
    }
    int size = what == FORWARD ? to : c->size, j = (int)(rest % size), i = (int)(rest / size % size),
        n = (int)(rest / size / size);
    for (int v = 0; v < 3; v++)
        for (int u = 0; u < 3; u++)
            for (int q = 0; q < (what == FORWARD ? c->in : c->out); q++) {
                if (what == FORWARD)
                    sum += at(a->x, c->size, c->in, n, i + v - b, j + u - b, q) * a->w[((v * 3 + u) * c->in + q) * c->out + k];
                else
                    sum += at(a->dy, to, c->out, n, i - v + b, j - u + b, q) * a->w[((v * 3 + u) * c->in + k) * c->out + q];
            }
    return sum;
}

static void check(const Case *c, What what, const Arrays *a, const float *r, int64_t n) {
    double terms = what == FORWARD ? 9.0 * c->in : what == GRAD_X ? 9.0 * c->out : (double)c->batch * out_size(c) * out_size(c);
    for (int64_t i = 0; i < 64; i++) {
        int64_t place = i * (n - 1) / 63;
        double want = exact(c, what, a, place);
        if (!(fabs(r[place] - want) <= 1e-5 * sqrt(terms)))
            fail("convolution %s %s: WRONG NUMBER %g, not %g", c->name, words[what], (double)r[place], want);
    }
}

/* ---- cases ---- */

static float *filled(const Compiled *f, const char *name, unsigned seed) {
    int64_t n;
    float *p = compiled_find(f, name, &n);
    if (p) fill_numbers(p, n, -1, 1, seed);
    return p;
}

static void bench_case(const Setup *u, const Yardsticks *y, const Case *c, What what) {
    Arena *a = arena_new();
    Compiled *f = compiled_new(u, c->name, case_text(a, c, what), TEXT_GRAPH, 1);
    Arrays in = {filled(f, "x", 1), filled(f, "w", 2), filled(f, "dy", 3)}; /* what a gradient does not use is not there */
    Timed t[] = {{.call = compiled_call, .arg = f}, {.call = call_tiles, .arg = (void *)y}};
    timed_in_turns(u, t, 2);
    int64_t n;
    const float *r = compiled_buffer(f, "r", &n);
    check(c, what, &in, r, n);
    double flop = 2.0 * c->batch * out_size(c) * out_size(c) * c->out * 9 * c->in;
    double speed = flop / timed_median(u, &t[0]) * 1e-9;
    double share = timed_ratio(u, &t[1], &t[0]) * flop / y->tiles_flop;
    if (u->json) {
        printf("{\"part\": \"convolution\", \"name\": \"%s\", \"order\": \"%s\", \"threads\": %d, \"gflops\": %.1f, "
               "\"tile_share\": %.4f, \"wanted_share\": %.2f}\n",
               c->name, words[what], u->threads, speed, share, c->share);
    } else {
        printf("%-16s %-2s %17s  %8.1f  %5.0f%%  %5.0f%%\n", c->name, words[what], "", speed, 100 * share, 100 * c->share);
    }
    fflush(stdout);
    timed_free(t, 2);
    compiled_free(f);
    arena_free(a);
}

void bench_convolutions(const Setup *u, const Yardsticks *y) {
    if (!u->json) printf("\nconvolutions 3 x 3, GFLOP/s\n%-36s   %8s  %6s  %6s\n", "case", "nnc", "tile", "wanted");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (What w = FORWARD; w <= GRAD_X; w++)
            if (wanted(u, cases[i].name) && !(w == GRAD_X && cases[i].in == 3))
                bench_case(u, y, &cases[i], w); /* pixels need no gradient */
}
