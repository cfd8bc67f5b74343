/* index.h - where in a segment which numbers begin. Used by wal/ alone, and by its tests. */
#ifndef HELIOS_WAL_INDEX_H
#define HELIOS_WAL_INDEX_H
#include "wal/wal.h"

enum { WAL_INDEX_CHUNK = 64 * 1024 };

struct wal_index_entry {
    uint64_t offset;
    helios_seq first;
};
/* The first record at or behind each multiple of WAL_INDEX_CHUNK; one entry where a record spans several. Added to by one
 * thread, searched by any, as long as it has the room. */
struct wal_index {
    struct wal_index_entry *entries;
    size_t capacity;
    _Atomic size_t count;
};
helios_status wal_index_reserve(struct wal_index *, size_t capacity) CHECKED;
void wal_index_release(struct wal_index *);
size_t wal_index_room(uint64_t size);             /* entries that a segment of that size can have at most */
uint64_t wal_index_due(const struct wal_index *); /* a record from this offset on is the next entry */
/* The record is due, and there is room. */
void wal_index_put(struct wal_index *, uint64_t offset, helios_seq first);
/* Puts it if it is due; grows. */
helios_status wal_index_note(struct wal_index *, uint64_t offset, helios_seq first) CHECKED;
/* A place before the record that holds seq, and at most a chunk and a record before it. */
uint64_t wal_index_find(const struct wal_index *, helios_seq seq);
/* HELIOS_CORRUPT if it is not the index of that segment up to `end`. */
helios_status wal_index_decode(const unsigned char *, size_t size, const char *path,
                               const struct file_header *segment, uint64_t end, struct wal_index *out) CHECKED;
void wal_index_path(const char *directory, uint64_t number, char *out, size_t size);
/* Best effort, both. */
void wal_index_write(const struct wal_options *, const struct file_header *segment, uint64_t end,
                     const struct wal_index *);
void wal_index_remove(const struct wal_options *, uint64_t number);
/* wal_index_find in the file of a segment whose records end at `end`; made anew if need be, which moves the reader. */
helios_status wal_index_seek(const struct wal_options *, struct wal_reader *, uint64_t end, helios_seq seq,
                             uint64_t *offset) CHECKED;

#endif
