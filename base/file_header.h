/* file_header.h - the first 64 bytes of every file that Helios writes, little-endian:
 *
 *   0       8         12      16        32       40         56     64
 *   | magic | version | flags | file id | number | reserved | xxh3 |
 *
 * The file id is random; it salts every other checksum in the file. `reserved`, of an encrypted file: the id of the data
 * key (u32), twelve random bytes; else not looked at. xxh3 covers [0, 56), unseeded. */
#ifndef HELIOS_BASE_FILE_HEADER_H
#define HELIOS_BASE_FILE_HEADER_H
#include "base/status.h"

enum {
    FILE_MAGIC = 0,
    FILE_VERSION = 8,
    FILE_FLAGS = 12,
    FILE_ID = 16,
    FILE_NUMBER = 32,
    FILE_KEY_ID = 40,
    FILE_DRAW = 44,
    FILE_XXH3 = 56,
    FILE_HEADER_SIZE = 64,
    FILE_MAGIC_SIZE = 8,
    FILE_ID_SIZE = 16,
    FILE_DRAW_SIZE = 12,
    FORMAT_VERSION = 1,
    FILE_ENCRYPTED = 1, /* the one feature flag */
};

#define MAGIC_IDENTITY "HELIOSDB"
#define MAGIC_MANIFEST "HELIOSMF"
#define MAGIC_LOG      "HELIOSWL"
#define MAGIC_INDEX    "HELIOSIX"
#define MAGIC_ARCHIVE  "HELIOSAR"
#define MAGIC_TABLE    "HELIOSST"
#define MAGIC_KEYS     "HELIOSKY"

struct file_header {
    uint32_t flags; /* FILE_ENCRYPTED; any other is HELIOS_UNSUPPORTED */
    unsigned char id[FILE_ID_SIZE];
    uint64_t number;
    uint32_t key_id; /* encrypted: the data key, and what else the file's own key is made of */
    unsigned char draw[FILE_DRAW_SIZE];
    uint64_t salt; /* derived from id; not stored */
};

void file_header_encode(const struct file_header *, const char *magic, unsigned char out[FILE_HEADER_SIZE]);

/* HELIOS_CORRUPT for a wrong magic or checksum, HELIOS_UNSUPPORTED for a newer version or unknown
 * flags; the sentence names `path`. */
helios_status file_header_decode(const unsigned char in[FILE_HEADER_SIZE], const char *magic, const char *path,
                                 struct file_header *) CHECKED;

uint64_t file_salt(const unsigned char id[FILE_ID_SIZE]);

#endif
