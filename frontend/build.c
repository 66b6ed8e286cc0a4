/*
 * build.c - the constructors of the syntax tree: see build.h.
 */
#include "build.h"

#include <string.h>

enum { MAX_HEADER_WORDS = 10000 }; /* names in a header that could not be read */

Loc place(const Parsing *p, Place at) {
    bool one_line = at.first_line == at.last_line;
    return (Loc){.file = p->file, .line = at.first_line, .col = at.first_column, .end = one_line ? at.last_column : 0};
}

Node *node_make(Parsing *p, AstKind kind, Place at) {
    Node *n = arena_make(p->arena, Node);
    n->kind = kind;
    n->depth = 1;
    n->serial = ++p->nodes;
    n->loc = place(p, at);
    n->end_line = at.last_line;
    n->end_col = at.last_column;
    return n;
}

static void deepest(Node *child, void *data) {
    int *depth = data;
    if (child->depth > *depth) *depth = child->depth;
}

void report_nesting(Parsing *p, Loc at) {
    diag_error(p->diag, at, 8, "nested too deep: at most %d brackets may be open at once, and a tree may have %d levels",
               MAX_BRACKETS, MAX_DEPTH);
}

/* Notes how deep the tree below n is; too deep: an error (T6), once, and an AST_ERROR in place of n. Every inner node passes
 * here. */
static Node *node_done(Parsing *p, Node *n) {
    int depth = 0;
    ast_children(n, deepest, &depth);
    n->depth = (uint16_t)(depth + 1);
    if (depth < MAX_DEPTH) return n;
    if (!p->said_depth) report_nesting(p, n->loc);
    p->said_depth = true;
    *n = (Node){.kind = AST_ERROR, .depth = 1, .loc = n->loc, .end_line = n->end_line, .end_col = n->end_col};
    return n;
}

void list_add(Parsing *p, Nodes *list, Node *n) {
    if (list->n == list->cap) {
        uint32_t cap = list->cap ? list->cap * 2 : 2;
        Node **at = arena_make_n(p->arena, Node *, cap);
        if (list->n) memcpy(at, list->at, list->n * sizeof *at);
        list->at = at;
        list->cap = cap;
    }
    list->at[list->n++] = n;
}

Nodes list_of(Parsing *p, Node *n) {
    Nodes list = {0};
    list_add(p, &list, n);
    return list;
}

static const char *name_of(const Node *n) { return n && n->kind == AST_NAME ? n->name : "?"; }

/* ---- expressions ---- */

Node *make_unary(Parsing *p, AstOperator op, Node *operand, Place at) {
    Node *n = node_make(p, AST_UNARY, at);
    n->unary.op = op;
    n->unary.operand = operand;
    return node_done(p, n);
}

static bool compares(AstOperator op) { return op >= OPERATOR_EQ && op <= OPERATOR_GE; }

static void mark(Node *n, Place sign) {
    if (sign.first_line == n->loc.line) n->loc.mark = sign.first_column;
}

Node *make_binary(Parsing *p, AstOperator op, Node *left, Node *right, Place at, Place sign) {
    if (compares(op) && left->kind == AST_BINARY && !left->paren && compares(left->binary.op)) {
        diag_error(p->diag, place(p, sign), 13, "comparisons do not chain: write `a %s b and b %s c`",
                   ast_operator_text(left->binary.op), ast_operator_text(op));
        return node_make(p, AST_ERROR, at);
    }
    Node *n = node_make(p, AST_BINARY, at);
    mark(n, sign);
    n->binary.op = op;
    n->binary.left = left;
    n->binary.right = right;
    return node_done(p, n);
}

Node *make_pipe(Parsing *p, Node *value, Node *target, Place at, Place sign) {
    if (!target->paren && (target->kind == AST_LIST || target->kind == AST_COMPREHENSION || target->kind == AST_UNARY)) {
        diag_error(p->diag, target->loc, 6,
                   "behind `|>` stands what is applied: a name, a call, `f[...]`, or anything in parentheses");
        return node_make(p, AST_ERROR, at);
    }
    Node *n = node_make(p, AST_PIPE, at);
    mark(n, sign);
    n->pipe.value = value;
    n->pipe.target = target;
    return node_done(p, n);
}

