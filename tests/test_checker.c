/* test_checker.c - the judge of histories (isolation.h) on histories by hand: every anomaly, and for each one the
 * history next to it that is fine. */
#undef NDEBUG
#include "tests/isolation.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A history in words, one transaction after each ';': its id and level (s: serializable, n: snapshot), then
 *   [1,2]   its read point lies there         r0=2   read key 0 of T2 (0: absent), r0=2.1 its operation 1
 *   ~0=2    the same within a range           w0     wrote key 0, w0.2 as operation 2, w0:7 as version 7
 *   d0      deleted key 0                     c5     committed as 5, c0: wrote nothing;  a: rolled back
 * Operations are 1 where nothing else is said. */
static void add_txn(struct iso_log *log, const char *text)
{
    unsigned id, key, writer, op;
    uint64_t low = 0, high = UINT64_MAX, number, commit = 0;
    enum iso_outcome outcome = ISO_ABORTED;
    char level;
    int used;

    assert(sscanf(text, " %u%c %n", &id, &level, &used) == 2);
    text += used;
    if (sscanf(text, "[%" SCNu64 ",%" SCNu64 "] %n", &low, &high, &used) == 2)
        text += used;
    iso_begin(log, id, level == 's' ? ISO_SERIALIZABLE : ISO_SNAPSHOT, low, high);
    for (; *text && *text != ';'; text += used + (int)strspn(text + used, " ")) {
        char what = *text++;

        op = 1;
        used = 0;
        if (what == 'r' || what == '~') {
            assert(sscanf(text, "%u=%u%n", &key, &writer, &used) == 2);
            if (text[used] == '.')
                assert(sscanf(text, "%u=%u.%u%n", &key, &writer, &op, &used) == 3);
            iso_read(log, key, writer, (uint16_t)op, what == '~');
        } else if (what == 'w' || what == 'd') {
            assert(sscanf(text, "%u%n", &key, &used) == 1);
            if (text[used] == '.')
                assert(sscanf(text, "%u.%u%n", &key, &op, &used) == 2);
            iso_write(log, key, (uint16_t)op, what == 'd');
            if (text[used] == ':') {
                assert(sscanf(text, "%u:%" SCNu64 "%n", &key, &number, &used) == 2);
                log->writes[log->write_count - 1].seq = number;
            }
        } else if (what == 'c') {
            assert(sscanf(text, "%" SCNu64 "%n", &commit, &used) == 1);
            outcome = ISO_COMMITTED;
        } else {
            assert(what == 'a');
        }
    }
    iso_end(log, outcome, commit);
}

