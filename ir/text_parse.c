/*
 * text_parse.c - reads a graph: by hand, one function a rule, the rule above it. Slots, data and commands are in
 * text_parse_header.c and text_parse_command.c. Errors are collected: a line that is wrong is left out, and what it would have
 * defined keeps silent.
 *
 *   graph = "graph" ("front" | "expanded" | "fused") LINE { header-item | func }
 */
#include "text.h"

#include <string.h>

enum { MOST_NESTED = 100 };

typedef struct NameEntry {
    const char *name; /* interned; NULL: free */
    Value *value;     /* NULL: its line was wrong */
    bool missed;      /* used before, or without, a line that makes it: said once */
} NameEntry;

/* A function being read. */
typedef struct FuncReader {
    Reader *r;
    Func *func;
    NameEntry *names;
    size_t n, mask;
    Block *scope[MOST_NESTED + 1]; /* the blocks around, outermost first */
    int depth;
    bool lost; /* a block ended where it should not: what follows would be read in the wrong block */
} FuncReader;

/* ---- names of values ---- */

static NameEntry *name_find(const FuncReader *f, const char *name) {
    size_t k = hash_bytes(&name, sizeof name, 0) & f->mask;
    while (f->names[k].name && f->names[k].name != name) k = (k + 1) & f->mask;
    return &f->names[k];
}

static void names_grow(FuncReader *f) {
    NameEntry *old = f->names;
    size_t n = old ? f->mask + 1 : 0;
    f->mask = old ? f->mask * 2 + 1 : 63;
    f->names = arena_make_n(f->r->arena, NameEntry, f->mask + 1);
    for (size_t i = 0; i < n; i++)
        if (old[i].name) *name_find(f, old[i].name) = old[i];
}

/* False if the name is taken. value NULL: a value that could not be made. */
static bool name_define(FuncReader *f, const char *name, Value *value) {
    if (!f->names || 2 * f->n > f->mask) names_grow(f);
    NameEntry *e = name_find(f, name);
    if (e->name && !e->missed) return false;
    f->n -= e->missed;
    *e = (NameEntry){name, value, false};
    f->n++;
    return true;
}

static bool define(FuncReader *f, const char *name, Value *value) {
    if (value && name[strspn(name, "0123456789")] == 0) value->name = NULL; /* a counted name is no name */
    return name_define(f, name, value) || reader_error(f->r, 603, "%%%s is defined twice", name);
}

static bool in_scope(const FuncReader *f, const Value *v) {
    for (int i = 0; i <= f->depth; i++)
        if (f->scope[i] == v->block) return true;
    return false;
}

/* The use of a value: T_VALUE. False: reported. *value NULL: the value's own line was wrong. */
static bool read_use(FuncReader *f, Value **value) {
    Reader *r = f->r;
    if (r->token.kind != T_VALUE) return reader_error(r, 601, "expected a value, found %s", reader_token_text(r));
    if (!f->names) names_grow(f);
    const NameEntry *e = name_find(f, r->token.s);
    if (!e->name) {
        name_define(f, r->token.s, NULL);
        name_find(f, r->token.s)->missed = true;
        return reader_error(r, 602, "there is no value %%%s here", r->token.s);
    }
    if (e->value && !in_scope(f, e->value)) return reader_error(r, 602, "%%%s is a value of a block that has ended", r->token.s);
    *value = e->value;
    reader_next(r);
    return true;
}

/* ---- attributes ---- */

/* ints = "[" [INT {"," INT}] "]" */
static bool read_ints(Reader *r, Attr *a) {
    Vec(int64_t) v = {0};
    int64_t x;
    if (!reader_want(r, "[")) return false;
    if (!reader_is(r, "]")) do {
            if (!reader_int(r, &x)) return false;
            vec_push(r->arena, &v, x);
        } while (reader_take(r, ","));
    a->ints.at = v.at;
    a->ints.n = (int64_t)v.n;
    return reader_want(r, "]");
}

static bool read_reals(Reader *r, Attr *a) {
    Vec(double) v = {0};
    double x;
    if (!reader_want(r, "[")) return false;
    if (!reader_is(r, "]")) do {
            if (!reader_real(r, &x)) return false;
            vec_push(r->arena, &v, x);
        } while (reader_take(r, ","));
    a->reals.at = v.at;
    a->reals.n = (int64_t)v.n;
    return reader_want(r, "]");
}

