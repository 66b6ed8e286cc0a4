/*
 * loops_parse.c - reads the loops text that loops_print.c writes (the grammar is there). Errors are E07xx; what they leave out is
 * not guessed: a text with an error gives no program.
 *
 *   E0701  the text does not follow the grammar       E0703  a name is declared twice
 *   E0702  a name is not known here                   E0704  types or numbers of indices do not fit
 */
#include "loops_text.h"
#include "text.h"

#include <string.h>

enum { GRAMMAR = 701, UNKNOWN = 702, TWICE = 703, MISFIT = 704, MAX_DEPTH = 100, MOST_ACC = 16384 };

/* What a bare word means inside a kernel: a variable or a temp. */
typedef struct Named {
    const char *name;
    Var *var;
    Temp *temp;
} Named;

typedef struct Parser {
    Reader r;
    Arena *arena;
    Step *step;
    Vec(Named) names; /* of the step's loops around, then of the kernel */
    int depth;
} Parser;

static bool is_word(const Parser *p) { return p->r.token.kind == T_WORD; }
static bool take(Parser *p, const char *s) { return reader_take(&p->r, s); }
static bool is(const Parser *p, const char *s) { return reader_is(&p->r, s); }

static bool want(Parser *p, const char *s) {
    if (take(p, s)) return true;
    return reader_error(&p->r, GRAMMAR, "`%s` expected, not %s", s, reader_token_text(&p->r));
}

static void skip_lines(Parser *p) {
    while (p->r.token.kind == T_LINE) reader_next(&p->r);
}

/* ---- names ---- */

static Named *lookup(Parser *p, const char *name) {
    for (size_t i = p->names.n; i-- > 0;)
        if (p->names.at[i].name == name) return &p->names.at[i];
    return NULL;
}

/* Takes the word that names something new. */
static const char *new_name(Parser *p) {
    if (!is_word(p)) {
        reader_error(&p->r, GRAMMAR, "a name expected, not %s", reader_token_text(&p->r));
        return NULL;
    }
    const char *name = p->r.token.s;
    if (loops_is_keyword(name)) {
        reader_error(&p->r, GRAMMAR, "`%s` is a word of the language, not a name", name);
        return NULL;
    }
    if (lookup(p, name)) {
        reader_error(&p->r, TWICE, "`%s` is declared twice", name);
        return NULL;
    }
    reader_next(&p->r);
    return name;
}

static Var *new_var(Parser *p, VarKind kind) {
    const char *name = new_name(p);
    return name ? step_var(p->arena, p->step, kind, name) : NULL;
}

static void declare(Parser *p, Var *v, Temp *t) {
    Named n = {v ? v->name : t->name, v, t};
    vec_push(p->arena, &p->names, n);
}

static Buffer *known_buffer(Parser *p) {
    if (p->r.token.kind != T_VALUE) {
        reader_error(&p->r, GRAMMAR, "a buffer (%%name) expected, not %s", reader_token_text(&p->r));
        return NULL;
    }
    for (size_t i = 0; i < p->step->buffers.n; i++) {
        Buffer *b = p->step->buffers.at[i];
        if (b->name != p->r.token.s) continue;
        reader_next(&p->r);
        return b;
    }
    reader_error(&p->r, UNKNOWN, "there is no buffer %%%s", p->r.token.s);
    return NULL;
}

static bool any_integer(Parser *p, int64_t *v) {
    bool minus = take(p, "-");
    if (p->r.token.kind != T_INT)
        return reader_error(&p->r, GRAMMAR, "a whole number expected, not %s", reader_token_text(&p->r));
    *v = minus ? -p->r.token.i : p->r.token.i;
    reader_next(&p->r);
    return true;
}

/* A place, a size, a factor, a limit: none is beyond what a shape may have elements, so that sums of some of them are numbers. */
static bool integer(Parser *p, int64_t *v) {
    Token at = p->r.token;
    if (!any_integer(p, v)) return false;
    if (*v >= -LOOPS_NUMBER_MOST && *v <= LOOPS_NUMBER_MOST) return true;
    p->r.token = at;
    return reader_error(&p->r, MISFIT, "a number beyond 2^40");
}

/* Bytes of an arena, of a buffer, or a place in one. An arena holds many buffers, so it is larger than any shape; a thread's part, times the
 * threads of a run, is a number still. */
