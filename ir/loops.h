/*
 * loops.h - the loops IR: each function of the graph as a step, a tree of kernels over planned memory.
 *
 * A Step is a tree of nodes: kernels, loops of its own (scan, while: uniform over threads) and barriers. A Kernel is a list of statements: loop
 * nests over buffers with affine indices, scalar lets, accumulators in registers, stores. Every thread runs the whole tree; a loop marked `parallel` is
 * shared out, anything of a kernel outside `parallel` loops is run by thread 0 alone when the kernel has none, and by every thread (for
 * itself: lets, accumulators, index lets, and stores to per-thread buffers) when it has one.
 *
 *   step @train.step batch B<=128 threads 2 arena 123456 own 4096 {
 *     buffer %x: u8[B, 784] field 0
 *     buffer %w: f32[784, 512] slot "net.dense_1.w"
 *     buffer %h: f32[B, 512] arena 0
 *     kernel @dense.1 {                                                   @ mlp.nn:22
 *       for i in 0..B, j in 0..512 {
 *         acc s: f32 = 0
 *         for k in 0..784 { s = fma(convert(%x[i, k]), %w[k, j], s) }
 *         %h[i, j] = max(0, add(s, %b[j]))
 *       }
 *     }
 *     barrier
 *     ...
 *   }
 *
 * WHAT IT MEANS
 *  - Indices are affine: sums of constant * variable, plus a constant. Variables are loop variables, B, the counters of the step's loops, and `index`
 *    lets: q = affine / c, r = affine % c (c > 0, floor), or an integer loaded from a buffer (gather, scatter).
 *  - A load whose buffer access is marked `else v` gives the constant v where any index lies outside its axis; every other access must be
 *    inside (the verifier proves what it can; run-time indices stand behind a `check`).
 *  - A loop runs var = lo, lo + step, ... while var < every one of its limits. Marks: `parallel` (iterations are independent and may be run in any order; directly
 *    nested parallel loops count as one space, shared out in contiguous static parts), `vector` (iterations are lanes: the backend evaluates the body once on
 *    vectors of `width`, remaining lanes masked off), `unroll` (the body is repeated when compiled: constant trip count, or constant upper bound
 *    with the rest guarded).
 *  - acc: mutable scalars or small arrays that live in registers: after vectorize/unroll every index into one is a constant, or constant + the vector
 *    loop's variable. An acc indexed by a vector loop's variable is a vector register per `width` elements.
 *  - Scalar arithmetic is that of the graph's elementwise ops, element type by element type; nothing is reassociated or contracted.
 *  - `tree(op, a)`: the 16 elements of acc a combined as graph.h says: a[l] = op(a[l], a[l + 8]) for l < 8, then 4, 2, 1.
 */
#ifndef NNC_IR_LOOPS_H
#define NNC_IR_LOOPS_H

#include "graph.h"

/* ---- variables and affine indices ---- */

typedef enum VarKind {
    VAR_LOOP,  /* of a For statement, or the counter of a step's loop */
    VAR_BATCH, /* B: one a step */
    VAR_INDEX, /* of an Index statement */
} VarKind;

typedef struct Var {
    VarKind kind;
    const char *name; /* a hint: the text makes names unique where they are known */
    int id;           /* unique in its step */
} Var;

typedef struct Term {
    Var *var;
    int64_t factor; /* not 0 */
} Term;

/* Sum of factor * var + constant; terms sorted by var->id, each var once. Immutable, in an arena. */
typedef struct Affine {
    int n;
    int64_t constant;
    Term term[];
} Affine;

const Affine *affine_constant(Arena *a, int64_t k);
const Affine *affine_var(Arena *a, Var *v);
const Affine *affine_add(Arena *a, const Affine *x, const Affine *y);
const Affine *affine_scale(Arena *a, const Affine *x, int64_t factor);
const Affine *affine_add_constant(Arena *a, const Affine *x, int64_t k);
const Affine *affine_substitute(Arena *a, const Affine *x, const Var *v, const Affine *by);
int64_t affine_factor(const Affine *x, const Var *v); /* 0 if v is not in it */
bool affine_is_constant(const Affine *x);
bool affine_same(const Affine *x, const Affine *y);

