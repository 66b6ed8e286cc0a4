/*
 * simplify_algebra.c - identities of elementwise ops, as rows: what is found, what takes its place, for which element types.
 *
 * In a row x, y, z, c stand for any value (the same letter: the same value), k for a constant, numbers for constants with this
 * value everywhere; an op's name for itself. add, mul, and, or, eq, ne are matched in both orders of their operands. A row takes
 * a value apart through ops used elsewhere, too: they stay.
 *
 * Rows keep every bit, but for those that are named here:
 *   sign of zero   x + 0 and x - 0 are x, also where x is -0 (IEEE: -0 + 0 is +0); sums over axes of one element likewise
 * (simplify_shape.c) NaN            which NaN comes out is not looked at: its sign and payload mean nothing pow            x^2,
 * x^3, x^4, 1/x, x^-2 are products and quotients, each rounded, and x^0.5, x^-0.5 are square roots; so (-0)^0.5 is -0, (-inf)^0.5
 * is NaN All of these hold for every machine alike: the graph behind the last pass is what is compiled and what the evaluator
 * computes.
 *
 * Not done: sums and products put in another order, x * 0 for floats (x may be NaN), x - x, a mul and an add made one fma
 * (elementwise work waits for memory, and the text would say less).
 */
#include "simplify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum Types { ANY, FLOAT, INT, INT_BOOL, LOGIC } Types;

typedef struct Row {
    const char *from, *to;
    Types types; /* of the first operand of the row's op */
} Row;

static const Row rows[] = {
    {"add(x, 0)", "x", ANY},
    {"sub(x, 0)", "x", ANY},
    {"mul(x, 1)", "x", ANY},
    {"div(x, 1)", "x", FLOAT},
    {"mul(x, -1)", "neg(x)", FLOAT},
    {"div(x, -1)", "neg(x)", FLOAT},
    {"mul(x, 0)", "0", INT},
    {"sub(x, x)", "0", INT},
    /* minus signs move outwards, where they meet additions */
    {"neg(neg(x))", "x", ANY},
    {"add(x, neg(y))", "sub(x, y)", ANY},
    {"sub(x, neg(y))", "add(x, y)", ANY},
    {"mul(neg(x), y)", "neg(mul(x, y))", ANY},
    {"div(neg(x), y)", "neg(div(x, y))", FLOAT},
    {"div(x, neg(y))", "neg(div(x, y))", FLOAT},
    {"abs(neg(x))", "abs(x)", FLOAT},
    {"abs(abs(x))", "abs(x)", ANY},
    {"max(x, x)", "x", ANY},
    {"min(x, x)", "x", ANY},
    {"floor(floor(x))", "floor(x)", FLOAT},
    {"ceil(ceil(x))", "ceil(x)", FLOAT},
    {"round(round(x))", "round(x)", FLOAT},
    {"fma(x, 1, y)", "add(x, y)", FLOAT},
    {"pow(x, 0)", "1", FLOAT},
    {"pow(x, 1)", "x", FLOAT},
    {"pow(x, 2)", "mul(x, x)", FLOAT},
    {"pow(x, 3)", "mul(mul(x, x), x)", FLOAT},
    {"pow(x, 4)", "mul(mul(x, x), mul(x, x))", FLOAT},
    {"pow(x, -1)", "div(1, x)", FLOAT},
    /* not 1 / (x x): the gradient of that leaves the floats, and is NaN, long before -2 / x^3 does */
    {"pow(x, -2)", "mul(div(1, x), div(1, x))", FLOAT},
    {"pow(x, 0.5)", "sqrt(x)", FLOAT},
    {"pow(x, -0.5)", "div(1, sqrt(x))", FLOAT},
    {"pow(1, x)", "1", FLOAT},
    {"eq(x, x)", "1", INT_BOOL},
    {"ne(x, x)", "0", INT_BOOL},
    {"le(x, x)", "1", INT},
    {"ge(x, x)", "1", INT},
    {"lt(x, x)", "0", ANY},
    {"gt(x, x)", "0", ANY},
    {"not(not(x))", "x", LOGIC},
    {"not(eq(x, y))", "ne(x, y)", LOGIC},
    {"not(ne(x, y))", "eq(x, y)", LOGIC},
    {"eq(x, 1)", "x", LOGIC},
    {"ne(x, 0)", "x", LOGIC},
    {"eq(x, 0)", "not(x)", LOGIC},
    {"ne(x, 1)", "not(x)", LOGIC},
    {"and(x, 1)", "x", LOGIC},
    {"and(x, 0)", "0", LOGIC},
    {"and(x, x)", "x", LOGIC},
    {"or(x, 0)", "x", LOGIC},
    {"or(x, 1)", "1", LOGIC},
    {"or(x, x)", "x", LOGIC},
    {"select(c, x, x)", "x", LOGIC},
    {"select(not(c), x, y)", "select(c, y, x)", LOGIC},
    {"select(c, select(c, x, y), z)", "select(c, x, z)", LOGIC},
    {"select(c, x, select(c, y, z))", "select(c, x, z)", LOGIC},
    {"stop_gradient(stop_gradient(x))", "stop_gradient(x)", ANY},
    {"stop_gradient(k)", "k", ANY},
};
enum { N_ROWS = sizeof rows / sizeof *rows };

