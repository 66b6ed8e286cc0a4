/*
 * kernels_products.c - products in all orders of operands that a backward pass has, beside OpenBLAS and PyTorch (MKL); and nests written by
 * hand.
 *
 * Each product is the plain nest that `lower` makes of a contract. Its numbers are compared with OpenBLAS's. The nests (nests/?.loops) have
 * names, shapes and structures that nnc does not make; every bit of theirs must be that of the same nest compiled as it stands, one number
 * after the other.
 */
#include "kernels.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Case {
    const char *name, *order; /* order: "nn" x @ w, "nt" dy @ w', "tn" x' @ dy */
    int m, n, k;              /* result m x n, chains of k */
    bool batch;               /* m (for tn: k) is the batch */
} Case;

static const Case cases[] = {
    {"512", "nn", 512, 512, 512, false},     {"512", "nt", 512, 512, 512, false},     {"512", "tn", 512, 512, 512, false},
    {"1024", "nn", 1024, 1024, 1024, false}, {"1024", "nt", 1024, 1024, 1024, false}, {"1024", "tn", 1024, 1024, 1024, false},
    {"mlp1 y", "nn", 128, 512, 784, true},   {"mlp1 dw", "tn", 784, 512, 128, true},  {"mlp2 y", "nn", 128, 512, 512, true},
    {"mlp2 dx", "nt", 128, 512, 512, true},  {"mlp2 dw", "tn", 512, 512, 128, true},  {"mlp3 y", "nn", 128, 10, 512, true},
    {"mlp3 dx", "nt", 128, 512, 10, true},   {"mlp3 dw", "tn", 512, 10, 128, true},   {"odd", "nn", 123, 457, 311, false},
    {"odd", "nt", 123, 457, 311, false},     {"odd", "tn", 123, 457, 311, false},     {"mnist y", "nn", 10, 300, 784, true},
    {"mnist dw", "tn", 784, 300, 10, true},  {"long y", "nn", 2048, 512, 128, true},  {"long dx", "nt", 2048, 128, 512, true},
    {"long dw", "tn", 512, 128, 2048, true}, {"tiny1 y", "nn", 32, 32, 64, true},     {"tiny1 dw", "tn", 64, 32, 32, true},
    {"tiny2 y", "nn", 32, 10, 32, true},     {"tiny2 dx", "nt", 32, 32, 10, true},    {"tiny2 dw", "tn", 32, 10, 32, true},
};

/* The share of the register tile that performance.md wants: 0 where a size is below 32, and only the libraries are the measure. */
static double wanted_share(const Case *c) {
    if (c->m < 32 || c->n < 32 || c->k < 32) return 0;
    return c->m % 2 || c->n % 2 ? 0.8 : 0.9;
}

static const char *case_text(Arena *a, const Case *c) {
    bool t1 = c->order[0] == 't', t2 = c->order[1] == 't';
    const char *m = c->batch && !t1 ? "B" : arena_printf(a, "%d", c->m), *k = c->batch && t1 ? "B" : arena_printf(a, "%d", c->k);
    return arena_printf(a,
                        "loops lowered\nsource \"product.loops\" 0x1\n\nstep @f%s {\n  buffer %%x: f32[%s, %s]\n  buffer %%w: "
                        "f32[%s, %s]\n  buffer %%y: f32[%s, %d]\n"
                        "  kernel @k {\n    for i in 0..%s, j in 0..%d {\n      acc s: f32 = 0\n      for k in 0..%s { s = "
                        "fma(%%x[%s], %%w[%s], s) }\n"
                        "      %%y[i, j] = s\n    }\n  }\n}\n",
                        c->batch ? arena_printf(a, " batch B<=%d", t1 ? c->k : c->m) : "", t1 ? k : m, t1 ? m : k,
                        t2 ? arena_printf(a, "%d", c->n) : k, t2 ? k : arena_printf(a, "%d", c->n), m, c->n, m, c->n, k,
                        t1 ? "k, i" : "i, k", t2 ? "j, k" : "k, j");
}

/* ---- OpenBLAS ---- */

typedef struct Blas {
    const Case *c;
    const float *x, *w;
    float *y;
} Blas;

