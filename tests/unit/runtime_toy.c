/* runtime_toy.c - see runtime_toy.h. */
#include "runtime_toy.h"
#include "runtime/random.h"
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    W,
    BIAS,
    MOMENT,
    LOSS,
    TRAIN_LOSS,
    TEST_ONE,
    TEST_LOSS,
    LR,
    EPOCHS,
    EPOCH,
    STEP,
    KEY,
    FIRST,
    X,
    Y,
    TX,
    TY,
    CARRY,
    IN_X,
    OUT_Y,
    OUT_Z,
    SLOTS
};
enum { MOST = 8 };

struct frame { /* as the compiler would lay it out */
    _Alignas(64) float w[3];
    _Alignas(64) float bias;
    _Alignas(64) float moment[3];
    _Alignas(64) float loss;
    _Alignas(64) float train_loss;
    _Alignas(64) float test_one[MOST]; /* a value a sample */
    _Alignas(64) float test_loss;
    _Alignas(64) float lr;
    _Alignas(64) int32_t epochs;
    _Alignas(64) int32_t epoch;
    _Alignas(64) int32_t step;
    _Alignas(64) int64_t key;
    _Alignas(64) int64_t first;
    _Alignas(64) float carry[2];
    _Alignas(64) float out_y[MOST];
    _Alignas(64) int32_t out_z[MOST];
};
enum { FIELD_X, FIELD_Y, FIELD_TX, FIELD_TY, FIELD_IN, FIELDS };

static float draw(int64_t key, int64_t place) {
    uint32_t c[4] = {(uint32_t)place}, k[2] = {(uint32_t)key, (uint32_t)((uint64_t)key >> 32)}, out[4];
    nn_philox(c, k, out);
    return (float)out[0] * 0x1p-32f - 0.5f;
}

static void count_call(struct toy *toy, struct nn_call *call) {
    toy->calls++;
    if (toy->calls == toy->stop_at) toy->stop = SIGTERM;
    if (toy->calls == toy->kill_at) raise(SIGKILL);
    if (toy->calls == toy->fault_at) *call->fault = (struct nn_fault){NN_INDEX, 13, 7, 3};
}

static void init_w(struct nn_call *call) {
    struct frame *f = (struct frame *)call->frame;
    for (int i = 0; i < 3; i++) f->w[i] = draw(f->key, i);
}

/* w <- w - lr * m, m <- 0.9 m + gradient of the mean of (x w + b - y)^2, with noise on x from the key and the place in the epoch.
 */
static void train_step(struct nn_call *call) {
    struct toy *toy = call->func->context;
    struct frame *f = (struct frame *)call->frame;
    const float *x = call->fields[FIELD_X], *y = call->fields[FIELD_Y];
    float g[3] = {0}, gb = 0, loss = 0;
    count_call(toy, call);
    if (toy->n_keys < 64) toy->keys[toy->n_keys++] = (uint64_t)f->key;
    if (call->batch > toy->longest) toy->longest = (int)call->batch;
    for (int64_t i = 0; i < call->batch; i++) {
        if (toy->seen < 64) toy->first_x[toy->seen++] = x[3 * i];
        float e = f->bias - y[i], noise = 0.01f * draw(f->key, f->first + i);
        for (int k = 0; k < 3; k++) e += f->w[k] * (x[3 * i + k] + noise);
        for (int k = 0; k < 3; k++) g[k] += 2 * e * x[3 * i + k];
        gb += 2 * e;
        loss += e * e;
    }
    for (int k = 0; k < 3; k++) {
        f->moment[k] = 0.9f * f->moment[k] + g[k] / (float)call->batch;
        f->w[k] -= f->lr * f->moment[k];
    }
    f->bias -= f->lr * gb / (float)call->batch;
    f->carry[0] = 0.5f * f->carry[0] + loss;
    f->carry[1] += (float)f->step + 0.001f * f->carry[0] + 0.01f * (float)f->epoch;
    f->loss = loss / (float)call->batch;
    if (toy->calls == toy->nan_at) f->w[1] = NAN;
}

