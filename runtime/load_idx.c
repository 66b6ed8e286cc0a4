/*
 * load_idx.c - IDX, the format of MNIST: two zero bytes, a type, the number of dimensions, each dimension as a big-endian 32-bit
 * number, then the elements in row-major order, big endian. (Y. LeCun, "The MNIST database": FILE FORMATS.)
 */
#include "data.h"
#include "file.h"
#include <inttypes.h>
#include <string.h>

static int64_t elem_of_code(unsigned code) {
    switch (code) {
    case 0x08: return NN_U8;
    case 0x0C: return NN_I32;
    case 0x0D: return NN_F32;
    case 0x0E: return NN_F64;
    default: return -1;
    }
}

static uint32_t big_endian(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void swap_bytes(char *at, int64_t n, int64_t size) {
    if (size == 1) return; /* the usual case, of some ten million bytes */
    for (int64_t i = 0; i < n; i++, at += size) {
        for (int64_t a = 0, b = size - 1; a < b; a++, b--) {
            char t = at[a];
            at[a] = at[b];
            at[b] = t;
        }
    }
}

static bool read_header(struct nn_load *l, struct nn_reader *r, int64_t *samples) {
    unsigned char head[4 + 4 * 255];
    int64_t got = nn_read(l->env, r, head, 4);
    if (got < 0) return false;
    if (got < 4 || head[0] != 0 || head[1] != 0 || head[3] == 0) return nn_load_fail(l, 0, "this is not an IDX file");
    int64_t elem = elem_of_code(head[2]), n_dims = head[3], dims[255];
    if (elem < 0) return nn_load_fail(l, 0, "IDX type 0x%02x is none of u8, i32, f32, f64", head[2]);
    got = nn_read(l->env, r, head + 4, 4 * n_dims);
    if (got < 0) return false;
    if (got < 4 * n_dims) return nn_load_fail(l, 0, "truncated: the header ends after %" PRId64 " bytes", 4 + got);
    for (int64_t i = 0; i < n_dims; i++) dims[i] = big_endian(head + 4 + 4 * i);
    return nn_load_check_type(l, elem, dims, n_dims, samples);
}

bool nn_load_idx(struct nn_load *l) {
    struct nn_reader r;
    int64_t samples, got = 0, size = l->column->bytes;
    if (!nn_read_open(l->env, &r, l->path)) return false;
    bool good = read_header(l, &r, &samples), fits = good && (size == 0 || samples <= nn_read_bound(&r) / size);
    char *at = fits ? nn_load_room(l, samples) : NULL, extra;
    if (at)
        got = nn_read(l->env, &r, at, samples * size);
    else if (good && !fits)
        got = nn_read_rest(l->env, &r);
    good = good && got >= 0 && (at || !fits);
    if (good && (!fits || got < samples * size)) good = nn_load_truncated(l, samples, got);
    if (good && nn_read(l->env, &r, &extra, 1) != 0)
        good = nn_load_fail(l, 0, "more bytes follow the last of %" PRId64 " samples", samples);
    if (good) {
        swap_bytes(at, samples * nn_load_sample(l), nn_elem_size(l->elem));
        l->column->count += samples;
    }
    nn_read_close(l->env, &r);
    return good;
}
