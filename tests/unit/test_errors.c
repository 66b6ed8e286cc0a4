/*
 * test_errors.c - the table of errors: every code's example gives just that error, docs/errors.md is what the table prints, and no limit of
 * the language is met with a hang or a crash.
 */
#include "frontend/elaborate.h"
#include "frontend/parse.h"
#include "ir/graph.h"
#include "ir/loops.h"
#include "passes/machine.h"
#include "passes/pipeline.h"
#include "texts.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Arena *arena;

static void setup(void) { arena = arena_new(); }
static void teardown(void) { arena_free(arena); }

static const struct {
    int code;
    const char *title, *explanation, *example;
} table[] = {
#define ERROR(code, title, explanation, example) {code, title, explanation, example},
#include "ir/errors.def"
#undef ERROR
};
enum { CODES = sizeof table / sizeof *table };

static const char *printed(const Diag *d) { return test_messages(arena, d); }

static bool begins(const char *s, const char *with) { return strncmp(s, with, strlen(with)) == 0; }

/* A program or text of any kind as far as nnc would take it: its messages. */
static const char *messages(const char *text) {
    Diag *d = diag_new(arena);
    size_t n = strlen(text);
    Program p = {0};
    if (begins(text, "graph ")) {
        p.graph = graph_parse(arena, d, "t.graph", text, n, &p.stage);
    } else if (begins(text, "loops ")) {
        p.loops = loops_parse(arena, d, "t.loops", text, n, &p.loops_stage);
        ck_assert_msg(p.loops || diag_errors(d), "no loops and no error:\n%s", text);
        return printed(d);
    } else {
        p.graph = elaborate(arena, d, parse_source(arena, d, "t.nn", text, n), &(ElaborateOptions){.max_batch = 16});
        p.stage = STAGE_FRONT;
    }
    ck_assert_msg(p.graph || diag_errors(d), "no graph and no error:\n%s", text);
    if (p.graph && !diag_errors(d)) {
        Machine machine = {.vector_bytes = 32, .vector_registers = 16, .l1 = 32 << 10, .l2 = 1 << 20};
        PassCtx ctx = {.arena = arena, .diag = d, .machine = &machine};
        pipeline_run(&ctx, &p, &(PipelineOptions){.passes = p.stage == STAGE_FRONT ? "infer,autodiff" : NULL});
    }
    return printed(d);
}

/* How many messages have the code, and how many another. */
static void count(const char *said, int code, int *same, int *other) {
    *same = *other = 0;
    for (const char *s = said; *s; s += strcspn(s, "\n"), s += *s == '\n') {
        const char *at = strstr(s, "[E");
        const char *end = s + strcspn(s, "\n");
        if (!at || at > end || at[6] != ']' || (strncmp(at - 5, "error", 5) && strncmp(at - 7, "warning", 7))) continue;
        ++*(atoi(at + 2) == code ? same : other);
    }
}

START_TEST(table_is_sorted_and_complete) {
    for (int i = 0; i < CODES; i++) {
        if (i) ck_assert_msg(table[i].code > table[i - 1].code, "E%04d stands behind E%04d", table[i].code, table[i - 1].code);
        ck_assert_msg(strlen(table[i].title) > 5 && strlen(table[i].title) < 80, "E%04d: title", table[i].code);
        ck_assert_msg(strlen(table[i].explanation) > 40, "E%04d: an explanation is a paragraph", table[i].code);
    }
}
END_TEST

START_TEST(example_gives_just_its_error) {
    int code = table[_i].code, same, other;
    const char *example = table[_i].example;
    if (begins(example, "$ ")) return; /* a command line: tests/e2e runs those */
    ck_assert_msg(*example, "E%04d has no example", code);
    const char *said = messages(example);
    count(said, code, &same, &other);
    ck_assert_msg(same == 1 && other == 0, "the example of E%04d gives it %d times, and %d others:\n%s\n%s", code, same, other,
                  example, said);
}
END_TEST

START_TEST(document_is_the_table) {
    char *s = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&s, &n);
    diag_print_table(f);
    fclose(f);
    const char *path = arena_printf(arena, "%s/docs/errors.md", NNC_SOURCE_ROOT);
    FILE *doc = fopen(path, "rb");
    ck_assert_msg(doc != NULL, "cannot open %s", path);
    char *have = arena_alloc(arena, n + 2);
    size_t m = fread(have, 1, n + 1, doc);
    fclose(doc);
    ck_assert_msg(m == n && memcmp(s, have, n) == 0, "docs/errors.md is old: nnc --explain all > docs/errors.md");
    free(s);
}
END_TEST

