/*
 * batch.c - the batches of a loop over data sets, made ahead.
 *
 * In the order of the files a batch is a place in the column: nothing is copied. In any other order a thread, the reader, gathers
 * the samples of the turns to come into a ring, while the step works on a turn before. A loop that fits into the ring needs no
 * thread.
 *
 * Meeting costs a small step much: to wake a thread takes longer than to gather a batch, and a number that two threads write
 * travels between their cores. So who runs the steps wakes nobody: it says which turn it is at, and looks once a quarter of the
 * ring how far the reader has come. A reader that finds the ring full naps for about as long as a quarter of it lasts, which it
 * learns from how much was used during the nap before. Where it naps too long, because the cores are busy or steps have become
 * faster, it is woken when half of the ring is used up.
 *
 * A loop begins again in every epoch, so its ring, its order and its reader stay for the next time (nn_batches_again). While the
 * reader wakes up, who runs the steps gathers the first turns itself; which samples those are is drawn before the order goes to
 * the reader. A ring that often ran empty begins the next epoch twice as large: how late a nap ends depends on the machine and its
 * neighbours, and a ring that lasts shorter than that is empty whenever the reader wakes up.
 */
#include "batch.h"
#include "random.h"
#include "shuffle.h"
#include <pthread.h>
#include <string.h>
#if defined __linux__
#include <sys/prctl.h>
#endif
#include <time.h>
#include <unistd.h>

/* Bytes of a ring: a part of a core's second cache, LEAST_RING where the system does not tell. What a step reads from another core's
 * second cache comes as fast as from the cache that all share, or faster. Of batches so large that these would be few: FEW_TURNS, but
 * FEW_BYTES at most. A ring that runs empty more than once in SELDOM rounds grows, to GROWN_RING at most. */
enum { CACHE_PARTS = 4, LEAST_RING = 1 << 18, MOST_RING = 1 << 19, FEW_TURNS = 8, FEW_BYTES = 1 << 20 };
enum { SELDOM = 8, GROWN_RING = 1 << 21 };
enum { MOST_OWN = 8 }; /* turns until the reader has woken up */
enum { LINE = 64, AHEAD = 8, MOST_AHEAD = 1024 };
enum { FIRST_NAP = 100000, LEAST_NAP = 20000, LONGEST_NAP = 20000000 }; /* nanoseconds */

struct part_state {
    struct nn_part p;
    bool plain;      /* samples in the order of the files, without gaps */
    uint32_t *order; /* of the samples of the pass at hand, from its end; NULL: plain */
    bool unshuffled; /* it is as it must be before a shuffle */
    struct nn_shuffler shuffler;
    int64_t pass;   /* that `order` is for; -1: none yet */
    uint32_t *rows; /* the samples of the first turns, `own` of them, and of the turn that is being filled */
};

/* One field of one part. Turn t of it lies at `at` + t * turn_bytes: in the column, or, with t's place for t, in the ring. */
struct lane {
    const char *at;
    int64_t turn_bytes;
    bool gathered;
    int64_t slot;
    int64_t part;
    const struct nn_column *column;
};

struct nn_batches {
    struct nn_env *env;
    struct part_state *parts; /* the reader's, which writes to it, while it runs */
    int64_t n_parts;
    struct lane *lanes;
    int64_t n_lanes;
    int64_t first, turns; /* the turns to come are first ... turns - 1 */
    char *ring;           /* NULL: nothing is gathered */
    int64_t ring_turns;
    int64_t most_turns; /* for so many there is room */
    int64_t ran_empty;  /* so often in this epoch */
    int64_t own;        /* so many turns from the first are gathered by who runs the steps */

    bool threaded;
    pthread_t thread;
    pthread_mutex_t lock; /* for naps, waits and rests alone */
    pthread_cond_t changed;
    bool quit;
    bool resting; /* the reader has nothing to do until this is false */

