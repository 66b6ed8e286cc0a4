/*
 * format.c - one layout for programs, from their tokens.
 *
 * What it decides: spaces between tokens, indentation, blank lines (one at most), where blocks break, where comments stand. What
 * it leaves to the writer: where lines break, whether a power is written a^b or a ^ b, and the spaces in a table of numbers.
 *
 *   - A block is on one line, or its braces end and begin lines; { stands on the line of its header. Four columns for each block.
 *   - A line that goes on inside ( or [ stands below what follows the bracket; any other stands four columns in, eight where a
 * block follows.
 *   - The =, <- and { of neighbouring lines that the writer put below each other stay so; elsewhere one space stands before them.
 *   - A comment behind code begins in column 54, or where the code is longer in the first of 58, 62, ... that is two behind it;
 * those of neighbouring lines in one column. Where the writer put several of a declaration in one column further right, they
 * stay.
 *   - A table is a bracket of at least TABLE numbers and nothing else but commas, signs and brackets of numbers.
 */
#include "format.h"

#include "parser.h"
#include "tokens.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { STEP = 4, COMMENT = 54, TABLE = 4, APART = 64 };

typedef struct Line {
    int indent;
    bool blank_before;
    Text code;
    const char *comment; /* NULL: none */
    int comment_n;
    int comment_column; /* where it stood in the text */
    uint32_t source;    /* the line of the text it began on */
    int16_t kind;       /* of what may be aligned: = or <-, or the { of a block on this line; 0: nothing */
    size_t equal;       /* where in code that stands */
    int equal_column;   /* where it stood in the text */
    bool spread;        /* with more than one space before it */
} Line;

typedef struct Level {
    int kind;    /* of the bracket */
    int outside; /* indentation of the line it closes on */
    int inside;  /* of the lines in it */
    bool header; /* ( or [ of a declaration's header: its = and : are those of fields */
    bool broken; /* { whose block has lines of its own */
    bool table;  /* [ of numbers: spaces are the writer's */
} Level;

typedef struct Format {
    Parsing *p;
    Arena *arena;
    Vec(Line) lines;
    Vec(Level) levels;
    size_t *partner; /* of each bracket token */
    int statement;   /* indentation of the line on which the statement began */
    bool block_follows;
    bool in_header; /* in the header of a fn, layer, optimizer, command */
    size_t first;   /* token that began the statement */
} Format;

static int text_width(const char *s, size_t n) {
    int width = 0;
    for (size_t i = 0; i < n;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t k = utf8proc_iterate((const utf8proc_uint8_t *)s + i, (utf8proc_ssize_t)(n - i), &c);
        if (k <= 0) break;
        width += utf8proc_charwidth(c);
        i += (size_t)k;
    }
    return width;
}

static const Token *at(const Format *f, size_t i) { return &f->p->tokens[i]; }
static int kind(const Format *f, size_t i) { return at(f, i)->kind; }
static Line *last(Format *f) { return &f->lines.at[f->lines.n - 1]; }
static bool is_open(int k) { return k == '(' || k == '[' || k == '{'; }
static bool is_close(int k) { return k == ')' || k == ']' || k == '}'; }
static Level *inner(Format *f) { return f->levels.n ? &f->levels.at[f->levels.n - 1] : NULL; }
static bool in_block(Format *f) { return !f->levels.n || inner(f)->kind == '{'; }

static void find_partners(Format *f) {
    size_t stack[MAX_BRACKETS + 1], n = 0;
    for (size_t i = 0; i < f->p->n_tokens; i++) {
        if (is_open(kind(f, i)) && n <= MAX_BRACKETS) {
            stack[n++] = i;
        } else if (is_close(kind(f, i)) && n) {
            f->partner[i] = stack[--n];
            f->partner[stack[n]] = i;
        }
    }
}

/* ---- spaces ---- */

static bool adjacent(const Format *f, size_t i) { return at(f, i - 1)->at + at(f, i - 1)->n == at(f, i)->at; }

static bool soft_word(int k) { return is_word(k) && !word_reserved(k); }

