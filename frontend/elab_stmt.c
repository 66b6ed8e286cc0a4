/*
 * elab_stmt.c - statements: names are bound and bound again, constant `if`s choose, `for` over a list is copied.
 */
#include "elab.h"

/* In the text of a command itself, not in a function that it calls nor in a scan. */
static bool in_command_text(const Elab *e) {
    return e->command && e->command->depth == 0 && (!e->b.func || e->b.block == e->b.func->body);
}

/* ---- which names a body binds again ---- */

static bool has_name(const NameList *names, const char *name) {
    for (size_t i = 0; i < names->n; i++)
        if (names->at[i] == name) return true;
    return false;
}

/* Adds what the targets bind, but for names that `own` holds. */
static void add_names(Elab *e, NameList *out, const Nodes *targets, const NameList *own) {
    for (uint32_t i = 0; i < targets->n; i++) {
        const AstNode *t = targets->at[i];
        if (t->kind == AST_BRACKET) t = t->call.callee;
        if (t->kind == AST_NAME && !has_name(out, t->name) && !has_name(own, t->name)) vec_push(e->a, out, t->name);
    }
}

typedef struct NameWalk {
    Elab *e;
    NameList *out;
    NameList own; /* of the blocks we are in: after `let`, or in the header of a loop */
} NameWalk;

static void walk_names(AstNode *n, void *data);

static void walk_names_of(const Nodes *body, NameWalk *w) {
    for (uint32_t i = 0; i < body->n; i++) walk_names(body->at[i], w);
}

static void walk_names(AstNode *n, void *data) {
    NameWalk *w = data;
    size_t outside = w->own.n;
    switch ((int)n->kind) {
    case AST_FN: return; /* its names are its own */
    case AST_BRANCH:     /* which side is taken is not known yet: a `let` counts in its own only */
        walk_names_of(&n->branch.yes, w);
        w->own.n = outside;
        walk_names_of(&n->branch.no, w);
        w->own.n = outside;
        return;
    default: ast_children(n, walk_names, data);
    }
    switch ((int)n->kind) {
    case AST_BIND: add_names(w->e, w->out, &n->bind.targets, &w->own); return;
    case AST_LET: add_names(w->e, &w->own, &n->bind.targets, &w->own); return;
    case AST_CLAUSE: add_names(w->e, &w->own, &n->clause.names, &w->own); return;
    case AST_FOR:
    case AST_SCAN:
    case AST_REPEAT:
    case AST_WHILE: w->own.n = outside; return;
    default: return;
    }
}

/* Names from before a loop that its body binds: not those that its header or a `let` make new. */
void assigned_names(Elab *e, const AstNode *loop, NameList *out) {
    NameWalk w = {.e = e, .out = out};
    walk_names((AstNode *)loop, &w);
}

/* ---- names ---- */

static bool may_bind(Elab *e, const char *name, Loc at) {
    Binding *b = scope_find_local(e->scope, name);
    if (b) {
        if (!b->fixed) return true;
        const char *kind = b->val.kind == VAL_OWNED ? (b->val.owned->kind == SLOT_PARAM ? "parameter" : "state")
                           : b->dim                 ? "dimension"
                                                    : "name of the header";
        elab_error(e, at, 105, "`%s` is a %s here: `=` cannot change it", name, kind);
        elab_note(e, b->loc, "`%s` is declared here; %s", name,
                  b->val.kind == VAL_OWNED ? "`<-` writes it" : "another name is free");
        return false;
    }
    for (Scope *s = e->scope; s && !s->source; s = s->up) { /* of the layer around a nested function */
        b = scope_find_here(s, name);
        if (b && b->val.kind == VAL_OWNED && b->fixed) {
            elab_error(e, at, 105, "`%s` is a %s of the layer: `=` cannot change it", name,
                       b->val.owned->kind == SLOT_PARAM ? "parameter" : "state");
            elab_note(e, b->loc, "`%s` is declared here; `<-` writes it", name);
            return false;
        }
    }
    Source *src = scope_source(e->scope);
    Decl *d = src ? map_get(&src->decls, name) : NULL;
    if (!d) return true;
    static const char *const kinds[] = {
        [AST_CONST] = "a const", [AST_OPTION] = "an option", [AST_PARAM] = "a parameter", [AST_STATE] = "a state"};
    const char *kind = (size_t)d->node->kind < sizeof kinds / sizeof *kinds ? kinds[d->node->kind] : NULL;
    if (!kind || diag_said(e->d, at, 11)) return !kind; /* `w += 1` has been reported, and `=` is the scanner's reading of it */
    elab_error(e, at, 105, "`%s` is %s of the file: `=` cannot change it", name, kind);
    bool owned = d->node->kind == AST_PARAM || d->node->kind == AST_STATE;
    elab_note(e, d->node->loc, "`%s` is declared here; %s", name, owned ? "`<-` writes it" : "another name is free");
    return false;
}

