/*
 * verify.c - graph_verify: is this graph what graph.h says a graph is? Asked after every pass in debug builds, and after reading
 * a text.
 *
 * functions  every operand is defined before it is used, in this block or one around it; types are what op_infer says; lists,
 * blocks and values point at each other as they must; parameters and results match their slots; only ops that the stage allows.
 * slots      names, shapes, bounds of B, kinds; the functions that make first values give just that.
 * commands   every node has its parts, and they fit; what has a batch has room for that of the loop it stands in.
 *
 * The fault is told as text: the reason on the first line, then the op with its neighbours and its place.
 */
#include "text.h"

#include <string.h>

typedef struct Verifier {
    Arena *arena;
    const Module *m;
    Stage stage;
    const Func *func;
    bool *visible; /* by value id */
    bool *known;   /* ids that have been given */
    bool steps;    /* functions are steps of loops: their bodies are not here */
} Verifier;

/* ---- messages ---- */

static const char *op_line(Arena *a, const char *mark, const Op *op) {
    return op ? arena_printf(a, "\n%s %s", mark, op_text(a, op)) : "";
}

/* The reason, then the op between its neighbours. */
static const char *op_fault(Verifier *v, const Op *op, const char *why) {
    const char *place = op->loc.file ? arena_printf(v->arena, " (%s:%d)", op->loc.file, op->loc.line) : "";
    return arena_printf(v->arena, "@%s: `%s`%s: %s%s%s%s", v->func->name, op_info[op->code].name, place, why,
                        op_line(v->arena, "     ", op->prev), op_line(v->arena, "  -->", op),
                        op_line(v->arena, "     ", op->next));
}

#define FAULT(v, ...) arena_printf((v)->arena, __VA_ARGS__)

/* ---- functions ---- */

static const char *check_type(const Type *t, const Func *f) {
    const char *why = type_fault(t->rank, t->dim);
    if (why) return why;
    if (!type_has_batch(t)) return NULL;
    if (f->batch_bound < 1) return "a tensor has the batch dimension B, but the function has no bound for it";
    return type_too_large(t, f->batch_bound) ? "with the largest batch a tensor has more than 2^40 elements" : NULL;
}

/* A value that becomes visible here. */
static const char *define(Verifier *v, const Value *x, const Op *def, const Block *block, int index) {
    if (!x || !x->type) return "a value has no type";
    if (x->id < 0 || x->id >= v->func->n_values) return FAULT(v, "value id %d is outside 0..%d", x->id, v->func->n_values);
    if (v->known[x->id]) return FAULT(v, "value id %d is given twice", x->id);
    if (x->def != def || x->block != block || x->index != index) return "a value does not point back to where it is defined";
    v->known[x->id] = v->visible[x->id] = true;
    return check_type(x->type, v->func);
}

static const char *check_use(Verifier *v, const Value *x) {
    if (!x) return "an operand is missing";
    if (x->id < 0 || x->id >= v->func->n_values || !v->visible[x->id])
        return FAULT(v, "%%%s is used where it is not defined", x->name ? x->name : "?");
    return NULL;
}

/* Which letter of OpInfo.stages must be there. */
static const char *check_stage(Verifier *v, const Op *op, bool in_kernel) {
    char letter = v->stage == STAGE_FRONT ? 'g' : v->stage == STAGE_EXPANDED ? 'e' : in_kernel ? 'k' : 't';
    if (strchr(op_info[op->code].stages, letter)) return NULL;
    switch (letter) {
    case 'g': return "this op does not come from the front end";
    case 'e': return "this op is gone when gradients are expanded, or made only later";
    case 'k': return "this op cannot stand inside a kernel";
    default: return "after fuse this op stands inside a kernel";
    }
}

static const char *check_block(Verifier *v, const Block *b, const Op *owner, bool in_kernel);

