/*
 * lower_block.c - the body of a function, a scan or a while: in which order its kernels run, and where their results go.
 *
 * A block's results overwrite memory that its parameters lie in (w' the slot of w, a carried value its place). A kernel writes
 * such a result directly, if every other reader of the old value can come before it and the kernel itself reads each element only
 * where it writes it; then the update costs no copy. If not, the result goes to a temporary, and a kernel at the end copies it.
 *
 *   %da = contract "bo,io->bi" %dz, %w          reads the old %w: goes first
 *   %w' = kernel { sub %w, lr * %x' @ %dz }     written to the slot of w
 *
 * What exchanges a part of a tensor that nobody reads afterwards, or adds to a part of it, is written where the tensor lies.
 *
 *   %g1 = dynamic_update %g, %0, %t ; %g2 = scatter_add %g1, %dy, %i ; yield %g2        all in the place of the carried %g
 *
 * What a kernel makes to be joined with other tensors is made where it will lie in the joined one, which then need not be copied together.
 *
 *   %df, %di = kernel { ... } ; %d = concat %df, %di, axis=1        %df and %di are columns of %d
 */
#include "passes/lower.h"

#include <string.h>

typedef Vec(int) Ints;

typedef struct Unit {
    const Op *op;      /* NULL: a copy */
    const Value *copy; /* the value copied to target `to` */
    int to;
    Values reads;
    Ints after; /* units that must come later */
    int before; /* how many must come first */
} Unit;

/* A value that is a part of a joined one. */
typedef struct Part {
    const Value *whole; /* NULL: it is none */
    int64_t axis, begin;
} Part;

typedef struct Plan {
    Lower *l;
    const Block *block;
    const Target *targets;
    Vec(Unit *) units;
    int *unit_of;     /* by value id: 1 + the unit that makes it; 0: none */
    int *target_of;   /* by value id: 1 + a target that it is written to directly; 0: a temporary */
    int *next;        /* by target: 1 + another one of the same value; 0: none */
    Ints late;        /* targets that are copied at the very end ... */
    Home **late_from; /* ... by target: from here, NULL: from where the result lies */
    Value **over;     /* by value id: the value that it is written over, in its place; NULL: none */
    bool *taken;      /* by value id: another one is written over it */
    Part *part_of;    /* by value id */
    Home **joined;    /* by value id: where a joined value lies whose parts are made first; NULL: not known yet */
    unsigned *seen, seen_mark;
} Plan;

Buffer *low_buffer(Lower *l, const Value *v) {
    return step_buffer(l->arena, l->step, low_value_name(v), v->type->elem, v->type->rank, v->type->dim,
                       v->def ? v->def->loc : l->func->loc);
}

/* Needs no kernel: is computed where it is used. */
static bool is_free(const Op *op) { return op->code == OP_constant || op->code == OP_batch || op->code == OP_literal; }

/* Is the memory of x laid out as that of its reshaped form would be? Then the result is another view of it. */
static bool can_view(const Lower *l, const Value *x, const Type *t) {
    const Home *h = l->home[x->id];
    if (!h || !h->buffer || !home_is_whole(h, x->type)) return false;
    /* rows of a batch that is short lie apart: what is before and behind the batch axis must stay apart, too */
    int b = type_batch_axis(x->type), c = type_batch_axis(t);
    int64_t stride = 1, behind_x = 1, behind_t = 1, before_x = 1, before_t = 1;
    for (int i = x->type->rank - 1; i >= 0; i--) {
        if (h->buffer->stride[i] != stride && x->type->dim[i].n != 1) return false;
        stride *= dim_size(x->type->dim[i], l->step->batch_bound);
        if (b >= 0 && i > b) behind_x *= x->type->dim[i].n;
        if (b >= 0 && i < b) before_x *= x->type->dim[i].n;
    }
    if (b < 0) return true;
    for (int i = 0; i < t->rank; i++) {
        if (i > c) behind_t *= t->dim[i].n;
        if (i < c) before_t *= t->dim[i].n;
    }
    return (before_x == 1 && before_t == 1) || (before_x == before_t && behind_x == behind_t);
}

static Home *view_of(Lower *l, const Value *x, const Value *v) {
    Buffer *of = l->home[x->id]->buffer;
    Buffer *b = low_buffer(l, v);
    buffer_share(b, of);
    return home_plain(l, b);
}

