/*
 * eval_reduce.c - the evaluator's reductions, places of extremes, sorting.
 *
 * The element r of the flattened reduced index (reduced axes in increasing order, the last fastest) of output i is at base(i) +
 * offset(r): both are counted by walking over the kept and the reduced axes.
 */
#include "eval_inside.h"

/* ---- walking ---- */

typedef struct Axes {
    int n;
    int64_t dim[MAX_RANK], stride[MAX_RANK];
} Axes;

static void axes_add(Axes *a, int64_t dim, int64_t stride) {
    a->dim[a->n] = dim;
    a->stride[a->n++] = stride;
}

static int64_t axes_count(const Axes *a) {
    int64_t n = 1;
    for (int i = 0; i < a->n; i++) n *= a->dim[i];
    return n;
}

/* The offsets of all places of the axes in row-major order; NULL if there is no memory. */
static int64_t *axes_offsets(const Axes *a) {
    int64_t n = axes_count(a), index[MAX_RANK] = {0}, *at = malloc((size_t)(n + 1) * sizeof *at);
    for (int64_t i = 0; i < n && at; i++) {
        at[i] = dot_index(a->n, index, a->stride);
        index_next(a->n, a->dim, index);
    }
    return at;
}

typedef struct Reduction {
    const Tensor *x;
    Tensor *r;
    int64_t n;     /* elements of one output */
    int64_t *base; /* by output */
    int64_t *at;   /* by reduced index */
    bool last;     /* the operand's last axis is reduced */
} Reduction;

static bool reduction_begin(Eval *e, const Op *op, int64_t n_axes, const int64_t *axes, Reduction *d) {
    Axes kept = {0}, gone = {0};
    int64_t stride[MAX_RANK];
    *d = (Reduction){.x = eval_in(e, op, 0), .r = eval_out(e, op, 0)};
    if (!d->r) return false;
    strides_of(d->x, stride);
    for (int i = 0, k = 0; i < d->x->rank; i++) {
        bool reduced = k < n_axes && axes[k] == i;
        k += reduced;
        axes_add(reduced ? &gone : &kept, d->x->dim[i], stride[i]);
        d->last = reduced;
    }
    d->n = axes_count(&gone);
    d->base = axes_offsets(&kept);
    d->at = axes_offsets(&gone);
    return (d->base && d->at) || eval_no_memory(e, op, "there is no memory for a reduction");
}

static void reduction_end(Reduction *d) {
    free(d->base);
    free(d->at);
}

/* ---- sum ---- */

/* One piece of at most SUM_CHAIN elements that begins at r = first. In F32 every sum below is rounded to f32, in F64 to f64; the
 * order is the same. */
static double piece_f32(const Reduction *d, const float *x, int64_t first, int64_t end) {
    if (!d->last) {
        float acc = 0;
        for (int64_t r = first; r < end; r++) acc += x[d->at[r]];
        return acc;
    }
    float lane[SUM_LANES] = {0};
    for (int64_t r = first; r < end; r++) lane[r % SUM_LANES] += x[d->at[r]];
    for (int half = SUM_LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++) lane[l] += lane[l + half];
    return lane[0];
}

static double piece_f64(const Reduction *d, const double *x, int64_t first, int64_t end) {
    if (!d->last) {
        double acc = 0;
        for (int64_t r = first; r < end; r++) acc += x[d->at[r]];
        return acc;
    }
    double lane[SUM_LANES] = {0};
    for (int64_t r = first; r < end; r++) lane[r % SUM_LANES] += x[d->at[r]];
    for (int half = SUM_LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++) lane[l] += lane[l + half];
    return lane[0];
}

/* The sum of pieces first .. first + count - 1 of output i by the pairwise tree. */
static double sum_pieces(const Reduction *d, int64_t i, int64_t first, int64_t count) {
    if (count == 1) {
        int64_t begin = first * SUM_CHAIN, end = begin + SUM_CHAIN < d->n ? begin + SUM_CHAIN : d->n;
        if (d->x->elem == F32) return piece_f32(d, (const float *)d->x->data + d->base[i], begin, end);
        return piece_f64(d, (const double *)d->x->data + d->base[i], begin, end);
    }
    int64_t m = 1;
    while (2 * m < count) m *= 2;
    double a = sum_pieces(d, i, first, m), b = sum_pieces(d, i, first + m, count - m);
    return d->x->elem == F32 ? (double)((float)a + (float)b) : a + b;
}

/* x: [k, r] -> [k], k and r standing for any axes in any order. */
bool eval_sum(Eval *e, const Op *op) {
    const int64_t *axes;
    int64_t n_axes = op_ints(op, A_axes, &axes);
    Reduction d;
    if (!reduction_begin(e, op, n_axes, axes, &d)) return reduction_end(&d), false;
    int64_t pieces = d.n <= SUM_CHAIN ? 1 : (d.n + SUM_CHAIN - 1) / SUM_CHAIN;
    for (int64_t i = 0; i < d.r->count; i++) {
        if (elem_is_float(d.x->elem)) {
            real_put(d.r, i, sum_pieces(&d, i, 0, pieces));
        } else {
            uint64_t sum = 0;
            for (int64_t r = 0; r < d.n; r++) sum += (uint64_t)int_at(d.x, d.base[i] + d.at[r]);
            int_put(d.r, i, (int64_t)sum);
        }
    }
    reduction_end(&d);
    return true;
}

/* ---- products, extremes, truth ---- */

/* Is v taken instead of best, v coming later? NaN once taken stays. */
static bool beats(bool largest, double v, double best) {
    if (isnan(best)) return false;
    return isnan(v) || (largest ? v > best : v < best);
}

