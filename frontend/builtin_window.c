/*
 * builtin_window.c - convolution, its transpose, windows, and einsum.
 *
 * Shapes: x is [batch, spatial.., channels], a kernel is [spatial.., channels in / groups, channels out].
 */
#include "elab.h"

/* What `same` is in std/layers.nn: a number, so that it goes where other paddings go, and none that is written by mistake. */
enum { SAME = -(1 << 24) };

typedef struct Windows {
    int n; /* spatial axes */
    int64_t size[MAX_RANK], stride[MAX_RANK], pad[MAX_RANK], dilation[MAX_RANK];
    int64_t low[MAX_RANK], high[MAX_RANK];
} Windows;

/* One number for all axes, or a list with one an axis. */
static bool numbers(Elab *e, Val v, int n, Loc at, const char *what, int64_t least, int64_t standard, int64_t *out) {
    for (int i = 0; i < n; i++) out[i] = standard;
    if (v.kind == VAL_NONE) return true;
    if (v.kind == VAL_ERROR) return false;
    if (v.kind == VAL_LIST && v.list->n != (size_t)n) {
        elab_error(e, at, 211, "%s is one number or a list of %d, one an axis, not a list of %zu", what, n, v.list->n);
        return false;
    }
    for (int i = 0; i < n; i++) {
        Val one = v.kind == VAL_LIST ? v.list->at[i] : v;
        bool whole = val_whole(one, &out[i]) && out[i] < (1 << 24);
        if (whole && (out[i] == least || (out[i] >= 0 && out[i] >= least))) continue;
        if (least == SAME) {
            elab_error(e, at, 211, "%s is `same`, `valid`, or a whole number from 0 that is known when compiled, not %s", what,
                       val_text(e, one));
            return false;
        }
        elab_error(e, at, 211, "%s is a whole number from %" PRId64 " that is known when compiled, not %s", what, least,
                   val_text(e, one));
        return false;
    }
    return true;
}

/* Zeros before and after an axis of n places (E6): `same` gives ceil(n / stride) places, the odd zero at the end. */
static void padding(Windows *w, int i, int64_t n) {
    int64_t k = (w->size[i] - 1) * w->dilation[i] + 1;
    if (w->pad[i] != SAME) {
        w->low[i] = w->high[i] = w->pad[i];
        return;
    }
    int64_t out = (n + w->stride[i] - 1) / w->stride[i];
    int64_t total = (out - 1) * w->stride[i] + k - n;
    if (total < 0) total = 0;
    w->low[i] = total / 2;
    w->high[i] = total - total / 2;
}

static bool fits_windows(Elab *e, const Type *t, const Windows *w, Loc at) {
    for (int i = 0; i < w->n; i++) {
        Dim d = t->dim[i + 1];
        int64_t k = (w->size[i] - 1) * w->dilation[i] + 1;
        if (d.batch) {
            elab_error(e, at, 213, "windows do not run along the batch axis");
            return false;
        }
        if (d.n + w->low[i] + w->high[i] < k) {
            elab_error(e, at, 208, "a window of %" PRId64 " does not fit on an axis of %" PRId64 "%s", k, d.n,
                       w->low[i] + w->high[i] ? " with its padding" : "");
            if (w->pad[i] != SAME) elab_note(e, (Loc){0}, "pad=same keeps the size");
            return false;
        }
    }
    return true;
}

static bool spatial(Elab *e, Value *x, Loc at, int *n) {
    if (!x) return false;
    *n = x->type->rank - 2;
    if (*n >= 1 && *n <= 3) return true;
    elab_error(e, at, 211, "windows run over 1, 2 or 3 axes between the batch and the channels, and %s has %d",
               type_name(x->type), *n < 0 ? 0 : *n);
    return false;
}

/* ---- windows ---- */

