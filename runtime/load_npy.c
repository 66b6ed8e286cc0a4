/*
 * load_npy.c - arrays written by NumPy: npy(file), npz(file, name).
 *
 * .npy: "\x93NUMPY", two bytes of version, the length of the header (2 bytes little endian, 4 from version 2 on), the header as a
 * Python dictionary
 * {'descr': '<f4', 'fortran_order': False, 'shape': (60000, 28, 28), }, then the elements. .npz is a ZIP archive of such files
 * (numpy.lib.format).
 */
#include "data.h"
#include "file.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { MOST_DIMS = 32 };

enum { PIECE = 1 << 16 };

/* Where bytes come from: a file, or an entry of an archive. */
struct source {
    struct nn_load *l;
    struct nn_reader *file;
    struct nn_seek *zip;
    int64_t at, left; /* what of the entry has not been read of the archive */
    z_stream *packed; /* NULL: stored */
    Bytef *piece;     /* ... of it, PIECE bytes */
    uLong crc;        /* of what was read of the entry */
};

/* The next bytes of the entry as they lie in the archive: how many, 0 at its end; -1: failed. */
static int64_t entry_read(struct source *s, void *at, int64_t size) {
    int64_t n = size < s->left ? size : s->left;
    if (!nn_seek_read(s->l->env, s->zip, at, n, s->at)) return -1;
    s->at += n;
    s->left -= n;
    return n;
}

/* As nn_read, of a compressed entry. */
static int64_t unpack(struct source *s, void *at, int64_t size) {
    z_stream *z = s->packed;
    int64_t done = 0;
    while (done < size) {
        int64_t room = size - done < (1 << 30) ? size - done : 1 << 30;
        if (z->avail_in == 0) {
            int64_t more = entry_read(s, s->piece, PIECE);
            if (more < 0) return -1;
            z->next_in = s->piece;
            z->avail_in = (uInt)more;
        }
        z->next_out = (Bytef *)at + done;
        z->avail_out = (uInt)room;
        int status = inflate(z, Z_NO_FLUSH);
        done += room - z->avail_out;
        if (status == Z_STREAM_END) break;
        if (status != Z_OK) {
            nn_load_fail(s->l, 0, "the compressed data are damaged or end in the middle");
            return -1;
        }
    }
    return done;
}

/* As nn_read: fewer than size at the end, -1: failed. */
static int64_t source_read(struct source *s, void *at, int64_t size) {
    if (s->file) return nn_read(s->l->env, s->file, at, size);
    int64_t done = s->packed ? unpack(s, at, size) : entry_read(s, at, size);
    if (done > 0) s->crc = crc32_z(s->crc, at, (z_size_t)done);
    return done;
}

static int64_t elem_of_descr(const char *d) {
    static const struct {
        const char *descr;
        int64_t elem;
    } known[] = {{"<f4", NN_F32}, {"<f8", NN_F64}, {"<i4", NN_I32}, {"<i8", NN_I64}, {"|u1", NN_U8}, {"|b1", NN_BOOL}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].descr, d) == 0) return known[i].elem;
    }
    return -1;
}

/* What follows 'key': in the dictionary, without leading spaces. */
static const char *entry(const char *header, const char *key) {
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s':", key);
    const char *at = strstr(header, quoted);
    if (!at) return NULL;
    at += strlen(quoted);
    return at + strspn(at, " ");
}

