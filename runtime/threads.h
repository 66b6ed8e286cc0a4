/*
 * threads.h - the threads of a run: a team that stays together from the first step to the last, a step on it, and the barrier at which its threads meet.
 *
 * Between steps, and at a barrier, a thread waits awake for some 50 us, which is longer than the threads of a step differ, and then asleep. So a step begins within
 * a microsecond of the one before; and where other programs want the cores, a thread that waits gives its own up, and has it back as soon as there is something to
 * do. (A parallel region of OpenMP a step would do neither: at its end threads wait awake for milliseconds, for one that has no core.)
 */
#ifndef NN_THREADS_H
#define NN_THREADS_H

#include "abi.h"

#include <pthread.h>
#include <stdbool.h>

/* What a thread has to do in a shared loop, and how much of that has been handed out: to itself, or to others that were done with theirs. */
struct nn_share {
    _Alignas(
        64) uint64_t given; /* number of the loop << 32 | turns of this thread's part, from its first on, that are given away */
    uint32_t loop;          /* loops that the thread has begun; nobody else looks */
};

/* A number that threads wait for to change. */
struct nn_gate {
    _Alignas(64) int64_t at;
    int64_t asleep; /* threads that wait asleep */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
};

struct nn_barrier {
    _Alignas(64) int64_t waiting; /* threads that are here */
    struct nn_gate round;         /* grows when all are */
    struct nn_share *shares;      /* of each thread */
};

/* What each thread of a team does: thread 0..threads-1. */
typedef void nn_team_work(void *arg, int64_t thread, int64_t threads);

struct nn_team {
    int64_t threads;    /* the one that began it and those that it calls */
    nn_team_work *work; /* of the job at hand; NULL: there will be none any more */
    void *arg;
    struct nn_gate job;           /* its number << 16 | threads that it takes */
    _Alignas(64) int64_t working; /* of those that were called */
    struct nn_gate done;          /* the last job that all were through with */
    struct nn_barrier barrier;
};

enum { NN_MOST_THREADS = 4096 };

/* The number of threads to use where --threads does not say: $OMP_NUM_THREADS, else all cores. */
int64_t nn_threads_default(void);
/* Calls run(team, arg) on this thread, with a team of at most `threads`, which ends with it; of fewer, where the system has no room for more. */
void nn_team_run(int64_t threads, void (*run)(struct nn_team *team, void *arg), void *arg);
/* Calls `work` on at most `threads` threads of the team, this one among them, and waits until all are done. From the thread that began the team alone. */
void nn_team_do(struct nn_team *team, int64_t threads, nn_team_work *work, void *arg);
/* Calls call->func on at most `threads` threads of the team. `call` is the same for all but `thread`; thread, threads and barrier are set here. */
void nn_threads_step(struct nn_team *team, const struct nn_call *call, int64_t threads);

/* How a function's steps have fared on one thread and on many. A step is planned for as many threads as are worth it on a quiet
 * machine; where others want the cores, threads that wait for each other lose more than they gain. So both are timed now and
 * then, and the faster is used. The bits are the same. Zero at first. */
struct nn_pace {
    bool alone;          /* steps are done on one thread, but for trials */
    double seconds[2];   /* of steps in this period; of the trial at its end */
    int64_t counted[2];  /* how many these were */
    int64_t calls;       /* of the period */
    int64_t period;      /* calls until the other way is tried */
    double other;        /* what a step took the other way, when that was done last; 0: not known */
    int64_t slow;        /* steps on end that took much longer than that, */
    double slow_seconds; /* and what they took together */
};

/* The number of threads for the next step, of at most `most`; and what that step took. */
int64_t nn_pace_threads(const struct nn_pace *p, int64_t most);
void nn_pace_note(struct nn_pace *p, double seconds);

#endif
