/*
 * lower_reduce.c - products and sums: an accumulator, the loops over what is reduced, and one assignment inside.
 *
 *   %y = contract "bi,io->bo" %x, %w        acc y: f32 = 0
 *                                           for i in 0..784 { y = fma(%x[b, i], %w[i, o], y) }
 *   %s = sum %x axes [1] (the last one)     acc s: f32[16] = 0
 *                                           for j in 0..10 by 16, l in j..min(10, j + 16) { s[l - j] = add(s[l - j], %x[i, l]) }
 *                                           let s.1: f32 = tree(add, s)
 *
 * The order of sums is that of graph.h. A chain that can be longer than SUM_CHAIN is cut: lower_pieces writes a kernel for the
 * pieces and one that adds them up in place, p[i] += p[i + h] for h = 1, 2, 4, .., which is graph.h's tree.
 */
#include "passes/lower.h"

#include <string.h>

bool op_reduces(OpCode c) {
    return c == OP_contract || c == OP_conv || c == OP_sum || c == OP_prod || c == OP_reduce_max || c == OP_reduce_min ||
           c == OP_any || c == OP_all || c == OP_argmax || c == OP_argmin || c == OP_window_max || c == OP_window_sum ||
           c == OP_window_pick || c == OP_window_put;
}

/* ---- the index that is summed over ---- */

/* The reduced axes, the slowest first, and the loops over them. */
typedef struct Range {
    int n;
    Dim dim[2 * MAX_RANK];
    const char *name[2 * MAX_RANK];
    const Affine *index[2 * MAX_RANK]; /* once opened */
} Range;

static void range_add(Range *r, Dim d, const char *name) {
    r->dim[r->n] = d;
    r->name[r->n++] = name;
}

static int64_t range_count(const Lower *l, const Range *r) {
    int64_t n = 1;
    for (int i = 0; i < r->n; i++) n *= dim_size(r->dim[i], l->step->batch_bound);
    return n;
}

/* Elements from one index of axis k to the next; -1 if that depends on B. */
static int64_t range_row(const Range *r, int k) {
    int64_t n = 1;
    for (int i = k + 1; i < r->n; i++) {
        if (r->dim[i].batch) return -1;
        n *= r->dim[i].n;
    }
    return n;
}

static void open_all(Lower *l, Range *r) {
    for (int i = 0; i < r->n; i++) r->index[i] = affine_var(l->arena, low_open_dim(l, r->name[i], r->dim[i]));
}

/* Opens loops over the elements begin <= flat index < begin + SUM_CHAIN of the range. If whole rows of an outer axis make up a
 * piece, that axis is cut; if not, the loops begin and end in the middle of rows: for each axis the first index is max(0, what is
 * left of begin / row). */
