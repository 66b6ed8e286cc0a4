/* base.c - arenas, growable arrays, interned strings: see base.h. */
#include "base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_BLOCK = 64 * 1024, ARENA_ALIGN = 16 };

typedef struct ArenaBlock {
    struct ArenaBlock *next;
    size_t size, used;
    _Alignas(ARENA_ALIGN) unsigned char data[];
} ArenaBlock;

struct Arena {
    ArenaBlock *blocks;
    size_t used;
};

static _Noreturn void out_of_memory(void) {
    fputs("nnc: out of memory\n", stderr);
    exit(1);
}

Arena *arena_new(void) {
    Arena *a = calloc(1, sizeof *a);
    if (!a) out_of_memory();
    return a;
}

void arena_free(Arena *a) {
    if (!a) return;
    for (ArenaBlock *b = a->blocks, *next; b; b = next) {
        next = b->next;
#ifndef NDEBUG
        memset(b->data, 0xdb, b->size);
#endif
        free(b);
    }
    free(a);
}

void *arena_alloc(Arena *a, size_t size) {
    if (size > SIZE_MAX - 2 * ARENA_BLOCK) out_of_memory();
    size = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    ArenaBlock *b = a->blocks;
    if (!b || b->size - b->used < size) {
        size_t room = size > ARENA_BLOCK / 4 ? size : ARENA_BLOCK;
        b = calloc(1, sizeof *b + room);
        if (!b) out_of_memory();
        b->size = room;
        if (room == size && a->blocks) { /* a large object: the block in use stays in front */
            b->next = a->blocks->next;
            a->blocks->next = b;
        } else {
            b->next = a->blocks;
            a->blocks = b;
        }
    }
    void *p = b->data + b->used;
    b->used += size;
    a->used += size;
    return p;
}

/* More room for the large object at `old`, which nobody else points at: in place where it has a block of its own among the latest. */
static void *arena_enlarge(Arena *a, void *old, size_t old_size, size_t size) {
    if (old_size > 4 * ARENA_BLOCK && old_size % ARENA_ALIGN == 0 && a->blocks) {
        ArenaBlock **at = &a->blocks->next;
        for (int i = 0; i < 16 && *at; i++, at = &(*at)->next) {
            if ((*at)->data != old || (*at)->size != old_size) continue;
            ArenaBlock *b = realloc(*at, sizeof *b + size);
            if (!b) out_of_memory();
            memset(b->data + old_size, 0, size - old_size);
            b->size = b->used = size;
            a->used += size - old_size;
            *at = b;
            return b->data;
        }
    }
    void *p = arena_alloc(a, size);
    if (old_size) memcpy(p, old, old_size);
    return p;
}

void *arena_alloc_n(Arena *a, size_t n, size_t size) {
    if (size && n > SIZE_MAX / size) out_of_memory();
    return arena_alloc(a, n * size);
}

size_t arena_used(const Arena *a) { return a->used; }

char *arena_strndup(Arena *a, const char *s, size_t n) {
    char *p = arena_alloc(a, n + 1);
    memcpy(p, s, n);
    return p;
}

char *arena_vprintf(Arena *a, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (n < 0) bug("format `%s`", format);
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, format, args);
    return p;
}

char *arena_printf(Arena *a, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *p = arena_vprintf(a, format, args);
    va_end(args);
    return p;
}

void *vec_room(Arena *a, void *at, size_t n, size_t *cap, size_t size) {
    if (n < *cap) return at;
    size_t more = *cap ? *cap * 2 : 4;
    if (more < *cap) out_of_memory();
    void *p = arena_alloc_n(a, more, size);
    if (n) memcpy(p, at, n * size);
    *cap = more;
    return p;
}

void text_add(Arena *a, Text *t, const char *s) {
    size_t n = strlen(s);
    if (t->cap - t->n < n + 1) {
        size_t cap = t->cap ? t->cap : 64;
        while (cap - t->n < n + 1) cap *= 2;
        t->at = arena_enlarge(a, t->at, t->cap, cap);
        t->cap = cap;
    }
    memcpy(t->at + t->n, s, n + 1);
    t->n += n;
}

void text_printf(Arena *a, Text *t, const char *format, ...) {
    char small[256];
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof small) {
        text_add(a, t, small);
    } else {
        text_add(a, t, arena_vprintf(a, format, again));
    }
    va_end(again);
}

