/*
 * picture_png.c - PNG by libpng: see picture.h. libpng reports an error by a call that must not return; it leaves through longjmp
 * to the function that called it, which keeps nothing in registers over the jump (what it frees is in memory that the jump leaves
 * alone).
 */
#include "file.h"
#include "picture.h"
#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct job {
    struct nn_env *env;
    const char *path;
    jmp_buf failed;
    png_structp png;
    png_infop info;
    FILE *file;
    png_bytep *rows;
    struct nn_picture *picture;
    struct nn_text *out;
};

static void on_error(png_structp png, png_const_charp message) {
    struct job *j = png_get_error_ptr(png);
    nn_fail(j->env, NN_BAD_INPUT, "%s: this is not a PNG that can be read: %s", j->path, message);
    longjmp(j->failed, 1);
}

static void on_warning(png_structp png, png_const_charp message) { (void)png, (void)message; }

/* ---- reading ---- */

static bool read_rows(struct job *j) {
    struct nn_picture *p = j->picture;
    png_init_io(j->png, j->file);
    png_set_user_limits(j->png, 1 << 16, 1 << 16);
    png_read_info(j->png, j->info);
    p->height = png_get_image_height(j->png, j->info);
    p->width = png_get_image_width(j->png, j->info);
    if (nn_picture_is_other(p)) return true;
    int64_t rows = p->height * (int64_t)png_get_rowbytes(j->png, j->info);
    if (!nn_picture_fits(j->env, j->path, j->file, p, rows / NN_DEFLATE_MOST)) return false;
    png_set_expand(j->png);
    png_set_scale_16(j->png);
    png_set_strip_alpha(j->png);
    png_set_interlace_handling(j->png);
    png_read_update_info(j->png, j->info);
    p->channels = png_get_channels(j->png, j->info);
    p->at = nn_alloc_n(j->env, p->height * p->width, (size_t)p->channels);
    j->rows = nn_alloc_n(j->env, p->height, sizeof *j->rows);
    if (!p->at || !j->rows) return false;
    for (int64_t y = 0; y < p->height; y++) j->rows[y] = p->at + y * p->width * p->channels;
    png_read_image(j->png, j->rows);
    png_read_end(j->png, NULL);
    return true;
}

static bool read_guarded(struct job *j) {
    if (setjmp(j->failed)) return false;
    j->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, j, on_error, on_warning);
    if (j->png) j->info = png_create_info_struct(j->png);
    if (!j->info) return nn_no_memory(j->env, 1 << 12);
    return read_rows(j);
}

bool nn_png_read(struct nn_env *env, const char *path, struct nn_picture *p) {
    struct job j = {.env = env, .path = path, .picture = p};
    j.file = fopen(path, "rbe");
    if (!j.file) return nn_fail(env, NN_BAD_INPUT, "%s: cannot be read: %s", path, strerror(errno));
    bool good = read_guarded(&j);
    png_destroy_read_struct(&j.png, &j.info, NULL);
    nn_free(env, j.rows);
    fclose(j.file);
    if (!good) nn_picture_free(env, p);
    return good;
}

/* ---- writing: into memory, then to the file at once ---- */

static void take_bytes(png_structp png, png_bytep at, size_t n) {
    struct job *j = png_get_io_ptr(png);
    nn_text_add_n(j->env, j->out, (const char *)at, n);
}

static void take_flush(png_structp png) { (void)png; }

static bool write_guarded(struct job *j) {
    const struct nn_picture *p = j->picture;
    if (setjmp(j->failed)) return false;
    j->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, j, on_error, on_warning);
    if (j->png) j->info = png_create_info_struct(j->png);
    if (!j->info) return nn_no_memory(j->env, 1 << 12);
    png_set_write_fn(j->png, j, take_bytes, take_flush);
    png_set_IHDR(j->png, j->info, (png_uint_32)p->width, (png_uint_32)p->height, 8,
                 p->channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(j->png, j->info);
    for (int64_t y = 0; y < p->height; y++) png_write_row(j->png, p->at + y * p->width * p->channels);
    png_write_end(j->png, j->info);
    return true;
}

bool nn_png_write(struct nn_env *env, const char *path, const struct nn_picture *p) {
    struct nn_text out = {0};
    struct nn_picture copy = *p;
    struct job j = {.env = env, .path = path, .picture = &copy, .out = &out};
    if (p->height < 1 || p->width < 1 || p->height > 1 << 24 || p->width > 1 << 24) {
        return nn_fail(env, NN_RUNTIME, "%s: a picture of %lld x %lld cannot be written", path, (long long)p->height,
                       (long long)p->width);
    }
    bool good = write_guarded(&j);
    png_destroy_write_struct(&j.png, &j.info);
    good = good && nn_text_ok(env, &out) && nn_write_file(env, path, out.at, out.n);
    nn_text_free(env, &out);
    return good;
}

bool nn_picture_fits(struct nn_env *env, const char *path, FILE *file, const struct nn_picture *p, int64_t bytes) {
    struct stat s;
    if (fstat(fileno(file), &s) != 0 || !S_ISREG(s.st_mode) || s.st_size >= bytes) return true;
    return nn_fail(
        env, NN_BAD_INPUT,
        "%s: damaged or truncated: it has %lld bytes, and a picture of %lld x %lld (height x width) takes %lld at least", path,
        (long long)s.st_size, (long long)p->height, (long long)p->width, (long long)bytes);
}

void nn_picture_free(struct nn_env *env, struct nn_picture *p) {
    nn_free(env, p->at);
    *p = (struct nn_picture){0};
}
