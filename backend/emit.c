/*
 * emit.c - steps and kernels as LLVM functions.
 *
 *   void step.NAME(struct nn_call *)            its tree: calls of kernels with what it loads of the call for them, barriers, loops
 *   void NAME.KERNEL(call, B, thread, threads, counters of the step's loops..., sites of random draws..., one pointer for each piece of memory that it touches)
 *
 * A piece of memory is one buffer, or buffers that overlap (an update in place). Pieces do not overlap, so their pointers are `noalias`: that is all that LLVM has to know
 * to keep invariant loads out of loops. A kernel without parallel loops is run by thread 0 alone.
 */
#include "emit.h"

#include <string.h>
#include <unistd.h>

/* ---- types and small things ---- */

LLVMTypeRef emit_elem(Emit *e, Elem elem) {
    switch (elem) {
    case F32: return e->f32;
    case F64: return e->f64;
    case I32: return e->i32;
    case I64: return e->i64;
    case U8: return e->i8;
    case BOOL: return e->i1;
    }
    bug("an element type %d", (int)elem);
}

LLVMTypeRef emit_memory_elem(Emit *e, Elem elem) { return elem == BOOL ? e->i8 : emit_elem(e, elem); }

LLVMTypeRef emit_vector(LLVMTypeRef t, int lanes) { return lanes == 1 ? t : LLVMVectorType(t, (unsigned)lanes); }

LLVMBasicBlockRef emit_block(Emit *e, const char *name) { return LLVMAppendBasicBlockInContext(e->ctx, e->fn, name); }

LLVMValueRef emit_slot(Emit *e, LLVMTypeRef type, const char *name) {
    LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b);
    LLVMValueRef first = LLVMGetFirstInstruction(e->entry);
    if (first)
        LLVMPositionBuilderBefore(e->b, first);
    else
        LLVMPositionBuilderAtEnd(e->b, e->entry);
    LLVMValueRef p = LLVMBuildAlloca(e->b, type, name);
    LLVMPositionBuilderAtEnd(e->b, here);
    return p;
}

LLVMValueRef emit_i64(Emit *e, int64_t k) { return LLVMConstInt(e->i64, (uint64_t)k, 1); }

/* The declaration; LLVM finds one by making its name with the types in it, so the last ones are kept. */
static LLVMValueRef intrinsic(Emit *e, const char *name, int n_types, LLVMTypeRef *types) {
    LLVMTypeRef first = n_types ? types[0] : NULL, second = n_types > 1 ? types[1] : NULL;
    size_t kept = sizeof e->intrinsic / sizeof *e->intrinsic;
    Intrinsic *k = &e->intrinsic[((uintptr_t)name + ((uintptr_t)first >> 4) * 31 + ((uintptr_t)second >> 4) * 7) % kept];
    if (k->fn && k->name == name && k->first == first && k->second == second) return k->fn;
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    if (!id) bug("LLVM has no intrinsic %s", name);
    *k = (Intrinsic){name, first, second, LLVMGetIntrinsicDeclaration(e->module, id, types, (size_t)n_types)};
    return k->fn;
}

LLVMValueRef emit_intrinsic(Emit *e, const char *name, int n_types, LLVMTypeRef *types, int n, LLVMValueRef *args) {
    LLVMValueRef fn = intrinsic(e, name, n_types, types);
    return LLVMBuildCall2(e->b, LLVMGlobalGetValueType(fn), fn, args, (unsigned)n, "");
}

static void add_attribute(Emit *e, LLVMValueRef fn, LLVMAttributeIndex at, const char *name, uint64_t value) {
    LLVMAddAttributeAtIndex(fn, at, LLVMCreateEnumAttribute(e->ctx, LLVMGetEnumAttributeKindForName(name, strlen(name)), value));
}

