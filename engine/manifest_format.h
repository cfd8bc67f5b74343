/* manifest_format.h - what manifest.c and manifest_format.c share: an edit as bytes. */
#ifndef HELIOS_ENGINE_MANIFEST_FORMAT_H
#define HELIOS_ENGINE_MANIFEST_FORMAT_H
#include "base/buf.h"
#include "engine/manifest.h"

enum { EDIT_SIZE = 0, EDIT_XXH3 = 8, EDIT_HEADER = 16, EDIT_BODY_MAX = 1 << 30 };

/* Fields of a body. Zero is none. */
enum {
    FIELD_SNAPSHOT = 1,
    FIELD_STATE = 2,
    FIELD_ADD = 3,
    FIELD_REMOVE = 4,
    FIELD_LOST = 5,
    FIELD_TIMELINE = 6,
    FIELD_FEED = 7,
    FIELD_DROPS = 8
};

enum { STATE_FIELDS = 13, PROPERTY_FIELDS = 17, ADD_FIELDS = 6 };
_Static_assert(PROPERTY_FIELDS * sizeof(uint64_t) == sizeof(struct table_properties),
               "an edit has every property");

/* Fields appended to a body. */
helios_status manifest_put_state(helios_buf *body, const struct manifest_state *) CHECKED;
helios_status manifest_put_change(helios_buf *body, const struct version_change *) CHECKED;
helios_status manifest_put_snapshot(helios_buf *body, const struct manifest_state *,
                                    const struct version *) CHECKED;
/* Of an edit with its header, that stands at the offset. */
uint64_t manifest_edit_checksum(const unsigned char *edit, size_t body_size, uint64_t salt, uint64_t offset);

/* The next edit of a file in memory. False at the end; *torn when what is left is no edit. Of an encrypted file the body is
 * still sealed: manifest_edit_open. */
struct manifest_reader {
    unsigned char *bytes;
    uint64_t size, at, salt;
    bool torn;
};

bool manifest_next_edit(struct manifest_reader *, helios_slice *body);
/* Decrypts the body, which stands in the reader's bytes, in its place; `at` is the edit's. */
helios_status manifest_edit_open(const struct manifest_reader *, const struct crypt_file *, const char *path,
                                 uint64_t at, helios_slice *body) CHECKED;

/* One field; numbers holds at most what the longest field has. */
struct manifest_field {
    unsigned char tag;
    uint64_t numbers[STATE_FIELDS];
    helios_slice smallest, largest;
    struct table_properties properties;
};

/* The next field of a body. False: unknown or damaged. */
bool manifest_read_field(struct reader *, struct manifest_field *);
/* What the numbers of a FIELD_STATE say; what other fields say stays as it is. */
void manifest_state_of(const uint64_t numbers[STATE_FIELDS], struct manifest_state *);
/* For people, one line. */
void manifest_field_text(const struct manifest_field *, char *text, size_t size);

#endif
