/*
 * elab_data.c - data sets, the loaders of their fields, and vocabularies. Nothing is read here: files are opened when the program
 * runs.
 */
#include "elab.h"

/* Which loaders there are, how many files they take, and their keywords. */
typedef struct LoaderKind {
    const char *name;
    int min_files, max_files; /* max -1: any */
    const char *second;       /* the name of a positional string behind the file, as in npz(file, name) */
    const char *keywords;
} LoaderKind;

static const LoaderKind loaders[] = {
    {"idx", 1, 1, NULL, ""},
    {"csv", 1, 1, NULL, "columns header delimiter window"},
    {"npy", 1, 1, NULL, ""},
    {"npz", 1, 1, "name", "name"},
    {"safetensors", 1, 1, "name", "name"},
    {"cifar", 1, -1, NULL, "part"},
    {"images", 1, 1, NULL, "fit part"},
    {"text", 1, -1, NULL, "length vocab"},
    {"words", 1, -1, NULL, "vocab length"},
    {"lines", 1, -1, NULL, "column length vocab part"},
    {"trees", 1, 1, NULL, "part nodes vocab"},
};

static const LoaderKind *loader_kind(const char *name) {
    for (size_t i = 0; i < sizeof loaders / sizeof *loaders; i++)
        if (strcmp(loaders[i].name, name) == 0) return &loaders[i];
    return NULL;
}

static bool has_keyword(const LoaderKind *k, const char *name) {
    size_t n = strlen(name);
    for (const char *s = k->keywords; *s;) {
        size_t w = strcspn(s, " ");
        if (w == n && strncmp(s, name, n) == 0) return true;
        s += w + strspn(s + w, " ");
    }
    return false;
}

static bool loader_arg(Elab *e, const char *name, Val v, Loc at, LoaderArg *out) {
    *out = (LoaderArg){.name = intern(name)};
    switch ((int)v.kind) {
    case VAL_ERROR: return false;
    case VAL_NUMBER:
        out->kind = val_whole(v, &out->i) ? ARG_INT : ARG_REAL;
        if (out->kind == ARG_REAL) out->f = v.num; /* nothing that the text of a graph does not say */
        if (v.batch) break;
        return true;
    case VAL_BOOL:
        out->kind = ARG_BOOL;
        out->i = v.truth;
        return true;
    case VAL_STRING:
        out->kind = ARG_STR;
        out->s = v.text;
        return true;
    case VAL_VOCAB:
        out->kind = ARG_VOCAB;
        out->i = v.vocab;
        return true;
    case VAL_LIST: {
        int64_t *ints = arena_make_n(e->a, int64_t, v.list->n + 1);
        for (size_t i = 0; i < v.list->n; i++)
            if (!val_whole(v.list->at[i], &ints[i])) {
                elab_error(e, at, 401, "a list of whole numbers is wanted here; it holds %s", val_text(e, v.list->at[i]));
                if (v.list->at[i].kind == VAL_STRING)
                    elab_note(e, (Loc){0}, "columns are counted from 0; a list of words gets a name: vocab NAME = [...]");
                return false;
            }
        out->kind = ARG_INTS;
        out->ints = ints;
        out->n_ints = (int64_t)v.list->n;
        return true;
    }
    default: break;
    }
    elab_error(e, at, 401, "a loader's argument is a number, a string, a list, true or false, or a vocabulary, not %s",
               val_text(e, v));
    return false;
}

