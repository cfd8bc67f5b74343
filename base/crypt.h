/* crypt.h - encryption at rest: AES-256-GCM with a key for each file. Used by whoever writes or reads files that may
 * hold a user's bytes; what of a file is sealed, and where, is the business of its format.
 *
 * A struct crypt has the data keys of one open database. The key of a file is derived (HKDF, RFC 5869) from a data key,
 * the file's id, its magic, twelve random bytes in its header and its number, so no two files share one, and none opens
 * in another's place. A nonce is the offset of what is sealed in its file: whoever writes a file seals at each offset once.
 * So neither the key nor the nonce needs a counter that survives, and what was moved within a file, or into another, does
 * not open.
 *
 * Threads: any, on one file too. Sealing and opening allocate nothing: the ciphers' contexts are made with the struct crypt
 * and whoever comes takes a free one; it keeps the key that it had last. */
#ifndef HELIOS_BASE_CRYPT_H
#define HELIOS_BASE_CRYPT_H
#include "base/file_header.h"
#include "base/slice.h"

enum { CRYPT_KEY_SIZE = 32, CRYPT_TAG_SIZE = 16, CRYPT_KEYS_MAX = 64 };

struct crypt;

/* The key of one file, in the memory of who has it open. Zeros, or no struct at all: the file is not encrypted. */
struct crypt_file {
    struct crypt *crypt; /* NULL: not encrypted */
    uint64_t serial;     /* unlike that of any other in this process */
    uint32_t key_id;     /* the data key */
    bool counted;        /* holds the data key, see crypt_file_begin */
    unsigned char key[CRYPT_KEY_SIZE];
};

/* random(arg, data, size) is where new files draw from. HELIOS_UNSUPPORTED in a library that was built without
 * libcrypto. */
helios_status crypt_new(helios_status (*random)(void *arg, void *data, size_t size), void *arg,
                        struct crypt **) CHECKED;
void crypt_free(struct crypt *); /* NULL is fine; no file of it may be open. All keys are wiped */

/* ---- data keys ---- */

/* HELIOS_LIMIT: CRYPT_KEYS_MAX are there. */
helios_status crypt_key_add(struct crypt *, uint32_t id, const unsigned char key[CRYPT_KEY_SIZE]) CHECKED;
/* From now on new files use it; it was added. */
void crypt_key_use(struct crypt *, uint32_t id);
/* False, and nothing done: a file that uses it is being written. It is not the one of new files. */
bool crypt_key_remove(struct crypt *, uint32_t id);
uint32_t crypt_key_current(struct crypt *);
/* Ids and keys, in the order in which they were added, into arrays of CRYPT_KEYS_MAX. */
size_t crypt_keys(struct crypt *, uint32_t *ids, unsigned char (*keys)[CRYPT_KEY_SIZE]);

/* ---- files ---- */

/* For a new file: fills in what its header says of its key; id and number are set. The data key is held until the
 * release. crypt NULL: the file is not encrypted. */
helios_status crypt_file_begin(struct crypt *, struct file_header *, const char *magic,
                               struct crypt_file *) CHECKED;
/* For one that is there. HELIOS_CORRUPT: not encrypted, though crypt is given, or of a key that is not there;
 * HELIOS_INVALID: encrypted, and crypt is NULL. */
helios_status crypt_file_open(struct crypt *, const struct file_header *, const char *magic, const char *path,
                              struct crypt_file *) CHECKED;
/* As crypt_file_open, with a key of the caller's. */
helios_status crypt_file_derive(struct crypt *, const unsigned char key[CRYPT_KEY_SIZE],
                                const struct file_header *, const char *magic, struct crypt_file *) CHECKED;
void crypt_file_release(struct crypt_file *); /* wipes it; may be called again */

static inline bool crypt_is_on(const struct crypt_file *file)
{
    return __builtin_expect(file && file->crypt, 0);
}
/* What sealing adds. */
static inline size_t crypt_overhead(const struct crypt_file *file)
{
    return crypt_is_on(file) ? CRYPT_TAG_SIZE : 0;
}

/* ---- sealing and opening ---- */

/* Seals the pieces, one behind the other, and writes them with their tag to out. `bound` is not stored, but has to be the
 * same when it is opened. */
helios_status crypt_seal(const struct crypt_file *, uint64_t offset, helios_slice bound,
                         const helios_slice *pieces, size_t count, void *out) CHECKED;
/* Opens `size` bytes, the tag included, into out, which may be where they are. *right false: they are not what was sealed
 * there, and what is in out means nothing. */
helios_status crypt_open(const struct crypt_file *, uint64_t offset, helios_slice bound, const void *sealed,
                         size_t size, void *out, bool *right) CHECKED;

/* Sealing in steps: begin, put any number of times, end; also after a failure of put. Between begin and end a
 * context is taken. */
struct crypt_stream {
    struct crypt_context *context;
};
helios_status crypt_stream_begin(struct crypt_stream *, const struct crypt_file *, uint64_t offset,
                                 helios_slice bound) CHECKED;
helios_status crypt_stream_put(struct crypt_stream *, helios_slice piece, void *out) CHECKED;
helios_status crypt_stream_end(struct crypt_stream *, unsigned char tag[CRYPT_TAG_SIZE]) CHECKED;

/* ---- for the file KEYS ---- */

struct crypt_scrypt {
    uint32_t log_n, r, p;
};
/* HELIOS_INVALID: parameters that would take more than 1 GiB, or that scrypt does not take. */
helios_status crypt_password_key(helios_slice password, helios_slice salt, const struct crypt_scrypt *,
                                 unsigned char key[CRYPT_KEY_SIZE]) CHECKED;
void crypt_wipe(void *, size_t size);

#endif
