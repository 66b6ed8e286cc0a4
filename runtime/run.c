/*
 * run.c - a command from its first statement to its outputs.
 *
 *   prepare   all that can be wrong is looked at first: data, weights, inputs, checkpoint. Nothing has been written then.
 *   walk      the tree of the command, item by item (run.h). Between two items a run can be stopped, written and gone on with.
 *   finish    outputs, --save.
 */
#include "run.h"
#include "batch.h"
#include "checkpoint.h"
#include "profile.h"
#include "random.h"
#include "safetensors.h"
#include "threads.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

enum { RESAMPLE_PLACE = 0x726573, SHUFFLE_PLACE = 0x736875 }; /* tell the two kinds of draws apart */

char *nn_run_slot(struct nn_run *r, int64_t slot) { return r->frame + r->program->slots[slot].offset; }

/* A scalar slot as a number. */
static int64_t slot_integer(struct nn_run *r, int64_t slot) {
    int64_t elem = r->program->slots[slot].elem;
    if (elem == NN_I64) return *(int64_t *)nn_run_slot(r, slot);
    double v = nn_value_at(nn_run_slot(r, slot), elem, 0);
    return isnan(v) ? 0 : v >= 0x1p62 ? INT64_MAX / 2 : v <= -0x1p62 ? INT64_MIN / 2 : (int64_t)v;
}

struct nn_tensor *nn_run_tensors(struct nn_run *r, unsigned kinds, int64_t *n) {
    const struct nn_program *p = r->program;
    struct nn_tensor *tensors = nn_alloc_n(r->env, p->n_slots, sizeof *tensors);
    *n = 0;
    for (int64_t i = 0; tensors && i < p->n_slots; i++) {
        const struct nn_slot *s = &p->slots[i];
        if (!(kinds >> s->kind & 1)) continue;
        tensors[(*n)++] = (struct nn_tensor){s->name, s->elem, s->dims, s->n_dims, nn_run_slot(r, i), s->bytes};
    }
    return tensors;
}

const char *nn_run_value(struct nn_run *r, int64_t slot) {
    const struct nn_slot *s = &r->program->slots[slot];
    const char *from = nn_run_slot(r, slot);
    int64_t batch = nn_run_batch(r);
    if (s->batch_axis <= 0 || batch >= s->batch_bound) return from;
    if (s->bytes > r->tight_bytes) {
        nn_free(r->env, r->tight);
        r->tight_bytes = 0;
        if (!(r->tight = nn_alloc_n(r->env, s->bytes, 1))) return NULL;
        r->tight_bytes = s->bytes;
    }
    int64_t outer = nn_count(s->dims, s->batch_axis);
    size_t row = (size_t)(nn_count(s->dims + s->batch_axis, s->n_dims - s->batch_axis) * nn_elem_size(s->elem));
    for (int64_t i = 0; i < outer; i++)
        memcpy(r->tight + (size_t)(i * batch) * row, from + (size_t)(i * s->batch_bound) * row, (size_t)batch * row);
    return r->tight;
}

void nn_run_dims(const struct nn_run *r, int64_t slot, int64_t *dims) {
    const struct nn_slot *s = &r->program->slots[slot];
    for (int64_t d = 0; d < s->n_dims; d++) dims[d] = d == s->batch_axis ? s->dims[d] * nn_run_batch(r) : s->dims[d];
}

/* ---- laying out ---- */

static int64_t count_items(const struct nn_node *nodes, int64_t n) {
    int64_t count = n;
    for (int64_t i = 0; i < n; i++) count += count_items(nodes[i].body, nodes[i].n_body);
    return count;
}

static int64_t lay_out(struct nn_run *r, const struct nn_node *nodes, int64_t n, int64_t at, int64_t loop) {
    for (int64_t i = 0; i < n; i++) {
        int64_t self = at;
        struct nn_item *item = &r->items[self];
        *item = (struct nn_item){.node = &nodes[i], .loop = loop};
        if (loop >= 0) item->epochs = r->items[loop].epochs || r->items[loop].node->epoch;
        if (nodes[i].kind == NN_TRACK && loop >= 0) r->items[loop].tracks = true;
        at = item->end = lay_out(r, nodes[i].body, nodes[i].n_body, at + 1, self);
    }
    return at;
}

