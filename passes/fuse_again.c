/*
 * fuse_again.c - what one group stores for another is computed again where it is read, if that moves fewer bytes.
 *
 * The way back needs what the way forward had. gelu(a) = a (1 + erf(a / √2)) / 2 leaves three values to its gradient beside its
 * result, each as large as a; they are all made of a, by arithmetic that costs less than to write and read them:
 *
 *   %a, %e, %h, %d = kernel {               %a, %h = kernel {                       the product before a, and h, which the next
 *     %a = ..                                 %a = ..                               product reads: both must lie in memory
 *     %e = add 1, (erf (mul %a, c))           %h = mul %a, (add 1, (erf (mul %a, c)))
 *     %h = mul %a, %e                   =>  }
 *     %d = exp (neg (mul ..))               %da = kernel {
 *   }                                         %p = contract %dz, %w
 *   %da = kernel {                            %e = add 1, (erf (mul %a, c))         the same ops on the same numbers: no bit
 *     %p = contract %dz, %w                   %d = exp (neg (mul ..))               changes
 *     .. %p, %a, %e, %d ..                    .. %p, %a, %e, %d ..
 *   }                                       }
 *
 * For one reader alone the best choice is a minimum cut (as in Jain et al., "Checkmate", and the min-cut partitioner of PyTorch's
 * AOTAutograd): every value that the reader could make has two nodes and an edge of the bytes that it costs to read it, and to
 * write it if nobody else reads it; an edge from the source costs what making it costs; who makes a value must have its operands.
 *
 *        making ┌────┐ memory ┌─────┐        a cut through `memory`: the value is stored, and read here
 *   source ────▶│ in │───────▶│ out │──▶ who needs it: in of what is made of it, or the sink
 *               └────┘        └─────┘        a cut through `making`: it is made here, of operands that are here
 *
 * Only elementwise ops are made again: never a product, a reduction, a gather, or what has a block. What several groups read is
 * looked at a second time: is all of it cheaper if none of them reads it? So x - mean(x), which a normalization and its gradients
 * use, gives way to x and the means.
 *
 * A parameter may be read where it was not read before only if what overwrites it can come later, and then it does.
 */
#include "passes/fuse.h"
#include "passes/machine.h"

#include <string.h>

enum {
    MOST_ENTRIES = 96,  /* values in one network; what lies further back is read, not made */
    MOST_READERS = 16,  /* groups that must all do without a value; more are not asked */
    MOST_SOLVED = 4000, /* networks in a block: some 0.1 s */
    ROUNDS = 2,
    GAIN_PART = 32, /* for less than this part of the second cache the code is not made longer */
    NEAR_PART = 8,  /* what is found in the second cache costs this part of what memory costs */
    ALONE = 6, /* times as long takes a function (a chain of 60 to 90 cycles) where no other vector is on its way beside it */
};

static const int64_t NEVER = INT64_MAX / 8;

/* For tests of graphs alone, which name no machine: AVX2, half a megabyte. */
static const Machine plain_machine = {.vector_bytes = 32, .vector_registers = 16, .l1 = 1 << 15, .l2 = 1 << 19};

/* What a group reads of others, and what it makes again of that. */
typedef struct Choice {
    Vec(int) read; /* ops of other groups */
    Vec(int) made;
    Vec(const Value *) memory; /* read for what is made, and not before */
    int64_t bytes;             /* of reading and of making; not of writing what is read */
} Choice;

typedef struct Entry {
    int op;             /* -1: lies in memory before the block begins */
    const Value *value; /* then: this */
    bool fixed;         /* cannot be made: is read */
    bool known;         /* memory that the group reads anyway */
} Entry;

typedef struct Edge {
    int to, next; /* index + 1 of the next edge out of the same node */
    int64_t room; /* edge e ^ 1 runs back */
} Edge;

typedef Vec(int) Ints;

