/* test_rangedel.c - fragmented range deletes against a list that is asked item by item. */
#undef NDEBUG
#include "base/mem.h"
#include "base/random.h"
#include "base/rangedel.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { ITEMS_MAX = 30, KEYS = 64 };

/* Key n as one to three bytes, in the order of n; the empty key is 0. */
static unsigned char key_bytes[KEYS][3];
static helios_slice keys[KEYS];

static void make_keys(void)
{
    for (int n = 0; n < KEYS; n++) {
        key_bytes[n][0] = (unsigned char)(n / 16 * 60);
        key_bytes[n][1] = (unsigned char)(n / 4 % 4 * 60);
        key_bytes[n][2] = (unsigned char)(n % 4 * 60);
        keys[n] = slice_make(key_bytes[n], n == 0 ? 0 : n % 16 == 0 ? 1 : n % 4 == 0 ? 2 : 3);
        if (n > 0)
            assert(slice_compare(keys[n - 1], keys[n]) < 0);
    }
}

static helios_seq model_newest(const struct rangedel *items, size_t count, helios_slice key, helios_seq limit)
{
    helios_seq newest = 0;

    for (size_t i = 0; i < count; i++) {
        if (slice_compare(items[i].from, key) <= 0 && slice_compare(key, items[i].to) < 0 &&
            items[i].seq <= limit && items[i].seq > newest)
            newest = items[i].seq;
    }
    return newest;
}

static helios_seq model_next_above(const struct rangedel *items, size_t count, helios_slice key,
                                   helios_seq above)
{
    helios_seq next = 0;

    for (size_t i = 0; i < count; i++) {
        if (slice_compare(items[i].from, key) <= 0 && slice_compare(key, items[i].to) < 0 &&
            items[i].seq > above && (next == 0 || items[i].seq < next))
            next = items[i].seq;
    }
    return next;
}

/* The shape that rangedel.h promises, and that neighbours that say the same were joined. */
static void check_shape(const struct rangedel_set *set)
{
    helios_seq low = UINT64_MAX, high = 0;

    for (size_t i = 0; i < set->count; i++) {
        const struct rangedel_fragment *f = &set->fragments[i];

        assert(slice_compare(f->from, f->to) < 0);
        assert(f->count > 0);
        for (size_t s = 0; s < f->count; s++) {
            assert(s == 0 || f->seqs[s] < f->seqs[s - 1]);
            low = f->seqs[s] < low ? f->seqs[s] : low;
            high = f->seqs[s] > high ? f->seqs[s] : high;
        }
        if (i == 0)
            continue;
        assert(slice_compare(f[-1].to, f->from) <= 0);
        if (slice_equal(f[-1].to, f->from) && f[-1].count == f->count)
            assert(memcmp(f[-1].seqs, f->seqs, f->count * sizeof(*f->seqs)) != 0);
    }
    assert(set->seq_min == low);
    assert(set->seq_max == high);
}

static void compare(const struct rangedel_set *set, const struct rangedel *items, size_t count)
{
    check_shape(set);
    for (int n = 0; n < KEYS; n++) {
        size_t found = rangedel_find(set, keys[n]);

        assert(found == set->count || slice_compare(set->fragments[found].to, keys[n]) > 0);
        assert(found == 0 || slice_compare(set->fragments[found - 1].to, keys[n]) <= 0);
        for (helios_seq seq = 0; seq < 14; seq++) {
            assert(rangedel_newest(set, keys[n], seq) == model_newest(items, count, keys[n], seq));
            assert(rangedel_next_above(set, keys[n], seq) == model_next_above(items, count, keys[n], seq));
        }
    }
}

static bool same(const struct rangedel_set *a, const struct rangedel_set *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct rangedel_fragment *x = &a->fragments[i], *y = &b->fragments[i];

        if (!slice_equal(x->from, y->from) || !slice_equal(x->to, y->to) || x->count != y->count ||
            memcmp(x->seqs, y->seqs, x->count * sizeof(*x->seqs)) != 0)
            return false;
    }
    return true;
}

static void round_of(uint64_t seed)
{
    struct rangedel items[ITEMS_MAX];
    struct rangedel_set *built = NULL, *added = NULL, *next;
    struct random rng;
    size_t count;

    random_seed(&rng, seed);
    count = random_below(&rng, ITEMS_MAX + 1);
    for (size_t i = 0; i < count; i++) {
        uint64_t from = random_below(&rng, KEYS - 1), to = from + 1 + random_below(&rng, KEYS - 1 - from);

        if (random_below(&rng, 2) && to > from + 4)
            to = from + 1 + random_below(&rng, 4);
        items[i] = (struct rangedel){keys[from], keys[to], 1 + random_below(&rng, 12)};
        assert(rangedel_add(added, &items[i], &next) == HELIOS_OK);
        if (added)
            compare(added, items, i); /* the old one is as it was */
        rangedel_unref(added);
        added = next;
    }
    assert(rangedel_build(items, count, &built) == HELIOS_OK);
    compare(built, items, count);
    if (added)
        assert(same(built, added));
    assert(rangedel_ref(built) == built);
    rangedel_unref(built);
    rangedel_unref(built);
    rangedel_unref(added);
}

static void without_memory(void)
{
    struct rangedel items[] = {{keys[1], keys[20], 3}, {keys[5], keys[9], 4}, {keys[8], keys[30], 2}};
    struct rangedel_set *set, *more;
    helios_status status = HELIOS_NO_MEMORY;

    for (uint64_t n = 1; status == HELIOS_NO_MEMORY; n++) {
        mem_fail_at(n, false);
        status = rangedel_build(items, 2, &set);
    }
    assert(status == HELIOS_OK);
    status = HELIOS_NO_MEMORY;
    for (uint64_t n = 1; status == HELIOS_NO_MEMORY; n++) {
        mem_fail_at(n, false);
        status = rangedel_add(set, &items[2], &more);
    }
    mem_fail_at(0, false);
    assert(status == HELIOS_OK);
    compare(set, items, 2);
    compare(more, items, 3);
    rangedel_unref(set);
    rangedel_unref(more);
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1, last = argc > 1 ? first : 100;

    make_keys();
    assert(rangedel_newest(NULL, keys[1], 5) == 0);
    assert(rangedel_next_above(NULL, keys[1], 5) == 0);
    rangedel_unref(NULL);
    for (uint64_t seed = first; seed <= last; seed++) {
        printf("seed %llu\n", (unsigned long long)seed);
        fflush(stdout);
        round_of(seed);
    }
    without_memory();
    return 0;
}