static bool bytes(Parser *p, int64_t *v) {
    Token at = p->r.token;
    if (!any_integer(p, v)) return false;
    if (*v >= 0 && *v <= LOOPS_BYTES_MOST) return true;
    p->r.token = at;
    return reader_error(&p->r, MISFIT, "a number of bytes is from 0 to 2^50");
}

/* ---- affine indices ---- */

/* [number "*"] variable, or a number */
static const Affine *term(Parser *p) {
    int64_t factor = 1;
    if (p->r.token.kind == T_INT) {
        if (!integer(p, &factor)) return NULL;
        if (!take(p, "*")) return affine_constant(p->arena, factor);
    }
    if (!is_word(p)) {
        reader_error(&p->r, GRAMMAR, "an index expected, not %s", reader_token_text(&p->r));
        return NULL;
    }
    if (p->step->batch && p->r.token.s == p->step->batch->name) {
        reader_next(&p->r);
        return affine_scale(p->arena, affine_var(p->arena, p->step->batch), factor);
    }
    Named *n = lookup(p, p->r.token.s);
    if (!n || !n->var) {
        reader_error(&p->r, UNKNOWN, "there is no variable `%s` here", p->r.token.s);
        return NULL;
    }
    reader_next(&p->r);
    return affine_scale(p->arena, affine_var(p->arena, n->var), factor);
}

static const Affine *affine(Parser *p) {
    const Affine *sum = affine_constant(p->arena, 0);
    bool minus = take(p, "-");
    for (;;) {
        const Affine *t = term(p);
        if (!t) return NULL;
        sum = affine_add(p->arena, sum, affine_scale(p->arena, t, minus ? -1 : 1));
        if (take(p, "+"))
            minus = false;
        else if (take(p, "-"))
            minus = true;
        else if (p->r.token.kind == T_INT && p->r.token.i < 0)
            minus = false; /* i -1: the sign belongs to the number */
        else
            return sum;
    }
}

/* ["[" affine, ... "]"], which must be n */
static const Affine **indices(Parser *p, int n, const char *of) {
    const Affine **at = arena_make_n(p->arena, const Affine *, n ? n : 1);
    int k = 0;
    if (take(p, "[")) {
        do {
            const Affine *x = affine(p);
            if (!x) return NULL;
            if (k < n) at[k] = x;
            k++;
        } while (take(p, ","));
        if (!want(p, "]")) return NULL;
    }
    if (k != n) {
        reader_error(&p->r, MISFIT, "`%s` has %d indices here, and %d axes", of, k, n);
        return NULL;
    }
    return at;
}

/* ---- expressions ---- */

static Expr *expr(Parser *p, int expected);

static Expr *fits(Parser *p, Expr *e, int expected) {
    if (e && expected != NO_ELEM && (int)e->elem != expected) {
        reader_error(&p->r, MISFIT, "%s expected here, not %s", elem_name((Elem)expected), elem_name(e->elem));
        return NULL;
    }
    return e;
}

static bool at_number(const Parser *p) {
    TokenKind k = p->r.token.kind;
    return k == T_INT || k == T_REAL || is(p, "-") || is(p, "inf") || is(p, "nan");
}

static bool number(Parser *p, double *v) {
    bool minus = take(p, "-");
    if (!reader_real(&p->r, v)) return false;
    if (minus) *v = -*v;
    return true;
}

static Expr *constant(Parser *p, int elem) {
    if (elem == NO_ELEM) {
        reader_error(&p->r, MISFIT,
                     "the type of this number does not follow from what is around: write f32 before it, or what it is");
        return NULL;
    }
    double v;
    return number(p, &v) ? expr_const(p->arena, (Elem)elem, v) : NULL;
}

static Expr *load(Parser *p) {
    Buffer *b = known_buffer(p);
    const Affine **index = b ? indices(p, b->rank, b->name) : NULL;
    if (!index) return NULL;
    if (!take(p, "else")) return expr_load(p->arena, b, index);
    double v;
    return number(p, &v) ? expr_load_else(p->arena, b, index, v) : NULL;
}

