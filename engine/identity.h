/* identity.h - the directory of a database: what belongs to Helios in it, its file HELIOS, making and
 * removing it.
 *
 * File HELIOS, 128 bytes: file header (magic HELIOSDB, number 0), uuid (16), node id (16), created (u64, us),
 * 16 zero bytes, xxh3 of [64, 120) salted at offset 64. It is also what is locked. */
#ifndef HELIOS_ENGINE_IDENTITY_H
#define HELIOS_ENGINE_IDENTITY_H
#include "base/file_header.h"
#include "io/io.h"

enum { IDENTITY_SIZE = 128 };
struct identity {
    unsigned char uuid[16], node_id[16];
    uint64_t created;
    bool encrypted; /* by the flag in the header: the rest of the file is not, here */
};

/* What is at path. */
enum directory_kind {
    DIRECTORY_NONE,       /* nothing there */
    DIRECTORY_FREE,       /* a directory without anything of ours */
    DIRECTORY_UNFINISHED, /* a creation that was cut off: no CURRENT, no data */
    DIRECTORY_DATABASE,
};
/* HELIOS_INVALID: not a directory; HELIOS_CORRUPT: parts of a database without the rest. */
helios_status directory_look(struct io_fs *, const char *path, enum directory_kind *) CHECKED;

helios_status identity_write(struct io_fs *, const char *directory, const struct identity *) CHECKED;
helios_status identity_read(struct io_fs *, const char *directory, struct identity *) CHECKED;
/* A new one: random uuid and, if the given one is all zero, node id. */
helios_status identity_draw(struct io_fs *, const unsigned char node_id[16], struct identity *) CHECKED;

/* Removes everything that Helios makes in a directory, CURRENT first, and the directory if it is empty then
 * and remove_directory is set. What is not ours stays. */
helios_status directory_remove_ours(struct io_fs *, const char *path, bool remove_directory) CHECKED;
/* Makes the directory's own name durable: it stands in the directory above. */
helios_status directory_sync_name(struct io_fs *, const char *path) CHECKED;
/* Whether a name in the directory is one of ours. */
bool name_is_ours(const char *name);
/* The number in a name like 00000012.sst with this ending; false: not such a name. */
bool numbered_name(const char *name, const char *ending, uint64_t *number);

#endif
