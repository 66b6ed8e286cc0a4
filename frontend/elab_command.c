/*
 * elab_command.c - commands: their text is cut into stretches, each a function that a node of the command's tree calls; `for`
 * over a range or over data is a node of its own.
 *
 * A value that outlives its stretch is brought over by a slot (elab_emit.c, use_value). What a loop carries is a slot too:
 * written before the loop, read when its body begins, written again when the body ends. Like the bodies of `scan`, bodies here
 * are tried with a guess of what is carried, of which type, and whether the loop learns (L5), until guess and outcome agree.
 */
#include "elab.h"

#include <math.h>

/* ---- nodes and stretches ---- */

Node *node_new(Elab *e, NodeKind kind, Loc loc) {
    Node *n = arena_make(e->a, Node);
    n->kind = kind;
    n->loc = loc;
    return n;
}

void node_add(Elab *e, Node *n) {
    if (elab_row(e, n->loc)) vec_push(e->a, &e->command->holder->body, n);
}

void stretch_open(Elab *e, Loc loc) {
    if (e->b.func) return;
    const CommandLoop *l = e->command->loop;
    const char *hint = !l ? "" : l->learning ? "step" : l->node->kind == NODE_DATA ? l->node->sets.at[0].set->name : "";
    func_open(e, hint, loc);
}

/* Ends the function that is open: parameters it wrote go to their slots, its call and what waits for it become nodes. */
void stretch_close(Elab *e) {
    if (!e->b.func) return;
    CommandState *c = e->command;
    for (size_t i = 0; i < e->currents.n; i++)
        if (e->currents.at[i].written) func_write(e->b.func, e->currents.at[i].owned->slot, e->currents.at[i].now);
    Node *n = node_new(e, NODE_CALL, e->b.func->loc);
    n->func = e->b.func;
    node_add(e, n);
    for (size_t i = 0; i < c->pending.n; i++) node_add(e, c->pending.at[i]);
    c->pending.n = 0;
    e->b.func = NULL;
    e->b.block = NULL;
    e->info = NULL;
    memset(&e->currents, 0, sizeof e->currents);
    e->keys = NULL;
}

/* ---- what a loop carries ---- */

typedef struct Carry {
    const char *name;
    Binding *outer, *inner;
    Val init;
    const Type *type;
    bool scalar, whole, dropped;
    Loc changed;
    Slot *slot;
    Value *param;
    Val end;
} Carry;

typedef Vec(Carry) Carries;

static bool first_type(Elab *e, Carry *c, Loc at) {
    if (val_is_number(c->init)) {
        c->type = type_scalar(F64);
        c->scalar = true;
        c->whole = c->init.kind == VAL_SCALAR ? c->init.whole : c->init.num == floor(c->init.num);
        return true;
    }
    if (c->init.kind == VAL_BOOL) {
        c->type = type_scalar(BOOL);
        return true;
    }
    if (c->init.kind != VAL_TENSOR) {
        c->dropped = true;
        return true;
    }
    Value *v = tensor_of(e, c->init, at);
    if (!v) return false;
    c->init = val_tensor(v);
    c->type = v->type;
    return true;
}

static bool find_carries(Elab *e, const AstNode *s, Carries *out) {
    NameList names = {0};
    assigned_names(e, s, &names);
    for (size_t i = 0; i < names.n; i++) {
        Binding *b = scope_find_local(e->scope, names.at[i]);
        if (!b || b->fixed || b->average || b->val.kind == VAL_ERROR || b->val.kind == VAL_DROPPED) continue;
        Carry c = {.name = b->name, .outer = b, .init = b->val};
        if (!first_type(e, &c, s->loc)) return false;
        vec_push(e->a, out, c);
    }
    return true;
}

static bool slot_read_val(Val v) { return v.kind == VAL_TENSOR || v.kind == VAL_SCALAR; }

