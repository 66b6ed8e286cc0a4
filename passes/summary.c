/*
 * summary.c - what `nnc --summary` prints: the layers as in a textbook, then every parameter and state.
 *
 *   layer            output              parameters  so far  line
 *   net: classifier  f32[B, 10]              93,322            23
 *     conv_1         f32[B, 26, 26, 32]         320     320    18
 *     conv_2         f32[B, 11, 11, 64]      18,496  18,816    19
 *
 * A layer's parameters are those of the slots whose names begin with its own and a point, its parts' among them; `so far` adds up
 * what each layer owns itself, in the order of the text. A layer's output is that of its first application.
 */
#include "passes/report.h"

#include <string.h>

/* 12,345,678 */
const char *report_number(Arena *a, int64_t n) {
    char s[40];
    int len = snprintf(s, sizeof s, "%" PRId64, n < 0 ? -n : n);
    Text t = {0};
    if (n < 0) text_add(a, &t, "-");
    for (int i = 0; i < len; i++) text_printf(a, &t, "%c%s", s[i], (len - i) % 3 == 1 && i + 1 < len ? "," : "");
    return text_str(a, &t);
}

/* ---- tables: the first columns flush left, numbers flush right ---- */

enum { MAX_COLUMNS = 6 };

typedef struct Row {
    const char *cell[MAX_COLUMNS];
} Row;

typedef struct Table {
    int columns;
    const char *flush; /* one letter a column: l or r */
    Vec(Row) rows;     /* the first one names the columns */
} Table;

static void put_table(Arena *a, Text *out, const Table *t) {
    int width[MAX_COLUMNS] = {0};
    for (size_t i = 0; i < t->rows.n; i++)
        for (int k = 0; k < t->columns; k++) {
            int w = diag_width(t->rows.at[i].cell[k]);
            if (w > width[k]) width[k] = w;
        }
    for (size_t i = 0; i < t->rows.n; i++) {
        const Row *r = &t->rows.at[i];
        int last = t->columns - 1;
        while (last > 0 && !*r->cell[last]) last--; /* no spaces at the end of a line */
        for (int k = 0; k <= last; k++) {
            int room = width[k] - diag_width(r->cell[k]);
            if (k) text_add(a, out, "  ");
            if (t->flush[k] == 'r') text_printf(a, out, "%*s", room, "");
            text_add(a, out, r->cell[k]);
            if (t->flush[k] == 'l' && k < last) text_printf(a, out, "%*s", room, "");
        }
        text_add(a, out, "\n");
    }
}

static const char *line_text(Arena *a, Loc at) { return at.line ? arena_printf(a, "%d", at.line) : ""; }

/* ---- the layers ---- */

/* The rest of `name` behind "whole.", or NULL if it is no part of that. */
static const char *part_of(const char *name, const char *whole) {
    size_t n = strlen(whole);
    return strncmp(name, whole, n) == 0 && name[n] == '.' ? name + n + 1 : NULL;
}

/* The innermost layer that the slot belongs to, or -1: outer ones stand first in the list. */
static int owner_of(const Module *m, const Slot *s) {
    int found = -1;
    size_t longest = 0;
    for (size_t i = 0; i < m->layers.n; i++) {
        const char *name = m->layers.at[i].name;
        if (part_of(s->name, name) && strlen(name) >= longest) {
            found = (int)i;
            longest = strlen(name);
        }
    }
    return found;
}

/* "conv_1" says what it is; "look" needs to: "look: additive_attention". */
static const char *layer_title(Arena *a, const char *name, const LayerUse *l) {
    size_t n = strlen(l->kind);
    bool said = strncmp(name, l->kind, n) == 0 && name[n] == '_' && strspn(name + n + 1, "0123456789") == strlen(name + n + 1);
    return said ? name : arena_printf(a, "%s: %s", name, l->kind);
}

static void put_layers(Arena *a, Text *out, const Module *m) {
    size_t n = m->layers.n;
    int64_t *own = arena_make_n(a, int64_t, n + 1), *whole = arena_make_n(a, int64_t, n + 1), so_far = 0;
    for (size_t i = 0; i < m->slots.n; i++) {
        const Slot *s = m->slots.at[i];
        int at = s->kind == SLOT_PARAM ? owner_of(m, s) : -1;
        if (at < 0) continue;
        int64_t count = type_count(s->type, 1);
        own[at] += count;
        for (size_t k = 0; k < n; k++)
            if (part_of(s->name, m->layers.at[k].name)) whole[k] += count;
    }
    Table t = {.columns = 5, .flush = "llrrr"};
    vec_push(a, &t.rows, ((Row){{"layer", "output", "parameters", "so far", "line"}}));
    const LayerUse *open[64]; /* the layers around, outermost first */
    int depth = 0;
    for (size_t i = 0; i < n; i++) {
        const LayerUse *l = &m->layers.at[i];
        while (depth > 0 && !part_of(l->name, open[depth - 1]->name)) depth--;
        const char *name = depth ? part_of(l->name, open[depth - 1]->name) : l->name;
        const char *title = arena_printf(a, "%*s%s", 2 * depth, "", layer_title(a, name, l));
        so_far += own[i];
        bool inner = i + 1 < n && part_of(m->layers.at[i + 1].name, l->name);
        vec_push(a, &t.rows,
                 ((Row){{title, l->output ? l->output : "-", report_number(a, whole[i]),
                         inner && !own[i] ? "" : report_number(a, so_far), line_text(a, l->loc)}}));
        if (depth < 64) open[depth++] = l;
    }
    put_table(a, out, &t);
    text_add(a, out, "\n");
}

/* ---- the parameters ---- */

static void put_parameters(Arena *a, Text *out, const Module *m) {
    int64_t count[2] = {0, 0};
    Table t = {.columns = 5, .flush = "llrrl"};
    vec_push(a, &t.rows, ((Row){{"parameter", "shape", "numbers", "line", "made by"}}));
    for (size_t i = 0; i < m->slots.n; i++) {
        const Slot *s = m->slots.at[i];
        bool state = s->kind == SLOT_STATE;
        if (s->kind != SLOT_PARAM && !state) continue;
        int64_t n = type_count(s->type, 1);
        count[state] += n;
        const char *what = s->loc.what ? s->loc.what : "";
        vec_push(a, &t.rows,
                 ((Row){{s->name, type_name(s->type), report_number(a, n), line_text(a, s->loc),
                         state ? arena_printf(a, "%s%s(state)", what, *what ? " " : "") : what}}));
    }
    put_table(a, out, &t);
    text_printf(a, out, "%s parameters", report_number(a, count[0]));
    if (count[1]) text_printf(a, out, ", %s numbers of state", report_number(a, count[1]));
    text_add(a, out, "\n");
}

const char *summary_report(Arena *a, const Module *m) {
    Text t = {0};
    if (m->layers.n) put_layers(a, &t, m);
    put_parameters(a, &t, m);
    return text_str(a, &t);
}
