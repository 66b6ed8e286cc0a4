/* apart.h - may loops run side by side? See apart.c. */
#ifndef NNC_PASSES_APART_H
#define NNC_PASSES_APART_H

#include "passes/nest.h"

/* Whether access x in s and y in t to one memory never meet, whatever turns the loops of s and t make, those around standing still: along some axis the one stays
 * below the other. */
bool accesses_apart(Arena *a, const Step *step, const Stmt *s, const Access *x, const Stmt *t, const Access *y);
/* Is each memory that the loop stores to touched, in each of its places, by one turn only? What a thread has for itself does not count. */
bool turns_apart(const Step *step, const Stmt *loop);
/* Are all that stands at the top of a kernel lets and loops that do not depend on one another? Loops with a parallel one inside are parts of tiles: of each
 * other's places those who made them know. */
bool nests_apart(const Step *step, const Body *kernel);

#endif
