/*
 * elab_types.c - types as they are written: f32[B, ...S, 2 * H], int, float[..]. As patterns that bind dimension variables to
 * what the caller brings, and as exact types of parameters and data.
 */
#include "elab.h"

#include <math.h>

/* The element types that a word admits; false if it is no type of tensors. */
static bool elem_class(const char *name, bool ok[ELEM_COUNT]) {
    Elem one;
    bool exact = elem_by_name(name, &one);
    bool is_float = strcmp(name, "float") == 0, is_int = strcmp(name, "int") == 0, any = strcmp(name, "any") == 0;
    if (!exact && !is_float && !is_int && !any) return false;
    for (int i = 0; i < ELEM_COUNT; i++)
        ok[i] = any || (exact && (Elem)i == one) || (is_float && elem_is_float((Elem)i)) || (is_int && elem_is_int((Elem)i));
    return true;
}

const char *dims_text(Elab *e, int rank, const Dim *dims) {
    Text t = {0};
    for (int i = 0; i < rank; i++) {
        text_add(e->a, &t, i ? ", " : "");
        if (!dims[i].batch)
            text_printf(e->a, &t, "%" PRId64, dims[i].n);
        else if (dims[i].n == 1)
            text_add(e->a, &t, "B");
        else
            text_printf(e->a, &t, "%" PRId64 "*B", dims[i].n);
    }
    return intern(text_str(e->a, &t));
}

static bool dim_wanted(Elab *e, Val v, Loc at, Dim *d) {
    if (v.kind == VAL_ERROR) return false;
    if (dim_of_val(v, d)) return true;
    if (v.kind == VAL_NUMBER && v.num != floor(v.num)) {
        elab_error(e, at, 207, "a dimension is a whole number, not %g", v.num);
        elab_note(e, (Loc){0}, "`//` divides and rounds down");
    } else if (v.kind == VAL_SCALAR) {
        elab_error(e, at, 207, "a dimension must be known when compiled: an option, a counter or B + 1 cannot size a tensor");
        elab_note(e, (Loc){0}, "`const` and -D fix a number when compiled");
        hint_option(e, v);
    } else if (v.kind == VAL_NUMBER && v.num > (double)LIMIT_ELEMENTS)
        elab_error(e, at, 219, "a dimension of %.7g is too large: a tensor has at most 2^40 elements", v.num);
    else
        elab_error(e, at, 207, "a dimension is a whole number from 0, not %s", val_text(e, v));
    return false;
}

/* Pushes a list's numbers as dimensions. */
static bool dims_push(Elab *e, Val v, Loc at, int *rank, Dim *dims) {
    if (v.kind == VAL_ERROR) return false;
    if (v.kind != VAL_LIST) {
        elab_error(e, at, 207, "a list of dimensions is wanted here, not %s", val_text(e, v));
        return false;
    }
    for (size_t i = 0; i < v.list->n; i++) {
        if (*rank == MAX_RANK) {
            elab_error(e, at, 219, "a tensor has at most %d dimensions", MAX_RANK);
            return false;
        }
        if (!dim_wanted(e, v.list->at[i], at, &dims[(*rank)++])) return false;
    }
    return true;
}

/* At most one axis may be the batch, and k * B only in front (N6); the number of elements is bounded (D6). */
static bool dims_legal(Elab *e, Loc at, int rank, const Dim *dims) {
    double count = 1;
    int batches = 0;
    for (int i = 0; i < rank; i++) {
        count *= (double)dims[i].n * (dims[i].batch && e->batch && e->batch->bound ? (double)e->batch->bound : 1);
        batches += dims[i].batch;
        if (dims[i].batch && dims[i].n != 1 && i > 0) {
            elab_error(e, at, 213, "a multiple of B may stand on the leading axis only, not in [%s]", dims_text(e, rank, dims));
            return false;
        }
    }
    if (batches > 1) {
        elab_error(e, at, 213, "B may stand on one axis only, not twice in [%s]", dims_text(e, rank, dims));
        return false;
    }
    if (count > (double)LIMIT_ELEMENTS) {
        elab_error(e, at, 219, "a tensor of [%s] is too large: more than 2^40 elements", dims_text(e, rank, dims));
        return false;
    }
    return true;
}

static bool is_minus_one(Val v) { return v.kind == VAL_NUMBER && v.num == -1 && !v.batch; }

/* Elsewhere -1 is "what is left": said where a shape is an argument, as of reshape; the size of a layer is just too small. */
static void note_minus_one(Elab *e, Val v) {
    bool found = is_minus_one(v);
    for (size_t i = 0; v.kind == VAL_LIST && i < v.list->n; i++) found |= is_minus_one(v.list->at[i]);
    if (found)
        elab_note(e, (Loc){0}, "no size is left to be found out: write it, as in [B, H * W]; flatten(x) keeps the first axis");
}

