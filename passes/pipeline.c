/*
 * pipeline.c - the table of contents: every pass, in the order in which they run.
 */
#include "pipeline.h"

#include <string.h>
#include <time.h>

typedef enum Kind { ON_GRAPH, TO_LOOPS, ON_LOOPS } Kind;

typedef struct Pass {
    const char *name;
    Kind kind;
    int from, last,
        to; /* graph passes: Stage; loops passes: LoopsStage. Takes from..last (inclusive); gives max(what it got, to) */
    bool (*graph)(PassCtx *c, Module *m);
    LoopsProgram *(*lower)(PassCtx *c, Module *m);
    bool (*loops)(PassCtx *c, LoopsProgram *p);
    const char *doc;
} Pass;

#define GRAPH(name, from, last, to, doc) {#name, ON_GRAPH, from, last, to, pass_##name, NULL, NULL, doc}
#define LOWER(name, from, last, to, doc) {#name, TO_LOOPS, from, last, to, NULL, pass_##name, NULL, doc}
#define LOOPS(name, from, last, to, doc) {#name, ON_LOOPS, from, last, to, NULL, NULL, pass_##name, doc}

/* simplify stands before autodiff, so that less is kept for the way back, and after it, because rules leave plain arithmetic and
 * shapes behind. join stands before autodiff, so that the gradients of what it joins are joined. hoist wants the sums over a
 * scan's turns as autodiff leaves them, and unroll what hoist leaves inside; both leave work for simplify. fuse sees the graph
 * once, as it is compiled. tile comes before vectorize and parallelize, which mark the loops that it made. */
static const Pass table[] = {
    GRAPH(infer, STAGE_FRONT, STAGE_EXPANDED, STAGE_FRONT, "types and shapes of every op, by its rule"),
    GRAPH(simplify, STAGE_FRONT, STAGE_EXPANDED, STAGE_FRONT, "constants, algebra, shared and dead ops, chains of shape ops"),
    GRAPH(join, STAGE_FRONT, STAGE_FRONT, STAGE_FRONT, "in loops, products of one value with several weights become one"),
    GRAPH(autodiff, STAGE_FRONT, STAGE_FRONT, STAGE_EXPANDED, "every grad becomes the ops that compute it"),
    GRAPH(simplify, STAGE_FRONT, STAGE_EXPANDED, STAGE_FRONT, "(again)"),
    GRAPH(hoist, STAGE_EXPANDED, STAGE_EXPANDED, STAGE_EXPANDED, "products leave scans that do not need them turn by turn"),
    GRAPH(undilate, STAGE_EXPANDED, STAGE_EXPANDED, STAGE_EXPANDED, "convolutions of dilated inputs are done without the zeros"),
    GRAPH(unroll, STAGE_EXPANDED, STAGE_EXPANDED, STAGE_EXPANDED, "short scans are written out"),
    GRAPH(simplify, STAGE_FRONT, STAGE_EXPANDED, STAGE_FRONT, "(again)"),
    GRAPH(fuse, STAGE_EXPANDED, STAGE_EXPANDED, STAGE_FUSED, "ops are grouped into kernels"),
    LOWER(lower, STAGE_FUSED, STAGE_FUSED, LOOPS_LOWERED, "kernels become loop nests over buffers"),
    LOOPS(halo, LOOPS_LOWERED, LOOPS_LOWERED, LOOPS_LOWERED, "maps that convolutions read get a border of zeros"),
    LOOPS(collapse, LOOPS_LOWERED, LOOPS_LOWERED, LOOPS_LOWERED, "sums over axes that lie in memory as one run over one"),
    LOOPS(tile, LOOPS_LOWERED, LOOPS_LOWERED, LOOPS_TILED, "nests are blocked for registers and caches"),
    LOOPS(vectorize, LOOPS_TILED, LOOPS_TILED, LOOPS_TILED, "innermost loops along memory become vectors"),
    LOOPS(parallelize, LOOPS_TILED, LOOPS_TILED, LOOPS_MARKED, "outer loops are shared out to threads"),
    LOOPS(plan, LOOPS_MARKED, LOOPS_MARKED, LOOPS_PLANNED, "every buffer gets its place in one arena"),
    LOOPS(barriers, LOOPS_PLANNED, LOOPS_PLANNED, LOOPS_PLANNED, "threads wait where data cross between them, and nowhere else"),
};
enum { N_PASSES = sizeof table / sizeof *table };

