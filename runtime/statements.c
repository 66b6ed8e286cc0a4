/*
 * statements.c - the statements of a command that are no computation: track, keep, stop, print, save, load, write; and weights.
 */
#include "file.h"
#include "run.h"
#include "safetensors.h"
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

enum { MOST_DIMS = 32, DIGITS = 7 };

/* ---- track ---- */

/* Adds rows of n numbers, each row with the same weight. */
static void add_rows(double *sums, const void *at, int64_t elem, int64_t rows, int64_t n, double weight) {
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t i = 0; i < n; i++) sums[i] += weight * nn_value_at(at, elem, row * n + i);
    }
}

bool nn_do_track(struct nn_run *r, struct nn_item *item, const struct nn_item *loop) {
    const struct nn_slot *slots = r->program->slots;
    double weight = loop->node->kind == NN_DATA ? (double)loop->batch : 1, *sums = item->sums;
    for (int64_t k = 0; k < item->node->n_tracked; k++) {
        const struct nn_tracked *t = &item->node->tracked[k];
        const struct nn_slot *value = &slots[t->value], *average = &slots[t->average];
        int64_t n = nn_count(average->dims, average->n_dims);
        if (value->batch_axis == 0 &&
            value->n_dims ==
                average->n_dims + 1) { /* over the samples: a sum over rows; several rows a sample count as their mean */
            int64_t rows = value->dims[0] * nn_run_batch(r);
            add_rows(sums, nn_run_slot(r, t->value), value->elem, rows, n, weight / (double)rows);
        } else {
            add_rows(sums, nn_run_slot(r, t->value), value->elem, 1, n, weight);
        }
        sums += n;
    }
    item->weight += weight;
    return true;
}

void nn_do_averages(struct nn_run *r, const struct nn_item *track) {
    const double *sums = track->sums;
    for (int64_t k = 0; k < track->node->n_tracked; k++) {
        int64_t slot = track->node->tracked[k].average;
        const struct nn_slot *s = &r->program->slots[slot];
        int64_t n = nn_count(s->dims, s->n_dims);
        for (int64_t i = 0; i < n; i++)
            nn_value_put(nn_run_slot(r, slot), s->elem, i, track->weight > 0 ? sums[i] / track->weight : NAN);
        sums += n;
    }
}

/* ---- keep, stop ---- */

/* Notes a new best; NaN never is one. */
static bool is_best(struct nn_run *r, struct nn_item *item) {
    double now = nn_value_at(nn_run_slot(r, item->node->slot), r->program->slots[item->node->slot].elem, 0);
    bool best = item->any ? (item->node->highest ? now > item->best : now < item->best) : !isnan(now);
    if (best) {
        item->best = now;
        item->any = true;
    }
    return best;
}

static void copy_kept(struct nn_run *r, char *kept, bool back) {
    for (int64_t i = 0; i < r->program->n_slots; i++) {
        const struct nn_slot *s = &r->program->slots[i];
        if (!(NN_KEPT >> s->kind & 1)) continue;
        if (back)
            memcpy(nn_run_slot(r, i), kept, (size_t)s->bytes);
        else
            memcpy(kept, nn_run_slot(r, i), (size_t)s->bytes);
        kept += s->bytes;
    }
}

int64_t nn_kept_bytes(const struct nn_program *p) {
    int64_t bytes = 0;
    for (int64_t i = 0; i < p->n_slots; i++) bytes += NN_KEPT >> p->slots[i].kind & 1 ? p->slots[i].bytes : 0;
    return bytes;
}

bool nn_do_keep(struct nn_run *r, struct nn_item *item) {
    if (!is_best(r, item)) return true;
    if (!item->kept && !(item->kept = nn_alloc_aligned(r->env, (size_t)nn_kept_bytes(r->program)))) return false;
    copy_kept(r, item->kept, false);
    return true;
}

void nn_do_put_back(struct nn_run *r, struct nn_item *item) {
    if (item->any) copy_kept(r, item->kept, true);
    nn_free_aligned(r->env, item->kept);
    item->kept = NULL;
    item->any = false;
}

bool nn_do_stop(struct nn_run *r, struct nn_item *item) {
    if (is_best(r, item))
        item->stalled = 0;
    else
        item->stalled++;
    return item->stalled >= item->node->stalls;
}

/* ---- print, and names of files ---- */