/* What a carry has become at the end of the body; false: try again. */
static bool settle(Elab *e, Carry *c, bool *failed) {
    Val v = c->inner->val;
    if (c->inner->read && !c->outer->rebound) c->outer->read = true;
    if (v.kind == VAL_ERROR) {
        *failed = true;
        return true;
    }
    if (c->dropped) {
        if (c->inner->rebound && c->inner->read && !val_is_number(c->init)) {
            elab_error(e, c->inner->loc, 301, "`%s` is %s before the loop and cannot change in a loop that runs", c->name,
                       val_text(e, c->init));
            elab_note(e, c->outer->loc, "it is bound here before the loop");
            *failed = true;
        } else if (c->inner->rebound)
            c->changed = c->inner->loc;
        return true;
    }
    bool same = slot_read_val(v) ? v.t.value && v.t.value == c->param : !c->inner->rebound;
    bool itself = c->inner->rebound && c->inner->read; /* bound to what it was: carried all the same */
    if (same && !itself) {
        c->dropped = true;
        c->changed = (Loc){0};
        return false;
    }
    c->end = v;
    if (val_is_number(v)) {
        if (!c->scalar) return true; /* a number becomes what is carried */
        bool whole = v.kind == VAL_NUMBER ? !v.batch && v.num == floor(v.num) : v.whole;
        if (whole || !c->whole) return true;
        c->whole = false;
        return false;
    }
    const Type *t = v.kind == VAL_BOOL     ? type_scalar(BOOL)
                    : v.kind == VAL_TENSOR ? (v.t.value ? v.t.value->type : v.t.slot->type)
                                           : NULL;
    if (t && t == c->type && !c->scalar) return true;
    if (t && c->scalar) {
        c->scalar = false;
        c->type = t;
        return false;
    }
    if (!c->inner->read) {
        c->dropped = true;
        c->changed = c->inner->loc;
        return false;
    }
    elab_error(e, c->inner->loc, 301, "`%s` is %s at the end of the loop's body, but %s before the loop", c->name, val_text(e, v),
               val_text(e, c->init));
    elab_note(e, c->outer->loc, "it is bound here before the loop; what a loop carries does not change its type");
    if (t && type_has_batch(t) && !type_has_batch(c->type))
        elab_note(e, (Loc){0}, "B is known when the program runs: with `drop_last`, or `lanes`, every batch has the same size");
    *failed = true;
    return true;
}

/* v as a value of the type that is carried, in a function that is open. */
static Value *carried_value(Elab *e, const Carry *c, Val v, Loc at) {
    if (c->scalar) return number_as(e, v, F64, at);
    return tensor_to(e, v, c->type, at);
}

/* ---- the loops themselves ---- */

typedef struct LoopPlan {
    const AstNode *ast;
    Node *node;
    Val counter; /* SCALAR of the counter's slot */
    const char *counter_name;
    const Batch *batch;
    bool range;
    bool broken; /* its header has a fault: the body is read for faults of its own */
} LoopPlan;

static Slot *command_slot(Elab *e, SlotKind kind, const char *hint, const Type *t, Loc loc) {
    Slot *s = slot_new(e->m, kind, intern_printf("%s#%zu", hint, e->m->slots.n), t, loc);
    s->command = e->command->command->name;
    return s;
}

static bool set_bound(Elab *e, Val v, Loc at, const char *what, Bound *out) {
    if (v.kind == VAL_ERROR) return false;
    *out = (Bound){0};
    if (val_whole(v, &out->n)) return true;
    if (!val_is_number(v) || (v.kind == VAL_SCALAR && !v.whole) || (v.kind == VAL_NUMBER && v.num != floor(v.num))) {
        elab_error(e, at, 110, "%s is a whole number, not %s", what, val_text(e, v));
        return false;
    }
    Slot *s = v.kind == VAL_SCALAR ? v.t.slot : NULL;
    if (s && (s->type->elem == I32 || s->type->elem == I64)) {
        out->slot = s;
        return true;
    }
    Value *x = number_as(e, v, I64, at);
    if (!x) return false;
    out->slot = slot_of_value(e, x);
    return true;
}

static bool plan_range(Elab *e, const AstNode *s, LoopPlan *p) {
    const AstNode *clause = s->loop->clauses.at[0], *range = clause->clause.sources.at[0];
    if (clause->clause.names.n != 1) {
        elab_error(e, clause->loc, 106, "a range gives one number a turn, not %u", clause->clause.names.n);
        return false;
    }
    p->range = true;
    p->counter_name = clause->clause.names.at[0]->name;
    p->node->epoch = strcmp(p->counter_name, "epoch") == 0;
    Val lo = expr_number(e, range->binary.left, "the beginning of a range"),
        hi = expr_number(e, range->binary.right, "the end of a range");
    if (!set_bound(e, lo, range->binary.left->loc, "the beginning of a range", &p->node->lo) ||
        !set_bound(e, hi, range->binary.right->loc, "the end of a range", &p->node->hi))
        return false;
    p->node->counter = command_slot(e, SLOT_COUNTER, p->counter_name, type_scalar(I32), clause->loc);
    p->counter = (Val){.kind = VAL_SCALAR, .whole = true, .t = {NULL, p->node->counter}};
    return true;
}

