/*
 * lower_sort.c - sort and top_k: every row becomes a nest of its own.
 *
 * A row of up to BLOCK elements is sorted by counting: an element's place is the number of those that stand before it, n^2 comparisons.
 *
 *   for i in 0..n { rank = 0 ; for m in 0..n { rank += before(x[m], x[i]) } ; %sorted[rank] = x[i] }
 *
 * A long one is cut into 2^merges blocks of up to BLOCK elements, the last of them filled up with elements that stand last. Each is counted, and then two blocks become one until there is one
 * (merge sort, from the bottom up; Knuth, "The Art of Computer Programming", volume 3, section 5.2.4): n log(n / BLOCK) comparisons. The text is as long for a million elements as for a hundred.
 *
 *   size = block
 *   for merge in 0..merges {
 *     for pair in 0..n / (2 size) {
 *       left = 2 size pair ; right = left + size ; left_end = right - 1 ; right_end = right + size - 1
 *       for i in 0..size {
 *         take = x[right] before x[left] ; %row[to, 2 size pair + i] = x[take ? right : left] ; left += not take ; right += take
 *         keep = x[right_end] before x[left_end] ; %row[to, 2 size (pair + 1) - 1 - i] = x[keep ? left_end : right_end] ; .. } }       where x is %row[from]
 *     size = 2 size }
 *
 * Both blocks have `size` elements, so the first `size` of the merged ones can be found from the front, and the others from the back, and neither search can run out of a block: there are no ends to
 * look at, no branches that nobody can foretell, and two chains of comparisons that do not wait for each other.
 *
 * Equal elements keep their order (those of a block on the left stand before equal ones on the right), NaN is the largest, so there is one result. Of top_k only the first k of each block are
 * carried on, and where k is small no block is sorted at all: lower_top.c.
 */
#include "passes/lower_sort.h"

#include <math.h>

enum { BLOCK = 16 };

/* ---- which stands before which? ---- */

static Expr *opposite(Lower *l, Expr *x) { return expr_op(l->arena, OP_not, BOOL, 1, &x); }

/* Of floats: what is not above the other is below it or one of both is NaN; so only that of the two is looked at that must not be. */
Expr *sort_before(Lower *l, Expr *x, Expr *y, bool falling) {
    if (!elem_is_float(x->elem)) return low_binary(l, falling ? OP_gt : OP_lt, x, y);
    Expr *number = falling ? y : x;
    return low_binary(l, OP_and, low_binary(l, OP_eq, number, number), opposite(l, low_binary(l, falling ? OP_le : OP_ge, x, y)));
}

double sort_greatest(Elem e) { return elem_is_float(e) ? NAN : e == I32 ? 0x1p31 - 1 : e == I64 ? 0x1p63 : 255; }

static Expr *number(Lower *l, int64_t k) { return expr_const(l->arena, I64, (double)k); }
static Expr *plus(Lower *l, Expr *x, Expr *y) { return low_binary(l, OP_add, x, y); }
static Expr *minus(Lower *l, Expr *x, Expr *y) { return low_binary(l, OP_sub, x, y); }

Expr *sort_element(Sort *s, const Affine *i) {
    s->at[s->axis] = i;
    return pull(s->l, s->x, s->at);
}

/* Adds 1 to rank if w, the element m of some, stands before v, the element i of them: of equal ones the first. */
static void count(Sort *s, Temp *rank, Temp *v, const Affine *i, Temp *w, const Affine *m) {
    Lower *l = s->l;
    Expr *first = low_binary(l, OP_lt, expr_index(l->arena, I32, m), expr_index(l->arena, I32, i));
    Expr *cases[3] = {first, opposite(l, sort_before(l, low_temp(l, v), low_temp(l, w), s->falling)),
                      sort_before(l, low_temp(l, w), low_temp(l, v), s->falling)};
    Temp *before = low_let(l, "before", expr_op(l->arena, OP_select, BOOL, 3, cases));
    Expr *one = expr_const(l->arena, I32, 1), *none = expr_const(l->arena, I32, 0);
    low_set(l, rank, plus(l, low_temp(l, rank), low_choose(l, before, one, none)));
}

