/* feed_states.c - the states that a replay of the feed makes; see feed_states.h. Slow wherever that is simpler. */
#undef NDEBUG
#include "tests/feed_states.h"
#include "base/hash.h"
#include <assert.h>
#include <stdlib.h>

/* ---- values and keys ---- */

struct feed_value feed_value_of(helios_slice value)
{
    return (struct feed_value){.there = true, .size = value.size, .hash = hash_bytes(value.data, value.size)};
}

bool feed_value_same(struct feed_value a, struct feed_value b)
{
    return a.there == b.there && (!a.there || (a.size == b.size && a.hash == b.hash));
}

bool feed_value_is(struct feed_value value, bool there, helios_slice bytes)
{
    return feed_value_same(value, there ? feed_value_of(bytes) : (struct feed_value){0});
}

static void *grown(void *list, size_t count, size_t *capacity, size_t each)
{
    if (count < *capacity)
        return list;
    *capacity = *capacity ? 2 * *capacity : 8;
    list = realloc(list, *capacity * each);
    assert(list);
    return list;
}

static struct feed_key **key_slot(const struct feed_states *s, uint64_t hash, uint8_t space, helios_slice key)
{
    size_t i = hash & (s->key_room - 1);

    for (; s->keys[i]; i = (i + 1) & (s->key_room - 1))
        if (s->keys[i]->hash == hash && s->keys[i]->space == space &&
            slice_equal(feed_key_slice(s->keys[i]), key))
            break;
    return &s->keys[i];
}

static void grow_keys(struct feed_states *s)
{
    struct feed_key **old = s->keys;
    size_t room = s->key_room;

    if (2 * (s->key_count + 1) <= room)
        return;
    s->key_room = room ? 2 * room : 1024;
    s->keys = calloc(s->key_room, sizeof(*s->keys));
    assert(s->keys);
    for (size_t i = 0; i < room; i++)
        if (old[i])
            *key_slot(s, old[i]->hash, old[i]->space, feed_key_slice(old[i])) = old[i];
    free(old);
}

const struct feed_key *states_key(struct feed_states *s, uint8_t space, helios_slice key)
{
    uint64_t hash = hash_seeded(key.data, key.size, space);
    struct feed_key **slot, *made;

    grow_keys(s);
    slot = key_slot(s, hash, space, key);
    if (*slot)
        return *slot;
    made = malloc(sizeof(*made) + key.size);
    assert(made);
    *made = (struct feed_key){.hash = hash, .size = key.size, .space = space};
    if (key.size)
        memcpy(made->bytes, key.data, key.size);
    *slot = made;
    s->key_count++;
    return made;
}

/* ---- branches ---- */

static struct feed_branch *branch_make(struct feed_states *s, helios_branch_id id)
{
    if (id >= s->branch_count) {
        s->branches = realloc(s->branches, (id + 1) * sizeof(*s->branches));
        assert(s->branches);
        memset(&s->branches[s->branch_count], 0, (id + 1 - s->branch_count) * sizeof(*s->branches));
        s->branch_count = id + 1;
    }
    s->branches[id].made = true;
    return &s->branches[id];
}

void states_init(struct feed_states *s)
{
    *s = (struct feed_states){0};
    branch_make(s, 0);
}

static void clear_branch(struct feed_branch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        for (uint32_t k = 0; k < b->cells[i]->count; k++)
            free(b->cells[i]->versions[k].value.bytes);
        free(b->cells[i]->versions);
    }
    for (struct feed_cells *next; b->pieces; b->pieces = next) {
        next = b->pieces->next;
        free(b->pieces);
    }
    free(b->cells);
    b->cells = NULL;
    b->count = b->capacity = 0;
}

static void forget_branch(struct feed_branch *b)
{
    clear_branch(b);
    *b = (struct feed_branch){0};
}

void states_release(struct feed_states *s)
{
    for (uint32_t i = 0; i < s->branch_count; i++)
        clear_branch(&s->branches[i]);
    for (size_t i = 0; i < s->key_room; i++)
        free(s->keys[i]);
    free(s->keys);
    free(s->branches);
}

void states_forget_all(struct feed_states *s)
{
    for (uint32_t i = 0; i < s->branch_count; i++)
        forget_branch(&s->branches[i]);
    branch_make(s, 0)->since = STATES_BLIND;
}

void states_adopt(struct feed_states *s, helios_branch_id id, helios_seq point)
{
    struct feed_branch *b = branch_make(s, id);

    clear_branch(b);
    b->since = point;
}

struct feed_branch *states_branch(struct feed_states *s, helios_branch_id id)
{
    return id < s->branch_count && s->branches[id].made ? &s->branches[id] : NULL;
}

/* ---- one key ---- */

static int compare_keys(const struct feed_key *a, uint8_t space, helios_slice key)
{
    return a->space != space ? (int)a->space - (int)space : slice_compare(feed_key_slice(a), key);
}

