/*
 * elab_call.c - brackets configure, parentheses apply: arguments find their names, a body gets a scope of its own and runs.
 */
#include "elab.h"

/* ---- arguments ---- */

bool args_eval(Elab *e, const Nodes *items, Args *args) {
    bool ok = true, named = false;
    int keywords = 0;
    for (uint32_t i = 0; i < items->n; i++) {
        const AstNode *n = items->at[i];
        Arg a = {.loc = n->loc};
        if (n->kind == AST_KEYWORD) {
            a.name = n->keyword.name;
            if (++keywords > 1000) return false; /* the parser has said that these are too many */
            for (size_t k = 0; k < args->n; k++)
                if (args->at[k].name == a.name) ok = false; /* the parser has said so */
            named = true;
            a.val = expr(e, n->keyword.value);
            a.loc = n->keyword.value->loc;
            a.name_loc = n->keyword.name_loc;
        } else if (n->kind == AST_SLICE || n->kind == AST_REST || n->kind == AST_NEW) {
            elab_error(e, n->loc, 106, "this stands in an index of a tensor only");
            ok = false;
            continue;
        } else {
            if (named) ok = false; /* the parser has said so */
            a.val = expr(e, n);
        }
        if (a.val.kind == VAL_ERROR) ok = false;
        if (a.val.kind == VAL_TUPLE || a.val.kind == VAL_NONE) {
            elab_error(e, a.loc, 217, "one value is wanted here, not %s", val_text(e, a.val));
            ok = false;
        }
        vec_push(e->a, args, a);
    }
    return ok;
}

/* Puts arguments in the order of the fields; VAL_NONE where one is left out. what: "input" or "configuration". */
static bool args_place(Elab *e, const Function *f, const Nodes *fields, const Args *args, Loc at, const char *what, Val *out,
                       Loc *locs) {
    for (uint32_t i = 0; i < fields->n; i++) out[i] = val_none(), locs[i] = at;
    uint32_t next = 0;
    for (size_t k = 0; k < args->n; k++) {
        const Arg *a = &args->at[k];
        uint32_t i = 0;
        if (a->name) {
            while (i < fields->n && fields->at[i]->field.name != a->name) i++;
            if (i == fields->n) {
                elab_error(e, a->name_loc, 106, "%s has no %s `%s`", f->name, what, a->name);
                if (hint_keyword(e, a->name)) return false;
                Vec(const char *) known = {0};
                for (uint32_t j = 0; j < fields->n; j++) vec_push(e->a, &known, fields->at[j]->field.name);
                hint_known(e, a->name, intern_printf("the %ss of `%s` are", what, f->name), known.at, known.n);
                return false;
            }
            if (out[i].kind != VAL_NONE) {
                elab_error(e, a->loc, 107, "`%s` is given twice", a->name);
                return false;
            }
        } else {
            i = next++;
            if (i >= fields->n) {
                elab_error(e, a->loc, 106, "%s has %u %s%s, not %zu", f->name, fields->n, what, fields->n == 1 ? "" : "s",
                           args->n);
                elab_note(e, f->decl->loc, "`%s` is declared here", f->name);
                return false;
            }
        }
        out[i] = a->val;
        locs[i] = a->loc;
    }
    return true;
}

/* ---- a body's surroundings ---- */

typedef struct Around {
    Scope *scope;
    Instance *self;
    const Path *path;
    uint64_t site;
    uint32_t origin;
    Frame *frame;
    bool library, pure;
    const AstNode *loop;
    ScanState *scan;
    Owned *optimized;
    Val returned;
    Loc loc, op_loc, user_loc;
} Around;

