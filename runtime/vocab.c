/*
 * vocab.c - vocabularies: words(files..., size=N), characters(files...), or a list.
 *
 * Words are numbered from 2 by falling frequency, ties by first appearance (a list: as it stands); 0 pads, 1 is every word that
 * is not there. A file of parse trees gives the words at its leaves. Words stand between spaces, tabs and ends of lines;
 * characters are code points.
 */
#include "data.h"
#include "file.h"
#include "tree.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- a set of words ---- */

static uint32_t hash_word(const char *word, size_t n) { /* FNV-1a */
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)word[i]) * 16777619u;
    return h;
}

/* The place of a word in the table: where it is, or where it would go. */
static int64_t place_of(const struct nn_words *w, const char *word, size_t n) {
    int64_t at = hash_word(word, n) & (w->places - 1);
    for (; w->table[at]; at = (at + 1) & (w->places - 1)) {
        const char *there = w->words[w->table[at] - 1];
        if (strncmp(there, word, n) == 0 && there[n] == 0) break;
    }
    return at;
}

int32_t nn_words_find(const struct nn_words *w, const char *word, size_t n) {
    if (w->places == 0) return 1;
    int32_t found = w->table[place_of(w, word, n)];
    return found ? found + 1 : 1;
}

static bool grow_words(struct nn_env *env, struct nn_words *w) {
    int64_t places = w->places ? 2 * w->places : 64;
    char **words = nn_grow(env, w->words, (size_t)places / 2 * sizeof *words);
    if (!words) return false;
    w->words = words;
    int32_t *table = nn_alloc_n(env, places, sizeof *table);
    if (!table) return false;
    nn_free(env, w->table);
    w->table = table;
    w->places = places;
    for (int64_t i = 0; i < w->n; i++) table[place_of(w, words[i], strlen(words[i]))] = (int32_t)i + 1;
    return true;
}

bool nn_words_add(struct nn_env *env, struct nn_words *w, const char *word, size_t n) {
    if (2 * w->n >= w->places && !grow_words(env, w)) return false;
    char *copy = nn_grow(env, NULL, n + 1);
    if (!copy) return false;
    memcpy(copy, word, n);
    copy[n] = 0;
    w->table[place_of(w, word, n)] = (int32_t)w->n + 1;
    w->words[w->n++] = copy;
    return true;
}

void nn_words_free(struct nn_env *env, struct nn_words *w) {
    for (int64_t i = 0; i < w->n; i++) nn_free(env, w->words[i]);
    nn_free(env, w->words);
    nn_free(env, w->table);
    *w = (struct nn_words){0};
}

/* ---- cutting ---- */

bool nn_is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* Of UTF-8; at a byte that is none 1, so that nothing runs past the end. */
static size_t character_length(const char *at, const char *end) {
    unsigned char c = (unsigned char)*at;
    size_t n = c < 0x80 ? 1 : c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
    if (n > (size_t)(end - at)) return 1;
    for (size_t i = 1; i < n; i++) {
        if (((unsigned char)at[i] & 0xC0) != 0x80) return 1;
    }
    return n;
}

const char *nn_next_word(const char **text, const char *end, enum nn_cut cut, size_t *n) {
    const char *at = *text;
    if (cut == NN_CUT_CHARACTERS) {
        if (at >= end) return NULL;
        *n = character_length(at, end);
    } else {
        while (at < end && nn_is_space(*at)) at++;
        if (at >= end) return NULL;
        const char *stop = at;
        while (stop < end && !nn_is_space(*stop)) stop++;
        *n = (size_t)(stop - at);
    }
    *text = at + *n;
    return at;
}

enum nn_cut nn_vocab_cut(const struct nn_vocab *v) {
    return strcmp(v->kind, "characters") == 0 ? NN_CUT_CHARACTERS : NN_CUT_WORDS;
}

/* ---- counting ---- */

struct counts {
    struct nn_env *env;
    const struct nn_data_reader *reader;
    const struct nn_vocab *vocab;
    struct nn_words words; /* in the order of their first appearance */
    int64_t *n;
    int64_t cap;
};

static bool count_word(void *context, const char *word, size_t n) {
    struct counts *c = context;
    if (n == 0 || memchr(word, 0, n)) return true; /* a NUL can be no word: words are C strings */
    int32_t number = nn_words_find(&c->words, word, n);
    if (number > 1) {
        c->n[number - 2]++;
        return true;
    }
    if (c->words.n == c->cap) {
        int64_t cap = c->cap ? 2 * c->cap : 64, *more = nn_grow(c->env, c->n, (size_t)cap * sizeof *more);
        if (!more) return false;
        c->n = more;
        c->cap = cap;
    }
    c->n[c->words.n] = 1;
    return nn_words_add(c->env, &c->words, word, n);
}

