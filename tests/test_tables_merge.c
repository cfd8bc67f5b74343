/* test_tables_merge.c - merges and reverts of tables: whatever comes of them, each index has an entry of each row and no other.
 * Arguments: seed, number of random rounds. */
#undef NDEBUG
#include "helios/helios.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static helios_db *db;

static helios_value integer(int64_t n)
{
    return (helios_value){.type = HELIOS_TYPE_INT64, .as.integer = n};
}
static helios_value text(const char *s)
{
    return (helios_value){.type = HELIOS_TYPE_TEXT, .as.bytes = {s, strlen(s)}};
}

static helios_table_options on(helios_branch_id branch)
{
    helios_table_options options = HELIOS_TABLE_OPTIONS_INIT;

    options.branch = branch;
    return options;
}

/* id is the key, name unique, age has an index that several rows may be equal in. */
static void make_people_named(helios_branch_id branch, const char *table)
{
    static const helios_column columns[] = {
        {.name = "id", .type = HELIOS_TYPE_INT64},
        {.name = "name", .type = HELIOS_TYPE_TEXT, .unique = true},
        {.name = "age", .type = HELIOS_TYPE_INT64},
    };
    static const char *const key[] = {"id"}, *const age[] = {"age"};
    static const helios_index_schema indexes[] = {{.name = "by_age", .columns = age, .column_count = 1}};
    helios_schema schema = HELIOS_SCHEMA_INIT;
    helios_table_options options = on(branch);

    schema.name = table;
    schema.columns = columns;
    schema.column_count = COUNT(columns);
    schema.primary_key = key;
    schema.primary_key_count = 1;
    schema.indexes = indexes;
    schema.index_count = 1;
    MUST(helios_table_create(db, &options, &schema, NULL));
}

static helios_table *people(helios_branch_id branch)
{
    helios_table_options options = on(branch);
    helios_table *table;

    MUST(helios_table_open(db, &options, "people", &table));
    return table;
}

static helios_status put(helios_branch_id branch, int64_t id, const char *name, int64_t age)
{
    helios_table *table = people(branch);
    helios_value values[] = {integer(id), text(name), integer(age)};
    helios_status status = helios_row_upsert(table, values, COUNT(values), NULL);

    helios_table_close(table);
    return status;
}

static void drop_row(helios_branch_id branch, uint64_t id)
{
    helios_table *table = people(branch);

    MUST(helios_row_delete(table, id));
    helios_table_close(table);
}

static helios_branch_id fork_main(const char *name)
{
    helios_branch_id branch;

    MUST(helios_branch_create(db, name, 0, 0, &branch));
    return branch;
}

/* ---- the checker ---- */

static bool same_value(const helios_value *a, const helios_value *b)
{
    helios_buf x = {0}, y = {0};
    bool same;

    MUST(helios_value_print(a, &x));
    MUST(helios_value_print(b, &y));
    same = a->type == b->type && x.size == y.size && (x.size == 0 || memcmp(x.data, y.data, x.size) == 0);
    helios_buf_free(&x);
    helios_buf_free(&y);
    return same;
}

static size_t column_at(const helios_schema *s, const char *name)
{
    size_t i = 0;

    while (strcmp(s->columns[i].name, name) != 0)
        i++;
    return i;
}

/* The row is found once by its own values. */
static void check_entry(helios_table *table, const char *index, const char *const *columns, size_t count,
                        const helios_row *row)
{
    const helios_schema *s = helios_table_schema(table);
    helios_rows_options options = HELIOS_ROWS_OPTIONS_INIT;
    helios_value values[4];
    const helios_row *found;
    helios_rows *rows;
    int times = 0;

    for (size_t i = 0; i < count; i++)
        values[i] = row->values[column_at(s, columns[i])];
    options.index = index;
    options.from = options.to = values;
    options.from_count = options.to_count = count;
    MUST(helios_rows_new(table, &options, &rows));
    while (helios_rows_next(rows, &found)) {
        for (size_t i = 0; i < count; i++)
            assert(same_value(&found->values[column_at(s, columns[i])], &values[i]));
        times += found->id == row->id;
    }
    MUST(helios_rows_status(rows));
    helios_rows_free(rows);
    assert(times == 1);
}