static bool text_pieces(struct nn_run *r, const struct nn_node *node, struct nn_text *t) {
    for (int64_t i = 0; i < node->n_pieces; i++) {
        const struct nn_piece *p = &node->pieces[i];
        if (p->text) {
            nn_text_add(r->env, t, p->text);
            continue;
        }
        const struct nn_slot *s = &r->program->slots[p->slot];
        int64_t dims[MOST_DIMS];
        nn_run_dims(r, p->slot, dims);
        if (s->kind == NN_OPTION && s->bool_option) {
            nn_text_add(r->env, t, nn_value_at(nn_run_slot(r, p->slot), s->elem, 0) != 0 ? "true" : "false");
        } else {
            const char *at = nn_run_value(r, p->slot);
            if (!at) return false;
            nn_text_tensor(r->env, t, at, s->elem, dims, s->n_dims, p->digits > 0 ? (int)p->digits : DIGITS, NN_PLAIN);
        }
    }
    return nn_text_ok(r->env, t);
}

bool nn_do_print(struct nn_run *r, const struct nn_node *node) {
    struct nn_text t = {0};
    bool good = text_pieces(r, node, &t);
    nn_text_add(r->env, &t, "\n");
    if (good) nn_report_clear(r);
    good = good && nn_print_text(r->env, NN_OUT, &t);
    nn_text_free(r->env, &t);
    return good;
}

char *nn_out_path(struct nn_run *r, const char *name) { return nn_path_join(r->env, r->settings->out, name); }

/* The name that the pieces say; NULL: no memory. */
static char *piece_name(struct nn_run *r, const struct nn_node *node) {
    struct nn_text t = {0};
    if (!text_pieces(r, node, &t)) {
        nn_text_free(r->env, &t);
        return NULL;
    }
    return t.at ? t.at : nn_copy_string(r->env, "");
}

/* ---- save ---- */

static void text_words(struct nn_env *env, struct nn_text *t, const struct nn_words *w) {
    nn_text_add(env, t, "[");
    for (int64_t i = 0; i < w->n; i++) {
        if (i > 0) nn_text_add(env, t, ",");
        nn_text_json(env, t, w->words[i], strlen(w->words[i]));
    }
    nn_text_add(env, t, "]");
}

/* Tensors with the vocabularies that this run knows: "vocab.NAME", a list of words in JSON. */
static bool save_tensors(struct nn_run *r, const char *path, const struct nn_tensor *tensors, int64_t n) {
    struct nn_env *env = r->env;
    int64_t n_vocabs = r->program->n_vocabs, n_notes = 0;
    struct nn_text *texts = nn_alloc_n(env, 2 * n_vocabs, sizeof *texts);
    struct nn_note *notes = nn_alloc_n(env, n_vocabs, sizeof *notes);
    bool good = texts && notes;
    for (int64_t i = 0; good && i < n_vocabs; i++) {
        if (!r->reader.words_made[i]) continue;
        nn_text_printf(env, &texts[2 * i], "vocab.%s", r->program->vocabs[i].name);
        text_words(env, &texts[2 * i + 1], &r->reader.words[i]);
        good = nn_text_ok(env, &texts[2 * i]) && nn_text_ok(env, &texts[2 * i + 1]);
        notes[n_notes++] = (struct nn_note){nn_text_str(&texts[2 * i]), nn_text_str(&texts[2 * i + 1])};
    }
    good = good && nn_tensors_write(env, path, tensors, n, notes, n_notes, false);
    for (int64_t i = 0; texts && i < 2 * n_vocabs; i++) nn_text_free(env, &texts[i]);
    nn_free(env, texts);
    nn_free(env, notes);
    return good;
}

/* The slots of a save or load as tensors. */
static struct nn_tensor *slot_tensors(struct nn_run *r, const int64_t *slots, int64_t n) {
    struct nn_tensor *tensors = nn_alloc_n(r->env, n, sizeof *tensors);
    for (int64_t i = 0; tensors && i < n; i++) {
        const struct nn_slot *s = &r->program->slots[slots[i]];
        tensors[i] = (struct nn_tensor){s->name, s->elem, s->dims, s->n_dims, nn_run_slot(r, slots[i]), s->bytes};
    }
    return tensors;
}

bool nn_do_save(struct nn_run *r, const struct nn_node *node) {
    char *name = piece_name(r, node), *path = name ? nn_out_path(r, name) : NULL;
    struct nn_tensor *tensors = path ? slot_tensors(r, node->slots, node->n_slots) : NULL;
    bool good = tensors && save_tensors(r, path, tensors, node->n_slots);
    nn_free(r->env, tensors);
    nn_free(r->env, path);
    nn_free(r->env, name);
    return good;
}

