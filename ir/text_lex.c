/*
 * text_lex.c - from the bytes of a text to tokens, and the small readers that everything else is made of. Any bytes are safe:
 * what is no token is reported once and skipped. Memory is bounded by the length of the text.
 */
#include "text.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ERRORS = 20, LONGEST_NUMBER = 64 };

/* ---- errors ---- */

static bool error_at(Reader *r, Loc at, int code, const char *format, va_list args) {
    if (r->errors++ >= MOST_ERRORS) return false;
    diag_error(r->diag, at, code, "%s", arena_vprintf(r->arena, format, args));
    return false;
}

bool reader_error(Reader *r, int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (r->token.kind != T_BAD) /* that one has been reported */
        error_at(r, (Loc){.file = r->file, .line = r->token.line, .col = r->token.col}, code, format, args);
    else
        r->errors++;
    va_end(args);
    return false;
}

static void bad_token(Reader *r, int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    error_at(r, (Loc){.file = r->file, .line = r->token.line, .col = r->token.col}, code, format, args);
    va_end(args);
    r->token.kind = T_BAD;
}

/* ---- bytes ---- */

static int peek(const Reader *r, size_t i) { return (size_t)(r->end - r->at) > i ? (unsigned char)r->at[i] : -1; }

static void skip(Reader *r, size_t n) {
    for (; n; n--, r->at++) {
        if (*r->at == '\n')
            r->line++, r->col = 1;
        else
            r->col += ((unsigned char)*r->at & 0xc0) != 0x80;
    }
}