static void open_piece(Lower *l, Range *r, const Affine *piece) {
    int cut = -1;
    for (int k = 0; k < r->n && cut < 0; k++) {
        int64_t row = range_row(r, k);
        if (row > 0 && SUM_CHAIN % row == 0) cut = k;
    }
    bool alone = cut == 0;
    for (int k = 0; k < cut; k++) alone = (alone || k == 0) && r->dim[k].n == 1 && !r->dim[k].batch;
    if (alone) {
        int64_t rows = SUM_CHAIN / range_row(r, cut);
        for (int k = 0; k < r->n; k++) {
            if (k != cut) {
                r->index[k] = affine_var(l->arena, low_open_dim(l, r->name[k], r->dim[k]));
                continue;
            }
            const Affine *lo = affine_scale(l->arena, piece, rows);
            Var *v = low_open(l, r->name[k], lo, low_dim(l, r->dim[k]), 1);
            stmt_add_limit(l->arena, l->scope->stmt, affine_add_constant(l->arena, lo, rows));
            r->index[k] = affine_var(l->arena, v);
        }
        return;
    }
    const Affine *rest = affine_scale(l->arena, piece, SUM_CHAIN); /* begin, less what the outer indices account for */
    for (int k = 0; k < r->n; k++) {
        int64_t row = range_row(r, k), lo, hi;
        low_range(l, low_dim(l, r->dim[k]), &lo, &hi);
        Expr *zero = low_i64(l, low_number(l, 0)), *first, *behind; /* the index of rest, and that behind rest + SUM_CHAIN - 1 */
        const Affine *end = affine_add_constant(l->arena, rest, SUM_CHAIN - 1);
        Expr *size = NULL;
        if (row == 1) {
            first = low_i64(l, rest);
            behind = NULL;
        } else {
            if (row > 0) {
                size = low_i64(l, low_number(l, row));
            } else {
                int64_t constant = 1;
                for (int i = k + 1; i < r->n; i++) constant *= r->dim[i].n;
                size = low_i64(l, affine_scale(l->arena, affine_var(l->arena, l->step->batch), constant));
            }
            first = low_binary(l, OP_floor_div, low_i64(l, rest), size);
            behind = low_binary(l, OP_floor_div, low_i64(l, end), expr_clone(l->arena, size));
        }
        const Affine *begin = low_index_value(l, "begin", low_binary(l, OP_max, zero, first), 0, hi);
        const Affine *stop =
            behind ? affine_add_constant(l->arena, low_index_value(l, "stop", behind, INT64_MIN / 8, INT64_MAX / 8), 1)
                   : affine_add_constant(l->arena, end, 1);
        Var *v = low_open(l, r->name[k], begin, low_dim(l, r->dim[k]), 1);
        l->vars.at[v->id] = (VarInfo){0, hi > 0 ? hi - 1 : 0, l->scope};
        stmt_add_limit(l->arena, l->scope->stmt, stop);
        r->index[k] = affine_var(l->arena, v);
        if (row == 1) continue;
        if (row > 0) {
            rest = affine_add(l->arena, rest, affine_scale(l->arena, r->index[k], -row));
        } else {
            Expr *done = low_binary(l, OP_mul, low_i64(l, r->index[k]), expr_clone(l->arena, size));
            rest = low_index_value(l, "rest", low_binary(l, OP_sub, low_i64(l, rest), done), INT64_MIN / 8, INT64_MAX / 8);
        }
    }
}

/* ---- products ---- */

static const char *label_name(char c) { return intern_n(&c, 1); }

typedef struct Spec {
    const char *part[3]; /* a, b, result */
    int rank[3];
} Spec;

static Spec read_spec(const Op *op) {
    const char *s = op_str(op, A_spec), *comma = strchr(s, ','), *arrow = strstr(s, "->");
    if (!comma || !arrow) bug("the spec \"%s\"", s);
    return (Spec){{s, comma + 1, arrow + 2}, {(int)(comma - s), (int)(arrow - comma - 1), (int)strlen(arrow + 2)}};
}

static int label_axis(const Spec *s, int part, char c) {
    const char *at = s->rank[part] ? memchr(s->part[part], c, (size_t)s->rank[part]) : NULL;
    return at ? (int)(at - s->part[part]) : -1;
}

static bool windowed(const Op *op, char c) { return op->code == OP_conv && strchr(op_str(op, A_window), c); }

/* The reduced labels in the order of the second operand; windowed ones are among them. label[i] names range i. */
static void product_range(const Op *op, const Spec *s, Range *r, char *label) {
    for (int i = 0; i < s->rank[1]; i++) {
        char c = s->part[1][i];
        if (label_axis(s, 2, c) >= 0 && !windowed(op, c)) continue;
        label[r->n] = c;
        range_add(r, op->in[1]->type->dim[i], windowed(op, c) ? intern_printf("%c.k", c) : label_name(c));
    }
}

static const Affine *range_index(const Range *r, const char *label, char c) {
    for (int i = 0; i < r->n; i++)
        if (label[i] == c) return r->index[i];
    return NULL;
}

/* The index of a windowed label in the first operand, stride * out + dilation * k - low; between its dilated elements there are
 * zeros: an index outside. */
static const Affine *window_index(Lower *l, const Op *op, char c, const Affine *out, const Affine *k, int64_t size, bool *guard) {
    const char *window = op_str(op, A_window);
    int64_t w = strchr(window, c) - window;
    const int64_t *stride, *low, *lhs, *rhs;
    op_ints(op, A_stride, &stride);
    op_ints(op, A_low, &low);
    op_ints(op, A_lhs_dilation, &lhs);
    op_ints(op, A_rhs_dilation, &rhs);
    const Affine *x = affine_add(l->arena, affine_scale(l->arena, out, stride[w]), affine_scale(l->arena, k, rhs[w]));
    x = affine_add_constant(l->arena, x, -low[w]);
    *guard = true;
    if (lhs[w] == 1) return x;
    const Affine *q = low_div(l, x, lhs[w]), *rest = low_mod(l, x, lhs[w]);
    int64_t lo, hi;
    low_range(l, q, &lo, &hi);
    return affine_add(l->arena, q, affine_scale(l->arena, rest, size + (lo < 0 ? -lo : 0))); /* beyond the last if rest > 0 */
}