typedef struct Again {
    Fuse *f;
    const Machine *machine;
    int64_t least;     /* bytes that a change must save */
    Choice **choice;   /* by group; NULL: reads nothing that could be made, or may not be changed */
    Ints *readers;     /* by op: the groups that read it */
    int64_t *written;  /* by op that is read: what writing it costs */
    int64_t *position; /* by group: bytes that are read and written before it */
    int64_t total;     /* bytes: writing, reading, making */
    int solved;
    /* the network of one group */
    int group;
    int *entry_of; /* by op: 1 + its entry */
    Vec(Entry) entries;
    Vec(Edge) edges;
    Ints first; /* by node: 1 + an edge out of it */
} Again;

enum { SOURCE, SINK, FIRST_NODE };
static int in_node(int entry) { return FIRST_NODE + 2 * entry; }
static int out_node(int entry) { return FIRST_NODE + 2 * entry + 1; }

/* ---- costs, in bytes moved ---- */

/* Does group g find in its second cache what op i's group has written? If no more has been read and written between than that
 * holds. */
static bool is_near(const Again *a, int i, int g) { return a->position[g] - a->position[a->f->group_of[i]] < a->machine->l2; }

static int64_t read_cost(const Again *a, int i, int g) {
    return fuse_value_bytes(a->f, a->f->op[i]->out[0]) / (is_near(a, i, g) ? NEAR_PART : 1);
}

/* Of writing op i for group g alone. A store reads its line first. What is kept is written whatever we do. (A mask, a byte for
 * each of 4 others, must be packed from their vectors and unpacked again: it counts as large as they are.) */
static int64_t write_cost(const Again *a, int i, int g) {
    const Type *t = a->f->op[i]->out[0]->type;
    int64_t bytes = 2 * type_count(t, a->f->func->batch_bound) * (elem_size(t->elem) < 4 ? 4 : elem_size(t->elem));
    return a->f->kept[i] ? 0 : is_near(a, i, g) ? bytes / NEAR_PART : bytes;
}

/* Additions an element, with the free ops before it; scalars are computed once, outside of the loops. */
static int ops_of(const Fuse *f, const Op *op, int depth) {
    int cost = op->code == OP_uniform || op->code == OP_pow ? 3 * SCALAR_COST : fuse_cost(op->code);
    for (int k = 0; k < op->n_in && depth < 16; k++) {
        int from = fuse_op_of(f, op->in[k]);
        if (from >= 0 && f->role[from] == ROLE_FREE && op->in[k]->type->rank) cost += ops_of(f, f->op[from], depth + 1);
    }
    return cost;
}

/* What making op i costs. A core adds a vector in half a cycle, in which memory moves some 3/2 bytes: with AVX2 a function of 20
 * additions costs a number of 4 bytes as much as to read it, and a third of what it costs to write it and to read it. Where the
 * last axis is shorter than a vector, a part of each does nothing, and there is no tile of them to work on at a time. */
static int64_t making_bytes(const Again *a, int i) {
    const Op *op = a->f->op[i];
    const Type *t = op->out[0]->type;
    int width = elem_size(t->elem) < 4 ? 4 : elem_size(t->elem);
    for (int k = 0; k < op->n_in; k++)
        if (elem_size(op->in[k]->type->elem) > width) width = elem_size(op->in[k]->type->elem);
    int64_t count = type_count(t, a->f->func->batch_bound), row = dim_size(t->dim[t->rank - 1], a->f->func->batch_bound);
    int lanes = machine_lanes(a->machine, width);
    int64_t vectors = row > 0 ? count / row * ((row + lanes - 1) / lanes) : 0;
    int ops = ops_of(a->f, op, 0);
    if (row < lanes && ops >= SCALAR_COST) ops *= ALONE;
    return vectors * ops * 3 / 2 + 1;
}

/* ---- memory that is overwritten in this block ---- */