static Temp *known_temp(Parser *p) {
    Named *n = is_word(p) ? lookup(p, p->r.token.s) : NULL;
    if (!n || !n->temp) {
        reader_error(&p->r, UNKNOWN, "there is no scalar %s here", reader_token_text(&p->r));
        return NULL;
    }
    reader_next(&p->r);
    return n->temp;
}

static Expr *uniform(Parser *p) {
    int64_t site;
    if (!want(p, "(") || !any_integer(p, &site) || !want(p, ",")) return NULL;
    Expr *key = expr(p, I64);
    if (!key || !want(p, ",")) return NULL;
    Expr *element = expr(p, I64);
    return element && want(p, ")") ? expr_uniform(p->arena, site, key, element) : NULL;
}

static OpCode known_op(Parser *p) {
    OpCode op = is_word(p) ? op_by_name(p->r.token.s) : OP_COUNT;
    if (op == OP_COUNT || !op_info[op].elementwise) {
        reader_error(&p->r, UNKNOWN, "there is no elementwise op or scalar %s here", reader_token_text(&p->r));
        return OP_COUNT;
    }
    reader_next(&p->r);
    return op;
}

static Expr *tree(Parser *p) {
    if (!want(p, "(")) return NULL;
    OpCode op = known_op(p);
    if (op == OP_COUNT || !want(p, ",")) return NULL;
    Temp *t = known_temp(p);
    if (!t) return NULL;
    if (t->rank != 1 || t->dim[0] != SUM_LANES) {
        reader_error(&p->r, MISFIT, "tree wants an accumulator of %d elements", SUM_LANES);
        return NULL;
    }
    return want(p, ")") ? expr_tree(p->arena, op, t) : NULL;
}

/* The element type of an op's result that follows from its arguments. */
static Elem op_elem(OpCode op, int n, Expr *const *args) {
    if (op == OP_mix) return I64;
    if (loops_arg_elem(op, F32, 0) == NO_ELEM) return BOOL; /* comparisons */
    return args[op == OP_select && n > 1 ? 1 : 0]->elem;
}

static Expr *op_call(Parser *p, int expected) {
    OpCode op = known_op(p);
    if (op == OP_COUNT || !want(p, "(")) return NULL;
    if (op == OP_convert && expected == NO_ELEM) {
        reader_error(&p->r, MISFIT, "what convert gives does not follow from what is around: write f32 before it, or what it is");
        return NULL;
    }
    Expr *args[3];
    int n = 0;
    do {
        Expr *e = expr(p, loops_arg_elem(op, expected, n));
        if (!e) return NULL;
        if (n < 3) args[n] = e;
        n++;
    } while (take(p, ","));
    if (n < op_info[op].min_in || n > op_info[op].max_in || n > 3) {
        reader_error(&p->r, MISFIT, "%s has %d arguments here", op_info[op].name, n);
        return NULL;
    }
    if (!want(p, ")")) return NULL;
    if (op != OP_convert && n == 2 && loops_arg_elem(op, F32, 0) == NO_ELEM && args[0]->elem != args[1]->elem) {
        reader_error(&p->r, MISFIT, "%s compares %s with %s", op_info[op].name, elem_name(args[0]->elem),
                     elem_name(args[1]->elem));
        return NULL;
    }
    return expr_op(p->arena, op, op == OP_convert ? (Elem)expected : op_elem(op, n, args), n, args);
}

static Expr *expr_inner(Parser *p, int expected) {
    if (at_number(p)) return constant(p, expected);
    if (p->r.token.kind == T_VALUE) return fits(p, load(p), expected);
    Elem elem;
    if (is_word(p) && elem_by_name(p->r.token.s, &elem)) {
        reader_next(&p->r);
        if (!take(p, "(")) {
            if (at_number(p)) return fits(p, constant(p, (int)elem), expected);
            if (is(p, "convert")) return fits(p, op_call(p, (int)elem), expected);
            reader_error(&p->r, GRAMMAR, "a number, convert or an index in parentheses expected behind %s", elem_name(elem));
            return NULL;
        }
        const Affine *x = affine(p);
        return x && want(p, ")") ? fits(p, expr_index(p->arena, elem, x), expected) : NULL;
    }
    if (take(p, "uniform")) return fits(p, uniform(p), expected);
    if (take(p, "tree")) return fits(p, tree(p), expected);
    Named *n = is_word(p) ? lookup(p, p->r.token.s) : NULL;
    if (!n || !n->temp) return fits(p, op_call(p, expected), expected);
    reader_next(&p->r);
    const Affine **index = indices(p, n->temp->rank, n->name);
    return index ? fits(p, expr_temp(p->arena, n->temp, index), expected) : NULL;
}

