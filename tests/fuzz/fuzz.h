/* fuzz.h - what the fuzz targets share. A target reads any bytes, and must neither crash nor call bug() nor run out of time or memory. */
#ifndef NNC_TESTS_FUZZ_H
#define NNC_TESTS_FUZZ_H

#include "../../ir/graph.h"
#include "../../ir/loops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Printing what was found out is a part of the test: a place outside the text, a message without an end. */
static inline void fuzz_print(const Diag *d) {
    static FILE *nowhere;
    if (!nowhere) nowhere = fopen("/dev/null", "w");
    diag_print(d, nowhere);
}

static inline void fuzz_wrong(const char *what, const char *text) {
    fprintf(stderr, "%s\n%s\n", what, text);
    abort();
}

/* A graph that we call right is one that the verifier accepts, and that reads back as it was printed. */
static inline void fuzz_round_trip(Arena *a, const Module *m, Stage stage) {
    const char *why = graph_verify(a, m, stage);
    if (why) fuzz_wrong("a graph that was accepted does not verify", why);
    Text first = {0}, second = {0};
    graph_print(m, stage, NULL, &first, a);
    Diag *d = diag_new(a);
    Stage read_stage;
    const char *text = text_str(a, &first);
    Module *read = graph_parse(a, d, "printed.graph", text, first.n, &read_stage);
    if (!read) {
        diag_print(d, stderr);
        fuzz_wrong("a graph does not read back", text);
    }
    graph_print(read, read_stage, NULL, &second, a);
    if (first.n != second.n || memcmp(first.at, second.at, first.n) != 0) fuzz_wrong("a graph reads back as another", text);
}

#endif
