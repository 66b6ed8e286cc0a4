/*
 * fuse.c - groups ops into kernels, so that nothing is written to memory only to be read once.
 * in:    typed graph, grads expanded.
 * out:   stage fused: every op stands in a `kernel`, but for control, constants and reshapes of what lies in memory.
 * keeps: every bit (nothing is reassociated), types, places.   spoils: use counts.
 *
 *   %z = contract "bi,io->bo" %x, %w           %h = kernel {
 *   %bb = broadcast %b, axes=[1]                  %z = contract "bi,io->bo" %x, %w
 *   %a = add %z, %bb                       =>     %bb = broadcast %b, axes=[1]
 *   %h = max %a, %zero                            %a = add %z, %bb
 *                                                 %h = max %a, %zero   return %h }
 *
 * A group has a point: the axes that run outside, which all its members share as their first ones. An op joins the group of one
 * of its operands if it reads the group's values in their own rows only (see step_keeps_rows) and no other operand waits for that
 * group:
 *
 *   - behind a product or a window, elementwise ops of its shape (bias, activation, mask, the update of a weight);
 *   - elementwise ops, gathers, and reductions over trailing axes make a group of rows (softmax with its loss and its gradient:
 *     the point is the sample).
 *
 * Groups that begin apart and work on the same rows are joined. Then what only one later group uses moves there, if that makes
 * less to write: 1 - h moves to where dh (h (1 - h)) is computed; and what would be stored for a later group is computed there
 * again, if that moves fewer bytes (fuse_again.c). At last groups without products and without a path between them share a
 * kernel: the updates of many small parameters, the tracked scalars.
 *
 * Free ops (constants, broadcasts, transposes, cheap arithmetic on what lies in memory, random draws) belong to no group: each
 * kernel that uses them computes them, but for draws behind a product (fuse_draws.c). So u8 pixels become f32 inside each product that reads them, but for convolutions, whose first operand lies in memory.
 */
#include "passes/fuse.h"

#include <string.h>

enum {
    OPERAND_COST = 4, /* arithmetic done again for each element of a product's operand, where it is done once for each panel */
    LEAST_POINTS = 8, /* rows of a group, fewer are not worth losing the elements' parallelism */
    SHORT_ROW = 4096,
    ROWS_LIMIT = 1 << 16,     /* elements of a row that a group may work on */
    MANY = 64,                /* most groups in one kernel */
    LARGE = 400,              /* most ops in one group: what comes after walks an expression as deep as it is long */
    MOST_OPS = 50000,         /* in one block: what groups need of each other is known pair by pair */
    MOST_OPS_IN_ALL = 100000, /* in all functions: seconds, until they are loops */
};

/* ---- what ops cost and are ---- */

bool fuse_is_product(OpCode c) { return c == OP_contract || c == OP_conv; }
static bool is_window(OpCode c) { return c == OP_window_max || c == OP_window_sum || c == OP_window_put || c == OP_window_pick; }
static bool is_reduction(OpCode c) {
    return c == OP_sum || c == OP_prod || c == OP_reduce_max || c == OP_reduce_min || c == OP_any || c == OP_all ||
           c == OP_argmax || c == OP_argmin;
}
static bool is_control(OpCode c) { return c == OP_scan || c == OP_while; }

static bool is_move(OpCode c) {
    return c == OP_broadcast || c == OP_reshape || c == OP_transpose || c == OP_slice || c == OP_reverse || c == OP_stop_gradient;
}
static bool is_leaf(OpCode c) { return c == OP_constant || c == OP_literal || c == OP_batch || c == OP_iota; }

/* Results are elements of operands or arithmetic on them: no loops of its own. */
static bool is_pointwise(const Op *op) {
    return op_info[op->code].elementwise || is_move(op->code) || op->code == OP_gather || op->code == OP_take ||
           op->code == OP_pad || op->code == OP_uniform || op->code == OP_dynamic_slice || op_scatters_one(op);
}

int fuse_cost(OpCode c) {
    if (is_move(c) || is_leaf(c)) return 0;
    return op_is_function(c) ? SCALAR_COST : c == OP_div || c == OP_sqrt || c == OP_mod || c == OP_floor_div ? 2 : 1;
}

/* ---- roles ---- */

