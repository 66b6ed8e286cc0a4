/*
 * program.c - a module as the tables of runtime/abi.h, in memory: for compiled programs (emit_program.c makes constants of them) and for --eval alike. Free of LLVM.
 *
 * The frame holds every slot but fields and inputs, in order of the module's slots, each at a multiple of 64 bytes, large ones some pages apart; fields and inputs are
 * numbered instead (nn_call.fields).
 */
#include "backend.h"

#include <stdlib.h>
#include <string.h>

typedef struct Making {
    Arena *a;
    const Module *m;
    const LoopsProgram *loops;
} Making;

static int64_t slot_index(const Slot *s) { return s ? s->index : -1; }

static int64_t *slot_list(Making *k, Slot *const *at, size_t n) {
    int64_t *r = arena_make_n(k->a, int64_t, n + 1);
    for (size_t i = 0; i < n; i++) r[i] = at[i]->index;
    return r;
}

static int64_t func_index(const Making *k, const Func *f) {
    for (size_t i = 0; f && i < k->m->funcs.n; i++)
        if (k->m->funcs.at[i] == f) return (int64_t)i;
    return -1;
}

/* ---- slots ---- */

static struct nn_slot make_slot(Making *k, const Slot *s, int64_t *frame, int64_t *fields) {
    const Type *t = s->type;
    int64_t *dims = arena_make_n(k->a, int64_t, (size_t)t->rank + 1), batch_axis = -1;
    for (int i = 0; i < t->rank; i++) {
        dims[i] = t->dim[i].n;
        if (t->dim[i].batch && batch_axis < 0) batch_axis = i;
    }
    struct nn_slot r = {.name = s->name,
                        .kind = (int64_t)s->kind,
                        .elem = (int64_t)t->elem,
                        .dims = dims,
                        .n_dims = t->rank,
                        .batch_axis = batch_axis,
                        .batch_bound = s->batch_bound,
                        .bytes = slot_bytes(s),
                        .init = func_index(k, s->init),
                        .fill = s->fill,
                        .bool_option = s->kind == SLOT_OPTION && t->elem == BOOL,
                        .command = s->command,
                        .line = s->loc.line,
                        .shown = s->loc.what};
    if (!slot_in_frame(s)) {
        r.offset = (*fields)++;
    } else {
        r.offset = *frame;
        *frame += slot_room(s);
    }
    return r;
}

/* ---- data ---- */

static struct nn_arg make_arg(const LoaderArg *x) {
    return (struct nn_arg){
        .name = x->name, .kind = (int64_t)x->kind, .i = x->i, .f = x->f, .s = x->s, .ints = x->ints, .n_ints = x->n_ints};
}

static struct nn_loader *make_loader(Making *k, const Loader *x) {
    struct nn_loader *r = arena_make(k->a, struct nn_loader);
    struct nn_arg *args = arena_make_n(k->a, struct nn_arg, x->args.n + 1);
    for (size_t i = 0; i < x->args.n; i++) args[i] = make_arg(&x->args.at[i]);
    *r = (struct nn_loader){.kind = x->kind,
                            .files = (const char *const *)x->files.at,
                            .n_files = (int64_t)x->files.n,
                            .args = args,
                            .n_args = (int64_t)x->args.n};
    return r;
}

static struct nn_data make_data(Making *k, const DataSet *s) {
    struct nn_field *fields = arena_make_n(k->a, struct nn_field, s->fields.n + 1);
    for (size_t i = 0; i < s->fields.n; i++) {
        const Field *f = &s->fields.at[i];
        int64_t *dims = arena_make_n(k->a, int64_t, (size_t)f->type->rank + 1);
        for (int j = 0; j < f->type->rank; j++) dims[j] = f->type->dim[j].n;
        fields[i] = (struct nn_field){.name = f->name,
                                      .elem = (int64_t)f->type->elem,
                                      .dims = dims,
                                      .n_dims = f->type->rank,
                                      .loader_line = f->loader.loc.line ? f->loader.loc.line : f->loc.line,
                                      .loader = make_loader(k, &f->loader),
                                      .n_loader = 1};
    }
    return (struct nn_data){
        .name = s->name, .shuffle = s->shuffle, .line = s->loc.line, .fields = fields, .n_fields = (int64_t)s->fields.n};
}

