/*
 * math.h - the f32 functions of math.def as scalar C, for the evaluator and for folding of constants.
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
double math_sigmoid_f64(double x);

#endif
