/*
 * eval_product.c - the evaluator's contract and conv.
 *
 * Both are one nest: for every output a chain over the flattened reduced index, and each label moves by a fixed stride in each
 * operand. A convolution becomes such a nest once its first operand has been copied with its zeros written out (padding, and
 * between dilated elements), which is also what the definition says: these zeros are multiplied too.
 */
#include "eval_inside.h"

static int64_t tree_split(int64_t count) {
    int64_t m = 1;
    while (2 * m < count) m *= 2;
    return m;
}

#define REAL       float
#define FMA        fmaf
#define ROWS(name) name##_f32
#include "eval_rows.h"
#undef REAL
#undef FMA
#undef ROWS
#define REAL       double
#define FMA        fma
#define ROWS(name) name##_f64
#include "eval_rows.h"
#undef REAL
#undef FMA
#undef ROWS

/* ---- the nest ---- */

enum { MAX_LABELS = 2 * MAX_RANK };

typedef struct Loops {
    int n;
    int64_t dim[MAX_LABELS], a[MAX_LABELS], b[MAX_LABELS]; /* size, and strides in the operands (0: the label is not there) */
} Loops;

typedef struct Nest {
    Loops out; /* in the order of the result's axes, but for the last: */
    int64_t row, row_a, row_b;
    Loops reduced; /* in the order of the second operand's axes */
} Nest;

static void add_label(Loops *l, int64_t dim, int64_t a, int64_t b) {
    l->dim[l->n] = dim;
    l->a[l->n] = a;
    l->b[l->n++] = b;
}

static int64_t loops_count(const Loops *l) {
    int64_t n = 1;
    for (int i = 0; i < l->n; i++) n *= l->dim[i];
    return n;
}

/* The last label of the result runs along rows. */
static void split_row(Nest *nest) {
    nest->row = 1;
    nest->row_a = nest->row_b = 0;
    if (nest->out.n == 0) return;
    int last = --nest->out.n;
    nest->row = nest->out.dim[last];
    nest->row_a = nest->out.a[last];
    nest->row_b = nest->out.b[last];
}

/* Where the operands' elements of each step are, from those of an output on. */
typedef struct Steps {
    int64_t n, *a, *b;
} Steps;

static bool steps_of(const Loops *reduced, Steps *s) {
    int64_t index[MAX_LABELS] = {0};
    s->n = loops_count(reduced);
    s->a = malloc((size_t)(2 * s->n + 1) * sizeof *s->a);
    s->b = s->a + s->n;
    for (int64_t k = 0; k < s->n && s->a; k++) {
        s->a[k] = dot_index(reduced->n, index, reduced->a);
        s->b[k] = dot_index(reduced->n, index, reduced->b);
        index_next(reduced->n, reduced->dim, index);
    }
    return s->a != NULL;
}

/* One row of the result, from a and b at their first elements: pieces of SUM_CHAIN steps in room for all of them, then the tree.
 * Result: row 0 of `pieces`. */
static void row_chains(const Nest *nest, const Steps *s, Elem elem, const void *a, const void *b, void *pieces) {
    int64_t n = nest->row, count = s->n <= SUM_CHAIN ? 1 : (s->n + SUM_CHAIN - 1) / SUM_CHAIN;
    memset(pieces, 0, (size_t)(count * n * elem_size(elem)));
    for (int64_t p = 0; p < count; p++) {
        int64_t first = p * SUM_CHAIN, steps = s->n - first < SUM_CHAIN ? s->n - first : SUM_CHAIN;
        if (elem == F32)
            chain_f32(n, steps, a, s->a + first, nest->row_a, b, s->b + first, nest->row_b, (float *)pieces + p * n);
        else
            chain_f64(n, steps, a, s->a + first, nest->row_a, b, s->b + first, nest->row_b, (double *)pieces + p * n);
    }
    if (elem == F32)
        tree_f32(count, n, pieces);
    else
        tree_f64(count, n, pieces);
}

