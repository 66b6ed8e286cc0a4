/*
 * diff.c - the difference of two texts, line by line, as `diff -u` writes it: for --print-changed and for golden texts that do
 * not match.
 *
 * Myers 1986, "An O(ND) difference algorithm and its variations": the shortest way from corner to corner of the grid of lines, d
 * changes at a time. Equal lines at both ends are taken off first. Past a number of changes where the quadratic memory would
 * hurt, the middle is printed as replaced whole.
 */
#include "pipeline.h"

#include <string.h>

enum { CONTEXT = 3, MOST_CHANGES = 4000 };

typedef struct Lines {
    const char **at; /* interned: equal lines are one pointer */
    int n;
} Lines;

static Lines split(Arena *a, const char *text) {
    Vec(const char *) v = {0};
    for (const char *s = text; *s;) {
        size_t n = strcspn(s, "\n");
        vec_push(a, &v, intern_n(s, n));
        s += n + (s[n] == '\n');
    }
    return (Lines){v.at, (int)v.n};
}

/* Which lines of x go and which lines of y come. */
static void changes(Arena *a, Lines x, Lines y, bool *gone, bool *come) {
    int low = 0;
    while (low < x.n && low < y.n && x.at[low] == y.at[low]) low++;
    int n = x.n, m = y.n;
    while (n > low && m > low && x.at[n - 1] == y.at[m - 1]) n--, m--;
    n -= low;
    m -= low;
    x.at += low;
    y.at += low;
    int most = n + m < MOST_CHANGES ? n + m : MOST_CHANGES;
    int *v = arena_make_n(a, int, 2 * (size_t)most + 3), *zero = v + most + 1;
    int **trace = arena_make_n(a, int *, (size_t)most + 1);
    int d, found = -1;
    for (d = 0; d <= most && found < 0; d++) {
        trace[d] = arena_make_n(a, int, 2 * (size_t)d + 3);
        for (int k = -d; k <= d; k += 2) {
            int i = k == -d || (k != d && zero[k - 1] < zero[k + 1]) ? zero[k + 1] : zero[k - 1] + 1;
            while (i < n && i - k < m && x.at[i] == y.at[i - k]) i++;
            zero[k] = i;
            if (i >= n && i - k >= m) found = d;
        }
        memcpy(trace[d], zero - d - 1, (2 * (size_t)d + 3) * sizeof *v);
    }
    if (found < 0) { /* too different */
        memset(gone + low, 1, (size_t)n * sizeof *gone);
        memset(come + low, 1, (size_t)m * sizeof *come);
        return;
    }
    for (int i = n, j = m, e = found; e > 0; e--) {
        const int *before = trace[e - 1] + e; /* of diagonal 0; diagonals -e .. e are there */
        int k = i - j;
        bool down = k == -e || (k != e && before[k - 1] < before[k + 1]);
        int from = down ? k + 1 : k - 1, i0 = before[from], j0 = i0 - from;
        if (down)
            come[low + j0] = true;
        else
            gone[low + i0] = true;
        i = i0;
        j = j0;
    }
}

static void print_hunk(Arena *a, Text *out, Lines x, Lines y, const bool *gone, const bool *come, int i, int i_end, int j,
                       int j_end) {
    text_printf(a, out, "@@ -%d,%d +%d,%d @@\n", i + 1, i_end - i, j + 1, j_end - j);
    while (i < i_end || j < j_end) {
        if (i < i_end && gone[i])
            text_printf(a, out, "-%s\n", x.at[i++]);
        else if (j < j_end && come[j])
            text_printf(a, out, "+%s\n", y.at[j++]);
        else
            text_printf(a, out, " %s\n", x.at[i]), i++, j++;
    }
}

bool text_diff(Arena *arena, const char *before, const char *after, Text *out) {
    Arena *a = arena_new();
    Lines x = split(a, before), y = split(a, after);
    bool *gone = arena_make_n(a, bool, (size_t)x.n + 1), *come = arena_make_n(a, bool, (size_t)y.n + 1), any = false;
    changes(a, x, y, gone, come);
    for (int i = 0, j = 0; i < x.n || j < y.n;) {
        if (!(i < x.n && gone[i]) && !(j < y.n && come[j])) {
            i++, j++;
            continue;
        }
        any = true;
        int i0 = i > CONTEXT ? i - CONTEXT : 0, j0 = j - (i - i0), same = 0; /* j0 >= 0 unless both begin here */
        if (j0 < 0) i0 -= j0, j0 = 0;
        while ((i < x.n || j < y.n) && same <= 2 * CONTEXT) {
            if (i < x.n && gone[i])
                i++, same = 0;
            else if (j < y.n && come[j])
                j++, same = 0;
            else
                i++, j++, same++;
        }
        int back = same > CONTEXT ? same - CONTEXT : 0;
        i -= back;
        j -= back;
        print_hunk(arena, out, x, y, gone, come, i0, i, j0, j);
    }
    arena_free(a);
    return any;
}
