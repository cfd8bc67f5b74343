/* crypt.c - crypt.h by OpenSSL's libcrypto. */
#include "base/crypt.h"
#include "base/coding.h"
#include "base/crypt_short.h"
#include "base/mem.h"
#include "base/thread.h"
#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <sched.h>
#include <stdatomic.h>

enum {
    CONTEXTS = 32, /* of each direction: more threads than that at once wait for each other */
    NONCE_SIZE = CRYPT_SHORT_NONCE,
    STEP_MAX = 1 << 30, /* libcrypto counts in int */
};

struct crypt_context {
    _Atomic bool busy __attribute__((aligned(64)));
    uint64_t serial, short_serial; /* of the file whose key each has; 0: none */
    EVP_CIPHER_CTX *evp;
    struct crypt_short brief;
};
_Static_assert((int)CRYPT_SHORT_TAG == (int)CRYPT_TAG_SIZE, "one tag, whatever the size of the text");

struct data_key {
    uint32_t id;
    uint32_t files; /* being written */
    unsigned char key[CRYPT_KEY_SIZE];
};

struct crypt {
    struct crypt_context sealing[CONTEXTS], opening[CONTEXTS];
    /* Constant. */
    EVP_CIPHER *cipher, *blocks;
    EVP_KDF *kdf;
    helios_status (*random)(void *arg, void *data, size_t size);
    void *random_arg;
    /* Guarded by mu. */
    struct mutex mu;
    struct data_key keys[CRYPT_KEYS_MAX];
    size_t key_count;
    uint32_t current;
};

static _Atomic uint64_t serials;
static _Atomic unsigned threads;
static _Thread_local unsigned thread_number; /* from 1 */

static helios_status fail_crypto(const char *what)
{
    return fail(HELIOS_IO, "libcrypto cannot %s", what);
}

void crypt_wipe(void *data, size_t size)
{
    OPENSSL_cleanse(data, size);
}

/* ---- contexts ---- */

static helios_status contexts_new(struct crypt_context *contexts, const struct crypt *crypt, int encrypt)
{
    for (size_t i = 0; i < CONTEXTS; i++) {
        contexts[i].evp = EVP_CIPHER_CTX_new();
        if (!crypt_short_init(&contexts[i].brief, crypt->blocks) || !contexts[i].evp ||
            EVP_CipherInit_ex(contexts[i].evp, crypt->cipher, NULL, NULL, NULL, encrypt) != 1)
            return fail(HELIOS_NO_MEMORY, "libcrypto: no memory for a cipher");
    }
    return HELIOS_OK;
}

static void contexts_free(struct crypt_context *contexts)
{
    for (size_t i = 0; i < CONTEXTS; i++) {
        assert(!atomic_load(&contexts[i].busy));
        EVP_CIPHER_CTX_free(contexts[i].evp); /* which wipes it */
        crypt_short_release(&contexts[i].brief);
    }
}

/* Each thread begins at a place of its own, where it finds the key of its last call as a rule. */
static struct crypt_context *context_take(struct crypt_context *contexts)
{
    if (thread_number == 0)
        thread_number = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) + 1;
    for (unsigned i = thread_number;; i++) {
        struct crypt_context *context = &contexts[i % CONTEXTS];

        if (!atomic_load_explicit(&context->busy, memory_order_relaxed) &&
            !atomic_exchange_explicit(&context->busy, true, memory_order_acquire))
            return context;
        if ((i - thread_number) % CONTEXTS == CONTEXTS - 1)
            sched_yield();
    }
}

static void context_give(struct crypt_context *context)
{
    atomic_store_explicit(&context->busy, false, memory_order_release);
}

static void nonce_make(uint64_t offset, unsigned char nonce[NONCE_SIZE])
{
    memset(nonce, 0, NONCE_SIZE);
    put_u64(nonce, offset);
}