static bool loader_item(Elab *e, const LoaderKind *k, const AstNode *item, Loader *out) {
    if (item->kind == AST_KEYWORD) {
        if (!has_keyword(k, item->keyword.name)) {
            elab_error(e, item->keyword.name_loc, 401, "%s(...) has no argument `%s`", k->name, item->keyword.name);
            if (k->keywords[0]) elab_note(e, (Loc){0}, "it knows: %s", k->keywords);
            return false;
        }
        for (size_t i = 0; i < out->args.n; i++)
            if (out->args.at[i].name == item->keyword.name) {
                elab_error(e, item->keyword.name_loc, 107, "`%s` is given twice", item->keyword.name);
                return false;
            }
        LoaderArg a;
        if (!loader_arg(e, item->keyword.name, expr(e, item->keyword.value), item->keyword.value->loc, &a)) return false;
        vec_push(e->a, &out->args, a);
        return true;
    }
    if (hint_unquoted(e, item, 401)) return false;
    Val v = expr(e, item);
    if (v.kind == VAL_ERROR) return false;
    if (v.kind != VAL_STRING) {
        elab_error(e, item->loc, 401, "%s(...) begins with the names of files: strings, not %s", k->name, val_text(e, v));
        return false;
    }
    if (k->second && out->files.n == 1) {
        LoaderArg a;
        if (!loader_arg(e, k->second, v, item->loc, &a)) return false;
        vec_push(e->a, &out->args, a);
    } else
        vec_push(e->a, &out->files, v.text);
    return true;
}

/* idx("a.gz"), lines("a", vocab=english). Of a command's inputs and outputs the file comes from the command line. */
bool loader_eval(Elab *e, const AstNode *call, Loader *out) {
    *out = (Loader){.loc = call->loc};
    if (call->kind == AST_ERROR) return false;
    if (call->kind != AST_CALL || call->call.callee->kind != AST_NAME) {
        elab_error(e, call->loc, 401, "a loader is wanted here, as in csv(\"digits.csv\")");
        return false;
    }
    const char *name = call->call.callee->name;
    const LoaderKind *k = loader_kind(name);
    if (!k) {
        Vec(const char *) known = {0};
        for (size_t i = 0; i < sizeof loaders / sizeof *loaders; i++) vec_push(e->a, &known, loaders[i].name);
        const char *near = diag_nearest(name, known.at, known.n);
        elab_error(e, call->call.callee->loc, 401, "there is no loader `%s`", name);
        elab_note(e, (Loc){0},
                  near ? "did you mean `%s`?" : "there are: idx csv npy npz safetensors cifar images text words lines trees%.0s",
                  near ? near : "");
        return false;
    }
    out->kind = k->name;
    for (uint32_t i = 0; i < call->call.items.n; i++)
        if (!loader_item(e, k, call->call.items.at[i], out)) return false;
    bool outside = e->command != NULL; /* of a command's input or output */
    int n = (int)out->files.n;
    if (outside) {
        if (n == 0) return true;
        elab_error(e, call->loc, 401, "the file of a command's input or output is given on the command line, not here");
        return false;
    }
    if (n >= k->min_files && (k->max_files < 0 || n <= k->max_files)) return true;
    elab_error(e, call->loc, 401, "%s(...) reads %s, not %d", k->name, k->max_files == 1 ? "one file" : "files", n);
    return false;
}

Val data_value(Elab *e, const Decl *d) {
    const AstNode *n = d->node;
    DataSet *set = arena_make(e->a, DataSet);
    *set = (DataSet){.name = d->name, .shuffle = n->data.shuffle, .loc = n->loc};
    bool ok = !n->broken;
    PtrMap before = {0};
    for (uint32_t i = 0; i < n->data.fields.n; i++) {
        const AstNode *f = n->data.fields.at[i];
        if (f->kind != AST_FIELD) {
            ok = false;
            continue;
        }
        Field field = {.name = f->field.name, .loc = f->loc};
        const AstNode *twin = map_get(&before, field.name);
        if (twin) {
            elab_error(e, f->field.name_loc, 102, "the field `%s` is declared twice", field.name);
            elab_note(e, twin->loc, "`%s` is declared here first", field.name);
            ok = false; /* which of them a loop would mean is not known */
        }
        map_put(e->a, &before, field.name, (void *)f);
        if (!f->field.type || !f->field.value) {
            elab_error(e, f->loc, 401, "a field has a type and a loader: %s: f32 = csv(\"...\")", f->field.name);
            ok = false;
            continue;
        }
        field.type = type_eval(e, f->field.type);
        ok = field.type && ok;
        if (field.type && type_has_batch(field.type)) {
            elab_error(e, f->field.type->loc, 401, "the type of a field is that of one sample");
            ok = false;
        }
        bool loads = loader_eval(e, f->field.value, &field.loader);
        ok = loads && (!field.type || check_loader(e, &field.loader, field.name, field.type)) && ok;
        vec_push(e->a, &set->fields, field);
    }
    if (!ok) return val_error();
    if (set->fields.n == 0 && diag_errors(e->d)) return val_error(); /* a field that could not be read */
    if (set->fields.n == 0) return elab_error(e, n->loc, 401, "the data set %s has no fields", d->name);
    vec_push(e->a, &e->m->data, set);
    return (Val){.kind = VAL_DATA, .data = set};
}

