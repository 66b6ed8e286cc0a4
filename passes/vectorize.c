/*
 * vectorize.c - marks the loop of each nest whose turns become the lanes of vectors.
 * in:  loops, some of them tiled.   out: in every nest outside tiles at most one loop is marked `vector`, with the machine's width.
 * keeps: every bit: lanes are independent turns, sums keep their chains.   spoils: nothing.
 *
 *   for i in 0..B { for j in 0..N { %y[i, j] = tanh(%x[i, j]) } }      =>  for i in 0..B { for j in 0..N vector 16 { ... } }
 *   for j in 0..N { acc s = 0 ; for i in 0..B { s = s + %x[i, j] } ; %b[j] = s }      =>  for j in 0..N vector 16 { ... }
 *   acc s[16] = 0 ; for r in 0..N by 16 { for l in 0..16 { s[l] = s[l] + %x[r + l] } }  =>  ... for l in 0..16 vector 16 ...
 *
 * A loop can be marked if its turns do not meet: what one stores no other touches, accumulators declared outside it are indexed by it, and nothing inside hangs
 * on it in a way that lanes cannot follow (limits of inner loops, index lets, checks). Of the loops that can, the one with the most accesses side by side in memory
 * wins; where no access is, none is marked, since gathered lanes cost as much as scalars. Two kinds of nests are written anew before: short rows, which become lanes all
 * the same (vectorize_rows.c), and sums down the columns of large matrices (vectorize_columns.c).
 */
#include "passes/vectorize.h"
#include "passes/apart.h"
#include "passes/machine.h"

static void scan_expr(LaneScan *s, const Expr *e) {
    if (!e) return;
    if (e->kind == EXPR_LOAD) vec_push(s->arena, &s->accesses, ((Access){e->buffer, e->n_index, e->index, false}));
    if (e->kind == EXPR_TREE) s->possible = false; /* an array of 16 a lane: not a vector's work */
    if (e->kind != EXPR_CONST && elem_size(e->elem) > s->widest) s->widest = elem_size(e->elem);
    int widest = s->widest;
    for (int i = 0; i < e->n_args; i++) scan_expr(s, e->args[i]);
    if (e->kind == EXPR_UNIFORM) s->widest = widest; /* of its key and its element lanes have what all share, and count */
}

bool lanes_declared(const LaneScan *s, const Temp *t) {
    for (size_t i = 0; i < s->inside.n; i++)
        if (s->inside.at[i] == t) return true;
    return false;
}

static void scan_stmt(LaneScan *s, const Stmt *stmt) {
    const Var *v = s->loop->var;
    int widest = s->widest;
    scan_expr(s, stmt->value);
    if (stmt->kind == STMT_INDEX) s->widest = widest; /* one number for all lanes */
    switch (stmt->kind) {
    case STMT_FOR:
        if (stmt->mark == MARK_VECTOR || stmt->mark == MARK_PARALLEL) s->possible = false;
        if (affine_uses(stmt->lo, v)) s->possible = false;
        for (int i = 0; i < stmt->n_limits; i++)
            if (affine_uses(stmt->limits[i], v)) s->possible = false;
        break;
    case STMT_ACC:
        if (stmt->temp->rank) s->possible = false; /* arrays of vectors stay with tiles */
        vec_push(s->arena, &s->inside, stmt->temp);
        break;
    case STMT_ASSIGN:
        if (lanes_declared(s, stmt->temp)) break;
        if (stmt->n_index != 1 || affine_factor(stmt->index[0], v) != 1) s->possible = false;
        break;
    case STMT_STORE:
        vec_push(s->arena, &s->accesses, ((Access){stmt->buffer, stmt->n_index, stmt->index, true}));
        if (elem_size(stmt->buffer->elem) > s->widest) s->widest = elem_size(stmt->buffer->elem);
        break;
    case STMT_INDEX:
    case STMT_CHECK: /* lanes have no index of their own */
        if (stmt_uses_var(stmt, v)) s->possible = false;
        break;
    case STMT_IF:
        if (affine_uses(stmt->affine, v)) s->possible = false;
        break;
    case STMT_PREFETCH:
    case STMT_LET: break;
    }
    for (const Stmt *b = stmt->body.first; b; b = b->next) scan_stmt(s, b);
}

static bool same_index(const Access *x, const Access *y) {
    for (int i = 0; i < x->n_index; i++)
        if (!affine_same(x->index[i], y->index[i])) return false;
    return true;
}

static bool declared_below(const Body *body, const Var *v) {
    for (const Stmt *b = body->first; b; b = b->next)
        if (((b->kind == STMT_FOR || b->kind == STMT_INDEX) && b->var == v) || declared_below(&b->body, v)) return true;
    return false;
}

/* Whether along some axis both accesses stand at the same place, which moves with v and with nothing that changes inside the loop: pieces of sums being
 * added up, p[i, j] += p[i + 1, j] with lanes along j. */
static bool apart_along_an_axis(const LaneScan *s, const Access *x, const Access *y) {
    if (x->buffer != y->buffer) return false;
    for (int d = 0; d < x->n_index; d++) {
        if (!affine_uses(x->index[d], s->loop->var) || !affine_same(x->index[d], y->index[d])) continue;
        bool still = true;
        for (int k = 0; k < x->index[d]->n; k++)
            still &= x->index[d]->term[k].var == s->loop->var || !declared_below(&s->loop->body, x->index[d]->term[k].var);
        if (still) return true;
    }
    return false;
}

