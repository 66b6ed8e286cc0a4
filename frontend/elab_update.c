/*
 * elab_update.c - parameters as a function sees them: reads, `<-`, grad, minimize and update; and the keys of random draws.
 *
 * A parameter has versions: the value it came with, and one for each `<-`. A version is cut off from what it was computed from
 * (stop_gradient), so the gradient of a loss with respect to a parameter is the sum over the versions that the loss saw (L4).
 */
#include "elab.h"

#include <stdlib.h>

/* ---- functions being built ---- */

Func *func_open(Elab *e, const char *hint, Loc loc) {
    Func *f = func_new(e->m, intern_printf("%s#%zu", hint, e->m->funcs.n), loc);
    FuncInfo *info = arena_make(e->a, FuncInfo);
    *info = (FuncInfo){.func = f, .batch = e->batch, .hint = hint};
    map_put(e->a, &e->infos, f, info);
    f->batch_bound = e->batch && !e->batch->constant ? e->batch->bound : 0;
    e->b = builder_at_end(f);
    e->info = info;
    memset(&e->currents, 0, sizeof e->currents);
    e->keys = NULL;
    emit_at(e, loc);
    return f;
}

Func *building_begin(Elab *e, Building *saved, const char *hint, Loc loc) {
    *saved = (Building){e->b, e->op_loc, e->info, e->currents, e->keys, e->batch};
    e->batch = NULL;
    return func_open(e, hint, loc);
}

void building_end(Elab *e, const Building *saved) {
    e->b = saved->b;
    e->op_loc = saved->op_loc;
    e->info = saved->info;
    e->currents = saved->currents;
    e->keys = saved->keys;
    e->batch = saved->batch;
}

/* ---- reads and writes ---- */

Current *current_find(Elab *e, Owned *o) {
    if (o->current < e->currents.n && e->currents.at[o->current].owned == o) return &e->currents.at[o->current];
    elab_work(e, o->loc, (int64_t)e->currents.n / 16);
    for (size_t i = 0; i < e->currents.n; i++) {
        if (e->currents.at[i].owned != o) continue;
        o->current = i;
        return &e->currents.at[i];
    }
    return NULL;
}

static Current *current_of(Elab *e, Owned *o) {
    Current *known = current_find(e, o);
    if (known) return known;
    o->current = e->currents.n;
    Current c = {.owned = o, .now = func_read(e->b.func, o->slot)};
    vec_push(e->a, &c.versions, c.now);
    vec_push(e->a, &e->currents, c);
    return &e->currents.at[e->currents.n - 1];
}

Value *owned_read(Elab *e, Owned *o, Loc at) {
    if (o->failed) return NULL;
    if (!e->b.func) {
        elab_error(e, at, 110, "a parameter has no value when the program is compiled");
        return NULL;
    }
    if (e->info->init) {
        elab_error(e, at, 110, "an initial value cannot depend on a parameter or state");
        elab_note(e, o->loc, "`%s` is declared here", o->name);
        return NULL;
    }
    return current_of(e, o)->now;
}

static bool owned_write(Elab *e, Owned *o, Value *v, Loc at) {
    if (!v || o->failed) return false;
    if (!owned_read(e, o, at)) return false;
    emit_at(e, at);
    v = emit_unary(e, OP_stop_gradient, v);
    if (!v) return false;
    v->name = o->name;
    Current *c = current_of(e, o);
    c->now = v;
    c->written = true;
    vec_push(e->a, &c->versions, v);
    vec_push(e->a, &e->writes, ((WriteEvent){o, at}));
    if (e->command && e->command->loop && o->kind == SLOT_PARAM) e->command->loop->updates = true;
    return true;
}

static bool may_write(Elab *e, Loc at) {
    if (!e->b.func || e->info->init) {
        elab_error(e, at, 304, "`<-` stands in a command, a layer or an optimizer");
        return false;
    }
    if (!e->pure) return true;
    elab_error(e, at, 304, "a function of the file writes nothing: `<-` stands in a layer, its functions, or a command");
    return false;
}

