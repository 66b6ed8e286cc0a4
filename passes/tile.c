/*
 * tile.c - blocks products for registers and packs their operands.
 * in:  loops as `lower` made them.   out: every nest that reads as a product computes tiles of rows x columns in registers.
 * keeps: the chain of every output, hence every bit.   spoils: nothing that later passes rely on.
 *
 *   for i in 0..M { for j in 0..N {
 *     acc s = 0 ; for k in 0..K { s = fma(%x[i, k], %w[k, j], s) } ; %h[i, j] = max(0, s + %b[j])
 *   } }
 *   =>  kernel pack: %p[jj, k, j] = %w[k, 32 * jj + j]
 *       for jj in 0..N/32 parallel { for ii in 0..M/14 parallel {
 *         acc t: f32[14, 32] = 0
 *         for k in 0..K unroll 4 { for i in 0..14 unroll { for j in 0..32 vector 16 { t[i, j] = fma(%x[14 * ii + i, k], %p[jj, k, j], t[i, j]) } } }
 *         for i in 0..14 unroll { for j in 0..32 vector 16 { %h[...] = max(0, t[i, j] + %b[...]) } }
 *       } }
 *       and the same for the rows and columns that are left, with smaller tiles.
 *
 * It reads the nest and never an op's name (nest.h). The column is the outer variable along which results lie side by side in memory, the row another
 * one that only the other factor sees; the rest of the outer variables stay loops. The factor that has the columns is packed into panels where that
 * pays: several tiles of rows read it, or its columns are not neighbours in memory. The factor that has the rows is read where it lies (or packed, too, if its rows are
 * neighbours: rows_are_slow), but what is computed while loading (u8 pixels to f32) is computed once, into a buffer of its own.
 *
 * Not done: blocks of the reduction for caches (chains are at most SUM_CHAIN long), products whose factors share both candidates for row and
 * column, such as a vector times a matrix from the right of which the columns are far apart.
 */
#include "passes/machine.h"
#include "passes/nest.h"
#include "passes/pipeline.h"
#include "passes/rewrite.h"

enum { CACHE_LINE = 64, ROWS_AHEAD = 16 };
enum { OWN_PANELS = 8 }; /* with so many panels threads share panels and pack their own; with fewer they share tiles */

/* What a step has computed of a batch field already (stage_rows). */
typedef struct Staged {
    const Expr *value;
    Buffer *buffer;
} Staged;
typedef Vec(Staged) Stageds;

typedef struct Tiling {
    Arena *arena;
    Stageds *staged; /* of the step, in front of this kernel */
    bool in_loop;    /* of the step: what is computed in there is not for others */
    const Machine *machine;
    Step *step;
    Product product;
    Stmt *row, *col;   /* outer loops; row may be NULL: one row */
    Expr *rows, *cols; /* the factors: that without the column, that with it */
    int lanes;
    int mr, nv;        /* tile: mr rows, nv vectors */
    Buffer *panel;     /* cols, packed; NULL: read where they lie */
    bool own;          /* each thread packs the panel that it is about to use, [reduced..., j]; else all panels are packed in front, */
    Var *panel_var[NEST_MAX]; /* [outer variables that cols sees beside the column..., jj, reduced..., j] */
    int n_panel_var;
    Buffer *row_panel; /* rows of one tile, packed by each thread, [reduced..., i]; NULL: read where they lie */
    bool row_panels;   /* ... or of all tiles, packed in front, [tile, reduced..., i] */
    const Affine *row_tile; /* the tile that is being made */
    Vec(Stmt *) top;   /* lets that hang on no outer variable */
    Vec(Stmt *) inner; /* those that do */
} Tiling;

typedef Vec(StepNode *) StepNodes;

/* ---- which variable is what ---- */

static bool depends(const Tiling *t, const Stmt *let) {
    for (int i = 0; i < t->product.n_outer; i++)
        if (stmt_uses_var(let, t->product.outer[i]->var)) return true;
    for (size_t i = 0; i < t->inner.n; i++) {
        const Stmt *other = t->inner.at[i];
        if (other->kind == STMT_LET && expr_uses_temp(let->value, other->temp)) return true;
        if (other->kind == STMT_INDEX && stmt_uses_var(let, other->var)) return true;
    }
    return false;
}

static void sort_lets(Tiling *t) {
    for (size_t i = 0; i < t->product.lets.n; i++) {
        Stmt *let = t->product.lets.at[i];
        if (depends(t, let)) {
            vec_push(t->arena, &t->inner, let);
        } else {
            vec_push(t->arena, &t->top, let);
        }
    }
}

/* Puts lets that hang on outer variables into a factor. false: it needs an index let, which cannot be put in. */
static bool inline_lets(Tiling *t, Expr **e) {
    Rewrite r = rewrite_new(t->arena, t->step);
    for (size_t i = 0; i < t->inner.n; i++) {
        Stmt *let = t->inner.at[i];
        if (let->kind == STMT_LET) {
            rewrite_temp(&r, let->temp, rewrite_expr(&r, let->value));
        } else if (expr_uses_var(*e, let->var)) {
            return false;
        }
    }
    *e = rewrite_expr(&r, *e);
    return true;
}

/* Do all results lie side by side along v? */
static bool stores_adjacent(const Product *p, const Var *v) {
    bool any = false;
    for (const Stmt *s = p->epilogue; s; s = s->next) {
        if (s->kind != STMT_STORE) continue;
        int64_t stride = access_stride(s->buffer, s->n_index, s->index, v);
        if (stride != 1) return false;
        any = true;
    }
    return any;
}

static bool expr_adjacent(const Expr *e, const Var *v) {
    if (e->kind == EXPR_LOAD && access_stride(e->buffer, e->n_index, e->index, v) != 1) return false;
    for (int i = 0; i < e->n_args; i++)
        if (!expr_adjacent(e->args[i], v)) return false;
    return true;
}

