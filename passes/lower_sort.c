/*
 * lower_sort.c - sort and top_k: every row becomes a nest of its own.
 *
 * A row of up to BLOCK elements is sorted by counting: an element's place is the number of those that stand before it, n^2 comparisons.
 *
 *   for i in 0..n { rank = 0 ; for m in 0..n { rank += before(x[m], x[i]) } ; %sorted[rank] = x[i] }
 *
 * A long one is counted in blocks of BLOCK elements, and then two blocks become one until there is one (merge sort, from the bottom up; Knuth, "The Art of Computer Programming", volume 3,
 * section 5.2.4): n log(n / BLOCK) comparisons. The text is as long for a million elements as for a hundred.
 *
 *   size = BLOCK
 *   for merge in 0..log2(n / BLOCK) {
 *     for pair in 0..n / (2 size) {
 *       left = 2 size pair ; right = left + size
 *       for i in .. { take = x[right] before x[left] ; %row[1 - merge mod 2, i] = take ? x[right] : x[left] ; left += not take ; right += take } }       where x is %row[merge mod 2]
 *     size = 2 size }
 *
 * Equal elements keep their order (those of a block on the left stand before equal ones on the right), NaN is the largest, so there is one result. Of top_k only the first k of each block are carried on.
 */
#include "passes/lower.h"

enum { BLOCK = 16 };

typedef struct Sort {
    Lower *l;
    const Op *op;
    const Value *x;
    int axis;
    bool falling; /* top_k: the largest first, and no more than `keep` of them */
    int64_t n;    /* elements of a row, B at its bound */
    const Affine *length, *keep;
    const Affine *at[MAX_RANK + 1];
    Buffer *row, *place; /* of a row twice: its elements, and where they stood */
} Sort;

/* ---- which stands before which? ---- */

/* Does x stand before y whatever their places? NaN is the largest. */
static Expr *stands_before(Lower *l, Temp *x, Temp *y, bool falling) {
    Expr *e = low_binary(l, falling ? OP_gt : OP_lt, low_temp(l, x), low_temp(l, y));
    if (!elem_is_float(x->elem)) return e;
    Temp *nan_one = falling ? x : y, *other = falling ? y : x;
    Expr *nan = low_binary(l, OP_and, low_binary(l, OP_ne, low_temp(l, nan_one), low_temp(l, nan_one)),
                           low_binary(l, OP_eq, low_temp(l, other), low_temp(l, other)));
    return low_binary(l, OP_or, e, nan);
}

static Expr *opposite(Lower *l, Expr *x) { return expr_op(l->arena, OP_not, BOOL, 1, &x); }

static Expr *number(Lower *l, int64_t k) { return expr_const(l->arena, I64, (double)k); }

static Expr *element(Sort *s, const Affine *i) {
    s->at[s->axis] = i;
    return pull(s->l, s->x, s->at);
}

/* How many of elements from..limit stand before element i, whose value is v. */
static Temp *count_before(Sort *s, const Affine *i, Temp *v, const Affine *from, const Affine *limit) {
    Lower *l = s->l;
    Temp *rank = low_acc(l, "rank", I64, 0, number(l, 0));
    Scope *outer = l->scope;
    const Affine *other = affine_var(l->arena, low_open(l, low_axis_name(s->axis + 4), from, limit, 1));
    stmt_add_limit(l->arena, l->scope->stmt, s->length);
    Temp *w = low_let(l, "w", element(s, other));
    Temp *first = low_let(l, "first", stands_before(l, w, v, s->falling)),
         *after = low_let(l, "after", stands_before(l, v, w, s->falling));
    Expr *tie = low_binary(l, OP_and, opposite(l, low_temp(l, after)), low_binary(l, OP_lt, low_i64(l, other), low_i64(l, i)));
    Temp *before = low_let(l, "before", low_binary(l, OP_or, low_temp(l, first), tie));
    low_set(l, rank, low_binary(l, OP_add, low_temp(l, rank), low_choose(l, before, number(l, 1), number(l, 0))));
    low_close_to(l, outer);
    return rank;
}

/* ---- short rows ---- */