Node *make_choice(Parsing *p, Node *condition, Node *yes, Node *no, Place at) {
    Node *n = node_make(p, AST_IF, at);
    n->choice.condition = condition;
    n->choice.yes = yes;
    n->choice.no = no;
    return node_done(p, n);
}

/* Keywords stand once each, behind the others (N1). */
static void check_keywords(Parsing *p, const Nodes *items) {
    const Node *keyword = NULL;
    int n = 0;
    for (uint32_t i = 0; i < items->n; i++) {
        const Node *k = items->at[i];
        if (k->kind != AST_KEYWORD) {
            if (keyword && k->kind != AST_ERROR) {
                diag_error(p->diag, k->loc, 19, "a value without a keyword stands behind `%s=`", keyword->keyword.name);
                return;
            }
            continue;
        }
        keyword = k;
        if (++n > MAX_KEYWORDS) {
            diag_error(p->diag, k->loc, 2, "more than %d keywords in one call", (int)MAX_KEYWORDS);
            return;
        }
        for (uint32_t j = i; j-- > 0 && items->at[j]->kind == AST_KEYWORD;) {
            const Node *other = items->at[j];
            if (other->keyword.name != k->keyword.name) continue;
            diag_error(p->diag, k->loc, 19, "`%s=` is given twice", k->keyword.name);
            diag_note(p->diag, other->loc, "the first one");
            break;
        }
    }
}

Node *make_call(Parsing *p, AstKind kind, Node *callee, Nodes items, Place at) {
    check_keywords(p, &items);
    Node *n = node_make(p, kind, at);
    n->call.callee = callee;
    n->call.items = items;
    return node_done(p, n);
}

Node *make_member(Parsing *p, Node *base, const Node *name, Place at) {
    Node *n = node_make(p, AST_MEMBER, at);
    n->member.base = base;
    n->member.name = name_of(name);
    n->member.name_loc = name->loc;
    return node_done(p, n);
}

Node *make_list(Parsing *p, Nodes items, Place at) {
    Node *n = node_make(p, AST_LIST, at);
    n->list.items = items;
    return node_done(p, n);
}

Node *make_comprehension(Parsing *p, Node *element, Nodes names, Nodes sources, Place at) {
    Node *n = node_make(p, AST_COMPREHENSION, at);
    n->comprehension.element = element;
    n->comprehension.names = names;
    n->comprehension.sources = sources;
    if (names.n != sources.n && sources.n > 1) /* one list for several names may be one of pairs */
        diag_error(p->diag, names.at[0]->loc, 6, "%u name%s for %u lists", names.n, names.n == 1 ? "" : "s", sources.n);
    return node_done(p, n);
}

Node *make_slice(Parsing *p, Node *from, Node *to, Place at) {
    Node *n = node_make(p, AST_SLICE, at);
    n->slice.from = from;
    n->slice.to = to;
    return node_done(p, n);
}

Node *make_rest(Parsing *p, Node *value, Place at) {
    Node *n = node_make(p, AST_REST, at);
    n->rest.value = value;
    return node_done(p, n);
}

Node *make_keyword(Parsing *p, const Node *name, Node *value, Place at) {
    Node *n = node_make(p, AST_KEYWORD, at);
    n->keyword.name = name_of(name);
    n->keyword.name_loc = name->loc;
    n->keyword.value = value;
    return node_done(p, n);
}

Node *make_item(Parsing *p, Node *item) {
    (void)p;
    if (item->kind == AST_NAME && !item->paren && item->name == intern("new")) item->kind = AST_NEW;
    return item;
}

/* ---- parts ---- */

Node *make_type(Parsing *p, const char *name, const Nodes *dims, Place at) {
    Node *n = node_make(p, AST_TYPE, at);
    n->type.name = intern(name);
    n->type.has_dims = dims != NULL;
    if (dims) n->type.dims = *dims;
    return node_done(p, n);
}

Node *make_field(Parsing *p, const Node *name, Node *type, Node *value, Place at) {
    Node *n = node_make(p, AST_FIELD, at);
    n->field.name = name ? name_of(name) : NULL;
    n->field.name_loc = name ? name->loc : n->loc;
    n->field.type = type;
    n->field.value = value;
    return node_done(p, n);
}

Node *make_clause(Parsing *p, Nodes names, Nodes sources, Node *batch, Place at) {
    Node *n = node_make(p, AST_CLAUSE, at);
    n->clause.names = names;
    n->clause.sources = sources;
    n->clause.batch = batch;
    return node_done(p, n);
}