static void test_step(struct nn_call *call) {
    struct toy *toy = call->func->context;
    struct frame *f = (struct frame *)call->frame;
    const float *x = call->fields[FIELD_TX], *y = call->fields[FIELD_TY];
    count_call(toy, call);
    for (int64_t i = 0; i < call->batch; i++) {
        float e = f->bias - y[i] + 0.0001f * f->carry[1];
        for (int k = 0; k < 3; k++) e += f->w[k] * x[3 * i + k];
        f->test_one[i] = toy->losses ? toy->losses[f->epoch] : e * e;
    }
}

static void begin(struct nn_call *call) { memset(((struct frame *)call->frame)->carry, 0, 2 * sizeof(float)); }

static void predict(struct nn_call *call) {
    struct frame *f = (struct frame *)call->frame;
    const float *x = call->fields[FIELD_IN];
    for (int64_t i = 0; i < call->batch; i++) {
        f->out_y[i] = f->bias;
        for (int k = 0; k < 3; k++) f->out_y[i] += f->w[k] * x[3 * i + k];
        f->out_z[i] = (int32_t)lrintf(f->out_y[i]);
    }
}

#define AT(member) .offset = offsetof(struct frame, member), .bytes = sizeof(((struct frame *)0)->member)
#define PLAIN      .batch_axis = -1, .init = -1
#define DIMS(d)    .dims = d, .n_dims = sizeof d / sizeof *d
#define LIST(m, a) .m = a, .n_##m = sizeof a / sizeof *a

static const int64_t three[] = {3}, two[] = {2}, batch_of_one[] = {1}, batch_of_three[] = {1, 3};
static const struct nn_slot slots[SLOTS] = {
    [W] = {"w", NN_PARAM, NN_F32, DIMS(three), AT(w), .batch_axis = -1, .init = 0, .line = 9},
    [BIAS] = {"b", NN_STATE, NN_F32, AT(bias), PLAIN, .fill = 0.25},
    [MOMENT] = {"train.w.m", NN_OPTSTATE, NN_F32, DIMS(three), AT(moment), PLAIN},
    [LOSS] = {"train.loss", NN_VAR, NN_F32, AT(loss), PLAIN, .command = "train"},
    [TRAIN_LOSS] = {"train.loss_1", NN_VAR, NN_F32, AT(train_loss), PLAIN, .command = "train"},
    [TEST_ONE] = {"train.e", NN_VAR, NN_F32, DIMS(batch_of_one), AT(test_one), .batch_axis = 0, .batch_bound = MOST, .init = -1,
                  .command = "train"},
    [TEST_LOSS] = {"train.test_loss", NN_VAR, NN_F32, AT(test_loss), PLAIN, .command = "train"},
    [LR] = {"lr", NN_OPTION, NN_F32, AT(lr), PLAIN, .fill = 0.05},
    [EPOCHS] = {"epochs", NN_OPTION, NN_I32, AT(epochs), PLAIN, .fill = 3},
    [EPOCH] = {"train.epoch", NN_COUNTER, NN_I32, AT(epoch), PLAIN, .command = "train"},
    [STEP] = {"train.step", NN_STEP, NN_I32, AT(step), PLAIN, .command = "train"},
    [KEY] = {"key", NN_KEY, NN_I64, AT(key), PLAIN},
    [FIRST] = {"first", NN_FIRST, NN_I64, AT(first), PLAIN},
    [X] = {"training.x", NN_FIELD, NN_F32, DIMS(batch_of_three), .offset = FIELD_X, .batch_axis = 0, .batch_bound = 5,
           .init = -1},
    [Y] = {"training.y", NN_FIELD, NN_F32, DIMS(batch_of_one), .offset = FIELD_Y, .batch_axis = 0, .batch_bound = 5, .init = -1},
    [TX] = {"testing.x", NN_FIELD, NN_F32, DIMS(batch_of_three), .offset = FIELD_TX, .batch_axis = 0, .batch_bound = 4,
            .init = -1},
    [TY] = {"testing.y", NN_FIELD, NN_F32, DIMS(batch_of_one), .offset = FIELD_TY, .batch_axis = 0, .batch_bound = 4, .init = -1},
    [CARRY] = {"train.c", NN_VAR, NN_F32, DIMS(two), AT(carry), PLAIN, .command = "train"},
    [IN_X] = {"predict.x", NN_INPUT, NN_F32, DIMS(batch_of_three), .offset = FIELD_IN, .batch_axis = 0, .batch_bound = MOST,
              .init = -1, .command = "predict"},
    [OUT_Y] = {"predict.y", NN_VAR, NN_F32, DIMS(batch_of_one), AT(out_y), .batch_axis = 0, .batch_bound = MOST, .init = -1,
               .command = "predict"},
    [OUT_Z] = {"predict.z", NN_VAR, NN_I32, DIMS(batch_of_one), AT(out_z), .batch_axis = 0, .batch_bound = MOST, .init = -1,
               .command = "predict"},
};

