/*
 * test_gradients.c - every gradient rule against central differences in f64, and the gradient's gradient likewise.
 *
 * Each case is some ops from inputs to %y (and %z); the loss is the sum of y times random weights, so that the cotangents are of
 * any size. Then s = sum of g times other random weights over all gradients g, and its gradient is compared too. Inputs are drawn
 * from the case's interval, which keeps them away from kinks; kinks have tests of their own. A rule of ops.def without a case is
 * a failure.
 */
#include "ir/gradcheck.h"
#include "passes/pipeline.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

typedef struct GradCase {
    const char *rules; /* words of the gradient column that are tried here */
    const char *in;    /* "x: f32[2, 3], y: f32[3]" */
    const char *ops;
    double low, high;
    bool twice; /* the second derivative is not zero, too */
} GradCase;

/* clang-format off */
static const GradCase cases[] = {
    {"neg", "x: f32[3]", "%a = neg %x : f32[3]\n %y = mul %a, %a : f32[3]", -2, 2, true},
    {"abs", "x: f32[3]", "%a = abs %x : f32[3]\n %y = mul %a, %x : f32[3]", 0.5, 2, true},
    {"abs", "x: f32[3]", "%a = abs %x : f32[3]\n %y = mul %a, %x : f32[3]", -2, -0.5, true},
    {"exp", "x: f32[3]", "%y = exp %x : f32[3]", -2, 2, true},
    {"expm1", "x: f32[3]", "%y = expm1 %x : f32[3]", -2, 2, true},
    {"log", "x: f32[3]", "%y = log %x : f32[3]", 0.5, 3, true},
    {"log1p", "x: f32[3]", "%y = log1p %x : f32[3]", -0.5, 3, true},
    {"sqrt", "x: f32[3]", "%y = sqrt %x : f32[3]", 0.5, 3, true},
    {"sin", "x: f32[3]", "%y = sin %x : f32[3]", -3, 3, true},
    {"cos", "x: f32[3]", "%y = cos %x : f32[3]", -3, 3, true},
    {"tanh", "x: f32[3]", "%y = tanh %x : f32[3]", -2, 2, true},
    {"sigmoid", "x: f32[3]", "%y = sigmoid %x : f32[3]", -30, 30, true},
    {"erf", "x: f32[3]", "%y = erf %x : f32[3]", -1, 1, true},
    {"convert", "x: f32[3]", "%a = convert %x : f64[3]\n %b = exp %a : f64[3]\n %y = convert %b : f32[3]", -1, 1, true},
    {"add sub", "x: f32[3], z: f32[3]", "%a = add %x, %z : f32[3]\n %b = sub %x, %z : f32[3]\n %c = mul %a, %b : f32[3]\n %y = mul %c, %x : f32[3]", -2, 2, true},
    {"mul", "x: f32[3], z: f32[3]", "%y = mul %x, %z : f32[3]", -2, 2, true},
    {"mul", "x: f32[3]", "%a = mul %x, %x : f32[3]\n %y = mul %a, %x : f32[3]", -2, 2, true},
    {"div", "x: f32[3], z: f32[3]", "%y = div %x, %z : f32[3]", 0.5, 2, true},
    {"mod", "x: f32[3], z: f32[3]", "%a = mod %x, %z : f32[3]\n %y = mul %a, %x : f32[3]", 1.1, 1.9, true},
    {"mod", "x: f32[3]", "%h = constant 0.5 : f32[3]\n %z = mul %x, %h : f32[3]\n %e = exp %z : f32[3]\n %a = mod %x, %e : f32[3]\n %y = mul %a, %a : f32[3]", 4.3, 4.4, true},
    {"pow", "x: f32[3], z: f32[3]", "%y = pow %x, %z : f32[3]", 0.5, 2, true},
    {"max min", "x: f32[4], z: f32[4]", "%a = max %x, %z : f32[4]\n %b = min %x, %z : f32[4]\n %c = mul %a, %a : f32[4]\n %d = mul %b, %c : f32[4]\n %y = mul %d, %x : f32[4]", -2, 2, true},
    {"fma", "x: f32[3], z: f32[3], w: f32[3]", "%a = fma %x, %z, %w : f32[3]\n %y = mul %a, %a : f32[3]", -2, 2, true},
    {"select", "x: f32[4], z: f32[4]", "%c = lt %x, %z : bool[4]\n %a = mul %x, %x : f32[4]\n %b = mul %x, %z : f32[4]\n %y = select %c, %a, %b : f32[4]", -2, 2, true},
    {"broadcast", "x: f32[3], z: f32[2, 1]", "%a = broadcast %x, axes=[1] : f32[2, 3]\n %b = broadcast %z, axes=[0, 1] : f32[2, 3]\n %y = mul %a, %b : f32[2, 3]", -2, 2, true},
    {"broadcast", "x: f32", "%a = broadcast %x, axes=[] : f32[B, 2]\n %y = exp %a : f32[B, 2]", -2, 2, true},
    {"reshape", "x: f32[2, 3]", "%a = reshape %x : f32[3, 2]\n %y = exp %a : f32[3, 2]", -2, 2, true},
    {"transpose", "x: f32[2, 3, 2]", "%a = transpose %x, perm=[2, 0, 1] : f32[2, 2, 3]\n %y = exp %a : f32[2, 2, 3]", -2, 2, true},
    {"slice", "x: f32[4, 5]", "%a = slice %x, start=[1, 0], limit=[4, 5], step=[2, 3] : f32[2, 2]\n %y = exp %a : f32[2, 2]", -2, 2, true},
    {"slice", "x: f32[B, 5]", "%a = slice %x, start=[0, 1], limit=[-1, 3], step=[1, 1] : f32[B, 2]\n %y = exp %a : f32[B, 2]", -2, 2, true},
    {"pad", "x: f32[3], v: f32", "%a = pad %x, %v, low=[1], high=[2], interior=[1] : f32[8]\n %y = exp %a : f32[8]", -2, 2, true},
    {"pad", "x: f32[4, 3], v: f32", "%a = pad %x, %v, low=[-1, 1], high=[1, -2], interior=[0, 2] : f32[4, 6]\n %y = exp %a : f32[4, 6]", -2, 2, true},
    {"concat", "x: f32[2, 1], z: f32[2, 3]", "%a = concat %x, %z, %x, axis=1 : f32[2, 5]\n %y = exp %a : f32[2, 5]", -2, 2, true},
    {"concat", "x: f32[B, 2], z: f32[B, 2]", "%a = concat %x, %z, axis=0 : f32[2*B, 2]\n %y = exp %a : f32[2*B, 2]", -2, 2, true},
    {"reverse", "x: f32[2, 3]", "%a = reverse %x, axes=[0, 1] : f32[2, 3]\n %y = exp %a : f32[2, 3]", -2, 2, true},
    {"take take_add", "x: f32[3, 2]", "%i = literal [2, 0, 2, 2] : i32[2, 2]\n %a = take %x, %i, axis=0 : f32[2, 2, 2]\n %y = exp %a : f32[2, 2, 2]", -2, 2, true},
    {"take_add", "x: f32[2, 2]", "%i = literal [1, 1] : i32[2]\n %a = take_add %x, %i, axis=1 : f32[2, 3]\n %y = exp %a : f32[2, 3]", -2, 2, true},
    {"gather scatter_add", "x: f32[2, 3]", "%i = literal [2, 2, 0, 1] : i32[2, 2]\n %a = gather %x, %i, axis=1 : f32[2, 2]\n %y = exp %a : f32[2, 2]", -2, 2, true},
    {"scatter_add", "z: f32[2, 3], x: f32[2, 2]", "%i = literal [2, 2, 0, 1] : i32[2, 2]\n %a = scatter_add %z, %x, %i, axis=1 : f32[2, 3]\n %y = exp %a : f32[2, 3]", -2, 2, true},
    {"dynamic_slice", "x: f32[4, 3]", "%i = constant 1 : i32\n %a = dynamic_slice %x, %i, axes=[0], sizes=[2] : f32[2, 3]\n %y = exp %a : f32[2, 3]", -2, 2, true},
    {"dynamic_update", "x: f32[4, 3], u: f32[2, 3]", "%i = constant 1 : i32\n %a = dynamic_update %x, %u, %i, axes=[0] : f32[4, 3]\n %y = exp %a : f32[4, 3]", -2, 2, true},
    {"contract", "x: f32[2, 3], z: f32[3, 4]", "%y = contract \"ik,kj->ij\" %x, %z : f32[2, 4]", -2, 2, true},
    {"contract", "x: f32[B, 3, 2], z: f32[4, 2, B]", "%y = contract \"bik,jkb->jbi\" %x, %z : f32[4, B, 3]", -2, 2, true},
    {"contract", "x: f32[B, 3], z: f32[B, 3]", "%a = contract \"bi,bi->\" %x, %z : f32\n %y = exp %a : f32", -0.5, 0.5, true},
    {"contract", "x: f32[3]", "%y = contract \"i,j->ji\" %x, %x : f32[3, 3]", -2, 2, true},
    {"conv", "x: f32[2, 5, 2], k: f32[3, 2, 3]",
     "%y = conv \"nxc,xcd->nxd\" %x, %k, window=\"x\", stride=[1], low=[1], high=[1], lhs_dilation=[1], rhs_dilation=[1] : f32[2, 5, 3]", -2, 2, true},
    {"conv", "x: f32[2, 7, 1], k: f32[3, 1, 2]",
     "%y = conv \"nxc,xcd->nxd\" %x, %k, window=\"x\", stride=[2], low=[2], high=[1], lhs_dilation=[1], rhs_dilation=[2] : f32[2, 3, 2]", -2, 2, true},
    {"conv", "x: f32[1, 3, 2], k: f32[2, 2, 1]",
     "%y = conv \"nxc,xcd->nxd\" %x, %k, window=\"x\", stride=[1], low=[1], high=[0], lhs_dilation=[3], rhs_dilation=[1] : f32[1, 7, 1]", -2, 2, true},
    {"conv", "x: f32[1, 5, 2], k: f32[2, 2, 1]",
     "%y = conv \"nxc,xcd->nxd\" %x, %k, window=\"x\", stride=[2], low=[-1], high=[-1], lhs_dilation=[1], rhs_dilation=[1] : f32[1, 1, 1]", -2, 2, true},
    {"conv", "x: f32[B, 5, 4, 2], k: f32[3, 2, 2, 3]",
     "%y = conv \"nxyc,xycd->nxyd\" %x, %k, window=\"xy\", stride=[2, 1], low=[1, 0], high=[1, 1], lhs_dilation=[1, 2], rhs_dilation=[1, 3] : f32[B, 3, 5, 3]", -2, 2, true},
    {"conv", "x: f32[B, 4, 2, 3], k: f32[2, 2, 3, 1]",
     "%y = conv \"nxgc,xgcd->nxgd\" %x, %k, window=\"x\", stride=[1], low=[0], high=[0], lhs_dilation=[1], rhs_dilation=[1] : f32[B, 3, 2, 1]", -2, 2, true},
    {"sum", "x: f32[2, 3, 2]", "%a = sum %x, axes=[0, 2] : f32[3]\n %y = exp %a : f32[3]", -1, 1, true},
    {"sum", "x: f32[B, 2]", "%a = sum %x, axes=[0] : f32[2]\n %y = exp %a : f32[2]", -1, 1, true},
    {"prod", "x: f32[2, 3, 2]", "%y = prod %x, axes=[0, 2] : f32[3]", 0.5, 2, true},
    {"prod", "x: f32[B, 3]", "%y = prod %x, axes=[0] : f32[3]", 0.5, 2, true},
    {"prod", "x: f32[2, B]", "%y = prod %x, axes=[1] : f32[2]", -2, 2, true},
    {"prod", "x: f32[B, 2, 2]", "%y = prod %x, axes=[0, 2] : f32[2]", -2, 2, true},
    {"reduce_max", "x: f32[2, 5]", "%a = reduce_max %x, axes=[1] : f32[2]\n %b = reduce_min %x, axes=[0] : f32[5]\n %c = exp %a : f32[2]\n %z = exp %b : f32[5]\n %y = mul %c, %a : f32[2]", -2, 2, true},
    {"sort", "x: f32[5, 2]", "%a, %p = sort %x, axis=0 : f32[5, 2], i32[5, 2]\n %y = exp %a : f32[5, 2]", -2, 2, true},
    {"sort", "x: f32[2, 5]", "%a, %p = top_k %x, k=3 : f32[2, 3], i32[2, 3]\n %y = exp %a : f32[2, 3]", -2, 2, true},
    {"window_max window_put window_pick", "x: f32[2, 5, 2]", "%a = window_max %x, size=[3], stride=[2], low=[1], high=[1] : f32[2, 3, 2]\n %y = exp %a : f32[2, 3, 2]", -2, 2, true},
    {"window_max", "x: f32[B, 4, 4, 1]", "%a = window_max %x, size=[2, 3], stride=[2, 1], low=[0, 0], high=[0, 1] : f32[B, 2, 3, 1]\n %y = exp %a : f32[B, 2, 3, 1]", -2, 2, true},
    {"window_sum", "x: f32[2, 5, 2]", "%a = window_sum %x, size=[3], stride=[2], low=[1], high=[1] : f32[2, 3, 2]\n %y = exp %a : f32[2, 3, 2]", -1, 1, true},
    {"window_sum", "x: f32[B, 4, 4, 1]", "%a = window_sum %x, size=[2, 3], stride=[2, 1], low=[0, 1], high=[0, 0] : f32[B, 2, 3, 1]\n %y = exp %a : f32[B, 2, 3, 1]", -0.5, 0.5, true},
    {"window_put", "x: f32[1, 4, 1], z: f32[1, 2, 1]", "%a = window_put %x, %z, size=[2], stride=[2], low=[0], high=[0] : f32[1, 4, 1]\n %y = exp %a : f32[1, 4, 1]", -1, 1, true},
    {"window_pick", "x: f32[1, 4, 1], z: f32[1, 4, 1]", "%a = window_pick %x, %z, size=[3], stride=[1], low=[0], high=[0] : f32[1, 2, 1]\n %y = exp %a : f32[1, 2, 1]", -1, 1, true},
    {"scan", "h: f32[2], w: f32[2, 2], x: f32[4, 2]",
     "%r, %y = scan %h, %x, carry=1, axes=[0], yaxes=[1], reverse=false, trip=4 : f32[2], f32[2, 4] {\n block (%t: i32, %c: f32[2], %s: f32[2])\n"
     "  %d = contract \"i,ij->j\" %c, %w : f32[2]\n  %e = add %d, %s : f32[2]\n  %n = tanh %e : f32[2]\n  %o = mul %n, %s : f32[2]\n  yield %n, %o\n }\n %z = exp %r : f32[2]", -1, 1, true},
    {"scan", "h: f32, x: f32[B, 3]",
     "%z, %y = scan %h, %x, carry=1, axes=[1], yaxes=[0], reverse=true, trip=3 : f32, f32[3] {\n block (%t: i32, %c: f32, %s: f32[B])\n"
     "  %q = mul %s, %s : f32[B]\n  %m = sum %q, axes=[0] : f32\n  %n = mul %c, %m : f32\n  %o = sin %n : f32\n  yield %o, %n\n }", 0.5, 1, true},
    {"scan", "h: f32[2], w: f32",
     "%y = scan %h, carry=1, axes=[], yaxes=[], reverse=false, trip=3 : f32[2] {\n block (%t: i32, %c: f32[2])\n"
     "  %k = scan %c, carry=1, axes=[], yaxes=[], reverse=false, trip=2 : f32[2] {\n   block (%u: i32, %d: f32[2])\n   %b = broadcast %w, axes=[] : f32[2]\n   %e = mul %d, %b : f32[2]\n"
     "   %f = tanh %e : f32[2]\n   yield %f\n  }\n  yield %k\n }", 0.5, 2, true},
    {"scan", "h: f32[2], x: f32[B, 2]",
     "%n = batch : i32\n %y, %z = scan %h, %x, %n, carry=1, axes=[0], yaxes=[0], reverse=false, trip=-1 : f32[2], f32[B, 2] {\n block (%t: i32, %c: f32[2], %s: f32[2])\n"
     "  %a = mul %c, %s : f32[2]\n  %b = cos %a : f32[2]\n  yield %b, %a\n }", 0.5, 2, true},
    {"scan", "h: f32[2], k: f32[2]",
     "%y, %i = scan %h, %k, carry=2, axes=[], yaxes=[], reverse=false, trip=3 : f32[2], f32[2] {\n block (%t: i32, %a: f32[2], %b: f32[2])\n"
     "  %c = mul %a, %b : f32[2]\n  %s = sin %c : f32[2]\n  yield %b, %s\n }", 0.5, 2, true},
};
/* clang-format on */
enum { N_CASES = sizeof cases / sizeof *cases, BATCH = 3 };

