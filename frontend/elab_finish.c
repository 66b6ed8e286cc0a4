/*
 * elab_finish.c - what can be said only when all commands have been elaborated: names (N3), which values really go from one
 * function to another, and what each command needs.
 */
#include "elab.h"

#include <stdlib.h>

/* ---- names of instances and parameters ---- */

/* Order in the unrolled text: copied loops first by place, then by copy. */
static int compare_place(Loc a, Loc b) {
    return a.line != b.line ? (a.line < b.line ? -1 : 1) : a.col != b.col ? (a.col < b.col ? -1 : 1) : 0;
}

typedef struct Step {
    Loc loc;
    int64_t copy;
} Step;

static int steps_of(const Path *p, Loc last, Step *out, int room) {
    int n = 0;
    for (const Path *q = p; q; q = q->up) n++;
    if (n >= room) n = room - 1;
    int i = n;
    for (const Path *q = p; q && i > 0; q = q->up) out[--i] = (Step){q->loc, q->copy};
    out[n] = (Step){last, 0};
    return n + 1;
}

static int compare_text(const Path *p, Loc a, const Path *q, Loc b) {
    Step s[64], t[64];
    int n = steps_of(p, a, s, 64), m = steps_of(q, b, t, 64);
    for (int i = 0; i < n && i < m; i++) {
        int c = compare_place(s[i].loc, t[i].loc);
        if (c) return c;
        if (s[i].copy != t[i].copy) return s[i].copy < t[i].copy ? -1 : 1;
    }
    return n - m;
}

static int by_text(const void *a, const void *b) {
    const Instance *x = *(Instance *const *)a, *y = *(Instance *const *)b;
    return compare_text(x->path, x->loc, y->path, y->loc);
}

static int owned_by_text(const void *a, const void *b) {
    const Owned *x = *(Owned *const *)a, *y = *(Owned *const *)b;
    return compare_text(x->path, x->loc, y->path, y->loc);
}

typedef struct Alike {
    int all, count;
} Alike;

static Alike *alike(Elab *e, PtrMap *by, const char *name) {
    Alike *a = map_get(by, name);
    if (!a) map_put(e->a, by, name, a = arena_make(e->a, Alike));
    return a;
}

/* "dense_2" for the second of its kind; "d", or "d_2" for the second copy of a `let d`. */
static const char **part_names(Elab *e, const Instance *owner) {
    PtrMap lets = {0}, kinds = {0};
    size_t n = owner->children.n;
    const char **names = arena_make_n(e->a, const char *, n + 1);
    for (size_t k = 0; k < n; k++)
        if (owner->children.at[k]->let_name) alike(e, &lets, owner->children.at[k]->let_name)->all++;
    for (size_t k = 0; k < n; k++) {
        const Instance *i = owner->children.at[k];
        Alike *a = i->let_name ? alike(e, &lets, i->let_name) : alike(e, &kinds, i->layer->name);
        a->count++;
        if (!i->let_name)
            names[k] = intern_printf("%s_%d", i->layer->name, a->count);
        else
            names[k] = a->all > 1 || i->path ? intern_printf("%s_%d", i->let_name, a->count) : i->let_name;
    }
    return names;
}

static void name_instance(Elab *e, Instance *i, const char *name) {
    i->name = name;
    if (i->owned.n) qsort(i->owned.at, i->owned.n, sizeof *i->owned.at, owned_by_text);
    for (size_t k = 0; k < i->owned.n; k++) {
        Owned *o = i->owned.at[k];
        int count = 0, all = 0;
        for (size_t j = 0; j < i->owned.n; j++) {
            all += i->owned.at[j]->name == o->name;
            count += i->owned.at[j]->name == o->name && j <= k;
        }
        o->slot->name =
            all > 1 || o->path ? intern_printf("%s.%s_%d", name, o->name, count) : intern_printf("%s.%s", name, o->name);
    }
    if (i->children.n) qsort(i->children.at, i->children.n, sizeof *i->children.at, by_text);
    const char **names = part_names(e, i);
    for (size_t k = 0; k < i->children.n; k++) name_instance(e, i->children.at[k], intern_printf("%s.%s", name, names[k]));
}

/* A name that no slot or function has yet. */
static const char *unique(Elab *e, PtrMap *taken, const char *name) {
    const char *n = intern(name), *base = n;
    intptr_t *next = map_get(taken, n); /* of a name that is taken: the number to try next */
    while (next && map_get(taken, n)) n = intern_printf("%s_%d", base, (int)++*next);
    intptr_t *first = arena_make(e->a, intptr_t);
    *first = 1;
    map_put(e->a, taken, n, first);
    return n;
}

