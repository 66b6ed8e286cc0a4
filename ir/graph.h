/*
 * graph.h - the graph IR: pure, typed, single assignment. What the front end makes, the graph passes change and `lower` reads.
 *
 * A Module holds slots (everything that has a name and outlives a step: parameters, states, options, counters, batch fields, values
 * carried between the turns of a command's loops), data sets, vocabularies, functions, and commands as trees of loops and calls.
 * A Func is a straight stretch of a command (the body of a data loop is one: the training step). Its parameters read slots, its results
 * write slots, and in between there is no effect: a step is (params, batch) -> (params', tracked).
 *
 * WHAT THE OPS MEAN WHERE READERS COULD DIFFER
 *
 *  Shapes      Operands of an elementwise op have equal shapes; `broadcast` is written out. A dimension is a number, or n * B, where B is
 *              the number of samples of the batch (at most Func.batch_bound; it may be smaller at run time, and is at least 1).
 *  NaN         max(a, b) is (a >= b ? a : b), min (a <= b ? a : b): of equal values the first, and a NaN in a gives b, in b gives b.
 *              As reductions reduce_max, reduce_min, argmax, argmin, window_max give NaN (its first place) if there is one. Comparisons are IEEE's.
 *  Ties        argmax, argmin, sort, top_k, window_put and the gradients of reduce_max and reduce_min take the first in index order. sort is stable,
 *              NaN sorts as the largest: last by sort, first by top_k.
 *  Empty       sum 0, prod 1, any false, all true; max, min, argmax, argmin of nothing are refused by the type rule.
 *  Integers    add, sub, mul, neg wrap (two's complement; u8 modulo 256). floor_div and mod floor; by 0 the program ends (status 3). div is for floats.
 *  Quotients   of floats: mod has the sign of b and is smaller, exact but for one rounding (which may make it b), whatever the quotient; floor_div goes with it
 *              up to quotients of 2^24 (f64: 2^53), beyond it is the rounded quotient. By an infinite b mod is NaN.
 *  Convert     float to integer truncates, saturates, NaN gives 0; integer to integer wraps; to bool: != 0; round goes to even.
 *  Bounds      take, gather, dynamic_slice, dynamic_update check their indices: outside [0, n) is a run-time error with line and value.
 *  Zero        gradient rules whose factor can be infinite (div, log, sqrt, pow) give 0 for a zero cotangent.
 *  Denormals   are kept.
 *
 *  The order of sums (float types; it is part of what an op means, follows from sizes alone, never from threads or tiles):
 *   - contract and conv: for each output ONE chain  acc = fma(a, b, acc)  from acc = +0 over the flattened reduced index, the reduced labels in
 *     the order in which the SECOND operand lists them, the first slowest. The chain is cut at multiples of SUM_CHAIN: pieces are chains
 *     of their own, added by the pairwise tree below. Zeros of padding and the zeros between dilated elements are multiplied and added like any element.
 *   - sum over axes that include the last axis of the operand: the flattened reduced index r (reduced axes in increasing order, last fastest) is cut at multiples
 *     of SUM_CHAIN; in each piece 16 lanes, each from +0: lane[r mod 16] += x[r]; then lane[l] += lane[l + 8] for l < 8, then 4, 2, 1.
 *   - sum over axes without the last: acc = acc + x[r] from +0 in order of r, cut likewise. window_sum: one chain from +0 in order of the window's index.
 *     prod is a chain from 1 in order of r.
 *   - pairwise tree of pieces p[0..n): n = 1: p[0]; else tree(first m) + tree(rest), m the largest power of two below n.
 *   - take_add from +0, scatter_add from x: added in increasing (row-major) order of the index operand.
 *   - bit patterns of f32 functions (exp, log, tanh, ...) are those of math.def; sqrt, div and convert round correctly; fma is fused, everything else is not.
 *   - f64 follows the same orders with the C library's functions.
 *  What passes may assume: nothing that changes a bit of an f32 result, except where the header of the pass says so by name (simplify: the sign of a zero, whole
 *  powers as products; join, hoist, undilate: sums cut or ordered otherwise), and then for every machine alike. The graph behind the last pass has the bits.
 */
#ifndef NNC_IR_GRAPH_H
#define NNC_IR_GRAPH_H

#include "base.h"
#include "diag.h"

enum { SUM_CHAIN = 4096, SUM_LANES = 16, MAX_RANK = 10 };

