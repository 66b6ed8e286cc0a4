/*
 * loops_verify.c - does a loops program follow the rules of loops.h? Variables and temps are declared before use and inside their
 * loop, types fit, numbers of indices fit, nothing stores to what is only read, and once planned every buffer has a place inside
 * the arena.
 *
 * Bounds of accesses are proved where an index is a number, or one variable alone whose loop numbers limit; loops_eval.c checks every access it makes.
 */
#include "loops_text.h"

#include <string.h>

/* What a variable can be; known where numbers alone limit its loop. */
typedef struct Range {
    bool known;
    int64_t min, max;
} Range;

typedef struct Check {
    Arena *arena;
    const Step *step;
    const StepNode *kernel;
    LoopsStage stage;
    bool *var, *temp; /* by id: declared and in scope */
    Range *range;     /* of variables, by id */
    int conditions;   /* inside how many, and loops over nothing: what is never reached may be out of bounds */
    const char *fault;
} Check;

__attribute__((format(printf, 2, 3))) static void fault(Check *c, const char *format, ...) {
    if (c->fault) return;
    va_list args;
    va_start(args, format);
    const char *what = arena_vprintf(c->arena, format, args);
    va_end(args);
    Text text = {0};
    text_printf(c->arena, &text, "step @%s", c->step->func->name);
    if (c->kernel) {
        text_printf(c->arena, &text, ", kernel @%s", c->kernel->name);
        if (c->kernel->loc.file) text_printf(c->arena, &text, " (%s:%d)", c->kernel->loc.file, c->kernel->loc.line);
    }
    text_printf(c->arena, &text, ": %s", what);
    c->fault = text_str(c->arena, &text);
}

static bool in_step(const Check *c, const Buffer *b) {
    return b && b->id >= 0 && (size_t)b->id < c->step->buffers.n && c->step->buffers.at[b->id] == b;
}

static void check_affine(Check *c, const Affine *x, const char *where) {
    if (!x) {
        fault(c, "%s has no index", where);
        return;
    }
    for (int i = 0; i < x->n; i++) {
        const Var *v = x->term[i].var;
        if (x->term[i].factor == 0) fault(c, "%s has a term that is 0", where);
        if (i && x->term[i - 1].var->id >= v->id) fault(c, "the terms of %s are not sorted", where);
        if (v->id < 0 || v->id >= c->step->n_vars)
            fault(c, "%s uses a variable of another step", where);
        else if (!c->var[v->id])
            fault(c, "%s uses `%s` where it is not declared", where, v->name);
    }
}

/* What an index of one variable can be. */
static Range range_of(const Check *c, const Affine *x) {
    if (affine_is_constant(x)) return (Range){true, x->constant, x->constant};
    Range r = x->n == 1 ? c->range[x->term[0].var->id] : (Range){0};
    if (!r.known) return r;
    int64_t factor = x->term[0].factor, a = factor * r.min + x->constant, b = factor * r.max + x->constant;
    return a < b ? (Range){true, a, b} : (Range){true, b, a};
}

/* Is it known that the index leaves the axis? *k: to where. */
static bool leaves(const Check *c, const Affine *x, int64_t size, int64_t *k) {
    if (c->fault || c->conditions) return false;
    Range r = range_of(c, x);
    *k = r.min < 0 ? r.min : r.max;
    return r.known && (r.min < 0 || r.max >= size);
}

static void check_access(Check *c, const Buffer *b, int n, const Affine *const *index, bool guarded) {
    if (!in_step(c, b)) {
        fault(c, "a buffer of another step");
        return;
    }
    if (n != b->rank) {
        fault(c, "%%%s has %d axes and is indexed by %d", b->name, b->rank, n);
        return;
    }
    for (int i = 0; i < n; i++) {
        check_affine(c, index[i], b->name);
        int64_t k, size = dim_size(b->dim[i], c->step->batch_bound);
        if (size && !guarded && leaves(c, index[i], size, &k))
            fault(c, "%%%s is indexed by %" PRId64 " on an axis of %" PRId64, b->name, k, size);
    }
}