static void add_text_attribute(Emit *e, LLVMValueRef fn, const char *name, const char *value) {
    LLVMAttributeRef a = LLVMCreateStringAttribute(e->ctx, name, (unsigned)strlen(name), value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(fn, LLVMAttributeFunctionIndex, a);
}

LLVMValueRef emit_function(Emit *e, const char *name, LLVMTypeRef result, int n, LLVMTypeRef *params) {
    LLVMValueRef fn = LLVMGetNamedFunction(e->module, name);
    if (fn) return fn;
    fn = LLVMAddFunction(e->module, name, LLVMFunctionType(result, params, (unsigned)n, 0));
    add_attribute(e, fn, LLVMAttributeFunctionIndex, "nounwind", 0);
    return fn;
}

/* A place that loads and stores do not cross when instructions are chosen: object.c makes an empty asm of it after LLVM's passes, to which it is a call that
 * touches no memory of ours. Between the turns of an unrolled loop it keeps loads from gathering at the top, where they would need registers. */
void emit_order(Emit *e) {
    LLVMValueRef fn = LLVMGetNamedFunction(e->module, EMIT_ORDER);
    if (!fn) {
        enum { INACCESSIBLE_READ_WRITE = 3 << 2 }; /* LLVM's encoding of memory(inaccessiblemem: readwrite) */
        fn = emit_function(e, EMIT_ORDER, e->void_type, 0, NULL);
        add_attribute(e, fn, LLVMAttributeFunctionIndex, "memory", INACCESSIBLE_READ_WRITE);
        add_attribute(e, fn, LLVMAttributeFunctionIndex, "willreturn", 0);
    }
    LLVMBuildCall2(e->b, LLVMGlobalGetValueType(fn), fn, NULL, 0, "");
}

static LLVMValueRef define(Emit *e, const char *name, LLVMTypeRef result, int n, LLVMTypeRef *params) {
    LLVMValueRef fn = LLVMAddFunction(e->module, name, LLVMFunctionType(result, params, (unsigned)n, 0));
    LLVMSetLinkage(fn, LLVMInternalLinkage);
    add_attribute(e, fn, LLVMAttributeFunctionIndex, "nounwind", 0);
    if (e->target->vector_bytes == 64) add_text_attribute(e, fn, "prefer-vector-width", "512");
    return fn;
}

/* For what takes longer to compile well than to run. */
static void compile_fast(Emit *e, LLVMValueRef fn) {
    add_attribute(e, fn, LLVMAttributeFunctionIndex, "noinline", 0); /* LLVM asks for it beside optnone */
    add_attribute(e, fn, LLVMAttributeFunctionIndex, "optnone", 0);
}

Aside emit_aside_begin(Emit *e, const char *name, LLVMTypeRef result, int n, LLVMTypeRef *params, bool rare) {
    Aside aside = {.around = e->fn, .back = LLVMGetInsertBlock(e->b), .place = LLVMGetCurrentDebugLocation2(e->b)};
    aside.fn = e->fn = define(e, name, result, n, params);
    if (rare) {
        add_attribute(e, aside.fn, LLVMAttributeFunctionIndex, "cold", 0);
        compile_fast(e, aside.fn);
    } else
        add_attribute(e, aside.fn, LLVMAttributeFunctionIndex, "noinline", 0);
    LLVMSetCurrentDebugLocation2(e->b, NULL);
    LLVMPositionBuilderAtEnd(e->b, emit_block(e, ""));
    return aside;
}

void emit_aside_end(Emit *e, const Aside *aside) {
    e->fn = aside->around;
    LLVMPositionBuilderAtEnd(e->b, aside->back);
    LLVMSetCurrentDebugLocation2(e->b, aside->place);
}

LLVMValueRef emit_bytes_on(Emit *e, LLVMValueRef p, int64_t bytes) {
    LLVMValueRef k = emit_i64(e, bytes);
    return bytes ? LLVMBuildGEP2(e->b, e->i8, p, &k, 1, "") : p;
}

LLVMValueRef emit_member(Emit *e, LLVMValueRef base, size_t offset, LLVMTypeRef t, const char *name) {
    return LLVMBuildLoad2(e->b, t, emit_bytes_on(e, base, (int64_t)offset), name);
}

/* ---- faults ---- */

/* void nn.fault(call, kind, line, value, bound): sets call->fault unless one is set. */
static LLVMValueRef fault_function(Emit *e) {
    LLVMValueRef fn = LLVMGetNamedFunction(e->module, "nn.fault");
    if (fn) return fn;
    LLVMTypeRef params[5] = {e->ptr, e->i64, e->i64, e->i64, e->i64};
    Aside aside = emit_aside_begin(e, "nn.fault", e->void_type, 5, params, true);
    fn = aside.fn;
    LLVMBasicBlockRef first = emit_block(e, "first"), done = emit_block(e, "done");
    LLVMValueRef fault = emit_member(e, LLVMGetParam(fn, 0), offsetof(struct nn_call, fault), e->ptr, "fault");
    LLVMValueRef swap = LLVMBuildAtomicCmpXchg(e->b, fault, emit_i64(e, NN_NO_FAULT), LLVMGetParam(fn, 1),
                                               LLVMAtomicOrderingMonotonic, LLVMAtomicOrderingMonotonic, 0);
    LLVMBuildCondBr(e->b, LLVMBuildExtractValue(e->b, swap, 1, ""), first, done);
    LLVMPositionBuilderAtEnd(e->b, first);
    size_t offset[3] = {offsetof(struct nn_fault, line), offsetof(struct nn_fault, value), offsetof(struct nn_fault, bound)};
    for (unsigned i = 0; i < 3; i++) LLVMBuildStore(e->b, LLVMGetParam(fn, i + 2), emit_bytes_on(e, fault, (int64_t)offset[i]));
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, done);
    LLVMBuildRetVoid(e->b);
    emit_aside_end(e, &aside);
    return fn;
}

