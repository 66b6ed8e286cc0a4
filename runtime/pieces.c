/*
 * pieces.c - a text from a file in pieces of whole words or characters: see data.h. So a long text is not in memory beside what is made of it.
 */
#include "data.h"
#include <string.h>

enum { PIECE = 1 << 18 };

bool nn_pieces_open(struct nn_env *env, struct nn_pieces *p, const char *path, enum nn_cut cut) {
    *p = (struct nn_pieces){.cut = cut, .line = 1, .fault = -1};
    return nn_read_open(env, &p->file, path);
}

void nn_pieces_close(struct nn_env *env, struct nn_pieces *p) {
    nn_read_close(env, &p->file);
    nn_free(env, p->text);
}

/* How many of the n bytes end a word or a character for sure: 0 where one goes on through all of them. */
static int64_t whole(const struct nn_pieces *p, int64_t n) {
    int64_t i = n;
    if (p->cut == NN_CUT_WORDS) {
        while (i > 0 && !nn_is_space(p->text[i - 1])) i--;
        return i;
    }
    enum { LONGEST = 4 }; /* bytes of a character; where none begins among the last four, what is there is no UTF-8 */
    while (i > 0 && n - i < LONGEST && ((unsigned char)p->text[i - 1] & 0xC0) == 0x80) i--;
    return i > 1 ? i - 1 : n;
}

/* What was looked at before is the text's no more; what follows it comes first. */
static void next_begins(struct nn_pieces *p) {
    int64_t done = p->n;
    for (int64_t i = 0; i < done; i++) p->line += p->text[i] == '\n';
    p->place += done;
    p->held -= done;
    if (p->held > 0) memmove(p->text, p->text + done, (size_t)p->held);
    p->n = 0;
}

int nn_pieces_next(struct nn_env *env, struct nn_pieces *p) {
    next_begins(p);
    for (bool end = false; !end && p->n == 0;) {
        if (p->cap - p->held < PIECE) {
            char *more = nn_grow(env, p->text, (size_t)(p->cap ? 2 * p->cap : 2 * PIECE));
            if (!more) return -1;
            p->text = more;
            p->cap = p->cap ? 2 * p->cap : 2 * PIECE;
        }
        int64_t got = nn_read(env, &p->file, p->text + p->held, PIECE);
        if (got < 0) return -1;
        p->held += got;
        end = got < PIECE;
        p->n = end ? p->held : whole(p, p->held);
    }
    int64_t fault = nn_utf8_fault(p->text, p->n);
    if (fault >= 0) {
        p->fault = p->place + fault;
        for (int64_t i = 0; i < fault; i++) p->line += p->text[i] == '\n';
        return -1;
    }
    p->at = p->text + (p->place == 0 ? nn_order_mark(p->text, p->n) : 0);
    p->end = p->text + p->n;
    return p->n > 0;
}
