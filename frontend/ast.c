/*
 * ast.c - walking and printing the syntax tree.
 *
 * The text (--emit=ast) is for reading and for golden tests: each declaration and statement begins a line, blocks are indented,
 * and operators are written before their operands in parentheses, so that precedence is seen: (+ a (* b c)).
 */
#include "ast.h"

#include <ctype.h>
#include <string.h>

const char *ast_kind_text(AstKind kind) {
    static const char *texts[AST_KIND_COUNT];
    if ((unsigned)kind >= AST_KIND_COUNT) bug("no such kind of node: %d", (int)kind);
    if (!texts[kind]) {
        static const char *const names[] = {
#define X(kind) #kind,
            AST_KINDS(X)
#undef X
        };
        char word[40];
        size_t n = 0;
        for (const char *s = names[kind] + strlen("AST_"); *s && n + 1 < sizeof word; s++)
            word[n++] = (char)tolower((unsigned char)*s);
        texts[kind] = intern_n(word, n);
    }
    return texts[kind];
}

const char *ast_operator_text(AstOperator op) {
    switch (op) {
    case OPERATOR_OR: return "or";
    case OPERATOR_AND: return "and";
    case OPERATOR_NOT: return "not";
    case OPERATOR_EQ: return "==";
    case OPERATOR_NE: return "!=";
    case OPERATOR_LT: return "<";
    case OPERATOR_LE: return "<=";
    case OPERATOR_GT: return ">";
    case OPERATOR_GE: return ">=";
    case OPERATOR_RANGE: return "..";
    case OPERATOR_ADD: return "+";
    case OPERATOR_SUB: return "-";
    case OPERATOR_MUL: return "*";
    case OPERATOR_DIV: return "/";
    case OPERATOR_FLOORDIV: return "//";
    case OPERATOR_MOD: return "%";
    case OPERATOR_MATMUL: return "@";
    case OPERATOR_NEG: return "-";
    case OPERATOR_POW: return "^";
    case OPERATOR_TRANSPOSE: return "'";
    }
    bug("no such operator: %d", (int)op);
}

const char *ast_declared_name(const Node *d) {
    switch ((int)d->kind) {
    case AST_CONST:
    case AST_OPTION:
    case AST_MODEL:
    case AST_VOCAB: return d->define.name;
    case AST_DATA: return d->data.name;
    case AST_FN:
    case AST_LAYER:
    case AST_OPTIMIZER:
    case AST_COMMAND: return d->function->name;
    default: return NULL;
    }
}

/* ---- walking ---- */

typedef struct Walk {
    void (*visit)(Node *, void *);
    void *data;
} Walk;

static void one(Walk w, Node *n) {
    if (n) w.visit(n, w.data);
}

static void all(Walk w, Nodes list) {
    for (uint32_t i = 0; i < list.n; i++) w.visit(list.at[i], w.data);
}

static void loop_children(Walk w, const AstLoop *l) {
    all(w, l->clauses);
    one(w, l->condition);
    one(w, l->along);
    one(w, l->count);
    all(w, l->body);
}

static void function_children(Walk w, const AstFunction *f) {
    all(w, f->config);
    all(w, f->inputs);
    all(w, f->results);
    all(w, f->body);
}

