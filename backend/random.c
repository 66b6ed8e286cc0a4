/*
 * random.c - the random numbers of ir/random.h in LLVM, bit for bit: draws, and the stirring of keys.
 *
 * A block of Philox has four words, which are elements 16 apart. One draw by itself uses one of them, and waits for ten rounds of products. Vectors of neighbouring
 * elements therefore read a window, a copy on the kernel's stack of the 64 or 128 elements that were made last, and make the next 64 at once, 16 blocks side by side,
 * where it ends:
 *
 *   %v[i, j] = uniform(site, key, 784*i + j)  =>  e = 784*i + j ;  unless e .. e + 7 are in the window { nn.draws(window, key, site, e, e + 7) } ;  load window[e]
 *
 * That is 3 to 4 cycles a number with AVX2 in place of 33. A register tile's rows lie far apart, each in another 64: what is behind a product reads draws that a kernel in
 * front of it made (passes/fuse_draws.c).
 */
#include "emit.h"

#include <stddef.h>
#include <stdint.h>

enum { GROUP = 64, BLOCKS = 16, WORDS = 4, ROUNDS = 10 };

/* ---- Philox ---- */

static LLVMValueRef shifted(Emit *e, LLVMValueRef x, int by, int lanes) {
    return LLVMBuildLShr(e->b, x, emit_splat_value(e, emit_i64(e, by), lanes), "");
}

static LLVMValueRef with(Emit *e, LLVMValueRef x, int64_t bits, int lanes) {
    return LLVMBuildAnd(e->b, x, emit_splat_value(e, emit_i64(e, bits), lanes), "");
}

static LLVMValueRef xor3(Emit *e, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c) {
    return LLVMBuildXor(e->b, LLVMBuildXor(e->b, a, b, ""), c, "");
}

/* v, and v again, until there are as many lanes. */
static LLVMValueRef repeated(Emit *e, LLVMValueRef v, int has, int lanes) {
    LLVMValueRef at[64];
    if (has == lanes) return v;
    for (int i = 0; i < lanes; i++) at[i] = LLVMConstInt(e->i32, (unsigned)(i % has), 0);
    return LLVMBuildShuffleVector(e->b, v, LLVMGetPoison(LLVMTypeOf(v)), LLVMConstVector(at, (unsigned)lanes), "");
}

/* One round. Words and keys are the lower halves of 64 bits; what is in the upper ones does not matter: so no word is ever moved from one half to the other but by
 * the shift that takes a product's upper half. */
static void philox_round(Emit *e, LLVMValueRef c[WORDS], LLVMValueRef key0, LLVMValueRef key1, int lanes) {
    LLVMValueRef by0 = emit_splat_value(e, emit_i64(e, 0xd2511f53), lanes),
                 by1 = emit_splat_value(e, emit_i64(e, 0xcd9e8d57), lanes);
    LLVMValueRef p0 = LLVMBuildMul(e->b, with(e, c[0], UINT32_MAX, lanes), by0, "");
    LLVMValueRef p1 = LLVMBuildMul(e->b, with(e, c[2], UINT32_MAX, lanes), by1, "");
    LLVMValueRef c0 = xor3(e, shifted(e, p1, 32, lanes), c[1], key0), c2 = xor3(e, shifted(e, p0, 32, lanes), c[3], key1);
    c[0] = c0;
    c[1] = p1;
    c[2] = c2;
    c[3] = p0;
}

/* Ten rounds, in a loop: written out, products of products are what LLVM's analyses of bits take longest over (a quarter of compiling a small network).
 * key_lanes: of the keys' vectors, which stand for all lanes. */