bool nn_save_weights(struct nn_run *r, const char *path) {
    int64_t n;
    struct nn_tensor *tensors = nn_run_tensors(r, NN_WEIGHTS, &n);
    bool good = tensors && save_tensors(r, path, tensors, n);
    nn_free(r->env, tensors);
    return good;
}

bool nn_do_write(struct nn_run *r, const struct nn_node *node) {
    char *name = piece_name(r, node), *path = name ? nn_out_path(r, name) : NULL;
    const struct nn_slot *s = &r->program->slots[node->slot];
    int64_t dims[MOST_DIMS];
    nn_run_dims(r, node->slot, dims);
    const char *at = nn_run_value(r, node->slot);
    bool good = path && at && nn_write_tensor(r, path, at, s->elem, dims, s->n_dims);
    nn_free(r->env, path);
    nn_free(r->env, name);
    return good;
}

/* ---- load ---- */

/* A file of weights is looked for where `save` writes, then where data are. NULL: nowhere, or no memory. */
static char *find_saved(struct nn_run *r, const char *name) {
    char *path = nn_out_path(r, name);
    if (!path || nn_is_file(path)) return path;
    nn_free(r->env, path);
    return nn_find_file(r->env, &r->reader.folders, name);
}

/* The command that saves a file of this name. */
static const char *saver_of(const struct nn_node *nodes, int64_t n, const char *file) {
    for (int64_t i = 0; i < n; i++) {
        const char *name = nodes[i].kind == NN_SAVE ? nn_constant_name(&nodes[i]) : NULL;
        if (name && strcmp(name, file) == 0) return file;
        if (saver_of(nodes[i].body, nodes[i].n_body, file)) return file;
    }
    return NULL;
}

static bool no_such_weights(struct nn_run *r, const char *name, int64_t line) {
    struct nn_text looked = {0};
    if (r->env->error.status != 0) return false;
    const char *saver = NULL;
    for (int64_t c = 0; c < r->program->n_commands && !saver; c++) {
        const struct nn_command *command = &r->program->commands[c];
        if (command != r->command && saver_of(command->body, command->n_body, name)) saver = command->name;
    }
    nn_text_folders(r->env, &looked, r->settings->out ? r->settings->out : "this folder", &r->reader.folders);
    nn_fail(r->env, NN_BAD_INPUT, "%s: there are no weights: %s%s%s%s (%s:%" PRId64 ")", name, saver ? "run `" : "",
            saver ? saver : "", saver ? "` first; " : "", nn_text_str(&looked), r->program->source, line);
    nn_text_free(r->env, &looked);
    return false;
}

/* Takes the words of the program's vocabularies from the metadata, where they stand: the numbers of words must be those that the
 * weights were trained with. */
static bool take_words(struct nn_run *r, struct nn_tensors *f) {
    for (int64_t i = 0; i < r->program->n_vocabs; i++) {
        struct nn_text key = {0};
        nn_text_printf(r->env, &key, "vocab.%s", r->program->vocabs[i].name);
        if (!nn_text_ok(r->env, &key)) return false;
        const char *text = nn_tensors_note(f, key.at);
        nn_text_free(r->env, &key);
        if (!text || r->reader.words_made[i]) continue;
        errno = 0;
        json_t *list = json_loads(text, 0, NULL);
        if (!list && errno == ENOMEM) return nn_no_memory(r->env, strlen(text));
        bool good = json_is_array(list) && (int64_t)json_array_size(list) + 2 <= r->program->vocabs[i].size;
        for (size_t k = 0; good && k < json_array_size(list); k++) good = json_is_string(json_array_get(list, k));
        if (!good)
            nn_fail(r->env, NN_BAD_INPUT, "the vocabulary `%s` in the weights is not one of at most %" PRId64 " words",
                    r->program->vocabs[i].name, r->program->vocabs[i].size);
        for (size_t k = 0; good && k < json_array_size(list); k++) {
            const char *word = json_string_value(json_array_get(list, k));
            good = nn_words_add(r->env, &r->reader.words[i], word, strlen(word));
        }
        json_decref(list);
        if (!good) return false;
        r->reader.words_made[i] = true;
    }
    return true;
}

/* What stands before the name of the file of weights in messages. */
static const char *weights_option(const struct nn_run *r) { return r->settings->weights ? "--weights=" : ""; }