static Around enter(Elab *e, const Function *f, Frame *frame, Scope *scope, Instance *self) {
    Around a = {e->scope, e->self, e->path,      e->site,     e->origin, e->frame,  e->library_text, e->pure,
                e->loop,  e->scan, e->optimized, e->returned, e->b.loc,  e->op_loc, e->user_loc};
    frame->up = e->frame;
    frame->run = ++e->runs;
    frame->path = e->path;
    frame->caller_library = e->library_text;
    Source *source = scope_source(f->env);
    frame->library = source && source->library;
    if (frame->library && !e->library_text) e->user_loc = frame->call; /* where all that the library does is shown */
    e->frame = frame;
    e->scope = scope;
    e->self = self;
    e->path = NULL;
    e->origin = 0;
    e->library_text = frame->library;
    e->pure = f->kind == FN_USER && !self;
    e->loop = NULL;
    e->scan = NULL;
    e->optimized = NULL;
    e->returned = val_none();
    if (e->command) e->command->depth++;
    e->calls++;
    return a;
}

static void leave(Elab *e, const Around *a) {
    e->scope = a->scope;
    e->self = a->self;
    e->path = a->path;
    e->site = a->site;
    e->origin = a->origin;
    e->frame = a->frame;
    e->library_text = a->library;
    e->pure = a->pure;
    e->loop = a->loop;
    e->scan = a->scan;
    e->optimized = a->optimized;
    e->returned = a->returned;
    e->user_loc = a->user_loc;
    e->b.loc = a->loc;
    e->op_loc = a->op_loc;
    if (e->command) e->command->depth--;
    e->calls--;
}

/* ---- configuration ---- */

static const Naming *naming(Elab *e) {
    if (!e->frame) return NULL;
    Naming *n = arena_make(e->a, Naming);
    *n = (Naming){e->frame->fn->decl, e->frame->fn->named};
    return n;
}

const Function *function_of(Elab *e, const AstNode *decl, Scope *env, Instance *self) {
    Function *f = arena_make(e->a, Function);
    *f = (Function){.kind = decl->kind == AST_LAYER       ? FN_LAYER
                            : decl->kind == AST_OPTIMIZER ? FN_OPTIMIZER
                                                          : FN_USER,
                    .name = decl->function->name,
                    .decl = decl,
                    .env = env,
                    .named = naming(e),
                    .self = self};
    return f;
}

/* f, which the text of the body that runs names. */
const Function *function_named_here(Elab *e, const Function *f) {
    if (!e->frame) return f;
    Function *g = arena_make(e->a, Function);
    *g = *f;
    g->named = naming(e);
    return g;
}

/* Binds the configuration's names in s. */
bool bind_config(Elab *e, const Function *f, const Val *config, Scope *s) {
    const Nodes *fields = &f->decl->function->config;
    for (uint32_t i = 0; config && i < fields->n; i++) {
        Binding *b = scope_bind(e, s, fields->at[i]->field.name, config[i], fields->at[i]->loc);
        b->fixed = true;
    }
    return true;
}

/* What brackets hold is known when compiled, but for an f32, which may be a number known when the program runs. */
static bool config_known(Elab *e, const AstNode *field, Val v, Loc at) {
    const AstNode *t = field->field.type;
    bool number =
        t && t->kind == AST_TYPE && !t->type.has_dims && (strcmp(t->type.name, "f32") == 0 || strcmp(t->type.name, "f64") == 0);
    if (v.kind == VAL_SCALAR || v.kind == VAL_TENSOR || v.kind == VAL_OWNED) {
        if (v.kind == VAL_SCALAR && (number || !t)) return true;
        const Type *type = v.kind == VAL_TENSOR ? (v.t.value ? v.t.value->type : v.t.slot->type) : NULL;
        if (number && type && type->rank == 0) return true;
        elab_error(e, at, 110, "the configuration `%s` must be known when compiled: this is %s", field->field.name,
                   val_text(e, v));
        hint_option(e, v);
        return false;
    }
    return true;
}

