/*
 * lower_kernel.c - from a group of ops (the block of a `kernel`, or one op alone) to a kernel: a list of nests.
 *
 * Ops that use one another make one nest; scalars and constants do not count (each nest computes them before its loops). A nest's
 * point is the longest prefix that the shapes of its results and of its reductions' results have in common; its outer loops run
 * over that. Results with the point's shape are stored there; others (rows) in loops of their own inside, one after the other,
 * and a row that later loops need again is read back from where it was stored, or kept in memory of the thread if it is dear.
 * Softmax with its loss is such a nest over samples:
 *
 *   for i in 0..B {
 *     acc best ... reduce_max over j            the point is [B]: results [B, 10] (gradient) and [B] (loss), reductions [B]
 *     for j in 0..10 { %e[j] = exp(...) }       kept: two loops need it
 *     ...
 *     for j in 0..10 { %dz[i, j] = ... }
 *     %loss[i] = ...
 *   }
 */
#include "passes/lower.h"

#include <stdlib.h>
#include <string.h>

enum { KEEP_LIMIT = 1 << 14, KEEP_COST = 8, KEEP_REPEATED = 20 };

/* ---- kernels and barriers ---- */

void kernel_begin(Lower *l, const char *name, Loc loc) {
    StepNode *k = step_kernel(l->arena, intern_printf("%s.%d", name, ++l->n_kernels), loc);
    vec_push(l->arena, l->nodes, k);
    Scope *s = arena_make(l->arena, Scope);
    s->body = &k->body;
    l->scope = s;
    l->loc = loc;
    l->plain = false;
    l->local = NULL;
    l->keep = NULL;
}

StepNode *kernel_end(Lower *l) {
    if (l->scope->outer) bug("lower: a loop is open at the end of a kernel");
    l->scope = NULL;
    return l->nodes->at[l->nodes->n - 1];
}

void low_barrier(Lower *l) {
    if (l->nodes->n && l->nodes->at[l->nodes->n - 1]->kind == STEP_BARRIER) return;
    vec_push(l->arena, l->nodes, step_barrier(l->arena, (Loc){0}));
}

/* ---- groups of ops ---- */

typedef struct Nest {
    Vec(int) outputs; /* which results */
    int n_point;
    const Type *point; /* a type that begins with the point */
    const Op *product; /* whose labels name the loops; NULL */
} Nest;

typedef struct Group {
    Lower *l;
    const Op *op;
    int n_ops, n_results;
    const Op **ops;
    Value *const *results;
    int *parent; /* by op: union-find */
    bool *done;  /* by result */
    Vec(Nest *) nests;
} Group;

static int find(Group *g, int i) {
    while (g->parent[i] != i) i = g->parent[i] = g->parent[g->parent[i]];
    return i;
}

/* Ops that do not tie a nest together. */
static bool is_loose(const Op *op) {
    if (op->code == OP_constant || op->code == OP_literal || op->code == OP_batch || op->code == OP_iota) return true;
    for (int i = 0; i < op->n_out; i++)
        if (op->out[i]->type->rank) return false;
    return op_info[op->code].elementwise;
}

static int op_place(const Group *g, const Value *v) { /* which op of the group makes it, or -1 */
    return v->def && v->id < g->l->func->n_values && g->l->place[v->id] > 0 ? g->l->place[v->id] - 1 : -1;
}

static void tie_ops(Group *g) {
    for (int i = 0; i < g->n_ops; i++) {
        g->parent[i] = i;
        if (is_loose(g->ops[i])) continue;
        for (int k = 0; k < g->ops[i]->n_in; k++) {
            const Value *v = g->ops[i]->in[k];
            int from = op_place(g, v);
            /* what lies in memory is read, not tied; neither is what every element needs once: a value with B or more elements
             * made smaller */
            if (from >= 0 && !is_loose(g->ops[from]) && !g->l->home[v->id]) g->parent[find(g, from)] = find(g, i);
        }
    }
}

static int common_prefix(const Type *a, int n, const Type *b) {
    int k = 0;
    while (k < n && k < b->rank && dim_same(a->dim[k], b->dim[k])) k++;
    return k;
}

