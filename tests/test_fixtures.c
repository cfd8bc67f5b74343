/* test_fixtures.c - databases of this and of every earlier format open, verify, and show what they showed when they were made;
 * read-only too, and once more after they were written to.
 * Usage: test_fixtures DIRECTORY... (tests/fixtures/v1) */
#undef NDEBUG
#include "tests/fixture_dump.h"
#include <assert.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch[64];

static void must(helios_status status, const char *path, int line)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "test_fixtures.c:%d: %s: %s: %s\n", line, path, helios_status_name(status),
            helios_last_error());
    abort();
}
#define MUST(call) must(call, path, __LINE__)

static char *read_text(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *text = malloc(4 << 20);

    assert(file && text);
    *size = fread(text, 1, 4 << 20, file);
    fclose(file);
    return text;
}

/* Says the first line that differs. */
static void compare(const char *path, const char *wanted, size_t wanted_size, const char *got, size_t got_size)
{
    size_t at = 0, line = 0;

    if (wanted_size == got_size && memcmp(wanted, got, got_size) == 0)
        return;
    for (; at < wanted_size && at < got_size && wanted[at] == got[at]; at++)
        if (wanted[at] == '\n')
            line = at + 1;
    fprintf(stderr, "%s:\nwanted %.*s\ngot    %.*s\n", path, (int)strcspn(wanted + line, "\n"), wanted + line,
            (int)strcspn(got + line, "\n"), got + line);
    abort();
}

static void look(const char *path, const char *wanted, size_t wanted_size, bool read_only, bool write)
{
    helios_options options = fixture_options();
    helios_db *db = NULL;
    char *got = NULL;
    size_t got_size = 0;
    FILE *out = open_memstream(&got, &got_size);

    assert(out);
    options.read_only = read_only;
    MUST(helios_open(scratch, &options, &db));
    MUST(helios_verify(db, NULL, NULL));
    fixture_dump(db, out);
    fclose(out);
    compare(path, wanted, wanted_size, got, got_size);
    free(got);
    if (write) {
        MUST(helios_put(db, NULL, (helios_slice){"new", 3}, (helios_slice){"one", 3}));
        MUST(helios_compact(db, (helios_slice){0}, (helios_slice){0}));
        MUST(helios_verify(db, NULL, NULL));
    }
    MUST(helios_close(db));
}

static void test_one(const char *directory, const char *name)
{
    char path[512], text[512];
    size_t size = strlen(name), wanted_size;
    char *wanted;

    snprintf(path, sizeof(path), "%s/%.*s", directory, (int)size - 4, name);
    snprintf(text, sizeof(text), "%s/%s", directory, name);
    wanted = read_text(text, &wanted_size);
    wanted[wanted_size] = 0;
    fixture_copy(path, scratch);
    look(path, wanted, wanted_size, true, false);
    look(path, wanted, wanted_size, false, false);
    look(path, wanted, wanted_size, false, true); /* as it was after a clean close */
    MUST(helios_destroy(scratch));
    free(wanted);
    printf("%s\n", path);
}

static int is_text(const struct dirent *entry)
{
    size_t size = strlen(entry->d_name);

    return size > 4 && strcmp(entry->d_name + size - 4, ".txt") == 0;
}

int main(int argc, char **argv)
{
    size_t tested = 0;

    snprintf(scratch, sizeof(scratch), "/tmp/helios-fixture-%d", (int)getpid());
    for (int i = 1; i < argc; i++) {
        struct dirent **entries;
        int count = scandir(argv[i], &entries, is_text, alphasort);

        for (int e = 0; e < count; e++, tested++) {
            test_one(argv[i], entries[e]->d_name);
            free(entries[e]);
        }
        if (count >= 0)
            free(entries);
    }
    assert(tested > 0);
    printf("tried: %zu fixtures\n", tested);
    return 0;
}
