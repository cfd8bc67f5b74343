/* input.h - a file to load, as rows of key and value with their line numbers. */
#ifndef HELIOS_TOOLS_INPUT_H
#define HELIOS_TOOLS_INPUT_H
#include "tools/cells.h"

struct input_row {
    helios_slice key, value;   /* borrowed until the next row */
    const struct cells *cells; /* with --table in place of both; borrowed likewise */
    uint64_t line;
    const char *problem; /* INPUT_BAD: what is wrong with the line; borrowed likewise */
};

enum input_result { INPUT_ROW, INPUT_BAD, INPUT_END };

struct input;
/* Opens words[1] ("-": standard input) and reads a header where the format has one. 0 or an exit code,
 * reported. */
int input_open(const struct args *, struct input **);
void input_close(struct input *);
enum input_result input_next(struct input *, struct input_row *);
bool input_failed(const struct input *); /* the end came by a read error: errno */
bool input_can_rewind(const struct input *);
int input_rewind(struct input *); /* to the first row; 0 or an exit code */
uint64_t input_offset(const struct input *);
uint64_t input_total(const struct input *); /* bytes; 0: not known */

#endif
