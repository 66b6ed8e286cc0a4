/*
 * test_runtime_checkpoint.c - runs that are stopped at every turn and gone on with give the bits of a run that was not: weights,
 * states, log. Stopped by SIGTERM, and killed between two steps; inside training, inside validation, after `keep`. And
 * checkpoints that must be refused.
 */
#include "runtime_toy.h"
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#define RUN "train --epochs=5 --progress=none"
enum { CALLS = 5 * (8 + 3), TRIED = 50 };

/* Runs with every name filled in: --out, --save, --log, --checkpoint. */
static int run(struct toy *toy, const char *more) {
    char args[2000];
    snprintf(args, sizeof args, RUN " --out=%s --save=%s --log=%s --checkpoint=%s %s", toy_folder(), toy_path("end.safetensors"),
             toy_path("log.jsonl"), toy_path("run.checkpoint"), more);
    return toy_run(toy, args);
}

static void clean(void) {
    toy_remove("run.checkpoint");
    toy_remove("log.jsonl");
    toy_remove("end.safetensors");
    toy_remove("toy.safetensors");
}

/* The log without what a clock says. */
static char *timeless(char *log) {
    char *to = log;
    for (char *at = log; *at;) {
        if (strncmp(at, "\"seconds\":", 10) == 0)
            at += 10 + strcspn(at + 10, ",}");
        else
            *to++ = *at++;
    }
    *to = 0;
    return log;
}

static struct {
    char *weights, *end, *log;
    size_t n_weights, n_end, n_log;
} whole; /* of the run that is not stopped */

static void make_whole(void) {
    struct toy toy = {.write_limit = -1};
    toy_folder();
    clean();
    ck_assert_int_eq(run(&toy, ""), 0);
    ck_assert_int_eq(toy.calls, CALLS);
    whole.weights = toy_read("toy.safetensors", &whole.n_weights);
    whole.end = toy_read("end.safetensors", &whole.n_end);
    whole.log = timeless(toy_read("log.jsonl", &whole.n_log));
    ck_assert_ptr_nonnull(whole.weights);
    ck_assert_ptr_nonnull(whole.end);
    int lines = 0;
    for (char *at = whole.log; (at = strchr(at, '\n')); at++) lines++;
    ck_assert_int_eq(lines, 10);
    toy_free(&toy);
    clean();
}

static void free_whole(void) {
    free(whole.weights);
    free(whole.end);
    free(whole.log);
    clean();
}

static void same_as_whole(int at) {
    size_t n;
    char *weights = toy_read("toy.safetensors", &n), *end, *log;
    ck_assert_msg(weights && n == whole.n_weights && memcmp(weights, whole.weights, n) == 0,
                  "weights differ after a stop at step %d", at);
    end = toy_read("end.safetensors", &n);
    ck_assert_msg(end && n == whole.n_end && memcmp(end, whole.end, n) == 0,
                  "parameters and states differ after a stop at step %d", at);
    log = timeless(toy_read("log.jsonl", &n));
    ck_assert_msg(strcmp(log, whole.log) == 0, "the log differs after a stop at step %d:\n%s\nnot\n%s", at, log, whole.log);
    free(weights);
    free(end);
    free(log);
}

START_TEST(test_stopped_by_signal) {
    for (int at = 1; at <= TRIED; at++) {
        struct toy toy = {.write_limit = -1, .stop_at = at};
        clean();
        ck_assert_int_eq(run(&toy, ""), 128 + SIGTERM);
        ck_assert_int_eq(toy.calls, at); /* it stopped after that step */
        ck_assert(!toy_exists("toy.safetensors"));
        toy.stop_at = 0;
        ck_assert_int_eq(run(&toy, "--resume"), 0);
        ck_assert_int_eq(toy.calls, CALLS - at);
        same_as_whole(at);
        toy_free(&toy);
    }
}
END_TEST

START_TEST(test_stopped_twice) {
    for (int at = 3; at <= TRIED; at += 7) {
        struct toy toy = {.write_limit = -1, .stop_at = at};
        clean();
        ck_assert_int_eq(run(&toy, ""), 143);
        toy.stop_at = 2;
        ck_assert_int_eq(run(&toy, "--resume"), 143);
        toy.stop_at = 0;
        ck_assert_int_eq(run(&toy, "--resume"), 0);
        same_as_whole(at);
        toy_free(&toy);
    }
}
END_TEST