/* A minus sign, and no difference. After a word of the language that may be a name the writer's own spaces decide. */
static bool is_sign(const Format *f, size_t i) {
    if (kind(f, i) != '-' || i == 0) return kind(f, i) == '-';
    int before = kind(f, i - 1);
    if (soft_word(before)) return !adjacent(f, i) && adjacent(f, i + 1);
    return !ends_operand(before);
}

/* Whether a power is written without spaces: as its writer did on the left of it. */
static bool tight_power(const Format *f, size_t i) { return kind(f, i) == '^' && adjacent(f, i); }

static bool tight(const Format *f, size_t i) { return kind(f, i) == '.' || kind(f, i) == T_RANGE || tight_power(f, i); }

/* Whether two tokens would be read as others if nothing stood between them. */
static bool would_glue(const Format *f, size_t i) {
    char a = f->p->text[at(f, i - 1)->at + at(f, i - 1)->n - 1], b = f->p->text[at(f, i)->at];
    return a == '.' && b == '.';
}

static bool space_around_equal(Format *f) { return in_block(f) || inner(f)->header; }

static bool space_before(Format *f, size_t i) {
    int before = kind(f, i - 1), k = kind(f, i);
    if (would_glue(f, i) || (before == T_RANGE && would_glue(f, i - 1))) return true; /* 1. .. 2 */
    if (k == ',' || k == T_SEPARATOR || k == ')' || k == ']' || k == '\'' || tight(f, i) || tight(f, i - 1)) return false;
    if (before == '(' || before == '[' || before == T_REST) return false;
    if (before == '-' && is_sign(f, i - 1)) return false;
    if (k == '=' || before == '=') return space_around_equal(f);
    if (k == ':') return before == ',';
    if (before == ':') return in_block(f) || inner(f)->header;
    if (k == '(' || k == '[') {
        if (soft_word(before)) return !adjacent(f, i); /* batch (n) but max(a, b) */
        return !ends_operand(before);
    }
    return true;
}

/* ---- lines ---- */

static int source_column(const Format *f, size_t place) {
    const char *text = f->p->text;
    size_t begin = place;
    while (begin > 0 && text[begin - 1] != '\n') begin--;
    return text_width(text + begin, place - begin);
}

static Line *new_line(Format *f, int indent) {
    Line l = {.indent = indent};
    vec_push(f->arena, &f->lines, l);
    return last(f);
}

/* Comments and blank lines that stand between token i - 1 and token i; true if token i must begin a line because of them. */
static bool between(Format *f, size_t i, int indent) {
    const char *text = f->p->text;
    size_t from = i ? at(f, i - 1)->at + at(f, i - 1)->n : 0, to = at(f, i)->at;
    if (!i && to >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) from = 3;
    int newlines = i ? 0 : 1;
    bool blank = false, any = false;
    for (size_t k = from; k < to; k++) {
        if (text[k] == '\n') {
            if (++newlines > 1) blank = true;
        } else if (text[k] == '#') {
            size_t end = k;
            while (end < to && text[end] != '\n') end++;
            size_t stop = end;
            while (stop > k && strchr(" \t\r", text[stop - 1])) stop--;
            Line *l = newlines || !f->lines.n ? NULL : last(f);
            if (!l) {
                bool after_brace = f->lines.n && last(f)->code.n && last(f)->code.at[last(f)->code.n - 1] == '{';
                l = new_line(f, indent);
                l->blank_before = blank && f->lines.n > 1 && !after_brace;
            }
            l->comment = text + k;
            l->comment_n = (int)(stop - k);
            l->comment_column = source_column(f, k);
            any = true;
            blank = false;
            newlines = 0;
            k = end - 1;
        }
    }
    f->block_follows = blank; /* handed to the line that begins with token i */
    return any;
}

/* Whether a block follows in the statement that begins at token i: its lines then stand eight columns in. */
static bool has_block(const Format *f, size_t i) {
    for (; kind(f, i) != T_END; i++) {
        if (kind(f, i) == '{') return true;
        if (is_close(kind(f, i)) || kind(f, i) == T_SEPARATOR) return false;
        if (is_open(kind(f, i))) {
            i = f->partner[i];
        } else if (i > f->first && at(f, i)->first && ends_line(kind(f, i - 1)) && kind(f, i) != T_PIPE && kind(f, i) != T_THEN &&
                   kind(f, i) != T_ELSE && kind(f, i) != T_ARROW) {
            return false;
        }
    }
    return false;
}

