/*
 * elab_names.c - the declarations of a file and of the library: what each name stands for, found when first asked for.
 *
 * A name is looked for in the scopes of the body, then in the members of the layer around a nested function, then among the
 * declarations of the file, then in the library, then among the built-in functions (N1). The library itself never sees the user's
 * names.
 */
#include "elab.h"

#include "parse.h"
#include "std_files.h"

#include <math.h>

/* ---- collecting ---- */

static const char *builtin_flags[] = {"data",    "threads", "seed", "weights", "init",     "save-init",  "save",  "no-shuffle",
                                      "batches", "turns",   "out",  "log",     "progress", "checkpoint", "every", "resume",
                                      "profile", "guard",   "help", "version", "summary",  "plan"};

static void declare(Elab *e, Source *s, const AstNode *node, const char *name, Loc loc, int index) {
    Decl *before = map_get(&s->decls, name);
    if (before) {
        if (s->library) bug("the library declares `%s` twice", name);
        elab_error(e, loc, 102, "`%s` is declared twice", name);
        elab_note(e, before->node->loc, "`%s` is declared here first", name);
        return;
    }
    Decl *d = arena_make(e->a, Decl);
    *d = (Decl){.node = node, .name = name, .index = index, .source = s};
    map_put(e->a, &s->decls, name, d);
    vec_push(e->a, &s->order, d);
}

static void declare_all(Elab *e, Source *s, const Ast *ast) {
    for (uint32_t i = 0; i < ast->declarations.n; i++) {
        const AstNode *n = ast->declarations.at[i];
        if (n->kind == AST_PARAM || n->kind == AST_STATE) {
            for (uint32_t k = 0; k < n->own.names.n; k++)
                declare(e, s, n, n->own.names.at[k]->name, n->own.names.at[k]->loc, (int)k);
            continue;
        }
        const char *name = ast_declared_name(n);
        if (name && strcmp(name, "?") != 0) declare(e, s, n, name, n->loc, 0);
    }
}

/* The library's trees, read once a process and kept as names are: nothing in them changes, and reading it is most of the work of a small program.
 * Each run's Diag learns of its texts, so that messages can show their lines. */
static const Ast *library_file(Elab *e, size_t i) {
    static const Ast *read[32];
    static Arena *kept;
    const struct StdFile *f = &std_files[i];
    if (i >= sizeof read / sizeof *read) bug("more than %zu files of the library", sizeof read / sizeof *read);
    diag_source(e->d, f->name, f->text, f->size);
    if (read[i]) return read[i];
    if (!kept) kept = arena_new();
    Diag *d = diag_new(kept);
    read[i] = parse_source(kept, d, f->name, f->text, f->size);
    if (diag_errors(d)) {
        diag_print(d, stderr);
        bug("%s does not parse", f->name);
    }
    return read[i];
}

static void read_library(Elab *e) {
    e->library.library = true;
    for (size_t i = 0; i < std_file_count; i++) declare_all(e, &e->library, library_file(e, i));
}

static void check_defines(Elab *e) {
    for (size_t i = 0; i < e->o->n_defines; i++) {
        const Define *def = &e->o->defines[i];
        const char *name = intern(def->name);
        Decl *d = map_get(&e->user.decls, name);
        if (d && d->node->kind == AST_CONST) continue;
        Loc at = d ? d->node->loc : (Loc){0};
        if (d) {
            elab_error(e, at, 112, "-D %s: `%s` is not a `const`", def->name, def->name);
            if (d->node->kind == AST_OPTION)
                elab_note(e, (Loc){0}, "an option is chosen when the program runs: --%s=%s", def->name, def->value);
            continue;
        }
        Vec(const char *) known = {0};
        for (size_t k = 0; k < e->user.order.n; k++)
            if (e->user.order.at[k]->node->kind == AST_CONST) vec_push(e->a, &known, e->user.order.at[k]->name);
        const char *near = diag_nearest(name, known.at, known.n);
        elab_error(e, at, 112, "-D %s: the program has no `const %s`%s%s%s", def->name, def->name, near ? "; did you mean `" : "",
                   near ? near : "", near ? "`?" : "");
    }
}

bool names_declare(Elab *e, const Ast *program) {
    e->user.scope.source = &e->user;
    e->library.scope.source = &e->library;
    for (const Builtin *const *t = builtin_tables; *t; t++)
        for (const Builtin *b = *t; b->name; b++) map_put(e->a, &e->builtins, intern(b->name), (void *)b);
    declare_all(e, &e->user, program);
    read_library(e);
    check_defines(e);
    return true;
}

