/* fuzz_passes.c - any text, a program or a graph (if it begins with "graph "), through reader and all passes down to loops; after each pass the text is
 * verified, printed and read back, and a pass that breaks it ends the process. */
#include "fuzz.h"

#include "../../frontend/elaborate.h"
#include "../../frontend/parse.h"
#include "../../passes/machine.h"
#include "../../passes/pipeline.h"

#include <string.h>

enum { MOST_OPS = 400 }; /* larger graphs take seconds, and show nothing that smaller ones do not */

static int ops_of(const Block *b) {
    int n = 0;
    for (const Op *op = b->first; op; op = op->next) {
        n++;
        for (int i = 0; i < op->n_blocks; i++) n += ops_of(op->blocks[i]);
    }
    return n;
}

static int ops_of_module(const Module *m) {
    int n = 0;
    for (size_t i = 0; i < m->funcs.n; i++) n += ops_of(m->funcs.at[i]->body);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena *a = arena_new();
    Diag *d = diag_new(a);
    char *text = arena_strndup(a, (const char *)data, size);
    Program p = {.stage = STAGE_FRONT};
    if (strncmp(text, "graph ", 6) == 0)
        p.graph = graph_parse(a, d, "fuzz.graph", text, size, &p.stage);
    else
        p.graph = elaborate(a, d, parse_source(a, d, "fuzz.nn", text, size), &(ElaborateOptions){.max_batch = 8});
    if (p.graph && ops_of_module(p.graph) <= MOST_OPS) {
        Machine machine = {.vector_bytes = 32, .vector_registers = 16, .l1 = 32 << 10, .l2 = 1 << 20};
        PassCtx ctx = {.arena = a, .diag = d, .machine = &machine, .max_mem = (int64_t)1 << 30, .verify = true};
        bool done = pipeline_run(&ctx, &p, &(PipelineOptions){.verify = true});
        if (done != (diag_errors(d) == 0))
            fuzz_wrong(done ? "passes that report errors and go on" : "passes that stop without an error", text);
    }
    fuzz_print(d);
    arena_free(a);
    return 0;
}
