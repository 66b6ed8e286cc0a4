/*
 * parse.c - one run of the parser: see parse.h.
 */
#include "tokens.h"

#include "parser.h"

#include <stdlib.h>

static void run(Parsing *p, int start) {
    diag_source(p->diag, p->file, p->text, p->n);
    p->start = start;
    if (!is_text(p)) return; /* a program or an archive would give an error a line */
    if (p->n > MAX_FILE) {
        diag_error(p->diag, (Loc){.file = p->file, .line = 1, .col = 1}, 2, "a file of %zu bytes: the limit is %d", p->n,
                   MAX_FILE);
        return;
    }
    lex(p);
    if (!p->ended) mend_brackets(p);
    syntax_parse(p);
    free(p->tokens);
}

Ast *parse_source(Arena *a, Diag *d, const char *file, const char *text, size_t n) {
    Ast *ast = arena_make(a, Ast);
    ast->file = intern(file);
    Parsing p = {.arena = a, .diag = d, .file = ast->file, .text = text, .n = n, .ast = ast};
    run(&p, T_FILE_START);
    return ast;
}

Node *parse_value(Arena *a, Diag *d, const char *file, const char *text, size_t n) {
    int before = diag_errors(d);
    Parsing p = {.arena = a, .diag = d, .file = intern(file), .text = text, .n = n};
    run(&p, T_VALUE_START);
    return diag_errors(d) == before ? p.value : NULL;
}
