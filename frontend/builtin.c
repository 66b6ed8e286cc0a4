/*
 * builtin.c - calls of built-in functions: the signature of each is a string in its table, "x, axis=, keepdims=", where a name
 * with = may be left out. And the element types as functions.
 */
#include "elab.h"

#include <math.h>

const Builtin *const builtin_tables[] = {builtin_math, builtin_shape, builtin_window, builtin_random, builtin_other, NULL};

typedef struct Signature {
    int n;
    const char *name[8];
    bool optional[8];
    bool rest;
} Signature;

static Signature read_signature(const char *s) {
    Signature out = {0};
    while (*s) {
        size_t n = strcspn(s, ",= ");
        if (strncmp(s, "...", 3) == 0) {
            out.rest = true;
            return out;
        }
        out.name[out.n] = intern_n(s, n);
        out.optional[out.n++] = s[n] == '=';
        s += n;
        s += strspn(s, ",= ");
    }
    return out;
}

static bool place_arguments(Elab *e, const Function *f, const Signature *sig, const Args *args, Call *c) {
    int next = 0;
    for (size_t k = 0; k < args->n; k++) {
        const Arg *a = &args->at[k];
        int i = 0;
        if (a->name) {
            while (i < sig->n && sig->name[i] != a->name) i++;
            if (i == sig->n) {
                elab_error(e, a->name_loc, 106, "%s has no argument `%s`", f->name, a->name);
                const char *near = diag_nearest(a->name, sig->name, (size_t)sig->n);
                if (near)
                    elab_note(e, (Loc){0}, "did you mean `%s`?", near);
                else if (!hint_keyword(e, a->name))
                    elab_note(e, (Loc){0}, "it is %s(%s)", f->name, f->builtin->signature);
                return false;
            }
            if (c->given[i]) {
                elab_error(e, a->loc, 107, "`%s` is given twice", a->name);
                return false;
            }
        } else {
            i = next++;
            if (i >= sig->n && sig->rest) {
                vec_push(e->a, &c->rest, *a);
                continue;
            }
            if (i >= sig->n) {
                elab_error(e, a->loc, 106, "%s has %d argument%s: %s(%s)", f->name, sig->n, sig->n == 1 ? "" : "s", f->name,
                           f->builtin->signature);
                if (strcmp(sig->name[sig->n - 1], "shape") == 0 && val_is_number(a->val))
                    elab_note(e, (Loc){0}, "a shape is a list: [2, 3]");
                return false;
            }
        }
        c->arg[i] = a->val;
        c->arg_loc[i] = a->loc;
        c->given[i] = true;
    }
    for (int i = 0; i < sig->n; i++)
        if (!c->given[i] && !sig->optional[i]) {
            elab_error(e, c->loc, 106, "%s needs its argument `%s`: %s(%s)", f->name, sig->name[i], f->name,
                       f->builtin->signature);
            return false;
        }
    return true;
}

/* ---- element types as functions ---- */

static double as_elem(double x, Elem elem) {
    static const double low[] = {[I32] = INT32_MIN, [I64] = -9223372036854775808.0, [U8] = 0};
    static const double high[] = {[I32] = INT32_MAX, [I64] = 9223372036854774784.0, [U8] = 255};
    if (elem == BOOL) return x != 0;
    if (elem_is_float(elem)) return x;
    if (isnan(x)) return 0;
    x = trunc(x);
    return x < low[elem] ? low[elem] : x > high[elem] ? high[elem] : x;
}

typedef Vec(double) Numbers;

/* The largest i64 is no double, so that no constant can hold it: what becomes it is converted when the program runs. */
static Elem held_as(Elem elem, size_t n, const double *x) {
    for (size_t i = 0; i < n && elem == I64; i++)
        if (x[i] >= 0x1p63) return F64;
    return elem;
}

/* Nested lists of numbers, row by row; all rows of one length. */
static bool list_numbers(Elab *e, Val v, int depth, int *rank, Dim *dims, Numbers *out, Loc loc) {
    if (v.kind == VAL_LIST) {
        if (depth == MAX_RANK) return elab_error(e, loc, 219, "a tensor has at most %d dimensions", MAX_RANK).kind != VAL_ERROR;
        if (*rank == depth) dims[(*rank)++] = (Dim){(int64_t)v.list->n, false};
        if (dims[depth].n != (int64_t)v.list->n) {
            elab_error(e, loc, 205, "the rows of this list differ in length: %" PRId64 " and %zu", dims[depth].n, v.list->n);
            return false;
        }
        for (size_t i = 0; i < v.list->n; i++)
            if (!elab_work(e, loc, 1) || !list_numbers(e, v.list->at[i], depth + 1, rank, dims, out, loc)) return false;
        return true;
    }
    double x = 0;
    if (v.kind == VAL_NUMBER && !v.batch)
        x = v.num;
    else if (v.kind == VAL_BOOL)
        x = v.truth;
    else {
        elab_error(e, loc, 205, "a list of numbers is wanted here; it holds %s", val_text(e, v));
        return false;
    }
    if (depth != *rank) {
        elab_error(e, loc, 205, "this list holds numbers beside lists");
        return false;
    }
    vec_push(e->a, out, x);
    return true;
}

