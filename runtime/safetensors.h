/*
 * safetensors.h - named tensors in a file: weights and checkpoints.
 *
 * The format: the length of the header (8 bytes, little endian), the header as a JSON object {"name": {"dtype": "F32", "shape":
 * [2, 3], "data_offsets": [begin, end]}, ...,
 * "__metadata__": {"key": "text", ...}}, padded with spaces to a multiple of 8, then the tensors without gaps, little endian,
 * row-major. (huggingface.co/docs/safetensors: "Format".)
 */
#ifndef NN_SAFETENSORS_H
#define NN_SAFETENSORS_H

#include "abi.h"
#include "env.h"

struct nn_tensor {
    const char *name;
    int64_t elem;
    const int64_t *dims;
    int64_t n_dims;
    void *at;
    int64_t bytes;
};
struct nn_note { /* of the metadata */
    const char *key, *text;
};

/* Writes beside the name, syncs, renames, syncs the folder. With `checksum` the metadata also have "checksum": the CRC-32 of the
 * whole file with this text as 00000000. */
bool nn_tensors_write(struct nn_env *env, const char *path, const struct nn_tensor *tensors, int64_t n,
                      const struct nn_note *notes, int64_t n_notes, bool checksum);

struct nn_tensors; /* an open file */
/* Opens a file, compressed by gzip or not, and checks its header: NULL after an error that names the file. What is said of it begins with `before`: "--init=", or "". */
struct nn_tensors *nn_tensors_open(struct nn_env *env, const char *before, const char *path);
void nn_tensors_close(struct nn_env *env, struct nn_tensors *f);
bool nn_tensors_checksum(struct nn_env *env, struct nn_tensors *f); /* false: there is none, or it is not that of the file */
const char *nn_tensors_note(const struct nn_tensors *f, const char *key); /* NULL: there is none */
/* What is stored under a name: elem -1: a type that is none of ours. dims: room for 32. False: no such tensor. */
bool nn_tensors_type(const struct nn_tensors *f, const char *name, int64_t *elem, int64_t *dims, int64_t *n_dims);
/* Reads one whole tensor; at has room for it. */
bool nn_tensors_get(struct nn_env *env, struct nn_tensors *f, const char *name, void *at);
/* Whether the file has exactly these tensors (with `more`: at least these, and only such others as it says yes to); what is missing, too much or of another type is listed. */
bool nn_tensors_compare(struct nn_env *env, struct nn_tensors *f, const struct nn_tensor *tensors, int64_t n,
                        bool (*more)(void *, const char *name), void *context);
/* ... and reads them all, or nothing. */
bool nn_tensors_read(struct nn_env *env, struct nn_tensors *f, const struct nn_tensor *tensors, int64_t n,
                     bool (*more)(void *, const char *name), void *context);

#endif
