/*
 * elab_loops.c - scan, repeat, while: loops that run inside a function, as ops with a block.
 *
 * A name bound before the loop and bound again in its body is carried, and so is a parameter that the body writes. What is
 * carried, and with which type, shows only when the body has been elaborated; so the body is tried with a guess, and again with
 * what was learnt, until both agree (twice, as a rule). Ops of a rejected try are left in a block that nobody holds.
 */
#include "elab.h"

#include <math.h>

typedef struct Carry {
    const char *name;
    Binding *outer;
    Owned *owned; /* a parameter that the body writes, instead of a name */
    Val init;
    const Type *type;   /* of the carried value; NULL: not known yet */
    bool scalar, whole; /* a bare number, as f64 */
    bool dropped;       /* not carried after all: never read in the body, or never changed */
    Loc changed;
    Value *param, *end;
    Binding *inner;
} Carry;

typedef Vec(Carry) Carries;

typedef struct Loop {
    const AstNode *ast;
    Vec(Value *) xs; /* scanned */
    Vec(const char *) x_names;
    Vec(int64_t) axes;
    int64_t trip; /* -1: count says */
    Value *count;
    Dim turns;          /* of axes that are scanned or stacked; n is -1 where nothing can be stacked */
    Val from;           /* scan t in from..to */
    const char *t_name; /* NULL: none */
    bool along;
    int64_t axis;
    int64_t max;
} Loop;

/* ---- what is carried ---- */

static void find_carries(Elab *e, const AstNode *loop, Carries *out) {
    NameList names = {0};
    assigned_names(e, loop, &names);
    for (size_t i = 0; i < names.n; i++) {
        Binding *b = scope_find_local(e->scope, names.at[i]);
        if (!b || b->fixed || b->val.kind == VAL_ERROR || b->val.kind == VAL_DROPPED) continue;
        Carry c = {.name = b->name, .outer = b, .init = b->val};
        vec_push(e->a, out, c);
    }
}

/* ---- one try ---- */

typedef struct Saved {
    Builder b;
    Currents currents;
    KeyFrame *keys;
    Scope *scope;
    ScanState *scan;
} Saved;

static Saved save(Elab *e) {
    Saved s = {e->b, {0}, e->keys, e->scope, e->scan};
    for (size_t i = 0; i < e->currents.n; i++) vec_push(e->a, &s.currents, e->currents.at[i]);
    return s;
}

static void restore(Elab *e, const Saved *s) {
    e->b = s->b;
    e->currents.n = 0;
    for (size_t i = 0; i < s->currents.n; i++) vec_push(e->a, &e->currents, s->currents.at[i]);
    e->keys = s->keys;
    e->scope = s->scope;
    e->scan = s->scan;
}

/* The type a carry begins with. */
static bool first_type(Elab *e, Carry *c, Loc at) {
    switch ((int)c->init.kind) {
    case VAL_NUMBER:
        c->type = type_scalar(F64);
        c->scalar = true;
        c->whole = !c->init.batch && c->init.num == floor(c->init.num);
        return true;
    case VAL_SCALAR:
        c->type = type_scalar(F64);
        c->scalar = true;
        c->whole = c->init.whole;
        return true;
    case VAL_BOOL: c->type = type_scalar(BOOL); return true;
    case VAL_TENSOR: {
        Value *v = tensor_of(e, c->init, at);
        if (v) c->init = val_tensor(v);
        c->type = v ? v->type : NULL;
        return v != NULL;
    }
    default: c->dropped = true; return true; /* a list, a function: cannot change in a loop that runs */
    }
}

static bool first_types(Elab *e, Carries *cs, Loc at) {
    for (size_t i = 0; i < cs->n; i++)
        if (!cs->at[i].owned && !first_type(e, &cs->at[i], at)) return false;
    return true;
}

