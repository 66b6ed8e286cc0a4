/*
 * machine.c - what this machine can do: the fma peak, the triad a = b + s c over memory (McCalpin's STREAM), and the same update of parameters that
 * update.nn makes, written in C. The benchmark runs it beside the steps that it measures; one line of JSON comes out.
 *
 *   machine THREADS        {"gflops": 206.1, "triad_gbs": 17.2, "update_gbs": 18.0}
 */
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#if defined __AVX512F__
enum { BYTES = 64 };
#else
enum { BYTES = 32 };
#endif
typedef float vec __attribute__((vector_size(BYTES)));
enum { CHAINS = 12, LANES = BYTES / 4, TURNS = 4000000, N = 1 << 24, ROUNDS = 5 };

/* Twelve independent chains hide the latency of fma (4 cycles, two units). */
static float fma_chains(int64_t turns) {
    vec a[CHAINS], x = (vec){} + 0.999999f, y = (vec){} + 1e-6f;
    for (int i = 0; i < CHAINS; i++) a[i] = (vec){} + (float)i;
    for (int64_t t = 0; t < turns; t++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) a[i] = a[i] * x + y; /* -ffp-contract=fast makes one fma of it */
        for (int i = 0; i < CHAINS; i++) __asm__("" : "+x"(a[i]));
    }
    vec s = {};
    for (int i = 0; i < CHAINS; i++) s += a[i];
    return s[0];
}

static double peak(void) {
    double best = 0, sink = 0;
    for (int r = 0; r < ROUNDS; r++) {
        double start = omp_get_wtime();
#pragma omp parallel reduction(+ : sink)
        sink += (double)fma_chains(TURNS);
        double s = omp_get_wtime() - start, flop = 2.0 * CHAINS * LANES * TURNS * omp_get_max_threads();
        if (flop / s > best) best = flop / s;
    }
    return sink == 12345 ? 0 : best / 1e9;
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    omp_set_num_threads(threads);
    float *a = aligned_alloc(64, sizeof(float) * N), *b = aligned_alloc(64, sizeof(float) * N), *c = aligned_alloc(64, sizeof(float) * N);
    double triad = 0, update = 0;
    if (!a || !b || !c) return 1;
#pragma omp parallel for
    for (int64_t i = 0; i < N; i++) a[i] = 0, b[i] = 1, c[i] = 2;
    for (int r = 0; r < ROUNDS; r++) {
        double start = omp_get_wtime();
#pragma omp parallel for
        for (int64_t i = 0; i < N; i++) a[i] = b[i] + 3 * c[i];
        double s = omp_get_wtime() - start;
        if (12.0 * N / s > triad) triad = 12.0 * N / s;
        start = omp_get_wtime();
#pragma omp parallel for
        for (int64_t i = 0; i < N; i++) {
            b[i] = 0.9f * b[i] + c[i];
            c[i] -= 1e-6f * b[i];
        }
        s = omp_get_wtime() - start;
        if (16.0 * N / s > update) update = 16.0 * N / s;
    }
    printf("{\"gflops\": %.1f, \"triad_gbs\": %.2f, \"update_gbs\": %.2f}\n", peak(), triad / 1e9, update / 1e9);
    return a[N / 2] + b[N / 3] + c[N / 5] == 12345;
}
