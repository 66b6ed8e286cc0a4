/*
 * elab_tree.c - what a command does beside computing: track, keep, stop, print, save, load, write. Each becomes a node of its
 * tree.
 */
#include "elab.h"
#include <math.h>
#include <strings.h>

/* The slot that will hold v when the stretch has run. */
Slot *slot_of_val(Elab *e, Val v, const char *hint, Loc at) {
    bool outside = (v.kind == VAL_TENSOR || v.kind == VAL_SCALAR) && !v.t.value;
    /* an input lies in no place of its own: only functions read it where it was loaded */
    if (outside && v.t.slot->kind != SLOT_INPUT) return v.t.slot;
    emit_at(e, at);
    Value *x;
    if (v.kind == VAL_NUMBER)
        x = number_as(e, v, v.batch ? I64 : F32, at);
    else if (v.kind == VAL_SCALAR)
        x = number_as(e, v, v.whole ? I64 : F32, at);
    else
        x = v.kind == VAL_TENSOR && v.t.value ? v.t.value : tensor_of(e, v, at);
    if (!x) return NULL;
    if (!x->name) x->name = hint;
    return slot_of_value(e, x);
}

/* ---- track ---- */

/* "as the variable or the function applied last" (L7) */
static const char *own_name(const AstNode *n) {
    switch ((int)n->kind) {
    case AST_NAME: return n->name;
    case AST_MEMBER: return n->member.name;
    case AST_CALL:
    case AST_BRACKET: return own_name(n->call.callee);
    case AST_PIPE: return own_name(n->pipe.target);
    default: return NULL;
    }
}

static bool leads_with_batch(const Elab *e, const Type *t) {
    if (!e->batch || t->rank == 0) return false;
    return t->dim[0].batch || (e->batch->data && e->batch->constant && t->dim[0].n == e->batch->constant);
}

static const Node *tracked_in(const NodeVec *nodes, const char *name) {
    for (size_t i = 0; i < nodes->n; i++)
        for (size_t k = 0; nodes->at[i]->kind == NODE_TRACK && k < nodes->at[i]->tracked.n; k++)
            if (nodes->at[i]->tracked.at[k].name == name) return nodes->at[i];
    return NULL;
}

/* What a line of the log begins with (runtime/report.c). */
static bool is_log_key(const char *name) {
    static const char *const keys[] = {"command", "line", "data", "epoch", "step", "samples", "seconds"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!strcmp(name, keys[i])) return true;
    return false;
}

static bool track_name(Elab *e, const char *name, Loc at) {
    CommandState *c = e->command;
    if (is_log_key(name)) {
        elab_error(e, at, 309, "`%s` is a key that every line of the log has: an average needs another name", name);
        return false;
    }
    NodeVec body = {c->holder->body.at, c->holder->body.n, c->holder->body.cap};
    const Node *before = tracked_in(&body, name);
    if (!before) before = tracked_in(&c->pending, name);
    if (before) {
        elab_error(e, at, 309, "`%s` is tracked twice in this loop", name);
        elab_note(e, before->loc, "the first is here");
        return false;
    }
    for (size_t i = 0; i < c->loop->carried.n; i++)
        if (c->loop->carried.at[i] == name) {
            elab_error(e, at, 309, "`%s` is carried by this loop: its average needs another name", name);
            return false;
        }
    Decl *d = names_decl(e, name);
    if (d && (d->node->kind == AST_PARAM || d->node->kind == AST_STATE)) {
        elab_error(e, at, 309, "`%s` is the name of a %s: an average needs another one", name,
                   d->node->kind == AST_PARAM ? "parameter" : "state");
        elab_note(e, d->node->loc, "`%s` is declared here", name);
        return false;
    }
    return true;
}

