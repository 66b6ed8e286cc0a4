/*
 * test_simplify.c - simplify keeps every bit (in f32, by the evaluator; zeros may change their sign where simplify_algebra.c says
 * so), twice is once, and what it is for is done: on random graphs, and on small ones whose ops are counted.
 */
#include "run_graph.h"

#include <math.h>

/* ---- random graphs ---- */

enum { POOL = 64, BATCH = 3 };

typedef struct Gen {
    TestGraph g;
    Builder b;
    uint64_t seed;
    Value *pool[POOL];
    int n;
} Gen;

static uint64_t below(Gen *r, uint64_t n) { return draw(&r->seed) % n; }

/* A value of this element type (and shape, if like is given); NULL if there is none. */
static Value *pick(Gen *r, Elem e, const Type *like) {
    for (int tries = 0; tries < 40; tries++) {
        Value *v = r->pool[below(r, (uint64_t)r->n)];
        if (v->type->elem == e && (!like || type_same_shape(v->type, like))) return v;
    }
    return NULL;
}

static double a_number(Gen *r) {
    static const double at[] = {0, 1, -1, 2, 0.5, 3, -0.25, 8};
    return at[below(r, 8)];
}

static Value *or_constant(Gen *r, Value *v, const Type *t) {
    if (v && below(r, 3)) return v;
    double k = a_number(r);
    return g_constant(&r->b, t, elem_is_float(t->elem) ? k : floor(k));
}

static Value *random_arithmetic(Gen *r) {
    static const OpCode unary[] = {OP_neg,  OP_abs,   OP_sign,  OP_exp, OP_tanh,         OP_floor,
                                   OP_sqrt, OP_round, OP_expm1, OP_neg, OP_stop_gradient};
    static const OpCode binary[] = {OP_add, OP_sub, OP_mul, OP_div, OP_max, OP_min, OP_add, OP_mul, OP_sub, OP_mod};
    Value *x = pick(r, F32, NULL);
    if (!x) return NULL;
    if (below(r, 3) == 0) return op_make(&r->b, unary[below(r, 11)], 1, &x, 0, NULL, NULL);
    Value *y = or_constant(r, pick(r, F32, x->type), x->type);
    if (below(r, 8) == 0)
        return op_make(&r->b, OP_fma, 3, (Value *[]){x, y, or_constant(r, pick(r, F32, x->type), x->type)}, 0, NULL, NULL);
    return below(r, 2) ? g_binary(&r->b, binary[below(r, 10)], x, y) : g_binary(&r->b, binary[below(r, 10)], y, x);
}

static Value *random_logic(Gen *r) {
    static const OpCode compare[] = {OP_eq, OP_ne, OP_lt, OP_le, OP_gt, OP_ge};
    Value *x = pick(r, F32, NULL), *c = pick(r, BOOL, NULL);
    if (c && below(r, 2)) {
        if (below(r, 3) == 0) return g_unary(&r->b, OP_not, c);
        Value *d = pick(r, BOOL, c->type);
        if (d && below(r, 2)) return g_binary(&r->b, below(r, 2) ? OP_and : OP_or, c, d);
        Value *a = pick(r, F32, c->type), *b = pick(r, F32, c->type);
        if (a && b) return g_select(&r->b, c, or_constant(r, a, a->type), b);
    }
    return x ? g_binary(&r->b, compare[below(r, 6)], x, or_constant(r, pick(r, F32, x->type), x->type)) : NULL;
}

static Value *random_integers(Gen *r) {
    static const OpCode binary[] = {OP_add, OP_sub, OP_mul, OP_max, OP_min, OP_eq};
    static const Elem elems[] = {F32, I32, I64, U8, BOOL, F64};
    Value *x = pick(r, I32, NULL);
    if (!x || below(r, 2)) {
        Value *y = r->pool[below(r, (uint64_t)r->n)];
        return g_convert(&r->b, y, elems[below(r, 6)]);
    }
    return g_binary(&r->b, binary[below(r, 6)], x, or_constant(r, pick(r, I32, x->type), x->type));
}

static Value *random_reshape(Gen *r, Value *x) {
    Dim d[3];
    int n = 0;
    int64_t batch = 0, rest = 1;
    for (int i = 0; i < x->type->rank; i++) {
        if (x->type->dim[i].batch)
            batch = x->type->dim[i].n;
        else
            rest *= x->type->dim[i].n;
    }
    if (batch && x->type->rank && !x->type->dim[0].batch) return NULL;
    if (batch) d[n++] = (Dim){batch, true};
    if (below(r, 2)) d[n++] = (Dim){1, false};
    if (rest % 2 == 0 && below(r, 2)) d[n++] = (Dim){2, false}, rest /= 2;
    if (n < 3)
        d[n++] = (Dim){rest, false};
    else
        d[n - 1].n *= rest;
    return g_reshape(&r->b, x, n, d);
}

