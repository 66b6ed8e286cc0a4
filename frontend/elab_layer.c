/*
 * elab_layer.c - instances of layers and what they own.
 *
 * An instance is (owner, place in the text, copy) (N3): asked for twice, it is the same one. The first application fixes the
 * shapes of its parameters, later ones must agree (N4). Names are given at the end (elab_finish.c), when all branches of all
 * commands are known.
 */
#include "elab.h"

static bool path_equal(const Path *a, const Path *b) {
    for (; a && b; a = a->up, b = b->up)
        if (a->loc.line != b->loc.line || a->loc.col != b->loc.col || a->copy != b->copy) return false;
    return !a && !b;
}

/* ---- instances ---- */

/* Of what makes an instance the one it is: a key of Elab.instances, never NULL. */
static const void *instance_key(const Elab *e, const Function *layer, const AstNode *place, const Instance *owner) {
    const void *what[] = {layer->decl, place, owner};
    uint64_t h = hash_bytes(what, sizeof what, 1);
    for (const Path *p = e->path; p; p = p->up) {
        int64_t turn[] = {p->loc.line, p->loc.col, p->copy};
        h = hash_bytes(turn, sizeof turn, h);
    }
    return (const void *)(uintptr_t)(h | 1);
}

Instance *instance_at(Elab *e, const Function *layer, const Val *config, const AstNode *place, Instance *owner,
                      const char *let_name) {
    bool of_file = !owner && let_name;
    if (!owner && !of_file && !e->command && !e->frame) {
        elab_error(e, place->loc, 109,
                   "a declaration applies nothing: `model NAME = %s%s` makes an instance, which a command applies", layer->name,
                   layer->decl->function->has_config ? "[...]" : "");
        return NULL;
    }
    if (!owner && !of_file) {
        elab_error(e, place->loc, 109,
                   "%s owns parameters, and %s owns nothing: declare `model NAME = %s%s` at the top of the file", layer->name,
                   e->frame ? "a function of the file" : "a command", layer->name,
                   layer->decl->function->has_config ? "[...]" : "");
        map_put(e->a, &e->mentioned, layer->name, (void *)layer->name);
        return NULL;
    }
    const void *key = instance_key(e, layer, place, owner);
    for (Instance *i = map_get(&e->instances, key); i; i = i->same_key)
        if (i->owner == owner && i->place == place && i->layer->decl == layer->decl && path_equal(i->path, e->path)) {
            i->config = config;
            i->layer = layer;
            return i;
        }
    Instance *i = arena_make(e->a, Instance);
    *i = (Instance){.owner = owner,
                    .layer = layer,
                    .config = config,
                    .place = place,
                    .path = e->path,
                    .let_name = let_name,
                    .loc = place->loc,
                    .shown = e->library_text ? e->user_loc : place->loc,
                    .same_key = map_get(&e->instances, key)};
    map_put(e->a, &e->instances, key, i);
    if (owner)
        vec_push(e->a, &owner->children, i);
    else
        vec_push(e->a, &e->models, i);
    return i;
}

/* `let d = dense[10]`, `let d = dense`: gives a fresh instance its name. NULL where v is something else. */
Instance *instance_named(Elab *e, Val v, const AstNode *place, const char *let_name) {
    if (v.kind == VAL_INSTANCE && v.inst->place == place && !v.inst->let_name) v.inst->let_name = let_name;
    if (v.kind == VAL_INSTANCE) return v.inst;
    if (v.kind != VAL_FUNCTION || v.fn->kind != FN_LAYER || !e->self) return NULL;
    const Function *f = v.fn;
    if (!f->config) {
        Val configured = configure(e, v, NULL);
        if (configured.kind != VAL_FUNCTION) return NULL;
        f = configured.fn;
    }
    Instance *i = instance_at(e, f, f->config, place, e->self, let_name);
    if (i && !i->let_name) i->let_name = let_name;
    return i;
}

static Function *with_config(Elab *e, const Instance *i) {
    Function *f = arena_make(e->a, Function);
    *f = *i->layer;
    f->config = i->config;
    return f;
}