static void check_index(helios_branch_id branch, const char *index, const char *const *columns, size_t count)
{
    helios_table *walked = people(branch), *table = people(branch);
    helios_rows_options options = HELIOS_ROWS_OPTIONS_INIT;
    const helios_row *row;
    helios_rows *rows;
    uint64_t rows_there = 0, entries = 0;

    MUST(helios_rows_new(walked, NULL, &rows));
    for (; helios_rows_next(rows, &row); rows_there++)
        check_entry(table, index, columns, count, row);
    MUST(helios_rows_status(rows));
    helios_rows_free(rows);
    options.index = index;
    MUST(helios_rows_new(walked, &options, &rows));
    while (helios_rows_next(rows, &row))
        entries++;
    MUST(helios_rows_status(rows));
    helios_rows_free(rows);
    if (entries != rows_there)
        fprintf(stderr, "branch %u, index %s: %" PRIu64 " entries of %" PRIu64 " rows\n", branch, index,
                entries, rows_there);
    assert(entries == rows_there);
    helios_table_close(walked);
    helios_table_close(table);
}

/* Every index against a walk of all rows. */
static void check(helios_branch_id branch)
{
    helios_table_options options = on(branch);
    helios_schema *s;

    MUST(helios_table_describe(db, &options, "people", &s));
    check_index(branch, HELIOS_PRIMARY, s->primary_key, s->primary_key_count);
    for (size_t i = 0; i < s->index_count; i++)
        if (!s->indexes[i].building) /* a revert may go back to where one was being made */
            check_index(branch, s->indexes[i].name, s->indexes[i].columns, s->indexes[i].column_count);
    helios_free(s);
}

/* The rows as id=name/age, and what columns come behind. */
static void expect(helios_branch_id branch, const char *wanted)
{
    helios_table *table = people(branch);
    helios_buf out = {0};
    const helios_row *row;
    helios_rows *rows;

    check(branch);
    MUST(helios_rows_new(table, NULL, &rows));
    while (helios_rows_next(rows, &row))
        for (size_t i = 0; i < row->count; i++) {
            const helios_value mark = text(i == 0 ? (out.size ? " " : "") : i == 1 ? "=" : "/");

            MUST(helios_value_print(&mark, &out));
            MUST(helios_value_print(&row->values[i], &out));
        }
    MUST(helios_rows_status(rows));
    helios_rows_free(rows);
    helios_table_close(table);
    if (out.size != strlen(wanted) || (out.size && memcmp(out.data, wanted, out.size) != 0)) {
        fprintf(stderr, "branch %u has \"%.*s\" instead of \"%s\"\n", branch, (int)out.size,
                out.data ? out.data : "", wanted);
        abort();
    }
    helios_buf_free(&out);
}

static helios_status merge(helios_branch_id source, helios_branch_id target, helios_merge_strategy strategy)
{
    helios_merge_options options = HELIOS_MERGE_OPTIONS_INIT;

    options.strategy = strategy;
    return helios_branch_merge(db, source, target, &options, NULL);
}

static void begin(void)
{
    helios_options options = HELIOS_OPTIONS_INIT;

    options.in_memory = true;
    options.memtable_bytes = 1 << 20;
    options.history_retention = HELIOS_FOREVER;
    MUST(helios_open("merges", &options, &db));
    make_people_named(0, "people");
    MUST(put(0, 1, "ada", 30));
    MUST(put(0, 2, "bob", 40));
    MUST(put(0, 3, "cid", 50));
}

static void end(void)
{
    MUST(helios_close(db));
}

/* ---- rows ---- */

static void test_different_rows(void)
{
    helios_branch_id b;

    begin();
    b = fork_main("b");
    MUST(put(b, 4, "dan", 30));
    MUST(put(b, 1, "ada", 31));
    MUST(put(0, 5, "eve", 30));
    drop_row(0, 3);
    MUST(merge(b, 0, HELIOS_MERGE_FAIL));
    expect(0, "1=ada/31 2=bob/40 4=dan/30 5=eve/30");
    expect(b, "1=ada/31 2=bob/40 3=cid/50 4=dan/30");
    MUST(merge(0, b, HELIOS_MERGE_FAIL));
    expect(b, "1=ada/31 2=bob/40 4=dan/30 5=eve/30");
    end();
}

static helios_resolution take_neither(void *arg, const helios_merge_conflict *c, helios_buf *value)
{
    assert(c->of == HELIOS_CONFLICT_OF_ROW && c->key.size == 12);
    ++*(int *)arg;
    return HELIOS_TAKE_DELETE;
}

