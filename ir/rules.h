/*
 * rules.h - inside of op_infer: what every type rule sees, and the helpers that the rule files share.
 *
 * A rule is `const char *infer_NAME(Rule *r)`: it looks at the operands, attributes and blocks of r->op and writes the results'
 * types to r->types; it returns NULL, or what is wrong as a sentence without a full stop. Before it is called, the number of
 * operands and the list of attributes have been compared with the op's row; afterwards every result's shape is checked by
 * type_fault. So a rule needs to say only what is special to it.
 */
#ifndef NNC_IR_RULES_H
#define NNC_IR_RULES_H

#include "graph.h"

typedef struct Rule {
    Arena *arena;
    const Op *op;
    const Type **types; /* one for each result: on entry the type the op has now, or NULL */
    int room;           /* how many results the op has; a rule whose number of results varies checks it */
} Rule;

/* The shape of a result while it is made up. */
typedef struct Shape {
    int rank;
    Dim dim[2 * MAX_RANK + 1];
} Shape;

const char *rule_fault(Rule *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Writes result `i`, if the shape is legal; returns what is wrong with it otherwise. */
const char *rule_result(Rule *r, int i, Elem elem, const Shape *shape);
/* The type of operand i. */
const Type *rule_in(const Rule *r, int i);
/* "axis 3 is outside a tensor of 2 dimensions" */
const char *rule_axis(Rule *r, int64_t axis, int rank);
/* Increasing axes without repetition, all inside [0, rank). */
const char *rule_axes(Rule *r, const int64_t *axes, int64_t n, int rank);
const char *rule_length(Rule *r, AttrKey key, int64_t want);
static inline bool elem_is_number(Elem e) { return e != BOOL; }
/* n elements with d - 1 zeros between neighbours */
static inline int64_t dilated(int64_t n, int64_t d) { return n == 0 ? 0 : (n - 1) * d + 1; }
/* How many windows of `size` (dilated) fit over low + n + high at the given stride; -1 if a window is larger than that by more
 * than a stride. */
int64_t window_count(int64_t n, int64_t low, int64_t high, int64_t size, int64_t stride);

#define OP(name, operands, attributes, rule, ...) const char *infer_##rule(Rule *r);
#include "ops.def"
#undef OP

#endif
