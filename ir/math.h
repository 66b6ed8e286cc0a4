/*
 * math.h - the f32 functions of math.def as scalar C, for the evaluator and for folding of constants; and the rounded down
 * quotient of floats with its remainder, which the backend has as vectors (backend/emit_expr.c).
 *
 * Every function takes and gives f32 and is exact to the error that math.def states. Files that use it are compiled with
 * -ffp-contract=off; fmaf of the C library is exact with or without the instruction.
 */
#ifndef NNC_IR_MATH_H
#define NNC_IR_MATH_H

float math_exp(float x);
float math_expm1(float x);
float math_log(float x);
float math_log1p(float x);
float math_sin(float x);
float math_cos(float x);
float math_tanh(float x);
float math_sigmoid(float x);
float math_erf(float x);
float math_pow(float x, float y);

/* 1 / (1 + e^-x) in f64, which the C library does not have; neither end overflows. */
double math_sigmoid64(double x);
/* floor(a / b) of the exact quotient where that is below 2^24 (f64: 2^53); beyond, of the rounded one, which is whole. */
float math_floor_div(float a, float b);
double math_floor_div64(double a, double b);
/* a - b floor(a / b), exact but for one rounding: of the sign of b, and smaller than it unless that rounding makes it b. */
float math_mod(float a, float b);
double math_mod64(double a, double b);

#endif
