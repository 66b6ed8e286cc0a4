/*
 * random_property.h - a property of random graphs, tried for many seeds; what fails is shrunk and printed.
 *
 * NNC_SEEDS=N in the environment takes N graphs a test instead of the usual number, NNC_SEED=S begins at seed S.
 */
#ifndef NNC_TESTS_RANDOM_PROPERTY_H
#define NNC_TESTS_RANDOM_PROPERTY_H

#include "random_graph.h"

/* NULL, or what is wrong with the graph that random_graph makes of o; texts live in a. */
typedef const char *Property(Arena *a, const RandomOptions *o);

/* A property is tried in a process of its own, so that a crash or an internal fault is a failure like others and can be shrunk.
 * This is what comes back. */
typedef struct PropertyShared {
    bool done;
    int nonzero; /* for the property's own use: it adds up */
    char why[8192];
} PropertyShared;
extern PropertyShared *shared;

/* Once, before anything below. */
void property_start(void);
/* The reason why the property does not hold, or NULL. quiet: what it prints to stderr is lost. */
const char *try_once(Property *holds, const RandomOptions *o, bool quiet);
/* For random_shrink: arg points to a Property *. */
bool still_fails(const RandomOptions *o, void *arg);
/* Fails the test with the first graph for which the property does not hold. Seed and number of steps are set here, the rest is as
 * in `like`. */
void for_seeds(Property *holds, const RandomOptions *like, uint64_t usual);

const char *text_of(Arena *a, const Module *m, Stage stage);
/* A second module, equal to the first, by way of text; NULL if it cannot be read. */
Module *copy_of(Arena *a, const Module *m, Stage stage);

#endif