static Expr *factor(Lower *l, const Op *op, const Spec *s, int part, const Range *r, const char *label,
                    const Affine *const *out) {
    const Affine *at[MAX_RANK + 1];
    bool guard[MAX_RANK + 1] = {false}, any = false;
    const Value *x = op->in[part];
    for (int i = 0; i < s->rank[part]; i++) {
        char c = s->part[part][i];
        int o = label_axis(s, 2, c);
        if (windowed(op, c) && part == 0) {
            at[i] = window_index(l, op, c, out[o], range_index(r, label, c), x->type->dim[i].n, &guard[i]);
            any |= guard[i];
        } else {
            const Affine *k = range_index(r, label, c);
            at[i] = k ? k : out[o];
        }
    }
    return any ? pull_or(l, x, at, guard, 0) : pull(l, x, at);
}

static Expr *pull_product(Lower *l, const Op *op, const Affine *const *index, const Affine *piece) {
    Spec s = read_spec(op);
    Range r = {0};
    char label[2 * MAX_RANK];
    Elem elem = op->out[0]->type->elem;
    product_range(op, &s, &r, label);
    Temp *acc = step_temp(l->arena, l->step, low_value_name(op->out[0]), elem, true, 0, NULL);
    Stmt *start = stmt_acc(l->arena, acc, expr_const(l->arena, elem, 0));
    Scope *here = l->scope;
    bool plain = l->plain;
    if (r.n == 0) low_emit(l, start);
    if (piece)
        open_piece(l, &r, piece);
    else
        open_all(l, &r);
    l->plain = true;
    Expr *a = factor(l, op, &s, 0, &r, label, index), *b = factor(l, op, &s, 1, &r, label, index);
    if (elem_is_float(elem)) {
        Expr *args[3] = {a, b, low_temp(l, acc)};
        low_set(l, acc, expr_op(l->arena, OP_fma, elem, 3, args));
    } else {
        low_set(l, acc, low_binary(l, OP_add, low_temp(l, acc), low_binary(l, OP_mul, a, b)));
    }
    Stmt *loop = l->scope->stmt; /* the outermost loop: what was moved out of it stands before the declaration, so that the two
                                    stay together */
    for (Scope *s = l->scope; s != here; s = s->outer) loop = s->stmt;
    low_close_to(l, here);
    if (r.n) {
        start->loc = l->loc;
        body_insert_before(here->body, loop, start);
    }
    l->plain = plain;
    return low_temp(l, acc);
}

/* ---- sums and other reductions over axes ---- */

typedef struct Axes {
    Range range;
    int axis[MAX_RANK]; /* of the operand, by place in the range */
    bool last;          /* the operand's last axis is reduced */
} Axes;

static Axes reduced_axes(const Op *op) {
    const int64_t *at, one = op->code == OP_argmax || op->code == OP_argmin ? op_int(op, A_axis) : 0;
    int64_t n = 1;
    if (op->code == OP_argmax || op->code == OP_argmin)
        at = &one;
    else
        n = op_ints(op, A_axes, &at);
    Axes a = {0};
    for (int64_t k = 0; k < n; k++) {
        a.axis[k] = (int)at[k];
        range_add(&a.range, op->in[0]->type->dim[at[k]], low_axis_name((int)at[k]));
        a.last |= at[k] == op->in[0]->type->rank - 1;
    }
    return a;
}

/* The index of the operand, from that of the result and the loops. */
static void operand_index(const Op *op, const Axes *a, const Affine *const *index, const Affine **at) {
    for (int i = 0, k = 0, kept = 0; i < op->in[0]->type->rank; i++) {
        if (k < a->range.n && a->axis[k] == i)
            at[i] = a->range.index[k++];
        else
            at[i] = index[kept++];
    }
}

