/*
 * test_syntax.c - scanner, grammar, tree and diagnostics, rule by rule (the names T1 ... D5 are those of docs/language-rules.md);
 * golden texts under tests/golden/syntax; and right programs with mutations, which must end in messages and never in anything
 * else.
 */
#include "frontend/format.h"
#include "frontend/parse.h"
#include "texts.h"

#include <check.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

/* ---- helpers ---- */

static Arena *arena;

static void setup(void) { arena = arena_new(); }
static void teardown(void) { arena_free(arena); }

static char *printed(const Diag *d) { return test_messages(arena, d); }

/* All messages about a text, as nnc would print them. */
static const char *messages_n(const char *text, size_t n) {
    Diag *d = diag_new(arena);
    parse_source(arena, d, "t.nn", text, n);
    return printed(d);
}
static const char *messages(const char *text) { return messages_n(text, strlen(text)); }

/* "2:5 E0006, 3:1 E0014": places and codes alone. */
static const char *codes(const char *text) { return test_codes(arena, messages(text), true); }

static const char *tree_of(const char *text) {
    Diag *d = diag_new(arena);
    Ast *ast = parse_source(arena, d, "t.nn", text, strlen(text));
    Text t = {0};
    for (uint32_t i = 0; i < ast->declarations.n; i++) {
        if (i) text_add(arena, &t, "\n");
        ast_print_node(arena, &t, ast->declarations.at[i]);
    }
    return text_str(arena, &t);
}

static Node *value_of(const char *text) {
    Diag *d = diag_new(arena);
    Node *n = parse_value(arena, d, "t.nn", text, strlen(text));
    if (!n) ck_abort_msg("`%s`:\n%s", text, printed(d));
    return n;
}

static const char *expr(const char *text) {
    Text t = {0};
    ast_print_node(arena, &t, value_of(text));
    return text_str(arena, &t);
}

/* The statements of a function with this body, one a line. */
static const char *body(const char *text) {
    const char *tree = tree_of(arena_printf(arena, "fn t() {\n%s\n}\n", text));
    Text t = {0};
    for (const char *s = strchr(tree, '\n') + 1; *s && *s != '}';) {
        while (*s == ' ') s++;
        const char *end = strchr(s, '\n');
        text_printf(arena, &t, "%s%.*s", t.n ? " ; " : "", (int)(end - s), s);
        s = end + 1;
    }
    return text_str(arena, &t);
}

static void contains(const char *text, const char *part) {
    if (!strstr(text, part)) ck_abort_msg("`%s` is not in:\n%s", part, text);
}

static char *repeated(const char *s, int n) {
    size_t k = strlen(s);
    char *out = arena_alloc(arena, k * (size_t)n + 1);
    for (int i = 0; i < n; i++) memcpy(out + (size_t)i * k, s, k);
    return out;
}

static char *read_file(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *text = arena_alloc(arena, *n + 1);
    ck_assert_uint_eq(fread(text, 1, *n, f), *n);
    fclose(f);
    return text;
}

/* ---- T: text and tokens ---- */

START_TEST(t1_text) {
    ck_assert_str_eq(codes("\xef\xbb\xbf"
                           "const a = 1\r\nconst b = 2\r\n"),
                     "");
    ck_assert_str_eq(codes("\xef\xbb\xbf"
                           "const a = $\n"),
                     "1:11 E0003"); /* the mark takes no column */
    ck_assert_str_eq(codes("const é = \xff"
                           "1\n# caf\xe9\n"),
                     "1:11 E0001, 2:6 E0001");
    ck_assert_str_eq(codes("\xff\xfe"
                           "c"),
                     "1:1 E0001");
    ck_assert_str_eq(codes("const a = [1,\n# comment )\n2]"), "");
    size_t big = (16 << 20) + 1;
    char *text = arena_alloc(arena, big);
    memset(text, '\n', big);
    contains(messages_n(text, big), "error[E0002]: a file of 16777217 bytes");
    ck_assert_str_eq(messages_n(text, big - 1), "");
}
END_TEST

START_TEST(t1_caret_width) {
    ck_assert_str_eq(messages("fn f(é, 漢字) = é + 漢字 $ 1\n"),
                     "t.nn:1:22: error[E0003]: `$` (U+0024) is no character of the language\n"
                     "    1 | fn f(é, 漢字) = é + 漢字 $ 1\n"
                     "      |                          ^\n");
    ck_assert_str_eq(messages("\tconst a = h\xcc\x83 $\n"),
                     "t.nn:1:15: error[E0003]: `$` (U+0024) is no character of the language\n"
                     "    1 |     const a = h\xcc\x83 $\n"
                     "      |                 ^\n");
}
END_TEST

START_TEST(t2_names) {
    ck_assert_ptr_eq(value_of("e\xcc\x81")->name, value_of("\xc3\xa9")->name);     /* é in two ways */
    ck_assert_ptr_eq(value_of("\xc2\xb5")->name, value_of("\xce\xbc")->name);      /* micro sign and mu */
    ck_assert_ptr_eq(value_of("\xe2\x84\xa6")->name, value_of("\xce\xa9")->name);  /* ohm and Omega */
    ck_assert_ptr_eq(value_of("\xe2\x84\xaa")->name, value_of("K")->name);         /* kelvin */
    ck_assert_ptr_eq(value_of("\xe2\x84\xab")->name, value_of("A\xcc\x8a")->name); /* angstrom */
    ck_assert_str_eq(expr("h̃ + x₁ * _a9 + Ⅷ"), "(+ (+ h̃ (* x₁ _a9)) Ⅷ)");
    ck_assert_str_eq(codes("const a = x²\n"), "1:12 E0003");
    ck_assert_str_eq(codes("const a = 3 + €\n"), "1:15 E0003");
    ck_assert_str_eq(codes(arena_printf(arena, "const %s = 1\n", repeated("a", 1000))), "");
    ck_assert_str_eq(codes(arena_printf(arena, "const %s = 1\n", repeated("a", 1001))), "1:7 E0002");
}
END_TEST