    /* What one of the threads writes at every turn is on a line of its own: the other looks at it seldom. */
    _Alignas(LINE) int64_t filled;   /* turns before this one are there; written by the reader */
    bool napping;                    /* the reader is, until the time has passed or this is false */
    int64_t wanted;                  /* somebody waits for `filled` to be so large; INT64_MAX: nobody */
    _Alignas(LINE) int64_t used;     /* turns before this one are done with; written by who runs the steps */
    _Alignas(LINE) int64_t look;     /* the turn at which `filled` must be looked at again */
    int64_t next, place;             /* the turn that comes next, and its place in the ring: (next - first) % ring_turns */
    int64_t batch;                   /* samples of a turn of the first part, */
    int64_t short_turn, short_batch; /* but of this one, -1: none */
};

int64_t nn_part_turns(const struct nn_part *p) {
    int64_t batch = p->use->batch;
    if (p->use->lanes || p->use->drop_last) return p->count / batch;
    return (p->count + batch - 1) / batch;
}

/* ---- orders ---- */

/* Puts an order to where a shuffle begins. Place i of the pass is order[n - 1 - i]: a shuffle makes its end first, and goes on while
 * steps run. */
static void unshuffle(struct part_state *s) {
    const struct nn_part *p = &s->p;
    uint32_t n = (uint32_t)p->count;
    if (s->unshuffled || !s->order) return;
    if (p->resample) {
        nn_resample(s->order, n, p->resample_key);
    } else {
        for (uint32_t i = 0; i < n; i++) s->order[i] = p->shuffle ? i : n - 1 - i;
    }
    s->unshuffled = true;
}

static void begin_pass(struct part_state *s, int64_t pass) {
    const struct nn_part *p = &s->p;
    bool random = p->shuffle || p->resample;
    unshuffle(s);
    s->unshuffled = !random;
    s->shuffler = nn_shuffle_begin(random ? (uint32_t)p->count : 0, nn_mix(p->shuffle_key, (uint64_t)pass));
    s->pass = pass;
}

static int64_t order_at(struct part_state *s, int64_t place) {
    uint32_t at = (uint32_t)(s->p.count - 1 - place);
    nn_shuffle_on(&s->shuffler, s->order, at);
    uint32_t sample = (uint32_t)s->p.from + s->order[at];
    return s->p.set->order ? s->p.set->order[sample] : sample;
}

/* The sample at row `row` of turn `turn`. */
static int64_t sample_at(struct part_state *s, int64_t turn, int64_t row) {
    const struct nn_part *p = &s->p;
    int64_t place = turn * p->use->batch + row, pass = 0;
    if (p->use->lanes) { /* every row reads its own stretch of the samples */
        int64_t length = p->count / p->use->batch;
        pass = turn / length;
        place = row * length + turn % length;
    } else if (p->repeats) {
        pass = place / p->count;
        place %= p->count;
    }
    if (pass != s->pass) begin_pass(s, pass);
    return order_at(s, place);
}

/* Samples of a turn: only the last batch of the first set may be short. */
static int64_t rows_of(const struct part_state *s, int64_t turn) {
    int64_t batch = s->p.use->batch, left = s->p.count - turn * batch;
    return s->p.repeats || s->p.use->lanes || left >= batch ? batch : left;
}

/* ---- filling ---- */

static inline void copy_sample(char *to, const char *from, int64_t bytes) {
    switch (bytes) { /* labels: not worth a call */
    case 1: *to = *from; break;
    case 4: memcpy(to, from, 4); break;
    case 8: memcpy(to, from, 8); break;
    default: memcpy(to, from, (size_t)bytes);
    }
}

/* Samples lie anywhere in the column: the memory is told some rows ahead which lines will be copied, or each row would wait for it. */
static inline void announce(const char *from, int64_t bytes) {
    for (int64_t i = 0; i < bytes && i < MOST_AHEAD; i += LINE) __builtin_prefetch(from + i);
}