void emit_fault(Emit *e, int kind, Loc loc, LLVMValueRef value, LLVMValueRef bound) {
    LLVMValueRef fn = fault_function(e), args[5] = {e->call, emit_i64(e, kind), emit_i64(e, loc.line), value, bound};
    LLVMBuildCall2(e->b, LLVMGlobalGetValueType(fn), fn, args, 5, "");
}

/* ---- -g ---- */

static LLVMMetadataRef file_of(Emit *e, const char *file) {
    for (size_t i = 0; i < e->di_files.n; i++)
        if (e->di_files.at[i].name == file) return e->di_files.at[i].file;
    char folder[4096];
    if (!getcwd(folder, sizeof folder)) folder[0] = 0;
    LLVMMetadataRef f = LLVMDIBuilderCreateFile(e->di, file, strlen(file), folder, strlen(folder));
    vec_push(e->arena, &e->di_files, ((FileScope){file, f, NULL, NULL}));
    return f;
}

/* The kernel's subprogram, or a part of it that lies in another file (std/losses.nn). */
static LLVMMetadataRef scope_in(Emit *e, const char *file) {
    file_of(e, file);
    for (size_t i = 0; i < e->di_files.n; i++) {
        FileScope *f = &e->di_files.at[i];
        if (f->name != file) continue;
        if (f->file == e->di_file) return e->di_scope;
        if (f->around != e->di_scope) {
            f->around = e->di_scope;
            f->part = LLVMDIBuilderCreateLexicalBlockFile(e->di, e->di_scope, f->file, 0);
        }
        return f->part;
    }
    return e->di_scope;
}

void emit_place(Emit *e, Loc loc) {
    if (!e->di || !loc.line || !loc.file) return;
    LLVMMetadataRef place =
        LLVMDIBuilderCreateDebugLocation(e->ctx, (unsigned)loc.line, (unsigned)loc.col, scope_in(e, loc.file), NULL);
    LLVMSetCurrentDebugLocation2(e->b, place);
}