static void bind_plain(Elab *e, const AstNode *n, Val v) {
    const char *name = n->name;
    if (!may_bind(e, name, n->loc)) return;
    Binding *b = scope_find_local(e->scope, name);
    if (v.kind == VAL_TENSOR && v.t.value && !v.t.value->name) v.t.value->name = name;
    if (!b) {
        scope_bind(e, e->scope, name, v, n->loc);
        return;
    }
    b->val = v;
    b->loc = n->loc;
    b->average = false;
    b->rebound = true;
}

/* `name = v` or `x[i] = v` */
static void bind_name(Elab *e, const AstNode *target, Val v) {
    if (v.kind == VAL_OWNED) v = val_read(e, v, target->loc);
    if (v.kind == VAL_TUPLE || v.kind == VAL_NONE)
        v = elab_error(e, target->loc, 217, "one value is wanted here, not %s", val_text(e, v));
    if (target->kind == AST_NAME) {
        bind_plain(e, target, v);
        return;
    }
    if (target->kind != AST_BRACKET || target->call.callee->kind != AST_NAME) return;
    const AstNode *name = target->call.callee;
    if (!may_bind(e, name->name, name->loc)) return;
    Val base = expr_read(e, name);
    bind_plain(e, name, index_update(e, base, target, v));
}

static void bind_results(Elab *e, const Nodes *targets, Val v, Loc at, bool let) {
    (void)let;
    if (targets->n == 1) {
        bind_name(e, targets->at[0], v);
        return;
    }
    bool several = v.kind == VAL_TUPLE || v.kind == VAL_LIST;
    if (v.kind != VAL_ERROR && (!several || v.list->n != targets->n)) {
        size_t have = several ? v.list->n : v.kind != VAL_NONE;
        elab_error(e, at, 217, "%u names for %zu value%s", targets->n, have, have == 1 ? "" : "s");
        v = val_error();
    }
    for (uint32_t i = 0; i < targets->n; i++) bind_name(e, targets->at[i], v.kind == VAL_ERROR ? v : v.list->at[i]);
}

static void exec_bind(Elab *e, const AstNode *s) {
    const Nodes *targets = &s->bind.targets, *values = &s->bind.values;
    if (values->n == 1) {
        int errors = e->errors;
        Val v = expr_read(e, values->at[0]);
        AstKind kind = values->at[0]->kind;
        if (v.kind == VAL_NONE && (kind == AST_SCAN || kind == AST_REPEAT || kind == AST_WHILE)) {
            if (e->errors == errors) {
                elab_error(e, values->at[0]->loc, 302, "this loop yields nothing: its value is what `yield` collects");
                elab_note(e, (Loc){0}, "a name bound before the loop and again in it holds its last value after the loop");
            }
            v = val_error();
        }
        if (s->bind.type && targets->n == 1 && v.kind != VAL_ERROR) {
            if (!type_match(e, s->bind.type, &v, values->at[0]->loc,
                            intern_printf("`%s`", targets->at[0]->kind == AST_NAME ? targets->at[0]->name : "this"), true))
                v = val_error();
        }
        bind_results(e, targets, v, values->at[0]->loc, false);
        return;
    }
    Vec(Val) all = {0}; /* all of the right side first: a, b = b, a */
    for (uint32_t i = 0; i < values->n; i++) vec_push(e->a, &all, expr_read(e, values->at[i]));
    if (values->n != targets->n) {
        elab_error(e, s->loc, 217, "%u names for %u values", targets->n, values->n);
        for (uint32_t i = 0; i < targets->n; i++) bind_name(e, targets->at[i], val_error());
        return;
    }
    for (uint32_t i = 0; i < targets->n; i++) bind_name(e, targets->at[i], all.at[i]);
}