static const struct {
    const char *name, *history;
    unsigned must, may; /* anomalies that must be found; and others that may come with them */
} cases[] = {
    {"nothing", "", 0, 0},
    {"one after the other", "1s r0=0 w0 c1; 2s r0=1 w0 c2; 3s r0=2 c0", 0, 0},
    {"a number twice", "1s w0 c1; 2s w0 c1", ISO_BROKEN, 0},
    {"one number, two keys of one commit", "1s w0 w1 c1; 2s w0 c2", 0, 0},
    {"a read of what never was", "1s r0=9 c0", ISO_BROKEN, 0},
    {"a commit without writes that has a number", "1s r0=0 c5", ISO_BROKEN, 0},

    {"G0: two writers in both orders", "1s w0:1 w1:4 c1; 2s w0:2 w1:3 c2", ISO_G0, ISO_NOT_FIRST},
    {"G0 of three", "1s w0:1 w2:6 c1; 2s w0:2 w1:3 c2; 3s w1:4 w2:5 c5", ISO_G0, ISO_NOT_FIRST},
    {"two writers in one order", "1s w0:1 w1:3 c1; 2s w0:2 w1:4 c4", 0, ISO_NOT_FIRST},

    {"G1a: a read of what was rolled back", "1s w0 a; 2s r0=1 w1 c2", ISO_G1A, 0},
    {"G1a by somebody who is rolled back too", "1s w0 a; 2s r0=1 a", ISO_G1A, 0},
    {"rolled back and not read", "1s w0 a; 2s r0=0 w1 c2", 0, 0},
    {"G1b: a read of what its writer replaced", "1s w0.2 c1; 2s r0=1.1 c0", ISO_G1B, 0},
    {"G1b: a read of what its writer deleted", "1s d0.2 c1; 2s r0=1.1 c0", ISO_G1B, 0},
    {"the last of two writes", "1s w0.2 c1; 2s r0=1.2 c0", 0, 0},
    {"G1c: each reads of the other", "1s r1=2 w0 c1; 2s r0=1 w1 c2", ISO_G1C, ISO_NO_SNAPSHOT},
    {"G1c by a write", "1s w0 r1=2 c1; 2s w0 w1 c2", ISO_G1C, ISO_NO_SNAPSHOT},
    {"one reads of the other", "1s w0 c1; 2s r0=1 w1 c2", 0, 0},

    {"read skew", "1s w0 w1 c1; 2s w0 w1 c2; 3n r0=1 r1=2 c0", ISO_NO_SNAPSHOT | ISO_G_SINGLE, 0},
    {"no read skew", "1s w0 w1 c1; 2s w0 w1 c2; 3n r0=1 r1=1 c0", 0, 0},
    {"read skew by absence", "1s w0 w1 c1; 2n r0=1 r1=0 c0", ISO_NO_SNAPSHOT, ISO_G_SINGLE},
    {"read skew by a rolled back reader", "1s w0 w1 c1; 2s w0 w1 c2; 3n r0=1 r1=2 a", ISO_NO_SNAPSHOT, 0},
    {"absence between two values", "1s w0 w1 c1; 2s d1 c2; 3s w1 c3; 4n r0=1 r1=0 c0; 5n r0=1 r1=3 c0", 0, 0},
    {"absence at two points that do not meet", "1s w0 c2; 2s d0 w1 c4; 3s d1 c6; 4s w0 c7; 5n r0=0 r1=0 w2 c8",
     0, ISO_G_SINGLE},
    {"absence where nothing was ever absent", "1s w0 w1 c2; 2s d0 c4; 3s w0 d1 c6; 4n [2,6] r0=0 r1=0 c0",
     ISO_NO_SNAPSHOT, ISO_G_SINGLE},
    {"too old for its beginning", "1s w0 c1; 2s w0 c2; 3n [2,2] r0=1 c0", ISO_NO_SNAPSHOT, 0},
    {"as old as its beginning", "1s w0 c1; 2s w0 c2; 3n [1,2] r0=1 c0", 0, 0},
    {"too new for its beginning", "1s w0 c1; 2s w0 c2; 3n [1,1] r0=2 c0", ISO_NO_SNAPSHOT, 0},
    {"absent at its beginning", "1s w0 c1; 2s d0 c2; 3s w0 c3; 4n [2,2] r0=0 c0", 0, 0},
    {"not absent at its beginning", "1s w0 c1; 2s d0 c2; 3s w0 c3; 4n [1,1] r0=0 c0", ISO_NO_SNAPSHOT, 0},

    {"lost update", "1s w0 c1; 2n r0=1 w0 c2; 3n r0=1 w0 c3", ISO_G_SINGLE, 0},
    {"lost update, and the beginning known", "1s w0 c1; 2n [1,1] r0=1 w0 c2; 3n [1,1] r0=1 w0 c3",
     ISO_G_SINGLE | ISO_NOT_FIRST, 0},
    {"lost update by a blind write", "1s w0 c1; 2n [1,1] w0 c2; 3n [1,1] w0 c3", ISO_NOT_FIRST, 0},
    {"blind writes one after the other", "1s w0 c1; 2n [1,1] w0 c2; 3n [1,2] w0 c3", 0, 0},
    {"lost update of what was absent", "2n r0=0 w0 c2; 3n r0=0 w0 c3", ISO_G_SINGLE, 0},
    {"lost update by a deletion", "1s w0 c1; 2n r0=1 d0 c2; 3n r0=1 w0 c3", ISO_G_SINGLE, 0},
    {"updates one after the other", "1s w0 c1; 2n r0=1 w0 c2; 3n r0=2 w0 c3", 0, 0},
    {"a deletion of nothing is no version",
     "1s w0 c1; 2n [1,1] d1 c2; 3n [1,1] w1 c3; 4n r1=3 d1 c4; 5s r1=0 d1 w2 c5; 6s r1=0 r2=0 c0", 0, 0},

    {"long fork", "1s w0 c1; 2s w1 c2; 3n r0=1 r1=0 c0; 4n r0=0 r1=2 c0", ISO_NO_SNAPSHOT,
     ISO_G_SINGLE | ISO_FORK},
    {"long fork of updates", "1s w0 w1 c1; 2n w0 c2; 3n w1 c3; 4n r0=1 r1=3 w2 c4; 5n r0=2 r1=1 w3 c5",
     ISO_NO_SNAPSHOT | ISO_FORK, ISO_G_SINGLE},
    {"no fork: both in one order", "1s w0 c1; 2s w1 c2; 3n r0=1 r1=0 c0; 4n r0=1 r1=2 c0", 0, 0},

    {"write skew", "1s w0 w1 c1; 2s r0=1 r1=1 w0 c2; 3s r0=1 r1=1 w1 c3", ISO_G2_ITEM, 0},
    {"write skew where it is allowed", "1s w0 w1 c1; 2n r0=1 r1=1 w0 c2; 3n r0=1 r1=1 w1 c3", 0, 0},
    {"write skew with one who must not", "1s w0 w1 c1; 2n r0=1 r1=1 w0 c2; 3s r0=1 r1=1 w1 c3", 0, 0},
    {"skew of three", "1s r0=0 w1 c1; 2s r1=0 w2 c2; 3s r2=0 w0 c3", ISO_G2_ITEM, 0},
    {"no skew of three", "1s r0=0 w1 c1; 2s r1=1 w2 c2; 3s r2=2 w0 c3", 0, 0},
    {"read skew of one reader of two", "1s w0 w1 c1; 2s r0=1 r1=1 w0 c2; 3s r0=2 r1=1 w1 c3", 0, 0},
    {"phantom", "1s ~0=0 ~1=0 w0 c1; 2s ~0=0 ~1=0 w1 c2", ISO_G2, 0},
    {"phantom where it is allowed", "1n ~0=0 ~1=0 w0 c1; 2n ~0=0 ~1=0 w1 c2", 0, 0},
    {"a phantom that is seen", "1s ~0=0 ~1=0 w0 c1; 2s ~0=1 ~1=0 w1 c2", 0, 0},
    {"phantom by a deletion", "1s w0 w1 c1; 2s ~0=1 ~1=1 d0 c2; 3s ~0=1 ~1=1 d1 c3", ISO_G2, 0},
    {"the read-only anomaly", /* Fekete, O'Neil, O'Neil, SIGMOD Record 2004: T1 deposits, T2 withdraws, T3 looks */
     "9s w0 w1 c1; 1s r1=9 w1 c2; 3s r0=9 r1=1 c0; 2s r0=9 r1=9 w0 c3", ISO_G2_ITEM, 0},
    {"the same without the one who looks", "9s w0 w1 c1; 1s r1=9 w1 c2; 2s r0=9 r1=9 w0 c3", 0, 0},
    {"the one who looks comes later", "9s w0 w1 c1; 1s r1=9 w1 c2; 3s r0=2 r1=1 c0; 2s r0=9 r1=9 w0 c3", 0, 0},
};