/* ---- the table for people ---- */

static const char *stage_name(const Pass *p, int stage) {
    static const char *const graph[] = {[STAGE_FRONT] = "front", [STAGE_EXPANDED] = "expanded", [STAGE_FUSED] = "fused"};
    static const char *const loops[] = {
        [LOOPS_LOWERED] = "lowered", [LOOPS_TILED] = "tiled", [LOOPS_MARKED] = "marked", [LOOPS_PLANNED] = "planned"};
    return p->kind == ON_LOOPS ? loops[stage] : graph[stage];
}

void pipeline_list(FILE *out) {
    for (int i = 0; i < N_PASSES; i++) {
        const Pass *p = &table[i];
        char takes[64];
        snprintf(takes, sizeof takes, "%s%s%s", stage_name(p, p->from), p->from == p->last ? "" : " or ",
                 p->from == p->last ? "" : stage_name(p, p->last));
        fprintf(out, "%-12s %-6s %-18s %s\n", p->name,
                p->kind == ON_GRAPH   ? "graph"
                : p->kind == ON_LOOPS ? "loops"
                                      : "graph>",
                takes, p->doc);
    }
}

size_t pipeline_names(const char *const **names) {
    static const char *at[N_PASSES];
    size_t n = 0;
    for (int i = 0; i < N_PASSES; i++) {
        bool again = false;
        for (size_t k = 0; k < n; k++) again |= strcmp(at[k], table[i].name) == 0;
        if (!again) at[n++] = table[i].name;
    }
    *names = at;
    return n;
}

/* Is name one of the words of a list "a,b,c"? */
static bool listed(const char *list, const char *name) {
    size_t n = strlen(name);
    for (const char *s = list; s && *s;) {
        size_t m = strcspn(s, ",");
        if (m == n && memcmp(s, name, n) == 0) return true;
        s += m + (s[m] == ',');
    }
    return false;
}

static const Pass *pass_by_name(const char *name) {
    for (int i = 0; i < N_PASSES; i++)
        if (strcmp(table[i].name, name) == 0) return &table[i];
    return NULL;
}

/* ---- a run ---- */

typedef struct Run {
    PassCtx *c;
    Program *p;
    const PipelineOptions *o;
    FILE *out;
    const char *text; /* as it was printed last, for print_changed */
    bool ran[N_PASSES];
    double total;
} Run;

/* only: NULL, or the name of a function. */
static const char *program_text(Arena *a, const Program *p, const char *only) {
    Text t = {0};
    const Func *f = only ? func_by_name(p->graph, only) : NULL;
    if (p->loops)
        loops_print(p->loops, p->loops_stage, f, &t, a);
    else
        graph_print(p->graph, p->stage, f, &t, a);
    return text_str(a, &t);
}

/* Print, parse, print must give the same bytes. */
static void check_round_trip(Run *r, const char *pass) {
    Arena *a = arena_new();
    Diag *d = diag_new(a);
    const char *text = program_text(a, r->p, NULL);
    Program back = {0};
    if (r->p->loops)
        back.loops = loops_parse(a, d, "printed", text, strlen(text), &back.loops_stage);
    else
        back.graph = graph_parse(a, d, "printed", text, strlen(text), &back.stage);
    if (!back.graph && !back.loops) {
        diag_print(d, stderr);
        bug("what was printed after `%s` cannot be read back", pass);
    }
    const char *again = program_text(a, &back, NULL);
    if (strcmp(text, again) != 0) {
        Text t = {0};
        text_diff(a, text, again, &t);
        bug("what was printed after `%s` reads back as something else:\n%s", pass, text_str(a, &t));
    }
    arena_free(a);
}

