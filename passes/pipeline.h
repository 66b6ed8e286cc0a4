/*
 * pipeline.h - the passes and the order in which they run.
 *
 * A pass takes the program from one stage to the same or a later one. The program is a graph (graph.h) until `lower` has made
 * loops (loops.h) of it; both have a text form, so that every pass can be tried alone: `nnc model.graph --passes=a,b,c
 * --emit=graph`. The table of all passes, in order, with what each takes and gives, is at the top of pipeline.c.
 *
 * To add a pass: its file, its line below, its row in pipeline.c (docs/how-to-add-a-pass.md).
 */
#ifndef NNC_PASSES_PIPELINE_H
#define NNC_PASSES_PIPELINE_H

#include "ir/graph.h"
#include "ir/loops.h"

#include <stdio.h>

struct Machine; /* the machine that is compiled for: passes/machine.h */

/* What every pass gets. */
typedef struct PassCtx {
    Arena *arena; /* lives as long as the program: ops, types' texts, loops */
    Diag *diag;   /* faults of the user's program */
    const struct Machine *machine;
    int64_t max_mem; /* bytes that a step may use; 0: no limit */
    int64_t threads; /* most threads a step may be planned for; 0: not limited */
    bool verify;     /* passes may check their own invariants at a cost (debug builds) */
} PassCtx;

/* The program on its way: which form it has, and what has been done to it. */
typedef struct Program {
    Module *graph;
    Stage stage;         /* of the graph; stays as it was when loops were made */
    LoopsProgram *loops; /* NULL until `lower` */
    LoopsStage loops_stage;
} Program;

/* Every pass returns false when it has reported an error through c->diag; the pipeline stops behind it. */

/* ---- passes over the graph ---- */
bool pass_infer(PassCtx *c, Module *m);
bool pass_simplify(PassCtx *c, Module *m);
bool pass_join(PassCtx *c, Module *m);
bool pass_autodiff(PassCtx *c, Module *m);
bool pass_hoist(PassCtx *c, Module *m);
bool pass_undilate(PassCtx *c, Module *m);
bool pass_unroll(PassCtx *c, Module *m);
bool pass_fuse(PassCtx *c, Module *m);

/* ---- from graph to loops ---- */
LoopsProgram *pass_lower(PassCtx *c, Module *m); /* NULL after an error */

/* ---- passes over loops ---- */
bool pass_halo(PassCtx *c, LoopsProgram *p);
bool pass_collapse(PassCtx *c, LoopsProgram *p);
bool pass_tile(PassCtx *c, LoopsProgram *p);
bool pass_vectorize(PassCtx *c, LoopsProgram *p);
bool pass_parallelize(PassCtx *c, LoopsProgram *p);
bool pass_plan(PassCtx *c, LoopsProgram *p);
bool pass_barriers(PassCtx *c, LoopsProgram *p); /* after plan: memory that is used again counts */

/* ---- running them ---- */

typedef struct PipelineOptions {
    const char *passes; /* "a,b,c": these in this order; NULL: all that apply from the program's stage on, in the table's order */
    const char *stop_after;  /* NULL: to the end */
    const char *print_after; /* "a,b": print the text after each of these */
    const char *only;        /* of what is printed: this function alone; NULL: all */
    bool print_after_all;
    bool print_changed; /* print what each pass changed, as a unified diff of texts */
    bool time_passes;   /* a table of milliseconds at the end */
    bool verify; /* verify after each pass; print, parse, print and compare too. On in debug builds (pipeline_verify_default) */
    /* --verify-passes: called before the first pass with pass == NULL and after each pass with its name. Returns NULL, or what is
     * wrong (a number that the pass changed), which the pipeline reports as a fault of ours with the pass's name. NULL: not
     * wanted. */
    const char *(*check)(void *arg, Program *p, const char *pass);
    void *check_arg;
    FILE *out; /* where texts go; NULL: stderr */
} PipelineOptions;

#ifdef NDEBUG
enum { PIPELINE_VERIFY_DEFAULT = 0 };
#else
enum { PIPELINE_VERIFY_DEFAULT = 1 };
#endif

/* Runs the passes. false: errors are in c->diag (unknown names of passes, a pass that does not take the stage, errors of passes).
 * A text that fails to verify is a bug(). */
bool pipeline_run(PassCtx *c, Program *p, const PipelineOptions *o);

/* Prints the table of passes: name, what it takes and gives, one line of what it does. */
void pipeline_list(FILE *out);

/* Names of all passes, for suggestions: returns their number. */
size_t pipeline_names(const char *const **names);

/* Appends the lines in which `after` differs from `before`, as a unified diff with three lines of context; returns whether there
 * are any. */
bool text_diff(Arena *a, const char *before, const char *after, Text *out);

#endif
