/*
 * tile_few.c - few rows beside a large matrix (a batch of one): every number of the matrix is used for one or a few multiply-adds, so what counts is the order in which memory
 * is read.
 *
 *   for j in 0..4096 { acc s = 0 ; for k in 0..4096 { s = fma(%x[0, k], %w[k, j], s) } ; %h[0, j] = s + %b[j] }
 *   =>  the matrix lies along the columns: eight rows of it at a time, along a page of each, while the chains of so many columns wait in the first cache
 *       for jj in 0..4 parallel {
 *         for j in 0..1024 vector 16 { %sums[0, j] = 0 }
 *         for k0 in 0..4096 by 8, jt in 16*jj..16*jj + 16 {
 *           acc t: f32[1, 64] = %sums[...] ; for k in 0..8 unroll { t[0, j] = fma(%x[0, k0 + k], %w[k0 + k, 64*jt + j], t[0, j]) } ; %sums[...] = t
 *         }
 *         for jt { acc t = %sums[...] ; what is left of the chain ; %h[0, 64*jt + j] = t[0, j] + %b[...] }
 *       }
 *
 *   for j in 0..4096 { acc s = 0 ; for k in 0..4096 { s = fma(%x[0, k], %w[j, k], s) } ; .. }
 *   =>  the matrix lies along the chain: a block of sixteen rows, one line of memory of each, is turned through registers and multiplied with at once
 *       for jj in 0..256 parallel {
 *         acc t: f32[1, 16] = 0
 *         for k0 in 0..4096 by 16 {
 *           for k in 0..16 unroll, j in 0..16 vector 16 { %block[k, j] = %w[16*jj + j, k0 + k] }
 *           for k in 0..16 unroll { t[0, j] = fma(%x[0, k0 + k], %block[k, j], t[0, j]) }
 *         }
 *         ..
 *       }
 *
 * A strip of some hundred columns, as tiles of many rows have it, goes to another page of memory at every k: what fetches lines ahead of a core begins anew each time. A panel
 * for a single row would be written and read once for each time that the matrix is read. A chain that is interrupted goes on from the number that was stored: it is the
 * same chain. Where the matrix lies along the chain, what is left behind whole tiles or whole blocks is turned as a whole block again, of which a part is used.
 *
 * Not done: rows whose number is known at run time only, unless it is one at most; several reduced loops.
 */
#include "passes/tile.h"

enum {
    STREAMS = 8,         /* rows of memory that are read side by side, which what fetches ahead follows with ease */
    LINES_AHEAD = 4,     /* the part of a row in a block is one line of memory: too short a stream to be noticed in time */
    FEW_SHARED = 4,      /* turns of the shared loops that are worth pages cut in half */
    BYTES_PER_CYCLE = 8, /* that a core gets from memory, at most */
};

typedef struct Few {
    Tiling *t;
    int64_t depth;              /* steps of the chain at a time */
    int64_t n, width;           /* columns; of a tile */
    int64_t tiles, strip;       /* whole tiles; in a strip (along columns) */
    bool across, far;           /* the matrix lies along the chain; no cache of a core holds it */
    Buffer *scratch;            /* %sums[i, j] of a strip, or %block[k, j] */
    Buffer *rows;               /* %rows[i, k] of a block; NULL: read where they lie */
    const Affine *lo, **limits; /* of the chain, in the new loops */
    const Affine *rest;         /* where its blocks end; NULL: they are the whole chain */
} Few;

/* ---- when ---- */

/* All rows of the product, if they are so few that their multiply-adds, two a cycle, take half of the time that a vector of the matrix takes to come, and if nothing else reads the
 * matrix again; else 0. */
static int64_t all_rows(const Tiling *t) {
    const Product *p = &t->product;
    int64_t rows = t->row ? loop_turns(t->step, t->row) : 1;
    for (int i = 0; i < p->n_outer; i++)
        if (p->outer[i] != t->row && p->outer[i] != t->col && !tile_cols_see(t, p->outer[i]->var) &&
            loop_turns(t->step, p->outer[i]) != 1)
            return 0;
    if (t->row && !affine_is_constant(t->row->limits[0])) return 0;
    return rows <= t->machine->vector_bytes / BYTES_PER_CYCLE ? rows : 0;
}