/* ---- short rows ---- */

static void sort_by_counting(Sort *s, Home *const *homes) {
    Lower *l = s->l;
    const Affine *mine = low_open_axis(l, s->axis, s->x->type->dim[s->axis]);
    Temp *v = low_let(l, "v", sort_element(s, mine));
    Temp *rank = low_acc(l, "rank", I32, 0, expr_const(l->arena, I32, 0));
    Scope *outer = l->scope;
    const Affine *other = affine_var(l->arena, low_open(l, low_axis_name(s->axis + 4), low_number(l, 0), s->length, 1));
    count(s, rank, v, mine, low_let(l, "w", sort_element(s, other)), other);
    low_close_to(l, outer);
    s->at[s->axis] = low_index_value(l, "place", low_temp(l, rank), 0, s->n > 0 ? s->n - 1 : 0);
    if (s->falling) low_open_if(l, affine_add_constant(l->arena, affine_scale(l->arena, s->at[s->axis], -1), s->keep - 1));
    home_store(l, homes[0], s->at, low_temp(l, v));
    home_store(l, homes[1], s->at, expr_index(l->arena, I32, mine));
}

/* ---- long rows ---- */

Buffer *sort_buffer(const Sort *s, const char *name, Elem elem, int rank, int64_t rows, int64_t n) {
    Dim dims[2] = {{rank == 2 ? rows : n, false}, {n, false}};
    Buffer *b = step_buffer(s->l->arena, s->l->step, name, elem, rank, dims, s->op->loc);
    if (s->x->type->rank > 1) b->place = PLACE_THREAD; /* rows are shared out */
    return b;
}

static Expr *load_row(const Sort *s, Buffer *b, const Affine *which, const Affine *i) {
    const Affine *at[2] = {which, i};
    return expr_load(s->l->arena, b, at);
}

static void store_row(const Sort *s, Buffer *b, const Affine *which, const Affine *i, Expr *e) {
    const Affine *at[2] = {which, i};
    low_emit(s->l, stmt_store(s->l->arena, b, at, e));
}

/* The row into the first of the two, and behind it, in both, what stands last: up to `room`, where the last block ends. */
static void copy_row(Sort *s, int64_t room) {
    Lower *l = s->l;
    Scope *outer = l->scope;
    Elem elem = s->row->elem;
    const Affine *i = low_open_axis(l, s->axis, s->x->type->dim[s->axis]);
    store_row(s, s->row, low_number(l, 0), i, sort_element(s, i));
    low_close_to(l, outer);
    for (int row = 0; row < 2; row++) {
        i = affine_var(l->arena, low_open(l, low_axis_name(s->axis), s->length, low_number(l, room), 1));
        double last = s->falling ? low_least(elem) : sort_greatest(elem);
        store_row(s, s->row, low_number(l, row), i, expr_const(l->arena, elem, last));
        store_row(s, s->place, low_number(l, row), i, expr_const(l->arena, I32, 0));
        low_close_to(l, outer);
    }
}

