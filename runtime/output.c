/*
 * output.c - the outputs of a command: printed, a line a sample, or written to files; and tensors as .npy, .png, .csv, .txt.
 */
#include "file.h"
#include "picture.h"
#include "run.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_DIMS = 32, DIGITS = 7, SHORT_SAMPLE = 64, SHORT_ALL = 1000 };

/* Only in programs that ask for it: see picture.h. */
bool nn_png_write(struct nn_env *env, const char *path, const struct nn_picture *p) __attribute__((weak));

struct array {
    const void *at;
    int64_t elem;
    const int64_t *dims;
    int64_t n_dims;
};

/* ---- .npy ---- */

static bool write_npy(struct nn_env *env, const char *path, const struct array *a) {
    static const char *const descr[] = {
        [NN_F32] = "<f4", [NN_F64] = "<f8", [NN_I32] = "<i4", [NN_I64] = "<i8", [NN_U8] = "|u1", [NN_BOOL] = "|b1"};
    struct nn_text header = {0};
    struct nn_writer w;
    nn_text_printf(env, &header, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr[a->elem]);
    for (int64_t d = 0; d < a->n_dims; d++)
        nn_text_printf(env, &header, "%s%" PRId64 "%s", d ? " " : "", a->dims[d], d + 1 < a->n_dims || a->n_dims == 1 ? "," : "");
    nn_text_add(env, &header, "), }");
    while ((10 + header.n + 1) % 64 != 0 && !header.bad)
        nn_text_add(env, &header, " "); /* the elements begin at a multiple of 64 */
    nn_text_add(env, &header, "\n");
    bool good = nn_text_ok(env, &header) && nn_write_begin(env, &w, path);
    if (good) {
        unsigned char head[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)header.n, (unsigned char)(header.n >> 8)};
        size_t bytes = (size_t)(nn_count(a->dims, a->n_dims) * nn_elem_size(a->elem));
        good = nn_write(env, &w, head, 10) && nn_write(env, &w, header.at, header.n) && nn_write(env, &w, a->at, bytes);
        good = nn_write_end(env, &w, good);
    }
    nn_text_free(env, &header);
    return good;
}

/* ---- .csv, .txt ---- */

/* Rows of the last dimension but for a vector, which is a column. Reals have as many digits as they need to be read back exactly.
 */
static bool write_csv(struct nn_env *env, const char *path, const struct array *a) {
    struct nn_text t = {0};
    int64_t width = a->n_dims > 1 ? a->dims[a->n_dims - 1] : 1, n = nn_count(a->dims, a->n_dims);
    for (int64_t i = 0; i < n; i++) {
        nn_text_number(env, &t, a->at, a->elem, i, a->elem == NN_F64 ? 17 : 9, NN_PLAIN);
        nn_text_add_n(env, &t, (i + 1) % width == 0 ? "\n" : ",", 1);
    }
    bool good = nn_text_ok(env, &t) && nn_write_file(env, path, nn_text_str(&t), t.n);
    nn_text_free(env, &t);
    return good;
}

/* ---- .png ---- */

/* [H, W], [H, W, 3]; leading dimensions are stacked downwards. f32 is clipped to 0..1. */
static bool write_png(struct nn_env *env, const char *path, const struct array *a) {
    bool colour = a->n_dims >= 3 && a->dims[a->n_dims - 1] == 3, one = a->n_dims >= 3 && a->dims[a->n_dims - 1] == 1;
    int64_t tail = colour || one ? 2 : 1, n = nn_count(a->dims, a->n_dims);
    if (!nn_png_write || a->n_dims < 2)
        return nn_fail(env, NN_RUNTIME, "%s: this tensor is no picture", path); /* check_kind has said so before the run */
    struct nn_picture p = {.width = a->dims[a->n_dims - tail], .channels = colour ? 3 : 1};
    p.height = p.width > 0 ? n / (p.width * p.channels) : 0;
    p.at = nn_alloc_n(env, n, 1);
    if (!p.at) return false;
    for (int64_t i = 0; i < n; i++) {
        double v = nn_value_at(a->at, a->elem, i);
        if (a->elem == NN_F32 || a->elem == NN_F64)
            v = v > 0 ? 255 * (v < 1 ? v : 1) : 0; /* NaN is black */
        else if (a->elem == NN_BOOL)
            v *= 255;
        p.at[i] = (unsigned char)(v < 0 ? 0 : v > 255 ? 255 : nearbyint(v));
    }
    bool good = nn_png_write(env, path, &p);
    nn_free(env, p.at);
    return good;
}

