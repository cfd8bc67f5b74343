/* keys.c - see keys.h. */
#include "engine/keys.h"
#include "base/coding.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/thread.h"
#include "engine/key_source.h"
#include <stdio.h>

enum {
    KIND_AT = 64,
    SCRYPT_AT = 65,
    ZERO_AT = 68,
    SALT_AT = 72,
    COUNT_AT = 104,
    CURRENT_AT = 108,
    KEYS_AT = 112,
    KEY_SIZE = 48, /* id, zero, created, key */
    KEY_CREATED = 8,
    KEY_BYTES = 16,
    XXH3_SIZE = 8,
    FILE_BYTES_MIN = KEYS_AT + KEY_SIZE + CRYPT_TAG_SIZE + XXH3_SIZE,
    FILE_BYTES_MAX = KEYS_AT + CRYPT_KEYS_MAX * KEY_SIZE + CRYPT_TAG_SIZE + XXH3_SIZE,
    PATH_BYTES = 4096,
};
_Static_assert((int)KIND_AT == (int)FILE_HEADER_SIZE && SALT_AT + 32 == COUNT_AT && CURRENT_AT + 4 == KEYS_AT,
               "the fields follow each other");
_Static_assert(KEY_BYTES + CRYPT_KEY_SIZE == KEY_SIZE, "the key ends it");

enum { KIND_KEY = 1, KIND_PASSWORD = 2 };

/* 32 MiB and about a quarter of a second: docs/decisions.md. */
static const struct crypt_scrypt scrypt_now = {15, 8, 3};

struct made {
    uint32_t id;
    uint64_t created;
};

struct keys {
    /* Constant after open. */
    struct io_fs *fs;
    char *directory;
    struct crypt *crypt;
    /* Guarded by mu, which is held while KEYS is written. */
    struct mutex mu;
    helios_key_source source;
    unsigned char wrapping[CRYPT_KEY_SIZE];
    uint32_t wrapping_id;
    struct key_stretch stretch;
    uint64_t written; /* how many times */
    uint32_t last_id; /* highest that was ever given, as far as is known */
    struct made made[CRYPT_KEYS_MAX];
    size_t made_count;
};

/* ---- life ---- */

static helios_status draw(void *arg, void *data, size_t size)
{
    return io_random(arg, data, size);
}

void keys_free(struct keys *keys)
{
    if (!keys)
        return;
    crypt_free(keys->crypt);
    mutex_release(&keys->mu);
    mem_free(keys->directory);
    crypt_wipe(keys, sizeof(*keys));
    mem_free(keys);
}

static helios_status keys_new(struct io_fs *fs, const char *directory, struct keys **out)
{
    struct keys *keys = mem_zalloc(sizeof(*keys));
    helios_status status;

    if (!keys)
        return fail_no_memory(sizeof(*keys));
    mutex_init(&keys->mu);
    keys->fs = fs;
    keys->directory = mem_text(directory);
    status = keys->directory ? crypt_new(draw, fs, &keys->crypt) : fail_no_memory(strlen(directory));
    if (status != HELIOS_OK) {
        keys_free(keys);
        return status;
    }
    *out = keys;
    return HELIOS_OK;
}

struct crypt *keys_crypt(const struct keys *keys)
{
    return keys ? keys->crypt : NULL;
}

static uint64_t created_of(const struct keys *keys, uint32_t id)
{
    for (size_t i = 0; i < keys->made_count; i++)
        if (keys->made[i].id == id)
            return keys->made[i].created;
    return 0;
}

static void made_add(struct keys *keys, uint32_t id, uint64_t created)
{
    size_t kept = 0;
    uint32_t ids[CRYPT_KEYS_MAX];
    size_t count = crypt_keys(keys->crypt, ids, NULL);

    for (size_t i = 0; i < keys->made_count; i++) /* of those that are still there */
        for (size_t j = 0; j < count; j++)
            if (keys->made[i].id == ids[j] && ids[j] != id)
                keys->made[kept++] = keys->made[i];
    keys->made[kept++] = (struct made){id, created};
    keys->made_count = kept;
    if (id > keys->last_id)
        keys->last_id = id;
}

