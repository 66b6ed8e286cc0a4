/*
 * gradcheck.c - see gradcheck.h.
 *
 * The difference quotient is extrapolated once (Richardson): with D(h) = (f(x + h v) - f(x - h v)) / 2h, (4 D(h / 2) - D(h)) / 3
 * is exact to h^4. Several h are tried and the closest taken: a large one is exact where f is smooth, a small one does not reach
 * over a kink nearby. A wrong gradient is wrong for every h.
 */
#include "gradcheck.h"
#include "random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Noted {
    Func *func;
    Loc loc;
    int loss;   /* which result of the function */
    int n;      /* xs */
    int *x, *g; /* which results */
    const char **name;
} Noted;

/* What stop_gradient holds back must not move with x: a copy of its operand is a result of the function, and is put in again when
 * the loss is evaluated. */
typedef struct Held {
    Func *func;
    int result;
} Held;

struct GradCheck {
    Vec(Noted) noted;
    Vec(Held) held;
    int skipped, turns;
};

/* ---- before autodiff ---- */

static int add_result(Arena *a, Func *f, Value *v, int k) {
    Slot *s = slot_new(f->module, SLOT_VAR, arena_printf(a, "gradcheck.%s.%d.%zu", f->name, k, f->out_slots.n), v->type, f->loc);
    s->batch_bound = type_has_batch(v->type) ? f->batch_bound : 0;
    func_write(f, s, v);
    return (int)f->body->results.n - 1;
}

static void note(Arena *a, GradCheck *c, Func *f, Op *op) {
    int n = op->n_in - 1;
    Noted k = {.func = f,
               .loc = op->loc,
               .n = n,
               .x = arena_make_n(a, int, (size_t)n),
               .g = arena_make_n(a, int, (size_t)n),
               .name = arena_make_n(a, const char *, (size_t)n)};
    k.loss = add_result(a, f, op->in[0], (int)c->noted.n);
    for (int i = 0; i < n; i++) {
        k.x[i] = add_result(a, f, op->in[i + 1], (int)c->noted.n);
        k.g[i] = add_result(a, f, op->out[i], (int)c->noted.n);
        k.name[i] = op->in[i + 1]->name ? op->in[i + 1]->name : "";
    }
    vec_push(a, &c->noted, k);
}

/* The copy is a reshape to the same type, a value of its own when autodiff has put stop_gradient's operand in its place. */
static void hold(Arena *a, GradCheck *c, Func *f, Op *op) {
    Builder b = {.arena = f->module->arena, .func = f, .block = op->block, .before = op, .loc = op->loc};
    op->in[0] = op_make(&b, OP_reshape, 1, op->in, 0, NULL, op->in[0]->type); /* g_reshape would see that it changes nothing */
    Held h = {f, add_result(a, f, op->in[0], (int)c->noted.n)};
    vec_push(a, &c->held, h);
}

/* ---- gradients inside loops ---- */

static void count_inside(Op *op, void *arg) {
    if (op->code == OP_grad) *(int *)arg += op->n_in - 1;
}

static int grads_inside(const Op *op) {
    int n = 0;
    for (int k = 0; k < op->n_blocks; k++) block_walk(op->blocks[k], count_inside, &n);
    return n;
}

/* A value of its own: what a turn carries is apart from what it began with, which its loss may see as well. */
static Value *apart(Builder *b, Value *v) { return op_make(b, OP_reshape, 1, &v, 0, NULL, v->type); }

/* Place t of x along the axis, without the axis. */
static Value *slice_at(Builder *b, Value *x, int64_t axis, int64_t t, const Type *type) {
    return g_reshape(b, g_part(b, x, axis, t, t + 1), type->rank, type->dim);
}

/* The first turn of a loop, written out in front of it: its gradients are of the function's body then, and can be compared. Only for comparing: nothing uses what comes
 * of it. False where no place is known to be the first. */
static bool write_first_turn(Arena *a, Func *f, Op *op) {
    Builder b = {.arena = f->module->arena, .func = f, .block = op->block, .before = op, .loc = op->loc};
    bool scan = op->code == OP_scan;
    const Block *body = op->blocks[scan ? 0 : 1];
    int64_t carry = scan ? op_int(op, A_carry) : op->n_in, trip = scan ? op_int(op, A_trip) : 1, t = 0, n_xs = 0;
    const int64_t *axes = NULL;
    if (scan) n_xs = op_ints(op, A_axes, &axes);
    if (scan && op_int(op, A_reverse)) t = trip - 1;
    if (trip == 0 || t < 0) return false;
    for (int64_t k = 0; k < n_xs; k++)
        if (op->in[carry + k]->type->dim[axes[k]].batch) return false;
    Vec(Value *) in = {0};
    if (scan) vec_push(a, &in, g_constant(&b, type_scalar(I32), (double)t));
    for (int64_t k = 0; k < carry; k++) vec_push(a, &in, apart(&b, op->in[k]));
    for (int64_t k = 0; k < n_xs; k++)
        vec_push(a, &in, slice_at(&b, op->in[carry + k], axes[k], t, body->params.at[1 + carry + k]->type));
    Value **map = arena_make_n(a, Value *, (size_t)f->n_values);
    for (size_t k = 0; k < body->params.n; k++) {
        map[body->params.at[k]->id] = in.at[k];
        if (!in.at[k]->name) in.at[k]->name = body->params.at[k]->name;
    }
    for (const Op *o = body->first; o; o = o->next) op_clone(&b, o, map);
    return true;
}

