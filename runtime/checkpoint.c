/*
 * checkpoint.c - a run written to a file, and gone on from: see checkpoint.h.
 *
 * A safetensors file. Tensors: parameters, states, optimizer states under their names, and what a `keep` remembers, under
 * "best.N.NAME". The metadata are texts; reals are hexadecimal floats, so exact:
 *
 *   - program: the program's hash
 *   - command, seed, options: "lr=0.01 epochs=5 --batches=3"
 *   - data: samples of each set and input, and the CRC-32 of their bytes
 *   - phase: where it is: the item that comes next, and "item:turn:turns:lo:samples:batch:seconds" of every loop around, from
 *     the outside
 *   - epoch, batch, step, computed: counters, for readers; step and computed are read back
 *   - carried: slots of the command in the order of the program (carried values, averages), bytes in hexadecimal
 *   - sums: of each `track`: weight and sums
 *   - stops: of each `keep` and `stop`: best, and turns without a better one
 *   - log: bytes
 *   - checksum: over all of the file
 */
#include "checkpoint.h"
#include "file.h"
#include "safetensors.h"
#include "value.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

enum note { PROGRAM, COMMAND, SEED, OPTIONS, DATA, PHASE, EPOCH, BATCH, STEP, COMPUTED, CARRIED, SUMS, STOPS, LOG, NOTES };
static const char *const note_names[NOTES] = {"program", "command", "seed",     "options", "data", "phase", "epoch",
                                              "batch",   "step",    "computed", "carried", "sums", "stops", "log"};

/* ---- texts that are compared: a checkpoint goes on only under the same ones ---- */

/* A number with as few digits as give it back: 0.05, not 0.050000000000000003. */
static void text_exactly(struct nn_env *env, struct nn_text *t, const void *at, int64_t elem) {
    int digits = 17;
    if (elem == NN_F32 || elem == NN_F64) {
        double value = nn_value_at(at, elem, 0), back = 0;
        char text[40];
        for (digits = 5; digits < 17 && back != value; digits++) {
            snprintf(text, sizeof text, "%.*g", digits + 1, value);
            back = elem == NN_F32 ? (double)strtof(text, NULL) : strtod(text, NULL);
        }
    }
    nn_text_number(env, t, at, elem, 0, digits, NN_PLAIN);
}

static void text_options(struct nn_run *r, struct nn_text *t) {
    const struct nn_program *p = r->program;
    for (int64_t i = 0; i < p->n_slots; i++) {
        const struct nn_slot *s = &p->slots[i];
        if (s->kind != NN_OPTION) continue;
        nn_text_printf(r->env, t, "%s--%s=", t->n ? " " : "", s->name);
        text_exactly(r->env, t, r->settings->options[i].value, s->elem);
    }
    if (r->settings->no_shuffle) nn_text_printf(r->env, t, "%s--no-shuffle", t->n ? " " : "");
    if (r->settings->batches) nn_text_printf(r->env, t, "%s--batches=%" PRId64, t->n ? " " : "", r->settings->batches);
    if (r->settings->turns) nn_text_printf(r->env, t, "%s--turns=%" PRId64, t->n ? " " : "", r->settings->turns);
}

static void text_column(struct nn_text *t, struct nn_env *env, const char *name, const struct nn_column *columns, int64_t n) {
    uLong crc = crc32_z(0, NULL, 0);
    for (int64_t i = 0; i < n; i++) {
        const struct nn_column *c = &columns[i];
        if (c->count > 0) crc = crc32_z(crc, (const Bytef *)c->at, (z_size_t)((c->count - 1) * c->stride + c->bytes));
    }
    nn_text_printf(env, t, "%s%s=%" PRId64 "/%08lx", t->n ? " " : "", name, columns[0].count, crc);
}

/* Samples of each set and input, and what tells whether they are the same: "training=60000/9f86d081". They do not change while a run goes on:
 * this is made once. */