/* ---- buffers ---- */

typedef enum PlaceKind {
    PLACE_NONE,   /* not planned yet: a temporary */
    PLACE_ARENA,  /* `offset` bytes into the arena */
    PLACE_THREAD, /* a copy a thread: `offset` bytes into the thread's own part, which lies at arena + thread * own */
    PLACE_SLOT,   /* the slot's place in the frame */
    PLACE_FIELD,  /* nn_call.fields[] of the slot: read only */
    PLACE_DATA,   /* constant numbers in the program */
} PlaceKind;

typedef struct Buffer {
    const char *name;
    Elem elem; /* BOOL takes one byte */
    int rank;
    Dim *dim;
    int64_t *
        stride; /* in elements; for a batch dimension counted at the bound. Row-major without gaps unless layout decided otherwise */
    PlaceKind place;
    int64_t offset;      /* ARENA, THREAD: bytes, 64-byte aligned */
    int64_t bytes;       /* at the bound */
    Slot *slot;          /* SLOT, FIELD */
    const double *data;  /* DATA: row-major */
    struct Buffer *same; /* shares the memory of this buffer (a reshape, an update in place); NULL: its own */
    Loc loc;
    int id; /* index in step->buffers */
} Buffer;

/* ---- scalar expressions ---- */

typedef enum ExprKind {
    EXPR_CONST,   /* value, of type elem */
    EXPR_LOAD,    /* buffer[index...] */
    EXPR_TEMP,    /* a let, or an acc (with index if it is an array) */
    EXPR_INDEX,   /* an affine index as a number of type elem (i32, i64) */
    EXPR_OP,      /* an elementwise op of ops.def on args */
    EXPR_UNIFORM, /* uniform(key: i64, element: i64) at `site` -> f32 */
    EXPR_TREE,    /* tree(op, acc of 16) */
} ExprKind;

typedef struct Temp Temp;

typedef struct Expr {
    ExprKind kind;
    Elem elem;
    OpCode op;    /* OP, TREE */
    double value; /* CONST (i64 constants too: whole numbers below 2^53) */
    int64_t site; /* UNIFORM */
    Buffer *buffer;
    Temp *temp;
    int n_index;
    const Affine **index; /* LOAD, TEMP: one an axis; INDEX: one */
    bool guarded;         /* LOAD: outside gives `value` */
    int n_args;
    struct Expr **args;
} Expr;

struct Temp {
    const char *name; /* unique in its kernel */
    Elem elem;
    bool acc;
    int rank; /* acc arrays */
    int64_t dim[4];
    int id; /* unique in its kernel */
};

/* ---- statements ---- */

typedef enum StmtKind {
    STMT_FOR,
    STMT_LET,      /* temp = value, once */
    STMT_ACC,      /* declares temp; every element starts as value */
    STMT_ASSIGN,   /* acc[index...] = value */
    STMT_STORE,    /* buffer[index...] = value */
    STMT_INDEX,    /* var = affine / by, affine % by, or an integer expression */
    STMT_CHECK,    /* 0 <= var < size, else the step's fault is set (first one stays) and var becomes 0 */
    STMT_IF,       /* body if affine >= 0 */
    STMT_PREFETCH, /* buffer[index...] will be used soon: a hint, without a meaning. Outside of the buffer it does no harm */
} StmtKind;

typedef enum Mark { MARK_SERIAL, MARK_PARALLEL, MARK_VECTOR, MARK_UNROLL } Mark;
typedef enum IndexKind { INDEX_DIV, INDEX_MOD, INDEX_VALUE } IndexKind;

typedef struct Stmt Stmt;
typedef struct Body {
    Stmt *first, *last;
} Body;