/* The group that makes what is written over parameter v; -1: nothing is, -2: not known. */
static int overwriter(const Fuse *f, const Value *v) {
    const Func *func = f->func;
    if (v->def || v->block != f->block) return -1; /* of a block around: it cannot change while this one runs */
    if (f->block->op) return -2;                   /* carried from turn to turn */
    const Slot *slot = func->in_slots.at[v->index];
    for (size_t k = 0; k < func->out_slots.n; k++) {
        if (func->out_slots.at[k] != slot) continue;
        const Value *r = f->block->results.at[k];
        if (r == v) return -1;
        int i = fuse_op_of(f, r);
        while (i >= 0 && f->role[i] == ROLE_FREE && f->op[i]->code == OP_reshape) i = fuse_op_of(f, f->op[i]->in[0]);
        return i >= 0 && f->role[i] != ROLE_FREE ? f->group_of[i] : -2;
    }
    return -1;
}

/* May group g read v, be it before what overwrites it? */
static bool may_read(const Fuse *f, const Value *v, int g) {
    int over = overwriter(f, v);
    return over == -1 || (over >= 0 && over != g && !fuse_needs(f, g, over));
}

/* ---- the network of one group ---- */

static void add_edge(Again *a, int from, int to, int64_t room) {
    while (a->first.n <= (size_t)(from > to ? from : to)) vec_push(a->f->arena, &a->first, 0);
    vec_push(a->f->arena, &a->edges, ((Edge){to, a->first.at[from], room}));
    a->first.at[from] = (int)a->edges.n;
    vec_push(a->f->arena, &a->edges, ((Edge){from, a->first.at[to], 0}));
    a->first.at[to] = (int)a->edges.n;
}

static int new_entry(Again *a, int op, const Value *v) {
    vec_push(a->f->arena, &a->entries, ((Entry){op, v, op < 0, false}));
    if (op >= 0) a->entry_of[op] = (int)a->entries.n;
    return (int)a->entries.n - 1;
}

static int memory_entry(Again *a, const Value *v) {
    for (size_t i = 0; i < a->entries.n; i++)
        if (a->entries.at[i].value == v) return (int)i;
    return new_entry(a, -1, v);
}

/* Follows an operand to what it is made of, through free ops. user: the entry that would be made of it, -1: an op of the group
 * itself. plain: nothing repeats it on the way. Returns false if the group may not read it. */
static bool follow(Again *a, const Value *v, bool plain, int user) {
    const Fuse *f = a->f;
    int i = fuse_op_of(f, v);
    if (i < 0) {
        if (v->def && v->def->n_in == 0) return true; /* a constant of a block around */
        int e = memory_entry(a, v);
        if (user < 0) a->entries.at[e].known = true;
        if (user >= 0) add_edge(a, out_node(e), in_node(user), NEVER);
        return user < 0 || may_read(f, v, a->group);
    }
    if (f->role[i] == ROLE_FREE) {
        const Op *op = f->op[i];
        for (int k = 0; k < op->n_in; k++) plain &= type_count(op->in[k]->type, 2) >= type_count(op->out[0]->type, 2);
        bool ok = true;
        for (int k = 0; k < op->n_in; k++) ok &= follow(a, op->in[k], plain, user);
        return ok;
    }
    if (f->group_of[i] == a->group) return user < 0;
    int e = a->entry_of[i] ? a->entry_of[i] - 1 : new_entry(a, i, NULL);
    a->entries.at[e].fixed |= !plain;
    add_edge(a, out_node(e), user < 0 ? SINK : in_node(user), NEVER);
    return true;
}

/* Could the group make the entry's value, as far as its op goes? */
static bool could_make(const Again *a, const Entry *e) {
    const Op *op = a->f->op[e->op];
    const Group *g = a->f->groups.at[a->group];
    if (e->fixed || op->n_out != 1 || op->n_blocks || !op_info[op->code].elementwise || op->out[0]->type->rank == 0) return false;
    return !g->heavy || (!a->f->drawn[e->op] && type_same_shape(op->out[0]->type, g->point));
}

