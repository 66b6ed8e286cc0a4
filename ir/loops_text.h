/*
 * loops_text.h - what printer and parser of the loops text share. Private to loops_print.c and loops_parse.c.
 */
#ifndef NNC_IR_LOOPS_TEXT_H
#define NNC_IR_LOOPS_TEXT_H

#include "loops.h"

enum { NO_ELEM = -1 };

#define LOOPS_NUMBER_MOST (INT64_C(1) << 40) /* as many elements as a shape has at most */
#define LOOPS_BYTES_MOST  (INT64_C(1) << 50)

/* The element type that argument i of an op has when the op gives `elem` (NO_ELEM: not known), or NO_ELEM if that does not follow.
 * Where a type follows, numbers and `convert` are written without one. */
int loops_arg_elem(OpCode op, int elem, int i);
/* Words that are no names of variables, temps and buffers. */
bool loops_is_keyword(const char *name);

#endif