static bool holds_tensors(Elab *e, Val v, Loc at) {
    if (v.kind == VAL_LIST)
        for (size_t i = 0; i < v.list->n && elab_work(e, at, 1); i++)
            if (holds_tensors(e, v.list->at[i], at)) return true;
    return v.kind == VAL_TENSOR || v.kind == VAL_OWNED || v.kind == VAL_SCALAR || (v.kind == VAL_NUMBER && v.batch);
}

static Val literal(Elab *e, Val v, Elem elem, Loc at) {
    if (holds_tensors(e, v, at)) { /* each element by itself, then stacked */
        Values parts = {0};
        for (size_t i = 0; i < v.list->n; i++) {
            Val x = builtin_cast(e, v.list->at[i], elem, at);
            if (x.kind == VAL_ERROR) return x;
            const Type *t = x.t.value->type;
            Dim dims[MAX_RANK + 1] = {{1, false}};
            if (t->rank + 1 > MAX_RANK) return elab_error(e, at, 219, "a tensor has at most %d dimensions", MAX_RANK);
            for (int k = 0; k < t->rank; k++) dims[k + 1] = t->dim[k];
            vec_push(e->a, &parts, emit_reshape(e, x.t.value, t->rank + 1, dims));
        }
        return val_tensor(emit_concat(e, (int)parts.n, parts.at, 0));
    }
    int rank = 0;
    Dim dims[MAX_RANK];
    Numbers numbers = {0};
    if (e->stopped || !list_numbers(e, v, 0, &rank, dims, &numbers, at)) return val_error();
    Elem held = held_as(elem, numbers.n, numbers.at);
    for (size_t i = 0; i < numbers.n; i++) numbers.at[i] = as_elem(numbers.at[i], held);
    Attr a = attr_reals(e->a, A_values, numbers.at, (int64_t)numbers.n);
    return val_tensor(emit_convert(e, emit(e, OP_literal, 0, NULL, 1, &a, type_make(held, rank, dims)), elem));
}

Val builtin_cast(Elab *e, Val v, Elem elem, Loc at) {
    if (v.kind == VAL_LIST) return literal(e, v, elem, at);
    if (v.kind == VAL_NUMBER && !v.batch) {
        Elem held = held_as(elem, 1, &v.num);
        return val_tensor(emit_convert(e, emit_constant(e, type_scalar(held), as_elem(v.num, held)), elem));
    }
    if (val_is_number(v)) {
        if (elem == BOOL) {
            Val c = number_binary(e, OPERATOR_NE, v, val_number(0), at);
            return c;
        }
        if (elem_is_int(elem) && !val_always_whole(v))
            return val_tensor(emit_convert(e, number_as(e, v, F64, at), elem)); /* cut off, as asked */
        return val_tensor(number_as(e, v, elem, at));
    }
    return val_tensor(emit_convert(e, tensor_of(e, v, at), elem));
}

Val builtin_call(Elab *e, const Function *f, const AstNode *place, const Args *args) {
    Call c = {.loc = place->loc, .place = place->serial};
    for (int i = 0; i < 8; i++) {
        c.arg[i] = val_none();
        c.arg_loc[i] = place->loc;
    }
    emit_at(e, place->loc);
    if (f->kind == FN_CAST) {
        if (args->n != 1 || args->at[0].name) return elab_error(e, place->loc, 106, "%s(...) has one argument", f->name);
        return builtin_cast(e, args->at[0].val, f->elem, place->loc);
    }
    Signature sig = read_signature(f->builtin->signature);
    if (!place_arguments(e, f, &sig, args, &c)) return val_error();
    for (int i = 0; i < sig.n; i++)
        if (c.arg[i].kind == VAL_TENSOR && !c.arg[i].t.value) { /* held by a slot: read it here */
            Value *v = tensor_of(e, c.arg[i], c.arg_loc[i]);
            c.arg[i] = val_tensor(v);
            if (!v) return val_error();
        }
    emit_at(e, place->loc);
    return f->builtin->run(e, f->builtin, &c);
}
