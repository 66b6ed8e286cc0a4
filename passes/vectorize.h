/*
 * vectorize.h - what the files vectorize*.c share: which turns of a loop may be lanes, and how good they would be.
 */
#ifndef NNC_PASSES_VECTORIZE_H
#define NNC_PASSES_VECTORIZE_H

#include "passes/nest.h"
#include "passes/pipeline.h"

/* What stands in the body of a loop whose turns may become lanes. */
typedef struct LaneScan {
    Arena *arena;
    const Step *step;
    const Stmt *loop;
    Vec(Access) accesses;
    Vec(const Temp *) inside; /* accs declared in it */
    bool possible;
    int widest; /* bytes of the widest element computed with */
} LaneScan;

/* How good lanes would be: accesses side by side count for, gathered ones against. 0 or less: not worth it, or not possible. Fills *s (arena and step are kept). */
int lanes_score(LaneScan *s, const Stmt *loop);

bool lanes_declared(const LaneScan *s, const Temp *t); /* an acc of the body */

/* Of the accesses listed in *s: no turn of s->loop touches what another stores. */
bool lanes_apart(const LaneScan *s);

/* Which kernel alone uses a buffer: by buffer its StepNode, or the step where there are several, or where another buffer lies in it. Of all buffers that are used when it is made. */
PtrMap vectorize_users(Arena *a, const Step *step);

/* Loops over rows with short loops in them become loops over whole vectors of rows: vectorize_rows.c. body: of the kernel, or of a loop in it. */
void vectorize_rows(PassCtx *c, Step *step, const PtrMap *users, const StepNode *kernel, Body *body);

/* Sums down the columns of matrices larger than a cache are made row by row: vectorize_columns.c. */
void vectorize_columns(PassCtx *c, Step *step, Body *body);

/* Of marked loops: those that compute with rows of large matrices fetch the next row meanwhile: vectorize_ahead.c. */
void vectorize_ahead(PassCtx *c, const Step *step, Body *body);

#endif
