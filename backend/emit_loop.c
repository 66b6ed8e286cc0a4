/*
 * emit_loop.c - loops: serial, shared out among threads, in lanes, unrolled.
 *
 *   for i in lo..limit               if (lo < limit) do { body } while ((i += step) < limit): one test a turn, and a place before the loop for what is invariant
 *   ... of one turn or none          the body with i a constant; nothing
 *   parallel (directly nested ones   whatever turns of all n nn_turns hands out; inside a serial loop thread t of T takes [n t / T, n (t + 1) / T). The indices count up
 *     with independent limits: one   with carries, without division
 *     space)
 *   vector W                         whole vectors in a loop (two at once where the body calls exp and the like; unrolled where the body indexes an accumulator with the
 *                                    variable), and what is left: with masks where the machine has them, else in vectors of half the width, and half of that, or one by one
 *   unroll                           the body once a turn, the variable a constant; turns that may not exist are guarded (or harmless: emit_variant.c)
 *   unroll U                         U bodies a turn, and what is left one by one
 */
#include "emit.h"

/* Limits of a loop, as far as they are known. */
typedef struct Span {
    LLVMValueRef lo, hi; /* i64 */
    int64_t turns;       /* how many, if that is constant; else -1 */
    int64_t most;        /* an upper bound from a constant limit; -1: none */
    int64_t min, max;    /* of the variable */
    int64_t lo_constant;
    bool lo_is_constant;
    int lanes;                  /* VECTOR: how many turns at once, one vector or two */
    const Fact *guess;          /* a fact says that `turns` is more than there really are */
    int guesses;                /* from how many limits */
    Vec(const Affine *) guards; /* limits that are not constant distances from lo */
} Span;

static int64_t turns_in(int64_t distance, int64_t step) { return distance > 0 ? (distance + step - 1) / step : 0; }

/* An affine index that is constant here. */
static bool constant_now(Emit *e, const Affine *x, int64_t *k) {
    Lin l = emit_lin(e, x, false);
    *k = l.constant;
    return l.n == 0 && !l.vec && !l.lane_factor;
}

static LLVMValueRef smaller(Emit *e, LLVMValueRef a, LLVMValueRef b) {
    if (!a) return b;
    return LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, a, b, ""), a, b, "");
}

/* The least of the constant limits; INT64_MAX: there is none. */
static int64_t least_constant(Emit *e, const Stmt *s) {
    int64_t least = INT64_MAX, k;
    for (int i = 0; i < s->n_limits; i++)
        if (constant_now(e, s->limits[i], &k) && k < least) least = k;
    return least;
}

static Span span(Emit *e, const Stmt *s) {
    Span r = {.turns = -1, .most = -1};
    int64_t lo_max, k;
    r.lo_is_constant = constant_now(e, s->lo, &r.lo_constant);
    emit_affine_range(e, s->lo, &r.min, &lo_max);
    r.max = INT64_MAX;
    for (int i = 0; i < s->n_limits; i++) {
        const Fact *f = emit_fact(e, s->limits[i]);
        int64_t low, high;
        emit_affine_range(e, s->limits[i], &low, &high);
        if (high != INT64_MAX && high - 1 < r.max) r.max = high - 1;
        int64_t n = -1;
        if (f && f->at_least && f->turns >= least_constant(e, s)) continue; /* another limit is met first */
        if (f && !f->at_least && r.lo_is_constant)
            n = turns_in(f->turns - r.lo_constant, s->step);
        else if (constant_now(e, affine_add(e->arena, s->limits[i], affine_scale(e->arena, s->lo, -1)), &k))
            n = turns_in(k, s->step);
        if (n < 0) {
            vec_push(e->arena, &r.guards, s->limits[i]);
            continue;
        }
        if (r.most < 0 || n < r.most) r.most = n;
        if (f && f->real) {
            r.guess = f;
            r.guesses++;
        }
    }
    if (!r.guards.n) r.turns = r.most;
    if (r.turns > 0 && r.lo_is_constant && r.lo_constant + (r.turns - 1) * s->step < r.max)
        r.max = r.lo_constant + (r.turns - 1) * s->step;
    return r;
}

