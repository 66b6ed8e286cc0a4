/*
 * dot.c - one function as a picture for graphviz (`nnc x.nn --emit=dot --fn=train.step | dot -Tsvg`): a node for each op, types
 * on the edges, what autodiff made (places whose `what` begins with "gradient") in another colour than the way forward. Blocks
 * are boxes around their ops.
 */
#include "graph.h"

#include <string.h>

typedef struct Dot {
    Arena *arena;
    Text *out;
} Dot;

/* Inside a dot string: quotes and backslashes escaped. */
static const char *escaped(Dot *d, const char *s) {
    Text t = {0};
    for (; *s; s++) {
        if (*s == '"' || *s == '\\') vec_push(d->arena, &t, '\\');
        vec_push(d->arena, &t, *s);
    }
    vec_push(d->arena, &t, 0);
    return t.at;
}

static void indent(Dot *d, int depth) { text_printf(d->arena, d->out, "%*s", 2 * depth, ""); }

/* Every value is named by where it comes from: ops by the id of their first result, parameters by their own. */
static const char *node_name(Dot *d, const Value *v) {
    return v->def ? arena_printf(d->arena, "op%d", v->def->out[0]->id) : arena_printf(d->arena, "p%d", v->id);
}

static void put_param(Dot *d, const Value *v, int depth) {
    indent(d, depth);
    text_printf(d->arena, d->out, "p%d [label=\"%s\\n%s\", shape=box, style=filled, fillcolor=\"#e8e8e8\"];\n", v->id,
                escaped(d, v->name ? v->name : "?"), type_name(v->type));
}

static void put_edges(Dot *d, const Op *op, int depth) {
    for (int i = 0; i < op->n_in; i++) {
        indent(d, depth);
        text_printf(d->arena, d->out, "%s -> op%d [label=\"%s\"];\n", node_name(d, op->in[i]), op->out[0]->id,
                    type_name(op->in[i]->type));
    }
}

static void put_block(Dot *d, const Block *b, int depth);

static void put_op(Dot *d, const Op *op, int depth) {
    if (!op->n_out) return;
    bool back = op->loc.what && strncmp(op->loc.what, "gradient", 8) == 0;
    const char *label = op_info[op->code].name;
    for (int i = 0; i < op->n_attrs; i++)
        if (op->attrs[i].key == A_spec)
            label = arena_printf(d->arena, "%s\\n%s", label, escaped(d, op->attrs[i].s));
        else if (op->attrs[i].key == A_value)
            label = arena_printf(d->arena, "%s %g", label, op->attrs[i].f);
    if (op->loc.line) label = arena_printf(d->arena, "%s\\nline %d", label, op->loc.line);
    indent(d, depth);
    text_printf(d->arena, d->out, "op%d [label=\"%s\", style=filled, fillcolor=\"%s\"];\n", op->out[0]->id, label,
                back ? "#ffd9c0" : "#d0e4ff");
    put_edges(d, op, depth);
    for (int i = 0; i < op->n_blocks; i++) {
        indent(d, depth);
        text_printf(d->arena, d->out, "subgraph cluster_%d_%d {\n", op->out[0]->id, i);
        indent(d, depth + 1);
        text_printf(d->arena, d->out, "label=\"%s\";\n", op->n_blocks > 1 && i == 0 ? "condition" : op_info[op->code].name);
        put_block(d, op->blocks[i], depth + 1);
        indent(d, depth);
        text_add(d->arena, d->out, "}\n");
        for (size_t k = 0; k < op->blocks[i]->results.n; k++) {
            indent(d, depth);
            text_printf(d->arena, d->out, "%s -> op%d [label=\"%s\", style=dashed];\n",
                        node_name(d, op->blocks[i]->results.at[k]), op->out[0]->id,
                        type_name(op->blocks[i]->results.at[k]->type));
        }
    }
}

static void put_block(Dot *d, const Block *b, int depth) {
    for (size_t i = 0; i < b->params.n; i++) put_param(d, b->params.at[i], depth);
    for (const Op *op = b->first; op; op = op->next) put_op(d, op, depth);
}

void graph_print_dot(const Func *f, Text *out, Arena *a) {
    Dot d = {a, out};
    text_printf(
        a, out,
        "digraph \"%s\" {\n  node [fontname=\"sans-serif\", shape=ellipse];\n  edge [fontname=\"sans-serif\", fontsize=10];\n",
        escaped(&d, f->name));
    put_block(&d, f->body, 1);
    for (size_t i = 0; i < f->out_slots.n && i < f->body->results.n; i++) {
        const Value *v = f->body->results.at[i];
        text_printf(a, out, "  r%zu [label=\"%s\", shape=box, style=\"filled,rounded\", fillcolor=\"#e8e8e8\"];\n", i,
                    escaped(&d, f->out_slots.at[i]->name));
        text_printf(a, out, "  %s -> r%zu [label=\"%s\"];\n", node_name(&d, v), i, type_name(v->type));
    }
    text_add(a, out, "}\n");
}
