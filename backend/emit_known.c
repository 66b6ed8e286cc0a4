/*
 * emit_known.c - what the code emitted so far has computed already, so that it is not written again for LLVM's passes to find and remove: a tile of 25 products written out
 * names each of its addresses 25 times.
 *
 * ADDRESSES (known) are values (from, base, factor): from + base * factor. Such a value may be used as long as the scope is open in which it was made, a loop's body or a branch; and
 * after that in the same basic block, behind whose other instructions everything new is put.
 *
 * LOADS AND SPLATS (fresh) may be used in the same basic block, until something is stored.
 */
#include "emit.h"

#include <string.h>

static size_t mix(const void *p, size_t h) { return (h ^ (uintptr_t)p >> 4) * 0x9e3779b97f4a7c15u; }

/* ---- addresses ---- */

static int *chain(Emit *e, LLVMValueRef from, LLVMValueRef base, int64_t factor) {
    return &e->known_chain[mix(from, mix(base, (size_t)factor)) >> 32 & (KNOWN_CHAINS - 1)];
}

static void put(Emit *e, Known k) {
    int *head = chain(e, k.from, k.base, k.factor);
    k.before = *head;
    vec_push(e->arena, &e->known, k);
    *head = (int)e->known.n;
}

int emit_scope(Emit *e) { return (int)e->known.n; }

void emit_scope_end(Emit *e, int mark) {
    LLVMBasicBlockRef here = LLVMGetInsertBlock(e->b);
    size_t n = e->known.n;
    for (size_t i = n; i-- > (size_t)mark;) {
        const Known *k = &e->known.at[i];
        *chain(e, k->from, k->base, k->factor) = k->before; /* the last one put is the first of its chain */
    }
    e->known.n = (size_t)mark;
    for (size_t i = (size_t)mark; i < n; i++) {
        Known k = e->known.at[i];
        k.open = false;
        if (k.block == here) put(e, k);
    }
}

LLVMValueRef emit_known(Emit *e, LLVMValueRef from, LLVMValueRef base, int64_t factor) {
    for (int i = *chain(e, from, base, factor); i; i = e->known.at[i - 1].before) {
        const Known *k = &e->known.at[i - 1];
        if (k->from != from || k->base != base || k->factor != factor) continue;
        if (k->open || k->block == LLVMGetInsertBlock(e->b)) return k->value;
    }
    return NULL;
}

LLVMValueRef emit_know(Emit *e, LLVMValueRef from, LLVMValueRef base, int64_t factor, LLVMValueRef value) {
    put(e, (Known){from, base, factor, value, LLVMGetInsertBlock(e->b), true, 0});
    return value;
}

/* ---- loads and splats ---- */

static Fresh *fresh_place(Emit *e, LLVMValueRef from, LLVMValueRef mask, LLVMTypeRef type) {
    return &e->fresh[mix(from, mix(mask, mix(type, 1))) >> 32 & (FRESH - 1)];
}

LLVMValueRef emit_fresh(Emit *e, LLVMValueRef from, LLVMValueRef mask, LLVMTypeRef type) {
    const Fresh *f = fresh_place(e, from, mask, type);
    bool same = f->from == from && f->mask == mask && f->type == type;
    return same && f->writes == e->writes && f->block == LLVMGetInsertBlock(e->b) ? f->value : NULL;
}

LLVMValueRef emit_remember(Emit *e, LLVMValueRef from, LLVMValueRef mask, LLVMTypeRef type, LLVMValueRef value) {
    *fresh_place(e, from, mask, type) = (Fresh){from, mask, type, LLVMGetInsertBlock(e->b), e->writes, value};
    return value;
}

void emit_forget(Emit *e) {
    e->known.n = 0;
    memset(e->known_chain, 0, sizeof e->known_chain);
    memset(e->fresh, 0, sizeof e->fresh);
}