static bool choose_column(Tiling *t) {
    Product *p = &t->product;
    int best = 0;
    for (int i = p->n_outer - 1; i >= 0; i--) {
        const Var *v = p->outer[i]->var;
        bool in_x = expr_uses_var(p->x, v), in_y = expr_uses_var(p->y, v);
        if (in_x == in_y) continue;
        int score = 1 + 2 * stores_adjacent(p, v) + expr_adjacent(in_x ? p->x : p->y, v);
        if (score <= best) continue;
        best = score;
        t->col = p->outer[i];
        t->cols = in_x ? p->x : p->y;
        t->rows = in_x ? p->y : p->x;
    }
    return best >= 2; /* neither results nor columns side by side: vectors would be gathered and scattered */
}

static void choose_row(Tiling *t) {
    Product *p = &t->product;
    int64_t best = 1;
    for (int i = p->n_outer - 1; i >= 0; i--) {
        const Var *v = p->outer[i]->var;
        if (p->outer[i] == t->col || expr_uses_var(t->cols, v) || !expr_uses_var(t->rows, v)) continue;
        int64_t turns = loop_turns(t->step, p->outer[i]);
        if (turns > 32) turns = 32; /* more than a tile is not better: the innermost counts */
        if (turns <= best) continue;
        best = turns;
        t->row = p->outer[i];
    }
}

/* ---- the size of a tile ---- */

/* Cycles for one step of the reduction in a tile of mr x nv vectors: two fused multiply-adds and two loads a cycle, four ops in all, and chains of
 * four cycles a fma, which ten accumulators hide. What current cores have in common; only the proportions matter. */
static double turn_cost(const Tiling *t, int mr, int nv, double panel_bytes) {
    double flops = mr * nv / 2.0, loads = (mr + nv) / 2.0, ops = (mr * nv + mr + nv + 2) / 4.0, cost = 5;
    if (flops > cost) cost = flops;
    if (loads > cost) cost = loads;
    if (ops > cost) cost = ops;
    double stream = panel_bytes > 0.8 * (double)t->machine->l1 ? nv * 2.0 : 0; /* a panel from the second cache */
    return stream > cost ? stream : cost;
}

static double tile_cost(const Tiling *t, int mr, int nv, double k) {
    return k * turn_cost(t, mr, nv, k * nv * t->machine->vector_bytes) + 24 + 3.0 * mr * nv;
}

static bool fits_registers(const Tiling *t, int mr, int nv) { return mr * nv + nv + 1 <= t->machine->vector_registers; }

static double rows_cost(const Tiling *t, int64_t m, bool fixed, int mr, int nv, double k) {
    double rest = (double)(m % mr);
    double cost = (double)(m / mr) * tile_cost(t, mr, nv, k);
    if (rest > 0) cost += fixed ? tile_cost(t, (int)rest, nv, k) : rest * tile_cost(t, 1, nv, k);
    return cost;
}

static void choose_size(Tiling *t, int64_t m, bool fixed, int64_t n, int64_t k) {
    int64_t vectors = (n + t->lanes - 1) / t->lanes;
    double best = -1;
    t->mr = t->nv = 1;
    for (int nv = 1; nv <= 12; nv++) {
        for (int mr = 1; fits_registers(t, mr, nv); mr++) {
            if ((mr > m || nv > vectors) && (mr > 1 || nv > 1)) continue;
            double cost = (double)(vectors / nv) * rows_cost(t, m, fixed, mr, nv, (double)k);
            if (vectors % nv) cost += 1.02 * rows_cost(t, m, fixed, mr, (int)(vectors % nv), (double)k); /* another strip, shared out apart */
            if (best >= 0 && cost >= best * 0.999) continue;
            best = cost;
            t->mr = mr;
            t->nv = nv;
        }
    }
}

/* ---- packing ---- */

static Dim dim_of_loop(const Tiling *t, const Stmt *loop) {
    const Affine *limit = loop->limits[0];
    if (limit->n == 1 && limit->term[0].var == t->step->batch && limit->constant == 0)
        return (Dim){.n = limit->term[0].factor, .batch = true};
    return (Dim){.n = limit->constant};
}

static const Affine *zero(const Tiling *t) { return affine_constant(t->arena, 0); }

static Stmt *new_loop(Tiling *t, const char *name, const Affine *limit, Mark mark, int width, const Affine **as) {
    Var *v = step_var(t->arena, t->step, VAR_LOOP, name);
    *as = affine_var(t->arena, v);
    return stmt_for(t->arena, v, zero(t), limit, 1, mark, width);
}

static StepNode *new_kernel(Tiling *t, const char *name, Loc loc) {
    StepNode *node = arena_make(t->arena, StepNode);
    node->kind = STEP_KERNEL;
    node->name = name;
    node->loc = loc;
    return node;
}

static void add_barrier(Tiling *t, StepNodes *out, Loc loc) {
    StepNode *node = arena_make(t->arena, StepNode);
    node->kind = STEP_BARRIER;
    node->loc = loc;
    vec_push(t->arena, out, node);
}

/* A new loop like `old` around the body that it returns; *as: its variable. */
static Body *loop_over(Tiling *t, Rewrite *r, const Stmt *old, Mark mark, Body *body, const Affine **as) {
    Stmt *loop = new_loop(t, old->var->name, rewrite_affine(r, old->limits[0]), mark, 0, as);
    rewrite_var(r, old->var, *as);
    body_add(body, loop);
    return &loop->body;
}

/* A let at the top of the kernel is there in the kernel that packs, too. */
static void copy_top(Tiling *t, Rewrite *r, Body *body) {
    for (size_t i = 0; i < t->top.n; i++) body_add(body, rewrite_stmt(r, t->top.at[i]));
}

static bool plain_load(const Expr *e, Elem elem) { return e->kind == EXPR_LOAD && e->elem == elem && !e->guarded; }

/* Is it better to copy blocks across their diagonal? cols lies along the last reduced variable, the panel along the column. */
static bool transposed(const Tiling *t) {
    const Stmt *last = t->product.reduce[t->product.n_reduce - 1];
    return plain_load(t->cols, t->product.acc->temp->elem) && t->lanes > 1 && affine_is_constant(last->limits[0]) && last->limits[0]->constant >= t->lanes &&
           access_stride(t->cols->buffer, t->cols->n_index, t->cols->index, last->var) == 1 && !expr_adjacent(t->cols, t->col->var);
}

