/*
 * batch.h - the batches of a loop over data sets, made ahead of the step that reads them.
 */
#ifndef NN_BATCH_H
#define NN_BATCH_H

#include "data.h"

/* One data set of a loop. */
struct nn_part {
    const struct nn_set *set;
    const struct nn_use *use;
    int64_t from, count;    /* the part of the set's samples */
    bool shuffle, resample; /* after --no-shuffle */
    bool repeats;           /* begins again when it is used up: every set but the first */
    uint64_t shuffle_key;   /* of this run of the loop */
    uint64_t resample_key;  /* of the statement */
};

struct nn_batches;

/* Turns that the part lasts for; all of a lane for `lanes`. */
int64_t nn_part_turns(const struct nn_part *p);
/* parts are copied. Reading begins at turn `first`. */
struct nn_batches *nn_batches_begin(struct nn_env *env, const struct nn_part *parts, int64_t n, int64_t first, int64_t turns);
/* Puts the fields of the next turn (they are asked for in order) into fields[], by the places of their slots. The pointers are
 * good until the next call. *batch: samples of the first set. */
bool nn_batches_next(struct nn_batches *b, const struct nn_slot *slots, const void **fields, int64_t *batch);
/* The same loop begins again, of parts as large, and all turns of the last time were asked for: what was made for them is used
 * again. false: it cannot be, nothing has changed. */
bool nn_batches_again(struct nn_batches *b, const struct nn_part *parts, int64_t first, int64_t turns);
/* They are worth keeping until their loop begins again: a thread and a ring stand behind them. */
bool nn_batches_stay(const struct nn_batches *b);
void nn_batches_end(struct nn_batches *b);

#endif
