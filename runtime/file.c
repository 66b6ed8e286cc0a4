/*
 * file.c - writing and reading of files: see file.h.
 */
#include "file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
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
    bool link = lstat(path, &s) == 0 && S_ISLNK(s.st_mode);
    if (link && (strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0)) return true;
    return stat(path, &s) == 0 && !S_ISREG(s.st_mode);
}

/* The file that a symbolic link leads to, so that the file is replaced and not the link. A link that leads nowhere becomes a file. at: room for the
 * name. */
static const char *behind_link(const char *path, char at[PATH_MAX]) {
    struct stat s;
    bool link = lstat(path, &s) == 0 && S_ISLNK(s.st_mode);
    return link && realpath(path, at) ? at : path;
}

/* How much of a file's name is in the one beside it: all, where the rest has room. (A name too long to be one stays so, and cannot be written.) */
static size_t kept_of(const char *base) {
    enum { MOST = NAME_MAX - 32 }; /* .PID.part */
    size_t n = strlen(base);
    return n > MOST && n <= NAME_MAX ? MOST : n;
}

/* Where a file is written before it gets its name: two runs at once do not meet. NULL: no memory. */
static char *beside_of(struct nn_env *env, const char *path) {
    struct nn_text beside = {0};
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    nn_text_add_n(env, &beside, path, (size_t)(base - path) + kept_of(base));
    nn_text_printf(env, &beside, ".%ld.part", (long)getpid());
    if (nn_text_ok(env, &beside)) return beside.at;
    nn_text_free(env, &beside);
    return NULL;
}

/* Whether `name` is what a run writes beside `base`: BASE.PID.part. */
static bool is_beside(const char *name, const char *base) {
    size_t n = kept_of(base);
    if (strncmp(name, base, n) != 0 || name[n] != '.') return false;
    size_t digits = strspn(name + n + 1, "0123456789");
    return digits > 0 && strcmp(name + n + 1 + digits, ".part") == 0;
}

/* The folder that a file is in, into folder. Returns the file's name in it; NULL: the folder's is too long. */
static const char *folder_of(const char *path, char folder[PATH_MAX]) {
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) + 1 : 0;
    if (n + 2 > PATH_MAX) return NULL;
    memcpy(folder, path, n);
    memcpy(folder + n, ".", 2);
    return path + n;
}

bool nn_same_place(const char *a, const char *b) {
    char at[2][PATH_MAX], folders[2][PATH_MAX];
    const char *x = folder_of(behind_link(a, at[0]), folders[0]), *y = folder_of(behind_link(b, at[1]), folders[1]);
    struct stat s, t;
    if (!x || !y || strcmp(x, y) != 0) return false;
    return strcmp(folders[0], folders[1]) == 0 ||
           (stat(folders[0], &s) == 0 && stat(folders[1], &t) == 0 && s.st_dev == t.st_dev && s.st_ino == t.st_ino);
}

/* A run that was killed while it wrote has left what it wrote beside the name. Who writes holds a lock, which ends with its process, on this machine
 * or another: what nobody holds is removed. */
static void remove_left(const char *path) {
    char folder[PATH_MAX];
    const char *base = folder_of(path, folder);
    DIR *all = base ? opendir(folder) : NULL;
    for (struct dirent *e; all && (e = readdir(all));) {
        if (!is_beside(e->d_name, base)) continue;
        int fd = openat(dirfd(all), e->d_name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) unlinkat(dirfd(all), e->d_name, 0);
        if (fd >= 0) close(fd);
    }
    if (all) closedir(all);
}

/* Opens and locks it. Between the two another run may take it for left over and remove it: then once more. */
static int open_beside(const char *beside) {
    for (;;) {
        struct stat s;
        int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (fd < 0) return fd;
        bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0; /* no such thing on some file systems: then nobody removes it either */
        if (!locked || fstat(fd, &s) != 0 || s.st_nlink > 0) return fd;
        close(fd);
    }
}

bool nn_write_check(struct nn_env *env, const char *before, const char *path) {
    if (!path[0]) return nn_fail(env, NN_BAD_INPUT, "%s: a file is expected", before);
    if (nn_is_folder(path)) return nn_fail(env, NN_BAD_INPUT, "%s%s: this is a folder, not a file", before, path);
    bool good;
    if (nn_is_special(path)) {
        good = access(path, W_OK) == 0;
    } else {
        char at[PATH_MAX];
        const char *file = behind_link(path, at);
        char *beside = beside_of(env, file);
        if (!beside) return false;
        int fd = open_beside(beside), why = errno;
        good = fd >= 0;
        if (good) {
            unlink(beside);
            close(fd);
            remove_left(file);
        }
        nn_free(env, beside);
        errno = why;
    }
    return good || nn_fail(env, NN_BAD_INPUT, "%s%s: cannot be written: %s", before, path, strerror(errno));
}

