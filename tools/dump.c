/* dump.c - a single file of a database, as its bytes say. The one place of the tool that reads files
 * through the rooms inside the library: the database need not open, or be whole. */
#include "tools/heliosctl.h"
#include "base/mem.h"
#include "engine/batch.h"
#include "engine/manifest.h"
#include "sstable/block.h"
#include "sstable/table.h"
#include "wal/wal.h"
#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

static void add_number(struct json_object *object, const char *name, uint64_t number)
{
    json_object_object_add(object, name, json_object_new_uint64(number));
}

static void add_text(struct json_object *object, const char *name, const char *text)
{
    json_object_object_add(object, name, json_object_new_string(text));
}

static void print_and_free(struct json_object *object)
{
    json_print(stdout, object);
    json_free(object);
}

static const char *kind_name(enum key_kind kind)
{
    switch (kind) {
    case KIND_VALUE: return "put";
    case KIND_TOMBSTONE: return "delete";
    case KIND_RANGE_DELETE: return "delete_range";
    default: return "?";
    }
}

/* The beginning of a value is enough to know it by. */
enum { VALUE_SHOWN = 48 };

static void print_short(const struct args *args, helios_slice value)
{
    bool cut = value.size > VALUE_SHOWN && !args->all;

    print_bytes(stdout, args, (helios_slice){value.data, cut ? VALUE_SHOWN : value.size});
    if (cut)
        printf("... (%zu bytes)", value.size);
}

/* ---- log segments ---- */

static const char *record_type_name(enum wal_record_type type)
{
    switch (type) {
    case WAL_COMMIT: return "commit";
    case WAL_INGEST: return "ingest";
    case WAL_VOID: return "void";
    case WAL_END: return "end";
    }
    return "?";
}

static void print_segment(const struct args *args, const struct wal_segment_info *info)
{
    if (args->json) {
        struct json_object *object = json_object_new_object();

        add_number(object, "segment", info->header.number);
        add_number(object, "size", info->size);
        add_number(object, "created", info->created);
        add_number(object, "first", info->first);
        add_number(object, "predecessor", info->predecessor);
        add_number(object, "predecessor_end", info->predecessor_end);
        add_number(object, "predecessor_last", info->predecessor_last);
        json_object_object_add(object, "sealed", json_object_new_boolean(info->sealed));
        if (info->sealed) {
            add_number(object, "sealed_end", info->sealed_end);
            add_number(object, "sealed_last", info->sealed_last);
        }
        print_and_free(object);
        return;
    }
    printf("segment %" PRIu64 ", %" PRIu64 " bytes, numbers from %" PRIu64 "\n", info->header.number,
           info->size, info->first);
    printf("follows segment %" PRIu64 ", which ends at %" PRIu64 " with number %" PRIu64 "\n",
           info->predecessor, info->predecessor_end, info->predecessor_last);
    if (info->sealed)
        printf("sealed at %" PRIu64 " with number %" PRIu64 "\n", info->sealed_end, info->sealed_last);
    else
        printf("not sealed\n");
    printf("%10s  %-7s %12s %6s %10s  %s\n", "offset", "type", "first", "ops", "bytes", "time (us)");
}

static void print_op(const struct args *args, const struct op *op)
{
    if (args->json) {
        struct json_object *object = json_object_new_object();

        add_text(object, "op", kind_name(op->kind));
        add_number(object, "branch", op->branch);
        add_number(object, "space", op->space);
        json_add_bytes(object, "key", op->key);
        if (op->kind != KIND_TOMBSTONE)
            json_add_bytes(object, "value", op->value);
        print_and_free(object);
        return;
    }
    printf("%12s%s branch %u space %u  ", "", kind_name(op->kind), (unsigned)op->branch, (unsigned)op->space);
    print_bytes(stdout, args, op->key);
    if (op->kind != KIND_TOMBSTONE) {
        fputs(op->kind == KIND_RANGE_DELETE ? " .. " : " = ", stdout);
        print_short(args, op->value);
    }
    fputc('\n', stdout);
}

static void print_ops(const struct args *args, const struct wal_record *record)
{
    struct reader reader = reader_make(record->body.data, record->body.size);

    if (record->type != WAL_COMMIT)
        return;
    if (record->flags & WAL_RECORD_ORIGIN) /* its size, then it */
        (void)read_raw(&reader, read_u32(&reader));
    for (uint32_t i = 0; i < record->op_count; i++) {
        struct op op = {.branch = record->branch};

        if (!op_read(&reader, record->branch == WAL_BRANCH_MANY, &op)) {
            printf("%12sthe operations do not parse from here on\n", "");
            return;
        }
        if (record->branch != WAL_BRANCH_MANY)
            op.branch = record->branch;
        print_op(args, &op);
    }
}