void ast_children(const Node *n, void (*visit)(Node *, void *), void *data) {
    Walk w = {visit, data};
    switch (n->kind) {
    case AST_ERROR:
    case AST_NUMBER:
    case AST_BOOL:
    case AST_NAME:
    case AST_NEW:
    case AST_KEEP: break;
    case AST_STRING:
        for (uint32_t i = 0; i < n->string.n; i++) one(w, n->string.pieces[i].name);
        break;
    case AST_MEMBER: one(w, n->member.base); break;
    case AST_CALL:
    case AST_BRACKET:
        one(w, n->call.callee);
        all(w, n->call.items);
        break;
    case AST_LIST: all(w, n->list.items); break;
    case AST_COMPREHENSION:
        one(w, n->comprehension.element);
        all(w, n->comprehension.names);
        all(w, n->comprehension.sources);
        break;
    case AST_UNARY: one(w, n->unary.operand); break;
    case AST_BINARY:
        one(w, n->binary.left);
        one(w, n->binary.right);
        break;
    case AST_PIPE:
        one(w, n->pipe.value);
        one(w, n->pipe.target);
        break;
    case AST_IF:
        one(w, n->choice.condition);
        one(w, n->choice.yes);
        one(w, n->choice.no);
        break;
    case AST_SCAN:
    case AST_REPEAT:
    case AST_WHILE:
    case AST_FOR: loop_children(w, n->loop); break;
    case AST_SLICE:
        one(w, n->slice.from);
        one(w, n->slice.to);
        break;
    case AST_REST: one(w, n->rest.value); break;
    case AST_KEYWORD: one(w, n->keyword.value); break;
    case AST_TYPE: all(w, n->type.dims); break;
    case AST_FIELD:
        one(w, n->field.type);
        one(w, n->field.value);
        break;
    case AST_CLAUSE:
        all(w, n->clause.names);
        all(w, n->clause.sources);
        one(w, n->clause.batch);
        break;
    case AST_BIND:
    case AST_LET:
        all(w, n->bind.targets);
        one(w, n->bind.type);
        all(w, n->bind.values);
        break;
    case AST_PARAM:
    case AST_STATE:
        all(w, n->own.names);
        one(w, n->own.type);
        one(w, n->own.value);
        break;
    case AST_ASSIGN:
        one(w, n->assign.target);
        one(w, n->assign.value);
        break;
    case AST_BRANCH:
        one(w, n->branch.condition);
        all(w, n->branch.yes);
        all(w, n->branch.no);
        break;
    case AST_RETURN:
    case AST_YIELD:
    case AST_TRACK:
    case AST_PRINT:
    case AST_EXPRESSION: all(w, n->values.items); break;
    case AST_MINIMIZE:
    case AST_UPDATE:
        one(w, n->update.value);
        all(w, n->update.models);
        one(w, n->update.rule);
        break;
    case AST_STOP: one(w, n->keep.turns); break;
    case AST_SAVE:
    case AST_LOAD:
    case AST_WRITE:
        all(w, n->file.values);
        one(w, n->file.path);
        break;
    case AST_CONST:
    case AST_OPTION:
    case AST_MODEL:
    case AST_VOCAB: one(w, n->define.value); break;
    case AST_DATA: all(w, n->data.fields); break;
    case AST_FN:
    case AST_LAYER:
    case AST_OPTIMIZER:
    case AST_COMMAND: function_children(w, n->function); break;
    case AST_KIND_COUNT: bug("a node without a kind");
    }
}

/* ---- printing ---- */

typedef struct Printer {
    Arena *arena;
    Text *out;
    int indent;
} Printer;

static void print(Printer *p, const Node *n);

static void say(Printer *p, const char *s) { text_add(p->arena, p->out, s); }

static void say_list(Printer *p, Nodes list) {
    for (uint32_t i = 0; i < list.n; i++) {
        if (i) say(p, ", ");
        print(p, list.at[i]);
    }
}

static void say_line(Printer *p) {
    say(p, "\n");
    for (int i = 0; i < p->indent; i++) say(p, "    ");
}

static void say_block(Printer *p, Nodes body) {
    say(p, " {");
    p->indent++;
    for (uint32_t i = 0; i < body.n; i++) {
        say_line(p);
        print(p, body.at[i]);
    }
    p->indent--;
    say_line(p);
    say(p, "}");
}

static void say_text(Printer *p, const AstPiece *piece) {
    for (size_t i = 0; i < piece->n; i++) {
        char c = piece->text[i];
        if (c == '"')
            say(p, "\\\"");
        else if (c == '\\')
            say(p, "\\\\");
        else if (c == '\n')
            say(p, "\\n");
        else if (c == '\t')
            say(p, "\\t");
        else
            text_add(p->arena, p->out, (char[]){c, 0});
    }
}

static void say_string(Printer *p, const Node *n) {
    say(p, "\"");
    for (uint32_t i = 0; i < n->string.n; i++) {
        const AstPiece *piece = &n->string.pieces[i];
        if (!piece->name)
            say_text(p, piece);
        else if (piece->digits)
            text_printf(p->arena, p->out, "{%s:.%d}", piece->name->name, piece->digits);
        else
            text_printf(p->arena, p->out, "{%s}", piece->name->name);
    }
    say(p, "\"");
}

static void say_field(Printer *p, const Node *n) {
    if (n->field.name) say(p, n->field.name);
    if (n->field.type) {
        if (n->field.name) say(p, ": ");
        print(p, n->field.type);
    }
    if (n->field.value) {
        say(p, " = ");
        print(p, n->field.value);
    }
}

