/*
 * text_parse_command.c - reads a command: its inputs, outputs and weights, and the tree of loops and calls.
 *
 *   command = "command" @name "(" [%option {"," %option}] ")" ["learns"] "{" [place] LINE {item} "}" LINE
 *   item    = ("input" | "output") NAME ":" %slot "=" loader  |  "weights" [%slot {"," %slot}] ["from" STRING] LINE  |  node
 */
#include "text.h"

#include <limits.h>
#include <string.h>

enum { MOST_NESTED = 100 };

typedef Vec(Node *) Nodes;

static bool read_nodes(Reader *r, Node *loop, Command *c, int depth);

/* slots = %slot {"," %slot} */
static bool read_slots(Reader *r, Slots *slots) {
    do {
        Slot *s = reader_slot(r);
        if (!s) return false;
        vec_push(r->arena, slots, s);
    } while (reader_take(r, ","));
    return true;
}

/* bound = %slot | INT */
static bool read_bound(Reader *r, Bound *b) {
    *b = (Bound){0};
    if (r->token.kind == T_VALUE) return (b->slot = reader_slot(r)) != NULL;
    return reader_int(r, &b->n);
}

/* pieces = {STRING | %slot [":" INT]} */
static bool read_pieces(Reader *r, Node *n) {
    while (r->token.kind == T_STRING || r->token.kind == T_VALUE) {
        Piece g = {0};
        int64_t digits = 0;
        if (r->token.kind == T_STRING) {
            g.text = r->token.s;
            reader_next(r);
        } else {
            if (!(g.slot = reader_slot(r))) return false;
            if (reader_take(r, ":") && !reader_int(r, &digits)) return false;
            if (digits < 0 || digits > 99) return reader_error(r, 605, "%" PRId64 " digits", digits);
            g.digits = (int)digits;
        }
        vec_push(r->arena, &n->pieces, g);
    }
    return true;
}

static DataSet *data_by_name(const Module *m, const char *name) {
    for (size_t i = 0; i < m->data.n; i++)
        if (m->data.at[i]->name == name) return m->data.at[i];
    return NULL;
}

/* use = @set ["[" bound ".." [bound] "]"] "batch" INT {"shuffle" | "resample" | "lanes" | "drop_last"} */
static bool read_data_use(Reader *r, Node *n, const Slots *fields) {
    DataUse u = {.to = {NULL, -1}};
    const char *name = r->token.s;
    if (!(u.set = data_by_name(r->module, name))) return reader_error(r, 602, "there is no data set @%s", name);
    reader_next(r);
    if (reader_take(r, "[")) {
        if (!read_bound(r, &u.from) || !reader_want(r, "..")) return false;
        if (!reader_is(r, "]") && !read_bound(r, &u.to)) return false;
        if (!reader_want(r, "]")) return false;
    }
    if (!reader_want(r, "batch") || !reader_int(r, &u.batch)) return false;
    for (;;) {
        if (reader_take(r, "shuffle"))
            u.shuffle = true;
        else if (reader_take(r, "resample"))
            u.resample = true;
        else if (reader_take(r, "lanes"))
            u.lanes = true;
        else if (reader_take(r, "drop_last"))
            u.drop_last = true;
        else
            break;
    }
    for (size_t i = 0; i < fields->n; i++) vec_push(r->arena, &u.fields, fields->at[i]);
    vec_push(r->arena, &n->sets, u);
    return true;
}

/* for = "for" (slots | "_") "in" (bound ".." bound ["epoch"] | use {"," (slots | "_") "in" use}) ["learning"] "{" [place] LINE
 * {node} "}" LINE */