/* "f32[B, 10]", "f32[B, 10], f32[B, 4]"; NULL where there is no tensor */
static const char *output_text(Elab *e, Val v) {
    if (v.kind == VAL_TENSOR) return val_text(e, v);
    if (v.kind != VAL_TUPLE) return NULL;
    Text t = {0};
    for (size_t i = 0; i < v.list->n; i++)
        if (v.list->at[i].kind == VAL_TENSOR) text_printf(e->a, &t, "%s%s", t.n ? ", " : "", val_text(e, v.list->at[i]));
    return t.n ? text_str(e->a, &t) : NULL;
}

Val instance_apply(Elab *e, Instance *i, const AstNode *place, const Args *args) {
    const AstFunction *decl = i->layer->decl->function;
    if (!decl->has_inputs) {
        elab_error(e, place->loc, 106, "the layer %s has no inputs of its own: one of its functions is meant", i->layer->name);
        elab_note(e, i->layer->decl->loc, "`%s` is declared here", i->layer->name);
        return val_error();
    }
    Scope *members = NULL;
    Val v = call_body(e, with_config(e, i), i, place, args, &members);
    if (members) {
        i->members = members;
        i->members_block = e->b.block;
    }
    if (!i->applied) i->first_use = place->loc;
    if (!i->output) i->output = output_text(e, v);
    i->applied = true;
    i->failed |= v.kind == VAL_ERROR;
    return v;
}

/* ---- what an error kept from being applied ---- */

static void mention_names(AstNode *n, void *data) {
    Elab *e = data;
    if (n->kind == AST_NAME && !map_get(&e->mentioned, n->name) && !map_get(&e->library.decls, n->name)) {
        const Decl *d = names_decl(e, n->name);
        if (!d || d->node->kind != AST_LAYER) map_put(e->a, &e->mentioned, n->name, (void *)n->name);
        if (d && d->node->kind == AST_FN) ast_children(d->node, mention_names, e); /* it may be what applies them */
    }
    ast_children(n, mention_names, e);
}

void mention(Elab *e, const AstNode *n) {
    if (!e->quiet && !e->library_text && n) mention_names((AstNode *)n, e);
}

/* By name; of `nets.0` the name is `nets`. */
static bool mentioned(const Elab *e, const char *name) {
    if (!name || !diag_errors(e->d)) return false;
    return map_get(&e->mentioned, intern_n(name, strcspn(name, ".")));
}

/* Whether an error is why it was not applied: one in its arguments, in the layer around it. */
static bool not_reached(const Elab *e, const Instance *i) {
    if (mentioned(e, i->let_name)) return true;
    for (; i && diag_errors(e->d); i = i->owner)
        if (i->attempted && !i->applied) return true;
    return false;
}

/* The members of an instance (lets, parameters, functions) are known after its body ran: for a layer with inputs that is when it
 * is applied; one without is run here. In another function its values belong to, it runs again; parameters and parts stay what
 * they are. */
bool instance_complete(Elab *e, Instance *i, Loc at) {
    const AstFunction *decl = i->layer->decl->function;
    if (decl->has_inputs) {
        if (i->members) return true;
        const AstNode *around = i->owner ? i->owner->layer->decl : NULL;
        if (around && diag_said_within(e->d, around->loc, around->end_line))
            return false; /* it may be applied in what is wrong there */
        if (e->holes || not_reached(e, i)) return false;
        elab_error(e, at, 108, "the parts of %s are not known before it is applied", i->layer->name);
        return false;
    }
    if (i->members && i->members_block == e->b.block) return true;
    if (i->busy) {
        elab_error(e, at, 104, "%s needs itself", i->layer->name);
        return false;
    }
    i->busy = true;
    Args none = {0};
    AstNode place = {.kind = AST_NAME, .loc = at};
    Scope *members = NULL;
    Val v = call_body(e, with_config(e, i), i, &place, &none, &members);
    i->busy = false;
    (void)v;
    if (!members) return false;
    i->members = members;
    i->members_block = e->b.block;
    i->applied = true;
    return true;
}

/* ---- parameters and states ---- */