/* ---- rows as trees ---- */

typedef struct Pattern {
    OpCode code; /* OP_COUNT: a letter or a number */
    char letter; /* 0: a number */
    double number;
    int n;
    struct Pattern *arg[3];
} Pattern;

static Pattern *read_pattern(Arena *a, const char **s) {
    Pattern *p = arena_make(a, Pattern);
    p->code = OP_COUNT;
    size_t n = strcspn(*s, "(),");
    if ((*s)[n] == '(') {
        p->code = op_by_name(intern_n(*s, n));
        if (p->code == OP_COUNT) bug("simplify: no op in `%s`", *s);
        *s += n + 1;
        for (;;) {
            p->arg[p->n++] = read_pattern(a, s);
            if (*(*s)++ == ')') return p;
            *s += strspn(*s, " ");
        }
    }
    if (n == 1 && (*s)[0] >= 'a')
        p->letter = **s;
    else
        p->number = strtod(*s, NULL);
    *s += n;
    return p;
}

/* The rows by the op they begin with, read once. */
static struct {
    Arena *arena;
    Pattern *from[N_ROWS], *to[N_ROWS];
    int first[OP_COUNT], next[N_ROWS]; /* chains of row numbers + 1 */
} book;

static void read_rows(void) {
    book.arena = arena_new();
    for (int i = N_ROWS - 1; i >= 0; i--) {
        const char *s = rows[i].from, *t = rows[i].to;
        book.from[i] = read_pattern(book.arena, &s);
        book.to[i] = read_pattern(book.arena, &t);
        book.next[i] = book.first[book.from[i]->code];
        book.first[book.from[i]->code] = i + 1;
    }
}

/* ---- matching and building ---- */

typedef struct Match {
    Value *letter[26];
} Match;

static bool commutes(OpCode code) {
    return code == OP_add || code == OP_mul || code == OP_and || code == OP_or || code == OP_eq || code == OP_ne;
}

static bool match(const Pattern *p, Value *v, Match *m);

static bool match_args(const Pattern *p, const Op *op, Match *m, bool swapped) {
    for (int i = 0; i < p->n; i++)
        if (!match(p->arg[i], op->in[swapped ? 1 - i : i], m)) return false;
    return true;
}

static bool match_op(const Pattern *p, const Op *op, Match *m) {
    Match before = *m;
    if (match_args(p, op, m, false)) return true;
    *m = before;
    return commutes(p->code) && match_args(p, op, m, true);
}

static bool match(const Pattern *p, Value *v, Match *m) {
    double k;
    if (p->code != OP_COUNT) return v->def && v->def->code == p->code && match_op(p, v->def, m);
    if (!p->letter) return is_constant(v, &k) && k == p->number;
    if (p->letter == 'k' && !is_constant(v, &k)) return false;
    Value **at = &m->letter[p->letter - 'a'];
    if (*at) return *at == v;
    *at = v;
    return true;
}

/* `like`: the type of the value that is built, for numbers. */
static Value *build(Simplify *s, const Pattern *p, const Match *m, const Type *like) {
    if (p->code == OP_COUNT) return p->letter ? m->letter[p->letter - 'a'] : g_constant(&s->b, like, p->number);
    Value *in[3];
    for (int i = 0; i < p->n; i++) in[i] = build(s, p->arg[i], m, like);
    return op_make(&s->b, p->code, p->n, in, 0, NULL, NULL);
}

static bool types_fit(Types want, Elem e) {
    switch (want) {
    case ANY: return true;
    case FLOAT: return elem_is_float(e);
    case INT: return elem_is_int(e);
    case INT_BOOL: return !elem_is_float(e);
    case LOGIC: return e == BOOL;
    }
    return false;
}

static Value *by_rows(Simplify *s, Op *op) {
    if (!book.arena) read_rows();
    for (int i = book.first[op->code]; i; i = book.next[i - 1]) {
        Match m = {{0}};
        if (types_fit(rows[i - 1].types, op->in[0]->type->elem) && match_op(book.from[i - 1], op, &m))
            return build(s, book.to[i - 1], &m, op->out[0]->type);
    }
    return NULL;
}

/* ---- what rows cannot say ---- */