void exec_track(Elab *e, const AstNode *s) {
    CommandState *c = e->command;
    if (!c->loop) {
        elab_error(e, s->loc, 308, "`track` stands in a loop: it averages over the loop's samples or turns");
        return;
    }
    Node *n = node_new(e, NODE_TRACK, s->loc);
    for (uint32_t i = 0; i < s->values.items.n; i++) {
        const AstNode *item = s->values.items.at[i];
        const char *name = item->kind == AST_KEYWORD ? item->keyword.name : own_name(item);
        const AstNode *value = item->kind == AST_KEYWORD ? item->keyword.value : item;
        Val v = expr_read(e, value);
        if (!name) {
            elab_error(e, item->loc, 309, "this needs a name: track NAME = ...");
            continue;
        }
        bool itself =
            value->kind == AST_NAME && value->name == name; /* in a try nothing is said: it must not make itself known */
        if (v.kind == VAL_ERROR && !(itself && e->quiet)) vec_push(e->a, &e->spoilt, name);
        if (v.kind == VAL_ERROR || !track_name(e, name, item->loc)) continue;
        emit_at(e, value->loc);
        Value *x = emit_convert(e, tensor_as(e, v, F32, value->loc), F32);
        if (!x) continue;
        if (type_has_batch(x->type) && !x->type->dim[0].batch) {
            elab_error(e, value->loc, 213, "%s has the batch on another axis than the first: track averages over the first",
                       type_name(x->type));
            continue;
        }
        int64_t axis = 0;
        if (leads_with_batch(e, x->type)) x = mean_over(e, x, 1, &axis, false);
        if (!x) continue;
        if (!x->name) x->name = name;
        Tracked t = {.value = slot_of_value(e, x), .name = name};
        t.average = slot_var(e, intern_printf("%s.average", name), type_with_elem(x->type, F32), 0, s->loc);
        vec_push(e->a, &n->tracked, t);
        for (size_t k = 0; k + 1 < n->tracked.n; k++)
            if (n->tracked.at[k].name == name) {
                elab_error(e, item->loc, 309, "`%s` is tracked twice in this loop", name);
                break;
            }
    }
    if (n->tracked.n) vec_push(e->a, &c->pending, n);
}

void track_spoilt(Elab *e, const Nodes *body) {
    for (uint32_t i = 0; i < body->n && diag_errors(e->d) && !e->quiet; i++) {
        const Nodes *items = &body->at[i]->values.items;
        for (uint32_t k = 0; body->at[i]->kind == AST_TRACK && k < items->n; k++) {
            const AstNode *item = items->at[k];
            const char *name = item->kind == AST_KEYWORD ? item->keyword.name : own_name(item);
            if (name && !scope_find_local(e->scope, name)) vec_push(e->a, &e->spoilt, name);
        }
    }
}

/* ---- keep, stop ---- */

/* An average is there when its loop has ended: the loop around it is where it can be watched. */
static bool watched(Elab *e, const AstNode *s, const char *word) {
    const char *name = s->keep.name;
    if (scope_find_local(e->scope, name) || names_decl(e, name)) return true;
    if (names_spoilt(e, name) || elab_missed_here(e, name)) return false;
    for (size_t i = 0; i < e->command->pending.n; i++) {
        const Node *n = e->command->pending.at[i];
        for (size_t k = 0; n->kind == NODE_TRACK && k < n->tracked.n; k++) {
            if (n->tracked.at[k].name != name) continue;
            elab_error(e, s->keep.name_loc, 309,
                       "`%s` is tracked by this very loop, and known when it ends: `%s` stands in the loop around it", name,
                       word);
            elab_note(e, n->loc, "it is tracked here");
            return false;
        }
    }
    Vec(const char *) known = {0};
    for (Scope *at = e->scope; at && !at->source; at = at->up)
        for (Binding *b = at->first; b; b = b->next) vec_push(e->a, &known, b->name);
    const char *near = diag_nearest(name, known.at, known.n);
    elab_error(e, s->keep.name_loc, 101, "`%s` watches a number that is tracked or bound before it, and `%s` is none", word,
               name);
    if (near) elab_note(e, (Loc){0}, "did you mean `%s`?", near);
    return false;
}