/* Chains that begin and end where their own loop says, at places that index lets of the nest have no part in. */
static bool chains_fit(const Tiling *t) {
    const Product *p = &t->product;
    if (p->n_reduce != 1 || p->bounds[0].n) return false;
    for (size_t i = 0; i < t->inner.n; i++)
        if (t->inner.at[i]->kind == STMT_INDEX && tile_bounds_use(t, t->inner.at[i]->var)) return false;
    return true;
}

/* Bytes of the matrix that one set of chains reads. */
static int64_t matrix_bytes(const Tiling *t) {
    const Affine *k = tile_extent(t->product.reduce[0]);
    int64_t turns = affine_is_constant(k) ? k->constant : loop_turns(t->step, t->product.reduce[0]);
    return loop_turns(t->step, t->col) * turns * elem_size(t->cols->elem);
}

bool tile_few_rows(const Tiling *t, bool pack, TileFew *how) {
    const Elem elem = t->product.acc->temp->elem;
    int64_t rows = all_rows(t), n = loop_turns(t->step, t->col), line = CACHE_LINE / elem_size(elem);
    if (rows == 0 || t->lanes == 1 || !chains_fit(t) || !tile_plain_load(t->cols, elem)) return false;
    const Affine *extent = tile_extent(t->product.reduce[0]);
    how->rows = (int)rows;
    how->across = tile_transposed(t);
    if (how->across) {
        how->nv = t->lanes < STREAMS && n >= STREAMS ? STREAMS / t->lanes : 1;
        return n >= t->lanes && tile_fits_registers(t, how->rows, how->nv) && affine_is_constant(extent) &&
               extent->constant >= line;
    }
    for (how->nv = 4; how->nv > 1 && !tile_fits_registers(t, how->rows, how->nv);) how->nv /= 2;
    return !pack && tile_adjacent(t->cols, t->col->var) && matrix_bytes(t) > t->machine->l2 && n > t->nv * t->lanes &&
           loop_turns(t->step, t->product.reduce[0]) >= 2 * STREAMS;
}

/* ---- the chain in blocks ---- */

/* Is x a multiple of the depth, whatever its variables are? */
static bool whole(const Few *f, const Affine *x) {
    bool yes = x->constant % f->depth == 0;
    for (int i = 0; i < x->n; i++) yes &= x->term[i].factor % f->depth == 0;
    return yes;
}

/* How long the chain is by this limit. */
static const Affine *length(const Few *f, const Affine *limit) {
    return affine_add(f->t->arena, limit, affine_scale(f->t->arena, f->lo, -1));
}

/* Finds out where the chain's blocks end; what has to be computed for it when the program runs is added to the body. */
static void read_chain(Few *f, const Rewrite *r, Body *body) {
    Tiling *t = f->t;
    const Stmt *old = t->product.reduce[0];
    bool even = true;
    f->lo = rewrite_affine(r, old->lo);
    f->limits = arena_make_n(t->arena, const Affine *, (size_t)old->n_limits);
    Expr *len = NULL;
    for (int i = 0; i < old->n_limits; i++) {
        f->limits[i] = rewrite_affine(r, old->limits[i]);
        even &= whole(f, length(f, f->limits[i]));
        Expr *x = expr_index(t->arena, I64, length(f, f->limits[i]));
        len = len ? expr_op(t->arena, OP_min, I64, 2, (Expr *[]){len, x}) : x;
    }
    f->rest = NULL;
    if (even) return;
    if (!t->piece) {
        f->rest = affine_constant(t->arena, f->limits[0]->constant / f->depth * f->depth);
        return;
    }
    Var *v = step_var(t->arena, t->step, VAR_INDEX, "len"), *q = step_var(t->arena, t->step, VAR_INDEX, "blocks");
    len = expr_op(t->arena, OP_max, I64, 2, (Expr *[]){expr_const(t->arena, I64, 0), len});
    body_add(body, stmt_index(t->arena, v, INDEX_VALUE, NULL, 0, len));
    body_add(body, stmt_index(t->arena, q, INDEX_DIV, affine_var(t->arena, v), f->depth, NULL));
    f->rest = affine_add(t->arena, f->lo, affine_scale(t->arena, affine_var(t->arena, q), f->depth));
}

