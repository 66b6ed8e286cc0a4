/*
 * grad_contract.c - gradient rules of products: contract, conv, and the windows of pooling.
 *
 * All are linear in each operand, and the gradients are ops of the same family: a product's gradients are products with labels
 * exchanged, a convolution's are convolutions with windows exchanged, so that the second derivative needs nothing new.
 */
#include "grad.h"
#include "spec.h"

/* y = sum a b over the labels that y lacks:  da = sum dy b over those that a lacks, db = sum a dy over those that b lacks. Every
 * label of an operand stands in the other one or in y (the type rule sees to that), so that each gradient has all its labels from
 * its two factors. */
void grad_contract(GradCtx *c, Op *op, Value *const *dy) {
    Spec s = read_spec(op);
    Value *a = op->in[0], *b = op->in[1];
    if (gr_wanted(c, a)) gr_give(c, a, g_contract(&c->b, intern_printf("%s,%s->%s", s.out, s.b, s.a), dy[0], b));
    if (gr_wanted(c, b)) gr_give(c, b, g_contract(&c->b, intern_printf("%s,%s->%s", s.a, s.out, s.b), a, dy[0]));
}

/* ---- conv ---- */

/* One windowed label: the index p in a, o in the output, k in the kernel b are joined by  A p + low = S o + R k, where A, S, R
 * are lhs_dilation, stride, rhs_dilation; sizes n, m, w. */
typedef struct Window {
    int64_t A, S, R, low, n, m, w;
} Window;

enum { MAX_WINDOWS = MAX_RANK };

static int64_t size_of(const char *labels, char label, const Value *v) { return v->type->dim[strchr(labels, label) - labels].n; }

static int read_windows(const Op *op, const Spec *s, Window *win) {
    const int64_t *stride, *low, *lhs, *rhs;
    op_ints(op, A_stride, &stride);
    op_ints(op, A_low, &low);
    op_ints(op, A_lhs_dilation, &lhs);
    op_ints(op, A_rhs_dilation, &rhs);
    const char *labels = op_str(op, A_window);
    for (int i = 0; labels[i]; i++)
        win[i] = (Window){lhs[i],
                          stride[i],
                          rhs[i],
                          low[i],
                          size_of(s->a, labels[i], op->in[0]),
                          size_of(s->out, labels[i], op->out[0]),
                          size_of(s->b, labels[i], op->in[1])};
    return (int)strlen(labels);
}

static int64_t span(int64_t n, int64_t dilation) { return n ? (n - 1) * dilation + 1 : 0; }

/* A conv that must give outputs of size win[i].m: the padding at the high end is what that takes. */
static Value *make_conv(GradCtx *c, const char *spec, const char *labels, const Window *win, Value *a, Value *b) {
    int64_t stride[MAX_WINDOWS], low[MAX_WINDOWS], high[MAX_WINDOWS], lhs[MAX_WINDOWS], rhs[MAX_WINDOWS];
    int n = (int)strlen(labels);
    for (int i = 0; i < n; i++) {
        stride[i] = win[i].S;
        low[i] = win[i].low;
        lhs[i] = win[i].A;
        rhs[i] = win[i].R;
        high[i] = (win[i].m - 1) * stride[i] + span(win[i].w, rhs[i]) - low[i] - span(win[i].n, lhs[i]);
    }
    Attr attrs[] = {attr_s(A_spec, spec),
                    attr_s(A_window, labels),
                    attr_ints(c->arena, A_stride, stride, n),
                    attr_ints(c->arena, A_low, low, n),
                    attr_ints(c->arena, A_high, high, n),
                    attr_ints(c->arena, A_lhs_dilation, lhs, n),
                    attr_ints(c->arena, A_rhs_dilation, rhs, n)};
    return op_make(&c->b, OP_conv, 2, (Value *[]){a, b}, 7, attrs, NULL);
}