/* ---- building ---- */

static const char *with_bound(Arena *a, const char *type) {
    const char *b = strchr(type, 'B');
    if (!b) return type;
    bool many = b > type && b[-1] == '*';
    return arena_printf(a, many ? "%.*s(B<=8)%s" : "%.*sB<=8%s", (int)(b - type), type, b + 1);
}

/* The module as text: inputs and ops. Its results are put in by finish. */
static Module *read_case(Arena *a, const GradCase *c) {
    Text slots = {0}, head = {0}, all = {0};
    const char *at = c->in;
    for (;;) {
        const char *colon = strchr(at, ':'), *end = colon;
        for (int open = 0; *end && (open || *end != ','); end++) open += (*end == '[') - (*end == ']');
        const char *type = with_bound(a, arena_strndup(a, colon + 2, (size_t)(end - colon - 2)));
        text_printf(a, &slots, "input %%%.*s: %s of @c\n", (int)(colon - at), at, type);
        text_printf(a, &head, "%s%%%.*s: %s", head.n ? ", " : "", (int)(colon - at), at, type);
        if (!*end) break;
        at = end + 2;
    }
    text_printf(a, &all, "graph front\n%sfunc @f(%s) -> () batch 8 {\n %s\n return\n}\n", text_str(a, &slots), text_str(a, &head),
                c->ops);
    Diag *d = diag_new(a);
    Stage stage;
    const char *text = text_str(a, &all);
    Module *m = graph_parse(a, d, "case", text, strlen(text), &stage);
    if (!m) diag_print(d, stderr);
    ck_assert_msg(m != NULL, "cannot be read:\n%s", text);
    return m;
}