/* Emits the values lo and hi (the least limit). */
static void span_values(Emit *e, const Stmt *s, Span *r) {
    r->lo = emit_affine(e, s->lo).v;
    if (r->turns >= 0 && !r->guess) {
        r->hi = r->lo_is_constant ? emit_i64(e, r->lo_constant + r->turns * s->step)
                                  : LLVMBuildNSWAdd(e->b, r->lo, emit_i64(e, r->turns * s->step), "");
        return;
    }
    for (int i = 0; i < s->n_limits; i++) {
        Val limit = emit_affine(e, s->limits[i]);
        if (limit.lanes > 1) bug("the limit of loop %s differs by lane", s->var->name);
        r->hi = smaller(e, r->hi, limit.v);
    }
}

/* The variable is lo + offset for a constant offset. */
static void bind_turn(Emit *e, const Stmt *s, const Span *r, int64_t offset) {
    if (r->lo_is_constant) {
        int64_t k = r->lo_constant + offset;
        emit_bind(e, s->var, NULL, k, k, k);
    } else {
        emit_bind(e, s->var, r->lo, offset, r->min, r->max);
    }
}

/* ---- a counted loop in LLVM ---- */

typedef struct Counted {
    LLVMBasicBlockRef body, done, from;
    LLVMValueRef v;
    int scope;
} Counted;

/* Opens `for v = lo; v < hi; v += step`; certain: at least one turn. */
static Counted open_loop(Emit *e, LLVMValueRef lo, LLVMValueRef hi, bool certain) {
    Counted c = {.body = emit_block(e, "loop"), .done = emit_block(e, "done")};
    if (!certain) {
        LLVMBasicBlockRef before = emit_block(e, "before");
        LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, lo, hi, ""), before, c.done);
        LLVMPositionBuilderAtEnd(e->b, before);
    }
    c.from = LLVMGetInsertBlock(e->b);
    LLVMBuildBr(e->b, c.body);
    LLVMPositionBuilderAtEnd(e->b, c.body);
    c.v = LLVMBuildPhi(e->b, e->i64, "");
    LLVMAddIncoming(c.v, &lo, &c.from, 1);
    c.scope = emit_scope(e);
    e->depth++;
    return c;
}

static void close_loop(Emit *e, Counted *c, LLVMValueRef hi, int64_t step) {
    LLVMValueRef next = LLVMBuildNSWAdd(e->b, c->v, emit_i64(e, step), "");
    LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b);
    LLVMAddIncoming(c->v, &next, &here, 1);
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, next, hi, ""), c->body, c->done);
    LLVMPositionBuilderAtEnd(e->b, c->done);
    emit_scope_end(e, c->scope);
    e->depth--;
}

/* ---- serial ---- */

static void one_turn(Emit *e, const Stmt *s, const Span *r, int64_t offset) {
    int scope = emit_scope(e);
    bind_turn(e, s, r, offset);
    emit_variants(e, &s->body, NULL);
    emit_scope_end(e, scope);
}

static void serial_between(Emit *e, const Stmt *s, Span *r, bool certain) {
    Counted c = open_loop(e, r->lo, r->hi, certain);
    emit_bind(e, s->var, c.v, 0, r->min, r->max);
    e->bind[s->var->id].loop = s;
    emit_variants(e, &s->body, s);
    close_loop(e, &c, r->hi, s->step);
}

static void serial(Emit *e, const Stmt *s) {
    Span r = span(e, s);
    if (r.turns == 0) return;
    span_values(e, s, &r);
    if (r.turns == 1 && !r.guess)
        one_turn(e, s, &r, 0);
    else
        serial_between(e, s, &r, r.turns > 0 && !r.guess);
}

/* ---- unrolled ---- */

