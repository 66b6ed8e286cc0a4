/*
 * errors.c - what is said about a word or sign that does not fit (D2).
 *
 * The parser knows which tokens would fit. From that, and from the tokens around, the message says what is wrong in the user's
 * terms: a slip that people make (a habit of Python or C, a reserved word as a name, `=` in a condition) has a message of its
 * own; otherwise what was found and what was expected, at most five things, and the nearest word that fits there.
 */
#include "tokens.h"

#include "parser.h"

#include <string.h>

enum { MAX_SAID = 1000, MAX_LISTED = 5, MAX_BACK = 5000, MAX_SPOILT = 20000, MAX_TAKEN = 100 };

typedef struct Slip {
    Parsing *p;
    const Token *token; /* the one that does not fit; for the end of a line, the one before it */
    int kind;
    size_t first; /* index of the token that begins its statement */
    const int *expected;
    int n;
} Slip;

static bool expects(const Slip *s, int kind) {
    for (int i = 0; i < s->n; i++)
        if (s->expected[i] == kind) return true;
    return false;
}

static const char *token_text(const Slip *s, const Token *t) {
    return arena_strndup(s->p->arena, s->p->text + t->at, t->n < 60 ? t->n : 60);
}

static bool is(const Slip *s, size_t i, const char *word) {
    const Token *t = &s->p->tokens[i];
    return t->n == strlen(word) && memcmp(s->p->text + t->at, word, t->n) == 0;
}

static Loc loc(const Slip *s) {
    Loc at = {.file = s->p->file, .line = s->p->at.first_line, .col = s->p->at.first_column, .end = s->p->at.last_column};
    if (at.end <= at.col) at.end = at.col + 1;
    return at;
}

static const char *found(const Slip *s) {
    if (s->kind == T_END) return "end of the file";
    if (s->kind == T_SEPARATOR && s->p->real) return "`;`";
    if (!s->p->real) return s->kind == T_SEPARATOR ? "end of the line" : token_kind_text(s->kind);
    if (s->kind == T_STRING) return "string";
    return arena_printf(s->p->arena, "`%s`", token_text(s, s->token));
}

/* The token that begins the statement of token i: back to a line that could begin one, a `;` or a brace. */
static size_t statement_start(const Parsing *p, size_t i) {
    int depth = 0;
    for (size_t k = 0; k < MAX_BACK && i > 0; k++, i--) {
        const Token *t = &p->tokens[i], *before = &p->tokens[i - 1];
        if (t->kind == ')' || t->kind == ']') depth++;
        if ((t->kind == '(' || t->kind == '[') && depth) depth--;
        if (before->kind == T_SEPARATOR || before->kind == '{' || before->kind == '}') return i;
        if (t->first && !depth && ends_line(before->kind) && t->kind != T_PIPE && t->kind != T_THEN && t->kind != T_ELSE)
            return i;
    }
    return i;
}

/* ---- words ---- */

static bool fits(int kind, const void *data) { return expects(data, kind); }

static bool is_declaration_word(int kind, const void *data) {
    (void)data;
    return kind == T_CONST || kind == T_OPTION || kind == T_DATA || kind == T_VOCAB || kind == T_LAYER || kind == T_MODEL ||
           kind == T_PARAM || kind == T_STATE || kind == T_OPTIMIZER || kind == T_COMMAND || kind == T_FN;
}

static bool is_statement_word(int kind, const void *data) {
    (void)data;
    switch (kind) {
    case T_LET:
    case T_PARAM:
    case T_STATE:
    case T_FN:
    case T_FOR:
    case T_IF:
    case T_SCAN:
    case T_REPEAT:
    case T_WHILE:
    case T_RETURN:
    case T_YIELD:
    case T_MINIMIZE:
    case T_UPDATE:
    case T_TRACK:
    case T_KEEP:
    case T_STOP:
    case T_PRINT:
    case T_WRITE:
    case T_SAVE:
    case T_LOAD: return true;
    default: return false;
    }
}