static Value *random_slice(Gen *r, Value *x) {
    int64_t start[MAX_RANK], limit[MAX_RANK], step[MAX_RANK];
    for (int i = 0; i < x->type->rank; i++) {
        int64_t n = x->type->dim[i].n;
        start[i] = 0, limit[i] = -1, step[i] = 1;
        if (x->type->dim[i].batch) continue;
        start[i] = (int64_t)below(r, (uint64_t)n);
        limit[i] = start[i] + 1 + (int64_t)below(r, (uint64_t)(n - start[i]));
        step[i] = 1 + (int64_t)below(r, 2);
    }
    return g_slice(&r->b, x, start, limit, step);
}

static Value *random_pad(Gen *r, Value *x) {
    int64_t low[MAX_RANK] = {0}, high[MAX_RANK] = {0}, interior[MAX_RANK] = {0};
    for (int i = 0; i < x->type->rank; i++) {
        if (x->type->dim[i].batch || x->type->dim[i].n > 8) continue;
        low[i] = (int64_t)below(r, 3);
        high[i] = (int64_t)below(r, 2);
        interior[i] = below(r, 4) == 0;
    }
    int n = x->type->rank;
    Attr attrs[] = {attr_ints(r->g.a, A_low, low, n), attr_ints(r->g.a, A_high, high, n),
                    attr_ints(r->g.a, A_interior, interior, n)};
    Value *zero = g_constant(&r->b, type_scalar(x->type->elem), below(r, 3) ? 0 : 1);
    return op_make(&r->b, OP_pad, 2, (Value *[]){x, zero}, 3, attrs, NULL);
}

static Value *random_shape(Gen *r) {
    Value *x = pick(r, F32, NULL);
    if (!x) return NULL;
    int64_t axes[MAX_RANK] = {0};
    int n = x->type->rank;
    switch (below(r, 9)) {
    case 0: return random_reshape(r, x);
    case 1: return n ? random_slice(r, x) : NULL;
    case 2: return random_pad(r, x);
    case 3: /* a permutation */
        for (int i = 0; i < n; i++) axes[i] = i;
        for (int i = n - 1; i > 0; i--) {
            int j = (int)below(r, (uint64_t)i + 1);
            int64_t t = axes[i];
            axes[i] = axes[j];
            axes[j] = t;
        }
        for (int i = 1; i < n; i++)
            if (x->type->dim[axes[i]].batch && x->type->dim[axes[i]].n > 1) return NULL;
        return g_transpose(&r->b, x, axes);
    case 4: { /* a new axis in front or behind */
        if (n >= 4) return NULL;
        Dim d[MAX_RANK];
        bool front = below(r, 2) && !(n && x->type->dim[0].batch && x->type->dim[0].n > 1);
        for (int i = 0; i < n; i++) {
            axes[i] = i + front;
            d[i + front] = x->type->dim[i];
        }
        d[front ? 0 : n] = (Dim){1 + (int64_t)below(r, 3), false};
        return g_broadcast(&r->b, x, n + 1, d, axes);
    }
    case 5: {
        if (n == 0) return NULL;
        axes[0] = (int64_t)below(r, (uint64_t)n);
        static const OpCode codes[] = {OP_sum, OP_reduce_max, OP_sum, OP_reduce_min, OP_prod};
        return g_reduce(&r->b, codes[below(r, 5)], x, 1, axes);
    }
    case 6: {
        if (n == 0) return NULL;
        axes[0] = (int64_t)below(r, (uint64_t)n);
        Attr a = attr_ints(r->g.a, A_axes, axes, 1);
        return op_make(&r->b, OP_reverse, 1, &x, 1, &a, NULL);
    }
    case 7: {
        Value *y = pick(r, F32, x->type);
        int64_t axis = n ? (int64_t)below(r, (uint64_t)n) : 0;
        if (n == 0 || !y || (x->type->dim[axis].batch && axis)) return NULL;
        return g_concat(&r->b, 2, (Value *[]){x, y}, axis);
    }
    default: {
        Value *y = pick(r, F32, NULL);
        if (!y || n != 2 || y->type->rank != 2 || !dim_same(x->type->dim[1], y->type->dim[0]) ||
            (y->type->dim[1].batch && x->type->dim[0].batch) || (y->type->dim[1].batch && y->type->dim[1].n > 1))
            return NULL;
        return g_contract(&r->b, "ij,jk->ik", x, y);
    }
    }
}

