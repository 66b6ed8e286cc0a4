/*
 * diag.c - faults of the user's program: collected, sorted by place, printed with the line and a caret. See diag.h.
 *
 * A caret must stand under its character in a terminal, so lines are measured in display columns (Unicode widths by utf8proc):
 * an East Asian wide letter takes two, a combining mark none, a tab goes to the next multiple of four.
 */
#include "diag.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum {
    MAX_PRINTED = 50,
    MAX_KEPT = 1000,   /* beyond that reports are only counted: a file can be nothing but errors */
    MAX_NOTES = 30,    /* an error deep in a chain of calls has a note for each call */
    LINE_WINDOW = 150, /* display columns of a source line that are quoted */
    TAB = 4,
    MAX_NAME = 100, /* longer names get no suggestion */
};

typedef struct Note {
    Loc at;
    const char *message;
} Note;

typedef struct Report {
    bool warning;
    int code, order, file;
    Loc at;
    const char *message;
    Vec(Note) notes;
    struct Report *same_hash; /* the next one in its bucket */
} Report;

typedef struct Source {
    const char *file, *text;
    size_t n;
    Vec(size_t) lines; /* where each line begins; made when first asked for */
} Source;

struct Diag {
    Arena *arena;
    Vec(Source) sources;
    Vec(Report *) reports;
    Report *buckets[256];
    Report *last; /* what notes belong to; NULL after a report that was not kept */
    int errors, warnings;
};

static const struct {
    int code;
    const char *title, *explanation, *example;
} table[] = {
#define ERROR(code, title, explanation, example) {code, title, explanation, example},
#include "errors.def"
#undef ERROR
    {-1, NULL, NULL, NULL},
};

Diag *diag_new(Arena *a) {
    Diag *d = arena_make(a, Diag);
    d->arena = a;
    return d;
}

void diag_source(Diag *d, const char *file, const char *text, size_t n) {
    Source s = {.file = intern(file), .text = text, .n = n};
    for (size_t i = 0; i < d->sources.n; i++) {
        if (d->sources.at[i].file != s.file) continue;
        d->sources.at[i] = s;
        return;
    }
    vec_push(d->arena, &d->sources, s);
}

/* ---- collecting ---- */

static int file_index(const Diag *d, const char *file) {
    for (size_t i = 0; i < d->sources.n; i++)
        if (d->sources.at[i].file == file) return (int)i;
    return (int)d->sources.n;
}

static void check_code(int code) {
    for (size_t i = 0; table[i].title; i++)
        if (table[i].code == code) return;
    bug("error code E%04d is not in errors.def", code);
}

static bool same_place(Loc a, Loc b) { return a.file == b.file && a.line == b.line && a.col == b.col; }

/* A message that quotes a text of any length: its beginning and end. */
static const char *shortened(Arena *a, const char *message) {
    enum { LONGEST = 480, BEGIN = 300, END = 100 };
    size_t n = strlen(message), begin = BEGIN, end = n - END;
    if (n <= LONGEST) return message;
    while (begin > 0 && ((unsigned char)message[begin] & 0xc0) == 0x80) begin--;
    while (end < n && ((unsigned char)message[end] & 0xc0) == 0x80) end++;
    return arena_printf(a, "%.*s ... %s", (int)begin, message, message + end);
}

static void report(Diag *d, Loc at, bool warning, int code, const char *format, va_list args) {
    check_code(code);
    d->last = NULL;
    if (d->reports.n >= MAX_KEPT) {
        *(warning ? &d->warnings : &d->errors) += 1;
        return;
    }
    const char *message = shortened(d->arena, arena_vprintf(d->arena, format, args));
    int key[3] = {code, at.line, at.col};
    size_t hash = hash_bytes(message, strlen(message), hash_bytes(key, sizeof key, 0)) % 256;
    for (Report *r = d->buckets[hash]; r; r = r->same_hash)
        if (r->code == code && same_place(r->at, at) && strcmp(r->message, message) == 0) return;

    Report *r = arena_make(d->arena, Report);
    *r = (Report){.warning = warning, .code = code, .at = at, .message = message};
    r->order = (int)d->reports.n;
    r->file = at.file ? file_index(d, at.file) : -1;
    r->same_hash = d->buckets[hash];
    d->buckets[hash] = r;
    vec_push(d->arena, &d->reports, r);
    *(warning ? &d->warnings : &d->errors) += 1;
    d->last = r;
}

