/*
 * embed.c - a build tool: writes a C file that holds the text of the library, the files of frontend/std, so that nnc needs no files at
 * run time. usage: embed OUTPUT FILE...      The table it writes is declared in std_files.h, in the order of the arguments.
 */
#include <stdio.h>
#include <string.h>

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* One array of bytes: string literals have a limit that compilers may warn about. */
static int embed(FILE *out, const char *path, int index) {
    FILE *in = fopen(path, "rb");
    if (!in) {
        perror(path);
        return 0;
    }
    fprintf(out, "static const char text_%d[] = {", index);
    int c;
    for (long i = 0; (c = getc(in)) != EOF; i++) fprintf(out, "%s%d,", i % 32 ? "" : "\n    ", c > 127 ? c - 256 : c);
    fputs("\n    0};\n\n", out);
    int good = !ferror(in);
    fclose(in);
    return good;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fputs("usage: embed OUTPUT FILE...\n", stderr);
        return 2;
    }
    FILE *out = fopen(argv[1], "wb");
    if (!out) {
        perror(argv[1]);
        return 1;
    }
    fputs("/* Made by embed.c from frontend/std. */\n#include \"frontend/std_files.h\"\n\n", out);
    for (int i = 2; i < argc; i++)
        if (!embed(out, argv[i], i)) return 1;
    fputs("const struct StdFile std_files[] = {\n", out);
    for (int i = 2; i < argc; i++) fprintf(out, "    {\"std/%s\", text_%d, sizeof text_%d - 1},\n", base_name(argv[i]), i, i);
    fprintf(out, "    {0, 0, 0}};\nconst size_t std_file_count = %d;\n", argc - 2);
    if (ferror(out) | fclose(out)) {
        perror(argv[1]);
        return 1;
    }
    return 0;
}