static void make_network(Again *a, int forbidden) {
    const Fuse *f = a->f;
    const Group *g = f->groups.at[a->group];
    a->entries.n = a->edges.n = a->first.n = 0;
    for (size_t k = 0; k < g->ops.n; k++) {
        const Op *op = f->op[g->ops.at[k]];
        for (int n = 0; n < op->n_in; n++) follow(a, op->in[n], fuse_uses_plainly(op), -1);
    }
    for (size_t i = 0; i < a->entries.n; i++) { /* grows */
        Entry *e = &a->entries.at[i];
        if (e->op < 0) continue;
        bool make = could_make(a, e) && a->entries.n < MOST_ENTRIES;
        const Op *op = f->op[e->op];
        for (int k = 0; k < op->n_in && make; k++) make = follow(a, op->in[k], true, (int)i);
        if (!make) a->entries.at[i].fixed = true;
    }
    for (size_t i = 0; i < a->entries.n; i++) {
        const Entry *e = &a->entries.at[i];
        int64_t memory = e->known ? 0 : e->op < 0 ? fuse_value_bytes(f, e->value) : read_cost(a, e->op, a->group);
        if (e->op >= 0) {
            const Ints *readers = &a->readers[e->op];
            if (readers->n == 0 || (readers->n == 1 && readers->at[0] == a->group)) memory += write_cost(a, e->op, a->group);
        }
        add_edge(a, SOURCE, in_node((int)i), e->fixed ? NEVER : making_bytes(a, e->op));
        add_edge(a, in_node((int)i), out_node((int)i), e->op >= 0 && e->op == forbidden ? NEVER : memory);
    }
    for (size_t i = 0; i < a->entries.n; i++)
        if (a->entries.at[i].op >= 0) a->entry_of[a->entries.at[i].op] = 0;
}

/* ---- the cut ---- */

/* One shortest way with room from the source to the sink; 0: there is none. by[node]: 1 + the edge that reaches it. */
static int64_t push_flow(Again *a, int *by, int *queue) {
    memset(by, 0, a->first.n * sizeof *by);
    int n = 0;
    queue[n++] = SOURCE;
    for (int at = 0; at < n && !by[SINK]; at++)
        for (int e = a->first.at[queue[at]]; e; e = a->edges.at[e - 1].next) {
            const Edge *edge = &a->edges.at[e - 1];
            if (edge->room == 0 || by[edge->to] || edge->to == SOURCE) continue;
            by[edge->to] = e;
            queue[n++] = edge->to;
        }
    if (!by[SINK]) return 0;
    int64_t most = NEVER;
    for (int v = SINK; v != SOURCE; v = a->edges.at[(by[v] - 1) ^ 1].to)
        if (a->edges.at[by[v] - 1].room < most) most = a->edges.at[by[v] - 1].room;
    for (int v = SINK; v != SOURCE; v = a->edges.at[(by[v] - 1) ^ 1].to) {
        a->edges.at[by[v] - 1].room -= most;
        a->edges.at[(by[v] - 1) ^ 1].room += most;
    }
    return most;
}

/* Marks the nodes from which the sink can still be reached: of all minimum cuts the one with the least on the sink's side, so that
 * nothing is made for nothing. */
static void find_side(Again *a, bool *side, int *queue) {
    int n = 0;
    memset(side, 0, a->first.n * sizeof *side);
    side[SINK] = true;
    queue[n++] = SINK;
    for (int at = 0; at < n; at++)
        for (int e = a->first.at[queue[at]]; e; e = a->edges.at[e - 1].next) {
            int from = a->edges.at[e - 1].to;
            if (side[from] || a->edges.at[(e - 1) ^ 1].room == 0) continue;
            side[from] = true;
            queue[n++] = from;
        }
}

/* The best choice of group g, given what the others read; NULL: it cannot do without op `forbidden` (-1: none is). */
static Choice *solve(Again *a, int g, int forbidden) {
    const Fuse *f = a->f;
    a->group = g;
    a->solved++;
    make_network(a, forbidden);
    if (a->entries.n == 0) return NULL;
    int *by = arena_make_n(f->arena, int, a->first.n), *queue = arena_make_n(f->arena, int, a->first.n);
    bool *side = arena_make_n(f->arena, bool, a->first.n);
    for (int64_t more, all = 0; (more = push_flow(a, by, queue)) > 0;)
        if ((all += more) >= NEVER) return NULL;
    find_side(a, side, queue);
    Choice *c = arena_make(f->arena, Choice);
    for (size_t i = 0; i < a->entries.n; i++) {
        const Entry *e = &a->entries.at[i];
        if (!side[out_node((int)i)]) continue;
        if (side[in_node((int)i)]) {
            vec_push(f->arena, &c->made, e->op);
            c->bytes += making_bytes(a, e->op);
        } else if (e->op >= 0) {
            vec_push(f->arena, &c->read, e->op);
            c->bytes += read_cost(a, e->op, g);
        } else if (!e->known) {
            vec_push(f->arena, &c->memory, e->value);
            c->bytes += fuse_value_bytes(f, e->value);
        }
    }
    return c;
}