/* A panel's rows lie far apart in memory: some rows ahead are asked for. */
static void prefetch_source(Tiling *t, const Rewrite *outer, const Affine *k, const Affine *col, Body *body) {
    const Stmt *last = t->product.reduce[t->product.n_reduce - 1];
    if (!plain_load(t->cols, t->product.acc->temp->elem) || !expr_adjacent(t->cols, t->col->var)) return;
    int64_t apart = access_stride(t->cols->buffer, t->cols->n_index, t->cols->index, last->var);
    int size = elem_size(t->cols->elem), line = CACHE_LINE / size;
    if (apart * size < 8 * CACHE_LINE || t->cols->buffer->bytes < t->machine->l1) return;
    for (int j = 0; j < t->nv * t->lanes; j += line) {
        Rewrite r = *outer;
        rewrite_var(&r, last->var, affine_add_constant(t->arena, k, ROWS_AHEAD));
        rewrite_var(&r, t->col->var, affine_add_constant(t->arena, col, j));
        const Expr *place = rewrite_expr(&r, t->cols);
        body_add(body, stmt_prefetch(t->arena, place->buffer, place->index));
    }
}

static void fill_row(Tiling *t, const Rewrite *outer, const Affine **index, int at, const Affine *k, const Affine *col, bool guard, Body *body) {
    Rewrite r = *outer;
    index[at] = k;
    prefetch_source(t, outer, k, col, body);
    rewrite_var(&r, t->product.reduce[t->product.n_reduce - 1]->var, k);
    Stmt *loop = new_loop(t, "j", affine_constant(t->arena, (int64_t)t->nv * t->lanes), t->lanes > 1 ? MARK_VECTOR : MARK_SERIAL, t->lanes,
                          &index[at + 1]);
    body_add(body, loop);
    rewrite_var(&r, t->col->var, affine_add(t->arena, col, index[at + 1]));
    r.guard = guard;
    body_add(&loop->body, stmt_store(t->arena, t->panel, index, rewrite_expr(&r, t->cols)));
}

/* The last axes of a panel, and the loops that fill them: panel[lead..., reduced..., j] = cols at column `col` + j; guard: 0 beyond the last column. */
static void fill_panel(Tiling *t, const Rewrite *outer, int lead, const Affine **index, const Affine *col, bool guard, Body *body) {
    Product *p = &t->product;
    int64_t first = 0;
    int last = lead + p->n_reduce - 1;
    Rewrite r = *outer;
    for (int i = 0; i < p->n_reduce - 1; i++) body = loop_over(t, &r, p->reduce[i], MARK_SERIAL, body, &index[lead + i]);
    const Affine *k, *block, *limit = rewrite_affine(&r, p->reduce[p->n_reduce - 1]->limits[0]);
    if (transposed(t) && !guard) {
        first = limit->constant / t->lanes * t->lanes;
        Stmt *blocks = new_loop(t, "kb", affine_constant(t->arena, limit->constant / t->lanes), MARK_SERIAL, 0, &block);
        Stmt *loop = new_loop(t, "k", affine_constant(t->arena, t->lanes), MARK_UNROLL, 0, &k);
        body_add(body, blocks);
        body_add(&blocks->body, loop);
        fill_row(t, &r, index, last, affine_add(t->arena, affine_scale(t->arena, block, t->lanes), k), col, false, &loop->body);
    }
    if (affine_is_constant(limit) && limit->constant == first) return;
    Stmt *loop = new_loop(t, "k", limit, MARK_SERIAL, 0, &k);
    loop->lo = affine_constant(t->arena, first);
    body_add(body, loop);
    fill_row(t, &r, index, last, k, col, guard, &loop->body);
}

static int panel_dims(Tiling *t, int lead, Dim *dims) {
    for (int i = 0; i < t->product.n_reduce; i++) dims[lead++] = dim_of_loop(t, t->product.reduce[i]);
    dims[lead++] = (Dim){.n = (int64_t)t->nv * t->lanes};
    return lead;
}

/* All panels, in a kernel of its own in front. */
static void pack_in_front(Tiling *t, const StepNode *kernel, StepNodes *out) {
    Product *p = &t->product;
    int64_t width = (int64_t)t->nv * t->lanes;
    int lead = 0;
    Dim dims[MAX_RANK];
    Rewrite r = rewrite_new(t->arena, t->step);
    StepNode *node = new_kernel(t, intern_printf("%s.pack", kernel->name), kernel->loc);
    Body *body = &node->body;
    copy_top(t, &r, body);
    const Affine *index[MAX_RANK];
    for (int i = 0; i < p->n_outer; i++) {
        if (p->outer[i] == t->col || !expr_uses_var(t->cols, p->outer[i]->var)) continue;
        Stmt *loop = new_loop(t, p->outer[i]->var->name, rewrite_affine(&r, p->outer[i]->limits[0]), MARK_PARALLEL, 0, &index[lead]);
        rewrite_var(&r, p->outer[i]->var, index[lead]);
        t->panel_var[t->n_panel_var++] = p->outer[i]->var;
        dims[lead++] = dim_of_loop(t, p->outer[i]);
        body_add(body, loop);
        body = &loop->body;
    }
    dims[lead] = (Dim){.n = (loop_turns(t->step, t->col) + width - 1) / width};
    Stmt *loop = new_loop(t, "jj", affine_constant(t->arena, dims[lead].n), MARK_PARALLEL, 0, &index[lead]);
    body_add(body, loop);
    lead++;
    int n = panel_dims(t, lead, dims);
    t->panel = step_buffer(t->arena, t->step, intern_printf("%s.panel", kernel->name), p->acc->temp->elem, n, dims, kernel->loc);
    fill_panel(t, &r, lead, index, affine_scale(t->arena, index[lead - 1], width), loop_turns(t->step, t->col) % width != 0, &loop->body);
    vec_push(t->arena, out, node);
    add_barrier(t, out, kernel->loc);
}

/* One panel a thread, small enough for its second cache; make_strip fills it. */
static void make_own_panel(Tiling *t, const StepNode *kernel) {
    Dim dims[MAX_RANK];
    int n = panel_dims(t, 0, dims);
    t->panel = step_buffer(t->arena, t->step, intern_printf("%s.panel", kernel->name), t->product.acc->temp->elem, n, dims, kernel->loc);
    t->panel->place = PLACE_THREAD;
    t->own = true;
}