static Value *value_named(const Func *f, const char *name) {
    for (const Op *op = f->body->first; op; op = op->next)
        for (int i = 0; i < op->n_out; i++)
            if (op->out[i]->name && strcmp(op->out[i]->name, name) == 0) return op->out[i];
    return NULL;
}

/* The sum of v times weights drawn from [-1, 1). */
static Value *weighted(Builder *b, Value *v, int64_t site) {
    Value *key = g_constant(b, type_scalar(I64), 12345), *draw;
    const Type *t = type_with_elem(v->type, F32);
    Attr attr = attr_i(A_site, site);
    draw = op_make(b, OP_uniform, 1, &key, 1, &attr, t);
    Value *w = g_binary(b, OP_sub, g_binary(b, OP_add, draw, draw), g_constant(b, t, 1));
    Value *p = g_binary(b, OP_mul, g_convert(b, v, F32), w);
    int64_t axes[MAX_RANK];
    for (int i = 0; i < p->type->rank; i++) axes[i] = i;
    return p->type->rank ? g_reduce(b, OP_sum, p, p->type->rank, axes) : p;
}

static Op *gradient(Builder *b, Func *f, Value *loss) {
    Value *in[16] = {loss};
    const Type *types[16];
    int n = 1;
    for (size_t i = 0; i < f->body->params.n; i++)
        if (elem_is_float(f->body->params.at[i]->type->elem)) {
            types[n - 1] = f->body->params.at[i]->type;
            in[n++] = f->body->params.at[i];
        }
    return op_make_full(b, OP_grad, n, in, 0, NULL, 0, NULL, n - 1, types);
}

