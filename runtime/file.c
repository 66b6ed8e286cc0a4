/*
 * file.c - writing and reading of files: see file.h.
 */
#include "file.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* ---- writing ---- */

bool nn_write_all(struct nn_env *env, int fd, const char *path, const void *at, size_t size) {
    const char *from = at;
    while (size > 0) {
        ssize_t done = env->sys->write(env->sys->context, fd, from, size);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return nn_fail(env, NN_RUNTIME, "%s: cannot be written: %s", path, strerror(errno));
        from += done;
        size -= (size_t)done;
    }
    return true;
}

bool nn_is_special(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && !S_ISREG(s.st_mode);
}

/* Where a file is written before it gets its name: two runs at once do not meet. NULL: no memory. */
static char *beside_of(struct nn_env *env, const char *path) {
    struct nn_text beside = {0};
    nn_text_printf(env, &beside, "%s.%ld.part", path, (long)getpid());
    if (nn_text_ok(env, &beside)) return beside.at;
    nn_text_free(env, &beside);
    return NULL;
}

bool nn_write_check(struct nn_env *env, const char *before, const char *path) {
    if (!path[0]) return nn_fail(env, NN_BAD_INPUT, "%s: a file is expected", before);
    if (nn_is_folder(path)) return nn_fail(env, NN_BAD_INPUT, "%s%s: this is a folder, not a file", before, path);
    bool good;
    if (nn_is_special(path)) {
        good = access(path, W_OK) == 0;
    } else {
        char *beside = beside_of(env, path);
        if (!beside) return false;
        int fd = open(beside, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        good = fd >= 0;
        if (good) {
            close(fd);
            unlink(beside);
        }
        nn_free(env, beside);
    }
    return good || nn_fail(env, NN_BAD_INPUT, "%s%s: cannot be written: %s", before, path, strerror(errno));
}

bool nn_write_begin(struct nn_env *env, struct nn_writer *w, const char *path) {
    *w = (struct nn_writer){.fd = -1, .path = nn_copy_string(env, path)};
    if (!w->path) return false;
    if (nn_is_special(path)) {
        w->fd = open(path, O_WRONLY | O_CLOEXEC);
    } else {
        if (!(w->beside = beside_of(env, path))) return nn_write_end(env, w, false);
        w->fd = open(w->beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    }
    if (w->fd < 0) {
        nn_fail(env, NN_RUNTIME, "%s: cannot be written: %s", path, strerror(errno));
        return nn_write_end(env, w, false);
    }
    return true;
}

bool nn_write(struct nn_env *env, struct nn_writer *w, const void *at, size_t size) {
    return nn_write_all(env, w->fd, w->path, at, size);
}

/* After a rename the new name is safe only when its folder is on the disk too. Folders that cannot be synced (some file systems)
 * are let be. */
static void sync_folder(const char *path) {
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 1;
    if (n >= sizeof folder) return;
    memcpy(folder, slash ? path : ".", n);
    if (slash == path) folder[n++] = '/';
    folder[n] = 0;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

bool nn_write_end(struct nn_env *env, struct nn_writer *w, bool good) {
    if (w->fd >= 0) {
        if (good && fsync(w->fd) != 0 && errno != EINVAL && errno != EROFS)
            good = nn_fail(env, NN_RUNTIME, "%s: cannot be written: %s", w->path, strerror(errno));
        if (close(w->fd) != 0 && good) good = nn_fail(env, NN_RUNTIME, "%s: cannot be written: %s", w->path, strerror(errno));
        if (good && w->beside && rename(w->beside, w->path) != 0)
            good = nn_fail(env, NN_RUNTIME, "%s: cannot be written: %s", w->path, strerror(errno));
        if (good && w->beside) sync_folder(w->path);
        if (!good && w->beside) unlink(w->beside);
    } else {
        good = false;
    }
    nn_free(env, w->path);
    nn_free(env, w->beside);
    *w = (struct nn_writer){.fd = -1};
    return good;
}

bool nn_write_file(struct nn_env *env, const char *path, const void *at, size_t size) {
    struct nn_writer w;
    return nn_write_begin(env, &w, path) && nn_write_end(env, &w, nn_write(env, &w, at, size));
}

/* ---- reading ---- */

bool nn_read_open(struct nn_env *env, struct nn_reader *r, const char *path) {
    *r = (struct nn_reader){.path = path};
    if (nn_is_folder(path)) return nn_fail(env, NN_BAD_INPUT, "%s: this is a folder, not a file", path);
    errno = 0;
    r->gz = gzopen(path, "rbe");
    if (!r->gz) return nn_fail(env, NN_BAD_INPUT, "%s: cannot be read: %s", path, errno ? strerror(errno) : "out of memory");
    gzbuffer(r->gz, 1 << 16);
    return true;
}

int64_t nn_read(struct nn_env *env, struct nn_reader *r, void *at, int64_t size) {
    int64_t got = 0;
    while (got < size) {
        int64_t want = size - got < INT_MAX / 2 ? size - got : INT_MAX / 2;
        int n = gzread(r->gz, (char *)at + got, (unsigned)want);
        int status;
        const char *why = gzerror(r->gz, &status);
        if (n < 0 || (n == 0 && status == Z_BUF_ERROR)) {
            if (status == Z_BUF_ERROR)
                nn_fail(env, NN_BAD_INPUT, "%s: truncated: the compressed data end in the middle", r->path);
            else if (status == Z_ERRNO)
                nn_fail(env, NN_BAD_INPUT, "%s: cannot be read: %s", r->path, strerror(errno));
            else
                nn_fail(env, NN_BAD_INPUT, "%s: the compressed data are damaged (%s)", r->path, why);
            return -1;
        }
        if (n == 0) break;
        got += n;
    }
    return got;
}

int64_t nn_read_bound(struct nn_reader *r) {
    struct stat s;
    if (stat(r->path, &s) != 0 || !S_ISREG(s.st_mode)) return INT64_MAX;
    return gzdirect(r->gz) ? s.st_size : s.st_size * NN_DEFLATE_MOST;
}

int64_t nn_read_rest(struct nn_env *env, struct nn_reader *r) {
    char piece[4096];
    for (int64_t n = 0;;) {
        int64_t got = nn_read(env, r, piece, sizeof piece);
        if (got < 0) return -1;
        n += got;
        if (got < (int64_t)sizeof piece) return n;
    }
}

static bool line_room(struct nn_env *env, struct nn_reader *r) {
    if (r->cap - r->n >= 2) return true;
    size_t cap = r->cap ? 2 * r->cap : 256;
    char *text = nn_grow(env, r->text, cap);
    if (!text) return false;
    r->text = text;
    r->cap = cap;
    return true;
}

int nn_read_line(struct nn_env *env, struct nn_reader *r) {
    r->n = 0;
    if (r->ended) return 0;
    for (;;) {
        if (!line_room(env, r)) return -1;
        int c = gzgetc((gzFile)r->gz);
        if (c < 0) {
            char extra; /* tells an end from a failure */
            if (nn_read(env, r, &extra, 1) < 0) return -1;
            r->ended = true;
            if (r->n == 0) return 0;
            break;
        }
        if (c == '\n') break;
        r->text[r->n++] = (char)c;
    }
    if (r->n > 0 && r->text[r->n - 1] == '\r') r->n--;
    r->text[r->n] = 0;
    r->line++;
    return 1;
}

void nn_read_close(struct nn_env *env, struct nn_reader *r) {
    if (r->gz) gzclose_r(r->gz);
    nn_free(env, r->text);
    *r = (struct nn_reader){0};
}

char *nn_read_all(struct nn_env *env, const char *path, int64_t *size) {
    struct nn_reader r;
    char *text = NULL;
    int64_t n = 0, cap = 1 << 16;
    if (!nn_read_open(env, &r, path)) return NULL;
    for (;;) {
        char *more = nn_grow(env, text, (size_t)cap);
        if (!more) break;
        text = more;
        int64_t got = nn_read(env, &r, text + n, cap - 1 - n);
        if (got < 0) break;
        n += got;
        if (n < cap - 1) {
            text[n] = 0;
            nn_read_close(env, &r);
            *size = n;
            more = nn_grow(env, text, (size_t)n + 1);
            return more ? more : (nn_free(env, text), NULL);
        }
        cap *= 2;
    }
    nn_read_close(env, &r);
    nn_free(env, text);
    return NULL;
}
