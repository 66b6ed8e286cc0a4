/*
 * emit_index.c - affine indices, addresses, loads and stores.
 *
 * An index is a Lin: constant + sum of base * factor, where a base is an i64 made once. An address is the buffer's pointer advanced by one term after the other, outer
 * variables first, and the constant last. Each partial address is remembered (emit_known.c):
 *
 *   %x[ii + 3, k]  of f32[.., 784]:   p1 = x + ii * 3136    p2 = p1 + k * 4    load p2 + 9408
 *
 * p1 moves out of the loop over k (LICM), p2 serves all rows of the tile, and 9408 becomes a displacement in the instruction.
 *
 * In a vector loop a load is, by the factor of the loop's variable in the address: 0, one scalar load; 1, a vector load; -1, a vector load and a reversal; any other
 * constant, a load a lane; not constant (an index that was itself loaded), a gather. With lanes missing, vector loads and stores are masked.
 *
 * A guarded load (`else v`) never touches memory outside: where the condition is the same for all lanes, the address is exchanged for that of a block of zeros;
 * where it differs by lane, the load is masked.
 */
#include "emit.h"

#include <math.h>

/* ---- sums of what is known (emit_known.c) ---- */

/* base * factor */
static LLVMValueRef scaled(Emit *e, LLVMValueRef base, int64_t factor) {
    if (factor == 1) return base;
    LLVMValueRef old = emit_known(e, NULL, base, factor);
    if (old) return old;
    return emit_know(e, NULL, base, factor, LLVMBuildNSWMul(e->b, base, emit_i64(e, factor), ""));
}

static LLVMValueRef bytes_on(Emit *e, LLVMValueRef p, LLVMValueRef bytes) { return LLVMBuildGEP2(e->b, e->i8, p, &bytes, 1, ""); }

static LLVMValueRef advanced(Emit *e, LLVMValueRef p, LLVMValueRef base, int64_t factor) {
    LLVMValueRef old = emit_known(e, p, base, factor);
    if (old) return old;
    return emit_know(e, p, base, factor, bytes_on(e, p, scaled(e, base, factor)));
}

/* p + bytes */
static LLVMValueRef displaced(Emit *e, LLVMValueRef p, int64_t bytes) {
    if (!bytes) return p;
    LLVMValueRef old = emit_known(e, p, NULL, bytes);
    if (old) return old;
    return emit_know(e, p, NULL, bytes, bytes_on(e, p, emit_i64(e, bytes)));
}

/* ---- affine indices ---- */

void emit_bind(Emit *e, const Var *v, LLVMValueRef base, int64_t offset, int64_t min, int64_t max) {
    e->bind[v->id] = (Bind){.set = true, .base = base, .offset = offset, .min = min, .max = max, .depth = e->depth};
}

static int64_t bound_mul(int64_t a, int64_t factor) {
    int64_t r;
    if (a == INT64_MIN || a == INT64_MAX) return (a == INT64_MIN) == (factor > 0) ? INT64_MIN : INT64_MAX;
    if (__builtin_mul_overflow(a, factor, &r)) return (a < 0) == (factor > 0) ? INT64_MIN : INT64_MAX;
    return r;
}

/* Unknown stays unknown: INT64_MIN is a lower bound, INT64_MAX an upper one. */
static int64_t bound_add(int64_t a, int64_t b, int64_t unknown) {
    int64_t r;
    if (a == unknown || b == unknown || __builtin_add_overflow(a, b, &r)) return unknown;
    return r;
}

static void lin_term(Lin *l, LLVMValueRef base, int64_t factor, int depth) {
    for (int i = 0; i < l->n; i++) {
        if (l->term[i].base != base) continue;
        l->term[i].factor += factor;
        if (l->term[i].factor == 0) l->term[i] = l->term[--l->n];
        return;
    }
    if (l->n == (int)(sizeof l->term / sizeof *l->term)) bug("an index of more than %d variables", l->n);
    int at = l->n++;
    for (; at > 0 && l->term[at - 1].depth > depth; at--) l->term[at] = l->term[at - 1];
    l->term[at].base = base;
    l->term[at].factor = factor;
    l->term[at].depth = depth;
}