/* W <- e, W[i] <- e */
void exec_assign(Elab *e, const AstNode *s) {
    const AstNode *target = s->assign.target;
    const AstNode *name = target->kind == AST_BRACKET ? target->call.callee : target;
    int errors = diag_errors(e->d);
    Val t = expr(e, name);
    if (t.kind == VAL_ERROR && diag_errors(e->d) > errors && name->kind == AST_NAME)
        elab_note(e, (Loc){0}, "`<-` writes parameters and states, `=` binds a name");
    Val v = expr_read(e, s->assign.value);
    if (t.kind == VAL_OWNED && t.owned->kind == SLOT_PARAM && e->command && e->command->loop)
        e->command->loop->updates = true; /* as in exec_update */
    if (t.kind == VAL_ERROR || v.kind == VAL_ERROR || !may_write(e, s->loc)) return;
    if (t.kind != VAL_OWNED) {
        elab_error(e, target->loc, 304, "`<-` writes a parameter or state, and this is %s", val_text(e, t));
        elab_note(e, (Loc){0}, "`=` binds a name");
        return;
    }
    emit_at(e, s->loc);
    if (target->kind == AST_BRACKET) {
        v = index_update(e, val_read(e, t, target->loc), target, v);
        if (v.kind == VAL_ERROR) return;
    }
    owned_write(e, t.owned, tensor_to(e, v, t.owned->slot->type, s->assign.value->loc), s->loc);
}

/* ---- grad ---- */

typedef struct Reach {
    Elab *e;
    bool *to; /* by value id: the loss depends on it */
    Op **ops;
    size_t n_ops, cap;
} Reach;

static void collect_op(Op *op, void *arg) {
    Reach *r = arg;
    if (r->n_ops == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 1024;
        Op **more = arena_make_n(r->e->a, Op *, cap);
        if (r->n_ops) memcpy(more, r->ops, r->n_ops * sizeof *more);
        r->ops = more;
        r->cap = cap;
    }
    r->ops[r->n_ops++] = op;
}

/* The ops of this block alone: a nested block counts as part of its op, by what it captures. */
static void collect_block(Reach *r, Block *b) {
    for (Op *op = b->first; op; op = op->next) collect_op(op, r);
}

static bool passes_gradient(const Op *op) {
    if (op->code == OP_stop_gradient) return false;
    for (int i = 0; i < op->n_out; i++)
        if (elem_is_float(op->out[i]->type->elem)) return true;
    return false;
}

/* Marks what the loss needs, going back from it: linear in the function. */
static void reach(Reach *r, const Value *loss) {
    Elab *e = r->e;
    size_t n = (size_t)e->b.func->n_values;
    r->to = arena_make_n(e->a, bool, n);
    collect_block(r, e->b.func->body);
    Vec(Block *) inner = {0};
    for (KeyFrame *k = e->keys; k; k = k->up) vec_push(e->a, &inner, k->block);
    while (inner.n)
        if (inner.at[--inner.n] != e->b.func->body) collect_block(r, inner.at[inner.n]);
    r->to[loss->id] = true;
    for (size_t i = r->n_ops; i-- > 0;) {
        Op *op = r->ops[i];
        bool any = false;
        for (int k = 0; k < op->n_out; k++) any = any || r->to[op->out[k]->id];
        if (!any || !passes_gradient(op)) continue;
        for (int k = 0; k < op->n_in; k++) r->to[op->in[k]->id] = true;
        if (op->n_blocks) {
            Values more = op_captures(e->a, op);
            for (size_t k = 0; k < more.n; k++) r->to[more.at[k]->id] = true;
        }
    }
}