/* Blocks, each by counting, from the first of the two rows into the second. Ranks go by way of memory, so that they are counted in lanes. */
static void sort_blocks(Sort *s, int64_t block) {
    Lower *l = s->l;
    Scope *outer = l->scope;
    Buffer *ranks = sort_buffer(s, "rank", I32, 1, 1, block);
    const Affine *blocks = low_div(l, affine_add_constant(l->arena, s->length, block - 1), block), *zero = low_number(l, 0);
    const Affine *from = affine_scale(l->arena, affine_var(l->arena, low_open(l, "block", zero, blocks, 1)), block);
    Scope *inside = l->scope;
    const Affine *i = affine_var(l->arena, low_open(l, "e", zero, low_number(l, block), 1));
    Temp *v = low_let(l, "v", load_row(s, s->row, zero, affine_add(l->arena, from, i)));
    Temp *rank = low_acc(l, "rank", I32, 0, expr_const(l->arena, I32, 0));
    Scope *element = l->scope;
    const Affine *m = affine_var(l->arena, low_open(l, "m", zero, low_number(l, block), 1));
    count(s, rank, v, i, low_let(l, "w", load_row(s, s->row, zero, affine_add(l->arena, from, m))), m);
    low_close_to(l, element);
    low_emit(l, stmt_store(l->arena, ranks, &i, low_temp(l, rank)));
    low_close_to(l, inside);
    i = affine_var(l->arena, low_open(l, "e", zero, low_number(l, block), 1));
    const Affine *mine = affine_add(l->arena, from, i);
    const Affine *to = affine_add(l->arena, from, low_index_value(l, "to", expr_load(l->arena, ranks, &i), 0, block - 1));
    store_row(s, s->row, low_number(l, 1), to, load_row(s, s->row, zero, mine));
    store_row(s, s->place, low_number(l, 1), to, expr_index(l->arena, I32, mine));
    low_close_to(l, outer);
}

/* Two blocks of the row `from` that become one of the row `to`. */
typedef struct Merge {
    Sort *s;
    Temp *size;
    const Affine *from, *to;
} Merge;

/* The next element, from the front, or (back) from the end, goes to `place`. left, right: the ones that are next in both blocks. */
static void merge_one(const Merge *g, Temp *left, Temp *right, const Affine *place, bool back) {
    Sort *s = g->s;
    Lower *l = s->l;
    const Affine *x = low_index_value(l, "x", low_temp(l, left), 0, s->row->dim[1].n - 1),
                 *y = low_index_value(l, "y", low_temp(l, right), 0, s->row->dim[1].n - 1);
    Temp *v = low_let(l, "v", load_row(s, s->row, g->from, x)), *w = low_let(l, "w", load_row(s, s->row, g->from, y));
    Temp *before = low_let(l, "before", sort_before(l, low_temp(l, w), low_temp(l, v), s->falling));
    Expr *next[2] = {low_i64(l, back ? x : y), low_i64(l, back ? y : x)};
    const Affine *at = low_index_value(l, "at", low_choose(l, before, next[0], next[1]), 0, s->row->dim[1].n - 1);
    store_row(s, s->row, g->to, place, load_row(s, s->row, g->from, at));
    store_row(s, s->place, g->to, place, load_row(s, s->place, g->from, at));
    Expr *is_before = low_temp(l, before);
    Temp *step = low_let(l, "step", expr_op(l->arena, OP_convert, I64, 1, &is_before));
    Expr *other = minus(l, number(l, 1), low_temp(l, step));
    low_set(l, left, back ? minus(l, low_temp(l, left), low_temp(l, step)) : plus(l, low_temp(l, left), other));
    low_set(l, right, back ? minus(l, low_temp(l, right), other) : plus(l, low_temp(l, right), low_temp(l, step)));
}