bool nn_write_begin(struct nn_env *env, struct nn_writer *w, const char *path) {
    char at[PATH_MAX];
    bool special = nn_is_special(path);
    *w = (struct nn_writer){.fd = -1, .path = nn_copy_string(env, special ? path : behind_link(path, at))};
    if (!w->path) return false;
    if (special) {
        w->fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    } else {
        if (!(w->beside = beside_of(env, w->path))) return nn_write_end(env, w, false);
        w->fd = open_beside(w->beside);
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
    if (!folder_of(path, folder)) return;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    fsync(fd);
    close(fd);
}

bool nn_write_end(struct nn_env *env, struct nn_writer *w, bool good) {
    if (w->fd >= 0) {
        if (good && fsync(w->fd) != 0 && errno != EINVAL && errno != EROFS)
            good = nn_fail(env, NN_RUNTIME, "%s: cannot be written: %s", w->path, strerror(errno));
        if (good && w->beside && rename(w->beside, w->path) != 0) /* before it is closed: the lock ends with that */
            good = nn_fail(env, NN_RUNTIME, "%s: cannot be written: %s", w->path, strerror(errno));
        if (close(w->fd) != 0 && good) good = nn_fail(env, NN_RUNTIME, "%s: cannot be written: %s", w->path, strerror(errno));
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

enum { BLOCK = 1 << 16 };

/* Makes `bytes` hold `want` bytes at least, if so many are left. False: failed. */
static bool fill(struct nn_env *env, struct nn_reader *r, size_t want) {
    if (r->n_bytes >= want) return true;
    if (r->n_bytes > 0) memmove(r->bytes, r->bytes + r->at_bytes, r->n_bytes);
    r->at_bytes = 0;
    while (r->n_bytes < want) {
        ssize_t got = read(r->fd, r->bytes + r->n_bytes, BLOCK - r->n_bytes);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return nn_fail(env, NN_BAD_INPUT, "%s: cannot be read: %s", r->path, strerror(errno));
        if (got == 0) break;
        r->n_bytes += (size_t)got;
    }
    return true;
}

static bool packed_data_begin(const struct nn_reader *r) {
    return r->n_bytes >= 2 && memcmp(r->bytes + r->at_bytes, "\x1f\x8b", 2) == 0;
}

/* zlib's memory is the environment's as well. */
static void *z_allocate(void *env, unsigned n, unsigned size) { return nn_alloc_n(env, n, size); }
static void z_free(void *env, void *at) { nn_free(env, at); }

bool nn_read_open(struct nn_env *env, struct nn_reader *r, const char *path) {
    *r = (struct nn_reader){.path = path, .fd = -1};
    if (nn_is_folder(path)) return nn_fail(env, NN_BAD_INPUT, "%s: this is a folder, not a file", path);
    r->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (r->fd < 0) return nn_fail(env, NN_BAD_INPUT, "%s: cannot be read: %s", path, strerror(errno));
    bool good = (r->bytes = nn_alloc(env, BLOCK)) && fill(env, r, 2);
    if (good && packed_data_begin(r)) {
        z_stream *z = nn_alloc(env, sizeof *z);
        if (z) *z = (z_stream){.zalloc = z_allocate, .zfree = z_free, .opaque = env};
        good = z && inflateInit2(z, 16 + MAX_WBITS) == Z_OK; /* 16: gzip's header and checksum */
        r->inside = good;
        if (good) r->unpack = z;
        if (!good) {
            nn_no_memory(env, sizeof *z);
            nn_free(env, z);
        }
    }
    if (!good) nn_read_close(env, r);
    return good;
}

/* Behind compressed data: more of them, or the end. Only zeros may stand before it. */
static bool next_member(struct nn_env *env, struct nn_reader *r) {
    if (!fill(env, r, 2)) return false;
    if (packed_data_begin(r)) {
        r->inside = true;
        return inflateReset(r->unpack) == Z_OK || nn_fail(env, NN_INTERNAL, "zlib cannot begin anew");
    }
    while (r->n_bytes > 0) {
        for (size_t i = 0; i < r->n_bytes; i++) {
            if (r->bytes[r->at_bytes + i] != 0)
                return nn_fail(env, NN_BAD_INPUT, "%s: bytes that are not compressed follow the compressed data", r->path);
        }
        r->n_bytes = 0;
        if (!fill(env, r, 1)) return false;
    }
    return true;
}

/* A piece of compressed data: how many bytes came of it, 0 only at the end. */
static int64_t unpack(struct nn_env *env, struct nn_reader *r, char *at, int64_t size) {
    z_stream *z = r->unpack;
    for (;;) {
        if (!r->inside && !next_member(env, r)) return -1;
        if (!r->inside) return 0;
        if (!fill(env, r, 1)) return -1;
        z->next_in = (Bytef *)r->bytes + r->at_bytes;
        z->avail_in = (uInt)r->n_bytes;
        z->next_out = (Bytef *)at;
        z->avail_out = size < INT_MAX / 2 ? (uInt)size : INT_MAX / 2;
        uInt room = z->avail_out;
        int status = inflate(z, Z_NO_FLUSH);
        r->at_bytes += r->n_bytes - z->avail_in;
        bool none_left = r->n_bytes == 0;
        r->n_bytes = z->avail_in;
        r->inside = status != Z_STREAM_END;
        if (status == Z_DATA_ERROR || status == Z_NEED_DICT) {
            nn_fail(env, NN_BAD_INPUT, "%s: the compressed data are damaged (%s)", r->path, z->msg ? z->msg : "a dictionary");
            return -1;
        }
        if (status == Z_MEM_ERROR) {
            nn_no_memory(env, 1 << 15);
            return -1;
        }
        int64_t got = room - z->avail_out;
        if (got > 0) return got;
        if (none_left && r->inside) {
            nn_fail(env, NN_BAD_INPUT, "%s: truncated: the compressed data end in the middle", r->path);
            return -1;
        }
    }
}

/* A piece of what is not compressed: first what was read to look at it, then straight from the file. */
static int64_t take(struct nn_env *env, struct nn_reader *r, char *at, int64_t size) {
    if (r->n_bytes > 0) {
        size_t n = (size_t)size < r->n_bytes ? (size_t)size : r->n_bytes;
        memcpy(at, r->bytes + r->at_bytes, n);
        r->at_bytes += n;
        r->n_bytes -= n;
        return (int64_t)n;
    }
    for (;;) {
        ssize_t got = read(r->fd, at, (size_t)size);
        if (got >= 0) return got;
        if (errno == EINTR) continue;
        nn_fail(env, NN_BAD_INPUT, "%s: cannot be read: %s", r->path, strerror(errno));
        return -1;
    }
}

int64_t nn_read(struct nn_env *env, struct nn_reader *r, void *at, int64_t size) {
    int64_t done = 0;
    while (done < size) {
        char *to = (char *)at + done;
        int64_t got = r->unpack ? unpack(env, r, to, size - done) : take(env, r, to, size - done);
        if (got < 0) return -1;
        if (got == 0) break;
        done += got;
    }
    return done;
}

int64_t nn_read_bound(struct nn_reader *r) {
    struct stat s;
    if (fstat(r->fd, &s) != 0 || !S_ISREG(s.st_mode)) return INT64_MAX;
    return r->unpack ? s.st_size * NN_DEFLATE_MOST : s.st_size;
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

/* Room for n more bytes of the line and a NUL. */
static bool line_room(struct nn_env *env, struct nn_reader *r, size_t n) {
    if (r->cap - r->n > n) return true;
    size_t cap = r->cap ? 2 * r->cap : 256;
    while (cap - r->n <= n) cap *= 2;
    char *text = nn_grow(env, r->text, cap);
    if (!text) return false;
    r->text = text;
    r->cap = cap;
    return true;
}

int64_t nn_order_mark(const char *text, int64_t n) { return n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0; }

int nn_read_line(struct nn_env *env, struct nn_reader *r) {
    r->n = 0;
    if (!r->ahead && !(r->ahead = nn_alloc(env, BLOCK))) return -1;
    for (bool ended = false; !ended;) {
        if (r->n_ahead == 0) {
            int64_t got = nn_read(env, r, r->ahead, BLOCK);
            if (got < 0) return -1;
            if (got == 0 && r->n == 0) return 0;
            if (got == 0) break;
            r->at_ahead = 0;
            r->n_ahead = (size_t)got;
        }
        const char *from = r->ahead + r->at_ahead, *end = memchr(from, '\n', r->n_ahead);
        size_t n = end ? (size_t)(end - from) : r->n_ahead, taken = n + (end ? 1 : 0);
        if (!line_room(env, r, n)) return -1;
        memcpy(r->text + r->n, from, n);
        r->n += n;
        r->at_ahead += taken;
        r->n_ahead -= taken;
        ended = end != NULL;
    }
    if (!line_room(env, r, 0)) return -1;
    if (r->n > 0 && r->text[r->n - 1] == '\r') r->n--;
    if (r->line++ == 0) {
        size_t mark = (size_t)nn_order_mark(r->text, (int64_t)r->n);
        memmove(r->text, r->text + mark, r->n -= mark);
    }
    r->text[r->n] = 0;
    return 1;
}

void nn_read_close(struct nn_env *env, struct nn_reader *r) {
    if (r->fd >= 0) close(r->fd);
    if (r->unpack) inflateEnd(r->unpack);
    nn_free(env, r->unpack);
    nn_free(env, r->bytes);
    nn_free(env, r->text);
    nn_free(env, r->ahead);
    *r = (struct nn_reader){.fd = -1};
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