static bool read_attr(Reader *r, Attr *a) {
    switch (attr_kind(a->key)) {
    case ATTR_INT: return reader_int(r, &a->i);
    case ATTR_REAL: return reader_real(r, &a->f);
    case ATTR_INTS: return read_ints(r, a);
    case ATTR_REALS: return read_reals(r, a);
    case ATTR_BOOL: a->i = reader_is(r, "true"); return reader_take(r, "true") || reader_want(r, "false");
    case ATTR_STR:
        if (r->token.kind != T_STRING) return reader_error(r, 601, "expected a string, found %s", reader_token_text(r));
        a->s = r->token.s;
        reader_next(r);
        return true;
    }
    return false;
}

/* ---- ops ---- */

/* What stands on the line of an op. */
typedef struct OpLine {
    OpCode code;
    Vec(const char *) results;
    Vec(Value *) in;
    bool silent; /* an operand's own line was wrong */
    int n_attrs;
    Attr attrs[8];
    Vec(const Type *) types;
    Vec(Block *) blocks;
    Loc loc;
    Token at; /* the op's name */
} OpLine;

static bool attr_is_bare(AttrKey key) { return key == A_spec || key == A_value || key == A_values; }

static bool take_attr(Reader *r, OpLine *o, AttrKey key) {
    for (int i = 0; i < o->n_attrs; i++)
        if (o->attrs[i].key == key) return reader_error(r, 603, "`%s` is given twice", attr_name(key));
    if (o->n_attrs == (int)(sizeof o->attrs / sizeof *o->attrs)) return reader_error(r, 605, "too many attributes");
    o->attrs[o->n_attrs] = (Attr){.key = key};
    return read_attr(r, &o->attrs[o->n_attrs]) && ++o->n_attrs;
}

/* named-attr = NAME "=" value */
static bool read_named_attr(Reader *r, OpLine *o) {
    AttrKey key = attr_by_name(r->token.s);
    const OpInfo *info = &op_info[o->code];
    bool known = false;
    for (int i = 0; i < info->n_attrs; i++) known |= info->attrs[i] == key;
    if (!known) {
        const char *have = *info->attr_names ? arena_printf(r->arena, ": it has %s", info->attr_names) : "";
        return reader_error(r, 602, "`%s` has no attribute `%.60s`%s", info->name, r->token.s, have);
    }
    reader_next(r);
    return reader_want(r, "=") && take_attr(r, o, key);
}

/* operands = [(%value | named-attr) {("," | "wrt") (%value | named-attr)}] */
static bool read_operands(FuncReader *f, OpLine *o) {
    Reader *r = f->r;
    if (r->token.kind != T_VALUE && r->token.kind != T_WORD) return true;
    do {
        if (r->token.kind == T_WORD) {
            if (!read_named_attr(r, o)) return false;
            continue;
        }
        Value *v;
        if (!read_use(f, &v)) return false;
        o->silent |= !v;
        vec_push(r->arena, &o->in, v);
    } while (reader_take(r, ",") || (o->code == OP_grad && o->in.n == 1 && reader_take(r, "wrt")));
    return true;
}

static bool attrs_complete(Reader *r, const OpLine *o) {
    const OpInfo *info = &op_info[o->code];
    for (int k = 0; k < info->n_attrs; k++) {
        bool found = false;
        for (int i = 0; i < o->n_attrs; i++) found |= o->attrs[i].key == info->attrs[k];
        if (!found) return reader_error(r, 601, "`%s` lacks its attribute `%s`", info->name, attr_name(info->attrs[k]));
    }
    return true;
}

/* results = %value {"," %value} "=" */
static bool read_results(Reader *r, OpLine *o) {
    if (r->token.kind != T_VALUE) return true;
    do {
        const char *name = reader_name(r, T_VALUE, "a value");
        if (!name) return false;
        vec_push(r->arena, &o->results, name);
    } while (reader_take(r, ","));
    return reader_want(r, "=");
}

