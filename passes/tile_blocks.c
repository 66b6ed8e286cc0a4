/*
 * tile_blocks.c - a long chain over one axis, in blocks of the chain whose panels stay in the caches (Goto and van de Geijn, "Anatomy of high-performance matrix
 * multiplication", 2008): pieces of long sums, and whole chains of x' @ dy.
 *
 *   for piece in 0..q { for k, n { acc s = 0 ; for m in 4096*piece..min(B, 4096*piece + 4096) { s = fma(%x[m, k], %d[m, n], s) } ; %p[piece, k, n] = f(s) } }
 *   =>
 *   for piece parallel, ic parallel (some tiles of rows), jc parallel (some panels of columns) {
 *     %sums = 0
 *     for m0 in 4096*piece..min(B, 4096*piece + 4096) by 256 {
 *       for m { for jj { %panel[jj, m, j] = %d[m0 + m, ...] } }
 *       for m { for ii { %rows[ii, m, i] = %x[m0 + m, ...] } }                              if rows are neighbours: whole lines of memory are read
 *       for jj { for ii { acc t = %sums[jj, ii] ; for m { t[i, j] = fma(%rows[ii, m, i], %panel[jj, m, j], t[i, j]) } ; %sums[jj, ii] = t } }
 *     }
 *     for ii { for jj { %p[piece, ...] = f(%sums[jj, ii]) } }
 *   }
 *
 * The panel of jj stays in the first cache, the rows of all ii and the other panels in the second. A chain that is interrupted goes on from the number that was stored: it is the same chain.
 * What is packed, and the sums, belong to a thread, so there is no barrier.
 *
 * Whole chains are done so where rows are neighbours in memory and otherwise all of them would have to be packed in front, to come back once a panel from the cache that cores share
 * (2048 samples, 512 x 128 weights, AVX2: 60 GFLOP/s without blocks, 68 to 79 with them, of 81).
 *
 * Not done: whole chains whose rows lie along the chain (their panels fit the second cache), factors of several reduced loops (tile_chain.c).
 */
#include "passes/tile.h"

/* Columns, in vectors, that are few beside what packing all rows in front costs; a chunk of rows, as columns are packed once more for each of them; chunks for threads to share. */
enum { FEW_COLUMNS = 32, LEAST_DEPTH = 64, LEAST_ROWS = 64, CHUNKS = 4 };

bool tile_blocks_fit(const Tiling *t) {
    const Product *p = &t->product;
    if (!t->row || t->shared || t->lanes == 1 || p->n_reduce != 1 || p->bounds[0].n) return false;
    if (t->piece) return !t->inner.n;
    if (!tile_rows_are_slow(t) || !tile_plain_load(t->cols, p->acc->temp->elem) || !tile_adjacent(t->cols, t->col->var))
        return false;
    int64_t k = loop_turns(t->step, p->reduce[0]),
            panel = 3 * k * t->machine->vector_bytes; /* three vectors wide, the whole chain */
    return loop_turns(t->step, t->row) >= LEAST_ROWS && k >= 2 * TILE_DEPTH && t->rows->buffer->bytes > t->machine->l2 / 2 &&
           (loop_turns(t->step, t->col) <= FEW_COLUMNS * t->lanes || panel > t->machine->l2 / 4);
}

/* ---- sizes ---- */

typedef struct Blocks {
    int64_t depth;   /* of the chain at a time: a panel of columns fills three quarters of the first cache */
    TileChunk chunk; /* its rows fill a quarter of the second cache, its panels half */
    Buffer *sums;    /* [jj, ii, row of the tile, column], counted from the first of the chunk */
} Blocks;

static int64_t at_least(int64_t x, int64_t least) { return x > least ? x : least; }

static Blocks choose_blocks(const Tiling *t) {
    Blocks b = {0};
    int64_t size = elem_size(t->product.acc->temp->elem), width = (int64_t)t->nv * t->lanes, l2 = t->machine->l2,
            longest = loop_turns(t->step, t->product.reduce[0]);
    int64_t all = tile_panels(t), most = t->machine->l1 * 3 / 4 / (width * size);
    b.depth = TILE_DEPTH;
    while (b.depth > LEAST_DEPTH && (b.depth > most || all * width * b.depth * size > l2 / 2)) b.depth /= 2;
    if (b.depth > longest) b.depth = longest;
    b.chunk.column_chunks = tile_over(all, at_least(l2 / 2 / (b.depth * width * size), 1));
    b.chunk.panels = tile_over(all, b.chunk.column_chunks);
    int64_t rows = l2 / 4 / (b.depth * size), sums = 2 * l2 / (b.chunk.panels * width * size),
            tiles = tile_over(loop_turns(t->step, t->row), t->mr);
    b.chunk.tiles = at_least((rows < sums ? rows : sums) / t->mr, 1);
    while (b.chunk.tiles * t->mr >= 2 * LEAST_ROWS && tile_over(tiles, b.chunk.tiles) * b.chunk.column_chunks < CHUNKS)
        b.chunk.tiles /= 2;
    b.chunk.tiles = tile_over(tiles, tile_over(tiles, b.chunk.tiles));
    return b;
}

