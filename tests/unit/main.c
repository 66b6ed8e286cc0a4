/* main.c - all unit tests in one program: `unit_tests` runs them, `unit_tests SUITE...` some, `unit_tests --list` names the suites. CK_FORK=no runs them in one process, for a debugger. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SUITES(X)                                                                                                                \
    X(apart)                                                                                                                     \
    X(autodiff)                                                                                                                  \
    X(barriers)                                                                                                                  \
    X(collapse)                                                                                                                  \
    X(convolutions)                                                                                                              \
    X(backend)                                                                                                                   \
    X(simplify)                                                                                                                  \
    X(elaborate)                                                                                                                 \
    X(errors)                                                                                                                    \
    X(eval)                                                                                                                      \
    X(gradients)                                                                                                                 \
    X(plan)                                                                                                                      \
    X(fuse)                                                                                                                      \
    X(fuse_again)                                                                                                                \
    X(lower)                                                                                                                     \
    X(loops)                                                                                                                     \
    X(graph)                                                                                                                     \
    X(math)                                                                                                                      \
    X(mutate)                                                                                                                    \
    X(random)                                                                                                                    \
    X(random_loops)                                                                                                              \
    X(runtime)                                                                                                                   \
    X(runtime_checkpoint)                                                                                                        \
    X(runtime_data)                                                                                                              \
    X(sort)                                                                                                                      \
    X(syntax)                                                                                                                    \
    X(tile)                                                                                                                      \
    X(tile_blocks)

#define X(name) Suite *name##_suite(void);
SUITES(X)
#undef X

static const struct {
    const char *name;
    Suite *(*make)(void);
} suites[] = {
#define X(name) {#name, name##_suite},
    SUITES(X)
#undef X
};

static int wanted(int argc, char **argv, const char *name) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0) return 1;
    return argc == 1;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) puts(suites[i].name);
        return EXIT_SUCCESS;
    }
    SRunner *runner = srunner_create(NULL);
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++)
        if (wanted(argc, argv, suites[i].name)) srunner_add_suite(runner, suites[i].make());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
