/*
 * report.c - what a run says while it runs: the moving line, the lines of finished loops, the log.
 */
#include "file.h"
#include "run.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { DIGITS = 7, LOG_DIGITS = 9, MOST_DIMS = 32 };
static const double MOVE_EVERY = 0.1; /* seconds between two moving lines */

static bool moves(const struct nn_run *r) { return r->settings->progress == NN_AUTO && r->env->sys->terminal; }

static double seconds_of(struct nn_run *r, const struct nn_item *loop) { return loop->before + nn_now(r->env) - loop->started; }

/* The counter of the nearest `for epoch` around; false: there is none. */
static bool epoch_of(struct nn_run *r, const struct nn_item *loop, int64_t *epoch) {
    for (int64_t i = loop->loop; i >= 0; i = r->items[i].loop) {
        if (!r->items[i].node->epoch) continue;
        *epoch = r->items[i].lo + r->items[i].turn;
        return true;
    }
    return false;
}

static const char *data_of(struct nn_run *r, const struct nn_item *loop) {
    return loop->node->kind == NN_DATA ? r->program->data[loop->node->sets[0].data].name : NULL;
}

/* "line 32 epoch 0 training: loss 0.3126471, accuracy 0.9087"; `done`: the averages are in their slots, else they are computed
 * from the sums so far. */
static void text_line(struct nn_run *r, struct nn_text *t, int64_t index, bool done) {
    const struct nn_item *loop = &r->items[index];
    int64_t epoch;
    nn_text_printf(r->env, t, "line %" PRId64, loop->node->line);
    if (epoch_of(r, loop, &epoch)) nn_text_printf(r->env, t, " epoch %" PRId64, epoch);
    if (data_of(r, loop)) nn_text_printf(r->env, t, " %s", data_of(r, loop));
    nn_text_add(r->env, t, ":");
    const char *before = " ";
    for (int64_t i = index + 1; i < loop->end; i = r->items[i].end) {
        const struct nn_item *track = &r->items[i];
        const double *sums = track->sums;
        for (int64_t k = 0; track->node->kind == NN_TRACK && k < track->node->n_tracked; k++) {
            const struct nn_tracked *x = &track->node->tracked[k];
            const struct nn_slot *s = &r->program->slots[x->average];
            nn_text_printf(r->env, t, "%s%s ", before, x->name);
            before = ", ";
            if (done)
                nn_text_tensor(r->env, t, nn_run_slot(r, x->average), s->elem, s->dims, s->n_dims, DIGITS, NN_PLAIN);
            else if (s->n_dims > 0)
                nn_text_add(r->env, t, "[...]");
            else
                nn_text_real(r->env, t, (double)(float)(sums[0] / track->weight), DIGITS, NN_PLAIN);
            sums += nn_count(s->dims, s->n_dims);
        }
    }
}

static void text_time(struct nn_run *r, struct nn_text *t, const struct nn_item *loop) {
    double seconds = seconds_of(r, loop);
    nn_text_printf(r->env, t, "%.*f s, %.0f/s)",
                   seconds < 10    ? 2
                   : seconds < 100 ? 1
                                   : 0,
                   seconds, seconds > 0 ? (double)loop->samples / seconds : 0.0);
}

void nn_report_clear(struct nn_run *r) {
    if (r->moving) nn_print(r->env, NN_ERR, "\r\033[K");
    r->moving = false;
}

/* A moving line that is longer than the terminal is wide would not be one line: bytes are counted, so names outside ASCII cost
 * more. */
static void cut_line(struct nn_text *t, int columns) {
    size_t most = columns > 1 ? (size_t)columns : 80; /* with the \r, one less than the width */
    if (t->bad || t->n <= most) return;
    while (most > 0 && ((unsigned char)t->at[most] & 0xC0) == 0x80) most--;
    t->n = most;
    t->at[most] = 0;
}

void nn_report_turn(struct nn_run *r, int64_t index) {
    const struct nn_item *loop = &r->items[index];
    if (!moves(r) || !loop->tracks) return;
    double now = nn_now(r->env);
    if (now - r->shown < MOVE_EVERY) return;
    struct nn_text t = {0};
    bool data = loop->node->kind == NN_DATA;
    nn_text_add(r->env, &t, "\r");
    text_line(r, &t, index, false);
    nn_text_printf(r->env, &t, " (turn %" PRId64 " of %" PRId64 ", %" PRId64 " %s, ", loop->turn, loop->turns, loop->samples,
                   data ? "samples" : "turns");
    text_time(r, &t, loop);
    cut_line(&t, r->env->sys->columns);
    nn_text_add(r->env, &t, "\033[K");
    if (!t.bad) nn_print_text(r->env, NN_ERR, &t);
    nn_text_free(r->env, &t); /* without memory there is no moving line: the run goes on, and says so where it matters */
    r->moving = true;
    r->shown = now;
}

/* ---- log ---- */

