/*
 * file.h - files written so that a crash leaves the old one or the new one, never a part; files read, compressed by gzip or not.
 */
#ifndef NN_FILE_H
#define NN_FILE_H

#include "env.h"

/* ---- writing: beside its name, synced, renamed, the folder synced ---- */

struct nn_writer {
    char *path, *beside;
    int fd; /* -1: not open */
};
bool nn_write_begin(struct nn_env *env, struct nn_writer *w, const char *path);
bool nn_write(struct nn_env *env, struct nn_writer *w, const void *at, size_t size);
/* Makes it the file of its name, or removes what was written if anything failed so far. Frees w either way. */
bool nn_write_end(struct nn_env *env, struct nn_writer *w, bool good);
/* A pipe, a terminal, /dev/stdout (also where that leads to a file: the name in /dev is not for us to replace): it is written to as it is. */
bool nn_is_special(const char *path);
/* Whether a file can be written at `path`, found out by making the one beside it and removing it again; so a run of hours does not
 * end with a folder that is not there. The message begins with `before` ("--save="). */
bool nn_write_check(struct nn_env *env, const char *before, const char *path);
/* Whether two names are those of one file in one folder, `c` and `./c`, or a symbolic link to it, whether it is there or not. */
bool nn_same_place(const char *a, const char *b);
bool nn_write_file(struct nn_env *env, const char *path, const void *at, size_t size);
/* All bytes to a descriptor; `path` for the message. */
bool nn_write_all(struct nn_env *env, int fd, const char *path, const void *at, size_t size);

/* ---- reading ---- */

enum { NN_DEFLATE_MOST = 1040 }; /* deflate makes data at most some 1032 times smaller */

struct nn_reader {
    const char *path;
    int fd;
    void *unpack; /* a z_stream; NULL: the file is read as it is */
    bool inside;  /* ... in the middle of compressed data */
    char *bytes;  /* read from the file and not yet asked for: n_bytes from at_bytes */
    size_t at_bytes, n_bytes;
    int64_t line;  /* of the last line read, from 1 */
    char *text;    /* the line, without its end */
    size_t n, cap; /* ... */
    char *ahead;   /* what lines are cut from: n_ahead bytes from at_ahead */
    size_t at_ahead, n_ahead;
};
bool nn_read_open(struct nn_env *env, struct nn_reader *r, const char *path);
/* Up to size bytes; fewer only at the end of the file. -1: failed. A file cut off inside its compressed data is an error, and so is what follows
 * them, but zeros, which tapes and discs fill up with, and more compressed data, which go on. (RFC 1952, 2.2) */
int64_t nn_read(struct nn_env *env, struct nn_reader *r, void *at, int64_t size);
/* 1: r->text has a line, 0: the end, -1: failed. CR LF and LF both end a line, a byte order mark belongs to none. It reads ahead: not to be mixed with nn_read. */
int nn_read_line(struct nn_env *env, struct nn_reader *r);
/* How many bytes a byte order mark takes at the begin of a text: 3, or 0 where there is none. */
int64_t nn_order_mark(const char *text, int64_t n);
/* The most bytes that the file can have, unpacked: what a header claims beyond is not there. */
int64_t nn_read_bound(struct nn_reader *r);
/* Reads to the end and says how many bytes that were; -1: failed. */
int64_t nn_read_rest(struct nn_env *env, struct nn_reader *r);
void nn_read_close(struct nn_env *env, struct nn_reader *r);

/* A file read at any place, compressed by gzip or not. */
struct nn_seek {
    const char *name, *path; /* name: in messages */
    int fd;
    int64_t bytes;           /* of the file, unpacked */
    struct nn_reader packed; /* where it is compressed; without a path: never opened */
    int64_t at;              /* ... what it reads next */
    char *whole;             /* what came through a pipe; else NULL */
};
/* The names are the caller's, and stay while it is open. To be closed also where opening failed; one of zeros can be closed, too. */
bool nn_seek_open(struct nn_env *env, struct nn_seek *f, const char *name, const char *path);
/* n bytes from `place`; compressed files are read anew where that is before the last one. An error where there are not so many. */
bool nn_seek_read(struct nn_env *env, struct nn_seek *f, void *at, int64_t n, int64_t place);
void nn_seek_close(struct nn_env *env, struct nn_seek *f);
/* All of a file; NULL: failed. A NUL stands behind the last byte. */
char *nn_read_all(struct nn_env *env, const char *path, int64_t *size);

#endif
