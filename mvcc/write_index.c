/* write_index.c - the skip list behind a transaction's own writes. Called by engine/'s transactions. */
#include "mvcc/write_index.h"
#include <assert.h>

void write_index_init(struct write_index *index, void *first, size_t size)
{
    memset(index, 0, sizeof(*index));
    index->draws = 0x9E3779B97F4A7C15;
    arena_init(&index->arena, first, size);
}

void write_index_release(struct write_index *index)
{
    arena_release(&index->arena);
}

/* ---- finding ---- */

/* The links that lead to the first node at or after key, one for each level in use. */
struct path {
    struct write_node **links[WRITE_HEIGHT_MAX];
};

static struct write_node *find_path(struct write_index *index, helios_slice key, struct path *path)
{
    struct write_node **links = index->head;

    for (unsigned level = index->height; level-- > 0;) {
        while (links[level] && slice_compare(links[level]->key, key) < 0)
            links = links[level]->next;
        path->links[level] = &links[level];
    }
    return index->height ? *path->links[0] : NULL;
}

struct write_node *write_index_seek(const struct write_index *index, helios_slice key)
{
    struct write_node *const *links = index->head;

    for (unsigned level = index->height; level-- > 0;)
        while (links[level] && slice_compare(links[level]->key, key) < 0)
            links = links[level]->next;
    return links[0];
}

struct write_node *write_index_before(const struct write_index *index, helios_slice key)
{
    struct write_node *const *links = index->head;
    struct write_node *before = NULL;

    for (unsigned level = index->height; level-- > 0;)
        while (links[level] && slice_compare(links[level]->key, key) < 0) {
            before = links[level];
            links = before->next;
        }
    return before;
}

struct write_node *write_index_last(const struct write_index *index)
{
    struct write_node *const *links = index->head;
    struct write_node *last = NULL;

    for (unsigned level = index->height; level-- > 0;)
        while (links[level]) {
            last = links[level];
            links = last->next;
        }
    return last;
}

static bool in_filter(const struct write_index *index, uint64_t hash)
{
    return index->filter[hash >> 6 & (WRITE_FILTER_WORDS - 1)] >> (hash & 63) & 1;
}

struct write_node *write_index_find(const struct write_index *index, helios_slice key, uint64_t hash)
{
    struct write_node *node;

    if (index->count == 0 || !in_filter(index, hash))
        return NULL;
    node = write_index_seek(index, key);
    return node && node->hash == hash && slice_equal(node->key, key) ? node : NULL;
}

/* ---- writing ---- */

/* One in four goes a level higher (xorshift; Marsaglia, 2003). */
static unsigned draw_height(struct write_index *index)
{
    unsigned height = 1;

    index->draws ^= index->draws << 13;
    index->draws ^= index->draws >> 7;
    index->draws ^= index->draws << 17;
    for (uint64_t bits = index->draws; (bits & 3) == 0 && height < WRITE_HEIGHT_MAX; bits >>= 2)
        height++;
    return height;
}

static struct write_node *insert(struct write_index *index, struct path *path, helios_slice key, uint64_t hash)
{
    unsigned height = draw_height(index);
    size_t links = height * sizeof(struct write_node *);
    struct write_node *node = arena_alloc(&index->arena, sizeof(*node) + links + key.size);
    unsigned char *copy;

    if (!node)
        return NULL;
    copy = (unsigned char *)node + sizeof(*node) + links;
    memcpy(copy, key.data, key.size);
    node->hash = hash;
    node->key = slice_make(copy, key.size);
    for (; index->height < height; index->height++)
        path->links[index->height] = &index->head[index->height];
    for (unsigned level = 0; level < height; level++) {
        node->next[level] = *path->links[level];
        *path->links[level] = node;
    }
    index->filter[hash >> 6 & (WRITE_FILTER_WORDS - 1)] |= UINT64_C(1) << (hash & 63);
    index->count++;
    return node;
}

helios_status write_index_set(struct write_index *index, helios_slice key, uint64_t hash, uint32_t op,
                              enum key_kind kind, uint32_t base)
{
    struct path path;
    struct write_node *node = find_path(index, key, &path);
    struct write_entry *before = NULL;

    if (node && slice_equal(node->key, key)) {
        before = node->top.before;
        if (node->top.op < base) {
            before = arena_copy(&index->arena, &node->top, sizeof(node->top));
            if (!before)
                return fail_no_memory(sizeof(node->top));
        }
    } else {
        node = insert(index, &path, key, hash);
        if (!node)
            return fail_no_memory(sizeof(*node) + key.size);
    }
    node->top = (struct write_entry){op, kind, before};
    return HELIOS_OK;
}

helios_status write_index_delete_range(struct write_index *index, helios_slice from, helios_slice to,
                                       uint32_t op, uint32_t base)
{
    struct write_node *first = write_index_seek(index, from);
    struct write_entry *kept = NULL;
    size_t count = 0;

    for (const struct write_node *n = first; n && slice_compare(n->key, to) < 0; n = write_index_next(n))
        count += n->top.op < base;
    if (count) {
        kept = arena_alloc(&index->arena, count * sizeof(*kept));
        if (!kept)
            return fail_no_memory(count * sizeof(*kept));
    }
    for (struct write_node *n = first; n && slice_compare(n->key, to) < 0; n = write_index_next(n)) {
        struct write_entry *before = n->top.before;

        if (n->top.op < base) {
            before = kept++;
            *before = n->top;
        }
        n->top = (struct write_entry){op, KIND_RANGE_DELETE, before};
    }
    return HELIOS_OK;
}

/* ---- undoing ---- */

/* False: no operation is left, the node has to go. */
static bool pop(struct write_node *node, uint32_t base)
{
    while (node->top.op >= base) {
        if (!node->top.before)
            return false;
        node->top = *node->top.before;
    }
    return true;
}

static void unlink_node(struct write_index *index, const struct path *path, struct write_node *node)
{
    for (unsigned level = 0; level < index->height && *path->links[level] == node; level++)
        *path->links[level] = node->next[level];
    index->count--;
}

void write_index_undo(struct write_index *index, helios_slice key, uint32_t base)
{
    struct path path;
    struct write_node *node = find_path(index, key, &path);

    if (node && slice_equal(node->key, key) && !pop(node, base))
        unlink_node(index, &path, node);
}

void write_index_undo_range(struct write_index *index, helios_slice from, helios_slice to, uint32_t base)
{
    struct write_node *node = write_index_seek(index, from), *next;

    for (; node && slice_compare(node->key, to) < 0; node = next) {
        next = write_index_next(node);
        write_index_undo(index, node->key, base);
    }
}
