/*
 * hoist.c - lift products, and the sums that only gather results turn by turn, out of scan: one large product in place of many small ones.
 *
 * in:  graph, grads expanded.   out: the same; every product left in a scan needs a carried value, or makes one.
 * keeps: types, slots.   spoils: use counts.   leaves: carried values and stacks that nobody uses, for simplify.
 *
 *   before  %x_t slices of %x, %W from outside:   scan %x_t in %x { %a = contract "bi,io->bo" %x_t, %W ; %h' = tanh (add %a, ..) }
 *           =>  %p = contract "tbi,io->tbo" %x, %W ;  scan %a in %p { %h' = tanh (add %a, ..) }
 *   after   %y only stacked:                      scan { .. %y = contract "bh,ho->bo" %h, %V ; yield %y }
 *           =>  %h* = scan { .. yield %h } ;  %y* = contract "tbh,ho->tbo" %h*, %V
 *   sums    %s only gathers:                      scan %s { .. %s' = add %s, (contract "bi,bo->io" %x_t, %dz_t) }
 *           =>  %dz* = scan { .. yield %dz_t } ;  %s = add %s0, (contract "tbi,tbo->io" %x, %dz*)
 *           likewise for sums over axes of what is stacked anyway (gradients of biases), and for take_add (of embeddings)
 *
 * Bits: the products before and after keep theirs (each result is the chain it was). A gathered sum becomes one chain over (turn,
 * summed labels), cut as graph.h says: other roundings than turn by turn, the same on every machine.
 *
 * Not done: products with a carried value (h @ U) whose result the next turn needs: each turn needs the one before.
 */
#include "pipeline.h"
#include "scan.h"
#include "spec.h"

/* A body's value over all turns: `v` has the turns along `axis`; -1: v is the same in every turn. */
typedef struct Lifted {
    Value *v; /* NULL: cannot be, or not looked at yet */
    int64_t axis;
} Lifted;

typedef struct Hoist {
    PassCtx *c;
    Func *func;
    Scan s;
    Arena *scratch;
    Builder b;         /* where what is lifted goes: in front of the scan, or behind it */
    bool behind;       /* ... then values that depend on carried ones may be stacked */
    int *uses;         /* by id */
    bool *carried;     /* by id: depends on a carried value */
    int n_ids;         /* the values that the tables know */
    Lifted *seen;      /* by id */
    signed char *free; /* by id: can be lifted in front: 1 yes, -1 no, 0 not asked yet */
    Value **map;       /* by id: replaced inside the body */
    bool changed;
} Hoist;

/* ---- what depends on what is carried ---- */

static void mark_carried(Hoist *h) {
    const Block *b = h->s.body;
    for (int64_t k = 0; k < h->s.carry; k++) h->carried[b->params.at[k + 1]->id] = true;
    for (const Op *op = b->first; op; op = op->next) {
        bool any = false;
        for (int i = 0; i < op->n_in && !any; i++) any = h->carried[op->in[i]->id];
        if (!any && op->n_blocks) {
            Values captured = op_captures(h->scratch, op);
            for (size_t i = 0; i < captured.n && !any; i++) any = h->carried[captured.at[i]->id];
        }
        for (int i = 0; any && i < op->n_out; i++) h->carried[op->out[i]->id] = true;
    }
}

static void count_uses(const Block *b, int *uses) {
    for (const Op *op = b->first; op; op = op->next) {
        for (int i = 0; i < op->n_in; i++) uses[op->in[i]->id]++;
        for (int i = 0; i < op->n_blocks; i++) count_uses(op->blocks[i], uses);
    }
    for (size_t i = 0; i < b->results.n; i++) uses[b->results.at[i]->id]++;
}

/* Fresh tables for the body as it is now. */
static void look(Hoist *h, bool behind) {
    Block *around = h->s.op->block;
    h->behind = behind;
    h->b = (Builder){.arena = h->c->arena, .func = h->func, .block = around, .before = behind ? h->s.op->next : h->s.op};
    h->n_ids = h->func->n_values;
    size_t n = (size_t)h->n_ids;
    h->uses = arena_make_n(h->scratch, int, n);
    h->carried = arena_make_n(h->scratch, bool, n);
    h->seen = arena_make_n(h->scratch, Lifted, n);
    h->free = arena_make_n(h->scratch, signed char, n);
    h->map = arena_make_n(h->scratch, Value *, n);
    count_uses(h->s.body, h->uses);
    mark_carried(h);
}

