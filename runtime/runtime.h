/*
 * runtime.h - the way into the runtime: main() of finished programs, nnc --eval, tests.
 */
#ifndef NN_RUNTIME_H
#define NN_RUNTIME_H

#include "abi.h"
#include "env.h"

/* A whole program: reads the command line, runs the command, prints what is to be printed, returns the exit status. Steps may be
 * compiled code or C functions that find what they need in call->func->context. argv[0] is the name that messages begin with. */
int nn_main(const struct nn_program *program, int argc, char **argv);

/* The same with another system in place of the real one: no signal handlers, output where sys->print takes it. */
int nn_main_with(const struct nn_system *sys, const struct nn_program *program, int argc, char **argv);

#endif
