/*
 * load_text.c - running text in windows: text(file, length=T) of bytes, text(file, length=T, vocab=) and words(file, vocab=,
 * length=T) of numbers of characters and words. Window i begins at element i * T and is as long as the field's type (which may be
 * longer than T: the next element is the answer to the last). Without `length`, T is the field's length. What does not fill a
 * window is left out. Several files, and those of a folder, are one text, in their order.
 */
#include "data.h"
#include "file.h"
#include <inttypes.h>
#include <string.h>

bool nn_load_vocab(struct nn_load *l, const struct nn_words **words, enum nn_cut *cut) {
    const struct nn_arg *a = nn_load_arg(l, "vocab");
    *words = NULL;
    *cut = NN_CUT_CHARACTERS;
    if (!a) return true;
    *words = nn_data_words(l->reader, a->i);
    *cut = nn_vocab_cut(&l->reader->program->vocabs[a->i]);
    if (*words && l->elem == NN_U8 && (*words)->n + 2 > 256) {
        return nn_load_fail(l, 0, "the vocabulary has %" PRId64 " words: too many for u8", (*words)->n + 2);
    }
    return *words != NULL;
}

/* Elements of the text are appended one by one: column->stride is that of an element meanwhile. */
static bool append_bytes(struct nn_load *l, const char *text, int64_t n) {
    char *at = nn_load_room(l, n);
    if (!at) return false;
    for (int64_t i = 0; i < n; i++) nn_value_put(at, l->elem, i, (unsigned char)text[i]);
    l->column->count += n;
    return true;
}

/* Bytes are taken as they come, so that a long text is not in memory twice. */
static bool append_file(struct nn_load *l) {
    struct nn_reader r;
    char block[1 << 16];
    if (!nn_read_open(l->env, &r, l->path)) return false;
    int64_t got = 0, all = r.unpack ? INT64_MAX : nn_read_bound(&r);
    bool good = all == INT64_MAX || nn_load_room(l, all);
    while (good && (got = nn_read(l->env, &r, block, sizeof block)) > 0) good = append_bytes(l, block, got);
    nn_read_close(l->env, &r);
    return good && got == 0;
}

static bool append_words(struct nn_load *l, const char *text, const char *end, const struct nn_words *words, enum nn_cut cut) {
    const char *word;
    size_t length;
    while ((word = nn_next_word(&text, end, cut, &length))) {
        char *at = nn_load_room(l, 1);
        if (!at) return false;
        nn_value_put(at, l->elem, 0, nn_words_find(words, word, length));
        l->column->count++;
    }
    return true;
}

static bool append_words_of_text(struct nn_load *l, const struct nn_words *words, enum nn_cut cut) {
    int64_t n = (int64_t)strlen(l->text), fault = nn_utf8_fault(l->text, n);
    if (fault >= 0) return nn_load_fail(l, 0, "byte %" PRId64 " is not UTF-8", fault);
    return append_words(l, l->text + nn_order_mark(l->text, n), l->text + n, words, cut);
}

static bool append_words_of_file(struct nn_load *l, const struct nn_words *words, enum nn_cut cut) {
    struct nn_pieces p;
    bool good = nn_pieces_open(l->env, &p, l->path, cut);
    int more = 0;
    while (good && (more = nn_pieces_next(l->env, &p)) > 0) good = append_words(l, p.at, p.end, words, cut);
    if (p.fault >= 0) nn_load_fail(l, p.line, "byte %" PRId64 " is not UTF-8", p.fault);
    nn_pieces_close(l->env, &p);
    return good && more == 0;
}

/* Elements become windows of `sample` elements, `step` apart. */
static bool make_windows(struct nn_load *l, int64_t sample, int64_t step) {
    struct nn_column *c = l->column;
    int64_t size = nn_elem_size(l->elem), n = c->count;
    if (l->input && n > 0 && n < sample) { /* an input may be shorter: zeros fill it */
        char *at = nn_load_room(l, sample - n);
        if (!at) return false;
        memset(at, 0, (size_t)((sample - n) * size));
        n = sample;
    }
    bool last = l->file + 1 >= l->files && !l->in_folder; /* of a folder it is not known: what stays empty is found later */
    if (n < sample && last) return nn_load_fail(l, 0, "%" PRId64 " elements are in it, a sample has %" PRId64, n, sample);
    if (n < sample) {
        c->count = 0;
        return true;
    }
    c->count = (n - sample) / step + 1;
    c->stride = step * size;
    c->bytes = sample * size;
    return true;
}

bool nn_load_text(struct nn_load *l) {
    const struct nn_arg *length = nn_load_arg(l, "length");
    const struct nn_words *words;
    enum nn_cut cut;
    int64_t sample = nn_load_sample(l), step = length ? length->i : sample;
    if (l->input && l->file > 0) return nn_load_fail(l, 0, "an input of this kind is one text");
    if (step < 1) return nn_load_fail(l, 0, "length=%" PRId64 ": expected 1 or more", step);
    if (l->elem == NN_F32 || l->elem == NN_F64 || l->elem == NN_BOOL)
        return nn_load_fail(l, 0, "text is u8, i32 or i64, not %s", nn_elem_name(l->elem));
    if (!nn_load_vocab(l, &words, &cut)) return false;
    l->column->stride = nn_elem_size(l->elem);
    l->column->count = l->elements; /* no windows, until all of it is there */
    bool good;
    if (words) {
        good = l->text ? append_words_of_text(l, words, cut) : append_words_of_file(l, words, cut);
    } else {
        good = l->text ? append_bytes(l, l->text, (int64_t)strlen(l->text)) : append_file(l);
    }
    l->elements = l->column->count;
    return good && make_windows(l, sample, step);
}

bool nn_load_words(struct nn_load *l) {
    if (!nn_load_arg(l, "vocab")) return nn_load_fail(l, 0, "words(file, vocab=NAME) needs a vocabulary");
    return nn_load_text(l);
}