/* ---- choices of all groups ---- */

static void add_reader(Again *a, int i, int g) {
    if (a->readers[i].n == 0) a->total += a->written[i] = write_cost(a, i, g);
    vec_push(a->f->arena, &a->readers[i], g);
}

static void drop_reader(Again *a, int i, int g) {
    Ints *r = &a->readers[i];
    for (size_t k = 0; k < r->n; k++)
        if (r->at[k] == g) {
            r->at[k] = r->at[--r->n];
            break;
        }
    if (r->n == 0) a->total -= a->written[i];
}

static void choose(Again *a, int g, Choice *c) {
    Choice *old = a->choice[g];
    for (size_t k = 0; old && k < old->read.n; k++) drop_reader(a, old->read.at[k], g);
    for (size_t k = 0; k < c->read.n; k++) add_reader(a, c->read.at[k], g);
    a->total += c->bytes - (old ? old->bytes : 0);
    a->choice[g] = c;
}

/* Memory is read before it is overwritten: from now on its writer waits for the group. false: it cannot, as it must come first. */
static bool hold_memory(Again *a, int g, const Choice *c) {
    for (size_t k = 0; k < c->memory.n; k++) {
        if (!may_read(a->f, c->memory.at[k], g)) return false;
        int over = overwriter(a->f, c->memory.at[k]);
        if (over >= 0) fuse_wait_for(a->f, over, g);
    }
    return true;
}

/* What every group reads now, and the bytes that it moves, of which those before it make its position. */
static void find_reads(Again *a, int64_t *moved) {
    const Fuse *f = a->f;
    bool *read = arena_make_n(f->arena, bool, (size_t)f->n_ops + 1);
    for (int g = 0; g < (int)f->groups.n; g++) {
        const Group *x = f->groups.at[g];
        if (x->gone) continue;
        if (f->role[x->ops.at[0]] == ROLE_CONTROL) { /* turns of a block: nothing of before is left in the cache */
            moved[g] = a->machine->l2;
            continue;
        }
        a->group = g;
        make_network(a, -1);
        Choice *c = arena_make(f->arena, Choice);
        for (size_t i = 0; i < a->entries.n; i++) {
            const Entry *e = &a->entries.at[i];
            bool here = e->known; /* read by an op of the group */
            for (int n = a->first.at[out_node((int)i)]; n; n = a->edges.at[n - 1].next)
                here |= a->edges.at[n - 1].to == SINK && a->edges.at[n - 1].room > 0;
            if (!here) continue;
            moved[g] += fuse_value_bytes(f, e->op < 0 ? e->value : f->op[e->op]->out[0]);
            if (e->op < 0) continue;
            vec_push(f->arena, &c->read, e->op);
            read[e->op] = true;
        }
        if (c->read.n) a->choice[g] = c;
    }
    for (int i = 0; i < f->n_ops; i++)
        if (f->role[i] != ROLE_FREE && (read[i] || f->kept[i])) moved[f->group_of[i]] += fuse_value_bytes(f, f->op[i]->out[0]);
}

static void begin_choices(Again *a) {
    const Fuse *f = a->f;
    int64_t *moved = arena_make_n(f->arena, int64_t, f->groups.n + 1), all = 0;
    find_reads(a, moved);
    for (int i = 0; i < f->n_ops; i++) {
        if (f->role[i] == ROLE_FREE || f->groups.at[f->group_of[i]]->ops.at[0] != i) continue;
        a->position[f->group_of[i]] = all;
        all += moved[f->group_of[i]];
    }
    for (int g = 0; g < (int)f->groups.n; g++) {
        Choice *c = a->choice[g];
        if (!c) continue;
        for (size_t k = 0; k < c->read.n; k++) c->bytes += read_cost(a, c->read.at[k], g);
        for (size_t k = 0; k < c->read.n; k++) add_reader(a, c->read.at[k], g);
        a->total += c->bytes;
    }
}