Decl *names_decl(Elab *e, const char *name) { return map_get(&e->user.decls, name); }

/* ---- the value of a declaration ---- */

/* -D NAME=text, read as the kind of the default: -D kind=plain needs no quotes, -D f=tanh names a function. */
static Val define_value(Elab *e, const Decl *d, Val standard, const char *text) {
    size_t n = strlen(text);
    if (standard.kind == VAL_STRING) {
        if (n >= 2 && text[0] == '"' && text[n - 1] == '"') return val_string(intern_n(text + 1, n - 2));
        return val_string(intern(text));
    }
    int before = diag_errors(e->d);
    AstNode *node = parse_value(e->a, e->d, intern_printf("-D %s", d->name), text, n);
    if (!node || diag_errors(e->d) != before) return val_error();
    Val v = expr(e, node);
    bool same = v.kind == standard.kind || (val_is_number(v) && val_is_number(standard));
    if (v.kind != VAL_ERROR && !same) {
        const char *kinds[] = {[VAL_NUMBER] = "a number",
                               [VAL_BOOL] = "true or false",
                               [VAL_LIST] = "a list",
                               [VAL_FUNCTION] = "a function or layer"};
        const char *want = standard.kind <= VAL_FUNCTION && kinds[standard.kind] ? kinds[standard.kind] : val_text(e, standard);
        return elab_error(e, d->node->loc, 112, "-D %s=%s: the default is %s, this is %s", d->name, text, want, val_text(e, v));
    }
    return v;
}

static Val const_value(Elab *e, Decl *d) {
    Val v = expr(e, d->node->define.value);
    for (size_t i = 0; i < e->o->n_defines; i++)
        if (d->source == &e->user && strcmp(e->o->defines[i].name, d->name) == 0 && v.kind != VAL_ERROR)
            v = define_value(e, d, v, e->o->defines[i].value);
    switch (v.kind) {
    case VAL_TENSOR:
    case VAL_SCALAR:
    case VAL_OWNED: return elab_error(e, d->node->loc, 110, "the const `%s` must be known when compiled", d->name);
    case VAL_ERROR:
    case VAL_NONE:
    case VAL_NUMBER:
    case VAL_BOOL:
    case VAL_STRING:
    case VAL_LIST:
    case VAL_TUPLE:
    case VAL_FUNCTION:
    case VAL_INSTANCE:
    case VAL_DATA:
    case VAL_VOCAB:
    case VAL_DROPPED: break;
    }
    return v;
}

bool names_flag(const char *name) {
    for (size_t i = 0; i < sizeof builtin_flags / sizeof *builtin_flags; i++)
        if (strcmp(builtin_flags[i], name) == 0) return true;
    return false;
}

static Val option_value(Elab *e, Decl *d) {
    const AstNode *value = d->node->define.value;
    if (names_flag(d->name))
        return elab_error(e, d->node->loc, 502, "the option `%s` has the name of a flag that every program has (--%s)", d->name,
                          d->name);
    Val v = expr(e, value);
    if (v.kind == VAL_ERROR) return v;
    if (v.kind != VAL_BOOL && (v.kind != VAL_NUMBER || v.batch))
        return elab_error(e, value->loc, 502, "the default of an option is a number, true or false, not %s", val_text(e, v));
    int64_t whole;
    const AstNode *literal = value;
    while (literal->kind == AST_UNARY && literal->unary.op == OPERATOR_NEG) literal = literal->unary.operand;
    bool integer = v.kind == VAL_NUMBER && val_whole(v, &whole) && !(literal->kind == AST_NUMBER && !literal->number.is_integer);
    Elem elem = v.kind == VAL_BOOL ? BOOL : !integer ? F64 : fabs(v.num) < 2147483648.0 ? I32 : I64;
    Slot *s = slot_new(e->m, SLOT_OPTION, d->name, type_scalar(elem), d->node->loc);
    s->fill = v.kind == VAL_BOOL ? v.truth : v.num;
    if (v.kind == VAL_BOOL) return (Val){.kind = VAL_TENSOR, .t = {NULL, s}};
    return (Val){.kind = VAL_SCALAR, .whole = integer, .t = {NULL, s}};
}

