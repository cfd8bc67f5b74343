/* pin_list.c - what holds history, as one list: pins and floors of this process, tags, consumers, and branches by their
 * forks and by what was merged into them. */
#include "branch/vector.h"
#include "engine/branches.h"
#include "engine/feed.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREAD_TEXT_BYTES = 20 }; /* "thread 4194303" */

struct sources_of_pins {
    struct pin_info *points, *floors;
    helios_tag_info *tags;
    struct feed_held *consumers;
    helios_branch_info *branches; /* live ones, main included */
    helios_pin_info *forks;       /* owners are names in `branches` */
    size_t point_count, floor_count, tag_count, consumer_count, branch_count, fork_count, fork_capacity;
};

/* ---- what branches hold ---- */

static helios_status add_fork(struct sources_of_pins *s, const helios_branch_info *owner,
                              helios_branch_id branch, helios_seq at, uint64_t since)
{
    if (s->fork_count == s->fork_capacity) {
        size_t capacity = s->fork_capacity ? s->fork_capacity * 2 : 16;
        helios_pin_info *forks = mem_realloc(s->forks, capacity * sizeof(*forks));

        if (!forks)
            return fail_no_memory(capacity * sizeof(*forks));
        s->forks = forks;
        s->fork_capacity = capacity;
    }
    s->forks[s->fork_count++] = (helios_pin_info){
        .kind = HELIOS_PIN_BRANCH, .owner = owner->name, .branch = branch, .at = at, .since = since};
    return HELIOS_OK;
}

/* Points that merges may need for a base; of a dropped branch there is none. */
static helios_status add_bases(struct helios_db *db, struct sources_of_pins *s, const helios_branch_info *owner)
{
    helios_status status = HELIOS_OK;

    for (const struct merge *merge = branch_merges(branch_at(db, owner->id)); merge; merge = merge->older)
        for (size_t i = 0; i < merge->count && status == HELIOS_OK; i++) {
            const struct vector_entry *at = &merge->raised[i].at;

            if (branch_readable(db, at->branch) == HELIOS_OK && holds_entry(&db->holds, merge, i))
                status = add_fork(s, owner, at->branch, at->seq ? at->seq : HELIOS_SEQ_NONE, merge->time);
        }
    return status;
}

static helios_status collect_forks(struct helios_db *db, struct sources_of_pins *s)
{
    helios_status status = helios_branch_list(db, &s->branches, &s->branch_count);

    for (size_t i = 0; i < s->branch_count && status == HELIOS_OK; i++) {
        const helios_branch_info *branch = &s->branches[i];

        if (branch->id)
            status = add_fork(s, branch, branch->parent, branch->fork_seq, branch->created_time);
        if (status == HELIOS_OK)
            status = add_bases(db, s, branch);
    }
    return status;
}

/* ---- one list ---- */

/* The list under way: entries from the front, the owners' texts behind all of them. */
struct pin_listing {
    helios_pin_info *list;
    size_t count;
    char *text;
};

static void add_pins(struct pin_listing *l, const struct pin_info *pins, size_t count, bool from_on)
{
    for (size_t i = 0; i < count; i++) {
        const struct pin_owner *owner = &pins[i].owner;

        if (owner->kind == HELIOS_PIN_CONSUMER) /* by its name, below */
            continue;
        snprintf(l->text, THREAD_TEXT_BYTES, "thread %" PRIu32, owner->thread);
        l->list[l->count++] = (helios_pin_info){
            .kind = owner->kind,
            .owner = l->text,
            .at = pins[i].seq ? pins[i].seq : HELIOS_SEQ_NONE,
            .since = owner->since,
            .from_on = from_on,
        };
        l->text += THREAD_TEXT_BYTES;
    }
}

