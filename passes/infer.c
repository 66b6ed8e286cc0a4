/*
 * infer.c - give every op the types that its rule finds.
 * in:  graph whose types may be out of date (a text written or changed by hand).   out: typed graph.
 *
 *   %h = contract %x, %w spec "bi,io->bo" : f32[B, 10]      with %w: f32[784, 20]
 *   =>  %h = contract %x, %w spec "bi,io->bo" : f32[B, 20]
 *
 * Ops whose types follow from nothing (constant, broadcast, reshape, convert, ...) keep theirs. A rule that does not hold is an
 * error of the text's author (E0803), with the op as printed. Blocks are inferred before their op, whose results follow from
 * theirs; parameters of blocks keep their types.
 */
#include "pipeline.h"

static bool infer_block(PassCtx *c, Block *b);

static bool infer_op(PassCtx *c, Op *op) {
    bool ok = true;
    for (int i = 0; i < op->n_blocks; i++) ok &= infer_block(c, op->blocks[i]);
    const Type **types = arena_make_n(c->arena, const Type *, (size_t)op->n_out);
    const char *why = ok ? op_infer(c->arena, op, types) : NULL;
    if (why) {
        diag_error(c->diag, op->loc, 803, "%s", why);
        diag_note(c->diag, (Loc){0}, "in the op  %s", op_text(c->arena, op));
        return false;
    }
    for (int i = 0; ok && i < op->n_out; i++) op->out[i]->type = types[i];
    return ok;
}

static bool infer_block(PassCtx *c, Block *b) {
    bool ok = true;
    for (Op *op = b->first; op; op = op->next) ok &= infer_op(c, op);
    return ok;
}

/* What a function writes must fit the slot it writes to. */
static bool check_results(PassCtx *c, const Func *f) {
    bool ok = true;
    for (size_t i = 0; i < f->out_slots.n; i++) {
        const Slot *s = f->out_slots.at[i];
        const Type *t = f->body->results.at[i]->type;
        if (t == s->type) continue;
        diag_error(c->diag, f->loc, 803, "@%s writes %s to `%s`, which is %s", f->name, type_name(t), s->name,
                   type_name(s->type));
        ok = false;
    }
    return ok;
}

bool pass_infer(PassCtx *c, Module *m) {
    bool ok = true;
    for (size_t i = 0; i < m->funcs.n; i++) {
        bool typed = infer_block(c, m->funcs.at[i]->body);
        ok &= typed && check_results(c, m->funcs.at[i]);
    }
    return ok;
}
