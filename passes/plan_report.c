/*
 * plan_report.c - what `nnc --plan` prints: for each step the operations, the bytes by kind, the peak of the arena and what is
 * alive at it, and a timeline by kernel and source line.
 *
 * Operations are counted on the loops (ir/loops_cost.c: a product's multiply-add is two, a function one), at the largest batch, so a printed
 * stage read again has the same; bytes of temporaries are those of the plan. A buffer is a gradient if the place that made it says
 * "gradient of ..."; other temporaries are activations.
 */
#include "passes/plan.h"
#include "passes/report.h"

#include <stdlib.h>
#include <string.h>

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
typedef struct Rows {
    const Step *step;
    const LoopsCost *cost; /* of the kernel that comes next */
    const StepNode **node;
    double *operations; /* of all its turns */
    int n;
} Rows;

/* How often the loop of the step goes round; where that is known when it runs only: once. */
static int64_t turns_of(const Step *s, const StepNode *loop) {
    if (loop->kind != STEP_LOOP || !loop->trip) return 1;
    int64_t turns = loop->trip->constant;
    if (s->batch) turns += affine_factor(loop->trip, s->batch) * s->batch_bound;
    return turns;
}

static void number_nodes(Rows *r, StepNode *const *nodes, size_t n, double times) {
    for (size_t i = 0; i < n; i++) {
        StepNode *k = nodes[i];
        if (k->kind == STEP_BARRIER) continue;
        if (k->kind == STEP_KERNEL) r->operations[r->n] = times * r->cost++->operations;
        r->node[r->n++] = k;
        if (k->kind == STEP_KERNEL) continue;
        number_nodes(r, k->nodes.at, k->nodes.n, times * (double)turns_of(r->step, k));
        r->node[r->n++] = k;
    }
}

static const char *operations_text(Arena *a, double n) { return report_number(a, n < 9e18 ? (int64_t)n : INT64_MAX); }

static const char *place_text(Arena *a, Loc at) {
    if (!at.file) return "";
    return arena_printf(a, "%s:%d%s%s", at.file, at.line, at.what ? " " : "", at.what ? at.what : "");
}

static int by_bytes(const void *x, const void *y) {
    const Buffer *const *a = x, *const *b = y;
    if ((*a)->bytes != (*b)->bytes) return (*a)->bytes < (*b)->bytes ? 1 : -1;
    return (*a)->id - (*b)->id;
}

