/*
 * value.c - elements of tensors: see value.h.
 */
#include "value.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static const struct {
    const char *name, *dtype;
    int64_t size;
} elems[] = {
    [NN_F32] = {"f32", "F32", 4}, [NN_F64] = {"f64", "F64", 8}, [NN_I32] = {"i32", "I32", 4},
    [NN_I64] = {"i64", "I64", 8}, [NN_U8] = {"u8", "U8", 1},    [NN_BOOL] = {"bool", "BOOL", 1},
};
enum { ELEMS = sizeof elems / sizeof elems[0] };

int64_t nn_elem_size(int64_t elem) { return elems[elem].size; }
const char *nn_elem_name(int64_t elem) { return elems[elem].name; }
const char *nn_elem_dtype(int64_t elem) { return elems[elem].dtype; }

int64_t nn_elem_of_dtype(const char *dtype) {
    for (int64_t e = 0; e < ELEMS; e++) {
        if (strcmp(elems[e].dtype, dtype) == 0) return e;
    }
    return -1;
}

double nn_value_at(const void *at, int64_t elem, int64_t i) {
    switch ((enum nn_elem)elem) {
    case NN_F32: return (double)((const float *)at)[i];
    case NN_F64: return ((const double *)at)[i];
    case NN_I32: return (double)((const int32_t *)at)[i];
    case NN_I64: return (double)((const int64_t *)at)[i];
    case NN_U8: return (double)((const uint8_t *)at)[i];
    case NN_BOOL: return ((const uint8_t *)at)[i] != 0;
    }
    return NAN;
}

void nn_value_put(void *at, int64_t elem, int64_t i, double value) {
    switch ((enum nn_elem)elem) {
    case NN_F32: ((float *)at)[i] = (float)value; break;
    case NN_F64: ((double *)at)[i] = value; break;
    case NN_I32: ((int32_t *)at)[i] = (int32_t)value; break;
    case NN_I64: ((int64_t *)at)[i] = (int64_t)value; break;
    case NN_U8: ((uint8_t *)at)[i] = (uint8_t)value; break;
    case NN_BOOL: ((uint8_t *)at)[i] = value != 0; break;
    }
}

int64_t nn_no_bool(const void *at, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (((const unsigned char *)at)[i] > 1) return i;
    return -1;
}

int64_t nn_count(const int64_t *dims, int64_t n) {
    int64_t count = 1;
    for (int64_t i = 0; i < n; i++) { /* of a tensor without elements the other axes can be any */
        if (dims[i] == 0) return 0;
    }
    for (int64_t i = 0; i < n; i++) count *= dims[i];
    return count;
}

void nn_text_type(struct nn_env *env, struct nn_text *t, int64_t elem, const int64_t *dims, int64_t n) {
    nn_text_add(env, t, nn_elem_name(elem));
    for (int64_t i = 0; i < n; i++) nn_text_printf(env, t, "%s%" PRId64, i == 0 ? "[" : ", ", dims[i]);
    if (n > 0) nn_text_add(env, t, "]");
}

void nn_text_real(struct nn_env *env, struct nn_text *t, double value, int digits, enum nn_style style) {
    if (isfinite(value))
        nn_text_printf(env, t, "%.*g", digits, value);
    else if (style == NN_JSON)
        nn_text_add(env, t, "null");
    else
        nn_text_add(env, t, isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
}

void nn_text_number(struct nn_env *env, struct nn_text *t, const void *at, int64_t elem, int64_t i, int digits,
                    enum nn_style style) {
    if (elem == NN_F32 || elem == NN_F64)
        nn_text_real(env, t, nn_value_at(at, elem, i), digits, style);
    else if (elem == NN_BOOL)
        nn_text_add(env, t, ((const uint8_t *)at)[i] ? "true" : "false");
    else if (elem == NN_I64)
        nn_text_printf(env, t, "%" PRId64, ((const int64_t *)at)[i]);
    else
        nn_text_printf(env, t, "%" PRId64, (int64_t)nn_value_at(at, elem, i));
}

/* A tensor without elements still has brackets, as many as its axes before the first of size 0 say: any number. Here they are not worth it. */
static bool all_brackets(const int64_t *dims, int64_t n) {
    enum { MOST_BRACKETS = 1000 };
    int64_t brackets = 1;
    if (nn_count(dims, n) != 0) return false;
    for (int64_t i = 0; i < n && dims[i] > 0; i++) {
        if (dims[i] > MOST_BRACKETS || (brackets *= dims[i]) > MOST_BRACKETS) return true;
    }
    return false;
}

void nn_text_tensor(struct nn_env *env, struct nn_text *t, const void *at, int64_t elem, const int64_t *dims, int64_t n,
                    int digits, enum nn_style style) {
    if (n == 0) {
        nn_text_number(env, t, at, elem, 0, digits, style);
        return;
    }
    if (all_brackets(dims, n)) {
        nn_text_add(env, t, style == NN_JSON ? "[]" : "[...]");
        return;
    }
    int64_t bytes = dims[0] > 1 ? nn_count(dims + 1, n - 1) * nn_elem_size(elem) : 0;
    nn_text_add(env, t, "[");
    for (int64_t i = 0; i < dims[0]; i++) {
        if (i > 0) nn_text_add(env, t, style == NN_JSON ? "," : ", ");
        nn_text_tensor(env, t, (const char *)at + i * bytes, elem, dims + 1, n - 1, digits, style);
    }
    nn_text_add(env, t, "]");
}