void clause_flag(Parsing *p, Node *clause, int kind, Place at) {
    if (clause->kind != AST_CLAUSE) return;
    bool *flag = kind == T_SHUFFLE    ? &clause->clause.shuffle
                 : kind == T_RESAMPLE ? &clause->clause.resample
                 : kind == T_LANES    ? &clause->clause.lanes
                                      : &clause->clause.drop_last;
    clause->end_line = at.last_line;
    clause->end_col = at.last_column;
    if (*flag) diag_error(p->diag, place(p, at), 23, "%s is given twice", token_kind_text(kind));
    *flag = true;
    if (clause->clause.shuffle + clause->clause.resample + clause->clause.lanes > 1)
        diag_error(p->diag, place(p, at), 23, "of `shuffle`, `resample` and `lanes` one can be given");
}

/* ---- statements ---- */

/* What can stand left of `=`: a name, or a part of one. */
static bool check_target(Parsing *p, Node *t) {
    if (t->kind == AST_ERROR) return false;
    if (t->kind == AST_NAME && !t->paren) return true;
    if (t->kind == AST_BRACKET && !t->paren && t->call.callee->kind == AST_NAME) return true;
    if (t->kind == AST_MEMBER) {
        diag_error(p->diag, t->loc, 17, "`=` binds names of one's own; a parameter or state is written with `<-`");
    } else if (t->kind == AST_CALL) {
        diag_error(p->diag, t->loc, 17, "the result of a call cannot be bound: left of `=` stands a name, or x[i]");
    } else {
        diag_error(p->diag, t->loc, 17, "left of `=` stands a name, or x[i]");
    }
    return false;
}

Node *make_bind(Parsing *p, AstKind kind, Nodes targets, Node *type, Nodes values, Place at) {
    Node *n = node_make(p, kind, at);
    bool good = true;
    for (uint32_t i = 0; i < targets.n; i++)
        if (!check_target(p, targets.at[i])) good = false;
    if (good && type && targets.at[0]->kind != AST_NAME) {
        diag_error(p->diag, type->loc, 17, "a part of a tensor has no type of its own");
        good = false;
    }
    if (good && values.n != 1 && values.n != targets.n) {
        bool bracket = diag_said(p->diag, n->loc, 7); /* is the slip */
        if (!bracket) diag_error(p->diag, n->loc, 17, "%u name%s for %u values", targets.n, targets.n == 1 ? "" : "s", values.n);
        if (!bracket && targets.n == 1 && values.n == 2 && values.at[0]->kind == AST_NUMBER && values.at[1]->kind == AST_NUMBER)
            diag_note(p->diag, (Loc){0}, "a number has a point: 0.5; a list is written [0, 5]");
        for (uint32_t i = 0; i < targets.n; i++)
            if (targets.at[i]->kind == AST_NAME) vec_push(p->arena, &p->ast->spoilt, targets.at[i]->name);
        good = false;
    }
    if (!good) n->kind = AST_ERROR;
    if (!good) return n;
    n->bind.targets = targets;
    n->bind.type = type;
    n->bind.values = values;
    return node_done(p, n);
}

Node *make_own(Parsing *p, AstKind kind, Nodes names, Node *type, Node *value, Place at) {
    Node *n = node_make(p, kind, at);
    n->own.names = names;
    n->broken = !type || !value;
    n->own.type = type ? type : node_make(p, AST_ERROR, at);
    n->own.value = value ? value : node_make(p, AST_ERROR, at);
    return node_done(p, n);
}

Node *make_assign(Parsing *p, Node *target, Node *value, Place at, Place sign) {
    Node *n = node_make(p, AST_ASSIGN, at);
    const Node *base = target->kind == AST_BRACKET ? target->call.callee : target;
    if (target->kind == AST_ERROR) {
        n->kind = AST_ERROR;
        return n;
    }
    if (base->kind != AST_NAME && base->kind != AST_MEMBER) {
        diag_error(p->diag, place(p, sign), 10,
                   "`<-` writes a parameter or state, which stands left of it; to compare, write `a < -b`");
        n->kind = AST_ERROR;
        return n;
    }
    n->assign.target = target;
    n->assign.value = value;
    return node_done(p, n);
}

