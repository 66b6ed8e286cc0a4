/*
 * eval_inside.h - what the files of the evaluator share: the state of a run, and how an op gets at its operands and results.
 *
 * The evaluator of an op is `bool eval_NAME(Eval *e, const Op *op)`, NAME being the evaluator column of ops.def: it reads
 * eval_in(e, op, i), makes eval_out(e, op, i) and fills it; false means that eval_fault has been called.
 */
#ifndef NNC_IR_EVAL_INSIDE_H
#define NNC_IR_EVAL_INSIDE_H

#include "eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Eval {
    Arena *arena;
    const EvalOptions *options;
    EvalFault *fault;
    Tensor **value;     /* by value id: NULL before it is computed and after its last use */
    Value **dies_first; /* by id of an op's first result: values that nothing needs after this op, ... */
    Value **dies_next;  /* ... by value id: a list */
    bool *needed;       /* by value id */
} Eval;

static inline Tensor *eval_in(const Eval *e, const Op *op, int i) { return e->value[op->in[i]->id]; }
/* Makes result i, zeroed; NULL (and the fault is set) if there is no memory. */
Tensor *eval_out(Eval *e, const Op *op, int i);
/* Always returns false. */
bool eval_fault(Eval *e, const Op *op, int64_t value, const char *format, ...) __attribute__((format(printf, 4, 5)));
bool eval_no_memory(Eval *e, const Op *op, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Runs the ops of a block whose parameters are set; results[i] gets a reference of its own. All values of the block are released.
 */
bool eval_block(Eval *e, const Block *b, Tensor **results);

/* Element i of an integer or bool tensor (u8 without sign, bools 0 and 1). */
static inline int64_t int_at(const Tensor *t, int64_t i) {
    switch (t->elem) {
    case I32: return ((const int32_t *)t->data)[i];
    case I64: return ((const int64_t *)t->data)[i];
    case U8:
    case BOOL: return ((const uint8_t *)t->data)[i];
    case F32:
    case F64: break;
    }
    bug("an integer is wanted of a tensor of %s", elem_name(t->elem));
}

/* Integers wrap. */
static inline void int_put(Tensor *t, int64_t i, int64_t v) {
    switch (t->elem) {
    case I32: ((uint32_t *)t->data)[i] = (uint32_t)v; return;
    case I64: ((int64_t *)t->data)[i] = v; return;
    case U8: ((uint8_t *)t->data)[i] = (uint8_t)v; return;
    case BOOL: ((uint8_t *)t->data)[i] = v != 0; return;
    case F32:
    case F64: break;
    }
    bug("an integer is put into a tensor of %s", elem_name(t->elem));
}

/* Element i of a float tensor: exact. */
static inline double real_at(const Tensor *t, int64_t i) {
    return t->elem == F32 ? ((const float *)t->data)[i] : ((const double *)t->data)[i];
}
static inline void real_put(Tensor *t, int64_t i, double v) {
    if (t->elem == F32)
        ((float *)t->data)[i] = (float)v;
    else
        ((double *)t->data)[i] = v;
}

/* Copies element j of x to element i of t; the element types are the same. */
static inline void copy_at(Tensor *t, int64_t i, const Tensor *x, int64_t j) {
    switch (elem_size(t->elem)) {
    case 1: ((uint8_t *)t->data)[i] = ((const uint8_t *)x->data)[j]; return;
    case 4: ((uint32_t *)t->data)[i] = ((const uint32_t *)x->data)[j]; return;
    default: ((uint64_t *)t->data)[i] = ((const uint64_t *)x->data)[j]; return;
    }
}

/* Row-major strides of x in elements. */
static inline void strides_of(const Tensor *x, int64_t *stride) {
    int64_t n = 1;
    for (int i = x->rank - 1; i >= 0; i--) {
        stride[i] = n;
        n *= x->dim[i];
    }
}

/* The next index in row-major order; false after the last, when all are 0 again. For rank 0 there is one index. */
static inline bool index_next(int rank, const int64_t *dim, int64_t *index) {
    for (int i = rank - 1; i >= 0; i--) {
        if (++index[i] < dim[i]) return true;
        index[i] = 0;
    }
    return false;
}

static inline int64_t dot_index(int rank, const int64_t *index, const int64_t *stride) {
    int64_t at = 0;
    for (int i = 0; i < rank; i++) at += index[i] * stride[i];
    return at;
}

#define OP(name, operands, attributes, rule, elementwise, stages, gradient, evaluator, doc)                                      \
    bool eval_##evaluator(Eval *e, const Op *op);
#include "ops.def"
#undef OP

#endif