static void print_record(const struct args *args, const struct wal_record *record)
{
    if (args->json) {
        struct json_object *object = json_object_new_object();

        add_number(object, "offset", wal_pos_offset(record->at));
        add_text(object, "type", record_type_name(record->type));
        add_number(object, "first", record->first);
        add_number(object, "ops", record->op_count);
        add_number(object, "body_bytes", record->body.size);
        add_number(object, "time", record->time);
        add_number(object, "synced_segment", wal_pos_segment(record->synced));
        add_number(object, "synced_offset", wal_pos_offset(record->synced));
        add_number(object, "branch", record->branch);
        add_number(object, "flags", record->flags);
        print_and_free(object);
    } else {
        printf("%10" PRIu64 "  %-7s %12" PRIu64 " %6" PRIu32 " %10zu  %" PRIu64 "\n",
               wal_pos_offset(record->at), record_type_name(record->type), record->first, record->op_count,
               record->body.size, record->time);
    }
    if (args->entries)
        print_ops(args, record);
}

/* What stands where no record is: the unused rest, a hole of a killed writer, or damage. */
static void print_hole(const struct args *args, struct wal_reader *reader, bool more)
{
    if (args->json) {
        struct json_object *object = json_object_new_object();

        add_number(object, "hole", wal_reader_offset(reader));
        json_object_object_add(object, "records_behind", json_object_new_boolean(more));
        print_and_free(object);
    } else {
        printf("%10" PRIu64 "  %s\n", wal_reader_offset(reader),
               more ? "no record here, but records behind it:" : "no record here, nor behind");
    }
}

static int dump_records(const struct args *args, struct wal_reader *reader)
{
    struct wal_record record;
    helios_status status;

    for (;;) {
        status = wal_reader_next(reader, &record);
        if (status == HELIOS_NOT_FOUND)
            return EXIT_CODE_OK;
        if (status == HELIOS_CORRUPT) {
            uint64_t hole = wal_reader_offset(reader);

            status = wal_reader_scan(reader, &record);
            if (status == HELIOS_OK) {
                uint64_t next = wal_reader_offset(reader);

                wal_reader_seek(reader, hole);
                print_hole(args, reader, true);
                wal_reader_seek(reader, next);
            } else if (status == HELIOS_NOT_FOUND) {
                wal_reader_seek(reader, hole);
                print_hole(args, reader, false);
                return EXIT_CODE_OK;
            }
        }
        if (status != HELIOS_OK)
            return report_status(args, status, NULL);
        print_record(args, &record);
    }
}

static int dump_wal(const struct args *args, const char *path)
{
    struct wal_reader *reader;
    helios_status status = wal_reader_open(io_posix(), NULL, path, &reader);
    int code;

    if (status != HELIOS_OK)
        return report_status(args, status, NULL);
    print_segment(args, wal_reader_info(reader));
    code = dump_records(args, reader);
    wal_reader_close(reader);
    return code;
}

/* ---- tables ---- */

static const char *block_type_name(enum block_type type)
{
    static const char *const names[] = {"?",      "data",          "history",    "index", "top index",
                                        "filter", "range deletes", "properties", "value"};

    return (size_t)type < sizeof(names) / sizeof(names[0]) ? names[type] : "?";
}

static const char *compression_name(helios_compression compression)
{
    switch (compression) {
    case HELIOS_COMPRESSION_NONE: return "none";
    case HELIOS_COMPRESSION_LZ4: return "lz4";
    case HELIOS_COMPRESSION_ZSTD: return "zstd";
    }
    return "?";
}

static void print_entry(const struct args *args, const struct block *block, uint32_t index, helios_slice key)
{
    uint8_t bits = block_kind_bits(block, index);
    enum key_kind kind = (enum key_kind)(bits & BLOCK_KIND_MASK);
    helios_slice value = block_value(block, index), user = key.size >= KEY_LAYER_BYTES ? key_user(key) : key;
    bool layered = key.size >= KEY_LAYER_BYTES, large = bits & BLOCK_LARGE;

    if (args->json) {
        struct json_object *object = json_object_new_object();

        add_text(object, "entry", kind_name(kind));
        add_number(object, "branch", layered ? key_branch(key) : 0);
        add_number(object, "space", layered ? key_space_of(key) : 0);
        json_add_bytes(object, "key", user);
        add_number(object, "seq", block_seq(block, index));
        json_object_object_add(object, "has_history", json_object_new_boolean(bits & BLOCK_HAS_HISTORY));
        json_object_object_add(object, "large", json_object_new_boolean(large));
        if (kind == KIND_VALUE && !large)
            json_add_bytes(object, "value", value);
        print_and_free(object);
        return;
    }
    printf("%12s%s @%" PRIu64 " branch %u space %u  ", "", kind_name(kind), block_seq(block, index),
           layered ? (unsigned)key_branch(key) : 0, layered ? (unsigned)key_space_of(key) : 0);
    print_bytes(stdout, args, user);
    if (kind == KIND_VALUE) {
        fputs(" = ", stdout);
        if (large)
            fputs("(a block of its own)", stdout);
        else
            print_short(args, value);
    }
    fputs(bits & BLOCK_HAS_HISTORY ? "  (older versions in history)\n" : "\n", stdout);
}

struct table_dump {
    const struct args *args;
    const char *path;
    helios_buf key;
};