/* Words that begin a line in other languages. */
static const struct Habit {
    const char *word, *instead;
} habits[] = {
    {"def", "a function is `fn f(x) = ...` or `fn f(x) { ... }`"},
    {"function", "a function is `fn f(x) = ...` or `fn f(x) { ... }`"},
    {"func", "a function is `fn f(x) = ...` or `fn f(x) { ... }`"},
    {"lambda", "a function is `fn f(x) = ...`, with a name of its own"},
    {"class", "a network is `layer name(inputs) { ... }`"},
    {"struct", "a network is `layer name(inputs) { ... }`, a set of samples `data name { ... }`"},
    {"import", "nothing is imported: the library is always there"},
    {"include", "nothing is imported: the library is always there"},
    {"from", "nothing is imported: the library is always there"},
    {"elif", "write `else if ... { }`"},
    {"elsif", "write `else if ... { }`"},
    {"var", "`name = value` binds a name"},
    {"mut", "`name = value` binds a name, and binds it again"},
    {"auto", "`name = value` binds a name"},
    {"global", "names of the file are visible everywhere"},
    {"nonlocal", "a name of the block around is bound again by `name = value`"},
    {"pass", "an empty block is `{ }`"},
    {"break", "`stop when lowest loss stalls for 3` ends a loop of a command, `while c max n { }` one that computes"},
    {"continue", "the rest of the body stands in an `if`"},
    {"goto", "loops are `for`, `scan`, `repeat` and `while ... max N { }`"},
    {"raise", "there are no exceptions: what can fail ends the program with a message"},
    {"throw", "there are no exceptions: what can fail ends the program with a message"},
    {"async", "what can run side by side does so by itself"},
    {"await", "what can run side by side does so by itself"},
    {"use", "nothing is imported: the library is always there"},
    {"require", "nothing is imported: the library is always there"},
    {"module", "a file is a program, and nothing is imported"},
    {"package", "a file is a program, and nothing is imported"},
    {"pub", "names of the file are visible everywhere"},
    {"public", "names of the file are visible everywhere"},
    {"static", "what stays from call to call is a `state`"},
    {"typedef", "types have no names"},
    {"enum", "constants are `const a = 0`, `const b = 1`"},
    {"assert", "there are no assertions"},
    {"del", "names end with their block"},
    {"catch", "there are no exceptions: what can fail ends the program with a message"},
    {"except", "there are no exceptions: what can fail ends the program with a message"},
    {"try", "there are no exceptions: what can fail ends the program with a message"},
    {"switch", "write `if ... { } else if ... { }`"},
    {"match", "write `if ... { } else if ... { }`"},
    {"do", "loops are `for`, `scan`, `repeat` and `while ... max N { }`"},
    {"loop", "loops are `for`, `scan`, `repeat` and `while ... max N { }`"},
    {"foreach", "loops are `for`, `scan`, `repeat` and `while ... max N { }`"},
};

static const char *habit(const Slip *s, size_t i) {
    for (size_t k = 0; k < sizeof habits / sizeof *habits; k++)
        if (is(s, i, habits[k].word)) return habits[k].instead;
    return NULL;
}

const char *habit_of(const char *word) {
    for (size_t k = 0; k < sizeof habits / sizeof *habits; k++)
        if (strcmp(habits[k].word, word) == 0) return habits[k].instead;
    return NULL;
}

static bool is_element_type(const Slip *s, size_t i) {
    static const char *const types[] = {"f32", "f64",   "i32",    "i64",     "u8",      "bool",
                                        "int", "float", "double", "float32", "float64", "string"};
    for (size_t k = 0; k < sizeof types / sizeof *types; k++)
        if (is(s, i, types[k])) return true;
    return false;
}

/* ---- the slips that have a message of their own; true if this was one ---- */

static bool say_habit(Slip *s, size_t i, const char *instead) {
    const Token *t = &s->p->tokens[i];
    diag_error(s->p->diag, token_loc(s->p, t), 16, "`%s` is no word of this language: %s", token_text(s, t), instead);
    s->p->quiet_line = s->p->at.first_line;
    return true;
}

/* What stands at the top of programs in other languages, but is no word. */
static bool slip_foreign_top(Slip *s) {
    Parsing *p = s->p;
    const Token *t = s->token, *next = &p->tokens[p->shown + 1]; /* the end of the file is a token */
    const char *say = NULL;
    int code = 16;
    if (s->kind == T_FLOORDIV || (s->kind == '-' && next->kind == '-' && next->at == t->at + 1)) {
        code = 11;
        say = s->kind == '-' ? "comments begin with `#`" : "comments begin with `#`; `//` divides and rounds down";
    } else if (s->kind == '@')
        say = "there are no decorators";
    else if (s->kind == T_LET)
        say = "a value of the whole file is `const n = 3`";
    else if (next->kind == T_NAME && p->tokens[p->shown + 2].kind == '(' &&
             (is(s, p->shown, "void") || is_element_type(s, p->shown)))
        say = "a function is `fn f(x: f32) -> f32 { ... }`: types stand behind the names";
    if (!say) return false;
    diag_error(p->diag, loc(s), code, "%s", say);
    p->said_top |= code == 16;
    return true;
}

static bool slip_at_top(Slip *s) {
    Parsing *p = s->p;
    if (!expects(s, T_COMMAND) || expects(s, T_INT) || expects(s, T_NAME)) return false;
    if (!p->real || s->kind == T_SEPARATOR) return false;
    const char *word = token_text(s, s->token), *instead = habit(s, p->shown), *near = NULL;
    if (instead) {
        p->said_top = true; /* what follows is most likely its body */
        return say_habit(s, p->shown, instead);
    }
    if (slip_foreign_top(s)) return true;
    if (s->kind == T_NAME) near = word_nearest(word, is_declaration_word, NULL);
    if (near) {
        diag_error(p->diag, loc(s), 6, "`%s` begins no declaration; did you mean `%s`?", word, near);
        return true;
    }
    if (!p->said_top)
        diag_error(p->diag, loc(s), 24,
                   "%s where a declaration is expected (const, option, data, fn, layer, model, command, ...): statements stand "
                   "in a command, "
                   "a layer or a fn",
                   found(s));
    p->said_top = true;
    return true;
}

