/*
 * test_lower.c - lower, alone and behind fuse, held to the evaluator bit for bit: every op by hand
 * (tests/golden/lower/ops.graph), control, results that change places, and random graphs; for the largest batch, one sample, and
 * a short batch.
 */
#include "../random_property.h"
#include "run_graph.h"
#include "run_loops.h"

/* ---- one function, run both ways ---- */

typedef enum How { PLAIN, FUSED } How;

/* NULL, or in what the loops differ from the graph. The module is changed. */
static const char *differs(Arena *a, Module *m, How how, uint64_t seed, const RandomOptions *random) {
    PassCtx c = {.arena = a, .diag = diag_new(a)};
    Func *f = m->funcs.at[0];
    int64_t batches[3] = {f->batch_bound ? f->batch_bound : 1, 1, f->batch_bound > 2 ? f->batch_bound - 1 : 1};
    Tensor **in[3], **want[3];
    bool ran[3];
    for (int i = 0; i < 3; i++) {
        EvalFault fault;
        want[i] = arena_make_n(a, Tensor *, f->body->results.n + 1);
        if (random) {
            in[i] = random_inputs(a, f, EVAL_F32, batches[i], seed + (uint64_t)i, random->smooth);
        } else {
            in[i] = arena_make_n(a, Tensor *, f->body->params.n + 1);
            for (size_t k = 0; k < f->body->params.n; k++)
                in[i][k] = test_draw(EVAL_F32, f->body->params.at[k]->type, batches[i], &seed, -1, 1, 3);
        }
        ran[i] = eval_func(a, f, EVAL_F32, batches[i], in[i], want[i], &fault);
    }
    if (how == FUSED) {
        if (!pass_fuse(&c, m)) return "fuse reports an error";
        const char *why = graph_verify(a, m, STAGE_FUSED);
        if (why) return why;
    }
    LoopsProgram *p = pass_lower(&c, m);
    if (!p) return "lower reports an error";
    const char *why = loops_verify(a, p, LOOPS_LOWERED);
    if (why) return why;
    for (int i = 0; i < 3; i++) {
        Tensor **have = arena_make_n(a, Tensor *, f->body->results.n + 1);
        bool ok = run_step(a, p->steps.at[0], batches[i], in[i], have);
        /* what nobody needs does not run behind fuse, so a fault there goes */
        if (ok != ran[i] && (ran[i] || how == PLAIN))
            return arena_printf(a, "B = %d: the evaluator %s, the loops %s", (int)batches[i], ran[i] ? "ran" : "stopped",
                                ok ? "ran" : "stopped");
        for (size_t k = 0; k < f->body->results.n && ok && ran[i]; k++) {
            int64_t at;
            if (!tensor_same(want[i][k], have[k], &at))
                return arena_printf(a, "B = %d, result %zu, element %" PRId64 ": %.9g, not %.9g", (int)batches[i], k, at,
                                    at < 0 ? 0 : tensor_get(have[k], at), at < 0 ? 0 : tensor_get(want[i][k], at));
            tensor_release(want[i][k]);
            tensor_release(have[k]);
        }
        for (size_t k = 0; k < f->body->params.n; k++) tensor_release(in[i][k]);
    }
    return NULL;
}

static void check_text(const char *text) {
    for (How how = PLAIN; how <= FUSED; how++) {
        TestGraph g = test_read(text);
        const char *why = differs(g.a, g.m, how, 7, NULL);
        ck_assert_msg(!why, "%s: %s\n%s", how == FUSED ? "fused" : "plain", why, text);
        arena_free(g.a);
    }
}

static char *file_text(const char *path) {
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s is missing", path);
    char *s = calloc(1, 1 << 20);
    size_t n = fread(s, 1, (1 << 20) - 1, f);
    ck_assert_uint_gt(n, 0);
    fclose(f);
    return s;
}

START_TEST(every_op_gives_the_evaluators_bits) {
    char *text = file_text(NNC_SOURCE_ROOT "/tests/golden/lower/ops.graph");
    check_text(text);
    free(text);
}
END_TEST

/* ---- results that overwrite parameters ---- */

#define SLOTS                                                                                                                    \
    "graph expanded\n"                                                                                                           \
    "param %a: f32[4, 3] = 0\n"                                                                                                  \
    "param %b: f32[4, 3] = 0\n"                                                                                                  \
    "param %s: f32 = 0\n"                                                                                                        \
    "var %v: f32[3, 4] of @c\n"                                                                                                  \
    "var %w: f32 of @c\n"                                                                                                        \
    "command @c() {\n}\n"

START_TEST(parameters_change_places) {
    check_text(SLOTS "func @f(%a: f32[4, 3], %b: f32[4, 3]) -> (%b: f32[4, 3], %a: f32[4, 3]) {\n  return %a, %b\n}\n");
}
END_TEST

START_TEST(an_old_value_is_read_after_it_was_replaced) {
    /* b' = a + b is there before a' = 2 a ... and v reads both old ones at other places than they are written */
    check_text(SLOTS
               "func @f(%a: f32[4, 3], %b: f32[4, 3]) -> (%a: f32[4, 3], %b: f32[4, 3], %v: f32[3, 4]) {\n"
               "  %x = add %a, %b : f32[4, 3]\n  %y = mul %a, %x : f32[4, 3]\n  %t = transpose %a, perm=[1, 0] : f32[3, 4]\n"
               "  %u = transpose %b, perm=[1, 0] : f32[3, 4]\n  %v = mul %t, %u : f32[3, 4]\n  return %y, %x, %v\n}\n");
}
END_TEST

START_TEST(a_matrix_becomes_its_own_reverse) {
    check_text(SLOTS "func @f(%a: f32[4, 3]) -> (%a: f32[4, 3]) {\n  %r = reverse %a, axes=[0, 1] : f32[4, 3]\n  return %r\n}\n");
}
END_TEST

START_TEST(one_value_goes_to_two_slots) {
    check_text(SLOTS "func @f(%a: f32[4, 3], %s: f32) -> (%a: f32[4, 3], %b: f32[4, 3], %s: f32, %w: f32) {\n"
                     "  %c = broadcast %s, axes=[] : f32[4, 3]\n  %x = mul %a, %c : f32[4, 3]\n  %two = constant 2 : f32\n  "
                     "return %x, %x, %two, %s\n}\n");
}
END_TEST

