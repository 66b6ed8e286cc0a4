/*
 * load_safetensors.c - samples from a tensor of a safetensors file: safetensors(file, name).
 */
#include "data.h"
#include "safetensors.h"

bool nn_load_safetensors(struct nn_load *l) {
    const struct nn_arg *name = nn_load_arg(l, "name");
    if (!name || !name->s) return nn_load_fail(l, 0, "safetensors(file, name) names the tensor");
    struct nn_tensors *f = nn_tensors_open(l->env, "", l->path);
    int64_t elem, dims[32], n_dims, samples;
    bool good = f != NULL;
    if (good && !nn_tensors_type(f, name->s, &elem, dims, &n_dims))
        good = nn_load_fail(l, 0, "there is no tensor `%s` in it", name->s);
    if (good && elem < 0) good = nn_load_fail(l, 0, "the tensor `%s` has an element type that is none of ours", name->s);
    if (good) good = nn_load_check_type(l, elem, dims, n_dims, &samples);
    char *at = good ? nn_load_room(l, samples) : NULL;
    good = at && nn_tensors_get(l->env, f, name->s, at);
    if (good) l->column->count += samples;
    nn_tensors_close(l->env, f);
    return good;
}