static void exec_let(Elab *e, const AstNode *s) {
    const Nodes *targets = &s->bind.targets;
    for (uint32_t i = 0; i < targets->n && i < s->bind.values.n; i++) {
        const AstNode *n = targets->at[i], *value = s->bind.values.at[i];
        Val v = expr(e, value);
        if (n->kind != AST_NAME) continue;
        if (v.kind == VAL_INSTANCE || (v.kind == VAL_FUNCTION && v.fn->kind == FN_LAYER)) {
            if (!e->self) {
                elab_error(e, value->loc, 109, "%s owns nothing: `let` of a layer belongs in a layer",
                           e->frame ? "a function of the file" : "a command");
                v = val_error();
            } else {
                Instance *inst = instance_named(e, v, value, n->name);
                v = inst ? (Val){.kind = VAL_INSTANCE, .inst = inst} : val_error();
            }
        }
        if (v.kind == VAL_OWNED) v = val_read(e, v, value->loc);
        Binding *before = scope_find_here(e->scope, n->name);
        if (before && before->own != n) {
            elab_error(e, n->loc, 102, "`%s` is declared twice", n->name);
            elab_note(e, before->loc, "`%s` is declared here first", n->name);
        }
        Binding *b = scope_bind(e, e->scope, n->name, v, n->loc);
        b->own = n;
        b->fixed = v.kind == VAL_INSTANCE || v.kind == VAL_ERROR;
    }
}

static void exec_own(Elab *e, const AstNode *s) {
    for (uint32_t i = 0; i < s->own.names.n; i++) {
        const AstNode *n = s->own.names.at[i];
        Owned *o = own(e, s, i);
        Binding *before = scope_find_here(e->scope, n->name);
        if (before && before->val.kind != VAL_ERROR && before->own != n) {
            elab_error(e, n->loc, 102, "`%s` is declared twice", n->name);
            elab_note(e, before->loc, "`%s` is declared here first", n->name);
            o = NULL; /* what it is, nobody can say */
        }
        Binding *b = scope_bind(e, e->scope, n->name, o ? (Val){.kind = VAL_OWNED, .owned = o} : val_error(), n->loc);
        b->own = n;
        b->fixed = true;
    }
}

/* ---- what is not run ---- */

/* A statement is not run for what is wrong with it: it may have been the `return`, or the `yield`. */
static void may_lack_result(Elab *e) {
    if (e->returned.kind == VAL_NONE) e->returned = val_error();
    if (e->frame) e->frame->doubt = true;
    if (e->scan) e->scan->doubt = true;
}

static void lose_name(Elab *e, const char *name, Loc loc) {
    Binding *b = scope_find_local(e->scope, name);
    if (!b)
        scope_bind(e, e->scope, name, val_error(), loc);
    else if (!b->fixed)
        b->val = val_error();
}

static void lose_names(Elab *e, const Nodes *names) {
    for (uint32_t i = 0; i < names->n; i++) {
        const AstNode *n = names->at[i]->kind == AST_BRACKET ? names->at[i]->call.callee : names->at[i];
        if (n->kind == AST_NAME) lose_name(e, n->name, n->loc);
    }
}

static void walk_skipped(AstNode *n, void *data) {
    Elab *e = data;
    switch ((int)n->kind) {
    case AST_BIND:
    case AST_LET: lose_names(e, &n->bind.targets); break;
    case AST_PARAM:
    case AST_STATE: lose_names(e, &n->own.names); break;
    case AST_FN: lose_name(e, n->function->name, n->function->name_loc); return; /* its names are its own */
    case AST_RETURN:
    case AST_YIELD:
    case AST_ERROR: may_lack_result(e); break;
    case AST_NAME:
        if (!e->quiet) map_put(e->a, &e->mentioned, n->name, (void *)n->name);
        break;
    default: break;
    }
    ast_children(n, walk_skipped, data);
}

/* A block that is not run for what is wrong before it: of what it would have bound, tracked, applied and returned nothing is known. */
static void skip_block(Elab *e, const Nodes *body) {
    for (uint32_t i = 0; i < body->n; i++) walk_skipped(body->at[i], e);
    track_spoilt(e, body);
}

/* ---- choices and copies ---- */