static void say_clause(Printer *p, const Node *n) {
    say_list(p, n->clause.names);
    say(p, " in ");
    say_list(p, n->clause.sources);
    if (n->clause.batch) {
        say(p, " batch ");
        print(p, n->clause.batch);
    }
    if (n->clause.shuffle) say(p, " shuffle");
    if (n->clause.resample) say(p, " resample");
    if (n->clause.lanes) say(p, " lanes");
    if (n->clause.drop_last) say(p, " drop_last");
}

static void say_loop(Printer *p, const Node *n) {
    const AstLoop *l = n->loop;
    say(p, ast_kind_text(n->kind));
    say(p, " ");
    say_list(p, l->clauses);
    if (l->condition) {
        print(p, l->condition);
        say(p, " max ");
    }
    if (l->count) print(p, l->count);
    if (l->along) {
        say(p, " along ");
        print(p, l->along);
    }
    if (l->backwards) say(p, " backwards");
    say_block(p, l->body);
}

static void say_function(Printer *p, const Node *n) {
    const AstFunction *f = n->function;
    text_printf(p->arena, p->out, "%s%s %s", n->broken ? "broken " : "", ast_kind_text(n->kind), f->name);
    if (f->has_config) {
        say(p, "[");
        say_list(p, f->config);
        say(p, "]");
    }
    if (f->has_inputs) {
        say(p, "(");
        say_list(p, f->inputs);
        say(p, ")");
    }
    if (f->has_results) {
        say(p, f->named_results ? " -> (" : " -> ");
        say_list(p, f->results);
        if (f->named_results) say(p, ")");
    }
    say_block(p, f->body);
}

static void say_branch(Printer *p, const Node *n) {
    say(p, "if ");
    print(p, n->branch.condition);
    say_block(p, n->branch.yes);
    if (!n->branch.has_else) return;
    say(p, " else");
    say_block(p, n->branch.no);
}

static void say_update(Printer *p, const Node *n) {
    bool minimize = n->kind == AST_MINIMIZE;
    say(p, minimize ? "minimize " : "update ");
    if (minimize)
        print(p, n->update.value);
    else
        say_list(p, n->update.models);
    say(p, minimize ? " over " : " with ");
    if (minimize)
        say_list(p, n->update.models);
    else
        print(p, n->update.value);
    say(p, " using ");
    print(p, n->update.rule);
}

static void say_own(Printer *p, const Node *n) {
    text_printf(p->arena, p->out, "%s%s ", n->broken ? "broken " : "", ast_kind_text(n->kind));
    say_list(p, n->own.names);
    say(p, ": ");
    print(p, n->own.type);
    say(p, " = ");
    print(p, n->own.value);
}

static void say_call(Printer *p, const Node *n) {
    print(p, n->call.callee);
    say(p, n->kind == AST_CALL ? "(" : "[");
    say_list(p, n->call.items);
    say(p, n->kind == AST_CALL ? ")" : "]");
}

static void say_bind(Printer *p, const Node *n) {
    if (n->kind == AST_LET) say(p, "let ");
    say_list(p, n->bind.targets);
    if (n->bind.type) {
        say(p, ": ");
        print(p, n->bind.type);
    }
    say(p, " = ");
    say_list(p, n->bind.values);
}

static void say_comprehension(Printer *p, const Node *n) {
    say(p, "[");
    print(p, n->comprehension.element);
    say(p, " for ");
    say_list(p, n->comprehension.names);
    say(p, " in ");
    say_list(p, n->comprehension.sources);
    say(p, "]");
}

static void say_values(Printer *p, const Node *n) {
    if (n->kind != AST_EXPRESSION) say(p, ast_kind_text(n->kind));
    if (n->kind != AST_EXPRESSION && n->values.items.n) say(p, " ");
    say_list(p, n->values.items);
}

static void say_file(Printer *p, const Node *n) {
    say(p, ast_kind_text(n->kind));
    say(p, " ");
    say_list(p, n->file.values);
    say(p, n->kind == AST_LOAD ? " from " : " to ");
    print(p, n->file.path);
}

/* (head a b c), as far as there are operands */
static void say_applied(Printer *p, const char *head, const Node *a, const Node *b, const Node *c) {
    const Node *operands[] = {a, b, c};
    text_printf(p->arena, p->out, "(%s", head);
    for (int i = 0; i < 3 && operands[i]; i++) {
        say(p, " ");
        print(p, operands[i]);
    }
    say(p, ")");
}

