/*
 * tile_make.c - register tiles, and the loops around them.
 *
 *   for jj parallel { [own panel packed] for ii parallel {       strip: all tiles of one width, columns by columns; an own panel is packed by the first tile, which reads
 *                                                                the columns where they lie, or before it if they lie along the chain
 *   for ig parallel { [rows packed] for jj { for ii {            tall: rows by rows, where rows are packed a group of tiles at a time, or all columns fit the first
 *                                                                cache (then a group is one tile): results are written in the order of memory, by one thread each
 *
 * What is left over makes a smaller tile or a narrower panel, or several that are one smaller than whole ones (tile_size.c). If how many rows there are is known at run time only, tiles are cut as a
 * whole batch needs them, and what is left of a short one makes tiles of one row. A last vector that is not full is masked.
 */
#include "passes/tile.h"

/* ---- the tile ---- */

void tile_add_bounds(Tiling *t, Rewrite *r, Body *body) {
    for (size_t k = 0; t->piece && k < t->inner.n; k++)
        if (t->inner.at[k]->kind == STMT_INDEX && tile_bounds_use(t, t->inner.at[k]->var))
            body_add(body, rewrite_stmt(r, t->inner.at[k]));
}

Body *tile_reduction(Tiling *t, Rewrite *r, int mr, int first, Body *body) {
    Product *p = &t->product;
    int turns = mr < t->mr && mr == 1 ? 1 /* of a short batch: made seldom */
                : !t->piece           ? 4
                : t->mr * t->nv >= 16 ? 1
                : t->mr * t->nv >= 8  ? 2
                                      : 4; /* pieces are many kernels: no larger than need be */
    for (int i = 0; i < p->n_reduce; i++) {
        bool last = i == p->n_reduce - 1;
        const Affine *as;
        for (size_t k = 0; k < p->bounds[i].n; k++) body_add(body, rewrite_stmt(r, p->bounds[i].at[k]));
        Body *inside = tile_loop_like(t, r, p->reduce[i], last && turns > 1 ? MARK_UNROLL : MARK_SERIAL, body, &as);
        if (last && turns > 1) body->last->width = turns;
        if (last && first) body->last->lo = affine_constant(t->arena, first);
        body = inside;
    }
    return body;
}

void tile_declare(Tiling *t, Tile *tile, Body *body) {
    Elem elem = t->product.acc->temp->elem;
    tile->acc = step_temp(t->arena, t->step, "t", elem, true, 2, (int64_t[]){tile->mr, (int64_t)tile->nv * t->lanes});
    body_add(body, stmt_acc(t->arena, tile->acc, expr_const(t->arena, elem, 0)));
}

static Stmt *loop_rows(Tiling *t, const Tile *tile, const Affine **i) {
    return tile_loop(t, "i", affine_constant(t->arena, tile->mr), MARK_UNROLL, 0, i);
}

static Stmt *loop_columns(Tiling *t, const Tile *tile, const Affine **j) {
    return tile_loop(t, "j", affine_constant(t->arena, tile->acc->dim[1]), t->lanes > 1 ? MARK_VECTOR : MARK_UNROLL,
                     t->lanes > 1 ? t->lanes : 0, j);
}

void tile_store(Tiling *t, const Rewrite *outer, const Tile *tile, Body *body) {
    Product *p = &t->product;
    Rewrite r = *outer;
    const Affine *at[2];
    Stmt *rows = loop_rows(t, tile, &at[0]);
    body_add(body, rows);
    if (t->row) rewrite_var(&r, t->row->var, affine_add(t->arena, tile->row, at[0]));
    for (size_t k = 0; k < t->inner.n; k++)
        if (!t->of_column[k]) body_add(&rows->body, rewrite_stmt(&r, t->inner.at[k]));
    Stmt *cols = loop_columns(t, tile, &at[1]);
    const Affine *n = affine_constant(t->arena, loop_turns(t->step, t->col));
    if (tile->tail) stmt_add_limit(t->arena, cols, affine_add(t->arena, n, affine_scale(t->arena, tile->col, -1)));
    body_add(&rows->body, cols);
    rewrite_var(&r, t->col->var, affine_add(t->arena, tile->col, at[1]));
    rewrite_temp(&r, p->acc->temp, expr_temp(t->arena, tile->acc, at));
    for (size_t k = 0; k < t->inner.n; k++)
        if (t->of_column[k]) body_add(&cols->body, rewrite_stmt(&r, t->inner.at[k]));
    for (const Stmt *s = p->epilogue; s; s = s->next) body_add(&cols->body, rewrite_stmt(&r, s));
}

