/*
 * loops.c - building blocks of the loops IR: affine indices, variables, buffers, expressions, statements, walks and copies. See
 * loops.h.
 *
 * Affine values are immutable and shared freely; expressions are trees owned by one statement (a pass that rewrites an expression
 * in place must not have shared it: copy with expr_clone first); statements are linked lists.
 */
#include "loops.h"

#include <string.h>

/* ---- affine indices ---- */

static Affine *affine_new(Arena *a, int n, int64_t constant) {
    Affine *x = arena_alloc(a, sizeof *x + (size_t)n * sizeof(Term));
    x->n = n;
    x->constant = constant;
    return x;
}

const Affine *affine_constant(Arena *a, int64_t k) { return affine_new(a, 0, k); }

const Affine *affine_var(Arena *a, Var *v) {
    Affine *x = affine_new(a, 1, 0);
    x->term[0] = (Term){v, 1};
    return x;
}

/* Merges two sorted lists of terms; terms that cancel go. */
const Affine *affine_add(Arena *a, const Affine *x, const Affine *y) {
    Affine *r = affine_new(a, x->n + y->n, x->constant + y->constant);
    int n = 0, i = 0, j = 0;
    while (i < x->n || j < y->n) {
        if (j == y->n || (i < x->n && x->term[i].var->id < y->term[j].var->id)) {
            r->term[n++] = x->term[i++];
        } else if (i == x->n || y->term[j].var->id < x->term[i].var->id) {
            r->term[n++] = y->term[j++];
        } else {
            int64_t factor = x->term[i].factor + y->term[j].factor;
            if (factor) r->term[n++] = (Term){x->term[i].var, factor};
            i++;
            j++;
        }
    }
    r->n = n;
    return r;
}

const Affine *affine_scale(Arena *a, const Affine *x, int64_t factor) {
    if (factor == 0) return affine_constant(a, 0);
    if (factor == 1) return x;
    Affine *r = affine_new(a, x->n, x->constant * factor);
    for (int i = 0; i < x->n; i++) r->term[i] = (Term){x->term[i].var, x->term[i].factor * factor};
    return r;
}

const Affine *affine_add_constant(Arena *a, const Affine *x, int64_t k) {
    if (k == 0) return x;
    Affine *r = affine_new(a, x->n, x->constant + k);
    memcpy(r->term, x->term, (size_t)x->n * sizeof(Term));
    return r;
}

const Affine *affine_substitute(Arena *a, const Affine *x, const Var *v, const Affine *by) {
    int64_t factor = affine_factor(x, v);
    if (factor == 0) return x;
    Affine *rest = affine_new(a, x->n - 1, x->constant);
    for (int i = 0, n = 0; i < x->n; i++)
        if (x->term[i].var != v) rest->term[n++] = x->term[i];
    return affine_add(a, rest, affine_scale(a, by, factor));
}

int64_t affine_factor(const Affine *x, const Var *v) {
    for (int i = 0; i < x->n; i++)
        if (x->term[i].var == v) return x->term[i].factor;
    return 0;
}

bool affine_is_constant(const Affine *x) { return x->n == 0; }

bool affine_same(const Affine *x, const Affine *y) {
    if (x == y) return true;
    if (x->n != y->n || x->constant != y->constant) return false;
    for (int i = 0; i < x->n; i++)
        if (x->term[i].var != y->term[i].var || x->term[i].factor != y->term[i].factor) return false;
    return true;
}

/* ---- variables, temps, buffers ---- */

Var *step_var(Arena *a, Step *s, VarKind kind, const char *name) {
    Var *v = arena_make(a, Var);
    v->kind = kind;
    v->name = intern(name);
    v->id = s->n_vars++;
    return v;
}

Temp *step_temp(Arena *a, Step *s, const char *name, Elem elem, bool acc, int rank, const int64_t *dims) {
    Temp *t = arena_make(a, Temp);
    if (rank > 4) bug("an accumulator of rank %d", rank);
    t->name = intern(name);
    t->elem = elem;
    t->acc = acc;
    t->rank = rank;
    for (int i = 0; i < rank; i++) t->dim[i] = dims[i];
    t->id = s->n_temps++;
    return t;
}

