/*
 * text_print_header.c - the words of all texts (names, strings, numbers, places) and the header: source, slots, data sets,
 * vocabularies, commands.
 */
#include "text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- words ---- */

static bool name_char(unsigned char c) {
    return c >= 0x80 || c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool name_is_bare(const char *s) {
    if (!*s) return false;
    for (size_t i = 0; s[i]; i++)
        if (!name_char((unsigned char)s[i]) && !(s[i] == '.' && i > 0 && s[i - 1] != '.' && name_char((unsigned char)s[i + 1])))
            return false;
    return true;
}

void text_quoted(Arena *a, Text *out, const char *s) {
    text_add(a, out, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            text_printf(a, out, "\\%c", c);
        else if (c == '\n')
            text_add(a, out, "\\n");
        else if (c == '\t')
            text_add(a, out, "\\t");
        else if (c < 0x20 || c == 0x7f)
            text_printf(a, out, "\\x%02x", c);
        else
            text_add(a, out, (char[]){(char)c, 0});
    }
    text_add(a, out, "\"");
}

void text_name(Arena *a, Text *out, const char *sigil, const char *name) {
    /* without a sigil a digit would begin a number, and _ alone stands for "none" */
    bool word = !*sigil && ((*name >= '0' && *name <= '9') || strcmp(name, "_") == 0);
    text_add(a, out, sigil);
    if (name_is_bare(name) && !word)
        text_add(a, out, name);
    else
        text_quoted(a, out, name);
}

void text_real(Arena *a, Text *out, double v, Elem elem) {
    if (isnan(v)) {
        text_add(a, out, signbit(v) ? "-nan" : "nan");
    } else if (isinf(v)) {
        text_add(a, out, v < 0 ? "-inf" : "inf");
    } else if (v == trunc(v) && fabs(v) < 1e15) {
        text_printf(a, out, "%.0f", v);
    } else {
        char s[40];
        for (int digits = 1; digits <= 17; digits++) {
            snprintf(s, sizeof s, "%.*g", digits, v);
            double back = strtod(s, NULL);
            if (back == v || (elem == F32 && (double)(float)back == v)) break;
        }
        text_add(a, out, s);
    }
}

enum { PLACE_COLUMN = 88 };

void text_loc(Arena *a, Text *out, size_t line, Loc loc) {
    if (loc.file || loc.what) {
        int width = 0;
        for (size_t i = line; i < out->n; i++) width += ((unsigned char)out->at[i] & 0xc0) != 0x80;
        do text_add(a, out, " ");
        while (++width < PLACE_COLUMN);
        text_add(a, out, "@ ");
        /* a bare file name has no space, quote or colon; - stands for none */
        if (!loc.file)
            text_add(a, out, "-");
        else if (*loc.file && strcmp(loc.file, "-") != 0 && !strpbrk(loc.file, " \t\r\n\":\\"))
            text_add(a, out, loc.file);
        else
            text_quoted(a, out, loc.file);
        if (loc.line || loc.col) text_printf(a, out, ":%d", loc.line);
        if (loc.col) text_printf(a, out, ":%d", loc.col);
        if (loc.what) {
            size_t n = strlen(loc.what);
            bool bare = n && loc.what[0] != ' ' && loc.what[n - 1] != ' ' && loc.what[0] != '"';
            for (size_t i = 0; i < n; i++) bare &= (unsigned char)loc.what[i] >= 0x20 && loc.what[i] != 0x7f;
            text_add(a, out, " ");
            if (bare)
                text_add(a, out, loc.what);
            else
                text_quoted(a, out, loc.what);
        }
    }
    text_add(a, out, "\n");
}

/* ---- slots ---- */

const char *const slot_words[] = {
    [SLOT_PARAM] = "param",   [SLOT_STATE] = "state",     [SLOT_OPTSTATE] = "optstate", [SLOT_VAR] = "var",
    [SLOT_OPTION] = "option", [SLOT_COUNTER] = "counter", [SLOT_STEP] = "step",         [SLOT_KEY] = "key",
    [SLOT_FIRST] = "first",   [SLOT_FIELD] = "field",     [SLOT_INPUT] = "input",
};

static void print_slot(Text *out, Arena *a, const Slot *s) {
    size_t line = out->n;
    text_printf(a, out, "%s ", slot_words[s->kind]);
    text_name(a, out, "%", s->name);
    text_printf(a, out, ": %s", type_name_bound(s->type, s->batch_bound));
    bool has_fill = s->kind == SLOT_PARAM || s->kind == SLOT_STATE || s->kind == SLOT_OPTSTATE || s->kind == SLOT_OPTION;
    if (s->init) {
        text_add(a, out, " = ");
        text_name(a, out, "@", s->init->name);
    } else if (has_fill || s->fill != 0) {
        text_add(a, out, " = ");
        text_real(a, out, s->fill, F64);
    }
    if (s->command) {
        text_add(a, out, " of ");
        text_name(a, out, "@", s->command);
    }
    text_loc(a, out, line, s->loc);
}

/* layer @net.conv_1: conv -> "f32[B, 26, 26, 32]" */
static void print_layer(Text *out, Arena *a, const LayerUse *l) {
    size_t line = out->n;
    text_add(a, out, "layer ");
    text_name(a, out, "@", l->name);
    text_add(a, out, ": ");
    text_name(a, out, "", l->kind);
    if (l->output) {
        text_add(a, out, " -> ");
        text_quoted(a, out, l->output);
    }
    text_loc(a, out, line, l->loc);
}

/* ---- data ---- */

static void print_loader_arg(Text *out, Arena *a, const Module *m, const LoaderArg *g) {
    text_name(a, out, "", g->name);
    text_add(a, out, "=");
    switch (g->kind) {
    case ARG_INT: text_printf(a, out, "%" PRId64, g->i); break;
    case ARG_BOOL: text_add(a, out, g->i ? "true" : "false"); break;
    case ARG_REAL: /* a point or a letter tells it from an integer */
        text_real(a, out, g->f, F64);
        if (g->f == trunc(g->f) && fabs(g->f) < 1e15) text_add(a, out, ".0");
        break;
    case ARG_STR: text_quoted(a, out, g->s); break;
    case ARG_VOCAB: text_name(a, out, "@", m->vocabs.at[g->i]->name); break;
    case ARG_INTS:
        text_add(a, out, "[");
        for (int64_t i = 0; i < g->n_ints; i++) text_printf(a, out, "%s%" PRId64, i ? ", " : "", g->ints[i]);
        text_add(a, out, "]");
        break;
    }
}

static bool loc_same(Loc x, Loc y) {
    bool files = x.file == y.file || (x.file && y.file && strcmp(x.file, y.file) == 0);
    bool whats = x.what == y.what || (x.what && y.what && strcmp(x.what, y.what) == 0);
    return files && whats && x.line == y.line && x.col == y.col;
}

/* `= idx("file", columns=[1])  @ place`; where the loader has another place than what it loads, that is a line of its own. */
static void print_loader(Text *out, Arena *a, const Module *m, const Loader *l, size_t line, Loc loc) {
    text_add(a, out, " = ");
    if (l->kind)
        text_name(a, out, "", l->kind);
    else
        text_add(a, out, "_");
    text_add(a, out, "(");
    for (size_t i = 0; i < l->files.n; i++) {
        if (i) text_add(a, out, ", ");
        text_quoted(a, out, l->files.at[i]);
    }
    for (size_t i = 0; i < l->args.n; i++) {
        if (i || l->files.n) text_add(a, out, ", ");
        print_loader_arg(out, a, m, &l->args.at[i]);
    }
    text_add(a, out, ")");
    text_loc(a, out, line, loc);
    if (loc_same(l->loc, loc)) return;
    line = out->n;
    text_add(a, out, "    loader");
    text_loc(a, out, line, l->loc);
}

static void print_data(Text *out, Arena *a, const Module *m, const DataSet *d) {
    size_t line = out->n;
    text_add(a, out, "data ");
    text_name(a, out, "@", d->name);
    text_add(a, out, d->shuffle ? " shuffle {" : " {");
    text_loc(a, out, line, d->loc);
    for (size_t i = 0; i < d->fields.n; i++) {
        const Field *f = &d->fields.at[i];
        line = out->n;
        text_add(a, out, "  ");
        text_name(a, out, "", f->name);
        text_printf(a, out, ": %s", type_name(f->type));
        print_loader(out, a, m, &f->loader, line, f->loc);
    }
    text_add(a, out, "}\n");
}

static void print_vocab(Text *out, Arena *a, const Vocab *v) {
    size_t line = out->n;
    text_add(a, out, "vocab ");
    text_name(a, out, "@", v->name);
    text_add(a, out, " = ");
    text_name(a, out, "", v->kind);
    text_add(a, out, "(");
    for (size_t i = 0; i < v->files.n; i++) {
        if (i) text_add(a, out, ", ");
        text_quoted(a, out, v->files.at[i]);
    }
    text_printf(a, out, ") size %" PRId64, v->size);
    text_loc(a, out, line, v->loc);
}

/* ---- commands ---- */

typedef struct CommandPrinter {
    Arena *arena;
    Text *out;
    const Module *module;
} CommandPrinter;

static void put(CommandPrinter *p, const char *s) { text_add(p->arena, p->out, s); }
static void put_slot(CommandPrinter *p, const Slot *s) { text_name(p->arena, p->out, "%", s->name); }

static void put_slots(CommandPrinter *p, Slot *const *slots, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (i) put(p, ", ");
        put_slot(p, slots[i]);
    }
}