static helios_resolution make_a_row(void *arg, const helios_merge_conflict *c, helios_buf *value)
{
    MUST(helios_buf_set(value, (helios_slice){"x", 1}));
    return HELIOS_TAKE_VALUE;
}

/* The same row changed on both sides: before, the entries of the side that lost stayed beside the other's. */
static void test_strategies(void)
{
    static const struct {
        helios_merge_strategy strategy;
        helios_status status;
        const char *rows;
    } cases[] = {
        {HELIOS_MERGE_FAIL, HELIOS_CONFLICT, "1=ann/32 2=bob/40 3=cid/50"},
        {HELIOS_MERGE_OURS, HELIOS_OK, "1=ann/32 2=bob/40 3=cid/50"},
        {HELIOS_MERGE_THEIRS, HELIOS_OK, "1=amy/31 2=bob/40 3=cid/50"},
        {HELIOS_MERGE_RESOLVE, HELIOS_OK, "2=bob/40 3=cid/50"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        helios_merge_options options = HELIOS_MERGE_OPTIONS_INIT;
        helios_branch_id b;
        int asked = 0;

        begin();
        b = fork_main("b");
        MUST(put(b, 1, "amy", 31));
        MUST(put(0, 1, "ann", 32));
        options.strategy = cases[i].strategy;
        options.arg = &asked;
        options.resolve = make_a_row;
        if (options.strategy == HELIOS_MERGE_RESOLVE)
            GIVES(HELIOS_INVALID, helios_branch_merge(db, b, 0, &options, NULL));
        options.resolve = take_neither;
        GIVES(cases[i].status, helios_branch_merge(db, b, 0, &options, NULL));
        assert(asked == (options.strategy == HELIOS_MERGE_RESOLVE));
        expect(0, cases[i].rows);
        expect(b, "1=amy/31 2=bob/40 3=cid/50");
        end();
    }
}

/* Before, one of the two rows lost its entry. */
static void test_unique(void)
{
    helios_merge_options dry = HELIOS_MERGE_OPTIONS_INIT;
    helios_branch_id b;

    begin();
    b = fork_main("b");
    dry.dry_run = true;
    MUST(put(b, 4, "zoe", 1));
    MUST(put(0, 5, "zoe", 2));
    for (int s = HELIOS_MERGE_FAIL; s <= HELIOS_MERGE_THEIRS; s++) {
        dry.strategy = (helios_merge_strategy)s;
        GIVES(HELIOS_CONFLICT, helios_branch_merge(db, b, 0, &dry, NULL));
        GIVES(HELIOS_CONFLICT, merge(b, 0, dry.strategy));
        assert(strstr(helios_last_error(), "\"people\"") && strstr(helios_last_error(), "\"name\""));
    }
    expect(0, "1=ada/30 2=bob/40 3=cid/50 5=zoe/2");
    /* A name that goes from row to row on one side is no violation. */
    MUST(put(b, 4, "yan", 1));
    MUST(put(b, 1, "tmp", 30));
    MUST(put(b, 2, "ada", 40));
    MUST(put(b, 1, "bob", 30));
    MUST(merge(b, 0, HELIOS_MERGE_FAIL));
    expect(0, "1=bob/30 2=ada/40 3=cid/50 4=yan/1 5=zoe/2");
    end();
}

/* ---- schemas ---- */

static helios_status index_on(helios_branch_id branch, const char *name, const char *column, bool unique)
{
    const char *const columns[] = {column};
    const helios_index_schema index = {.name = name, .columns = columns, .column_count = 1, .unique = unique};
    const helios_table_options options = on(branch);

    return helios_index_create(db, &options, "people", &index);
}

/* Before, rows of the side without the index got no entries in it. */
static void test_index_on_one_side(void)
{
    helios_table_options main_options = on(0);

    for (int into = 0; into < 2; into++) {
        helios_branch_id b, with, without;

        begin();
        b = fork_main("b");
        with = into ? 0 : b;
        without = into ? b : 0;
        MUST(index_on(with, "name_again", "name", true));
        MUST(put(with, 4, "dan", 1));
        MUST(put(with, 1, "axl", 2));
        MUST(put(without, 5, "eve", 1));
        MUST(put(without, 2, "ben", 2));
        drop_row(without, 3);
        MUST(merge(b, 0, HELIOS_MERGE_FAIL));
        expect(0, "1=axl/2 2=ben/2 4=dan/1 5=eve/1");
        /* And goes, with rows changed on the other side. */
        b = fork_main("c");
        MUST(helios_index_drop(db, &main_options, "people", "name_again"));
        MUST(put(b, 6, "fay", 3));
        MUST(merge(0, b, HELIOS_MERGE_FAIL));
        expect(b, "1=axl/2 2=ben/2 4=dan/1 5=eve/1 6=fay/3");
        end();
    }
    /* A unique one that the target's rows do not allow. */
    {
        helios_branch_id b;

        begin();
        b = fork_main("b");
        MUST(index_on(b, "one_age", "age", true));
        MUST(put(0, 4, "dan", 30));
        GIVES(HELIOS_CONFLICT, merge(b, 0, HELIOS_MERGE_THEIRS));
        assert(strstr(helios_last_error(), "\"one_age\""));
        expect(0, "1=ada/30 2=bob/40 3=cid/50 4=dan/30");
        end();
    }
}

static helios_seq latest(void)
{
    return helios_latest(db);
}

/* Rows written behind a column's addition are read when that is taken back: before, their layout went with it. */
static void test_columns(void)
{
    helios_column city = {.name = "city", .type = HELIOS_TYPE_TEXT, .default_value = text("rome")};
    helios_table_options options = on(0), there;
    helios_seq before, added;
    helios_branch_id b;

    begin();
    before = latest();
    MUST(helios_column_add(db, &options, "people", &city));
    added = latest();
    MUST(put(0, 4, "dan", 1));
    MUST(helios_branch_revert(db, 0, before + 1, added, NULL, NULL));
    expect(0, "1=ada/30 2=bob/40 3=cid/50 4=dan/1");
    b = fork_main("b");
    there = on(b);
    MUST(helios_column_add(db, &there, "people", &city));
    MUST(put(b, 5, "eve", 2));
    MUST(put(0, 6, "fay", 3));
    MUST(merge(b, 0, HELIOS_MERGE_FAIL));
    expect(0, "1=ada/30/rome 2=bob/40/rome 3=cid/50/rome 4=dan/1/rome 5=eve/2/rome 6=fay/3/rome");
    end();
}

static void test_tables_and_names(void)
{
    helios_table_options main_options = on(0), options;
    helios_branch_id b;
    helios_seq before;

    /* Both made one of the same name. */
    begin();
    b = fork_main("b");
    options = on(b);
    make_people_named(0, "pets");
    make_people_named(b, "pets");
    for (int s = HELIOS_MERGE_FAIL; s <= HELIOS_MERGE_THEIRS; s++)
        GIVES(HELIOS_CONFLICT, merge(b, 0, (helios_merge_strategy)s));
    MUST(helios_table_drop(db, &options, "pets"));
    MUST(merge(b, 0, HELIOS_MERGE_FAIL));
    expect(0, "1=ada/30 2=bob/40 3=cid/50");
    /* Dropped in the source, with and without changes here; and back. */
    MUST(helios_table_drop(db, &options, "people"));
    MUST(put(0, 4, "dan", 1));
    for (int s = HELIOS_MERGE_FAIL; s <= HELIOS_MERGE_THEIRS; s++)
        GIVES(HELIOS_CONFLICT, merge(b, 0, (helios_merge_strategy)s));
    drop_row(0, 4);
    before = latest();
    MUST(merge(b, 0, HELIOS_MERGE_FAIL));
    GIVES(HELIOS_NOT_FOUND, helios_table_drop(db, &main_options, "people"));
    MUST(helios_branch_revert(db, 0, before + 1, latest(), NULL, NULL));
    expect(0, "1=ada/30 2=bob/40 3=cid/50");
    /* Dropped in the target. */
    b = fork_main("c");
    MUST(put(b, 7, "gus", 1));
    MUST(put(b, 1, "ada", 1));
    MUST(helios_table_drop(db, &main_options, "people"));
    GIVES(HELIOS_CONFLICT, merge(b, 0, HELIOS_MERGE_FAIL));
    GIVES(HELIOS_CONFLICT, merge(b, 0, HELIOS_MERGE_THEIRS));
    MUST(merge(b, 0, HELIOS_MERGE_OURS));
    GIVES(HELIOS_NOT_FOUND, helios_table_drop(db, &main_options, "people"));
    make_people_named(0, "people");
    expect(0, "");
    end();
}

/* More than a batch: entries go into tables with the rows. */
static void test_large(void)
{
    helios_branch_id b;
    helios_table *table;
    char name[32];

    begin();
    b = fork_main("b");
    table = people(b);
    for (int i = 10; i < 6000; i++) {
        helios_value values[] = {integer(i), {0}, integer(i)};

        snprintf(name, sizeof(name), "name %d of many", i);
        values[1] = text(name);
        MUST(helios_row_insert(table, values, COUNT(values), NULL));
    }
    helios_table_close(table);
    MUST(index_on(0, "two", "name", false));
    MUST(put(0, 5, "eve", 3));
    MUST(merge(b, 0, HELIOS_MERGE_FAIL));
    check(0);
    end();
}

/* ---- at random ---- */

static uint64_t random_state;

static unsigned below(unsigned limit)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % limit;
}

