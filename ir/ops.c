/*
 * ops.c - the table ops.def as data: one OpInfo for each op, look-up by name, attributes of an op, and the table as `nnc
 * --list-ops` prints it. The attribute lists and the arity stand in ops.def as words, for people; they are read once, before
 * main.
 */
#include "graph.h"

#include <stdlib.h>
#include <string.h>

static OpInfo table[OP_COUNT] = {
#define OP(name, operands, attributes, rule, elementwise, stages, gradient, evaluator, doc)                                      \
    [OP_##name] = {#name, operands, attributes, elementwise, stages, doc, 0, 0, 0, {0}},
#include "ops.def"
#undef OP
};
const OpInfo *const op_info = table;

static const struct {
    const char *name;
    AttrKind kind;
} attrs[ATTR_KEY_COUNT] = {
#define ATTR(name, kind) [A_##name] = {#name, ATTR_##kind},
#include "ops.def"
#undef ATTR
};

const char *attr_name(AttrKey key) { return attrs[key].name; }
AttrKind attr_kind(AttrKey key) { return attrs[key].kind; }

static AttrKey attr_by_name_n(const char *name, size_t n) {
    for (int k = 0; k < ATTR_KEY_COUNT; k++)
        if (strlen(attrs[k].name) == n && memcmp(attrs[k].name, name, n) == 0) return (AttrKey)k;
    return ATTR_KEY_COUNT;
}

AttrKey attr_by_name(const char *name) { return attr_by_name_n(name, strlen(name)); }

OpCode op_by_name(const char *name) {
    for (int i = 0; i < OP_COUNT; i++)
        if (strcmp(table[i].name, name) == 0) return (OpCode)i;
    return OP_COUNT;
}

bool op_is_function(OpCode c) {
    return c == OP_exp || c == OP_expm1 || c == OP_log || c == OP_log1p || c == OP_sin || c == OP_cos || c == OP_tanh ||
           c == OP_sigmoid || c == OP_erf || c == OP_pow;
}

bool op_scatters_one(const Op *op) {
    if (op->code != OP_scatter_add || !op->in[0]->def || op->in[0]->def->code != OP_constant) return false;
    Dim places = op->in[2]->type->dim[op_int(op, A_axis)];
    return places.n == 1 && !places.batch;
}

/* "x, a?, i...": one operand, one that may be left out, any number. */
static void read_arity(OpInfo *info) {
    for (const char *s = info->operands; *s;) {
        size_t n = strcspn(s, ",");
        if (n > 3 && strncmp(s + n - 3, "...", 3) == 0)
            info->max_in = -1;
        else if (s[n - 1] != '?')
            info->min_in++;
        if (info->max_in >= 0) info->max_in++;
        s += n;
        s += strspn(s, ", ");
    }
}

static void read_attrs(OpInfo *info) {
    for (const char *s = info->attr_names; *s;) {
        size_t n = strcspn(s, " ");
        AttrKey key = attr_by_name_n(s, n);
        if (key == ATTR_KEY_COUNT || info->n_attrs == (int)(sizeof info->attrs / sizeof *info->attrs))
            bug("ops.def: attributes of `%s`", info->name);
        info->attrs[info->n_attrs++] = key;
        s += n;
        s += strspn(s, " ");
    }
}

__attribute__((constructor)) static void read_table(void) {
    for (int i = 0; i < OP_COUNT; i++) {
        read_arity(&table[i]);
        read_attrs(&table[i]);
    }
}

/* ---- attributes of an op ---- */

const Attr *op_attr(const Op *op, AttrKey key) {
    for (int i = 0; i < op->n_attrs; i++)
        if (op->attrs[i].key == key) return &op->attrs[i];
    bug("op `%s` has no attribute `%s`", table[op->code].name, attrs[key].name);
}

int64_t op_int(const Op *op, AttrKey key) { return op_attr(op, key)->i; }
double op_real(const Op *op, AttrKey key) { return op_attr(op, key)->f; }
const char *op_str(const Op *op, AttrKey key) { return op_attr(op, key)->s; }

int64_t op_ints(const Op *op, AttrKey key, const int64_t **at) {
    const Attr *a = op_attr(op, key);
    if (at) *at = a->ints.at;
    return a->ints.n;
}

Attr attr_i(AttrKey key, int64_t v) { return (Attr){.key = key, .i = v}; }
Attr attr_f(AttrKey key, double v) { return (Attr){.key = key, .f = v}; }
Attr attr_s(AttrKey key, const char *v) { return (Attr){.key = key, .s = intern(v)}; }

Attr attr_ints(Arena *a, AttrKey key, const int64_t *at, int64_t n) {
    Attr r = {.key = key};
    int64_t *copy = arena_make_n(a, int64_t, (size_t)n);
    if (n) memcpy(copy, at, (size_t)n * sizeof *at);
    r.ints.at = copy;
    r.ints.n = n;
    return r;
}

Attr attr_reals(Arena *a, AttrKey key, const double *at, int64_t n) {
    Attr r = {.key = key};
    double *copy = arena_make_n(a, double, (size_t)n);
    if (n) memcpy(copy, at, (size_t)n * sizeof *at);
    r.reals.at = copy;
    r.reals.n = n;
    return r;
}

/* ---- the table for people ---- */

static void print_cell(FILE *out, const char *s) { /* a bar would end the cell */
    for (; *s; s++) fprintf(out, *s == '|' ? "\\%c" : "%c", *s);
}

void ops_print_table(FILE *out) {
    static const char *const gradients[OP_COUNT] = {
#define OP(name, operands, attributes, rule, elementwise, stages, gradient, evaluator, doc) [OP_##name] = #gradient,
#include "ops.def"
#undef OP
    };
    fputs("| op | operands | attributes | stages | gradient | meaning |\n|---|---|---|---|---|---|\n", out);
    for (int i = 0; i < OP_COUNT; i++) {
        const OpInfo *o = &table[i];
        fprintf(out, "| `%s`%s | %s | %s | %s | %s | ", o->name, o->elementwise ? " *" : "", o->operands, o->attr_names,
                o->stages, gradients[i]);
        print_cell(out, o->doc);
        fputs(" |\n", out);
    }
    fputs("\n`*`: element by element. Stages: g from the front end, e gradients expanded, k fused and inside a kernel, t fused "
          "and outside.\n",
          out);
}
