/*
 * guard.h - --guard: stops at the first NaN or infinity in what a step wrote, and says where it came from.
 */
#ifndef NN_GUARD_H
#define NN_GUARD_H

#include "run.h"

/* Before a call: keeps the frame as it is. */
bool nn_guard_begin(struct nn_run *r);
/* After it: false, and the error says so, where a slot that the function wrote holds a NaN or an infinity. call: as it was made. */
bool nn_guard(struct nn_run *r, const struct nn_call *call);

#endif
