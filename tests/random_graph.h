/*
 * random_graph.h - random valid graphs with every op, for comparing passes and compiled programs with the evaluator; and the
 * shrinking of those that fail.
 *
 * A graph is made in steps; step i adds about one op to what is there, with random numbers that follow from (seed, i) alone. A
 * failing graph is made small from its finished form: the results of an op become inputs or its operands, and all that only they
 * needed goes. Nothing else changes, while a step left out would change what all later steps draw from.
 */
#ifndef NNC_TESTS_RANDOM_GRAPH_H
#define NNC_TESTS_RANDOM_GRAPH_H

#include "ir/eval.h"

enum { RANDOM_MOST_STEPS = 64, RANDOM_MOST_OUTPUTS = 32, RANDOM_MOST_OPS = 1024, RANDOM_BATCH_BOUND = 5 };

typedef struct RandomOptions {
    uint64_t seed;
    int steps;   /* at most RANDOM_MOST_STEPS */
    bool smooth; /* only ops and values that are differentiable and stay of moderate size, and two gradients at the end (one of a
                    sum of the other; their places are lines 1 and 2) */
    bool grads;  /* a gradient at the end; without `smooth` kinks, infinities and NaN are welcome */
    bool differentiable;  /* grads or not: nothing that no gradient passes through (while, scans over the batch or with a run-time
                             count); implied by grads */
    bool large;           /* sizes around those of tiles instead of small ones */
    bool no_control;      /* no scan, no while */
    bool allow[OP_COUNT]; /* ops that may be drawn, if only_allowed */
    bool only_allowed;
    /* by op, in the order of block_walk over the finished graph: 0 stays; 1 its results become inputs; 2 + k result i becomes
     * operand k + i where that has its type, an input elsewhere */
    unsigned char cut[RANDOM_MOST_OPS];
    bool drop[RANDOM_MOST_OUTPUTS]; /* results to leave out */
    bool prune;                     /* remove what no result needs */
    int *drawn;                     /* if not NULL: OP_COUNT counters, increased for each op in the finished graph */
    int *zero_sized, *size_one;     /* if not NULL: counters of tensors with a dimension 0, 1 */
} RandomOptions;

/* A module with one function @f, verified at STAGE_FRONT. */
Module *random_graph(Arena *a, const RandomOptions *o);
/* Inputs for @f: floats in [-2, 2] with some special values (unless smooth), integers from -3 to 8, for a batch of B. The caller
 * releases them. */
Tensor **random_inputs(Arena *a, const Func *f, EvalType type, int64_t batch, uint64_t seed, bool smooth);
/* Cuts ops and leaves out results and dead ops as long as the graph is valid and fails(o) stays true. Returns the number of ops
 * left. fails must be true for *o as given. */
int random_shrink(RandomOptions *o, bool (*fails)(const RandomOptions *o, void *arg), void *arg);

#endif