/* b backwards along its windowed labels; an axis of one element is the same both ways. */
static Value *flip(GradCtx *c, Value *b, const char *b_labels, const char *windowed) {
    int64_t axes[MAX_RANK];
    int n = 0;
    for (int i = 0; b_labels[i]; i++)
        if (strchr(windowed, b_labels[i]) && b->type->dim[i].n != 1) axes[n++] = i;
    if (n == 0) return b;
    Attr attr = attr_ints(c->arena, A_axes, axes, n);
    return op_make(&c->b, OP_reverse, 1, &b, 1, &attr, NULL);
}

/*
 * y[o] = sum over k of a[p] b[k]  with  A p + low = S o + R k  for each windowed label, other labels as in contract.
 *
 *   da[p] = sum over k of dy[o] b[k]:  with k = w - 1 - k' the relation reads  S o + (R (w - 1) - low) = A p + R k': a conv of
 * dy, dilated by S, with b backwards, at stride A. db[k] = sum over o of a[p] dy[o]:  A p + low = R k + S o: a conv of a with dy
 * as its kernel, dilated by S, at stride R.
 *
 * Where the stride does not divide, the last elements of a were never read: the padding at the high end comes out larger (da) or
 * negative (db).
 */
void grad_conv(GradCtx *c, Op *op, Value *const *dy) {
    Spec s = read_spec(op);
    const char *labels = op_str(op, A_window);
    Window win[MAX_WINDOWS], back[MAX_WINDOWS];
    int n = read_windows(op, &s, win);
    if (gr_wanted(c, op->in[0])) {
        for (int i = 0; i < n; i++) {
            Window w = win[i];
            back[i] = (Window){.A = w.S, .S = w.A, .R = w.R, .low = w.R * (w.w - 1) - w.low, .n = w.m, .m = w.n, .w = w.w};
        }
        Value *flipped = flip(c, op->in[1], s.b, labels);
        gr_give(c, op->in[0], make_conv(c, intern_printf("%s,%s->%s", s.out, s.b, s.a), labels, back, dy[0], flipped));
    }
    if (gr_wanted(c, op->in[1])) {
        for (int i = 0; i < n; i++) {
            Window w = win[i];
            back[i] = (Window){.A = w.A, .S = w.R, .R = w.S, .low = w.low, .n = w.n, .m = w.w, .w = w.m};
        }
        gr_give(c, op->in[1], make_conv(c, intern_printf("%s,%s->%s", s.a, s.out, s.b), labels, back, op->in[0], dy[0]));
    }
}

/* ---- windows over the axes between the first and the last ---- */

static Value *window_op(GradCtx *c, OpCode code, const Op *like, Value *x, Value *v) {
    return op_make(&c->b, code, v ? 2 : 1, (Value *[]){x, v}, like->n_attrs, like->attrs, NULL);
}

/* y[o] = max over the window of x:  dx = dy at the first maximum of each window */
void grad_window_max(GradCtx *c, Op *op, Value *const *dy) {
    gr_give(c, op->in[0], window_op(c, OP_window_put, op, op->in[0], dy[0]));
}

/* z[p] = sum of y[o] over the windows whose first maximum of x is p:  dy[o] = dz there; x only says where, so dx = 0 */
void grad_window_put(GradCtx *c, Op *op, Value *const *dy) {
    if (gr_wanted(c, op->in[1])) gr_give(c, op->in[1], window_op(c, OP_window_pick, op, op->in[0], dy[0]));
}

/* y[o] = v at the first maximum of x in window o:  dv = dy put there, dx = 0 */
void grad_window_pick(GradCtx *c, Op *op, Value *const *dy) {
    if (gr_wanted(c, op->in[1])) gr_give(c, op->in[1], window_op(c, OP_window_put, op, op->in[0], dy[0]));
}

