/*
 * batch.c - the batches of a loop over data sets, made ahead.
 *
 * In the order of the files a batch is a place in the column: nothing is copied. In any other order a thread, the reader, gathers
 * the samples of the turns to come into a ring, while the step works on a turn before. The ring is small enough to stay in the
 * cache; a loop that fits into it needs no thread.
 *
 * Meeting costs a small step much: to wake a thread takes longer than to gather a batch. So who runs the steps wakes nobody: it
 * looks whether its turn is filled and says which turn it is at, two numbers in memory. A reader that finds the ring full naps for
 * about as long as a quarter of it lasts, which it learns from how much was used during the nap before. Where it naps too long,
 * because the cores are busy or steps have become faster, it is woken when half of the ring is used up.
 */
#include "batch.h"
#include "random.h"
#include "shuffle.h"
#include <pthread.h>
#include <string.h>
#include <time.h>

/* A ring that the second cache holds; of batches so large that these would be few, a few in the cache that cores share. */
enum { RING_BYTES = 1 << 18, FEW_TURNS = 8, FEW_BYTES = 1 << 20, LINE = 64, AHEAD = 8, MOST_AHEAD = 1024 };
enum { FIRST_NAP = 100000, LEAST_NAP = 20000, LONGEST_NAP = 20000000 }; /* nanoseconds */

struct part_state {
    struct nn_part p;
    bool plain;      /* samples in the order of the files, without gaps */
    uint32_t *order; /* of the samples of the pass at hand, from its end; NULL: plain */
    struct nn_shuffler shuffler;
    int64_t pass;   /* that `order` is for; -1: none yet */
    uint32_t *rows; /* the samples of the turn that is being filled */
};

/* One field of one part. */
struct lane {
    int64_t part;
    const struct nn_column *column;
    int64_t slot;
    int64_t place;      /* in the ring, where its first turn is gathered: bytes from its start */
    int64_t turn_bytes; /* from one turn to the next; 0: it is not gathered */
};

struct nn_batches {
    struct nn_env *env;
    struct part_state *parts;
    int64_t n_parts;
    struct lane *lanes;
    int64_t n_lanes;
    int64_t first, turns; /* the turns to come are first ... turns - 1 */
    int64_t next;         /* the turn that comes next */
    char *ring;           /* turn t is gathered at place (t - first) % ring_turns; NULL: nothing is gathered */
    int64_t ring_turns;

    bool threaded;
    pthread_t thread;
    pthread_mutex_t lock; /* for naps and waits alone */
    pthread_cond_t changed;
    bool quit;

    /* Each number on a line of its own: they change at every turn, and the other thread looks at them seldom. */
    _Alignas(LINE) int64_t filled; /* turns before this one are there; written by the reader */
    bool napping;                  /* the reader is, until the time has passed or this is false */
    int64_t wanted;                /* somebody waits for `filled` to be so large; INT64_MAX: nobody */
    _Alignas(LINE) int64_t used;   /* turns before this one are done with; written by who runs the steps */
    int64_t look;                  /* the turn at which `filled` must be looked at again */
};

int64_t nn_part_turns(const struct nn_part *p) {
    int64_t batch = p->use->batch;
    if (p->use->lanes || p->use->drop_last) return p->count / batch;
    return (p->count + batch - 1) / batch;
}

/* ---- orders ---- */