/* ---- the nest ---- */

typedef void Make(Tiling *t, const Blocks *b, const Rewrite *r, const ChunkTile *tile, Body *body);

/* All tiles of the chunk, those of a panel one behind the other, or, along: those of a row. */
static void each_tile(Tiling *t, const Blocks *b, const Rewrite *r, bool along, Make *make, Body *body) {
    for (int outer = 0; outer < 2; outer++)
        for (int inner = 0; inner < 2; inner++) {
            ChunkTile tile = {0};
            int rows = along ? outer : inner, columns = along ? inner : outer;
            if (!tile_any_rows(t, &b->chunk, rows) || !tile_any_columns(t, columns)) continue;
            Body *at =
                along ? tile_open_rows(t, &b->chunk, rows, &tile, body) : tile_open_columns(t, &b->chunk, columns, &tile, body);
            at = along ? tile_open_columns(t, &b->chunk, columns, &tile, at) : tile_open_rows(t, &b->chunk, rows, &tile, at);
            make(t, b, r, &tile, at);
        }
}

/* Loops over all numbers of a tile around the body that is returned, at[0] and at[1]: row and column. place: where in %sums. */
static Body *open_numbers(Tiling *t, const ChunkTile *tile, Body *body, const Affine **at, const Affine **place) {
    Body *element = tile_open_numbers(t, tile, body, at);
    place[0] = tile->reg.panel;
    place[1] = tile->number;
    place[2] = affine_add(t->arena, tile->first, at[0]);
    place[3] = at[1];
    return element;
}

static void clear(Tiling *t, const Blocks *b, const Rewrite *r, const ChunkTile *tile, Body *body) {
    const Affine *at[2], *place[4];
    (void)r;
    Body *element = open_numbers(t, tile, body, at, place);
    body_add(element, stmt_store(t->arena, b->sums, place, expr_const(t->arena, b->sums->elem, 0)));
}

static Tile load_sums(Tiling *t, const Blocks *b, const ChunkTile *tile, Body *body) {
    const Affine *at[2], *place[4];
    Tile reg = tile->reg;
    tile_declare(t, &reg, body);
    Body *element = open_numbers(t, tile, body, at, place);
    body_add(element, stmt_assign(t->arena, reg.acc, at, expr_load(t->arena, b->sums, place)));
    return reg;
}

/*
 * Rows of the next block, which come from beyond the second cache, are asked for by the tiles of this one, some places of the chain by each: their copy would wait for all of them. Rows that are neighbours alone, of which
 * a place of the chain has a few lines.
 */
static void prefetch_next_rows(Tiling *t, const Blocks *b, const Rewrite *outer, const ChunkTile *tile, Body *body) {
    enum { MOST_LINES = 16 };
    const TileChunk *c = &b->chunk;
    if (!t->row_panel || !tile_rows_are_slow(t) || tile->reg.nv != t->nv || tile->reg.mr != t->mr) return;
    int64_t rows = c->tiles * t->mr, lines = tile_over(rows, CACHE_LINE / elem_size(t->rows->elem));
    int64_t whole = t->by_columns.whole, panels = whole && whole < c->panels ? whole : c->panels,
            places = tile_over(b->depth, c->tiles * panels);
    if (places * lines > MOST_LINES) return;
    const Affine *q, *number = affine_add(t->arena, affine_scale(t->arena, tile->reg.panel, c->tiles), tile->number);
    Stmt *loop = tile_loop(t, "q", affine_constant(t->arena, places), MARK_UNROLL, 0, &q);
    body_add(body, loop);
    const Affine *place = affine_add(t->arena, affine_scale(t->arena, number, places), q);
    tile_prefetch_rows(t, outer, affine_add_constant(t->arena, place, b->depth), affine_scale(t->arena, c->ic, rows), rows,
                       &loop->body);
}