static bool make_sums(struct nn_run *r) {
    for (int64_t i = 0; i < r->n_items; i++) {
        struct nn_item *item = &r->items[i];
        if (item->node->kind != NN_TRACK) continue;
        for (int64_t k = 0; k < item->node->n_tracked; k++) {
            const struct nn_slot *s = &r->program->slots[item->node->tracked[k].average];
            item->n_sums += nn_count(s->dims, s->n_dims);
        }
        if (!(item->sums = nn_alloc_n(r->env, item->n_sums, sizeof *item->sums))) return false;
    }
    return true;
}

static bool make_items(struct nn_run *r) {
    int64_t n = count_items(r->command->body, r->command->n_body);
    r->items = nn_alloc_n(r->env, n, sizeof *r->items);
    if (!r->items) return false;
    r->n_items = n;
    lay_out(r, r->command->body, r->command->n_body, 0, -1);
    return make_sums(r);
}

/* ---- preparing ---- */

/* Reads every data set that the command uses: as many of its fields as any of its loops. */
static bool read_data(struct nn_run *r) {
    const struct nn_program *p = r->program;
    const struct nn_settings *s = r->settings;
    r->sets = nn_alloc_n(r->env, p->n_data, sizeof *r->sets);
    if (!r->sets) return false;
    for (int64_t d = 0; d < p->n_data; d++) {
        int64_t fields = 0;
        bool used = false;
        for (int64_t i = 0; i < r->n_items; i++) {
            const struct nn_node *node = r->items[i].node;
            for (int64_t u = 0; u < node->n_sets; u++) {
                if (node->sets[u].data != d) continue;
                used = true;
                if (node->sets[u].n_fields > fields) fields = node->sets[u].n_fields;
            }
        }
        if (used && fields == 0) fields = 1; /* a loop that binds no field still has as many turns */
        if (used && !nn_set_read(&r->reader, &r->sets[d], &p->data[d], fields, p->data[d].shuffle && !s->no_shuffle))
            return false;
    }
    return true;
}

/* The part of a set that a loop reads; status: of the error where the part is not in the set. */
static bool find_part(struct nn_run *r, const struct nn_item *item, int64_t u, int status, struct nn_part *part) {
    const struct nn_use *use = &item->node->sets[u];
    const struct nn_set *set = &r->sets[use->data];
    int64_t from = use->from_slot >= 0 ? slot_integer(r, use->from_slot) : use->from;
    int64_t to = use->to_slot >= 0 ? slot_integer(r, use->to_slot) : use->to < 0 ? set->count : use->to;
    if (from < 0 || to < from || to > set->count || from == to) {
        return nn_fail(r->env, status, "%s:%" PRId64 ": %s[%" PRId64 "..%" PRId64 "]: %s; the data set has %" PRId64 " sample%s",
                       r->program->source, item->node->line, set->data->name, from, to,
                       from == to ? "there are no samples in this part" : "there is no such part", set->count,
                       set->count == 1 ? "" : "s");
    }
    int64_t index = item - r->items;
    uint64_t around = item->loop >= 0 ? r->items[item->loop].key : r->settings->seed;
    uint64_t statement = nn_mix(nn_mix(r->settings->seed, RESAMPLE_PLACE), (uint64_t)index);
    *part = (struct nn_part){.set = set,
                             .use = use,
                             .from = from,
                             .count = to - from,
                             .shuffle = use->shuffle && !r->settings->no_shuffle,
                             .resample = use->resample && !r->settings->no_shuffle,
                             .repeats = u > 0,
                             .shuffle_key = nn_mix(nn_mix(nn_mix(around, SHUFFLE_PLACE), (uint64_t)index), (uint64_t)u),
                             .resample_key = nn_mix(statement, (uint64_t)u)};
    if (u > 0 || nn_part_turns(part) > 0) return true; /* sets behind the first are repeated */
    return nn_fail(r->env, status,
                   "%s:%" PRId64 ": %s[%" PRId64 "..%" PRId64 "]: %" PRId64 " sample%s, fewer than a batch of %" PRId64
                   ", and %s leaves out what fills none: the loop would have no turn",
                   r->program->source, item->node->line, set->data->name, from, to, part->count, part->count == 1 ? "" : "s",
                   use->batch, use->lanes ? "lanes" : "drop_last");
}

