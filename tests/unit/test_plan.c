/*
 * test_plan.c - the planner, held to a liveness that is computed again here: by running the step's tree as a list of events,
 * loops twice, and asking for each byte of the arena who wrote it last when somebody reads it.
 */
#include "../random_property.h"
#include "passes/report.h"
#include "run_graph.h"
#include "run_loops.h"

/* ---- liveness, written another way ---- */

/* The order in which kernels run, with every loop of the step run twice: what a second turn reads from the first shows. */
typedef Vec(StepNode *) Trace;

static void trace_nodes(Arena *a, Trace *t, StepNode *const *nodes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (nodes[i]->kind == STEP_BARRIER) continue;
        if (nodes[i]->kind == STEP_WHILE || nodes[i]->kind == STEP_LOOP) vec_push(a, t, nodes[i]);
        for (int turn = 0; turn < (nodes[i]->kind == STEP_KERNEL ? 0 : 2); turn++) {
            trace_nodes(a, t, nodes[i]->nodes.at, nodes[i]->nodes.n);
            if (nodes[i]->count) vec_push(a, t, nodes[i]);
        }
        if (nodes[i]->kind == STEP_KERNEL) vec_push(a, t, nodes[i]);
    }
}

typedef struct Touched {
    bool *read, *written; /* by buffer id, of the memory's owner; what a kernel has written before it reads it is its own */
} Touched;

static void note_load(Expr **e, void *arg) {
    Touched *at = arg;
    if ((*e)->kind != EXPR_LOAD) return;
    int id = buffer_root((*e)->buffer)->id;
    at->read[id] |= !at->written[id];
}

static void note_stmt(Stmt *s, void *arg) {
    stmt_walk_exprs(s, note_load, arg);
    if (s->kind == STMT_STORE) ((Touched *)arg)->written[buffer_root(s->buffer)->id] = true;
}

static bool planned(const Buffer *b) { return !b->same && (b->place == PLACE_ARENA || b->place == PLACE_THREAD); }

