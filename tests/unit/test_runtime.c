/*
 * test_runtime.c - commands of the hand-made program from the command line to the files: usage, options, order of samples, track
 * and log, keep and stop, weights, outputs, and what happens without memory or on a full disk.
 */
#include "ir/random.h"
#include "runtime/cpu.h"
#include "runtime/random.h"
#include "runtime/shuffle.h"
#include "runtime/threads.h"
#include "runtime_toy.h"
#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static struct toy toy;

static void begin(void) {
    toy = (struct toy){.write_limit = -1};
    toy_folder();
}
static void end(void) { toy_free(&toy); }

/* Runs with --out in the folder of the test. */
static int run(const char *args) {
    char all[2000];
    snprintf(all, sizeof all, "%s --out=%s", args, toy_folder());
    return toy_run(&toy, all);
}

static void says(const char *text, const char *part) {
    ck_assert_msg(strstr(text, part) != NULL, "`%s` expected in: %s", part, text);
}

/* ---- random numbers ---- */

/* Known answers of the authors' own test (Random123, kat_vectors, philox4x32 10). */
START_TEST(test_philox) {
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        nn_philox(known[i].counter, known[i].key, out);
        ck_assert_mem_eq(out, known[i].out, sizeof out);
    }
}
END_TEST

/* The compiler has definitions of its own: they must say the same. */
START_TEST(test_same_as_compiler) {
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t key = i * 0x123456789abcdefu, x = i % 3 == 0 ? i : ~i << 7;
        ck_assert(nn_mix(key, x) == random_mix(key, x));
        uint32_t c[4] = {(uint32_t)x, (uint32_t)(x >> 32), (uint32_t)i, 7}, k[2] = {(uint32_t)key, (uint32_t)(key >> 32)}, out[4];
        nn_philox(c, k, out);
        philox4x32(c, k[0], k[1]);
        ck_assert_mem_eq(c, out, sizeof out);
    }
}
END_TEST

START_TEST(test_shuffle) {
    enum { N = 1000 };
    uint32_t order[N], other[N], small[3];
    int seen[N] = {0}, places[6] = {0};
    for (uint32_t i = 0; i < N; i++) order[i] = other[i] = i;
    nn_shuffle(order, N, 5);
    nn_shuffle(other, N, 6);
    ck_assert_mem_ne(order, other, sizeof order);
    for (int i = 0; i < N; i++) seen[order[i]]++;
    for (int i = 0; i < N; i++) ck_assert_int_eq(seen[i], 1);
    for (uint64_t key = 0; key < 6000; key++) { /* the six orders of three are equally likely: 1000 each, standard deviation 29 */
        for (uint32_t i = 0; i < 3; i++) small[i] = i;
        nn_shuffle(small, 3, key);
        places[2 * small[0] + (small[1] > small[2])]++;
    }
    for (int i = 0; i < 6; i++) ck_assert_msg(abs(places[i] - 1000) < 150, "order %d came %d times of 6000", i, places[i]);
    int64_t sum = 0;
    nn_resample(order, N, 7);
    for (int i = 0; i < N; i++) {
        ck_assert_uint_lt(order[i], N);
        sum += order[i];
    }
    ck_assert_msg(llabs(sum - 499500) < 5 * 9129, "%lld", (long long)sum); /* five standard deviations */
}
END_TEST

/* ---- the command line ---- */

START_TEST(test_alone) {
    ck_assert_int_eq(toy_run(&toy, ""), 2);
    says(toy.err, "toy train [--lr=0.05] [--epochs=3]");
    says(toy.err, "toy predict --x=f32[B, 3]   -> y: f32[B], z: i32[B]");
    ck_assert_str_eq(toy.out, "");
    ck_assert_int_eq(toy_run(&toy, "--help"), 0);
    says(toy.out, "toy train");
    ck_assert_int_eq(toy_run(&toy, "--version"), 0);
    ck_assert_str_eq(toy.out, "toy.nn, made by hand\n");
    ck_assert_int_eq(toy_run(&toy, "--summary"), 0);
    ck_assert_str_eq(toy.out, "w 3\nb 1\n");
    ck_assert_int_eq(toy_run(&toy, "--plan"), 0);
    ck_assert_int_eq(toy_run(&toy, "train --help"), 0);
    says(toy.out, "--no-shuffle");
    ck_assert_int_eq(toy.calls, 0);
}
END_TEST

