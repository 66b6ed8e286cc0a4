/*
 * tile.c - blocks products for registers and packs their operands.
 * in:  loops as `lower` made them.   out: every nest that reads as a product computes tiles of rows x columns in registers.
 * keeps: the chain of every output, hence every bit.   spoils: nothing that later passes rely on.
 *
 *   for i in 0..M { for j in 0..N {
 *     acc s = 0 ; for k in 0..K { s = fma(%x[i, k], %w[k, j], s) } ; %h[i, j] = max(0, s + %b[j])
 *   } }
 *   =>  kernel pack: %p[jj, k, j] = %w[k, 48 * jj + j]
 *       for jj in 0..N/48 parallel { for ii in 0..M/9 parallel {
 *         acc t: f32[9, 48] = 0
 *         for k in 0..K unroll 4 { for i in 0..9 unroll { for j in 0..48 vector 16 { t[i, j] = fma(%x[9 * ii + i, k], %p[jj, k, j], t[i, j]) } } }
 *         for i in 0..9 unroll { for j in 0..48 vector 16 { %h[...] = max(0, t[i, j] + %b[...]) } }
 *       } }
 *       and the same for the rows and columns that are left, with smaller tiles (tile_size.c).
 *
 * It reads the nest and never an op's name (nest.h). The column is the outer variable along which results lie side by side in memory, the row another
 * one that only the other factor sees; the rest of the outer variables stay loops. The factor that has the columns is packed into panels where that
 * pays: several tiles of rows read it, or its columns are not neighbours in memory. The factor that has the rows is read where it lies (or packed, too, if its rows are
 * neighbours: tile_pack.c), but what is computed while loading (u8 pixels to f32) is computed once, into a buffer of its own.
 *
 * Pieces of long sums (lower_reduce.c) are products whose chains begin and end where outer variables say. Over one axis they are made in blocks for the caches, and so are long chains of
 * x' @ dy (tile_blocks.c). So are long chains over several axes, pieces or whole, which convolutions have (tile_chain.c); short ones' tiles read both factors where they lie, or columns
 * from panels. Few rows beside a matrix that is read once are tile_few.c's.
 *
 * Not done: blocks of the reduction for caches in other products over one axis (chains are at most SUM_CHAIN long), products whose factors share both candidates for row and
 * column, such as a vector times a matrix from the right of which the columns are far apart.
 */
#include "passes/tile.h"
#include "passes/apart.h"

enum { OWN_PANELS = 8 }; /* with so many panels threads share panels and pack their own; with fewer they share tiles */

/* ---- which variable is what ---- */

/* Does a let use one before it? */
static bool uses_let(const Stmt *let, const Stmt *other) {
    return other->kind == STMT_LET ? expr_uses_temp(let->value, other->temp) : stmt_uses_var(let, other->var);
}

