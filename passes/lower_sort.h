/*
 * lower_sort.h - what sorting (lower_sort.c) and the list of the largest elements (lower_top.c) share.
 */
#ifndef NNC_PASSES_LOWER_SORT_H
#define NNC_PASSES_LOWER_SORT_H

#include "passes/lower.h"

typedef struct Sort {
    Lower *l;
    const Op *op;
    const Value *x;
    int axis;
    bool falling; /* top_k: the largest first, and no more than `keep` of them */
    int64_t n;    /* elements of a row, B at its bound */
    const Affine *length;
    int64_t keep;
    const Affine *at[MAX_RANK + 1];
    Buffer *row, *place; /* scratch: elements, and where they stood */
} Sort;

/* Does x stand before y whatever their places? NaN is the largest. */
Expr *sort_before(Lower *l, Expr *x, Expr *y, bool falling);
/* Nothing is larger in this order: NaN, or the greatest integer. */
double sort_greatest(Elem e);
/* Element i of the row. */
Expr *sort_element(Sort *s, const Affine *i);
/* Scratch of the row: [n], or with two axes [rows, n]. */
Buffer *sort_buffer(const Sort *s, const char *name, Elem elem, int rank, int64_t rows, int64_t n);
void sort_by_merging(Sort *s, Home *const *homes);

/* top_k by a list of the largest so far (lower_top.c), and whether that is the way to go. */
bool top_is_short(const Sort *s);
void top_by_list(Sort *s, Home *const *homes);

#endif
