/*
 * threads.h - a step on many threads: one parallel region a call, and the barrier at which its threads meet.
 */
#ifndef NN_THREADS_H
#define NN_THREADS_H

#include "abi.h"

struct nn_barrier {
    _Alignas(64) int64_t waiting; /* threads that are here */
    _Alignas(64) int64_t round;   /* grows when all are */
};

/* The number of threads to use where --threads does not say: $OMP_NUM_THREADS, else all cores. */
int64_t nn_threads_default(void);
/* Calls call->func on at most `threads` threads. `call` is the same for all but `thread`; thread, threads and barrier are set
 * here. */
void nn_threads_step(const struct nn_call *call, int64_t threads);

#endif
