/*
 * values.c - the leaves of the tree: names, numbers and strings from the text of a token (rules T2, T3).
 */
#include "tokens.h"

#include "build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* ---- names ---- */

static bool starts_name(utf8proc_int32_t c) {
    if (c < 128) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    utf8proc_category_t k = utf8proc_category(c);
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT || k == UTF8PROC_CATEGORY_LM ||
           k == UTF8PROC_CATEGORY_LO || k == UTF8PROC_CATEGORY_NL;
}

static bool continues_name(utf8proc_int32_t c) {
    if (c < 128) return starts_name(c) || (c >= '0' && c <= '9');
    if (c >= 0x2080 && c <= 0x2089) return true; /* subscripts */
    utf8proc_category_t k = utf8proc_category(c);
    return starts_name(c) || k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC ||
           k == UTF8PROC_CATEGORY_ME;
}

size_t name_length(const char *s, size_t n) {
    size_t i = 0;
    while (i < n) {
        utf8proc_int32_t c;
        utf8proc_ssize_t k = utf8proc_iterate((const utf8proc_uint8_t *)s + i, (utf8proc_ssize_t)(n - i), &c);
        if (k <= 0 || !(i ? continues_name(c) : starts_name(c))) break;
        i += (size_t)k;
    }
    return i;
}

