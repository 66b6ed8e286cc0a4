/*
 * emit_program.c - any struct nn_program as constants of the module, by walking abi.def: a member becomes a constant of eight bytes, a list an array of its own and its
 * length. Nothing here knows what the members mean.
 */
#include "emit.h"

#include <string.h>

enum { MEMBERS_MOST = 40 };

typedef struct Table {
    Emit *e;
    LLVMValueRef *steps; /* by index of function */
    const struct nn_program *program;
} Table;

typedef struct Members {
    Table *t;
    LLVMValueRef at[MEMBERS_MOST];
    unsigned n;
} Members;

static void member(Members *m, LLVMValueRef v) {
    if (m->n == MEMBERS_MOST) bug("a structure of more than %d members", MEMBERS_MOST);
    m->at[m->n++] = v;
}

static void number(Members *m, int64_t k) { member(m, emit_i64(m->t->e, k)); }

static LLVMValueRef global(Table *t, LLVMValueRef value, const char *name) {
    LLVMValueRef g = LLVMAddGlobal(t->e->module, LLVMTypeOf(value), name);
    LLVMSetInitializer(g, value);
    LLVMSetGlobalConstant(g, 1);
    LLVMSetLinkage(g, LLVMPrivateLinkage);
    return g;
}

static LLVMValueRef text(Table *t, const char *s) {
    if (!s) return LLVMConstNull(t->e->ptr);
    LLVMValueRef g = global(t, LLVMConstStringInContext2(t->e->ctx, s, strlen(s), 0), "text");
    LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
    LLVMSetAlignment(g, 1);
    return g;
}

/* A list of n values of one type: its address, and n. */
static void list(Members *m, LLVMTypeRef type, LLVMValueRef *all, int64_t n) {
    member(m, n ? global(m->t, LLVMConstArray2(type, all, (uint64_t)n), "list") : LLVMConstNull(m->t->e->ptr));
    number(m, n);
}

static void numbers(Members *m, const int64_t *at, int64_t n) {
    LLVMValueRef *all = arena_make_n(m->t->e->arena, LLVMValueRef, (size_t)n + 1);
    for (int64_t i = 0; i < n; i++) all[i] = emit_i64(m->t->e, at[i]);
    list(m, m->t->e->i64, all, n);
}

static void texts(Members *m, const char *const *at, int64_t n) {
    LLVMValueRef *all = arena_make_n(m->t->e->arena, LLVMValueRef, (size_t)n + 1);
    for (int64_t i = 0; i < n; i++) all[i] = text(m->t, at[i]);
    list(m, m->t->e->ptr, all, n);
}

static LLVMValueRef structure(Members *m) { return LLVMConstStructInContext(m->t->e->ctx, m->at, m->n, 0); }

static LLVMValueRef step_of(Table *t, const void *at) {
    ptrdiff_t i = (const struct nn_func *)at - t->program->funcs;
    LLVMValueRef step = t->steps ? t->steps[i] : NULL;
    return step ? step : LLVMConstNull(t->e->ptr);
}

/* First the declarations, since lists of a structure may stand inside it (the nodes of commands). */
#define STRUCT(name) static LLVMValueRef put_##name(Table *t, const struct name *s);
#define END(name)
#define I64(m)
#define U64(m)
#define F64(m)
#define STR(m)
#define STRS(m)
#define INTS(m)
#define LIST(type, m)
#define FN(m)
#define PTR(m)
#include "runtime/abi.def"

#define STRUCT(name)                                                                                                             \
    static LLVMValueRef put_##name(Table *t, const struct name *s) {                                                             \
        Members members = {.t = t};
#define END(name)                                                                                                                \
    return structure(&members);                                                                                                  \
    }
#define I64(m)  number(&members, s->m);
#define U64(m)  number(&members, (int64_t)s->m);
#define F64(m)  member(&members, LLVMConstReal(t->e->f64, s->m));
#define STR(m)  member(&members, text(t, s->m));
#define STRS(m) texts(&members, s->m, s->n_##m);
#define INTS(m) numbers(&members, s->m, s->n_##m);
#define LIST(type, m)                                                                                                            \
    {                                                                                                                            \
        LLVMValueRef *all = arena_make_n(t->e->arena, LLVMValueRef, (size_t)s->n_##m + 1);                                       \
        for (int64_t i = 0; i < s->n_##m; i++) all[i] = put_##type(t, &s->m[i]);                                                 \
        list(&members, s->n_##m ? LLVMTypeOf(all[0]) : t->e->i64, all, s->n_##m);                                                \
    }
#define FN(m)  member(&members, step_of(t, s));
#define PTR(m) member(&members, LLVMConstNull(t->e->ptr));
#include "runtime/abi.def"

void emit_program(Emit *e, const struct nn_program *p, LLVMValueRef *steps) {
    Table t = {e, steps, p};
    LLVMValueRef value = put_nn_program(&t, p), g = LLVMAddGlobal(e->module, LLVMTypeOf(value), "nn_program");
    LLVMSetInitializer(g, value);
    LLVMSetGlobalConstant(g, 1);
    LLVMSetAlignment(g, 64);
}
