/*
 * elab_check.c - what can be said about a declaration without applying it: names given twice in a header, and, in functions and
 * layers that no command reaches, names that nothing in the program has. (Everything else shows when a body is elaborated.)
 */
#include "elab.h"

/* ---- names given twice ---- */

static void check_twice(Elab *e, const Nodes *first, const Nodes *second) {
    PtrMap seen = {0};
    const Nodes *both[] = {first, second};
    for (int k = 0; k < 2; k++)
        for (uint32_t i = 0; both[k] && i < both[k]->n; i++) {
            const AstNode *f = both[k]->at[i];
            if (f->kind != AST_FIELD || !f->field.name) continue;
            const AstNode *before = map_get(&seen, f->field.name);
            if (!before) {
                map_put(e->a, &seen, f->field.name, (void *)f);
                continue;
            }
            elab_error(e, f->loc, 102, "`%s` is declared twice", f->field.name);
            elab_note(e, before->loc, "`%s` is declared here first", f->field.name);
        }
}

/* A dimension and a tensor of one name: which would `n` be? (An input of type int may size the others.) */
static void check_dimensions(Elab *e, const AstFunction *f) {
    PtrMap inputs = {0};
    for (uint32_t i = 0; i < f->inputs.n; i++)
        if (f->inputs.at[i]->kind == AST_FIELD && f->inputs.at[i]->field.name)
            map_put(e->a, &inputs, f->inputs.at[i]->field.name, f->inputs.at[i]);
    for (uint32_t i = 0; i < f->inputs.n; i++) {
        const AstNode *type = f->inputs.at[i]->kind == AST_FIELD ? f->inputs.at[i]->field.type : NULL;
        for (uint32_t k = 0; type && type->kind == AST_TYPE && k < type->type.dims.n; k++) {
            const AstNode *dim = type->type.dims.at[k], *input = dim->kind == AST_NAME ? map_get(&inputs, dim->name) : NULL;
            Elem elem;
            if (!input || !input->field.type || input->field.type->kind != AST_TYPE) continue;
            if (!elem_by_name(input->field.type->type.name, &elem) && strcmp(input->field.type->type.name, "float") != 0)
                continue;
            elab_error(e, dim->loc, 102, "`%s` is a dimension here, and an input too", dim->name);
            elab_note(e, input->loc, "`%s` is declared here", dim->name);
        }
    }
}