static void narrow(Nest *n, const Type *t) {
    if (n->point)
        n->n_point = common_prefix(n->point, n->n_point, t);
    else
        n->point = t, n->n_point = t->rank;
}

static Nest *nest_for(Group *g, Nest **by_root, int root) {
    Nest **n = root < 0 ? &by_root[g->n_ops] : &by_root[root]; /* all scalars together */
    if (!*n) {
        *n = arena_make(g->l->arena, Nest);
        vec_push(g->l->arena, &g->nests, *n);
    }
    return *n;
}

/* Which results belong together, and the points of the nests. */
static void find_nests(Group *g) {
    Nest **by_root = arena_make_n(g->l->arena, Nest *, (size_t)g->n_ops + 1);
    tie_ops(g);
    for (int r = 0; r < g->n_results; r++) {
        if (g->done[r]) continue;
        const Value *v = g->results[r];
        int op = op_place(g, v);
        bool scalar = v->type->rank == 0 && (op < 0 || is_loose(g->ops[op]));
        Nest *n = op >= 0 && !scalar ? nest_for(g, by_root, find(g, op)) : scalar ? nest_for(g, by_root, -1) : NULL;
        if (!n) { /* a value from outside */
            n = arena_make(g->l->arena, Nest);
            vec_push(g->l->arena, &g->nests, n);
        }
        narrow(n, v->type);
        vec_push(g->l->arena, &n->outputs, r);
    }
    for (int i = 0; i < g->n_ops; i++) {
        Nest *n = by_root[find(g, i)];
        if (!n || !op_reduces(g->ops[i]->code) || g->l->home[g->ops[i]->out[0]->id]) continue;
        narrow(n, g->ops[i]->out[0]->type);
        if (g->ops[i]->code == OP_contract || g->ops[i]->code == OP_conv) n->product = g->ops[i];
    }
}

/* ---- rows that are kept ---- */

static int own_cost(OpCode c) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch-enum"
    if (op_is_function(c)) return 20;
    switch (c) {
    case OP_uniform: return 20;
    case OP_div:
    case OP_sqrt:
    case OP_floor_div:
    case OP_mod: return 4;
    case OP_broadcast:
    case OP_constant:
    case OP_reshape:
    case OP_transpose:
    case OP_slice:
    case OP_iota:
    case OP_reverse: return 0;
    default: return op_reduces(c) ? 1000 : 1;
    }
#pragma GCC diagnostic pop
}

/* Elements of a row: what is behind the point. */
static int64_t row_elements(const Type *t, int n_point) {
    int64_t n = 1;
    for (int k = n_point; k < t->rank; k++) n *= t->dim[k].n;
    return n;
}

/* For each op how often one use reads an element of its result: softmax over times [sample, time, channel] reads the largest number of a channel once for each time. Reading goes through
 * what costs nothing. */
static int64_t *readings(Group *g, const Nest *n) {
    enum { MANY = 1 << 10 };
    int64_t *times = arena_make_n(g->l->arena, int64_t, (size_t)g->n_ops);
    for (int i = 0; i < g->n_ops; i++) times[i] = 1;
    for (int i = g->n_ops - 1; i >= 0; i--) {
        const Op *op = g->ops[i];
        if (op->n_out != 1 || own_cost(op->code) != 0) continue;
        for (int k = 0; k < op->n_in; k++) {
            int from = op_place(g, op->in[k]);
            int64_t row = row_elements(op->in[k]->type, n->n_point);
            if (from < 0 || row == 0) continue;
            int64_t all = times[i];
            if (op->code == OP_broadcast) all *= row_elements(op->out[0]->type, n->n_point) / row;
            if (all > MANY) all = MANY;
            if (all > times[from]) times[from] = all;
        }
    }
    return times;
}