/* ---- types ---- */

typedef enum Elem { F32, F64, I32, I64, U8, BOOL } Elem;
enum { ELEM_COUNT = BOOL + 1 };

typedef struct Dim {
    int64_t n;  /* the size, or the multiple of B */
    bool batch; /* n * B */
} Dim;

/* Interned: equal types are the same pointer. */
typedef struct Type {
    Elem elem;
    int rank;
    Dim dim[];
} Type;

const Type *type_make(Elem elem, int rank, const Dim *dims);
const Type *type_scalar(Elem elem);
const Type *type_with_elem(const Type *t, Elem elem);
bool dim_same(Dim a, Dim b);
/* Elements for a batch of B samples; for types without B any B does. */
int64_t type_count(const Type *t, int64_t B);
/* Has it more elements than a tensor may have (D6), with the largest batch? */
bool type_too_large(const Type *t, int64_t bound);
int64_t dim_size(Dim d, int64_t B);
bool type_has_batch(const Type *t);
bool elem_is_float(Elem e);
bool elem_is_int(Elem e); /* i32 i64 u8 */
int elem_size(Elem e);    /* bytes */
const char *elem_name(Elem e);
bool elem_by_name(const char *name, Elem *e);
/* "f32[B, 28, 28]", "f32" for a scalar; interned. */
const char *type_name(const Type *t);
/* With the bound of B written out: "f32[B<=64, 28, 28]", "f32[2*(B<=64)]"; bound 0: as type_name. */
const char *type_name_bound(const Type *t, int64_t bound);
/* "28", "B", "2*B"; interned. */
const char *dim_text(Dim d);
/* Equal but for the element type. */
bool type_same_shape(const Type *a, const Type *b);
/* The axis that holds B, or -1. */
int type_batch_axis(const Type *t);
/* Is this a legal shape: rank, no negative size, B on at most one axis and k * B on the leading one only (N6), at most 2^40 elements (D6, B counted as 1)?
 * NULL, or what is wrong. Every rule of op_infer asks this of its results; type_make does not. */
const char *type_fault(int rank, const Dim *dims);
/* ... of a buffer of the loops, where k * B may stand on any axis: panels [k, 4 * B rows, 16 columns]. */
const char *type_fault_in_memory(int rank, const Dim *dims);

/* ---- ops ---- */

typedef enum OpCode {
#define OP(name, ...) OP_##name,
#include "ops.def"
#undef OP
    OP_COUNT
} OpCode;

typedef enum AttrKind { ATTR_INT, ATTR_BOOL, ATTR_REAL, ATTR_STR, ATTR_INTS, ATTR_REALS } AttrKind;

typedef enum AttrKey {
#define ATTR(name, kind) A_##name,
#include "ops.def"
#undef ATTR
    ATTR_KEY_COUNT
} AttrKey;

typedef struct Attr {
    AttrKey key;
    union {
        int64_t i; /* INT, BOOL; a u64 is kept in its bits */
        double f;
        const char *s; /* interned */
        struct {
            const int64_t *at;
            int64_t n;
        } ints;
        struct {
            const double *at;
            int64_t n;
        } reals;
    };
} Attr;

typedef struct Value Value;
typedef struct Op Op;
typedef struct Block Block;
typedef struct Func Func;
typedef struct Module Module;
typedef struct Slot Slot;
typedef Vec(Slot *) Slots;

/* The result of an op or the parameter of a block. */
struct Value {
    const Type *type;
    const char *name; /* a hint (interned, may be NULL); the printer makes names unique */
    Op *def;          /* NULL for a block's parameter */
    Block *block;     /* the block whose parameter it is, or in which `def` stands */
    int index;        /* which result of def, which parameter of block */
    int id;           /* unique in its Func: an index for side tables; Func.n_values is the bound */
};

struct Op {
    OpCode code;
    int n_in, n_out, n_attrs, n_blocks;
    Value **in;
    Value **out;
    Attr *attrs; /* in the order of the op's row */
    Block **blocks;
    Loc loc;
    Op *prev, *next;
    Block *block;
};

/* A straight list of ops. The body of a Func, of scan, while, kernel. Ops of a nested block may use values of the blocks around it. */
struct Block {
    Func *func;
    Op *op; /* the op whose block it is, NULL for the body of a Func */
    Vec(Value *) params;
    Op *first, *last;
    Vec(Value *) results;
};

