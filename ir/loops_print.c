/*
 * loops_print.c - the loops IR as text. loops_parse.c reads it; loops.h shows an example.
 *
 * The text is canonical: names are made unique here (w, w.1, ...), the terms of an affine stand in the order in which their
 * variables are declared in the text, and a place (@ file:line:col) is written where it differs from that of what is around. So
 * printing what was parsed gives the same bytes.
 *
 * Words, names, numbers, types, places and the header are those of text.h.
 *
 *   step   := "step @" name ["batch B<=" n] ["threads" n] ["arena" n] ["own" n] "{" buffer... node... "}"
 *   buffer := "buffer %" name ":" type [place] ["stride [" n... "]"] ["bytes" n] ["same %" name]
 *   place  := "arena" n | "thread" n | "slot" string | "field" string | "data [" number... "]"
 *   node   := "kernel @" name "{" stmt... "}" | "barrier" | "loop" var "in 0.." (affine | "%" name) "{" node... "}"
 *           | "while %" name "max" n "{" node... "}"
 *   stmt   := "for" range, ... "{" stmt... "}" | "if 0 <=" affine "{" stmt... "}" | "check" v "<" affine
 *           | "let" t ":" elem "=" expr | "acc" t ":" elem ["[" n... "]"] "=" expr | t ["[" affine... "]"] "=" expr
 *           | "%" name ["[" affine... "]"] "=" expr | "index" v "=" ("(" affine ")" ("/" | "mod") n | expr)
 *   range  := var "in" affine ".." (affine | "min(" affine, ... ")") ["by" n] [mark]
 *   mark   := "parallel" | "vector" n | "unroll" [n]
 *   expr   := [elem] (number | "convert(" expr ")") | "%" name ["[" affine... "]" ["else" number]] | t ["[" affine... "]"]
 *           | elem "(" affine ")" | op "(" expr, ... ")" | "uniform(" n "," expr "," expr ")" | "tree(" op "," t ")"
 */
#include "loops_text.h"

#include "text.h"

#include <string.h>

enum { ONE_LINE = 120 }; /* a loop around one assignment stands on one line if it fits */

int loops_arg_elem(OpCode op, int elem, int i) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch-enum" /* the rule of nearly all ops is the last line */
    switch (op) {
    case OP_convert:
    case OP_eq:
    case OP_ne:
    case OP_lt:
    case OP_le:
    case OP_gt:
    case OP_ge: return NO_ELEM;
    case OP_not:
    case OP_and:
    case OP_or: return BOOL;
    case OP_select: return i == 0 ? BOOL : elem;
    case OP_mix: return i == 0 ? I64 : NO_ELEM;
    default: return elem;
    }
#pragma GCC diagnostic pop
}

bool loops_is_keyword(const char *name) {
    static const char *const words[] = {"for",      "in",      "by",     "let",      "acc",    "index",  "check",
                                        "if",       "else",    "mod",    "parallel", "vector", "unroll", "tree",
                                        "prefetch", "uniform", "kernel", "barrier",  "loop",   "while",  "step",
                                        "buffer",   "same",    "inf",    "nan",      "B"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i], name) == 0) return true;
    Elem e;
    return elem_by_name(name, &e) || op_by_name(name) != OP_COUNT;
}

/* ---- names ---- */

/* The names that are known at a place of the text, interned; inner blocks add theirs at the end and take them off. */
typedef Vec(const char *) Names;

static bool names_has(const Names *s, const char *name) {
    for (size_t i = s->n; i-- > 0;)
        if (s->at[i] == name) return true;
    return false;
}

static bool name_byte(const char *s, const char *p) {
    unsigned char u = (unsigned char)*p;
    if ((u >= 'a' && u <= 'z') || (u >= 'A' && u <= 'Z') || u == '_' || u >= 0x80) return true;
    if (p == s) return false;
    return (u >= '0' && u <= '9') || (u == '.' && p[-1] != '.' && p[1] != '.' && p[1]);
}

/* `hint` made a name of the text's grammar. */
static const char *name_clean(Arena *a, const char *hint, bool keywords) {
    char *s = arena_printf(a, "%s%s", hint && ((*hint >= '0' && *hint <= '9') || (keywords && loops_is_keyword(hint))) ? "_" : "",
                           hint ? hint : "v");
    if (!*s) s = arena_strndup(a, "v", 1);
    for (char *p = s; *p; p++)
        if (!name_byte(s, p)) *p = '_';
    return intern(s);
}

