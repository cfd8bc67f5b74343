/* bad_lines.c - tells bad lines on stderr, as FILE:LINE: PROBLEM or as objects. */
#include "tools/bad_lines.h"
#include <json-c/json.h>
#include <string.h>

enum { SHOWN_MAX = 20 };

void bad_lines_note(struct bad_lines *bad, uint64_t line, const char *problem)
{
    const char *path = bad->args->words[1];

    if (++bad->count > SHOWN_MAX)
        return;
    progress_clear(bad->progress);
    if (bad->args->json) {
        struct json_object *object = json_object_new_object();

        json_object_object_add(object, "file", json_object_new_string(path));
        json_object_object_add(object, "line", json_object_new_uint64(line));
        json_add_bytes(object, "problem", (helios_slice){problem, strlen(problem)});
        json_print(stderr, object);
        json_free(object);
        return;
    }
    fprintf(stderr, "%s:%llu: %s\n", path, (unsigned long long)line, problem);
}

void bad_lines_end(const struct bad_lines *bad)
{
    if (bad->count > SHOWN_MAX && !bad->args->json)
        fprintf(stderr, "... and %llu more bad lines\n", (unsigned long long)(bad->count - SHOWN_MAX));
}

void bad_lines_summary(const struct bad_lines *bad)
{
    if (bad->count)
        printf("%llu bad line%s left out\n", (unsigned long long)bad->count, bad->count == 1 ? "" : "s");
}