static void check_temp(Check *c, const Temp *t, int n, const Affine *const *index) {
    if (t->id < 0 || t->id >= c->step->n_temps || !c->temp[t->id]) {
        fault(c, "`%s` is used where it is not declared", t->name);
        return;
    }
    if (n != t->rank) fault(c, "`%s` has %d axes and is indexed by %d", t->name, t->rank, n);
    for (int i = 0; i < n && !c->fault; i++) {
        check_affine(c, index[i], t->name);
        int64_t k;
        if (leaves(c, index[i], t->dim[i], &k))
            fault(c, "`%s` is indexed by %" PRId64 " on an axis of %" PRId64, t->name, k, t->dim[i]);
    }
}

static void check_expr(Check *c, const Expr *e);

static void check_op(Check *c, const Expr *e) {
    if (e->op >= OP_COUNT || !op_info[e->op].elementwise) {
        fault(c, "`%s` is not elementwise", e->op < OP_COUNT ? op_info[e->op].name : "?");
        return;
    }
    const OpInfo *info = &op_info[e->op];
    if (e->n_args < info->min_in || (info->max_in >= 0 && e->n_args > info->max_in))
        fault(c, "%s with %d arguments", info->name, e->n_args);
    bool compares = e->op != OP_convert && loops_arg_elem(e->op, F32, 0) == NO_ELEM;
    if (compares && (e->elem != BOOL || e->args[0]->elem != e->args[1]->elem)) fault(c, "the types of %s do not fit", info->name);
    for (int i = 0; i < e->n_args; i++) {
        int want = loops_arg_elem(e->op, e->elem, i);
        check_expr(c, e->args[i]);
        if (want != NO_ELEM && (int)e->args[i]->elem != want)
            fault(c, "argument %d of %s is %s, not %s", i + 1, info->name, elem_name(e->args[i]->elem), elem_name((Elem)want));
    }
}

static void check_expr(Check *c, const Expr *e) {
    if (c->fault) return;
    switch (e->kind) {
    case EXPR_CONST: break;
    case EXPR_LOAD:
        check_access(c, e->buffer, e->n_index, e->index, e->guarded);
        if (e->elem != e->buffer->elem) fault(c, "a load of %%%s has another type than it", e->buffer->name);
        break;
    case EXPR_TEMP:
        check_temp(c, e->temp, e->n_index, e->index);
        if (e->elem != e->temp->elem) fault(c, "`%s` has another type than its use", e->temp->name);
        break;
    case EXPR_INDEX:
        check_affine(c, e->index[0], "a number");
        if (e->elem == BOOL) fault(c, "an index as bool");
        break;
    case EXPR_OP: check_op(c, e); break;
    case EXPR_UNIFORM:
        for (int i = 0; i < 2; i++) {
            check_expr(c, e->args[i]);
            if (e->args[i]->elem != I64) fault(c, "argument %d of uniform is not i64", i + 1);
        }
        break;
    case EXPR_TREE:
        if (!c->temp[e->temp->id]) fault(c, "`%s` is used where it is not declared", e->temp->name);
        if (e->temp->rank != 1 || e->temp->dim[0] != SUM_LANES)
            fault(c, "tree of `%s`, which has not %d elements", e->temp->name, SUM_LANES);
        break;
    }
}

static void check_body(Check *c, const Body *b);

/* A loop over nothing, as over an axis of a slice of 0: numbers say so. */
static bool never_turns(const Stmt *s) {
    for (int i = 0; i < s->n_limits; i++) {
        const Affine *end = s->limits[i];
        if (affine_is_constant(end) && affine_is_constant(s->lo) && end->constant <= s->lo->constant) return true;
    }
    return false;
}

/* Where all of the loop's limits are numbers. */
static Range loop_range(const Stmt *s) {
    int64_t end = INT64_MAX;
    for (int i = 0; i < s->n_limits; i++) {
        if (!affine_is_constant(s->limits[i])) return (Range){0};
        if (s->limits[i]->constant < end) end = s->limits[i]->constant;
    }
    if (!affine_is_constant(s->lo) || s->step < 1 || end <= s->lo->constant) return (Range){0};
    return (Range){true, s->lo->constant, s->lo->constant + (end - 1 - s->lo->constant) / s->step * s->step};
}

