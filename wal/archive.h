/* archive.h - a segment that only the feed needs any more, compressed. Used by wal/ alone, its tests and fuzz target.
 *
 * File wal/<number>.arc, little-endian; its header has the file id and number of the segment, its checksums are XXH3 salted
 * and bound to their offset as everywhere:
 *   [0, 64)      file header, magic HELIOSAR
 *   [64, 640)    the segment's bytes [0, 576): header, link, zeros, seal. It is sealed where its records end
 *   [640, 648)   u64 checksum of those
 *   [648, ...)   frames: whole records in their order, about WAL_FRAME bytes of them. As zstd, or as they are where that is not
 *                smaller; then u64 checksum of what is stored
 *   frame index  per frame varints: bytes / 8, stored bytes, first number less the frame's before; then u64 checksum
 *   postings     lists of frames, each varints: number less the list's before (the first: itself); then u64 checksum
 *   directory    varint size of the first list (of frames that every filter wants); varint count of spaces; per space,
 *                ascending: u8 space, u8 depth, varint count of terms; per term, ascending: varint how many bytes it shares
 *                with the term before, varint size of the rest (together at most depth), the rest, varint size of its
 *                list. The lists stand in this order. Then u64 checksum. No directory: only its checksum
 *   footer       64 bytes: count of frames, offset of the frame index, of the postings, of the directory, where the segment's
 *                records end (u64 each), u64 reserved, u64 checksum of these 48, magic ARCHIVED
 * A term is the beginning of a key, as long as the depth of its space or the key if that is shorter; its list names the
 * frames with such keys. What a padding to 8 holds in a segment, and the body of a VOID, is zeros here. */
#ifndef HELIOS_WAL_ARCHIVE_H
#define HELIOS_WAL_ARCHIVE_H
#include "wal/wal.h"

enum {
    WAL_FRAME = 4096,     /* see docs/decisions.md */
    WAL_TERM_MAX = 16,    /* bytes of a key */
    WAL_TERMS_MAX = 4096, /* of one space */
};

/* An open archive; one thread at a time. The file is borrowed. */
struct wal_archive;
bool wal_archive_is(const unsigned char *page, size_t size); /* does a file that begins so call itself one? */
/* Reads its ends. HELIOS_CORRUPT with file and offset, here and below. */
helios_status wal_archive_open(struct io_file *, struct wal_segment_info *, struct wal_archive **) CHECKED;
void wal_archive_close(struct wal_archive *); /* NULL is fine */

/* The run of frames to read for [offset, offset + size) of the segment: from where, how many bytes. */
struct wal_run {
    size_t frame, count;
    uint64_t from, bytes;
};
helios_status wal_archive_run(struct wal_archive *, uint64_t offset, uint64_t size, struct wal_run *) CHECKED;
helios_status wal_archive_read(struct wal_archive *, const struct wal_run *, unsigned char *out) CHECKED;
/* The start of the frame that holds seq, or of the first. */
helios_status wal_archive_find(struct wal_archive *, helios_seq seq, uint64_t *offset) CHECKED;
/* From now on only frames that may hold what the filter wants. */
helios_status wal_archive_select(struct wal_archive *, const struct wal_filter *) CHECKED;
/* offset is a frame's start: the start of the next one that was selected, itself included, or the records' end. In the
 * middle of a frame, and without a selection, it stays. */
uint64_t wal_archive_skip(const struct wal_archive *, uint64_t offset);
/* Frames have been read by whoever walks over the records; the rest. */
helios_status wal_archive_check(struct wal_archive *) CHECKED;

/* ---- writing ---- */

/* Terms as they are gathered: terms.c. */
struct wal_term {
    unsigned char key[WAL_TERM_MAX]; /* and zeros */
    uint8_t size, space;
    uint32_t frame;
};
struct wal_terms {
    struct wal_term *terms;
    size_t count, capacity;
    uint32_t frame;       /* that is being filled */
    uint8_t lowered[256]; /* per space: WAL_TERM_MAX less how many bytes are still looked at */
    helios_buf always;    /* u32 each: frames that every filter wants */
    bool failed;          /* no memory for all of them */
};
void wal_terms_release(struct wal_terms *);
/* Postings, each with its checksum as it will stand at `offset` and behind, and directory without its checksum. */
helios_status wal_terms_encode(struct wal_terms *, uint32_t frames, uint64_t salt, uint64_t offset,
                               helios_buf *postings, helios_buf *directory) CHECKED;

/* Part of a directory that a filter wants: lists that stand behind each other. */
struct wal_lists {
    uint64_t offset;  /* of the first, behind the start of the postings */
    uint64_t always;  /* size of the list of frames that are always wanted; it is at 0 */
    helios_buf sizes; /* u64 each */
};
/* HELIOS_CORRUPT: false in *good. room: bytes of all postings. filter NULL: all lists. */
helios_status wal_lists_find(const unsigned char *directory, size_t size, uint64_t room,
                             const struct wal_filter *, struct wal_lists *, bool *good) CHECKED;
/* Sets the bits of a list's frames; false: it is none. */
bool wal_list_mark(const unsigned char *list, size_t size, size_t frames, uint64_t *bits);

/* Writes and syncs the archive of a segment under its temporary name, which is left whatever comes. *end: where its records
 * end; if that is the segment's size, becomes what it is. *bytes: its size; 0: it would be above `most`, and is not whole.
 * HELIOS_TIMEOUT, without a sentence: *stop was set. HELIOS_CORRUPT: there is something that is no record. */
helios_status wal_archive_write(const struct wal_options *, uint64_t number, const _Atomic bool *stop,
                                uint64_t most, uint64_t *end, uint64_t *bytes) CHECKED;
void wal_archive_path(const char *directory, uint64_t number, bool temporary, char *out, size_t size);

#endif