/* The key, unless it is there; the nonce; what is bound. */
static bool context_begin(struct crypt_context *context, const struct crypt_file *file, uint64_t offset,
                          helios_slice bound)
{
    const unsigned char *key = context->serial == file->serial ? NULL : file->key;
    unsigned char nonce[NONCE_SIZE];
    int done;

    nonce_make(offset, nonce);
    context->serial = 0;
    if (EVP_CipherInit_ex(context->evp, NULL, NULL, key, nonce, -1) != 1)
        return false;
    context->serial = file->serial;
    return bound.size == 0 || EVP_CipherUpdate(context->evp, NULL, &done, bound.data, (int)bound.size) == 1;
}

static bool context_run(struct crypt_context *context, const unsigned char *in, size_t size, unsigned char *out)
{
    while (size > 0) {
        int step = size < STEP_MAX ? (int)size : STEP_MAX, done;

        if (EVP_CipherUpdate(context->evp, out, &done, in, step) != 1 || done != step)
            return false;
        in += step;
        out += step;
        size -= (size_t)step;
    }
    return true;
}

/* The same for what is short. */
static bool short_begin(struct crypt_context *context, const struct crypt_file *file)
{
    if (context->short_serial == file->serial)
        return true;
    context->short_serial = 0;
    if (!crypt_short_key(&context->brief, file->key))
        return false;
    context->short_serial = file->serial;
    return true;
}

/* ---- life ---- */

helios_status crypt_new(helios_status (*random)(void *arg, void *data, size_t size), void *arg,
                        struct crypt **out)
{
    struct crypt *crypt = mem_aligned(64, sizeof(*crypt));
    helios_status status = HELIOS_OK;

    if (!crypt)
        return fail_no_memory(sizeof(*crypt));
    memset(crypt, 0, sizeof(*crypt));
    mutex_init(&crypt->mu);
    crypt->random = random;
    crypt->random_arg = arg;
    crypt->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    crypt->blocks = EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL);
    crypt->kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    if (!crypt->cipher || !crypt->blocks || !crypt->kdf)
        status = fail(HELIOS_UNSUPPORTED, "libcrypto has no AES-256-GCM or no HKDF here");
    if (status == HELIOS_OK)
        status = contexts_new(crypt->sealing, crypt, 1);
    if (status == HELIOS_OK)
        status = contexts_new(crypt->opening, crypt, 0);
    if (status != HELIOS_OK) {
        crypt_free(crypt);
        return status;
    }
    *out = crypt;
    return HELIOS_OK;
}

void crypt_free(struct crypt *crypt)
{
    if (!crypt)
        return;
    contexts_free(crypt->sealing);
    contexts_free(crypt->opening);
    EVP_CIPHER_free(crypt->cipher);
    EVP_CIPHER_free(crypt->blocks);
    EVP_KDF_free(crypt->kdf);
    mutex_release(&crypt->mu);
    crypt_wipe(crypt, sizeof(*crypt));
    mem_free(crypt);
}

/* ---- data keys ---- */

static struct data_key *key_find_locked(struct crypt *crypt, uint32_t id)
{
    for (size_t i = 0; i < crypt->key_count; i++)
        if (crypt->keys[i].id == id)
            return &crypt->keys[i];
    return NULL;
}

helios_status crypt_key_add(struct crypt *crypt, uint32_t id, const unsigned char key[CRYPT_KEY_SIZE])
{
    helios_status status = HELIOS_OK;

    mutex_lock(&crypt->mu);
    if (crypt->key_count == CRYPT_KEYS_MAX)
        status = fail(HELIOS_LIMIT, "%d data keys are in use; wait until files of older ones are gone",
                      CRYPT_KEYS_MAX);
    if (status == HELIOS_OK) {
        struct data_key *fresh = &crypt->keys[crypt->key_count++];

        assert(!key_find_locked(crypt, id) || fresh->id == id);
        *fresh = (struct data_key){.id = id};
        memcpy(fresh->key, key, CRYPT_KEY_SIZE);
    }
    mutex_unlock(&crypt->mu);
    return status;
}