/* Every turn written out; the first turn that does not exist ends the loop. */
static void unroll_whole(Emit *e, const Stmt *s, Span *r) {
    bool guarded = r->guards.n || r->guess;
    bool harmless = r->guesses == 1 && !r->guards.n && emit_harmless(e, s, r->guess);
    LLVMBasicBlockRef done = guarded && !harmless ? emit_block(e, "done") : NULL;
    for (int64_t t = 0; t < r->most; t++) {
        int64_t offset = t * s->step;
        LLVMValueRef here =
            r->lo_is_constant ? emit_i64(e, r->lo_constant + offset) : LLVMBuildNSWAdd(e->b, r->lo, emit_i64(e, offset), "");
        if (done) {
            LLVMBasicBlockRef turn = emit_block(e, "turn");
            LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, here, r->hi, ""), turn, done);
            LLVMPositionBuilderAtEnd(e->b, turn);
        }
        int scope = emit_scope(e);
        bind_turn(e, s, r, offset);
        if (harmless && t) {
            LLVMValueRef exists = LLVMBuildICmp(e->b, LLVMIntSLT, here, r->guess->real, "");
            e->bind[s->var->id].inside = LLVMBuildSelect(e->b, exists, here, r->guess->last, "");
        }
        emit_variants(e, &s->body, NULL);
        emit_scope_end(e, scope);
    }
    if (!done) return;
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, done);
}

/* U bodies a turn; what is left one by one, or, if constant, written out. */
static void unroll_partly(Emit *e, const Stmt *s, Span *r) {
    int64_t by = s->width * s->step;
    bool known = r->turns >= 0 && !r->guess;
    int64_t whole = known ? r->turns / s->width : -1;
    LLVMValueRef last = LLVMBuildNSWSub(e->b, r->hi, emit_i64(e, by - s->step), ""), left = r->lo;
    if (whole != 0) {
        LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
        Counted c = open_loop(e, r->lo, last, known);
        for (int u = 0; u < s->width; u++) {
            if (u) emit_order(e);
            emit_bind(e, s->var, c.v, u * s->step, r->min, r->max);
            e->bind[s->var->id].depth = e->depth;
            emit_variants(e, &s->body, NULL);
        }
        LLVMBasicBlockRef from = LLVMGetInsertBlock(e->b);
        close_loop(e, &c, last, by);
        if (!known) {
            LLVMValueRef next = LLVMGetIncomingValue(c.v, 1);
            left = LLVMBuildPhi(e->b, e->i64, "");
            LLVMAddIncoming(left, &r->lo, &before, 1);
            LLVMAddIncoming(left, &next, &from, 1);
        }
    }
    if (known) {
        for (int64_t t = whole * s->width; t < r->turns; t++) one_turn(e, s, r, t * s->step);
        return;
    }
    Span rest = *r;
    rest.lo = left;
    rest.lo_is_constant = false;
    serial_between(e, s, &rest, false);
}

enum { UNROLL_MOST = 256 };

static void unrolled(Emit *e, const Stmt *s) {
    Span r = span(e, s);
    if (r.turns == 0) return;
    if (r.turns == 1 && !r.guess) {
        span_values(e, s, &r);
        one_turn(e, s, &r, 0);
        return;
    }
    bool whole = s->width <= 0 && r.most >= 0 && r.most <= UNROLL_MOST;
    if (!whole && (s->width <= 1 || e->frugal)) {
        serial(e, s);
        return;
    }
    span_values(e, s, &r);
    if (whole)
        unroll_whole(e, s, &r);
    else
        unroll_partly(e, s, &r);
}

/* ---- lanes ---- */

/* The body for `lanes` turns from base + offset on. rest: how many of them there are (NULL: all). */
static void chunk(Emit *e, const Stmt *s, const Span *r, LLVMValueRef base, int64_t offset, int lanes, LLVMValueRef rest) {
    int scope = emit_scope(e);
    emit_bind(e, s->var, base, offset, base ? r->min : offset, r->max);
    e->bind[s->var->id].lane_step = lanes > 1 ? s->step : 0;
    e->lanes = lanes;
    if (rest) {
        LLVMValueRef n = emit_splat_value(e, LLVMBuildTrunc(e->b, rest, e->i32, ""), lanes);
        e->mask = LLVMBuildICmp(e->b, LLVMIntULT, emit_iota(e, e->i32, lanes, 1), n, "");
    }
    emit_variants(e, &s->body, NULL);
    e->lanes = 1;
    e->mask = NULL;
    emit_scope_end(e, scope);
}

/* Must the loop be written out for accumulators to be registers? */
static bool indexes_acc(const Emit *e, const Stmt *s) { return !e->rolled && emit_indexes_acc(s); }