static bool known_before(const struct nn_run *r, int64_t slot) { return slot < 0 || r->program->slots[slot].kind == NN_OPTION; }

/* Parts that are known before the run are checked before it. */
static bool check_parts(struct nn_run *r) {
    for (int64_t i = 0; i < r->n_items; i++) {
        const struct nn_node *node = r->items[i].node;
        for (int64_t u = 0; u < node->n_sets; u++) {
            struct nn_part part;
            if (!known_before(r, node->sets[u].from_slot) || !known_before(r, node->sets[u].to_slot)) continue;
            if (!find_part(r, &r->items[i], u, NN_BAD_INPUT, &part)) return false;
        }
    }
    return true;
}

static bool make_frame(struct nn_run *r) {
    const struct nn_program *p = r->program;
    int64_t arena = 0;
    for (int64_t i = 0; i < p->n_funcs; i++) {
        int64_t bytes = p->funcs[i].arena + p->funcs[i].own * nn_run_threads(r, &p->funcs[i]);
        if (bytes > arena) arena = bytes;
    }
    r->frame = nn_alloc_aligned(r->env, (size_t)p->frame + NN_ALIGN);
    r->arena = nn_alloc_aligned(r->env, (size_t)arena + NN_ALIGN);
    r->fields = nn_alloc_n(r->env, p->fields, sizeof *r->fields);
    r->paces = nn_alloc_n(r->env, p->n_funcs, sizeof *r->paces);
    r->func_seconds = nn_alloc_n(r->env, p->n_funcs, sizeof *r->func_seconds);
    r->func_calls = nn_alloc_n(r->env, p->n_funcs, sizeof *r->func_calls);
    if (!r->frame || !r->arena || !r->fields || !r->paces || !r->func_seconds || !r->func_calls || !nn_profile_make(r))
        return false;
    memset(r->frame, 0, (size_t)p->frame);
    r->step_slots = nn_alloc_n(r->env, p->n_slots, sizeof *r->step_slots);
    if (!r->step_slots) return false;
    for (int64_t i = 0; i < p->n_slots; i++)
        if (p->slots[i].kind == NN_STEP) r->step_slots[r->n_step_slots++] = p->slots[i].offset;
    for (int64_t i = 0; i < r->command->n_inputs; i++) r->fields[p->slots[r->command->inputs[i].slot].offset] = r->inputs[i].at;
    return true;
}

/* ---- first values ---- */

/* `step`, wherever the program reads it: statements read it as functions do, so it is written whenever it changes. */
static void put_steps(struct nn_run *r) {
    for (int64_t i = 0; i < r->n_step_slots; i++) *(int32_t *)(r->frame + r->step_slots[i]) = (int32_t)r->steps;
}

/* A turn of `loop` is over. */
static void count_turn(struct nn_run *r, struct nn_item *loop) {
    loop->turn++;
    loop->samples += loop->node->kind == NN_DATA ? loop->batch : 1;
    if (!loop->node->learning) return;
    r->steps++;
    put_steps(r);
}

static void put_options(struct nn_run *r) {
    const struct nn_program *p = r->program;
    for (int64_t i = 0; i < p->n_slots; i++) {
        if (p->slots[i].kind == NN_OPTION)
            memcpy(nn_run_slot(r, i), r->settings->options[i].value, (size_t)nn_elem_size(p->slots[i].elem));
    }
}

