/*
 * picture.h - pictures in files. The decoders are large, so a program links them only if it asks: its link names nn_load_images
 * (reads PNG and JPEG) or nn_png_write (writes PNG) as undefined (-u); all other code of the runtime refers to the two weakly.
 */
#ifndef NN_PICTURE_H
#define NN_PICTURE_H

#include "env.h"
#include <stdio.h>

struct nn_picture {
    unsigned char *at; /* [height, width, channels], 0..255 */
    int64_t height, width;
    int64_t channels; /* 1: grey, 3: red, green, blue */
    /* for readers: a picture of another size is not unpacked, `at` is NULL then; 0: any will do */
    int64_t only_height, only_width;
};
static inline bool nn_picture_is_other(const struct nn_picture *p) {
    return p->only_height > 0 && (p->height != p->only_height || p->width != p->only_width);
}
void nn_picture_free(struct nn_env *env, struct nn_picture *p);
/* For readers, before memory is asked for: whether the file has the bytes that a picture of that size takes in it at least. */
bool nn_picture_fits(struct nn_env *env, const char *path, FILE *file, const struct nn_picture *p, int64_t bytes);

/* Read a file whose first bytes say what it is; p->only_height and only_width are set before; 16 bits become 8, transparency is dropped, palettes become colours. */
bool nn_png_read(struct nn_env *env, const char *path, struct nn_picture *p);
bool nn_jpeg_read(struct nn_env *env, const char *path, struct nn_picture *p);
/* Writes 8 bits a channel, beside its name, synced, renamed. */
bool nn_png_write(struct nn_env *env, const char *path, const struct nn_picture *p);

#endif