static Expr *one_chain(Lower *l, const Op *op, const Affine *const *index, const Affine *piece, OpCode combine, double start) {
    Axes a = reduced_axes(op);
    Elem elem = op->out[0]->type->elem;
    const Affine *at[MAX_RANK + 1];
    Temp *acc = low_acc(l, low_value_name(op->out[0]), elem, 0, expr_const(l->arena, elem, start));
    Scope *here = l->scope;
    if (piece)
        open_piece(l, &a.range, piece);
    else
        open_all(l, &a.range);
    operand_index(op, &a, index, at);
    Expr *x = pull(l, op->in[0], at);
    low_set(l, acc, low_binary(l, combine, low_temp(l, acc), x));
    low_close_to(l, here);
    return low_temp(l, acc);
}

/* The indices of flat index `flat`, by divisions. */
static void unflatten(Lower *l, Range *r, const Affine *flat) {
    for (int k = r->n - 1; k >= 0; k--) {
        if (k == 0) {
            r->index[k] = flat;
        } else if (!r->dim[k].batch) {
            int64_t n = r->dim[k].n ? r->dim[k].n : 1;
            r->index[k] = low_mod(l, flat, n);
            flat = low_div(l, flat, n);
        } else {
            int64_t lo, hi;
            low_range(l, low_dim(l, r->dim[k]), &lo, &hi);
            Expr *q = low_binary(l, OP_floor_div, low_i64(l, flat), low_i64(l, low_dim(l, r->dim[k])));
            Expr *m = low_binary(l, OP_mod, low_i64(l, flat), low_i64(l, low_dim(l, r->dim[k])));
            r->index[k] = low_index_value(l, "r", m, 0, hi - 1);
            flat = low_index_value(l, "q", q, 0, INT64_MAX / 8);
        }
    }
}

/* The number of elements of the range as an index. */
static const Affine *range_size(Lower *l, const Range *r) {
    int64_t n = 1, batches = 0;
    for (int i = 0; i < r->n; i++) {
        n *= r->dim[i].n;
        batches += r->dim[i].batch;
    }
    return batches ? affine_scale(l->arena, affine_var(l->arena, l->step->batch), n) : low_number(l, n);
}

/* ---- trailing axes as one ---- */

/* The value with its axes from `first` on taken as one, if it is made by elementwise ops of what lies in memory in rows without
 * gaps, of scalars and constants. index: of the axes before, and the flat one. NULL: not so. `look`: only ask. */
static Expr *pull_flat(Lower *l, const Value *v, int first, const Affine *const *index, bool look, int depth);

static bool lies_flat(const Lower *l, const Value *v, int first) {
    const Home *h = l->home[v->id];
    if (!h || !h->buffer || !home_is_whole(h, v->type)) return false;
    int64_t stride = 1;
    for (int i = v->type->rank - 1; i >= 0; i--) {
        if (h->buffer->stride[i] != stride || (i > first && v->type->dim[i].batch)) return false;
        stride *= dim_size(v->type->dim[i], l->step->batch_bound);
    }
    return true;
}

static Buffer *flat_view(Lower *l, const Value *v, int first) {
    Buffer *of = l->home[v->id]->buffer;
    Dim dims[MAX_RANK + 1];
    for (int i = 0; i <= first; i++) dims[i] = v->type->dim[i];
    for (int i = first + 1; i < v->type->rank; i++) dims[first].n *= v->type->dim[i].n;
    return step_view(l->arena, l->step, of, first + 1, dims, NULL);
}

static Expr *pull_flat(Lower *l, const Value *v, int first, const Affine *const *index, bool look, int depth) {
    Expr *yes = look ? expr_const(l->arena, v->type->elem, 0) : NULL, *args[3];
    if (l->home[v->id]) {
        if (!lies_flat(l, v, first)) return NULL;
        return look ? yes : expr_load(l->arena, flat_view(l, v, first), index);
    }
    const Op *op = v->def;
    if (!op || depth > 16) return NULL;
    if (op->code == OP_constant) return look ? yes : pull(l, v, index);
    if (op->code == OP_broadcast && op->in[0]->type->rank == 0) return look ? yes : pull(l, op->in[0], NULL);
    if (!op_info[op->code].elementwise || op->n_in == 0) return NULL; /* iota counts along its own axis */
    for (int i = 0; i < op->n_in; i++)
        if (!(args[i] = pull_flat(l, op->in[i], first, index, look, depth + 1))) return NULL;
    return look ? yes : expr_op(l->arena, op->code, v->type->elem, op->n_in, args);
}