START_TEST(t3_numbers) {
    static const struct {
        const char *text;
        bool integer;
        double value;
    } good[] = {{"0", true, 0},
                {"64", true, 64},
                {"007", true, 7},
                {"1.5", false, 1.5},
                {"1.", false, 1},
                {".5", false, 0.5},
                {"1e3", false, 1e3},
                {"1e-8", false, 1e-8},
                {"1.e2", false, 100},
                {".5E+1", false, 5},
                {"9223372036854775807", true, 9223372036854775807.0}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        Node *n = value_of(good[i].text);
        ck_assert_int_eq(n->kind, AST_NUMBER);
        ck_assert_str_eq(n->number.text, good[i].text);
        ck_assert_int_eq(n->number.is_integer, good[i].integer);
        ck_assert(n->number.value == good[i].value);
    }
    ck_assert_int_eq(value_of("9223372036854775807")->number.integer, INT64_MAX);
    ck_assert(!value_of("9223372036854775808")->number.fits);
    ck_assert_str_eq(expr("1..n"), "(.. 1 n)");
    ck_assert_str_eq(expr("0..3"), "(.. 0 3)");
    ck_assert_str_eq(expr("1. .. 2."), "(.. 1. 2.)");
    ck_assert_str_eq(codes("const a = 2x\nconst b = 1_000\nconst c = 0x1f\nconst d = 1e\nconst e = 1.2.3\nconst f = 1e999\n"),
                     "1:11 E0004, 2:11 E0004, 3:11 E0004, 4:11 E0004, 5:11 E0004, 6:11 E0004");
    ck_assert_str_eq(codes("const a = 2×3\n"), "1:12 E0011"); /* × is no letter: not glued */
}
END_TEST

START_TEST(t3_signs) {
    ck_assert_str_eq(body("a<-1"), "a <- 1");
    ck_assert_str_eq(body("a < -1 == b\nx = a < -1"), "<error> ; x = (< a (- 1))");
    ck_assert_str_eq(codes("fn f(a) = if a<-1 then 2 else 3\n"), "1:15 E0010");
    ck_assert_str_eq(expr("W' @ x''"), "(@ (' W) (' (' x)))");
}
END_TEST

START_TEST(t3_strings) {
    Node *n = value_of("\"a\\\"b\\\\c\\nd\\te\"");
    ck_assert(n->string.plain);
    ck_assert_str_eq(n->string.text, "a\"b\\c\nd\te");
    ck_assert_uint_eq(n->string.size, 9);
    ck_assert(value_of("\"\"")->string.plain);
    n = value_of("\"loss {loss:.3}, {acc}\"");
    ck_assert_uint_eq(n->string.n, 4);
    ck_assert_str_eq(n->string.pieces[1].name->name, "loss");
    ck_assert_int_eq(n->string.pieces[1].digits, 3);
    ck_assert_int_eq(n->string.pieces[1].name->loc.col, 8);
    ck_assert_int_eq(n->string.pieces[3].digits, 0);
    ck_assert_str_eq(codes("const a = \"{x + 1}\"\n"), "1:12 E0005");
    ck_assert_str_eq(codes("const a = \"{x:.0}\"\n"), "1:12 E0005");
    ck_assert_str_eq(codes("const a = \"\\q\"\n"), "1:12 E0005");
    ck_assert_str_eq(codes("const a = \"open\nconst b = 1\n"), "1:11 E0005");
    ck_assert_str_eq(codes("fn f() = g(\"open)\nconst b = 1 1\n"), "1:12 E0005, 2:13 E0006"); /* nothing about the bracket */
}
END_TEST

START_TEST(t4_separators) {
    ck_assert_str_eq(body("a = 1\nb = 2; c = 3"), "a = 1 ; b = 2 ; c = 3");
    ck_assert_str_eq(body(";;a = 1;;\n;b = 2;"), "a = 1 ; b = 2");
    ck_assert_str_eq(body("a = f(1,\n  2\n + 3)\nb = [1\n, 2]"), "a = f(1, (+ 2 3)) ; b = [1, 2]"); /* (1) open brackets */
    ck_assert_str_eq(body("a = 1 +\n 2 @\n 3\nb = x\n.y"),
                     "a = (+ 1 (@ 2 3)) ; b = x ; <error>"); /* (2); no line goes on with . */
    ck_assert_str_eq(body("a =\n 1\nb = not\n c\nd <-\n 2"), "a = 1 ; b = (not c) ; d <- 2");
    ck_assert_str_eq(body("a = x'\nb = y"), "a = (' x) ; b = y");
    ck_assert_str_eq(body("a = x\n |> f\n |> g"), "a = (|> (|> x f) g)"); /* (3) */
    ck_assert_str_eq(body("a = if b\n then 1\n else 2"), "a = (if b 1 2)");
    ck_assert_str_eq(tree_of("fn f(x)\n -> f32[B]\n{\nreturn x }"), "fn f(x) -> f32[B] {\n    return x\n}");
    ck_assert_str_eq(body("if a { b = 1 }\nelse { b = 2 }"), "if a { ; b = 1 ; } else { ; b = 2 ; }");
    ck_assert_str_eq(body("(f)(x)\n(g)(y)"), "f(x) ; g(y)");
    ck_assert_str_eq(body("a = b\n[c, d] |> f(1)"), "a = b ; (|> [c, d] f(1))");
    ck_assert_str_eq(body("x = (scan t in a along 0 {\n y = t\n yield y })"), "x = scan t in a along 0 { ; y = t ; yield y ; }");
    ck_assert_str_eq(body("# nothing\n\n"), "");
}
END_TEST

START_TEST(t5_words) {
    static const char *const reserved[] = {"and",    "or",    "not",   "true",  "false",  "if",      "then",
                                           "else",   "for",   "in",    "scan",  "repeat", "while",   "fn",
                                           "return", "yield", "print", "track", "write",  "minimize"};
    static const char *const names[] = {"const",     "option",    "data",   "vocab",   "layer",  "model",    "param", "state",
                                        "optimizer", "command",   "let",    "shuffle", "batch",  "resample", "lanes", "drop_last",
                                        "along",     "backwards", "max",    "over",    "update", "with",     "using", "keep",
                                        "stop",      "when",      "lowest", "highest", "stalls", "save",     "load",  "to",
                                        "from",      "new",       "step",   "epoch",   "shape",  "size"};
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        contains(messages(arena_printf(arena, "fn f(%s) = 1\n", reserved[i])), "is a word of the language and cannot be a name");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *w = names[i];
        const char *text = arena_printf(arena,
                                        "fn %s(%s: int, a = %s) {\n %s = %s + 1\n %s, b = f(%s)\n %s[0] = %s.%s\n %s <- 2\n"
                                        " for %s in %s batch %s { print %s }\n save %s to \"{%s}\"\n update %s with %s using %s\n"
                                        " let %s = %s\n keep lowest %s\n return g(%s=%s)(%s)\n}\n",
                                        w, w, w, w, w, w, w, w, w, w, w, w, w, w, w, w, w, w, w, w, w, w, w, w, w, w);
        ck_assert_str_eq(messages(text), "");
    }
    /* in an index, `new` alone is the axis; in a larger expression, and as a keyword, a name */
    ck_assert_int_eq(value_of("x[new]")->call.items.at[0]->kind, AST_NEW);
    ck_assert_int_eq(value_of("x[(new)]")->call.items.at[0]->kind, AST_NAME);
    ck_assert_int_eq(value_of("f(new)")->call.items.at[0]->kind, AST_NAME);
}
END_TEST

