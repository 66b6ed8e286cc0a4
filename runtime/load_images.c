/*
 * load_images.c - pictures: images(dir, fit="crop"|"scale", part="image"|"label"), and pictures given as inputs of a command.
 *
 * A folder of folders is a set of classes: folder number k, in the order of names, is class k; files in the order of names.
 * Without `fit` a picture must have the size of the field; "crop" scales it until its shorter side fits and takes the middle;
 * "scale" scales both sides. A sample is u8[H, W], u8[H, W, 1] or u8[H, W, 3] as it stands in the file, or f32 of the same
 * shapes, 0..1; grey becomes colour and colour grey (Rec. 601 luma) as the field asks.
 */
#include "data.h"
#include "picture.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum fit { FIT_NONE, FIT_CROP, FIT_SCALE };

struct form { /* what the field asks for */
    int64_t height, width, channels;
    enum fit fit;
    bool label;
};

static bool read_form(struct nn_load *l, struct form *f) {
    const struct nn_arg *part = nn_load_arg(l, "part"), *fit = nn_load_arg(l, "fit");
    *f = (struct form){.channels = 1};
    f->label = part && part->s && strcmp(part->s, "label") == 0;
    if (fit && fit->s) f->fit = strcmp(fit->s, "crop") == 0 ? FIT_CROP : FIT_SCALE;
    if (f->label) {
        bool good = l->n_dims == 0 && (l->elem == NN_U8 || l->elem == NN_I32 || l->elem == NN_I64);
        return good || nn_load_fail(l, 0, "labels of pictures are u8, i32 or i64 numbers");
    }
    bool good =
        (l->elem == NN_U8 || l->elem == NN_F32) && (l->n_dims == 2 || (l->n_dims == 3 && (l->dims[2] == 1 || l->dims[2] == 3)));
    if (!good) return nn_load_fail(l, 0, "a picture is u8 or f32, [height, width] or [height, width, 3]");
    f->height = l->dims[0];
    f->width = l->dims[1];
    if (l->n_dims == 3) f->channels = l->dims[2];
    return true;
}

static bool is_picture(const char *path) {
    char suffix[8];
    nn_path_suffix_unpacked(path, suffix);
    return strcmp(suffix, "png") == 0 || strcmp(suffix, "jpg") == 0 || strcmp(suffix, "jpeg") == 0;
}

static bool decode(struct nn_load *l, const char *path, struct nn_picture *p) {
    unsigned char head[8] = {0};
    FILE *file = fopen(path, "rbe");
    if (file) {
        size_t got = fread(head, 1, sizeof head, file);
        (void)got; /* a short file is neither */
        fclose(file);
    }
    if (memcmp(head, "\x89PNG\r\n\x1a\n", 8) == 0) return nn_png_read(l->env, path, p);
    if (head[0] == 0xFF && head[1] == 0xD8) return nn_jpeg_read(l->env, path, p);
    return nn_load_fail(l, 0, file ? "this is neither a PNG nor a JPEG" : "cannot be read");
}

/* ---- sizes ---- */

/* The weight of source pixel i for target pixel o at `scale` source pixels a target pixel: the triangle of linear interpolation,
 * widened to the target's pixel when shrinking, so that no pixel is left out. */
static double weight(int64_t i, int64_t o, double scale, double offset) {
    double wide = scale > 1 ? scale : 1, d = fabs((double)i + 0.5 - offset - ((double)o + 0.5) * scale) / wide;
    return d < 1 ? 1 - d : 0;
}

/* One row or column of n values with a stride becomes m values. */
static void resample(const float *from, int64_t n, int64_t stride, float *to, int64_t m, int64_t to_stride, double scale,
                     double offset) {
    double wide = scale > 1 ? scale : 1;
    for (int64_t o = 0; o < m; o++) {
        double centre = ((double)o + 0.5) * scale + offset, sum = 0, all = 0;
        int64_t first = (int64_t)floor(centre - 0.5 - wide), last = (int64_t)ceil(centre - 0.5 + wide);
        for (int64_t i = first; i <= last; i++) {
            double w = weight(i, o, scale, offset);
            int64_t inside = i < 0 ? 0 : i >= n ? n - 1 : i; /* the edge goes on outside */
            sum += w * (double)from[inside * stride];
            all += w;
        }
        to[o * to_stride] = (float)(sum / all);
    }
}

