/* bounds.h - how small and how large a value can be, as far as the graph shows it: so that autodiff need not guard factors that
 * are finite. */
#ifndef NNC_PASSES_BOUNDS_H
#define NNC_PASSES_BOUNDS_H

#include "ir/graph.h"

/* No element of v is smaller; -INFINITY: unknown. Elements that are NaN are not counted. */
double value_at_least(const Value *v);
/* No element of v is larger; INFINITY: unknown. */
double value_at_most(const Value *v);

#endif