static void note_ops(Arena *a, GradCheck *c, Func *f, Op *from, const Op *end) {
    for (Op *op = from; op != end; op = op->next) {
        if (op->code == OP_grad) note(a, c, f, op);
        if (op->code == OP_stop_gradient) hold(a, c, f, op);
        int inside = grads_inside(op);
        if (!inside) continue;
        Op *before = op->prev;
        int noted = (int)c->noted.n;
        if ((op->code != OP_scan && op->code != OP_while) || !write_first_turn(a, f, op)) {
            c->skipped += inside;
            continue;
        }
        note_ops(a, c, f, before ? before->next : f->body->first, op);
        for (; !end && noted < (int)c->noted.n; noted++) c->turns += c->noted.at[noted].n; /* with the loops in it */
    }
}

GradCheck *gradcheck_begin(Arena *a, Module *m) {
    GradCheck *c = arena_make(a, GradCheck);
    for (size_t i = 0; i < m->funcs.n; i++) note_ops(a, c, m->funcs.at[i], m->funcs.at[i]->body->first, NULL);
    return c;
}

int gradcheck_count(const GradCheck *c, const Func *f) {
    int n = 0;
    for (size_t i = 0; i < c->noted.n; i++)
        if (!f || c->noted.at[i].func == f) n += c->noted.at[i].n;
    return n;
}

int gradcheck_skipped(const GradCheck *c) { return c->skipped; }

int gradcheck_turns(const GradCheck *c) { return c->turns; }

/* ---- inputs ---- */

/* Uniform in [low, high), from a 53-bit draw. */
static double draw(uint64_t *state, double low, double high) {
    *state += 0x9e3779b97f4a7c15u;
    return low + (double)(random_stir(*state) >> 11) * 0x1p-53 * (high - low);
}

static Tensor *first_value(Arena *a, const Func *init, uint64_t seed, EvalFault *fault) {
    Tensor **in = arena_make_n(a, Tensor *, init->body->params.n), *out = NULL;
    for (size_t i = 0; i < init->body->params.n; i++) {
        in[i] = tensor_new(EVAL_F64, init->body->params.at[i]->type, 1);
        if (in[i] && in[i]->elem == I64) memcpy(in[i]->data, &seed, sizeof seed);
    }
    bool ok = eval_func(a, init, EVAL_F64, 1, in, &out, fault);
    for (size_t i = 0; i < init->body->params.n; i++) tensor_release(in[i]);
    return ok ? out : NULL;
}

static void fill_input(Tensor *x, const Slot *s, uint64_t *state) {
    bool filled = s->kind == SLOT_PARAM || s->kind == SLOT_STATE || s->kind == SLOT_OPTSTATE;
    for (int64_t i = 0; i < x->count; i++) {
        if (s->kind == SLOT_OPTION)
            tensor_set(x, i, s->fill);
        else if (filled && elem_is_float(x->elem))
            tensor_set(x, i, s->fill + draw(state, 0.01, 0.1));
        else if (filled)
            tensor_set(x, i, s->fill);
        else if (elem_is_float(x->elem))
            tensor_set(x, i, draw(state, 0, 1));
        else
            tensor_set(x, i, draw(state, 0, 2));
    }
}

Tensor **gradcheck_inputs(Arena *a, const Func *f, int64_t batch, uint64_t seed, EvalFault *fault) {
    size_t n = f->in_slots.n;
    Tensor **x = arena_make_n(a, Tensor *, n + 1);
    uint64_t state = seed;
    for (size_t i = 0; i < n; i++) {
        const Slot *s = f->in_slots.at[i];
        x[i] = s->init ? first_value(a, s->init, seed, fault) : tensor_new(EVAL_F64, s->type, batch);
        if (!x[i]) {
            if (!fault->text) fault->text = "there is no memory for the inputs";
            while (i--) tensor_release(x[i]);
            return NULL;
        }
        if (!s->init) fill_input(x[i], s, &state);
    }
    return x;
}

static bool all_equal(const Tensor *x) {
    for (int64_t i = 1; i < x->count; i++)
        if (tensor_get(x, i) != tensor_get(x, 0)) return false;
    return true;
}

