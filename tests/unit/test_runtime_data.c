/*
 * test_runtime_data.c - every loader on files made here: right ones give the right elements, spoilt ones one error each that
 * names the file, the field, and what was wrong. The real data sets are read where they are there.
 */
#include "runtime/batch.h"
#include "runtime/data.h"
#include "runtime/picture.h"
#include "runtime_toy.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <jpeglib.h>

static struct nn_system sys;
static struct nn_env env;
static struct nn_data_reader reader;
static struct nn_program program;
static struct nn_vocab vocabs[2];
static struct nn_column column;

static void begin(void) {
    sys = nn_real_system();
    env = (struct nn_env){.sys = &sys};
    column = (struct nn_column){0};
    program = (struct nn_program){.source = "p.nn", .vocabs = vocabs};
}

static void open_reader(int n_vocabs) {
    if (reader.env) nn_data_reader_end(&reader);
    program.n_vocabs = n_vocabs;
    struct nn_folders folders = {.given = toy_folder()};
    ck_assert(nn_data_reader_begin(&env, &reader, &program, &folders));
}

static void end(void) {
    if (reader.env) nn_data_reader_end(&reader);
    reader = (struct nn_data_reader){0};
    nn_column_free(&env, &column);
}

enum { MOST_ARGS = 4 };
static struct nn_arg args[MOST_ARGS];
static int n_args;
static void arg_int(const char *name, int64_t v) { args[n_args++] = (struct nn_arg){.name = name, .kind = NN_ARG_INT, .i = v}; }
static void arg_str(const char *name, const char *v) {
    args[n_args++] = (struct nn_arg){.name = name, .kind = NN_ARG_STR, .s = v};
}

/* Loads one file into `column`; the arguments given before are used up. */
static bool load_type(const char *kind, const char *file, int64_t elem, int n_dims, const int64_t *dims) {
    const char *files[] = {file};
    struct nn_loader loader = {.kind = kind, .files = files, .n_files = 1, .args = args, .n_args = n_args};
    struct nn_load l = {.env = &env,
                        .reader = &reader,
                        .what = "field set.x",
                        .line = 7,
                        .elem = elem,
                        .dims = dims,
                        .n_dims = n_dims,
                        .loader = &loader,
                        .column = &column};
    if (!reader.env) open_reader(0);
    nn_column_free(&env, &column);
    env.error.status = 0;
    bool good = nn_load_column(&l, NULL, 0);
    n_args = 0;
    ck_assert(good == (env.error.status == 0));
    return good;
}
#define LOAD(kind, file, elem, ...)                                                                                              \
    load_type(kind, file, elem, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__})
#define LOAD_SCALAR(kind, file, elem) load_type(kind, file, elem, 0, NULL)

static void loaded(bool good, int64_t count) {
    ck_assert_msg(good, "%s", env.error.text);
    ck_assert_int_eq(column.count, count);
}

/* It failed with status 2, and the message has all of these. */
static void failed(bool good, const char *file, const char *what) {
    ck_assert_msg(!good, "`%s` was not seen", what);
    ck_assert_int_eq(env.error.status, 2);
    ck_assert_msg(strstr(env.error.text, file) && strstr(env.error.text, what), "`%s` expected in: %s", what, env.error.text);
    ck_assert_msg(strstr(env.error.text, "field set.x, p.nn:7") || strstr(env.error.text, "cannot be read") ||
                      strstr(env.error.text, "truncated") || strstr(env.error.text, "damaged"),
                  "%s", env.error.text);
}

static void write_gz(const char *name, const void *at, size_t n) {
    gzFile f = gzopen(toy_path(name), "wb");
    ck_assert(gzwrite(f, at, (unsigned)n) == (int)n);
    gzclose(f);
}

/* ---- idx ---- */

static const unsigned char idx_file[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 255};

START_TEST(test_idx) {
    toy_write("a.idx", idx_file, sizeof idx_file);
    loaded(LOAD("idx", "a.idx", NN_U8, 2, 3), 2);
    ck_assert_mem_eq(column.at, idx_file + 16, 12);
    write_gz("a.idx.gz", idx_file, sizeof idx_file);
    loaded(LOAD("idx", "a.idx.gz", NN_U8, 2, 3), 2);
    ck_assert_mem_eq(column.at, idx_file + 16, 12);
    static const unsigned char floats[] = {0, 0, 13, 1, 0, 0, 0, 2, 0x3f, 0x80, 0, 0, 0xc0, 0x40, 0, 0};
    toy_write("f.idx", floats, sizeof floats);
    loaded(LOAD_SCALAR("idx", "f.idx", NN_F32), 2);
    ck_assert(((float *)column.at)[0] == 1 && ((float *)column.at)[1] == -3);
}
END_TEST

START_TEST(test_bad_idx) {
    unsigned char spoilt[sizeof idx_file + 1] = {0};
    char zipped[200];
    failed(LOAD("idx", "absent.idx", NN_U8, 2, 3), "absent.idx", "no such file; looked in");
    toy_write("a.idx", idx_file, sizeof idx_file);
    failed(LOAD("idx", "a.idx", NN_U8, 3, 3), "a.idx", "expected samples of type u8[3, 3], found u8[2, 2, 3]");
    failed(LOAD("idx", "a.idx", NN_F32, 2, 3), "a.idx", "expected samples of type f32[2, 3], found u8[2, 2, 3]");
    failed(LOAD_SCALAR("idx", "a.idx", NN_U8), "a.idx", "expected samples of type u8, found u8[2, 2, 3]");
    for (size_t n = 0; n < sizeof idx_file; n++) {
        toy_write("cut.idx", idx_file, n);
        failed(LOAD("idx", "cut.idx", NN_U8, 2, 3), "cut.idx", n < 4 ? "not an IDX file" : "truncated");
    }
    memcpy(spoilt, idx_file, sizeof idx_file);
    toy_write("long.idx", spoilt, sizeof spoilt);
    failed(LOAD("idx", "long.idx", NN_U8, 2, 3), "long.idx", "more bytes follow");
    spoilt[2] = 9;
    toy_write("type.idx", spoilt, sizeof spoilt);
    failed(LOAD("idx", "type.idx", NN_U8, 2, 3), "type.idx", "IDX type 0x09");
    memset(spoilt + 4, 255, 4);
    spoilt[2] = 8;
    toy_write("huge.idx", spoilt, sizeof spoilt);
    failed(LOAD("idx", "huge.idx", NN_U8, 2, 3), "huge.idx", "truncated");
    write_gz("a.idx.gz", idx_file, sizeof idx_file);
    size_t n;
    char *whole = toy_read("a.idx.gz", &n);
    ck_assert_uint_lt(n, sizeof zipped);
    toy_write("cut.idx.gz", whole, n - 12);
    failed(LOAD("idx", "cut.idx.gz", NN_U8, 2, 3), "cut.idx.gz", "truncated");
    whole[n - 5] ^= 1; /* the checksum */
    toy_write("sum.idx.gz", whole, n);
    failed(LOAD("idx", "sum.idx.gz", NN_U8, 2, 3), "sum.idx.gz", "damaged");
    free(whole);
    mkdir(toy_path("folder.idx"), 0777);
    ck_assert(LOAD("idx", "folder.idx", NN_U8, 2, 3)); /* an empty folder: no samples, which the set refuses */
    ck_assert_int_eq(column.count, 0);
}
END_TEST