static void philox(Emit *e, LLVMValueRef c[WORDS], int lanes, LLVMValueRef key, int key_lanes) {
    enum { STATE = WORDS + 2, COUNTER = STATE };
    LLVMValueRef start[STATE + 1] = {c[0], c[1], c[2], c[3], key, shifted(e, key, 32, key_lanes), LLVMConstNull(e->i32)},
                               at[STATE + 1], next[STATE + 1];
    LLVMBasicBlockRef from = LLVMGetInsertBlock(e->b), round = emit_block(e, "round"), done = emit_block(e, "rounds");
    LLVMBuildBr(e->b, round);
    LLVMPositionBuilderAtEnd(e->b, round);
    for (int i = 0; i <= STATE; i++) {
        next[i] = at[i] = LLVMBuildPhi(e->b, LLVMTypeOf(start[i]), "");
        LLVMAddIncoming(at[i], &start[i], &from, 1);
    }
    philox_round(e, next, repeated(e, at[WORDS], key_lanes, lanes), repeated(e, at[WORDS + 1], key_lanes, lanes), lanes);
    next[WORDS] = LLVMBuildAdd(e->b, at[WORDS], emit_splat_value(e, emit_i64(e, 0x9e3779b9), key_lanes), "");
    next[WORDS + 1] = LLVMBuildAdd(e->b, at[WORDS + 1], emit_splat_value(e, emit_i64(e, 0xbb67ae85), key_lanes), "");
    next[COUNTER] = LLVMBuildAdd(e->b, at[COUNTER], LLVMConstInt(e->i32, 1, 0), "");
    for (int i = 0; i <= STATE; i++) LLVMAddIncoming(at[i], &next[i], &round, 1);
    LLVMValueRef more = LLVMBuildICmp(e->b, LLVMIntULT, next[COUNTER], LLVMConstInt(e->i32, ROUNDS, 0), "");
    LLVMBuildCondBr(e->b, more, round, done);
    LLVMPositionBuilderAtEnd(e->b, done);
    for (int i = 0; i < WORDS; i++) c[i] = next[i];
}

/* The upper 24 of the lower 32 bits, times 2^-24. */
static LLVMValueRef unit(Emit *e, LLVMValueRef word, int lanes) {
    LLVMValueRef low = LLVMBuildTrunc(e->b, word, emit_vector(e->i32, lanes), "");
    LLVMValueRef upper = LLVMBuildLShr(e->b, low, emit_splat_value(e, LLVMConstInt(e->i32, 8, 0), lanes), "");
    LLVMValueRef real = LLVMBuildSIToFP(e->b, upper, emit_vector(e->f32, lanes), "");
    return LLVMBuildFMul(e->b, real, emit_splat_value(e, LLVMConstReal(e->f32, 0x1p-24), lanes), "");
}

/* ---- a draw by itself ---- */

/* Element e is word (e / 16) mod 4 of block (e / 64) * 16 + e mod 16. */
static LLVMValueRef draw(Emit *e, LLVMValueRef site, LLVMValueRef key, LLVMValueRef element, int lanes) {
    LLVMValueRef sixteens = LLVMBuildShl(e->b, shifted(e, element, 6, lanes), emit_splat_value(e, emit_i64(e, 4), lanes), "");
    LLVMValueRef block = LLVMBuildAdd(e->b, sixteens, with(e, element, 15, lanes), ""), place = emit_splat_value(e, site, lanes);
    LLVMValueRef c[WORDS] = {block, shifted(e, block, 32, lanes), place, shifted(e, place, 32, lanes)};
    philox(e, c, lanes, key, lanes);
    LLVMValueRef which = with(e, shifted(e, element, 4, lanes), 3, lanes), word = c[3];
    for (int i = 2; i >= 0; i--) {
        LLVMValueRef here = LLVMBuildICmp(e->b, LLVMIntEQ, which, emit_splat_value(e, emit_i64(e, i), lanes), "");
        word = LLVMBuildSelect(e->b, here, c[i], word, "");
    }
    return unit(e, word, lanes);
}

/* ---- windows ---- */

/* Element e of the window is draws[e % 128]; what a vector may read behind the last of them is the first ones again. */
enum { HELD = 2 * GROUP, MOST_LANES = 32 };
typedef struct Window {
    int64_t key, from, n; /* elements from .. from + n - 1, n 64 or 128 */
    float draws[HELD + MOST_LANES];
} Window;