static const char *check_op(Verifier *v, const Op *op, bool in_kernel) {
    const char *why = check_stage(v, op, in_kernel);
    for (int i = 0; i < op->n_in && !why; i++) why = check_use(v, op->in[i]);
    for (int i = 0; i < op->n_blocks && !why; i++)
        if (!op->blocks[i] || op->blocks[i]->op != op) why = "a block does not point back to its op";
    if (why) return op_fault(v, op, why);
    for (int i = 0; i < op->n_blocks; i++)
        if ((why = check_block(v, op->blocks[i], op, in_kernel || op->code == OP_kernel))) return why;
    const Type **types = arena_make_n(v->arena, const Type *, (size_t)op->n_out);
    if ((why = op_infer(v->arena, op, types))) return op_fault(v, op, why);
    for (int i = 0; i < op->n_out && !why; i++) {
        why = define(v, op->out[i], op, op->block, i);
        if (!why && op->out[i]->type != types[i])
            why = FAULT(v, "result %d is %s, and its rule says %s", i + 1, type_name(op->out[i]->type), type_name(types[i]));
    }
    return why ? op_fault(v, op, why) : NULL;
}

/* What was visible inside is not so outside. */
static void leave_block(Verifier *v, const Block *b) {
    for (size_t i = 0; i < b->params.n; i++) v->visible[b->params.at[i]->id] = false;
    for (const Op *op = b->first; op; op = op->next)
        for (int i = 0; i < op->n_out; i++) v->visible[op->out[i]->id] = false;
}

static const char *check_block(Verifier *v, const Block *b, const Op *owner, bool in_kernel) {
    const char *why;
    if (b->func != v->func || b->op != owner) return FAULT(v, "@%s: a block does not know its function or op", v->func->name);
    for (size_t i = 0; i < b->params.n; i++)
        if ((why = define(v, b->params.at[i], NULL, b, (int)i)))
            return FAULT(v, "@%s: parameter %zu: %s", v->func->name, i + 1, why);
    for (const Op *op = b->first, *prev = NULL; op; prev = op, op = op->next) {
        if (op->block != b || op->prev != prev || (!op->next && b->last != op))
            return op_fault(v, op, "the list of ops is broken here");
        if ((why = check_op(v, op, in_kernel))) return why;
    }
    for (size_t i = 0; i < b->results.n; i++) {
        if (!(why = check_use(v, b->results.at[i]))) continue;
        return owner ? op_fault(v, owner, FAULT(v, "result %zu of its block: %s", i + 1, why))
                     : FAULT(v, "@%s: result %zu: %s", v->func->name, i + 1, why);
    }
    leave_block(v, b);
    return NULL;
}

static bool has_slot(const Module *m, const Slot *s) {
    return s && s->index >= 0 && (size_t)s->index < m->slots.n && m->slots.at[s->index] == s;
}

/* Parameters (or results) and the slots they stand for. */
static const char *check_slots(Verifier *v, const char *what, Slot *const *slots, size_t n_slots, Value *const *values,
                               size_t n) {
    if (n != n_slots) return FAULT(v, "@%s has %zu %ss for %zu slots", v->func->name, n, what, n_slots);
    for (size_t i = 0; i < n; i++) {
        if (!has_slot(v->m, slots[i])) return FAULT(v, "@%s: %s %zu has no slot of the module", v->func->name, what, i + 1);
        if (slots[i]->type != values[i]->type)
            return FAULT(v, "@%s: %s %zu is %s, but its slot %%%s is %s", v->func->name, what, i + 1, type_name(values[i]->type),
                         slots[i]->name, type_name(slots[i]->type));
        if (v->func->batch_bound && type_has_batch(slots[i]->type) && slots[i]->batch_bound != v->func->batch_bound)
            return FAULT(v, "@%s has batches of at most %" PRId64 ", and its slot %%%s of at most %" PRId64, v->func->name,
                         v->func->batch_bound, slots[i]->name, slots[i]->batch_bound);
        for (size_t k = 0; k < i; k++)
            if (slots[k] == slots[i]) return FAULT(v, "@%s: two %ss for the slot %%%s", v->func->name, what, slots[i]->name);
    }
    return NULL;
}

