/*
 * emit.h - what the files emit*.c share: the state of one module being emitted, and values in lanes.
 *
 * LANES. Inside a loop marked `vector` the body is emitted once for `lanes` values of the loop's variable. A Val is either uniform (lanes 1, a scalar) or has one
 * element a lane (an LLVM vector). Uniform values stay scalars until they meet a vector, so loads that do not depend on the lane are
 * single loads and broadcasts. `mask` (NULL: all) says which lanes are there; it matters only where memory or something older is changed.
 *
 * VARIABLES are bound to base + offset: `base` an i64 made once (a loop's counter), `offset` a constant known when compiling (the turn of an unrolled loop). Addresses
 * are pointers advanced by base * stride, outer variables first, then one constant: LICM lifts the outer parts, and the constant goes into
 * the instruction. What has been computed is remembered by scope, so that a register tile asks for each pointer once.
 */
#ifndef NNC_BACKEND_EMIT_H
#define NNC_BACKEND_EMIT_H

#include "backend.h"

#include <llvm-c/Core.h>
#include <llvm-c/DebugInfo.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <signal.h>

typedef struct Val {
    LLVMValueRef v;
    int lanes; /* 1: uniform */
} Val;

/* What a Var stands for at this point. */
typedef struct Bind {
    bool set;
    LLVMValueRef base; /* i64; NULL: none (the variable is the constant `offset`) */
    int64_t offset;
    LLVMValueRef vec; /* an index let that differs by lane: <lanes x i64>; base and offset are not used */
    LLVMValueRef
        inside; /* loads use this in place of base + offset: a turn that may not exist reads where the last one reads (emit_loop.c) */
    int64_t lane_step; /* the vector loop's variable: lane l is base + offset + l * lane_step; else 0 */
    int64_t min, max;  /* what it can be, over all turns and lanes */
    int depth;         /* order of binding: outer variables first */
    const Stmt *loop;  /* the loop that counts it, where it goes over all its turns; NULL otherwise */
} Bind;

/* What a Temp stands for. */
typedef struct Cell {
    bool set;
    Val let;
    LLVMValueRef memory; /* acc: an alloca that becomes registers */
    int lanes;           /* lanes of each element (declared inside a vector loop) */
    LLVMValueRef shadow; /* a copy on the stack */
    int width;           /* elements that vector loops take at once: 1, or a power of two */
    LLVMValueRef mask;   /* in force when it was declared */
} Cell;

/* An affine index evaluated: sum of base * factor + constant + lane * lane_factor + vec. */
typedef struct Lin {
    int n;
    struct {
        LLVMValueRef base;
        int64_t factor;
        int depth;
    } term[32];
    int64_t constant;
    int64_t lane_factor;
    LLVMValueRef vec; /* <lanes x i64> or NULL */
    int64_t min, max; /* bounds known when compiling; INT64_MIN / INT64_MAX: none */
} Lin;

/* Pointers and indices already computed: from + base * factor (emit_known.c). */
typedef struct Known {
    LLVMValueRef from, base; /* NULL: no such part; base NULL: the factor itself is added */
    int64_t factor;
    LLVMValueRef value;
    LLVMBasicBlockRef block; /* where it was made */
    bool open;               /* its scope is */
    int before;              /* in its chain: index + 1, or 0 */
} Known;

/* What was loaded from `from`, or `from` in all lanes. */
typedef struct Fresh {
    LLVMValueRef from, mask;
    LLVMTypeRef type;
    LLVMBasicBlockRef block;
    int64_t writes; /* e->writes then */
    LLVMValueRef value;
} Fresh;

enum { KNOWN_CHAINS = 256, FRESH = 512 };

typedef struct Intrinsic {
    const char *name;
    LLVMTypeRef first, second;
    LLVMValueRef fn;
} Intrinsic;

/* -g: a file of the source, and the part of the subprogram `around` that comes from it. */
typedef struct FileScope {
    const char *name; /* interned */
    LLVMMetadataRef file, around, part;
} FileScope;

/* The place of a random draw: a number that the step hands to the kernel, so that kernels equal up to it are one. */
typedef struct Site {
    int64_t site;
    LLVMValueRef value;
    LLVMValueRef window; /* the draws made last (random.c), or NULL */
} Site;

/* A call of a kernel in a step: what it touches, and what the kernel's function therefore takes. */
typedef struct KernelCall {
    const Step *step;
    const StepNode *node;
    Buffer **buffers; /* that the body names */
    int n_buffers;
    const int *piece;      /* of each buffer: which pointer parameter it lies in ... */
    int64_t *offset;       /* ... and how many bytes behind it */
    const Buffer **lowest; /* of each piece: the buffer that begins it */
    int n_pieces;
    const int64_t *sites; /* of random draws */
    int n_sites;
    const Var **outer; /* variables of the step's loops around, outermost first */
    int n_outer;
    int kernel; /* index in EmitPlan.kernels */
} KernelCall;