static bool read_for(Reader *r, Node *n, Command *c, int depth) {
    Slots slots = {0};
    if (!reader_take(r, "_") && !read_slots(r, &slots)) return false;
    if (!reader_want(r, "in")) return false;
    if (r->token.kind == T_GLOBAL) {
        n->kind = NODE_DATA;
        if (!read_data_use(r, n, &slots)) return false;
        while (reader_take(r, ",")) {
            slots = (Slots){0};
            if ((!reader_take(r, "_") && !read_slots(r, &slots)) || !reader_want(r, "in")) return false;
            if (r->token.kind != T_GLOBAL)
                return reader_error(r, 601, "expected a data set (@name), found %s", reader_token_text(r));
            if (!read_data_use(r, n, &slots)) return false;
        }
    } else {
        n->kind = NODE_RANGE;
        if (slots.n > 1) return reader_error(r, 601, "a loop over a range has one counter, not %zu", slots.n);
        n->counter = slots.n ? slots.at[0] : NULL;
        if (!read_bound(r, &n->lo) || !reader_want(r, "..") || !read_bound(r, &n->hi)) return false;
        n->epoch = reader_take(r, "epoch");
    }
    n->learning = reader_take(r, "learning");
    if (!reader_want(r, "{") || !reader_loc(r, &n->loc)) return false;
    if (depth == MOST_NESTED) return reader_error(r, 605, "loops are nested more than %d deep", MOST_NESTED);
    return read_nodes(r, n, c, depth + 1) && reader_want_line(r);
}

/* track = "track" [%slot "as" STRING ["into" %slot] {"," ...}] */
static bool read_track(Reader *r, Node *n) {
    if (r->token.kind != T_VALUE) return true;
    do {
        Tracked t = {0};
        if (!(t.value = reader_slot(r)) || !reader_want(r, "as") || !(t.name = reader_name(r, T_WORD, "a name in quotes")))
            return false;
        if (reader_take(r, "into") && !(t.average = reader_slot(r))) return false;
        vec_push(r->arena, &n->tracked, t);
    } while (reader_take(r, ","));
    return true;
}

/* keep = ("highest" | "lowest") %slot */
static bool read_extreme(Reader *r, Node *n) {
    n->highest = reader_take(r, "highest");
    return (n->highest || reader_want(r, "lowest")) && (n->slot = reader_slot(r));
}

/* save, load = [slots] ("to" | "from") pieces */
static bool read_files(Reader *r, Node *n, const char *preposition) {
    Slots slots = {0};
    if (r->token.kind == T_VALUE && !read_slots(r, &slots)) return false;
    for (size_t i = 0; i < slots.n; i++) vec_push(r->arena, &n->slots, slots.at[i]);
    return reader_want(r, preposition) && read_pieces(r, n);
}

static bool read_call(Reader *r, Node *n) {
    Token at = r->token;
    const char *name = reader_name(r, T_GLOBAL, "a function");
    if (!name) return false;
    reader_need_func(r, &n->func, name, at);
    return true;
}

static bool read_stop(Reader *r, Node *n) {
    return reader_want(r, "when") && read_extreme(r, n) && reader_want(r, "stalls") && reader_want(r, "for") &&
           reader_int(r, &n->stalls);
}

static bool read_write(Reader *r, Node *n) { return (n->slot = reader_slot(r)) && reader_want(r, "to") && read_pieces(r, n); }

/* node = for | ("call" @func | track | "keep" keep | "stop" "when" keep "stalls" "for" INT | "print" pieces | save | load |
 * "write" %slot "to" pieces) [place] LINE */
static bool read_node(Reader *r, Node *n, Command *c, int depth) {
    bool ok;
    if (reader_take(r, "for")) return read_for(r, n, c, depth);
    if (reader_take(r, "call"))
        n->kind = NODE_CALL, ok = read_call(r, n);
    else if (reader_take(r, "track"))
        n->kind = NODE_TRACK, ok = read_track(r, n);
    else if (reader_take(r, "keep"))
        n->kind = NODE_KEEP, ok = read_extreme(r, n);
    else if (reader_take(r, "stop"))
        n->kind = NODE_STOP, ok = read_stop(r, n);
    else if (reader_take(r, "print"))
        n->kind = NODE_PRINT, ok = read_pieces(r, n);
    else if (reader_take(r, "save"))
        n->kind = NODE_SAVE, ok = read_files(r, n, "to");
    else if (reader_take(r, "load"))
        n->kind = NODE_LOAD, ok = read_files(r, n, "from");
    else if (reader_take(r, "write"))
        n->kind = NODE_WRITE, ok = read_write(r, n);
    else
        return reader_error(
            r, 601, "expected a statement of a command (for, call, track, keep, stop, print, save, load, write), found %s",
            reader_token_text(r));
    return ok && reader_loc(r, &n->loc);
}