static bool slip_operator(Slip *s) {
    Parsing *p = s->p;
    bool starts_line = p->real && s->token->first && p->shown == s->first;
    switch (s->kind) {
    case T_ASSIGN:
        if (expects(s, T_INT)) return false;
        diag_error(p->diag, loc(s), 10, "`<-` is always one sign, and writes a parameter or state: to compare, write `a < -b`");
        return true;
    case '+':
    case '*':
    case '/':
    case '%':
    case '@':
    case '^':
    case T_OR:
    case T_AND:
    case T_EQ:
    case T_NE:
    case T_LE:
    case T_GE:
    case '<':
    case '>':
    case T_FLOORDIV:
    case T_RANGE:
        if (s->kind == T_FLOORDIV && (starts_line || expects(s, T_COMMAND))) {
            diag_error(p->diag, loc(s), 11, "comments begin with `#`; `//` divides and rounds down");
            return true;
        }
        if (starts_line) {
            diag_error(p->diag, loc(s), 15, "a line cannot begin with %s: an operator stands at the end of the line before",
                       found(s));
            return true;
        }
        if (s->kind == '+' && expects(s, T_INT)) {
            diag_error(p->diag, loc(s), 6, "there is no sign `+`: leave it out");
            return true;
        }
        return false;
    default: return false;
    }
}

/* An `if`, `while`, ... before the token in its statement; its index, or SIZE_MAX. */
static size_t header_before(const Slip *s, int kind) {
    for (size_t i = s->p->shown; i-- > s->first;)
        if (s->p->tokens[i].kind == kind) return i;
    return SIZE_MAX;
}

static bool slip_block(Slip *s) {
    Parsing *p = s->p;
    const Token *t = s->token;
    int first = p->tokens[s->first].kind;
    if (s->kind == '=') {
        if (first == T_IF || first == T_WHILE || header_before(s, T_IF) != SIZE_MAX) {
            diag_error(p->diag, loc(s), 14, "`=` binds a name: to compare, write `==`");
            return true;
        }
        int before = p->shown ? p->tokens[p->shown - 1].kind : 0;
        if (word_reserved(before)) {
            diag_error(p->diag, token_loc(p, &p->tokens[p->shown - 1]), 12, "%s is a word of the language and cannot be a name",
                       token_kind_text(before));
            return true;
        }
        for (size_t i = s->first; i < p->shown; i++) {
            if (p->tokens[i].kind != '=') continue;
            diag_error(p->diag, loc(s), 14, "a second `=` in one statement: to compare, write `==`");
            return true;
        }
        return false;
    }
    if (s->kind == ':' && p->real && p->tokens[p->shown + 1].first) {
        if (first == T_IF || first == T_FOR || first == T_WHILE || first == T_ELSE || first == T_SCAN || first == T_REPEAT ||
            habit(s, s->first) || is_declaration_word(first, NULL)) {
            diag_error(p->diag, loc(s), 16, "blocks stand in braces: `{ ... }`, not behind `:`");
            p->said_colon = true;
            return true;
        }
    }
    if (s->kind == '{' && expects(s, T_THEN)) {
        diag_error(p->diag, loc(s), 14, "in an expression write `if c then a else b`; `if c { }` is a statement");
        p->quiet_line = p->at.first_line; /* the values in the braces are no statements: once is enough */
        return true;
    }
    if (s->kind == T_ELSE && (!expects(s, T_INT) || expects(s, T_RETURN))) {
        if (!p->said_colon) diag_error(p->diag, loc(s), 6, "this `else` has no `if c { }` before it");
        return true;
    }
    if ((s->kind == T_SEPARATOR || s->kind == '}' || s->kind == ')') && expects(s, T_ELSE) &&
        header_before(s, T_THEN) != SIZE_MAX) {
        diag_error(p->diag, loc(s), 6, "an `if` in an expression needs an `else`: `if c then a else b`");
        return true;
    }
    if (s->kind == '(' && p->shown && p->tokens[p->shown - 1].kind == T_FOR) {
        diag_error(p->diag, loc(s), 16, "a loop is written `for i in 0..n { ... }`");
        p->quiet_line = p->at.first_line;
        return true;
    }
    if (expects(s, T_INT) &&
        (s->kind == T_IF || s->kind == T_NOT || s->kind == T_SCAN || s->kind == T_REPEAT || s->kind == T_WHILE)) {
        diag_error(p->diag, loc(s), 6, "`%s` as a part of an expression stands in parentheses", token_text(s, t));
        return true;
    }
    return false;
}

