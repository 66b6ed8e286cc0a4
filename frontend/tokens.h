/*
 * tokens.h - what lexer.l, tokens.c and parser.y share: the tokens of a file, and the state of one run of the parser.
 *
 * The way of a file: lexer.l cuts it into an array of Token (all at once: mending needs to look ahead); tokens.c mends brackets
 * in that array, then hands token after token to the parser, with separators put between lines. Values (names, numbers, strings)
 * are made only then, from the text.
 */
#ifndef NNC_FRONTEND_TOKENS_H
#define NNC_FRONTEND_TOKENS_H

#include "parse.h"

enum {
    MAX_FILE = 16 << 20,  /* bytes (rule T1) */
    MAX_TOKENS = 4 << 20, /* some 600 MB of tree at most; a constant list may have 10^6 entries (D6), which are two tokens each */
    MAX_BRACKETS = 200,   /* open at once (T6) */
    MAX_DEPTH = 1000,     /* of a tree (T6) */
    MAX_INPUTS = 250000,  /* of one header */
    MAX_KEYWORDS = 1000,  /* of one call: each is compared with all */
    MAX_NAME_BYTES = 1000, /* of one name, before NFC, whose reordering of marks is quadratic in the length of a name */
};

typedef struct Token {
    uint32_t at, n; /* bytes of the text */
    uint32_t line, col, width;
    int16_t kind; /* T_... of parser.y; -1: dropped */
    bool first;   /* on its line */
    bool gap;     /* it, or characters right before it, were reported: no more about it */
    bool spoilt;  /* a string that is not closed, a malformed number: reported; its value is an AST_ERROR */
} Token;

/* What the parser passes about with each symbol: where it stands (columns count from 1, the last one is the first behind it) ...
 */
typedef struct Place {
    int first_line, first_column, last_line, last_column;
} Place;

/* ... and what it means. */
typedef union Semantic {
    Node *node;
    Nodes list;
    AstFunction *function;
    AstKind kind;
    AstOperator op;
    bool flag;
} Semantic;

/* A bracket that was forgotten: it goes before token `before`. */
typedef struct Mend {
    uint32_t before;
    int16_t kind;
} Mend;

typedef struct Parsing {
    Arena *arena;
    Diag *diag;
    const char *file; /* interned */
    const char *text;
    size_t n;

    Token *tokens; /* malloc'ed; the last one is the end of the file */
    size_t n_tokens, cap_tokens;
    Vec(Mend) mends;
    Vec(uint32_t)
        spoilt_headers; /* tokens: the names of functions whose inputs lacked a closer, so that nobody knows what they are */

    /* the filter: what was handed out last and what comes next */
    size_t next, next_mend;
    int start; /* the pseudo-token that chooses what is parsed; 0 once it is handed out */
    char open[MAX_BRACKETS + 1];
    int n_open;
    int before;             /* kind of the token handed out before, separators and mended brackets included; 0 at the start */
    size_t shown, previous; /* indices of the token handed out last, and of the one before that; separators do not count */
    bool separated;         /* whether a separator came between those two */
    bool skipping;          /* after an error: on to the next separator or brace */
    bool ended;             /* by a limit: the end of the file is pretended, in silence */
    Place at;               /* of what was handed out last */
    bool real;              /* whether that is tokens[shown], no separator between lines and no mended bracket */
    uint32_t nodes;         /* made for the declaration in hand */
    int said;               /* errors of the grammar so far */
    int said_lone;          /* lone values reported */
    int quiet_line;         /* lone values on it are part of a slip that was reported */
    bool said_depth;        /* that a tree is too deep: once a file */
    bool said_block;        /* that a block of another language is none: what goes on behind its } is no news */
    bool said_colon;        /* that blocks stand in braces: an `else` without `if` follows from it */
    bool said_top;          /* that statements stand in commands: once a file */

    Ast *ast;
    Node *value; /* of parse_value */
} Parsing;

/* lexer.l: whether this is text at all; if not, that is the one error of the file. */
bool is_text(Parsing *p);
/* Fills p->tokens; reports what is no token. */
void lex(Parsing *p);
/* Adds a token; false when there are too many. */
bool token_add(Parsing *p, Token t);
Loc token_loc(const Parsing *p, const Token *t);

/* tokens.c */
void mend_brackets(Parsing *p);
/* Words of the language: kind of a word, 0 if it is a name like any other; reserved ones cannot be names. */
int word_kind(const char *s, size_t n);
bool word_reserved(int kind);
/* "`for`", "`+`", "a name", "the end of the line": a token kind as messages call it. */
const char *token_kind_text(int kind);
/* Whether a token of this kind can be the end or the beginning of an operand. */
bool ends_operand(int kind);
bool begins_operand(int kind);
/* Whether a separator may stand behind it, where a line ends (T4). */
bool ends_line(int kind);
/* The known word (a declaration's, a statement's, ...) nearest to a name; with_kind may be NULL, or says which kinds are wanted.
 */
const char *word_nearest(const char *name, bool (*wanted)(int kind, const void *data), const void *data);
bool is_word(int kind);

/* values.c: the tree's leaves from the text of a token. */
Node *value_name(Parsing *p, const Token *t);
Node *value_number(Parsing *p, const Token *t);
Node *value_string(Parsing *p, const Token *t);
/* Bytes at the beginning of s[0..n) that make a name (T2); 0 if none do. */
size_t name_length(const char *s, size_t n);
/* The name as the compiler knows it: NFC, µ folded, interned. */
const char *name_intern(Arena *a, const char *s, size_t n);

/* errors.c: the message for a token that does not fit; `expected` are the kinds that would. */
void report_unexpected(Parsing *p, const int *expected, int n_expected);
void report_nesting(Parsing *p, Loc at);
/* What this language has instead of a word that begins a line in others; NULL if it is none. */
const char *habit_of(const char *word);

#endif
