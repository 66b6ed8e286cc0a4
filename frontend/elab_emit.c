/*
 * elab_emit.c - ops with a check in front. Whatever the rules of the graph refuse is refused here as the user's error, in the
 * rule's own words, so that no program can bring the builder down. A NULL operand is a value that failed: the result is NULL too.
 */
#include "elab.h"

#include <math.h>

void emit_at(Elab *e, Loc loc) {
    e->b.loc = e->library_text ? e->user_loc : loc;
    e->op_loc = loc;
    const char *what = NULL; /* the library function that the user's line calls */
    for (Frame *f = e->frame; f && f->library; f = f->up) what = f->fn->name;
    e->b.loc.what = what;
}

/* The general way. `type` is given where the operands do not say it. */
Value *emit(Elab *e, OpCode code, int n_in, Value *const *in, int n_attrs, const Attr *attrs, const Type *type) {
    for (int i = 0; i < n_in; i++)
        if (!in[i]) return NULL;
    if (!e->b.func) {
        elab_error(e, e->op_loc, 110, "this is not known when the program is compiled");
        return NULL;
    }
    if (!elab_spend(e, e->op_loc, 1)) return NULL;
    const char *why = NULL;
    Value *v = op_try(&e->b, code, n_in, in, n_attrs, attrs, type, &why);
    if (!v) {
        elab_error(e, e->op_loc, why && strstr(why, "2^40") ? 219 : 214, "%s", why ? why : "this cannot be computed");
        return NULL;
    }
    bool batch = type_has_batch(v->type);
    if (type_count(v->type, batch && e->batch && e->batch->bound ? e->batch->bound : 1) > LIMIT_ELEMENTS) {
        elab_error(e, e->op_loc, 219, "the tensor %s is too large: more than 2^40 elements", type_name(v->type));
        return NULL;
    }
    return v;
}

Value *emit_unary(Elab *e, OpCode code, Value *x) { return emit(e, code, 1, &x, 0, NULL, NULL); }

Value *emit_binary(Elab *e, OpCode code, Value *x, Value *y) {
    Value *in[] = {x, y};
    return emit(e, code, 2, in, 0, NULL, NULL);
}

Value *emit_constant(Elab *e, const Type *t, double v) {
    Attr a = attr_f(A_value, v);
    return emit(e, OP_constant, 0, NULL, 1, &a, t);
}

Value *emit_convert(Elab *e, Value *x, Elem elem) {
    if (!x || x->type->elem == elem) return x;
    return emit(e, OP_convert, 1, &x, 0, NULL, type_with_elem(x->type, elem));
}

static bool same_shape(const Type *t, int rank, const Dim *dims) {
    if (t->rank != rank) return false;
    for (int i = 0; i < rank; i++)
        if (!dim_same(t->dim[i], dims[i])) return false;
    return true;
}

Value *emit_reshape(Elab *e, Value *x, int rank, const Dim *dims) {
    if (!x || same_shape(x->type, rank, dims)) return x;
    return emit(e, OP_reshape, 1, &x, 0, NULL, type_make(x->type->elem, rank, dims));
}

Value *emit_broadcast(Elab *e, Value *x, int rank, const Dim *dims) {
    if (!x || same_shape(x->type, rank, dims)) return x;
    int64_t axes[MAX_RANK];
    for (int i = 0; i < x->type->rank; i++) axes[i] = rank - x->type->rank + i;
    Attr a = attr_ints(e->a, A_axes, axes, x->type->rank);
    const Type *t = type_make(x->type->elem, rank, dims);
    if (x->def && x->def->code == OP_constant) return emit_constant(e, t, op_real(x->def, A_value));
    return emit(e, OP_broadcast, 1, &x, 1, &a, t);
}

Value *emit_transpose(Elab *e, Value *x, const int64_t *perm) {
    if (!x) return NULL;
    Attr a = attr_ints(e->a, A_perm, perm, x->type->rank);
    return emit(e, OP_transpose, 1, &x, 1, &a, NULL);
}

Value *emit_reduce(Elab *e, OpCode code, Value *x, int n, const int64_t *axes) {
    if (!x) return NULL;
    Attr a = attr_ints(e->a, A_axes, axes, n);
    return emit(e, code, 1, &x, 1, &a, NULL);
}

Value *emit_slice(Elab *e, Value *x, const int64_t *start, const int64_t *limit, const int64_t *step) {
    if (!x) return NULL;
    int r = x->type->rank;
    Attr a[] = {attr_ints(e->a, A_start, start, r), attr_ints(e->a, A_limit, limit, r), attr_ints(e->a, A_step, step, r)};
    return emit(e, OP_slice, 1, &x, 3, a, NULL);
}

