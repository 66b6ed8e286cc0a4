/*
 * elab_operator.c - operators between values: numbers are computed here and now, tensors become ops, lists are joined and
 * compared. And the choice between two values.
 */
#include "elab.h"

#include "ir/math.h"

#include <math.h>

/* ---- numbers ---- */

static const OpCode number_ops[] = {[OPERATOR_EQ] = OP_eq,
                                    [OPERATOR_NE] = OP_ne,
                                    [OPERATOR_LT] = OP_lt,
                                    [OPERATOR_LE] = OP_le,
                                    [OPERATOR_GT] = OP_gt,
                                    [OPERATOR_GE] = OP_ge,
                                    [OPERATOR_ADD] = OP_add,
                                    [OPERATOR_SUB] = OP_sub,
                                    [OPERATOR_MUL] = OP_mul,
                                    [OPERATOR_DIV] = OP_div,
                                    [OPERATOR_FLOORDIV] = OP_floor_div,
                                    [OPERATOR_MOD] = OP_mod,
                                    [OPERATOR_POW] = OP_pow};

static bool is_comparison(AstOperator op) { return op >= OPERATOR_EQ && op <= OPERATOR_GE; }

static Val compare(AstOperator op, double a, double b) {
    switch ((int)op) {
    case OPERATOR_EQ: return val_bool(a == b);
    case OPERATOR_NE: return val_bool(a != b);
    case OPERATOR_LT: return val_bool(a < b);
    case OPERATOR_LE: return val_bool(a <= b);
    case OPERATOR_GT: return val_bool(a > b);
    default: return val_bool(a >= b);
    }
}

static Val arithmetic(Elab *e, AstOperator op, double a, double b, Loc at) {
    switch ((int)op) {
    case OPERATOR_ADD: return val_number(a + b);
    case OPERATOR_SUB: return val_number(a - b);
    case OPERATOR_MUL: return val_number(a * b);
    case OPERATOR_POW: return val_number(pow(a, b));
    default: break;
    }
    if (b == 0) return elab_error(e, at, 207, "division by zero");
    if (op == OPERATOR_DIV) return val_number(a / b);
    return val_number(op == OPERATOR_FLOORDIV ? math_floor_div64(a, b) : math_mod64(a, b));
}

/* Arithmetic of multiples of B, where the result is one again or B falls out. */
static bool batch_arithmetic(AstOperator op, Val a, Val b, Val *out) {
    Val r = val_number(0);
    bool both = a.batch && b.batch;
    if (both && is_comparison(op)) {
        *out = compare(op, a.num, b.num);
        return true;
    }
    switch ((int)op) {
    case OPERATOR_ADD:
    case OPERATOR_SUB:
        if (!both && !(a.num == 0 && !a.batch && op == OPERATOR_ADD) && !(b.num == 0 && !b.batch)) return false;
        r.num = op == OPERATOR_ADD ? a.num + b.num : a.num - b.num;
        r.batch = r.num != 0;
        break;
    case OPERATOR_MUL:
        if (both) return false;
        r.num = a.num * b.num;
        r.batch = r.num != 0;
        break;
    case OPERATOR_DIV:
    case OPERATOR_FLOORDIV:
        if (b.num == 0 || !a.batch) return false;
        r.num = a.num / b.num;
        r.batch = !b.batch;
        if (op == OPERATOR_FLOORDIV && r.num != floor(r.num)) return false;
        break;
    default: return false;
    }
    *out = r;
    return true;
}

Val number_binary(Elab *e, AstOperator op, Val a, Val b, Loc at) {
    if (a.kind == VAL_NUMBER && b.kind == VAL_NUMBER) {
        Val r;
        if (!a.batch && !b.batch) return is_comparison(op) ? compare(op, a.num, b.num) : arithmetic(e, op, a.num, b.num, at);
        if (batch_arithmetic(op, a, b, &r)) return r;
    }
    bool whole = val_always_whole(a) && val_always_whole(b);
    /* of whole numbers `//` and `%` by 0 end the program (E8): as integers they do */
    bool checked = whole && (op == OPERATOR_FLOORDIV || op == OPERATOR_MOD) && b.kind == VAL_SCALAR;
    Elem elem = checked ? I64 : F64;
    Value *x = number_as(e, a, elem, at), *y = number_as(e, b, elem, at);
    Value *r = emit_binary(e, number_ops[op], x, y);
    if (checked) r = emit_convert(e, r, F64);
    if (is_comparison(op)) return val_tensor(r);
    return val_scalar(r, whole && op != OPERATOR_DIV && (op != OPERATOR_POW || (b.kind == VAL_NUMBER && !b.batch && b.num >= 0)));
}