static const char *hint_of(const char *name) {
    const char *end = strchr(name, '#');
    return end ? intern_n(name, (size_t)(end - name)) : name;
}

static void name_slots(Elab *e) {
    Module *m = e->m;
    PtrMap taken = {0};
    for (size_t i = 0; i < e->models.n; i++) name_instance(e, e->models.at[i], e->models.at[i]->let_name);
    for (size_t i = 0; i < e->owned.n; i++) {
        Owned *o = e->owned.at[i];
        if (o->kind != SLOT_OPTSTATE && !o->owner) o->slot->name = o->name;
    }
    for (size_t i = 0; i < e->owned.n; i++) {
        Owned *o = e->owned.at[i];
        if (o->kind == SLOT_OPTSTATE) o->slot->name = intern_printf("%s.%s.%s", o->of->slot->name, o->optimizer, o->name);
    }
    static const SlotKind first[] = {SLOT_PARAM, SLOT_STATE, SLOT_OPTION, SLOT_KEY, SLOT_FIRST};
    for (size_t k = 0; k < sizeof first / sizeof *first; k++)
        for (size_t i = 0; i < m->slots.n; i++)
            if (m->slots.at[i]->kind == first[k]) m->slots.at[i]->name = unique(e, &taken, m->slots.at[i]->name);
    for (size_t i = 0; i < m->slots.n; i++) {
        Slot *s = m->slots.at[i];
        bool done = false;
        for (size_t k = 0; k < sizeof first / sizeof *first; k++) done = done || s->kind == first[k];
        if (done) continue;
        const char *name = hint_of(s->name);
        if (s->kind != SLOT_OPTSTATE && s->kind != SLOT_STEP && s->command) name = intern_printf("%s.%s", s->command, name);
        s->name = unique(e, &taken, name);
    }
}

/* ---- dead ops, unused reads, unread writes ---- */

static void uncount(int *uses, const Op *op) {
    for (int i = 0; i < op->n_in; i++) uses[op->in[i]->id]--;
    for (int k = 0; k < op->n_blocks; k++) {
        Block *b = op->blocks[k];
        for (Op *o = b->first; o; o = o->next) uncount(uses, o);
        for (size_t i = 0; i < b->results.n; i++) uses[b->results.at[i]->id]--;
    }
}

static void remove_dead(Block *b, int *uses) {
    for (Op *op = b->last, *prev; op; op = prev) {
        prev = op->prev;
        bool used = false;
        for (int i = 0; i < op->n_out; i++) used = used || uses[op->out[i]->id] > 0;
        if (used)
            for (int k = 0; k < op->n_blocks; k++) remove_dead(op->blocks[k], uses);
        else {
            uncount(uses, op);
            op_remove(op);
        }
    }
}

/* Drops parameters nobody uses. */
static void remove_unread(Elab *e, Func *f) {
    int *uses = func_count_uses(e->a, f);
    remove_dead(f->body, uses);
    uses = func_count_uses(e->a, f);
    size_t kept = 0;
    for (size_t i = 0; i < f->in_slots.n; i++) {
        if (!uses[f->body->params.at[i]->id]) continue;
        f->in_slots.at[kept] = f->in_slots.at[i];
        f->body->params.at[kept] = f->body->params.at[i];
        f->body->params.at[kept]->index = (int)kept;
        kept++;
    }
    f->in_slots.n = f->body->params.n = kept;
}

typedef struct Walk {
    Elab *e;
    PtrMap live;  /* slots that somebody reads */
    PtrMap used;  /* slots that are named anywhere */
    PtrMap funcs; /* functions in the list already */
    Vec(Func *) order;
} Walk;

static void note_slot(Walk *w, Slot *s, bool reads) {
    if (!s) return;
    map_put(w->e->a, &w->used, s, s);
    if (reads) map_put(w->e->a, &w->live, s, s);
}