static bool read_op_name(FuncReader *f, OpLine *o) {
    Reader *r = f->r;
    o->at = r->token;
    if (r->token.kind != T_WORD) return reader_error(r, 601, "expected an op, found %s", reader_token_text(r));
    o->code = op_by_name(r->token.s);
    if (o->code == OP_COUNT) {
        const char *names[OP_COUNT];
        for (int i = 0; i < OP_COUNT; i++) names[i] = op_info[i].name;
        f->lost = reader_is(r, "block") || reader_is(r, "yield") || reader_is(r, "return") || reader_is(r, "func");
        if (f->lost)
            return reader_error(r, 601, "expected an op, found %s: a brace before it is missing or too much",
                                reader_token_text(r));
        const char *near = diag_nearest(r->token.s, names, OP_COUNT);
        return reader_error(r, 602, "there is no op `%.60s`%s", r->token.s,
                            near ? arena_printf(r->arena, "; did you mean `%s`?", near) : "");
    }
    reader_next(r);
    return true;
}

/* op-line = [results] OP {bare-attr} operands [":" type {"," type}] */
static bool read_op_line(FuncReader *f, OpLine *o) {
    Reader *r = f->r;
    if (!read_results(r, o) || !read_op_name(f, o)) return false;
    for (int i = 0; i < op_info[o->code].n_attrs; i++)
        if (attr_is_bare(op_info[o->code].attrs[i]) && !take_attr(r, o, op_info[o->code].attrs[i])) return false;
    if (!read_operands(f, o) || !attrs_complete(r, o)) return false;
    if (o->results.n && !reader_want(r, ":")) return false;
    for (size_t i = 0; i < o->results.n; i++) {
        const Type *t;
        if ((i && !reader_want(r, ",")) || !(t = reader_type(r, NULL, type_fault))) return false;
        vec_push(r->arena, &o->types, t);
    }
    return true;
}

static bool read_body(FuncReader *f, Block *b, const char *last);

/* block = "block" "(" [%value ":" type {"," %value ":" type}] ")" LINE {op} "yield" [%value {"," %value}] LINE */
static bool read_block(FuncReader *f, Block *b) {
    Reader *r = f->r;
    if (f->depth == MOST_NESTED) return reader_error(r, 605, "blocks are nested more than %d deep", MOST_NESTED);
    f->scope[++f->depth] = b;
    bool ok = reader_want(r, "block") && reader_want(r, "(");
    if (ok && !reader_is(r, ")")) {
        do {
            const char *name = reader_name(r, T_VALUE, "a value");
            const Type *t = name && reader_want(r, ":") ? reader_type(r, NULL, type_fault) : NULL;
            ok = t && define(f, name, block_param(b, t, name));
        } while (ok && reader_take(r, ","));
    }
    ok = ok && reader_want(r, ")") && reader_want_line(r) && read_body(f, b, "yield");
    f->depth--;
    return ok;
}

static void skip_lines(Reader *r) {
    while (r->token.kind == T_LINE) reader_next(r);
}

/* Makes the op; a broken rule is reported at its name. */
static bool make_op(FuncReader *f, const OpLine *o) {
    Reader *r = f->r;
    Builder b = {.arena = r->arena, .func = f->func, .block = f->scope[f->depth], .loc = o->loc};
    const char *why;
    Op *op = op_try_full(&b, o->code, (int)o->in.n, o->in.at, o->n_attrs, o->attrs, (int)o->blocks.n, o->blocks.at,
                         (int)o->results.n, o->types.at, &why);
    if (!op) {
        Token now = r->token;
        r->token = o->at;
        reader_error(r, 604, "%s", why);
        r->token = now;
        return false;
    }
    bool ok = true;
    for (size_t i = 0; i < o->results.n; i++) {
        op->out[i]->name = o->results.at[i];
        ok &= define(f, o->results.at[i], op->out[i]);
    }
    return ok;
}

/* Values of a line that went wrong: known, and silent. */
static void define_silent(FuncReader *f, const OpLine *o) {
    for (size_t i = 0; i < o->results.n; i++) name_define(f, o->results.at[i], NULL);
}

