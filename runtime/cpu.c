/*
 * cpu.c - see cpu.h. A step for another CPU would end the process with SIGILL, at the first of its instructions that this one does not know, after data were
 * read and files written.
 *
 * x86: the bits of CPUID (Intel, "Software Developer's Manual", volume 2A; AMD, "Programmer's Manual", volume 3, appendix E). The registers of a feature must also be
 * saved by the system when threads change, which XGETBV tells (the same manual, volume 1, section 13.3).
 */
#include "cpu.h"
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

enum reg { EAX, EBX, ECX, EDX };
enum state { NO_STATE = 0, YMM = 0x6, ZMM = 0xE6 }; /* bits of XCR0 */

static const struct feature {
    const char *name; /* as LLVM names it */
    unsigned leaf, subleaf;
    enum reg reg;
    int bit;
    enum state state;
} features[] = {
    {"sse3", 1, 0, ECX, 0, NO_STATE},
    {"ssse3", 1, 0, ECX, 9, NO_STATE},
    {"fma", 1, 0, ECX, 12, YMM},
    {"cx16", 1, 0, ECX, 13, NO_STATE},
    {"sse4.1", 1, 0, ECX, 19, NO_STATE},
    {"sse4.2", 1, 0, ECX, 20, NO_STATE},
    {"movbe", 1, 0, ECX, 22, NO_STATE},
    {"popcnt", 1, 0, ECX, 23, NO_STATE},
    {"avx", 1, 0, ECX, 28, YMM},
    {"f16c", 1, 0, ECX, 29, YMM},
    {"lzcnt", 0x80000001, 0, ECX, 5, NO_STATE},
    {"sse4a", 0x80000001, 0, ECX, 6, NO_STATE},
    {"bmi", 7, 0, EBX, 3, NO_STATE},
    {"avx2", 7, 0, EBX, 5, YMM},
    {"bmi2", 7, 0, EBX, 8, NO_STATE},
    {"avx512f", 7, 0, EBX, 16, ZMM},
    {"avx512dq", 7, 0, EBX, 17, ZMM},
    {"avx512ifma", 7, 0, EBX, 21, ZMM},
    {"avx512cd", 7, 0, EBX, 28, ZMM},
    {"avx512bw", 7, 0, EBX, 30, ZMM},
    {"avx512vl", 7, 0, EBX, 31, ZMM},
    {"avx512vbmi", 7, 0, ECX, 1, ZMM},
    {"avx512vbmi2", 7, 0, ECX, 6, ZMM},
    {"gfni", 7, 0, ECX, 8, NO_STATE},
    {"avx512vnni", 7, 0, ECX, 11, ZMM},
    {"avx512bitalg", 7, 0, ECX, 12, ZMM},
    {"avx512vpopcntdq", 7, 0, ECX, 14, ZMM},
    {"avx512fp16", 7, 0, EDX, 23, ZMM},
    {"avxvnni", 7, 1, EAX, 4, YMM},
    {"avx512bf16", 7, 1, EAX, 5, ZMM},
};

static bool has_bit(unsigned leaf, unsigned subleaf, enum reg reg, int bit) {
    unsigned r[4] = {0};
    return __get_cpuid_count(leaf, subleaf, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) && (r[reg] >> bit & 1);
}

static bool has_state(enum state state) {
    enum { OSXSAVE = 27 };
    unsigned low = 0, high = 0;
    if (state == NO_STATE) return true;
    if (!has_bit(1, 0, ECX, OSXSAVE)) return false;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & state) == (unsigned)state;
}

static bool has(const char *name, size_t n) {
    for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
        const struct feature *f = &features[i];
        if (strlen(f->name) == n && memcmp(f->name, name, n) == 0)
            return has_bit(f->leaf, f->subleaf, f->reg, f->bit) && has_state(f->state);
    }
    return false;
}
#else
/* Programs for aarch64 name no features: what their steps use, NEON and fused multiply-adds, every such CPU has. */
static bool has(const char *name, size_t n) {
    (void)name, (void)n;
    return false;
}
#endif

bool nn_cpu_check(struct nn_env *env, const struct nn_program *program) {
    struct nn_text missing = {0};
    for (const char *at = program->needs; at && *at;) {
        size_t n = strcspn(at, ",");
        if (!has(at, n)) {
            if (missing.n > 0) nn_text_add(env, &missing, ", ");
            nn_text_add_n(env, &missing, at, n);
        }
        at += at[n] ? n + 1 : n;
    }
    bool good = nn_text_ok(env, &missing) && missing.n == 0;
    bool common = has("avx2", 4) && has("fma", 3) && has("bmi2", 4);
    if (missing.n > 0) {
        nn_fail(env, NN_BAD_INPUT, "this program was compiled for %s; this CPU has no %s: compile it here with --cpu=native%s",
                program->cpu, nn_text_str(&missing), common ? ", or with --cpu=x86-64-v3 for both" : "");
    }
    nn_text_free(env, &missing);
    return good;
}
