/*
 * link.c - an executable from an object and the runtime archive, by the system's C compiler driver, started without a shell.
 *
 * The archive brings what it uses beside libc, libm and the OpenMP runtime (zlib, jansson, libpng, libjpeg), except where the machine had no static form of these
 * when nnc was built: they are named behind it, and taken where something is still missing. Decoders of pictures are linked into programs that
 * may meet pictures: nn_load_images and nn_png_write are named as undefined then (the runtime itself refers to them weakly).
 */
#include "backend.h"
#include "emit.h"

#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

const char *backend_runtime(Arena *a, Diag *d) {
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n > 0) {
        path[n] = 0;
        char *slash = strrchr(path, '/');
        *slash = 0;
        static const char *const places[] = {"runtime/libnnc_rt.a", "../lib/nnc/libnnc_rt.a"};
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            const char *name = arena_printf(a, "%s/%s", path, places[i]);
            if (!access(name, R_OK)) return name;
        }
    }
    diag_error(d, (Loc){0}, 924, "the runtime archive libnnc_rt.a was not found beside nnc (in runtime/ or ../lib/nnc/)");
    return NULL;
}

/* ---- pictures ---- */

/* H x W, or H x W x channels, beside the batch. */
static bool picture_shape(const struct nn_slot *s) {
    int64_t rank = s->n_dims - (s->batch_axis >= 0);
    if (s->elem != NN_U8 && s->elem != NN_F32) return false;
    return rank == 2 || (rank == 3 && s->dims[s->n_dims - 1] <= 4);
}

static bool reads_pictures(const struct nn_program *p) {
    for (int64_t i = 0; i < p->n_data; i++)
        for (int64_t j = 0; j < p->data[i].n_fields; j++) {
            const struct nn_field *f = &p->data[i].fields[j];
            for (int64_t k = 0; k < f->n_loader; k++)
                if (f->loader[k].kind && !strcmp(f->loader[k].kind, "images")) return true;
        }
    for (int64_t i = 0; i < p->n_commands; i++)
        for (int64_t j = 0; j < p->commands[i].n_inputs; j++)
            if (picture_shape(&p->slots[p->commands[i].inputs[j].slot])) return true;
    return false;
}

/* A file name that ends in something else than .png; one that ends in a value may end in anything. */
static bool no_picture(const struct nn_node *write) {
    const char *end = write->n_pieces ? write->pieces[write->n_pieces - 1].text : NULL;
    size_t n = end ? strlen(end) : 0;
    return n >= 4 && end[n - 4] == '.' && strcasecmp(end + n - 4, ".png") != 0;
}

static bool writes_in(const struct nn_program *p, const struct nn_node *at, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (at[i].kind == NN_WRITE && at[i].slot >= 0 && p->slots[at[i].slot].n_dims >= 2 && !no_picture(&at[i])) return true;
        if (writes_in(p, at[i].body, at[i].n_body)) return true;
    }
    return false;
}

static bool writes_pictures(const struct nn_program *p) {
    for (int64_t i = 0; i < p->n_commands; i++) {
        const struct nn_command *c = &p->commands[i];
        for (int64_t j = 0; j < c->n_outputs; j++)
            if (picture_shape(&p->slots[c->outputs[j].slot])) return true;
        if (writes_in(p, c->body, c->n_body)) return true;
    }
    return false;
}

/* ---- the command ---- */

/* Behind the archive, for what it does not hold: as static libraries where the driver finds them, else as they are. */
static const char *const libraries[] = {"-lpng16", "-ljpeg", "-ljansson", "-lz", "-lm"};

typedef Vec(const char *) Args;

static void report(Diag *d, const char *driver, int status, const char *output) {
    if (WIFSIGNALED(status))
        diag_error(d, (Loc){0}, 925, "linking failed: %s was ended by signal %d", driver, WTERMSIG(status));
    else
        diag_error(d, (Loc){0}, 925, "linking failed: %s ended with status %d", driver, WEXITSTATUS(status));
    if (!*output) return;
    /* the last line says most: "collect2: error" aside */
    const char *line = output;
    for (int shown = 0; *line && shown < 8; shown++) {
        const char *end = strchr(line, '\n');
        size_t n = end ? (size_t)(end - line) : strlen(line);
        diag_note(d, (Loc){0}, "%.*s", (int)n, line);
        line += n + (end ? 1 : 0);
    }
}