static const char *check_func(Verifier *v, const Func *f) {
    const char *why;
    v->func = f;
    if (!f->name || f->module != v->m || !f->body) return FAULT(v, "a function lacks its name, module or body");
    if (func_by_name(v->m, f->name) != f) return FAULT(v, "two functions are called @%s", f->name);
    if (f->batch_bound < 0) return FAULT(v, "@%s: the bound of the batch is %" PRId64, f->name, f->batch_bound);
    v->visible = arena_make_n(v->arena, bool, (size_t)f->n_values);
    v->known = arena_make_n(v->arena, bool, (size_t)f->n_values);
    for (size_t i = 0; i < f->body->params.n; i++)
        if (!f->body->params.at[i] || !f->body->params.at[i]->type)
            return FAULT(v, "@%s: parameter %zu has no type", f->name, i + 1);
    if ((why = check_slots(v, "parameter", f->in_slots.at, f->in_slots.n, f->body->params.at, f->body->params.n))) return why;
    if ((why = check_block(v, f->body, NULL, false))) return why;
    return check_slots(v, "result", f->out_slots.at, f->out_slots.n, f->body->results.at, f->body->results.n);
}

/* ---- slots ---- */

static bool has_func(const Module *m, const Func *f) {
    for (size_t i = 0; i < m->funcs.n; i++)
        if (m->funcs.at[i] == f) return true;
    return false;
}

/* The step that makes a first value stores it. */
static const char *check_init_step(Verifier *v, const Slot *s) {
    bool makes = false;
    for (size_t i = 0; i < s->init->out_slots.n; i++) makes |= s->init->out_slots.at[i] == s;
    return makes ? NULL : FAULT(v, "%%%s: @%s does not make its first value", s->name, s->init->name);
}

static const char *check_init(Verifier *v, const Slot *s) {
    if (!s->init) return NULL;
    if (s->kind != SLOT_PARAM && s->kind != SLOT_STATE && s->kind != SLOT_OPTSTATE)
        return FAULT(v, "%%%s is no parameter or state: nothing makes its first value", s->name);
    if (!has_func(v->m, s->init))
        return FAULT(v, "%%%s: its first value comes from a function that is not in the module", s->name);
    if (s->init->batch_bound) return FAULT(v, "%%%s: @%s, which makes its first value, has a batch", s->name, s->init->name);
    for (size_t i = 0; i < s->init->in_slots.n; i++) { /* there are no data yet */
        const Slot *used = s->init->in_slots.at[i];
        if (slot_is_batch(used))
            return FAULT(v, "%%%s: @%s, which makes its first value, reads %%%s", s->name, s->init->name, used->name);
    }
    if (v->steps) return check_init_step(v, s);
    const Block *b = s->init->body;
    if (b->results.n != 1 || b->results.at[0]->type != s->type)
        return FAULT(v, "%%%s is %s: @%s, which makes its first value, does not give one such result", s->name,
                     type_name(s->type), s->init->name);
    return NULL;
}

/* The type that slots of a kind have, NULL: any. */
static const Type *kind_type(SlotKind k) {
    if (k == SLOT_COUNTER || k == SLOT_STEP) return type_scalar(I32);
    return k == SLOT_KEY || k == SLOT_FIRST ? type_scalar(I64) : NULL;
}

static bool has_command(const Module *m, const char *name) {
    for (size_t i = 0; i < m->commands.n; i++)
        if (strcmp(m->commands.at[i]->name, name) == 0) return true;
    return false;
}

static const char *check_slot(Verifier *v, const Slot *s) {
    const char *why = type_fault(s->type->rank, s->type->dim);
    if (why) return FAULT(v, "%%%s is %s: %s", s->name, type_name(s->type), why);
    if (slot_by_name(v->m, s->name) != s) return FAULT(v, "two slots are called %%%s", s->name);
    if (type_has_batch(s->type) != (s->batch_bound > 0))
        return FAULT(v, "%%%s is %s, with the bound %" PRId64 " of B", s->name, type_name(s->type), s->batch_bound);
    if (s->batch_bound && (s->kind == SLOT_PARAM || s->kind == SLOT_STATE || s->kind == SLOT_OPTSTATE))
        return FAULT(v, "%%%s, a %s, is %s: its size cannot depend on the batch", s->name, slot_words[s->kind],
                     type_name(s->type));
    if (s->batch_bound && type_too_large(s->type, s->batch_bound))
        return FAULT(v, "%%%s is %s: with the largest batch it has more than 2^40 elements", s->name,
                     type_name_bound(s->type, s->batch_bound));
    const Type *want = kind_type(s->kind);
    if (want && s->type != want)
        return FAULT(v, "%%%s, a %s, is %s, not %s", s->name, slot_words[s->kind], type_name(s->type), type_name(want));
    if (s->kind == SLOT_OPTION && s->type->rank)
        return FAULT(v, "the option %%%s is %s, not a scalar", s->name, type_name(s->type));
    if (s->command && v->m->commands.n && !has_command(v->m, s->command))
        return FAULT(v, "%%%s belongs to a command @%s that does not exist", s->name, s->command);
    return check_init(v, s);
}

