/*
 * eval.c - the evaluator's frame: tensors, which ops run, when a value dies, and the ops with blocks. The other ops are in
 * eval_element.c (elementwise and values from nothing), eval_shape.c, eval_product.c (contract, conv), eval_reduce.c (sums,
 * extremes, sorting) and eval_window.c.
 */
#include "eval_inside.h"

/* ---- tensors ---- */

Tensor *tensor_new(EvalType type, const Type *t, int64_t B) {
    Tensor *x = calloc(1, sizeof *x);
    if (!x) return NULL;
    x->elem = type == EVAL_F64 && t->elem == F32 ? F64 : t->elem;
    x->rank = t->rank;
    x->count = type_count(t, B);
    x->refs = 1;
    for (int i = 0; i < t->rank; i++) x->dim[i] = dim_size(t->dim[i], B);
    if (x->count <= PTRDIFF_MAX / 8)
        x->data = calloc((size_t)x->count + 1, (size_t)elem_size(x->elem)); /* one more: never of size 0 */
    if (x->data) return x;
    free(x);
    return NULL;
}

Tensor *tensor_keep(Tensor *t) {
    t->refs++;
    return t;
}

void tensor_release(Tensor *t) {
    if (!t || --t->refs > 0) return;
    free(t->data);
    free(t);
}

Tensor *tensor_from(EvalType type, const Type *t, int64_t B, const void *elements) {
    Tensor *x = tensor_new(type, t, B);
    if (!x) return NULL;
    if (x->elem == t->elem)
        memcpy(x->data, elements, (size_t)x->count * (size_t)elem_size(x->elem));
    else
        for (int64_t i = 0; i < x->count; i++) ((double *)x->data)[i] = ((const float *)elements)[i];
    return x;
}

void tensor_store(const Tensor *x, Elem elem, void *elements) {
    if (x->elem == elem)
        memcpy(elements, x->data, (size_t)x->count * (size_t)elem_size(elem));
    else if (x->elem == F64 && elem == F32)
        for (int64_t i = 0; i < x->count; i++) ((float *)elements)[i] = (float)((const double *)x->data)[i];
    else
        bug("a tensor of %s stored as %s", elem_name(x->elem), elem_name(elem));
}

/* Between memory with holes and a tight copy of it: pieces of B rows of `row` bytes, whose beginnings are bound rows apart. */
static void copy_tight(const Type *t, int64_t B, int64_t bound, char *loose, char *tight, bool store) {
    int axis = type_batch_axis(t);
    int64_t outer = 1, row = elem_size(t->elem);
    for (int d = 0; d < axis; d++) outer *= t->dim[d].n;
    for (int d = axis; d < t->rank; d++) row *= t->dim[d].n;
    for (int64_t i = 0; i < outer; i++) {
        char *a = loose + i * bound * row, *b = tight + i * B * row;
        memcpy(store ? a : b, store ? b : a, (size_t)(B * row));
    }
}

static char *tight_copy(const Type *t, int64_t bound) { return malloc((size_t)(type_count(t, bound) * elem_size(t->elem)) + 1); }

Tensor *tensor_from_slot(EvalType type, const Type *t, int64_t B, int64_t bound, const void *elements) {
    if (type_batch_axis(t) <= 0 || B >= bound) return tensor_from(type, t, B, elements);
    char *tight = tight_copy(t, bound);
    if (!tight) return NULL;
    copy_tight(t, B, bound, (char *)(uintptr_t)elements, tight, false);
    Tensor *x = tensor_from(type, t, B, tight);
    free(tight);
    return x;
}

bool tensor_store_slot(const Tensor *x, const Type *t, int64_t B, int64_t bound, void *elements) {
    if (type_batch_axis(t) <= 0 || B >= bound) return tensor_store(x, t->elem, elements), true;
    char *tight = tight_copy(t, bound);
    if (!tight) return false;
    tensor_store(x, t->elem, tight);
    copy_tight(t, B, bound, elements, tight, true);
    free(tight);
    return true;
}

double tensor_get(const Tensor *x, int64_t i) { return elem_is_float(x->elem) ? real_at(x, i) : (double)int_at(x, i); }

void tensor_set(Tensor *x, int64_t i, double v) {
    if (elem_is_float(x->elem))
        real_put(x, i, v);
    else
        int_put(x, i, (int64_t)v);
}

static bool element_same(const Tensor *a, const Tensor *b, int64_t i) {
    if (!elem_is_float(a->elem)) return int_at(a, i) == int_at(b, i);
    double x = real_at(a, i), y = real_at(b, i);
    return isnan(x) || isnan(y) ? isnan(x) && isnan(y) : x == y && !signbit(x) == !signbit(y);
}

