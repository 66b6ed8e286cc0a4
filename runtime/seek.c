/*
 * seek.c - files read at any place: see file.h.
 *
 * A compressed file has no places, only an order: what lies ahead is unpacked and thrown away up to it, for what lies behind the file is begun
 * anew. So who reads in the order of places reads it once, and it is never in memory as a whole. Its length is known when it has been
 * unpacked once. What comes through a pipe comes once: that is kept.
 */
#include "file.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- compressed ---- */

static bool begin_anew(struct nn_env *env, struct nn_seek *f) {
    if (f->packed.path) nn_read_close(env, &f->packed);
    f->at = 0;
    return nn_read_open(env, &f->packed, f->path);
}

static bool skip_to(struct nn_env *env, struct nn_seek *f, int64_t place) {
    char piece[4096];
    if (place < f->at && !begin_anew(env, f)) return false;
    while (f->at < place) {
        int64_t n = place - f->at < (int64_t)sizeof piece ? place - f->at : (int64_t)sizeof piece;
        if (nn_read(env, &f->packed, piece, n) != n) return false;
        f->at += n;
    }
    return true;
}

static bool unpack_at(struct nn_env *env, struct nn_seek *f, void *at, int64_t n, int64_t place) {
    bool good = skip_to(env, f, place) && nn_read(env, &f->packed, at, n) == n;
    f->at += n;
    return good || nn_fail(env, NN_BAD_INPUT, "%s: truncated", f->name); /* an error that is noted stays */
}

/* ---- all files ---- */

bool nn_seek_open(struct nn_env *env, struct nn_seek *f, const char *name, const char *path) {
    struct stat s;
    unsigned char head[9];
    *f = (struct nn_seek){.name = name, .path = path, .fd = open(path, O_RDONLY | O_CLOEXEC)};
    if (f->fd < 0 || fstat(f->fd, &s) != 0) return nn_fail(env, NN_BAD_INPUT, "%s: cannot be read: %s", name, strerror(errno));
    if (S_ISDIR(s.st_mode)) return nn_fail(env, NN_BAD_INPUT, "%s: this is a folder, not a file", name);
    if (!S_ISREG(s.st_mode)) return (f->whole = nn_read_all(env, path, &f->bytes)) != NULL;
    f->bytes = s.st_size;
    if (f->bytes < (int64_t)sizeof head) return true;
    if (!nn_seek_read(env, f, head, sizeof head, 0)) return false;
    /* The length of a header of tensors may begin like compressed data: then its `{` follows. */
    if (memcmp(head, "\x1f\x8b\x08", 3) != 0 || head[8] == '{') return true;
    if (!begin_anew(env, f) || (f->bytes = nn_read_rest(env, &f->packed)) < 0) return false;
    f->at = f->bytes;
    return true;
}

bool nn_seek_read(struct nn_env *env, struct nn_seek *f, void *at, int64_t n, int64_t place) {
    if (place > f->bytes - n) return nn_fail(env, NN_BAD_INPUT, "%s: truncated", f->name);
    if (f->packed.unpack) return unpack_at(env, f, at, n, place);
    if (f->whole) {
        memcpy(at, f->whole + place, (size_t)n);
        return true;
    }
    for (char *to = at; n > 0;) {
        ssize_t got = pread(f->fd, to, (size_t)n, place);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return nn_fail(env, NN_BAD_INPUT, "%s: cannot be read: %s", f->name, strerror(errno));
        if (got == 0) return nn_fail(env, NN_BAD_INPUT, "%s: truncated", f->name);
        to += got;
        n -= got;
        place += got;
    }
    return true;
}

void nn_seek_close(struct nn_env *env, struct nn_seek *f) {
    if (f->path && f->fd >= 0) close(f->fd);
    if (f->packed.path) nn_read_close(env, &f->packed);
    nn_free(env, f->whole);
    *f = (struct nn_seek){0};
}