/* ---- commands ---- */

typedef struct CommandCheck {
    Verifier *v;
    const Command *c;
    Vec(const Node *) around; /* loops over data that are open */
} CommandCheck;

#define BAD(x, n, ...) node_fault(x, n, arena_printf((x)->v->arena, __VA_ARGS__))

static const char *node_fault(CommandCheck *x, const Node *n, const char *why) {
    return arena_printf(x->v->arena, "command @%s%s: %s", x->c->name,
                        n->loc.file ? arena_printf(x->v->arena, " (%s:%d)", n->loc.file, n->loc.line) : "", why);
}

static const char *check_bound(CommandCheck *x, const Node *n, Bound b) {
    if (!b.slot) return NULL;
    if (!has_slot(x->v->m, b.slot)) return BAD(x, n, "a bound is no slot of the module");
    if (b.slot->type->rank || !elem_is_int(b.slot->type->elem))
        return BAD(x, n, "the bound %%%s is %s, not a whole number", b.slot->name, type_name(b.slot->type));
    return NULL;
}

/* A batch of a field: a leading axis in front of one sample's shape. */
static const char *check_field(CommandCheck *x, const Node *n, const DataUse *u, size_t i) {
    const Slot *s = u->fields.at[i];
    const Type *one = u->set->fields.at[i].type;
    if (!has_slot(x->v->m, s) || s->kind != SLOT_FIELD)
        return BAD(x, n, "field %zu of @%s goes to no field slot", i + 1, u->set->name);
    bool fits = s->type->elem == one->elem && s->type->rank == one->rank + 1;
    for (int k = 0; fits && k < one->rank; k++) fits = dim_same(s->type->dim[k + 1], one->dim[k]);
    if (!fits) return BAD(x, n, "%%%s is %s, and takes samples of %s", s->name, type_name(s->type), type_name(one));
    Dim d = s->type->dim[0];
    if (d.batch && u->batch < n->sets.at[0].batch) /* B is the first set's */
        return BAD(x, n, "%%%s takes batches of %" PRId64 " beside larger ones, of %" PRId64, s->name, u->batch,
                   n->sets.at[0].batch);
    if (d.batch ? d.n != 1 || s->batch_bound < u->batch
                : d.n != u->batch || !(u->drop_last || u->lanes ||
                                       u != n->sets.at)) /* sets beside the first wrap inside a batch: always whole */
        return BAD(x, n, "%%%s is %s, and takes batches of %" PRId64, s->name, type_name_bound(s->type, s->batch_bound),
                   u->batch);
    return NULL;
}

static const char *check_data_use(CommandCheck *x, const Node *n, const DataUse *u) {
    bool found = false;
    for (size_t i = 0; i < x->v->m->data.n; i++) found |= x->v->m->data.at[i] == u->set;
    if (!found) return BAD(x, n, "a data set is not in the module");
    if (u->batch < 1) return BAD(x, n, "a batch of %" PRId64, u->batch);
    if (u->fields.n > u->set->fields.n)
        return BAD(x, n, "%zu names for the %zu fields of @%s", u->fields.n, u->set->fields.n, u->set->name);
    const char *why = check_bound(x, n, u->from);
    if (!why) why = check_bound(x, n, u->to);
    for (size_t i = 0; i < u->fields.n && !why; i++) why = check_field(x, n, u, i);
    return why;
}

/* The most samples that the batch at hand has: of the data of the innermost loop over some, or of the command's inputs. */
static int64_t most_samples(const CommandCheck *x) {
    if (x->around.n) return x->around.at[x->around.n - 1]->sets.at[0].batch;
    int64_t most = 0;
    for (size_t i = 0; i < x->c->inputs.n; i++) {
        int64_t bound = x->c->inputs.at[i].slot->batch_bound;
        if (bound && (!most || bound < most)) most = bound; /* they have the same number */
    }
    return most ? most : 1;
}