/* Loss, its gradient, a sum over that, and its gradient. */
static void finish(Func *f) {
    Builder b = builder_at_end(f);
    Value *y = value_named(f, "y"), *z = value_named(f, "z");
    Value *loss = weighted(&b, y, 1);
    if (z && elem_is_float(z->type->elem)) loss = g_binary(&b, OP_add, loss, weighted(&b, z, 2));
    b.loc.line = 1;
    Op *first = gradient(&b, f, loss);
    Value *sum = weighted(&b, first->out[0], 3);
    for (int i = 1; i < first->n_out; i++) sum = g_binary(&b, OP_add, sum, weighted(&b, first->out[i], 3 + i));
    b.loc.line = 2;
    gradient(&b, f, sum);
}

/* ---- checking ---- */

typedef struct Seen {
    const char *what;
    uint64_t seed;
    int first, second; /* comparisons with a gradient other than 0 */
} Seen;

static void look(const GradReport *r, void *arg) {
    Seen *s = arg;
    *(r->loc.line == 1 ? &s->first : &s->second) += r->gradient != 0;
    ck_assert_msg(r->ok, "%s (seed %d): derivative %d by %s, element %d: the graph says %.12g, differences %.12g", s->what,
                  (int)s->seed, r->loc.line, r->x, (int)r->element, r->gradient, r->difference);
}