static void walk_headers(AstNode *n, void *data) {
    if (n->kind == AST_FN || n->kind == AST_LAYER || n->kind == AST_OPTIMIZER || n->kind == AST_COMMAND) {
        check_twice(data, &n->function->config, &n->function->inputs);
        check_twice(data, &n->function->results, NULL);
        check_dimensions(data, n->function);
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

static void bind_header_words(Unreached *u, const AstFunction *f) {
    for (size_t i = 0; i < f->header_words.n; i++) bind_one(u, f->header_words.at[i]);
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
    case AST_FN:
        bind_name_of(u, n->function->name, n->function->name_loc);
        bind_header_words(u, n->function);
        break;
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

/* Functions whose header could not be read, in a body that was elaborated. */
static void walk_broken(AstNode *n, void *data) {
    ast_children(n, n->kind == AST_FN && n->broken ? walk_used : walk_broken, data);
}

/* A function, layer or optimizer whose body was never elaborated: no command reaches it, or its header could not be read. */
void check_unreached(Elab *e, const Ast *program) {
    for (uint32_t i = 0; i < program->declarations.n; i++) {
        AstNode *n = program->declarations.at[i];
        if (n->kind != AST_FN && n->kind != AST_LAYER && n->kind != AST_OPTIMIZER && n->kind != AST_COMMAND) continue;
        bool elaborated = n->kind == AST_COMMAND || (!n->broken && map_get(&e->ran, n));
        if (elaborated && !e->holes) continue;
        Unreached u = {.e = e, .scope = scope_push(e, &e->user.scope, true)};
        Scope *saved = e->scope;
        e->scope = u.scope;
        bind_header_words(&u, n->function);
        ast_children(n, walk_bound, &u);
        ast_children(n, elaborated ? walk_broken : walk_used, &u);
        e->scope = saved;
    }
}

/* ---- the arguments of loaders ---- */

typedef struct KeywordRule {
    const char *loader; /* NULL: any */
    const char *name;
    ArgKind kind;
    int64_t least;        /* of whole numbers */
    const char *words[5]; /* of strings; none: any */
} KeywordRule;

static const KeywordRule keyword_rules[] = {
    {NULL, "columns", ARG_INTS, 0, {0}},
    {NULL, "header", ARG_BOOL, 0, {0}},
    {NULL, "delimiter", ARG_STR, 0, {0}},
    {NULL, "window", ARG_INT, 1, {0}},
    {NULL, "name", ARG_STR, 0, {0}},
    {NULL, "length", ARG_INT, 1, {0}},
    {NULL, "vocab", ARG_VOCAB, 0, {0}},
    {NULL, "column", ARG_INT, 0, {0}},
    {NULL, "nodes", ARG_INT, 1, {0}},
    {NULL, "fit", ARG_STR, 0, {"crop", "scale"}},
    {"cifar", "part", ARG_STR, 0, {"image", "label"}},
    {"images", "part", ARG_STR, 0, {"image", "label"}},
    {"lines", "part", ARG_STR, 0, {"text", "file"}},
    {"trees", "part", ARG_STR, 0, {"word", "left", "right", "label"}},
};

static bool word_allowed(const KeywordRule *r, const char *word) {
    if (!r->words[0]) return true;
    for (int i = 0; i < 5 && r->words[i]; i++)
        if (strcmp(r->words[i], word) == 0) return true;
    return false;
}

static bool argument_fits(Elab *e, const Loader *l, const LoaderArg *a, const KeywordRule *r) {
    static const char *const wanted[] = {[ARG_INT] = "a whole number",
                                         [ARG_BOOL] = "true or false",
                                         [ARG_STR] = "a string",
                                         [ARG_INTS] = "a list of whole numbers",
                                         [ARG_VOCAB] = "a vocabulary"};
    bool list = r->kind == ARG_INTS && a->kind == ARG_INT;
    if (a->kind != r->kind && !list) {
        elab_error(e, l->loc, 401, "%s=... of %s is %s", a->name, l->kind, wanted[r->kind]);
        return false;
    }
    if (a->kind == ARG_INT && a->i < r->least) {
        elab_error(e, l->loc, 401, "%s=%" PRId64 " of %s: it counts from %" PRId64, a->name, a->i, l->kind, r->least);
        return false;
    }
    if (a->kind == ARG_STR && strcmp(a->name, "delimiter") == 0 && strlen(a->s) != 1) {
        elab_error(e, l->loc, 401, "delimiter=\"%s\" of %s is one character", a->s, l->kind);
        return false;
    }
    if (a->kind != ARG_STR || word_allowed(r, a->s)) return true;
    elab_error(e, l->loc, 401, "%s=\"%s\" of %s: there is no such %s", a->name, a->s, l->kind, a->name);
    size_t n = 0;
    while (n < 5 && r->words[n]) n++;
    hint_known(e, a->s, "there are", r->words, n);
    return false;
}

static const LoaderArg *argument(const Loader *l, const char *name) {
    for (size_t i = 0; i < l->args.n; i++)
        if (strcmp(l->args.at[i].name, name) == 0) return &l->args.at[i];
    return NULL;
}

static bool required(Elab *e, const Loader *l, const char *kind, const char *name, const char *what) {
    if (strcmp(l->kind, kind) != 0 || argument(l, name)) return true;
    elab_error(e, l->loc, 401, "%s(...) needs %s: %s", kind, name, what);
    return false;
}

/* What the arguments say about a sample must agree with the type of the field. */
static bool sizes_fit(Elab *e, const Loader *l, const char *field, const Type *t) {
    const LoaderArg *columns = argument(l, "columns"), *window = argument(l, "window"), *nodes = argument(l, "nodes");
    int64_t rows = window ? window->i : 1, sample = type_count(t, 1),
            picked = columns ? (columns->kind == ARG_INTS ? columns->n_ints : 1) : sample / rows;
    if (strcmp(l->kind, "csv") == 0 && picked * rows != sample) {
        elab_error(e, l->loc, 401,
                   "a sample of `%s` is %s, %" PRId64 " number%s, but %" PRId64 " column%s of %" PRId64 " row%s are picked",
                   field, type_name(t), sample, sample == 1 ? "" : "s", picked, picked == 1 ? "" : "s", rows,
                   rows == 1 ? "" : "s");
        return false;
    }
    if (nodes && (t->rank != 1 || t->dim[0].n != nodes->i)) {
        elab_error(e, l->loc, 401, "a sample of `%s` is %s, but nodes=%" PRId64, field, type_name(t), nodes->i);
        return false;
    }
    return true;
}

/* Of a data set's field, or of a command's input. */
bool check_loader(Elab *e, const Loader *l, const char *field, const Type *t) {
    bool ok = true;
    for (size_t i = 0; i < l->args.n; i++)
        for (size_t k = 0; k < sizeof keyword_rules / sizeof *keyword_rules; k++) {
            const KeywordRule *r = &keyword_rules[k];
            if (strcmp(r->name, l->args.at[i].name) == 0 && (!r->loader || strcmp(r->loader, l->kind) == 0))
                ok = argument_fits(e, l, &l->args.at[i], r) && ok;
        }
    return ok && required(e, l, "npz", "name", "npz(\"data.npz\", \"x\") names the array") &&
           required(e, l, "safetensors", "name", "safetensors(\"data.safetensors\", \"x\") names the tensor") &&
           required(e, l, "trees", "part", "\"word\", \"left\", \"right\" or \"label\"") && sizes_fit(e, l, field, t);
}