/* Is the buffer out of reach of the second cache: a parameter or state, or a temporary that is larger? */
static bool lies_far(const Tiling *t, const Buffer *b) {
    return b->place == PLACE_SLOT || (b->place == PLACE_NONE && b->bytes > t->machine->l2);
}

typedef struct Ahead {
    Tiling *t;
    const Rewrite *outer;
    int nv;
    const Affine *at, *col; /* the row, and the tile's first column */
    Body *body;
    const Buffer *done[NEST_MAX];
    int n;
} Ahead;

static void prefetch_access(Ahead *a, Buffer *b, const Affine *const *index, int n_index) {
    const Tiling *t = a->t;
    if (!lies_far(t, b) || access_stride(b, n_index, index, t->row->var) == 0 ||
        access_stride(b, n_index, index, t->col->var) != 1)
        return;
    for (int i = 0; i < a->n; i++)
        if (a->done[i] == b) return;
    if (a->n == NEST_MAX) return;
    a->done[a->n++] = b;
    int line = CACHE_LINE / elem_size(b->elem);
    for (int j = 0; j < a->nv * t->lanes; j += line) {
        Rewrite r = *a->outer;
        rewrite_var(&r, t->row->var, a->at);
        rewrite_var(&r, t->col->var, affine_add_constant(t->arena, a->col, j));
        const Affine **place = arena_make_n(t->arena, const Affine *, n_index + 1);
        for (int i = 0; i < n_index; i++) place[i] = rewrite_affine(&r, index[i]);
        body_add(a->body, stmt_prefetch(t->arena, b, place));
    }
}

static void prefetch_loads(Ahead *a, const Expr *e) {
    if (e->kind == EXPR_LOAD) prefetch_access(a, e->buffer, e->index, e->n_index);
    for (int i = 0; i < e->n_args; i++) prefetch_loads(a, e->args[i]);
}

/* The places of the tile that the epilogue will read and write: by the time the chains are done, row `at` is in the cache. Rows of a tile are far apart in
 * memory, which no prefetcher of the machine guesses; and a line that is only written is read first, too. */
static void prefetch_row(Tiling *t, const Rewrite *outer, int nv, const Affine *at, const Affine *col, Body *body) {
    Ahead a = {.t = t, .outer = outer, .nv = nv, .at = at, .col = col, .body = body};
    for (const Stmt *s = t->product.epilogue; s; s = s->next) {
        if (s->value) prefetch_loads(&a, s->value);
        if (s->kind == STMT_STORE) prefetch_access(&a, s->buffer, s->index, s->n_index);
    }
}

/* The first mr turns of the reduction prefetch a row each; the others follow in `reduction`. */
static void prefetching_turns(Tiling *t, const Rewrite *outer, const Tile *tile, Body *body) {
    const Stmt *old = t->product.reduce[0];
    const Affine *k, **limits = arena_make_n(t->arena, const Affine *, 2);
    Rewrite r = *outer;
    limits[0] = affine_constant(t->arena, tile->mr);
    limits[1] = rewrite_affine(&r, old->limits[0]);
    Stmt *loop = tile_loop(t, old->var->name, limits[0], MARK_SERIAL, 0, &k);
    loop->limits = limits;
    loop->n_limits = 2;
    rewrite_var(&r, old->var, k);
    body_add(body, loop);
    prefetch_row(t, &r, tile->nv, affine_add(t->arena, tile->row, k), tile->col, &loop->body);
    tile_multiply_add(t, &r, tile, &loop->body);
}

/* Does it read something far, a row of it for each row of the tile? */
static bool reads_far(const Tiling *t, const Expr *e) {
    if (e->kind == EXPR_LOAD && lies_far(t, e->buffer) && e->buffer->bytes > t->machine->l1 && expr_uses_var(e, t->row->var))
        return true;
    for (int i = 0; i < e->n_args; i++)
        if (reads_far(t, e->args[i])) return true;
    return false;
}

