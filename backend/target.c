/*
 * target.c - which machine is compiled for: --target and --cpu, checked against a table of our own (LLVM ends the process on a name that it does not know).
 */
#include "emit.h"

#include <llvm-c/Support.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum Family { X86, ARM } Family;

/* Features that the code generator uses of its own accord; others that such CPUs have (sha, amx) need not be there. */
#define V2      "cx16,popcnt,sse3,ssse3,sse4.1,sse4.2"
#define V3      V2 ",avx,avx2,bmi,bmi2,f16c,fma,lzcnt,movbe"
#define V4      V3 ",avx512f,avx512bw,avx512cd,avx512dq,avx512vl"
#define ICELAKE V4 ",avx512bitalg,avx512ifma,avx512vbmi,avx512vbmi2,avx512vnni,avx512vpopcntdq,gfni"
#define ALL     ICELAKE ",avx512bf16,avx512fp16,avxvnni,sse4a"

/* What --cpu takes. Caches are those that such CPUs have at least. */
typedef struct Cpu {
    const char *name;
    Family family;
    int vector_bytes, vector_registers;
    bool masked, masked_words, fma;
    int l1, l2;        /* KiB */
    const char *needs; /* see backend.h */
} Cpu;

/* clang-format off */
static const Cpu cpus[] = {
    {"x86-64", X86, 16, 16, false, false, false, 32, 256, ""},
    {"x86-64-v2", X86, 16, 16, false, false, false, 32, 256, V2},
    {"x86-64-v3", X86, 32, 16, false, true, true, 32, 256, V3},
    {"x86-64-v4", X86, 64, 32, true, true, true, 32, 1024, V4},
    {"haswell", X86, 32, 16, false, true, true, 32, 256, V3},
    {"broadwell", X86, 32, 16, false, true, true, 32, 256, V3},
    {"skylake", X86, 32, 16, false, true, true, 32, 256, V3},
    {"alderlake", X86, 32, 16, false, true, true, 32, 1280, V3 ",avxvnni,gfni"},
    {"skylake-avx512", X86, 64, 32, true, true, true, 32, 1024, V4},
    {"cascadelake", X86, 64, 32, true, true, true, 32, 1024, V4 ",avx512vnni"},
    {"icelake-client", X86, 64, 32, true, true, true, 48, 512, ICELAKE},
    {"icelake-server", X86, 64, 32, true, true, true, 48, 1280, ICELAKE},
    {"sapphirerapids", X86, 64, 32, true, true, true, 48, 2048, ICELAKE ",avx512bf16,avx512fp16,avxvnni"},
    {"znver1", X86, 32, 16, false, true, true, 32, 512, V3 ",sse4a"},
    {"znver2", X86, 32, 16, false, true, true, 32, 512, V3 ",sse4a"},
    {"znver3", X86, 32, 16, false, true, true, 32, 512, V3 ",sse4a"},
    {"znver4", X86, 64, 32, true, true, true, 32, 1024, ICELAKE ",avx512bf16,sse4a"},
    {"generic", ARM, 16, 32, false, false, true, 32, 512, ""},
    {"cortex-a72", ARM, 16, 32, false, false, true, 32, 512, ""},
    {"cortex-a76", ARM, 16, 32, false, false, true, 64, 256, ""},
    {"neoverse-n1", ARM, 16, 32, false, false, true, 64, 1024, ""},
    {"neoverse-v1", ARM, 16, 32, false, false, true, 64, 1024, ""},
    {"apple-m1", ARM, 16, 32, false, false, true, 128, 4096, ""},
};
/* clang-format on */
enum { CPU_COUNT = sizeof cpus / sizeof *cpus };

const char *const *backend_cpus(size_t *n) {
    static const char *names[CPU_COUNT + 1];
    names[0] = "native";
    for (int i = 0; i < CPU_COUNT; i++) names[i + 1] = cpus[i].name;
    *n = CPU_COUNT + 1;
    return names;
}

