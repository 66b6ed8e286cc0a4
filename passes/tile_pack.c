/*
 * tile_pack.c - copies of a product's operands, laid out as its tiles read them: panels of columns, panels of rows, and what a factor computes while it loads.
 *
 *   %w[k, n]  =>  %panel[jj, k, j] = %w[k, 48 * jj + j]         one panel after the other, each k's columns side by side
 *   %x[k, m]  =>  %rows[ii, k, i] = %x[k, 9 * ii + i]
 *
 * All of them in a kernel of its own in front, or a panel at a time by the thread that is about to use it (PLACE_THREAD), by itself or in passing (tile_make.c).
 */
#include "passes/tile.h"

/* Ways: of the first cache, at least so many in current cores. Ahead: rows of memory, where they do not meet in one set; turns of a chain, of its panel from the second cache and of packed rows,
 * which come from farther away, when they are read and when they are stored. */
enum { CACHE_WAYS = 8, ROWS_AHEAD = 16, PANEL_AHEAD = 8, ROW_PANEL_AHEAD = 64, STORES_AHEAD = 48, WIDE_LINES = 4 };

/* ---- loops, kernels ---- */

static Dim dim_of_loop(const Tiling *t, const Stmt *loop) {
    const Affine *limit = tile_extent(loop);
    if (limit->n == 1 && limit->term[0].var == t->step->batch && limit->constant == 0)
        return (Dim){.n = limit->term[0].factor, .batch = true};
    return (Dim){.n = limit->constant};
}

Stmt *tile_loop(Tiling *t, const char *name, const Affine *limit, Mark mark, int width, const Affine **as) {
    Var *v = step_var(t->arena, t->step, VAR_LOOP, name);
    *as = affine_var(t->arena, v);
    return stmt_for(t->arena, v, affine_constant(t->arena, 0), limit, 1, mark, width);
}

/* A new loop like `old` around the body that it returns; *as: its variable. */
Body *tile_loop_like(Tiling *t, Rewrite *r, const Stmt *old, Mark mark, Body *body, const Affine **as) {
    Stmt *loop = tile_loop(t, old->var->name, rewrite_affine(r, old->limits[0]), mark, 0, as);
    loop->lo = rewrite_affine(r, old->lo);
    for (int i = 1; i < old->n_limits; i++) stmt_add_limit(t->arena, loop, rewrite_affine(r, old->limits[i]));
    rewrite_var(r, old->var, *as);
    body_add(body, loop);
    return &loop->body;
}

const Affine *tile_index(Tiling *t, IndexKind kind, const char *name, const Affine *x, int64_t n, Body *body) {
    Var *v = step_var(t->arena, t->step, VAR_INDEX, name);
    body_add(body, stmt_index(t->arena, v, kind, x, n, NULL));
    return affine_var(t->arena, v);
}

Buffer *tile_own_buffer(Tiling *t, const StepNode *kernel, const char *what, int n, const Dim *dims) {
    Buffer *b = step_buffer(t->arena, t->step, intern_printf("%s.%s", kernel->name, what), t->product.acc->temp->elem, n, dims,
                            kernel->loc);
    b->place = PLACE_THREAD;
    return b;
}

/* A let at the top of the kernel is there in the kernel that packs, too. */
static void copy_top(Tiling *t, Rewrite *r, Body *body) {
    for (size_t i = 0; i < t->before.n; i++) body_add(body, rewrite_stmt(r, t->before.at[i]));
    for (size_t i = 0; i < t->top.n; i++) body_add(body, rewrite_stmt(r, t->top.at[i]));
}

/* ---- panels of columns ---- */

/* Is it better to copy blocks across their diagonal? cols lies along the last reduced variable, the panel along the column. */
bool tile_transposed(const Tiling *t) {
    const Stmt *last = tile_last_reduced(t);
    return tile_plain_load(t->cols, t->product.acc->temp->elem) && t->lanes > 1 &&
           access_stride(t->cols->buffer, t->cols->n_index, t->cols->index, last->var) == 1 &&
           !tile_adjacent(t->cols, t->col->var);
}