/* The part `[a..b]` of a data set, into `use`. */
static bool set_part(Elab *e, const AstNode *source, DataUse *use) {
    const AstNode *part = source->call.items.n == 1 ? source->call.items.at[0] : NULL;
    if (!part || !node_is_range(part)) {
        elab_error(e, source->loc, 404, "a part of a data set is written as %s[a..b]", use->set->name);
        return false;
    }
    Val from = expr_number(e, part->binary.left, "the beginning of a part"),
        to = expr_number(e, part->binary.right, "the end of a part");
    if (!set_bound(e, from, part->binary.left->loc, "the beginning of a part", &use->from) ||
        !set_bound(e, to, part->binary.right->loc, "the end of a part", &use->to))
        return false;
    if (!use->from.slot && use->from.n < 0) {
        elab_error(e, part->binary.left->loc, 404, "a part begins at sample 0 or later, not at %" PRId64, use->from.n);
        return false;
    }
    if (use->from.slot || use->to.slot || use->to.n >= use->from.n) return true;
    elab_error(e, part->loc, 404, "the part %" PRId64 "..%" PRId64 " holds no samples", use->from.n, use->to.n);
    return false;
}

/* A slot for each name: a batch of that field. constant: every batch has the same number of samples. */
static bool set_fields(Elab *e, const Nodes *names, bool constant, DataUse *use) {
    if (names->n > use->set->fields.n) {
        Loc at = names->at[use->set->fields.n]->loc;
        const char *what = intern_printf("the data set %s has %zu field%s", use->set->name, use->set->fields.n,
                                         use->set->fields.n == 1 ? "" : "s");
        e->command->misses = true;
        if (elab_missed(e, what, at, "here too")) return false;
        elab_error(e, at, 404, "%s", what);
        elab_remember(e, what);
        elab_note(e, use->set->loc, "`%s` is declared here", use->set->name);
        return false;
    }
    for (uint32_t i = 0; i < names->n; i++) {
        const Field *f = &use->set->fields.at[i];
        Dim dims[MAX_RANK];
        if (f->type->rank + 1 > MAX_RANK) return false;
        dims[0] = constant ? (Dim){use->batch, false} : (Dim){1, true};
        for (int k = 0; k < f->type->rank; k++) dims[k + 1] = f->type->dim[k];
        Slot *s = command_slot(e, SLOT_FIELD, intern_printf("%s.%s", use->set->name, f->name),
                               type_make(f->type->elem, f->type->rank + 1, dims), names->at[i]->loc);
        s->batch_bound = constant ? 0 : use->batch;
        vec_push(e->a, &use->fields, s);
    }
    return true;
}

/* for fields in set[a..b] batch n */
static bool plan_set(Elab *e, const AstNode *clause, bool first, LoopPlan *p) {
    const AstNode *source = clause->clause.sources.at[0];
    const AstNode *set = source->kind == AST_BRACKET ? source->call.callee : source;
    DataUse use = {.to = {NULL, -1},
                   .shuffle = clause->clause.shuffle,
                   .resample = clause->clause.resample,
                   .lanes = clause->clause.lanes,
                   .drop_last = clause->clause.drop_last};
    Val v = expr(e, set);
    if (v.kind == VAL_ERROR) return false;
    if (v.kind != VAL_DATA) {
        elab_error(e, set->loc, 103, "`batch` goes with a data set, and this is %s", val_text(e, v));
        return false;
    }
    use.set = v.data;
    if (source->kind == AST_BRACKET && !set_part(e, source, &use)) return false;
    if (!expr_whole(e, clause->clause.batch, "the size of a batch", &use.batch)) return false;
    if (use.batch < 1 || use.batch > 1 << 24) {
        elab_error(e, clause->clause.batch->loc, 404, "the size of a batch is from 1 to 2^24, not %" PRId64, use.batch);
        return false;
    }
    if ((use.shuffle || use.resample) && use.lanes) return false; /* the parser has said so */
    bool constant = use.drop_last || use.lanes || !first;
    if (!set_fields(e, &clause->clause.names, constant, &use)) return false;
    if (first) {
        Batch *b = arena_make(e->a, Batch);
        *b = (Batch){.bound = use.batch, .data = true, .constant = constant ? use.batch : 0};
        p->batch = b;
    }
    vec_push(e->a, &p->node->sets, use);
    return true;
}

