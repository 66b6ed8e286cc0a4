/*
 * value.h - elements of tensors: sizes, names, reading as numbers, and the text that is printed, logged and written for them.
 */
#ifndef NN_VALUE_H
#define NN_VALUE_H

#include "abi.h"
#include "env.h"

int64_t nn_elem_size(int64_t elem); /* bytes */
const char *nn_elem_name(int64_t elem);
const char *nn_elem_dtype(int64_t elem);     /* as safetensors says it: "F32" */
int64_t nn_elem_of_dtype(const char *dtype); /* -1: none of ours */

/* Element i of an array as a double; i64 beyond 2^53 rounds. */
double nn_value_at(const void *at, int64_t elem, int64_t i);
/* Rounds to the element type; the caller has checked the range. */
void nn_value_put(void *at, int64_t elem, int64_t i, double value);
/* The first of n bytes that is no bool, neither 0 nor 1; -1: there is none. */
int64_t nn_no_bool(const void *at, int64_t n);
/* Product of sizes; 1 for a scalar. */
int64_t nn_count(const int64_t *dims, int64_t n);

/* "u8[28, 28]", "f32" */
void nn_text_type(struct nn_env *env, struct nn_text *t, int64_t elem, const int64_t *dims, int64_t n);

enum nn_style {
    NN_PLAIN, /* digits significant digits: 0.25, nan */
    NN_JSON,  /* the same, but null for NaN and infinities */
};
void nn_text_real(struct nn_env *env, struct nn_text *t, double value, int digits, enum nn_style style);
void nn_text_number(struct nn_env *env, struct nn_text *t, const void *at, int64_t elem, int64_t i, int digits,
                    enum nn_style style);
/* A scalar as its number, a tensor as nested lists: [[1, 2], [3, 4]]. */
void nn_text_tensor(struct nn_env *env, struct nn_text *t, const void *at, int64_t elem, const int64_t *dims, int64_t n,
                    int digits, enum nn_style style);

#endif