/* A name that is not in `used`, from which it may be taken off again; adds it. */
static const char *name_unique(Arena *a, Names *used, const char *hint) {
    const char *clean = name_clean(a, hint, true), *name = clean;
    for (int k = 0; names_has(used, name);) name = intern_printf("%s.%d", clean, ++k);
    vec_push(a, used, name);
    return name;
}

/* The same of names that stay (there may be ten thousand): `used` has, by the name, the last number that was put behind it. */
static const char *name_kept(Arena *a, PtrMap *used, const char *hint) {
    const char *clean = name_clean(a, hint, false), *name = clean;
    int *k = map_get(used, name);
    if (k) do
            name = intern_printf("%s.%d", clean, ++*k);
        while (map_get(used, name));
    map_put(a, used, name, arena_make(a, int));
    return name;
}

typedef struct Printer {
    Arena *arena;
    Text *out;
    const Step *step;
    const char **var_name, **temp_name, **buffer_name; /* by id */
    int *var_order;                                    /* by id: in the order of the text */
    int n_order;
    Names names; /* of variables and temps known now */
    PtrMap kernel_names;
    bool rename; /* names are put where they belong, not only into the text */
    int depth;
} Printer;

static void declare_var(Printer *p, Var *v) {
    p->var_name[v->id] = name_unique(p->arena, &p->names, v->name);
    p->var_order[v->id] = p->n_order++;
    if (p->rename) v->name = p->var_name[v->id];
}

static void declare_temp(Printer *p, Temp *t) {
    p->temp_name[t->id] = name_unique(p->arena, &p->names, t->name);
    if (p->rename) t->name = p->temp_name[t->id];
}

/* Names everything that the block declares, in the order of the text; a name is free again behind its block. */
static void declare_body(Printer *p, const Body *b) {
    size_t outside = p->names.n;
    for (const Stmt *s = b->first; s; s = s->next) {
        size_t before = p->names.n;
        if (s->kind == STMT_FOR || s->kind == STMT_INDEX) declare_var(p, s->var);
        if (s->kind == STMT_LET || s->kind == STMT_ACC) declare_temp(p, s->temp);
        declare_body(p, &s->body);
        if (s->kind == STMT_FOR) p->names.n = before;
    }
    p->names.n = outside;
}

static void declare_loops(Printer *p, StepNode *const *nodes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (nodes[i]->kind == STEP_LOOP) declare_var(p, nodes[i]->var);
        declare_loops(p, nodes[i]->nodes.at, nodes[i]->nodes.n);
    }
}

static Printer names_of(Arena *a, const Step *s, bool rename) {
    Printer p = {.arena = a, .step = s, .rename = rename};
    p.var_name = arena_make_n(a, const char *, s->n_vars);
    p.var_order = arena_make_n(a, int, s->n_vars);
    p.temp_name = arena_make_n(a, const char *, s->n_temps);
    p.buffer_name = arena_make_n(a, const char *, s->buffers.n);
    PtrMap buffers = {0};
    for (size_t i = 0; i < s->buffers.n; i++) p.buffer_name[i] = name_kept(a, &buffers, s->buffers.at[i]->name);
    if (s->batch) {
        p.var_name[s->batch->id] = intern("B");
        p.var_order[s->batch->id] = p.n_order++;
        vec_push(a, &p.names, intern("B"));
    }
    declare_loops(&p, s->nodes.at, s->nodes.n);
    return p;
}

static void rename_kernels(Printer *p, StepNode *const *nodes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (nodes[i]->kind == STEP_KERNEL) {
            nodes[i]->name = name_kept(p->arena, &p->kernel_names, nodes[i]->name);
            declare_body(p, &nodes[i]->body);
        }
        rename_kernels(p, nodes[i]->nodes.at, nodes[i]->nodes.n);
    }
}

void step_rename(Step *s) {
    Arena *a = arena_new();
    Printer p = names_of(a, s, true);
    for (size_t i = 0; i < s->buffers.n; i++) s->buffers.at[i]->name = p.buffer_name[i];
    rename_kernels(&p, s->nodes.at, s->nodes.n);
    arena_free(a);
}

/* ---- small pieces ---- */

#define P(...) text_printf(p->arena, p->out, __VA_ARGS__)

static void indent(Printer *p) { P("%*s", 2 * p->depth, ""); }