/* ---- text ---- */

/* What a loader of text would read as these numbers: bytes up to the first 0, or words. */
static void text_sample(struct nn_run *r, struct nn_text *t, const struct nn_loader *loader, const void *at, int64_t elem,
                        int64_t n) {
    const struct nn_words *words = NULL;
    enum nn_cut cut = NN_CUT_CHARACTERS;
    for (int64_t i = 0; i < loader->n_args; i++) {
        if (strcmp(loader->args[i].name, "vocab") != 0) continue;
        words = nn_data_words(&r->reader, loader->args[i].i);
        cut = nn_vocab_cut(&r->program->vocabs[loader->args[i].i]);
        if (!words) return;
    }
    bool first = true;
    for (int64_t i = 0; i < n; i++) {
        int64_t v = (int64_t)nn_value_at(at, elem, i);
        if (v == 0) break;
        if (!words) {
            char byte = (char)v;
            nn_text_add_n(r->env, t, &byte, 1);
        } else {
            if (!first && cut == NN_CUT_WORDS) nn_text_add(r->env, t, " ");
            nn_text_add(r->env, t, v >= 2 && v - 2 < words->n ? words->words[v - 2] : "<unknown>");
        }
        first = false;
    }
}

static bool is_text(const struct nn_io *io) {
    static const char *const kinds[] = {"text", "lines", "words"};
    for (int i = 0; i < 3; i++) {
        if (io->loader && io->loader->kind && strcmp(io->loader->kind, kinds[i]) == 0) return true;
    }
    return false;
}

/* Numbers as they are printed, or texts: one sample a line. */
static bool write_txt(struct nn_run *r, const char *path, const struct array *a, const struct nn_io *io) {
    struct nn_text t = {0};
    bool text = io && is_text(io);
    int64_t rows = a->n_dims > 0 && !(text && a->n_dims == 1) ? a->dims[0] : 1,
            n = rows > 0 ? nn_count(a->dims, a->n_dims) / rows : 0;
    for (int64_t i = 0; i < rows; i++) {
        const char *at = (const char *)a->at + i * n * nn_elem_size(a->elem);
        if (text) text_sample(r, &t, io->loader, at, a->elem, n);
        for (int64_t k = 0; !text && k < n; k++) {
            if (k > 0) nn_text_add(r->env, &t, " ");
            nn_text_number(r->env, &t, at, a->elem, k, a->elem == NN_F64 ? 17 : 9, NN_PLAIN);
        }
        nn_text_add(r->env, &t, "\n");
    }
    bool good = r->env->error.status == 0 && nn_text_ok(r->env, &t) && nn_write_file(r->env, path, nn_text_str(&t), t.n);
    nn_text_free(r->env, &t);
    return good;
}

/* ---- by suffix ---- */

/* How a tensor is written, by the suffix of the file. */
enum form { NPY, CSV, PNG, TXT, NO_FORM };
static enum form form_of(const char *path) {
    static const char *const suffixes[NO_FORM] = {"npy", "csv", "png", "txt"};
    char suffix[8];
    nn_path_suffix(path, suffix);
    int form = 0;
    while (form < NO_FORM && strcmp(suffix, suffixes[form]) != 0) form++;
    return (enum form)form;
}

static const char *why_no_form(const char *path) {
    char suffix[8];
    nn_path_suffix(path, suffix);
    return strcmp(suffix, "gz") == 0 ? "nothing is compressed when it is written: .npy .png .csv or .txt"
                                     : "its suffix does not say how to write it: .npy .png .csv or .txt";
}

static bool write_array(struct nn_run *r, const char *path, const struct array *a, const struct nn_io *io) {
    switch (form_of(path)) {
    case NPY: return write_npy(r->env, path, a);
    case CSV: return write_csv(r->env, path, a);
    case PNG: return write_png(r->env, path, a);
    case TXT: return write_txt(r, path, a, io);
    case NO_FORM: break;
    }
    return nn_fail(r->env, NN_RUNTIME, "%s: %s", path,
                   why_no_form(path)); /* of a graph written by hand: the compiler, or check_kind, has looked */
}

