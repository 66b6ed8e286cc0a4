/*
 * shuffle.c - see shuffle.h. Draw number i of a key is word i % 4 of Philox block i / 4, so that the numbers do not depend on how
 * they are used.
 */
#include "shuffle.h"
#include "random.h"

enum { AHEAD = 32 };

static struct nn_draws stream_begin(uint64_t key) { return (struct nn_draws){.key = {(uint32_t)key, (uint32_t)(key >> 32)}}; }

static uint32_t stream_next(struct nn_draws *s) {
    if (s->left == 0) {
        nn_philox(s->counter, s->key, s->word);
        if (++s->counter[0] == 0) s->counter[1]++;
        s->left = 4;
    }
    return s->word[4 - s->left--];
}

/* A number below n, n >= 1, without bias: D. Lemire, "Fast Random Integer Generation in an Interval", ACM TOMACS 29 (2019),
 * algorithm 5. */
static uint32_t stream_below(struct nn_draws *s, uint32_t n) {
    uint64_t m = (uint64_t)stream_next(s) * n;
    if ((uint32_t)m < n) {
        uint32_t least = -n % n;
        while ((uint32_t)m < least) m = (uint64_t)stream_next(s) * n;
    }
    return (uint32_t)(m >> 32);
}

struct nn_shuffler nn_shuffle_begin(uint32_t n, uint64_t key) { return (struct nn_shuffler){stream_begin(key), n}; }

/* Draws some swaps ahead of making them, so that the elements, which lie anywhere, are on their way. */
void nn_shuffle_on(struct nn_shuffler *s, uint32_t *order, uint32_t down_to) {
    uint32_t stop = down_to > 1 ? down_to : 1, with[AHEAD];
    while (s->left > stop) {
        uint32_t n = s->left - stop < AHEAD ? s->left - stop : AHEAD;
        for (uint32_t k = 0; k < n; k++) {
            with[k] = stream_below(&s->stream, s->left - k);
            __builtin_prefetch(&order[with[k]], 1);
        }
        for (uint32_t k = 0; k < n; k++) {
            uint32_t i = --s->left, t = order[i];
            order[i] = order[with[k]];
            order[with[k]] = t;
        }
    }
}

void nn_shuffle(uint32_t *order, uint32_t n, uint64_t key) {
    struct nn_shuffler s = nn_shuffle_begin(n, key);
    nn_shuffle_on(&s, order, 0);
}

void nn_resample(uint32_t *order, uint32_t n, uint64_t key) {
    struct nn_draws s = stream_begin(key);
    for (uint32_t i = 0; i < n; i++) order[i] = stream_below(&s, n);
}
