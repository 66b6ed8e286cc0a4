/*
 * tile_chain.c - a long chain over several axes (a convolution's: of its kernel's gradient over samples and places, or over the places and channels that one result sees), in blocks of the
 * chain, for many tiles at a time.
 *
 *   for p, q, c, d { acc s = 0 ; for n, y, z { s = fma(%x[n, p + y, q + z, c], %d[n, y, z, d], s) } ; %w[p, q, c, d] = f(s) }
 *   =>
 *   for ic parallel (some tiles of rows c), jc parallel (some panels of columns d) {
 *     %sums = 0
 *     for n, y0 in 0..Y by 4 {
 *       %panel[jj, y, z, j] = %d[n, y0 + y, z, ...]                                     of the block, unless columns lie well as they are
 *       for ii {
 *         %window[y, z, i] = %x[n, y0 + y, z, ...]                                      all that the tiles of ii read in the block, if rows are neighbours
 *         for jj, p, q {                                                                the panel of jj stays in the first cache
 *           acc t = %sums[ii, jj, p, q, ...]
 *           for y in y0..min(Y, y0 + 4), z { t[i, j] = fma(%window[p + y - y0, q + z, i], %panel[jj, y - y0, z, j], t[i, j]) }
 *           %sums[ii, jj, p, q, ...] = t
 *         }
 *       }
 *     }
 *     for ii, jj, p, q { acc t = %sums[...] ; %w[...] = f(t) }
 *   }
 *
 * Without it every tile walks the whole chain: it reads all samples, or all weights of its columns, from a slow cache, and of what it reads a few numbers a line. Here a block is read from
 * there once for all tiles of a chunk. A chain that is interrupted goes on from the number that was stored: it is the same chain. Sums and panels belong to a thread.
 *
 * Where rows are few (the three channels of a picture), the taps of one more loop are rows of the same tile (choose_fold in tile.c): t[3*q + i, j].
 *
 * Where a block begins is where whole turns of one reduced loop do: the outermost whose turns, or some of them, fit. Where pieces of long sums begin and end in the middle of rows, first and
 * last blocks are shorter.
 *
 * Not done: chains over one axis (tile_blocks.c has those).
 */
#include "passes/tile.h"

/* Packing a column costs as much as some ten rows of products with it, twenty if it comes from memory. Fewer than so many chunks are not enough for threads. */
enum { CHUNK_ROWS = 448, CHUNKS = 4 };

/* ---- sizes ---- */

typedef struct Chain {
    Tiling *t;
    int level;                    /* the reduced loop that is cut */
    int64_t turns;                /* of it in a block */
    const Stmt *inside[NEST_MAX]; /* outer loops whose turns all belong to a chunk */
    const Affine *at[NEST_MAX];   /* their variables */
    int n_inside;
    TileChunk chunk;
    Buffer *sums; /* [ii, jj, inside..., row of the tile, column] */
    Expr *rows;   /* the factor that has the rows, as it was */
    Buffer *
        window; /* what a tile of rows reads of it in a block, for all columns and all that is inside; NULL: it is read where it lies */
} Chain;

/* Turns of the chain for which a panel of so many vectors takes half of the first cache. */
static int64_t block_depth(const Tiling *t, int nv) {
    int64_t depth = t->machine->l1 / 2 / ((int64_t)nv * t->machine->vector_bytes);
    return depth > 8 ? depth : 8;
}

int64_t tile_chain_depth(const Tiling *t) { return block_depth(t, 4); }

int64_t tile_chain_length(const Tiling *t) {
    int64_t k = 1;
    for (int i = 0; i < t->product.n_reduce; i++) k *= loop_turns(t->step, t->product.reduce[i]);
    return k;
}

bool tile_chain_fits(const Tiling *t) {
    const Product *p = &t->product;
    Elem elem = p->acc->temp->elem;
    if (!t->row || t->shared || t->lanes == 1 || p->n_reduce < 2 || !tile_plain_load(t->rows, elem) ||
        !tile_plain_load(t->cols, elem))
        return false;
    if (tile_sees_bounds(t, t->rows) || tile_sees_bounds(t, t->cols)) return false;
    for (int i = 0; i < p->n_reduce; i++) {
        const Affine *extent = tile_extent(p->reduce[i]);
        if (i && !affine_is_constant(extent)) return false;
    }
    int64_t line = tile_chain_length(t) * t->machine->vector_bytes * 3; /* of a panel three vectors wide */
    /* Neighbours along the row: each line of memory has numbers for several tiles. */
    bool shared = tile_adjacent(t->rows, t->row->var) && tile_adjacent(t->cols, t->col->var);
    return line > (shared ? t->machine->l1 : t->machine->l2 / 4);
}