static bool worth_prefetching(const Tiling *t, int mr) {
    const Product *p = &t->product;
    if (!t->row || t->piece || p->n_reduce != 1 || loop_turns(t->step, p->reduce[0]) < 2 * mr) return false;
    for (const Stmt *s = p->epilogue; s; s = s->next) {
        if (s->kind == STMT_STORE && lies_far(t, s->buffer) && s->buffer->bytes > t->machine->l1) return true;
        if (s->value && reads_far(t, s->value)) return true;
    }
    return false;
}

static void make_tile(Tiling *t, const Rewrite *outer, Tile tile, Body *body) {
    tile_declare(t, &tile, body);
    Rewrite r = *outer;
    tile_add_bounds(t, &r, body);
    bool ahead = worth_prefetching(t, tile.mr);
    if (ahead) prefetching_turns(t, &r, &tile, body);
    Body *inside = tile_reduction(t, &r, tile.mr, ahead ? tile.mr : 0, body);
    tile_multiply_add(t, &r, &tile, inside);
    tile_store(t, outer, &tile, body);
}

void tile_multiply_add(Tiling *t, const Rewrite *outer, const Tile *tile, Body *inside) {
    Rewrite r = *outer;
    const Affine *i, *j;
    Stmt *rows = loop_rows(t, tile, &i), *cols = loop_columns(t, tile, &j);
    tile_prefetch_packed(t, outer, tile->panel, tile->col, tile->acc->dim[1], inside);
    body_add(inside, rows);
    body_add(&rows->body, cols);
    if (t->row) rewrite_var(&r, t->row->var, affine_add(t->arena, tile->row, i));
    if (t->shared) {
        rewrite_var(&r, t->col->var, affine_add(t->arena, tile->col, j));
        r.guard = tile->tail;
    }
    Expr *a = t->row_panel ? tile_row_panel_load(t, &r, i) : rewrite_expr(&r, t->rows), *b;
    if (t->panel) {
        b = tile_panel_load(t, &r, tile->panel, j);
    } else {
        rewrite_var(&r, t->col->var, affine_add(t->arena, tile->col, j));
        r.guard = tile->tail;
        b = rewrite_expr(&r, t->cols);
    }
    const Affine *index[2] = {t->acc_row ? affine_add(t->arena, t->acc_row, i) : i, j};
    Expr *args[3] = {a, b, expr_temp(t->arena, tile->acc, index)};
    body_add(&cols->body, stmt_assign(t->arena, tile->acc, index, expr_op(t->arena, OP_fma, tile->acc->elem, 3, args)));
}

/* Tiles of nv vectors in panels first..last-1; tail: the last columns are not a whole vector. */
typedef struct Strip {
    int nv;
    int64_t first, last;
    bool tail;
    int part;                    /* of the panels */
    bool begun;                  /* the first tile of rows is made: it has packed the columns */
    const Affine *col;           /* of a panel that a thread packs for itself: where it begins; NULL: by its number */
    const Affine *limit, *tiles; /* rows, and how many whole tiles they make */
    int rest;                    /* rows of a smaller tile behind those; 0: there is none */
    const Affine *rests;         /* how many smaller tiles */
} Strip;

Body *tile_turns_if(Tiling *t, const Affine *ii, int64_t tiles, bool behind, Body *body) {
    const Affine *x = behind ? affine_add_constant(t->arena, ii, -tiles)
                             : affine_add_constant(t->arena, affine_scale(t->arena, ii, -1), tiles - 1);
    Stmt *s = stmt_if(t->arena, x);
    body_add(body, s);
    return &s->body;
}

