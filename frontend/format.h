/*
 * format.h - `nnc fmt`: one layout for programs.
 */
#ifndef NNC_FRONTEND_FORMAT_H
#define NNC_FRONTEND_FORMAT_H

#include "../ir/diag.h"

/* The text in the one layout, with its comments and with its own line breaks; NULL if it has errors of the grammar, which are
 * reported to d. The tree does not change (checked), and formatting the result gives the result. */
char *format_source(Arena *a, Diag *d, const char *file, const char *text, size_t n);

#endif