struct Func {
    Module *module;
    const char *name; /* "train.step", "init.net.dense_1.w"; without the @ */
    Loc loc;
    int64_t batch_bound;       /* largest B, 0 if the function has no batch */
    Block *body;               /* param i reads in_slots.at[i]; result i is written to out_slots.at[i] when the function ends */
    Slots in_slots, out_slots; /* of a step read from text: what it loads and stores */
    int n_values;
};

/* One row of ops.def as data. */
typedef struct OpInfo {
    const char *name;
    const char *operands;   /* names for documentation: "x", "a, b"; "..." at the end: any number more */
    const char *attr_names; /* "axes keepdims" */
    bool elementwise;
    const char *
        stages; /* which of 'g' (from the front end), 'e' (grads expanded), 'k' (fused: inside a kernel), 't' (fused: outside kernels) */
    const char *doc;    /* one line */
    int min_in, max_in; /* max_in -1: any number */
    int n_attrs;
    AttrKey attrs[8];
} OpInfo;

extern const OpInfo *const op_info;     /* [OP_COUNT] */
OpCode op_by_name(const char *name);    /* OP_COUNT if there is none */
bool op_is_function(OpCode code);       /* exp, log, sin, ..: a polynomial and more, tens of operations an element */
bool op_scatters_one(const Op *op);     /* scatter_add to a constant, one index along the axis: an element is a comparison */
AttrKey attr_by_name(const char *name); /* ATTR_KEY_COUNT if there is none */
/* The table of ops as `nnc --list-ops` shows it: markdown. */
void ops_print_table(FILE *out);
AttrKind attr_kind(AttrKey key);
const char *attr_name(AttrKey key);

/* Attributes; asking for one that the op does not have is a bug. */
const Attr *op_attr(const Op *op, AttrKey key);
int64_t op_int(const Op *op, AttrKey key);
double op_real(const Op *op, AttrKey key);
const char *op_str(const Op *op, AttrKey key);
int64_t op_ints(const Op *op, AttrKey key, const int64_t **at); /* returns n */

/* The type rule of the op: given operands, attributes and blocks, checks them and fills types[0..n_out). Ops whose result type is not determined
 * by these (constant, broadcast, reshape, convert, ...) check and keep op->out[i]->type, which must be set. Returns NULL or what is
 * wrong, as a sentence without a full stop ("the inner sizes differ (400, 256)"). */
const char *op_infer(Arena *a, const Op *op, const Type **types);

/* Blocks that the op must have. */
int op_block_count(OpCode code);
/* Where a label of the spec of contract or conv stands: the axis in each operand and in the result, -1 where it does not. False: the spec has no
 * form "ab,bc->ac". */
bool spec_axes(const char *spec, char label, int *a, int *b, int *out);

/* ---- building ---- */

typedef struct Builder {
    Arena *arena;
    Func *func;
    Block *block; /* ops are added at its end, or before `before` */
    Op *before;   /* NULL: at the end */
    Loc loc;      /* of the ops made next */
} Builder;

Module *module_new(Arena *a);
Func *func_new(Module *m, const char *name, Loc loc);
/* Adds a parameter that reads the slot. One slot is read by at most one parameter of a function: func_read returns the one there is. */
Value *func_read(Func *f, Slot *s);
void func_write(Func *f, Slot *s, Value *v);
Builder builder_at_end(Func *f);
Block *block_new(Func *f, Op *owner);
Value *block_param(Block *b, const Type *t, const char *name);

/* The general way to make an op. `type` is the result's type where the rule does not determine it, else NULL. A violated rule is a bug (the
 * front end checks before it builds). Returns the first result (NULL if it has none). Blocks and several results: op_make_full. */
Value *op_make(Builder *b, OpCode code, int n_in, Value *const *in, int n_attrs, const Attr *attrs, const Type *type);
Op *op_make_full(Builder *b, OpCode code, int n_in, Value *const *in, int n_attrs, const Attr *attrs, int n_blocks,
                 Block *const *blocks, int n_out, const Type *const *types);

/* As op_make, for a builder that does not know yet whether the rule holds: NULL, and *why says what is wrong, if it does not. */
Value *op_try(Builder *b, OpCode code, int n_in, Value *const *in, int n_attrs, const Attr *attrs, const Type *type,
              const char **why);

Op *op_try_full(Builder *b, OpCode code, int n_in, Value *const *in, int n_attrs, const Attr *attrs, int n_blocks,
                Block *const *blocks, int n_out, const Type *const *types, const char **why);