static void walk_nodes(Walk *w, Node *const *nodes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const Node *k = nodes[i];
        note_slot(w, k->counter, false);
        note_slot(w, k->lo.slot, true);
        note_slot(w, k->hi.slot, true);
        note_slot(w, k->slot, true);
        for (size_t j = 0; j < k->sets.n; j++) {
            note_slot(w, k->sets.at[j].from.slot, true);
            note_slot(w, k->sets.at[j].to.slot, true);
            for (size_t x = 0; x < k->sets.at[j].fields.n; x++) note_slot(w, k->sets.at[j].fields.at[x], false);
        }
        for (size_t j = 0; j < k->tracked.n; j++) {
            note_slot(w, k->tracked.at[j].value, true);
            note_slot(w, k->tracked.at[j].average, false);
        }
        for (size_t j = 0; j < k->pieces.n; j++) note_slot(w, k->pieces.at[j].slot, true);
        if (k->func) {
            if (!map_get(&w->funcs, k->func)) {
                map_put(w->e->a, &w->funcs, k->func, k->func);
                vec_push(w->e->a, &w->order, k->func);
            }
            for (size_t j = 0; j < k->func->in_slots.n; j++) note_slot(w, k->func->in_slots.at[j], true);
        }
        walk_nodes(w, k->body.at, k->body.n);
    }
}

static void walk_module(Walk *w, Elab *e) {
    *w = (Walk){.e = e};
    for (size_t i = 0; i < e->m->commands.n; i++) {
        Command *c = e->m->commands.at[i];
        walk_nodes(w, c->body.at, c->body.n);
        for (size_t k = 0; k < c->inputs.n; k++) note_slot(w, c->inputs.at[k].slot, false);
        for (size_t k = 0; k < c->outputs.n; k++) note_slot(w, c->outputs.at[k].slot, true);
    }
}

/* Calls of functions that write nothing do nothing. */
static size_t drop_empty(Node **nodes, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        Node *k = nodes[i];
        if (k->kind == NODE_CALL && k->func->out_slots.n == 0) continue;
        k->body.n = drop_empty(k->body.at, k->body.n);
        nodes[kept++] = k;
    }
    return kept;
}

static bool remove_unread_writes(Walk *w, Func *f) {
    size_t kept = 0, n = f->out_slots.n;
    for (size_t i = 0; i < n; i++) {
        Slot *s = f->out_slots.at[i];
        bool twice = false; /* the same slot written again later: the last one counts */
        for (size_t k = i + 1; k < n; k++) twice = twice || f->out_slots.at[k] == s;
        if (twice || (s->kind == SLOT_VAR && !map_get(&w->live, s))) continue;
        f->out_slots.at[kept] = s;
        f->body->results.at[kept++] = f->body->results.at[i];
    }
    f->out_slots.n = f->body->results.n = kept;
    return kept != n;
}

static void clean_functions(Elab *e) {
    Walk w;
    for (int round = 0; round < 50; round++) {
        walk_module(&w, e);
        for (size_t i = 0; i < w.order.n; i++) remove_unread(e, w.order.at[i]);
        walk_module(&w, e);
        bool changed = false;
        for (size_t i = 0; i < w.order.n; i++) changed = remove_unread_writes(&w, w.order.at[i]) || changed;
        if (!changed) break;
    }
    for (size_t i = 0; i < e->m->commands.n; i++)
        e->m->commands.at[i]->body.n = drop_empty(e->m->commands.at[i]->body.at, e->m->commands.at[i]->body.n);
}

/* The module's lists: initial functions first, then those of commands in order; slots that somebody names. */
static void rebuild_lists(Elab *e) {
    Module *m = e->m;
    Walk w;
    walk_module(&w, e);
    m->funcs.n = 0;
    PtrMap taken = {0};
    for (size_t i = 0; i < m->slots.n; i++) {
        Slot *s = m->slots.at[i];
        if (!s->init) continue;
        remove_unread(e, s->init);
        for (size_t k = 0; k < s->init->in_slots.n; k++) note_slot(&w, s->init->in_slots.at[k], true);
        vec_push(e->a, &m->funcs, s->init);
    }
    for (size_t i = 0; i < w.order.n; i++) {
        for (size_t k = 0; k < w.order.at[i]->out_slots.n; k++) note_slot(&w, w.order.at[i]->out_slots.at[k], false);
        vec_push(e->a, &m->funcs, w.order.at[i]);
    }
    size_t kept = 0;
    for (size_t i = 0; i < m->slots.n; i++) {
        Slot *s = m->slots.at[i];
        bool keep = s->kind == SLOT_PARAM || s->kind == SLOT_STATE || s->kind == SLOT_OPTION || map_get(&w.used, s);
        if (keep) m->slots.at[kept++] = s;
    }
    m->slots.n = kept;
    for (size_t i = 0; i < m->slots.n; i++) m->slots.at[i]->index = (int)i;
    name_slots(e);
    for (size_t i = 0; i < m->slots.n; i++)
        if (m->slots.at[i]->init) m->slots.at[i]->init->name = unique(e, &taken, intern_printf("init.%s", m->slots.at[i]->name));
}