static Val windows(Elab *e, const Builtin *b, const Call *c) {
    Value *x = tensor_of(e, c->arg[0], c->arg_loc[0]);
    Windows w = {0};
    if (!spatial(e, x, c->arg_loc[0], &w.n)) return val_error();
    if (!elem_is_float(x->type->elem) && !elem_is_int(x->type->elem))
        return elab_error(e, c->arg_loc[0], 210, "%s is for numbers, not %s", b->name, type_name(x->type));
    if (!numbers(e, c->arg[1], w.n, c->arg_loc[1], "the size of a window", 1, 1, w.size) ||
        !numbers(e, c->arg[2], w.n, c->arg_loc[2], "a stride", 1, 1, w.stride) ||
        !numbers(e, c->arg[3], w.n, c->arg_loc[3], "a padding", SAME, 0, w.pad))
        return val_error();
    for (int i = 0; i < w.n; i++) {
        w.dilation[i] = 1;
        if (!c->given[2]) w.stride[i] = w.size[i];
        padding(&w, i, x->type->dim[i + 1].n);
    }
    if (!fits_windows(e, x->type, &w, c->loc)) return val_error();
    Attr a[] = {attr_ints(e->a, A_size, w.size, w.n), attr_ints(e->a, A_stride, w.stride, w.n),
                attr_ints(e->a, A_low, w.low, w.n), attr_ints(e->a, A_high, w.high, w.n)};
    return val_tensor(emit(e, (OpCode)b->code, 1, &x, 4, a, NULL));
}

/* ---- convolution ---- */

static Value *emit_conv(Elab *e, Value *x, Value *k, const char *spec, const char *axes, const Windows *w, const int64_t *stride,
                        const int64_t *spread) {
    Value *in[] = {x, k};
    Attr a[] = {attr_s(A_spec, spec),
                attr_s(A_window, axes),
                attr_ints(e->a, A_stride, stride, w->n),
                attr_ints(e->a, A_low, w->low, w->n),
                attr_ints(e->a, A_high, w->high, w->n),
                attr_ints(e->a, A_lhs_dilation, spread, w->n),
                attr_ints(e->a, A_rhs_dilation, w->dilation, w->n)};
    return emit(e, OP_conv, 2, in, 7, a, NULL);
}

static const char *axis_labels(int n) { return n == 1 ? "x" : n == 2 ? "xy" : "xyz"; }

static bool kernel_fits(Elab *e, const Type *x, const Type *k, int n, Loc at) {
    if (k->rank != n + 2) {
        elab_error(e, at, 211, "the kernel of %s has %d dimensions, [spatial.., in, out], not %s", type_name(x), n + 2,
                   type_name(k));
        return false;
    }
    if (x->elem != k->elem || !elem_is_float(x->elem)) {
        elab_error(e, at, 201, "a convolution is of floats of one type, not of %s and %s", type_name(x), type_name(k));
        return false;
    }
    if (type_has_batch(k)) {
        elab_error(e, at, 213, "the kernel cannot have the batch in it: %s", type_name(k));
        return false;
    }
    return true;
}

