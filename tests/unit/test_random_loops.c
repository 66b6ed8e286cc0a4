/*
 * test_random_loops.c - random graphs through the whole compiler: after fuse and lower, and again after each pass over loops, the
 * loops are verified and run by loops_eval, and must give the bits that the evaluator gives for the graph; then the machine's own
 * code must.
 *
 * NNC_SEEDS and NNC_SEED in the environment as in test_random.c.
 */
#include "../random_property.h"
#include "passes/machine.h"
#include "passes/pipeline.h"
#include "run_native.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

/* ---- tensors in slots ---- */

static Buffer *root_of(Buffer *b) {
    while (b->same) b = b->same;
    return b;
}

static bool next_index(int rank, const int64_t *dim, int64_t *index) {
    for (int i = rank - 1; i >= 0; i--) {
        if (++index[i] < dim[i]) return true;
        index[i] = 0;
    }
    return false;
}

/* Copies between a tensor and a buffer's memory, by the buffer's strides. */
static void move_elements(const Buffer *b, Tensor *x, char *memory, bool out_of_memory) {
    int64_t index[MAX_RANK] = {0}, size = elem_size(b->elem);
    for (int64_t i = 0; i < x->count; i++) {
        int64_t at = 0;
        for (int k = 0; k < b->rank; k++) at += index[k] * b->stride[k];
        if (out_of_memory)
            memcpy((char *)x->data + i * size, memory + at * size, (size_t)size);
        else
            memcpy(memory + at * size, (char *)x->data + i * size, (size_t)size);
        next_index(x->rank, x->dim, index);
    }
}

/* Memory of all slots of the step; inputs are filled in. By buffer id; NULL for the rest. */
static void **slot_memory(Arena *a, const Step *s, const Func *f, Tensor *const *in) {
    void **memory = arena_make_n(a, void *, s->buffers.n + 1);
    for (size_t i = 0; i < s->buffers.n; i++) {
        Buffer *b = s->buffers.at[i];
        if ((b->place != PLACE_SLOT && b->place != PLACE_FIELD) || b->same) continue;
        for (size_t k = 0; k < i; k++)
            if (s->buffers.at[k]->slot == b->slot && memory[k]) memory[i] = memory[k];
        if (memory[i]) continue;
        memory[i] = arena_alloc(a, (size_t)b->bytes + 256);
        for (size_t k = 0; k < f->in_slots.n; k++)
            if (f->in_slots.at[k]->name == b->slot->name) move_elements(b, in[k], memory[i], false);
    }
    for (size_t i = 0; i < s->buffers.n; i++)
        if (s->buffers.at[i]->same) memory[i] = memory[root_of(s->buffers.at[i])->id];
    return memory;
}

/* Result i has the old value of its own slot: nothing is to be done for it. */
static bool keeps_slot(const Func *f, size_t i, Tensor *const *in, const Tensor *out) {
    int64_t at;
    for (size_t k = 0; k < f->in_slots.n; k++)
        if (f->in_slots.at[k] == f->out_slots.at[i]) return tensor_same(in[k], out, &at);
    return false;
}

/* The results of the evaluator against what stands in the slots. */
static const char *compare_slots(Arena *a, const Step *s, const Func *f, void *const *memory, Tensor *const *in,
                                 Tensor *const *out, int64_t B) {
    for (size_t i = 0; i < f->out_slots.n; i++) {
        const Buffer *b = NULL;
        for (size_t k = 0; k < s->buffers.n; k++)
            if (s->buffers.at[k]->slot && !s->buffers.at[k]->same && s->buffers.at[k]->slot->name == f->out_slots.at[i]->name &&
                memory[k])
                b = s->buffers.at[k];
        if (!b && keeps_slot(f, i, in, out[i])) continue;
        if (!b) return arena_printf(a, "no buffer stands for %%%s", f->out_slots.at[i]->name);
        Tensor *got = tensor_new(EVAL_F32, f->out_slots.at[i]->type, B);
        move_elements(b, got, memory[b->id], true);
        int64_t at;
        bool same = tensor_same(out[i], got, &at);
        const char *why = same ? NULL
                               : arena_printf(a, "%%%s, element %d: the graph gives %.9g (%a), the loops %.9g (%a)",
                                              f->out_slots.at[i]->name, (int)at, tensor_get(out[i], at), tensor_get(out[i], at),
                                              tensor_get(got, at), tensor_get(got, at));
        tensor_release(got);
        if (why) return why;
    }
    return NULL;
}

