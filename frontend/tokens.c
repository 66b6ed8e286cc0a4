/*
 * tokens.c - between lexer.l and parser.y: makes separators, mends brackets, and skips after an error.
 *
 * Separators (rule T4). One stands before a token that is first on its line if the innermost open bracket is neither ( nor [, the
 * token before can end a line, and the token itself does not go on with what came before (|> then else -> {). Several are one;
 * none is handed out at the start of a block or before its end, so the grammar knows them between statements only.
 *
 * Brackets (D1). A forgotten bracket must be one message, and must not swallow the lines behind it. Where all brackets of a file
 * match, nothing is done. Where they do not, a naive matching, in which } closes whatever ( and [ are open inside its block and
 * layout decides between blocks, tells which openers have no partner; each is reported where it stands, and closed before the
 * first line that cannot belong to it:
 *
 *     y = f(a, b            `(` is never closed: a `)` is put before z
 *     z = 1
 *
 * After an error the parser throws away its token and takes the next: skip() then goes on to the next separator or brace of the
 * same level, so that recovery is by statement, field or declaration, never inside an expression.
 */
#include "tokens.h"

#include "parser.h"

#include <stdlib.h>
#include <string.h>

/* Sorted. Reserved words come as themselves wherever they stand; the others are words only in their place. */
static const struct Word {
    const char *text;
    int kind;
    bool reserved;
} words[] = {
    {"along", T_ALONG, false},
    {"and", T_AND, true},
    {"backwards", T_BACKWARDS, false},
    {"batch", T_BATCH, false},
    {"command", T_COMMAND, false},
    {"const", T_CONST, false},
    {"data", T_DATA, false},
    {"drop_last", T_DROP_LAST, false},
    {"else", T_ELSE, true},
    {"false", T_FALSE, true},
    {"fn", T_FN, true},
    {"for", T_FOR, true},
    {"from", T_FROM, false},
    {"highest", T_HIGHEST, false},
    {"if", T_IF, true},
    {"in", T_IN, true},
    {"keep", T_KEEP, false},
    {"lanes", T_LANES, false},
    {"layer", T_LAYER, false},
    {"let", T_LET, false},
    {"load", T_LOAD, false},
    {"lowest", T_LOWEST, false},
    {"max", T_MAX, false},
    {"minimize", T_MINIMIZE, true},
    {"model", T_MODEL, false},
    {"not", T_NOT, true},
    {"optimizer", T_OPTIMIZER, false},
    {"option", T_OPTION, false},
    {"or", T_OR, true},
    {"over", T_OVER, false},
    {"param", T_PARAM, false},
    {"print", T_PRINT, true},
    {"repeat", T_REPEAT, true},
    {"resample", T_RESAMPLE, false},
    {"return", T_RETURN, true},
    {"save", T_SAVE, false},
    {"scan", T_SCAN, true},
    {"shuffle", T_SHUFFLE, false},
    {"stalls", T_STALLS, false},
    {"state", T_STATE, false},
    {"stop", T_STOP, false},
    {"then", T_THEN, true},
    {"to", T_TO, false},
    {"track", T_TRACK, true},
    {"true", T_TRUE, true},
    {"update", T_UPDATE, false},
    {"using", T_USING, false},
    {"vocab", T_VOCAB, false},
    {"when", T_WHEN, false},
    {"while", T_WHILE, true},
    {"with", T_WITH, false},
    {"write", T_WRITE, true},
    {"yield", T_YIELD, true},
};
enum { N_WORDS = sizeof words / sizeof *words, LONGEST_WORD = 9 };