static int64_t extreme_at(const Reduction *d, int64_t i, bool largest) {
    int64_t best = 0;
    for (int64_t r = 1; r < d->n; r++) {
        int64_t v = d->base[i] + d->at[r], b = d->base[i] + d->at[best];
        bool better;
        if (elem_is_float(d->x->elem))
            better = beats(largest, real_at(d->x, v), real_at(d->x, b));
        else
            better = largest ? int_at(d->x, v) > int_at(d->x, b) : int_at(d->x, v) < int_at(d->x, b);
        if (better) best = r;
    }
    return best;
}

static void product(const Reduction *d, int64_t i) {
    float f = 1;
    double g = 1;
    uint64_t u = 1;
    for (int64_t r = 0; r < d->n; r++) {
        int64_t k = d->base[i] + d->at[r];
        if (d->x->elem == F32)
            f *= ((const float *)d->x->data)[k];
        else if (d->x->elem == F64)
            g *= ((const double *)d->x->data)[k];
        else
            u *= (uint64_t)int_at(d->x, k);
    }
    if (elem_is_float(d->x->elem))
        real_put(d->r, i, d->x->elem == F32 ? f : g);
    else
        int_put(d->r, i, (int64_t)u);
}

static void truth(const Reduction *d, int64_t i, bool any) {
    bool found = false;
    for (int64_t r = 0; r < d->n; r++) found |= (int_at(d->x, d->base[i] + d->at[r]) != 0) == any;
    int_put(d->r, i, found == any);
}

bool eval_reduce(Eval *e, const Op *op) {
    const int64_t *axes;
    int64_t n_axes = op_ints(op, A_axes, &axes);
    Reduction d;
    if (!reduction_begin(e, op, n_axes, axes, &d)) return reduction_end(&d), false;
    for (int64_t i = 0; i < d.r->count; i++) {
        if (op->code == OP_prod)
            product(&d, i);
        else if (op->code == OP_any || op->code == OP_all)
            truth(&d, i, op->code == OP_any);
        else
            copy_at(d.r, i, d.x, d.base[i] + d.at[extreme_at(&d, i, op->code == OP_reduce_max)]);
    }
    reduction_end(&d);
    return true;
}

bool eval_arg(Eval *e, const Op *op) {
    int64_t axis = op_int(op, A_axis);
    Reduction d;
    if (!reduction_begin(e, op, 1, &axis, &d)) return reduction_end(&d), false;
    for (int64_t i = 0; i < d.r->count; i++) int_put(d.r, i, extreme_at(&d, i, op->code == OP_argmax));
    reduction_end(&d);
    return true;
}

/* ---- sorting ---- */

/* Does element v (which comes later in x) stand before element w in the order? NaN stands last, falling it stands first. */
static bool before(const Tensor *x, int64_t v, int64_t w, bool falling) {
    if (!elem_is_float(x->elem)) return falling ? int_at(x, v) > int_at(x, w) : int_at(x, v) < int_at(x, w);
    double a = real_at(x, v), b = real_at(x, w);
    if (isnan(a) || isnan(b)) return falling ? isnan(a) && !isnan(b) : !isnan(a);
    return falling ? a > b : a < b;
}

/* Stable merge sort of the places order[0..n) of elements first + place * stride; `room` has n places too. */
static void sort_places(const Tensor *x, int64_t first, int64_t stride, bool falling, int64_t *order, int64_t n, int64_t *room) {
    if (n < 2) return;
    int64_t half = n / 2, i = 0, j = half;
    sort_places(x, first, stride, falling, order, half, room);
    sort_places(x, first, stride, falling, order + half, n - half, room);
    for (int64_t k = 0; k < n; k++) {
        bool right = i == half || (j < n && before(x, first + order[j] * stride, first + order[i] * stride, falling));
        room[k] = right ? order[j++] : order[i++];
    }
    memcpy(order, room, (size_t)n * sizeof *order);
}

/* x: [o, n, s] -> values and i32 places, [o, keep, s]. */
static bool sort_along(Eval *e, const Op *op, int64_t axis, int64_t keep, bool falling) {
    const Tensor *x = eval_in(e, op, 0);
    Tensor *values = eval_out(e, op, 0), *places = values ? eval_out(e, op, 1) : NULL;
    int64_t n = x->dim[axis], stride = 1, *order = malloc(2 * (size_t)(n + 1) * sizeof *order);
    if (!order || !places) return free(order), eval_no_memory(e, op, "there is no memory to sort %" PRId64 " elements", n);
    for (int i = (int)axis + 1; i < x->rank; i++) stride *= x->dim[i];
    for (int64_t line = 0; line < (n ? x->count / n : 0); line++) {
        int64_t o = line / stride, s = line % stride;
        for (int64_t k = 0; k < n; k++) order[k] = k;
        sort_places(x, o * n * stride + s, stride, falling, order, n, order + n);
        for (int64_t k = 0; k < keep; k++) {
            copy_at(values, (o * keep + k) * stride + s, x, (o * n + order[k]) * stride + s);
            int_put(places, (o * keep + k) * stride + s, order[k]);
        }
    }
    free(order);
    return true;
}

bool eval_sort(Eval *e, const Op *op) {
    int64_t axis = op_int(op, A_axis);
    return sort_along(e, op, axis, eval_in(e, op, 0)->dim[axis], false);
}

/* NaN counts as larger than all numbers, as in sort. */
bool eval_top_k(Eval *e, const Op *op) { return sort_along(e, op, eval_in(e, op, 0)->rank - 1, op_int(op, A_k), true); }