void diag_error(Diag *d, Loc at, int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    report(d, at, false, code, format, args);
    va_end(args);
}

void diag_warning(Diag *d, Loc at, int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    report(d, at, true, code, format, args);
    va_end(args);
}

void diag_note(Diag *d, Loc at, const char *format, ...) {
    if (!d->last || d->last->notes.n >= MAX_NOTES) return;
    va_list args;
    va_start(args, format);
    Note note = {.at = at, .message = shortened(d->arena, arena_vprintf(d->arena, format, args))};
    va_end(args);
    vec_push(d->arena, &d->last->notes, note);
}

struct Report *diag_last(const Diag *d) { return d->last; }

void diag_note_to(Diag *d, Report *r, Loc at, const char *text) {
    Report *last = d->last;
    d->last = r;
    diag_note(d, at, "%s", text);
    d->last = last;
}

int diag_errors(const Diag *d) { return d->errors; }

bool diag_said_within(const Diag *d, Loc from, int last) {
    for (size_t i = 0; i < d->reports.n; i++) {
        const Report *r = d->reports.at[i];
        if (!r->warning && r->at.file == from.file && r->at.line >= from.line && r->at.line <= last) return true;
    }
    return false;
}

bool diag_said(const Diag *d, Loc at, int code) {
    for (size_t i = 0; i < d->reports.n; i++) {
        const Report *r = d->reports.at[i];
        if (r->code == code && r->at.file == at.file && r->at.line == at.line) return true;
    }
    return false;
}

/* ---- printing ---- */

static int by_place(const void *pa, const void *pb) {
    const Report *a = *(Report *const *)pa, *b = *(Report *const *)pb;
    if (a->file != b->file) return a->file < b->file ? -1 : 1;
    if (a->at.line != b->at.line) return a->at.line < b->at.line ? -1 : 1;
    if (a->at.col != b->at.col) return a->at.col < b->at.col ? -1 : 1;
    return (a->order > b->order) - (a->order < b->order);
}

static void find_lines(Arena *a, Source *s) {
    vec_push(a, &s->lines, 0);
    for (size_t i = 0; i < s->n; i++)
        if (s->text[i] == '\n') vec_push(a, &s->lines, i + 1);
}

/* The next character of a line: what to print for it, and how many columns that takes. */
typedef struct Shown {
    const char *bytes;
    int n, width;
} Shown;