/* First values of all slots that have some. */
static bool init_slots(struct nn_run *r) {
    const struct nn_program *p = r->program;
    for (int64_t i = 0; i < p->n_slots; i++) {
        const struct nn_slot *s = &p->slots[i];
        if (s->kind != NN_PARAM && s->kind != NN_STATE && s->kind != NN_OPTSTATE) continue;
        if (s->init >= 0 && !nn_run_call(r, s->init)) return false;
        if (s->init >= 0 || s->fill == 0) continue; /* the frame is zero */
        for (int64_t k = 0, n = s->bytes / nn_elem_size(s->elem); k < n; k++)
            nn_value_put(nn_run_slot(r, i), s->elem, k, s->fill);
    }
    return true;
}

/* ---- loops ---- */

/* The batches of a loop that ended stay for its next time, those of one loop at most: others that gather take their place. */
static void keep_batches(struct nn_run *r, struct nn_item *item) {
    nn_batches_end(r->spare);
    r->spare = item->batches;
    r->spare_of = item;
    item->batches = NULL;
}

static void make_batches(struct nn_run *r, struct nn_item *item, const struct nn_part *parts) {
    if (r->spare_of == item && nn_batches_again(r->spare, parts, item->turn, item->turns)) {
        item->batches = r->spare;
    } else {
        item->batches = nn_batches_begin(r->env, parts, item->node->n_sets, item->turn, item->turns);
        if (!item->batches || !nn_batches_stay(item->batches)) return;
        nn_batches_end(r->spare);
    }
    r->spare = NULL;
    r->spare_of = NULL;
}

/* The loop begins, or goes on from a checkpoint. */
static bool begin_batches(struct nn_run *r, struct nn_item *item) {
    struct nn_part *parts = nn_alloc_n(r->env, item->node->n_sets, sizeof *parts);
    bool good = parts != NULL;
    for (int64_t u = 0; good && u < item->node->n_sets; u++) good = find_part(r, item, u, NN_RUNTIME, &parts[u]);
    if (good) make_batches(r, item, parts);
    nn_free(r->env, parts);
    return item->batches != NULL;
}

/* Makes the next batch the one that steps see; waits for the reader if it is not there yet. */
static bool next_batch(struct nn_run *r, struct nn_item *item) {
    if (!item->batches && !begin_batches(r, item)) return false;
    return nn_batches_next(item->batches, r->program->slots, r->fields, &item->batch);
}

bool nn_run_turn(struct nn_run *r, int64_t index) {
    struct nn_item *item = &r->items[index];
    uint64_t around = item->loop >= 0 ? r->items[item->loop].key : r->settings->seed;
    item->key = nn_mix(around, (uint64_t)item->turn);
    if (item->node->kind == NN_RANGE) {
        if (item->node->counter >= 0) *(int32_t *)nn_run_slot(r, item->node->counter) = (int32_t)(item->lo + item->turn);
        return true;
    }
    double start = r->settings->profile ? nn_now(r->env) : 0;
    bool good = next_batch(r, item);
    if (r->settings->profile) r->data_seconds += nn_now(r->env) - start;
    r->data_calls++;
    return good;
}

static bool count_turns(struct nn_run *r, struct nn_item *item) {
    const struct nn_node *node = item->node;
    if (node->kind == NN_RANGE) {
        int64_t hi = node->hi_slot >= 0 ? slot_integer(r, node->hi_slot) : node->hi;
        item->lo = node->lo_slot >= 0 ? slot_integer(r, node->lo_slot) : node->lo;
        item->turns = hi > item->lo ? hi - item->lo : 0;
        if (r->settings->turns > 0 && item->turns > r->settings->turns) item->turns = r->settings->turns;
        if (item->turns > 0 && (item->lo < INT32_MIN || item->lo + item->turns - 1 > INT32_MAX)) {
            return nn_fail(r->env, NN_RUNTIME, "%s:%" PRId64 ": the loop counts to %" PRId64 ", beyond 32 bits",
                           r->program->source, node->line, item->lo + item->turns);
        }
        return true;
    }
    struct nn_part first, other;
    if (!find_part(r, item, 0, NN_RUNTIME, &first)) return false;
    for (int64_t u = 1; u < node->n_sets; u++) {
        if (!find_part(r, item, u, NN_RUNTIME, &other)) return false;
    }
    item->turns = nn_part_turns(&first);
    if (r->settings->batches > 0 && item->turns > r->settings->batches) item->turns = r->settings->batches;
    return true;
}

