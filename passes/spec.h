/*
 * spec.h - the spec of a product, "bij,bjk->bik", taken apart into the labels of both operands and of the result.
 */
#ifndef NNC_PASSES_SPEC_H
#define NNC_PASSES_SPEC_H

#include "ir/graph.h"

#include <string.h>

typedef struct Spec {
    char a[2 * MAX_RANK + 1], b[2 * MAX_RANK + 1], out[2 * MAX_RANK + 1];
} Spec;

static inline Spec read_spec(const Op *op) {
    const char *s = op_str(op, A_spec), *comma = strchr(s, ','), *arrow = strstr(s, "->");
    Spec p = {0};
    memcpy(p.a, s, (size_t)(comma - s));
    memcpy(p.b, comma + 1, (size_t)(arrow - comma - 1));
    strcpy(p.out, arrow + 2);
    return p;
}

/* The labels of operand 0, operand 1, or the result (2). */
static inline char *spec_part(Spec *s, int part) { return part == 0 ? s->a : part == 1 ? s->b : s->out; }

static inline const char *spec_text(const Spec *s) { return intern_printf("%s,%s->%s", s->a, s->b, s->out); }

#endif
