/*
 * math.c - exp, log, tanh and kin for f32 in LLVM: each row of ir/math.def becomes one instruction, on scalars or on vectors of any width, so that every lane has the
 * bits of the evaluator.
 */
#include "emit.h"

#include <stdint.h>
#include <string.h>

/* The type of one lane, with as many lanes as m->lanes. */
typedef struct Math { /* no member may have the name of a row's parameter in the macros below */
    Emit *e;
    LLVMBuilderRef llvm;
    int lanes;
    LLVMTypeRef tf, td, ti, tl; /* f32, f64, i32, i64 */
} Math;

static LLVMValueRef lane_call(Math *m, const char *name, LLVMTypeRef t, int n, LLVMValueRef *args) {
    return emit_intrinsic(m->e, name, 1, &t, n, args);
}

/* Without the instruction (--no-fma): reductions of arguments need what a rounded product loses. f32 goes through f64, where the product is exact and the sum
 * is rounded to 53 bits first: seldom another bit than fma, and as exact. f64 (in pow, and in sin and cos of large arguments) is the C library's
 * function. */
static LLVMValueRef lane_fused(Math *m, LLVMTypeRef t, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
    if (!m->e->target->fma && t == m->tf) {
        LLVMValueRef wide =
            LLVMBuildFMul(m->llvm, LLVMBuildFPExt(m->llvm, a, m->td, ""), LLVMBuildFPExt(m->llvm, b, m->td, ""), "");
        return LLVMBuildFPTrunc(m->llvm, LLVMBuildFAdd(m->llvm, wide, LLVMBuildFPExt(m->llvm, c, m->td, ""), ""), t, "");
    }
    LLVMValueRef args[3] = {a, b, c};
    return lane_call(m, "llvm.fma", t, 3, args);
}

static LLVMValueRef lane_real(Math *m, LLVMTypeRef t, double c) {
    return emit_splat_value(m->e, LLVMConstReal(m->lanes > 1 ? LLVMGetElementType(t) : t, c), m->lanes);
}

static LLVMValueRef lane_whole(Math *m, LLVMTypeRef t, int64_t c) {
    return emit_splat_value(m->e, LLVMConstInt(m->lanes > 1 ? LLVMGetElementType(t) : t, (uint64_t)c, 1), m->lanes);
}

/* m ? a : b by the comparison given. */
static LLVMValueRef lane_pick(Math *m, LLVMRealPredicate p, LLVMValueRef a, LLVMValueRef b) {
    return LLVMBuildSelect(m->llvm, LLVMBuildFCmp(m->llvm, p, a, b, ""), a, b, "");
}

/* What is rare is not optimized, unless it is short: a few dozen operations take LLVM no time, and exp's rare case is not so rare where a mask has made
 * half of the arguments -inf (attention). */
static void optimize_short(LLVMValueRef fn) {
    enum { SHORT = 64 };
    int n = 0;
    for (LLVMValueRef i = LLVMGetFirstInstruction(LLVMGetFirstBasicBlock(fn)); i; i = LLVMGetNextInstruction(i)) n++;
    if (n > SHORT) return;
    LLVMRemoveEnumAttributeAtIndex(fn, LLVMAttributeFunctionIndex, LLVMGetEnumAttributeKindForName("optnone", 7));
}

/* The function of a rare case, for m's lanes: out of the way, and once a module. */
static LLVMValueRef rare_function(Math *m, const char *name, LLVMValueRef (*rows)(Math *m, LLVMValueRef x)) {
    Emit *e = m->e;
    const char *full = arena_printf(e->arena, "nn.%s.%d", name, m->lanes);
    LLVMValueRef fn = LLVMGetNamedFunction(e->module, full);
    if (fn) return fn;
    Aside aside = emit_aside_begin(e, full, m->tf, 1, &m->tf, true);
    LLVMBuildRet(e->b, rows(m, LLVMGetParam(aside.fn, 0)));
    optimize_short(aside.fn);
    emit_aside_end(e, &aside);
    return aside.fn;
}

static Math math_of(Emit *e, int n) {
    return (Math){e, e->b, n, emit_vector(e->f32, n), emit_vector(e->f64, n), emit_vector(e->i32, n), emit_vector(e->i64, n)};
}

