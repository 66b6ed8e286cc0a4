/*
 * machine.h - what the passes know of the machine that is compiled for. Filled in by the driver from --cpu; no pass asks
 * for a CPU by name. It decides how fast a program is, never what it computes.
 */
#ifndef NNC_PASSES_MACHINE_H
#define NNC_PASSES_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Machine {
    int vector_bytes;     /* of one vector register: 64 (AVX-512), 32 (AVX2), 16 (NEON, SSE), 4: no vectors */
    int vector_registers; /* 32 or 16 */
    bool masked;          /* loads and stores of a part of a vector cost no more than whole ones */
    int64_t l1, l2;       /* bytes of data cache a core */
} Machine;

/* Lanes of a vector of elements of so many bytes. */
static inline int machine_lanes(const Machine *m, int bytes) { return m->vector_bytes > bytes ? m->vector_bytes / bytes : 1; }

#endif
