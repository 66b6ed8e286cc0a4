/*
 * eval_shape.c - the evaluator's ops that move elements about. Each runs through its result (or its operand, where the operand's
 * elements are spread) in row-major order and says for every index where the element comes from.
 */
#include "eval_inside.h"

/* Fills r from x: element `index` of r is x's at first + index . stride. */
static void fill_strided(Tensor *r, const Tensor *x, int64_t first, const int64_t *stride) {
    int64_t index[MAX_RANK] = {0};
    for (int64_t i = 0; i < r->count; i++) {
        copy_at(r, i, x, first + dot_index(r->rank, index, stride));
        index_next(r->rank, r->dim, index);
    }
}

/* x -> r, operand axis i at result axis axes[i]; sizes of 1 are repeated, and so is x along all other axes. */
bool eval_broadcast(Eval *e, const Op *op) {
    const Tensor *x = eval_in(e, op, 0);
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    const int64_t *axes;
    int64_t from[MAX_RANK], stride[MAX_RANK] = {0};
    op_ints(op, A_axes, &axes);
    strides_of(x, from);
    for (int i = 0; i < x->rank; i++)
        if (x->dim[i] != 1) stride[axes[i]] = from[i];
    fill_strided(r, x, 0, stride);
    return true;
}

bool eval_reshape(Eval *e, const Op *op) {
    const Tensor *x = eval_in(e, op, 0);
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    if (r->count != x->count) bug("a reshape of %" PRId64 " elements to %" PRId64, x->count, r->count);
    memcpy(r->data, x->data, (size_t)x->count * (size_t)elem_size(x->elem));
    return true;
}

bool eval_transpose(Eval *e, const Op *op) {
    const Tensor *x = eval_in(e, op, 0);
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    const int64_t *perm;
    int64_t from[MAX_RANK], stride[MAX_RANK];
    op_ints(op, A_perm, &perm);
    strides_of(x, from);
    for (int i = 0; i < r->rank; i++) stride[i] = from[perm[i]];
    fill_strided(r, x, 0, stride);
    return true;
}

bool eval_slice(Eval *e, const Op *op) {
    const Tensor *x = eval_in(e, op, 0);
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    const int64_t *start, *step;
    int64_t from[MAX_RANK], stride[MAX_RANK], first = 0;
    op_ints(op, A_start, &start);
    op_ints(op, A_step, &step);
    strides_of(x, from);
    for (int i = 0; i < r->rank; i++) {
        stride[i] = from[i] * step[i];
        first += from[i] * start[i];
    }
    fill_strided(r, x, first, stride);
    return true;
}

/* x, value: scalar -> element `index` of x lands at low + index * (interior + 1) along each axis; what lands outside is lost. */
bool eval_pad(Eval *e, const Op *op) {
    const Tensor *x = eval_in(e, op, 0), *value = eval_in(e, op, 1);
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    const int64_t *low, *interior;
    int64_t to[MAX_RANK], index[MAX_RANK] = {0};
    op_ints(op, A_low, &low);
    op_ints(op, A_interior, &interior);
    strides_of(r, to);
    for (int64_t i = 0; i < r->count; i++) copy_at(r, i, value, 0);
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = 0;
        bool inside = true;
        for (int k = 0; k < x->rank; k++) {
            int64_t place = low[k] + index[k] * (interior[k] + 1);
            inside &= place >= 0 && place < r->dim[k];
            at += place * to[k];
        }
        if (inside) copy_at(r, at, x, i);
        index_next(x->rank, x->dim, index);
    }
    return true;
}

bool eval_concat(Eval *e, const Op *op) {
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    int64_t axis = op_int(op, A_axis), to[MAX_RANK], done = 0;
    strides_of(r, to);
    for (int k = 0; k < op->n_in; k++) {
        const Tensor *x = eval_in(e, op, k);
        int64_t index[MAX_RANK] = {0};
        for (int64_t i = 0; i < x->count; i++) {
            copy_at(r, done * to[axis] + dot_index(r->rank, index, to), x, i);
            index_next(x->rank, x->dim, index);
        }
        done += x->dim[axis];
    }
    return true;
}

bool eval_reverse(Eval *e, const Op *op) {
    const Tensor *x = eval_in(e, op, 0);
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    const int64_t *axes;
    int64_t n = op_ints(op, A_axes, &axes), stride[MAX_RANK], first = 0;
    strides_of(x, stride);
    for (int64_t k = 0; k < n; k++) {
        first += stride[axes[k]] * (x->dim[axes[k]] - 1);
        stride[axes[k]] = -stride[axes[k]];
    }
    fill_strided(r, x, first, stride);
    return true;
}

/* ---- indices ---- */

static bool check_index(Eval *e, const Op *op, int64_t v, int64_t n) {
    if (v >= 0 && v < n) return true;
    eval_fault(e, op, v, "index %" PRId64 " is outside 0..%" PRId64, v, n);
    e->fault->bound = n;
    return false;
}

/* x: [o, n, r], i: [j] -> [o, j, r] with o, j, r standing for any number of axes each. */
bool eval_take(Eval *e, const Op *op) {
    const Tensor *x = eval_in(e, op, 0), *index = eval_in(e, op, 1);
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    int64_t axis = op_int(op, A_axis), n = x->dim[axis], inner = 1;
    for (int k = (int)axis + 1; k < x->rank; k++) inner *= x->dim[k];
    for (int64_t j = 0; j < index->count; j++)
        if (!check_index(e, op, int_at(index, j), n)) return false;
    for (int64_t i = 0; i < r->count; i++) {
        int64_t o = i / inner / index->count, j = i / inner % index->count;
        copy_at(r, i, x, (o * n + int_at(index, j)) * inner + i % inner);
    }
    return true;
}

