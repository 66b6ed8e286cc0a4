/*
 * settings.c - the command line of a finished program: see settings.h. getopt_long reads it; what it is too generous about (names
 * cut short) or too curt (its messages) is done here. The options of a command are one table, made of the built-in ones, the
 * options of the source, and the command's inputs and outputs.
 */
#include "settings.h"
#include "threads.h"
#include "value.h"
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum key {
    KEY_HELP = 1,
    KEY_VERSION,
    KEY_SUMMARY,
    KEY_PLAN,
    KEY_DATA,
    KEY_THREADS,
    KEY_SEED,
    KEY_WEIGHTS,
    KEY_INIT,
    KEY_SAVE_INIT,
    KEY_SAVE,
    KEY_NO_SHUFFLE,
    KEY_BATCHES,
    KEY_TURNS,
    KEY_OUT,
    KEY_LOG,
    KEY_PROGRESS,
    KEY_CHECKPOINT,
    KEY_EVERY,
    KEY_RESUME,
    KEY_PROFILE,
    KEY_GUARD,
    KEY_OF_COMMAND =
        256 /* then the command's options, inputs, outputs: beyond all characters, ':' and '?' are answers of getopt_long */
};

/* One row an option that every command has. */
static const struct {
    enum key key;
    const char *name, *value, *help;
} rows[] = {
    {KEY_DATA, "data", "DIR", "where data files are; then $NNC_DATA, then the folder of the source"},
    {KEY_THREADS, "threads", "N", "default: $OMP_NUM_THREADS, else all cores; the result does not depend on it"},
    {KEY_SEED, "seed", "N", "of all random numbers; default 1"},
    {KEY_WEIGHTS, "weights", "FILE", "weights that the command needs (safetensors)"},
    {KEY_INIT, "init", "FILE", "where parameters and states start (safetensors)"},
    {KEY_SAVE_INIT, "save-init", "FILE", "write parameters and states as they are at the start"},
    {KEY_SAVE, "save", "FILE", "... and at the end"},
    {KEY_NO_SHUFFLE, "no-shuffle", NULL, "data in the order of the files"},
    {KEY_BATCHES, "batches", "N", "only the first N batches of a loop over data"},
    {KEY_TURNS, "turns", "N", "only N turns of another loop"},
    {KEY_OUT, "out", "DIR", "where files are written; default: the current folder"},
    {KEY_LOG, "log", "FILE", "one JSON object a finished loop"},
    {KEY_PROGRESS, "progress", "HOW", "auto, plain (finished loops alone) or none"},
    {KEY_CHECKPOINT, "checkpoint", "FILE", "write a checkpoint now and then, and when stopped"},
    {KEY_EVERY, "every", "WHEN", "how often: 30s, or 500 (steps); default 30s"},
    {KEY_RESUME, "resume", NULL, "go on from the checkpoint"},
    {KEY_PROFILE, "profile", NULL, "time by function, kernel and source line"},
    {KEY_GUARD, "guard", NULL, "stop at the first NaN or infinity"},
    {KEY_HELP, "help", NULL, "this text"},
    {KEY_VERSION, "version", NULL, "source, its hash, compiler, cpu, flags"},
    {KEY_SUMMARY, "summary", NULL, "parameters by name, shape and line"},
    {KEY_PLAN, "plan", NULL, "memory and operations"},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

/* ---- usage ---- */

static void text_slot_type(struct nn_env *env, struct nn_text *t, const struct nn_slot *s) {
    nn_text_add(env, t, nn_elem_name(s->elem));
    for (int64_t d = 0; d < s->n_dims; d++) {
        nn_text_add(env, t, d == 0 ? "[" : ", ");
        if (d != s->batch_axis)
            nn_text_printf(env, t, "%" PRId64, s->dims[d]);
        else if (s->dims[d] == 1)
            nn_text_add(env, t, "B");
        else
            nn_text_printf(env, t, "%" PRId64 "*B", s->dims[d]);
    }
    if (s->n_dims > 0) nn_text_add(env, t, "]");
}

static void text_default(struct nn_env *env, struct nn_text *t, const struct nn_slot *s) {
    if (s->bool_option)
        nn_text_add(env, t, s->fill != 0 ? "true" : "false");
    else if (s->elem == NN_F32 || s->elem == NN_F64)
        nn_text_real(env, t, s->fill, 7, NN_PLAIN);
    else
        nn_text_printf(env, t, "%" PRId64, (int64_t)s->fill); /* as it can be given: 2e+07 is no whole number there */
}

static void text_command(struct nn_env *env, struct nn_text *t, const struct nn_program *p, const struct nn_command *c,
                         const char *name) {
    nn_text_printf(env, t, "  %s %s", name, c->name);
    for (int64_t i = 0; i < c->n_inputs; i++) {
        nn_text_printf(env, t, " --%s=", c->inputs[i].name);
        text_slot_type(env, t, &p->slots[c->inputs[i].slot]);
    }
    for (int64_t i = 0; i < c->n_options; i++) {
        const struct nn_slot *s = &p->slots[c->options[i]];
        nn_text_printf(env, t, " [--%s=", s->name);
        text_default(env, t, s);
        nn_text_add(env, t, "]");
    }
    for (int64_t i = 0; i < c->n_outputs; i++) {
        nn_text_printf(env, t, "%s%s: ", i ? ", " : "   -> ", c->outputs[i].name);
        text_slot_type(env, t, &p->slots[c->outputs[i].slot]);
    }
    nn_text_add(env, t, "\n");
}

void nn_text_usage(struct nn_env *env, struct nn_text *t, const struct nn_program *p, const char *name) {
    nn_text_printf(env, t, "%s, made of %s. Its commands:\n", name, p->source);
    for (int64_t i = 0; i < p->n_commands; i++) text_command(env, t, p, &p->commands[i], name);
    nn_text_printf(env, t, "\n%s COMMAND --help tells more; %s --summary, --plan, --version tell about the program.\n", name,
                   name);
}

static void text_options(struct nn_env *env, struct nn_text *t) {
    nn_text_add(env, t, "\nOptions of every command:\n");
    for (int i = 0; i < ROWS; i++) {
        char left[40];
        snprintf(left, sizeof left, "--%s%s%s", rows[i].name, rows[i].value ? "=" : "", rows[i].value ? rows[i].value : "");
        nn_text_printf(env, t, "  %-18s %s\n", left, rows[i].help);
    }
}

static void text_command_help(struct nn_env *env, struct nn_text *t, const struct nn_program *p, const struct nn_command *c,
                              const char *name) {
    nn_text_printf(env, t, "%s:%" PRId64 "\n", p->source, c->line);
    text_command(env, t, p, c, name);
    if (c->n_inputs > 0)
        nn_text_add(env, t,
                    "\nInputs: a file (several: a,b), .npy .csv .txt .png .jpg by its suffix; for text also the text itself.\n");
    if (c->n_outputs > 0) {
        nn_text_add(env, t, "\nOutputs are printed, or written:");
        for (int64_t i = 0; i < c->n_outputs; i++) nn_text_printf(env, t, " --%s=FILE", c->outputs[i].name);
        nn_text_add(env, t, "\n");
    }
    text_options(env, t);
}

static bool print_text(struct nn_env *env, enum nn_stream to, struct nn_text *t) {
    bool good = nn_print_text(env, to, t);
    nn_text_free(env, t);
    return good;
}

static bool print_line(struct nn_env *env, const char *text) {
    struct nn_text t = {0};
    nn_text_add(env, &t, text ? text : "");
    if (t.n > 0 && t.at[t.n - 1] != '\n') nn_text_add(env, &t, "\n");
    return print_text(env, NN_OUT, &t);
}

/* ---- numbers ---- */

/* strtod and its kin take blanks in front, hexadecimal, nan and inf as well: these are no numbers here. */
static bool plain_number(const char *text) { return text[0] && strspn(text, "+-.0123456789eE") == strlen(text); }
static bool plain_integer(const char *text) { return text[0] && strspn(text, "+-0123456789") == strlen(text); }

static bool read_count(struct nn_env *env, const char *name, const char *text, int64_t *value) {
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (end == text || *end || errno || v < 1 || !plain_integer(text))
        return nn_fail(env, NN_BAD_INPUT, "--%s=%s: expected a whole number, 1 or more", name, text);
    *value = v;
    return true;
}

static bool read_seed(struct nn_env *env, const char *text, uint64_t *value) {
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno)
        return nn_fail(env, NN_BAD_INPUT, "--seed=%s: expected a whole number, 0 to 18446744073709551615", text);
    *value = v;
    return true;
}