/* Enters a block: parameters for what is carried, bound to their names. */
static void bind_carries(Elab *e, Block *b, Carries *cs) {
    for (size_t i = 0; i < cs->n; i++) {
        Carry *c = &cs->at[i];
        c->inner = NULL;
        if (c->owned) {
            c->param = block_param(b, c->owned->slot->type, c->owned->name);
            Current *now = current_find(e, c->owned);
            if (!now) {
                owned_read(e, c->owned, e->b.loc);
                now = current_find(e, c->owned);
            }
            now->now = c->param;
            vec_push(e->a, &now->versions, c->param); /* what losses in the body see */
            continue;
        }
        Val v = c->init;
        if (!c->dropped) {
            c->param = block_param(b, c->type, c->name);
            v = c->scalar ? val_scalar(c->param, c->whole) : val_tensor(c->param);
        }
        c->inner = scope_bind(e, e->scope, c->name, v, c->outer->loc);
        c->inner->rebound = c->inner->read = false;
    }
}

static Loc last_place(const Carry *c) { return c->inner ? c->inner->loc : c->outer->loc; }

/* A name that is not carried after all: the body may rebind it without reading it (a name of its own), and a number; nothing else. */
static void settle_dropped(Elab *e, Carry *c, bool *failed) {
    if (!c->inner->rebound) return;
    if (!c->inner->read || val_is_number(c->init)) {
        c->changed = last_place(c);
        return;
    }
    elab_error(e, last_place(c), 301, "`%s` is %s before the loop and cannot change in a loop that runs", c->name,
               val_text(e, c->init));
    elab_note(e, c->outer->loc, "it is bound here before the loop");
    *failed = true;
}

/* A carried number that has become the number v: false if it was guessed to be whole and is not. */
static bool settle_number(Elab *e, Carry *c, Val v, bool *failed) {
    bool whole = v.kind == VAL_NUMBER ? !v.batch && v.num == floor(v.num) : v.whole;
    if (c->whole && !whole) return c->whole = false;
    c->end = number_as(e, v, F64, last_place(c));
    if (!c->end) *failed = true;
    return true;
}

/* What a carry has become: false if the guess was wrong and there is something to try instead; *failed after an error. */
static bool settle(Elab *e, Carry *c, bool *failed) {
    if (c->owned) {
        c->end = current_find(e, c->owned)->now;
        return true;
    }
    Val v = c->inner->val;
    if (c->inner->read && !c->outer->rebound) c->outer->read = true;
    if (v.kind == VAL_ERROR) {
        *failed = true;
        return true;
    }
    if (c->dropped) {
        settle_dropped(e, c, failed);
        return true;
    }
    bool same = v.kind == VAL_TENSOR || v.kind == VAL_SCALAR ? v.t.value == c->param && c->param : !c->inner->rebound;
    bool itself =
        c->inner->rebound && c->inner->read; /* bound to what it was, as by dropout while nothing learns: carried all the same */
    if (same && !itself) {                   /* never changed */
        c->dropped = true;
        c->changed = (Loc){0};
        return false;
    }
    if (c->scalar && val_is_number(v)) return settle_number(e, c, v, failed);
    Value *end = NULL;
    if (val_is_number(v))
        end = tensor_to(e, v, c->type, last_place(c));
    else if (v.kind == VAL_TENSOR || v.kind == VAL_BOOL)
        end = tensor_of(e, v, last_place(c));
    if (end && end->type == c->type && !c->scalar) {
        c->end = end;
        return true;
    }
    if (c->scalar && end) { /* a number takes the type it is bound to */
        c->scalar = false;
        c->type = end->type;
        return false;
    }
    if (!c->inner->read) { /* a name for something else in the body */
        c->dropped = true;
        c->changed = last_place(c);
        return false;
    }
    elab_error(e, last_place(c), 301, "`%s` is %s at the end of the loop's body, but %s before the loop", c->name, val_text(e, v),
               val_text(e, c->init));
    elab_note(e, c->outer->loc, "it is bound here before the loop; what a loop carries does not change its type");
    *failed = true;
    return true;
}

