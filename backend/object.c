/*
 * object.c - an LLVM module made, optimized and written: IR text, assembly, object, executable.
 *
 * The passes are few: registers for accumulators (sroa), one of each computation (early-cse), what is invariant out of loops (licm). Vectors and unrolling are
 * already as the loops say; nothing here makes others. (With instcombine and gvn the code is the same to 1 %, and compiling takes a fifth longer.)
 */
#include "emit.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>
#include <unistd.h>

static const char passes[] = "function(sroa,early-cse<memssa>,simplifycfg,loop-mssa(licm),early-cse<memssa>),globaldce";

static double milliseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

/* Calls of nn.order become empty asm: a chain for loads and stores, no instruction. */
static void place_order(LLVMModuleRef m) {
    LLVMValueRef fn = LLVMGetNamedFunction(m, EMIT_ORDER);
    if (!fn) return;
    LLVMTypeRef type = LLVMGlobalGetValueType(fn);
    LLVMValueRef empty = LLVMGetInlineAsm(type, "", 0, "~{memory}", 9, 1, 0, LLVMInlineAsmDialectATT, 0);
    LLVMBuilderRef b = LLVMCreateBuilderInContext(LLVMGetModuleContext(m));
    for (LLVMUseRef use; (use = LLVMGetFirstUse(fn));) {
        LLVMValueRef call = LLVMGetUser(use);
        LLVMPositionBuilderBefore(b, call);
        LLVMBuildCall2(b, type, empty, NULL, 0, "");
        LLVMInstructionEraseFromParent(call);
    }
    LLVMDisposeBuilder(b);
    LLVMDeleteFunction(fn);
}

bool object_optimize(Arena *a, Diag *d, LLVMModuleRef m, LLVMTargetMachineRef tm) {
    (void)a;
    (void)d;
    LLVMPassBuilderOptionsRef o = LLVMCreatePassBuilderOptions();
    LLVMPassBuilderOptionsSetLoopVectorization(o, 0);
    LLVMPassBuilderOptionsSetSLPVectorization(o, 0);
    LLVMPassBuilderOptionsSetLoopUnrolling(o, 0);
    LLVMErrorRef error = LLVMRunPasses(m, passes, tm, o);
    LLVMDisposePassBuilderOptions(o);
    if (error) bug("LLVM's passes: %s", LLVMGetErrorMessage(error));
    place_order(m);
    return true;
}

/* ---- the module ---- */

static void start_module(Emit *e, LLVMTargetMachineRef tm, const char *name) {
    e->ctx = LLVMContextCreate();
    e->module = LLVMModuleCreateWithNameInContext(name, e->ctx);
    e->b = LLVMCreateBuilderInContext(e->ctx);
    LLVMSetTarget(e->module, e->target->triple);
    e->layout = LLVMCreateTargetDataLayout(tm);
    LLVMSetModuleDataLayout(e->module, e->layout);
    LLVMAddModuleFlag(e->module, LLVMModuleFlagBehaviorOverride, "PIC Level", 9, LLVMValueAsMetadata(LLVMConstInt(LLVMInt32TypeInContext(e->ctx), 2, 0)));
    LLVMAddModuleFlag(e->module, LLVMModuleFlagBehaviorOverride, "PIE Level", 9, LLVMValueAsMetadata(LLVMConstInt(LLVMInt32TypeInContext(e->ctx), 2, 0)));
    e->i1 = LLVMInt1TypeInContext(e->ctx);
    e->i8 = LLVMInt8TypeInContext(e->ctx);
    e->i16 = LLVMInt16TypeInContext(e->ctx);
    e->i32 = LLVMInt32TypeInContext(e->ctx);
    e->i64 = LLVMInt64TypeInContext(e->ctx);
    e->f32 = LLVMFloatTypeInContext(e->ctx);
    e->f64 = LLVMDoubleTypeInContext(e->ctx);
    e->ptr = LLVMPointerTypeInContext(e->ctx, 0);
    e->void_type = LLVMVoidTypeInContext(e->ctx);
}

static void end_module(Emit *e) {
    if (e->di) LLVMDisposeDIBuilder(e->di);
    LLVMDisposeTargetData(e->layout);
    LLVMDisposeBuilder(e->b);
    LLVMDisposeModule(e->module);
    LLVMContextDispose(e->ctx);
}

static void check_module(Emit *e, const char *when) {
    char *message = NULL;
    if (LLVMVerifyModule(e->module, LLVMReturnStatusAction, &message)) {
        bug("the module is not valid %s: %s", when, message);
    }
    LLVMDisposeMessage(message);
}

/* ---- writing ---- */

/* A file beside `out`, to be renamed. */
static char *beside(Arena *a, const char *out, const char *suffix) { return arena_printf(a, "%s.%ld%s", out, (long)getpid(), suffix); }

static bool write_bytes(Diag *d, const char *path, const char *bytes, size_t n) {
    FILE *f = path ? fopen(path, "wb") : stdout;
    bool ok = f != NULL;
    if (f && fwrite(bytes, 1, n, f) != n) ok = false;
    if (f && path && fclose(f)) ok = false;
    if (f && !path && fflush(f)) ok = false;
    if (!ok) diag_error(d, (Loc){0}, 923, "%s: cannot be written: %s", path ? path : "standard output", strerror(errno));
    return ok;
}