/* ---- units and what they wait for ---- */

static void add_edge(Plan *p, int from, int to) {
    if (from == to || from < 0 || to < 0) return;
    Unit *u = p->units.at[from];
    for (size_t i = 0; i < u->after.n; i++)
        if (u->after.at[i] == to) return;
    vec_push(p->l->arena, &u->after, to);
    p->units.at[to]->before++;
}

static int unit_making(const Plan *p, const Value *v) { return v->id < p->l->func->n_values ? p->unit_of[v->id] - 1 : -1; }

/* The values that a unit reads: operands, what its blocks use from outside. Free ops are looked through. */
static void note_read(Plan *p, Values *reads, Value *v) {
    if (v->def && is_free(v->def)) return;
    vec_push(p->l->arena, reads, v);
}

static void find_reads(Plan *p, Unit *u) {
    if (!u->op) {
        note_read(p, &u->reads, (Value *)u->copy);
        return;
    }
    for (int i = 0; i < u->op->n_in; i++) note_read(p, &u->reads, u->op->in[i]);
    if (!u->op->n_blocks) return;
    Values inner = op_captures(p->l->arena, u->op);
    for (size_t i = 0; i < inner.n; i++) note_read(p, &u->reads, inner.at[i]);
}

static int add_unit(Plan *p, const Op *op, const Value *copy, int to) {
    Unit *u = arena_make(p->l->arena, Unit);
    u->op = op;
    u->copy = copy;
    u->to = to;
    vec_push(p->l->arena, &p->units, u);
    return (int)p->units.n - 1;
}

/* The value whose elements v has in another shape. */
static const Value *shape_root(const Value *v) {
    while (v->def && v->def->code == OP_reshape) v = v->def->in[0];
    return v;
}

static bool reaches(Plan *p, int from, int to) {
    if (from == to) return true;
    if (p->seen[from] == p->seen_mark) return false;
    p->seen[from] = p->seen_mark;
    for (size_t i = 0; i < p->units.at[from]->after.n; i++)
        if (reaches(p, p->units.at[from]->after.at[i], to)) return true;
    return false;
}

/* All readers of the target's old value before the writer; false (and nothing changes) if that makes a circle. */
static bool readers_first(Plan *p, const Value *old, int writer) {
    Ints readers = {0};
    for (size_t i = 0; i < p->units.n && old; i++) {
        bool reads = false;
        for (size_t k = 0; k < p->units.at[i]->reads.n; k++) reads |= shape_root(p->units.at[i]->reads.at[k]) == old;
        if (reads && (int)i != writer) vec_push(p->l->arena, &readers, (int)i);
    }
    for (size_t i = 0; i < readers.n; i++) {
        p->seen_mark++;
        if (reaches(p, writer, readers.at[i])) return false;
    }
    for (size_t i = 0; i < readers.n; i++) add_edge(p, readers.at[i], writer);
    return true;
}

/* Does a kernel of this block make v? */
static bool made_by_kernel(const Plan *p, const Value *v) {
    int u = unit_making(p, v);
    const Op *op = u < 0 ? NULL : p->units.at[u]->op;
    return op && op->code != OP_scan && op->code != OP_while && op->code != OP_reshape;
}

/* ---- results and their targets ---- */

/* May the value be written to the target by the kernel that makes it? Its maker is a kernel of this block. */
static bool can_be_direct(const Plan *p, const Value *r, const Home *home) {
    const Value *v = shape_root(r);
    if (!made_by_kernel(p, v)) return false;
    if (v == r) return true;
    if (!home_is_whole(home, r->type)) return false; /* one slice of a stack has no other shape */
    return type_batch_axis(r->type) <= 0 && type_batch_axis(v->type) <= 0;
}

/* The target of value v is no longer written directly. */
static void drop_target(Plan *p, const Value *v, int target) {
    int *at = &p->target_of[v->id];
    while (*at != target + 1) at = &p->next[*at - 1];
    *at = p->next[target];
}

static void late_copy(Plan *p, int target, Home *from) {
    vec_push(p->l->arena, &p->late, target);
    p->late_from[target] = from;
}

