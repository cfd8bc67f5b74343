/* test_garbage.c - the garbage rule against the definition of visibility: every small history of one key and of two,
 * every set of up to four pins, every horizon (a floor is one), with the oldest part of the history outside of the
 * inputs in a deeper file, and the newest in a memtable. What can be read must read the same; and what the rule lets
 * go must be gone. */
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
    int outside; /* numbers up to this one are not among the inputs but older, */
    int inside;  /* and those above this one newer */
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

    for (int seq = 1; seq <= NUMBERS; seq++) {
        if (seq > s->outside && seq <= s->inside)
            continue;
        out.version[seq] = s->all.version[seq];
        out.tombstone[seq] = s->all.tombstone[seq];
        out.range[seq] = s->all.range[seq];
        older |= seq <= s->outside && (s->all.version[seq] || s->all.range[seq]);
    }
    for (int seq = s->inside; seq > s->outside; seq--) {
        if (s->all.range[seq])
            deletes[fragment.count++] = (helios_seq)seq;
    }
    garbage_init(&g, &rules, slice_make(NULL, 0), slice_make(NULL, 0));
    garbage_key_begin(&g, key, deletes, fragment.count);
    for (int seq = s->inside; seq > s->outside; seq--) {
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

static void print_setting(const struct setting *s)
{
    printf("horizon %d, inside (%d, %d], root %d, pins", (int)s->horizon, s->outside, s->inside, s->is_root);
    for (size_t i = 0; i < s->pin_count; i++)
        printf(" %d", (int)s->pins[i]);
}

static void compare(const struct setting *s, const struct history *out, int point)
{
    int was = read_at(&s->all, point, s->is_root), is = read_at(out, point, s->is_root);

    if (was == is)
        return;
    print("before", &s->all);
    print("after", out);
    print_setting(s);
    printf(": at %d was %d is %d\n", point, was, is);
    assert(was == is);
}

/* ---- that what may go is gone ---- */

static bool is_readable(const struct setting *s, int point)
{
    bool pinned = point >= (int)s->horizon;

    for (size_t i = 0; i < s->pin_count; i++)
        pinned |= (int)s->pins[i] == point;
    return pinned;
}

/* Is the number what a reader at some readable point finds first among the inputs? Versions are shadowed by both
 * kinds; range deletes, which cover more than this key, by range deletes alone. */
static bool is_seen(const struct setting *s, int number, bool is_range)
{
    for (int point = number; point <= NUMBERS + 1; point++) {
        bool shadowed = point > number && point <= s->inside &&
                        (s->all.range[point] || (!is_range && s->all.version[point]));

        if (shadowed)
            return false;
        if (is_readable(s, point))
            return true;
    }
    return false;
}

/* Of the inputs: the next older version that was kept; 0: none. */
static int older_kept(const struct setting *s, const struct history *out, int number)
{
    for (number--; number > s->outside; number--)
        if (out->version[number])
            return number;
    return 0;
}

static bool is_older_outside(const struct setting *s)
{
    for (int seq = 1; seq <= s->outside; seq++)
        if (s->all.version[seq] || s->all.range[seq])
            return true;
    return false;
}

/* A value is there exactly if it is seen. A tombstone at or below the horizon is seen, and right above a kept value
 * or, as the oldest one, above what may be elsewhere. A range delete is seen, and something older is kept or may be
 * elsewhere. Above the horizon both stay. */
static bool is_tight(const struct setting *s, const struct history *out, int seq)
{
    bool elsewhere = !s->is_root || is_older_outside(s);
    int older = older_kept(s, out, seq);

    if (s->all.version[seq] && !s->all.tombstone[seq] && out->version[seq] != is_seen(s, seq, false))
        return false;
    if (out->version[seq] && out->tombstone[seq]) {
        if (!is_seen(s, seq, false))
            return false;
        if (seq <= (int)s->horizon && (older ? out->tombstone[older] : !elsewhere))
            return false;
    }
    if (out->range[seq] && !is_seen(s, seq, true))
        return false;
    return !out->range[seq] || seq > (int)s->horizon || older || elsewhere;
}

static void check_tight(const struct setting *s, const struct history *out)
{
    for (int seq = s->outside + 1; seq <= s->inside; seq++) {
        if (is_tight(s, out, seq))
            continue;
        print("before", &s->all);
        print("after", out);
        print_setting(s);
        printf(": number %d\n", seq);
        assert(is_tight(s, out, seq));
    }
}

static void check_setting(const struct setting *s)
{
    struct history out = collect(s, false), again;
    struct setting next = *s;

    for (int point = (int)s->horizon; point <= NUMBERS; point++)
        compare(s, &out, point);
    for (size_t i = 0; i < s->pin_count; i++)
        compare(s, &out, (int)s->pins[i]);
    check_tight(s, &out);
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
        for (s->outside = 0; s->outside <= 3; s->outside++) {
            for (s->inside = NUMBERS; s->inside > s->outside && s->inside >= NUMBERS - 1; s->inside--) {
                s->is_root = true;
                check_setting(s);
                s->is_root = false;
                check_setting(s);
            }
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

/* ---- two keys, and range deletes over one or both ---- */

enum { COMMITS = 4, COMMIT_KINDS = 9, FULL_COMMITS = 3 };

/* What a commit did: to key 0, to key 1 (NOTHING, PUT or DELETE); and a bit for each that its range delete covers. */
struct pair_commit {
    unsigned char key[2], range;
};
/* Histories of FULL_COMMITS have every commit there is, those of COMMITS these. */
static const struct pair_commit pair_kinds[COMMIT_KINDS] = {
    {{NOTHING, NOTHING}, 0}, {{PUT, NOTHING}, 0},     {{DELETE, NOTHING}, 0},
    {{NOTHING, PUT}, 0},     {{PUT, PUT}, 0},         {{NOTHING, DELETE}, 0},
    {{NOTHING, NOTHING}, 1}, {{NOTHING, NOTHING}, 3}, {{NOTHING, PUT}, 3},
};

struct pair {
    struct pair_commit commits[COMMITS + 1]; /* by number */
    int count;
    helios_seq pins[COMMITS];
    size_t pin_count;
    helios_seq horizon;
    int outside;
    bool is_root;
};

static const unsigned char pair_bytes[3][6] = {
    {0, 0, 0, 7, 0, 'k'}, {0, 0, 0, 7, 0, 'l'}, {0, 0, 0, 7, 0, 'm'}};

static helios_slice pair_key(int key)
{
    return slice_make(pair_bytes[key], sizeof(pair_bytes[key]));
}

static bool touches(const struct pair_commit *c, int key)
{
    return c->key[key] != NOTHING || (c->range >> key & 1);
}

static int read_pair(const struct pair *p, int key, int point)
{
    for (int seq = point < p->count ? point : p->count; seq > 0; seq--) {
        if (p->commits[seq].key[key] != NOTHING)
            return p->commits[seq].key[key] == DELETE ? ABSENT : seq;
        if (p->commits[seq].range >> key & 1)
            return ABSENT;
    }
    return p->is_root ? ABSENT : INHERITED;
}

static bool pair_older(void *arg, helios_slice from, helios_slice to, bool inclusive)
{
    const struct pair *p = arg;

    for (int key = 0; key < 2; key++) {
        int above = to.data ? slice_compare(pair_key(key), to) : -1;

        if ((from.data && slice_compare(pair_key(key), from) < 0) || above > 0 || (above == 0 && !inclusive))
            continue;
        for (int seq = 1; seq <= p->outside; seq++)
            if (touches(&p->commits[seq], key))
                return true;
    }
    return false;
}

/* Numbers of the inputs whose range delete covers the key, newest first. */
static size_t pair_deletes(const struct pair *p, int key, helios_seq *seqs)
{
    size_t count = 0;

    for (int seq = p->count; seq > p->outside; seq--)
        if (p->commits[seq].range >> key & 1)
            seqs[count++] = (helios_seq)seq;
    return count;
}

static void collect_key(const struct pair *p, struct garbage *g, int key, struct pair *out)
{
    helios_seq deletes[COMMITS];
    uint64_t before = 0, tag;

    garbage_key_begin(g, pair_key(key), deletes, pair_deletes(p, key, deletes));
    for (int seq = p->count; seq > p->outside; seq--) {
        unsigned char what = p->commits[seq].key[key];
        enum garbage_verdict verdict;

        if (what == NOTHING)
            continue;
        verdict = garbage_version(g, tag_make((helios_seq)seq, what == DELETE ? KIND_TOMBSTONE : KIND_VALUE),
                                  &before);
        if (verdict == GARBAGE_KEEP_BOTH)
            out->commits[tag_seq(before)].key[key] = DELETE;
        if (verdict == GARBAGE_KEEP || verdict == GARBAGE_KEEP_BOTH)
            out->commits[seq].key[key] = what;
    }
    tag = garbage_key_end(g, pair_key(key));
    if (tag)
        out->commits[tag_seq(tag)].key[key] = DELETE;
}

/* The range deletes of keys [from, to): one fragment. */
static void collect_piece(const struct pair *p, struct garbage *g, int from, int to, struct pair *out)
{
    helios_seq deletes[COMMITS], kept[COMMITS];
    struct rangedel_fragment piece = {pair_key(from), pair_key(to), deletes, pair_deletes(p, from, deletes)};
    size_t count = piece.count ? garbage_fragment(g, &piece, g->kept_min, kept) : 0;

    for (size_t i = 0; i < count; i++)
        for (int key = from; key < to; key++)
            out->commits[kept[i]].range |= (unsigned char)(1 << key);
    g->kept_min = UINT64_MAX;
}

static void collect_pair(struct pair *p, struct pair *out)
{
    struct garbage_branch branch = {7, p->pins, p->pin_count, p->is_root, false};
    struct garbage_rules rules = {.collect = true,
                                  .horizon = p->horizon,
                                  .branches = &branch,
                                  .count = 1,
                                  .may_hold_older = pair_older,
                                  .may_hold_older_arg = p};
    struct garbage g;
    bool split = false;

    *out = *p;
    for (int seq = p->outside + 1; seq <= p->count; seq++) {
        split |= p->commits[seq].range == 1 || p->commits[seq].range == 2;
        out->commits[seq] = (struct pair_commit){{NOTHING, NOTHING}, 0};
    }
    garbage_init(&g, &rules, pair_key(0), pair_key(2));
    collect_key(p, &g, 0, out);
    if (split)
        collect_piece(p, &g, 0, 1, out);
    collect_key(p, &g, 1, out);
    collect_piece(p, &g, split ? 1 : 0, 2, out);
}

static bool pair_readable(const struct pair *p, int point)
{
    bool readable = point >= (int)p->horizon;

    for (size_t i = 0; i < p->pin_count; i++)
        readable |= (int)p->pins[i] == point;
    return readable;
}

static void print_pair(const char *name, const struct pair *p)
{
    static const char *const what[] = {"-", "put", "del"}, *const covered[] = {"", "+range k", "+range l",
                                                                               "+range"};

    printf("%s:", name);
    for (int seq = 1; seq <= p->count; seq++)
        printf(" %d=%s,%s%s", seq, what[p->commits[seq].key[0]], what[p->commits[seq].key[1]],
               covered[p->commits[seq].range]);
    printf("\n");
}

/* With nothing outside, nothing pinned and all at or below the horizon, what is left is what is seen. */
static bool is_clean_pair(const struct pair *p, const struct pair *out)
{
    int left = 0, seen = 0;

    if (!p->is_root || p->pin_count || p->outside || (int)p->horizon < p->count)
        return true;
    for (int seq = 1; seq <= p->count; seq++)
        left += (out->commits[seq].key[0] != NOTHING) + (out->commits[seq].key[1] != NOTHING) +
                out->commits[seq].range;
    for (int key = 0; key < 2; key++)
        seen += read_pair(p, key, p->count) != ABSENT;
    return left == seen;
}

static void check_pair(struct pair *p)
{
    struct pair out;
    bool right = true;

    collect_pair(p, &out);
    for (int point = 1; point <= p->count + 1; point++)
        for (int key = 0; key < 2 && pair_readable(p, point); key++)
            right &= read_pair(p, key, point) == read_pair(&out, key, point);
    if (right && is_clean_pair(p, &out))
        return;
    print_pair("before", p);
    print_pair("after", &out);
    printf("horizon %d, outside to %d, root %d, pins", (int)p->horizon, p->outside, p->is_root);
    for (size_t i = 0; i < p->pin_count; i++)
        printf(" %d", (int)p->pins[i]);
    printf("\n");
    assert(right);
    assert(is_clean_pair(p, &out));
}

static void check_pair_settings(struct pair *p)
{
    for (p->horizon = 0; p->horizon <= (helios_seq)p->count + 1; p->horizon++) {
        for (int set = 0; set < 1 << p->count; set++) {
            p->pin_count = 0;
            for (int seq = 1; seq <= p->count; seq++)
                if (set >> (seq - 1) & 1)
                    p->pins[p->pin_count++] = (helios_seq)seq;
            for (p->outside = 0; p->outside < p->count; p->outside++) {
                p->is_root = true;
                check_pair(p);
                p->is_root = false;
                check_pair(p);
            }
        }
    }
}

static void test_all_pairs(void)
{
    for (int code = 0; code < COMMIT_KINDS * COMMIT_KINDS * COMMIT_KINDS * COMMIT_KINDS; code++) {
        struct pair p = {.count = COMMITS};
        int rest = code;

        for (int seq = 1; seq <= COMMITS; seq++, rest /= COMMIT_KINDS)
            p.commits[seq] = pair_kinds[rest % COMMIT_KINDS];
        check_pair_settings(&p);
    }
    for (int code = 0; code < 36 * 36 * 36; code++) {
        struct pair p = {.count = FULL_COMMITS};
        int rest = code;

        for (int seq = 1; seq <= FULL_COMMITS; seq++, rest /= 36)
            p.commits[seq] = (struct pair_commit){{(unsigned char)(rest % 3), (unsigned char)(rest / 3 % 3)},
                                                  (unsigned char)(rest / 9 % 4)};
        check_pair_settings(&p);
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
        struct setting s = {.horizon = cases[i].horizon, .inside = NUMBERS, .is_root = cases[i].is_root};
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

/* ---- keys that go by age ---- */

static void test_aged(void)
{
    static const struct {
        const char *name, *key;
        bool collect;
        helios_seq below, seq;
        enum garbage_verdict verdict;
    } aged_cases[] = {
        {"below the point", "t1", true, 5, 4, GARBAGE_DROP},
        {"at the point", "t1", true, 5, 5, GARBAGE_KEEP},
        {"the first key of the range", "s", true, 5, 4, GARBAGE_DROP},
        {"the end of the range", "u", true, 5, 4, GARBAGE_KEEP},
        {"before the range", "r9", true, 5, 4, GARBAGE_KEEP},
        {"no point", "t1", true, 0, 4, GARBAGE_KEEP},
        {"nothing is collected", "t1", false, 5, 4, GARBAGE_KEEP},
    };
    static const char layer[] = {0, 0, 0, 0, 7};
    char from[] = "-----s", to[] = "-----u", key[8];

    memcpy(from, layer, sizeof(layer));
    memcpy(to, layer, sizeof(layer));
    memcpy(key, layer, sizeof(layer));
    for (size_t i = 0; i < sizeof(aged_cases) / sizeof(aged_cases[0]); i++) {
        const struct garbage_rules rules = {
            .collect = aged_cases[i].collect,
            .horizon = 5,
            .others = {.is_root = true},
            .aged = {slice_make(from, 6), slice_make(to, 6), aged_cases[i].below},
        };
        struct garbage g;
        uint64_t before;

        memcpy(key + sizeof(layer), aged_cases[i].key, strlen(aged_cases[i].key));
        garbage_init(&g, &rules, (helios_slice){0}, (helios_slice){0});
        garbage_key_begin(&g, slice_make(key, sizeof(layer) + strlen(aged_cases[i].key)), NULL, 0);
        if (garbage_version(&g, tag_make(aged_cases[i].seq, KIND_VALUE), &before) != aged_cases[i].verdict) {
            printf("%s\n", aged_cases[i].name);
            assert(false);
        }
    }
}

int main(void)
{
    test_aged();
    test_cases();
    test_modes();
    test_all_histories();
    test_all_pairs();
    return 0;
}