Attr attr_i(AttrKey key, int64_t v);
Attr attr_f(AttrKey key, double v);
Attr attr_s(AttrKey key, const char *v);
Attr attr_ints(Arena *a, AttrKey key, const int64_t *at, int64_t n);
Attr attr_reals(Arena *a, AttrKey key, const double *at, int64_t n);

/* Short forms used everywhere. Shapes as the op's row says. */
Value *g_unary(Builder *b, OpCode code, Value *x);
Value *g_binary(Builder *b, OpCode code, Value *x, Value *y);
Value *g_select(Builder *b, Value *cond, Value *x, Value *y);
Value *g_constant(Builder *b, const Type *t, double value);
Value *g_convert(Builder *b, Value *x, Elem elem);
Value *g_reshape(Builder *b, Value *x, int rank, const Dim *dims);
Value *g_broadcast(Builder *b, Value *x, int rank, const Dim *dims,
                   const int64_t *axes); /* operand axis i is result axis axes[i] */
Value *g_transpose(Builder *b, Value *x, const int64_t *perm);
Value *g_reduce(Builder *b, OpCode code, Value *x, int n, const int64_t *axes); /* drops the axes */
Value *g_contract(Builder *b, const char *spec, Value *x, Value *y);
Value *g_slice(Builder *b, Value *x, const int64_t *start, const int64_t *limit, const int64_t *step);
Value *g_part(Builder *b, Value *x, int64_t axis, int64_t from,
              int64_t to); /* x[from..to] along one axis, which is not the batch */
Value *g_concat(Builder *b, int n, Value *const *xs, int64_t axis);
Value *g_batch(Builder *b); /* B as i32 scalar */

/* ---- changing ---- */

void op_remove(Op *op); /* unlinks; nothing may use its results any more */
void op_move_before(Op *op, Op *place);
/* Every use of `from` in the function (operands and results of all blocks) becomes `to`. O(size of function); passes that replace many
 * keep a map and apply it once with func_replace_all (map indexed by value id, with func->n_values entries at the time of the call;
 * NULL: unchanged; chains are followed). */
void value_replace(Func *f, Value *from, Value *to);
void func_replace_all(Func *f, Value *const *map);
/* Copies an op with its blocks before b->before / at the end of b->block; operands (and values captured by blocks) go through map (by id; NULL entry: the same
 * value), and map gets the copies' results. `map` must have room for func->n_values entries at the time of the call; new values have ids beyond. */
Op *op_clone(Builder *b, const Op *op, Value **map);
/* Gives the attribute of the same key another value. */
void op_set_attr(Arena *a, Op *op, Attr attr);
/* One more result, after the others: for scan, whose block and attributes the caller makes fit. */
Value *op_add_result(Arena *a, Op *op, const Type *t, const char *name);
/* Number of uses of every value, by id. Array of func->n_values ints in a. */
int *func_count_uses(Arena *a, const Func *f);
/* Calls visit on every op of the block and of blocks nested in it, outer before inner, in order. */
void block_walk(Block *b, void (*visit)(Op *op, void *arg), void *arg);
/* Whether an op of this kind stands in the block or in one nested in it; in any function. */
bool block_has(const Block *b, OpCode code);
bool module_has(const Module *m, OpCode code);
/* Values from outside that the op's blocks use (free variables), each once, in order of first use. */
typedef Vec(Value *) Values;
Values op_captures(Arena *a, const Op *op);

/* ---- slots: what lives longer than a step ---- */

typedef enum SlotKind {
    SLOT_PARAM,    /* trained; in weights and checkpoints */
    SLOT_STATE,    /* kept, not trained; in weights and checkpoints */
    SLOT_OPTSTATE, /* an optimizer's state, per (statement, copy, parameter); in checkpoints */
    SLOT_VAR,      /* of one command: carried values, tracked values and their averages, what is printed; in checkpoints */
    SLOT_OPTION,   /* a run-time scalar, given on the command line */
    SLOT_COUNTER,  /* i32: the turn of a loop over a range (its value) */
    SLOT_STEP,     /* i32: turns of learning loops since the command began (`step`) */
    SLOT_KEY, /* i64: hash of the run's seed and the turns of all enclosing loops: the key of random draws. For init functions: of the seed alone */
    SLOT_FIRST, /* i64: place in the epoch of the first sample of the batch */
    SLOT_FIELD, /* a field of the batch of a data loop, f32[B<=n, ...] */
    SLOT_INPUT, /* an input of a command */
} SlotKind;