/* How many rows ahead: of those so many bytes apart, the cache must hold as many again until they are used. */
static int rows_ahead(int64_t apart) {
    int64_t set = PAGE; /* rows so far apart meet in one set */
    while (apart % set) set /= 2;
    int64_t held = CACHE_WAYS * (PAGE / set); /* rows of which the cache holds a line each */
    return held / 2 < ROWS_AHEAD ? (int)(held / 2) : ROWS_AHEAD;
}

void tile_prefetch(Tiling *t, const Expr *load, Body *body) {
    body_add(body, stmt_prefetch(t->arena, load->buffer, load->index));
}

/* Bytes from one row in memory to the next of a factor, v being the variable along its rows; 0: they are so near, or all of it is so small, that it need not be asked for. */
static int64_t rows_apart(const Tiling *t, const Expr *e, const Var *v) {
    if (!tile_plain_load(e, t->product.acc->temp->elem) || !tile_adjacent(e, v)) return 0;
    int64_t apart = access_stride(e->buffer, e->n_index, e->index, tile_last_reduced(t)->var) * elem_size(e->elem);
    return apart < 8 * CACHE_LINE || e->buffer->bytes < t->machine->l1 ? 0 : apart;
}

/* What is copied in rows that lie far apart in memory: those some rows ahead are asked for. e: a factor, v: the variable along its rows, which has the value `from`; k: that of the
 * last reduced one. */
static void prefetch_source(Tiling *t, const Rewrite *outer, const Expr *e, const Affine *k, const Var *v, const Affine *from,
                            int64_t width, Body *body) {
    int64_t apart = rows_apart(t, e, v);
    for (int64_t j = 0; apart && j < width; j += CACHE_LINE / elem_size(e->elem)) {
        Rewrite r = *outer;
        rewrite_var(&r, tile_last_reduced(t)->var, affine_add_constant(t->arena, k, rows_ahead(apart)));
        rewrite_var(&r, v, affine_add_constant(t->arena, from, j));
        tile_prefetch(t, rewrite_expr(&r, e), body);
    }
}

int tile_rows_ahead(const Tiling *t) {
    int64_t apart = rows_apart(t, t->rows, t->row->var);
    return apart ? rows_ahead(apart) : 0;
}

void tile_prefetch_rows(Tiling *t, const Rewrite *outer, const Affine *k, const Affine *from, int64_t width, Body *body) {
    const Affine *l;
    int64_t line = CACHE_LINE / elem_size(t->rows->elem), lines = tile_over(width, line);
    Stmt *loop = tile_loop(t, "l", affine_constant(t->arena, lines), lines <= 16 ? MARK_UNROLL : MARK_SERIAL, 0, &l);
    body_add(body, loop);
    Rewrite r = *outer;
    rewrite_var(&r, tile_last_reduced(t)->var, k);
    rewrite_var(&r, t->row->var, affine_add(t->arena, from, affine_scale(t->arena, l, line)));
    tile_prefetch(t, rewrite_expr(&r, t->rows), &loop->body);
}

void tile_fill_row(Tiling *t, const Rewrite *outer, const Affine **index, int at, const Affine *k, const Affine *col,
                   int64_t rest, Body *body) {
    Rewrite r = *outer;
    int64_t width = (rest ? (rest + t->lanes - 1) / t->lanes : t->nv) * t->lanes;
    index[at] =
        t->panel_from && t->product.n_reduce == 1 ? affine_add(t->arena, k, affine_scale(t->arena, t->panel_from, -1)) : k;
    prefetch_source(t, outer, t->cols, k, t->col->var, col, width, body);
    rewrite_var(&r, t->product.reduce[t->product.n_reduce - 1]->var, k);
    Stmt *loop =
        tile_loop(t, "j", affine_constant(t->arena, width), t->lanes > 1 ? MARK_VECTOR : MARK_SERIAL, t->lanes, &index[at + 1]);
    body_add(body, loop);
    rewrite_var(&r, t->col->var, affine_add(t->arena, col, index[at + 1]));
    r.guard = rest % t->lanes != 0;
    body_add(&loop->body, stmt_store(t->arena, t->panel, index, rewrite_expr(&r, t->cols)));
}

