/*
 * data.c - reading of columns and data sets: finds the files, calls the loader of the field, checks what all loaders must check.
 */
#include "data.h"
#include "file.h"
#include "shuffle.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The order of `shuffle` on a data set: any fixed key will do. */
enum { FIXED_ORDER = 0x6f72646572 };

/* Decoders of pictures are large: programs that read none do not link them (picture.h says how they are asked for). */
nn_loader_fn nn_load_images __attribute__((weak));

static const struct {
    const char *kind;
    nn_loader_fn *load;
} kinds[] = {
    {"idx", nn_load_idx},
    {"csv", nn_load_csv},
    {"npy", nn_load_npy},
    {"npz", nn_load_npz},
    {"safetensors", nn_load_safetensors},
    {"cifar", nn_load_cifar},
    {"text", nn_load_text},
    {"lines", nn_load_lines},
    {"words", nn_load_words},
    {"trees", nn_load_trees},
    {"images", nn_load_images},
};

/* The loader for a file by its suffix, where the source names none. */
static const char *kind_of_suffix(const char *path) {
    char suffix[8];
    nn_path_suffix_unpacked(path, suffix);
    static const char *const by_suffix[][2] = {{"npy", "npy"},    {"csv", "csv"},    {"txt", "text"},
                                               {"png", "images"}, {"jpg", "images"}, {"jpeg", "images"}};
    for (size_t i = 0; i < sizeof by_suffix / sizeof by_suffix[0]; i++) {
        if (strcmp(suffix, by_suffix[i][0]) == 0) return by_suffix[i][1];
    }
    return NULL;
}

void nn_column_free(struct nn_env *env, struct nn_column *c) {
    nn_free(env, c->at);
    *c = (struct nn_column){0};
}

/* ---- where files are ---- */

char *nn_find_file(struct nn_env *env, const struct nn_folders *f, const char *name) {
    const char *const folders[] = {f->given, f->environment, f->source};
    for (int i = 0; i < 3; i++) {
        if (!folders[i] && name[0] != '/') continue;
        char *path = nn_path_join(env, folders[i], name);
        if (!path) return NULL;
        if (nn_is_file(path) || nn_is_folder(path)) return path;
        nn_free(env, path);
    }
    return NULL;
}

void nn_text_folders(struct nn_env *env, struct nn_text *t, const char *first, const struct nn_folders *f) {
    const char *const folders[] = {first, f->given, f->environment, f->source};
    const char *before = "looked in ";
    for (int i = 0; i < 4; i++) {
        if (!folders[i]) continue;
        nn_text_printf(env, t, "%s%s", before, folders[i]);
        before = ", ";
    }
    if (!f->given) nn_text_add(env, t, "; --data=DIR names another folder");
}

/* ---- what loaders use ---- */

bool nn_load_fail(struct nn_load *l, int64_t line, const char *format, ...) {
    char message[2000];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    struct nn_text t = {0};
    nn_text_add(l->env, &t, l->path ? l->path : l->name);
    if (line > 0) nn_text_printf(l->env, &t, ":%" PRId64, line);
    nn_text_printf(l->env, &t, ": %s", message);
    if (l->line > 0)
        nn_text_printf(l->env, &t, " (%s, %s:%" PRId64 ")", l->what, l->reader->program->source, l->line);
    else
        nn_text_printf(l->env, &t, " (%s)", l->what);
    nn_fail(l->env, NN_BAD_INPUT, "%s", nn_text_str(&t));
    nn_text_free(l->env, &t);
    return false;
}

int64_t nn_load_sample(const struct nn_load *l) { return nn_count(l->dims, l->n_dims); }

const struct nn_arg *nn_load_arg(const struct nn_load *l, const char *name) {
    for (int64_t i = 0; i < l->loader->n_args; i++) {
        if (strcmp(l->loader->args[i].name, name) == 0) return &l->loader->args[i];
    }
    return NULL;
}

bool nn_load_check_type(struct nn_load *l, int64_t elem, const int64_t *dims, int64_t n_dims, int64_t *samples) {
    bool one = l->input && n_dims == l->n_dims; /* a single sample without the batch's dimension */
    bool same = elem == l->elem && (one || n_dims == l->n_dims + 1);
    for (int64_t i = 0; same && i < l->n_dims; i++) same = dims[i + !one] == l->dims[i];
    if (same) {
        *samples = one ? 1 : dims[0];
        return true;
    }
    struct nn_text want = {0}, found = {0};
    nn_text_type(l->env, &want, l->elem, l->dims, l->n_dims);
    nn_text_type(l->env, &found, elem, dims, n_dims);
    nn_load_fail(l, 0, "expected samples of type %s, found %s", nn_text_str(&want), nn_text_str(&found));
    nn_text_free(l->env, &want);
    nn_text_free(l->env, &found);
    return false;
}