/* A function to be emitted: once for all calls that are equal up to their buffers and sites. */
typedef struct Kernel {
    const char *key, *name; /* interned */
    int call;               /* index of its first call: whose body is emitted */
    int64_t work;           /* about how many instructions become of it */
    int unit;               /* the LLVM module that it is in */
} Kernel;

enum { EMIT_OUTER_MOST = 16 };

typedef struct EmitPlan {
    Arena *arena;
    const LoopsProgram *program;
    const char *only;
    bool debug_lines;
    Vec(KernelCall) calls; /* of all steps, in the order of their nodes */
    size_t *first_call;    /* by index of step, and behind the last one the number of calls */
    Vec(Kernel) kernels;
    PtrMap by_text;        /* kernels by key and by name: index + 1 */
    int64_t work;          /* about how many instructions the program has */
    const Step *largest;   /* the step with most of them */
    int64_t largest_batch; /* of all steps: kernels of several steps may be one function */
    int n_units;
    bool own_steps; /* unit 0 has no kernels: its code is made the fast way */
} EmitPlan;

/* A step of more kernels than this takes so long that code as it comes will do for calling them. */
enum { CALLS_MOST = 64 };

/* What is known of a limit in this variant of the code (emit_variant.c). */
typedef struct Fact {
    const Affine *limit;
    int64_t turns;     /* the limit's value ... */
    bool at_least;     /* ... or less than its value */
    LLVMValueRef real; /* not NULL: in truth only `real` times (< turns): stores are guarded, loads stay inside by `last` */
    LLVMValueRef last; /* real - 1 */
    const Body *body;  /* where this holds */
} Fact;

typedef struct Emit {
    Arena *arena;
    const BackendTarget *target;
    LLVMContextRef ctx;
    LLVMModuleRef module;
    LLVMBuilderRef b;
    LLVMTargetDataRef layout;
    LLVMTypeRef i1, i8, i16, i32, i64, f32, f64, ptr, void_type;
    const EmitPlan *plan;
    int unit;
    LLVMValueRef *kernel_fn; /* by index of kernel: NULL, or the function (of another unit: its declaration) */

    /* of the kernel being emitted */
    const Step *step;
    LLVMValueRef fn;
    LLVMBasicBlockRef entry; /* where allocas go */
    LLVMValueRef call, thread, threads;
    LLVMValueRef *buffer; /* by buffer id: its address */
    Vec(Site) sites;      /* of random draws in the kernel */
    Bind *bind;           /* by var id */
    Cell *cell;           /* by temp id */
    int depth;
    int lanes; /* of the vector loop around; 1: none */
    LLVMValueRef mask;
    Loc stmt_loc;    /* of the statement being emitted */
    const Body *top; /* of the kernel */
    bool shared_out; /* inside a parallel loop already */
    Vec(Known) known;
    int known_chain[KNOWN_CHAINS];
    Fresh fresh[FRESH];
    int64_t writes; /* stores emitted so far */
    Intrinsic intrinsic[32];
    Vec(Fact) facts;
    bool rolled;          /* unrolled loops stay loops: they read copies of accumulators (emit_rolled.c) */
    bool frugal;          /* in a variant of the code that seldom runs: no unrolling for speed */
    const Stmt **loop_of; /* by var id: the For statement */

    /* -g */
    LLVMDIBuilderRef di;
    LLVMMetadataRef di_unit, di_file, di_scope;
    Vec(FileScope) di_files;
} Emit;

/* ---- emit_plan.c ---- */
/* only: the step of this function alone, NULL: all. whole: one unit. The plan lives in `a`, and nothing changes it: threads may read it. */
EmitPlan *emit_plan(Arena *a, const LoopsProgram *program, const char *only, bool debug_lines, bool whole);
const Buffer *emit_placed(const Buffer *b); /* the buffer whose place this one has */

