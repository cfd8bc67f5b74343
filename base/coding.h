/* coding.h - numbers to bytes and back; little-endian, but for the _be forms used in keys.
 * A struct reader runs over untrusted bytes: past the end it yields zeros and sets `bad`. */
#ifndef HELIOS_BASE_CODING_H
#define HELIOS_BASE_CODING_H
#include "base/slice.h"
#include <endian.h>

static inline uint16_t get_u16(const void *at)
{
    uint16_t v;
    memcpy(&v, at, 2);
    return le16toh(v);
}
static inline uint32_t get_u32(const void *at)
{
    uint32_t v;
    memcpy(&v, at, 4);
    return le32toh(v);
}
static inline uint64_t get_u64(const void *at)
{
    uint64_t v;
    memcpy(&v, at, 8);
    return le64toh(v);
}
static inline uint16_t get_u16_be(const void *at)
{
    uint16_t v;
    memcpy(&v, at, 2);
    return be16toh(v);
}
static inline uint32_t get_u32_be(const void *at)
{
    uint32_t v;
    memcpy(&v, at, 4);
    return be32toh(v);
}
static inline uint64_t get_u64_be(const void *at)
{
    uint64_t v;
    memcpy(&v, at, 8);
    return be64toh(v);
}
static inline void put_u16(void *at, uint16_t v)
{
    v = htole16(v);
    memcpy(at, &v, 2);
}
static inline void put_u32(void *at, uint32_t v)
{
    v = htole32(v);
    memcpy(at, &v, 4);
}
static inline void put_u64(void *at, uint64_t v)
{
    v = htole64(v);
    memcpy(at, &v, 8);
}
static inline void put_u32_be(void *at, uint32_t v)
{
    v = htobe32(v);
    memcpy(at, &v, 4);
}
static inline void put_u64_be(void *at, uint64_t v)
{
    v = htobe64(v);
    memcpy(at, &v, 8);
}

enum { VARINT_MAX = 10 };

/* Base 128, low bits first. Returns the bytes written, 1 to 10. */
static inline size_t put_varint(void *at, uint64_t v)
{
    unsigned char *out = at;
    size_t size = 0;

    while (v >= 0x80) {
        out[size++] = (unsigned char)(v | 0x80);
        v >>= 7;
    }
    out[size++] = (unsigned char)v;
    return size;
}

static inline size_t varint_size(uint64_t v)
{
    size_t size = 1;

    while (v >= 0x80) {
        v >>= 7;
        size++;
    }
    return size;
}

struct reader {
    const unsigned char *at, *end;
    bool bad;
};

static inline struct reader reader_make(const void *data, size_t size)
{
    return (struct reader){data, (const unsigned char *)data + size, false};
}

static inline size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->at);
}

/* Read and not past the end, and nothing is left over. */
static inline bool reader_done(const struct reader *r)
{
    return !r->bad && r->at == r->end;
}

static inline const unsigned char *read_raw(struct reader *r, size_t size)
{
    const unsigned char *at = r->at;

    if (reader_left(r) < size) {
        r->bad = true;
        r->at = r->end;
        return NULL;
    }
    r->at += size;
    return at;
}

static inline uint8_t read_u8(struct reader *r)
{
    const unsigned char *p = read_raw(r, 1);
    return p ? *p : 0;
}
static inline uint16_t read_u16(struct reader *r)
{
    const unsigned char *p = read_raw(r, 2);
    return p ? get_u16(p) : 0;
}
static inline uint32_t read_u32(struct reader *r)
{
    const unsigned char *p = read_raw(r, 4);
    return p ? get_u32(p) : 0;
}
static inline uint64_t read_u64(struct reader *r)
{
    const unsigned char *p = read_raw(r, 8);
    return p ? get_u64(p) : 0;
}

static inline uint64_t read_varint(struct reader *r)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = read_u8(r);

        if (shift == 63 && byte > 1)
            break;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return v;
    }
    r->bad = true;
    return 0;
}

/* A size as varint, then as many bytes; borrowed from what is read. */
static inline helios_slice read_slice(struct reader *r)
{
    uint64_t size = read_varint(r);
    const unsigned char *data;

    if (size > reader_left(r)) {
        r->bad = true;
        r->at = r->end;
        return slice_make("", 0);
    }
    data = read_raw(r, (size_t)size);
    return slice_make(data, (size_t)size);
}

#endif