bool nn_run_turns_fit(struct nn_run *r, int64_t index, bool *fit) {
    struct nn_item *item = &r->items[index];
    const struct nn_node *node = item->node;
    int64_t turns = item->turns, lo = item->lo;
    if (node->kind == NN_RANGE) {
        *fit = turns - 1 <= INT32_MAX - lo;
        if (!known_before(r, node->lo_slot) || !known_before(r, node->hi_slot)) return true; /* other numbers now, perhaps */
        if (!count_turns(r, item)) return false;
        *fit = turns == item->turns && lo == item->lo;
    } else {
        bool known = known_before(r, node->sets[0].from_slot) && known_before(r, node->sets[0].to_slot);
        if (!count_turns(r, item)) return false;
        *fit = lo == 0 && (known ? turns == item->turns : turns <= item->turns);
    }
    item->turns = turns;
    item->lo = lo;
    return true;
}

static bool end_loop(struct nn_run *r, int64_t index) {
    struct nn_item *loop = &r->items[index];
    double start = r->settings->profile ? nn_now(r->env) : 0;
    if (loop->batches && nn_batches_stay(loop->batches)) {
        keep_batches(r, loop);
    } else {
        nn_batches_end(loop->batches);
        loop->batches = NULL;
    }
    if (r->settings->profile) r->data_seconds += nn_now(r->env) - start;
    for (int64_t i = index + 1; i < loop->end; i = r->items[i].end) {
        if (r->items[i].node->kind == NN_TRACK) nn_do_averages(r, &r->items[i]);
    }
    if (loop->tracks && !nn_report_loop(r, index)) return false;
    for (int64_t i = index + 1; i < loop->end; i = r->items[i].end) {
        if (r->items[i].node->kind == NN_KEEP) nn_do_put_back(r, &r->items[i]);
    }
    r->at = loop->end;
    r->loop = loop->loop;
    return true;
}

/* What the loop's statements remember is of this run of the loop. */
static void forget(struct nn_run *r, const struct nn_item *loop) {
    for (int64_t i = loop - r->items + 1; i < loop->end; i = r->items[i].end) {
        struct nn_item *item = &r->items[i];
        if (item->sums) memset(item->sums, 0, (size_t)item->n_sums * sizeof *item->sums);
        item->weight = 0;
        item->any = false;
        item->stalled = 0;
    }
}

static bool begin_loop(struct nn_run *r, int64_t index) {
    struct nn_item *item = &r->items[index];
    item->turn = item->samples = 0;
    item->before = 0;
    item->started = nn_now(r->env);
    forget(r, item);
    if (!count_turns(r, item)) return false;
    r->loop = index;
    r->at = index + 1;
    if (item->turns == 0) return end_loop(r, index);
    return nn_run_turn(r, index);
}

/* Writes a checkpoint if it is time for one. */
static bool perhaps_save(struct nn_run *r, bool now) {
    const struct nn_settings *s = r->settings;
    if (!s->checkpoint) return true;
    if (!now && s->every_steps > 0) now = r->computed - r->saved_computed >= s->every_steps;
    if (!now && s->every_seconds > 0) now = nn_now(r->env) - r->saved_at >= s->every_seconds;
    return !now || nn_checkpoint_write(r, s->checkpoint);
}

static bool computes(const struct nn_run *r, int64_t index) {
    for (int64_t i = index + 1; i < r->items[index].end; i = r->items[i].end) {
        if (r->items[i].node->kind == NN_CALL) return true;
    }
    return false;
}