/* Are all axes from some on reduced, and can the operand be read as if they were one? The first of them, or -1. */
static int flat_from(Lower *l, const Op *op, const Axes *a) {
    int first = op->in[0]->type->rank - a->range.n;
    for (int k = 0; k < a->range.n; k++)
        if (a->axis[k] != first + k) return -1;
    return a->range.n > 1 && pull_flat(l, op->in[0], first, NULL, true, 0) ? first : -1;
}

/* lanes[r mod 16] += x[r], and their tree. Rows of a multiple of 16 elements, or a single axis, need no division: the last axis
 * is cut into vectors. */
static Expr *lanes_sum(Lower *l, const Op *op, const Affine *const *index, const Affine *piece) {
    Axes a = reduced_axes(op);
    Range *r = &a.range;
    Elem elem = op->out[0]->type->elem;
    const Affine *at[MAX_RANK + 1];
    Temp *lanes = low_acc(l, low_value_name(op->out[0]), elem, SUM_LANES, expr_const(l->arena, elem, 0));
    Scope *here = l->scope;
    int last = r->n - 1;
    int flat_first = flat_from(l, op, &a);
    bool rows = flat_first < 0 && (r->n == 1 || (!piece && !r->dim[last].batch && r->dim[last].n % SUM_LANES == 0));
    const Affine *lo = low_number(l, 0), *size = rows ? low_dim(l, r->dim[last]) : range_size(l, r);
    if (rows)
        for (int k = 0; k < last; k++) r->index[k] = affine_var(l->arena, low_open_dim(l, r->name[k], r->dim[k]));
    if (piece) lo = affine_scale(l->arena, piece, SUM_CHAIN);
    Var *block = low_open(l, rows ? r->name[last] : "r", lo, size, SUM_LANES);
    if (piece) stmt_add_limit(l->arena, l->scope->stmt, affine_add_constant(l->arena, lo, SUM_CHAIN));
    const Affine *first = affine_var(l->arena, block);
    Var *v = low_open(l, "l", first, size, 1);
    stmt_add_limit(l->arena, l->scope->stmt, affine_add_constant(l->arena, first, SUM_LANES));
    const Affine *flat = affine_var(l->arena, v), *lane = affine_add(l->arena, flat, affine_scale(l->arena, first, -1));
    Expr *x;
    if (flat_first >= 0) {
        for (int k = 0; k < flat_first; k++) at[k] = index[k];
        at[flat_first] = flat;
        x = pull_flat(l, op->in[0], flat_first, at, false, 0);
    } else {
        if (rows)
            r->index[last] = flat;
        else
            unflatten(l, r, flat);
        operand_index(op, &a, index, at);
        x = pull(l, op->in[0], at);
    }
    low_emit(l, stmt_assign(l->arena, lanes, &lane, low_binary(l, OP_add, expr_temp(l->arena, lanes, &lane), x)));
    low_close_to(l, here);
    return expr_tree(l->arena, OP_add, lanes);
}

static Expr *pull_sum(Lower *l, const Op *op, const Affine *const *index, const Affine *piece) {
    Axes a = reduced_axes(op);
    if (elem_is_float(op->out[0]->type->elem) && a.last && a.range.n) {
        Temp *t = low_let(l, low_value_name(op->out[0]), lanes_sum(l, op, index, piece));
        return low_temp(l, t);
    }
    return one_chain(l, op, index, piece, OP_add, 0);
}

/* ---- all of them ---- */

static Expr *pull_piece(Lower *l, const Op *op, const Affine *const *index, const Affine *piece) {
    return op->code == OP_sum ? pull_sum(l, op, index, piece) : pull_product(l, op, index, piece);
}

Expr *pull_reduction(Lower *l, const Op *op, const Affine *const *index) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch-enum"
    switch (op->code) {
    case OP_contract:
    case OP_conv: return pull_product(l, op, index, NULL);
    case OP_sum: return pull_sum(l, op, index, NULL);
    case OP_prod: return one_chain(l, op, index, NULL, OP_mul, 1);
    case OP_any: return one_chain(l, op, index, NULL, OP_or, 0);
    case OP_all: return one_chain(l, op, index, NULL, OP_and, 1);
    case OP_window_sum:
    case OP_window_put:
    case OP_window_max:
    case OP_window_pick: return pull_window(l, op, index);
    default: return pull_extreme(l, op, index);
    }
