/*
 * main.c - main() of a finished program. All that it knows stands in the one structure that the compiler made.
 */
#include "runtime.h"

extern const struct nn_program nn_program;

int main(int argc, char **argv) { return nn_main(&nn_program, argc, argv); }
