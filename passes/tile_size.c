/*
 * tile_size.c - how large a product's tiles are: what a tile costs, for all sizes that fit the registers, and how rows and columns are cut into such tiles.
 */
#include "passes/tile.h"

/* No machine has registers for more. */
enum { MOST_ROWS = 32, MOST_VECTORS = 12 };

/* ---- what a tile costs ---- */

/* Cycles for one step of the reduction in a tile of mr x nv vectors: two fused multiply-adds and two loads a cycle, four ops in all, and chains of
 * four cycles a fma, which ten accumulators hide. What current cores have in common; only the proportions matter. Loads are not free even where the
 * multiply-adds hide them: they wait for their cache lines, more so for those of a panel in the second cache; hence tiles of few rows and wide ones. */
static double turn_cost(const Tiling *t, int mr, int nv, double panel_bytes) {
    bool far = panel_bytes > 0.8 * (double)t->machine->l1; /* the panel comes from the second cache */
    double flops = mr * nv / 2.0, loads = (t->shared ? mr * nv : mr) + nv, ops = (mr * nv + loads + 2) / 4.0, cost = 5;
    if (flops > cost) cost = flops;
    if (loads / 2 > cost) cost = loads / 2;
    if (ops > cost) cost = ops;
    if (far && nv * 2.0 > cost) cost = nv * 2.0;
    return cost + loads / 2 + (far ? nv / 4.0 : 0);
}

/* Bytes that the columns are loaded from; very many if they are computed. */
int64_t tile_column_bytes(const Tiling *t) {
    return tile_plain_load(t->cols, t->product.acc->temp->elem) ? t->cols->buffer->bytes : INT64_MAX;
}

/* All rows are packed in front (tile_nest), and those of a tile at one place of the reduction straddle two lines of the cache now and then, when
 * they are stored, too. */
static double straddling(const Tiling *t, int mr) {
    bool packed = tile_rows_are_slow(t) && tile_column_bytes(t) > t->machine->l2 / 2;
    return packed && CACHE_LINE % (mr * elem_size(t->product.acc->temp->elem)) ? 1.06 : 1;
}

/* Results go line by line, also those of half a line: a tile of many rows and one vector of AVX2 would come back for the other half when it is long gone from the first
 * cache, where rows that lie a page apart meet in one set (the update of 16384 x 1024 weights by a batch of one: 10 GB/s, 28 with whole lines). */
static double tile_cost(const Tiling *t, int mr, int nv, double k) {
    int line = CACHE_LINE / t->machine->vector_bytes;
    return k * turn_cost(t, mr, nv, k * nv * t->machine->vector_bytes) * straddling(t, mr) + 24 +
           3.0 * mr * (nv > line ? nv : line);
}

bool tile_fits_registers(const Tiling *t, int mr, int nv) { return mr * nv + nv + 1 <= t->machine->vector_registers; }

/* Code for one vector of a tile is about a line of memory, which a step that has done much else meanwhile reads from the second cache or farther: cycles for all of a tile. */
static double code_cost(int mr, int nv) { return 10.0 * mr * nv; }

/* ---- how rows and columns are cut into tiles ---- */

/* By the size of a tile: what one costs, and what its code costs once. */
typedef struct Costs {
    double tile[MOST_ROWS + 1], code[MOST_ROWS + 1];
} Costs;

static double tiles_cost(const TileCut *c, int size, const Costs *cost) {
    return (c->whole ? (double)c->whole * cost->tile[size] : 0) + (c->more ? (double)c->more * cost->tile[c->size] : 0);
}

static double cost_of(const TileCut *c, int size, const Costs *cost) {
    return tiles_cost(c, size, cost) + (c->whole ? cost->code[size] : 0) + (c->more ? cost->code[c->size] : 0);
}

/*
 * n of them in tiles of `size`. What is left behind whole tiles is one smaller tile, or several that are one smaller than whole ones, which take some of those' share: 32 rows are 2 x 6 and 4 x 5, not
 * 5 x 6 and 2, which is too few chains of multiply-adds to hide that each waits for the one before.
 */
static TileCut cut(int64_t n, int size, bool even, const Costs *cost) {
    TileCut c = {.whole = n / size, .more = n % size > 0, .size = (int)(n % size)};
    int64_t more = size - c.size, left = n - more * (size - 1);
    TileCut other = {left / size, more, size - 1};
    return even && c.size && left >= 0 && cost_of(&other, size, cost) < cost_of(&c, size, cost) ? other : c;
}