START_TEST(t6_limits) {
    ck_assert_str_eq(codes(arena_printf(arena, "const a = %s1%s\n", repeated("(", 200), repeated(")", 200))), "");
    ck_assert_str_eq(codes(arena_printf(arena, "const a = %s1%s\n", repeated("(", 201), repeated(")", 201))), "1:211 E0008");
    ck_assert_str_eq(codes(arena_printf(arena, "const a = 1%s\n", repeated(" + 1", 997))), "");
    ck_assert_str_eq(codes(arena_printf(arena, "const a = 1%s\n", repeated(" + 1", 1000))), "1:11 E0008");
    ck_assert_str_eq(codes(arena_printf(arena, "const a = 1%s\n", repeated(" + 1", 20000))), "1:11 E0008");
    contains(codes(arena_printf(arena, "const a = %s1\n", repeated("-", 1100))), "E0008");
    contains(codes(arena_printf(arena, "const a = %s1\n", repeated("-", 200000))), "E0008");
    contains(codes(arena_printf(arena, "const a = %s1\n", repeated("1^", 200000))), "E0008");
    contains(codes(arena_printf(arena, "fn f(a) {\nif a { b = 1 }%s\n}\n", repeated(" else if a { b = 1 }", 1100))), "E0008");
    ck_assert_str_eq(codes("const a = [1, 2,]\nfn f(x, y,) = g(x, y,)[1,]\ndata d { x: f32[1, 2,] = csv(\"a\",) }\n"), "");
    ck_assert_str_eq(expr("f()[]"), "f()[]");
}
END_TEST

/* ---- E: expressions ---- */

