/*
 * plan_report.c - what `nnc --plan` prints: for each step the operations, the bytes by kind, the peak of the arena and what is
 * alive at it, and a timeline by source line.
 *
 * Operations are counted on the graph (a product's multiply-add is two, a function one), at the largest batch; bytes of
 * temporaries are those of the plan. A buffer is a gradient if the place that made it says "gradient of ..."; other temporaries
 * are activations.
 */
#include "passes/plan.h"
#include "passes/report.h"

#include <stdlib.h>
#include <string.h>

/* ---- operations ---- */

/* Elements that one output of a product or window sums over. */
static int64_t reduced(const Op *op, int64_t B) {
    int64_t n = 1;
    if (op->code == OP_contract || op->code == OP_conv) {
        const char *spec = op_str(op, A_spec), *b = strchr(spec, ',') + 1, *arrow = strstr(spec, "->");
        for (const char *c = b; c < arrow; c++) {
            bool window = op->code == OP_conv && strchr(op_str(op, A_window), *c);
            if (window || !strchr(arrow, *c)) n *= dim_size(op->in[1]->type->dim[c - b], B);
        }
        return n;
    }
    const int64_t *size;
    int64_t k = op_ints(op, A_size, &size);
    for (int64_t i = 0; i < k; i++) n *= size[i];
    return n;
}

static double block_operations(const Block *b, int64_t B) {
    double sum = 0;
    for (const Op *op = b->first; op; op = op->next) {
        double inner = 0;
        for (int i = 0; i < op->n_blocks; i++) inner += block_operations(op->blocks[i], B);
        if (op->code == OP_scan) {
            int64_t trip = op_int(op, A_trip);
            sum += inner * (double)(trip < 0 ? B : trip);
        } else if (op->n_blocks) {
            sum += inner;
        } else if (op->code == OP_contract || op->code == OP_conv) {
            sum += 2.0 * (double)type_count(op->out[0]->type, B) * (double)reduced(op, B);
        } else if (op->code == OP_window_max || op->code == OP_window_sum || op->code == OP_window_put ||
                   op->code == OP_window_pick) {
            sum += (double)type_count(op->out[0]->type, B) * (double)reduced(op, B);
        } else if (op_info[op->code].elementwise && op->code != OP_constant) {
            sum += (double)type_count(op->out[0]->type, B);
        } else if (op->code == OP_sum || op->code == OP_prod || op->code == OP_reduce_max || op->code == OP_reduce_min ||
                   op->code == OP_argmax || op->code == OP_argmin) {
            sum += (double)type_count(op->in[0]->type, B);
        }
    }
    return sum;
}

/* ---- bytes ---- */

typedef enum Kind { WEIGHTS, OPTIMIZER, FIELDS, OTHER_SLOTS, GRADIENTS, ACTIVATIONS, N_KINDS } Kind;

static const char *const kind_names[N_KINDS] = {"weights",           "optimizer state", "batch",
                                                "other values kept", "gradients",       "activations"};

static Kind kind_of(const Buffer *b) {
    if (b->slot) switch (b->slot->kind) {
        case SLOT_PARAM:
        case SLOT_STATE: return WEIGHTS;
        case SLOT_OPTSTATE: return OPTIMIZER;
        case SLOT_FIELD:
        case SLOT_INPUT: return FIELDS;
        case SLOT_VAR:
        case SLOT_OPTION:
        case SLOT_COUNTER:
        case SLOT_STEP:
        case SLOT_KEY:
        case SLOT_FIRST: return OTHER_SLOTS;
        }
    return b->loc.what && strncmp(b->loc.what, "gradient", 8) == 0 ? GRADIENTS : ACTIVATIONS;
}

static bool in_arena(const Buffer *b) { return !b->same && (b->place == PLACE_ARENA || b->place == PLACE_THREAD); }

/* The bytes of the arena that are alive, by the number of the kernel. */
static int64_t *alive_bytes(Arena *a, const Step *s, const Lives *lives) {
    int64_t *bytes = arena_make_n(a, int64_t, (size_t)lives->end + 2), sum = 0;
    for (size_t i = 0; i < s->buffers.n; i++) {
        if (!in_arena(s->buffers.at[i]) || lives->at[i].first < 0) continue;
        bytes[lives->at[i].first] += s->buffers.at[i]->bytes; /* what is added there, and behind the last use taken away */
        bytes[lives->at[i].last + 1] -= s->buffers.at[i]->bytes;
    }
    for (int t = 0; t <= lives->end; t++) bytes[t] = sum += bytes[t];
    return bytes;
}

/* The kernels and loops by the number that lives count by: a loop has that of its begin and that of its end. */
static void number_nodes(StepNode *const *nodes, size_t n, const StepNode **by_number, int *count) {
    for (size_t i = 0; i < n; i++) {
        StepNode *k = nodes[i];
        if (k->kind == STEP_BARRIER) continue;
        by_number[(*count)++] = k;
        if (k->kind == STEP_KERNEL) continue;
        number_nodes(k->nodes.at, k->nodes.n, by_number, count);
        by_number[(*count)++] = k;
    }
}

static const char *place_text(Arena *a, Loc at) {
    if (!at.file) return "";
    return arena_printf(a, "%s:%d%s%s", at.file, at.line, at.what ? " " : "", at.what ? at.what : "");
}

static int by_bytes(const void *x, const void *y) {
    const Buffer *const *a = x, *const *b = y;
    if ((*a)->bytes != (*b)->bytes) return (*a)->bytes < (*b)->bytes ? 1 : -1;
    return (*a)->id - (*b)->id;
}