struct Stmt {
    StmtKind kind;
    Stmt *prev, *next;
    Loc loc;
    /* FOR */
    Var *var; /* also INDEX, CHECK */
    const Affine *lo;
    int n_limits;
    const Affine **limits; /* runs while var < all of them */
    int64_t step;
    Mark mark;
    int width; /* VECTOR: lanes; UNROLL of a loop that is not unrolled whole: how many turns at once (0: whole) */
    Body body; /* also IF */
    /* others */
    Temp *temp;
    Buffer *buffer;
    int n_index;
    const Affine **index;
    Expr *value;
    IndexKind index_kind;
    const Affine *affine; /* INDEX DIV, MOD; IF */
    int64_t by;           /* INDEX DIV, MOD */
    const Affine *size;   /* CHECK */
};

/* ---- steps ---- */

typedef enum StepNodeKind { STEP_KERNEL, STEP_BARRIER, STEP_LOOP, STEP_WHILE } StepNodeKind;

typedef struct StepNode StepNode;
struct StepNode {
    StepNodeKind kind;
    const char *name; /* kernel: unique in the step */
    Loc loc;
    Body body;             /* KERNEL */
    Vec(StepNode *) nodes; /* LOOP, WHILE: what is repeated */
    Var *var;              /* LOOP: counts 0.. ; reversed loops write trip - 1 - var in their indices */
    const Affine *trip;    /* LOOP: how many turns, NULL: as `count` says */
    Buffer *count;         /* LOOP: an i32 scalar; WHILE: a bool scalar, looked at before every turn */
    int64_t max;           /* WHILE */
};

typedef struct Step {
    Func *func; /* name, slots and place; its body is empty when the step was read from text */
    int64_t batch_bound;
    Var *batch; /* B, NULL if there is no batch */
    Vec(Buffer *) buffers;
    Vec(StepNode *) nodes;
    int64_t arena;   /* after plan: bytes that threads share, */
    int64_t own;     /* ... and behind them, for each thread, bytes that it has for itself */
    int64_t threads; /* most that are worth it, after parallelize; 0: not decided */
    int n_vars, n_temps;
} Step;

typedef struct LoopsProgram {
    Module *module; /* slots, data, commands */
    Arena *arena;
    Vec(Step *) steps; /* in the order of module->funcs */
} LoopsProgram;

/* What has been done to a program, in order; the verifier reads what must hold (PLANNED: every buffer has a place). */
typedef enum LoopsStage { LOOPS_LOWERED, LOOPS_TILED, LOOPS_MARKED, LOOPS_PLANNED } LoopsStage;

/* ---- building ---- */