/* What a command shows, writes and watches is the program's own: batches of data lie elsewhere. It has room for the batch at hand, by
 * which its size is reckoned. */
static bool has_own_slot(const CommandCheck *x, const Slot *s) {
    return has_slot(x->v->m, s) && !slot_is_batch(s) && (!type_has_batch(s->type) || s->batch_bound >= most_samples(x));
}

static const char *check_track(CommandCheck *x, const Node *n) {
    for (size_t i = 0; i < n->tracked.n; i++) {
        const Tracked *t = &n->tracked.at[i];
        if (!has_own_slot(x, t->value) || !t->name)
            return BAD(x, n, "something tracked has no slot with room for it, or no name");
        if (!t->average) continue;
        if (!has_slot(x->v->m, t->average) || t->average->kind != SLOT_VAR ||
            t->average->type != type_with_elem(t->value->type, F32))
            return BAD(x, n, "the average of %%%s goes to no f32 variable of its shape", t->value->name);
    }
    return NULL;
}

static const char *check_pieces(CommandCheck *x, const Node *n) {
    for (size_t i = 0; i < n->pieces.n; i++) {
        const Piece *g = &n->pieces.at[i];
        if (g->slot ? !has_own_slot(x, g->slot) : !g->text)
            return BAD(x, n, "piece %zu of a text is nothing, or has no room for the batch", i + 1);
    }
    return NULL;
}

static bool binds(const Node *loop, const Slot *s) {
    for (size_t k = 0; k < loop->sets.n; k++)
        for (size_t f = 0; f < loop->sets.at[k].fields.n; f++)
            if (loop->sets.at[k].fields.at[f] == s) return true;
    return false;
}

/* A batch that a function reads is there, and where its type has B it is the one at hand, which says how large B is. */
static const char *check_read(CommandCheck *x, const Node *n, const Slot *s) {
    bool found = false, at_hand = !x->around.n;
    if (s->kind == SLOT_INPUT) {
        for (size_t i = 0; i < x->c->inputs.n; i++) found |= x->c->inputs.at[i].slot == s;
        if (!found) return BAD(x, n, "@%s reads %%%s, which is no input of this command", n->func->name, s->name);
    } else {
        for (size_t i = 0; i < x->around.n; i++) found |= at_hand = binds(x->around.at[i], s);
        if (!found) return BAD(x, n, "@%s reads the field %%%s, which no loop around binds", n->func->name, s->name);
    }
    if (at_hand || !type_has_batch(s->type)) return NULL;
    return BAD(x, n, "@%s reads %%%s, a batch of another loop than the one around", n->func->name, s->name);
}

static const char *check_call(CommandCheck *x, const Node *n) {
    if (!has_func(x->v->m, n->func)) return BAD(x, n, "a call of a function that is not in the module");
    if (n->func->batch_bound && n->func->batch_bound < most_samples(x))
        return BAD(x, n, "@%s has batches of at most %" PRId64 ", and is called with %" PRId64, n->func->name,
                   n->func->batch_bound, most_samples(x));
    for (size_t i = 0; i < n->func->in_slots.n; i++) {
        const char *why = slot_is_batch(n->func->in_slots.at[i]) ? check_read(x, n, n->func->in_slots.at[i]) : NULL;
        if (why) return why;
    }
    return NULL;
}

static const char *check_nodes(CommandCheck *x, Node *const *nodes, size_t n_nodes, bool in_loop);