Node *make_loop(Parsing *p, AstKind kind, AstLoop loop, Place at) {
    Node *n = node_make(p, kind, at);
    n->loop = arena_make(p->arena, AstLoop);
    *n->loop = loop;
    if ((kind == AST_FOR || kind == AST_SCAN) && loop.clauses.at[0]->kind == AST_CLAUSE && !loop.clauses.at[0]->clause.batch) {
        uint32_t names = loop.clauses.at[0]->clause.names.n, sources = loop.clauses.at[0]->clause.sources.n;
        /* one source for several names is a data set whose `batch` was forgotten, which the elaborator says best */
        if (names != sources && sources > 1)
            diag_error(p->diag, loop.clauses.at[0]->loc, 6, "%u name%s for %u lists", names, names == 1 ? "" : "s", sources);
    }
    return node_done(p, n);
}

Node *make_branch(Parsing *p, Node *condition, Nodes yes, const Nodes *no, Place at) {
    Node *n = node_make(p, AST_BRANCH, at);
    n->branch.condition = condition;
    n->branch.yes = yes;
    n->branch.has_else = no != NULL;
    if (no) n->branch.no = *no;
    return node_done(p, n);
}

Node *make_values(Parsing *p, AstKind kind, Nodes items, Place at) {
    Node *n = node_make(p, kind, at);
    n->values.items = items;
    return node_done(p, n);
}

Node *make_update(Parsing *p, AstKind kind, Node *value, Nodes models, Node *rule, Place at) {
    Node *n = node_make(p, kind, at);
    n->update.value = value;
    n->update.models = models;
    n->update.rule = rule;
    return node_done(p, n);
}

Node *make_keep(Parsing *p, AstKind kind, bool highest, const Node *name, Node *turns, Place at) {
    Node *n = node_make(p, kind, at);
    n->keep.highest = highest;
    n->keep.name = name_of(name);
    n->keep.name_loc = name->loc;
    n->keep.turns = turns;
    return node_done(p, n);
}

Node *make_file(Parsing *p, AstKind kind, Nodes values, Node *path, Place at) {
    Node *n = node_make(p, kind, at);
    n->file.values = values;
    n->file.path = path;
    return node_done(p, n);
}

/* The name under calls, brackets and paths: `r.learn(v)` begins with r. */
static bool has_effect(const Node *n) {
    switch ((int)n->kind) {
    case AST_CALL:
    case AST_SCAN:
    case AST_REPEAT:
    case AST_WHILE:
    case AST_PIPE:
    case AST_ERROR: return true;
    default: return false;
    }
}

Node *make_effect(Parsing *p, Nodes items, Place at) {
    Node *n = make_values(p, AST_EXPRESSION, items, at);
    const Node *e = items.at[0];
    if (items.n == 1 && has_effect(e)) return n;
    if (at.first_line == p->quiet_line || ++p->said_lone > 1000) {
        n->kind = AST_ERROR;
        return n;
    }
    if (e->kind == AST_UNARY && e->unary.op == OPERATOR_NEG && !e->paren) {
        diag_error(p->diag, e->loc, 15, "a line cannot begin with `-`: an operator stands at the end of the line before");
    } else if (items.n == 1 && e->kind == AST_BINARY && e->binary.op == OPERATOR_EQ) {
        diag_error(p->diag, n->loc, 18, "this compares, and nothing is done with the result: `=` binds a name");
    } else if (items.n == 1 && e->kind == AST_NAME) {
        const char *word = word_nearest(e->name, NULL, NULL), *instead = habit_of(e->name);
        if (instead)
            diag_error(p->diag, n->loc, 16, "`%s` is no word of this language: %s", e->name, instead);
        else
            diag_error(p->diag, n->loc, 18, "`%s` alone does nothing", e->name);
        if (word && !instead) diag_note(p->diag, (Loc){0}, "did you mean `%s`?", word);
    } else {
        diag_error(p->diag, n->loc, 18, "nothing is done with this value: bind it to a name, or `return` it");
    }
    n->kind = AST_ERROR;
    return n;
}

Node *make_nested(Parsing *p, Node *function) {
    if (function->kind == AST_FN || function->kind == AST_ERROR) return function;
    diag_error(p->diag, function->loc, 24, "a %s is declared at the top of the file, not in a block",
               ast_kind_text(function->kind));
    function->kind = AST_ERROR;
    return function;
}