static bool is_product(const Op *op) { return op->code == OP_contract || op->code == OP_conv; }

/* ---- lifting ---- */

static bool lift(Hoist *h, Value *v, Lifted *out);

/* The turns brought to the front. */
static Value *to_front(Hoist *h, Lifted x) {
    if (x.axis <= 0) return x.v;
    int64_t perm[MAX_RANK] = {x.axis};
    for (int i = 1; i < x.v->type->rank; i++) perm[i] = i - (i <= x.axis);
    return g_transpose(&h->b, x.v, perm);
}

/* x with the turns at `axis`; t is its type in one turn. */
static Value *with_turns(Hoist *h, Lifted x, const Type *t, int64_t axis) {
    int64_t at[MAX_RANK];
    if (x.axis == axis) return x.v;
    for (int i = 0; i < t->rank; i++) at[i] = i + (i >= axis);
    const Type *wide = scan_stacked_type(&h->s, t, axis);
    if (x.axis < 0) return g_broadcast(&h->b, x.v, wide->rank, wide->dim, at);
    int64_t perm[MAX_RANK];
    for (int i = 0; i < wide->rank; i++) {
        int64_t inner = i - (i > axis); /* the axis of t that stands at i */
        perm[i] = i == axis ? x.axis : inner + (inner >= x.axis);
    }
    return g_transpose(&h->b, x.v, perm);
}

/* Attributes of an op on tensors with one more axis in front. */
static Attr *shift_attrs(Hoist *h, const Op *op) {
    Arena *a = h->c->arena;
    Attr *attrs = arena_make_n(a, Attr, (size_t)op->n_attrs);
    for (int i = 0; i < op->n_attrs; i++) {
        const Attr *from = &op->attrs[i];
        int64_t at[2 * MAX_RANK], n = 0;
        attrs[i] = *from;
        bool adds_front = op->code == OP_broadcast || from->key == A_perm, per_axis = !adds_front && from->key != A_axes;
        if (from->key == A_axis) attrs[i] = attr_i(A_axis, from->i + 1);
        if (attr_kind(from->key) != ATTR_INTS) continue;
        if (adds_front) at[n++] = 0;
        if (per_axis) at[n++] = from->key == A_step ? 1 : from->key == A_limit ? (h->s.turns.batch ? -1 : h->s.turns.n) : 0;
        for (int64_t k = 0; k < from->ints.n; k++) at[n++] = from->ints.at[k] + !per_axis;
        attrs[i] = attr_ints(a, from->key, at, n);
    }
    return attrs;
}

static char free_label(const char *spec) {
    for (const char *l = "tsuvwxyzabcdefghijklmnopqrTSUVWXYZABCDEFGHIJKLMNOPQR"; *l; l++)
        if (!strchr(spec, *l)) return *l;
    bug("all labels are taken in %s", spec);
}

/* The product with the turns as one more label: of those operands that vary, and of the result, if it has them. out_axis < 0:
 * summed over. */
static Value *lift_product(Hoist *h, const Op *op, Lifted a, Lifted b, int64_t out_axis) {
    Spec spec = read_spec(op), wide = {0};
    int64_t axis[3] = {a.axis, b.axis, out_axis};
    char t = free_label(op_str(op, A_spec));
    for (int p = 0; p < 3; p++) {
        const char *labels = spec_part(&spec, p);
        char *to = spec_part(&wide, p);
        for (int64_t i = 0; i == 0 || labels[i - 1]; i++) {
            if (axis[p] == i) *to++ = t;
            *to++ = labels[i];
        }
    }
    Attr *attrs = arena_make_n(h->c->arena, Attr, (size_t)op->n_attrs);
    memcpy(attrs, op->attrs, (size_t)op->n_attrs * sizeof *attrs);
    attrs[0] = attr_s(A_spec, spec_text(&wide));
    return op_make(&h->b, op->code, 2, (Value *[]){a.v, b.v}, op->n_attrs, attrs, NULL);
}

static bool lift_elementwise(Hoist *h, const Op *op, const Lifted *in, Lifted *out) {
    int64_t axis = -1;
    for (int i = 0; i < op->n_in && axis < 0; i++) axis = in[i].axis;
    const Type *wide = scan_stacked_type(&h->s, op->out[0]->type, axis);
    if (!wide) return false;
    Value *all[3];
    for (int i = 0; i < op->n_in; i++) all[i] = with_turns(h, in[i], op->in[i]->type, axis);
    *out = (Lifted){op_make(&h->b, op->code, op->n_in, all, op->n_attrs, op->attrs, op->code == OP_convert ? wide : NULL), axis};
    return true;
}