/* The process is gone in the middle of a step; what it wrote after the step before is there. */
static void killed(const char *every, int step) {
    for (int at = 1; at <= TRIED; at += step) {
        clean();
        pid_t child = fork();
        ck_assert(child >= 0);
        if (child == 0) {
            struct toy toy = {.write_limit = -1, .kill_at = at};
            run(&toy, every);
            _exit(7);
        }
        int status;
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        struct toy toy = {.write_limit = -1};
        bool there = toy_exists("run.checkpoint");
        char args[100];
        snprintf(args, sizeof args, "%s --resume", every);
        ck_assert_int_eq(run(&toy, args), 0);
        ck_assert_msg(there == (strstr(toy.err, "starting from the beginning") == NULL), "%s", toy.err);
        same_as_whole(at);
        toy_free(&toy);
    }
}

START_TEST(test_killed_after_every_step) { killed("--every=1", 1); }
END_TEST

START_TEST(test_killed_now_and_then) {
    killed("--every=4", 3);
    killed("--every=0.01s", 5);
    killed("", 9); /* at ends of epochs alone: 30 s do not pass */
}
END_TEST

/* A checkpoint after the last step: nothing is left to do but the statements behind. */
START_TEST(test_end_of_run) {
    struct toy toy = {.write_limit = -1};
    clean();
    ck_assert_int_eq(run(&toy, "--every=1"), 0);
    toy_remove("toy.safetensors");
    ck_assert_int_eq(run(&toy, "--resume"), 0);
    ck_assert_int_eq(toy.calls, 0);
    same_as_whole(CALLS);
    toy_free(&toy);
}
END_TEST

/* ---- refusals ---- */

static void make_checkpoint(struct toy *toy) {
    clean();
    *toy = (struct toy){.write_limit = -1, .stop_at = 26}; /* in the third epoch: something is kept */
    ck_assert_int_eq(run(toy, ""), 143);
    toy->stop_at = 0;
}

START_TEST(test_spoilt) {
    struct toy toy;
    size_t n;
    make_checkpoint(&toy);
    char *good = toy_read("run.checkpoint", &n);
    for (size_t at = 0; at < n; at += 1 + at % 13) { /* a bit turned anywhere */
        good[at] ^= 4;
        toy_write("run.checkpoint", good, n);
        ck_assert_msg(run(&toy, "--resume") == 2, "a bit turned at byte %zu was not seen: %s", at, toy.err);
        ck_assert_msg(strstr(toy.err, "run.checkpoint") != NULL, "%s", toy.err);
        ck_assert_int_eq(toy.calls, 0);
        good[at] ^= 4;
    }
    for (size_t cut = 0; cut < n; cut += 1 + cut % 11) { /* and cut off anywhere */
        toy_write("run.checkpoint", good, cut);
        ck_assert_msg(run(&toy, "--resume") == 2, "a file cut to %zu bytes was not seen: %s", cut, toy.err);
    }
    toy_write("run.checkpoint", good, n);
    ck_assert_int_eq(run(&toy, "--resume"), 0);
    same_as_whole(26);
    free(good);
    toy_free(&toy);
}
END_TEST

static void refused(struct toy *toy, const struct nn_program *program, const char *args, const char *why) {
    char all[2000];
    snprintf(all, sizeof all, "%s --progress=none --out=%s --checkpoint=%s --resume", args, toy_folder(),
             toy_path("run.checkpoint"));
    ck_assert_int_eq(toy_run_program(toy, program, all), 2);
    ck_assert_msg(strstr(toy->err, why) && strstr(toy->err, "run.checkpoint"), "`%s` expected in: %s", why, toy->err);
}

START_TEST(test_of_another_run) {
    struct toy toy;
    make_checkpoint(&toy);
    struct nn_program other = *toy_program(&toy);
    other.hash++;
    refused(&toy, &other, "train --epochs=5", "another program");
    refused(&toy, toy_program(&toy), "train --epochs=6", "--epochs=5");
    refused(&toy, toy_program(&toy), "train --epochs=5 --seed=2", "another seed");
    refused(&toy, toy_program(&toy), "train --epochs=5 --batches=2", "--batches=2");
    size_t n;
    char *rows = toy_read("test.csv", &n);
    toy_write("test.csv", rows, (size_t)(strchr(rows, '\n') - rows) + 1);
    refused(&toy, toy_program(&toy), "train --epochs=5", "testing=10");
    toy_write("test.csv", rows, n);
    free(rows);
    toy_free(&toy);
}
END_TEST

