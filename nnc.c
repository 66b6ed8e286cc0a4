/*
 * nnc.c - the driver. Start reading here: main reads the command line, and `compile` is the whole way of a program,
 *
 *   text --parse--> tree --elaborate--> graph --passes--> loops --backend--> program
 *
 * with an exit to print at each arrow (--emit), and an entrance from a printed graph or loops. docs/tour.md follows one program
 * along it. Exit status: 0 done, 1 a fault of nnc's own, 2 the program, a file or the command line is wrong.
 */
#include "backend/backend.h"
#include "backend/evaluate.h"
#include "frontend/elaborate.h"
#include "frontend/format.h"
#include "frontend/parse.h"
#include "passes/machine.h"
#include "passes/pipeline.h"
#include "passes/report.h"
#include "runtime/runtime.h"

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define VERSION "0.1.0"

enum { OK = 0, WRONG = 2 };

typedef enum Form { FORM_SOURCE, FORM_GRAPH, FORM_LOOPS } Form; /* of the file given: by its suffix */

typedef struct Options {
    const char *file, *out;
    const char *emit; /* NULL: exe */
    Vec(Define) defines;
    PipelineOptions passes;
    const char *only;                     /* --fn */
    const char *cpu, *target;             /* NULL: native */
    int64_t max_batch, max_mem, max_code; /* 0: as they are by default */
    bool summary, plan, debug_lines, keep_temps, static_link, time_passes, verify_passes, gradcheck, no_fma;
    EvalType eval_type;
    bool eval_type_given;
    int n_command; /* what is to be run: the command and its flags */
    char **command;
    bool eval, run;
} Options;

/* The program on its way, with what belongs to all of it. */
typedef struct Compilation {
    Arena *arena;
    Diag *diag;
    const Options *options;
    Form form;
    const char *text;
    size_t size;
    Program program;
    const BackendTarget *target;
    Machine machine;
} Compilation;

/* ---- the command line ---- */

enum Flag {
    F_DEFINE = 'D',
    F_OUT = 'o',
    F_DEBUG = 'g',
    F_HELP = 256,
    F_VERSION,
    F_EMIT,
    F_PRINT_AFTER,
    F_PRINT_AFTER_ALL,
    F_PRINT_CHANGED,
    F_STOP_AFTER,
    F_PASSES,
    F_LIST_PASSES,
    F_LIST_OPS,
    F_FN,
    F_VERIFY_PASSES,
    F_EVAL,
    F_EVAL_TYPE,
    F_GRADCHECK,
    F_SUMMARY,
    F_PLAN,
    F_MAX_MEM,
    F_MAX_CODE,
    F_CPU,
    F_TARGET,
    F_MAX_BATCH,
    F_NO_FMA,
    F_TIME_PASSES,
    F_KEEP_TEMPS,
    F_STATIC,
    F_EXPLAIN,
};

static const struct option flags[] = {
    {"help", no_argument, NULL, F_HELP},
    {"version", no_argument, NULL, F_VERSION},
    {"emit", required_argument, NULL, F_EMIT},
    {"print-after", required_argument, NULL, F_PRINT_AFTER},
    {"print-after-all", no_argument, NULL, F_PRINT_AFTER_ALL},
    {"print-changed", no_argument, NULL, F_PRINT_CHANGED},
    {"stop-after", required_argument, NULL, F_STOP_AFTER},
    {"passes", required_argument, NULL, F_PASSES},
    {"list-passes", no_argument, NULL, F_LIST_PASSES},
    {"list-ops", no_argument, NULL, F_LIST_OPS},
    {"fn", required_argument, NULL, F_FN},
    {"verify-passes", no_argument, NULL, F_VERIFY_PASSES},
    {"eval", required_argument, NULL, F_EVAL},
    {"eval-type", required_argument, NULL, F_EVAL_TYPE},
    {"gradcheck", no_argument, NULL, F_GRADCHECK},
    {"summary", no_argument, NULL, F_SUMMARY},
    {"plan", no_argument, NULL, F_PLAN},
    {"max-mem", required_argument, NULL, F_MAX_MEM},
    {"max-code", required_argument, NULL, F_MAX_CODE},
    {"cpu", required_argument, NULL, F_CPU},
    {"target", required_argument, NULL, F_TARGET},
    {"max-batch", required_argument, NULL, F_MAX_BATCH},
    {"no-fma", no_argument, NULL, F_NO_FMA},
    {"time-passes", no_argument, NULL, F_TIME_PASSES},
    {"keep-temps", no_argument, NULL, F_KEEP_TEMPS},
    {"static", no_argument, NULL, F_STATIC},
    {"explain", required_argument, NULL, F_EXPLAIN},
    {NULL, 0, NULL, 0},
};

static const char *const stages[] = {"ast", "graph", "dot", "loops", "llvm", "asm", "obj", "exe"};
enum { N_STAGES = sizeof stages / sizeof *stages };

