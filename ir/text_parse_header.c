/*
 * text_parse_header.c - reads the header that graph and loops texts share: source, slots, layers, vocabularies, data sets (commands:
 * text_parse_command.c).
 */
#include "text.h"

#include <string.h>

struct Pending {
    Func **place;
    const char *name;
    Token at;
    Pending *next;
};

void reader_need_func(Reader *r, Func **place, const char *name, Token at) {
    Pending *p = arena_make(r->arena, Pending);
    *p = (Pending){place, name, at, r->pending};
    r->pending = p;
}

Slot *reader_slot(Reader *r) {
    Token at = r->token;
    const char *name = reader_name(r, T_VALUE, "a slot (%name)");
    if (!name) return NULL;
    Slot *s = slot_by_name(r->module, name);
    if (s) return s;
    if (r->lost) return NULL;
    r->token = at;
    reader_error(r, 602, "there is no slot %%%s", name);
    return NULL;
}

/* source = "source" [STRING] INT [STRING] LINE */
static bool read_source(Reader *r) {
    int64_t hash;
    if (r->token.kind == T_STRING) {
        r->module->source = r->token.s;
        reader_next(r);
    }
    if (!reader_int(r, &hash)) return false;
    r->module->hash = (uint64_t)hash;
    if (r->token.kind == T_STRING) {
        r->module->flags = r->token.s;
        reader_next(r);
    }
    return reader_want_line(r);
}

/* slot = KIND %name ":" type ["=" (number | @func)] ["of" @command] [place] LINE */
static bool read_slot(Reader *r, SlotKind kind) {
    int64_t bound = 0;
    Token at = r->token;
    const char *name = reader_name(r, T_VALUE, "a slot (%name)");
    if (!name) return false;
    if (r->module->slots.n >= 50000) { /* (each is looked for among all before it) */
        r->token = at;
        return reader_error(r, 605, "more than 50000 slots");
    }
    if (slot_by_name(r->module, name)) {
        r->token = at;
        return reader_error(r, 603, "%%%s is declared twice", name);
    }
    const Type *t = reader_want(r, ":") ? reader_type(r, &bound, type_fault) : NULL;
    if (!t) return false;
    Slot *s = slot_new(r->module, kind, name, t, (Loc){0});
    s->batch_bound = type_has_batch(t) ? bound : 0;
    if (reader_take(r, "=")) {
        if (r->token.kind == T_GLOBAL) {
            at = r->token;
            reader_need_func(r, &s->init, reader_name(r, T_GLOBAL, "a function"), at);
        } else if (!reader_real(r, &s->fill)) {
            return false;
        }
    }
    if (reader_take(r, "of") && !(s->command = reader_name(r, T_GLOBAL, "a command"))) return false;
    return reader_loc(r, &s->loc);
}

/* ---- data ---- */

static int vocab_index(const Module *m, const char *name) {
    for (size_t i = 0; i < m->vocabs.n; i++)
        if (m->vocabs.at[i]->name == name) return (int)i;
    return -1;
}

/* arg-value = INT | REAL | "true" | "false" | STRING | "[" [INT {"," INT}] "]" | @vocab */
static bool read_arg_value(Reader *r, LoaderArg *g) {
    if (r->token.kind == T_INT) return g->kind = ARG_INT, reader_int(r, &g->i);
    if (r->token.kind == T_STRING) {
        g->kind = ARG_STR;
        g->s = r->token.s;
        reader_next(r);
    } else if (reader_is(r, "true") || reader_is(r, "false")) {
        g->kind = ARG_BOOL;
        g->i = reader_is(r, "true");
        reader_next(r);
    } else if (r->token.kind == T_GLOBAL) {
        g->kind = ARG_VOCAB;
        g->i = vocab_index(r->module, r->token.s);
        if (g->i < 0) return reader_error(r, 602, "there is no vocab @%s", r->token.s);
        reader_next(r);
    } else if (reader_take(r, "[")) {
        Vec(int64_t) v = {0};
        int64_t x;
        g->kind = ARG_INTS;
        while (!reader_is(r, "]")) {
            if ((v.n && !reader_want(r, ",")) || !reader_int(r, &x)) return false;
            vec_push(r->arena, &v, x);
        }
        g->ints = v.at;
        g->n_ints = (int64_t)v.n;
        reader_next(r);
    } else {
        g->kind = ARG_REAL;
        return reader_real(r, &g->f);
    }
    return true;
}

/* loader = (KIND | "_") "(" [item {"," item}] ")" [place] LINE ["loader" [place] LINE];  item = STRING | NAME "=" arg-value */
bool read_loader(Reader *r, Loader *l, Loc *loc) {
    *l = (Loader){0};
    if (!reader_take(r, "_") && !(l->kind = reader_name(r, T_WORD, "a kind of loader"))) return false;
    if (!reader_want(r, "(")) return false;
    while (!reader_is(r, ")")) {
        if ((l->files.n || l->args.n) && !reader_want(r, ",")) return false;
        bool quoted = r->token.kind == T_STRING;
        const char *s = reader_name(r, T_WORD, "a file or an argument");
        if (!s) return false;
        if (quoted && !reader_is(r, "=")) {
            vec_push(r->arena, &l->files, s);
            continue;
        }
        LoaderArg g = {.name = s};
        if (!reader_want(r, "=") || !read_arg_value(r, &g)) return false;
        vec_push(r->arena, &l->args, g);
    }
    if (!reader_want(r, ")") || !reader_loc(r, loc)) return false;
    l->loc = *loc;
    return true;
}