/* Is 1 / k exact? Then x / k is x * (1 / k): both are the one number that rounds x / k. */
static bool exact_inverse(Elem e, double k) {
    int exponent;
    if (k == 0 || !isfinite(k) || fabs(frexp(k, &exponent)) != 0.5) return false;
    return e == F64 ? exponent > -1020 && exponent < 1020 : exponent > -120 && exponent < 120;
}

/* -(x * k) and (-x) * k are x * (-k). */
static Value *negated_constant(Simplify *s, Op *op) {
    Op *mul = op->code == OP_neg ? made_by(op->in[0], OP_mul) : NULL;
    for (int i = 0; mul && i < 2; i++) {
        double k;
        if (elem_is_float(op->out[0]->type->elem) && is_constant(mul->in[i], &k) && simplify_single_use(s, op->in[0]))
            return g_binary(&s->b, OP_mul, mul->in[1 - i], g_constant(&s->b, op->out[0]->type, -k));
    }
    return NULL;
}

/* Does every value of `from` have its own in `to`, so that a conversion on the way changes nothing? */
static bool lossless(Elem from, Elem to) {
    static const bool table[ELEM_COUNT][ELEM_COUNT] = {
        [F32] = {[F32] = 1, [F64] = 1},
        [F64] = {[F64] = 1},
        [I32] = {[I32] = 1, [I64] = 1, [F64] = 1},
        [I64] = {[I64] = 1},
        [U8] = {[U8] = 1, [I32] = 1, [I64] = 1, [F32] = 1, [F64] = 1},
        [BOOL] = {[BOOL] = 1, [U8] = 1, [I32] = 1, [I64] = 1, [F32] = 1, [F64] = 1},
    };
    return table[from][to];
}

/* convert(convert(x)) is one, if the first loses nothing. Integers made floats and then smaller integers saturate where they
 * would wrap: these stay. */
static Value *converts(Simplify *s, Op *op) {
    Value *x = op->in[0];
    Elem to = op->out[0]->type->elem;
    if (x->type->elem == to) return x;
    Op *inner = made_by(x, OP_convert);
    if (!inner) return NULL;
    Elem from = inner->in[0]->type->elem, middle = x->type->elem;
    if (!lossless(from, middle)) return NULL;
    if (elem_is_int(from) && elem_is_float(middle) && elem_is_int(to) && !lossless(from, to)) return NULL;
    return g_convert(&s->b, inner->in[0], to);
}

/* Did the same op (broadcast with the same axes, or reshape) make x and y of operands of one shape? */
static bool moved_alike(const Op *x, const Op *y) {
    if (x->code != y->code || !type_same_shape(x->in[0]->type, y->in[0]->type)) return false;
    if (x->code == OP_reshape) return true;
    const int64_t *a, *b;
    int64_t n = op_ints(x, A_axes, &a), m = op_ints(y, A_axes, &b);
    return same_ints(a, n, b, m);
}

/* An op on values that were all repeated, or reshaped, alike is done before they are: f(broadcast x, broadcast y, k) = broadcast
 * f(x, y, k). */
static Value *before_move(Simplify *s, Op *op, OpCode move) {
    Op *first = NULL;
    for (int i = 0; i < op->n_in; i++) {
        double k;
        Op *b = made_by(op->in[i], move);
        if (!b && !is_constant(op->in[i], &k)) return NULL;
        if (b && !first) first = b;
        if (b && !moved_alike(b, first)) return NULL;
    }
    if (!first) return NULL;
    Value *in[3];
    const Type *small = first->in[0]->type, *t = op->out[0]->type;
    for (int i = 0; i < op->n_in; i++) {
        double k;
        if (is_constant(op->in[i], &k))
            in[i] = g_constant(&s->b, type_with_elem(small, op->in[i]->type->elem), k);
        else
            in[i] = op->in[i]->def->in[0];
    }
    Value *v = op_make(&s->b, op->code, op->n_in, in, op->n_attrs, op->attrs,
                       op->code == OP_convert ? type_with_elem(small, t->elem) : NULL);
    return op_make(&s->b, move, 1, &v, first->n_attrs, first->attrs, t);
}

Value *simplify_algebra(Simplify *s, Op *op) {
    const OpInfo *info = &op_info[op->code];
    if ((!info->elementwise || op->n_in == 0) && op->code != OP_stop_gradient) return NULL;
    Value *v = by_rows(s, op);
    double k;
    if (v) return v;
    if (op->code == OP_convert && (v = converts(s, op))) return v;
    if ((v = negated_constant(s, op))) return v;
    if (op->code == OP_div && is_constant(op->in[1], &k) && exact_inverse(op->in[1]->type->elem, k))
        return g_binary(&s->b, OP_mul, op->in[0], g_constant(&s->b, op->in[1]->type, 1 / k));
    if (!info->elementwise) return NULL;
    return (v = before_move(s, op, OP_broadcast)) ? v : before_move(s, op, OP_reshape);
}
