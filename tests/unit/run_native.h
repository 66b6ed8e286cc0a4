/*
 * run_native.h - compiles a loops text in this process, loads the result and runs its steps: for test_backend.c and the kernel benchmark.
 *
 * Buffers without a place get one in the arena, one behind the other; so do those of threads in a thread's own part, for 8 of them. Slots lie in a frame, fields are pointers, as abi.h says.
 */
#ifndef RUN_NATIVE_H
#define RUN_NATIVE_H

#include "backend/backend.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct Native {
    Arena *arena;
    LoopsProgram *loops;
    const struct nn_program *program; /* of the shared object */
    void *handle;
} Native;

/* Steps wait for each other in the object itself: the barrier is a pthread barrier that nn_call.barrier points to. Shared loops are handed out unlike in a program: the last
 * part to the first thread, its second half first, so that nothing can rely on who has which turns. */
static const char native_stub[] =
    "#include <pthread.h>\n"
    "struct nn_call { void *a[4]; long long thread, threads; pthread_barrier_t *barrier; };\n"
    "long long nn_turns(struct nn_call *c, long long total, long long first, long long *end);\n"
    "long long nn_turns(struct nn_call *c, long long total, long long first, long long *end) {\n"
    "    long long t = c->threads - 1 - c->thread, from = total * t / c->threads, to = total * (t + 1) / c->threads;\n"
    "    long long half = from + (to - from) / 2;\n"
    "    if (first ? half < to : *end == to && from < half) return *end = first ? to : half, first ? half : from;\n"
    "    return -1;\n"
    "}\n"
    "void nn_barrier_wait(struct nn_call *c);\n"
    "void nn_barrier_wait(struct nn_call *c) { pthread_barrier_wait(c->barrier); }\n";

static LoopsProgram *native_parse(Arena *a, const char *text) {
    Diag *d = diag_new(a);
    LoopsStage stage;
    diag_source(d, "native.loops", text, strlen(text));
    LoopsProgram *p = loops_parse(a, d, "native.loops", text, strlen(text), &stage);
    if (!p || diag_errors(d)) {
        diag_print(d, stderr);
        return NULL;
    }
    return p;
}

static void native_place(LoopsProgram *p) {
    for (size_t i = 0; i < p->steps.n; i++) {
        Step *s = p->steps.at[i];
        if (!s->threads || s->threads > 8) s->threads = 8;
        for (size_t j = 0; j < s->buffers.n; j++) {
            Buffer *b = s->buffers.at[j];
            int64_t bytes = (b->bytes + 127) / 64 * 64;
            if (b->same || (b->place != PLACE_NONE && b->place != PLACE_THREAD)) continue;
            if (b->place == PLACE_NONE) b->place = PLACE_ARENA;
            int64_t *end = b->place == PLACE_THREAD ? &s->own : &s->arena;
            b->offset = *end;
            *end += bytes;
        }
    }
}

/* Compiles loops (in arena a, which the result keeps) for the target and loads them. keep: leave the files and say how long it took. NULL if something fails (the
 * reason is printed). */
static Native *native_build(Arena *a, LoopsProgram *loops, const BackendTarget *target, bool keep) {
    Diag *d = diag_new(a);
    Native *n = arena_make(a, Native);
    n->arena = a;
    n->loops = loops;
    native_place(n->loops);
    const char *folder = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    static int count; /* a name of its own, or dlopen takes an earlier one for it */
    char *base = arena_printf(a, "%s/native.%ld.%d", folder, (long)getpid(), count++);
    const char *object = arena_printf(a, "%s.o", base), *stub = arena_printf(a, "%s.c", base),
               *shared = arena_printf(a, "%s.so", base);
    struct nn_program *program = program_make(a, n->loops->module, n->loops, NULL);
    BackendOptions o = {.target = target, .kind = EMIT_OBJECT, .out = object, .verify = true, .time = keep};
    bool ok = backend_compile(a, d, n->loops, program, &o);
    FILE *f = fopen(stub, "w");
    ok = ok && f && fputs(native_stub, f) >= 0 && fclose(f) == 0;
    ok = ok && system(arena_printf(a, "cc -shared -fPIC -pthread -o %s %s %s -lm", shared, object, stub)) == 0;
    if (ok) n->handle = dlopen(shared, RTLD_NOW | RTLD_LOCAL);
    if (ok && !n->handle) fprintf(stderr, "%s\n", dlerror());
    if (n->handle) n->program = dlsym(n->handle, "nn_program");
    if (!keep) {
        unlink(object);
        unlink(shared);
    }
    unlink(stub);
    diag_print(d, stderr);
    return n->program ? n : NULL;
}