static void lin_add(Emit *e, Lin *l, const Affine *x, int64_t scale, bool load) {
    l->constant += x->constant * scale;
    l->min = bound_add(l->min, x->constant * scale, INT64_MIN);
    l->max = bound_add(l->max, x->constant * scale, INT64_MAX);
    for (int i = 0; i < x->n; i++) {
        const Bind *b = &e->bind[x->term[i].var->id];
        int64_t f = x->term[i].factor * scale;
        if (!b->set) bug("variable %s is used outside its loop", x->term[i].var->name);
        l->min = bound_add(l->min, bound_mul(f > 0 ? b->min : b->max, f), INT64_MIN);
        l->max = bound_add(l->max, bound_mul(f > 0 ? b->max : b->min, f), INT64_MAX);
        if (b->vec) {
            LLVMValueRef v = b->vec;
            if (f != 1) v = LLVMBuildMul(e->b, v, emit_splat_value(e, emit_i64(e, f), e->lanes), "");
            l->vec = l->vec ? LLVMBuildAdd(e->b, l->vec, v, "") : v;
            continue;
        }
        l->lane_factor += f * b->lane_step;
        if (load && b->inside) {
            lin_term(l, b->inside, f, b->depth);
            continue;
        }
        l->constant += f * b->offset;
        if (b->base) lin_term(l, b->base, f, b->depth);
    }
}

Lin emit_lin(Emit *e, const Affine *x, bool load) {
    Lin l = {0};
    lin_add(e, &l, x, 1, load);
    return l;
}

bool emit_affine_range(Emit *e, const Affine *x, int64_t *min, int64_t *max) {
    int64_t lo = x->constant, hi = x->constant;
    for (int i = 0; i < x->n; i++) {
        const Bind *b = &e->bind[x->term[i].var->id];
        int64_t f = x->term[i].factor;
        if (!b->set) bug("variable %s is used outside its loop", x->term[i].var->name);
        lo = bound_add(lo, bound_mul(f > 0 ? b->min : b->max, f), INT64_MIN);
        hi = bound_add(hi, bound_mul(f > 0 ? b->max : b->min, f), INT64_MAX);
    }
    *min = lo;
    *max = hi;
    return lo != INT64_MIN && hi != INT64_MAX;
}

/* The part that is the same for all lanes, as an i64. */
static LLVMValueRef lin_uniform(Emit *e, const Lin *l) {
    LLVMValueRef sum = NULL;
    for (int i = 0; i < l->n; i++) {
        LLVMValueRef t = scaled(e, l->term[i].base, l->term[i].factor);
        sum = sum ? LLVMBuildNSWAdd(e->b, sum, t, "") : t;
    }
    if (!sum) return emit_i64(e, l->constant);
    return l->constant ? LLVMBuildNSWAdd(e->b, sum, emit_i64(e, l->constant), "") : sum;
}

static Val lin_value(Emit *e, const Lin *l) {
    LLVMValueRef u = lin_uniform(e, l);
    if (!l->vec && !l->lane_factor) return (Val){u, 1};
    LLVMValueRef v = emit_splat_value(e, u, e->lanes);
    if (l->lane_factor) v = LLVMBuildAdd(e->b, v, emit_iota(e, e->i64, e->lanes, l->lane_factor), "");
    if (l->vec) v = LLVMBuildAdd(e->b, v, l->vec, "");
    return (Val){v, e->lanes};
}

Val emit_affine(Emit *e, const Affine *x) {
    Lin l = emit_lin(e, x, false);
    return lin_value(e, &l);
}

bool emit_affine_by_lane(Emit *e, const Affine *x, LLVMValueRef *first, int64_t *step) {
    Lin l = emit_lin(e, x, false);
    *first = lin_uniform(e, &l);
    *step = l.lane_factor;
    return !l.vec;
}

/* ---- addresses ---- */

/* Where an access goes: `at` is lane 0's address; lane l is at + l * stride elements, or (vec) at + vec[l] elements. */
typedef struct Access {
    LLVMValueRef at;
    int64_t stride;
    LLVMValueRef vec;
} Access;

static Access address(Emit *e, const Buffer *b, const Affine *const *index, bool load) {
    Lin l = {0};
    int64_t size = elem_size(b->elem);
    for (int i = 0; i < b->rank; i++)
        if (b->stride[i]) lin_add(e, &l, index[i], b->stride[i], load);
    LLVMValueRef p = e->buffer[b->id];
    if (!p) bug("buffer %s has no address in this kernel", b->name);
    for (int i = 0; i < l.n; i++) p = advanced(e, p, l.term[i].base, l.term[i].factor * size);
    return (Access){displaced(e, p, l.constant * size), l.lane_factor, l.vec};
}