static bool run_real(Eval *e, const Op *op, const Nest *nest, const Tensor *a, const Tensor *b, Tensor *r) {
    int64_t index[MAX_LABELS] = {0}, size = elem_size(r->elem), rows = loops_count(&nest->out);
    Steps s;
    void *pieces = NULL;
    bool ok = steps_of(&nest->reduced, &s) && (pieces = malloc((size_t)((s.n / SUM_CHAIN + 1) * nest->row * size) + 1));
    for (int64_t i = 0; i < rows && nest->row > 0 && ok; i++) {
        const char *at_a = (const char *)a->data + size * dot_index(nest->out.n, index, nest->out.a);
        row_chains(nest, &s, r->elem, at_a, (const char *)b->data + size * dot_index(nest->out.n, index, nest->out.b), pieces);
        memcpy((char *)r->data + i * nest->row * size, pieces, (size_t)(nest->row * size));
        index_next(nest->out.n, nest->out.dim, index);
    }
    free(pieces);
    free(s.a);
    return ok || eval_no_memory(e, op, "there is no memory for a chain of %" PRId64 " products", s.n);
}

static void run_int(const Nest *nest, const Tensor *a, const Tensor *b, Tensor *r) {
    Loops out = nest->out;
    add_label(&out, nest->row, nest->row_a, nest->row_b);
    int64_t index[MAX_LABELS] = {0}, steps = loops_count(&nest->reduced);
    for (int64_t i = 0; i < r->count; i++) {
        int64_t at_a = dot_index(out.n, index, out.a), at_b = dot_index(out.n, index, out.b), k_index[MAX_LABELS] = {0};
        uint64_t sum = 0;
        for (int64_t k = 0; k < steps; k++) {
            sum += (uint64_t)int_at(a, at_a + dot_index(nest->reduced.n, k_index, nest->reduced.a)) *
                   (uint64_t)int_at(b, at_b + dot_index(nest->reduced.n, k_index, nest->reduced.b));
            index_next(nest->reduced.n, nest->reduced.dim, k_index);
        }
        int_put(r, i, (int64_t)sum);
        index_next(out.n, out.dim, index);
    }
}

/* ---- from specs to nests ---- */

/* The parts of "ab,bc->ac" as they stand: labels of the second operand and of the result. */
static const char *second_part(const char *spec) { return strchr(spec, ',') + 1; }
static const char *result_part(const char *spec) { return strstr(spec, "->") + 2; }

typedef struct Strided {
    const Tensor *t;
    int64_t stride[MAX_RANK];
} Strided;

static int64_t stride_of(const Strided *s, int axis) { return axis < 0 ? 0 : s->stride[axis]; }

/* Labels that are not windowed: out of the result's part, reduced of the second operand's that the result lacks. For a windowed
 * label w of conv: an output place moves the first operand by stride[w] elements, a kernel place by rhs_dilation[w]. `window` is
 * "" for contract. */
static Nest make_nest(const Op *op, const char *window, const Strided *a, const Strided *b, const Tensor *r) {
    Nest nest = {0};
    const char *spec = op_str(op, A_spec);
    const int64_t *stride = NULL, *rhs = NULL;
    if (*window) {
        op_ints(op, A_stride, &stride);
        op_ints(op, A_rhs_dilation, &rhs);
    }
    int ia, ib, ic;
    for (const char *l = result_part(spec); *l; l++) {
        spec_axes(spec, *l, &ia, &ib, &ic);
        const char *w = strchr(window, *l);
        if (w)
            add_label(&nest.out, r->dim[ic], stride_of(a, ia) * stride[w - window], 0);
        else
            add_label(&nest.out, r->dim[ic], stride_of(a, ia), stride_of(b, ib));
    }
    for (const char *l = second_part(spec); *l != '-'; l++) {
        spec_axes(spec, *l, &ia, &ib, &ic);
        const char *w = strchr(window, *l);
        if (w)
            add_label(&nest.reduced, b->t->dim[ib], stride_of(a, ia) * rhs[w - window], stride_of(b, ib));
        else if (ic < 0)
            add_label(&nest.reduced, b->t->dim[ib], stride_of(a, ia), stride_of(b, ib));
    }
    split_row(&nest);
    return nest;
}

static Tensor *tensor_shaped(Elem elem, int rank, const int64_t *dim) {
    Dim dims[MAX_RANK];
    for (int i = 0; i < rank; i++) dims[i] = (Dim){dim[i], false};
    return tensor_new(EVAL_F32, type_make(elem, rank, dims), 1);
}

/* A copy of x whose given axis runs along memory, so that rows are read in order: for speed alone, the values and the order of
 * the sum are the same. */