/* ---- tensors ---- */

/* The element type two operands share, or an error. Numbers take the other's. */
static bool common_elem(Elab *e, Val a, Val b, Loc at, Elem *elem) {
    const Type *x = a.kind == VAL_TENSOR ? a.t.value->type : NULL, *y = b.kind == VAL_TENSOR ? b.t.value->type : NULL;
    if (x && y && x->elem != y->elem) {
        elab_error(e, at, 201, "the element types differ: %s and %s", type_name(x), type_name(y));
        elab_note(e, (Loc){0}, "between tensors nothing converts by itself: %s(...) converts",
                  elem_name(elem_is_float(x->elem) || !elem_is_float(y->elem) ? x->elem : y->elem));
        return false;
    }
    *elem = x ? x->elem : y->elem;
    return true;
}

/* Both as values of the same type. */
static bool together(Elab *e, Val a, Val b, Loc at, Value **x, Value **y) {
    Elem elem;
    if (!common_elem(e, a, b, at, &elem)) return false;
    if (a.kind == VAL_TENSOR && b.kind == VAL_TENSOR) {
        int rank;
        Dim dims[MAX_RANK];
        if (!broadcast_shape(e, at, a.t.value->type, b.t.value->type, &rank, dims)) return false;
        *x = emit_broadcast(e, a.t.value, rank, dims);
        *y = emit_broadcast(e, b.t.value, rank, dims);
    } else {
        const Type *t = (a.kind == VAL_TENSOR ? a : b).t.value->type;
        *x = tensor_to(e, a, t, at);
        *y = tensor_to(e, b, t, at);
    }
    return *x && *y;
}

/* Two operands of any kind, at least one a tensor, as values of one type. */
bool expr_pair(Elab *e, Val a, Val b, Loc at, Value **x, Value **y) {
    if (!val_is_number(a)) a = val_tensor(tensor_of(e, a, at));
    if (!val_is_number(b)) b = val_tensor(tensor_of(e, b, at));
    if (a.kind == VAL_ERROR || b.kind == VAL_ERROR) return false;
    return together(e, a, b, at, x, y);
}

/* ---- powers ---- */

/* x^n, n >= 0, by repeated squaring; integers wrap as products do. */
static Value *power_constant(Elab *e, Value *x, int64_t n) {
    Value *r = NULL;
    for (; n; n /= 2) {
        if (n % 2) r = r ? emit_binary(e, OP_mul, x, r) : x;
        if (n > 1) x = emit_binary(e, OP_mul, x, x);
    }
    return r ? r : emit_constant(e, x->type, 1);
}

/* x^n of integers, n >= 0: for each bit of n from the highest, r <- r^2, times x where it is set. Each bit is six ops that have no
 * branch, which is less than a call of pow. */
static Value *power_of_bits(Elab *e, Value *x, Value *n) {
    const Type *t = x->type;
    Value *r = emit_constant(e, t, 1);
    for (int bit = (int)elem_size(t->elem) * 8 - (t->elem == U8 ? 1 : 2); bit >= 0; bit--) {
        Value *place = emit_constant(e, t, ldexp(1, bit)), *set = emit_binary(e, OP_ge, n, place);
        r = emit_binary(e, OP_mul, r, r);
        r = emit_select(e, set, emit_binary(e, OP_mul, r, x), r);
        if (bit) n = emit_select(e, set, emit_binary(e, OP_sub, n, place), n);
    }
    return r;
}

/* x^n of integers, where n is a tensor. Below 0 it is 1 / x^-n, cut off like any float that becomes an integer: 1 and -1 stay what
 * x^-n is, of 0 the largest comes, of all others 0. */