/* A function of some inputs with about `ops` ops; everything nobody uses is a result. */
static Gen random_graph(uint64_t seed, int ops) {
    Gen r = {.seed = seed};
    r.g = test_read("graph front\nvar %x: f32[3, 4] of @c\nvar %z: f32[4] of @c\nvar %i: i32[3, 4] of @c\nfield %f: f32[B<=4, 4] "
                    "of @c\nvar %w: f32[4, 4] of @c\nvar %s: f32 of @c\n"
                    "command @c() {\n}\nfunc @f(%x: f32[3, 4], %z: f32[4], %i: i32[3, 4], %f: f32[B<=4, 4], %w: f32[4, 4], %s: "
                    "f32) -> () {\nreturn\n}\n");
    r.b = builder_at_end(r.g.f);
    for (size_t i = 0; i < r.g.f->body->params.n; i++) r.pool[r.n++] = r.g.f->body->params.at[i];
    for (int i = 0; i < ops; i++) {
        uint64_t kind = below(&r, 8);
        Value *v = kind < 3    ? random_arithmetic(&r)
                   : kind == 3 ? random_logic(&r)
                   : kind == 4 ? random_integers(&r)
                               : random_shape(&r);
        if (!v || type_count(v->type, BATCH) > 2000) continue;
        if (r.n < POOL)
            r.pool[r.n++] = v;
        else
            r.pool[below(&r, POOL)] = v;
    }
    for (int i = 0; i < r.n; i++) {
        if (!r.pool[i]->def) continue;
        Slot *s = slot_new(r.g.m, SLOT_VAR, intern_printf("out%d", i), r.pool[i]->type, (Loc){0});
        s->command = intern("c");
        s->batch_bound = type_has_batch(s->type) ? 4 : 0;
        func_write(r.g.f, s, r.pool[i]);
    }
    test_verify(&r.g, "making a random graph");
    return r;
}

/* Equal numbers, any NaN for any NaN, any zero for any zero. */
static bool same_numbers(const Tensor *a, const Tensor *b, int64_t *at) {
    for (*at = 0; *at < a->count; ++*at) {
        double x = tensor_get(a, *at), y = tensor_get(b, *at);
        if (x != y && !(isnan(x) && isnan(y))) return false;
    }
    return a->count == b->count;
}

static void check_random(uint64_t seed, int ops) {
    Gen r = random_graph(seed, ops);
    Tensor *in[8], *before[POOL], *after[POOL];
    size_t n_in = r.g.f->body->params.n, n_out = r.g.f->body->results.n;
    for (size_t i = 0; i < n_in; i++) in[i] = test_draw(EVAL_F32, r.g.f->body->params.at[i]->type, BATCH, &seed, -2, 2, 9);
    test_run(&r.g, EVAL_F32, BATCH, in, before);
    const char *text = test_text(&r.g);
    ck_assert(pass_simplify(&r.g.c, r.g.m));
    test_verify(&r.g, "simplify");
    test_run(&r.g, EVAL_F32, BATCH, in, after);
    for (size_t i = 0; i < n_out; i++) {
        int64_t at;
        if (!same_numbers(before[i], after[i], &at))
            ck_abort_msg("seed %" PRIu64 ": result %s differs at %" PRId64 ": %.9g before, %.9g after\n%s=>\n%s", r.seed,
                         r.g.f->out_slots.at[i]->name, at, tensor_get(before[i], at), tensor_get(after[i], at), text,
                         test_text(&r.g));
        tensor_release(before[i]);
        tensor_release(after[i]);
    }
    for (size_t i = 0; i < n_in; i++) tensor_release(in[i]);
    const char *once = test_text(&r.g);
    ck_assert(pass_simplify(&r.g.c, r.g.m));
    ck_assert_msg(strcmp(once, test_text(&r.g)) == 0, "seed %" PRIu64 ": a second simplify changed\n%s=>\n%s", r.seed, once,
                  test_text(&r.g));
    arena_free(r.g.a);
}

START_TEST(random_small) {
    for (uint64_t k = 0; k < 40; k++) check_random((uint64_t)_i * 1000 + k, 8);
}
END_TEST
START_TEST(random_large) {
    for (uint64_t k = 0; k < 10; k++) check_random(777000 + (uint64_t)_i * 1000 + k, 80);
}
END_TEST

