/* schema.c - see schema.h. */
#include "table/schema.h"
#include "base/mem.h"
#include "base/utf8.h"

enum {
    NOT_NULL = 1,
    HAS_DEFAULT = 2,
    COLUMN_FLAGS = 3,
    UNIQUE = 1,
    PRIMARY = 2,
    BUILDING = 4,
    INDEX_FLAGS = 7
};

/* ---- keys ---- */

struct catalog_key catalog_name_key(const char *name)
{
    struct catalog_key key = {.size = 1 + strlen(name)};

    key.bytes[0] = CATALOG_NAME;
    memcpy(key.bytes + 1, name, key.size - 1);
    return key;
}

struct catalog_key catalog_table_key(uint32_t table)
{
    struct catalog_key key = {.size = 5};

    key.bytes[0] = CATALOG_TABLE;
    put_u32_be(key.bytes + 1, table);
    return key;
}

struct catalog_key catalog_layout_key(uint32_t table, uint32_t layout)
{
    struct catalog_key key = {.size = 9};

    key.bytes[0] = CATALOG_LAYOUT;
    put_u32_be(key.bytes + 1, table);
    put_u32_be(key.bytes + 5, layout);
    return key;
}

/* ---- writing ---- */

struct writer {
    helios_buf *out;
    helios_status status;
};

static void add(struct writer *w, const void *data, size_t size)
{
    if (w->status == HELIOS_OK)
        w->status = buf_append(w->out, data, size);
}

static void add_byte(struct writer *w, unsigned byte)
{
    unsigned char c = (unsigned char)byte;

    add(w, &c, 1);
}

static void add_number(struct writer *w, uint64_t n)
{
    unsigned char bytes[VARINT_MAX];

    add(w, bytes, put_varint(bytes, n));
}

static void add_name(struct writer *w, const char *name)
{
    add_number(w, strlen(name));
    add(w, name, strlen(name));
}

static void add_column(struct writer *w, const helios_column *c)
{
    bool has_default = c->default_value.type != HELIOS_TYPE_NONE && c->default_value.type != HELIOS_TYPE_NULL;

    add_number(w, c->id);
    add_name(w, c->name);
    add_byte(w, c->type);
    add_number(w, c->scale);
    add_byte(w, c->store);
    add_byte(w, (c->not_null ? NOT_NULL : 0) | (has_default ? HAS_DEFAULT : 0));
    if (has_default && w->status == HELIOS_OK)
        w->status = value_encode(w->out, &c->default_value);
}

static void add_index(struct writer *w, const struct draft *d, const struct table_index *index)
{
    add_number(w, index->id);
    add_name(w, index->name);
    add_byte(w,
             (index->unique ? UNIQUE : 0) | (index->primary ? PRIMARY : 0) | (index->building ? BUILDING : 0));
    add_number(w, index->count);
    for (uint32_t i = 0; i < index->count; i++)
        add_number(w, d->columns[index->columns[i]].id);
}

/*   version u8 | name | layout | columns, indexes (counts) | columns: id, name, type u8, scale, store u8, flags u8,
 *   [default] | indexes: id, name, flags u8, count, ids of columns. Numbers are varints, names have their size in front. */
helios_status schema_encode(helios_buf *out, const struct draft *d)
{
    struct writer w = {.out = out};

    out->size = 0;
    add_byte(&w, CATALOG_VERSION);
    add_name(&w, d->name);
    add_number(&w, d->layout);
    add_number(&w, d->column_count);
    add_number(&w, d->index_count);
    for (size_t i = 0; i < d->column_count; i++)
        add_column(&w, &d->columns[i]);
    for (size_t i = 0; i < d->index_count; i++)
        add_index(&w, d, &d->indexes[i]);
    return w.status;
}

/*   version u8 | count | columns: id, type u8, scale, store u8 */
helios_status layout_encode(helios_buf *out, const struct draft *d)
{
    struct writer w = {.out = out};

    out->size = 0;
    add_byte(&w, CATALOG_VERSION);
    add_number(&w, d->column_count);
    for (size_t i = 0; i < d->column_count; i++) {
        add_number(&w, d->columns[i].id);
        add_byte(&w, d->columns[i].type);
        add_number(&w, d->columns[i].scale);
        add_byte(&w, d->columns[i].store);
    }
    return w.status;
}