static bool depends(const Tiling *t, const Stmt *let) {
    for (int i = 0; i < t->product.n_outer; i++)
        if (stmt_uses_var(let, t->product.outer[i]->var)) return true;
    for (size_t i = 0; i < t->inner.n; i++)
        if (uses_let(let, t->inner.at[i])) return true;
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

static bool bounds_name(const Tiling *t, const Var *v) {
    const Product *p = &t->product;
    for (int i = 0; i < p->n_reduce; i++) {
        if (affine_uses(p->reduce[i]->lo, v)) return true;
        for (int k = 0; k < p->reduce[i]->n_limits; k++)
            if (affine_uses(p->reduce[i]->limits[k], v)) return true;
        for (size_t k = 0; k < p->bounds[i].n; k++)
            if (stmt_uses_var(p->bounds[i].at[k], v)) return true;
    }
    return false;
}

bool tile_bounds_use(const Tiling *t, const Var *v) {
    if (bounds_name(t, v)) return true;
    for (size_t i = 0; i < t->inner.n; i++) {
        const Stmt *let = t->inner.at[i];
        if (let->kind == STMT_INDEX && let->var != v && stmt_uses_var(let, v) && tile_bounds_use(t, let->var)) return true;
    }
    return false;
}

bool tile_sees_bounds(const Tiling *t, const Expr *e) {
    for (int i = 0; i < t->product.n_reduce; i++)
        for (size_t k = 0; k < t->product.bounds[i].n; k++)
            if (expr_uses_var(e, t->product.bounds[i].at[k]->var)) return true;
    return false;
}

bool tile_cols_see(const Tiling *t, const Var *v) { return expr_uses_var(t->cols, v) || tile_bounds_use(t, v); }

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

static bool is_load(const Expr *e, Elem elem) { return e->kind == EXPR_LOAD && e->elem == elem; }

bool tile_plain_load(const Expr *e, Elem elem) { return is_load(e, elem) && !e->guarded; }

const Stmt *tile_last_reduced(const Tiling *t) { return t->product.reduce[t->product.n_reduce - 1]; }

bool tile_adjacent(const Expr *e, const Var *v) {
    if (e->kind == EXPR_LOAD && access_stride(e->buffer, e->n_index, e->index, v) != 1) return false;
    for (int i = 0; i < e->n_args; i++)
        if (!tile_adjacent(e->args[i], v)) return false;
    return true;
}

static bool choose_column(Tiling *t) {
    Product *p = &t->product;
    int best = 0;
    for (int i = p->n_outer - 1; i >= 0; i--) {
        const Var *v = p->outer[i]->var;
        bool in_x = expr_uses_var(p->x, v), in_y = expr_uses_var(p->y, v);
        if (in_x == in_y || tile_bounds_use(t, v)) continue;
        int score = 1 + 2 * stores_adjacent(p, v) + tile_adjacent(in_x ? p->x : p->y, v);
        if (score <= best) continue;
        best = score;
        t->col = p->outer[i];
        t->cols = in_x ? p->x : p->y;
        t->rows = in_x ? p->y : p->x;
    }
    return best >= 2; /* neither results nor columns side by side: vectors would be gathered and scattered */
}

/* How many outer variables a factor sees. */
static int seen(const Product *p, const Expr *factor) {
    int n = 0;
    for (int i = 0; i < p->n_outer; i++) n += expr_uses_var(factor, p->outer[i]->var);
    return n;
}

/*
 * Where most of a vector of columns would be empty, as in a convolution whose groups have one channel each, the lanes are better an outer variable that both factors and the results lie
 * side by side along: the groups.
 *
 *   for x, y, g, d in 0..1 { acc s = 0 ; for p, q { s = fma(%x[x + p, y + q, g], %w[p, q, g, d], s) } ; %y[x, y, g, d] = s }
 *   =>  for x, g by 16, y by 6 { acc t: f32[6, 16] ; for p, q { t[i, j] = fma(%x[x + p, y + i + q, g + j], %w[p, q, g + j], t[i, j]) } ; .. }
 */
static void choose_shared_column(Tiling *t) {
    Product *p = &t->product;
    Elem elem = p->acc->temp->elem;
    int64_t most = t->col ? loop_turns(t->step, t->col) : 1;
    if (2 * most > t->lanes || !is_load(p->x, elem) || !is_load(p->y, elem)) return;
    for (int i = p->n_outer - 1; i >= 0; i--) {
        const Var *v = p->outer[i]->var;
        int64_t turns = loop_turns(t->step, p->outer[i]);
        if (turns <= most || tile_bounds_use(t, v) || !tile_adjacent(p->x, v) || !tile_adjacent(p->y, v) ||
            !stores_adjacent(p, v))
            continue;
        bool of_x = seen(p, p->x) > seen(p, p->y);
        t->shared = true;
        t->col = p->outer[i];
        t->rows = of_x ? p->x : p->y;
        t->cols = of_x ? p->y : p->x;
        return;
    }
}

/* Lets hang on the column by their own indices or by a let that they use. */
static const bool *lets_of_column(const Tiling *t) {
    bool *of = arena_make_n(t->arena, bool, t->inner.n + 1);
    for (size_t k = 0; k < t->inner.n; k++) {
        of[k] = stmt_uses_var(t->inner.at[k], t->col->var);
        for (size_t i = 0; i < k; i++) of[k] |= of[i] && uses_let(t->inner.at[k], t->inner.at[i]);
    }
    return of;
}

/* Can the turns of the loop be rows of a tile? */
static bool can_be_row(const Tiling *t, const Stmt *loop) {
    return loop != t->col && !tile_cols_see(t, loop->var) && expr_uses_var(t->rows, loop->var);
}

/*
 * Of the loops inside the row's one whose turns are rows, too, and neighbours: the places of a picture and not its samples. A tile then reads lines of memory that overlap, and stores
 * to a few; samples lie pages apart, and where that is a power of two their lines meet in one set of the cache (28 x 28 pictures with a border of 2: 3 times as fast). Where there are too few
 * places for good tiles, or the chain is in blocks, samples are better.
 */
static void choose_near_row(Tiling *t) {
    const Product *p = &t->product;
    Stmt *far = t->row;
    int64_t n = loop_turns(t->step, t->col), k = tile_chain_length(t);
    if (!far || !tile_rows_are_far(t) || tile_chain_fits(t) || n == 0 || k == 0) return;
    double most = tile_row_cost(t, n, k);
    for (int i = p->n_outer - 1; i >= 0 && p->outer[i] != far; i--) {
        if (!can_be_row(t, p->outer[i]) || !affine_is_constant(p->outer[i]->limits[0])) continue;
        t->row = p->outer[i];
        if (!tile_rows_are_far(t) && !tile_chain_fits(t) && tile_row_cost(t, n, k) <= most) return;
    }
    t->row = far;
}

static void choose_row(Tiling *t) {
    Product *p = &t->product;
    int64_t best = 1;
    for (int i = p->n_outer - 1; i >= 0; i--) {
        if (!can_be_row(t, p->outer[i])) continue;
        int64_t turns = loop_turns(t->step, p->outer[i]);
        if (turns > 32) turns = 32; /* more than a tile is not better: the innermost counts */
        if (turns <= best) continue;
        best = turns;
        t->row = p->outer[i];
    }
    choose_near_row(t);
}

/* ---- the pass ---- */

static bool stores_to(const Body *b, const Buffer *buffer) {
    for (const Stmt *s = b->first; s; s = s->next) {
        if (s->kind == STMT_STORE && buffer_memory(s->buffer) == buffer_memory(buffer)) return true;
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

const Affine *tile_extent(const Stmt *loop) {
    for (int i = 0; i < loop->n_limits; i++)
        if (affine_is_known(loop->limits[i])) return loop->limits[i];
    return NULL;
}

/* Of a loop over pieces: limits may be index lets from before the nest. */
static bool early_limits(const Tiling *t, const Stmt *loop) {
    for (int i = 0; i < loop->n_limits; i++)
        for (int k = 0; k < loop->limits[i]->n; k++) {
            const Var *v = loop->limits[i]->term[k].var;
            if (v->kind == VAR_LOOP) return false;
            for (size_t j = 0; j < t->inner.n; j++)
                if (t->inner.at[j]->kind == STMT_INDEX && t->inner.at[j]->var == v) return false;
        }
    return true;
}

/* Nothing but indices in it: it can be computed anywhere. */
static bool indices_alone(const Expr *e) {
    if (!e) return true;
    if (e->kind != EXPR_CONST && e->kind != EXPR_INDEX && e->kind != EXPR_OP) return false;
    for (int i = 0; i < e->n_args; i++)
        if (!indices_alone(e->args[i])) return false;
    return true;
}

/* Loops that tiles can be made of. Sets t->piece if chains do not run from 0 to a fixed end. */
static bool limits_fit(Tiling *t) {
    const Product *p = &t->product;
    if (!affine_is_constant(t->col->limits[0]) || t->col->n_limits != 1 || (t->row && !loop_is_plain(t->row))) return false;
    for (int i = 0; i < p->n_reduce; i++) {
        t->piece |= !loop_is_plain(p->reduce[i]) || p->bounds[i].n;
        if (!tile_extent(p->reduce[i])) return false;
        for (size_t k = 0; k < p->bounds[i].n; k++)
            if (!indices_alone(p->bounds[i].at[k]->value)) return false;
    }
    for (int i = 0; i < p->n_outer; i++)
        if (!loop_is_plain(p->outer[i]) && !(t->piece && early_limits(t, p->outer[i]))) return false;
    for (size_t i = 0; i < t->inner.n; i++)
        if (t->inner.at[i]->kind == STMT_INDEX && tile_bounds_use(t, t->inner.at[i]->var) &&
            !indices_alone(t->inner.at[i]->value))
            return false;
    return true;
}

static bool constant_extents(const Tiling *t) {
    for (int i = 0; i < t->product.n_reduce; i++)
        if (!affine_is_constant(tile_extent(t->product.reduce[i]))) return false;
    return true;
}

static bool can_be_packed(const Tiling *t) { return !t->piece || (constant_extents(t) && !tile_sees_bounds(t, t->cols)); }

/* A piece reads its columns in blocks, or from panels of all pieces, or where they lie. */
static bool piece_fits(const Tiling *t) { return tile_blocks_fit(t) || can_be_packed(t) || tile_adjacent(t->cols, t->col->var); }

/* Let i of those that a kernel in front repeats: before the nest, then at its top. */
static size_t n_repeated(const Tiling *t) { return t->before.n + t->top.n; }
static const Stmt *repeated(const Tiling *t, size_t i) { return i < t->before.n ? t->before.at[i] : t->top.at[i - t->before.n]; }

static bool lets_use(const Tiling *t, const Stmt *let) {
    const Product *p = &t->product;
    if (let->kind == STMT_LET && (expr_uses_temp(p->x, let->temp) || expr_uses_temp(p->y, let->temp))) return true;
    if (let->kind == STMT_INDEX && (expr_uses_var(p->x, let->var) || expr_uses_var(p->y, let->var))) return true;
    for (int i = 0; let->kind == STMT_INDEX && i < p->n_outer; i++)
        for (int k = 0; k < p->outer[i]->n_limits; k++)
            if (affine_uses(p->outer[i]->limits[k], let->var)) return true;
    for (size_t i = 0; i < n_repeated(t); i++) {
        const Stmt *other = repeated(t, i);
        if (let->kind == STMT_INDEX && stmt_uses_var(other, let->var)) return true;
        if (let->kind == STMT_LET && other->value && expr_uses_temp(other->value, let->temp)) return true;
    }
    return false;
}

/* Is every number in e, which is not a load, a let that a kernel in front can compute, too? A sum of the same kernel cannot. */
static bool repeatable(const Tiling *t, const StepNode *kernel, const Expr *e) {
    bool found = e->kind != EXPR_TEMP;
    for (size_t i = 0; !found && i < n_repeated(t); i++) {
        const Stmt *let = repeated(t, i);
        found = let->kind == STMT_LET && let->temp == e->temp && !loads_stored(&kernel->body, let->value);
    }
    for (int i = 0; found && i < e->n_args; i++) found = repeatable(t, kernel, e->args[i]);
    return found;
}

/* Finds the lets between the start of the kernel and the nest that its factors need. false: they need more than lets. */
static bool lets_before(Tiling *t, const StepNode *kernel, Stmt *nest) {
    for (Stmt *s = nest->prev; s; s = s->prev)
        if ((s->kind == STMT_LET || s->kind == STMT_INDEX) && lets_use(t, s)) vec_push(t->arena, &t->before, s);
    for (size_t i = 0; i < t->before.n / 2; i++) { /* in the order in which they stand */
        Stmt *swap = t->before.at[i];
        t->before.at[i] = t->before.at[t->before.n - 1 - i];
        t->before.at[t->before.n - 1 - i] = swap;
    }
    bool ok = repeatable(t, kernel, t->product.x) && repeatable(t, kernel, t->product.y);
    for (size_t i = 0; ok && i < n_repeated(t); i++) ok = !repeated(t, i)->value || repeatable(t, kernel, repeated(t, i)->value);
    return ok;
}

/* Reads the nest under `top`; false: it stays as it is. */
static bool plan_tiling(Tiling *t, const StepNode *kernel, Stmt *top) {
    Product *p = &t->product;
    if (!product_read(t->arena, top, p)) return false;
    sort_lets(t);
    if (!inline_lets(t, &p->x) || !inline_lets(t, &p->y)) return false;
    if (loads_stored(&kernel->body, p->x) || loads_stored(&kernel->body, p->y) || !lets_before(t, kernel, top)) return false;
    t->lanes = machine_lanes(t->machine, elem_size(p->acc->temp->elem));
    bool any = choose_column(t);
    choose_shared_column(t);
    if (!any && !t->shared) return false;
    choose_row(t);
    if (!limits_fit(t)) return false;
    int64_t k = tile_chain_length(t), n = loop_turns(t->step, t->col), m = t->row ? loop_turns(t->step, t->row) : 1;
    if (k == 0 || n == 0 || m == 0) return false;
    tile_choose_size(t, m, n, k);
    t->of_column = lets_of_column(t); /* which loop is the column's is known now */
    return !t->piece || piece_fits(t);
}

/* Turns of the outer loops beside the column's that the columns hang on: for each of them there are other panels. */
static int64_t panel_sets(const Tiling *t) {
    int64_t n = 1;
    for (int i = 0; i < t->product.n_outer; i++) {
        const Stmt *loop = t->product.outer[i];
        if (loop != t->col && tile_cols_see(t, loop->var)) n *= loop_turns(t->step, loop);
    }
    return n;
}

/* ---- loops of the step: weights that a recurrence reads in every turn are packed once ---- */

static bool nodes_store(const StepNode *const *nodes, size_t n, const Expr *e) {
    for (size_t i = 0; i < n; i++)
        if (loads_stored(&nodes[i]->body, e) || nodes_store((const StepNode *const *)nodes[i]->nodes.at, nodes[i]->nodes.n, e))
            return true;
    return false;
}

/* Has e the same value in every turn of the loop? */
static bool invariant(const StepNode *loop, const Expr *e) {
    return !(loop->var && expr_uses_var(e, loop->var)) && !nodes_store((const StepNode *const *)loop->nodes.at, loop->nodes.n, e);
}

/* The outermost loop of the step in whose turns the columns, and the lets that the packing kernel repeats, are always the same; NULL: there is none. *turns: how often they are read. */
static const Around *packed_before(const Tiling *t, int64_t *turns) {
    const Around *best = NULL;
    *turns = 1;
    for (const Around *a = t->around; a; a = a->outer) {
        bool same = !t->piece && invariant(a->loop, t->cols);
        for (size_t i = 0; same && i < n_repeated(t); i++) {
            const Stmt *let = repeated(t, i);
            same = !(a->loop->var && stmt_uses_var(let, a->loop->var)) && !(let->value && !invariant(a->loop, let->value));
        }
        if (!same) break;
        best = a;
        *turns *= a->loop->trip && affine_is_constant(a->loop->trip) && a->loop->trip->constant > 0 ? a->loop->trip->constant : 2;
    }
    return best;
}

/* ---- which tiles, of what ---- */

typedef enum Way {
    STRIPS, /* tiles beside each other, rows of tiles for each panel of columns */
    TALL,   /* all panels for each row of tiles */
    BLOCKS, /* tile_blocks.c */
    CHAIN,  /* tile_chain.c */
    FEW,    /* tile_few.c */
} Way;

typedef struct Choice {
    Way way;
    bool pack;            /* columns to panels */
    bool slow;            /* rows that are neighbours while the reduced index jumps */
    bool in_front;        /* all rows to panels */
    int64_t panels, rest; /* panels of full width, columns beyond them */
    TileFew few;
} Choice;

/* How often the columns are read; turns: of loops of the step in which they stay the same. */
static int64_t count_readers(const Tiling *t, int64_t turns) {
    int64_t readers = 1;
    for (int i = 0; i < t->product.n_outer; i++) {
        const Stmt *loop = t->product.outer[i];
        if (loop == t->row)
            readers *= (loop_turns(t->step, loop) + t->mr - 1) / t->mr;
        else if (loop != t->col && !tile_cols_see(t, loop->var))
            readers *= loop_turns(t->step, loop);
    }
    return readers < INT32_MAX / turns ? readers * turns : INT32_MAX;
}

static Choice choose_way(const Tiling *t, int64_t readers, bool before) {
    int64_t n = loop_turns(t->step, t->col), width = (int64_t)t->nv * t->lanes, bytes = tile_column_bytes(t), l2 = t->machine->l2;
    Choice c = {.panels = n / width, .rest = n % width};
    if (t->shared) return c; /* nothing is read by many: it is where it lies */
    if (tile_blocks_fit(t) && (t->piece || !before)) c.way = BLOCKS;
    if (tile_chain_fits(t)) c.way = CHAIN;
    c.pack = tile_worth_packing(t, readers) && c.way != BLOCKS && can_be_packed(t);
    if (!before && tile_few_rows(t, c.pack, &c.few)) c.way = FEW;
    if (c.way == FEW) c.pack = false;
    if (c.way == CHAIN) c.pack = !tile_adjacent(t->cols, t->col->var); /* it packs neighbours itself */
    c.slow = tile_rows_are_slow(t) && c.panels + (c.rest != 0) >= 2 && c.pack;
    if (c.way != STRIPS) return c;
    bool near = bytes <= t->machine->l1 / 2 && c.panels >= 2 && t->row && t->product.n_outer == 2 && !t->piece;
    if (near || (c.slow && bytes <= l2 / 2)) c.way = TALL;
    bool far = c.slow && t->rows->buffer->bytes > l2 / 2; /* every panel fetches all rows anew, a line for a few numbers of it */
    c.in_front = c.way == STRIPS && c.pack && (far || (c.panels >= 4 && (c.slow || tile_rows_collide(t))));
    return c;
}

/* before: the loop of the step in front of which panels are packed; NULL: in front of the kernel. */
static void pack_operands(Tiling *t, const Choice *c, const StepNode *kernel, const Around *before, StepNodes *out) {
    bool own = (c->panels + (c->rest > 0)) * panel_sets(t) >= OWN_PANELS && !t->piece && !before && c->way == STRIPS;
    if (c->in_front) tile_rows_in_front(t, kernel, out);
    if (c->pack && own)
        tile_make_own_panel(t, kernel);
    else if (c->pack)
        tile_pack_in_front(t, kernel, before ? before->front : out);
    if (c->pack && !own && c->way == STRIPS) t->panel_reach = t->panel->stride[t->n_panel_var] * elem_size(t->panel->elem);
    if (c->pack && !own && c->way == TALL) t->panel_reach = t->panel->bytes;
    if (c->way == TALL && c->slow) tile_make_row_panel(t, kernel);
}

static void make_tiles(Tiling *t, const Choice *c, const StepNode *kernel, Body *body) {
    switch (c->way) {
    case FEW: tile_make_few(t, kernel, &c->few, body); return;
    case BLOCKS: tile_make_blocks(t, kernel, body); return;
    case CHAIN: tile_make_chain(t, kernel, body); return;
    case TALL: tile_make_tall(t, body); return;
    case STRIPS: break;
    }
    if (t->own)
        tile_make_own_strips(t, c->panels, c->rest, body);
    else
        tile_make_strips(t, body);
}

static void tile_nest(Tiling *t, StepNode *kernel, Stmt *top, StepNodes *out) {
    int64_t turns;
    const Around *before = packed_before(t, &turns);
    tile_stage_rows(t, kernel, out);
    Choice c = choose_way(t, count_readers(t, turns), before != NULL);
    pack_operands(t, &c, kernel, before, out);
    Body *body = arena_make(t->arena, Body);
    for (size_t i = 0; i < t->top.n; i++) {
        Stmt *let = t->top.at[i];
        let->prev = let->next = NULL;
        body_add(body, let);
    }
    make_tiles(t, &c, kernel, body);
    for (Stmt *s = body->first, *next; s; s = next) {
        next = s->next;
        s->prev = s->next = NULL;
        body_insert_before(&kernel->body, top, s);
    }
    body_remove(&kernel->body, top);
}

static void tile_kernel(PassCtx *c, Step *step, StepNode *kernel, Stageds *staged, const Around *around, StepNodes *out) {
    int nests = 0;
    bool apart = nests_apart(step, &kernel->body);
    for (Stmt *s = kernel->body.first, *next; s; s = next) {
        next = s->next;
        Tiling t = {.arena = c->arena, .machine = c->machine, .step = step, .staged = staged, .around = around};
        nests += s->kind == STMT_FOR;
        if (s->kind == STMT_FOR && plan_tiling(&t, kernel, s)) tile_nest(&t, kernel, s, out);
    }
    if (nests < 2 || apart)
        return; /* the parts of one nest are shared freely; of nests beside each other one may depend on another */
    for (Stmt *s = kernel->body.first; s; s = s->next) stmt_unshare(s);
}

static void tile_nodes(PassCtx *c, Step *step, StepNode *const *nodes, size_t n, Stageds *staged, const Around *around,
                       StepNodes *out) {
    for (size_t i = 0; i < n; i++) {
        StepNode *node = nodes[i];
        if (node->kind == STEP_KERNEL) {
            tile_kernel(c, step, node, staged, around, out);
        } else if (node->nodes.n) {
            StepNodes inner = {0};
            Around loop = {node, out, around};
            tile_nodes(c, step, node->nodes.at, node->nodes.n, staged, &loop, &inner);
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
        tile_nodes(c, step, step->nodes.at, step->nodes.n, &staged, NULL, &nodes);
        step->nodes.at = nodes.at;
        step->nodes.n = nodes.n;
        step->nodes.cap = nodes.cap;
    }
    return true;
}