void crypt_key_use(struct crypt *crypt, uint32_t id)
{
    mutex_lock(&crypt->mu);
    assert(key_find_locked(crypt, id));
    crypt->current = id;
    mutex_unlock(&crypt->mu);
}

bool crypt_key_remove(struct crypt *crypt, uint32_t id)
{
    struct data_key *key;
    bool free;

    mutex_lock(&crypt->mu);
    assert(id != crypt->current);
    key = key_find_locked(crypt, id);
    free = key && key->files == 0;
    if (free) {
        size_t at = (size_t)(key - crypt->keys);

        memmove(key, key + 1, (--crypt->key_count - at) * sizeof(*key));
        crypt_wipe(&crypt->keys[crypt->key_count], sizeof(*key));
    }
    mutex_unlock(&crypt->mu);
    return free;
}

uint32_t crypt_key_current(struct crypt *crypt)
{
    uint32_t id;

    mutex_lock(&crypt->mu);
    id = crypt->current;
    mutex_unlock(&crypt->mu);
    return id;
}

size_t crypt_keys(struct crypt *crypt, uint32_t *ids, unsigned char (*keys)[CRYPT_KEY_SIZE])
{
    size_t count;

    mutex_lock(&crypt->mu);
    count = crypt->key_count;
    for (size_t i = 0; i < count; i++) {
        ids[i] = crypt->keys[i].id;
        if (keys)
            memcpy(keys[i], crypt->keys[i].key, CRYPT_KEY_SIZE);
    }
    mutex_unlock(&crypt->mu);
    return count;
}

/* ---- files ---- */

helios_status crypt_file_derive(struct crypt *crypt, const unsigned char key[CRYPT_KEY_SIZE],
                                const struct file_header *header, const char *magic, struct crypt_file *out)
{
    unsigned char info[FILE_MAGIC_SIZE + FILE_DRAW_SIZE + 8];
    struct crypt_file file = {.crypt = crypt, .key_id = header->key_id};
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(crypt->kdf);
    OSSL_PARAM parameters[5];
    bool done;

    memcpy(info, magic, FILE_MAGIC_SIZE);
    memcpy(info + FILE_MAGIC_SIZE, header->draw, FILE_DRAW_SIZE);
    put_u64(info + FILE_MAGIC_SIZE + FILE_DRAW_SIZE, header->number);
    parameters[0] = OSSL_PARAM_construct_utf8_string("digest", (char *)"SHA256", 0);
    parameters[1] = OSSL_PARAM_construct_octet_string("key", (void *)key, CRYPT_KEY_SIZE);
    parameters[2] = OSSL_PARAM_construct_octet_string("salt", (void *)header->id, FILE_ID_SIZE);
    parameters[3] = OSSL_PARAM_construct_octet_string("info", info, sizeof(info));
    parameters[4] = OSSL_PARAM_construct_end();
    done = context && EVP_KDF_derive(context, file.key, CRYPT_KEY_SIZE, parameters) == 1;
    EVP_KDF_CTX_free(context);
    if (!done)
        return fail_crypto("derive the key of a file");
    file.serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed) + 1;
    *out = file;
    crypt_wipe(file.key, sizeof(file.key));
    return HELIOS_OK;
}

helios_status crypt_file_begin(struct crypt *crypt, struct file_header *header, const char *magic,
                               struct crypt_file *file)
{
    unsigned char key[CRYPT_KEY_SIZE];
    struct data_key *current;
    helios_status status;

    *file = (struct crypt_file){0};
    if (!crypt)
        return HELIOS_OK;
    status = crypt->random(crypt->random_arg, header->draw, FILE_DRAW_SIZE);
    if (status != HELIOS_OK)
        return status;
    mutex_lock(&crypt->mu);
    current = key_find_locked(crypt, crypt->current);
    assert(current);
    current->files++;
    header->flags |= FILE_ENCRYPTED;
    header->key_id = current->id;
    memcpy(key, current->key, sizeof(key));
    mutex_unlock(&crypt->mu);
    status = crypt_file_derive(crypt, key, header, magic, file);
    crypt_wipe(key, sizeof(key));
    if (status != HELIOS_OK)
        *file = (struct crypt_file){.crypt = crypt, .key_id = header->key_id};
    file->counted = true;
    if (status != HELIOS_OK)
        crypt_file_release(file);
    return status;
}

