/*
 * halo.c - gives the maps that convolutions read a border of zeros.
 * in:  loops as `lower` made them.   out: the same, with fewer guarded loads.
 * keeps: every bit (the zeros belong to the chain, as the guard gave them).   spoils: nothing.
 *
 *   buffer %max: f32[B, 32, 32, 16]
 *   s = fma(%max[n, x + v - 1, y + u - 1, c] else 0, %w[v, u, c, d], s)
 *   =>
 *   buffer %max: f32[B, 34, 34, 16]
 *   kernel @max.halo: %max[n, 0, y, c] = 0 ; %max[n, 33, y, c] = 0 ; %max[n, x, 0, c] = 0 ; %max[n, x, 33, c] = 0     (0 < x < 33)
 *   s = fma(%max[n, x + v, y + u, c], %w[v, u, c, d], s)                                (and who writes %max[n, x, y, c] writes %max[n, x + 1, y + 1, c])
 *
 * A test or an address to choose for each number that a register tile reads costs more than its multiply-add. The border is written once a step, in front of all that
 * touches the map; it is a part of the map's memory, so that no pass behind this one needs to know of it.
 *
 * Samples, and parameters that the step does not write, are not the step's to change: they are copied once into a map with a border, where products read each number often.
 *
 *   kernel @x.border: %x.border[n, 0, y, c] = 0 ; ... ; %x.border[n, x + 1, y + 1, c] = %x[n, x, y, c]
 *
 * What is read through another shape, the channels of a convolution in groups, is read by the shape that it was made in first: %r[n, x + v - 1, y + u - 1, g, c] of %max[.., 2 x 48] is
 * %max[n, x + v - 1, y + u - 1, 48 g + c].
 *
 * Done where a chain of products reads outside and finds 0 there, the borders do not make the map much larger, and (of what the step computes) nobody else looks at the map's memory.
 */
#include "passes/machine.h"
#include "passes/nest.h"
#include "passes/pipeline.h"
#include "passes/plan.h"

enum {
    MOST_TIMES = 4,   /* the map may become so many times as large; any that fits the second cache may */
    LEAST_READS = 16, /* of each number, where the map is copied */
};

typedef struct Border {
    bool bad;              /* how far loads go cannot be told, or they find something else than 0 there */
    bool stored;           /* the step writes it */
    bool wanted;           /* a product reads outside */
    bool by_whole;         /* a shape of other memory, which is to be read by its own */
    double reads;          /* that may be outside, at most */
    Buffer *copy;          /* loads that may be outside are to read this */
    const StepNode *first; /* of the step's own nodes, the first that touches it */
    int64_t low[MAX_RANK], high[MAX_RANK];
} Border;

typedef struct Range {
    const Var *var;
    int64_t least, most;
    bool begins, ends; /* is `least` known, and `most`? */
    int64_t samples;   /* it is one of so many times the samples of the batch, at most; 0: it cannot be told */
} Range;

typedef struct Halo {
    Arena *arena;
    Step *step;
    const Machine *machine;
    Border *border; /* by id of the buffer */
    Vec(Range) ranges;
    double turns;        /* of the loops around what is looked at */
    const StepNode *top; /* of the step's own nodes, the one that is looked through */
    PtrMap done;         /* loads that are moved already: parts of an expression may be shared */
} Halo;

/* ---- how far indices go ---- */

static const Range *range_of(const Halo *h, const Var *v) {
    for (size_t i = h->ranges.n; i > 0; i--)
        if (h->ranges.at[i - 1].var == v) return &h->ranges.at[i - 1];
    return NULL;
}

/* The least (sign 1) or the most (sign -1) that x can be; false: it cannot be told. */
static bool affine_end(const Halo *h, const Affine *x, int sign, int64_t *end) {
    *end = x->constant;
    for (int i = 0; i < x->n; i++) {
        const Range *r = range_of(h, x->term[i].var);
        int64_t k = x->term[i].factor;
        bool least = sign * k > 0;
        if (!r || !(least ? r->begins : r->ends)) return false;
        *end += k * (least ? r->least : r->most);
    }
    return true;
}

