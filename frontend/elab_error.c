/*
 * elab_error.c - the elaborator's messages: where they are shown, and what is noted beside them.
 */
#include "elab.h"

/* The innermost frame whose call stands in the user's file: where an error inside the library is shown. */
static Loc shown_at(Elab *e, Loc at) { return e->library_text ? e->user_loc : at; }

/* "image: u8[B, 28, 28], label: u8[B]" */
static const char *inputs_text(Elab *e, const Frame *f) {
    Text t = {0};
    const Nodes *inputs = &f->fn->decl->function->inputs;
    for (uint32_t i = 0; f->inputs && i < inputs->n; i++)
        if (f->inputs[i].kind != VAL_NONE)
            text_printf(e->a, &t, "%s%s: %s", t.n ? ", " : "", inputs->at[i]->field.name, val_text(e, f->inputs[i]));
    return text_str(e->a, &t);
}

static void late_note(Elab *e, Loc at, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void late_note(Elab *e, Loc at, const char *format, ...) {
    va_list args;
    va_start(args, format);
    LateNote n = {at, arena_vprintf(e->a, format, args)};
    va_end(args);
    vec_push(e->a, &e->late, n);
}

void elab_flush_notes(Elab *e) {
    for (size_t i = 0; i < e->late.n; i++) diag_note(e->d, e->late.at[i].at, "%s", e->late.at[i].text);
    e->late.n = 0;
}

/* "in copy n = 2 of this `for`" */
static void copy_note(Elab *e, const Path *path) {
    const char *value = path->value.kind == VAL_NUMBER && !path->value.batch ? intern_printf("%.7g", path->value.num)
                        : path->value.kind == VAL_STRING                     ? val_text(e, path->value)
                                                                             : intern_printf("element %" PRId64, path->copy);
    late_note(e, path->loc, "in copy %s = %s of this `for`", path->counter, value);
}

static void add_notes(Elab *e, Loc at) {
    if (e->library_text && at.file) late_note(e, at, "in this line of the library");
    int shown = 0;
    const Path *path = e->path;
    for (Frame *f = e->frame; f && shown < 4; f = f->up) {
        if (path && path->counter && !f->library) copy_note(e, path);
        path = f->path;
        Loc call = f->call;
        if (!call.file || (f->up && f->up->library)) continue;
        const char *kind = f->fn->kind == FN_LAYER ? "layer" : f->fn->kind == FN_OPTIMIZER ? "optimizer" : "function";
        const char *inputs = inputs_text(e, f);
        late_note(e, call, "in %s %s, applied here%s%s", kind, f->fn->name, inputs[0] ? " to " : "", inputs);
        shown++;
    }
    if (path && path->counter && !e->frame) copy_note(e, path);
    if (e->learning && e->frame) late_note(e, (Loc){0}, "while learning");
}

/* Whether another run of the same body has met this fault already, perhaps with other shapes: one report is enough. What goes wrong in
 * the library is one fault of the line that uses it. */
static bool said_before(Elab *e, Loc at, int code) {
    uint32_t run = e->frame ? e->frame->run : 0;
    if (!e->frame || e->said.n > 200) return false; /* at most 50 are printed */
    for (size_t i = 0; i < e->said.n; i++) {
        const ReportedAt *r = &e->said.at[i];
        bool same = r->code == code && r->at.file == at.file && r->at.line == at.line && r->at.col == at.col;
        if (same && (e->library_text || r->run != run)) return true;
    }
    vec_push(e->a, &e->said, ((ReportedAt){at, code, run}));
    return false;
}

/* ---- one slip that is met at many places ---- */

static const AstNode *body_of(const Elab *e) { return e->frame ? e->frame->fn->decl : e->command ? e->command->ast : NULL; }

static bool named_body(const Elab *e, const Missed *m) {
    const AstNode *body = body_of(e);
    for (int i = 0; i < m->n; i++)
        if (m->bodies[i] == body) return true;
    return m->n == sizeof m->bodies / sizeof *m->bodies;
}

bool elab_missed_here(const Elab *e, const char *what) {
    const Missed *m = map_get(&e->missed, what);
    return m && named_body(e, m);
}

bool elab_missed(Elab *e, const char *what, Loc at, const char *note) {
    Missed *m = map_get(&e->missed, what);
    if (!m) return false;
    e->reported = false;
    e->errors++;
    if (e->quiet || named_body(e, m)) return true;
    m->bodies[m->n++] = body_of(e);
    diag_note_to(e->d, m->report, shown_at(e, at), note);
    return true;
}

void elab_remember(Elab *e, const char *what) {
    if (!e->reported || !diag_last(e->d)) return;
    Missed *m = arena_make(e->a, Missed);
    *m = (Missed){.report = diag_last(e->d), .bodies = {body_of(e)}, .n = 1};
    map_put(e->a, &e->missed, what, m);
}

Val elab_error(Elab *e, Loc at, int code, const char *format, ...) {
    e->reported = false;
    e->errors++;
    if (e->quiet) return val_error();
    if (e->stopped) return val_error(); /* a limit was met and reported: what follows is a consequence */
    if (said_before(e, shown_at(e, at), code)) return val_error();
    if (diag_errors(e->d) < 100 && diag_said(e->d, shown_at(e, at), 7))
        return val_error(); /* a bracket that was put in may stand elsewhere */
    va_list args;
    va_start(args, format);
    const char *text = arena_vprintf(e->a, format, args);
    va_end(args);
    elab_flush_notes(e);
    int before = diag_errors(e->d);
    diag_error(e->d, shown_at(e, at), code, "%s", text);
    e->reported = diag_errors(e->d) > before;
    if (e->reported) add_notes(e, at);
    return val_error();
}

void elab_note(Elab *e, Loc at, const char *format, ...) {
    if (!e->reported) return;
    va_list args;
    va_start(args, format);
    const char *text = arena_vprintf(e->a, format, args);
    va_end(args);
    diag_note(e->d, at, "%s", text);
}

/* Says what of the program is too large, and ends the elaboration. */
static void give_up(Elab *e, Loc at, const char *what) {
    e->quiet = 0;
    elab_error(e, at, 311, "the program is too large: %s", what);
    e->stopped = true;
}

bool elab_spend(Elab *e, Loc at, int64_t n) {
    if (e->stopped) return false;
    e->ops += n;
    if (e->ops <= LIMIT_OPS) return elab_work(e, at, n);
    give_up(e, at, intern_printf("all copies and calls together come to more than %d operations", (int)LIMIT_OPS));
    return false;
}

bool elab_row(Elab *e, Loc at) {
    if (e->stopped) return false;
    if (++e->rows <= LIMIT_ROWS) return true;
    give_up(e, at, intern_printf("its commands come to more than %d statements and printed values", (int)LIMIT_ROWS));
    return false;
}

bool elab_work(Elab *e, Loc at, int64_t n) {
    if (e->stopped) return false;
    e->work += n;
    bool memory = arena_used(e->a) > LIMIT_BYTES;
    if (e->work <= LIMIT_WORK && !memory) return true;
    give_up(e, at,
            memory ? "written out with all copies, calls and lists it takes more than 500 MB to compile"
                   : "written out with all copies, calls and lists it takes more than 100000000 steps to read");
    elab_note(e, (Loc){0}, "`scan` and `repeat` run instead of being copied");
    return false;
}
