/*
 * load_lines.c - a line a sample: lines(files or folder..., column=, length=, vocab=, part="text"|"file").
 *
 * With `column`, the line is cut at tabs and that piece counts (from 0). Without `vocab` a sample is the line's bytes, else the
 * numbers of its words (or characters); zeros fill what is short, what is too long is cut off. part="file" is the number of the
 * file that the line stands in. Empty lines are no samples.
 */
#include "data.h"
#include "file.h"
#include <inttypes.h>
#include <string.h>

struct cutting {
    int64_t column; /* -1: the whole line */
    const struct nn_words *words;
    enum nn_cut cut;
    bool file; /* part="file" */
};

static bool read_arguments(struct nn_load *l, struct cutting *c) {
    const struct nn_arg *column = nn_load_arg(l, "column"), *part = nn_load_arg(l, "part"), *length = nn_load_arg(l, "length");
    *c = (struct cutting){.column = column ? column->i : -1};
    c->file = part && part->s && strcmp(part->s, "file") == 0;
    if (l->elem == NN_F32 || l->elem == NN_F64 || l->elem == NN_BOOL)
        return nn_load_fail(l, 0, "lines are u8, i32 or i64, not %s", nn_elem_name(l->elem));
    if (c->file) return l->n_dims == 0 || nn_load_fail(l, 0, "the number of a file is one number");
    if (l->n_dims != 1) return nn_load_fail(l, 0, "a line is a sample of one dimension");
    if (length && length->i != l->dims[0])
        return nn_load_fail(l, 0, "length=%" PRId64 ", but a sample has %" PRId64 " elements", length->i, l->dims[0]);
    return nn_load_vocab(l, &c->words, &c->cut);
}

/* The piece of a line between its tabs; false: there are fewer. */
static bool cut_column(const char **text, size_t *n, int64_t column) {
    const char *at = *text, *end = at + *n;
    for (int64_t c = 0; c < column; c++) {
        const char *tab = memchr(at, '\t', (size_t)(end - at));
        if (!tab) return false;
        at = tab + 1;
    }
    const char *tab = memchr(at, '\t', (size_t)(end - at));
    *text = at;
    *n = (size_t)((tab ? tab : end) - at);
    return true;
}

static bool add_line(struct nn_load *l, const struct cutting *c, const char *text, size_t n, int64_t line) {
    if (n == 0) return true;
    if (c->column >= 0 && !cut_column(&text, &n, c->column)) {
        return nn_load_fail(l, line, "the line has no column %" PRId64 " (columns are cut at tabs and counted from 0)",
                            c->column);
    }
    char *at = nn_load_room(l, 1);
    if (!at) return false;
    memset(at, 0, (size_t)l->column->bytes);
    if (c->file) {
        if (l->elem == NN_U8 && l->file > 255)
            return nn_load_fail(l, 0, "file number %" PRId64 " is out of the range of u8", l->file);
        nn_value_put(at, l->elem, 0, (double)l->file);
    } else if (c->words) {
        const char *word, *end = text + n;
        size_t length;
        int64_t fault = nn_utf8_fault(text, (int64_t)n);
        if (fault >= 0) return nn_load_fail(l, line, "byte %" PRId64 " of the line is not UTF-8", fault);
        for (int64_t i = 0; i < l->dims[0] && (word = nn_next_word(&text, end, c->cut, &length)); i++) {
            nn_value_put(at, l->elem, i, nn_words_find(c->words, word, length));
        }
    } else {
        for (int64_t i = 0; i < l->dims[0] && i < (int64_t)n; i++) nn_value_put(at, l->elem, i, (unsigned char)text[i]);
    }
    l->column->count++;
    return true;
}

bool nn_load_lines(struct nn_load *l) {
    struct cutting c;
    if (!read_arguments(l, &c)) return false;
    if (l->text) return add_line(l, &c, l->text, strlen(l->text), 0);
    struct nn_reader r;
    if (!nn_read_open(l->env, &r, l->path)) return false;
    int got;
    bool good = true;
    while (good && (got = nn_read_line(l->env, &r)) != 0) good = got > 0 && add_line(l, &c, r.text, r.n, r.line);
    nn_read_close(l->env, &r);
    return good;
}
