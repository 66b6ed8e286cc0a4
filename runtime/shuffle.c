/*
 * shuffle.c - see shuffle.h. Draw number i of a key is word i % 4 of Philox block i / 4, so that the numbers do not depend on how
 * they are used.
 */
#include "shuffle.h"
#include "random.h"

struct stream {
    uint32_t key[2], counter[4], word[4];
    int left;
};

static struct stream stream_begin(uint64_t key) { return (struct stream){.key = {(uint32_t)key, (uint32_t)(key >> 32)}}; }

static uint32_t stream_next(struct stream *s) {
    if (s->left == 0) {
        nn_philox(s->counter, s->key, s->word);
        if (++s->counter[0] == 0) s->counter[1]++;
        s->left = 4;
    }
    return s->word[4 - s->left--];
}

/* A number below n, n >= 1, without bias: D. Lemire, "Fast Random Integer Generation in an Interval", ACM TOMACS 29 (2019),
 * algorithm 5. */
static uint32_t stream_below(struct stream *s, uint32_t n) {
    uint64_t m = (uint64_t)stream_next(s) * n;
    if ((uint32_t)m < n) {
        uint32_t least = -n % n;
        while ((uint32_t)m < least) m = (uint64_t)stream_next(s) * n;
    }
    return (uint32_t)(m >> 32);
}

void nn_shuffle(uint32_t *order, uint32_t n, uint64_t key) {
    struct stream s = stream_begin(key);
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = stream_below(&s, i), t = order[i - 1];
        order[i - 1] = order[j];
        order[j] = t;
    }
}

void nn_resample(uint32_t *order, uint32_t n, uint64_t key) {
    struct stream s = stream_begin(key);
    for (uint32_t i = 0; i < n; i++) order[i] = stream_below(&s, n);
}