/* What is to be cut: rows and columns. */
typedef struct Sizes {
    int64_t m, n;
    bool even;    /* rows may be cut into tiles of two sizes that differ by one; columns always may */
    bool singles; /* rows behind whole tiles are made one by one */
    double tile[MOST_ROWS + 1][MOST_VECTORS + 1]; /* what each tile costs that has been looked at */
} Sizes;

/* The tiles of one panel of nv vectors, of which there are `panels`. *all: what they cost, *code: what their code costs all panels. */
static TileCut cut_rows(const Sizes *z, int mr, int nv, int64_t panels, double *all, double *code) {
    Costs cost;
    for (int i = 1; i <= mr; i++) {
        cost.tile[i] = z->tile[i][nv];
        cost.code[i] = code_cost(i, nv) / (double)panels;
    }
    TileCut c = z->singles ? (TileCut){z->m / mr, z->m % mr, 1} : cut(z->m, mr, z->even, &cost);
    *code = code_cost((c.whole ? mr : 0) + (c.more ? c.size : 0), nv);
    *all = tiles_cost(&c, mr, &cost);
    return c;
}

static TileCut whole_and_rest(const Tiling *t, int64_t n, int nv) {
    int64_t width = (int64_t)nv * t->lanes, rest = n % width;
    return (TileCut){n / width, rest > 0, (int)tile_over(rest, t->lanes)};
}

static TileCut cut_columns(const Tiling *t, const Sizes *z, int mr, int nv, double *all) {
    Costs cost;
    int64_t panels = tile_over(z->n, (int64_t)nv * t->lanes);
    for (int i = 1; i <= nv; i++) cut_rows(z, mr, i, panels, &cost.tile[i], &cost.code[i]);
    TileCut c = cut(z->n / t->lanes, nv, true, &cost);
    if (z->n % t->lanes) c = whole_and_rest(t, z->n, nv); /* one strip ends in a part of a vector */
    *all = cost_of(&c, nv, &cost);
    return c;
}

/* Sets mr, nv and the cuts; returns what all tiles cost. */
static double choose_size(Tiling *t, int64_t m, int64_t n, int64_t k, bool even) {
    bool singles = !even && t->row && !affine_is_constant(t->row->limits[0]);
    Sizes z = {.m = m, .n = n, .even = even, .singles = singles};
    int64_t vectors = tile_over(n, t->lanes);
    double best = -1, cost, code;
    t->mr = t->nv = 1;
    for (int nv = 1; nv <= MOST_VECTORS; nv++) {
        for (int mr = 1; mr <= MOST_ROWS && tile_fits_registers(t, mr, nv); mr++) {
            z.tile[mr][nv] = tile_cost(t, mr, nv, (double)k);
            if ((mr > m || nv > vectors) && (mr > 1 || nv > 1)) continue;
            cut_columns(t, &z, mr, nv, &cost);
            if (best >= 0 && cost >= best * 0.999) continue;
            best = cost;
            t->mr = mr;
            t->nv = nv;
        }
    }
    t->by_rows = cut_rows(&z, t->mr, t->nv, tile_over(vectors, t->nv), &cost, &code);
    t->by_columns = cut_columns(t, &z, t->mr, t->nv, &cost);
    return best;
}

/*
 * Few rows (a picture's one or three channels, beside the taps of a kernel): all turns of another outer loop that the columns do not see are rows of the same tile, if that
 * is faster. `cost` is that of the tiles as they are now.
 */
static void choose_fold(Tiling *t, int64_t m, int64_t n, int64_t k, double cost) {
    const Product *p = &t->product;
    const Stmt *fold = NULL;
    int64_t vectors = (n + t->lanes - 1) / t->lanes;
    for (int i = p->n_outer - 1; i >= 0 && !fold; i--)
        if (p->outer[i] != t->row && p->outer[i] != t->col && loop_turns(t->step, p->outer[i]) > 1) fold = p->outer[i];
    if (!fold || !affine_is_constant(t->row->limits[0]) || fold->n_limits != 1 || !affine_is_constant(fold->limits[0]) ||
        tile_cols_see(t, fold->var))
        return;
    int64_t turns = fold->limits[0]->constant, rows = turns * m;
    cost *= (double)turns;
    for (int nv = 1; nv <= vectors; nv++) {
        if (rows > t->machine->vector_registers || !tile_fits_registers(t, (int)rows, nv)) break;
        double folded = (double)(vectors / nv) * tile_cost(t, (int)rows, nv, (double)k);
        if (vectors % nv) folded += 1.02 * tile_cost(t, (int)rows, (int)(vectors % nv), (double)k);
        if (folded >= cost) continue;
        cost = folded;
        t->mr = (int)m;
        t->nv = nv;
        t->fold = fold;
        t->by_rows = (TileCut){.whole = 1};
        t->by_columns = whole_and_rest(t, n, nv);
    }
}