/* The arithmetic that computing v again would take, with everything that is free before it; more than `most` is cut off. */
static int free_cost(const Fuse *f, const Value *v, int most) {
    int i = fuse_op_of(f, v);
    if (i < 0 || f->role[i] != ROLE_FREE) return 0;
    int cost = fuse_cost(f->op[i]->code);
    for (int k = 0; k < f->op[i]->n_in && cost <= most; k++)
        if (v->type->rank == 0 || f->op[i]->in[k]->type->rank)
            cost += free_cost(f, f->op[i]->in[k], most - cost); /* scalars: once, outside of the loops */
    return cost;
}

/* Is what v is made of, through free ops, in memory before the block begins? Then it costs loads and arithmetic alone. */
static bool from_memory(const Fuse *f, const Value *v) {
    int i = fuse_op_of(f, v);
    if (i < 0) return true;
    if (f->role[i] != ROLE_FREE) return false;
    for (int k = 0; k < f->op[i]->n_in; k++)
        if (!from_memory(f, f->op[i]->in[k])) return false;
    return true;
}

/* Bytes that computing v again reads. */
static int64_t source_bytes(const Fuse *f, const Value *v) {
    int i = fuse_op_of(f, v);
    if (i < 0 || f->role[i] != ROLE_FREE) return type_count(v->type, f->func->batch_bound) * elem_size(v->type->elem);
    int64_t sum = 0;
    for (int k = 0; k < f->op[i]->n_in; k++) sum += source_bytes(f, f->op[i]->in[k]);
    return sum;
}

int64_t fuse_value_bytes(const Fuse *f, const Value *v) {
    return type_count(v->type, f->func->batch_bound) * elem_size(v->type->elem);
}

static Role find_role(const Fuse *f, const Op *op) {
    if (is_control(op->code)) return ROLE_CONTROL;
    if (is_leaf(op->code) || is_move(op->code) || op->code == OP_uniform) return ROLE_FREE;
    if (!op_info[op->code].elementwise) return ROLE_MEMBER;
    int cost = fuse_cost(op->code);
    for (int k = 0; k < op->n_in; k++)
        if (op->out[0]->type->rank == 0 || op->in[k]->type->rank) cost += free_cost(f, op->in[k], SCALAR_COST);
    if (op->out[0]->type->rank == 0) return cost < SCALAR_COST ? ROLE_FREE : ROLE_MEMBER;
    int64_t bytes = 0;
    for (int k = 0; k < op->n_in; k++) {
        if (!from_memory(f, op->in[k]) && op->in[k]->type->rank) return ROLE_MEMBER;
        bytes += source_bytes(f, op->in[k]);
    }
    return cost <= FREE_COST && bytes <= fuse_value_bytes(f, op->out[0]) ? ROLE_FREE : ROLE_MEMBER;
}

/* Through moves, to what must lie in memory. */
static void keep(Fuse *f, const Value *v) {
    int i = fuse_op_of(f, v);
    if (i < 0) return;
    const Op *op = f->op[i];
    if (f->role[i] == ROLE_FREE) {
        if (op->code == OP_constant || op->code == OP_literal || op->code == OP_batch) return;
        if (op->code == OP_reshape) {
            keep(f, op->in[0]);
            int from = fuse_op_of(f, op->in[0]);
            if (from < 0 || f->role[from] != ROLE_FREE || f->op[from]->code == OP_reshape) return;
        }
        f->role[i] = ROLE_MEMBER;
    }
    f->kept[i] = true;
}

/* An operand that is read once for each element of another axis must not cost much; random draws never. */
static bool cheap_operand(const Fuse *f, const Value *v) {
    int i = fuse_op_of(f, v);
    if (i < 0 || f->role[i] != ROLE_FREE) return true;
    if (f->op[i]->code == OP_uniform || free_cost(f, v, OPERAND_COST + 1) > OPERAND_COST) return false;
    for (int k = 0; k < f->op[i]->n_in; k++)
        if (!cheap_operand(f, f->op[i]->in[k])) return false;
    return true;
}

/* The first op on the way that is no mere move must be stored. */
static void store_operand(Fuse *f, const Value *v) {
    int i = fuse_op_of(f, v);
    while (i >= 0 && f->role[i] == ROLE_FREE && is_move(f->op[i]->code) && f->op[i]->code != OP_broadcast) {
        v = f->op[i]->in[0];
        i = fuse_op_of(f, v);
    }
    if (i >= 0 && f->role[i] == ROLE_FREE && !is_leaf(f->op[i]->code)) f->role[i] = ROLE_MEMBER;
}

