/* fields.h - lines of text, and records of fields out of them: CSV (RFC 4180, by libcsv) and TSV. */
#ifndef HELIOS_TOOLS_FIELDS_H
#define HELIOS_TOOLS_FIELDS_H
#include "tools/heliosctl.h"

/* Lines of a file, counted from 1; a byte order mark in front is dropped. */
struct lines {
    FILE *file;
    char *text; /* the last line, with its end */
    size_t capacity;
    size_t size;
    uint64_t number; /* of that line */
    uint64_t offset; /* bytes read so far */
};
void lines_begin(struct lines *, FILE *);
bool lines_next(struct lines *); /* false at the end or on a read error: ferror(file) */
void lines_release(struct lines *);

struct fields {
    helios_slice *items; /* borrowed until the next record */
    size_t count;
    uint64_t line;       /* where the record begins */
    const char *problem; /* FIELDS_BAD: what is wrong with it */
};

enum fields_result { FIELDS_RECORD, FIELDS_BAD, FIELDS_END };

struct field_reader;
struct field_reader *field_reader_new(bool tabs);
void field_reader_free(struct field_reader *);
/* The next record. After a bad one, reading goes on at the next line. */
enum fields_result field_reader_next(struct field_reader *, struct lines *, struct fields *);

#endif