/* Lanes from .. from + n - 1 of v; those that it does not have may hold anything. */
static LLVMValueRef lanes_from(Math *m, LLVMValueRef v, int from, int n) {
    LLVMValueRef at[64];
    int has = (int)LLVMGetVectorSize(LLVMTypeOf(v));
    for (int i = 0; i < n; i++)
        at[i] = from + i < has ? LLVMConstInt(m->e->i32, (unsigned)(from + i), 0) : LLVMGetUndef(m->e->i32);
    return LLVMBuildShuffleVector(m->llvm, v, LLVMGetUndef(LLVMTypeOf(v)), LLVMConstVector(at, (unsigned)n), "");
}

/* The lanes of a, then those of b. */
static LLVMValueRef lanes_joined(Math *m, LLVMValueRef a, LLVMValueRef b) {
    LLVMValueRef at[64];
    unsigned n = 2 * LLVMGetVectorSize(LLVMTypeOf(a));
    for (unsigned i = 0; i < n; i++) at[i] = LLVMConstInt(m->e->i32, i, 0);
    return LLVMBuildShuffleVector(m->llvm, a, b, LLVMConstVector(at, n), "");
}

/* name(x), vector by vector: there is one function, whether loops take one vector at once or two. */
static LLVMValueRef rare_call(Math *m, const char *name, LLVMValueRef (*rows)(Math *m, LLVMValueRef x), LLVMValueRef x) {
    if (m->lanes * 4 > m->e->target->vector_bytes) {
        Math half = math_of(m->e, m->lanes / 2);
        LLVMValueRef low = rare_call(&half, name, rows, lanes_from(m, x, 0, half.lanes)),
                     high = rare_call(&half, name, rows, lanes_from(m, x, half.lanes, half.lanes));
        return lanes_joined(m, low, high);
    }
    LLVMValueRef fn = rare_function(m, name, rows);
    return LLVMBuildCall2(m->llvm, LLVMGlobalGetValueType(fn), fn, &x, 1, "");
}

/* What the call of a rare function sends to the stack are vectors, constants among them that the usual case then reads from there. LLVM aligns the stack
 * only for what it knows of before it has assigned registers, and a vector across the border of two cache lines takes twice as long. */
static void align_stack(Emit *e) {
    unsigned kind = LLVMGetEnumAttributeKindForName("alignstack", 10);
    LLVMAddAttributeAtIndex(e->fn, LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(e->ctx, kind, (uint64_t)e->target->vector_bytes));
}

/* rare ? name(x) : usual; the function is called where one lane wants it, and its other lanes are thrown away. */
static LLVMValueRef lane_rare(Math *m, LLVMValueRef rare, const char *name, LLVMValueRef (*rows)(Math *m, LLVMValueRef x),
                              LLVMValueRef x, LLVMValueRef usual) {
    align_stack(m->e);
    LLVMBasicBlockRef from = LLVMGetInsertBlock(m->llvm), some = emit_block(m->e, "rare"), on = emit_block(m->e, "on");
    /* lanes that a mask leaves out may hold anything, even LLVM's undef, on which it must not branch */
    LLVMBuildCondBr(m->llvm, LLVMBuildFreeze(m->llvm, emit_any(m->e, rare, m->lanes), ""), some, on);
    LLVMPositionBuilderAtEnd(m->llvm, some);
    LLVMValueRef other = rare_call(m, name, rows, x), mixed = LLVMBuildSelect(m->llvm, rare, other, usual, "");
    LLVMBuildBr(m->llvm, on);
    LLVMPositionBuilderAtEnd(m->llvm, on);
    LLVMValueRef r = LLVMBuildPhi(m->llvm, m->tf, "");
    LLVMAddIncoming(r, &usual, &from, 1);
    LLVMAddIncoming(r, &mixed, &some, 1);
    return r;
}

static LLVMValueRef lane_bits(Math *m, LLVMValueRef x, LLVMTypeRef t) { return LLVMBuildBitCast(m->llvm, x, t, ""); }

static LLVMValueRef lane_scale(Math *m, LLVMValueRef t) {
    LLVMValueRef k = LLVMBuildAdd(m->llvm, lane_bits(m, t, m->tl), lane_whole(m, m->tl, 1023), "");
    return lane_bits(m, LLVMBuildShl(m->llvm, k, lane_whole(m, m->tl, 52), ""), m->td);
}

/* ---- tables of eight ---- */

enum { TABLE = 8 };