static void push_loop(Halo *h, const Stmt *loop) {
    Range r = {.var = loop->var};
    int64_t most;
    r.begins = affine_end(h, loop->lo, 1, &r.least);
    for (int i = 0; i < loop->n_limits; i++) {
        if (!affine_end(h, loop->limits[i], -1, &most)) continue;
        if (!r.ends || most - 1 < r.most) r.most = most - 1;
        r.ends = true;
    }
    for (int i = 0; i < loop->n_limits && h->step->batch; i++) {
        const Affine *x = loop->limits[i];
        bool all = x->n == 1 && x->constant == 0 && x->term[0].var == h->step->batch;
        if (all && r.begins && r.least >= 0) r.samples = x->term[0].factor;
    }
    vec_push(h->arena, &h->ranges, r);
}

/* Where a piece of a long chain begins is the larger of 0 and something else (lower_reduce.c). */
static void push_index(Halo *h, const Stmt *s) {
    Range r = {.var = s->var};
    const Expr *e = s->index_kind == INDEX_VALUE ? s->value : NULL;
    for (int i = 0; e && e->kind == EXPR_OP && e->op == OP_max && i < e->n_args; i++) {
        const Expr *x = e->args[i];
        if (x->kind != EXPR_INDEX || !affine_is_constant(x->index[0])) continue;
        if (!r.begins || x->index[0]->constant > r.least) r.least = x->index[0]->constant;
        r.begins = true;
    }
    vec_push(h->arena, &h->ranges, r);
}

/* ---- which buffers ---- */

static Border *border_of(const Halo *h, const Buffer *b) { return &h->border[b->id]; }

static void note_touch(Halo *h, const Buffer *b) {
    if (!border_of(h, b)->first) border_of(h, b)->first = h->top;
}

/* A load that is 0 outside: how far does it go? */
static void note_guarded(Halo *h, const Expr *e) {
    Border *b = border_of(h, e->buffer);
    if (!(e->value == 0)) b->bad = true;
    for (int i = 0; i < e->n_index && !b->bad; i++) {
        int64_t least, most, n = e->buffer->dim[i].n;
        if (e->buffer->dim[i].batch) { /* sample by sample, never outside */
            const Affine *x = e->index[i];
            const Range *r = x->n == 1 && x->constant == 0 && x->term[0].factor == 1 ? range_of(h, x->term[0].var) : NULL;
            b->bad = !r || r->samples != n;
            continue;
        }
        if (!affine_end(h, e->index[i], 1, &least) || !affine_end(h, e->index[i], -1, &most)) {
            b->bad = true;
        } else {
            if (-least > b->low[i]) b->low[i] = -least;
            if (most - (n - 1) > b->high[i]) b->high[i] = most - (n - 1);
        }
    }
}

static void look_at(Halo *h, const Expr *e, bool product) {
    product |= e->kind == EXPR_OP && e->op == OP_fma;
    if (e->kind == EXPR_LOAD) note_touch(h, e->buffer);
    if (e->kind == EXPR_LOAD && e->guarded) {
        note_guarded(h, e);
        border_of(h, e->buffer)->wanted |= product;
        border_of(h, e->buffer)->reads += h->turns;
    }
    for (int i = 0; i < e->n_args; i++) look_at(h, e->args[i], product);
}

static void look_in(Halo *h, const Body *body) {
    size_t outside = h->ranges.n;
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->value) look_at(h, s->value, false);
        if (s->buffer) note_touch(h, s->buffer);
        if (s->kind == STMT_STORE) border_of(h, s->buffer)->stored = border_of(h, buffer_memory(s->buffer))->stored = true;
        if (s->kind == STMT_FOR) push_loop(h, s);
        double turns = h->turns;
        if (s->kind == STMT_FOR) h->turns *= (double)loop_turns(h->step, s);
        look_in(h, &s->body);
        h->turns = turns;
        if (s->kind == STMT_FOR) h->ranges.n--;
        if (s->kind == STMT_INDEX) push_index(h, s);
    }
    h->ranges.n = outside;
}

static void look_through(Halo *h, StepNode *const *nodes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const StepNode *node = nodes[i];
        if (node->count) border_of(h, node->count)->bad = true;
        look_in(h, &node->body);
        Range turns = {.var = node->var, .begins = true, .ends = node->trip && affine_is_constant(node->trip)};
        if (turns.ends) turns.most = node->trip->constant - 1;
        if (node->var) vec_push(h->arena, &h->ranges, turns);
        look_through(h, node->nodes.at, node->nodes.n);
        if (node->var) h->ranges.n--;
    }
}