/* ---- csv ---- */

static void csv(const char *text) { toy_write("a.csv", text, strlen(text)); }

START_TEST(test_csv) {
    static const int64_t last_two[] = {2, 1};
    csv("\"name\",x,y\r\n\"a, \"\"b\"\"\",1.5,-2e3\r\nc, 0.25 ,+7\r\n\r\n");
    args[n_args++] = (struct nn_arg){.name = "columns", .kind = NN_ARG_INTS, .ints = last_two, .n_ints = 2};
    args[n_args++] = (struct nn_arg){.name = "header", .kind = NN_ARG_BOOL, .i = 1};
    loaded(LOAD("csv", "a.csv", NN_F32, 2), 2);
    static const float want[] = {-2000, 1.5f, 7, 0.25f};
    ck_assert_mem_eq(column.at, want, sizeof want);
    csv("1\t2\n255\t0");
    arg_str("delimiter", "\t");
    loaded(LOAD("csv", "a.csv", NN_U8, 2), 2);
    ck_assert_mem_eq(column.at, "\1\2\377\0", 4);
    csv("1\n2\n3\n4\n5\n");
    arg_int("window", 3);
    loaded(LOAD("csv", "a.csv", NN_I32, 3), 3);
    ck_assert_int_eq(column.stride, 4);
    ck_assert_int_eq(column.bytes, 12);
    ck_assert_int_eq(((int32_t *)(column.at + 2 * column.stride))[2], 5);
    static const char rows[] = "1\n2\n3\n";
    write_gz("a.csv.gz", rows, sizeof rows - 1);
    loaded(LOAD_SCALAR("csv", "a.csv.gz", NN_F32), 3);
    size_t n;
    char *packed = toy_read("a.csv.gz", &n);
    toy_write("cut.csv.gz", packed, n - 8); /* all lines, but not the end: it cannot be known whether more came */
    failed(LOAD_SCALAR("csv", "cut.csv.gz", NN_F32), "cut.csv.gz", "truncated");
    free(packed);
    csv("9007199254740993\n-9223372036854775808\n9223372036854775807\n");
    loaded(LOAD_SCALAR("csv", "a.csv", NN_I64), 3);
    const int64_t *read = (int64_t *)column.at;
    ck_assert(read[0] == 9007199254740993 && read[1] == INT64_MIN && read[2] == INT64_MAX);
    csv("5\" disk,2\n\"a\"\"b\",3\n"); /* quotes count at the start of a value */
    arg_int("columns", 1);
    loaded(LOAD_SCALAR("csv", "a.csv", NN_U8), 2);
}
END_TEST

START_TEST(test_bad_csv) {
    static const struct {
        const char *text;
        int64_t elem;
        const char *says;
    } cases[] = {
        {"1,2\n3\n", NN_F32, "a.csv:2: the row is too short: expected 2 values, found 1"},
        {"1,2\n1,\"2\n", NN_F32, "a.csv:2: a quote is not closed"},
        {"1,9223372036854775808\n", NN_I64, "a.csv:1: 9223372036854775808 is out of the range of i64"},
        {"1,-9223372036854775809\n", NN_I64, "a.csv:1: -9223372036854775809 is out of the range of i64"},
        {"1,2\n3,4,5\n", NN_F32, "a.csv:2: the row is too long: expected 2 values, found 3"},
        {"1\n", NN_F32, "a.csv:1: expected 2 values in a row, found 1"},
        {"1,2\nnan,3\n", NN_F32, "a.csv:2: expected a number, found 'nan'"},
        {"1,2\n3,inf\n", NN_F32, "a.csv:2: expected a number, found 'inf'"},
        {"1,0x10\n", NN_F32, "expected a number, found '0x10'"},
        {"x,y\n1,2\n", NN_F32, "a.csv:1: expected a number, found 'x'"},
        {"1,\n", NN_F32, "expected a number, found ''"},
        {"1,1e39\n", NN_F32, "1e39 is too large for f32"},
        {"1,256\n", NN_U8, "256 is out of the range of u8"},
        {"1,-1\n", NN_U8, "-1 is out of the range of u8"},
        {"1,2.5\n", NN_I32, "expected a whole number for i32, found 2.5"},
        {"1,2147483648\n", NN_I32, "out of the range of i32"},
        {"1,2\n\n3,4\n", NN_F32, "a.csv:2: the row is empty"},
        {"\"1\"x,2\n", NN_F32, "found '1x'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        csv(cases[i].text);
        failed(LOAD("csv", "a.csv", cases[i].elem, 2), "a.csv", cases[i].says);
    }
    csv("1,2\n");
    arg_int("columns", 2);
    failed(LOAD_SCALAR("csv", "a.csv", NN_F32), "a.csv", "there is no column 2");
    csv("1\n2\n");
    arg_int("window", 3);
    failed(LOAD("csv", "a.csv", NN_F32, 3), "a.csv", "2 rows, but a window has 3");
}
END_TEST

/* ---- npy, npz ---- */

static size_t make_npy(char *out, const char *dictionary, const void *at, size_t n) {
    size_t length = strlen(dictionary) + 1;
    memcpy(out, "\x93NUMPY\1\0", 8);
    out[8] = (char)length;
    out[9] = 0;
    memcpy(out + 10, dictionary, length - 1);
    out[9 + length] = '\n';
    memcpy(out + 10 + length, at, n);
    return 10 + length + n;
}

START_TEST(test_npy) {
    static const float x[] = {1, 2, 3, 4, 5, 6};
    char file[300];
    size_t n = make_npy(file, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", x, sizeof x);
    toy_write("a.npy", file, n);
    loaded(LOAD("npy", "a.npy", NN_F32, 3), 2);
    ck_assert_mem_eq(column.at, x, sizeof x);
    failed(LOAD("npy", "a.npy", NN_F64, 3), "a.npy", "expected samples of type f64[3], found f32[2, 3]");
    failed(LOAD("npy", "a.npy", NN_F32, 2), "a.npy", "found f32[2, 3]");
    for (size_t cut = 0; cut < n; cut += 5) {
        toy_write("cut.npy", file, cut);
        failed(LOAD("npy", "cut.npy", NN_F32, 3), "cut.npy", cut < 10 ? "not a .npy file" : "truncated");
    }
    n = make_npy(file, "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", x, sizeof x);
    toy_write("a.npy", file, n);
    failed(LOAD("npy", "a.npy", NN_F32, 3), "a.npy", "Fortran");
    n = make_npy(file, "{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }", x, sizeof x);
    toy_write("a.npy", file, n);
    failed(LOAD("npy", "a.npy", NN_F32, 3), "a.npy", "'>f4'");
    n = make_npy(file, "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", x, sizeof x);
    toy_write("a.npy", file, n);
    loaded(LOAD_SCALAR("npy", "a.npy", NN_F32), 6);
}
END_TEST

static void put(unsigned char **at, uint32_t v, int n) {
    for (int i = 0; i < n; i++) *(*at)++ = (unsigned char)(v >> (8 * i));
}

/* An archive of one member, stored or deflated. */
static size_t make_npz(unsigned char *out, const char *member, const void *data, size_t n, bool pack) {
    unsigned char *at = out, packed[1000];
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)n, .next_out = packed, .avail_out = sizeof packed};
    deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
    deflate(&z, Z_FINISH);
    size_t size = pack ? z.total_out : n;
    deflateEnd(&z);
    uint32_t name = (uint32_t)strlen(member), crc = (uint32_t)crc32(0, data, (uInt)n);
    memcpy(at, "PK\3\4", 4), at += 4;
    put(&at, 20, 2), put(&at, 0, 2), put(&at, pack ? 8 : 0, 2), put(&at, 0, 4), put(&at, crc, 4), put(&at, (uint32_t)size, 4),
        put(&at, (uint32_t)n, 4), put(&at, name, 2), put(&at, 0, 2);
    memcpy(at, member, name), at += name;
    memcpy(at, pack ? packed : data, size), at += size;
    uint32_t directory = (uint32_t)(at - out);
    memcpy(at, "PK\1\2", 4), at += 4;
    put(&at, 20, 2), put(&at, 20, 2), put(&at, 0, 2), put(&at, pack ? 8 : 0, 2), put(&at, 0, 4), put(&at, crc, 4),
        put(&at, (uint32_t)size, 4), put(&at, (uint32_t)n, 4), put(&at, name, 2);
    put(&at, 0, 2), put(&at, 0, 2), put(&at, 0, 2), put(&at, 0, 2), put(&at, 0, 4), put(&at, 0, 4);
    memcpy(at, member, name), at += name;
    uint32_t end_of = (uint32_t)(at - out);
    memcpy(at, "PK\5\6", 4), at += 4;
    put(&at, 0, 4), put(&at, 1, 2), put(&at, 1, 2), put(&at, end_of - directory, 4), put(&at, directory, 4), put(&at, 0, 2);
    return (size_t)(at - out);
}

