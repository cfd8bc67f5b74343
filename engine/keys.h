/* keys.h - the data keys of an encrypted database, in its file KEYS: each under a key-encryption key, which comes from the
 * program and is never stored. Used by open, by checkpoints and by rotation.
 *
 * KEYS is replaced as a whole (written aside, synced, renamed, the directory synced) under the database's lock. It is
 * itself an encrypted file in the way of all others, with the key-encryption key in a data key's place:
 *
 *   0        64     65      66  67  68     72     104     108       112                 ...   +16    +8
 *   | header | kind | log N | r | p | zero | salt | count | current | count keys, sealed | tag | xxh3 |
 *
 * kind: 1 a key of 32 bytes, 2 a password, from which scrypt with the parameters and the salt makes one. The header's number
 * counts the replacements; its key id is that of the key-encryption key, 1 and one more with each change of it. A key:
 * id (u32), zero (u32), time it was made (u64), 32 bytes. All before the keys is bound to them; xxh3 of [64, here),
 * salted, at offset 64. */
#ifndef HELIOS_ENGINE_KEYS_H
#define HELIOS_ENGINE_KEYS_H
#include "base/crypt.h"
#include "io/io.h"

struct keys;

/* A first data key, and KEYS in the directory, durably. */
helios_status keys_create(struct io_fs *, const char *directory, const helios_encryption *,
                          struct keys **) CHECKED;
/* HELIOS_INVALID: it is not the key; HELIOS_CORRUPT: KEYS is damaged. Changes no file. */
helios_status keys_open(struct io_fs *, const char *directory, const helios_encryption *,
                        struct keys **) CHECKED;
void keys_free(struct keys *);                 /* NULL is fine; wipes them */
struct crypt *keys_crypt(const struct keys *); /* NULL of NULL */

/* Another data key for new files, durably. With a source the key-encryption key is changed too. */
helios_status keys_add(struct keys *, const helios_encryption *) CHECKED;
/* Lets go of those that no file uses, durably: in_use has the ids of all files. *gone: how many. */
helios_status keys_retire(struct keys *, const uint32_t *in_use, size_t count, size_t *gone) CHECKED;
/* KEYS of another directory that has the same files. */
helios_status keys_copy(struct keys *, const char *directory) CHECKED;

struct keys_info {
    helios_key_source source;
    uint32_t wrapping; /* id of the key-encryption key */
    uint32_t current, count;
    uint64_t created; /* of the current one */
};
void keys_get_info(struct keys *, struct keys_info *);

#endif
