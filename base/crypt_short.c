/* crypt_short.c - crypt_short.h; GCM is NIST SP 800-38D. */
#include "base/crypt_short.h"
#include <assert.h>
#include <openssl/crypto.h>
#include <string.h>

/* GCM asks for blocks in the order of their counters: the one for the tag, those of the text. They are there. */
static void take_block(const unsigned char in[16], unsigned char out[16], const void *key)
{
    struct crypt_short *s = (struct crypt_short *)key;

    (void)in;
    assert(s->next < sizeof(s->stream) / CRYPT_SHORT_BLOCK);
    memcpy(out, s->stream + CRYPT_SHORT_BLOCK * s->next++, CRYPT_SHORT_BLOCK);
}

static void take_blocks(const unsigned char *in, unsigned char *out, size_t blocks, const void *key,
                        const unsigned char counter[16])
{
    struct crypt_short *s = (struct crypt_short *)key;
    const unsigned char *stream = s->stream + CRYPT_SHORT_BLOCK * s->next;

    (void)counter;
    s->next += blocks;
    assert(s->next <= sizeof(s->stream) / CRYPT_SHORT_BLOCK);
    for (size_t i = 0; i < blocks * CRYPT_SHORT_BLOCK; i++)
        out[i] = in[i] ^ stream[i];
}

static bool encrypt_blocks(struct crypt_short *s, size_t blocks)
{
    int size = (int)(blocks * CRYPT_SHORT_BLOCK), done;

    s->next = 0;
    return EVP_EncryptUpdate(s->blocks, s->stream, &done, s->stream, size) == 1 && done == size;
}

/* The key stream for so many bytes: counter 1 is for the tag, the text begins with 2. */
static bool begin(struct crypt_short *s, const unsigned char nonce[CRYPT_SHORT_NONCE], helios_slice bound,
                  size_t size)
{
    size_t blocks = 1 + (size + CRYPT_SHORT_BLOCK - 1) / CRYPT_SHORT_BLOCK;

    assert(size <= CRYPT_SHORT_MAX);
    for (size_t i = 0; i < blocks; i++) {
        unsigned char *block = s->stream + i * CRYPT_SHORT_BLOCK;

        memcpy(block, nonce, CRYPT_SHORT_NONCE);
        block[12] = block[13] = 0;
        block[14] = (unsigned char)((i + 1) >> 8);
        block[15] = (unsigned char)(i + 1);
    }
    if (!encrypt_blocks(s, blocks))
        return false;
    CRYPTO_gcm128_setiv(s->gcm, nonce, CRYPT_SHORT_NONCE);
    return CRYPTO_gcm128_aad(s->gcm, bound.data, bound.size) == 0;
}

bool crypt_short_init(struct crypt_short *s, const EVP_CIPHER *aes_256_ecb)
{
    s->blocks = EVP_CIPHER_CTX_new();
    s->gcm = CRYPTO_gcm128_new(s, take_block);
    return s->blocks && s->gcm && EVP_EncryptInit_ex(s->blocks, aes_256_ecb, NULL, NULL, NULL) == 1 &&
           EVP_CIPHER_CTX_set_padding(s->blocks, 0) == 1;
}

void crypt_short_release(struct crypt_short *s)
{
    CRYPTO_gcm128_release(s->gcm); /* which wipes it, as the other */
    EVP_CIPHER_CTX_free(s->blocks);
    OPENSSL_cleanse(s, sizeof(*s));
}

bool crypt_short_key(struct crypt_short *s, const unsigned char *key)
{
    memset(s->stream, 0, CRYPT_SHORT_BLOCK); /* the key of the hash is the block of zeros, encrypted */
    if (EVP_EncryptInit_ex(s->blocks, NULL, NULL, key, NULL) != 1 || !encrypt_blocks(s, 1))
        return false;
    CRYPTO_gcm128_init(s->gcm, s, take_block);
    return true;
}

bool crypt_short_seal(struct crypt_short *s, const unsigned char nonce[CRYPT_SHORT_NONCE], helios_slice bound,
                      const helios_slice *pieces, size_t count, unsigned char *out)
{
    size_t size = 0;

    for (size_t i = 0; i < count; i++) {
        assert(pieces[i].size <= sizeof(s->text) - size);
        if (pieces[i].size > 0)
            memcpy(s->text + size, pieces[i].data, pieces[i].size);
        size += pieces[i].size;
    }
    if (!begin(s, nonce, bound, size) ||
        CRYPTO_gcm128_encrypt_ctr32(s->gcm, s->text, out, size, take_blocks) != 0)
        return false;
    CRYPTO_gcm128_tag(s->gcm, out + size, CRYPT_SHORT_TAG);
    return true;
}

bool crypt_short_open(struct crypt_short *s, const unsigned char nonce[CRYPT_SHORT_NONCE], helios_slice bound,
                      const unsigned char *sealed, size_t size, const unsigned char tag[CRYPT_SHORT_TAG],
                      unsigned char *out, bool *right)
{
    if (!begin(s, nonce, bound, size) ||
        CRYPTO_gcm128_decrypt_ctr32(s->gcm, sealed, out, size, take_blocks) != 0)
        return false;
    *right = CRYPTO_gcm128_finish(s->gcm, tag, CRYPT_SHORT_TAG) == 0;
    return true;
}