/* No turn touches what another stores: each store moves with v, and every other access to its memory is the same element, or never the same. */
bool lanes_apart(const LaneScan *s) {
    const Var *v = s->loop->var;
    for (size_t i = 0; i < s->accesses.n; i++) {
        const Access *x = &s->accesses.at[i];
        if (!x->store) continue;
        if (access_stride(x->buffer, x->n_index, x->index, v) == 0) return false;
        for (size_t k = 0; k < s->accesses.n; k++) {
            const Access *y = &s->accesses.at[k];
            if (buffer_memory(y->buffer) != buffer_memory(x->buffer)) continue;
            if (y->buffer == x->buffer && (same_index(x, y) || apart_along_an_axis(s, x, y))) continue;
            if (!accesses_apart(s->arena, s->step, s->loop, x, s->loop, y)) return false;
        }
    }
    return true;
}

int lanes_score(LaneScan *s, const Stmt *loop) {
    *s = (LaneScan){
        .arena = s->arena, .step = s->step, .loop = loop, .possible = loop->mark == MARK_SERIAL && loop->step == 1, .widest = 1};
    for (const Stmt *b = loop->body.first; b; b = b->next) scan_stmt(s, b);
    if (!s->possible || !lanes_apart(s)) return 0;
    int points = 0;
    for (size_t i = 0; i < s->accesses.n; i++) {
        const Access *x = &s->accesses.at[i];
        int64_t stride = access_stride(x->buffer, x->n_index, x->index, loop->var);
        if (stride == 1)
            points += 4;
        else if (stride != 0)
            points -= 3;
    }
    return points;
}

/* The points of the best choice among the loops of a body: a loop itself, or the loops in it. */
static int best_inside(Arena *a, const Step *step, const Body *body) {
    int sum = 0;
    for (const Stmt *s = body->first; s; s = s->next) {
        if (s->kind != STMT_FOR) continue;
        LaneScan scan = {.arena = a, .step = step};
        int own = lanes_score(&scan, s), inner = best_inside(a, step, &s->body);
        sum += own > inner ? own : inner;
    }
    return sum;
}

/* What a body costs a turn, loops in it once. */
static int64_t turn_cost(const Body *body) {
    int64_t cost = 0;
    for (const Stmt *s = body->first; s; s = s->next) cost += 1 + expr_cost(s->value) + turn_cost(&s->body);
    return cost;
}

/* Short loops inside lanes, over the places of a window, are written out: a turn is little more than what the loop costs. Not what is long, as a function. */
static void write_out(Body *body, int64_t copies) {
    enum { MOST_COPIES = 16, MOST_COST = 300 };
    for (Stmt *s = body->first; s; s = s->next) {
        int64_t turns = s->kind == STMT_FOR && s->mark == MARK_SERIAL ? stmt_distance(s) : 0;
        bool fits =
            turns > 0 && turns <= MOST_COPIES / copies && s->step == 1 && copies * turns * turn_cost(&s->body) <= MOST_COST;
        if (fits) s->mark = MARK_UNROLL;
        write_out(&s->body, fits ? copies * turns : copies);
    }
}

/* A loop is marked if it is at least as good as the loops inside it; else these are looked at one by one. */
static void mark_best(PassCtx *c, const Step *step, Body *body) {
    for (Stmt *s = body->first; s; s = s->next) {
        if (s->kind != STMT_FOR && s->kind != STMT_IF) continue;
        LaneScan scan = {.arena = c->arena, .step = step};
        int own = s->kind == STMT_FOR && !stmt_has_mark(s, MARK_UNROLL) ? lanes_score(&scan, s) : 0;
        int lanes = machine_lanes(c->machine, scan.widest < 4 ? 4 : scan.widest);
        if (own > 0 && lanes > 1 && own >= best_inside(c->arena, step, &s->body)) {
            s->mark = MARK_VECTOR;
            s->width = lanes;
            write_out(&s->body, 1);
        } else if (s->mark != MARK_VECTOR) {
            mark_best(c, step, &s->body);
        }
    }
}

static void vectorize_nodes(PassCtx *c, Step *step, const PtrMap *users, StepNode *const *nodes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (nodes[i]->kind == STEP_KERNEL) {
            vectorize_rows(c, step, users, nodes[i], &nodes[i]->body);
            vectorize_columns(c, step, &nodes[i]->body);
            mark_best(c, step, &nodes[i]->body);
            vectorize_ahead(c, step, &nodes[i]->body);
        }
        vectorize_nodes(c, step, users, nodes[i]->nodes.at, nodes[i]->nodes.n);
    }
}

bool pass_vectorize(PassCtx *c, LoopsProgram *p) {
    if (machine_lanes(c->machine, 4) < 2) return true;
    for (size_t i = 0; i < p->steps.n; i++) {
        Step *step = p->steps.at[i];
        PtrMap users = vectorize_users(c->arena, step);
        vectorize_nodes(c, step, &users, step->nodes.at, step->nodes.n);
    }
    return true;
}