/* field = NAME ":" type "=" loader */
static bool read_field(Reader *r, DataSet *d, const char *name) {
    Field f = {.name = name};
    if (!reader_want(r, ":")) return false;
    Token at = r->token;
    if (!(f.type = reader_type(r, NULL, type_fault))) return false;
    if (type_has_batch(f.type)) {
        r->token = at;
        return reader_error(r, 604, "the type of a field is that of one sample, without B");
    }
    if (!reader_want(r, "=") || !read_loader(r, &f.loader, &f.loc)) return false;
    vec_push(r->arena, &d->fields, f);
    return true;
}

/* data = "data" @name ["shuffle"] "{" [place] LINE {field | "loader" [place] LINE} "}" LINE */
static bool read_data(Reader *r) {
    DataSet *d = arena_make(r->arena, DataSet);
    if (!(d->name = reader_name(r, T_GLOBAL, "a data set's name"))) return false;
    for (size_t i = 0; i < r->module->data.n; i++)
        if (r->module->data.at[i]->name == d->name) return reader_error(r, 603, "data @%s is declared twice", d->name);
    d->shuffle = reader_take(r, "shuffle");
    if (!reader_want(r, "{") || !reader_loc(r, &d->loc)) return false;
    while (!reader_take(r, "}")) {
        if (r->token.kind == T_LINE) {
            reader_next(r);
            continue;
        }
        const char *name = reader_name(r, T_WORD, "a field's name");
        if (!name) return false;
        bool place = strcmp(name, "loader") == 0 && d->fields.n && !reader_is(r, ":");
        if (place ? !reader_loc(r, &d->fields.at[d->fields.n - 1].loader.loc) : !read_field(r, d, name)) return false;
    }
    vec_push(r->arena, &r->module->data, d);
    return reader_want_line(r);
}

/* vocab = "vocab" @name "=" KIND "(" [STRING {"," STRING}] ")" "size" INT [place] LINE */
static bool read_vocab(Reader *r) {
    Vocab *v = arena_make(r->arena, Vocab);
    if (!(v->name = reader_name(r, T_GLOBAL, "a vocabulary's name"))) return false;
    if (vocab_index(r->module, v->name) >= 0) return reader_error(r, 603, "vocab @%s is declared twice", v->name);
    if (!reader_want(r, "=") || !(v->kind = reader_name(r, T_WORD, "words, characters or list")) || !reader_want(r, "("))
        return false;
    while (!reader_is(r, ")")) {
        if (v->files.n && !reader_want(r, ",")) return false;
        if (r->token.kind != T_STRING) return reader_error(r, 601, "expected a string, found %s", reader_token_text(r));
        vec_push(r->arena, &v->files, r->token.s);
        reader_next(r);
    }
    if (!reader_want(r, ")") || !reader_want(r, "size") || !reader_int(r, &v->size) || !reader_loc(r, &v->loc)) return false;
    vec_push(r->arena, &r->module->vocabs, v);
    return true;
}

/* layer = "layer" @name ":" KIND ["->" STRING] [place] LINE */
static bool read_layer(Reader *r) {
    LayerUse l = {0};
    if (!(l.name = reader_name(r, T_GLOBAL, "a layer's name")) || !reader_want(r, ":")) return false;
    if (!(l.kind = reader_name(r, T_WORD, "what kind of layer"))) return false;
    if (reader_take(r, "->")) {
        if (r->token.kind != T_STRING) return reader_error(r, 601, "expected a string, found %s", reader_token_text(r));
        l.output = r->token.s;
        reader_next(r);
    }
    if (!reader_loc(r, &l.loc)) return false;
    vec_push(r->arena, &r->module->layers, l);
    return true;
}

/* ---- the whole header ---- */

/* A slot's kind is a word of its own only where a slot's name follows: a loops text has steps. */
static bool at_slot(const Reader *r) {
    const char *s = r->at;
    while (s < r->end && (*s == ' ' || *s == '\t')) s++;
    return s < r->end && *s == '%';
}

/* Who reads the declaration that begins with this word; NULL: none does. */
static bool (*reader_of(const Reader *r))(Reader *) {
    if (reader_is(r, "source")) return read_source;
    if (reader_is(r, "data")) return read_data;
    if (reader_is(r, "layer")) return read_layer;
    if (reader_is(r, "vocab")) return read_vocab;
    if (reader_is(r, "command")) return read_command;
    return NULL;
}

bool reader_at_header(const Reader *r) {
    for (SlotKind k = SLOT_PARAM; k <= SLOT_INPUT; k++)
        if (reader_is(r, slot_words[k]) && at_slot(r)) return true;
    return reader_of(r) != NULL;
}

bool reader_header_item(Reader *r) {
    bool (*read)(Reader *) = reader_of(r);
    if (read) {
        reader_next(r);
        if (read(r)) return true;
        r->lost = true;
        if (r->braces)
            reader_leave(r, 0);
        else
            reader_skip(r);
        return true;
    }
    for (SlotKind k = SLOT_PARAM; k <= SLOT_INPUT; k++) {
        if (!reader_is(r, slot_words[k]) || !at_slot(r)) continue;
        reader_next(r);
        if (!read_slot(r, k)) {
            r->lost = true;
            reader_skip(r);
        }
        return true;
    }
    return false;
}

void reader_header_end(Reader *r) {
    for (Pending *p = r->pending; p; p = p->next) {
        *p->place = func_by_name(r->module, p->name);
        r->token = p->at;
        if (!*p->place && !r->lost) reader_error(r, 602, "there is no function @%s", p->name);
    }
}