static bool masks_serve(const Emit *e, const Stmt *s) {
    return e->target->masked || (e->target->masked_words && !emit_has_bytes(&s->body));
}

/* A constant number of turns, less than r->lanes, from base + offset on. */
static void constant_rest(Emit *e, const Stmt *s, const Span *r, LLVMValueRef base, int64_t offset, int64_t n) {
    bool power = (n & (n - 1)) == 0;
    if (n > 1 && !(power && n >= 4) && masks_serve(e, s)) {
        chunk(e, s, r, base, offset, n > s->width ? r->lanes : s->width, emit_i64(e, n));
        return;
    }
    while (n > 0) {
        int lanes = r->lanes;
        while (lanes > n) lanes /= 2;
        chunk(e, s, r, base, offset, lanes, NULL);
        offset += lanes * s->step;
        n -= lanes;
    }
}

/* An unknown number of turns, less than r->lanes, from `left` to hi. */
static void unknown_rest(Emit *e, const Stmt *s, Span *r, LLVMValueRef left) {
    Span rest = *r;
    rest.lo = left;
    rest.lo_is_constant = false;
    if (!masks_serve(e, s)) {
        serial_between(e, s, &rest, false);
        return;
    }
    LLVMBasicBlockRef some = emit_block(e, "rest"), on = emit_block(e, "on");
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, left, r->hi, ""), some, on);
    LLVMPositionBuilderAtEnd(e->b, some);
    LLVMValueRef n = LLVMBuildNSWSub(e->b, r->hi, left, "");
    if (s->step > 1) n = LLVMBuildUDiv(e->b, LLVMBuildNSWAdd(e->b, n, emit_i64(e, s->step - 1), ""), emit_i64(e, s->step), "");
    chunk(e, s, r, left, 0, r->lanes, n);
    LLVMBuildBr(e->b, on);
    LLVMPositionBuilderAtEnd(e->b, on);
}

/* Known number of turns: chunks at constant places, or a loop of them. */
static void vector_constant(Emit *e, const Stmt *s, Span *r) {
    int64_t whole = r->turns / r->lanes, rest = r->turns % r->lanes, by = r->lanes * s->step;
    LLVMValueRef base = r->lo_is_constant ? NULL : r->lo;
    int64_t first = r->lo_is_constant ? r->lo_constant : 0;
    if (whole <= 1 || indexes_acc(e, s)) {
        for (int64_t t = 0; t < whole; t++) chunk(e, s, r, base, first + t * by, r->lanes, NULL);
    } else {
        LLVMValueRef hi = LLVMBuildNSWAdd(e->b, r->lo, emit_i64(e, whole * by), "");
        Counted c = open_loop(e, r->lo, hi, true);
        chunk(e, s, r, c.v, 0, r->lanes, NULL);
        close_loop(e, &c, hi, by);
    }
    if (rest) constant_rest(e, s, r, base, first + whole * by, rest);
}

/* At most `most` turns, an accumulator indexed: chunks at constant places, each whole, partial or not there. */
static void vector_guarded(Emit *e, const Stmt *s, Span *r) {
    LLVMValueRef base = r->lo_is_constant ? NULL : r->lo;
    int64_t first = r->lo_is_constant ? r->lo_constant : 0, by = s->width * s->step;
    LLVMBasicBlockRef done = emit_block(e, "done");
    for (int64_t t = 0; t * s->width < r->most; t++) {
        LLVMValueRef from = base ? LLVMBuildNSWAdd(e->b, base, emit_i64(e, first + t * by), "") : emit_i64(e, first + t * by);
        LLVMValueRef n = LLVMBuildNSWSub(e->b, r->hi, from, "");
        if (s->step > 1)
            n = LLVMBuildSDiv(e->b, LLVMBuildNSWAdd(e->b, n, emit_i64(e, s->step - 1), ""), emit_i64(e, s->step), "");
        LLVMBasicBlockRef whole = emit_block(e, "whole"), part = emit_block(e, "part"), some = emit_block(e, "some"),
                          on = emit_block(e, "on");
        LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSGE, n, emit_i64(e, s->width), ""), whole, part);
        LLVMPositionBuilderAtEnd(e->b, whole);
        chunk(e, s, r, base, first + t * by, s->width, NULL);
        LLVMBuildBr(e->b, on);
        LLVMPositionBuilderAtEnd(e->b, part);
        LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSGT, n, emit_i64(e, 0), ""), some, done);
        LLVMPositionBuilderAtEnd(e->b, some);
        chunk(e, s, r, base, first + t * by, s->width, n);
        LLVMBuildBr(e->b, done);
        LLVMPositionBuilderAtEnd(e->b, on);
    }
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, done);
}