/* cpu: NULL for this machine. */
static inline Native *native_load(const char *text, const char *cpu, bool keep) {
    Arena *a = arena_new();
    Diag *d = diag_new(a);
    LoopsProgram *loops = native_parse(a, text);
    const BackendTarget *target = backend_target(a, d, NULL, cpu, false);
    diag_print(d, stderr);
    return loops && target ? native_build(a, loops, target, keep) : NULL;
}

static inline void native_free(Native *n) {
    if (!n) return;
    dlclose(n->handle);
    arena_free(n->arena);
}

static int native_func(const Native *n, const char *name) {
    for (int64_t i = 0; i < n->program->n_funcs; i++)
        if (!strcmp(n->program->funcs[i].name, name)) return (int)i;
    return -1;
}

static inline Step *native_step(const Native *n, const char *name) {
    for (size_t i = 0; i < n->loops->steps.n; i++)
        if (!strcmp(n->loops->steps.at[i]->func->name, name)) return n->loops->steps.at[i];
    return NULL;
}

typedef struct NativeRun {
    char *frame, *scratch;
    const void **fields;
    struct nn_fault fault;
} NativeRun;

/* Large blocks on huge pages, as in the runtime. */
static void *native_aligned(int64_t bytes) {
    void *p = NULL;
    size_t n = (size_t)(bytes > 0 ? bytes : 1) + 4096, align = n < 1 << 20 ? 4096 : 2 << 20;
    if (posix_memalign(&p, align, n)) abort();
    if (align > 4096) madvise(p, n, MADV_HUGEPAGE);
    return p;
}

static const Buffer *native_root(const Buffer *b) {
    while (b->place == PLACE_NONE && b->same) b = b->same;
    return b;
}

/* Where buffer b of the run lies; NULL for data and per-thread memory. */
static void *native_memory(const Native *n, const NativeRun *r, const Buffer *b) {
    b = native_root(b);
    if (b->place == PLACE_ARENA) return r->scratch + b->offset;
    if (b->place == PLACE_SLOT) return r->frame + n->program->slots[b->slot->index].offset;
    if (b->place == PLACE_FIELD) return (void *)(uintptr_t)r->fields[n->program->slots[b->slot->index].offset];
    return NULL;
}

static NativeRun native_memory_new(const Native *n, const char *name) {
    const struct nn_func *f = &n->program->funcs[native_func(n, name)];
    NativeRun r = {.frame = native_aligned(n->program->frame), .scratch = native_aligned(f->arena + f->threads * f->own)};
    r.fields = calloc((size_t)n->program->fields + 1, sizeof *r.fields);
    for (int64_t i = 0; i < n->program->n_slots; i++) {
        const struct nn_slot *s = &n->program->slots[i];
        if (s->kind == NN_FIELD || s->kind == NN_INPUT) r.fields[s->offset] = native_aligned(s->bytes);
    }
    return r;
}

static void native_memory_free(const Native *n, NativeRun *r) {
    for (int64_t i = 0; i < n->program->fields; i++) free((void *)(uintptr_t)r->fields[i]);
    free(r->fields);
    free(r->frame);
    free(r->scratch);
}

typedef struct NativeThread {
    nn_step *step;
    struct nn_call call;
} NativeThread;

static void *native_thread(void *arg) {
    NativeThread *t = arg;
    t->step(&t->call);
    return NULL;
}

static inline void native_call(const Native *n, NativeRun *r, const char *name, int64_t batch, int threads) {
    const struct nn_func *f = &n->program->funcs[native_func(n, name)];
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, (unsigned)threads);
    pthread_t id[64];
    NativeThread t[64];
    r->fault = (struct nn_fault){0};
    for (int i = 0; i < threads; i++)
        t[i] = (NativeThread){f->step,
                              {.frame = r->frame,
                               .arena = r->scratch,
                               .fields = r->fields,
                               .batch = batch,
                               .thread = i,
                               .threads = threads,
                               .barrier = (struct nn_barrier *)&barrier,
                               .fault = &r->fault,
                               .func = f}};
    for (int i = 1; i < threads; i++) pthread_create(&id[i], NULL, native_thread, &t[i]);
    native_thread(&t[0]);
    for (int i = 1; i < threads; i++) pthread_join(id[i], NULL);
    pthread_barrier_destroy(&barrier);
}

#endif