START_TEST(test_refused) {
    static const char *const cases[][2] = {
        {"trian", "did you mean `train`?"},
        {"Train", "did you mean `train`?"},
        {"xyzzy", "no command `xyzzy`"},
        {"train --epoch=3", "did you mean --epochs?"},
        {"train --tread=2", "did you mean --threads?"},
        {"train --thr=2", "did you mean --threads?"}, /* no names cut short */
        {"train --lr", "--lr needs a value"},
        {"train --lr=fast", "--lr=fast: expected a number"},
        {"train --lr=nan", "expected a number"},
        {"train --lr=1e99", "expected a number"},
        {"train --lr=0.1x", "expected a number"},
        {"train --epochs=2.5", "expected a whole number"},
        {"train --epochs=3000000000", "expected a whole number"},
        {"train --threads=0", "--threads=0"},
        {"train --threads=-1", "--threads=-1"},
        {"train --threads=x", "--threads=x"},
        {"train --batches=0", "--batches=0"},
        {"train --turns=0", "--turns=0"},
        {"train --seed=-1", "--seed=-1"},
        {"train --seed=18446744073709551616", "--seed="},
        {"train --progress=loud", "auto, plain or none"},
        {"train --no-shuffle=yes", "takes no value"},
        {"train extra", "`extra`"},
        {"train -x", "-x"},
        {"train -- --lr=1", "`--lr=1`"},
        {"--data=x", "a command comes first"},
        {"predict", "needs --x=FILE"},
        {"train --weights=w", "needs no weights"},
        {"train --data=. --init=absent.safetensors", "absent.safetensors"},
        {"train --data=/dev/null", "--data=/dev/null: there is no such folder"},
        {"train --lr=0x10", "--lr=0x10: expected a number"},
        {"train --lr=", "--lr=: expected a number"},
        {"train --epochs=\t3", "expected a whole number"},
        {"train --every=0x10 --checkpoint=c", "--every=0x10: expected a time"},
        {"train --threads=100000", "--threads=100000: at most"},
        {"train --save=", "--save=: nothing is named"},
        {"train --init=", "--init=: nothing is named"},
        {"train --out=", "--out=: nothing is named"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_msg(toy_run(&toy, cases[i][0]) == 2, "%s", cases[i][0]);
        says(toy.err, cases[i][1]);
        ck_assert_int_eq(toy.calls, 0);
    }
    ck_assert_int_eq(run("train --seed=18446744073709551615 --epochs 1 --lr 0.5 --threads=3"), 0); /* these are right */
}
END_TEST

/* A program whose steps need what no CPU has runs no command; it still says what it is. */
START_TEST(test_cpu) {
    struct nn_system sys = nn_real_system();
    struct nn_env env = {.sys = &sys};
    struct toy toy = {0};
    struct nn_program p = *toy_program(&toy);
    p.cpu = "the next one";
    ck_assert(nn_cpu_check(&env, &p)); /* needs nothing */
    p.needs = "";
    ck_assert(nn_cpu_check(&env, &p));
#ifdef __x86_64__
    p.needs = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "cx16,popcnt,avx2,fma" : "cx16";
    ck_assert(nn_cpu_check(&env, &p));
#endif
    ck_assert_int_eq(env.error.status, 0);
    p.needs = "cx17,av,avx2f,avx1024";
    ck_assert(!nn_cpu_check(&env, &p));
    ck_assert_int_eq(env.error.status, NN_BAD_INPUT);
    ck_assert_ptr_nonnull(
        strstr(env.error.text,
               "compiled for the next one; this CPU has no cx17, av, avx2f, avx1024: compile it here with --cpu=native"));
}
END_TEST

/* Where a run of hours would fail at its end, it does not begin. */
START_TEST(test_places) {
    static const char *const cases[][2] = {
        {"--save=nowhere/w", "--save=nowhere/w: cannot be written: No such file"},
        {"--save-init=nowhere/w", "--save-init=nowhere/w: cannot be written"},
        {"--checkpoint=nowhere/w", "--checkpoint=nowhere/w: cannot be written"},
        {"--log=nowhere/w", "--log=nowhere/w: cannot be written"},
        {"--save=/dev/null/w", "Not a directory"},
        {"--save=/proc/w", "--save=/proc/w: cannot be written"},
        {"--save=/", "--save=/: this is a folder, not a file"},
        {"--checkpoint=.", "--checkpoint=.: this is a folder, not a file"},
        {"--save=same --log=same", "--save and --log name the same file: same"},
        {"--save=same --checkpoint=same", "--save and --checkpoint name the same file"},
        {"--save-init=same --save=same", "--save and --save-init name the same file"},
        {"--out=/dev/null", "--out=/dev/null: this is a file, not a folder"},
        {"--out=/proc/w", "/proc/w: the folder cannot be made"},
        {"--out=/proc", "toy.nn:19: /proc/toy.safetensors: cannot be written"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char args[200];
        snprintf(args, sizeof args, "train --epochs=1 --out=%s %s", toy_folder(), cases[i][0]);
        ck_assert_msg(toy_run(&toy, args) == 2, "%s: %s", args, toy.err);
        says(toy.err, cases[i][1]);
        ck_assert_int_eq(toy.calls, 0);
    }
}
END_TEST

/* ---- data in their order ---- */

/* x[0] of row i of train.csv. */
static float row(int i) {
    size_t n;
    char *text = toy_read("train.csv", &n), *at = text;
    for (int k = 0; k < i; k++) at = strchr(at, '\n') + 1;
    float x = strtof(at, NULL);
    free(text);
    return x;
}

START_TEST(test_order) {
    float first[64], again[64];
    ck_assert_int_eq(run("train --no-shuffle --epochs=1"), 0);
    ck_assert_int_eq(toy.seen, 37);
    ck_assert_int_eq(toy.longest, 5);
    ck_assert_int_eq(toy.calls, 8 + 3);
    for (int i = 0; i < 37; i++) ck_assert_msg(toy.first_x[i] == row(i), "sample %d", i);
    memcpy(first, toy.first_x, sizeof first);
    ck_assert_int_eq(run("train --epochs=1"), 0); /* shuffled: the same samples in another order */
    ck_assert_mem_ne(first, toy.first_x, 37 * sizeof(float));
    memcpy(again, toy.first_x, sizeof again);
    int found = 0;
    for (int i = 0; i < 37; i++) {
        for (int k = 0; k < 37; k++) found += first[i] == again[k];
    }
    ck_assert_int_eq(found, 37);
    ck_assert_int_eq(run("train --epochs=1"), 0);
    ck_assert_mem_eq(again, toy.first_x, 37 * sizeof(float));
    ck_assert_int_eq(run("train --epochs=1 --seed=2"), 0);
    ck_assert_mem_ne(again, toy.first_x, 37 * sizeof(float));
    ck_assert_int_eq(run("train --batches=2 --turns=2"), 0);
    ck_assert_int_eq(toy.calls, 2 * (2 + 2));
    ck_assert_int_eq(toy.seen, 20);
}
END_TEST

/* The key of a step is the seed stirred with the turns of the loops around; of first values it is the seed. */
START_TEST(test_keys) {
    ck_assert_int_eq(run("train --epochs=2 --seed=77"), 0);
    ck_assert_int_eq(toy.n_keys, 16);
    for (uint64_t i = 0; i < 16; i++) ck_assert(toy.keys[i] == random_mix(random_mix(77, i / 8), i % 8));
}
END_TEST

/* ---- keep and stop ---- */

static char *weights_after(const char *args) {
    char all[300];
    size_t n;
    snprintf(all, sizeof all, "%s --save=%s", args, toy_path("end.safetensors"));
    ck_assert_int_eq(run(all), 0);
    return toy_read("end.safetensors", &n);
}

START_TEST(test_keep_and_stop) {
    static const float up_and_down[] = {3, 2, 2.5f, 1, 1.5f, 1, 4, 0}, not_numbers[] = {NAN, NAN, 5, NAN, 6},
                       rising[] = {1, 2, 3, 4, 5};
    toy.losses = up_and_down;
    char *four = weights_after("train --epochs=4"); /* the best is the last */
    toy.stalls = 2;
    char *stopped = weights_after("train --epochs=8"); /* 1.5 and an equal 1 are no new bests: stopped after the sixth */
    ck_assert_int_eq(toy.calls, 6 * (8 + 3));
    ck_assert_mem_eq(four, stopped, 136);
    free(four);
    free(stopped);
    toy.stalls = 0;
    toy.losses = not_numbers;
    char *three = weights_after("train --epochs=3"), *five = weights_after("train --epochs=5");
    ck_assert_mem_eq(three, five, 136); /* NaN never is a best; 6 is none after 5 */
    free(three);
    free(five);
    toy.losses = rising;
    char *one = weights_after("train --epochs=1"), *all = weights_after("train --epochs=5");
    ck_assert_mem_eq(one, all, 136);
    free(one);
    free(all);
    toy.stalls = 1;
    ck_assert_int_eq(run("train --epochs=5"), 0);
    ck_assert_int_eq(toy.calls, 2 * (8 + 3));
}
END_TEST

/* ---- progress and log ---- */

START_TEST(test_lines) {
    char args[300];
    ck_assert_int_eq(run("train --no-shuffle --epochs=1"), 0);
    says(toy.err, "line 13 epoch 0 training: loss ");
    says(toy.err, " (37 samples, 0.0");
    says(toy.err, "line 14 epoch 0 testing: test_loss ");
    ck_assert(strncmp(toy.out, "test loss ", 10) == 0);
    ck_assert_ptr_null(strchr(toy.err, '\r'));
    ck_assert_int_eq(run("train --progress=none"), 0);
    ck_assert_str_eq(toy.err, "");
    toy.terminal = true;
    ck_assert_int_eq(run("train --epochs=30"), 0); /* a look at the clock is a millisecond: the line moves */
    says(toy.err, "\r");
    toy.terminal = false;
    snprintf(args, sizeof args, "train --epochs=1 --log=%s", toy_path("a.jsonl"));
    ck_assert_int_eq(run(args), 0);
    size_t n;
    char *log = toy_read("a.jsonl", &n),
         start[] = "{\"command\":\"train\",\"line\":13,\"data\":\"training\",\"epoch\":0,\"step\":8,\"samples\":37,\"seconds\":";
    ck_assert_msg(strncmp(log, start, sizeof start - 1) == 0, "%s", log);
    char *second = strchr(log, '\n') + 1;
    ck_assert_msg(strncmp(second,
                          "{\"command\":\"train\",\"line\":14,\"data\":\"testing\",\"epoch\":0,\"step\":8,\"samples\":10,",
                          75) == 0,
                  "%s", second);
    says(log, ",\"loss\":");
    free(log);
}
END_TEST

/* The number behind a name in the log's line of that number. */
static double logged(const char *log, int line, const char *name) {
    for (int i = 0; i < line; i++) log = strchr(log, '\n') + 1;
    char key[40];
    snprintf(key, sizeof key, "\"%s\":", name);
    return strtod(strstr(log, key) + strlen(key), NULL);
}

/* An average over samples: a short last batch counts by what is in it; NaN is null. */
START_TEST(test_averages) {
    char args[300];
    size_t n;
    snprintf(args, sizeof args, "train --no-shuffle --turns=1 --lr=0 --log=%s --save=%s", toy_path("a.jsonl"),
             toy_path("end.safetensors"));
    ck_assert_int_eq(run(args), 0);
    char *log = toy_read("a.jsonl", &n), *file = toy_read("end.safetensors", &n), *rows = toy_read("test.csv", &n);
    float w[3], b;
    uint64_t header;
    memcpy(&header, file, 8);
    memcpy(w, file + 8 + header, 12); /* the weights never moved: --lr=0 */
    memcpy(&b, file + 8 + header + 12, 4);
    ck_assert(b == 0.25f);
    double c1 = strtod("0", NULL), sum = 0;
    (void)c1;
    char *at = rows;
    for (int i = 0; i < 10; i++) {
        double x[4];
        for (int k = 0; k < 4; k++) x[k] = strtod(at, &at), at++;
        double e = w[0] * x[0] + w[1] * x[1] + w[2] * x[2] + b - x[3];
        sum += e * e;
    }
    ck_assert_msg(fabs(logged(log, 1, "test_loss") - sum / 10) < 0.02 * sum, "%g, not %g", logged(log, 1, "test_loss"),
                  sum / 10); /* the carried value moves it a little */
    free(log);
    free(file);
    free(rows);
    toy.nan_at = 3;
    ck_assert_int_eq(run(args), 0);
    log = toy_read("a.jsonl", &n);
    says(log, "\"test_loss\":null}");
    says(toy.err, "test_loss nan");
    free(log);
}
END_TEST

/* ---- weights ---- */

START_TEST(test_save_and_init) {
    char args[600];
    size_t n, m;
    snprintf(args, sizeof args, "train --save-init=%s --save=%s", toy_path("a.st"), toy_path("b.st"));
    ck_assert_int_eq(run(args), 0);
    char *a = toy_read("a.st", &n), *b = toy_read("b.st", &m);
    ck_assert(n == m && memcmp(a, b, n) != 0);
    snprintf(args, sizeof args, "train --seed=9 --init=%s --save-init=%s", toy_path("a.st"), toy_path("c.st"));
    ck_assert_int_eq(run(args), 0);
    char *c = toy_read("c.st", &m);
    ck_assert(n == m && memcmp(a, c, n) == 0);
    free(a);
    free(b);
    free(c);
}
END_TEST

static void write_weights(const char *header, size_t bytes) {
    char file[2000] = {0};
    uint64_t n = strlen(header);
    memcpy(file, &n, 8);
    memcpy(file + 8, header, n);
    toy_write("bad.st", file, 8 + n + bytes);
}

START_TEST(test_bad_weights) {
    static const struct {
        const char *header;
        size_t bytes;
        const char *says[3];
    } cases[] = {
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}", 12, {"missing: b, f32", NULL}},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},\"bb\":{\"dtype\":\"F32\",\"shape\":[],\"data_"
         "offsets\":[16,20]}}",
         20,
         {"w: expected f32[3], found f32[4]", "missing: b", "not in the program: bb"}},
        {"{\"w\":{\"dtype\":\"F64\",\"shape\":[3],\"data_offsets\":[0,24]},\"b\":{\"dtype\":\"BF16\",\"shape\":[],\"data_"
         "offsets\":[24,26]}}",
         26,
         {"w: expected f32[3], found f64[3]", "another element type", NULL}},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}", 11, {"truncated", NULL}},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 12, {"damaged", NULL}},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[-3],\"data_offsets\":[0,12]}}", 12, {"damaged", NULL}},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 12, {"damaged", NULL}},
        {"{\"w\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[12,0]}}", 12, {"damaged", NULL}},
        {"{\"w\":7}", 12, {"damaged", NULL}},
        {"{\"w\":", 12, {"not a safetensors file", NULL}},
        {"[]", 12, {"not a safetensors file", NULL}},
    };
    char args[300];
    snprintf(args, sizeof args, "train --init=%s", toy_path("bad.st"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_weights(cases[i].header, cases[i].bytes);
        toy_remove("toy.safetensors");
        ck_assert_msg(run(args) == 2, "%s", cases[i].header);
        says(toy.err, "bad.st");
        for (int k = 0; k < 3 && cases[i].says[k]; k++) says(toy.err, cases[i].says[k]);
        ck_assert(!toy_exists("toy.safetensors"));
    }
    toy_write("bad.st", "abc", 3);
    ck_assert_int_eq(run(args), 2);
    toy_write("bad.st", "\377\377\377\377\377\377\377\377", 8);
    ck_assert_int_eq(run(args), 2);
}
END_TEST

