/*
 * text.h - the words of the text forms, shared by graphs and loops: names, numbers, places, types, and the header (slots, data,
 * vocabularies, commands) that both begin with. docs/graph-ir.md shows the language.
 *
 * Writing and reading are inverse: what is printed can be read, and printed again gives the same bytes.
 *
 * A name stands bare where it looks like one (letters, digits, _, anything beyond ASCII, and single dots between those) and in
 * double quotes where it does not. %name is a value or slot, @name a function, data set or vocabulary, `@ file:line:col what`
 * (with a space) at the end of a line the place something comes from. # begins a comment. A line ends a statement, but not inside
 * ( ) and [ ].
 */
#ifndef NNC_IR_TEXT_H
#define NNC_IR_TEXT_H

#include "graph.h"

/* ---- writing ---- */

/* %name, @name, or with "" the name alone; quoted where needed. */
void text_name(Arena *a, Text *out, const char *sigil, const char *name);
/* "in double quotes", with \" \\ \n \t \xHH. */
void text_quoted(Arena *a, Text *out, const char *s);
/* The shortest decimal that reads back as the same double (or, with elem F32, as the same float after rounding): 0.1, -0, 1e-08,
 * inf, nan. */
void text_real(Arena *a, Text *out, double v, Elem elem);
/* `@ file:line:col what` and the end of the line. The line began at out->at[line]; places are aligned where the line is short. */
void text_loc(Arena *a, Text *out, size_t line, Loc loc);

/* ---- reading ---- */

typedef enum TokenKind {
    T_END,
    T_LINE,   /* end of a line */
    T_WORD,   /* a bare name or keyword: s */
    T_INT,    /* i, and f */
    T_REAL,   /* f */
    T_STRING, /* s */
    T_VALUE,  /* %name: s */
    T_GLOBAL, /* @name: s */
    T_PLACE,  /* @ file:line:col what: place */
    T_MARK,   /* punctuation: s, one of ( ) [ ] { } < , : = * + - / | ; .. -> <= */
    T_BAD,    /* not a token; reported */
} TokenKind;

typedef struct Token {
    TokenKind kind;
    const char *s; /* interned; NULL if it has none */
    size_t n;      /* of s: strings may hold anything but NUL */
    int64_t i;
    double f;
    Loc place;
    int line, col;
} Token;

typedef struct Pending Pending;

typedef struct Reader {
    Arena *arena;
    Diag *diag;
    const char *file;
    const char *at, *end; /* what has not been read */
    int line, col;
    int open;    /* brackets ( and [ open now: lines do not count inside */
    int braces;  /* { open now, token included */
    Token token; /* the one to look at */
    int errors;
    Module *module;
    Pending *pending; /* functions named before they are known */
    bool lost;        /* a declaration could not be read: what is missing from then on may have been in it */
} Reader;

void reader_start(Reader *r, Arena *a, Diag *d, const char *file, const char *text, size_t n);
void reader_next(Reader *r);
/* Reports an error at the token (at most 20 a text; then nothing more) and returns false. Codes E06xx; the loops text passes its
 * own E07xx. */
bool reader_error(Reader *r, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* "`foo`", "the end of the line": what the token is, for messages. */
const char *reader_token_text(Reader *r);
bool reader_is(const Reader *r, const char *mark_or_word);
/* Takes the mark or word if it is there. */
bool reader_take(Reader *r, const char *mark_or_word);
/* Takes it or reports. */
bool reader_want(Reader *r, const char *mark_or_word);
bool reader_want_line(Reader *r);
bool reader_int(Reader *r, int64_t *v);
bool reader_real(Reader *r, double *v);
/* A word, %name, @name or "string" as wanted; `what` names it in the message ("a slot"). */
const char *reader_name(Reader *r, TokenKind kind, const char *what);
typedef const char *TypeFault(int rank, const Dim *dims);
/* f32[B<=64, 28]: *bound gets 64, or stays as it is. fault: which shapes are legal, type_fault or type_fault_in_memory. */
const Type *reader_type(Reader *r, int64_t *bound, TypeFault *fault);
/* An optional place and the end of the line. */
bool reader_loc(Reader *r, Loc *loc);
/* After an error: goes on behind this line, and behind the block that it opens. Stops before a } that closes the block around. */
void reader_skip(Reader *r);
/* After an error inside a block: goes on behind the } after which `braces` are open. */
void reader_leave(Reader *r, int braces);

/* One declaration of the header (source, a slot, data, vocab, command) if one stands here: true if so, whether it was good or
 * not. */
bool reader_header_item(Reader *r);
/* Whether one stands here. */
bool reader_at_header(const Reader *r);
/* After everything: functions that the header names get known (all must be in module->funcs by now); commands that slots belong
 * to must exist. */
void reader_header_end(Reader *r);
Slot *reader_slot(Reader *r); /* %name of a slot that exists */

/* Shared inside: commands. */
bool read_command(Reader *r);
/* kind "(" files and arguments ")" [place] LINE [loader place LINE]; *loc is the place of what is loaded. */
bool read_loader(Reader *r, Loader *l, Loc *loc);
/* *place becomes the function of this name (the token before was its name) when the text has been read. */
void reader_need_func(Reader *r, Func **place, const char *name, Token at);
extern const char *const slot_words[]; /* by SlotKind */

#endif
