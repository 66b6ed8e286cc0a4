/*
 * text_print.c - functions and whole graphs as text. The words are in text.h, the header (slots, data, commands) in
 * text_print_header.c.
 *
 *   %h = contract "bi,io->bo" %x, %w : f32[B, 64]                                  @ digits.nn:26:13 dense
 *
 * Values get unique names here: the hint where it is free, else hint.1, hint.2, ...; values without a hint are counted. A
 * parameter of a function has the name of the slot it reads. Names made so are free when they are read back as hints, so a second
 * print gives the same bytes.
 */
#include "text.h"

#include <string.h>

/* ---- unique names ---- */

typedef struct Names {
    Arena *arena;
    const char **of; /* by value id */
    int bound;       /* ids below it have a place in `of` */
    struct NameUse {
        const char *name; /* interned; NULL: free entry */
        int next;         /* the number to try next behind this name */
    } *used;
    size_t mask, n;
    int unnamed;
} Names;

static struct NameUse *name_entry(Names *t, const char *name) {
    size_t k = hash_bytes(&name, sizeof name, 0) & t->mask;
    while (t->used[k].name && t->used[k].name != name) k = (k + 1) & t->mask;
    return &t->used[k];
}

static void names_grow(Names *t) {
    struct NameUse *old = t->used;
    size_t n = old ? t->mask + 1 : 0;
    t->mask = old ? t->mask * 2 + 1 : 255;
    t->used = arena_make_n(t->arena, struct NameUse, t->mask + 1);
    for (size_t i = 0; i < n; i++)
        if (old[i].name) *name_entry(t, old[i].name) = old[i];
}

static bool name_claim(Names *t, const char *name) {
    if (!t->used || t->n * 2 > t->mask) names_grow(t);
    struct NameUse *e = name_entry(t, name);
    if (e->name) return false;
    *e = (struct NameUse){name, 1};
    t->n++;
    return true;
}

static bool is_number(const char *s) { return s[strspn(s, "0123456789")] == 0; }

static const char *name_make(Names *t, const char *hint) {
    const char *name;
    if (!hint || is_number(hint)) {
        do name = intern_printf("%d", t->unnamed++);
        while (!name_claim(t, name));
        return name;
    }
    if (name_claim(t, hint)) return hint;
    do name = intern_printf("%s.%d", hint, name_entry(t, hint)->next++);
    while (!name_claim(t, name));
    return name;
}

static void name_value(Names *t, const Value *v) {
    if (v->id < 0 || v->id >= t->bound) return; /* a broken graph is printed, too: in messages */
    if (!t->of[v->id]) t->of[v->id] = name_make(t, v->name);
}

static void name_block(Names *t, const Block *b) {
    for (size_t i = 0; i < b->params.n; i++) name_value(t, b->params.at[i]);
    for (const Op *op = b->first; op; op = op->next) {
        for (int i = 0; i < op->n_out; i++) name_value(t, op->out[i]);
        for (int i = 0; i < op->n_blocks; i++) name_block(t, op->blocks[i]);
    }
}

static Names names_of(const Func *f, Arena *a) {
    Names t = {.arena = a, .bound = f->n_values};
    t.of = arena_make_n(a, const char *, (size_t)f->n_values);
    for (size_t i = 0; i < f->body->params.n && i < f->in_slots.n; i++) {
        name_claim(&t, f->in_slots.at[i]->name);
        t.of[f->body->params.at[i]->id] = f->in_slots.at[i]->name;
    }
    name_block(&t, f->body);
    return t;
}

static void rename_block(const Names *t, Block *b) {
    for (size_t i = 0; i < b->params.n; i++)
        if (b->params.at[i]->name) b->params.at[i]->name = t->of[b->params.at[i]->id];
    for (Op *op = b->first; op; op = op->next) {
        for (int i = 0; i < op->n_out; i++)
            if (op->out[i]->name) op->out[i]->name = t->of[op->out[i]->id];
        for (int i = 0; i < op->n_blocks; i++) rename_block(t, op->blocks[i]);
    }
}