static struct nn_vocab make_vocab(const Vocab *v) {
    return (struct nn_vocab){.name = v->name,
                             .kind = v->kind,
                             .files = (const char *const *)v->files.at,
                             .n_files = (int64_t)v->files.n,
                             .size = v->size,
                             .line = v->loc.line};
}

static int64_t data_index(const Making *k, const DataSet *s) {
    for (size_t i = 0; i < k->m->data.n; i++)
        if (k->m->data.at[i] == s) return (int64_t)i;
    return -1;
}

/* ---- commands ---- */

static struct nn_use make_use(Making *k, const DataUse *u) {
    return (struct nn_use){.data = data_index(k, u->set),
                           .from_slot = slot_index(u->from.slot),
                           .from = u->from.n,
                           .to_slot = slot_index(u->to.slot),
                           .to = u->to.n,
                           .batch = u->batch,
                           .shuffle = u->shuffle,
                           .resample = u->resample,
                           .lanes = u->lanes,
                           .drop_last = u->drop_last,
                           .fields = slot_list(k, u->fields.at, u->fields.n),
                           .n_fields = (int64_t)u->fields.n};
}

static struct nn_node *make_nodes(Making *k, Node *const *at, size_t n);

static struct nn_node make_node(Making *k, const Node *x) {
    struct nn_use *sets = arena_make_n(k->a, struct nn_use, x->sets.n + 1);
    for (size_t i = 0; i < x->sets.n; i++) sets[i] = make_use(k, &x->sets.at[i]);
    struct nn_tracked *tracked = arena_make_n(k->a, struct nn_tracked, x->tracked.n + 1);
    for (size_t i = 0; i < x->tracked.n; i++)
        tracked[i] =
            (struct nn_tracked){slot_index(x->tracked.at[i].value), slot_index(x->tracked.at[i].average), x->tracked.at[i].name};
    struct nn_piece *pieces = arena_make_n(k->a, struct nn_piece, x->pieces.n + 1);
    for (size_t i = 0; i < x->pieces.n; i++)
        pieces[i] = (struct nn_piece){x->pieces.at[i].text, slot_index(x->pieces.at[i].slot), x->pieces.at[i].digits};
    return (struct nn_node){.kind = (int64_t)x->kind,
                            .line = x->loc.line,
                            .body = make_nodes(k, x->body.at, x->body.n),
                            .n_body = (int64_t)x->body.n,
                            .learning = x->learning,
                            .epoch = x->epoch,
                            .counter = slot_index(x->counter),
                            .lo_slot = slot_index(x->lo.slot),
                            .lo = x->lo.n,
                            .hi_slot = slot_index(x->hi.slot),
                            .hi = x->hi.n,
                            .sets = sets,
                            .n_sets = (int64_t)x->sets.n,
                            .func = func_index(k, x->func),
                            .tracked = tracked,
                            .n_tracked = (int64_t)x->tracked.n,
                            .highest = x->highest,
                            .slot = slot_index(x->slot),
                            .stalls = x->stalls,
                            .pieces = pieces,
                            .n_pieces = (int64_t)x->pieces.n,
                            .slots = slot_list(k, x->slots.at, x->slots.n),
                            .n_slots = (int64_t)x->slots.n};
}

static struct nn_node *make_nodes(Making *k, Node *const *at, size_t n) {
    struct nn_node *r = arena_make_n(k->a, struct nn_node, n + 1);
    for (size_t i = 0; i < n; i++) r[i] = make_node(k, at[i]);
    return r;
}

static struct nn_io *make_ios(Making *k, const CommandIo *at, size_t n) {
    struct nn_io *r = arena_make_n(k->a, struct nn_io, n + 1);
    for (size_t i = 0; i < n; i++)
        r[i] = (struct nn_io){.name = at[i].name,
                              .slot = slot_index(at[i].slot),
                              .line = at[i].loc.line,
                              .loader = make_loader(k, &at[i].loader),
                              .n_loader = 1};
    return r;
}

