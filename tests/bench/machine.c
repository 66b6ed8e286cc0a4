/*
 * machine.c - what this machine can do, to be measured beside the steps: the fma peak, memory by the triad a = b + s c of McCalpin's
 * STREAM, and the update that update.nn makes, written in C. One line of JSON comes out.
 *
 *   machine THREADS           {"gflops": 206.1, "triad_gbs": 17.2, "triad_stream_gbs": 17.9, "update_gbs": 18.0}
 *   machine THREADS SECONDS   {"gflops": 193.4}      what the cores give for so long together, and not at best
 *
 * Bytes are those that the loop names: 12 a number of the triad (reads b and c, writes a), 16 of the update (reads w and v, writes both).
 * What the memory moves is another matter: an ordinary store to a line that is not in a cache reads the line first (write-allocate), so the
 * plain triad moves 16. "triad" has ordinary stores, as STREAM is compiled usually; "triad_stream" has stores past the caches
 * (non-temporal, x86 only; elsewhere 0) and moves what it names. The update has read what it writes, so nothing is read in vain, whatever
 * the stores: named like this it can be a third above the plain triad for that reason alone, and two streams are kinder to a memory than
 * three. So the update in C stands beside it, as the stricter measure.
 *
 * Every array is at least four times the last-level cache, as STREAM demands; they lie on huge pages, as those of a compiled program do,
 * and do not begin at the same place of a page, where a store would seem to hit the loads behind it.
 */
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined __x86_64__
#include <immintrin.h>
#endif

#if defined __AVX512F__
enum { BYTES = 64 };
#elif defined __AVX__
enum { BYTES = 32 };
#else
enum { BYTES = 16 };
#endif
typedef float vec __attribute__((vector_size(BYTES)));
enum { CHAINS = 12, LANES = BYTES / 4, TURNS = 400000, LEAST = 1 << 25, ROUNDS = 5, PEAK_ROUNDS = 40 };

/* ---- the fma peak ---- */

#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)

/* Twelve independent chains hide the latency of fma (4 or 5 cycles, two units) and fit into 16 registers together with x and y. Each is
 * a variable of its own: an array of them, indexed in a loop, is kept in memory by gcc. -ffp-contract=fast makes one fma of `a * x + y`;
 * without -ffast-math no compiler may do less than this. */
static float fma_chains(int64_t turns, float by, float plus) {
    vec x = (vec){0} + by, y = (vec){0} + plus, sum = {0};
#define START(i) vec a##i = (vec){0} + (float)i;
#define STEP(i)  a##i = a##i * x + y;
#define ADD(i)   sum += a##i;
    EACH(START)
    for (int64_t t = 0; t < turns; t++) {
        EACH(STEP)
    }
    EACH(ADD)
    return sum[0];
}

static double peak(void) {
    double best = 0, sink = 0;
    float by = 0.999999f, plus = 1e-6f;
    for (int r = 0; r < PEAK_ROUNDS; r++) { /* short ones: the best of them was not disturbed */
        double start = omp_get_wtime();
#pragma omp parallel reduction(+ : sink)
        sink += (double)fma_chains(TURNS, by, plus);
        double s = omp_get_wtime() - start, flop = 2.0 * CHAINS * LANES * TURNS * omp_get_max_threads();
        if (flop / s > best) best = flop / s;
    }
    return sink == 12345 ? 0 : best;
}

/* Operations a second of all threads together, each of them busy for so many seconds. */
static double sustained(double seconds) {
    double flop = 0, sink = 0, start = omp_get_wtime();
#pragma omp parallel reduction(+ : flop, sink)
    while (omp_get_wtime() - start < seconds) {
        sink += (double)fma_chains(TURNS / 10, 0.999999f, 1e-6f);
        flop += 2.0 * CHAINS * LANES * (TURNS / 10);
    }
    return (sink == 12345 ? 0 : flop) / (omp_get_wtime() - start);
}

/* ---- memory: a, b, c of n numbers each (n a multiple of 64) ---- */

static void triad(float *restrict a, float *restrict b, float *restrict c, int64_t n) {
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) a[i] = b[i] + 3 * c[i];
}

