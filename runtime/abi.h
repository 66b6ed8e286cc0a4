/*
 * abi.h - the one header that compiled programs, the backend and the runtime share.
 *
 * A compiled program exports `const struct nn_program nn_program`: its slots, data sets, commands as trees, and a step function for each
 * straight stretch of a command. The runtime walks the trees, reads data, and calls steps.
 *
 * A step computes: it reads slots from the frame (and batch fields through pointers), writes slots to the frame, and uses an arena of scratch. It allocates
 * nothing and keeps nothing. All threads that the step takes call the same step with the same nn_call but for `thread`; it meets the
 * others at nn_barrier where data cross threads, so all of them must call it.
 */
#ifndef NN_ABI_H
#define NN_ABI_H

#include <stdint.h>

enum { NN_ABI = 4, NN_ALIGN = 64 };

enum nn_elem { NN_F32, NN_F64, NN_I32, NN_I64, NN_U8, NN_BOOL }; /* in the order of the compiler's Elem */
enum nn_slot_kind {
    NN_PARAM,
    NN_STATE,
    NN_OPTSTATE,
    NN_VAR,
    NN_OPTION,
    NN_COUNTER,
    NN_STEP,
    NN_KEY,
    NN_FIRST,
    NN_FIELD,
    NN_INPUT
};
enum nn_arg_kind { NN_ARG_INT, NN_ARG_REAL, NN_ARG_BOOL, NN_ARG_STR, NN_ARG_INTS, NN_ARG_VOCAB };
enum nn_node_kind { NN_RANGE, NN_DATA, NN_CALL, NN_TRACK, NN_KEEP, NN_STOP, NN_PRINT, NN_SAVE, NN_LOAD, NN_WRITE };

/* What went wrong inside a step; the first one stays. Written by one thread only (compare and swap on `kind`). */
enum nn_fault_kind { NN_NO_FAULT, NN_INDEX, NN_DIVIDE, NN_MEMORY }; /* MEMORY: of the evaluator alone */
struct nn_fault {
    int64_t kind;
    int64_t line;
    int64_t value, bound; /* INDEX: the index, and the size of the axis */
};

struct nn_func;

struct nn_barrier;

/* Whoever wants to know how far a step is: compiled code calls lap behind each kernel (k: its index) and each barrier (k: the number of kernels), the runtime in front of
 * the first (k: -1). --profile and --guard have what they need behind it. */
struct nn_watch {
    void (*lap)(struct nn_watch *watch, int64_t k);
    int64_t apart; /* bytes from the watch of a thread to that of the next one; 0: thread 0 alone is watched */
};

struct nn_call {
    char *frame;               /* slots at their offsets; 64-byte aligned */
    char *arena;               /* nn_func.arena bytes of scratch and .own for each thread; 64-byte aligned */
    const void *const *fields; /* the batch: one pointer a FIELD or INPUT slot, by its offset; at least element-aligned */
    int64_t batch;             /* B */
    int64_t thread, threads;
    struct nn_barrier *barrier;
    struct nn_fault *fault;
    const struct nn_func *func;
    struct nn_watch *watch; /* of thread 0, and from there on of the others; in a step, of its thread; NULL: nobody watches */
};

typedef void nn_step(struct nn_call *);

/* Waits until all call->threads threads are here: awake at first, then asleep. Called by compiled code. */
void nn_barrier_wait(struct nn_call *call);
/* Hands out the turns 0..total-1 of a shared loop, each to one thread: the calling one is to make turns from what is returned up to *end, and then to ask again; -1:
 * no turns are left. first: not 0 where a thread begins with a loop. All threads come to the same loops in the same order, none of them inside another. */
int64_t nn_turns(struct nn_call *call, int64_t total, int64_t first, int64_t *end);

#define STRUCT(name) struct name {
#define END(name)                                                                                                                \
    }                                                                                                                            \
    ;
#define I64(m) int64_t m;
#define U64(m) uint64_t m;
#define F64(m) double m;
#define STR(m) const char *m;
#define STRS(m)                                                                                                                  \
    const char *const *m;                                                                                                        \
    int64_t n_##m;
#define INTS(m)                                                                                                                  \
    const int64_t *m;                                                                                                            \
    int64_t n_##m;
#define LIST(type, m)                                                                                                            \
    const struct type *m;                                                                                                        \
    int64_t n_##m;
#define FN(m)  nn_step *m;
#define PTR(m) void *m;
#include "abi.def"

/* The bits of random draws, the same in compiled code, evaluator and runtime: Philox4x32-10 (Salmon et al. 2011) for draws; nn_mix stirs counters into keys.
 * The key that a step reads (SLOT_KEY) is nn_mix(...nn_mix(nn_mix(seed, turn of the outermost loop), turn of the next)...), the turn
 * counted from 0 as a 64-bit number; without loops, and for init functions, it is the seed itself. */

#endif
