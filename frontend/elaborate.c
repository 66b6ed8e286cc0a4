/*
 * elaborate.c - the order of things: declarations, then every command in the order of the text, then what can be said only at the
 * end.
 */
#include "elab.h"

static const int64_t standard_max_batch = 256;

/* Declarations that are checked whether or not a command uses them. Functions and layers have to be applied to be elaborated. */
static void evaluate_declarations(Elab *e) {
    for (size_t i = 0; i < e->user.order.n; i++) {
        Decl *d = e->user.order.at[i];
        switch ((int)d->node->kind) {
        case AST_CONST:
        case AST_OPTION:
        case AST_VOCAB:
        case AST_DATA:
        case AST_MODEL:
        case AST_PARAM:
        case AST_STATE: decl_value(e, d, d->node->loc); break;
        default: break;
        }
    }
}

static void elaborate_commands(Elab *e, const Ast *program) {
    for (uint32_t i = 0; i < program->declarations.n && !e->stopped; i++) {
        const AstNode *n = program->declarations.at[i];
        if (n->kind == AST_COMMAND) exec_command(e, n);
    }
}

static uint64_t module_hash(const ElaborateOptions *o) {
    uint64_t h = o->hash;
    for (size_t i = 0; i < o->n_defines; i++) {
        h = hash_bytes(o->defines[i].name, strlen(o->defines[i].name), h);
        h = hash_bytes(o->defines[i].value, strlen(o->defines[i].value), h);
    }
    return hash_bytes(&o->max_batch, sizeof o->max_batch, h);
}

Module *elaborate(Arena *a, Diag *d, const Ast *program, const ElaborateOptions *o) {
    ElaborateOptions options = *o;
    if (options.max_batch <= 0) options.max_batch = standard_max_batch;
    if (!program->declarations.n && !diag_errors(d)) {
        diag_error(d, (Loc){.file = program->file, .line = 1, .col = 1}, 21,
                   "the file declares nothing: a program is a list of declarations, and its commands are what can be run");
        return NULL;
    }
    Elab *e = arena_make(a, Elab);
    e->a = a;
    e->d = d;
    e->o = &options;
    e->m = module_new(a);
    e->m->source = program->file;
    e->m->hash = module_hash(&options);
    e->b.arena = a;
    for (size_t i = 0; i < program->spoilt.n; i++) vec_push(a, &e->spoilt, program->spoilt.at[i]);
    e->nameless = program->nameless;
    for (size_t i = 0; i < program->beside.n; i++) map_put(a, &e->beside, program->beside.at[i], (void *)program->beside.at[i]);
    e->holes = diag_errors(d) > 0;
    for (size_t i = 0; i < program->mentioned.n; i++)
        map_put(a, &e->mentioned, program->mentioned.at[i], (void *)program->mentioned.at[i]);
    names_declare(e, program);
    e->scope = &e->user.scope;
    check_headers(e, program);
    evaluate_declarations(e);
    elaborate_commands(e, program);
    if (!e->stopped) check_unreached(e, program);
    if (!e->stopped) finish_module(e);
    elab_work(e, (Loc){.file = program->file, .line = 1, .col = 1}, 0); /* what finishing took counts too */
    elab_flush_notes(e);
    return diag_errors(d) ? NULL : e->m;
}