/* Element offsets of all lanes. */
static LLVMValueRef lane_offsets(Emit *e, const Access *a) {
    LLVMValueRef v = a->vec;
    if (a->stride || !v) {
        LLVMValueRef s = emit_iota(e, e->i64, e->lanes, a->stride);
        v = v ? LLVMBuildAdd(e->b, v, s, "") : s;
    }
    return v;
}

static LLVMValueRef lane_pointers(Emit *e, const Access *a, LLVMTypeRef memory) {
    LLVMValueRef offsets = lane_offsets(e, a);
    return LLVMBuildGEP2(e->b, memory, a->at, &offsets, 1, "");
}

static LLVMValueRef full_mask(Emit *e, LLVMValueRef mask) {
    return mask ? mask : LLVMConstAllOnes(LLVMVectorType(e->i1, (unsigned)e->lanes));
}

static LLVMValueRef gather(Emit *e, const Access *a, LLVMTypeRef memory, unsigned align, LLVMValueRef mask, LLVMValueRef other) {
    LLVMTypeRef t = LLVMVectorType(memory, (unsigned)e->lanes), types[2] = {t, LLVMVectorType(e->ptr, (unsigned)e->lanes)};
    LLVMValueRef args[4] = {lane_pointers(e, a, memory), LLVMConstInt(e->i32, align, 0), full_mask(e, mask),
                            other ? other : LLVMGetUndef(t)};
    return emit_intrinsic(e, "llvm.masked.gather", 2, types, 4, args);
}

static LLVMValueRef load_scalar(Emit *e, LLVMTypeRef t, LLVMValueRef p, unsigned align) {
    LLVMValueRef v = LLVMBuildLoad2(e->b, t, p, "");
    LLVMSetAlignment(v, align);
    return v;
}

/* One load a lane; strides are constant. */
static LLVMValueRef load_lanes(Emit *e, const Access *a, LLVMTypeRef memory, unsigned size) {
    LLVMValueRef v = LLVMGetPoison(LLVMVectorType(memory, (unsigned)e->lanes));
    for (int l = 0; l < e->lanes; l++) {
        LLVMValueRef p = l ? bytes_on(e, a->at, emit_i64(e, l * a->stride * (int64_t)size)) : a->at;
        v = LLVMBuildInsertElement(e->b, v, load_scalar(e, memory, p, size), LLVMConstInt(e->i32, (unsigned)l, 0), "");
    }
    return v;
}

static LLVMValueRef reversed(Emit *e, LLVMValueRef v) {
    LLVMValueRef *order = arena_make_n(e->arena, LLVMValueRef, (size_t)e->lanes);
    for (int l = 0; l < e->lanes; l++) order[l] = LLVMConstInt(e->i32, (unsigned)(e->lanes - 1 - l), 0);
    return LLVMBuildShuffleVector(e->b, v, LLVMGetPoison(LLVMTypeOf(v)), LLVMConstVector(order, (unsigned)e->lanes), "");
}

static LLVMValueRef masked_load(Emit *e, LLVMTypeRef t, LLVMValueRef p, unsigned align, LLVMValueRef mask, LLVMValueRef other) {
    LLVMTypeRef types[2] = {t, e->ptr};
    LLVMValueRef args[4] = {p, LLVMConstInt(e->i32, align, 0), mask, other ? other : LLVMConstNull(t)};
    return emit_intrinsic(e, "llvm.masked.load", 2, types, 4, args);
}

/* Lanes that differ, behind `mask` (NULL: all); where the mask is off, `other` (NULL: anything). */
static LLVMValueRef load_vector(Emit *e, const Access *a, LLVMTypeRef memory, unsigned size, LLVMValueRef mask,
                                LLVMValueRef other) {
    LLVMTypeRef t = LLVMVectorType(memory, (unsigned)e->lanes);
    if (!a->vec && a->stride == 1) return mask ? masked_load(e, t, a->at, size, mask, other) : load_scalar(e, t, a->at, size);
    if (!a->vec && a->stride == -1 && !mask)
        return reversed(e, load_scalar(e, t, bytes_on(e, a->at, emit_i64(e, -(int64_t)size * (e->lanes - 1))), size));
    if (a->vec || mask) return gather(e, a, memory, size, mask, other);
    return load_lanes(e, a, memory, size);
}

