/*
 * test_loops.c - the loops IR: affine arithmetic, text there and back, messages for wrong texts, the verifier, and the loops
 * evaluator on nests by hand.
 */
#include "ir/loops.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static Arena *a;
static void begin(void) { a = arena_new(); }
static void end(void) { arena_free(a); }

static LoopsProgram *parse(const char *text, Diag **diag) {
    LoopsStage stage;
    Diag *d = diag_new(a);
    LoopsProgram *p = loops_parse(a, d, "test.loops", text, strlen(text), &stage);
    if (diag) *diag = d;
    return p;
}

static LoopsProgram *parse_well(const char *text) {
    Diag *d;
    LoopsProgram *p = parse(text, &d);
    if (!p) diag_print(d, stderr);
    ck_assert_ptr_nonnull(p);
    const char *why = loops_verify(a, p, LOOPS_LOWERED);
    ck_assert_msg(!why, "%s", why);
    return p;
}

static const char *print(const LoopsProgram *p) {
    Text t = {0};
    loops_print(p, LOOPS_LOWERED, NULL, &t, a);
    return text_str(a, &t);
}

/* ---- affine indices ---- */

START_TEST(affines_are_sums_without_zeros) {
    Step s = {0};
    Var *i = step_var(a, &s, VAR_LOOP, "i"), *j = step_var(a, &s, VAR_LOOP, "j");
    const Affine *x = affine_add(a, affine_scale(a, affine_var(a, j), 3), affine_add_constant(a, affine_var(a, i), 7));
    ck_assert_int_eq(x->n, 2);
    ck_assert_ptr_eq(x->term[0].var, i);
    ck_assert_int_eq(affine_factor(x, j), 3);
    const Affine *y = affine_add(a, x, affine_scale(a, affine_var(a, j), -3));
    ck_assert_int_eq(y->n, 1);
    ck_assert(affine_same(y, affine_add_constant(a, affine_var(a, i), 7)));
    const Affine *z = affine_substitute(a, x, i, affine_scale(a, affine_var(a, j), 2)); /* i := 2 j */
    ck_assert_int_eq(z->n, 1);
    ck_assert_int_eq(affine_factor(z, j), 5);
    ck_assert(affine_is_constant(affine_scale(a, x, 0)));
}
END_TEST

/* ---- text ---- */

/* Everything that the text has. */
static const char *const everything =
    "loops lowered\n"
    "\n"
    "param %net.w: f32[7, 3] = 0.5\n"
    "field %x: u8[B<=5, 7] of @train\n"
    "\n"
    "command @train() {\n"
    "}\n"
    "\n"
    "step @train.step batch B<=5 threads 2 arena 2048 own 1088 {                             @ m.nn:3:1\n"
    "  buffer %x: u8[B, 7] field \"x\"\n"
    "  buffer %w: f32[7, 3] slot \"net.w\"                                                     @ m.nn:4 dense\n"
    "  buffer %v: f32[21] slot \"net.w\" same %w\n"
    "  buffer %h: f32[B, 3] arena 64 stride [16, 1]\n"
    "  buffer %t: f64[3] thread 1024 bytes 64\n"
    "  buffer %c: i32[2] data [3, -4]\n"
    "  buffer %n: i32\n"
    "  buffer %go: bool\n"
    "  kernel @dense.1 {                                                                     @ m.nn:5:2\n"
    "    for i in 0..B parallel, j in 0..3 vector 16 {\n"
    "      acc s: f32 = 0\n"
    "      for k in 0..7 unroll 4 { s = fma(convert(%x[i, k]), %w[k, j], s) }                @ m.nn:6:9\n"
    "      let y: f32 = select(gt(s, f32 0), s, -0)\n"
    "      %h[i, j] = max(y, %w[i - 3, B - 2*i + j - 1] else -inf)\n"
    "    }\n"
    "    acc lanes: f32[16] = 0\n"
    "    for i in 0..21 by 16, l in i..min(21, i + 16) unroll { lanes[-i + l] = add(lanes[-i + l], %v[l]) }\n"
    "  }\n"
    "  barrier\n"
    "  kernel @more {\n"
    "    index q = (3*B - 1) / 2\n"
    "    index r = (3*B - 1) mod 2\n"
    "    index z = %c[0]\n"
    "    check z < B + 3\n"
    "    if 0 <= q - z { %t[0] = convert(uniform(-33, 5, i64(q + r))) }\n"
    "    %n = i32(z)\n"
    "    %go = not(lt(f64 convert(%n), f64 0.1))\n"
    "  }\n"
    "  loop t in 0..3 {\n"
    "    while %go max 9 {\n"
    "      loop u in 0..%n {\n"
    "        barrier\n"
    "      }\n"
    "    }\n"
    "  }\n"
    "}\n";