int word_kind(const char *s, size_t n) {
    if (n > LONGEST_WORD) return 0;
    for (size_t lo = 0, hi = N_WORDS; lo < hi;) {
        size_t mid = (lo + hi) / 2;
        int order = strncmp(s, words[mid].text, n);
        if (order == 0) order = words[mid].text[n] ? -1 : 0;
        if (order == 0) return words[mid].kind;
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return 0;
}

bool word_reserved(int kind) {
    for (size_t i = 0; i < N_WORDS; i++)
        if (words[i].kind == kind) return words[i].reserved;
    return false;
}

bool is_word(int kind) {
    for (size_t i = 0; i < N_WORDS; i++)
        if (words[i].kind == kind) return true;
    return false;
}

const char *word_nearest(const char *name, bool (*wanted)(int kind, const void *data), const void *data) {
    const char *known[N_WORDS];
    size_t n = 0;
    for (size_t i = 0; i < N_WORDS; i++)
        if (!wanted || wanted(words[i].kind, data)) known[n++] = words[i].text;
    return diag_nearest(name, known, n);
}

const char *token_kind_text(int kind) {
    for (size_t i = 0; i < N_WORDS; i++)
        if (words[i].kind == kind) return intern_printf("`%s`", words[i].text);
    switch (kind) {
    case T_END: return "the end of the file";
    case T_SEPARATOR: return "the end of the line";
    case T_NAME: return "a name";
    case T_INT:
    case T_FLOAT: return "a number";
    case T_STRING: return "a string";
    case T_PIPE: return "`|>`";
    case T_ASSIGN: return "`<-`";
    case T_ARROW: return "`->`";
    case T_EQ: return "`==`";
    case T_NE: return "`!=`";
    case T_LE: return "`<=`";
    case T_GE: return "`>=`";
    case T_FLOORDIV: return "`//`";
    case T_RANGE: return "`..`";
    case T_REST: return "`...`";
    default: return kind > 0 && kind < 128 ? intern_printf("`%c`", kind) : "this";
    }
}

bool ends_operand(int kind) {
    return kind == T_NAME || kind == T_INT || kind == T_FLOAT || kind == T_STRING || kind == T_TRUE || kind == T_FALSE ||
           kind == ')' || kind == ']' || kind == '\'' || (is_word(kind) && !word_reserved(kind));
}

bool begins_operand(int kind) {
    return kind == T_NAME || kind == T_INT || kind == T_FLOAT || kind == T_STRING || kind == T_TRUE || kind == T_FALSE ||
           kind == '(' || kind == '[' || (is_word(kind) && !word_reserved(kind));
}

bool token_add(Parsing *p, Token t) {
    if (p->n_tokens >= MAX_TOKENS && t.kind != T_END) {
        diag_error(p->diag, token_loc(p, &t), 2, "more than %d words and signs in one file", MAX_TOKENS);
        p->ended = true; /* half a program would only give errors that follow from this one */
        return false;
    }
    if (p->n_tokens == p->cap_tokens) {
        p->cap_tokens = p->cap_tokens ? p->cap_tokens * 2 : 1024;
        p->tokens = realloc(p->tokens, p->cap_tokens * sizeof *p->tokens);
        if (!p->tokens) {
            fputs("nnc: out of memory\n", stderr);
            exit(1);
        }
    }
    p->tokens[p->n_tokens++] = t;
    return true;
}

/* ---- brackets ---- */

static bool opens(int kind) { return kind == '(' || kind == '[' || kind == '{'; }
static bool closes(int kind) { return kind == ')' || kind == ']' || kind == '}'; }
static int closer_of(int kind) { return kind == '(' ? ')' : kind == '[' ? ']' : '}'; }

/* Whether the brackets of the file nest properly: the common case, told in one cheap walk. */
static bool balanced(const Parsing *p) {
    char stack[MAX_BRACKETS];
    int depth = 0;
    for (size_t i = 0; i < p->n_tokens; i++) {
        int kind = p->tokens[i].kind;
        if (opens(kind)) {
            if (depth == MAX_BRACKETS) return true; /* too deep: the filter says so */
            stack[depth++] = (char)closer_of(kind);
        } else if (closes(kind)) {
            if (!depth || stack[--depth] != kind) return false;
        }
    }
    return depth == 0;
}

typedef struct Open {
    size_t token;
    uint32_t indent;    /* column in which its line begins */
    uint32_t statement; /* column in which its statement begins, which may be lines before; inside ( and [ the same as indent */
    bool header;        /* a { behind something on its line */
    bool loop;          /* a ( or [ in which a loop begins, whose block may follow */
} Open;

typedef struct Mending {
    Parsing *p;
    Open open[MAX_BRACKETS];
    int n;
    long budget;         /* for looking ahead, so that no file takes quadratic time */
    uint32_t quiet_line; /* a string that was not closed on this line has swallowed its brackets */
} Mending;

static void insert(Parsing *p, size_t before, int kind) {
    Mend m = {(uint32_t)before, (int16_t)kind};
    vec_push(p->arena, &p->mends, m);
}

/* Whether a bracket stands in the header of a function: then the header is taken as spoilt. */
static void note_header(Parsing *p, size_t opener) {
    for (size_t i = opener, k = 0; i-- > 0 && k < 200; k++) {
        int kind = p->tokens[i].kind;
        if (kind == '{' || kind == '}' || kind == '=' || kind == T_SEPARATOR) return;
        if (kind != T_FN && kind != T_LAYER && kind != T_COMMAND && kind != T_OPTIMIZER) continue;
        if (i + 1 < opener) vec_push(p->arena, &p->spoilt_headers, (uint32_t)i + 1);
        return;
    }
}

/* A closer that closes nothing, or the wrong thing: what its line declares or binds is not known then. */
static void note_stray(Parsing *p, size_t i) {
    size_t first = i;
    while (first > 0 && !p->tokens[first].first) first--;
    if (is_word(p->tokens[first].kind) && first + 1 < i) vec_push(p->arena, &p->spoilt_headers, (uint32_t)first + 1);
    for (size_t k = first; p->ast && k < i && k < first + 2; k++) {
        const Token *t = &p->tokens[k];
        bool named = k == first ? t[1].kind == '=' : is_word(t[-1].kind);
        if (t->kind == T_NAME && named) vec_push(p->arena, &p->ast->spoilt, name_intern(p->arena, p->text + t->at, t->n));
    }
}

/* Closes the innermost bracket before token i, and says that its own closer is missing. */
static void close_unclosed(Mending *m, size_t i) {
    const Token *opener = &m->p->tokens[m->open[--m->n].token];
    insert(m->p, i, closer_of(opener->kind));
    if (opener->kind != '{') note_header(m->p, m->open[m->n].token);
    if (opener->line == m->quiet_line) return;
    Loc at = token_loc(m->p, opener);
    diag_error(m->p->diag, at, 7, "this `%c` is never closed", opener->kind);
}

/* A word that begins a statement or a declaration and nothing else, with what must follow it. */
static bool begins_statement(const Parsing *p, size_t i) {
    int kind = p->tokens[i].kind;
    switch (kind) {
    case T_RETURN:
    case T_YIELD:
    case T_PRINT:
    case T_TRACK:
    case T_WRITE:
    case T_MINIMIZE:
    case T_FN: return true;
    case T_LET:
    case T_PARAM:
    case T_STATE:
    case T_KEEP:
    case T_STOP:
    case T_SAVE:
    case T_LOAD:
    case T_UPDATE:
    case T_CONST:
    case T_OPTION:
    case T_DATA:
    case T_VOCAB:
    case T_LAYER:
    case T_MODEL:
    case T_OPTIMIZER:
    case T_COMMAND: {
        int next = p->tokens[i + 1].kind; /* there is one: the end of the file */
        return !p->tokens[i + 1].first && (next == T_NAME || (is_word(next) && !word_reserved(next)) || next == T_WHEN);
    }
    default: return false;
    }
}

static bool begins_declaration(const Parsing *p, size_t i) {
    switch (p->tokens[i].kind) {
    case T_CONST:
    case T_OPTION:
    case T_DATA:
    case T_VOCAB:
    case T_LAYER:
    case T_MODEL:
    case T_OPTIMIZER:
    case T_COMMAND: return begins_statement(p, i);
    default: return false;
    }
}

/* Whether the innermost ( or [ finds its closer behind token i before anything that cannot be inside it. */
static bool closes_later(Mending *m, size_t i) {
    const Parsing *p = m->p;
    int wanted = closer_of(p->tokens[m->open[m->n - 1].token].kind);
    for (int depth = 0; m->budget > 0; i++, m->budget--) {
        int kind = p->tokens[i].kind;
        if (kind == T_END || kind == '{' || kind == '}') return false;
        if (p->tokens[i].first && (begins_statement(p, i) || p->tokens[i + 1].kind == '=')) return false;
        if (opens(kind))
            depth++;
        else if (closes(kind) && depth-- == 0)
            return kind == wanted;
    }
    return false;
}

/* Whether the token, first on its line, cannot stand inside the innermost ( or [ any more. */
static bool beyond_parenthesis(Mending *m, size_t i) {
    const Parsing *p = m->p;
    int kind = p->tokens[i].kind, before = i ? p->tokens[i - 1].kind : 0;
    if (kind == T_END || begins_statement(p, i)) return true;
    /* `b = ...` no further in than the line of the bracket is a statement, and no keyword of a call whose line ended in a comma */
    if (kind == T_NAME && p->tokens[i + 1].kind == '=' && p->tokens[i].col <= m->open[m->n - 1].indent) return true;
    if (kind == T_FOR && before != T_NAME && !ends_operand(before)) return true;
    if (kind == T_IF && ends_operand(before)) return true;
    return ends_operand(before) && begins_operand(kind) && kind != '(' && kind != '[' && !closes_later(m, i);
}

static bool goes_on(int kind) { return kind == T_PIPE || kind == T_THEN || kind == T_ELSE || kind == T_ARROW || kind == '{'; }

/* Whether token i, first on its line, goes on with the statement of the line before (T4). */
static bool continues(const Parsing *p, size_t i) {
    int kind = p->tokens[i].kind, before = i ? p->tokens[i - 1].kind : 0;
    if (closes(kind) || kind == '{' || kind == T_ELSE || begins_statement(p, i)) return false;
    return goes_on(kind) || (!ends_line(before) && before != 0 && before != '{' && before != T_SEPARATOR);
}

static bool begins_header(const Parsing *p, size_t i) {
    switch (p->tokens[i].kind) {
    case T_FOR:
    case T_IF:
    case T_ELSE:
    case T_SCAN:
    case T_REPEAT:
    case T_WHILE:
    case T_RETURN: /* return scan ... */
    case T_FN:
    case T_DATA:
    case T_LAYER:
    case T_OPTIMIZER:
    case T_COMMAND: return true;
    default: return false;
    }
}

/* A } on a line of its own that closes nothing: if the last line before it that begins in its column is a header, that one lacks
 * its {. */
static bool mend_header(Mending *m, size_t i) {
    Parsing *p = m->p;
    size_t from = m->n ? m->open[m->n - 1].token : 0, header = i;
    for (; header-- > from && m->budget > 0; m->budget--)
        if (p->tokens[header].first && p->tokens[header].col <= p->tokens[i].col) break;
    if (header >= i || header < from || p->tokens[header].col != p->tokens[i].col || !begins_header(p, header)) return false;
    int depth = 0;
    for (size_t k = header + 1; k < i; k++) {
        int kind = p->tokens[k].kind;
        if (kind == '{') return false;
        if (p->tokens[k].first && !depth && !continues(p, k)) {
            Mend mend = {(uint32_t)k, '{'};
            vec_push(p->arena, &p->mends, mend);
            for (size_t j = p->mends.n - 1; j > 0 && p->mends.at[j - 1].before > k; j--) {
                p->mends.at[j] = p->mends.at[j - 1];
                p->mends.at[j - 1] = mend;
            }
            if (p->tokens[k - 1].kind == ':' && p->tokens[header].kind != T_RETURN)
                return true; /* the parser will say so of the `:` */
            Loc end = token_loc(p, &p->tokens[k - 1]);
            end.col = end.end++;
            diag_error(p->diag, end, 7, "the block of this %s has no `{`", token_kind_text(p->tokens[header].kind));
            return true;
        }
        if (opens(kind))
            depth++;
        else if (closes(kind))
            depth--;
    }
    return false;
}

/* A closer meets the open brackets: its partner may be further out, or nowhere. */
static void meet_closer(Mending *m, size_t i, uint32_t indent) {
    Parsing *p = m->p;
    Token *t = &p->tokens[i];
    int floor = m->n; /* the brackets inside the innermost block */
    while (floor > 0 && p->tokens[m->open[floor - 1].token].kind != '{') floor--;
    if (t->kind == '}') {
        while (m->n > floor) close_unclosed(m, i);
        if (t->first && (!m->n || indent > m->open[m->n - 1].indent) && mend_header(m, i)) return;
        if (!m->n) {
            diag_error(p->diag, token_loc(p, t), 7, "this `}` closes nothing");
            t->kind = -1;
            return;
        }
        /* a } on a line of its own closes the block whose line begins where it does: what is open inside has no closer */
        if (t->first) {
            int k = m->n;
            while (k > 0 && m->open[k - 1].statement > indent) k--;
            bool begins_here = k > 0 && (m->open[k - 1].statement == indent || m->open[k - 1].indent == indent);
            if (begins_here && p->tokens[m->open[k - 1].token].kind == '{') {
                while (m->n > k) close_unclosed(m, i);
            } else if (k == m->n && indent > m->open[m->n - 1].indent) {
                diag_error(p->diag, token_loc(p, t), 7, "this `}` closes nothing");
                t->kind = -1;
                return;
            }
        }
        m->n--;
        return;
    }
    int k = m->n;
    while (k > floor && closer_of(p->tokens[m->open[k - 1].token].kind) != t->kind) k--;
    if (k > floor && k == m->n - 1 && closer_of(p->tokens[m->open[k].token].kind) == t[1].kind) { /* `f([a)]` */
        diag_error(p->diag, token_loc(p, t), 7, "`%c` and `%c` have changed places", t->kind, t[1].kind);
        t[1].kind = t->kind;
        t->kind = (int16_t)closer_of(p->tokens[m->open[--m->n].token].kind);
    } else if (k > floor) {
        while (m->n > k) close_unclosed(m, i);
        m->n--;
    } else if (m->n > floor) {
        const Token *opener = &p->tokens[m->open[--m->n].token];
        diag_error(p->diag, token_loc(p, t), 7, "`%c` where `%c` is expected", t->kind, closer_of(opener->kind));
        note_stray(p, i);
        diag_note(p->diag, token_loc(p, opener), "to close this");
        t->kind = (int16_t)closer_of(opener->kind);
    } else {
        if (t->line != m->quiet_line && !diag_said(p->diag, token_loc(p, t), 7))
            diag_error(p->diag, token_loc(p, t), 7, "this `%c` closes nothing", t->kind);
        note_stray(p, i);
        t->kind = -1;
    }
}

void mend_brackets(Parsing *p) {
    if (balanced(p)) return;
    Mending m = {.p = p, .budget = 20000000};
    uint32_t indent = 1, statement = 1;
    for (size_t i = 0; i < p->n_tokens; i++) {
        Token *t = &p->tokens[i];
        if (t->first) {
            indent = t->col;
            while (m.n && p->tokens[m.open[m.n - 1].token].kind != '{' &&
                   (beyond_parenthesis(&m, i) || p->tokens[m.open[m.n - 1].token].line == m.quiet_line))
                close_unclosed(&m, i);
            if (indent == 1 && begins_declaration(p, i))
                while (m.n) close_unclosed(&m, i);
            /* a line that begins no further in than the line of an open { is behind its block, unless a } begins it */
            while (m.n && !closes(t->kind) && t->kind != '{' && t->kind != T_ELSE && t->kind != T_ARROW &&
                   m.open[m.n - 1].header && p->tokens[m.open[m.n - 1].token].kind == '{' &&
                   indent <= m.open[m.n - 1].statement && indent < 1000)
                close_unclosed(&m, i);
            bool inside = m.n && p->tokens[m.open[m.n - 1].token].kind != '{';
            if (!inside && !continues(p, i)) statement = indent;
        }
        if (t->kind == T_STRING && t->spoilt) m.quiet_line = t->line;
        if (m.n && (t->kind == T_SCAN || t->kind == T_REPEAT || t->kind == T_WHILE || t->kind == T_IF))
            m.open[m.n - 1].loop = true;
        while (t->kind == '{' && m.n && !m.open[m.n - 1].loop && p->tokens[m.open[m.n - 1].token].kind != '{')
            close_unclosed(&m, i);
        if (opens(t->kind)) {
            if (m.n == MAX_BRACKETS) return; /* the filter says that this is too deep */
            bool inside = m.n && p->tokens[m.open[m.n - 1].token].kind != '{';
            m.open[m.n++] = (Open){.token = i, .indent = indent, .statement = inside ? indent : statement, .header = !t->first};
        } else if (closes(t->kind)) {
            meet_closer(&m, i, indent);
        } else if (t->kind == T_END) {
            while (m.n) close_unclosed(&m, i);
        }
    }
}

/* ---- the filter ---- */

bool ends_line(int kind) {
    switch (kind) {
    case T_OR:
    case T_AND:
    case T_NOT:
    case T_EQ:
    case T_NE:
    case T_LE:
    case T_GE:
    case T_RANGE:
    case T_FLOORDIV:
    case T_PIPE:
    case T_ASSIGN:
    case T_ARROW:
    case T_THEN:
    case T_ELSE:
    case '<':
    case '>':
    case '+':
    case '-':
    case '*':
    case '/':
    case '%':
    case '@':
    case '^':
    case ',':
    case '.':
    case '=':
    case '{':
    case T_SEPARATOR:
    case 0: return false;
    default: return true;
    }
}

/* Whether the next token is a `;` with nothing before it that it could end. */
static bool dropped_separator(const Parsing *p) {
    return p->tokens[p->next].kind == T_SEPARATOR && (p->before == 0 || p->before == '{' || p->before == T_SEPARATOR) &&
           !(p->next_mend < p->mends.n && p->mends.at[p->next_mend].before == p->next);
}

/* The next token as the parser sees it: *t, or a separator before it, or a mended bracket (then *index is that of the token after
 * it). A `;` where no statement can end is ';', which no rule has: recovery takes the rest of the line with it, which may be the operand
 * that is missing. */
static int filtered(Parsing *p, size_t *index) {
    while (p->tokens[p->next].kind == -1 || dropped_separator(p)) { /* its place on the line goes to the next */
        if (p->tokens[p->next].first) p->tokens[p->next + 1].first = true;
        p->next++;
    }
    const Token *t = &p->tokens[p->next];
    *index = p->next;
    bool mended = p->next_mend < p->mends.n && p->mends.at[p->next_mend].before == p->next;
    int kind = mended ? p->mends.at[p->next_mend].kind : t->kind;
    bool inside = p->n_open && p->open[p->n_open - 1] != '{';
    if (kind == T_SEPARATOR) {
        p->next++;
        return !inside && ends_line(p->before) ? T_SEPARATOR : ';';
    }
    if (!mended && t->first && !inside && ends_line(p->before) && !goes_on(kind) && kind != '}' && kind != T_END)
        return T_SEPARATOR;
    if (mended)
        p->next_mend++;
    else if (kind != T_END)
        p->next++;
    if (opens(kind)) {
        if (p->n_open == MAX_BRACKETS) {
            if (!p->ended) report_nesting(p, token_loc(p, t));
            p->ended = true;
            return T_END;
        }
        p->open[p->n_open++] = (char)kind;
    } else if (closes(kind) && p->n_open) {
        p->n_open--;
    }
    return kind;
}

/* A separator may be followed by what wants none before it: } and the end; and `;` may stand where a line ends anyway. */
static int next_kind(Parsing *p, size_t *index) {
    int kind = filtered(p, index);
    if (kind != T_SEPARATOR) return kind;
    p->before = T_SEPARATOR;
    size_t next = p->next, i;
    while (p->tokens[next].kind == T_SEPARATOR || p->tokens[next].kind == -1) next++;
    i = p->next_mend < p->mends.n && p->mends.at[p->next_mend].before <= next ? (size_t)'}' : (size_t)p->tokens[next].kind;
    if ((int)i != '}' && (int)i != T_END) return T_SEPARATOR;
    p->next = next;
    return filtered(p, index);
}

/* After an error: past everything up to the next separator or brace of this block. Blocks inside parentheses go with them. */
static int skip(Parsing *p, size_t *index) {
    int inner = 0; /* blocks opened on the way, inside parentheses */
    for (;;) {
        bool inside = p->n_open && p->open[p->n_open - 1] != '{';
        int kind = next_kind(p, index);
        if (kind == T_END) return kind;
        if (kind == '{' && (inside || inner))
            inner++;
        else if (kind == '}' && inner)
            inner--;
        else if (!inner && (kind == T_SEPARATOR || kind == '{' || kind == '}'))
            return kind;
        p->before = kind;
    }
}

int syntax_lex(Semantic *value, Place *place, Parsing *p) {
    if (p->start) {
        int kind = p->start;
        p->start = 0;
        *place = (Place){1, 1, 1, 1};
        return kind;
    }
    size_t index = p->next;
    int kind = p->ended ? T_END : p->skipping ? skip(p, &index) : next_kind(p, &index);
    p->skipping = false;
    const Token *t = &p->tokens[index];
    bool real = kind == t->kind && index < p->next; /* not a separator made here, nor a mended bracket */
    if (index > 0 && (kind == T_END || (!real && (kind == T_SEPARATOR || closes(kind))))) {
        while (index > 0 && p->tokens[index - 1].kind == -1) index--;
        const Token *last = &p->tokens[index ? index - 1 : 0];
        *place = (Place){(int)last->line, (int)(last->col + last->width), (int)last->line, (int)(last->col + last->width)};
    } else {
        *place = (Place){(int)t->line, (int)t->col, (int)t->line, (int)(t->col + t->width)};
    }
    p->before = kind;
    p->at = *place;
    p->real = real;
    if (kind == T_SEPARATOR) {
        p->separated = true;
    } else if (real) {
        p->previous = p->shown;
        p->shown = index;
        p->separated = false;
    }
    if (kind == T_INT || kind == T_FLOAT)
        value->node = value_number(p, t);
    else if (kind == T_STRING)
        value->node = value_string(p, t);
    else if (kind == T_NAME || (is_word(kind) && !word_reserved(kind)))
        value->node = value_name(p, t);
    return kind;
}
