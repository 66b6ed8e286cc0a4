/*
 * report.h - what a program costs, and whether the passes kept its numbers: for --plan and --verify-passes.
 */
#ifndef NNC_PASSES_REPORT_H
#define NNC_PASSES_REPORT_H

#include "passes/pipeline.h"

/* What --summary prints: the layers with their outputs, parameters and lines, and every parameter and state with shape, count and line (summary.c). */
const char *summary_report(Arena *a, const Module *m);
/* 12,345,678 */
const char *report_number(Arena *a, int64_t n);

/* What --plan prints of a planned program: parameters, operations, bytes by kind, the peak and what is alive at it (plan_report.c). */
void plan_report(const LoopsProgram *p, Text *out, Arena *a);
/* The same of one function's step alone (--fn). */
void plan_report_function(const LoopsProgram *p, const Func *f, Text *out, Arena *a);

/* --verify-passes (check.c). Zero but for the arena when the pipeline begins; pass_check is PipelineOptions.check. */
typedef struct PassCheck {
    Arena *arena;
    struct CheckState *state;
} PassCheck;

/* Called before the first pass (pass NULL) and after each: evaluates every function on random inputs and compares with what it gave before. Passes over
 * graphs are compared in f64 (they may change the order of sums), loops bit for bit with the last graph in f32, autodiff by
 * directional differences. Returns what changed, or NULL. */
const char *pass_check(void *check, Program *p, const char *pass);
/* Releases the inputs and results that it kept from pass to pass: these lie in no arena. */
void pass_check_end(PassCheck *c);

#endif