START_TEST(e1_precedence) {
    static const char *const table[][2] = {
        {"a |> b |> c", "(|> (|> a b) c)"},
        {"if a then b else c |> d", "(|> (if a b c) d)"},
        {"if a then b else if c then d else e", "(if a b (if c d e))"},
        {"if a then if b then c else d else e", "(if a (if b c d) e)"},
        {"if a or b then c else d or e", "(if (or a b) c (or d e))"},
        {"a or b and c or d", "(or (or a (and b c)) d)"},
        {"not a and not not b", "(and (not a) (not (not b)))"},
        {"not a == b", "(not (== a b))"},
        {"a == b..c", "(== a (.. b c))"},
        {"a..b..c", "(.. (.. a b) c)"},
        {"0..n + 1", "(.. 0 (+ n 1))"},
        {"a - b - c", "(- (- a b) c)"},
        {"a + b * c @ d ^ e", "(+ a (* b (@ c (^ d e))))"},
        {"a / b // c % d * e", "(* (% (// (/ a b) c) d) e)"},
        {"x / 16 @ W", "(/ x (@ 16 W))"},
        {"a @ b @ c", "(@ (@ a b) c)"},
        {"-a @ b", "(@ (- a) b)"},
        {"a @ -b", "(@ a (- b))"},
        {"-a^2", "(- (^ a 2))"},
        {"a^b^c", "(^ a (^ b c))"},
        {"a^-b^c", "(^ a (- (^ b c)))"},
        {"- -a", "(- (- a))"},
        {"a'^2", "(^ (' a) 2)"},
        {"f(x)[i].w'", "(' f(x)[i].w)"},
        {"a <= b and b != c or c >= d", "(or (and (<= a b) (!= b c)) (>= c d))"},
        {"(a)", "a"},
        {"[a + b for a, b in xs, ys]", "[(+ a b) for a, b in xs, ys]"},
        {"x[..., -1, a:b, :c, d:, :, new]", "x[..., (- 1), a:b, :c, d:, :, new]"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) ck_assert_str_eq(expr(table[i][0]), table[i][1]);
    ck_assert_str_eq(codes("fn f(a) = a < 1 < 2\n"), "1:17 E0013");
    ck_assert_str_eq(codes("fn f(a) = (a < 1) == (1 < 2)\n"), "");
    static const char *const operands[] = {"if a then b else c", "not a", "scan t in a along 0 { yield t }", "repeat 2 { a = 1 }",
                                           "while a max 2 { a = 1 }"};
    for (size_t i = 0; i < 5; i++) {
        ck_assert_str_eq(codes(arena_printf(arena, "fn f(a) = 1 + %s\n", operands[i])), "1:15 E0006");
        ck_assert_str_eq(codes(arena_printf(arena, "fn f(a) = 1 + (%s)\n", operands[i])), "");
    }
}
END_TEST

START_TEST(e2_pipe) {
    Node *n = value_of("x |> f(a)");
    ck_assert_int_eq(n->pipe.target->kind, AST_CALL);
    ck_assert(!n->pipe.target->paren);
    ck_assert(value_of("x |> (f(a))")->pipe.target->paren);
    ck_assert_str_eq(expr("x |> net.up |> dense[10] |> (if a then f else g)"), "(|> (|> (|> x net.up) dense[10]) ((if a f g)))");
    ck_assert_str_eq(codes("const a = x |> 3\n"), "1:16 E0006");
    ck_assert_str_eq(codes("const a = x |> [1]\n"), "1:16 E0006");
    ck_assert_str_eq(codes("const a = x |> f'\n"), "1:16 E0006");
}
END_TEST

START_TEST(e3_literals) {
    ck_assert_str_eq(codes("const a = 2(3)\n"), "1:12 E0020");
    ck_assert_str_eq(codes("const a = 2'\n"), "1:12 E0020");
    ck_assert_str_eq(codes("const a = \"x\"[0]\n"), "1:14 E0020");
    ck_assert_str_eq(expr("[1, 2][0]"), "[1, 2][0]");
}
END_TEST

START_TEST(n1_keywords) {
    ck_assert_str_eq(codes("const a = f(x, k=1, l=2)\n"), "");
    ck_assert_str_eq(codes("const a = f(k=1, x)\n"), "1:18 E0019");
    ck_assert_str_eq(codes("const a = f[k=1, k=2]\n"), "1:18 E0019");
    ck_assert_str_eq(codes("fn f(x) {\n x + 1\n return x\n x = 2\n}\n"), "2:2 E0018, 4:2 W0022");
    ck_assert_str_eq(codes("fn f(x) {\n g(x)\n x |> g\n repeat 2 { x = 1 }\n return x\n}\n"), "");
}
END_TEST

START_TEST(every_statement) {
    ck_assert_str_eq(body("a, b = f(x)\nc, d = 1, 2\nx: f32[B, ...S, 2 * H] = y\nx[0, :] = 1"),
                     "a, b = f(x) ; c, d = 1, 2 ; x: f32[B, ...S, (* 2 H)] = y ; x[0, :] = 1");
    ck_assert_str_eq(
        body("let d = dense[10, bias=false]\nparam W, U: f32[...broadcast(k, [2]), D] = normal(shape)\nstate t: f64 = 0"),
        "let d = dense[10, bias=false] ; param W, U: f32[...broadcast(k, [2]), D] = normal(shape) ; state t: f64 = 0");
    ck_assert_str_eq(body("W <- 1\nnet.W <- 2\nW[0] <- 3"), "W <- 1 ; net.W <- 2 ; W[0] <- 3");
    ck_assert_str_eq(body("for p, q in ps, qs { a = p }"), "for p, q in ps, qs { ; a = p ; }");
    ck_assert_str_eq(body("for x, y in A[0..9] batch 2 * k shuffle drop_last, u in B batch 3 resample { a = x }"),
                     "for x, y in A[(.. 0 9)] batch (* 2 k) shuffle drop_last, u in B batch 3 resample { ; a = x ; }");
    ck_assert_str_eq(body("ys, m = scan xt, mt in x, mask along -1 backwards { yield xt, mt }"),
                     "ys, m = scan xt, mt in x, mask along (- 1) backwards { ; yield xt, mt ; }");
    ck_assert_str_eq(body("while any(x != y) max 50 { x = y }"), "while any((!= x y)) max 50 { ; x = y ; }");
    ck_assert_str_eq(body("minimize loss + 1 over net.l1, nets[0], W using sgd[lr * 0.9 ^ epoch]"),
                     "minimize (+ loss 1) over net.l1, nets[0], W using sgd[(* lr (^ 0.9 epoch))]");
    ck_assert_str_eq(body("update net with grad(l, net) |> clip_norm(5) using adam[lr]"),
                     "update net with (|> grad(l, net) clip_norm(5)) using adam[lr]");
    ck_assert_str_eq(body("track loss, a = f(x), g(y)\nkeep highest a\nstop when lowest loss stalls for 3"),
                     "track loss, a=f(x), g(y) ; keep highest a ; stop when lowest loss stalls for 3");
    ck_assert_str_eq(
        body("print \"{a:.3}\", w\nsave a, b to \"f\"\nload a from \"f\"\nwrite x + 1 to \"x.npy\"\nreturn\nreturn a, b"),
        "print \"{a:.3}\", w ; save a, b to \"f\" ; load a from \"f\" ; write (+ x 1) to \"x.npy\" ; return ; return a, b");
    ck_assert_str_eq(codes("fn f(d) { for x in d batch 2 shuffle shuffle { } }\n"), "1:38 E0023");
    ck_assert_str_eq(codes("fn f(d) { for x in d batch 2 shuffle lanes { } }\n"), "1:38 E0023");
}
END_TEST

START_TEST(every_declaration) {
    static const char *const same[] = {
        "const a = [1, \"x\"]",
        "option lr = 0.1",
        "model nets = [mlp[32] for i in (.. 0 5)]",
        "vocab w = words(\"a\", size=10)",
        "param W, b: f32[2] = 0",
        "data d shuffle {\n    x: u8[(+ T 1)] = text(\"a\", length=T)\n    y: i32 = idx(\"b\")\n}",
        "fn f[g: fn, n: int = 2](x, y: f32[..., N] = 1) -> f32[N] {\n    return x\n}",
        "layer l {\n    fn up(v: f32[B, V]) {\n        return v\n    }\n}",
        "optimizer o(w: f32[...S], g: f32[...S]) {\n    w <- g\n}",
        "command c() -> (a: i32[B] = lines(), b: f32[3]) {\n    a = 1\n}",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        const char *text = strcmp(same[i], "") ? same[i] : "";
        if (strstr(text, "(.. 0 5)")) text = "model nets = [mlp[32] for i in 0..5]";
        if (strstr(text, "(+ T 1)"))
            text = "data d shuffle {\n    x: u8[T + 1] = text(\"a\", length=T)\n    y: i32 = idx(\"b\")\n}";
        ck_assert_str_eq(messages(text), "");
        ck_assert_str_eq(tree_of(text), same[i]);
    }
    Diag *d = diag_new(arena);
    Ast *ast = parse_source(arena, d, "t.nn", "layer a { }\nlayer b() { }\nfn c() = 1\n", 37);
    ck_assert(!ast->declarations.at[0]->function->has_inputs);
    ck_assert(ast->declarations.at[1]->function->has_inputs);
    ck_assert(ast->declarations.at[2]->function->short_form);
    ck_assert_str_eq(ast_declared_name(ast->declarations.at[2]), "c");
}
END_TEST

START_TEST(places) {
    Node *n = value_of("  x @ (w1 +\n b)");
    ck_assert_int_eq(n->loc.line, 1);
    ck_assert_int_eq(n->loc.col, 3);
    ck_assert_int_eq(n->loc.mark, 5);
    ck_assert_int_eq(n->loc.end, 0); /* it ends on another line */
    ck_assert_int_eq(n->end_line, 2);
    ck_assert_int_eq(n->end_col, 4);
    n = n->binary.left;
    ck_assert_int_eq(n->loc.end, 4);
    Diag *d = diag_new(arena);
    const char *text = "h = tanh(x @ w1 + b1)\n";
    diag_source(d, "t.nn", text, strlen(text));
    diag_error(d, (Loc){.file = intern("t.nn"), .line = 1, .col = 10, .end = 16, .mark = 12}, 6, "the inner sizes differ");
    ck_assert_str_eq(printed(d),
                     "t.nn:1:10: error[E0006]: the inner sizes differ\n    1 | h = tanh(x @ w1 + b1)\n      |          ~~^~~~\n");
}
END_TEST

/* ---- D: errors ---- */

START_TEST(d1_brackets) {
    ck_assert_str_eq(codes("fn f(x) {\n y = g(x, 1\n z = 2\n return z\n}\nfn h(x) = x\n"), "2:7 E0007");
    ck_assert_str_eq(codes("fn f(x) {\n y = g(x, [1, 2)\n return y)\n}\n"), "2:11 E0007, 3:10 E0007");
    ck_assert_str_eq(codes("fn f(x) {\n y = g(x]\n return y\n}\n"), "2:9 E0007");
    ck_assert_str_eq(codes("layer f(x: f32) {\n for i in 0..3 {\n  x = x + 1\n return x\n}\nlayer g(x: f32) { return x }\n"),
                     "2:16 E0007");
    ck_assert_str_eq(codes("layer f(x: f32) {\n  x = x + 1\n  }\n  return x\n}\nlayer g(x: f32) { return x }\n"), "3:3 E0007");
    ck_assert_str_eq(codes("command c {\n x = 1\ncommand d {\n x = 1\n}\n"), "1:11 E0007");
    ck_assert_str_eq(codes("}\nconst a = 1 1\n"), "1:1 E0007, 2:13 E0006");
    /* a header without its { */
    const char *bare =
        "command c {\n for i in 0..3\n  x = i\n }\n print \"a\"\n}\nlayer a(x: f32[B])\n  -> f32[B]\n return x\n}\nfn b(x) = x\n";
    ck_assert_str_eq(codes(bare), "2:15 E0007, 8:12 E0007");
    ck_assert_str_eq(tree_of(bare), "command c {\n    for i in (.. 0 3) {\n        x = i\n    }\n    print \"a\"\n}\n"
                                    "layer a(x: f32[B]) -> f32[B] {\n    return x\n}\nfn b(x) {\n    return x\n}");
    ck_assert_str_eq(tree_of("fn f(x) {\n y = g(x, 1\n z = 2\n return z\n}\n"),
                     "fn f(x) {\n    y = g(x, 1)\n    z = 2\n    return z\n}");
}
END_TEST

START_TEST(d1_recovery) {
    /* one message a slip, and the rest is read */
    ck_assert_str_eq(tree_of("fn f(x) {\n a = = 1\n b = 2\n if a = 1 { c = 3 }\n d = 4\n}\nconst e 5\nconst g = 6\n"),
                     "fn f(x) {\n    <error>\n    b = 2\n    <error>\n    d = 4\n}\nbroken const e = <error>\nconst g = 6");
    ck_assert_str_eq(codes("fn f(x) {\n a = = 1\n b = 2\n if a = 1 { c = ) }\n d = 4\n}\nconst e 5\nconst g = 6\n"),
                     "2:6 E0014, 4:7 E0014, 4:17 E0007, 7:9 E0006");
    ck_assert_str_eq(codes("data d {\n x f32 = 1\n y: f32 = csv(\"a\")\n z: = 1\n}\n"), "2:4 E0006, 4:5 E0006");
    ck_assert_str_eq(codes("a = 1\nb = 2\nfn f(x) = x x\n"), "1:1 E0024, 3:13 E0006");
}
END_TEST

START_TEST(d1_spoilt_header) {
    const char *text = "layer a[H int](x: f32[B]) {\n y = 1 1\n return y\n}\nfn b(x y) = x\nmodel c\n";
    ck_assert_str_eq(codes(text), "1:11 E0006, 2:8 E0006, 5:8 E0006, 6:8 E0006");
    ck_assert_str_eq(tree_of(text), "broken layer a {\n    <error>\n    return y\n}\nbroken fn b {\n}\nbroken model c = <error>");
}
END_TEST

START_TEST(d2_hints) {
    static const char *const table[][2] = {
        {"a = b && c || !d", "write `and` for `&&`"},
        {"a = b || c", "write `or` for `||`"},
        {"a = !d", "write `not` for `!`"},
        {"a = b ** 2", "write `^` for `**`"},
        {"a = 'x'", "strings stand in double quotes: \"x\""},
        {"a = b × c", "write `*` for `×`"},
        {"a = b − c", "write `-` for `−`"},
        {"a = if b ≤ c then 1 else 2", "write `<=` for `≤`"},
        {"if a = 1 { b = 2 }", "`=` binds a name: to compare, write `==`"},
        {"b = if a { 1 } else { 2 }", "in an expression write `if c then a else b`"},
        {"print = 1", "`print` is a word of the language and cannot be a name"},
        {"a = 1\n + 2", "a line cannot begin with `+`"},
        {"a = 1\n - 2", "a line cannot begin with `-`"},
        {"a += 1", "there is no `+=`: write `x = x + ...`"},
        {"a++", "there is no `++`"},
        {"// text", "comments begin with `#`"},
        {"a = 1 // two words", "comments begin with `#`"},
        {"/* text */ a = 1", "comments begin with `#`"},
        {"for i in range(3):\n a = 1", "blocks stand in braces"},
        {"elif a { b = 1 }", "write `else if"},
        {"int a = 3", "a type stands behind its name: `a: int = ...`"},
        {"retrun a", "did you mean `return`?"},
        {"for x in d bacth 2 { a = 1 }", "did you mean `batch`?"},
        {"keep lowset a", "did you mean `lowest`?"},
        {"a = b ? c : d", "write `if c then a else b`"},
        {"a = if b then c", "needs an `else`"},
        {"a = 2 (b)", "a product is written with `*`"},
        {"a = b +\nc = 2", "the line ends behind `+`: expected an expression"},
        {"layer a(x: f32) { return x }", "declared at the top of the file"},
        {"f(x) = 1", "the result of a call cannot be bound"},
        {"net.w = 1", "a parameter or state is written with `<-`"},
        {"a == 1", "this compares, and nothing is done with the result"},
        {"a, b = 1, 2, 3", "2 names for 3 values"},
        {"else { a = 1 }", "this `else` has no `if c { }` before it"},
        {"a = f(1,, 2)", "unexpected `,`: expected an expression or `)`"},
        {"a = 1 +* 2", "unexpected `*`: expected an expression"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        contains(messages(arena_printf(arena, "fn t(d) {\n%s\nreturn d\n}\n", table[i][0])), table[i][1]);
    contains(messages("def f(x):\n    return x\n"), "a function is `fn f(x) = ...`");
    contains(messages("import numpy\n"), "nothing is imported");
    contains(messages("lyaer f(x) { return x }\n"), "did you mean `layer`?");
    ck_assert_str_eq(codes("def f(x):\n    return x\n"), "1:1 E0016"); /* once */
    ck_assert_str_eq(codes("fn t(d) {\n a = if d { 1 } else { 2 }\n return a\n}\n"), "2:11 E0014");
}
END_TEST

START_TEST(d2_expected) {
    const char *text = messages("fn f(x) = (x + 1 x\n");
    ck_assert_ptr_null(strstr(text, "INT"));
    for (const char *s = strstr(text, "expected"); s && *s && *s != '\n'; s++)
        ck_assert_msg(*s != '+', "operators are not listed: %s", text);
    contains(messages("const a = \n"), "expected an expression");
    contains(messages("const = 1\n"), "expected a name");
}
END_TEST

START_TEST(d2_order_and_number) {
    Text t = {0};
    for (int i = 0; i < 60; i++) text_add(arena, &t, "const a = 1 1\n");
    const char *out = messages(text_str(arena, &t));
    contains(out, "t.nn:50:13: error");
    contains(out, "and 10 more errors\n");
    ck_assert_ptr_null(strstr(out, "t.nn:51:"));

    Diag *d = diag_new(arena);
    diag_source(d, "a.nn", "x\ny\n", 4);
    diag_source(d, "b.nn", "x\n", 2);
    Loc a2 = {.file = intern("a.nn"), .line = 2, .col = 1}, a1 = {.file = intern("a.nn"), .line = 1, .col = 1};
    Loc b1 = {.file = intern("b.nn"), .line = 1, .col = 1};
    diag_error(d, b1, 6, "third");
    diag_error(d, a2, 6, "second");
    diag_note(d, (Loc){0}, "a note");
    diag_error(d, a1, 6, "first");
    diag_error(d, a2, 6, "second"); /* the same again: one */
    diag_note(d, (Loc){0}, "a note of the copy");
    ck_assert_int_eq(diag_errors(d), 3);
    ck_assert_str_eq(printed(d), "a.nn:1:1: error[E0006]: first\n    1 | x\n      | ^\n"
                                 "a.nn:2:1: error[E0006]: second\n    2 | y\n      | ^\nnote: a note\n"
                                 "b.nn:1:1: error[E0006]: third\n    1 | x\n      | ^\n");
}
END_TEST

START_TEST(d5_nearest) {
    static const char *const known[] = {"batch", "relu", "cross_entropy", "conv", "w", "accuracy", "dense"};
    static const char *const table[][2] = {
        {"bacth", "batch"},
        {"Relu", "relu"},
        {"RELU", "relu"},
        {"crossentropy", "cross_entropy"},
        {"cross_entrpoy", "cross_entropy"},
        {"cov", "conv"},
        {"W", "w"},
        {"acuracy", "accuracy"},
        {"desne", "dense"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) ck_assert_str_eq(diag_nearest(table[i][0], known, 7), table[i][1]);
    static const char *const far[] = {"x", "lstm", "bth", "entropy", "we"};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) ck_assert_ptr_null(diag_nearest(far[i], known, 7));
}
END_TEST

/* Each example of the syntax errors gives just its error; and --explain prints it. */
START_TEST(explained_examples) {
    static const struct {
        int code;
        const char *example;
    } rows[] = {
#define ERROR(code, title, explanation, example) {code, example},
#include "ir/errors.def"
#undef ERROR
    };
    int tried = 0, before = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ck_assert_msg(rows[i].code > before, "errors.def is not sorted at %d", rows[i].code);
        before = rows[i].code;
        if (rows[i].code >= 100 || rows[i].code == 21 || *rows[i].example == '$')
            continue; /* 21: the elaborator's; command lines */
        const char *got = codes(rows[i].example);
        ck_assert_msg(strlen(got) > 7 && !strchr(got, ',') && atoi(strrchr(got, ' ') + 2) == rows[i].code, "E%04d gives: %s",
                      rows[i].code, messages(rows[i].example));
        tried++;
    }
    ck_assert_int_ge(tried, 18);
    char *out = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&out, &n);
    ck_assert(diag_explain("E0013", f) && diag_explain("13", f) && diag_explain("e0013", f));
    ck_assert(!diag_explain("E9999", f) && !diag_explain("x", f) && !diag_explain("", f));
    fclose(f);
    contains(out, "E0013: comparisons in a chain\n\n");
    contains(out, "\n\n    fn f(a, b, c) = a < b < c\n");
    free(out);
}
END_TEST

/* ---- golden texts, and programs ---- */

typedef void (*EachFile)(const char *path, const char *text, size_t n);

static int each_file(const char *folder, EachFile f) {
    DIR *dir = opendir(folder);
    if (!dir) return 0;
    int count = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        const char *dot = strrchr(e->d_name, '.');
        if (!dot || strcmp(dot, ".nn") != 0) continue;
        size_t n;
        const char *path = arena_printf(arena, "%s/%s", folder, e->d_name), *text = read_file(path, &n);
        f(path, text, n);
        count++;
    }
    closedir(dir);
    return count;
}