/* op = op-line ["{" [place] LINE {block} "}"] [place] LINE */
static bool read_op(FuncReader *f) {
    Reader *r = f->r;
    OpLine o = {0};
    int line = r->token.line;
    int braces = r->braces; /* around the op's blocks */
    bool ok = read_op_line(f, &o), blocks = ok && reader_is(r, "{");
    if (blocks) reader_next(r);
    if (!ok || !reader_loc(r, &o.loc)) {
        define_silent(f, &o);
        r->open = 0;
        if (r->token.line == line) reader_skip(r); /* else a bracket was open, and this is the next op */
        return false;
    }
    for (bool good = true; blocks && !reader_is(r, "}");) {
        if (!good || r->token.kind == T_END) {
            define_silent(f, &o);
            if (!f->lost) reader_leave(r, braces);
            return false;
        }
        skip_lines(r);
        if (reader_is(r, "}")) break;
        Block *b = block_new(f->func, NULL);
        vec_push(r->arena, &o.blocks, b);
        good = read_block(f, b);
        skip_lines(r);
    }
    if (f->lost) return define_silent(f, &o), false;
    if (blocks && (!reader_want(r, "}") || !reader_want_line(r))) ok = false;
    /* something inside that was wrong would only be said again by the op's types */
    bool silent = o.silent || (o.blocks.n && r->errors);
    if (ok && !silent && make_op(f, &o)) return true;
    define_silent(f, &o);
    return false;
}

/* results of a block or function: "yield" | "return" [%value {"," %value}] LINE */
static bool read_last(FuncReader *f, Block *b) {
    Reader *r = f->r;
    if (r->token.kind == T_VALUE) do {
            Value *v;
            if (!read_use(f, &v)) return false;
            if (v) vec_push(r->arena, &b->results, v);
        } while (reader_take(r, ","));
    return reader_want_line(r);
}

static bool read_body(FuncReader *f, Block *b, const char *last) {
    Reader *r = f->r;
    for (;;) {
        skip_lines(r);
        if (reader_take(r, last)) return read_last(f, b);
        f->lost |= r->token.kind == T_END || reader_is(r, "}");
        if (f->lost) return reader_error(r, 601, "expected `%s`, found %s", last, reader_token_text(r));
        if (!read_op(f) && f->lost) return false;
    }
}

/* ---- functions ---- */

/* One of %slot: type in the head of a function; the type repeats the slot's. */
static Slot *read_slot_use(Reader *r, Func *f) {
    int64_t bound = 0;
    Slot *s = reader_slot(r);
    if (!s || !reader_want(r, ":")) return NULL;
    const Type *t = reader_type(r, &bound, type_fault);
    if (!t) return NULL;
    if (t != s->type) return reader_error(r, 604, "%%%s is %s, not %s", s->name, type_name(s->type), type_name(t)), NULL;
    if (bound && f->batch_bound && bound != f->batch_bound)
        return reader_error(r, 604, "the batch has two bounds, %" PRId64 " and %" PRId64, f->batch_bound, bound), NULL;
    if (bound && bound != s->batch_bound)
        return reader_error(r, 604, "%%%s has batches of at most %" PRId64 ", not %" PRId64, s->name, s->batch_bound, bound),
               NULL;
    if (bound) f->batch_bound = bound;
    return s;
}

/* head = "@" NAME "(" slots ")" "->" "(" slots ")" ["batch" INT] "{" [place] LINE */
static bool read_head(FuncReader *f) {
    Reader *r = f->r;
    Slot *s;
    if (!reader_want(r, "(")) return false;
    if (!reader_is(r, ")")) do {
            if (!(s = read_slot_use(r, f->func))) return false;
            size_t n = f->func->in_slots.n;
            Value *v = func_read(f->func, s);
            if (f->func->in_slots.n == n) return reader_error(r, 603, "%%%s is read twice", s->name);
            name_define(f, s->name, v);
        } while (reader_take(r, ","));
    if (!reader_want(r, ")") || !reader_want(r, "->") || !reader_want(r, "(")) return false;
    if (!reader_is(r, ")")) do {
            if (!(s = read_slot_use(r, f->func))) return false;
            vec_push(r->arena, &f->func->out_slots, s);
        } while (reader_take(r, ","));
    if (!reader_want(r, ")")) return false;
    if (reader_take(r, "batch")) {
        if (!reader_int(r, &f->func->batch_bound)) return false;
        if (f->func->batch_bound < 1) return reader_error(r, 605, "the batch bound is %" PRId64, f->func->batch_bound);
    }
    return reader_want(r, "{") && reader_loc(r, &f->func->loc);
}

