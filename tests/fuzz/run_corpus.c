/* Runs a fuzz target over its committed corpus: each file, each beginning of it, and each byte of it changed. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

#define SIZE_MAX_TRIED 65536
#define VARIED_MAX     1024 /* bytes of a file whose changes are tried */

static unsigned long runs;

/* In memory of just that size, so that a sanitizer sees a step over its end. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + (size == 0));

    if (copy == NULL)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}

static void run_variations(uint8_t *data, size_t size)
{
    static const uint8_t changes[] = {0x01, 0x80};
    size_t varied = size < VARIED_MAX ? size : VARIED_MAX;

    run(data, size);
    for (size_t at = 0; at < varied; at++) {
        uint8_t before = data[at];

        run(data, at);
        for (size_t i = 0; i < sizeof changes; i++) {
            data[at] = before ^ changes[i];
            run(data, size);
        }
        data[at] = before;
    }
}

static int run_file(const char *dir, const char *name)
{
    static uint8_t data[SIZE_MAX_TRIED];
    char path[4096];
    FILE *f;
    size_t size;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "rb");
    if (f == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return EXIT_FAILURE;
    }
    size = fread(data, 1, sizeof data, f);
    fclose(f);
    run_variations(data, size);
    return EXIT_SUCCESS;
}

static int run_directory(const char *dir)
{
    DIR *d = opendir(dir);
    unsigned files = 0;
    const struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        if (run_file(dir, e->d_name) != EXIT_SUCCESS)
            return EXIT_FAILURE;
        files++;
    }
    if (d != NULL)
        closedir(d);
    printf("%s: %u files, %lu runs\n", dir, files, runs);
    return files > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The directory is the argument, or the one of this program's name: fuzz_message has corpus/message. */
int main(int argc, char **argv)
{
    const char *top = getenv("top_srcdir");
    const char *name = strstr(argv[0], "fuzz_");
    char dir[4096];

    if (argc > 1)
        return run_directory(argv[1]);
    if (name == NULL)
        return EXIT_FAILURE;
    snprintf(dir, sizeof dir, "%s/tests/fuzz/corpus/%s", top == NULL ? "." : top, name + strlen("fuzz_"));
    return run_directory(dir);
}
