/*
 * vectorize_columns.c - sums down the columns of a large matrix read it row by row.
 *
 *   for j in 0..1024 {                                         =>   for jj in 0..1024 by 512 {
 *     acc s: f32 = 0                                                  for j in 0..min(512, -jj + 1024) vector 16 { %s[j] = 0 }
 *     for i in 0..4096 { s = add(s, %x[i, j]) }                       for i in 0..4096 { for j in .. vector 16 { %s[j] = add(%s[j], %x[i, j + jj]) } }
 *     %y[j] = s                                                       for j in .. vector 16 { %y[j + jj] = %s[j] }
 *   }                                                               }
 *
 * A column of vectors is one line of each row: of a matrix that no cache holds every line comes alone, and often from a page that is not known yet. Along the rows memory is
 * read as it is laid out; the sums of a strip of columns lie in scratch of the thread, in the first cache. Each sum is the same chain as before, so no bit changes.
 * Rows may be counted by several loops: turns and samples, samples and places; those of a piece of a long sum, too.
 */
#include "passes/machine.h"
#include "passes/rewrite.h"
#include "passes/vectorize.h"

#include <stdlib.h>

/* STRIP: bytes of sums in a strip: a page of each row. Shorter strips were measured at little more than the speed of columns. JUMP: bytes from row to row, of which a column
 * of vectors needs a part. */
enum { STRIP = 4096, JUMP = 128 };

/* for j { acc s = start ; for i { for k { .. lets ; s = .. } } ; epilogue: lets and stores }. Index lets may stand in front of the loops i, k, ..: where they begin and end. */
typedef struct Columns {
    Stmt *over, *acc, *assign;
    Stmt *down[NEST_MAX];  /* the loops over the rows, the outermost first */
    Stmt *front[NEST_MAX]; /* the first statement in front of each, or the loop itself */
    int n_down;
} Columns;

static bool only_lets(const Stmt *s, const Stmt *end) {
    for (; s != end; s = s->next)
        if (s->kind != STMT_LET) return false;
    return true;
}

/* The loops from s on, each with nothing but index lets beside it in the one around it; returns the body of the innermost, NULL if there is none. */
static const Body *read_down(Columns *c, Stmt *s) {
    const Body *rows = NULL;
    for (c->n_down = 0; c->n_down < NEST_MAX; s = s->body.first) {
        Stmt *front = s;
        while (s && s->kind == STMT_INDEX) s = s->next;
        bool loop = s && s->kind == STMT_FOR && s->mark == MARK_SERIAL && (!c->n_down || !s->next);
        if (!loop) return front == s ? rows : NULL;
        c->front[c->n_down] = front;
        c->down[c->n_down++] = s;
        rows = &s->body;
    }
    return NULL;
}

static bool read_columns(Stmt *s, Columns *c) {
    c->over = s;
    c->acc = s->body.first;
    if (s->mark != MARK_SERIAL || s->step != 1 || s->n_limits != 1 || !affine_is_constant(s->lo) || s->lo->constant) return false;
    if (!affine_is_constant(s->limits[0]) || !c->acc || c->acc->kind != STMT_ACC || c->acc->temp->rank) return false;
    const Body *rows = read_down(c, c->acc->next);
    if (!rows) return false;
    c->assign = rows->last;
    if (!c->assign || c->assign->kind != STMT_ASSIGN || c->assign->temp != c->acc->temp) return false;
    if (!only_lets(rows->first, c->assign) || expr_uses_var(c->acc->value, s->var)) return false;
    bool stores = false;
    for (const Stmt *b = c->down[0]->next; b; b = b->next) {
        if (b->kind != STMT_LET && b->kind != STMT_STORE) return false;
        stores |= b->kind == STMT_STORE;
    }
    return stores;
}

static int64_t bytes_down(const Columns *c, const Expr *load, int i) {
    return llabs(access_stride(load->buffer, load->n_index, load->index, c->down[i]->var)) * elem_size(load->elem);
}

/* Bytes that the largest access side by side along j reaches over as the rows go down; 0: none jumps from line to line. */
static int64_t reach(const Step *step, const Columns *c, const Expr *e) {
    if (!e) return 0;
    int64_t most = 0;
    if (e->kind == EXPR_LOAD && access_stride(e->buffer, e->n_index, e->index, c->over->var) == 1 &&
        bytes_down(c, e, c->n_down - 1) >= JUMP)
        for (int i = 0; i < c->n_down; i++) {
            int64_t all = bytes_down(c, e, i) * loop_turns(step, c->down[i]);
            if (all > most) most = all;
        }
    for (int i = 0; i < e->n_args; i++) {
        int64_t other = reach(step, c, e->args[i]);
        if (other > most) most = other;
    }
    return most;
}