static void name_functions(Elab *e, const Command *c, Node *const *nodes, size_t n, PtrMap *taken, int *count) {
    for (size_t i = 0; i < n; i++) {
        Node *k = nodes[i];
        if (k->kind == NODE_CALL) {
            const FuncInfo *info = map_get(&e->infos, k->func);
            const char *hint = info->hint[0] ? info->hint : intern_printf("%d", ++*count);
            k->func->name = unique(e, taken, intern_printf("%s.%s", c->name, hint));
        }
        name_functions(e, c, k->body.at, k->body.n, taken, count);
    }
}

/* The table of layers, outer ones first. */
static void list_layers(Elab *e, const Instance *i) {
    LayerUse l = {intern(i->name), i->layer->name, i->output ? intern(i->output) : NULL, i->shown};
    if (!i->applied) return;
    vec_push(e->a, &e->m->layers, l);
    for (size_t k = 0; k < i->children.n; k++) list_layers(e, i->children.at[k]);
}

static void name_values(Elab *e) {
    Module *m = e->m;
    for (size_t i = 0; i < m->funcs.n; i++) {
        Func *f = m->funcs.at[i];
        for (size_t k = 0; k < f->in_slots.n; k++) f->body->params.at[k]->name = f->in_slots.at[k]->name;
    }
}

/* ---- save and load ---- */

static const Instance *root_of(const Instance *i) {
    while (i && i->owner) i = i->owner;
    return i;
}

static void fill_files(Elab *e) {
    for (size_t i = 0; i < e->files.n; i++) {
        FileNode *f = &e->files.at[i];
        OwnedList owned = {0};
        if (f->value.kind == VAL_ERROR || !owned_collect(e, f->value, true, f->loc, &owned)) continue;
        if (owned.n == 0 && (e->holes || owned_in_doubt(e, f->value))) continue;
        if (owned.n == 0) {
            elab_error(e, f->loc, 304, "there is nothing to %s: this has no parameters, or is applied nowhere in the program",
                       f->node->kind == NODE_SAVE ? "save" : "load");
            continue;
        }
        for (size_t k = 0; k < owned.n; k++) {
            Slot *s = owned.at[k]->slot;
            bool in = false;
            for (size_t j = 0; j < f->node->slots.n; j++) in = in || f->node->slots.at[j] == s;
            if (!in) vec_push(e->a, &f->node->slots, s);
        }
    }
}

/* ---- what a command needs ---- */

typedef struct Needs {
    Elab *e;
    Command *command;
    PtrMap known, missing; /* slots: written or loaded; read before that */
    PtrMap trained;        /* models (or slots of the file) with parameters, */
    PtrMap changed;        /* those that the command makes anew */
    PtrMap options;
    PtrMap owned; /* by slot */
    Vec(Slot *) read;
} Needs;

static const void *model_of_slot(const Needs *n, const Slot *s) {
    const Owned *o = map_get(&n->owned, s);
    return o && o->owner ? (const void *)root_of(o->owner) : (const void *)s;
}

/* Does writing the slot make weights anew? Not the states of a model that has parameters: they follow these. */
static bool makes_anew(const Needs *n, const Slot *s) {
    if (s->kind == SLOT_PARAM) return true;
    return s->kind == SLOT_STATE && !map_get(&n->trained, model_of_slot(n, s));
}

static void needs_option(Needs *n, Slot *s) {
    if (!s || s->kind != SLOT_OPTION || map_get(&n->options, s)) return;
    map_put(n->e->a, &n->options, s, s);
    vec_push(n->e->a, &n->command->options, s);
}