static Expr *expr(Parser *p, int expected) {
    if (p->depth >= MAX_DEPTH * 4) {
        reader_error(&p->r, GRAMMAR, "nested too deeply");
        return NULL;
    }
    p->depth++;
    Expr *e = expr_inner(p, expected);
    p->depth--;
    return e;
}

/* ---- statements ---- */

static bool body(Parser *p, Body *b, Loc around);

static bool end_of_line(Parser *p, Loc *at, Loc around) {
    Loc loc = {0};
    if (!reader_loc(&p->r, &loc)) return false;
    *at = loc.file ? loc : around;
    return true;
}

static Stmt *range(Parser *p) {
    Var *v = new_var(p, VAR_LOOP);
    if (!v || !want(p, "in")) return NULL;
    const Affine *lo = affine(p), *limit;
    if (!lo || !want(p, "..")) return NULL;
    bool several = take(p, "min");
    if ((several && !want(p, "(")) || !(limit = affine(p))) return NULL;
    Stmt *s = stmt_for(p->arena, v, lo, limit, 1, MARK_SERIAL, 0);
    while (several && take(p, ",")) {
        if (!(limit = affine(p))) return NULL;
        stmt_add_limit(p->arena, s, limit);
    }
    if (several && !want(p, ")")) return NULL;
    int64_t width = 0;
    if (take(p, "by") && !integer(p, &s->step)) return NULL;
    if (s->step < 1) {
        reader_error(&p->r, MISFIT, "a loop steps by 1 or more");
        return NULL;
    }
    if (take(p, "parallel")) {
        s->mark = MARK_PARALLEL;
    } else if (take(p, "vector")) {
        s->mark = MARK_VECTOR;
        if (!integer(p, &width)) return NULL;
    } else if (take(p, "unroll")) {
        s->mark = MARK_UNROLL;
        if (p->r.token.kind == T_INT && !integer(p, &width)) return NULL;
    }
    if (width < 0 || width > 4096) {
        reader_error(&p->r, MISFIT, "a width of %" PRId64, width);
        return NULL;
    }
    s->width = (int)width;
    declare(p, v, NULL);
    return s;
}

/* "{" statements "}" with the places at the line's end, or "{" assignment "}" on one line. s: the statement whose body it is;
 * outer: the first loop of the line. */
static bool block(Parser *p, Stmt *outer, Stmt *s, Loc around) {
    if (!want(p, "{")) return false;
    if (p->r.token.kind == T_LINE || p->r.token.kind == T_PLACE) {
        if (!end_of_line(p, &outer->loc, around)) return false;
        for (Stmt *f = outer; f != s; f = f->body.first) f->body.first->loc = outer->loc;
        return body(p, &s->body, outer->loc);
    }
    /* one line: the place stands behind it */
    Stmt *inner = NULL;
    if (p->r.token.kind == T_VALUE) {
        Buffer *b = known_buffer(p);
        const Affine **index = b ? indices(p, b->rank, b->name) : NULL;
        Expr *e = index && want(p, "=") ? expr(p, (int)b->elem) : NULL;
        if (e) inner = stmt_store(p->arena, b, index, e);
    } else {
        Temp *t = known_temp(p);
        const Affine **index = t ? indices(p, t->rank, t->name) : NULL;
        Expr *e = index && want(p, "=") ? expr(p, (int)t->elem) : NULL;
        if (e) inner = stmt_assign(p->arena, t, index, e);
    }
    if (!inner || !want(p, "}") || !end_of_line(p, &outer->loc, around)) return false;
    for (Stmt *f = outer; f != s; f = f->body.first) f->body.first->loc = outer->loc;
    inner->loc = outer->loc;
    body_add(&s->body, inner);
    return true;
}

static Stmt *for_stmt(Parser *p, Loc around) {
    size_t outside = p->names.n;
    Stmt *outer = range(p), *s = outer;
    while (s && take(p, ",")) {
        Stmt *inner = range(p);
        if (!inner) return NULL;
        body_add(&s->body, inner);
        s = inner;
    }
    if (!s || !block(p, outer, s, around)) return NULL;
    p->names.n = outside;
    return outer;
}