static const char *text_data(struct nn_run *r) {
    struct nn_text *t = &r->data_note;
    if (t->at) return t->at;
    for (int64_t i = 0; i < r->program->n_data; i++) {
        const struct nn_set *set = &r->sets[i];
        if (set->data) text_column(t, r->env, set->data->name, set->columns, set->n_columns);
    }
    for (int64_t i = 0; i < r->command->n_inputs; i++) text_column(t, r->env, r->command->inputs[i].name, &r->inputs[i], 1);
    return nn_text_str(t);
}

/* ---- writing ---- */

static void text_phase(struct nn_run *r, struct nn_text *t, int64_t loop) {
    if (loop < 0) return;
    const struct nn_item *item = &r->items[loop];
    text_phase(r, t, item->loop);
    nn_text_printf(r->env, t, " %" PRId64 ":%" PRId64 ":%" PRId64 ":%" PRId64 ":%" PRId64 ":%" PRId64 ":%a", loop, item->turn,
                   item->turns, item->lo, item->samples, item->batch, item->before + nn_now(r->env) - item->started);
}

static bool is_carried(const struct nn_run *r, const struct nn_slot *s) {
    return s->kind == NN_VAR && (!s->command || strcmp(s->command, r->command->name) == 0);
}

static void text_carried(struct nn_run *r, struct nn_text *t) {
    static const char digits[] = "0123456789abcdef";
    for (int64_t i = 0; i < r->program->n_slots; i++) {
        const struct nn_slot *s = &r->program->slots[i];
        if (!is_carried(r, s)) continue;
        const unsigned char *at = (unsigned char *)nn_run_slot(r, i);
        for (int64_t k = 0; k < s->bytes; k++) {
            char pair[2] = {digits[at[k] >> 4], digits[at[k] & 15]};
            nn_text_add_n(r->env, t, pair, 2);
        }
        nn_text_add(r->env, t, " ");
    }
}

static void text_items(struct nn_run *r, struct nn_text *sums, struct nn_text *stops) {
    for (int64_t i = 0; i < r->n_items; i++) {
        const struct nn_item *item = &r->items[i];
        if (item->node->kind == NN_TRACK) {
            nn_text_printf(r->env, sums, "%a ", item->weight);
            for (int64_t k = 0; k < item->n_sums; k++) nn_text_printf(r->env, sums, "%a ", item->sums[k]);
        } else if (item->node->kind == NN_KEEP || item->node->kind == NN_STOP) {
            nn_text_printf(r->env, stops, "%d %a %" PRId64 " ", item->any, item->any ? item->best : 0, item->stalled);
        }
    }
}

static void make_notes(struct nn_run *r, struct nn_text t[NOTES]) {
    struct nn_env *env = r->env;
    int64_t epoch = 0, batch = 0;
    for (int64_t loop = r->loop; loop >= 0; loop = r->items[loop].loop) {
        if (r->items[loop].node->epoch) epoch = r->items[loop].lo + r->items[loop].turn;
    }
    if (r->loop >= 0 && !r->items[r->loop].node->epoch) batch = r->items[r->loop].turn;
    nn_text_printf(env, &t[PROGRAM], "%016" PRIx64, r->program->hash);
    nn_text_add(env, &t[COMMAND], r->command->name);
    nn_text_printf(env, &t[SEED], "%" PRIu64, r->settings->seed);
    text_options(r, &t[OPTIONS]);
    nn_text_add(env, &t[DATA], text_data(r));
    nn_text_printf(env, &t[PHASE], "%" PRId64, r->at);
    text_phase(r, &t[PHASE], r->loop);
    nn_text_printf(env, &t[EPOCH], "%" PRId64, epoch);
    nn_text_printf(env, &t[BATCH], "%" PRId64, batch);
    nn_text_printf(env, &t[STEP], "%" PRId64, r->steps);
    nn_text_printf(env, &t[COMPUTED], "%" PRId64, r->computed);
    text_carried(r, &t[CARRIED]);
    text_items(r, &t[SUMS], &t[STOPS]);
    nn_text_printf(env, &t[LOG], "%" PRId64, r->logged);
}