bool nn_load_truncated(struct nn_load *l, int64_t samples, int64_t found) {
    int64_t all;
    bool fits = nn_product(samples, l->column->bytes, &all);
    char in_all[40] = "";
    if (fits) snprintf(in_all, sizeof in_all, " (%" PRId64 " bytes)", all);
    return nn_load_fail(l, 0, "truncated: %" PRId64 " samples of %" PRId64 " bytes expected%s, found %" PRId64 " bytes", samples,
                        l->column->bytes, in_all, found);
}

/* The first time exactly what is asked for (files with a header say how much comes); later by half as much again, so that
 * appending sample by sample stays linear. */
char *nn_load_room(struct nn_load *l, int64_t more) {
    struct nn_column *c = l->column;
    int64_t used, need;
    if (!nn_product(c->count, c->stride, &used) || !nn_product(more, c->stride, &need) || used > INT64_MAX / 4 ||
        need > INT64_MAX / 4) {
        nn_no_memory(l->env, SIZE_MAX);
        return NULL;
    }
    if (used + need > c->cap || !c->at) {
        int64_t cap = c->at && used + need < c->cap + c->cap / 2 ? c->cap + c->cap / 2 : used + need;
        char *at = nn_grow(l->env, c->at, (size_t)(cap > 0 ? cap : 1));
        if (!at) return NULL;
        nn_huge_pages(at, (size_t)cap);
        c->at = at;
        c->cap = cap;
    }
    return c->at + used;
}

/* The largest and the smallest number of an integer type. */
static void integer_range(int64_t elem, double *least, double *most) {
    *least = elem == NN_I32 ? INT32_MIN : elem == NN_I64 ? -0x1p63 : 0;
    *most = elem == NN_I32 ? INT32_MAX : elem == NN_I64 ? 0x1p63 - 1024 : elem == NN_U8 ? 255 : 1;
}

/* A number of digits alone goes to i64 as it is: beyond 2^53 a double would round. False: it does not fit. */
static bool read_i64(const char *digits, int64_t *value) {
    errno = 0;
    *value = strtoll(digits, NULL, 10);
    return errno == 0;
}

bool nn_load_number(struct nn_load *l, int64_t line, const char *text, size_t n, void *at, int64_t i) {
    while (n > 0 && (*text == ' ' || *text == '\t')) text++, n--;
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t')) n--;
    char digits[64];
    size_t long_enough = n < sizeof digits ? n : sizeof digits - 1;
    memcpy(digits, text, long_enough);
    digits[long_enough] = 0;
    char *end = digits;
    double value = 0;
    if (n > 0 && n < sizeof digits && strspn(digits, "+-.0123456789eE") == n)
        value = strtod(digits, &end); /* so neither nan, inf nor hexadecimal */
    if (end == digits || *end) return nn_load_fail(l, line, "expected a number, found '%.40s'%s", digits, n > 40 ? "..." : "");
    if (l->elem == NN_F32 || l->elem == NN_F64) {
        if (isinf(l->elem == NN_F32 ? (double)(float)value : value))
            return nn_load_fail(l, line, "%s is too large for %s", digits, nn_elem_name(l->elem));
        nn_value_put(at, l->elem, i, value);
        return true;
    }
    double least, most;
    integer_range(l->elem, &least, &most);
    if (value != floor(value))
        return nn_load_fail(l, line, "expected a whole number for %s, found %s", nn_elem_name(l->elem), digits);
    bool exact = l->elem == NN_I64 && !strpbrk(digits, ".eE");
    if (exact ? !read_i64(digits, (int64_t *)at + i) : value < least || value > most)
        return nn_load_fail(l, line, "%s is out of the range of %s", digits, nn_elem_name(l->elem));
    if (!exact) nn_value_put(at, l->elem, i, value);
    return true;
}

/* ---- folders ---- */

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

void nn_names_free(struct nn_env *env, char **names, int64_t n) {
    for (int64_t i = 0; i < n; i++) nn_free(env, names[i]);
    nn_free(env, names);
}

char **nn_folder_names(struct nn_env *env, const char *path, int64_t *n) {
    DIR *folder = opendir(path);
    if (!folder) {
        nn_fail(env, NN_BAD_INPUT, "%s: cannot be read: %s", path, strerror(errno));
        return NULL;
    }
    int64_t cap = 16;
    char **names = nn_alloc_n(env, cap, sizeof *names);
    *n = 0;
    for (struct dirent *e; names && (e = readdir(folder));) {
        if (e->d_name[0] == '.') continue;
        if (*n == cap) {
            char **more = nn_grow(env, names, (size_t)(cap *= 2) * sizeof *names);
            if (!more) goto failed;
            names = more;
        }
        names[*n] = nn_copy_string(env, e->d_name);
        if (!names[*n]) goto failed;
        ++*n;
    }
    closedir(folder);
    if (names) qsort(names, (size_t)*n, sizeof *names, by_name);
    return names;
failed:
    closedir(folder);
    nn_names_free(env, names, *n);
    return NULL;
}