static void gather(const struct lane *l, char *to, const uint32_t *sample, int64_t rows) {
    const struct nn_column *c = l->column;
    for (int64_t i = 0; i < rows && i < AHEAD; i++) announce(c->at + sample[i] * c->stride, c->bytes);
    for (int64_t i = 0; i < rows; i++, to += c->bytes) {
        if (i + AHEAD < rows) announce(c->at + sample[i + AHEAD] * c->stride, c->bytes);
        copy_sample(to, c->at + sample[i] * c->stride, c->bytes);
    }
}

/* Which samples a turn has: into part `at` of the rows. */
static void choose(struct nn_batches *b, int64_t turn, int64_t at) {
    for (int64_t i = 0; i < b->n_parts; i++) {
        struct part_state *s = &b->parts[i];
        int64_t rows = rows_of(s, turn);
        uint32_t *to = s->rows + at * s->p.use->batch;
        if (s->plain) continue;
        if (!s->p.use->lanes && !s->p.repeats)
            sample_at(s, turn, rows - 1); /* the whole turn is shuffled at once, which is faster */
        for (int64_t row = 0; row < rows; row++) to[row] = (uint32_t)sample_at(s, turn, row);
    }
}

/* Gathers the samples of part `at` of the rows, those of turn `turn`, at a place of the ring. */
static void fill(struct nn_batches *b, int64_t turn, int64_t at, int64_t place) {
    for (int64_t k = 0; k < b->n_lanes; k++) {
        const struct lane *l = &b->lanes[k];
        const struct part_state *s = &b->parts[l->part];
        if (l->gathered) gather(l, (char *)l->at + place * l->turn_bytes, s->rows + at * s->p.use->batch, rows_of(s, turn));
    }
}

static void choose_and_fill(struct nn_batches *b, int64_t turn, int64_t place) {
    choose(b, turn, b->own);
    fill(b, turn, b->own, place);
}

/* ---- the reader ---- */

/* Until the time has passed, or somebody wakes the reader. */
static void nap(struct nn_batches *b, int64_t ns) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (until.tv_nsec + ns) / 1000000000;
    until.tv_nsec = (until.tv_nsec + ns) % 1000000000;
    pthread_mutex_lock(&b->lock);
    if (!b->quit && b->wanted == INT64_MAX) {
        __atomic_store_n(&b->napping, true, __ATOMIC_RELAXED);
        pthread_cond_timedwait(&b->changed, &b->lock, &until);
        __atomic_store_n(&b->napping, false, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&b->lock);
}

/* The ring was full, and `freed` of its turns are not any more after a nap of ns: the next nap is for a quarter of them. */
static int64_t next_nap(const struct nn_batches *b, int64_t ns, int64_t freed) {
    int64_t quarter = (b->ring_turns + 3) / 4;
    ns = freed == 0 ? 2 * ns : freed < quarter ? ns + ns * (quarter - freed) / quarter : ns * quarter / freed;
    return ns < LEAST_NAP ? LEAST_NAP : ns > LONGEST_NAP ? LONGEST_NAP : ns;
}