static bool plan_loop(Elab *e, const AstNode *s, LoopPlan *p) {
    const AstNode *clause = s->loop->clauses.at[0];
    *p = (LoopPlan){.ast = s, .batch = e->batch};
    p->node = node_new(e, clause->clause.batch ? NODE_DATA : NODE_RANGE, s->loc);
    if (!clause->clause.batch) return plan_range(e, s, p);
    for (uint32_t i = 0; i < s->loop->clauses.n; i++)
        if (!plan_set(e, s->loop->clauses.at[i], i == 0, p)) return false;
    return true;
}

static void bind_fields(Elab *e, const LoopPlan *p) {
    const Nodes *clauses = &p->ast->loop->clauses;
    for (uint32_t i = 0; p->broken && i < clauses->n; i++)
        for (uint32_t k = 0; k < clauses->at[i]->clause.names.n; k++) {
            const AstNode *name = clauses->at[i]->clause.names.at[k];
            scope_bind(e, e->scope, name->name, val_error(), name->loc);
        }
    if (p->broken) return;
    if (p->range) {
        scope_bind(e, e->scope, p->counter_name, p->counter, clauses->at[0]->loc)->fixed = false;
        return;
    }
    for (uint32_t i = 0; i < clauses->n; i++)
        for (uint32_t k = 0; k < clauses->at[i]->clause.names.n; k++) {
            const AstNode *name = clauses->at[i]->clause.names.at[k];
            Binding *before = scope_find_here(e->scope, name->name);
            if (before && before->loc.line == name->loc.line && before->loc.col != name->loc.col)
                elab_error(e, name->loc, 102, "`%s` is bound twice", name->name);
            Slot *s = p->node->sets.at[i].fields.at[k];
            scope_bind(e, e->scope, name->name, (Val){.kind = VAL_TENSOR, .t = {func_read(e->b.func, s), NULL}}, name->loc);
        }
}

typedef struct Outer {
    Building building;
    Scope *scope;
    Node *holder;
    CommandLoop *loop;
    bool learning;
    NodeVec pending;
} Outer;

/* The carried names inside the body: each reads its slot, or is what it was before the loop if the loop does not carry it. */
static void bind_carries(Elab *e, const LoopPlan *p, Carries *cs, CommandLoop *loop) {
    for (size_t i = 0; i < cs->n; i++) {
        Carry *k = &cs->at[i];
        Val v = k->init;
        if (!k->dropped) {
            k->slot = slot_var(e, k->name, k->type, p->batch ? p->batch->bound : 0, k->outer->loc);
            k->param = func_read(e->b.func, k->slot);
            v = k->scalar ? val_scalar(k->param, k->whole) : val_tensor(k->param);
            vec_push(e->a, &loop->carried, k->name);
        }
        k->inner = scope_bind(e, e->scope, k->name, v, k->outer->loc);
        k->inner->rebound = k->inner->read = false;
    }
}

/* What each carry has become, written to its slot for the next turn; false after an error. */
static bool write_carries(Elab *e, Carries *cs) {
    bool ok = true;
    for (size_t i = 0; i < cs->n; i++) {
        Carry *k = &cs->at[i];
        if (k->dropped) continue;
        bool elsewhere = slot_read_val(k->end) && k->end.t.value && k->end.t.value->block->func != e->b.func &&
                         k->end.t.value->type == k->type;
        if (elsewhere) { /* its own function writes it */
            func_write(k->end.t.value->block->func, k->slot, k->end.t.value);
            continue;
        }
        Value *v = carried_value(e, k, k->end, k->inner->loc);
        if (v) func_write(e->b.func, k->slot, v);
        ok = ok && v;
    }
    return ok;
}

