/*
 * elaborate.h - from the syntax tree to the graph: names are looked up, layers become parameters, shapes become known, loops
 * of layers are copied, and every command becomes a tree of loops and calls of straight functions.
 *
 * The elaborator is an interpreter. It runs the program as far as it can be run when compiled: numbers, strings, lists, functions
 * and instances of layers are values of its own (elab.h), and what is left over, arithmetic on tensors, it writes down as ops.
 */
#ifndef NNC_FRONTEND_ELABORATE_H
#define NNC_FRONTEND_ELABORATE_H

#include "../ir/graph.h"

#include "ast.h"

typedef struct Define {
    const char *name;  /* of a const of the program */
    const char *value; /* the text behind -D NAME= */
} Define;

typedef struct ElaborateOptions {
    const Define *defines;
    size_t n_defines;
    int64_t max_batch; /* bound of the batch of commands with inputs; 0: 256 */
    uint64_t hash;     /* of the source text, for Module.hash; the -D values are stirred in */
} ElaborateOptions;

/* The module of a program at STAGE_FRONT, or NULL if there were errors, then or before (all reported to d). `program` and its
 * text must live as long as the module; the sources of the library are made known to d. */
Module *elaborate(Arena *a, Diag *d, const Ast *program, const ElaborateOptions *o);

#endif