static bool may_change(const Again *a, int g) {
    const Group *x = a->f->groups.at[g];
    return a->choice[g] && !x->closed && x->n_point > 0 && a->solved < MOST_SOLVED;
}

/* The best for each group alone. */
static bool choose_alone(Again *a) {
    bool changed = false;
    for (int g = 0; g < (int)a->f->groups.n; g++) {
        if (!may_change(a, g)) continue;
        Choice *old = a->choice[g], *c = solve(a, g, -1);
        if (!c) continue;
        int64_t before = a->total;
        choose(a, g, c);
        if (a->total + a->least < before && hold_memory(a, g, c))
            changed = true;
        else
            choose(a, g, old);
    }
    return changed;
}

/* Do all readers of op i do better without it? */
static bool try_without(Again *a, int i) {
    int n = (int)a->readers[i].n, g[MOST_READERS];
    Choice *old[MOST_READERS];
    if (n == 0 || n > MOST_READERS) return false;
    for (int k = 0; k < n; k++) g[k] = a->readers[i].at[k];
    for (int k = 0; k < n; k++)
        if (!may_change(a, g[k])) return false;
    int64_t before = a->total;
    int done = 0;
    bool ok = true;
    for (; done < n && ok; done++) {
        Choice *c = solve(a, g[done], i);
        old[done] = a->choice[g[done]];
        if (c) choose(a, g[done], c);
        ok = c != NULL;
    }
    ok = ok && a->total + a->least < before;
    for (int k = 0; k < n && ok; k++) ok = hold_memory(a, g[k], a->choice[g[k]]);
    while (!ok && done-- > 0) choose(a, g[done], old[done]);
    return ok;
}

static bool choose_together(Again *a) {
    const Fuse *f = a->f;
    bool changed = false;
    for (int i = f->n_ops; i-- > 0;) {
        if (f->role[i] != ROLE_MEMBER || f->kept[i] || !op_info[f->op[i]->code].elementwise) continue;
        if (2 * a->written[i] > a->least) changed |= try_without(a, i);
    }
    return changed;
}

/* ---- doing it ---- */

typedef struct Made {
    Fuse *f;
    int group;
    bool *again; /* by op: the group makes it */
    Value **now; /* by value id: what stands for it in the group, once that is known */
    Ints known;  /* ids in `now` */
    Vec(Op *) copies;
    Ints groups; /* of the copies; -1: free */
} Made;

/* What stands for v in the group; new ops go in front of `user`. */
static Value *stand_in(Made *m, Value *v, Op *user) {
    Fuse *f = m->f;
    int i = fuse_op_of(f, v);
    if (i < 0) return v;
    if (m->now[v->id]) return m->now[v->id];
    Op *op = f->op[i];
    bool copy = f->role[i] == ROLE_MEMBER && m->again[i];
    if (!copy && f->role[i] != ROLE_FREE) return v;
    Value **in = arena_make_n(f->arena, Value *, (size_t)op->n_in + 1);
    for (int k = 0; k < op->n_in; k++) {
        in[k] = stand_in(m, op->in[k], user);
        copy |= in[k] != op->in[k];
    }
    Value *got = v;
    if (copy) {
        Builder b = {.arena = f->func->module->arena, .func = f->func, .block = f->block, .before = user, .loc = op->loc};
        Op *made = op_make_full(&b, op->code, op->n_in, in, op->n_attrs, op->attrs, 0, NULL, 1, &v->type);
        made->out[0]->name = v->name;
        vec_push(f->arena, &m->copies, made);
        vec_push(f->arena, &m->groups, f->role[i] == ROLE_FREE ? -1 : m->group);
        got = made->out[0];
    }
    m->now[v->id] = got;
    vec_push(f->arena, &m->known, v->id);
    return got;
}