bool nn_write_tensor(struct nn_run *r, const char *path, const void *at, int64_t elem, const int64_t *dims, int64_t n_dims) {
    struct array a = {at, elem, dims, n_dims};
    return write_array(r, path, &a, NULL);
}

/* ---- outputs ---- */

/* The kind of file that the source's loader stands for. */
static const char *suffix_of(const struct nn_io *io) {
    static const char *const kinds[][2] = {
        {"images", "png"}, {"csv", "csv"}, {"text", "txt"}, {"lines", "txt"}, {"words", "txt"}};
    for (int i = 0; i < 5; i++) {
        if (io->loader && io->loader->kind && strcmp(io->loader->kind, kinds[i][0]) == 0) return kinds[i][1];
    }
    return "npy";
}

/* Where output i goes that no option of its own names a file for: COMMAND-NAME under --out. NULL: no memory. */
static char *output_path(struct nn_run *r, int64_t i) {
    const struct nn_io *io = &r->command->outputs[i];
    struct nn_text name = {0};
    nn_text_printf(r->env, &name, "%s-%s.%s", r->command->name, io->name, suffix_of(io));
    char *path = nn_text_ok(r->env, &name) ? nn_out_path(r, name.at) : NULL;
    nn_text_free(r->env, &name);
    return path;
}

static bool write_output(struct nn_run *r, int64_t i) {
    const struct nn_io *io = &r->command->outputs[i];
    const struct nn_slot *s = &r->program->slots[io->slot];
    int64_t dims[MOST_DIMS];
    nn_run_dims(r, io->slot, dims);
    struct array a = {nn_run_value(r, io->slot), s->elem, dims, s->n_dims};
    if (!a.at) return false;
    if (r->settings->outputs[i]) return write_array(r, r->settings->outputs[i], &a, io);
    char *path = output_path(r, i);
    bool good = path && write_array(r, path, &a, io);
    nn_free(r->env, path);
    return good;
}

static bool batched(const struct nn_slot *s) { return s->batch_axis == 0; }

/* Whether an output is short enough to be printed: text always is. */
static bool printable(struct nn_run *r, int64_t i) {
    const struct nn_io *io = &r->command->outputs[i];
    const struct nn_slot *s = &r->program->slots[io->slot];
    int64_t dims[MOST_DIMS];
    nn_run_dims(r, io->slot, dims);
    int64_t n = nn_count(dims, s->n_dims), samples = batched(s) ? dims[0] : 1;
    return is_text(io) || (n <= SHORT_ALL && (samples == 0 || n / samples <= SHORT_SAMPLE));
}

/* "digit 7" or "p 0.01 0.02 ..." of sample `row`. */
static void text_output(struct nn_run *r, struct nn_text *t, const struct nn_io *io, int64_t row) {
    const struct nn_slot *s = &r->program->slots[io->slot];
    int64_t dims[MOST_DIMS];
    nn_run_dims(r, io->slot, dims);
    int64_t rows = batched(s) && dims[0] > 0 ? dims[0] : 1, n = nn_count(dims, s->n_dims) / rows;
    const char *at = nn_run_value(r, io->slot);
    if (!at) return;
    at += row * n * nn_elem_size(s->elem);
    nn_text_add(r->env, t, io->name);
    if (!is_text(io)) {
        for (int64_t k = 0; k < n; k++) {
            nn_text_add(r->env, t, " ");
            nn_text_number(r->env, t, at, s->elem, k, DIGITS, NN_PLAIN);
        }
        return;
    }
    int64_t last = s->n_dims > batched(s) ? dims[s->n_dims - 1] : 1, texts = last > 0 ? n / last : 0; /* several texts: [4, L] */
    for (int64_t k = 0; k < texts; k++) {
        nn_text_add(r->env, t, texts > 1 ? "\n  " : " ");
        text_sample(r, t, io->loader, at + k * last * nn_elem_size(s->elem), s->elem, last);
    }
}

