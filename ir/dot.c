/*
 * dot.c - one function as a picture for graphviz (`nnc x.nn --emit=dot --fn=train.step | dot -Tsvg`): a node for each op, types
 * on the edges. Ops stand in three frames: the way forward, the way back (what autodiff made: places whose `what` begins with
 * "gradient"), and what is computed from gradients (the updates). Blocks are boxes around their ops.
 *
 * Nodes are written first, each in its box, and all edges after them: an edge inside a box would draw its other end into it.
 */
#include "graph.h"

#include <string.h>

/* Above this, graphviz gets less time to make things beautiful: it would take minutes. */
enum { LARGE = 400 };

typedef enum Way { FORWARD, BACKWARD, UPDATE, N_WAYS } Way;

static const struct {
    const char *title, *colour, *frame;
} ways[N_WAYS] = {{"forward", "#d0e4ff", "#8aa8d0"}, {"backward", "#ffd9c0", "#d09a70"}, {"update", "#d4efce", "#88b87c"}};

typedef struct Dot {
    Arena *arena;
    Text *out, *edges; /* edges come after all nodes */
    char *way;         /* by value id: of the op that makes it */
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

static void put_edge(Dot *d, const Value *from, const char *to, const char *more) {
    text_printf(d->arena, d->edges, "  %s -> %s [label=\"%s\"%s];\n", node_name(d, from), to, type_name(from->type), more);
}

/* Backward where autodiff says so; update where something backward goes in. */
static Way way_of(const Dot *d, const Op *op) {
    if (op->loc.what && strncmp(op->loc.what, "gradient", 8) == 0) return BACKWARD;
    for (int i = 0; i < op->n_in; i++)
        if (d->way[op->in[i]->id] != FORWARD) return UPDATE;
    return FORWARD;
}

static void put_block(Dot *d, const Block *b, int depth);

static const char *op_label(Dot *d, const Op *op) {
    const char *label = op_info[op->code].name;
    for (int i = 0; i < op->n_attrs; i++)
        if (op->attrs[i].key == A_spec)
            label = arena_printf(d->arena, "%s\\n%s", label, escaped(d, op->attrs[i].s));
        else if (op->attrs[i].key == A_value)
            label = arena_printf(d->arena, "%s %g", label, op->attrs[i].f);
    return op->loc.line ? arena_printf(d->arena, "%s\\nline %d", label, op->loc.line) : label;
}

static void put_op(Dot *d, const Op *op, Way way, int depth) {
    if (!op->n_out) return;
    const char *name = arena_printf(d->arena, "op%d", op->out[0]->id);
    indent(d, depth);
    text_printf(d->arena, d->out, "%s [label=\"%s\", style=filled, fillcolor=\"%s\"];\n", name, op_label(d, op),
                ways[way].colour);
    for (int i = 0; i < op->n_in; i++) put_edge(d, op->in[i], name, "");
    for (int i = 0; i < op->n_blocks; i++) {
        indent(d, depth);
        text_printf(d->arena, d->out, "subgraph cluster_%d_%d {\n", op->out[0]->id, i);
        indent(d, depth + 1);
        text_printf(d->arena, d->out, "label=\"%s\";\n", op->n_blocks > 1 && i == 0 ? "condition" : op_info[op->code].name);
        put_block(d, op->blocks[i], depth + 1);
        indent(d, depth);
        text_add(d->arena, d->out, "}\n");
        for (size_t k = 0; k < op->blocks[i]->results.n; k++) put_edge(d, op->blocks[i]->results.at[k], name, ", style=dashed");
    }
}

/* Ops of a block inside an op: one way a colour, no frames. */
static void put_block(Dot *d, const Block *b, int depth) {
    for (size_t i = 0; i < b->params.n; i++) put_param(d, b->params.at[i], depth);
    for (const Op *op = b->first; op; op = op->next) put_op(d, op, way_of(d, op), depth);
}

/* The body of the function, way by way. */
static int put_ways(Dot *d, const Func *f) {
    int n = 0;
    for (size_t i = 0; i < f->body->params.n; i++) put_param(d, f->body->params.at[i], 1);
    for (const Op *op = f->body->first; op; op = op->next, n++)
        for (int i = 0; i < op->n_out; i++) d->way[op->out[i]->id] = (char)way_of(d, op);
    for (Way w = FORWARD; w < N_WAYS; w++) {
        bool any = false;
        for (const Op *op = f->body->first; op; op = op->next) any = any || (op->n_out && (Way)d->way[op->out[0]->id] == w);
        if (!any) continue;
        text_printf(d->arena, d->out, "  subgraph cluster_%s {\n    label=\"%s\"; color=\"%s\"; style=rounded;\n", ways[w].title,
                    ways[w].title, ways[w].frame);
        for (const Op *op = f->body->first; op; op = op->next)
            if (op->n_out && (Way)d->way[op->out[0]->id] == w) put_op(d, op, w, 2);
        text_add(d->arena, d->out, "  }\n");
    }
    return n;
}

void graph_print_dot(const Func *f, Text *out, Arena *a) {
    Text nodes = {0}, edges = {0};
    Dot d = {a, &nodes, &edges, arena_make_n(a, char, (size_t)f->n_values + 1)};
    int n = put_ways(&d, f);
    text_printf(a, out,
                "digraph \"%s\" {\n  newrank=true;\n  node [fontname=\"sans-serif\", shape=ellipse];\n  edge "
                "[fontname=\"sans-serif\", fontsize=10];\n",
                escaped(&d, f->name));
    if (n > LARGE) text_add(a, out, "  nslimit=1; nslimit1=1; mclimit=0.1; splines=line;\n");
    text_add(a, out, text_str(a, &nodes));
    for (size_t i = 0; i < f->out_slots.n && i < f->body->results.n; i++) {
        text_printf(a, out, "  r%zu [label=\"%s\", shape=box, style=\"filled,rounded\", fillcolor=\"#e8e8e8\"];\n", i,
                    escaped(&d, f->out_slots.at[i]->name));
        put_edge(&d, f->body->results.at[i], arena_printf(a, "r%zu", i), "");
    }
    text_add(a, out, text_str(a, &edges));
    text_add(a, out, "}\n");
}
