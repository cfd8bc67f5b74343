/* test_garbage.c - the garbage rule against the definition of visibility: every small history of one key,
 * every set of pins, every horizon, with the oldest part of it inside or outside of the inputs. */
#undef NDEBUG
#include "compaction/garbage.h"
#include <assert.h>
#include <stdio.h>

enum { NUMBERS = 5, OPTIONS = 5, ABSENT = 0, INHERITED = -1 };

/* What the commit with a number did to the key; a version wins over a range delete of its own commit. */
enum { NOTHING, PUT, DELETE, RANGE, PUT_RANGE };

struct history {
    bool version[NUMBERS + 1], tombstone[NUMBERS + 1], range[NUMBERS + 1];
};

struct setting {
    struct history all;
    helios_seq pins[NUMBERS];
    size_t pin_count;
    helios_seq horizon;
    int outside; /* numbers up to this one are not among the inputs */
    bool is_root;
};

/* The definition: the number of the value that is seen, ABSENT, or INHERITED where an ancestor is asked. */
static int read_at(const struct history *h, int point, bool is_root)
{
    for (int seq = point; seq > 0; seq--) {
        if (h->version[seq])
            return h->tombstone[seq] ? ABSENT : seq;
        if (h->range[seq])
            return ABSENT;
    }
    return is_root ? ABSENT : INHERITED;
}

static struct history history_of(int code)
{
    struct history h = {0};

    for (int seq = 1; seq <= NUMBERS; seq++, code /= OPTIONS) {
        int what = code % OPTIONS;

        h.version[seq] = what == PUT || what == DELETE || what == PUT_RANGE;
        h.tombstone[seq] = what == DELETE;
        h.range[seq] = what == RANGE || what == PUT_RANGE;
    }
    return h;
}

static bool older_outside(void *arg, helios_slice from, helios_slice to, bool inclusive)
{
    return *(const bool *)arg;
}

static void keep(struct history *out, uint64_t tag, uint64_t *last)
{
    helios_seq seq = tag_seq(tag);

    assert(tag < *last); /* still newest first */
    *last = tag;
    out->version[seq] = true;
    out->tombstone[seq] = tag_kind(tag) == KIND_TOMBSTONE;
}

/* Runs the filter over what is inside; what is left, the outside included. */
static struct history collect(const struct setting *s, bool pessimist)
{
    static const unsigned char bytes[] = {0, 0, 0, 7, 0, 'k'}, behind[] = {0, 0, 0, 7, 0, 'l'};
    helios_slice key = slice_make(bytes, sizeof(bytes)), end = slice_make(behind, sizeof(behind));
    struct garbage_branch branch = {7, s->pins, s->pin_count, s->is_root, false};
    bool older = pessimist;
    struct garbage_rules rules = {
        .collect = true,
        .horizon = s->horizon,
        .branches = &branch,
        .count = 1,
        .may_hold_older = older_outside,
        .may_hold_older_arg = &older,
    };
    struct history out = {0};
    helios_seq deletes[NUMBERS], kept[NUMBERS];
    struct rangedel_fragment fragment = {key, end, deletes, 0};
    struct garbage g;
    uint64_t tag, before = 0, last = TAG_MAX;
    size_t count;

    for (int seq = 1; seq <= s->outside; seq++) {
        out.version[seq] = s->all.version[seq];
        out.tombstone[seq] = s->all.tombstone[seq];
        out.range[seq] = s->all.range[seq];
        older |= s->all.version[seq] || s->all.range[seq];
    }
    for (int seq = NUMBERS; seq > s->outside; seq--) {
        if (s->all.range[seq])
            deletes[fragment.count++] = (helios_seq)seq;
    }
    garbage_init(&g, &rules, slice_make(NULL, 0), slice_make(NULL, 0));
    garbage_key_begin(&g, key, deletes, fragment.count);
    for (int seq = NUMBERS; seq > s->outside; seq--) {
        if (!s->all.version[seq])
            continue;
        tag = tag_make((helios_seq)seq, s->all.tombstone[seq] ? KIND_TOMBSTONE : KIND_VALUE);
        switch (garbage_version(&g, tag, &before)) {
        case GARBAGE_KEEP_BOTH:
            keep(&out, before, &last);
            keep(&out, tag, &last);
            break;
        case GARBAGE_KEEP: keep(&out, tag, &last); break;
        case GARBAGE_DROP:
        case GARBAGE_HOLD: break;
        }
    }
    tag = garbage_key_end(&g, key);
    if (tag)
        keep(&out, tag, &last);
    count = fragment.count ? garbage_fragment(&g, &fragment, g.kept_min, kept) : 0;
    for (size_t i = 0; i < count; i++)
        out.range[kept[i]] = true;
    return out;
}