static const char *const train_csv[] = {"train.csv"}, *const test_csv[] = {"test.csv"};
static const int64_t columns_x[] = {0, 1, 2};
static const struct nn_arg args_x[] = {{.name = "columns", .kind = NN_ARG_INTS, LIST(ints, columns_x)}};
static const struct nn_arg args_y[] = {{.name = "columns", .kind = NN_ARG_INT, .i = 3}};
static const struct nn_loader load_train_x = {"csv", LIST(files, train_csv), LIST(args, args_x)},
                              load_train_y = {"csv", LIST(files, train_csv), LIST(args, args_y)},
                              load_test_x = {"csv", LIST(files, test_csv), LIST(args, args_x)},
                              load_test_y = {"csv", LIST(files, test_csv), LIST(args, args_y)}, by_suffix = {.kind = NULL};
static const struct nn_field train_fields[] = {{"x", NN_F32, DIMS(three), 4, &load_train_x, 1},
                                               {"y", NN_F32, .loader_line = 5, .loader = &load_train_y, .n_loader = 1}};
static const struct nn_field test_fields[] = {{"x", NN_F32, DIMS(three), 8, &load_test_x, 1},
                                              {"y", NN_F32, .loader_line = 9, .loader = &load_test_y, .n_loader = 1}};
static const struct nn_data data[] = {{"training", 0, 3, LIST(fields, train_fields)},
                                      {"testing", 0, 7, LIST(fields, test_fields)}};

enum { INIT_W, BEGIN, TRAIN, TEST, PREDICT, FUNCS };
static const int64_t key_alone[] = {KEY}, reads_train[] = {W, BIAS, MOMENT, LR, KEY, FIRST, STEP, EPOCH, CARRY, X, Y},
                     reads_test[] = {W, BIAS, CARRY, EPOCH, TX, TY};
static const int64_t writes_w[] = {W}, writes_carry[] = {CARRY}, writes_train[] = {W, BIAS, MOMENT, LOSS, CARRY},
                     writes_test[] = {TEST_ONE}, reads_predict[] = {W, BIAS, IN_X}, writes_predict[] = {OUT_Y, OUT_Z};

/* the members of a node that would else name slot or function 0 */
#define NODE(f, c, hi, s) .func = f, .counter = c, .lo_slot = -1, .hi_slot = hi, .slot = s
static const int64_t fields_train[] = {X, Y}, fields_test[] = {TX, TY};
static const struct nn_use use_train[] = {
    {.data = 0, .from_slot = -1, .to_slot = -1, .to = -1, .batch = 5, .shuffle = 1, LIST(fields, fields_train)}};
static const struct nn_use use_test[] = {
    {.data = 1, .from_slot = -1, .to_slot = -1, .to = -1, .batch = 4, LIST(fields, fields_test)}};
static const struct nn_tracked tracked_train[] = {{LOSS, TRAIN_LOSS, "loss"}},
                               tracked_test[] = {{TEST_ONE, TEST_LOSS, "test_loss"}};
static const struct nn_node body_train[] = {{.kind = NN_CALL, .line = 13, NODE(TRAIN, -1, -1, -1)},
                                            {.kind = NN_TRACK, .line = 13, NODE(-1, -1, -1, -1), LIST(tracked, tracked_train)}};
static const struct nn_node body_test[] = {{.kind = NN_CALL, .line = 14, NODE(TEST, -1, -1, -1)},
                                           {.kind = NN_TRACK, .line = 14, NODE(-1, -1, -1, -1), LIST(tracked, tracked_test)}};