const char *text_str(Arena *a, Text *t) {
    text_add(a, t, "");
    return t->at;
}

uint64_t hash_bytes(const void *p, size_t n, uint64_t seed) {
    /* FNV-1a (Fowler, Noll, Vo), with a last mix so that the low bits serve as a table index */
    const unsigned char *s = p;
    uint64_t h = 0xcbf29ce484222325u ^ seed;
    for (size_t i = 0; i < n; i++) h = (h ^ s[i]) * 0x100000001b3u;
    h ^= h >> 32;
    return h * 0x9e3779b97f4a7c15u;
}

/* The one table of strings: it lives as long as the process and only grows. */
static struct {
    Arena *arena;
    const char **at;
    size_t n, cap;
} names;

static void names_grow(void) {
    size_t cap = names.cap ? names.cap * 2 : 1024;
    const char **at = calloc(cap, sizeof *at);
    if (!at) out_of_memory();
    for (size_t i = 0; i < names.cap; i++) {
        if (!names.at[i]) continue;
        size_t k = hash_bytes(names.at[i], strlen(names.at[i]), 0) & (cap - 1);
        while (at[k]) k = (k + 1) & (cap - 1);
        at[k] = names.at[i];
    }
    free(names.at);
    names.at = at;
    names.cap = cap;
}

const char *intern_n(const char *s, size_t n) {
    n = strnlen(s, n); /* a zero byte ends a name: the table compares and hashes strings */
    if (!names.arena) names.arena = arena_new();
    if (names.n * 2 >= names.cap) names_grow();
    size_t k = hash_bytes(s, n, 0) & (names.cap - 1);
    for (; names.at[k]; k = (k + 1) & (names.cap - 1))
        if (strncmp(names.at[k], s, n) == 0 && names.at[k][n] == 0) return names.at[k];
    names.n++;
    return names.at[k] = arena_strndup(names.arena, s, n);
}

const char *intern(const char *s) { return s ? intern_n(s, strlen(s)) : NULL; }

const char *intern_printf(const char *format, ...) {
    char small[256]; /* nearly always enough, and printing a graph asks for tens of thousands */
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    const char *s;
    if (n >= 0 && (size_t)n < sizeof small) {
        s = intern_n(small, (size_t)n);
    } else {
        Arena *a = arena_new();
        s = intern(arena_vprintf(a, format, again));
        arena_free(a);
    }
    va_end(again);
    return s;
}

/* ---- maps: open addressing, a power of two, at most half full ---- */

static size_t slot_for(const PtrMap *m, const void *key) {
    size_t i = (size_t)(((uintptr_t)key >> 4) * 0x9E3779B97F4A7C15u) & (m->cap - 1);
    while (m->keys[i] && m->keys[i] != key) i = (i + 1) & (m->cap - 1);
    return i;
}

void *map_get(const PtrMap *m, const void *key) {
    if (m->n == 0) return NULL;
    size_t i = slot_for(m, key);
    return m->keys[i] ? m->values[i] : NULL;
}

void map_put(Arena *a, PtrMap *m, const void *key, void *value) {
    if (2 * (m->n + 1) > m->cap) {
        PtrMap bigger = {.cap = m->cap ? 2 * m->cap : 16};
        bigger.keys = arena_make_n(a, const void *, bigger.cap);
        bigger.values = arena_make_n(a, void *, bigger.cap);
        for (size_t i = 0; i < m->cap; i++)
            if (m->keys[i]) {
                size_t j = slot_for(&bigger, m->keys[i]);
                bigger.keys[j] = m->keys[i];
                bigger.values[j] = m->values[i];
            }
        bigger.n = m->n;
        *m = bigger;
    }
    size_t i = slot_for(m, key);
    if (!m->keys[i]) {
        m->keys[i] = key;
        m->n++;
    }
    m->values[i] = value;
}

void bug_at(const char *file, int line, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(stderr, "nnc: internal fault at %s:%d: ", file, line);
    vfprintf(stderr, format, args);
    fputs("\nThis is a fault of nnc, not of your program. Please report it with the program that caused it.\n", stderr);
    va_end(args);
    exit(1);
}
