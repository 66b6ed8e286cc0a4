/*
 * rules_control.c - type rules of scan, while, kernel (ops with blocks) and of grad.
 *
 * scan   operands: `carry` initial values, then one tensor for each of `axes` (its slices along that axis go in), then, if trip
 * is -1, the number of turns. Block: (t: i32, carried.., slices..) -> (carried.., yields..). Results: carried.., yields stacked
 * along yaxes.. With trip -1 the turns are run-time: B or a multiple of it where something is sliced or stacked (that axis is a
 * batch axis then). while  operands: initial values. Blocks: (carried..) -> bool and (carried..) -> (carried..). kernel no
 * operands, no parameters: its block uses values from outside and its results are the block's.
 */
#include "rules.h"

#include <string.h>

static const char *block_params(Rule *r, const Block *b, size_t want) {
    if (b->params.n == want) return NULL;
    return rule_fault(r, "the block has %zu parameter%s, not %zu", b->params.n, b->params.n == 1 ? "" : "s", want);
}

static const char *want_type(Rule *r, const char *what, int i, const Type *have, const Type *want) {
    if (have == want) return NULL;
    return rule_fault(r, "%s %d is %s, not %s", what, i + 1, type_name(have), type_name(want));
}

/* The type without one axis. */
static const Type *without_axis(const Type *t, int64_t axis) {
    Dim dims[MAX_RANK];
    int n = 0;
    for (int i = 0; i < t->rank; i++)
        if (i != axis) dims[n++] = t->dim[i];
    return type_make(t->elem, n, dims);
}

/* Operands: right number, and all sliced axes of one length, which is `turns`. */
static const char *scan_operands(Rule *r, int64_t carry, int64_t n_xs, const int64_t *axes, int64_t trip, Dim *turns) {
    const Op *op = r->op;
    if (carry < 0 || carry > op->n_in) return rule_fault(r, "`carry` is %" PRId64 ", with %d operands", carry, op->n_in);
    if (trip < -1) return rule_fault(r, "`trip` is %" PRId64, trip);
    if (op->n_in != carry + n_xs + (trip < 0))
        return rule_fault(r, "`scan` has %d operands, not %" PRId64, op->n_in, carry + n_xs + (trip < 0));
    if (trip < 0 && rule_in(r, op->n_in - 1) != type_scalar(I32))
        return rule_fault(r, "the number of turns is %s, not i32", type_name(rule_in(r, op->n_in - 1)));
    *turns = trip < 0 ? (Dim){1, true} : (Dim){trip, false};
    for (int64_t k = 0; k < n_xs; k++) {
        const Type *x = rule_in(r, (int)(carry + k));
        const char *why = rule_axis(r, axes[k], x->rank);
        if (why) return why;
        if (trip < 0 && k == 0 && x->dim[axes[k]].batch) *turns = x->dim[axes[k]];
        if (!dim_same(x->dim[axes[k]], *turns))
            return rule_fault(r, "axis %" PRId64 " of %s does not have the %s places of the scan", axes[k], type_name(x),
                              dim_text(*turns));
    }
    return NULL;
}

const char *infer_scan(Rule *r) {
    const Op *op = r->op;
    const Block *b = op->blocks[0];
    const int64_t *axes, *yaxes;
    int64_t carry = op_int(op, A_carry), trip = op_int(op, A_trip), n_xs = op_ints(op, A_axes, &axes),
            n_ys = op_ints(op, A_yaxes, &yaxes);
    Dim turns;
    const char *why;
    if ((why = scan_operands(r, carry, n_xs, axes, trip, &turns)) || (why = block_params(r, b, (size_t)(1 + carry + n_xs))))
        return why;
    if ((int64_t)b->results.n != carry + n_ys)
        return rule_fault(r, "the block has %zu results, not %" PRId64, b->results.n, carry + n_ys);
    if ((why = want_type(r, "parameter", 0, b->params.at[0]->type, type_scalar(I32)))) return why;
    for (int64_t k = 0; k < carry; k++) {
        if ((why = want_type(r, "parameter", (int)k + 1, b->params.at[k + 1]->type, rule_in(r, (int)k))) ||
            (why = want_type(r, "carried value", (int)k, b->results.at[k]->type, rule_in(r, (int)k))))
            return why;
        r->types[k] = rule_in(r, (int)k);
    }
    for (int64_t k = 0; k < n_xs; k++)
        if ((why = want_type(r, "parameter", (int)(1 + carry + k), b->params.at[1 + carry + k]->type,
                             without_axis(rule_in(r, (int)(carry + k)), axes[k]))))
            return why;
    for (int64_t k = 0; k < n_ys; k++) {
        const Type *y = b->results.at[carry + k]->type;
        if ((why = rule_axis(r, yaxes[k], y->rank + 1))) return why;
        Shape s = {.rank = y->rank + 1};
        for (int i = 0; i < s.rank; i++) s.dim[i] = i == yaxes[k] ? turns : y->dim[i - (i > yaxes[k])];
        if ((why = rule_result(r, (int)(carry + k), y->elem, &s))) return why;
    }
    return NULL;
}

const char *infer_while(Rule *r) {
    const Op *op = r->op;
    const Block *cond = op->blocks[0], *body = op->blocks[1];
    const char *why;
    if (op_int(op, A_max) < 0) return rule_fault(r, "`max` is %" PRId64, op_int(op, A_max));
    if ((why = block_params(r, cond, (size_t)op->n_in)) || (why = block_params(r, body, (size_t)op->n_in))) return why;
    if (cond->results.n != 1) return rule_fault(r, "the condition has %zu results, not 1", cond->results.n);
    if ((why = want_type(r, "result of the condition", 0, cond->results.at[0]->type, type_scalar(BOOL)))) return why;
    if (body->results.n != (size_t)op->n_in) return rule_fault(r, "the body has %zu results, not %d", body->results.n, op->n_in);
    for (int i = 0; i < op->n_in; i++) {
        const Type *t = rule_in(r, i);
        if ((why = want_type(r, "parameter of the condition", i, cond->params.at[i]->type, t)) ||
            (why = want_type(r, "parameter of the body", i, body->params.at[i]->type, t)) ||
            (why = want_type(r, "carried value", i, body->results.at[i]->type, t)))
            return why;
        r->types[i] = t;
    }
    return NULL;
}

const char *infer_kernel(Rule *r) {
    const Block *b = r->op->blocks[0];
    const char *why = block_params(r, b, 0);
    if (why) return why;
    for (size_t i = 0; i < b->results.n; i++) r->types[i] = b->results.at[i]->type;
    return NULL;
}

const char *infer_grad(Rule *r) {
    const Type *loss = rule_in(r, 0);
    if (loss->rank || !elem_is_float(loss->elem))
        return rule_fault(r, "the loss is %s, not a floating-point scalar", type_name(loss));
    for (int i = 1; i < r->op->n_in; i++) {
        if (!elem_is_float(rule_in(r, i)->elem))
            return rule_fault(r, "there is no gradient with respect to %s", type_name(rule_in(r, i)));
        r->types[i - 1] = rule_in(r, i);
    }
    return NULL;
}