/* Marks rows of the nest that cost more to compute again than to keep. */
static const bool *rows_to_keep(Group *g, const Nest *n) {
    Lower *l = g->l;
    bool *keep = l->keep_table;
    int *cost = arena_make_n(l->arena, int, (size_t)g->n_ops);
    const int64_t *times = readings(g, n);
    for (int i = 0; i < g->n_ops; i++)
        for (int k = 0; k < g->ops[i]->n_out; k++) keep[g->ops[i]->out[k]->id] = false;
    for (int i = 0; i < g->n_ops; i++) {
        const Op *op = g->ops[i];
        if (op->n_out != 1 || l->home[op->out[0]->id]) continue;
        const Type *t = op->out[0]->type;
        cost[i] = own_cost(op->code);
        for (int k = 0; k < op->n_in; k++) {
            int from = op_place(g, op->in[k]);
            /* what is computed once a point, outside of the row's loops, costs nothing */
            if (from >= 0 && op->in[k]->type->rank > n->n_point && !keep[op->in[k]->id]) cost[i] += cost[from];
        }
        if (cost[i] > 1 << 20) cost[i] = 1 << 20;
        if (t->rank <= n->n_point || n->n_point == 0 || common_prefix(n->point, n->n_point, t) < n->n_point) continue;
        bool batch = false;
        for (int k = n->n_point; k < t->rank; k++) batch |= t->dim[k].batch;
        int64_t row = row_elements(t, n->n_point), again = l->uses[op->out[0]->id] - 1;
        if (row > 1 && cost[i] >= KEEP_REPEATED) again += times[i] - 1;
        if (own_cost(op->code) == 0 || batch || row > KEEP_LIMIT || again < 1) continue;
        keep[op->out[0]->id] = cost[i] * again >= KEEP_COST;
        for (size_t k = 0; k < n->outputs.n; k++) /* they are kept where they go */
            if (g->results[n->outputs.at[k]] == op->out[0]) keep[op->out[0]->id] = false;
    }
    return keep;
}

/* ---- nests ---- */

static const char *loop_name(const Nest *n, int axis) {
    if (!n->product || n->product->out[0]->type->rank <= axis) return low_axis_name(axis);
    const char *arrow = strstr(op_str(n->product, A_spec), "->");
    return intern_n(arrow + 2 + axis, 1);
}

/* Outputs in the order in which their ops stand. */
static void sort_outputs(Group *g, Nest *n) {
    for (size_t i = 1; i < n->outputs.n; i++)
        for (size_t k = i; k > 0 && op_place(g, g->results[n->outputs.at[k]]) < op_place(g, g->results[n->outputs.at[k - 1]]);
             k--) {
            int t = n->outputs.at[k];
            n->outputs.at[k] = n->outputs.at[k - 1];
            n->outputs.at[k - 1] = t;
        }
}

/* Does v lie where h has the places from `begin` of the axis on? */
static bool is_there(const Lower *l, const Value *v, const Home *h, int64_t axis, const Affine *begin) {
    const Home *from = l->home[v->id];
    if (!from || from->buffer != h->buffer || !affine_is_constant(begin)) return false;
    for (int i = 0; i < h->buffer->rank; i++) {
        if (from->axis[i] != h->axis[i] || from->offset[i] != h->offset[i] + (h->axis[i] == axis ? begin->constant : 0))
            return false;
        if (h->axis[i] < 0 && !affine_same(from->index[i], h->index[i])) return false;
    }
    return true;
}

bool home_has(Lower *l, const Value *v, const Home *h) { return is_there(l, v, h, -1, low_number(l, 0)); }

/* A result that joins tensors is written by one nest for each of them that does not lie there already (lower_block.c). */
static bool write_concat(Lower *l, const Value *v, const Home *h) {
    const Op *op = v->def;
    if (!op || op->code != OP_concat || l->home[v->id]) return false;
    int64_t axis = op_int(op, A_axis);
    const Affine *begin = low_number(l, 0);
    for (int k = 0; k < op->n_in; k++) {
        Scope *here = l->scope;
        const Affine *from[MAX_RANK + 1], *to[MAX_RANK + 1];
        const Type *t = op->in[k]->type;
        const Affine *end = affine_add(l->arena, begin, low_dim(l, t->dim[axis]));
        if (!is_there(l, op->in[k], h, axis, begin)) {
            for (int i = 0; i < t->rank; i++)
                from[i] = to[i] = affine_var(l->arena, low_open_dim(l, low_axis_name(i), t->dim[i]));
            to[axis] = affine_add(l->arena, from[axis], begin);
            home_store(l, h, to, pull(l, op->in[k], from));
            low_close_to(l, here);
        }
        begin = end;
    }
    return true;
}