/* The checkpoint with another text for a note, and the checksum of that. NULL: the text that is there; freed by the caller. */
static char *change_note(const char *file, size_t n, const char *key, const char *text) {
    char mark[40];
    uint64_t header;
    memcpy(&header, file, 8);
    const char *at = strstr(file + 8, (snprintf(mark, sizeof mark, "\"%s\":\"", key), mark)) + strlen(mark),
               *end = strchr(at, '"');
    if (!text) return strndup(at, (size_t)(end - at));
    size_t before = (size_t)(at - file), behind = 8 + header - (size_t)(end - file), tensors = n - 8 - header;
    char *out = calloc(1, n + strlen(text) + 8);
    memcpy(out, file, before);
    size_t m = before + (size_t)sprintf(out + before, "%s", text);
    memcpy(out + m, end, behind);
    for (m += behind; m % 8; m++) out[m] = ' ';
    header = m - 8;
    memcpy(out, &header, 8);
    memcpy(out + m, file + n - tensors, tensors);
    m += tensors;
    char *sum = strstr(out + 8, "\"checksum\":\"") + 12, digits[9];
    memcpy(sum, "00000000", 8);
    snprintf(digits, sizeof digits, "%08lx", crc32_z(0, (const Bytef *)out, m));
    memcpy(sum, digits, 8);
    toy_write("run.checkpoint", out, m);
    return out;
}

/* Notes that no run can have written. */
static const char *const wrong[][2] = {
    {"phase", ""},
    {"phase", "x"},
    {"phase", " 0"},
    {"phase", "99"},
    {"phase", "3"}, /* stands inside a loop */
    {"phase", "3 1:2:5:0:2:0:0x0p+0"},
    {"phase", "1 1:2:5:0:2:0:0x0p+0"},
    {"phase", "2 1:2:6:0:2:0:0x0p+0"}, /* turns */
    {"phase", "2 1:2:9223372036854775807:0:2:0:0x0p+0"},
    {"phase", "2 1:2:5:-1:2:0:0x0p+0"}, /* lo */
    {"phase", "2 1:2:5:2147483647:2:0:0x0p+0"},
    {"phase", "2 1:2:5:0:3:0:0x0p+0"},  /* samples */
    {"phase", "2 1:2:5:0:2:7:0x0p+0"},  /* batch */
    {"phase", "2 1:2:5:0:2:0:-0x1p+0"}, /* seconds */
    {"phase", "2 1:2:5:0:2:0:nan"},
    {"phase", "2 1:5:5:0:5:0:0x0p+0"},
    {"phase", "2 1:-1:5:0:-1:0:0x0p+0"},
    {"phase", "2 1:2x:5:0:2:0:0x0p+0"},
    {"phase", "3 1:2:5:0:2:0:0x0p+0 2:1:9:0:5:5:0x0p+0"}, /* 37 samples in batches of 5 */
    {"phase", "3 1:2:5:0:2:0:0x0p+0 2:1:9223372036854775807:0:5:5:0x0p+0"},
    {"phase", "3 1:2:5:0:2:0:0x0p+0 2:1:8:1:5:5:0x0p+0"},
    {"phase", "3 1:2:5:0:2:0:0x0p+0 2:1:8:0:9:5:0x0p+0"},
    {"phase", "3 1:2:5:0:2:0:0x0p+0 2:1:8:0:5:4611686018427387904:0x0p+0"},
    {"phase", "3 1:2:5:0:2:0:0x0p+0 2:7:8:0:35:5:0x0p+0"}, /* the last has 2 */
    {"phase", "3 2:1:8:0:5:5:0x0p+0"},
    {"step", "5x"},
    {"step", ""},
    {"step", " 5"},
    {"step", "-1"},
    {"step", "9223372036854775807"},
    {"computed", "9223372036854775807"},
    {"computed", "five"},
    {"log", "-1"},
    {"log", "0.5"},
    {"sums", ""},
    {"stops", "1"},
    {"carried", "00"},
};