typedef struct Expected {
    Tensor **in, *out[64];
    bool ok;
    EvalFault fault;
} Expected;

static Expected expect(Arena *a, const Func *f, int64_t B, uint64_t seed) {
    Expected e = {.in = random_inputs(a, f, EVAL_F32, B, seed, false)};
    e.ok = eval_func(a, f, EVAL_F32, B, e.in, e.out, &e.fault);
    return e;
}

static void expect_end(Expected *e, const Func *f) {
    for (size_t i = 0; i < f->body->params.n; i++) tensor_release(e->in[i]);
    for (size_t i = 0; i < f->body->results.n && e->ok; i++) tensor_release(e->out[i]);
}

static const char *loops_agree(Arena *a, const Func *f, LoopsProgram *p, LoopsStage stage, uint64_t seed, const char *pass) {
    const char *why = loops_verify(a, p, stage);
    Step *s = p->steps.at[0];
    for (int64_t B = 1; B <= RANDOM_BATCH_BOUND && !why; B += 2) {
        Expected e = expect(a, f, B, seed);
        void **memory = slot_memory(a, s, f, e.in);
        bool ok = loops_eval(a, s, B, memory);
        if (ok != e.ok)
            why = arena_printf(a, "with B = %d: %s", (int)B, e.ok ? "a fault in the loops alone" : e.fault.text);
        else if (ok)
            why = compare_slots(a, s, f, memory, e.in, e.out, B);
        if (why) why = arena_printf(a, "with B = %d: %s", (int)B, why);
        expect_end(&e, f);
    }
    if (!why) return NULL;
    Text t = {0};
    loops_print(p, stage, NULL, &t, a);
    return arena_printf(a, "after %s: %s\n%s", pass, why, text_str(a, &t));
}

/* ---- the pipeline ---- */

static const Machine machines[] = {
    {.vector_bytes = 64, .vector_registers = 32, .masked = true, .l1 = 32768, .l2 = 1 << 20},
    {.vector_bytes = 32, .vector_registers = 16, .masked = false, .l1 = 32768, .l2 = 1 << 18},
    {.vector_bytes = 16, .vector_registers = 32, .masked = false, .l1 = 32768, .l2 = 1 << 18},
};

static const Machine no_cache = {.vector_bytes = 64, .vector_registers = 32, .masked = true};

typedef bool LoopsPass(PassCtx *c, LoopsProgram *p);
static const struct {
    const char *name;
    LoopsPass *run;
    LoopsStage after;
} loops_passes[] = {{"halo", pass_halo, LOOPS_LOWERED},
                    {"collapse", pass_collapse, LOOPS_LOWERED},
                    {"tile", pass_tile, LOOPS_TILED},
                    {"vectorize", pass_vectorize, LOOPS_TILED},
                    {"parallelize", pass_parallelize, LOOPS_MARKED},
                    {"plan", pass_plan, LOOPS_PLANNED},
                    {"barriers", pass_barriers, LOOPS_PLANNED}};
enum { N_LOOPS_PASSES = sizeof loops_passes / sizeof *loops_passes };

static const char *pass_fault(Arena *a, PassCtx *c, const char *pass) {
    diag_print(c->diag, stderr);
    return arena_printf(a, "%s reports an error", pass);
}

/* The graph as it is after the passes that may change bits (*before, a copy), and its loops. Whether simplify and fuse run
 * follows from the seed, so that lower sees all kinds of graphs. */