Value *emit_take(Elab *e, Value *x, Value *i, int64_t axis) {
    Value *in[] = {x, i};
    Attr a = attr_i(A_axis, axis);
    return emit(e, OP_take, 2, in, 1, &a, NULL);
}

Value *emit_select(Elab *e, Value *c, Value *x, Value *y) {
    Value *in[] = {c, x, y};
    return emit(e, OP_select, 3, in, 0, NULL, NULL);
}

Value *emit_concat(Elab *e, int n, Value *const *xs, int64_t axis) {
    Attr a = attr_i(A_axis, axis);
    if (n == 1) return xs[0];
    return emit(e, OP_concat, n, xs, 1, &a, NULL);
}

Value *emit_contract(Elab *e, const char *spec, Value *x, Value *y) {
    Value *in[] = {x, y};
    Attr a = attr_s(A_spec, spec);
    return emit(e, OP_contract, 2, in, 1, &a, NULL);
}

/* B as i32. */
static Value *batch_size(Elab *e) {
    if (e->batch && e->batch->constant) return emit_constant(e, type_scalar(I32), (double)e->batch->constant);
    return emit(e, OP_batch, 0, NULL, 0, NULL, type_scalar(I32));
}

/* ---- shapes ---- */

static bool is_one(Dim d) { return d.n == 1 && !d.batch; }

bool broadcast_shape(Elab *e, Loc at, const Type *x, const Type *y, int *rank, Dim *dims) {
    int r = x->rank > y->rank ? x->rank : y->rank;
    for (int i = 1; i <= r; i++) { /* from the last axis */
        Dim a = i <= x->rank ? x->dim[x->rank - i] : (Dim){1, false};
        Dim b = i <= y->rank ? y->dim[y->rank - i] : (Dim){1, false};
        if (!dim_same(a, b) && !is_one(a) && !is_one(b)) {
            elab_error(e, at, 202, "the shapes of %s and %s do not fit together: axis %d has %s and %s places", type_name(x),
                       type_name(y), -i, dims_text(e, 1, &a), dims_text(e, 1, &b));
            hint_leading(e, x, y);
            return false;
        }
        dims[r - i] = is_one(a) ? b : a;
    }
    *rank = r;
    return true;
}

bool axis_of(Elab *e, Val v, int rank, Loc at, int64_t *axis) {
    if (v.kind == VAL_ERROR) return false;
    if (!val_whole(v, axis)) {
        elab_error(e, at, 211, "an axis is a whole number known when compiled, not %s", val_text(e, v));
        return false;
    }
    if (*axis < -rank || *axis >= rank) {
        elab_error(e, at, 211, "axis %" PRId64 " is outside a tensor of %d dimension%s", *axis, rank, rank == 1 ? "" : "s");
        return false;
    }
    if (*axis < 0) *axis += rank;
    return true;
}

/* One axis, a list of axes, or all of them where nothing was given; sorted. */
bool axes_of(Elab *e, Val v, int rank, Loc at, int *n, int64_t *axes) {
    if (v.kind == VAL_ERROR) return false;
    bool in[MAX_RANK] = {false};
    if (v.kind == VAL_NONE) {
        for (int i = 0; i < rank; i++) in[i] = true;
    } else if (v.kind == VAL_LIST) {
        for (size_t i = 0; i < v.list->n; i++) {
            int64_t a;
            if (!axis_of(e, v.list->at[i], rank, at, &a)) return false;
            if (in[a]) {
                elab_error(e, at, 211, "axis %" PRId64 " stands twice in the list", a);
                return false;
            }
            in[a] = true;
        }
    } else {
        int64_t a;
        if (!axis_of(e, v, rank, at, &a)) return false;
        in[a] = true;
    }
    *n = 0;
    for (int i = 0; i < rank; i++)
        if (in[i]) axes[(*n)++] = i;
    return true;
}

Value *reduce_keep(Elab *e, OpCode code, Value *x, int n, const int64_t *axes, bool keep) {
    Value *y = n == 0 ? x : emit_reduce(e, code, x, n, axes);
    if (!y || !keep) return y;
    Dim dims[MAX_RANK];
    int rank = x->type->rank;
    memcpy(dims, x->type->dim, (size_t)rank * sizeof *dims);
    for (int i = 0; i < n; i++) dims[axes[i]] = (Dim){1, false};
    return emit_reshape(e, y, rank, dims);
}