static bool parse_header(struct nn_load *l, const char *header, int64_t *elem, int64_t *dims, int64_t *n_dims) {
    const char *descr = entry(header, "descr"), *order = entry(header, "fortran_order"), *shape = entry(header, "shape");
    if (!descr || !order || !shape || *shape != '(') return nn_load_fail(l, 0, "the header of the .npy file cannot be read");
    char name[16] = "";
    if (sscanf(descr, "'%15[^']'", name) != 1 || (*elem = elem_of_descr(name)) < 0) {
        return nn_load_fail(l, 0, "its element type '%s' is none of float32, float64, int32, int64, uint8, bool (little endian)",
                            name);
    }
    *n_dims = 0;
    for (const char *at = shape + 1; *at && *at != ')';) {
        char *end;
        long long n = strtoll(at, &end, 10);
        if (end == at || n < 0 || *n_dims == MOST_DIMS)
            return nn_load_fail(l, 0, "the shape in the header of the .npy file cannot be read");
        dims[(*n_dims)++] = n;
        at = end + strspn(end, ", ");
    }
    if (!shape[strcspn(shape, ")")] || (strncmp(order, "True", 4) != 0 && strncmp(order, "False", 5) != 0))
        return nn_load_fail(l, 0, "the header of the .npy file cannot be read");
    if (*order == 'T' && *n_dims > 1)
        return nn_load_fail(l, 0, "its elements are in column-major (Fortran) order: save numpy.ascontiguousarray of it");
    return true;
}

static bool read_header(struct source *s, int64_t *elem, int64_t *dims, int64_t *n_dims) {
    struct nn_load *l = s->l;
    unsigned char head[12];
    int64_t got = source_read(s, head, 10);
    if (got < 0) return false;
    if (got < 10 || memcmp(head, "\x93NUMPY", 6) != 0) return nn_load_fail(l, 0, "this is not a .npy file");
    if (head[6] < 1 || head[6] > 3)
        return nn_load_fail(l, 0, "version %d of the .npy format is not known; there are 1, 2 and 3", head[6]);
    int64_t length = head[8] | head[9] << 8;
    if (head[6] >= 2) {
        if (source_read(s, head + 10, 2) != 2) return nn_load_fail(l, 0, "truncated: the header is not complete");
        length |= (int64_t)head[10] << 16 | (int64_t)head[11] << 24;
    }
    if (length > 1 << 20) return nn_load_fail(l, 0, "the header of the .npy file cannot be read");
    char *header = nn_alloc(l->env, (size_t)length + 1);
    if (!header) return false;
    got = source_read(s, header, length);
    bool good =
        got == length ? parse_header(l, header, elem, dims, n_dims) : nn_load_fail(l, 0, "truncated: the header is not complete");
    nn_free(l->env, header);
    return good;
}

/* The most bytes that can still come. */
static int64_t source_bound(const struct source *s) {
    return s->file ? nn_read_bound(s->file) : s->packed ? (s->left + s->packed->avail_in) * NN_DEFLATE_MOST : s->left;
}

static int64_t source_rest(struct source *s) {
    char piece[4096];
    for (int64_t n = 0;;) {
        int64_t got = source_read(s, piece, sizeof piece);
        if (got < 0) return -1;
        n += got;
        if (got < (int64_t)sizeof piece) return n;
    }
}

static bool read_array(struct source *s) {
    struct nn_load *l = s->l;
    int64_t elem = 0, dims[MOST_DIMS], n_dims = 0, samples, size = l->column->bytes;
    if (!read_header(s, &elem, dims, &n_dims) || !nn_load_check_type(l, elem, dims, n_dims, &samples)) return false;
    if (size > 0 && samples > source_bound(s) / size) {
        int64_t found = source_rest(s);
        return found >= 0 && nn_load_truncated(l, samples, found);
    }
    char *at = nn_load_room(l, samples), extra;
    if (!at) return false;
    int64_t got = source_read(s, at, samples * size);
    if (got < 0) return false;
    if (got < samples * size) return nn_load_truncated(l, samples, got);
    if (source_read(s, &extra, 1) != 0) return nn_load_fail(l, 0, "more bytes follow the last of %" PRId64 " samples", samples);
    int64_t wrong = elem == NN_BOOL ? nn_no_bool(at, samples * size) : -1;
    if (wrong >= 0)
        return nn_load_fail(l, 0, "sample %" PRId64 " holds %d: bool is 0 or 1", wrong / size, (unsigned char)at[wrong]);
    l->column->count += samples;
    return true;
}