static bool begins_statement(Format *f, size_t i) {
    if (!in_block(f)) return false;
    if (i == 0 || kind(f, i - 1) == '{' || kind(f, i - 1) == T_SEPARATOR) return true;
    int k = kind(f, i);
    return at(f, i)->first && ends_line(kind(f, i - 1)) && k != T_PIPE && k != T_THEN && k != T_ELSE && k != T_ARROW &&
           k != '{' && k != '}';
}

/* Whether the bracket at token i holds a table: TABLE numbers or more, and nothing but commas, signs and brackets of numbers. */
static bool is_table(const Format *f, size_t i) {
    int numbers = 0;
    if (kind(f, i) != '[') return false;
    for (size_t k = i + 1; k < f->partner[i]; k++) {
        int t = kind(f, k);
        if (t == T_INT || t == T_FLOAT)
            numbers++;
        else if (t != ',' && t != '-' && t != '[' && t != ']')
            return false;
    }
    return numbers >= TABLE;
}

static int line_indent(Format *f, size_t i, bool statement) {
    Level *l = inner(f);
    int base = l ? l->inside : 0;
    if (is_close(kind(f, i))) return l ? l->outside : 0;
    if (statement || !in_block(f)) return base;
    if (kind(f, i) == T_ELSE && kind(f, i - 1) == '}') return f->statement;
    return f->statement + (has_block(f, f->first) ? 2 * STEP : STEP);
}

static void open_level(Format *f, size_t i) {
    Line *line = last(f);
    Level l = {.kind = kind(f, i)};
    bool outer_block = in_block(f);
    l.outside = outer_block ? f->statement : line->indent;
    if (l.kind == '{') {
        l.inside = l.outside + STEP;
        l.broken = at(f, i)->line != at(f, f->partner[i])->line;
    } else {
        const Token *next = at(f, i + 1);
        bool below = next->line == at(f, i)->line && !is_close(next->kind);
        int here = line->indent + text_width(line->code.at, line->code.n);
        l.inside = below ? here : l.outside + (outer_block && has_block(f, f->first) ? 2 * STEP : STEP);
        l.header = outer_block && f->in_header;
        l.table = is_table(f, i) || (inner(f) && inner(f)->table);
    }
    vec_push(f->arena, &f->levels, l);
}

static bool function_word(const Format *f, size_t i) {
    int k = kind(f, i);
    return (k == T_FN || k == T_LAYER || k == T_OPTIMIZER || k == T_COMMAND) &&
           (kind(f, i + 1) == T_NAME || soft_word(kind(f, i + 1)));
}

/* Whether token i begins a line of the output. */
static bool breaks(Format *f, size_t i, bool comment) {
    if (i == 0 || comment) return true;
    Level *l = inner(f);
    if (kind(f, i - 1) == '{' || kind(f, i) == '}') return l && l->kind == '{' && l->broken;
    return at(f, i)->first && kind(f, i) != '{';
}

static void note_equal(Format *f, Line *line, size_t i) {
    line->kind = at(f, i)->kind;
    line->equal = line->code.n;
    line->equal_column = source_column(f, at(f, i)->at);
    line->spread = at(f, i)->at - (at(f, i - 1)->at + at(f, i - 1)->n) > 1;
}

