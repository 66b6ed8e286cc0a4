/*
 * type.c - tensor types, interned: an element type and a list of dimensions, of which at most one is a multiple of the batch size
 * B. Equal types are one object for the whole run, so that == compares them. What a legal shape is (rule N6 of the language) is
 * type_fault.
 */
#include "graph.h"

#include <stdlib.h>
#include <string.h>

enum { COUNT_LIMIT_LOG2 = 40 }; /* elements of one tensor (rule D6) */

static const struct {
    const char *name;
    int size;
} elems[ELEM_COUNT] = {
    [F32] = {"f32", 4}, [F64] = {"f64", 8}, [I32] = {"i32", 4}, [I64] = {"i64", 8}, [U8] = {"u8", 1}, [BOOL] = {"bool", 1},
};

const char *elem_name(Elem e) { return elems[e].name; }
int elem_size(Elem e) { return elems[e].size; }
bool elem_is_float(Elem e) { return e == F32 || e == F64; }
bool elem_is_int(Elem e) { return e == I32 || e == I64 || e == U8; }

bool elem_by_name(const char *name, Elem *e) {
    for (int i = 0; i < ELEM_COUNT; i++)
        if (strcmp(elems[i].name, name) == 0) return *e = (Elem)i, true;
    return false;
}

bool dim_same(Dim a, Dim b) { return a.n == b.n && a.batch == b.batch; }
int64_t dim_size(Dim d, int64_t B) { return d.batch ? d.n * B : d.n; }

/* The table of all types. It only grows, and lives as long as the process, like the table of names. */
static struct {
    Arena *arena;
    const Type **at;
    size_t n, cap;
} types;

static uint64_t type_hash(Elem elem, int rank, const Dim *dims) {
    uint64_t h = (uint64_t)elem * 31 + (uint64_t)rank;
    for (int i = 0; i < rank; i++) {
        int64_t d[2] = {dims[i].n, dims[i].batch};
        h = hash_bytes(d, sizeof d, h);
    }
    return hash_bytes(&h, sizeof h, 0);
}

static bool type_equals(const Type *t, Elem elem, int rank, const Dim *dims) {
    if (t->elem != elem || t->rank != rank) return false;
    for (int i = 0; i < rank; i++)
        if (!dim_same(t->dim[i], dims[i])) return false;
    return true;
}

static void types_grow(void) {
    size_t cap = types.cap ? types.cap * 2 : 256;
    const Type **at = calloc(cap, sizeof *at);
    if (!at) bug("out of memory for types");
    for (size_t i = 0; i < types.cap; i++) {
        const Type *t = types.at[i];
        if (!t) continue;
        size_t k = type_hash(t->elem, t->rank, t->dim) & (cap - 1);
        while (at[k]) k = (k + 1) & (cap - 1);
        at[k] = t;
    }
    free(types.at);
    types.at = at;
    types.cap = cap;
}

const Type *type_make(Elem elem, int rank, const Dim *dims) {
    if (rank < 0 || rank > MAX_RANK) bug("a type of rank %d", rank);
    if (!types.arena) types.arena = arena_new();
    if (types.n * 2 >= types.cap) types_grow();
    size_t k = type_hash(elem, rank, dims) & (types.cap - 1);
    for (; types.at[k]; k = (k + 1) & (types.cap - 1))
        if (type_equals(types.at[k], elem, rank, dims)) return types.at[k];
    Type *t = arena_alloc(types.arena, sizeof *t + (size_t)rank * sizeof(Dim));
    t->elem = elem;
    t->rank = rank;
    for (int i = 0; i < rank; i++) t->dim[i] = (Dim){dims[i].n, dims[i].batch};
    types.n++;
    return types.at[k] = t;
}

const Type *type_scalar(Elem elem) { return type_make(elem, 0, NULL); }
const Type *type_with_elem(const Type *t, Elem elem) { return t->elem == elem ? t : type_make(elem, t->rank, t->dim); }

bool type_same_shape(const Type *a, const Type *b) { return a == b || type_with_elem(a, b->elem) == b; }

int64_t type_count(const Type *t, int64_t B) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++)
        if (__builtin_mul_overflow(n, dim_size(t->dim[i], B), &n)) return INT64_MAX;
    return n;
}

bool type_too_large(const Type *t, int64_t bound) { return type_count(t, bound) > (int64_t)1 << COUNT_LIMIT_LOG2; }

int type_batch_axis(const Type *t) {
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i].batch) return i;
    return -1;
}

bool type_has_batch(const Type *t) { return type_batch_axis(t) >= 0; }

static const char *fault(int rank, const Dim *dims, bool leading) {
    if (rank > MAX_RANK) return intern_printf("a tensor has at most %d dimensions, not %d", MAX_RANK, rank);
    int batches = 0;
    int64_t n = 1;
    bool empty = false;
    for (int i = 0; i < rank; i++) {
        if (dims[i].n < 0) return intern_printf("a dimension is negative (%" PRId64 ")", dims[i].n);
        if (dims[i].batch && dims[i].n == 0) return "a multiple of B is at least 1 * B";
        if (dims[i].batch && dims[i].n > 1 && i > 0 && leading)
            return "a multiple of the batch size can only be the leading dimension";
        batches += dims[i].batch;
        empty |= dims[i].n == 0;
    }
    if (batches > 1) return "the batch dimension can stand on one axis only";
    for (int i = 0; i < rank && !empty; i++)
        if (__builtin_mul_overflow(n, dims[i].n, &n) || n > (int64_t)1 << COUNT_LIMIT_LOG2)
            return "a tensor has at most 2^40 elements";
    return NULL;
}

const char *type_fault(int rank, const Dim *dims) { return fault(rank, dims, true); }
const char *type_fault_in_memory(int rank, const Dim *dims) { return fault(rank, dims, false); }

const char *dim_text(Dim d) {
    if (!d.batch) return intern_printf("%" PRId64, d.n);
    return d.n == 1 ? "B" : intern_printf("%" PRId64 "*B", d.n);
}

const char *type_name_bound(const Type *t, int64_t bound) {
    char out[32 + MAX_RANK * 64];
    size_t n = (size_t)snprintf(out, sizeof out, "%s", elem_name(t->elem));
    for (int i = 0; i < t->rank; i++) {
        Dim d = t->dim[i];
        n += (size_t)snprintf(out + n, sizeof out - n, "%s", i ? ", " : "[");
        if (!d.batch || bound == 0)
            n += (size_t)snprintf(out + n, sizeof out - n, "%s", dim_text(d));
        else if (d.n == 1)
            n += (size_t)snprintf(out + n, sizeof out - n, "B<=%" PRId64, bound);
        else
            n += (size_t)snprintf(out + n, sizeof out - n, "%" PRId64 "*(B<=%" PRId64 ")", d.n, bound);
    }
    if (t->rank) snprintf(out + n, sizeof out - n, "]");
    return intern(out);
}

const char *type_name(const Type *t) { return type_name_bound(t, 0); }