/* ---- reading ---- */

/* Room in the one allocation, cut from its front; everything in it is aligned as pointers are. */
struct room {
    char *at;
};

static void *cut(struct room *room, size_t size)
{
    void *at = room->at;

    room->at += (size + 7) & ~(size_t)7;
    return at;
}

static const char *cut_name(struct room *room, struct reader *r)
{
    helios_slice name = read_slice(r);
    char *copy;

    r->bad |= !is_name(name.data, name.size);
    if (r->bad)
        return "";
    copy = cut(room, name.size + 1);
    memcpy(copy, name.data, name.size);
    copy[name.size] = 0;
    return copy;
}

static uint32_t read_id(struct reader *r)
{
    uint64_t id = read_varint(r);

    r->bad |= id == 0 || id > UINT32_MAX;
    return (uint32_t)id;
}

/* Type, scale and store, which layouts have too; store: so far there is one. */
static void read_type(struct reader *r, helios_type *type, uint32_t *scale)
{
    uint64_t n;

    *type = (helios_type)read_u8(r);
    n = read_varint(r);
    r->bad |= !type_is_column(*type) || n > DECIMAL_SCALE_MAX || (n && *type != HELIOS_TYPE_DECIMAL);
    *scale = (uint32_t)n;
    r->bad |= read_u8(r) != HELIOS_STORE_DEFAULT;
}

static void read_column(struct reader *r, struct room *room, helios_column *c)
{
    float *floats;
    uint8_t flags;

    c->id = read_id(r);
    c->name = cut_name(room, r);
    read_type(r, &c->type, &c->scale);
    flags = read_u8(r);
    r->bad |= flags > COLUMN_FLAGS;
    c->not_null = flags & NOT_NULL;
    if (r->bad || !(flags & HAS_DEFAULT))
        return;
    floats = (float *)room->at;
    value_decode(r, c->type, c->scale, &floats, &c->default_value);
    cut(room, (size_t)((char *)floats - room->at));
}

static uint16_t position_of(const helios_column *columns, size_t count, uint32_t id, struct reader *r)
{
    for (size_t i = 0; i < count; i++)
        if (columns[i].id == id)
            return (uint16_t)i;
    r->bad = true;
    return 0;
}

static void read_index(struct reader *r, struct room *room, const helios_column *columns, size_t column_count,
                       struct table_index *index)
{
    uint64_t count;
    uint8_t flags;

    index->id = read_id(r);
    index->name = cut_name(room, r);
    flags = read_u8(r);
    count = read_varint(r);
    r->bad |= flags > INDEX_FLAGS || count == 0 || count > KEY_COLUMNS_MAX;
    index->unique = flags & UNIQUE;
    index->primary = flags & PRIMARY;
    index->building = flags & BUILDING;
    for (uint64_t i = 0; i < count && !r->bad; i++)
        index->columns[index->count++] = position_of(columns, column_count, read_id(r), r);
}

/* The public form of the indexes, once all is known to be good. */
static void publish(struct table_schema *s, struct room *room)
{
    helios_index_schema *indexes = cut(room, s->index_count * sizeof(*indexes));

    s->pub.indexes = indexes;
    for (size_t i = 0; i < s->index_count; i++) {
        const struct table_index *index = &s->indexes[i];
        const char **names = cut(room, index->count * sizeof(*names));

        for (uint32_t c = 0; c < index->count; c++)
            names[c] = s->pub.columns[index->columns[c]].name;
        if (index->primary) {
            s->primary = index;
            s->pub.primary_key = names;
            s->pub.primary_key_count = index->count;
            continue;
        }
        indexes[s->pub.index_count++] = (helios_index_schema){.name = index->name,
                                                              .columns = names,
                                                              .column_count = index->count,
                                                              .unique = index->unique,
                                                              .building = index->building,
                                                              .id = index->id};
    }
}

