/*
 * undilate.c - convolutions of dilated inputs (the input's gradient where the forward convolution has a stride; transposed
 * convolutions) without the zeros.
 *
 * in:  graph, grads expanded.   out: the same, without lhs_dilation where the stride is 1.
 * keeps: types, slots.   leaves: slices of kernels, joins and reshapes for simplify.
 *
 *   %y = conv "nxc,xcd->nxd" %a, %b stride 1 low 1 lhs_dilation 2          (every second element of the dilated %a is zero)
 *   =>  %even = conv %a, (slice 1::2 of %b) ; %odd = conv %a, (slice 0::2 of %b) ; %y = %even and %odd, interleaved
 *
 * For a label with  A p + low = o + R k  (A dilation of the input, R of the kernel, p, o, k indices of input, result, kernel):
 * the results o = A q + r of one class r meet only those k with R k = low - r (mod A), that is k = A j + c, and  p = q + R j + (r
 * + R c - low) / A:  a convolution of the undilated input with every A-th element of the kernel. One label at a time; two labels
 * of stride 2 give four convolutions, each a quarter of the work.
 *
 * Bits: products with the zeros between elements are left out, so that a chain longer than SUM_CHAIN is cut at other products,
 * and an infinite kernel element makes no NaN there; the same on every machine.
 *
 * Not done: strides beside the dilation, and R that has a factor in common with A: nothing in the language makes them.
 */
#include "pipeline.h"

#include <string.h>

typedef struct Label {
    int w;                   /* place in the window's lists */
    int in, kernel, out;     /* its axis in each */
    int64_t A, R, low, m, k; /* dilations, padding, sizes of result and kernel */
} Label;

static const int64_t *ints(const Op *op, AttrKey key) {
    const int64_t *at;
    op_ints(op, key, &at);
    return at;
}

static int64_t mod(int64_t x, int64_t m) { return (x % m + m) % m; }

/* The j with  R j = x (mod A), or -1. */
static int64_t solve(int64_t R, int64_t x, int64_t A) {
    for (int64_t j = 0; j < A; j++)
        if (mod(R * j - x, A) == 0) return j;
    return -1;
}

static int64_t gcd(int64_t a, int64_t b) { return b ? gcd(b, a % b) : a; }

enum { MOST_CLASSES = 8 };

static bool find_label(const Op *op, Label *l) {
    const char *labels = op_str(op, A_window), *spec = op_str(op, A_spec);
    for (int w = 0; labels[w]; w++) {
        int64_t A = ints(op, A_lhs_dilation)[w], R = ints(op, A_rhs_dilation)[w];
        if (A == 1 || A > MOST_CLASSES || ints(op, A_stride)[w] != 1 || gcd(R, A) != 1) continue;
        *l = (Label){.w = w, .A = A, .R = R, .low = ints(op, A_low)[w]};
        spec_axes(spec, labels[w], &l->in, &l->kernel, &l->out);
        l->m = op->out[0]->type->dim[l->out].n;
        l->k = op->in[1]->type->dim[l->kernel].n;
        if (l->m >= 1 && op->in[0]->type->dim[l->in].n >= 1 && op->out[0]->type->rank < MAX_RANK) return true;
    }
    return false;
}