/* Runs the command; what it says goes to `output`. Returns false if it could not be started. */
static bool run(Arena *a, const char **argv, const sigset_t *signals, int *status, Text *output, int *why) {
    int pipes[2];
    if (pipe(pipes)) {
        *why = errno;
        return false;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 2);
    posix_spawn_file_actions_addclose(&actions, pipes[0]);
    posix_spawn_file_actions_addclose(&actions, pipes[1]);
    posix_spawnattr_t blocked;
    posix_spawnattr_init(&blocked);
    posix_spawnattr_setsigmask(&blocked, signals);
    posix_spawnattr_setflags(&blocked, POSIX_SPAWN_SETSIGMASK);
    pid_t child;
    *why = posix_spawnp(&child, argv[0], &actions, &blocked, (char *const *)argv, environ);
    posix_spawnattr_destroy(&blocked);
    posix_spawn_file_actions_destroy(&actions);
    close(pipes[1]);
    if (!*why) {
        char part[4096];
        ssize_t n;
        while ((n = read(pipes[0], part, sizeof part)) > 0 || (n < 0 && errno == EINTR))
            if (n > 0) text_printf(a, output, "%.*s", (int)n, part);
        while (waitpid(child, status, 0) < 0 && errno == EINTR) continue;
    }
    close(pipes[0]);
    return !*why;
}

/* The driver: $CC if set (one word), else cc. */
static const char *driver_name(void) {
    const char *cc = getenv("CC");
    return cc && *cc && !strpbrk(cc, " \t") ? cc : "cc";
}

/* Is there such a program? */
static bool in_path(const char *name) {
    const char *path = getenv("PATH");
    char file[PATH_MAX];
    for (const char *s = path; s && *s;) {
        size_t n = strcspn(s, ":");
        if (snprintf(file, sizeof file, "%.*s/%s", (int)n, s, name) < (int)sizeof file && !access(file, X_OK)) return true;
        s += n + (s[n] == ':');
    }
    return false;
}

bool link_executable(Arena *a, Diag *d, const char *const *objects, size_t n_objects, const struct nn_program *program,
                     const BackendOptions *o, const sigset_t *signals) {
    const char *runtime = o->runtime ? o->runtime : backend_runtime(a, d);
    if (!runtime) return false;
    char *temp = file_beside(a, o->out, ".tmp");
    Args args = {0};
    vec_push(a, &args, driver_name());
    vec_push(a, &args, o->static_link ? "-static" : "-pie");
    vec_push(a, &args, "-fno-use-linker-plugin"); /* nothing here is optimized when linked */
    /* Half the time of ld.bfd, which is a fifth of compiling a small program. With -static it has had trouble with functions chosen when a program starts. */
    if (!o->static_link && in_path("ld.gold")) vec_push(a, &args, "-fuse-ld=gold");
    vec_push(a, &args, "-o");
    vec_push(a, &args, temp);
    for (size_t i = 0; i < n_objects; i++) vec_push(a, &args, objects[i]);
    if (reads_pictures(program)) vec_push(a, &args, "-Wl,-u,nn_load_images");
    if (writes_pictures(program)) vec_push(a, &args, "-Wl,-u,nn_png_write");
    vec_push(a, &args, runtime);
    vec_push(a, &args, "-Wl,--gc-sections");
    vec_push(a, &args, "-Wl,--exclude-libs,ALL"); /* the archive's own symbols are nobody else's, so that what is not used goes */
    vec_push(a, &args, "-Wl,--as-needed");
    vec_push(a, &args, "-Wl,-z,relro,-z,now");
    if (!o->debug_lines) vec_push(a, &args, "-Wl,--strip-all");
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) vec_push(a, &args, libraries[i]);
    vec_push(a, &args, "-fopenmp");
    vec_push(a, &args, "-pthread");
    vec_push(a, &args, NULL);
    int status = 0, why = 0;
    Text output = {0};
    bool ok = false;
    if (!run(a, args.at, signals, &status, &output, &why)) {
        diag_error(d, (Loc){0}, 925, "linking failed: %s cannot be started: %s", args.at[0], strerror(why));
        diag_note(d, (Loc){0}, "nnc links with the system's C compiler; `apt-get install gcc` brings one");
    } else if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        report(d, args.at[0], status, text_str(a, &output));
    } else if (rename(temp, o->out)) {
        diag_error(d, (Loc){0}, 923, "%s: cannot be written: %s", o->out, strerror(errno));
    } else {
        ok = true;
    }
    if (!ok) unlink(temp);
    return ok;
}