static bool loc_same(Loc a, Loc b) { return a.file == b.file && a.line == b.line && a.col == b.col && a.what == b.what; }

/* The end of a line that began at out->at[line]: with the place, if there is one and it is not the one around. */
static void end_line(Printer *p, size_t line, Loc at, Loc around) {
    text_loc(p->arena, p->out, line, loc_same(at, around) ? (Loc){0} : at);
}

static void print_number(Printer *p, double v, Elem elem) { text_real(p->arena, p->out, v, elem); }

static void print_term(Printer *p, const Term *t, bool first) {
    int64_t f = t->factor;
    if (!first)
        P(f < 0 ? " - " : " + ");
    else if (f < 0)
        P("-");
    if (f != 1 && f != -1) P("%" PRId64 "*", f < 0 ? -f : f);
    const char *name = p->var_name[t->var->id];
    P("%s", name ? name : "?");
}

static void print_affine(Printer *p, const Affine *x) {
    int *order = p->var_order;
    bool done[64] = {false};
    if (x->n > 64) bug("an index of %d variables", x->n);
    for (int k = 0; k < x->n; k++) {
        int best = -1;
        for (int i = 0; i < x->n; i++)
            if (!done[i] && (best < 0 || order[x->term[i].var->id] < order[x->term[best].var->id])) best = i;
        done[best] = true;
        print_term(p, &x->term[best], k == 0);
    }
    if (x->n == 0)
        P("%" PRId64, x->constant);
    else if (x->constant)
        P(x->constant < 0 ? " - %" PRId64 : " + %" PRId64, x->constant < 0 ? -x->constant : x->constant);
}

static void print_indices(Printer *p, int n, const Affine *const *index) {
    if (n == 0) return;
    for (int i = 0; i < n; i++) {
        P(i ? ", " : "[");
        print_affine(p, index[i]);
    }
    P("]");
}

/* ---- expressions ---- */

static void print_expr(Printer *p, const Expr *e, int expected) {
    bool typed = (e->kind == EXPR_CONST || (e->kind == EXPR_OP && e->op == OP_convert)) && (int)e->elem != expected;
    if (typed) P("%s ", elem_name(e->elem));
    switch (e->kind) {
    case EXPR_CONST: print_number(p, e->value, e->elem); break;
    case EXPR_LOAD:
        P("%%%s", p->buffer_name[e->buffer->id]);
        print_indices(p, e->n_index, e->index);
        if (e->guarded) {
            P(" else ");
            print_number(p, e->value, e->elem);
        }
        break;
    case EXPR_TEMP:
        P("%s", p->temp_name[e->temp->id] ? p->temp_name[e->temp->id] : "?");
        print_indices(p, e->n_index, e->index);
        break;
    case EXPR_INDEX:
        P("%s(", elem_name(e->elem));
        print_affine(p, e->index[0]);
        P(")");
        break;
    case EXPR_OP:
        P("%s(", op_info[e->op].name);
        for (int i = 0; i < e->n_args; i++) {
            if (i) P(", ");
            print_expr(p, e->args[i], loops_arg_elem(e->op, (int)e->elem == expected ? expected : NO_ELEM, i));
        }
        P(")");
        break;
    case EXPR_UNIFORM:
        P("uniform(%" PRId64 ", ", e->site);
        print_expr(p, e->args[0], I64);
        P(", ");
        print_expr(p, e->args[1], I64);
        P(")");
        break;
    case EXPR_TREE: P("tree(%s, %s)", op_info[e->op].name, p->temp_name[e->temp->id] ? p->temp_name[e->temp->id] : "?"); break;
    }
}

/* ---- statements ---- */

static void print_range(Printer *p, const Stmt *s) {
    P("%s in ", p->var_name[s->var->id]);
    print_affine(p, s->lo);
    P("..");
    if (s->n_limits > 1) P("min(");
    for (int i = 0; i < s->n_limits; i++) {
        if (i) P(", ");
        print_affine(p, s->limits[i]);
    }
    if (s->n_limits > 1) P(")");
    if (s->step != 1) P(" by %" PRId64, s->step);
    if (s->mark == MARK_PARALLEL) P(" parallel");
    if (s->mark == MARK_VECTOR) P(" vector %d", s->width);
    if (s->mark == MARK_UNROLL && s->width) P(" unroll %d", s->width);
    if (s->mark == MARK_UNROLL && !s->width) P(" unroll");
}

static void print_body(Printer *p, const Body *b, Loc around);

