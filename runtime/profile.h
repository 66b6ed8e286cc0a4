/*
 * profile.h - --profile: where the time of a run went, by function and by kernel. What compiled code does for it: abi.h, nn_watch.
 */
#ifndef NN_PROFILE_H
#define NN_PROFILE_H

#include "run.h"

/* Room for the profiles of all functions (none without --profile), and its end. */
bool nn_profile_make(struct nn_run *r);
void nn_profile_free(struct nn_run *r);
/* Before a call of function `index`: gives the call its profile. */
bool nn_profile_call(struct nn_run *r, int64_t index, struct nn_call *call);
/* The table, on standard error. */
void nn_report_profile(struct nn_run *r);

#endif