void emit_debug_start(Emit *e, const char *source) {
    e->di = LLVMCreateDIBuilder(e->module);
    e->di_file = file_of(e, source);
    e->di_unit = LLVMDIBuilderCreateCompileUnit(e->di, LLVMDWARFSourceLanguageC99, e->di_file, "nnc", 3, 1, "", 0, 0, "", 0,
                                                LLVMDWARFEmissionFull, 0, 0, 0, "", 0, "", 0);
    /* DWARF 4: valgrind 3.19, that of Debian 12, stops at forms of 5 that it does not know */
    LLVMMetadataRef version = LLVMValueAsMetadata(LLVMConstInt(e->i32, LLVMDebugMetadataVersion(), 0)),
                    dwarf = LLVMValueAsMetadata(LLVMConstInt(e->i32, 4, 0));
    LLVMAddModuleFlag(e->module, LLVMModuleFlagBehaviorWarning, "Debug Info Version", 18, version);
    LLVMAddModuleFlag(e->module, LLVMModuleFlagBehaviorWarning, "Dwarf Version", 13, dwarf);
}

/* Makes fn a subprogram at loc; statements that follow lie in it. */
static void begin_subprogram(Emit *e, LLVMValueRef fn, const char *name, Loc loc) {
    if (!e->di) return;
    LLVMMetadataRef type = LLVMDIBuilderCreateSubroutineType(e->di, e->di_file, NULL, 0, LLVMDIFlagZero);
    unsigned line = loc.line > 0 ? (unsigned)loc.line : 1;
    size_t n = strlen(name);
    e->di_scope =
        LLVMDIBuilderCreateFunction(e->di, e->di_file, name, n, name, n, e->di_file, line, type, 1, 1, line, LLVMDIFlagZero, 1);
    LLVMSetSubprogram(fn, e->di_scope);
    LLVMSetCurrentDebugLocation2(e->b, LLVMDIBuilderCreateDebugLocation(e->ctx, line, 0, e->di_scope, NULL));
}

static void end_subprogram(Emit *e) {
    if (e->di) LLVMSetCurrentDebugLocation2(e->b, NULL);
}

/* ---- memory ---- */

/* Numbers that the program holds, row-major, in the buffer's element type. */
static LLVMValueRef data_constant(Emit *e, const Buffer *b) {
    const char *name = arena_printf(e->arena, "data.%s.%s.%d", e->step->func->name, b->name,
                                    b->id); /* names are not unique in a step, ids are */
    LLVMValueRef g = LLVMGetNamedGlobal(e->module, name);
    if (g) return g;
    int64_t n = 1;
    for (int i = 0; i < b->rank; i++) n *= b->dim[i].n;
    LLVMTypeRef t = emit_memory_elem(e, b->elem);
    LLVMValueRef *all = arena_make_n(e->arena, LLVMValueRef, (size_t)n + 1);
    for (int64_t i = 0; i < n; i++) all[i] = emit_all_equal(e, t, 1, b->data[i], b->elem == BOOL ? U8 : b->elem);
    g = LLVMAddGlobal(e->module, LLVMArrayType2(t, (uint64_t)n), name);
    LLVMSetInitializer(g, LLVMConstArray2(t, all, (uint64_t)n));
    LLVMSetGlobalConstant(g, 1);
    LLVMSetLinkage(g, LLVMInternalLinkage);
    LLVMSetAlignment(g, 64);
    return g;
}

/* What a step knows of its call: members of struct nn_call, loaded where they are wanted, and known until the next kernel is called. So one value alone, the call, lives
 * through a step's hundreds of blocks. (Eight that do are more than the registers that calls leave alone; finding places for them took LLVM a second for a network of 20
 * layers.) */
typedef struct StepState {
    LLVMValueRef call, frame, arena, fields, batch, thread, threads;
    const int64_t *slot_offset;
} StepState;

static LLVMValueRef known_member(Emit *e, const StepState *st, LLVMValueRef *known, size_t offset, LLVMTypeRef t,
                                 const char *name) {
    if (!*known) *known = emit_member(e, st->call, offset, t, name);
    return *known;
}

#define MEMBER(e, st, known, name, type) known_member(e, st, &(st)->known, offsetof(struct nn_call, name), type, #name)