/* A tile goes on from what is stored, for one block of the chain. */
static void go_on(Tiling *t, const Blocks *b, const Rewrite *outer, const ChunkTile *tile, Body *body) {
    const Affine *at[2], *place[4];
    Tile reg = load_sums(t, b, tile, body);
    Rewrite r = *outer;
    Buffer *packed = t->row_panel;
    prefetch_next_rows(t, b, outer, tile, body);
    Body *inside = tile_reduction(t, &r, reg.mr, 0, body);
    if (tile->single) t->row_panel = NULL;
    t->row_tile = tile->number;
    tile_multiply_add(t, &r, &reg, inside);
    t->row_panel = packed;
    Body *element = open_numbers(t, tile, body, at, place);
    body_add(element, stmt_store(t->arena, b->sums, place, expr_temp(t->arena, reg.acc, at)));
}

static void finish(Tiling *t, const Blocks *b, const Rewrite *outer, const ChunkTile *tile, Body *body) {
    Tile reg = load_sums(t, b, tile, body);
    tile_store(t, outer, &reg, body);
}

/* The block of the chain that begins at k0: the product that the rest of this file computes runs over m in 0..len, at places k0 + m. */
static Body *open_block(Tiling *t, const Blocks *b, Rewrite *r, Body *body) {
    Stmt *old = t->product.reduce[0];
    const Affine *k0, *left;
    body_add(body, tile_loop(t, intern_printf("%s.0", old->var->name), rewrite_affine(r, old->limits[0]), MARK_SERIAL, 0, &k0));
    Stmt *loop = body->last;
    loop->lo = rewrite_affine(r, old->lo);
    loop->step = b->depth;
    Expr *len = expr_index(t->arena, I64, affine_constant(t->arena, b->depth));
    for (int i = 0; i < old->n_limits; i++) {
        const Affine *limit = rewrite_affine(r, old->limits[i]);
        if (i) stmt_add_limit(t->arena, loop, limit);
        left = affine_add(t->arena, limit, affine_scale(t->arena, k0, -1));
        Expr *args[2] = {len, expr_index(t->arena, I64, left)};
        len = expr_op(t->arena, OP_min, I64, 2, args);
    }
    Var *v = step_var(t->arena, t->step, VAR_INDEX, "len");
    body_add(&loop->body, stmt_index(t->arena, v, INDEX_VALUE, NULL, 0, len));
    Var *m = step_var(t->arena, t->step, VAR_LOOP, old->var->name);
    t->product.reduce[0] = stmt_for(t->arena, m, affine_constant(t->arena, 0), affine_var(t->arena, v), 1, MARK_SERIAL, 0);
    Rewrite place = rewrite_new(t->arena, t->step);
    rewrite_var(&place, old->var, affine_add(t->arena, k0, affine_var(t->arena, m)));
    t->rows = rewrite_expr(&place, t->rows);
    t->cols = rewrite_expr(&place, t->cols);
    return &loop->body;
}

/* %panel[jj, m, j], all of the chunk's, a place of the chain of all panels after the other: lines of memory are read from their begin to their end. The last numbers of a panel are 0
 * beyond the columns. */
static void fill_panels(Tiling *t, const Blocks *b, const Rewrite *r, Body *body) {
    const Affine *k, *index[3], *len = t->product.reduce[0]->limits[0];
    Stmt *loop = tile_loop(t, "k", len, MARK_SERIAL, 0, &k);
    body_add(body, loop);
    for (int part = 0; part < 2; part++) {
        ChunkTile tile = {0};
        if (!tile_any_columns(t, part)) continue;
        Body *at = tile_open_columns(t, &b->chunk, part, &tile, &loop->body);
        index[0] = tile.reg.panel;
        tile_fill_row(t, r, index, 1, k, tile.reg.col, tile_part(t, part).rest, at);
    }
}

/* Columns that lie along the chain, panel by panel, in blocks across their diagonal. */
static void fill_panels_across(Tiling *t, const Blocks *b, const Rewrite *r, Body *body) {
    const Affine *k, *kb, *index[3], *len = t->product.reduce[0]->limits[0];
    for (int part = 0; part < 2; part++) {
        ChunkTile tile = {0};
        if (!tile_any_columns(t, part)) continue;
        Body *at = tile_open_columns(t, &b->chunk, part, &tile, body);
        int64_t rest = tile_part(t, part).rest;
        const Affine *first = affine_constant(t->arena, 0);
        index[0] = tile.reg.panel;
        if (rest % t->lanes == 0) {
            Var *blocks = step_var(t->arena, t->step, VAR_INDEX, "blocks");
            body_insert_before(body, body->last, stmt_index(t->arena, blocks, INDEX_DIV, len, t->lanes, NULL));
            Stmt *loop = tile_loop(t, "kb", affine_var(t->arena, blocks), MARK_SERIAL, 0, &kb);
            Stmt *inner = tile_loop(t, "k", affine_constant(t->arena, t->lanes), MARK_UNROLL, 0, &k);
            body_add(at, loop);
            body_add(&loop->body, inner);
            tile_fill_row(t, r, index, 1, affine_add(t->arena, affine_scale(t->arena, kb, t->lanes), k), tile.reg.col, rest,
                          &inner->body);
            first = affine_scale(t->arena, affine_var(t->arena, blocks), t->lanes);
        }
        Stmt *loop = tile_loop(t, "k", len, MARK_SERIAL, 0, &k);
        loop->lo = first;
        body_add(at, loop);
        tile_fill_row(t, r, index, 1, k, tile.reg.col, rest, &loop->body);
    }
}