static Expr *panel_load(Tiling *t, const Rewrite *r, const Affine *panel, const Affine *column) {
    const Affine *index[MAX_RANK];
    int n = 0;
    for (int i = 0; i < t->n_panel_var; i++) index[n++] = rewrite_affine(r, affine_var(t->arena, t->panel_var[i]));
    if (!t->own) index[n++] = panel;
    for (int i = 0; i < t->product.n_reduce; i++) index[n++] = rewrite_affine(r, affine_var(t->arena, t->product.reduce[i]->var));
    index[n++] = column;
    return expr_load(t->arena, t->panel, index);
}

/* The load whose indices all loads of the expression have, NULL if they differ, or if a variable stands outside loads. */
static const Expr *common_load(const Expr *e, const Expr *so_far, bool *ok) {
    if (e->kind == EXPR_LOAD && e->buffer->rank) {
        if (e->guarded || (so_far && so_far->n_index != e->n_index)) *ok = false;
        for (int i = 0; *ok && so_far && i < e->n_index; i++)
            if (!affine_same(e->index[i], so_far->index[i]) || !dim_same(e->buffer->dim[i], so_far->buffer->dim[i])) *ok = false;
        return so_far ? so_far : e;
    }
    if ((e->kind == EXPR_INDEX && !affine_is_constant(e->index[0])) || e->kind == EXPR_UNIFORM || e->kind == EXPR_TREE) *ok = false;
    for (int i = 0; i < e->n_args; i++) so_far = common_load(e->args[i], so_far, ok);
    return so_far;
}

static void replace_indices(Arena *a, Expr *e, const Affine **index) {
    if (e->kind == EXPR_LOAD && e->buffer->rank) e->index = index;
    for (int i = 0; i < e->n_args; i++) replace_indices(a, e->args[i], index);
}

/* The same computation on the same batch field, which nothing writes? Places in it do not matter: stage_rows computes all of them. */
static bool same_of_field(const Expr *x, const Expr *y) {
    if (x->kind != y->kind || x->elem != y->elem || x->op != y->op || x->n_args != y->n_args) return false;
    if (x->kind == EXPR_LOAD && (x->buffer != y->buffer || x->buffer->place != PLACE_FIELD)) return false;
    if (x->kind == EXPR_CONST && !(x->value == y->value)) return false;
    if (x->kind != EXPR_LOAD && x->kind != EXPR_CONST && x->kind != EXPR_OP) return false;
    for (int i = 0; i < x->n_args; i++)
        if (!same_of_field(x->args[i], y->args[i])) return false;
    return true;
}

/*
 * What the row factor computes while loading is computed once, for every element of the buffer it loads from, in a kernel in front:
 *   rows = convert(%image[b, k]) / 255   =>   %rows[b, k] = convert(%image[b, k]) / 255
 */
static void stage_rows(Tiling *t, const StepNode *kernel, StepNodes *out) {
    Elem elem = t->product.acc->temp->elem;
    bool ok = true;
    const Expr *load = common_load(t->rows, NULL, &ok);
    if (!ok || !load || plain_load(t->rows, elem)) return;
    for (size_t i = 0; i < t->staged->n; i++) {
        if (!same_of_field(t->staged->at[i].value, t->rows)) continue;
        t->rows = expr_load(t->arena, t->staged->at[i].buffer, load->index);
        return;
    }
    const Buffer *from = load->buffer;
    int n = from->rank;
    Buffer *to = step_buffer(t->arena, t->step, intern_printf("%s.rows", kernel->name), elem, n, from->dim, kernel->loc);
    StepNode *node = new_kernel(t, intern_printf("%s.stage", kernel->name), kernel->loc);
    Rewrite r = rewrite_new(t->arena, t->step);
    Body *body = &node->body;
    copy_top(t, &r, body);
    const Affine **index = arena_make_n(t->arena, const Affine *, (size_t)n);
    for (int i = 0; i < n; i++) {
        Dim d = from->dim[i];
        const Affine *limit = d.batch ? affine_scale(t->arena, affine_var(t->arena, t->step->batch), d.n) : affine_constant(t->arena, d.n);
        Stmt *loop = new_loop(t, intern_printf("i%d", i), limit, MARK_SERIAL, 0, &index[i]);
        body_add(body, loop);
        body = &loop->body;
    }
    Expr *value = rewrite_expr(&r, t->rows);
    replace_indices(t->arena, value, index);
    body_add(body, stmt_store(t->arena, to, index, value));
    vec_push(t->arena, out, node);
    add_barrier(t, out, kernel->loc);
    if (!t->in_loop) vec_push(t->arena, t->staged, ((Staged){t->rows, to}));
    t->rows = expr_load(t->arena, to, load->index);
}

static bool worth_packing(const Tiling *t, int64_t readers) {
    if (!plain_load(t->cols, t->product.acc->temp->elem)) return true;
    if (!expr_adjacent(t->cols, t->col->var)) return true;
    const Buffer *b = t->cols->buffer;
    return readers >= 3 && b->bytes > t->machine->l1 / 2;
}

/*
 * Rows that are neighbours in memory while the reduced index jumps (x' @ dy: %x[k, i]): a tile would fetch a line of memory for each k and use 14 numbers of it, all lines in
 * the same few sets of the cache if the jump is a large power of two. They are packed too. If all panels fit the second cache, tile by tile, and the tiles of a row of
 * tiles follow each other:
 *
 *   for ii parallel { for k, i { %q[k, i] = %x[k, 14 * ii + i] } ; for jj { tile of %q and panel jj } }
 *
 * else all rows in front: %q[ii, k, i]; and so are rows that lie along the reduced index, but so far apart that the lines of all of them meet in one set.
 */
static bool rows_can_be_packed(const Tiling *t) {
    const Product *p = &t->product;
    return t->row && p->n_outer == 2 && affine_is_constant(t->row->limits[0]) && t->lanes > 1 && plain_load(t->rows, p->acc->temp->elem);
}