bool nn_load_npy(struct nn_load *l) {
    struct nn_reader r;
    if (!nn_read_open(l->env, &r, l->path)) return false;
    struct source s = {.l = l, .file = &r};
    bool good = read_array(&s);
    nn_read_close(l->env, &r);
    return good;
}

/* ---- archives ---- */

static int64_t little(const unsigned char *p, int n) {
    uint64_t v = 0;
    for (int i = n - 1; i >= 0; i--) v = v << 8 | p[i];
    return (int64_t)v;
}

/* The end record of a ZIP archive, 22 bytes and a comment, searched from the end; before it 20 bytes that say where a wide one is (ZIP64). */
enum { END = 22, COMMENT = 65535, LOCATOR = 20, WIDE_END = 56, ENTRY = 46, LOCAL = 30 };

/* The central directory: n entries at `at`. Where one of the two does not fit into the end record it is all ones, and both stand in the wide one. */
static bool read_end(struct nn_load *l, struct nn_seek *zip, const unsigned char *tail, int64_t size, int64_t *n, int64_t *at) {
    int64_t i = size - END;
    while (i >= 0 && memcmp(tail + i, "PK\5\6", 4) != 0) i--;
    if (i < 0) return false;
    *n = little(tail + i + 10, 2);
    *at = little(tail + i + 16, 4);
    if ((*n != 0xFFFF && *at != 0xFFFFFFFF) || i < LOCATOR || memcmp(tail + i - LOCATOR, "PK\6\7", 4) != 0) return true;
    unsigned char wide[WIDE_END];
    int64_t place = little(tail + i - LOCATOR + 8, 8);
    if (place < 0 || place > zip->bytes - WIDE_END || !nn_seek_read(l->env, zip, wide, WIDE_END, place)) return false;
    *n = little(wide + 32, 8);
    *at = little(wide + 48, 8);
    return memcmp(wide, "PK\6\6", 4) == 0;
}

static bool find_directory(struct nn_load *l, struct nn_seek *zip, int64_t *n, int64_t *at) {
    int64_t size = zip->bytes < LOCATOR + END + COMMENT ? zip->bytes : LOCATOR + END + COMMENT;
    unsigned char *tail = nn_alloc(l->env, (size_t)size);
    bool good = tail && nn_seek_read(l->env, zip, tail, size, zip->bytes - size) && read_end(l, zip, tail, size, n, at);
    nn_free(l->env, tail);
    return good || nn_load_fail(l, 0, "this is not an .npz file, or it is truncated");
}

struct member {
    int64_t method, packed, plain, offset;
    uLong crc;
};

/* Sizes of entries beyond 4 GB stand in an extra field (ZIP64, id 1), in this order, those alone that are all ones in the record.
 */
static void zip64(const unsigned char *extra, int64_t n, struct member *m) {
    while (n >= 4) {
        int64_t id = little(extra, 2), size = little(extra + 2, 2);
        if (size > n - 4) return;
        if (id == 1) {
            const unsigned char *p = extra + 4, *end = p + size;
            int64_t *const wide[] = {&m->plain, &m->packed, &m->offset};
            for (int i = 0; i < 3; i++) {
                if (*wide[i] == 0xFFFFFFFF && end - p >= 8) *wide[i] = little(p, 8), p += 8;
            }
        }
        extra += 4 + size;
        n -= 4 + size;
    }
}

/* One entry of the directory: the array's name, which is the file's without .npy, first in `text`, and how many bytes the entry takes. 0: there is no entry
 * here; -1: failed. */