/* Ops that only move, or reduce, the axes of their operands: the same with one more axis in front. */
static bool moves_axes(OpCode code) {
    switch ((int)code) {
    case OP_broadcast:
    case OP_reshape:
    case OP_transpose:
    case OP_slice:
    case OP_concat:
    case OP_reverse:
    case OP_sum:
    case OP_reduce_max:
    case OP_reduce_min: return true;
    default: return false;
    }
}

static bool lift_moved(Hoist *h, const Op *op, const Lifted *in, Lifted *out) {
    const Type *wide = scan_stacked_type(&h->s, op->out[0]->type, 0);
    if (!wide) return false;
    Value **all = arena_make_n(h->scratch, Value *, (size_t)op->n_in);
    for (int i = 0; i < op->n_in; i++) {
        if (!scan_stacked_type(&h->s, op->in[i]->type, 0)) return false;
        all[i] = in[i].axis < 0 ? with_turns(h, in[i], op->in[i]->type, 0) : to_front(h, in[i]);
    }
    bool given = op->code == OP_broadcast || op->code == OP_reshape;
    *out = (Lifted){op_make(&h->b, op->code, op->n_in, all, op->n_attrs, shift_attrs(h, op), given ? wide : NULL), 0};
    return true;
}

/* An op with the same operands in every turn, made again outside. */
static Lifted lift_fixed(Hoist *h, const Op *op, const Lifted *in) {
    Value **all = arena_make_n(h->scratch, Value *, (size_t)op->n_in);
    for (int i = 0; i < op->n_in; i++) all[i] = in[i].v;
    return (Lifted){op_make(&h->b, op->code, op->n_in, all, op->n_attrs, op->attrs, op->out[0]->type), -1};
}

/* Rows of a table from outside: the turns come in where the places stand. */
static bool lift_take(Hoist *h, const Op *op, const Lifted *in, Lifted *out) {
    int64_t axis = op_int(op, A_axis) + in[1].axis;
    if (in[0].axis >= 0 || !scan_stacked_type(&h->s, op->out[0]->type, axis)) return false;
    *out = (Lifted){op_make(&h->b, OP_take, 2, (Value *[]){in[0].v, in[1].v}, op->n_attrs, op->attrs, NULL), axis};
    return true;
}

/* Is the op of a kind that can be lifted? Draws are not: they are keyed by the element's place. */
static bool is_liftable(const Hoist *h, const Op *op) {
    if (op->n_out != 1 || op->n_blocks || op->code == OP_uniform) return false;
    if (op->code == OP_take)
        return h->s.trip != 0 && !value_inside(h->s.op, op->in[0]); /* it may stop the program, so there must be a turn */
    return (op_info[op->code].elementwise && op->n_in <= 3) || is_product(op) || moves_axes(op->code) || op->n_in == 0;
}

static bool lift_op(Hoist *h, const Op *op, Lifted *out) {
    bool elementwise = op_info[op->code].elementwise, fixed = true;
    if (!is_liftable(h, op)) return false;
    Lifted *in = arena_make_n(h->scratch, Lifted, (size_t)op->n_in);
    for (int i = 0; i < op->n_in; i++) {
        if (!lift(h, op->in[i], &in[i])) return false;
        fixed &= in[i].axis < 0;
    }
    h->b.loc = op->loc;
    if (fixed) {
        *out = lift_fixed(h, op, in);
        return true;
    }
    if (elementwise) return lift_elementwise(h, op, in, out);
    if (op->code == OP_take) return lift_take(h, op, in, out);
    if (!is_product(op)) return lift_moved(h, op, in, out);
    int64_t axis = scan_stack_axis(&h->s, op->out[0]->type);
    if (axis < 0) return false;
    *out = (Lifted){lift_product(h, op, in[0], in[1], axis), axis};
    return true;
}

static bool lift_new(Hoist *h, Value *v, Lifted *out) {
    Scan *s = &h->s;
    *out = (Lifted){v, -1};
    if (!value_inside(s->op, v)) return true;
    if (v->block != s->body || v->id >= h->n_ids) return false;
    if (!h->carried[v->id]) {
        if (v->def) return lift_op(h, v->def, out);
        if (v->index == 0) {
            Attr axis = attr_i(A_axis, 0);
            const Type *t = scan_stacked_type(s, v->type, 0);
            if (!t) return false;
            *out = (Lifted){op_make(&h->b, OP_iota, 0, NULL, 1, &axis, t), 0};
            return true;
        }
        int64_t k = v->index - 1 - s->carry;
        *out = (Lifted){s->op->in[s->carry + k], s->axes[k]};
        return true;
    }
    if (!h->behind || scan_stack_axis(s, v->type) < 0) return false;
    out->v = scan_stack(h->c->arena, s, v, &out->axis);
    h->changed = true;
    return true;
}