static const char *to_loops(Arena *a, Module *m, uint64_t seed, PassCtx *c, Module **before, LoopsProgram **loops) {
    if (!pass_autodiff(c, m)) return pass_fault(a, c, "autodiff");
    if (seed % 4 && !pass_simplify(c, m)) return pass_fault(a, c, "simplify");
    *before = copy_of(a, m, STAGE_EXPANDED); /* from here on every bit stays */
    if (!*before) return "the graph cannot be printed and read";
    PassCtx tight = *c; /* nothing stays in a cache: whatever can be made again for less than it is stored is */
    tight.machine = &no_cache;
    if (seed % 8 && !pass_fuse(seed / 8 % 2 ? c : &tight, m)) return pass_fault(a, c, "fuse");
    *loops = pass_lower(c, m);
    return *loops ? NULL : pass_fault(a, c, "lower");
}

static const char *loops_compute(Arena *a, const RandomOptions *o) {
    PassCtx c = {.arena = a, .diag = diag_new(a), .machine = &machines[o->seed % 3], .verify = true};
    Module *before;
    LoopsProgram *p;
    const char *why = to_loops(a, random_graph(a, o), o->seed, &c, &before, &p);
    if (why) return why;
    const Func *f = func_by_name(before, "f");
    why = loops_agree(a, f, p, LOOPS_LOWERED, o->seed, "lower");
    for (int i = 0; i < N_LOOPS_PASSES && !why; i++) {
        if (!loops_passes[i].run(&c, p)) return pass_fault(a, &c, loops_passes[i].name);
        why = loops_agree(a, f, p, loops_passes[i].after, o->seed, loops_passes[i].name);
    }
    return why;
}

/* ---- the machine's own code ---- */

static const char *native_agrees(Arena *a, const Func *f, const Native *n, int64_t B, int threads, uint64_t seed) {
    Step *s = n->loops->steps.at[0];
    Expected e = expect(a, f, B, seed);
    NativeRun r = native_memory_new(n, "f");
    void **memory = arena_make_n(a, void *, s->buffers.n + 1);
    for (size_t i = 0; i < s->buffers.n; i++) {
        const Buffer *b = s->buffers.at[i];
        if ((b->place != PLACE_SLOT && b->place != PLACE_FIELD) || b->same) continue;
        memory[i] = native_memory(n, &r, b);
        for (size_t k = 0; k < f->in_slots.n; k++)
            if (f->in_slots.at[k]->name == b->slot->name) move_elements(b, e.in[k], memory[i], false);
    }
    native_call(n, &r, "f", B, threads);
    const char *why = NULL;
    if (e.ok != (r.fault.kind == 0))
        why = e.ok ? "a fault in the compiled step alone" : e.fault.text;
    else if (e.ok)
        why = compare_slots(a, s, f, memory, e.in, e.out, B);
    expect_end(&e, f);
    native_memory_free(n, &r);
    return why ? arena_printf(a, "compiled, with B = %d and %d threads: %s", (int)B, threads, why) : NULL;
}

/* Every second graph is shared out to three threads, worth it or not. The batch goes up by two from `from` to `last`. */
static const char *module_computes(Arena *a, Module *m, uint64_t seed, int64_t from, int64_t last) {
    PassCtx c = {.arena = a, .diag = diag_new(a), .verify = true};
    const BackendTarget *target = backend_target(a, c.diag, NULL, seed % 3 ? NULL : "x86-64-v3", false);
    if (!target) return pass_fault(a, &c, "the backend");
    Machine machine = {target->vector_bytes, target->vector_registers, target->masked, target->l1, target->l2};
    c.machine = &machine;
    Module *before;
    LoopsProgram *p;
    const char *why = to_loops(a, m, seed, &c, &before, &p);
    for (int i = 0; i < N_LOOPS_PASSES && !why; i++) {
        if (!loops_passes[i].run(&c, p)) why = pass_fault(a, &c, loops_passes[i].name);
        if (loops_passes[i].run == pass_parallelize && seed % 2) p->steps.at[0]->threads = 3;
    }
    if (why) return why;
    Native *n = native_build(a, p, target, false);
    if (!n) return "it cannot be compiled";
    for (int64_t B = from; B <= last && !why; B += 2) {
        why = native_agrees(a, func_by_name(before, "f"), n, B, 1, seed);
        if (!why && seed % 2) why = native_agrees(a, func_by_name(before, "f"), n, B, 3, seed);
    }
    dlclose(n->handle);
    return why;
}

static const char *compiled_computes(Arena *a, const RandomOptions *o) {
    return module_computes(a, random_graph(a, o), o->seed, 1, RANDOM_BATCH_BOUND);
}