/* The results q = 0..n of class r. */
static Value *one_class(Builder *b, const Op *op, const Label *l, int64_t r, int64_t n) {
    const Type *t = op->out[0]->type, *kt = op->in[1]->type;
    Dim dims[MAX_RANK];
    memcpy(dims, t->dim, (size_t)t->rank * sizeof *dims);
    dims[l->out].n = n;
    int64_t c = solve(l->R, l->low - r, l->A);
    if (c < 0 || c >= l->k) return g_constant(b, type_make(t->elem, t->rank, dims), 0); /* no kernel element meets it */
    int64_t start[MAX_RANK], limit[MAX_RANK], step[MAX_RANK];
    for (int i = 0; i < kt->rank; i++) {
        start[i] = i == l->kernel ? c : 0;
        limit[i] = kt->dim[i].n;
        step[i] = i == l->kernel ? l->A : 1;
    }
    Value *kernel = g_slice(b, op->in[1], start, limit, step);
    int64_t k = kernel->type->dim[l->kernel].n, low = (l->low - r - l->R * c) / l->A;
    Attr *attrs = arena_make_n(b->arena, Attr, (size_t)op->n_attrs);
    for (int i = 0; i < op->n_attrs; i++) {
        attrs[i] = op->attrs[i];
        if (attr_kind(attrs[i].key) != ATTR_INTS) continue;
        int64_t at[MAX_RANK];
        memcpy(at, attrs[i].ints.at, (size_t)attrs[i].ints.n * sizeof *at);
        if (attrs[i].key == A_lhs_dilation) at[l->w] = 1;
        if (attrs[i].key == A_low) at[l->w] = low;
        if (attrs[i].key == A_high) at[l->w] = n - 1 + (k - 1) * l->R + 1 - low - op->in[0]->type->dim[l->in].n;
        attrs[i] = attr_ints(b->arena, attrs[i].key, at, attrs[i].ints.n);
    }
    return op_make(b, OP_conv, 2, (Value *[]){op->in[0], kernel}, op->n_attrs, attrs, NULL);
}

/* A kernel with a batch dimension (never seen) is left alone. */
static bool sizes_known(const Op *op) { return !type_has_batch(op->in[1]->type); }

static Value *undilate(Builder *b, const Op *op, const Label *l) {
    const Type *t = op->out[0]->type;
    int64_t n = (l->m + l->A - 1) / l->A;
    Dim apart[MAX_RANK], joined[MAX_RANK];
    for (int i = 0, k = 0; i < t->rank; i++) { /* [.., n, 1, ..]: the classes are joined along the new axis */
        apart[k++] = i == l->out ? (Dim){n, false} : t->dim[i];
        if (i == l->out) apart[k++] = (Dim){1, false};
        joined[i] = i == l->out ? (Dim){n * l->A, false} : t->dim[i];
    }
    Value *parts[MOST_CLASSES];
    for (int64_t r = 0; r < l->A; r++) parts[r] = g_reshape(b, one_class(b, op, l, r, n), t->rank + 1, apart);
    Value *y = g_reshape(b, g_concat(b, (int)l->A, parts, l->out + 1), t->rank, joined);
    return n * l->A == l->m ? y : g_part(b, y, l->out, 0, l->m);
}

static bool undilate_block(PassCtx *c, Block *block, Value ***map, Arena *scratch, int *n_map) {
    bool any = false;
    for (Op *op = block->first, *next; op; op = next) {
        for (int i = 0; i < op->n_blocks; i++) any |= undilate_block(c, op->blocks[i], map, scratch, n_map);
        Label l;
        next = op->next;
        if (op->code != OP_conv || !sizes_known(op) || !find_label(op, &l)) continue;
        Op *prev = op->prev;
        Builder b = {.arena = c->arena, .func = block->func, .block = block, .before = op, .loc = op->loc};
        Value *y = undilate(&b, op, &l);
        y->name = op->out[0]->name;
        if (op->out[0]->id >= *n_map) { /* a convolution made here, of which another label is dilated */
            int n = 2 * block->func->n_values;
            Value **more = arena_make_n(scratch, Value *, (size_t)n);
            memcpy(more, *map, (size_t)*n_map * sizeof *more);
            *map = more;
            *n_map = n;
        }
        (*map)[op->out[0]->id] = y;
        next = prev ? prev->next : block->first; /* what was made is looked at, too */
        op_remove(op);
        any = true;
    }
    return any;
}

bool pass_undilate(PassCtx *c, Module *m) {
    for (size_t i = 0; i < m->funcs.n; i++) {
        Func *f = m->funcs.at[i];
        Arena *scratch = arena_new();
        int n = f->n_values;
        Value **map = arena_make_n(scratch, Value *, (size_t)n + 1);
        if (undilate_block(c, f->body, &map, scratch, &n)) {
            Value **all = arena_make_n(scratch, Value *, (size_t)f->n_values);
            memcpy(all, map, (size_t)(n < f->n_values ? n : f->n_values) * sizeof *all);
            func_replace_all(f, all);
        }
        arena_free(scratch);
    }
    return true;
}