/* input = NAME ":" %slot "=" loader */
static bool read_io(Reader *r, CommandIo *io) {
    return (io->name = reader_name(r, T_WORD, "a name")) && reader_want(r, ":") && (io->slot = reader_slot(r)) &&
           reader_want(r, "=") && read_loader(r, &io->loader, &io->loc);
}

static bool read_weights(Reader *r, Command *c) {
    Slots slots = {0};
    if (r->token.kind == T_VALUE && !read_slots(r, &slots)) return false;
    for (size_t i = 0; i < slots.n; i++) vec_push(r->arena, &c->weights, slots.at[i]);
    if (reader_take(r, "from") && !(c->weights_file = reader_name(r, T_WORD, "a file"))) return false;
    return reader_want_line(r);
}

/* A line that stands directly in the command. False with *found: it was one, and wrong. */
static bool read_head_line(Reader *r, Command *c, CommandIo **last, bool *found) {
    CommandIo io = {0};
    *found = true;
    if (reader_take(r, "weights")) return read_weights(r, c);
    if (reader_take(r, "input")) {
        if (!read_io(r, &io)) return false;
        vec_push(r->arena, &c->inputs, io);
        *last = &c->inputs.at[c->inputs.n - 1];
        return true;
    }
    if (reader_take(r, "output")) {
        if (!read_io(r, &io)) return false;
        vec_push(r->arena, &c->outputs, io);
        *last = &c->outputs.at[c->outputs.n - 1];
        return true;
    }
    if (*last && reader_take(r, "loader")) return reader_loc(r, &(*last)->loader.loc);
    return *found = false;
}

/* Statements up to and with the closing brace; of the command itself (loop NULL) or of a loop. */
static bool read_nodes(Reader *r, Node *loop, Command *c, int depth) {
    CommandIo *last = NULL;
    while (!reader_take(r, "}")) {
        if (r->token.kind == T_LINE) {
            reader_next(r);
            continue;
        }
        bool found = false;
        if (!loop) {
            bool ok = read_head_line(r, c, &last, &found);
            if (found && !ok) return false;
        }
        if (found) continue;
        Node *n = arena_make(r->arena, Node);
        if (!read_node(r, n, c, depth)) return false;
        if (loop)
            vec_push(r->arena, &loop->body, n);
        else
            vec_push(r->arena, &c->body, n);
    }
    return true;
}

bool read_command(Reader *r) {
    Command *c = arena_make(r->arena, Command);
    Slots options = {0};
    if (!(c->name = reader_name(r, T_GLOBAL, "a command's name")) || !reader_want(r, "(")) return false;
    for (size_t i = 0; i < r->module->commands.n; i++)
        if (r->module->commands.at[i]->name == c->name) return reader_error(r, 603, "command @%s is declared twice", c->name);
    if (!reader_is(r, ")") && !read_slots(r, &options)) return false;
    for (size_t i = 0; i < options.n; i++) vec_push(r->arena, &c->options, options.at[i]);
    if (!reader_want(r, ")")) return false;
    c->learns = reader_take(r, "learns");
    if (!reader_want(r, "{") || !reader_loc(r, &c->loc)) return false;
    vec_push(r->arena, &r->module->commands, c);
    return read_nodes(r, NULL, c, 0) && reader_want_line(r);
}
