/* test_registry.c - branches in memory: records, names, links to what shows through, points that are held; against naive
 * walks over random trees of branches. */
#undef NDEBUG
#include "base/utf8.h"
#include "base/epoch.h"
#include "base/mem.h"
#include "base/random.h"
#include "branch/holds.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { BRANCHES = 2000 };

static helios_slice text(const char *s)
{
    return slice_make(s, strlen(s));
}

static void records(void)
{
    struct branch_record in = {.id = 7,
                               .parent = 3,
                               .fork_seq = 1234567,
                               .created_seq = 99,
                               .created_time = 1700000000000000,
                               .state = HELIOS_BRANCH_MERGED,
                               .closed_seq = 2345678,
                               .name = text("f\303\251vrier"),
                               .metadata = text("any bytes")},
                         out = {.id = 7};
    helios_buf buf = {0};

    assert(branch_record_encode(&buf, &in) == HELIOS_OK);
    assert(branch_record_decode(buf_slice(&buf), &out));
    assert(out.id == 7 && out.parent == 3 && out.fork_seq == 1234567 && out.created_seq == 99);
    assert(out.created_time == in.created_time && out.state == in.state && out.closed_seq == in.closed_seq);
    assert(slice_equal(out.name, in.name) && slice_equal(out.metadata, in.metadata));
    for (size_t size = 0; size < buf.size; size++)
        assert(!branch_record_decode(slice_make(buf.data, size), &out));
    for (size_t i = 0; i < buf.size; i++)
        for (int byte = 0; byte < 256; byte++) { /* read without harm, whatever it says */
            char was = buf.data[i];

            buf.data[i] = (char)byte;
            (void)branch_record_decode(buf_slice(&buf), &out);
            buf.data[i] = was;
        }
    helios_buf_free(&buf);
}