/* func = "func" head {op} "return" [%value {"," %value}] LINE "}" LINE */
static bool read_func(Reader *r) {
    const char *name = reader_name(r, T_GLOBAL, "a function's name");
    if (!name) return reader_skip(r), false;
    if (func_by_name(r->module, name)) return reader_error(r, 603, "@%s is defined twice", name), reader_skip(r), false;
    FuncReader *f = arena_make(r->arena, FuncReader);
    f->r = r;
    f->func = func_new(r->module, name, (Loc){0});
    f->scope[0] = f->func->body;
    if (!read_head(f)) { /* its lines end inside brackets, some of which may be missing */
        r->lost = true;
        while (!r->braces && r->token.kind != T_END) reader_next(r);
        return reader_leave(r, 0), false;
    }
    if (!read_body(f, f->func->body, "return") || !reader_want(r, "}")) return r->lost = true, reader_leave(r, 0), false;
    Func *g = f->func;
    if (r->errors) return reader_want_line(r);
    if (g->body->results.n != g->out_slots.n)
        return reader_error(r, 604, "@%s returns %zu values, not %zu", name, g->body->results.n, g->out_slots.n);
    for (size_t i = 0; i < g->out_slots.n; i++)
        if (g->body->results.at[i]->type != g->out_slots.at[i]->type)
            return reader_error(r, 604, "%%%s is %s, and gets %s", g->out_slots.at[i]->name, type_name(g->out_slots.at[i]->type),
                                type_name(g->body->results.at[i]->type));
    return reader_want_line(r);
}

/* ---- the whole ---- */

static bool read_first_line(Reader *r, Stage *stage) {
    static const char *const words[] = {"front", "expanded", "fused"};
    skip_lines(r);
    if (!reader_take(r, "graph"))
        return reader_error(r, 606, "a graph text begins with `graph front`, `graph expanded` or `graph fused`");
    for (int i = 0; i < 3; i++)
        if (reader_take(r, words[i])) return *stage = (Stage)i, reader_want_line(r);
    return reader_error(r, 606, "the stage of a graph is front, expanded or fused");
}

/* What no line shows alone (a function that makes a slot's first value, legality at the stage) the verifier knows. */
static void verify_read(Reader *r, Stage stage) {
    const char *why = graph_verify(r->arena, r->module, stage);
    if (!why) return;
    size_t n = strcspn(why, "\n");
    diag_error(r->diag, (Loc){.file = r->file, .line = 1, .col = 1}, 604, "%.*s", (int)n, why);
    r->errors++;
    for (why += n; *why; why += strcspn(why, "\n")) {
        why++;
        diag_note(r->diag, (Loc){0}, "%.*s", (int)strcspn(why, "\n"), why);
    }
}

Module *graph_parse(Arena *a, Diag *d, const char *file, const char *text, size_t n, Stage *stage) {
    Reader r;
    reader_start(&r, a, d, file, text, n);
    r.module = module_new(a);
    if (!read_first_line(&r, stage)) return NULL;
    bool whole = true; /* the function before; what stands behind the wrong end of one was told with it */
    for (skip_lines(&r); r.token.kind != T_END; skip_lines(&r)) {
        if (reader_header_item(&r)) {
            whole = true;
            continue;
        }
        if (reader_take(&r, "func")) {
            whole = read_func(&r);
            continue;
        }
        if (whole) reader_error(&r, 601, "expected a slot, data, vocab, command or func, found %s", reader_token_text(&r));
        do { /* a stretch of such lines is told once */
            if (reader_is(&r, "}")) reader_next(&r);
            reader_skip(&r);
            skip_lines(&r);
        } while (r.token.kind != T_END && !reader_is(&r, "func") && !reader_at_header(&r));
    }
    reader_header_end(&r);
    if (!r.errors) verify_read(&r, *stage);
    return r.errors ? NULL : r.module;
}
