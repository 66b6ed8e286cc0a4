/*
 * fuse.h - inside of fuse: the groups of a block (fuse.c makes them, fuse_emit.c writes them as kernels).
 */
#ifndef NNC_PASSES_FUSE_H
#define NNC_PASSES_FUSE_H

#include "passes/pipeline.h"

typedef enum Role {
    ROLE_FREE,   /* costs nothing or little: copied into every kernel that uses it */
    ROLE_MEMBER, /* belongs to one group */
    ROLE_CONTROL /* scan, while: stands for itself */
} Role;

typedef struct Group {
    Vec(int) ops; /* in the order of the block */
    const Type *point;
    int n_point;     /* the axes of `point` that all members have in common: the outer loops */
    bool heavy;      /* a product or window: only ops of its result's shape may join */
    bool closed;     /* nothing may join */
    uint64_t *needs; /* bit set of groups that must come before, directly or not */
    bool needed;     /* by some group */
    bool gone;
} Group;

typedef struct Fuse {
    PassCtx *ctx;
    Arena *arena;
    Func *func;
    Block *block;
    int n_ops;
    Op **op;       /* in order */
    int *op_of;    /* by value id: 1 + the op of this block that makes it; 0: none */
    Role *role;    /* by op */
    int *group_of; /* by op; -1 for free ones */
    bool *drawn;   /* by op: it is drawn, and stored for a product's group */
    bool *kept;    /* by op: its value is needed outside of kernels (a result, an operand of control) */
    Vec(Group *) groups;
    int words;                   /* of a bit set of groups */
    uint64_t *whole, *moment[2]; /* sets to work with (fuse.c) */
    int n_values;                /* ids below it have a place in op_of */
} Fuse;

/* The op of the block that makes v, or -1. */
static inline int fuse_op_of(const Fuse *f, const Value *v) { return v->def && v->id < f->n_values ? f->op_of[v->id] - 1 : -1; }

enum {
    FREE_COST = 6,    /* ops of arithmetic that are rather done again than stored */
    SCALAR_COST = 20, /* what a function costs; a scalar that costs more is computed once a step */
};
bool fuse_is_product(OpCode c);
/* What an op costs an element, in additions. */
int fuse_cost(OpCode c);

/* Numbers the ops of the block (again). */
void fuse_list_ops(Fuse *f);
/* Changes before grouping (fuse_prepare.c); the ops must be numbered, and are not afterwards. */
void fuse_reshape_early(Fuse *f);
void fuse_masks(Fuse *f);
void fuse_drop_dead(Fuse *f);
/* Before grouping: what is drawn for ops behind products becomes a group of its own (fuse_draws.c). After it: but for what no product's group reads in the end. */
void fuse_store_draws(Fuse *f);
void fuse_free_draws(Fuse *f);
/* Bytes of all elements of v, at the largest batch. */
int64_t fuse_value_bytes(const Fuse *f, const Value *v);
/* Does the op read each element of its operands about once? */
bool fuse_uses_plainly(const Op *op);
/* Must group `other` come before g? */
bool fuse_needs(const Fuse *f, int g, int other);
/* From now on group g comes after `first`, which must not need g. */
void fuse_wait_for(Fuse *f, int g, int first);
/* What groups store for others is made again where it is read, if that moves fewer bytes (fuse_again.c). Ops have new numbers then. */
void fuse_again(Fuse *f);
/* Writes the groups as kernels, in an order that their needs allow, and removes the ops that they replace. */
void fuse_emit(Fuse *f);

#endif