static int64_t rows_stride(const Tiling *t, const Stmt *loop) { return access_stride(t->rows->buffer, t->rows->n_index, t->rows->index, loop->var); }

static const Stmt *last_reduced(const Tiling *t) { return t->product.reduce[t->product.n_reduce - 1]; }

static bool rows_are_slow(const Tiling *t) {
    return rows_can_be_packed(t) && expr_adjacent(t->rows, t->row->var) && rows_stride(t, last_reduced(t)) >= t->lanes;
}

static bool rows_collide(const Tiling *t) {
    if (!rows_can_be_packed(t) || rows_stride(t, last_reduced(t)) != 1) return false;
    int64_t bytes = rows_stride(t, t->row) * elem_size(t->rows->elem);
    return bytes > 0 && bytes % 4096 == 0;
}

static void make_row_panel(Tiling *t, const StepNode *kernel) {
    Dim dims[MAX_RANK];
    int n = panel_dims(t, 0, dims);
    dims[n - 1] = (Dim){.n = (t->mr + t->lanes - 1) / t->lanes * t->lanes};
    t->row_panel = step_buffer(t->arena, t->step, intern_printf("%s.rows", kernel->name), t->product.acc->temp->elem, n, dims, kernel->loc);
    t->row_panel->place = PLACE_THREAD;
}

/* %q[lead..., reduced..., i] = rows at `row` + i, vectors along what is neighbour in the source. guard: 0 beyond the last row. */
static void fill_rows(Tiling *t, const Rewrite *outer, int lead, const Affine **index, int mr, const Affine *row, bool guard, Body *body) {
    Product *p = &t->product;
    Rewrite r = *outer;
    bool along = !expr_adjacent(t->rows, t->row->var); /* neighbours along the last reduced index */
    for (int i = 0; i < p->n_reduce - along; i++) body = loop_over(t, &r, p->reduce[i], MARK_SERIAL, body, &index[lead + i]);
    Stmt *loop = new_loop(t, "i", affine_constant(t->arena, mr), along ? MARK_SERIAL : MARK_VECTOR, along ? 0 : t->lanes, &index[lead + p->n_reduce]);
    body_add(body, loop);
    body = &loop->body;
    rewrite_var(&r, t->row->var, affine_add(t->arena, row, index[lead + p->n_reduce]));
    if (along) {
        Stmt *inner = new_loop(t, "k", rewrite_affine(&r, last_reduced(t)->limits[0]), MARK_VECTOR, t->lanes, &index[lead + p->n_reduce - 1]);
        body_add(body, inner);
        body = &inner->body;
        rewrite_var(&r, last_reduced(t)->var, index[lead + p->n_reduce - 1]);
    }
    r.guard = guard;
    body_add(body, stmt_store(t->arena, t->row_panel, index, rewrite_expr(&r, t->rows)));
}

static void rows_in_front(Tiling *t, const StepNode *kernel, StepNodes *out) {
    int64_t m = t->row->limits[0]->constant;
    Dim dims[MAX_RANK] = {{.n = (m + t->mr - 1) / t->mr}};
    int n = panel_dims(t, 1, dims);
    dims[n - 1] = (Dim){.n = t->mr};
    t->row_panel = step_buffer(t->arena, t->step, intern_printf("%s.rows", kernel->name), t->product.acc->temp->elem, n, dims, kernel->loc);
    t->row_panels = true;
    StepNode *node = new_kernel(t, intern_printf("%s.pack_rows", kernel->name), kernel->loc);
    Rewrite r = rewrite_new(t->arena, t->step);
    const Affine *index[MAX_RANK];
    copy_top(t, &r, &node->body);
    Stmt *loop = new_loop(t, "ii", affine_constant(t->arena, dims[0].n), MARK_PARALLEL, 0, &index[0]);
    body_add(&node->body, loop);
    fill_rows(t, &r, 1, index, t->mr, affine_scale(t->arena, index[0], t->mr), m % t->mr != 0, &loop->body);
    vec_push(t->arena, out, node);
    add_barrier(t, out, kernel->loc);
}

static Expr *row_panel_load(Tiling *t, const Rewrite *r, const Affine *i) {
    const Affine *index[MAX_RANK];
    int n = 0;
    if (t->row_panels) index[n++] = t->row_tile;
    for (int k = 0; k < t->product.n_reduce; k++) index[n++] = rewrite_affine(r, affine_var(t->arena, t->product.reduce[k]->var));
    index[n] = i;
    return expr_load(t->arena, t->row_panel, index);
}

/* ---- the tile ---- */

/* Loops of the reduction, the innermost from `first` on and four turns at a time, around the body that they return. */
static Body *reduction(Tiling *t, Rewrite *r, int first, Body *body) {
    Product *p = &t->product;
    for (int i = 0; i < p->n_reduce; i++) {
        bool last = i == p->n_reduce - 1;
        const Affine *as;
        Stmt *loop = new_loop(t, p->reduce[i]->var->name, rewrite_affine(r, p->reduce[i]->limits[0]), last ? MARK_UNROLL : MARK_SERIAL,
                              last ? 4 : 0, &as);
        if (last) loop->lo = affine_constant(t->arena, first);
        rewrite_var(r, p->reduce[i]->var, as);
        body_add(body, loop);
        body = &loop->body;
    }
    return body;
}

static Expr *acc_element(Tiling *t, Temp *acc, const Affine *i, const Affine *j) {
    const Affine *index[2] = {i, j};
    return expr_temp(t->arena, acc, index);
}