START_TEST(text_is_read_and_printed_as_the_same_bytes) {
    LoopsProgram *p = parse_well(everything);
    ck_assert_str_eq(print(p), everything);
}
END_TEST

START_TEST(names_are_made_unique) {
    Module *m = module_new(a);
    LoopsProgram p = {.module = m, .arena = a};
    Step *s = arena_make(a, Step);
    StepNode *k = arena_make(a, StepNode);
    s->func = func_new(m, "f", (Loc){0});
    k->name = "k";
    Buffer *b = step_buffer(a, s, "a b", F32, 1, &(Dim){9, false}, (Loc){0}),
           *c = step_buffer(a, s, "a b", F32, 1, &(Dim){9, false}, (Loc){0});
    for (int n = 0; n < 2; n++) {
        Var *i = step_var(a, s, VAR_LOOP, "i"), *j = step_var(a, s, VAR_LOOP, "i");
        const Affine *at = affine_add_constant(a, affine_add(a, affine_var(a, j), affine_scale(a, affine_var(a, i), 2)), -1);
        Stmt *outer = stmt_for(a, i, affine_constant(a, 0), affine_constant(a, 4), 1, MARK_SERIAL, 0);
        Stmt *inner = stmt_for(a, j, affine_constant(a, 0), affine_constant(a, 4), 1, MARK_SERIAL, 0);
        Temp *t = step_temp(a, s, "max", F32, false, 0, NULL);
        body_add(&k->body, outer);
        body_add(&outer->body, inner);
        body_add(&inner->body, stmt_let(a, t, expr_load(a, b, &at)));
        body_add(&inner->body, stmt_store(a, c, &at, expr_temp(a, t, NULL)));
    }
    vec_push(a, &s->nodes, k);
    vec_push(a, &p.steps, s);
    const char *text = print(&p);
    ck_assert_msg(strstr(text, "buffer %a_b: f32[9]\n  buffer %a_b.1: f32[9]\n"), "%s", text);
    ck_assert_msg(
        strstr(text,
               "for i in 0..4, i.1 in 0..4 {\n      let _max: f32 = %a_b[2*i + i.1 - 1]\n      %a_b.1[2*i + i.1 - 1] = _max\n"),
        "%s", text);
    ck_assert_str_eq(print(parse_well(text)), text);
}
END_TEST

/* ---- wrong texts ---- */

static void check_wrong(const char *kernel, int code, const char *words) {
    Diag *d;
    const char *text = arena_printf(
        a, "loops lowered\nstep @f batch B<=4 {\n  buffer %%a: f32[B, 4]\n  buffer %%u: u8[4]\n  kernel @k {\n    %s\n  }\n}\n",
        kernel);
    LoopsProgram *p = parse(text, &d);
    ck_assert_msg(!p && diag_errors(d) == 1, "%s: %d errors", kernel, diag_errors(d));
    char *out = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&out, &n);
    diag_print(d, f);
    fclose(f);
    ck_assert_msg(strstr(out, arena_printf(a, "test.loops:6:")) && strstr(out, arena_printf(a, "error[E%04d]", code)) &&
                      strstr(out, words),
                  "%s gives: %s", kernel, out);
    free(out);
}