struct Slot {
    SlotKind kind;
    const char *
        name; /* unique in the module: "net.dense_1.w", "lr", "train.loss", "training.image"; as --summary and files say it for params and states */
    const Type *type;
    Loc loc;
    int64_t batch_bound; /* largest B if the type has a batch dimension */
    Func *init;          /* PARAM, STATE, OPTSTATE: the function (one result) that makes the first value, or NULL: */
    double fill;         /* ... then every element is this. OPTION: its default */
    const char *command; /* VAR, COUNTER, STEP, FIELD, INPUT: whose it is */
    int index;           /* in module->slots */
};

/* ---- data ---- */

typedef enum ArgKind { ARG_INT, ARG_REAL, ARG_BOOL, ARG_STR, ARG_INTS, ARG_VOCAB } ArgKind;
typedef struct LoaderArg {
    const char *name; /* "columns", "header", ... */
    ArgKind kind;
    int64_t i; /* INT, BOOL; VOCAB: index in module->vocabs */
    double f;
    const char *s;
    const int64_t *ints;
    int64_t n_ints;
} LoaderArg;

typedef struct Loader {
    const char *kind; /* "idx", "csv", ...; NULL: chosen by the suffix of the file given (inputs and outputs of commands) */
    Vec(const char *) files;
    Vec(LoaderArg) args;
    Loc loc;
} Loader;

typedef struct Field {
    const char *name;
    const Type *type; /* of ONE sample */
    Loader loader;
    Loc loc;
} Field;

typedef struct DataSet {
    const char *name;
    bool shuffle; /* one fixed random order, the same for every seed */
    Vec(Field) fields;
    Loc loc;
} DataSet;

typedef struct Vocab {
    const char *name;
    const char *kind;        /* "words", "characters", "list" */
    Vec(const char *) files; /* or, for "list", the words */
    int64_t size;            /* with 0 (padding) and 1 (unknown) */
    Loc loc;
} Vocab;

/* ---- commands: trees that the runtime walks ---- */

typedef enum NodeKind {
    NODE_RANGE, /* for counter in lo..hi { body } */
    NODE_DATA,  /* for fields in sets { body } */
    NODE_CALL,  /* one function */
    NODE_TRACK, /* adds the slots' values to the sums of the loop around, weighted by samples */
    NODE_KEEP,  /* keep lowest|highest slot, of the loop around */
    NODE_STOP,  /* stop when lowest|highest slot stalls for n */
    NODE_PRINT,
    NODE_SAVE,
    NODE_LOAD,
    NODE_WRITE,
} NodeKind;

/* A number known when compiled, or a scalar slot (i32, i64 or an option; truncated towards zero is not done: the front end converts). */
typedef struct Bound {
    Slot *slot; /* NULL: the number */
    int64_t n;
} Bound;

typedef struct DataUse {
    DataSet *set;
    Bound from, to; /* the part of the samples; to.n == -1 without slot: to the end */
    int64_t batch;
    bool shuffle, resample, lanes, drop_last;
    Vec(Slot *) fields; /* SLOT_FIELD, in order of the set's fields; fewer: trailing ones are left out */
} DataUse;

typedef struct Tracked {
    Slot *value;      /* written by the body's functions */
    Slot *average;    /* SLOT_VAR of the same shape, f32: has the average when the loop has ended */
    const char *name; /* as in the log */
} Tracked;

typedef struct Piece {
    const char *text; /* a literal piece of a string, or NULL: */
    Slot *slot;       /* ... the value of the slot */
    int digits;       /* significant digits; 0: the default (7) */
} Piece;

typedef struct Node Node;
struct Node {
    NodeKind kind;
    Loc loc;
    Vec(Node *) body;     /* RANGE, DATA */
    bool learning;        /* RANGE, DATA: its own body updates parameters: counts `step` */
    bool epoch;           /* RANGE: a loop over `epoch`: log lines inside carry its counter */
    Slot *counter;        /* RANGE */
    Bound lo, hi;         /* RANGE */
    Vec(DataUse) sets;    /* DATA: the first decides how many turns; the others begin again */
    Func *func;           /* CALL */
    Vec(Tracked) tracked; /* TRACK */
    bool highest;         /* KEEP, STOP */
    Slot *slot;           /* KEEP, STOP: what is watched; WRITE: what is written */
    int64_t stalls;       /* STOP */
    Vec(Piece) pieces;    /* PRINT: the line; SAVE, LOAD, WRITE: the file's name */
    Vec(Slot *) slots;    /* SAVE, LOAD: parameters and states, each stored under its slot name */
};