static void vector_unknown(Emit *e, const Stmt *s, Span *r) {
    int64_t by = r->lanes * s->step;
    LLVMValueRef last = LLVMBuildNSWSub(e->b, r->hi, emit_i64(e, by - s->step), "");
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    Counted c = open_loop(e, r->lo, last, false);
    chunk(e, s, r, c.v, 0, r->lanes, NULL);
    LLVMBasicBlockRef from = LLVMGetInsertBlock(e->b);
    close_loop(e, &c, last, by);
    LLVMValueRef next = LLVMGetIncomingValue(c.v, 1), left = LLVMBuildPhi(e->b, e->i64, "");
    LLVMAddIncoming(left, &r->lo, &before, 1);
    LLVMAddIncoming(left, &next, &from, 1);
    unknown_rest(e, s, r, left);
}

/* One loop with masks throughout: a long body stands there once. */
static void vector_masked(Emit *e, const Stmt *s, Span *r) {
    int64_t by = r->lanes * s->step;
    Counted c = open_loop(e, r->lo, r->hi, r->turns > 0 && !r->guess);
    LLVMValueRef n = LLVMBuildNSWSub(e->b, r->hi, c.v, "");
    if (s->step > 1) n = LLVMBuildUDiv(e->b, LLVMBuildNSWAdd(e->b, n, emit_i64(e, s->step - 1), ""), emit_i64(e, s->step), "");
    chunk(e, s, r, c.v, 0, r->lanes, smaller(e, n, emit_i64(e, r->lanes)));
    close_loop(e, &c, r->hi, by);
}

/*
 * A function is a chain of some twenty operations that wait for each other, 60 to 90 cycles long. While one vector's is on its way, the machine looks ahead for
 * other work, but a window of its instructions holds two or three chains, and where two threads share a core half of that. Two vectors at once are chains side by
 * side, with one look at their constants and one branch to what is rare: measured 1.06 to 1.4 times as fast (AVX2 and AVX-512). Not where half of the last turn
 * would be for nothing.
 */
static int lanes_at_once(const Emit *e, const Stmt *s, const Span *r, bool even) {
    int64_t vectors = r->most < 0 ? INT64_MAX : (r->most + s->width - 1) / s->width;
    if (s->width * 4 > e->target->vector_bytes || (!even && !masks_serve(e, s)) || indexes_acc(e, s)) return s->width;
    if (vectors < 2 || (vectors < 8 && vectors % 2)) return s->width;
    return emit_waits(&s->body) ? 2 * s->width : s->width;
}

static void vector(Emit *e, const Stmt *s) {
    if (s->width <= 1 || e->lanes > 1 || !emit_lanes_fit(e, s)) {
        serial(e, s);
        return;
    }
    Span r = span(e, s);
    if (r.turns == 0) return;
    span_values(e, s, &r);
    bool even = r.turns >= 0 && !r.guess && (r.turns % s->width == 0 || r.turns < s->width);
    r.lanes = lanes_at_once(e, s, &r, even);
    if (!even && e->target->masked && emit_long(&s->body) && !indexes_acc(e, s))
        vector_masked(e, s, &r);
    else if (r.turns > 0 && !r.guess)
        vector_constant(e, s, &r);
    else if (indexes_acc(e, s) && r.most >= 0)
        vector_guarded(e, s, &r);
    else
        vector_unknown(e, s, &r);
}

/* ---- shared out among threads ---- */

enum { NEST_MOST = 8 };

