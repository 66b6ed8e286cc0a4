/*
 * data.h - data sets in memory. A field of a set is a column: samples of one type and size, as the loader of the field has read
 * them. Loaders are one file each (load_*.c); what they share is here.
 */
#ifndef NN_DATA_H
#define NN_DATA_H

#include "abi.h"
#include "env.h"
#include "file.h"
#include "value.h"

/* Samples of equal size. Sample i lies at `at + i * stride` and has `bytes` bytes: windows over a text overlap (stride < bytes).
 */
struct nn_column {
    char *at;
    int64_t count; /* samples */
    int64_t bytes, stride;
    int64_t cap; /* bytes that `at` has room for */
};
void nn_column_free(struct nn_env *env, struct nn_column *c);

/* ---- words ---- */

/* A vocabulary: number 2 is words[0]; 0 pads, 1 is unknown. */
struct nn_words {
    char **words;
    int64_t n;
    int32_t *table; /* open addressing: index into words + 1, 0: free; a power of two places */
    int64_t places;
};
enum nn_cut { NN_CUT_WORDS, NN_CUT_CHARACTERS }; /* how a text becomes words */
/* The number of a word: 2..., or 1. */
int32_t nn_words_find(const struct nn_words *w, const char *word, size_t n);
bool nn_words_add(struct nn_env *env, struct nn_words *w, const char *word, size_t n);
void nn_words_free(struct nn_env *env, struct nn_words *w);
/* Cuts the next word off a text: its start, and *n its length; NULL at the end. Words are what stands between spaces and tabs,
 * characters are UTF-8 code points. The text is UTF-8: whoever reads it has asked nn_utf8_fault. */
const char *nn_next_word(const char **text, const char *end, enum nn_cut cut, size_t *n);
/* Space, tab, end of a line. */
bool nn_is_space(char c);
/* A text from a file, a piece at a time. */
struct nn_pieces {
    struct nn_reader file;
    enum nn_cut cut;      /* no word, or no character, stands in two pieces */
    const char *at, *end; /* the piece at hand, without a byte order mark */
    int64_t place, line;  /* of the file, where it begins: its byte, and its line from 1 */
    int64_t fault;        /* the byte of the file that is not UTF-8, then in that line; -1: none */
    char *text;           /* what was read: n bytes are of the piece at hand, the others up to `held` of the next */
    int64_t n, held, cap;
};
bool nn_pieces_open(struct nn_env *env, struct nn_pieces *p, const char *path, enum nn_cut cut);
/* 1: there is a piece, 0: the end, -1: failed, or `fault` says where the text is not UTF-8, which is the caller's to say. */
int nn_pieces_next(struct nn_env *env, struct nn_pieces *p);
void nn_pieces_close(struct nn_env *env, struct nn_pieces *p);
enum nn_cut nn_vocab_cut(const struct nn_vocab *v);

/* ---- where files are ---- */

struct nn_folders {
    const char *given;       /* --data */
    const char *environment; /* $NNC_DATA */
    const char *source;      /* folder of the program */
};
/* The path of a data file, looked for in the three folders in order; NULL: it is nowhere, or no memory (then an error is noted).
 */
char *nn_find_file(struct nn_env *env, const struct nn_folders *f, const char *name);
/* "looked in A, B" for the message; first: where else before the three folders, or NULL. */
void nn_text_folders(struct nn_env *env, struct nn_text *t, const char *first, const struct nn_folders *f);

/* ---- loaders ---- */

struct nn_data_reader { /* what all loaders of a run share */
    struct nn_env *env;
    const struct nn_program *program;
    struct nn_folders folders;
    struct nn_file_id {
        uint64_t device, inode;
    } *files; /* n_files that were read so far, and room for cap_files */
    int64_t n_files, cap_files;
    struct nn_words *words; /* one a vocabulary of the program; made when first asked for */
    bool *words_made;
};
bool nn_data_reader_begin(struct nn_env *env, struct nn_data_reader *r, const struct nn_program *program,
                          const struct nn_folders *f);