bool dims_of_list(Elab *e, Val v, Loc at, int *rank, Dim *dims) {
    bool one = val_is_number(v), wanted;
    *rank = one;
    wanted = one ? dim_wanted(e, v, at, &dims[0]) : dims_push(e, v, at, rank, dims);
    if (!wanted) note_minus_one(e, v);
    return wanted && dims_legal(e, at, *rank, dims);
}

static bool dims_eval(Elab *e, const Nodes *items, int *rank, Dim *dims) {
    *rank = 0;
    for (uint32_t i = 0; i < items->n; i++) {
        const AstNode *n = items->at[i];
        if (n->kind == AST_REST) {
            if (!n->rest.value) {
                elab_error(e, n->loc, 206, "`...` says nothing here: these dimensions must be known");
                return false;
            }
            if (!dims_push(e, expr(e, n->rest.value), n->loc, rank, dims)) return false;
            continue;
        }
        if (*rank == MAX_RANK) {
            elab_error(e, n->loc, 219, "a tensor has at most %d dimensions", MAX_RANK);
            return false;
        }
        bool sizing = e->sizing;
        e->sizing = true;
        Val v = expr(e, n);
        e->sizing = sizing;
        if (!dim_wanted(e, v, n->loc, &dims[(*rank)++])) return false;
    }
    return items->n == 0 || dims_legal(e, items->at[0]->loc, *rank, dims);
}

const Type *type_eval(Elab *e, const AstNode *type) {
    if (!type || type->kind != AST_TYPE) return NULL;
    Elem elem;
    int rank;
    Dim dims[MAX_RANK];
    if (!elem_by_name(type->type.name, &elem)) {
        elab_error(e, type->loc, 205, "an element type (f32, f64, i32, i64, u8, bool) is wanted here, not `%s`", type->type.name);
        hint_type(e, type->type.name, true);
        return NULL;
    }
    if (!dims_eval(e, &type->type.dims, &rank, dims)) return NULL;
    return type_make(elem, rank, dims);
}

/* ---- patterns ---- */

typedef struct Match {
    const Type *type;
    const char *what;
    Loc at;
    const AstNode *pattern;
} Match;

static bool mismatch(Elab *e, const Match *m, const char *why) {
    elab_error(e, m->at, 205, "%s is %s%s%s", m->what, type_name(m->type), why[0] ? ", but " : "", why);
    if (m->at.line != m->pattern->loc.line || m->at.col != m->pattern->loc.col)
        elab_note(e, m->pattern->loc, "the type is declared here");
    return false;
}

/* One dimension against its expression. Numbers that are known must agree; a name that is not is bound. */
static bool match_dim(Elab *e, const Match *m, const AstNode *n, int place) {
    Dim have = m->type->dim[place];
    if (n->kind == AST_NAME) {
        const char *name = n->name;
        Binding *own = scope_find_here(e->scope, name);
        bool known = own != NULL;
        Loc where = own ? own->loc : (Loc){0};
        Val v = own ? own->val : names_find_const(e, e->scope->up, name, &known, &where);
        if (!known) {
            Binding *b = scope_bind(e, e->scope, name, val_dim(have), n->loc);
            b->dim = b->fixed = true;
            return true;
        }
        if (v.kind == VAL_ERROR) return true;
        if (v.kind == VAL_OWNED) {
            elab_error(e, n->loc, 207, "the dimension `%s` has the name of a parameter", name);
            elab_note(e, where, "`%s` is declared here", name);
            return false;
        }
        Dim want;
        if (!dim_wanted(e, v, n->loc, &want)) return false;
        if (dim_same(want, have)) return true;
        bool batch = want.batch && want.n == 1;
        mismatch(e, m,
                 intern_printf("%s is %s, here %s", name, batch ? "the batch" : dims_text(e, 1, &want),
                               have.batch && have.n == 1 ? "the batch" : dims_text(e, 1, &have)));
        if (where.file) elab_note(e, where, "`%s` is %s here", name, batch ? "the batch" : dims_text(e, 1, &want));
        return false;
    }
    Dim want;
    if (!dim_wanted(e, expr(e, n), n->loc, &want)) return false;
    if (dim_same(want, have)) return true;
    return mismatch(
        e, m, intern_printf("%s is wanted on axis %d, where it has %s", dims_text(e, 1, &want), place, dims_text(e, 1, &have)));
}

static bool match_rest(Elab *e, const Match *m, const AstNode *n, int count, const Dim *have) {
    const AstNode *v = n->rest.value;
    if (!v) return true;
    Val list[MAX_RANK];
    for (int i = 0; i < count; i++) list[i] = val_dim(have[i]);
    Val here = val_list(e, VAL_LIST, (size_t)count, list);
    if (v->kind == AST_NAME && !scope_find_here(e->scope, v->name)) {
        bool known;
        Loc where;
        names_find_const(e, e->scope->up, v->name, &known, &where);
        if (!known) {
            Binding *b = scope_bind(e, e->scope, v->name, here, v->loc);
            b->dim = b->fixed = true;
            return true;
        }
    }
    int rank = 0;
    Dim want[MAX_RANK];
    if (!dims_push(e, expr(e, v), n->loc, &rank, want)) return false;
    bool same = rank == count;
    for (int i = 0; same && i < rank; i++) same = dim_same(want[i], have[i]);
    if (same) return true;
    return mismatch(e, m, intern_printf("these dimensions are declared as %s", dims_text(e, rank, want)));
}