static Value *scalar_loss(Elab *e, Val v, Loc at) {
    if (v.kind == VAL_ERROR) return NULL;
    if (val_is_number(v)) {
        elab_error(e, at, 306, "the loss is %s: it depends on no tensor", val_text(e, v));
        return NULL;
    }
    Value *x = tensor_of(e, v, at);
    if (!x) return NULL;
    if (x->type->rank == 0 && elem_is_float(x->type->elem)) return x;
    elab_error(e, at, 306, "a loss is a single float, not %s", type_name(x->type));
    if (!elem_is_float(x->type->elem))
        elab_note(e, (Loc){0}, "gradients are of floats: f32(...) converts");
    else
        elab_note(e, (Loc){0}, "mean(...) or sum(...) makes one of many");
    return NULL;
}

/* Gradients of the loss: for a parameter summed over its versions. */
typedef struct Wanted {
    Owned *owned; /* or a plain tensor: */
    Value *value;
} Wanted;
typedef Vec(Wanted) WantedList;

static bool gradients(Elab *e, Value *loss, const WantedList *wanted, Loc at, Values *out) {
    Values xs = {0};
    for (size_t i = 0; i < wanted->n; i++) {
        Wanted w = wanted->at[i];
        if (!w.owned) {
            vec_push(e->a, &xs, w.value);
            continue;
        }
        if (!owned_read(e, w.owned, at)) return false;
        Current *c = current_of(e, w.owned);
        for (size_t k = 0; k < c->versions.n; k++) vec_push(e->a, &xs, c->versions.at[k]);
    }
    Reach r = {.e = e};
    reach(&r, loss);
    /* Versions that the loss did not see are left out; a parameter it did not see at all keeps its last one, so that the pass can
     * say so. */
    Values in = {0};
    Vec(size_t) whose = {0};
    vec_push(e->a, &in, loss);
    size_t next = 0;
    for (size_t i = 0; i < wanted->n; i++) {
        size_t n = wanted->at[i].owned ? current_of(e, wanted->at[i].owned)->versions.n : 1, before = in.n;
        for (size_t j = 0; j < n; j++)
            if (r.to[xs.at[next + j]->id] || (j + 1 == n && in.n == before)) {
                vec_push(e->a, &in, xs.at[next + j]);
                vec_push(e->a, &whose, i);
            }
        next += n;
    }
    emit_at(e, at);
    const Type **types = arena_make_n(e->a, const Type *, in.n);
    for (size_t i = 1; i < in.n; i++) types[i - 1] = in.at[i]->type;
    const char *why = NULL;
    Op *op = op_try_full(&e->b, OP_grad, (int)in.n, in.at, 0, NULL, 0, NULL, (int)in.n - 1, types, &why);
    if (!op) {
        elab_error(e, at, 214, "%s", why);
        return false;
    }
    for (size_t i = 0, k = 0; i < wanted->n; i++) {
        Value *sum = NULL;
        for (; k < whose.n && whose.at[k] == i; k++) sum = sum ? emit_binary(e, OP_add, sum, op->out[k]) : op->out[k];
        if (!sum) return false;
        if (wanted->at[i].owned && !sum->name) sum->name = intern_printf("d%s", wanted->at[i].owned->name);
        vec_push(e->a, out, sum);
    }
    return true;
}

/* A list is flattened into one grad op, so that the way back is walked once. */
static bool wanted_of(Elab *e, Val v, Loc at, WantedList *out) {
    if (v.kind == VAL_TENSOR) {
        Value *x = tensor_of(e, v, at);
        if (!x) return false;
        if (!elem_is_float(x->type->elem)) {
            elab_error(e, at, 306, "there is no gradient with respect to %s: only floats have one", type_name(x->type));
            return false;
        }
        vec_push(e->a, out, ((Wanted){NULL, x}));
        return true;
    }
    if (v.kind == VAL_LIST) {
        for (size_t i = 0; i < v.list->n; i++)
            if (!elab_work(e, at, 1) || !wanted_of(e, v.list->at[i], at, out)) return false;
        return true;
    }
    OwnedList owned = {0};
    if (!owned_collect(e, v, false, at, &owned)) return false;
    for (size_t i = 0; i < owned.n; i++) vec_push(e->a, out, ((Wanted){owned.at[i], NULL}));
    return true;
}