static void choose_level(Chain *c) {
    const Tiling *t = c->t;
    int64_t depth = block_depth(t, t->nv), inner = 1;
    c->level = t->product.n_reduce - 1;
    for (;; c->level--) {
        int64_t turns = loop_turns(t->step, t->product.reduce[c->level]);
        c->turns = depth / inner > 1 ? depth / inner : 1;
        if (c->turns < turns || c->level == 0) break;
        inner *= turns;
        if (2 * inner > depth) { /* one turn of the loop around it */
            c->turns = 1;
            c->level--;
            break;
        }
    }
}

/* Results of a chunk are kept in half of the second cache. */
static void choose_chunk(Chain *c) {
    const Tiling *t = c->t;
    const Product *p = &t->product;
    int64_t width = (int64_t)t->nv * t->lanes, size = elem_size(p->acc->temp->elem);
    int64_t budget = t->machine->l2 / 2 / size, rows = t->mr, chunks = 1;
    const Stmt *inside[NEST_MAX];
    for (int i = p->n_outer - 1; i >= 0; i--) {
        const Stmt *loop = p->outer[i];
        int64_t turns = loop_turns(t->step, loop);
        if (loop == t->row || loop == t->col) continue;
        bool fits = !tile_cols_see(t, loop->var) && loop->n_limits == 1 && affine_is_constant(loop->limits[0]) &&
                    rows * turns * width <= budget;
        if (fits) {
            inside[c->n_inside++] = loop;
            rows *= turns;
        } else {
            chunks *= turns;
        }
    }
    bool folded = false;
    for (int i = c->n_inside - 1, k = 0; i >= 0; i--) {
        folded |= inside[i] == t->fold;
        if (inside[i] != t->fold) c->inside[k++] = inside[i];
    }
    if (folded) c->inside[c->n_inside - 1] = t->fold;
    if (!folded) c->t->fold = NULL; /* its sums do not fit */
    int64_t tiles = tile_over(loop_turns(t->step, t->row), t->mr), panels = tile_panels(t), most = tile_over(CHUNK_ROWS, rows);
    while (most > 1 && rows * most * width > budget) most--;
    int64_t fit = budget / (rows * most * width);
    c->chunk.column_chunks = tile_over(panels, fit > 1 ? fit : 1);
    chunks *= c->chunk.column_chunks;
    while (most > 1 && chunks * tile_over(tiles, most) < CHUNKS) most--;
    c->chunk.tiles = tile_over(tiles, tile_over(tiles, most));
    c->chunk.panels = tile_over(panels, c->chunk.column_chunks);
}

/* Do the columns of the only panel lie as in one, each place behind the other? */
static bool like_panel(const Chain *c) {
    const Tiling *t = c->t;
    return tile_adjacent(t->cols, t->col->var) && tile_panels(t) == 1 &&
           access_stride(t->cols->buffer, t->cols->n_index, t->cols->index, tile_last_reduced(t)->var) <=
               (int64_t)t->nv * t->lanes;
}

/* ---- the window: what a row of tiles reads in a block ---- */

/* Turns of a loop in which a window stays the same: of the block, or inside a chunk; 0: it is another loop's. */
static int64_t window_turns(const Chain *c, const Var *v) {
    const Tiling *t = c->t;
    const Product *p = &t->product;
    for (int i = 0; i < c->n_inside; i++)
        if (c->inside[i]->var == v) return c->inside[i]->limits[0]->constant;
    for (int i = c->level; i < p->n_reduce; i++)
        if (p->reduce[i]->var == v) return i == c->level ? c->turns : tile_extent(p->reduce[i])->constant;
    return 0;
}

/* Places along one axis of the factor that a tile of mr rows reads in a block. */
static int64_t window_span(const Chain *c, const Affine *x, int mr) {
    int64_t span = 1;
    for (int i = 0; i < x->n; i++) {
        int64_t turns = x->term[i].var == c->t->row->var ? mr : window_turns(c, x->term[i].var);
        if (turns) span += x->term[i].factor * (turns - 1);
    }
    return span;
}