static Tensor **inputs_in(Arena *a, const Func *f, double low, double high, uint64_t seed) {
    EvalFault fault = {0};
    Tensor **x = gradcheck_inputs(a, f, BATCH, seed, &fault);
    ck_assert_msg(x != NULL, "%s", fault.text);
    for (size_t i = 0; i < f->body->params.n; i++)
        for (int64_t k = 0; k < x[i]->count; k++) tensor_set(x[i], k, low + tensor_get(x[i], k) * (high - low));
    return x;
}

static bool expand(Arena *a, Module *m) {
    PassCtx p = {.arena = a, .diag = diag_new(a)};
    bool ok = pass_autodiff(&p, m);
    if (!ok || diag_errors(p.diag)) diag_print(p.diag, stderr);
    return ok;
}

START_TEST(rules_against_differences) {
    const GradCase *c = &cases[_i];
    for (uint64_t seed = 1; seed <= 2; seed++) {
        Arena *a = arena_new();
        Module *m = read_case(a, c);
        Func *f = func_by_name(m, "f");
        finish(f);
        GradCheck *g = gradcheck_begin(a, m);
        ck_assert_int_ge(gradcheck_count(g, f), 2);
        ck_assert_msg(expand(a, m), "%s", c->rules);
        const char *why = graph_verify(a, m, STAGE_EXPANDED);
        ck_assert_msg(!why, "%s: after autodiff: %s", c->rules, why);
        Seen seen = {arena_printf(a, "%s: %s", c->rules, c->ops), seed, 0, 0};
        Tensor **in = inputs_in(a, f, c->low, c->high, seed);
        GradSummary sum;
        EvalFault fault;
        GradOptions o = {.seed = seed, .report = look, .arg = &seen};
        ck_assert_msg(gradcheck_run(a, g, f, BATCH, in, &o, &sum, &fault), "%s: %s", c->rules, fault.text);
        ck_assert_msg(seen.first > 0, "%s: all gradients are 0", c->rules);
        ck_assert_msg(seen.second > 0 || !c->twice, "%s: all second derivatives are 0", c->rules);
        for (size_t i = 0; i < f->body->params.n; i++) tensor_release(in[i]);
        arena_free(a);
    }
}
END_TEST