/* The address of a buffer, computed in the step. */
static LLVMValueRef buffer_address(Emit *e, StepState *st, const Buffer *b) {
    b = emit_placed(b);
    switch (b->place) {
    case PLACE_ARENA: return emit_bytes_on(e, MEMBER(e, st, arena, arena, e->ptr), b->offset);
    case PLACE_THREAD: {
        int64_t first = step_own_at(e->step, 0), each = step_own_at(e->step, 1) - first;
        LLVMValueRef thread = MEMBER(e, st, thread, thread, e->i64), k = LLVMBuildNSWMul(e->b, thread, emit_i64(e, each), "");
        return LLVMBuildGEP2(e->b, e->i8, emit_bytes_on(e, MEMBER(e, st, arena, arena, e->ptr), first + b->offset), &k, 1, "");
    }
    case PLACE_SLOT: return emit_bytes_on(e, MEMBER(e, st, frame, frame, e->ptr), st->slot_offset[b->slot->index]);
    case PLACE_FIELD: {
        LLVMValueRef fields = MEMBER(e, st, fields, fields, e->ptr);
        return LLVMBuildLoad2(e->b, e->ptr, emit_bytes_on(e, fields, st->slot_offset[b->slot->index] * 8), "");
    }
    case PLACE_DATA: return data_constant(e, b);
    case PLACE_NONE: break;
    }
    bug("buffer %s has no place", b->name);
}

/* ---- kernels ---- */

enum { KERNEL_PARAMS = 4 }; /* call, B, thread, threads */

static void begin_step(Emit *e, const Step *step) {
    if (e->step == step) return;
    e->step = step;
    e->bind = arena_make_n(e->arena, Bind, (size_t)step->n_vars + 1);
    e->cell = arena_make_n(e->arena, Cell, (size_t)step->n_temps + 1);
    e->loop_of = arena_make_n(e->arena, const Stmt *, (size_t)step->n_vars + 1);
    e->buffer = arena_make_n(e->arena, LLVMValueRef, step->buffers.n + 1);
}

static void reset_kernel(Emit *e) {
    memset(e->bind, 0, (size_t)e->step->n_vars * sizeof *e->bind);
    memset(e->cell, 0, (size_t)e->step->n_temps * sizeof *e->cell);
    memset(e->buffer, 0, e->step->buffers.n * sizeof *e->buffer);
    emit_forget(e);
    e->facts.n = 0;
    e->depth = 0;
    e->lanes = 1;
    e->mask = NULL;
    e->shared_out = false;
    e->frugal = false;
    e->rolled = false;
}

/* The function of a kernel, declared. Where there are several units it is seen by all of them, and by nobody outside the program. */
static LLVMValueRef kernel_function(Emit *e, int which) {
    if (e->kernel_fn[which]) return e->kernel_fn[which];
    const Kernel *k = &e->plan->kernels.at[which];
    const KernelCall *c = &e->plan->calls.at[k->call];
    int n = 0, first = KERNEL_PARAMS + c->n_outer + c->n_sites; /* of the pointers */
    LLVMTypeRef *params = arena_make_n(e->arena, LLVMTypeRef, (size_t)(first + c->n_pieces));
    params[n++] = e->ptr;
    while (n < first) params[n++] = e->i64;
    for (int i = 0; i < c->n_pieces; i++) params[n++] = e->ptr;
    LLVMValueRef fn = define(e, k->name, e->void_type, n, params);
    if (e->plan->n_units > 1) {
        LLVMSetLinkage(fn, LLVMExternalLinkage);
        LLVMSetVisibility(fn, LLVMHiddenVisibility);
    }
    add_attribute(e, fn, LLVMAttributeFunctionIndex, "noinline", 0);
    for (int i = 0; i < c->n_pieces; i++) {
        unsigned at = (unsigned)(first + i + 1);
        add_attribute(e, fn, at, "noalias", 0);
        add_attribute(e, fn, at, "nocapture", 0);
    }
    return e->kernel_fn[which] = fn;
}