static void report_peak(const Step *s, const Lives *lives, const int64_t *bytes, const StepNode **nodes, Text *out, Arena *a) {
    enum { SHOWN = 8 };
    int peak = 0;
    for (int t = 1; t < lives->end; t++)
        if (bytes[t] > bytes[peak]) peak = t;
    const StepNode *k = nodes[peak];
    text_printf(a, out, "  peak              %s bytes alive%s%s%s\n", report_number(a, bytes[peak]), k && k->name ? " in @" : "",
                k && k->name ? k->name : "", k && k->loc.file ? arena_printf(a, " (%s)", place_text(a, k->loc)) : "");
    Vec(Buffer *) alive = {0};
    for (size_t i = 0; i < s->buffers.n; i++)
        if (in_arena(s->buffers.at[i]) && lives->at[i].first <= peak && peak <= lives->at[i].last)
            vec_push(a, &alive, s->buffers.at[i]);
    if (alive.n) qsort(alive.at, alive.n, sizeof *alive.at, by_bytes);
    for (size_t i = 0; i < alive.n && i < SHOWN; i++) {
        const Buffer *b = alive.at[i];
        text_printf(a, out, "    %14s  %%%s: %s  %s\n", report_number(a, b->bytes), b->name,
                    type_name(type_make(b->elem, b->rank, b->dim)), place_text(a, b->loc));
    }
    if (alive.n > SHOWN) text_printf(a, out, "    and %zu more\n", alive.n - SHOWN);
}

/* One row a kernel: what is alive, and the line. */
static void report_timeline(const Lives *lives, const int64_t *bytes, const StepNode **nodes, Text *out, Arena *a) {
    text_add(a, out, "  timeline\n");
    for (int t = 0; t < lives->end; t++) {
        const StepNode *k = nodes[t];
        if (!k || k->kind != STEP_KERNEL) continue;
        text_printf(a, out, "    %14s  @%s  %s\n", report_number(a, bytes[t]), k->name, place_text(a, k->loc));
    }
}

static void report_step(const Step *s, Text *out, Arena *a) {
    int64_t bytes[N_KINDS] = {0}, B = s->batch_bound ? s->batch_bound : 1;
    Lives lives = plan_lives(a, s);
    text_printf(a, out, "step @%s%s%s\n", s->func->name, s->func->loc.file ? "  " : "", place_text(a, s->func->loc));
    if (s->batch) text_printf(a, out, "  batch             %s\n", report_number(a, B));
    if (s->func->body->first) {
        double n = block_operations(s->func->body, B);
        text_printf(a, out, "  operations        %s\n", report_number(a, n < 9e18 ? (int64_t)n : INT64_MAX));
    }
    for (size_t i = 0; i < s->buffers.n; i++) {
        const Buffer *b = s->buffers.at[i];
        if (b->same || b->place == PLACE_DATA) continue;
        bytes[kind_of(b)] += b->bytes;
    }
    for (int k = 0; k < N_KINDS; k++)
        if (bytes[k]) text_printf(a, out, "  %-17s %s bytes\n", kind_names[k], report_number(a, bytes[k]));
    int64_t each = 0; /* a thread's own scratch; what does not live at the same time shares its place */
    for (size_t i = 0; i < s->buffers.n; i++)
        if (s->buffers.at[i]->place == PLACE_THREAD && !s->buffers.at[i]->same && s->buffers.at[i]->bytes > each)
            each = s->buffers.at[i]->bytes;
    text_printf(a, out, "  arena             %s bytes%s\n", report_number(a, s->arena),
                each && s->threads > 1 ? arena_printf(a, ", with places for %" PRId64 " threads (the largest: %s bytes each)",
                                                      s->threads, report_number(a, each))
                                       : "");
    if (s->arena) {
        int n = 0;
        const StepNode **nodes = arena_make_n(a, const StepNode *, (size_t)lives.end + 2);
        number_nodes(s->nodes.at, s->nodes.n, nodes, &n);
        const int64_t *alive = alive_bytes(a, s, &lives);
        report_peak(s, &lives, alive, nodes, out, a);
        report_timeline(&lives, alive, nodes, out, a);
    }
    text_add(a, out, "\n");
}

void plan_report(const LoopsProgram *p, Text *out, Arena *a) {
    int64_t parameters = 0, frame = 0, arena = 0;
    for (size_t i = 0; i < p->module->slots.n; i++) {
        const Slot *s = p->module->slots.at[i];
        int64_t n = type_count(s->type, s->batch_bound ? s->batch_bound : 1);
        if (s->kind == SLOT_PARAM) parameters += n;
        if (s->kind != SLOT_FIELD && s->kind != SLOT_INPUT) frame += (n * elem_size(s->type->elem) + 63) / 64 * 64;
    }
    for (size_t i = 0; i < p->steps.n; i++)
        if (p->steps.at[i]->arena > arena) arena = p->steps.at[i]->arena;
    text_printf(a, out,
                "parameters          %s\nframe               %s bytes (all that lives between steps)\narena               %s "
                "bytes (the largest step)\n\n",
                report_number(a, parameters), report_number(a, frame), report_number(a, arena));
    for (size_t i = 0; i < p->steps.n; i++) report_step(p->steps.at[i], out, a);
}

void plan_report_function(const LoopsProgram *p, const Func *f, Text *out, Arena *a) {
    for (size_t i = 0; i < p->steps.n; i++)
        if (p->steps.at[i]->func == f) report_step(p->steps.at[i], out, a);
}
