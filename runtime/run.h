/*
 * run.h - a command as it runs.
 *
 * The tree of the command is laid out as an array of items in the order of the text (every loop before its body). Where the run
 * is, is then the number of the item that comes next, and the turn of every loop around it: that and the frame are all that a
 * checkpoint needs.
 */
#ifndef NN_RUN_H
#define NN_RUN_H

#include "abi.h"
#include "data.h"
#include "env.h"
#include "settings.h"
#include "threads.h"

struct nn_batches; /* batch.h */
struct nn_tensor;

struct nn_item {
    const struct nn_node *node;
    int64_t end;  /* the item behind this one and all in it */
    int64_t loop; /* the loop around, -1: none */

    /* loops, while they run */
    int64_t turn, turns;    /* turns == -1: to the end of the data is not known yet */
    int64_t lo;             /* RANGE: the counter is lo + turn */
    uint64_t key;           /* of this turn: nn_mix(key of the loop around, turn) */
    int64_t samples;        /* of all finished turns; of a loop over a range: turns */
    int64_t batch;          /* DATA: samples of the batch at hand */
    double started, before; /* seconds: when it began, and what it had taken before a checkpoint */
    struct nn_batches *batches;
    bool tracks; /* some TRACK stands in its own body */
    bool epochs; /* some loop around is over `epoch` */

    /* TRACK */
    double *sums; /* all tracked values one behind the other */
    int64_t n_sums;
    double weight;

    /* KEEP, STOP */
    double best;
    bool any; /* best is there */
    int64_t stalled;
    char *kept; /* KEEP: copies of all that is kept, one behind the other */
};

struct nn_run {
    struct nn_env *env;
    const struct nn_program *program;
    const struct nn_command *command;
    const struct nn_settings *settings;

    struct nn_item *items;
    int64_t n_items;
    int64_t at;   /* the item that comes next */
    int64_t loop; /* the loop that it is in, -1: none */

    char *frame, *arena;
    const void **fields;
    char *weights_path;  /* NULL: none are read */
    int64_t input_batch; /* samples of the inputs; 1 without */
    int64_t steps;       /* turns of learning loops so far: `step` */
    int64_t *step_slots; /* where in the frame they stand */
    int64_t n_step_slots;
    char *tight; /* see nn_run_value */
    int64_t tight_bytes;
    int64_t computed; /* turns of loops whose own body computes: what --every=N counts */
    int64_t threads;  /* as many as are asked for and some step is worth */
    struct nn_team *team;

    struct nn_batches *spare; /* of the loop spare_of, which ended and may begin again; NULL: none */
    struct nn_item *spare_of;
    struct nn_data_reader reader;
    struct nn_set *sets;      /* one a data set of the program */
    struct nn_column *inputs; /* one an input of the command */

    int log;        /* descriptor, -1: none */
    int64_t logged; /* bytes in the log */
    double shown;   /* when the moving line was last written */
    bool moving;    /* it stands on the terminal */

    double saved_at; /* time and turns of the last checkpoint */
    int64_t saved_computed;
    struct nn_text data_note; /* what checkpoints say of the data: made with the first of them */

    struct nn_pace *paces; /* by function */
    double *func_seconds;  /* --profile: by function */
    int64_t *func_calls;
    struct nn_profile **profiles; /* --profile: by function, of its kernels (profile.c); NULL where it was not called */
    int64_t *func_batch;          /* ... and the sum of the batches of its calls */
    char *guarded;                /* --guard: the frame as it was before the call */
    double data_seconds;          /* --profile: in which the run waited for batches, or made them itself */
    int64_t data_calls;
};

/* Runs a command from its first statement to its outputs. Errors are in env->error; a signal gives status 128 + its number. */
bool nn_run_command(struct nn_env *env, const struct nn_settings *settings);

/* ---- call.c ---- */

/* Calls a function of the program on the frame and the batch at hand. An index out of range, a division by zero and, under --guard, a NaN are errors
 * that say where the run is. */
bool nn_run_call(struct nn_run *r, int64_t func);

/* The most threads that a call of the function may have in this run. */
int64_t nn_run_threads(const struct nn_run *r, const struct nn_func *f);

/* " at step 7 (turn 12 of the loop in line 33, epoch 3 of ...)", for messages. */
void nn_text_position(struct nn_run *r, struct nn_text *t);

/* ---- parts of run.c that checkpoints use ---- */