static struct nn_node body_epoch[] = {
    {.kind = NN_DATA, .line = 13, NODE(-1, -1, -1, -1), LIST(body, body_train), .learning = 1, LIST(sets, use_train)},
    {.kind = NN_DATA, .line = 14, NODE(-1, -1, -1, -1), LIST(body, body_test), LIST(sets, use_test)},
    {.kind = NN_KEEP, .line = 15, NODE(-1, -1, -1, TEST_LOSS)},
    {.kind = NN_STOP, .line = 16, NODE(-1, -1, -1, TEST_LOSS), .stalls = 50},
};
static const struct nn_piece said[] = {{.text = "test loss "}, {.slot = TEST_LOSS, .digits = 3}},
                             file_name[] = {{.text = "toy.safetensors"}};
static const int64_t saved[] = {W, BIAS};
static const struct nn_node tree_train[] = {
    {.kind = NN_CALL, .line = 11, NODE(BEGIN, -1, -1, -1)},
    {.kind = NN_RANGE, .line = 12, NODE(-1, EPOCH, EPOCHS, -1), .epoch = 1, LIST(body, body_epoch)},
    {.kind = NN_PRINT, .line = 18, NODE(-1, -1, -1, -1), LIST(pieces, said)},
    {.kind = NN_SAVE, .line = 19, NODE(-1, -1, -1, -1), LIST(pieces, file_name), LIST(slots, saved)},
};
static const struct nn_node tree_predict[] = {{.kind = NN_CALL, .line = 21, NODE(PREDICT, -1, -1, -1)}};
static const int64_t options[] = {LR, EPOCHS};
static const struct nn_io inputs[] = {{"x", IN_X, 21, &by_suffix, 1}},
                          outputs[] = {{"y", OUT_Y, 21, &by_suffix, 1}, {"z", OUT_Z, 21, &by_suffix, 1}};
static const struct nn_command commands[] = {
    {.name = "train", .line = 10, LIST(options, options), .learns = 1, LIST(body, tree_train)},
    {.name = "predict",
     .line = 21,
     LIST(inputs, inputs),
     LIST(outputs, outputs),
     LIST(weights, saved),
     .weights_file = "toy.safetensors",
     LIST(body, tree_predict)},
};

const struct nn_program *toy_program(struct toy *toy) {
    static struct nn_func funcs[FUNCS];
    static struct nn_program program;
    funcs[INIT_W] = (struct nn_func){
        .name = "init.w", .step = init_w, .threads = 1, .line = 9, LIST(reads, key_alone), LIST(writes, writes_w)};
    funcs[BEGIN] = (struct nn_func){.name = "train.begin", .step = begin, .threads = 1, .line = 11, LIST(writes, writes_carry)};
    funcs[TRAIN] = (struct nn_func){.name = "train.step",
                                    .step = train_step,
                                    .batch_bound = 5,
                                    .threads = 1,
                                    .line = 13,
                                    LIST(reads, reads_train),
                                    LIST(writes, writes_train)};
    funcs[TEST] = (struct nn_func){.name = "train.test",
                                   .step = test_step,
                                   .batch_bound = 4,
                                   .threads = 1,
                                   .line = 14,
                                   LIST(reads, reads_test),
                                   LIST(writes, writes_test)};
    funcs[PREDICT] = (struct nn_func){.name = "predict.step",
                                      .step = predict,
                                      .batch_bound = MOST,
                                      .threads = 1,
                                      .line = 21,
                                      LIST(reads, reads_predict),
                                      LIST(writes, writes_predict)};
    for (int i = 0; i < FUNCS; i++) funcs[i].context = toy;
    body_epoch[3].stalls = toy->stalls > 0 ? toy->stalls : 50;
    program = (struct nn_program){.abi = NN_ABI,
                                  .source = "toy.nn",
                                  .version = "toy.nn, made by hand",
                                  .summary = "w 3\nb 1",
                                  .plan = "nothing",
                                  .source_dir = "/nowhere",
                                  .hash = 0x1234,
                                  .frame = sizeof(struct frame),
                                  .fields = FIELDS,
                                  LIST(slots, slots),
                                  LIST(data, data),
                                  LIST(funcs, funcs),
                                  LIST(commands, commands)};
    return &program;
}

/* ---- the system ---- */

static void *allocate(void *context, void *old, size_t size) {
    struct toy *toy = context;
    if (size == 0) {
        free(old);
        return NULL;
    }
    if (++toy->allocations == toy->fail_after) return NULL;
    return realloc(old, size);
}