/* One try of the body, into a fresh list of nodes. */
static bool try_body(Elab *e, LoopPlan *p, Carries *cs, bool learning, bool *learned, bool *again) {
    CommandState *c = e->command;
    Outer outer = {.building = {e->b, e->op_loc, e->info, e->currents, e->keys, e->batch},
                   .scope = e->scope,
                   .holder = c->holder,
                   .loop = c->loop,
                   .learning = e->learning,
                   .pending = c->pending};
    CommandLoop loop = {.up = c->loop, .node = p->node, .ast = p->ast, .learning = learning};
    bool failed = false;
    p->node->body.n = 0;
    p->node->body.at = NULL;
    p->node->body.cap = 0;
    c->holder = p->node;
    c->pending = (NodeVec){0};
    c->loop = &loop;
    e->batch = p->batch;
    e->learning = learning;
    e->b.func = NULL;
    e->scope = scope_push(e, outer.scope, false);
    stretch_open(e, p->ast->loc);
    bind_carries(e, p, cs, &loop);
    bind_fields(e, p);
    exec_block(e, &p->ast->loop->body);
    *again = false;
    for (size_t i = 0; i < cs->n; i++)
        if (!settle(e, &cs->at[i], &failed)) *again = true;
    if (loop.updates != learning) *again = true;
    if (!*again && !failed) {
        stretch_open(e, p->ast->loc);
        failed = !write_carries(e, cs);
    }
    stretch_close(e);
    *learned = loop.updates;
    p->node->learning = loop.updates;
    building_end(e, &outer.building);
    e->scope = outer.scope;
    c->holder = outer.holder;
    c->pending = outer.pending;
    c->loop = outer.loop;
    e->learning = outer.learning;
    return !failed;
}

/* Names that the body tracks: their averages, seen after the loop. */
static void bind_averages(Elab *e, const Node *loop) {
    for (size_t i = 0; i < loop->body.n; i++) {
        const Node *n = loop->body.at[i];
        if (n->kind != NODE_TRACK) continue;
        for (size_t k = 0; k < n->tracked.n; k++) {
            const Tracked *t = &n->tracked.at[k];
            Binding *b = scope_find_local(e->scope, t->name);
            if (!b) b = scope_bind(e, e->scope, t->name, val_none(), n->loc);
            b->val = (Val){.kind = VAL_TENSOR, .t = {NULL, t->average}};
            b->loc = n->loc;
            b->average = b->rebound = true;
        }
    }
}

Flow exec_command_for(Elab *e, const AstNode *s, bool broken) {
    LoopPlan p;
    Carries cs = {0};
    stretch_open(e, s->loc);
    if (broken || !plan_loop(e, s, &p))
        p = (LoopPlan){.ast = s, .broken = true, .batch = e->batch, .node = node_new(e, NODE_RANGE, s->loc)};
    if (!find_carries(e, s, &cs)) return FLOW_ON;
    bool learning = writes_parameters(e, &s->loop->body), learned = learning, again = true, good = false;
    for (int tries = 0; tries < 30 && again && !e->stopped; tries++) {
        int errors = e->errors;
        e->quiet++;
        good = try_body(e, &p, &cs, learning, &learned, &again);
        if (e->quiet) e->quiet--; /* 0 already: a limit was met */
        if (!again && e->errors != errors && !e->quiet) good = try_body(e, &p, &cs, learning, &learned, &again);
        learning = learned;
    }
    if (again && !e->stopped) { /* what it writes depends on the mode, and the mode on what it writes */
        int errors = e->errors;
        good = try_body(e, &p, &cs, true, &learned, &again);
        if (e->errors == errors && again) {
            elab_error(e, s->loc, 301,
                       "whether this loop learns cannot be settled: what it writes depends on `learning` itself, or on types "
                       "that change with every turn");
            good = false;
        }
    }
    /* the values it begins with are written by the function before the loop */
    for (size_t i = 0; i < cs.n; i++) {
        Carry *c = &cs.at[i];
        if (c->dropped) {
            if (c->changed.file) {
                c->outer->val = (Val){.kind = VAL_DROPPED};
                c->outer->loc = c->changed;
                c->outer->rebound = true;
            }
            continue;
        }
        if (!good) {
            c->outer->val = val_error();
            continue;
        }
        emit_at(e, s->loc);
        Value *v = carried_value(e, c, c->init, s->loc);
        if (v) func_write(e->b.func, c->slot, v);
    }
    stretch_close(e);
    node_add(e, p.node);
    for (size_t i = 0; i < cs.n && good; i++) {
        Carry *c = &cs.at[i];
        if (c->dropped) continue;
        c->outer->val = (Val){.kind = c->scalar ? VAL_SCALAR : VAL_TENSOR, .whole = c->whole, .t = {NULL, c->slot}};
        c->outer->rebound = true;
        c->outer->average = false;
    }
    bind_averages(e, p.node);
    track_spoilt(e, &s->loop->body);
    stretch_open(e, s->loc);
    return FLOW_ON;
}