/* ---- outputs ---- */

START_TEST(test_predict) {
    char args[900];
    toy_remove("toy.safetensors");
    toy_write("in.csv", "1,2,3\n0,0,0\n-1,1,0.5\n", 21);
    snprintf(args, sizeof args, "predict --x=%s --data=%s", toy_path("in.csv"), toy_folder());
    ck_assert_int_eq(toy_run(&toy, args), 2);
    says(toy.err, "run `train` first");
    ck_assert_int_eq(run("train"), 0);
    ck_assert_int_eq(run("predict"), 2);
    says(toy.err, "needs --x=FILE");
    ck_assert_int_eq(run("predict --x=absent.csv"), 2);
    says(toy.err, "absent.csv");
    ck_assert_int_eq(toy_run(&toy, args), 0);
    float y[3];
    int z[3];
    ck_assert_int_eq(sscanf(toy.out, "y %f, z %d\ny %f, z %d\ny %f, z %d\n", &y[0], &z[0], &y[1], &z[1], &y[2], &z[2]), 6);
    ck_assert(z[0] == (int)lrintf(y[0]) && z[2] == (int)lrintf(y[2]));
    snprintf(args, sizeof args, "predict --x=%s,%s --weights=%s --y=%s", toy_path("in.csv"), toy_path("in.csv"),
             toy_path("toy.safetensors"), toy_path("y.csv"));
    ck_assert_int_eq(run(args), 0);
    ck_assert_str_eq(toy.out, "");
    size_t n;
    char *text = toy_read("y.csv", &n), *at = text;
    for (int i = 0; i < 6; i++) ck_assert(fabsf(strtof(at, &at) - y[i % 3]) <= 1e-6f * fabsf(y[i % 3]));
    free(text);
    text = toy_read("predict-z.npy", &n); /* --out names it */
    ck_assert_ptr_nonnull(text);
    says(text + 10, "'descr': '<i4', 'fortran_order': False, 'shape': (6,), }");
    ck_assert_uint_eq(n, 128 + 6 * 4);
    int32_t third;
    memcpy(&third, text + 128 + 8, 4);
    ck_assert_int_eq(third, z[2]);
    free(text);
    snprintf(args, sizeof args, "predict --x=%s,%s,%s", toy_path("in.csv"), toy_path("in.csv"), toy_path("in.csv"));
    ck_assert_int_eq(run(args), 2);
    says(toy.err, "nnc --max-batch");
}
END_TEST

