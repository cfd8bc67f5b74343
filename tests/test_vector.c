/* test_vector.c - merge vectors and bases against sets: a state is the set of all commits that are in it, by the definition of
 * forks and merges; a vector must say exactly which, and the bases must be the maximal common states. Random histories. */
#undef NDEBUG
#include "base/epoch.h"
#include "base/mem.h"
#include "base/random.h"
#include "branch/vector.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { BRANCHES = 10, NUMBERS = 160, STEPS = 120, ROUNDS = 400 };

/* Commits by number; [branch][number]: the state after it. */
typedef struct {
    bool in[NUMBERS + 1];
} set;

static set state[BRANCHES][NUMBERS + 1];
static uint32_t branch_of[NUMBERS + 1]; /* whose commit a number is; UINT32_MAX: nobody's */
static struct registry *registry;
static uint32_t branches;
static helios_seq now;
static struct random rng;

static bool subset(const set *a, const set *b)
{
    for (size_t i = 0; i <= NUMBERS; i++)
        if (a->in[i] && !b->in[i])
            return false;
    return true;
}

static void unite(set *a, const set *b)
{
    for (size_t i = 0; i <= NUMBERS; i++)
        a->in[i] |= b->in[i];
}

/* Every branch goes on as it was; one has a commit more. */
static void advance(uint32_t branch)
{
    now++;
    for (uint32_t b = 0; b < branches; b++)
        state[b][now] = state[b][now - 1];
    branch_of[now] = branch;
    if (branch != UINT32_MAX)
        state[branch][now].in[now] = true;
}

static void fork_branch(uint32_t parent, helios_seq at)
{
    char name[32];
    struct branch *fresh;
    struct branch_record record = {.id = branches, .parent = parent, .fork_seq = at, .metadata = {"", 0}};

    advance(UINT32_MAX); /* the record of its making */
    record.created_seq = now;
    snprintf(name, sizeof(name), "b%u", branches);
    record.name = slice_make(name, strlen(name));
    assert(registry_prepare(registry, &record, &fresh) == HELIOS_OK);
    registry_add(registry, fresh);
    for (helios_seq s = 0; s <= now; s++)
        state[branches][s] = state[parent][s < at ? s : at];
    branches++;
}

static void merge(uint32_t source, uint32_t target)
{
    struct vector theirs = {0}, ours = {0}, missing = {0};
    struct merge *record;
    helios_seq at = now;

    assert(vector_of(registry, source, at, &theirs) == HELIOS_OK);
    assert(vector_of(registry, target, at, &ours) == HELIOS_OK);
    assert(vector_missing(&theirs, &ours, &missing) == HELIOS_OK);
    record = merge_alloc(missing.count);
    assert(record);
    for (size_t i = 0; i < missing.count; i++)
        record->raised[i].at = missing.at[i];
    record->source = (struct vector_entry){source, at};
    advance(target);
    record->commit = now;
    unite(&state[target][now], &state[source][at]);
    {
        helios_buf bytes = {0};
        struct merge *read;

        assert(merge_encode(&bytes, record) == HELIOS_OK);
        assert(merge_decode(slice_make(bytes.data, bytes.size), &read) == HELIOS_OK);
        read->commit = record->commit;
        branch_add_merge((struct branch *)registry_at(registry, target), read);
        for (size_t cut = 0; cut < bytes.size; cut++)
            assert(merge_decode(slice_make(bytes.data, cut), &read) == HELIOS_CORRUPT);
        helios_buf_free(&bytes);
    }
    merge_free(record);
    vector_release(&theirs);
    vector_release(&ours);
    vector_release(&missing);
}

/* A vector says of each commit whether it is in the state. */
static void check_vector(uint32_t branch, helios_seq seq)
{
    struct vector vector = {0};

    assert(vector_of(registry, branch, seq, &vector) == HELIOS_OK);
    for (helios_seq s = 1; s <= now; s++) {
        helios_seq known;
        bool has;

        if (branch_of[s] == UINT32_MAX)
            continue;
        has = vector_find(&vector, branch_of[s], &known) && s <= known;
        assert(has == state[branch][seq].in[s]);
    }
    vector_release(&vector);
}

/* What every base has is common, no base has another, and every common state is in some base. */
static void check_bases(uint32_t a, helios_seq at_a, uint32_t b, helios_seq at_b)
{
    struct vector va = {0}, vb = {0};
    struct bases bases = {0};

    assert(vector_of(registry, a, at_a, &va) == HELIOS_OK);
    assert(vector_of(registry, b, at_b, &vb) == HELIOS_OK);
    assert(bases_find(registry, &va, &vb, &bases) == HELIOS_OK);
    assert(bases.points.count > 0 && !bases.lost);
    for (size_t i = 0; i < bases.points.count; i++) {
        const set *one = &state[bases.points.at[i].branch][bases.points.at[i].seq];

        assert(subset(one, &state[a][at_a]) && subset(one, &state[b][at_b]));
    }
    for (uint32_t c = 0; c < branches; c++)
        for (helios_seq s = 0; s <= now; s++) {
            bool within = !subset(&state[c][s], &state[a][at_a]) || !subset(&state[c][s], &state[b][at_b]);

            for (size_t i = 0; i < bases.points.count && !within; i++)
                within = subset(&state[c][s], &state[bases.points.at[i].branch][bases.points.at[i].seq]);
            assert(within);
        }
    bases_release(&bases);
    vector_release(&va);
    vector_release(&vb);
}

static void one_history(void)
{
    assert(registry_new(&registry) == HELIOS_OK);
    branches = 1;
    now = 0;
    memset(state, 0, sizeof(state));
    for (int step = 0; step < STEPS && now + 2 < NUMBERS; step++) {
        uint32_t a = (uint32_t)random_below(&rng, branches), b = (uint32_t)random_below(&rng, branches);

        switch (random_below(&rng, 6)) {
        case 0:
            if (branches < BRANCHES)
                fork_branch(a, random_below(&rng, 2) ? now : random_below(&rng, now + 1));
            break;
        case 1:
        case 2:
            if (a != b)
                merge(a, b);
            break;
        default: advance(a);
        }
    }
    for (int i = 0; i < 20; i++) {
        uint32_t a = (uint32_t)random_below(&rng, branches), b = (uint32_t)random_below(&rng, branches);

        check_vector(a, random_below(&rng, now + 1));
        check_bases(a, now, b, now);
    }
    registry_free(registry);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;

    printf("seed %" PRIu64 "\n", seed);
    random_seed(&rng, seed);
    for (int i = 0; i < ROUNDS; i++)
        one_history();
    epoch_drain();
    return 0;
}
