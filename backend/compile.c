/*
 * compile.c - a program compiled: its units made on as many threads as there are cores, and the result written as text, assembly, object or executable.
 *
 * Texts and single objects are one unit. An executable is linked from several objects, which come from a queue in their order; who makes which does not show in the
 * result.
 */
#include "emit.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- making units ---- */

typedef struct Queue {
    const Units *units;
    LLVMMemoryBufferRef *made; /* by unit */
    UnitTimes *times;
    int next; /* atomic */
} Queue;

static void *work(void *arg) {
    Queue *q = arg;
    const BackendTarget *target = q->units->options->target;
    const char *why;
    LLVMTargetMachineRef tm = target_machine(target, false, &why);
    if (!tm) bug("no machine for %s: %s", target->triple, why);
    for (int i; (i = __atomic_fetch_add(&q->next, 1, __ATOMIC_RELAXED)) < q->units->plan->n_units;) {
        LLVMTargetMachineRef plain = i == 0 && q->units->plan->own_steps ? target_machine(target, true, &why) : NULL;
        q->made[i] = object_make(q->units, i, plain ? plain : tm, &q->times[i]);
        if (plain) LLVMDisposeTargetMachine(plain);
    }
    LLVMDisposeTargetMachine(tm);
    return NULL;
}

static int cores(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

/* LLVM asks for memory in small pieces and gives most of it back: the C library keeps it then, and asks the system for much at once. */
static void keep_memory(void) {
    enum { MUCH = 16 << 20 };
    mallopt(M_TOP_PAD, MUCH);
    mallopt(M_TRIM_THRESHOLD, 4 * MUCH);
    mallopt(M_MMAP_THRESHOLD, MUCH);
}

/* A thread that cannot be started is one less: this one works too. */
static void make_units(Queue *q) {
    enum { THREADS_MOST = 64, STACK = 16 << 20 };
    pthread_t thread[THREADS_MOST];
    int n = 0, most = cores() < q->units->plan->n_units ? cores() : q->units->plan->n_units;
    keep_memory();
    pthread_attr_t large; /* LLVM's passes recurse: as much room as a program's first thread has, and more */
    pthread_attr_init(&large);
    pthread_attr_setstacksize(&large, STACK);
    while (n < most - 1 && n < THREADS_MOST && !pthread_create(&thread[n], &large, work, q)) n++;
    pthread_attr_destroy(&large);
    work(q);
    for (int i = 0; i < n; i++) pthread_join(thread[i], NULL);
}

/* ---- writing ---- */

static bool cannot(Diag *d, const char *name, int why) {
    diag_error(d, (Loc){0}, 923, "%s: cannot be written: %s", name, strerror(why));
    return false;
}

static bool write_result(Arena *a, Diag *d, const char *out, LLVMMemoryBufferRef from) {
    const char *at = LLVMGetBufferStart(from);
    size_t n = LLVMGetBufferSize(from);
    if (!out) return (fwrite(at, 1, n, stdout) == n && !fflush(stdout)) || cannot(d, "standard output", errno);
    int why = backend_write(a, out, at, n);
    return !why || cannot(d, out, why);
}

static bool write_objects(Diag *d, const Queue *q, const char *const *objects, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int why = file_write(objects[i], LLVMGetBufferStart(q->made[i]), LLVMGetBufferSize(q->made[i]));
        if (why) return cannot(d, q->units->options->out, why); /* the name that the user gave */
    }
    return true;
}

static bool write_executable(Arena *a, Diag *d, const Queue *q) {
    const BackendOptions *o = q->units->options;
    if (backend_is_special(o->out)) {
        diag_error(d, (Loc){0}, 923, "%s: cannot be written: it is there and is not a regular file", o->out);
        return false;
    }
    size_t n = (size_t)q->units->plan->n_units;
    const char **objects = arena_make_n(a, const char *, n + 1);
    for (size_t i = 0; i < n; i++) objects[i] = file_beside(a, o->out, arena_printf(a, ".%zu.o", i));
    sigset_t before;
    signals_wait(&before);
    bool ok = write_objects(d, q, objects, n) && link_executable(a, d, objects, n, q->units->program, o, &before);
    const char *kept = o->keep_temps && ok ? arena_printf(a, "%s.o", o->out) : NULL; /* one unit then */
    if (kept && rename(objects[0], kept)) cannot(d, kept, errno);
    for (size_t i = 0; i < n && !kept; i++) unlink(objects[i]);
    signals_come(&before);
    return ok;
}