bool nn_folder_file(struct nn_env *env, const char *path) {
    struct stat s;
    if (stat(path, &s) != 0 || S_ISREG(s.st_mode) || S_ISDIR(s.st_mode)) return true;
    return nn_fail(env, NN_BAD_INPUT, "%s: this is %s: a folder of data holds files", path,
                   S_ISFIFO(s.st_mode)   ? "a pipe"
                   : S_ISSOCK(s.st_mode) ? "a socket"
                                         : "a device");
}

/* ---- columns ---- */

/* Files are opened and unpacked by functions that know of no field: whose file it was is added to what they say. Returns false.
 */
static bool name_field(struct nn_load *l) {
    struct nn_error *e = &l->env->error;
    size_t n = strlen(e->text);
    if (e->status != NN_BAD_INPUT || strstr(e->text, l->what)) return false;
    if (l->line > 0)
        snprintf(e->text + n, sizeof e->text - n, " (%s, %s:%" PRId64 ")", l->what, l->reader->program->source, l->line);
    else
        snprintf(e->text + n, sizeof e->text - n, " (%s)", l->what);
    return false;
}

bool nn_data_note(struct nn_data_reader *r, const char *path) {
    struct stat s;
    if (stat(path, &s) != 0 || !S_ISREG(s.st_mode)) return true; /* a text in place of a file, a pipe, a tree of pictures */
    if (r->n_files == r->cap_files) {
        int64_t cap = r->cap_files ? 2 * r->cap_files : 16;
        struct nn_file_id *more = nn_grow(r->env, r->files, (size_t)cap * sizeof *more);
        if (!more) return false;
        r->files = more;
        r->cap_files = cap;
    }
    r->files[r->n_files++] = (struct nn_file_id){(uint64_t)s.st_dev, (uint64_t)s.st_ino};
    return true;
}

bool nn_data_has_read(const struct nn_data_reader *r, const char *path) {
    struct stat s;
    bool there = stat(path, &s) == 0;
    for (int64_t i = 0; there && i < r->n_files; i++)
        if (r->files[i].device == (uint64_t)s.st_dev && r->files[i].inode == (uint64_t)s.st_ino) return true;
    return false;
}

/* Calls the loader for one file; a folder stands for its files, but to `images`, which reads its tree itself. */
static bool load_file(struct nn_load *l, const char *path, const char *kind) {
    nn_loader_fn *load = NULL;
    bool known = false;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kind, kinds[i].kind) == 0) load = kinds[i].load, known = true;
    }
    l->path = path;
    if (!known) return nn_load_fail(l, 0, "there is no loader `%s`", kind);
    if (!load) return nn_load_fail(l, 0, "this program was linked without the decoders of pictures");
    if (!nn_is_folder(path) || strcmp(kind, "images") == 0) {
        bool good = nn_data_note(l->reader, path) && load(l);
        l->file++;
        return good;
    }
    int64_t n;
    char **names = nn_folder_names(l->env, path, &n);
    bool good = names != NULL;
    l->in_folder = true;
    for (int64_t i = 0; good && i < n; i++) {
        char *inside = nn_path_join(l->env, path, names[i]);
        good = inside != NULL;
        if (good && nn_is_file(inside)) {
            l->path = inside;
            good = nn_folder_file(l->env, inside) && nn_data_note(l->reader, inside) && load(l);
            l->file++;
        }
        nn_free(l->env, inside);
    }
    if (names) nn_names_free(l->env, names, n);
    l->in_folder = false;
    return good;
}

bool nn_load_column(struct nn_load *l, const char *const *values, int64_t n_values) {
    struct nn_env *env = l->env;
    bool own = n_values == 0;
    int64_t n = own ? l->loader->n_files : n_values;
    l->column->bytes = l->column->stride = nn_load_sample(l) * nn_elem_size(l->elem);
    l->files = n;
    for (int64_t i = 0; i < n; i++) {
        l->name = own ? l->loader->files[i] : values[i];
        l->path = NULL;
        char *path = own ? nn_find_file(env, &l->reader->folders, l->name) : nn_copy_string(env, l->name);
        if (!path && env->error.status == 0) {
            struct nn_text looked = {0};
            nn_text_folders(env, &looked, NULL, &l->reader->folders);
            nn_load_fail(l, 0, "there is no such file; %s", nn_text_str(&looked));
            nn_text_free(env, &looked);
        }
        if (!path) return false;
        const char *kind = l->loader->kind ? l->loader->kind : kind_of_suffix(path);
        bool good = kind ? load_file(l, path, kind)
                         : nn_load_fail(l, 0, "its suffix does not say how to read it: .npy .png .jpg .csv or .txt");
        nn_free(env, path);
        if (!good) return name_field(l);
    }
    return true;
}