/* y[b, p, o] = Σ_q,c x[b, s p + d q - low, c] w[q, c, o] */
static Val convolve(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Value *x = tensor_of(e, c->arg[0], c->arg_loc[0]), *k = tensor_of(e, c->arg[1], c->arg_loc[1]);
    Windows w = {0};
    int64_t groups, spread[MAX_RANK];
    if (!k || !spatial(e, x, c->arg_loc[0], &w.n) || !kernel_fits(e, x->type, k->type, w.n, c->loc)) return val_error();
    if (!numbers(e, c->arg[2], w.n, c->arg_loc[2], "a stride", 1, 1, w.stride) ||
        !numbers(e, c->arg[3], w.n, c->arg_loc[3], "a padding", SAME, SAME, w.pad) ||
        !numbers(e, c->arg[4], w.n, c->arg_loc[4], "a dilation", 1, 1, w.dilation) ||
        !numbers(e, c->arg[5], 1, c->arg_loc[5], "the number of groups", 1, 1, &groups))
        return val_error();
    for (int i = 0; i < w.n; i++) {
        w.size[i] = k->type->dim[i].n;
        if (w.size[i] < 1) return elab_error(e, c->arg_loc[1], 208, "the kernel %s is empty", type_name(k->type));
        spread[i] = 1;
        padding(&w, i, x->type->dim[i + 1].n);
    }
    if (!fits_windows(e, x->type, &w, c->loc)) return val_error();
    int64_t in = x->type->dim[w.n + 1].n, k_in = k->type->dim[w.n].n, out = k->type->dim[w.n + 1].n;
    if (in % groups || out % groups || in / groups != k_in) {
        if (groups == 1)
            return elab_error(e, c->loc, 204,
                              "convolution of %s with a kernel %s: the channels differ (%" PRId64 ", %" PRId64 ")",
                              type_name(x->type), type_name(k->type), in, k_in);
        return elab_error(e, c->loc, 204, "convolution of %s with a kernel %s in %" PRId64 " groups: the channels do not divide",
                          type_name(x->type), type_name(k->type), groups);
    }
    const char *s = axis_labels(w.n);
    if (groups == 1) return val_tensor(emit_conv(e, x, k, intern_printf("n%sc,%scd->n%sd", s, s, s), s, &w, w.stride, spread));
    Dim dx[MAX_RANK], dk[MAX_RANK];
    if (w.n + 3 > MAX_RANK) return val_error();
    for (int i = 0; i <= w.n; i++) dx[i] = x->type->dim[i];
    for (int i = 0; i <= w.n; i++) dk[i] = k->type->dim[i];
    dx[w.n + 1] = dk[w.n + 1] = (Dim){groups, false};
    dx[w.n + 2] = (Dim){in / groups, false};
    dk[w.n + 2] = (Dim){out / groups, false};
    Value *y = emit_conv(e, emit_reshape(e, x, w.n + 3, dx), emit_reshape(e, k, w.n + 3, dk),
                         intern_printf("n%sgc,%scgd->n%sgd", s, s, s), s, &w, w.stride, spread);
    if (!y) return val_error();
    Dim dy[MAX_RANK];
    for (int i = 0; i <= w.n; i++) dy[i] = y->type->dim[i];
    dy[w.n + 1] = (Dim){out, false};
    return val_tensor(emit_reshape(e, y, w.n + 2, dy));
}

/* The transpose of convolve with the same kernel, stride and padding: x has the channels that convolve gives. A convolution of x,
 * spread by the stride, with the kernel turned around. */
static Val convolve_back(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Value *x = tensor_of(e, c->arg[0], c->arg_loc[0]), *k = tensor_of(e, c->arg[1], c->arg_loc[1]);
    Windows w = {0};
    int64_t one[MAX_RANK], spread[MAX_RANK], axes[MAX_RANK];
    if (!k || !spatial(e, x, c->arg_loc[0], &w.n) || !kernel_fits(e, x->type, k->type, w.n, c->loc)) return val_error();
    if (!numbers(e, c->arg[2], w.n, c->arg_loc[2], "a stride", 1, 1, spread) ||
        !numbers(e, c->arg[3], w.n, c->arg_loc[3], "a padding", SAME, SAME, w.pad))
        return val_error();
    int64_t in = x->type->dim[w.n + 1].n, k_out = k->type->dim[w.n + 1].n;
    if (in != k_out)
        return elab_error(e, c->loc, 204,
                          "the transpose of a convolution with a kernel %s takes %" PRId64 " channels, and %s has %" PRId64,
                          type_name(k->type), k_out, type_name(x->type), in);
    for (int i = 0; i < w.n; i++) {
        int64_t n = x->type->dim[i + 1].n, size = k->type->dim[i].n, s = spread[i];
        if (x->type->dim[i + 1].batch || n < 1 || size < 1)
            return elab_error(e, c->loc, 213, "windows do not run along the batch axis or an empty one");
        int64_t out = w.pad[i] == SAME ? n * s : (n - 1) * s + size - 2 * w.pad[i];
        int64_t before = w.pad[i] != SAME ? w.pad[i] : (size > s ? (size - s) / 2 : 0); /* what the forward convolution pads */
        if (out < 1) return elab_error(e, c->loc, 208, "nothing is left of an axis of %" PRId64, n);
        one[i] = w.dilation[i] = 1;
        axes[i] = i;
        w.low[i] = size - 1 - before;
        w.high[i] = out + size - 1 - ((n - 1) * s + 1) - w.low[i];
    }
    const char *s = axis_labels(w.n);
    Attr a = attr_ints(e->a, A_axes, axes, w.n);
    Value *turned = emit(e, OP_reverse, 1, &k, 1, &a, NULL);
    return val_tensor(emit_conv(e, x, turned, intern_printf("n%sd,%scd->n%sc", s, s, s), s, &w, one, spread));
}