/* Parameters that the body wrote without our carrying them. */
static bool find_written(Elab *e, const Saved *before, Carries *cs) {
    bool found = false;
    for (size_t i = 0; i < e->currents.n; i++) {
        const Current *now = &e->currents.at[i];
        const Current *old = NULL;
        if (i < before->currents.n && before->currents.at[i].owned == now->owned) old = &before->currents.at[i];
        for (size_t k = 0; !old && k < before->currents.n; k++)
            if (before->currents.at[k].owned == now->owned) old = &before->currents.at[k];
        bool changed = old ? old->now != now->now : now->written;
        bool carried = false;
        for (size_t k = 0; k < cs->n; k++) carried = carried || cs->at[k].owned == now->owned;
        if (!changed || carried) continue;
        Carry c = {.owned = now->owned, .type = now->owned->slot->type};
        vec_push(e->a, cs, c);
        found = true;
    }
    return found;
}

/* ---- after the loop ---- */

static bool start_values(Elab *e, Carries *cs, Loc at, Values *in) {
    for (size_t i = 0; i < cs->n; i++) {
        Carry *c = &cs->at[i];
        if (c->dropped) continue;
        Value *v = c->owned ? owned_read(e, c->owned, at) : tensor_to(e, c->init, c->type, at);
        if (!v) return false;
        vec_push(e->a, in, v);
    }
    return true;
}

static void bind_results_of(Elab *e, Carries *cs, Value *const *out) {
    size_t k = 0;
    for (size_t i = 0; i < cs->n; i++) {
        Carry *c = &cs->at[i];
        if (c->dropped) {
            if (c->outer && c->changed.file) {
                c->outer->val = (Val){.kind = VAL_DROPPED};
                c->outer->loc = c->changed;
                c->outer->rebound = true;
            }
            continue;
        }
        Value *v = out[k++];
        if (c->owned) {
            Current *now = current_find(e, c->owned);
            now->now = v;
            now->written = true;
            vec_push(e->a, &now->versions, v);
            continue;
        }
        v->name = c->name;
        c->outer->val = c->scalar ? val_scalar(v, c->whole) : val_tensor(v);
        c->outer->rebound = true;
        c->outer->average = false;
    }
}

static size_t carried(const Carries *cs) {
    size_t n = 0;
    for (size_t i = 0; i < cs->n; i++) n += !cs->at[i].dropped;
    return n;
}

/* ---- scan and repeat ---- */

static bool read_range(Elab *e, const AstNode *source, Loop *l) {
    l->from = expr_number(e, source->binary.left, "the beginning of a range");
    Val to = expr_number(e, source->binary.right, "the end of a range");
    if (l->from.kind == VAL_ERROR || to.kind == VAL_ERROR) return false;
    Val n = number_binary(e, OPERATOR_SUB, to, l->from, source->loc);
    int64_t whole;
    if (val_whole(n, &whole)) {
        l->trip = whole > 0 ? whole : 0;
        l->turns = (Dim){l->trip, false};
        return true;
    }
    bool batch = dim_of_val(n, &l->turns);
    if (!batch) l->turns.n = -1;
    if (n.kind == VAL_SCALAR && !n.whole) {
        elab_error(e, source->loc, 110, "a range has whole ends, not %s", val_text(e, n));
        return false;
    }
    l->count = number_as(e, n, I32, source->loc);
    return l->count != NULL;
}