/* Elements with the borders, the batch at its bound. */
static int64_t count_with(const Halo *h, const Buffer *b) {
    int64_t count = 1;
    for (int i = 0; i < b->rank; i++)
        count *= b->dim[i].batch ? dim_size(b->dim[i], h->step->batch_bound)
                                 : b->dim[i].n + border_of(h, b)->low[i] + border_of(h, b)->high[i];
    return count;
}

static bool in_rows(const Halo *h, const Buffer *b) {
    int64_t stride = 1;
    for (int i = b->rank - 1; i >= 0; i--) {
        if (b->stride[i] != stride) return false;
        stride *= dim_size(b->dim[i], h->step->batch_bound);
    }
    return true;
}

/* Has the buffer its own memory, rows behind each other? */
static bool is_plain(const Halo *h, const Buffer *b) {
    if (b->place != PLACE_NONE || b->same || !in_rows(h, b)) return false;
    for (size_t i = 0; i < h->step->buffers.n; i++)
        if (h->step->buffers.at[i]->same == b) return false;
    return true;
}

/* Is it a border, and not too large? */
static bool size_fits(const Halo *h, const Buffer *b) {
    int64_t bytes = count_with(h, b) * elem_size(b->elem);
    return bytes > b->bytes && (bytes <= MOST_TIMES * b->bytes || bytes <= h->machine->l2);
}

static bool gets_border(const Halo *h, const Buffer *b) {
    const Border *x = border_of(h, b);
    return !x->bad && x->wanted && x->stored && is_plain(h, b) && size_fits(h, b);
}

/* Memory from outside of the step that has the same numbers from its begin to its end. */
static bool gets_copy(const Halo *h, const Buffer *b) {
    const Border *x = border_of(h, b);
    const Buffer *memory = buffer_memory(b);
    bool same = (memory->place == PLACE_FIELD || memory->place == PLACE_SLOT) && !border_of(h, memory)->stored;
    return !x->bad && x->wanted && same && size_fits(h, b) && x->reads >= LEAST_READS * (double)(b->bytes / elem_size(b->elem));
}

/* ---- the new indices ---- */

static const Affine **moved(Halo *h, const Buffer *b, int n, const Affine *const *index) {
    const Affine **at = arena_make_n(h->arena, const Affine *, (size_t)n);
    for (int i = 0; i < n; i++) at[i] = affine_add_constant(h->arena, index[i], border_of(h, b)->low[i]);
    return at;
}

static void move_load(Expr **at, void *halo) {
    Halo *h = halo;
    Expr *e = *at;
    if (e->kind != EXPR_LOAD || !border_of(h, e->buffer)->wanted || map_get(&h->done, e)) return;
    Buffer *copy = border_of(h, e->buffer)->copy;
    if (copy && !e->guarded) return;
    map_put(h->arena, &h->done, e, e);
    e->index = moved(h, e->buffer, e->n_index, e->index);
    if (copy) e->buffer = copy;
    e->guarded = false; /* the borders are as wide as any load goes */
    e->value = 0;
}

static void move_stmt(Stmt *s, void *halo) {
    Halo *h = halo;
    stmt_walk_exprs(s, move_load, h);
    if (s->buffer && border_of(h, s->buffer)->wanted) s->index = moved(h, s->buffer, s->n_index, s->index);
}

static void move_nodes(Halo *h, StepNode *const *nodes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        body_walk(&nodes[i]->body, move_stmt, h);
        move_nodes(h, nodes[i]->nodes.at, nodes[i]->nodes.n);
    }
}

/* ---- other shapes ---- */

/* Are the axes of `view` those of the memory that it shares, some of them in several parts, both row by row? first[k]: the view's first axis of the memory's axis k. */
static bool is_split(const Halo *h, const Buffer *view, int first[MAX_RANK + 1]) {
    const Buffer *whole = view->same;
    int at = 0;
    if (!whole || whole->same || whole->elem != view->elem || !in_rows(h, whole) || !in_rows(h, view)) return false;
    for (int k = 0; k < whole->rank; k++) {
        first[k] = at;
        if (whole->dim[k].batch) {
            if (at == view->rank || !dim_same(view->dim[at++], whole->dim[k])) return false;
            continue;
        }
        int64_t n = 1;
        while (n < whole->dim[k].n && at < view->rank && !view->dim[at].batch) n *= view->dim[at++].n;
        if (n != whole->dim[k].n) return false;
    }
    first[whole->rank] = at;
    return at == view->rank;
}