/* Tells who waits for `wanted` turns that they are there. */
static void feed(struct nn_batches *b) {
    pthread_mutex_lock(&b->lock);
    __atomic_store_n(&b->wanted, INT64_MAX,
                     __ATOMIC_RELAXED); /* by the reader, which may nap again before the other thread has run */
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

/* Gathers all turns but the first, which are not the reader's. false: it is to quit. */
static bool read_turns(struct nn_batches *b) {
    int64_t ns = FIRST_NAP, used = b->first;
    for (int64_t turn = b->first + b->own; turn < b->turns; turn++) {
        if (turn - used >= b->ring_turns) used = __atomic_load_n(&b->used, __ATOMIC_ACQUIRE);
        while (turn - used >= b->ring_turns) {
            nap(b, ns);
            if (__atomic_load_n(&b->quit, __ATOMIC_RELAXED)) return false;
            used = __atomic_load_n(&b->used, __ATOMIC_ACQUIRE);
            ns = next_nap(b, ns, b->ring_turns - (turn - used));
        }
        if (__atomic_load_n(&b->quit, __ATOMIC_RELAXED)) return false;
        choose_and_fill(b, turn, (turn - b->first) % b->ring_turns);
        __atomic_store_n(&b->filled, turn + 1, __ATOMIC_SEQ_CST); /* before looking who is hungry, who looks after saying so */
        if (turn + 1 >= __atomic_load_n(&b->wanted, __ATOMIC_SEQ_CST)) feed(b);
    }
    return true;
}

static void *read_ahead(void *argument) {
    struct nn_batches *b = argument;
    bool quit = false;
#if defined __linux__
    prctl(PR_SET_TIMERSLACK, 1000UL); /* naps are short: 50 us more, which is usual, can be longer than the ring lasts */
#endif
    while (!quit && read_turns(b)) {
        for (int64_t i = 0; i < b->n_parts; i++)
            unshuffle(&b->parts[i]); /* for the next time, while there is nothing else to do */
        pthread_mutex_lock(&b->lock);
        b->resting = true;
        pthread_cond_broadcast(&b->changed);
        while (b->resting && !b->quit) pthread_cond_wait(&b->changed, &b->lock);
        quit = b->quit;
        pthread_mutex_unlock(&b->lock);
    }
    return NULL;
}

/* Turn `turn` is needed now, those before it no more. */
static void need_turn(struct nn_batches *b, int64_t turn, int64_t place) {
    if (!b->threaded) {
        choose_and_fill(b, turn, place);
        return;
    }
    __atomic_store_n(&b->used, turn, __ATOMIC_RELEASE);
    if (turn < b->first + b->own) fill(b, turn, turn - b->first, place);
    if (turn < b->look) return;
    int64_t filled = __atomic_load_n(&b->filled, __ATOMIC_ACQUIRE), half = (b->ring_turns + 1) / 2, quarter = (half + 1) / 2;
    if (turn < filled) {
        b->look = turn + quarter < filled ? turn + quarter : filled;
        if (filled - turn <= half && filled < b->turns && __atomic_load_n(&b->napping, __ATOMIC_RELAXED)) {
            pthread_mutex_lock(&b->lock);
            pthread_cond_broadcast(&b->changed);
            pthread_mutex_unlock(&b->lock);
        }
        return;
    }
    /* A ring that ran empty is waited for until a quarter of it is full: where the cores are busy, a meeting at every turn would
     * cost far more. */
    int64_t wanted = turn + quarter < b->turns ? turn + quarter : b->turns;
    b->ran_empty++;
    pthread_mutex_lock(&b->lock);
    __atomic_store_n(&b->wanted, wanted, __ATOMIC_SEQ_CST);
    pthread_cond_broadcast(&b->changed); /* the reader may nap */
    while ((b->look = __atomic_load_n(&b->filled, __ATOMIC_SEQ_CST)) < wanted) pthread_cond_wait(&b->changed, &b->lock);
    __atomic_store_n(&b->wanted, INT64_MAX, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&b->lock);
}

/* ---- beginning and end ---- */

static bool begin_parts(struct nn_batches *b, const struct nn_part *parts) {
    for (int64_t i = 0; i < b->n_parts; i++) {
        struct part_state *s = &b->parts[i];
        s->p = parts[i];
        s->pass = -1;
        s->plain = !s->p.shuffle && !s->p.resample && !s->p.set->order && !s->p.use->lanes && !s->p.repeats;
        for (int64_t f = 0; f < s->p.use->n_fields; f++) s->plain &= s->p.set->columns[f].stride == s->p.set->columns[f].bytes;
        b->n_lanes += s->p.use->n_fields;
        if (!s->plain && !(s->order = nn_alloc_aligned(b->env, (size_t)s->p.count * sizeof *s->order))) return false;
    }
    b->lanes = nn_alloc_n(b->env, b->n_lanes, sizeof *b->lanes);
    return b->lanes != NULL;
}

static int64_t ring_bytes(void) {
    long cache = 0;
#ifdef _SC_LEVEL2_CACHE_SIZE
    cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    int64_t bytes = cache / CACHE_PARTS;
    return bytes < LEAST_RING ? LEAST_RING : bytes > MOST_RING ? MOST_RING : bytes;
}

static void lay_ring(struct nn_batches *b, int64_t turns) {
    int64_t place = 0;
    b->ring_turns = turns;
    for (int64_t k = 0; k < b->n_lanes; k++) {
        if (!b->lanes[k].gathered) continue;
        b->lanes[k].at = b->ring + place;
        place += turns * b->lanes[k].turn_bytes;
    }
}

/* Which fields lie in the ring; how many turns it has follows from their size. */
static bool begin_ring(struct nn_batches *b) {
    int64_t turn_bytes = 0, k = 0, left = b->turns - b->first;
    for (int64_t i = 0; i < b->n_parts; i++) {
        const struct part_state *s = &b->parts[i];
        for (int64_t f = 0; f < s->p.use->n_fields; f++, k++) {
            const struct nn_column *c = &s->p.set->columns[f];
            struct lane *l = &b->lanes[k];
            *l = (struct lane){.part = i, .column = c, .slot = s->p.use->fields[f], .gathered = !s->plain};
            l->turn_bytes = s->p.use->batch * c->bytes;
            if (s->plain) continue;
            l->turn_bytes = (l->turn_bytes + LINE - 1) / LINE * LINE;
            turn_bytes += l->turn_bytes;
        }
    }
    if (turn_bytes == 0) return true;
    int64_t turns = ring_bytes() / turn_bytes;
    if (turns < FEW_TURNS) turns = FEW_BYTES / turn_bytes < FEW_TURNS ? FEW_BYTES / turn_bytes : FEW_TURNS;
    if (turns < 2) turns = 2;
    if (turns > left) turns = left > 0 ? left : 1;
    b->threaded = turns < left;
    b->most_turns = turns;
    while (b->threaded && 2 * b->most_turns * turn_bytes <= GROWN_RING && 2 * b->most_turns < left) b->most_turns *= 2;
    /* (pages that are never written take no memory) */
    if (!(b->ring = nn_alloc_aligned(b->env, (size_t)(b->most_turns * turn_bytes)))) return false;
    lay_ring(b, turns);
    b->own = !b->threaded ? 0 : b->ring_turns < 4 * MOST_OWN ? (b->ring_turns + 3) / 4 : MOST_OWN;
    return true;
}

/* Between two epochs, while the reader rests. */
static void grow_ring(struct nn_batches *b) {
    int64_t rounds = (b->turns - b->first) / b->ring_turns;
    if (b->ran_empty > rounds / SELDOM && b->ring_turns < b->most_turns) lay_ring(b, 2 * b->ring_turns);
    b->ran_empty = 0;
}

static bool begin_rows(struct nn_batches *b) {
    for (int64_t i = 0; i < b->n_parts; i++) {
        struct part_state *s = &b->parts[i];
        if (!s->plain && !(s->rows = nn_alloc_n(b->env, (b->own + 1) * s->p.use->batch, sizeof *s->rows))) return false;
    }
    return true;
}

/* To turn `first`; the first turns are chosen here, the rest is for the reader. */
static void begin_turns(struct nn_batches *b, int64_t first, int64_t turns) {
    b->first = b->next = b->used = first;
    b->turns = turns;
    b->place = 0;
    b->filled = b->look = first + b->own;
    b->wanted = INT64_MAX;
    for (int64_t k = 0; k < b->n_lanes; k++) {
        struct lane *l = &b->lanes[k];
        if (!l->gathered) l->at = l->column->at + b->parts[l->part].p.from * l->column->stride;
    }
    const struct part_state *s = &b->parts[0];
    int64_t last = turns - 1;
    b->batch = s->p.use->batch;
    b->short_batch = turns > first ? rows_of(s, last) : b->batch;
    b->short_turn = b->short_batch < b->batch ? last : -1;
    for (int64_t i = 0; i < b->n_parts; i++) b->parts[i].pass = -1;
    for (int64_t i = 0; i < b->own; i++) choose(b, first + i, i);
}

/* No thread to be had: turns are then filled when they are needed. */
static void begin_reader(struct nn_batches *b) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&b->thread, NULL, read_ahead, b) == 0) return;
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
    b->threaded = false;
}