int64_t buffer_bytes(const Step *s, const Buffer *b) {
    int64_t last = 0;
    for (int i = 0; i < b->rank; i++) {
        int64_t n = dim_size(b->dim[i], s->batch_bound);
        if (n == 0) return 0;
        last += (n - 1) * b->stride[i];
    }
    return (last + 1) * elem_size(b->elem);
}

void buffer_pack_rows(const Step *s, Buffer *b) {
    int64_t stride = 1;
    for (int i = b->rank - 1; i >= 0; i--) {
        b->stride[i] = stride;
        stride *= dim_size(b->dim[i], s->batch_bound);
    }
    b->bytes = buffer_bytes(s, b);
}

StepNode *step_kernel(Arena *a, const char *name, Loc loc) {
    StepNode *node = arena_make(a, StepNode);
    node->kind = STEP_KERNEL;
    node->name = name;
    node->loc = loc;
    return node;
}

StepNode *step_barrier(Arena *a, Loc loc) {
    StepNode *node = arena_make(a, StepNode);
    node->kind = STEP_BARRIER;
    node->loc = loc;
    return node;
}

int64_t step_own_at(const Step *s, int64_t thread) {
    enum { ALIGN = 64 };
    return (s->arena + ALIGN - 1) / ALIGN * ALIGN + thread * ((s->own + ALIGN - 1) / ALIGN * ALIGN);
}

Buffer *step_buffer(Arena *a, Step *s, const char *name, Elem elem, int rank, const Dim *dims, Loc loc) {
    Buffer *b = arena_make(a, Buffer);
    b->name = intern(name);
    b->elem = elem;
    b->rank = rank;
    b->dim = arena_make_n(a, Dim, rank);
    b->stride = arena_make_n(a, int64_t, rank);
    for (int i = 0; i < rank; i++) b->dim[i] = dims[i];
    buffer_pack_rows(s, b);
    b->place = PLACE_NONE;
    b->loc = loc;
    b->id = (int)s->buffers.n;
    vec_push(a, &s->buffers, b);
    return b;
}

const Buffer *buffer_memory(const Buffer *b) {
    while (b->same) b = b->same;
    return b;
}

Buffer *buffer_root(Buffer *b) { return (Buffer *)buffer_memory(b); }

void buffer_share(Buffer *b, Buffer *of) {
    b->same = buffer_root(of);
    b->place = b->same->place;
    b->offset = b->same->offset;
    b->slot = b->same->slot;
    b->data = b->same->data;
}

static bool is_view(const Buffer *b, const Buffer *of, const Buffer *shape) {
    if (!b->same || buffer_memory(b) != buffer_memory(of) || b->elem != of->elem || b->rank != shape->rank) return false;
    for (int i = 0; i < b->rank; i++)
        if (!dim_same(b->dim[i], shape->dim[i]) || b->stride[i] != shape->stride[i]) return false;
    return true;
}

Buffer *step_view(Arena *a, Step *s, Buffer *of, int rank, const Dim *dims, const int64_t *stride) {
    Buffer *view = step_buffer(a, s, of->name, of->elem, rank, dims, of->loc);
    for (int i = 0; stride && i < rank; i++) view->stride[i] = stride[i];
    view->bytes = of->bytes;
    for (int i = buffer_memory(of)->id; i < view->id; i++) {
        if (!is_view(s->buffers.at[i], of, view)) continue;
        s->buffers.n--;
        return s->buffers.at[i];
    }
    buffer_share(view, of);
    return view;
}

/* ---- expressions ---- */

static Expr *expr_new(Arena *a, ExprKind kind, Elem elem) {
    Expr *e = arena_make(a, Expr);
    e->kind = kind;
    e->elem = elem;
    return e;
}

static const Affine **copy_index(Arena *a, int n, const Affine *const *index) {
    const Affine **at = arena_make_n(a, const Affine *, n);
    for (int i = 0; i < n; i++) at[i] = index[i];
    return at;
}

Expr *expr_const(Arena *a, Elem elem, double value) {
    Expr *e = expr_new(a, EXPR_CONST, elem);
    e->value = value;
    return e;
}

Expr *expr_load(Arena *a, Buffer *b, const Affine *const *index) {
    Expr *e = expr_new(a, EXPR_LOAD, b->elem);
    e->buffer = b;
    e->n_index = b->rank;
    e->index = copy_index(a, b->rank, index);
    return e;
}