/* "30s" or "500" */
static bool read_every(struct nn_env *env, const char *text, struct nn_settings *s) {
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    bool number = end != text && text[0] >= '0' && text[0] <= '9' && errno == 0 && v > 0 && !strpbrk(text, "xX");
    if (number && strcmp(end, "s") == 0 && v <= 1e9) {
        s->every_seconds = v;
        s->every_steps = 0;
        return true;
    }
    if (number && *end == 0 && v == floor(v) && v <= 1e15) {
        s->every_steps = (int64_t)v;
        s->every_seconds = 0;
        return true;
    }
    return nn_fail(env, NN_BAD_INPUT, "--every=%s: expected a time (30s) or a number of steps (500)", text);
}

static bool read_progress(struct nn_env *env, const char *text, enum nn_progress *p) {
    if (strcmp(text, "auto") == 0)
        *p = NN_AUTO;
    else if (strcmp(text, "plain") == 0)
        *p = NN_LINES;
    else if (strcmp(text, "none") == 0)
        *p = NN_QUIET;
    else
        return nn_fail(env, NN_BAD_INPUT, "--progress=%s: expected auto, plain or none", text);
    return true;
}

/* The value of an option of the source, by the type of its default. */
static bool read_option(struct nn_env *env, const struct nn_slot *s, const char *text, struct nn_option *o) {
    char *end;
    errno = 0;
    o->given = true;
    if (s->bool_option || s->elem == NN_BOOL) {
        bool yes = strcmp(text, "true") == 0;
        if (!yes && strcmp(text, "false") != 0)
            return nn_fail(env, NN_BAD_INPUT, "--%s=%s: expected true or false", s->name, text);
        nn_value_put(o->value, s->elem, 0, yes);
        return true;
    }
    if (s->elem == NN_F32 || s->elem == NN_F64) {
        double v = strtod(text, &end);
        if (end == text || *end || !plain_number(text) || !isfinite(v) || (s->elem == NN_F32 && !isfinite((float)v))) {
            return nn_fail(env, NN_BAD_INPUT, "--%s=%s: expected a number", s->name, text);
        }
        nn_value_put(o->value, s->elem, 0, v);
        return true;
    }
    long long v = strtoll(text, &end, 10);
    long long least = s->elem == NN_U8    ? 0
                      : s->elem == NN_I32 ? INT32_MIN
                                          : INT64_MIN,
              most = s->elem == NN_U8    ? 255
                     : s->elem == NN_I32 ? INT32_MAX
                                         : INT64_MAX;
    if (end == text || *end || !plain_integer(text) || errno || v < least || v > most) {
        return nn_fail(env, NN_BAD_INPUT, "--%s=%s: expected a whole number, %lld to %lld", s->name, text, least, most);
    }
    if (s->elem == NN_I64)
        memcpy(o->value, &v, sizeof v);
    else
        nn_value_put(o->value, s->elem, 0, (double)v);
    return true;
}