/* ---- sets ---- */

bool nn_data_reader_begin(struct nn_env *env, struct nn_data_reader *r, const struct nn_program *program,
                          const struct nn_folders *f) {
    *r = (struct nn_data_reader){.env = env, .program = program, .folders = *f};
    r->words = nn_alloc_n(env, program->n_vocabs, sizeof *r->words);
    r->words_made = nn_alloc_n(env, program->n_vocabs, sizeof *r->words_made);
    return r->words && r->words_made;
}

void nn_data_reader_end(struct nn_data_reader *r) {
    for (int64_t i = 0; r->words && i < r->program->n_vocabs; i++) nn_words_free(r->env, &r->words[i]);
    nn_free(r->env, r->words);
    nn_free(r->env, r->words_made);
    nn_free(r->env, r->files);
}

/* A column that stayed empty, and why as far as its first file tells. Returns false. */
static bool no_samples(struct nn_load *l) {
    const char *name = l->loader->n_files > 0 ? l->loader->files[0] : l->reader->program->source;
    char *path = nn_find_file(l->env, &l->reader->folders, name);
    struct stat s;
    int64_t n = 0;
    char **names = path && nn_is_folder(path) ? nn_folder_names(l->env, path, &n) : NULL;
    bool folder = names != NULL, empty = path && stat(path, &s) == 0 && S_ISREG(s.st_mode) && s.st_size == 0;
    if (names) nn_names_free(l->env, names, n);
    l->path = path;
    nn_load_fail(l, 0, "there are no samples in it%s",
                 empty             ? ": the file is empty"
                 : folder && n > 0 ? ": none of the files in this folder holds any"
                 : folder          ? ": this is a folder without files"
                                   : "");
    l->path = NULL;
    nn_free(l->env, path);
    return false;
}

/* Reads field i into its column. */
static bool read_field(struct nn_data_reader *r, struct nn_set *set, int64_t i) {
    const struct nn_field *f = &set->data->fields[i];
    struct nn_text what = {0};
    nn_text_printf(r->env, &what, "field %s.%s", set->data->name, f->name);
    bool good = nn_text_ok(r->env, &what);
    struct nn_load l = {.env = r->env,
                        .reader = r,
                        .what = nn_text_str(&what),
                        .line = f->loader_line,
                        .elem = f->elem,
                        .dims = f->dims,
                        .n_dims = f->n_dims,
                        .loader = f->loader,
                        .column = &set->columns[i]};
    if (good) good = nn_load_column(&l, NULL, 0);
    if (good && set->columns[i].count == 0) good = no_samples(&l);
    nn_text_free(r->env, &what);
    return good;
}

bool nn_set_read(struct nn_data_reader *r, struct nn_set *set, const struct nn_data *data, int64_t n_columns, bool shuffle) {
    struct nn_env *env = r->env;
    *set = (struct nn_set){.data = data};
    set->columns = nn_alloc_n(env, n_columns, sizeof *set->columns);
    if (!set->columns) return false;
    set->n_columns = n_columns;
    for (int64_t i = 0; i < n_columns; i++) {
        if (!read_field(r, set, i)) return false;
        int64_t first = set->columns[0].count, count = set->columns[i].count;
        if (count != first) {
            return nn_fail(env, NN_BAD_INPUT,
                           "data set %s (%s:%" PRId64 "): the field %s has %" PRId64 " sample%s (%s), the field %s has %" PRId64
                           " (%s)",
                           data->name, r->program->source, data->line, data->fields[0].name, first, first == 1 ? "" : "s",
                           data->fields[0].loader->files[0], data->fields[i].name, count, data->fields[i].loader->files[0]);
        }
    }
    set->count = set->columns[0].count;
    if (set->count > UINT32_MAX)
        return nn_fail(env, NN_BAD_INPUT, "data set %s: more than %" PRIu32 " samples", data->name, UINT32_MAX);
    if (shuffle) {
        set->order = nn_alloc_n(env, set->count, sizeof *set->order);
        if (!set->order) return false;
        for (int64_t i = 0; i < set->count; i++) set->order[i] = (uint32_t)i;
        nn_shuffle(set->order, (uint32_t)set->count, FIXED_ORDER);
    }
    return true;
}

void nn_set_free(struct nn_env *env, struct nn_set *set) {
    for (int64_t i = 0; i < set->n_columns; i++) nn_column_free(env, &set->columns[i]);
    nn_free(env, set->columns);
    nn_free(env, set->order);
    *set = (struct nn_set){0};
}