/* A result that is an operand with a part exchanged, and lies where the operand does: only the part is written. (Should the part be made of numbers that are overwritten on the way,
 * lower_block.c finds out, and the result gets memory of its own.) */
static bool write_update(Lower *l, const Value *v, const Home *h) {
    const Op *op = v->def;
    if (!op || op->code != OP_dynamic_update || l->home[v->id] || h->also || !home_has(l, op->in[0], h)) return false;
    const Value *part = op->in[1];
    const int64_t *axes;
    int64_t n = op_ints(op, A_axes, &axes);
    Scope *here = l->scope;
    const Affine *from[MAX_RANK + 1], *to[MAX_RANK + 1];
    for (int i = 0; i < part->type->rank; i++) {
        Dim d = part->type->dim[i];
        bool one = d.n == 1 && !d.batch;
        from[i] = to[i] = one ? low_number(l, 0) : affine_var(l->arena, low_open_dim(l, low_axis_name(i), d));
    }
    for (int64_t k = 0; k < n; k++)
        to[axes[k]] = affine_add(l->arena, from[axes[k]],
                                 low_dynamic_start(l, op->in[2 + k], v->type->dim[axes[k]], part->type->dim[axes[k]]));
    home_store(l, h, to, pull(l, part, from));
    low_close_to(l, here);
    return true;
}

static void write_row(Lower *l, const Nest *n, const Value *v, const Home *h) {
    const Affine *at[MAX_RANK + 1];
    Scope *here = l->scope;
    for (int i = 0; i < v->type->rank; i++)
        at[i] = i < n->n_point ? l->point[i] : affine_var(l->arena, low_open_dim(l, loop_name(n, i), v->type->dim[i]));
    home_store(l, h, at, pull(l, v, at));
    low_close_to(l, here);
    if (n->n_point) l->local[v->id] = memcpy(arena_make(l->arena, Home), h, sizeof *h);
}

/* The sizes of windows that tile the map which the nest makes, all of whose results are such maps; NULL: there is no such op. */
static const int64_t *tiling_windows(const Group *g, const Nest *n) {
    const int64_t *size;
    for (size_t i = 0; i < n->outputs.n; i++)
        if (g->results[n->outputs.at[i]]->type->rank != n->n_point) return NULL;
    for (int i = 0; i < g->n_ops; i++) {
        const Op *op = g->ops[i];
        if (op->code != OP_window_put || g->l->home[op->out[0]->id] || !low_windows_tile(op, &size)) continue;
        const Type *t = op->out[0]->type;
        if (t->rank == n->n_point && common_prefix(n->point, n->n_point, t) == n->n_point) return size;
    }
    return NULL;
}

/* The loops over the point, window by window: for n, x0, y0, c { for p, q } at [n, 2 x0 + p, 2 y0 + q, c]. */
static void open_windows(Lower *l, const Nest *n, const int64_t *size, const Affine **point) {
    const Affine *first[MAX_RANK];
    int last = n->n_point - 1;
    for (int i = 0; i <= last; i++) {
        Dim d = n->point->dim[i];
        if (i && i < last) d.n = (d.n + size[i - 1] - 1) / size[i - 1];
        point[i] = affine_var(l->arena, low_open_dim(l, loop_name(n, i), d));
    }
    for (int i = 1; i < last; i++) {
        int64_t m = n->point->dim[i].n;
        first[i] = affine_scale(l->arena, point[i], size[i - 1]);
        point[i] =
            affine_add(l->arena, first[i],
                       affine_var(l->arena, low_open(l, low_axis_name(5 + i), low_number(l, 0), low_number(l, size[i - 1]), 1)));
        if (m % size[i - 1])
            stmt_add_limit(l->arena, l->scope->stmt, affine_add_constant(l->arena, affine_scale(l->arena, first[i], -1), m));
    }
}