/* The table `copies` times over, as a constant vector. */
static LLVMValueRef table_vector(Math *m, const double *numbers, int copies) {
    LLVMValueRef at[2 * TABLE];
    for (int i = 0; i < copies * TABLE; i++) at[i] = LLVMConstReal(m->e->f32, numbers[i % TABLE]);
    return LLVMConstVector(at, (unsigned)(copies * TABLE));
}

/* One instruction: the lanes of a vector, permuted. On x86 by the low bits of each i32 (3 of them in vectors of 8, 4 in those of 16); on ARM byte by byte
 * from two vectors of 16. */
static LLVMValueRef table_permuted(Math *m, LLVMValueRef i, int lanes, const double *numbers) {
    if (lanes != 4) {
        LLVMValueRef args[2] = {table_vector(m, numbers, lanes / TABLE), i};
        return emit_intrinsic(m->e, lanes == TABLE ? "llvm.x86.avx2.permps" : "llvm.x86.avx512.permvar.sf.512", 0, NULL, 2, args);
    }
    LLVMTypeRef bytes = LLVMVectorType(m->e->i8, 16);
    LLVMValueRef which = LLVMBuildAnd(m->llvm, i, emit_splat_value(m->e, LLVMConstInt(m->e->i32, TABLE - 1, 0), 4), "");
    which = LLVMBuildMul(m->llvm, which, emit_splat_value(m->e, LLVMConstInt(m->e->i32, 0x04040404, 0), 4), "");
    which = LLVMBuildAdd(m->llvm, which, emit_splat_value(m->e, LLVMConstInt(m->e->i32, 0x03020100, 0), 4), "");
    LLVMValueRef table = table_vector(m, numbers, 1), args[3] = {LLVMBuildBitCast(m->llvm, lanes_from(m, table, 0, 4), bytes, ""),
                                                                 LLVMBuildBitCast(m->llvm, lanes_from(m, table, 4, 4), bytes, ""),
                                                                 LLVMBuildBitCast(m->llvm, which, bytes, "")};
    return LLVMBuildBitCast(m->llvm, emit_intrinsic(m->e, "llvm.aarch64.neon.tbl2", 1, &bytes, 3, args),
                            LLVMVectorType(m->e->f32, 4), "");
}

/* The table in memory, once a module: its name is made of its numbers (FNV-1a). */
static LLVMValueRef table_memory(Math *m, const double *numbers) {
    Emit *e = m->e;
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < TABLE * sizeof *numbers; i++) hash = (hash ^ ((const unsigned char *)numbers)[i]) * 0x100000001b3u;
    const char *name = arena_printf(e->arena, "nn.table.%016llx", (unsigned long long)hash);
    LLVMValueRef table = table_vector(m, numbers, 1), known = LLVMGetNamedGlobal(e->module, name);
    if (known && LLVMGetInitializer(known) == table) return known;
    LLVMValueRef all = LLVMAddGlobal(e->module, LLVMTypeOf(table), name);
    LLVMSetInitializer(all, table);
    LLVMSetGlobalConstant(all, 1);
    LLVMSetLinkage(all, LLVMPrivateLinkage);
    LLVMSetUnnamedAddress(all, LLVMGlobalUnnamedAddr);
    return all;
}

/* From memory, one lane after the other. Lanes that a mask leaves out may hold LLVM's undef, which must not be an address. */
static LLVMValueRef table_loaded(Math *m, LLVMValueRef i, const double *numbers) {
    Emit *e = m->e;
    LLVMValueRef all = table_memory(m, numbers), r = LLVMGetUndef(m->tf),
                 which = LLVMBuildAnd(m->llvm, LLVMBuildFreeze(m->llvm, i, ""), lane_whole(m, m->ti, TABLE - 1), "");
    for (int k = 0; k < m->lanes; k++) {
        LLVMValueRef lane = LLVMConstInt(e->i32, (unsigned)k, 0),
                     one = m->lanes > 1 ? LLVMBuildExtractElement(m->llvm, which, lane, "") : which,
                     p = LLVMBuildGEP2(m->llvm, e->f32, all, &one, 1, ""), v = LLVMBuildLoad2(m->llvm, e->f32, p, "");
        if (m->lanes == 1) return v;
        r = LLVMBuildInsertElement(m->llvm, r, v, lane, "");
    }
    return r;
}