static void refused_note(struct toy *toy, const char *file, size_t n, const char *key, const char *text) {
    char want[100];
    free(change_note(file, n, key, text));
    snprintf(want, sizeof want, "this checkpoint is damaged: `%s` cannot be read", key);
    int status = run(toy, "--resume");
    ck_assert_msg(status == 2 && strstr(toy->err, want), "%s = %s: %d, %s", key, text, status, toy->err);
    ck_assert_int_eq(toy->calls, 0);
}

/* What a checksum does not show. */
START_TEST(test_notes) {
    struct toy toy;
    size_t n;
    make_checkpoint(&toy);
    char *good = toy_read("run.checkpoint", &n), *phase = change_note(good, n, "phase", NULL);
    char *sums = change_note(good, n, "sums", NULL), *stops = change_note(good, n, "stops", NULL), more[4][300];
    ck_assert_msg(strncmp(phase, "4 1:2:5:0:2:0:0x", 16) == 0 && strstr(phase, " 2:3:8:0:15:5:0x"), "%s", phase);
    snprintf(more[0], sizeof more[0], "%s0x1p+0 ", sums);
    snprintf(more[1], sizeof more[1], "-%s", sums);
    snprintf(more[2], sizeof more[2], "%s1 0x1p+0 0 ", stops);
    snprintf(more[3], sizeof more[3], "2%s", stops + 1);
    const char *about[][2] = {
        {"sums", more[0]},
        {"sums", more[1]},
        {"stops", more[2]},
        {"stops", more[3]},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) refused_note(&toy, good, n, wrong[i][0], wrong[i][1]);
    for (size_t i = 0; i < sizeof about / sizeof *about; i++) refused_note(&toy, good, n, about[i][0], about[i][1]);
    free(change_note(good, n, "phase", phase)); /* as it was */
    ck_assert_int_eq(run(&toy, "--resume"), 0);
    same_as_whole(26);
    free(good);
    free(phase);
    free(sums);
    free(stops);
    toy_free(&toy);
}
END_TEST

START_TEST(test_shortened_log) {
    struct toy toy;
    make_checkpoint(&toy);
    toy_write("log.jsonl", "", 0);
    ck_assert_int_eq(run(&toy, "--resume"), 2);
    ck_assert_ptr_nonnull(strstr(toy.err, "log.jsonl"));
    toy_free(&toy);
}
END_TEST

START_TEST(test_usage) {
    struct toy toy = {.write_limit = -1};
    ck_assert_int_eq(toy_run(&toy, "train --resume"), 2);
    ck_assert_ptr_nonnull(strstr(toy.err, "--checkpoint"));
    ck_assert_int_eq(toy_run(&toy, "train --every=3"), 2);
    ck_assert_int_eq(toy_run(&toy, "train --checkpoint=x --every=3m"), 2);
    ck_assert_int_eq(toy_run(&toy, "train --checkpoint=x --every=0"), 2);
    toy_free(&toy);
}
END_TEST

/* A full disk leaves the old checkpoint as it was. */
START_TEST(test_full_disk) {
    struct toy toy;
    size_t n, m;
    make_checkpoint(&toy);
    char *before = toy_read("run.checkpoint", &n), *after;
    toy.write_limit = 100;
    ck_assert_int_eq(run(&toy, "--resume --every=1"), 3);
    after = toy_read("run.checkpoint", &m);
    ck_assert(m == n && memcmp(before, after, n) == 0);
    toy.write_limit = -1;
    ck_assert_int_eq(run(&toy, "--resume"), 0);
    same_as_whole(26);
    free(before);
    free(after);
    toy_free(&toy);
}
END_TEST

Suite *runtime_checkpoint_suite(void);

Suite *runtime_checkpoint_suite(void) {
    Suite *s = suite_create("runtime: checkpoints");
    TCase *t = tcase_create("resume");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, make_whole, free_whole);
    tcase_add_test(t, test_stopped_by_signal);
    tcase_add_test(t, test_stopped_twice);
    tcase_add_test(t, test_killed_after_every_step);
    tcase_add_test(t, test_killed_now_and_then);
    tcase_add_test(t, test_end_of_run);
    tcase_add_test(t, test_spoilt);
    tcase_add_test(t, test_of_another_run);
    tcase_add_test(t, test_notes);
    tcase_add_test(t, test_shortened_log);
    tcase_add_test(t, test_usage);
    tcase_add_test(t, test_full_disk);
    suite_add_tcase(s, t);
    return s;
}