/* Every word of the gradient column but none, zero and refuse is tried. */
START_TEST(every_rule_has_a_case) {
    static const char *const rules[] = {
#define OP(name, operands, attributes, rule, elementwise, stages, gradient, evaluator, doc) #gradient,
#include "ir/ops.def"
#undef OP
    };
    for (int i = 0; i < OP_COUNT; i++) {
        if (strcmp(rules[i], "none") == 0 || strcmp(rules[i], "zero") == 0 || strcmp(rules[i], "refuse") == 0) continue;
        bool found = false;
        for (int k = 0; k < N_CASES; k++) {
            const char *at = strstr(cases[k].rules, rules[i]);
            size_t n = strlen(rules[i]);
            found |= at && (at == cases[k].rules || at[-1] == ' ') && (at[n] == ' ' || at[n] == 0);
        }
        ck_assert_msg(found, "no case for the gradient of %s", op_info[i].name);
    }
}
END_TEST

/* ---- kinks, ties, zeros, on purpose ---- */

/* x, the ops to %y: f32[n], and the gradient of the plain sum of y. */
/* clang-format off */
static const struct {
    const char *what, *type, *ops;
    double x[8], g[8];
} kinks[] = {
    {"abs at 0", "f32[3]", "%y = abs %x : f32[3]", {-1, 0, 2}, {-1, 0, 1}},
    {"max takes the first of equal values", "f32[3]", "%o = constant 0 : f32[3]\n %y = max %o, %x : f32[3]", {-1, 0, 2}, {0, 0, 1}},
    {"min takes the first", "f32[3]", "%o = constant 0 : f32[3]\n %y = min %x, %o : f32[3]", {-1, 0, 2}, {1, 1, 0}},
    {"the first largest", "f32[4]", "%y = reduce_max %x, axes=[0] : f32", {1, 3, 3, 2}, {0, 1, 0, 0}},
    {"the first smallest", "f32[4]", "%y = reduce_min %x, axes=[0] : f32", {3, 1, 1, 2}, {0, 1, 0, 0}},
    {"the first largest of a window", "f32[1, 4, 1]", "%y = window_max %x, size=[3], stride=[1], low=[0], high=[0] : f32[1, 2, 1]", {1, 5, 5, 5}, {0, 2, 0, 0}},
    {"top_k takes the first", "f32[4]", "%a, %p = top_k %x, k=1 : f32[1], i32[1]\n %y = mul %a, %a : f32[1]", {1, 3, 3, 2}, {0, 6, 0, 0}},
    {"the root of 0, not taken", "f32[2]", "%o = constant 0 : f32[2]\n %c = gt %x, %o : bool[2]\n %r = sqrt %x : f32[2]\n %y = select %c, %r, %x : f32[2]", {0, 4}, {1, 0.25}},
    {"the logarithm of 0, not taken", "f32[2]", "%o = constant 0 : f32[2]\n %c = gt %x, %o : bool[2]\n %r = log %x : f32[2]\n %y = select %c, %r, %o : f32[2]", {0, 4}, {0, 0.25}},
    {"a division by 0, not taken", "f32[2]", "%o = constant 0 : f32[2]\n %i = constant 1 : f32[2]\n %c = gt %x, %o : bool[2]\n %r = div %i, %x : f32[2]\n %y = select %c, %r, %o : f32[2]", {0, 2}, {0, -0.25}},
    {"0 to a power, not taken", "f32[2]", "%o = constant 0 : f32[2]\n %i = constant 0.5 : f32[2]\n %c = gt %x, %o : bool[2]\n %r = pow %x, %i : f32[2]\n %y = select %c, %r, %o : f32[2]", {0, 4}, {0, 0.25}},
    {"a product with the logarithm of 0, not taken", "f32[2]", "%o = constant 0 : f32[2]\n %c = gt %x, %o : bool[2]\n %l = log %x : f32[2]\n %r = mul %x, %l : f32[2]\n %y = select %c, %r, %o : f32[2]", {0, 1}, {0, 1}},
    {"the same as the other branch", "f32[2]", "%o = constant 0 : f32[2]\n %c = le %x, %o : bool[2]\n %l = log %x : f32[2]\n %r = mul %x, %l : f32[2]\n %y = select %c, %x, %r : f32[2]", {0, 1}, {1, 1}},
    {"a chain of infinite factors, not taken", "f32[2]", "%o = constant 0 : f32[2]\n %i = constant 1 : f32[2]\n %c = gt %x, %o : bool[2]\n %q = div %i, %x : f32[2]\n %s = mul %q, %q : f32[2]\n %t = sin %s : f32[2]\n %u = mul %t, %s : f32[2]\n %v = mul %u, %o : f32[2]\n %w = neg %q : f32[2]\n %r = add %v, %w : f32[2]\n %y = select %c, %r, %o : f32[2]", {0, 2}, {0, 0.25}},
    {"one value under two conditions", "f32[3]", "%o = constant 0 : f32[3]\n %k = constant 2 : f32[3]\n %c = gt %x, %o : bool[3]\n %d = gt %x, %k : bool[3]\n %l = log %x : f32[3]\n %u = mul %x, %l : f32[3]\n %a = select %c, %u, %o : f32[3]\n %b = select %d, %u, %o : f32[3]\n %y = add %a, %b : f32[3]", {0, 1, 0}, {0, 1, 0}},
    {"a condition in a condition", "f32[3]", "%o = constant 0 : f32[3]\n %k = constant 0.5 : f32[3]\n %c = gt %x, %o : bool[3]\n %d = gt %x, %k : bool[3]\n %l = log %x : f32[3]\n %u = mul %x, %l : f32[3]\n %v = mul %u, %u : f32[3]\n %a = select %d, %u, %v : f32[3]\n %y = select %c, %a, %x : f32[3]", {0, 1, -1}, {1, 1, 1}},
    {"a condition for all, not met", "f32[2]", "%s = sum %x, axes=[0] : f32\n %k = constant 10 : f32\n %z = constant 0 : f32\n %c = gt %s, %k : bool\n %l = log %x : f32[2]\n %u = mul %x, %l : f32[2]\n %t = sum %u, axes=[0] : f32\n %y = select %c, %t, %z : f32", {0, 1}, {0, 0}},
    {"a repeated condition, not met", "f32[1]", "%o = constant 0 : f32[1]\n %c = gt %x, %o : bool[1]\n %r = reshape %c : bool[]\n %w = broadcast %r, axes=[] : bool[3]\n %l = log %x : f32[1]\n %m = mul %l, %l : f32[1]\n %b = broadcast %m, axes=[0] : f32[3]\n %z = constant 0 : f32[3]\n %s = select %w, %b, %z : f32[3]\n %y = sum %s, axes=[0] : f32", {0}, {0}},
    {"moved about behind the product, not taken", "f32[4]", "%l = log %x : f32[4]\n %u = mul %x, %l : f32[4]\n %a = reshape %u : f32[2, 2]\n %b = transpose %a, perm=[1, 0] : f32[2, 2]\n %e = reverse %b, axes=[0] : f32[2, 2]\n %f = concat %e, %e, axis=1 : f32[2, 4]\n %o = constant 0 : f32[2, 4]\n %i = constant 0 : f32\n %g = abs %f : f32[2, 4]\n %c = lt %g, %o : bool[2, 4]\n %h = select %c, %f, %o : f32[2, 4]\n %y = pad %h, %i, low=[0, 1], high=[0, 0], interior=[0, 0] : f32[2, 5]", {0, 1, 0, 1}, {0, 0, 0, 0}},
    {"in a loop, not taken", "f32[3]", "%h = constant 0 : f32\n %y = scan %h, %x, carry=1, axes=[0], yaxes=[], reverse=false, trip=3 : f32 {\n block (%t: i32, %s: f32, %v: f32)\n  %o = constant 0 : f32\n  %c = gt %v, %o : bool\n  %l = log %v : f32\n  %p = mul %v, %l : f32\n  %a = add %s, %p : f32\n  %n = select %c, %a, %s : f32\n  yield %n\n }", {0, 1, 0}, {0, 1, 0}},
    {"the square of 0 by pow", "f32[2]", "%i = constant 2 : f32[2]\n %y = pow %x, %i : f32[2]", {0, -3}, {0, -6}},
    {"a product with zeros", "f32[3]", "%y = prod %x, axes=[0] : f32", {2, 0, 5}, {0, 10, 0}},
    {"a product with two zeros", "f32[3]", "%y = prod %x, axes=[0] : f32", {2, 0, 0}, {0, 0, 0}},
    {"a product over the batch with a zero", "f32[B]", "%y = prod %x, axes=[0] : f32", {2, 0, 5}, {0, 10, 0}},
    {"floor and sign have slope 0", "f32[2]", "%a = floor %x : f32[2]\n %b = sign %x : f32[2]\n %c = mul %a, %b : f32[2]\n %y = add %c, %x : f32[2]", {1.5, -2.5}, {1, 1}},
    {"nothing passes stop_gradient", "f32[2]", "%a = stop_gradient %x : f32[2]\n %y = mul %a, %x : f32[2]", {3, 4}, {3, 4}},
};
/* clang-format on */