static void find_roles(Fuse *f) {
    for (int i = 0; i < f->n_ops; i++) {
        const Op *op = f->op[i];
        f->role[i] = find_role(f, op);
        bool repeats = fuse_is_product(op->code) || is_window(op->code) || op->code == OP_sort || op->code == OP_top_k;
        for (int k = 0; k < op->n_in && repeats; k++) /* a map in memory can have a border of zeros (halo.c) */
            if ((op->code == OP_conv && k == 0) || !cheap_operand(f, op->in[k])) store_operand(f, op->in[k]);
    }
    fuse_store_draws(f);
    for (int i = 0; i < f->n_ops; i++) {
        if (f->role[i] != ROLE_CONTROL) continue;
        for (int k = 0; k < f->op[i]->n_in; k++) keep(f, f->op[i]->in[k]);
        Values inner = op_captures(f->arena, f->op[i]);
        for (size_t k = 0; k < inner.n; k++) keep(f, inner.at[k]);
    }
    for (size_t k = 0; k < f->block->results.n; k++) keep(f, f->block->results.at[k]);
    /* what became a member leaves free ops before it as they are; what is behind it may not be from memory any more, and stays
     * free all the same: it is cheap, and reads what is stored now */
}

/* ---- rows ---- */

static bool same_prefix(const Type *a, const Type *b, int n) {
    if (a->rank < n || b->rank < n) return false;
    for (int i = 0; i < n; i++)
        if (!dim_same(a->dim[i], b->dim[i])) return false;
    return true;
}

static bool lists_below(const int64_t *axes, int64_t k, int n) {
    for (int64_t i = 0; i < k; i++)
        if (axes[i] < n) return true;
    return false;
}

/* Does element [p.., q..] of the op read operand k only at [p.., anything], p being the first n axes? */
static bool step_keeps_rows(const Op *op, int k, int n) {
    const int64_t *at, *more;
    const Type *x = op->in[k]->type, *t = op->out[0]->type;
    if (!same_prefix(x, t, n)) return false;
    if (op_info[op->code].elementwise || op->code == OP_stop_gradient || op->code == OP_reshape) return true;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch-enum"
    switch (op->code) {
    case OP_broadcast:
        op_ints(op, A_axes, &at);
        for (int i = 0; i < n; i++)
            if (at[i] != i) return false;
        return true;
    case OP_transpose:
        op_ints(op, A_perm, &at);
        for (int i = 0; i < n; i++)
            if (at[i] != i) return false;
        return true;
    case OP_slice:
        op_ints(op, A_start, &at);
        op_ints(op, A_step, &more);
        for (int i = 0; i < n; i++)
            if (at[i] != 0 || more[i] != 1) return false;
        return true;
    case OP_pad:
        op_ints(op, A_low, &at);
        op_ints(op, A_interior, &more);
        for (int i = 0; i < n; i++)
            if (at[i] != 0 || more[i] != 0) return false;
        return k == 0;
    case OP_reverse: {
        int64_t m = op_ints(op, A_axes, &at);
        return !lists_below(at, m, n);
    }
    case OP_take: return k == 0 && op_int(op, A_axis) >= n;
    case OP_gather:
    case OP_scatter_add: return op_int(op, A_axis) >= n;
    case OP_argmax:
    case OP_argmin: return op_int(op, A_axis) >= n;
    case OP_dynamic_slice: {
        int64_t m = op_ints(op, A_axes, &at);
        return k == 0 && !lists_below(at, m, n);
    }
    default: break;
    }
#pragma GCC diagnostic pop
    if (!is_reduction(op->code)) return false;
    int64_t m = op_ints(op, A_axes, &at);
    return !lists_below(at, m, n);
}

static bool reaches_group(const Fuse *f, const Value *v, int g) {
    int i = fuse_op_of(f, v);
    if (i < 0) return false;
    if (f->role[i] != ROLE_FREE) return f->group_of[i] == g;
    for (int k = 0; k < f->op[i]->n_in; k++)
        if (reaches_group(f, f->op[i]->in[k], g)) return true;
    return false;
}

static bool op_keeps_rows(const Fuse *f, const Op *op, int g, int n);

/* v is read at an index that begins with the point: are members of g on the way to it read in their own rows? */
static bool value_keeps_rows(const Fuse *f, const Value *v, int g, int n) {
    int i = fuse_op_of(f, v);
    if (i < 0) return true;
    if (f->role[i] != ROLE_FREE) return true; /* of this group: its row; of another: in memory */
    return op_keeps_rows(f, f->op[i], g, n);
}

