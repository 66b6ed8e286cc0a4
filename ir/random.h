/*
 * random.h - random numbers without state: what op `uniform` and op `mix` mean, bit for bit.
 *
 * A draw is a function of (key, site, element index): the key comes from the run's seed and the turns of all loops around
 * (SLOT_KEY, stirred by `mix` in a scan), the site is a hash of the place in the program, the element index counts a tensor's
 * elements in row-major order (with `first`, rows of the epoch and not of the batch). So the same numbers come whatever the
 * threads, the batch or the order in which they are asked for, and a recomputed draw is the same draw.
 *
 * The generator is Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011; its
 * published known answers are in tests/unit/test_math.c. A block of four words comes from a counter of 128 bits and a key of 64:
 *
 *   counter = (low and high half of the block's number, low and high half of the site)      key = (low half, high half of the
 * key)
 *
 * 64 neighbouring elements share 16 blocks, so that vectors of 16 lanes (or 8, or 4) need no shuffle: element e is word (e / 16)
 * mod 4 of block (e / 64) * 16 + e mod 16. A vector of 16 block numbers gives four vectors of 16 neighbouring elements.
 *
 * This file stands alone (C11, no includes but stdint.h), so that backend and runtime can keep a copy of the definitions.
 */
#ifndef NNC_IR_RANDOM_H
#define NNC_IR_RANDOM_H

#include <stdint.h>

/* Ten rounds; c[4] is the counter when called and the four words of the block afterwards. */
static inline void philox4x32(uint32_t c[4], uint32_t key0, uint32_t key1) {
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xd2511f53u * c[0], p1 = (uint64_t)0xcd9e8d57u * c[2];
        uint32_t c0 = (uint32_t)(p1 >> 32) ^ c[1] ^ key0, c2 = (uint32_t)(p0 >> 32) ^ c[3] ^ key1;
        c[0] = c0;
        c[1] = (uint32_t)p1;
        c[2] = c2;
        c[3] = (uint32_t)p0;
        key0 += 0x9e3779b9u; /* the golden ratio */
        key1 += 0xbb67ae85u; /* sqrt(3) - 1 */
    }
}

/* The 32 random bits of element e. */
static inline uint32_t random_word(uint64_t key, uint64_t site, uint64_t e) {
    uint64_t block = (e >> 6 << 4) + (e & 15);
    uint32_t c[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)site, (uint32_t)(site >> 32)};
    philox4x32(c, (uint32_t)key, (uint32_t)(key >> 32));
    return c[e >> 4 & 3];
}

/* In [0, 1), a multiple of 2^-24: the upper 24 bits, so every value is exact in f32. */
static inline float random_uniform(uint64_t key, uint64_t site, uint64_t e) {
    return (float)(int32_t)(random_word(key, site, e) >> 8) * 0x1p-24f;
}

/* The last step of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): a bijection
 * that stirs all bits. */
static inline uint64_t random_stir(uint64_t z) {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Op `mix`: the key for turn i (sign-extended to 64 bits) of a loop inside which draws are keyed by `key`. */
static inline uint64_t random_mix(uint64_t key, uint64_t i) {
    return random_stir(random_stir(key) + (i + 1) * 0x9e3779b97f4a7c15u);
}

#endif