static LLVMValueRef held(Emit *e, LLVMValueRef window, size_t offset) { return emit_member(e, window, offset, e->i64, ""); }

/* Where in the window an element is. */
static LLVMValueRef place_of(Emit *e, LLVMValueRef window, LLVMValueRef element) {
    LLVMValueRef bytes = LLVMBuildShl(e->b, with(e, element, HELD - 1, 1), emit_i64(e, 2), "");
    return LLVMBuildGEP2(e->b, e->i8, emit_bytes_on(e, window, offsetof(Window, draws)), &bytes, 1, "");
}

/* Makes elements 64 * group .. 64 * group + 63: as many blocks at once as registers hold. Goes on in the block behind. */
static void make_group(Emit *e, LLVMValueRef window, LLVMValueRef key, LLVMValueRef site, LLVMValueRef group) {
    int bytes = e->target->vector_bytes, blocks = bytes > 32 ? BLOCKS : BLOCKS / 2, key_lanes = bytes / 8;
    LLVMValueRef to = place_of(e, window, LLVMBuildShl(e->b, group, emit_i64(e, 6), ""));
    LLVMValueRef first = LLVMBuildShl(e->b, group, emit_i64(e, 4), ""), keys = emit_splat_value(e, key, key_lanes);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), some = emit_block(e, "blocks"), done = emit_block(e, "made");
    LLVMBuildBr(e->b, some);
    LLVMPositionBuilderAtEnd(e->b, some);
    LLVMValueRef begin = emit_i64(e, 0), at = LLVMBuildPhi(e->b, e->i64, "");
    LLVMAddIncoming(at, &begin, &before, 1);
    LLVMValueRef block = emit_splat_value(e, LLVMBuildAdd(e->b, first, at, ""), blocks),
                 place = emit_splat_value(e, site, blocks);
    block = LLVMBuildAdd(e->b, block, emit_iota(e, e->i64, blocks, 1), "");
    LLVMValueRef c[WORDS] = {block, shifted(e, block, 32, blocks), place, shifted(e, place, 32, blocks)};
    philox(e, c, blocks, keys, key_lanes);
    for (int w = 0; w < WORDS; w++) {
        LLVMValueRef element = LLVMBuildAdd(e->b, at, emit_i64(e, BLOCKS * w), "");
        LLVMValueRef p = LLVMBuildGEP2(e->b, e->f32, to, &element, 1, "");
        LLVMSetAlignment(LLVMBuildStore(e->b, unit(e, c[w], blocks), p), sizeof(float));
    }
    LLVMValueRef next = LLVMBuildAdd(e->b, at, emit_i64(e, blocks), "");
    LLVMBasicBlockRef last = LLVMGetInsertBlock(e->b);
    LLVMAddIncoming(at, &next, &last, 1);
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, next, emit_i64(e, BLOCKS), ""), some, done);
    LLVMPositionBuilderAtEnd(e->b, done);
}

/* Does the window hold what begins at `element`, n elements of it? */
static LLVMValueRef holds(Emit *e, LLVMValueRef window, LLVMValueRef key, LLVMValueRef element, int n) {
    LLVMValueRef past = LLVMBuildSub(e->b, element, held(e, window, offsetof(Window, from)), "");
    LLVMValueRef most = LLVMBuildSub(e->b, held(e, window, offsetof(Window, n)), emit_i64(e, n), "");
    LLVMValueRef inside = LLVMBuildICmp(e->b, LLVMIntULE, past, most, "");
    return LLVMBuildAnd(e->b, inside, LLVMBuildICmp(e->b, LLVMIntEQ, held(e, window, offsetof(Window, key)), key, ""), "");
}