/* `y = a +` and then a line that is no operand, but a statement of its own: the slip is the end of the line before. */
static bool slip_unfinished(Slip *s) {
    Parsing *p = s->p;
    if (!p->real || p->separated) return false;
    size_t j = p->shown;
    bool statement = s->token->first && word_reserved(s->kind) && is_statement_word(s->kind, NULL);
    if (s->kind != '=' && s->kind != ':' && s->kind != T_ASSIGN && !begins_operand(s->kind) && !statement) return false;
    while (j > s->first && j + 3 > p->shown && !p->tokens[j].first) j--;
    if (j <= s->first || !p->tokens[j].first || (j == p->shown && !statement)) return false;
    const Token *last = &p->tokens[j - 1];
    if (ends_line(last->kind) || last->kind == '{' || last->kind == ',') return false;
    if (last->kind == '-' && last[-1].kind == '-' && last[-1].at + 1 == last->at) {
        diag_error(p->diag, token_loc(p, last - 1), 11, "there is no `--`: write `x = x - 1`");
        return true;
    }
    diag_error(p->diag, token_loc(p, last), 6, "the line ends behind `%s`: expected an expression", token_text(s, last));
    return true;
}

/* Words that begin a statement in other languages: `try {`, `lambda x`, `} elif`. */
static bool slip_habit(Slip *s) {
    Parsing *p = s->p;
    if (!p->real || !p->shown) return false;
    int before = p->tokens[p->shown - 1].kind;
    if (before == '}' && !p->separated && !s->token->first) {
        if (p->said_block && (s->kind == T_WHILE || habit(s, p->shown))) return true; /* `} while (c)`, `} catch { }` */
        if (habit(s, p->shown)) return say_habit(s, p->shown, habit(s, p->shown));
    }
    if (s->kind == '\'' || s->kind == '.' || s->kind == ',') return false;
    if (p->shown == s->first + 1 && habit(s, s->first) && !p->separated) {
        p->said_block = s->kind == '{';
        return say_habit(s, s->first, habit(s, s->first));
    }
    if (before == T_NAME && is(s, p->shown - 1, "lambda")) return say_habit(s, p->shown - 1, habit(s, p->shown - 1));
    return false;
}

/* `if` and `in` where other languages have them: behind an operand. */
static bool slip_infix(Slip *s) {
    Parsing *p = s->p;
    if (p->real && p->shown && p->tokens[p->shown - 1].kind == T_FLOORDIV && word_reserved(s->kind)) {
        diag_error(p->diag, token_loc(p, &p->tokens[p->shown - 1]), 11, "comments begin with `#`; `//` divides and rounds down");
        return true;
    }
    if (!p->real || p->separated || !p->shown || s->token->first || !ends_operand(p->tokens[p->shown - 1].kind)) return false;
    const char *say = NULL;
    if (s->kind == T_IF)
        say = expects(s, ']') ? "a list has no condition: `if` chooses between values, as in `[if c then a else b for i in 0..n]`"
                              : "write `if c then a else b`";
    else if (s->kind == T_IN || (s->kind == T_NOT && p->tokens[p->shown + 1].kind == T_IN))
        say = header_before(s, T_FOR) == SIZE_MAX ? "`in` stands in loops: compare with `==`" : NULL;
    else if (s->kind == T_NAME && is(s, p->shown, "is"))
        say = "write `==` for `is`";
    else if (expects(s, T_THEN) && begins_operand(s->kind) && s->kind != '(' && s->kind != '[' && !expects(s, '{'))
        say = "an `if` in an expression needs a `then`: `if c then a else b`";
    if (!say) return false;
    diag_error(p->diag, loc(s), 16, "%s", say);
    return true;
}

/* Signs that open something else in other languages: `{1, 2}`, `(a, b)`, `f(*x)`, `f32<2>`, `fn f(x): f32`. */
static bool slip_sign(Slip *s) {
    Parsing *p = s->p;
    int first = p->tokens[s->first].kind, before = p->shown ? p->tokens[p->shown - 1].kind : 0;
    const char *say = NULL;
    if (!p->real) return false;
    bool value = before == '=' || before == '(' || before == '[' || before == ',' || before == T_RETURN || before == T_PRINT;
    if (s->kind == '{' && expects(s, T_INT) && !p->separated && (value || before == T_THEN)) {
        say = before == T_THEN ? "`if c { }` is a statement, without `then`; `if c then a else b` has no braces"
                               : "`{` begins a block: a list of values is written [1, 2]";
        p->quiet_line = p->at.first_line;
    } else if (s->kind == ',' && expects(s, ')') && !expects(s, ':') && !expects(s, T_INT)) {
        say = first == T_PRINT || first == T_TRACK
                  ? (first == T_PRINT ? "`print a, b` has no parentheses" : "`track a, b` has no parentheses")
                  : "parentheses hold one value: several stand without them, as in `a, b = f(x)`, and a list is written [1, 2]";
    } else if ((s->kind == '*' || s->kind == '^') && (before == '(' || before == ',') &&
               (expects(s, T_NAME) || expects(s, T_INT))) {
        say = "nothing is packed or unpacked: inputs are named one by one";
    } else if (s->kind == '<' && before == T_NAME && is_element_type(s, p->shown - 1)) {
        say = "dimensions stand in brackets: f32[2, 3]";
    } else if (s->kind == ':' && before == ')' && expects(s, T_ARROW)) {
        say = "the type of a result stands behind `->`: fn f(x: f32) -> f32";
    } else if (before == ')' && p->shown >= 3 && p->tokens[p->shown - 3].kind == '(' && is_element_type(s, p->shown - 2) &&
               begins_operand(s->kind) && s->kind != '(' && s->kind != '[') {
        say = "a conversion is written as a call: f32(x), i32(x)";
    }
    if (say) diag_error(p->diag, loc(s), 16, "%s", say);
    return say != NULL;
}