static void open_point(const Group *g, const Nest *n, const Affine **point) {
    const int64_t *size = tiling_windows(g, n);
    if (size) {
        open_windows(g->l, n, size, point);
        return;
    }
    for (int i = 0; i < n->n_point; i++)
        point[i] = affine_var(g->l->arena, low_open_dim(g->l, loop_name(n, i), n->point->dim[i]));
}

static void write_nest(Group *g, Nest *n, Home *const *homes) {
    Lower *l = g->l;
    sort_outputs(g, n);
    Scope *outer = l->scope;
    if (n->outputs.n == 1) {
        const Value *v = g->results[n->outputs.at[0]];
        const Home *h = homes[n->outputs.at[0]];
        if (write_concat(l, v, h) || write_update(l, v, h)) return;
    }
    const Affine *point[MAX_RANK + 1];
    open_point(g, n, point);
    l->n_point = n->n_point;
    l->point = point;
    l->point_scope = l->scope;
    l->local = l->local_table;
    l->keep = rows_to_keep(g, n);
    /* stores at the point come last: until then old values can be read */
    Expr **last = arena_make_n(l->arena, Expr *, n->outputs.n);
    for (size_t i = 0; i < n->outputs.n; i++) {
        const Value *v = g->results[n->outputs.at[i]];
        if (v->type->rank > n->n_point) {
            write_row(l, n, v, homes[n->outputs.at[i]]);
        } else {
            last[i] = pull(l, v, point);
            if (n->outputs.n > 1 && last[i]->kind != EXPR_CONST && last[i]->kind != EXPR_TEMP)
                last[i] = low_temp(l, low_let(l, low_value_name(v), last[i]));
        }
    }
    for (size_t i = 0; i < n->outputs.n; i++) {
        const Value *v = g->results[n->outputs.at[i]];
        if (v->def && v->def->loc.file) l->loc = v->def->loc;
        if (last[i]) home_store(l, homes[n->outputs.at[i]], point, last[i]);
    }
    low_close_to(l, outer);
    for (int i = 0; i < g->n_ops; i++)
        for (int k = 0; k < g->ops[i]->n_out; k++) l->local[g->ops[i]->out[k]->id] = NULL;
    for (size_t i = 0; i < n->outputs.n; i++) l->local[g->results[n->outputs.at[i]]->id] = NULL;
    l->local = NULL;
    l->keep = NULL;
    l->n_point = 0;
}

/* ---- the kernel ---- */

/* The op that a kernel is named after: a product, else a reduction, else the last. */
static const Op *main_op(const Group *g) {
    const Op *found = g->op;
    int best = -1;
    for (int i = 0; i < g->n_ops; i++) {
        OpCode c = g->ops[i]->code;
        int rank = c == OP_contract || c == OP_conv ? 3 : op_reduces(c) ? 2 : own_cost(c) ? 1 : 0;
        if (rank < best || (rank == best && rank == 3)) continue;
        best = rank;
        found = g->ops[i];
    }
    return found;
}

static const char *kernel_name(const Op *op) {
    if (!op->loc.what) return op_info[op->code].name;
    return op->loc.what;
}

/* Ops that need kernels of their own, before the rest: long sums, maxima of windows that overlap, and what writes where an index says. */
static void lower_apart(Group *g, Home *const *homes) {
    Lower *l = g->l;
    for (int i = 0; i < g->n_ops; i++) {
        const Op *op = g->ops[i];
        if (op_pieces(l, op)) {
            lower_pieces(l, op);
        } else if (low_maxima_apart(op)) {
            lower_maxima(l, op);
        } else if (op_special(op)) {
            Home *to[2] = {NULL, NULL};
            for (int k = 0; k < op->n_out; k++) {
                const Value *v = op->out[k];
                for (int r = 0; r < g->n_results; r++)
                    if (g->results[r] == v && !to[k]) to[k] = homes[r], g->done[r] = true;
                if (!to[k])
                    to[k] = home_plain(l, step_buffer(l->arena, l->step, low_value_name(v), v->type->elem, v->type->rank,
                                                      v->type->dim, op->loc));
            }
            lower_special(l, op, to);
            low_barrier(l);
            for (int k = 0; k < op->n_out; k++) l->home[op->out[k]->id] = to[k];
        }
    }
}