/* ---- what is left ---- */

typedef struct Count {
    const char *body; /* makes %y; inputs below */
    const char *type; /* of %y */
    const char *left; /* "add 1, mul 0": every op not named must not be there */
} Count;

static const Count counts[] = {
    {"%k = constant 1 : f32[3, 4]\n%y = mul %x, %k : f32[3, 4]", "f32[3, 4]", ""},
    {"%k = constant 4 : f32[3, 4]\n%y = div %x, %k : f32[3, 4]", "f32[3, 4]", "constant 1, mul 1"},
    {"%k = constant 3 : f32[3, 4]\n%y = div %x, %k : f32[3, 4]", "f32[3, 4]", "constant 1, div 1"},
    {"%k = constant 2 : f32[3, 4]\n%y = pow %x, %k : f32[3, 4]", "f32[3, 4]", "mul 1"},
    {"%k = constant -2 : f32[3, 4]\n%y = pow %x, %k : f32[3, 4]", "f32[3, 4]", "constant 1, div 1, mul 1"},
    {"%k = constant 0.5 : f32[3, 4]\n%y = pow %x, %k : f32[3, 4]", "f32[3, 4]", "sqrt 1"},
    {"%a = add %x, %z : f32[3, 4]\n%b = add %z, %x : f32[3, 4]\n%y = mul %a, %b : f32[3, 4]", "f32[3, 4]", "add 1, mul 1"},
    {"%a = exp %x : f32[3, 4]\n%b = exp %x : f32[3, 4]\n%y = sub %x, %z : f32[3, 4]", "f32[3, 4]", "sub 1"},
    {"%a = reshape %x : f32[12]\n%b = reshape %a : f32[4, 3]\n%y = reshape %b : f32[3, 4]", "f32[3, 4]", ""},
    {"%a = transpose %x, perm=[1, 0] : f32[4, 3]\n%y = transpose %a, perm=[1, 0] : f32[3, 4]", "f32[3, 4]", ""},
    {"%a = reshape %v : f32[1, 4]\n%y = broadcast %a, axes=[0, 1] : f32[3, 4]", "f32[3, 4]", "broadcast 1"},
    {"%a = transpose %z, perm=[1, 0] : f32[4, 3]\n%y = contract \"ij,jk->ik\" %x, %a : f32[3, 3]", "f32[3, 3]", "contract 1"},
    {"%a = transpose %x, perm=[1, 0] : f32[4, 3]\n%b = contract \"ij,jk->ik\" %a, %z : f32[4, 4]\n%y = transpose %b, perm=[1, 0] "
     ": f32[4, 4]",
     "f32[4, 4]", "contract 1"},
    {"%a = slice %x, start=[0, 0], limit=[3, 2], step=[1, 1] : f32[3, 2]\n%b = slice %z, start=[0, 2], limit=[3, 4], step=[1, 1] "
     ": f32[3, 2]\n%o = constant 0 : f32\n"
     "%p = pad %b, %o, low=[0, 2], high=[0, 0], interior=[0, 0] : f32[3, 4]\n%q = pad %a, %o, low=[0, 0], high=[0, 2], "
     "interior=[0, 0] : f32[3, 4]\n%y = add %p, %q : f32[3, 4]",
     "f32[3, 4]", "slice 2, concat 1"},
    {"%a = neg %x : f32[3, 4]\n%k = constant 0.1 : f32[3, 4]\n%b = mul %a, %k : f32[3, 4]\n%y = sub %z, %b : f32[3, 4]",
     "f32[3, 4]", "constant 1, mul 1, add 1"},
    {"%b = broadcast %v, axes=[1] : f32[3, 4]\n%k = constant 2 : f32[3, 4]\n%c = mul %b, %k : f32[3, 4]\n%y = exp %c : f32[3, 4]",
     "f32[3, 4]", "constant 1, mul 1, exp 1, broadcast 1"},
    /* scans */
    {"%h, %w = scan %x, %z, carry=2, axes=[], yaxes=[], reverse=false, trip=5 : f32[3, 4], f32[3, 4] {\nblock (%t: i32, %c: "
     "f32[3, 4], %d: f32[3, 4])\n%e = exp %z : f32[3, 4]\n%n = mul %c, %e : f32[3, 4]\n"
     "%u = add %d, %c : f32[3, 4]\nyield %n, %u\n}\n%y = add %h, %x : f32[3, 4]",
     "f32[3, 4]", "exp 1, scan 1, mul 1, add 1"},
    {"%h, %w = scan %x, %z, carry=2, axes=[], yaxes=[], reverse=false, trip=5 : f32[3, 4], f32[3, 4] {\nblock (%t: i32, %c: "
     "f32[3, 4], %d: f32[3, 4])\n%n = mul %c, %d : f32[3, 4]\nyield %n, %d\n}\n"
     "%y = add %h, %w : f32[3, 4]",
     "f32[3, 4]", "scan 1, mul 1, add 1"},
    {"%h, %ys = scan %v, %x, carry=1, axes=[1], yaxes=[1], reverse=false, trip=4 : f32[4], f32[3, 4] {\nblock (%t: i32, %c: "
     "f32[4], %s: f32[3])\n%n = sin %c : f32[4]\nyield %n, %s\n}\n%y = exp %h : f32[4]",
     "f32[4]", "scan 1, sin 1, exp 1"},
    {"%h, %ys = scan %v, %r, carry=1, axes=[0], yaxes=[0], reverse=false, trip=1 : f32[4], f32[1, 4] {\nblock (%t: i32, %c: "
     "f32[4], %s: f32[4])\n%n = mul %c, %s : f32[4]\nyield %n, %n\n}\n%y = exp %h : f32[4]",
     "f32[4]", "reshape 1, mul 1, exp 1"},
};
enum { N_COUNTS = sizeof counts / sizeof *counts };