/* At most: names and floats are cut from bytes of the entry, each rounded up to 8 with its end. */
static size_t room_bytes(size_t entry_size, size_t columns, size_t indexes)
{
    return sizeof(struct table_schema) + 8 + columns * (sizeof(helios_column) + 32) +
           indexes * (sizeof(struct table_index) + sizeof(helios_index_schema) + 32 +
                      KEY_COLUMNS_MAX * sizeof(char *)) +
           2 * (entry_size + 16);
}

static void read_schema(struct reader *r, struct room *room, size_t columns, size_t indexes,
                        struct table_schema *s)
{
    helios_column *c = cut(room, columns * sizeof(*c));

    s->pub.columns = c;
    s->pub.column_count = columns;
    s->indexes = cut(room, indexes * sizeof(*s->indexes));
    s->index_count = indexes;
    for (size_t i = 0; i < columns && !r->bad; i++)
        read_column(r, room, &c[i]);
    for (size_t i = 0; i < indexes && !r->bad; i++)
        read_index(r, room, c, columns, &s->indexes[i]);
}

helios_status schema_decode(helios_slice entry, uint32_t table, struct table_schema **out)
{
    struct reader r = reader_make(entry.data, entry.size);
    uint8_t version = read_u8(&r);
    helios_slice name = read_slice(&r), copy;
    uint32_t layout = read_id(&r);
    uint64_t columns = read_varint(&r), indexes = read_varint(&r);
    struct table_schema *s;
    struct room room;
    size_t bytes;

    if (r.bad || version != CATALOG_VERSION || columns > COLUMNS_MAX || indexes > INDEXES_MAX ||
        !is_name(name.data, name.size))
        return fail_corrupt("the catalog's entry of table %u is damaged", table);
    bytes = room_bytes(entry.size, (size_t)columns, (size_t)indexes);
    s = mem_zalloc(bytes);
    if (!s)
        return fail_no_memory(bytes);
    room.at = (char *)s;
    cut(&room, sizeof(*s));
    /* Defaults point into a copy that lives as long. */
    copy = slice_make(memcpy(cut(&room, entry.size), entry.data, entry.size), entry.size);
    r.end = slice_bytes(copy) + copy.size;
    r.at = slice_bytes(copy) + (size_t)(r.at - slice_bytes(entry));
    s->pub.size = sizeof(s->pub);
    s->pub.name = cut(&room, name.size + 1);
    memcpy((char *)s->pub.name, name.data, name.size);
    s->pub.id = table;
    s->pub.layout = layout;
    read_schema(&r, &room, (size_t)columns, (size_t)indexes, s);
    if (!reader_done(&r)) {
        mem_free(s);
        return fail_corrupt("the catalog's entry of table %u is damaged", table);
    }
    publish(s, &room);
    *out = s;
    return HELIOS_OK;
}

helios_status layout_decode(helios_slice entry, uint32_t id, struct layout **out)
{
    struct reader r = reader_make(entry.data, entry.size);
    uint8_t version = read_u8(&r);
    uint64_t count = read_varint(&r);
    struct layout *layout;

    if (r.bad || version != CATALOG_VERSION || count > COLUMNS_MAX)
        return fail_corrupt("the catalog's layout %u is damaged", id);
    layout = mem_zalloc(sizeof(*layout) + count * sizeof(layout->columns[0]));
    if (!layout)
        return fail_no_memory(sizeof(*layout) + count * sizeof(layout->columns[0]));
    layout->id = id;
    layout->count = (uint32_t)count;
    for (uint64_t i = 0; i < count; i++) {
        layout->columns[i].id = read_id(&r);
        read_type(&r, &layout->columns[i].type, &layout->columns[i].scale);
    }
    if (!reader_done(&r)) {
        mem_free(layout);
        return fail_corrupt("the catalog's layout %u is damaged", id);
    }
    *out = layout;
    return HELIOS_OK;
}

/* ---- drafts ---- */

