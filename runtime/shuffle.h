/*
 * shuffle.h - random orders and draws of samples, as functions of a key: nothing is kept between them, so a run that goes on from
 * a checkpoint makes the same ones again.
 */
#ifndef NN_SHUFFLE_H
#define NN_SHUFFLE_H

#include <stdint.h>

/* The numbers of a key, one after the other (Philox). */
struct nn_draws {
    uint32_t key[2], counter[4], word[4];
    int left;
};

/* A shuffle that goes on as far as it is asked for: Fisher and Yates from the end, so order[i] is final once the shuffle has come down to i. */
struct nn_shuffler {
    struct nn_draws stream;
    uint32_t left; /* order[left..n) is final */
};

struct nn_shuffler nn_shuffle_begin(uint32_t n, uint64_t key);
/* Makes order[down_to..n) final. */
void nn_shuffle_on(struct nn_shuffler *s, uint32_t *order, uint32_t down_to);
/* order[0..n) := a uniform permutation of its present contents: the whole of such a shuffle. */
void nn_shuffle(uint32_t *order, uint32_t n, uint64_t key);
/* order[0..n) := n numbers below n, drawn with replacement. */
void nn_resample(uint32_t *order, uint32_t n, uint64_t key);

#endif
