/*
 * gradcheck.h - gradients as autodiff made them against central differences of the loss, in f64.
 *
 *   GradCheck *c = gradcheck_begin(arena, module);      with grad ops in it
 *   ... autodiff, on the same module ...
 *   Tensor **inputs = gradcheck_inputs(...);             or real ones, EVAL_F64
 *   gradcheck_run(arena, c, func, batch, inputs, &options);
 *
 * The derivative of the loss in a direction v is compared with the sum of gradient times v: in random directions over all
 * elements, and at single elements. The loss is evaluated from a value of x that stands in for the computed one, so x may be any
 * value of the function's body, not just an input; and the loss may itself hold gradients, which autodiff has expanded by then.
 * What stop_gradient holds back is held still. Where x stands at a kink of the loss (relu of a 0) there is no derivative to compare with: a gradient
 * that differs there is counted apart.
 */
#ifndef NNC_IR_GRADCHECK_H
#define NNC_IR_GRADCHECK_H

#include "eval.h"

typedef struct GradCheck GradCheck;

/* To be called right before autodiff. Notes the grad ops in the bodies of all functions, those inside loops in a copy of the loop's first turn, and makes losses, xs and gradients
 * results of their functions (with variables of the module to receive them), so that they can be found again when passes have
 * rewritten the graph. */
GradCheck *gradcheck_begin(Arena *a, Module *m);
/* Gradients (pairs of a grad op and an x) noted in f, in all functions if f is NULL; how many of all are of the first turn of a loop, and how many are not
 * checked: inside a loop along the batch, or one that goes backwards from a place known when it runs. */
int gradcheck_count(const GradCheck *c, const Func *f);
int gradcheck_turns(const GradCheck *c);
int gradcheck_skipped(const GradCheck *c);

/* One comparison. */
typedef struct GradReport {
    const Func *func;
    Loc loc;           /* of the grad op */
    const char *x;     /* name of the value, "" if it has none */
    int index;         /* which x of its grad op, from 0 */
    int64_t element;   /* -1: a direction over all elements */
    double gradient;   /* what autodiff's graph gives */
    double difference; /* what central differences give */
    double error;      /* |gradient - difference| */
    double bound;      /* and how large it may be */
    bool ok, kink;     /* kink: they differ, but x stands where the loss has a kink or a jump, and no derivative */
} GradReport;

typedef struct GradOptions {
    uint64_t seed;    /* of directions and elements */
    int directions;   /* per x; 0: 2 */
    int elements;     /* per x; 0: 4 */
    double tolerance; /* relative to |gradient| + |difference|, and times 1e-3 of 1 + |loss|; 0: 1e-6 */
    void (*report)(const GradReport *r, void *arg); /* every comparison, also good ones; may be NULL */
    void *arg;
} GradOptions;

typedef struct GradSummary {
    int compared, failed, nonzero; /* comparisons; nonzero: those with a gradient other than 0 */
    int kinks;                     /* what is neither right nor wrong: x stands at a kink (not among `compared`) */
} GradSummary;

/* Compares all gradients noted in f. False: the evaluation of f ended in a run-time error (*fault). */
bool gradcheck_run(Arena *a, const GradCheck *c, const Func *f, int64_t batch, Tensor *const *inputs, const GradOptions *options,
                   GradSummary *summary, EvalFault *fault);

/* Inputs for f in f64 to check with when there are no data: slots with a first value have it, with a little noise where all
 * elements are equal (so that the point is no kink); other floats are in [0, 1), other integers and bools 0 or 1. The tensors,
 * one for each parameter of f, are the caller's to release. NULL: *fault says why. */
Tensor **gradcheck_inputs(Arena *a, const Func *f, int64_t batch, uint64_t seed, EvalFault *fault);

/* Real inputs of f moved off the kinks: in a copy of every float parameter whose elements are all equal (biases at the start: where a picture is black,
 * relu(0 + b) has no derivative at b = 0) a little noise is added, up to a hundredth of its size. The others are shared. The tensors are the caller's to
 * release; NULL: there is no memory. */
Tensor **gradcheck_beside(Arena *a, const Func *f, Tensor *const *inputs, uint64_t seed);

#endif