static void change_schema(helios_branch_id branch, int round)
{
    const helios_table_options options = on(branch);
    helios_column column = {.type = HELIOS_TYPE_INT64, .default_value = integer(below(3))};
    char name[32];

    switch (below(4)) {
    case 0: (void)!index_on(branch, "extra", below(2) ? "age" : "name", false); break;
    case 1: (void)!index_on(branch, "extra", "age", true); break;
    case 2: (void)!helios_index_drop(db, &options, "people", "extra"); break;
    default:
        snprintf(name, sizeof(name), "c%d", round);
        column.name = name;
        if (below(2)) {
            (void)!helios_column_add(db, &options, "people", &column);
            (void)!index_on(branch, name, name, false);
        } else {
            helios_schema *s;

            MUST(helios_table_describe(db, &options, "people", &s));
            snprintf(name, sizeof(name), "%s", s->columns[s->column_count - 1].name);
            if (s->column_count > 3) {
                (void)!helios_index_drop(db, &options, "people", name);
                MUST(helios_column_drop(db, &options, "people", name));
            }
            helios_free(s);
        }
    }
}

static void change(helios_branch_id branch, int round)
{
    for (unsigned n = 1 + below(6); n > 0; n--) {
        helios_table *table = people(branch);
        int64_t id = 1 + below(20);
        char name[8];
        helios_value values[] = {integer(id), {0}, integer(below(12))};

        snprintf(name, sizeof(name), "n%u", below(30));
        values[1] = text(name);
        if (below(10) == 0)
            change_schema(branch, round);
        else if (below(4) == 0)
            (void)!helios_row_delete(table, (uint64_t)id);
        else
            (void)!helios_row_upsert(table, values, COUNT(values), NULL);
        helios_table_close(table);
    }
}

