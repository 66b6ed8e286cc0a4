/*
 * batch.c - the batches of a loop over data sets, made ahead.
 *
 * In the order of the files a batch is a place in the column: nothing is copied. In any other order a thread gathers the samples
 * of many turns (a chunk) while the step works on the chunk before; there are two chunks. A chunk has so many turns that meeting
 * the thread costs nothing beside the copying, and is small enough to stay in the cache. A loop that fits into one chunk needs no
 * thread.
 */
#include "batch.h"
#include "random.h"
#include "shuffle.h"
#include <pthread.h>
#include <string.h>

enum { CHUNK_BYTES = 1 << 18, LINE = 64, AHEAD = 8, MOST_AHEAD = 1024 };

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
    int64_t place;      /* in the chunk, where it is gathered: bytes from its start */
    int64_t turn_bytes; /* of a full batch */
};

struct nn_batches {
    struct nn_env *env;
    struct part_state *parts;
    int64_t n_parts;
    struct lane *lanes;
    int64_t n_lanes;
    int64_t first, turns; /* the turns to come are first ... turns - 1 */
    int64_t next;         /* the turn that comes next */
    int64_t chunk_turns;
    char *chunk[2];

    bool threaded;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t filled, used; /* chunks filled; chunks that the step has done with */
    bool quit;
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

static void fill_turn(struct nn_batches *b, char *chunk, int64_t turn, int64_t place) {
    for (int64_t i = 0; i < b->n_parts; i++) {
        struct part_state *s = &b->parts[i];
        int64_t rows = rows_of(s, turn);
        for (int64_t row = 0; !s->plain && row < rows; row++) s->rows[row] = (uint32_t)sample_at(s, turn, row);
    }
    for (int64_t k = 0; k < b->n_lanes; k++) {
        const struct lane *l = &b->lanes[k];
        struct part_state *s = &b->parts[l->part];
        if (!s->plain) gather(l, chunk + l->place + place * l->turn_bytes, s->rows, rows_of(s, turn));
    }
}

static void fill_chunk(struct nn_batches *b, int64_t number) {
    int64_t from = b->first + number * b->chunk_turns;
    for (int64_t i = 0; i < b->chunk_turns && from + i < b->turns; i++) fill_turn(b, b->chunk[number & 1], from + i, i);
}

static void *read_ahead(void *argument) {
    struct nn_batches *b = argument;
    int64_t chunks = (b->turns - b->first + b->chunk_turns - 1) / b->chunk_turns;
    pthread_mutex_lock(&b->lock);
    for (int64_t number = 0; number < chunks; number++) {
        while (!b->quit && number >= b->used + 2) pthread_cond_wait(&b->changed, &b->lock);
        if (b->quit) break;
        pthread_mutex_unlock(&b->lock);
        fill_chunk(b, number);
        pthread_mutex_lock(&b->lock);
        b->filled = number + 1;
        pthread_cond_broadcast(&b->changed);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* Chunk `number` is needed now, those before it no more. */
static void need_chunk(struct nn_batches *b, int64_t number) {
    if (!b->threaded) {
        fill_chunk(b, number);
        return;
    }
    pthread_mutex_lock(&b->lock);
    b->used = number;
    pthread_cond_broadcast(&b->changed);
    while (b->filled <= number) pthread_cond_wait(&b->changed, &b->lock);
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
        if (!s->plain && !(s->order = nn_alloc_n(b->env, s->p.count, sizeof *s->order))) return false;
        if (!s->plain && !(s->rows = nn_alloc_n(b->env, s->p.use->batch, sizeof *s->rows))) return false;
    }
    b->lanes = nn_alloc_n(b->env, b->n_lanes, sizeof *b->lanes);
    return b->lanes != NULL;
}

/* Lays the fields out in a chunk; how many turns it has follows from their size. */
static bool begin_chunks(struct nn_batches *b) {
    int64_t turn_bytes = 0, k = 0;
    for (int64_t i = 0; i < b->n_parts; i++) {
        const struct part_state *s = &b->parts[i];
        for (int64_t f = 0; f < s->p.use->n_fields; f++, k++) {
            b->lanes[k] = (struct lane){.part = i, .column = &s->p.set->columns[f], .slot = s->p.use->fields[f]};
            b->lanes[k].turn_bytes = s->plain ? 0 : s->p.use->batch * b->lanes[k].column->bytes;
            turn_bytes += b->lanes[k].turn_bytes;
        }
    }
    int64_t left = b->turns - b->first;
    b->chunk_turns = turn_bytes == 0 ? left : CHUNK_BYTES / turn_bytes;
    if (b->chunk_turns > left) b->chunk_turns = left;
    if (b->chunk_turns < 1) b->chunk_turns = 1;
    if (turn_bytes == 0) return true;
    int64_t place = 0;
    for (k = 0; k < b->n_lanes; k++) {
        b->lanes[k].place = place;
        place += (b->chunk_turns * b->lanes[k].turn_bytes + NN_ALIGN - 1) / NN_ALIGN * NN_ALIGN;
    }
    bool two = b->chunk_turns < left;
    for (int i = 0; i <= two; i++) {
        if (!(b->chunk[i] = nn_alloc_aligned(b->env, (size_t)place))) return false;
    }
    b->threaded = two;
    return true;
}

struct nn_batches *nn_batches_begin(struct nn_env *env, const struct nn_part *parts, int64_t n, int64_t first, int64_t turns) {
    struct nn_batches *b = nn_alloc(env, sizeof *b);
    if (!b) return NULL;
    *b = (struct nn_batches){.env = env, .n_parts = n, .first = first, .next = first, .turns = turns};
    b->parts = nn_alloc_n(env, n, sizeof *b->parts);
    if (!b->parts || !begin_parts(b, parts) || !begin_chunks(b)) {
        b->threaded = false;
        nn_batches_end(b);
        return NULL;
    }
    if (b->threaded) {
        pthread_mutex_init(&b->lock, NULL);
        pthread_cond_init(&b->changed, NULL);
        if (pthread_create(&b->thread, NULL, read_ahead, b) != 0) { /* no thread to be had: then beside nothing */
            pthread_cond_destroy(&b->changed);
            pthread_mutex_destroy(&b->lock);
            b->threaded = false;
        }
    }
    return b;
}

bool nn_batches_next(struct nn_batches *b, const struct nn_slot *slots, const void **fields, int64_t *batch) {
    int64_t turn = b->next++, since = turn - b->first, number = since / b->chunk_turns, place = since % b->chunk_turns;
    if (place == 0 && b->chunk[0]) need_chunk(b, number);
    for (int64_t k = 0; k < b->n_lanes; k++) {
        const struct lane *l = &b->lanes[k];
        const struct part_state *s = &b->parts[l->part];
        const char *at = s->plain ? l->column->at + (s->p.from + turn * s->p.use->batch) * l->column->stride
                                  : b->chunk[number & 1] + l->place + place * l->turn_bytes;
        fields[slots[l->slot].offset] = at;
    }
    *batch = rows_of(&b->parts[0], turn);
    return true;
}

void nn_batches_end(struct nn_batches *b) {
    if (!b) return;
    if (b->threaded) {
        pthread_mutex_lock(&b->lock);
        b->quit = true;
        pthread_cond_broadcast(&b->changed);
        pthread_mutex_unlock(&b->lock);
        pthread_join(b->thread, NULL);
        pthread_cond_destroy(&b->changed);
        pthread_mutex_destroy(&b->lock);
    }
    for (int64_t i = 0; b->parts && i < b->n_parts; i++) {
        nn_free(b->env, b->parts[i].order);
        nn_free(b->env, b->parts[i].rows);
    }
    nn_free(b->env, b->parts);
    nn_free(b->env, b->lanes);
    nn_free_aligned(b->env, b->chunk[0]);
    nn_free_aligned(b->env, b->chunk[1]);
    nn_free(b->env, b);
}
