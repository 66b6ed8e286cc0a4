/*
 * eval_rows.h - sums of rows in the order that graph.h defines, for float and for double: included twice, with REAL, FMA and
 * ROWS(name) defined.
 *
 * A row is n neighbouring outputs, each with a chain of its own; working on a row at a time leaves every chain as it is defined
 * and lets the C compiler use vectors. Rows of partial sums stand one after the other in `pieces`.
 */

/* One step of n chains: acc[j] = a[j * sa] * b[j * sb] + acc[j], rounded once. */
static inline __attribute__((always_inline)) void ROWS(fma_row)(int64_t n, const REAL *a, int64_t sa, const REAL *b, int64_t sb,
                                                                REAL *restrict acc) {
    if (sa == 0 && sb == 1) {
        REAL a0 = *a;
        for (int64_t j = 0; j < n; j++) acc[j] = FMA(a0, b[j], acc[j]);
    } else if (sa == 1 && sb == 0) {
        REAL b0 = *b;
        for (int64_t j = 0; j < n; j++) acc[j] = FMA(a[j], b0, acc[j]);
    } else {
        for (int64_t j = 0; j < n; j++) acc[j] = FMA(a[j * sa], b[j * sb], acc[j]);
    }
}

/* A piece of n chains: `steps` of them, step k from a[at_a[k]] and b[at_b[k]] on. */
static inline __attribute__((always_inline)) void ROWS(chain_body)(int64_t n, int64_t steps, const REAL *a, const int64_t *at_a,
                                                                   int64_t sa, const REAL *b, const int64_t *at_b, int64_t sb,
                                                                   REAL *restrict acc) {
    for (int64_t k = 0; k < steps; k++) ROWS(fma_row)(n, a + at_a[k], sa, b + at_b[k], sb, acc);
}

#if defined(__x86_64__) && defined(__GNUC__)
/* The same operations; with the instruction the compiler writes them as vectors, without it FMA is a call. */
__attribute__((target("avx2,fma"), optimize("O3"))) static void ROWS(chain_fast)(int64_t n, int64_t steps, const REAL *a,
                                                                                 const int64_t *at_a, int64_t sa, const REAL *b,
                                                                                 const int64_t *at_b, int64_t sb,
                                                                                 REAL *restrict acc) {
    ROWS(chain_body)(n, steps, a, at_a, sa, b, at_b, sb, acc);
}
#endif

static void ROWS(chain)(int64_t n, int64_t steps, const REAL *a, const int64_t *at_a, int64_t sa, const REAL *b,
                        const int64_t *at_b, int64_t sb, REAL *restrict acc) {
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        ROWS(chain_fast)(n, steps, a, at_a, sa, b, at_b, sb, acc);
        return;
    }
#endif
    ROWS(chain_body)(n, steps, a, at_a, sa, b, at_b, sb, acc);
}

static void ROWS(add_row)(int64_t n, const REAL *x, REAL *restrict acc) {
    for (int64_t j = 0; j < n; j++) acc[j] += x[j];
}

/* The pairwise tree: rows 0 .. count - 1 of n elements into row 0. */
static void ROWS(tree)(int64_t count, int64_t n, REAL *pieces) {
    if (count < 2) return;
    int64_t m = tree_split(count);
    ROWS(tree)(m, n, pieces);
    ROWS(tree)(count - m, n, pieces + m * n);
    ROWS(add_row)(n, pieces + m * n, pieces);
}