static void emit_kernel(Emit *e, int which) {
    const KernelCall *c = &e->plan->calls.at[e->plan->kernels.at[which].call];
    LLVMValueRef fn = kernel_function(e, which);
    begin_step(e, c->step);
    reset_kernel(e);
    e->fn = fn;
    e->call = LLVMGetParam(fn, 0);
    e->thread = LLVMGetParam(fn, 2);
    e->threads = LLVMGetParam(fn, 3);
    e->entry = emit_block(e, "");
    LLVMPositionBuilderAtEnd(e->b, e->entry);
    begin_subprogram(e, fn, e->plan->kernels.at[which].name, c->node->loc);
    unsigned outer = KERNEL_PARAMS, sites = outer + (unsigned)c->n_outer, first = sites + (unsigned)c->n_sites;
    for (int i = 0; i < c->n_buffers; i++)
        e->buffer[c->buffers[i]->id] = emit_bytes_on(e, LLVMGetParam(fn, first + (unsigned)c->piece[i]), c->offset[i]);
    if (e->step->batch) emit_bind(e, e->step->batch, LLVMGetParam(fn, 1), 0, 1, e->plan->largest_batch);
    e->sites.n = 0;
    for (int i = 0; i < c->n_sites; i++)
        vec_push(e->arena, &e->sites, ((Site){c->sites[i], LLVMGetParam(fn, sites + (unsigned)i), NULL}));
    for (int i = 0; i < c->n_outer; i++) emit_bind(e, c->outer[i], LLVMGetParam(fn, outer + (unsigned)i), 0, 0, INT64_MAX);
    LLVMBasicBlockRef body = emit_block(e, "body");
    LLVMBuildBr(e->b, body);
    LLVMPositionBuilderAtEnd(e->b, body);
    e->top = &c->node->body;
    emit_variants(e, e->top, NULL);
    LLVMBuildRetVoid(e->b);
    end_subprogram(e);
    /* the branch stays the last of the entry: allocas were put before it */
}

void emit_kernels(Emit *e) {
    for (size_t i = 0; i < e->plan->kernels.n; i++)
        if (e->plan->kernels.at[i].unit == e->unit) emit_kernel(e, (int)i);
}

/* ---- steps ---- */

typedef struct Outer {
    const Var *var[EMIT_OUTER_MOST];
    LLVMValueRef value[EMIT_OUTER_MOST];
    int n;
} Outer;

typedef struct StepEmit {
    Emit *e;
    LLVMValueRef fn;
    StepState st;
    Outer outer;
    LLVMBasicBlockRef at;
    size_t first, next; /* calls: the step's first, and the one that comes */
    int64_t n_kernels;
} StepEmit;

static void in_step(StepEmit *s) {
    s->st = (StepState){.call = s->st.call, .slot_offset = s->st.slot_offset};
    s->e->fn = s->fn;
    LLVMPositionBuilderAtEnd(s->e->b, s->at);
}

/* if (watch) watch->lap(watch, k): one branch that is never taken where neither --profile nor --guard is asked for. A second copy of the step without it would save
 * that nanosecond, and cost a twentieth of the compile time and of the program. */
static void watch_lap(StepEmit *s, int64_t k) {
    Emit *e = s->e;
    in_step(s);
    LLVMTypeRef params[2] = {e->ptr, e->i64};
    LLVMValueRef watch = emit_member(e, s->st.call, offsetof(struct nn_call, watch), e->ptr, "watch"),
                 args[2] = {watch, emit_i64(e, k)};
    LLVMBasicBlockRef lap = emit_block(e, "lap"), on_ = emit_block(e, "on");
    LLVMBuildCondBr(e->b, LLVMBuildIsNull(e->b, watch, ""), on_, lap);
    LLVMPositionBuilderAtEnd(e->b, lap);
    LLVMValueRef fn = emit_member(e, watch, offsetof(struct nn_watch, lap), e->ptr, ""),
                 call = LLVMBuildCall2(e->b, LLVMFunctionType(e->void_type, params, 2, 0), fn, args, 2, "");
    unsigned cold = LLVMGetEnumAttributeKindForName("cold", 4);
    LLVMAddCallSiteAttribute(call, LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(e->ctx, cold, 0));
    LLVMBuildBr(e->b, on_);
    s->at = on_;
}