/* Is it read outside by products, but never along the parts of an axis? */
static bool goes_by_whole(const Halo *h, const Buffer *view) {
    const Border *x = border_of(h, view);
    int first[MAX_RANK + 1];
    if (x->bad || !x->wanted || !is_split(h, view, first)) return false;
    for (int k = 0; k < view->same->rank; k++)
        for (int i = first[k]; i < first[k + 1] && first[k + 1] - first[k] != 1; i++)
            if (x->low[i] || x->high[i]) return false;
    return true;
}

static const Affine **whole_index(Halo *h, const Buffer *view, const Affine *const *index) {
    const Buffer *whole = view->same;
    const Affine **at = arena_make_n(h->arena, const Affine *, (size_t)whole->rank + 1);
    int first[MAX_RANK + 1];
    is_split(h, view, first);
    for (int k = 0; k < whole->rank; k++) {
        at[k] = affine_constant(h->arena, 0);
        for (int i = first[k]; i < first[k + 1]; i++)
            at[k] = affine_add(h->arena, affine_scale(h->arena, at[k], view->dim[i].batch ? 1 : view->dim[i].n), index[i]);
    }
    return at;
}

static void load_by_whole(Expr **at, void *halo) {
    Halo *h = halo;
    Expr *e = *at;
    if (e->kind != EXPR_LOAD || !border_of(h, e->buffer)->by_whole) return;
    e->index = whole_index(h, e->buffer, e->index);
    e->n_index = e->buffer->same->rank;
    e->buffer = e->buffer->same;
}

static void stmt_by_whole(Stmt *s, void *halo) {
    Halo *h = halo;
    stmt_walk_exprs(s, load_by_whole, h);
    if (!s->buffer || !border_of(h, s->buffer)->by_whole) return;
    s->index = whole_index(h, s->buffer, s->index);
    s->n_index = s->buffer->same->rank;
    s->buffer = s->buffer->same;
}

static void nodes_by_whole(Halo *h, StepNode *const *nodes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        body_walk(&nodes[i]->body, stmt_by_whole, h);
        nodes_by_whole(h, nodes[i]->nodes.at, nodes[i]->nodes.n);
    }
}

/* false: there is nothing of the kind. */
static bool forget_shapes(Halo *h) {
    bool any = false;
    for (size_t i = 0; i < h->step->buffers.n; i++) {
        Buffer *b = h->step->buffers.at[i];
        any |= border_of(h, b)->by_whole = goes_by_whole(h, b);
    }
    if (!any) return false;
    nodes_by_whole(h, h->step->nodes.at, h->step->nodes.n);
    plan_drop_unused(h->step);
    return true;
}

/* ---- the zeros ---- */

/* b[...] = 0 for all places whose index along axis `at` is in begin..end, but for those that sides along earlier axes have: so no two sides meet, and threads
 * share them. */
static void fill(Halo *h, Buffer *b, const Border *x, int at, int64_t begin, int64_t end, Body *body) {
    const Affine *index[MAX_RANK];
    for (int i = 0; i < b->rank; i++) {
        Var *v = step_var(h->arena, h->step, VAR_LOOP, intern_printf("i%d", i));
        int64_t lo = 0, hi = b->dim[i].n;
        if (i == at) lo = begin, hi = end;
        if (i < at) lo = x->low[i], hi -= x->high[i];
        const Affine *limit = b->dim[i].batch ? affine_scale(h->arena, affine_var(h->arena, h->step->batch), b->dim[i].n)
                                              : affine_constant(h->arena, hi);
        Stmt *loop = stmt_for(h->arena, v, affine_constant(h->arena, lo), limit, 1, MARK_SERIAL, 0);
        body_add(body, loop);
        body = &loop->body;
        index[i] = affine_var(h->arena, v);
    }
    body_add(body, stmt_store(h->arena, b, index, expr_const(h->arena, b->elem, 0)));
}

