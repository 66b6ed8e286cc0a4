/* fuzz_graph.c - any text through the reader of .graph files; what is accepted verifies and round trips. */
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena *a = arena_new();
    Diag *d = diag_new(a);
    char *text = arena_strndup(a, (const char *)data, size);
    Stage stage;
    Module *m = graph_parse(a, d, "fuzz.graph", text, size, &stage);
    if (m && diag_errors(d)) fuzz_wrong("a text with errors became a graph", text);
    if (!m && !diag_errors(d)) fuzz_wrong("no graph, and no error either", text);
    fuzz_print(d);
    if (m) fuzz_round_trip(a, m, stage);
    arena_free(a);
    return 0;
}