/* Begins the order of a pass. Place i of the pass is order[n - 1 - i]: a shuffle makes its end first, and goes on while steps run. */
static void begin_order(struct part_state *s, int64_t pass) {
    const struct nn_part *p = &s->p;
    uint32_t n = (uint32_t)p->count;
    bool random = p->shuffle || p->resample;
    if (p->resample) {
        nn_resample(s->order, n, p->resample_key);
    } else {
        for (uint32_t i = 0; i < n; i++) s->order[i] = random ? i : n - 1 - i;
    }
    s->shuffler = nn_shuffle_begin(random ? n : 0, nn_mix(p->shuffle_key, (uint64_t)pass));
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
    if (pass != s->pass) begin_order(s, pass);
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

/* Gathers a turn at its place in the ring. */
static void fill_turn(struct nn_batches *b, int64_t turn) {
    int64_t place = (turn - b->first) % b->ring_turns;
    for (int64_t i = 0; i < b->n_parts; i++) {
        struct part_state *s = &b->parts[i];
        int64_t rows = rows_of(s, turn);
        for (int64_t row = 0; !s->plain && row < rows; row++) s->rows[row] = (uint32_t)sample_at(s, turn, row);
    }
    for (int64_t k = 0; k < b->n_lanes; k++) {
        const struct lane *l = &b->lanes[k];
        struct part_state *s = &b->parts[l->part];
        if (!s->plain) gather(l, b->ring + l->place + place * l->turn_bytes, s->rows, rows_of(s, turn));
    }
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

static void *read_ahead(void *argument) {
    struct nn_batches *b = argument;
    int64_t ns = FIRST_NAP;
    for (int64_t turn = b->first; turn < b->turns; turn++) {
        while (turn - __atomic_load_n(&b->used, __ATOMIC_ACQUIRE) >= b->ring_turns) {
            nap(b, ns);
            if (__atomic_load_n(&b->quit, __ATOMIC_RELAXED)) return NULL;
            ns = next_nap(b, ns, b->ring_turns - (turn - __atomic_load_n(&b->used, __ATOMIC_ACQUIRE)));
        }
        if (__atomic_load_n(&b->quit, __ATOMIC_RELAXED)) return NULL;
        fill_turn(b, turn);
        __atomic_store_n(&b->filled, turn + 1, __ATOMIC_SEQ_CST); /* before looking who is hungry, who looks after saying so */
        if (turn + 1 < __atomic_load_n(&b->wanted, __ATOMIC_SEQ_CST)) continue;
        pthread_mutex_lock(&b->lock);
        b->wanted = INT64_MAX; /* by the reader, which may nap again before the other thread has run */
        pthread_cond_broadcast(&b->changed);
        pthread_mutex_unlock(&b->lock);
    }
    return NULL;
}

/* Turn `turn` is needed now, those before it no more. */
static void need_turn(struct nn_batches *b, int64_t turn) {
    if (!b->threaded) {
        fill_turn(b, turn);
        return;
    }
    __atomic_store_n(&b->used, turn, __ATOMIC_RELEASE);
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
    /* The first turn is wanted at once. A ring that ran empty is waited for until it is half full: where the cores are busy, a
     * meeting at every turn would cost far more. */
    int64_t wanted = turn == b->first ? turn + 1 : turn + half;
    if (wanted > b->turns) wanted = b->turns;
    pthread_mutex_lock(&b->lock);
    __atomic_store_n(&b->wanted, wanted, __ATOMIC_SEQ_CST);
    pthread_cond_broadcast(&b->changed); /* the reader may nap */
    while ((b->look = __atomic_load_n(&b->filled, __ATOMIC_SEQ_CST)) < wanted) pthread_cond_wait(&b->changed, &b->lock);
    b->wanted = INT64_MAX;
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
        if (!s->plain && !(s->rows = nn_alloc_n(b->env, s->p.use->batch, sizeof *s->rows))) return false;
    }
    b->lanes = nn_alloc_n(b->env, b->n_lanes, sizeof *b->lanes);
    return b->lanes != NULL;
}

/* Lays the fields out in the ring; how many turns it has follows from their size. */
static bool begin_ring(struct nn_batches *b) {
    int64_t turn_bytes = 0, k = 0;
    for (int64_t i = 0; i < b->n_parts; i++) {
        const struct part_state *s = &b->parts[i];
        for (int64_t f = 0; f < s->p.use->n_fields; f++, k++) {
            b->lanes[k] = (struct lane){.part = i, .column = &s->p.set->columns[f], .slot = s->p.use->fields[f]};
            if (!s->plain) b->lanes[k].turn_bytes = (s->p.use->batch * b->lanes[k].column->bytes + LINE - 1) / LINE * LINE;
            turn_bytes += b->lanes[k].turn_bytes;
        }
    }
    if (turn_bytes == 0) return true;
    int64_t left = b->turns - b->first, place = 0;
    b->ring_turns = RING_BYTES / turn_bytes;
    if (b->ring_turns < FEW_TURNS) b->ring_turns = FEW_BYTES / turn_bytes < FEW_TURNS ? FEW_BYTES / turn_bytes : FEW_TURNS;
    if (b->ring_turns < 2) b->ring_turns = 2;
    if (b->ring_turns > left) b->ring_turns = left > 0 ? left : 1;
    for (k = 0; k < b->n_lanes; k++) {
        b->lanes[k].place = place;
        place += b->ring_turns * b->lanes[k].turn_bytes;
    }
    b->threaded = b->ring_turns < left;
    return (b->ring = nn_alloc_aligned(b->env, (size_t)place)) != NULL;
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
    *b = (struct nn_batches){.env = env, .n_parts = n, .first = first, .next = first, .turns = turns, .ring_turns = 1};
    b->filled = b->used = b->look = first;
    b->wanted = INT64_MAX;
    b->parts = nn_alloc_n(env, n, sizeof *b->parts);
    if (!b->parts || !begin_parts(b, parts) || !begin_ring(b)) {
        b->threaded = false;
        nn_batches_end(b);
        return NULL;
    }
    if (b->threaded) begin_reader(b);
    return b;
}

bool nn_batches_next(struct nn_batches *b, const struct nn_slot *slots, const void **fields, int64_t *batch) {
    int64_t turn = b->next++, place = (turn - b->first) % b->ring_turns;
    if (b->ring) need_turn(b, turn);
    for (int64_t k = 0; k < b->n_lanes; k++) {
        const struct lane *l = &b->lanes[k];
        const struct part_state *s = &b->parts[l->part];
        const char *at = s->plain ? l->column->at + (s->p.from + turn * s->p.use->batch) * l->column->stride
                                  : b->ring + l->place + place * l->turn_bytes;
        fields[slots[l->slot].offset] = at;
    }
    *batch = rows_of(&b->parts[0], turn);
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
    nn_free(b->env, b->parts);
    nn_free(b->env, b->lanes);
    nn_free_aligned(b->env, b->ring);
    nn_free_aligned(b->env, b);
}
