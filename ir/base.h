/*
 * base.h - what every stage of the compiler stands on: arenas, growable arrays, interned strings,
 * places in source files, and the way to report a fault of our own.
 *
 * Memory: the compiler allocates from arenas and frees arenas, never single objects. One arena lives
 * as long as the run; a stage or pass may have one of its own for scratch.
 */
#ifndef NNC_IR_BASE_H
#define NNC_IR_BASE_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- arenas ---- */

typedef struct Arena Arena;

Arena *arena_new(void);
/* Frees everything that came from the arena; poisons it first in debug builds. */
void arena_free(Arena *a);
/* Zeroed memory, aligned for any type. Never NULL: running out of memory ends the program with a message. */
void *arena_alloc(Arena *a, size_t size);
#define arena_make(a, T)      ((T *)arena_alloc((a), sizeof(T)))
#define arena_make_n(a, T, n) ((T *)arena_alloc_n((a), (n), sizeof(T)))
/* As arena_alloc(n * size), with a check for overflow. */
void *arena_alloc_n(Arena *a, size_t n, size_t size);
char *arena_strndup(Arena *a, const char *s, size_t n);
char *arena_printf(Arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(Arena *a, const char *format, va_list args);
/* Bytes handed out so far: what the limits on elaboration are measured by. */
size_t arena_used(const Arena *a);

/* ---- growable arrays ----
 * Vec(int) v = {0};  vec_push(arena, &v, 3);  v.at[0];  v.n
 * The elements live in the arena; a vector that grows leaves its old place behind there. */

#define Vec(T)                                                                                                                   \
    struct {                                                                                                                     \
        T *at;                                                                                                                   \
        size_t n;                                                                                                                \
        size_t cap;                                                                                                              \
    }
#define vec_push(a, v, x) ((v)->at = vec_room((a), (v)->at, (v)->n, &(v)->cap, sizeof *(v)->at), (v)->at[(v)->n++] = (x))
void *vec_room(Arena *a, void *at, size_t n, size_t *cap, size_t size);

/* ---- text that grows ---- */

typedef Vec(char) Text;
void text_printf(Arena *a, Text *t, const char *format, ...) __attribute__((format(printf, 3, 4)));
void text_add(Arena *a, Text *t, const char *s);
/* The text as a C string; it stays valid until the next addition. */
const char *text_str(Arena *a, Text *t);

/* ---- interned strings: equal strings are the same pointer, for the whole run ---- */

const char *intern(const char *s);
const char *intern_n(const char *s, size_t n);
const char *intern_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- places ---- */

/* A place in a source file. `file` is interned, NULL where there is no place; lines and columns count from 1
 * (a column is a code point). `what` (interned, may be NULL) says what was made there, for IR texts:
 * "dense", "gradient of line 26". `end` (the column behind the text meant, on the same line) and `mark` (where in it the caret stands:
 * an operator) are for messages alone; 0 where not known. */
typedef struct Loc {
    const char *file;
    int line, col;
    const char *what;
    int end, mark;
} Loc;

/* ---- hashing ---- */

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed);

/* A map from pointers (of interned names, too) to pointers: PtrMap m = {0}. NULL is no key. */
typedef struct PtrMap {
    const void **keys;
    void **values;
    size_t n, cap;
} PtrMap;
void *map_get(const PtrMap *m, const void *key); /* NULL: it is not in it */
void map_put(Arena *a, PtrMap *m, const void *key, void *value);

/* ---- our own faults ---- */

/* Prints "nnc: internal fault: ..." with file and line, asks for a report, and ends the process with status 1. Never for
 * what a user did: that is diag_error. */
#define bug(...) bug_at(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void bug_at(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