static void sort_by_counting(Sort *s, Home *const *homes) {
    Lower *l = s->l;
    const Affine *mine = low_open_axis(l, s->axis, s->x->type->dim[s->axis]);
    Temp *v = low_let(l, "v", element(s, mine));
    Temp *rank = count_before(s, mine, v, low_number(l, 0), s->length);
    s->at[s->axis] = low_index_value(l, "place", low_temp(l, rank), 0, s->n > 0 ? s->n - 1 : 0);
    if (s->keep)
        low_open_if(l,
                    affine_add_constant(l->arena, affine_add(l->arena, s->keep, affine_scale(l->arena, s->at[s->axis], -1)), -1));
    home_store(l, homes[0], s->at, low_temp(l, v));
    home_store(l, homes[1], s->at, expr_index(l->arena, I32, mine));
}

/* ---- long rows ---- */

static Buffer *two_rows(Sort *s, const char *name, Elem elem) {
    const Type *t = s->x->type;
    Dim dims[2] = {{2, false}, t->dim[s->axis]};
    Buffer *b = step_buffer(s->l->arena, s->l->step, name, elem, 2, dims, s->op->loc);
    if (t->rank > 1) b->place = PLACE_THREAD; /* rows are shared out */
    return b;
}

static Expr *load_row(Sort *s, Buffer *b, const Affine *which, const Affine *i) {
    const Affine *at[2] = {which, i};
    return expr_load(s->l->arena, b, at);
}

static void store_row(Sort *s, Buffer *b, const Affine *which, const Affine *i, Expr *e) {
    const Affine *at[2] = {which, i};
    low_emit(s->l, stmt_store(s->l->arena, b, at, e));
}

/* Blocks of BLOCK, each by counting, into the first of the two rows. */
static void sort_blocks(Sort *s) {
    Lower *l = s->l;
    Scope *outer = l->scope;
    const Affine *mine = low_open_axis(l, s->axis, s->x->type->dim[s->axis]);
    const Affine *from = affine_add(l->arena, mine, affine_scale(l->arena, low_mod(l, mine, BLOCK), -1));
    Temp *v = low_let(l, "v", element(s, mine));
    Temp *rank = count_before(s, mine, v, from, affine_add_constant(l->arena, from, BLOCK));
    const Affine *to = affine_add(l->arena, from, low_index_value(l, "rank", low_temp(l, rank), 0, BLOCK - 1));
    store_row(s, s->row, low_number(l, 0), to, low_temp(l, v));
    store_row(s, s->place, low_number(l, 0), to, expr_index(l->arena, I32, mine));
    low_close_to(l, outer);
}

static Expr *plus(Lower *l, Expr *x, Expr *y) { return low_binary(l, OP_add, x, y); }
static Expr *minus(Lower *l, Expr *x, Expr *y) { return low_binary(l, OP_sub, x, y); }
static Expr *least(Lower *l, Expr *x, Expr *y) { return low_binary(l, OP_min, x, y); }

/* Where a block that begins at `begin` and has `size` elements ends: with the row, and of top_k after those that are kept. */
static Temp *block_end(Sort *s, const char *name, Expr *begin, Temp *size) {
    Lower *l = s->l;
    Expr *many = s->keep ? least(l, low_temp(l, size), low_i64(l, s->keep)) : low_temp(l, size);
    return low_let(l, name, least(l, plus(l, begin, many), low_i64(l, s->length)));
}

/* Element x of the row, or any where there is none. */
static Temp *look_at(Sort *s, const char *name, const Affine *from, Temp *x, const Affine **at) {
    Lower *l = s->l;
    *at =
        low_index_value(l, name, least(l, low_temp(l, x), low_i64(l, affine_add_constant(l->arena, s->length, -1))), 0, s->n - 1);
    return low_let(l, "v", load_row(s, s->row, from, *at));
}