/* A word that begins a statement, and not what goes on with it. */
static bool slip_word(Slip *s) {
    Parsing *p = s->p;
    if (p->shown != s->first + 1 || !p->real || p->separated) return false;
    const char *rest = p->tokens[s->first].kind == T_KEEP ? "`lowest` or `highest` and a name that is tracked"
                       : p->tokens[s->first].kind == T_STOP
                           ? "`when lowest` or `when highest`, as in `stop when lowest loss stalls for 3`"
                           : NULL;
    if (!rest || !begins_operand(s->kind) || s->kind == '(' || s->kind == '[') return false;
    const char *near = s->kind == T_NAME ? word_nearest(token_text(s, s->token), fits, s) : NULL;
    if (near) return false;
    diag_error(p->diag, loc(s), 6, "unexpected %s: behind `%s` stands %s", found(s), token_text(s, &p->tokens[s->first]), rest);
    return true;
}

/* A reserved word where a name must stand. */
static bool slip_reserved(Slip *s) {
    Parsing *p = s->p;
    if (!word_reserved(s->kind)) return false;
    bool name = expects(s, T_NAME) && !expects(s, T_INT);
    int next = p->tokens[p->shown + 1].kind;
    bool like_name = expects(s, T_INT) && (next == '=' || next == ',' || next == ')' || next == T_PIPE || next == ']') &&
                     !p->tokens[p->shown + 1].first;
    if (!name && !like_name) return false;
    diag_error(p->diag, loc(s), 12, "`%s` is a word of the language and cannot be a name", token_text(s, s->token));
    return true;
}

/* Two operands side by side. */
static bool slip_juxtaposed(Slip *s) {
    Parsing *p = s->p;
    if (!p->real || p->separated || !p->shown) return false;
    size_t i = p->shown - 1;
    const Token *before = &p->tokens[i];
    if (!ends_operand(before->kind)) return false;
    if (s->kind == T_STRING && before->kind == T_NAME && before->n == 1 && before->at + 1 == s->token->at) {
        diag_error(p->diag, token_loc(p, before), 16,
                   "a string has no letter before it: {name} stands for a value in any string");
        return true;
    }
    bool misspelt = s->kind == T_NAME && word_nearest(token_text(s, s->token), fits, s);
    if ((before->kind == T_INT || before->kind == T_FLOAT) && !misspelt && (s->kind == '(' || s->kind == T_NAME)) {
        diag_error(p->diag, loc(s), 20, "a product is written with `*`: `%s * %s`", token_text(s, before),
                   s->kind == '(' ? "(...)" : token_text(s, s->token));
        return true;
    }
    if ((before->kind == T_INT || before->kind == T_FLOAT || before->kind == T_STRING) &&
        (s->kind == '\'' || s->kind == '.' || s->kind == '(' || s->kind == '[')) {
        diag_error(p->diag, loc(s), 20, "%s stands alone: `%s` cannot follow it",
                   before->kind == T_STRING ? "a string" : "a number", token_text(s, s->token));
        return true;
    }
    if (!begins_operand(s->kind)) return false;
    if (habit(s, s->first)) return say_habit(s, s->first, habit(s, s->first));
    if (i == s->first && is_element_type(s, i)) {
        diag_error(p->diag, token_loc(p, before), 16, "a type stands behind its name: `%s: %s = ...`", token_text(s, s->token),
                   token_text(s, before));
        return true;
    }
    if (i == s->first && is_declaration_word(before->kind, NULL) && !expects(s, T_NAME)) {
        diag_error(p->diag, token_loc(p, before), 24,
                   "`%s` begins a declaration: it stands at the top of the file, not in a block", token_text(s, before));
        return true;
    }
    for (size_t k = s->first; k < p->shown; k++)
        if (p->tokens[k].kind == T_FLOORDIV && p->tokens[k].line == s->token->line) {
            diag_error(p->diag, token_loc(p, &p->tokens[k]), 11, "comments begin with `#`; `//` divides and rounds down");
            return true;
        }
    const char *near = s->kind == T_NAME ? word_nearest(token_text(s, s->token), fits, s) : NULL;
    if (near) {
        diag_error(p->diag, loc(s), 6, "unexpected `%s`; did you mean `%s`?", token_text(s, s->token), near);
        return true;
    }
    near = i == s->first && before->kind == T_NAME ? word_nearest(token_text(s, before), is_statement_word, NULL) : NULL;
    if (near) {
        diag_error(p->diag, token_loc(p, before), 6, "`%s` begins no statement; did you mean `%s`?", token_text(s, before), near);
        return true;
    }
    return false;
}