/* ---- emit.c ---- */
/* Emits the kernels of unit e->unit. */
void emit_kernels(Emit *e);
/* Emits the steps; returns their functions by index of step. slot_offset: of nn_slot, by index of slot. */
LLVMValueRef *emit_steps(Emit *e, const int64_t *slot_offset);
void emit_place(Emit *e, Loc loc);
void emit_debug_start(Emit *e, const char *source); /* an interned name */
LLVMTypeRef emit_elem(Emit *e, Elem elem);          /* as an SSA value: bool is i1 */
LLVMTypeRef emit_memory_elem(Emit *e, Elem elem);   /* in memory: bool is i8 */
LLVMTypeRef emit_vector(LLVMTypeRef t, int lanes);  /* t itself for one lane */
LLVMBasicBlockRef emit_block(Emit *e, const char *name);
LLVMValueRef emit_slot(Emit *e, LLVMTypeRef type, const char *name); /* an alloca at the start of the kernel */
LLVMValueRef emit_i64(Emit *e, int64_t k);
LLVMValueRef emit_bytes_on(Emit *e, LLVMValueRef p, int64_t bytes); /* p + bytes */
/* The member of a struct at `base`. */
LLVMValueRef emit_member(Emit *e, LLVMValueRef base, size_t offset, LLVMTypeRef t, const char *name);
/* Calls an intrinsic of LLVM, overloaded on the given types. */
LLVMValueRef emit_intrinsic(Emit *e, const char *name, int n_types, LLVMTypeRef *types, int n, LLVMValueRef *args);
LLVMValueRef emit_function(Emit *e, const char *name, LLVMTypeRef result, int n, LLVMTypeRef *params);
/* A function of this module alone, never inlined. What is emitted from here on is its body, until emit_aside_end goes back to where we were. rare: it seldom runs, is
 * not optimized, and what calls it is laid out of the way. */
typedef struct Aside {
    LLVMValueRef fn, around;
    LLVMBasicBlockRef back;
    LLVMMetadataRef place;
} Aside;
Aside emit_aside_begin(Emit *e, const char *name, LLVMTypeRef result, int n, LLVMTypeRef *params, bool rare);
void emit_aside_end(Emit *e, const Aside *aside);
#define EMIT_ORDER "nn.order"
void emit_order(Emit *e); /* loads and stores keep to their side of this place */
/* Sets the fault of the call unless there is one (abi.h). kind: enum nn_fault_kind. */
void emit_fault(Emit *e, int kind, Loc loc, LLVMValueRef value, LLVMValueRef bound);

/* ---- emit_same.c ---- */
/* The kernel as a text that is the same (interned) for kernels that can be one function. */
const char *emit_kernel_key(const KernelCall *c, bool debug_lines);

/* ---- emit_known.c ---- */
int emit_scope(Emit *e); /* opens a scope of known pointers */
void emit_scope_end(Emit *e, int mark);
LLVMValueRef emit_known(Emit *e, LLVMValueRef from, LLVMValueRef base, int64_t factor); /* NULL: not known here */
LLVMValueRef emit_know(Emit *e, LLVMValueRef from, LLVMValueRef base, int64_t factor, LLVMValueRef value);
LLVMValueRef emit_fresh(Emit *e, LLVMValueRef from, LLVMValueRef mask,
                        LLVMTypeRef type); /* what emit_remember was told, or NULL */
LLVMValueRef emit_remember(Emit *e, LLVMValueRef from, LLVMValueRef mask, LLVMTypeRef type, LLVMValueRef value);
void emit_forget(Emit *e); /* all of it */

/* ---- emit_index.c ---- */
void emit_bind(Emit *e, const Var *v, LLVMValueRef base, int64_t offset, int64_t min, int64_t max);
Lin emit_lin(Emit *e, const Affine *x, bool load);                            /* load: with Bind.inside */
bool emit_affine_range(Emit *e, const Affine *x, int64_t *min, int64_t *max); /* false: no bounds on some side */
Val emit_affine(Emit *e, const Affine *x);                                    /* i64; lanes if it differs by lane */
/* Lane 0's value and how much more it is in each lane after it; false: lanes differ in another way. */
bool emit_affine_by_lane(Emit *e, const Affine *x, LLVMValueRef *first, int64_t *step);
Val emit_load(Emit *e, const Expr *x);
void emit_store(Emit *e, const Stmt *s);
void emit_prefetch(Emit *e, const Stmt *s);
void emit_store_value(Emit *e, const Stmt *s, Val value); /* in place of s->value */
Val emit_acc_load(Emit *e, const Expr *x);
void emit_acc_store(Emit *e, Temp *t, const Affine *const *index, Val v);
void emit_acc_declare(Emit *e, const Stmt *s);
LLVMValueRef emit_acc_shadow(Emit *e, const Temp *t); /* the accumulator's elements copied to memory; its address */

/* ---- emit_expr.c ---- */
Val emit_expr(Emit *e, const Expr *x);
Val emit_splat(Emit *e, Val v); /* as e->lanes lanes */
LLVMValueRef emit_splat_value(Emit *e, LLVMValueRef scalar, int lanes);
Val emit_conversion(Emit *e, Val v, Elem from, Elem to);
LLVMValueRef emit_iota(Emit *e, LLVMTypeRef t, int lanes, int64_t factor);
LLVMValueRef emit_all_equal(Emit *e, LLVMTypeRef t, int lanes, double value, Elem elem);
LLVMValueRef emit_any(Emit *e, LLVMValueRef mask, int lanes);