/* ---- L5: does the text of a body write parameters? A first guess; what really happens decides. ---- */

static bool any_update(const AstNode *n);

static void find_update(AstNode *n, void *data) {
    bool *found = data;
    if (*found || n->kind == AST_FOR) return; /* loops inside do not count */
    *found = any_update(n);
}

static bool any_update(const AstNode *n) {
    if (n->kind == AST_MINIMIZE || n->kind == AST_UPDATE || n->kind == AST_ASSIGN) return true;
    bool found = false;
    ast_children(n, find_update, &found);
    return found;
}

bool writes_parameters(Elab *e, const Nodes *body) {
    (void)e;
    bool found = false;
    for (uint32_t i = 0; i < body->n; i++) find_update(body->at[i], &found);
    return found;
}

/* ---- a command ---- */

/* Files are given to inputs and asked of outputs as --NAME=FILE: what else is called so on the command line would hide them. */
static void check_flag(Elab *e, const AstNode *f, const char *what) {
    const char *name = f->field.name;
    if (names_flag(name))
        elab_error(e, f->loc, 501, "the %s `%s` has the name of a flag that every program has (--%s)", what, name, name);
}

static void check_input(Elab *e, const AstNode *f) {
    const char *name = f->field.name;
    const Decl *d = names_decl(e, name);
    check_flag(e, f, "input");
    if (!d || d->node->kind != AST_OPTION) return;
    elab_error(e, f->loc, 501, "the input `%s` has the name of an option: --%s=... would be both", name, name);
    elab_note(e, d->node->loc, "the option `%s` is declared here", name);
}

static void check_output(Elab *e, const Nodes *inputs, const AstNode *f) {
    const char *name = f->field.name;
    check_flag(e, f, "output");
    for (uint32_t i = 0; i < inputs->n; i++) {
        if (inputs->at[i]->field.name != name) continue;
        elab_error(e, f->loc, 501, "the output `%s` has the name of an input: --%s=FILE would be both", name, name);
        elab_note(e, inputs->at[i]->loc, "the input `%s` is declared here", name);
    }
}

static void bind_inputs(Elab *e, const AstNode *decl, Command *c, Batch *batch) {
    const Nodes *inputs = &decl->function->inputs;
    for (uint32_t i = 0; i < inputs->n; i++) {
        const AstNode *f = inputs->at[i];
        check_input(e, f);
        if (!f->field.type || f->field.type->kind != AST_TYPE) {
            if (!f->field.type) elab_error(e, f->loc, 501, "the input `%s` of a command needs a type", f->field.name);
            scope_bind(e, e->scope, f->field.name, val_error(), f->loc);
            continue;
        }
        const Nodes *dims = &f->field.type->type.dims;
        for (uint32_t k = 0; k < dims->n; k++) { /* a name that is no constant is the batch, in front only */
            const AstNode *d = dims->at[k];
            bool known;
            Loc where;
            if (d->kind != AST_NAME || scope_find_here(e->scope, d->name)) continue;
            names_find_const(e, e->scope->up, d->name, &known, &where);
            if (known) continue;
            if (k > 0) {
                if (!names_lost(e, d->name) && !elab_missed(e, d->name, d->loc, "nor is it known here"))
                    elab_error(e, d->loc, 501,
                               "`%s` is not known when compiled: only the first dimension of an input may be left open", d->name);
                scope_bind(e, e->scope, d->name, val_error(), d->loc);
                continue;
            }
            batch->bound = e->o->max_batch > 0 ? e->o->max_batch : 256;
            Binding *b = scope_bind(e, e->scope, d->name, val_dim((Dim){1, true}), d->loc);
            b->dim = b->fixed = true;
        }
        if (batch->bound) e->batch = batch;
        const Type *t = type_eval(e, f->field.type);
        if (!t) {
            scope_bind(e, e->scope, f->field.name, val_error(), f->loc);
            continue;
        }
        CommandIo io = {.name = f->field.name, .loc = f->loc};
        io.slot = command_slot(e, SLOT_INPUT, f->field.name, t, f->loc);
        io.slot->batch_bound = type_has_batch(t) ? batch->bound : 0;
        if (f->field.value) loader_eval(e, f->field.value, &io.loader);
        vec_push(e->a, &c->inputs, io);
        scope_bind(e, e->scope, f->field.name, (Val){.kind = VAL_TENSOR, .t = {NULL, io.slot}}, f->loc);
    }
}