/* ---- chains of more than SUM_CHAIN ---- */

/* What is reduced has some 5000 elements: the batch (at most 5) and other axes, or one axis alone; operands in several orders of memory. */
static const struct LongChain {
    const char *op, *attributes, *type[3]; /* operands, result */
} long_chains[] = {
    {"contract \"brm,brn->mn\"", "", {"f32[B, 1037, 17]", "f32[B, 1037, 33]", "f32[17, 33]"}},
    {"contract \"brm,brn->mn\"", "", {"f32[B, 1024, 250]", "f32[B, 1024, 5]", "f32[250, 5]"}},
    {"contract \"bmr,bnr->mn\"", "", {"f32[B, 12, 1030]", "f32[B, 20, 1030]", "f32[12, 20]"}},
    {"contract \"bk,kn->bn\"", "", {"f32[B, 4500]", "f32[4500, 70]", "f32[B, 70]"}},
    {"contract \"bk,kn->nb\"", "", {"f32[B, 4097]", "f32[4097, 19]", "f32[19, B]"}},
    {"contract \"km,kn->mn\"", "", {"f32[9000, 31]", "f32[9000, 40]", "f32[31, 40]"}},
    {"contract \"km,kn->nm\"", "", {"f32[8192, 3]", "f32[8192, 50]", "f32[50, 3]"}},
    {"contract \"mk,nk->mn\"", "", {"f32[64, 4196]", "f32[37, 4196]", "f32[64, 37]"}},
    {"contract \"k,kn->n\"", "", {"f32[5000]", "f32[5000, 43]", "f32[43]"}},
    {"conv \"nxyc,nxyd->xycd\"", "window", {"f32[B, 34, 29, 6]", "f32[B, 32, 27, 20]", "f32[3, 3, 6, 20]"}},
    {"conv \"nxyc,nxyd->xycd\"", "window", {"f32[B, 34, 34, 1]", "f32[B, 32, 32, 16]", "f32[3, 3, 1, 16]"}},
    {"conv \"nxyc,xycd->nxyd\"", "window", {"f32[B, 4, 5, 470]", "f32[3, 3, 470, 24]", "f32[B, 2, 3, 24]"}},
    {"sum", ", axes=[0]", {"f32[4099, 21]", NULL, "f32[21]"}},
    {"sum", ", axes=[0, 1]", {"f32[B, 1024, 35]", NULL, "f32[35]"}},
    {"sum", ", axes=[0, 1, 2]", {"f32[B, 1030, 3]", NULL, "f32"}},
};

static const char *long_chain_text(Arena *a, const struct LongChain *c) {
    Text t = {0}, params = {0}, operands = {0};
    bool batch = strchr(c->type[2], 'B') != NULL;
    text_printf(a, &t, "graph expanded\n\n");
    for (int i = 0; i < 2 && c->type[i]; i++) {
        const char *at = strchr(c->type[i], 'B');
        const char *bound =
            at ? arena_printf(a, "%.*sB<=%d%s", (int)(at - c->type[i]), c->type[i], RANDOM_BATCH_BOUND, at + 1) : c->type[i];
        text_printf(a, &t, at ? "field %%x%d: %s of @go\n" : "param %%x%d: %s = 0\n", i, bound);
        text_printf(a, &params, "%s%%x%d: %s", i ? ", " : "", i, bound);
        text_printf(a, &operands, "%s%%x%d", i ? ", " : "", i);
    }
    const char *window = ", window=\"xy\", stride=[1, 1], low=[0, 0], high=[0, 0], lhs_dilation=[1, 1], rhs_dilation=[1, 1]";
    const char *attributes = strcmp(c->attributes, "window") == 0 ? window : c->attributes, *result = batch ? "f32" : c->type[2];
    text_printf(a, &t, "var %%y: %s of @go\n\ncommand @go() {\n}\n\n", result);
    text_printf(a, &t, "func @f(%s) -> (%%y: %s) {\n", text_str(a, &params), result);
    text_printf(a, &t, "  %%0 = %s %s%s : %s\n", c->op, text_str(a, &operands), attributes, c->type[2]);
    if (batch) { /* what is left of the batch does not outlive a step */
        int rank = 1;
        for (const char *p = c->type[2]; *p; p++) rank += *p == ',';
        text_printf(a, &t, "  %%1 = sum %%0, axes=[0%s%s%s] : f32\n", rank > 1 ? ", 1" : "", rank > 2 ? ", 2" : "",
                    rank > 3 ? ", 3" : "");
    }
    text_printf(a, &t, "  return %%%d\n}\n", batch);
    return text_str(a, &t);
}

