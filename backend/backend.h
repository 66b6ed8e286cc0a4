/*
 * backend.h - from loops to a program that runs: LLVM's C API, objects, linking. Knows nothing of networks.
 *
 *   Module + LoopsProgram --program.c--> struct nn_program (in memory)
 *   LoopsProgram          --emit*.c, math.c--> LLVM modules with a function a step and a kernel
 *   struct nn_program     --emit_program.c--> constants in the first of them
 *   the LLVM modules      --object.c, compile.c--> IR text, assembly, objects   --link.c--> executable
 *
 * docs/backend.md says which code each form of loops becomes.
 */
#ifndef NNC_BACKEND_BACKEND_H
#define NNC_BACKEND_BACKEND_H

#include "ir/loops.h"
#include "runtime/abi.h"

/* ---- machines ---- */

/* What --cpu and --target ask for. */
typedef struct BackendTarget {
    const char *triple;   /* normalized */
    const char *cpu;      /* as LLVM names it */
    const char *features; /* "+avx2,-avx512f,..." */
    const char *shown;    /* for --version: "native (cascadelake)", "x86-64-v3" */
    const char *needs;    /* features that code for it may use, which a program checks when it starts: "avx2,fma"; "": none */
    int vector_bytes;     /* of one vector register: 64, 32, 16 */
    int vector_registers; /* 32 or 16 */
    bool masked;          /* loads and stores of parts of a vector are cheap for every element type (AVX-512BW) */
    bool masked_words;    /* ... for elements of 4 and 8 bytes (AVX, AVX2) */
    bool fma;             /* fused multiply-adds are one instruction, and are used */
    int64_t l1, l2;       /* bytes of data cache a core: of this machine when native, else what such CPUs have at least */
} BackendTarget;

/* cpu: NULL or "native", or a name of the table in target.c; triple: NULL for this machine. no_fma: products are rounded before they are
 * added, whether the CPU has the instruction or not. Unknown names, and CPUs without fma unless no_fma, are errors (E0920, E0921, E0922); NULL then. */
const BackendTarget *backend_target(Arena *a, Diag *d, const char *triple, const char *cpu, bool no_fma);
/* Names that --cpu takes, for help and suggestions. */
const char *const *backend_cpus(size_t *n);

/* ---- the program as data ---- */

/* Texts and places that are not in the module. All may be NULL. */
typedef struct ProgramTexts {
    const char *version, *summary, *plan;
    const char *source_dir;  /* absolute folder of the source */
    const char *cpu, *needs; /* BackendTarget.shown, .needs; NULL where nothing is compiled */
} ProgramTexts;

/* Slots get their places in the frame (64-byte aligned, in order), commands become trees of abi.h. `loops` may be NULL (--eval): then functions have no arena
 * and one thread. Step functions are NULL: whoever runs the program sets them (func i is module->funcs[i]). Free of LLVM. */
struct nn_program *program_make(Arena *a, const Module *m, const LoopsProgram *loops, const ProgramTexts *texts);

/* ---- compiling ---- */

typedef enum EmitKind { EMIT_LLVM, EMIT_ASM, EMIT_OBJECT, EMIT_EXECUTABLE } EmitKind;

typedef struct BackendOptions {
    const BackendTarget *target;
    EmitKind kind;
    const char *out;     /* file to write; NULL: standard output (LLVM and ASM only) */
    const char *only;    /* emit the step of this function alone (--fn); NULL: all */
    const char *runtime; /* the runtime archive; NULL: found by backend_runtime */
    bool debug_lines;    /* -g */
    bool raw;            /* EMIT_LLVM: before LLVM's passes */
    bool static_link;    /* --static */
    bool keep_temps;     /* --keep-temps: the object (one, then) stays beside the executable */
    bool verify;         /* LLVM's verifier over what was emitted */
    bool time;           /* print the milliseconds of each part on standard error */
    int64_t max_code;    /* instructions, estimated, that are compiled (E0926); 0: as many as take some ten seconds */
} BackendOptions;

/* Compiles; writes beside o->out and renames, so that a failure leaves an old file as it was. Errors (files, the linker) go to d: E0923... */
bool backend_compile(Arena *a, Diag *d, const LoopsProgram *p, const struct nn_program *program, const BackendOptions *o);

/* The runtime archive as found from the place of the running nnc: DIR/runtime/libnnc_rt.a (build folder) or DIR/../lib/nnc/libnnc_rt.a (installed).
 * NULL and an error (E0924) if there is none. */
const char *backend_runtime(Arena *a, Diag *d);

/* A device, a pipe, a folder, /dev/stdout (also where that leads to a file: a rename would replace the name in /dev): nothing that a new file may take
 * the place of. */
bool backend_is_special(const char *path);

/* Writes a file beside its name and renames it; what is special is written to as it is. Returns 0, or the errno of what failed, and nothing is left. */
int backend_write(Arena *a, const char *out, const char *at, size_t n);

#endif