static struct nn_command make_command(Making *k, const Command *c) {
    return (struct nn_command){.name = c->name,
                               .line = c->loc.line,
                               .inputs = make_ios(k, c->inputs.at, c->inputs.n),
                               .n_inputs = (int64_t)c->inputs.n,
                               .outputs = make_ios(k, c->outputs.at, c->outputs.n),
                               .n_outputs = (int64_t)c->outputs.n,
                               .options = slot_list(k, c->options.at, c->options.n),
                               .n_options = (int64_t)c->options.n,
                               .weights = slot_list(k, c->weights.at, c->weights.n),
                               .n_weights = (int64_t)c->weights.n,
                               .learns = c->learns,
                               .weights_file = c->weights_file,
                               .body = make_nodes(k, c->body.at, c->body.n),
                               .n_body = (int64_t)c->body.n};
}

/* ---- functions ---- */

static const Step *step_of(const Making *k, const Func *f) {
    for (size_t i = 0; k->loops && i < k->loops->steps.n; i++)
        if (k->loops->steps.at[i]->func == f) return k->loops->steps.at[i];
    return NULL;
}

typedef Vec(struct nn_kernel) Kernels;

/* What it computes and moves is counted for a batch of one and for the largest, and taken to be linear in between, which it is but for remainders. */
static struct nn_kernel make_kernel(Making *k, const Step *s, const StepNode *node, LoopsCost one, LoopsCost all) {
    LoopsCost each = {0};
    if (s->batch && s->batch_bound > 1) {
        each.operations = (all.operations - one.operations) / (double)(s->batch_bound - 1);
        each.bytes = (all.bytes - one.bytes) / (double)(s->batch_bound - 1);
    }
    return (struct nn_kernel){.name = node->name,
                              .place = node->loc.file ? arena_printf(k->a, "%s:%d", node->loc.file, node->loc.line) : "?",
                              .flop = one.operations - each.operations,
                              .flop_batch = each.operations,
                              .bytes = one.bytes - each.bytes,
                              .bytes_batch = each.bytes};
}

typedef Vec(struct nn_store) Stores;

/* From the first element of a buffer to behind its last, without a batch and more for each sample. */
static struct nn_store make_store(const Buffer *b, int64_t kernel) {
    const Buffer *root = buffer_memory(b);
    struct nn_store store = {.kernel = kernel,
                             .slot = root->slot ? root->slot->index : -1,
                             .offset = root->offset,
                             .elem = (int64_t)b->elem,
                             .count = 1};
    for (int i = 0; i < b->rank; i++) {
        store.count += ((b->dim[i].batch ? 0 : b->dim[i].n) - 1) * b->stride[i];
        if (b->dim[i].batch) store.count_batch += b->dim[i].n * b->stride[i];
    }
    return store;
}

static void list_stores(Making *k, const Body *body, int64_t kernel, Stores *list) {
    for (const Stmt *s = body->first; s; s = s->next) {
        list_stores(k, &s->body, kernel, list);
        if (s->kind != STMT_STORE || !elem_is_float(s->buffer->elem) || s->buffer->place == PLACE_THREAD) continue;
        struct nn_store store = make_store(s->buffer, kernel);
        bool there = false;
        for (size_t i = list->n; i-- > 0 && list->at[i].kernel == kernel;)
            there |= memcmp(&list->at[i], &store, sizeof store) == 0;
        if (!there) vec_push(k->a, list, store);
    }
}

typedef struct Listing {
    Making *k;
    const Step *step;
    LoopsCosts one, all; /* for a batch of one, and for the largest */
    Kernels kernels;
    Stores stores;
} Listing;

/* In the order in which the backend emits their calls. */
static void list_kernels(Listing *l, StepNode *const *at, size_t n) {
    for (size_t i = 0; i < n; i++) {
        size_t k = l->kernels.n;
        if (at[i]->kind == STEP_KERNEL) {
            list_stores(l->k, &at[i]->body, (int64_t)k, &l->stores);
            vec_push(l->k->a, &l->kernels, make_kernel(l->k, l->step, at[i], l->one.at[k], l->all.at[k]));
        }
        list_kernels(l, at[i]->nodes.at, at[i]->nodes.n);
    }
}