static void call_blas(void *arg) {
    const Blas *b = arg;
    const Case *c = b->c;
    bool t1 = c->order[0] == 't', t2 = c->order[1] == 't';
    cblas_sgemm(CblasRowMajor, t1 ? CblasTrans : CblasNoTrans, t2 ? CblasTrans : CblasNoTrans, c->m, c->n, c->k, 1, b->x,
                t1 ? c->m : c->k, b->w, t2 ? c->k : c->n, 0, b->y, c->n);
}

/* Largest difference, in units of the size of the terms. */
static double difference(const Case *c, const float *x, const float *y) {
    double most = 0;
    for (int64_t i = 0; i < (int64_t)c->m * c->n; i++) {
        double d = fabs((double)x[i] - y[i]);
        if (!(d <= most)) most = d; /* NaN counts */
    }
    return most / sqrt(c->k);
}

/* ---- products ---- */

enum { OURS, TILE, BLAS, TORCH, N_TIMED };

static void print_case(const Setup *u, const Yardsticks *y, const Case *c, const Timed *t, double off) {
    double flop = 2.0 * c->m * c->n * c->k, mine = flop / timed_median(u, &t[OURS]) * 1e-9,
           blas = flop / timed_median(u, &t[BLAS]) * 1e-9;
    double share = timed_ratio(u, &t[TILE], &t[OURS]) * flop / y->tiles_flop, ratio = timed_ratio(u, &t[BLAS], &t[OURS]);
    double torch = u->torch ? flop / timed_median(u, &t[TORCH]) * 1e-9 : 0,
           torch_ratio = u->torch ? timed_ratio(u, &t[TORCH], &t[OURS]) : 0;
    if (u->json) {
        printf("{\"part\": \"product\", \"name\": \"%s\", \"order\": \"%s\", \"m\": %d, \"n\": %d, \"k\": %d, \"threads\": %d, "
               "\"gflops\": %.1f, \"tile_share\": %.4f, "
               "\"wanted_share\": %.2f, \"blas_gflops\": %.1f, \"blas_ratio\": %.4f",
               c->name, c->order, c->m, c->n, c->k, u->threads, mine, share, wanted_share(c), blas, ratio);
        if (u->torch) printf(", \"torch_gflops\": %.1f, \"torch_ratio\": %.4f", torch, torch_ratio);
        printf(", \"off\": %g}\n", off);
    } else {
        printf("%-9s %s  %4d x %4d x %4d  %8.1f  %5.0f%%  ", c->name, c->order, c->m, c->n, c->k, mine, 100 * share);
        if (wanted_share(c) > 0)
            printf("%5.0f%%", 100 * wanted_share(c));
        else
            printf("%6s", "");
        printf("  %8.1f  %5.2f", blas, ratio);
        if (u->torch) printf("  %8.1f  %5.2f", torch, torch_ratio);
        puts("");
    }
    fflush(stdout);
    if (!(off < 1e-4)) fail("%s %s: WRONG NUMBERS, off by %g", c->name, c->order, off);
}

static void bench_case(const Setup *u, const Yardsticks *y, const Case *c, Torch *torch) {
    Arena *a = arena_new();
    Compiled *mine =
        compiled_new(u, "product.loops", case_text(a, c), TEXT_LOOPS, c->batch ? (c->order[0] == 't' ? c->k : c->m) : 1);
    float *x = compiled_buffer(mine, "x", NULL), *w = compiled_buffer(mine, "w", NULL);
    fill_numbers(x, (int64_t)c->m * c->k, -1, 1, 1);
    fill_numbers(w, (int64_t)c->n * c->k, -1, 1, 2);
    Blas blas = {c, x, w, numbers_new((int64_t)c->m * c->n, 3)};
    Question question = {torch, arena_printf(a, "%s %d %d %d", c->order, c->m, c->n, c->k)};
    Timed t[N_TIMED] = {
        [OURS] = {.call = compiled_call, .arg = mine},
        [TILE] = {.call = call_tiles, .arg = (void *)y},
        [BLAS] = {.call = call_blas, .arg = &blas},
        [TORCH] = {.ask = torch_ask, .arg = &question},
    };
    int n = u->torch ? N_TIMED : TORCH;
    timed_in_turns(u, t, n);
    print_case(u, y, c, t, difference(c, compiled_buffer(mine, "y", NULL), blas.y));
    timed_free(t, n);
    numbers_free(blas.y, 3);
    compiled_free(mine);
    arena_free(a);
}