static Tensor *with_axis_last(const Tensor *x, int axis, Strided *s) {
    int64_t dim[MAX_RANK], from[MAX_RANK], index[MAX_RANK] = {0}, stride[MAX_RANK], to[MAX_RANK];
    int n = 0;
    strides_of(x, stride);
    for (int i = 0; i < x->rank; i++)
        if (i != axis) dim[n] = x->dim[i], from[n++] = stride[i];
    dim[n] = x->dim[axis], from[n++] = stride[axis];
    Tensor *r = tensor_shaped(x->elem, n, dim);
    if (!r) return NULL;
    for (int64_t i = 0; i < r->count; i++) {
        copy_at(r, i, x, dot_index(n, index, from));
        index_next(n, dim, index);
    }
    strides_of(r, to);
    for (int i = 0; i < x->rank; i++) s->stride[i] = to[i == axis ? n - 1 : i - (i > axis)];
    return r;
}

static bool run(Eval *e, const Op *op, const char *window, const Tensor *a, const Tensor *b) {
    Tensor *r = eval_out(e, op, 0);
    if (!r) return false;
    Strided sa = {.t = a}, sb = {.t = b};
    strides_of(a, sa.stride);
    strides_of(b, sb.stride);
    const char *spec = op_str(op, A_spec), *out = result_part(spec);
    int ia = -1, ib = -1, ic;
    if (*out) spec_axes(spec, out[strlen(out) - 1], &ia, &ib, &ic);
    bool windowed = *out && strchr(window, out[strlen(out) - 1]);
    Tensor *a1 = ia >= 0 && !windowed && sa.stride[ia] != 1 ? with_axis_last(a, ia, &sa) : NULL;
    Tensor *b1 = ib >= 0 && !windowed && sb.stride[ib] != 1 ? with_axis_last(b, ib, &sb) : NULL;
    Nest nest = make_nest(op, window, &sa, &sb, r);
    bool ok = true;
    if (elem_is_float(r->elem))
        ok = run_real(e, op, &nest, a1 ? a1 : a, b1 ? b1 : b, r);
    else
        run_int(&nest, a1 ? a1 : a, b1 ? b1 : b, r);
    tensor_release(a1);
    tensor_release(b1);
    return ok;
}

/* a, b: e.g. [b, i], [i, o] by "bi,io->bo" */
bool eval_contract(Eval *e, const Op *op) { return run(e, op, "", eval_in(e, op, 0), eval_in(e, op, 1)); }

/* The first operand of conv with its zeros: element x along a windowed axis lands at low + x * lhs_dilation of low + dilated size
 * + high places; negative low and high cut. NULL: no memory. */
static Tensor *with_zeros(const Op *op, const Tensor *x) {
    const char *spec = op_str(op, A_spec), *window = op_str(op, A_window);
    const int64_t *low, *high, *lhs;
    int64_t dim[MAX_RANK], first[MAX_RANK] = {0}, step[MAX_RANK], index[MAX_RANK] = {0}, to[MAX_RANK];
    op_ints(op, A_low, &low);
    op_ints(op, A_high, &high);
    op_ints(op, A_lhs_dilation, &lhs);
    for (int i = 0; i < x->rank; i++) dim[i] = x->dim[i], step[i] = 1;
    for (int w = 0; window[w]; w++) {
        int ia, ib, ic;
        spec_axes(spec, window[w], &ia, &ib, &ic);
        int64_t n = low[w] + (x->dim[ia] ? (x->dim[ia] - 1) * lhs[w] + 1 : 0) + high[w];
        dim[ia] = n < 0 ? 0 : n;
        first[ia] = low[w];
        step[ia] = lhs[w];
    }
    Tensor *r = tensor_shaped(x->elem, x->rank, dim);
    if (!r) return NULL;
    strides_of(r, to);
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = 0;
        bool inside = true;
        for (int k = 0; k < x->rank; k++) {
            int64_t place = first[k] + index[k] * step[k];
            inside &= place >= 0 && place < dim[k];
            at += place * to[k];
        }
        if (inside) copy_at(r, at, x, i);
        index_next(x->rank, x->dim, index);
    }
    return r;
}

/* a, b: e.g. [n, x, y, c], [x, y, c, d] by "nxyc,xycd->nxyd" */
bool eval_conv(Eval *e, const Op *op) {
    Tensor *a = with_zeros(op, eval_in(e, op, 0));
    if (!a) return eval_no_memory(e, op, "there is no memory for the first operand with its padding");
    bool ok = run(e, op, op_str(op, A_window), a, eval_in(e, op, 1));
    tensor_release(a);
    return ok;
}
