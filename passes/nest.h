/*
 * nest.h - reading loop nests: is this nest a product, and which way does each variable run through memory? No op's name is looked
 * at: a matrix product in any order of operands, a convolution, its gradients and an einsum are the same kind of nest.
 */
#ifndef NNC_PASSES_NEST_H
#define NNC_PASSES_NEST_H

#include "ir/loops.h"

enum { NEST_MAX = 12 };

/*
 *   for o0 { for o1 { ...                 outer: each iteration makes one output
 *     lets                                between them: lets and index lets
 *     acc s = 0
 *     for r0 { for r1 { ... s = fma(x, y, s) } }      reduce: from any place to any (a piece of a long sum), outer ones from 0 on
 *     epilogue                            what is done with s: lets, stores
 *   } }
 */
typedef struct Product {
    int n_outer, n_reduce;
    Stmt *outer[NEST_MAX], *reduce[NEST_MAX];
    Vec(Stmt *) lets; /* LET, INDEX, CHECK on the way in, in order */
    Stmt *acc;        /* the declaration */
    Expr *x, *y;      /* the factors */
    Vec(Stmt *) bounds
        [NEST_MAX]; /* index lets in front of the reduced loop, inside the one around it: where it begins and ends may hang on them */
    Stmt *epilogue; /* the first statement behind the reduction */
} Product;

/* Whether the statement is the top of such a nest, all its loops serial; fills p. */
bool product_read(Arena *a, Stmt *top, Product *p);

/* A load or store that stands in a nest. */
typedef struct Access {
    const Buffer *buffer;
    int n_index;
    const Affine *const *index;
    bool store;
} Access;

/* How far apart in memory, in elements, neighbouring values of v lie in this access. */
int64_t access_stride(const Buffer *b, int n, const Affine *const *index, const Var *v);

/* Does v stand anywhere in the expression (in an index, a number, or a let that depends on it)? `lets` may be NULL. */
bool expr_uses_var(const Expr *e, const Var *v);
bool stmt_uses_var(const Stmt *s, const Var *v); /* the statement and its body */
bool affine_uses(const Affine *x, const Var *v);
bool expr_uses_temp(const Expr *e, const Temp *t);

/* Ops in the expression: what computing it once costs, loads and constants at 0, functions at what they take. */
int expr_cost(const Expr *e);

/* A constant, or hanging on B alone? */
bool affine_is_known(const Affine *x);
/* From 0 to a constant or a multiple of B? */
bool loop_is_plain(const Stmt *loop);

/* The number of turns of a loop, for B at its bound: the least that a limit allows of which this can be told. */
int64_t loop_turns(const Step *s, const Stmt *loop);
/* The same where index lets of the kernel's top may say where the loop begins and ends (tiles = B / 14). */
int64_t loop_turns_in(const Step *s, const Body *kernel, const Stmt *loop);

/* Does the statement, or one inside it, have this mark? */
bool stmt_has_mark(const Stmt *s, Mark mark);

/* Takes the parallel marks of the statement and all inside it back. */
void stmt_unshare(Stmt *s);

#endif
