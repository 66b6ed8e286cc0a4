/*
 * eval_control.c - the evaluator's ops with blocks: scan, while, kernel; and those that do nothing.
 */
#include "eval_inside.h"

/* The slice of x at place t of the axis, as a value of the block's parameter type. */
static Tensor *slice_at(Eval *e, const Op *op, const Value *param, const Tensor *x, int64_t axis, int64_t t) {
    Tensor *s = tensor_new(e->options->type, param->type, e->options->batch);
    if (!s) return eval_no_memory(e, op, "there is no memory for a slice"), NULL;
    int64_t inner = 1;
    for (int i = (int)axis + 1; i < x->rank; i++) inner *= x->dim[i];
    for (int64_t k = 0; k < s->count; k++) copy_at(s, k, x, (k / inner * x->dim[axis] + t) * inner + k % inner);
    return s;
}

/* The reverse: s lands at place t of the axis of y. */
static void put_at(Tensor *y, int64_t axis, int64_t t, const Tensor *s) {
    int64_t inner = 1;
    for (int i = (int)axis + 1; i < y->rank; i++) inner *= y->dim[i];
    for (int64_t k = 0; k < s->count; k++) copy_at(y, (k / inner * y->dim[axis] + t) * inner + k % inner, s, k);
}

typedef struct Scan {
    const Op *op;
    const Block *block;
    int carry, n_xs, n_ys;
    const int64_t *axes, *yaxes;
    int64_t turns;
    Tensor **carried; /* owned */
} Scan;

static bool scan_turn(Eval *e, Scan *s, int64_t t, Tensor **results) {
    Value *const *params = s->block->params.at;
    Tensor *turn = tensor_new(e->options->type, params[0]->type, e->options->batch);
    if (!turn) return eval_no_memory(e, s->op, "there is no memory for a scalar");
    int_put(turn, 0, t);
    e->value[params[0]->id] = turn;
    for (int i = 0; i < s->carry; i++) e->value[params[1 + i]->id] = tensor_keep(s->carried[i]);
    for (int i = 0; i < s->n_xs; i++) {
        Value *p = params[1 + s->carry + i];
        if (!(e->value[p->id] = slice_at(e, s->op, p, eval_in(e, s->op, s->carry + i), s->axes[i], t))) return false;
    }
    if (!eval_block(e, s->block, results)) return false;
    for (int i = 0; i < s->carry; i++) {
        tensor_release(s->carried[i]);
        s->carried[i] = results[i];
    }
    for (int i = 0; i < s->n_ys; i++) {
        put_at(e->value[s->op->out[s->carry + i]->id], s->yaxes[i], t, results[s->carry + i]);
        tensor_release(results[s->carry + i]);
    }
    return true;
}

/* The number of turns, which must be the length of everything that is sliced or stacked. */
static bool scan_turns(Eval *e, Scan *s) {
    int64_t trip = op_int(s->op, A_trip);
    s->turns = trip >= 0 ? trip : int_at(eval_in(e, s->op, s->op->n_in - 1), 0);
    if (s->turns < 0) s->turns = 0;
    for (int i = 0; i < s->n_xs; i++) {
        int64_t n = eval_in(e, s->op, s->carry + i)->dim[s->axes[i]];
        if (s->turns != n) return eval_fault(e, s->op, s->turns, "%" PRId64 " turns over %" PRId64 " places", s->turns, n);
    }
    for (int i = 0; i < s->n_ys; i++) {
        int64_t n = e->value[s->op->out[s->carry + i]->id]->dim[s->yaxes[i]];
        if (s->turns != n) return eval_fault(e, s->op, s->turns, "%" PRId64 " turns yield %" PRId64 " places", s->turns, n);
    }
    return true;
}

/* init: carry values, xs: tensors with the turns along axes[i], count: i32 if trip is -1 -> carry values, then yields with the
 * turns along yaxes[i]. */
bool eval_scan(Eval *e, const Op *op) {
    Scan s = {.op = op, .block = op->blocks[0], .carry = (int)op_int(op, A_carry)};
    s.n_xs = (int)op_ints(op, A_axes, &s.axes);
    s.n_ys = (int)op_ints(op, A_yaxes, &s.yaxes);
    for (int i = 0; i < s.n_ys; i++)
        if (!eval_out(e, op, s.carry + i)) return false;
    if (!scan_turns(e, &s)) return false;
    s.carried = calloc((size_t)(2 * s.carry + s.n_ys) + 1, sizeof *s.carried);
    if (!s.carried) return eval_no_memory(e, op, "there is no memory for a scan");
    Tensor **results = s.carried + s.carry;
    for (int i = 0; i < s.carry; i++) s.carried[i] = tensor_keep(eval_in(e, op, i));
    bool ok = true, reverse = op_int(op, A_reverse) != 0;
    for (int64_t k = 0; k < s.turns && ok; k++) ok = scan_turn(e, &s, reverse ? s.turns - 1 - k : k, results);
    for (int i = 0; i < s.carry; i++) e->value[op->out[i]->id] = s.carried[i];
    free(s.carried);
    return ok;
}

static void set_params(Eval *e, const Block *b, Tensor *const *carried) {
    for (size_t i = 0; i < b->params.n; i++) e->value[b->params.at[i]->id] = tensor_keep(carried[i]);
}

/* init -> the carried values when the condition is false, or after `max` turns. */
bool eval_while(Eval *e, const Op *op) {
    Tensor **carried = calloc(2 * (size_t)op->n_in + 1, sizeof *carried), **next = carried + op->n_in;
    if (!carried) return eval_no_memory(e, op, "there is no memory for a loop");
    for (int i = 0; i < op->n_in; i++) carried[i] = tensor_keep(eval_in(e, op, i));
    bool ok = true;
    int64_t max = op_int(op, A_max);
    for (int64_t turn = 0; turn < max && ok; turn++) {
        Tensor *more = NULL;
        set_params(e, op->blocks[0], carried);
        if (!(ok = eval_block(e, op->blocks[0], &more))) break;
        bool go = int_at(more, 0) != 0;
        tensor_release(more);
        if (!go) break;
        set_params(e, op->blocks[1], carried);
        if (!(ok = eval_block(e, op->blocks[1], next))) break;
        for (int i = 0; i < op->n_in; i++) {
            tensor_release(carried[i]);
            carried[i] = next[i];
        }
    }
    for (int i = 0; i < op->n_in; i++) e->value[op->out[i]->id] = carried[i];
    free(carried);
    return ok;
}

/* A kernel means what its ops mean. */
bool eval_kernel(Eval *e, const Op *op) {
    Tensor **results = calloc((size_t)op->n_out + 1, sizeof *results);
    if (!results) return eval_no_memory(e, op, "there is no memory for a kernel");
    bool ok = eval_block(e, op->blocks[0], results);
    for (int i = 0; i < op->n_out && ok; i++) e->value[op->out[i]->id] = results[i];
    free(results);
    return ok;
}

bool eval_copy(Eval *e, const Op *op) {
    e->value[op->out[0]->id] = tensor_keep(eval_in(e, op, 0));
    return true;
}

bool eval_refuse(Eval *e, const Op *op) {
    (void)e;
    bug("the evaluator was asked for an op `%s`, which autodiff must expand first", op_info[op->code].name);
}