/* The picture in the field's size, as [height, width, channels of the picture] of floats 0..255; NULL: no memory. */
static float *fit_picture(struct nn_load *l, const struct form *f, const struct nn_picture *p) {
    int64_t c = p->channels, H = f->height, W = f->width;
    double sy = (double)p->height / (double)H, sx = (double)p->width / (double)W, oy = 0, ox = 0;
    if (f->fit == FIT_CROP) {
        sy = sx = sy < sx ? sy : sx;
        oy = ((double)p->height - sy * (double)H) / 2;
        ox = ((double)p->width - sx * (double)W) / 2;
    }
    float *from = nn_alloc_n(l->env, p->height * p->width * c, sizeof *from);
    float *wide = nn_alloc_n(l->env, p->height * W * c, sizeof *wide);
    float *to = nn_alloc_n(l->env, H * W * c, sizeof *to);
    if (from && wide && to) {
        for (int64_t i = 0, n = p->height * p->width * c; i < n; i++) from[i] = p->at[i];
        for (int64_t y = 0; y < p->height; y++) {
            for (int64_t k = 0; k < c; k++)
                resample(from + y * p->width * c + k, p->width, c, wide + y * W * c + k, W, c, sx, ox);
        }
        for (int64_t x = 0; x < W * c; x++) resample(wide + x, p->height, W * c, to + x, H, W * c, sy, oy);
    } else {
        nn_free(l->env, to);
        to = NULL;
    }
    nn_free(l->env, from);
    nn_free(l->env, wide);
    return to;
}

/* ---- samples ---- */

/* Channel k of the field at a pixel of the picture, 0..255. */
static float channel(const float *pixel, int64_t has, int64_t wants, int64_t k) {
    if (has == wants) return pixel[k];
    if (has == 1) return pixel[0];
    return 0.299f * pixel[0] + 0.587f * pixel[1] + 0.114f * pixel[2];
}

static void store(const struct nn_load *l, const struct form *f, const float *pixels, int64_t channels, char *at) {
    for (int64_t i = 0; i < f->height * f->width; i++) {
        for (int64_t k = 0; k < f->channels; k++) {
            float v = channel(pixels + i * channels, channels, f->channels, k);
            int64_t place = i * f->channels + k;
            if (l->elem == NN_U8)
                ((unsigned char *)at)[place] = (unsigned char)(v < 0 ? 0 : v > 255 ? 255 : rintf(v));
            else
                ((float *)at)[place] = v / 255;
        }
    }
}

static bool add_picture(struct nn_load *l, const struct form *f, const char *path) {
    struct nn_picture p = {0};
    const char *before = l->path;
    l->path = path;
    if (f->fit == FIT_NONE) p.only_height = f->height, p.only_width = f->width;
    bool good = decode(l, path, &p);
    if (good && nn_picture_is_other(&p)) {
        good =
            nn_load_fail(l, 0, "expected a picture of %" PRId64 " x %" PRId64 " (height x width), found %" PRId64 " x %" PRId64,
                         f->height, f->width, p.height, p.width);
        nn_picture_free(l->env, &p);
    }
    if (good) {
        float *pixels = fit_picture(l, f, &p);
        char *at = pixels ? nn_load_room(l, 1) : NULL;
        if (at) store(l, f, pixels, p.channels, at), l->column->count++;
        nn_free(l->env, pixels);
        nn_picture_free(l->env, &p);
        good = at != NULL;
    }
    l->path = before;
    return good;
}

static bool add_label(struct nn_load *l, int64_t label) {
    char *at = nn_load_room(l, 1);
    if (!at) return false;
    if (l->elem == NN_U8 && label > 255) return nn_load_fail(l, 0, "class %" PRId64 " is out of the range of u8", label);
    nn_value_put(at, l->elem, 0, (double)label);
    l->column->count++;
    return true;
}

static bool add_folder(struct nn_load *l, const struct form *f, const char *path, int64_t label);

static bool add_class(struct nn_load *l, const struct form *f, const char *path, int64_t label) {
    int64_t before = l->column->count;
    if (!add_folder(l, f, path, label)) return false;
    if (l->column->count > before) return true;
    const char *whole = l->path;
    l->path = path;
    nn_load_fail(l, 0, "there are no pictures in this folder (each folder is a class)");
    l->path = whole;
    return false;
}

/* The files of one folder; label: -1 at the top, where folders are classes. */
static bool add_folder(struct nn_load *l, const struct form *f, const char *path, int64_t label) {
    int64_t n, class = 0;
    char **names = nn_folder_names(l->env, path, &n);
    bool good = names != NULL;
    for (int64_t i = 0; good && i < n; i++) {
        char *inside = nn_path_join(l->env, path, names[i]);
        if (!inside)
            good = false;
        else if (nn_is_folder(inside))
            good = label >= 0 || add_class(l, f, inside, class ++);
        else if (is_picture(inside) && !nn_folder_file(l->env, inside))
            good = false;
        else if (is_picture(inside) && !f->label)
            good = add_picture(l, f, inside);
        else if (is_picture(inside) && label >= 0)
            good = add_label(l, label);
        else if (is_picture(inside))
            good = nn_load_fail(l, 0, "%s is in no folder, so it has no class", names[i]);
        nn_free(l->env, inside);
    }
    if (names) nn_names_free(l->env, names, n);
    return good;
}

bool nn_load_images(struct nn_load *l) {
    struct form f;
    if (!read_form(l, &f)) return false;
    if (nn_is_folder(l->path)) return add_folder(l, &f, l->path, -1);
    if (f.label) return nn_load_fail(l, 0, "a single picture has no class: the folder is the label");
    return add_picture(l, &f, l->path);
}