static Val configure_with(Elab *e, const Function *f, const Args *args, Loc at) {
    const AstFunction *decl = f->decl->function;
    Val *config = arena_make_n(e->a, Val, decl->config.n + 1);
    Loc *locs = arena_make_n(e->a, Loc, decl->config.n + 1);
    if (!args_place(e, f, &decl->config, args, at, "configuration", config, locs)) return val_error();
    Scope *s = scope_push(e, f->env, true);
    Frame frame = {.fn = f, .call = at};
    bool ok = true;
    for (uint32_t i = 0; i < decl->config.n && ok; i++) {
        const AstNode *field = decl->config.at[i];
        if (config[i].kind == VAL_OWNED) config[i] = val_read(e, config[i], locs[i]);
        if (config[i].kind == VAL_NONE && !field->field.value) {
            elab_error(e, at, 106, "%s needs its configuration `%s`", f->name, field->field.name);
            elab_note(e, field->loc, "`%s` is declared here", field->field.name);
            if (!args->n && f->kind != FN_OPTIMIZER)
                elab_note(e, (Loc){0}, "brackets configure, parentheses apply: %s[%s](...)", f->name, field->field.name);
            return val_error();
        }
        Around around = enter(e, f, &frame, s, f->self);
        if (config[i].kind == VAL_NONE) config[i] = expr(e, field->field.value);
        Val v = config[i];
        bool tensor = v.kind == VAL_TENSOR || v.kind == VAL_SCALAR;
        leave(e, &around);
        ok = v.kind != VAL_ERROR && config_known(e, field, v, locs[i]);
        around = enter(e, f, &frame, s, f->self);
        e->library_text = around.library;
        if (ok && !tensor) {
            e->frame = around.frame;
            ok = type_match(e, field->field.type, &config[i], locs[i],
                            intern_printf("the configuration `%s` of %s", field->field.name, f->name), false);
        }
        leave(e, &around);
        Binding *b = scope_bind(e, s, field->field.name, config[i], field->loc);
        b->fixed = true;
    }
    if (!ok) return val_error();
    Function *g = arena_make(e->a, Function);
    *g = *f;
    g->config = config;
    return (Val){.kind = VAL_FUNCTION, .fn = g};
}

Val configure(Elab *e, Val callee, const AstNode *bracket) {
    const Function *f = callee.fn;
    Loc at = bracket ? bracket->loc : e->b.loc;
    if (f->kind == FN_BUILTIN || f->kind == FN_CAST)
        return elab_error(e, at, 106, "%s has no configuration: `(...)` applies it", val_text(e, callee));
    if (f->decl->broken) return val_error();
    if (bracket && f->config) return elab_error(e, at, 106, "%s has its configuration already", f->name);
    Args args = {0};
    if (bracket) {
        if (!f->decl->function->has_config) {
            elab_error(e, at, 106, "%s has no configuration in brackets", val_text(e, callee));
            elab_note(e, f->decl->loc, "`%s` is declared here: parentheses apply it", f->name);
            return val_error();
        }
        if (!args_eval(e, &bracket->call.items, &args)) return val_error();
    }
    return configure_with(e, f, &args, at);
}

/* ---- running a body ---- */

static bool bind_inputs(Elab *e, const Function *f, Val *inputs, Loc *locs, Loc at, Frame *frame) {
    const Nodes *fields = &f->decl->function->inputs;
    bool ok = true;
    for (uint32_t i = 0; i < fields->n; i++) { /* all that were given first: their dimensions may name what defaults use */
        const AstNode *field = fields->at[i];
        if (inputs[i].kind == VAL_NONE) continue;
        if (inputs[i].kind == VAL_OWNED) inputs[i] = val_read(e, inputs[i], locs[i]);
        Frame *here = e->frame; /* the message belongs to the caller */
        bool library = e->library_text;
        Loc user_loc = e->user_loc;
        e->frame = here->up;
        e->library_text = here->caller_library;
        bool fits = type_match(e, field->field.type, &inputs[i], locs[i],
                               intern_printf("input `%s` of %s", field->field.name, f->name), false);
        e->frame = here;
        e->library_text = library;
        e->user_loc = user_loc;
        ok = ok && fits;
        scope_bind(e, e->scope, field->field.name, fits ? inputs[i] : val_error(), field->loc);
    }
    for (uint32_t i = 0; i < fields->n; i++) {
        const AstNode *field = fields->at[i];
        if (inputs[i].kind != VAL_NONE) continue;
        if (!field->field.value) {
            e->frame = frame->up; /* the message belongs to the caller */
            e->library_text = frame->caller_library;
            elab_error(e, at, 106, "%s needs its input `%s`", f->name, field->field.name);
            elab_note(e, field->loc, "`%s` is declared here", field->field.name);
            e->frame = frame;
            e->library_text = frame->library;
            return false;
        }
        inputs[i] = expr_read(e, field->field.value);
        ok = ok && inputs[i].kind != VAL_ERROR &&
             type_match(e, field->field.type, &inputs[i], field->loc, field->field.name, false);
        scope_bind(e, e->scope, field->field.name, inputs[i], field->loc);
    }
    return ok;
}