/* The directly nested parallel loops whose limits do not depend on each other. */
static int parallel_nest(const Stmt *s, const Stmt **nest) {
    int n = 0;
    nest[n++] = s;
    while (n < NEST_MOST) {
        const Stmt *in = nest[n - 1]->body.first;
        if (!in || in->next || in->kind != STMT_FOR || in->mark != MARK_PARALLEL) break;
        bool free = true;
        for (int i = 0; i < n && free; i++) {
            if (affine_factor(in->lo, nest[i]->var)) free = false;
            for (int j = 0; j < in->n_limits; j++)
                if (affine_factor(in->limits[j], nest[i]->var)) free = false;
        }
        if (!free) break;
        nest[n++] = in;
    }
    return n;
}

static LLVMValueRef count_turns(Emit *e, const Stmt *s, Span *r) {
    if (r->turns >= 0) return emit_i64(e, r->turns);
    LLVMValueRef d = LLVMBuildNSWSub(e->b, r->hi, r->lo, ""), zero = emit_i64(e, 0);
    d = LLVMBuildSelect(e->b, LLVMBuildICmp(e->b, LLVMIntSGT, d, zero, ""), d, zero, "");
    if (s->step == 1) return d;
    return LLVMBuildUDiv(e->b, LLVMBuildNSWAdd(e->b, d, emit_i64(e, s->step - 1), ""), emit_i64(e, s->step), "");
}

static LLVMValueRef share(Emit *e, LLVMValueRef total, LLVMValueRef thread) {
    return LLVMBuildUDiv(e->b, LLVMBuildNSWMul(e->b, total, thread, ""), e->threads, "");
}

/* One loop over this thread's part of the whole space; turn[i] is the turn of nest[i]. */
static void parallel_space(Emit *e, const Stmt **nest, Span *spans, LLVMValueRef *turns, int n, LLVMValueRef begin,
                           LLVMValueRef end) {
    LLVMValueRef turn[NEST_MOST], first[NEST_MOST], rest = begin;
    for (int i = n - 1; i >= 0; i--) {
        first[i] = i ? LLVMBuildURem(e->b, rest, turns[i], "") : rest;
        if (i) rest = LLVMBuildUDiv(e->b, rest, turns[i], "");
    }
    Counted c = open_loop(e, begin, end, true);
    for (int i = 0; i < n; i++) {
        turn[i] = LLVMBuildPhi(e->b, e->i64, "");
        LLVMAddIncoming(turn[i], &first[i], &c.from, 1);
    }
    for (int i = 0; i < n; i++) {
        LLVMValueRef v = nest[i]->step == 1 ? turn[i] : LLVMBuildNSWMul(e->b, turn[i], emit_i64(e, nest[i]->step), "");
        if (!(spans[i].lo_is_constant && spans[i].lo_constant == 0)) v = LLVMBuildNSWAdd(e->b, v, spans[i].lo, "");
        emit_bind(e, nest[i]->var, v, 0, spans[i].min, spans[i].max);
        e->bind[nest[i]->var->id].loop = nest[i];
    }
    emit_variants(e, &nest[n - 1]->body, nest[n - 1]);
    LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b);
    LLVMValueRef carry = NULL;
    for (int i = n - 1; i >= 0; i--) {
        LLVMValueRef up = carry ? LLVMBuildZExt(e->b, carry, e->i64, "") : emit_i64(e, 1);
        LLVMValueRef next = LLVMBuildNSWAdd(e->b, turn[i], up, "");
        if (i) {
            carry = LLVMBuildICmp(e->b, LLVMIntEQ, next, turns[i], "");
            next = LLVMBuildSelect(e->b, carry, emit_i64(e, 0), next, "");
        }
        LLVMAddIncoming(turn[i], &next, &here, 1);
    }
    close_loop(e, &c, end, 1);
}

/* Some turns of a shared space. */
typedef struct Part {
    LLVMValueRef begin, end, total;
    LLVMValueRef end_at;           /* where nn_turns puts `end`; NULL: each thread has a fixed part */
    LLVMBasicBlockRef again, done; /* what follows: another part, or nothing */
} Part;

