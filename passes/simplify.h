/*
 * simplify.h - what the files of the pass `simplify` share. A rule looks at one op and gives a value that may take the place of
 * its result, or NULL. It may build ops through s->b, in front of the op; these are looked at next.
 */
#ifndef NNC_PASSES_SIMPLIFY_H
#define NNC_PASSES_SIMPLIFY_H

#include "ir/graph.h"

typedef struct Simplify {
    Builder b;      /* in front of the op in hand */
    Arena *arena;   /* the module's */
    Arena *scratch; /* goes with the sweep */
    Func *func;
    const int *uses; /* by id, as of the beginning of the sweep */
    int n_uses;
    Value **map; /* by id: what took a value's place */
    int n_map;
    bool changed;
    bool *pinned;     /* by id, up to n_uses: a `grad` asks for it */
    Vec(Op *) hidden; /* the ops of these */
} Simplify;

typedef Value *SimplifyRule(Simplify *s, Op *op);

/* simplify_fold.c: elementwise ops of constants. */
SimplifyRule simplify_fold;
/* simplify_algebra.c: rows of identities, and what rows cannot say. */
SimplifyRule simplify_algebra;
/* simplify_shape.c: chains of shape ops, specs of products. */
SimplifyRule simplify_shape;
/* simplify_conv.c: convolutions and windows that are something simpler. */
SimplifyRule simplify_conv;
/* simplify_scan.c: what does not vary leaves a scan. Changes op in place or takes it apart; returns whether it did. */
bool simplify_scan(Simplify *s, Op *op);
/* simplify_dead.c: ops, carried values, slices and stacks that nobody uses. Returns whether there were any. */
bool simplify_dead(Arena *a, Func *f);

/* v takes old's place from here on. */
void simplify_replace(Simplify *s, Value *old, Value *v);
/* What stands for v now. */
Value *simplify_now(const Simplify *s, Value *v);
/* Uses of v at most one, as far as is known. */
bool simplify_single_use(const Simplify *s, const Value *v);

/* Is v a constant? */
static inline bool is_constant(const Value *v, double *value) {
    if (!v->def || v->def->code != OP_constant) return false;
    *value = op_real(v->def, A_value);
    return true;
}
static inline bool same_ints(const int64_t *a, int64_t n, const int64_t *b, int64_t m) {
    for (int64_t i = 0; i < n && n == m; i++)
        if (a[i] != b[i]) return false;
    return n == m;
}
/* The op that made v, if it is of this kind. */
static inline Op *made_by(const Value *v, OpCode code) { return v->def && v->def->code == code ? v->def : NULL; }

#endif