/* ---- faults ---- */

START_TEST(test_faults) {
    toy.fault_at = 4;
    ck_assert_int_eq(run("train"), 3);
    says(toy.err, "toy.nn:13: index 7 is out of range: the axis has 3 elements");
    toy.fault_at = 0;
    toy.nan_at = 4;
    ck_assert_int_eq(run("train --guard"), 3);
    says(toy.err, "`w` has 1 elements of 3 that are NaN");
    says(toy.err, "at step 3");
    ck_assert_int_eq(toy.calls, 4);
}
END_TEST

static int left_to_json; /* so many allocations of jansson succeed */

static void *some_json(size_t size) {
    if (left_to_json-- > 0) return malloc(size);
    errno = ENOMEM;
    return NULL;
}

/* Where memory ends while the header of a file is read, the file is not to blame: who is told that a checkpoint is damaged may remove it. */
START_TEST(test_no_memory_for_a_header) {
    char args[300];
    int failures = 0;
    write_weights("{\"w\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},\"b\":{\"dtype\":\"F32\",\"shape\":[],\"data_"
                  "offsets\":[12,16]}}",
                  16);
    snprintf(args, sizeof args, "train --epochs=1 --init=%s", toy_path("bad.st"));
    ck_assert_int_eq(run(args), 0);
    for (int n = 0;; n++) {
        left_to_json = n;
        json_set_alloc_funcs(some_json, free);
        int status = run(args);
        if (status == 0) break;
        ck_assert_msg(status == 3, "allocation %d: status %d: %s", n, status, toy.err);
        says(toy.err, "out of memory");
        failures++;
    }
    json_set_alloc_funcs(malloc, free);
    ck_assert_int_gt(failures, 10);
}
END_TEST