static bool lift(Hoist *h, Value *v, Lifted *out) {
    if (v->id < h->n_ids && h->seen[v->id].v) {
        *out = h->seen[v->id];
        return true;
    }
    if (!lift_new(h, v, out)) return false;
    if (v->id < h->n_ids) h->seen[v->id] = *out;
    return true;
}

/* ---- products in front ---- */

/* Can v be lifted in front of the scan? Asked before anything is built. */
static bool free_of_carries(const Hoist *h, const Value *v);

static bool free_op(const Hoist *h, const Op *op) {
    if (!is_liftable(h, op)) return false;
    if (op->n_in && scan_stack_axis(&h->s, op->out[0]->type) < 0) return false;
    for (int i = 0; i < op->n_in; i++)
        if (!free_of_carries(h, op->in[i])) return false;
    return true;
}

static bool free_of_carries(const Hoist *h, const Value *v) {
    if (!value_inside(h->s.op, v)) return true;
    if (v->block != h->s.body || h->carried[v->id]) return false;
    if (!v->def) return true;
    if (!h->free[v->id]) h->free[v->id] = free_op(h, v->def) ? 1 : -1;
    return h->free[v->id] > 0;
}

static void products_before(Hoist *h) {
    look(h, false);
    Vec(Op *) products = {0};
    for (Op *op = h->s.body->first; op; op = op->next)
        if (is_product(op) && free_of_carries(h, op->out[0])) vec_push(h->scratch, &products, op);
    for (size_t i = 0; i < products.n; i++) {
        Lifted p;
        Value *v = products.at[i]->out[0];
        if (!lift(h, v, &p)) continue;
        h->map[v->id] = p.axis < 0 ? p.v : scan_slice(h->c->arena, &h->s, p.v, p.axis, v->name);
        h->changed = true;
    }
    if (products.n) block_replace(h->s.body, h->map, h->n_ids);
    for (size_t i = 0; i < products.n; i++)
        if (h->map[products.at[i]->out[0]->id]) op_remove(products.at[i]);
}

/* ---- products behind ---- */

/* Marks, by id, what the next turn needs: values that a carried result or an op with blocks depends on. */
static void mark_onward(const Hoist *h, bool *onward) {
    const Block *b = h->s.body;
    for (int64_t k = 0; k < h->s.carry; k++) onward[b->results.at[k]->id] = true;
    for (const Op *op = b->last; op; op = op->prev) {
        bool any = op->n_blocks > 0;
        for (int i = 0; i < op->n_out && !any; i++) any = onward[op->out[i]->id];
        for (int i = 0; any && i < op->n_in; i++) onward[op->in[i]->id] = true;
        if (!op->n_blocks) continue;
        Values captured = op_captures(h->scratch, op);
        for (size_t i = 0; i < captured.n; i++) onward[captured.at[i]->id] = true;
    }
}

/* Can this op follow a product out of the scan? Then its result is marked: products with an operand from outside that only stacks
 * need, and what is computed of them for stacks. What is marked does not count as carried: it is lifted, not stacked. */
static void mark_following(Hoist *h, bool *follows) {
    bool *onward = arena_make_n(h->scratch, bool, (size_t)h->n_ids);
    mark_onward(h, onward);
    for (const Op *op = h->s.body->first; op; op = op->next) {
        if (op->n_out != 1 || onward[op->out[0]->id] || !h->carried[op->out[0]->id] ||
            scan_stack_axis(&h->s, op->out[0]->type) < 0)
            continue;
        bool any = false;
        if (is_product(op))
            any = !value_inside(h->s.op, op->in[0]) || !value_inside(h->s.op, op->in[1]);
        else if ((op_info[op->code].elementwise && op->n_in <= 3) || moves_axes(op->code))
            for (int i = 0; i < op->n_in && !any; i++) any = follows[op->in[i]->id];
        for (int i = 0; any && i < op->n_in; i++)
            any = !value_inside(h->s.op, op->in[i]) || scan_stack_axis(&h->s, op->in[i]->type) >= 0;
        follows[op->out[0]->id] = any;
    }
    for (int i = 0; i < h->n_ids; i++)
        if (follows[i]) h->carried[i] = false;
}