static void store_tile(Tiling *t, const Rewrite *outer, Temp *acc, int mr, int nv, const Affine *row, const Affine *col, bool tail, Body *body) {
    Product *p = &t->product;
    Rewrite r = *outer;
    const Affine *i, *j;
    Stmt *rows = new_loop(t, "i", affine_constant(t->arena, mr), MARK_UNROLL, 0, &i);
    body_add(body, rows);
    if (t->row) rewrite_var(&r, t->row->var, affine_add(t->arena, row, i));
    for (size_t k = 0; k < t->inner.n; k++)
        if (!stmt_uses_var(t->inner.at[k], t->col->var)) body_add(&rows->body, rewrite_stmt(&r, t->inner.at[k]));
    Stmt *cols = new_loop(t, "j", affine_constant(t->arena, (int64_t)nv * t->lanes), t->lanes > 1 ? MARK_VECTOR : MARK_UNROLL,
                          t->lanes > 1 ? t->lanes : 0, &j);
    if (tail) {
        const Affine **limits = arena_make_n(t->arena, const Affine *, 2);
        limits[0] = cols->limits[0];
        limits[1] = affine_add(t->arena, affine_constant(t->arena, loop_turns(t->step, t->col)), affine_scale(t->arena, col, -1));
        cols->limits = limits;
        cols->n_limits = 2;
    }
    body_add(&rows->body, cols);
    rewrite_var(&r, t->col->var, affine_add(t->arena, col, j));
    rewrite_temp(&r, p->acc->temp, acc_element(t, acc, i, j));
    for (size_t k = 0; k < t->inner.n; k++)
        if (stmt_uses_var(t->inner.at[k], t->col->var)) body_add(&cols->body, rewrite_stmt(&r, t->inner.at[k]));
    for (const Stmt *s = p->epilogue; s; s = s->next) body_add(&cols->body, rewrite_stmt(&r, s));
}

/* The places of the tile that the epilogue will read from parameters and states: by the time the chains are done, row `at` is in the cache. Rows of a
 * tile are far apart in memory, which no prefetcher of the machine guesses. */
static void prefetch_row(Tiling *t, const Rewrite *outer, int nv, const Affine *at, const Affine *col, Body *body) {
    const Buffer *done[NEST_MAX];
    int n = 0;
    for (const Stmt *s = t->product.epilogue; s; s = s->next) {
        const Expr *stack[64];
        int depth = 0;
        if (s->value) stack[depth++] = s->value;
        while (depth) {
            const Expr *e = stack[--depth];
            for (int i = 0; i < e->n_args && depth < 64; i++) stack[depth++] = e->args[i];
            if (e->kind != EXPR_LOAD || e->buffer->place != PLACE_SLOT || !expr_uses_var(e, t->row->var) || !expr_adjacent(e, t->col->var)) continue;
            bool again = n == NEST_MAX;
            for (int i = 0; i < n; i++) again |= done[i] == e->buffer;
            if (again) continue;
            done[n++] = e->buffer;
            int line = CACHE_LINE / elem_size(e->buffer->elem);
            for (int j = 0; j < nv * t->lanes; j += line) {
                Rewrite r = *outer;
                rewrite_var(&r, t->row->var, at);
                rewrite_var(&r, t->col->var, affine_add_constant(t->arena, col, j));
                const Expr *place = rewrite_expr(&r, e);
                body_add(body, stmt_prefetch(t->arena, place->buffer, place->index));
            }
        }
    }
}

static void multiply_add(Tiling *t, const Rewrite *outer, Temp *acc, int mr, const Affine *row, const Affine *panel, const Affine *col, bool tail, Body *body);

/* The first mr turns of the reduction prefetch a row each; the others follow in `reduction`. */
static void prefetching_turns(Tiling *t, const Rewrite *outer, Temp *acc, int mr, int nv, const Affine *row, const Affine *panel, const Affine *col, bool tail,
                              Body *body) {
    const Stmt *old = t->product.reduce[0];
    const Affine *k, **limits = arena_make_n(t->arena, const Affine *, 2);
    Rewrite r = *outer;
    limits[0] = affine_constant(t->arena, mr);
    limits[1] = rewrite_affine(&r, old->limits[0]);
    Stmt *loop = new_loop(t, old->var->name, limits[0], MARK_SERIAL, 0, &k);
    loop->limits = limits;
    loop->n_limits = 2;
    rewrite_var(&r, old->var, k);
    body_add(body, loop);
    prefetch_row(t, &r, nv, affine_add(t->arena, row, k), col, &loop->body);
    multiply_add(t, &r, acc, mr, row, panel, col, tail, &loop->body);
}

static bool worth_prefetching(const Tiling *t, int mr) {
    const Product *p = &t->product;
    if (!t->row || p->n_reduce != 1 || loop_turns(t->step, p->reduce[0]) < 2 * mr) return false;
    for (const Stmt *s = p->epilogue; s; s = s->next)
        if (s->kind == STMT_STORE && s->buffer->place == PLACE_SLOT && s->buffer->bytes > t->machine->l1) return true;
    return false;
}

/* One tile of mr rows from `row` and nv vectors from `col`, which lie in panel number `panel`. */
static void make_tile(Tiling *t, const Rewrite *outer, int mr, int nv, const Affine *row, const Affine *panel, const Affine *col, bool tail,
                      Body *body) {
    int64_t dims[2] = {mr, (int64_t)nv * t->lanes};
    Elem elem = t->product.acc->temp->elem;
    Temp *acc = step_temp(t->arena, t->step, "t", elem, true, 2, dims);
    body_add(body, stmt_acc(t->arena, acc, expr_const(t->arena, elem, 0)));
    Rewrite r = *outer;
    bool ahead = worth_prefetching(t, mr);
    if (ahead) prefetching_turns(t, &r, acc, mr, nv, row, panel, col, tail, body);
    Body *inside = reduction(t, &r, ahead ? mr : 0, body);
    multiply_add(t, &r, acc, mr, row, panel, col, tail, inside);
    store_tile(t, outer, acc, mr, nv, row, col, tail, body);
}