static Stmt *strip_loop(Arena *a, Step *step, const Stmt *over, const Var *first, int64_t strip, int lanes) {
    Stmt *s = stmt_for(a, step_var(a, step, VAR_LOOP, over->var->name), affine_constant(a, 0), affine_constant(a, strip), 1,
                       MARK_VECTOR, lanes);
    stmt_add_limit(a, s, affine_add(a, over->limits[0], affine_scale(a, affine_var(a, (Var *)first), -1)));
    s->loc = over->loc;
    return s;
}

/* The columns of a strip begin at `first`; the loop's variable is counted from there. */
static Rewrite for_strip(Arena *a, Step *step, const Columns *c, Var *first, const Stmt *loop, Buffer *sums) {
    const Affine *at = affine_var(a, loop->var);
    Rewrite w = rewrite_new(a, step);
    rewrite_var(&w, c->over->var, affine_add(a, affine_var(a, first), at));
    rewrite_temp(&w, c->acc->temp, expr_load(a, sums, &at));
    return w;
}

/* Adds a loop like `old`, and the lets in front of it, to the body; w puts the new variables in place of the old ones from now on. Returns the loop's body. */
static Body *down_loop(Arena *a, Step *step, const Stmt *front, const Stmt *old, Rewrite *w, Body *body) {
    for (; front != old; front = front->next) body_add(body, rewrite_stmt(w, front));
    Stmt *s = stmt_for(a, step_var(a, step, VAR_LOOP, old->var->name), rewrite_affine(w, old->lo),
                       rewrite_affine(w, old->limits[0]), old->step, MARK_SERIAL, 0);
    for (int i = 1; i < old->n_limits; i++) stmt_add_limit(a, s, rewrite_affine(w, old->limits[i]));
    s->loc = old->loc;
    rewrite_var(w, old->var, affine_var(a, s->var));
    body_add(body, s);
    return &s->body;
}

static void make(Arena *a, Step *step, Body *around, const Columns *c, int lanes) {
    Temp *t = c->acc->temp;
    int64_t strip = STRIP / elem_size(t->elem);
    Var *first = step_var(a, step, VAR_LOOP, intern_printf("%s%s", c->over->var->name, c->over->var->name));
    Buffer *sums = step_buffer(a, step, t->name, t->elem, 1, &(Dim){strip, false}, c->over->loc);
    sums->place = PLACE_THREAD;
    Stmt *outer = stmt_for(a, first, c->over->lo, c->over->limits[0], strip, MARK_SERIAL, 0);
    outer->loc = c->over->loc;

    Stmt *start = strip_loop(a, step, c->over, first, strip, lanes);
    const Affine *at = affine_var(a, start->var);
    body_add(&start->body, stmt_store(a, sums, &at, expr_clone(a, c->acc->value)));
    body_add(&outer->body, start);

    Stmt *across = strip_loop(a, step, c->over, first, strip, lanes);
    Rewrite w = for_strip(a, step, c, first, across, sums);
    Body *at_rows = &outer->body;
    for (int i = 0; i < c->n_down; i++) at_rows = down_loop(a, step, c->front[i], c->down[i], &w, at_rows);
    for (const Stmt *s = c->down[c->n_down - 1]->body.first; s != c->assign; s = s->next)
        body_add(&across->body, rewrite_stmt(&w, s));
    at = affine_var(a, across->var);
    body_add(&across->body, stmt_store(a, sums, &at, rewrite_expr(&w, c->assign->value)));
    body_add(at_rows, across);

    Stmt *end = strip_loop(a, step, c->over, first, strip, lanes);
    w = for_strip(a, step, c, first, end, sums);
    for (const Stmt *s = c->down[0]->next; s; s = s->next) body_add(&end->body, rewrite_stmt(&w, s));
    body_add(&outer->body, end);

    body_insert_before(around, c->over, outer);
    body_remove(around, c->over);
}

void vectorize_columns(PassCtx *c, Step *step, Body *body) {
    for (Stmt *s = body->first, *next; s; s = next) {
        next = s->next;
        if (s->kind != STMT_FOR || s->mark == MARK_VECTOR)
            continue; /* a vector's body is lanes already: the pass may see its own work again, as text */
        Columns columns;
        LaneScan scan = {.arena = c->arena, .step = step};
        if (!read_columns(s, &columns) || lanes_score(&scan, s) <= 0) {
            vectorize_columns(c, step, &s->body);
            continue;
        }
        int64_t far = reach(step, &columns, columns.assign->value);
        const Body *rows = &columns.down[columns.n_down - 1]->body;
        for (const Stmt *let = rows->first; let != columns.assign; let = let->next) {
            int64_t other = reach(step, &columns, let->value);
            if (other > far) far = other;
        }
        int lanes = machine_lanes(c->machine, scan.widest < 4 ? 4 : scan.widest);
        if (far > c->machine->l2 && lanes > 1 && columns.over->limits[0]->constant >= 4 * lanes)
            make(c->arena, step, body, &columns, lanes);
    }
}
