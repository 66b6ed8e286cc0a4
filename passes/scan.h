/*
 * scan.h - the parts of a scan by name, and adding a slice or a stack to one: for the passes that change scans (autodiff, hoist,
 * unroll).
 */
#ifndef NNC_PASSES_SCAN_H
#define NNC_PASSES_SCAN_H

#include "ir/graph.h"

typedef struct Scan {
    Op *op;
    Block *body;   /* params: t, carried.., slices..; results: carried.., stacked.. */
    int64_t carry; /* how many values are carried */
    int64_t n_xs;  /* ... are sliced; operand carry + k along axes[k] */
    int64_t n_ys;  /* ... are stacked; result carry + k along yaxes[k] */
    const int64_t *axes, *yaxes;
    int64_t trip; /* -1: as the last operand says */
    bool reverse;
    Dim turns;   /* the length of what is sliced and stacked */
    bool stacks; /* turns is known: a constant, or the batch of something sliced or stacked */
} Scan;

Scan scan_of(Op *op);
/* Values from one turn as a tensor over all turns: its type with `turns` at the axis. NULL: there is no such type. */
const Type *scan_stacked_type(const Scan *s, const Type *t, int64_t axis);
/* Where turns stand in a stack of t: in front, but behind a k * B, which leads. -1: t cannot be stacked. */
int64_t scan_stack_axis(const Scan *s, const Type *t);
/* The result of the scan that stacks the body's value v, and along which axis: there already, or added. v's type can be stacked.
 */
Value *scan_stack(Arena *a, Scan *s, Value *v, int64_t *axis);
/* One more slice: whole, along the axis. Returns the body's parameter. */
Value *scan_slice(Arena *a, Scan *s, Value *whole, int64_t axis, const char *name);
/* Does v belong to a block of op, or to one nested in it? */
bool value_inside(const Op *op, const Value *v);
/* Replaces by map (by id; NULL: unchanged) in the block and those nested in it, and nowhere else. Values with ids from n on stay.
 */
void block_replace(Block *b, Value *const *map, int n);

#endif