/* One element, or lanes side by side; where the mask is off, 0. */
static LLVMValueRef load_line(Emit *e, const Access *a, LLVMTypeRef memory, unsigned size, LLVMValueRef mask) {
    LLVMTypeRef t = emit_vector(memory, a->stride ? e->lanes : 1);
    LLVMValueRef old = emit_fresh(e, a->at, mask, t);
    if (old) return old;
    LLVMValueRef v = a->stride ? load_vector(e, a, memory, size, mask, NULL) : load_scalar(e, memory, a->at, size);
    return emit_remember(e, a->at, mask, t, v);
}

/* Memory form to value form and back: only bool differs. */
static Val from_memory(Emit *e, Elem elem, Val v) {
    if (elem != BOOL) return v;
    LLVMTypeRef t = LLVMTypeOf(v.v);
    return (Val){LLVMBuildICmp(e->b, LLVMIntNE, v.v, LLVMConstNull(t), ""), v.lanes};
}

static LLVMValueRef to_memory(Emit *e, Elem elem, Val v) {
    return elem == BOOL ? LLVMBuildZExt(e->b, v.v, emit_vector(e->i8, v.lanes), "") : v.v;
}

/* ---- guards ---- */

/* Where both masks are set. */
static LLVMValueRef common(Emit *e, LLVMValueRef a, LLVMValueRef b) {
    LLVMValueRef old = emit_fresh(e, a, b, LLVMTypeOf(a));
    return old ? old : emit_remember(e, a, b, LLVMTypeOf(a), LLVMBuildAnd(e->b, a, b, ""));
}

static Val both(Emit *e, Val a, Val b) {
    if (!a.v) return b;
    if (a.lanes != b.lanes) {
        a = emit_splat(e, a);
        b = emit_splat(e, b);
    }
    return (Val){common(e, a.v, b.v), a.lanes};
}

/* 0 <= index < size on every axis where that is not certain; .v NULL: certain everywhere. */
static Val inside(Emit *e, const Buffer *b, const Affine *const *index) {
    Val ok = {NULL, 1};
    for (int i = 0; i < b->rank; i++) {
        Lin l = emit_lin(e, index[i], true);
        if (l.min >= 0 && !b->dim[i].batch && l.max < b->dim[i].n) continue;
        Val x = lin_value(e, &l);
        LLVMValueRef size = emit_i64(e, b->dim[i].n);
        if (b->dim[i].batch) size = scaled(e, e->bind[e->step->batch->id].base, b->dim[i].n);
        if (x.lanes > 1) size = emit_splat_value(e, size, x.lanes);
        LLVMValueRef less = emit_fresh(e, x.v, size, e->i1);
        if (!less) less = emit_remember(e, x.v, size, e->i1, LLVMBuildICmp(e->b, LLVMIntULT, x.v, size, ""));
        ok = both(e, ok, (Val){less, x.lanes});
    }
    return ok;
}

/* A block of zeros large enough for a vector of any type. */
static LLVMValueRef zeros(Emit *e) {
    LLVMValueRef g = LLVMGetNamedGlobal(e->module, "nn.zeros");
    if (g) return g;
    LLVMTypeRef t = LLVMArrayType2(e->i8, 1024);
    g = LLVMAddGlobal(e->module, t, "nn.zeros");
    LLVMSetInitializer(g, LLVMConstNull(t));
    LLVMSetGlobalConstant(g, 1);
    LLVMSetLinkage(g, LLVMInternalLinkage);
    LLVMSetAlignment(g, 64);
    return g;
}

static LLVMValueRef else_value(Emit *e, const Expr *x, LLVMTypeRef memory, int lanes) {
    return emit_all_equal(e, memory, lanes, x->value, x->elem == BOOL ? U8 : x->elem);
}