/* Smaller tiles, if the rows are known, are more turns of the loop over tiles, so that threads share all of them evenly. */
static void make_whole_and_rest(Tiling *t, const Strip *s, const Rewrite *outer, const Affine *panel, const Affine *col,
                                Body *body) {
    int64_t tiles = s->tiles->constant;
    const Affine *ii;
    Stmt *loop = tile_loop(t, "ii", affine_constant(t->arena, tiles + s->rests->constant), MARK_PARALLEL, 0, &ii);
    body_add(body, loop);
    t->row_tile = ii;
    Tile tile = {.mr = t->mr, .nv = s->nv, .row = affine_scale(t->arena, ii, t->mr), .panel = panel, .col = col, .tail = s->tail};
    make_tile(t, outer, tile, tile_turns_if(t, ii, tiles, false, &loop->body));
    const Affine *q = s->rests->constant > 1 ? affine_add_constant(t->arena, ii, -tiles) : affine_constant(t->arena, 0);
    tile.mr = s->rest;
    tile.row = tile_more_row(t, q);
    make_tile(t, outer, tile, tile_turns_if(t, ii, tiles, true, &loop->body));
}

/* Loops over the columns (and, of a piece or where each thread packs, over outer variables that the columns hang on: what follows in time reads the
 * same ones). */
static Body *open_columns(Tiling *t, const Strip *s, Rewrite *r, Body *body, const Affine **panel) {
    Product *p = &t->product;
    if (t->own || t->piece)
        for (int i = 0; i < p->n_outer; i++)
            if (p->outer[i] != t->col && tile_cols_see(t, p->outer[i]->var))
                body = tile_loop_like(t, r, p->outer[i], MARK_PARALLEL, body, panel);
    *panel = affine_constant(t->arena, s->first);
    if (s->last - s->first == 1 && !t->own) return body;
    Stmt *loop = tile_loop(t, "jj", affine_constant(t->arena, s->last), MARK_PARALLEL, 0, panel);
    loop->lo = affine_constant(t->arena, s->first);
    body_add(body, loop);
    return &loop->body;
}

/* Tiles of rows, of which there are more kinds one behind the other. */
typedef enum Kind {
    WHOLE,  /* and smaller ones, if the rows are known and threads share the tiles */
    SMALL,  /* as a whole batch has them; of a short one by_rows.size rows as often as they are left, or none */
    SINGLE, /* what is left of a short batch: tiles of one row */
    KINDS
} Kind;

/* The loop over the tiles of one kind around the body that is returned; *mr: their rows, *row: the first one. NULL: there are none. */
static Body *open_rows(Tiling *t, const Strip *s, Kind kind, Mark mark, Body *body, int *mr, const Affine **row) {
    const Affine *ii = NULL, *first = affine_scale(t->arena, s->tiles, t->mr);
    *mr = kind == WHOLE ? t->mr : kind == SMALL ? s->rest : 1;
    t->row_tile = s->tiles;
    *row = first;
    if (kind == SMALL && affine_is_constant(s->rests) && s->rests->constant == 1) return body;
    if (kind == SINGLE && s->rest) first = affine_add(t->arena, first, affine_scale(t->arena, s->rests, s->rest));
    Stmt *loop = tile_loop(t, "ii", kind == WHOLE ? s->tiles : kind == SMALL ? s->rests : s->limit, mark, 0, &ii);
    if (kind == SINGLE) loop->lo = first;
    if (kind == WHOLE && s->begun) loop->lo = affine_constant(t->arena, 1);
    *row = kind == SINGLE ? ii : affine_scale(t->arena, ii, *mr);
    if (kind == SMALL) *row = affine_add(t->arena, first, *row);
    if (kind == WHOLE) t->row_tile = ii;
    if (kind == SMALL) t->row_tile = affine_add(t->arena, s->tiles, ii);
    body_add(body, loop);
    return &loop->body;
}

static bool any_rows(const Tiling *t, const Strip *s, Kind kind) {
    bool fixed = affine_is_constant(s->limit);
    if (kind == WHOLE) return !fixed || s->tiles->constant > 0;
    return kind == SMALL ? s->rest > 0 : !fixed && t->mr > 1;
}

/* Tiles of one kind, and around them the outer variables that are not loops yet. If the tiles are shared, each kind has loops over the columns of its own: only loops directly inside
 * each other are shared out as one. */
