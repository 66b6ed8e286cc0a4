/* random_property.c - see random_property.h. */
#include "random_property.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

PropertyShared *shared;

void property_start(void) {
    if (shared) return;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) abort();
}

static uint64_t first_seed(void) {
    const char *s = getenv("NNC_SEED");
    return s ? strtoull(s, NULL, 10) : 1;
}

static uint64_t seeds(uint64_t usual) {
    const char *s = getenv("NNC_SEEDS");
    return s ? strtoull(s, NULL, 10) : usual;
}

const char *text_of(Arena *a, const Module *m, Stage stage) {
    Text t = {0};
    graph_print(m, stage, NULL, &t, a);
    return text_str(a, &t);
}

Module *copy_of(Arena *a, const Module *m, Stage stage) {
    const char *text = text_of(a, m, stage);
    Diag *d = diag_new(a);
    diag_source(d, "copy", text, strlen(text));
    Module *copy = graph_parse(a, d, "copy", text, strlen(text), &stage);
    if (!copy) diag_print(d, stderr);
    return copy;
}

const char *try_once(Property *holds, const RandomOptions *o, bool quiet) {
    shared->done = false;
    shared->why[0] = 0;
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        if (quiet) ck_assert(freopen("/dev/null", "w", stderr));
        Arena *a = arena_new();
        const char *why = holds(a, o);
        snprintf(shared->why, sizeof shared->why, "%s", why ? why : "");
        arena_free(a);
        shared->done = true;
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    if (!shared->done)
        snprintf(shared->why, sizeof shared->why, "it crashed, or ended in an internal fault (status %x)", (unsigned)status);
    return shared->why[0] ? shared->why : NULL;
}

bool still_fails(const RandomOptions *o, void *holds) { return try_once(*(Property **)holds, o, true) != NULL; }

void for_seeds(Property *holds, const RandomOptions *like, uint64_t usual) {
    for (uint64_t k = 0; k < seeds(usual); k++) {
        RandomOptions o = *like;
        o.seed = first_seed() + k;
        o.steps = 4 + (int)(o.seed % 28);
        if (!try_once(holds, &o, true)) continue;
        int left = random_shrink(&o, still_fails, &holds);
        const char *why = try_once(holds, &o, false);
        Arena *a = arena_new();
        fprintf(stderr, "seed %d, %d ops left: %s\nof the graph\n%s\n", (int)o.seed, left, why,
                text_of(a, random_graph(a, &o), STAGE_FRONT));
        arena_free(a);
        ck_abort_msg("seed %d (see above): %.200s", (int)o.seed, why);
    }
}