void tile_fill_panel(Tiling *t, const Rewrite *outer, int lead, const Affine **index, const Affine *col, Mark mark, int64_t rest,
                     Body *body) {
    Product *p = &t->product;
    int64_t first = 0;
    int last = lead + p->n_reduce - 1;
    Rewrite r = *outer;
    for (int i = 0; i < p->n_reduce - 1; i++) { /* all that any piece may read */
        Stmt *loop = tile_loop(t, p->reduce[i]->var->name, tile_extent(p->reduce[i]), mark, 0, &index[lead + i]);
        rewrite_var(&r, p->reduce[i]->var, index[lead + i]);
        body_add(body, loop);
        body = &loop->body;
    }
    const Affine *k, *block, *limit = tile_extent(p->reduce[p->n_reduce - 1]);
    if (tile_transposed(t) && rest % t->lanes == 0 && affine_is_constant(limit) && limit->constant >= t->lanes) {
        first = limit->constant / t->lanes * t->lanes;
        Stmt *blocks = tile_loop(t, "kb", affine_constant(t->arena, limit->constant / t->lanes), mark, 0, &block);
        Stmt *loop = tile_loop(t, "k", affine_constant(t->arena, t->lanes), MARK_UNROLL, 0, &k);
        body_add(body, blocks);
        body_add(&blocks->body, loop);
        tile_fill_row(t, &r, index, last, affine_add(t->arena, affine_scale(t->arena, block, t->lanes), k), col, rest,
                      &loop->body);
    }
    if (affine_is_constant(limit) && limit->constant == first) return;
    Stmt *loop = tile_loop(t, "k", limit, mark, 0, &k);
    loop->lo = affine_constant(t->arena, first);
    body_add(body, loop);
    tile_fill_row(t, &r, index, last, k, col, rest, &loop->body);
}

static int panel_dims(Tiling *t, int lead, Dim *dims) {
    for (int i = 0; i < t->product.n_reduce; i++) dims[lead++] = dim_of_loop(t, t->product.reduce[i]);
    dims[lead++] = (Dim){.n = (int64_t)t->nv * t->lanes};
    return lead;
}

/* The panels of a part, for all outer variables that the columns hang on. */
static void pack_panels(Tiling *t, const Rewrite *outer, int part, Body *body) {
    Product *p = &t->product;
    TilePart panels = tile_part(t, part);
    Rewrite r = *outer;
    const Affine *index[MAX_RANK];
    int lead = 0;
    for (int i = 0; i < p->n_outer; i++) {
        if (p->outer[i] == t->col || !expr_uses_var(t->cols, p->outer[i]->var)) continue;
        Stmt *loop =
            tile_loop(t, p->outer[i]->var->name, rewrite_affine(&r, p->outer[i]->limits[0]), MARK_PARALLEL, 0, &index[lead]);
        rewrite_var(&r, p->outer[i]->var, index[lead++]);
        body_add(body, loop);
        body = &loop->body;
    }
    Stmt *loop = tile_loop(t, "jj", affine_constant(t->arena, panels.end), MARK_PARALLEL, 0, &index[lead]);
    loop->lo = affine_constant(t->arena, panels.first);
    body_add(body, loop);
    tile_fill_panel(t, &r, lead + 1, index, tile_panel_column(t, part, index[lead]), MARK_PARALLEL, panels.rest, &loop->body);
}

