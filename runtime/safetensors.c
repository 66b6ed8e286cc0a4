/*
 * safetensors.c - writing and reading of named tensors: see safetensors.h. Nothing of a file is believed: lengths, types and
 * places are checked before a byte of a tensor is read.
 */
#define _GNU_SOURCE /* memmem */
#include "safetensors.h"
#include "file.h"
#include "value.h"
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static const char METADATA[] = "__metadata__";
static const char NO_CHECKSUM[] = "00000000";
enum { MOST_DIMS = 32, MOST_HEADER = 100 << 20, CHECKSUM_DIGITS = 8 };

/* ---- writing ---- */

static void put_little(unsigned char out[8], uint64_t v) {
    for (int i = 0; i < 8; i++) out[i] = (unsigned char)(v >> (8 * i));
}

static void add_notes(struct nn_env *env, struct nn_text *t, const struct nn_note *notes, int64_t n, bool checksum) {
    nn_text_printf(env, t, "\"%s\":{", METADATA);
    if (checksum) nn_text_printf(env, t, "\"checksum\":\"%s\"", NO_CHECKSUM);
    for (int64_t i = 0; i < n; i++) {
        if (i > 0 || checksum) nn_text_add(env, t, ",");
        nn_text_json(env, t, notes[i].key, strlen(notes[i].key));
        nn_text_add(env, t, ":");
        nn_text_json(env, t, notes[i].text, strlen(notes[i].text));
    }
    nn_text_add(env, t, "}");
}

static void add_tensor(struct nn_env *env, struct nn_text *t, const struct nn_tensor *x, int64_t begin) {
    nn_text_json(env, t, x->name, strlen(x->name));
    nn_text_printf(env, t, ":{\"dtype\":\"%s\",\"shape\":[", nn_elem_dtype(x->elem));
    for (int64_t d = 0; d < x->n_dims; d++) nn_text_printf(env, t, "%s%" PRId64, d ? "," : "", x->dims[d]);
    nn_text_printf(env, t, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}", begin, begin + x->bytes);
}

/* Wide elements first, so that every tensor is aligned in the file; size 8, 4, 1. */
static const int64_t widths[] = {8, 4, 1};

static void make_header(struct nn_env *env, struct nn_text *t, const struct nn_tensor *tensors, int64_t n,
                        const struct nn_note *notes, int64_t n_notes, bool checksum) {
    int64_t at = 0;
    nn_text_add(env, t, "{");
    if (n_notes > 0 || checksum) add_notes(env, t, notes, n_notes, checksum);
    for (int w = 0; w < 3; w++) {
        for (int64_t i = 0; i < n; i++) {
            if (nn_elem_size(tensors[i].elem) != widths[w]) continue;
            if (t->n > 1) nn_text_add(env, t, ",");
            add_tensor(env, t, &tensors[i], at);
            at += tensors[i].bytes;
        }
    }
    nn_text_add(env, t, "}");
    while (t->n % 8 != 0 && !t->bad) nn_text_add(env, t, " ");
}

/* Calls visit for every tensor in the order of the file. */
static bool put_tensors(struct nn_env *env, struct nn_writer *w, const struct nn_tensor *tensors, int64_t n, uLong *crc) {
    for (int k = 0; k < 3; k++) {
        for (int64_t i = 0; i < n; i++) {
            if (nn_elem_size(tensors[i].elem) != widths[k]) continue;
            if (crc)
                *crc = crc32_z(*crc, tensors[i].at, (z_size_t)tensors[i].bytes);
            else if (!nn_write(env, w, tensors[i].at, (size_t)tensors[i].bytes))
                return false;
        }
    }
    return true;
}