static void add_tags(struct pin_listing *l, const helios_tag_info *tags, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(tags[i].name) + 1;

        memcpy(l->text, tags[i].name, size);
        l->list[l->count++] = (helios_pin_info){
            .kind = HELIOS_PIN_TAG,
            .owner = l->text,
            .branch = tags[i].branch,
            .at = tags[i].at,
            .since = tags[i].time,
        };
        l->text += size;
    }
}

static void add_consumers(struct pin_listing *l, const struct feed_held *consumers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(consumers[i].name) + 1;

        memcpy(l->text, consumers[i].name, size);
        l->list[l->count++] = (helios_pin_info){
            .kind = HELIOS_PIN_CONSUMER,
            .owner = l->text,
            .at = consumers[i].at ? consumers[i].at : HELIOS_SEQ_NONE,
            .since = consumers[i].since,
            .from_on = true,
        };
        l->text += size;
    }
}

static void add_forks(struct pin_listing *l, const helios_pin_info *forks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(forks[i].owner) + 1;

        l->list[l->count] = forks[i];
        l->list[l->count++].owner = memcpy(l->text, forks[i].owner, size);
        l->text += size;
    }
}

/* By point, oldest first, "before the first commit" before all; then by age. */
static int compare_pins(const void *a, const void *b)
{
    const helios_pin_info *x = a, *y = b;
    helios_seq p = x->at == HELIOS_SEQ_NONE ? 0 : x->at, q = y->at == HELIOS_SEQ_NONE ? 0 : y->at;

    if (p != q)
        return p < q ? -1 : 1;
    return x->since < y->since ? -1 : x->since > y->since;
}

static helios_status merge_sources(const struct sources_of_pins *s, helios_pin_info **out, size_t *n)
{
    size_t in_memory = s->point_count + s->floor_count;
    size_t count = in_memory + s->tag_count + s->consumer_count + s->fork_count;
    size_t bytes = count * sizeof(helios_pin_info) + in_memory * THREAD_TEXT_BYTES + 1;
    struct pin_listing l = {0};

    for (size_t i = 0; i < s->tag_count; i++)
        bytes += strlen(s->tags[i].name) + 1;
    for (size_t i = 0; i < s->consumer_count; i++)
        bytes += strlen(s->consumers[i].name) + 1;
    for (size_t i = 0; i < s->fork_count; i++)
        bytes += strlen(s->forks[i].owner) + 1;
    l.list = mem_zalloc(bytes);
    if (!l.list)
        return fail_no_memory(bytes);
    l.text = (char *)(l.list + count);
    add_pins(&l, s->points, s->point_count, false);
    add_pins(&l, s->floors, s->floor_count, true);
    add_tags(&l, s->tags, s->tag_count);
    add_consumers(&l, s->consumers, s->consumer_count);
    add_forks(&l, s->forks, s->fork_count);
    qsort(l.list, l.count, sizeof(*l.list), compare_pins);
    *out = l.list;
    *n = l.count;
    return HELIOS_OK;
}

helios_status helios_pin_list(helios_db *db, helios_pin_info **list, size_t *n)
{
    struct sources_of_pins s = {0};
    helios_status status;

    if (!db || !list || !n)
        return fail(HELIOS_INVALID, "no %s was given", db ? "place for the list" : "database");
    status = pins_list(db->pins, &s.points, &s.point_count);
    if (status == HELIOS_OK)
        status = pins_list(db->floors, &s.floors, &s.floor_count);
    if (status == HELIOS_OK)
        status = helios_tag_list(db, &s.tags, &s.tag_count);
    if (status == HELIOS_OK)
        status = feed_consumers_held(db, &s.consumers, &s.consumer_count);
    if (status == HELIOS_OK)
        status = collect_forks(db, &s);
    if (status == HELIOS_OK)
        status = merge_sources(&s, list, n);
    mem_free(s.points);
    mem_free(s.floors);
    mem_free(s.tags);
    mem_free(s.consumers);
    mem_free(s.branches);
    mem_free(s.forks);
    return status;
}