static void start_llvm(void) {
    static bool started;
    if (started) return;
    started = true;
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    /* The order of instructions in a register tile is ours: the machine scheduler moves loads up until registers run out (14 x 32 with 4 turns of k unrolled: 29 % of
     * peak with it, 94 % without; clang 19's code, Cascade Lake). Out-of-order machines do the rest. And so are addresses (emit_index.c): loop strength reduction makes
     * a pointer for each of many loads that differ by a constant, until the integer registers run out (of video.nn's inner loops it made 1739 spills, 455 are without
     * it; of mlp.nn's 96 and 83), and takes a fifth of generating code for that. */
    static const char *const options[] = {"nnc", "-enable-misched=0", "-disable-lsr"};
    LLVMParseCommandLineOptions(sizeof options / sizeof *options, options, NULL);
}

/* "+name" stands in the list. */
static bool has_feature(const char *features, const char *name) {
    size_t n = strlen(name);
    for (const char *p = features; (p = strstr(p, name)); p++)
        if (p > features && p[-1] == '+' && (p - 1 == features || p[-2] == ',') && (p[n] == ',' || p[n] == 0)) return true;
    return false;
}

static int64_t cache_size(int name, int64_t otherwise) {
    long n = sysconf(name);
    return n > 0 ? n : otherwise;
}

static const Cpu *cpu_named(const char *name, Family family) {
    for (int i = 0; i < CPU_COUNT; i++)
        if (!strcmp(cpus[i].name, name) && cpus[i].family == family) return &cpus[i];
    return NULL;
}

/* Those of ALL that stand in LLVM's list. */
static const char *needs_of(Arena *a, const char *features) {
    Text *list = &(Text){0};
    const char *before = "";
    for (const char *at = ALL; *at;) {
        size_t n = strcspn(at, ",");
        const char *name = arena_printf(a, "%.*s", (int)n, at);
        if (has_feature(features, name)) text_printf(a, list, "%s%s", before, name), before = ",";
        at += at[n] ? n + 1 : n;
    }
    return text_str(a, list);
}

/* This machine: the name as LLVM sees it, and the features that are really there (a virtual machine may hide some). */
static void fill_native(Arena *a, BackendTarget *t, Family family) {
    char *name = LLVMGetHostCPUName(), *features = LLVMGetHostCPUFeatures();
    t->cpu = arena_printf(a, "%s", name);
    t->features = arena_printf(a, "%s", features);
    LLVMDisposeMessage(name);
    LLVMDisposeMessage(features);
    t->shown = arena_printf(a, "native (%s)", t->cpu);
    bool wide = has_feature(t->features, "avx512f") && has_feature(t->features, "avx512vl") &&
                has_feature(t->features, "avx512dq") && has_feature(t->features, "avx512bw");
    bool avx2 = has_feature(t->features, "avx2");
    if (family == ARM) {
        t->vector_bytes = 16;
        t->vector_registers = 32;
        t->fma = true;
    } else {
        t->vector_bytes = wide ? 64 : avx2 ? 32 : 16;
        t->vector_registers = wide ? 32 : 16;
        t->fma = has_feature(t->features, "fma");
        t->masked = wide;
        t->masked_words = avx2;
    }
    t->needs = family == ARM ? "" : needs_of(a, t->features);
    t->l1 = cache_size(_SC_LEVEL1_DCACHE_SIZE, 32 << 10);
    t->l2 = cache_size(_SC_LEVEL2_CACHE_SIZE, 256 << 10);
}

static void fill_from(Arena *a, BackendTarget *t, const Cpu *c, bool other_machine) {
    t->cpu = c->name;
    t->features = "";
    t->needs = c->needs;
    t->shown = other_machine ? arena_printf(a, "%s (%s)", c->name, t->triple) : c->name;
    t->vector_bytes = c->vector_bytes;
    t->vector_registers = c->vector_registers;
    t->masked = c->masked;
    t->masked_words = c->masked_words;
    t->fma = c->fma;
    t->l1 = (int64_t)c->l1 << 10;
    t->l2 = (int64_t)c->l2 << 10;
}