/* Rows that are neighbours in memory: a tile uses a few numbers of each line, and lines that lie far apart meet in few sets of the first cache. */
static bool window_fits(const Chain *c) {
    const Tiling *t = c->t;
    const Expr *e = t->rows;
    int64_t count = 1;
    if (!tile_adjacent(e, t->row->var)) return false;
    if (access_stride(e->buffer, e->n_index, e->index, tile_last_reduced(t)->var) * elem_size(e->elem) <= CACHE_LINE)
        return false;
    for (int d = 0; d < e->n_index; d++) {
        if (e->index[d]->constant < 0) return false;
        for (int i = 0; i < e->index[d]->n; i++)
            if (e->index[d]->term[i].factor < 0) return false;
        count *= window_span(c, e->index[d], t->mr);
    }
    return count * elem_size(e->elem) <= t->machine->l1 / 4;
}

/* ---- the nest ---- */

static void make_buffers(Chain *c, const StepNode *kernel) {
    Tiling *t = c->t;
    const Product *p = &t->product;
    Dim dims[MAX_RANK + 2] = {{.n = c->chunk.tiles}, {.n = c->chunk.panels}};
    int n = 2;
    for (int i = 0; i < c->n_inside; i++) dims[n++] = (Dim){.n = c->inside[i]->limits[0]->constant};
    dims[n++] = (Dim){.n = t->mr};
    dims[n++] = (Dim){.n = (int64_t)t->nv * t->lanes};
    c->sums = tile_own_buffer(t, kernel, "sums", n, dims);
    c->rows = t->rows;
    if (window_fits(c)) {
        for (n = 0; n < t->rows->n_index; n++) dims[n] = (Dim){.n = window_span(c, t->rows->index[n], t->mr)};
        c->window = tile_own_buffer(t, kernel, "window", n, dims);
    }
    if (t->panel || like_panel(c)) return;
    n = 0;
    dims[n++] = (Dim){.n = c->chunk.panels};
    dims[n++] = (Dim){.n = c->turns};
    for (int i = c->level + 1; i < p->n_reduce; i++) dims[n++] = (Dim){.n = tile_extent(p->reduce[i])->constant};
    dims[n++] = (Dim){.n = (int64_t)t->nv * t->lanes};
    t->panel = tile_own_buffer(t, kernel, "panel", n, dims);
}

/* %sums[...] at row i and column j of the tile. */
static const Affine **sum_index(const Chain *c, const ChunkTile *tile, const Affine *i, const Affine *j) {
    Tiling *t = c->t;
    const Affine **index = arena_make_n(t->arena, const Affine *, (size_t)c->sums->rank);
    int n = 0;
    index[n++] = tile->number;
    index[n++] = tile->reg.panel;
    for (int k = 0; k < c->n_inside; k++) index[n++] = c->at[k];
    index[n++] = affine_add(t->arena, tile->first, i);
    index[n++] = j;
    return index;
}

/* Loops over all numbers of a tile around the body that is returned, at[0] and at[1]: row and column; *acc: the row among the accumulators. fold: over the turns of t->fold, too. */
static Body *open_numbers(Chain *c, const ChunkTile *tile, bool fold, Body *body, const Affine **at, const Affine **acc) {
    Tiling *t = c->t;
    const Affine *f = NULL;
    if (fold) {
        Stmt *loop = tile_loop(t, t->fold->var->name, t->fold->limits[0], MARK_UNROLL, 0, &f);
        body_add(body, loop);
        body = &loop->body;
        c->at[c->n_inside - 1] = f;
    }
    Body *element = tile_open_numbers(t, tile, body, at);
    *acc = f ? affine_add(t->arena, affine_scale(t->arena, f, tile->reg.mr), at[0]) : at[0];
    return element;
}

static void clear(Chain *c, const Rewrite *r, const ChunkTile *tile, Body *body) {
    const Affine *at[2], *acc;
    (void)r;
    Body *element = open_numbers(c, tile, false, body, at, &acc);
    Expr *zero = expr_const(c->t->arena, c->sums->elem, 0);
    body_add(element, stmt_store(c->t->arena, c->sums, sum_index(c, tile, at[0], at[1]), zero));
}

static Tile load_sums(Chain *c, const ChunkTile *tile, bool fold, Body *body) {
    Tiling *t = c->t;
    const Affine *at[2], *row;
    Tile reg = tile->reg, all = tile->reg; /* one for each turn of the fold, one below the other */
    if (fold) all.mr *= (int)t->fold->limits[0]->constant;
    tile_declare(t, &all, body);
    reg.acc = all.acc;
    Body *element = open_numbers(c, tile, fold, body, at, &row);
    Expr *sum = expr_load(t->arena, c->sums, sum_index(c, tile, at[0], at[1]));
    body_add(element, stmt_assign(t->arena, reg.acc, (const Affine *[]){row, at[1]}, sum));
    return reg;
}