static Value *power_of_ints(Elab *e, Value *x, Value *n) {
    const Type *t = x->type;
    if (t->elem == U8) return power_of_bits(e, x, n);
    Value *one = emit_constant(e, t, 1), *zero = emit_constant(e, t, 0);
    Value *r = power_of_bits(e, x, emit_unary(e, OP_abs, n));
    Value *most = emit_convert(e, emit_constant(e, type_make(F64, t->rank, t->dim), 0x1p70), t->elem);
    Value *unit = emit_binary(e, OP_eq, emit_unary(e, OP_abs, x), one);
    Value *below = emit_select(e, unit, r, emit_select(e, emit_binary(e, OP_eq, x, zero), most, zero));
    return emit_select(e, emit_binary(e, OP_lt, n, zero), below, r);
}

/* x^n of integers with a constant n < 0: through f64, where all but 0, 1 and -1 are cut off to 0 */
static Val power_below_zero(Elab *e, Val a, Val n, Loc at) {
    Value *x, *y;
    Elem elem = a.t.value->type->elem;
    if (!together(e, val_tensor(emit_convert(e, a.t.value, F64)), n, at, &x, &y)) return val_error();
    return val_tensor(emit_convert(e, emit_binary(e, OP_pow, x, y), elem));
}

/* x^n. Squares and cubes are products, and so are all powers of integers. */
static Val power(Elab *e, Val a, Val b, Loc at) {
    Value *x, *y;
    Elem elem;
    if (!common_elem(e, a, b, at, &elem)) return val_error();
    bool whole = elem_is_int(elem);
    if (a.kind == VAL_TENSOR && b.kind == VAL_NUMBER && !b.batch) {
        if (whole && !number_fits(e, b.num, elem, at)) return val_error();
        if (whole ? b.num >= 0 : b.num == 1 || b.num == 2 || b.num == 3)
            return val_tensor(power_constant(e, a.t.value, (int64_t)b.num));
        if (whole) return power_below_zero(e, a, b, at);
    }
    if (!together(e, a, b, at, &x, &y)) return val_error();
    return val_tensor(whole ? power_of_ints(e, x, y) : emit_binary(e, OP_pow, x, y));
}

static Val list_binary(Elab *e, AstOperator op, Val a, Val b, Loc at) {
    if (a.kind == VAL_LIST && b.kind == VAL_LIST && op == OPERATOR_ADD) {
        if (a.list->n + b.list->n > LIMIT_LIST) return elab_error(e, at, 219, "a list has at most %d elements", (int)LIMIT_LIST);
        if (!elab_work(e, at, (int64_t)(a.list->n + b.list->n))) return val_error();
        ValList *l = arena_make(e->a, ValList);
        l->n = a.list->n + b.list->n;
        l->at = arena_make_n(e->a, Val, l->n + 1);
        for (size_t i = 0; i < l->n; i++) l->at[i] = i < a.list->n ? a.list->at[i] : b.list->at[i - a.list->n];
        return (Val){.kind = VAL_LIST, .list = l};
    }
    bool equality = op == OPERATOR_EQ || op == OPERATOR_NE;
    if (equality && a.kind == b.kind) {
        bool same = true;
        if (a.kind == VAL_STRING)
            same = a.text == b.text;
        else if (a.kind == VAL_BOOL)
            same = a.truth == b.truth;
        else if (a.kind == VAL_LIST) {
            same = a.list->n == b.list->n;
            for (size_t i = 0; same && i < a.list->n; i++) {
                if (!elab_work(e, at, 1)) return val_error();
                Val s = expr_binary(e, OPERATOR_EQ, a.list->at[i], b.list->at[i], at);
                if (s.kind != VAL_BOOL)
                    return s.kind == VAL_ERROR ? s
                                               : elab_error(e, at, 103, "these lists hold more than numbers, strings and bools");
                same = s.truth;
            }
        } else if (a.kind == VAL_FUNCTION)
            same = a.fn->name == b.fn->name;
        else
            return elab_error(e, at, 103, "%s and %s cannot be compared", val_text(e, a), val_text(e, b));
        return val_bool(same == (op == OPERATOR_EQ));
    }
    if (op == OPERATOR_ADD && a.kind == VAL_STRING && b.kind == VAL_STRING && strlen(a.text) + strlen(b.text) > LIMIT_STRING)
        return elab_error(e, at, 219, "a string has at most %d bytes", (int)LIMIT_STRING);
    if (op == OPERATOR_ADD && a.kind == VAL_STRING && b.kind == VAL_STRING)
        return val_string(intern_printf("%s%s", a.text, b.text));
    elab_error(e, at, 103, "`%s` does not work on %s and %s", ast_operator_text(op), val_text(e, a), val_text(e, b));
    bool tensors = a.kind == VAL_TENSOR || b.kind == VAL_TENSOR || val_is_number(a) || val_is_number(b);
    if (tensors && (a.kind == VAL_LIST || b.kind == VAL_LIST)) hint_list(e, a.kind == VAL_LIST ? a : b);
    if (tensors && (a.kind == VAL_STRING || b.kind == VAL_STRING))
        elab_note(e, (Loc){0}, "{name} in a string stands for a value: \"loss {loss}\"");
    return val_error();
}