/* dx where windows neither overlap nor leave gaps: each dy repeated over its window, then cut or filled up to the size of x. */
static Value *spread_windows(GradCtx *c, Value *dy, const Type *x, const int64_t *size, const int64_t *low) {
    int n = x->rank - 2, rank = 0;
    Dim apart[2 * MAX_RANK];
    int64_t axes[MAX_RANK];
    for (int i = 0; i < x->rank; i++) {
        bool windowed = i > 0 && i <= n;
        axes[i] = rank;
        apart[rank++] = dy->type->dim[i];
        if (windowed) apart[rank++] = (Dim){size[i - 1], false};
    }
    Value *g = g_broadcast(&c->b, dy, rank, apart, axes);
    Dim joined[MAX_RANK];
    int64_t cut_low[MAX_RANK] = {0}, cut_high[MAX_RANK] = {0}, interior[MAX_RANK] = {0};
    bool exact = true;
    for (int i = 0; i < x->rank; i++) {
        joined[i] = dy->type->dim[i];
        if (i == 0 || i > n) continue;
        joined[i].n *= size[i - 1];
        cut_low[i] = -low[i - 1];
        cut_high[i] = x->dim[i].n - joined[i].n + low[i - 1];
        exact &= cut_low[i] == 0 && cut_high[i] == 0;
    }
    g = g_reshape(&c->b, g, x->rank, joined);
    if (exact) return g;
    Value *zero = g_constant(&c->b, type_scalar(x->elem), 0);
    Attr attrs[] = {attr_ints(c->arena, A_low, cut_low, x->rank), attr_ints(c->arena, A_high, cut_high, x->rank),
                    attr_ints(c->arena, A_interior, interior, x->rank)};
    return op_make(&c->b, OP_pad, 2, (Value *[]){g, zero}, 3, attrs, NULL);
}

/*
 * y[o] = sum of x[p] over S o <= p + low < S o + w:  dx[p] = sum of dy[o] over the windows that hold p. With dy dilated by S that
 * is the sum over the w places  p + low - w + 1 .. p + low:  a window_sum at stride 1 over dy padded by w - 1 - low.
 */
void grad_window_sum(GradCtx *c, Op *op, Value *const *dy) {
    const Type *x = op->in[0]->type;
    const int64_t *size, *stride, *low;
    int64_t n = op_ints(op, A_size, &size);
    op_ints(op, A_stride, &stride);
    op_ints(op, A_low, &low);
    bool apart = x->rank + n <= MAX_RANK;
    for (int64_t i = 0; i < n; i++) apart &= size[i] == stride[i];
    if (apart) {
        gr_give(c, op->in[0], spread_windows(c, dy[0], x, size, low));
        return;
    }
    int64_t pad_low[MAX_RANK] = {0}, pad_high[MAX_RANK] = {0}, interior[MAX_RANK] = {0}, one[MAX_RANK], none[MAX_RANK] = {0};
    for (int64_t i = 0; i < n; i++) {
        one[i] = 1;
        interior[i + 1] = stride[i] - 1;
        pad_low[i + 1] = size[i] - 1 - low[i];
        pad_high[i + 1] = x->dim[i + 1].n + size[i] - 1 - pad_low[i + 1] - span(dy[0]->type->dim[i + 1].n, stride[i]);
    }
    Value *zero = g_constant(&c->b, type_scalar(x->elem), 0);
    Attr pads[] = {attr_ints(c->arena, A_low, pad_low, x->rank), attr_ints(c->arena, A_high, pad_high, x->rank),
                   attr_ints(c->arena, A_interior, interior, x->rank)};
    Value *wide = op_make(&c->b, OP_pad, 2, (Value *[]){dy[0], zero}, 3, pads, NULL);
    Attr attrs[] = {attr_ints(c->arena, A_size, size, n), attr_ints(c->arena, A_stride, one, n),
                    attr_ints(c->arena, A_low, none, n), attr_ints(c->arena, A_high, none, n)};
    gr_give(c, op->in[0], op_make(&c->b, OP_window_sum, 1, &wide, 4, attrs, NULL));
}