START_TEST(wrong_texts_have_messages) {
    check_wrong("let x = 1", 701, "`:` expected");
    check_wrong("for i in 0..4 by 0 { %a[0, i] = 1 }", 704, "1 or more");
    check_wrong("%a[0, i] = 1", 702, "no variable `i`");
    check_wrong("%b[0] = 1", 702, "no buffer %b");
    check_wrong("%a[0] = 1", 704, "1 indices here, and 2 axes");
    check_wrong("%a[0, 1] = %u[0]", 704, "f32 expected here, not u8");
    check_wrong("let x: bool = lt(1, f32 2)", 704, "type of this number");
    check_wrong("let x: f32 = contract(1, 2)", 702, "no elementwise op");
    check_wrong("let x: f32 = add(1)", 704, "1 arguments");
    check_wrong("for i in 0..4, i in 0..4 { %a[0, i] = 1 }", 703, "declared twice");
    check_wrong("for max in 0..4 { %a[0, 1] = 1 }", 701, "word of the language");
    check_wrong("index q = (B) / 0", 704, "1 or more");
    check_wrong("index q = 1.5", 704, "type of this number");
    check_wrong("check B < 3", 702, "no index");
    check_wrong("acc x: f32[2, 2, 2, 2, 2] = 0", 704, "at most 4 axes");
    check_wrong("if B { %a[0, 1] = 1 }", 701, "if 0 <=");
}
END_TEST

/* What stands around the kernels must fit them, and the memory that they name. */
static void check_around(const char *field, const char *buffer, const char *loop, const char *kernel, const char *words) {
    Diag *d;
    const char *text =
        arena_printf(a,
                     "loops lowered\nparam %%w: f32[8] = 0\nfield %%x: f32[B<=4, 8]\nvar %%s: f32\nvar %%m: f32\n"
                     "data @d {\n  v: f32[8] = csv(\"d.csv\")\n}\ncommand @c() {\n  %s {\n    call @f\n    track %s as \"s\" "
                     "into %%m\n  }\n}\n"
                     "step @f batch B<=4 {\n  buffer %%x: f32[B, 8] field \"x\"\n  buffer %%w: %s\n  buffer %%s: f32 slot \"s\"\n"
                     "  kernel @k {\n    %s\n  }\n}\n",
                     loop, field, buffer, kernel);
    LoopsProgram *p = parse(text, &d);
    char *out = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&out, &n);
    diag_print(d, f);
    fclose(f);
    ck_assert_msg(words ? !p && strstr(out, "error[E0704]") && strstr(out, words) : p != NULL, "%s\ngives: %s", text, out);
    free(out);
}

START_TEST(what_stands_around_kernels_is_checked) {
    const char *loop = "for %x in @d batch 4", *w = "f32[8] slot \"w\"", *set = "for i in 0..8 { %w[i] = %x[0, i] }";
    check_around("%s", w, loop, set, NULL);
    check_around("%x", w, loop, set, "something tracked has no slot");
    check_around("%s", w, "for %x in @d batch 5", set, "takes batches of 5");
    check_around("%s", w, "for %x in @d batch 0", set, "a batch of 0");
    check_around("%s", w, "for %s in @d batch 4", set, "goes to no field slot");
    check_around("%s", w, "for _ in @d batch 4", set, "which no loop around binds");
    check_around("%s", "f32[9] slot \"w\"", loop, set, "%w is not f32[8], as its slot is");
    check_around("%s", "f32[8] field \"w\"", loop, set, "%w is taken for a batch of data");
    check_around("%s", "f32[8] slot \"x\"", loop, set, "%w is taken for memory of the program");
    check_around("%s", "f32[8] slot \"w\" stride [2]", loop, set, "%w is not f32[8], as its slot is");
    check_around("%s", "f32[8] slot \"w\" stride [-1]", loop, set, "a stride of -1");
    check_around("%s", "f32[9] same %x", loop, set, NULL);
    check_around("%s", "f32[33] same %x", loop, set, "more bytes than %x");
    check_around("%s", w, loop, "for i in 0..9 { %w[i] = 1 }", "%w is indexed by 8 on an axis of 8");
    check_around("%s", w, loop, "for i in 0..7 by 3 { %w[i + 2] = 1 }", "%w is indexed by 8 on an axis of 8");
    check_around("%s", w, loop, "for i in 0..6 by 3 { %w[-2*i + 6] = 1 }", NULL);
    check_around("%s", w, loop, "for i in 0..2199023255552 { %w[0] = 1 }", "beyond 2^40");
}
END_TEST