/* `model net = layer[config]`, or a list of them. */
static Val model_value(Elab *e, Val v, const AstNode *place, const char *name, Loc loc) {
    if (v.kind == VAL_ERROR) return v;
    if (v.kind == VAL_LIST) {
        Vec(Val) out = {0};
        for (size_t i = 0; i < v.list->n; i++) {
            Val one = model_value(e, v.list->at[i], place, intern_printf("%s.%zu", name, i), loc);
            if (one.kind == VAL_ERROR) return one;
            vec_push(e->a, &out, one);
        }
        return val_list(e, VAL_LIST, out.n, out.at);
    }
    if (v.kind == VAL_INSTANCE && !v.inst->owner && !v.inst->let_name) {
        v.inst->let_name = name;
        return v;
    }
    if (v.kind == VAL_FUNCTION && v.fn->kind == FN_LAYER) {
        Val bare = v;
        if (!bare.fn->config) bare = configure(e, v, NULL);
        if (bare.kind != VAL_FUNCTION) return val_error();
        Path *p = arena_make(e->a, Path); /* elements of a list stand at one place */
        *p = (Path){.loc = loc, .copy = (int64_t)e->models.n};
        const Path *saved = e->path;
        e->path = p;
        Instance *i = instance_at(e, bare.fn, bare.fn->config, place, NULL, name);
        e->path = saved;
        return (Val){.kind = VAL_INSTANCE, .inst = i};
    }
    if (v.kind == VAL_INSTANCE) {
        elab_error(e, loc, 103, "`%s` would be a second name of a model: `model` makes a new instance of a layer", name);
        return val_error();
    }
    return elab_error(e, loc, 103, "a model is an instance of a layer, not %s", val_text(e, v));
}

static Val evaluate(Elab *e, Decl *d) {
    const AstNode *n = d->node;
    switch ((int)n->kind) {
    case AST_CONST: return const_value(e, d);
    case AST_OPTION: return option_value(e, d);
    case AST_MODEL: return model_value(e, expr(e, n->define.value), n->define.value, d->name, n->loc);
    case AST_VOCAB: return vocab_value(e, d);
    case AST_DATA: return data_value(e, d);
    case AST_FN:
    case AST_LAYER:
    case AST_OPTIMIZER: return (Val){.kind = VAL_FUNCTION, .fn = function_of(e, n, &d->source->scope, NULL)};
    case AST_COMMAND: return elab_error(e, n->loc, 103, "`%s` is a command: it has no value", d->name);
    case AST_PARAM:
    case AST_STATE: {
        Owned *o = own_top(e, d);
        return o ? (Val){.kind = VAL_OWNED, .owned = o} : val_error();
    }
    default: return val_error();
    }
}

Val decl_value(Elab *e, Decl *d, Loc use) {
    if (d->state == DECL_DONE) return d->val;
    if (d->state == DECL_BUSY) {
        const char *what = intern_printf("`%s` needs itself", d->name);
        if (elab_missed(e, what, use, "here too")) return val_error();
        elab_error(e, use, 104, "%s", what);
        elab_remember(e, what);
        elab_note(e, d->node->loc, "`%s` is declared here", d->name);
        return val_error();
    }
    if (d->node->kind == AST_COMMAND) return elab_error(e, use, 103, "`%s` is a command: it has no value", d->name);
    if (d->node->broken && d->node->kind != AST_DATA) return val_error(); /* fields are checked all the same */
    d->state = DECL_BUSY;
    Building saved = {
        .b = e->b, .op_loc = e->op_loc, .info = e->info, .currents = e->currents, .keys = e->keys, .batch = e->batch};
    Scope *scope = e->scope;
    Instance *self = e->self;
    const Path *path = e->path;
    Frame *frame = e->frame;
    bool library = e->library_text;
    CommandState *command = e->command;
    int quiet = e->quiet;
    e->quiet = 0;
    e->b.func = NULL; /* nothing of a declaration runs */
    e->b.loc = e->op_loc = d->node->loc;
    e->info = NULL;
    e->scope = &d->source->scope;
    e->self = NULL;
    e->path = NULL;
    e->frame = NULL;
    e->library_text = d->source->library;
    e->command = NULL;
    d->val = evaluate(e, d);
    d->state = DECL_DONE;
    building_end(e, &saved);
    e->scope = scope;
    e->self = self;
    e->path = path;
    e->frame = frame;
    e->library_text = library;
    e->command = command;
    e->quiet = quiet;
    return d->val;
}

/* ---- looking up ---- */

bool val_callable(Val v) { return v.kind == VAL_FUNCTION || v.kind == VAL_INSTANCE; }