/* A part of a parameter is exchanged where it lies, without a loop over the whole; unless it is made of what is overwritten on the way, or the result
 * lies elsewhere. */
START_TEST(a_part_is_exchanged_where_it_lies) {
    static const struct {
        const char *part, *returned;
        bool whole; /* all of it is written */
    } rows[] = {
        {"%u = slice %b, start=[0, 0], limit=[2, 3], step=[1, 1] : f32[2, 3]", "(%a: f32[4, 3])", false},
        {"%o = dynamic_slice %a, %i, axes=[0], sizes=[2] : f32[2, 3]\n  %u = add %o, %o : f32[2, 3]", "(%a: f32[4, 3])", false},
        {"%u = slice %a, start=[0, 0], limit=[2, 3], step=[1, 1] : f32[2, 3]", "(%a: f32[4, 3])", true},
        {"%r = reverse %a, axes=[0, 1] : f32[4, 3]\n  %u = slice %r, start=[1, 0], limit=[3, 3], step=[1, 1] : f32[2, 3]",
         "(%a: f32[4, 3])", true},
        {"%u = slice %b, start=[0, 0], limit=[2, 3], step=[1, 1] : f32[2, 3]", "(%b: f32[4, 3])", true},
        {"%u = slice %b, start=[0, 0], limit=[2, 3], step=[1, 1] : f32[2, 3]", "(%a: f32[4, 3], %b: f32[4, 3])", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Arena *a = arena_new();
        const char *x = strstr(rows[i].returned, ", %b") ? "%x, %x" : "%x";
        const char *text =
            arena_printf(a,
                         "%sfunc @f(%%a: f32[4, 3], %%b: f32[4, 3], %%s: f32) -> %s {\n  %%i = convert %%s : i32\n  %s\n"
                         "  %%x = dynamic_update %%a, %%u, %%i, axes=[0] : f32[4, 3]\n  return %s\n}\n",
                         SLOTS, rows[i].returned, rows[i].part, x);
        check_text(text);
        Text shown = {0};
        TestGraph g = test_fused(text, NULL);
        loops_print(pass_lower(&g.c, g.m), LOOPS_LOWERED, NULL, &shown, a);
        ck_assert_msg((strstr(text_str(a, &shown), "updated") != NULL) == rows[i].whole, "row %zu:\n%s", i, text_str(a, &shown));
        arena_free(g.a);
        arena_free(a);
    }
}
END_TEST

/* Part after part: each is written where the tensor lies, unless somebody reads the values between too late, or elsewhere than where they are changed. */
START_TEST(parts_are_changed_one_after_the_other) {
    static const struct {
        const char *body, *to, *returned;
        int memory; /* buffers beside the slots */
    } rows[] = {
        {"%x = dynamic_update %a, %u, %i, axes=[0] : f32[4, 3]\n  %z = scatter_add %x, %y, %j, axis=0 : f32[4, 3]\n",
         "%a: f32[4, 3]", "%z", 0},
        {"%x = scatter_add %a, %y, %j, axis=0 : f32[4, 3]\n  %w = scatter_add %x, %y, %j, axis=0 : f32[4, 3]\n"
         "  %z = dynamic_update %w, %u, %i, axes=[0] : f32[4, 3]\n",
         "%a: f32[4, 3]", "%z", 0},
        /* read before it is changed again */
        {"%x = scatter_add %a, %y, %j, axis=0 : f32[4, 3]\n  %v = transpose %x, perm=[1, 0] : f32[3, 4]\n"
         "  %z = dynamic_update %x, %u, %i, axes=[0] : f32[4, 3]\n",
         "%a: f32[4, 3], %v: f32[3, 4]", "%z, %v", 0},
        /* read together with what it becomes: %a as it was */
        {"%x = scatter_add %a, %y, %j, axis=0 : f32[4, 3]\n  %z = dynamic_update %x, %u, %i, axes=[0] : f32[4, 3]\n"
         "  %m = mul %a, %z : f32[4, 3]\n  %v = transpose %m, perm=[1, 0] : f32[3, 4]\n",
         "%a: f32[4, 3], %v: f32[3, 4]", "%z, %v", 1},
        /* ... and the value between */
        {"%x = scatter_add %a, %y, %j, axis=0 : f32[4, 3]\n  %z = dynamic_update %x, %u, %i, axes=[0] : f32[4, 3]\n"
         "  %m = mul %x, %z : f32[4, 3]\n  %v = transpose %m, perm=[1, 0] : f32[3, 4]\n",
         "%a: f32[4, 3], %v: f32[3, 4]", "%z, %v", 1},
        /* a row of it is added to another one */
        {"%x = dynamic_update %a, %u, %i, axes=[0] : f32[4, 3]\n  %o = slice %x, start=[3, 0], limit=[4, 3], step=[1, 1] : "
         "f32[1, 3]\n"
         "  %w = scatter_add %x, %o, %j, axis=0 : f32[4, 3]\n  %z = dynamic_update %w, %u, %i, axes=[0] : f32[4, 3]\n",
         "%a: f32[4, 3]", "%z", 1},
        /* what rows become is made of them: the rows alone have memory */
        {"%o = dynamic_slice %a, %i, axes=[0], sizes=[2] : f32[2, 3]\n  %p = add %o, %u : f32[2, 3]\n"
         "  %x = dynamic_update %a, %p, %i, axes=[0] : f32[4, 3]\n  %q = dynamic_slice %x, %i, axes=[0], sizes=[2] : f32[2, 3]\n"
         "  %r = mul %q, %u : f32[2, 3]\n  %z = dynamic_update %x, %r, %i, axes=[0] : f32[4, 3]\n",
         "%a: f32[4, 3]", "%z", 2},
        /* memory of its own */
        {"%t = transpose %b, perm=[1, 0] : f32[3, 4]\n  %k = reshape %t : f32[4, 3]\n  %e = exp %k : f32[4, 3]\n"
         "  %x = scatter_add %e, %y, %j, axis=0 : f32[4, 3]\n  %w = scatter_add %x, %y, %j, axis=0 : f32[4, 3]\n"
         "  %v = transpose %w, perm=[1, 0] : f32[3, 4]\n",
         "%v: f32[3, 4]", "%v", 1},
        /* an element is a comparison: the sum is computed where it is read */
        {"%o = constant 0 : f32[4, 3]\n  %x = scatter_add %o, %y, %j, axis=0 : f32[4, 3]\n  %z = add %a, %x : f32[4, 3]\n",
         "%a: f32[4, 3]", "%z", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Arena *a = arena_new();
        const char *text =
            arena_printf(a,
                         "%sfunc @f(%%a: f32[4, 3], %%b: f32[4, 3], %%s: f32) -> (%s) {\n  %%i = convert %%s : i32\n"
                         "  %%u = slice %%b, start=[0, 0], limit=[2, 3], step=[1, 1] : f32[2, 3]\n"
                         "  %%y = slice %%b, start=[2, 0], limit=[3, 3], step=[1, 1] : f32[1, 3]\n"
                         "  %%j = broadcast %%i, axes=[] : i32[1, 3]\n  %s  return %s\n}\n",
                         SLOTS, rows[i].to, rows[i].body, rows[i].returned);
        check_text(text);
        TestGraph g = test_fused(text, NULL);
        const Step *s = pass_lower(&g.c, g.m)->steps.at[0];
        int memory = 0;
        for (size_t k = 0; k < s->buffers.n; k++) memory += s->buffers.at[k]->place == PLACE_NONE && !s->buffers.at[k]->same;
        ck_assert_msg(memory == rows[i].memory, "row %zu: %d buffers beside the slots, not %d\n%s", i, memory, rows[i].memory,
                      text);
        arena_free(g.a);
        arena_free(a);
    }
}
END_TEST

/* One kernel that adds rows of a tensor to rows of it: what is read is not what was added meanwhile. */
START_TEST(rows_are_added_to_where_they_come_from) {
    TestGraph g = test_read("graph fused\nstate %a: f32[4, 3] = 1\nstate %i: i32[5, 3] = 1\ncommand @c() {\n}\n"
                            "func @f(%a: f32[4, 3], %i: i32[5, 3]) -> (%a: f32[4, 3]) {\n"
                            "  %r = kernel : f32[4, 3] {\n    block ()\n    %z = gather %a, %i, axis=0 : f32[5, 3]\n"
                            "    %r.1 = scatter_add %a, %z, %i, axis=0 : f32[4, 3]\n    yield %r.1\n  }\n  return %r\n}\n");
    for (int seed = 0; seed < 20; seed++) {
        const char *why = differs(g.a, g.m, PLAIN, seed, NULL);
        ck_assert_msg(!why, "seed %d: %s", seed, why);
    }
    arena_free(g.a);
}
END_TEST

/* ---- control ---- */

START_TEST(a_scan_runs_both_ways) {
    for (int reverse = 0; reverse < 2; reverse++) {
        char text[2000];
        snprintf(
            text, sizeof text,
            "graph expanded\nparam %%x: f32[5, 3] = 0\nparam %%h: f32[3] = 0\nvar %%ys: f32[3, 5] of @c\nvar %%ts: i32[5] of "
            "@c\ncommand @c() {\n}\n"
            "func @f(%%x: f32[5, 3], %%h: f32[3]) -> (%%h: f32[3], %%ys: f32[3, 5], %%ts: i32[5]) {\n"
            "  %%r, %%y, %%t = scan %%h, %%x, carry=1, axes=[0], yaxes=[1, 0], reverse=%s, trip=5 : f32[3], f32[3, 5], i32[5] {\n"
            "    block (%%i: i32, %%c: f32[3], %%xt: f32[3])\n    %%n = fma %%c, %%xt, %%xt : f32[3]\n    %%m = reverse %%n, "
            "axes=[0] : f32[3]\n    yield %%m, %%n, %%i\n  }\n"
            "  return %%r, %%y, %%t\n}\n",
            reverse ? "true" : "false");
        check_text(text);
    }
}
END_TEST

/* The way back of a loop that keeps nothing: how often it turns is known only when it runs. */
START_TEST(a_scan_goes_back_as_often_as_it_is_told) {
    check_text(
        "graph expanded\nparam %x: f32[3] = 0\nparam %s: f32 = 0\ncommand @c() {\n}\n"
        "func @f(%x: f32[3], %s: f32) -> (%x: f32[3]) {\n  %n = convert %s : i32\n  %two = constant 2 : i32\n  %k = max %n, %two "
        ": i32\n"
        "  %y = scan %x, %k, carry=1, axes=[], yaxes=[], reverse=true, trip=-1 : f32[3] {\n    block (%t: i32, %c: f32[3])\n"
        "    %u = convert %t : f32\n    %w = broadcast %u, axes=[] : f32[3]\n    %d = fma %c, %c, %w : f32[3]\n    yield %d\n  "
        "}\n"
        "  return %y\n}\n");
}
END_TEST

START_TEST(a_while_stops) {
    check_text("graph expanded\nparam %x: f32[3] = 0\nvar %n: i32 of @c\ncommand @c() {\n}\n"
               "func @f(%x: f32[3]) -> (%x: f32[3], %n: i32) {\n  %zero = constant 0 : i32\n"
               "  %y, %k = while %x, %zero, max=20 : f32[3], i32 {\n"
               "    block (%a: f32[3], %i: i32)\n    %m = reduce_max %a, axes=[0] : f32\n    %lim = constant 9 : f32\n    %go = "
               "lt %m, %lim : bool\n    yield %go\n"
               "    block (%a2: f32[3], %i2: i32)\n    %b = add %a2, %a2 : f32[3]\n    %one = constant 1 : f32[3]\n    %d = add "
               "%b, %one : f32[3]\n"
               "    %c1 = constant 1 : i32\n    %j = add %i2, %c1 : i32\n    yield %d, %j\n  }\n  return %y, %k\n}\n");
}
END_TEST

/* The kernels in the loops of a step. */
static int kernels_in_loops(StepNode *const *nodes, size_t n, bool inside) {
    int sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += inside && nodes[i]->kind == STEP_KERNEL;
        sum += kernels_in_loops(nodes[i]->nodes.at, nodes[i]->nodes.n, true);
    }
    return sum;
}

static int kernels_of_turns(const char *text) {
    TestGraph g = test_read(text);
    ck_assert(pass_fuse(&g.c, g.m));
    const Step *s = pass_lower(&g.c, g.m)->steps.at[0];
    int n = kernels_in_loops(s->nodes.at, s->nodes.n, false);
    arena_free(g.a);
    return n;
}

/* What a carried value begins and ends its turns with, yielded with the turns along different axes: one stack holds them all, and nothing is copied. */
START_TEST(one_stack_whatever_axis_turns_are) {
    for (int reverse = 0; reverse < 2; reverse++) {
        char text[2000];
        snprintf(text, sizeof text,
                 "graph expanded\nfield %%x: f32[B<=5, 6, 3] of @c\nparam %%h: f32[3] = 0\nvar %%p: f32[6, 3, 5] of @c\nvar %%q: "
                 "f32[3, 5] of @c\ncommand @c() {\n}\n"
                 "func @f(%%x: f32[B<=5, 6, 3], %%h: f32[3]) -> (%%p: f32[6, 3, 5], %%q: f32[3, 5]) {\n"
                 "  %%c = broadcast %%h, axes=[1] : f32[B, 3]\n"
                 "  %%r, %%v, %%y, %%z = scan %%c, %%x, carry=1, axes=[1], yaxes=[1, 0, 2], reverse=%s, trip=6 : f32[B, 3], "
                 "f32[B, 6, 3], "
                 "f32[6, B, 3], f32[B, 3, 6] {\n"
                 "    block (%%i: i32, %%b: f32[B, 3], %%e: f32[B, 3])\n    %%n = fma %%b, %%e, %%e : f32[B, 3]\n    yield %%n, "
                 "%%n, %%b, %%n\n  }\n"
                 "  %%s = transpose %%y, perm=[1, 0, 2] : f32[B, 6, 3]\n  %%t = mul %%s, %%v : f32[B, 6, 3]\n"
                 "  %%u = transpose %%z, perm=[0, 2, 1] : f32[B, 6, 3]\n  %%w = sub %%t, %%u : f32[B, 6, 3]\n"
                 "  %%g = contract \"btk,tbn->tkn\" %%w, %%y : f32[6, 3, 3]\n"
                 "  %%five = constant 0 : f32\n  %%o = pad %%g, %%five, low=[0, 0, 1], high=[0, 0, 1], interior=[0, 0, 0] : "
                 "f32[6, 3, 5]\n"
                 "  %%k = contract \"bk,bkt->kt\" %%r, %%z : f32[3, 6]\n"
                 "  %%l = slice %%k, start=[0, 1], limit=[3, 6], step=[1, 1] : f32[3, 5]\n  return %%o, %%l\n}\n",
                 reverse ? "true" : "false");
        check_text(text);
        ck_assert_int_eq(kernels_of_turns(text), 1);
    }
}
END_TEST

/* A stack has one place more than the values that a scan yields: what the first turn begins with (forwards), what the last one ends with (backwards). Windows
 * that reach beyond the yielded values must not find it. */
START_TEST(windows_do_not_reach_beyond_what_is_yielded) {
    for (int reverse = 0; reverse < 2; reverse++) {
        char text[3000];
        snprintf(
            text, sizeof text,
            "graph expanded\nfield %%x: f32[B<=5, 6, 3] of @c\nfield %%h: f32[B<=5, 3] of @c\nparam %%w: f32[3, 3, 2] = 0\n"
            "var %%p: f32[B<=5, 7, 3] of @c\nvar %%s: f32[B<=5, 8, 3] of @c\nvar %%q: f32[B<=5, 6, 2] of @c\nvar %%z: f32[3, "
            "B<=5, 9] of @c\n"
            "var %%u: f32[B<=5, 6, 3] of @c\ncommand @c() {\n}\n"
            "func @f(%%x: f32[B<=5, 6, 3], %%h: f32[B<=5, 3], %%w: f32[3, 3, 2]) -> (%%p: f32[B<=5, 7, 3], %%s: f32[B<=5, 8, 3], "
            "%%q: f32[B<=5, 6, 2], %%z: f32[3, B<=5, 9], %%u: f32[B<=5, 6, 3]) {\n"
            "  %%r, %%y = scan %%h, %%x, carry=1, axes=[1], yaxes=[1], reverse=%s, trip=6 : f32[B, 3], f32[B, 6, 3] {\n"
            "    block (%%i: i32, %%c: f32[B, 3], %%xt: f32[B, 3])\n    %%n = fma %%c, %%xt, %%xt : f32[B, 3]\n    yield %%n, "
            "%%n\n  }\n"
            "  %%p = window_max %%y, size=[2], stride=[1], low=[1], high=[1] : f32[B, 7, 3]\n"
            "  %%s = window_sum %%y, size=[3], stride=[1], low=[2], high=[2] : f32[B, 8, 3]\n"
            "  %%q = conv \"nxc,xcd->nxd\" %%y, %%w, window=\"x\", stride=[1], low=[1], high=[1], lhs_dilation=[1], "
            "rhs_dilation=[1] : "
            "f32[B, 6, 2]\n"
            "  %%minus = constant -1 : f32\n  %%t = transpose %%y, perm=[2, 0, 1] : f32[3, B, 6]\n"
            "  %%z = pad %%t, %%minus, low=[0, 0, 1], high=[0, 0, 2], interior=[0, 0, 0] : f32[3, B, 9]\n"
            "  %%u = window_put %%y, %%p, size=[2], stride=[1], low=[1], high=[1] : f32[B, 6, 3]\n"
            "  return %%p, %%s, %%q, %%z, %%u\n}\n",
            reverse ? "true" : "false");
        check_text(text);
    }
}
END_TEST

/* ---- joined values ---- */

/* %x, %y: f32[B, 20]; the results are %p: f32[B, 40] and %q: f32[B, 20]. kernels: those that make the parts, and one where something is left to copy. */
static const struct {
    const char *what, *ops, *results;
    int kernels;
} joined[] = {
    {"both are made in place",
     "%a = tanh %x : f32[B, 20]\n  %b = exp %y : f32[B, 20]\n  %j = concat %a, %b, axis=1 : f32[B, 40]\n", "%j, %y", 2},
    {"an input is copied", "%b = exp %y : f32[B, 20]\n  %j = concat %x, %b, axis=1 : f32[B, 40]\n", "%j, %y", 3},
    {"one value twice", "%a = tanh %x : f32[B, 20]\n  %j = concat %a, %a, axis=1 : f32[B, 40]\n", "%j, %y", 3},
    {"a part is a result", "%a = tanh %x : f32[B, 20]\n  %b = exp %y : f32[B, 20]\n  %j = concat %a, %b, axis=1 : f32[B, 40]\n",
     "%j, %b", 2},
    {"a part is read by others",
     "%a = tanh %x : f32[B, 20]\n  %b = exp %y : f32[B, 20]\n  %j = concat %a, %b, axis=1 : f32[B, 40]\n"
     "  %c = contract \"bi,bj->ij\" %a, %j : f32[20, 40]\n  %d = contract \"bi,ij->bj\" %b, %c : f32[B, 40]\n"
     "  %q = slice %d, start=[0, 7], limit=[-1, 27], step=[1, 1] : f32[B, 20]\n",
     "%j, %q", 4},
    {"a part has another shape, too",
     "%a = tanh %x : f32[B, 20]\n  %b = exp %y : f32[B, 20]\n  %j = concat %a, %b, axis=1 : f32[B, 40]\n"
     "  %r = reshape %a : f32[B, 4, 5]\n  %t = transpose %r, perm=[0, 2, 1] : f32[B, 5, 4]\n  %q = reshape %t : f32[B, 20]\n",
     "%j, %q", 1},
    {"a part is made from another",
     "%a = tanh %x : f32[B, 20]\n  %c = sum %a, axes=[1] : f32[B]\n  %d = broadcast %c, axes=[0] : f32[B, 20]\n"
     "  %e = exp %y : f32[B, 20]\n  %b = mul %d, %e : f32[B, 20]\n  %j = concat %a, %b, axis=1 : f32[B, 40]\n",
     "%j, %d", 2},
    {"joined again",
     "%s = slice %x, start=[0, 0], limit=[-1, 16], step=[1, 1] : f32[B, 16]\n  %u = slice %y, start=[0, 16], limit=[-1, 20], "
     "step=[1, 1] : f32[B, 4]\n  %a = tanh %s : f32[B, 16]\n  %b = exp %u : f32[B, 4]\n"
     "  %i = concat %a, %b, axis=1 : f32[B, 20]\n  %c = contract \"bi,ci->bc\" %i, %w : f32[B, 20]\n"
     "  %j = concat %c, %i, axis=1 : f32[B, 40]\n",
     "%j, %c", 4},
    {"parts along the batch stay apart",
     "%a = tanh %x : f32[B, 20]\n  %b = exp %y : f32[B, 20]\n  %k = concat %a, %b, axis=0 : f32[2*B, 20]\n"
     "  %s = sum %k, axes=[0] : f32[20]\n  %m = broadcast %s, axes=[1] : f32[B, 20]\n  %j = concat %m, %a, axis=1 : f32[B, 40]\n",
     "%j, %b", 4},
};

START_TEST(parts_of_joined_values) {
    Arena *a = arena_new();
    const char *text = arena_printf(a,
                                    "graph expanded\nfield %%x: f32[B<=5, 20] of @c\nfield %%y: f32[B<=5, 20] of @c\n"
                                    "param %%w: f32[20, 20] = 0\nvar %%p: f32[B<=5, 40] of @c\nvar %%q: f32[B<=5, 20] of @c\n"
                                    "command @c() {\n}\n"
                                    "func @f(%%x: f32[B<=5, 20], %%y: f32[B<=5, 20], %%w: f32[20, 20]) -> (%%p: f32[B<=5, 40], "
                                    "%%q: f32[B<=5, 20]) {\n  %s  return %s\n}\n",
                                    joined[_i].ops, joined[_i].results);
    check_text(text);
    TestGraph g = test_read(text);
    ck_assert(pass_fuse(&g.c, g.m));
    const Step *s = pass_lower(&g.c, g.m)->steps.at[0];
    int kernels = 0;
    for (size_t i = 0; i < s->nodes.n; i++) kernels += s->nodes.at[i]->kind == STEP_KERNEL;
    ck_assert_msg(kernels == joined[_i].kernels, "%s: %d kernels, not %d", joined[_i].what, kernels, joined[_i].kernels);
    arena_free(g.a);
    arena_free(a);
}
END_TEST

/* The gradient of a maximum, behind a relu, by windows: that tile the map or leave rest of it, in one axis and in two, with equal numbers and none in the windows. Of others the
 * maxima are found in a kernel in front. */
START_TEST(maxima_of_windows_side_by_side) {
    static const struct {
        int x, y, size[2], stride[2], low, out[2];
        bool tile;
    } cases[] = {
        {6, 8, {2, 2}, {2, 2}, 0, {3, 4}, true},  {7, 9, {2, 2}, {2, 2}, 0, {3, 4}, true},
        {9, 5, {3, 2}, {3, 2}, 0, {3, 2}, true},  {5, 4, {1, 4}, {1, 4}, 0, {5, 1}, true},
        {4, 4, {4, 4}, {4, 4}, 0, {1, 1}, true},  {6, 8, {2, 2}, {2, 2}, 1, {4, 5}, false},
        {7, 7, {3, 3}, {2, 2}, 0, {3, 3}, false},
    };
    Arena *a = arena_new();
    int x = cases[_i].x, y = cases[_i].y, m = cases[_i].out[0], n = cases[_i].out[1], low = cases[_i].low;
    const char *text = arena_printf(
        a,
        "graph expanded\nfield %%x: f32[B<=3, %d, %d, 5] of @c\nfield %%d: f32[B<=3, %d, %d, 5] of @c\nvar %%g: f32[B<=3, %d, "
        "%d, 5] of @c\n"
        "command @c() {\n}\nfunc @f(%%x: f32[B<=3, %d, %d, 5], %%d: f32[B<=3, %d, %d, 5]) -> (%%g: f32[B<=3, %d, %d, 5]) {\n"
        "  %%two = constant 2 : f32[B, %d, %d, 5]\n  %%zero = constant 0 : f32[B, %d, %d, 5]\n  %%s = mul %%two, %%x : f32[B, "
        "%d, %d, 5]\n"
        "  %%f = floor %%s : f32[B, %d, %d, 5]\n  %%a = max %%zero, %%f : f32[B, %d, %d, 5]\n"
        "  %%p = window_put %%a, %%d, size=[%d, %d], stride=[%d, %d], low=[%d, %d], high=[%d, %d] : f32[B, %d, %d, 5]\n"
        "  %%q = ge %%zero, %%a : bool[B, %d, %d, 5]\n  %%g = select %%q, %%zero, %%p : f32[B, %d, %d, 5]\n  return %%g\n}\n",
        x, y, m, n, x, y, x, y, m, n, x, y, x, y, x, y, x, y, x, y, x, y, cases[_i].size[0], cases[_i].size[1],
        cases[_i].stride[0], cases[_i].stride[1], low, low, low, low, x, y, x, y, x, y);
    check_text(text);
    TestGraph g = test_read(text);
    ck_assert(pass_fuse(&g.c, g.m));
    Text shown = {0};
    loops_print(pass_lower(&g.c, g.m), LOOPS_LOWERED, NULL, &shown, a);
    const char *factor[2];
    for (int i = 0; i < 2; i++) factor[i] = cases[_i].size[i] > 1 ? arena_printf(a, "%d*", cases[_i].size[i]) : "";
    const char *store = arena_printf(a, "[i, %sj + p, %sk + q, m] = ", factor[0], factor[1]);
    ck_assert_msg((strstr(text_str(a, &shown), store) != NULL) == cases[_i].tile, "%s\n%s", store, text_str(a, &shown));
    ck_assert_msg((strstr(text_str(a, &shown), ".maxima[") != NULL) != cases[_i].tile, "%s", text_str(a, &shown));
    arena_free(g.a);
    arena_free(a);
}
END_TEST

/* Windows that overlap, or leave gaps, or begin outside of the map: of one axis, two and three. places: in a window; those of one or two are looked through for each element. */
static const struct {
    const char *x, *y, *attrs; /* axes between the batch and the channels */
    bool apart;
} overlapping[] = {
    {"7, 9", "5, 7", "size=[3, 3], stride=[1, 1], low=[0, 0], high=[0, 0]", true},
    {"7, 9", "7, 9", "size=[5, 3], stride=[1, 1], low=[2, 1], high=[2, 1]", true},
    {"8, 5", "4, 3", "size=[3, 2], stride=[2, 2], low=[1, 0], high=[0, 1]", true},
    {"9, 6", "3, 6", "size=[2, 1], stride=[4, 1], low=[1, 0], high=[0, 0]", false},
    {"9, 6", "2, 2", "size=[3, 2], stride=[5, 3], low=[0, 0], high=[0, 0]", true},
    {"7, 8", "3, 3", "size=[3, 3], stride=[3, 3], low=[1, 2], high=[1, 0]", true},
    {"6, 6", "1, 1", "size=[6, 6], stride=[1, 1], low=[0, 0], high=[0, 0]", true},
    {"3, 4", "7, 8", "size=[5, 5], stride=[1, 1], low=[4, 4], high=[4, 4]", true},
    {"11", "8", "size=[4], stride=[1], low=[0], high=[0]", true},
    {"11", "12", "size=[2], stride=[1], low=[1], high=[1]", false},
    {"11", "5", "size=[7], stride=[2], low=[3], high=[1]", true},
    {"7, 7", "0, 3", "size=[8, 2], stride=[9, 2], low=[0, 0], high=[0, 0]", true},
    {"4, 5, 3", "3, 3, 3", "size=[2, 3, 3], stride=[1, 1, 1], low=[0, 0, 1], high=[0, 0, 1]", true},
};
enum { OVERLAPPING = sizeof overlapping / sizeof *overlapping };

/* The gradient of their maximum and that gradient's own, in f32 and f64, with equal numbers, infinities and NaN in the windows, in batches as long as may be and short. */
START_TEST(maxima_of_windows_that_overlap) {
    Arena *a = arena_new();
    const char *windows = overlapping[_i / 2].attrs, *elem = _i % 2 ? "f64" : "f32";
    const char *x = arena_printf(a, "%s[B, %s, 3]", elem, overlapping[_i / 2].x),
               *y = arena_printf(a, "%s[B, %s, 3]", elem, overlapping[_i / 2].y);
    const char *in = arena_printf(a, "%s[B<=3, %s, 3]", elem, overlapping[_i / 2].x),
               *d = arena_printf(a, "%s[B<=3, %s, 3]", elem, overlapping[_i / 2].y);
    const char *bools = arena_printf(a, "bool[B, %s, 3]", overlapping[_i / 2].x);
    const char *text = arena_printf(
        a,
        "graph expanded\nfield %%x: %s of @c\nfield %%d: %s of @c\nvar %%g: %s of @c\nvar %%h: %s of @c\nvar %%e: %s of @c\n"
        "command @c() {\n}\nfunc @f(%%x: %s, %%d: %s) -> (%%g: %s, %%h: %s, %%e: %s) {\n"
        "  %%three = constant 3 : %s\n  %%s = mul %%three, %%x : %s\n  %%f = floor %%s : %s\n"
        "  %%most = constant 0.95 : %s\n  %%n = ge %%x, %%most : %s\n  %%nan = constant nan : %s\n  %%a = select %%n, %%nan, %%f "
        ": %s\n"
        "  %%least = constant -0.5 : %s\n  %%m = le %%x, %%least : %s\n  %%inf = constant -inf : %s\n  %%b = select %%m, %%inf, "
        "%%a : %s\n"
        "  %%g = window_put %%b, %%d, %s : %s\n  %%t = tanh %%g : %s\n  %%e = window_pick %%b, %%t, %s : %s\n"
        "  %%h = window_put %%b, %%e, %s : %s\n  return %%g, %%h, %%e\n}\n",
        in, d, in, in, d, in, d, in, in, d, x, x, x, x, bools, x, x, x, bools, x, x, windows, x, x, windows, y, windows, x);
    check_text(text);
    TestGraph g = test_read(text);
    Text shown = {0};
    loops_print(pass_lower(&g.c, g.m), LOOPS_LOWERED, NULL, &shown, a);
    ck_assert_msg((strstr(text_str(a, &shown), ".maxima[") != NULL) == overlapping[_i / 2].apart, "%s", windows);
    arena_free(g.a);
    arena_free(a);
}
END_TEST

/* A number is looked at once for each window that it is in: k^2 times, not k^2 times for each of k^2 windows. Looking costs a multiplication here. */
START_TEST(numbers_are_looked_at_once_a_window) {
    Arena *a = arena_new();
    int k = 3 + 2 * _i, n = 20, m = n - k + 1;
    const char *text =
        arena_printf(a,
                     "graph expanded\nfield %%x: f32[B<=2, %d, %d, 5] of @c\nfield %%d: f32[B<=2, %d, %d, 5] of @c\n"
                     "var %%g: f32[B<=2, %d, %d, 5] of @c\ncommand @c() {\n}\n"
                     "func @f(%%x: f32[B<=2, %d, %d, 5], %%d: f32[B<=2, %d, %d, 5]) -> (%%g: f32[B<=2, %d, %d, 5]) {\n"
                     "  %%two = constant 2 : f32[B, %d, %d, 5]\n  %%a = mul %%two, %%x : f32[B, %d, %d, 5]\n"
                     "  %%g = window_put %%a, %%d, size=[%d, %d], stride=[1, 1], low=[0, 0], high=[0, 0] : f32[B, %d, %d, 5]\n"
                     "  return %%g\n}\n",
                     n, n, m, m, n, n, n, n, m, m, n, n, n, n, n, n, k, k, n, n);
    TestGraph g = test_read(text);
    ck_assert(pass_fuse(&g.c, g.m));
    LoopsCosts costs = step_costs(a, pass_lower(&g.c, g.m)->steps.at[0], 2);
    double operations = 0;
    for (size_t i = 0; i < costs.n; i++) operations += costs.at[i].operations;
    /* all windows' places twice: a multiplication to find the maximum, an addition for each that it may be */
    ck_assert_double_eq(operations, 2. * (2 * 5) * m * m * k * k);
    arena_free(g.a);
    arena_free(a);
}
END_TEST

/* ---- long sums ---- */

START_TEST(chains_are_cut_into_pieces) {
    check_text("graph expanded\nfield %x: f32[B<=9000, 3] of @c\nfield %y: f32[B<=9000, 2] of @c\nparam %w: f32[3, 2] = 0\nvar "
               "%s: f32[3] of @c\nvar %t: f32 of @c\ncommand @c() {\n}\n"
               "func @f(%x: f32[B<=9000, 3], %y: f32[B<=9000, 2], %w: f32[3, 2]) -> (%w: f32[3, 2], %s: f32[3], %t: f32) {\n"
               "  %g = contract \"bi,bo->io\" %x, %y : f32[3, 2]\n  %u = sub %w, %g : f32[3, 2]\n  %s = sum %x, axes=[0] : "
               "f32[3]\n  %t = sum %y, axes=[0, 1] : f32\n"
               "  return %u, %s, %t\n}\n");
}
END_TEST

START_TEST(pieces_begin_in_the_middle_of_rows) {
    check_text("graph expanded\nparam %x: f32[70, 61, 3] = 0\nparam %y: f32[70, 61, 2] = 0\nvar %g: f32[3, 2] of @c\nvar %s: "
               "f32[3] of @c\ncommand @c() {\n}\n"
               "func @f(%x: f32[70, 61, 3], %y: f32[70, 61, 2]) -> (%g: f32[3, 2], %s: f32[3]) {\n"
               "  %g = contract \"tbi,tbo->io\" %x, %y : f32[3, 2]\n  %s = sum %x, axes=[0, 1] : f32[3]\n  return %g, %s\n}\n");
}
END_TEST

START_TEST(pieces_over_a_batch_behind_another_axis) {
    check_text("graph expanded\nfield %x: f32[70, B<=61, 3] of @c\nfield %y: f32[70, B<=61, 2] of @c\nvar %g: f32[3, 2] of "
               "@c\nvar %s: f32[3] of @c\ncommand @c() {\n}\n"
               "func @f(%x: f32[70, B<=61, 3], %y: f32[70, B<=61, 2]) -> (%g: f32[3, 2], %s: f32[3]) {\n"
               "  %g = contract \"tbi,tbo->io\" %x, %y : f32[3, 2]\n  %s = sum %x, axes=[0, 1] : f32[3]\n  return %g, %s\n}\n");
}
END_TEST

/* A sum over trailing axes goes over them as one where that is the same; what counts along one of them has another value then. */
START_TEST(indices_are_summed_by_their_own_axis) {
    check_text("graph expanded\nparam %x: f32[5, 7] = 0\nparam %k: i32 = 3\nvar %s: f32 of @c\nvar %t: f32 of @c\n"
               "var %n: i32[5] of @c\ncommand @c() {\n}\n"
               "func @f(%x: f32[5, 7], %k: i32) -> (%s: f32, %t: f32, %n: i32[5]) {\n"
               "  %i = iota axis=0 : f32[5, 7]\n  %s = sum %i, axes=[0, 1] : f32\n"
               "  %j = iota axis=1 : i32[5, 7]\n  %b = broadcast %k, axes=[] : i32[5, 7]\n  %e = eq %j, %b : bool[5, 7]\n"
               "  %c = constant 0.5 : f32[5, 7]\n  %y = select %e, %x, %c : f32[5, 7]\n  %t = sum %y, axes=[0, 1] : f32\n"
               "  %m = iota axis=1 : i32[5, 3, 7]\n  %n = sum %m, axes=[1, 2] : i32[5]\n"
               "  return %s, %t, %n\n}\n");
}
END_TEST

/* ---- random graphs ---- */

static const char *lowered_is_the_same(Arena *a, const RandomOptions *o, How how) {
    PassCtx c = {.arena = a, .diag = diag_new(a)};
    Module *m = random_graph(a, o);
    if (!pass_autodiff(&c, m)) return "autodiff reports an error";
    return differs(a, m, how, o->seed, o);
}

static const char *plain_is_the_same(Arena *a, const RandomOptions *o) { return lowered_is_the_same(a, o, PLAIN); }
static const char *fused_is_the_same(Arena *a, const RandomOptions *o) { return lowered_is_the_same(a, o, FUSED); }

START_TEST(random_graphs_keep_every_bit) { for_seeds(plain_is_the_same, &(RandomOptions){.seed = 1}, 100); }
END_TEST

START_TEST(random_fused_graphs_keep_every_bit) {
    for_seeds(fused_is_the_same, &(RandomOptions){.seed = 1000}, 100);
    for_seeds(fused_is_the_same, &(RandomOptions){.seed = 2000, .grads = true}, 50);
}
END_TEST

/* ---- rows that are sorted by merging ---- */

static const struct {
    const char *type, *rows, *order, *op; /* of x; of the results */
} sorts[] = {
    {"f32[17]", "f32[17]", "i32[17]", "sort %x, axis=0"},          {"f32[3, 64]", "f32[3, 64]", "i32[3, 64]", "sort %x, axis=1"},
    {"f32[65, 3]", "f32[65, 3]", "i32[65, 3]", "sort %x, axis=0"}, {"f32[2, 100]", "f32[2, 3]", "i32[2, 3]", "top_k %x, k=3"},
    {"f32[2, 129]", "f32[2, 40]", "i32[2, 40]", "top_k %x, k=40"}, {"f32[33]", "f32[33]", "i32[33]", "top_k %x, k=33"},
    {"i32[2, 50]", "i32[2, 50]", "i32[2, 50]", "sort %x, axis=1"}, {"f64[1000]", "f64[1000]", "i32[1000]", "sort %x, axis=0"},
};
enum { SORTS = sizeof sorts / sizeof *sorts };

START_TEST(long_rows_are_sorted) {
    Arena *a = arena_new();
    check_text(arena_printf(a,
                            "graph expanded\nvar %%x: %s of @c\nvar %%v: %s of @c\nvar %%p: %s of @c\ncommand @c() {\n}\n"
                            "func @f(%%x: %s) -> (%%v: %s, %%p: %s) {\n  %%v, %%i = %s : %s, %s\n  return %%v, %%i\n}\n",
                            sorts[_i].type, sorts[_i].rows, sorts[_i].order, sorts[_i].type, sorts[_i].rows, sorts[_i].order,
                            sorts[_i].op, sorts[_i].rows, sorts[_i].order));
    arena_free(a);
}
END_TEST

START_TEST(a_batch_is_sorted) {
    check_text("graph expanded\nfield %x: f32[B<=70, 2] of @c\nvar %v: f32[B<=70, 2] of @c\nvar %p: i32[B<=70, 2] of @c\ncommand "
               "@c() {\n}\n"
               "func @f(%x: f32[B<=70, 2]) -> (%v: f32[B<=70, 2], %p: i32[B<=70, 2]) {\n"
               "  %v, %i = sort %x, axis=0 : f32[B, 2], i32[B, 2]\n  return %v, %i\n}\n");
}
END_TEST

/* The kernels of a sort are as long for a million elements as for a hundred. */
static size_t length_of_sort(const char *n) {
    Arena *a = arena_new();
    TestGraph g = test_read(
        arena_printf(a,
                     "graph expanded\nparam %%x: f32[%s] = 0\nvar %%p: i32[%s] of @c\ncommand @c() {\n}\n"
                     "func @f(%%x: f32[%s]) -> (%%x: f32[%s], %%p: i32[%s]) {\n  %%v, %%i = sort %%x, axis=0 : f32[%s], i32[%s]\n"
                     "  return %%v, %%i\n}\n",
                     n, n, n, n, n, n, n));
    LoopsProgram *p = pass_lower(&g.c, g.m);
    ck_assert_ptr_nonnull(p);
    size_t lines = 0;
    Text text = {0};
    loops_print(p, LOOPS_LOWERED, NULL, &text, a);
    for (size_t i = 0; i < text.n; i++) lines += text.at[i] == '\n';
    arena_free(g.a);
    arena_free(a);
    return lines;
}

START_TEST(a_very_long_sort_is_no_longer) { ck_assert_uint_eq(length_of_sort("1000000"), length_of_sort("100")); }
END_TEST

Suite *lower_suite(void);

Suite *lower_suite(void) {
    Suite *s = suite_create("lower");
    TCase *t = tcase_create("lower");
    property_start();
    tcase_set_timeout(t, 120);
    tcase_add_test(t, every_op_gives_the_evaluators_bits);
    tcase_add_test(t, parameters_change_places);
    tcase_add_test(t, an_old_value_is_read_after_it_was_replaced);
    tcase_add_test(t, a_matrix_becomes_its_own_reverse);
    tcase_add_test(t, one_value_goes_to_two_slots);
    tcase_add_test(t, a_part_is_exchanged_where_it_lies);
    tcase_add_test(t, parts_are_changed_one_after_the_other);
    tcase_add_test(t, rows_are_added_to_where_they_come_from);
    tcase_add_test(t, a_scan_runs_both_ways);
    tcase_add_test(t, a_scan_goes_back_as_often_as_it_is_told);
    tcase_add_test(t, one_stack_whatever_axis_turns_are);
    tcase_add_loop_test(t, maxima_of_windows_side_by_side, 0, 7);
    tcase_add_loop_test(t, maxima_of_windows_that_overlap, 0, 2 * OVERLAPPING);
    tcase_add_loop_test(t, numbers_are_looked_at_once_a_window, 0, 4);
    tcase_add_loop_test(t, parts_of_joined_values, 0, sizeof joined / sizeof *joined);
    tcase_add_test(t, windows_do_not_reach_beyond_what_is_yielded);
    tcase_add_test(t, a_while_stops);
    tcase_add_test(t, chains_are_cut_into_pieces);
    tcase_add_test(t, pieces_begin_in_the_middle_of_rows);
    tcase_add_test(t, pieces_over_a_batch_behind_another_axis);
    tcase_add_test(t, indices_are_summed_by_their_own_axis);
    tcase_add_test(t, random_graphs_keep_every_bit);
    tcase_add_test(t, random_fused_graphs_keep_every_bit);
    tcase_add_loop_test(t, long_rows_are_sorted, 0, SORTS);
    tcase_add_test(t, a_batch_is_sorted);
    tcase_add_test(t, a_very_long_sort_is_no_longer);
    suite_add_tcase(s, t);
    return s;
}
