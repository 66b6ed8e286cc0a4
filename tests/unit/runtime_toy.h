/*
 * runtime_toy.h - a small program made by hand, for tests of the runtime without the compiler: linear regression with momentum, a
 * draw in every step, a carried value, a validation loop, keep and stop. Its steps are C functions. Source as it would be
 * written:
 *
 *    1  option lr = 0.05
 *    2  option epochs = 3
 *    3  data training { x: f32[3] = csv("train.csv", columns=0..3)   y: f32 = csv("train.csv", columns=3) }
 *    7  data testing  { the same of "test.csv" }
 *   10  command train {
 *   11      c = zeros([2])
 *   12      for epoch in 0..epochs {
 *   13          for x, y in training batch 5 shuffle { ... minimize loss over w, b ... track loss }
 *   14          for x, y in testing batch 4 { track test_loss }
 *   15          keep lowest test_loss
 *   16          stop when lowest test_loss stalls for 50
 *               }
 *   18      print "test loss {test_loss:.3}"
 *   19      save w, b to "toy.safetensors"
 *           }
 *   21  command predict(x: f32[B, 3]) -> (y: f32[B], z: i32[B]) { ... }
 */
#ifndef RUNTIME_TOY_H
#define RUNTIME_TOY_H

#include "runtime/abi.h"
#include "runtime/env.h"
#include "runtime/runtime.h"
#include <stdbool.h>

/* What a run is told to do, and what it did. */
struct toy {
    int stop_at;       /* the call of a step at which SIGTERM "comes"; 0: never */
    int kill_at;       /* ... at which the process is killed, before the step is done */
    int calls;         /* steps so far, training and validation */
    int fault_at;      /* ... that reports an index out of range */
    int nan_at;        /* ... that writes a NaN */
    float first_x[64]; /* x[0] of the first samples seen in training */
    int seen;
    uint64_t keys[64]; /* of the first training steps */
    int n_keys;
    const float *losses; /* what the validation of each epoch finds; NULL: what is true */
    int stalls;          /* of `stop`; 0: 50 */
    int longest;         /* largest batch */
    volatile int stop;
    char *out, *err; /* what was printed; freed by toy_free */
    size_t n_out, n_err;
    long fail_after; /* the allocation that fails, counted from 1; 0: none */
    long allocations;
    long write_limit; /* bytes that files take before the disk is full; -1: no limit */
    bool terminal;
    bool deaf;    /* standard output takes nothing */
    double clock; /* seconds; moves by 0.001 a look */
};

/* The program; the same one at every call, but for what its steps do: that is in *toy. */
const struct nn_program *toy_program(struct toy *toy);
void toy_free(struct toy *toy);
/* Runs "toy ARGS..." (words at spaces) with the system of *toy in place of the real one; returns the exit status. */
int toy_run(struct toy *toy, const char *args);
int toy_run_program(struct toy *toy, const struct nn_program *program, const char *args);

/* A folder of this test alone, with train.csv (37 rows) and test.csv (10 rows) in it; its path. */
const char *toy_folder(void);
/* "FOLDER/name", in one of a few static buffers. */
const char *toy_path(const char *name);
void toy_write(const char *name, const void *at, size_t n);
/* The bytes of a file, with a NUL behind; NULL: there is none. Freed by the caller. */
char *toy_read(const char *name, size_t *n);
bool toy_exists(const char *name);
void toy_remove(const char *name);

#endif
