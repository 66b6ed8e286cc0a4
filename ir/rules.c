/*
 * rules.c - op_infer: the type rule of every op. Here stand the frame, the elementwise ops, and the values that come from
 * nothing; rules_shape.c has the ops that move elements, rules_sum.c products, sums and windows, rules_control.c the ops with
 * blocks and grad.
 */
#include "rules.h"

#include <math.h>
#include <string.h>

/* ---- the frame ---- */

const char *rule_fault(Rule *r, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *s = arena_vprintf(r->arena, format, args);
    va_end(args);
    return s;
}

const Type *rule_in(const Rule *r, int i) { return r->op->in[i]->type; }

const char *rule_result(Rule *r, int i, Elem elem, const Shape *shape) {
    const char *why = type_fault(shape->rank, shape->dim);
    if (why) return why;
    r->types[i] = type_make(elem, shape->rank, shape->dim);
    return NULL;
}

const char *rule_axis(Rule *r, int64_t axis, int rank) {
    if (axis >= 0 && axis < rank) return NULL;
    return rule_fault(r, "axis %" PRId64 " is outside a tensor of %d dimension%s", axis, rank, rank == 1 ? "" : "s");
}

const char *rule_axes(Rule *r, const int64_t *axes, int64_t n, int rank) {
    for (int64_t i = 0; i < n; i++) {
        const char *why = rule_axis(r, axes[i], rank);
        if (why) return why;
        if (i && axes[i] <= axes[i - 1]) return "the axes are not in increasing order";
    }
    return NULL;
}

const char *rule_length(Rule *r, AttrKey key, int64_t want) {
    int64_t n = op_ints(r->op, key, NULL);
    if (n == want) return NULL;
    return rule_fault(r, "`%s` has %" PRId64 " number%s, not %" PRId64, attr_name(key), n, n == 1 ? "" : "s", want);
}

typedef const char *RuleFn(Rule *r);
static RuleFn *const rules[OP_COUNT] = {
#define OP(name, operands, attributes, rule, ...) [OP_##name] = infer_##rule,
#include "ops.def"
#undef OP
};

int op_block_count(OpCode code) {
    if (code == OP_scan || code == OP_kernel) return 1;
    return code == OP_while ? 2 : 0;
}

/* How many results an op with these operands, attributes and blocks has; they are in order when this is asked. */
static int op_result_count(const Op *op) {
    if (op->code == OP_sort || op->code == OP_top_k) return 2;
    if (op->code == OP_scan || op->code == OP_kernel) return (int)op->blocks[0]->results.n;
    if (op->code == OP_while) return op->n_in;
    if (op->code == OP_grad) return op->n_in - 1;
    return 1;
}

static const char *op_shape_fault(Arena *a, const Op *op) {
    const OpInfo *info = &op_info[op->code];
    if (op->n_in < info->min_in || (info->max_in >= 0 && op->n_in > info->max_in))
        return arena_printf(a, "`%s` takes %s%d operand%s, not %d", info->name,
                            info->max_in == info->min_in ? ""
                            : info->max_in < 0           ? "at least "
                                                         : "up to ",
                            info->max_in < 0 ? info->min_in : info->max_in,
                            info->max_in == 1 || (info->max_in < 0 && info->min_in == 1) ? "" : "s", op->n_in);
    if (op->n_attrs != info->n_attrs)
        return arena_printf(a, "`%s` has %d attribute%s (%s), not %d", info->name, info->n_attrs, info->n_attrs == 1 ? "" : "s",
                            info->attr_names, op->n_attrs);
    for (int i = 0; i < op->n_attrs; i++) {
        if (op->attrs[i].key != info->attrs[i])
            return arena_printf(a, "attribute %d of `%s` is `%s`, not `%s`", i + 1, info->name, attr_name(info->attrs[i]),
                                attr_name(op->attrs[i].key));
        if (attr_kind(op->attrs[i].key) == ATTR_STR && !op->attrs[i].s)
            return arena_printf(a, "attribute `%s` is empty", attr_name(op->attrs[i].key));
    }
    if (op->n_blocks != op_block_count(op->code))
        return arena_printf(a, "`%s` has %d block%s, not %d", info->name, op_block_count(op->code),
                            op_block_count(op->code) == 1 ? "" : "s", op->n_blocks);
    for (int i = 0; i < op->n_in; i++)
        if (!op->in[i] || !op->in[i]->type) return arena_printf(a, "operand %d of `%s` has no type", i + 1, info->name);
    if (op->n_out != op_result_count(op))
        return arena_printf(a, "`%s` has %d result%s here, not %d", info->name, op_result_count(op),
                            op_result_count(op) == 1 ? "" : "s", op->n_out);
    return NULL;
}

const char *op_infer(Arena *a, const Op *op, const Type **types) {
    const char *why = op_shape_fault(a, op);
    if (why) return why;
    for (int i = 0; i < op->n_out; i++) types[i] = op->out[i] ? op->out[i]->type : NULL;
    Rule r = {a, op, types, op->n_out};
    if ((why = rules[op->code](&r))) return why;
    for (int i = 0; i < op->n_out; i++)
        if ((why = type_fault(types[i]->rank, types[i]->dim))) return why;
    return NULL;
}

/* ---- elementwise ---- */

/* All operands from `first` on have the type of operand `first`. */
static const char *same_types(Rule *r, int first) {
    for (int i = first + 1; i < r->op->n_in; i++)
        if (rule_in(r, i) != rule_in(r, first))
            return rule_fault(r, "the operands of `%s` differ (%s, %s)", op_info[r->op->code].name, type_name(rule_in(r, first)),
                              type_name(rule_in(r, i)));
    return NULL;
}