/* ---- emit_stmt.c ---- */
void emit_body(Emit *e, const Body *body);

/* ---- emit_loop.c ---- */
void emit_for(Emit *e, const Stmt *s);
void emit_for_rolled(Emit *e, const Stmt *s); /* of emit_rolled.c: a loop in LLVM too */

/* ---- emit_rolled.c ---- */
/* Is this a function that is long when written out (its operands aside)? */
bool emit_long_op(const Expr *x);
/* Does the body call such functions? */
bool emit_long(const Body *body);
/* Is the body straight, and what it takes longest over the chain of operations of such a function, all of f32? */
bool emit_waits(const Body *body);
/* If the unrolled or vector loop s had better stay a loop, emits it so and returns true. */
bool emit_rolled(Emit *e, const Stmt *s);

/* ---- emit_transpose.c ---- */
/* If s copies a block across its diagonal, does that and returns true. */
bool emit_transposed(Emit *e, const Stmt *s);

/* ---- emit_variant.c ---- */
/* The body of a loop whose variable has just been bound (loop NULL: of the kernel), in variants where that serves loops inside. */
void emit_variants(Emit *e, const Body *body, const Stmt *loop);
const Fact *emit_fact(const Emit *e, const Affine *limit);
/* May turns of the unrolled loop s that do not exist be run, with loads kept inside? */
bool emit_harmless(Emit *e, const Stmt *s, const Fact *f);
/* May the body be evaluated for several values of the vector loop's variable at once? */
bool emit_lanes_fit(Emit *e, const Stmt *s);
bool emit_has_parallel(const Body *body);
/* Is some accumulator made outside s indexed by its variable? */
bool emit_indexes_acc(const Stmt *s);
/* How many elements of the accumulator the vector loops behind its declaration take at once; 1: none does. */
int emit_acc_width(const Stmt *declaration);
/* Do loads and stores in the body touch elements of less than 4 bytes? */
bool emit_has_bytes(const Body *body);

/* ---- math.c ---- */
/* An f32 function of math.def on a scalar or vector; NULL if `op` is none of them. y: second argument or NULL. */
LLVMValueRef emit_math(Emit *e, OpCode op, LLVMValueRef x, LLVMValueRef y);

/* ---- random.c ---- */
Val emit_uniform(Emit *e, const Expr *x);
/* key, x: i64, scalars or vectors of equal lanes. */
LLVMValueRef emit_mix(Emit *e, LLVMValueRef key, LLVMValueRef x);

/* ---- emit_program.c ---- */
/* `const struct nn_program nn_program`. steps: by index of function (NULL entries: no code). */
void emit_program(Emit *e, const struct nn_program *p, LLVMValueRef *steps);

/* ---- object.c ---- */

/* What all units of a compilation share. Nothing in it changes while units are made. */
typedef struct Units {
    const BackendOptions *options;
    const EmitPlan *plan;
    const struct nn_program *program;
    const char *source; /* interned */
} Units;

/* Milliseconds of one thread. */
typedef struct UnitTimes {
    double emit, verify, optimize, code;
} UnitTimes;

/* Makes unit `which`: its text (EMIT_LLVM), assembly or object, to be disposed by the caller. May be called on several threads at once, each with a machine of its own
 * (target_machine), which serves for any number of units: what LLVM finds out about a CPU takes as long as compiling a small kernel. */
LLVMMemoryBufferRef object_make(const Units *u, int which, LLVMTargetMachineRef tm, UnitTimes *times);

/* ---- files.c ---- */
/* A file beside `out`, to be renamed or removed. */
char *file_beside(Arena *a, const char *out, const char *suffix);
/* Returns 0, or the errno of what failed: then a part may be there. */
int file_write(const char *path, const char *at, size_t n);
/* Between the two nothing but SIGKILL ends nnc: what stands beside a name has it then, or is gone again. `before`: what was blocked, which the linker gets. */
void signals_wait(sigset_t *before);
void signals_come(const sigset_t *before);

/* ---- target.c, link.c ---- */
/* plain: for code that takes longer to compile well than to run. */
LLVMTargetMachineRef target_machine(const BackendTarget *t, bool plain, const char **why);
bool link_executable(Arena *a, Diag *d, const char *const *objects, size_t n_objects, const struct nn_program *program,
                     const BackendOptions *o, const sigset_t *signals);

#endif