static const char *neighbour(const char *path, const char *ext) {
    size_t n;
    return read_file(arena_printf(arena, "%.*s.%s", (int)strlen(path) - 3, path, ext), &n);
}

static void check_golden(const char *path, const char *text, size_t n) {
    const char *err = neighbour(path, "err"), *ast = neighbour(path, "ast");
    Diag *d = diag_new(arena);
    Ast *tree = parse_source(arena, d, strrchr(path, '/') + 1, text, n);
    if (!err && !ast) ck_abort_msg("%s has neither .err nor .ast", path);
    const char *got = printed(d);
    if (strcmp(got, err ? err : "") != 0) ck_abort_msg("%s\n---- wanted\n%s\n---- got\n%s", path, err ? err : "", got);
    if (!ast) return;
    char *out = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&out, &size);
    ast_print(tree, f);
    fclose(f);
    if (strcmp(out, ast) != 0) ck_abort_msg("%s\n---- wanted\n%s\n---- got\n%s", path, ast, out);
    free(out);
}

START_TEST(golden) { ck_assert_int_ge(each_file(NNC_SOURCE_ROOT "/tests/golden/syntax", check_golden), 10); }
END_TEST

static void check_parses(const char *path, const char *text, size_t n) {
    Diag *d = diag_new(arena);
    parse_source(arena, d, path, text, n);
    ck_assert_msg(diag_errors(d) == 0, "%s", printed(d));
}