void tile_pack_in_front(Tiling *t, const StepNode *kernel, StepNodes *front) {
    Product *p = &t->product;
    int lead = 0;
    Dim dims[MAX_RANK];
    StepNode *node = step_kernel(t->arena, intern_printf("%s.pack", kernel->name), kernel->loc);
    Rewrite r = rewrite_new(t->arena, t->step);
    copy_top(t, &r, &node->body);
    for (int i = 0; i < p->n_outer; i++)
        if (p->outer[i] != t->col && expr_uses_var(t->cols, p->outer[i]->var)) {
            t->panel_var[t->n_panel_var++] = p->outer[i]->var;
            dims[lead++] = dim_of_loop(t, p->outer[i]);
        }
    dims[lead++] = (Dim){.n = tile_panels(t)};
    int rank = panel_dims(t, lead, dims);
    t->panel =
        step_buffer(t->arena, t->step, intern_printf("%s.panel", kernel->name), p->acc->temp->elem, rank, dims, kernel->loc);
    for (int part = 0; part < 2; part++)
        if (tile_any_columns(t, part)) pack_panels(t, &r, part, &node->body);
    vec_push(t->arena, front, node);
    vec_push(t->arena, front, step_barrier(t->arena, kernel->loc));
}

/* One panel a thread, small enough for its second cache; tile_make_own_strips fills it. */
void tile_make_own_panel(Tiling *t, const StepNode *kernel) {
    Dim dims[MAX_RANK];
    int n = panel_dims(t, 0, dims);
    t->panel = tile_own_buffer(t, kernel, "panel", n, dims);
    t->panel_reach = t->panel->bytes;
    t->own = true;
}

Expr *tile_panel_load(Tiling *t, const Rewrite *r, const Affine *panel, const Affine *column) {
    const Affine *index[MAX_RANK];
    int n = 0;
    for (int i = 0; i < t->n_panel_var; i++) index[n++] = rewrite_affine(r, affine_var(t->arena, t->panel_var[i]));
    if (!t->own) index[n++] = panel;
    for (int i = 0; i < t->n_walked_var; i++) index[n++] = rewrite_affine(r, affine_var(t->arena, t->walked_var[i]));
    for (int i = 0; i < t->product.n_reduce; i++) {
        index[n] = rewrite_affine(r, affine_var(t->arena, t->product.reduce[i]->var));
        if (i == 0 && t->panel_from) index[n] = affine_add(t->arena, index[n], affine_scale(t->arena, t->panel_from, -1));
        n++;
    }
    index[n++] = column;
    return expr_load(t->arena, t->panel, index);
}

/* ---- what the row factor computes ---- */