static bool read_sources(Elab *e, const AstNode *n, Loop *l) {
    const AstNode *clause = n->loop->clauses.at[0];
    const Nodes *names = &clause->clause.names, *sources = &clause->clause.sources;
    if (n->loop->along) {
        Val axis = expr(e, n->loop->along);
        if (axis.kind == VAL_ERROR) return false;
        if (!val_whole(axis, &l->axis)) {
            elab_error(e, n->loop->along->loc, 211, "an axis is a whole number known when compiled, not %s", val_text(e, axis));
            return false;
        }
        l->along = true;
    }
    if (sources->n == 1 && node_is_range(sources->at[0])) {
        if (names->n != 1) {
            elab_error(e, names->at[1]->loc, 106, "a range gives one number a turn, not %u", names->n);
            return false;
        }
        l->t_name = names->at[0]->name;
        return read_range(e, sources->at[0], l);
    }
    if (sources->n && sources->at[0]->kind == AST_ERROR) return false;
    if (!l->along) {
        elab_error(e, n->loc, 303, "`scan` over a tensor needs `along AXIS`");
        elab_note(e, (Loc){0}, "`along 1` is the usual axis of time, [B, T, ...]");
        return false;
    }
    if (names->n != sources->n) { /* of several sources that was reported when it was parsed */
        if (sources->n == 1) elab_error(e, n->loc, 106, "%u names for 1 tensor", names->n);
        return false;
    }
    for (uint32_t i = 0; i < sources->n; i++) {
        Value *x = tensor_of(e, expr(e, sources->at[i]), sources->at[i]->loc);
        int64_t axis;
        if (!x || !axis_of(e, val_number((double)l->axis), x->type->rank, n->loop->along->loc, &axis)) return false;
        Dim d = x->type->dim[axis];
        if (i && !dim_same(d, l->turns)) {
            elab_error(e, sources->at[i]->loc, 202, "tensors scanned side by side have one length: %s and %s along axis %" PRId64,
                       dims_text(e, 1, &l->turns), dims_text(e, 1, &d), l->axis);
            return false;
        }
        l->turns = d;
        vec_push(e->a, &l->xs, x);
        vec_push(e->a, &l->axes, axis);
        vec_push(e->a, &l->x_names, names->at[i]->name);
    }
    l->trip = l->turns.batch ? -1 : l->turns.n;
    if (l->turns.batch) l->count = number_as(e, val_dim(l->turns), I32, n->loc);
    return !l->turns.batch || l->count;
}

static bool read_repeat(Elab *e, const AstNode *n, Loop *l) {
    Val k = expr_number(e, n->loop->count, "the count of `repeat`");
    if (k.kind == VAL_ERROR) return false;
    l->turns.n = -1;
    if (val_whole(k, &l->trip)) {
        if (l->trip >= 0) return true;
        elab_error(e, n->loop->count->loc, 110, "the count of `repeat` is a whole number from 0, not %s", val_text(e, k));
        return false;
    }
    l->trip = -1;
    if (k.kind == VAL_NUMBER ? !k.batch : !k.whole) {
        elab_error(e, n->loop->count->loc, 110, "the count of `repeat` is a whole number, not %s", val_text(e, k));
        return false;
    }
    l->count = number_as(e, k, I32, n->loc);
    return l->count != NULL;
}

static Value *slice_param(Block *b, const Loop *l, size_t i) {
    const Type *t = l->xs.at[i]->type;
    Dim dims[MAX_RANK];
    int n = 0;
    for (int k = 0; k < t->rank; k++)
        if (k != l->axes.at[i]) dims[n++] = t->dim[k];
    return block_param(b, type_make(t->elem, n, dims), l->x_names.at[i]);
}