/* The body of loop r->loop is done: the next turn begins, or the loop ends. */
static bool end_turn(struct nn_run *r) {
    int64_t index = r->loop;
    struct nn_item *item = &r->items[index];
    bool epoch = item->node->epoch != 0;
    count_turn(r, item);
    if (computes(r, index)) r->computed++;
    nn_report_turn(r, index);
    bool good;
    if (item->turn < item->turns) {
        r->at = index + 1;
        good = nn_run_turn(r, index);
    } else {
        good = end_loop(r, index);
    }
    return good && perhaps_save(r, epoch);
}

/* ---- walking ---- */

/* A signal asked to stop: the checkpoint, then the status that shells give to a process that a signal ended. */
static bool stopped(struct nn_run *r) {
    int number = *r->env->sys->stop;
    nn_report_clear(r);
    if (r->settings->checkpoint) {
        if (!nn_checkpoint_write(r, r->settings->checkpoint)) return false;
        return nn_fail(r->env, 128 + number, "stopped by a signal; the checkpoint is %s, --resume goes on from it",
                       r->settings->checkpoint);
    }
    return nn_fail(r->env, 128 + number, "stopped by a signal");
}

static bool do_item(struct nn_run *r, int64_t index) {
    struct nn_item *item = &r->items[index];
    const struct nn_node *node = item->node;
    switch ((enum nn_node_kind)node->kind) {
    case NN_RANGE:
    case NN_DATA: return begin_loop(r, index);
    case NN_CALL: return nn_run_call(r, node->func);
    case NN_TRACK: return nn_do_track(r, item, &r->items[item->loop]);
    case NN_KEEP: return nn_do_keep(r, item);
    case NN_STOP:
        if (!nn_do_stop(r, item)) return true;
        count_turn(r, &r->items[r->loop]); /* the turn that found it counts, though its body is cut short */
        return end_loop(r, r->loop);
    case NN_PRINT: return nn_do_print(r, node);
    case NN_SAVE: return nn_do_save(r, node);
    case NN_LOAD: return nn_do_load(r, node);
    case NN_WRITE: return nn_do_write(r, node);
    }
    return nn_fail(r->env, NN_INTERNAL, "the program has a statement of an unknown kind (%" PRId64 ")", node->kind);
}

static bool walk(struct nn_run *r) {
    for (;;) {
        if (r->env->sys->stop && *r->env->sys->stop) return stopped(r);
        if (r->loop >= 0 && r->at == r->items[r->loop].end) {
            if (!end_turn(r)) return false;
            continue;
        }
        if (r->at >= r->n_items) return true;
        int64_t index = r->at;
        r->at = r->items[index].end; /* loops and `stop` set it otherwise */
        if (!do_item(r, index)) return false;
    }
}

/* ---- all of it ---- */

/* *made: the folder was not there before. */
static bool make_out(struct nn_run *r, bool *made) {
    const char *out = r->settings->out;
    if (!out || nn_is_folder(out)) return true;
    if (nn_is_file(out)) return nn_fail(r->env, NN_BAD_INPUT, "--out=%s: this is a file, not a folder", out);
    return *made = nn_make_folder(r->env, out);
}

/* All that is written during the run can be; else nothing is left. */
static bool open_places(struct nn_run *r, int64_t log_bytes, bool resumed) {
    bool made = false;
    if (make_out(r, &made) && nn_check_places(r) && nn_log_open(r, log_bytes, resumed)) return true;
    if (made) rmdir(r->settings->out);
    return false;
}

static bool prepare(struct nn_run *r, int64_t *log_bytes) {
    const struct nn_settings *s = r->settings;
    struct nn_folders folders = {s->data, r->env->sys->data_folder, r->program->source_dir};
    if (!make_items(r) || !nn_data_reader_begin(r->env, &r->reader, r->program, &folders)) return false;
    if (!nn_find_weights(r) || !nn_read_inputs(r) || !read_data(r) || !make_frame(r)) return false;
    put_options(r);
    if (!check_parts(r) || !init_slots(r)) return false;
    if (s->init && !nn_load_init(r, s->init)) return false;
    if (!nn_load_weights(r)) return false;
    if (s->resume && !nn_checkpoint_read(r, s->checkpoint, log_bytes)) return false;
    put_steps(r);
    return nn_check_loads(r);
}

