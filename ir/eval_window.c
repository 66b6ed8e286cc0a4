/*
 * eval_window.c - the evaluator's windows over the axes between the first and the last: x: [N, d.., C] -> [N, d'.., C]. A
 * window's places are visited in row-major order.
 */
#include "eval_inside.h"

typedef struct Window {
    const Tensor *x;
    int n; /* windowed axes: 1 .. n */
    const int64_t *size, *stride, *low;
    int64_t from[MAX_RANK]; /* strides of x */
} Window;

static Window window_of(const Op *op, const Tensor *x) {
    Window w = {.x = x, .n = x->rank - 2};
    op_ints(op, A_size, &w.size);
    op_ints(op, A_stride, &w.stride);
    op_ints(op, A_low, &w.low);
    strides_of(x, w.from);
    return w;
}

/* Where place `k` of the window of output `out` is in x; -1 for padding. */
static int64_t window_place(const Window *w, const int64_t *out, const int64_t *k) {
    int last = w->n + 1;
    int64_t at = out[0] * w->from[0] + out[last] * w->from[last];
    for (int i = 0; i < w->n; i++) {
        int64_t place = out[i + 1] * w->stride[i] + k[i] - w->low[i];
        if (place < 0 || place >= w->x->dim[i + 1]) return -1;
        at += place * w->from[i + 1];
    }
    return at;
}

/* The place in x of the window's first maximum, NaN counting as one; the type rule sees to it that no window is all padding ...
 */
static int64_t window_first_max(const Window *w, const int64_t *out) {
    int64_t k[MAX_RANK] = {0}, best = -1;
    do {
        int64_t at = window_place(w, out, k);
        if (at < 0) continue;
        if (best < 0) {
            best = at;
        } else if (!elem_is_float(w->x->elem)) {
            if (int_at(w->x, at) > int_at(w->x, best)) best = at;
        } else if (!isnan(real_at(w->x, best)) && !(real_at(w->x, at) <= real_at(w->x, best))) {
            best = at;
        }
    } while (index_next(w->n, w->size, k));
    if (best < 0) bug("a window of padding alone"); /* ... so this is not reached */
    return best;
}

static bool picked(Eval *e, const Op *op, const Tensor *x, const Tensor *v) {
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    Window w = window_of(op, x);
    int64_t out[MAX_RANK] = {0};
    for (int64_t i = 0; i < r->count; i++) {
        copy_at(r, i, v, window_first_max(&w, out));
        index_next(r->rank, r->dim, out);
    }
    return true;
}

bool eval_window_max(Eval *e, const Op *op) { return picked(e, op, eval_in(e, op, 0), eval_in(e, op, 0)); }

/* v like x: v at the place of each window's first maximum of x. */
bool eval_window_pick(Eval *e, const Op *op) { return picked(e, op, eval_in(e, op, 0), eval_in(e, op, 1)); }

/* One chain from +0 (padding adds nothing). */
bool eval_window_sum(Eval *e, const Op *op) {
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    Window w = window_of(op, eval_in(e, op, 0));
    int64_t out[MAX_RANK] = {0};
    for (int64_t i = 0; i < r->count; i++) {
        int64_t k[MAX_RANK] = {0}, at;
        float f = 0;
        double g = 0;
        uint64_t u = 0;
        do {
            if ((at = window_place(&w, out, k)) < 0) continue;
            if (r->elem == F32)
                f += ((const float *)w.x->data)[at];
            else if (r->elem == F64)
                g += ((const double *)w.x->data)[at];
            else
                u += (uint64_t)int_at(w.x, at);
        } while (index_next(w.n, w.size, k));
        if (elem_is_float(r->elem))
            real_put(r, i, r->elem == F32 ? f : g);
        else
            int_put(r, i, (int64_t)u);
        index_next(r->rank, r->dim, out);
    }
    return true;
}

/* x: [N, d.., C], y: [N, d'.., C] -> like x: zeros, and y added, window by window in row-major order, where the window's first
 * maximum is. */
bool eval_window_put(Eval *e, const Op *op) {
    const Tensor *x = eval_in(e, op, 0), *y = eval_in(e, op, 1);
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    Window w = window_of(op, x);
    int64_t out[MAX_RANK] = {0};
    for (int64_t i = 0; i < y->count; i++) {
        int64_t at = window_first_max(&w, out);
        if (r->elem == F32)
            ((float *)r->data)[at] += ((const float *)y->data)[i];
        else if (r->elem == F64)
            ((double *)r->data)[at] += ((const double *)y->data)[i];
        else
            int_put(r, at, (int64_t)((uint64_t)int_at(r, at) + (uint64_t)int_at(y, i)));
        index_next(y->rank, y->dim, out);
    }
    return true;
}
