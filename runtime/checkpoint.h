/*
 * checkpoint.h - a run written to a file, and gone on from.
 */
#ifndef NN_CHECKPOINT_H
#define NN_CHECKPOINT_H

#include "run.h"

/* Writes all that the rest of the run depends on. Called between two items. */
bool nn_checkpoint_write(struct nn_run *r, const char *path);
/* Checks that the file is a checkpoint of this program, command, data and options, and puts the run where it was: the loops
 * around are begun. *log_bytes: length of the log then. */
bool nn_checkpoint_read(struct nn_run *r, const char *path, int64_t *log_bytes);

#endif