START_TEST(test_npz) {
    static const unsigned char x[] = {1, 2, 3, 4, 5, 6};
    char npy[300];
    unsigned char file[2000];
    size_t n = make_npy(npy, "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }", x, sizeof x);
    for (int pack = 0; pack < 2; pack++) {
        size_t size = make_npz(file, "x.npy", npy, n, pack);
        toy_write("a.npz", file, size);
        arg_str("name", "x");
        loaded(LOAD("npz", "a.npz", NN_U8, 3), 2);
        ck_assert_mem_eq(column.at, x, sizeof x);
        arg_str("name", "y");
        failed(LOAD("npz", "a.npz", NN_U8, 3), "a.npz", "no array `y` in it; there are: x");
        for (size_t cut = 0; cut < size; cut += 9) {
            toy_write("cut.npz", file, cut);
            arg_str("name", "x");
            failed(LOAD("npz", "cut.npz", NN_U8, 3), "cut.npz", "not an .npz file, or it is truncated");
        }
        for (size_t at = 0; at < size; at++) { /* a byte spoilt anywhere: an error or other elements, never a crash */
            file[at] ^= 0x55;
            toy_write("bad.npz", file, size);
            arg_str("name", "x");
            LOAD("npz", "bad.npz", NN_U8, 3);
            file[at] ^= 0x55;
        }
    }
}
END_TEST

/* ---- safetensors, cifar ---- */

START_TEST(test_safetensors) {
    const char header[] = "{\"x\":{\"dtype\":\"I32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}";
    char file[200];
    int32_t x[] = {1, -2, 3, -4};
    uint64_t n = sizeof header - 1;
    memcpy(file, &n, 8);
    memcpy(file + 8, header, n);
    memcpy(file + 8 + n, x, 16);
    toy_write("a.st", file, 8 + n + 16);
    arg_str("name", "x");
    loaded(LOAD("safetensors", "a.st", NN_I32, 2), 2);
    ck_assert_mem_eq(column.at, x, 16);
    arg_str("name", "y");
    failed(LOAD("safetensors", "a.st", NN_I32, 2), "a.st", "no tensor `y`");
    arg_str("name", "x");
    failed(LOAD("safetensors", "a.st", NN_F32, 2), "a.st", "found i32[2, 2]");
}
END_TEST

START_TEST(test_cifar) {
    enum { RECORD = 3073 };
    unsigned char *file = calloc(2, RECORD);
    file[0] = 3;
    file[RECORD] = 9;
    file[RECORD + 1 + 0 * 1024 + 33] = 10; /* row 1, column 1 */
    file[RECORD + 1 + 1 * 1024 + 33] = 20;
    file[RECORD + 1 + 2 * 1024 + 33] = 30;
    toy_write("a.bin", file, 2 * RECORD);
    loaded(LOAD("cifar", "a.bin", NN_U8, 32, 32, 3), 2);
    unsigned char *pixel = (unsigned char *)column.at + 3072 + 3 * 33;
    ck_assert(pixel[0] == 10 && pixel[1] == 20 && pixel[2] == 30);
    arg_str("part", "label");
    loaded(LOAD_SCALAR("cifar", "a.bin", NN_U8), 2);
    ck_assert_mem_eq(column.at, "\3\11", 2);
    toy_write("cut.bin", file, 2 * RECORD - 1);
    failed(LOAD("cifar", "cut.bin", NN_U8, 32, 32, 3), "cut.bin", "truncated: record 1");
    failed(LOAD("cifar", "a.bin", NN_F32, 32, 32, 3), "a.bin", "expected samples of type f32[32, 32, 3]");
    file[0] = 10;
    toy_write("label.bin", file, 2 * RECORD);
    failed(LOAD("cifar", "label.bin", NN_U8, 32, 32, 3), "label.bin", "label 10");
    free(file);
}
END_TEST

/* ---- text ---- */