static ssize_t write_some(void *context, int fd, const void *at, size_t n) {
    struct toy *toy = context;
    if (toy->write_limit >= 0 && (long)n > toy->write_limit) n = (size_t)toy->write_limit;
    if (toy->write_limit == 0) {
        errno = ENOSPC;
        return -1;
    }
    ssize_t done = write(fd, at, n);
    if (toy->write_limit > 0 && done > 0) toy->write_limit -= done;
    return done;
}

static bool print_into(void *context, enum nn_stream to, const char *text, size_t n) {
    struct toy *toy = context;
    char **at = to == NN_OUT ? &toy->out : &toy->err;
    size_t *length = to == NN_OUT ? &toy->n_out : &toy->n_err;
    *at = realloc(*at, *length + n + 1);
    memcpy(*at + *length, text, n);
    *length += n;
    (*at)[*length] = 0;
    errno = ENOSPC;
    return !(toy->deaf && to == NN_OUT);
}

static double clock_now(void *context) { return ((struct toy *)context)->clock += 0.001; }

int toy_run_program(struct toy *toy, const struct nn_program *program, const char *args) {
    struct nn_system sys = {.allocate = allocate,
                            .write = write_some,
                            .print = print_into,
                            .now = clock_now,
                            .context = toy,
                            .stop = &toy->stop,
                            .data_folder = toy_folder(),
                            .terminal = toy->terminal};
    char words[4096], *argv[64] = {"toy"}, *rest = NULL;
    int argc = 1;
    snprintf(words, sizeof words, "%s", args);
    for (char *w = strtok_r(words, " ", &rest); w && argc < 63; w = strtok_r(NULL, " ", &rest)) argv[argc++] = w;
    free(toy->out);
    free(toy->err);
    toy->out = calloc(1, 1);
    toy->err = calloc(1, 1);
    toy->n_out = toy->n_err = 0;
    toy->calls = toy->seen = toy->longest = toy->n_keys = 0;
    toy->stop = 0;
    toy->allocations = 0;
    toy->clock = 0;
    return nn_main_with(&sys, program, argc, argv);
}

int toy_run(struct toy *toy, const char *args) { return toy_run_program(toy, toy_program(toy), args); }

void toy_free(struct toy *toy) {
    free(toy->out);
    free(toy->err);
    *toy = (struct toy){.write_limit = -1};
}

/* ---- files ---- */

const char *toy_path(const char *name) {
    static char paths[8][600];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", toy_folder(), name);
    return path;
}

void toy_write(const char *name, const void *at, size_t n) {
    FILE *f = fopen(toy_path(name), "wb");
    if (!f || fwrite(at, 1, n, f) != n || fclose(f) != 0) abort();
}

char *toy_read(const char *name, size_t *n) {
    FILE *f = fopen(name[0] == '/' ? name : toy_path(name), "rb");
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    char *at = calloc(1, *n + 1);
    if (fread(at, 1, *n, f) != *n) abort();
    fclose(f);
    return at;
}

bool toy_exists(const char *name) { return access(toy_path(name), F_OK) == 0; }
void toy_remove(const char *name) { unlink(toy_path(name)); }

static void write_table(const char *name, int rows, uint64_t seed) {
    char text[8192];
    size_t n = 0;
    for (int i = 0; i < rows; i++) {
        float x[3];
        for (int k = 0; k < 3; k++) x[k] = 2 * draw((int64_t)seed, 3 * i + k);
        n += (size_t)snprintf(text + n, sizeof text - n, "%.7g,%.7g,%.7g,%.7g\n", x[0], x[1], x[2],
                              1.5 * x[0] - x[1] + 0.25 * x[2] + 0.5 + 0.1 * draw((int64_t)seed, 1000 + i));
    }
    toy_write(name, text, n);
}

static char folder[300];

static void remove_folder(void) {
    char command[400];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0) perror(folder);
}

const char *toy_folder(void) {
    if (folder[0]) return folder;
    const char *temp = getenv("TMPDIR"),
               *memory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"; /* hundreds of files are synced */
    snprintf(folder, sizeof folder, "%s/nnc-runtime-XXXXXX", temp ? temp : memory);
    if (!mkdtemp(folder)) abort();
    atexit(remove_folder); /* forked children of a test leave by _exit or a signal */
    write_table("train.csv", 37, 1);
    write_table("test.csv", 10, 2);
    return folder;
}