static bool op_keeps_rows(const Fuse *f, const Op *op, int g, int n) {
    for (int k = 0; k < op->n_in; k++) {
        if (step_keeps_rows(op, k, n) ? !value_keeps_rows(f, op->in[k], g, n) : reaches_group(f, op->in[k], g)) return false;
    }
    return true;
}

/* ---- groups ---- */

static bool needs(const Group *g, int other) { return g->needs[other / 64] >> (other % 64) & 1; }

/* The groups that v is made from, through free ops, except g. */
static void add_sources(const Fuse *f, const Value *v, int g, uint64_t *set) {
    int i = fuse_op_of(f, v);
    if (i < 0) return;
    if (f->role[i] != ROLE_FREE) {
        int other = f->group_of[i];
        if (other >= 0 && other != g) set[other / 64] |= (uint64_t)1 << (other % 64);
        return;
    }
    for (int k = 0; k < f->op[i]->n_in; k++) add_sources(f, f->op[i]->in[k], g, set);
}

static void op_sources(const Fuse *f, int i, int g, uint64_t *set) {
    const Op *op = f->op[i];
    for (int k = 0; k < op->n_in; k++) add_sources(f, op->in[k], g, set);
    if (!op->n_blocks) return;
    Values inner = op_captures(f->arena, op);
    for (size_t k = 0; k < inner.n; k++) add_sources(f, inner.at[k], g, set);
}

/* Words of a set that are in use. */
static int used_words(const Fuse *f) { return (int)f->groups.n / 64 + 1; }

/* Adds all that the groups of the set need: the latest first, which need most, so that few of the others have anything to add. */
static void add_needs_of(const Fuse *f, uint64_t *set) {
    uint64_t *whole = f->whole; /* of what has been looked at already */
    memset(whole, 0, (size_t)used_words(f) * sizeof *whole);
    for (int i = used_words(f) - 1; i >= 0; i--)
        for (uint64_t left = set[i] & ~whole[i]; left; left &= ~whole[i]) {
            int bit = 63 - __builtin_clzll(left);
            left &= ~((uint64_t)1 << bit);
            const uint64_t *before = f->groups.at[i * 64 + bit]->needs;
            for (int w = 0; w < used_words(f); w++) whole[w] |= before[w];
        }
    for (int w = 0; w < used_words(f); w++) set[w] |= whole[w];
}

/* Group g comes after all of `set` now, which is added to; so does whatever comes after g. */
static void add_needs(Fuse *f, int g, uint64_t *set) {
    Group *own = f->groups.at[g];
    uint64_t news = 0;
    for (int w = 0; w < used_words(f); w++)
        for (uint64_t left = set[w]; left; left &= left - 1) f->groups.at[w * 64 + __builtin_ctzll(left)]->needed = true;
    add_needs_of(f, set);
    for (int w = 0; w < used_words(f); w++) news |= set[w] & ~own->needs[w];
    if (!news) return; /* who comes after g has all that g needs */
    for (int w = 0; w < used_words(f); w++) own->needs[w] |= set[w];
    for (size_t k = 0; own->needed && k < f->groups.n; k++) {
        Group *x = f->groups.at[k];
        if ((int)k == g || !needs(x, g)) continue;
        for (int w = 0; w < used_words(f); w++) x->needs[w] |= set[w];
    }
}

/* Would g, with these sources, wait for itself? */
static bool makes_circle(const Fuse *f, int g, const uint64_t *set) {
    for (int i = 0; i <= (int)f->groups.n / 64; i++)
        for (uint64_t left = set[i]; left; left &= left - 1)
            if (needs(f->groups.at[i * 64 + __builtin_ctzll(left)], g)) return true;
    return false;
}

bool fuse_needs(const Fuse *f, int g, int other) { return needs(f->groups.at[g], other); }

static uint64_t *new_set(const Fuse *f) { return arena_make_n(f->arena, uint64_t, (size_t)f->words); }

/* An empty set for a moment: which of the two the caller has for itself. */
static uint64_t *short_set(const Fuse *f, int which) {
    memset(f->moment[which], 0, (size_t)f->words * sizeof **f->moment);
    return f->moment[which];
}