static Stmt *let_stmt(Parser *p, bool acc) {
    const char *name = new_name(p);
    if (!name || !want(p, ":")) return NULL;
    Elem elem;
    if (!is_word(p) || !elem_by_name(p->r.token.s, &elem)) {
        reader_error(&p->r, GRAMMAR, "an element type expected, not %s", reader_token_text(&p->r));
        return NULL;
    }
    reader_next(&p->r);
    int64_t dims[4], elements = 1;
    int rank = 0;
    if (acc && take(p, "[")) {
        do {
            int64_t n;
            if (!integer(p, &n)) return NULL;
            if (rank == 4 || n < 1) {
                reader_error(&p->r, MISFIT, "an accumulator has at most 4 axes, each of 1 element or more");
                return NULL;
            }
            if (n > MOST_ACC / elements) { /* it lives in registers, or on a thread's stack */
                reader_error(&p->r, MISFIT, "an accumulator has at most %d elements", MOST_ACC);
                return NULL;
            }
            elements *= n;
            dims[rank++] = n;
        } while (take(p, ","));
        if (!want(p, "]")) return NULL;
    }
    Expr *e = want(p, "=") ? expr(p, (int)elem) : NULL;
    if (!e) return NULL;
    Temp *t = step_temp(p->arena, p->step, name, elem, acc, rank, dims);
    declare(p, NULL, t);
    return acc ? stmt_acc(p->arena, t, e) : stmt_let(p->arena, t, e);
}

static Stmt *index_stmt(Parser *p) {
    Var *v = new_var(p, VAR_INDEX);
    if (!v || !want(p, "=")) return NULL;
    Stmt *s;
    if (take(p, "(")) {
        const Affine *x = affine(p);
        if (!x || !want(p, ")")) return NULL;
        IndexKind kind = take(p, "/") ? INDEX_DIV : INDEX_MOD;
        int64_t by;
        if ((kind == INDEX_MOD && !want(p, "mod")) || !integer(p, &by)) return NULL;
        if (by < 1) {
            reader_error(&p->r, MISFIT, "an index is divided by 1 or more");
            return NULL;
        }
        s = stmt_index(p->arena, v, kind, x, by, NULL);
    } else {
        Expr *e = expr(p, NO_ELEM);
        if (!e) return NULL;
        if (!elem_is_int(e->elem)) {
            reader_error(&p->r, MISFIT, "an index is an integer, not %s", elem_name(e->elem));
            return NULL;
        }
        s = stmt_index(p->arena, v, INDEX_VALUE, NULL, 0, e);
    }
    declare(p, v, NULL);
    return s;
}

static Stmt *check_stmt(Parser *p) {
    Named *n = is_word(p) ? lookup(p, p->r.token.s) : NULL;
    if (!n || !n->var || n->var->kind != VAR_INDEX) {
        reader_error(&p->r, UNKNOWN, "there is no index %s here", reader_token_text(&p->r));
        return NULL;
    }
    Var *v = n->var;
    reader_next(&p->r);
    const Affine *size = want(p, "<") ? affine(p) : NULL;
    return size ? stmt_check(p->arena, v, size) : NULL;
}

static Stmt *prefetch_stmt(Parser *p) {
    Buffer *b = known_buffer(p);
    const Affine **index = b ? indices(p, b->rank, b->name) : NULL;
    return index ? stmt_prefetch(p->arena, b, index) : NULL;
}

static Stmt *write_stmt(Parser *p) {
    if (p->r.token.kind == T_VALUE) {
        Buffer *b = known_buffer(p);
        const Affine **index = b ? indices(p, b->rank, b->name) : NULL;
        Expr *e = index && want(p, "=") ? expr(p, (int)b->elem) : NULL;
        return e ? stmt_store(p->arena, b, index, e) : NULL;
    }
    Temp *t = known_temp(p);
    const Affine **index = t ? indices(p, t->rank, t->name) : NULL;
    if (t && !t->acc) {
        reader_error(&p->r, MISFIT, "`%s` is a let: it is set once, where it is declared", t->name);
        return NULL;
    }
    Expr *e = index && want(p, "=") ? expr(p, (int)t->elem) : NULL;
    return e ? stmt_assign(p->arena, t, index, e) : NULL;
}