void nn_data_reader_end(struct nn_data_reader *r);
/* Keeps in mind that the file is read. */
bool nn_data_note(struct nn_data_reader *r, const char *path);
/* Is it, by whatever name, a file that was read for a field, an input or a vocabulary? */
bool nn_data_has_read(const struct nn_data_reader *r, const char *path);
/* The words of vocabulary i, read from its files if need be; NULL: failed. */
const struct nn_words *nn_data_words(struct nn_data_reader *r, int64_t i);

/* One job of a loader: the type of a sample, the arguments, the file at hand. */
struct nn_load {
    struct nn_env *env;
    struct nn_data_reader *reader;
    const char *what; /* "training.image", "--image" */
    int64_t line;     /* of the source; 0: none */
    int64_t elem;
    const int64_t *dims; /* of one sample */
    int64_t n_dims;
    const struct nn_loader *loader;
    const char *path; /* the file at hand */
    const char *name; /* as the program names it */
    int64_t file;     /* its number among the files of the loader, 0... */
    int64_t files;
    bool in_folder;           /* a folder was named, and the file at hand is one in it */
    int64_t elements;         /* load_text.c: of all files so far */
    bool input;               /* of a command, not of a data set */
    const char *text;         /* an input that is the text itself, not a file; else NULL */
    struct nn_column *column; /* where the samples go: loaders append */
};

typedef bool nn_loader_fn(struct nn_load *l);

/* Reads all files of a field or an input into a column. `values`: file names given instead of the loader's own (an input),
 * n_values of them. */
bool nn_load_column(struct nn_load *l, const char *const *values, int64_t n_values);

/* For loaders. nn_load_fail: "FILE[:line]: message (field NAME, program.nn:12)". */
bool nn_load_fail(struct nn_load *l, int64_t line, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* ... "expected u8[28, 28], found u8[60000, 32, 32]": the shape of the file without its first dimension must be that of a sample.
 * found: with the first. */
bool nn_load_check_type(struct nn_load *l, int64_t elem, const int64_t *dims, int64_t n_dims, int64_t *samples);
/* "truncated: 3 samples of 6 bytes expected (18 bytes), found 5" */
bool nn_load_truncated(struct nn_load *l, int64_t samples, int64_t found);
/* Room for `more` samples behind those there are. */
char *nn_load_room(struct nn_load *l, int64_t more);
int64_t nn_load_sample(const struct nn_load *l);                             /* elements of one sample */
const struct nn_arg *nn_load_arg(const struct nn_load *l, const char *name); /* NULL: not given */
/* A number read from a text, into element i of `at`, if the type can hold it; else a message with the line. */
bool nn_load_number(struct nn_load *l, int64_t line, const char *text, size_t n, void *at, int64_t i);
/* A file that is found in a folder is read if it is one: a pipe or a device there would be waited for, or never end. False after an error. (One that is named
 * itself may be anything.) */
bool nn_folder_file(struct nn_env *env, const char *path);
/* Names in a folder, sorted by bytes, hidden ones left out; NULL: failed. Free each and the list. */
char **nn_folder_names(struct nn_env *env, const char *path, int64_t *n);
void nn_names_free(struct nn_env *env, char **names, int64_t n);

/* The vocabulary that the argument vocab= names: *words NULL where there is none. */
bool nn_load_vocab(struct nn_load *l, const struct nn_words **words, enum nn_cut *cut);

nn_loader_fn nn_load_idx, nn_load_csv, nn_load_npy, nn_load_npz, nn_load_safetensors, nn_load_cifar, nn_load_text, nn_load_lines,
    nn_load_words, nn_load_trees, nn_load_images;

/* ---- sets ---- */

struct nn_set {
    const struct nn_data *data;
    struct nn_column *columns; /* n_columns: as many fields as the command uses; 0: the set is not used */
    int64_t n_columns;
    int64_t count;
    uint32_t *order; /* `shuffle` on the set: sample i of the set is sample order[i] of the files; NULL: as in the files */
};
/* Reads the first n_columns fields; checks that all have the same number of samples, and that there are any. */
bool nn_set_read(struct nn_data_reader *r, struct nn_set *set, const struct nn_data *data, int64_t n_columns, bool shuffle);
void nn_set_free(struct nn_env *env, struct nn_set *set);

#endif