static void put_bound(CommandPrinter *p, Bound b) {
    if (b.slot)
        put_slot(p, b.slot);
    else
        text_printf(p->arena, p->out, "%" PRId64, b.n);
}

static void put_data_use(CommandPrinter *p, const DataUse *u) {
    if (u->fields.n)
        put_slots(p, u->fields.at, u->fields.n);
    else
        put(p, "_");
    put(p, " in ");
    text_name(p->arena, p->out, "@", u->set->name);
    bool to_end = !u->to.slot && u->to.n == -1;
    if (u->from.slot || u->from.n || !to_end) {
        put(p, "[");
        put_bound(p, u->from);
        put(p, "..");
        if (!to_end) put_bound(p, u->to);
        put(p, "]");
    }
    text_printf(p->arena, p->out, " batch %" PRId64 "%s%s%s%s", u->batch, u->shuffle ? " shuffle" : "",
                u->resample ? " resample" : "", u->lanes ? " lanes" : "", u->drop_last ? " drop_last" : "");
}

/* "epoch " %epoch " loss " %loss:3 */
static void put_pieces(CommandPrinter *p, const Node *n) {
    for (size_t i = 0; i < n->pieces.n; i++) {
        const Piece *g = &n->pieces.at[i];
        put(p, " ");
        if (!g->slot) {
            text_quoted(p->arena, p->out, g->text);
            continue;
        }
        put_slot(p, g->slot);
        if (g->digits) text_printf(p->arena, p->out, ":%d", g->digits);
    }
}