static Val load_guarded(Emit *e, const Expr *x, Val ok) {
    const Buffer *b = x->buffer;
    LLVMTypeRef memory = emit_memory_elem(e, b->elem);
    unsigned size = (unsigned)elem_size(b->elem);
    Access a = address(e, b, x->index, true);
    bool uniform = !a.vec && !a.stride;
    if (ok.lanes > 1 || a.vec || (a.stride != 0 && a.stride != 1)) {
        LLVMValueRef mask = emit_splat(e, ok).v;
        if (e->mask) mask = common(e, mask, e->mask);
        if (uniform) a.vec = LLVMConstNull(LLVMVectorType(e->i64, (unsigned)e->lanes));
        LLVMValueRef other = else_value(e, x, memory, e->lanes);
        if (a.vec || a.stride != 1 || !LLVMIsNull(other)) return (Val){load_vector(e, &a, memory, size, mask, other), e->lanes};
        return (Val){load_line(e, &a, memory, size, mask), e->lanes};
    }
    int lanes = uniform ? 1 : e->lanes;
    a.at = LLVMBuildSelect(e->b, ok.v, a.at, zeros(e), "");
    LLVMValueRef v = uniform ? load_scalar(e, memory, a.at, size) : load_vector(e, &a, memory, size, e->mask, NULL);
    if (x->value != 0 || signbit(x->value)) v = LLVMBuildSelect(e->b, ok.v, v, else_value(e, x, memory, lanes), "");
    return (Val){v, lanes};
}

Val emit_load(Emit *e, const Expr *x) {
    const Buffer *b = x->buffer;
    if (x->guarded) {
        Val ok = inside(e, b, x->index);
        if (ok.v) return from_memory(e, b->elem, load_guarded(e, x, ok));
    }
    LLVMTypeRef memory = emit_memory_elem(e, b->elem);
    unsigned size = (unsigned)elem_size(b->elem);
    Access a = address(e, b, x->index, true);
    if (a.vec || (a.stride != 0 && a.stride != 1))
        return from_memory(e, b->elem, (Val){load_vector(e, &a, memory, size, e->mask, NULL), e->lanes});
    LLVMValueRef v = load_line(e, &a, memory, size, a.stride ? e->mask : NULL);
    return from_memory(e, b->elem, (Val){v, a.stride ? e->lanes : 1});
}

/* ---- stores ---- */

static void store_plain(Emit *e, LLVMValueRef v, LLVMValueRef p, unsigned align) {
    LLVMSetAlignment(LLVMBuildStore(e->b, v, p), align);
}

/* The lanes that a mask leaves, if they are known and are the first ones; 0: they are not. */
static unsigned first_lanes(const Emit *e, LLVMValueRef mask) {
    unsigned n = 0, lanes = (unsigned)e->lanes;
    if (!LLVMIsConstant(mask)) return 0;
    for (unsigned i = 0; i < lanes; i++) {
        LLVMValueRef lane = LLVMGetAggregateElement(mask, i);
        if (!lane || !LLVMIsAConstantInt(lane)) return 0;
        bool set = LLVMConstIntGetZExtValue(lane) != 0;
        if (set && i != n) return 0;
        n += set;
    }
    return n;
}

/* The first n lanes by stores of 4, 2, 1 (and so on): to store with a mask takes some cores with AVX2 a dozen cycles and more. */
static void store_pieces(Emit *e, LLVMValueRef v, LLVMValueRef p, unsigned size, unsigned n) {
    LLVMValueRef *lane = arena_make_n(e->arena, LLVMValueRef, n), none = LLVMGetPoison(LLVMTypeOf(v));
    for (unsigned at = 0, piece = (unsigned)e->lanes; at < n; at += piece) {
        while (piece > n - at) piece /= 2;
        for (unsigned i = 0; i < piece; i++) lane[i] = LLVMConstInt(e->i32, at + i, 0);
        LLVMValueRef part = piece == 1 ? LLVMBuildExtractElement(e->b, v, lane[0], "")
                                       : LLVMBuildShuffleVector(e->b, v, none, LLVMConstVector(lane, piece), "");
        store_plain(e, part, bytes_on(e, p, emit_i64(e, (int64_t)at * size)), size);
    }
}

void emit_store(Emit *e, const Stmt *s) { emit_store_value(e, s, emit_expr(e, s->value)); }

