/*
 * fuse_draws.c - random draws that an op behind a product reads are stored by a kernel in front of it.
 *
 *   %z = contract "mk,kn->mn" %x, %w                    %u = kernel { uniform ... }
 *   %m = lt (uniform ...), %p               =>          %y = kernel { %z = contract ... ; %y = mul %z, lt %u, %p }
 *   %y = mul %z, %m
 *
 * Draws of neighbouring elements are made 64 at a time (backend/random.c), which takes 3 to 4 cycles each. A product's tile has a few elements of each of its rows, and would
 * make 64 for 16 or 24. To write and to read what was drawn costs a cycle.
 */
#include "passes/fuse.h"

enum { FEW = 1024 /* draws that are not worth a kernel, and what threads wait for behind it */ };

/* Is v drawn, by an op that belongs to no group? */
static bool is_drawn(const Fuse *f, const Value *v) {
    int i = fuse_op_of(f, v);
    if (i < 0 || f->role[i] != ROLE_FREE) return false;
    if (f->op[i]->code == OP_uniform) return true;
    for (int k = 0; k < f->op[i]->n_in; k++)
        if (is_drawn(f, f->op[i]->in[k])) return true;
    return false;
}

static bool is_behind(const Fuse *f, const bool *behind, const Value *v) {
    int i = fuse_op_of(f, v);
    return i >= 0 && behind[i];
}

void fuse_store_draws(Fuse *f) {
    bool *behind = arena_make_n(f->arena, bool, (size_t)f->n_ops); /* a product, with elementwise ops only between */
    for (int i = 0; i < f->n_ops; i++) {
        const Op *op = f->op[i];
        behind[i] = fuse_is_product(op->code);
        if (!op_info[op->code].elementwise || op->n_out != 1) continue;
        for (int k = 0; k < op->n_in; k++) behind[i] |= is_behind(f, behind, op->in[k]);
        if (!behind[i] || type_count(op->out[0]->type, f->func->batch_bound) < FEW) continue;
        for (int k = 0; k < op->n_in; k++) {
            const Value *v = op->in[k];
            if (is_behind(f, behind, v) || !type_same_shape(v->type, op->out[0]->type) || !is_drawn(f, v)) continue;
            int made = fuse_op_of(f, v);
            f->role[made] = ROLE_MEMBER;
            f->drawn[made] = true;
        }
    }
}

/* Notes which of the stored draws v is made of, through free ops. */
static void note_read(const Fuse *f, const Value *v, bool *read) {
    int i = fuse_op_of(f, v);
    if (i < 0) return;
    if (f->drawn[i]) read[i] = true;
    if (f->role[i] != ROLE_FREE) return;
    for (int k = 0; k < f->op[i]->n_in; k++) note_read(f, f->op[i]->in[k], read);
}

void fuse_free_draws(Fuse *f) {
    bool *read = arena_make_n(f->arena, bool, (size_t)f->n_ops); /* by a product's group */
    for (int i = 0; i < f->n_ops; i++) {
        if (f->role[i] == ROLE_FREE || !f->groups.at[f->group_of[i]]->heavy) continue;
        for (int k = 0; k < f->op[i]->n_in; k++) note_read(f, f->op[i]->in[k], read);
    }
    for (int i = 0; i < f->n_ops; i++) {
        if (!f->drawn[i]) continue;
        Group *g = f->groups.at[f->group_of[i]];
        g->closed = false;
        if (read[i] || f->kept[i]) continue;
        f->drawn[i] = false;
        f->role[i] = ROLE_FREE;
        f->group_of[i] = -1;
        g->ops.n = 0;
        g->gone = true;
    }
}