#pragma GCC diagnostic pop
}

/* ---- pieces ---- */

static void chain_range(const Op *op, Range *r) {
    char label[2 * MAX_RANK];
    if (op->code == OP_sum) {
        *r = reduced_axes(op).range;
    } else {
        Spec s = read_spec(op);
        product_range(op, &s, r, label);
    }
}

int64_t op_pieces(const Lower *l, const Op *op) {
    if ((op->code != OP_contract && op->code != OP_conv && op->code != OP_sum) || !elem_is_float(op->out[0]->type->elem))
        return 0;
    Range r = {0};
    chain_range(op, &r);
    int64_t n = range_count(l, &r);
    return n > SUM_CHAIN ? (n + SUM_CHAIN - 1) / SUM_CHAIN : 0;
}

/* p[i] += p[i + h] for i = 0, 2h, 4h, .. with i + h < n, for h = 1, 2, 4, .. */
static void add_pieces(Lower *l, Buffer *p, int64_t most, const Affine *n, const Affine **at) {
    for (int64_t h = 1; h < most; h *= 2) {
        const Affine *i = affine_var(l->arena, low_open(l, "i", low_number(l, 0), affine_add_constant(l->arena, n, -h), 2 * h));
        if (!affine_is_constant(n)) stmt_add_limit(l->arena, l->scope->stmt, low_number(l, most - h));
        at[0] = affine_add_constant(l->arena, i, h);
        Expr *y = expr_load(l->arena, p, at);
        at[0] = i;
        low_emit(l, stmt_store(l->arena, p, at, low_binary(l, OP_add, expr_load(l->arena, p, at), y)));
        low_close(l);
    }
}

/* How many pieces there are for this B. */
static const Affine *piece_count(Lower *l, const Range *r) {
    const Affine *n = low_div(l, affine_add_constant(l->arena, range_size(l, r), SUM_CHAIN - 1), SUM_CHAIN);
    return n;
}

void lower_pieces(Lower *l, const Op *op) {
    const Type *t = op->out[0]->type;
    int64_t most = op_pieces(l, op);
    Range r = {0};
    Dim dims[MAX_RANK + 1] = {{most, false}};
    const Affine *at[MAX_RANK + 1], *index[MAX_RANK + 1];
    chain_range(op, &r);
    for (int i = 0; i < t->rank; i++) dims[i + 1] = t->dim[i];
    Buffer *p = step_buffer(l->arena, l->step, intern_printf("%s.pieces", low_value_name(op->out[0])), t->elem, t->rank + 1, dims,
                            op->loc);
    for (int pass = 0; pass < 2; pass++) {
        kernel_begin(l, pass ? "tree" : "pieces", op->loc);
        Scope *outer = l->scope;
        const Affine *n = piece_count(l, &r);
        if (pass == 0) at[0] = affine_var(l->arena, low_open(l, "piece", low_number(l, 0), n, 1));
        if (pass == 0 && !affine_is_constant(n)) { /* how many there are at most is for passes to see */
            stmt_add_limit(l->arena, l->scope->stmt, low_number(l, most));
            l->vars.at[l->scope->stmt->var->id].hi = most - 1;
        }
        for (int i = 0; i < t->rank; i++) {
            const char *name = op->code == OP_sum ? low_axis_name(i) : label_name(read_spec(op).part[2][i]);
            index[i] = at[i + 1] = affine_var(l->arena, low_open_dim(l, name, t->dim[i]));
        }
        if (pass == 0) {
            Expr *e = pull_piece(l, op, index, at[0]);
            low_emit(l, stmt_store(l->arena, p, at, e));
        } else {
            add_pieces(l, p, most, n, at);
        }
        low_close_to(l, outer);
        kernel_end(l);
        low_barrier(l);
    }
    Home *h = arena_make(l->arena, Home);
    h->buffer = p;
    h->axis[0] = -1;
    h->index[0] = low_number(l, 0);
    for (int i = 0; i < t->rank; i++) h->axis[i + 1] = i;
    l->home[op->out[0]->id] = h;
}