/* Every allocation fails once: an error that says so, nothing left over (the sanitizers look), nothing written but whole files.
 */
START_TEST(test_no_memory) {
    char args[500];
    snprintf(args, sizeof args, "train --epochs=2 --log=%s --checkpoint=%s --every=1", toy_path("a.jsonl"),
             toy_path("a.checkpoint"));
    ck_assert_int_eq(run(args), 0);
    long all = toy.allocations;
    ck_assert_int_gt(all, 100);
    for (long i = 1; i <= all; i++) {
        toy.fail_after = i;
        int status = run(args);
        ck_assert_msg(status == 3, "status %d when allocation %ld of %ld failed: %s", status, i, all, toy.err);
        says(toy.err, "out of memory");
    }
    toy.fail_after = 0;
    snprintf(args, sizeof args, "train --epochs=2 --checkpoint=%s --resume", toy_path("a.checkpoint"));
    ck_assert_int_eq(run(args), 0);
    all = toy.allocations;
    for (long i = 1; i <= all; i++) {
        toy.fail_after = i;
        ck_assert_int_eq(run(args), 3);
    }
    toy.fail_after = 0;
    snprintf(args, sizeof args, "predict --x=%s --weights=%s", toy_path("test.csv"), toy_path("toy.safetensors"));
    toy_write("in.csv", "1,2,3\n0,0,0\n", 12);
    snprintf(args, sizeof args, "predict --x=%s --weights=%s", toy_path("in.csv"), toy_path("toy.safetensors"));
    ck_assert_int_eq(run(args), 0);
    all = toy.allocations;
    for (long i = 1; i <= all; i++) {
        toy.fail_after = i;
        ck_assert_int_eq(run(args), 3);
    }
}
END_TEST