const char *infer_same_any(Rule *r) {
    r->types[0] = rule_in(r, 0);
    return same_types(r, 0);
}

const char *infer_same_number(Rule *r) {
    if (!elem_is_number(rule_in(r, 0)->elem))
        return rule_fault(r, "`%s` wants numbers, not %s", op_info[r->op->code].name, type_name(rule_in(r, 0)));
    return infer_same_any(r);
}

const char *infer_same_float(Rule *r) {
    if (!elem_is_float(rule_in(r, 0)->elem))
        return rule_fault(r, "`%s` wants floats, not %s", op_info[r->op->code].name, type_name(rule_in(r, 0)));
    return infer_same_any(r);
}

const char *infer_same_bool(Rule *r) {
    if (rule_in(r, 0)->elem != BOOL)
        return rule_fault(r, "`%s` wants bools, not %s", op_info[r->op->code].name, type_name(rule_in(r, 0)));
    return infer_same_any(r);
}

const char *infer_compare(Rule *r) {
    const char *why = same_types(r, 0);
    if (why) return why;
    bool ordered = r->op->code != OP_eq && r->op->code != OP_ne;
    if (ordered && rule_in(r, 0)->elem == BOOL)
        return rule_fault(r, "`%s` wants numbers: bools have no order", op_info[r->op->code].name);
    r->types[0] = type_with_elem(rule_in(r, 0), BOOL);
    return NULL;
}

const char *infer_mix(Rule *r) {
    const Type *key = rule_in(r, 0), *i = rule_in(r, 1);
    if (key->elem != I64 || !elem_is_int(i->elem))
        return rule_fault(r, "`mix` wants an i64 key and an integer, not %s and %s", type_name(key), type_name(i));
    if (!type_same_shape(key, i))
        return rule_fault(r, "the operands of `mix` differ in shape (%s, %s)", type_name(key), type_name(i));
    r->types[0] = key;
    return NULL;
}

const char *infer_select(Rule *r) {
    const Type *c = rule_in(r, 0), *x = rule_in(r, 1);
    if (c->elem != BOOL) return rule_fault(r, "the condition of `select` is %s, not bool", type_name(c));
    const char *why = same_types(r, 1);
    if (why) return why;
    if (!type_same_shape(c, x))
        return rule_fault(r, "the operands of `select` differ in shape (%s, %s)", type_name(c), type_name(x));
    r->types[0] = x;
    return NULL;
}

/* ---- result type given ---- */

static const char *given(Rule *r) {
    return r->types[0] ? NULL : rule_fault(r, "the result of `%s` has no type", op_info[r->op->code].name);
}

const char *infer_convert(Rule *r) {
    const char *why = given(r);
    if (why) return why;
    if (!type_same_shape(r->types[0], rule_in(r, 0)))
        return rule_fault(r, "`convert` keeps the shape: %s cannot become %s", type_name(rule_in(r, 0)), type_name(r->types[0]));
    return NULL;
}

/* The largest and smallest value of an integer type; the ends of i64 are not doubles: 2^63 itself is outside. */
static bool elem_holds(Elem e, double v) {
    switch (e) {
    case F32: return isnan(v) || (double)(float)v == v;
    case F64: return true;
    case I32: return v == trunc(v) && v >= INT32_MIN && v <= INT32_MAX;
    case I64: return v == trunc(v) && v >= -0x1p63 && v < 0x1p63;
    case U8: return v == trunc(v) && v >= 0 && v <= 255;
    case BOOL: return v == 0 || v == 1;
    }
    return false;
}

const char *infer_constant(Rule *r) {
    const char *why = given(r);
    if (why) return why;
    double v = op_real(r->op, A_value);
    return elem_holds(r->types[0]->elem, v) ? NULL : rule_fault(r, "%s cannot hold %.17g", elem_name(r->types[0]->elem), v);
}

const char *infer_literal(Rule *r) {
    const char *why = given(r);
    if (why) return why;
    const Type *t = r->types[0];
    const Attr *values = op_attr(r->op, A_values);
    if (type_has_batch(t)) return "a literal has no batch dimension";
    if (type_count(t, 1) != values->reals.n)
        return rule_fault(r, "%s has %" PRId64 " elements, but %" PRId64 " values are given", type_name(t), type_count(t, 1),
                          values->reals.n);
    for (int64_t i = 0; i < values->reals.n; i++)
        if (!elem_holds(t->elem, values->reals.at[i]))
            return rule_fault(r, "%s cannot hold %.17g", elem_name(t->elem), values->reals.at[i]);
    return NULL;
}

const char *infer_iota(Rule *r) {
    const char *why = given(r);
    if (why) return why;
    if (r->types[0]->elem == BOOL) return "`iota` makes numbers, not bools";
    return rule_axis(r, op_int(r->op, A_axis), r->types[0]->rank);
}

const char *infer_batch(Rule *r) {
    r->types[0] = type_scalar(I32);
    return NULL;
}

const char *infer_uniform(Rule *r) {
    const char *why = given(r);
    if (why) return why;
    for (int i = 0; i < r->op->n_in; i++)
        if (rule_in(r, i) != type_scalar(I64))
            return rule_fault(r, "the %s of `uniform` is %s, not i64", i ? "first index" : "key", type_name(rule_in(r, i)));
    const Type *t = r->types[0];
    if (t->elem != F32) return rule_fault(r, "`uniform` makes f32, not %s", type_name(t));
    if (r->op->n_in == 2 && t->rank == 0) return "`uniform` with a first index wants a leading axis to count on";
    return NULL;
}