static void put_track(CommandPrinter *p, const Node *n) {
    put(p, "track");
    for (size_t i = 0; i < n->tracked.n; i++) {
        const Tracked *t = &n->tracked.at[i];
        put(p, i ? ", " : " ");
        put_slot(p, t->value);
        put(p, " as ");
        text_quoted(p->arena, p->out, t->name);
        if (!t->average) continue;
        put(p, " into ");
        put_slot(p, t->average);
    }
}

static void put_files(CommandPrinter *p, const Node *n, const char *word, const char *preposition) {
    put(p, word);
    if (n->slots.n) put(p, " ");
    put_slots(p, n->slots.at, n->slots.n);
    put(p, preposition);
    put_pieces(p, n);
}

static void put_nodes(CommandPrinter *p, Node *const *nodes, size_t n, int depth);

static void put_node_line(CommandPrinter *p, const Node *n) {
    switch (n->kind) {
    case NODE_RANGE:
        put(p, "for ");
        if (n->counter)
            put_slot(p, n->counter);
        else
            put(p, "_");
        put(p, " in ");
        put_bound(p, n->lo);
        put(p, "..");
        put_bound(p, n->hi);
        put(p, n->epoch ? " epoch" : "");
        break;
    case NODE_DATA:
        put(p, "for ");
        for (size_t i = 0; i < n->sets.n; i++) {
            if (i) put(p, ", ");
            put_data_use(p, &n->sets.at[i]);
        }
        break;
    case NODE_CALL:
        put(p, "call ");
        text_name(p->arena, p->out, "@", n->func->name);
        break;
    case NODE_TRACK: put_track(p, n); break;
    case NODE_KEEP:
        put(p, n->highest ? "keep highest " : "keep lowest ");
        put_slot(p, n->slot);
        break;
    case NODE_STOP:
        put(p, n->highest ? "stop when highest " : "stop when lowest ");
        put_slot(p, n->slot);
        text_printf(p->arena, p->out, " stalls for %" PRId64, n->stalls);
        break;
    case NODE_PRINT:
        put(p, "print");
        put_pieces(p, n);
        break;
    case NODE_SAVE: put_files(p, n, "save", " to"); break;
    case NODE_LOAD: put_files(p, n, "load", " from"); break;
    case NODE_WRITE:
        put(p, "write ");
        put_slot(p, n->slot);
        put(p, " to");
        put_pieces(p, n);
        break;
    }
}