static Stmt *statement(Parser *p, Loc around) {
    Stmt *s;
    if (take(p, "for")) return for_stmt(p, around);
    if (take(p, "if")) {
        const Affine *x =
            p->r.token.kind == T_INT && p->r.token.i == 0 ? (reader_next(&p->r), want(p, "<=") ? affine(p) : NULL) : NULL;
        if (!x) {
            reader_error(&p->r, GRAMMAR, "`if 0 <= index` expected");
            return NULL;
        }
        s = stmt_if(p->arena, x);
        return block(p, s, s, around) ? s : NULL;
    }
    if (take(p, "let"))
        s = let_stmt(p, false);
    else if (take(p, "acc"))
        s = let_stmt(p, true);
    else if (take(p, "index"))
        s = index_stmt(p);
    else if (take(p, "check"))
        s = check_stmt(p);
    else if (take(p, "prefetch"))
        s = prefetch_stmt(p);
    else
        s = write_stmt(p);
    return s && end_of_line(p, &s->loc, around) ? s : NULL;
}

/* Statements to the closing brace and the end of its line; what they declare is forgotten there. */
static bool body(Parser *p, Body *b, Loc around) {
    size_t outside = p->names.n;
    if (++p->depth > MAX_DEPTH) return reader_error(&p->r, GRAMMAR, "nested too deeply");
    for (skip_lines(p); !is(p, "}"); skip_lines(p)) {
        Stmt *s = statement(p, around);
        if (!s) return false;
        body_add(b, s);
    }
    p->depth--;
    p->names.n = outside;
    reader_next(&p->r);
    return reader_want_line(&p->r);
}

/* ---- nodes ---- */

static StepNode *node(Parser *p, Loc around);

static bool node_body(Parser *p, StepNode *k, Loc around) {
    if (!want(p, "{") || !end_of_line(p, &k->loc, around)) return false;
    if (++p->depth > MAX_DEPTH) return reader_error(&p->r, GRAMMAR, "nested too deeply");
    for (skip_lines(p); !is(p, "}"); skip_lines(p)) {
        StepNode *inner = node(p, k->loc);
        if (!inner) return false;
        vec_push(p->arena, &k->nodes, inner);
    }
    p->depth--;
    reader_next(&p->r);
    return reader_want_line(&p->r);
}

static StepNode *loop_node(Parser *p, StepNode *k, Loc around) {
    k->kind = STEP_LOOP;
    k->var = new_var(p, VAR_LOOP);
    int64_t zero;
    if (!k->var || !want(p, "in") || !integer(p, &zero) || !want(p, "..")) return NULL;
    if (p->r.token.kind == T_VALUE)
        k->count = known_buffer(p);
    else
        k->trip = affine(p);
    if (!k->count && !k->trip) return NULL;
    if (k->count && (k->count->elem != I32 || k->count->rank)) {
        reader_error(&p->r, MISFIT, "the count of a loop is a scalar i32");
        return NULL;
    }
    declare(p, k->var, NULL); /* it stays declared: names of loops are unique in the step */
    return node_body(p, k, around) ? k : NULL;
}

static StepNode *while_node(Parser *p, StepNode *k, Loc around) {
    k->kind = STEP_WHILE;
    k->count = known_buffer(p);
    if (!k->count || !want(p, "max") || !integer(p, &k->max)) return NULL;
    if (k->count->elem != BOOL || k->count->rank) {
        reader_error(&p->r, MISFIT, "the condition of a loop is a scalar bool");
        return NULL;
    }
    return node_body(p, k, around) ? k : NULL;
}

static StepNode *node(Parser *p, Loc around) {
    StepNode *k = arena_make(p->arena, StepNode);
    if (take(p, "barrier")) {
        k->kind = STEP_BARRIER;
        return end_of_line(p, &k->loc, around) ? k : NULL;
    }
    if (take(p, "loop")) return loop_node(p, k, around);
    if (take(p, "while")) return while_node(p, k, around);
    if (!take(p, "kernel") || p->r.token.kind != T_GLOBAL) {
        reader_error(&p->r, GRAMMAR, "kernel @name, barrier, loop or while expected, not %s", reader_token_text(&p->r));
        return NULL;
    }
    k->kind = STEP_KERNEL;
    k->name = p->r.token.s;
    reader_next(&p->r);
    return want(p, "{") && end_of_line(p, &k->loc, around) && body(p, &k->body, k->loc) ? k : NULL;
}