static void call_kernel(StepEmit *s, const StepNode *node) {
    Emit *e = s->e;
    int64_t which = (int64_t)(s->next - s->first);
    const KernelCall *c = &e->plan->calls.at[s->next++];
    if (c->node != node || c->n_outer != s->outer.n)
        bug("step %s: %s is not the kernel that was planned", e->step->func->name, node->name);
    in_step(s);
    LLVMBasicBlockRef mine = NULL, on_ = NULL;
    if (!emit_has_parallel(&node->body)) {
        mine = emit_block(e, "first_thread");
        on_ = emit_block(e, "on");
        LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntEQ, MEMBER(e, &s->st, thread, thread, e->i64), emit_i64(e, 0), ""), mine,
                        on_);
        LLVMPositionBuilderAtEnd(e->b, mine);
    }
    LLVMValueRef *args = arena_make_n(e->arena, LLVMValueRef, (size_t)(KERNEL_PARAMS + c->n_outer + c->n_sites + c->n_pieces)),
                 fn = kernel_function(e, c->kernel);
    int n = 0;
    args[n++] = s->st.call;
    args[n++] = MEMBER(e, &s->st, batch, batch, e->i64);
    args[n++] = MEMBER(e, &s->st, thread, thread, e->i64);
    args[n++] = MEMBER(e, &s->st, threads, threads, e->i64);
    for (int i = 0; i < c->n_outer; i++) args[n++] = s->outer.value[i];
    for (int i = 0; i < c->n_sites; i++) args[n++] = emit_i64(e, c->sites[i]);
    for (int i = 0; i < c->n_pieces; i++) args[n++] = buffer_address(e, &s->st, c->lowest[i]);
    LLVMBuildCall2(e->b, LLVMGlobalGetValueType(fn), fn, args, (unsigned)n, "");
    if (on_) {
        LLVMBuildBr(e->b, on_);
        LLVMPositionBuilderAtEnd(e->b, on_);
    }
    s->at = LLVMGetInsertBlock(e->b);
    watch_lap(s, which);
}

static void call_barrier(StepEmit *s) {
    Emit *e = s->e;
    LLVMValueRef fn = emit_function(e, "nn_barrier_wait", e->void_type, 1, &e->ptr);
    in_step(s);
    LLVMBuildCall2(e->b, LLVMGlobalGetValueType(fn), fn, &s->st.call, 1, "");
    watch_lap(s, s->n_kernels);
}

static void step_nodes(StepEmit *s, StepNode *const *at, size_t n);

/* How many turns a loop of the step makes: a constant, the batch, or a number in memory. */
static LLVMValueRef trip_count(StepEmit *s, const StepNode *node) {
    Emit *e = s->e;
    if (!node->trip) {
        LLVMValueRef v = LLVMBuildLoad2(e->b, e->i32, buffer_address(e, &s->st, node->count), "");
        return LLVMBuildSExt(e->b, v, e->i64, "");
    }
    LLVMValueRef sum = emit_i64(e, node->trip->constant);
    for (int i = 0; i < node->trip->n; i++) {
        const Var *v = node->trip->term[i].var;
        LLVMValueRef x = v == e->step->batch ? MEMBER(e, &s->st, batch, batch, e->i64) : NULL;
        for (int j = 0; j < s->outer.n; j++)
            if (s->outer.var[j] == v) x = s->outer.value[j];
        if (!x) bug("the turns of a loop of step %s depend on %s", e->step->func->name, v->name);
        sum = LLVMBuildAdd(e->b, sum, LLVMBuildMul(e->b, x, emit_i64(e, node->trip->term[i].factor), ""), "");
    }
    return sum;
}

