/*
 * rewrite.h - copying statements and expressions of the loops IR with something put in place of variables and temps: what tile and
 * its kin build new nests with.
 */
#ifndef NNC_PASSES_REWRITE_H
#define NNC_PASSES_REWRITE_H

#include "ir/loops.h"

/* What stands for what. Later entries win. Temps may become a load or another expression; an assigned temp only another temp. */
typedef struct Rewrite {
    Arena *arena;
    Step *step;
    Vec(struct RewriteVar {
        const Var *from;
        const Affine *to;
    }) vars;
    Vec(struct RewriteTemp {
        const Temp *from;
        Expr *to;
    }) temps;
    Vec(struct RewriteBuffer {
        const Buffer *from;
        Buffer *to;
    }) buffers;
    bool guard; /* loads become guarded: outside is 0 */
} Rewrite;

Rewrite rewrite_new(Arena *a, Step *s);
void rewrite_var(Rewrite *r, const Var *from, const Affine *to);
void rewrite_temp(Rewrite *r, const Temp *from, Expr *to);
void rewrite_buffer(Rewrite *r, const Buffer *from, Buffer *to);

const Affine *rewrite_affine(const Rewrite *r, const Affine *x);
Expr *rewrite_expr(const Rewrite *r, const Expr *e);
/* A copy of one statement with its body. What it declares is renewed (and entered in r). */
Stmt *rewrite_stmt(Rewrite *r, const Stmt *s);

#endif