START_TEST(spoilt_texts_end_in_messages) {
    uint64_t state = 12345;
    size_t n = strlen(everything);
    for (int turn = 0; turn < 3000; turn++) {
        char *text = strdup(everything);
        for (int k = 0; k < 1 + turn % 3; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            size_t at = (state >> 33) % n;
            if (turn % 2)
                text[at] = (char)(" %@{}[]()=.,0123xyz\n\"#-*"[(state >> 20) % 24]);
            else
                memmove(text + at, text + at + 1, strlen(text + at + 1) + 1);
        }
        Arena *keep = a;
        a = arena_new();
        Diag *d;
        LoopsProgram *p = parse(text, &d);
        if (p)
            print(p);
        else
            ck_assert_int_gt(diag_errors(d), 0);
        arena_free(a);
        a = keep;
        free(text);
    }
}
END_TEST

/* ---- the verifier ---- */

static const char *verdict(LoopsProgram *p, LoopsStage stage) {
    const char *why = loops_verify(a, p, stage);
    return why ? why : "";
}

START_TEST(the_verifier_sees_what_is_wrong) {
    LoopsProgram *p = parse_well(everything);
    StepNode *k = p->steps.at[0]->nodes.at[0];
    Stmt *nest = k->body.first, *inner = nest->body.first, *let = inner->body.first->next->next, *store = let->next;
    ck_assert_ptr_nonnull(strstr(verdict(p, LOOPS_PLANNED), "%n has no place"));
    p->steps.at[0]->own = 1024;
    ck_assert_ptr_nonnull(strstr(verdict(p, LOOPS_PLANNED), "%t lies at 1024 of a thread's own part of 1024 bytes"));
    body_remove(&inner->body, let);
    ck_assert_ptr_nonnull(strstr(verdict(p, LOOPS_LOWERED), "`y` is used where it is not declared"));
    body_insert_before(&inner->body, store, let);
    ck_assert_str_eq(verdict(p, LOOPS_LOWERED), "");
    store->value->elem = F64;
    ck_assert_ptr_nonnull(strstr(verdict(p, LOOPS_LOWERED), "m.nn:5"));
    store->value->elem = F32;
    store->n_index = 1;
    ck_assert_ptr_nonnull(strstr(verdict(p, LOOPS_LOWERED), "has 2 axes"));
    store->n_index = 2;
    store->buffer->place = PLACE_FIELD;
    ck_assert_str_ne(verdict(p, LOOPS_LOWERED), "");
    store->buffer->place = PLACE_ARENA;
    body_remove(&nest->body, inner);
    body_add(&k->body, inner);
    ck_assert_ptr_nonnull(strstr(verdict(p, LOOPS_LOWERED), "`i`"));
}
END_TEST

START_TEST(what_is_never_reached_may_lie_outside) {
    static const struct {
        const char *loop;
        bool good;
    } loops[] = {{"0..0", true}, {"3..2", true}, {"0..min(B, 0)", true}, {"0..1", false}, {"0..B", false}, {"3..4", false}};
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++) {
        const char *text = arena_printf(a,
                                        "loops lowered\nstep @f batch B<=4 {\n  buffer %%x: f32[1]\n  buffer %%y: f32[1]\n"
                                        "  kernel @k {\n    for i in %s { %%y[0] = %%x[1] }\n    %%y[0] = %%x[0]\n  }\n}\n",
                                        loops[i].loop);
        ck_assert_msg((parse(text, NULL) != NULL) == loops[i].good, "%s", loops[i].loop); /* (parsing verifies) */
    }
}
END_TEST

/* ---- the evaluator ---- */

START_TEST(a_product_by_hand) {
    LoopsProgram *p = parse_well(
        "loops lowered\nstep @f batch B<=4 {\n  buffer %x: u8[B, 3]\n  buffer %w: f32[3, 2]\n  buffer %y: f32[B, 2]\n"
        "  kernel @k {\n    for i in 0..B, j in 0..2 {\n      acc s: f32 = 0\n"
        "      for k in 0..3 { s = fma(convert(%x[i, k]), %w[k, j], s) }\n      %y[i, j] = max(0, s)\n    }\n  }\n}\n");
    unsigned char x[4][3] = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}, {0, 0, 0}};
    float w[3][2] = {{1, -1}, {0.5f, 2}, {-1, 0.25f}}, y[4][2];
    memset(y, 0x7f, sizeof y);
    void *memory[3] = {x, w, y};
    ck_assert(loops_eval(a, p->steps.at[0], 3, memory));
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 2; j++) {
            float s = 0;
            for (int k = 0; k < 3; k++) s += (float)x[i][k] * w[k][j];
            ck_assert_float_eq(y[i][j], s > 0 ? s : 0);
        }
    unsigned char untouched = 0x7f;
    ck_assert_mem_eq(&y[3], (unsigned char[8]){[0 ... 7] = untouched}, 8); /* the fourth sample is not there */
}
END_TEST