/* A loop over the whole blocks of the chain; *k0: where each begins. */
static Body *open_blocks(Few *f, Body *body, const Affine **k0) {
    Tiling *t = f->t;
    const Stmt *old = t->product.reduce[0];
    Stmt *loop = tile_loop(t, intern_printf("%s.0", old->var->name), f->limits[0], MARK_SERIAL, 0, k0);
    const Affine **limits = arena_make_n(t->arena, const Affine *, (size_t)old->n_limits);
    for (int i = 0; i < old->n_limits; i++) {
        limits[i] = f->limits[i];
        if (!whole(f, length(f, limits[i])))
            limits[i] = t->piece ? affine_add_constant(t->arena, limits[i], 1 - f->depth) : f->rest;
    }
    loop->lo = f->lo;
    loop->step = f->depth;
    loop->limits = limits;
    loop->n_limits = old->n_limits;
    body_add(body, loop);
    return &loop->body;
}

/* One turn of the chain for all places of the tile. at: the row of the block that it reads, from column `shift` on; NULL: the columns where they lie, from `col` on. */
static void multiply_add(Few *f, const Rewrite *outer, Temp *acc, const Affine *k, const Affine *at, int64_t shift,
                         const Affine *col, bool tail, Body *body) {
    Tiling *t = f->t;
    const Affine *i, *j;
    Rewrite r = *outer;
    Stmt *rows = tile_loop(t, "i", affine_constant(t->arena, acc->dim[0]), MARK_UNROLL, 0, &i),
         *cols = tile_loop(t, "j", affine_constant(t->arena, acc->dim[1]), MARK_VECTOR, t->lanes, &j);
    body_add(body, rows);
    body_add(&rows->body, cols);
    if (t->row) rewrite_var(&r, t->row->var, i);
    rewrite_var(&r, t->product.reduce[0]->var, k);
    Expr *x = at && f->rows ? expr_load(t->arena, f->rows, (const Affine *[]){i, at}) : rewrite_expr(&r, t->rows), *y;
    if (at) {
        y = expr_load(t->arena, f->scratch, (const Affine *[]){at, affine_add_constant(t->arena, j, shift)});
    } else {
        rewrite_var(&r, t->col->var, affine_add(t->arena, col, j));
        r.guard = tail;
        y = rewrite_expr(&r, t->cols);
    }
    const Affine *index[2] = {i, j};
    Expr *args[3] = {x, y, expr_temp(t->arena, acc, index)};
    body_add(&cols->body, stmt_assign(t->arena, acc, index, expr_op(t->arena, OP_fma, acc->elem, 3, args)));
}

/* The turns behind the blocks, columns where they lie. */
static void multiply_rest(Few *f, const Rewrite *r, Temp *acc, const Affine *col, bool tail, Body *body) {
    Tiling *t = f->t;
    const Stmt *old = t->product.reduce[0];
    if (!f->rest) return;
    const Affine *k;
    Stmt *loop = tile_loop(t, old->var->name, f->limits[0], t->piece ? MARK_SERIAL : MARK_UNROLL, 0, &k);
    loop->lo = f->rest;
    for (int i = 1; i < old->n_limits; i++) stmt_add_limit(t->arena, loop, f->limits[i]);
    body_add(body, loop);
    multiply_add(f, r, acc, k, NULL, 0, col, tail, &loop->body);
}

/* All rows, nv vectors of columns from `col` on. */
static Tile new_tile(Few *f, int64_t nv, const Affine *col, bool tail, Body *body) {
    Tile tile = {.mr = f->t->mr, .nv = (int)nv, .row = affine_constant(f->t->arena, 0), .col = col, .tail = tail};
    tile_declare(f->t, &tile, body);
    return tile;
}

static const Affine *times(const Few *f, const Affine *x, int64_t factor) { return affine_scale(f->t->arena, x, factor); }

/* ---- the matrix lies along the columns ---- */

/* t = sums, or sums = t. col: of the tile in the strip. */
static void move_sums(Few *f, Temp *acc, const Affine *col, bool save, Body *body) {
    Tiling *t = f->t;
    const Affine *at[2], *place[2];
    Stmt *rows = tile_loop(t, "i", affine_constant(t->arena, acc->dim[0]), MARK_UNROLL, 0, &at[0]),
         *cols = tile_loop(t, "j", affine_constant(t->arena, acc->dim[1]), MARK_VECTOR, t->lanes, &at[1]);
    body_add(body, rows);
    body_add(&rows->body, cols);
    place[0] = at[0];
    place[1] = affine_add(t->arena, col, at[1]);
    body_add(&cols->body, save ? stmt_store(t->arena, f->scratch, place, expr_temp(t->arena, acc, at))
                               : stmt_assign(t->arena, acc, at, expr_load(t->arena, f->scratch, place)));
}