/* Thread t of T has turns [n t / T, n (t + 1) / T) of n. */
static Part fixed_part(Emit *e, LLVMValueRef total) {
    LLVMBasicBlockRef mine = emit_block(e, "mine"), done = emit_block(e, "done");
    LLVMValueRef behind = LLVMBuildNSWAdd(e->b, e->thread, emit_i64(e, 1), "");
    Part p = {.begin = share(e, total, e->thread), .end = share(e, total, behind), .done = done};
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, p.begin, p.end, ""), mine, done);
    LLVMPositionBuilderAtEnd(e->b, mine);
    return p;
}

static LLVMValueRef ask_turns(Emit *e, const Part *p, bool first) {
    LLVMTypeRef params[] = {e->ptr, e->i64, e->i64, e->ptr};
    LLVMValueRef fn = emit_function(e, "nn_turns", e->i64, 4, params),
                 args[] = {e->call, p->total, emit_i64(e, first), p->end_at};
    return LLVMBuildCall2(e->b, LLVMGlobalGetValueType(fn), fn, args, 4, "");
}

/* What nn_turns hands out, until nothing is left. */
static Part next_part(Emit *e, LLVMValueRef total) {
    Part p = {.total = total, .end_at = emit_slot(e, e->i64, "end")};
    LLVMValueRef first = ask_turns(e, &p, true);
    LLVMBasicBlockRef from = LLVMGetInsertBlock(e->b), mine = emit_block(e, "mine");
    p.again = emit_block(e, "again");
    p.done = emit_block(e, "done");
    LLVMBuildBr(e->b, p.again);
    LLVMPositionBuilderAtEnd(e->b, p.again);
    p.begin = LLVMBuildPhi(e->b, e->i64, "");
    LLVMAddIncoming(p.begin, &first, &from, 1);
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSGE, p.begin, emit_i64(e, 0), ""), mine, p.done);
    LLVMPositionBuilderAtEnd(e->b, mine);
    p.end = LLVMBuildLoad2(e->b, e->i64, p.end_at, "");
    return p;
}

static void end_part(Emit *e, const Part *p) {
    if (p->end_at) {
        LLVMValueRef next = ask_turns(e, p, false);
        LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b);
        LLVMAddIncoming(p->begin, &next, &here, 1);
    }
    LLVMBuildBr(e->b, p->end_at ? p->again : p->done);
    LLVMPositionBuilderAtEnd(e->b, p->done);
}

/* Directly in the kernel? Inside a serial loop turns may need what the same ones did in the turn before of that: there each thread always has the same. */
static bool at_top(const Emit *e, const Stmt *s) {
    for (const Stmt *t = e->top->first; t; t = t->next)
        if (t == s) return true;
    return false;
}

static void parallel(Emit *e, const Stmt *s) {
    if (e->shared_out) {
        serial(e, s);
        return;
    }
    const Stmt *nest[NEST_MOST];
    Span spans[NEST_MOST];
    LLVMValueRef turns[NEST_MOST], total = NULL;
    int n = parallel_nest(s, nest);
    for (int i = 0; i < n; i++) {
        spans[i] = span(e, nest[i]);
        if (spans[i].turns == 0) return;
        span_values(e, nest[i], &spans[i]);
        turns[i] = count_turns(e, nest[i], &spans[i]);
        total = total ? LLVMBuildNSWMul(e->b, total, turns[i], "") : turns[i];
    }
    Part part = at_top(e, s) ? next_part(e, total) : fixed_part(e, total);
    int scope = emit_scope(e);
    e->shared_out = true;
    parallel_space(e, nest, spans, turns, n, part.begin, part.end);
    e->shared_out = false;
    emit_scope_end(e, scope);
    end_part(e, &part);
}

/* ---- all loops ---- */

void emit_for_rolled(Emit *e, const Stmt *s) {
    if (s->mark == MARK_VECTOR)
        vector(e, s);
    else
        serial(e, s);
}

void emit_for(Emit *e, const Stmt *s) {
    e->loop_of[s->var->id] = s;
    switch (s->mark) {
    case MARK_SERIAL: serial(e, s); break;
    case MARK_PARALLEL: parallel(e, s); break;
    case MARK_VECTOR:
        if (!emit_rolled(e, s)) vector(e, s);
        break;
    case MARK_UNROLL:
        if (e->rolled)
            serial(e, s);
        else if (!emit_transposed(e, s) && !emit_rolled(e, s))
            unrolled(e, s);
        break;
    }
}