/* ---- buffers and steps ---- */

static bool data(Parser *p, Buffer *b) {
    int64_t n = 1;
    for (int i = 0; i < b->rank; i++) n *= b->dim[i].batch ? -1 : b->dim[i].n;
    if (n < 0) return reader_error(&p->r, MISFIT, "data cannot have a batch axis");
    Vec(double) values = {0};
    if (!want(p, "[")) return false;
    while (!is(p, "]")) {
        double v;
        if (!number(p, &v)) return false;
        vec_push(p->arena, &values, v);
        if (!take(p, ",") && !is(p, "]")) return want(p, "]");
    }
    reader_next(&p->r);
    if ((int64_t)values.n != n) return reader_error(&p->r, MISFIT, "%zu numbers for %" PRId64 " elements", values.n, n);
    b->data = values.at;
    return true;
}

static bool place(Parser *p, Buffer *b) {
    if (take(p, "arena")) return b->place = PLACE_ARENA, bytes(p, &b->offset);
    if (take(p, "thread")) return b->place = PLACE_THREAD, bytes(p, &b->offset);
    if (take(p, "data")) return b->place = PLACE_DATA, data(p, b);
    bool slot = take(p, "slot");
    if (!slot && !take(p, "field")) return true;
    b->place = slot ? PLACE_SLOT : PLACE_FIELD;
    if (p->r.token.kind != T_STRING)
        return reader_error(&p->r, GRAMMAR, "a slot's name in quotes expected, not %s", reader_token_text(&p->r));
    b->slot = slot_by_name(p->r.module, p->r.token.s);
    if (!b->slot && p->r.lost) return false;
    if (!b->slot) return reader_error(&p->r, UNKNOWN, "there is no slot \"%s\"", p->r.token.s);
    reader_next(&p->r);
    return true;
}

static bool buffer(Parser *p, Loc around) {
    if (p->r.token.kind != T_VALUE)
        return reader_error(&p->r, GRAMMAR, "a buffer (%%name) expected, not %s", reader_token_text(&p->r));
    const char *name = p->r.token.s;
    for (size_t i = 0; i < p->step->buffers.n; i++)
        if (p->step->buffers.at[i]->name == name) return reader_error(&p->r, TWICE, "there are two buffers %%%s", name);
    reader_next(&p->r);
    int64_t bound = 0;
    const Type *t = want(p, ":") ? reader_type(&p->r, &bound, type_fault_in_memory) : NULL;
    if (!t) return false;
    if (type_has_batch(t) && !p->step->batch) return reader_error(&p->r, MISFIT, "the step has no batch");
    if (type_has_batch(t) && type_too_large(t, p->step->batch_bound))
        return reader_error(&p->r, MISFIT, "with the largest batch %%%s has more than 2^40 elements", name);
    Buffer *b = step_buffer(p->arena, p->step, name, t->elem, t->rank, t->dim, (Loc){0});
    if (!place(p, b)) return false;
    if (take(p, "stride")) {
        if (!want(p, "[")) return false;
        for (int i = 0; i < b->rank; i++) {
            Token at = p->r.token;
            if ((i && !want(p, ",")) || !integer(p, &b->stride[i])) return false;
            int64_t n = dim_size(b->dim[i], p->step->batch_bound);
            if (b->stride[i] >= 0 && (n < 2 || b->stride[i] <= LOOPS_NUMBER_MOST / (n - 1))) continue;
            p->r.token = at;
            return reader_error(&p->r, MISFIT, "%%%s has a stride of %" PRId64, name, b->stride[i]);
        }
        if (!want(p, "]")) return false;
        b->bytes = buffer_bytes(p->step, b);
    }
    if (take(p, "bytes") && !bytes(p, &b->bytes)) return false;
    if (take(p, "same") && !(b->same = known_buffer(p))) return false;
    if (b->same == b) return reader_error(&p->r, MISFIT, "%%%s shares the memory of itself", b->name);
    return end_of_line(p, &b->loc, around);
}