START_TEST(programs_parse) {
    ck_assert_int_ge(each_file(NNC_SOURCE_ROOT "/frontend/std", check_parses), 11);
    each_file(NNC_SOURCE_ROOT "/samples", check_parses);
}
END_TEST

/* A forgotten bracket before or behind a whole program is one error: nothing in the program is accused. */
static void check_one_slip(const char *path, const char *text, size_t n) {
    static const char *const before[] = {"fn open(x = x\n", "fn open(x) {\n    if true {\n        y = x\n    return x\n}\n", ""};
    static const char *const behind[] = {"", "", "fn open(x) {\n    y = exp([x)\n    return y\n}\n"};
    for (int k = 0; k < 3; k++) {
        const char *t = arena_printf(arena, "%s%.*s\n%s", before[k], (int)n, text, behind[k]);
        Diag *d = diag_new(arena);
        parse_source(arena, d, path, t, strlen(t));
        ck_assert_msg(diag_errors(d) == 1, "%s, slip %d:\n%s", path, k, printed(d));
    }
}

START_TEST(one_slip) {
    each_file(NNC_SOURCE_ROOT "/frontend/std", check_one_slip);
    ck_assert_int_ge(each_file(NNC_SOURCE_ROOT "/samples", check_one_slip), 10);
}
END_TEST

