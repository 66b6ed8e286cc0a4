/* scan.c - the parts of a scan, and adding to them: see scan.h. */
#include "scan.h"

#include <string.h>

Scan scan_of(Op *op) {
    Scan s = {.op = op,
              .body = op->blocks[0],
              .carry = op_int(op, A_carry),
              .trip = op_int(op, A_trip),
              .reverse = op_int(op, A_reverse)};
    s.n_xs = op_ints(op, A_axes, &s.axes);
    s.n_ys = op_ints(op, A_yaxes, &s.yaxes);
    s.stacks = true;
    s.turns = (Dim){s.trip, false};
    if (s.trip >= 0) return s;
    if (s.n_xs)
        s.turns = op->in[s.carry]->type->dim[s.axes[0]];
    else if (s.n_ys)
        s.turns = op->out[s.carry]->type->dim[s.yaxes[0]];
    else
        s.stacks = false;
    return s;
}

const Type *scan_stacked_type(const Scan *s, const Type *t, int64_t axis) {
    if (!s->stacks || t->rank == MAX_RANK) return NULL;
    Dim dims[MAX_RANK];
    for (int i = 0; i <= t->rank; i++) dims[i] = i == axis ? s->turns : t->dim[i - (i > axis)];
    return type_fault(t->rank + 1, dims) ? NULL : type_make(t->elem, t->rank + 1, dims);
}

int64_t scan_stack_axis(const Scan *s, const Type *t) {
    if (scan_stacked_type(s, t, 0)) return 0;
    return t->rank && scan_stacked_type(s, t, 1) ? 1 : -1;
}

Value *scan_stack(Arena *a, Scan *s, Value *v, int64_t *axis) {
    for (int64_t k = 0; k < s->n_ys; k++)
        if (s->body->results.at[s->carry + k] == v) {
            *axis = s->yaxes[k];
            return s->op->out[s->carry + k];
        }
    *axis = scan_stack_axis(s, v->type);
    if (*axis < 0) bug("%s cannot be stacked", type_name(v->type));
    Value *y = op_add_result(a, s->op, scan_stacked_type(s, v->type, *axis), v->name);
    vec_push(a, &s->body->results, v);
    int64_t *more = arena_make_n(a, int64_t, (size_t)s->n_ys + 1);
    if (s->n_ys) memcpy(more, s->yaxes, (size_t)s->n_ys * sizeof *more);
    more[s->n_ys++] = *axis;
    Attr attr = attr_ints(a, A_yaxes, more, s->n_ys);
    op_set_attr(a, s->op, attr);
    s->yaxes = more;
    return y;
}

Value *scan_slice(Arena *a, Scan *s, Value *whole, int64_t axis, const char *name) {
    Op *op = s->op;
    Dim dims[MAX_RANK];
    int n = 0;
    for (int i = 0; i < whole->type->rank; i++)
        if (i != axis) dims[n++] = whole->type->dim[i];
    Value *p = block_param(s->body, type_make(whole->type->elem, n, dims), name);
    Value **in = arena_make_n(a, Value *, (size_t)op->n_in + 1);
    int64_t at = s->carry + s->n_xs;
    if (op->n_in) memcpy(in, op->in, (size_t)op->n_in * sizeof *in);
    for (int64_t i = op->n_in; i > at; i--) in[i] = in[i - 1]; /* the number of turns stays last */
    in[at] = whole;
    op->in = in;
    op->n_in++;
    int64_t *more = arena_make_n(a, int64_t, (size_t)s->n_xs + 1);
    if (s->n_xs) memcpy(more, s->axes, (size_t)s->n_xs * sizeof *more);
    more[s->n_xs++] = axis;
    op_set_attr(a, op, attr_ints(a, A_axes, more, s->n_xs));
    s->axes = more;
    return p;
}

bool value_inside(const Op *op, const Value *v) {
    for (const Block *b = v->block; b && b->op; b = b->op->block)
        if (b->op == op) return true;
    return false;
}

static Value *replaced(Value *v, Value *const *map, int n) {
    while (v->id < n && map[v->id] && map[v->id] != v) v = map[v->id];
    return v;
}

void block_replace(Block *b, Value *const *map, int n) {
    for (Op *op = b->first; op; op = op->next) {
        for (int i = 0; i < op->n_in; i++) op->in[i] = replaced(op->in[i], map, n);
        for (int i = 0; i < op->n_blocks; i++) block_replace(op->blocks[i], map, n);
    }
    for (size_t i = 0; i < b->results.n; i++) b->results.at[i] = replaced(b->results.at[i], map, n);
}