/* acc[i, j] = fma(rows, cols, acc[i, j]) for the whole tile, at one place of the reduction. */
static void multiply_add(Tiling *t, const Rewrite *outer, Temp *acc, int mr, const Affine *row, const Affine *panel, const Affine *col, bool tail, Body *inside) {
    Rewrite r = *outer;
    Elem elem = acc->elem;
    const Affine *i, *j;
    Stmt *rows = new_loop(t, "i", affine_constant(t->arena, mr), MARK_UNROLL, 0, &i);
    Stmt *cols = new_loop(t, "j", affine_constant(t->arena, acc->dim[1]), t->lanes > 1 ? MARK_VECTOR : MARK_UNROLL, t->lanes > 1 ? t->lanes : 0, &j);
    body_add(inside, rows);
    body_add(&rows->body, cols);
    if (t->row) rewrite_var(&r, t->row->var, affine_add(t->arena, row, i));
    Expr *a = t->row_panel ? row_panel_load(t, &r, i) : rewrite_expr(&r, t->rows), *b;
    if (t->panel) {
        b = panel_load(t, &r, panel, j);
    } else {
        rewrite_var(&r, t->col->var, affine_add(t->arena, col, j));
        r.guard = tail;
        b = rewrite_expr(&r, t->cols);
    }
    Expr *args[3] = {a, b, acc_element(t, acc, i, j)};
    const Affine *index[2] = {i, j};
    body_add(&cols->body, stmt_assign(t->arena, acc, index, expr_op(t->arena, OP_fma, elem, 3, args)));
}

/* The tiles of one panel: the outer variables that cols does not see (those that it does are loops around already), whole tiles of rows, then
 * the rows that are left. `tiles`: how many whole ones there are. */
static void make_rows(Tiling *t, const Rewrite *outer, const Affine *limit, const Affine *tiles, int nv, const Affine *panel, const Affine *col, bool tail,
                      Body *body) {
    Product *p = &t->product;
    Mark mark = t->own ? MARK_SERIAL : MARK_PARALLEL;
    bool fixed = affine_is_constant(limit);
    for (int part = 0; part < 2; part++) {
        int rest = fixed ? (int)(limit->constant % t->mr) : t->mr == 1 ? 0 : 1;
        if (part == 0 ? fixed && tiles->constant == 0 : rest == 0) continue;
        Rewrite r = *outer;
        Body *at = body;
        const Affine *as;
        for (int i = 0; i < p->n_outer; i++)
            if (p->outer[i] != t->row && p->outer[i] != t->col && !(t->own && expr_uses_var(t->cols, p->outer[i]->var)))
                at = loop_over(t, &r, p->outer[i], mark, at, &as);
        const Affine *ii = NULL, *row = affine_scale(t->arena, tiles, t->mr);
        if (part == 0 || !fixed) {
            Stmt *loop = new_loop(t, "ii", part == 0 ? tiles : limit, mark, 0, &ii);
            if (part == 1) loop->lo = row;
            row = part == 0 ? affine_scale(t->arena, ii, t->mr) : ii;
            body_add(at, loop);
            at = &loop->body;
        }
        t->row_tile = part == 0 ? ii : tiles;
        make_tile(t, &r, part == 0 ? t->mr : rest, nv, row, panel, col, tail, at);
    }
}

/* All tiles of nv vectors in panels first..last-1. */
static void make_strip(Tiling *t, int nv, int64_t first, int64_t last, bool tail, Body *body) {
    Product *p = &t->product;
    const Affine *limit = t->row ? t->row->limits[0] : affine_constant(t->arena, 1);
    const Affine *tiles = affine_constant(t->arena, limit->constant / t->mr);
    if (!affine_is_constant(limit)) {
        Var *q = step_var(t->arena, t->step, VAR_INDEX, "tiles");
        body_add(body, stmt_index(t->arena, q, INDEX_DIV, limit, t->mr, NULL));
        tiles = affine_var(t->arena, q);
    }
    Rewrite r = rewrite_new(t->arena, t->step);
    const Affine *panel = affine_constant(t->arena, first), *index[MAX_RANK];
    if (t->own)
        for (int i = 0; i < p->n_outer; i++)
            if (p->outer[i] != t->col && expr_uses_var(t->cols, p->outer[i]->var)) body = loop_over(t, &r, p->outer[i], MARK_PARALLEL, body, &panel);
    panel = affine_constant(t->arena, first);
    if (last - first > 1 || t->own) {
        Stmt *loop = new_loop(t, "jj", affine_constant(t->arena, last), MARK_PARALLEL, 0, &panel);
        loop->lo = affine_constant(t->arena, first);
        body_add(body, loop);
        body = &loop->body;
    }
    const Affine *col = affine_scale(t->arena, panel, (int64_t)t->nv * t->lanes);
    if (t->own) {
        fill_panel(t, &r, 0, index, col, last * t->nv * t->lanes > loop_turns(t->step, t->col), body);
    }
    make_rows(t, &r, limit, tiles, nv, panel, col, tail, body);
}

/* Rows of tiles, each packing its rows: first whole ones, shared out among threads; of what is left the panels are. */
static void make_tall(Tiling *t, int64_t panels, int64_t rest, Body *top) {
    int64_t m = t->row->limits[0]->constant, tiles = m / t->mr, width = (int64_t)t->nv * t->lanes;
    for (int part = 0; part < 2; part++) {
        int mr = part == 0 ? t->mr : (int)(m % t->mr);
        if (mr == 0 || (part == 0 && tiles == 0)) continue;
        Rewrite r = rewrite_new(t->arena, t->step);
        Body *body = top;
        const Affine *ii, *row = affine_constant(t->arena, tiles * t->mr), *panel, *index[MAX_RANK];
        if (part == 0) {
            Stmt *loop = new_loop(t, "ii", affine_constant(t->arena, tiles), MARK_PARALLEL, 0, &ii);
            row = affine_scale(t->arena, ii, t->mr);
            body_add(body, loop);
            body = &loop->body;
        }
        fill_rows(t, &r, 0, index, mr, row, false, body);
        Mark mark = part == 0 ? MARK_SERIAL : MARK_PARALLEL;
        for (int tail = 0; tail < 2; tail++) {
            if (tail == 0 ? panels == 0 : rest == 0) continue;
            Stmt *loop = new_loop(t, "jj", affine_constant(t->arena, tail ? panels + 1 : panels), mark, 0, &panel);
            if (tail) loop->lo = affine_constant(t->arena, panels);
            body_add(body, loop);
            int nv = tail ? (int)((rest + t->lanes - 1) / t->lanes) : t->nv;
            make_tile(t, &r, mr, nv, row, panel, affine_scale(t->arena, panel, width), tail && rest % t->lanes != 0, &loop->body);
        }
    }
}

/* ---- the pass ---- */