bool tensor_same(const Tensor *a, const Tensor *b, int64_t *at) {
    *at = -1;
    if (a->elem != b->elem || a->rank != b->rank || memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim) != 0) return false;
    for (*at = 0; *at < a->count; ++*at)
        if (!element_same(a, b, *at)) return false;
    return true;
}

/* ---- operands and results ---- */

static void set_fault(Eval *e, EvalFault fault, const char *format, va_list args) {
    fault.loc = fault.op->loc;
    fault.text = arena_vprintf(e->arena, format, args);
    *e->fault = fault;
}

bool eval_fault(Eval *e, const Op *op, int64_t value, const char *format, ...) {
    va_list args;
    va_start(args, format);
    set_fault(e, (EvalFault){.op = op, .value = value}, format, args);
    va_end(args);
    return false;
}

bool eval_no_memory(Eval *e, const Op *op, const char *format, ...) {
    va_list args;
    va_start(args, format);
    set_fault(e, (EvalFault){.op = op, .memory = true}, format, args);
    va_end(args);
    return false;
}

Tensor *eval_out(Eval *e, const Op *op, int i) {
    Tensor *t = tensor_new(e->options->type, op->out[i]->type, e->options->batch);
    if (!t) eval_no_memory(e, op, "there is no memory for %s with B = %" PRId64, type_name(op->out[i]->type), e->options->batch);
    return e->value[op->out[i]->id] = t;
}

/* ---- what runs, and when values die ---- */

/* The op of `block` that holds `op` (or is it). */
static const Op *op_in_block(const Op *op, const Block *block) {
    while (op->block != block) op = op->block->op;
    return op;
}

/* Called in the order in which ops run: the last call for a value stands. */
static void note_use(const Op **last, const Value *v, const Op *user) { last[v->id] = op_in_block(user, v->block); }

static bool is_needed(const Eval *e, const Op *op) {
    for (int i = 0; i < op->n_out; i++)
        if (e->needed[op->out[i]->id] && !e->value[op->out[i]->id]) return true;
    return false;
}

static void note_last(const Eval *e, const Block *b, const Op **last) {
    for (const Op *op = b->first; op; op = op->next) {
        if (!is_needed(e, op)) continue;
        for (int i = 0; i < op->n_out; i++) last[op->out[i]->id] = op; /* nobody may want it */
        for (int i = 0; i < op->n_in; i++) note_use(last, op->in[i], op);
        for (int k = 0; k < op->n_blocks; k++) {
            note_last(e, op->blocks[k], last);
            for (size_t i = 0; i < op->blocks[k]->results.n; i++)
                if (op->blocks[k]->results.at[i]->block != op->blocks[k]) note_use(last, op->blocks[k]->results.at[i], op);
        }
    }
    for (size_t i = 0; i < b->results.n; i++)
        if (b->results.at[i]->block == b) last[b->results.at[i]->id] = NULL; /* until the block ends */
}

static void plan_block(Eval *e, const Block *b, const Op **last) {
    for (const Op *op = b->first; op; op = op->next) {
        for (int i = 0; i < op->n_out; i++) {
            const Op *end = last[op->out[i]->id];
            if (!end || end->n_out == 0) continue;
            Value **list = &e->dies_first[end->out[0]->id];
            e->dies_next[op->out[i]->id] = *list;
            *list = op->out[i];
        }
        for (int k = 0; k < op->n_blocks; k++) plan_block(e, op->blocks[k], last);
    }
}

static void need_op(Eval *e, const Op *op);

static void need(Eval *e, const Value *v) {
    if (e->needed[v->id]) return;
    e->needed[v->id] = true;
    for (int i = 0; i < e->options->n_instead; i++)
        if (e->options->instead[i] == v) return;
    if (v->def) need_op(e, v->def);
}

/* Blocks run whole: what they use from outside is needed. */
static void need_block(Eval *e, const Block *b) {
    for (const Op *op = b->first; op; op = op->next) {
        for (int i = 0; i < op->n_out; i++) e->needed[op->out[i]->id] = true;
        need_op(e, op);
    }
    for (size_t i = 0; i < b->results.n; i++) need(e, b->results.at[i]);
}

static void need_op(Eval *e, const Op *op) {
    for (int i = 0; i < op->n_in; i++) need(e, op->in[i]);
    for (int k = 0; k < op->n_blocks; k++) need_block(e, op->blocks[k]);
}

/* ---- running ---- */