void bench_products(const Setup *setup, const Yardsticks *y) {
    Setup with = *setup;
    const Setup *u = &with;
    Torch torch = torch_start(setup);
    with.peer = torch.pid;
    if (!u->json) {
        printf(
            "\nproducts, GFLOP/s. tile: share of the register tile alone, and what is wanted; ratio above 1: ours is faster\n");
        printf("%-9s order %18s  %8s  %6s  %6s  %8s  %5s", "case", "m x n x k", "nnc", "tile", "wanted", "OpenBLAS", "ratio");
        puts(u->torch ? "   PyTorch  ratio" : "");
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (wanted(u, cases[i].name)) bench_case(u, y, &cases[i], &torch);
    torch_end(&torch);
}

/* ---- nests ---- */

typedef struct Nest {
    const char *name, *in[3], *out;
    double flop;
} Nest;

static const Nest nests[] = {
    {"batched", {"query", "key"}, "weight", 2.0 * 12 * 160 * 224 * 96},
    {"transposed", {"left", "right", "shift"}, "answer", 2.0 * 308 * 416 * 260},
    {"convolution", {"picture", "filter"}, "map", 2.0 * 8 * 28 * 28 * 64 * 9 * 48},
};

static const char *file_text(Arena *a, const char *file) {
    FILE *f = fopen(file, "r");
    char *text = arena_alloc(a, 1 << 16);
    size_t n = f ? fread(text, 1, (1 << 16) - 1, f) : 0;
    if (!f || n == 0) fail("%s cannot be read", file);
    fclose(f);
    text[n] = 0;
    return text;
}

static void fill_inputs(const Compiled *c, const Nest *t) {
    for (unsigned i = 0; i < 3 && t->in[i]; i++) {
        int64_t n;
        float *at = compiled_buffer(c, t->in[i], &n);
        fill_numbers(at, n, -1, 1, i + 1);
    }
}

static void bench_nest(const Setup *u, const Yardsticks *y, const Nest *nest) {
    Arena *a = arena_new();
    const char *file = arena_printf(a, NNC_SOURCE_ROOT "/tests/bench/nests/%s.loops", nest->name), *text = file_text(a, file);
    Compiled *mine = compiled_new(u, file, text, TEXT_LOOPS, 1), *plain = compiled_new(u, file, text, TEXT_LOOPS_PLAIN, 1);
    fill_inputs(mine, nest);
    fill_inputs(plain, nest);
    Timed t[] = {{.call = compiled_call, .arg = mine}, {.call = call_tiles, .arg = (void *)y}};
    timed_in_turns(u, t, 2);
    compiled_call(plain);
    int64_t n;
    const float *x = compiled_buffer(mine, nest->out, &n), *z = compiled_buffer(plain, nest->out, NULL);
    if (memcmp(x, z, (size_t)n * sizeof *x) != 0) fail("%s: the tiled nest has OTHER BITS than the plain one", nest->name);
    double speed = nest->flop / timed_median(u, &t[0]) * 1e-9, share = timed_ratio(u, &t[1], &t[0]) * nest->flop / y->tiles_flop;
    if (u->json)
        printf("{\"part\": \"nest\", \"name\": \"%s\", \"threads\": %d, \"gflops\": %.1f, \"tile_share\": %.4f, "
               "\"wanted_share\": 0.85}\n",
               nest->name, u->threads, speed, share);
    else
        printf("%-36s  %8.1f  %5.0f%%  %5.0f%%  the same bits\n", nest->name, speed, 100 * share, 85.0);
    fflush(stdout);
    timed_free(t, 2);
    compiled_free(mine);
    compiled_free(plain);
    arena_free(a);
}

void bench_nests(const Setup *u, const Yardsticks *y) {
    if (!u->json) printf("\nnests written by hand, GFLOP/s\n%-36s  %8s  %6s  %6s\n", "case", "nnc", "tile", "wanted");
    for (size_t i = 0; i < sizeof nests / sizeof *nests; i++)
        if (wanted(u, nests[i].name)) bench_nest(u, y, &nests[i]);
}