typedef struct CommandIo {
    const char *name;
    Slot *slot; /* SLOT_INPUT, or SLOT_VAR for an output */
    Loader loader;
    Loc loc;
} CommandIo;

typedef struct Command {
    const char *name;
    Loc loc;
    Vec(CommandIo) inputs;
    Vec(CommandIo) outputs;
    Vec(Slot *) options;      /* the options of the source that it reads */
    Vec(Slot *) weights;      /* parameters and states that it reads before anything wrote or loaded them: it "needs weights" */
    bool learns;              /* it updates parameters: starts from initial values, not from a file */
    const char *weights_file; /* the program's only `save` of those weights; NULL: --weights must be given */
    Vec(Node *) body;
} Command;

/* An instance of a layer, for those who study the program (--summary): nothing is computed from it. What it owns are the slots whose names begin with
 * `name` and a point. */
typedef struct LayerUse {
    const char *name, *kind; /* "net.conv_1", "conv" */
    const char *output;      /* type of what its first application gave, "f32[B, 26, 26, 32]"; NULL: nothing */
    Loc loc;                 /* where the user's file applies it */
} LayerUse;

struct Module {
    Arena *arena;
    const char *source; /* file name of the program, as given */
    uint64_t hash;      /* of the source text and -D values */
    const char *flags;  /* those that the front end was given, as --version prints them; NULL: none */
    Vec(Slot *) slots;
    Vec(LayerUse) layers; /* in the order of the text, outer ones before their parts */
    Vec(DataSet *) data;
    Vec(Vocab *) vocabs;
    Vec(Func *) funcs; /* init functions first, then those of commands in order */
    Vec(Command *) commands;
};

Slot *slot_new(Module *m, SlotKind kind, const char *name, const Type *t, Loc loc);
Slot *slot_by_name(const Module *m, const char *name);
/* Does it stand for a batch of data or an input of a command, which lie outside the frame? */
bool slot_is_batch(const Slot *s);
bool slot_in_frame(const Slot *s); /* it lives from step to step; fields and inputs come with each batch */
int64_t slot_bytes(const Slot *s); /* of its elements, with the batch at its bound */
int64_t slot_room(const Slot *s);  /* bytes that it takes in the frame, up to where the next may begin: a multiple of 64 */
Func *func_by_name(const Module *m, const char *name);

/* ---- text ---- */

typedef enum Stage {
    STAGE_FRONT,    /* as the front end made it: grad ops */
    STAGE_EXPANDED, /* after autodiff: no grad */
    STAGE_FUSED,    /* after fuse: kernels */
} Stage;

/* The module as text; the first line is "graph STAGE". only: print this function alone (NULL: all). Reading what was printed and printing it again
 * gives the same bytes. */
void graph_print(const Module *m, Stage stage, const Func *only, Text *out, Arena *a);
/* Gives values that have a name the one that the text prints, for good: what is made of them is then named alike, whether or not the text came in between. */
void func_rename(Func *f);
/* One op on one line: for messages and dumps. */
const char *op_text(Arena *a, const Op *op);
/* Slots, data, vocabularies and commands: the part that a .loops file begins with, too. */
void module_print_header(const Module *m, Text *out, Arena *a);
/* One function as a picture for graphviz: types on the edges, the way back (places whose `what` begins with "gradient") apart from the way forward. */
void graph_print_dot(const Func *f, Text *out, Arena *a);
/* Reads a text; errors go to d (E06xx) and NULL comes back. */
Module *graph_parse(Arena *a, Diag *d, const char *file, const char *text, size_t n, Stage *stage);

/* ---- checking ---- */

/* Every rule: operands defined before use, types by op_infer, attributes, legality at the stage, slots and commands consistent. Returns NULL, or the
 * text of what is wrong: the op as printed, its neighbours, the reason. */
const char *graph_verify(Arena *a, const Module *m, Stage stage);
/* The rules of slots and commands alone, for a module whose functions are steps of loops. */
const char *module_verify(Arena *a, const Module *m);

#endif