static bool decl_callable(const Decl *d) {
    switch ((int)d->node->kind) {
    case AST_FN:
    case AST_LAYER:
    case AST_MODEL:
    case AST_OPTIMIZER:
    case AST_CONST: return true; /* a const may be a function: looked at below */
    default: return false;
    }
}

static Val from_source(Elab *e, Source *s, const char *name, Loc use, bool applied, bool command, bool *found) {
    Decl *d = map_get(&s->decls, name);
    *found = false;
    if (!d || (applied && !decl_callable(d))) return val_none();
    if (d->node->kind == AST_DATA && !command) {
        *found = true;
        return elab_error(e, use, 103, "the data set `%s` is visible in commands only", name);
    }
    Val v = decl_value(e, d, use);
    if (applied && v.kind != VAL_ERROR && !val_callable(v)) return val_none();
    *found = true;
    return v;
}

static Val builtin_or_type(Elab *e, const char *name, bool *found) {
    *found = true;
    const Builtin *b = map_get(&e->builtins, name);
    Elem elem;
    Function *f = arena_make(e->a, Function);
    if (b) {
        *f = (Function){.kind = FN_BUILTIN, .name = name, .builtin = b};
        return (Val){.kind = VAL_FUNCTION, .fn = f};
    }
    if (elem_by_name(name, &elem)) {
        *f = (Function){.kind = FN_CAST, .name = name, .elem = elem};
        return (Val){.kind = VAL_FUNCTION, .fn = f};
    }
    *found = false;
    return val_none();
}

static Val special(Elab *e, const char *name, bool *found) {
    *found = true;
    if (strcmp(name, "learning") == 0 && e->frame) return val_bool(e->learning);
    if (strcmp(name, "step") == 0 && e->command) {
        CommandState *c = e->command;
        if (!c->step) {
            c->step = slot_new(e->m, SLOT_STEP, intern_printf("%s.step", c->command->name), type_scalar(I32), c->ast->loc);
            c->step->command = c->command->name;
        }
        return (Val){.kind = VAL_SCALAR, .whole = true, .t = {NULL, c->step}};
    }
    *found = false;
    return val_none();
}

static void names_suggest(Elab *e, const char *name) {
    if (hint_name(e, name) || diag_errors(e->d) > 1000) return; /* so many are only counted */
    Vec(const char *) known = {0};
    for (Scope *s = e->scope; s && !s->source; s = s->up)
        for (Binding *b = s->first; b; b = b->next)
            if (!e->sizing || !val_callable(b->val)) vec_push(e->a, &known, b->name);
    Source *src = scope_source(e->scope);
    for (int k = 0; k < 2 && src; k++, src = src->library ? NULL : &e->library) {
        if (src->library && !e->sizing) { /* before names as near: `tru` is no gru */
            vec_push(e->a, &known, "true");
            vec_push(e->a, &known, "false");
        }
        for (size_t i = 0; i < src->order.n; i++)
            if (!e->sizing || src->order.at[i]->node->kind == AST_CONST) vec_push(e->a, &known, src->order.at[i]->name);
    }
    for (const Builtin *const *t = builtin_tables; *t && !e->sizing; t++)
        for (const Builtin *b = *t; b->name; b++) vec_push(e->a, &known, b->name);
    static const char *const more[] = {"f32", "f64", "i32", "i64", "u8", "bool", "learning", "step"};
    for (size_t i = 0; i < sizeof more / sizeof *more && !e->sizing; i++) vec_push(e->a, &known, more[i]);
    if (hint_look_alike(e, name, known.at, known.n)) return;
    const char *near = diag_nearest(name, known.at, known.n);
    if (near) elab_note(e, (Loc){0}, "did you mean `%s`?", near);
}

static Val named_here(Elab *e, Val v) {
    if (v.kind == VAL_FUNCTION) v.fn = function_named_here(e, v.fn);
    return v;
}

static Val lookup(Elab *e, const AstNode *n, bool applied) {
    const char *name = n->name;
    bool found;
    bool command = scope_in_command(e->scope);
    for (Scope *s = e->scope; s; s = s->up) {
        if (s->source) break;
        Binding *b = scope_find_here(s, name);
        if (!b || (applied && !val_callable(b->val) && b->val.kind != VAL_ERROR)) continue;
        if (!b->rebound) b->read = true;
        if (b->val.kind == VAL_DROPPED) {
            elab_error(e, n->loc, 313, "`%s` has another type after the loop than before it", name);
            elab_note(e, b->loc, "the loop gives it another type here");
            return val_error();
        }
        bool declared_here = b->val.kind == VAL_FUNCTION && b->val.fn->env == s; /* a layer's own function, not one handed in */
        return declared_here ? named_here(e, b->val) : b->val;
    }
    Source *src = scope_source(e->scope);
    for (int k = 0; k < 2 && src; k++, src = src->library ? NULL : &e->library) {
        Val v = from_source(e, src, name, n->loc, applied, command, &found);
        if (found) return named_here(e, v);
    }
    Val v = special(e, name, &found);
    if (found && !applied) return v;
    v = builtin_or_type(e, name, &found);
    if (found) return v;
    return (Val){.kind = VAL_NONE, .batch = true}; /* not known at all */
}