START_TEST(test_full_disk) {
    char args[300];
    size_t n;
    toy_remove("toy.safetensors");
    for (long room = 0; room < 120; room += 7) {
        toy.write_limit = room;
        ck_assert_int_eq(run("train"), 3);
        says(toy.err, "toy.safetensors: cannot be written: No space left on device");
        ck_assert(!toy_exists("toy.safetensors"));
    }
    toy.write_limit = -1;
    ck_assert_int_eq(run("train"), 0);
    char *whole = toy_read("toy.safetensors", &n);
    toy.write_limit = 20;
    snprintf(args, sizeof args, "train --epochs=1");
    ck_assert_int_eq(run(args), 3);
    size_t m;
    char *still = toy_read("toy.safetensors", &m);
    ck_assert(m == n && memcmp(whole, still, n) == 0); /* the old file */
    free(whole);
    free(still);
    toy.write_limit = -1;
    ck_assert_int_eq(toy_run(&toy, "train --save=/dev/null/x.st --out=/tmp"), 2); /* no folder, and none can be made there */
    says(toy.err, "/dev/null/x.st");
    toy.deaf = true;
    ck_assert_int_eq(run("train"), 3);
    says(toy.err, "standard output cannot be written: No space left on device");
    ck_assert_int_eq(toy_run(&toy, "--help"), 3);
    toy.deaf = false;
    ck_assert_int_eq(run("train --log=/dev/null/x.jsonl"), 2);
    ck_assert_int_eq(toy.calls, 0);
}
END_TEST

/* Whole lines are in the log, as many as had room. */
START_TEST(test_full_disk_behind_the_log) {
    char args[300];
    size_t n, most;
    snprintf(args, sizeof args, "train --epochs=2 --log=%s", toy_path("full.jsonl"));
    ck_assert_int_eq(run(args), 0);
    free(toy_read("full.jsonl", &most));
    for (size_t room = 0; room + 10 < most; room += 23) { /* (the seconds are not always as long) */
        toy.write_limit = (long)room;
        ck_assert_int_eq(run(args), 3);
        says(toy.err, "full.jsonl: cannot be written: No space left on device");
        char *log = toy_read("full.jsonl", &n);
        ck_assert_msg(n <= room && (n == 0 || log[n - 1] == '\n'), "%zu bytes of room: %s", room, log);
        free(log);
    }
    toy.write_limit = -1;
}
END_TEST

/* ---- threads ---- */

struct meeting {
    int64_t counts[8], all;
    int wrong;
};

static void meet(struct nn_call *call) {
    struct meeting *m = call->func->context;
    for (int round = 0; round < 200; round++) {
        m->counts[call->thread]++;
        nn_barrier_wait(call);
        for (int64_t t = 0; t < call->threads; t++) { /* everyone has counted, no one has gone on */
            if (m->counts[t] != round + 1) __atomic_add_fetch(&m->wrong, 1, __ATOMIC_RELAXED);
        }
        nn_barrier_wait(call);
    }
    __atomic_add_fetch(&m->all, 1, __ATOMIC_RELAXED);
}