static void names(void)
{
    char longest[NAME_BYTES_MAX + 2];
    const char *bad[] = {"",          "-x",       "a\nb",         "a\177",
                         "\xff",      "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                         "a\xe2\x82", "\xc2\x85"};

    memset(longest, 'n', sizeof(longest));
    longest[NAME_BYTES_MAX + 1] = 0;
    assert(branch_name_check(longest) == HELIOS_INVALID);
    longest[NAME_BYTES_MAX] = 0;
    assert(branch_name_check(longest) == HELIOS_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert(branch_name_check(bad[i]) == HELIOS_INVALID);
    assert(branch_name_check("release/1.0 \342\202\254 \360\237\214\263") == HELIOS_OK);
    assert(branch_name_check(NULL) == HELIOS_INVALID);
}

/* The nearest ancestor with data at or below the point, by the definition. */
static void check_link(const struct registry *registry, const struct branch *branch)
{
    helios_seq point = branch->fork_seq;
    const struct branch *up = registry_at(registry, branch->parent);

    for (;;) {
        helios_seq first = atomic_load(&up->first_write);

        if ((first && first <= point) || up->id == 0)
            break;
        if (up->fork_seq < point)
            point = up->fork_seq;
        up = registry_at(registry, up->parent);
    }
    if (branch->up == NULL) { /* nothing at all shows through */
        assert(up->id == 0 && point < atomic_load(&up->first_write));
        return;
    }
    assert(branch->up == up && branch->up_seq == point);
}

static struct branch *make(struct registry *registry, helios_branch_id parent, helios_seq fork, helios_seq now)
{
    char name[32];
    struct branch_record record = {
        .id = registry_next_id(registry), .parent = parent, .fork_seq = fork, .created_seq = now};
    struct branch *branch;

    snprintf(name, sizeof(name), "b%u", record.id);
    record.name = text(name);
    assert(registry_by_name(registry, name) == NULL);
    assert(registry_prepare(registry, &record, &branch) == HELIOS_OK);
    registry_add(registry, branch);
    assert(registry_by_name(registry, name) == branch && registry_at(registry, record.id) == branch);
    return branch;
}

static void trees(uint64_t seed)
{
    struct registry *registry;
    struct branch **list;
    struct random rng;
    helios_seq now = 10;
    size_t count, live = 1;

    random_seed(&rng, seed);
    assert(registry_new(&registry) == HELIOS_OK);
    assert(registry_at(registry, 1) == NULL && registry_at(registry, 0)->id == 0);
    while (registry_next_id(registry) < BRANCHES) {
        struct branch *at = (struct branch *)registry_at(
            registry, (helios_branch_id)random_below(&rng, registry_next_id(registry)));

        now++;
        switch (random_below(&rng, 6)) {
        case 0:
            if (atomic_load(&at->first_write) == 0)
                atomic_store(&at->first_write, now);
            break;
        case 1:
            if (at->id && at->live_children == 0 && atomic_load(&at->state) == HELIOS_BRANCH_ACTIVE) {
                registry_close(registry, at, HELIOS_BRANCH_DROPPED, now);
                live--;
            }
            break;
        case 2:
            if (at->id && atomic_load(&at->state) == HELIOS_BRANCH_ACTIVE) {
                char name[32], *owned = mem_alloc(sizeof(name));

                assert(owned);
                snprintf(name, sizeof(name), "renamed%" PRIu64, now);
                registry_rename(registry, at, strcpy(owned, name));
                assert(registry_by_name(registry, name) == at);
            }
            break;
        default:
            if (atomic_load(&at->state) == HELIOS_BRANCH_ACTIVE) {
                make(registry, at->id, random_below(&rng, now), now);
                live++;
            }
        }
    }
    assert(registry_live(registry) == live);
    for (helios_branch_id id = 1; id < registry_next_id(registry); id++) {
        helios_seq point;

        check_link(registry, registry_at(registry, id));
        assert(branch_point_on(registry, id, now, 0, &point));
        assert(point <= registry_at(registry, id)->fork_seq);
    }
    assert(registry_list(registry, false, &list, &count) == HELIOS_OK && count == live);
    for (size_t i = 1; i < count; i++)
        assert(strcmp(list[i - 1]->name, list[i]->name) < 0);
    mem_free(list);
    assert(registry_list(registry, true, &list, &count) == HELIOS_OK && count == BRANCHES);
    mem_free(list);
    registry_free(registry);
    epoch_drain();
}

/* ---- what is held ---- */

enum { HELD_BRANCHES = 60, HOLDS = 400, POINTS = 200 };

struct hold {
    helios_branch_id branch;
    helios_seq seq;
};

/* By the definition: does the hold protect (branch, seq)? */
static bool protects(const struct registry *registry, const struct hold *hold, helios_branch_id branch,
                     helios_seq seq)
{
    const struct branch *at = registry_at(registry, hold->branch);

    for (;;) {
        if (at->id == branch)
            return hold->seq == seq;
        if (at->id == 0 || hold->seq >= at->fork_seq)
            return false;
        at = registry_at(registry, at->parent);
    }
}

static void check_holds(struct branch_holds *holds, const struct registry *registry, const struct hold *all,
                        size_t count, helios_seq below)
{
    struct held_list list;
    size_t at = 0;

    assert(holds_list(holds, below, &list) == HELIOS_OK);
    for (helios_branch_id id = 0; id < HELD_BRANCHES; id++) {
        bool garbage = atomic_load(&registry_at(registry, id)->garbage), listed;
        size_t point = 0;

        listed = at < list.count && list.at[at].branch == id;
        for (helios_seq seq = 1; seq < POINTS; seq++) {
            bool held = false;

            for (size_t i = 0; i < count && !held; i++)
                held = protects(registry, &all[i], id, seq);
            assert(holds_have(holds, id, seq) == held);
            if (garbage || !held || seq >= below)
                continue;
            assert(listed && point < list.at[at].count && list.at[at].points[point++] == seq);
        }
        assert(!listed || list.at[at].garbage == garbage);
        assert(listed ? point == list.at[at].count : !garbage);
        at += listed;
    }
    assert(at == list.count);
    held_list_release(&list);
}

/* A fork's hold ends with its branch, once the drop is settled. */
static void holds(uint64_t seed)
{
    struct hold all[HOLDS];
    struct branch_holds holds;
    struct registry *registry;
    struct random rng;
    size_t count = 0;

    random_seed(&rng, seed);
    assert(registry_new(&registry) == HELIOS_OK);
    holds_init(&holds, registry);
    while (registry_next_id(registry) < HELD_BRANCHES) {
        helios_branch_id parent = (helios_branch_id)random_below(&rng, registry_next_id(registry));
        helios_seq fork = 1 + random_below(&rng, POINTS - 1);

        assert(holds_add(&holds, parent, fork) == HELIOS_OK);
        make(registry, parent, fork, POINTS);
        all[count++] = (struct hold){parent, fork};
    }
    for (int step = 0; step < 300; step++) {
        size_t index = count ? random_below(&rng, count) : 0;
        struct branch *branch = (struct branch *)registry_at(registry, 1 + index % (HELD_BRANCHES - 1));

        if (count < HOLDS && random_below(&rng, 2)) {
            all[count] = (struct hold){(helios_branch_id)random_below(&rng, HELD_BRANCHES),
                                       1 + random_below(&rng, POINTS - 1)};
            assert(holds_add(&holds, all[count].branch, all[count].seq) == HELIOS_OK);
            count++;
        } else if (index >= HELD_BRANCHES - 1) {
            holds_remove(&holds, all[index].branch, all[index].seq);
            all[index] = all[--count];
        } else if (branch->live_children == 0 && atomic_load(&branch->state) == HELIOS_BRANCH_ACTIVE) {
            registry_close(registry, branch, HELIOS_BRANCH_DROPPED, POINTS + (helios_seq)step);
            holds_drop(&holds, branch);
            holds_settle(&holds, POINTS + (helios_seq)step - 1);
            assert(!atomic_load(&branch->garbage));
            holds_settle(&holds, POINTS + (helios_seq)step);
            assert(atomic_load(&branch->garbage));
            all[branch->id - 1] = (struct hold){0, 0}; /* protects nothing that is looked at */
        }
        if (step % 20 == 0)
            check_holds(&holds, registry, all, count, 1 + random_below(&rng, POINTS));
    }
    check_holds(&holds, registry, all, count, POINTS);
    holds_release(&holds);
    registry_free(registry);
    epoch_drain();
}

/* ---- at open ---- */

static void load(const char *const *names, size_t count, bool fine)
{
    struct registry *registry;
    bool written[8] = {false};

    assert(registry_new(&registry) == HELIOS_OK && count < 8);
    for (uint32_t i = 0; i < count; i++) {
        struct branch_record record = {.id = i + 1, .fork_seq = 1, .name = text(names[i])};
        struct branch *branch;

        assert(registry_prepare(registry, &record, &branch) == HELIOS_OK);
        registry_load(registry, branch);
    }
    assert(registry_loaded(registry, written) == fine);
    for (size_t i = 0; i < count && fine; i++)
        assert(registry_by_name(registry, names[i])->id == i + 1);
    registry_free(registry);
    epoch_drain();
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;

    printf("seed %" PRIu64 "\n", seed);
    records();
    names();
    for (uint64_t i = 0; i < 20; i++)
        trees(seed + i);
    for (uint64_t i = 0; i < 4; i++)
        holds(seed + i);
    load((const char *[]){"z", "b", "ma", "n"}, 4, true);
    load((const char *[]){"z", "b", "z"}, 3, false);
    load((const char *[]){"b", "main"}, 2, false);
    return 0;
}
