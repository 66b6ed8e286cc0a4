/*
 * build.h - the constructors of the syntax tree, as the actions of parser.y call them. What the grammar lets through and the
 * language does not (a target that cannot be bound, comparisons in a chain) is checked here.
 */
#ifndef NNC_FRONTEND_BUILD_H
#define NNC_FRONTEND_BUILD_H

#include "tokens.h"

#include "parser.h"

/* A node with its place; its members are filled by the caller. */
Node *node_make(Parsing *p, AstKind kind, Place at);
Loc place(const Parsing *p, Place at);
void list_add(Parsing *p, Nodes *list, Node *n);
Nodes list_of(Parsing *p, Node *n);

/* expressions */
Node *make_unary(Parsing *p, AstOperator op, Node *operand, Place at);
Node *make_binary(Parsing *p, AstOperator op, Node *left, Node *right, Place at, Place sign);
Node *make_pipe(Parsing *p, Node *value, Node *target, Place at, Place sign);
Node *make_choice(Parsing *p, Node *condition, Node *yes, Node *no, Place at);
Node *make_call(Parsing *p, AstKind kind, Node *callee, Nodes items, Place at);
Node *make_member(Parsing *p, Node *base, const Node *name, Place at);
Node *make_list(Parsing *p, Nodes items, Place at);
Node *make_comprehension(Parsing *p, Node *element, Nodes names, Nodes sources, Place at);
Node *make_slice(Parsing *p, Node *from, Node *to, Place at);
Node *make_rest(Parsing *p, Node *value, Place at);
Node *make_keyword(Parsing *p, const Node *name, Node *value, Place at);
/* An item of brackets: `new` alone is the new axis. */
Node *make_item(Parsing *p, Node *item);

/* parts */
Node *make_type(Parsing *p, const char *name, const Nodes *dims, Place at);
Node *make_field(Parsing *p, const Node *name, Node *type, Node *value, Place at);
Node *make_clause(Parsing *p, Nodes names, Nodes sources, Node *batch, Place at);
void clause_flag(Parsing *p, Node *clause, int kind, Place at);

/* statements */
Node *make_bind(Parsing *p, AstKind kind, Nodes targets, Node *type, Nodes values, Place at);
Node *make_own(Parsing *p, AstKind kind, Nodes names, Node *type, Node *value, Place at);
Node *make_assign(Parsing *p, Node *target, Node *value, Place at, Place sign);
Node *make_loop(Parsing *p, AstKind kind, AstLoop loop, Place at);
Node *make_branch(Parsing *p, Node *condition, Nodes yes, const Nodes *no, Place at);
Node *make_values(Parsing *p, AstKind kind, Nodes items, Place at);
Node *make_update(Parsing *p, AstKind kind, Node *value, Nodes models, Node *rule, Place at);
Node *make_keep(Parsing *p, AstKind kind, bool highest, const Node *name, Node *turns, Place at);
Node *make_file(Parsing *p, AstKind kind, Nodes values, Node *path, Place at);
Node *make_effect(Parsing *p, Nodes items, Place at);
/* A function in a block: only a fn may stand there. */
Node *make_nested(Parsing *p, Node *function);
/* A block: warns about what stands after `return`. */
void check_block(Parsing *p, const Nodes *body);

/* declarations */
Node *make_define(Parsing *p, AstKind kind, const Node *name, Node *value, bool broken, Place at);
Node *make_data(Parsing *p, const Node *name, bool shuffle, Nodes fields, bool broken, Place at);
Node *make_function(Parsing *p, AstKind kind, const Node *name, AstFunction *f, bool broken, Place at);

#endif