void fuse_wait_for(Fuse *f, int g, int first) {
    uint64_t *set = short_set(f, 0);
    set[first / 64] |= (uint64_t)1 << (first % 64);
    add_needs(f, g, set);
}

static void put_in(Fuse *f, int i, int g) {
    f->group_of[i] = g;
    Group *x = f->groups.at[g];
    size_t k = x->ops.n;
    vec_push(f->arena, &x->ops, i);
    for (; k > 0 && x->ops.at[k - 1] > i; k--) x->ops.at[k] = x->ops.at[k - 1]; /* in the order of the block */
    x->ops.at[k] = i;
}

static int64_t points(const Fuse *f, const Type *t, int n) {
    int64_t c = 1;
    for (int i = 0; i < n; i++) c *= dim_size(t->dim[i], f->func->batch_bound);
    return c;
}

static int common_prefix(const Type *a, int n, const Type *b) {
    int k = 0;
    while (k < n && k < b->rank && dim_same(a->dim[k], b->dim[k])) k++;
    return k;
}

/* How many point axes the group would have with op i; -1 if it may not join because of its shape. */
static int point_with(const Fuse *f, const Group *g, const Op *op) {
    const Type *t = op->out[0]->type;
    if (g->closed || op->n_out != 1) return -1;
    if (!is_pointwise(op) && !is_reduction(op->code)) return -1;
    if (g->heavy) return is_pointwise(op) && type_same_shape(t, g->point) ? g->n_point : -1;
    if (g->n_point == 0) return t->rank == 0 && is_pointwise(op) ? 0 : -1;
    int n = common_prefix(g->point, g->n_point, t);
    if (n == g->n_point && !is_reduction(op->code)) return n;
    if (n == 0) return -1;
    /* rows instead of elements: worth it if enough rows are left, and each is short enough to work on */
    int64_t row = type_count(is_reduction(op->code) ? op->in[0]->type : g->point, f->func->batch_bound) /
                  (points(f, t, n) ? points(f, t, n) : 1);
    if (row > ROWS_LIMIT) return -1;
    if (n < g->n_point && points(f, t, n) < LEAST_POINTS && row > SHORT_ROW) return -1;
    return n;
}

static bool try_join(Fuse *f, int i, int g) {
    Group *x = f->groups.at[g];
    if (x->gone || x->ops.n >= LARGE) return false;
    int n = point_with(f, x, f->op[i]);
    if (n < 0 || !op_keeps_rows(f, f->op[i], g, n)) return false;
    uint64_t *set = short_set(f, 0);
    op_sources(f, i, g, set);
    if (makes_circle(f, g, set)) return false;
    x->n_point = n;
    put_in(f, i, g);
    add_needs(f, g, set);
    return true;
}

static void new_group(Fuse *f, int i) {
    const Op *op = f->op[i];
    Group *g = arena_make(f->arena, Group);
    g->point = op->n_out ? op->out[0]->type : type_scalar(F32);
    g->n_point = g->point->rank;
    g->heavy = fuse_is_product(op->code) || is_window(op->code);
    g->closed = (!is_pointwise(op) && !is_reduction(op->code) && !g->heavy) || f->drawn[i];
    g->needs = new_set(f);
    vec_push(f->arena, &f->groups, g);
    int k = (int)f->groups.n - 1;
    uint64_t *set = short_set(f, 0);
    op_sources(f, i, k, set);
    put_in(f, i, k);
    add_needs(f, k, set);
}

static void make_groups(Fuse *f) {
    for (int i = 0; i < f->n_ops; i++) {
        if (f->role[i] == ROLE_FREE) continue;
        uint64_t *set = short_set(f, 1);
        op_sources(f, i, -1, set);
        bool joined = false;
        for (int w = (int)f->groups.n / 64; w >= 0 && !joined; w--) /* the latest first: it comes after the others already */
            for (uint64_t left = set[w]; left && !joined;) {
                int bit = 63 - __builtin_clzll(left);
                left &= ~((uint64_t)1 << bit);
                joined = try_join(f, i, w * 64 + bit);
            }
        if (!joined) new_group(f, i);
    }
}

/* ---- groups over the same rows ---- */

static bool may_share(const Group *g) { return !g->gone && !g->heavy && !g->closed; }

/* Do all ops of b read what they read of a in their own rows? */
static bool reads_rows(const Fuse *f, const Group *b, int a, int n) {
    for (size_t k = 0; k < b->ops.n; k++)
        if (!op_keeps_rows(f, f->op[b->ops.at[k]], a, n)) return false;
    return true;
}