static void bind_outputs(Elab *e, const AstNode *decl, Command *c) {
    const Nodes *results = &decl->function->results;
    for (uint32_t i = 0; i < results->n; i++) {
        const AstNode *f = results->at[i];
        if (f->field.name) check_output(e, &decl->function->inputs, f);
        if (!f->field.name) {
            elab_error(e, f->loc, 501, "the outputs of a command have names: -> (name: type)");
            continue;
        }
        Binding *b = scope_find_local(e->scope, f->field.name);
        if (!b && (names_lost(e, f->field.name) || elab_missed_here(e, f->field.name))) continue;
        if (!b) {
            elab_error(e, f->loc, 501, "the command `%s` binds no `%s`, which is one of its outputs", c->name, f->field.name);
            continue;
        }
        Val v = b->val;
        if (v.kind == VAL_ERROR) continue;
        stretch_open(e, f->loc);
        emit_at(e, f->loc);
        Elem elem = F32;
        if (f->field.type && f->field.type->kind == AST_TYPE) elem_by_name(f->field.type->type.name, &elem);
        if (val_is_number(v)) v = val_tensor(number_as(e, v, elem, b->loc));
        if (v.kind == VAL_ERROR ||
            !type_match(e, f->field.type, &v, b->loc, intern_printf("the output `%s`", f->field.name), true))
            continue;
        Value *x = tensor_of(e, v, f->loc);
        if (!x) continue;
        CommandIo io = {.name = f->field.name, .loc = f->loc};
        io.slot = slot_var(e, f->field.name, x->type, e->batch ? e->batch->bound : 0, f->loc);
        func_write(e->b.func, io.slot, x);
        if (f->field.value) loader_eval(e, f->field.value, &io.loader);
        vec_push(e->a, &c->outputs, io);
    }
}

/* Of a header that could not be read: what its names stand for is not known. */
static void bind_header_words(Elab *e, const AstFunction *f) {
    for (size_t i = 0; i < f->header_words.n; i++)
        scope_bind(e, e->scope, f->header_words.at[i]->name, val_error(), f->header_words.at[i]->loc);
}

void exec_command(Elab *e, const AstNode *decl) {
    const AstFunction *f = decl->function;
    Command *c = arena_make(e->a, Command);
    *c = (Command){.name = f->name, .loc = decl->loc};
    Node *root = node_new(e, NODE_RANGE, decl->loc); /* holds the body for a while */
    CommandState state = {.command = c, .ast = decl, .holder = root};
    Batch *batch = arena_make(e->a, Batch);
    e->command = &state;
    e->batch = NULL;
    e->learning = false;
    e->path = NULL;
    e->frame = NULL;
    e->library_text = false;
    e->pure = false;
    e->site = hash_bytes(f->name, strlen(f->name), 0);
    e->scope = scope_push(e, &e->user.scope, true);
    e->scope->command = true;
    if (f->has_config && f->config.n)
        elab_error(e, f->config.at[0]->loc, 501,
                   "a command has no configuration in brackets: `option` is what a user may choose");
    if (decl->broken)
        bind_header_words(e, f);
    else
        bind_inputs(e, decl, c, batch);
    exec_block(e, &f->body);
    if (!decl->broken) bind_outputs(e, decl, c);
    stretch_close(e);
    c->body.at = root->body.at;
    c->body.n = root->body.n;
    c->body.cap = root->body.cap;
    vec_push(e->a, &e->m->commands, c);
    e->command = NULL;
    e->b.func = NULL;
    e->batch = NULL;
    e->scope = &e->user.scope;
}
