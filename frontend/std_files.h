/*
 * std_files.h - the library (frontend/std) as it is built into nnc: made by embed.c.
 */
#ifndef NNC_FRONTEND_STD_FILES_H
#define NNC_FRONTEND_STD_FILES_H

#include <stddef.h>

struct StdFile {
    const char *name, *text; /* "std/layers.nn"; the text has a zero behind it */
    size_t size;
};
extern const struct StdFile std_files[];
extern const size_t std_file_count;

#endif