Expr *expr_load_else(Arena *a, Buffer *b, const Affine *const *index, double value) {
    Expr *e = expr_load(a, b, index);
    e->guarded = true;
    e->value = value;
    return e;
}

Expr *expr_temp(Arena *a, Temp *t, const Affine *const *index) {
    Expr *e = expr_new(a, EXPR_TEMP, t->elem);
    e->temp = t;
    e->n_index = t->rank;
    e->index = copy_index(a, t->rank, index);
    return e;
}

Expr *expr_index(Arena *a, Elem elem, const Affine *x) {
    Expr *e = expr_new(a, EXPR_INDEX, elem);
    e->n_index = 1;
    e->index = copy_index(a, 1, &x);
    return e;
}

Expr *expr_op(Arena *a, OpCode op, Elem elem, int n, Expr *const *args) {
    Expr *e = expr_new(a, EXPR_OP, elem);
    e->op = op;
    e->n_args = n;
    e->args = arena_make_n(a, Expr *, n);
    for (int i = 0; i < n; i++) e->args[i] = args[i];
    return e;
}

Expr *expr_uniform(Arena *a, int64_t site, Expr *key, Expr *element) {
    Expr *e = expr_new(a, EXPR_UNIFORM, F32);
    e->site = site;
    e->n_args = 2;
    e->args = arena_make_n(a, Expr *, 2);
    e->args[0] = key;
    e->args[1] = element;
    return e;
}

Expr *expr_tree(Arena *a, OpCode op, Temp *t) {
    Expr *e = expr_new(a, EXPR_TREE, t->elem);
    e->op = op;
    e->temp = t;
    return e;
}

Expr *expr_clone(Arena *a, const Expr *e) {
    Expr *c = arena_make(a, Expr);
    *c = *e;
    c->index = copy_index(a, e->n_index, e->index);
    c->args = arena_make_n(a, Expr *, e->n_args);
    for (int i = 0; i < e->n_args; i++) c->args[i] = expr_clone(a, e->args[i]);
    return c;
}

/* ---- statements ---- */

static Stmt *stmt_new(Arena *a, StmtKind kind) {
    Stmt *s = arena_make(a, Stmt);
    s->kind = kind;
    return s;
}

Stmt *stmt_for(Arena *a, Var *v, const Affine *lo, const Affine *limit, int64_t step, Mark mark, int width) {
    Stmt *s = stmt_new(a, STMT_FOR);
    s->var = v;
    s->lo = lo;
    s->n_limits = 1;
    s->limits = copy_index(a, 1, &limit);
    s->step = step;
    s->mark = mark;
    s->width = width;
    return s;
}

void stmt_add_limit(Arena *a, Stmt *s, const Affine *limit) {
    for (int i = 0; i < s->n_limits; i++)
        if (affine_same(s->limits[i], limit)) return;
    const Affine **at = arena_make_n(a, const Affine *, s->n_limits + 1);
    memcpy(at, s->limits, (size_t)s->n_limits * sizeof *at);
    at[s->n_limits++] = limit;
    s->limits = at;
}

int64_t stmt_distance(const Stmt *loop) {
    int64_t least = INT64_MAX;
    for (int i = 0; affine_is_constant(loop->lo) && i < loop->n_limits; i++) {
        const Affine *limit = loop->limits[i];
        if (affine_is_constant(limit) && limit->constant - loop->lo->constant < least)
            least = limit->constant - loop->lo->constant;
    }
    return least == INT64_MAX || least < 0 ? 0 : least;
}

Stmt *stmt_let(Arena *a, Temp *t, Expr *value) {
    Stmt *s = stmt_new(a, STMT_LET);
    s->temp = t;
    s->value = value;
    return s;
}

Stmt *stmt_acc(Arena *a, Temp *t, Expr *value) {
    Stmt *s = stmt_new(a, STMT_ACC);
    s->temp = t;
    s->value = value;
    return s;
}

Stmt *stmt_assign(Arena *a, Temp *t, const Affine *const *index, Expr *value) {
    Stmt *s = stmt_new(a, STMT_ASSIGN);
    s->temp = t;
    s->n_index = t->rank;
    s->index = copy_index(a, t->rank, index);
    s->value = value;
    return s;
}