/* ---- the table of a command ---- */

/* Every option of the source is one of every command; keys of a command's own rows: slots, then inputs, then outputs. */
static bool make_table(struct nn_env *env, const struct nn_settings *s, struct option **table) {
    const struct nn_command *c = s->command;
    const struct nn_program *p = s->program;
    int64_t own = c ? p->n_slots + c->n_inputs + c->n_outputs : 0;
    struct option *t = *table = nn_alloc_n(env, ROWS + own + 1, sizeof *t);
    if (!t) return false;
    for (int i = 0; i < ROWS; i++)
        *t++ = (struct option){rows[i].name, rows[i].value ? required_argument : no_argument, NULL, (int)rows[i].key};
    for (int64_t i = 0; i < own; i++) {
        if (i < p->n_slots && p->slots[i].kind != NN_OPTION) continue;
        const char *name = i < p->n_slots                 ? p->slots[i].name
                           : i < p->n_slots + c->n_inputs ? c->inputs[i - p->n_slots].name
                                                          : c->outputs[i - p->n_slots - c->n_inputs].name;
        *t++ = (struct option){name, required_argument, NULL, KEY_OF_COMMAND + (int)i};
    }
    return true;
}

/* An option that is not known: the nearest known one, if it is near. */
static bool unknown_option(struct nn_env *env, const struct option *table, const char *given, size_t n) {
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(n < 63 ? n : 63), given);
    const char *nearest = NULL;
    int best = 1 + (int)strlen(name) / 3;
    for (const struct option *o = table; o->name; o++) {
        int d = nn_name_distance(name, o->name);
        bool begins = strlen(name) >= 3 && strncmp(name, o->name, strlen(name)) == 0; /* cut short */
        if (begins) d = d < best ? d : best;
        if (d <= best && (!nearest || d < best)) nearest = o->name, best = d;
    }
    return nn_fail(env, NN_BAD_INPUT, "there is no option --%s%s%s%s", name, nearest ? "; did you mean --" : "",
                   nearest ? nearest : "", nearest ? "?" : "");
}