typedef bool EvalFn(Eval *e, const Op *op);
static EvalFn *const evaluators[OP_COUNT] = {
#define OP(name, operands, attributes, rule, elementwise, stages, gradient, evaluator, doc) [OP_##name] = eval_##evaluator,
#include "ops.def"
#undef OP
};

static void drop(Eval *e, const Value *v) {
    tensor_release(e->value[v->id]);
    e->value[v->id] = NULL;
}

static void put_instead(Eval *e) {
    for (int i = 0; i < e->options->n_instead; i++) {
        drop(e, e->options->instead[i]);
        e->value[e->options->instead[i]->id] = tensor_keep(e->options->with[i]);
    }
}

static bool run_op(Eval *e, const Op *op) {
    if (!evaluators[op->code](e, op)) return false;
    if (op->n_out > 1) put_instead(e); /* it may have computed a value that has been replaced */
    if (e->options->observe) {
        Tensor **results = arena_make_n(e->arena, Tensor *, (size_t)op->n_out);
        for (int i = 0; i < op->n_out; i++) results[i] = e->value[op->out[i]->id];
        e->options->observe(op, results, e->options->arg);
    }
    return true;
}

static bool run_ops(Eval *e, const Block *b) {
    for (const Op *op = b->first; op; op = op->next) {
        if (!is_needed(e, op)) continue;
        if (!run_op(e, op)) return false;
        for (const Value *v = op->n_out ? e->dies_first[op->out[0]->id] : NULL; v; v = e->dies_next[v->id]) drop(e, v);
    }
    return true;
}

static void drop_block(Eval *e, const Block *b) {
    for (size_t i = 0; i < b->params.n; i++) drop(e, b->params.at[i]);
    for (const Op *op = b->first; op; op = op->next)
        for (int i = 0; i < op->n_out; i++) drop(e, op->out[i]);
}

bool eval_block(Eval *e, const Block *b, Tensor **results) {
    bool ok = run_ops(e, b);
    for (size_t i = 0; i < b->results.n && ok; i++) results[i] = tensor_keep(e->value[b->results.at[i]->id]);
    drop_block(e, b);
    return ok;
}

/* ---- a whole function ---- */

static void plan(Eval *e, const Func *f, int n, Value *const *wanted) {
    size_t values = (size_t)f->n_values;
    e->value = arena_make_n(e->arena, Tensor *, values);
    e->dies_first = arena_make_n(e->arena, Value *, values);
    e->dies_next = arena_make_n(e->arena, Value *, values);
    e->needed = arena_make_n(e->arena, bool, values);
    const Op **last = arena_make_n(e->arena, const Op *, values);
    for (int i = 0; i < n; i++) {
        if (wanted[i]->block != f->body) bug("value %d wanted of @%s is inside a block", i, f->name);
        need(e, wanted[i]);
    }
    note_last(e, f->body, last);
    for (int i = 0; i < n; i++) last[wanted[i]->id] = NULL;
    plan_block(e, f->body, last);
}

bool eval_values(Arena *a, const Func *f, const EvalOptions *options, Tensor *const *inputs, int n, Value *const *wanted,
                 Tensor **found, EvalFault *fault) {
    Eval e = {.arena = a, .options = options, .fault = fault};
    *fault = (EvalFault){0};
    if (options->batch < 1) bug("a batch of %" PRId64 " samples", options->batch);
    plan(&e, f, n, wanted);
    for (size_t i = 0; i < f->body->params.n; i++) {
        Tensor *x = inputs[i];
        const Type *t = f->body->params.at[i]->type;
        if (x && (x->rank != t->rank || x->count != type_count(t, options->batch)))
            bug("input %zu of @%s is not %s", i, f->name, type_name(t));
        if (x) e.value[f->body->params.at[i]->id] = tensor_keep(x);
    }
    put_instead(&e);
    bool ok = run_ops(&e, f->body);
    for (int i = 0; i < n && ok; i++) {
        if (!e.value[wanted[i]->id]) bug("@%s: value %d that was wanted has no tensor", f->name, i);
        found[i] = tensor_keep(e.value[wanted[i]->id]);
    }
    for (int i = 0; i < f->n_values; i++) tensor_release(e.value[i]); /* after a fault, values of inner blocks too */
    return ok;
}

bool eval_func(Arena *a, const Func *f, EvalType type, int64_t batch, Tensor *const *inputs, Tensor **outputs, EvalFault *fault) {
    EvalOptions options = {.type = type, .batch = batch};
    return eval_values(a, f, &options, inputs, (int)f->body->results.n, f->body->results.at, outputs, fault);
}
