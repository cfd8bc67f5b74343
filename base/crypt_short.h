/* crypt_short.h - AES-256-GCM of what is short, the records of the log as a rule: byte for byte what EVP makes of it, in a
 * third of the time. EVP looks its parameters up by name several times for each message, 0.3 us whatever the size. So here
 * all blocks of the key stream come of one call of EVP, which has no parameters, and what is left is libcrypto's own
 * GCM, which takes its cipher from outside (openssl/modes.h). Used by base/crypt.c, which has one for each of its
 * contexts; no locks, no allocation once made. */
#ifndef HELIOS_BASE_CRYPT_SHORT_H
#define HELIOS_BASE_CRYPT_SHORT_H
#include "base/slice.h"
#include <openssl/evp.h>
#include <openssl/modes.h>

enum {
    CRYPT_SHORT_MAX = 512, /* measured: from about here EVP's code for long texts is faster */
    CRYPT_SHORT_BLOCK = 16,
    CRYPT_SHORT_NONCE = 12,
    CRYPT_SHORT_TAG = 16,
};

struct crypt_short {
    EVP_CIPHER_CTX *blocks; /* AES-256, a block at a time */
    GCM128_CONTEXT *gcm;
    size_t next; /* the block of the stream that is used next */
    unsigned char stream[CRYPT_SHORT_BLOCK + CRYPT_SHORT_MAX];
    unsigned char text[CRYPT_SHORT_MAX];
};

/* It is zeros. False: no memory; to be released all the same. */
bool crypt_short_init(struct crypt_short *, const EVP_CIPHER *aes_256_ecb);
void crypt_short_release(struct crypt_short *); /* wipes it */

/* False, of each: libcrypto failed. A key was set before anything is sealed or opened. */
bool crypt_short_key(struct crypt_short *, const unsigned char *key);
/* The pieces, of at most CRYPT_SHORT_MAX bytes together, and the tag behind them. No plain text is ever in out. */
bool crypt_short_seal(struct crypt_short *, const unsigned char nonce[CRYPT_SHORT_NONCE], helios_slice bound,
                      const helios_slice *pieces, size_t count, unsigned char *out);
/* size: without the tag. out may be where the text is. */
bool crypt_short_open(struct crypt_short *, const unsigned char nonce[CRYPT_SHORT_NONCE], helios_slice bound,
                      const unsigned char *sealed, size_t size, const unsigned char tag[CRYPT_SHORT_TAG],
                      unsigned char *out, bool *right);

#endif
