/*
 * diag.h - what the user did wrong, collected and printed in the order of places.
 *
 * An error has a code (E0204), a place, one sentence without a full stop, and any number of notes, which belong to the error
 * reported last. Errors do not stop anybody: callers go on with an error value that keeps silent, so that one run shows
 * as many independent faults as there are. At most 50 errors are printed.
 *
 *   lenet.nn:14:14: error[E0204]: matrix product of f32[B, 400] and f32[256, 120]: the inner sizes differ (400, 256)
 *      14 |     h = tanh(x @ w1 + b1)
 *         |              ^
 *   lenet.nn:30:18: note: in layer lenet5, applied here to image: u8[B, 28, 28]
 *
 * Codes: E00xx text and grammar, E01xx names and kinds, E02xx types and shapes, E03xx statements and effects, E04xx data, vocab, files,
 * E05xx commands, E06xx graph text, E07xx loops text, E08xx passes and what is not compiled natively yet, E09xx the command line.
 * Their titles, explanations and examples are the table errors.def; a code that is not in the table is a bug.
 */
#ifndef NNC_IR_DIAG_H
#define NNC_IR_DIAG_H

#include "base.h"

#include <stdio.h>

typedef struct Diag Diag;

Diag *diag_new(Arena *a);
/* Makes the text of a file known, so that messages can quote its lines. `text` must outlive d. */
void diag_source(Diag *d, const char *file, const char *text, size_t n);

/* Code without the E: diag_error(d, loc, 204, "..."). Two reports of the same code, place and message are one. */
void diag_error(Diag *d, Loc at, int code, const char *format, ...) __attribute__((format(printf, 4, 5)));
void diag_warning(Diag *d, Loc at, int code, const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Adds a line to the error or warning reported last. With a place of its own, or none (loc.file NULL). */
void diag_note(Diag *d, Loc at, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The error or warning reported last, and a note to it that comes later. NULL: none, or it was not kept. */
struct Report *diag_last(const Diag *d);
void diag_note_to(Diag *d, struct Report *r, Loc at, const char *text);

int diag_errors(const Diag *d);
/* Whether an error of this code was reported in the line of `at`. */
bool diag_said(const Diag *d, Loc at, int code);
/* Whether an error was reported in the lines from from.line to last of its file. */
bool diag_said_within(const Diag *d, Loc from, int last);
/* Prints everything collected, sorted by file (in the order in which sources became known), line and column. */
void diag_print(const Diag *d, FILE *out);

/* Columns that a line of text takes in a terminal: letters of several bytes, wide ones and marks as they are shown. */
int diag_width(const char *s);

/* The known name nearest to `name` (optimal string alignment: a swap of neighbours and a change of case count as one step), or NULL if
 * none is near enough to suggest: at most one step in three letters. */
const char *diag_nearest(const char *name, const char *const *known, size_t n);

/* The paragraph and example of a code ("E0204", "204"), as `nnc --explain` prints it; false if there is no such code. */
bool diag_explain(const char *code, FILE *out);
/* All of them, as docs/errors.md holds them. */
void diag_print_table(FILE *out);

#endif
