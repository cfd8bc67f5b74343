/* terms.c - which frames of an archive hold which keys: gathered while it is written, encoded, and decoded for a filter.
 *
 * What is gathered are beginnings of keys with their frame, up to WAL_TERM_MAX bytes. How many of these bytes a space's
 * terms have, its depth, is the most with which it has at most WAL_TERMS_MAX terms: tables are told apart by it whether their
 * names are long or short. Where more is gathered than there is room for, what is looked at of the most frequent space is
 * made shorter: fewer frames are then passed over, never a wrong one. */
#include "wal/archive_internal.h"
#include "base/buf.h"
#include "base/mem.h"
#include <assert.h>
#include <stdlib.h>

enum { GATHER_MAX = 256 * 1024 /* terms */ };

/* ---- gathering ---- */

void wal_terms_release(struct wal_terms *terms)
{
    mem_free(terms->terms);
    helios_buf_free(&terms->always);
    *terms = (struct wal_terms){0};
}

static int compare_keys(const struct wal_term *a, const struct wal_term *b)
{
    int order;

    if (a->space != b->space)
        return a->space < b->space ? -1 : 1;
    order = memcmp(a->key, b->key, WAL_TERM_MAX); /* behind the shorter one are zeros */
    return order ? order : (a->size > b->size) - (a->size < b->size);
}

static int compare(const void *one, const void *other)
{
    const struct wal_term *a = one, *b = other;
    int order = compare_keys(a, b);

    return order ? order : (a->frame > b->frame) - (a->frame < b->frame);
}

/* In order, each once. */
static void settle(struct wal_terms *terms)
{
    size_t count = 0;

    if (terms->count > 0)
        qsort(terms->terms, terms->count, sizeof(*terms->terms), compare);
    for (size_t i = 0; i < terms->count; i++)
        if (count == 0 || compare(&terms->terms[count - 1], &terms->terms[i]) != 0)
            terms->terms[count++] = terms->terms[i];
    terms->count = count;
}

static unsigned depth_now(const struct wal_terms *terms, uint8_t space)
{
    return WAL_TERM_MAX - terms->lowered[space];
}

/* Half as many bytes of the keys of the space that has the most. */
static void lower(struct wal_terms *terms)
{
    size_t counts[256] = {0};
    uint8_t most = 0;
    unsigned depth;

    for (size_t i = 0; i < terms->count; i++)
        if (depth_now(terms, terms->terms[i].space) > 0)
            counts[terms->terms[i].space]++;
    for (unsigned space = 0; space < 256; space++)
        if (counts[space] > counts[most])
            most = (uint8_t)space;
    depth = depth_now(terms, most) / 2;
    terms->lowered[most] = (uint8_t)(WAL_TERM_MAX - depth);
    for (size_t i = 0; i < terms->count; i++) {
        struct wal_term *term = &terms->terms[i];

        if (term->space != most || term->size <= depth)
            continue;
        term->size = (uint8_t)depth;
        memset(term->key + depth, 0, WAL_TERM_MAX - depth);
    }
    settle(terms);
}

static bool all_lowered(const struct wal_terms *terms)
{
    for (size_t i = 0; i < terms->count; i++)
        if (depth_now(terms, terms->terms[i].space) > 0)
            return false;
    return true;
}

/* Room for one more. */
static bool make_room(struct wal_terms *terms)
{
    size_t capacity = terms->capacity ? 2 * terms->capacity : 1024;
    struct wal_term *grown;

    if (terms->count < terms->capacity)
        return true;
    settle(terms);
    while (capacity > GATHER_MAX && terms->count > GATHER_MAX / 2 && !all_lowered(terms))
        lower(terms);
    if (terms->count <= terms->capacity / 2 && terms->capacity > 0)
        return true;
    grown = mem_realloc(terms->terms, capacity * sizeof(*grown));
    if (!grown)
        return false;
    terms->terms = grown;
    terms->capacity = capacity;
    return true;
}

void wal_terms_add(struct wal_terms *terms, uint8_t space, helios_slice key)
{
    unsigned depth = depth_now(terms, space);
    struct wal_term term = {.space = space, .frame = terms->frame};

    term.size = (uint8_t)(key.size < depth ? key.size : depth);
    if (term.size > 0)
        memcpy(term.key, key.data, term.size);
    if (terms->count > 0 && compare(&terms->terms[terms->count - 1], &term) == 0)
        return;
    if (terms->failed || !make_room(terms))
        terms->failed = true;
    else
        terms->terms[terms->count++] = term;
}

void wal_terms_always(struct wal_terms *terms)
{
    unsigned char number[4];

    put_u32(number, terms->frame);
    if (terms->always.size > 0 && get_u32(terms->always.data + terms->always.size - 4) == terms->frame)
        return;
    if (buf_append(&terms->always, number, sizeof(number)) != HELIOS_OK)
        terms->failed = true;
}

/* ---- encoding ---- */