/* Decides which results are written directly and makes units of the copies. */
static void choose_targets(Plan *p) {
    const Block *b = p->block;
    size_t n_ops = p->units.n;
    Ints direct = {0};
    for (size_t k = 0; k < b->results.n; k++) {
        const Value *r = b->results.at[k], *v = shape_root(r);
        if (!p->targets[k].home || v == p->targets[k].old) continue;
        if (can_be_direct(p, r, p->targets[k].home)) {
            p->next[k] = p->target_of[v->id];
            p->target_of[v->id] = (int)k + 1;
            vec_push(p->l->arena, &direct, (int)k);
        } else {
            add_unit(p, NULL, r, (int)k);
        }
    }
    p->seen = arena_make_n(p->l->arena, unsigned, p->units.n + 1);
    for (size_t i = 0; i < p->units.n; i++) {
        Unit *u = p->units.at[i];
        find_reads(p, u);
        for (size_t k = 0; k < u->reads.n; k++) add_edge(p, unit_making(p, u->reads.at[k]), (int)i);
    }
    for (size_t i = 0; i < direct.n; i++) {
        const Value *v = shape_root(b->results.at[direct.at[i]]);
        if (readers_first(p, p->targets[direct.at[i]].old, unit_making(p, v))) continue;
        drop_target(p, v, direct.at[i]);
        late_copy(p, direct.at[i], NULL);
    }
    for (size_t i = n_ops; i < p->units.n; i++) {
        Unit *u = p->units.at[i];
        if (readers_first(p, p->targets[u->to].old, (int)i)) continue;
        /* two results change places: by way of a temporary */
        late_copy(p, u->to, home_plain(p->l, low_buffer(p->l, u->copy)));
    }
}

/* ---- what is changed in its place ---- */

/* Has v memory of its own, made by a kernel of this block, that nobody behind the block reads? */
static bool can_be_taken(const Plan *p, const Value *v) {
    if (!made_by_kernel(p, v)) return false;
    for (size_t k = 0; k < p->block->results.n; k++)
        if (shape_root(p->block->results.at[k]) == v) return false;
    return true;
}

/* The value a part of which the unit changes; NULL if that is not what it does. */
static Value *changed_by(const Plan *p, int unit) {
    const Op *op = p->units.at[unit]->op;
    if (!op || op->n_out != 1) return NULL;
    if (op->code == OP_kernel) op = op->blocks[0]->results.at[0]->def;
    return op && (op->code == OP_dynamic_update || op->code == OP_scatter_add) ? op->in[0] : NULL;
}

static void put_over(Plan *p, Value *v, Value *x) {
    p->over[v->id] = x;
    p->taken[x->id] = true;
}

/* A result that goes where `old` lies and is `old` with one part changed after the other: the values between lie there, too. */
static void change_target(Plan *p, Value *result, const Value *old) {
    Values chain = {0};
    for (Value *v = result, *x;; v = x) {
        int u = unit_making(p, v);
        x = changed_by(p, u);
        if (!x || (x != old && !can_be_taken(p, x)) || !readers_first(p, x, u)) return;
        vec_push(p->l->arena, &chain, x);
        if (x == old) break;
    }
    for (size_t i = 0; i + 1 < chain.n; i++) put_over(p, chain.at[i], chain.at[i + 1]);
    p->taken[chain.at[0]->id] = true;
}

/* Of the values in memory of this block's own. */
static void change_others(Plan *p) {
    for (int u = 0; u < (int)p->units.n; u++) {
        Value *x = changed_by(p, u), *v = x ? p->units.at[u]->op->out[0] : NULL;
        if (!x || p->over[v->id] || p->taken[x->id] || p->target_of[v->id]) continue;
        if (can_be_taken(p, x) && readers_first(p, x, u)) put_over(p, v, x);
    }
}

static void find_changes(Plan *p) {
    for (size_t k = 0; k < p->block->results.n; k++) {
        Value *v = p->block->results.at[k];
        if (p->targets[k].old && p->target_of[v->id] == (int)k + 1 && !p->next[k]) change_target(p, v, p->targets[k].old);
    }
    change_others(p);
}

/* ---- parts of joined values ---- */

/* The op that joins, if the unit does nothing else. */
static const Op *joins(const Unit *u) {
    const Op *op = u->op;
    if (op && op->code == OP_kernel && op->blocks[0]->first == op->blocks[0]->last) op = op->blocks[0]->first;
    return op && op->code == OP_concat ? op : NULL;
}