/* ---- einsum ---- */

typedef struct Operand {
    Value *value;
    char labels[MAX_RANK + 1];
} Operand;

/* Sums over the labels that stand in no other operand and not in the result. */
static bool sum_alone(Elab *e, Operand *o, const char *others, const char *out) {
    int64_t axes[MAX_RANK];
    int n = 0;
    char left[MAX_RANK + 1];
    int kept = 0;
    for (int i = 0; o->labels[i]; i++)
        if (!strchr(others, o->labels[i]) && !strchr(out, o->labels[i]))
            axes[n++] = i;
        else
            left[kept++] = o->labels[i];
    left[kept] = 0;
    if (n) o->value = emit_reduce(e, OP_sum, o->value, n, axes);
    strcpy(o->labels, left);
    return o->value != NULL;
}

/* The text without its spaces, so that "ij, jk -> ik" is read, too. NULL: it holds something that is no letter, comma or arrow (an ellipsis has no name here). */
static const char *einsum_spec(Elab *e, const Call *c, const char *text) {
    char *spec = arena_make_n(e->a, char, strlen(text) + 1);
    size_t n = 0;
    for (const char *s = text; *s; s++) {
        bool letter = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z'), arrow = *s == '-' && s[1] == '>';
        if (*s == ' ') continue;
        if (!letter && !arrow && *s != ',') {
            elab_error(e, c->loc, 211, "einsum: \"%s\": a letter names an axis, and every axis has its letter: \"bij,bjk->bik\"",
                       text);
            return NULL;
        }
        spec[n++] = *s;
        if (arrow) spec[n++] = *++s;
    }
    return spec;
}

static bool read_operands(Elab *e, const Call *c, const char *spec, Operand *ops, size_t *n, const char **out) {
    const char *arrow = strstr(spec, "->");
    if (!arrow) return false;
    *out = arrow + 2;
    const char *s = spec;
    *n = 0;
    for (;;) {
        size_t k = strcspn(s, ",-");
        if (*n == 8 || k > MAX_RANK || *n >= c->rest.n) return false;
        memcpy(ops[*n].labels, s, k);
        ops[*n].labels[k] = 0;
        ops[*n].value = tensor_of(e, c->rest.at[*n].val, c->rest.at[*n].loc);
        if (!ops[*n].value) return false;
        (*n)++;
        s += k;
        if (*s != ',') break;
        s++;
    }
    return s == arrow && *n == c->rest.n && strlen(*out) <= MAX_RANK;
}