static bool step_header(Parser *p, LoopsProgram *out) {
    if (p->r.token.kind != T_GLOBAL)
        return reader_error(&p->r, GRAMMAR, "@name of the step expected, not %s", reader_token_text(&p->r));
    if (func_by_name(out->module, p->r.token.s)) return reader_error(&p->r, TWICE, "there are two steps @%s", p->r.token.s);
    Step *s = p->step = arena_make(p->arena, Step);
    s->func = func_new(out->module, p->r.token.s, (Loc){0});
    reader_next(&p->r);
    if (take(p, "batch")) {
        s->batch = step_var(p->arena, s, VAR_BATCH, intern("B"));
        if (!want(p, "B") || !want(p, "<=") || !integer(p, &s->batch_bound)) return false;
        if (s->batch_bound < 1) return reader_error(&p->r, MISFIT, "the batch bound is %" PRId64, s->batch_bound);
        s->func->batch_bound = s->batch_bound;
    }
    if (take(p, "threads") && !integer(p, &s->threads)) return false;
    if (take(p, "arena") && !bytes(p, &s->arena)) return false;
    if (take(p, "own") && !bytes(p, &s->own)) return false;
    return want(p, "{") && end_of_line(p, &s->func->loc, (Loc){0});
}

/* Nothing later looks whether a text keeps the rules of its stage (room for what a buffer holds, a place for each): it is looked at when it is read. */
static bool check_step(Parser *p, LoopsStage stage, Token where) {
    const char *why = step_verify(p->arena, p->step, stage);
    if (!why) return true;
    p->r.token = where;
    return reader_error(&p->r, MISFIT, "%s", why);
}

static bool step(Parser *p, LoopsProgram *out, LoopsStage stage) {
    Token name = p->r.token;
    p->names.n = 0;
    p->depth = 0;
    if (!step_header(p, out)) return false;
    Loc around = p->step->func->loc;
    skip_lines(p);
    for (; take(p, "buffer"); skip_lines(p))
        if (!buffer(p, around)) return false;
    for (; !is(p, "}"); skip_lines(p)) {
        StepNode *k = node(p, around);
        if (!k) return false;
        vec_push(p->arena, &p->step->nodes, k);
    }
    reader_next(&p->r);
    StepSlots slots = step_slots(p->arena, p->step);
    p->step->func->in_slots = slots.read;
    p->step->func->out_slots = slots.written;
    vec_push(p->arena, &out->steps, p->step);
    return reader_want_line(&p->r) && check_step(p, stage, name);
}

static bool stage_line(Parser *p, LoopsStage *stage) {
    skip_lines(p);
    if (!want(p, "loops")) return false;
    for (int s = LOOPS_LOWERED; s <= LOOPS_PLANNED; s++)
        if (take(p, loops_stage_name((LoopsStage)s))) return *stage = (LoopsStage)s, reader_want_line(&p->r);
    return reader_error(&p->r, GRAMMAR, "lowered, tiled, marked or planned expected, not %s", reader_token_text(&p->r));
}

LoopsProgram *loops_parse(Arena *a, Diag *d, const char *file, const char *text, size_t n, LoopsStage *stage) {
    Parser parser = {.arena = a}, *p = &parser;
    LoopsProgram *out = arena_make(a, LoopsProgram);
    int before = diag_errors(d);
    reader_start(&p->r, a, d, file, text, n);
    out->arena = a;
    out->module = p->r.module = module_new(a);
    if (!stage_line(p, stage)) return NULL;
    for (skip_lines(p); p->r.token.kind != T_END; skip_lines(p)) {
        Reader here = p->r;
        if (take(p, "step") && p->r.token.kind == T_GLOBAL) {
            if (!step(p, out, *stage)) return NULL; /* what follows would be read in the wrong state */
            continue;
        }
        p->r = here; /* a slot of the kind `step` */
        if (!reader_header_item(&p->r)) {
            reader_error(&p->r, GRAMMAR, "a step or a part of the header expected, not %s", reader_token_text(&p->r));
            return NULL;
        }
    }
    reader_header_end(&p->r);
    if (diag_errors(d) != before) return NULL;
    const char *why = module_verify(a, out->module);
    if (why) diag_error(d, (Loc){.file = file, .line = 1, .col = 1}, MISFIT, "%s", why);
    return why ? NULL : out;
}