static void put_node(CommandPrinter *p, const Node *n, int depth) {
    size_t line = p->out->n;
    bool loop = n->kind == NODE_RANGE || n->kind == NODE_DATA;
    for (int i = 0; i < depth; i++) put(p, "  ");
    put_node_line(p, n);
    if (loop) put(p, n->learning ? " learning {" : " {");
    text_loc(p->arena, p->out, line, n->loc);
    if (!loop) return;
    put_nodes(p, n->body.at, n->body.n, depth + 1);
    for (int i = 0; i < depth; i++) put(p, "  ");
    put(p, "}\n");
}

static void put_nodes(CommandPrinter *p, Node *const *nodes, size_t n, int depth) {
    for (size_t i = 0; i < n; i++) put_node(p, nodes[i], depth);
}

static void put_io(CommandPrinter *p, const char *word, const CommandIo *io) {
    size_t line = p->out->n;
    text_printf(p->arena, p->out, "  %s ", word);
    text_name(p->arena, p->out, "", io->name);
    put(p, ": ");
    put_slot(p, io->slot);
    print_loader(p->out, p->arena, p->module, &io->loader, line, io->loc);
}

static void print_command(CommandPrinter *p, const Command *c) {
    size_t line = p->out->n;
    put(p, "command ");
    text_name(p->arena, p->out, "@", c->name);
    put(p, "(");
    put_slots(p, c->options.at, c->options.n);
    put(p, c->learns ? ") learns {" : ") {");
    text_loc(p->arena, p->out, line, c->loc);
    for (size_t i = 0; i < c->inputs.n; i++) put_io(p, "input", &c->inputs.at[i]);
    for (size_t i = 0; i < c->outputs.n; i++) put_io(p, "output", &c->outputs.at[i]);
    if (c->weights.n || c->weights_file) {
        put(p, "  weights");
        if (c->weights.n) put(p, " ");
        put_slots(p, c->weights.at, c->weights.n);
        if (c->weights_file) {
            put(p, " from ");
            text_quoted(p->arena, p->out, c->weights_file);
        }
        put(p, "\n");
    }
    put_nodes(p, c->body.at, c->body.n, 1);
    put(p, "}\n");
}

void module_print_header(const Module *m, Text *out, Arena *a) {
    if (m->source || m->hash || m->flags) {
        text_add(a, out, "source ");
        if (m->source) {
            text_quoted(a, out, m->source);
            text_add(a, out, " ");
        }
        text_printf(a, out, "0x%016" PRIx64, m->hash);
        if (m->flags) {
            text_add(a, out, " ");
            text_quoted(a, out, m->flags);
        }
        text_add(a, out, "\n");
    }
    if (m->slots.n) text_add(a, out, "\n");
    for (size_t i = 0; i < m->slots.n; i++) print_slot(out, a, m->slots.at[i]);
    if (m->layers.n) text_add(a, out, "\n");
    for (size_t i = 0; i < m->layers.n; i++) print_layer(out, a, &m->layers.at[i]);
    if (m->vocabs.n) text_add(a, out, "\n");
    for (size_t i = 0; i < m->vocabs.n; i++) print_vocab(out, a, m->vocabs.at[i]);
    for (size_t i = 0; i < m->data.n; i++) {
        text_add(a, out, "\n");
        print_data(out, a, m, m->data.at[i]);
    }
    CommandPrinter p = {a, out, m};
    for (size_t i = 0; i < m->commands.n; i++) {
        text_add(a, out, "\n");
        print_command(&p, m->commands.at[i]);
    }
}
