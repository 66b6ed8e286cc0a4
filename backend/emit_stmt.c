/*
 * emit_stmt.c - statements other than loops: lets, accumulators, stores, index lets, checks, conditions.
 */
#include "emit.h"

static LLVMValueRef size_value(Emit *e, int64_t k, int lanes) { return emit_splat_value(e, emit_i64(e, k), lanes); }

static int64_t floor_quotient(int64_t a, int64_t c) { return a / c - (a % c < 0); }

/* x / c or x % c for c > 0, rounded down. */
static LLVMValueRef divided(Emit *e, Val x, int64_t c, bool mod, bool never_negative) {
    LLVMValueRef by = size_value(e, c, x.lanes), zero = LLVMConstNull(LLVMTypeOf(x.v));
    if (never_negative) return mod ? LLVMBuildURem(e->b, x.v, by, "") : LLVMBuildUDiv(e->b, x.v, by, "");
    LLVMValueRef q = LLVMBuildSDiv(e->b, x.v, by, ""), r = LLVMBuildSub(e->b, x.v, LLVMBuildMul(e->b, q, by, ""), "");
    LLVMValueRef off = LLVMBuildICmp(e->b, LLVMIntSLT, r, zero, "");
    if (mod) return LLVMBuildSelect(e->b, off, LLVMBuildAdd(e->b, r, by, ""), r, "");
    return LLVMBuildSelect(e->b, off, LLVMBuildSub(e->b, q, size_value(e, 1, x.lanes), ""), q, "");
}

static void bind_value(Emit *e, const Var *v, Val x, int64_t min, int64_t max) {
    if (x.lanes > 1) {
        emit_bind(e, v, NULL, 0, min, max);
        e->bind[v->id].vec = x.v;
        return;
    }
    if (LLVMIsAConstantInt(x.v)) {
        int64_t k = LLVMConstIntGetSExtValue(x.v);
        emit_bind(e, v, NULL, k, k, k);
        return;
    }
    emit_bind(e, v, x.v, 0, min, max);
}

static void index_let(Emit *e, const Stmt *s) {
    int64_t min = INT64_MIN, max = INT64_MAX;
    if (s->index_kind == INDEX_VALUE) {
        Val x = emit_conversion(e, emit_expr(e, s->value), s->value->elem, I64);
        if (s->value->elem == U8) min = 0, max = 255;
        bind_value(e, s->var, x, min, max);
        return;
    }
    emit_affine_range(e, s->affine, &min, &max);
    bool mod = s->index_kind == INDEX_MOD;
    LLVMValueRef v;
    Val x = emit_affine(e, s->affine);
    if (mod && min >= 0 && max < s->by)
        v = x.v;
    else
        v = divided(e, x, s->by, mod, min >= 0);
    if (mod && !(min >= 0 && max < s->by)) {
        min = 0;
        max = s->by - 1;
    } else if (!mod) {
        if (min != INT64_MIN) min = floor_quotient(min, s->by);
        if (max != INT64_MAX) max = floor_quotient(max, s->by);
    }
    bind_value(e, s->var, (Val){v, x.lanes}, min, max);
}

/* The value of the first lane that failed. */
static LLVMValueRef first_bad(Emit *e, LLVMValueRef bad, Val x) {
    if (x.lanes == 1) return x.v;
    LLVMTypeRef bits = LLVMIntTypeInContext(e->ctx, (unsigned)x.lanes);
    LLVMValueRef set = LLVMBuildBitCast(e->b, bad, bits, "");
    LLVMValueRef args[2] = {set, LLVMConstInt(e->i1, 1, 0)};
    LLVMValueRef at = emit_intrinsic(e, "llvm.cttz", 1, &bits, 2, args);
    return LLVMBuildExtractElement(e->b, x.v, at, "");
}

/* 0 <= var < size; where it fails, the fault is set and var is 0. */
static void check(Emit *e, const Stmt *s) {
    Bind *b = &e->bind[s->var->id];
    int64_t size_min, size_max;
    emit_affine_range(e, s->size, &size_min, &size_max);
    if (b->min >= 0 && b->max < size_min) return;
    const Affine *self = affine_var(e->arena, s->var);
    Val x = emit_affine(e, self);
    LLVMValueRef size = emit_affine(e, s->size).v;
    LLVMValueRef ok = LLVMBuildICmp(e->b, LLVMIntULT, x.v, emit_splat_value(e, size, x.lanes), "");
    LLVMValueRef bad = LLVMBuildNot(e->b, ok, "");
    if (x.lanes > 1 && e->mask) bad = LLVMBuildAnd(e->b, bad, e->mask, "");
    LLVMBasicBlockRef fault = emit_block(e, "outside"), on = emit_block(e, "on");
    LLVMBuildCondBr(e->b, emit_any(e, bad, x.lanes), fault, on);
    LLVMPositionBuilderAtEnd(e->b, fault);
    emit_fault(e, NN_INDEX, s->loc, first_bad(e, bad, x), size);
    LLVMBuildBr(e->b, on);
    LLVMPositionBuilderAtEnd(e->b, on);
    LLVMValueRef safe = LLVMBuildSelect(e->b, ok, x.v, LLVMConstNull(LLVMTypeOf(x.v)), "");
    bind_value(e, s->var, (Val){safe, x.lanes}, 0, size_max == INT64_MAX ? INT64_MAX : size_max - 1);
}

/* The body if affine >= 0: a branch, or fewer lanes. */
static void condition(Emit *e, const Stmt *s) {
    int64_t min, max;
    emit_affine_range(e, s->affine, &min, &max);
    if (max < 0) return;
    if (min >= 0) {
        emit_body(e, &s->body);
        return;
    }
    Val x = emit_affine(e, s->affine);
    LLVMValueRef yes = LLVMBuildICmp(e->b, LLVMIntSGE, x.v, LLVMConstNull(LLVMTypeOf(x.v)), "");
    LLVMValueRef before = e->mask;
    if (x.lanes > 1) {
        if (before) yes = LLVMBuildAnd(e->b, yes, before, "");
        e->mask = yes;
    }
    LLVMBasicBlockRef then = emit_block(e, "then"), on = emit_block(e, "on");
    LLVMBuildCondBr(e->b, emit_any(e, yes, x.lanes), then, on);
    LLVMPositionBuilderAtEnd(e->b, then);
    int scope = emit_scope(e);
    emit_body(e, &s->body);
    emit_scope_end(e, scope);
    LLVMBuildBr(e->b, on);
    LLVMPositionBuilderAtEnd(e->b, on);
    e->mask = before;
}

static void let(Emit *e, const Stmt *s) {
    Cell *c = &e->cell[s->temp->id];
    c->let = emit_expr(e, s->value);
    c->set = true;
}

void emit_body(Emit *e, const Body *body) {
    for (const Stmt *s = body->first; s; s = s->next) {
        e->stmt_loc = s->loc;
        emit_place(e, s->loc);
        switch (s->kind) {
        case STMT_FOR: emit_for(e, s); break;
        case STMT_LET: let(e, s); break;
        case STMT_ACC: emit_acc_declare(e, s); break;
        case STMT_ASSIGN: emit_acc_store(e, s->temp, s->index, emit_expr(e, s->value)); break;
        case STMT_STORE: emit_store(e, s); break;
        case STMT_INDEX: index_let(e, s); break;
        case STMT_CHECK: check(e, s); break;
        case STMT_PREFETCH: emit_prefetch(e, s); break;
        case STMT_IF: condition(e, s); break;
        }
    }
}