static Val check_results(Elab *e, const Function *f, Val v) {
    const AstFunction *decl = f->decl->function;
    if (v.kind == VAL_ERROR || !decl->has_results) return v;
    size_t n = decl->results.n, have = v.kind == VAL_TUPLE ? v.list->n : v.kind != VAL_NONE;
    if (!have) {
        const Nodes *body = &decl->body;
        const AstNode *last = body->n ? body->at[body->n - 1] : NULL;
        if (last && last->kind == AST_EXPRESSION && diag_said(e->d, last->loc, 111)) return val_error(); /* that was the result */
        elab_error(e, f->decl->loc, 206, "%s returns nothing, but a result is declared", f->name);
        elab_note(e, last && last->kind == AST_BIND ? last->loc : (Loc){0},
                  "what it gives stands behind `return`, as in `return y`");
        return val_error();
    }
    if (n != have)
        return elab_error(e, f->decl->loc, 206, "%s gives %zu value%s, but %zu %s declared", f->name, have, have == 1 ? "" : "s",
                          n, n == 1 ? "is" : "are");
    Val out[64];
    if (n > 64) return elab_error(e, f->decl->loc, 206, "more than 64 results");
    for (size_t i = 0; i < n; i++) {
        const AstNode *field = decl->results.at[i];
        out[i] = v.kind == VAL_TUPLE ? v.list->at[i] : v;
        const char *what = n > 1 ? intern_printf("the result `%s` of %s", field->field.name, f->name)
                                 : intern_printf("the result of %s", f->name);
        bool doubt = e->frame && e->frame->doubt;
        e->quiet += doubt;
        bool fits = type_match(e, field->field.type, &out[i], field->loc, what, true);
        if (doubt && e->quiet) e->quiet--;
        if (!fits) return val_error();
    }
    return v.kind == VAL_TUPLE ? val_list(e, VAL_TUPLE, n, out) : out[0];
}

/* ---- what may not reach itself (N1) ---- */

/* In its own body, or in what that names. What was handed to a body was named outside it: twice[twice[dense[2]]] ends. */
static bool names_itself(const Function *f) {
    for (const Naming *n = f->named; n; n = n->up)
        if (n->decl == f->decl) return true;
    return false;
}

static bool runs_already(const Elab *e, const Instance *inst) {
    for (const Frame *k = e->frame; k && inst; k = k->up)
        if (k->inst == inst) return true;
    return false;
}

static bool same_function(const Function *a, const Function *b);

static bool same_value(Val a, Val b) {
    if (a.kind != b.kind) return false;
    if (a.kind == VAL_FUNCTION) return same_function(a.fn, b.fn);
    if (a.kind == VAL_NUMBER) return a.num == b.num && a.batch == b.batch;
    if (a.kind == VAL_INSTANCE) return a.inst == b.inst;
    return a.kind == VAL_BOOL ? a.truth == b.truth : a.kind == VAL_STRING && a.text == b.text;
}

static bool same_function(const Function *a, const Function *b) {
    if (a->decl != b->decl || a->builtin != b->builtin || a->self != b->self || !a->config != !b->config) return false;
    for (uint32_t i = 0; a->config && i < a->decl->function->config.n; i++)
        if (!same_value(a->config[i], b->config[i])) return false;
    return true;
}