/* Number i mod 8 of eight, for any number of lanes: more than a register has in halves, fewer padded. */
static LLVMValueRef table_lanes(Math *m, LLVMValueRef i, int lanes, bool arm, const double *numbers) {
    int most = m->e->target->vector_bytes / 4;
    if (lanes > most) {
        LLVMValueRef low = table_lanes(m, lanes_from(m, i, 0, lanes / 2), lanes / 2, arm, numbers),
                     high = table_lanes(m, lanes_from(m, i, lanes / 2, lanes / 2), lanes / 2, arm, numbers);
        return lanes_joined(m, low, high);
    }
    int least = arm ? 4 : TABLE;
    if (lanes >= least) return table_permuted(m, i, lanes, numbers);
    return lanes_from(m, table_permuted(m, lanes_from(m, i, 0, least), least, numbers), 0, lanes);
}

static bool is_arm(const BackendTarget *t) { return !strncmp(t->triple, "aarch64", 7) || !strncmp(t->triple, "arm64", 5); }

static LLVMValueRef lane_table(Math *m, LLVMValueRef i, const double *numbers) {
    bool arm = is_arm(m->e->target);
    if (m->lanes == 1 || (!arm && m->e->target->vector_bytes < 32)) return table_loaded(m, i, numbers);
    return table_lanes(m, i, m->lanes, arm, numbers);
}

#define ROW(r, value) LLVMValueRef r = (value);

#define MATH_FN1(name)   static LLVMValueRef math_##name(Math *m_, LLVMValueRef x) {
#define MATH_FN2(name)   static LLVMValueRef math_##name(Math *m_, LLVMValueRef x, LLVMValueRef y) {
#define MATH_RARE1(name) MATH_FN1(name)
#define MATH_RETURN(r)                                                                                                           \
    return r;                                                                                                                    \
    }