bool nn_tensors_write(struct nn_env *env, const char *path, const struct nn_tensor *tensors, int64_t n,
                      const struct nn_note *notes, int64_t n_notes, bool checksum) {
    struct nn_text header = {0};
    struct nn_writer w;
    make_header(env, &header, tensors, n, notes, n_notes, checksum);
    bool good = nn_text_ok(env, &header);
    unsigned char length[8];
    put_little(length, header.n);
    if (good && checksum) {
        uLong crc = crc32_z(crc32_z(crc32_z(0, NULL, 0), length, 8), (const Bytef *)header.at, header.n);
        put_tensors(env, NULL, tensors, n, &crc);
        char digits[CHECKSUM_DIGITS + 1];
        snprintf(digits, sizeof digits, "%08lx", crc & 0xFFFFFFFFul);
        memcpy(strstr(header.at, NO_CHECKSUM), digits,
               CHECKSUM_DIGITS); /* it is the first of the metadata, these the first of the header */
    }
    if (good && nn_write_begin(env, &w, path)) {
        good = nn_write(env, &w, length, 8) && nn_write(env, &w, header.at, header.n) && put_tensors(env, &w, tensors, n, NULL);
        good = nn_write_end(env, &w, good);
    } else {
        good = false;
    }
    nn_text_free(env, &header);
    return good;
}

/* ---- reading ---- */

struct nn_tensors {
    char *name; /* in messages; the path is its end */
    struct nn_seek file;
    json_t *header;
    int64_t data; /* where the tensors begin */
    int64_t size; /* of all tensors */
};

/* Where a tensor lies behind the header. */
struct span {
    int64_t begin, end;
};

/* dtype, shape and place of one tensor; false: not as the format says. */
static bool parse_entry(const struct nn_tensors *f, const json_t *e, int64_t *elem, int64_t *dims, int64_t *n_dims,
                        struct span *at) {
    const char *dtype = json_string_value(json_object_get(e, "dtype"));
    const json_t *shape = json_object_get(e, "shape"), *place = json_object_get(e, "data_offsets");
    if (!dtype || !json_is_array(shape) || json_array_size(shape) > MOST_DIMS || json_array_size(place) != 2) return false;
    int64_t count = 1, bytes;
    *elem = nn_elem_of_dtype(dtype);
    *n_dims = (int64_t)json_array_size(shape);
    for (int64_t i = 0; i < *n_dims; i++) {
        const json_t *d = json_array_get(shape, (size_t)i);
        dims[i] = json_integer_value(d);
        if (!json_is_integer(d) || !nn_product(count, dims[i], &count)) return false;
    }
    const json_t *begin = json_array_get(place, 0), *end = json_array_get(place, 1);
    *at = (struct span){json_integer_value(begin), json_integer_value(end)};
    if (!json_is_integer(begin) || !json_is_integer(end) || at->begin < 0 || at->end < at->begin || at->end > f->size)
        return false;
    if (*elem < 0) return true;
    return nn_product(count, nn_elem_size(*elem), &bytes) && bytes == at->end - at->begin;
}

/* Spans, and what begins with one. */
static int by_place(const void *a, const void *b) {
    const struct span *x = a, *y = b;
    return x->begin != y->begin ? (x->begin > y->begin) - (x->begin < y->begin) : (x->end > y->end) - (x->end < y->end);
}

/* Every byte behind the header is of one tensor (the format allows no holes): each begins where the one before it ends, and the last ends the file. */
static bool check_spans(struct nn_env *env, const struct nn_tensors *f, struct span *spans, size_t n) {
    int64_t end = 0;
    qsort(spans, n, sizeof *spans, by_place);
    for (size_t i = 0; i < n; i++) {
        if (spans[i].begin != end)
            return nn_fail(env, NN_BAD_INPUT, "%s: damaged: its tensors %s", f->name,
                           spans[i].begin < end ? "lie one over the other" : "leave bytes between them");
        end = spans[i].end;
    }
    return end == f->size ||
           nn_fail(env, NN_BAD_INPUT, "%s: damaged: %" PRId64 " bytes follow the last tensor", f->name, f->size - end);
}

static bool check_entries(struct nn_env *env, struct nn_tensors *f) {
    const char *key;
    json_t *e;
    size_t n = 0;
    int64_t elem, dims[MOST_DIMS], n_dims;
    struct span *spans = nn_alloc_n(env, (int64_t)json_object_size(f->header), sizeof *spans);
    bool good = spans != NULL;
    json_object_foreach(f->header, key, e) {
        if (!good || strcmp(key, METADATA) == 0) continue;
        good = parse_entry(f, e, &elem, dims, &n_dims, &spans[n++]) ||
               nn_fail(env, NN_BAD_INPUT, "%s: damaged or truncated: the header's entry of `%s` does not fit the file", f->name,
                       key);
    }
    good = good && check_spans(env, f, spans, n);
    nn_free(env, spans);
    return good;
}