static void add_at(Tensor *r, int64_t i, const Tensor *y, int64_t j) {
    if (r->elem == F32)
        ((float *)r->data)[i] += ((const float *)y->data)[j];
    else if (r->elem == F64)
        ((double *)r->data)[i] += ((const double *)y->data)[j];
    else
        int_put(r, i, (int64_t)((uint64_t)int_at(r, i) + (uint64_t)int_at(y, j)));
}

/* y: [o, j, r], i: [j] -> [o, n, r]: from +0, added in order of j. Each element of the result meets its addends in that order,
 * because o and r are fixed for it. */
bool eval_take_add(Eval *e, const Op *op) {
    const Tensor *y = eval_in(e, op, 0), *index = eval_in(e, op, 1);
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    int64_t axis = op_int(op, A_axis), n = r->dim[axis], inner = 1;
    for (int k = (int)axis + 1; k < r->rank; k++) inner *= r->dim[k];
    for (int64_t j = 0; j < index->count; j++)
        if (!check_index(e, op, int_at(index, j), n)) return false;
    for (int64_t i = 0; i < y->count; i++) {
        int64_t o = i / inner / index->count, j = i / inner % index->count;
        add_at(r, (o * n + int_at(index, j)) * inner + i % inner, y, i);
    }
    return true;
}

/* x: [o, n, r], i: [o, m, r] -> [o, m, r]. */
bool eval_gather(Eval *e, const Op *op) {
    const Tensor *x = eval_in(e, op, 0), *index = eval_in(e, op, 1);
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    int64_t axis = op_int(op, A_axis), n = x->dim[axis], m = index->dim[axis], inner = 1;
    for (int k = (int)axis + 1; k < x->rank; k++) inner *= x->dim[k];
    for (int64_t i = 0; i < r->count; i++) {
        int64_t v = int_at(index, i);
        if (!check_index(e, op, v, n)) return false;
        copy_at(r, i, x, (i / inner / m * n + v) * inner + i % inner);
    }
    return true;
}

/* x: [o, n, r], y, i: [o, m, r] -> [o, n, r]: from x, added in row-major order of i. */
bool eval_scatter_add(Eval *e, const Op *op) {
    const Tensor *x = eval_in(e, op, 0), *y = eval_in(e, op, 1), *index = eval_in(e, op, 2);
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    memcpy(r->data, x->data, (size_t)x->count * (size_t)elem_size(x->elem));
    int64_t axis = op_int(op, A_axis), n = r->dim[axis], m = index->dim[axis], inner = 1;
    for (int k = (int)axis + 1; k < r->rank; k++) inner *= r->dim[k];
    for (int64_t i = 0; i < y->count; i++) {
        int64_t v = int_at(index, i);
        if (!check_index(e, op, v, n)) return false;
        add_at(r, (i / inner / m * n + v) * inner + i % inner, y, i);
    }
    return true;
}

/* Where the slice of the given sizes begins in x, from operands first, first + 1, ... along axes. */
static bool start_of(Eval *e, const Op *op, int first, const Tensor *x, const int64_t *sizes, int64_t *at) {
    const int64_t *axes;
    int64_t n = op_ints(op, A_axes, &axes), stride[MAX_RANK];
    strides_of(x, stride);
    *at = 0;
    for (int64_t k = 0; k < n; k++) {
        int64_t v = int_at(eval_in(e, op, first + (int)k), 0), room = x->dim[axes[k]] - sizes[k];
        if (v < 0 || v > room) {
            eval_fault(e, op, v, "index %" PRId64 " is outside 0..%" PRId64 " (%" PRId64 " of %" PRId64 " elements)", v, room + 1,
                       sizes[k], x->dim[axes[k]]);
            e->fault->bound = room + 1;
            return false;
        }
        *at += v * stride[axes[k]];
    }
    return true;
}

/* x, i..: scalars -> x[.., i : i + size, ..] */
bool eval_dynamic_slice(Eval *e, const Op *op) {
    const Tensor *x = eval_in(e, op, 0);
    const int64_t *sizes;
    int64_t first, stride[MAX_RANK];
    op_ints(op, A_sizes, &sizes);
    if (!start_of(e, op, 1, x, sizes, &first)) return false;
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    strides_of(x, stride);
    fill_strided(r, x, first, stride);
    return true;
}

/* x, u, i..: scalars -> x with u from i on. */
bool eval_dynamic_update(Eval *e, const Op *op) {
    const Tensor *x = eval_in(e, op, 0), *u = eval_in(e, op, 1);
    const int64_t *axes;
    int64_t n = op_ints(op, A_axes, &axes), first, sizes[MAX_RANK], stride[MAX_RANK], index[MAX_RANK] = {0};
    for (int64_t k = 0; k < n; k++) sizes[k] = u->dim[axes[k]];
    if (!start_of(e, op, 2, x, sizes, &first)) return false;
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    memcpy(r->data, x->data, (size_t)x->count * (size_t)elem_size(x->elem));
    strides_of(x, stride);
    for (int64_t i = 0; i < u->count; i++) {
        copy_at(r, first + dot_index(u->rank, index, stride), u, i);
        index_next(u->rank, u->dim, index);
    }
    return true;
}
