/* test_tables.c - tables through the public API: what each call answers, what is seen where, and the defects of the systems
 * that these replace, each under its id. */
#undef NDEBUG
#include "helios/helios.h"
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MUST(call)                                                                                             \
    do {                                                                                                       \
        helios_status status_ = (call);                                                                        \
        if (status_ != HELIOS_OK) {                                                                            \
            fprintf(stderr, "%s:%d: %s: %s: %s\n", __FILE__, __LINE__, #call, helios_status_name(status_),     \
                    helios_last_error());                                                                      \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)
#define GIVES(expected, call)                                                                                  \
    do {                                                                                                       \
        helios_status status_ = (call);                                                                        \
        if (status_ != (expected)) {                                                                           \
            fprintf(stderr, "%s:%d: %s: %s instead of %s: %s\n", __FILE__, __LINE__, #call,                    \
                    helios_status_name(status_), helios_status_name(expected), helios_last_error());           \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char directory[64];

static helios_value none(void)
{
    return (helios_value){.type = HELIOS_TYPE_NONE};
}
static helios_value null(void)
{
    return (helios_value){.type = HELIOS_TYPE_NULL};
}
static helios_value integer(int64_t n)
{
    return (helios_value){.type = HELIOS_TYPE_INT64, .as.integer = n};
}
static helios_value text(const char *s)
{
    return (helios_value){.type = HELIOS_TYPE_TEXT, .as.bytes = {s, strlen(s)}};
}
static helios_value real(double d)
{
    return (helios_value){.type = HELIOS_TYPE_FLOAT64, .as.real = d};
}

static helios_db *open_at(const char *path)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_db *db;

    options.in_memory = path == NULL;
    options.memtable_bytes = 1 << 20;
    options.feed_retention = HELIOS_FOREVER;
    MUST(helios_open(path ? path : "tables", &options, &db));
    return db;
}

static const helios_column user_columns[] = {
    {.name = "id", .type = HELIOS_TYPE_INT32},
    {.name = "name", .type = HELIOS_TYPE_TEXT, .not_null = true},
    {.name = "email", .type = HELIOS_TYPE_TEXT, .unique = true},
    {.name = "age", .type = HELIOS_TYPE_INT16},
};
static const char *const user_key[] = {"id"};
static const char *const age_column[] = {"age"};
static const helios_index_schema user_indexes[] = {
    {.name = "by_age", .columns = age_column, .column_count = 1}};

static uint32_t make_users(helios_db *db, const helios_table_options *options, const char *name)
{
    helios_schema schema = HELIOS_SCHEMA_INIT;
    uint32_t id;

    schema.name = name;
    schema.columns = user_columns;
    schema.column_count = COUNT(user_columns);
    schema.primary_key = user_key;
    schema.primary_key_count = 1;
    schema.indexes = user_indexes;
    schema.index_count = 1;
    MUST(helios_table_create(db, options, &schema, &id));
    return id;
}

static helios_table *open_table(helios_db *db, const helios_table_options *options, const char *name)
{
    helios_table *table;

    MUST(helios_table_open(db, options, name, &table));
    return table;
}

static uint64_t add_user(helios_table *t, int64_t key, const char *name, const char *email, int age)
{
    helios_value values[] = {key ? integer(key) : null(), text(name), email ? text(email) : null(),
                             integer(age)};
    uint64_t id = 0;

    MUST(helios_row_insert(t, values, 4, &id));
    return id;
}

static uint64_t count(helios_table *t)
{
    uint64_t n;

    MUST(helios_row_count(t, &n));
    return n;
}

/* The whole table as one text: rows in order, columns by commas. */
static const char *dump(helios_table *t, const helios_rows_options *options)
{
    static helios_buf out;
    helios_rows *rows;
    const helios_row *row;

    out.size = 0;
    MUST(helios_rows_new(t, options, &rows));
    while (helios_rows_next(rows, &row)) {
        char id[32];
        helios_slice before = {out.data, out.size};

        snprintf(id, sizeof(id), "%s%" PRIu64 ":", before.size ? " " : "", row->id);
        for (const char *c = id; *c; c++)
            MUST(helios_value_print(&(helios_value){.type = HELIOS_TYPE_TEXT, .as.bytes = {c, 1}}, &out));
        for (size_t i = 0; i < row->count; i++) {
            if (i)
                MUST(helios_value_print(&(helios_value){.type = HELIOS_TYPE_TEXT, .as.bytes = {",", 1}}, &out));
            MUST(helios_value_print(&row->values[i], &out));
        }
    }
    MUST(helios_rows_status(rows));
    helios_rows_free(rows);
    MUST(helios_value_print(&(helios_value){.type = HELIOS_TYPE_TEXT, .as.bytes = {"", 1}}, &out));
    return out.data;
}

static void expect(helios_table *t, const helios_rows_options *options, const char *wanted)
{
    const char *got = dump(t, options);

    if (strcmp(got, wanted) != 0) {
        fprintf(stderr, "rows: %s\nnot:  %s\n", got, wanted);
        abort();
    }
}

/* ---- rows ---- */

static void test_first_path(void)
{
    helios_db *db = open_at(NULL);
    helios_table *t;
    helios_row row = {0};
    helios_value key, change[4];
    uint64_t id;

    GIVES(HELIOS_NOT_FOUND, helios_table_open(db, NULL, "users", &t));
    make_users(db, NULL, "users");
    t = open_table(db, NULL, "users");
    assert(add_user(t, 0, "ann", "a@x", 30) == 1);
    assert(add_user(t, 0, "bob", NULL, 20) == 2);
    assert(add_user(t, 7, "cid", NULL, 30) == 7);
    assert(add_user(t, 0, "dan", "d@x", 25) == 8);
    expect(t, NULL, "1:1,ann,a@x,30 2:2,bob,,20 7:7,cid,,30 8:8,dan,d@x,25");
    assert(count(t) == 4);
    MUST(helios_row_get(t, 2, &row));
    assert(row.count == 4 && row.values[1].type == HELIOS_TYPE_TEXT && row.values[2].type == HELIOS_TYPE_NULL);
    GIVES(HELIOS_NOT_FOUND, helios_row_get(t, 3, &row));
    key = integer(7);
    MUST(helios_row_find(t, NULL, &key, 1, &row));
    assert(row.id == 7 && memcmp(row.values[1].as.bytes.data, "cid", 3) == 0);
    key = text("d@x");
    MUST(helios_row_find(t, "email", &key, 1, &row));
    assert(row.id == 8);
    key = integer(30);
    MUST(helios_row_find(t, "by_age", &key, 1, &row));
    assert(row.id == 1);
    /* Unique keys, NULL where it may not be, ids. */
    change[0] = integer(9), change[1] = text("eve"), change[2] = text("a@x");
    id = 0;
    GIVES(HELIOS_EXISTS, helios_row_insert(t, change, 3, &id));
    change[0] = integer(7), change[2] = text("e@x");
    GIVES(HELIOS_EXISTS, helios_row_insert(t, change, 3, &id));
    change[0] = integer(9), change[1] = null();
    GIVES(HELIOS_INVALID, helios_row_insert(t, change, 3, &id));
    change[1] = text("eve");
    id = 8;
    GIVES(HELIOS_EXISTS, helios_row_insert(t, change, 3, &id));
    assert(count(t) == 4);
    /* What is given changes, the rest stays; its entries follow. */
    change[0] = none(), change[1] = none(), change[2] = text("b@x"), change[3] = integer(31);
    MUST(helios_row_update(t, 2, change, 4));
    expect(t, NULL, "1:1,ann,a@x,30 2:2,bob,b@x,31 7:7,cid,,30 8:8,dan,d@x,25");
    GIVES(HELIOS_NOT_FOUND, helios_row_update(t, 99, change, 4));
    key = integer(20);
    GIVES(HELIOS_NOT_FOUND, helios_row_find(t, "by_age", &key, 1, &row));
    change[2] = text("d@x");
    GIVES(HELIOS_EXISTS, helios_row_update(t, 2, change, 4));
    change[0] = integer(2), change[1] = text("bea"), change[2] = none(), change[3] = none();
    id = 0;
    MUST(helios_row_upsert(t, change, 4, &id));
    assert(id == 2);
    change[0] = integer(50);
    id = 0;
    MUST(helios_row_upsert(t, change, 4, &id));
    assert(id == 50);
    MUST(helios_row_delete(t, 1));
    GIVES(HELIOS_NOT_FOUND, helios_row_delete(t, 1));
    expect(t, NULL, "2:2,bea,, 7:7,cid,,30 8:8,dan,d@x,25 50:50,bea,,");
    assert(add_user(t, 1, "ann", "a@x", 1) == 1); /* both keys are free again */
    helios_row_release(&row);
    helios_table_close(t);
    MUST(helios_close(db));
}

static void test_ranges(void)
{
    helios_db *db = open_at(NULL);
    helios_table *t;
    helios_rows_options o = HELIOS_ROWS_OPTIONS_INIT;
    helios_value from, to;

    make_users(db, NULL, "users");
    t = open_table(db, NULL, "users");
    for (int i = 1; i <= 12; i++)
        add_user(t, i, "n", NULL, 100 - i / 2);
    o.from_id = 9, o.to_id = 11;
    expect(t, &o, "9:9,n,,96 10:10,n,,95 11:11,n,,95"); /* R08: in the order of numbers */
    o.reverse = true;
    expect(t, &o, "11:11,n,,95 10:10,n,,95 9:9,n,,96");
    o.offset = 1, o.limit = 1;
    expect(t, &o, "10:10,n,,95");
    o = (helios_rows_options)HELIOS_ROWS_OPTIONS_INIT;
    o.index = "by_age", o.from = &from, o.from_count = 1, o.to = &to, o.to_count = 1;
    from = integer(94), to = integer(95);
    expect(t, &o, "12:12,n,,94 10:10,n,,95 11:11,n,,95");
    o.reverse = true, o.limit = 2;
    expect(t, &o, "11:11,n,,95 10:10,n,,95");
    o.limit = 0, o.offset = 5;
    expect(t, &o, "");
    from = integer(96), to = integer(94), o.offset = 0;
    expect(t, &o, "");
    o.index = HELIOS_PRIMARY, o.to_count = 0, from = integer(11), o.reverse = false;
    expect(t, &o, "11:11,n,,95 12:12,n,,94"); /* R09 */
    helios_table_close(t);
    MUST(helios_close(db));
}

/* R10, R11, R27: a key of another width finds what it equals, or nothing; what does not fit is refused. */
static void test_conversion(void)
{
    helios_db *db = open_at(NULL);
    helios_table *t;
    helios_row row = {0};
    helios_value key, values[4];

    make_users(db, NULL, "users");
    t = open_table(db, NULL, "users");
    add_user(t, 1, "one", NULL, 1);
    key = integer(INT64_C(4294967297));
    GIVES(HELIOS_NOT_FOUND, helios_row_find(t, NULL, &key, 1, &row));
    key = (helios_value){.type = HELIOS_TYPE_INT16, .as.integer = 1};
    MUST(helios_row_find(t, NULL, &key, 1, &row));
    key = text("1");
    MUST(helios_row_find(t, NULL, &key, 1, &row));
    key = text("1x");
    GIVES(HELIOS_NOT_FOUND, helios_row_find(t, NULL, &key, 1, &row));
    key = real(1.0);
    MUST(helios_row_find(t, NULL, &key, 1, &row));
    key = real(1.5);
    GIVES(HELIOS_NOT_FOUND, helios_row_find(t, NULL, &key, 1, &row));
    values[0] = integer(INT64_C(1) << 31), values[1] = text("big");
    GIVES(HELIOS_INVALID, helios_row_insert(t, values, 2, NULL));
    values[0] = integer(2), values[1] = (helios_value){.type = HELIOS_TYPE_TEXT, .as.bytes = {"\xff", 1}};
    GIVES(HELIOS_INVALID, helios_row_insert(t, values, 2, NULL));
    values[0] = integer(INT32_MAX), values[1] = text("last");
    MUST(helios_row_insert(t, values, 2, NULL));
    values[0] = null(); /* the next id does not fit the key */
    GIVES(HELIOS_LIMIT, helios_row_insert(t, values, 2, NULL));
    assert(count(t) == 2);
    helios_row_release(&row);
    helios_table_close(t);
    MUST(helios_close(db));
}

/* ---- where ---- */

static void test_branches_and_time(void)
{
    helios_db *db = open_at(NULL);
    helios_table_options past = HELIOS_TABLE_OPTIONS_INIT, on = HELIOS_TABLE_OPTIONS_INIT;
    helios_table *t, *old, *branch;
    helios_value change[4] = {none(), text("ANN"), none(), none()};
    char **names;
    size_t n;

    make_users(db, NULL, "users");
    t = open_table(db, NULL, "users");
    add_user(t, 0, "ann", "a@x", 1);
    past.at = helios_latest(db);
    MUST(helios_branch_create(db, "dev", 0, 0, &on.branch));
    MUST(helios_row_update(t, 1, change, 2));
    branch = open_table(db, &on, "users");
    expect(branch, NULL, "1:1,ann,a@x,1");
    /* R13: keys of a branch are its own, and ids are nobody's twice. */
    MUST(helios_row_delete(branch, 1));
    assert(add_user(branch, 0, "amy", "a@x", 2) == 2);
    assert(add_user(t, 0, "bob", "b@x", 3) == 3);
    expect(branch, NULL, "2:2,amy,a@x,2");
    expect(t, NULL, "1:1,ANN,a@x,1 3:3,bob,b@x,3");
    MUST(helios_table_drop(db, NULL, "users"));
    GIVES(HELIOS_NOT_FOUND, helios_row_delete(t, 3));
    GIVES(HELIOS_NOT_FOUND, helios_row_count(t, &(uint64_t){0})); /* R38 */
    old = open_table(db, &past, "users");
    expect(old, NULL, "1:1,ann,a@x,1");
    GIVES(HELIOS_READ_ONLY, helios_row_delete(old, 1));
    expect(branch, NULL, "2:2,amy,a@x,2");
    MUST(helios_table_list(db, NULL, &names, &n));
    assert(n == 0);
    helios_free(names);
    MUST(helios_table_list(db, &on, &names, &n));
    assert(n == 1 && strcmp(names[0], "users") == 0);
    helios_free(names);
    helios_table_close(t);
    make_users(db, NULL, "users"); /* R34, R17: nothing of the old one shows */
    t = open_table(db, NULL, "users");
    expect(t, NULL, "");
    assert(add_user(t, 0, "zoe", "a@x", 1) == 1);
    helios_table_close(old);
    helios_table_close(branch);
    helios_table_close(t);
    MUST(helios_close(db));
}

static void test_transactions(void)
{
    helios_db *db = open_at(NULL);
    helios_table_options in = HELIOS_TABLE_OPTIONS_INIT;
    helios_table *t, *own;
    helios_txn *txn;
    helios_buf value = {0};
    helios_value values[4] = {null(), text("bob"), text("a@x"), none()};

    make_users(db, NULL, "users");
    t = open_table(db, NULL, "users");
    add_user(t, 0, "ann", "a@x", 1);
    MUST(helios_txn_begin(db, NULL, &txn));
    in.txn = txn;
    own = open_table(db, &in, "users");
    GIVES(HELIOS_EXISTS, helios_row_insert(own, values, 4, NULL));
    MUST(helios_txn_put(txn, values[1].as.bytes, values[2].as.bytes)); /* plain keys beside */
    add_user(own, 0, "cid", "c@x", 2);
    MUST(helios_row_delete(own, 1));
    add_user(own, 0, "dan", "a@x", 3);
    assert(count(own) == 2 && count(t) == 1);
    MUST(helios_txn_commit(txn, NULL));
    helios_table_close(own);
    helios_txn_free(txn);
    assert(count(t) == 2);
    MUST(helios_get(db, NULL, values[1].as.bytes, &value));
    /* Two that write one unique key: the first wins. */
    MUST(helios_txn_begin(db, NULL, &txn));
    in.txn = txn;
    own = open_table(db, &in, "users");
    add_user(own, 0, "eve", "e@x", 1);
    add_user(t, 0, "eva", "e@x", 1);
    GIVES(HELIOS_CONFLICT, helios_txn_commit(txn, NULL));
    helios_table_close(own);
    helios_txn_free(txn);
    /* A schema that changes is somebody who was first. */
    MUST(helios_txn_begin(db, NULL, &txn));
    in.txn = txn;
    own = open_table(db, &in, "users");
    add_user(own, 0, "fay", "f@x", 1);
    MUST(helios_column_add(db, NULL, "users", &(helios_column){.name = "more", .type = HELIOS_TYPE_BOOL}));
    GIVES(HELIOS_CONFLICT, helios_txn_commit(txn, NULL));
    helios_table_close(own);
    helios_txn_free(txn);
    helios_buf_free(&value);
    helios_table_close(t);
    MUST(helios_close(db));
}

/* ---- schemas ---- */

/* R06, R18, R20. */
static void test_columns(void)
{
    helios_db *db = open_at(NULL);
    helios_table_options past = HELIOS_TABLE_OPTIONS_INIT;
    helios_table *t, *old;
    helios_value values[5] = {null(), text("bob"), null(), null(), text("x")};
    uint64_t id = 0;

    make_users(db, NULL, "users");
    t = open_table(db, NULL, "users");
    add_user(t, 0, "ann", "a@x", 1);
    past.at = helios_latest(db);
    GIVES(HELIOS_INVALID,
          helios_column_add(db, NULL, "users",
                            &(helios_column){.name = "c", .type = HELIOS_TYPE_INT64, .not_null = true}));
    GIVES(HELIOS_EXISTS,
          helios_column_add(db, NULL, "users", &(helios_column){.name = "age", .type = HELIOS_TYPE_BOOL}));
    GIVES(HELIOS_INVALID,
          helios_column_add(
              db, NULL, "users",
              &(helios_column){.name = "c", .type = HELIOS_TYPE_BOOL, .default_value = text("maybe")}));
    MUST(helios_column_add(
        db, NULL, "users",
        &(helios_column){
            .name = "note", .type = HELIOS_TYPE_TEXT, .not_null = true, .default_value = text("-")}));
    expect(t, NULL, "1:1,ann,a@x,1,-");
    MUST(helios_row_insert(t, values, 5, NULL));
    GIVES(HELIOS_INVALID, helios_column_drop(db, NULL, "users", "age"));
    MUST(helios_index_drop(db, NULL, "users", "by_age"));
    MUST(helios_column_drop(db, NULL, "users", "age"));
    MUST(helios_column_rename(db, NULL, "users", "name", "called"));
    expect(t, NULL, "1:1,ann,a@x,- 2:2,bob,,x");
    assert(strcmp(helios_table_schema(t)->columns[1].name, "called") == 0);
    MUST(helios_column_add(db, NULL, "users", &(helios_column){.name = "age", .type = HELIOS_TYPE_TEXT}));
    expect(t, NULL, "1:1,ann,a@x,-, 2:2,bob,,x,"); /* of the same name, not the same column */
    values[1] = text("ANN");
    for (int i = 0; i < 5; i++)
        values[i] = i == 1 ? text("ANN") : none();
    MUST(helios_row_update(t, 1, values, 5));
    expect(t, NULL, "1:1,ANN,a@x,-, 2:2,bob,,x,");
    old = open_table(db, &past, "users");
    expect(old, NULL, "1:1,ann,a@x,1");
    helios_table_close(old);
    MUST(helios_table_rename(db, NULL, "users", "people"));
    GIVES(HELIOS_NOT_FOUND, helios_table_rename(db, NULL, "users", "x"));
    values[0] = null(), values[1] = text("cid");
    MUST(helios_row_insert(t, values, 3, &id)); /* the handle goes on; ids too */
    assert(id == 3);
    helios_table_close(t);
    t = open_table(db, NULL, "people");
    assert(count(t) == 3);
    MUST(helios_table_truncate(db, NULL, "people"));
    id = 0;
    MUST(helios_row_insert(t, values, 2, &id));
    assert(id == 4 && count(t) == 1);
    GIVES(HELIOS_EXISTS, helios_table_create(db, NULL,
                                             &(helios_schema){.size = sizeof(helios_schema),
                                                              .name = "people",
                                                              .columns = user_columns,
                                                              .column_count = 1},
                                             NULL));
    helios_table_close(t);
    MUST(helios_close(db));
}

static void test_index_later(void)
{
    static const char *const columns[] = {"name", "age"};
    const helios_index_schema two = {.name = "two", .columns = columns, .column_count = 2};
    const helios_index_schema one = {.name = "one", .columns = columns, .column_count = 1, .unique = true};
    helios_db *db = open_at(NULL);
    helios_table *t;
    helios_schema *schema;
    helios_rows_options o = HELIOS_ROWS_OPTIONS_INIT;
    helios_value key[2] = {text("n7"), integer(3)};
    helios_row row = {0};
    char name[16];

    make_users(db, NULL, "users");
    t = open_table(db, NULL, "users");
    for (int i = 1; i <= 1000; i++) {
        snprintf(name, sizeof(name), "n%d", i % 500);
        add_user(t, i, name, NULL, i % 4);
    }
    MUST(helios_index_create(db, NULL, "users", &two));
    MUST(helios_row_find(t, "two", key, 2, &row));
    assert(row.id == 7);
    o.index = "two", o.from = key, o.from_count = 1, o.to = key, o.to_count = 1;
    expect(t, &o, "7:7,n7,,3 507:507,n7,,3");
    GIVES(HELIOS_EXISTS, helios_index_create(db, NULL, "users", &two));
    GIVES(HELIOS_EXISTS, helios_index_create(db, NULL, "users", &one)); /* n7 is there twice */
    MUST(helios_table_describe(db, NULL, "users", &schema));
    assert(schema->index_count == 3 && strcmp(schema->indexes[2].name, "two") == 0 &&
           !schema->indexes[2].building);
    helios_free(schema);
    for (int i = 501; i <= 1000; i++)
        MUST(helios_row_delete(t, (uint64_t)i));
    MUST(helios_index_create(db, NULL, "users", &one));
    MUST(helios_row_find(t, "one", key, 1, &row));
    assert(row.id == 7);
    MUST(helios_index_drop(db, NULL, "users", "two"));
    GIVES(HELIOS_INVALID, helios_row_find(t, "two", key, 2, &row));
    GIVES(HELIOS_INVALID, helios_index_drop(db, NULL, "users", HELIOS_PRIMARY));
    helios_row_release(&row);
    helios_table_close(t);
    MUST(helios_close(db));
}

/* ---- ids ---- */

/* R01, R04, R05: what an open has given, the next one does not. */
static void test_ids_after_reopen(void)
{
    helios_db *db = open_at(directory);
    helios_table *t;
    uint64_t id = 1000;
    helios_value values[4] = {null(), text("x"), null(), null()};

    make_users(db, NULL, "users");
    t = open_table(db, NULL, "users");
    for (uint64_t i = 1; i <= 70; i++)
        assert(add_user(t, 0, "n", NULL, 0) == i);
    helios_table_close(t);
    MUST(helios_close(db));
    db = open_at(directory);
    t = open_table(db, NULL, "users");
    assert(add_user(t, 0, "n", NULL, 0) > 70 && count(t) == 71);
    values[0] = integer(5000);
    MUST(helios_row_insert(t, values, 4, &id));
    helios_table_close(t);
    MUST(helios_close(db));
    db = open_at(directory);
    t = open_table(db, NULL, "users");
    assert(add_user(t, 0, "n", NULL, 0) > 1000);
    helios_table_close(t);
    MUST(helios_close(db));
    MUST(helios_destroy(directory));
}

/* R12: eight threads, one key. */
struct racer {
    helios_db *db;
    unsigned won, lost;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    helios_table *t = open_table(r->db, NULL, "users");

    for (int i = 1; i <= 50; i++) {
        char email[16];
        helios_value values[4] = {null(), text("x"), null(), null()};
        helios_status status;

        snprintf(email, sizeof(email), "%d@x", i);
        values[2] = text(email);
        status = helios_row_insert(t, values, 4, NULL);
        assert(status == HELIOS_OK || status == HELIOS_EXISTS);
        r->won += status == HELIOS_OK;
        r->lost += status == HELIOS_EXISTS;
    }
    helios_table_close(t);
    return NULL;
}

static void test_race(void)
{
    enum { RACERS = 8 };
    helios_db *db = open_at(NULL);
    struct racer racers[RACERS] = {{0}};
    pthread_t threads[RACERS];
    helios_table *t;
    unsigned won = 0;

    make_users(db, NULL, "users");
    for (int i = 0; i < RACERS; i++) {
        racers[i].db = db;
        assert(pthread_create(&threads[i], NULL, race, &racers[i]) == 0);
    }
    for (int i = 0; i < RACERS; i++) {
        assert(pthread_join(threads[i], NULL) == 0);
        won += racers[i].won;
    }
    t = open_table(db, NULL, "users");
    assert(won == 50 && count(t) == 50);
    helios_table_close(t);
    MUST(helios_close(db));
}

/* ---- the feed ---- */

static void test_feed(void)
{
    helios_db *db = open_at(NULL);
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;
    helios_changes *c;
    helios_change change;
    helios_table *t;
    unsigned rows = 0, catalog = 0;

    make_users(db, NULL, "users");
    t = open_table(db, NULL, "users");
    add_user(t, 0, "ann", "a@x", 1);
    MUST(helios_row_delete(t, 1));
    options.all_spaces = options.unsynced = true;
    MUST(helios_changes_new(db, &options, &c));
    while (helios_changes_next(c, 0, &change) == HELIOS_OK) {
        assert(change.space != 2);
        rows += change.space == 1;
        catalog += change.space == 3;
    }
    assert(rows == 2 && catalog == 3);
    helios_changes_free(c);
    helios_table_close(t);
    MUST(helios_close(db));
}

/* ---- values ---- */

static void test_values(void)
{
    static const struct {
        helios_type type;
        const char *text, *back; /* NULL: refused */
    } cases[] = {
        {HELIOS_TYPE_BOOL, "true", "true"},
        {HELIOS_TYPE_BOOL, "TRUE", NULL},
        {HELIOS_TYPE_INT64, "-9223372036854775808", "-9223372036854775808"},
        {HELIOS_TYPE_INT64, "9223372036854775808", NULL},
        {HELIOS_TYPE_INT64, "", NULL},
        {HELIOS_TYPE_INT64, " 1", NULL},
        {HELIOS_TYPE_FLOAT64, "0.1", "0.1"},
        {HELIOS_TYPE_FLOAT64, "1e400", "Infinity"},
        {HELIOS_TYPE_FLOAT64, "0x10", NULL},
        {HELIOS_TYPE_FLOAT64, "NaN", "NaN"},
        {HELIOS_TYPE_FLOAT32, "0.1", "0.1"},
        {HELIOS_TYPE_DATE, "2026-11-21", "2026-11-21"},
        {HELIOS_TYPE_DATE, "2026-02-29", NULL},
        {HELIOS_TYPE_DATE, "2024-02-29", "2024-02-29"},
        {HELIOS_TYPE_DATE, "0000-01-01", "0000-01-01"},
        {HELIOS_TYPE_DATE, "-0001-12-31", "-0001-12-31"},
        {HELIOS_TYPE_TIMESTAMP, "2026-11-21T10:00:00.25Z", "2026-11-21T10:00:00.25Z"},
        {HELIOS_TYPE_TIMESTAMP, "2026-11-21 11:00:00+01:00", "2026-11-21T10:00:00Z"},
        {HELIOS_TYPE_TIMESTAMP, "1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"},
        {HELIOS_TYPE_TIMESTAMP, "2026-11-21T24:00:00", NULL},
        {HELIOS_TYPE_UUID, "00112233-4455-6677-8899-aabbccddeeff", "00112233-4455-6677-8899-aabbccddeeff"},
        {HELIOS_TYPE_UUID, "00112233445566778899AABBCCDDEEFF", "00112233-4455-6677-8899-aabbccddeeff"},
        {HELIOS_TYPE_UUID, "0011", NULL},
        {HELIOS_TYPE_DECIMAL, "-0.050", "-0.050"},
        {HELIOS_TYPE_DECIMAL, "99999999999999999999999999999999999999",
         "99999999999999999999999999999999999999"},
        {HELIOS_TYPE_DECIMAL, "100000000000000000000000000000000000000", NULL},
        {HELIOS_TYPE_DECIMAL, ".", NULL},
        {HELIOS_TYPE_BYTES, "00ff", "00ff"},
        {HELIOS_TYPE_BYTES, "0", NULL},
        {HELIOS_TYPE_VECTOR, "[1, -2.5]", "[1,-2.5]"},
        {HELIOS_TYPE_VECTOR, "[]", "[]"},
        {HELIOS_TYPE_VECTOR, "[1,]", NULL},
        {HELIOS_TYPE_TEXT, "\xc3\xa9", "\xc3\xa9"},
        {HELIOS_TYPE_TEXT, "\xc3", NULL},
    };
    helios_buf memory = {0}, out = {0};

    for (size_t i = 0; i < COUNT(cases); i++) {
        helios_slice given = {cases[i].text, strlen(cases[i].text)};
        helios_value value;
        helios_status status = helios_value_read(cases[i].type, given, &memory, &value);

        if (status != (cases[i].back ? HELIOS_OK : HELIOS_INVALID)) {
            fprintf(stderr, "%s: %s\n", cases[i].text, helios_status_name(status));
            abort();
        }
        if (status != HELIOS_OK)
            continue;
        out.size = 0;
        MUST(helios_value_print(&value, &out));
        if (out.size != strlen(cases[i].back) || memcmp(out.data, cases[i].back, out.size) != 0) {
            fprintf(stderr, "%s: %.*s\n", cases[i].text, (int)out.size, out.data);
            abort();
        }
    }
    helios_buf_free(&memory);
    helios_buf_free(&out);
}

int main(void)
{
    snprintf(directory, sizeof(directory), "/tmp/helios-tables-%d", (int)getpid());
    test_values();
    test_first_path();
    test_ranges();
    test_conversion();
    test_branches_and_time();
    test_transactions();
    test_columns();
    test_index_later();
    test_ids_after_reopen();
    test_race();
    test_feed();
    puts("tables: all as they should be");
    return 0;
}