/* A step on a team of its own. */
static void one_step(struct nn_team *team, void *call) { nn_threads_step(team, call, team->threads); }

/* A run of few steps has all threads; later both are tried, and the faster has the rest of the period; what has changed is noticed in one of the next. */
START_TEST(test_pace) {
    for (int one_is_faster = 0; one_is_faster < 2; one_is_faster++) {
        struct nn_pace p = {0};
        int64_t steps = 0, alone = 0, first_alone = -1;
        for (; steps < 20000; steps++) {
            int64_t threads = nn_pace_threads(&p, 2);
            bool quiet = steps < 10000; /* then it is the other way around */
            if (threads == 1 && first_alone < 0) first_alone = steps;
            if (steps == 10000) {
                ck_assert_int_eq(alone > 9000, one_is_faster);
                ck_assert_int_eq(alone < 200, !one_is_faster);
                alone = 0;
            }
            alone += threads == 1;
            nn_pace_note(&p, (threads == 1) == (one_is_faster == quiet) ? 1e-4 : 2e-4);
        }
        ck_assert_int_ge(first_alone, 30);
        ck_assert_int_eq(alone > 5000, !one_is_faster); /* of 10,000: found out at the begin of the next period */
    }
}
END_TEST

/* One step in five that something disturbed does not change what is done; steps that are all slower do. */
START_TEST(test_pace_of_disturbed_steps) {
    for (int all = 0; all < 2; all++) {
        struct nn_pace p = {0};
        int64_t alone = 0;
        for (int64_t i = 0; i < 4000; i++) {
            int64_t threads = nn_pace_threads(&p, 2);
            alone += threads == 1;
            nn_pace_note(&p, threads == 1 ? 1.8e-4 : all || i % 40 > 31 ? 3e-4 : 1e-4);
        }
        ck_assert_msg(all ? alone > 3500 : alone < 100, "%d of 4000 steps on one thread", (int)alone);
    }
}
END_TEST

/* Threads that take ten times as long are noticed at once: at the begin of a run of long steps, and later. */
START_TEST(test_pace_of_threads_in_each_others_way) {
    struct nn_pace p = {0};
    int64_t lost = 0;
    for (int64_t i = 0; i < 60; i++) { /* of long steps some are disturbed: not for long */
        int64_t threads = nn_pace_threads(&p, 2);
        nn_pace_note(&p, threads == 1 ? 0.6 : i < 20 ? 1 : 0.3);
        if (i == 59) ck_assert_int_eq(threads, 2);
    }
    p = (struct nn_pace){0};
    for (int64_t i = 0; i < 3000; i++) {
        int64_t threads = nn_pace_threads(&p, 2);
        bool quiet = i >= 1000 && i < 2000;
        lost += threads == 2 && !quiet;
        nn_pace_note(&p, threads == 1 ? 2e-3 : quiet ? 1e-3 : 20e-3);
        if (i == 99) ck_assert_int_le(lost, 12);
        if (i == 999) lost = 0;
        if (i == 1999) ck_assert_int_eq(threads, 2);
        if (i == 2199) ck_assert_int_le(lost, 20);
    }
}
END_TEST

START_TEST(test_barrier) {
    for (int threads = 1; threads <= 7; threads += 3) {
        struct meeting m = {0};
        struct nn_func f = {.step = meet, .context = &m};
        struct nn_call call = {.func = &f};
        nn_team_run(threads, one_step, &call);
        ck_assert_int_ge(m.all, 1);
        ck_assert_int_eq(m.wrong, 0);
    }
}
END_TEST

/* Jobs of one team, more and fewer threads in turns, some right behind each other, some so long apart that the threads are asleep. */
struct jobs {
    int done[8]; /* by each thread, in the job at hand */
    int jobs, wrong;
};

