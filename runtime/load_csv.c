/*
 * load_csv.c - numbers in columns of a text: csv(file, columns=, header=, delimiter=, window=).
 *
 * A row is a line; quotes may stand around a value ("a,b" and "" for a quote inside; RFC 4180). All rows have as many values as the first
 * one. `columns` picks some (numbers from 0; all without it); their number is that of a sample's elements. With `window`, sample
 * i is the rows i .. i + window - 1.
 */
#include "data.h"
#include "file.h"
#include <inttypes.h>
#include <string.h>

struct table {
    char delimiter;
    bool header;
    int64_t window;
    const int64_t *columns; /* NULL: all */
    int64_t n_columns;      /* picked */
    int64_t width;          /* values of a row; -1: not known yet */
    int64_t *place;         /* of column c in the sample, -1: not picked; width entries */
    int64_t rows;
};

static bool table_begin(struct nn_load *l, struct table *t) {
    const struct nn_arg *a;
    *t = (struct table){.delimiter = ',', .window = 1, .width = -1};
    if ((a = nn_load_arg(l, "delimiter")) && a->s && a->s[0]) t->delimiter = a->s[0];
    if ((a = nn_load_arg(l, "header"))) t->header = a->i != 0;
    if ((a = nn_load_arg(l, "window"))) t->window = a->i;
    if ((a = nn_load_arg(l, "columns"))) {
        t->columns = a->kind == NN_ARG_INTS ? a->ints : &a->i;
        t->n_columns = a->kind == NN_ARG_INTS ? a->n_ints : 1;
    }
    if (t->window < 1) return nn_load_fail(l, 0, "window=%" PRId64 ": a window has at least one row", t->window);
    int64_t sample = nn_load_sample(l);
    if (sample % t->window != 0 || (t->columns && sample / t->window != t->n_columns)) {
        return nn_load_fail(l, 0, "a sample has %" PRId64 " elements, but %" PRId64 " columns of %" PRId64 " rows are picked",
                            sample, t->columns ? t->n_columns : sample / t->window, t->window);
    }
    t->n_columns = sample / t->window;
    l->column->stride = t->n_columns * nn_elem_size(l->elem);
    return true;
}

/* The end of the value that begins at `at`: its delimiter, or `end`. Quotes count where a value begins with them alone (RFC 4180), so that the
 * inches of 5" disk are no quote. NULL: the quote is not closed. */
static char *value_end(char *at, char *end, char delimiter) {
    if (at < end && *at == '"') {
        for (at++;; at++) {
            at = memchr(at, '"', (size_t)(end - at));
            if (!at) return NULL;
            if (at + 1 == end || at[1] != '"') break;
            at++;
        }
    }
    char *stop = memchr(at, delimiter, (size_t)(end - at));
    return stop ? stop : end;
}

/* Takes the quotes off a value in place: n becomes shorter. What stands behind the second one is kept: it is no number. */
static void unquote(char *value, size_t *n) {
    if (*n == 0 || value[0] != '"') return;
    char *to = value, *at = value + 1, *end = value + *n;
    while (at < end && (*at != '"' || (at + 1 < end && at[1] == '"'))) {
        at += *at == '"';
        *to++ = *at++;
    }
    for (at++; at < end; at++) *to++ = *at;
    *n = (size_t)(to - value);
}

/* -1: a quote is not closed. */
static int64_t count_values(char *row, char *end, char delimiter) {
    int64_t n = 0;
    for (char *at = row;; at++) {
        at = value_end(at, end, delimiter);
        if (!at) return -1;
        n++;
        if (at == end) return n;
    }
}

/* The first row says how wide the table is. */
static bool table_width(struct nn_load *l, struct table *t, int64_t width, int64_t line) {
    t->width = width;
    t->place = nn_alloc_n(l->env, width, sizeof *t->place);
    if (!t->place) return false;
    if (!t->columns && width != t->n_columns) {
        return nn_load_fail(l, line, "expected %" PRId64 " value%s in a row, found %" PRId64, t->n_columns,
                            t->n_columns == 1 ? "" : "s", width);
    }
    for (int64_t c = 0; c < width; c++) t->place[c] = t->columns ? -1 : c;
    for (int64_t i = 0; t->columns && i < t->n_columns; i++) {
        int64_t c = t->columns[i];
        if (c < 0 || c >= width)
            return nn_load_fail(l, line, "there is no column %" PRId64 ": the row has %" PRId64 " values, counted from 0", c,
                                width);
        if (t->place[c] >= 0) return nn_load_fail(l, 0, "column %" PRId64 " is picked twice", c);
        t->place[c] = i;
    }
    return true;
}

/* One row into the column: the column counts rows until the file is read. */
static bool read_row(struct nn_load *l, struct table *t, char *row, size_t length, int64_t line) {
    char *end = row + length;
    int64_t width = count_values(row, end, t->delimiter);
    if (width < 0) return nn_load_fail(l, line, "a quote is not closed; a value ends on the line on which it begins");
    if (t->width < 0 && !table_width(l, t, width, line)) return false;
    if (width != t->width) {
        return nn_load_fail(l, line, "the row is too %s: expected %" PRId64 " values, found %" PRId64,
                            width < t->width ? "short" : "long", t->width, width);
    }
    char *at = nn_load_room(l, 1), *value = row;
    if (!at) return false;
    for (int64_t c = 0; c < width; c++) {
        char *stop = value_end(value, end, t->delimiter);
        size_t n = (size_t)(stop - value);
        unquote(value, &n);
        if (t->place[c] >= 0 && !nn_load_number(l, line, value, n, at, t->place[c])) return false;
        value = stop + 1;
    }
    l->column->count++;
    t->rows++;
    return true;
}

static bool read_rows(struct nn_load *l, struct table *t, struct nn_reader *r) {
    int64_t empty = 0; /* the first of the empty lines just seen: they may only end the file */
    for (;;) {
        int got = nn_read_line(l->env, r);
        if (got <= 0) return got == 0;
        if (r->line == 1 && t->header) continue;
        if (r->n == 0) {
            if (empty == 0) empty = r->line;
            continue;
        }
        if (empty > 0) return nn_load_fail(l, empty, "the row is empty");
        if (!read_row(l, t, r->text, r->n, r->line)) return false;
    }
}

bool nn_load_csv(struct nn_load *l) {
    struct table t;
    struct nn_reader r;
    if (!table_begin(l, &t)) return false;
    if (t.window > 1 && l->file > 0) return nn_load_fail(l, 0, "windows over several files are not possible");
    if (!nn_read_open(l->env, &r, l->path)) return false;
    bool good = read_rows(l, &t, &r);
    if (good && t.window > 1) {
        if (t.rows < t.window) good = nn_load_fail(l, 0, "%" PRId64 " rows, but a window has %" PRId64, t.rows, t.window);
        l->column->count -= t.window - 1;
    }
    nn_read_close(l->env, &r);
    nn_free(l->env, t.place);
    return good;
}