START_TEST(test_text) {
    toy_write("a.txt", "abcdefghij", 10);
    arg_int("length", 3);
    loaded(LOAD("text", "a.txt", NN_U8, 4), 3); /* abcd, defg, ghij */
    ck_assert_mem_eq(column.at + column.stride, "defg", 4);
    arg_int("length", 3);
    failed(LOAD("text", "a.txt", NN_U8, 11), "a.txt", "10 elements are in it, a sample has 11");
    arg_int("length", 3);
    failed(LOAD("text", "a.txt", NN_F32, 4), "a.txt", "text is u8, i32 or i64");
}
END_TEST

START_TEST(test_vocab) {
    static const char *const files[] = {"w.txt"}, *const list[] = {"zero", "one"};
    toy_write("w.txt", "b a c a b a d\nc a\n", 18); /* a 4, b 2, c 2, d 1 */
    vocabs[0] = (struct nn_vocab){.name = "v", .kind = "words", .files = files, .n_files = 1, .size = 5, .line = 3};
    vocabs[1] = (struct nn_vocab){.name = "l", .kind = "list", .files = list, .n_files = 2, .size = 4, .line = 4};
    open_reader(2);
    toy_write("b.txt", "a c  x\td\n\none zero b a\n", 23);
    args[n_args++] = (struct nn_arg){.name = "vocab", .kind = NN_ARG_VOCAB, .i = 0};
    arg_int("length", 3);
    loaded(LOAD("lines", "b.txt", NN_I32, 3), 2);
    static const int32_t want[] = {2, 4, 1, 1, 1, 3}; /* d has no number: size=5 leaves room for three words */
    ck_assert_mem_eq(column.at, want, sizeof want);
    args[n_args++] = (struct nn_arg){.name = "vocab", .kind = NN_ARG_VOCAB, .i = 1};
    loaded(LOAD("lines", "b.txt", NN_I32, 6), 2);
    static const int32_t listed[] = {1, 1, 1, 1, 0, 0, 3, 2, 1, 1, 0, 0};
    ck_assert_mem_eq(column.at, listed, sizeof listed);
    args[n_args++] = (struct nn_arg){.name = "vocab", .kind = NN_ARG_VOCAB, .i = 0};
    arg_int("length", 2);
    loaded(LOAD("words", "b.txt", NN_I32, 3), 3); /* a c x, x d one, one zero b: two apart */
    vocabs[0] = (struct nn_vocab){.name = "v", .kind = "characters", .files = files, .n_files = 1, .size = 20, .line = 3};
    toy_write("w.txt", "é\xc3\xa9z\n", 6);
    open_reader(2);
    toy_write("b.txt", "zé\n", 4);
    args[n_args++] = (struct nn_arg){.name = "vocab", .kind = NN_ARG_VOCAB, .i = 0};
    loaded(LOAD("lines", "b.txt", NN_I32, 3), 1);
    static const int32_t letters[] = {3, 2, 0};
    ck_assert_mem_eq(column.at, letters, sizeof letters);
}
END_TEST

START_TEST(test_lines) {
    mkdir(toy_path("folder"), 0777);
    toy_write("folder/b.txt", "three\n", 6);
    toy_write("folder/a.txt", "one\ntwo\r\n", 9);
    arg_int("length", 4);
    loaded(LOAD("lines", "folder", NN_U8, 4), 3);
    ck_assert_mem_eq(column.at, "one\0two\0thre", 12);
    arg_str("part", "file");
    loaded(LOAD_SCALAR("lines", "folder", NN_U8), 3);
    ck_assert_mem_eq(column.at, "\0\0\1", 3);
    toy_write("t.tsv", "ein Hund\ta dog\nzwei\ttwo\n", 24);
    arg_int("column", 1);
    loaded(LOAD("lines", "t.tsv", NN_U8, 5), 2);
    ck_assert_mem_eq(column.at, "a dogtwo\0\0", 10);
    arg_int("column", 2);
    failed(LOAD("lines", "t.tsv", NN_U8, 5), "t.tsv:1", "no column 2");
}
END_TEST

START_TEST(test_trees) {
    static const char *const files[] = {"t.txt"};
    const char text[] = "(3 (2 a) (4 (2 very) (3 good)))\n(1 a)\n";
    toy_write("t.txt", text, sizeof text - 1);
    vocabs[0] = (struct nn_vocab){.name = "v", .kind = "words", .files = files, .n_files = 1, .size = 10, .line = 3};
    open_reader(1);
    static const struct {
        const char *part;
        int32_t want[12];
    } parts[] = {{"word", {2, 3, 4, 0, 0, 0, 2, 0, 0, 0, 0, 0}},
                 {"left", {0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}},
                 {"right", {0, 0, 0, 2, 3, 0, 0, 0, 0, 0, 0, 0}},
                 {"label", {2, 2, 3, 4, 3, -1, 1, -1, -1, -1, -1, -1}}};
    for (int i = 0; i < 4; i++) {
        arg_str("part", parts[i].part);
        arg_int("nodes", 6);
        args[n_args++] = (struct nn_arg){.name = "vocab", .kind = NN_ARG_VOCAB, .i = 0};
        loaded(LOAD("trees", "t.txt", NN_I32, 6), 2);
        ck_assert_msg(memcmp(column.at, parts[i].want, sizeof parts[i].want) == 0, "%s", parts[i].part);
    }
    arg_str("part", "left");
    failed(LOAD("trees", "t.txt", NN_I32, 4), "t.txt:1", "the tree has 5 nodes, nodes=4");
    static const char *const bad[] = {"(3 (2 a) (4 b)", "(3 a) x", "(a b)", "3", "(3 (2 a))", "(3 )", "()"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        toy_write("bad.txt", bad[i], strlen(bad[i]));
        arg_str("part", "left");
        failed(LOAD("trees", "bad.txt", NN_I32, 4), "bad.txt:1", "this is not a tree");
    }
}
END_TEST

/* ---- pictures ---- */

static void write_picture(const char *name, int64_t height, int64_t width, int64_t channels, const unsigned char *at) {
    struct nn_picture p = {.at = (unsigned char *)(uintptr_t)at, .height = height, .width = width, .channels = channels};
    ck_assert(nn_png_write(&env, toy_path(name), &p));
}

START_TEST(test_pictures) {
    static const unsigned char grey[] = {0, 100, 200, 255, 50, 60}, colour[] = {255, 0, 0, 0, 255, 0};
    write_picture("a.png", 2, 3, 1, grey);
    loaded(LOAD("images", "a.png", NN_U8, 2, 3), 1);
    ck_assert_mem_eq(column.at, grey, 6);
    loaded(LOAD("images", "a.png", NN_U8, 2, 3, 3), 1);
    ck_assert_mem_eq(column.at + 3, "ddd", 3);
    loaded(LOAD("images", "a.png", NN_F32, 2, 3, 1), 1);
    ck_assert(((float *)column.at)[3] == 1);
    write_picture("c.png", 1, 2, 3, colour);
    loaded(LOAD("images", "c.png", NN_U8, 1, 2), 1);
    ck_assert_mem_eq(column.at, "\x4c\x96", 2); /* 0.299 * 255, 0.587 * 255 */
    failed(LOAD("images", "c.png", NN_U8, 2, 2), "c.png", "expected a picture of 2 x 2 (height x width), found 1 x 2");
    failed(LOAD("images", "c.png", NN_I32, 1, 2), "c.png", "a picture is u8 or f32");
    toy_write("no.png", "hello", 5);
    failed(LOAD("images", "no.png", NN_U8, 2, 2), "no.png", "neither a PNG nor a JPEG");
    size_t n;
    char *whole = toy_read("a.png", &n);
    toy_write("cut.png", whole, n - 20);
    ck_assert(!LOAD("images", "cut.png", NN_U8, 2, 3) && env.error.status == 2);
    free(whole);
}
END_TEST