/* to[..., i + low, ...] = from[..., i, ...] */
static void copy(Halo *h, Buffer *from, Buffer *to, Body *body) {
    const Affine *index[MAX_RANK];
    for (int i = 0; i < from->rank; i++) {
        Var *v = step_var(h->arena, h->step, VAR_LOOP, intern_printf("i%d", i));
        const Affine *limit = from->dim[i].batch ? affine_scale(h->arena, affine_var(h->arena, h->step->batch), from->dim[i].n)
                                                 : affine_constant(h->arena, from->dim[i].n);
        Stmt *loop = stmt_for(h->arena, v, affine_constant(h->arena, 0), limit, 1, MARK_SERIAL, 0);
        body_add(body, loop);
        body = &loop->body;
        index[i] = affine_var(h->arena, v);
    }
    body_add(body, stmt_store(h->arena, to, moved(h, from, from->rank, index), expr_load(h->arena, from, index)));
}

/* The zeros around b, or around its copy and the numbers inside. */
static StepNode *border_kernel(Halo *h, Buffer *b) {
    const Border *x = border_of(h, b);
    Buffer *to = x->copy ? x->copy : b;
    StepNode *node = step_kernel(h->arena, x->copy ? to->name : intern_printf("%s.halo", b->name), b->loc);
    for (int i = 0; i < b->rank; i++) {
        if (x->low[i]) fill(h, to, x, i, 0, x->low[i], &node->body);
        if (x->high[i]) fill(h, to, x, i, to->dim[i].n - x->high[i], to->dim[i].n, &node->body);
    }
    if (x->copy) copy(h, b, to, &node->body);
    return node;
}

/* In front of the first node of the step that touches b. */
static void add_border(Halo *h, Buffer *b) {
    Step *s = h->step;
    size_t first = 0;
    while (s->nodes.at[first] != border_of(h, b)->first) first++;
    vec_push(h->arena, &s->nodes, NULL);
    vec_push(h->arena, &s->nodes, NULL);
    for (size_t i = s->nodes.n - 1; i >= first + 2; i--) s->nodes.at[i] = s->nodes.at[i - 2];
    s->nodes.at[first] = border_kernel(h, b);
    s->nodes.at[first + 1] = step_barrier(h->arena, b->loc);
}

static Buffer *new_copy(Halo *h, const Buffer *b) {
    const Border *x = border_of(h, b);
    Dim dims[MAX_RANK];
    for (int i = 0; i < b->rank; i++) {
        dims[i] = b->dim[i];
        if (!dims[i].batch) dims[i].n += x->low[i] + x->high[i];
    }
    return step_buffer(h->arena, h->step, intern_printf("%s.border", b->name), b->elem, b->rank, dims, b->loc);
}

/* ---- the pass ---- */

static void look(Halo *h) {
    Step *s = h->step;
    h->border = arena_make_n(h->arena, Border, 2 * s->buffers.n + 1); /* and for copies */
    h->turns = 1;
    for (size_t i = 0; i < s->nodes.n; i++) {
        h->top = s->nodes.at[i];
        look_through(h, &s->nodes.at[i], 1);
    }
}

static void halo_step(PassCtx *c, Step *s) {
    Halo halo = {.arena = c->arena, .step = s, .machine = c->machine}, *h = &halo;
    bool any = false;
    look(h);
    if (forget_shapes(h)) look(h);
    size_t n = s->buffers.n;
    for (size_t i = 0; i < n; i++) {
        Border *b = border_of(h, s->buffers.at[i]);
        bool copied = gets_copy(h, s->buffers.at[i]);
        b->wanted = copied || gets_border(h, s->buffers.at[i]);
        if (copied) b->copy = new_copy(h, s->buffers.at[i]);
        any |= b->wanted;
    }
    if (!any) return;
    move_nodes(h, s->nodes.at, s->nodes.n);
    for (size_t i = 0; i < n; i++) {
        Buffer *b = s->buffers.at[i];
        const Border *x = border_of(h, b);
        if (!x->wanted) continue;
        for (int k = 0; k < b->rank && !x->copy; k++)
            if (!b->dim[k].batch) b->dim[k].n += x->low[k] + x->high[k];
        if (!x->copy) buffer_pack_rows(s, b);
        add_border(h, b);
    }
}

bool pass_halo(PassCtx *c, LoopsProgram *p) {
    for (size_t i = 0; i < p->steps.n; i++) halo_step(c, p->steps.at[i]);
    return true;
}