struct nn_batches *nn_batches_begin(struct nn_env *env, const struct nn_part *parts, int64_t n, int64_t first, int64_t turns) {
    struct nn_batches *b = nn_alloc_aligned(env, sizeof *b);
    if (!b) return NULL;
    *b = (struct nn_batches){.env = env, .n_parts = n, .first = first, .turns = turns, .ring_turns = 1};
    b->parts = nn_alloc_aligned(env, (size_t)n * sizeof *b->parts);
    if (b->parts) memset(b->parts, 0, (size_t)n * sizeof *b->parts);
    if (!b->parts || !begin_parts(b, parts) || !begin_ring(b) || !begin_rows(b)) {
        b->threaded = false;
        nn_batches_end(b);
        return NULL;
    }
    begin_turns(b, first, turns);
    if (b->threaded) begin_reader(b);
    return b;
}

/* The order that was made for one part can be shuffled for the other. */
static bool alike(const struct nn_part *a, const struct nn_part *b) {
    return a->set == b->set && a->use == b->use && a->count == b->count && a->shuffle == b->shuffle &&
           a->resample == b->resample && a->resample_key == b->resample_key;
}

bool nn_batches_again(struct nn_batches *b, const struct nn_part *parts, int64_t first, int64_t turns) {
    if (!b->threaded || b->next < b->turns || turns - first <= b->ring_turns) return false;
    for (int64_t i = 0; i < b->n_parts; i++)
        if (!alike(&b->parts[i].p, &parts[i])) return false;
    pthread_mutex_lock(&b->lock);
    while (!b->resting) pthread_cond_wait(&b->changed, &b->lock);
    pthread_mutex_unlock(&b->lock);
    for (int64_t i = 0; i < b->n_parts; i++) b->parts[i].p = parts[i];
    grow_ring(b);
    begin_turns(b, first, turns);
    pthread_mutex_lock(&b->lock);
    b->resting = false;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
    return true;
}