/* getopt_long would take `--thr` for `--threads`: names count in full only. */
static bool check_name(struct nn_env *env, const struct option *table, const char *argument) {
    if (strncmp(argument, "--", 2) != 0 || argument[2] == 0) return true;
    const char *name = argument + 2;
    size_t n = strcspn(name, "=");
    for (const struct option *o = table; o->name; o++) {
        if (strlen(o->name) == n && memcmp(o->name, name, n) == 0) return true;
    }
    return unknown_option(env, table, name, n);
}

static bool take_own(struct nn_env *env, struct nn_settings *s, int64_t i, const char *value) {
    const struct nn_command *c = s->command;
    if (i < s->program->n_slots) return read_option(env, &s->program->slots[i], value, &s->options[i]);
    i -= s->program->n_slots;
    if (i < c->n_inputs)
        s->inputs[i] = value;
    else
        s->outputs[i - c->n_inputs] = value;
    return true;
}

static bool take(struct nn_env *env, struct nn_settings *s, enum key key, const char *value, const char *name, enum nn_ask *ask) {
    struct nn_text t = {0};
    switch (key) {
    case KEY_DATA: s->data = value; return true;
    case KEY_THREADS:
        return read_count(env, "threads", value, &s->threads) &&
               (s->threads <= NN_MOST_THREADS || nn_fail(env, NN_BAD_INPUT, "--threads=%s: at most %d", value, NN_MOST_THREADS));
    case KEY_SEED: return read_seed(env, value, &s->seed);
    case KEY_WEIGHTS: s->weights = value; return true;
    case KEY_INIT: s->init = value; return true;
    case KEY_SAVE_INIT: s->save_init = value; return true;
    case KEY_SAVE: s->save = value; return true;
    case KEY_NO_SHUFFLE: s->no_shuffle = true; return true;
    case KEY_BATCHES: return read_count(env, "batches", value, &s->batches);
    case KEY_TURNS: return read_count(env, "turns", value, &s->turns);
    case KEY_OUT: s->out = value; return true;
    case KEY_LOG: s->log = value; return true;
    case KEY_PROGRESS: return read_progress(env, value, &s->progress);
    case KEY_CHECKPOINT: s->checkpoint = value; return true;
    case KEY_EVERY: return read_every(env, value, s);
    case KEY_RESUME: s->resume = true; return true;
    case KEY_PROFILE: s->profile = true; return true;
    case KEY_GUARD: s->guard = true; return true;
    case KEY_HELP:
        *ask = NN_ASK_DONE;
        if (s->command) {
            text_command_help(env, &t, s->program, s->command, name);
        } else {
            nn_text_usage(env, &t, s->program, name);
            text_options(env, &t);
        }
        return print_text(env, NN_OUT, &t);
    case KEY_VERSION: *ask = NN_ASK_DONE; return print_line(env, s->program->version);
    case KEY_SUMMARY: *ask = NN_ASK_DONE; return print_line(env, s->program->summary);
    case KEY_PLAN: *ask = NN_ASK_DONE; return print_line(env, s->program->plan);
    case KEY_OF_COMMAND: break;
    }
    return take_own(env, s, (int64_t)key - KEY_OF_COMMAND, value);
}

/* What may not stand together, and what must be there. */
static bool check_all(struct nn_env *env, struct nn_settings *s, bool every) {
    if (s->data && !nn_is_folder(s->data)) {
        return nn_fail(env, NN_BAD_INPUT, "--data=%s: there is no such folder", s->data);
    }
    if (!s->checkpoint && s->resume) return nn_fail(env, NN_BAD_INPUT, "--resume needs --checkpoint=FILE: what to go on from");
    if (!s->checkpoint && every) return nn_fail(env, NN_BAD_INPUT, "--every needs --checkpoint=FILE: where to write");
    if (s->checkpoint && !every) s->every_seconds = 30;
    for (int64_t i = 0; i < s->command->n_inputs; i++) {
        if (s->inputs[i]) continue;
        return nn_fail(env, NN_BAD_INPUT, "the command `%s` needs --%s=FILE", s->command->name, s->command->inputs[i].name);
    }
    return true;
}

/* An option whose value is the name of a file or a folder. */
static bool is_place(enum key key) {
    return key == KEY_DATA || key == KEY_WEIGHTS || key == KEY_INIT || key == KEY_SAVE_INIT || key == KEY_SAVE ||
           key == KEY_OUT || key == KEY_LOG || key == KEY_CHECKPOINT;
}

