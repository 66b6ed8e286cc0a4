/*
 * parse.h - from text to syntax tree: lexer.l cuts the text into tokens, tokens.c makes separators and mends brackets, parser.y
 * makes the tree.
 */
#ifndef NNC_FRONTEND_PARSE_H
#define NNC_FRONTEND_PARSE_H

#include "ast.h"

#include "../ir/diag.h"

/* Reads a file of n bytes. `file` is the name shown in messages. The text is made known to d and must outlive it. Never NULL:
 * what could not be read is missing or an AST_ERROR, and has been reported. Any bytes are a legal argument: at most 16 MiB are
 * read, memory and time grow in proportion to n. */
Ast *parse_source(Arena *a, Diag *d, const char *file, const char *text, size_t n);

/* One expression (`-D NAME=value`), NULL and an error if that is not what the text is. */
AstNode *parse_value(Arena *a, Diag *d, const char *file, const char *text, size_t n);

#endif