static bool read_header(struct nn_env *env, struct nn_tensors *f) {
    unsigned char raw[8];
    int64_t bytes = f->file.bytes;
    if (bytes < 8)
        return nn_fail(env, NN_BAD_INPUT, "%s: this is not a safetensors file: it has %" PRId64 " bytes", f->name, bytes);
    if (!nn_seek_read(env, &f->file, raw, 8, 0)) return false;
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--) length = length << 8 | raw[i];
    if (length > MOST_HEADER || length > (uint64_t)bytes - 8) {
        return nn_fail(env, NN_BAD_INPUT, "%s: this is not a safetensors file, or it is truncated", f->name);
    }
    f->data = 8 + (int64_t)length;
    f->size = bytes - f->data;
    char *text = nn_alloc(env, length + 1);
    bool good = text && nn_seek_read(env, &f->file, text, (int64_t)length, 8);
    if (good) {
        json_error_t why;
        errno = 0;
        f->header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
        good = json_is_object(f->header);
        if (!good && !f->header && errno == ENOMEM) /* jansson then blames the text */
            nn_no_memory(env, length);
        else if (!good)
            nn_fail(env, NN_BAD_INPUT, "%s: this is not a safetensors file, or it is damaged: %s", f->name,
                    f->header ? "its header is no object" : why.text);
    }
    nn_free(env, text);
    return good && check_entries(env, f);
}

struct nn_tensors *nn_tensors_open(struct nn_env *env, const char *before, const char *path) {
    struct nn_tensors *f = nn_alloc(env, sizeof *f);
    if (!f) return NULL;
    struct nn_text name = {0};
    nn_text_printf(env, &name, "%s%s", before, path);
    f->name = name.at;
    if (nn_text_ok(env, &name) && nn_seek_open(env, &f->file, f->name, f->name + strlen(before)) && read_header(env, f)) return f;
    nn_tensors_close(env, f);
    return NULL;
}

void nn_tensors_close(struct nn_env *env, struct nn_tensors *f) {
    if (!f) return;
    nn_seek_close(env, &f->file);
    json_decref(f->header);
    nn_free(env, f->name);
    nn_free(env, f);
}

const char *nn_tensors_note(const struct nn_tensors *f, const char *key) {
    return json_string_value(json_object_get(json_object_get(f->header, METADATA), key));
}

bool nn_tensors_checksum(struct nn_env *env, struct nn_tensors *f) {
    const char *said = nn_tensors_note(f, "checksum");
    enum { BLOCK = 1 << 20 };
    if (!said || strlen(said) != CHECKSUM_DIGITS) return nn_fail(env, NN_BAD_INPUT, "%s: damaged: it has no checksum", f->name);
    char *block = nn_alloc(env, BLOCK);
    if (!block) return false;
    uLong crc = crc32_z(0, NULL, 0);
    bool good = true, blanked = false;
    for (int64_t at = 0, all = f->data + f->size; good && at < all; at += BLOCK) {
        int64_t n = all - at < BLOCK ? all - at : BLOCK;
        good = nn_seek_read(env, &f->file, block, n, at);
        char *digits =
            !blanked && good ? memmem(block, (size_t)n, said, CHECKSUM_DIGITS) : NULL; /* near the start of the first block */
        if (digits) memcpy(digits, NO_CHECKSUM, CHECKSUM_DIGITS), blanked = true;
        if (good) crc = crc32_z(crc, (const Bytef *)block, (z_size_t)n);
    }
    nn_free(env, block);
    char digits[CHECKSUM_DIGITS + 1];
    snprintf(digits, sizeof digits, "%08lx", crc & 0xFFFFFFFFul);
    if (good && strcmp(digits, said) != 0)
        good = nn_fail(env, NN_BAD_INPUT, "%s: damaged: its checksum is %s, it says %s", f->name, digits, said);
    return good;
}

bool nn_tensors_type(const struct nn_tensors *f, const char *name, int64_t *elem, int64_t *dims, int64_t *n_dims) {
    struct span at;
    const json_t *e = strcmp(name, METADATA) == 0 ? NULL : json_object_get(f->header, name);
    return e && parse_entry(f, e, elem, dims, n_dims, &at);
}