static void verify(Run *r, const char *pass) {
    Arena *a = arena_new();
    const char *why = r->p->loops ? loops_verify(a, r->p->loops, r->p->loops_stage) : graph_verify(a, r->p->graph, r->p->stage);
    if (why) bug("after `%s`: %s", pass, why);
    arena_free(a);
    check_round_trip(r, pass);
}

static void show(Run *r, const Pass *pass) {
    const PipelineOptions *o = r->o;
    if (o->print_after_all || listed(o->print_after, pass->name)) {
        Arena *a = arena_new();
        fprintf(r->out, "# after %s\n%s", pass->name, program_text(a, r->p, o->only));
        arena_free(a);
    }
    if (!o->print_changed) return;
    const char *now = program_text(r->c->arena, r->p, o->only);
    Text t = {0};
    if (text_diff(r->c->arena, r->text, now, &t))
        fprintf(r->out, "# %s changed\n%s", pass->name, text_str(r->c->arena, &t));
    else
        fprintf(r->out, "# %s changed nothing\n", pass->name);
    r->text = now;
}

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool applies(const Program *p, const Pass *pass) {
    if (pass->kind == ON_LOOPS) return p->loops && (int)p->loops_stage >= pass->from && (int)p->loops_stage <= pass->last;
    return !p->loops && (int)p->stage >= pass->from && (int)p->stage <= pass->last;
}

/* What has a name has the one that the text prints, so that a program that went through a text has the same in all that follows (the reports, too). */
static void rename_all(Program *p) {
    for (size_t i = 0; !p->loops && i < p->graph->funcs.n; i++) func_rename(p->graph->funcs.at[i]);
    for (size_t i = 0; p->loops && i < p->loops->steps.n; i++) step_rename(p->loops->steps.at[i]);
}

static bool run_pass(Run *r, const Pass *pass) {
    Program *p = r->p;
    double start = seconds();
    bool ok = false;
    r->ran[pass - table] = true;
    switch (pass->kind) {
    case ON_GRAPH:
        ok = pass->graph(r->c, p->graph);
        if (ok && (int)p->stage < pass->to) p->stage = (Stage)pass->to;
        break;
    case TO_LOOPS:
        p->loops = pass->lower(r->c, p->graph);
        p->loops_stage = (LoopsStage)pass->to;
        ok = p->loops != NULL;
        break;
    case ON_LOOPS:
        ok = pass->loops(r->c, p->loops);
        if (ok && (int)p->loops_stage < pass->to) p->loops_stage = (LoopsStage)pass->to;
        break;
    }
    double ms = 1000 * (seconds() - start);
    r->total += ms;
    if (r->o->time_passes) fprintf(r->out, "%10.3f ms  %s\n", ms, pass->name);
    if (!ok) return false;
    rename_all(p);
    show(r, pass);
    if (r->o->verify) verify(r, pass->name);
    const char *why = r->o->check ? r->o->check(r->o->check_arg, p, pass->name) : NULL;
    if (why) bug("`%s` changed a result: %s", pass->name, why);
    return true;
}

/* An unknown name in a list given by the user is an error with a suggestion. */
static bool names_known(PassCtx *c, const char *option, const char *list) {
    bool ok = true;
    for (const char *s = list; s && *s;) {
        size_t n = strcspn(s, ",");
        const char *name = intern_n(s, n);
        if (!pass_by_name(name)) {
            const char *const *names;
            size_t known = pipeline_names(&names);
            const char *near = diag_nearest(name, names, known);
            diag_error(c->diag, (Loc){0}, 901, "%s: there is no pass `%s`%s%s%s", option, name, near ? "; did you mean `" : "",
                       near ? near : "", near ? "`?" : "");
            ok = false;
        }
        s += n + (s[n] == ',');
    }
    return ok;
}

