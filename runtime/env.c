/*
 * env.c - errors, memory, growing text and file names: see env.h.
 */
#include "env.h"
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- the real system ---- */

static void *real_allocate(void *context, void *old, size_t size) {
    (void)context;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}

static ssize_t real_write(void *context, int fd, const void *at, size_t size) {
    (void)context;
    return write(fd, at, size);
}

static bool real_print(void *context, enum nn_stream to, const char *text, size_t n) {
    (void)context;
    while (n > 0) {
        ssize_t done = write(to == NN_OUT ? STDOUT_FILENO : STDERR_FILENO, text, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return false;
        text += done;
        n -= (size_t)done;
    }
    return true;
}

static double real_now(void *context) {
    (void)context;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int terminal_columns(void) {
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

struct nn_system nn_real_system(void) {
    return (struct nn_system){.allocate = real_allocate,
                              .write = real_write,
                              .print = real_print,
                              .now = real_now,
                              .data_folder = getenv("NNC_DATA"),
                              .terminal = isatty(STDERR_FILENO) == 1,
                              .columns = terminal_columns()};
}

/* ---- errors ---- */

static bool fail_v(struct nn_env *env, int status, const char *format, va_list args) {
    if (env->error.status != 0) return false;
    env->error.status = status;
    vsnprintf(env->error.text, sizeof env->error.text, format, args);
    return false;
}

bool nn_fail(struct nn_env *env, int status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fail_v(env, status, format, args);
    va_end(args);
    return false;
}

bool nn_no_memory(struct nn_env *env, size_t size) {
    return nn_fail(env, NN_RUNTIME, "out of memory (%zu bytes asked for)", size);
}

/* ---- memory ---- */

void *nn_grow(struct nn_env *env, void *old, size_t size) {
    void *at = env->sys->allocate(env->sys->context, old, size ? size : 1);
    if (!at) nn_no_memory(env, size);
    return at;
}

void *nn_alloc(struct nn_env *env, size_t size) {
    void *at = nn_grow(env, NULL, size);
    if (at) memset(at, 0, size ? size : 1);
    return at;
}

void *nn_alloc_n(struct nn_env *env, int64_t n, size_t size) {
    int64_t bytes;
    if (!nn_product(n, (int64_t)size, &bytes)) {
        nn_no_memory(env, SIZE_MAX);
        return NULL;
    }
    return nn_alloc(env, (size_t)bytes);
}

void nn_free(struct nn_env *env, void *at) {
    if (at) env->sys->allocate(env->sys->context, at, 0);
}

char *nn_copy_string(struct nn_env *env, const char *s) {
    size_t n = strlen(s) + 1;
    char *copy = nn_grow(env, NULL, n);
    if (copy) memcpy(copy, s, n);
    return copy;
}

enum { ALIGN = 64, HUGE_PAGE = 2 << 20 };

/* All pages of what malloc has mapped for it, the one with malloc's own word too: pages that are advised and pages that are not are two mappings, which realloc can only copy. */
void nn_huge_pages(void *at, size_t size) {
#ifdef MADV_HUGEPAGE
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), before = (uintptr_t)at % page;
    if (size >= HUGE_PAGE) madvise((char *)at - before, (before + size + page - 1) / page * page, MADV_HUGEPAGE);
#else
    (void)at, (void)size;
#endif
}

/* The pointer to free stands in the word before the aligned place. */
void *nn_alloc_aligned(struct nn_env *env, size_t size) {
    size_t align = size >= 2 * (size_t)HUGE_PAGE ? HUGE_PAGE : ALIGN;
    if (size > SIZE_MAX / 2) {
        nn_no_memory(env, size);
        return NULL;
    }
    char *base = nn_grow(env, NULL, size + align + sizeof(void *));
    if (!base) return NULL;
    uintptr_t place = ((uintptr_t)base + sizeof(void *) + align - 1) / align * align;
    char *at = base + (place - (uintptr_t)base);
    memcpy(at - sizeof base, &base, sizeof base);
    nn_huge_pages(at, size);
    return at;
}

void nn_free_aligned(struct nn_env *env, void *at) {
    if (!at) return;
    void *base;
    memcpy(&base, (char *)at - sizeof base, sizeof base);
    nn_free(env, base);
}

bool nn_product(int64_t a, int64_t b, int64_t *product) { return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, product); }

/* ---- growing text ---- */

static bool text_room(struct nn_env *env, struct nn_text *t, size_t more) {
    if (t->bad) return false;
    if (t->cap - t->n > more) return true; /* one byte is left for the NUL */
    size_t cap = t->cap ? t->cap : 64;
    while (cap - t->n <= more) cap *= 2;
    char *at = nn_grow(env, t->at, cap);
    if (!at) {
        t->bad = true;
        return false;
    }
    t->at = at;
    t->cap = cap;
    return true;
}

void nn_text_add_n(struct nn_env *env, struct nn_text *t, const char *s, size_t n) {
    if (!text_room(env, t, n)) return;
    memcpy(t->at + t->n, s, n);
    t->n += n;
    t->at[t->n] = 0;
}

void nn_text_add(struct nn_env *env, struct nn_text *t, const char *s) { nn_text_add_n(env, t, s, strlen(s)); }

void nn_text_printf(struct nn_env *env, struct nn_text *t, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    char small[256];
    int n = vsnprintf(small, sizeof small, format, args);
    if (n >= 0 && (size_t)n < sizeof small) {
        nn_text_add_n(env, t, small, (size_t)n);
    } else if (n >= 0 && text_room(env, t, (size_t)n)) {
        vsnprintf(t->at + t->n, (size_t)n + 1, format, again);
        t->n += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

/* Length of the UTF-8 sequence at s (1 to 4), 0 if the bytes are none. */
static size_t utf8_length(const unsigned char *s, size_t n) {
    size_t want = s[0] < 0x80                   ? 1
                  : s[0] >= 0xC2 && s[0] < 0xE0 ? 2
                  : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
                  : s[0] >= 0xF0 && s[0] < 0xF5 ? 4
                                                : 0;
    if (want == 0 || want > n) return 0;
    for (size_t i = 1; i < want; i++) {
        if ((s[i] & 0xC0) != 0x80) return 0;
    }
    if (s[0] == 0xE0 && s[1] < 0xA0) return 0; /* longer than need be */
    if (s[0] == 0xED && s[1] > 0x9F) return 0; /* surrogates */
    if (s[0] == 0xF0 && s[1] < 0x90) return 0;
    if (s[0] == 0xF4 && s[1] > 0x8F) return 0;
    return want;
}

int64_t nn_utf8_fault(const char *s, int64_t n) {
    size_t length;
    for (int64_t i = 0; i < n; i += (int64_t)length) {
        length = utf8_length((const unsigned char *)s + i, (size_t)(n - i));
        if (length == 0) return i;
    }
    return -1;
}

void nn_text_json(struct nn_env *env, struct nn_text *t, const char *s, size_t n) {
    nn_text_add_n(env, t, "\"", 1);
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        size_t length = utf8_length((const unsigned char *)s + i, n - i);
        if (length == 0) {
            nn_text_add(env, t, "\xEF\xBF\xBD");
            i++;
        } else if (c == '"' || c == '\\') {
            nn_text_printf(env, t, "\\%c", c);
            i++;
        } else if (c < 0x20 || c == 0x7F) {
            nn_text_printf(env, t, "\\u%04x", c);
            i++;
        } else {
            nn_text_add_n(env, t, s + i, length);
            i += length;
        }
    }
    nn_text_add_n(env, t, "\"", 1);
}

bool nn_text_ok(struct nn_env *env, const struct nn_text *t) {
    if (t->bad && env->error.status == 0) nn_no_memory(env, t->cap);
    return !t->bad;
}

const char *nn_text_str(const struct nn_text *t) { return t->at ? t->at : ""; }

void nn_text_free(struct nn_env *env, struct nn_text *t) {
    nn_free(env, t->at);
    *t = (struct nn_text){0};
}

/* ---- output ---- */

bool nn_print_text(struct nn_env *env, enum nn_stream to, const struct nn_text *t) {
    if (!nn_text_ok(env, t)) return false;
    if (t->n == 0 || env->sys->print(env->sys->context, to, t->at, t->n) || to == NN_ERR) return true;
    if (errno == EPIPE) return true; /* who read it wanted no more: not an error of the run */
    return nn_fail(env, NN_RUNTIME, "standard output cannot be written: %s", strerror(errno));
}

void nn_print(struct nn_env *env, enum nn_stream to, const char *format, ...) {
    char text[6000];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0) return;
    env->sys->print(env->sys->context, to, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

double nn_now(struct nn_env *env) { return env->sys->now(env->sys->context); }

/* ---- names ---- */

char *nn_path_join(struct nn_env *env, const char *dir, const char *name) {
    if (!dir || !dir[0] || name[0] == '/') return nn_copy_string(env, name);
    struct nn_text t = {0};
    nn_text_printf(env, &t, "%s%s%s", dir, dir[strlen(dir) - 1] == '/' ? "" : "/", name);
    return t.bad ? NULL : t.at;
}

/* Of the first n bytes of a name. */
static void suffix_of(const char *name, size_t n, char suffix[8]) {
    size_t dot = n;
    while (dot > 0 && name[dot - 1] != '.' && name[dot - 1] != '/') dot--;
    suffix[0] = 0;
    if (dot == 0 || name[dot - 1] == '/' || n - dot >= 8) return;
    for (size_t i = dot; i < n; i++) suffix[i - dot] = (char)tolower((unsigned char)name[i]);
    suffix[n - dot] = 0;
}

void nn_path_suffix(const char *name, char suffix[8]) { suffix_of(name, strlen(name), suffix); }

void nn_path_suffix_unpacked(const char *name, char suffix[8]) {
    size_t n = strlen(name);
    bool packed = n > 3 && strcasecmp(name + n - 3, ".gz") == 0;
    suffix_of(name, packed ? n - 3 : n, suffix);
}

bool nn_is_file(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && !S_ISDIR(s.st_mode);
}

bool nn_is_folder(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

bool nn_make_folder(struct nn_env *env, const char *path) {
    if (nn_is_folder(path)) return true;
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return true;
    return nn_fail(env, NN_BAD_INPUT, "%s: the folder cannot be made: %s", path, strerror(errno));
}

int nn_name_distance(const char *a, const char *b) {
    enum { LONGEST = 63 };
    size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST) return 2 * LONGEST;
    if (n == m && n > 0 && strcasecmp(a, b) == 0) return strcmp(a, b) != 0;
    int row[3][LONGEST + 1]; /* two rows back are needed for swaps */
    for (size_t j = 0; j <= m; j++) row[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int *now = row[i % 3], *before = row[(i + 2) % 3], *older = row[(i + 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            int d = before[j - 1] + (a[i - 1] != b[j - 1]);
            if (before[j] + 1 < d) d = before[j] + 1;
            if (now[j - 1] + 1 < d) d = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && older[j - 2] + 1 < d) d = older[j - 2] + 1;
            now[j] = d;
        }
    }
    return row[n % 3][m];
}