/* Is the op one of a kind, or some op inside it? */
static bool has_op(const Op *op, bool (*is)(const Op *op)) {
    bool found = is(op);
    for (int i = 0; i < op->n_blocks; i++)
        for (const Op *o = op->blocks[i]->first; o && !found; o = o->next) found = has_op(o, is);
    return found;
}

static bool is_window(const Op *op) { return op->code == OP_conv || op->code == OP_window_max || op->code == OP_window_sum; }

static bool is_scatter(const Op *op) { return op->code == OP_scatter_add && !op_scatters_one(op); }

static bool unit_reads(const Unit *u, const Value *v) {
    for (size_t i = 0; i < u->reads.n; i++)
        if (u->reads.at[i] == v) return true;
    return false;
}

/* May v lie among other numbers? Another shape of it may not, nor what windows look at; a run of it has the length of a cache line at least, else its maker would
 * store numbers one by one. */
static bool can_be_part(const Plan *p, const Value *v, int64_t axis, int joiner) {
    enum { LINE = 64 };
    if (!made_by_kernel(p, v) || p->target_of[v->id] || p->part_of[v->id].whole || p->over[v->id] || p->taken[v->id])
        return false;
    int64_t run = elem_size(v->type->elem);
    for (int i = (int)axis; i < v->type->rank; i++) run *= dim_size(v->type->dim[i], p->l->step->batch_bound);
    if (run < LINE) return false;
    for (int i = 0; i < (int)p->units.n; i++) {
        const Unit *u = p->units.at[i];
        if (i == joiner || !u->op || !unit_reads(u, v)) continue;
        if (u->op->code == OP_reshape || has_op(u->op, is_window)) return false;
    }
    return true;
}

/* Does who makes v read other parts of the same value, or the other way round? One kernel would load from what it stores to. */
static bool reads_parts(const Plan *p, const Value *v, const Value *whole, const Op *concat) {
    const Unit *maker = p->units.at[unit_making(p, v)];
    for (int i = 0; i < concat->n_in; i++) {
        const Value *other = concat->in[i];
        if (other == v || p->part_of[other->id].whole != whole) continue;
        if (unit_reads(maker, other) || unit_reads(p->units.at[unit_making(p, other)], v)) return true;
    }
    return false;
}

/* A value that is joined here, stays as it is, and is written to at most one target, which nobody reads before. */
static bool can_be_whole(const Plan *p, const Value *whole) {
    int k = p->target_of[whole->id];
    if (p->taken[whole->id]) return false;
    return !k || (!p->next[k - 1] && !p->targets[k - 1].old && p->block->results.at[k - 1] == whole);
}

static void find_parts(Plan *p) {
    for (int i = 0; i < (int)p->units.n; i++) {
        const Op *concat = joins(p->units.at[i]);
        if (!concat) continue;
        const Value *whole = p->units.at[i]->op->out[0];
        int64_t axis = op_int(concat, A_axis), begin = 0;
        if (!can_be_whole(p, whole) || whole->type->dim[axis].batch) continue;
        for (int k = 0; k < concat->n_in; k++) {
            const Value *v = concat->in[k];
            if (can_be_part(p, v, axis, i) && !reads_parts(p, v, whole, concat)) p->part_of[v->id] = (Part){whole, axis, begin};
            begin += v->type->dim[axis].n;
        }
    }
}

/* ---- is it safe to overwrite? ---- */

typedef struct Overlap {
    const Buffer *memory;
    const Stmt *top; /* the kernel's statement that is walked */
    const Stmt *store_top, *store;
    bool adds; /* in places that an index names, maybe the same one several times */
    bool bad;
    int stores;
} Overlap;

/* Statements of a kernel outside its loops count as one nest: a kernel that stores there is run by one thread, in order. */
static const Stmt *top_of(const Stmt *top, const Stmt *s) {
    return top || s->kind == STMT_FOR || s->kind == STMT_IF ? (top ? top : s) : NULL;
}

static void find_store(Overlap *o, const Body *b, const Stmt *top) {
    for (const Stmt *s = b->first; s; s = s->next) {
        const Stmt *t = top_of(top, s);
        if (s->kind == STMT_STORE && buffer_root(s->buffer) == o->memory) {
            o->stores++;
            o->store = s;
            o->store_top = t;
        }
        find_store(o, &s->body, t);
    }
}