/* Begins turn `item->turn` of a loop: counter, key, batch. */
bool nn_run_turn(struct nn_run *r, int64_t item);
/* Can a loop have begun with item->lo and item->turns? They are not changed. False after an error: it cannot begin at all. */
bool nn_run_turns_fit(struct nn_run *r, int64_t item, bool *fit);
/* All slots of a kind that a checkpoint or weights hold, as tensors in the frame. kinds: bits 1 << enum nn_slot_kind. NULL: no
 * memory. */
struct nn_tensor *nn_run_tensors(struct nn_run *r, unsigned kinds, int64_t *n);
char *nn_run_slot(struct nn_run *r, int64_t slot); /* its place in the frame */
/* The elements of a slot one after the other. In the frame a tensor whose batch axis is not the first (x') has room for the bound on that axis, so a short batch
 * leaves holes: then this is a copy, valid until the next call. NULL: no memory. */
const char *nn_run_value(struct nn_run *r, int64_t slot);
enum { NN_KEPT = 1u << NN_PARAM | 1u << NN_STATE | 1u << NN_OPTSTATE, NN_WEIGHTS = 1u << NN_PARAM | 1u << NN_STATE };

/* ---- report.c: progress, log, averages ---- */

/* A turn of a loop has ended: the moving line. */
void nn_report_turn(struct nn_run *r, int64_t item);
/* A loop has ended: its line, and its object in the log. */
bool nn_report_loop(struct nn_run *r, int64_t item);
/* Removes the moving line, so that something else may be printed. */
void nn_report_clear(struct nn_run *r);
/* --log: begun anew, or, of a run that goes on, cut to the keep_bytes that it had when the checkpoint was written. */
bool nn_log_open(struct nn_run *r, int64_t keep_bytes, bool resumed);

/* ---- statements.c: print, save, load, write, keep, stop, track ---- */

bool nn_do_track(struct nn_run *r, struct nn_item *item, const struct nn_item *loop);
/* Puts the averages of a finished loop into their slots. */
void nn_do_averages(struct nn_run *r, const struct nn_item *track);
bool nn_do_keep(struct nn_run *r, struct nn_item *item);
void nn_do_put_back(struct nn_run *r, struct nn_item *item);
bool nn_do_stop(struct nn_run *r, struct nn_item *item); /* true: the loop ends */
bool nn_do_print(struct nn_run *r, const struct nn_node *node);
bool nn_do_save(struct nn_run *r, const struct nn_node *node);
bool nn_do_load(struct nn_run *r, const struct nn_node *node);
bool nn_do_write(struct nn_run *r, const struct nn_node *node);
/* The file that a save, load or write names, where that hangs on nothing; else NULL. */
static inline const char *nn_constant_name(const struct nn_node *node) {
    return node->n_pieces == 1 ? node->pieces[0].text : NULL;
}
/* Before the first statement: what the command will certainly load, and has not saved itself, is there and fits. */
bool nn_check_loads(struct nn_run *r);
/* Bytes of what `keep` remembers. */
int64_t nn_kept_bytes(const struct nn_program *p);
/* --save, --save-init: all parameters and states. */
bool nn_save_weights(struct nn_run *r, const char *path);
/* --init: all parameters and states of the program. --weights: those that the command needs. */
bool nn_load_init(struct nn_run *r, const char *path);
bool nn_load_weights(struct nn_run *r);
/* Where the weights are that the command needs (r->weights_path), if it needs any; their vocabularies are taken over. */
bool nn_find_weights(struct nn_run *r);
/* The sizes of a slot for the batch at hand; dims: room for its rank. */
void nn_run_dims(const struct nn_run *r, int64_t slot, int64_t *dims);
int64_t nn_run_batch(const struct nn_run *r); /* samples of the batch at hand */
/* "DIR/NAME" under --out. */
char *nn_out_path(struct nn_run *r, const char *name);

/* ---- input.c, output.c ---- */

bool nn_read_inputs(struct nn_run *r);
bool nn_write_outputs(struct nn_run *r);
/* Before the first statement: every file whose name is known, of options and of the command's own statements, can be written. */
bool nn_check_places(struct nn_run *r);
/* Writes a tensor by the suffix of the file. */
bool nn_write_tensor(struct nn_run *r, const char *path, const void *at, int64_t elem, const int64_t *dims, int64_t n_dims);

#endif
