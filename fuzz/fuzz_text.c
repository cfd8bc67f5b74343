/* fuzz_text.c - keys, values, points, times and spans as the tool reads and prints them: what is printed reads back as it was,
 * in one line that moves no terminal. */
#undef NDEBUG
#include "fuzz/tool_reports.h"
#include "tools/point.h"
#include <assert.h>
#include <string.h>

enum { TEXT_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(helios_slice bytes, bool hex)
{
    helios_buf text = {0};
    helios_slice back = {0};

    (hex ? hex_append : text_append)(&text, bytes);
    for (size_t i = 0; i < text.size; i++)
        assert((unsigned char)text.data[i] >= 0x20 && text.data[i] != 0x7f);
    assert(utf8_valid((helios_slice){text.data, text.size}) && utf8_columns(text.data) <= text.size);
    assert(bytes_decode(hex, text.data, &back));
    assert(back.size == bytes.size && memcmp(back.data, bytes.data, back.size) == 0);
    slice_free(&back);
    free(text.data);
}

static void as_bytes(helios_slice bytes)
{
    helios_buf shown = {0};
    helios_slice end = prefix_end(bytes);

    check_same(bytes, false);
    check_same(bytes, true);
    display_append(&shown, bytes);
    free(shown.data);
    if (end.data)
        assert(end.size <= bytes.size && memcmp(end.data, bytes.data, end.size) > 0);
    slice_free(&end);
}

static void as_text(const char *text, bool hex)
{
    helios_slice bytes = {0};

    if (bytes_decode(hex, text, &bytes)) {
        assert(bytes.size <= strlen(text));
        check_same(bytes, hex);
    }
    slice_free(&bytes);
}

static void as_point(const char *text)
{
    const uint64_t now = 1700000000000000;
    struct point point, again;
    const char *problem = NULL;
    char shown[TIME_TEXT_SIZE];
    uint64_t span, same;

    if (!point_parse(text, now, &point, &problem)) {
        assert(problem);
    } else if (point.kind == POINT_TIME) {
        time_text(point.time, false, shown);
        assert(strlen(shown) < sizeof(shown));
        if (point_parse(shown, now, &again, &problem)) /* the year 9999 is the last that is read */
            assert(again.kind == POINT_TIME && again.time == point.time);
    }
    if (duration_parse(text, &span, &problem)) {
        duration_text(span, shown);
        assert(duration_parse(shown, &same, &problem) && same == span);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[TEXT_MAX + 1];

    if (size > TEXT_MAX)
        return 0;
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    as_bytes((helios_slice){text, size});
    as_text(text, false);
    as_text(text, true);
    as_point(text);
    return 0;
}