/* The groups that b waits for by way of a third one: what those need that it needs. (What a group needs is whole: with x also all that x needs, so an x
 * that is in the set already adds nothing.) */
static void waits_around(const Fuse *f, int b, uint64_t *set) {
    memset(set, 0, (size_t)f->words * sizeof *set);
    const Group *y = f->groups.at[b];
    for (int x = (int)f->groups.n - 1; x >= 0; x--) {
        const Group *third = f->groups.at[x];
        if (x == b || third->gone || !needs(y, x) || (set[x / 64] >> (x % 64) & 1)) continue;
        for (int w = 0; w < used_words(f); w++) set[w] |= third->needs[w];
    }
}

static void merge(Fuse *f, int into, int from);

/* A group that begins with something of its own (the sum of a constant's gradient, say) and then reads rows of an earlier one:
 * they are one. */
static void join_rows(Fuse *f) {
    uint64_t *around = new_set(f);
    for (int b = 0; b < (int)f->groups.n; b++) {
        Group *y = f->groups.at[b];
        bool known = false;
        for (int a = b - 1; a >= 0 && may_share(y); a--) {
            Group *x = f->groups.at[a];
            if (!may_share(x) || x->n_point == 0 || !needs(y, a)) continue;
            if (!known) waits_around(f, b, around);
            known = true;
            if ((around[a / 64] >> (a % 64) & 1) || x->ops.n + y->ops.n > LARGE) continue;
            int n = common_prefix(x->point, x->n_point < y->n_point ? x->n_point : y->n_point, y->point);
            if (n == 0 || (n < x->n_point && n < y->n_point) || points(f, x->point, n) < LEAST_POINTS) continue;
            if (type_count(x->point, f->func->batch_bound) / points(f, x->point, n) > ROWS_LIMIT) continue;
            if (!reads_rows(f, y, a, n)) continue;
            merge(f, b, a);
            y->n_point = n;
            known = false;
        }
    }
}

/* ---- what only one later group uses moves there ---- */

typedef struct Users {
    int inside; /* uses in its own group */
    int group;  /* the only other group that uses it; -1: none, -2: several, or control */
    bool plain; /* all those uses are elementwise or reductions, with nothing repeated on the way */
} Users;

bool fuse_uses_plainly(const Op *op) { return (is_pointwise(op) && op->code != OP_take) || is_reduction(op->code); }

static void note_use(const Fuse *f, Users *users, const Value *v, int user_group, bool plain) {
    int i = fuse_op_of(f, v);
    if (i < 0) return;
    if (f->role[i] == ROLE_FREE) {
        const Op *op = f->op[i];
        bool same = true; /* a broadcast from fewer elements reads each several times */
        for (int k = 0; k < op->n_in; k++) same &= type_count(op->in[k]->type, 2) >= type_count(op->out[0]->type, 2);
        for (int k = 0; k < op->n_in; k++) note_use(f, users, op->in[k], user_group, plain && same);
        return;
    }
    Users *u = &users[i];
    if (user_group == f->group_of[i]) {
        u->inside++;
        return;
    }
    if (u->group == -1)
        u->group = user_group;
    else if (u->group != user_group)
        u->group = -2;
    u->plain &= plain;
}

static void find_users(const Fuse *f, Users *users) {
    for (int i = 0; i < f->n_ops; i++) users[i] = (Users){0, -1, true};
    for (int i = 0; i < f->n_ops; i++) {
        if (f->role[i] == ROLE_FREE) continue;
        const Op *op = f->op[i];
        for (int k = 0; k < op->n_in; k++) note_use(f, users, op->in[k], f->group_of[i], fuse_uses_plainly(op));
        if (!op->n_blocks) continue;
        Values inner = op_captures(f->arena, op);
        for (size_t k = 0; k < inner.n; k++) note_use(f, users, inner.at[k], -2, false);
    }
    for (int i = 0; i < f->n_ops; i++)
        if (f->kept[i]) users[i].group = -2;
}

/* Uses inside group g that go with an op that leaves it. */
static void forget_inside(const Fuse *f, Users *users, const Value *v, int g) {
    int i = fuse_op_of(f, v);
    if (i < 0) return;
    if (f->role[i] == ROLE_FREE) {
        for (int k = 0; k < f->op[i]->n_in; k++) forget_inside(f, users, f->op[i]->in[k], g);
    } else if (f->group_of[i] == g) {
        users[i].inside--;
    }
}

