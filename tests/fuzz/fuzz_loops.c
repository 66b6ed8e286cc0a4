/* fuzz_loops.c - any text through the reader of .loops files; what is accepted verifies and round trips. */
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena *a = arena_new();
    Diag *d = diag_new(a);
    char *text = arena_strndup(a, (const char *)data, size);
    LoopsStage stage, again;
    LoopsProgram *p = loops_parse(a, d, "fuzz.loops", text, size, &stage);
    if (p && diag_errors(d)) fuzz_wrong("a text with errors became loops", text);
    if (!p && !diag_errors(d)) fuzz_wrong("no loops, and no error either", text);
    fuzz_print(d);
    if (p) {
        const char *why = loops_verify(a, p, stage);
        if (why) fuzz_wrong("loops that were accepted do not verify", why);
        Text first = {0}, second = {0};
        loops_print(p, stage, NULL, &first, a);
        LoopsProgram *q = loops_parse(a, d, "printed.loops", text_str(a, &first), first.n, &again);
        if (!q) {
            diag_print(d, stderr);
            fuzz_wrong("loops do not read back", text_str(a, &first));
        }
        loops_print(q, again, NULL, &second, a);
        if (first.n != second.n || memcmp(first.at, second.at, first.n) != 0)
            fuzz_wrong("loops read back as others", text_str(a, &first));
    }
    arena_free(a);
    return 0;
}