static void print(Printer *p, const Node *n) {
    switch (n->kind) {
    case AST_ERROR: say(p, "<error>"); break;
    case AST_NUMBER: say(p, n->number.text); break;
    case AST_BOOL: say(p, n->boolean ? "true" : "false"); break;
    case AST_STRING: say_string(p, n); break;
    case AST_NAME: say(p, n->name); break;
    case AST_MEMBER:
        print(p, n->member.base);
        text_printf(p->arena, p->out, ".%s", n->member.name);
        break;
    case AST_CALL:
    case AST_BRACKET: say_call(p, n); break;
    case AST_LIST:
        say(p, "[");
        say_list(p, n->list.items);
        say(p, "]");
        break;
    case AST_COMPREHENSION: say_comprehension(p, n); break;
    case AST_UNARY: say_applied(p, ast_operator_text(n->unary.op), n->unary.operand, NULL, NULL); break;
    case AST_BINARY: say_applied(p, ast_operator_text(n->binary.op), n->binary.left, n->binary.right, NULL); break;
    case AST_PIPE:
        say(p, "(|> ");
        print(p, n->pipe.value);
        say(p, n->pipe.target->paren ? " (" : " ");
        print(p, n->pipe.target);
        say(p, n->pipe.target->paren ? "))" : ")");
        break;
    case AST_IF: say_applied(p, "if", n->choice.condition, n->choice.yes, n->choice.no); break;
    case AST_SCAN:
    case AST_REPEAT:
    case AST_WHILE:
    case AST_FOR: say_loop(p, n); break;
    case AST_SLICE:
        if (n->slice.from) print(p, n->slice.from);
        say(p, ":");
        if (n->slice.to) print(p, n->slice.to);
        break;
    case AST_REST:
        say(p, "...");
        if (n->rest.value) print(p, n->rest.value);
        break;
    case AST_NEW: say(p, "new"); break;
    case AST_KEYWORD:
        text_printf(p->arena, p->out, "%s=", n->keyword.name);
        print(p, n->keyword.value);
        break;
    case AST_TYPE:
        say(p, n->type.name);
        if (!n->type.has_dims) break;
        say(p, "[");
        say_list(p, n->type.dims);
        say(p, "]");
        break;
    case AST_FIELD: say_field(p, n); break;
    case AST_CLAUSE: say_clause(p, n); break;
    case AST_BIND:
    case AST_LET: say_bind(p, n); break;
    case AST_PARAM:
    case AST_STATE: say_own(p, n); break;
    case AST_ASSIGN:
        print(p, n->assign.target);
        say(p, " <- ");
        print(p, n->assign.value);
        break;
    case AST_BRANCH: say_branch(p, n); break;
    case AST_RETURN:
    case AST_YIELD:
    case AST_TRACK:
    case AST_PRINT:
    case AST_EXPRESSION: say_values(p, n); break;
    case AST_MINIMIZE:
    case AST_UPDATE: say_update(p, n); break;
    case AST_KEEP:
    case AST_STOP:
        text_printf(p->arena, p->out, "%s %s %s", n->kind == AST_KEEP ? "keep" : "stop when",
                    n->keep.highest ? "highest" : "lowest", n->keep.name);
        if (!n->keep.turns) break;
        say(p, " stalls for ");
        print(p, n->keep.turns);
        break;
    case AST_SAVE:
    case AST_LOAD:
    case AST_WRITE: say_file(p, n); break;
    case AST_CONST:
    case AST_OPTION:
    case AST_MODEL:
    case AST_VOCAB:
        text_printf(p->arena, p->out, "%s%s %s = ", n->broken ? "broken " : "", ast_kind_text(n->kind), n->define.name);
        print(p, n->define.value);
        break;
    case AST_DATA:
        text_printf(p->arena, p->out, "%sdata %s%s", n->broken ? "broken " : "", n->data.name, n->data.shuffle ? " shuffle" : "");
        say_block(p, n->data.fields);
        break;
    case AST_FN:
    case AST_LAYER:
    case AST_OPTIMIZER:
    case AST_COMMAND: say_function(p, n); break;
    case AST_KIND_COUNT: bug("a node without a kind");
    }
}

void ast_print_node(Arena *a, Text *out, const Node *n) {
    Printer p = {.arena = a, .out = out};
    print(&p, n);
}

void ast_print(const Ast *ast, FILE *out) {
    for (uint32_t i = 0; i < ast->declarations.n; i++) {
        Arena *a = arena_new();
        Text t = {0};
        ast_print_node(a, &t, ast->declarations.at[i]);
        fprintf(out, "%s\n", text_str(a, &t));
        arena_free(a);
    }
}