START_TEST(test_picture_folders) {
    unsigned char one[4 * 8], two[16];
    for (int i = 0; i < 32; i++) one[i] = (unsigned char)(i % 8 < 2 || i % 8 > 5 ? 0 : 80);
    memset(two, 40, sizeof two);
    mkdir(toy_path("set"), 0777);
    mkdir(toy_path("set/cats"), 0777);
    mkdir(toy_path("set/ants"), 0777);
    write_picture("set/cats/1.png", 4, 8, 1, one);
    write_picture("set/ants/2.png", 4, 4, 1, two);
    arg_str("part", "label");
    loaded(LOAD_SCALAR("images", "set", NN_I32), 2);
    ck_assert(((int32_t *)column.at)[0] == 0 && ((int32_t *)column.at)[1] == 1);
    arg_str("fit", "crop");
    loaded(LOAD("images", "set", NN_U8, 2, 2), 2);
    ck_assert_mem_eq(column.at, "(((((((", 4); /* ants come first */
    for (int i = 4; i < 8; i++)
        ck_assert_int_ge((unsigned char)column.at[i], 60); /* the middle of the cat: 80, a little mixed at its edge */
    arg_str("fit", "scale");
    loaded(LOAD("images", "set", NN_U8, 4, 4), 2);
    failed(LOAD("images", "set", NN_U8, 4, 4), "1.png", "found 4 x 8");
}
END_TEST

/* ---- sets and batches ---- */

static struct nn_set make_set(int64_t n) {
    struct nn_set set = {.n_columns = 1, .count = n};
    set.columns = calloc(1, sizeof *set.columns);
    set.columns[0] = (struct nn_column){.at = calloc((size_t)n, 4), .count = n, .bytes = 4, .stride = 4};
    for (int64_t i = 0; i < n; i++) ((int32_t *)set.columns[0].at)[i] = (int32_t)i;
    return set;
}

static void free_set(struct nn_set *set) {
    free(set->columns[0].at);
    free(set->columns);
}

/* Asks for all turns; out[turn * batch + row]: the sample, -1 where there is none. */
static void take_turns(struct nn_batches *b, struct nn_part *parts, int64_t first, int64_t turns, int which, int32_t *out) {
    struct nn_slot slots[2] = {{.offset = 0}, {.offset = 1}};
    const void *fields[2];
    for (int64_t t = first; t < turns; t++) {
        int64_t batch, size = parts[which].use->batch;
        ck_assert(nn_batches_next(b, slots, fields, &batch));
        for (int64_t i = 0; i < size; i++) out[t * size + i] = which > 0 || i < batch ? ((const int32_t *)fields[which])[i] : -1;
    }
}

/* ... of batches that begin at turn `first`. */
static void walk(struct nn_part *parts, int64_t n_parts, int64_t first, int64_t turns, int which, int32_t *out) {
    struct nn_batches *b = nn_batches_begin(&env, parts, n_parts, first, turns);
    ck_assert_ptr_nonnull(b);
    take_turns(b, parts, first, turns, which, out);
    nn_batches_end(b);
}

/* What a turn got stays as it is until the next one is asked for, however far the reader is ahead. */
START_TEST(test_batches_stay) {
    enum { N = 200000, BATCH = 20000 };
    struct nn_set set = make_set(N);
    int64_t field = 0, batch;
    struct nn_use use = {.batch = BATCH, .fields = &field, .n_fields = 1};
    struct nn_part part = {.set = &set, .use = &use, .from = 0, .count = N, .shuffle = true, .shuffle_key = 5};
    struct nn_slot slot = {.offset = 0};
    const void *at;
    int32_t *copy = malloc(BATCH * 4);
    struct nn_batches *b = nn_batches_begin(&env, &part, 1, 0, N / BATCH);
    for (int t = 0; t < N / BATCH; t++) {
        ck_assert(nn_batches_next(b, &slot, &at, &batch));
        memcpy(copy, at, BATCH * 4);
        usleep(3000);
        ck_assert(memcmp(copy, at, BATCH * 4) == 0);
    }
    nn_batches_end(b);
    free(copy);
    free_set(&set);
}
END_TEST

/* The same samples, wherever the reading begins, and with chunks that are full many times over. */
START_TEST(test_batches_again) {
    enum { N = 100003, BATCH = 1000 };
    struct nn_set set = make_set(N);
    int64_t field = 0;
    struct nn_use use = {.batch = BATCH, .fields = &field, .n_fields = 1};
    struct nn_part part = {.set = &set, .use = &use, .from = 0, .count = N, .shuffle = true, .shuffle_key = 77};
    int64_t turns = nn_part_turns(&part);
    int32_t *whole = malloc((size_t)(turns * BATCH) * 4), *late = malloc((size_t)(turns * BATCH) * 4);
    char *seen = calloc(N, 1);
    ck_assert_int_eq(turns, 101);
    walk(&part, 1, 0, turns, 0, whole);
    for (int64_t i = 0; i < N; i++) seen[whole[i]]++;
    for (int64_t i = 0; i < N; i++) ck_assert_int_eq(seen[i], 1);
    ck_assert_int_eq(whole[N], -1); /* the last batch is short */
    static const int64_t starts[] = {1, 64, 65, 66, 99, 100};
    for (size_t i = 0; i < 6; i++) {
        walk(&part, 1, starts[i], turns, 0, late);
        ck_assert(memcmp(whole + starts[i] * BATCH, late + starts[i] * BATCH, (size_t)((turns - starts[i]) * BATCH) * 4) == 0);
    }
    struct nn_batches *b = nn_batches_begin(&env, &part, 1, 0, turns); /* left in the middle */
    nn_batches_end(b);
    free(whole);
    free(late);
    free(seen);
    free_set(&set);
}
END_TEST