helios_status crypt_file_open(struct crypt *crypt, const struct file_header *header, const char *magic,
                              const char *path, struct crypt_file *file)
{
    unsigned char key[CRYPT_KEY_SIZE];
    const struct data_key *found;
    helios_status status;

    *file = (struct crypt_file){0};
    if (!crypt && !(header->flags & FILE_ENCRYPTED))
        return HELIOS_OK;
    if (!crypt)
        return fail(HELIOS_INVALID, "%s: is encrypted, and no key was given", path);
    if (!(header->flags & FILE_ENCRYPTED))
        return fail_corrupt("%s: header at 0: not encrypted, as all files of this database are", path);
    mutex_lock(&crypt->mu);
    found = key_find_locked(crypt, header->key_id);
    if (found)
        memcpy(key, found->key, sizeof(key));
    mutex_unlock(&crypt->mu);
    if (!found)
        return fail_corrupt("%s: header at 0: data key %u is not in KEYS", path, header->key_id);
    status = crypt_file_derive(crypt, key, header, magic, file);
    crypt_wipe(key, sizeof(key));
    return status;
}

void crypt_file_release(struct crypt_file *file)
{
    if (file->counted) {
        struct data_key *key;

        mutex_lock(&file->crypt->mu);
        key = key_find_locked(file->crypt, file->key_id);
        assert(key);
        assert(key->files > 0);
        key->files--;
        mutex_unlock(&file->crypt->mu);
    }
    if (file->crypt)
        crypt_wipe(file, sizeof(*file));
}

/* ---- sealing and opening ---- */

helios_status crypt_stream_begin(struct crypt_stream *stream, const struct crypt_file *file, uint64_t offset,
                                 helios_slice bound)
{
    stream->context = context_take(file->crypt->sealing);
    return context_begin(stream->context, file, offset, bound) ? HELIOS_OK : fail_crypto("encrypt");
}

helios_status crypt_stream_put(struct crypt_stream *stream, helios_slice piece, void *out)
{
    return context_run(stream->context, piece.data, piece.size, out) ? HELIOS_OK : fail_crypto("encrypt");
}

helios_status crypt_stream_end(struct crypt_stream *stream, unsigned char tag[CRYPT_TAG_SIZE])
{
    struct crypt_context *context = stream->context;
    unsigned char none[CRYPT_TAG_SIZE];
    int size = 0;
    bool done = EVP_EncryptFinal_ex(context->evp, none, &size) == 1 && size == 0 &&
                EVP_CIPHER_CTX_ctrl(context->evp, EVP_CTRL_AEAD_GET_TAG, CRYPT_TAG_SIZE, tag) == 1;

    context_give(context);
    return done ? HELIOS_OK : fail_crypto("encrypt");
}

static helios_status seal_long(const struct crypt_file *file, uint64_t offset, helios_slice bound,
                               const helios_slice *pieces, size_t count, void *out)
{
    struct crypt_stream stream;
    unsigned char *at = out;
    helios_status status = crypt_stream_begin(&stream, file, offset, bound), ended;

    for (size_t i = 0; i < count && status == HELIOS_OK; i++) {
        status = crypt_stream_put(&stream, pieces[i], at);
        at += pieces[i].size;
    }
    if (status == HELIOS_OK)
        return crypt_stream_end(&stream, at);
    ended = crypt_stream_end(&stream, (unsigned char[CRYPT_TAG_SIZE]){0});
    return ended == HELIOS_OK ? status : ended;
}