static void print_help(FILE *out) {
    fputs("usage: nnc MODEL.nn [-o FILE] [OPTION]...       compile to a program\n"
          "       nnc run MODEL.nn COMMAND [FLAG]...       compile to a cache and run; flags are the program's\n"
          "       nnc fmt FILE.nn                          print the program in the one layout (-o FILE: write it)\n"
          "       nnc MODEL.graph | MODEL.loops            go on from a printed graph or printed loops\n"
          "\n"
          "  -o FILE               where to write; without it the name is the program's without .nn\n"
          "  -D NAME=VALUE         replace a const of the program\n"
          "  --emit=WHAT           ast graph dot loops llvm asm obj exe; texts go to standard output without -o\n"
          "  --print-after=PASS,.. --print-after-all --print-changed    the program as text after passes, or what they changed\n"
          "  --stop-after=PASS     print what that pass left     --passes=A,B,C   run these passes only\n"
          "  --fn=NAME             print this function alone     --list-passes --list-ops\n"
          "  --eval COMMAND ...    run a command on the reference evaluator; what follows are its flags\n"
          "  --eval-type=f64|f32   with what numbers (default f64)\n"
          "  --verify-passes       evaluate before and after every pass and compare\n"
          "  --gradcheck           every gradient against central differences\n"
          "  --summary --plan      parameters by name, shape and line; memory and operations\n"
          "  --cpu=NAME --target=TRIPLE   what the code may use (default native)\n"
          "  --no-fma              products rounded before they are added, for CPUs without fused multiply-add: other bits\n"
          "  --max-batch=N         largest batch of commands with inputs (default 256)\n"
          "  --max-code=N          largest program that is compiled, in instructions (default 800000, some ten seconds)\n"
          "  -g --time-passes --keep-temps --static --max-mem=BYTES\n"
          "  --explain CODE        what an error means\n"
          "  --help --version\n",
          out);
}

static int usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int usage_error(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("nnc: ", stderr);
    vfprintf(stderr, format, args);
    fputs("\n", stderr);
    va_end(args);
    return WRONG;
}

/* getopt_long takes abbreviations; we take names in full only. */
static int check_flag_name(const char *arg) {
    if (strncmp(arg, "--", 2) != 0 || !arg[2]) return OK;
    size_t n = strcspn(arg + 2, "=");
    const char *names[sizeof flags / sizeof *flags];
    size_t known = 0;
    for (const struct option *f = flags; f->name; f++) {
        if (strlen(f->name) == n && memcmp(f->name, arg + 2, n) == 0) return OK;
        names[known++] = f->name;
    }
    const char *name = intern_n(arg + 2, n), *near = diag_nearest(name, names, known);
    for (size_t i = 0; !near && n >= 3 && i < known; i++) /* cut short */
        if (strncmp(names[i], name, n) == 0) near = names[i];
    if (near) return usage_error("there is no option --%s; did you mean --%s?", name, near);
    return usage_error("there is no option --%s; nnc --help lists them", name);
}

static int read_count(const char *what, const char *text, int64_t *value) {
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno || end == text || *end || v < 1)
        return usage_error("--%s takes a whole number of at least 1, not `%s`", what, text);
    *value = v;
    return OK;
}

static int read_define(Arena *a, Options *o, const char *text) {
    const char *eq = strchr(text, '=');
    if (!eq || eq == text || !eq[1 + strspn(eq + 1, " \t")]) return usage_error("-D takes NAME=VALUE, not `%s`", text);
    for (size_t i = 0; i < o->defines.n; i++)
        if (o->defines.at[i].name == intern_n(text, (size_t)(eq - text)))
            return usage_error("-D %s is given twice", o->defines.at[i].name);
    vec_push(a, &o->defines, ((Define){intern_n(text, (size_t)(eq - text)), eq + 1}));
    return OK;
}