/* The two blocks of `size` elements from `begin` on become one: of the first ones of both the left one is next, unless the right one stands before it. */
static void merge_two(Sort *s, Temp *size, Expr *begin, const Affine *from, const Affine *to) {
    Lower *l = s->l;
    Temp *start = low_let(l, "start", begin);
    Temp *middle = low_let(l, "middle", plus(l, low_temp(l, start), low_temp(l, size)));
    Temp *left_end = block_end(s, "left_end", low_temp(l, start), size),
         *right_end = block_end(s, "right_end", low_temp(l, middle), size);
    Temp *left = low_acc(l, "left", I64, 0, low_temp(l, start)), *right = low_acc(l, "right", I64, 0, low_temp(l, middle));
    Expr *more = low_binary(l, OP_max, number(l, 0), minus(l, low_temp(l, right_end), low_temp(l, middle)));
    Expr *end = plus(l, low_temp(l, left_end), more);
    if (s->keep) end = least(l, end, plus(l, low_temp(l, start), low_i64(l, s->keep)));
    const Affine *first = low_index_value(l, "first", low_temp(l, start), 0, s->n - 1),
                 *limit = low_index_value(l, "end", end, 0, s->n);
    const Affine *place = affine_var(l->arena, low_open(l, low_axis_name(s->axis), first, limit, 1)), *x, *y;
    Temp *v = look_at(s, "x", from, left, &x), *w = look_at(s, "y", from, right, &y);
    Temp *before = low_let(l, "before", stands_before(l, w, v, s->falling));
    Expr *next = low_binary(l, OP_or, low_binary(l, OP_ge, low_temp(l, left), low_temp(l, left_end)), low_temp(l, before));
    Temp *take =
        low_let(l, "take", low_binary(l, OP_and, low_binary(l, OP_lt, low_temp(l, right), low_temp(l, right_end)), next));
    store_row(s, s->row, to, place, low_choose(l, take, low_temp(l, w), low_temp(l, v)));
    store_row(s, s->place, to, place, low_choose(l, take, load_row(s, s->place, from, y), load_row(s, s->place, from, x)));
    low_set(l, left, plus(l, low_temp(l, left), low_choose(l, take, number(l, 0), number(l, 1))));
    low_set(l, right, plus(l, low_temp(l, right), low_choose(l, take, number(l, 1), number(l, 0))));
}

/* Every two blocks become one: the elements of row `from` go to row `to`. */
static void merge_blocks(Sort *s, Temp *size, const Affine *from, const Affine *to) {
    Lower *l = s->l;
    Scope *outer = l->scope;
    Temp *two = low_let(l, "two", low_binary(l, OP_mul, low_temp(l, size), number(l, 2)));
    Expr *pairs =
        low_binary(l, OP_floor_div, plus(l, low_i64(l, s->length), minus(l, low_temp(l, two), number(l, 1))), low_temp(l, two));
    const Affine *n = low_index_value(l, "pairs", pairs, 0, s->n);
    const Affine *pair = affine_var(l->arena, low_open(l, "pair", low_number(l, 0), n, 1));
    merge_two(s, size, low_binary(l, OP_mul, low_i64(l, pair), low_temp(l, two)), from, to);
    low_close_to(l, outer);
}

static void sort_by_merging(Sort *s, Home *const *homes) {
    Lower *l = s->l;
    Scope *outer = l->scope;
    int merges = 0;
    while ((int64_t)BLOCK << merges < s->n) merges++;
    s->row = two_rows(s, "row", s->x->type->elem);
    s->place = two_rows(s, "place", I32);
    sort_blocks(s);
    Temp *size = low_acc(l, "size", I64, 0, number(l, BLOCK));
    const Affine *merge = affine_var(l->arena, low_open(l, "merge", low_number(l, 0), low_number(l, merges), 1));
    const Affine *from = low_mod(l, merge, 2);
    const Affine *to = affine_add_constant(l->arena, affine_scale(l->arena, from, -1), 1);
    merge_blocks(s, size, from, to);
    low_set(l, size, low_binary(l, OP_mul, low_temp(l, size), number(l, 2)));
    low_close_to(l, outer);
    const Affine *i = low_open_axis(l, s->axis, s->op->out[0]->type->dim[s->axis]);
    s->at[s->axis] = i;
    home_store(l, homes[0], s->at, load_row(s, s->row, low_number(l, merges % 2), i));
    home_store(l, homes[1], s->at, load_row(s, s->place, low_number(l, merges % 2), i));
}

void lower_sort(Lower *l, const Op *op, Home *const *homes) {
    Sort s = {.l = l, .op = op, .x = op->in[0], .falling = op->code == OP_top_k};
    const Type *t = s.x->type;
    s.axis = s.falling ? t->rank - 1 : (int)op_int(op, A_axis);
    s.n = dim_size(t->dim[s.axis], l->step->batch_bound);
    s.length = low_dim(l, t->dim[s.axis]);
    if (s.falling) s.keep = low_number(l, op_int(op, A_k));
    for (int k = 0; k < t->rank; k++)
        if (k != s.axis) s.at[k] = low_open_axis(l, k, t->dim[k]);
    if (s.n > BLOCK)
        sort_by_merging(&s, homes);
    else
        sort_by_counting(&s, homes);
}