/* Whether f runs already, with the same in its brackets: of calls without end, it is one that goes round. */
static bool goes_round(const Elab *e, const Function *f) {
    for (const Frame *k = e->frame; k; k = k->up)
        if (k->inputs && same_function(k->fn, f)) return true;
    return false;
}

static bool may_call(Elab *e, const Function *f, const Instance *inst, Loc at) {
    bool too_deep = e->calls >= LIMIT_CALLS;
    if (too_deep) e->quiet = 0;
    if (names_itself(f) || runs_already(e, inst) || (too_deep && goes_round(e, f))) {
        const char *what = intern_printf("%s reaches itself", f->name);
        if (!e->library_text && elab_missed(e, what, at, "here too")) return false;
        elab_error(e, at, 104, "%s", what);
        elab_remember(e, what);
        elab_note(e, f->decl->loc, "`%s` is declared here: repetition is `for`, `repeat` or `scan`", f->name);
    } else if (too_deep)
        elab_error(e, at, 312, "functions call each other more than %d deep", (int)LIMIT_CALLS);
    else
        return true;
    if (too_deep) e->stopped = true; /* every call on the way here may have a neighbour that goes as deep */
    return false;
}

/* Runs the body of a function, or of a layer for one instance. *out: the scope it ran in. */
Val call_body(Elab *e, const Function *f, Instance *self, const AstNode *place, const Args *args, Scope **out) {
    const AstFunction *decl = f->decl->function;
    Instance *inst = f->kind == FN_LAYER ? self : NULL;
    if (inst) inst->attempted = true;
    if (!map_get(&e->ran, f->decl)) map_put(e->a, &e->ran, f->decl, (void *)f->decl);
    if (f->decl->broken || !may_call(e, f, inst, place->loc)) return val_error();
    Val *inputs = arena_make_n(e->a, Val, decl->inputs.n + 1);
    Loc *locs = arena_make_n(e->a, Loc, decl->inputs.n + 1);
    if (!args_place(e, f, &decl->inputs, args, place->loc, "input", inputs, locs)) return val_error();
    Frame frame = {.fn = f, .call = place->loc, .inputs = inputs, .inst = inst};
    Scope *s = scope_push(e, f->env, true);
    uint64_t site = site_at(e, place->serial, 0);
    Around around = enter(e, f, &frame, s, self);
    e->site = site;
    bind_config(e, f, f->config, s);
    Val r = val_error();
    if (bind_inputs(e, f, inputs, locs, place->loc, &frame)) {
        exec_block(e, &decl->body);
        r = check_results(e, f, e->returned);
    }
    leave(e, &around);
    if (out) *out = s;
    return r;
}

/* ---- calls ---- */

Val call(Elab *e, const AstNode *place, Val callee, const Args *args) {
    if (callee.kind == VAL_ERROR || e->stopped) return val_error();
    emit_at(e, place->loc);
    for (size_t i = 0; i < args->n; i++)
        if (args->at[i].val.kind == VAL_ERROR) return val_error();
    if (callee.kind == VAL_INSTANCE) return instance_apply(e, callee.inst, place, args);
    if (callee.kind != VAL_FUNCTION) return elab_error(e, place->loc, 103, "%s cannot be applied", val_text(e, callee));
    const Function *f = callee.fn;
    switch (f->kind) {
    case FN_BUILTIN:
    case FN_CAST: return builtin_call(e, f, place, args);
    case FN_OPTIMIZER:
        return elab_error(e, place->loc, 103, "the optimizer %s is used as `minimize loss over net using %s[...]`", f->name,
                          f->name);
    case FN_LAYER:
    case FN_USER: break;
    }
    if (!f->config) {
        Val configured = configure(e, callee, NULL);
        if (configured.kind != VAL_FUNCTION) return val_error();
        f = configured.fn;
    }
    if (f->kind == FN_LAYER) {
        Instance *i = instance_at(e, f, f->config, place, e->self, NULL);
        return i ? instance_apply(e, i, place, args) : val_error();
    }
    return call_body(e, f, f->self, place, args, NULL);
}