static int read_emit(Options *o, const char *text) {
    for (int i = 0; i < N_STAGES; i++)
        if (strcmp(stages[i], text) == 0) {
            o->emit = stages[i];
            return OK;
        }
    const char *near = diag_nearest(text, stages, N_STAGES);
    return usage_error("--emit takes ast, graph, dot, loops, llvm, asm, obj or exe, not `%s`%s%s%s", text,
                       near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

/* A name that begins with `-` would be an option to the compiler driver that links. */
static const char *plain_name(Arena *a, const char *name) { return name[0] == '-' ? arena_printf(a, "./%s", name) : name; }

/* -1: go on; else the exit status. */
static int read_flag(Arena *a, Options *o, int flag, const char *arg) {
    switch (flag) {
    case F_HELP: print_help(stdout); return OK;
    case F_VERSION: puts("nnc " VERSION); return OK;
    case F_LIST_PASSES: pipeline_list(stdout); return OK;
    case F_LIST_OPS: ops_print_table(stdout); return OK;
    case F_EXPLAIN:
        if (strcmp(arg, "all") == 0) return diag_print_table(stdout), OK;
        return diag_explain(arg, stdout) ? OK : usage_error("there is no error `%s`; codes look like E0204", arg);
    case F_DEFINE: return read_define(a, o, arg) == OK ? -1 : WRONG;
    case F_EMIT: return read_emit(o, arg) == OK ? -1 : WRONG;
    case F_MAX_MEM: return read_count("max-mem", arg, &o->max_mem) == OK ? -1 : WRONG;
    case F_MAX_CODE: return read_count("max-code", arg, &o->max_code) == OK ? -1 : WRONG;
    case F_MAX_BATCH: return read_count("max-batch", arg, &o->max_batch) == OK ? -1 : WRONG;
    case F_OUT:
        if (strcmp(arg, "-") == 0) return usage_error("-o -: texts go to standard output without -o; a program is a file");
        o->out = plain_name(a, arg);
        return -1;
    case F_DEBUG: o->debug_lines = true; return -1;
    case F_PRINT_AFTER: o->passes.print_after = arg; return -1;
    case F_PRINT_AFTER_ALL: o->passes.print_after_all = true; return -1;
    case F_PRINT_CHANGED: o->passes.print_changed = true; return -1;
    case F_STOP_AFTER: o->passes.stop_after = arg; return -1;
    case F_PASSES: o->passes.passes = arg; return -1;
    case F_FN: o->only = arg[0] == '@' ? arg + 1 : arg; return -1;
    case F_VERIFY_PASSES: o->verify_passes = true; return -1;
    case F_GRADCHECK: o->gradcheck = true; return -1;
    case F_SUMMARY: o->summary = true; return -1;
    case F_PLAN: o->plan = true; return -1;
    case F_CPU: o->cpu = arg; return -1;
    case F_TARGET: o->target = arg; return -1;
    case F_NO_FMA: o->no_fma = true; return -1;
    case F_TIME_PASSES: o->time_passes = o->passes.time_passes = true; return -1;
    case F_KEEP_TEMPS: o->keep_temps = true; return -1;
    case F_STATIC: o->static_link = true; return -1;
    case F_EVAL_TYPE:
        if (strcmp(arg, "f32") && strcmp(arg, "f64")) return usage_error("--eval-type takes f64 or f32, not `%s`", arg);
        o->eval_type = strcmp(arg, "f32") == 0 ? EVAL_F32 : EVAL_F64;
        o->eval_type_given = true;
        return -1;
    default: return WRONG; /* getopt has said why */
    }
}

/* A flag whose value is the next word. */
static bool takes_next(const char *word) {
    if (strcmp(word, "-D") == 0 || strcmp(word, "-o") == 0) return true;
    for (const struct option *f = flags; f->name; f++)
        if (strncmp(word, "--", 2) == 0 && strcmp(word + 2, f->name) == 0) return f->has_arg == required_argument;
    return false;
}

/* Where the words of a program's own command begin: behind `--eval COMMAND`, or behind the file of `nnc run`. argc if there are none. */
static int find_command(int argc, char **argv, bool run) {
    bool file = false;
    for (int i = run ? 2 : 1; i < argc; i++) {
        if (strncmp(argv[i], "--eval=", 7) == 0 || strcmp(argv[i], "--eval") == 0) return i;
        if (!run) continue;
        if (file) return i;
        if (takes_next(argv[i]))
            i++;
        else if (argv[i][0] != '-')
            file = true;
    }
    return argc;
}

/* A list of passes, as of --print-after: every name must be one. */
static int check_passes(const char *flag, const char *list) {
    const char *const *names;
    if (list && !*list) return usage_error("--%s takes the name of a pass; --list-passes lists them", flag);
    size_t n = pipeline_names(&names);
    for (const char *s = list; s && *s;) {
        size_t k = strcspn(s, ","), i = 0;
        const char *name = intern_n(s, k);
        while (i < n && strcmp(names[i], name) != 0) i++;
        if (i == n) {
            const char *near = diag_nearest(name, names, n);
            return usage_error("--%s: there is no pass `%s`%s%s%s", flag, name, near ? "; did you mean `" : "", near ? near : "",
                               near ? "`?" : "; --list-passes lists them");
        }
        s += k + (s[k] == ',');
    }
    return OK;
}

/* One run does one thing. */
static int check_purpose(const Options *o) {
    const char *asked[8];
    int n = 0;
    if (o->run) asked[n++] = "run";
    if (o->eval && !o->gradcheck) asked[n++] = "--eval"; /* --gradcheck of what one command asks for */
    if (o->emit) asked[n++] = "--emit";
    if (o->summary) asked[n++] = "--summary";
    if (o->plan) asked[n++] = "--plan";
    if (o->gradcheck) asked[n++] = "--gradcheck";
    if (n > 1) return usage_error("%s and %s: one thing at a time", asked[0], asked[1]);
    bool text = o->emit ? strcmp(o->emit, "exe") != 0 : o->passes.stop_after && n == 0;
    bool tree = o->emit && strcmp(o->emit, "ast") == 0;
    const char *passes = o->passes.passes          ? "--passes"
                         : o->passes.stop_after    ? "--stop-after"
                         : o->passes.print_after   ? "--print-after"
                         : o->passes.print_changed ? "--print-changed"
                                                   : NULL;
    if (tree && passes) return usage_error("%s: --emit=ast prints the program as it was read, before any pass", passes);
    if (o->out && (o->eval || o->run || o->gradcheck))
        return usage_error("-o names what is compiled or printed; %s writes no such file", asked[0]);
    if (o->eval_type_given && !o->eval && !o->gradcheck && !o->verify_passes)
        return usage_error("--eval-type: the evaluator runs with --eval COMMAND, --gradcheck or --verify-passes");
    if (o->static_link && (text || o->summary || o->plan || o->eval || o->gradcheck))
        return usage_error("--static: nothing is linked");
    if (o->gradcheck && o->passes.stop_after && !o->passes.passes)
        return usage_error("--stop-after: --gradcheck runs infer and autodiff alone; --passes=A,B says which");
    if (o->keep_temps && (text || o->summary || o->plan || o->eval || o->gradcheck || o->run))
        return usage_error("--keep-temps: no program is compiled");
    if (o->only && (o->summary || o->eval || o->gradcheck || o->run || tree))
        return usage_error("--fn names what --emit, --plan and --print-after show; %s shows no function",
                           n ? asked[0] : "--emit=ast");
    bool stages =
        o->passes.passes || o->passes.stop_after || o->passes.print_after || o->passes.print_after_all || o->passes.print_changed;
    if (o->only && !o->plan && !stages && (!o->emit || strcmp(o->emit, "exe") == 0))
        return usage_error("--fn names what --emit, --plan and --print-after show; a program is made of all its functions");
    return OK;
}

static int read_command_line(Arena *a, int argc, char **argv, Options *o) {
    o->passes.verify = PIPELINE_VERIFY_DEFAULT && getenv("NNC_VERIFY");
    o->run = argc > 1 && strcmp(argv[1], "run") == 0;
    int end = find_command(argc, argv, o->run);
    if (end < argc && !o->run) { /* --eval COMMAND flags..., --eval=COMMAND flags... */
        o->eval = true;
        bool joined = argv[end][6] == '=';
        if (!joined && end + 1 >= argc) return usage_error("--eval takes the name of a command");
        if (joined) argv[end] += 7;
        o->command = argv + end + !joined;
        o->n_command = argc - end - !joined;
    } else if (end < argc) {
        o->command = argv + end;
        o->n_command = argc - end;
    }
    for (int i = 1; i < end && strcmp(argv[i], "--") != 0; i++)
        if (check_flag_name(argv[i]) != OK) return WRONG;
    if (o->run) {
        argv++;
        end--;
    }
    argv[0] = "nnc"; /* getopt's messages begin with it */
    for (int flag; (flag = getopt_long(end, argv, "D:o:g", flags, NULL)) != -1;) {
        int status = read_flag(a, o, flag, optarg);
        if (status >= 0) return status == OK ? -2 : status; /* -2: done, nothing to compile */
    }
    if (o->passes.stop_after && !*o->passes.stop_after)
        return usage_error("--stop-after takes the name of a pass; --list-passes lists them");
    if (o->passes.stop_after && strchr(o->passes.stop_after, ','))
        return usage_error("--stop-after takes one pass, not `%s`", o->passes.stop_after);
    if (check_passes("print-after", o->passes.print_after) != OK || check_purpose(o) != OK) return WRONG;
    if (o->out && !*o->out) return usage_error("-o takes the name of a file");
    if (optind >= end) {
        print_help(stderr);
        return WRONG;
    }
    o->file = argv[optind++];
    if (optind < end) {
        if (o->eval || o->run) return usage_error("one program at a time: `%s` and `%s`", o->file, argv[optind]);
        return usage_error("one program at a time: `%s` and `%s`; the flags of a command stand behind --eval COMMAND", o->file,
                           argv[optind]);
    }
    return OK;
}

/* ---- files ---- */

static bool read_file(Arena *a, const char *file, const char **text, size_t *size) {
    FILE *in = fopen(file, "rb");
    if (!in) {
        usage_error("%s: %s", file, strerror(errno));
        return false;
    }
    struct stat st;
    if (fstat(fileno(in), &st) == 0 && S_ISDIR(st.st_mode)) {
        usage_error("%s: this is a folder, not a program", file);
        fclose(in);
        return false;
    }
    Text t = {0};
    char chunk[1 << 16];
    size_t n, limit = (size_t)64 << 20; /* far above what the front end takes: that says so in its own words */
    while ((n = fread(chunk, 1, sizeof chunk, in)) > 0 && t.n < limit) {
        while (t.cap - t.n < n + 1) {
            size_t cap = t.cap ? t.cap * 2 : sizeof chunk * 2;
            char *at = arena_alloc(a, cap);
            if (t.n) memcpy(at, t.at, t.n);
            t.at = at;
            t.cap = cap;
        }
        memcpy(t.at + t.n, chunk, n);
        t.n += n;
    }
    bool ok = !ferror(in);
    if (!ok) usage_error("%s: %s", file, strerror(errno));
    fclose(in);
    *text = t.n ? t.at : "";
    *size = t.n;
    return ok;
}

/* To a file, or to standard output. */
static int write_text(Compilation *c, const char *out, const char *text) {
    if (!out) {
        return fputs(text, stdout) < 0 || fflush(stdout) ? usage_error("standard output: cannot be written: %s", strerror(errno))
                                                         : OK;
    }
    int why = backend_write(c->arena, out, text, strlen(text));
    return why ? usage_error("%s: cannot be written: %s", out, strerror(why)) : OK;
}

static bool has_suffix(const char *s, const char *suffix) {
    size_t n = strlen(s), m = strlen(suffix);
    return n > m && strcmp(s + n - m, suffix) == 0;
}

static const char *default_out(Compilation *c) {
    const char *file = c->options->file, *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;
    const char *dot = strrchr(base, '.');
    const char *stem = intern_n(base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
    if (c->options->emit && strcmp(c->options->emit, "obj") == 0)
        return plain_name(c->arena, arena_printf(c->arena, "%s.o", stem));
    return plain_name(c->arena, strcmp(stem, base) == 0 ? arena_printf(c->arena, "%s.out", stem) : stem);
}

/* Absolute folder of the source: where the finished program looks for data last. */
static const char *source_folder(Compilation *c) {
    char *real = realpath(c->program.graph && c->program.graph->source ? c->program.graph->source : c->options->file, NULL);
    if (!real) real = realpath(c->options->file, NULL);
    if (!real) return ".";
    char *slash = strrchr(real, '/');
    const char *folder = slash == real ? "/" : arena_strndup(c->arena, real, (size_t)(slash - real));
    free(real);
    return folder;
}

/* ---- the stages ---- */

static bool wants(const Compilation *c, const char *stage) { return c->options->emit && strcmp(c->options->emit, stage) == 0; }

/* What the front end is told; a printed text keeps it. NULL: nothing. */
static const char *front_flags(Arena *a, const Options *o) {
    Text t = {0};
    for (size_t i = 0; i < o->defines.n; i++)
        text_printf(a, &t, "%s-D %s=%s", i ? " " : "", o->defines.at[i].name, o->defines.at[i].value);
    if (o->max_batch) text_printf(a, &t, "%s--max-batch=%" PRId64, t.n ? " " : "", o->max_batch);
    return t.n ? intern(text_str(a, &t)) : NULL;
}

/* Text to graph (or loops, if that is what the file holds). -1: go on. */
static int read_program(Compilation *c) {
    const Options *o = c->options;
    if (c->form == FORM_GRAPH) {
        c->program.graph = graph_parse(c->arena, c->diag, o->file, c->text, c->size, &c->program.stage);
        return c->program.graph ? -1 : WRONG;
    }
    if (c->form == FORM_LOOPS) {
        c->program.loops = loops_parse(c->arena, c->diag, o->file, c->text, c->size, &c->program.loops_stage);
        if (!c->program.loops) return WRONG;
        if (o->max_mem && c->program.loops_stage == LOOPS_PLANNED)
            return usage_error("--max-mem: in %s every buffer has its place already", o->file);
        c->program.graph = c->program.loops->module;
        return -1;
    }
    Ast *tree = parse_source(c->arena, c->diag, o->file, c->text, c->size);
    if (wants(c, "ast")) {
        if (diag_errors(c->diag)) return WRONG;
        char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);
        if (out) ast_print(tree, out);
        if (!out || fclose(out) != 0) return usage_error("out of memory");
        int status = write_text(c, o->out, text);
        free(text);
        return status;
    }
    ElaborateOptions e = {o->defines.at, o->defines.n, o->max_batch, hash_bytes(c->text, c->size, 0)};
    c->program.graph = elaborate(c->arena, c->diag, tree, &e);
    c->program.stage = STAGE_FRONT;
    if (c->program.graph) c->program.graph->flags = front_flags(c->arena, o);
    return c->program.graph && !diag_errors(c->diag) ? -1 : WRONG;
}

static bool choose_target(Compilation *c) {
    const Options *o = c->options;
    c->target = backend_target(c->arena, c->diag, o->target, o->cpu, o->no_fma);
    if (!c->target) return false;
    c->machine = (Machine){c->target->vector_bytes, c->target->vector_registers, c->target->masked, c->target->l1, c->target->l2};
    return true;
}

static bool known_function(Compilation *c) {
    const char *only = c->options->only;
    if (!only || func_by_name(c->program.graph, only)) return true;
    size_t n = c->program.graph->funcs.n;
    const char **names = arena_make_n(c->arena, const char *, n + 1);
    for (size_t i = 0; i < n; i++) names[i] = c->program.graph->funcs.at[i]->name;
    const char *near = diag_nearest(only, names, n);
    usage_error("--fn: there is no function `%s`%s%s%s", only, near ? "; did you mean `" : "", near ? near : "",
                near ? "`?" : "");
    return false;
}

static bool run_passes(Compilation *c, const char *stop_after) {
    PassCtx ctx = {.arena = c->arena,
                   .diag = c->diag,
                   .machine = &c->machine,
                   .max_mem = c->options->max_mem,
                   .verify = c->options->passes.verify};
    PipelineOptions o = c->options->passes;
    if (!known_function(c)) return false;
    o.only = c->options->only;
    if (stop_after && !o.stop_after && !o.passes) o.stop_after = stop_after;
    PassCheck check = {.arena = c->arena};
    if (c->options->verify_passes) {
        o.check = pass_check;
        o.check_arg = &check;
    }
    bool good = pipeline_run(&ctx, &c->program, &o);
    pass_check_end(&check);
    return good;
}

static int emit_text(Compilation *c) {
    const Options *o = c->options;
    if (!known_function(c)) return WRONG;
    const Func *only = o->only ? func_by_name(c->program.graph, o->only) : NULL;
    Text t = {0};
    if (wants(c, "dot")) {
        if (!only && c->program.graph->funcs.n == 0) return usage_error("--emit=dot: the program has no function");
        for (size_t i = 0; i < c->program.graph->funcs.n; i++)
            if (!only || only == c->program.graph->funcs.at[i]) graph_print_dot(c->program.graph->funcs.at[i], &t, c->arena);
    } else if (c->program.loops) {
        loops_print(c->program.loops, c->program.loops_stage, only, &t, c->arena);
    } else {
        graph_print(c->program.graph, c->program.stage, only, &t, c->arena);
    }
    return write_text(c, o->out, text_str(c->arena, &t));
}

/* The flags without which it would be another program; the CPU has its place in the line before. */
static const char *flags_text(Compilation *c) {
    const Options *o = c->options;
    Text t = {0};
    if (c->program.graph->flags) text_printf(c->arena, &t, " %s", c->program.graph->flags);
    if (o->max_mem) text_printf(c->arena, &t, " --max-mem=%" PRId64, o->max_mem);
    if (o->passes.passes) text_printf(c->arena, &t, " --passes=%s", o->passes.passes);
    if (o->no_fma) text_add(c->arena, &t, " --no-fma");
    if (o->debug_lines) text_add(c->arena, &t, " -g");
    if (o->static_link) text_add(c->arena, &t, " --static");
    return text_str(c->arena, &t);
}

static const char *version_text(Compilation *c) {
    Text t = {0};
    text_printf(c->arena, &t, "%s, hash %016" PRIx64 "\ncompiled by nnc " VERSION " for %s",
                c->program.graph->source ? c->program.graph->source : c->options->file, c->program.graph->hash,
                c->target ? c->target->shown : "the evaluator");
    const char *made_with = flags_text(c);
    if (*made_with) text_printf(c->arena, &t, "\nflags:%s", made_with);
    text_add(c->arena, &t, "\n");
    return text_str(c->arena, &t);
}

static ProgramTexts program_texts(Compilation *c) {
    ProgramTexts texts = {
        .version = version_text(c), .summary = summary_report(c->arena, c->program.graph), .source_dir = source_folder(c)};
    if (c->program.loops) {
        Text plan = {0};
        plan_report(c->program.loops, &plan, c->arena);
        texts.plan = text_str(c->arena, &plan);
        texts.cpu = c->target->shown;
        texts.needs = c->target->needs;
    }
    return texts;
}

/* The passes asked for need not hold autodiff; the evaluator knows no gradients. */
static bool gradients_expanded(Compilation *c) {
    bool found = module_has(c->program.graph, OP_grad);
    if (found) usage_error("after these passes there are gradients in the program still; autodiff makes ops of them");
    return !found;
}

/* The command on the reference evaluator: the same runtime walks the same tree, only the steps are not compiled. */
static int evaluate(Compilation *c) {
    if (c->program.loops) return usage_error("--eval: %s holds loops; the evaluator runs graphs", c->options->file);
    if (!run_passes(c, "fuse") || !gradients_expanded(c)) return WRONG;
    if (c->options->eval_type == EVAL_F64) /* other bits: only in f32 are checkpoints those of the compiled program */
        c->program.graph->hash = hash_bytes("f64", 3, c->program.graph->hash);
    ProgramTexts texts = program_texts(c);
    struct nn_program *program = program_make(c->arena, c->program.graph, NULL, &texts);
    evaluate_steps(c->arena, c->program.graph, program, c->options->eval_type);
    diag_print(c->diag, stderr);
    char **argv = arena_make_n(c->arena, char *, (size_t)c->options->n_command + 2);
    argv[0] = arena_printf(c->arena, "%s", c->options->file);
    for (int i = 0; i < c->options->n_command; i++) argv[i + 1] = c->options->command[i];
    return nn_main(program, c->options->n_command + 1, argv);
}

/* ---- nnc --gradcheck ---- */

typedef struct Worst { /* the comparison of one gradient with the largest error */
    GradReport report;
    bool any;
} Worst;

static void print_worst(Worst *w) {
    if (!w->any) return;
    const GradReport *r = &w->report;
    printf("%s:%d: %s: gradient %.9g, central difference %.9g, error %.2g of at most %.2g%s\n", r->loc.file ? r->loc.file : "?",
           r->loc.line, r->x, r->gradient, r->difference, r->error, r->bound,
           r->ok     ? ""
           : r->kink ? "  (a kink of the loss)"
                     : "  WRONG");
    w->any = false;
}

static void note_worst(const GradReport *r, void *arg) {
    Worst *w = arg;
    bool same = w->any && w->report.func == r->func && w->report.loc.line == r->loc.line && w->report.x == r->x &&
                w->report.index == r->index;
    if (!same) print_worst(w);
    bool wrong = !r->ok && !r->kink, was_wrong = !w->report.ok && !w->report.kink;
    bool worse = wrong == was_wrong && r->kink == w->report.kink && r->error > w->report.error;
    if (!same || (wrong && !was_wrong) || (r->ok && w->report.kink) || worse) w->report = *r;
    w->any = true;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at) {
    (void)st, (void)type, (void)at;
    return remove(path);
}

/* Runs a command for one batch and one turn, its files in a folder that goes again. */
static int check_command(Compilation *c, const struct nn_program *program, int n, char *const *words) {
    const char *temp = getenv("TMPDIR");
    char *folder = arena_printf(c->arena, "%s/nnc-gradcheck-XXXXXX", temp && *temp ? temp : "/tmp");
    if (!mkdtemp(folder)) return usage_error("%s: %s", folder, strerror(errno));
    char **argv = arena_make_n(c->arena, char *, (size_t)n + 6);
    int k = 0;
    argv[k++] = arena_printf(c->arena, "%s", c->options->file);
    for (int i = 0; i < n; i++) argv[k++] = words[i];
    argv[k++] = "--batches=1";
    argv[k++] = "--turns=1";
    argv[k++] = "--progress=none";
    argv[k++] = arena_printf(c->arena, "--out=%s", folder);
    int status = nn_main(program, k, argv);
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return status;
}

static bool asks_for_gradients(const GradCheck *check, Node *const *body, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (body[i]->kind == NODE_CALL && gradcheck_count(check, body[i]->func)) return true;
        if (asks_for_gradients(check, body[i]->body.at, body[i]->body.n)) return true;
    }
    return false;
}

/* Every command that asks for gradients; those that need a file, of an input or of weights, are the user's to ask for by --eval. */
static int check_commands(Compilation *c, const struct nn_program *program, const GradCheck *check) {
    for (size_t i = 0; i < c->program.graph->commands.n; i++) {
        const Command *command = c->program.graph->commands.at[i];
        if (!asks_for_gradients(check, command->body.at, command->body.n)) continue;
        if (command->inputs.n || (command->weights.n && !command->learns)) {
            printf("%s needs %s: nnc --gradcheck %s --eval %s %s\n", command->name, command->inputs.n ? "inputs" : "weights",
                   c->options->file, command->name, command->inputs.n ? "--INPUT=FILE" : "--weights=FILE");
            continue;
        }
        char *word = arena_printf(c->arena, "%s", command->name);
        int status = check_command(c, program, 1, &word);
        if (status != OK) return status;
    }
    return OK;
}

/* The command given, or all that can run as they are. */
static int check_gradients(Compilation *c) {
    if (c->program.loops) return usage_error("--gradcheck: %s holds loops; gradients belong to graphs", c->options->file);
    if (c->program.stage != STAGE_FRONT)
        return usage_error("--gradcheck: in %s the gradients are expanded already", c->options->file);
    GradCheck *check = gradcheck_begin(c->arena, c->program.graph);
    Options plain = *c->options; /* simplify would make one value of what stop_gradient holds back and what moves */
    const Options *given = c->options;
    if (!plain.passes.passes) plain.passes.passes = "infer,autodiff";
    c->options = &plain;
    bool expanded = run_passes(c, NULL);
    c->options = given;
    if (!expanded || !gradients_expanded(c)) return WRONG;
    ProgramTexts texts = program_texts(c);
    struct nn_program *program = program_make(c->arena, c->program.graph, NULL, &texts);
    Worst worst = {0};
    GradOptions options = {.seed = 1, .report = note_worst, .arg = &worst};
    GradSummary sum = {0};
    evaluate_steps_checked(c->arena, c->program.graph, program, check, &options, &sum);
    int status = c->options->eval ? check_command(c, program, c->options->n_command, c->options->command)
                                  : check_commands(c, program, check);
    print_worst(&worst);
    printf("%d comparisons, %d beyond their bounds, %d of gradients that are not 0\n", sum.compared, sum.failed, sum.nonzero);
    if (sum.kinks) printf("%d at a kink or jump of the loss, where there is no derivative\n", sum.kinks);
    int turns = gradcheck_turns(check), skipped = gradcheck_skipped(check);
    if (turns) printf("%d gradient%s inside loops: of the first turn\n", turns, turns == 1 ? "" : "s");
    if (skipped)
        printf("%d gradient%s inside loops %s not compared\n", skipped, skipped == 1 ? "" : "s", skipped == 1 ? "was" : "were");
    return status != OK ? status : sum.failed ? WRONG : OK;
}

/* Code for another machine can be made; its linker, libraries and runtime archive are not here. */
static bool linked_here(const Options *o) {
    struct utsname here;
    if (!o->target || uname(&here) != 0 || strncmp(o->target, here.machine, strlen(here.machine)) == 0) return true;
    usage_error("--target=%s: programs are linked for this machine, %s; --emit=obj makes the object for the other", o->target,
                here.machine);
    return false;
}

static int build_program(Compilation *c, const char *out, EmitKind kind) {
    if (kind == EMIT_EXECUTABLE && !linked_here(c->options)) return WRONG;
    if (!run_passes(c, NULL)) return WRONG;
    if (!c->program.loops || c->program.loops_stage != LOOPS_PLANNED)
        return usage_error("after these passes the program is not at the last stage; --emit=graph or --emit=loops prints it");
    if (!known_function(c)) return WRONG;
    if (c->options->no_fma)
        c->program.graph->hash = hash_bytes("no fma", 6, c->program.graph->hash); /* other bits: no checkpoint fits both */
    ProgramTexts texts = program_texts(c);
    struct nn_program *program = program_make(c->arena, c->program.graph, c->program.loops, &texts);
    BackendOptions o = {.target = c->target,
                        .kind = kind,
                        .out = out,
                        .only = kind == EMIT_EXECUTABLE ? NULL : c->options->only,
                        .debug_lines = c->options->debug_lines,
                        .static_link = c->options->static_link,
                        .keep_temps = c->options->keep_temps,
                        .verify = c->options->passes.verify,
                        .max_code = c->options->max_code,
                        .time = c->options->time_passes};
    return backend_compile(c->arena, c->diag, c->program.loops, program, &o) ? OK : WRONG;
}

/* ---- nnc run ---- */

static bool make_folders(char *path) {
    for (char *s = path + 1; *s; s++) {
        if (*s != '/') continue;
        *s = 0;
        bool ok = mkdir(path, 0700) == 0 || errno == EEXIST;
        *s = '/';
        if (!ok) return false;
    }
    return true;
}

/* Where the compiled program is kept: by the text, the options that it depends on, the CPU and this very nnc. */
static const char *cache_name(Compilation *c) {
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const char *folder = base && base[0] == '/'   ? arena_printf(c->arena, "%s/nnc", base)
                         : home && home[0] == '/' ? arena_printf(c->arena, "%s/.cache/nnc", home)
                                                  : arena_printf(c->arena, "/tmp/nnc-%ld", (long)getuid());
    uint64_t h = hash_bytes(c->text, c->size, 1);
    for (size_t i = 0; i < c->options->defines.n; i++) {
        h = hash_bytes(c->options->defines.at[i].name, strlen(c->options->defines.at[i].name), h);
        h = hash_bytes(c->options->defines.at[i].value, strlen(c->options->defines.at[i].value), h);
    }
    const char *where = source_folder(c), *name = c->options->file; /* (messages of the program name its file) */
    h = hash_bytes(name, strlen(name), hash_bytes(where, strlen(where), h));
    h = hash_bytes(c->target->shown, strlen(c->target->shown), h);
    const Options *o = c->options;
    const char *passes = o->passes.passes ? o->passes.passes : "", *stop = o->passes.stop_after ? o->passes.stop_after : "";
    const int64_t more[] = {o->max_batch, o->max_mem, o->debug_lines, o->static_link};
    h = hash_bytes(more, sizeof more, hash_bytes(stop, strlen(stop), hash_bytes(passes, strlen(passes), h)));
    struct stat self;
    if (stat("/proc/self/exe", &self) == 0) h = hash_bytes(&self.st_mtim, sizeof self.st_mtim, h ^ (uint64_t)self.st_size);
    char *program = arena_printf(c->arena, "%s/%016" PRIx64, folder, h);
    if (!make_folders(program) || stat(folder, &self) != 0) return NULL;
    errno = EPERM;
    return self.st_uid == getuid() ? program : NULL; /* nobody else's programs are run */
}

static int run_cached(Compilation *c) {
    const char *program = cache_name(c);
    if (!program) return usage_error("no folder of yours to keep the compiled program in: %s", strerror(errno));
    const PipelineOptions *p = &c->options->passes; /* what shows the compiling wants it done again */
    bool shown = p->print_after || p->print_after_all || p->print_changed || p->time_passes || c->options->verify_passes;
    if (shown || access(program, X_OK) != 0) {
        int status = build_program(c, program, EMIT_EXECUTABLE);
        if (status != OK) return status;
        diag_print(c->diag, stderr);
    }
    char **argv = arena_make_n(c->arena, char *, (size_t)c->options->n_command + 2);
    argv[0] = arena_printf(c->arena, "%s", default_out(c)); /* what its messages and its help call it */
    for (int i = 0; i < c->options->n_command; i++) argv[i + 1] = c->options->command[i];
    fflush(NULL);
    execv(program, argv);
    return usage_error("%s: %s", program, strerror(errno));
}

/* ---- the whole way ---- */

/* Nobody means to write over the program itself. */
static bool same_file(const char *a, const char *b) {
    struct stat s, t;
    return stat(a, &s) == 0 && stat(b, &t) == 0 && s.st_dev == t.st_dev && s.st_ino == t.st_ino;
}

static int compile(Compilation *c) {
    const Options *o = c->options;
    if (o->out && same_file(o->out, o->file)) return usage_error("-o %s would write over the program itself", o->out);
    int status = read_program(c);
    if (status >= 0) return status;
    if (!choose_target(c)) return WRONG;
    bool listed = o->passes.passes || o->passes.stop_after;
    if (o->gradcheck) return check_gradients(c);
    if (o->eval) return evaluate(c);
    if (o->run) return run_cached(c);
    if (o->summary) return write_text(c, o->out, summary_report(c->arena, c->program.graph));
    if (wants(c, "graph") || wants(c, "dot")) {
        const PipelineOptions *p = &o->passes;
        const char *idle = p->print_after       ? "--print-after"
                           : p->print_after_all ? "--print-after-all"
                           : p->print_changed   ? "--print-changed"
                                                : NULL;
        if (idle && !listed)
            return usage_error(
                "%s: --emit=%s is the program before any pass; --stop-after=PASS or --passes=A,B says which are run", idle,
                o->emit);
        if (listed && !run_passes(c, NULL)) return WRONG;
        if (c->program.loops)
            return usage_error("--emit=%s: behind these passes the program is loops, which --emit=loops prints", o->emit);
        return emit_text(c);
    }
    if (wants(c, "loops")) {
        if (!run_passes(c, NULL)) return WRONG;
        if (!c->program.loops) return usage_error("--emit=loops: these passes make no loops; --emit=graph prints the graph");
        return emit_text(c);
    }
    if (o->plan) {
        if (!run_passes(c, NULL)) return WRONG;
        if (!c->program.loops) return usage_error("--plan: these passes make no loops");
        Text t = {0};
        if (!known_function(c)) return WRONG;
        if (o->only)
            plan_report_function(c->program.loops, func_by_name(c->program.graph, o->only), &t, c->arena);
        else
            plan_report(c->program.loops, &t, c->arena);
        return write_text(c, o->out, text_str(c->arena, &t));
    }
    if (listed && !o->emit) {
        if (!run_passes(c, NULL)) return WRONG;
        if (!o->passes.stop_after && c->program.loops && c->program.loops_stage == LOOPS_PLANNED)
            return build_program(c, o->out ? o->out : default_out(c), EMIT_EXECUTABLE);
        return emit_text(c);
    }
    if (wants(c, "llvm")) return build_program(c, o->out, EMIT_LLVM);
    if (wants(c, "asm")) return build_program(c, o->out, EMIT_ASM);
    if (wants(c, "obj")) return build_program(c, o->out ? o->out : default_out(c), EMIT_OBJECT);
    return build_program(c, o->out ? o->out : default_out(c), EMIT_EXECUTABLE);
}

static int format_program(Arena *a, int argc, char **argv) {
    const char *file = NULL, *out = NULL;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) return print_help(stdout), OK;
        if (strcmp(argv[i], "--version") == 0) return puts("nnc " VERSION), OK;
        if (strcmp(argv[i], "-o") == 0 && i + 1 < argc)
            out = argv[++i];
        else if (argv[i][0] == '-' || file)
            return usage_error("fmt takes one file and -o FILE, not `%s`", argv[i]);
        else
            file = argv[i];
    }
    if (!file) return usage_error("fmt takes a file");
    Compilation c = {.arena = a, .diag = diag_new(a)};
    if (!read_file(a, file, &c.text, &c.size)) return WRONG;
    const char *text = format_source(a, c.diag, file, c.text, c.size);
    diag_print(c.diag, stderr);
    return text ? write_text(&c, out, text) : WRONG;
}