static void needs_nodes(Needs *n, Node *const *nodes, size_t count) {
    Arena *a = n->e->a;
    for (size_t i = 0; i < count; i++) {
        Node *k = nodes[i];
        needs_option(n, k->lo.slot);
        needs_option(n, k->hi.slot);
        for (size_t j = 0; j < k->sets.n; j++) {
            needs_option(n, k->sets.at[j].from.slot);
            needs_option(n, k->sets.at[j].to.slot);
        }
        for (size_t j = 0; j < k->pieces.n; j++) needs_option(n, k->pieces.at[j].slot);
        needs_option(n, k->slot);
        for (size_t j = 0; k->kind == NODE_LOAD && j < k->slots.n; j++) map_put(a, &n->known, k->slots.at[j], k->slots.at[j]);
        if (k->func) {
            for (size_t j = 0; j < k->func->in_slots.n; j++) {
                Slot *s = k->func->in_slots.at[j];
                needs_option(n, s);
                if ((s->kind != SLOT_PARAM && s->kind != SLOT_STATE) || map_get(&n->known, s) || map_get(&n->missing, s))
                    continue;
                map_put(a, &n->missing, s, s);
                vec_push(a, &n->read, s);
            }
            for (size_t j = 0; j < k->func->out_slots.n; j++) {
                Slot *s = k->func->out_slots.at[j];
                map_put(a, &n->known, s, s);
                if (s->kind == SLOT_PARAM) n->command->learns = true;
                if (makes_anew(n, s)) map_put(a, &n->changed, model_of_slot(n, s), s);
            }
        }
        needs_nodes(n, k->body.at, k->body.n);
    }
}

typedef struct Saves {
    const Slot *slot;
    Vec(const Node *) at;
} Saves;

static void find_saves(Elab *e, Saves *s, Node *const *nodes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const Node *k = nodes[i];
        for (size_t j = 0; k->kind == NODE_SAVE && j < k->slots.n; j++) {
            if (k->slots.at[j] != s->slot) continue;
            bool known = false; /* copies of one statement are one place */
            for (size_t x = 0; x < s->at.n; x++)
                known = known || (s->at.at[x]->loc.line == k->loc.line && s->at.at[x]->loc.col == k->loc.col);
            if (!known) vec_push(e->a, &s->at, k);
        }
        find_saves(e, s, k->body.at, k->body.n);
    }
}

static const char *constant_path(Elab *e, const Node *save) {
    Text t = {0};
    for (size_t i = 0; i < save->pieces.n; i++) {
        if (save->pieces.at[i].slot) return NULL;
        text_add(e->a, &t, save->pieces.at[i].text);
    }
    return intern(text_str(e->a, &t));
}

/* Weights: of models that the command neither changes nor loads, and that some command saves. */
static void command_needs(Elab *e, Command *c) {
    Needs n = {.e = e, .command = c};
    for (size_t i = 0; i < e->owned.n; i++) {
        Slot *s = e->owned.at[i]->slot;
        map_put(e->a, &n.owned, s, e->owned.at[i]);
        if (s->kind == SLOT_PARAM) map_put(e->a, &n.trained, model_of_slot(&n, s), s);
    }
    needs_nodes(&n, c->body.at, c->body.n);
    const Node *only = NULL;
    bool one = true;
    for (size_t i = 0; i < n.read.n; i++) {
        Slot *s = n.read.at[i];
        if (map_get(&n.changed, model_of_slot(&n, s))) continue;
        Saves saves = {.slot = s};
        for (size_t k = 0; k < e->m->commands.n; k++)
            find_saves(e, &saves, e->m->commands.at[k]->body.at, e->m->commands.at[k]->body.n);
        if (saves.at.n == 0) continue;
        vec_push(e->a, &c->weights, s);
        if (saves.at.n != 1 || (only && only != saves.at.at[0])) one = false;
        only = saves.at.at[0];
    }
    if (c->weights.n && one && only) c->weights_file = constant_path(e, only);
}

/* ---- all of it ---- */

void finish_module(Elab *e) {
    fill_files(e);
    if (diag_errors(e->d)) return;
    clean_functions(e);
    rebuild_lists(e);
    PtrMap taken = {0};
    for (size_t i = 0; i < e->m->commands.n; i++) {
        int count = 0;
        name_functions(e, e->m->commands.at[i], e->m->commands.at[i]->body.at, e->m->commands.at[i]->body.n, &taken, &count);
    }
    name_values(e);
    for (size_t i = 0; i < e->models.n; i++) list_layers(e, e->models.at[i]);
    for (size_t i = 0; i < e->patches.n; i++) {
        DrawPatch *p = &e->patches.at[i];
        const char *name = p->owned->slot->name;
        p->op->attrs[0].i = (int64_t)hash_bytes(name, strlen(name), p->local);
    }
    for (size_t i = 0; i < e->m->commands.n; i++) command_needs(e, e->m->commands.at[i]);
}