/* %rows[ii, m, i], all of the chunk's: of rows that are neighbours a place of the chain of all tiles after the other, of others row by row. */
static void fill_rows(Tiling *t, const Blocks *b, const Rewrite *outer, Body *body) {
    const Affine *index[3];
    Rewrite r = *outer;
    bool neighbours = tile_adjacent(t->rows, t->row->var);
    if (neighbours) {
        body = tile_loop_like(t, &r, t->product.reduce[0], MARK_SERIAL, body, &index[1]);
        int64_t rows = b->chunk.tiles * t->mr, ahead = tile_rows_ahead(t);
        if (ahead)
            tile_prefetch_rows(t, &r, affine_add_constant(t->arena, index[1], ahead), affine_scale(t->arena, b->chunk.ic, rows),
                               rows, body);
    }
    for (int part = 0; part < 2; part++) {
        ChunkTile tile = {0};
        bool single = part && !affine_is_constant(b->chunk.m); /* rows of a short batch are read where they lie */
        if (!tile_any_rows(t, &b->chunk, part) || single) continue;
        Body *at = tile_open_rows(t, &b->chunk, part, &tile, body);
        index[0] = tile.number;
        if (neighbours && !part) { /* many short copies */
            body->last->mark = MARK_UNROLL;
            body->last->width = 8;
        }
        if (neighbours)
            tile_fill_rows_at(t, &r, 2, index, tile.reg.mr, tile.reg.row, at);
        else
            tile_fill_rows(t, &r, 1, index, tile.reg.mr, tile.reg.row, at);
    }
}

/* Neighbours along the row, each line of memory being needed for many k; or rows whose lines all meet in one set of the cache. */
static bool pack_rows(const Tiling *t) {
    if (tile_adjacent(t->rows, t->row->var)) return true;
    return t->rows->kind == EXPR_LOAD && tile_rows_meet(t);
}

/* What is packed begins a line further on in each panel: a place of the chain of all panels would else lie in one set of the cache. */
static void make_buffers(Tiling *t, Blocks *b, const StepNode *kernel) {
    int64_t size = elem_size(t->product.acc->temp->elem), width = (int64_t)t->nv * t->lanes;
    Dim sums[4] = {{.n = b->chunk.panels}, {.n = b->chunk.tiles}, {.n = t->mr}, {.n = width}};
    Dim panel[3] = {{.n = b->chunk.panels}, {.n = b->depth + tile_over(CACHE_LINE, width * size)}, {.n = width}};
    Dim rows[3] = {{.n = b->chunk.tiles}, {.n = b->depth + tile_over(CACHE_LINE, t->mr * size)}, {.n = t->mr}};
    b->sums = tile_own_buffer(t, kernel, "sums", 4, sums);
    t->panel = tile_own_buffer(t, kernel, "panel", 3, panel);
    t->panel_reach = t->panel->stride[0] * size;
    t->row_panels = pack_rows(t);
    if (t->row_panels) t->row_panel = tile_own_buffer(t, kernel, "rows", 3, rows);
}

void tile_make_blocks(Tiling *t, const StepNode *kernel, Body *body) {
    Blocks b = choose_blocks(t);
    Rewrite r = rewrite_new(t->arena, t->step);
    make_buffers(t, &b, kernel);
    body = tile_open_chunks(t, &b.chunk, NULL, 0, &r, body);
    each_tile(t, &b, &r, false, clear, body);
    Body *block = open_block(t, &b, &r, body);
    if (tile_transposed(t))
        fill_panels_across(t, &b, &r, block);
    else
        fill_panels(t, &b, &r, block);
    if (t->row_panel) fill_rows(t, &b, &r, block);
    each_tile(t, &b, &r, false, go_on, block);
    each_tile(t, &b, &r, true, finish, body);
}