/* The mean is the sum over the number of elements, which may have B in it. */
Value *mean_over(Elab *e, Value *x, int n, const int64_t *axes, bool keep) {
    if (!x) return NULL;
    int64_t count = 1;
    bool batch = false;
    for (int i = 0; i < n; i++) {
        count *= x->type->dim[axes[i]].n;
        batch = batch || x->type->dim[axes[i]].batch;
    }
    Value *sum = reduce_keep(e, OP_sum, x, n, axes, keep);
    if (!sum) return NULL;
    Value *divisor = number_as(e, (Val){.kind = VAL_NUMBER, .batch = batch, .num = (double)count}, x->type->elem, e->op_loc);
    return emit_binary(e, OP_div, sum, emit_broadcast(e, divisor, sum->type->rank, sum->type->dim));
}

/* ---- from values of the interpreter to values of the graph ---- */

bool number_fits(Elab *e, double x, Elem elem, Loc at) {
    double low = 0, high = 0;
    switch (elem) {
    case F32:
        if (isfinite(x) && !isfinite((double)(float)x)) break;
        return true;
    case F64: return true;
    case BOOL: elab_error(e, at, 201, "a number meets a bool tensor: compare, or convert the tensor first"); return false;
    case I32: low = INT32_MIN, high = INT32_MAX; break;
    case I64: low = -9223372036854775808.0, high = 9223372036854774784.0; break;
    case U8: high = 255; break;
    }
    if (elem != F32 && x == floor(x) && x >= low && x <= high) return true;
    elab_error(e, at, 203, "%s does not fit in %s", val_text(e, val_number(x)), elem_name(elem));
    if (elem != F32 && x != floor(x))
        elab_note(e, (Loc){0}, "a tensor of integers takes whole numbers: f32(...) makes floats of it");
    return false;
}

/* A number that an integer type cannot hold becomes its nearest one, as all that is computed in f64 does (E8): also where it is kept as an
 * integer, whose conversion would wrap. */
static Value *convert_number(Elab *e, Value *x, Elem elem) {
    if (x && elem_is_int(x->type->elem) && elem_is_int(elem) && elem_size(elem) < elem_size(x->type->elem))
        x = emit_convert(e, x, F64);
    return emit_convert(e, x, elem);
}

/* SCALARs keep the type of what they come from (i32 counters, f64 else) until they meet something. */
Value *number_as(Elab *e, Val v, Elem elem, Loc at) {
    if (v.kind == VAL_NUMBER && !v.batch)
        return number_fits(e, v.num, elem, at) ? emit_constant(e, type_scalar(elem), v.num) : NULL;
    if (elem == BOOL) {
        number_fits(e, 0, BOOL, at);
        return NULL;
    }
    if (elem_is_int(elem) && !val_always_whole(v)) {
        elab_error(e, at, 203, "%s, which need not be whole, does not fit in %s", val_text(e, v), elem_name(elem));
        elab_note(e, (Loc){0}, "%s(...) cuts it off; f32(...) makes floats of a tensor of integers", elem_name(elem));
        return NULL;
    }
    if (v.kind == VAL_NUMBER) {
        Value *b = batch_size(e);
        if (v.num == 1) return convert_number(e, b, elem);
        b = emit_convert(e, b, F64);
        return emit_convert(e, emit_binary(e, OP_mul, b, emit_constant(e, type_scalar(F64), v.num)), elem);
    }
    Value *x = v.t.value ? use_value(e, v.t.value, at) : tensor_of(e, (Val){.kind = VAL_TENSOR, .t = v.t}, at);
    return convert_number(e, x, elem);
}

Slot *slot_var(Elab *e, const char *hint, const Type *t, int64_t bound, Loc loc) {
    Slot *s = slot_new(e->m, SLOT_VAR, intern_printf("%s#%zu", hint ? hint : "value", e->m->slots.n), t, loc);
    s->batch_bound = type_has_batch(t) ? bound : 0;
    s->command = e->command ? e->command->command->name : NULL;
    return s;
}

/* The slot that brings a value of one function to the others, made when first asked for. */
Slot *slot_of_value(Elab *e, Value *v) {
    Slot *s = map_get(&e->value_slots, v);
    if (s) return s;
    FuncInfo *info = map_get(&e->infos, v->block->func);
    s = slot_var(e, v->name, v->type, info && info->batch ? info->batch->bound : 0, v->def ? v->def->loc : e->b.loc);
    func_write(v->block->func, s, v);
    map_put(e->a, &e->value_slots, v, s);
    return s;
}