/* ---- what was expected ---- */

static bool operator_kind(int kind) {
    return (kind > 0 && kind < 128 && strchr("+-*/%@^<>.'[(", kind)) || kind == T_PIPE || kind == T_EQ || kind == T_NE ||
           kind == T_LE || kind == T_GE || kind == T_FLOORDIV || kind == T_RANGE || kind == T_AND || kind == T_OR;
}

static const char *expectation(const Slip *s) {
    const char *listed[MAX_LISTED];
    int n = 0;
    bool expression = expects(s, T_INT), statement = expects(s, T_RETURN),
         declaration = expects(s, T_COMMAND) && !expects(s, T_NAME);
    bool name = expects(s, T_NAME) && !expression, operand_before = expects(s, '+');
    int before = s->p->tokens[s->p->shown ? s->p->shown - 1 : 0].kind; /* in a block the word of a declaration may be a name */
    if (name && s->p->real && (before == T_LET || is_declaration_word(before, NULL))) return "a name";
    if (statement)
        listed[n++] = "a statement";
    else if (expression)
        listed[n++] = "an expression";
    else if (declaration)
        listed[n++] = "a declaration";
    else if (name)
        listed[n++] = "a name";
    for (int pass = 0; pass < 2; pass++) { /* signs first, then words */
        for (int i = 0; i < s->n && n < MAX_LISTED; i++) {
            int kind = s->expected[i];
            if (is_word(kind) != (pass == 1)) continue;
            if (kind == T_END || kind == T_BAD || kind == T_NAME || (kind == '}' && expects(s, T_SEPARATOR))) continue;
            if (operand_before && operator_kind(kind)) continue;
            if ((kind == '[' || kind == '.') && expects(s, '.') && n + 1 < s->n) continue;
            if (expression && (begins_operand(kind) || kind == '-' || kind == T_FN || (word_reserved(kind) && kind != T_THEN)))
                continue;
            if (statement && is_statement_word(kind, NULL)) continue;
            if (name && is_word(kind) && !word_reserved(kind)) continue;
            if (declaration && (is_declaration_word(kind, NULL))) continue;
            listed[n++] = token_kind_text(kind);
        }
    }
    if (!n && operand_before) listed[n++] = "an operator";
    Text t = {0};
    for (int i = 0; i < n; i++) text_printf(s->p->arena, &t, "%s%s", i == 0 ? "" : i == n - 1 ? " or " : ", ", listed[i]);
    return n ? text_str(s->p->arena, &t) : NULL;
}

static const char *name_text(Parsing *p, const Token *t) { return name_intern(p->arena, p->text + t->at, t->n); }

static void add_spoilt(Parsing *p, const Token *name) {
    if (p->ast->spoilt.n < MAX_SPOILT) vec_push(p->arena, &p->ast->spoilt, name_text(p, name));
}

static void add_mentioned(Parsing *p, const Token *name) {
    if (p->ast->mentioned.n < MAX_SPOILT) vec_push(p->arena, &p->ast->mentioned, name_text(p, name));
}

static void add_beside(Parsing *p, const Token *name) {
    if (p->ast->beside.n < MAX_SPOILT) vec_push(p->arena, &p->ast->beside, name_text(p, name));
}

/* A statement whose header cannot be read takes its body with it: what that binds and tracks. */
static void spoil_block(Parsing *p, const Token *t, const Token *end) {
    while (t < end && t->kind != '{') t++;
    if (t == end) return;
    int depth = 0;
    bool tracks = false;
    for (size_t n = 0; t->kind != T_END && n < MAX_BACK; t++, n++) {
        depth += t->kind == '{' ? 1 : t->kind == '}' ? -1 : 0;
        if (t->kind == T_TRACK || t->first) tracks = t->kind == T_TRACK;
        if (t->kind == T_NAME && (t->first || tracks)) add_spoilt(p, t);
        if (t->kind == T_NAME) add_mentioned(p, t);
        if (depth == 0) return;
    }
}

/* `option a =` takes the next line with it: what that declares or binds. */
static void spoil_lines(Parsing *p, const Token *t, const Token *end) {
    for (; t < end && t->kind != T_END; t++) {
        if (t->first && is_declaration_word(t->kind, NULL) && t[1].kind == T_NAME) add_spoilt(p, t + 1);
        bool several = t->first && (t->kind == T_PARAM || t->kind == T_STATE) && t[1].kind == T_NAME;
        for (const Token *k = t + 2; several && k->kind == ',' && k[1].kind == T_NAME; k += 2) add_spoilt(p, k + 1);
        if (t->first && t->kind == T_NAME && t[1].kind == '=') add_spoilt(p, t);
    }
}

/* Behind a `;` in the middle of a statement another may begin, which is taken with it: what that binds. */
static void spoil_rest(Parsing *p, const Token *t) {
    const Token *name = t;
    for (uint32_t line = t[-1].line; t->line == line && t->kind != T_SEPARATOR && t->kind != T_END; t++)
        for (; t->kind == '=' && name < t; name++)
            if (name->kind == T_NAME) add_spoilt(p, name);
}