/* One try of the body. Returns the block, or NULL to try again (*again) or after an error. */
static Block *try_scan(Elab *e, Loop *l, Carries *cs, ScanState *ys, bool *again) {
    Saved before = save(e);
    Block *b = block_new(e->b.func, NULL);
    Value *t = block_param(b, type_scalar(I32), l->t_name ? l->t_name : "t");
    KeyFrame keys = {.up = before.keys, .block = b, .counter = t};
    KeyFrame *frame = arena_make(e->a, KeyFrame);
    *frame = keys;
    *ys = (ScanState){.up = before.scan};
    e->scope = scope_push(e, before.scope, false);
    bind_carries(e, b, cs);
    e->b.block = b;
    e->b.before = NULL;
    e->keys = frame;
    e->scan = ys;
    if (l->t_name) {
        Val v = val_scalar(t, true);
        if (!(l->from.kind == VAL_NUMBER && l->from.num == 0)) v = number_binary(e, OPERATOR_ADD, l->from, v, l->ast->loc);
        scope_bind(e, e->scope, intern(l->t_name), v, l->ast->loc);
    }
    for (size_t i = 0; i < l->xs.n; i++) scope_bind(e, e->scope, l->x_names.at[i], val_tensor(slice_param(b, l, i)), l->ast->loc);
    /* the slices come after the carried values, as they were made */
    exec_block(e, &l->ast->loop->body);
    bool failed = false;
    *again = false;
    size_t n = cs->n;
    for (size_t i = 0; i < n; i++)
        if (!settle(e, &cs->at[i], &failed)) *again = true;
    if (find_written(e, &before, cs)) *again = true;
    if (!*again && !failed)
        for (size_t i = 0; i < cs->n; i++)
            if (!cs->at[i].dropped) vec_push(e->a, &b->results, cs->at[i].end);
    restore(e, &before);
    return *again || failed || e->stopped ? NULL : b;
}

static bool add_yields(Elab *e, const Loop *l, Block *b, const ScanState *ys) {
    for (size_t i = 0; i < ys->yields.n; i++) {
        if (ys->yields.at[i].kind == VAL_ERROR) return false;
        vec_push(e->a, &b->results, ys->yields.at[i].t.value);
    }
    if (ys->yields.n == 0) return true;
    if (l->turns.n < 0) {
        elab_error(e, ys->yield_loc, 302,
                   "`yield` in a loop whose number of turns is not the length of an axis: there is nothing to stack along");
        return false;
    }
    return true; /* without `along`, a scan over a range stacks in front: axis is 0 */
}

static Val make_scan(Elab *e, Loop *l, Carries *cs, Block *b, const ScanState *ys) {
    Loc at = l->ast->loc;
    size_t n_carry = carried(cs), n_ys = ys->yields.n, n_out = n_carry + n_ys;
    int64_t *yaxes = arena_make_n(e->a, int64_t, n_ys + 1);
    const Type **types = arena_make_n(e->a, const Type *, n_out + 1);
    if (!add_yields(e, l, b, ys)) return val_error();
    Values in = {0};
    if (!start_values(e, cs, at, &in)) return val_error();
    for (size_t i = 0; i < n_carry; i++) types[i] = in.at[i]->type;
    for (size_t i = 0; i < n_ys; i++) {
        const Type *y = ys->yields.at[i].t.value->type;
        if (y->rank + 1 > MAX_RANK) return elab_error(e, ys->yield_loc, 219, "a tensor has at most %d dimensions", MAX_RANK);
        if (l->axis > y->rank || l->axis < -y->rank - 1) {
            elab_error(e, ys->yield_loc, 211, "%s cannot be stacked along axis %" PRId64 ": it has %d dimension%s", type_name(y),
                       l->axis, y->rank, y->rank == 1 ? "" : "s");
            elab_note(e, (Loc){0},
                      "`yield` stacks along the axis that is scanned; yield it with more axes, as in x[:, new], or scan a "
                      "transposed tensor along 0");
            return val_error();
        }
        yaxes[i] = l->axis < 0 ? l->axis + y->rank + 1 : l->axis;
        Dim dims[MAX_RANK];
        for (int k = 0; k <= y->rank; k++) dims[k] = k == yaxes[i] ? l->turns : y->dim[k - (k > yaxes[i])];
        types[n_carry + i] = type_make(y->elem, y->rank + 1, dims);
    }
    for (size_t i = 0; i < l->xs.n; i++) vec_push(e->a, &in, l->xs.at[i]);
    if (l->trip < 0) vec_push(e->a, &in, l->count);
    Attr attrs[] = {attr_i(A_carry, (int64_t)n_carry), attr_ints(e->a, A_axes, l->axes.at, (int64_t)l->axes.n),
                    attr_ints(e->a, A_yaxes, yaxes, (int64_t)n_ys), attr_i(A_reverse, l->ast->loop->backwards),
                    attr_i(A_trip, l->trip)};
    emit_at(e, at);
    Val nothing = ys->doubt ? val_error() : val_none(); /* what a loop without `yield` gives */
    if (n_out == 0) return nothing;
    const char *why = NULL;
    Op *op = op_try_full(&e->b, OP_scan, (int)in.n, in.at, 5, attrs, 1, &b, (int)n_out, types, &why);
    if (!op) return elab_error(e, at, 214, "%s", why);
    bind_results_of(e, cs, op->out);
    Vec(Val) out = {0};
    for (size_t i = 0; i < n_ys; i++) vec_push(e->a, &out, val_tensor(op->out[n_carry + i]));
    return out.n == 0 ? nothing : out.n == 1 ? out.at[0] : val_list(e, VAL_TUPLE, out.n, out.at);
}