static bool read_options(struct nn_env *env, struct nn_settings *s, int argc, char **argv, const struct option *table,
                         const char *name, enum nn_ask *ask) {
    bool every = false;
    optind = 0; /* getopt begins anew: nnc has used it before */
    opterr = 0;
    for (;;) {
        int at = optind > 0 ? optind : 1;
        if (at < argc && !check_name(env, table, argv[at])) return false;
        int key = getopt_long(argc, argv, "+:", table, NULL);
        if (key == -1) break;
        if (key == ':') return nn_fail(env, NN_BAD_INPUT, "%s needs a value", argv[at]);
        if (key == '?') {
            bool has = strncmp(argv[at], "--", 2) == 0;
            return nn_fail(env, NN_BAD_INPUT,
                           has ? "%s: this option takes no value" : "there is no option %s; options are written in full",
                           argv[at]);
        }
        if (optarg && !*optarg && is_place((enum key)key)) return nn_fail(env, NN_BAD_INPUT, "%s: nothing is named", argv[at]);
        every |= key == KEY_EVERY;
        if (!take(env, s, (enum key)key, optarg, name, ask)) return false;
        if (*ask == NN_ASK_DONE) return true;
    }
    if (optind < argc && !s->command)
        return nn_fail(env, NN_BAD_INPUT, "`%s` stands behind options: a command comes first: %s COMMAND --name=value",
                       argv[optind], name);
    if (optind < argc) return nn_fail(env, NN_BAD_INPUT, "what is `%s`? Options are written --name=value", argv[optind]);
    return !s->command || check_all(env, s, every);
}

static bool find_command(struct nn_env *env, const struct nn_program *p, const char *given, struct nn_settings *s) {
    const char *nearest = NULL;
    int best = 1 + (int)strlen(given) / 3;
    for (int64_t i = 0; i < p->n_commands; i++) {
        if (strcmp(p->commands[i].name, given) == 0) s->command = &p->commands[i];
        int d = nn_name_distance(given, p->commands[i].name);
        if (d <= best) nearest = p->commands[i].name, best = d;
    }
    if (s->command) return true;
    return nn_fail(env, NN_BAD_INPUT, "there is no command `%s`%s%s%s", given,
                   nearest ? "; did you mean `" : "; --help lists them", nearest ? nearest : "", nearest ? "`?" : "");
}

static bool make_values(struct nn_env *env, struct nn_settings *s) {
    const struct nn_command *c = s->command;
    s->inputs = nn_alloc_n(env, c->n_inputs, sizeof *s->inputs);
    s->outputs = nn_alloc_n(env, c->n_outputs, sizeof *s->outputs);
    s->options = nn_alloc_n(env, s->program->n_slots, sizeof *s->options);
    if (!s->inputs || !s->outputs || !s->options) return false;
    for (int64_t i = 0; i < s->program->n_slots; i++) {
        const struct nn_slot *slot = &s->program->slots[i];
        if (slot->kind == NN_OPTION) nn_value_put(s->options[i].value, slot->elem, 0, slot->fill);
    }
    return true;
}

bool nn_settings_read(struct nn_env *env, const struct nn_program *program, int argc, char **argv, struct nn_settings *s,
                      enum nn_ask *ask) {
    *s = (struct nn_settings){.program = program, .seed = 1};
    *ask = NN_ASK_NOTHING;
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL, *name = slash ? slash + 1 : argc > 0 ? argv[0] : "model";
    if (argc < 2) {
        struct nn_text t = {0};
        nn_text_usage(env, &t, program, name);
        return print_text(env, NN_ERR, &t);
    }
    bool has_command = argv[1][0] != '-';
    if (has_command && (!find_command(env, program, argv[1], s) || !make_values(env, s))) return false;
    struct option *table;
    if (!make_table(env, s, &table)) return false;
    bool good = read_options(env, s, argc - has_command, argv + has_command, table, name, ask);
    nn_free(env, table);
    if (good && *ask == NN_ASK_NOTHING) {
        if (!has_command)
            return nn_fail(env, NN_BAD_INPUT, "a command comes first: %s COMMAND --name=value; --help lists them", name);
        *ask = NN_ASK_COMMAND;
    }
    return good;
}

void nn_settings_free(struct nn_env *env, struct nn_settings *s) {
    nn_free(env, s->inputs);
    nn_free(env, s->outputs);
    nn_free(env, s->options);
}