/* A statement that lacks the very name it binds: `param : f32[4] = 0`, `let = x`, `a, = f(x)`, `fn (x)`, ` = x`. */
static bool nameless(const Slip *s) {
    if ((s->kind == '=' || s->kind == ',') && s->p->shown == s->first) return true;
    if (s->p->shown == 0 || s->p->shown == s->first) return false;
    int before = s->p->tokens[s->p->shown - 1].kind;
    if ((s->kind == '=' || s->kind == ':') && before == ',') return true;
    if ((s->kind == ':' && before == '(') || (s->kind == ',' && before == T_FOR)) return true;
    return (s->kind == '=' || s->kind == ':' || s->kind == '(' || s->kind == '[' || s->kind == '{') &&
           (before == T_LET || is_declaration_word(before, NULL));
}

/* What the statement would have bound: the names of its declaration, left of its `=`, of its loop, behind `track`. */
static void note_spoilt(const Slip *s) {
    Parsing *p = s->p;
    const Token *first = &p->tokens[s->first], *end = first, *last = &p->tokens[p->n_tokens - 1];
    if (!p->ast || first == last) return;
    bool lacks_name = nameless(s);
    p->ast->nameless += lacks_name;
    while (end < last && end->line == first->line && end < first + MAX_BACK) end++;
    for (const Token *t = first; t < end; t++) {
        if (t->kind == T_NAME) add_mentioned(p, t);
        if (t->kind == T_NAME && first->kind == T_TRACK && t[1].kind == '=') add_spoilt(p, t);
    }
    for (const Token *t = first; lacks_name && t < end && t->kind != T_SEPARATOR && t->kind != '{' && t->kind != '}'; t++)
        if (t->kind == T_NAME) add_beside(p, t);
    bool declares = is_declaration_word(first->kind, NULL) || first->kind == T_NAME || first->kind == T_LET; /* `def f` binds f */
    if (declares && first[1].kind == T_NAME) add_spoilt(p, first + 1);
    if (declares && first + 1 < last && is_declaration_word(first[1].kind, NULL) && first[2].kind == T_NAME)
        add_spoilt(p, first + 2);
    if (first->kind == T_NAME && expects(s, T_COMMAND) && !expects(s, T_INT)) add_spoilt(p, first); /* at the top */
    for (const Token *t = first; t + 1 < end && t->kind == T_NAME && t[1].kind != '('; t += 2) {    /* `a, b c()`, `a: f32` */
        add_spoilt(p, t);
        if (t[1].kind != ',') break;
    }
    for (const Token *t = first + 1; first->kind == T_FOR && t->kind != T_IN && t < end; t++)
        if (t->kind == T_NAME) add_spoilt(p, t);
    const Token *equals = first;
    while (equals < end && equals->kind != '=') equals++;
    for (const Token *t = first; equals < end && t < equals; t++)
        if (t->kind == T_NAME) add_spoilt(p, t);
    if (s->kind == ';') spoil_rest(p, &p->tokens[p->next]);
    spoil_block(p, first, end);
    size_t from = s->first + 1, to = p->shown + 2 < p->n_tokens ? p->shown + 2 : p->n_tokens - 1;
    spoil_lines(p, &p->tokens[from + MAX_TAKEN < to ? to - MAX_TAKEN : from], &p->tokens[to]);
}

/* Whether one of the words of a loop over data stands in the statement. */
static bool over_data(const Slip *s) {
    for (const Token *t = &s->p->tokens[s->first]; t->kind != T_END && t->kind != '{' && t->line == s->p->tokens[s->first].line;
         t++)
        if (t->kind == T_BATCH || t->kind == T_SHUFFLE || t->kind == T_RESAMPLE || t->kind == T_LANES || t->kind == T_DROP_LAST)
            return true;
    return false;
}

/* What is written otherwise inside an expression or a header. */
static void note_inside(const Slip *s) {
    const Parsing *p = s->p;
    int before = p->shown ? p->tokens[p->shown - 1].kind : 0;
    const char *note = NULL;
    if (!p->real) return;
    if (s->kind == T_FOR && expects(s, T_INT))
        note = "the loop that has a value is `scan`: ys = scan xt in x along 1 { yield xt }; a list is [f(i) for i in 0..n]";
    else if (s->kind == ':' && expects(s, ']') && header_before(s, ':') != SIZE_MAX)
        note = "a slice is a:b, every place of it: there are no steps";
    else if (s->kind == '(' && before == T_NAME && is_element_type(s, p->shown - 1) && !expects(s, T_INT))
        note = "the dimensions of a type stand in brackets: f32[B, 10]";
    if (note) diag_note(p->diag, (Loc){0}, "%s", note);
}