static bool stores_to(const Body *b, const Buffer *buffer) {
    for (const Stmt *s = b->first; s; s = s->next) {
        if (s->kind == STMT_STORE && s->buffer == buffer) return true;
        if (stores_to(&s->body, buffer)) return true;
    }
    return false;
}

static bool loads_stored(const Body *kernel, const Expr *e) {
    if (e->kind == EXPR_LOAD && stores_to(kernel, e->buffer)) return true;
    for (int i = 0; i < e->n_args; i++)
        if (loads_stored(kernel, e->args[i])) return true;
    return false;
}

static bool limits_are_plain(const Tiling *t) {
    const Product *p = &t->product;
    for (int i = 0; i < p->n_outer; i++)
        if (p->outer[i]->limits[0]->n && p->outer[i]->limits[0]->term[0].var != t->step->batch) return false;
    for (int i = 0; i < p->n_reduce; i++) {
        const Stmt *r = p->reduce[i];
        if (r->n_limits != 1 || r->step != 1 || !affine_is_constant(r->lo) || r->lo->constant) return false;
        if (r->limits[0]->n && r->limits[0]->term[0].var != t->step->batch) return false;
    }
    return affine_is_constant(t->col->limits[0]);
}

/* Reads the nest under `top`; false: it stays as it is. */
static bool plan_tiling(Tiling *t, const StepNode *kernel, Stmt *top) {
    Product *p = &t->product;
    if (!product_read(t->arena, top, p)) return false;
    sort_lets(t);
    if (!inline_lets(t, &p->x) || !inline_lets(t, &p->y)) return false;
    if (loads_stored(&kernel->body, p->x) || loads_stored(&kernel->body, p->y)) return false;
    if (!choose_column(t)) return false;
    choose_row(t);
    if (!limits_are_plain(t)) return false;
    t->lanes = machine_lanes(t->machine, elem_size(p->acc->temp->elem));
    int64_t k = 1, n = loop_turns(t->step, t->col), m = t->row ? loop_turns(t->step, t->row) : 1;
    for (int i = 0; i < p->n_reduce; i++) k *= loop_turns(t->step, p->reduce[i]);
    if (k == 0 || n == 0 || m == 0) return false;
    choose_size(t, m, !t->row || affine_is_constant(t->row->limits[0]), n, k);
    return true;
}

static void tile_nest(Tiling *t, StepNode *kernel, Stmt *top, StepNodes *out) {
    int64_t readers = 1, n = loop_turns(t->step, t->col);
    for (int i = 0; i < t->product.n_outer; i++) {
        const Stmt *loop = t->product.outer[i];
        if (loop == t->row) readers *= (loop_turns(t->step, loop) + t->mr - 1) / t->mr;
        else if (loop != t->col && !expr_uses_var(t->cols, loop->var)) readers *= loop_turns(t->step, loop);
    }
    stage_rows(t, kernel, out);
    int64_t width = (int64_t)t->nv * t->lanes, panels = n / width, rest = n % width;
    bool pack = worth_packing(t, readers), slow = rows_are_slow(t) && panels + (rest != 0) >= 2 && pack;
    bool tall = slow && t->cols->buffer->bytes <= t->machine->l2 / 2;
    if (!tall && pack && panels >= 4 && (slow || rows_collide(t))) rows_in_front(t, kernel, out);
    if (tall) {
        pack_in_front(t, kernel, out);
        make_row_panel(t, kernel);
    } else if (pack) {
        if (panels >= OWN_PANELS) make_own_panel(t, kernel);
        else pack_in_front(t, kernel, out);
    }
    Body *body = arena_make(t->arena, Body);
    for (size_t i = 0; i < t->top.n; i++) {
        Stmt *let = t->top.at[i];
        let->prev = let->next = NULL;
        body_add(body, let);
    }
    if (tall) make_tall(t, panels, rest, body);
    if (panels && !tall) make_strip(t, t->nv, 0, panels, false, body);
    if (rest && !tall) make_strip(t, (int)((rest + t->lanes - 1) / t->lanes), panels, panels + 1, rest % t->lanes != 0, body);
    for (Stmt *s = body->first, *next; s; s = next) {
        next = s->next;
        s->prev = s->next = NULL;
        body_insert_before(&kernel->body, top, s);
    }
    body_remove(&kernel->body, top);
}

static void tile_kernel(PassCtx *c, Step *step, StepNode *kernel, Stageds *staged, bool in_loop, StepNodes *out) {
    int nests = 0;
    for (Stmt *s = kernel->body.first, *next; s; s = next) {
        next = s->next;
        Tiling t = {.arena = c->arena, .machine = c->machine, .step = step, .staged = staged, .in_loop = in_loop};
        nests += s->kind == STMT_FOR;
        if (s->kind == STMT_FOR && plan_tiling(&t, kernel, s)) tile_nest(&t, kernel, s, out);
    }
    if (nests < 2) return; /* the parts of one nest are shared freely; nests beside each other may depend on one another */
    for (Stmt *s = kernel->body.first; s; s = s->next) stmt_unshare(s);
}

static void tile_nodes(PassCtx *c, Step *step, StepNode *const *nodes, size_t n, Stageds *staged, bool in_loop, StepNodes *out) {
    for (size_t i = 0; i < n; i++) {
        StepNode *node = nodes[i];
        if (node->kind == STEP_KERNEL) {
            tile_kernel(c, step, node, staged, in_loop, out);
        } else if (node->nodes.n) {
            StepNodes inner = {0};
            tile_nodes(c, step, node->nodes.at, node->nodes.n, staged, true, &inner);
            node->nodes.at = inner.at;
            node->nodes.n = inner.n;
            node->nodes.cap = inner.cap;
        }
        vec_push(c->arena, out, node);
    }
}

bool pass_tile(PassCtx *c, LoopsProgram *p) {
    for (size_t i = 0; i < p->steps.n; i++) {
        Step *step = p->steps.at[i];
        StepNodes nodes = {0};
        Stageds staged = {0};
        tile_nodes(c, step, step->nodes.at, step->nodes.n, &staged, false, &nodes);
        step->nodes.at = nodes.at;
        step->nodes.n = nodes.n;
        step->nodes.cap = nodes.cap;
    }
    return true;
}
