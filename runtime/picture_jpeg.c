/*
 * picture_jpeg.c - JPEG by libjpeg: see picture.h.
 */
#include "picture.h"
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

struct job {
    struct jpeg_error_mgr errors; /* first: libjpeg hands back a pointer to it */
    jmp_buf failed;
    struct nn_env *env;
    const char *path;
    struct jpeg_decompress_struct jpeg;
    struct nn_picture *picture;
};

static void on_error(j_common_ptr jpeg) {
    struct job *j = (struct job *)jpeg->err;
    char message[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, message);
    nn_fail(j->env, NN_BAD_INPUT, "%s: this is not a JPEG that can be read: %s", j->path, message);
    longjmp(j->failed, 1);
}

/* A warning is counted; a file that ends too early gives one, and is refused. */
static void on_message(j_common_ptr jpeg, int level) {
    if (level < 0) jpeg->err->num_warnings++;
}

/* A block of 8 x 8 takes one bit at least, that of its mean, in codes by Huffman. Arithmetic codes can take less of one grey: up to some size a picture
 * may have few bytes. */
static int64_t least_bytes(const struct nn_picture *p) {
    enum { FREE = 1 << 24, MOST = 8 * 64 }; /* pixels of a picture, pixels of a byte */
    int64_t pixels = p->height * p->width;
    return pixels > FREE ? pixels / MOST : 0;
}

static bool decode(struct job *j, FILE *file) {
    struct nn_picture *p = j->picture;
    if (setjmp(j->failed)) return false;
    jpeg_create_decompress(&j->jpeg);
    jpeg_stdio_src(&j->jpeg, file);
    jpeg_read_header(&j->jpeg, TRUE);
    p->height = j->jpeg.image_height;
    p->width = j->jpeg.image_width;
    if (nn_picture_is_other(p)) return true;
    if (!nn_picture_fits(j->env, j->path, file, p, least_bytes(p))) return false;
    j->jpeg.out_color_space = j->jpeg.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    j->jpeg.dct_method = JDCT_ISLOW; /* the same bits on every machine */
    jpeg_start_decompress(&j->jpeg);
    p->channels = j->jpeg.output_components;
    p->at = nn_alloc_n(j->env, p->height * p->width, (size_t)p->channels);
    if (!p->at) return false;
    while (j->jpeg.output_scanline < j->jpeg.output_height) {
        JSAMPROW row = p->at + (int64_t)j->jpeg.output_scanline * p->width * p->channels;
        jpeg_read_scanlines(&j->jpeg, &row, 1);
    }
    jpeg_finish_decompress(&j->jpeg);
    if (j->errors.num_warnings > 0) return nn_fail(j->env, NN_BAD_INPUT, "%s: damaged or truncated", j->path);
    return true;
}

bool nn_jpeg_read(struct nn_env *env, const char *path, struct nn_picture *p) {
    FILE *file = fopen(path, "rbe");
    if (!file) return nn_fail(env, NN_BAD_INPUT, "%s: cannot be read: %s", path, strerror(errno));
    struct job *j = nn_alloc(env, sizeof *j);
    bool good = j != NULL;
    if (good) {
        j->env = env;
        j->path = path;
        j->picture = p;
        j->jpeg.err = jpeg_std_error(&j->errors);
        j->errors.error_exit = on_error;
        j->errors.emit_message = on_message;
        good = decode(j, file);
        jpeg_destroy_decompress(&j->jpeg);
    }
    nn_free(env, j);
    fclose(file);
    if (!good) nn_picture_free(env, p);
    return good;
}
