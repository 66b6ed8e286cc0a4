/*
 * texts.h - what tests of texts share: the messages of a Diag as nnc prints them, the places and codes among them, and files as
 * they are.
 */
#ifndef NNC_TESTS_TEXTS_H
#define NNC_TESTS_TEXTS_H

#include "ir/diag.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline char *test_messages(Arena *a, const Diag *d) {
    char *out = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&out, &n);
    diag_print(d, f);
    fclose(f);
    char *kept = arena_strndup(a, out, n);
    free(out);
    return kept;
}

/* "2:5 E0006, 3:1 W0014": places and codes of the errors (E) and, if asked for, warnings (W) about t.nn. */
static inline const char *test_codes(Arena *a, const char *messages, bool warnings) {
    Text t = {0};
    for (const char *s = messages; *s; s = strchr(s, '\n') + 1) {
        int line, col, code, at = 0;
        char sign = 'E';
        if (sscanf(s, "t.nn:%d:%d: error[E%d]%n", &line, &col, &code, &at) != 3 || !at) {
            sign = 'W';
            if (!warnings || sscanf(s, "t.nn:%d:%d: warning[E%d]%n", &line, &col, &code, &at) != 3 || !at) continue;
        }
        text_printf(a, &t, "%s%d:%d %c%04d", t.n ? ", " : "", line, col, sign, code);
    }
    return text_str(a, &t);
}

static inline char *test_file(Arena *a, const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "cannot open %s", path);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *s = arena_alloc(a, *n + 1);
    ck_assert(fread(s, 1, *n, f) == *n);
    fclose(f);
    s[*n] = 0;
    return s;
}

#endif