static bool is_plain(Val v) { return v.kind == VAL_LIST || v.kind == VAL_STRING || v.kind == VAL_BOOL || v.kind == VAL_FUNCTION; }

static bool check_operand(Elab *e, AstOperator op, Elem elem, const Type *t, Loc at) {
    if (op == OPERATOR_DIV && elem_is_int(elem)) {
        elab_error(e, at, 216, "`/` of integers (%s)", type_name(t));
        elab_note(e, (Loc){0}, "`//` rounds down; f32(...) converts");
        return false;
    }
    if (elem == BOOL && op != OPERATOR_EQ && op != OPERATOR_NE) {
        elab_error(e, at, 201, "`%s` of bools (%s)", ast_operator_text(op), type_name(t));
        elab_note(e, (Loc){0}, "f32(...) or i32(...) makes 0 and 1 of them");
        return false;
    }
    return true;
}

static Val expr_matmul(Elab *e, Val a, Val b, Loc at);

Val expr_binary(Elab *e, AstOperator op, Val a, Val b, Loc at) {
    if (a.kind == VAL_ERROR || b.kind == VAL_ERROR) return val_error();
    emit_at(e, at);
    if (op == OPERATOR_MATMUL) return expr_matmul(e, a, b, at);
    if (val_is_number(a) && val_is_number(b)) return number_binary(e, op, a, b, at);
    if (is_plain(a) && is_plain(b)) return list_binary(e, op, a, b, at);
    if ((a.kind == VAL_LIST || b.kind == VAL_LIST || a.kind == VAL_STRING || b.kind == VAL_STRING))
        return list_binary(e, op, a, b, at);
    if (!val_is_number(a)) a = val_tensor(tensor_of(e, a, at));
    if (!val_is_number(b)) b = val_tensor(tensor_of(e, b, at));
    if (a.kind == VAL_ERROR || b.kind == VAL_ERROR) return val_error();
    Elem elem;
    if (!common_elem(e, a, b, at, &elem)) return val_error();
    if (!check_operand(e, op, elem, (a.kind == VAL_TENSOR ? a : b).t.value->type, at)) return val_error();
    if (op == OPERATOR_POW) return power(e, a, b, at);
    Value *x, *y;
    if (!together(e, a, b, at, &x, &y)) return val_error();
    return val_tensor(emit_binary(e, number_ops[op], x, y));
}

/* a @ b as in NumPy: vectors, matrices, and leading axes that broadcast. An axis of one place beside a longer one is dropped, so
 * that one product does it all. */
