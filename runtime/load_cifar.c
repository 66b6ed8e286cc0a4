/*
 * load_cifar.c - the binary format of CIFAR-10: records of a label, then 32 x 32 bytes of red, of green, of blue. Pictures come
 * out as [32, 32, 3]: channels last. (A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and the data
 * set's page.)   cifar(files..., part="image"|"label")
 */
#include "data.h"
#include "file.h"
#include <inttypes.h>
#include <string.h>

enum { SIDE = 32, PLANE = SIDE * SIDE, RECORD = 1 + 3 * PLANE };

static bool check_field(struct nn_load *l, bool label) {
    bool right = label ? l->n_dims == 0 : l->n_dims == 3 && l->dims[0] == SIDE && l->dims[1] == SIDE && l->dims[2] == 3;
    if (right && l->elem == NN_U8) return true;
    struct nn_text want = {0};
    nn_text_type(l->env, &want, l->elem, l->dims, l->n_dims);
    nn_load_fail(l, 0, "expected samples of type %s, found %s", nn_text_str(&want),
                 label ? "u8 (labels)" : "u8[32, 32, 3] (pictures)");
    nn_text_free(l->env, &want);
    return false;
}

static bool read_record(struct nn_load *l, const unsigned char *record, bool label) {
    char *at = nn_load_room(l, 1);
    if (!at) return false;
    if (label) {
        *at = (char)record[0];
    } else {
        for (int p = 0; p < PLANE; p++) {
            for (int c = 0; c < 3; c++) at[3 * p + c] = (char)record[1 + c * PLANE + p];
        }
    }
    l->column->count++;
    return true;
}

bool nn_load_cifar(struct nn_load *l) {
    const struct nn_arg *part = nn_load_arg(l, "part");
    bool label = part && part->s && strcmp(part->s, "label") == 0;
    struct nn_reader r;
    if (!check_field(l, label) || !nn_read_open(l->env, &r, l->path)) return false;
    unsigned char record[RECORD];
    bool good = true;
    int64_t got = 0, n = 0;
    while (good && (got = nn_read(l->env, &r, record, RECORD)) == RECORD) {
        if (record[0] > 9)
            good = nn_load_fail(l, 0, "record %" PRId64 " has the label %d: this is not a CIFAR-10 file", n, record[0]);
        else
            good = read_record(l, record, label);
        n++;
    }
    if (good && got < 0) good = false;
    if (good && got > 0) good = nn_load_fail(l, 0, "truncated: record %" PRId64 " has %" PRId64 " of %d bytes", n, got, RECORD);
    nn_read_close(l->env, &r);
    return good;
}
