/*
 * grad.h - what the gradient rules (grad_*.c) and autodiff.c share.
 *
 * Reverse mode: with the cotangent of a value v, written dv below, we mean the gradient of the loss with respect to v. A rule
 * gets the cotangents of its op's results and adds to those of the operands. Rules are graph to graph: they build ops, at c->b,
 * from forward values and cotangents, so that what they made can be differentiated again.
 *
 * Each rule begins with the forward equation that it differentiates. In the equations dy is the cotangent of the result y, da
 * that of the operand a.
 */
#ifndef NNC_PASSES_GRAD_H
#define NNC_PASSES_GRAD_H

#include "ir/graph.h"

typedef struct Mask Mask;
typedef struct Masks Masks;

typedef struct GradCtx {
    Builder b;      /* where the gradient's ops go; its loc is set for each rule */
    Arena *arena;   /* the module's */
    Arena *scratch; /* goes when the grad op has been expanded */
    Diag *diag;
    const Op *grad;     /* the op that is being expanded, for messages */
    const bool *wanted; /* by value id: depends on what we differentiate by, through floats and rules that are not zero */
    int n_wanted;
    Value **ct; /* cotangents by value id, NULL: none so far (zero). A body that is differentiated has a table of its own */
    int n_ct;
    Masks *masks; /* of cotangents that come from branches (grad_mask.c), those in bodies as well */
    bool failed;  /* an error has been reported */
} GradCtx;

/* dy: the cotangents of op's results, NULL where nothing came back (never NULL for the result of an op that has one). */
typedef void GradRule(GradCtx *c, Op *op, Value *const *dy);

/* One declaration for each word in the table's gradient column; a word without a function does not link. */
#define OP(name, operands, attrs, rule, elementwise, stages, gradient, evaluator, doc) GradRule grad_##gradient;
#include "ir/ops.def"
#undef OP

/* Does anybody want the cotangent of v? A rule asks before it builds. */
bool gr_wanted(const GradCtx *c, const Value *v);
/* dv = dv + g. g has v's type. Does nothing if v is not wanted. */
void gr_give(GradCtx *c, Value *v, Value *g);
/* The cotangent so far, or NULL. */
Value *gr_of(const GradCtx *c, const Value *v);
/* Replaces the cotangent: for a rule that has added to the old one in its own way, and to begin with. */
void gr_set(GradCtx *c, Value *v, Value *g);

/* Runs the rules of the ops of a block from `last` back to the first, nested blocks through their op's rule. */
void gr_run(GradCtx *c, Op *last);
/* A context for a body of its own: no cotangents yet, ops go to the end of `into`. */
GradCtx gr_inside(GradCtx *c, Block *into);
/* Marks which values of the block (params are marked already) depend on wanted ones. Returns whether a mark was added. */
bool gr_mark_block(bool *wanted, const Block *b);

/* Reports that no gradient can pass through op. */
void gr_fault(GradCtx *c, const Op *op, const char *why);

/* ---- cotangents of branches (grad_mask.c) ---- */

Masks *gr_no_masks(Arena *scratch);
/* dy where cond holds (is_else: does not hold), else 0: a mask, which what follows keeps outermost. */
Value *gr_branch(GradCtx *c, Value *cond, Value *dy, bool is_else);
/* What a rule does with a cotangent, or with what is masked in it. */
typedef Value *GradMap(GradCtx *c, Value *v, const void *arg);
/* map(dy), which works element by element and keeps 0. */
Value *gr_map(GradCtx *c, Value *dy, GradMap *map, const void *arg);
/* move(dy), which moves elements about or repeats them; conditions are moved by it, too. */
Value *gr_move(GradCtx *c, Value *dy, GradMap *move, const void *arg);
/* A map: v where *cond holds, else 0; no mask. */
Value *gr_where(GradCtx *c, Value *v, const void *cond);
/* Does every condition that masks dy satisfy ok? */
bool gr_mask_is(const GradCtx *c, Value *dy, bool (*ok)(const Value *cond, const void *arg), const void *arg);

/* ---- short forms ---- */

/* In products and quotients a cotangent stands first: where it comes from a branch not taken the answer is 0, whatever the factor. */
Value *gr_neg(GradCtx *c, Value *x);
Value *gr_add(GradCtx *c, Value *x, Value *y);
Value *gr_mul(GradCtx *c, Value *x, Value *f);
Value *gr_div(GradCtx *c, Value *x, Value *by);
static inline Value *gr_sub(GradCtx *c, Value *x, Value *y) { return g_binary(&c->b, OP_sub, x, y); }
/* The number k in the shape and type of x. */
static inline Value *gr_like(GradCtx *c, const Value *x, double k) { return g_constant(&c->b, x->type, k); }
static inline Value *gr_scale(GradCtx *c, Value *x, double k) { return gr_mul(c, x, gr_like(c, x, k)); }
/* g = dy times a factor, but 0 where dy is 0 and the factor infinite or NaN (then g is NaN). Where the factor is finite g stands
 * as it is, so that its own derivative by dy is the factor, also at dy = 0. */
Value *gr_guard(GradCtx *c, Value *dy, Value *g);
/* Is v a constant with this one value everywhere? */
bool gr_constant(const Value *v, double *value);
/* x summed over the axes (which go), then given the shape of `like`, which has the same number of elements. */
Value *gr_sum_to(GradCtx *c, Value *x, int n, const int64_t *axes, const Type *like);

#endif