static void test_cases(bool loud)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct iso_log log = {0};
        unsigned found;

        for (const char *text = cases[i].history; text && *text;) {
            add_txn(&log, text);
            text = strchr(text, ';');
            text = text ? text + 1 : NULL;
        }
        if (loud)
            printf("--- %s\n", cases[i].name);
        found = iso_check(&log, 1, 8, loud ? stdout : NULL);
        if ((found & cases[i].must) != cases[i].must || (found & ~(cases[i].must | cases[i].may))) {
            printf("%s: found %x, must be %x, may be %x\n", cases[i].name, found, cases[i].must, cases[i].may);
            iso_check(&log, 1, 8, stdout);
            abort();
        }
        iso_log_release(&log);
    }
}

/* A long history that is fine, in two logs, and the same with one read of it falsified. */
static void test_large(void)
{
    enum { COUNT = 20000, KEYS = 10 };
    uint32_t last[KEYS] = {0};
    struct iso_log logs[2] = {{0}, {0}};
    struct iso_read *broken;

    for (uint32_t id = 1; id <= COUNT; id++) {
        struct iso_log *log = &logs[id * 7 / 3 % 2];

        iso_begin(log, id, ISO_SERIALIZABLE, id - 1, id - 1);
        for (uint32_t key = 0; key < KEYS; key++)
            iso_read(log, key, last[key], 1, key > 4);
        iso_write(log, id * id % KEYS, 1, false);
        iso_end(log, ISO_COMMITTED, id);
        last[id * id % KEYS] = id;
    }
    assert(iso_check(logs, 2, KEYS, stdout) == 0);
    broken = &logs[0].reads[logs[0].txns[5000].read_first + 6];
    assert(broken->writer > 10);
    for (size_t i = 0; i < 4999; i++) { /* an older version of the same key */
        const struct iso_read *r = &logs[0].reads[logs[0].txns[i].read_first + 6];

        if (r->writer && r->writer != broken->writer) {
            broken->writer = r->writer;
            break;
        }
    }
    assert(iso_check(logs, 2, KEYS, NULL) & ISO_NO_SNAPSHOT);
    iso_log_release(&logs[0]);
    iso_log_release(&logs[1]);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    test_cases(argc > 1 && strcmp(argv[1], "--loud") == 0);
    test_large();
    return 0;
}