static Owned *find_owned(Elab *e, Instance *owner, const AstNode *place, const char *name) {
    if (e->optimized) {
        for (Owned *o = e->optimized->states; o; o = o->next_state) {
            if (o->place == place && o->name == name && o->statement == e->optimizer_site) return o;
        }
        return NULL;
    }
    if (!owner) return NULL;
    for (size_t i = 0; i < owner->owned.n; i++) {
        Owned *o = owner->owned.at[i];
        if (o->place == place && o->name == name && path_equal(o->path, e->path)) return o;
    }
    return NULL;
}

/* The first value: a constant is Slot.fill; anything else is a function of its own, "init.NAME". */
static bool make_initial(Elab *e, Owned *o, const AstNode *value, const Type *t) {
    Building saved;
    Func *f = building_begin(e, &saved, "init", value->loc);
    e->info->init = true;
    e->info->init_of = o;
    Scope *scope = e->scope;
    uint64_t site = e->site;
    uint32_t origin = e->origin;
    e->scope = scope_push(e, scope, false);
    e->site = 0;
    e->origin = value->serial;
    Val shape[MAX_RANK];
    for (int i = 0; i < t->rank; i++) shape[i] = val_dim(t->dim[i]);
    scope_bind(e, e->scope, intern("shape"), val_list(e, VAL_LIST, (size_t)t->rank, shape), value->loc);
    Val v = expr_read(e, value);
    Value *x = v.kind == VAL_ERROR ? NULL : tensor_to(e, v, t, value->loc);
    if (x && x->def && x->def->code == OP_constant)
        o->slot->fill = op_real(x->def, A_value);
    else if (x) {
        func_write(f, o->slot, x);
        o->slot->init = f;
    }
    e->scope = scope;
    e->site = site;
    e->origin = origin;
    building_end(e, &saved);
    return x != NULL;
}

static Owned *owned_new(Elab *e, SlotKind kind, const char *name, const AstNode *decl, Loc loc) {
    if (e->stopped) return NULL;
    if (e->m->slots.n > 100000) {
        e->quiet = 0;
        elab_error(e, loc, 311, "the program is too large: more than 100000 parameters and states");
        e->stopped = true;
        return NULL;
    }
    const Type *t = type_eval(e, decl->own.type);
    if (!t) return NULL;
    if (type_has_batch(t)) {
        elab_error(e, decl->own.type->loc, 213, "the size of a parameter or state cannot depend on the batch: %s", type_name(t));
        return NULL;
    }
    if (kind == SLOT_PARAM && !elem_is_float(t->elem)) {
        elab_error(e, decl->own.type->loc, 210, "a parameter is of floats, not %s: `state` keeps what is not trained",
                   type_name(t));
        return NULL;
    }
    Owned *o = arena_make(e->a, Owned);
    *o = (Owned){.kind = kind, .name = name, .place = decl, .path = e->path, .loc = loc};
    Loc shown = e->library_text ? e->user_loc : loc; /* --summary and messages at run time show the user's line */
    shown.what = e->optimized ? e->optimizer : e->self ? e->self->layer->name : NULL;
    o->slot = slot_new(e->m, kind, intern_printf("%s#%zu", name, e->m->slots.n), t, shown);
    int quiet = e->quiet; /* made once, so what is wrong is said now */
    e->quiet = 0;
    o->failed = !make_initial(e, o, decl->own.value, t);
    e->quiet = quiet;
    vec_push(e->a, &e->owned, o);
    return o;
}