/* grad(loss, x): a tensor for a tensor or parameter, a list for a model or a list. */
Val expr_grad(Elab *e, Val loss, Val wrt, Loc at) {
    Value *l = scalar_loss(e, loss, at);
    WantedList wanted = {0};
    if (!l || wrt.kind == VAL_ERROR || !wanted_of(e, wrt, at, &wanted)) return val_error();
    Values out = {0};
    if (!gradients(e, l, &wanted, at, &out)) return val_error();
    if (wrt.kind == VAL_TENSOR || wrt.kind == VAL_OWNED) return val_tensor(out.at[0]);
    Vec(Val) list = {0};
    for (size_t i = 0; i < out.n; i++) vec_push(e->a, &list, val_tensor(out.at[i]));
    return val_list(e, VAL_LIST, list.n, list.at);
}

/* ---- minimize, update ---- */

/* Binds the optimizer's two inputs in s, the parameter and its gradient, and holds them against their declared types. */
static bool bind_moved(Elab *e, const Function *rule, Scope *s, const Val inputs[2], Loc at) {
    bool ok = true;
    for (uint32_t i = 0; i < 2; i++) {
        const AstNode *field = rule->decl->function->inputs.at[i];
        Val v = i ? inputs[1] : val_tensor(owned_read(e, inputs[0].owned, at));
        ok = ok &&
             type_match(e, field->field.type, &v, at, intern_printf("input `%s` of %s", field->field.name, rule->name), false);
        Binding *b = scope_bind(e, s, field->field.name, inputs[i], field->loc);
        b->fixed = i == 0;
    }
    return ok;
}

/* The optimizer's body for one parameter: `w` names the parameter itself, `g` is its gradient, S its shape. */
static void move(Elab *e, const Function *rule, Owned *o, Value *g, Loc at, uint64_t site) {
    const AstFunction *decl = rule->decl->function;
    Scope *s = scope_push(e, rule->env, true);
    Scope *scope = e->scope;
    Owned *optimized = e->optimized;
    const char *optimizer = e->optimizer;
    uint64_t statement = e->optimizer_site, draws = e->site;
    const Path *path = e->path;
    bool library = e->library_text, pure = e->pure;
    Instance *self = e->self;
    Val inputs[2] = {{.kind = VAL_OWNED, .owned = o}, val_tensor(g)};
    Source *source = scope_source(rule->env);
    Frame frame = {.up = e->frame,
                   .fn = rule,
                   .call = at,
                   .inputs = inputs,
                   .path = path,
                   .run = ++e->runs,
                   .library = source && source->library,
                   .caller_library = library};
    e->scope = s;
    bind_config(e, rule, rule->config, s);
    const Value *before = owned_read(e, o, at);
    bool ok = bind_moved(e, rule, s, inputs, at);
    Loc user_loc = e->user_loc;
    if (frame.library && !library) e->user_loc = at;
    e->frame = &frame;
    e->optimized = o;
    e->optimizer = rule->name;
    e->optimizer_site = site;
    e->site = hash_bytes(&o->slot->index, sizeof o->slot->index, site);
    e->path = NULL;
    e->library_text = frame.library;
    e->pure = false;
    e->self = NULL;
    if (e->command) e->command->depth++;
    int errors = e->errors;
    if (ok) exec_block(e, &decl->body);
    bool moved = !ok || e->errors != errors || owned_read(e, o, at) != before;
    if (e->command) e->command->depth--;
    e->scope = scope;
    e->frame = frame.up;
    e->user_loc = user_loc;
    e->optimized = optimized;
    e->optimizer = optimizer;
    e->optimizer_site = statement;
    e->site = draws;
    e->path = path;
    e->library_text = library;
    e->pure = pure;
    e->self = self;
    if (moved) return;
    elab_error(e, at, 305, "the optimizer %s moves nothing: it never writes its first input", rule->name);
    elab_note(e, rule->decl->loc, "here belongs a line like `%s <- %s - 0.1 * %s`", decl->inputs.at[0]->field.name,
              decl->inputs.at[0]->field.name, decl->inputs.at[1]->field.name);
}