/* ---- writing ---- */

/* What a KEYS is to say. */
struct content {
    helios_key_source source;
    const unsigned char *wrapping;
    uint32_t wrapping_id, current;
    struct key_stretch stretch;
    uint32_t ids[CRYPT_KEYS_MAX];
    uint64_t created[CRYPT_KEYS_MAX];
    unsigned char keys[CRYPT_KEYS_MAX][CRYPT_KEY_SIZE];
    size_t count;
};

static void content_of_locked(struct keys *keys, struct content *c)
{
    c->source = keys->source;
    c->wrapping = keys->wrapping;
    c->wrapping_id = keys->wrapping_id;
    c->stretch = keys->stretch;
    c->current = crypt_key_current(keys->crypt);
    c->count = crypt_keys(keys->crypt, c->ids, c->keys);
    for (size_t i = 0; i < c->count; i++)
        c->created[i] = created_of(keys, c->ids[i]);
}

static void put_head(const struct content *c, const struct file_header *header, unsigned char *out)
{
    file_header_encode(header, MAGIC_KEYS, out);
    out[KIND_AT] = c->source == HELIOS_KEY_PASSWORD ? KIND_PASSWORD : KIND_KEY;
    out[SCRYPT_AT] = (unsigned char)c->stretch.scrypt.log_n;
    out[SCRYPT_AT + 1] = (unsigned char)c->stretch.scrypt.r;
    out[SCRYPT_AT + 2] = (unsigned char)c->stretch.scrypt.p;
    put_u32(out + ZERO_AT, 0);
    memcpy(out + SALT_AT, c->stretch.salt, sizeof(c->stretch.salt));
    put_u32(out + COUNT_AT, (uint32_t)c->count);
    put_u32(out + CURRENT_AT, c->current);
}

static void put_keys(const struct content *c, unsigned char *out)
{
    for (size_t i = 0; i < c->count; i++, out += KEY_SIZE) {
        put_u32(out, c->ids[i]);
        put_u32(out + 4, 0);
        put_u64(out + KEY_CREATED, c->created[i]);
        memcpy(out + KEY_BYTES, c->keys[i], CRYPT_KEY_SIZE);
    }
}

/* A new file id and a new draw each time: so the key of the file is new too, and its one nonce used once. */
static helios_status encode_locked(struct keys *keys, const struct content *c,
                                   unsigned char out[FILE_BYTES_MAX], size_t *size)
{
    struct file_header header = {
        .flags = FILE_ENCRYPTED, .number = keys->written + 1, .key_id = c->wrapping_id};
    size_t keys_size = c->count * KEY_SIZE, end = KEYS_AT + keys_size + CRYPT_TAG_SIZE;
    struct crypt_file file = {0};
    helios_slice plain = slice_make(out + KEYS_AT, keys_size);
    helios_status status = io_random(keys->fs, header.id, sizeof(header.id));

    if (status == HELIOS_OK)
        status = io_random(keys->fs, header.draw, sizeof(header.draw));
    if (status == HELIOS_OK)
        status = crypt_file_derive(keys->crypt, c->wrapping, &header, MAGIC_KEYS, &file);
    if (status != HELIOS_OK)
        return status;
    put_head(c, &header, out);
    put_keys(c, out + KEYS_AT);
    status = crypt_seal(&file, KEYS_AT, slice_make(out, KEYS_AT), &plain, 1, out + KEYS_AT);
    crypt_file_release(&file);
    put_u64(out + end, checksum(out + KIND_AT, end - KIND_AT, file_salt(header.id), KIND_AT));
    *size = end + XXH3_SIZE;
    return status;
}