static void test_random(int rounds)
{
    helios_branch_id branches[3] = {0};
    int merged = 0, refused = 0;

    begin();
    branches[1] = fork_main("one");
    branches[2] = fork_main("two");
    for (int round = 0; round < rounds; round++) {
        helios_branch_id target = branches[below(3)], source = branches[below(3)];
        helios_seq from = latest();
        helios_merge_options options = HELIOS_MERGE_OPTIONS_INIT;
        helios_status status;

        for (int i = 0; i < 3; i++)
            change(branches[i], round);
        options.strategy = (helios_merge_strategy)below(3);
        status = source == target
                     ? helios_branch_revert(db, target, from - below((unsigned)(from > 20 ? 20 : from)),
                                            latest(), &options, NULL)
                     : helios_branch_merge(db, source, target, &options, NULL);
        if (status != HELIOS_CONFLICT)
            MUST(status);
        merged += status == HELIOS_OK;
        refused += status == HELIOS_CONFLICT;
        for (int i = 0; i < 3; i++)
            check(branches[i]);
    }
    printf("%d merges and reverts, %d refused\n", merged, refused);
    end();
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    int rounds = argc > 2 ? atoi(argv[2]) : 300;

    printf("seed %" PRIu64 "\n", seed);
    random_state = seed;
    test_different_rows();
    test_strategies();
    test_unique();
    test_index_on_one_side();
    test_columns();
    test_tables_and_names();
    test_large();
    test_random(rounds);
    return 0;
}