/* words("file", size=N), characters("file", size=N), or a list of words */
Val vocab_value(Elab *e, const Decl *d) {
    const AstNode *n = d->node->define.value;
    Vocab *v = arena_make(e->a, Vocab);
    *v = (Vocab){.name = d->name, .loc = d->node->loc};
    if (n->kind != AST_CALL || n->call.callee->kind != AST_NAME) {
        Val list = expr(e, n);
        if (list.kind == VAL_ERROR) return list;
        if (list.kind != VAL_LIST)
            return elab_error(e, n->loc, 405, "a vocabulary is words(...), characters(...) or a list of strings, not %s",
                              val_text(e, list));
        v->kind = "list";
        for (size_t i = 0; i < list.list->n; i++) {
            if (list.list->at[i].kind != VAL_STRING)
                return elab_error(e, n->loc, 405, "a vocabulary is a list of strings; it holds %s",
                                  val_text(e, list.list->at[i]));
            for (size_t k = 0; k < i && list.list->n <= 1000; k++) /* (a long list is looked at when it is loaded) */
                if (v->files.at[k] == list.list->at[i].text || strcmp(v->files.at[k], list.list->at[i].text) == 0)
                    return elab_error(e, n->loc, 405, "a vocabulary holds each word once; \"%s\" stands in it twice",
                                      v->files.at[k]);
            vec_push(e->a, &v->files, list.list->at[i].text);
        }
        v->size = (int64_t)list.list->n + 2;
    } else {
        const char *kind = n->call.callee->name;
        if (strcmp(kind, "words") != 0 && strcmp(kind, "characters") != 0)
            return elab_error(e, n->call.callee->loc, 405,
                              "a vocabulary is words(...), characters(...) or a list of strings, not `%s`", kind);
        v->kind = kind;
        for (uint32_t i = 0; i < n->call.items.n; i++) {
            const AstNode *item = n->call.items.at[i];
            if (item->kind == AST_KEYWORD) {
                if (strcmp(item->keyword.name, "size") != 0)
                    return elab_error(e, item->keyword.name_loc, 405, "%s(...) knows `size` alone, not `%s`", kind,
                                      item->keyword.name);
                if (!expr_whole(e, item->keyword.value, "the size of a vocabulary", &v->size)) return val_error();
                continue;
            }
            if (hint_unquoted(e, item, 405)) return val_error();
            Val file = expr(e, item);
            if (file.kind == VAL_ERROR) return file;
            if (file.kind != VAL_STRING)
                return elab_error(e, item->loc, 405, "%s(...) begins with the names of files, not with %s", kind,
                                  val_text(e, file));
            vec_push(e->a, &v->files, file.text);
        }
        if (v->files.n == 0) return elab_error(e, n->loc, 405, "%s(...) reads files", kind);
        if (v->size < 3) return elab_error(e, n->loc, 405, "%s(...) needs size=N, from 3: 0 is padding, 1 is unknown", kind);
    }
    vec_push(e->a, &e->m->vocabs, v);
    return (Val){.kind = VAL_VOCAB, .vocab = (int)e->m->vocabs.n - 1};
}
