/*
 * object.c - one unit of a program (emit_plan.c): an LLVM module emitted, optimized, and turned into text, assembly or an object, in a context of its own.
 *
 * The passes are few: registers for accumulators (sroa), one of each computation (early-cse), what is invariant out of loops (licm). Vectors and unrolling are
 * already as the loops say; nothing here makes others. (With instcombine and gvn the code is the same to 1 %, and compiling takes a fifth longer.)
 *
 * The steps, which call the kernels, come behind the passes. There is nothing to be gained in them, and much to be lost: an address that two calls have in common would be
 * computed once and kept alive over the hundreds of calls between; of a network of 20 layers with 800 kernels, allocating registers for that took longer than
 * anything else.
 */
#include "emit.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include <string.h>
#include <time.h>

static const char passes[] = "function(sroa,early-cse<memssa>,simplifycfg,loop-mssa(licm),early-cse<memssa>)";

/* Of this thread: others may be at work on other units. */
static double milliseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
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

static void run_passes(LLVMModuleRef m, LLVMTargetMachineRef tm, const char *which) {
    LLVMPassBuilderOptionsRef o = LLVMCreatePassBuilderOptions();
    LLVMPassBuilderOptionsSetLoopVectorization(o, 0);
    LLVMPassBuilderOptionsSetSLPVectorization(o, 0);
    LLVMPassBuilderOptionsSetLoopUnrolling(o, 0);
    LLVMErrorRef error = LLVMRunPasses(m, which, tm, o);
    LLVMDisposePassBuilderOptions(o);
    if (error) bug("LLVM's passes: %s", LLVMGetErrorMessage(error));
}

/* ---- the module ---- */

static void start_module(Emit *e, LLVMTargetMachineRef tm, const char *name, bool read) {
    e->ctx = LLVMContextCreate();
    LLVMContextSetDiscardValueNames(e->ctx, !read); /* names of values are for readers of the text */
    e->module = LLVMModuleCreateWithNameInContext(name, e->ctx);
    e->b = LLVMCreateBuilderInContext(e->ctx);
    LLVMSetTarget(e->module, e->target->triple);
    e->layout = LLVMCreateTargetDataLayout(tm);
    LLVMSetModuleDataLayout(e->module, e->layout);
    LLVMAddModuleFlag(e->module, LLVMModuleFlagBehaviorOverride, "PIC Level", 9,
                      LLVMValueAsMetadata(LLVMConstInt(LLVMInt32TypeInContext(e->ctx), 2, 0)));
    LLVMAddModuleFlag(e->module, LLVMModuleFlagBehaviorOverride, "PIE Level", 9,
                      LLVMValueAsMetadata(LLVMConstInt(LLVMInt32TypeInContext(e->ctx), 2, 0)));
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

/* ---- the unit ---- */

static void emit_kernels_of(Emit *e, const Units *u) {
    e->kernel_fn = arena_make_n(e->arena, LLVMValueRef, u->plan->kernels.n + 1);
    if (u->options->debug_lines) emit_debug_start(e, u->source);
    emit_kernels(e);
    if (e->di) LLVMDIBuilderFinalize(e->di);
}

/* The steps and the tables, in unit 0. */
static void emit_steps_of(Emit *e, const Units *u) {
    if (e->unit != 0) return;
    const LoopsProgram *p = u->plan->program;
    int64_t *offset = arena_make_n(e->arena, int64_t, (size_t)u->program->n_slots + 1);
    for (int64_t i = 0; i < u->program->n_slots; i++) offset[i] = u->program->slots[i].offset;
    LLVMValueRef *steps = emit_steps(e, offset), *by_func = arena_make_n(e->arena, LLVMValueRef, (size_t)u->program->n_funcs + 1);
    for (size_t i = 0; i < p->steps.n; i++)
        for (size_t j = 0; j < p->module->funcs.n; j++)
            if (p->module->funcs.at[j] == p->steps.at[i]->func) by_func[j] = steps[i];
    emit_program(e, u->program, by_func);
}

static LLVMMemoryBufferRef written(Emit *e, LLVMTargetMachineRef tm, EmitKind kind) {
    char *message = NULL;
    LLVMMemoryBufferRef buffer = NULL;
    if (kind == EMIT_LLVM) {
        char *text = LLVMPrintModuleToString(e->module);
        buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(text, strlen(text), "");
        LLVMDisposeMessage(text);
        return buffer;
    }
    LLVMSetTargetMachineAsmVerbosity(tm, 1);
    if (LLVMTargetMachineEmitToMemoryBuffer(tm, e->module, kind == EMIT_ASM ? LLVMAssemblyFile : LLVMObjectFile, &message,
                                            &buffer))
        bug("LLVM's code generator: %s", message);
    return buffer;
}

LLVMMemoryBufferRef object_make(const Units *u, int which, LLVMTargetMachineRef tm, UnitTimes *times) {
    const BackendOptions *o = u->options;
    double start = milliseconds();
    Emit e = {.arena = arena_new(), .target = o->target, .plan = u->plan, .unit = which};
    start_module(&e, tm, u->source, o->kind == EMIT_LLVM || o->kind == EMIT_ASM);
    emit_kernels_of(&e, u);
    double emitted = milliseconds();
    bool raw = o->kind == EMIT_LLVM && o->raw;
    if (!raw) run_passes(e.module, tm, passes);
    double optimized = milliseconds();
    emit_steps_of(&e, u);
    if (!raw) {
        place_order(e.module);
        run_passes(e.module, tm, "globaldce");
    }
    double whole = milliseconds();
    if (o->verify) check_module(&e, "as emitted");
    double verified = milliseconds();
    LLVMMemoryBufferRef result = written(&e, tm, o->kind);
    end_module(&e);
    arena_free(e.arena);
    *times = (UnitTimes){emitted - start + whole - optimized, verified - whole, optimized - emitted, milliseconds() - verified};
    return result;
}
