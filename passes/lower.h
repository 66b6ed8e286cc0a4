/*
 * lower.h - inside of lower: what its files share. lower.c makes steps of functions, lower_kernel.c nests of kernels,
 * lower_pull.c gives the value of an element as an expression, lower_reduce.c sums and windows, lower_special.c what writes where
 * an index says.
 *
 * The one idea: `pull(v, index)` is the expression of element `index` of the value v. If v lies in memory, it is a load; else it
 * is made of its op's operands, pulled in turn. What needs statements (a sum, an index that is loaded, a condition) puts them
 * where the code is being written, and where an element does not depend on the innermost loops, it is computed outside of them.
 * So any group of ops can be lowered, and how ops are grouped (fuse) decides about speed alone.
 */
#ifndef NNC_PASSES_LOWER_H
#define NNC_PASSES_LOWER_H

#include "ir/loops.h"
#include "passes/pipeline.h"

/* Where a value lies: a buffer, whose axis k is axis[k] of the value, from offset[k] on, or, with -1, fixed at index[k]; or it is
 * a number that follows from counters. */
typedef struct Home {
    Buffer *buffer;
    int axis[MAX_RANK + 1];
    int64_t offset[MAX_RANK + 1];
    const Affine *index[MAX_RANK + 1];
    const Affine *number; /* instead of a buffer: the value as an index ... */
    const Value *plus;    /* ... and this i32 scalar added, if not NULL */
    struct Home *also;    /* what is written here is written there, too */
} Home;

/* Something that has been computed in a scope: an element of a value (as a temp), or an index loaded from one (as a variable). */
typedef struct Made {
    const Value *value;
    int n;
    const Affine *const *index;
    Temp *temp;
    Var *var;
    const Affine *size; /* of var: what it was checked against */
} Made;

/* A body that is being written. Outer scopes stay open while inner ones are written, so that what does not depend on an inner
 * loop can be put before it. */
typedef struct Scope Scope;
struct Scope {
    Scope *outer;
    int depth;
    Body *body;
    Stmt *before; /* statements go before this one; NULL: to the end */
    Stmt *stmt;   /* the loop or condition whose body it is; NULL: the kernel's */
    bool guard;   /* a condition: nothing may be moved out of it */
    Vec(Made) made;
};

typedef struct VarInfo {
    int64_t lo, hi; /* lo <= value <= hi, for every B */
    Scope *scope;   /* whose body it is known in; NULL: the whole kernel */
} VarInfo;

#include "passes/plan.h"

typedef struct Lower {
    PassCtx *ctx;
    Arena *arena;
    const Func *func;
    Step *step;
    Home **home;       /* by value id; NULL: not in memory (yet) */
    Buffer **maxima;   /* by value id of a window_put: the places that lower_maxima has found; NULL: it has not */
    int *uses;         /* by value id */
    int *place;        /* by value id: which op of the group being lowered makes it, counted from 1; 0: none */
    Vec(VarInfo) vars; /* by variable id */
    Nodes *nodes;      /* where kernels are added now */
    int n_kernels;
    bool failed;
    /* the kernel being written */
    Scope *scope;
    Loc loc;    /* of the statements being written */
    bool plain; /* inside the innermost loop of a product: no lets there */
    /* the nest being written: the variables of its outer loops, the scope inside them, and values kept for the nest's point */
    int n_point;
    const Affine **point;
    Scope *point_scope;
    const bool *keep;   /* by value id: rows that are computed once a point; may be NULL */
    Home **local;       /* by value id: where rows of the point lie; may be NULL */
    Home **local_table; /* what local and keep point to while a nest is written; empty between nests */
    bool *keep_table;
} Lower;

/* ---- scopes and statements (lower_scope.c) ---- */

const Affine *low_number(Lower *l, int64_t k);
const Affine *low_dim(Lower *l, Dim d); /* the size, as an index */
Var *low_var(Lower *l, VarKind kind, const char *name, int64_t lo, int64_t hi);
/* The interval of an index. */
void low_range(const Lower *l, const Affine *x, int64_t *lo, int64_t *hi);
void low_emit(Lower *l, Stmt *s);
/* Opens `for name in lo..limit by step` and goes inside. */
Var *low_open(Lower *l, const char *name, const Affine *lo, const Affine *limit, int64_t step);
/* for name in 0..d */
Var *low_open_dim(Lower *l, const char *name, Dim d);
/* The same under the axis' own name; the index. */
const Affine *low_open_axis(Lower *l, int axis, Dim d);
void low_open_if(Lower *l, const Affine *at_least_0);
void low_close(Lower *l);
/* Closes until the scope is the one given. */
void low_close_to(Lower *l, const Scope *s);
/* The innermost scope that knows all variables of the indices, but not outside of a condition. */
Scope *low_scope_of(const Lower *l, int n, const Affine *const *index);
/* Goes to an outer scope, before the statement that the code is inside of now; low_return goes back. */
typedef struct Hoisted {
    Scope *from, *target;
    Stmt *before;
    bool plain;
} Hoisted;
Hoisted low_hoist(Lower *l, Scope *target);
void low_return(Lower *l, Hoisted h);
/* q = x / by or x % by: as an affine where that is possible, else by an index let. */
const Affine *low_div(Lower *l, const Affine *x, int64_t by);
const Affine *low_mod(Lower *l, const Affine *x, int64_t by);
/* An index from an integer expression. lo, hi: what is known about it. */
const Affine *low_index_value(Lower *l, const char *name, Expr *e, int64_t lo, int64_t hi);
/* The value of e under a name. */
Temp *low_let(Lower *l, const char *name, Expr *e);
Temp *low_acc(Lower *l, const char *name, Elem elem, int64_t lanes, Expr *start); /* lanes 0: a scalar */
Expr *low_temp(Lower *l, Temp *t);
void low_set(Lower *l, Temp *t, Expr *e);
Expr *low_binary(Lower *l, OpCode op, Expr *x, Expr *y);
Expr *low_i64(Lower *l, const Affine *x);
/* Names of loops over axes: i, j, k, ... */
const char *low_axis_name(int axis);
const char *low_value_name(const Value *v);