struct encoding {
    uint32_t frames;
    uint64_t *bits; /* of the list that is being made */
    uint64_t salt, offset;
    helios_buf *postings, *directory;
};

static helios_status append_varint(helios_buf *buf, uint64_t value)
{
    unsigned char out[VARINT_MAX];

    return buf_append(buf, out, put_varint(out, value));
}

/* Those whose bits are set, which are cleared; with its checksum. *size: without. */
static helios_status append_list(struct encoding *e, uint64_t *size)
{
    uint64_t before = 0, start = e->postings->size;
    unsigned char sum[ARCHIVE_XXH3];
    helios_status status = HELIOS_OK;

    for (size_t word = 0; word <= e->frames / 64; word++) {
        for (; e->bits[word] && status == HELIOS_OK; e->bits[word] &= e->bits[word] - 1) {
            uint64_t frame = word * 64 + (unsigned)__builtin_ctzll(e->bits[word]);

            status = append_varint(e->postings, frame - before);
            before = frame;
        }
    }
    if (status != HELIOS_OK)
        return status;
    *size = e->postings->size - start;
    put_u64(sum, checksum(*size ? e->postings->data + start : "", (size_t)*size, e->salt, e->offset + start));
    return buf_append(e->postings, sum, sizeof(sum));
}

static void mark(struct encoding *e, uint32_t frame)
{
    assert(frame < e->frames);
    e->bits[frame / 64] |= UINT64_C(1) << frame % 64;
}

static size_t common(const struct wal_term *a, const struct wal_term *b)
{
    return slice_common(slice_make(a->key, a->size), slice_make(b->key, b->size));
}

/* How many bytes, of the `most` that were looked at, tell as many terms apart as there may be: neighbours differ in their
 * first n if they share fewer. Keys that are equal share all. */
static unsigned depth_choose(const struct wal_term *terms, size_t count, unsigned most, size_t *distinct)
{
    size_t splits[WAL_TERM_MAX + 1] = {0}, sum = 1;
    unsigned depth = 0;

    for (size_t i = 1; i < count; i++)
        if (compare_keys(&terms[i - 1], &terms[i]) != 0)
            splits[common(&terms[i - 1], &terms[i])]++;
    for (*distinct = sum; depth < most && sum + splits[depth] <= WAL_TERMS_MAX; *distinct = sum)
        sum += splits[depth++];
    return depth;
}

static unsigned cut(const struct wal_term *term, unsigned depth)
{
    return term->size < depth ? term->size : depth;
}

static bool same(const struct wal_term *a, const struct wal_term *b, unsigned depth)
{
    return cut(a, depth) == cut(b, depth) && memcmp(a->key, b->key, cut(a, depth)) == 0;
}

static helios_status append_term(struct encoding *e, const struct wal_term *term, const struct wal_term *before,
                                 unsigned depth, uint64_t list)
{
    size_t size = cut(term, depth), shared = before ? common(before, term) : 0;
    helios_status status;

    if (before && shared > cut(before, depth))
        shared = cut(before, depth);
    if (shared > size)
        shared = size;
    status = append_varint(e->directory, shared);
    if (status == HELIOS_OK)
        status = append_varint(e->directory, size - shared);
    if (status == HELIOS_OK)
        status = buf_append(e->directory, term->key + shared, size - shared);
    return status == HELIOS_OK ? append_varint(e->directory, list) : status;
}

static helios_status append_space(struct encoding *e, const struct wal_term *terms, size_t count, unsigned most)
{
    size_t distinct;
    unsigned depth = depth_choose(terms, count, most, &distinct);
    const unsigned char head[2] = {terms->space, (unsigned char)depth};
    const struct wal_term *before = NULL;
    helios_status status = buf_append(e->directory, head, sizeof(head));

    if (status == HELIOS_OK)
        status = append_varint(e->directory, distinct);
    for (size_t i = 0, next; i < count && status == HELIOS_OK; i = next) {
        uint64_t list;

        for (next = i; next < count && same(&terms[i], &terms[next], depth); next++)
            mark(e, terms[next].frame);
        status = append_list(e, &list);
        if (status == HELIOS_OK)
            status = append_term(e, &terms[i], before, depth, list);
        before = &terms[i];
        distinct--;
    }
    assert(status != HELIOS_OK || distinct == 0);
    return status;
}

static size_t space_end(const struct wal_terms *terms, size_t from)
{
    size_t end = from;

    while (end < terms->count && terms->terms[end].space == terms->terms[from].space)
        end++;
    return end;
}

static helios_status append_spaces(struct encoding *e, const struct wal_terms *terms)
{
    uint64_t spaces = 0;
    helios_status status;

    for (size_t i = 0; i < terms->count; i = space_end(terms, i))
        spaces++;
    status = append_varint(e->directory, spaces);
    for (size_t i = 0, end; i < terms->count && status == HELIOS_OK; i = end) {
        end = space_end(terms, i);
        status = append_space(e, terms->terms + i, end - i, depth_now(terms, terms->terms[i].space));
    }
    return status;
}