/* A tile goes on from what is stored, for one block of the chain. */
static void go_on(Chain *c, const Rewrite *outer, const ChunkTile *tile, Body *body) {
    Tiling *t = c->t;
    const Affine *at[2], *row, *f;
    Tile reg = load_sums(c, tile, t->fold != NULL, body);
    Rewrite r = *outer;
    Body *inside = tile_reduction(t, &r, reg.mr, 0, body);
    if (t->panel && t->panel->place != PLACE_THREAD)
        reg.panel = affine_add(t->arena, reg.panel, affine_scale(t->arena, c->chunk.jc, c->chunk.panels));
    if (t->fold) {
        Stmt *loop = tile_loop(t, t->fold->var->name, t->fold->limits[0], MARK_UNROLL, 0, &f);
        body_add(inside, loop);
        inside = &loop->body;
        rewrite_var(&r, t->fold->var, f);
        t->acc_row = affine_scale(t->arena, f, reg.mr);
    }
    tile_multiply_add(t, &r, &reg, inside);
    t->acc_row = NULL;
    Body *element = open_numbers(c, tile, t->fold != NULL, body, at, &row);
    Expr *sum = expr_temp(t->arena, reg.acc, (const Affine *[]){row, at[1]});
    body_add(element, stmt_store(t->arena, c->sums, sum_index(c, tile, at[0], at[1]), sum));
}

static void finish(Chain *c, const Rewrite *outer, const ChunkTile *tile, Body *body) {
    Tile reg = load_sums(c, tile, false, body);
    tile_store(c->t, outer, &reg, body);
}

/* Copies the window of a tile of rows, whose places in the block are counted from `from`, and lets the product read that. */
static void fill_window(Chain *c, const Rewrite *outer, const ChunkTile *tile, const Affine *from, Body *body) {
    Tiling *t = c->t;
    const Affine *at[MAX_RANK], *in[MAX_RANK], *place[MAX_RANK], *zero = affine_constant(t->arena, 0);
    for (int d = 0; d < c->rows->n_index; d++) {
        const Affine *x = c->rows->index[d], *base = x;
        bool last = d == c->rows->n_index - 1;
        in[d] = zero;
        for (int i = 0; i < x->n; i++) {
            Var *v = x->term[i].var;
            const Affine *start = v == t->row->var                 ? tile->reg.row
                                  : v == t->product.reduce[0]->var ? from
                                  : window_turns(c, v)             ? zero
                                                                   : NULL;
            if (!start) continue;
            base = affine_substitute(t->arena, base, v, start);
            const Affine *apart = affine_add(t->arena, affine_var(t->arena, v), affine_scale(t->arena, start, -1));
            in[d] = affine_add(t->arena, in[d], affine_scale(t->arena, apart, x->term[i].factor));
        }
        base = rewrite_affine(outer, base);
        Dim size = c->rows->buffer->dim[d];
        const Affine *end =
            size.batch ? affine_scale(t->arena, affine_var(t->arena, t->step->batch), size.n) : affine_constant(t->arena, size.n);
        Stmt *loop = tile_loop(t, intern_printf("w%d", d), affine_constant(t->arena, window_span(c, x, tile->reg.mr)),
                               last ? MARK_VECTOR : MARK_SERIAL, last ? t->lanes : 0, &at[d]);
        if (!last) stmt_add_limit(t->arena, loop, affine_add(t->arena, end, affine_scale(t->arena, base, -1)));
        body_add(body, loop);
        body = &loop->body;
        place[d] = affine_add(t->arena, base, at[d]);
    }
    body_add(body, stmt_store(t->arena, c->window, at, expr_load(t->arena, c->rows->buffer, place)));
    t->rows = expr_load(t->arena, c->window, in);
}

typedef void Make(Chain *c, const Rewrite *outer, const ChunkTile *tile, Body *body);

/* All columns beside a tile of rows. */
static void each_column(Chain *c, const Rewrite *outer, ChunkTile *tile, Make *make, Body *body) {
    Tiling *t = c->t;
    for (int part = 0; part < 2; part++) {
        if (!tile_any_columns(t, part)) continue;
        Body *at = tile_open_columns(t, &c->chunk, part, tile, body);
        Rewrite r = *outer;
        for (int i = 0; i < c->n_inside - (t->fold && make == go_on); i++)
            at = tile_loop_like(t, &r, c->inside[i], MARK_SERIAL, at, &c->at[i]);
        make(c, &r, tile, at);
    }
}