/* ---- nnc fmt ---- */

/* Here and below: a run can be repeated with the seed that it prints. */
static uint64_t seed;
static void begin_draws(const char *test, uint64_t usual) {
    const char *given = getenv("NNC_TEST_SEED");
    seed = given ? strtoull(given, NULL, 10) : usual;
    printf("%s: seed %" PRIu64 "\n", test, seed);
    if (!seed) seed = 1;
}
static uint64_t draw(uint64_t n) { /* xorshift64 */
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % n;
}

static int count(const char *text, char c) {
    int n = 0;
    for (; *text; text++) n += *text == c;
    return n;
}

/* format_source itself compares the trees; here: twice is once, and no comment is lost. */
static void check_format(const char *path, const char *text, size_t n) {
    Diag *d = diag_new(arena);
    const char *once = format_source(arena, d, path, text, n);
    if (!once) return;
    const char *twice = format_source(arena, d, path, once, strlen(once));
    ck_assert_msg(twice && strcmp(once, twice) == 0, "%s: formatting twice is not formatting once", path);
    ck_assert_int_eq(count(once, '#'), count(text, '#'));
    ck_assert(!strstr(once, " \n") && !strstr(once, "\n\n\n") && !strchr(once, '\t'));
}

/* The same program with more spaces inside its lines, most of them before an =. */
static const char *disturbed(const char *text, size_t n, size_t *m) {
    char *out = arena_alloc(arena, 12 * n + 1);
    bool comment = false, string = false, code = false;
    *m = 0;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == '\n') comment = string = code = false;
        if (c == '#' && !string) comment = true;
        if (c == '"' && !comment && i && text[i - 1] != '\\') string = !string;
        bool space = c == ' ' && code && !comment && !string, before_equal = space && text[i + 1] == '=';
        if (space && draw(before_equal ? 3 : 20) == 0)
            for (uint64_t k = draw(before_equal ? 4 : 10); k > 0; k--) out[(*m)++] = ' ';
        code = c != '\n' && (code || c != ' ');
        out[(*m)++] = c;
    }
    out[*m] = 0;
    return out;
}

static void check_disturbed(const char *path, const char *text, size_t n) {
    for (int round = 0; round < 4; round++) {
        Arena *outer = arena;
        arena = arena_new();
        uint64_t first = seed;
        size_t m;
        const char *t = disturbed(text, n, &m);
        check_format(arena_printf(arena, "%s, seed %" PRIu64, path, first), t, m);
        arena_free(arena);
        arena = outer;
    }
}

/* Lines of one block whose = stand anywhere. */
static void check_columns(void) {
    char text[2000];
    size_t n = 0;
    for (uint64_t k = 3 + draw(8); k > 0; k--)
        n += (size_t)snprintf(text + n, sizeof text - n, "%sconst %.*s%*s= 1%s\n", draw(9) ? "" : "\n", (int)(1 + draw(6)),
                              "abcdef", (int)(1 + draw(6)), "", draw(9) ? "" : " # c");
    check_format(text, text, n);
}

START_TEST(formatting_twice) {
    begin_draws("formatting_twice", 20250401);
    each_file(NNC_SOURCE_ROOT "/frontend/std", check_disturbed);
    each_file(NNC_SOURCE_ROOT "/samples", check_disturbed);
    each_file(NNC_SOURCE_ROOT "/tests/language", check_disturbed);
    for (int k = 0; k < 3000; k++) check_columns();
    static const char text[] = "option lr     = 0.2\noption        decay  = 0.99\noption rounds = 40\n";
    check_format("three options", text, sizeof text - 1);
}
END_TEST

