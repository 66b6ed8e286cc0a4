/*
 * random_inside.h - inside of random_graph: the state of a graph that is being made, how its files draw numbers, types and
 * values, and the makers of ops.
 */
#ifndef NNC_TESTS_RANDOM_INSIDE_H
#define NNC_TESTS_RANDOM_INSIDE_H

#include "random_graph.h"

#include "ir/random.h"

typedef struct Gen {
    const RandomOptions *o;
    Arena *arena;
    Builder b;
    uint64_t state;
    Values pool;
    Value *key, *first;
    int depth; /* blocks around */
    int outputs;
} Gen;

/* ---- random_values.c: choices ---- */

uint64_t gen_next(Gen *g);
/* In [0, n); 0 if n is not positive. */
int gen_below(Gen *g, int n);
/* True once in `of` times. */
bool gen_chance(Gen *g, int of);
Dim gen_dim(Gen *g);
const Type *gen_type(Gen *g, Elem elem, int least_rank);
/* Few enough elements, and few enough axes that one or two more never get beyond MAX_RANK. */
bool gen_small_enough(const Gen *g, const Type *t);
/* A broadcast to seven axes of 65 would be terabytes. */
bool gen_fits_memory(const Type *t);
bool gen_differentiable(const Gen *g);

/* ---- random_values.c: values; NULL where an operand is NULL or the op's rule says no ---- */

Value *gen_try_op(Gen *g, OpCode code, int n_in, Value *const *in, int n_attrs, const Attr *attrs, const Type *type);
Value *gen_unary(Gen *g, OpCode code, Value *x);
Value *gen_binary(Gen *g, OpCode code, Value *x, Value *y);
Value *gen_constant(Gen *g, const Type *t, double v);
Value *gen_splat(Gen *g, Value *scalar, const Type *t);
/* Uniform in [0, 1), f32, of t's shape. */
Value *gen_drawn(Gen *g, const Type *t);
/* A new value of the type, that depends on no input. */
Value *gen_fresh(Gen *g, const Type *t);
/* A value of the pool whose element type pleases, or a new one. */
Value *gen_some(Gen *g, bool (*pleases)(Elem e), int least_rank);
/* A value of just this type: one of the pool, or a new one. */
Value *gen_of_type(Gen *g, const Type *t);
/* If smooth, v kept within [-1, 1]; else v. */
Value *gen_tame(Gen *g, Value *v);
/* x^2 + 1/2 */
Value *gen_positive(Gen *g, Value *x);
bool gen_is_number(Elem e);
bool gen_is_bool(Elem e);
bool gen_is_anything(Elem e);
bool gen_is_integer(Elem e);

/* ---- random_ops.c: one op each, on operands of the pool; NULL if it did not come off ---- */

Value *gen_make_unary(Gen *g, OpCode code);
Value *gen_make_convert(Gen *g);
Value *gen_make_binary(Gen *g, OpCode code);
Value *gen_make_fma(Gen *g);
Value *gen_make_select(Gen *g);
Value *gen_make_broadcast(Gen *g);
Value *gen_make_reshape(Gen *g);
Value *gen_make_transpose(Gen *g);
Value *gen_make_slice(Gen *g);
Value *gen_make_pad(Gen *g);
Value *gen_make_concat(Gen *g);
Value *gen_make_reverse(Gen *g);
Value *gen_make_take(Gen *g, OpCode code);
Value *gen_make_gather(Gen *g, OpCode code);
Value *gen_make_dynamic(Gen *g, OpCode code);
Value *gen_make_contract(Gen *g);
Value *gen_make_conv(Gen *g);
Value *gen_make_reduce(Gen *g, OpCode code);
Value *gen_make_along(Gen *g, OpCode code);
Value *gen_make_window(Gen *g, OpCode code);

#endif
