/*
 * elab_check.c - what can be said about a declaration without applying it: names given twice in a header, and, in functions and
 * layers that no command reaches, names that nothing in the program has. (Everything else shows when a body is elaborated.)
 */
#include "elab.h"

/* ---- names given twice ---- */

static void check_twice(Elab *e, const Nodes *first, const Nodes *second) {
    Vec(const AstNode *) seen = {0};
    const Nodes *both[] = {first, second};
    for (int k = 0; k < 2; k++)
        for (uint32_t i = 0; both[k] && i < both[k]->n; i++) {
            const AstNode *f = both[k]->at[i];
            if (f->kind != AST_FIELD || !f->field.name) continue;
            size_t s = 0;
            while (s < seen.n && seen.at[s]->field.name != f->field.name) s++;
            if (s == seen.n) {
                vec_push(e->a, &seen, f);
                continue;
            }
            elab_error(e, f->loc, 102, "`%s` is declared twice", f->field.name);
            elab_note(e, seen.at[s]->loc, "`%s` is declared here first", f->field.name);
        }
}

static void walk_headers(AstNode *n, void *data) {
    if (n->kind == AST_FN || n->kind == AST_LAYER || n->kind == AST_OPTIMIZER || n->kind == AST_COMMAND) {
        check_twice(data, &n->function->config, &n->function->inputs);
        check_twice(data, &n->function->results, NULL);
    }
    ast_children(n, walk_headers, data);
}

void check_headers(Elab *e, const Ast *program) {
    for (uint32_t i = 0; i < program->declarations.n; i++) walk_headers(program->declarations.at[i], e);
}

/* ---- names that nothing has ---- */

typedef struct Unreached {
    Elab *e;
    PtrMap bound; /* every name that the body binds anywhere: where, does not matter here */
    Scope *scope; /* holds them, so that suggestions find them */
} Unreached;

static void bind_one(Unreached *u, const AstNode *n) {
    if (n->kind == AST_BRACKET) n = n->call.callee;
    if (n->kind != AST_NAME || map_get(&u->bound, n->name)) return;
    map_put(u->e->a, &u->bound, n->name, (void *)n);
    scope_bind(u->e, u->scope, n->name, val_error(), n->loc);
}

static void bind_name_of(Unreached *u, const char *name, Loc loc) {
    AstNode n = {.kind = AST_NAME, .loc = loc, .name = name};
    if (name) bind_one(u, &n);
}

static void bind_all(Unreached *u, const Nodes *names) {
    for (uint32_t i = 0; i < names->n; i++) bind_one(u, names->at[i]);
}

/* Names in a type bind dimensions. */
static void bind_dims(AstNode *n, void *data) {
    bind_one(data, n);
    ast_children(n, bind_dims, data);
}

static void walk_bound(AstNode *n, void *data) {
    Unreached *u = data;
    switch ((int)n->kind) {
    case AST_BIND:
    case AST_LET: bind_all(u, &n->bind.targets); break;
    case AST_PARAM:
    case AST_STATE: bind_all(u, &n->own.names); break;
    case AST_CLAUSE: bind_all(u, &n->clause.names); break;
    case AST_COMPREHENSION: bind_all(u, &n->comprehension.names); break;
    case AST_FIELD: bind_name_of(u, n->field.name, n->loc); break;
    case AST_TYPE: ast_children(n, bind_dims, u); break;
    case AST_FN: bind_name_of(u, n->function->name, n->function->name_loc); break;
    case AST_TRACK:
        for (uint32_t i = 0; i < n->values.items.n; i++)
            if (n->values.items.at[i]->kind == AST_KEYWORD) bind_name_of(u, n->values.items.at[i]->keyword.name, n->loc);
        break;
    default: break;
    }
    ast_children(n, walk_bound, data);
}

static void walk_used(AstNode *n, void *data) {
    Unreached *u = data;
    static const char *const words[] = {"learning", "step", "shape", "epoch"};
    if (n->kind == AST_NAME && !map_get(&u->bound, n->name) && !names_decl(u->e, n->name) &&
        !map_get(&u->e->library.decls, n->name)) {
        bool known = false;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++) known = known || strcmp(words[i], n->name) == 0;
        if (!known) names_check(u->e, n);
    }
    ast_children(n, walk_used, data);
}

/* A function, layer or optimizer whose body was never elaborated. */
void check_unreached(Elab *e, const Ast *program) {
    for (uint32_t i = 0; i < program->declarations.n; i++) {
        AstNode *n = program->declarations.at[i];
        if (n->kind != AST_FN && n->kind != AST_LAYER && n->kind != AST_OPTIMIZER) continue;
        if (n->broken || map_get(&e->ran, n)) continue;
        Unreached u = {.e = e, .scope = scope_push(e, &e->user.scope, true)};
        Scope *saved = e->scope;
        e->scope = u.scope;
        ast_children(n, walk_bound, &u);
        ast_children(n, walk_used, &u);
        e->scope = saved;
    }
}