void func_rename(Func *f) {
    Arena *a = arena_new();
    Names names = names_of(f, a);
    rename_block(&names, f->body);
    arena_free(a);
}

/* ---- ops ---- */

typedef struct Printer {
    Arena *arena;
    Text *out;
    Names names;
} Printer;

static void put(Printer *p, const char *s) { text_add(p->arena, p->out, s); }

static void put_indent(Printer *p, int depth) {
    for (int i = 0; i < depth; i++) put(p, "  ");
}

static void put_value(Printer *p, const Value *v) {
    const char *name = v && v->id >= 0 && v->id < p->names.bound ? p->names.of[v->id] : NULL;
    text_name(p->arena, p->out, "%", name ? name : v && v->name ? v->name : "?");
}

static void put_values(Printer *p, Value *const *v, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (i) put(p, ", ");
        put_value(p, v[i]);
    }
}

static void put_attr(Printer *p, const Attr *a, Elem elem) {
    switch (attr_kind(a->key)) {
    case ATTR_INT: text_printf(p->arena, p->out, a->key == A_site ? "0x%016" PRIx64 : "%" PRId64, a->i); break;
    case ATTR_BOOL: put(p, a->i ? "true" : "false"); break;
    case ATTR_REAL: text_real(p->arena, p->out, a->f, elem); break;
    case ATTR_STR: text_quoted(p->arena, p->out, a->s ? a->s : ""); break;
    case ATTR_INTS:
        put(p, "[");
        for (int64_t i = 0; i < a->ints.n; i++) text_printf(p->arena, p->out, "%s%" PRId64, i ? ", " : "", a->ints.at[i]);
        put(p, "]");
        break;
    case ATTR_REALS:
        put(p, "[");
        for (int64_t i = 0; i < a->reals.n; i++) {
            if (i) put(p, ", ");
            text_real(p->arena, p->out, a->reals.at[i], elem);
        }
        put(p, "]");
        break;
    }
}

/* These stand in front of the operands without their name: contract "bi,io->bo" %a, %b; constant 0.5 */
static bool attr_is_bare(AttrKey key) { return key == A_spec || key == A_value || key == A_values; }

static void put_op_line(Printer *p, const Op *op) {
    put_values(p, op->out, (size_t)op->n_out);
    text_printf(p->arena, p->out, "%s%s", op->n_out ? " = " : "", op_info[op->code].name);
    Elem elem = op->n_out && op->out[0]->type ? op->out[0]->type->elem : F64;
    for (int i = 0; i < op->n_attrs; i++) {
        if (!attr_is_bare(op->attrs[i].key)) continue;
        put(p, " ");
        put_attr(p, &op->attrs[i], elem);
    }
    for (int i = 0; i < op->n_in; i++) {
        put(p, i == 0 ? " " : i == 1 && op->code == OP_grad ? " wrt " : ", ");
        put_value(p, op->in[i]);
    }
    bool first = op->n_in == 0;
    for (int i = 0; i < op->n_attrs; i++) {
        if (attr_is_bare(op->attrs[i].key)) continue;
        text_printf(p->arena, p->out, "%s%s=", first ? " " : ", ", attr_name(op->attrs[i].key));
        put_attr(p, &op->attrs[i], elem);
        first = false;
    }
    for (int i = 0; i < op->n_out; i++)
        text_printf(p->arena, p->out, "%s%s", i ? ", " : " : ", op->out[i]->type ? type_name(op->out[i]->type) : "?");
}

static void put_block(Printer *p, const Block *b, int depth, const char *last);

static void put_op(Printer *p, const Op *op, int depth) {
    size_t line = p->out->n;
    put_indent(p, depth);
    put_op_line(p, op);
    if (op->n_blocks) put(p, " {");
    text_loc(p->arena, p->out, line, op->loc);
    for (int i = 0; i < op->n_blocks; i++) {
        const Block *b = op->blocks[i];
        put_indent(p, depth + 1);
        put(p, "block (");
        for (size_t k = 0; k < b->params.n; k++) {
            if (k) put(p, ", ");
            put_value(p, b->params.at[k]);
            text_printf(p->arena, p->out, ": %s", type_name(b->params.at[k]->type));
        }
        put(p, ")\n");
        put_block(p, b, depth + 1, "yield");
    }
    if (op->n_blocks) {
        put_indent(p, depth);
        put(p, "}\n");
    }
}

