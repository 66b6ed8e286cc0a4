/*
 * emit_transpose.c - a block that is copied across its diagonal goes through registers: whole vectors are loaded along the rows of the source, exchanged between
 * lanes, and stored as whole vectors along the rows of the target, in place of a gather for each of these.
 *
 *   for k in 0..16 unroll { for j in 0..32 vector 16 { p[k0 + k, j] = w[j0 + j, k0 + k] } }          (w: neighbours along k, p: along j)
 *   =>  for each 16 of j:  r[l] = w[j0 + l, k0 .. k0 + 15] for 16 l ;  r = transposed(r) ;  p[k0 + k, j .. j + 15] = r[k] for 16 k
 */
#include "emit.h"

enum { LANES_MOST = 16 };

static int64_t stride_of(const Buffer *b, const Affine *const *index, const Var *v) {
    int64_t stride = 0;
    for (int i = 0; i < b->rank; i++) stride += affine_factor(index[i], v) * b->stride[i];
    return stride;
}

static bool counts_from_zero(const Stmt *s, int64_t *turns) {
    if (s->kind != STMT_FOR || s->step != 1 || s->n_limits != 1 || s->lo->n || s->lo->constant || s->limits[0]->n) return false;
    *turns = s->limits[0]->constant;
    return true;
}

/* The store inside, if s is such a copy. */
static const Stmt *read_copy(const Stmt *s, const Stmt **inner, int64_t *width) {
    int64_t turns;
    if (s->mark != MARK_UNROLL || s->width || !counts_from_zero(s, &turns)) return NULL;
    const Stmt *in = s->body.first;
    if (!in || in->next || !counts_from_zero(in, width) || in->mark != MARK_VECTOR || in->width != turns || turns > LANES_MOST ||
        *width % turns)
        return NULL;
    const Stmt *store = in->body.first;
    if (!store || store->next || store->kind != STMT_STORE) return NULL;
    const Expr *load = store->value;
    if (load->kind != EXPR_LOAD || load->guarded || load->elem != store->buffer->elem || load->elem == BOOL) return NULL;
    if (stride_of(load->buffer, load->index, s->var) != 1 || stride_of(load->buffer, load->index, in->var) == 1) return NULL;
    if (stride_of(store->buffer, store->index, in->var) != 1) return NULL;
    *inner = in;
    return store;
}

/* Swaps across the diagonal blocks of d x d: the elements whose lane and row differ in the bit d. */
static void exchange(Emit *e, LLVMValueRef *row, int n, int d) {
    LLVMValueRef low[LANES_MOST], high[LANES_MOST];
    for (int p = 0; p < n; p++) { /* lanes of the first operand are 0..n-1, of the second n..2n-1 */
        low[p] = LLVMConstInt(e->i32, (unsigned)(p & d ? n + p - d : p), 0);
        high[p] = LLVMConstInt(e->i32, (unsigned)(p & d ? n + p : p + d), 0);
    }
    LLVMValueRef to_low = LLVMConstVector(low, (unsigned)n), to_high = LLVMConstVector(high, (unsigned)n);
    for (int i = 0; i < n; i++) {
        if (i & d) continue;
        LLVMValueRef a = row[i], b = row[i + d];
        row[i] = LLVMBuildShuffleVector(e->b, a, b, to_low, "");
        row[i + d] = LLVMBuildShuffleVector(e->b, a, b, to_high, "");
    }
}

/* row a's and row b's elements in turns of `turn`, from the low or the high half of each group of four lanes: a0 b0 a1 b1 (turn 1, low), a2 a3 b2 b3 (turn 2, high). */
static LLVMValueRef interleave(Emit *e, LLVMValueRef a, LLVMValueRef b, int n, int turn, bool high) {
    LLVMValueRef from[LANES_MOST];
    for (int p = 0; p < n; p++) {
        int at = p % 4, element = turn == 1 ? at / 2 : at % 2;
        bool second = turn == 1 ? at % 2 : at / 2;
        from[p] = LLVMConstInt(e->i32, (unsigned)((second ? n : 0) + p / 4 * 4 + 2 * high + element), 0);
    }
    return LLVMBuildShuffleVector(e->b, a, b, LLVMConstVector(from, (unsigned)n), "");
}

/* Four rows across the diagonals of their blocks of 4 x 4: the exchanges over 2 and 1 in one, by instructions that machines have for lanes of four bytes. */
static void exchange_in_fours(Emit *e, LLVMValueRef *row, int n) {
    LLVMValueRef half[4];
    for (int i = 0; i < 4; i++) half[i] = interleave(e, row[i & 2], row[(i & 2) + 1], n, 1, i & 1);
    for (int i = 0; i < 4; i++) row[i] = interleave(e, half[i / 2], half[i / 2 + 2], n, 2, i & 1);
}

/* Turns n rows of n lanes. */
static void transpose(Emit *e, LLVMValueRef *row, int n, int bytes) {
    int last = 1;
    if (bytes == 4 && n >= 4) {
        for (int i = 0; i < n; i += 4) exchange_in_fours(e, row + i, n);
        last = 4;
    }
    for (int d = n / 2; d >= last; d /= 2) exchange(e, row, n, d);
}

bool emit_transposed(Emit *e, const Stmt *s) {
    const Stmt *inner;
    int64_t width;
    const Stmt *store = e->lanes == 1 && !e->mask ? read_copy(s, &inner, &width) : NULL;
    if (!store) return false;
    int n = inner->width;
    e->loop_of[inner->var->id] = inner;
    for (int64_t j = 0; j < width; j += n) {
        LLVMValueRef row[LANES_MOST];
        int scope = emit_scope(e);
        e->lanes = n;
        for (int l = 0; l < n; l++) {
            emit_bind(e, inner->var, NULL, j + l, j + l, j + l);
            emit_bind(e, s->var, NULL, 0, 0, n - 1);
            e->bind[s->var->id].lane_step = 1;
            row[l] = emit_load(e, store->value).v;
        }
        transpose(e, row, n, elem_size(store->buffer->elem));
        for (int k = 0; k < n; k++) {
            emit_bind(e, s->var, NULL, k, k, k);
            emit_bind(e, inner->var, NULL, j, j, j + n - 1);
            e->bind[inner->var->id].lane_step = 1;
            emit_store_value(e, store, (Val){row[k], n});
        }
        e->lanes = 1;
        emit_scope_end(e, scope);
    }
    return true;
}