static void make_rows(Tiling *t, const Strip *s, const Rewrite *outer, Kind kind, const Affine *panel, Body *body) {
    Product *p = &t->product;
    Mark mark = t->own ? MARK_SERIAL : MARK_PARALLEL;
    bool both = affine_is_constant(s->limit) && s->tiles->constant > 0 && s->rest && mark == MARK_PARALLEL;
    if (!any_rows(t, s, kind) || (both && kind == SMALL)) return;
    Rewrite r = *outer;
    const Affine *as;
    if (!t->own) body = open_columns(t, s, &r, body, &panel);
    Tile tile = {.nv = s->nv, .panel = panel, .col = s->col ? s->col : tile_panel_column(t, s->part, panel), .tail = s->tail};
    for (int i = 0; i < p->n_outer; i++)
        if (p->outer[i] != t->row && p->outer[i] != t->col && !((t->own || t->piece) && tile_cols_see(t, p->outer[i]->var)))
            body = tile_loop_like(t, &r, p->outer[i], mark, body, &as);
    if (both) {
        make_whole_and_rest(t, s, &r, tile.panel, tile.col, body);
        return;
    }
    body = open_rows(t, s, kind, mark, body, &tile.mr, &tile.row);
    make_tile(t, &r, tile, body);
}

/*
 * How many whole tiles and smaller ones the rows make. Of a batch, several smaller tiles are made if it is a whole one; a single smaller tile is made as often as its rows are left.
 */
static void count_tiles(Tiling *t, Strip *s, Body *body) {
    const TileCut *c = &t->by_rows;
    bool fixed = affine_is_constant(s->limit);
    s->rest = c->more && (fixed || c->size > 1) ? c->size : 0;
    s->tiles = affine_constant(t->arena, c->whole);
    s->rests = affine_constant(t->arena, c->more);
    if (fixed) return;
    const Affine *left = s->limit;
    if (s->rest && c->more > 1) {
        const Affine *full = tile_index(t, INDEX_DIV, "full", s->limit, loop_turns(t->step, t->row), body);
        s->rests = affine_scale(t->arena, full, c->more);
        left = affine_add(t->arena, left, affine_scale(t->arena, s->rests, -s->rest));
    }
    s->tiles = tile_index(t, INDEX_DIV, "tiles", left, t->mr, body);
    if (!s->rest || c->more > 1) return;
    left = affine_add(t->arena, s->limit, affine_scale(t->arena, s->tiles, -t->mr));
    s->rests = tile_index(t, INDEX_DIV, "rests", left, s->rest, body);
}

static Strip new_strip(Tiling *t, int nv, int64_t first, int64_t last, bool tail, Body *body) {
    const Affine *limit = t->row ? t->row->limits[0] : affine_constant(t->arena, 1);
    Strip s = {.nv = nv, .first = first, .last = last, .tail = tail, .limit = limit};
    count_tiles(t, &s, body);
    return s;
}

void tile_make_strips(Tiling *t, Body *body) {
    Rewrite r = rewrite_new(t->arena, t->step);
    for (int part = 0; part < 2; part++) {
        if (!tile_any_columns(t, part)) continue;
        TilePart p = tile_part(t, part);
        Strip s = new_strip(t, p.nv, p.first, p.end, p.tail, body);
        s.part = part;
        for (Kind kind = WHOLE; kind < KINDS; kind++) make_rows(t, &s, &r, kind, NULL, body);
    }
}

/* Can the first tile of rows read the columns where they lie, and pack them for the others in passing? Its loads and stores hide behind the multiply-adds. */
static bool packs_in_passing(const Tiling *t, const Strip *s) {
    const Product *p = &t->product;
    bool good = t->row && p->n_reduce == 1 && t->lanes > 1 && tile_plain_load(t->cols, p->acc->temp->elem) &&
                tile_adjacent(t->cols, t->col->var) && !(affine_is_constant(s->tiles) && s->tiles->constant == 0);
    for (int i = 0; i < p->n_outer; i++)
        good &= p->outer[i] == t->row || p->outer[i] == t->col || tile_cols_see(t, p->outer[i]->var);
    return good;
}

