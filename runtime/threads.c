/*
 * threads.c - see threads.h.
 */
#include "threads.h"
#include <omp.h>
#include <stdbool.h>
#include <string.h>

enum { SPINS = 1000, JOB_BITS = 16 }; /* spins: some 10 to 50 us */

int64_t nn_threads_default(void) {
    int n = omp_get_max_threads(), most = omp_get_thread_limit();
    if (n > most) n = most;
    return n < 1 ? 1 : n > NN_MOST_THREADS ? NN_MOST_THREADS : n;
}

static inline void rest(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- waiting ---- */

static void gate_begin(struct nn_gate *g) {
    g->at = g->asleep = 0;
    pthread_mutex_init(&g->mutex, NULL);
    pthread_cond_init(&g->changed, NULL);
}

static void gate_end(struct nn_gate *g) {
    pthread_mutex_destroy(&g->mutex);
    pthread_cond_destroy(&g->changed);
}

/* Waits until the number is not `old` any more; returns it. */
static int64_t gate_wait(struct nn_gate *g, int64_t old) {
    int64_t at;
    for (int i = 0; i < SPINS; i++) {
        if ((at = __atomic_load_n(&g->at, __ATOMIC_ACQUIRE)) != old) return at;
        rest();
    }
    pthread_mutex_lock(&g->mutex);
    __atomic_add_fetch(&g->asleep, 1, __ATOMIC_SEQ_CST); /* first this, then a look; whoever opens does it the other way round */
    while ((at = __atomic_load_n(&g->at, __ATOMIC_SEQ_CST)) == old) pthread_cond_wait(&g->changed, &g->mutex);
    __atomic_sub_fetch(&g->asleep, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&g->mutex);
    return at;
}

static void gate_open(struct nn_gate *g, int64_t at) {
    __atomic_store_n(&g->at, at, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&g->asleep, __ATOMIC_SEQ_CST) == 0) return;
    pthread_mutex_lock(&g->mutex);
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->mutex);
}

