/*
 * threads.h - a step on many threads: one parallel region a call, and the barrier at which its threads meet.
 */
#ifndef NN_THREADS_H
#define NN_THREADS_H

#include "abi.h"

/* What a thread has to do in a shared loop, and how much of that has been handed out: to itself, or to others that were done with theirs. */
struct nn_share {
    _Alignas(
        64) uint64_t given; /* number of the loop << 32 | turns of this thread's part, from its first on, that are given away */
    uint32_t loop;          /* loops that the thread has begun; nobody else looks */
};

struct nn_barrier {
    _Alignas(64) int64_t waiting; /* threads that are here */
    _Alignas(64) int64_t round;   /* grows when all are */
    struct nn_share *shares;      /* of each thread */
};

/* The number of threads to use where --threads does not say: $OMP_NUM_THREADS, else all cores. */
int64_t nn_threads_default(void);
/* Calls call->func on at most `threads` threads. `call` is the same for all but `thread`; thread, threads and barrier are set
 * here. */
void nn_threads_step(const struct nn_call *call, int64_t threads);

/* How a function's steps have fared on one thread and on many. A step is planned for as many threads as are worth it on a quiet
 * machine; where others want the cores, threads that wait for each other lose more than they gain. So both are timed now and
 * then, and the faster is used. The bits are the same. Zero at first. */
struct nn_pace {
    double seconds[2]; /* the last trial of one thread; of many */
    double now;        /* the trial under way */
    int64_t calls;     /* of the period at hand */
    int64_t period;    /* calls until both are tried again */
};

/* The number of threads for the next step, of at most `most`; and what that step took. */
int64_t nn_pace_threads(const struct nn_pace *p, int64_t most);
void nn_pace_note(struct nn_pace *p, double seconds);

#endif