static void check_for(Check *c, const Stmt *s) {
    check_affine(c, s->lo, "a loop");
    for (int i = 0; i < s->n_limits; i++) check_affine(c, s->limits[i], "a loop");
    if (s->n_limits < 1) fault(c, "the loop over `%s` has no limit", s->var->name);
    if (s->step < 1) fault(c, "the loop over `%s` steps by %" PRId64, s->var->name, s->step);
    if (s->mark == MARK_VECTOR && s->width < 1) fault(c, "the loop over `%s` is a vector of %d lanes", s->var->name, s->width);
    if (c->var[s->var->id]) fault(c, "`%s` is declared twice", s->var->name);
    bool never = !c->fault && never_turns(s);
    c->var[s->var->id] = true;
    c->range[s->var->id] = loop_range(s);
    c->conditions += never;
    check_body(c, &s->body);
    c->conditions -= never;
    c->var[s->var->id] = false;
}

static void check_stmt(Check *c, const Stmt *s) {
    if (s->value) check_expr(c, s->value);
    switch (s->kind) {
    case STMT_FOR: check_for(c, s); break;
    case STMT_LET:
    case STMT_ACC:
        if (c->temp[s->temp->id]) fault(c, "`%s` is declared twice", s->temp->name);
        if (s->value->elem != s->temp->elem) fault(c, "`%s` gets a value of another type", s->temp->name);
        if ((s->kind == STMT_ACC) != s->temp->acc) fault(c, "`%s` is declared as what it is not", s->temp->name);
        c->temp[s->temp->id] = true;
        break;
    case STMT_ASSIGN:
        check_temp(c, s->temp, s->n_index, s->index);
        if (!s->temp->acc) fault(c, "the let `%s` is set again", s->temp->name);
        if (s->value->elem != s->temp->elem) fault(c, "`%s` gets a value of another type", s->temp->name);
        break;
    case STMT_STORE:
        check_access(c, s->buffer, s->n_index, s->index, false);
        if (c->fault) break;
        if (s->buffer->place == PLACE_FIELD || s->buffer->place == PLACE_DATA)
            fault(c, "a store to %%%s, which is only read", s->buffer->name);
        if (s->value->elem != s->buffer->elem) fault(c, "%%%s gets a value of another type", s->buffer->name);
        break;
    case STMT_INDEX:
        if (s->index_kind != INDEX_VALUE) {
            check_affine(c, s->affine, "an index");
            if (s->by < 1) fault(c, "`%s` is divided by %" PRId64, s->var->name, s->by);
        } else if (!elem_is_int(s->value->elem)) {
            fault(c, "the index `%s` is not an integer", s->var->name);
        }
        if (c->var[s->var->id]) fault(c, "`%s` is declared twice", s->var->name);
        c->var[s->var->id] = true;
        c->range[s->var->id] = (Range){0};
        break;
    case STMT_CHECK:
        check_affine(c, s->size, "a check");
        if (s->var->kind != VAR_INDEX || !c->var[s->var->id]) fault(c, "a check of `%s`, which is no index here", s->var->name);
        break;
    case STMT_PREFETCH:
        if (s->n_index != s->buffer->rank) fault(c, "a prefetch of %%%s with %d indices", s->buffer->name, s->n_index);
        for (int i = 0; i < s->n_index && !c->fault; i++) check_affine(c, s->index[i], "a prefetch");
        break;
    case STMT_IF:
        check_affine(c, s->affine, "an if");
        c->conditions++;
        check_body(c, &s->body);
        c->conditions--;
        break;
    }
}

/* What a body declares is known to its end. */
static void check_body(Check *c, const Body *b) {
    const Stmt *prev = NULL;
    for (const Stmt *s = b->first; s && !c->fault; prev = s, s = s->next) {
        if (s->prev != prev) fault(c, "the list of statements is broken");
        check_stmt(c, s);
    }
    if (!c->fault && b->last != prev) fault(c, "the list of statements is broken");
    for (const Stmt *s = b->first; s; s = s->next) {
        if (s->kind == STMT_LET || s->kind == STMT_ACC) c->temp[s->temp->id] = false;
        if (s->kind == STMT_INDEX) c->var[s->var->id] = false;
    }
}