/* The first cell at or above. */
static size_t find_cell(const struct feed_branch *b, uint8_t space, helios_slice key)
{
    size_t low = 0, high = b->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (compare_keys(b->cells[middle]->key, space, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct feed_cell *cell_of(const struct feed_branch *b, const struct feed_key *key)
{
    size_t at = find_cell(b, key->space, feed_key_slice(key));

    return at < b->count && b->cells[at]->key == key ? b->cells[at] : NULL;
}

/* room: of the next piece, where one is needed. */
static struct feed_cell *cell_new(struct feed_branch *b, const struct feed_key *key, size_t room)
{
    struct feed_cells *piece = b->pieces;

    if (!piece || piece->count == piece->capacity) {
        piece = malloc(sizeof(*piece) + room * sizeof(piece->cells[0]));
        assert(piece);
        *piece = (struct feed_cells){.next = b->pieces, .capacity = room};
        b->pieces = piece;
    }
    piece->cells[piece->count] = (struct feed_cell){.key = key};
    return &piece->cells[piece->count++];
}

static struct feed_cell *cell_make(struct feed_branch *b, const struct feed_key *key)
{
    size_t at = find_cell(b, key->space, feed_key_slice(key));

    if (at < b->count && b->cells[at]->key == key)
        return b->cells[at];
    b->cells = grown(b->cells, b->count, &b->capacity, sizeof(*b->cells));
    memmove(&b->cells[at + 1], &b->cells[at], (b->count - at) * sizeof(*b->cells));
    b->cells[at] = cell_new(b, key, 64);
    b->count++;
    return b->cells[at];
}

static struct feed_value cell_value(const struct feed_cell *cell, helios_seq point)
{
    for (uint32_t i = cell->count; i-- > 0;)
        if (cell->versions[i].commit <= point)
            return cell->versions[i].value;
    return cell->inherited;
}

static void cell_set(struct feed_cell *cell, struct feed_value value, helios_seq commit)
{
    struct feed_version *last = cell->count ? &cell->versions[cell->count - 1] : NULL;
    size_t capacity = cell->capacity;

    assert(!last || last->commit <= commit);
    if (last && last->commit == commit) { /* one version for a commit: its last */
        free(last->value.bytes);
        last->value = value;
        return;
    }
    cell->versions = grown(cell->versions, cell->count, &capacity, sizeof(*cell->versions));
    cell->capacity = (uint32_t)capacity;
    cell->versions[cell->count++] = (struct feed_version){commit, value};
}

/* Whose cells have what the branch shows at the point: before its fork an ancestor's. */
static struct feed_branch *shown_by(struct feed_states *s, helios_branch_id id, helios_seq point)
{
    struct feed_branch *b = states_branch(s, id);

    while (id && point < b->fork) {
        id = b->parent;
        b = states_branch(s, id);
    }
    return b;
}

struct feed_value states_at(struct feed_states *s, helios_branch_id id, const struct feed_key *key,
                            helios_seq point)
{
    const struct feed_cell *cell = cell_of(shown_by(s, id, point), key);

    return cell ? cell_value(cell, point) : (struct feed_value){0};
}

struct feed_value states_now(struct feed_states *s, helios_branch_id id, const struct feed_key *key)
{
    return states_at(s, id, key, UINT64_MAX);
}

helios_seq states_written(struct feed_states *s, helios_branch_id id, const struct feed_key *key)
{
    const struct feed_cell *cell = cell_of(states_branch(s, id), key);

    return cell && cell->count ? cell->versions[cell->count - 1].commit : 0;
}

void states_set(struct feed_states *s, helios_branch_id id, const struct feed_key *key, struct feed_value value,
                helios_seq commit)
{
    cell_set(cell_make(states_branch(s, id), key), value, commit);
}

void states_set_range(struct feed_states *s, helios_branch_id id, uint8_t space, helios_slice from,
                      helios_slice to, helios_seq commit,
                      void (*each)(void *arg, const struct feed_key *, struct feed_value before), void *arg)
{
    struct feed_branch *b = states_branch(s, id);
    size_t end = find_cell(b, space, to);

    for (size_t i = find_cell(b, space, from); i < end; i++) {
        struct feed_value before = cell_value(b->cells[i], UINT64_MAX);

        if (!before.there)
            continue;
        each(arg, b->cells[i]->key, before);
        cell_set(b->cells[i], (struct feed_value){0}, commit);
    }
}

/* ---- whole states ---- */

const struct feed_key *states_next(struct feed_states *s, helios_branch_id id, uint8_t space, helios_seq point,
                                   size_t *at, struct feed_value *value)
{
    const struct feed_branch *b = shown_by(s, id, point);

    for (size_t i = *at; i < b->count; i++) {
        *value = cell_value(b->cells[i], point);
        *at = i + 1;
        if (b->cells[i]->key->space == space && value->there)
            return b->cells[i]->key;
    }
    *at = b->count;
    return NULL;
}

/* What a branch begins with has no number of its own: it is read from the fork on. */
void states_fork(struct feed_states *s, helios_branch_id id, helios_branch_id parent, helios_seq fork,
                 helios_seq created)
{
    struct feed_branch *b = branch_make(s, id);
    const struct feed_branch *from;
    struct feed_value value;
    const struct feed_key *key;
    size_t at = 0;

    assert(b->count == 0);
    b->parent = parent;
    b->fork = fork;
    b->created = created;
    from = shown_by(s, parent, fork);
    b->since = fork < from->since ? STATES_BLIND : fork;
    while (b->since != STATES_BLIND && (key = states_next(s, parent, 0, fork, &at, &value))) {
        b->cells = grown(b->cells, b->count, &b->capacity, sizeof(*b->cells));
        b->cells[b->count] = cell_new(b, key, from->count);
        b->cells[b->count++]->inherited = value;
    }
}

void states_let_go(struct feed_states *s, helios_branch_id id)
{
    clear_branch(states_branch(s, id));
}

static void forget_versions(struct feed_branch *b, helios_seq latest)
{
    for (size_t i = 0; i < b->count; i++) {
        struct feed_cell *cell = b->cells[i];

        while (cell->count && cell->versions[cell->count - 1].commit > latest)
            free(cell->versions[--cell->count].value.bytes);
    }
}

void states_forget_after(struct feed_states *s, helios_seq latest)
{
    for (uint32_t i = 0; i < s->branch_count; i++) {
        struct feed_branch *b = &s->branches[i];

        if (b->created > latest)
            forget_branch(b);
        forget_versions(b, latest);
        if (b->dropped > latest)
            b->dropped = 0;
    }
}