static Tensor *with_noise(const Tensor *x, const Type *t, int64_t batch, uint64_t *state) {
    Tensor *y = tensor_new(EVAL_F64, t, batch);
    double size = x->count && tensor_get(x, 0) != 0 ? fabs(tensor_get(x, 0)) : 1;
    for (int64_t i = 0; y && i < x->count; i++) tensor_set(y, i, tensor_get(x, i) + 0.01 * size * draw(state, -1, 1));
    return y;
}

Tensor **gradcheck_beside(Arena *a, const Func *f, Tensor *const *inputs, uint64_t seed) {
    size_t n = f->in_slots.n;
    Tensor **moved = arena_make_n(a, Tensor *, n + 1);
    uint64_t state = seed;
    for (size_t i = 0; i < n; i++) {
        const Slot *s = f->in_slots.at[i];
        bool noise = s->kind == SLOT_PARAM && elem_is_float(s->type->elem) && all_equal(inputs[i]);
        moved[i] = noise ? with_noise(inputs[i], s->type, 1, &state) : tensor_keep(inputs[i]);
        if (moved[i]) continue;
        while (i--) tensor_release(moved[i]);
        return NULL;
    }
    return moved;
}

/* ---- comparing ---- */

typedef struct Check {
    Arena *arena;
    const Func *f;
    const EvalOptions *plain;
    Tensor *const *inputs;
    EvalFault *fault;
    Value *loss, *x;
    const Tensor *at; /* x where the gradient was taken */
    Value **instead;  /* [0] is x, then what is held */
    Tensor **with;
    int n_instead;
} Check;

static Tensor *moved(const Check *c, const double *v, double h) {
    Tensor *x = tensor_new(EVAL_F64, c->x->type, c->plain->batch);
    for (int64_t i = 0; x && i < x->count; i++) tensor_set(x, i, tensor_get(c->at, i) + h * v[i]);
    return x;
}

/* The loss with x moved by h v. */
static bool loss_at(const Check *c, const double *v, double h, double *loss) {
    Tensor *x = moved(c, v, h), *out;
    if (!x) return c->fault->text = "there is no memory for the differences", false;
    EvalOptions o = *c->plain;
    c->instead[0] = c->x;
    c->with[0] = x;
    o.n_instead = c->n_instead;
    o.instead = c->instead;
    o.with = c->with;
    bool ok = eval_values(c->arena, c->f, &o, c->inputs, 1, &c->loss, &out, c->fault);
    tensor_release(x);
    if (!ok) return false;
    *loss = tensor_get(out, 0);
    tensor_release(out);
    return true;
}

/* f(x + h v) and f(x - h v): (D(h), D(h / 2)) extrapolated. */
static bool quotient(const Check *c, const double *v, double h, double *d) {
    double at[4];
    if (!loss_at(c, v, h, &at[0]) || !loss_at(c, v, -h, &at[1]) || !loss_at(c, v, h / 2, &at[2]) ||
        !loss_at(c, v, -h / 2, &at[3]))
        return false;
    double wide = (at[0] - at[1]) / (2 * h), narrow = (at[2] - at[3]) / h;
    *d = (4 * narrow - wide) / 3;
    return true;
}

static double size_of(const Tensor *x) {
    double sum = 0;
    for (int64_t i = 0; i < x->count; i++) sum += tensor_get(x, i) * tensor_get(x, i);
    double rms = x->count ? sqrt(sum / (double)x->count) : 0;
    return rms > 0 && isfinite(rms) ? fmin(fmax(rms, 1e-3), 1e3) : 1;
}

/* Does x stand at a kink or a jump of the loss in direction v? The slopes to both sides, over h, differ by f'' h where f is smooth, which goes with h; at a
 * kink the difference stays, at a jump it grows. What is below the rounding of f (its last digits divided by h) says nothing. */
static bool at_kink(const Check *c, const double *v, double loss, bool *kink) {
    double gap[2], size = size_of(c->at), noise = 0;
    for (int i = 0; i < 2; i++) {
        double above, below, h = (i ? 1e-6 : 1e-4) * size;
        if (!loss_at(c, v, h, &above) || !loss_at(c, v, -h, &below)) return false;
        gap[i] = fabs((above - loss) - (loss - below)) / h;
        noise = 1e-14 * (1 + fabs(loss)) / h;
    }
    *kink = gap[1] > noise && gap[1] > 0.3 * gap[0];
    return true;
}