#define F_CONST(r, c)        ROW(r, lane_real(m_, m_->tf, c))
#define F_ADD(r, a, b)       ROW(r, LLVMBuildFAdd(m_->llvm, a, b, ""))
#define F_SUB(r, a, b)       ROW(r, LLVMBuildFSub(m_->llvm, a, b, ""))
#define F_MUL(r, a, b)       ROW(r, LLVMBuildFMul(m_->llvm, a, b, ""))
#define F_DIV(r, a, b)       ROW(r, LLVMBuildFDiv(m_->llvm, a, b, ""))
#define F_FMA(r, a, b, c)    ROW(r, lane_fused(m_, m_->tf, a, b, c))
#define F_MIN(r, a, b)       ROW(r, lane_pick(m_, LLVMRealOLT, a, b))
#define F_MAX(r, a, b)       ROW(r, lane_pick(m_, LLVMRealOGT, a, b))
#define F_ABS(r, a)          ROW(r, lane_call(m_, "llvm.fabs", m_->tf, 1, &a))
#define F_NEG(r, a)          ROW(r, LLVMBuildFNeg(m_->llvm, a, ""))
#define F_LT(m, a, b)        ROW(m, LLVMBuildFCmp(m_->llvm, LLVMRealOLT, a, b, ""))
#define F_LE(m, a, b)        ROW(m, LLVMBuildFCmp(m_->llvm, LLVMRealOLE, a, b, ""))
#define F_EQ(m, a, b)        ROW(m, LLVMBuildFCmp(m_->llvm, LLVMRealOEQ, a, b, ""))
#define F_SELECT(r, m, a, b) ROW(r, LLVMBuildSelect(m_->llvm, m, a, b, ""))
#define F_TABLE(r, i, ...)   ROW(r, lane_table(m_, i, (const double[8]){__VA_ARGS__}))
#define F_BITS(i, a)         ROW(i, lane_bits(m_, a, m_->ti))
#define F_D(r, a)            ROW(r, LLVMBuildFPExt(m_->llvm, a, m_->td, ""))
#define D_CONST(r, c)        ROW(r, lane_real(m_, m_->td, c))
#define D_ADD(r, a, b)       ROW(r, LLVMBuildFAdd(m_->llvm, a, b, ""))
#define D_SUB(r, a, b)       ROW(r, LLVMBuildFSub(m_->llvm, a, b, ""))
#define D_MUL(r, a, b)       ROW(r, LLVMBuildFMul(m_->llvm, a, b, ""))
#define D_DIV(r, a, b)       ROW(r, LLVMBuildFDiv(m_->llvm, a, b, ""))
#define D_FMA(r, a, b, c)    ROW(r, lane_fused(m_, m_->td, a, b, c))
#define D_MIN(r, a, b)       ROW(r, lane_pick(m_, LLVMRealOLT, a, b))
#define D_MAX(r, a, b)       ROW(r, lane_pick(m_, LLVMRealOGT, a, b))
#define D_ABS(r, a)          ROW(r, lane_call(m_, "llvm.fabs", m_->td, 1, &a))
#define D_LT(m, a, b)        ROW(m, LLVMBuildFCmp(m_->llvm, LLVMRealOLT, a, b, ""))
#define D_LE(m, a, b)        ROW(m, LLVMBuildFCmp(m_->llvm, LLVMRealOLE, a, b, ""))
#define D_EQ(m, a, b)        ROW(m, LLVMBuildFCmp(m_->llvm, LLVMRealOEQ, a, b, ""))
#define D_SELECT(r, m, a, b) ROW(r, LLVMBuildSelect(m_->llvm, m, a, b, ""))
#define D_F(r, a)            ROW(r, LLVMBuildFPTrunc(m_->llvm, a, m_->tf, ""))
#define D_SCALE(r, t)        ROW(r, lane_scale(m_, t))
#define I_CONST(r, c)        ROW(r, lane_whole(m_, m_->ti, c))
#define I_ADD(r, a, b)       ROW(r, LLVMBuildAdd(m_->llvm, a, b, ""))
#define I_SUB(r, a, b)       ROW(r, LLVMBuildSub(m_->llvm, a, b, ""))
#define I_AND(r, a, b)       ROW(r, LLVMBuildAnd(m_->llvm, a, b, ""))
#define I_OR(r, a, b)        ROW(r, LLVMBuildOr(m_->llvm, a, b, ""))
#define I_XOR(r, a, b)       ROW(r, LLVMBuildXor(m_->llvm, a, b, ""))
#define I_SHL(r, a, n)       ROW(r, LLVMBuildShl(m_->llvm, a, lane_whole(m_, m_->ti, n), ""))
#define I_SAR(r, a, n)       ROW(r, LLVMBuildAShr(m_->llvm, a, lane_whole(m_, m_->ti, n), ""))
#define I_SHR(r, a, n)       ROW(r, LLVMBuildLShr(m_->llvm, a, lane_whole(m_, m_->ti, n), ""))
#define I_LT(m, a, b)        ROW(m, LLVMBuildICmp(m_->llvm, LLVMIntSLT, a, b, ""))
#define I_EQ(m, a, b)        ROW(m, LLVMBuildICmp(m_->llvm, LLVMIntEQ, a, b, ""))
#define I_F(r, a)            ROW(r, LLVMBuildSIToFP(m_->llvm, a, m_->tf, ""))
#define I_FLOAT(r, i)        ROW(r, lane_bits(m_, i, m_->tf))
#define M_AND(m, a, b)       ROW(m, LLVMBuildAnd(m_->llvm, a, b, ""))
#define M_OR(m, a, b)        ROW(m, LLVMBuildOr(m_->llvm, a, b, ""))
#define M_NOT(m, a)          ROW(m, LLVMBuildNot(m_->llvm, a, ""))

#define F_RARE(r, m, name, a, b) ROW(r, lane_rare(m_, m, #name, math_##name, a, b))

#include "ir/math.def"

static int lanes_of(LLVMValueRef x) {
    LLVMTypeRef t = LLVMTypeOf(x);
    return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? (int)LLVMGetVectorSize(t) : 1;
}

static Math math_types(Emit *e, LLVMValueRef x) { return math_of(e, lanes_of(x)); }

LLVMValueRef emit_math(Emit *e, OpCode op, LLVMValueRef x, LLVMValueRef y) {
    Math m = math_types(e, x);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch-enum" /* the functions of math.def; NULL for any other op */
    switch (op) {
    case OP_exp: return math_exp(&m, x);
    case OP_expm1: return math_expm1(&m, x);
    case OP_log: return math_log(&m, x);
    case OP_log1p: return math_log1p(&m, x);
    case OP_sin: return math_sin(&m, x);
    case OP_cos: return math_cos(&m, x);
    case OP_tanh: return math_tanh(&m, x);
    case OP_sigmoid: return math_sigmoid(&m, x);
    case OP_erf: return math_erf(&m, x);
    case OP_pow: return math_pow(&m, x, y);
    default: return NULL;
    }
#pragma GCC diagnostic pop
}