/* The value in memory that an operand is read from, maybe in another order of axes. */
static const Value *read_from(const Group *g, const Value *v) {
    while (op_place(g, v) >= 0 && v->def->code == OP_transpose) v = v->def->in[0];
    return v;
}

typedef struct Moved {
    const Value *value;
    Home *home;
} Moved;
typedef Vec(Moved) MovedList;

/* What windows reach beyond, and what is not all of its buffer, is copied in front: loads that may lie outside end with the buffer, and asking at each of them
 * would leave halo and tile nothing to work on. For this kernel alone: it may stand in a loop that makes no turn. */
static void copy_parts(Group *g, MovedList *moved) {
    Lower *l = g->l;
    for (int i = 0; i < g->n_ops; i++) {
        const Op *op = g->ops[i];
        if (op->code != OP_conv && op->code != OP_window_max && op->code != OP_window_sum) continue;
        for (int k = 0; k < op->n_in; k++) {
            const Value *v = read_from(g, op->in[k]);
            Home *h = l->home[v->id];
            if (!h || !h->buffer || home_has_edges(h, v->type)) continue;
            Home *to = home_plain(l, low_buffer(l, v));
            lower_copies(l, 1, &v, &to, op->loc);
            vec_push(l->arena, moved, ((Moved){v, h}));
            l->home[v->id] = to;
        }
    }
}

void lower_op(Lower *l, const Op *op, Home *const *homes) {
    Group group = {.l = l, .op = op}, *g = &group;
    Vec(const Op *) ops = {0};
    if (op->code == OP_kernel) {
        for (const Op *o = op->blocks[0]->first; o; o = o->next) vec_push(l->arena, &ops, o);
        g->results = op->blocks[0]->results.at;
        g->n_results = (int)op->blocks[0]->results.n;
    } else {
        vec_push(l->arena, &ops, op);
        g->results = op->out;
        g->n_results = op->n_out;
    }
    g->ops = ops.at;
    g->n_ops = (int)ops.n;
    g->parent = arena_make_n(l->arena, int, ops.n + 1);
    g->done = arena_make_n(l->arena, bool, (size_t)g->n_results + 1);
    for (int i = 0; i < g->n_ops; i++)
        for (int k = 0; k < g->ops[i]->n_out; k++) l->place[g->ops[i]->out[k]->id] = i + 1;
    MovedList moved = {0};
    copy_parts(g, &moved);
    lower_apart(g, homes);
    find_nests(g);
    if (g->nests.n) {
        const Op *named = main_op(g);
        kernel_begin(l, kernel_name(named), named->loc.file ? named->loc : op->loc);
        for (size_t i = 0; i < g->nests.n; i++) {
            l->loc = l->nodes->at[l->nodes->n - 1]->loc;
            write_nest(g, g->nests.at[i], homes);
        }
        StepNode *made = kernel_end(l);
        if (made->body.first)
            low_barrier(l);
        else
            l->nodes->n--; /* parts of a joined value that lie there already */
    }
    for (size_t i = 0; i < moved.n; i++) l->home[moved.at[i].value->id] = moved.at[i].home;
    for (int i = 0; i < g->n_ops; i++)
        for (int k = 0; k < g->ops[i]->n_out; k++) l->place[g->ops[i]->out[k]->id] = 0;
}

void lower_copies(Lower *l, int n, const Value *const *values, Home *const *homes, Loc loc) {
    if (n == 0) return;
    kernel_begin(l, "copy", loc);
    for (int k = 0; k < n; k++) {
        Scope *outer = l->scope;
        const Affine *at[MAX_RANK + 1];
        const Type *t = values[k]->type;
        for (int i = 0; i < t->rank; i++) at[i] = affine_var(l->arena, low_open_dim(l, low_axis_name(i), t->dim[i]));
        home_store(l, homes[k], at, pull(l, values[k], at));
        low_close_to(l, outer);
    }
    kernel_end(l);
    low_barrier(l);
}