#if defined __SSE__
static void triad_stream(float *restrict a, float *restrict b, float *restrict c, int64_t n) {
#pragma omp parallel
    {
#pragma omp for
        for (int64_t i = 0; i < n; i += 16) { /* a line of 64 bytes a turn */
#if defined __AVX512F__
            _mm512_stream_ps(a + i, _mm512_fmadd_ps(_mm512_set1_ps(3), _mm512_load_ps(c + i), _mm512_load_ps(b + i)));
#else
            for (int64_t j = i; j < i + 16; j += 4)
                _mm_stream_ps(a + j, _mm_add_ps(_mm_load_ps(b + j), _mm_mul_ps(_mm_set1_ps(3), _mm_load_ps(c + j))));
#endif
        }
        _mm_sfence();
    }
}
#else
#define triad_stream NULL
#endif

/* Momentum, as update.nn: the gradient of w is w. */
static void update(float *restrict w, float *restrict v, float *restrict unused, int64_t n) {
    (void)unused;
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) {
        v[i] = 0.9f * v[i] + w[i];
        w[i] -= 1e-6f * v[i];
    }
}

typedef struct Loop {
    const char *name;
    void (*run)(float *restrict a, float *restrict b, float *restrict c, int64_t n);
    double bytes; /* a number, as the loop names them */
    double best;  /* bytes a second */
} Loop;

static void time_loop(Loop *l, float *a, float *b, float *c, int64_t n) {
    if (!l->run) return;
    double start = omp_get_wtime();
    l->run(a, b, c, n);
    double speed = l->bytes * (double)n / (omp_get_wtime() - start);
    if (speed > l->best) l->best = speed;
}

/* Numbers of an array: four times the last-level cache, where the system tells its size. */
static int64_t array_size(void) {
    long cache = 0;
#if defined _SC_LEVEL3_CACHE_SIZE
    cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
    int64_t n = cache > 0 ? (int64_t)cache : 0; /* bytes of the cache: times four, and four bytes a number */
    return (n > LEAST ? n : LEAST) / 64 * 64;
}

/* n numbers, `shift` lines behind the start of a huge page. NULL: no memory. */
static float *array(int64_t n, int shift) {
    void *p;
    size_t bytes = sizeof(float) * (size_t)n + (1 << 16);
    if (posix_memalign(&p, 2 << 20, bytes)) return NULL;
#if defined MADV_HUGEPAGE
    madvise(p, bytes, MADV_HUGEPAGE); /* if the system has none, small ones do */
#endif
    return (float *)p + 16 * shift;
}

int main(int argc, char **argv) {
    omp_set_num_threads(argc > 1 && atoi(argv[1]) > 0 ? atoi(argv[1]) : 1);
    if (argc > 2) return printf("{\"gflops\": %.1f}\n", sustained(atof(argv[2])) / 1e9) < 0;
    int64_t n = array_size();
    float *a = array(n, 0), *b = array(n, 21), *c = array(n, 42);
    if (!a || !b || !c) {
        fprintf(stderr, "machine: no memory for three arrays of %lld bytes\n", (long long)(4 * n));
        return 1;
    }
#pragma omp parallel for
    for (int64_t i = 0; i < n; i++) a[i] = 0, b[i] = 1, c[i] = 2; /* each thread touches first what it will use */
    Loop loops[] = {{"triad_gbs", triad, 12, 0}, {"triad_stream_gbs", triad_stream, 12, 0}, {"update_gbs", update, 16, 0}};
    enum { N_LOOPS = sizeof loops / sizeof *loops };
    for (int r = 0; r < ROUNDS; r++)
        for (int i = 0; i < N_LOOPS; i++) time_loop(&loops[i], a, b, c, n);
    printf("{\"gflops\": %.1f", peak() / 1e9);
    for (int i = 0; i < N_LOOPS; i++) printf(", \"%s\": %.2f", loops[i].name, loops[i].best / 1e9);
    printf(", \"array_bytes\": %lld}\n", (long long)(4 * n));
    return a[n / 2] + b[n / 3] + c[n / 5] == 12345;
}