/* for turn in 0..trip { nodes }, or while (*count && turn < max) { nodes }: all threads alike. */
static void step_loop(StepEmit *s, const StepNode *node) {
    Emit *e = s->e;
    in_step(s);
    LLVMValueRef trip = node->kind == STEP_LOOP ? trip_count(s, node) : emit_i64(e, node->max), zero = emit_i64(e, 0);
    LLVMBasicBlockRef from = LLVMGetInsertBlock(e->b), test = emit_block(e, "test"), body = emit_block(e, "turn"),
                      done = emit_block(e, "done");
    LLVMBuildBr(e->b, test);
    s->at = test;
    in_step(s);
    LLVMValueRef turn = LLVMBuildPhi(e->b, e->i64, "");
    LLVMAddIncoming(turn, &zero, &from, 1);
    LLVMValueRef more = LLVMBuildICmp(e->b, LLVMIntSLT, turn, trip, "");
    if (node->kind == STEP_WHILE) {
        LLVMValueRef yes = LLVMBuildLoad2(e->b, e->i8, buffer_address(e, &s->st, node->count), "");
        more = LLVMBuildAnd(e->b, more, LLVMBuildICmp(e->b, LLVMIntNE, yes, LLVMConstNull(e->i8), ""), "");
    }
    LLVMBuildCondBr(e->b, more, body, done);
    s->at = body;
    bool counts = node->var != NULL;
    if (counts) {
        s->outer.var[s->outer.n] = node->var;
        s->outer.value[s->outer.n++] = turn;
    }
    step_nodes(s, node->nodes.at, node->nodes.n);
    if (counts) s->outer.n--;
    in_step(s);
    LLVMValueRef next = LLVMBuildNSWAdd(e->b, turn, emit_i64(e, 1), "");
    LLVMAddIncoming(turn, &next, &s->at, 1);
    LLVMBuildBr(e->b, test);
    s->at = done;
    in_step(s);
}

static void step_nodes(StepEmit *s, StepNode *const *at, size_t n) {
    for (size_t i = 0; i < n; i++) {
        switch (at[i]->kind) {
        case STEP_KERNEL: call_kernel(s, at[i]); break;
        case STEP_BARRIER: call_barrier(s); break;
        case STEP_LOOP:
        case STEP_WHILE: step_loop(s, at[i]); break;
        }
    }
}

/* slot_offset: bytes in the frame; for fields and inputs the index in nn_call.fields. */
static LLVMValueRef emit_step(Emit *e, size_t index, const int64_t *slot_offset) {
    const Step *step = e->plan->program->steps.at[index];
    size_t first_call = e->plan->first_call[index];
    begin_step(e, step);
    StepEmit s = {.e = e,
                  .first = first_call,
                  .next = first_call,
                  .n_kernels = (int64_t)(e->plan->first_call[index + 1] - first_call),
                  .fn = define(e, arena_printf(e->arena, "step.%s", step->func->name), e->void_type, 1, &e->ptr)};
    e->fn = s.fn;
    s.at = emit_block(e, "");
    s.st = (StepState){.call = LLVMGetParam(s.fn, 0), .slot_offset = slot_offset};
    if (s.n_kernels > CALLS_MOST) compile_fast(e, s.fn);
    step_nodes(&s, step->nodes.at, step->nodes.n);
    in_step(&s);
    LLVMBuildRetVoid(e->b);
    return s.fn;
}

LLVMValueRef *emit_steps(Emit *e, const int64_t *slot_offset) {
    const LoopsProgram *p = e->plan->program;
    const char *only = e->plan->only;
    LLVMValueRef *steps = arena_make_n(e->arena, LLVMValueRef, p->steps.n + 1);
    for (size_t i = 0; i < p->steps.n; i++)
        if (!only || !strcmp(only, p->steps.at[i]->func->name)) steps[i] = emit_step(e, i, slot_offset);
    return steps;
}