static void count_op(Op *op, void *arg) { ((int *)arg)[op->code]++; }

START_TEST(what_is_left) {
    const Count *c = &counts[_i];
    Arena *a = arena_new();
    TestGraph g = test_read(
        arena_printf(a,
                     "graph expanded\nvar %%x: f32[3, 4] of @c\nvar %%z: f32[3, 4] of @c\nvar %%v: f32[4] of @c\nvar %%r: f32[1, "
                     "4] of @c\nvar %%y: %s of @c\ncommand @c() {\n}\n"
                     "func @f(%%x: f32[3, 4], %%z: f32[3, 4], %%v: f32[4], %%r: f32[1, 4]) -> (%%y: %s) {\n%s\nreturn %%y\n}\n",
                     c->type, c->type, c->body));
    ck_assert(pass_simplify(&g.c, g.m));
    test_verify(&g, "simplify");
    int found[OP_COUNT] = {0};
    block_walk(g.f->body, count_op, found);
    for (const char *s = c->left; *s;) {
        char name[32];
        int n, used;
        ck_assert_int_eq(sscanf(s, "%31s %d%n", name, &n, &used), 2);
        OpCode code = op_by_name(name);
        ck_assert_msg(code != OP_COUNT && found[code] == n, "%s: %d, not %d, in\n%s", name, found[code], n, test_text(&g));
        found[code] = 0;
        s += used;
        s += strspn(s, ", ");
    }
    for (int i = 0; i < OP_COUNT; i++) ck_assert_msg(found[i] == 0, "`%s` is left in\n%s", op_info[i].name, test_text(&g));
    arena_free(g.a);
    arena_free(a);
}
END_TEST

/* A hundred thousand ops take no longer than they should: the pass is linear. */
START_TEST(large) {
    TestGraph g = test_read("graph expanded\nvar %x: f32[4] of @c\nvar %y: f32[4] of @c\ncommand @c() {\n}\nfunc @f(%x: f32[4]) "
                            "-> (%y: f32[4]) {\n%y = neg %x : f32[4]\nreturn %y\n}\n");
    Builder b = builder_at_end(g.f);
    Value *v = g.f->body->results.at[0], *x = g.f->body->params.at[0];
    for (int i = 0; i < 50000; i++)
        v = g_binary(&b, i % 3 ? OP_mul : OP_sub, g_binary(&b, OP_add, v, g_constant(&b, v->type, i % 7)), x);
    g.f->body->results.at[0] = v;
    ck_assert(pass_simplify(&g.c, g.m));
    test_verify(&g, "simplify");
    arena_free(g.a);
}
END_TEST

Suite *simplify_suite(void);
Suite *simplify_suite(void) {
    Suite *s = suite_create("simplify");
    TCase *t = tcase_create("laws");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, random_small, 0, 10);
    tcase_add_loop_test(t, random_large, 0, 10);
    tcase_add_test(t, large);
    suite_add_tcase(s, t);
    t = tcase_create("rules");
    tcase_add_loop_test(t, what_is_left, 0, N_COUNTS);
    suite_add_tcase(s, t);
    return s;
}
