/*
 * simplify_conv.c - convolutions and windows that are something simpler.
 *
 *   conv(pad(a, 0), b)        = conv with more padding
 *   conv, kernel of one place = contract "nxyc,cd->nxyd", of every stride-th place of a
 *   conv, kernel as large as a, one place out  = contract "nxyc,xycd->nd"; so that its gradients do not multiply padding
 *   window_sum(constant)      = constant, or where padding cuts windows off a literal, repeated over samples and channels
 *
 * Every result is the chain of the same products in the same order as before: all bits stay.
 */
#include "simplify.h"
#include "spec.h"

typedef struct Conv {
    const char *labels; /* the windowed ones */
    Spec spec;
    const int64_t *stride, *low, *high, *lhs, *rhs;
} Conv;

static Conv read_conv(const Op *op) {
    Conv c = {.labels = op_str(op, A_window), .spec = read_spec(op)};
    op_ints(op, A_stride, &c.stride);
    op_ints(op, A_low, &c.low);
    op_ints(op, A_high, &c.high);
    op_ints(op, A_lhs_dilation, &c.lhs);
    op_ints(op, A_rhs_dilation, &c.rhs);
    return c;
}

static int axis_of(Conv *c, int part, char label) {
    return (int)(strchr(spec_part(&c->spec, part), label) - spec_part(&c->spec, part));
}

/* ---- padding ---- */

static Value *conv_of_pad(Simplify *s, Op *op) {
    Op *pad = made_by(op->in[0], OP_pad);
    double k;
    if (!pad || !is_constant(pad->in[1], &k) || k != 0) return NULL;
    Conv c = read_conv(op);
    const int64_t *low, *high, *interior;
    op_ints(pad, A_low, &low);
    op_ints(pad, A_high, &high);
    op_ints(pad, A_interior, &interior);
    int64_t more_low[MAX_RANK], more_high[MAX_RANK], n = (int64_t)strlen(c.labels);
    for (int i = 0; c.spec.a[i]; i++) {
        if (interior[i] || low[i] < 0 || high[i] < 0) return NULL;
        if (!strchr(c.labels, c.spec.a[i]) && (low[i] || high[i])) return NULL;
    }
    for (int64_t w = 0; w < n; w++) { /* the zeros are dilated, too */
        int i = axis_of(&c, 0, c.labels[w]);
        if (pad->in[0]->type->dim[i].n == 0) return NULL;
        more_low[w] = c.low[w] + low[i] * c.lhs[w];
        more_high[w] = c.high[w] + high[i] * c.lhs[w];
    }
    Attr *attrs = arena_make_n(s->arena, Attr, (size_t)op->n_attrs);
    for (int i = 0; i < op->n_attrs; i++) {
        attrs[i] = op->attrs[i];
        if (attrs[i].key == A_low) attrs[i] = attr_ints(s->arena, A_low, more_low, n);
        if (attrs[i].key == A_high) attrs[i] = attr_ints(s->arena, A_high, more_high, n);
    }
    return op_make(&s->b, OP_conv, 2, (Value *[]){pad->in[0], op->in[1]}, op->n_attrs, attrs, NULL);
}

/* ---- products in disguise ---- */

typedef enum Shape { POINT, WHOLE, OTHER } Shape;

/* POINT: the kernel has one place along the label; WHOLE: it has all places of a, and the result one. */
static Shape shape_of(const Op *op, Conv *c, int w) {
    int64_t n = op->in[0]->type->dim[axis_of(c, 0, c->labels[w])].n, k = op->in[1]->type->dim[axis_of(c, 1, c->labels[w])].n;
    int64_t m = op->out[0]->type->dim[axis_of(c, 2, c->labels[w])].n;
    if (c->lhs[w] != 1 || m == 0) return OTHER;
    if (k == 1 && c->low[w] <= 0 && -c->low[w] + (m - 1) * c->stride[w] < n) return POINT;
    if (k == n && m == 1 && c->low[w] == 0 && (c->rhs[w] == 1 || k == 1)) return WHOLE;
    return OTHER;
}