/* What is kept in item `index`, as tensors behind one another; the names are made here and freed by the caller. */
static bool kept_tensors(struct nn_run *r, int64_t index, struct nn_tensor *tensors, int64_t *n, char **names, int64_t *n_names) {
    char *at = r->items[index].kept;
    for (int64_t i = 0; i < r->program->n_slots; i++) {
        const struct nn_slot *s = &r->program->slots[i];
        if (!(NN_KEPT >> s->kind & 1)) continue;
        struct nn_text name = {0};
        nn_text_printf(r->env, &name, "best.%" PRId64 ".%s", index, s->name);
        if (!nn_text_ok(r->env, &name)) return false;
        names[(*n_names)++] = name.at;
        tensors[(*n)++] = (struct nn_tensor){name.at, s->elem, s->dims, s->n_dims, at, s->bytes};
        at += s->bytes;
    }
    return true;
}

bool nn_checkpoint_write(struct nn_run *r, const char *path) {
    struct nn_env *env = r->env;
    struct nn_text texts[NOTES] = {{0}};
    struct nn_note notes[NOTES];
    int64_t n = 0, n_names = 0, kept = 0, slots = r->program->n_slots;
    for (int64_t i = 0; i < r->n_items; i++) kept += r->items[i].kept != NULL;
    struct nn_tensor *few = nn_run_tensors(r, NN_KEPT, &n), *tensors = NULL;
    char **names = nn_alloc_n(env, kept * slots, sizeof *names);
    if (few) tensors = nn_grow(env, few, (size_t)((kept + 1) * slots + 1) * sizeof *tensors);
    if (!tensors) nn_free(env, few);
    bool good = names && tensors;
    make_notes(r, texts);
    for (int i = 0; i < NOTES; i++) {
        good = good && nn_text_ok(env, &texts[i]);
        notes[i] = (struct nn_note){note_names[i], nn_text_str(&texts[i])};
    }
    for (int64_t i = 0; good && i < r->n_items; i++) {
        if (r->items[i].kept) good = kept_tensors(r, i, tensors, &n, names, &n_names);
    }
    if (good && r->log >= 0) fdatasync(r->log); /* the log is not shorter than the checkpoint says, even after a crash */
    good = good && nn_tensors_write(env, path, tensors, n, notes, NOTES, true);
    for (int i = 0; i < NOTES; i++) nn_text_free(env, &texts[i]);
    for (int64_t i = 0; names && i < n_names; i++) nn_free(env, names[i]);
    nn_free(env, names);
    nn_free(env, tensors);
    r->saved_at = nn_now(env);
    r->saved_computed = r->computed;
    return good;
}

/* ---- reading ---- */

static bool damaged(struct nn_run *r, const char *path, const char *what) {
    return nn_fail(r->env, NN_BAD_INPUT, "%s: this checkpoint is damaged: `%s` cannot be read", path, what);
}

/* The metadata must say what this run says. */
static bool same_note(struct nn_run *r, const char *path, const char *said, const char *now, const char *what) {
    if (strcmp(said, now) == 0) return true;
    return nn_fail(r->env, NN_BAD_INPUT, "%s: this checkpoint is of another %s: it was written with `%s`, this is `%s`", path,
                   what, said, now);
}

static bool check_same(struct nn_run *r, const char *path, const char *const notes[NOTES]) {
    struct nn_text options = {0};
    const char *data = text_data(r);
    char hash[24], seed[24];
    text_options(r, &options);
    snprintf(hash, sizeof hash, "%016" PRIx64, r->program->hash);
    snprintf(seed, sizeof seed, "%" PRIu64, r->settings->seed);
    bool good = nn_text_ok(r->env, &options) && nn_text_ok(r->env, &r->data_note);
    good = good && same_note(r, path, notes[PROGRAM], hash, "program") &&
           same_note(r, path, notes[COMMAND], r->command->name, "command") && same_note(r, path, notes[SEED], seed, "seed") &&
           same_note(r, path, notes[OPTIONS], nn_text_str(&options), "set of options") &&
           same_note(r, path, notes[DATA], data, "set of data");
    nn_text_free(r->env, &options);
    return good;
}