static const Function *rule_of(Elab *e, const AstNode *n) {
    Val v = n->kind == AST_NAME ? names_lookup_applied(e, n) : expr(e, n);
    if (v.kind == VAL_ERROR) return NULL;
    if (v.kind != VAL_FUNCTION || v.fn->kind != FN_OPTIMIZER) {
        elab_error(e, n->loc, 103, "`using` names an optimizer, as in `using adam[0.001]`, not %s", val_text(e, v));
        return NULL;
    }
    Loc saved = e->b.loc;
    emit_at(e, n->loc); /* where a configuration is missed */
    if (!v.fn->config) v = configure(e, v, NULL);
    e->b.loc = saved;
    if (v.kind != VAL_FUNCTION) return NULL;
    if (v.fn->decl->function->inputs.n != 2) {
        map_put(e->a, &e->ran, v.fn->decl, (void *)v.fn->decl); /* names that follow from it are no news */
        elab_error(e, n->loc, 106, "an optimizer has two inputs: the parameter and its gradient");
        elab_note(e, v.fn->decl->loc, "`%s` is declared here", v.fn->name);
        return NULL;
    }
    return v.fn;
}

static bool update_values(Elab *e, const AstNode *s, const OwnedList *owned, Values *out) {
    Loc at = s->update.value->loc;
    Val v = expr_read(e, s->update.value);
    if (v.kind == VAL_ERROR) return false;
    size_t n = v.kind == VAL_LIST ? v.list->n : 1;
    if (n != owned->n) {
        elab_error(e, at, 306, "%zu gradient%s for %zu parameter%s", n, n == 1 ? "" : "s", owned->n, owned->n == 1 ? "" : "s");
        elab_note(e, (Loc){0}, "grad(loss, M) gives one tensor a parameter of M");
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        Value *g = tensor_to(e, v.kind == VAL_LIST ? v.list->at[i] : v, owned->at[i]->slot->type, at);
        if (!g) return false;
        vec_push(e->a, out, g);
    }
    return true;
}

/* Whether a model is named whose parameters may be unknown because of what was wrong before. */
static bool applied_in_vain(Elab *e, const AstNode *s) {
    for (uint32_t i = 0; i < s->update.models.n && diag_errors(e->d); i++) {
        e->quiet++;
        Val v = expr(e, s->update.models.at[i]);
        if (e->quiet) e->quiet--;
        if (owned_in_doubt(e, v)) return true;
    }
    return false;
}

/* minimize L over M using O; update M with G using O */
void exec_update(Elab *e, const AstNode *s) {
    Values gs = {0};
    OwnedList owned = {0};
    bool ok = true;
    int errors = e->errors;
    if (e->command && e->command->loop)
        e->command->loop->updates = true; /* also where an error keeps it from moving anything: the mode must not swing */
    /* the loss first: it may be what applies the models */
    Val loss = val_none();
    if (s->kind == AST_MINIMIZE) loss = expr_read(e, s->update.value);
    if (loss.kind == VAL_ERROR) mention(e, s->update.value);
    for (uint32_t i = 0; i < s->update.models.n; i++) {
        const AstNode *n = s->update.models.at[i];
        bool known = owned_collect(e, expr(e, n), false, n->loc, &owned);
        if (!known) hint_shadowed(e, n);
        ok = known && ok;
    }
    const Function *rule = s->update.rule ? rule_of(e, s->update.rule) : NULL;
    if (!ok || !rule || loss.kind == VAL_ERROR || !may_write(e, s->loc)) {
        if (s->kind == AST_UPDATE && ok) expr_read(e, s->update.value);
        return;
    }
    for (size_t i = 0; i < owned.n; i++)
        if (owned.at[i]->kind != SLOT_PARAM) {
            elab_error(e, s->loc, 305, "`%s` is a state: only parameters are trained", owned.at[i]->name);
            return;
        }
    if (owned.n == 0 && ((diag_errors(e->d) && e->errors != errors) || applied_in_vain(e, s))) return; /* and that was said */
    if (owned.n == 0) {
        elab_error(e, s->loc, 305, "there is nothing to move: no parameter is named behind `%s`",
                   s->kind == AST_MINIMIZE ? "over" : "update");
        return;
    }
    if (s->kind == AST_MINIMIZE) {
        Value *l = scalar_loss(e, loss, s->update.value->loc);
        if (!l) return;
        if (!l->name) l->name = intern("loss");
        WantedList wanted = {0};
        for (size_t i = 0; i < owned.n; i++) vec_push(e->a, &wanted, ((Wanted){owned.at[i], NULL}));
        if (!gradients(e, l, &wanted, s->loc, &gs)) return;
    } else if (!update_values(e, s, &owned, &gs))
        return;
    uint64_t site = site_at(e, s->serial, 0);
    for (size_t i = 0; i < owned.n && !e->stopped; i++) move(e, rule, owned.at[i], gs.at[i], s->loc, site);
}