/* A graph that no text could give (the reader checks types): as another program may have made it. */
START_TEST(e0803_a_graph_made_wrong) {
    Diag *d = diag_new(arena);
    const char *text = "graph front\nstate %x: f32[3] = 0\nfunc @f(%x: f32[3]) -> (%x: f32[3]) {\n  %a = constant 1 : f32[3]\n  "
                       "%b = add %x, %a : f32[3]\n  return %b\n}\n";
    Stage stage;
    Module *m = graph_parse(arena, d, "made.graph", text, strlen(text), &stage);
    ck_assert_msg(m != NULL, "%s", printed(d));
    PassCtx ctx = {.arena = arena, .diag = d};
    ck_assert(pass_infer(&ctx, m));
    Dim four = {.n = 4};
    m->funcs.at[0]->body->first->out[0]->type = type_make(F32, 1, &four);
    ck_assert(!pass_infer(&ctx, m));
    int same, other;
    count(printed(d), 803, &same, &other);
    ck_assert_msg(same >= 1 && other == 0, "%s", printed(d));
}
END_TEST

/* ---- limits ---- */

static void ck_gives(const char *text, int code) {
    int same, other;
    const char *said = messages(text);
    count(said, code, &same, &other);
    ck_assert_msg(same >= 1 && other == 0, "wanted E%04d alone:\n%.2000s", code, said);
}

static const char *repeated(const char *before, const char *part, int n, const char *after) {
    Text t = {0};
    text_add(arena, &t, before);
    for (int i = 0; i < n; i++) text_add(arena, &t, part);
    text_add(arena, &t, after);
    return text_str(arena, &t);
}

START_TEST(nests) {
    ck_gives(repeated("fn f(x) = ", "(", 5000, "x"), 8);
    ck_gives(repeated("fn f(x) = ", "[", 5000, "x"), 8);
    ck_gives(repeated("fn f(x) = x", " + x", 5000, ""), 8);
    ck_gives(repeated("fn f(x) = ", "-", 5000, "x"), 8);
    ck_gives(repeated("fn f(x) = x", " ^ x", 5000, ""), 8);
    ck_gives(repeated("command c { ", "for i in 0..2 { ", 5000, ""), 8);
    ck_gives(repeated("fn f(x) { return ", "if x > 0 then x else ", 5000, "x }"), 8);
    ck_gives(repeated("fn f(x) = x", " |> f", 5000, ""), 8);
}
END_TEST

START_TEST(growth) {
    Text t = {0};
    text_add(arena, &t, "fn f0(x) = x * 2 + 1\n");
    for (int i = 1; i < 60; i++) text_printf(arena, &t, "fn f%d(x) = f%d(x) + f%d(x + 1)\n", i, i - 1, i - 1);
    text_add(arena, &t, "command c(x: f32[B]) -> (y: f32[B]) { y = f59(x) }\n");
    ck_gives(text_str(arena, &t), 311);
}
END_TEST

START_TEST(lists_of_lists) {
    ck_gives("const a = [i for i in 0..1000]\nconst b = [a for i in a]\nconst c = [b for i in a]\nconst d = [c for i in "
             "a]\ncommand k { if d == d { print 1 } }\n",
             311);
    ck_gives("command k { for i in [1] { x = f32([j for j in 0..1000000000]) } }\n", 219);
}
END_TEST

START_TEST(deep_calls) {
    Text t = {0};
    text_add(arena, &t, "fn f0(x) = x\n");
    for (int i = 1; i < 300; i++) text_printf(arena, &t, "fn f%d(x) = f%d(x)\n", i, i - 1);
    text_add(arena, &t, "command c { y = f299(zeros([2])) }\n");
    ck_gives(text_str(arena, &t), 312);
}
END_TEST

START_TEST(many_names) {
    Text t = {0};
    for (int i = 0; i < 20000; i++) text_printf(arena, &t, "const n%d = %s%d\n", i, i ? "n" : "", i ? i - 1 : 0);
    text_add(arena, &t, "command c { print n19999 }\n");
    const char *said = messages(text_str(arena, &t)); /* a chain of 20,000: either it works or it is said that it is too deep */
    int same, other;
    count(said, 312, &same, &other);
    ck_assert_msg(other == 0, "%.2000s", said);
}
END_TEST

START_TEST(large_files) {
    Diag *d = diag_new(arena);
    size_t n = (size_t)17 << 20;
    char *text = arena_alloc(arena, n + 1);
    memset(text, '#', n);
    parse_source(arena, d, "t.nn", text, n);
    ck_assert_int_eq(diag_errors(d), 1);
    ck_assert_ptr_nonnull(strstr(printed(d), "error[E0002]"));
}
END_TEST

Suite *errors_suite(void);
Suite *errors_suite(void) {
    Suite *s = suite_create("errors");
    TCase *t = tcase_create("table");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, table_is_sorted_and_complete);
    tcase_add_loop_test(t, example_gives_just_its_error, 0, CODES);
    tcase_add_test(t, document_is_the_table);
    tcase_add_test(t, e0803_a_graph_made_wrong);
    suite_add_tcase(s, t);
    t = tcase_create("limits");
    tcase_set_timeout(t, 30);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, nests);
    tcase_add_test(t, growth);
    tcase_add_test(t, lists_of_lists);
    tcase_add_test(t, deep_calls);
    tcase_add_test(t, many_names);
    tcase_add_test(t, large_files);
    suite_add_tcase(s, t);
    return s;
}