static void put(Format *f, size_t i) {
    int k = kind(f, i);
    bool statement = begins_statement(f, i);
    if (statement) {
        f->first = i;
        f->in_header = function_word(f, i);
    }
    int indent = line_indent(f, i, statement);
    Level *l = inner(f);
    bool comment = between(f, i, is_close(k) && l ? l->inside : indent), blank = f->block_follows;
    if (k == T_SEPARATOR && (at(f, i + 1)->first || kind(f, i + 1) == T_END || kind(f, i + 1) == '}' ||
                             kind(f, i + 1) == T_SEPARATOR || comment || i == 0 || kind(f, i - 1) == '{'))
        return; /* the line does it */
    if (breaks(f, i, comment) || !f->lines.n) {
        bool first_in_block = !comment && (i == 0 || kind(f, i - 1) == '{'), ends_block = k == '}';
        Line *line = new_line(f, indent);
        line->source = at(f, i)->line;
        line->blank_before = blank && !first_in_block && !ends_block && f->lines.n > 1;
        if (statement) f->statement = indent;
    } else {
        bool table = l && l->table && !is_close(k) && k != ',';
        int spaces = table ? (int)(at(f, i)->at - at(f, i - 1)->at - at(f, i - 1)->n) : space_before(f, i);
        text_printf(f->arena, &last(f)->code, "%*s", spaces, "");
    }
    if (is_close(k) && f->levels.n) {
        if (l->kind == '{') f->statement = l->outside;
        f->levels.n--;
    }
    Line *line = last(f);
    bool alignable = k == '=' || k == T_ASSIGN || (k == '{' && at(f, i)->line == at(f, f->partner[i])->line);
    if (alignable && in_block(f) && !line->kind && line->source == at(f, i)->line) note_equal(f, line, i);
    if ((k == '=' || k == '{') && in_block(f)) f->in_header = false;
    text_add(f->arena, &line->code, arena_strndup(f->arena, f->p->text + at(f, i)->at, at(f, i)->n));
    if (is_open(k)) open_level(f, i);
}

/* ---- alignment and output ---- */

static void pad(Format *f, Line *l, int spaces) {
    Text t = {0};
    text_printf(f->arena, &t, "%.*s%*s%s", (int)l->equal, l->code.at, spaces, "", l->code.at + l->equal);
    l->code = t;
    l->equal += (size_t)spaces;
}

/* Whether l belongs to the run of aligned lines that `first` began. The run goes on over lines further in, which belong to what
 * stands before them, and over lines too long to take part. */
static bool aligned_with(const Line *first, const Line *l) {
    return l->kind && l->kind == first->kind && l->equal_column == first->equal_column && l->indent == first->indent;
}
static bool too_long(const Line *first, const Line *l) {
    return l->indent == first->indent && l->kind == first->kind && l->equal_column > first->equal_column;
}

/* The run that line i begins: one behind its last line. *width: of the widest code before an =. Lines too long in the text count as such
 * only if they are in the layout, too: else the next formatting would end the run at them. They are done: the runs of the last columns are
 * made first. */
static size_t find_run(const Format *f, size_t i, int *width, bool *spread) {
    const Line *first = &f->lines.at[i];
    size_t last = i;
    int shortest = INT_MAX; /* of the lines that are too long */
    *width = 0;
    *spread = false;
    for (size_t k = i; k < f->lines.n && k - last <= APART; k++) {
        const Line *l = &f->lines.at[k];
        if (k > i && l->blank_before) break;
        int before = text_width(l->code.at, l->equal);
        if (aligned_with(first, l)) {
            before = before > *width ? before : *width;
            if (before >= shortest) break;
            *width = before;
            *spread |= l->spread;
            last = k;
        } else if (too_long(first, l)) {
            shortest = before < shortest ? before : shortest;
        } else if (l->code.n && l->indent <= first->indent) {
            break;
        }
    }
    return last + 1;
}

static void align_run(Format *f, size_t i, bool *done) {
    int width;
    bool spread;
    size_t end = find_run(f, i, &width, &spread);
    for (size_t k = i; k < end; k++) {
        Line *l = &f->lines.at[k];
        if (!aligned_with(&f->lines.at[i], l)) continue;
        done[k] = true;
        if (spread) pad(f, l, width - text_width(l->code.at, l->equal));
    }
}

typedef struct Equal {
    int column;
    size_t line;
} Equal;