/* How a statement is written that lacks one of its words. */
static void note_form(const Slip *s) {
    static const struct Form {
        int word;
        const char *form;
        int wanted[2];
    } forms[] = {
        {T_MINIMIZE, "minimize loss over net using adam[0.001]", {T_OVER, T_USING}},
        {T_UPDATE, "update net with grad(loss, net) using adam[0.001]", {T_WITH, T_USING}},
        {T_SAVE, "save net to \"net.safetensors\"", {T_TO, T_TO}},
        {T_LOAD, "load net from \"net.safetensors\"", {T_FROM, T_FROM}},
        {T_WRITE, "write x to \"x.npy\"", {T_TO, T_TO}},
        {T_WHILE, "while x > 1 max 100 { }: the bound is part of it", {T_MAX, T_MAX}},
        {T_KEEP, "keep lowest loss", {T_LOWEST, T_HIGHEST}},
        {T_STOP, "stop when lowest loss stalls for 3", {T_LOWEST, T_WHEN}},
        {T_STOP, "stop when lowest loss stalls for 3", {T_STALLS, T_STALLS}},
        {T_PARAM, "param w: f32[3, 4] = 0, with a type and a first value", {':', '='}},
        {T_STATE, "state n: f32 = 0, with a type and a first value", {':', '='}},
    };
    int first = s->p->tokens[s->first].kind;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (first == forms[i].word && (expects(s, forms[i].wanted[0]) || expects(s, forms[i].wanted[1]))) {
            diag_note(s->p->diag, (Loc){0}, "it is written: %s", forms[i].form);
            break;
        }
    if (first == T_FOR && over_data(s))
        diag_note(s->p->diag, (Loc){0}, "it is written: for x, y in set batch 32 shuffle { }");
    else if (first == T_FOR && (s->kind == '=' || s->kind == ':' || s->kind == T_REST || is(s, s->p->shown, "of")))
        diag_note(s->p->diag, (Loc){0}, "it is written: for i in 0..10 { }, from 0 to 9");
    if (first == T_IF && expects(s, '{') && expects(s, T_THEN))
        diag_note(s->p->diag, (Loc){0}, "it is written: if c { }, or as an expression: if c then a else b");
    note_inside(s);
}

/* Whether the slip is a bracket of this very statement, which was said: one that was thrown away, or one that was put in. */
static bool bracket_said(const Slip *s) {
    const Parsing *p = s->p;
    size_t end = s->first + 1;
    if (p->tokens[s->first].kind == -1) return true;
    for (; end < p->n_tokens && end < s->first + MAX_BACK && !p->tokens[end].first; end++) {
        int kind = p->tokens[end].kind;
        if (kind == -1) return true;
        if (kind == '{' || kind == '}' || kind == T_SEPARATOR) break;
    }
    for (size_t i = 0; i < p->mends.n && p->mends.at[i].before <= end; i++)
        if (p->mends.at[i].before > s->first && p->mends.at[i].kind != '{' && p->mends.at[i].kind != '}') return true;
    return false;
}

void report_unexpected(Parsing *p, const int *expected, int n_expected) {
    Slip s = {.p = p, .kind = p->before, .expected = expected, .n = n_expected};
    bool boundary = s.kind == T_SEPARATOR || s.kind == '{' || s.kind == '}' || s.kind == T_END;
    p->skipping = !boundary;
    if (p->ended) return;
    if (++p->said > MAX_SAID) {
        p->ended = true;
        return;
    }
    s.token = &p->tokens[p->shown];
    s.first = statement_start(p, p->shown);
    note_spoilt(&s);
    const Token *next = p->real ? s.token : &p->tokens[p->next < p->n_tokens ? p->next : p->n_tokens - 1];
    if (s.kind == T_BAD || s.token->spoilt || next->gap) return; /* the scanner has said so */
    if (p->at.first_line == p->quiet_line) return;
    if (p->real && p->shown > 0 && p->tokens[p->shown - 1].kind == -1)
        return; /* behind a bracket that was thrown away, and said to be wrong */
    if (bracket_said(&s)) return;
    if (slip_unfinished(&s) || slip_at_top(&s) || slip_sign(&s) || slip_operator(&s) || slip_habit(&s) || slip_word(&s) ||
        slip_reserved(&s) || slip_infix(&s) || slip_block(&s) || slip_juxtaposed(&s))
        return;
    /* the slip is the bracket, or the number, and was said */
    if (diag_errors(p->diag) < 100 && (diag_said(p->diag, loc(&s), 7) || diag_said(p->diag, loc(&s), 4))) return;
    const char *list = expectation(&s), *what = found(&s);
    Loc at = loc(&s);
    if (p->real && s.kind == '}' && s.token->first && p->shown > 0) { /* what is missing is missing on the line before */
        const Token *last = &p->tokens[p->shown - 1];
        what = "end of the line";
        s.first = statement_start(p, p->shown - 1);
        at.line = last->line;
        at.col = last->col + last->width;
        at.end = at.col + 1;
    }
    if (list)
        diag_error(p->diag, at, 6, "unexpected %s: expected %s", what, list);
    else
        diag_error(p->diag, at, 6, "unexpected %s", what);
    note_form(&s);
}