static void print(const char *name, const struct history *h)
{
    printf("%s:", name);
    for (int seq = 1; seq <= NUMBERS; seq++) {
        printf(" %d=%s%s", seq,
               !h->version[seq]    ? "-"
               : h->tombstone[seq] ? "del"
                                   : "put",
               h->range[seq] ? "+range" : "");
    }
    printf("\n");
}

static void compare(const struct setting *s, const struct history *out, int point)
{
    int was = read_at(&s->all, point, s->is_root), is = read_at(out, point, s->is_root);

    if (was == is)
        return;
    print("before", &s->all);
    print("after", out);
    printf("horizon %d, outside to %d, root %d, pins", (int)s->horizon, s->outside, s->is_root);
    for (size_t i = 0; i < s->pin_count; i++)
        printf(" %d", (int)s->pins[i]);
    printf(": at %d was %d is %d\n", point, was, is);
    assert(was == is);
}

/* With everything inside and visible, and nothing pinned, one value at most is left. */
static void check_clean(const struct setting *s, const struct history *out)
{
    int left = 0;

    if (!s->is_root || s->pin_count || s->outside || s->horizon < NUMBERS)
        return;
    for (int seq = 1; seq <= NUMBERS; seq++) {
        assert(!out->range[seq]);
        assert(!out->version[seq] || !out->tombstone[seq]);
        left += out->version[seq];
    }
    assert(left == (read_at(&s->all, NUMBERS, true) != ABSENT));
}

static void check_setting(const struct setting *s)
{
    struct history out = collect(s, false), again;
    struct setting next = *s;

    for (int point = (int)s->horizon; point <= NUMBERS; point++)
        compare(s, &out, point);
    for (size_t i = 0; i < s->pin_count; i++)
        compare(s, &out, (int)s->pins[i]);
    check_clean(s, &out);
    /* A second pass over the result is right too. */
    next.all = out;
    again = collect(&next, false);
    for (int point = (int)s->horizon; point <= NUMBERS; point++)
        compare(&next, &again, point);
    for (size_t i = 0; i < s->pin_count; i++)
        compare(&next, &again, (int)s->pins[i]);
}

static void check_pins(struct setting *s)
{
    for (int set = 0; set < 1 << NUMBERS; set++) {
        s->pin_count = 0;
        for (int seq = 1; seq <= NUMBERS; seq++) {
            if (set >> (seq - 1) & 1)
                s->pins[s->pin_count++] = (helios_seq)seq;
        }
        if (s->pin_count > 4)
            continue;
        for (s->outside = 0; s->outside <= 2; s->outside++) {
            s->is_root = true;
            check_setting(s);
            s->is_root = false;
            check_setting(s);
        }
    }
}

static void test_all_histories(void)
{
    int codes = 1;

    for (int i = 0; i < NUMBERS; i++)
        codes *= OPTIONS;
    for (int code = 0; code < codes; code++) {
        struct setting s = {.all = history_of(code)};

        for (s.horizon = 0; s.horizon <= NUMBERS + 1; s.horizon++)
            check_pins(&s);
    }
}

