/*
 * tile_blocks.c - a piece of a long chain, in blocks of the chain whose panels stay in the caches (Goto and van de Geijn, "Anatomy of high-performance matrix
 * multiplication", 2008).
 *
 *   for piece in 0..q { for k, n { acc s = 0 ; for m in 4096*piece..min(B, 4096*piece + 4096) { s = fma(%x[m, k], %d[m, n], s) } ; %p[piece, k, n] = s } }
 *   =>
 *   for piece parallel, ic parallel (some tiles of rows), jc parallel (some panels of columns) {
 *     %p[piece, rows of ic, columns of jc] = 0
 *     for m0 in 4096*piece..min(B, 4096*piece + 4096) by 256 {
 *       panels: %panel[jj, m, j] = %d[m0 + m, ...]                                            for the second cache, used by all rows of ic
 *       for ii { rows: %rows[m, i] = %x[m0 + m, ...]                                          for the first cache, used by all columns of jc
 *         for jj { acc t = %p[...] ; for m { t[i, j] = fma(%rows[m, i], %panel[jj, m, j], t[i, j]) } ; %p[...] = t } }
 *     }
 *   }
 *
 * A chain that is interrupted goes on from the number that was stored: it is the same chain. Panels belong to a thread, so there is no barrier; a chunk of rows is
 * so large that packing the columns once more for each of them costs little.
 *
 * Not done: chains that do not belong to a piece (their panels fit the second cache whole), factors of several reduced loops.
 */
#include "passes/tile.h"

enum { CHUNK_ROWS = 224 }; /* packing a column costs as much as some ten rows of products with it */

/* A store of the sum and nothing else: then the place of the result can hold a sum that is not complete. */
static const Stmt *only_store(const Product *p) {
    const Stmt *s = p->epilogue;
    if (!s || s->next || s->kind != STMT_STORE || s->value->kind != EXPR_TEMP || s->value->temp != p->acc->temp) return NULL;
    return s->buffer->elem == p->acc->temp->elem ? s : NULL;
}

bool tile_blocks_fit(const Tiling *t) {
    const Product *p = &t->product;
    return t->row && t->lanes > 1 && p->n_reduce == 1 && !p->bounds[0].n && !t->inner.n && only_store(p) &&
           only_store(p)->n_index >= 2;
}

/* ---- sizes ---- */

typedef struct Blocks {
    int64_t depth;       /* of the chain at a time: rows of a tile fill half of the first cache */
    int64_t tiles;       /* of rows in a chunk */
    int64_t panels;      /* of columns in a chunk: they fill half of the second cache */
    int64_t whole, rest; /* all panels of full width; columns beyond them */
    int64_t column_chunks;
    const Affine *m, *whole_tiles; /* rows, and how many tiles they fill */
    const Affine *ic, *jc;         /* the chunk */
} Blocks;

static Blocks choose_blocks(const Tiling *t) {
    Blocks b = {.depth = 8};
    int64_t size = elem_size(t->product.acc->temp->elem), width = (int64_t)t->nv * t->lanes, n = t->col->limits[0]->constant;
    int64_t row = tile_over(t->mr, t->lanes) * t->lanes * size, longest = loop_turns(t->step, t->product.reduce[0]);
    while (2 * b.depth * row <= t->machine->l1 / 2 && b.depth < longest) b.depth *= 2;
    b.whole = n / width;
    b.rest = n % width;
    int64_t all = b.whole + (b.rest > 0), fit = t->machine->l2 / 2 / (b.depth * width * size);
    b.column_chunks = tile_over(all, fit > 1 ? fit : 1);
    b.panels = tile_over(all, b.column_chunks);
    b.tiles = tile_over(CHUNK_ROWS, t->mr);
    return b;
}

/* ---- the nest ---- */

/* Number of the panel in its chunk. */
static const Affine *in_chunk(Tiling *t, const Blocks *b, const Affine *jj) {
    return affine_add(t->arena, jj, affine_scale(t->arena, b->jc, -b->panels));
}