/* Everything of a statement but its body, its place and the end of the line. */
static void print_head(Printer *p, const Stmt *s) {
    switch (s->kind) {
    case STMT_FOR: print_range(p, s); break;
    case STMT_LET:
        P("let %s: %s = ", p->temp_name[s->temp->id], elem_name(s->temp->elem));
        print_expr(p, s->value, s->temp->elem);
        break;
    case STMT_ACC:
        P("acc %s: %s", p->temp_name[s->temp->id], elem_name(s->temp->elem));
        for (int i = 0; i < s->temp->rank; i++) P("%s%" PRId64, i ? ", " : "[", s->temp->dim[i]);
        P(s->temp->rank ? "] = " : " = ");
        print_expr(p, s->value, s->temp->elem);
        break;
    case STMT_ASSIGN:
        P("%s", p->temp_name[s->temp->id] ? p->temp_name[s->temp->id] : "?");
        print_indices(p, s->n_index, s->index);
        P(" = ");
        print_expr(p, s->value, s->temp->elem);
        break;
    case STMT_STORE:
        P("%%%s", p->buffer_name[s->buffer->id]);
        print_indices(p, s->n_index, s->index);
        P(" = ");
        print_expr(p, s->value, s->buffer->elem);
        break;
    case STMT_INDEX:
        P("index %s = ", p->var_name[s->var->id]);
        if (s->index_kind == INDEX_VALUE) {
            print_expr(p, s->value, NO_ELEM);
        } else {
            P("(");
            print_affine(p, s->affine);
            P(") %s %" PRId64, s->index_kind == INDEX_DIV ? "/" : "mod", s->by);
        }
        break;
    case STMT_CHECK:
        P("check %s < ", p->var_name[s->var->id] ? p->var_name[s->var->id] : "?");
        print_affine(p, s->size);
        break;
    case STMT_PREFETCH:
        P("prefetch ");
        P("%%%s", p->buffer_name[s->buffer->id]);
        print_indices(p, s->n_index, s->index);
        break;
    case STMT_IF:
        P("if 0 <= ");
        print_affine(p, s->affine);
        break;
    }
}

/* A loop whose body is one assignment or store of the same place: " { s = ... }" if the line stays short. */
static bool print_short_body(Printer *p, const Stmt *s, Loc at, size_t line_start) {
    const Stmt *inner = s->body.first;
    if (!inner || inner->next || (inner->kind != STMT_ASSIGN && inner->kind != STMT_STORE)) return false;
    if (inner->loc.file && !loc_same(inner->loc, at)) return false;
    size_t mark = p->out->n;
    P(" { ");
    print_head(p, inner);
    P(" }");
    if (p->out->n - line_start <= ONE_LINE) return true;
    p->out->n = mark;
    return false;
}

static void print_stmt(Printer *p, const Stmt *s, Loc around) {
    size_t start = p->out->n;
    Loc at = s->loc.file ? s->loc : around;
    indent(p);
    if (s->kind == STMT_FOR) P("for ");
    print_head(p, s);
    if (s->kind == STMT_FOR || s->kind == STMT_IF) {
        /* loops that stand directly in one another share a line */
        while (s->kind == STMT_FOR) {
            const Stmt *inner = s->body.first;
            if (!inner || inner->next || inner->kind != STMT_FOR || (inner->loc.file && !loc_same(inner->loc, at))) break;
            P(", ");
            print_head(p, inner);
            s = inner;
        }
        if (!print_short_body(p, s, at, start)) {
            P(" {");
            end_line(p, start, at, around);
            print_body(p, &s->body, at);
            indent(p);
            P("}\n");
            return;
        }
    }
    end_line(p, start, at, around);
}

static void print_body(Printer *p, const Body *b, Loc around) {
    p->depth++;
    for (const Stmt *s = b->first; s; s = s->next) print_stmt(p, s, around);
    p->depth--;
}

/* ---- steps ---- */

static void print_place(Printer *p, const Buffer *b) {
    switch (b->place) {
    case PLACE_NONE: break;
    case PLACE_ARENA: P(" arena %" PRId64, b->offset); break;
    case PLACE_THREAD: P(" thread %" PRId64, b->offset); break;
    case PLACE_SLOT:
    case PLACE_FIELD:
        P(b->place == PLACE_SLOT ? " slot " : " field ");
        text_quoted(p->arena, p->out, b->slot->name);
        break;
    case PLACE_DATA: {
        int64_t n = 1;
        for (int i = 0; i < b->rank; i++) n *= b->dim[i].n;
        P(" data [");
        for (int64_t i = 0; i < n; i++) {
            if (i) P(", ");
            print_number(p, b->data[i], b->elem);
        }
        P("]");
    } break;
    }
}