/* Whole or not at all, as CURRENT is. */
static helios_status replace(struct io_fs *fs, const char *directory, const void *bytes, size_t size)
{
    char path[PATH_BYTES], aside[PATH_BYTES];
    struct io_file *file = NULL;
    helios_status status;

    snprintf(path, sizeof(path), "%s/KEYS", directory);
    snprintf(aside, sizeof(aside), "%s/KEYS.tmp", directory);
    status = io_open(fs, aside, IO_WRITE | IO_CREATE | IO_TRUNCATE, &file);
    if (status == HELIOS_OK)
        status = io_write(file, 0, bytes, size);
    if (status == HELIOS_OK)
        status = io_sync(file);
    io_close(file);
    if (status == HELIOS_OK)
        status = io_rename(fs, aside, path);
    return status == HELIOS_OK ? io_sync_directory(fs, directory) : status;
}

static helios_status write_locked(struct keys *keys, const char *directory, const struct content *c)
{
    unsigned char bytes[FILE_BYTES_MAX];
    size_t size = 0;
    helios_status status = encode_locked(keys, c, bytes, &size);

    if (status == HELIOS_OK)
        status = replace(keys->fs, directory, bytes, size);
    if (status == HELIOS_OK)
        keys->written++;
    crypt_wipe(bytes, sizeof(bytes));
    return status;
}

/* The wrapping key of another source into the content, which borrows it. */
static helios_status content_wrap(struct keys *keys, const helios_encryption *source, struct content *c,
                                  unsigned char wrapping[CRYPT_KEY_SIZE])
{
    helios_status status = HELIOS_OK;

    c->source = source->source;
    c->wrapping = wrapping;
    c->wrapping_id++;
    c->stretch = (struct key_stretch){0};
    if (source->source == HELIOS_KEY_PASSWORD) {
        c->stretch.scrypt = scrypt_now;
        status = io_random(keys->fs, c->stretch.salt, sizeof(c->stretch.salt));
    }
    return status == HELIOS_OK ? key_source_get(source, c->wrapping_id, &c->stretch, wrapping) : status;
}

/* In the file before any other is written with it. */
static helios_status add_locked(struct keys *keys, const helios_encryption *source)
{
    struct content c = {0};
    unsigned char wrapping[CRYPT_KEY_SIZE];
    size_t at;
    helios_status status = HELIOS_OK;

    at = crypt_keys(keys->crypt, c.ids, NULL);
    if (at == CRYPT_KEYS_MAX)
        return fail(HELIOS_LIMIT, "%s: %d data keys are in use; wait until files of older ones are gone",
                    keys->directory, CRYPT_KEYS_MAX);
    content_of_locked(keys, &c);
    if (source)
        status = content_wrap(keys, source, &c, wrapping);
    if (status == HELIOS_OK)
        status = io_random(keys->fs, c.keys[at], CRYPT_KEY_SIZE);
    c.ids[at] = c.current = keys->last_id + 1;
    c.created[at] = io_time(keys->fs);
    c.count++;
    if (status == HELIOS_OK)
        status = write_locked(keys, keys->directory, &c);
    if (status == HELIOS_OK)
        status = crypt_key_add(keys->crypt, c.current, c.keys[at]);
    if (status == HELIOS_OK) {
        made_add(keys, c.current, c.created[at]);
        crypt_key_use(keys->crypt, c.current);
        keys->source = c.source;
        keys->wrapping_id = c.wrapping_id;
        keys->stretch = c.stretch;
        if (source)
            memcpy(keys->wrapping, wrapping, sizeof(wrapping));
    }
    crypt_wipe(wrapping, sizeof(wrapping));
    crypt_wipe(&c, sizeof(c));
    return status;
}

helios_status keys_add(struct keys *keys, const helios_encryption *source)
{
    helios_status status;

    mutex_lock(&keys->mu);
    status = add_locked(keys, source);
    mutex_unlock(&keys->mu);
    return status;
}