void exec_keep(Elab *e, const AstNode *s) {
    CommandState *c = e->command;
    const char *word = s->kind == AST_KEEP ? "keep" : "stop";
    if (!c->loop) {
        elab_error(e, s->loc, 308, "`%s` stands in a loop", word);
        return;
    }
    AstNode name = {.kind = AST_NAME, .loc = s->keep.name_loc, .name = s->keep.name};
    if (!watched(e, s, word)) return;
    Val v = names_lookup(e, &name);
    if (v.kind == VAL_ERROR) return;
    if (v.kind == VAL_OWNED) v = val_read(e, v, s->loc);
    Slot *slot = slot_of_val(e, v, s->keep.name, s->keep.name_loc);
    if (!slot) return;
    if (slot->type->rank != 0) {
        elab_error(e, s->keep.name_loc, 309, "`%s` watches a single number, and `%s` is %s", word, s->keep.name,
                   type_name(slot->type));
        return;
    }
    Node *n = node_new(e, s->kind == AST_KEEP ? NODE_KEEP : NODE_STOP, s->loc);
    n->highest = s->keep.highest;
    n->slot = slot;
    if (s->kind == AST_STOP && s->keep.turns &&
        (!expr_whole(e, s->keep.turns, "the number of turns", &n->stalls) || n->stalls < 1)) {
        if (n->stalls < 1) elab_error(e, s->keep.turns->loc, 309, "`stalls for` counts from 1");
        return;
    }
    stretch_close(e);
    node_add(e, n);
}

/* ---- text with values in it ---- */

static void add_text(Elab *e, Node *n, const char *text, size_t size) {
    if (size && elab_row(e, n->loc)) vec_push(e->a, &n->pieces, ((Piece){.text = arena_strndup(e->a, text, size)}));
}

/* False: it could not be added, and that is said. */
static bool add_value(Elab *e, Node *n, Val v, int digits, const char *hint, Loc at) {
    switch (v.kind) {
    case VAL_ERROR: return false;
    case VAL_NUMBER:
        if (!v.batch) {
            const char *s =
                isnan(v.num) ? "nan" : arena_printf(e->a, "%.*g", digits ? digits : 7, v.num); /* as at run time: no -nan */
            add_text(e, n, s, strlen(s));
            return true;
        }
        break;
    case VAL_BOOL: add_text(e, n, v.truth ? "true" : "false", v.truth ? 4 : 5); return true;
    case VAL_STRING: add_text(e, n, v.text, strlen(v.text)); return true;
    case VAL_FUNCTION: add_text(e, n, v.fn->name, strlen(v.fn->name)); return true;
    case VAL_LIST:
        for (size_t i = 0; i < v.list->n && elab_work(e, at, 1); i++) {
            add_text(e, n, i ? ", " : "[", i ? 2 : 1);
            if (!add_value(e, n, v.list->at[i], digits, hint, at)) return false;
        }
        add_text(e, n, v.list->n ? "]" : "[]", v.list->n ? 1 : 2);
        return true;
    case VAL_NONE:
    case VAL_SCALAR:
    case VAL_TUPLE:
    case VAL_TENSOR:
    case VAL_OWNED:
    case VAL_INSTANCE:
    case VAL_DATA:
    case VAL_VOCAB:
    case VAL_DROPPED: break;
    }
    Slot *slot = slot_of_val(e, v, hint, at);
    if (slot && elab_row(e, at)) vec_push(e->a, &n->pieces, ((Piece){.slot = slot, .digits = digits}));
    return slot != NULL;
}

static bool add_string(Elab *e, Node *n, const AstNode *s) {
    if (s->string.plain) add_text(e, n, s->string.text, s->string.size);
    bool good = true;
    for (uint32_t i = 0; i < s->string.n && !s->string.plain; i++) {
        const AstPiece *p = &s->string.pieces[i];
        if (p->name)
            good &= add_value(e, n, expr(e, p->name), p->digits, p->name->name, p->name->loc);
        else
            add_text(e, n, p->text, p->n);
    }
    return good;
}

void exec_print(Elab *e, const AstNode *s) {
    Node *n = node_new(e, NODE_PRINT, s->loc);
    for (uint32_t i = 0; i < s->values.items.n; i++) {
        const AstNode *item = s->values.items.at[i];
        if (i) add_text(e, n, " ", 1);
        if (item->kind == AST_STRING)
            add_string(e, n, item);
        else
            add_value(e, n, expr(e, item), 0, own_name(item), item->loc);
    }
    vec_push(e->a, &e->command->pending, n);
}