Var *step_var(Arena *a, Step *s, VarKind kind, const char *name);
Temp *step_temp(Arena *a, Step *s, const char *name, Elem elem, bool acc, int rank, const int64_t *dims);
/* A kernel without a body, and a barrier: in no step yet. */
StepNode *step_kernel(Arena *a, const char *name, Loc loc);
StepNode *step_barrier(Arena *a, Loc loc);
/* Where a thread's own part begins in the arena, in bytes; a multiple of 64. That of thread step->threads would begin where the arena ends. */
int64_t step_own_at(const Step *s, int64_t thread);
/* Row-major, PLACE_NONE. */
Buffer *step_buffer(Arena *a, Step *s, const char *name, Elem elem, int rank, const Dim *dims, Loc loc);
/* Bytes from the first element to behind the last, at the bound of B, by the buffer's strides. */
int64_t buffer_bytes(const Step *s, const Buffer *b);
/* Sets strides (row-major, without gaps) and bytes from the dims. */
void buffer_pack_rows(const Step *s, Buffer *b);
/* The buffer whose memory b lies in: b itself, or what it is a view of. */
Buffer *buffer_root(Buffer *b);
/* From now on b lies where `of` lies: another shape of the same memory. */
void buffer_share(Buffer *b, Buffer *of);
/* A view of `of` with these dims and strides (NULL: row-major), its elements and its name; one that is there already, or a new one. */
Buffer *step_view(Arena *a, Step *s, Buffer *of, int rank, const Dim *dims, const int64_t *stride);
const Buffer *buffer_memory(const Buffer *b); /* the same */
Expr *expr_const(Arena *a, Elem elem, double value);
/* The whole number that a constant of an integer type is: the largest i64, with which a minimum begins, is 2^63 as a double. */
static inline int64_t const_int(double value) { return value >= 0x1p63 ? INT64_MAX : (int64_t)value; }
Expr *expr_load(Arena *a, Buffer *b, const Affine *const *index);
Expr *expr_load_else(Arena *a, Buffer *b, const Affine *const *index, double value);
Expr *expr_temp(Arena *a, Temp *t, const Affine *const *index);
Expr *expr_index(Arena *a, Elem elem, const Affine *x);
Expr *expr_op(Arena *a, OpCode op, Elem elem, int n, Expr *const *args);
Expr *expr_uniform(Arena *a, int64_t site, Expr *key, Expr *element);
Expr *expr_tree(Arena *a, OpCode op, Temp *t);
/* A copy of the whole tree (affines, temps and buffers are shared). */
Expr *expr_clone(Arena *a, const Expr *e);
Stmt *stmt_for(Arena *a, Var *v, const Affine *lo, const Affine *limit, int64_t step, Mark mark, int width);
/* One limit more (unless it is there already): the loop runs while var < all of them. */
void stmt_add_limit(Arena *a, Stmt *s, const Affine *limit);
/* From where a loop begins to its least limit, as far as these are constants; 0: they are not, or there are no turns. */
int64_t stmt_distance(const Stmt *loop);
Stmt *stmt_let(Arena *a, Temp *t, Expr *value);
Stmt *stmt_acc(Arena *a, Temp *t, Expr *value);
Stmt *stmt_assign(Arena *a, Temp *t, const Affine *const *index, Expr *value);
Stmt *stmt_store(Arena *a, Buffer *b, const Affine *const *index, Expr *value);
Stmt *stmt_index(Arena *a, Var *v, IndexKind kind, const Affine *x, int64_t by, Expr *value);
Stmt *stmt_check(Arena *a, Var *v, const Affine *size);
Stmt *stmt_if(Arena *a, const Affine *x);
Stmt *stmt_prefetch(Arena *a, Buffer *b, const Affine *const *index);
void body_add(Body *b, Stmt *s);
void body_insert_before(Body *b, Stmt *place, Stmt *s);
void body_remove(Body *b, Stmt *s);
/* Visits every statement, outer before inner; every expression of a statement, outer before inner. */
void body_walk(Body *b, void (*visit)(Stmt *s, void *arg), void *arg);
void stmt_walk_exprs(Stmt *s, void (*visit)(Expr **e, void *arg), void *arg);
/* The slots that the step loads from and those that it stores to, each once, in the order of its text. */
typedef struct StepSlots {
    Slots read, written;
} StepSlots;
StepSlots step_slots(Arena *a, const Step *s);

/* ---- text, checking, running ---- */

/* Gives buffers, kernels, variables and temps the names that the text prints, for good: --plan and --profile then say the same, and what is made of them is named
 * alike, whether or not the text came in between. */
void step_rename(Step *s);
/* What one call of a kernel computes and moves at least (loops_cost.c says how it is counted). */
typedef struct LoopsCost {
    double operations, bytes;
} LoopsCost;
typedef Vec(LoopsCost) LoopsCosts;
/* Of each kernel of the step, in the order of the text, with this batch. */
LoopsCosts step_costs(Arena *a, const Step *step, int64_t batch);

/* "lowered", "tiled", ... */
const char *loops_stage_name(LoopsStage stage);
/* First line "loops STAGE"; then the module's header, then the steps. Byte-exact round trip. */
void loops_print(const LoopsProgram *p, LoopsStage stage, const Func *only, Text *out, Arena *a);
LoopsProgram *loops_parse(Arena *a, Diag *d, const char *file, const char *text, size_t n, LoopsStage *stage);
/* What breaks the rules, or NULL. */
const char *step_verify(Arena *a, const Step *s, LoopsStage stage);
const char *loops_verify(Arena *a, const LoopsProgram *p, LoopsStage stage);
/* Runs a step as plainly as can be, one statement after the other (f32 by math.def): for tests of tile, plan and the backend. memory: by buffer id. See
 * loops_eval.c. */
bool loops_eval(Arena *a, const Step *s, int64_t batch, void *const *memory);

#endif