static void report_condition(Elab *e, Loc at, Val c) {
    if (c.kind == VAL_ERROR) return;
    if (c.kind != VAL_TENSOR && c.kind != VAL_SCALAR) {
        elab_error(e, at, 215, "a condition is a bool, not %s", val_text(e, c));
        return;
    }
    elab_error(e, at, 215, "the condition of an `if` statement must be known when compiled: this is %s", val_text(e, c));
    elab_note(e, (Loc){0}, "x = if c then a else b chooses when the program runs");
}

static Flow exec_branch(Elab *e, const AstNode *s) {
    Val c = expr_read(e, s->branch.condition);
    if (c.kind == VAL_BOOL) return exec_block(e, c.truth ? &s->branch.yes : &s->branch.no);
    report_condition(e, s->branch.condition->loc, c);
    skip_block(e, &s->branch.yes);
    skip_block(e, &s->branch.no);
    return FLOW_ON;
}

typedef Vec(Val) ValVec;

/* `for a, b in ...`: a list for each name, or one list of lists with a value for each. */
bool clause_fits(Elab *e, const Nodes *names, size_t lists, Val first) {
    if (lists == names->n) return true;
    if (lists > 1) return false; /* reported when it was parsed */
    for (size_t k = 0; k < first.list->n; k++) {
        Val v = first.list->at[k];
        if (v.kind == VAL_ERROR) return false;
        if ((v.kind == VAL_LIST || v.kind == VAL_TUPLE) && v.list->n == names->n) continue;
        elab_error(e, names->at[0]->loc, 217, "%u names, and the list holds %s", names->n, val_text(e, v));
        elab_note(e, (Loc){0}, "`for a, b in as, bs` runs over two lists, `for a, b in [[1, 2], [3, 4]]` over a list of pairs");
        return false;
    }
    return true;
}

/* The elements a clause runs over in copy k, bound in the scope we are in. */
static void bind_copy(Elab *e, const Nodes *names, const ValVec *lists_, size_t k) {
    const Val *lists = lists_->at;
    for (uint32_t i = 0; i < names->n; i++) {
        Val v = lists_->n == names->n ? lists[i].list->at[k] : lists[0].list->at[k];
        if (lists_->n != names->n) v = v.list->at[i]; /* clause_fits has looked */
        scope_bind(e, e->scope, names->at[i]->name, v, names->at[i]->loc);
    }
}

/* How many copies a range asks for, where that is plain from numbers alone; 0 else. */
static int64_t range_copies(Elab *e, const AstNode *range) {
    int64_t from, to;
    e->quiet++;
    Val a = expr(e, range->binary.left), b = expr(e, range->binary.right);
    if (e->quiet) e->quiet--;
    return val_whole(a, &from) && val_whole(b, &to) ? to - from : 0;
}

/* A `for` that has failed in its header: its body is read once, with names of which nothing is known, so that faults of its own show
 * and none that follow. */
static Flow exec_broken_for(Elab *e, const AstNode *s) {
    if (in_command_text(e)) return exec_command_for(e, s, true);
    NameList names = {0};
    assigned_names(e, s, &names);
    for (uint32_t i = 0; i < s->loop->clauses.n; i++) {
        const Nodes *bound = &s->loop->clauses.at[i]->clause.names;
        for (uint32_t k = 0; k < bound->n; k++) scope_bind(e, e->scope, bound->at[k]->name, val_error(), bound->at[k]->loc);
    }
    exec_block(e, &s->loop->body);
    for (size_t i = 0; i < names.n; i++) {
        Binding *b = scope_find_local(e->scope, names.at[i]);
        if (b && !b->fixed) b->val = val_error();
    }
    return FLOW_ON;
}