static void take_out(Fuse *f, int i) {
    Group *g = f->groups.at[f->group_of[i]];
    size_t k = 0;
    while (g->ops.at[k] != i) k++;
    for (; k + 1 < g->ops.n; k++) g->ops.at[k] = g->ops.at[k + 1];
    g->ops.n--;
    g->gone = g->ops.n == 0;
}

/* Is the value written by its group anyway? */
static bool is_stored(const Fuse *f, const Users *users, int i) { return f->kept[i] || users[i].group != -1; }

/* Bytes that would have to be stored if a user of v left group g: those of v, unless somebody stores it anyway, or those of what
 * it is made of, if it could leave with its only user. */
static int64_t new_bytes(const Fuse *f, const Users *users, const Value *v, int g, int depth) {
    int i = fuse_op_of(f, v);
    if (i < 0) return 0;
    bool goes_along = f->role[i] == ROLE_FREE;
    if (!goes_along) {
        if (f->group_of[i] != g || is_stored(f, users, i)) return 0;
        goes_along = op_info[f->op[i]->code].elementwise && users[i].inside == 1 && depth < 8;
        if (!goes_along) return fuse_value_bytes(f, v);
    }
    int64_t sum = 0, own = f->role[i] == ROLE_FREE ? INT64_MAX : fuse_value_bytes(f, v);
    for (int k = 0; k < f->op[i]->n_in; k++) sum += new_bytes(f, users, f->op[i]->in[k], g, depth + 1);
    return sum < own ? sum : own;
}

static void sink(Fuse *f) {
    Users *users = arena_make_n(f->arena, Users, (size_t)f->n_ops);
    find_users(f, users);
    for (int i = f->n_ops - 1; i >= 0; i--) {
        const Op *op = f->op[i];
        if (f->role[i] != ROLE_MEMBER || f->drawn[i] || !op_info[op->code].elementwise || users[i].inside || users[i].group < 0 ||
            !users[i].plain)
            continue;
        int from = f->group_of[i], to = users[i].group;
        if (f->groups.at[to]->closed) continue;
        if (f->groups.at[to]->heavy && !type_same_shape(op->out[0]->type, f->groups.at[to]->point)) continue;
        int64_t more = 0;
        for (int k = 0; k < op->n_in; k++) more += new_bytes(f, users, op->in[k], from, 0);
        if (more >= fuse_value_bytes(f, op->out[0])) continue;
        uint64_t *set = short_set(f, 0);
        op_sources(f, i, to, set);
        if (makes_circle(f, to, set)) continue;
        take_out(f, i);
        put_in(f, i, to);
        add_needs(f, to, set);
        for (int k = 0; k < op->n_in; k++) {
            forget_inside(f, users, op->in[k], from);
            note_use(f, users, op->in[k], to, fuse_uses_plainly(op));
        }
        users[i] = (Users){1, -1, true};
    }
}

/* ---- groups that share a kernel ---- */

static bool can_share(const Fuse *f, int a, int b) {
    const Group *x = f->groups.at[a], *y = f->groups.at[b];
    if (!may_share(x) || !may_share(y)) return false;
    bool serial_x = points(f, x->point, x->n_point) == 1, serial_y = points(f, y->point, y->n_point) == 1;
    return serial_x == serial_y && !needs(x, b) && !needs(y, a) && x->ops.n + y->ops.n < MANY * 16;
}

static void merge(Fuse *f, int into, int from) {
    Group *x = f->groups.at[into], *y = f->groups.at[from];
    size_t left = x->ops.n, more = y->ops.n;
    for (size_t k = 0; k < more; k++) {
        f->group_of[y->ops.at[k]] = into;
        vec_push(f->arena, &x->ops, 0);
    }
    for (size_t to = x->ops.n; more; to--) { /* from the end: both are in the order of the block */
        bool own = left && x->ops.at[left - 1] > y->ops.at[more - 1];
        x->ops.at[to - 1] = own ? x->ops.at[--left] : y->ops.at[--more];
    }
    y->ops.n = 0;
    y->gone = true;
    x->needs[from / 64] &= ~((uint64_t)1 << (from % 64));
    add_needs(f, into, y->needs);
    /* what waited for the one waits for the other */
    for (size_t k = 0; y->needed && k < f->groups.n; k++)
        if (needs(f->groups.at[k], from) && (int)k != into) {
            x->needed = true;
            f->groups.at[k]->needs[into / 64] |= (uint64_t)1 << (into % 64);
            for (int w = 0; w < used_words(f); w++) f->groups.at[k]->needs[w] |= x->needs[w];
        }
}