/* rest: columns of the panel, if it is no whole one. */
static void make_packing_tile(Tiling *t, const Strip *s, const Rewrite *outer, int64_t rest, Body *body) {
    const Affine *index[MAX_RANK];
    Tile tile = {.mr = t->mr, .nv = s->nv, .row = affine_constant(t->arena, 0), .col = s->col};
    Rewrite r = *outer;
    Buffer *packed = t->panel;
    t->row_tile = tile.row;
    tile_declare(t, &tile, body);
    Body *inside = tile_reduction(t, &r, t->mr, 0, body);
    tile_fill_row(t, &r, index, 0, rewrite_affine(&r, affine_var(t->arena, t->product.reduce[0]->var)), s->col, rest, inside);
    t->panel = NULL;
    tile_multiply_add(t, &r, &tile, inside);
    t->panel = packed;
    tile_store(t, outer, &tile, body);
}

/* The columns of a panel packed by the first tile of rows, if there is one: a short batch may have none. */
static void begin_panel(Tiling *t, Strip *s, const Rewrite *outer, int64_t rest, Body *body) {
    const Affine *index[MAX_RANK];
    s->begun = packs_in_passing(t, s) && !s->tail;
    Body *packing = body, *filling = body;
    if (s->begun && !affine_is_constant(s->tiles)) {
        Stmt *some = stmt_if(t->arena, affine_add_constant(t->arena, s->tiles, -1)),
             *none = stmt_if(t->arena, affine_scale(t->arena, s->tiles, -1));
        body_add(body, some);
        body_add(body, none);
        packing = &some->body;
        filling = &none->body;
    }
    if (s->begun) make_packing_tile(t, s, outer, rest, packing);
    if (!s->begun || filling != body) tile_fill_panel(t, outer, 0, index, s->col, MARK_SERIAL, rest, filling);
}

/* The panels in the order in which threads take them: groups of `wide` whole ones and `narrow` ones of `columns` columns. */
typedef struct Panels {
    int64_t groups, wide, narrow, columns;
} Panels;

/*
 * What is left of columns behind whole panels makes one thread's part larger than another's. If whole panels and ones that are a vector narrower make up all columns, both of them an
 * even number, each half of the threads has as much to do: 512 columns are 2 x (4 of 48, 2 of 32) and not 10 of 48 and one of 32.
 */
static Panels share_evenly(const Tiling *t, int64_t panels, int64_t rest) {
    enum { MANY = 32 }; /* so many panels are even enough */
    Panels p = {1, panels, rest > 0, rest};
    int64_t vectors = panels * t->nv + rest / t->lanes;
    if (rest % t->lanes || rest == 0 || t->nv < 3 || panels > MANY) return p;
    for (int64_t narrow = 2; narrow <= panels; narrow += 2) {
        int64_t left = vectors - narrow * (t->nv - 1), wide = left / t->nv, groups = narrow;
        if (left % t->nv || wide % 2 || wide < narrow) continue;
        while (wide % groups || narrow % groups) groups -= 2;
        return (Panels){groups, wide / groups, narrow / groups, (int64_t)(t->nv - 1) * t->lanes};
    }
    return p;
}

/* A rest of columns is one turn more of the loop over panels: were it a loop of its own, one thread would have that alone. */
void tile_make_own_strips(Tiling *t, int64_t panels, int64_t rest, Body *body) {
    const Affine *panel, *group = affine_constant(t->arena, 0);
    int64_t width = (int64_t)t->nv * t->lanes;
    Panels p = share_evenly(t, panels, rest);
    int64_t turns = p.wide + p.narrow;
    Strip s = new_strip(t, t->nv, 0, p.groups * turns, false, body);
    Rewrite r = rewrite_new(t->arena, t->step);
    body = open_columns(t, &s, &r, body, &panel);
    if (p.groups > 1) {
        group = tile_index(t, INDEX_DIV, "group", panel, turns, body);
        panel = tile_index(t, INDEX_MOD, "panel", panel, turns, body);
    }
    const Affine *first = affine_scale(t->arena, group, p.wide * width + p.narrow * p.columns);
    for (int behind = 0; behind < 2; behind++) {
        if (behind ? !p.narrow : !p.wide) continue;
        Body *turn = p.narrow && p.wide ? tile_turns_if(t, panel, p.wide, behind, body) : body;
        const Affine *at = affine_scale(t->arena, panel, width);
        if (behind) {
            const Affine *more = affine_scale(t->arena, affine_add_constant(t->arena, panel, -p.wide), p.columns);
            at = affine_constant(t->arena, p.wide * width);
            if (p.narrow > 1) at = affine_add(t->arena, at, more);
            s.nv = (int)tile_over(p.columns, t->lanes);
            s.tail = p.columns % t->lanes != 0;
        }
        s.col = affine_add(t->arena, first, at);
        begin_panel(t, &s, &r, behind ? p.columns : 0, turn);
        for (Kind kind = WHOLE; kind < KINDS; kind++) make_rows(t, &s, &r, kind, panel, turn);
    }
}