/* All tiles of the chunk. from: where the block begins whose window is wanted; NULL: none. */
static void each_tile(Chain *c, const Rewrite *outer, Make *make, const Affine *from, Body *body) {
    for (int part = 0; part < 2; part++) {
        ChunkTile tile = {0};
        if (!tile_any_rows(c->t, &c->chunk, part)) continue;
        Body *at = tile_open_rows(c->t, &c->chunk, part, &tile, body);
        if (from && c->window) fill_window(c, outer, &tile, from, at);
        each_column(c, outer, &tile, make, at);
    }
}

/* Loops over the blocks around the body that is returned. From then on the product is what one block computes: the reduced loops from the one that is cut. */
static Body *open_block(Chain *c, Rewrite *r, Body *body, const Affine **from) {
    Tiling *t = c->t;
    Product *p = &t->product;
    const Affine *as;
    for (int i = 0; i <= c->level; i++) {
        for (size_t k = 0; k < p->bounds[i].n; k++) body_add(body, rewrite_stmt(r, p->bounds[i].at[k]));
        if (i < c->level) body = tile_loop_like(t, r, p->reduce[i], MARK_SERIAL, body, &as);
    }
    Stmt *old = p->reduce[c->level];
    Rewrite blocks = *r;
    Body *block = tile_loop_like(t, &blocks, old, MARK_SERIAL, body, from);
    body->last->step = c->turns;
    Stmt *cut = stmt_for(t->arena, old->var, *from, affine_add_constant(t->arena, *from, c->turns), 1, MARK_SERIAL, 0);
    for (int i = 0; i < old->n_limits; i++) stmt_add_limit(t->arena, cut, old->limits[i]);
    bool own = t->panel && t->panel->place == PLACE_THREAD;
    for (int i = 0; i < c->level && t->panel && !own; i++) t->walked_var[t->n_walked_var++] = p->reduce[i]->var;
    p->n_reduce -= c->level;
    for (int i = 0; i < p->n_reduce; i++) {
        p->reduce[i] = i ? p->reduce[i + c->level] : cut;
        p->bounds[i] = p->bounds[i + c->level];
    }
    p->bounds[0].n = 0;
    c->level = 0;
    if (own) t->panel_from = *from;
    return block;
}

/* %panel[jj, block, j], all of the chunk's. The last ones of the columns are 0 beyond them. */
static void fill_panels(Chain *c, const Rewrite *outer, Body *body) {
    Tiling *t = c->t;
    const Product *p = &t->product;
    for (int part = 0; part < 2; part++) {
        const Affine *k, *index[MAX_RANK + 2];
        ChunkTile tile = {0};
        if (!tile_any_columns(t, part)) continue;
        Body *at = tile_open_columns(t, &c->chunk, part, &tile, body);
        index[0] = tile.reg.panel;
        Rewrite r = *outer;
        for (int i = 0; i < p->n_reduce; i++) {
            for (size_t b = 0; b < p->bounds[i].n; b++) body_add(at, rewrite_stmt(&r, p->bounds[i].at[b]));
            at = tile_loop_like(t, &r, p->reduce[i], MARK_SERIAL, at, &k);
            index[1 + i] = i ? k : affine_add(t->arena, k, affine_scale(t->arena, t->panel_from, -1));
        }
        tile_fill_row(t, &r, index, p->n_reduce, k, tile.reg.col, tile_part(t, part).rest, at);
    }
}

void tile_make_chain(Tiling *t, const StepNode *kernel, Body *body) {
    Chain chain = {.t = t}, *c = &chain;
    choose_level(c);
    choose_chunk(c);
    make_buffers(c, kernel);
    Rewrite r = rewrite_new(t->arena, t->step);
    body = tile_open_chunks(t, &c->chunk, c->inside, c->n_inside, &r, body);
    tile_add_bounds(t, &r, body);
    each_tile(c, &r, clear, NULL, body);
    Rewrite outer = rewrite_new(t->arena, t->step);
    for (size_t i = 0; i < r.vars.n; i++) rewrite_var(&outer, r.vars.at[i].from, r.vars.at[i].to);
    const Affine *from;
    Body *block = open_block(c, &r, body, &from);
    if (t->panel && t->panel->place == PLACE_THREAD) fill_panels(c, &r, block);
    each_tile(c, &r, go_on, from, block);
    each_tile(c, &outer, finish, NULL, body);
}