static helios_status print_entries(struct table_dump *dump, const struct table_block_info *info,
                                   helios_slice image)
{
    struct block block;
    helios_status status = block_open(image.data, image.size, info->type == BLOCK_HISTORY, dump->path,
                                      info->handle.offset, &block);

    if (status != HELIOS_OK)
        return status;
    for (uint32_t i = 0; i < block.count; i++) {
        helios_slice suffix = block_suffix(&block, i);

        dump->key.size = 0;
        buf_add(&dump->key, block.shared, block.shared_size);
        buf_add(&dump->key, suffix.data, suffix.size);
        print_entry(dump->args, &block, i, (helios_slice){dump->key.data, dump->key.size});
    }
    return HELIOS_OK;
}

static helios_status print_block(void *arg, const struct table_block_info *info, helios_slice image)
{
    struct table_dump *dump = arg;

    if (dump->args->json) {
        struct json_object *object = json_object_new_object();

        add_text(object, "block", block_type_name(info->type));
        add_number(object, "offset", info->handle.offset);
        add_number(object, "stored", info->handle.stored);
        add_number(object, "size", info->handle.size);
        add_text(object, "compression", compression_name(info->compression));
        add_number(object, "entries", info->count);
        print_and_free(object);
    } else {
        printf("%10" PRIu64 "  %-13s %10" PRIu32 " %10" PRIu32 "  %-5s %8" PRIu32 "\n", info->handle.offset,
               block_type_name(info->type), info->handle.stored, info->handle.size,
               compression_name(info->compression), info->count);
    }
    if (dump->args->entries && (info->type == BLOCK_DATA || info->type == BLOCK_HISTORY))
        return print_entries(dump, info, image);
    return HELIOS_OK;
}

static int dump_sst(const struct args *args, const char *path)
{
    struct table_dump dump = {.args = args, .path = path};
    helios_status status;

    if (!args->json)
        printf("%10s  %-13s %10s %10s  %-5s %8s\n", "offset", "block", "stored", "size", "by", "entries");
    status = table_each_block(io_posix(), path, print_block, &dump);
    free(dump.key.data);
    return status == HELIOS_OK ? EXIT_CODE_OK : report_status(args, status, NULL);
}

/* ---- manifests ---- */

/* "level=0 table=2 keys=a .. b": numbers as numbers; keys come last and take the rest. */
static void add_fields(struct json_object *object, char *text)
{
    while (text) {
        char *equals = strchr(text, '='), *end = NULL, *space;
        unsigned long long number;

        if (!equals)
            return;
        *equals = '\0';
        space = strcmp(text, "keys") == 0 ? NULL : strchr(equals + 1, ' ');
        if (space)
            *space = '\0';
        errno = 0;
        number = strtoull(equals + 1, &end, 10);
        if (errno == 0 && *end == '\0' && end != equals + 1)
            add_number(object, text, number);
        else
            json_add_bytes(object, text, (helios_slice){equals + 1, strlen(equals + 1)});
        text = space ? space + 1 : NULL;
    }
}

static void print_line(void *arg, const char *text)
{
    const struct args *args = arg;
    struct json_object *object;
    char *copy, *word, *rest;
    unsigned long long offset, bytes;

    if (!args->json) {
        puts(text);
        return;
    }
    object = json_object_new_object();
    if (sscanf(text, "edit at %llu, %llu bytes", &offset, &bytes) == 2) {
        add_text(object, "what", "edit");
        add_number(object, "offset", offset);
        add_number(object, "bytes", bytes);
        print_and_free(object);
        return;
    }
    copy = xtext(text);
    word = copy + strspn(copy, " ");
    rest = word + strcspn(word, " :");
    if (*rest)
        *rest++ = '\0';
    add_text(object, "what", word);
    if (strchr(rest, '='))
        add_fields(object, rest);
    else if (*rest)
        json_add_bytes(object, "text",
                       (helios_slice){rest + strspn(rest, " "), strlen(rest + strspn(rest, " "))});
    print_and_free(object);
    free(copy);
}

static int dump_manifest(const struct args *args, const char *path)
{
    helios_status status = manifest_dump(io_posix(), path, print_line, (void *)(uintptr_t)args);

    return status == HELIOS_OK ? EXIT_CODE_OK : report_status(args, status, NULL);
}

static int run_dump(struct args *args)
{
    static const struct {
        const char *what;
        int (*dump)(const struct args *, const char *path);
    } rows[] = {{"wal", dump_wal}, {"sst", dump_sst}, {"manifest", dump_manifest}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(args->words[0], rows[i].what) == 0)
            return rows[i].dump(args, args->words[1]);
    return report_usage(args, "dump knows wal, sst and manifest, not \"%s\"", args->words[0]);
}

static const struct argp_option dump_options[] = {
    {"entries", OPTION_ENTRIES, NULL, 0, "Also every operation of a record, every entry of a data block", 0},
    {"all", OPTION_ALL, NULL, 0, "Values in full length", 0},
    OPTION_ROW_HEX,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};

const struct command dump_commands[] = {
    {"dump", "wal|sst|manifest FILE", "Show what is in one file of a database",
     "Files are DB/wal/N.wal or N.arc, DB/sst/N.sst and DB/MANIFEST-N. The database need not open for this.",
     dump_options, 2, 2, run_dump},
    {0},
};
