/*
 * threads.c - see threads.h.
 */
#include "threads.h"
#include <omp.h>
#include <sched.h>

enum { SPINS = 4000 }; /* some 10 us: longer than the threads of a step differ; a core that others want is then given up */

int64_t nn_threads_default(void) {
    int n = omp_get_max_threads();
    return n > 0 ? n : 1;
}

static inline void rest(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void nn_barrier_wait(struct nn_call *call) {
    struct nn_barrier *b = call->barrier;
    if (call->threads == 1) return;
    int64_t round = __atomic_load_n(&b->round, __ATOMIC_RELAXED); /* cannot change before this thread has come */
    if (__atomic_add_fetch(&b->waiting, 1, __ATOMIC_ACQ_REL) == call->threads) {
        __atomic_store_n(&b->waiting, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&b->round, round + 1, __ATOMIC_RELEASE);
        return;
    }
    for (int i = 0; __atomic_load_n(&b->round, __ATOMIC_ACQUIRE) == round; i++) {
        if (i < SPINS)
            rest();
        else
            sched_yield();
    }
}

void nn_threads_step(const struct nn_call *call, int64_t threads) {
    struct nn_barrier barrier = {0};
    if (threads <= 1) {
        struct nn_call one = *call;
        one.thread = 0;
        one.threads = 1;
        one.barrier = &barrier;
        call->func->step(&one);
        return;
    }
#pragma omp parallel num_threads((int)threads)
    {
        struct nn_call mine = *call;
        mine.thread = omp_get_thread_num();
        mine.threads = omp_get_num_threads(); /* may be fewer than asked for */
        mine.barrier = &barrier;
        call->func->step(&mine);
    }
}
