/*
 * elab_value.c - the values the elaborator computes with, maps from pointers, and scopes.
 */
#include "elab.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- values ---- */

Val val_error(void) { return (Val){.kind = VAL_ERROR}; }
Val val_none(void) { return (Val){.kind = VAL_NONE}; }
Val val_number(double x) { return (Val){.kind = VAL_NUMBER, .num = x}; }
Val val_bool(bool b) { return (Val){.kind = VAL_BOOL, .truth = b}; }
Val val_string(const char *s) { return (Val){.kind = VAL_STRING, .text = s}; }
Val val_tensor(Value *v) { return v ? (Val){.kind = VAL_TENSOR, .t = {v, NULL}} : val_error(); }
Val val_scalar(Value *v, bool whole) { return v ? (Val){.kind = VAL_SCALAR, .whole = whole, .t = {v, NULL}} : val_error(); }

Val val_list(Elab *e, ValKind kind, size_t n, const Val *at) {
    if (!elab_work(e, e->op_loc, (int64_t)n)) return val_error();
    ValList *l = arena_make(e->a, ValList);
    l->n = n;
    l->at = arena_make_n(e->a, Val, n ? n : 1);
    for (size_t i = 0; i < n; i++) l->at[i] = at[i];
    return (Val){.kind = kind, .list = l};
}

bool val_is_number(Val v) { return v.kind == VAL_NUMBER || v.kind == VAL_SCALAR; }

bool val_whole(Val v, int64_t *n) {
    if (v.kind != VAL_NUMBER || v.batch || v.num != floor(v.num) || fabs(v.num) > 9007199254740992.0) return false;
    *n = (int64_t)v.num;
    return true;
}

bool val_always_whole(Val v) { return v.kind == VAL_NUMBER ? v.num == floor(v.num) : v.whole; }

Val val_dim(Dim d) { return (Val){.kind = VAL_NUMBER, .batch = d.batch, .num = (double)d.n}; }

bool dim_of_val(Val v, Dim *d) {
    if (v.kind != VAL_NUMBER || v.num != floor(v.num) || v.num < (v.batch ? 1 : 0) || v.num > (double)LIMIT_ELEMENTS)
        return false;
    *d = (Dim){.n = (int64_t)v.num, .batch = v.batch};
    return true;
}

/* A number as a person would write it. */
static const char *number_text(double x) {
    if (isnan(x)) return "nan";
    if (x == floor(x) && fabs(x) < 1e15) return intern_printf("%.0f", x);
    for (int digits = 6; digits < 17; digits++) {
        char s[40];
        snprintf(s, sizeof s, "%.*g", digits, x);
        if (strtod(s, NULL) == x) return intern(s);
    }
    return intern_printf("%.17g", x);
}

static const char *function_text(const Function *f) {
    switch (f->kind) {
    case FN_BUILTIN: return intern_printf("the built-in function %s", f->name);
    case FN_CAST: return intern_printf("the element type %s", f->name);
    case FN_USER: return intern_printf("the function %s", f->name);
    case FN_LAYER: return intern_printf("the layer %s", f->name);
    case FN_OPTIMIZER: return intern_printf("the optimizer %s", f->name);
    }
    return "a function";
}

const char *val_text(Elab *e, Val v) {
    switch (v.kind) {
    case VAL_ERROR:
    case VAL_DROPPED: return "an error";
    case VAL_NONE: return "nothing";
    case VAL_NUMBER:
        if (v.batch) return v.num == 1 ? "the number B" : intern_printf("the number %s * B", number_text(v.num));
        return intern_printf("the number %s", number_text(v.num));
    case VAL_SCALAR: return "a number known when the program runs";
    case VAL_BOOL: return v.truth ? "true" : "false";
    case VAL_STRING: return intern_printf("\"%s\"", v.text);
    case VAL_LIST: return intern_printf("a list of %zu", v.list->n);
    case VAL_TUPLE: return intern_printf("%zu results", v.list->n);
    case VAL_TENSOR: return type_name(v.t.value ? v.t.value->type : v.t.slot->type);
    case VAL_OWNED: return v.owned->slot ? type_name(v.owned->slot->type) : "an error";
    case VAL_FUNCTION: return function_text(v.fn);
    case VAL_INSTANCE: return intern_printf("an instance of %s", v.inst->layer->name);
    case VAL_DATA: return intern_printf("the data set %s", v.data->name);
    case VAL_VOCAB: return intern_printf("the vocabulary %s", e->m->vocabs.at[v.vocab]->name);
    }
    return "a value";
}

/* ---- scopes ---- */

Scope *scope_push(Elab *e, Scope *up, bool function) {
    Scope *s = arena_make(e->a, Scope);
    s->up = up;
    s->function = function;
    return s;
}

Binding *scope_find_here(Scope *s, const char *name) {
    if (s->named.n) return map_get(&s->named, name);
    for (Binding *b = s->first; b; b = b->next)
        if (b->name == name) return b;
    return NULL;
}

/* A scope of many names is looked up in a table; most have a few. */
static void scope_index(Elab *e, Scope *s, Binding *added) {
    enum { FEW = 32 };
    if (++s->n < FEW) return;
    if (s->named.n)
        map_put(e->a, &s->named, added->name, added);
    else
        for (Binding *b = s->first; b; b = b->next) map_put(e->a, &s->named, b->name, b);
}

Binding *scope_find_local(Scope *s, const char *name) {
    for (; s && !s->source; s = s->up) {
        Binding *b = scope_find_here(s, name);
        if (b) return b;
        if (s->function) break;
    }
    return NULL;
}

/* Binds in this very scope, over what the name was there. */
Binding *scope_bind(Elab *e, Scope *s, const char *name, Val v, Loc loc) {
    Binding *b = scope_find_here(s, name);
    if (!b) {
        elab_work(e, loc, 1);
        b = arena_make(e->a, Binding);
        b->name = name;
        b->next = s->first;
        s->first = b;
        scope_index(e, s, b);
    }
    b->val = v;
    b->loc = loc;
    b->own = NULL;
    b->average = b->fixed = b->dim = false;
    b->rebound = true;
    return b;
}

Source *scope_source(const Scope *s) {
    while (s && !s->source) s = s->up;
    return s ? s->source : NULL;
}

bool scope_in_command(const Scope *s) {
    for (; s && !s->source; s = s->up)
        if (s->command) return true;
    return false;
}