/* Some rows of tiles, of mr rows each from `row` on: the rows packed if that is to be, then panel by panel. */
static void make_rows_of_tiles(Tiling *t, const Rewrite *r, int64_t tiles, int mr, const Affine *row, Body *body) {
    const Affine *panel, *ii = affine_constant(t->arena, 0);
    if (t->row_panel) tile_fill_group(t, r, tiles, mr, row, body);
    for (int part = 0; part < 2; part++) {
        if (!tile_any_columns(t, part)) continue;
        TilePart p = tile_part(t, part);
        Body *inside = body;
        panel = affine_constant(t->arena, p.first);
        if (!part || p.end - p.first > 1) {
            Stmt *loop = tile_loop(t, "jj", affine_constant(t->arena, p.end), MARK_SERIAL, 0, &panel);
            loop->lo = affine_constant(t->arena, p.first);
            body_add(body, loop);
            inside = &loop->body;
        }
        if (tiles > 1) {
            Stmt *loop = tile_loop(t, "ii", affine_constant(t->arena, tiles), MARK_SERIAL, 0, &ii);
            body_add(inside, loop);
            inside = &loop->body;
        }
        t->row_tile = ii;
        Tile tile = {.mr = mr,
                     .nv = p.nv,
                     .row = affine_add(t->arena, row, affine_scale(t->arena, ii, mr)),
                     .panel = panel,
                     .col = tile_panel_column(t, part, panel),
                     .tail = p.tail};
        make_tile(t, r, tile, inside);
    }
}

/* Of a batch: whole tiles, smaller ones, then the rows that are left one by one. */
static void make_tall_batch(Tiling *t, Body *body) {
    const Affine *row;
    int mr;
    Rewrite r = rewrite_new(t->arena, t->step);
    Strip s = new_strip(t, t->nv, 0, t->by_columns.whole, false, body);
    for (Kind kind = WHOLE; kind < KINDS; kind++) {
        if (!any_rows(t, &s, kind)) continue;
        Body *at = open_rows(t, &s, kind, MARK_PARALLEL, body, &mr, &row);
        make_rows_of_tiles(t, &r, 1, mr, row, at);
    }
}

void tile_make_tall(Tiling *t, Body *body) {
    if (!affine_is_constant(t->row->limits[0])) {
        make_tall_batch(t, body);
        return;
    }
    const TileCut *c = &t->by_rows;
    int64_t group = t->row_panel ? t->row_group : 1, groups = c->whole / group, left = c->whole % group,
            small = groups + (left > 0),
            turns = small + c->more; /* groups of whole tiles, those that are left, then smaller ones */
    Rewrite r = rewrite_new(t->arena, t->step);
    const Affine *ii;
    Stmt *loop = tile_loop(t, group > 1 ? "ig" : "ii", affine_constant(t->arena, turns), MARK_PARALLEL, 0, &ii);
    body_add(body, loop);
    body = &loop->body;
    bool both = groups && turns > groups;
    Body *whole = both ? tile_turns_if(t, ii, groups, false, body) : body,
         *behind = both ? tile_turns_if(t, ii, groups, true, body) : body;
    if (groups) make_rows_of_tiles(t, &r, group, t->mr, affine_scale(t->arena, ii, group * t->mr), whole);
    if (left)
        make_rows_of_tiles(t, &r, left, t->mr, affine_constant(t->arena, groups * group * t->mr),
                           c->more ? tile_turns_if(t, ii, small, false, behind) : behind);
    if (c->more)
        make_rows_of_tiles(
            t, &r, 1, c->size,
            tile_more_row(t, c->more > 1 ? affine_add_constant(t->arena, ii, -small) : affine_constant(t->arena, 0)),
            left ? tile_turns_if(t, ii, small, true, behind) : behind);
}