helios_status wal_terms_encode(struct wal_terms *terms, uint32_t frames, uint64_t salt, uint64_t offset,
                               helios_buf *postings, helios_buf *directory)
{
    struct encoding e = {frames,   mem_array(frames / 64 + 1, sizeof(uint64_t)), salt, offset, postings,
                         directory};
    uint64_t list;
    helios_status status;

    if (!e.bits || terms->failed) {
        mem_free(e.bits);
        return fail_no_memory(terms->count * sizeof(*terms->terms));
    }
    settle(terms);
    for (size_t at = 0; at < terms->always.size; at += 4)
        mark(&e, get_u32(terms->always.data + at));
    status = append_list(&e, &list);
    if (status == HELIOS_OK)
        status = append_varint(directory, list);
    if (status == HELIOS_OK)
        status = append_spaces(&e, terms);
    mem_free(e.bits);
    return status;
}

/* ---- decoding ---- */

/* Whether keys with the prefix may have this term: it begins so, or is all that is looked at of the prefix. */
static bool agrees(const unsigned char *term, size_t size, unsigned depth, helios_slice prefix)
{
    size_t seen = prefix.size < depth ? prefix.size : depth;

    return size >= seen && (seen == 0 || memcmp(term, prefix.data, seen) == 0);
}

struct decoding {
    struct reader r;
    uint64_t at, room; /* of postings: passed, all */
    const struct wal_filter *filter;
    struct wal_lists *lists;
};

/* Passes over the next list. */
static bool take_list(struct decoding *d, uint64_t *size)
{
    *size = read_varint(&d->r);
    if (d->r.bad || *size > d->room - d->at || d->room - d->at - *size < ARCHIVE_XXH3)
        return false;
    d->at += *size + ARCHIVE_XXH3;
    return true;
}

/* Those that agree stand together. */
static helios_status want(struct decoding *d, uint64_t size)
{
    if (d->lists->sizes.size == 0)
        d->lists->offset = d->at - size - ARCHIVE_XXH3;
    return buf_append(&d->lists->sizes, &size, sizeof(size));
}

static helios_status terms_find(struct decoding *d, uint8_t space, unsigned depth, uint64_t count, bool *good)
{
    unsigned char term[WAL_TERM_MAX], before[WAL_TERM_MAX];
    size_t size_before = 0;
    helios_status status = HELIOS_OK;

    for (uint64_t i = 0; i < count && status == HELIOS_OK; i++) {
        uint64_t shared = read_varint(&d->r), rest = read_varint(&d->r), size;
        const unsigned char *bytes = rest <= WAL_TERM_MAX ? read_raw(&d->r, (size_t)rest) : NULL;

        *good = bytes && shared <= size_before && shared + rest <= depth;
        if (*good) {
            if (shared > 0)
                memcpy(term, before, (size_t)shared);
            memcpy(term + shared, bytes, (size_t)rest);
            *good = i == 0 || slice_compare(slice_make(before, size_before),
                                            slice_make(term, (size_t)(shared + rest))) < 0;
        }
        if (*good)
            *good = take_list(d, &size);
        if (!*good)
            return HELIOS_OK;
        size_before = (size_t)(shared + rest);
        memcpy(before, term, size_before);
        if (!d->filter || (d->filter->space == space && agrees(term, size_before, depth, d->filter->prefix)))
            status = want(d, size);
    }
    return status;
}

helios_status wal_lists_find(const unsigned char *directory, size_t size, uint64_t room,
                             const struct wal_filter *filter, struct wal_lists *lists, bool *good)
{
    struct decoding d = {reader_make(directory, size), 0, room, filter, lists};
    uint64_t spaces;
    int before = -1;
    helios_status status = HELIOS_OK;

    *good = take_list(&d, &lists->always);
    spaces = read_varint(&d.r);
    for (uint64_t i = 0; i < spaces && *good && status == HELIOS_OK; i++) {
        uint8_t space = read_u8(&d.r), depth = read_u8(&d.r);
        uint64_t count = read_varint(&d.r);

        *good = !d.r.bad && space > before && depth <= WAL_TERM_MAX && count <= WAL_TERMS_MAX;
        before = space;
        if (*good)
            status = terms_find(&d, space, depth, count, good);
    }
    *good = *good && reader_done(&d.r) && d.at == room;
    return status;
}

bool wal_list_mark(const unsigned char *list, size_t size, size_t frames, uint64_t *bits)
{
    struct reader r = reader_make(list, size);
    uint64_t frame = 0;

    for (bool first = true; reader_left(&r) > 0; first = false) {
        uint64_t step = read_varint(&r);

        if (r.bad || (step == 0 && !first) || step >= frames || frame >= frames - step)
            return false;
        frame += step;
        bits[frame / 64] |= UINT64_C(1) << frame % 64;
    }
    return true;
}