static bool is_digit(int c) { return c >= '0' && c <= '9'; }
static bool is_name(int c) { return c >= 0x80 || c == '_' || is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

/* Letters, digits, _ and single dots between them. */
static const char *take_bare(Reader *r) {
    size_t n = 0;
    while (is_name(peek(r, n)) || (n && peek(r, n) == '.' && is_name(peek(r, n + 1)))) n++;
    const char *s = intern_n(r->at, n);
    skip(r, n);
    return s;
}

static int hex_digit(int c) {
    return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* At a quote. NULL: reported. */
static const char *take_quoted(Reader *r) {
    Text out = {0};
    skip(r, 1);
    for (;;) {
        int c = peek(r, 0);
        if (c < 0 || c == '\n') return bad_token(r, 601, "a string has no end on its line"), NULL;
        if (c == '"') break;
        size_t n = 1;
        if (c == '\\') {
            int e = peek(r, 1);
            n = 2;
            if (e == 'x' && hex_digit(peek(r, 2)) >= 0 && hex_digit(peek(r, 3)) >= 0) {
                c = hex_digit(peek(r, 2)) * 16 + hex_digit(peek(r, 3));
                n = 4;
            } else if (e == 'n' || e == 't' || e == '"' || e == '\\') {
                c = e == 'n' ? '\n' : e == 't' ? '\t' : e;
            } else {
                return bad_token(r, 601, "a string knows \\\" \\\\ \\n \\t and \\xHH only"), NULL;
            }
        }
        if (c == 0) return bad_token(r, 601, "a string cannot hold the byte 0"), NULL;
        vec_push(r->arena, &out, (char)c);
        skip(r, n);
    }
    skip(r, 1);
    return out.n ? intern_n(out.at, out.n) : intern("");
}

static bool take_number(Reader *r) {
    size_t n = peek(r, 0) == '-';
    bool real = false;
    if (!is_digit(peek(r, n))) { /* -inf, -nan */
        real = true;
        n += 3;
    } else if (peek(r, n) == '0' && peek(r, n + 1) == 'x') {
        for (n += 2; hex_digit(peek(r, n)) >= 0;) n++;
    } else {
        while (is_digit(peek(r, n))) n++;
        if (peek(r, n) == '.' && is_digit(peek(r, n + 1)))
            for (real = true, n++; is_digit(peek(r, n));) n++;
        size_t e = peek(r, n) == 'e' || peek(r, n) == 'E';
        if (e) e += peek(r, n + e) == '+' || peek(r, n + e) == '-';
        if (e && is_digit(peek(r, n + e)))
            for (real = true, n += e; is_digit(peek(r, n));) n++;
    }
    char s[LONGEST_NUMBER + 1], *end;
    if (n > LONGEST_NUMBER) {
        skip(r, n);
        return bad_token(r, 605, "a number has more than %d characters", LONGEST_NUMBER), false;
    }
    memcpy(s, r->at, n);
    s[n] = 0;
    skip(r, n);
    if (is_name(peek(r, 0))) return bad_token(r, 601, "letters directly behind the number %s", s), false;
    r->token.kind = real ? T_REAL : T_INT;
    r->token.f = strtod(s, NULL);
    if (real) return true;
    errno = 0;
    bool hex = strncmp(s, "0x", 2) == 0;
    r->token.i = hex ? (int64_t)strtoull(s + 2, &end, 16) : strtoll(s, &end, 10);
    if (errno || *end || (hex && !s[2])) return bad_token(r, 605, "%s does not fit 64 bits", s), false;
    return true;
}

/* ---- places ---- */

/* Digits behind a colon; a line or column that is absurd is cut off. */
static int take_count(Reader *r) {
    int64_t v = 0;
    for (; is_digit(peek(r, 0)); skip(r, 1))
        if (v < INT32_MAX / 10) v = v * 10 + (peek(r, 0) - '0');
    return (int)v;
}

/* Behind "@ ": file[:line[:col]] [what] */
static void take_place(Reader *r) {
    Loc *loc = &r->token.place;
    *loc = (Loc){0};
    while (peek(r, 0) == ' ' || peek(r, 0) == '\t') skip(r, 1);
    if (peek(r, 0) == '"') {
        if (!(loc->file = take_quoted(r))) return;
    } else {
        size_t n = 0;
        while (peek(r, n) > ' ' && peek(r, n) != ':' && peek(r, n) != '"') n++;
        if (!n) {
            bad_token(r, 601, "a place is `@ file:line:column what`");
            return;
        }
        if (n != 1 || *r->at != '-') loc->file = intern_n(r->at, n);
        skip(r, n);
    }
    if (peek(r, 0) == ':' && is_digit(peek(r, 1))) skip(r, 1), loc->line = take_count(r);
    if (peek(r, 0) == ':' && is_digit(peek(r, 1))) skip(r, 1), loc->col = take_count(r);
    while (peek(r, 0) == ' ' || peek(r, 0) == '\t') skip(r, 1);
    if (peek(r, 0) == '"') {
        if (!(loc->what = take_quoted(r))) return;
    } else {
        size_t n = 0;
        while (peek(r, n) >= 0 && peek(r, n) != '\n') n++;
        size_t used = n;
        while (used && (r->at[used - 1] == ' ' || r->at[used - 1] == '\t' || r->at[used - 1] == '\r')) used--;
        if (used) {
            if (memchr(r->at, 0, used)) {
                bad_token(r, 601, "the byte 0 in a text");
                return;
            }
            loc->what = intern_n(r->at, used);
        }
        skip(r, n);
    }
    r->token.kind = T_PLACE;
}

/* ---- tokens ---- */

static void take_sigil(Reader *r, TokenKind kind) {
    skip(r, 1);
    r->token.kind = kind;
    if (peek(r, 0) == '"')
        r->token.s = take_quoted(r);
    else if (is_name(peek(r, 0)))
        r->token.s = take_bare(r);
    else if (kind == T_GLOBAL && (peek(r, 0) == ' ' || peek(r, 0) == '\t'))
        take_place(r);
    else
        bad_token(r, 601, "a name is missing behind %c", kind == T_VALUE ? '%' : '@');
}

static void take_mark(Reader *r, int c) {
    static const char *const marks[] = {"..", "->", "<=", ">=", "==", "!=", "(", ")", "[", "]", "{", "}", "<",
                                        ">",  ",",  ":",  "=",  "*",  "+",  "-", "/", "|", ";", "'", "%"};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        size_t n = strlen(marks[i]);
        if ((size_t)(r->end - r->at) < n || memcmp(r->at, marks[i], n) != 0) continue;
        r->token.kind = T_MARK;
        r->token.s = intern(marks[i]);
        if (c == '(' || c == '[') r->open++;
        if ((c == ')' || c == ']') && r->open) r->open--;
        r->braces += (c == '{') - (c == '}' && r->braces > 0);
        skip(r, n);
        return;
    }
    if (c > ' ' && c < 0x7f)
        bad_token(r, 601, "`%c` means nothing here", c);
    else
        bad_token(r, 601, "the byte 0x%02x means nothing here", c);
    skip(r, 1);
}

void reader_next(Reader *r) {
    for (;;) {
        int c = peek(r, 0);
        if (c == ' ' || c == '\t' || c == '\r' || (c == '\n' && r->open))
            skip(r, 1);
        else if (c == '#')
            while (peek(r, 0) >= 0 && peek(r, 0) != '\n') skip(r, 1);
        else
            break;
    }
    int c = peek(r, 0), d = peek(r, 1);
    r->token = (Token){.kind = T_END, .line = r->line, .col = r->col};
    if (c < 0) return;
    if (c == '\n') {
        r->token.kind = T_LINE;
        skip(r, 1);
    } else if (c == '"') {
        r->token.s = take_quoted(r);
        if (r->token.s) r->token.kind = T_STRING;
    } else if (c == '%' && (d == '"' || is_name(d))) {
        take_sigil(r, T_VALUE);
    } else if (c == '@') {
        take_sigil(r, T_GLOBAL);
    } else if (is_digit(c) ||
               (c == '-' && (is_digit(d) || (r->end - r->at >= 4 && (!memcmp(r->at, "-inf", 4) || !memcmp(r->at, "-nan", 4)))))) {
        take_number(r);
    } else if (is_name(c)) {
        r->token.kind = T_WORD;
        r->token.s = take_bare(r);
    } else {
        take_mark(r, c);
    }
    if (r->token.s) r->token.n = strlen(r->token.s);
}

void reader_start(Reader *r, Arena *a, Diag *d, const char *file, const char *text, size_t n) {
    *r = (Reader){.arena = a, .diag = d, .file = intern(file), .at = text, .end = text + n, .line = 1, .col = 1};
    diag_source(d, r->file, text, n);
    reader_next(r);
}

const char *reader_token_text(Reader *r) {
    const Token *t = &r->token;
    switch (t->kind) {
    case T_END: return "the end of the text";
    case T_LINE: return "the end of the line";
    case T_INT: return arena_printf(r->arena, "the number %" PRId64, t->i);
    case T_REAL: return arena_printf(r->arena, "the number %g", t->f);
    case T_STRING: return "a string";
    case T_VALUE: return arena_printf(r->arena, "`%%%.60s`", t->s);
    case T_GLOBAL: return arena_printf(r->arena, "`@%.60s`", t->s);
    case T_PLACE: return "a place";
    case T_WORD:
    case T_MARK: return arena_printf(r->arena, "`%.60s`", t->s);
    case T_BAD: break;
    }
    return "something else";
}

/* ---- small readers ---- */

bool reader_is(const Reader *r, const char *s) {
    return (r->token.kind == T_MARK || r->token.kind == T_WORD) && strcmp(r->token.s, s) == 0;
}

bool reader_take(Reader *r, const char *s) {
    if (!reader_is(r, s)) return false;
    reader_next(r);
    return true;
}

bool reader_want(Reader *r, const char *s) {
    return reader_take(r, s) || reader_error(r, 601, "expected `%s`, found %s", s, reader_token_text(r));
}

bool reader_want_line(Reader *r) {
    if (r->token.kind == T_END) return true;
    if (r->token.kind != T_LINE) return reader_error(r, 601, "expected the end of the line, found %s", reader_token_text(r));
    reader_next(r);
    return true;
}

bool reader_loc(Reader *r, Loc *loc) {
    *loc = (Loc){0};
    if (r->token.kind == T_PLACE) {
        *loc = r->token.place;
        reader_next(r);
    }
    return reader_want_line(r);
}

bool reader_int(Reader *r, int64_t *v) {
    if (r->token.kind != T_INT) return reader_error(r, 601, "expected a whole number, found %s", reader_token_text(r));
    *v = r->token.i;
    reader_next(r);
    return true;
}

bool reader_real(Reader *r, double *v) {
    if (reader_is(r, "inf"))
        *v = INFINITY;
    else if (reader_is(r, "nan"))
        *v = NAN;
    else if (r->token.kind == T_INT || r->token.kind == T_REAL)
        *v = r->token.f;
    else
        return reader_error(r, 601, "expected a number, found %s", reader_token_text(r));
    reader_next(r);
    return true;
}

const char *reader_name(Reader *r, TokenKind kind, const char *what) {
    bool ok = r->token.kind == kind || (kind == T_WORD && r->token.kind == T_STRING);
    if (!ok) {
        reader_error(r, 601, "expected %s, found %s", what, reader_token_text(r));
        return NULL;
    }
    const char *s = r->token.s;
    reader_next(r);
    return s;
}

/* B, B<=64 */
static bool read_batch(Reader *r, int64_t *bound) {
    int64_t n;
    if (!reader_want(r, "B")) return false;
    if (!reader_take(r, "<=")) return true;
    if (!reader_int(r, &n)) return false;
    if (n < 1) return reader_error(r, 605, "the batch bound is %" PRId64, n);
    if (bound) *bound = n;
    return true;
}

/* 28, B, B<=64, 2*B, 2*(B<=64) */
static bool read_dim(Reader *r, Dim *d, int64_t *bound) {
    *d = (Dim){1, true};
    if (reader_is(r, "B")) return read_batch(r, bound);
    if (!reader_int(r, &d->n)) return false;
    if (!reader_take(r, "*")) return d->batch = false, true;
    if (!reader_take(r, "(")) return read_batch(r, bound);
    return read_batch(r, bound) && reader_want(r, ")");
}

const Type *reader_type(Reader *r, int64_t *bound, TypeFault *fault) {
    Elem elem;
    if (r->token.kind != T_WORD || !elem_by_name(r->token.s, &elem)) {
        reader_error(r, 601, "expected a type, found %s", reader_token_text(r));
        return NULL;
    }
    reader_next(r);
    Dim dims[MAX_RANK];
    int rank = 0;
    if (reader_take(r, "[") && !reader_take(r, "]")) {
        do {
            if (rank == MAX_RANK) return reader_error(r, 605, "a tensor has at most %d dimensions", MAX_RANK), NULL;
            if (!read_dim(r, &dims[rank++], bound)) return NULL;
        } while (reader_take(r, ","));
        if (!reader_want(r, "]")) return NULL;
    }
    const char *why = fault(rank, dims);
    if (why) return reader_error(r, 605, "%s", why), NULL;
    return type_make(elem, rank, dims);
}

void reader_skip(Reader *r) {
    r->open = 0; /* a bracket that is not closed ends with its line */
    for (int depth = 0; r->token.kind != T_END;) {
        if (reader_is(r, "{")) depth++;
        if (reader_is(r, "}")) depth--;
        if (depth < 0) return; /* it closes the block around: left for whoever reads that */
        bool line = r->token.kind == T_LINE;
        reader_next(r);
        if (line && depth == 0) return;
    }
}

void reader_leave(Reader *r, int braces) {
    while (r->braces > braces && r->token.kind != T_END) reader_next(r);
    reader_take(r, "}");
    reader_skip(r);
}