/* Outputs with a batch share their lines, one a sample; the others have a line each. */
static bool print_outputs(struct nn_run *r, const bool *shown) {
    struct nn_text t = {0};
    const struct nn_command *c = r->command;
    bool any = false;
    for (int64_t i = 0; i < c->n_outputs; i++) any |= shown[i] && batched(&r->program->slots[c->outputs[i].slot]);
    for (int64_t row = 0; any && row < r->input_batch; row++) {
        const char *before = "";
        for (int64_t i = 0; i < c->n_outputs; i++) {
            if (!shown[i] || !batched(&r->program->slots[c->outputs[i].slot])) continue;
            nn_text_add(r->env, &t, before);
            text_output(r, &t, &c->outputs[i], row);
            before = ", ";
        }
        nn_text_add(r->env, &t, "\n");
    }
    for (int64_t i = 0; i < c->n_outputs; i++) {
        if (!shown[i] || batched(&r->program->slots[c->outputs[i].slot])) continue;
        text_output(r, &t, &c->outputs[i], 0);
        nn_text_add(r->env, &t, "\n");
    }
    bool good = r->env->error.status == 0 && nn_print_text(r->env, NN_OUT, &t);
    nn_text_free(r->env, &t);
    return good;
}

bool nn_write_outputs(struct nn_run *r) {
    const struct nn_command *c = r->command;
    bool *shown = nn_alloc_n(r->env, c->n_outputs, sizeof *shown), good = shown != NULL;
    for (int64_t i = 0; good && i < c->n_outputs; i++) {
        bool file = r->settings->outputs[i] || r->settings->out;
        shown[i] = !file && printable(r, i);
        if (file)
            good = write_output(r, i);
        else if (!shown[i])
            nn_print(r->env, NN_ERR, "%s is too large to be printed: --%s=FILE or --out=DIR writes it\n", c->outputs[i].name,
                     c->outputs[i].name);
    }
    good = good && print_outputs(r, shown);
    nn_free(r->env, shown);
    return good;
}

/* ---- before the run ---- */

/* A file that the run will write. */
struct place {
    const char *option; /* without its --; NULL: a statement's */
    int64_t output;     /* of the command, -1: none */
    int64_t line;       /* of a statement */
    char *path;
};

/* Two that are the same file replace each other. Statements may write one file again and again, and --save what they have saved, but no statement what the run still needs. */
static bool may_meet(const struct place *a, const struct place *b) {
    if (a->option && b->option) return false;
    return !a->option || (strcmp(a->option, "checkpoint") != 0 && strcmp(a->option, "log") != 0);
}

/* Options stand before statements. */
static bool differ(struct nn_run *r, const struct place *places, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        for (int64_t k = 0; k < i; k++) {
            const struct place *a = &places[k], *b = &places[i];
            if (may_meet(a, b) || !nn_same_place(a->path, b->path) || nn_is_special(a->path)) continue;
            if (b->option)
                return nn_fail(r->env, NN_BAD_INPUT, "--%s and --%s name the same file: %s", a->option, b->option, b->path);
            return nn_fail(r->env, NN_BAD_INPUT, "--%s=%s: this is the file that %s:%" PRId64 " writes", a->option, a->path,
                           r->program->source, b->line);
        }
    }
    return true;
}

/* Does the run read the file that it would write? Weights may go on to where they came from, by --save or a statement. */
static bool is_read(struct nn_run *r, const struct place *p) {
    if (nn_is_special(p->path)) return false;
    if (nn_data_has_read(&r->reader, p->path)) return true;
    if (!p->option || strcmp(p->option, "save") == 0) return false;
    const char *const weights[] = {r->settings->init, r->weights_path};
    for (int i = 0; i < 2; i++)
        if (weights[i] && nn_same_place(weights[i], p->path)) return true;
    return false;
}

/* Is it the source of the program, or the program that runs? */
static bool is_program(struct nn_run *r, const char *path) {
    const char *source = r->program->source, *slash = source ? strrchr(source, '/') : NULL, *folder = r->program->source_dir;
    char *whole = source && folder ? nn_path_join(r->env, folder, slash ? slash + 1 : source) : NULL;
    const char *const own[] = {whole, "/proc/self/exe"};
    struct stat s, t;
    bool is = false;
    for (int i = 0; i < 2 && stat(path, &s) == 0; i++)
        is |= own[i] && stat(own[i], &t) == 0 && s.st_dev == t.st_dev && s.st_ino == t.st_ino;
    nn_free(r->env, whole);
    return is;
}