static void check_nodes(Check *c, StepNode *const *nodes, size_t n) {
    for (size_t i = 0; i < n && !c->fault; i++) {
        const StepNode *k = nodes[i];
        switch (k->kind) {
        case STEP_BARRIER: break;
        case STEP_KERNEL:
            c->kernel = k;
            check_body(c, &k->body);
            c->kernel = NULL;
            break;
        case STEP_LOOP:
            if (k->trip)
                check_affine(c, k->trip, "a loop of the step");
            else if (!in_step(c, k->count) || k->count->elem != I32 || k->count->rank)
                fault(c, "a loop of the step has no count");
            c->var[k->var->id] = true;
            c->range[k->var->id] = (Range){0};
            check_nodes(c, k->nodes.at, k->nodes.n);
            c->var[k->var->id] = false;
            break;
        case STEP_WHILE:
            if (!in_step(c, k->count) || k->count->elem != BOOL || k->count->rank) fault(c, "a while has no condition");
            check_nodes(c, k->nodes.at, k->nodes.n);
            break;
        }
    }
}

/* A buffer that is a slot's memory, or a batch of it, has its type, and no element beyond it. */
static void check_slot(Check *c, const Buffer *b) {
    const Type *t = b->slot->type;
    bool batch = slot_is_batch(b->slot);
    if (batch != (b->place == PLACE_FIELD))
        fault(c, "%%%s is taken for %s, which its slot is not", b->name, batch ? "memory of the program" : "a batch of data");
    if (b->elem != t->elem || buffer_bytes(c->step, b) > type_count(t, c->step->batch_bound) * elem_size(t->elem))
        fault(c, "%%%s is not %s, as its slot is", b->name, type_name(t));
    if (type_has_batch(t) && c->step->batch_bound != b->slot->batch_bound)
        fault(c, "%%%s has batches of %" PRId64 ", and the step of %" PRId64, b->name, b->slot->batch_bound,
              c->step->batch_bound);
}

static void check_buffer(Check *c, const Buffer *b) {
    if (b->same && !in_step(c, b->same)) fault(c, "%%%s shares a buffer of another step", b->name);
    if (b->same && b->same->id >= b->id) fault(c, "%%%s shares a buffer that comes later", b->name);
    if ((b->place == PLACE_SLOT || b->place == PLACE_FIELD) && !b->slot)
        fault(c, "%%%s has no slot", b->name);
    else if (b->place == PLACE_SLOT || b->place == PLACE_FIELD)
        check_slot(c, b);
    if (b->place == PLACE_DATA && !b->data) fault(c, "%%%s has no data", b->name);
    if (b->same && !c->fault && buffer_bytes(c->step, b) > b->same->bytes)
        fault(c, "%%%s has more bytes than %%%s, which it shares", b->name, b->same->name);
    if (b->bytes < buffer_bytes(c->step, b)) fault(c, "%%%s has %" PRId64 " bytes, fewer than its elements", b->name, b->bytes);
    for (int i = 0; i < b->rank; i++)
        if (b->dim[i].batch && !c->step->batch) fault(c, "%%%s has a batch axis, and the step no batch", b->name);
    if (c->stage < LOOPS_PLANNED || b->same) return;
    if (b->place == PLACE_NONE) fault(c, "%%%s has no place", b->name);
    if (b->place != PLACE_ARENA && b->place != PLACE_THREAD) return;
    int64_t room = b->place == PLACE_ARENA ? c->step->arena : c->step->own;
    if (b->offset % 64 || b->offset < 0 || b->bytes > room - b->offset)
        fault(c, "%%%s lies at %" PRId64 " of %s of %" PRId64 " bytes", b->name, b->offset,
              b->place == PLACE_ARENA ? "an arena" : "a thread's own part", room);
}

const char *step_verify(Arena *a, const Step *s, LoopsStage stage) {
    Check c = {.arena = a, .step = s, .stage = stage};
    c.var = arena_make_n(a, bool, (size_t)s->n_vars + 1);
    c.temp = arena_make_n(a, bool, (size_t)s->n_temps + 1);
    c.range = arena_make_n(a, Range, (size_t)s->n_vars + 1);
    if (s->batch) c.var[s->batch->id] = true;
    for (size_t k = 0; k < s->buffers.n; k++) {
        if (s->buffers.at[k]->id != (int)k) fault(&c, "buffer %zu has the number %d", k, s->buffers.at[k]->id);
        check_buffer(&c, s->buffers.at[k]);
    }
    check_nodes(&c, s->nodes.at, s->nodes.n);
    return c.fault;
}

const char *loops_verify(Arena *a, const LoopsProgram *p, LoopsStage stage) {
    for (size_t i = 0; i < p->steps.n; i++) {
        const char *why = step_verify(a, p->steps.at[i], stage);
        if (why) return why;
    }
    return NULL;
}