/* A device, a pipe or a folder: nothing that a new file may take the place of. */
static bool is_special(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

static bool write_renamed(Arena *a, Diag *d, const char *out, const char *bytes, size_t n) {
    if (!out || is_special(out)) return write_bytes(d, out, bytes, n);
    char *temp = beside(a, out, ".tmp");
    if (!write_bytes(d, temp, bytes, n)) {
        unlink(temp);
        return false;
    }
    if (!rename(temp, out)) return true;
    diag_error(d, (Loc){0}, 923, "%s: cannot be written: %s", out, strerror(errno));
    unlink(temp);
    return false;
}

static LLVMMemoryBufferRef machine_code(Emit *e, LLVMTargetMachineRef tm, LLVMCodeGenFileType type) {
    char *message = NULL;
    LLVMMemoryBufferRef buffer = NULL;
    LLVMSetTargetMachineAsmVerbosity(tm, 1);
    if (LLVMTargetMachineEmitToMemoryBuffer(tm, e->module, type, &message, &buffer)) bug("LLVM's code generator: %s", message);
    return buffer;
}

static bool write_executable(Arena *a, Diag *d, const struct nn_program *program, const BackendOptions *o, const char *bytes, size_t n) {
    if (is_special(o->out)) {
        diag_error(d, (Loc){0}, 923, "%s: cannot be written: it is there and is not a regular file", o->out);
        return false;
    }
    char *object = beside(a, o->out, ".o");
    bool ok = write_bytes(d, object, bytes, n) && link_executable(a, d, object, program, o);
    if (!ok || !o->keep_temps) {
        unlink(object);
    } else {
        const char *kept = arena_printf(a, "%s.o", o->out);
        if (rename(object, kept)) diag_error(d, (Loc){0}, 923, "%s: cannot be written: %s", kept, strerror(errno));
    }
    return ok;
}

static bool write_result(Emit *e, Diag *d, LLVMTargetMachineRef tm, const struct nn_program *program, const BackendOptions *o) {
    if (o->kind == EMIT_LLVM) {
        char *text = LLVMPrintModuleToString(e->module);
        bool ok = write_renamed(e->arena, d, o->out, text, strlen(text));
        LLVMDisposeMessage(text);
        return ok;
    }
    LLVMMemoryBufferRef code = machine_code(e, tm, o->kind == EMIT_ASM ? LLVMAssemblyFile : LLVMObjectFile);
    const char *bytes = LLVMGetBufferStart(code);
    size_t n = LLVMGetBufferSize(code);
    bool ok = o->kind == EMIT_EXECUTABLE ? write_executable(e->arena, d, program, o, bytes, n) : write_renamed(e->arena, d, o->out, bytes, n);
    LLVMDisposeMemoryBuffer(code);
    return ok;
}

static double lap(const BackendOptions *o, const char *what, double since) {
    double now = milliseconds();
    if (o->time) fprintf(stderr, "%10.2f ms  backend: %s\n", now - since, what);
    return now;
}

bool backend_compile(Arena *a, Diag *d, const LoopsProgram *p, const struct nn_program *program, const BackendOptions *o) {
    if (!o->out && o->kind >= EMIT_OBJECT) bug("an object needs a file name");
    const char *why;
    LLVMTargetMachineRef tm = target_machine(o->target, &why);
    if (!tm) {
        diag_error(d, (Loc){0}, 921, "--target=%s: %s", o->target->triple, why);
        return false;
    }
    double t = milliseconds();
    Emit e = {.arena = arena_new(), .target = o->target, .program = p};
    const char *source = p->module->source ? p->module->source : "program.nn";
    start_module(&e, tm, source);
    if (o->debug_lines) emit_debug_start(&e, source);
    int64_t *offset = arena_make_n(e.arena, int64_t, (size_t)program->n_slots + 1);
    for (int64_t i = 0; i < program->n_slots; i++) offset[i] = program->slots[i].offset;
    LLVMValueRef *steps = emit_steps(&e, offset, o->only), *by_func = arena_make_n(e.arena, LLVMValueRef, (size_t)program->n_funcs + 1);
    for (size_t i = 0; i < p->steps.n; i++)
        for (size_t j = 0; j < p->module->funcs.n; j++)
            if (p->module->funcs.at[j] == p->steps.at[i]->func) by_func[j] = steps[i];
    emit_program(&e, program, by_func);
    if (e.di) LLVMDIBuilderFinalize(e.di);
    t = lap(o, "emit", t);
    check_module(&e, "as emitted");
    t = lap(o, "verify", t);
    bool ok = (o->kind == EMIT_LLVM && o->raw) || object_optimize(a, d, e.module, tm);
    t = lap(o, "optimize", t);
    if (ok) ok = write_result(&e, d, tm, program, o);
    lap(o, o->kind == EMIT_EXECUTABLE ? "machine code and link" : "machine code", t);
    end_module(&e);
    LLVMDisposeTargetMachine(tm);
    arena_free(e.arena);
    return ok;
}