const char *name_intern(Arena *a, const char *s, size_t n) {
    size_t i = 0;
    while (i < n && (unsigned char)s[i] < 128) i++;
    if (i == n || n > MAX_NAME_BYTES) return intern_n(s, n); /* ASCII is in NFC; longer names are an error */

    /* NFC folds the signs for ohm, kelvin and angstrom; the micro sign (U+00B5) it leaves alone */
    char *plain = arena_strndup(a, s, n);
    for (i = 0; i + 1 < n; i++)
        if (memcmp(plain + i, "\xc2\xb5", 2) == 0) memcpy(plain + i, "\xce\xbc", 2);
    utf8proc_uint8_t *composed = NULL;
    utf8proc_ssize_t k =
        utf8proc_map((const utf8proc_uint8_t *)plain, (utf8proc_ssize_t)n, &composed, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    const char *name = k < 0 ? intern_n(plain, n) : intern_n((const char *)composed, (size_t)k);
    free(composed);
    return name;
}

static Place span(const Token *t) { return (Place){(int)t->line, (int)t->col, (int)t->line, (int)(t->col + t->width)}; }

Node *value_name(Parsing *p, const Token *t) {
    if (t->spoilt) return node_make(p, AST_ERROR, span(t));
    Node *n = node_make(p, AST_NAME, span(t));
    n->name = name_intern(p->arena, p->text + t->at, t->n);
    return n;
}

/* ---- numbers ---- */

Node *value_number(Parsing *p, const Token *t) {
    if (t->spoilt) return node_make(p, AST_ERROR, span(t));
    Node *n = node_make(p, AST_NUMBER, span(t));
    n->number.text = arena_strndup(p->arena, p->text + t->at, t->n);
    n->number.is_integer = strspn(n->number.text, "0123456789") == t->n;
    n->number.value = strtod(n->number.text, NULL);
    if (n->number.value > 1.7976931348623157e308) {
        diag_error(p->diag, n->loc, 4, "a number above the range of f64, which ends at 1.8e308");
        n->kind = AST_ERROR;
        return n;
    }
    if (n->number.is_integer) {
        errno = 0;
        long long i = strtoll(n->number.text, NULL, 10);
        n->number.fits = errno == 0;
        n->number.integer = n->number.fits ? i : 0;
    }
    return n;
}

/* ---- strings ---- */

enum { MAX_PIECES = 2000 };

typedef struct Reader {
    Parsing *p;
    const Token *token;
    const char *s; /* what stands between the quotes */
    size_t n, i;
    int col; /* of s[i] */
    Vec(AstPiece) pieces;
    Vec(char) text; /* of the piece being read */
    bool failed;
} Reader;

static void step(Reader *r, size_t n) {
    for (size_t k = 0; k < n; k++) r->col += ((unsigned char)r->s[r->i + k] & 0xc0) != 0x80;
    r->i += n;
}

static void complain(Reader *r, int width, const char *message) {
    diag_error(r->p->diag, (Loc){.file = r->p->file, .line = (int)r->token->line, .col = r->col, .end = r->col + width}, 5, "%s",
               message);
    r->failed = true;
}

static void end_text(Reader *r) {
    if (!r->text.n) return;
    AstPiece piece = {.text = arena_strndup(r->p->arena, r->text.at, r->text.n), .n = r->text.n};
    vec_push(r->p->arena, &r->pieces, piece);
    r->text.n = 0;
}

static void read_escape(Reader *r) {
    static const char from[] = "\"\\nt", to[] = "\"\\\n\t";
    const char *k = r->i + 1 < r->n && r->s[r->i + 1] ? strchr(from, r->s[r->i + 1]) : NULL;
    if (k)
        vec_push(r->p->arena, &r->text, to[k - from]);
    else
        complain(r, 2, "in a string, `\\` stands before one of \" \\ n t");
    step(r, 1);
    if (r->i < r->n) step(r, 1);
}

/* {name} or {name:.3} */
static void read_value(Reader *r) {
    const char *s = r->s + r->i + 1;
    size_t left = r->n - r->i - 1, name = name_length(s, left), k = name;
    int digits = 0;
    if (k + 1 < left && s[k] == ':' && s[k + 1] == '.') {
        k += 2;
        while (k < left && s[k] >= '0' && s[k] <= '9' && digits < 100) digits = digits * 10 + (s[k++] - '0');
        if (digits < 1 || digits > 17) {
            complain(r, 1, "the digits in {name:.3} are 1 to 17 significant ones");
            digits = 1;
        }
    }
    if (!name || name > MAX_NAME_BYTES || k >= left || s[k] != '}') {
        complain(r, 1, "a `{` in a string begins the value of a name: {name} or {name:.3}");
        step(r, 1);
        return;
    }
    end_text(r);
    int col = r->col + 1;
    step(r, 1 + name);
    Node *n = node_make(r->p, AST_NAME, (Place){(int)r->token->line, col, (int)r->token->line, r->col});
    n->name = name_intern(r->p->arena, s, name);
    if (word_reserved(word_kind(s, name))) {
        diag_error(r->p->diag, n->loc, 12, "`%s` is a word of the language and cannot be a name", n->name);
        r->failed = true;
    }
    step(r, k - name + 1);
    AstPiece piece = {.name = n, .digits = digits};
    vec_push(r->p->arena, &r->pieces, piece);
}

Node *value_string(Parsing *p, const Token *t) {
    if (t->spoilt) return node_make(p, AST_ERROR, span(t));
    Node *n = node_make(p, AST_STRING, span(t));
    size_t open = (unsigned char)p->text[t->at] == 0xe2 ? 3 : 1; /* “smart” quotes were reported */
    Reader r = {.p = p, .token = t, .s = p->text + t->at + open, .n = t->n - 2 * open, .col = (int)t->col + 1};
    while (r.i < r.n) {
        if (r.pieces.n >= MAX_PIECES) {
            complain(&r, 1, "more than 1000 values in one string");
            break;
        }
        if (r.s[r.i] == '\\') {
            read_escape(&r);
        } else if (r.s[r.i] == '{') {
            read_value(&r);
        } else {
            vec_push(p->arena, &r.text, r.s[r.i]);
            step(&r, 1);
        }
    }
    end_text(&r);
    if (r.failed) return node_make(p, AST_ERROR, span(t));
    n->string.pieces = r.pieces.at;
    n->string.n = (uint32_t)r.pieces.n;
    n->string.plain = !r.pieces.n || (r.pieces.n == 1 && !r.pieces.at[0].name);
    n->string.text = r.pieces.n && n->string.plain ? r.pieces.at[0].text : "";
    n->string.size = r.pieces.n && n->string.plain ? r.pieces.at[0].n : 0;
    return n;
}