/* ---- keys of random draws ---- */

/* The key of the block we are in: SLOT_KEY of the function, mixed with the counter of each loop around. Made where the loop's
 * block begins to need it. */
static Value *frame_key(Elab *e, KeyFrame *k) {
    if (!k) {
        if (!e->key) e->key = slot_new(e->m, SLOT_KEY, "key", type_scalar(I64), (Loc){0});
        return func_read(e->b.func, e->key);
    }
    if (k->key) return k->key;
    Value *outer = frame_key(e, k->up);
    Builder here = e->b;
    e->b.block = k->block;
    e->b.before = NULL;
    k->key = emit_binary(e, OP_mix, outer, k->counter);
    here.loc = e->b.loc;
    e->b = here;
    return k->key;
}

static Value *draw_key(Elab *e, Loc at) {
    (void)at;
    if (!e->b.func) {
        elab_error(e, at, 110, "a random draw is not known when the program is compiled");
        return NULL;
    }
    return frame_key(e, e->keys);
}

uint64_t site_at(const Elab *e, uint32_t serial, uint64_t more) {
    uint64_t place[2] = {(uint32_t)(serial - e->origin), more};
    return hash_bytes(place, sizeof place, e->site);
}

/* f32 in [0, 1). The site is the chain of call sites and copies that leads here (L6); of an initial value the parameter's name,
 * put in at the end. */
Value *draw_uniform(Elab *e, int rank, const Dim *dims, const Call *c, uint64_t salt) {
    Loc at = c->loc;
    Value *key = draw_key(e, at);
    if (!key) return NULL;
    uint64_t site = site_at(e, c->place, salt);
    bool leading =
        rank > 0 && e->batch && e->batch->data && (dims[0].batch || (e->batch->constant && dims[0].n == e->batch->constant));
    Value *in[2] = {key, NULL};
    if (leading) {
        if (!e->first) e->first = slot_new(e->m, SLOT_FIRST, "first", type_scalar(I64), (Loc){0});
        in[1] = func_read(e->b.func, e->first);
    }
    emit_at(e, at);
    Attr a = attr_i(A_site, (int64_t)site);
    Value *v;
    if (leading && dims[0].batch && dims[0].n > 1 && rank < MAX_RANK) { /* k * B places in front: k numbers a sample */
        Dim apart[MAX_RANK];
        apart[0] = (Dim){1, true};
        apart[1] = (Dim){dims[0].n, false};
        for (int i = 1; i < rank; i++) apart[i + 1] = dims[i];
        v = emit(e, OP_uniform, 2, in, 1, &a, type_make(F32, rank + 1, apart));
    } else
        v = emit(e, OP_uniform, leading ? 2 : 1, in, 1, &a, type_make(F32, rank, dims));
    if (v && e->info->init_of) vec_push(e->a, &e->patches, ((DrawPatch){v->def, e->info->init_of, site}));
    return emit_reshape(e, v, rank, dims);
}