static void clear_sums(Few *f, Body *body) {
    Tiling *t = f->t;
    const Affine *at[2];
    Stmt *rows = tile_loop(t, "i", affine_constant(t->arena, t->mr), MARK_UNROLL, 0, &at[0]),
         *cols = tile_loop(t, "j", affine_constant(t->arena, f->strip * f->width), MARK_VECTOR, t->lanes, &at[1]);
    body_add(body, rows);
    body_add(&rows->body, cols);
    body_add(&cols->body, stmt_store(t->arena, f->scratch, at, expr_const(t->arena, f->scratch->elem, 0)));
}

/* All tiles of strip jj, for the block that begins at k0; NULL: for what is left of the chain, and the epilogue. */
static void pass_over_strip(Few *f, const Rewrite *r, const Affine *jj, const Affine *k0, Body *around) {
    Tiling *t = f->t;
    const Affine *first = times(f, jj, f->strip), *end = affine_add_constant(t->arena, first, f->strip), *jt, *k;
    int64_t rest = f->n % f->width;
    for (int behind = 0; behind < 2; behind++) {
        if (behind ? !rest : !f->tiles) continue;
        Stmt *loop = tile_loop(t, "jt", affine_constant(t->arena, f->tiles + behind), MARK_SERIAL, 0, &jt);
        loop->lo = behind ? affine_constant(t->arena, f->tiles) : first;
        if (behind || f->tiles % f->strip) {
            stmt_add_limit(t->arena, loop, end);
        } else {
            loop->limits[0] = end;
        }
        body_add(around, loop);
        int64_t nv = behind ? tile_over(rest, t->lanes) : t->nv;
        bool tail = behind && rest % t->lanes;
        const Affine *col = times(f, jt, f->width), *place = affine_add(t->arena, col, times(f, first, -f->width));
        Body *body = &loop->body;
        Tile tile = new_tile(f, nv, col, tail, body);
        move_sums(f, tile.acc, place, false, body);
        if (k0) {
            Stmt *turns = tile_loop(t, t->product.reduce[0]->var->name, affine_constant(t->arena, f->depth), MARK_UNROLL, 0, &k);
            body_add(body, turns);
            multiply_add(f, r, tile.acc, affine_add(t->arena, k0, k), NULL, 0, col, tail, &turns->body);
            move_sums(f, tile.acc, place, true, body);
        } else {
            multiply_rest(f, r, tile.acc, col, tail, body);
            tile_store(t, r, &tile, body);
        }
    }
}

/* Strips of about a page of each row of the matrix; of half a page where there would be too few of them to share; all of them alike. */
static void choose_strip(Few *f, int64_t sets) {
    const Tiling *t = f->t;
    int64_t all = tile_over(f->n, f->width), bytes = f->width * elem_size(t->cols->elem);
    f->strip = PAGE / bytes > 1 ? PAGE / bytes : 1;
    bool many = t->mr * f->strip * bytes > t->machine->l1 / 2, alone = sets * tile_over(all, f->strip) < FEW_SHARED;
    if ((many || alone) && f->strip > 1) f->strip /= 2;
    f->strip = tile_over(all, tile_over(all, f->strip));
}

static void make_along(Few *f, const Rewrite *r, const Affine *jj, Body *body) {
    const Affine *k0;
    clear_sums(f, body);
    pass_over_strip(f, r, jj, k0, open_blocks(f, body, &k0));
    pass_over_strip(f, r, jj, NULL, body);
}

/* ---- the matrix lies along the chain ---- */

/* Rows whose lines all lie in the set of the cache that the matrix's lines come to: each would be fetched again for each k. */
static bool rows_collide(const Tiling *t) {
    const Stmt *last = t->product.reduce[0];
    if (t->mr == 1 || !tile_plain_load(t->rows, t->product.acc->temp->elem) || !tile_adjacent(t->rows, last->var)) return false;
    return tile_rows_meet(t);
}