/* The load whose indices all loads of the expression have, NULL if they differ, or if a variable stands outside loads. */
static const Expr *common_load(const Expr *e, const Expr *so_far, bool *ok) {
    if (e->kind == EXPR_LOAD && e->buffer->rank) {
        if (e->guarded || (so_far && so_far->n_index != e->n_index)) *ok = false;
        for (int i = 0; *ok && so_far && i < e->n_index; i++)
            if (!affine_same(e->index[i], so_far->index[i]) || !dim_same(e->buffer->dim[i], so_far->buffer->dim[i])) *ok = false;
        return so_far ? so_far : e;
    }
    if ((e->kind == EXPR_INDEX && !affine_is_constant(e->index[0])) || e->kind == EXPR_UNIFORM || e->kind == EXPR_TREE)
        *ok = false;
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
void tile_stage_rows(Tiling *t, const StepNode *kernel, StepNodes *out) {
    Elem elem = t->product.acc->temp->elem;
    bool ok = true;
    const Expr *load = common_load(t->rows, NULL, &ok);
    if (!ok || !load || tile_plain_load(t->rows, elem)) return;
    for (size_t i = 0; i < t->staged->n; i++) {
        if (!same_of_field(t->staged->at[i].value, t->rows)) continue;
        t->rows = expr_load(t->arena, t->staged->at[i].buffer, load->index);
        return;
    }
    const Buffer *from = load->buffer;
    int n = from->rank;
    Buffer *to = step_buffer(t->arena, t->step, intern_printf("%s.rows", kernel->name), elem, n, from->dim, kernel->loc);
    StepNode *node = step_kernel(t->arena, intern_printf("%s.stage", kernel->name), kernel->loc);
    Rewrite r = rewrite_new(t->arena, t->step);
    Body *body = &node->body;
    copy_top(t, &r, body);
    const Affine **index = arena_make_n(t->arena, const Affine *, (size_t)n);
    for (int i = 0; i < n; i++) {
        Dim d = from->dim[i];
        const Affine *limit =
            d.batch ? affine_scale(t->arena, affine_var(t->arena, t->step->batch), d.n) : affine_constant(t->arena, d.n);
        Stmt *loop = tile_loop(t, intern_printf("i%d", i), limit, MARK_SERIAL, 0, &index[i]);
        body_add(body, loop);
        body = &loop->body;
    }
    Expr *value = rewrite_expr(&r, t->rows);
    replace_indices(t->arena, value, index);
    body_add(body, stmt_store(t->arena, to, index, value));
    vec_push(t->arena, out, node);
    vec_push(t->arena, out, step_barrier(t->arena, kernel->loc));
    if (!t->around) vec_push(t->arena, t->staged, ((Staged){t->rows, to}));
    t->rows = expr_load(t->arena, to, load->index);
}

/* ---- panels of rows ---- */

bool tile_worth_packing(const Tiling *t, int64_t readers) {
    if (!tile_plain_load(t->cols, t->product.acc->temp->elem)) return true;
    if (!tile_adjacent(t->cols, t->col->var)) return true;
    const Buffer *b = t->cols->buffer;
    return readers >= 3 && b->bytes > t->machine->l1 / 2;
}

/*
 * Rows that are neighbours in memory while the reduced index jumps (x' @ dy: %x[k, i]): a tile would fetch a line of memory for each k and use 9 numbers of it, all lines in
 * the same few sets of the cache if the jump is a large power of two. They are packed too. If all panels fit the second cache, some rows of
 * tiles at a time, a group:
 *
 *   for ig parallel { for k, ii, i { %q[ii, k, i] = %x[k, 16 * ig + 4 * ii + i] } ; for jj { for ii { tile of %q and panel jj } } }
 *
 * else all rows in front, %q[ii, k, i], if many panels read them or the rows come from beyond the second cache. So are rows that lie along the reduced index, but so far
 * apart that the lines of all of them meet in one set of the cache, and so many that it cannot hold them.
 */
static bool rows_can_be_packed(const Tiling *t) {
    const Product *p = &t->product;
    return t->row && p->n_outer == 2 && affine_is_constant(t->row->limits[0]) && t->lanes > 1 &&
           tile_plain_load(t->rows, p->acc->temp->elem) && !tile_sees_bounds(t, t->rows);
}

static int64_t rows_stride(const Tiling *t, const Stmt *loop) {
    return access_stride(t->rows->buffer, t->rows->n_index, t->rows->index, loop->var);
}

bool tile_rows_meet(const Tiling *t) { return rows_stride(t, t->row) * elem_size(t->rows->elem) % PAGE == 0; }

bool tile_rows_are_far(const Tiling *t) {
    if (!tile_plain_load(t->rows, t->product.acc->temp->elem)) return false;
    int64_t bytes = rows_stride(t, t->row) * elem_size(t->rows->elem);
    return bytes >= PAGE / 4 || bytes <= -PAGE / 4;
}

bool tile_rows_are_slow(const Tiling *t) {
    return rows_can_be_packed(t) && tile_adjacent(t->rows, t->row->var) && rows_stride(t, tile_last_reduced(t)) >= t->lanes;
}

bool tile_rows_collide(const Tiling *t) {
    if (!rows_can_be_packed(t) || t->mr <= CACHE_WAYS || rows_stride(t, tile_last_reduced(t)) != 1) return false;
    return rows_stride(t, t->row) > 0 && tile_rows_meet(t);
}

/*
 * How many tiles' rows a thread packs together: rows of one tile are a part of a line of memory for each k, and by the time the next tile wants the other part the line is gone, as all of them
 * meet in a few sets of the caches. So the rows of whole lines, if they stay in the first cache beside a panel, which all tiles of the group read one after the other. Few enough for many threads.
 */
static int64_t tiles_of_a_group(const Tiling *t) {
    enum { GROUPS = 8 };
    const Product *p = &t->product;
    int size = elem_size(t->rows->elem), line = CACHE_LINE / size;
    int64_t tiles = loop_turns(t->step, t->row) / t->mr, bytes = (int64_t)t->mr * size, n = 1;
    for (int i = 0; i < p->n_reduce; i++) bytes *= loop_turns(t->step, p->reduce[i]);
    while (n * t->mr % line && (n + 1) * bytes <= t->machine->l1 / 4 && (n + 1) * GROUPS <= tiles) n++;
    return n;
}

void tile_make_row_panel(Tiling *t, const StepNode *kernel) {
    t->row_group = tiles_of_a_group(t);
    t->row_panels = t->row_group > 1;
    Dim dims[MAX_RANK] = {{.n = t->row_group}};
    int n = panel_dims(t, t->row_panels, dims);
    dims[n - 1] = (Dim){.n = t->mr};
    t->row_panel = tile_own_buffer(t, kernel, "rows", n, dims);
}

void tile_fill_rows_at(Tiling *t, const Rewrite *outer, int lead, const Affine **index, int mr, const Affine *row, Body *body) {
    Rewrite r = *outer;
    Stmt *loop = tile_loop(t, "i", affine_constant(t->arena, mr), MARK_VECTOR, t->lanes, &index[lead]);
    body_add(body, loop);
    rewrite_var(&r, t->row->var, affine_add(t->arena, row, index[lead]));
    body_add(&loop->body, stmt_store(t->arena, t->row_panel, index, rewrite_expr(&r, t->rows)));
}

/* %q[lead..., reduced..., i] = rows at `row` + i, vectors along what is neighbour in the source. */
void tile_fill_rows(Tiling *t, const Rewrite *outer, int lead, const Affine **index, int mr, const Affine *row, Body *body) {
    Product *p = &t->product;
    Rewrite r = *outer;
    bool along = !tile_adjacent(t->rows, t->row->var); /* neighbours along the last reduced index */
    for (int i = 0; i < p->n_reduce - along; i++) body = tile_loop_like(t, &r, p->reduce[i], MARK_SERIAL, body, &index[lead + i]);
    if (!along) {
        tile_fill_rows_at(t, &r, lead + p->n_reduce, index, mr, row, body);
        return;
    }
    Stmt *loop = tile_loop(t, "i", affine_constant(t->arena, mr), MARK_SERIAL, 0, &index[lead + p->n_reduce]);
    body_add(body, loop);
    rewrite_var(&r, t->row->var, affine_add(t->arena, row, index[lead + p->n_reduce]));
    Stmt *inner = tile_loop(t, "k", rewrite_affine(&r, tile_last_reduced(t)->limits[0]), MARK_VECTOR, t->lanes,
                            &index[lead + p->n_reduce - 1]);
    body_add(&loop->body, inner);
    rewrite_var(&r, tile_last_reduced(t)->var, index[lead + p->n_reduce - 1]);
    body_add(&inner->body, stmt_store(t->arena, t->row_panel, index, rewrite_expr(&r, t->rows)));
}

void tile_fill_group(Tiling *t, const Rewrite *outer, int64_t tiles, int mr, const Affine *row, Body *body) {
    const Affine *index[MAX_RANK];
    Rewrite r = *outer;
    int n = t->product.n_reduce;
    index[0] = affine_constant(t->arena, 0);
    if (tiles == 1) {
        tile_fill_rows(t, outer, t->row_panels, index, mr, row, body);
        return;
    }
    for (int i = 0; i < n; i++) body = tile_loop_like(t, &r, t->product.reduce[i], MARK_SERIAL, body, &index[1 + i]);
    Stmt *loop = tile_loop(t, "ii", affine_constant(t->arena, tiles), MARK_UNROLL, 0, &index[0]);
    body_add(body, loop);
    tile_fill_rows_at(t, &r, 1 + n, index, mr, affine_add(t->arena, row, affine_scale(t->arena, index[0], mr)), &loop->body);
}

/* Are the packed rows of all tiles more than stays in the second cache? Not where a tile reads its rows as they lie. */
static bool rows_are_far(const Tiling *t) { return t->row_panel && t->row_panels && t->row_panel->bytes > t->machine->l2 / 2; }

/* Rows of a few tiles at a time, so that whole lines of memory are read: all that each k has of them, then the next k. */
static void fill_rows_across(Tiling *t, int64_t tiles, Body *body) {
    int64_t group = (WIDE_LINES * CACHE_LINE / elem_size(t->rows->elem) + t->mr - 1) / t->mr;
    int n = t->product.n_reduce;
    const Affine *g, *index[MAX_RANK];
    Rewrite r = rewrite_new(t->arena, t->step);
    Stmt *groups = tile_loop(t, "ig", affine_constant(t->arena, (tiles + group - 1) / group), MARK_PARALLEL, 0, &g);
    body_add(body, groups);
    body = &groups->body;
    for (int i = 0; i < n; i++) body = tile_loop_like(t, &r, t->product.reduce[i], MARK_SERIAL, body, &index[1 + i]);
    const Affine *first = affine_scale(t->arena, g, group), *end = affine_add_constant(t->arena, first, group);
    prefetch_source(t, &r, t->rows, index[n], t->row->var, affine_scale(t->arena, first, t->mr), group * t->mr, body);
    Stmt *loop = tile_loop(t, "ii", end, MARK_SERIAL, 0, &index[0]);
    loop->lo = first;
    if (tiles % group) stmt_add_limit(t->arena, loop, affine_constant(t->arena, tiles));
    body_add(body, loop);
    if (rows_are_far(t)) { /* a line that is only written is read first, too */
        const Affine *ahead[MAX_RANK];
        for (int i = 0; i <= n; i++) ahead[i] = index[i];
        ahead[n] = affine_add_constant(t->arena, index[n], STORES_AHEAD);
        ahead[n + 1] = affine_constant(t->arena, 0);
        body_add(&loop->body, stmt_prefetch(t->arena, t->row_panel, ahead));
    }
    tile_fill_rows_at(t, &r, 1 + n, index, t->mr, affine_scale(t->arena, index[0], t->mr), &loop->body);
}

void tile_rows_in_front(Tiling *t, const StepNode *kernel, StepNodes *out) {
    const TileCut *c = &t->by_rows;
    Dim dims[MAX_RANK] = {{.n = c->whole + c->more}};
    int n = panel_dims(t, 1, dims);
    dims[n - 1] = (Dim){.n = t->mr};
    if (!dims[n - 2].batch)
        dims[n - 2].n +=
            (CACHE_LINE / elem_size(t->rows->elem) + t->mr - 1) / t->mr; /* or all tiles begin in one set of the cache */
    t->row_panel =
        step_buffer(t->arena, t->step, intern_printf("%s.rows", kernel->name), t->product.acc->temp->elem, n, dims, kernel->loc);
    t->row_panels = true;
    StepNode *node = step_kernel(t->arena, intern_printf("%s.pack_rows", kernel->name), kernel->loc);
    Rewrite r = rewrite_new(t->arena, t->step);
    copy_top(t, &r, &node->body);
    int64_t across = tile_adjacent(t->rows, t->row->var) ? c->whole : 0;
    if (across) fill_rows_across(t, across, &node->body);
    for (int part = across > 0; part < 2; part++) { /* tiles one by one; smaller ones */
        if (part ? !c->more : !c->whole) continue;
        const Affine *index[MAX_RANK], *row;
        Stmt *loop = tile_loop(t, "ii", affine_constant(t->arena, c->whole + (part ? c->more : 0)), MARK_PARALLEL, 0, &index[0]);
        if (part) loop->lo = affine_constant(t->arena, c->whole);
        body_add(&node->body, loop);
        row =
            part ? tile_more_row(t, affine_add_constant(t->arena, index[0], -c->whole)) : affine_scale(t->arena, index[0], t->mr);
        tile_fill_rows(t, &r, 1, index, part ? c->size : t->mr, row, &loop->body);
    }
    vec_push(t->arena, out, node);
    vec_push(t->arena, out, step_barrier(t->arena, kernel->loc));
}

Expr *tile_row_panel_load(Tiling *t, const Rewrite *r, const Affine *i) {
    const Affine *index[MAX_RANK];
    int n = 0;
    if (t->row_panels) index[n++] = t->row_tile;
    for (int k = 0; k < t->product.n_reduce; k++) index[n++] = rewrite_affine(r, affine_var(t->arena, t->product.reduce[k]->var));
    index[n] = i;
    return expr_load(t->arena, t->row_panel, index);
}

/*
 * Columns that lie along the chain are neighbours in memory, row behind row: those of the panel that comes next are asked for by the tiles of this one, a few rows by each; its copy across the diagonal would wait for
 * all of them. (Columns that lie beside each other are not: a line of each row, most of them in the same few sets of the caches.) How many rows a tile asks for; 0: none.
 */
static int64_t rows_of_next_panel(const Tiling *t, int64_t width) {
    enum { MOST = 4 };
    const Product *p = &t->product;
    if (!t->own || !t->row || !t->row_tile || p->n_outer != 2 || p->n_reduce != 1 || !tile_transposed(t)) return 0;
    const Buffer *b = t->cols->buffer;
    bool behind = access_stride(b, t->cols->n_index, t->cols->index, t->col->var) == loop_turns(t->step, p->reduce[0]);
    int64_t tiles = loop_turns(t->step, t->row) / t->mr, rows = tiles ? tile_over(width, tiles) : MOST + 1;
    return behind && b->bytes > t->machine->l2 / 2 && rows <= MOST ? rows : 0;
}

static void prefetch_next_panel(Tiling *t, const Rewrite *outer, const Affine *k, const Affine *col, int64_t width, Body *body) {
    int64_t rows = rows_of_next_panel(t, width);
    if (rows == 0) return;
    Rewrite r = *outer;
    const Affine *first =
        affine_add(t->arena, affine_add_constant(t->arena, col, width), affine_scale(t->arena, t->row_tile, rows));
    rewrite_var(&r, t->col->var, first);
    rewrite_var(&r, tile_last_reduced(t)->var, affine_scale(t->arena, k, rows)); /* beyond the end of a row the next one begins */
    tile_prefetch(t, rewrite_expr(&r, t->cols), body);
}

/* Does a panel lie in the second cache, and is it wanted from there faster than what fetches ahead of a core by itself follows? Where a vector is a whole line it is asked for; where two vectors
 * share one, the core keeps up, and asking costs 4 to 10 % of a product (docs/speed.md, "Where the time goes"). */
static bool panel_is_far(const Tiling *t) {
    return t->panel && t->panel_reach > t->machine->l1 / 2 && t->machine->vector_bytes >= CACHE_LINE;
}

void tile_prefetch_packed(Tiling *t, const Rewrite *outer, const Affine *panel, const Affine *col, int64_t width, Body *body) {
    Var *last = tile_last_reduced(t)->var;
    const Affine *k = rewrite_affine(outer, affine_var(t->arena, last));
    Rewrite r = *outer;
    int64_t line = CACHE_LINE / elem_size(t->product.acc->temp->elem);
    if (t->acc_row) return; /* one of several products at this place of the chain */
    prefetch_next_panel(t, outer, k, col, width, body);
    if (panel_is_far(t)) {
        rewrite_var(&r, last, affine_add_constant(t->arena, k, PANEL_AHEAD));
        for (int64_t j = 0; j < width; j += line)
            tile_prefetch(t, tile_panel_load(t, &r, panel, affine_constant(t->arena, j)), body);
    }
    if (rows_are_far(t)) {
        rewrite_var(&r, last, affine_add_constant(t->arena, k, ROW_PANEL_AHEAD));
        tile_prefetch(t, tile_row_panel_load(t, &r, affine_constant(t->arena, 0)), body);
    }
}
