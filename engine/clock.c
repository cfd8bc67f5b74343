/* clock.c - vector clocks: see clock.h. Pure; the public helios_clock_* are here too. */
#include "engine/clock.h"

static bool entry_valid(helios_slice clock, size_t index)
{
    static const unsigned char none[NODE_BYTES];
    helios_seq number = clock_number(clock, index);

    return number > 0 && number <= SEQ_MAX &&
           memcmp(index ? clock_node(clock, index - 1) : none, clock_node(clock, index), NODE_BYTES) < 0;
}

bool clock_valid(helios_slice clock)
{
    if (clock.size % CLOCK_ENTRY || clock_count(clock) > CLOCK_ENTRIES_MAX || (clock.size && !clock.data))
        return false;
    for (size_t i = 0; i < clock_count(clock); i++)
        if (!entry_valid(clock, i))
            return false;
    return true;
}

helios_status clock_check(helios_slice clock)
{
    if (clock_valid(clock))
        return HELIOS_OK;
    return fail(HELIOS_INVALID, "%zu bytes that are no vector clock", clock.size);
}

/* Where the node is, or would be. */
static size_t find(helios_slice clock, const unsigned char *node, bool *found)
{
    size_t low = 0, high = clock_count(clock);

    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = memcmp(clock_node(clock, middle), node, NODE_BYTES);

        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

helios_seq clock_of(helios_slice clock, const unsigned char node[NODE_BYTES])
{
    bool found;
    size_t at = find(clock, node, &found);

    return found ? clock_number(clock, at) : 0;
}

helios_status clock_set(helios_buf *clock, const unsigned char node[NODE_BYTES], helios_seq number, size_t *at)
{
    bool found;
    size_t index = find(buf_slice(clock), node, &found), offset = index * CLOCK_ENTRY;
    helios_status status;

    if (!found) {
        status = buf_reserve(clock, clock->size + CLOCK_ENTRY);
        if (status != HELIOS_OK)
            return status;
        memmove(clock->data + offset + CLOCK_ENTRY, clock->data + offset, clock->size - offset);
        memcpy(clock->data + offset, node, NODE_BYTES);
        clock->size += CLOCK_ENTRY;
    }
    put_u64(clock->data + offset + NODE_BYTES, number);
    if (at)
        *at = offset + NODE_BYTES;
    return HELIOS_OK;
}

void clock_drop(helios_buf *clock, const unsigned char node[NODE_BYTES])
{
    bool found;
    size_t offset = find(buf_slice(clock), node, &found) * CLOCK_ENTRY;

    if (!found)
        return;
    memmove(clock->data + offset, clock->data + offset + CLOCK_ENTRY, clock->size - offset - CLOCK_ENTRY);
    clock->size -= CLOCK_ENTRY;
}

unsigned __int128 clock_sum(helios_slice clock)
{
    unsigned __int128 sum = 0;

    for (size_t i = 0; i < clock_count(clock); i++)
        sum += clock_number(clock, i);
    return sum;
}

struct node_text node_text(const unsigned char node[NODE_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    struct node_text out;

    for (size_t i = 0; i < NODE_BYTES; i++) {
        out.text[2 * i] = digits[node[i] >> 4];
        out.text[2 * i + 1] = digits[node[i] & 15];
    }
    out.text[2 * NODE_BYTES] = 0;
    return out;
}

/* ---- two clocks side by side ---- */

struct pair {
    helios_slice a, b;
    size_t i, j;
};

/* The next node of either, with its number in both. */
static bool pair_next(struct pair *p, const unsigned char **node, helios_seq *a, helios_seq *b)
{
    bool has_a = p->i < clock_count(p->a), has_b = p->j < clock_count(p->b);
    int order;

    if (!has_a && !has_b)
        return false;
    order = !has_a ? 1 : !has_b ? -1 : memcmp(clock_node(p->a, p->i), clock_node(p->b, p->j), NODE_BYTES);
    *node = order <= 0 ? clock_node(p->a, p->i) : clock_node(p->b, p->j);
    *a = order <= 0 ? clock_number(p->a, p->i++) : 0;
    *b = order >= 0 ? clock_number(p->b, p->j++) : 0;
    return true;
}

static helios_status check_pair(helios_slice a, helios_slice b)
{
    helios_status status = clock_check(a);

    return status == HELIOS_OK ? clock_check(b) : status;
}

helios_status helios_clock_get(helios_slice clock, const uint8_t node[16], helios_seq *number)
{
    helios_status status =
        node && number ? clock_check(clock)
                       : fail(HELIOS_INVALID, "no %s was given", node ? "place for the number" : "node");

    if (status == HELIOS_OK)
        *number = clock_of(clock, node);
    return status;
}

helios_status helios_clock_compare(helios_slice a, helios_slice b, helios_clock_order *order)
{
    struct pair p = {.a = a, .b = b};
    bool less = false, more = false;
    const unsigned char *node;
    helios_seq x, y;
    helios_status status = order ? check_pair(a, b) : fail(HELIOS_INVALID, "no place for the order was given");

    if (status != HELIOS_OK)
        return status;
    while (pair_next(&p, &node, &x, &y)) {
        less |= x < y;
        more |= x > y;
    }
    *order = less && more ? HELIOS_CLOCK_CONCURRENT
             : less       ? HELIOS_CLOCK_BEFORE
             : more       ? HELIOS_CLOCK_AFTER
                          : HELIOS_CLOCK_EQUAL;
    return HELIOS_OK;
}

helios_status helios_clock_merge(helios_slice a, helios_slice b, helios_buf *out)
{
    struct pair p = {.a = a, .b = b};
    const unsigned char *node;
    helios_seq x, y;
    helios_status status = out ? check_pair(a, b) : fail(HELIOS_INVALID, "no buffer was given");
    size_t at = 0;

    if (status == HELIOS_OK)
        status = buf_reserve(out, a.size + b.size);
    if (status != HELIOS_OK)
        return status;
    for (; pair_next(&p, &node, &x, &y); at += CLOCK_ENTRY) {
        memcpy(out->data + at, node, NODE_BYTES);
        put_u64(out->data + at + NODE_BYTES, x > y ? x : y);
    }
    out->size = at;
    return HELIOS_OK;
}
