/*
 * shuffle.h - random orders and draws of samples, as functions of a key: nothing is kept between them, so a run that goes on from
 * a checkpoint makes the same ones again.
 */
#ifndef NN_SHUFFLE_H
#define NN_SHUFFLE_H

#include <stdint.h>

/* order[0..n) := a uniform permutation of its present contents (Fisher and Yates, from the end). */
void nn_shuffle(uint32_t *order, uint32_t n, uint64_t key);
/* order[0..n) := n numbers below n, drawn with replacement. */
void nn_resample(uint32_t *order, uint32_t n, uint64_t key);

#endif