static Val eval_scan(Elab *e, const AstNode *n) {
    Loop l = {.ast = n, .trip = -1, .from = val_number(0)};
    if (n->kind == AST_SCAN ? n->loop->clauses.n != 1 || !read_sources(e, n, &l) : !read_repeat(e, n, &l)) return val_error();
    Carries cs = {0};
    find_carries(e, n, &cs);
    if (!first_types(e, &cs, n->loc)) return val_error();
    ScanState ys;
    Block *b = NULL;
    bool again = true;
    for (int tries = 0; tries < 30 && again && !e->stopped; tries++) {
        int errors = e->errors;
        e->quiet++;
        b = try_scan(e, &l, &cs, &ys, &again);
        if (e->quiet) e->quiet--; /* 0 already: a limit was met */
        if (!again && e->errors != errors && !e->quiet) b = try_scan(e, &l, &cs, &ys, &again);
    }
    if (!b) { /* what the loop would have bound stays silent */
        for (size_t i = 0; i < cs.n; i++)
            if (cs.at[i].outer && !cs.at[i].dropped) cs.at[i].outer->val = val_error();
        return val_error();
    }
    return make_scan(e, &l, &cs, b, &ys);
}

/* ---- while ---- */

/* Enters a block of the loop. Carried beside the names: a counter, which is returned, for the keys of random draws. */
static Value *while_enter(Elab *e, const Saved *before, Block *b, Carries *cs) {
    e->scope = scope_push(e, before->scope, false);
    bind_carries(e, b, cs);
    Value *turn = block_param(b, type_scalar(I32), "turn");
    KeyFrame *frame = arena_make(e->a, KeyFrame);
    *frame = (KeyFrame){.up = before->keys, .block = b, .counter = turn};
    e->b.block = b;
    e->b.before = NULL;
    e->keys = frame;
    return turn;
}

/* The block of the condition: one bool. What it reads of the carried names is read. */
static bool while_condition(Elab *e, const Loop *l, Carries *cs, Block *b) {
    Loc at = l->ast->loop->condition->loc;
    Val c = expr_read(e, l->ast->loop->condition);
    bool tensor = c.kind == VAL_TENSOR || c.kind == VAL_OWNED || c.kind == VAL_BOOL;
    Value *v = tensor ? tensor_of(e, c, at) : NULL;
    bool good = v && v->type == type_scalar(BOOL);
    bool told = c.kind == VAL_ERROR || c.kind == VAL_DROPPED || (tensor && !v);
    if (!good && !told) {
        elab_error(e, at, 215, "the condition of `while` is a single bool, not %s", val_text(e, c));
        if (v && v->type->rank) elab_note(e, (Loc){0}, "any(...) and all(...) make one of many");
    }
    if (good) vec_push(e->a, &b->results, v);
    for (size_t i = 0; i < cs->n; i++)
        if (cs->at[i].inner && cs->at[i].inner->read && !cs->at[i].outer->rebound) cs->at[i].outer->read = true;
    return good;
}