bool nn_find_weights(struct nn_run *r) {
    const struct nn_command *c = r->command;
    const struct nn_settings *s = r->settings;
    if (s->weights && c->n_weights == 0)
        return nn_fail(r->env, NN_BAD_INPUT, "--weights: the command `%s` needs no weights", c->name);
    if (s->weights && c->learns) {
        return nn_fail(r->env, NN_BAD_INPUT, "--weights: the command `%s` trains them; --init=FILE says where they start",
                       c->name);
    }
    if (c->n_weights == 0 || c->learns || (s->init && !s->weights)) return true;
    if (!s->weights && !c->weights_file) {
        return nn_fail(
            r->env, NN_BAD_INPUT,
            "the command `%s` needs weights, and the program does not save them in one place: --weights=FILE names them",
            c->name);
    }
    r->weights_path = s->weights ? nn_copy_string(r->env, s->weights) : find_saved(r, c->weights_file);
    if (!r->weights_path) return no_such_weights(r, c->weights_file ? c->weights_file : s->weights, c->line);
    struct nn_tensors *f = nn_tensors_open(r->env, weights_option(r), r->weights_path);
    bool good = f && take_words(r, f);
    nn_tensors_close(r->env, f);
    return good;
}

/* Parameters and states of the program that are not asked for may stand in a file of weights. */
static bool is_weight(void *context, const char *name) {
    const struct nn_program *p = context;
    for (int64_t i = 0; i < p->n_slots; i++) {
        if ((NN_WEIGHTS >> p->slots[i].kind & 1) && strcmp(p->slots[i].name, name) == 0) return true;
    }
    return false;
}

static bool read_tensors(struct nn_run *r, const char *before, const char *path, struct nn_tensor *tensors, int64_t n,
                         bool others) {
    struct nn_tensors *f = tensors ? nn_tensors_open(r->env, before, path) : NULL;
    bool good = f && nn_tensors_read(r->env, f, tensors, n, others ? is_weight : NULL, (void *)(uintptr_t)r->program);
    nn_tensors_close(r->env, f);
    nn_free(r->env, tensors);
    return good;
}

bool nn_load_weights(struct nn_run *r) {
    if (!r->weights_path) return true;
    return read_tensors(r, weights_option(r), r->weights_path, slot_tensors(r, r->command->weights, r->command->n_weights),
                        r->command->n_weights, true);
}

bool nn_load_init(struct nn_run *r, const char *path) {
    int64_t n;
    struct nn_tensor *tensors = nn_run_tensors(r, NN_WEIGHTS, &n);
    return read_tensors(r, "--init=", path, tensors, n, false);
}

bool nn_do_load(struct nn_run *r, const struct nn_node *node) {
    char *name = piece_name(r, node), *path = name ? find_saved(r, name) : NULL;
    bool good = path && read_tensors(r, "", path, slot_tensors(r, node->slots, node->n_slots), node->n_slots, false);
    if (name && !path) good = no_such_weights(r, name, node->line);
    if (!good && r->env->error.status == NN_BAD_INPUT)
        r->env->error.status = NN_RUNTIME; /* the run may have written files before */
    nn_free(r->env, path);
    nn_free(r->env, name);
    return good;
}

/* Whether a `save` before item `load` may write what that reads. */
static bool may_be_saved(const struct nn_run *r, int64_t load) {
    for (int64_t i = 0; i < load; i++) {
        const struct nn_node *node = r->items[i].node;
        if (node->kind != NN_SAVE) continue;
        const char *name = nn_constant_name(node);
        if (!name || strcmp(name, nn_constant_name(r->items[load].node)) == 0) return true;
    }
    return false;
}

static bool check_load(struct nn_run *r, const struct nn_node *node) {
    const char *name = nn_constant_name(node);
    char *path = find_saved(r, name);
    if (!path) return no_such_weights(r, name, node->line);
    struct nn_tensor *tensors = slot_tensors(r, node->slots, node->n_slots);
    struct nn_tensors *f = tensors ? nn_tensors_open(r->env, "", path) : NULL;
    bool good = f && nn_tensors_compare(r->env, f, tensors, node->n_slots, NULL, NULL);
    nn_tensors_close(r->env, f);
    nn_free(r->env, tensors);
    nn_free(r->env, path);
    return good;
}

bool nn_check_loads(struct nn_run *r) {
    for (int64_t i = r->at; i < r->n_items; i++) { /* before r->at: done, in a run that goes on */
        const struct nn_item *item = &r->items[i];
        if (item->node->kind != NN_LOAD || item->loop >= 0 || !nn_constant_name(item->node) || may_be_saved(r, i)) continue;
        if (!check_load(r, item->node)) return false;
    }
    return true;
}