START_TEST(kinks_ties_and_zeros) {
    Arena *a = arena_new();
    GradCase c = {.in = arena_printf(a, "x: %s", kinks[_i].type), .ops = kinks[_i].ops};
    Module *m = read_case(a, &c);
    Func *f = func_by_name(m, "f");
    Builder b = builder_at_end(f);
    Value *y = value_named(f, "y");
    int64_t axes[MAX_RANK] = {0, 1, 2, 3};
    Op *g = gradient(&b, f, y->type->rank ? g_reduce(&b, OP_sum, y, y->type->rank, axes) : y);
    func_write(f, slot_new(m, SLOT_VAR, "g", g->out[0]->type, (Loc){0}), g->out[0]);
    ck_assert(expand(a, m));
    int64_t batch = type_has_batch(f->body->params.at[0]->type) ? 3 : 1;
    for (EvalType type = EVAL_F64; type <= EVAL_F32; type++) {
        Tensor *x = tensor_new(type, f->body->params.at[0]->type, batch), *out;
        for (int64_t i = 0; i < x->count; i++) tensor_set(x, i, kinks[_i].x[i]);
        EvalFault fault;
        ck_assert(eval_func(a, f, type, batch, &x, &out, &fault));
        for (int64_t i = 0; i < x->count; i++)
            ck_assert_msg(tensor_get(out, i) == kinks[_i].g[i], "%s: gradient %d is %g, not %g", kinks[_i].what, (int)i,
                          tensor_get(out, i), kinks[_i].g[i]);
        tensor_release(x);
        tensor_release(out);
    }
    arena_free(a);
}
END_TEST

