/*
 * test_mutate.c - right programs with a few tokens changed: deleted, doubled, swapped, replaced by others. Whatever comes of it, parser and
 * elaborator end in good time with a graph that verifies and reads back, or with errors. The seed is printed; NNC_SEED=N repeats a run.
 */
#include "frontend/elaborate.h"
#include "frontend/parse.h"
#include "ir/graph.h"

#include <check.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 12, MUTANTS = 25, MOST_CHANGES = 4 };

static const char *const programs[] = {"samples/digits.nn",
                                       "samples/mlp.nn",
                                       "samples/perceptron.nn",
                                       "samples/hebb.nn",
                                       "samples/multitask.nn",
                                       "samples/optimizers.nn",
                                       "samples/activations.nn",
                                       "samples/delta.nn",
                                       "tests/fuzz/seeds/lines.nn",
                                       "tests/fuzz/seeds/windows.nn",
                                       "tests/fuzz/seeds/loops_that_run.nn"};
enum { PROGRAMS = sizeof programs / sizeof *programs };

static uint64_t state;

static uint64_t next(void) { /* splitmix64 */
    uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static size_t below(size_t n) { return n ? next() % n : 0; }

static uint64_t base_seed(void) {
    static uint64_t seed;
    if (seed) return seed;
    const char *given = getenv("NNC_SEED");
    seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    fprintf(stderr, "mutate: seed %llu (NNC_SEED repeats it)\n", (unsigned long long)seed);
    return seed;
}

typedef Vec(const char *) Words;

static bool is_letter(char c) { return isalnum((unsigned char)c) || c == '_' || (c & 0x80); }

/* Words, strings, numbers, spaces and signs; together they are the text. */
static void cut(Arena *a, const char *text, Words *out) {
    for (const char *s = text; *s;) {
        size_t n = 1;
        if (is_letter(*s))
            while (is_letter(s[n])) n++;
        else if (*s == '"') {
            while (s[n] && s[n] != '"' && s[n] != '\n') n++;
            n += s[n] == '"';
        } else if (strchr("|-<>=!./", *s) && s[1] && strchr(">-=./", s[1]))
            n = 2;
        vec_push(a, out, arena_strndup(a, s, n));
        s += n;
    }
}

static char *read_program(Arena *a, const char *name) {
    const char *path = arena_printf(a, "%s/%s", NNC_SOURCE_ROOT, name);
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "cannot open %s", path);
    char *text = arena_alloc(a, 1 << 16);
    size_t n = fread(text, 1, (1 << 16) - 1, f);
    fclose(f);
    text[n] = 0;
    return text;
}

static const char *odd_word(void) {
    static const char *const odd[] = {"B",          "0",
                                      "1",          "-",
                                      "1e40",       "0.5",
                                      "..",         "...",
                                      "|>",         "'",
                                      "[",          "]",
                                      "(",          ")",
                                      "{",          "}",
                                      ",",          "=",
                                      "<-",         "@",
                                      "^",          "for",
                                      "scan",       "if",
                                      "return",     "yield",
                                      "param",      "state",
                                      "fn",         "in",
                                      "learning",   "shape",
                                      "grad",       "1000000000000",
                                      "[]",         "[B]",
                                      "zeros([2])", "true",
                                      "\"x\"",      "+",
                                      "new",        ":"};
    return odd[below(sizeof odd / sizeof *odd)];
}

static const char *mutant(Arena *a, const Words *right, const Words *other) {
    Words w = {0};
    for (size_t i = 0; i < right->n; i++) vec_push(a, &w, right->at[i]);
    size_t changes = 1 + below(MOST_CHANGES);
    for (size_t c = 0; c < changes; c++) {
        size_t i = below(w.n), k = below(w.n);
        while (i < w.n && isspace((unsigned char)*w.at[i])) i++;
        while (k < w.n && isspace((unsigned char)*w.at[k])) k++;
        if (i == w.n || k == w.n) continue;
        const char *kept = w.at[i];
        switch (below(6)) {
        case 0: w.at[i] = ""; break;
        case 1: w.at[i] = arena_printf(a, "%s %s", kept, kept); break;
        case 2:
            w.at[i] = w.at[k];
            w.at[k] = kept;
            break;
        case 3: w.at[i] = w.at[k]; break;
        case 4: w.at[i] = other->at[below(other->n)]; break;
        default: w.at[i] = below(2) ? odd_word() : arena_printf(a, "%s %s", kept, odd_word()); break;
        }
    }
    Text t = {0};
    for (size_t i = 0; i < w.n; i++) text_add(a, &t, w.at[i]);
    return text_str(a, &t);
}

static void try_one(Arena *a, const char *text) {
    Diag *d = diag_new(a);
    Module *m = elaborate(a, d, parse_source(a, d, "mutant.nn", text, strlen(text)), &(ElaborateOptions){.max_batch = 8});
    static FILE *nowhere;
    if (!nowhere) nowhere = fopen("/dev/null", "w");
    diag_print(d, nowhere);
    ck_assert_msg((m != NULL) == (diag_errors(d) == 0), "a graph and errors, or neither:\n%s", text);
    if (!m) return;
    const char *why = graph_verify(a, m, STAGE_FRONT);
    ck_assert_msg(!why, "%s\n%s", why, text);
    Text printed = {0}, again = {0};
    graph_print(m, STAGE_FRONT, NULL, &printed, a);
    Stage stage;
    Module *read = graph_parse(a, d, "mutant.graph", text_str(a, &printed), printed.n, &stage);
    ck_assert_msg(read != NULL, "its graph does not read back:\n%s", text);
    graph_print(read, stage, NULL, &again, a);
    ck_assert_msg(printed.n == again.n && memcmp(printed.at, again.at, again.n) == 0, "its graph reads back as another:\n%s",
                  text);
}

START_TEST(mutants) {
    state = base_seed() + (uint64_t)_i;
    for (int k = 0; k < MUTANTS; k++) {
        Arena *a = arena_new();
        Words right = {0}, other = {0};
        cut(a, read_program(a, programs[below(PROGRAMS)]), &right);
        cut(a, read_program(a, programs[below(PROGRAMS)]), &other);
        try_one(a, mutant(a, &right, &other));
        arena_free(a);
    }
}
END_TEST

START_TEST(the_right_ones_are_right) {
    for (int i = 0; i < PROGRAMS; i++) {
        Arena *a = arena_new();
        Diag *d = diag_new(a);
        const char *text = read_program(a, programs[i]);
        Module *m = elaborate(a, d, parse_source(a, d, programs[i], text, strlen(text)), &(ElaborateOptions){.max_batch = 8});
        if (!m) diag_print(d, stderr);
        ck_assert_msg(m != NULL, "%s", programs[i]);
        arena_free(a);
    }
}
END_TEST

Suite *mutate_suite(void);
Suite *mutate_suite(void) {
    base_seed();
    Suite *s = suite_create("mutate");
    TCase *t = tcase_create("mutants");
    tcase_set_timeout(t, 30);
    tcase_add_test(t, the_right_ones_are_right);
    tcase_add_loop_test(t, mutants, 0, ROUNDS);
    suite_add_tcase(s, t);
    return s;
}
