/*
 * eval.h - the reference evaluator: runs a function of the graph one op at a time, as plainly as it can be written. It is the
 * judge of every pass and of compiled programs.
 *
 * In EVAL_F64 the float types f32 and f64 are both computed in double, without rounding to f32 in between. In EVAL_F32 f32 has
 * exactly the bits that graph.h and math.def define (order of sums, fma, functions), and f64 is double with the same orders and
 * the C library's functions. Integers and bools are the same in both.
 *
 * Tensors are plain row-major arrays. An intermediate one is freed after its last use, so a whole training step on a real batch
 * fits.
 */
#ifndef NNC_IR_EVAL_H
#define NNC_IR_EVAL_H

#include "graph.h"

typedef enum EvalType { EVAL_F64, EVAL_F32 } EvalType;

/* A value at run time. Shared by counting; never changed once it is handed on. */
typedef struct Tensor {
    Elem elem; /* how the elements are stored: F64 for f32 under EVAL_F64, else the type's own; bools are bytes 0 and 1 */
    int rank;
    int64_t dim[MAX_RANK];
    int64_t count; /* product of dim */
    void *data;
    int refs;
} Tensor;

/* Zeroed, with one reference; for a batch of B samples. NULL: there is no memory for it. */
Tensor *tensor_new(EvalType type, const Type *t, int64_t B);
Tensor *tensor_keep(Tensor *t);
void tensor_release(Tensor *t); /* NULL is allowed */
/* From an array of t's own element type (float for f32, unsigned char for bool), and back. */
Tensor *tensor_from(EvalType type, const Type *t, int64_t B, const void *elements);
void tensor_store(const Tensor *x, Elem elem, void *elements);
/* The same for the memory of a compiled step: where the batch axis is not the first (x'), it has room for `bound` samples on that axis, so that fewer leave holes.
 * t is the type of the slot. NULL, false: no memory. */
Tensor *tensor_from_slot(EvalType type, const Type *t, int64_t B, int64_t bound, const void *elements);
bool tensor_store_slot(const Tensor *x, const Type *t, int64_t B, int64_t bound, void *elements);
/* One element as a number; an i64 beyond 2^53 is rounded. */
double tensor_get(const Tensor *x, int64_t i);
void tensor_set(Tensor *x, int64_t i, double v);
/* The same shape and bits (every NaN counts as the same). On a difference *at is the first element that differs, -1 for a shape.
 */
bool tensor_same(const Tensor *a, const Tensor *b, int64_t *at);

/* A run-time error of the program: an index outside, an integer divided by 0, no memory. */
typedef struct EvalFault {
    const Op *op;
    Loc loc;          /* the op's */
    int64_t value;    /* the index, 0 for a division */
    int64_t bound;    /* the size of the axis that it is outside of, 0 for a division */
    bool memory;      /* none was left for what the op makes */
    const char *text; /* "index 12 is outside 0..10": one sentence without a full stop, in the arena given */
} EvalFault;

typedef struct EvalOptions {
    EvalType type;
    int64_t batch; /* B, at least 1 */
    /* Values that are not computed: with[i] stands for instead[i] wherever it is used. What only they needed does not run. */
    int n_instead;
    Value *const *instead;
    Tensor *const *with;
    /* Called after every op (in blocks: every time), with its results; may be NULL. */
    void (*observe)(const Op *op, Tensor *const *results, void *arg);
    void *arg;
} EvalOptions;

/* Runs f. inputs[i] belongs to parameter i of the body; outputs[i] becomes result i, with a reference that the caller releases.
 * False: *fault says why, and there are no outputs. Everything in `a` is scratch but the fault's text. An op `grad` that is
 * needed is a bug: autodiff comes first. */
bool eval_func(Arena *a, const Func *f, EvalType type, int64_t batch, Tensor *const *inputs, Tensor **outputs, EvalFault *fault);
/* As eval_func, for any values of f's body instead of its results; only the ops that these need are run. */
bool eval_values(Arena *a, const Func *f, const EvalOptions *options, Tensor *const *inputs, int n, Value *const *wanted,
                 Tensor **found, EvalFault *fault);

#endif