Val names_lookup(Elab *e, const AstNode *n) {
    Val v = lookup(e, n, false);
    if (v.kind != VAL_NONE || !v.batch) return v;
    if (names_lost(e, n->name)) {
        e->errors++;
        return val_error();
    }
    if (e->command) e->command->misses = true;
    if ((elab_missed_here(e, n->name) || !hint_is_elsewhere(e, n)) && elab_missed(e, n->name, n->loc, "nor is it known here"))
        return val_error();
    elab_error(e, n->loc, 101, "`%s` is not known here", n->name);
    elab_remember(e, n->name);
    if (!hint_elsewhere(e, n)) names_suggest(e, n->name);
    return val_error();
}

bool names_spoilt(const Elab *e, const char *name) {
    for (size_t i = 0; i < e->spoilt.n; i++)
        if (e->spoilt.at[i] == name) return true;
    return false;
}

bool names_lost(Elab *e, const char *name) {
    if (!diag_errors(e->d)) return false;
    if (names_spoilt(e, name)) return true;
    if (e->nameless == 0 || map_get(&e->beside, name)) return false;
    e->nameless--;
    vec_push(e->a, &e->spoilt, name);
    return true;
}

bool names_callable(Elab *e, const AstNode *n) {
    bool found;
    Decl *d = map_get(&e->library.decls, n->name);
    if (d) return decl_callable(d);
    builtin_or_type(e, n->name, &found);
    return found;
}

void names_check(Elab *e, const AstNode *n) {
    bool found;
    builtin_or_type(e, n->name, &found);
    if (found || names_spoilt(e, n->name) || names_lost(e, n->name)) return;
    if (elab_missed(e, n->name, n->loc, "nor is it known here")) return;
    elab_error(e, n->loc, 101, "`%s` is not known here", n->name);
    elab_remember(e, n->name);
    names_suggest(e, n->name);
}

bool names_is_list(Elab *e, const AstNode *n) {
    if (n->kind != AST_NAME || lookup(e, n, true).kind != VAL_NONE) return false;
    return lookup(e, n, false).kind == VAL_LIST;
}

Val names_lookup_applied(Elab *e, const AstNode *n) {
    Val v = lookup(e, n, true);
    if (v.kind != VAL_NONE || !v.batch) return v;
    v = lookup(e, n, false); /* a value: say what it is */
    if (v.kind == VAL_NONE && v.batch) return names_lookup(e, n);
    if (v.kind == VAL_ERROR) return v;
    const char *what = intern_printf("`%s` is %s: it cannot be applied", n->name, val_text(e, v));
    if (elab_missed(e, what, n->loc, "here too")) return val_error();
    elab_error(e, n->loc, 103, "%s", what);
    elab_remember(e, what);
    if (strcmp(n->name, "step") == 0) elab_remember(e, n->name); /* a function of that name is missed outside, too */
    return val_error();
}

/* For a name in a type: the constant it stands for, if it stands for one. Dimension variables of functions around are no
 * constants. */
Val names_find_const(Elab *e, Scope *from, const char *name, bool *known, Loc *where) {
    *known = false;
    *where = (Loc){0};
    for (Scope *s = from; s && !s->source; s = s->up) {
        Binding *b = scope_find_here(s, name);
        if (!b) continue;
        if (b->dim) return val_none();
        *where = b->loc;
        *known = b->val.kind == VAL_NUMBER || b->val.kind == VAL_LIST || b->val.kind == VAL_OWNED || b->val.kind == VAL_ERROR;
        return b->val;
    }
    Source *src = scope_source(from);
    Decl *d = src ? map_get(&src->decls, name) : NULL;
    if (!d ||
        (d->node->kind != AST_CONST && d->node->kind != AST_OPTION && d->node->kind != AST_PARAM && d->node->kind != AST_STATE))
        return val_none();
    *known = true;
    *where = d->node->loc;
    return decl_value(e, d, d->node->loc);
}
