/* apart.h - may loops run side by side? See apart.c. */
#ifndef NNC_PASSES_APART_H
#define NNC_PASSES_APART_H

#include "passes/nest.h"

/* Is each memory that the loop stores to touched, in each of its places, by one turn only? What a thread has for itself does not count. */
bool turns_apart(const Step *step, const Stmt *loop);
/* Are all that stands at the top of a kernel lets and loops that do not depend on one another? Loops with a parallel one inside are parts of tiles: of each
 * other's places those who made them know. */
bool nests_apart(const Step *step, const Body *kernel);

#endif
