/* key_source.h - the key-encryption key, from where the program says. Used by keys.c. */
#ifndef HELIOS_ENGINE_KEY_SOURCE_H
#define HELIOS_ENGINE_KEY_SOURCE_H
#include "base/crypt.h"

/* How a password becomes a key; kept in KEYS. */
struct key_stretch {
    struct crypt_scrypt scrypt;
    unsigned char salt[32];
};
/* id: which key a call-back is asked for. HELIOS_INVALID: a source that gives no key; no part of one is ever in the
 * sentence. Wiped by the caller. */
helios_status key_source_get(const helios_encryption *, uint32_t id, const struct key_stretch *,
                             unsigned char key[CRYPT_KEY_SIZE]) CHECKED;

#endif