/* Goes on behind the first keep_bytes of the log, which are of this run; what stands behind them is of turns that are made again. */
static bool log_goes_on(struct nn_run *r, const char *path, int64_t keep_bytes) {
    off_t end = lseek(r->log, 0, SEEK_END);
    if (end >= 0 && end < keep_bytes) {
        return nn_fail(r->env, NN_BAD_INPUT,
                       "--log=%s: it has %lld bytes, but had %" PRId64 " when the checkpoint was written: is it another one?",
                       path, (long long)end, keep_bytes);
    }
    if (end >= 0 && (ftruncate(r->log, keep_bytes) != 0 || lseek(r->log, keep_bytes, SEEK_SET) < 0))
        return nn_fail(r->env, NN_BAD_INPUT, "--log=%s: cannot be cut: %s", path, strerror(errno));
    return true;
}

bool nn_log_open(struct nn_run *r, int64_t keep_bytes, bool resumed) {
    const char *path = r->settings->log;
    r->logged =
        resumed ? keep_bytes : 0; /* also of a run without --log: the checkpoint after it still knows what is in the file */
    if (!path) return true;
    bool special = nn_is_special(path);
    int how = special ? O_APPEND : !resumed ? O_CREAT | O_TRUNC : keep_bytes == 0 ? O_CREAT : 0;
    r->log = open(path, O_WRONLY | O_CLOEXEC | how, 0666);
    if (r->log < 0 && resumed && errno == ENOENT) {
        return nn_fail(r->env, NN_BAD_INPUT,
                       "--log=%s: there is no such file, but %" PRId64 " bytes had been written when the checkpoint was", path,
                       keep_bytes);
    }
    if (r->log < 0) return nn_fail(r->env, NN_BAD_INPUT, "--log=%s: cannot be written: %s", path, strerror(errno));
    return special || !resumed || log_goes_on(r, path, keep_bytes);
}

/* A log is whole lines: of one that the disk has no room for, what was written is cut off. */
static bool log_line(struct nn_run *r, const struct nn_text *t) {
    const char *path = r->settings->log;
    if (!nn_text_ok(r->env, t)) return false;
    if (nn_write_all(r->env, r->log, path, t->at, t->n)) {
        r->logged += (int64_t)t->n;
        return true;
    }
    bool cut = !nn_is_special(path) && ftruncate(r->log, r->logged) == 0;
    (void)cut; /* where even that fails the error of the write is what there is to say */
    return false;
}

static bool log_loop(struct nn_run *r, int64_t index) {
    const struct nn_item *loop = &r->items[index];
    struct nn_env *env = r->env;
    struct nn_text t = {0};
    int64_t epoch;
    nn_text_add(env, &t, "{\"command\":");
    nn_text_json(env, &t, r->command->name, strlen(r->command->name));
    nn_text_printf(env, &t, ",\"line\":%" PRId64, loop->node->line);
    if (data_of(r, loop)) {
        nn_text_add(env, &t, ",\"data\":");
        nn_text_json(env, &t, data_of(r, loop), strlen(data_of(r, loop)));
    }
    if (epoch_of(r, loop, &epoch)) nn_text_printf(env, &t, ",\"epoch\":%" PRId64, epoch);
    nn_text_printf(env, &t, ",\"step\":%" PRId64 ",\"samples\":%" PRId64 ",\"seconds\":", r->steps, loop->samples);
    nn_text_real(env, &t, seconds_of(r, loop), LOG_DIGITS, NN_JSON);
    for (int64_t i = index + 1; i < loop->end; i = r->items[i].end) {
        const struct nn_node *node = r->items[i].node;
        for (int64_t k = 0; node->kind == NN_TRACK && k < node->n_tracked; k++) {
            const struct nn_slot *s = &r->program->slots[node->tracked[k].average];
            nn_text_add(env, &t, ",");
            nn_text_json(env, &t, node->tracked[k].name, strlen(node->tracked[k].name));
            nn_text_add(env, &t, ":");
            nn_text_tensor(env, &t, nn_run_slot(r, node->tracked[k].average), s->elem, s->dims, s->n_dims, LOG_DIGITS, NN_JSON);
        }
    }
    nn_text_add(env, &t, "}\n");
    bool good = log_line(r, &t);
    nn_text_free(env, &t);
    return good;
}

bool nn_report_loop(struct nn_run *r, int64_t index) {
    const struct nn_item *loop = &r->items[index];
    if (r->settings->progress != NN_QUIET) {
        struct nn_text t = {0};
        nn_report_clear(r);
        text_line(r, &t, index, true);
        nn_text_printf(r->env, &t, " (%" PRId64 " %s, ", loop->samples, loop->node->kind == NN_DATA ? "samples" : "turns");
        text_time(r, &t, loop);
        nn_text_add(r->env, &t, "\n");
        bool good = nn_print_text(r->env, NN_ERR, &t);
        nn_text_free(r->env, &t);
        if (!good) return false;
    }
    return r->log < 0 || log_loop(r, index);
}