static bool check_labels(Elab *e, const Call *c, const Operand *ops, size_t n, const char *out) {
    Dim size[128];
    bool known[128] = {false};
    for (size_t i = 0; i < n; i++) {
        const Type *t = ops[i].value->type;
        if ((int)strlen(ops[i].labels) != t->rank) {
            elab_error(e, c->rest.at[i].loc, 211, "einsum: \"%s\" has %zu labels for %s", ops[i].labels, strlen(ops[i].labels),
                       type_name(t));
            return false;
        }
        if (t->elem != ops[0].value->type->elem || t->elem == BOOL) {
            elab_error(e, c->loc, 201, "einsum: the element types differ or are bool");
            return false;
        }
        for (int k = 0; k < t->rank; k++) {
            char l = ops[i].labels[k];
            if (strchr(ops[i].labels + k + 1, l)) {
                elab_error(e, c->loc, 211, "einsum: \"%s\": a letter stands once in an operand", ops[i].labels);
                return false;
            }
            if (known[(int)l] && !dim_same(size[(int)l], t->dim[k])) {
                elab_error(e, c->loc, 204, "einsum: the sizes of `%c` differ (%s, %s)", l, dims_text(e, 1, &size[(int)l]),
                           dims_text(e, 1, &t->dim[k]));
                return false;
            }
            known[(int)l] = true;
            size[(int)l] = t->dim[k];
        }
    }
    for (const char *l = out; *l; l++)
        if (*l < 0 || !known[(int)*l] || strchr(l + 1, *l)) {
            elab_error(e, c->loc, 211, "einsum: `%c` of the result stands in no operand, or twice", *l);
            return false;
        }
    return true;
}

/* Puts the axes in the order of the result. */
static Value *in_order(Elab *e, const Operand *o, const char *out) {
    if (strcmp(o->labels, out) == 0) return o->value;
    int64_t perm[MAX_RANK];
    for (int i = 0; out[i]; i++) perm[i] = strchr(o->labels, out[i]) - o->labels;
    return emit_transpose(e, o->value, perm);
}

/* einsum("bij,bjk->bik", a, b): from left to right, two at a time. */
static Val einsum(Elab *e, const Builtin *b, const Call *c) {
    (void)b;
    Operand ops[8];
    size_t n;
    const char *out;
    if (c->arg[0].kind != VAL_STRING)
        return elab_error(e, c->arg_loc[0], 211, "einsum begins with a string like \"bij,bjk->bik\"");
    const char *spec = einsum_spec(e, c, c->arg[0].text);
    if (!spec) return val_error();
    if (!read_operands(e, c, spec, ops, &n, &out))
        return elab_error(e, c->arg_loc[0], 211, "einsum: \"%s\" does not describe %zu tensor%s", c->arg[0].text, c->rest.n,
                          c->rest.n == 1 ? "" : "s");
    if (!check_labels(e, c, ops, n, out)) return val_error();
    while (n > 1) {
        char later[16 * MAX_RANK] = "";
        for (size_t i = 2; i < n; i++) strcat(later, ops[i].labels);
        strcat(later, out);
        if (!sum_alone(e, &ops[0], ops[1].labels, later) || !sum_alone(e, &ops[1], ops[0].labels, later)) return val_error();
        char result[3 * MAX_RANK];
        int k = 0;
        if (n == 2)
            strcpy(result, out);
        else {
            for (int p = 0; p < 2; p++)
                for (const char *l = ops[p].labels; *l; l++)
                    if (strchr(later, *l) && !memchr(result, *l, (size_t)k)) result[k++] = *l;
            result[k] = 0;
        }
        if (strlen(result) > MAX_RANK) return elab_error(e, c->loc, 219, "a tensor has at most %d dimensions", MAX_RANK);
        ops[0].value =
            emit_contract(e, intern_printf("%s,%s->%s", ops[0].labels, ops[1].labels, result), ops[0].value, ops[1].value);
        if (!ops[0].value) return val_error();
        strcpy(ops[0].labels, result);
        for (size_t i = 1; i + 1 < n; i++) ops[i] = ops[i + 1];
        n--;
    }
    if (!sum_alone(e, &ops[0], "", out)) return val_error();
    return val_tensor(in_order(e, &ops[0], out));
}

const Builtin builtin_window[] = {
    {"convolve", "x, w, stride=, pad=, dilation=, groups=", convolve, 0},
    {"convolve_back", "x, w, stride=, pad=", convolve_back, 0},
    {"max_windows", "x, size, stride=, pad=", windows, OP_window_max},
    {"sum_windows", "x, size, stride=, pad=", windows, OP_window_sum},
    {"einsum", "spec, ...", einsum, 0},
    {0},
};
