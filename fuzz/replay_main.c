/* replay_main.c - runs a fuzz target without libFuzzer: over each file of the directories (or files)
 * given, and over mutations of each that follow from a fixed seed. A crash names the input.
 * Usage: [--mutations N] PATH...; so many in all, or 16 of each input if that is more */
#include "base/random.h"
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MUTATIONS_MIN = 16, INPUT_MAX = 1 << 20 };

static uint64_t inputs, runs, mutations_in_all = 20000;

static uint8_t *read_whole(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(INPUT_MAX);

    if (!file || !data) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(1);
    }
    *size = fread(data, 1, INPUT_MAX, file);
    fclose(file);
    return data;
}

/* A copy of exactly `size` bytes, so that a sanitizer sees the first byte read beyond. */
static void run_one(const uint8_t *data, size_t size)
{
    uint8_t *copy = calloc(1, size ? size : 1);

    if (!copy)
        exit(1);
    if (size)
        memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}

/* One to four changes: a bit, a byte, a run of zeros, an extreme number, the end cut off. */
static size_t mutate(struct random *random, uint8_t *data, size_t size)
{
    uint64_t changes = 1 + random_below(random, 4);

    for (; changes && size; changes--) {
        size_t at = random_below(random, size), left = size - at;

        switch (random_below(random, 5)) {
        case 0: data[at] ^= (uint8_t)(1u << random_below(random, 8)); break;
        case 1: data[at] = (uint8_t)random_next(random); break;
        case 2: memset(data + at, 0, random_below(random, left < 64 ? left + 1 : 65)); break;
        case 3: memset(data + at, 0xff, left < 8 ? left : 8); break;
        default: size = at; break;
        }
    }
    return size;
}

static void replay(const char *path, uint64_t mutations)
{
    struct random random;
    size_t size;
    uint8_t *data = read_whole(path, &size), *changed = malloc(size ? size : 1);

    if (!changed)
        exit(1);
    fprintf(stderr, "input %s\n", path);
    run_one(data, size);
    random_seed(&random, size * 0x9E3779B97F4A7C15u + inputs);
    for (uint64_t i = 0; i < mutations; i++) {
        if (size)
            memcpy(changed, data, size);
        run_one(changed, mutate(&random, changed, size));
    }
    inputs++;
    free(changed);
    free(data);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void replay_directory(const char *directory)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, not_hidden, by_name);

    for (int i = 0; i < count; i++) {
        char path[4096];
        uint64_t mutations = mutations_in_all / (uint64_t)count;

        snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
        replay(path, mutations > MUTATIONS_MIN ? mutations : MUTATIONS_MIN);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

int main(int argc, char **argv)
{
    struct stat info;

    run_one((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--mutations") == 0 && i + 1 < argc) {
            mutations_in_all = strtoull(argv[++i], NULL, 10);
            continue;
        }
        if (stat(argv[i], &info) != 0) {
            fprintf(stderr, "there is no %s\n", argv[i]);
            return 1;
        }
        if (S_ISDIR(info.st_mode))
            replay_directory(argv[i]);
        else
            replay(argv[i], mutations_in_all);
    }
    printf("%llu inputs\ntried: %llu fuzz inputs\n", (unsigned long long)inputs, (unsigned long long)runs);
    return 0;
}
