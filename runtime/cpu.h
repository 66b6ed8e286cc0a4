/*
 * cpu.h - whether this CPU has the instructions that a program was compiled for.
 */
#ifndef NN_CPU_H
#define NN_CPU_H

#include "abi.h"
#include "env.h"

/* False, status 2: program->needs names features that this CPU, or the system on it, does not have; the message says which, and what to compile for instead. A name
 * that nobody knows counts as one that is missing. */
bool nn_cpu_check(struct nn_env *env, const struct nn_program *program);

#endif