static void clear_results(Tiling *t, const Blocks *b, const Rewrite *outer, Body *body) {
    const Stmt *store = only_store(&t->product);
    const Affine *i, *j;
    Rewrite r = *outer;
    int64_t width = (int64_t)t->nv * t->lanes;
    body = tile_loop_in_chunk(t, "i", NULL, b->m, b->ic, b->tiles * t->mr, body, &i);
    Body *inside = tile_loop_in_chunk(t, "j", NULL, t->col->limits[0], b->jc, b->panels * width, body, &j);
    body->last->mark = MARK_VECTOR;
    body->last->width = t->lanes;
    rewrite_var(&r, t->row->var, i);
    rewrite_var(&r, t->col->var, j);
    Stmt *clear = rewrite_stmt(&r, store);
    clear->value = expr_const(t->arena, store->buffer->elem, 0);
    body_add(inside, clear);
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

/* %panel[jj, m, j], all of the chunk's. The last ones of the columns are 0 beyond them. */
static void fill_panels(Tiling *t, const Blocks *b, const Rewrite *outer, Body *body) {
    const Affine *len = t->product.reduce[0]->limits[0], *k, *index[3];
    int64_t width = (int64_t)t->nv * t->lanes;
    for (int tail = 0; tail < 2; tail++) {
        if (tail ? b->rest == 0 : b->whole == 0) continue;
        const Affine *jj, *whole = affine_constant(t->arena, b->whole);
        Body *at = tile_loop_in_chunk(t, "jj", tail ? whole : NULL, affine_add_constant(t->arena, whole, tail), b->jc, b->panels,
                                      body, &jj);
        index[0] = in_chunk(t, b, jj);
        const Affine *col = affine_scale(t->arena, jj, width), *first = affine_constant(t->arena, 0);
        int64_t rest = tail ? b->rest : 0;
        if (tile_transposed(t) && rest % t->lanes == 0) {
            Var *blocks = step_var(t->arena, t->step, VAR_INDEX, "blocks");
            body_insert_before(body, body->last, stmt_index(t->arena, blocks, INDEX_DIV, len, t->lanes, NULL));
            const Affine *kb;
            Stmt *loop = tile_loop(t, "kb", affine_var(t->arena, blocks), MARK_SERIAL, 0, &kb);
            Stmt *inner = tile_loop(t, "k", affine_constant(t->arena, t->lanes), MARK_UNROLL, 0, &k);
            body_add(at, loop);
            body_add(&loop->body, inner);
            tile_fill_row(t, outer, index, 1, affine_add(t->arena, affine_scale(t->arena, kb, t->lanes), k), col, rest,
                          &inner->body);
            first = affine_scale(t->arena, affine_var(t->arena, blocks), t->lanes);
        }
        Stmt *loop = tile_loop(t, "k", len, MARK_SERIAL, 0, &k);
        loop->lo = first;
        body_add(at, loop);
        tile_fill_row(t, outer, index, 1, k, col, rest, &loop->body);
    }
}

/* A tile goes on from what is stored, for one block of the chain. */
static void go_on(Tiling *t, const Rewrite *outer, int mr, int nv, const Affine *row, const Affine *panel, const Affine *col,
                  bool tail, Body *body) {
    const Stmt *store = only_store(&t->product);
    Elem elem = t->product.acc->temp->elem;
    Temp *acc = step_temp(t->arena, t->step, "t", elem, true, 2, (int64_t[]){mr, (int64_t)nv * t->lanes});
    const Affine *at[2];
    body_add(body, stmt_acc(t->arena, acc, expr_const(t->arena, elem, 0)));
    Rewrite r = *outer;
    Body *element = tile_elements(t, &r, mr, nv, row, col, tail, body, at);
    const Stmt *place = rewrite_stmt(&r, store);
    body_add(element, stmt_assign(t->arena, acc, at, expr_load(t->arena, place->buffer, place->index)));
    r = *outer;
    Body *inside = tile_reduction(t, &r, 0, body);
    tile_multiply_add(t, &r, acc, mr, row, panel, col, false, inside);
    tile_store(t, outer, acc, mr, nv, row, col, tail, body);
}

/* Whole tiles of the chunk, then what rows are left behind them: a smaller tile, or as many of one row as there are in a short batch. */
static void multiply(Tiling *t, const Blocks *b, const Rewrite *outer, Body *body) {
    bool fixed = affine_is_constant(b->m);
    int64_t width = (int64_t)t->nv * t->lanes;
    for (int part = 0; part < 2; part++) {
        int rest = fixed ? (int)(b->m->constant % t->mr) : t->mr > 1;
        if (part == 0 ? fixed && b->whole_tiles->constant == 0 : rest == 0) continue;
        int mr = part == 0 ? t->mr : rest;
        const Affine *ii, *row, *index[2];
        Body *at;
        if (part == 0 || fixed) {
            at = tile_loop_in_chunk(t, "ii", part ? b->whole_tiles : NULL, affine_add_constant(t->arena, b->whole_tiles, part),
                                    b->ic, b->tiles, body, &ii);
            row = affine_scale(t->arena, ii, t->mr);
        } else {
            at = tile_loop_in_chunk(t, "ii", affine_scale(t->arena, b->whole_tiles, t->mr), b->m, b->ic, b->tiles * t->mr, body,
                                    &row);
        }
        if (t->row_panel) tile_fill_rows(t, outer, 0, index, mr, row, at);
        for (int tail = 0; tail < 2; tail++) {
            if (tail ? b->rest == 0 : b->whole == 0) continue;
            const Affine *jj, *whole = affine_constant(t->arena, b->whole);
            Body *tile = tile_loop_in_chunk(t, "jj", tail ? whole : NULL, affine_add_constant(t->arena, whole, tail), b->jc,
                                            b->panels, at, &jj);
            int nv = tail ? (int)tile_over(b->rest, t->lanes) : t->nv;
            go_on(t, outer, mr, nv, row, in_chunk(t, b, jj), affine_scale(t->arena, jj, width), tail && b->rest % t->lanes, tile);
        }
    }
}

/* Neighbours along the row, each line of memory being needed for many k; or rows whose lines all meet in one set of the cache. */
static bool pack_rows(const Tiling *t) {
    if (tile_adjacent(t->rows, t->row->var)) return true;
    return t->rows->kind == EXPR_LOAD && tile_rows_meet(t);
}

/* The outer loops and those over chunks, all shared out among threads. */
static Body *open_chunks(Tiling *t, Blocks *b, Rewrite *r, Body *body) {
    const Product *p = &t->product;
    int64_t rows = b->tiles * t->mr;
    const Affine *as;
    b->m = t->row->limits[0];
    const Affine *chunks = tile_count_chunks(t, rows, &b->whole_tiles, body);
    for (int i = 0; i < p->n_outer; i++)
        if (p->outer[i] != t->row && p->outer[i] != t->col) body = tile_loop_like(t, r, p->outer[i], MARK_PARALLEL, body, &as);
    return tile_open_chunks(t, chunks, b->column_chunks, &b->ic, &b->jc, body);
}

void tile_make_blocks(Tiling *t, const StepNode *kernel, Body *body) {
    Blocks b = choose_blocks(t);
    Rewrite r = rewrite_new(t->arena, t->step);
    body = open_chunks(t, &b, &r, body);
    Dim panel[3] = {{.n = b.panels}, {.n = b.depth}, {.n = (int64_t)t->nv * t->lanes}};
    Dim rows[2] = {{.n = b.depth}, {.n = tile_over(t->mr, t->lanes) * t->lanes}};
    t->panel = tile_own_buffer(t, kernel, "panel", 3, panel);
    t->panel_reach = t->panel->bytes;
    if (pack_rows(t)) t->row_panel = tile_own_buffer(t, kernel, "rows", 2, rows);
    clear_results(t, &b, &r, body);
    body = open_block(t, &b, &r, body);
    fill_panels(t, &b, &r, body);
    multiply(t, &b, &r, body);
}