static void put_block(Printer *p, const Block *b, int depth, const char *last) {
    for (const Op *op = b->first; op; op = op->next) put_op(p, op, depth);
    put_indent(p, depth);
    put(p, last);
    if (b->results.n) put(p, " ");
    put_values(p, b->results.at, b->results.n);
    put(p, "\n");
}

const char *op_text(Arena *a, const Op *op) {
    Text out = {0};
    Printer p = {a, &out, op->block && op->block->func ? names_of(op->block->func, a) : (Names){.arena = a}};
    put_op_line(&p, op);
    return text_str(a, &out);
}

/* ---- functions ---- */

/* "(%a: f32[2], %b: f32)"; long lists take a line for each. */
static void put_slots(Printer *p, Slot *const *slots, size_t n, bool spread, int64_t bound) {
    put(p, "(");
    for (size_t i = 0; i < n; i++) {
        put(p, spread ? (i ? ",\n    " : "\n    ") : i ? ", " : "");
        text_name(p->arena, p->out, "%", slots[i]->name);
        text_printf(p->arena, p->out, ": %s", type_name_bound(slots[i]->type, bound));
    }
    put(p, ")");
}

static void func_print(const Func *f, Text *out, Arena *a) {
    Printer p = {a, out, names_of(f, a)};
    size_t line = out->n;
    bool spread = f->in_slots.n + f->out_slots.n > 4;
    bool shown = false; /* is the bound of B in a type already? */
    text_add(a, out, "func ");
    text_name(a, out, "@", f->name);
    put_slots(&p, f->in_slots.at, f->in_slots.n, spread, f->batch_bound);
    put(&p, " -> ");
    put_slots(&p, f->out_slots.at, f->out_slots.n, spread, f->batch_bound);
    for (size_t i = 0; i < f->in_slots.n; i++) shown |= type_has_batch(f->in_slots.at[i]->type);
    for (size_t i = 0; i < f->out_slots.n; i++) shown |= type_has_batch(f->out_slots.at[i]->type);
    if (f->batch_bound && !shown) text_printf(a, out, " batch %" PRId64, f->batch_bound);
    put(&p, " {");
    for (size_t i = out->n; i > line; i--) /* the last of its lines is what the place is aligned with */
        if (out->at[i - 1] == '\n') {
            line = i;
            break;
        }
    text_loc(a, out, line, f->loc);
    put_block(&p, f->body, 1, "return");
    put(&p, "}\n");
}

static const char *const stage_words[] = {"front", "expanded", "fused"};

/* A function alone: the slots that it touches, without what makes their first values (those functions are not there). */
static void print_only(const Module *m, const Func *f, Text *out, Arena *a) {
    Module part = {.arena = a};
    for (size_t i = 0; i < m->slots.n; i++) {
        Slot *s = m->slots.at[i];
        bool used = false;
        for (size_t k = 0; k < f->in_slots.n; k++) used |= f->in_slots.at[k] == s;
        for (size_t k = 0; k < f->out_slots.n; k++) used |= f->out_slots.at[k] == s;
        if (!used) continue;
        Slot *copy = arena_make(a, Slot);
        *copy = *s;
        copy->init = NULL;
        copy->command = NULL;
        vec_push(a, &part.slots, copy);
    }
    module_print_header(&part, out, a);
    func_print(f, out, a);
}

void graph_print(const Module *m, Stage stage, const Func *only, Text *out, Arena *a) {
    text_printf(a, out, "graph %s\n", stage_words[stage]);
    if (only) {
        print_only(m, only, out, a);
        return;
    }
    module_print_header(m, out, a);
    for (size_t i = 0; i < m->funcs.n; i++) {
        if (i || out->at[out->n - 1] == '\n') text_add(a, out, "\n");
        func_print(m->funcs.at[i], out, a);
    }
}