static Val expr_matmul(Elab *e, Val a, Val b, Loc at) {
    if (val_is_number(a) || val_is_number(b)) {
        elab_error(e, at, 204, "`@` is a product of tensors: %s stands beside it", val_text(e, val_is_number(a) ? a : b));
        elab_note(e, (Loc){0}, "`*` multiplies by a number; `x / 16 @ W` means x / (16 @ W)");
        return val_error();
    }
    Value *x = tensor_of(e, a, at), *y = tensor_of(e, b, at);
    if (!x || !y) return val_error();
    const Type *s = x->type, *t = y->type;
    if (s->elem != t->elem || s->elem == BOOL) {
        elab_error(e, at, 201, "the element types of a matrix product differ or are bool: %s and %s", type_name(s), type_name(t));
        return val_error();
    }
    if (!s->rank || !t->rank)
        return elab_error(e, at, 204, "matrix product of %s and %s: a scalar is no matrix", type_name(s), type_name(t));
    Dim k1 = s->dim[s->rank - 1], k2 = t->dim[t->rank > 1 ? t->rank - 2 : 0];
    if (!dim_same(k1, k2)) {
        elab_error(e, at, 204, "matrix product of %s and %s: the inner sizes differ (%s, %s)", type_name(s), type_name(t),
                   dims_text(e, 1, &k1), dims_text(e, 1, &k2));
        hint_product(e, s, t);
        return val_error();
    }
    int lead_x = s->rank - 2, lead_y = t->rank - 2, lead = lead_x > lead_y ? lead_x : lead_y;
    char left[MAX_RANK + 1] = "", right[MAX_RANK + 1] = "", out[2 * MAX_RANK + 1] = "";
    Dim dx[MAX_RANK], dy[MAX_RANK];
    int nx = 0, ny = 0, no = 0;
    for (int i = 0; i < lead; i++) { /* leading axes, aligned at their ends */
        int px = i - (lead - lead_x), py = i - (lead - lead_y);
        bool in_x = px >= 0, in_y = py >= 0;
        char label = (char)('a' + i);
        if (in_x && in_y && !dim_same(s->dim[px], t->dim[py])) {
            bool one_x = s->dim[px].n == 1 && !s->dim[px].batch, one_y = t->dim[py].n == 1 && !t->dim[py].batch;
            if (!one_x && !one_y)
                return elab_error(e, at, 204, "matrix product of %s and %s: the leading axes do not fit", type_name(s),
                                  type_name(t));
            in_x = !one_x;
            in_y = !one_y || one_x;
        }
        if (in_x) dx[nx] = s->dim[px], left[nx++] = label;
        if (in_y) dy[ny] = t->dim[py], right[ny++] = label;
        out[no++] = label;
    }
    if (s->rank > 1) dx[nx] = s->dim[s->rank - 2], left[nx++] = 'm', out[no++] = 'm';
    dx[nx] = k1, left[nx++] = 'k';
    dy[ny] = k2, right[ny++] = 'k';
    if (t->rank > 1) dy[ny] = t->dim[t->rank - 1], right[ny++] = 'n', out[no++] = 'n';
    left[nx] = right[ny] = out[no] = 0;
    x = emit_reshape(e, x, nx, dx);
    y = emit_reshape(e, y, ny, dy);
    return val_tensor(emit_contract(e, intern_printf("%s,%s->%s", left, right, out), x, y));
}

/* if c then a else b, with a tensor c */
Val expr_select(Elab *e, Val c, Val a, Val b, Loc at) {
    if (c.kind == VAL_ERROR || a.kind == VAL_ERROR || b.kind == VAL_ERROR) return val_error();
    Value *cond = tensor_of(e, c, at);
    if (!cond) return val_error();
    if (cond->type->elem != BOOL) {
        elab_error(e, at, 215, "a condition is a bool, not %s", type_name(cond->type));
        return val_error();
    }
    bool numbers = val_is_number(a) && val_is_number(b);
    if (numbers && cond->type->rank == 0) {
        bool whole = val_always_whole(a) && val_always_whole(b);
        return val_scalar(emit_select(e, cond, number_as(e, a, F64, at), number_as(e, b, F64, at)), whole);
    }
    if (!val_is_number(a)) a = val_tensor(tensor_of(e, a, at));
    if (!val_is_number(b)) b = val_tensor(tensor_of(e, b, at));
    if (a.kind == VAL_ERROR || b.kind == VAL_ERROR) return val_error();
    Value *x, *y;
    if (numbers) {
        x = number_as(e, a, F32, at);
        y = number_as(e, b, F32, at);
    } else if (!together(e, a, b, at, &x, &y))
        return val_error();
    if (!x || !y) return val_error();
    int rank;
    Dim dims[MAX_RANK];
    if (!broadcast_shape(e, at, cond->type, x->type, &rank, dims)) return val_error();
    return val_tensor(
        emit_select(e, emit_broadcast(e, cond, rank, dims), emit_broadcast(e, x, rank, dims), emit_broadcast(e, y, rank, dims)));
}