/* Named cases that say what goes, not only that nothing is lost. */
static const struct {
    const char *name, *before, *after; /* per number: v value, d tombstone, r range delete, - nothing */
    helios_seq horizon, pin;           /* pin 0: none */
    bool is_root, older;
} cases[] = {
    {"shadowed at or below the horizon", "--v-v", "----v", 5, 0, true, false},
    {"shadowed above the horizon", "--v-v", "--v-v", 4, 0, true, false},
    {"pinned where only it is seen", "--v-v", "--v-v", 5, 4, true, false},
    {"pinned at its own number", "--v-v", "--v-v", 5, 3, true, false},
    {"pinned where the newer one is seen", "--v-v", "----v", 6, 5, true, false},
    {"newest stays", "v----", "v----", 5, 0, true, false},
    {"tombstone with nothing below", "--d--", "-----", 5, 0, true, false},
    {"tombstone and what it hides", "v-d--", "-----", 5, 0, true, false},
    {"tombstone above the horizon", "--d--", "--d--", 2, 0, true, false},
    {"tombstone, older outside", "--d--", "--d--", 5, 0, true, true},
    {"tombstone on a branch", "--d--", "--d--", 5, 0, false, false},
    {"tombstone over a pinned version", "v-d--", "v-d--", 5, 1, true, false},
    {"of two tombstones the newer goes", "v-d-d", "v-d--", 5, 3, true, true}, /* v is kept by pin 1 below */
    {"range delete hides nothing", "---r-", "-----", 5, 0, true, false},
    {"range delete hides and goes", "v--r-", "-----", 5, 0, true, false},
    {"range delete on a branch", "---r-", "---r-", 5, 0, false, false},
    {"range delete over a pinned version", "v--r-", "v--r-", 5, 1, true, false},
    {"range delete shadowed by one", "-r-r-", "---r-", 5, 0, false, false},
    {"range delete pinned", "-r-r-", "-r-r-", 5, 2, false, false},
};

static void test_cases(void)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct setting s = {.horizon = cases[i].horizon, .is_root = cases[i].is_root};
        struct history out;

        if (cases[i].pin)
            s.pins[s.pin_count++] = cases[i].pin;
        if (cases[i].before[0] == 'v' && cases[i].pin == 3) {
            s.pins[0] = 1;
            s.pins[s.pin_count++] = 3;
        }
        for (int seq = 1; seq <= NUMBERS; seq++) {
            char what = cases[i].before[seq - 1];

            s.all.version[seq] = what == 'v' || what == 'd';
            s.all.tombstone[seq] = what == 'd';
            s.all.range[seq] = what == 'r';
        }
        out = collect(&s, cases[i].older);
        for (int seq = 1; seq <= NUMBERS; seq++) {
            char what = !out.version[seq] ? out.range[seq] ? 'r' : '-' : out.tombstone[seq] ? 'd' : 'v';

            if (what != cases[i].after[seq - 1])
                printf("%s: number %d is %c\n", cases[i].name, seq, what);
            assert(what == cases[i].after[seq - 1]);
        }
    }
}

static void test_modes(void)
{
    static const unsigned char bytes[] = {0, 0, 0, 1, 0, 'k'};
    helios_slice key = slice_make(bytes, sizeof(bytes));
    struct garbage_branch dropped = {.branch = 1, .dropped = true};
    struct garbage_rules rules = {.collect = false, .horizon = 100, .branches = &dropped, .count = 1};
    helios_seq number = 9, kept[1];
    struct rangedel_fragment fragment = {key, key, &number, 1};
    struct garbage g;
    uint64_t before;

    garbage_init(&g, &rules, slice_make(NULL, 0), slice_make(NULL, 0));
    garbage_key_begin(&g, key, &number, 1);
    assert(garbage_version(&g, tag_make(5, KIND_VALUE), &before) == GARBAGE_KEEP);
    assert(garbage_version(&g, tag_make(4, KIND_TOMBSTONE), &before) == GARBAGE_KEEP);
    assert(garbage_key_end(&g, key) == 0 && g.kept_min == 4);
    assert(garbage_fragment(&g, &fragment, 4, kept) == 1 && kept[0] == 9);

    rules.collect = true;
    garbage_init(&g, &rules, slice_make(NULL, 0), slice_make(NULL, 0));
    garbage_key_begin(&g, key, NULL, 0);
    assert(garbage_version(&g, tag_make(500, KIND_VALUE), &before) == GARBAGE_DROP);
    assert(garbage_key_end(&g, key) == 0);
    assert(garbage_fragment(&g, &fragment, UINT64_MAX, kept) == 0);
    assert(garbage_branch_of(&rules, 0) == &rules.others && garbage_branch_of(&rules, 1) == &dropped);
}

int main(void)
{
    test_cases();
    test_modes();
    test_all_histories();
    return 0;
}