START_TEST(long_chains_have_the_bits_of_the_graph) {
    const struct LongChain *c = &long_chains[_i / 2];
    Arena *a = arena_new();
    Stage stage;
    Diag *d = diag_new(a);
    const char *text = long_chain_text(a, c);
    diag_source(d, "chain.graph", text, strlen(text));
    Module *m = graph_parse(a, d, "chain.graph", text, strlen(text), &stage);
    if (!m) diag_print(d, stderr);
    ck_assert_msg(m != NULL, "the test's own text cannot be read:\n%s", text);
    uint64_t seed =
        6 + 3 * (uint64_t)(_i % 2); /* x86-64-v3 and one thread alone; the machine's own code, also with three threads */
    const char *why = module_computes(a, m, seed, _i % 2 ? RANDOM_BATCH_BOUND - 2 : RANDOM_BATCH_BOUND, RANDOM_BATCH_BOUND);
    ck_assert_msg(!why, "%s: %s\n%s", c->op, why, text);
    arena_free(a);
}
END_TEST

/* ---- rows ---- */

/* Softmax of rows with its loss, and extremes among zeros of both signs and NaN: rows that become lanes and rows that are long; all of a batch goes into sums
 * down its columns. */
static const char *rows_text(Arena *a, int64_t columns) {
    const char *x = arena_printf(a, "f32[B, %" PRId64 "]", columns), *row = arena_printf(a, "f32[%" PRId64 "]", columns);
    Text t = {0};
    text_printf(a, &t, "graph expanded\n\nfield %%x: f32[B<=33, %" PRId64 "] of @go\n", columns);
    text_printf(a, &t, "var %%y: %s of @go\nvar %%l: f32 of @go\nvar %%m: %s of @go\nvar %%n: %s of @go\nvar %%z: %s of @go\n\n",
                row, row, row, row);
    text_printf(a, &t,
                "command @go() {\n}\n\nfunc @f(%%x: f32[B<=33, %" PRId64
                "]) -> (%%y: %s, %%l: f32, %%m: %s, %%n: %s, %%z: %s) {\n",
                columns, row, row, row, row);
    text_printf(a, &t,
                "  %%0 = reduce_max %%x, axes=[1] : f32[B]\n  %%1 = broadcast %%0, axes=[0] : %s\n  %%2 = sub %%x, %%1 : %s\n  "
                "%%3 = exp %%2 : %s\n"
                "  %%4 = sum %%3, axes=[1] : f32[B]\n  %%5 = broadcast %%4, axes=[0] : %s\n  %%6 = div %%3, %%5 : %s\n",
                x, x, x, x, x);
    text_printf(a, &t,
                "  %%7 = slice %%x, start=[0, 0], limit=[-1, 1], step=[1, 1] : f32[B, 1]\n  %%8 = abs %%7 : f32[B, 1]\n"
                "  %%9 = constant %" PRId64 " : f32[B, 1]\n  %%10 = min %%8, %%9 : f32[B, 1]\n  %%11 = convert %%10 : i32[B, 1]\n"
                "  %%12 = gather %%2, %%11, axis=1 : f32[B, 1]\n  %%13 = reshape %%12 : f32[B]\n  %%14 = log %%4 : f32[B]\n"
                "  %%15 = sub %%13, %%14 : f32[B]\n  %%16 = sum %%15, axes=[0] : f32\n  %%17 = sum %%6, axes=[0] : %s\n",
                columns - 1, row);
    /* what is found, to the power of -1: zeros show their sign as infinities */
    text_printf(a, &t,
                "  %%18 = round %%x : %s\n  %%19 = constant 0 : %s\n  %%20 = min %%18, %%19 : %s\n  %%21 = reduce_max %%20, "
                "axes=[1] : f32[B]\n"
                "  %%22 = constant 1 : f32[B]\n  %%23 = div %%22, %%21 : f32[B]\n  %%24 = broadcast %%23, axes=[0] : %s\n"
                "  %%25 = reduce_max %%24, axes=[0] : %s\n",
                x, x, x, x, row);
    text_printf(a, &t,
                "  %%26 = neg %%20 : %s\n  %%27 = reduce_min %%26, axes=[1] : f32[B]\n  %%28 = div %%22, %%27 : f32[B]\n"
                "  %%29 = broadcast %%28, axes=[0] : %s\n  %%30 = sum %%29, axes=[0] : %s\n  %%31 = sqrt %%x : %s\n"
                "  %%32 = reduce_max %%31, axes=[1] : f32[B]\n  %%33 = broadcast %%32, axes=[0] : %s\n  %%34 = reduce_min %%33, "
                "axes=[0] : %s\n",
                x, x, row, x, x, row);
    text_printf(a, &t, "  return %%17, %%16, %%25, %%30, %%34\n}\n");
    return text_str(a, &t);
}