/* What `param` or `state` number `index` of a declaration stands for, here. */
Owned *own(Elab *e, const AstNode *decl, size_t index) {
    const AstNode *name = decl->own.names.at[index];
    bool state = decl->kind == AST_STATE;
    if (!e->self && !e->optimized) {
        elab_error(e, decl->loc, 109, "%s owns no %s: it belongs in a layer, or at the top of the file",
                   e->frame ? "a function of the file" : "a command", state ? "state" : "parameter");
        return NULL;
    }
    if (e->optimized && !state) {
        elab_error(e, decl->loc, 304, "an optimizer keeps `state`; it has no parameters");
        return NULL;
    }
    Owned *o = find_owned(e, e->self, decl, name->name);
    if (!o) {
        o = owned_new(e, e->optimized ? SLOT_OPTSTATE : state ? SLOT_STATE : SLOT_PARAM, name->name, decl, name->loc);
        if (!o) return NULL;
        o->owner = e->optimized ? NULL : e->self;
        o->of = e->optimized;
        if (o->of) {
            o->next_state = o->of->states;
            o->of->states = o;
        }
        o->optimizer = e->optimizer;
        o->statement = e->optimizer_site;
        if (o->owner) vec_push(e->a, &o->owner->owned, o);
        return o;
    }
    const Type *t = type_eval(e, decl->own.type);
    if (t && t != o->slot->type) {
        Instance *i = e->self;
        elab_error(e, name->loc, 212, "`%s` would be %s here, but the first application of %s made it %s", name->name,
                   type_name(t), i ? i->layer->name : "it", type_name(o->slot->type));
        if (i && i->first_use.file) elab_note(e, i->first_use, "the first application is here");
        return NULL;
    }
    return o;
}

/* A parameter of the file. */
Owned *own_top(Elab *e, Decl *d) {
    const AstNode *n = d->node;
    return owned_new(e, n->kind == AST_STATE ? SLOT_STATE : SLOT_PARAM, d->name, n, n->own.names.at[d->index]->loc);
}

/* ---- what `over`, `params`, `save` name ---- */

static bool belongs(const Instance *i, const Instance *of) {
    for (; i; i = i->owner)
        if (i == of) return true;
    return false;
}

static void push_once(Elab *e, OwnedList *out, Owned *o) {
    for (size_t i = 0; i < out->n; i++)
        if (out->at[i] == o) return;
    vec_push(e->a, out, o);
}

static const char *instance_title(const Instance *i) {
    return i->let_name ? intern_printf("`%s`", i->let_name) : intern_printf("this %s", i->layer->name);
}

bool owned_in_doubt(Elab *e, Val v) {
    if (v.kind == VAL_LIST)
        for (size_t i = 0; i < v.list->n; i++)
            if (owned_in_doubt(e, v.list->at[i])) return true;
    if (v.kind != VAL_INSTANCE || !diag_errors(e->d)) return false;
    const AstNode *decl = v.inst->layer->decl;
    if (!decl->function->has_inputs) return true; /* one of its functions may not have run */
    return v.inst->failed || (!v.inst->applied && (e->missed.n || not_reached(e, v.inst))) ||
           diag_said_within(e->d, decl->loc, decl->end_line);
}

bool owned_collect(Elab *e, Val v, bool states, Loc at, OwnedList *out) {
    switch ((int)v.kind) {
    case VAL_ERROR: return false;
    case VAL_OWNED: push_once(e, out, v.owned); return true;
    case VAL_LIST:
        for (size_t i = 0; i < v.list->n; i++)
            if (!elab_work(e, at, 1 + (int64_t)e->owned.n) || !owned_collect(e, v.list->at[i], states, at, out)) return false;
        return true;
    case VAL_INSTANCE:
        if (!v.inst->layer->decl->function->has_inputs && !v.inst->members && !instance_complete(e, v.inst, at)) return false;
        if (!states && !v.inst->applied) { /* files are filled in at the end */
            bool misses = e->command && e->command->misses;
            if (e->holes || misses || mentioned(e, v.inst->layer->name) || not_reached(e, v.inst))
                return false; /* because of them */
            const char *what = intern_printf("the parameters of %s are not known before it is applied", instance_title(v.inst));
            if (elab_missed(e, what, at, "here too")) return false;
            elab_error(e, at, 108, "%s", what);
            elab_remember(e, what);
            elab_note(e, v.inst->shown,
                      "the instance is made here; its first application, in the order of the text, must stand before this");
            return false;
        }
        for (size_t i = 0; i < e->owned.n; i++) { /* in order of creation */
            Owned *o = e->owned.at[i];
            if (o->owner && belongs(o->owner, v.inst) && (states || o->kind == SLOT_PARAM)) push_once(e, out, o);
        }
        return true;
    default:
        elab_error(e, at, 103, "a model or a part of one is wanted here, not %s", val_text(e, v));
        if (v.kind == VAL_TENSOR) elab_note(e, (Loc){0}, "parameters are named as in `net.W`");
        return false;
    }
}