static void print_buffer(Printer *p, Buffer *b, Loc around) {
    size_t line = p->out->n;
    indent(p);
    P("buffer %%%s: %s", p->buffer_name[b->id], type_name(type_make(b->elem, b->rank, b->dim)));
    print_place(p, b);
    int64_t stride = 1;
    bool packed = true;
    for (int i = b->rank - 1; i >= 0; i--) {
        packed &= b->stride[i] == stride;
        stride *= dim_size(b->dim[i], p->step->batch_bound);
    }
    if (!packed) {
        P(" stride [");
        for (int i = 0; i < b->rank; i++) P(i ? ", %" PRId64 : "%" PRId64, b->stride[i]);
        P("]");
    }
    if (b->bytes != buffer_bytes(p->step, b)) P(" bytes %" PRId64, b->bytes);
    if (b->same) P(" same %%%s", p->buffer_name[b->same->id]);
    end_line(p, line, b->loc, around);
}

static void print_nodes(Printer *p, StepNode *const *nodes, size_t n, Loc around);

static void print_kernel(Printer *p, size_t line, const StepNode *k, Loc around, Loc at) {
    declare_body(p, &k->body);
    P("kernel @%s {", name_kept(p->arena, &p->kernel_names, k->name));
    end_line(p, line, at, around);
    print_body(p, &k->body, at);
}

static void print_node(Printer *p, StepNode *k, Loc around) {
    Loc at = k->loc.file ? k->loc : around;
    size_t line = p->out->n;
    indent(p);
    switch (k->kind) {
    case STEP_BARRIER: P("barrier\n"); return;
    case STEP_KERNEL: print_kernel(p, line, k, around, at); break;
    case STEP_LOOP:
    case STEP_WHILE:
        if (k->kind == STEP_LOOP) {
            P("loop %s in 0..", p->var_name[k->var->id]);
            if (k->trip)
                print_affine(p, k->trip);
            else
                P("%%%s", p->buffer_name[k->count->id]);
        } else {
            P("while %%%s max %" PRId64, p->buffer_name[k->count->id], k->max);
        }
        P(" {");
        end_line(p, line, at, around);
        print_nodes(p, k->nodes.at, k->nodes.n, at);
        break;
    }
    indent(p);
    P("}\n");
}

static void print_nodes(Printer *p, StepNode *const *nodes, size_t n, Loc around) {
    p->depth++;
    for (size_t i = 0; i < n; i++) print_node(p, nodes[i], around);
    p->depth--;
}

static void print_step(const Step *s, Text *out, Arena *a) {
    Printer printer = names_of(a, s, false), *p = &printer;
    p->out = out;
    P("\n");
    size_t line = out->n;
    P("step ");
    text_name(a, out, "@", s->func->name);
    if (s->batch) P(" batch B<=%" PRId64, s->batch_bound);
    if (s->threads) P(" threads %" PRId64, s->threads);
    if (s->arena) P(" arena %" PRId64, s->arena);
    if (s->own) P(" own %" PRId64, s->own);
    P(" {");
    end_line(p, line, s->func->loc, (Loc){0});
    p->depth = 1;
    for (size_t i = 0; i < s->buffers.n; i++) print_buffer(p, s->buffers.at[i], s->func->loc);
    p->depth = 0;
    print_nodes(p, s->nodes.at, s->nodes.n, s->func->loc);
    P("}\n");
}

static const char *const stages[] = {
    [LOOPS_LOWERED] = "lowered", [LOOPS_TILED] = "tiled", [LOOPS_MARKED] = "marked", [LOOPS_PLANNED] = "planned"};

const char *loops_stage_name(LoopsStage stage) { return stages[stage]; }

void loops_print(const LoopsProgram *program, LoopsStage stage, const Func *only, Text *out, Arena *a) {
    if (!only) {
        text_printf(a, out, "loops %s\n", stages[stage]);
        module_print_header(program->module, out, a);
    }
    for (size_t i = 0; i < program->steps.n; i++)
        if (!only || program->steps.at[i]->func == only) print_step(program->steps.at[i], out, a);
}