static void wrong_stage(Run *r, const char *option, const Pass *pass) {
    const char *is = r->p->loops ? loops_stage_name(r->p->loops_stage) : stage_name(&table[0], (int)r->p->stage);
    const char *from = stage_name(pass, pass->from), *last = stage_name(pass, pass->last);
    diag_error(r->c->diag, (Loc){0}, 902,
               "%s: the pass `%s` takes %s in the stage %s%s%s, and this program is %s in the stage %s", option, pass->name,
               pass->kind == ON_LOOPS ? "loops" : "a graph", from, strcmp(from, last) ? " or " : "",
               strcmp(from, last) ? last : "", r->p->loops ? "loops" : "a graph", is);
}

/* What is to be printed or to be the end, but never came. */
static bool all_came(Run *r) {
    bool ok = true;
    for (int i = 0; i < N_PASSES; i++) {
        bool ran = false, again = false;
        for (int k = 0; k < N_PASSES; k++) ran |= r->ran[k] && strcmp(table[k].name, table[i].name) == 0;
        for (int k = 0; k < i; k++) again |= strcmp(table[k].name, table[i].name) == 0;
        if (ran || again) continue;
        const char *option = listed(r->o->print_after, table[i].name)                  ? "--print-after"
                             : r->o->passes && listed(r->o->stop_after, table[i].name) ? "--stop-after"
                                                                                       : NULL;
        if (!option) continue;
        diag_error(r->c->diag, (Loc){0}, 902, "%s: the pass `%s` was not run%s", option, table[i].name,
                   r->o->passes       ? ": it is not among --passes"
                   : r->o->stop_after ? ": --stop-after ends before it"
                                      : ": the program is behind it");
        ok = false;
    }
    return ok;
}

static bool run_listed(Run *r) {
    for (const char *s = r->o->passes; *s;) {
        size_t n = strcspn(s, ",");
        const Pass *pass = pass_by_name(intern_n(s, n));
        if (!applies(r->p, pass)) {
            wrong_stage(r, "--passes", pass);
            return false;
        }
        if (!run_pass(r, pass)) return false;
        if (r->o->stop_after && strcmp(r->o->stop_after, pass->name) == 0) break;
        s += n + (s[n] == ',');
    }
    return true;
}

/* Whether the program is as this pass leaves it: a text of that stage, read again. */
static bool behind(const Program *p, const Pass *pass) {
    if (pass->kind == ON_GRAPH) return !p->loops && (int)p->stage == pass->to;
    return p->loops && (int)p->loops_stage == pass->to;
}

/* All passes from the program's stage on. stop_after names the last of several of that name. */
static bool run_all(Run *r) {
    int last = N_PASSES - 1;
    for (int i = 0; r->o->stop_after && i < N_PASSES; i++)
        if (strcmp(table[i].name, r->o->stop_after) == 0) last = i;
    bool came = !r->o->stop_after || behind(r->p, &table[last]);
    for (int i = 0; i <= last; i++) {
        if (!applies(r->p, &table[i])) continue;
        if (!run_pass(r, &table[i])) return false;
        came |= i == last;
    }
    if (!came) wrong_stage(r, "--stop-after", &table[last]);
    return came;
}

bool pipeline_run(PassCtx *c, Program *p, const PipelineOptions *o) {
    Run r = {.c = c, .p = p, .o = o, .out = o->out ? o->out : stderr};
    if (!names_known(c, "--passes", o->passes) | !names_known(c, "--stop-after", o->stop_after) |
        !names_known(c, "--print-after", o->print_after))
        return false;
    rename_all(p);
    if (o->verify) verify(&r, "reading the program");
    if (o->print_changed) r.text = program_text(c->arena, p, o->only);
    if (o->check) o->check(o->check_arg, p, NULL);
    bool ok = (o->passes ? run_listed(&r) : run_all(&r)) && all_came(&r);
    if (o->time_passes) fprintf(r.out, "%10.3f ms  all passes\n", r.total);
    return ok && diag_errors(c->diag) == 0;
}