/* Whether an output can be written to a file of that suffix. Programs whose outputs cannot be pictures are linked without the writer of pictures. */
static bool check_kind(struct nn_run *r, const struct nn_io *io, const char *before, const char *path) {
    const struct nn_slot *s = &r->program->slots[io->slot];
    enum form form = form_of(path);
    if (form == NO_FORM) return nn_fail(r->env, NN_BAD_INPUT, "%s%s: %s", before, path, why_no_form(path));
    if (form != PNG || (nn_png_write && s->n_dims >= 2)) return true;
    struct nn_text type = {0};
    nn_text_type(r->env, &type, s->elem, s->dims + (s->batch_axis == 0), s->n_dims - (s->batch_axis == 0));
    nn_fail(r->env, NN_BAD_INPUT, "%s%s: a picture is [height, width] or [height, width, colours], a sample is %s", before, path,
            nn_text_str(&type));
    nn_text_free(r->env, &type);
    return false;
}

static bool check_place(struct nn_run *r, const struct place *p) {
    struct nn_text before = {0};
    bool own = p->output >= 0 && !r->settings->outputs[p->output];
    bool is_log = p->output < 0 && p->option && strcmp(p->option, "log") == 0; /* it is opened before the run */
    if (!p->option)
        nn_text_printf(r->env, &before, "%s:%" PRId64 ": ", r->program->source, p->line);
    else
        nn_text_printf(r->env, &before, own ? "--%s: " : "--%s=", own ? "out" : p->option);
    bool good = nn_text_ok(r->env, &before);
    if (good && is_program(r, p->path))
        good = nn_fail(r->env, NN_BAD_INPUT, "%s%s: this is the program itself, which would be replaced", before.at, p->path);
    if (good && is_read(r, p))
        good = nn_fail(r->env, NN_BAD_INPUT, "%s%s: the run reads this file, and would replace it", before.at, p->path);
    if (good && p->output >= 0 && p->path[0]) good = check_kind(r, &r->command->outputs[p->output], before.at, p->path);
    if (good && !is_log) good = nn_write_check(r->env, before.at, p->path);
    nn_text_free(r->env, &before);
    return good;
}

/* The files of --save and kin, of the command's outputs, and of its `save` and `write`, where their names are constants; n of them. False: no memory. */
static bool find_places(struct nn_run *r, struct place *places, int64_t *n) {
    const struct nn_settings *s = r->settings;
    const char *const names[] = {"save", "save-init", "checkpoint", "log"}, *const paths[] = {s->save, s->save_init,
                                                                                              s->checkpoint, s->log};
    for (int i = 0; i < 4; i++) {
        if (!paths[i]) continue;
        places[*n] = (struct place){.option = names[i], .output = -1, .path = nn_copy_string(r->env, paths[i])};
        if (!places[(*n)++].path) return false;
    }
    for (int64_t i = 0; i < r->command->n_outputs; i++) {
        if (!s->outputs[i] && !s->out) continue;
        char *path = s->outputs[i] ? nn_copy_string(r->env, s->outputs[i]) : output_path(r, i);
        places[*n] = (struct place){.option = r->command->outputs[i].name, .output = i, .path = path};
        if (!places[(*n)++].path) return false;
    }
    for (int64_t i = 0; i < r->n_items; i++) {
        const struct nn_node *node = r->items[i].node;
        const char *name = node->kind == NN_SAVE || node->kind == NN_WRITE ? nn_constant_name(node) : NULL;
        if (!name) continue;
        places[*n] = (struct place){.output = -1, .line = node->line, .path = nn_out_path(r, name)};
        if (!places[(*n)++].path) return false;
    }
    return true;
}

bool nn_check_places(struct nn_run *r) {
    int64_t n = 0;
    struct place *places = nn_alloc_n(r->env, 4 + r->command->n_outputs + r->n_items, sizeof *places);
    bool good = places && find_places(r, places, &n) && differ(r, places, n);
    for (int64_t i = 0; good && i < n; i++) good = check_place(r, &places[i]);
    for (int64_t i = 0; i < n; i++) nn_free(r->env, places[i].path);
    nn_free(r->env, places);
    return good;
}
