/* fuzz_front.c - any text through parser and elaborator; what becomes a graph verifies and round trips. */
#include "fuzz.h"

#include "../../frontend/elaborate.h"
#include "../../frontend/parse.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena *a = arena_new();
    Diag *d = diag_new(a);
    char *text = arena_strndup(a, (const char *)data, size);
    Ast *tree = parse_source(a, d, "fuzz.nn", text, size);
    Module *m = elaborate(a, d, tree, &(ElaborateOptions){.max_batch = 8});
    if (m && diag_errors(d)) fuzz_wrong("a program with errors became a graph", text);
    if (!m && !diag_errors(d)) fuzz_wrong("no graph, and no error either", text);
    fuzz_print(d);
    if (m) fuzz_round_trip(a, m, STAGE_FRONT);
    arena_free(a);
    return 0;
}
