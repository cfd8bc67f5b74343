/* fuzz_import.c - files to load: CSV, TSV and NDJSON, as rows and as pairs. The first byte chooses format and options. Every
 * line is a row or a bad line that says why; a second reading gives the same. */
#undef NDEBUG
#include "fuzz/tool_reports.h"
#include "tools/input.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
    uint64_t rows, bad, bytes;
};

static struct sum read_all(struct input *input)
{
    struct sum sum = {0};
    struct input_row row;
    uint64_t line = 0;
    enum input_result result;

    while ((result = input_next(input, &row)) != INPUT_END) {
        assert(row.line > line && input_offset(input) > 0);
        line = row.line;
        if (result == INPUT_BAD) {
            assert(row.problem && row.problem[0]);
            sum.bad++;
            continue;
        }
        for (size_t i = 0; i < row.key.size; i++)
            sum.bytes += ((const unsigned char *)row.key.data)[i];
        for (size_t i = 0; i < row.value.size; i++)
            sum.bytes += ((const unsigned char *)row.value.data)[i];
        sum.rows++;
    }
    assert(!input_failed(input));
    return sum;
}

static void read_twice(const struct args *args)
{
    struct input *input = NULL;
    struct sum first, second;

    if (input_open(args, &input) != EXIT_CODE_OK)
        return;
    first = read_all(input);
    assert(!input_can_rewind(input) || input_rewind(input) == EXIT_CODE_OK);
    second = input_can_rewind(input) ? read_all(input) : first;
    assert(first.rows == second.rows && first.bad == second.bad && first.bytes == second.bytes);
    input_close(input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = {"csv", "tsv", "ndjson"};
    static struct args args;
    char path[32];
    int fd;

    if (size < 1)
        return 0;
    memset(&args, 0, sizeof(args));
    args.format = formats[data[0] % 3];
    args.pairs = data[0] & 64;
    args.row_number = data[0] & 32 || !(data[0] & 16);
    args.prefix = data[0] & 8 ? "rows:" : NULL;
    if (data[0] & 16)
        args.key_columns[args.key_column_count++] = "id";
    fd = memfd_create("fuzz", MFD_CLOEXEC);
    assert(fd >= 0 && write(fd, data + 1, size - 1) == (ssize_t)size - 1);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    args.words[1] = path;
    args.word_count = 2;
    read_twice(&args);
    close(fd);
    return 0;
}