static Value *read_slot(Elab *e, Slot *s) { return func_read(e->b.func, s); }

Value *use_value(Elab *e, Value *v, Loc at) {
    if (!v) return NULL;
    if (!e->b.func) {
        elab_error(e, at, 110, "this is not known when the program is compiled");
        return NULL;
    }
    Func *from = v->block->func;
    if (from == e->b.func) return v;
    if (v->def && v->def->code == OP_constant) return emit_constant(e, v->type, op_real(v->def, A_value));
    if (e->info->init) {
        elab_error(e, at, 110, "an initial value cannot depend on what the program computes");
        return NULL;
    }
    FuncInfo *info = map_get(&e->infos, from);
    if (type_has_batch(v->type) && info && info->batch != e->info->batch) {
        elab_error(e, at, 213, "%s belongs to the batch of another loop", type_name(v->type));
        return NULL;
    }
    if (!v->def && v->block == from->body) { /* what nobody writes while the loop runs is read where it stands */
        Slot *s = from->in_slots.at[v->index];
        if (s->kind == SLOT_FIELD || s->kind == SLOT_INPUT || s->kind == SLOT_OPTION || s->kind == SLOT_COUNTER)
            return read_slot(e, s);
    }
    return read_slot(e, slot_of_value(e, v));
}

Value *tensor_of(Elab *e, Val v, Loc at) {
    switch (v.kind) {
    case VAL_ERROR:
    case VAL_DROPPED: return NULL;
    case VAL_TENSOR:
        if (v.t.value) return use_value(e, v.t.value, at);
        if (!e->b.func) {
            elab_error(e, at, 110, "this is not known when the program is compiled");
            return NULL;
        }
        if (type_has_batch(v.t.slot->type) && v.t.slot->kind == SLOT_INPUT && e->info->batch && e->info->batch->data) {
            elab_error(e, at, 213, "%s is of the command's inputs, and this loop has batches of its own",
                       type_name(v.t.slot->type));
            return NULL;
        }
        return read_slot(e, v.t.slot);
    case VAL_OWNED: return owned_read(e, v.owned, at);
    case VAL_BOOL: return emit_constant(e, type_scalar(BOOL), v.truth);
    case VAL_NUMBER:
    case VAL_SCALAR:
        elab_error(e, at, 205, "a tensor is wanted here, not %s", val_text(e, v));
        elab_note(e, (Loc){0}, "f32(...) makes a tensor of a number");
        return NULL;
    case VAL_TUPLE:
        elab_error(e, at, 217, "one value is wanted here, not %s: name them all, as in `a, b = ...`", val_text(e, v));
        return NULL;
    case VAL_NONE: elab_error(e, at, 217, "a value is wanted here, but this gives none"); return NULL;
    case VAL_LIST:
        elab_error(e, at, 205, "a tensor is wanted here, not %s", val_text(e, v));
        hint_list(e, v);
        return NULL;
    case VAL_STRING:
    case VAL_FUNCTION:
    case VAL_INSTANCE:
    case VAL_DATA:
    case VAL_VOCAB: elab_error(e, at, 205, "a tensor is wanted here, not %s", val_text(e, v)); return NULL;
    }
    return NULL;
}

Value *tensor_as(Elab *e, Val v, Elem elem, Loc at) { return val_is_number(v) ? number_as(e, v, elem, at) : tensor_of(e, v, at); }

Value *tensor_to(Elab *e, Val v, const Type *t, Loc at) {
    if (v.kind == VAL_NUMBER && !v.batch) return number_fits(e, v.num, t->elem, at) ? emit_constant(e, t, v.num) : NULL;
    Value *x = tensor_as(e, v, t->elem, at);
    if (!x) return NULL;
    int rank;
    Dim dims[MAX_RANK];
    if (x->type->elem != t->elem) {
        elab_error(e, at, 201, "the element types differ: %s and %s", type_name(x->type), type_name(t));
        elab_note(e, (Loc){0}, "%s(...) converts", elem_name(t->elem));
        return NULL;
    }
    if (!broadcast_shape(e, at, x->type, t, &rank, dims)) return NULL;
    if (!same_shape(t, rank, dims)) {
        elab_error(e, at, 202, "%s does not fit in %s", type_name(x->type), type_name(t));
        return NULL;
    }
    return emit_broadcast(e, x, rank, dims);
}