Stmt *stmt_store(Arena *a, Buffer *b, const Affine *const *index, Expr *value) {
    Stmt *s = stmt_new(a, STMT_STORE);
    s->buffer = b;
    s->n_index = b->rank;
    s->index = copy_index(a, b->rank, index);
    s->value = value;
    return s;
}

Stmt *stmt_index(Arena *a, Var *v, IndexKind kind, const Affine *x, int64_t by, Expr *value) {
    Stmt *s = stmt_new(a, STMT_INDEX);
    s->var = v;
    s->index_kind = kind;
    s->affine = x;
    s->by = by;
    s->value = value;
    return s;
}

Stmt *stmt_check(Arena *a, Var *v, const Affine *size) {
    Stmt *s = stmt_new(a, STMT_CHECK);
    s->var = v;
    s->size = size;
    return s;
}

Stmt *stmt_prefetch(Arena *a, Buffer *b, const Affine *const *index) {
    Stmt *s = stmt_store(a, b, index, NULL);
    s->kind = STMT_PREFETCH;
    return s;
}

Stmt *stmt_if(Arena *a, const Affine *x) {
    Stmt *s = stmt_new(a, STMT_IF);
    s->affine = x;
    return s;
}

void body_add(Body *b, Stmt *s) {
    s->prev = b->last;
    s->next = NULL;
    if (b->last)
        b->last->next = s;
    else
        b->first = s;
    b->last = s;
}

void body_insert_before(Body *b, Stmt *place, Stmt *s) {
    if (!place) {
        body_add(b, s);
        return;
    }
    s->prev = place->prev;
    s->next = place;
    if (place->prev)
        place->prev->next = s;
    else
        b->first = s;
    place->prev = s;
}

void body_remove(Body *b, Stmt *s) {
    if (s->prev)
        s->prev->next = s->next;
    else
        b->first = s->next;
    if (s->next)
        s->next->prev = s->prev;
    else
        b->last = s->prev;
    s->prev = s->next = NULL;
}

/* The next statement is fetched before the visit, so that a visitor may take the visited one out. */
void body_walk(Body *b, void (*visit)(Stmt *s, void *arg), void *arg) {
    for (Stmt *s = b->first, *next; s; s = next) {
        next = s->next;
        visit(s, arg);
        body_walk(&s->body, visit, arg);
    }
}

static void expr_walk(Expr **e, void (*visit)(Expr **e, void *arg), void *arg) {
    visit(e, arg);
    for (int i = 0; i < (*e)->n_args; i++) expr_walk(&(*e)->args[i], visit, arg);
}

void stmt_walk_exprs(Stmt *s, void (*visit)(Expr **e, void *arg), void *arg) {
    if (s->value) expr_walk(&s->value, visit, arg);
}

/* ---- slots ---- */

typedef struct SlotSearch {
    Arena *arena;
    StepSlots found;
    PtrMap read, written; /* what has been found */
} SlotSearch;

static void add_slot(Arena *a, Slots *list, PtrMap *known, const Buffer *b) {
    Slot *slot = buffer_memory(b)->slot;
    if (!slot || map_get(known, slot)) return;
    map_put(a, known, slot, slot);
    vec_push(a, list, slot);
}

static void add_read(SlotSearch *s, const Buffer *b) { add_slot(s->arena, &s->found.read, &s->read, b); }

static void find_load(Expr **e, void *arg) {
    if ((*e)->kind == EXPR_LOAD) add_read(arg, (*e)->buffer);
}

static void find_slots(Stmt *stmt, void *arg) {
    SlotSearch *s = arg;
    stmt_walk_exprs(stmt, find_load, s);
    if (stmt->kind == STMT_STORE) add_slot(s->arena, &s->found.written, &s->written, stmt->buffer);
}

static void search_nodes(SlotSearch *s, StepNode *const *at, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (at[i]->count) add_read(s, at[i]->count);
        body_walk(&at[i]->body, find_slots, s);
        search_nodes(s, at[i]->nodes.at, at[i]->nodes.n);
    }
}

StepSlots step_slots(Arena *a, const Step *s) {
    SlotSearch search = {.arena = a};
    search_nodes(&search, s->nodes.at, s->nodes.n);
    return search.found;
}