static void products_after(Hoist *h) {
    look(h, true);
    int64_t n = h->s.n_ys;
    int n_to = h->n_ids;
    Value **to = arena_make_n(h->scratch, Value *, (size_t)n_to);
    bool *follows = arena_make_n(h->scratch, bool, (size_t)n_to), any = false;
    mark_following(h, follows);
    for (int64_t k = 0; k < n; k++) {
        Value *y = h->s.body->results.at[h->s.carry + k], *out = h->s.op->out[h->s.carry + k];
        Lifted p;
        if (y->id >= n_to || !follows[y->id] || !lift(h, y, &p) || p.axis < 0) continue;
        h->b.loc = y->def->loc;
        to[out->id] = with_turns(h, p, y->type, h->s.yaxes[k]);
        any = true;
    }
    if (!any) return;
    h->changed = true;
    Value **all = arena_make_n(h->scratch, Value *, (size_t)h->func->n_values);
    memcpy(all, to, (size_t)n_to * sizeof *all);
    func_replace_all(h->func, all);
}

/* ---- sums ---- */

enum { MOST_TERMS = 64 };

/* The terms of a sum written as nested adds, each used nowhere else. */
static bool terms_of(const Hoist *h, Value *v, Value **terms, int *n) {
    Op *add = v->def && v->block == h->s.body && v->def->code == OP_add && h->uses[v->id] == 1 ? v->def : NULL;
    if (add) return terms_of(h, add->in[0], terms, n) && terms_of(h, add->in[1], terms, n);
    if (*n == MOST_TERMS) return false;
    terms[(*n)++] = v;
    return true;
}

static bool stacked_already(const Hoist *h, const Value *v) {
    if (!v->def && v->block == h->s.body && v->index > h->s.carry) return true;
    for (int64_t k = 0; k < h->s.n_ys; k++)
        if (h->s.body->results.at[h->s.carry + k] == v) return true;
    return false;
}

/* The sum over the turns of a product: the turns are one more summed label. If one operand alone varies, it is summed first. */
static Value *sum_of_products(Hoist *h, Op *op) {
    Lifted in[2];
    for (int i = 0; i < 2; i++)
        if (!lift(h, op->in[i], &in[i])) return NULL;
    if (in[0].axis < 0 && in[1].axis < 0) return NULL;
    h->b.loc = op->loc;
    for (int i = 0; i < 2; i++)
        if (in[i].axis >= 0 && in[1 - i].axis < 0) in[i] = (Lifted){g_reduce(&h->b, OP_sum, in[i].v, 1, &in[i].axis), -1};
    return lift_product(h, op, in[0], in[1], -1);
}

/* v over all turns, as a slice of a joined value that is stacked. */
static bool part_of_stack(Hoist *h, const Value *v, Lifted *out) {
    for (int64_t k = 0; k < h->s.n_ys; k++) {
        const Value *y = h->s.body->results.at[h->s.carry + k];
        const Op *concat = y->def && y->def->code == OP_concat ? y->def : NULL;
        int64_t at = 0, axis = concat ? op_int(concat, A_axis) : 0, turns = h->s.yaxes[k];
        if (!concat || y->type->dim[axis].batch) continue;
        for (int i = 0; i < concat->n_in; at += concat->in[i++]->type->dim[axis].n) {
            if (concat->in[i] != v) continue;
            Value *whole = h->s.op->out[h->s.carry + k];
            int64_t wide = axis + (axis >= turns);
            *out = (Lifted){g_part(&h->b, whole, wide, at, at + v->type->dim[axis].n), turns};
            return true;
        }
    }
    return false;
}

/* The sum over the turns of a sum over axes. */
static Value *sum_of_sums(Hoist *h, Op *op) {
    Lifted x;
    bool stacked = stacked_already(h, op->in[0]) && lift(h, op->in[0], &x) && x.axis >= 0;
    if (!stacked && !part_of_stack(h, op->in[0], &x)) return NULL;
    const int64_t *axes;
    int64_t n = op_ints(op, A_axes, &axes), all[MAX_RANK];
    int m = 0;
    bool placed = false;
    for (int64_t i = 0; i <= n; i++) {
        int64_t axis = i < n ? axes[i] + (axes[i] >= x.axis) : MAX_RANK;
        if (!placed && axis > x.axis) all[m++] = x.axis, placed = true;
        if (i < n) all[m++] = axis;
    }
    h->b.loc = op->loc;
    return g_reduce(&h->b, OP_sum, x.v, m, all);
}