bool nn_tensors_get(struct nn_env *env, struct nn_tensors *f, const char *name, void *at) {
    int64_t elem, dims[MOST_DIMS], n_dims;
    struct span place;
    const json_t *e = json_object_get(f->header, name);
    if (!parse_entry(f, e, &elem, dims, &n_dims, &place))
        return nn_fail(env, NN_BAD_INPUT, "%s: there is no tensor `%s` in it", f->name, name);
    int64_t n = nn_count(dims, n_dims);
    if (!nn_seek_read(env, &f->file, at, n * nn_elem_size(elem), f->data + place.begin)) return false;
    int64_t wrong = elem == NN_BOOL ? nn_no_bool(at, n) : -1;
    return wrong < 0 || nn_fail(env, NN_BAD_INPUT, "%s: element %" PRId64 " of `%s` is %d: bool is 0 or 1", f->name, wrong, name,
                                ((unsigned char *)at)[wrong]);
}

static bool same_dims(const int64_t *dims, int64_t n_dims, const struct nn_tensor *x) {
    if (n_dims != x->n_dims) return false;
    for (int64_t i = 0; i < n_dims; i++) {
        if (dims[i] != x->dims[i]) return false;
    }
    return true;
}

/* Adds what is wrong with one tensor of the file to the list. */
static void compare(struct nn_env *env, const struct nn_tensors *f, const struct nn_tensor *x, struct nn_text *wrong) {
    int64_t elem, dims[MOST_DIMS], n_dims;
    struct nn_text want = {0};
    nn_text_type(env, &want, x->elem, x->dims, x->n_dims);
    if (!nn_tensors_type(f, x->name, &elem, dims, &n_dims)) {
        nn_text_printf(env, wrong, "\n  missing: %s, %s", x->name, nn_text_str(&want));
    } else if (elem != x->elem || !same_dims(dims, n_dims, x)) {
        nn_text_printf(env, wrong, "\n  %s: expected %s, found ", x->name, nn_text_str(&want));
        if (elem >= 0)
            nn_text_type(env, wrong, elem, dims, n_dims);
        else
            nn_text_add(env, wrong, "another element type");
    }
    nn_text_free(env, &want);
}

static bool is_one_of(const struct nn_tensor *tensors, int64_t n, const char *name) {
    for (int64_t i = 0; i < n; i++) {
        if (strcmp(tensors[i].name, name) == 0) return true;
    }
    return false;
}

bool nn_tensors_compare(struct nn_env *env, struct nn_tensors *f, const struct nn_tensor *tensors, int64_t n,
                        bool (*more)(void *, const char *), void *context) {
    struct nn_text wrong = {0};
    const char *key;
    json_t *e;
    for (int64_t i = 0; i < n; i++) compare(env, f, &tensors[i], &wrong);
    json_object_foreach(f->header, key, e) {
        if (strcmp(key, METADATA) == 0 || is_one_of(tensors, n, key) || (more && more(context, key))) continue;
        nn_text_printf(env, &wrong, "\n  not in the program: %s", key);
    }
    bool good = nn_text_ok(env, &wrong);
    if (good && wrong.n > 0)
        good = nn_fail(env, NN_BAD_INPUT, "%s: the tensors in it are not those of the program:%s", f->name, wrong.at);
    nn_text_free(env, &wrong);
    return good;
}

struct placed {
    struct span at;
    int64_t tensor;
};

/* In the order of the file, which may be compressed. */
bool nn_tensors_read(struct nn_env *env, struct nn_tensors *f, const struct nn_tensor *tensors, int64_t n,
                     bool (*more)(void *, const char *), void *context) {
    int64_t elem, dims[MOST_DIMS], n_dims;
    if (!nn_tensors_compare(env, f, tensors, n, more, context)) return false;
    struct placed *order = nn_alloc_n(env, n, sizeof *order);
    if (!order) return false;
    for (int64_t i = 0; i < n; i++) {
        parse_entry(f, json_object_get(f->header, tensors[i].name), &elem, dims, &n_dims, &order[i].at);
        order[i].tensor = i;
    }
    qsort(order, (size_t)n, sizeof *order, by_place);
    bool good = true;
    for (int64_t i = 0; good && i < n; i++)
        good = nn_tensors_get(env, f, tensors[order[i].tensor].name, tensors[order[i].tensor].at);
    nn_free(env, order);
    return good;
}