/* void nn.draws(window, key, site, first, last): the window then holds first .. last, in one group or in two. */
static LLVMValueRef draws_function(Emit *e) {
    LLVMValueRef fn = LLVMGetNamedFunction(e->module, "nn.draws");
    if (fn) return fn;
    LLVMTypeRef params[5] = {e->ptr, e->i64, e->i64, e->i64, e->i64};
    Aside aside = emit_aside_begin(e, "nn.draws", e->void_type, 5, params, false);
    LLVMValueRef window = LLVMGetParam(aside.fn, 0), key = LLVMGetParam(aside.fn, 1), site = LLVMGetParam(aside.fn, 2);
    LLVMValueRef first = shifted(e, LLVMGetParam(aside.fn, 3), 6, 1), last = shifted(e, LLVMGetParam(aside.fn, 4), 6, 1);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b), each = emit_block(e, "each"), make = emit_block(e, "make"),
                      on = emit_block(e, "on"), done = emit_block(e, "done");
    LLVMBuildBr(e->b, each);
    LLVMPositionBuilderAtEnd(e->b, each);
    LLVMValueRef group = LLVMBuildPhi(e->b, e->i64, "");
    LLVMAddIncoming(group, &first, &before, 1);
    LLVMBuildCondBr(e->b, holds(e, window, key, LLVMBuildShl(e->b, group, emit_i64(e, 6), ""), GROUP), on, make);
    LLVMPositionBuilderAtEnd(e->b, make);
    make_group(e, window, key, site, group);
    LLVMBuildBr(e->b, on);
    LLVMPositionBuilderAtEnd(e->b, on);
    LLVMValueRef next = LLVMBuildAdd(e->b, group, emit_i64(e, 1), "");
    LLVMAddIncoming(group, &next, &on, 1);
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLE, next, last, ""), each, done);
    LLVMPositionBuilderAtEnd(e->b, done);
    LLVMValueRef groups = LLVMBuildAdd(e->b, LLVMBuildSub(e->b, last, first, ""), emit_i64(e, 1), "");
    LLVMBuildStore(e->b, key, emit_bytes_on(e, window, offsetof(Window, key)));
    LLVMBuildStore(e->b, LLVMBuildShl(e->b, first, emit_i64(e, 6), ""), emit_bytes_on(e, window, offsetof(Window, from)));
    LLVMBuildStore(e->b, LLVMBuildShl(e->b, groups, emit_i64(e, 6), ""), emit_bytes_on(e, window, offsetof(Window, n)));
    LLVMTypeRef again = LLVMVectorType(e->f32, MOST_LANES);
    LLVMValueRef begin = LLVMBuildLoad2(e->b, again, emit_bytes_on(e, window, offsetof(Window, draws)), "");
    LLVMSetAlignment(begin, sizeof(float));
    LLVMSetAlignment(LLVMBuildStore(e->b, begin, emit_bytes_on(e, window, offsetof(Window, draws) + HELD * sizeof(float))),
                     sizeof(float));
    LLVMBuildRetVoid(e->b);
    emit_aside_end(e, &aside);
    return aside.fn;
}

/* The window of a site, empty at the start of the kernel. */
static LLVMValueRef window_of(Emit *e, Site *s) {
    if (s->window) return s->window;
    s->window = emit_slot(e, LLVMArrayType2(e->i64, sizeof(Window) / sizeof(int64_t)), "draws");
    LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b);
    LLVMPositionBuilderBefore(e->b, LLVMGetNextInstruction(s->window));
    int64_t empty[] = {0, -(INT64_C(1) << 62), GROUP}; /* no element is there */
    size_t at[] = {offsetof(Window, key), offsetof(Window, from), offsetof(Window, n)};
    for (int i = 0; i < 3; i++) LLVMBuildStore(e->b, emit_i64(e, empty[i]), emit_bytes_on(e, s->window, at[i]));
    LLVMPositionBuilderAtEnd(e->b, here);
    return s->window;
}