/* The sum over the turns of take_add: places and values of all turns at once. */
static Value *sum_of_takes(Hoist *h, Op *op) {
    Lifted y, i;
    int64_t axis = op_int(op, A_axis);
    const Type *ty = op->in[0]->type, *ti = op->in[1]->type;
    if (!scan_stacked_type(&h->s, ty, axis) || !scan_stacked_type(&h->s, ti, 0)) return NULL;
    if (!lift(h, op->in[0], &y) || !lift(h, op->in[1], &i)) return NULL;
    h->b.loc = op->loc;
    Value *in[2] = {with_turns(h, y, ty, axis), with_turns(h, i, ti, 0)};
    return op_make(&h->b, OP_take_add, 2, in, op->n_attrs, op->attrs, op->out[0]->type);
}

static Value *gathered(Hoist *h, Value *g, bool products) {
    if (!g->def || g->block != h->s.body || g->id >= h->n_ids || h->uses[g->id] != 1) return NULL;
    if (g->def->code == OP_sum) return products ? NULL : sum_of_sums(h, g->def);
    if (!products) return NULL;
    if (is_product(g->def)) return sum_of_products(h, g->def);
    if (g->def->code == OP_take_add) return sum_of_takes(h, g->def);
    return NULL;
}

/* One carried value: %s' = %s + g1 + g2 + ..; those g that can be summed outside leave. Products go first: what they stack the
 * sums over axes use. */
static void gather_one(Hoist *h, int64_t k, bool products, Value **to) {
    Block *b = h->s.body;
    Value *p = b->params.at[k + 1], *r = b->results.at[k], *terms[MOST_TERMS], *outside = NULL, *rest = p;
    int n = 0, at = -1;
    if (h->uses[p->id] != 1 || !elem_is_float(p->type->elem) || !terms_of(h, r, terms, &n)) return;
    for (int i = 0; i < n; i++)
        if (terms[i] == p) at = i;
    if (at < 0 || n < 2) return;
    for (int i = 0; i < n; i++) {
        Value *g = i == at ? NULL : gathered(h, terms[i], products);
        if (!g) continue;
        outside = outside ? g_binary(&h->b, OP_add, outside, g) : g;
        terms[i] = NULL;
    }
    if (!outside) return;
    Builder inside = {.arena = h->c->arena, .func = h->func, .block = b, .loc = r->def->loc};
    for (int i = 0; i < n; i++)
        if (i != at && terms[i]) rest = g_binary(&inside, OP_add, rest, terms[i]);
    b->results.at[k] = rest;
    to[h->s.op->out[k]->id] = outside; /* added when every carried value has been looked at */
    h->changed = true;
}

static void sums(Hoist *h, bool products) {
    look(h, true);
    Value **to = arena_make_n(h->scratch, Value *, (size_t)h->n_ids);
    for (int64_t k = 0; k < h->s.carry; k++) gather_one(h, k, products, to);
    for (int64_t k = 0; k < h->s.carry; k++) {
        Value *out = h->s.op->out[k], *outside = to[out->id];
        if (!outside) continue;
        Value *all = g_binary(&h->b, OP_add, out, outside);
        all->name = out->name;
        value_replace(h->func, out, all);
        all->def->in[0] = out;
    }
}

/* ---- the pass ---- */

static bool hoist_scan(PassCtx *c, Func *f, Op *op) {
    Hoist h = {.c = c, .func = f, .s = scan_of(op), .scratch = arena_new()};
    if (h.s.stacks) {
        sums(&h, true); /* first: a product that is only gathered is no product in front */
        products_before(&h);
        products_after(&h);
        sums(&h, false);
    }
    arena_free(h.scratch);
    return h.changed;
}

/* Inner scans first: what leaves one may leave the next. */
static void hoist_block(PassCtx *c, Block *b) {
    for (Op *op = b->first, *next; op; op = next) {
        next = op->next;
        for (int i = 0; i < op->n_blocks; i++) hoist_block(c, op->blocks[i]);
        if (op->code == OP_scan) hoist_scan(c, b->func, op);
    }
}

bool pass_hoist(PassCtx *c, Module *m) {
    for (size_t i = 0; i < m->funcs.n; i++) hoist_block(c, m->funcs.at[i]->body);
    return true;
}