/* ---- elements (lower_pull.c) ---- */

Expr *pull(Lower *l, const Value *v, const Affine *const *index);
/* A temp that has been noted for v under so many indices, if it is known here; NULL. Elements are noted under as many as v has axes. */
Temp *low_made(const Lower *l, const Value *v, int n, const Affine *const *key);
void low_note_made(Lower *l, const Value *v, int n, const Affine *const *key, Temp *t);
/* Element of an integer value as an index, checked against size. */
const Affine *pull_index(Lower *l, const Value *v, const Affine *const *index, const Affine *size);
/* Where a part of `size` begins that is `start` from the begin of `whole`: checked, with a fault. */
const Affine *low_dynamic_start(Lower *l, const Value *start, Dim whole, Dim size);
/* x at an index that may lie outside on the axes where `guard` says so: `fill` is the value there. */
Expr *pull_or(Lower *l, const Value *x, const Affine *const *index, const bool *guard, double fill);
/* The address of an element of something at `h`. */
void home_index(Lower *l, const Home *h, const Affine *const *index, const Affine **out);
Home *home_plain(Lower *l, Buffer *b);
/* Does a value of this type take the whole buffer, axis by axis? */
bool home_is_whole(const Home *h, const Type *t);
/* Does it end where the buffer ends, on each of its axes? What a scan yields may be a part of its stack (lower_control.c), with another number beside it. */
bool home_has_edges(const Home *h, const Type *t);
/* Does v lie there already? */
bool home_has(Lower *l, const Value *v, const Home *h);
void home_store(Lower *l, const Home *h, const Affine *const *index, Expr *e);

/* ---- sums, extremes, windows (lower_reduce.c) ---- */

bool op_reduces(OpCode c);
/* The element of a reduction; emits its loops. */
Expr *pull_reduction(Lower *l, const Op *op, const Affine *const *index);
Expr *pull_window(Lower *l, const Op *op, const Affine *const *index); /* lower_window.c */
/* Is op a window_put whose windows' maxima are found in a kernel of their own? That is less work but where windows tile the map. */
bool low_maxima_apart(const Op *op);
/* The kernel. */
void lower_maxima(Lower *l, const Op *op);
/* Is op a window_put whose windows lie side by side, from the map's begin on? *size: of a window. */
bool low_windows_tile(const Op *op, const int64_t **size);
Expr *pull_extreme(Lower *l, const Op *op, const Affine *const *index); /* lower_extreme.c */
/* The value that nothing is below. */
double low_least(Elem e);
/* Does v, which comes later, take the place of best? NaN once taken stays. */
Expr *low_beats(Lower *l, bool largest, Temp *v, Temp *best);
Expr *low_choose(Lower *l, Temp *cond, Expr *x, Expr *y);
/* The bound on the elements of the chains of op, if it is a sum that is cut into pieces, else 0. */
int64_t op_pieces(const Lower *l, const Op *op);
/* A kernel that fills pieces[p, ...] of the op, and one that adds them up; the value then lies in piece 0. */
void lower_pieces(Lower *l, const Op *op);

/* ---- what writes where an index says (lower_special.c) ---- */

bool op_special(const Op *op);
/* Writes the results of op to homes. */
void lower_special(Lower *l, const Op *op, Home *const *homes);

/* The nest of sort or top_k, in a kernel that is being written (lower_sort.c). */
void lower_sort(Lower *l, const Op *op, Home *const *homes);

/* ---- kernels (lower_kernel.c) ---- */

/* A kernel node that is being written: between begin and end the scope is its body. */
void kernel_begin(Lower *l, const char *name, Loc loc);
StepNode *kernel_end(Lower *l);
/* All kernels that compute the results of op (a kernel, or any other op but control), to homes[i]. */
void lower_op(Lower *l, const Op *op, Home *const *homes);
/* A kernel that writes the values to homes. */
void lower_copies(Lower *l, int n, const Value *const *values, Home *const *homes, Loc loc);
void low_barrier(Lower *l);

/* ---- blocks (lower_block.c) ---- */

/* What a result of a block is written to. `old` is the parameter that lies in the same memory (its readers come first), or NULL.
 */
typedef struct Target {
    Home *home;
    const Value *old;
} Target;

/* All kernels, loops and barriers of the block, in an order in which every result can be written where it belongs. Parameters
 * have homes already. */
void lower_block(Lower *l, const Block *b, const Target *targets);
/* scan and while (lower_control.c); the homes of their results are set. */
void lower_scan(Lower *l, const Op *op);
void lower_while(Lower *l, const Op *op);
Buffer *low_buffer(Lower *l, const Value *v);

#endif