static bool same_place(const Expr *e, const Stmt *store) {
    if (e->buffer != store->buffer || e->n_index != store->n_index) return false;
    for (int i = 0; i < e->n_index; i++)
        if (!affine_same(e->index[i], store->index[i])) return false;
    return true;
}

static void check_expr(Overlap *o, const Expr *e, const Stmt *top, bool after) {
    if (e->kind == EXPR_LOAD && buffer_root(e->buffer) == o->memory)
        if (o->stores != 1 || after || top != o->store_top || e->guarded || !same_place(e, o->store) ||
            (o->adds && (o->store->value->n_args == 0 || e != o->store->value->args[0])))
            o->bad = true;
    for (int i = 0; i < e->n_args; i++) check_expr(o, e->args[i], top, after);
}

/* Loads of the old value stand in the nest that stores, before the store, and read the element that is stored. */
static void check_loads(Overlap *o, const Body *b, const Stmt *top, bool *after) {
    for (const Stmt *s = b->first; s; s = s->next) {
        const Stmt *t = top_of(top, s);
        if (s->value) check_expr(o, s->value, t, *after);
        if (s == o->store) *after = true;
        check_loads(o, &s->body, t, after);
    }
}

/* Did the nodes from `first` on that make op's results read nothing of the memory at `home` that they have written? But for the sum that scatter_add adds to. */
static bool overwrites_well(const Lower *l, const Op *op, size_t first, const Home *home) {
    Overlap o = {.memory = buffer_root(home->buffer), .adds = has_op(op, is_scatter)};
    for (size_t i = first; i < l->nodes->n; i++) find_store(&o, &l->nodes->at[i]->body, NULL);
    for (size_t i = first; i < l->nodes->n; i++) {
        bool after = false;
        check_loads(&o, &l->nodes->at[i]->body, NULL, &after);
    }
    return !o.bad;
}

/* ---- writing it down ---- */

/* The target's home, in the shape of v. */
static Home *target_home(Plan *p, const Value *v, int k) {
    Lower *l = p->l;
    Home *h = p->targets[k].home;
    if (p->block->results.at[k] == v) return memcpy(arena_make(l->arena, Home), h, sizeof *h);
    Buffer *b = low_buffer(l, v);
    buffer_share(b, h->buffer);
    return home_plain(l, b);
}

static Home *result_home(Plan *p, const Value *v);

/* Where a part lies in its whole, which has memory from now on. */
static Home *part_home(Plan *p, const Part *part) {
    Home **whole = &p->joined[part->whole->id];
    if (!*whole) *whole = result_home(p, part->whole);
    Home *h = memcpy(arena_make(p->l->arena, Home), *whole, sizeof *h);
    for (int i = 0; i < h->buffer->rank; i++)
        if (h->axis[i] == part->axis) h->offset[i] += part->begin;
    return h;
}

/* The homes that a result of a kernel is written to: its targets', or new memory. */
static Home *result_home(Plan *p, const Value *v) {
    if (p->joined[v->id]) return p->joined[v->id];
    if (p->part_of[v->id].whole) return part_home(p, &p->part_of[v->id]);
    if (p->over[v->id]) return p->l->home[p->over[v->id]->id];
    Home *first = NULL;
    for (int k = p->target_of[v->id]; k; k = p->next[k - 1]) {
        Home *h = target_home(p, v, k - 1);
        h->also = first;
        first = h;
    }
    return first ? first : home_plain(p->l, low_buffer(p->l, v));
}

/* Takes back what the nodes from `first` on have overwritten too early: targets, and values that others lie over; false if there are such. */
static bool read_in_time(Plan *p, const Op *op, size_t first) {
    bool good = true;
    for (int i = 0; i < op->n_out; i++) {
        Value **over = &p->over[op->out[i]->id];
        if (*over && !overwrites_well(p->l, op, first, p->l->home[(*over)->id])) {
            *over = NULL;
            good = false;
        }
        for (int k = p->target_of[op->out[i]->id], next; k; k = next) {
            next = p->next[k - 1];
            if (!p->targets[k - 1].old || overwrites_well(p->l, op, first, p->targets[k - 1].home)) continue;
            drop_target(p, op->out[i], k - 1);
            late_copy(p, k - 1, NULL);
            good = false;
        }
    }
    return good;
}

