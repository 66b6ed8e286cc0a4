/*
 * tile_chunk.c - a chunk of a product: some tiles of rows and some panels of columns, whose sums a thread keeps while it makes a long chain in blocks (tile_blocks.c, tile_chain.c).
 *
 *   for ic parallel { for jc parallel {                                a chunk
 *     for ii in the chunk { for jj in the chunk { .. } } } }           its tiles: whole ones (part 0), then what is left behind them (part 1): rows that make a smaller tile, or as many
 *                                                                      tiles of one row as there are in a short batch; columns that make narrower panels
 */
#include "passes/tile.h"

/* ---- the chunks ---- */

/* How many chunks the rows make, and c->whole_tiles. What is known when it runs only is computed in the body. */
static const Affine *count_chunks(Tiling *t, TileChunk *c, Body *body) {
    const Affine *m = c->m;
    int64_t rows = c->tiles * t->mr;
    if (affine_is_constant(m)) {
        c->whole_tiles = affine_constant(t->arena, m->constant / t->mr);
        return affine_constant(t->arena, tile_over(m->constant, rows));
    }
    c->whole_tiles = tile_index(t, INDEX_DIV, "tiles", m, t->mr, body);
    return tile_index(t, INDEX_DIV, "chunks", affine_add_constant(t->arena, m, rows - 1), rows, body);
}

static bool is_inside(const Stmt *loop, const Stmt *const *inside, int n) {
    for (int i = 0; i < n; i++)
        if (inside[i] == loop) return true;
    return false;
}

Body *tile_open_chunks(Tiling *t, TileChunk *c, const Stmt *const *inside, int n_inside, Rewrite *r, Body *body) {
    const Product *p = &t->product;
    const Affine *as;
    c->m = t->row->limits[0];
    const Affine *chunks = count_chunks(t, c, body);
    for (int i = 0; i < p->n_outer; i++)
        if (p->outer[i] != t->row && p->outer[i] != t->col && !is_inside(p->outer[i], inside, n_inside))
            body = tile_loop_like(t, r, p->outer[i], MARK_PARALLEL, body, &as);
    Stmt *loop = tile_loop(t, "ic", chunks, MARK_PARALLEL, 0, &c->ic);
    body_add(body, loop);
    c->jc = affine_constant(t->arena, 0);
    if (c->column_chunks == 1) return &loop->body;
    Stmt *inner = tile_loop(t, "jc", affine_constant(t->arena, c->column_chunks), MARK_PARALLEL, 0, &c->jc);
    body_add(&loop->body, inner);
    return &inner->body;
}

/* ---- the tiles of one ---- */

static int rows_left(const Tiling *t, const TileChunk *c) {
    return affine_is_constant(c->m) ? (int)(c->m->constant % t->mr) : t->mr > 1;
}

bool tile_any_rows(const Tiling *t, const TileChunk *c, int part) {
    return part ? rows_left(t, c) > 0 : !affine_is_constant(c->m) || c->whole_tiles->constant > 0;
}

/* Counted from the first of the chunk. */
static const Affine *in_chunk(Tiling *t, const Affine *x, const Affine *chunk, int64_t n) {
    return affine_add(t->arena, x, affine_scale(t->arena, chunk, -n));
}

/* A loop over tiles or panels first..last-1 (first NULL: from the chunk's first one) of those that belong to chunk number `chunk` of `n` each; chunks: how many there are, 0: unknown. */
static Body *loop_in_chunk(Tiling *t, const char *name, const Affine *first, const Affine *last, const Affine *chunk, int64_t n,
                           int64_t chunks, Body *body, const Affine **as) {
    const Affine *begin = affine_scale(t->arena, chunk, n), *end = affine_add_constant(t->arena, begin, n);
    bool known = affine_is_constant(last), one = known && affine_is_constant(end),
         full = known && !first && last->constant == n * chunks;
    Stmt *loop = tile_loop(t, name, full || (one && end->constant < last->constant) ? end : last, MARK_SERIAL, 0, as);
    loop->lo = first ? first : begin;
    if (!one && !full) stmt_add_limit(t->arena, loop, end);
    body_add(body, loop);
    return &loop->body;
}

Body *tile_open_rows(Tiling *t, const TileChunk *c, int part, ChunkTile *tile, Body *body) {
    const Affine *ii, *whole = c->whole_tiles;
    int64_t chunks = affine_is_constant(c->m) ? tile_over(c->m->constant, c->tiles * t->mr) : 0;
    tile->single = part && !affine_is_constant(c->m);
    tile->reg.mr = part ? rows_left(t, c) : t->mr;
    tile->first = affine_constant(t->arena, 0);
    if (tile->single) {
        const Affine *behind = affine_scale(t->arena, whole, t->mr);
        body = loop_in_chunk(t, "ii", behind, c->m, c->ic, c->tiles * t->mr, 0, body, &tile->reg.row);
        tile->number = in_chunk(t, whole, c->ic, c->tiles);
        tile->first = affine_add(t->arena, tile->reg.row, affine_scale(t->arena, behind, -1));
        return body;
    }
    body = loop_in_chunk(t, "ii", part ? whole : NULL, affine_add_constant(t->arena, whole, part), c->ic, c->tiles, chunks, body,
                         &ii);
    tile->reg.row = affine_scale(t->arena, ii, t->mr);
    tile->number = in_chunk(t, ii, c->ic, c->tiles);
    return body;
}

Body *tile_open_columns(Tiling *t, const TileChunk *c, int part, ChunkTile *tile, Body *body) {
    TilePart p = tile_part(t, part);
    const Affine *jj;
    body = loop_in_chunk(t, "jj", part ? affine_constant(t->arena, p.first) : NULL, affine_constant(t->arena, p.end), c->jc,
                         c->panels, c->column_chunks, body, &jj);
    tile->reg.nv = p.nv;
    tile->reg.tail = p.tail;
    tile->reg.panel = in_chunk(t, jj, c->jc, c->panels);
    tile->reg.col = tile_panel_column(t, part, jj);
    return body;
}

Body *tile_open_numbers(Tiling *t, const ChunkTile *tile, Body *body, const Affine **at) {
    Stmt *rows = tile_loop(t, "i", affine_constant(t->arena, tile->reg.mr), MARK_UNROLL, 0, &at[0]);
    Stmt *cols = tile_loop(t, "j", affine_constant(t->arena, (int64_t)tile->reg.nv * t->lanes), MARK_VECTOR, t->lanes, &at[1]);
    body_add(body, rows);
    body_add(&rows->body, cols);
    return &cols->body;
}