/* rows[i, k] = rows at (i, k0 + k) */
static void fill_rows(Few *f, const Rewrite *outer, const Affine *k0, Body *body) {
    Tiling *t = f->t;
    const Affine *at[2];
    Rewrite r = *outer;
    Stmt *rows = tile_loop(t, "i", affine_constant(t->arena, t->mr), MARK_UNROLL, 0, &at[0]),
         *turns = tile_loop(t, "k", affine_constant(t->arena, f->depth), MARK_VECTOR, t->lanes, &at[1]);
    body_add(body, rows);
    body_add(&rows->body, turns);
    rewrite_var(&r, t->row->var, at[0]);
    rewrite_var(&r, t->product.reduce[0]->var, affine_add(t->arena, k0, at[1]));
    body_add(&turns->body, stmt_store(t->arena, f->rows, at, rewrite_expr(&r, t->rows)));
}

/* block[k, j] = cols at (k0 + k, col + j), blocks of lanes x lanes after one another. */
static void fill_block(Few *f, const Rewrite *outer, const Affine *k0, const Affine *col, Body *body) {
    Tiling *t = f->t;
    const Affine *kb = affine_constant(t->arena, 0), *k, *at[2];
    Rewrite r = *outer;
    if (f->rows) fill_rows(f, outer, k0, body);
    if (f->depth > t->lanes) {
        Stmt *blocks = tile_loop(t, "kb", affine_constant(t->arena, f->depth / t->lanes), MARK_UNROLL, 0, &kb);
        body_add(body, blocks);
        body = &blocks->body;
    }
    Stmt *loop = tile_loop(t, "k", affine_constant(t->arena, t->lanes), MARK_UNROLL, 0, &k),
         *cols = tile_loop(t, "j", affine_constant(t->arena, f->width), MARK_VECTOR, t->lanes, &at[1]);
    body_add(body, loop);
    body_add(&loop->body, cols);
    at[0] = affine_add(t->arena, times(f, kb, t->lanes), k);
    rewrite_var(&r, t->product.reduce[0]->var, affine_add(t->arena, k0, at[0]));
    rewrite_var(&r, t->col->var, affine_add(t->arena, col, at[1]));
    body_add(&cols->body, stmt_store(t->arena, f->scratch, at, rewrite_expr(&r, t->cols)));
}

static void fetch_ahead(Few *f, const Rewrite *outer, const Affine *k0, const Affine *col, Body *body) {
    Tiling *t = f->t;
    const Affine *j;
    Rewrite r = *outer;
    if (!f->far) return;
    Stmt *loop = tile_loop(t, "j", affine_constant(t->arena, f->width), MARK_UNROLL, 0, &j);
    body_add(body, loop);
    rewrite_var(&r, t->product.reduce[0]->var, affine_add_constant(t->arena, k0, LINES_AHEAD * f->depth));
    rewrite_var(&r, t->col->var, affine_add(t->arena, col, j));
    tile_prefetch(t, rewrite_expr(&r, t->cols), &loop->body);
}

/* The tile of the columns from `col` on, which lie in the blocks from `shift` on. */
static void make_across(Few *f, const Rewrite *r, int64_t nv, const Affine *col, int64_t shift, bool tail, Body *body) {
    Tiling *t = f->t;
    const Affine *k0, *k, *from = affine_add_constant(t->arena, col, -shift);
    Tile tile = new_tile(f, nv, col, tail, body);
    Body *inside = open_blocks(f, body, &k0);
    fetch_ahead(f, r, k0, from, inside);
    fill_block(f, r, k0, from, inside);
    Stmt *turns = tile_loop(t, t->product.reduce[0]->var->name, affine_constant(t->arena, f->depth), MARK_UNROLL, 0, &k);
    body_add(inside, turns);
    multiply_add(f, r, tile.acc, affine_add(t->arena, k0, k), k, shift, NULL, false, &turns->body);
    if (f->rest && !t->piece) { /* a whole block again, of which the last turns are new */
        int64_t end = f->limits[0]->constant, begin = end - f->depth;
        fill_block(f, r, affine_constant(t->arena, begin), from, body);
        turns = tile_loop(t, t->product.reduce[0]->var->name, affine_constant(t->arena, f->depth), MARK_UNROLL, 0, &k);
        turns->lo = affine_constant(t->arena, f->rest->constant - begin);
        body_add(body, turns);
        multiply_add(f, r, tile.acc, affine_add_constant(t->arena, k, begin), k, shift, NULL, false, &turns->body);
    } else {
        multiply_rest(f, r, tile.acc, col, tail, body);
    }
    tile_store(t, r, &tile, body);
}