void nn_barrier_wait(struct nn_call *call) {
    struct nn_barrier *b = call->barrier;
    if (call->threads == 1) return;
    int64_t round = __atomic_load_n(&b->round.at, __ATOMIC_RELAXED); /* cannot change before this thread has come */
    if (__atomic_add_fetch(&b->waiting, 1, __ATOMIC_ACQ_REL) == call->threads) {
        __atomic_store_n(&b->waiting, 0, __ATOMIC_RELAXED);
        gate_open(&b->round, round + 1);
    } else {
        gate_wait(&b->round, round);
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

/* ---- the team ---- */

/* A thread that is called, until there will be no job any more. A job that does not take it may be over, and the next be on its way, when it looks: all that it may read then
 * is the number. */
static void serve(struct nn_team *team, int64_t me) {
    for (int64_t job = 0;;) {
        job = gate_wait(&team->job, job);
        int64_t threads = job & ((1 << JOB_BITS) - 1);
        if (me >= threads) continue;
        if (!team->work) return;
        team->work(team->arg, me, threads);
        if (__atomic_sub_fetch(&team->working, 1, __ATOMIC_ACQ_REL) == 0) gate_open(&team->done, job);
    }
}

static void begin_job(struct nn_team *team, int64_t threads, nn_team_work *work, void *arg) {
    team->work = work;
    team->arg = arg;
    team->working = threads - 1;
    gate_open(&team->job, ((team->job.at >> JOB_BITS) + 1) << JOB_BITS | threads);
}

void nn_team_do(struct nn_team *team, int64_t threads, nn_team_work *work, void *arg) {
    if (threads > team->threads) threads = team->threads;
    if (threads <= 1) {
        work(arg, 0, 1);
        return;
    }
    int64_t before = team->done.at;
    begin_job(team, threads, work, arg);
    work(arg, 0, threads);
    gate_wait(&team->done, before);
}

static void *stay(void *gate) {
    gate_wait(gate, 0);
    return NULL;
}

/* How many threads the system has room for, `most` at the most: OpenMP ends the process where one cannot be had, so they are tried before. */
static int64_t room_for(int64_t most) {
    pthread_t tried[most];
    struct nn_gate gate;
    int64_t n = 1;
    gate_begin(&gate);
    while (n < most && pthread_create(&tried[n], NULL, stay, &gate) == 0) n++;
    gate_open(&gate, 1);
    for (int64_t i = 1; i < n; i++) pthread_join(tried[i], NULL);
    gate_end(&gate);
    return n;
}

void nn_team_run(int64_t threads, void (*run)(struct nn_team *team, void *arg), void *arg) {
    if (threads < 1) threads = 1;
    if (threads > NN_MOST_THREADS) threads = NN_MOST_THREADS;
    threads = room_for(threads);
    struct nn_share shares[threads];
    struct nn_team team = {.threads = 1, .barrier = {.shares = shares}};
    struct nn_gate *gates[] = {&team.job, &team.done, &team.barrier.round};
    for (int i = 0; i < 3; i++) gate_begin(gates[i]);
    if (threads == 1) {
        run(&team, arg);
    } else {
#pragma omp parallel num_threads((int)threads)
        if (omp_get_thread_num() != 0) {
            serve(&team, omp_get_thread_num());
        } else {
            team.threads = omp_get_num_threads(); /* may be fewer than asked for */
            run(&team, arg);
            begin_job(&team, team.threads, NULL, NULL);
        }
    }
    for (int i = 0; i < 3; i++) gate_end(gates[i]);
}

/* ---- a step ---- */

struct step {
    const struct nn_call *call;
    struct nn_barrier *barrier;
};

static void step_part(void *arg, int64_t thread, int64_t threads) {
    struct step *s = arg;
    struct nn_call mine = *s->call;
    mine.thread = thread;
    mine.threads = threads;
    mine.barrier = s->barrier;
    if (mine.watch && thread != 0)
        mine.watch = mine.watch->apart ? (struct nn_watch *)((char *)mine.watch + thread * mine.watch->apart) : NULL;
    if (mine.watch) mine.watch->lap(mine.watch, -1);
    mine.func->step(&mine);
}

void nn_threads_step(struct nn_team *team, const struct nn_call *call, int64_t threads) {
    struct step s = {call, &team->barrier};
    if (threads > 1) memset(team->barrier.shares, 0, (size_t)team->threads * sizeof *team->barrier.shares);
    nn_team_do(team, threads, step_part, &s);
}

/*
 * A period: steps in the way that was faster, then a trial of the other. What the trial must beat is the mean of the whole period: a few steps that something disturbed are not taken for what the
 * machine is like, neither here nor there. If the other way is faster it is taken, and tried soon again; else periods grow to some thousands of steps, so that trials cost little and a machine
 * that has changed is noticed. A trial ends earlier where steps are long. The first period is short; a run of few steps is over before one thread is tried.
 * Threads that wait for each other on a busy machine may take ten times as long: then the trial begins at once, early in the first period, and later when some steps on end took more than twice
 * what the other way took last.
 */
enum { FIRST_PERIOD = 40, SECOND_PERIOD = 160, LAST_PERIOD = 4000, TRIAL = 6, LEAST_TRIAL = 3, LEAST_PERIOD = 12 };
static const double LONG_TRIAL = 2e-3, LONG_PERIOD = 50e-3, FASTER = 1.05, MUCH_SLOWER = 2;

static int64_t period_of(const struct nn_pace *p) { return p->period ? p->period : FIRST_PERIOD; }

int64_t nn_pace_threads(const struct nn_pace *p, int64_t most) {
    bool trial = p->calls >= period_of(p);
    return p->alone != trial ? 1 : most;
}

/* Behind a step of the period: is it time for a trial already? */
static void end_early(struct nn_pace *p, double seconds) {
    bool slow = p->other > 0 && seconds > MUCH_SLOWER * p->other;
    p->slow = slow ? p->slow + 1 : 0;
    p->slow_seconds = slow ? p->slow_seconds + seconds : 0;
    if (p->slow == LEAST_PERIOD) { /* what it was like before does not count */
        p->seconds[0] = p->slow_seconds;
        p->counted[0] = p->slow;
        p->period = p->calls;
    } else if (!p->period && p->calls >= LEAST_PERIOD && p->seconds[0] > LONG_PERIOD) {
        p->period = p->calls;
    }
}

void nn_pace_note(struct nn_pace *p, double seconds) {
    int64_t period = period_of(p);
    bool trial = p->calls >= period, first = p->calls == 0 || p->calls == period; /* wakes threads, warms caches: not counted */
    p->calls++;
    if (!first) {
        p->seconds[trial] += seconds;
        p->counted[trial]++;
    }
    if (!trial) {
        end_early(p, seconds);
        return;
    }
    int64_t tried = p->calls - period;
    if (tried < TRIAL && (tried < LEAST_TRIAL || p->seconds[1] < LONG_TRIAL)) return;
    double mean = p->seconds[0] / (double)p->counted[0], other = p->seconds[1] / (double)p->counted[1];
    bool faster = FASTER * other < mean;
    double best = faster ? other : mean;
    int64_t next = best * LEAST_PERIOD > LONG_PERIOD ? 2 * LEAST_PERIOD : SECOND_PERIOD; /* of long steps 160 are half a minute */
    if (!faster && next < 2 * period) next = 2 * period < LAST_PERIOD ? 2 * period : LAST_PERIOD;
    *p = (struct nn_pace){.alone = p->alone != faster, .period = next, .other = faster ? mean : other};
}