static helios_status seal_short(const struct crypt_file *file, uint64_t offset, helios_slice bound,
                                const helios_slice *pieces, size_t count, void *out)
{
    struct crypt_context *context = context_take(file->crypt->sealing);
    unsigned char nonce[NONCE_SIZE];
    bool done;

    nonce_make(offset, nonce);
    done = short_begin(context, file) && crypt_short_seal(&context->brief, nonce, bound, pieces, count, out);
    context_give(context);
    return done ? HELIOS_OK : fail_crypto("encrypt");
}

static bool is_short(const helios_slice *pieces, size_t count)
{
    size_t size = 0;

    for (size_t i = 0; i < count && size <= CRYPT_SHORT_MAX; i++)
        size += pieces[i].size;
    return size <= CRYPT_SHORT_MAX;
}

helios_status crypt_seal(const struct crypt_file *file, uint64_t offset, helios_slice bound,
                         const helios_slice *pieces, size_t count, void *out)
{
    if (is_short(pieces, count))
        return seal_short(file, offset, bound, pieces, count, out);
    return seal_long(file, offset, bound, pieces, count, out);
}

static bool open_long(struct crypt_context *context, const struct crypt_file *file, uint64_t offset,
                      helios_slice bound, const void *sealed, size_t size, unsigned char tag[CRYPT_TAG_SIZE],
                      void *out, bool *right)
{
    int rest = 0;

    if (!context_begin(context, file, offset, bound) || !context_run(context, sealed, size, out) ||
        EVP_CIPHER_CTX_ctrl(context->evp, EVP_CTRL_AEAD_SET_TAG, CRYPT_TAG_SIZE, tag) != 1)
        return false;
    *right = EVP_DecryptFinal_ex(context->evp, tag, &rest) == 1;
    return true;
}

static bool open_short(struct crypt_context *context, const struct crypt_file *file, uint64_t offset,
                       helios_slice bound, const void *sealed, size_t size,
                       const unsigned char tag[CRYPT_TAG_SIZE], void *out, bool *right)
{
    unsigned char nonce[NONCE_SIZE];

    nonce_make(offset, nonce);
    return short_begin(context, file) &&
           crypt_short_open(&context->brief, nonce, bound, sealed, size, tag, out, right);
}

helios_status crypt_open(const struct crypt_file *file, uint64_t offset, helios_slice bound, const void *sealed,
                         size_t size, void *out, bool *right)
{
    struct crypt_context *context;
    unsigned char tag[CRYPT_TAG_SIZE];
    bool done;

    *right = false;
    if (size < CRYPT_TAG_SIZE)
        return HELIOS_OK;
    size -= CRYPT_TAG_SIZE;
    memcpy(tag, (const unsigned char *)sealed + size, sizeof(tag)); /* out may be where it stands */
    context = context_take(file->crypt->opening);
    done = size <= CRYPT_SHORT_MAX ? open_short(context, file, offset, bound, sealed, size, tag, out, right)
                                   : open_long(context, file, offset, bound, sealed, size, tag, out, right);
    context_give(context);
    return done ? HELIOS_OK : fail_crypto("decrypt");
}

/* ---- passwords ---- */

helios_status crypt_password_key(helios_slice password, helios_slice salt, const struct crypt_scrypt *scrypt,
                                 unsigned char key[CRYPT_KEY_SIZE])
{
    enum { LOG_N_MAX = 20, MEMORY_MAX = (1 << 30) + (1 << 20) };

    if (scrypt->log_n < 1 || scrypt->log_n > LOG_N_MAX || scrypt->r < 1 || scrypt->r > 8 || scrypt->p < 1 ||
        scrypt->p > 16)
        return fail(HELIOS_INVALID, "scrypt with 2^%u, %u, %u is out of bounds", scrypt->log_n, scrypt->r,
                    scrypt->p);
    if (EVP_PBE_scrypt(password.data, password.size, salt.data, salt.size, UINT64_C(1) << scrypt->log_n,
                       scrypt->r, scrypt->p, MEMORY_MAX, key, CRYPT_KEY_SIZE) != 1)
        return fail(HELIOS_NO_MEMORY, "libcrypto: no memory for scrypt");
    return HELIOS_OK;
}