static void count_job(void *arg, int64_t thread, int64_t threads) {
    struct jobs *j = arg;
    __atomic_add_fetch(&j->done[thread], 1, __ATOMIC_RELAXED);
    if (thread == threads - 1 && j->jobs % 50 == 0) nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

static void many_jobs(struct nn_team *team, void *arg) {
    struct jobs *j = arg;
    for (j->jobs = 0; j->jobs < 1000; j->jobs++) {
        int64_t threads = j->jobs * 7 % (team->threads + 2); /* none: one; more than there are: all */
        memset(j->done, 0, sizeof j->done);
        nn_team_do(team, threads, count_job, j);
        int64_t taken = threads < 1 ? 1 : threads < team->threads ? threads : team->threads;
        for (int64_t i = 0; i < 8; i++) j->wrong += j->done[i] != (i < taken);
        if (j->jobs % 100 == 99) nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
    }
}

static void few_jobs(struct nn_team *team, void *arg) {
    struct jobs *j = arg;
    ck_assert_int_lt(team->threads, 8);
    for (j->jobs = 0; j->jobs < 100; j->jobs++) {
        memset(j->done, 0, sizeof j->done);
        nn_team_do(team, 8, count_job, j);
        for (int64_t i = 0; i < 8; i++) j->wrong += j->done[i] != (i < team->threads);
    }
}

START_TEST(test_team) {
    for (int threads = 1; threads <= 8; threads++) {
        struct jobs j = {0};
        nn_team_run(threads, many_jobs, &j);
        ck_assert_int_eq(j.jobs, 1000);
        ck_assert_int_eq(j.wrong, 0);
    }
}
END_TEST

#if !defined __SANITIZE_ADDRESS__ /* which needs room of its own for every thread */
/* Where the system has no room for as many threads as are asked for there are fewer, and they do the work. */
START_TEST(test_team_without_room) {
    struct jobs j = {0};
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%ld", &pages) != 1) pages = 0;
    if (f) fclose(f);
    if (pages == 0) return; /* only Linux tells */
    pthread_attr_t attributes;
    size_t stack = 0;
    ck_assert_int_eq(pthread_getattr_default_np(&attributes), 0);
    ck_assert_int_eq(pthread_attr_getstacksize(&attributes, &stack), 0);
    rlim_t most = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + 7 * (rlim_t)stack / 2;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &(struct rlimit){most, most}), 0); /* of this test's process */
    nn_team_run(8, few_jobs, &j);
    ck_assert_int_eq(j.jobs, 100);
    ck_assert_int_eq(j.wrong, 0);
}
END_TEST
#endif

struct sharing {
    int done[3][1000]; /* of three loops, one behind the other without a barrier: how often each turn was made */
    int64_t by[8];     /* turns that each thread made */
};

static const int64_t sharing_turns[3] = {1000, 3, 41};

/* Thread 0 is slow: others take over what is its part. */
static void share(struct nn_call *call) {
    struct sharing *m = call->func->context;
    for (int loop = 0; loop < 3; loop++) {
        int64_t end, at = nn_turns(call, sharing_turns[loop], 1, &end);
        for (; at >= 0; at = nn_turns(call, sharing_turns[loop], 0, &end)) {
            if (call->thread == 0) nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
            m->by[call->thread] += end - at;
            for (; at < end; at++) __atomic_add_fetch(&m->done[loop][at], 1, __ATOMIC_RELAXED);
        }
    }
}

START_TEST(test_turns) {
    for (int threads = 1; threads <= 7; threads += 2) {
        struct sharing m = {0};
        struct nn_func f = {.step = share, .context = &m};
        struct nn_call call = {.func = &f};
        nn_team_run(threads, one_step, &call);
        for (int loop = 0; loop < 3; loop++)
            for (int i = 0; i < 1000; i++) ck_assert_int_eq(m.done[loop][i], i < sharing_turns[loop]);
        int64_t all = sharing_turns[0] + sharing_turns[1] + sharing_turns[2];
        if (m.by[0] < all) ck_assert_int_lt(m.by[0], all / threads); /* there were others */
    }
}
END_TEST

Suite *runtime_suite(void);

Suite *runtime_suite(void) {
    Suite *s = suite_create("runtime");
    TCase *t = tcase_create("commands");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, begin, end);
    tcase_add_test(t, test_philox);
    tcase_add_test(t, test_same_as_compiler);
    tcase_add_test(t, test_shuffle);
    tcase_add_test(t, test_alone);
    tcase_add_test(t, test_refused);
    tcase_add_test(t, test_cpu);
    tcase_add_test(t, test_places);
    tcase_add_test(t, test_order);
    tcase_add_test(t, test_keys);
    tcase_add_test(t, test_keep_and_stop);
    tcase_add_test(t, test_lines);
    tcase_add_test(t, test_averages);
    tcase_add_test(t, test_save_and_init);
    tcase_add_test(t, test_bad_weights);
    tcase_add_test(t, test_predict);
    tcase_add_test(t, test_faults);
    tcase_add_test(t, test_no_memory);
    tcase_add_test(t, test_no_memory_for_a_header);
    tcase_add_test(t, test_full_disk);
    tcase_add_test(t, test_full_disk_behind_the_log);
    tcase_add_test(t, test_team);
#if !defined __SANITIZE_ADDRESS__
    tcase_add_test(t, test_team_without_room);
#endif
    tcase_add_test(t, test_barrier);
    tcase_add_test(t, test_pace);
    tcase_add_test(t, test_pace_of_disturbed_steps);
    tcase_add_test(t, test_pace_of_threads_in_each_others_way);
    tcase_add_test(t, test_turns);
    suite_add_tcase(s, t);
    return s;
}