static void report_peak(const Rows *r, const Lives *lives, const int64_t *bytes, Text *out, Arena *a) {
    enum { SHOWN = 8 };
    int peak = 0;
    for (int t = 1; t < lives->end; t++)
        if (bytes[t] > bytes[peak]) peak = t;
    const Step *s = r->step;
    const StepNode *k = r->node[peak];
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

/* One row a kernel: bytes alive, operations, and the line. */
static void report_timeline(const Rows *r, const Lives *lives, const int64_t *bytes, Text *out, Arena *a) {
    text_add(a, out, "  timeline      bytes alive       operations\n");
    for (int t = 0; t < lives->end; t++) {
        const StepNode *k = r->node[t];
        if (!k || k->kind != STEP_KERNEL) continue;
        text_printf(a, out, "           %14s   %14s  @%s  %s\n", report_number(a, bytes[t]), operations_text(a, r->operations[t]),
                    k->name, place_text(a, k->loc));
    }
}

static void report_step(const Step *s, Text *out, Arena *a) {
    int64_t bytes[N_KINDS] = {0}, B = s->batch_bound ? s->batch_bound : 1;
    Lives lives = plan_lives(a, s);
    Rows rows = {.step = s, .cost = step_costs(a, s, B).at};
    double operations = 0;
    rows.node = arena_make_n(a, const StepNode *, (size_t)lives.end + 2);
    rows.operations = arena_make_n(a, double, (size_t)lives.end + 2);
    number_nodes(&rows, s->nodes.at, s->nodes.n, 1);
    for (int i = 0; i < rows.n; i++) operations += rows.operations[i];
    text_printf(a, out, "step @%s%s%s\n", s->func->name, s->func->loc.file ? "  " : "", place_text(a, s->func->loc));
    if (s->batch) text_printf(a, out, "  batch             %s\n", report_number(a, B));
    text_printf(a, out, "  operations        %s\n", operations_text(a, operations));
    for (size_t i = 0; i < s->buffers.n; i++) {
        const Buffer *b = s->buffers.at[i];
        if (b->same || b->place == PLACE_DATA) continue;
        bytes[kind_of(b)] += b->bytes;
    }
    for (int k = 0; k < N_KINDS; k++)
        if (bytes[k]) text_printf(a, out, "  %-17s %s bytes\n", kind_names[k], report_number(a, bytes[k]));
    text_printf(a, out, "  arena             %s bytes%s\n", report_number(a, s->arena),
                s->own ? arena_printf(a, ", and %s bytes for each of %s", report_number(a, s->own),
                                      s->threads > 1 ? arena_printf(a, "up to %" PRId64 " threads", s->threads) : "1 thread")
                       : "");
    const int64_t *alive = alive_bytes(a, s, &lives);
    if (s->arena + s->own) report_peak(&rows, &lives, alive, out, a);
    report_timeline(&rows, &lives, alive, out, a);
    text_add(a, out, "\n");
}

/* The most that loops over data gather at once, of loops inside one another all: the batch at work and the next. (Where samples come in the order of the files nothing is gathered;
 * of small batches the ring holds more, up to 2 MB.) */
static int64_t gathered_bytes(Node *const *nodes, size_t n) {
    int64_t most = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t bytes = gathered_bytes(nodes[i]->body.at, nodes[i]->body.n);
        for (size_t s = 0; s < nodes[i]->sets.n; s++) {
            const DataUse *use = &nodes[i]->sets.at[s];
            for (size_t f = 0; f < use->fields.n; f++) bytes += 2 * slot_bytes(use->fields.at[f]);
        }
        if (bytes > most) most = bytes;
    }
    return most;
}

void plan_report(const LoopsProgram *p, Text *out, Arena *a) {
    int64_t parameters = 0, frame = 0, arena = 0, batches = 0;
    for (size_t i = 0; i < p->module->slots.n; i++) {
        const Slot *s = p->module->slots.at[i];
        if (s->kind == SLOT_PARAM) parameters += type_count(s->type, s->batch_bound ? s->batch_bound : 1);
        if (slot_in_frame(s)) frame += slot_room(s);
    }
    for (size_t i = 0; i < p->steps.n; i++)
        if (step_own_at(p->steps.at[i], 1) > arena) arena = step_own_at(p->steps.at[i], 1);
    for (size_t i = 0; i < p->module->commands.n; i++) {
        const Command *c = p->module->commands.at[i];
        int64_t bytes = gathered_bytes(c->body.at, c->body.n);
        if (bytes > batches) batches = bytes;
    }
    text_printf(a, out, "parameters          %s\n", report_number(a, parameters));
    text_printf(a, out, "frame               %s bytes (all that lives between steps)\n", report_number(a, frame));
    if (batches)
        text_printf(a, out, "batches             %s bytes (the one at work and the next, gathered ahead)\n",
                    report_number(a, batches));
    text_printf(a, out, "arena               %s bytes (the largest step, with one thread)\n\n", report_number(a, arena));
    for (size_t i = 0; i < p->steps.n; i++) report_step(p->steps.at[i], out, a);
}

void plan_report_function(const LoopsProgram *p, const Func *f, Text *out, Arena *a) {
    for (size_t i = 0; i < p->steps.n; i++)
        if (p->steps.at[i]->func == f) report_step(p->steps.at[i], out, a);
}
