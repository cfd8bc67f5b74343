/* archive_internal.h - the places in an archive; the drawing is in archive.h. For archive_read.c, archive_write.c. */
#ifndef HELIOS_WAL_ARCHIVE_INTERNAL_H
#define HELIOS_WAL_ARCHIVE_INTERNAL_H
#include "base/hash.h"
#include "wal/archive.h"

enum {
    ARCHIVE_HEAD = FILE_HEADER_SIZE,
    ARCHIVE_HEAD_SIZE = 576, /* of a segment's first page: up to its seal's end */
    ARCHIVE_HEAD_XXH3 = ARCHIVE_HEAD + ARCHIVE_HEAD_SIZE,
    ARCHIVE_XXH3 = 8,
    ARCHIVE_FRAMES = ARCHIVE_HEAD_XXH3 + ARCHIVE_XXH3,
    ARCHIVE_RUN = 64 * 1024,     /* of frames that are read together */
    ARCHIVE_RATIO_MAX = 1 << 16, /* above what zstd can do */

    FOOTER_FRAMES = 0,
    FOOTER_INDEX = 8,
    FOOTER_POSTINGS = 16,
    FOOTER_DIRECTORY = 24,
    FOOTER_END = 32,
    FOOTER_RESERVED = 40,
    FOOTER_XXH3 = 48,
    FOOTER_MAGIC = 56,
    ARCHIVE_FOOTER_SIZE = 64,
};
_Static_assert((int)ARCHIVE_HEAD_SIZE == (int)WAL_SEAL + 64, "the seal is the last of a first page");
_Static_assert((int)FOOTER_XXH3 == (int)FOOTER_RESERVED + 8 && (int)FOOTER_MAGIC == (int)FOOTER_XXH3 + 8 &&
                   (int)ARCHIVE_FOOTER_SIZE == (int)FOOTER_MAGIC + 8,
               "the checksum covers all fields before, the magic ends the file");
/* Larger than any that its writer lets be: a segment's size and what is written around it. */
#define ARCHIVE_SIZE_MAX  (UINT64_C(1) << 34)
#define ARCHIVE_MAGIC_END "ARCHIVED"

struct archive_footer {
    uint64_t frames, index, postings, directory, end;
};

static inline void archive_footer_encode(unsigned char out[ARCHIVE_FOOTER_SIZE], const struct archive_footer *f,
                                         uint64_t salt, uint64_t at)
{
    put_u64(out + FOOTER_FRAMES, f->frames);
    put_u64(out + FOOTER_INDEX, f->index);
    put_u64(out + FOOTER_POSTINGS, f->postings);
    put_u64(out + FOOTER_DIRECTORY, f->directory);
    put_u64(out + FOOTER_END, f->end);
    put_u64(out + FOOTER_RESERVED, 0);
    put_u64(out + FOOTER_XXH3, checksum(out, FOOTER_XXH3, salt, at));
    memcpy(out + FOOTER_MAGIC, ARCHIVE_MAGIC_END, 8);
}

static inline bool archive_footer_decode(const unsigned char in[ARCHIVE_FOOTER_SIZE], uint64_t salt,
                                         uint64_t at, struct archive_footer *f)
{
    *f = (struct archive_footer){get_u64(in + FOOTER_FRAMES), get_u64(in + FOOTER_INDEX),
                                 get_u64(in + FOOTER_POSTINGS), get_u64(in + FOOTER_DIRECTORY),
                                 get_u64(in + FOOTER_END)};
    return memcmp(in + FOOTER_MAGIC, ARCHIVE_MAGIC_END, 8) == 0 &&
           get_u64(in + FOOTER_XXH3) == checksum(in, FOOTER_XXH3, salt, at) &&
           get_u64(in + FOOTER_RESERVED) == 0;
}

#endif