/* Counters are far from where one more turn, or their sums, would overflow. */
#define MOST_COUNT (INT64_C(1) << 62)

/* Behind a number stands the sign that parts it from the next, or the end of the text: as it was written, nothing else. */
static bool goes_on(const char **at, const char *end, char sign) {
    bool good = end != *at && (*end == sign || !*end);
    *at = end + (*end != 0);
    return good;
}

static bool read_integer(const char **at, char sign, int64_t least, int64_t most, int64_t *value) {
    if (!**at || !strchr("-0123456789", **at)) return false; /* strtoll skips spaces */
    char *end;
    *value = strtoll(*at, &end, 10);
    return goes_on(at, end, sign) && *value >= least && *value <= most;
}

static bool read_real(const char **at, double *value) {
    if (!**at || **at == ' ') return false;
    char *end;
    *value = strtod(*at, &end);
    return goes_on(at, end, ' ');
}

/* A note that is one number. */
static bool read_count(const char *at, int64_t *value) { return read_integer(&at, 0, 0, MOST_COUNT, value); }

static bool read_sums(struct nn_run *r, const char *at) {
    for (int64_t i = 0; i < r->n_items; i++) {
        struct nn_item *item = &r->items[i];
        if (item->node->kind != NN_TRACK) continue;
        if (!read_real(&at, &item->weight) || !(item->weight >= 0)) return false;
        for (int64_t k = 0; k < item->n_sums; k++) {
            if (!read_real(&at, &item->sums[k])) return false;
        }
    }
    return *at == 0;
}

static bool read_stops(struct nn_run *r, const char *at) {
    for (int64_t i = 0; i < r->n_items; i++) {
        struct nn_item *item = &r->items[i];
        if (item->node->kind != NN_KEEP && item->node->kind != NN_STOP) continue;
        int64_t any;
        if (!read_integer(&at, ' ', 0, 1, &any) || !read_real(&at, &item->best) ||
            !read_integer(&at, ' ', 0, MOST_COUNT, &item->stalled))
            return false;
        item->any = any != 0;
    }
    return *at == 0;
}