/* A loop that begins again with the ring and the reader of the last time reads what it would have read without: other orders, other parts, from any turn, two sets. */
START_TEST(test_batches_once_more) {
    enum { N = 600007, BATCH = 1000, TURNS = 600, BYTES = TURNS * BATCH * 4 };
    struct nn_set set = make_set(N), other = make_set(2503);
    int64_t field[2] = {0, 1};
    struct nn_use use = {.batch = BATCH, .fields = field, .n_fields = 1},
                  beside = {.batch = BATCH, .fields = field + 1, .n_fields = 1};
    struct nn_part parts[2] = {{.set = &set, .use = &use, .count = TURNS * BATCH - 7, .shuffle = true},
                               {.set = &other, .use = &beside, .count = 2500, .shuffle = true, .repeats = true}};
    int32_t *again = malloc(BYTES), *fresh = malloc(BYTES);
    struct nn_batches *b = nn_batches_begin(&env, parts, 2, 0, TURNS);
    ck_assert(nn_batches_stay(b));                    /* else the rest would test nothing */
    ck_assert(!nn_batches_again(b, parts, 0, TURNS)); /* it is in use */
    take_turns(b, parts, 0, TURNS, 0, again);
    parts[0].count++; /* another order would have to be made */
    ck_assert(!nn_batches_again(b, parts, 0, TURNS));
    parts[0].count--;
    parts[1].shuffle = false;
    ck_assert(!nn_batches_again(b, parts, 0, TURNS));
    parts[1].shuffle = true;
    static const struct {
        int64_t first, turns, from;
    } times[] = {{0, TURNS, 0}, {0, TURNS, 7}, {300, TURNS, 14}, {2, 595, 14}, {0, TURNS, 14}};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        parts[0].shuffle_key = 10 + i;
        parts[0].from = times[i].from;
        parts[1].shuffle_key = 20 + i;
        parts[1].from = (int64_t)i % 4;
        int64_t first = times[i].first, turns = times[i].turns;
        for (int which = 0; which < 2; which++) {
            ck_assert(nn_batches_again(b, parts, first, turns));
            take_turns(b, parts, first, turns, which, again);
            walk(parts, 2, first, turns, which, fresh);
            ck_assert(memcmp(again + first * BATCH, fresh + first * BATCH, (size_t)((turns - first) * BATCH) * 4) == 0);
        }
    }
    ck_assert(!nn_batches_again(b, parts, TURNS - 1, TURNS)); /* so few need no reader */
    nn_batches_end(b);
    free(again);
    free(fresh);
    free_set(&set);
    free_set(&other);
}
END_TEST

START_TEST(test_batches_kinds) {
    struct nn_set set = make_set(20), other = make_set(7);
    int64_t field[2] = {0, 1};
    int32_t out[64];
    struct nn_use plain = {.batch = 4, .fields = field, .n_fields = 1},
                  lanes = {.batch = 3, .lanes = 1, .fields = field, .n_fields = 1};
    struct nn_use drop = {.batch = 6, .drop_last = 1, .fields = field, .n_fields = 1},
                  beside = {.batch = 5, .fields = field + 1, .n_fields = 1};
    struct nn_part part = {.set = &set, .use = &plain, .from = 3, .count = 10};
    ck_assert_int_eq(nn_part_turns(&part), 3);
    walk(&part, 1, 0, 3, 0, out);
    for (int i = 0; i < 12; i++) ck_assert_int_eq(out[i], i < 10 ? 3 + i : -1);
    part = (struct nn_part){.set = &set, .use = &lanes, .from = 0, .count = 20};
    ck_assert_int_eq(nn_part_turns(&part), 6); /* 20 / 3 for each of the three rows; two samples are left over */
    walk(&part, 1, 0, 6, 0, out);
    for (int t = 0; t < 6; t++) {
        for (int row = 0; row < 3; row++) ck_assert_int_eq(out[3 * t + row], 6 * row + t);
    }
    part = (struct nn_part){.set = &set, .use = &drop, .from = 0, .count = 20};
    ck_assert_int_eq(nn_part_turns(&part), 3);
    struct nn_part two[] = {{.set = &set, .use = &plain, .from = 0, .count = 18},
                            {.set = &other, .use = &beside, .from = 0, .count = 7, .repeats = true}};
    walk(two, 2, 0, 5, 1, out); /* the second wraps inside its batches */
    for (int i = 0; i < 25; i++) ck_assert_int_eq(out[i], i % 7);
    two[1].shuffle = true;
    walk(two, 2, 0, 5, 1, out);
    int passes[7] = {0};
    for (int i = 0; i < 21; i++) passes[out[i]]++; /* three passes: each sample once a pass */
    for (int i = 0; i < 7; i++) ck_assert_int_eq(passes[i], 3);
    ck_assert(memcmp(out, out + 7, 28) != 0 || memcmp(out, out + 14, 28) != 0); /* in another order each time */
    free_set(&set);
    free_set(&other);
}
END_TEST

/* resample: the same draws in every epoch, in another order. */
static int by_value(const void *a, const void *b) { return *(const int32_t *)a - *(const int32_t *)b; }

START_TEST(test_resample) {
    struct nn_set set = make_set(50);
    int64_t field = 0;
    int32_t one[50], two[50];
    struct nn_use use = {.batch = 10, .fields = &field, .n_fields = 1};
    struct nn_part part = {
        .set = &set, .use = &use, .from = 0, .count = 50, .resample = true, .resample_key = 3, .shuffle_key = 1};
    walk(&part, 1, 0, 5, 0, one);
    part.shuffle_key = 2;
    walk(&part, 1, 0, 5, 0, two);
    ck_assert_mem_ne(one, two, sizeof one);
    qsort(one, 50, 4, by_value);
    qsort(two, 50, 4, by_value);
    ck_assert_mem_eq(one, two, sizeof one);
    int repeated = 0;
    for (int i = 1; i < 50; i++) repeated += one[i] == one[i - 1];
    ck_assert_int_gt(repeated, 5);
    free_set(&set);
}
END_TEST

START_TEST(test_sets) {
    static const char *const files[] = {"a.csv"}, *const shorter[] = {"b.csv"}, *const empty[] = {"empty.csv"};
    static const struct nn_loader a = {.kind = "csv", .files = files, .n_files = 1},
                                  b = {.kind = "csv", .files = shorter, .n_files = 1},
                                  none = {.kind = "csv", .files = empty, .n_files = 1};
    struct nn_field fields[] = {{.name = "x", .elem = NN_F32, .loader_line = 2, .loader = &a, .n_loader = 1},
                                {.name = "y", .elem = NN_U8, .loader_line = 3, .loader = &b, .n_loader = 1}};
    struct nn_data data = {.name = "set", .line = 1, .fields = fields, .n_fields = 2};
    struct nn_set set = {0};
    csv("1\n2\n3\n");
    toy_write("b.csv", "1\n2\n", 4);
    toy_write("empty.csv", "", 0);
    open_reader(0);
    ck_assert(!nn_set_read(&reader, &set, &data, 2, false));
    ck_assert_msg(strstr(env.error.text, "the field x has 3 samples (a.csv), the field y has 2 (b.csv)"), "%s", env.error.text);
    nn_set_free(&env, &set);
    env.error.status = 0;
    ck_assert(nn_set_read(&reader, &set, &data, 1, true)); /* only what is used is read */
    ck_assert_ptr_nonnull(set.order);
    nn_set_free(&env, &set);
    fields[0].loader = &none;
    ck_assert(!nn_set_read(&reader, &set, &data, 1, false));
    ck_assert_msg(strstr(env.error.text, "empty.csv") && strstr(env.error.text, "there are no samples in it"), "%s",
                  env.error.text);
    nn_set_free(&env, &set);
}
END_TEST