static Value *conv_as_contract(Simplify *s, Op *op) {
    Conv c = read_conv(op);
    Value *a = op->in[0], *b = op->in[1];
    bool point[128] = {false}, whole[128] = {false}, cut = false;
    int64_t start[MAX_RANK], limit[MAX_RANK], step[MAX_RANK];
    for (int i = 0; i < a->type->rank; i++) {
        start[i] = 0;
        limit[i] = a->type->dim[i].batch ? -1 : a->type->dim[i].n;
        step[i] = 1;
    }
    for (int w = 0; c.labels[w]; w++) {
        Shape shape = shape_of(op, &c, w);
        if (shape == OTHER) return NULL;
        (shape == POINT ? point : whole)[(int)c.labels[w]] = true;
        if (shape == WHOLE) continue;
        int i = axis_of(&c, 0, c.labels[w]);
        int64_t m = op->out[0]->type->dim[axis_of(&c, 2, c.labels[w])].n;
        start[i] = -c.low[w];
        step[i] = c.stride[w];
        limit[i] = start[i] + (m - 1) * step[i] + 1;
        cut |= start[i] != 0 || step[i] != 1 || limit[i] != a->type->dim[i].n;
    }
    char text_b[MAX_RANK + 1], text_out[MAX_RANK + 1];
    Dim dims[MAX_RANK];
    int n = 0, m = 0;
    for (int i = 0; c.spec.b[i]; i++) {
        if (point[(int)c.spec.b[i]]) continue;
        dims[n] = b->type->dim[i];
        text_b[n++] = c.spec.b[i];
    }
    for (int i = 0; c.spec.out[i]; i++)
        if (!whole[(int)c.spec.out[i]]) text_out[m++] = c.spec.out[i];
    text_b[n] = text_out[m] = 0;
    if (cut) a = g_slice(&s->b, a, start, limit, step);
    Value *v = g_contract(&s->b, intern_printf("%s,%s->%s", c.spec.a, text_b, text_out), a, g_reshape(&s->b, b, n, dims));
    return g_reshape(&s->b, v, op->out[0]->type->rank, op->out[0]->type->dim);
}

/* ---- sums of constants over windows ---- */

/* k added n times to 0, as window_sum does. */
static double add_up(Elem e, double k, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum = e == F32 ? (double)((float)sum + (float)k) : sum + k;
    return sum;
}

enum { MOST_NUMBERS = 4096 };

static Value *window_of_constant(Simplify *s, Op *op) {
    double k;
    const Type *x = op->in[0]->type, *t = op->out[0]->type;
    if (!is_constant(op->in[0], &k) || !elem_is_float(x->elem) || x->rank < 3) return NULL;
    const int64_t *size, *stride, *low;
    int64_t n = op_ints(op, A_size, &size), places = 1;
    op_ints(op, A_stride, &stride);
    op_ints(op, A_low, &low);
    for (int64_t i = 0; i < n; i++) places *= t->dim[i + 1].n;
    if (places == 0 || places > MOST_NUMBERS) return NULL;
    double *at = arena_make_n(s->scratch, double, (size_t)places);
    bool same = true;
    for (int64_t p = 0; p < places; p++) {
        int64_t rest = p, count = 1;
        for (int64_t i = n - 1; i >= 0; i--) { /* elements of x in this window along axis i + 1 */
            int64_t o = rest % t->dim[i + 1].n, from = o * stride[i] - low[i], to = from + size[i];
            rest /= t->dim[i + 1].n;
            if (from < 0) from = 0;
            if (to > x->dim[i + 1].n) to = x->dim[i + 1].n;
            count *= to > from ? to - from : 0;
        }
        if (count > MOST_NUMBERS) return NULL;
        at[p] = add_up(x->elem, k, count);
        same &= at[p] == at[0];
    }
    if (same) return g_constant(&s->b, t, at[0]);
    Attr values = attr_reals(s->arena, A_values, at, places);
    Value *v = op_make(&s->b, OP_literal, 0, NULL, 1, &values, type_make(x->elem, (int)n, t->dim + 1));
    int64_t axes[MAX_RANK];
    for (int64_t i = 0; i < n; i++) axes[i] = i + 1;
    return g_broadcast(&s->b, v, t->rank, t->dim, axes);
}

Value *simplify_conv(Simplify *s, Op *op) {
    if (op->code == OP_window_sum) return window_of_constant(s, op);
    if (op->code != OP_conv) return NULL;
    Value *v = conv_of_pad(s, op);
    return v ? v : conv_as_contract(s, op);
}
