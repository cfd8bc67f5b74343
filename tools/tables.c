/* tables.c - what the commands on tables share: opening, and names of a schema. */
#include "tools/tables.h"
#include "tools/at.h"
#include "tools/branches.h"
#include "tools/cells.h"
#include <stdlib.h>
#include <string.h>

int table_work_begin(const struct args *args, enum open_mode mode, struct table_work *work)
{
    struct point point = {.kind = POINT_LATEST};
    int code = at_parse(args, "--at", args->at, &point);

    *work = (struct table_work){.options = HELIOS_TABLE_OPTIONS_INIT};
    work->options.durability = args->durability;
    if (code == EXIT_CODE_OK)
        code = ctl_open(args, mode, &work->db);
    if (code)
        return code;
    code = at_resolve(args, work->db, &point, &work->branch, &work->options.at);
    work->options.branch = work->branch;
    return code ? ctl_close(args, work->db, code) : code;
}

int table_work_check(const struct args *args, const struct table_work *work, helios_status status)
{
    if (status == HELIOS_EXISTS) /* of a name or a key, not of a database */
        return report_advice(args, helios_status_name(status), exit_code_of(status), NULL, "%s",
                             helios_last_error());
    return status == HELIOS_OK ? EXIT_CODE_OK : report_read(args, work->db, status, NULL);
}

int table_work_transact(const struct args *args, struct table_work *work)
{
    helios_txn_options options = HELIOS_TXN_OPTIONS_INIT;
    helios_status status;

    helios_table_close(work->table);
    work->table = NULL;
    helios_txn_free(work->txn);
    work->txn = NULL;
    options.branch = work->branch;
    options.durability = args->durability;
    status = helios_txn_begin(work->db, &options, &work->txn);
    work->options = (helios_table_options)HELIOS_TABLE_OPTIONS_INIT;
    work->options.txn = work->txn;
    return table_work_check(args, work, status);
}

int table_work_commit(const struct args *args, struct table_work *work, int code)
{
    return code ? code : table_work_check(args, work, helios_txn_commit(work->txn, NULL));
}

int table_work_open(const struct args *args, struct table_work *work, const char *name)
{
    return table_work_check(args, work, helios_table_open(work->db, &work->options, name, &work->table));
}

int table_work_end(const struct args *args, struct table_work *work, int code)
{
    helios_table_close(work->table);
    helios_txn_free(work->txn);
    return ctl_close(args, work->db, code);
}

int table_key_find(const struct args *args, const helios_schema *schema, const char *index,
                   struct key_columns *columns)
{
    *columns = (struct key_columns){0};
    if (strcmp(index, HELIOS_PRIMARY) == 0)
        *columns = (struct key_columns){schema->primary_key, schema->primary_key_count};
    for (size_t i = 0; i < schema->index_count; i++)
        if (strcmp(schema->indexes[i].name, index) == 0)
            *columns = (struct key_columns){schema->indexes[i].columns, schema->indexes[i].column_count};
    if (columns->count)
        return EXIT_CODE_OK;
    return report_advice(args, "USAGE", EXIT_CODE_USAGE, "`heliosctl index list` shows those there are",
                         strcmp(index, HELIOS_PRIMARY) == 0 ? "table \"%s\" has no primary key"
                                                            : "table \"%s\" has no index \"%s\"",
                         schema->name, index);
}

int table_column_find(const struct args *args, const helios_schema *schema, const char *name, size_t *place)
{
    helios_buf names = {0};
    int code;

    *place = table_column_named(schema, name);
    if (*place < schema->column_count)
        return EXIT_CODE_OK;
    for (size_t i = 0; i < schema->column_count; i++) {
        buf_add_text(&names, i ? ", " : "");
        buf_add_text(&names, schema->columns[i].name);
    }
    code = report_usage(args, "table \"%s\" has no column \"%s\"; it has: %s", schema->name, name, names.data);
    free(names.data);
    return code;
}

void type_text(const helios_column *column, char out[TYPE_TEXT_SIZE])
{
    if (column->type == HELIOS_TYPE_DECIMAL)
        snprintf(out, TYPE_TEXT_SIZE, "%s(%u)", helios_type_name(column->type), column->scale);
    else
        snprintf(out, TYPE_TEXT_SIZE, "%s", helios_type_name(column->type));
}