static void write_jpeg(const char *name, int height, int width, const unsigned char *grey, bool progressive) {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    FILE *file = fopen(toy_path(name), "wb");
    jpeg_stdio_dest(&jpeg, file);
    jpeg.image_height = (JDIMENSION)height;
    jpeg.image_width = (JDIMENSION)width;
    jpeg.input_components = 1;
    jpeg.in_color_space = JCS_GRAYSCALE;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 100, TRUE);
    if (progressive) jpeg_simple_progression(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    for (int y = 0; y < height; y++) {
        JSAMPROW row = (JSAMPROW)(uintptr_t)(grey + y * width);
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    fclose(file);
}

START_TEST(test_jpeg) {
    unsigned char grey[16 * 24];
    for (int i = 0; i < 16 * 24; i++) grey[i] = (unsigned char)(8 * (i % 24) + 2 * (i / 24));
    write_jpeg("a.jpg", 16, 24, grey, false);
    loaded(LOAD("images", "a.jpg", NN_U8, 16, 24), 1);
    for (int i = 0; i < 16 * 24; i++) ck_assert_int_le(abs((unsigned char)column.at[i] - grey[i]), 2);
    loaded(LOAD("images", "a.jpg", NN_F32, 16, 24, 3), 1);
    size_t n;
    char *whole = toy_read("a.jpg", &n);
    for (size_t cut = 0; cut < n - 2; cut += 17) {
        toy_write("cut.jpg", whole, cut);
        ck_assert_msg(!LOAD("images", "cut.jpg", NN_U8, 16, 24) && env.error.status == 2, "cut to %zu of %zu bytes", cut, n);
        ck_assert_ptr_nonnull(strstr(env.error.text, "cut.jpg"));
    }
    free(whole);
}
END_TEST

/* A header that tells of gigabytes, in a file of some hundred bytes: nothing is made ready for them. */
START_TEST(test_jpeg_that_claims_too_much) {
    unsigned char grey[16 * 24] = {0};
    for (int progressive = 0; progressive < 2; progressive++) {
        write_jpeg("a.jpg", 16, 24, grey, progressive);
        size_t n;
        char *whole = toy_read("a.jpg", &n), *frame = memmem(whole, n, progressive ? "\xff\xc2" : "\xff\xc0", 2);
        ck_assert_ptr_nonnull(frame);
        memcpy(frame + 5, "\xff\xdc\xff\xdc", 4);
        toy_write("large.jpg", whole, n);
        free(whole);
        failed(LOAD("images", "large.jpg", NN_U8, 16, 24), "large.jpg", "found 65500 x 65500");
        arg_str("fit", "crop");
        failed(LOAD("images", "large.jpg", NN_U8, 16, 24), "large.jpg",
               "a picture of 65500 x 65500 (height x width) takes 8379394 at least");
    }
}
END_TEST

/* ---- spoilt anywhere ---- */

/* A byte changed, or the end cut off: other elements, or one error with status 2 that names the file; never more. Returns how
 * often it was seen. */
static int spoil(const char *kind, const char *file, int64_t elem, int n_dims, const int64_t *dims) {
    size_t n;
    char *whole = toy_read(file, &n), name[40];
    struct nn_arg given[MOST_ARGS];
    int n_given = n_args, seen = 0;
    memcpy(given, args, sizeof args);
    snprintf(name, sizeof name, "spoilt-%s", file);
    for (size_t i = 0; i < 2 * n; i++) {
        size_t at = i % n;
        char before = whole[at];
        if (i < n) whole[at] = (char)(before ^ (i % 3 == 0 ? 1 : i % 3 == 1 ? 0x80 : 0xff));
        toy_write(name, whole, i < n ? n : at);
        whole[at] = before;
        memcpy(args, given, sizeof args);
        n_args = n_given;
        bool good = load_type(kind, name, elem, n_dims, dims);
        ck_assert_msg(good || (env.error.status == 2 && strstr(env.error.text, name)), "%s, byte %zu: %s", kind, at,
                      env.error.text);
        seen += !good;
    }
    free(whole);
    return seen;
}

START_TEST(test_spoilt) {
    static const float x[] = {1, 2, 3, 4, 5, 6};
    static const char header[] = "{\"x\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}",
                      trees[] = "(3 (2 a) (4 (2 very) (3 good)))\n(1 a)\n";
    unsigned char picture[12 * 8], pack[2000];
    char file[400];
    const int64_t two_three[] = {2, 3}, three[] = {3}, six[] = {6}, eight_twelve[] = {8, 12};
    toy_write("a.idx", idx_file, sizeof idx_file);
    ck_assert_int_gt(spoil("idx", "a.idx", NN_U8, 2, two_three), 28);
    write_gz("a.idx.gz", idx_file, sizeof idx_file);
    ck_assert_int_gt(spoil("idx", "a.idx.gz", NN_U8, 2, two_three), 28);
    csv("1,2,3\n4,-5e2,6.25\n");
    ck_assert_int_gt(spoil("csv", "a.csv", NN_F32, 1, three), 10);
    size_t n = make_npy(file, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", x, sizeof x);
    toy_write("a.npy", file, n);
    ck_assert_int_gt(spoil("npy", "a.npy", NN_F32, 1, three), 90);
    n = make_npz(pack, "x.npy", file, n, true);
    toy_write("a.npz", pack, n);
    arg_str("name", "x");
    ck_assert_int_gt(spoil("npz", "a.npz", NN_F32, 1, three), 200);
    uint64_t length = sizeof header - 1;
    memcpy(file, &length, 8);
    memcpy(file + 8, header, length);
    memcpy(file + 8 + length, x, sizeof x);
    toy_write("a.st", file, 8 + length + sizeof x);
    arg_str("name", "x");
    ck_assert_int_gt(spoil("safetensors", "a.st", NN_F32, 1, three), 100);
    for (size_t i = 0; i < sizeof picture; i++) picture[i] = (unsigned char)(7 * i);
    write_picture("a.png", 8, 12, 1, picture);
    ck_assert_int_gt(spoil("images", "a.png", NN_U8, 2, eight_twelve), 100);
    write_jpeg("a.jpg", 8, 12, picture, false);
    ck_assert_int_gt(spoil("images", "a.jpg", NN_U8, 2, eight_twelve), 100);
    toy_write("t.txt", trees, sizeof trees - 1);
    arg_str("part", "label");
    ck_assert_int_gt(spoil("trees", "t.txt", NN_I32, 1, six), 30);
}
END_TEST

/* ---- without memory ---- */

static long allocations, fail_at;

static void *scarce(void *context, void *old, size_t size) {
    (void)context;
    if (size == 0) {
        free(old);
        return NULL;
    }
    return ++allocations == fail_at ? NULL : realloc(old, size);
}

/* Every allocation of a loader fails once: the error says so, and nothing is left over. */
static void without_memory(const char *kind, const char *file, int64_t elem, int n_dims, const int64_t *dims) {
    struct nn_arg given[MOST_ARGS];
    int n_given = n_args;
    memcpy(given, args, sizeof args);
    sys.allocate = scarce;
    for (fail_at = 1;; fail_at++) {
        ck_assert_int_lt(fail_at, 10000);
        memcpy(args, given, sizeof args);
        n_args = n_given;
        fail_at = -fail_at; /* none fails while the vocabularies are made new */
        open_reader((int)program.n_vocabs);
        fail_at = -fail_at;
        allocations = 0;
        bool good = load_type(kind, file, elem, n_dims, dims);
        if (good && allocations < fail_at) break;
        ck_assert_msg(good || (env.error.status == 3 && strstr(env.error.text, "out of memory")), "%s: allocation %ld: %s", kind,
                      fail_at, env.error.text);
    }
    fail_at = 0;
}

START_TEST(test_no_memory) {
    static const char *const files[] = {"t.txt"};
    static const unsigned char grey[] = {0, 100, 200, 255, 50, 60};
    vocabs[0] = (struct nn_vocab){.name = "v", .kind = "words", .files = files, .n_files = 1, .size = 10, .line = 3};
    program.n_vocabs = 1;
    toy_write("t.txt", "(3 (2 a) (4 (2 very) (3 good)))\n(1 a)\n", 38);
    toy_write("a.idx", idx_file, sizeof idx_file);
    csv("1,2\n3,4\n5,6\n");
    write_picture("a.png", 2, 3, 1, grey);
    mkdir(toy_path("few"), 0777);
    toy_write("few/a.txt", "a very good a\n", 14);
    without_memory("idx", "a.idx", NN_U8, 2, (const int64_t[]){2, 3});
    without_memory("csv", "a.csv", NN_F32, 1, (const int64_t[]){2});
    without_memory("images", "a.png", NN_U8, 2, (const int64_t[]){2, 3});
    arg_int("length", 3);
    without_memory("text", "few/a.txt", NN_U8, 1, (const int64_t[]){4});
    args[n_args++] = (struct nn_arg){.name = "vocab", .kind = NN_ARG_VOCAB, .i = 0};
    without_memory("lines", "few", NN_I32, 1, (const int64_t[]){4});
    arg_str("part", "word");
    args[n_args++] = (struct nn_arg){.name = "vocab", .kind = NN_ARG_VOCAB, .i = 0};
    without_memory("trees", "t.txt", NN_I32, 1, (const int64_t[]){6});
}
END_TEST

/* ---- the real files ---- */

#define SHARED NNC_SOURCE_ROOT "/../shared/data/"

START_TEST(test_real) {
    if (access(SHARED "mnist/t10k-labels-idx1-ubyte.gz", R_OK) != 0) {
        printf("skipped: the real data sets are not there\n");
        return;
    }
    static const int mnist[] = {980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009};
    int counts[256] = {0};
    loaded(LOAD_SCALAR("idx", SHARED "mnist/t10k-labels-idx1-ubyte.gz", NN_U8), 10000);
    for (int i = 0; i < 10000; i++) counts[(unsigned char)column.at[i]]++;
    for (int i = 0; i < 10; i++) ck_assert_int_eq(counts[i], mnist[i]);
    loaded(LOAD("idx", SHARED "mnist/t10k-images-idx3-ubyte.gz", NN_U8, 28, 28), 10000);
    arg_str("part", "label");
    loaded(LOAD_SCALAR("cifar", SHARED "cifar-10/test_batch_1000.bin", NN_U8), 1000);
    arg_int("window", 144);
    arg_int("columns", 1);
    args[n_args++] = (struct nn_arg){.name = "header", .kind = NN_ARG_BOOL, .i = 1};
    ck_assert_msg(LOAD("csv", SHARED "timeseries/monthly-sunspots.csv", NN_F32, 144), "%s", env.error.text);
    arg_str("part", "file");
    loaded(LOAD_SCALAR("lines", SHARED "names", NN_U8), 20050);
    ck_assert_int_eq(column.at[20049], 17);
    static const char *const sst[] = {SHARED "sst/train.txt"};
    vocabs[0] = (struct nn_vocab){.name = "v", .kind = "words", .files = sst, .n_files = 1, .size = 12000, .line = 3};
    open_reader(1);
    arg_str("part", "word");
    args[n_args++] = (struct nn_arg){.name = "vocab", .kind = NN_ARG_VOCAB, .i = 0};
    loaded(LOAD("trees", sst[0], NN_I32, 103), 8544);
    ck_assert_int_eq(reader.words[0].n, 11998);
    arg_str("part", "label");
    loaded(LOAD("trees", sst[0], NN_I32, 103), 8544);
}
END_TEST

Suite *runtime_data_suite(void);

Suite *runtime_data_suite(void) {
    Suite *s = suite_create("runtime: data");
    TCase *t = tcase_create("loaders");
    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, begin, end);
    tcase_add_test(t, test_idx);
    tcase_add_test(t, test_bad_idx);
    tcase_add_test(t, test_csv);
    tcase_add_test(t, test_bad_csv);
    tcase_add_test(t, test_npy);
    tcase_add_test(t, test_npz);
    tcase_add_test(t, test_safetensors);
    tcase_add_test(t, test_cifar);
    tcase_add_test(t, test_text);
    tcase_add_test(t, test_vocab);
    tcase_add_test(t, test_lines);
    tcase_add_test(t, test_trees);
    tcase_add_test(t, test_pictures);
    tcase_add_test(t, test_picture_folders);
    tcase_add_test(t, test_batches_again);
    tcase_add_test(t, test_batches_stay);
    tcase_add_test(t, test_batches_once_more);
    tcase_add_test(t, test_batches_kinds);
    tcase_add_test(t, test_resample);
    tcase_add_test(t, test_sets);
    tcase_add_test(t, test_jpeg);
    tcase_add_test(t, test_jpeg_that_claims_too_much);
    tcase_add_test(t, test_spoilt);
    tcase_add_test(t, test_no_memory);
    tcase_add_test(t, test_real);
    suite_add_tcase(s, t);
    return s;
}