/* The two blocks of `size` elements from `begin` on become one. */
static void merge_two(const Merge *g, Expr *begin) {
    Sort *s = g->s;
    Lower *l = s->l;
    int64_t room = s->row->dim[1].n;
    const Affine *start = low_index_value(l, "start", begin, 0, room - 1);
    const Affine *size = low_index_value(l, "half", low_temp(l, g->size), 0, room);
    const Affine *middle = affine_add(l->arena, start, size), *end = affine_add(l->arena, middle, size);
    Temp *left = low_acc(l, "left", I64, 0, low_i64(l, start)), *right = low_acc(l, "right", I64, 0, low_i64(l, middle));
    Temp *left_end = low_acc(l, "left_end", I64, 0, low_i64(l, affine_add_constant(l->arena, middle, -1))),
         *right_end = low_acc(l, "right_end", I64, 0, low_i64(l, affine_add_constant(l->arena, end, -1)));
    const Affine *i = affine_var(l->arena, low_open(l, low_axis_name(s->axis), low_number(l, 0), size, 1));
    if (s->falling) stmt_add_limit(l->arena, l->scope->stmt, low_number(l, s->keep));
    merge_one(g, left, right, affine_add(l->arena, start, i), false);
    merge_one(g, left_end, right_end, affine_add_constant(l->arena, affine_add(l->arena, end, affine_scale(l->arena, i, -1)), -1),
              true);
}

/* Every two blocks become one: the elements of row `from` go to row `to`. */
static void merge_blocks(const Merge *g) {
    Sort *s = g->s;
    Lower *l = s->l;
    Scope *outer = l->scope;
    Temp *two = low_let(l, "two", low_binary(l, OP_mul, low_temp(l, g->size), number(l, 2)));
    Expr *pairs =
        low_binary(l, OP_floor_div, plus(l, low_i64(l, s->length), minus(l, low_temp(l, two), number(l, 1))), low_temp(l, two));
    const Affine *n = low_index_value(l, "pairs", pairs, 0, s->n);
    const Affine *pair = affine_var(l->arena, low_open(l, "pair", low_number(l, 0), n, 1));
    merge_two(g, low_binary(l, OP_mul, low_i64(l, pair), low_temp(l, two)));
    low_close_to(l, outer);
}

void sort_by_merging(Sort *s, Home *const *homes) {
    Lower *l = s->l;
    Scope *outer = l->scope;
    int merges = 0;
    while ((int64_t)BLOCK << merges < s->n) merges++;
    int64_t block = (s->n + ((int64_t)1 << merges) - 1) >> merges, room = block << merges;
    s->row = sort_buffer(s, "row", s->x->type->elem, 2, 2, room);
    s->place = sort_buffer(s, "place", I32, 2, 2, room);
    copy_row(s, room);
    sort_blocks(s, block);
    Merge g = {.s = s, .size = low_acc(l, "size", I64, 0, number(l, block))};
    const Affine *merge = affine_var(l->arena, low_open(l, "merge", low_number(l, 0), low_number(l, merges), 1));
    g.to = low_mod(l, merge, 2);
    g.from = affine_add_constant(l->arena, affine_scale(l->arena, g.to, -1), 1);
    merge_blocks(&g);
    low_set(l, g.size, low_binary(l, OP_mul, low_temp(l, g.size), number(l, 2)));
    low_close_to(l, outer);
    const Affine *i = low_open_axis(l, s->axis, s->op->out[0]->type->dim[s->axis]), *last = low_number(l, (merges + 1) % 2);
    s->at[s->axis] = i;
    home_store(l, homes[0], s->at, load_row(s, s->row, last, i));
    home_store(l, homes[1], s->at, load_row(s, s->place, last, i));
}

void lower_sort(Lower *l, const Op *op, Home *const *homes) {
    Sort s = {.l = l, .op = op, .x = op->in[0], .falling = op->code == OP_top_k};
    const Type *t = s.x->type;
    s.axis = s.falling ? t->rank - 1 : (int)op_int(op, A_axis);
    s.n = dim_size(t->dim[s.axis], l->step->batch_bound);
    s.length = low_dim(l, t->dim[s.axis]);
    if (s.falling) s.keep = op_int(op, A_k);
    for (int k = 0; k < t->rank; k++)
        if (k != s.axis) s.at[k] = low_open_axis(l, k, t->dim[k]);
    if (s.n <= BLOCK)
        sort_by_counting(&s, homes);
    else if (top_is_short(&s))
        top_by_list(&s, homes);
    else
        sort_by_merging(&s, homes);
}