static Flow exec_copied_for(Elab *e, const AstNode *s) {
    const AstNode *clause = s->loop->clauses.at[0];
    const Nodes *names = &clause->clause.names, *sources = &clause->clause.sources;
    ValVec lists = {0};
    if (s->loop->clauses.n != 1 || clause->clause.batch) {
        elab_error(e, s->loc, 308, "a loop over a data set stands in a command");
        return FLOW_ON;
    }
    for (uint32_t i = 0; i < sources->n; i++) {
        int64_t copies = node_is_range(sources->at[i]) ? range_copies(e, sources->at[i]) : 0;
        if (copies > LIMIT_COPIES) {
            elab_error(e, sources->at[i]->loc, 311, "this `for` is copied when compiled, and %" PRId64 " copies are too many",
                       copies);
            elab_note(e, (Loc){0}, "`scan %s in %s { }` and `repeat` run instead", names->n ? names->at[0]->name : "i", "a..b");
            return exec_broken_for(e, s);
        }
        Val v = list_elements(e, expr(e, sources->at[i]), sources->at[i]->loc);
        if (v.kind == VAL_ERROR) return exec_broken_for(e, s);
        if (i && v.list->n != lists.at[0].list->n) {
            elab_error(e, sources->at[i]->loc, 106, "lists side by side are of one length: %zu and %zu", lists.at[0].list->n,
                       v.list->n);
            return exec_broken_for(e, s);
        }
        vec_push(e->a, &lists, v);
    }
    if (!clause_fits(e, names, lists.n, lists.at[0])) return exec_broken_for(e, s);
    const Path *path = e->path;
    uint64_t site = e->site;
    Flow flow = FLOW_ON;
    for (size_t k = 0; k < lists.at[0].list->n && flow == FLOW_ON && elab_spend(e, s->loc, 1); k++) {
        if (in_command_text(e)) stretch_open(e, s->loc);
        bind_copy(e, names, &lists, k);
        Path *p = arena_make(e->a, Path);
        *p = (Path){
            .up = path, .loc = s->loc, .copy = (int64_t)k, .counter = names->at[0]->name, .value = lists.at[0].list->at[k]};
        e->path = p;
        e->site = site;
        e->site = site_at(e, s->serial, (uint64_t)k);
        flow = exec_block(e, &s->loop->body);
    }
    e->path = path;
    e->site = site;
    return flow;
}

bool node_is_range(const AstNode *n) { return n->kind == AST_BINARY && n->binary.op == OPERATOR_RANGE; }

static Flow exec_for(Elab *e, const AstNode *s) {
    if (s->loop->clauses.n == 0) return FLOW_ON;
    const AstNode *clause = s->loop->clauses.at[0];
    bool runs = clause->clause.batch || (clause->clause.sources.n == 1 && node_is_range(clause->clause.sources.at[0]));
    if (runs && in_command_text(e)) return exec_command_for(e, s, false);
    return exec_copied_for(e, s);
}

/* ---- the rest ---- */

static Flow exec_return(Elab *e, const AstNode *s) {
    if (e->command && e->command->depth == 0) {
        elab_error(e, s->loc, 308, "`return` stands in a function or layer: a command binds the names of its outputs");
        return FLOW_ON;
    }
    if (e->loop) {
        elab_error(e, s->loc, 308, "`return` cannot leave a loop that runs");
        return FLOW_ON;
    }
    Vec(Val) all = {0};
    bool failed = false;
    for (uint32_t i = 0; i < s->values.items.n; i++) {
        Val v = expr_read(e, s->values.items.at[i]);
        failed = failed || v.kind == VAL_ERROR;
        if (v.kind == VAL_TENSOR) v = val_tensor(tensor_of(e, v, s->loc));
        vec_push(e->a, &all, v);
    }
    e->returned = failed ? val_error() : all.n == 0 ? val_none() : all.n == 1 ? all.at[0] : val_list(e, VAL_TUPLE, all.n, all.at);
    return FLOW_RETURN;
}

static void exec_yield(Elab *e, const AstNode *s) {
    if (!e->scan) {
        elab_error(e, s->loc, 302, "`yield` stands in the body of a `scan`");
        return;
    }
    if (e->scan->yielded) {
        elab_error(e, s->loc, 302, "a second `yield` in one loop");
        elab_note(e, e->scan->yield_loc, "the first is here: `yield a, b` collects several values");
        return;
    }
    e->scan->yielded = true;
    e->scan->yield_loc = s->loc;
    for (uint32_t i = 0; i < s->values.items.n; i++) {
        const AstNode *n = s->values.items.at[i];
        Val v = expr_read(e, n);
        if (v.kind != VAL_ERROR) v = val_tensor(tensor_as(e, v, F32, n->loc));
        vec_push(e->a, &e->scan->yields, v);
    }
}

