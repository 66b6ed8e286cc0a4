/*
 * threads.c - see threads.h.
 */
#include "threads.h"
#include "profile.h"
#include <omp.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>

enum { SPINS = 1000 }; /* some 10 to 50 us: longer than the threads of a step differ; a core that others want is then given up */

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

/* ---- shared loops ---- */

/* Turns [total * t / threads, total * (t + 1) / threads) are thread t's part, which it takes piece by piece, large ones first: what lies in its caches from the last step
 * it does again. A thread that is done takes pieces of the others' parts: one of them may share its core with other programs, or be of the slower kind. */
enum { PIECES = 32 }; /* of a part: no piece is smaller than that */

/* Takes a piece of thread t's part of loop number `loop`, `size` turns: *n of them, from what is returned on. -1: all are given away. A number of an older loop means that t
 * has not come yet; one of a newer loop, that somebody went on, which is done only when all of this loop is given away. */
static int64_t take(struct nn_share *s, uint32_t loop, uint32_t size, uint32_t *n) {
    uint64_t old = __atomic_load_n(&s->given, __ATOMIC_RELAXED);
    for (;;) {
        int32_t behind = (int32_t)((uint32_t)(old >> 32) - loop);
        uint32_t given = behind < 0 ? 0 : (uint32_t)old, least = (size + PIECES - 1) / PIECES;
        if (behind > 0 || given >= size) return -1;
        uint32_t left = size - given, piece = (left + 3) / 4;
        if (piece < least) piece = least < left ? least : left;
        if (__atomic_compare_exchange_n(&s->given, &old, (uint64_t)loop << 32 | (given + piece), false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED)) {
            *n = piece;
            return given;
        }
    }
}

/* total * t / threads, without overflow */
static int64_t part_begin(int64_t total, int64_t t, int64_t threads) {
    return total / threads * t + total % threads * t / threads;
}

int64_t nn_turns(struct nn_call *call, int64_t total, int64_t first, int64_t *end) {
    int64_t threads = call->threads, me = call->thread;
    if (threads == 1 || total > UINT32_MAX) { /* in one piece; no loop of so many turns is worth more */
        int64_t begin = part_begin(total, me, threads);
        *end = part_begin(total, me + 1, threads);
        return first && begin < *end ? begin : -1;
    }
    struct nn_share *shares = call->barrier->shares;
    if (first) shares[me].loop++;
    for (int64_t i = 0; i < threads; i++) {
        int64_t t = me + i < threads ? me + i : me + i - threads, begin = part_begin(total, t, threads);
        uint32_t n;
        int64_t at = take(&shares[t], shares[me].loop, (uint32_t)(part_begin(total, t + 1, threads) - begin), &n);
        if (at < 0) continue;
        *end = begin + at + n;
        return begin + at;
    }
    return -1;
}

/* ---- a step ---- */

void nn_threads_step(const struct nn_call *call, int64_t threads) {
    struct nn_barrier barrier = {0};
    if (threads <= 1) {
        struct nn_call one = *call;
        one.thread = 0;
        one.threads = 1;
        one.barrier = &barrier;
        if (one.profile) nn_profile_start(one.profile);
        call->func->step(&one);
        return;
    }
    struct nn_share shares[threads];
    memset(shares, 0, sizeof shares);
    barrier.shares = shares;
#pragma omp parallel num_threads((int)threads)
    {
        struct nn_call mine = *call;
        mine.thread = omp_get_thread_num();
        mine.threads = omp_get_num_threads(); /* may be fewer than asked for */
        mine.barrier = &barrier;
        if (mine.thread != 0) mine.profile = NULL;
        if (mine.profile) nn_profile_start(mine.profile);
        call->func->step(&mine);
    }
}

/* A period: TRIAL steps on many threads, TRIAL on one, the rest on what was faster. Periods grow, so that trials cost less and
 * less, to some thousands of steps, so that a machine that has become quiet is noticed. */
enum { TRIAL = 6, FIRST_PERIOD = 120, LAST_PERIOD = 4000 };

int64_t nn_pace_threads(const struct nn_pace *p, int64_t most) {
    if (p->calls < TRIAL) return most;
    if (p->calls < 2 * TRIAL) return 1;
    return p->seconds[1] <= p->seconds[0] ? most : 1;
}

void nn_pace_note(struct nn_pace *p, double seconds) {
    bool first = p->calls == 0 || p->calls == TRIAL; /* wakes threads, warms caches: not counted */
    if (first)
        p->now = 0;
    else
        p->now += seconds;
    p->calls++;
    if (p->calls == TRIAL) p->seconds[1] = p->now;
    if (p->calls == 2 * TRIAL) p->seconds[0] = p->now;
    if (p->period == 0) p->period = FIRST_PERIOD;
    if (p->calls < p->period) return;
    p->calls = 0;
    if (p->period < LAST_PERIOD) p->period *= 2;
}