void emit_store_value(Emit *e, const Stmt *s, Val value) {
    const Buffer *b = s->buffer;
    Access a = address(e, b, s->index, false);
    LLVMTypeRef memory = emit_memory_elem(e, b->elem);
    unsigned size = (unsigned)elem_size(b->elem);
    e->writes++;
    if (e->lanes == 1 || (!a.vec && !a.stride && value.lanes == 1 && !e->mask)) {
        store_plain(e, to_memory(e, b->elem, value), a.at, size);
        return;
    }
    value = emit_splat(e, value);
    LLVMValueRef v = to_memory(e, b->elem, value);
    LLVMTypeRef t = LLVMVectorType(memory, (unsigned)e->lanes);
    if (!a.vec && a.stride == 1) {
        if (!e->mask) {
            store_plain(e, v, a.at, size);
            return;
        }
        unsigned known = e->target->masked ? 0 : first_lanes(e, e->mask);
        if (known) {
            store_pieces(e, v, a.at, size, known);
            return;
        }
        LLVMTypeRef types[2] = {t, e->ptr};
        LLVMValueRef args[4] = {v, a.at, LLVMConstInt(e->i32, size, 0), e->mask};
        emit_intrinsic(e, "llvm.masked.store", 2, types, 4, args);
        return;
    }
    if (!a.vec && !e->mask) { /* lanes in order: where two meet, the later one stays */
        for (int l = 0; l < e->lanes; l++) {
            LLVMValueRef p = bytes_on(e, a.at, emit_i64(e, l * a.stride * (int64_t)size));
            store_plain(e, LLVMBuildExtractElement(e->b, v, LLVMConstInt(e->i32, (unsigned)l, 0), ""), p, size);
        }
        return;
    }
    LLVMTypeRef types[2] = {t, LLVMVectorType(e->ptr, (unsigned)e->lanes)};
    LLVMValueRef args[4] = {v, lane_pointers(e, &a, memory), LLVMConstInt(e->i32, size, 0), full_mask(e, e->mask)};
    emit_intrinsic(e, "llvm.masked.scatter", 2, types, 4, args);
}

/* For reading and, soon, writing: into all caches. In lanes side by side: all their lines; otherwise that of the first. */
void emit_prefetch(Emit *e, const Stmt *s) {
    enum { LINE = 64 };
    Access a = address(e, s->buffer, s->index, false);
    int64_t bytes = !a.vec && a.stride == 1 ? e->lanes * (int64_t)elem_size(s->buffer->elem) : 1;
    for (int64_t at = 0; at < bytes; at += LINE) {
        LLVMValueRef args[4] = {bytes_on(e, a.at, emit_i64(e, at)), LLVMConstInt(e->i32, 0, 0), LLVMConstInt(e->i32, 3, 0),
                                LLVMConstInt(e->i32, 1, 0)};
        emit_intrinsic(e, "llvm.prefetch", 1, &e->ptr, 4, args);
    }
}

/* ---- accumulators: allocas, which sroa and mem2reg make registers of ---- */

static int64_t acc_count(const Temp *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dim[i];
    return n;
}

/* Scalars are kept as they are, vectors side by side; behind an array there is room for a vector that reaches over its end. */
static LLVMValueRef acc_memory(Emit *e, const Temp *t, int lanes) {
    int64_t room = acc_count(t) + (lanes == 1 && t->rank ? 64 : 0);
    LLVMValueRef p = emit_slot(e, LLVMArrayType2(emit_vector(emit_memory_elem(e, t->elem), lanes), (uint64_t)room), t->name);
    LLVMSetAlignment(p, 64);
    return p;
}

LLVMValueRef emit_acc_shadow(Emit *e, const Temp *t) {
    Cell *c = &e->cell[t->id];
    LLVMTypeRef memory = emit_memory_elem(e, t->elem);
    int64_t size = elem_size(t->elem), n = acc_count(t);
    if (!c->shadow) c->shadow = acc_memory(e, t, 1);
    for (int64_t i = 0; i < n; i += i + c->width <= n ? c->width : 1) {
        LLVMTypeRef type = emit_vector(memory, i + c->width <= n ? c->width : 1);
        LLVMValueRef at = emit_i64(e, i * size);
        store_plain(e, load_scalar(e, type, bytes_on(e, c->memory, at), (unsigned)size), bytes_on(e, c->shadow, at),
                    (unsigned)size);
    }
    return c->shadow;
}