static int run_nnc(Arena *a, int argc, char **argv) {
    Options o = {0};
    if (argc > 1 && strcmp(argv[1], "fmt") == 0) return format_program(a, argc, argv);
    if (argc > 1 && strcmp(argv[1], "tune") == 0)
        return usage_error("tune is not there yet: build once a value of a const (-D), run once a value of an option");
    int status = read_command_line(a, argc, argv, &o);
    if (status == -2) return OK;
    if (status != OK) return status;

    Compilation c = {.arena = a, .diag = diag_new(a), .options = &o};
    c.form = has_suffix(o.file, ".graph") ? FORM_GRAPH : has_suffix(o.file, ".loops") ? FORM_LOOPS : FORM_SOURCE;
    if (c.form != FORM_SOURCE && o.defines.n)
        return usage_error("-D %s: a const is fixed in the program; %s comes after it", o.defines.at[0].name, o.file);
    if (c.form != FORM_SOURCE && o.max_batch)
        return usage_error("--max-batch: the bound is fixed in the program; %s comes after it", o.file);
    if (c.form != FORM_SOURCE && o.emit && strcmp(o.emit, "ast") == 0)
        return usage_error("--emit=ast: %s is no program's text", o.file);
    if (!read_file(a, o.file, &c.text, &c.size)) return WRONG;
    status = compile(&c);
    if (!o.eval)
        diag_print(c.diag, stderr);
    else if (diag_errors(c.diag))
        diag_print(c.diag, stderr);
    return status;
}

int main(int argc, char **argv) {
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a failure of the write, here and in the linker */
    Arena *a = arena_new();
    int status = run_nnc(a, argc, argv);
    bool failed = ferror(stdout) != 0; /* of a text too long for stdio's buffer flush alone does not tell */
    failed = fflush(stdout) != 0 || failed;
    if (failed && status == OK) status = usage_error("standard output: cannot be written");
    arena_free(a);
    return status;
}