static void exec_expression(Elab *e, const AstNode *s) {
    size_t writes = e->writes.n;
    const AstNode *n = s->values.items.at[0];
    Val v = expr(e, n);
    if (v.kind == VAL_NONE || v.kind == VAL_ERROR || e->writes.n != writes) return;
    if (n->kind == AST_SCAN || n->kind == AST_REPEAT || n->kind == AST_WHILE) return;
    elab_error(e, n->loc, 111, "this gives %s, and nothing is done with it", val_text(e, v));
    if (e->frame && !in_command_text(e)) elab_note(e, (Loc){0}, "`return` gives a value to the caller, `y = ...` a name to it");
    if (n->kind == AST_CALL && n->call.callee->kind == AST_NAME && strcmp(n->call.callee->name, "grad") == 0)
        elab_note(e, (Loc){0}, "`minimize loss over net using sgd[0.1]` takes a step");
}

/* Statements of a command's own text. */
static bool exec_in_command(Elab *e, const AstNode *s) {
    static const char *const words[] = {[AST_TRACK] = "track", [AST_KEEP] = "keep", [AST_STOP] = "stop",  [AST_PRINT] = "print",
                                        [AST_SAVE] = "save",   [AST_LOAD] = "load", [AST_WRITE] = "write"};
    if (!in_command_text(e)) {
        bool in_loop = e->command && e->command->depth == 0 && e->loop;
        elab_error(e, s->loc, 308, "`%s` stands in the text of a command%s", words[s->kind],
                   in_loop ? intern_printf(", not in a `%s`", ast_kind_text(e->loop->kind)) : "");
        return false;
    }
    switch ((int)s->kind) {
    case AST_TRACK: exec_track(e, s); break;
    case AST_KEEP:
    case AST_STOP: exec_keep(e, s); break;
    case AST_PRINT: exec_print(e, s); break;
    default: exec_file(e, s); break;
    }
    return true;
}

static Flow exec_kind(Elab *e, const AstNode *s) {
    switch ((int)s->kind) {
    case AST_ERROR: may_lack_result(e); return FLOW_ON;
    case AST_BIND: exec_bind(e, s); return FLOW_ON;
    case AST_LET: exec_let(e, s); return FLOW_ON;
    case AST_PARAM:
    case AST_STATE: exec_own(e, s); return FLOW_ON;
    case AST_FN: {
        Binding *b = scope_bind(e, e->scope, s->function->name,
                                (Val){.kind = VAL_FUNCTION, .fn = function_of(e, s, e->scope, e->self)}, s->function->name_loc);
        b->fixed = true;
        return FLOW_ON;
    }
    case AST_ASSIGN: exec_assign(e, s); return FLOW_ON;
    case AST_FOR: return exec_for(e, s);
    case AST_BRANCH: return exec_branch(e, s);
    case AST_RETURN: return exec_return(e, s);
    case AST_YIELD: exec_yield(e, s); return FLOW_ON;
    case AST_MINIMIZE:
    case AST_UPDATE: exec_update(e, s); return FLOW_ON;
    case AST_EXPRESSION: exec_expression(e, s); return FLOW_ON;
    case AST_SCAN:
    case AST_REPEAT:
    case AST_WHILE: expr_loop(e, s); return FLOW_ON;
    case AST_TRACK:
    case AST_KEEP:
    case AST_STOP:
    case AST_PRINT:
    case AST_SAVE:
    case AST_LOAD:
    case AST_WRITE: exec_in_command(e, s); return FLOW_ON;
    default: elab_error(e, s->loc, 308, "this is no statement of a body"); return FLOW_ON;
    }
}

static Flow exec(Elab *e, const AstNode *s) {
    if (e->stopped) return FLOW_ON;
    if (!e->library_text) e->user_loc = s->loc;
    if (e->command && e->command->depth == 0 && !e->b.func) stretch_open(e, s->loc);
    emit_at(e, s->loc);
    int errors = e->errors;
    Flow flow = exec_kind(e, s);
    bool block =
        s->kind == AST_FOR || s->kind == AST_BRANCH || s->kind == AST_WHILE || s->kind == AST_REPEAT || s->kind == AST_SCAN;
    if (e->errors != errors && !block) mention(e, s); /* of a block each statement by itself */
    return flow;
}

Flow exec_block(Elab *e, const Nodes *body) {
    if (++e->depth > LIMIT_DEPTH) {
        e->quiet = 0;
        if (body->n) elab_error(e, body->at[0]->loc, 312, "expressions and calls are nested too deeply here");
        e->stopped = true;
    }
    Flow flow = FLOW_ON;
    for (uint32_t i = 0; i < body->n && flow == FLOW_ON && !e->stopped; i++) flow = exec(e, body->at[i]);
    e->depth--;
    return flow;
}