static const char *check_node(CommandCheck *x, const Node *n, bool in_loop) {
    const Module *m = x->v->m;
    const char *why;
    switch (n->kind) {
    case NODE_RANGE:
        if ((why = check_bound(x, n, n->lo)) || (why = check_bound(x, n, n->hi))) return why;
        if (n->counter && (!has_slot(m, n->counter) || n->counter->kind != SLOT_COUNTER))
            return BAD(x, n, "the counter of a loop is no counter slot");
        return check_nodes(x, n->body.at, n->body.n, true);
    case NODE_DATA:
        if (!n->sets.n) return BAD(x, n, "a loop over data has no data");
        for (size_t i = 0; i < n->sets.n; i++)
            if ((why = check_data_use(x, n, &n->sets.at[i]))) return why;
        vec_push(x->v->arena, &x->around, n);
        why = check_nodes(x, n->body.at, n->body.n, true);
        x->around.n--;
        return why;
    case NODE_CALL: return check_call(x, n);
    case NODE_TRACK: return in_loop ? check_track(x, n) : BAD(x, n, "track outside a loop");
    case NODE_KEEP:
    case NODE_STOP:
        if (!in_loop) return BAD(x, n, "keep or stop outside a loop");
        if (!has_own_slot(x, n->slot) || n->slot->type->rank) return BAD(x, n, "keep or stop watches no scalar slot");
        return n->kind == NODE_STOP && n->stalls < 1 ? BAD(x, n, "stop after %" PRId64 " turns", n->stalls) : NULL;
    case NODE_WRITE:
        if (!has_own_slot(x, n->slot)) return BAD(x, n, "write of no slot, or of one without room for the batch");
        return check_pieces(x, n);
    case NODE_PRINT: return check_pieces(x, n);
    case NODE_SAVE:
    case NODE_LOAD:
        for (size_t i = 0; i < n->slots.n; i++)
            if (!has_slot(m, n->slots.at[i]) || (n->slots.at[i]->kind != SLOT_PARAM && n->slots.at[i]->kind != SLOT_STATE))
                return BAD(x, n, "save or load of something that is no parameter or state");
        return check_pieces(x, n);
    }
    return BAD(x, n, "a node of unknown kind");
}

static const char *check_nodes(CommandCheck *x, Node *const *nodes, size_t n_nodes, bool in_loop) {
    const char *why = NULL;
    for (size_t i = 0; i < n_nodes && !why; i++) why = check_node(x, nodes[i], in_loop);
    return why;
}

static const char *check_command(Verifier *v, const Command *c) {
    CommandCheck x = {.v = v, .c = c};
    for (size_t i = 0; i < c->inputs.n; i++)
        if (!has_slot(v->m, c->inputs.at[i].slot) || c->inputs.at[i].slot->kind != SLOT_INPUT)
            return FAULT(v, "command @%s: input `%s` has no input slot", c->name, c->inputs.at[i].name);
    for (size_t i = 0; i < c->outputs.n; i++)
        if (!has_own_slot(&x, c->outputs.at[i].slot))
            return FAULT(v, "command @%s: output `%s` has no slot with room for it", c->name, c->outputs.at[i].name);
    for (size_t i = 0; i < c->options.n; i++)
        if (!has_slot(v->m, c->options.at[i]) || c->options.at[i]->kind != SLOT_OPTION)
            return FAULT(v, "command @%s: an option has no option slot", c->name);
    for (size_t i = 0; i < c->weights.n; i++)
        if (!has_slot(v->m, c->weights.at[i]) || (c->weights.at[i]->kind != SLOT_PARAM && c->weights.at[i]->kind != SLOT_STATE))
            return FAULT(v, "command @%s needs weights that are no parameter or state", c->name);
    return check_nodes(&x, c->body.at, c->body.n, false);
}

static const char *check_all_slots(Verifier *v) {
    const char *why = NULL;
    for (size_t i = 0; i < v->m->slots.n && !why; i++) {
        if (!has_slot(v->m, v->m->slots.at[i]))
            why = FAULT(v, "slot %zu does not know its place", i);
        else
            why = check_slot(v, v->m->slots.at[i]);
    }
    return why;
}

static const char *check_all_commands(Verifier *v) {
    const char *why = NULL;
    for (size_t i = 0; i < v->m->commands.n && !why; i++) why = check_command(v, v->m->commands.at[i]);
    return why;
}

const char *graph_verify(Arena *a, const Module *m, Stage stage) {
    Verifier v = {.arena = a, .m = m, .stage = stage};
    const char *why = check_all_slots(&v);
    for (size_t i = 0; i < m->funcs.n && !why; i++) why = check_func(&v, m->funcs.at[i]);
    return why ? why : check_all_commands(&v);
}

const char *module_verify(Arena *a, const Module *m) {
    Verifier v = {.arena = a, .m = m, .steps = true};
    const char *why = check_all_slots(&v);
    return why ? why : check_all_commands(&v);
}