START_TEST(lanes_are_added_as_a_tree) {
    LoopsProgram *p =
        parse_well("loops lowered\nstep @f {\n  buffer %x: f32[16]\n  buffer %y: f32\n  kernel @k {\n    acc v: f32[16] = 0\n"
                   "    for l in 0..16 { v[l] = %x[l] }\n    %y = tree(add, v)\n  }\n}\n");
    float x[16], y, t[16];
    for (int i = 0; i < 16; i++) t[i] = x[i] = (float)(1 << i) + 1.0f / (float)(i + 3);
    for (int half = 8; half; half /= 2)
        for (int l = 0; l < half; l++) t[l] += t[l + half];
    void *memory[2] = {x, &y};
    ck_assert(loops_eval(a, p->steps.at[0], 1, memory));
    ck_assert_float_eq(y, t[0]);
}
END_TEST

START_TEST(an_index_outside_is_a_fault) {
    LoopsProgram *p = parse_well("loops lowered\nstep @f {\n  buffer %i: i32[3]\n  buffer %x: f32[5]\n  buffer %y: f32[3]\n  "
                                 "kernel @k {\n    for k in 0..3 {\n"
                                 "      index v = %i[k]\n      check v < 5\n      %y[k] = %x[v]\n    }\n  }\n}\n");
    int32_t good[3] = {4, 0, 2}, bad[3] = {1, 5, -1};
    float x[5] = {10, 11, 12, 13, 14}, y[3];
    void *memory[3] = {good, x, y};
    ck_assert(loops_eval(a, p->steps.at[0], 1, memory));
    ck_assert_float_eq(y[0], 14);
    memory[0] = bad;
    ck_assert(!loops_eval(a, p->steps.at[0], 1, memory));
    ck_assert_float_eq(y[1], 10); /* the index becomes 0, and the run goes on */
}
END_TEST

START_TEST(loops_of_a_step_run) {
    LoopsProgram *p = parse_well("loops lowered\nstep @f {\n  buffer %n: i32\n  buffer %s: i32\n  buffer %go: bool\n  kernel @a "
                                 "{\n    %s = 0\n    %n = 4\n    %go = lt(%s, i32 20)\n  }\n"
                                 "  loop t in 0..%n {\n    kernel @b {\n      %s = add(%s, i32(t))\n    }\n    barrier\n  }\n"
                                 "  while %go max 100 {\n    kernel @c {\n      %s = add(%s, 5)\n      %go = lt(%s, i32 20)\n    "
                                 "}\n    barrier\n  }\n}\n");
    int32_t n, s;
    unsigned char go;
    void *memory[3] = {&n, &s, &go};
    ck_assert(loops_eval(a, p->steps.at[0], 1, memory));
    ck_assert_int_eq(s, 21); /* 0 + 1 + 2 + 3, then fives until 20 is reached */
}
END_TEST

Suite *loops_suite(void);

Suite *loops_suite(void) {
    Suite *s = suite_create("loops");
    TCase *t = tcase_create("loops");
    tcase_add_checked_fixture(t, begin, end);
    tcase_set_timeout(t, 30);
    tcase_add_test(t, affines_are_sums_without_zeros);
    tcase_add_test(t, text_is_read_and_printed_as_the_same_bytes);
    tcase_add_test(t, names_are_made_unique);
    tcase_add_test(t, wrong_texts_have_messages);
    tcase_add_test(t, what_stands_around_kernels_is_checked);
    tcase_add_test(t, spoilt_texts_end_in_messages);
    tcase_add_test(t, the_verifier_sees_what_is_wrong);
    tcase_add_test(t, what_is_never_reached_may_lie_outside);
    tcase_add_test(t, a_product_by_hand);
    tcase_add_test(t, lanes_are_added_as_a_tree);
    tcase_add_test(t, an_index_outside_is_a_fault);
    tcase_add_test(t, loops_of_a_step_run);
    suite_add_tcase(s, t);
    return s;
}
