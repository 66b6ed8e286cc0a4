/*
 * evaluate.h - the other backend: steps run by the reference evaluator instead of machine code. Free of LLVM.
 */
#ifndef NNC_BACKEND_EVALUATE_H
#define NNC_BACKEND_EVALUATE_H

#include "ir/eval.h"
#include "ir/gradcheck.h"
#include "runtime/abi.h"

/* Gives every function of the program (made by program_make from m) a step that evaluates the graph function: reads its slots from the frame and the batch,
 * writes its results back in each slot's element type. Run-time faults go to the call's nn_fault. What it needs lives in a. */
void evaluate_steps(Arena *a, const Module *m, struct nn_program *program, EvalType type);

/* The same, and before its first evaluation every function that has gradients noted in `check` compares them with central differences on the
 * inputs of that call (in f64); the comparisons go to `report`. Sums of all go to `summary`. */
void evaluate_steps_checked(Arena *a, const Module *m, struct nn_program *program, const GradCheck *check,
                            const GradOptions *options, GradSummary *summary);

#endif