/* The check itself can fail: a gradient that is off by a thousandth is found. */
static void count_bad(const GradReport *r, void *arg) { *(int *)arg += !r->ok; }

START_TEST(a_wrong_gradient_is_found) {
    Arena *a = arena_new();
    GradCase c = {.in = "x: f32[3]", .ops = "%y = tanh %x : f32[3]"};
    Module *m = read_case(a, &c);
    Func *f = func_by_name(m, "f");
    Builder b = builder_at_end(f);
    gradient(&b, f, weighted(&b, value_named(f, "y"), 1));
    GradCheck *g = gradcheck_begin(a, m);
    ck_assert(expand(a, m));
    Value *right = f->body->results.at[2];
    Builder end = builder_at_end(f);
    f->body->results.at[2] = g_binary(&end, OP_mul, right, g_constant(&end, right->type, 1.001));
    Tensor **in = inputs_in(a, f, -1, 1, 3);
    int bad = 0;
    GradSummary sum;
    EvalFault fault;
    GradOptions o = {.seed = 1, .report = count_bad, .arg = &bad};
    ck_assert(gradcheck_run(a, g, f, 1, in, &o, &sum, &fault));
    ck_assert_int_eq(bad, sum.compared);
    ck_assert_int_eq(sum.failed, sum.compared);
    ck_assert_int_gt(sum.compared, 3);
    tensor_release(in[0]);
    arena_free(a);
}
END_TEST

/* x^2 times stop_gradient(x^2): differences hold the second factor still. */
START_TEST(stop_gradient_is_held_still) {
    Arena *a = arena_new();
    GradCase c = {.in = "x: f32[3]",
                  .ops = "%q = mul %x, %x : f32[3]\n %s = stop_gradient %q : f32[3]\n %y = mul %q, %s : f32[3]"};
    Module *m = read_case(a, &c);
    Func *f = func_by_name(m, "f");
    Builder b = builder_at_end(f);
    gradient(&b, f, weighted(&b, value_named(f, "y"), 1));
    GradCheck *g = gradcheck_begin(a, m);
    ck_assert(expand(a, m));
    Tensor **in = inputs_in(a, f, 1, 2, 3);
    Seen seen = {"stop_gradient", 3, 0, 0};
    GradSummary sum;
    EvalFault fault;
    GradOptions o = {.seed = 1, .report = look, .arg = &seen};
    ck_assert(gradcheck_run(a, g, f, 1, in, &o, &sum, &fault));
    ck_assert_int_eq(sum.failed, 0);
    tensor_release(in[0]);
    arena_free(a);
}
END_TEST

Suite *gradients_suite(void);

Suite *gradients_suite(void) {
    Suite *s = suite_create("gradients");
    TCase *t = tcase_create("gradients");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, rules_against_differences, 0, N_CASES);
    tcase_add_test(t, every_rule_has_a_case);
    tcase_add_loop_test(t, kinks_ties_and_zeros, 0, (int)(sizeof kinks / sizeof *kinks));
    tcase_add_test(t, a_wrong_gradient_is_found);
    tcase_add_test(t, stop_gradient_is_held_still);
    suite_add_tcase(s, t);
    return s;
}