static bool compare(const Check *c, const double *v, double gradient, double loss, double tolerance, GradReport *r) {
    static const double steps[] = {1e-3, 1e-4, 1e-5, 1e-6, 1e-8}; /* the last where elements are of very different size */
    r->gradient = gradient;
    r->ok = false;
    for (size_t i = 0; i < sizeof steps / sizeof *steps && !r->ok; i++) {
        double d;
        if (!quotient(c, v, steps[i] * size_of(c->at), &d)) return false;
        double error = fabs(gradient - d);
        double bound = tolerance * (fabs(gradient) + fabs(d)) + 1e-3 * tolerance * (1 + fabs(loss));
        r->ok = error <= bound; /* a NaN is not ok */
        if (i == 0 || error < r->error || r->ok) {
            r->difference = d;
            r->error = error;
            r->bound = bound;
        }
    }
    r->kink = false;
    return r->ok || at_kink(c, v, loss, &r->kink);
}

/* Directions and elements of one x. */
static bool check_x(const Check *c, const Tensor *g, double loss, const GradOptions *o, GradReport *r, GradSummary *sum) {
    int64_t n = c->at->count;
    int directions = o->directions ? o->directions : 2, elements = o->elements ? o->elements : 4;
    if (elements > n) elements = (int)n;
    double *v = calloc((size_t)n + 1, sizeof *v), tolerance = o->tolerance > 0 ? o->tolerance : 1e-6;
    uint64_t state = random_stir(o->seed + (uint64_t)r->index * 977 + (uint64_t)r->loc.line);
    bool ok = v != NULL;
    for (int k = 0; k < directions + elements && ok && n > 0; k++) {
        memset(v, 0, (size_t)n * sizeof *v);
        r->element = k < directions ? -1 : elements == n ? k - directions : (int64_t)draw(&state, 0, (double)n);
        for (int64_t i = 0; i < n && r->element < 0; i++) v[i] = draw(&state, -1, 1);
        if (r->element >= 0) v[r->element] = 1;
        double gradient = 0;
        for (int64_t i = 0; i < n; i++)
            if (v[i] != 0) gradient += tensor_get(g, i) * v[i];
        if (!(ok = compare(c, v, gradient, loss, tolerance, r))) break;
        sum->compared += !r->kink;
        sum->kinks += r->kink;
        sum->failed += !r->ok && !r->kink;
        sum->nonzero += gradient != 0 && !r->kink;
        if (o->report) o->report(r, o->arg);
    }
    free(v);
    return ok;
}

/* Evaluates loss, xs, gradients (wanted[0], then pairs) and what is held; then checks each x. */
static bool check_grad(Arena *a, const GradCheck *gc, const Noted *k, const EvalOptions *plain, Tensor *const *inputs,
                       const GradOptions *o, GradSummary *sum, EvalFault *fault) {
    int n = 2 * k->n + 1, held = 0;
    Value **wanted = arena_make_n(a, Value *, (size_t)n + gc->held.n), *const *results = k->func->body->results.at;
    Tensor **found = arena_make_n(a, Tensor *, (size_t)n + gc->held.n);
    wanted[0] = results[k->loss];
    for (int i = 0; i < k->n; i++) {
        wanted[1 + 2 * i] = results[k->x[i]];
        wanted[2 + 2 * i] = results[k->g[i]];
    }
    for (size_t i = 0; i < gc->held.n; i++)
        if (gc->held.at[i].func == k->func) wanted[n + held++] = results[gc->held.at[i].result];
    if (!eval_values(a, k->func, plain, inputs, n + held, wanted, found, fault)) return false;
    Value **instead = arena_make_n(a, Value *, (size_t)held + 1);
    Tensor **with = arena_make_n(a, Tensor *, (size_t)held + 1);
    bool ok = true;
    for (int i = 0; i < k->n && ok; i++) {
        int n_instead = 1;
        for (int j = 0; j < held; j++) {
            if (wanted[n + j] == wanted[1 + 2 * i]) continue; /* x is what was held: a parameter after `<-` */
            instead[n_instead] = wanted[n + j];
            with[n_instead++] = found[n + j];
        }
        Check c = {a, k->func, plain, inputs, fault, wanted[0], wanted[1 + 2 * i], found[1 + 2 * i], instead, with, n_instead};
        GradReport r = {.func = k->func, .loc = k->loc, .x = k->name[i], .index = i};
        ok = check_x(&c, found[2 + 2 * i], tensor_get(found[0], 0), o, &r, sum);
    }
    for (int i = 0; i < n + held; i++) tensor_release(found[i]);
    return ok;
}

bool gradcheck_run(Arena *a, const GradCheck *c, const Func *f, int64_t batch, Tensor *const *inputs, const GradOptions *options,
                   GradSummary *summary, EvalFault *fault) {
    EvalOptions plain = {.type = EVAL_F64, .batch = batch};
    *summary = (GradSummary){0};
    for (size_t i = 0; i < c->noted.n; i++)
        if (c->noted.at[i].func == f && !check_grad(a, c, &c->noted.at[i], &plain, inputs, options, summary, fault)) return false;
    return true;
}
