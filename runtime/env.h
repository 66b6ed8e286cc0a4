/*
 * env.h - what every part of the runtime is given: where errors, memory, time and output go. Nothing below main() ends the
 * process, prints, or keeps a global; a function that can fail returns false (or NULL) and has written why into env->error, once:
 * the first error stays.
 */
#ifndef NN_ENV_H
#define NN_ENV_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Exit statuses of a finished program (docs: commands). */
enum { NN_OK = 0, NN_INTERNAL = 1, NN_BAD_INPUT = 2, NN_RUNTIME = 3 };

enum nn_stream { NN_OUT = 1, NN_ERR = 2 };

enum { NN_NOT_BEGUN = -1 }; /* in place of a signal's number: a run has not begun, and there is nothing to be finished */

/* What the runtime asks of the world. Tests put failing ones in its place. */
struct nn_system {
    void *(*allocate)(void *context, void *old, size_t size);                    /* as realloc; size 0: free, returns NULL */
    ssize_t (*write)(void *context, int fd, const void *at, size_t size);        /* as write(2): files */
    bool (*print)(void *context, enum nn_stream to, const char *text, size_t n); /* results and messages; false: errno says why */
    double (*now)(void *context);                                                /* seconds of a clock that never goes back */
    void *context;
    volatile int *stop;      /* the signal that asks to stop, 0: none yet; the run makes that of NN_NOT_BEGUN. NULL: none comes */
    const char *data_folder; /* $NNC_DATA or NULL */
    bool terminal;           /* messages go to a terminal */
    int columns;             /* ... so wide; 0: not known */
};

struct nn_error {
    int status; /* 0: none */
    char text[4000];
};

struct nn_env {
    const struct nn_system *sys;
    struct nn_error error;
};

/* The system that the process really has. */
struct nn_system nn_real_system(void);

/* Notes an error, if it is the first, and returns false. */
bool nn_fail(struct nn_env *env, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool nn_no_memory(struct nn_env *env, size_t size);

/* Memory: NULL after nn_no_memory. nn_grow is realloc. nn_free takes NULL. */
void *nn_alloc(struct nn_env *env, size_t size); /* zeroed */
void *nn_alloc_n(struct nn_env *env, int64_t n, size_t size);
void *nn_grow(struct nn_env *env, void *old, size_t size);
void nn_free(struct nn_env *env, void *at);
char *nn_copy_string(struct nn_env *env, const char *s);
/* 64-byte aligned, contents undefined; large ones ask for huge pages. Freed by nn_free_aligned alone. */
void *nn_alloc_aligned(struct nn_env *env, size_t size);
void nn_free_aligned(struct nn_env *env, void *at);
/* Asks for huge pages where whole ones lie in `size` bytes at `at`: fewer faults when they are first written, and data read in any
 * order wait for fewer addresses. A hint: it may do nothing. */
void nn_huge_pages(void *at, size_t size);
/* a * b, or false if either is negative or the product does not fit. */
bool nn_product(int64_t a, int64_t b, int64_t *product);

/* Text that grows. After a failed allocation `bad` is set and additions do nothing: check once at the end with nn_text_ok. */
struct nn_text {
    char *at; /* NUL behind the last byte; NULL while empty */
    size_t n, cap;
    bool bad;
};
void nn_text_add_n(struct nn_env *env, struct nn_text *t, const char *s, size_t n);
void nn_text_add(struct nn_env *env, struct nn_text *t, const char *s);
void nn_text_printf(struct nn_env *env, struct nn_text *t, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The place of the first byte that is not UTF-8, -1: there is none. */
int64_t nn_utf8_fault(const char *s, int64_t n);
/* A JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
void nn_text_json(struct nn_env *env, struct nn_text *t, const char *s, size_t n);
bool nn_text_ok(struct nn_env *env, const struct nn_text *t);
const char *nn_text_str(const struct nn_text *t);
void nn_text_free(struct nn_env *env, struct nn_text *t);

/* A whole text. Results that nobody can read are an error of the run; messages that cannot be written are let go. */
bool nn_print_text(struct nn_env *env, enum nn_stream to, const struct nn_text *t);
void nn_print(struct nn_env *env, enum nn_stream to, const char *format, ...) __attribute__((format(printf, 3, 4)));
double nn_now(struct nn_env *env);

/* ---- names ---- */

/* "DIR/NAME", or NAME alone if it is absolute or dir is NULL or "". */
char *nn_path_join(struct nn_env *env, const char *dir, const char *name);
/* The last suffix without its dot, in lower case; "" if there is none. */
void nn_path_suffix(const char *name, char suffix[8]);
/* The same of a file that is read, compressed or not: ".gz" is skipped, "a.csv.gz" is "csv". */
void nn_path_suffix_unpacked(const char *name, char suffix[8]);
bool nn_is_file(const char *path);
bool nn_is_folder(const char *path);
/* Makes the folder if it is not there. */
bool nn_make_folder(struct nn_env *env, const char *path);

/* How far a misspelt name is from another: insertions, deletions, replacements and swaps of neighbours; a change of case counts
 * as one. */
int nn_name_distance(const char *a, const char *b);

#endif