static int hex(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

static bool read_carried(struct nn_run *r, const char *at) {
    for (int64_t i = 0; i < r->program->n_slots; i++) {
        const struct nn_slot *s = &r->program->slots[i];
        if (!is_carried(r, s)) continue;
        char *to = nn_run_slot(r, i);
        for (int64_t k = 0; k < s->bytes; k++, at += 2) {
            if (hex(at[0]) < 0 || hex(at[1]) < 0) return false;
            to[k] = (char)(hex(at[0]) << 4 | hex(at[1]));
        }
        if (*at++ != ' ') return false;
    }
    return *at == 0;
}

/* A loop around: its turns are looked at again when it begins (begin_loops). */
static bool read_loop(struct nn_item *item, const char **at) {
    if (!read_integer(at, ':', 0, MOST_COUNT, &item->turn) || !read_integer(at, ':', 0, MOST_COUNT, &item->turns) ||
        !read_integer(at, ':', INT32_MIN, INT32_MAX, &item->lo) || !read_integer(at, ':', 0, MOST_COUNT, &item->samples) ||
        !read_integer(at, ':', 0, MOST_COUNT, &item->batch) || !read_real(at, &item->before))
        return false;
    return item->turn < item->turns && item->before >= 0 && isfinite(item->before);
}

/* Where the run was: r->at, r->loop, and the loops around. */
static bool read_phase(struct nn_run *r, const char *at) {
    int64_t next, loop = -1;
    if (!read_integer(&at, ' ', 0, r->n_items, &next)) return false;
    while (*at) {
        int64_t index;
        if (!read_integer(&at, ':', 0, r->n_items - 1, &index) || r->items[index].loop != loop) return false;
        struct nn_item *item = &r->items[index];
        if ((item->node->kind != NN_RANGE && item->node->kind != NN_DATA) || !read_loop(item, &at)) return false;
        loop = index;
    }
    int64_t last = loop < 0 ? r->n_items : r->items[loop].end;
    if (next != last && (next > last || r->items[next].loop != loop)) return false; /* an item of this loop, or its end */
    r->at = next;
    r->loop = loop;
    return true;
}

/* Parameters, states, optimizer states, and what is kept: exactly these tensors. */
static bool read_kept(struct nn_run *r, struct nn_tensors *f) {
    int64_t n = 0, n_names = 0, kept = 0, slots = r->program->n_slots;
    bool good = true;
    for (int64_t i = 0; good && i < r->n_items; i++) {
        struct nn_item *item = &r->items[i];
        if (item->node->kind != NN_KEEP || !item->any) continue;
        good = (item->kept = nn_alloc_aligned(r->env, (size_t)nn_kept_bytes(r->program))) != NULL;
        kept++;
    }
    char **names = nn_alloc_n(r->env, kept * slots, sizeof *names);
    struct nn_tensor *few = good ? nn_run_tensors(r, NN_KEPT, &n) : NULL, *tensors = NULL;
    if (few) tensors = nn_grow(r->env, few, (size_t)((kept + 1) * slots + 1) * sizeof *tensors);
    if (!tensors) nn_free(r->env, few);
    good = good && names && tensors;
    for (int64_t i = 0; good && i < r->n_items; i++) {
        if (r->items[i].kept) good = kept_tensors(r, i, tensors, &n, names, &n_names);
    }
    good = good && nn_tensors_read(r->env, f, tensors, n, NULL, NULL);
    for (int64_t i = 0; names && i < n_names; i++) nn_free(r->env, names[i]);
    nn_free(r->env, names);
    nn_free(r->env, tensors);
    return good;
}

/* The loops around, from the outside: the turns of one can hang on the turn of another. What the file says of them is what the run that
 * wrote it must have come to. */
static bool begin_loops(struct nn_run *r, const char *path, int64_t loop) {
    if (loop < 0) return true;
    struct nn_item *item = &r->items[loop];
    int64_t batch = item->batch, each = 1;
    item->batch = 0; /* that of a loop over a range */
    bool fits;
    if (!begin_loops(r, path, item->loop) || !nn_run_turns_fit(r, loop, &fits)) return false;
    if (!fits) return damaged(r, path, note_names[PHASE]);
    item->started = nn_now(r->env);
    if (!nn_run_turn(r, loop)) return false;
    if (item->node->kind == NN_DATA) each = item->node->sets[0].batch; /* a turn behind which others come is whole */
    return (item->samples == item->turn * each && item->batch == batch) || damaged(r, path, note_names[PHASE]);
}

static bool read_all(struct nn_run *r, struct nn_tensors *f, const char *path, int64_t *log_bytes) {
    const char *notes[NOTES];
    if (!nn_tensors_checksum(r->env, f)) return false;
    for (int i = 0; i < NOTES; i++) {
        notes[i] = nn_tensors_note(f, note_names[i]);
        if (!notes[i]) return damaged(r, path, note_names[i]);
    }
    if (!check_same(r, path, notes)) return false;
    if (!read_phase(r, notes[PHASE])) return damaged(r, path, note_names[PHASE]);
    if (!read_sums(r, notes[SUMS])) return damaged(r, path, note_names[SUMS]);
    if (!read_stops(r, notes[STOPS])) return damaged(r, path, note_names[STOPS]);
    if (!read_count(notes[STEP], &r->steps)) return damaged(r, path, note_names[STEP]);
    if (!read_count(notes[COMPUTED], &r->computed)) return damaged(r, path, note_names[COMPUTED]);
    if (!read_count(notes[LOG], log_bytes)) return damaged(r, path, note_names[LOG]);
    r->saved_computed = r->computed;
    if (!read_kept(r, f)) return false;
    if (!read_carried(r, notes[CARRIED])) return damaged(r, path, note_names[CARRIED]);
    return begin_loops(r, path, r->loop);
}

bool nn_checkpoint_read(struct nn_run *r, const char *path, int64_t *log_bytes) {
    struct nn_tensors *f = nn_tensors_open(r->env, "", path);
    bool good = f && read_all(r, f, path, log_bytes);
    nn_tensors_close(r->env, f);
    return good;
}