helios_status keys_create(struct io_fs *fs, const char *directory, const helios_encryption *source,
                          struct keys **out)
{
    struct keys *keys = NULL;
    helios_status status = keys_new(fs, directory, &keys);

    if (status == HELIOS_OK)
        status = keys_add(keys, source);
    if (status != HELIOS_OK) {
        keys_free(keys);
        return status;
    }
    *out = keys;
    return HELIOS_OK;
}

helios_status keys_copy(struct keys *keys, const char *directory)
{
    struct content c = {0};
    helios_status status;

    mutex_lock(&keys->mu);
    content_of_locked(keys, &c);
    status = write_locked(keys, directory, &c);
    mutex_unlock(&keys->mu);
    crypt_wipe(&c, sizeof(c));
    return status;
}

static bool is_among(uint32_t id, const uint32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* Removed in memory first: if the file then cannot be written it has too many, and the next time it is written they go. */
helios_status keys_retire(struct keys *keys, const uint32_t *in_use, size_t count, size_t *gone)
{
    struct content c = {0};
    helios_status status = HELIOS_OK;

    *gone = 0;
    mutex_lock(&keys->mu);
    content_of_locked(keys, &c);
    for (size_t i = 0; i < c.count; i++)
        if (c.ids[i] != c.current && !is_among(c.ids[i], in_use, count))
            *gone += crypt_key_remove(keys->crypt, c.ids[i]);
    crypt_wipe(&c, sizeof(c));
    if (*gone > 0) {
        content_of_locked(keys, &c);
        status = write_locked(keys, keys->directory, &c);
        crypt_wipe(&c, sizeof(c));
    }
    mutex_unlock(&keys->mu);
    return status;
}

/* ---- reading ---- */

static helios_status read_file(struct io_fs *fs, const char *path, unsigned char bytes[FILE_BYTES_MAX],
                               size_t *size)
{
    struct io_file *file = NULL;
    uint64_t found = 0;
    helios_status status = io_open(fs, path, IO_READ, &file);

    if (status == HELIOS_NOT_FOUND)
        status = fail_corrupt("%s: missing, but the database is encrypted; restore it from a backup", path);
    if (status == HELIOS_OK)
        status = io_size(file, &found);
    if (status == HELIOS_OK && (found < FILE_BYTES_MIN || found > FILE_BYTES_MAX))
        status = fail_corrupt("%s: no such file has %llu bytes", path, (unsigned long long)found);
    if (status == HELIOS_OK)
        status = io_read(file, 0, bytes, (size_t)found);
    io_close(file);
    *size = (size_t)found;
    return status;
}

static helios_status check_file(const unsigned char *bytes, size_t size, const char *path,
                                struct file_header *header)
{
    helios_status status = file_header_decode(bytes, MAGIC_KEYS, path, header);
    uint32_t count = get_u32(bytes + COUNT_AT);

    if (status != HELIOS_OK)
        return status;
    if (get_u64(bytes + size - XXH3_SIZE) !=
        checksum(bytes + KIND_AT, size - XXH3_SIZE - KIND_AT, header->salt, KIND_AT))
        return fail_corrupt("%s: bad checksum at offset %d", path, KIND_AT);
    if (!(header->flags & FILE_ENCRYPTED) || count == 0 || count > CRYPT_KEYS_MAX ||
        size != KEYS_AT + count * KEY_SIZE + CRYPT_TAG_SIZE + XXH3_SIZE || get_u32(bytes + ZERO_AT) != 0)
        return fail_corrupt("%s: its fields at offset %d do not fit each other", path, KIND_AT);
    if (bytes[KIND_AT] != KIND_KEY && bytes[KIND_AT] != KIND_PASSWORD)
        return fail(HELIOS_UNSUPPORTED, "%s: wrapped by a kind of key (%d) that this version does not know",
                    path, bytes[KIND_AT]);
    return HELIOS_OK;
}

static helios_status find_wrapping(struct keys *keys, const unsigned char *bytes, const char *path,
                                   const struct file_header *header, const helios_encryption *source)
{
    bool password = bytes[KIND_AT] == KIND_PASSWORD;

    if (password != (source->source == HELIOS_KEY_PASSWORD))
        return fail(HELIOS_INVALID, "%s: is wrapped by a %s, and a %s was given", path,
                    password ? "password" : "key", password ? "key" : "password");
    keys->source = source->source;
    keys->wrapping_id = header->key_id;
    keys->stretch.scrypt = (struct crypt_scrypt){bytes[SCRYPT_AT], bytes[SCRYPT_AT + 1], bytes[SCRYPT_AT + 2]};
    memcpy(keys->stretch.salt, bytes + SALT_AT, sizeof(keys->stretch.salt));
    keys->written = header->number;
    return key_source_get(source, header->key_id, &keys->stretch, keys->wrapping);
}

/* The checksum was right, so what does not open now was sealed with another key. */
static helios_status unwrap(struct keys *keys, unsigned char *bytes, const char *path,
                            const struct file_header *header)
{
    size_t count = get_u32(bytes + COUNT_AT);
    uint32_t current = get_u32(bytes + CURRENT_AT);
    struct crypt_file file = {0};
    unsigned char *at = bytes + KEYS_AT;
    bool right = false;
    helios_status status = crypt_file_derive(keys->crypt, keys->wrapping, header, MAGIC_KEYS, &file);

    if (status == HELIOS_OK)
        status = crypt_open(&file, KEYS_AT, slice_make(bytes, KEYS_AT), at, count * KEY_SIZE + CRYPT_TAG_SIZE,
                            at, &right);
    crypt_file_release(&file);
    if (status == HELIOS_OK && !right)
        status = fail(HELIOS_INVALID, "%s: the %s that was given is not that of this database", path,
                      keys->source == HELIOS_KEY_PASSWORD ? "password" : "key");
    for (size_t i = 0; i < count && status == HELIOS_OK; i++, at += KEY_SIZE) {
        status = crypt_key_add(keys->crypt, get_u32(at), at + KEY_BYTES);
        if (status == HELIOS_OK)
            made_add(keys, get_u32(at), get_u64(at + KEY_CREATED));
        right &= get_u32(at) != current;
    }
    if (status == HELIOS_OK && right)
        return fail_corrupt("%s: has no key %u, which is to be used", path, current);
    if (status == HELIOS_OK)
        crypt_key_use(keys->crypt, current);
    return status;
}

helios_status keys_open(struct io_fs *fs, const char *directory, const helios_encryption *source,
                        struct keys **out)
{
    unsigned char bytes[FILE_BYTES_MAX];
    struct file_header header;
    struct keys *keys = NULL;
    char path[PATH_BYTES];
    size_t size = 0;
    helios_status status = keys_new(fs, directory, &keys);

    snprintf(path, sizeof(path), "%s/KEYS", directory);
    if (status == HELIOS_OK)
        status = read_file(fs, path, bytes, &size);
    if (status == HELIOS_OK)
        status = check_file(bytes, size, path, &header);
    if (status == HELIOS_OK)
        status = find_wrapping(keys, bytes, path, &header, source);
    if (status == HELIOS_OK)
        status = unwrap(keys, bytes, path, &header);
    crypt_wipe(bytes, sizeof(bytes));
    if (status != HELIOS_OK) {
        keys_free(keys);
        return status;
    }
    *out = keys;
    return HELIOS_OK;
}

void keys_get_info(struct keys *keys, struct keys_info *info)
{
    uint32_t ids[CRYPT_KEYS_MAX];

    mutex_lock(&keys->mu);
    *info = (struct keys_info){.source = keys->source,
                               .wrapping = keys->wrapping_id,
                               .current = crypt_key_current(keys->crypt),
                               .count = (uint32_t)crypt_keys(keys->crypt, ids, NULL)};
    info->created = created_of(keys, info->current);
    mutex_unlock(&keys->mu);
}