void emit_acc_declare(Emit *e, const Stmt *s) {
    Temp *t = s->temp;
    Cell *c = &e->cell[t->id];
    int64_t n = acc_count(t);
    if (!c->memory || c->lanes != e->lanes) c->memory = acc_memory(e, t, e->lanes);
    c->set = true;
    c->lanes = e->lanes;
    c->mask = e->mask;
    Val init = emit_expr(e, s->value);
    if (e->lanes > 1) init = emit_splat(e, init);
    LLVMValueRef v = to_memory(e, t->elem, init);
    c->width = e->lanes == 1 && t->rank ? emit_acc_width(s) : 1;
    int64_t step = elem_size(t->elem) * e->lanes, wide = c->width;
    int64_t i = 0;
    if (wide > 1) { /* the vectors that loops will take, so that these are what sroa makes registers of */
        LLVMValueRef w = emit_splat_value(e, v, (int)wide);
        for (; i + wide <= n; i += wide)
            store_plain(e, w, bytes_on(e, c->memory, emit_i64(e, i * step)), (unsigned)elem_size(t->elem));
    }
    for (; i < n; i++) store_plain(e, v, bytes_on(e, c->memory, emit_i64(e, i * step)), (unsigned)elem_size(t->elem));
}

/* Address of acc[index]; lanes of the element there. */
static Access acc_address(Emit *e, const Temp *t, const Affine *const *index) {
    const Cell *c = &e->cell[t->id];
    if (!c->set) bug("%s is used before it is made", t->name);
    Lin l = {0};
    int64_t stride = 1, size = elem_size(t->elem) * c->lanes;
    for (int i = t->rank - 1; i >= 0; i--) {
        lin_add(e, &l, index[i], stride, false);
        stride *= t->dim[i];
    }
    LLVMValueRef p = c->memory;
    for (int i = 0; i < l.n; i++) p = advanced(e, p, l.term[i].base, l.term[i].factor * size);
    p = displaced(e, p, l.constant * size);
    if (c->lanes > 1 && (l.lane_factor || l.vec)) bug("%s, made inside the vector loop, is indexed by lane", t->name);
    return (Access){p, l.lane_factor, l.vec};
}

Val emit_acc_load(Emit *e, const Expr *x) {
    const Temp *t = x->temp;
    const Cell *c = &e->cell[t->id];
    Access a = acc_address(e, t, x->index);
    LLVMTypeRef memory = emit_memory_elem(e, t->elem);
    unsigned size = (unsigned)elem_size(t->elem);
    if (c->lanes > 1) return from_memory(e, t->elem, (Val){load_scalar(e, emit_vector(memory, c->lanes), a.at, size), c->lanes});
    if (!a.vec && !a.stride) return from_memory(e, t->elem, (Val){load_scalar(e, memory, a.at, size), 1});
    return from_memory(e, t->elem,
                       (Val){load_vector(e, &a, memory, size, a.vec || a.stride != 1 ? e->mask : NULL, NULL), e->lanes});
}

void emit_acc_store(Emit *e, Temp *t, const Affine *const *index, Val value) {
    const Cell *c = &e->cell[t->id];
    Access a = acc_address(e, t, index);
    LLVMTypeRef memory = emit_memory_elem(e, t->elem);
    unsigned size = (unsigned)elem_size(t->elem);
    if (c->lanes == 1 && !a.vec && !a.stride) {
        if (value.lanes > 1) bug("%s is assigned a value that differs by lane", t->name);
        store_plain(e, to_memory(e, t->elem, value), a.at, size);
        return;
    }
    value = emit_splat(e, value);
    LLVMValueRef v = to_memory(e, t->elem, value);
    bool masked = e->mask && e->mask != (c->lanes > 1 ? c->mask : NULL);
    if (c->lanes > 1 || (!a.vec && a.stride == 1)) {
        if (masked) v = LLVMBuildSelect(e->b, e->mask, v, load_scalar(e, LLVMTypeOf(v), a.at, size), "");
        store_plain(e, v, a.at, size);
        return;
    }
    LLVMTypeRef types[2] = {LLVMTypeOf(v), LLVMVectorType(e->ptr, (unsigned)e->lanes)};
    LLVMValueRef args[4] = {v, lane_pointers(e, &a, memory), LLVMConstInt(e->i32, size, 0), full_mask(e, e->mask)};
    emit_intrinsic(e, "llvm.masked.scatter", 2, types, 4, args);
}