/* Names and numbers first, then what is computed from them. */
static bool match_dims(Elab *e, const Match *m, const Nodes *items) {
    int n = (int)items->n, rest = -1, rank = m->type->rank;
    for (int i = 0; i < n; i++)
        if (items->at[i]->kind == AST_REST) {
            if (rest >= 0) {
                elab_error(e, items->at[i]->loc, 206, "`...` may stand once in a type");
                return false;
            }
            rest = i;
        }
    int extra = rest < 0 ? 0 : rank - (n - 1);
    if (rest < 0 ? rank != n : extra < 0)
        return mismatch(e, m,
                        intern_printf("%s%d dimension%s %s wanted", rest < 0 ? "" : "at least ", rest < 0 ? n : n - 1,
                                      (rest < 0 ? n : n - 1) == 1 ? "" : "s", (rest < 0 ? n : n - 1) == 1 ? "is" : "are"));
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < n; i++) {
            const AstNode *item = items->at[i];
            int place = rest >= 0 && i > rest ? i + extra - 1 : i;
            bool simple = item->kind == AST_NAME || item->kind == AST_NUMBER || item->kind == AST_REST;
            if (simple != (round == 0)) continue;
            if (item->kind == AST_REST ? !match_rest(e, m, item, extra, m->type->dim + place) : !match_dim(e, m, item, place))
                return false;
        }
    return true;
}

/* Types of what is known when compiled: int bool string list layer fn model. 1: fits, 0: does not, -1: no such word. */
static int match_word(const char *word, Val v) {
    int64_t n;
    if (strcmp(word, "int") == 0) return v.kind == VAL_NUMBER && (v.batch ? v.num == floor(v.num) : val_whole(v, &n));
    if (strcmp(word, "bool") == 0) return v.kind == VAL_BOOL;
    if (strcmp(word, "string") == 0) return v.kind == VAL_STRING;
    if (strcmp(word, "list") == 0) return v.kind == VAL_LIST;
    if (strcmp(word, "layer") == 0) return v.kind == VAL_INSTANCE || (v.kind == VAL_FUNCTION && v.fn->kind == FN_LAYER);
    if (strcmp(word, "fn") == 0) return v.kind == VAL_FUNCTION || v.kind == VAL_INSTANCE;
    if (strcmp(word, "model") == 0) return v.kind == VAL_INSTANCE || v.kind == VAL_LIST;
    return -1;
}

bool type_match(Elab *e, const AstNode *pattern, Val *v, Loc at, const char *what, bool result) {
    if (v->kind == VAL_ERROR) return false;
    if (!pattern || pattern->kind != AST_TYPE) return true;
    const char *word = pattern->type.name;
    bool ok[ELEM_COUNT];
    bool tensor = elem_class(word, ok);
    if (!pattern->type.has_dims) {
        int fits = match_word(word, *v);
        if (fits == 1) return true;
        if (fits == 0 && !(tensor && (v->kind == VAL_TENSOR || v->kind == VAL_OWNED) && strcmp(word, "bool") == 0)) {
            elab_error(e, at, 205, "%s is %s, but it is declared as %s%s", what, val_text(e, *v), word,
                       v->kind == VAL_TENSOR || v->kind == VAL_SCALAR || v->kind == VAL_OWNED ? ", which is known when compiled"
                                                                                              : "");
            elab_note(e, pattern->loc, "the type is declared here");
            return false;
        }
    }
    if (!tensor) {
        elab_error(e, pattern->loc, 205, "there is no type `%s`", word);
        hint_type(e, word, false);
        return false;
    }
    if (val_is_number(*v) && pattern->type.dims.n == 0) { /* a scalar stays a number: exact until it meets a tensor */
        Elem exact;
        if (!elem_by_name(word, &exact) || exact == BOOL) return true;
        if (v->kind == VAL_NUMBER && !v->batch) return number_fits(e, v->num, exact, at);
        return true;
    }
    if (val_is_number(*v) && result &&
        elem_by_name(word, &(Elem){F32})) { /* `= 0` as a result of f32[B] is not a tensor of that shape */
        elab_error(e, at, 205, "%s is %s, but a tensor is declared", what, val_text(e, *v));
        return false;
    }
    Value *x = tensor_of(e, *v, at);
    if (!x) return false;
    *v = val_tensor(x);
    Match m = {x->type, what, at, pattern};
    if (!ok[x->type->elem]) return mismatch(e, &m, intern_printf("%s is wanted", word));
    return match_dims(e, &m, &pattern->type.dims);
}