static int strided_loads(const Expr *e, const Var *v) {
    int n = e->kind == EXPR_LOAD && access_stride(e->buffer, e->n_index, e->index, v) > 1;
    for (int i = 0; i < e->n_args; i++) n += strided_loads(e->args[i], v);
    return n;
}

/*
 * Few columns beside many rows that are neighbours in memory (x' @ dy, ten outputs): vectors along the columns would be mostly empty and tiles one vector
 * wide, which load a number for each multiply-add. Vectors along the rows are better even though their results are scattered, if chains are long enough.
 * `cost` is that of the tiles as they are now.
 */
static void turn_around(Tiling *t, int64_t m, int64_t n, int64_t k, double cost) {
    const Product *p = &t->product;
    if (t->piece || t->shared || t->lanes == 1 || !t->row || !affine_is_constant(t->row->limits[0])) return;
    if (!tile_plain_load(t->rows, p->acc->temp->elem) || !tile_adjacent(t->rows, t->row->var)) return;
    Tiling turned = *t;
    turned.row = t->col;
    turned.col = t->row;
    turned.rows = t->cols;
    turned.cols = t->rows;
    double apart = 0; /* cycles an element, for what is gathered and scattered */
    for (const Stmt *s = p->epilogue; s; s = s->next) {
        if (s->value) apart += strided_loads(s->value, turned.col->var);
        if (s->kind == STMT_STORE) apart += 1.5 * (access_stride(s->buffer, s->n_index, s->index, turned.col->var) != 1);
    }
    if (choose_size(&turned, n, m, k, true) + apart * (double)(m * n) < 0.8 * cost) *t = turned;
}

/* ---- what tile_make.c asks ---- */

bool tile_any_columns(const Tiling *t, int part) { return part ? t->by_columns.more > 0 : t->by_columns.whole > 0; }

TilePart tile_part(const Tiling *t, int part) {
    const TileCut *c = &t->by_columns;
    int64_t n = loop_turns(t->step, t->col), width = (int64_t)c->size * t->lanes;
    if (part == 0) return (TilePart){.end = c->whole, .nv = t->nv};
    bool tail = n % t->lanes != 0; /* then it is the only one */
    return (TilePart){c->whole, c->whole + c->more, c->size, tail ? n - c->whole * t->nv * t->lanes : width, tail};
}

const Affine *tile_panel_column(Tiling *t, int part, const Affine *panel) {
    const TileCut *c = &t->by_columns;
    int64_t width = (int64_t)t->nv * t->lanes;
    if (part == 0) return affine_scale(t->arena, panel, width);
    const Affine *q = affine_add_constant(t->arena, panel, -c->whole);
    return affine_add_constant(t->arena, affine_scale(t->arena, q, (int64_t)c->size * t->lanes), c->whole * width);
}

const Affine *tile_more_row(Tiling *t, const Affine *q) {
    return affine_add_constant(t->arena, affine_scale(t->arena, q, t->by_rows.size), t->by_rows.whole * t->mr);
}

double tile_row_cost(const Tiling *t, int64_t n, int64_t k) {
    Tiling tried = *t;
    int64_t m = loop_turns(t->step, t->row);
    double cost = choose_size(&tried, m, n, k, true);
    const TileCut *r = &tried.by_rows, *c = &tried.by_columns;
    cost -= code_cost((r->whole ? tried.mr : 0) + (r->more ? r->size : 0),
                      (c->whole ? tried.nv : 0) + (c->more ? c->size : 0)); /* read once for all outer loops */
    return cost / (double)m * (tile_rows_are_far(t) ? 1.1 : 1);             /* what their lines cost that no other row shares */
}

void tile_choose_size(Tiling *t, int64_t m, int64_t n, int64_t k) {
    bool blocks = tile_blocks_fit(t), chain = tile_chain_fits(t);
    if (blocks && k > TILE_DEPTH) k = TILE_DEPTH;
    if (chain && k > tile_chain_depth(t)) k = tile_chain_depth(t);
    double cost = choose_size(t, m, n, k, !blocks && !chain);
    if (chain)
        choose_fold(t, m, n, k, cost);
    else
        turn_around(t, m, n, k, cost);
}