/* The block of the body: what is carried, as it is after a turn. False after an error; *again: the guess was wrong. */
static bool while_body(Elab *e, const Loop *l, const Saved *before, Carries *cs, Block *b, Value *turn, bool *again) {
    bool failed = false;
    ScanState *saved = e->scan;
    e->scan = NULL;
    exec_block(e, &l->ast->loop->body);
    e->scan = saved;
    *again = false;
    size_t n = cs->n;
    for (size_t i = 0; i < n; i++)
        if (!settle(e, &cs->at[i], &failed)) *again = true;
    if (find_written(e, before, cs)) *again = true;
    if (*again || failed) return !failed;
    for (size_t i = 0; i < cs->n; i++)
        if (!cs->at[i].dropped) vec_push(e->a, &b->results, cs->at[i].end);
    vec_push(e->a, &b->results, emit_binary(e, OP_add, turn, emit_constant(e, type_scalar(I32), 1)));
    return true;
}

static bool try_while(Elab *e, const Loop *l, Carries *cs, Block **blocks, bool *again) {
    Saved before = save(e);
    for (int k = 0; k < 2; k++) blocks[k] = block_new(e->b.func, NULL);
    while_enter(e, &before, blocks[0], cs);
    bool good = while_condition(e, l, cs, blocks[0]);
    restore(e, &before);
    Value *turn = while_enter(e, &before, blocks[1], cs);
    good = while_body(e, l, &before, cs, blocks[1], turn, again) && good;
    restore(e, &before);
    return good && !*again;
}

static Val eval_while(Elab *e, const AstNode *n) {
    Loop l = {.ast = n};
    if (!n->loop->count) return elab_error(e, n->loc, 302, "`while` needs `max N`: a bound for its turns");
    if (!expr_whole(e, n->loop->count, "the bound of `while`", &l.max)) return val_error();
    if (l.max < 0) return elab_error(e, n->loop->count->loc, 302, "the bound of `while` is %" PRId64, l.max);
    Carries cs = {0};
    find_carries(e, n, &cs);
    if (!first_types(e, &cs, n->loc)) return val_error();
    Block *blocks[2];
    bool again = true, good = false;
    for (int tries = 0; tries < 30 && again && !e->stopped; tries++) {
        int errors = e->errors;
        e->quiet++;
        good = try_while(e, &l, &cs, blocks, &again);
        if (e->quiet) e->quiet--;
        if (!again && e->errors != errors && !e->quiet) good = try_while(e, &l, &cs, blocks, &again);
    }
    if (!good) {
        for (size_t i = 0; i < cs.n; i++)
            if (cs.at[i].outer && !cs.at[i].dropped) cs.at[i].outer->val = val_error();
        return val_error();
    }
    Values in = {0};
    if (!start_values(e, &cs, n->loc, &in)) return val_error();
    emit_at(e, n->loc);
    vec_push(e->a, &in, emit_constant(e, type_scalar(I32), 0));
    const Type **types = arena_make_n(e->a, const Type *, in.n);
    for (size_t i = 0; i < in.n; i++) types[i] = in.at[i]->type;
    Attr max = attr_i(A_max, l.max);
    const char *why = NULL;
    Op *op = op_try_full(&e->b, OP_while, (int)in.n, in.at, 1, &max, 2, blocks, (int)in.n, types, &why);
    if (!op) return elab_error(e, n->loc, 214, "%s", why);
    bind_results_of(e, &cs, op->out);
    return val_none();
}

Val expr_loop(Elab *e, const AstNode *n) {
    if (!e->b.func) return elab_error(e, n->loc, 110, "a loop runs in a command or function: this must be known when compiled");
    const AstNode *outer = e->loop;
    e->loop = n;
    Val v = n->kind == AST_WHILE ? eval_while(e, n) : eval_scan(e, n);
    e->loop = outer;
    return v;
}
