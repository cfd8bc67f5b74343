/* key_source.c - see key_source.h. */
#include "engine/key_source.h"
#include "io/io.h"
#include <stdlib.h>

enum { HEX_SIZE = 2 * CRYPT_KEY_SIZE, PASSWORD_MAX = 1024 };

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

static bool key_from_hex(const char *text, size_t size, unsigned char key[CRYPT_KEY_SIZE])
{
    if (size != HEX_SIZE)
        return false;
    for (size_t i = 0; i < CRYPT_KEY_SIZE; i++) {
        int high = digit_value(text[2 * i]), low = digit_value(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        key[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static helios_status key_from_environment(const char *name, unsigned char key[CRYPT_KEY_SIZE])
{
    const char *text = name ? getenv(name) : NULL;

    if (!text)
        return fail(HELIOS_INVALID, "the environment variable %s, for the key, is not set", name ? name : "?");
    if (!key_from_hex(text, strlen(text), key))
        return fail(HELIOS_INVALID, "the environment variable %s does not hold a key: 64 hex digits", name);
    return HELIOS_OK;
}

/* 32 bytes, or 64 hex digits and perhaps the end of the line. */
static bool key_from_bytes(const char *bytes, size_t size, unsigned char key[CRYPT_KEY_SIZE])
{
    if (size == CRYPT_KEY_SIZE) {
        memcpy(key, bytes, CRYPT_KEY_SIZE);
        return true;
    }
    if (size > HEX_SIZE && bytes[size - 1] == '\n')
        size--;
    if (size > HEX_SIZE && bytes[size - 1] == '\r')
        size--;
    return key_from_hex(bytes, size, key);
}

/* Its permissions are not looked at: what is right is the business of who runs the program (a secret that a container
 * gets as a file is readable by all inside). */
static helios_status key_from_file(const char *path, unsigned char key[CRYPT_KEY_SIZE])
{
    char bytes[HEX_SIZE + 8];
    struct io_file *file = NULL;
    size_t got = 0;
    helios_status status;

    if (!path)
        return fail(HELIOS_INVALID, "no path of a file with the key was given");
    status = io_open(io_posix(), path, IO_READ, &file);
    if (status == HELIOS_OK)
        status = io_read_some(file, 0, bytes, sizeof(bytes), &got);
    io_close(file);
    if (status == HELIOS_OK && !key_from_bytes(bytes, got, key))
        status = fail(HELIOS_INVALID, "%s does not hold a key: 32 bytes, or 64 hex digits", path);
    crypt_wipe(bytes, sizeof(bytes));
    return status;
}

static helios_status key_from_call(const helios_encryption *source, uint32_t id,
                                   unsigned char key[CRYPT_KEY_SIZE])
{
    helios_status status;

    if (!source->fetch)
        return fail(HELIOS_INVALID, "no call-back for the key was given");
    status = source->fetch(source->fetch_arg, id, key);
    return status == HELIOS_OK ? HELIOS_OK : fail(status, "the call-back for key %u failed", id);
}

helios_status key_source_get(const helios_encryption *source, uint32_t id, const struct key_stretch *stretch,
                             unsigned char key[CRYPT_KEY_SIZE])
{
    switch (source->source) {
    case HELIOS_KEY_RAW:
        if (!source->key.data || source->key.size != CRYPT_KEY_SIZE)
            return fail(HELIOS_INVALID, "a key has %d bytes, not %zu", CRYPT_KEY_SIZE, source->key.size);
        memcpy(key, source->key.data, CRYPT_KEY_SIZE);
        return HELIOS_OK;
    case HELIOS_KEY_ENVIRONMENT: return key_from_environment(source->name, key);
    case HELIOS_KEY_FILE: return key_from_file(source->name, key);
    case HELIOS_KEY_CALLBACK: return key_from_call(source, id, key);
    case HELIOS_KEY_PASSWORD:
        if (!source->key.data || source->key.size == 0 || source->key.size > PASSWORD_MAX)
            return fail(HELIOS_INVALID, "a password has 1 to %d bytes", PASSWORD_MAX);
        return crypt_password_key(source->key, slice_make(stretch->salt, sizeof(stretch->salt)),
                                  &stretch->scrypt, key);
    case HELIOS_KEY_NONE: break;
    }
    return fail(HELIOS_INVALID, "helios_encryption.source says no source of a key");
}