static int last_column_first(const void *a, const void *b) {
    const Equal *x = a, *y = b;
    if (x->column != y->column) return x->column > y->column ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

/* Runs of neighbouring lines whose = (or <-, or {) stood in one column, some of them spread to get there. */
static void align_equals(Format *f) {
    Equal *equals = arena_make_n(f->arena, Equal, f->lines.n + 1);
    bool *done = arena_make_n(f->arena, bool, f->lines.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < f->lines.n; i++)
        if (f->lines.at[i].kind) equals[n++] = (Equal){f->lines.at[i].equal_column, i};
    qsort(equals, n, sizeof *equals, last_column_first);
    for (size_t i = 0; i < n; i++)
        if (!done[equals[i].line]) align_run(f, equals[i].line, done);
}

static int line_width(const Line *l) { return l->indent + text_width(l->code.at, l->code.n); }

static bool behind_code(const Line *l) { return l->code.n && l->comment; }
static bool has_place(const Line *l) {
    return behind_code(l) && l->comment_column > COMMENT && l->comment_column >= line_width(l) + 2;
}

/* Marks comments that the writer put below others of their declaration, right of the usual column: those stay there. */
static void keep_columns(Format *f, bool *stays) {
    for (size_t i = 0, end; i < f->lines.n; i = end) {
        for (end = i + 1; end < f->lines.n && (f->lines.at[end].indent || !f->lines.at[end].blank_before);) end++;
        for (size_t j = i; j < end; j++)
            for (size_t k = i; k < end && has_place(&f->lines.at[j]) && !stays[j]; k++)
                stays[j] = k != j && has_place(&f->lines.at[k]) && f->lines.at[k].comment_column == f->lines.at[j].comment_column;
    }
}

/* The other comments behind code, those of neighbouring lines in one column. */
static void align_comments(Format *f) {
    bool *stays = arena_make_n(f->arena, bool, f->lines.n + 1);
    keep_columns(f, stays);
    for (size_t i = 0, end; i < f->lines.n; i = end) {
        int column = COMMENT;
        for (end = i; end < f->lines.n && behind_code(&f->lines.at[end]) && !stays[end]; end++) {
            if (end > i && f->lines.at[end].blank_before) break;
            while (column < line_width(&f->lines.at[end]) + 2) column += STEP;
        }
        if (stays[i]) {
            column = f->lines.at[i].comment_column;
            end = i + 1;
        }
        for (size_t k = i; k < end; k++)
            text_printf(f->arena, &f->lines.at[k].code, "%*s", column - line_width(&f->lines.at[k]), "");
        if (end == i) end++;
    }
}

static char *written(Format *f) {
    Text out = {0};
    for (size_t i = 0; i < f->lines.n; i++) {
        Line *l = &f->lines.at[i];
        if (l->blank_before) text_add(f->arena, &out, "\n");
        text_printf(f->arena, &out, "%*s", l->indent, "");
        if (l->code.n) text_add(f->arena, &out, text_str(f->arena, &l->code));
        if (l->comment) text_add(f->arena, &out, arena_strndup(f->arena, l->comment, (size_t)l->comment_n));
        text_add(f->arena, &out, "\n");
    }
    return arena_strndup(f->arena, out.n ? out.at : "", out.n);
}

static char *tree_text(Arena *a, const Ast *ast) {
    Text t = {0};
    for (uint32_t i = 0; i < ast->declarations.n; i++) {
        ast_print_node(a, &t, ast->declarations.at[i]);
        text_add(a, &t, "\n");
    }
    return arena_strndup(a, t.n ? t.at : "", t.n);
}

char *format_source(Arena *a, Diag *d, const char *file, const char *text, size_t n) {
    int before = diag_errors(d);
    Ast *ast = parse_source(a, d, file, text, n);
    if (diag_errors(d) != before) return NULL;

    Diag *quiet = diag_new(a);
    Parsing p = {.arena = a, .diag = quiet, .file = intern(file), .text = text, .n = n};
    lex(&p);
    Format f = {.p = &p, .arena = a};
    f.partner = arena_make_n(a, size_t, p.n_tokens);
    find_partners(&f);
    for (size_t i = 0; i + 1 < p.n_tokens; i++) put(&f, i);
    between(&f, p.n_tokens - 1, 0); /* comments at the end of the file */
    align_equals(&f);
    align_comments(&f);
    char *out = written(&f);
    free(p.tokens);

    Ast *again = parse_source(a, quiet, "formatted", out, strlen(out));
    if (diag_errors(quiet) || strcmp(tree_text(a, ast), tree_text(a, again)) != 0) bug("formatting %s changed its meaning", file);
    return out;
}