bool nn_batches_stay(const struct nn_batches *b) { return b->threaded; }

bool nn_batches_next(struct nn_batches *b, const struct nn_slot *slots, const void **fields, int64_t *batch) {
    int64_t turn = b->next++, place = b->place;
    b->place = place + 1 < b->ring_turns ? place + 1 : 0;
    if (b->ring) need_turn(b, turn, place);
    for (int64_t k = 0; k < b->n_lanes; k++) {
        const struct lane *l = &b->lanes[k];
        fields[slots[l->slot].offset] = l->at + (l->gathered ? place : turn) * l->turn_bytes;
    }
    *batch = turn == b->short_turn ? b->short_batch : b->batch;
    return true;
}

void nn_batches_end(struct nn_batches *b) {
    if (!b) return;
    if (b->threaded) {
        pthread_mutex_lock(&b->lock);
        __atomic_store_n(&b->quit, true, __ATOMIC_RELAXED);
        pthread_cond_broadcast(&b->changed);
        pthread_mutex_unlock(&b->lock);
        pthread_join(b->thread, NULL);
        pthread_cond_destroy(&b->changed);
        pthread_mutex_destroy(&b->lock);
    }
    for (int64_t i = 0; b->parts && i < b->n_parts; i++) {
        nn_free_aligned(b->env, b->parts[i].order);
        nn_free(b->env, b->parts[i].rows);
    }
    nn_free_aligned(b->env, b->parts);
    nn_free(b->env, b->lanes);
    nn_free_aligned(b->env, b->ring);
    nn_free_aligned(b->env, b);
}