/* Elements first .. first + lanes - 1. */
static LLVMValueRef draw_side_by_side(Emit *e, Site *s, LLVMValueRef key, LLVMValueRef first, int lanes) {
    LLVMValueRef window = window_of(e, s), there = holds(e, window, key, first, lanes);
    LLVMBasicBlockRef make = emit_block(e, "draw"), on = emit_block(e, "drawn");
    LLVMBuildCondBr(e->b, there, on, make);
    LLVMPositionBuilderAtEnd(e->b, make);
    LLVMValueRef fn = draws_function(e),
                 args[5] = {window, key, s->value, first, LLVMBuildAdd(e->b, first, emit_i64(e, lanes - 1), "")};
    LLVMBuildCall2(e->b, LLVMGlobalGetValueType(fn), fn, args, 5, "");
    LLVMBuildBr(e->b, on);
    LLVMPositionBuilderAtEnd(e->b, on);
    LLVMValueRef v = LLVMBuildLoad2(e->b, emit_vector(e->f32, lanes), place_of(e, window, first), "");
    LLVMSetAlignment(v, sizeof(float));
    return v;
}

/* An i64 that is `first` in lane 0 and `step` more in each lane after it. */
typedef struct Count {
    LLVMValueRef first;
    int64_t step;
} Count;

/* Is x such a number? Sums of indices and of what all lanes share are. */
static bool counts(Emit *e, const Expr *x, Count *n) {
    if (x->kind == EXPR_INDEX) return emit_affine_by_lane(e, x->index[0], &n->first, &n->step);
    if (x->kind == EXPR_OP && x->op == OP_add && x->n_args == 2) {
        Count a, b;
        if (!counts(e, x->args[0], &a) || !counts(e, x->args[1], &b)) return false;
        *n = (Count){LLVMBuildAdd(e->b, a.first, b.first, ""), a.step + b.step};
        return true;
    }
    Val v = emit_expr(e, x);
    *n = (Count){v.v, 0};
    return v.lanes == 1;
}

Val emit_uniform(Emit *e, const Expr *x) {
    Site *s = NULL;
    for (size_t i = 0; i < e->sites.n && !s; i++)
        if (e->sites.at[i].site == x->site) s = &e->sites.at[i];
    if (!s) bug("a draw that the kernel's list has not");
    Val key = emit_expr(e, x->args[0]);
    Count n;
    if (e->lanes > 1 && e->lanes <= MOST_LANES && key.lanes == 1 && counts(e, x->args[1], &n) && n.step == 1)
        return (Val){draw_side_by_side(e, s, key.v, n.first, e->lanes), e->lanes};
    Val element = emit_expr(e, x->args[1]);
    if (key.lanes > element.lanes) element = emit_splat(e, element);
    if (element.lanes > key.lanes) key = emit_splat(e, key);
    return (Val){draw(e, s->value, key.v, element.v, key.lanes), key.lanes};
}

/* ---- keys ---- */

static LLVMValueRef shifted_xor(Emit *e, LLVMValueRef z, int by, int lanes) {
    return LLVMBuildXor(e->b, z, shifted(e, z, by, lanes), "");
}

static LLVMValueRef stir(Emit *e, LLVMValueRef z, int lanes) {
    z = LLVMBuildMul(e->b, shifted_xor(e, z, 30, lanes), emit_splat_value(e, emit_i64(e, (int64_t)0xbf58476d1ce4e5b9u), lanes),
                     "");
    z = LLVMBuildMul(e->b, shifted_xor(e, z, 27, lanes), emit_splat_value(e, emit_i64(e, (int64_t)0x94d049bb133111ebu), lanes),
                     "");
    return shifted_xor(e, z, 31, lanes);
}

LLVMValueRef emit_mix(Emit *e, LLVMValueRef key, LLVMValueRef x) {
    LLVMTypeRef t = LLVMTypeOf(key);
    int lanes = LLVMGetTypeKind(t) == LLVMVectorTypeKind ? (int)LLVMGetVectorSize(t) : 1;
    LLVMValueRef next = LLVMBuildAdd(e->b, x, emit_splat_value(e, emit_i64(e, 1), lanes), "");
    LLVMValueRef turn = LLVMBuildMul(e->b, next, emit_splat_value(e, emit_i64(e, (int64_t)0x9e3779b97f4a7c15u), lanes), "");
    return stir(e, LLVMBuildAdd(e->b, stir(e, key, lanes), turn, ""), lanes);
}