void check_block(Parsing *p, const Nodes *body) {
    for (uint32_t i = 0; i + 1 < body->n; i++) {
        if (body->at[i]->kind != AST_RETURN) continue;
        diag_warning(p->diag, body->at[i + 1]->loc, 22, "this is never reached: it stands behind `return`");
        diag_note(p->diag, body->at[i]->loc, "`return` ends the function here");
        return;
    }
}

/* ---- declarations ---- */

Node *make_define(Parsing *p, AstKind kind, const Node *name, Node *value, bool broken, Place at) {
    Node *n = node_make(p, kind, at);
    n->define.name = name_of(name);
    n->define.name_loc = name->loc;
    n->define.value = value ? value : node_make(p, AST_ERROR, at);
    n->broken = broken;
    return node_done(p, n);
}

Node *make_data(Parsing *p, const Node *name, bool shuffle, Nodes fields, bool broken, Place at) {
    Node *n = node_make(p, AST_DATA, at);
    n->data.name = name_of(name);
    n->data.name_loc = name->loc;
    n->data.shuffle = shuffle;
    n->data.fields = fields;
    n->broken = broken;
    return node_done(p, n);
}

static const Node *first_default(const Nodes *fields) {
    for (uint32_t i = 0; i < fields->n; i++)
        if (fields->at[i]->kind == AST_FIELD && fields->at[i]->field.value) return fields->at[i];
    return NULL;
}

/* The first token that begins no earlier than there. */
static size_t token_at(const Parsing *p, int line, int col) {
    size_t lo = 0, hi = p->n_tokens;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int l = (int)p->tokens[mid].line, c = (int)p->tokens[mid].col;
        if (l < line || (l == line && c < col))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Which names of a header that could not be read are inputs, nobody can say: all of them up to the block. False if the body
 * cannot be checked: there are too many, or it was the value behind `=` that could not be read, and a block behind that is not the
 * function's. */
static bool note_header_words(Parsing *p, AstFunction *f, size_t from, size_t end) {
    int depth = 0;
    for (size_t i = from; i < end && p->tokens[i].kind != '{'; i++) {
        int kind = p->tokens[i].kind;
        depth += kind == '(' || kind == '[' ? 1 : kind == ')' || kind == ']' ? -1 : 0;
        if (kind == '=' && depth == 0) return f->short_form;
        if (f->header_words.n == MAX_HEADER_WORDS) return false;
        if (kind == T_NAME || (is_word(kind) && !word_reserved(kind)))
            vec_push(p->arena, &f->header_words, value_name(p, &p->tokens[i]));
    }
    return true;
}

Node *make_function(Parsing *p, AstKind kind, const Node *name, AstFunction *f, bool broken, Place at) {
    Node *n = node_make(p, kind, at);
    n->function = f;
    f->name = name_of(name);
    f->name_loc = name->loc;
    n->broken = broken;
    size_t at_name = token_at(p, f->name_loc.line, f->name_loc.col);
    for (size_t i = 0; i < p->spoilt_headers.n; i++)
        if (p->spoilt_headers.at[i] == at_name) n->broken = true;
    if (f->inputs.n > MAX_INPUTS || f->config.n > MAX_INPUTS) {
        diag_error(p->diag, f->name_loc, 2, "more than %d inputs of one %s", (int)MAX_INPUTS, ast_kind_text(kind));
        f->inputs.n = f->config.n = 0;
        n->broken = true;
    }
    if (f->short_form && kind != AST_FN)
        diag_error(p->diag, f->body.at[0]->loc, 6, "only a `fn` may be written with `=`: a %s has a block", ast_kind_text(kind));
    if (kind == AST_COMMAND && f->has_config && f->config.n)
        diag_error(p->diag, f->config.at[0]->loc, 6, "a command has no configuration: it is no part of anything else");
    if (kind == AST_OPTIMIZER && first_default(&f->inputs))
        diag_error(p->diag, first_default(&f->inputs)->loc, 6,
                   "the inputs of an optimizer are a parameter and its gradient: no defaults");
    if (kind != AST_COMMAND && first_default(&f->results))
        diag_error(p->diag, first_default(&f->results)->loc, 6, "only the results of a command name a loader");
    if (n->broken && !note_header_words(p, f, at_name + 1, token_at(p, at.last_line, at.last_column))) {
        f->body = (Nodes){0};
        f->short_form = false;
    }
    return node_done(p, n);
}
