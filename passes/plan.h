/*
 * plan.h - what the planner knows of a step, for the report and for tests.
 */
#ifndef NNC_PASSES_PLAN_H
#define NNC_PASSES_PLAN_H

#include "ir/loops.h"
#include "passes/pipeline.h"

/* When a buffer lives: from the first to the last kernel (counted in the order of the text, the begin and the end of a loop of
 * the step count as one each) that touches it. Those of views count for the buffer whose memory they share. */
typedef struct Life {
    int first, last; /* -1: never */
    bool written_first, used;
} Life;

typedef struct Lives {
    Life *at; /* by buffer id */
    size_t n;
    int end; /* kernels in all */
} Lives;

typedef Vec(StepNode *) Nodes;

Lives plan_lives(Arena *a, const Step *s);
/* Drops buffers that no kernel touches, and numbers the others anew. */
void plan_drop_unused(Step *s);

#endif
