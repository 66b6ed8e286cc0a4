/*
 * input.c - the inputs of a command, from files or from the command line itself.
 *
 *   - --image=one.png,two.png: several files, one behind the other
 *   - --image=batch.npy: a batch
 *   - --digit=7,3: numbers, where a sample is one number and there is no file of that name
 *   - --prompt="ROMEO:": the text itself, where the source names a loader of text
 *
 * The number of samples is the batch: the same for every input, and within the bound that the program was compiled for.
 */
#include "run.h"
#include <inttypes.h>
#include <string.h>

enum { MOST_FILES = 4096 };

static bool is_text(const struct nn_loader *loader) {
    static const char *const kinds[] = {"text", "lines", "words"};
    for (int i = 0; i < 3; i++) {
        if (loader->kind && strcmp(loader->kind, kinds[i]) == 0) return true;
    }
    return false;
}

/* The text of the command line as the input itself. */
static bool read_itself(struct nn_load *l, const char *value) {
    l->text = value;
    l->name = "the text given";
    l->files = 1;
    l->column->bytes = l->column->stride = nn_load_sample(l) * nn_elem_size(l->elem);
    return strcmp(l->loader->kind, "lines") == 0   ? nn_load_lines(l)
           : strcmp(l->loader->kind, "words") == 0 ? nn_load_words(l)
                                                   : nn_load_text(l);
}

/* "7,3,1" where a sample is one number and there is no such file. */
static bool are_numbers(const struct nn_load *l, const char *value) {
    return l->n_dims == 0 && value[0] && strspn(value, "+-.0123456789eE,") == strlen(value) && !nn_is_file(value);
}

static bool read_numbers(struct nn_load *l, const char *value) {
    l->name = value;
    l->column->bytes = l->column->stride = nn_elem_size(l->elem);
    for (const char *at = value;; at++) {
        size_t n = strcspn(at, ",");
        char *to = nn_load_room(l, 1);
        if (!to || !nn_load_number(l, 0, at, n, to, 0)) return false;
        l->column->count++;
        at += n;
        if (!*at) return true;
    }
}

/* "a,b" as two files, unless there is one file of that very name. */
static bool read_files(struct nn_load *l, const char *value) {
    struct nn_env *env = l->env;
    char *copy = nn_copy_string(env, value);
    const char **files = nn_alloc_n(env, MOST_FILES, sizeof *files);
    bool good = copy && files;
    int64_t n = 0;
    if (good && nn_is_file(value)) {
        files[n++] = copy;
    } else if (good) {
        char *rest = NULL;
        for (char *name = strtok_r(copy, ",", &rest); good && name; name = strtok_r(NULL, ",", &rest)) {
            if (n < MOST_FILES)
                files[n++] = name;
            else
                good = nn_fail(env, NN_BAD_INPUT, "%s: more than %d files", l->what, MOST_FILES);
        }
        if (good && n == 0) good = nn_fail(env, NN_BAD_INPUT, "%s: a file is expected", l->what);
    }
    for (int64_t i = 0; good && i < n; i++) {
        if (!nn_is_file(files[i]) && !nn_is_folder(files[i]))
            good = nn_fail(env, NN_BAD_INPUT, "%s: there is no such file (%s)", files[i], l->what);
    }
    good = good && nn_load_column(l, files, n);
    nn_free(env, files);
    nn_free(env, copy);
    return good;
}

/* The batch is the number of samples; the tensor's other dimensions are those of a sample. */
static bool check_batch(struct nn_run *r, const struct nn_io *io, const struct nn_column *c, const char **first) {
    const struct nn_slot *s = &r->program->slots[io->slot];
    if (c->count == 0) return nn_fail(r->env, NN_BAD_INPUT, "--%s: there are no samples in it", io->name);
    if (s->batch_axis < 0) {
        return c->count == 1 || nn_fail(r->env, NN_BAD_INPUT, "--%s: expected one sample, found %" PRId64, io->name, c->count);
    }
    int64_t batch = c->count / s->dims[0];
    if (c->count % s->dims[0] != 0)
        return nn_fail(r->env, NN_BAD_INPUT, "--%s: the number of samples is a multiple of %" PRId64 ", found %" PRId64, io->name,
                       s->dims[0], c->count);
    if (batch > s->batch_bound) {
        return nn_fail(r->env, NN_BAD_INPUT,
                       "--%s: %" PRId64 " sample%s; the program was compiled for at most %" PRId64 ": nnc --max-batch=%" PRId64
                       " raises that",
                       io->name, batch, batch == 1 ? "" : "s", s->batch_bound, batch);
    }
    if (*first && batch != r->input_batch) {
        return nn_fail(r->env, NN_BAD_INPUT, "--%s has %" PRId64 " sample%s, but --%s has %" PRId64, io->name, batch,
                       batch == 1 ? "" : "s", *first, r->input_batch);
    }
    *first = io->name;
    r->input_batch = batch;
    return true;
}

static bool read_input(struct nn_run *r, int64_t i, const char **first) {
    const struct nn_io *io = &r->command->inputs[i];
    const struct nn_slot *s = &r->program->slots[io->slot];
    const char *value = r->settings->inputs[i];
    struct nn_text what = {0};
    nn_text_printf(r->env, &what, "--%s", io->name);
    bool batched = s->batch_axis == 0, good = nn_text_ok(r->env, &what);
    struct nn_load l = {.env = r->env,
                        .reader = &r->reader,
                        .what = nn_text_str(&what),
                        .elem = s->elem,
                        .dims = s->dims + batched,
                        .n_dims = s->n_dims - batched,
                        .loader = io->loader,
                        .input = true,
                        .column = &r->inputs[i]};
    if (good && s->batch_axis > 0)
        good =
            nn_fail(r->env, NN_BAD_INPUT, "--%s: an input whose batch is not its first dimension cannot be read yet", io->name);
    if (good && is_text(io->loader) && !nn_is_file(value))
        good = read_itself(&l, value);
    else if (good && are_numbers(&l, value))
        good = read_numbers(&l, value);
    else if (good)
        good = read_files(&l, value);
    good = good && check_batch(r, io, &r->inputs[i], first);
    nn_text_free(r->env, &what);
    return good;
}

/* Windows of a text overlap in the column, but not in the tensor that a step reads. */
static bool spread(struct nn_run *r, struct nn_column *c) {
    if (c->stride == c->bytes) return true;
    char *at = nn_alloc_n(r->env, c->count, (size_t)c->bytes);
    if (!at) return false;
    for (int64_t i = 0; i < c->count; i++) memcpy(at + i * c->bytes, c->at + i * c->stride, (size_t)c->bytes);
    nn_free(r->env, c->at);
    c->at = at;
    c->stride = c->bytes;
    return true;
}

bool nn_read_inputs(struct nn_run *r) {
    const char *first = NULL;
    r->inputs = nn_alloc_n(r->env, r->command->n_inputs, sizeof *r->inputs);
    if (!r->inputs) return false;
    for (int64_t i = 0; i < r->command->n_inputs; i++) {
        if (!read_input(r, i, &first) || !spread(r, &r->inputs[i])) return false;
    }
    return true;
}