static void make_in_group(Made *m, int g, const Choice *c) {
    Fuse *f = m->f;
    const Group *x = f->groups.at[g];
    m->group = g;
    for (size_t k = 0; k < c->made.n; k++) m->again[c->made.at[k]] = true;
    for (size_t k = 0; k < x->ops.n; k++) {
        Op *op = f->op[x->ops.at[k]];
        for (int n = 0; n < op->n_in; n++) op->in[n] = stand_in(m, op->in[n], op);
    }
    for (size_t k = 0; k < m->known.n; k++) m->now[m->known.at[k]] = NULL;
    m->known.n = 0;
    for (size_t k = 0; k < c->made.n; k++) m->again[c->made.at[k]] = false;
}

/* Numbers the ops again: those that nobody needs are gone, the copies have their groups. */
static void number_again(const Made *m) {
    Fuse *f = m->f;
    typedef struct Place {
        Role role;
        int group;
        bool drawn, kept;
    } Place;
    Place *at = arena_make_n(f->arena, Place, (size_t)f->func->n_values); /* by id of an op's first result */
    for (int i = 0; i < f->n_ops; i++) at[f->op[i]->out[0]->id] = (Place){f->role[i], f->group_of[i], f->drawn[i], f->kept[i]};
    for (size_t k = 0; k < m->copies.n; k++) {
        int g = m->groups.at[k];
        at[m->copies.at[k]->out[0]->id] = (Place){g < 0 ? ROLE_FREE : ROLE_MEMBER, g, false, false};
    }
    fuse_drop_dead(f);
    fuse_list_ops(f);
    f->role = arena_make_n(f->arena, Role, (size_t)f->n_ops);
    f->group_of = arena_make_n(f->arena, int, (size_t)f->n_ops);
    f->drawn = arena_make_n(f->arena, bool, (size_t)f->n_ops);
    f->kept = arena_make_n(f->arena, bool, (size_t)f->n_ops);
    for (size_t g = 0; g < f->groups.n; g++) f->groups.at[g]->ops.n = 0;
    for (int i = 0; i < f->n_ops; i++) {
        const Place *p = &at[f->op[i]->out[0]->id];
        f->role[i] = p->role;
        f->group_of[i] = p->group;
        f->drawn[i] = p->drawn;
        f->kept[i] = p->kept;
        if (p->role != ROLE_FREE) vec_push(f->arena, &f->groups.at[p->group]->ops, i);
    }
    for (size_t g = 0; g < f->groups.n; g++) f->groups.at[g]->gone = f->groups.at[g]->ops.n == 0;
}

void fuse_again(Fuse *f) {
    Again again = {.f = f, .machine = f->ctx->machine ? f->ctx->machine : &plain_machine}, *a = &again;
    for (int i = 0; i < f->n_ops; i++)
        if (f->op[i]->n_out == 0) return;
    a->choice = arena_make_n(f->arena, Choice *, f->groups.n + 1);
    a->readers = arena_make_n(f->arena, Ints, (size_t)f->n_ops + 1);
    a->entry_of = arena_make_n(f->arena, int, (size_t)f->n_ops + 1);
    a->written = arena_make_n(f->arena, int64_t, (size_t)f->n_ops + 1);
    a->position = arena_make_n(f->arena, int64_t, f->groups.n + 1);
    a->least = a->machine->l2 / GAIN_PART;
    begin_choices(a);
    if (a->total <= a->machine->l2) return; /* little to gain */
    for (int round = 0; round < ROUNDS; round++)
        if (!(choose_alone(a) | choose_together(a))) break;
    Made made = {.f = f}, *m = &made;
    m->again = arena_make_n(f->arena, bool, (size_t)f->n_ops + 1);
    m->now = arena_make_n(f->arena, Value *, (size_t)f->n_values + 1);
    for (int g = 0; g < (int)f->groups.n; g++)
        if (a->choice[g] && a->choice[g]->made.n) make_in_group(m, g, a->choice[g]);
    if (m->copies.n) number_again(m);
}