/* ---- files ---- */

/* Texts that stand side by side become one: a name that hangs on no value is then one piece, and what follows the last value is the last piece. */
static void join_texts(Elab *e, Node *n) {
    size_t kept = 0;
    for (size_t i = 0; i < n->pieces.n; kept++) {
        Piece piece = n->pieces.at[i++];
        Text whole = {0};
        if (piece.text) text_add(e->a, &whole, piece.text);
        while (piece.text && i < n->pieces.n && n->pieces.at[i].text) text_add(e->a, &whole, n->pieces.at[i++].text);
        if (piece.text) piece.text = text_str(e->a, &whole);
        n->pieces.at[kept] = piece;
    }
    n->pieces.n = kept;
}

static bool path_of(Elab *e, Node *n, const AstNode *path) {
    if (path->kind == AST_STRING) {
        if (!add_string(e, n, path)) return false;
    } else {
        if (hint_unquoted(e, path, 402)) return false;
        Val v = expr(e, path);
        if (v.kind == VAL_ERROR) return false;
        if (v.kind != VAL_STRING) {
            elab_error(e, path->loc, 402, "the name of a file is a string, not %s", val_text(e, v));
            return false;
        }
        add_text(e, n, v.text, strlen(v.text));
    }
    join_texts(e, n);
    if (n->pieces.n == 0) elab_error(e, path->loc, 402, "the name of a file is empty");
    return n->pieces.n > 0;
}

static bool ends_in(const char *text, const char *suffix) {
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && strcasecmp(text + n - m, suffix) == 0;
}

static const char *name_text(Elab *e, const Node *n) {
    Text t = {0};
    for (size_t i = 0; i < n->pieces.n; i++) text_add(e->a, &t, n->pieces.at[i].text ? n->pieces.at[i].text : "{...}");
    return text_str(e->a, &t);
}

/* The suffix says what kind of file it will be. Values print as numbers, which no suffix is made of: it stands behind the last one. */
static bool suffix_fits(Elab *e, const Node *n, const AstNode *s) {
    static const char *const known[] = {".npy", ".png", ".csv", ".txt"};
    const AstNode *path = s->file.path, *value = s->file.values.at[0];
    const Piece *last = &n->pieces.at[n->pieces.n - 1];
    const char *tail = last->text ? last->text : "";
    size_t kind = 0, kinds = sizeof known / sizeof *known;
    while (kind < kinds && !ends_in(tail, known[kind])) kind++;
    if (kind == kinds)
        elab_error(e, path->loc, 402, "`write` makes .npy, .png or .csv files, and the name \"%s\" ends in none of these",
                   name_text(e, n));
    else if (n->slot->type->rank < 2 && ends_in(tail, ".png"))
        elab_error(e, value->loc, 402,
                   "a picture has two dimensions, [height, width], or a third of 1 or 3 colours, and this is %s",
                   type_name(n->slot->type));
    else
        return true;
    return false;
}

static void exec_write(Elab *e, const AstNode *s) {
    Node *n = node_new(e, NODE_WRITE, s->loc);
    const AstNode *value = s->file.values.at[0];
    Val v = expr(e, value);
    if (v.kind == VAL_ERROR) return;
    n->slot = slot_of_val(e, v, own_name(value), value->loc);
    if (n->slot && path_of(e, n, s->file.path) && suffix_fits(e, n, s)) vec_push(e->a, &e->command->pending, n);
}

void exec_file(Elab *e, const AstNode *s) {
    if (s->kind == AST_WRITE) {
        exec_write(e, s);
        return;
    }
    Node *n = node_new(e, s->kind == AST_SAVE ? NODE_SAVE : NODE_LOAD, s->loc);
    bool ok = path_of(e, n, s->file.path);
    for (uint32_t i = 0; i < s->file.values.n; i++) {
        Val v = expr(e, s->file.values.at[i]);
        ok = ok && v.kind != VAL_ERROR;
        vec_push(e->a, &e->files, ((FileNode){n, v, s->file.values.at[i]->loc}));
    }
    if (!ok) return;
    stretch_close(e);
    node_add(e, n);
}