/* Both kinds of machine; the batch as large as it may be, less, and one row. */
START_TEST(rows_have_the_bits_of_the_graph) {
    static const int64_t columns[] = {1, 2, 9, 10, 17, 33, 100}, first[] = {1, 31, 4}, last[] = {5, 33, 32};
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        Arena *a = arena_new();
        Stage stage;
        Diag *d = diag_new(a);
        const char *text = rows_text(a, columns[_i]);
        diag_source(d, "rows.graph", text, strlen(text));
        Module *m = graph_parse(a, d, "rows.graph", text, strlen(text), &stage);
        if (!m) diag_print(d, stderr);
        ck_assert_msg(m != NULL, "the test's own text cannot be read:\n%s", text);
        const char *why =
            module_computes(a, m, 5 + (uint64_t)i, first[i], last[i]); /* the second: x86-64-v3; the others with threads too */
        ck_assert_msg(!why, "%d columns: %s\n%s", (int)columns[_i], why, text);
        arena_free(a);
    }
}
END_TEST

START_TEST(loops_compute_what_graphs_do) {
    for_seeds(loops_compute, &(RandomOptions){0}, 150);
    for_seeds(loops_compute, &(RandomOptions){.grads = true}, 60);
}
END_TEST

/* Products with epilogues of sizes that are cut into tiles, with rests. */
static RandomOptions dense(RandomOptions o) {
    static const OpCode codes[] = {OP_contract, OP_conv,      OP_sum,       OP_reduce_max, OP_add, OP_mul,
                                   OP_tanh,     OP_broadcast, OP_transpose, OP_max,        OP_exp, OP_uniform};
    o.only_allowed = true;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) o.allow[codes[i]] = true;
    return o;
}

START_TEST(products_and_sums) {
    RandomOptions o = dense((RandomOptions){0});
    for_seeds(loops_compute, &o, 100);
    o.grads = true;
    for_seeds(loops_compute, &o, 50);
}
END_TEST

START_TEST(compiled_steps_compute_what_graphs_do) {
    for_seeds(compiled_computes, &(RandomOptions){0}, 20);
    for_seeds(compiled_computes, &(RandomOptions){.grads = true}, 12);
    RandomOptions large = dense((RandomOptions){.large = true});
    for_seeds(compiled_computes, &large, 10);
}
END_TEST

Suite *random_loops_suite(void);

Suite *random_loops_suite(void) {
    Suite *s = suite_create("random_loops");
    property_start();
    TCase *t = tcase_create("random_loops");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, loops_compute_what_graphs_do);
    tcase_add_test(t, products_and_sums);
    tcase_add_test(t, compiled_steps_compute_what_graphs_do);
    tcase_add_loop_test(t, long_chains_have_the_bits_of_the_graph, 0, 2 * (int)(sizeof long_chains / sizeof *long_chains));
    tcase_add_loop_test(t, rows_have_the_bits_of_the_graph, 0, 7);
    suite_add_tcase(s, t);
    return s;
}
