/*
 * files.c - the files that nnc makes: written beside their name and renamed, so that a failure leaves an old file as it was, and a signal nothing beside it.
 */
#include "emit.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool backend_is_special(const char *path) {
    struct stat st;
    bool link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
    if (link && (strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0)) return true;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

/* A name that could be no longer is cut; one that is too long to be a name stays so. */
char *file_beside(Arena *a, const char *out, const char *suffix) {
    enum { MOST = NAME_MAX - 40 }; /* .PID.0.o */
    const char *slash = strrchr(out, '/'), *base = slash ? slash + 1 : out;
    size_t n = strlen(base), kept = n > MOST && n <= NAME_MAX ? MOST : n;
    return arena_printf(a, "%.*s.%ld%s", (int)((size_t)(base - out) + kept), out, (long)getpid(), suffix);
}

int file_write(const char *path, const char *at, size_t n) {
    FILE *f = fopen(path, backend_is_special(path) ? "ab" : "wb");
    if (!f) return errno;
    int why = fwrite(at, 1, n, f) == n ? 0 : errno;
    if (fclose(f) && !why) why = errno;
    return why;
}

void signals_wait(sigset_t *before) {
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &ending, before);
}

void signals_come(const sigset_t *before) { pthread_sigmask(SIG_SETMASK, before, NULL); }

int backend_write(Arena *a, const char *out, const char *at, size_t n) {
    if (backend_is_special(out)) return file_write(out, at, n);
    const char *temp = file_beside(a, out, ".tmp");
    sigset_t before;
    signals_wait(&before);
    int why = file_write(temp, at, n);
    if (!why && rename(temp, out)) why = errno;
    if (why) unlink(temp);
    signals_come(&before);
    return why;
}