static bool overlap(const Buffer *a, const Buffer *b) {
    return a->place == b->place && a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

/* NULL, or which two buffers that live at the same time share bytes. */
static const char *clash(Arena *a, Step *s) {
    Trace t = {0};
    size_t n = s->buffers.n;
    trace_nodes(a, &t, s->nodes.at, s->nodes.n);
    Touched *at = arena_make_n(a, Touched, t.n + 1);
    for (size_t i = 0; i < t.n; i++) {
        at[i].read = arena_make_n(a, bool, n + 1);
        at[i].written = arena_make_n(a, bool, n + 1);
        if (t.at[i]->kind == STEP_KERNEL)
            body_walk(&t.at[i]->body, note_stmt, &at[i]);
        else if (t.at[i]->count)
            at[i].read[buffer_root(t.at[i]->count)->id] = true;
    }
    /* x lives at i if it has been written at or before i and is read at or after i before it is written anew; parts may be
     * written by several kernels, so a write only ends a life if nothing reads before it */
    for (size_t x = 0; x < n; x++) {
        const Buffer *b = s->buffers.at[x];
        if (!planned(b)) continue;
        size_t last = 0;
        for (size_t i = 0; i < t.n; i++)
            if (at[i].read[x] || at[i].written[x]) last = i;
        bool alive = false;
        for (size_t i = 0; i < t.n; i++) {
            alive |= at[i].written[x] || at[i].read[x];
            bool later = false;
            for (size_t k = i; k <= last && !later; k++) {
                later = at[k].read[x];
                if (at[k].written[x] && !at[k].read[x] && k > i) break;
            }
            if (!alive || (!later && !at[i].written[x])) continue;
            for (size_t y = 0; y < n; y++) {
                const Buffer *c = s->buffers.at[y];
                if (y == x || !planned(c) || !overlap(b, c)) continue;
                if (at[i].written[y])
                    return arena_printf(a, "@%s: %%%s is written where %%%s still lives", s->func->name, c->name, b->name);
            }
        }
    }
    return NULL;
}

static const char *check_program(Arena *a, LoopsProgram *p) {
    const char *why = loops_verify(a, p, LOOPS_PLANNED);
    for (size_t i = 0; i < p->steps.n && !why; i++) why = clash(a, p->steps.at[i]);
    return why;
}

/* ---- random graphs ---- */

static const char *plan_is_sound(Arena *a, const RandomOptions *o) {
    PassCtx c = {.arena = a, .diag = diag_new(a)};
    Module *m = random_graph(a, o);
    if (!pass_autodiff(&c, m)) return "autodiff reports an error";
    if (o->seed % 2) pass_fuse(&c, m);
    LoopsProgram *p = pass_lower(&c, m);
    if (!p || !pass_plan(&c, p)) return "lower or plan reports an error";
    const char *why = check_program(a, p);
    if (why) return why;
    /* and it computes what it computed: the evaluator puts buffers at the offsets of the plan */
    const Func *f = m->funcs.at[0];
    Tensor **want = arena_make_n(a, Tensor *, f->body->results.n + 1), **have = arena_make_n(a, Tensor *, f->body->results.n + 1);
    Tensor **in = random_inputs(a, f, EVAL_F32, 3, o->seed, false);
    EvalFault fault;
    if (eval_func(a, f, EVAL_F32, 3, in, want, &fault) && run_step(a, p->steps.at[0], 3, in, have))
        for (size_t k = 0; k < f->body->results.n; k++) {
            int64_t at;
            if (!tensor_same(want[k], have[k], &at)) return arena_printf(a, "result %zu, element %" PRId64 " differs", k, at);
        }
    return NULL;
}

START_TEST(no_two_live_buffers_overlap) {
    for_seeds(plan_is_sound, &(RandomOptions){.seed = 1}, 60);
    for_seeds(plan_is_sound, &(RandomOptions){.seed = 500, .grads = true}, 40);
}
END_TEST

/* ---- by hand ---- */

#define CHAIN(mul)                                                                                                               \
    "loops marked\nparam %p: f32[1000] = 0\ncommand @c() {\n}\n"                                                                 \
    "step @f {\n  buffer %p: f32[1000] slot \"p\"\n  buffer %x: f32[1000]\n  buffer %y: f32[1000]\n  buffer %z: f32[1000]\n  "   \
    "buffer %nobody: f32[7]\n"                                                                                                   \
    "  kernel @a {\n    for i in 0..1000 { %x[i] = neg(%p[i]) }\n  }\n  barrier\n"                                               \
    "  kernel @b {\n    for i in 0..1000 { %y[i] = " mul " }\n  }\n  barrier\n"                                                  \
    "  kernel @c {\n    for i in 0..1000 { %z[i] = neg(%y[-i + 999]) }\n  }\n  barrier\n"                                        \
    "  kernel @d {\n    for i in 0..1000 { %p[i] = %z[i] }\n  }\n}\n"

START_TEST(an_elementwise_kernel_works_in_place) {
    Arena *a = arena_new();
    LoopsProgram *p = loops_read(a, CHAIN("mul(%x[i], %x[i])"));
    PassCtx c = {.arena = a, .diag = diag_new(a)};
    ck_assert(pass_plan(&c, p));
    Step *s = p->steps.at[0];
    ck_assert_ptr_eq(buffer_root(buffer_named(s, "y")), buffer_named(s, "x"));
    ck_assert_ptr_ne(buffer_root(buffer_named(s, "z")), buffer_named(s, "x")); /* z is written at i while y is read at 999 - i */
    ck_assert_ptr_null(buffer_named(s, "nobody"));
    ck_assert_int_eq(s->arena, 2 * 4032);
    ck_assert_ptr_null(check_program(a, p));
    arena_free(a);
}
END_TEST

START_TEST(what_is_read_elsewhere_is_not_overwritten) {
    Arena *a = arena_new();
    LoopsProgram *p = loops_read(a, CHAIN("mul(%x[i], %x[-i + 999])"));
    PassCtx c = {.arena = a, .diag = diag_new(a)};
    ck_assert(pass_plan(&c, p));
    Step *s = p->steps.at[0];
    ck_assert_int_ne(buffer_named(s, "y")->offset, buffer_named(s, "x")->offset);
    ck_assert_int_eq(buffer_named(s, "z")->offset, buffer_named(s, "x")->offset); /* x is dead when z is made */
    arena_free(a);
}
END_TEST

START_TEST(what_a_loop_needs_lives_through_it) {
    Arena *a = arena_new();
    LoopsProgram *p =
        loops_read(a, "loops marked\nparam %p: f32[1000] = 0\ncommand @c() {\n}\n"
                      "step @f {\n  buffer %p: f32[1000] slot \"p\"\n  buffer %x: f32[1000]\n  buffer %y: f32[1000]\n"
                      "  kernel @a {\n    for i in 0..1000 { %x[i] = neg(%p[i]) }\n  }\n  barrier\n"
                      "  loop t in 0..5 {\n    kernel @b {\n      for i in 0..1000 { %p[i] = %x[-i + 999] }\n    }\n    barrier\n"
                      "    kernel @c {\n      for i in 0..1000 { %y[i] = neg(%p[i]) }\n    }\n    barrier\n"
                      "    kernel @d {\n      for i in 0..1000 { %p[i] = %y[-i + 999] }\n    }\n    barrier\n  }\n}\n");
    PassCtx c = {.arena = a, .diag = diag_new(a)};
    ck_assert(pass_plan(&c, p));
    Step *s = p->steps.at[0];
    ck_assert_int_ne(buffer_named(s, "y")->offset, buffer_named(s, "x")->offset); /* the next turn reads x again */
    ck_assert_ptr_null(check_program(a, p));
    arena_free(a);
}
END_TEST

START_TEST(the_test_sees_a_planted_overlap) {
    Arena *a = arena_new();
    LoopsProgram *p = loops_read(a, CHAIN("mul(%x[i], %x[-i + 999])"));
    PassCtx c = {.arena = a, .diag = diag_new(a)};
    ck_assert(pass_plan(&c, p));
    ck_assert_ptr_null(check_program(a, p));
    buffer_named(p->steps.at[0], "y")->offset = buffer_named(p->steps.at[0], "x")->offset;
    ck_assert_ptr_nonnull(check_program(a, p));
    arena_free(a);
}
END_TEST

START_TEST(memory_has_a_limit) {
    Arena *a = arena_new();
    LoopsProgram *p = loops_read(a, CHAIN("mul(%x[i], %x[i])"));
    PassCtx c = {.arena = a, .diag = diag_new(a), .max_mem = 5000};
    ck_assert(!pass_plan(&c, p));
    ck_assert_int_eq(diag_errors(c.diag), 1);
    arena_free(a);
}
END_TEST

/* Each thread has one part with all that it needs for itself; what threads share does not grow with them. */
START_TEST(threads_have_parts_of_their_own) {
    Arena *a = arena_new();
    LoopsProgram *p = loops_read(
        a, "loops marked\nparam %p: f32[64] = 0\ncommand @c() {\n}\n"
           "step @f threads 5 {\n  buffer %p: f32[64] slot \"p\"\n  buffer %x: f32[64]\n  buffer %s: f32[20] thread 0\n"
           "  buffer %t: f32[30] thread 0\n  buffer %u: f32[7] thread 0\n"
           "  kernel @a {\n    for i in 0..64 parallel {\n      %s[0] = %p[i]\n      %u[0] = %s[0]\n      %x[i] = %u[0]\n    }\n "
           " }\n"
           "  kernel @b {\n    for i in 0..64 parallel {\n      %t[0] = %x[-i + 63]\n      %p[i] = %t[0]\n    }\n  }\n}\n");
    PassCtx c = {.arena = a, .diag = diag_new(a)};
    ck_assert(pass_plan(&c, p));
    Step *s = p->steps.at[0];
    ck_assert_int_eq(s->arena, 256);
    ck_assert_int_eq(s->own, 192); /* s and u live together: 128 and 64; t alone: 128 */
    ck_assert_int_eq(step_own_at(s, 0), 256);
    ck_assert_int_eq(step_own_at(s, 5), 256 + 5 * 192);
    ck_assert_int_ne(buffer_named(s, "s")->offset, buffer_named(s, "u")->offset);
    ck_assert_ptr_null(check_program(a, p));
    buffer_named(s, "u")->offset = buffer_named(s, "s")->offset;
    ck_assert_ptr_nonnull(check_program(a, p));
    arena_free(a);
}
END_TEST

START_TEST(the_report_counts) {
    TestGraph g = test_read("graph expanded\nfield %x: f32[B<=10, 20] of @c\nparam %w: f32[20, 30] = 0\nvar %y: f32[B<=10, 30] "
                            "of @c\ncommand @c() {\n}\n"
                            "func @f(%x: f32[B<=10, 20], %w: f32[20, 30]) -> (%y: f32[B<=10, 30]) {\n"
                            "  %z = contract \"bi,io->bo\" %x, %w : f32[B, 30]\n  %y = tanh %z : f32[B, 30]\n  return %y\n}\n");
    LoopsProgram *p = pass_lower(&g.c, g.m);
    ck_assert(p && pass_plan(&g.c, p));
    Text t = {0};
    plan_report(p, &t, g.a);
    const char *s = text_str(g.a, &t);
    ck_assert_msg(strstr(s, "parameters          600\n"), "%s", s);
    ck_assert_msg(strstr(s, "operations        12,300\n"), "%s", s); /* 2 * 10 * 20 * 30 + 10 * 30 */
    ck_assert_msg(strstr(s, "weights           2,400 bytes\n"), "%s", s);
    arena_free(g.a);
}
END_TEST

Suite *plan_suite(void);

Suite *plan_suite(void) {
    Suite *s = suite_create("plan");
    TCase *t = tcase_create("plan");
    property_start();
    tcase_set_timeout(t, 120);
    tcase_add_test(t, an_elementwise_kernel_works_in_place);
    tcase_add_test(t, what_is_read_elsewhere_is_not_overwritten);
    tcase_add_test(t, what_a_loop_needs_lives_through_it);
    tcase_add_test(t, the_test_sees_a_planted_overlap);
    tcase_add_test(t, memory_has_a_limit);
    tcase_add_test(t, threads_have_parts_of_their_own);
    tcase_add_test(t, the_report_counts);
    tcase_add_test(t, no_two_live_buffers_overlap);
    suite_add_tcase(s, t);
    return s;
}