helios_status draft_of(const struct table_schema *s, struct draft_room *out)
{
    size_t columns = s->pub.column_count, indexes = s->index_count;

    *out = (struct draft_room){.columns = mem_array(columns + 1, sizeof(*out->columns)),
                               .indexes = mem_array(indexes + 1, sizeof(*out->indexes))};
    if (!out->columns || !out->indexes) {
        draft_release(out);
        return fail_no_memory((columns + 1) * sizeof(*out->columns));
    }
    if (columns)
        memcpy(out->columns, s->pub.columns, columns * sizeof(*out->columns));
    if (indexes)
        memcpy(out->indexes, s->indexes, indexes * sizeof(*out->indexes));
    out->draft =
        (struct draft){s->pub.id, s->pub.layout, s->pub.name, out->columns, columns, out->indexes, indexes};
    return HELIOS_OK;
}

void draft_release(struct draft_room *room)
{
    mem_free(room->columns);
    mem_free(room->indexes);
    *room = (struct draft_room){0};
}

size_t draft_column(const struct draft *d, const char *name)
{
    for (size_t i = 0; i < d->column_count; i++)
        if (strcmp(d->columns[i].name, name) == 0)
            return i;
    return SIZE_MAX;
}

const struct table_index *schema_index(const struct table_schema *s, const char *name)
{
    for (size_t i = 0; i < s->index_count; i++)
        if (strcmp(s->indexes[i].name, name) == 0)
            return &s->indexes[i];
    return NULL;
}

static helios_status check_column(struct draft *d, size_t at)
{
    helios_column *c = &d->columns[at];
    helios_value value;
    helios_status status = name_check("a column", c->name);

    if (status != HELIOS_OK)
        return status;
    if (draft_column(d, c->name) != at)
        return fail(HELIOS_EXISTS, "table \"%s\" has a column \"%s\" already", d->name, c->name);
    if (!type_is_column(c->type))
        return fail(HELIOS_INVALID, "column \"%s\": there is no type %d for it", c->name, (int)c->type);
    if (c->scale > (c->type == HELIOS_TYPE_DECIMAL ? DECIMAL_SCALE_MAX : 0))
        return fail(HELIOS_INVALID, "column \"%s\": a scale of %u", c->name, c->scale);
    if (c->store != HELIOS_STORE_DEFAULT)
        return fail(HELIOS_UNSUPPORTED, "column \"%s\": there is no storage mode %d", c->name, (int)c->store);
    if (!value_coerce(&c->default_value, c->type, c->scale, &value))
        return fail(HELIOS_INVALID, "column \"%s\": its default is no %s", c->name, helios_type_name(c->type));
    c->default_value = value;
    return HELIOS_OK;
}

static helios_status check_index(const struct draft *d, size_t at)
{
    const struct table_index *index = &d->indexes[at];
    helios_status status = name_check("an index", index->name);

    if (status != HELIOS_OK)
        return status;
    for (size_t i = 0; i < at; i++)
        if (strcmp(d->indexes[i].name, index->name) == 0)
            return fail(HELIOS_EXISTS, "table \"%s\" has an index \"%s\" already", d->name, index->name);
    for (uint32_t i = 0; i < index->count; i++) {
        const helios_column *c = &d->columns[index->columns[i]];

        if (!type_is_key(c->type))
            return fail(HELIOS_INVALID, "index \"%s\": column \"%s\" is of type %s, which has no order",
                        index->name, c->name, helios_type_name(c->type));
        for (uint32_t j = 0; j < i; j++)
            if (index->columns[j] == index->columns[i])
                return fail(HELIOS_INVALID, "index \"%s\" has column \"%s\" twice", index->name, c->name);
    }
    return HELIOS_OK;
}

helios_status draft_check(struct draft *d)
{
    helios_status status = name_check("a table", d->name);

    if (status == HELIOS_OK && (d->column_count == 0 || d->column_count > COLUMNS_MAX))
        status = fail(HELIOS_INVALID, "table \"%s\" has %zu columns: 1 to %d are possible", d->name,
                      d->column_count, COLUMNS_MAX);
    if (status == HELIOS_OK && d->index_count > INDEXES_MAX)
        status = fail(HELIOS_LIMIT, "table \"%s\" has %zu indexes: at most %d are possible", d->name,
                      d->index_count, INDEXES_MAX);
    for (size_t i = 0; i < d->column_count && status == HELIOS_OK; i++)
        status = check_column(d, i);
    for (size_t i = 0; i < d->index_count && status == HELIOS_OK; i++)
        status = check_index(d, i);
    return status;
}