static int64_t read_entry(struct nn_load *l, struct nn_seek *zip, int64_t at, unsigned char *text, int64_t *stem,
                          struct member *m) {
    unsigned char head[ENTRY];
    if (at < 0 || at > zip->bytes - ENTRY) return 0;
    if (!nn_seek_read(l->env, zip, head, ENTRY, at)) return -1;
    int64_t name = little(head + 28, 2), extra = little(head + 30, 2), comment = little(head + 32, 2);
    if (memcmp(head, "PK\1\2", 4) != 0 || name + extra > zip->bytes - ENTRY - at) return 0;
    if (!nn_seek_read(l->env, zip, text, name + extra, at + ENTRY)) return -1;
    *m = (struct member){little(head + 10, 2), little(head + 20, 4), little(head + 24, 4), little(head + 42, 4),
                         (uLong)little(head + 16, 4)};
    zip64(text + name, extra, m);
    *stem = name >= 4 && memcmp(text + name - 4, ".npy", 4) == 0 ? name - 4 : name;
    return ENTRY + name + extra + comment;
}

/* Finds NAME.npy in the central directory; the last one of that name: a program that writes an array again appends it. text: room for a name and what belongs to it. */
static bool find_member(struct nn_load *l, struct nn_seek *zip, const char *name, unsigned char *text, struct member *m) {
    int64_t n = 0, at = 0, stem, size = 1;
    if (!find_directory(l, zip, &n, &at)) return false;
    struct nn_text there = {0};
    struct member each;
    bool known = false;
    for (int64_t i = 0; i < n; i++, at += size) {
        if ((size = read_entry(l, zip, at, text, &stem, &each)) <= 0) break;
        if (stem == (int64_t)strlen(name) && memcmp(text, name, (size_t)stem) == 0) *m = each, known = true;
        nn_text_printf(l->env, &there, "%s%.*s", i ? ", " : "", (int)stem, (const char *)text);
    }
    if (!known) nn_load_fail(l, 0, "there is no array `%s` in it; there are: %s", name, there.n ? nn_text_str(&there) : "none");
    nn_text_free(l->env, &there);
    return known && size >= 0;
}

static bool read_packed(struct source *s) {
    z_stream z = {0};
    if (!(s->piece = nn_alloc(s->l->env, PIECE))) return false;
    bool good = inflateInit2(&z, -15) == Z_OK;
    if (!good) nn_no_memory(s->l->env, 1 << 15);
    s->packed = &z;
    good = good && read_array(s);
    inflateEnd(&z);
    nn_free(s->l->env, s->piece);
    return good;
}

static bool read_member(struct nn_load *l, struct nn_seek *zip, const struct member *m) {
    unsigned char head[LOCAL];
    int64_t start = m->offset;
    bool there = start >= 0 && start <= zip->bytes - LOCAL;
    if (there && !nn_seek_read(l->env, zip, head, LOCAL, start)) return false;
    if (!there || memcmp(head, "PK\3\4", 4) != 0) return nn_load_fail(l, 0, "the archive is damaged");
    start += LOCAL + little(head + 26, 2) + little(head + 28, 2);
    if (start > zip->bytes || m->packed < 0 || m->packed > zip->bytes - start)
        return nn_load_fail(l, 0, "truncated: the archive ends inside the array");
    struct source s = {.l = l, .zip = zip, .at = start, .left = m->packed};
    if (m->method != 0 && m->method != 8)
        return nn_load_fail(l, 0, "the array is compressed by a method that is neither stored nor deflated");
    if (!(m->method == 0 ? read_array(&s) : read_packed(&s))) return false;
    return s.crc == m->crc ||
           nn_load_fail(l, 0, "the array is damaged: the archive says its checksum is %08lx, it is %08lx", m->crc, s.crc);
}

bool nn_load_npz(struct nn_load *l) {
    const struct nn_arg *name = nn_load_arg(l, "name");
    if (!name || !name->s) return nn_load_fail(l, 0, "npz(file, name) names the array");
    struct nn_seek zip;
    struct member m = {0};
    unsigned char *text = nn_alloc(l->env, 2 * 65535);
    bool good = nn_seek_open(l->env, &zip, l->path, l->path) && text && find_member(l, &zip, name->s, text, &m) &&
                read_member(l, &zip, &m);
    nn_seek_close(l->env, &zip);
    nn_free(l->env, text);
    return good;
}