/* ---- the whole ---- */

static double milliseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static double lap(const BackendOptions *o, const char *what, double since) {
    double now = milliseconds();
    if (o->time) fprintf(stderr, "%10.2f ms  backend: %s\n", now - since, what);
    return now;
}

static void print_times(Arena *a, const Queue *q, double since) {
    UnitTimes sum = {0};
    int n = q->units->plan->n_units;
    for (int i = 0; i < n; i++) {
        const UnitTimes *t = &q->times[i];
        sum = (UnitTimes){sum.emit + t->emit, sum.verify + t->verify, sum.optimize + t->optimize, sum.code + t->code};
    }
    lap(q->units->options,
        arena_printf(a, "%d unit%s on %d core%s; of their threads:", n, n == 1 ? "" : "s", cores(), cores() == 1 ? "" : "s"),
        since);
    const struct {
        const char *name;
        double ms;
    } parts[] = {{"emit", sum.emit}, {"verify", sum.verify}, {"optimize", sum.optimize}, {"machine code", sum.code}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        fprintf(stderr, "%10.2f ms  backend:     %s\n", parts[i].ms, parts[i].name);
}

/* What LLVM would take minutes for is said before. */
static bool too_large(Diag *d, const EmitPlan *plan, const BackendOptions *o) {
    enum { CODE_MOST = 800000 };
    int64_t most = o->max_code ? o->max_code : CODE_MOST;
    if (plan->work <= most || !plan->largest) return false;
    const Func *f = plan->largest->func;
    diag_error(d, f->loc, 926,
               "the program is too large: it comes to about %" PRId64 " instructions, most of them in @%s, and at most %" PRId64
               " are compiled",
               plan->work, f->name, most);
    diag_note(d, (Loc){0}, "`scan` and `repeat` run instead of being copied; --max-code=%" PRId64 " compiles it as it is",
              plan->work);
    return true;
}

bool backend_compile(Arena *a, Diag *d, const LoopsProgram *p, const struct nn_program *program, const BackendOptions *o) {
    if (!o->out && o->kind >= EMIT_OBJECT) bug("an object needs a file name");
    const char *why;
    LLVMTargetMachineRef tm = target_machine(o->target, false, &why);
    if (!tm) {
        diag_error(d, (Loc){0}, 921, "--target=%s: %s", o->target->triple, why);
        return false;
    }
    LLVMDisposeTargetMachine(tm);
    double t = milliseconds();
    Arena *own = arena_new();
    Units units = {.options = o, .program = program, .source = intern(p->module->source ? p->module->source : "program.nn")};
    units.plan = emit_plan(own, p, o->only, o->debug_lines, o->kind != EMIT_EXECUTABLE || o->keep_temps);
    t = lap(o, "plan of units", t);
    if (too_large(d, units.plan, o)) {
        arena_free(own);
        return false;
    }
    size_t n = (size_t)units.plan->n_units;
    Queue q = {.units = &units, .made = arena_make_n(own, LLVMMemoryBufferRef, n), .times = arena_make_n(own, UnitTimes, n)};
    make_units(&q);
    if (o->time) print_times(own, &q, t);
    t = milliseconds();
    bool ok = o->kind == EMIT_EXECUTABLE ? write_executable(a, d, &q) : write_result(a, d, o->out, q.made[0]);
    lap(o, o->kind == EMIT_EXECUTABLE ? "link" : "write", t);
    for (size_t i = 0; i < n; i++) LLVMDisposeMemoryBuffer(q.made[i]);
    arena_free(own);
    return ok;
}