/* The later one takes the earlier in, so that it waits for no more than it must. */
static void share_kernels(Fuse *f) {
    int *count = arena_make_n(f->arena, int, f->groups.n + 1);
    for (int a = 0; a < (int)f->groups.n; a++)
        for (int b = a + 1; b < (int)f->groups.n && may_share(f->groups.at[a]); b++) {
            if (!can_share(f, a, b) || count[a] + count[b] + 2 > MANY) continue;
            merge(f, b, a);
            count[b] += count[a] + 1;
        }
}

/* ---- the pass ---- */

/* false: the block is larger than we can take, which is said with its largest part: a line of the program. */
static bool fuse_block(PassCtx *c, Func *func, Block *block) {
    int64_t n = 0;
    for (Op *op = block->first; op; op = op->next, n++)
        for (int k = 0; k < op->n_blocks; k++)
            if (!fuse_block(c, func, op->blocks[k])) return false; /* inner ones first: they copy free ops from outside */
    if (n > MOST_OPS) {
        const Op *middle = block->first;
        for (int64_t i = 0; i < n / 2; i++) middle = middle->next;
        diag_error(c->diag, func->loc, 311,
                   "the program is too large: with its gradients @%s comes to %lld operations, and at most %d are compiled",
                   func->name, (long long)n, MOST_OPS);
        diag_note(c->diag, middle->loc,
                  "this line is among those that are written out often; `scan` and `repeat` run instead of being copied");
        return false;
    }
    Arena *scratch = arena_new();
    Fuse fuse = {.ctx = c, .arena = scratch, .func = func, .block = block}, *f = &fuse;
    fuse_list_ops(f);
    fuse_reshape_early(f);
    fuse_masks(f);
    fuse_drop_dead(f);
    fuse_list_ops(f);
    f->role = arena_make_n(scratch, Role, (size_t)f->n_ops);
    f->group_of = arena_make_n(scratch, int, (size_t)f->n_ops);
    f->drawn = arena_make_n(scratch, bool, (size_t)f->n_ops);
    f->kept = arena_make_n(scratch, bool, (size_t)f->n_ops);
    for (int i = 0; i < f->n_ops; i++) f->group_of[i] = -1;
    find_roles(f);
    int members = 0; /* at most as many groups */
    for (int i = 0; i < f->n_ops; i++) members += f->role[i] != ROLE_FREE;
    f->words = members / 64 + 2;
    f->whole = new_set(f);
    for (int i = 0; i < 2; i++) f->moment[i] = new_set(f);
    make_groups(f);
    fuse_free_draws(f);
    join_rows(f);
    sink(f);
    fuse_again(f);
    share_kernels(f);
    fuse_emit(f);
    fuse_drop_dead(f);
    arena_free(scratch);
    return true;
}

static int64_t count_ops(const Block *b) {
    int64_t n = 0;
    for (const Op *op = b->first; op; op = op->next, n++)
        for (int k = 0; k < op->n_blocks; k++) n += count_ops(op->blocks[k]);
    return n;
}

/* The functions together are larger than we can take. */
static bool too_many(PassCtx *c, const Module *m) {
    int64_t all = 0, most = 0;
    const Func *largest = NULL;
    for (size_t i = 0; i < m->funcs.n; i++) {
        int64_t n = count_ops(m->funcs.at[i]->body);
        all += n;
        if (n > most) largest = m->funcs.at[i];
        if (n > most) most = n;
    }
    if (all <= MOST_OPS_IN_ALL) return false;
    diag_error(c->diag, largest->loc, 311,
               "the program is too large: its functions come to %" PRId64 " operations, %" PRId64
               " of them in @%s, and at most %d are compiled",
               all, most, largest->name, MOST_OPS_IN_ALL);
    return true;
}

bool pass_fuse(PassCtx *c, Module *m) {
    bool ok = true;
    if (too_many(c, m)) return false;
    for (size_t i = 0; i < m->funcs.n; i++) ok &= fuse_block(c, m->funcs.at[i], m->funcs.at[i]->body);
    return ok;
}