static bool count_piece(struct counts *c, const struct nn_pieces *p, bool trees) {
    const char *at = p->at, *word;
    size_t n;
    bool good = true;
    if (trees) return nn_tree_words(at, p->end, count_word, c);
    while (good && (word = nn_next_word(&at, p->end, p->cut, &n))) good = count_word(c, word, n);
    return good;
}

static bool count_file(struct counts *c, const char *path, enum nn_cut cut) {
    struct nn_pieces p;
    bool good = nn_pieces_open(c->env, &p, path, cut), trees = false;
    int more = 0;
    while (good && (more = nn_pieces_next(c->env, &p)) > 0) {
        if (p.place == 0) trees = cut == NN_CUT_WORDS && nn_tree_looks_like(p.at, p.end);
        good = count_piece(c, &p, trees);
    }
    if (p.fault >= 0) {
        nn_fail(c->env, NN_BAD_INPUT, "%s:%" PRId64 ": byte %" PRId64 " of the file is not UTF-8 (vocab %s, %s:%" PRId64 ")",
                path, p.line, p.fault, c->vocab->name, c->reader->program->source, c->vocab->line);
    }
    nn_pieces_close(c->env, &p);
    return good && more == 0;
}

static bool count_path(struct counts *c, const char *path, enum nn_cut cut) {
    if (!nn_is_folder(path)) return count_file(c, path, cut);
    int64_t n;
    char **names = nn_folder_names(c->env, path, &n);
    bool good = names != NULL;
    for (int64_t i = 0; good && i < n; i++) {
        char *inside = nn_path_join(c->env, path, names[i]);
        good = inside && (nn_is_folder(inside) || (nn_folder_file(c->env, inside) && count_file(c, inside, cut)));
        nn_free(c->env, inside);
    }
    if (names) nn_names_free(c->env, names, n);
    return good;
}

struct ranked {
    int64_t count, first; /* first: place of the first appearance */
};

static int by_rank(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return x->first < y->first ? -1 : 1;
}

/* The most frequent words, at most `most`. */
static bool rank(struct counts *c, int64_t most, struct nn_words *words) {
    struct ranked *r = nn_alloc_n(c->env, c->words.n, sizeof *r);
    bool good = r != NULL;
    for (int64_t i = 0; good && i < c->words.n; i++) r[i] = (struct ranked){c->n[i], i};
    if (good) qsort(r, (size_t)c->words.n, sizeof *r, by_rank);
    for (int64_t i = 0; good && i < c->words.n && i < most; i++) {
        const char *word = c->words.words[r[i].first];
        good = nn_words_add(c->env, words, word, strlen(word));
    }
    nn_free(c->env, r);
    return good;
}

static bool make_words(struct nn_data_reader *r, const struct nn_vocab *v, struct nn_words *words) {
    struct nn_env *env = r->env;
    bool good = true;
    if (strcmp(v->kind, "list") == 0) {
        for (int64_t i = 0; good && i < v->n_files; i++) good = nn_words_add(env, words, v->files[i], strlen(v->files[i]));
        return good;
    }
    struct counts c = {.env = env, .reader = r, .vocab = v};
    for (int64_t i = 0; good && i < v->n_files; i++) {
        char *path = nn_find_file(env, &r->folders, v->files[i]);
        if (!path) {
            struct nn_text looked = {0};
            nn_text_folders(env, &looked, NULL, &r->folders);
            nn_fail(env, NN_BAD_INPUT, "%s: there is no such file; %s (vocab %s, %s:%" PRId64 ")", v->files[i],
                    nn_text_str(&looked), v->name, r->program->source, v->line);
            nn_text_free(env, &looked);
        }
        good = path && nn_data_note(r, path) && count_path(&c, path, nn_vocab_cut(v));
        nn_free(env, path);
    }
    if (good && c.words.n == 0) { /* whatever is read would be unknown, and nothing learnt */
        nn_fail(env, NN_BAD_INPUT, "%s%s: there are no %s (vocab %s, %s:%" PRId64 ")", v->files[0],
                v->n_files > 1 ? " and the others" : "", v->kind, v->name, r->program->source, v->line);
        good = false;
    }
    good = good && rank(&c, v->size > 0 ? v->size - 2 : INT64_MAX, words);
    nn_words_free(env, &c.words);
    nn_free(env, c.n);
    return good;
}

const struct nn_words *nn_data_words(struct nn_data_reader *r, int64_t i) {
    if (r->words_made[i]) return &r->words[i];
    if (!make_words(r, &r->program->vocabs[i], &r->words[i])) return NULL;
    r->words_made[i] = true;
    return &r->words[i];
}
