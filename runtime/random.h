/*
 * random.h - counter-based random numbers: the same bits in compiled code, evaluator and runtime.
 *
 * Philox4x32-10: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011, section 3.3 and
 * table 2. A draw is a function of (counter, key): nothing is kept between draws, so it does not matter who draws first, nor on
 * which thread.
 */
#ifndef NN_RANDOM_H
#define NN_RANDOM_H

#include <stdint.h>

/* Four independent 32-bit words for a 128-bit counter (c[0] lowest) and a 64-bit key (k[0] lowest). */
static inline void nn_philox(const uint32_t c[4], const uint32_t k[2], uint32_t out[4]) {
    uint32_t a = c[0], b = c[1], d = c[2], e = c[3], k0 = k[0], k1 = k[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p = (uint64_t)0xD2511F53u * a, q = (uint64_t)0xCD9E8D57u * d;
        uint32_t na = (uint32_t)(q >> 32) ^ b ^ k0, nd = (uint32_t)(p >> 32) ^ e ^ k1;
        b = (uint32_t)q;
        e = (uint32_t)p;
        a = na;
        d = nd;
        k0 += 0x9E3779B9u; /* the Weyl sequences of the paper: the golden ratio and sqrt(3) - 1 */
        k1 += 0xBB67AE85u;
    }
    out[0] = a;
    out[1] = b;
    out[2] = d;
    out[3] = e;
}

/* The finalizer of splitmix64: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014. */
static inline uint64_t nn_stir(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* Stirs a number (a loop's turn, a place in the program) into a key: for a fixed key a bijection of x, and for a fixed x one of
 * the key. The same function as the compiler's op `mix`; a test holds them together. */
static inline uint64_t nn_mix(uint64_t key, uint64_t x) { return nn_stir(nn_stir(key) + 0x9E3779B97F4A7C15u * (x + 1)); }

#endif