static void write_kernel(Plan *p, const Op *op) {
    Lower *l = p->l;
    size_t first = l->nodes->n;
    int kernels = l->n_kernels;
    Home **homes = arena_make_n(l->arena, Home *, (size_t)op->n_out);
    for (;;) {
        for (int i = 0; i < op->n_out; i++) homes[i] = result_home(p, op->out[i]);
        lower_op(l, op, homes);
        if (read_in_time(p, op, first)) break;
        l->nodes->n = first;
        l->n_kernels = kernels;
    }
    for (int i = 0; i < op->n_out; i++) l->home[op->out[i]->id] = homes[i];
}

static void write_reshape(Plan *p, const Op *op) {
    Lower *l = p->l;
    const Value *x = op->in[0], *v = op->out[0];
    int k = p->target_of[shape_root(v)->id];
    while (k && p->block->results.at[k - 1] != v) k = p->next[k - 1];
    if (k) {
        l->home[v->id] = p->targets[k - 1].home;
    } else if (can_view(l, x, v->type)) {
        l->home[v->id] = view_of(l, x, v);
    } else if (l->home[x->id]) {
        Home *h = home_plain(l, low_buffer(l, v));
        lower_op(l, op, &h);
        l->home[v->id] = h;
    } /* of a free value: pulled where it is used */
}

static void write_unit(Plan *p, Unit *u) {
    Lower *l = p->l;
    if (!u->op) {
        Home *from = p->late_from[u->to], *to = from ? from : p->targets[u->to].home;
        lower_copies(l, 1, &u->copy, &to, l->func->loc);
    } else if (u->op->code == OP_scan) {
        lower_scan(l, u->op);
    } else if (u->op->code == OP_while) {
        lower_while(l, u->op);
    } else if (u->op->code == OP_reshape) {
        write_reshape(p, u->op);
    } else {
        write_kernel(p, u->op);
    }
}

static void write_late(Plan *p) {
    Lower *l = p->l;
    size_t n = p->late.n;
    const Value **values = arena_make_n(l->arena, const Value *, n);
    Home **to = arena_make_n(l->arena, Home *, n);
    for (size_t i = 0; i < n; i++) {
        int k = p->late.at[i];
        values[i] = p->block->results.at[k];
        to[i] = p->targets[k].home;
        if (p->late_from[k]) l->home[values[i]->id] = p->late_from[k];
    }
    lower_copies(l, (int)n, values, to, l->func->loc);
}

void lower_block(Lower *l, const Block *b, const Target *targets) {
    Plan plan = {.l = l, .block = b, .targets = targets}, *p = &plan;
    p->unit_of = arena_make_n(l->arena, int, (size_t)l->func->n_values);
    p->target_of = arena_make_n(l->arena, int, (size_t)l->func->n_values);
    p->late_from = arena_make_n(l->arena, Home *, b->results.n);
    p->next = arena_make_n(l->arena, int, b->results.n);
    p->over = arena_make_n(l->arena, Value *, (size_t)l->func->n_values);
    p->taken = arena_make_n(l->arena, bool, (size_t)l->func->n_values);
    p->part_of = arena_make_n(l->arena, Part, (size_t)l->func->n_values);
    p->joined = arena_make_n(l->arena, Home *, (size_t)l->func->n_values);
    for (const Op *op = b->first; op; op = op->next) {
        if (is_free(op)) continue;
        int u = add_unit(p, op, NULL, -1);
        for (int i = 0; i < op->n_out; i++) p->unit_of[op->out[i]->id] = u + 1;
    }
    choose_targets(p);
    find_changes(p);
    find_parts(p);
    bool *done = arena_make_n(l->arena, bool, p->units.n + 1);
    for (size_t n = 0, from = 0; n < p->units.n && !l->failed; n++) {
        /* the first that waits for nobody: as near to the order of the text as can be */
        while (done[from]) from++;
        size_t i = from;
        while (i < p->units.n && (done[i] || p->units.at[i]->before)) i++;
        if (i == p->units.n) bug("lower: the kernels of @%s wait for each other", l->func->name);
        done[i] = true;
        for (size_t k = 0; k < p->units.at[i]->after.n; k++) p->units.at[p->units.at[i]->after.at[k]]->before--;
        write_unit(p, p->units.at[i]);
    }
    write_late(p);
}