static Listing list_step(Making *k, const Step *s) {
    Listing l = {.k = k, .step = s};
    if (!s) return l;
    Arena *scratch = arena_new();
    l.one = step_costs(scratch, s, 1);
    l.all = step_costs(scratch, s, s->batch ? s->batch_bound : 1);
    list_kernels(&l, s->nodes.at, s->nodes.n);
    arena_free(scratch);
    return l;
}

static struct nn_func make_func(Making *k, const Func *f) {
    const Step *s = step_of(k, f);
    Listing l = list_step(k, s);
    /* of compiled code what it does: a step read from text says no more, and both are to be the same program */
    StepSlots slots = s ? step_slots(k->a, s) : (StepSlots){f->in_slots, f->out_slots};
    return (struct nn_func){.kernels = l.kernels.at,
                            .n_kernels = (int64_t)l.kernels.n,
                            .stores = l.stores.at,
                            .n_stores = (int64_t)l.stores.n,
                            .name = f->name,
                            .batch_bound = f->batch_bound,
                            .arena = s ? step_own_at(s, 0) : 0,
                            .own = s ? step_own_at(s, 1) - step_own_at(s, 0) : 0,
                            .threads = s ? s->threads : 1,
                            .line = f->loc.line,
                            .reads = slot_list(k, slots.read.at, slots.read.n),
                            .n_reads = (int64_t)slots.read.n,
                            .writes = slot_list(k, slots.written.at, slots.written.n),
                            .n_writes = (int64_t)slots.written.n};
}

struct nn_program *program_make(Arena *a, const Module *m, const LoopsProgram *loops, const ProgramTexts *texts) {
    Making k = {a, m, loops};
    struct nn_program *p = arena_make(a, struct nn_program);
    struct nn_slot *slots = arena_make_n(a, struct nn_slot, m->slots.n + 1);
    int64_t frame = 0, fields = 0;
    for (size_t i = 0; i < m->slots.n; i++) {
        if (m->slots.at[i]->index != (int)i)
            bug("slot %s has the index %d, not %zu", m->slots.at[i]->name, m->slots.at[i]->index, i);
        slots[i] = make_slot(&k, m->slots.at[i], &frame, &fields);
    }
    struct nn_data *data = arena_make_n(a, struct nn_data, m->data.n + 1);
    for (size_t i = 0; i < m->data.n; i++) data[i] = make_data(&k, m->data.at[i]);
    struct nn_vocab *vocabs = arena_make_n(a, struct nn_vocab, m->vocabs.n + 1);
    for (size_t i = 0; i < m->vocabs.n; i++) vocabs[i] = make_vocab(m->vocabs.at[i]);
    struct nn_func *funcs = arena_make_n(a, struct nn_func, m->funcs.n + 1);
    for (size_t i = 0; i < m->funcs.n; i++) funcs[i] = make_func(&k, m->funcs.at[i]);
    struct nn_command *commands = arena_make_n(a, struct nn_command, m->commands.n + 1);
    for (size_t i = 0; i < m->commands.n; i++) commands[i] = make_command(&k, m->commands.at[i]);
    *p = (struct nn_program){.abi = NN_ABI,
                             .source = m->source,
                             .version = texts ? texts->version : NULL,
                             .summary = texts ? texts->summary : NULL,
                             .plan = texts ? texts->plan : NULL,
                             .source_dir = texts ? texts->source_dir : NULL,
                             .cpu = texts ? texts->cpu : NULL,
                             .needs = texts ? texts->needs : NULL,
                             .hash = m->hash,
                             .frame = frame,
                             .fields = fields,
                             .slots = slots,
                             .n_slots = (int64_t)m->slots.n,
                             .data = data,
                             .n_data = (int64_t)m->data.n,
                             .vocabs = vocabs,
                             .n_vocabs = (int64_t)m->vocabs.n,
                             .funcs = funcs,
                             .n_funcs = (int64_t)m->funcs.n,
                             .commands = commands,
                             .n_commands = (int64_t)m->commands.n};
    return p;
}