static bool unknown_cpu(Diag *d, const char *cpu, Family family) {
    size_t n;
    const char *const *all = backend_cpus(&n), *names[CPU_COUNT + 1];
    size_t k = 0;
    names[k++] = "native";
    for (int i = 0; i < CPU_COUNT; i++)
        if (cpus[i].family == family) names[k++] = all[i + 1];
    const char *near = diag_nearest(cpu, names, k);
    diag_error(d, (Loc){0}, 920, "--cpu: `%s` is not a known CPU%s%s%s", cpu, near ? "; did you mean `" : "", near ? near : "",
               near ? "`?" : "");
    Text *list = &(Text){0};
    Arena *a = arena_new();
    for (size_t i = 0; i < k; i++) text_printf(a, list, "%s%s", i ? " " : "", names[i]);
    diag_note(d, (Loc){0}, "known: %s", text_str(a, list));
    arena_free(a);
    return false;
}

static bool family_of(const char *triple, Family *family) {
    if (!strncmp(triple, "x86_64-", 7))
        *family = X86;
    else if (!strncmp(triple, "aarch64-", 8) || !strncmp(triple, "arm64-", 6))
        *family = ARM;
    else
        return false;
    return true;
}

const BackendTarget *backend_target(Arena *a, Diag *d, const char *triple, const char *cpu, bool no_fma) {
    start_llvm();
    BackendTarget *t = arena_make(a, BackendTarget);
    char *own = LLVMGetDefaultTargetTriple(), *normal = triple ? LLVMNormalizeTargetTriple(triple) : NULL;
    t->triple = arena_printf(a, "%s", normal ? normal : own);
    Family family, own_family;
    bool known = family_of(t->triple, &family), native_family = family_of(own, &own_family);
    LLVMDisposeMessage(own);
    if (normal) LLVMDisposeMessage(normal);
    if (!known) {
        diag_error(d, (Loc){0}, 921, "--target: `%s` is no machine that nnc compiles for (x86_64 and aarch64 are)", t->triple);
        return NULL;
    }
    bool same = native_family && own_family == family;
    if (!cpu && !same) cpu = family == X86 ? "x86-64-v3" : "generic";
    if (!cpu || !strcmp(cpu, "native")) {
        if (!same) {
            diag_error(d, (Loc){0}, 920, "--cpu=native is this machine, which is not %s", t->triple);
            return NULL;
        }
        fill_native(a, t, family);
    } else {
        const Cpu *c = cpu_named(cpu, family);
        if (!c) return unknown_cpu(d, cpu, family), NULL;
        fill_from(a, t, c, triple != NULL);
    }
    if (!t->fma && !no_fma) {
        diag_error(d, (Loc){0}, 922, "--cpu: %s has no fused multiply-add, which the order of sums asks for", t->cpu);
        diag_note(d, (Loc){0},
                  "x86-64-v3 and later have it; --no-fma compiles without it, to programs whose results have other bits");
        return NULL;
    }
    if (no_fma) {
        t->fma = false;
        t->shown = arena_printf(a, "%s, without fma", t->shown);
    }
    return t;
}

LLVMTargetMachineRef target_machine(const BackendTarget *t, bool plain, const char **why) {
    LLVMTargetRef target;
    char *message = NULL;
    *why = NULL;
    if (LLVMGetTargetFromTriple(t->triple, &target, &message)) {
        LLVMDisposeMessage(message);
        *why = "this LLVM was built without that machine";
        return NULL;
    }
    return LLVMCreateTargetMachine(target, t->triple, t->cpu, t->features, plain ? LLVMCodeGenLevelNone : LLVMCodeGenLevelDefault,
                                   LLVMRelocPIC, LLVMCodeModelDefault);
}