/* What the last tile reads behind the columns of its blocks is never stored, but what may lie there (denormal numbers) is slow to compute with. */
static void clear_behind(Few *f, Body *body) {
    Tiling *t = f->t;
    const Affine *k, *j;
    Stmt *rows = tile_loop(t, "k", affine_constant(t->arena, f->depth), MARK_UNROLL, 0, &k),
         *cols = tile_loop(t, "j", affine_constant(t->arena, f->width), MARK_VECTOR, t->lanes, &j);
    body_add(body, rows);
    body_add(&rows->body, cols);
    const Affine *at[2] = {k, affine_add_constant(t->arena, j, f->width)};
    body_add(&cols->body, stmt_store(t->arena, f->scratch, at, expr_const(t->arena, f->scratch->elem, 0)));
}

/* Tile jj; what is left of the columns is one turn more. */
static void make_tiles_across(Few *f, const Rewrite *r, const Affine *jj, Body *body) {
    Tiling *t = f->t;
    int64_t rest = f->n % f->width;
    for (int behind = 0; behind < 2; behind++) {
        if (behind ? !rest : !f->tiles) continue;
        Body *turn = rest ? tile_turns_if(t, jj, f->tiles, behind, body) : body;
        if (behind && rest % t->lanes) clear_behind(f, turn);
        if (behind)
            make_across(f, r, tile_over(rest, t->lanes), affine_constant(t->arena, f->tiles * f->width), f->width - rest,
                        rest % t->lanes != 0, turn);
        else
            make_across(f, r, t->nv, times(f, jj, f->width), 0, false, turn);
    }
}

/* ---- both ---- */

static void make_scratch(Few *f, const StepNode *kernel) {
    if (f->across) { /* columns that are left begin somewhere in a row of the block and may end behind it */
        Dim block[2] = {{.n = f->depth}, {.n = f->n % f->t->lanes ? 2 * f->width : f->width}};
        Dim rows[2] = {{.n = f->t->mr}, {.n = f->depth}};
        f->scratch = tile_own_buffer(f->t, kernel, "block", 2, block);
        if (rows_collide(f->t)) f->rows = tile_own_buffer(f->t, kernel, "rows", 2, rows);
    } else {
        Dim sums[2] = {{.n = f->t->mr}, {.n = f->strip * f->width}};
        f->scratch = tile_own_buffer(f->t, kernel, "sums", 2, sums);
    }
}

void tile_make_few(Tiling *t, const StepNode *kernel, const TileFew *how, Body *body) {
    const Product *p = &t->product;
    int size = elem_size(p->acc->temp->elem);
    t->mr = how->rows;
    t->nv = how->nv;
    Few f = {.t = t, .across = how->across, .depth = how->across ? CACHE_LINE / size : STREAMS, .n = loop_turns(t->step, t->col)};
    f.width = (int64_t)t->nv * t->lanes;
    f.tiles = f.n / f.width;
    f.far = matrix_bytes(t) > t->machine->l2;
    Rewrite r = rewrite_new(t->arena, t->step);
    const Affine *as, *jj;
    int64_t sets = 1;
    for (int i = 0; i < p->n_outer; i++) {
        if (p->outer[i] == t->row || p->outer[i] == t->col) continue;
        body = tile_loop_like(t, &r, p->outer[i], MARK_PARALLEL, body, &as);
        sets *= loop_turns(t->step, p->outer[i]);
    }
    if (!f.across) choose_strip(&f, sets);
    make_scratch(&f, kernel);
    int64_t turns = tile_over(f.n, f.across ? f.width : f.strip * f.width);
    Stmt *loop = tile_loop(t, "jj", affine_constant(t->arena, turns), MARK_PARALLEL, 0, &jj);
    body_add(body, loop);
    read_chain(&f, &r, &loop->body);
    if (f.across)
        make_tiles_across(&f, &r, jj, &loop->body);
    else
        make_along(&f, &r, jj, &loop->body);
}