START_TEST(formatting) {
    ck_assert_int_ge(each_file(NNC_SOURCE_ROOT "/frontend/std", check_format), 11);
    each_file(NNC_SOURCE_ROOT "/samples", check_format);
    each_file(NNC_SOURCE_ROOT "/tests/golden/syntax", check_format);
    static const char before[] =
        "\n\n# top\nfn   f( x,y=2 )\n{   # opening\n\n  # first\n\n\n  a=x+1;b = -a^2   ;\n  if a==1{b=2}\n  else\n  {\n"
        "     b = 3 # three\n     }\n  # last\n\n}\nlayer g[ n:int=3 ](x : f32[B,n])->f32[B]{ return x\n   |> f( 1,k = 2 )\n"
        " |> dense[ 10 ] }\ncommand c { x = [1,\n2]\n y = f(\n 1, # one\n   # two\n )\n scan t in x along -1 { yield t }\n"
        " z = x[ : , 1 : 2,new, ...,- 1]\n w  = a - - b'\n v2 = 1. .. 2\n\n\n u = 2 ^ x ^ 3}\n# end";
    static const char after[] =
        "# top\nfn f(x, y = 2) {                                      # opening\n    # first\n\n"
        "    a = x + 1; b = -a^2\n    if a == 1 { b = 2 }\n    else {\n"
        "        b = 3                                         # three\n    }\n    # last\n}\n"
        "layer g[n: int = 3](x: f32[B, n]) -> f32[B] {\n    return x\n        |> f(1, k=2)\n        |> dense[10]\n}\n"
        "command c {\n    x = [1,\n         2]\n    y = f(\n        1,                                            # one\n"
        "        # two\n    )\n    scan t in x along -1 { yield t }\n    z = x[:, 1:2, new, ..., -1]\n    w  = a - -b'\n"
        "    v2 = 1. .. 2\n\n    u = 2 ^ x ^ 3\n}\n# end\n";
    Diag *d = diag_new(arena);
    ck_assert_str_eq(format_source(arena, d, "t.nn", before, sizeof before - 1), after);
    ck_assert_str_eq(format_source(arena, d, "t.nn", "", 0), "");
    ck_assert_ptr_null(format_source(arena, d, "t.nn", "const a 1", 9));
    ck_assert_int_eq(diag_errors(d), 1);
}
END_TEST

/* ---- mutations ---- */

static void visit_all(Node *n, void *data) {
    ++*(int *)data;
    ck_assert_int_ge(n->kind, 0);
    ck_assert_int_lt(n->kind, AST_KIND_COUNT);
    ck_assert_int_le(n->depth, 1001);
    ck_assert_ptr_nonnull(n->loc.file);
    ast_children(n, visit_all, data);
}

static void mutate(const char *path, const char *text, size_t n) {
    static const char *const pieces[] = {"{",    "}",     "(",     ")",   "[",    "]",      ";",       "\n",       "=",
                                         "<-",   "|>",    "if ",   "'",   "\"",   "..",     "...",     ",",        ":",
                                         "1.",   "2x",    "@",     "-",   "not ", "scan ",  "\xff",    "\xcc\x83", "#",
                                         "for ", "else ", "then ", "in ", "fn ",  "layer ", "return ", "new",      "<"};
    for (int round = 0; round < 12; round++) {
        uint64_t first = seed;
        Arena *outer = arena;
        arena = arena_new();
        size_t m = n;
        char *t = malloc(n + 64);
        memcpy(t, text, n);
        for (uint64_t k = 1 + draw(3); k && m; k--) {
            size_t at = draw(m), cut = draw(4);
            const char *piece = draw(3) ? pieces[draw(sizeof pieces / sizeof *pieces)] : "";
            size_t more = strlen(piece);
            if (at + cut > m) cut = m - at;
            memmove(t + at + more, t + at + cut, m - at - cut);
            memcpy(t + at, piece, more);
            m = m - cut + more;
        }
        Diag *d = diag_new(arena);
        Ast *ast = parse_source(arena, d, "t.nn", t, m);
        int nodes = 0;
        for (uint32_t i = 0; i < ast->declarations.n; i++) visit_all(ast->declarations.at[i], &nodes);
        const char *out = printed(d);
        if (strstr(out, "internal") || (nodes == 0 && diag_errors(d) == 0))
            ck_abort_msg("%s, seed %" PRIu64 ":\n%s", path, first, out);
        free(t);
        arena_free(arena);
        arena = outer;
    }
}

START_TEST(mutated_programs) {
    begin_draws("mutated_programs", 20250301);
    each_file(NNC_SOURCE_ROOT "/frontend/std", mutate);
    each_file(NNC_SOURCE_ROOT "/samples", mutate);
}
END_TEST

/* Whatever bytes: messages, in time that grows with the text. */
START_TEST(floods) {
    static const char *const units[] = {
        "(",    "{",  "[(",   ")",    "}",      "a;",    "a\n",     "a=a;",          "1^",  "-",  "x y\n",
        "'",    "\"", "$",    "{(\n", "if a {", "else ", "f(x)=\n", "fn f(x) = x\n", "\0a", "/*", ";",
        "|> f", "a.", "\xff", "²",    "[1,",    "x: "};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        for (int wrapped = 0; wrapped < 2; wrapped++) {
            const char *text = arena_printf(arena, "%s%s", wrapped ? "fn f(x) {\n" : "", repeated(units[i], 20000));
            const char *out = messages(text);
            ck_assert_msg(strlen(out) < 200000, "unit %zu: %zu bytes of messages", i, strlen(out));
        }
        teardown();
        setup();
    }
}
END_TEST

Suite *syntax_suite(void);
Suite *syntax_suite(void) {
    Suite *s = suite_create("syntax");
    TCase *c = tcase_create("rules");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, t1_text);
    tcase_add_test(c, t1_caret_width);
    tcase_add_test(c, t2_names);
    tcase_add_test(c, t3_numbers);
    tcase_add_test(c, t3_signs);
    tcase_add_test(c, t3_strings);
    tcase_add_test(c, t4_separators);
    tcase_add_test(c, t5_words);
    tcase_add_test(c, t6_limits);
    tcase_add_test(c, e1_precedence);
    tcase_add_test(c, e2_pipe);
    tcase_add_test(c, e3_literals);
    tcase_add_test(c, n1_keywords);
    tcase_add_test(c, every_statement);
    tcase_add_test(c, every_declaration);
    tcase_add_test(c, places);
    tcase_add_test(c, d1_brackets);
    tcase_add_test(c, d1_recovery);
    tcase_add_test(c, d1_spoilt_header);
    tcase_add_test(c, d2_hints);
    tcase_add_test(c, d2_expected);
    tcase_add_test(c, d2_order_and_number);
    tcase_add_test(c, d5_nearest);
    tcase_add_test(c, explained_examples);
    tcase_add_test(c, golden);
    tcase_add_test(c, programs_parse);
    tcase_add_test(c, one_slip);
    tcase_add_test(c, formatting);
    tcase_add_test(c, formatting_twice);
    tcase_add_test(c, mutated_programs);
    tcase_add_test(c, floods);
    suite_add_tcase(s, c);
    return s;
}
