/*
 * settings.h - what a command line of a finished program says, checked and turned into values.
 */
#ifndef NN_SETTINGS_H
#define NN_SETTINGS_H

#include "abi.h"
#include "env.h"

enum nn_progress { NN_AUTO, NN_LINES, NN_QUIET };

struct nn_option { /* the value of an option of the source, in its element type */
    _Alignas(8) char value[8];
    bool given;
};

struct nn_settings {
    const struct nn_program *program;
    const struct nn_command *command;
    const char *data, *weights, *init, *save_init, *save, *out, *log, *checkpoint; /* NULL: not given */
    double every_seconds;                                                          /* 0: not by time */
    int64_t every_steps;                                                           /* 0: not by steps */
    bool resume, no_shuffle, profile, guard;
    int64_t threads, batches, turns; /* 0: not given */
    uint64_t seed;
    enum nn_progress progress;
    const char **inputs;       /* the value of each input of the command */
    const char **outputs;      /* the file of each output, NULL: none was named */
    struct nn_option *options; /* by slot; those of kind NN_OPTION */
};

/* What a command line asks for. */
enum nn_ask { NN_ASK_NOTHING, NN_ASK_COMMAND, NN_ASK_DONE }; /* DONE: it was --help, --version, ...: printed */

/* Reads argv. Prints what --help and its kin ask for. False after an error. s is to be freed by nn_settings_free. */
bool nn_settings_read(struct nn_env *env, const struct nn_program *program, int argc, char **argv, struct nn_settings *s,
                      enum nn_ask *ask);
void nn_settings_free(struct nn_env *env, struct nn_settings *s);

/* What the program is: its commands, with inputs, outputs and options. */
void nn_text_usage(struct nn_env *env, struct nn_text *t, const struct nn_program *p, const char *name);

#endif