static Shown next_shown(const char *s, size_t n, int column, size_t *used) {
    utf8proc_int32_t c;
    utf8proc_ssize_t k = utf8proc_iterate((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, &c);
    *used = k > 0 ? (size_t)k : 1;
    if (k <= 0) return (Shown){"\xef\xbf\xbd", 3, 1};
    if (c == '\t') return (Shown){"    ", TAB - column % TAB, TAB - column % TAB};
    if (utf8proc_category(c) == UTF8PROC_CATEGORY_CC || utf8proc_category(c) == UTF8PROC_CATEGORY_CF)
        return (Shown){"\xef\xbf\xbd", 3, 1}; /* also the marks that would turn the writing direction of the line */
    return (Shown){s, (int)k, utf8proc_charwidth(c)};
}

int diag_width(const char *s) {
    int column = 0;
    size_t n = strlen(s), used;
    for (size_t i = 0; i < n; i += used) column += next_shown(s + i, n - i, column, &used).width;
    return column;
}

/* Quotes the line with a caret at `mark`, and tildes under the rest of col ... end. */
static void quote(const Diag *d, Loc at, FILE *out) {
    int f = file_index(d, at.file);
    if (at.line < 1 || at.col < 1 || (size_t)f >= d->sources.n) return;
    Source *s = &d->sources.at[f];
    if (!s->lines.n) find_lines(d->arena, s);
    if ((size_t)at.line > s->lines.n) return;
    size_t begin = s->lines.at[at.line - 1];
    size_t end = (size_t)at.line < s->lines.n ? s->lines.at[at.line] - 1 : s->n;
    if (end > begin && s->text[end - 1] == '\r') end--;
    if (at.line == 1 && end - begin >= 3 && memcmp(s->text, "\xef\xbb\xbf", 3) == 0) begin += 3;
    int mark = at.mark >= at.col && at.mark < at.end ? at.mark : at.col;

    /* Where the marked character stands: a line too long for the window is quoted from a little before it. */
    int column = 0, cut = 0;
    size_t used, i = begin;
    for (int col = 1; col < mark && i < end; col++, i += used) column += next_shown(s->text + i, end - i, column, &used).width;
    if (column > LINE_WINDOW * 3 / 4) cut = column - LINE_WINDOW / 2;

    fprintf(out, "%5d | %s", at.line, cut ? "..." : "");
    Text under = {0};
    text_printf(d->arena, &under, "      | %s", cut ? "   " : "");
    column = 0;
    i = begin;
    int shown = 0;
    for (int col = 1; i < end; col++, i += used) {
        Shown c = next_shown(s->text + i, end - i, column, &used);
        column += c.width;
        if (column <= cut) continue;
        if (column > cut + LINE_WINDOW || ++shown > 2 * LINE_WINDOW) { /* marks take no column, but there may be millions */
            fputs("...", out);
            break;
        }
        fwrite(c.bytes, 1, (size_t)c.n, out);
        const char *sign = col == mark ? "^" : col >= at.col && col < at.end ? "~" : col < at.end || col < mark ? " " : "";
        for (int k = 0; k < c.width; k++) text_add(d->arena, &under, k && *sign == '^' ? "~" : sign);
    }
    bool past_end = i >= end && column <= cut + LINE_WINDOW && !strchr(text_str(d->arena, &under), '^');
    fprintf(out, "\n%s%s\n", text_str(d->arena, &under), past_end ? "^" : "");
}

static void print_message(const Diag *d, Loc at, const char *kind, const char *message, FILE *out) {
    if (!at.file) {
        fprintf(out, "%s: %s\n", kind, message);
    } else if (at.line < 1) {
        fprintf(out, "%s: %s: %s\n", at.file, kind, message);
    } else {
        fprintf(out, "%s:%d:%d: %s: %s\n", at.file, at.line, at.col, kind, message);
        quote(d, at, out);
    }
}

void diag_print(const Diag *d, FILE *out) {
    size_t n = d->reports.n;
    if (!n) return;
    Report **sorted = arena_make_n(d->arena, Report *, n);
    memcpy(sorted, d->reports.at, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_place);
    int errors = 0, warnings = 0;
    for (size_t i = 0; i < n; i++) {
        Report *r = sorted[i];
        int *printed = r->warning ? &warnings : &errors;
        if (*printed >= MAX_PRINTED) continue;
        ++*printed;
        print_message(d, r->at, arena_printf(d->arena, "%s[E%04d]", r->warning ? "warning" : "error", r->code), r->message, out);
        for (size_t k = 0; k < r->notes.n; k++) print_message(d, r->notes.at[k].at, "note", r->notes.at[k].message, out);
    }
    if (d->errors > errors) fprintf(out, "and %d more error%s\n", d->errors - errors, d->errors - errors == 1 ? "" : "s");
    if (d->warnings > warnings)
        fprintf(out, "and %d more warning%s\n", d->warnings - warnings, d->warnings - warnings == 1 ? "" : "s");
}

/* ---- suggestions ---- */

static int code_points(const char *s, utf8proc_int32_t out[MAX_NAME]) {
    int n = 0;
    for (size_t i = 0, left = strlen(s); left;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t k = utf8proc_iterate((const utf8proc_uint8_t *)s + i, (utf8proc_ssize_t)left, &c);
        if (k <= 0 || n == MAX_NAME) return -1;
        out[n++] = c;
        i += (size_t)k;
        left -= (size_t)k;
    }
    return n;
}

/* Optimal string alignment: insertions, deletions, replacements and swaps of neighbours, no part edited twice. */
static int distance(const utf8proc_int32_t *a, int n, const utf8proc_int32_t *b, int m) {
    int rows[3][MAX_NAME + 1];
    int *before = rows[0], *above = rows[1], *row = rows[2];
    for (int j = 0; j <= m; j++) above[j] = j;
    for (int i = 1; i <= n; i++) {
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best) best = above[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        int *free_row = before;
        before = above;
        above = row;
        row = free_row;
    }
    return above[m];
}

const char *diag_nearest(const char *name, const char *const *known, size_t n) {
    utf8proc_int32_t a[MAX_NAME], la[MAX_NAME], b[MAX_NAME], lb[MAX_NAME];
    int na = code_points(name, a);
    if (na <= 0) return NULL;
    for (int i = 0; i < na; i++) la[i] = utf8proc_tolower(a[i]);
    const char *best = NULL;
    int least = na / 3 + 1;
    for (size_t k = 0; k < n; k++) {
        int nb = known[k] ? code_points(known[k], b) : -1;
        if (nb <= 0 || abs(na - nb) > na / 3) continue;
        for (int i = 0; i < nb; i++) lb[i] = utf8proc_tolower(b[i]);
        int plain = distance(a, na, b, nb), folded = distance(la, na, lb, nb);
        if (plain == 0) continue; /* the name itself is no suggestion */
        int steps = folded + 1 < plain ? folded + 1 : plain;
        if (folded == 0 && na < 3) steps = least - 1; /* W for w: one step, however short */
        if (steps < least) {
            least = steps;
            best = known[k];
        }
    }
    return best;
}

/* ---- nnc --explain ---- */

static void print_indented(const char *text, FILE *out) {
    for (const char *s = text; *s;) {
        size_t n = strcspn(s, "\n");
        fputs(n ? "    " : "", out);
        for (size_t i = 0, used = 1; i < n; i += used) { /* one example is no UTF-8, on purpose */
            utf8proc_int32_t c;
            utf8proc_ssize_t k = utf8proc_iterate((const utf8proc_uint8_t *)s + i, (utf8proc_ssize_t)(n - i), &c);
            used = k > 0 ? (size_t)k : 1;
            if (k > 0)
                fwrite(s + i, 1, used, out);
            else
                fputs("\xef\xbf\xbd", out);
        }
        fputc('\n', out);
        s += n + (s[n] == '\n');
    }
}

bool diag_explain(const char *code, FILE *out) {
    if (*code == 'E' || *code == 'e') code++;
    char *end;
    long wanted = strtol(code, &end, 10);
    if (end == code || *end) return false;
    for (size_t i = 0; table[i].title; i++) {
        if (table[i].code != wanted) continue;
        fprintf(out, "E%04d: %s\n\n%s\n", table[i].code, table[i].title, table[i].explanation);
        if (!*table[i].example) return true;
        fputs("\n", out);
        print_indented(table[i].example, out);
        return true;
    }
    return false;
}

void diag_print_table(FILE *out) {
    static const struct {
        int from;
        const char *title;
    } parts[] = {{1, "Text and grammar"}, {101, "Names and kinds"}, {201, "Types and shapes"}, {301, "Statements and effects"},
                 {401, "Data and files"}, {501, "Commands"},        {601, "Graph texts"},      {701, "Loops texts"},
                 {801, "Passes"},         {901, "The command line"}};
    size_t part = 0;
    fputs("# Errors\n\nEvery kind of error that nnc reports, by code. `nnc --explain E0204` prints one of them, `nnc --explain "
          "all` this page; each example is a "
          "whole program or text that gives just that error.\n",
          out);
    for (size_t i = 0; table[i].title; i++) {
        for (; part < sizeof parts / sizeof *parts && table[i].code >= parts[part].from; part++)
            if (part + 1 == sizeof parts / sizeof *parts || table[i].code < parts[part + 1].from)
                fprintf(out, "\n## %s\n", parts[part].title);
        fprintf(out, "\n### E%04d: %s\n\n%s\n", table[i].code, table[i].title, table[i].explanation);
        if (!*table[i].example) continue;
        fputs("\n", out);
        print_indented(table[i].example, out);
    }
}