static bool finish(struct nn_run *r) {
    nn_report_clear(r);
    if (!nn_write_outputs(r)) return false;
    if (r->settings->save && !nn_save_weights(r, r->settings->save)) return false;
    if (r->settings->profile) nn_report_profile(r);
    return true;
}

static void release(struct nn_run *r) {
    struct nn_env *env = r->env;
    for (int64_t i = 0; i < r->n_items; i++) {
        nn_batches_end(r->items[i].batches);
        nn_free(env, r->items[i].sums);
        nn_free_aligned(env, r->items[i].kept);
    }
    nn_batches_end(r->spare);
    nn_free(env, r->items);
    for (int64_t i = 0; r->sets && i < r->program->n_data; i++) nn_set_free(env, &r->sets[i]);
    nn_free(env, r->sets);
    for (int64_t i = 0; r->inputs && i < r->command->n_inputs; i++) nn_column_free(env, &r->inputs[i]);
    nn_free(env, r->inputs);
    if (r->reader.env) nn_data_reader_end(&r->reader);
    nn_free_aligned(env, r->frame);
    nn_free_aligned(env, r->arena);
    nn_free(env, r->fields);
    nn_free(env, r->weights_path);
    nn_free(env, r->step_slots);
    nn_text_free(env, &r->data_note);
    nn_free(env, r->tight);
    nn_free(env, r->paces);
    nn_free(env, r->func_seconds);
    nn_free(env, r->func_calls);
    nn_profile_free(r);
    nn_free(env, r->guarded);
    if (r->log >= 0) close(r->log);
}

/* As many threads as are asked for and some step of the program is worth. */
static int64_t threads_of(const struct nn_settings *settings) {
    int64_t asked = settings->threads > 0 ? settings->threads : nn_threads_default(), most = 1;
    for (int64_t i = 0; i < settings->program->n_funcs; i++) {
        int64_t worth = settings->program->funcs[i].threads;
        if (worth <= 0) return asked;
        if (worth > most) most = worth;
    }
    return asked < most ? asked : most;
}

/* What a command does, and whether all went well. */
struct doing {
    struct nn_run *r;
    bool resumed, good;
};

static void do_command(struct nn_team *team, void *doing) {
    struct doing *d = doing;
    struct nn_run *r = d->r;
    int64_t log_bytes = 0;
    r->team = team;
    bool good = prepare(r, &log_bytes) && open_places(r, log_bytes, d->resumed);
    volatile int *stop = r->env->sys->stop;
    if (stop && *stop == NN_NOT_BEGUN) *stop = 0;
    if (good && r->settings->save_init && !d->resumed) good = nn_save_weights(r, r->settings->save_init);
    d->good = good && walk(r) && finish(r);
    r->team = NULL;
}

bool nn_run_command(struct nn_env *env, const struct nn_settings *settings) {
    struct nn_run r = {.env = env,
                       .program = settings->program,
                       .command = settings->command,
                       .settings = settings,
                       .loop = -1,
                       .log = -1,
                       .input_batch = 1,
                       .threads = threads_of(settings)};
    if (settings->checkpoint && nn_is_folder(settings->checkpoint)) {
        return nn_fail(env, NN_BAD_INPUT, "--checkpoint=%s: this is a folder, not a file", settings->checkpoint);
    }
    bool resumed = settings->resume && nn_is_file(settings->checkpoint);
    struct nn_settings fresh = *settings;
    if (settings->resume && !resumed) {
        nn_print(env, NN_ERR, "%s is not there: starting from the beginning\n", settings->checkpoint);
        fresh.resume = false;
        r.settings = &fresh;
    }
    r.saved_at = nn_now(env);
    struct doing doing = {&r, resumed, false};
    nn_team_run(r.threads, do_command, &doing);
    if (!doing.good) nn_report_clear(&r);
    release(&r);
    return doing.good;
}
