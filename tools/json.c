/* json.c - JSON out, by json-c. */
#include "tools/heliosctl.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

void json_add_bytes(struct json_object *object, const char *name, helios_slice slice)
{
    helios_buf digits = {0};
    char hex_name[64];

    if (utf8_valid(slice)) {
        json_object_object_add(object, name,
                               json_object_new_string_len(slice.size ? slice.data : "", (int)slice.size));
        return;
    }
    snprintf(hex_name, sizeof(hex_name), "%s_hex", name);
    hex_append(&digits, slice);
    json_object_object_add(object, hex_name, json_object_new_string_len(digits.data, (int)digits.size));
    free(digits.data);
}

static void print_with(FILE *file, struct json_object *object, int flags)
{
    size_t size;
    const char *text = json_object_to_json_string_length(object, flags | JSON_C_TO_STRING_NOSLASHESCAPE, &size);

    fwrite(text, 1, size, file);
    fputc('\n', file);
}

void json_print(FILE *file, struct json_object *object)
{
    print_with(file, object, JSON_C_TO_STRING_PLAIN);
}

void json_print_pretty(FILE *file, struct json_object *object)
{
    print_with(file, object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED);
}

void json_free(struct json_object *object)
{
    json_object_put(object);
}
