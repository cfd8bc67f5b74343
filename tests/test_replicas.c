/* test_replicas.c - three databases that are written side by side and exchange their feeds come to the same state.
 *
 * "exchange": one program moves what their feeds give as messages, which an adversary reorders, repeats, holds back, and
 * sends again from older places; nodes write puts, deletes, range deletes and large commits, are closed and opened.
 * Messages travel along drawn links, so that changes of a third node arrive through others, or both ways. By the default
 * rule, and by call-backs that merge.
 * "threads": each database has a thread of its own that writes, and pipes to the others, on which messages come in pieces.
 * Usage: test_replicas exchange|threads [--seed S] [--rounds N] */
#undef NDEBUG
#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/thread.h"
#include "engine/engine_internal.h"
#include <assert.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { NODES = 3, KEYS = 24, GROUP_MAX = 4096 };

static uint64_t seed = 1, round_number;

#define MUST(call) must((call), #call, __LINE__)
static void must(helios_status status, const char *what, int line)
{
    if (status == HELIOS_OK)
        return;
    fprintf(stderr, "line %d, seed %" PRIu64 ", round %" PRIu64 ": %s: %s %s\n", line, seed, round_number, what,
            helios_status_name(status), helios_last_error());
    abort();
}
#define CHECK(x)                                                                                               \
    do {                                                                                                       \
        if (!(x)) {                                                                                            \
            fprintf(stderr, "line %d, seed %" PRIu64 ", round %" PRIu64 ": not so: %s (%s)\n", __LINE__, seed, \
                    round_number, #x, helios_last_error());                                                    \
            abort();                                                                                           \
        }                                                                                                      \
    } while (0)

/* ---- messages: all entries of one commit as bytes ---- */

static void put_bytes(helios_buf *buf, const void *data, size_t size)
{
    MUST(buf_append(buf, data, size));
}

static void put_number(helios_buf *buf, uint64_t number)
{
    unsigned char bytes[8];

    put_u64(bytes, number);
    put_bytes(buf, bytes, sizeof(bytes));
}

static void put_slice(helios_buf *buf, helios_slice slice)
{
    put_number(buf, slice.size);
    put_bytes(buf, slice.data ? slice.data : "", slice.size);
}

static void put_change(helios_buf *buf, const helios_change *c)
{
    put_number(buf, c->lsn);
    put_number(buf, c->commit);
    put_number(buf, c->branch);
    put_number(buf, (uint64_t)c->kind << 16 | (uint64_t)c->space << 8 | (uint64_t)c->commit_begin << 1 |
                        (uint64_t)c->commit_end);
    put_bytes(buf, c->origin, 16);
    put_number(buf, c->origin_lsn);
    put_number(buf, c->origin_previous);
    put_slice(buf, c->key);
    put_slice(buf, c->value);
    put_slice(buf, c->vector_clock);
}

static helios_slice take_slice(struct reader *r)
{
    uint64_t size = read_u64(r);

    CHECK(size <= reader_left(r));
    return slice_make(read_raw(r, (size_t)size), (size_t)size);
}

static size_t take_changes(helios_slice message, helios_change *changes)
{
    struct reader r = reader_make(message.data, message.size);
    size_t n = 0;

    while (reader_left(&r)) {
        helios_change *c = &changes[n++];
        uint64_t flags;

        CHECK(n <= GROUP_MAX);
        *c = (helios_change){.lsn = read_u64(&r)};
        c->commit = read_u64(&r);
        c->branch = (helios_branch_id)read_u64(&r);
        flags = read_u64(&r);
        c->kind = (helios_change_kind)(flags >> 16);
        c->space = (uint8_t)(flags >> 8);
        c->commit_begin = flags >> 1 & 1;
        c->commit_end = flags & 1;
        memcpy(c->origin, read_raw(&r, 16), 16);
        c->origin_lsn = read_u64(&r);
        c->origin_previous = read_u64(&r);
        c->key = take_slice(&r);
        c->value = take_slice(&r);
        c->vector_clock = take_slice(&r);
        CHECK(!r.bad);
    }
    return n;
}

/* ---- nodes ---- */

struct node {
    helios_db *db;
    struct io_fs *fs;
    helios_options options;
    helios_changes *feed;
    helios_seq next; /* where its feed is read on */
    helios_apply_options apply;
    struct random rng;
    helios_buf message; /* the commit that is being read */
};

static void open_node(struct node *n)
{
    MUST(engine_open(n->fs, "/node", &n->options, &n->db));
}

static void begin_node(struct node *n, unsigned index, bool small)
{
    memset(n, 0, sizeof(*n));
    MUST(io_memory_new(&n->fs));
    n->options = (helios_options)HELIOS_OPTIONS_INIT;
    n->options.feed_retention = HELIOS_FOREVER;
    n->options.history_retention = HELIOS_FOREVER;
    n->options.block_cache_bytes = 1 << 20;
    n->options.memtable_bytes = small ? 64 << 10 : 1 << 20;
    n->options.node_id[0] = (uint8_t)(NODES - index);
    n->options.node_id[15] = 1;
    n->next = 1;
    n->apply = (helios_apply_options)HELIOS_APPLY_OPTIONS_INIT;
    random_seed(&n->rng, seed * 1000 + round_number * 10 + index);
    open_node(n);
}

static void open_feed(struct node *n)
{
    helios_changes_options options = HELIOS_CHANGES_OPTIONS_INIT;

    options.from = n->next;
    options.unsynced = true;
    options.for_apply = true;
    MUST(helios_changes_new(n->db, &options, &n->feed));
}

static void end_node(struct node *n)
{
    helios_changes_free(n->feed);
    MUST(helios_close(n->db));
    helios_buf_free(&n->message);
    io_free(n->fs);
}

/* The next commit of its feed into message; false: there is none yet. */
static bool read_commit(struct node *n)
{
    helios_change change;
    helios_status status;

    if (!n->feed)
        open_feed(n);
    n->message.size = 0;
    do {
        status = helios_changes_next(n->feed, 0, &change);
        if (status == HELIOS_TIMEOUT && n->message.size == 0)
            return false;
        MUST(status);
        CHECK(change.commit_begin == (n->message.size == 0));
        put_change(&n->message, &change);
    } while (!change.commit_end);
    n->next = change.commit + 1;
    return true;
}

/* False: not its turn yet. */
static bool deliver(struct node *n, helios_slice message)
{
    static __thread helios_change changes[GROUP_MAX];
    size_t count = take_changes(message, changes);
    helios_status status = helios_apply(n->db, &n->apply, changes, count, NULL);

    if (status == HELIOS_GAP)
        return false;
    MUST(status);
    return true;
}

/* ---- writing ---- */

static uint32_t below(struct node *n, uint32_t limit)
{
    return (uint32_t)random_below(&n->rng, limit);
}

static helios_slice key_at(char *out, uint32_t index)
{
    return slice_make(out, (size_t)sprintf(out, "key%02u", index));
}

static helios_slice draw_value(struct node *n, char out[32])
{
    size_t size = 0;

    for (char c = 'a'; c < 'i'; c++)
        if (below(n, 4) == 0)
            out[size++] = c;
    return slice_make(out, size);
}

static void add_op(struct node *n, helios_batch *batch)
{
    char key[16], end[16], value[32];
    uint32_t dice = below(n, 100), at = below(n, KEYS);

    if (dice < 60)
        helios_batch_put(batch, key_at(key, at), draw_value(n, value));
    else if (dice < 80)
        helios_batch_delete(batch, key_at(key, at));
    else
        helios_batch_delete_range(batch, key_at(key, at), key_at(end, at + 1 + below(n, 8)));
}

/* Through tables: more than a memtable takes. */
static void add_large(struct node *n, helios_batch *batch)
{
    static char value[3000];
    char key[32];

    memset(value, 'a', sizeof(value));
    for (int i = 0; i < 400; i++)
        helios_batch_put(batch, slice_make(key, (size_t)sprintf(key, "large%03d", i)),
                         slice_make(value, 1 + below(n, 2) * 2999));
}

static void write_some(struct node *n)
{
    helios_batch *batch = helios_batch_new();
    uint32_t ops = below(n, 3) == 0 ? 1 + below(n, 6) : 1;

    CHECK(batch);
    for (uint32_t i = 0; i < ops; i++)
        add_op(n, batch);
    if (below(n, 150) == 0)
        add_large(n, batch);
    MUST(helios_write(n->db, NULL, batch, NULL));
    helios_batch_free(batch);
}

/* ---- rules ---- */

static helios_slice absent_as_empty(bool has, helios_slice value)
{
    return has ? value : slice_make("", 0);
}

/* Of the letters of both. Any form of an equal answer is as good. */
static helios_resolution unite(void *arg, const helios_apply_conflict *c, helios_buf *value)
{
    helios_slice a = absent_as_empty(c->has_ours, c->ours), b = absent_as_empty(c->has_theirs, c->theirs);
    size_t i = 0, j = 0;

    (void)arg;
    CHECK(c->ours_clock.size && c->change->vector_clock.size && c->ours_seq);
    value->size = 0;
    while (i < a.size || j < b.size) {
        const unsigned char *x = slice_bytes(a) + i, *y = slice_bytes(b) + j;
        bool left = j == b.size || (i < a.size && *x <= *y);

        put_bytes(value, left ? x : y, 1);
        if (left && j < b.size && *x == *y)
            j++;
        i += left;
        j += !left;
    }
    if (c->has_ours && slice_equal(buf_slice(value), c->ours))
        return HELIOS_TAKE_OURS;
    return HELIOS_TAKE_VALUE;
}

/* A deletion is the least. */
static helios_resolution greatest(void *arg, const helios_apply_conflict *c, helios_buf *value)
{
    (void)arg;
    (void)value;
    if (!c->has_ours)
        return HELIOS_TAKE_THEIRS;
    if (!c->has_theirs)
        return HELIOS_TAKE_OURS;
    return slice_compare(c->ours, c->theirs) >= 0 ? HELIOS_TAKE_OURS : HELIOS_TAKE_THEIRS;
}

/* A deletion is the greatest. */
static helios_resolution deletion(void *arg, const helios_apply_conflict *c, helios_buf *value)
{
    if (!c->has_ours || !c->has_theirs)
        return HELIOS_TAKE_DELETE;
    return greatest(arg, c, value);
}

static helios_resolution (*const rules[])(void *, const helios_apply_conflict *,
                                          helios_buf *) = {NULL, unite, greatest, deletion};

/* ---- states ---- */

static void state_of(helios_db *db, helios_buf *out)
{
    helios_iter *it = NULL;

    out->size = 0;
    MUST(helios_iter_new(db, NULL, &it));
    for (helios_iter_first(it); helios_iter_valid(it); helios_iter_next(it)) {
        put_slice(out, helios_iter_key(it));
        put_slice(out, helios_iter_value(it));
    }
    MUST(helios_iter_status(it));
    helios_iter_free(it);
}

static void print_state(const char *name, helios_slice state)
{
    struct reader r = reader_make(state.data, state.size);

    fprintf(stderr, "%s:", name);
    while (reader_left(&r)) {
        helios_slice key = take_slice(&r), value = take_slice(&r);

        if (value.size < 100)
            fprintf(stderr, " %.*s=%.*s", (int)key.size, (const char *)key.data, (int)value.size,
                    (const char *)value.data);
    }
    fputc('\n', stderr);
}

static void check_equal(struct node nodes[NODES])
{
    helios_buf states[NODES] = {{0}};

    for (int i = 0; i < NODES; i++)
        state_of(nodes[i].db, &states[i]);
    for (int i = 1; i < NODES; i++)
        if (!slice_equal(buf_slice(&states[0]), buf_slice(&states[i]))) {
            print_state("one", buf_slice(&states[0]));
            print_state("other", buf_slice(&states[i]));
            CHECK(!"the states are equal");
        }
    for (int i = 0; i < NODES; i++)
        helios_buf_free(&states[i]);
}

/* ---- one program, one adversary ---- */

struct mail {
    helios_buf *messages;
    size_t count, capacity;
};

static void mail_add(struct mail *m, helios_slice message)
{
    if (m->count == m->capacity) {
        m->capacity = m->capacity ? 2 * m->capacity : 64;
        m->messages = realloc(m->messages, m->capacity * sizeof(*m->messages));
        CHECK(m->messages);
    }
    m->messages[m->count] = (helios_buf){0};
    put_bytes(&m->messages[m->count++], message.data, message.size);
}

static void mail_drop(struct mail *m, size_t at)
{
    helios_buf_free(&m->messages[at]);
    m->messages[at] = m->messages[--m->count];
}

struct world {
    struct node nodes[NODES];
    struct mail mail[NODES];
    bool links[NODES][NODES];
    struct random rng;
};

static bool read_feed(struct world *w, int from)
{
    if (!read_commit(&w->nodes[from]))
        return false;
    for (int to = 0; to < NODES; to++)
        if (to != from && w->links[from][to])
            mail_add(&w->mail[to], buf_slice(&w->nodes[from].message));
    return true;
}

/* A message of any place; repeated at times. */
static void deliver_one(struct world *w, int to)
{
    struct mail *m = &w->mail[to];
    size_t at = m->count ? (size_t)random_below(&w->rng, m->count) : 0;

    if (m->count && deliver(&w->nodes[to], buf_slice(&m->messages[at])) && random_below(&w->rng, 8))
        mail_drop(m, at);
}

/* Everything, in any order. A pass without anything that could be applied has to be the last. */
static bool deliver_all(struct world *w, int to)
{
    struct mail *m = &w->mail[to];
    bool any = m->count > 0, moved = true;

    while (m->count && moved) {
        moved = false;
        for (size_t i = m->count; i-- > 0;)
            if (deliver(&w->nodes[to], buf_slice(&m->messages[i]))) {
                mail_drop(m, i);
                moved = true;
            }
    }
    CHECK(m->count == 0);
    return any;
}

static void reopen(struct world *w, int at)
{
    struct node *n = &w->nodes[at];

    helios_changes_free(n->feed);
    n->feed = NULL;
    MUST(helios_close(n->db));
    open_node(n);
    if (random_below(&w->rng, 2)) /* what was sent before, once more */
        n->next = n->next > 20 ? n->next - random_below(&w->rng, 20) : 1;
}

static void act(struct world *w)
{
    int at = (int)random_below(&w->rng, NODES);
    uint64_t dice = random_below(&w->rng, 1000);

    if (dice < 350)
        write_some(&w->nodes[at]);
    else if (dice < 650)
        (void)read_feed(w, at);
    else if (dice < 990)
        deliver_one(w, at);
    else if (dice < 995)
        reopen(w, at);
    else
        MUST(helios_flush(w->nodes[at].db));
}

/* Until nobody has anything to say. */
static void settle(struct world *w)
{
    bool busy = true;
    int passes = 0;

    while (busy) {
        busy = false;
        for (int i = 0; i < NODES; i++)
            while (read_feed(w, i))
                busy = true;
        for (int i = 0; i < NODES; i++)
            busy |= deliver_all(w, i);
        CHECK(++passes < 200);
    }
}

/* All that was ever said once more: nothing changes. */
static void repeat_all(struct world *w)
{
    for (int i = 0; i < NODES; i++) {
        helios_changes_free(w->nodes[i].feed);
        w->nodes[i].feed = NULL;
        w->nodes[i].next = 1;
    }
    for (int i = 0; i < NODES; i++) {
        helios_seq before = helios_latest(w->nodes[i].db);

        for (int from = 0; from < NODES; from++) {
            w->nodes[from].next = 1;
            helios_changes_free(w->nodes[from].feed);
            w->nodes[from].feed = NULL;
            while (from != i && read_commit(&w->nodes[from]))
                CHECK(deliver(&w->nodes[i], buf_slice(&w->nodes[from].message)));
        }
        CHECK(helios_latest(w->nodes[i].db) == before);
    }
}

/* Everybody with everybody, or in a line or a circle. */
static void draw_links(struct world *w)
{
    uint64_t shape = random_below(&w->rng, 3);

    for (int i = 0; i < NODES; i++) {
        int next = (i + 1) % NODES;

        w->links[i][next] = true;
        if (shape == 1)
            continue;
        w->links[next][i] = true;
    }
    if (shape == 2)
        w->links[0][NODES - 1] = w->links[NODES - 1][0] = false;
}

static void exchange(void)
{
    static struct world w;
    int steps;

    memset(&w, 0, sizeof(w));
    random_seed(&w.rng, seed * 7919 + round_number);
    draw_links(&w);
    for (int i = 0; i < NODES; i++) {
        begin_node(&w.nodes[i], (unsigned)i, random_below(&w.rng, 2));
        w.nodes[i].apply.resolve = rules[round_number % 4];
    }
    steps = 100 + (int)random_below(&w.rng, 700);
    for (int i = 0; i < steps; i++)
        act(&w);
    settle(&w);
    check_equal(w.nodes);
    repeat_all(&w);
    check_equal(w.nodes);
    for (int i = 0; i < NODES; i++) {
        end_node(&w.nodes[i]);
        free(w.mail[i].messages);
    }
}

/* ---- threads and pipes ---- */

/* One way between two nodes. */
struct pipe_link {
    struct threaded *from, *to;
    int in, out;
    _Atomic uint64_t sent, done; /* messages; done: applied, or known already */
    pthread_t thread;
};

struct threaded {
    struct node node;
    struct pipe_link *links[NODES]; /* to the others; NULL: none */
    struct mail shelf[NODES];       /* held back for a while */
    uint32_t writes;
    _Atomic helios_seq drained; /* everything up to here was read from its feed, and sent */
    _Atomic bool wrote_all;
    pthread_t thread;
};
static _Atomic bool over;

static void write_pieces(struct node *n, int fd, const char *data, size_t size)
{
    while (size) {
        size_t piece = 1 + below(n, 700);
        ssize_t done = write(fd, data, piece < size ? piece : size);

        CHECK(done > 0);
        data += done;
        size -= (size_t)done;
    }
}

static void send_message(struct threaded *t, int to, size_t at)
{
    struct mail *m = &t->shelf[to];
    unsigned char size[8];

    put_u64(size, m->messages[at].size);
    atomic_fetch_add(&t->links[to]->sent, 1);
    write_pieces(&t->node, t->links[to]->in, (const char *)size, sizeof(size));
    write_pieces(&t->node, t->links[to]->in, m->messages[at].data, m->messages[at].size);
    if (below(&t->node, 10))
        mail_drop(m, at);
}

/* What there is, in another order; all of it, or what is too much for the shelf. */
static void send_some(struct threaded *t, size_t keep)
{
    for (int to = 0; to < NODES; to++)
        while (t->links[to] && t->shelf[to].count > keep)
            send_message(t, to, below(&t->node, (uint32_t)t->shelf[to].count));
}

static bool read_and_shelve(struct threaded *t)
{
    if (!read_commit(&t->node))
        return false;
    for (int to = 0; to < NODES; to++)
        if (t->links[to])
            mail_add(&t->shelf[to], buf_slice(&t->node.message));
    return true;
}

static void *run_writer(void *arg)
{
    struct threaded *t = arg;

    while (!atomic_load(&over)) {
        helios_seq latest = helios_latest(t->node.db);

        if (t->writes && below(&t->node, 3)) {
            write_some(&t->node);
            t->writes--;
        } else if (!read_and_shelve(t)) {
            send_some(t, 0);
            atomic_store(&t->wrote_all, t->writes == 0);
            atomic_store(&t->drained, latest);
            if (t->writes == 0)
                thread_sleep(200);
        }
        send_some(t, 6);
    }
    return NULL;
}

static bool read_all(int fd, void *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        ssize_t got = read(fd, (char *)data + at, size - at);

        if (got <= 0)
            return false;
        at += (size_t)got;
    }
    return true;
}

/* What is too early is kept, and tried again: others of its kind may come through another pipe. */
static void *run_reader(void *arg)
{
    struct pipe_link *link = arg;
    struct pollfd poll_fd = {.fd = link->out, .events = POLLIN};
    helios_buf message = {0};
    struct mail early = {0};

    while (poll(&poll_fd, 1, early.count ? 1 : -1) >= 0) {
        if (poll_fd.revents) {
            unsigned char size[8];

            if (!read_all(link->out, size, sizeof(size)))
                break;
            message.size = 0;
            MUST(buf_reserve(&message, get_u64(size)));
            message.size = get_u64(size);
            CHECK(read_all(link->out, message.data, message.size));
            mail_add(&early, buf_slice(&message));
        }
        for (size_t i = early.count; i-- > 0;)
            if (deliver(&link->to->node, buf_slice(&early.messages[i]))) {
                mail_drop(&early, i);
                atomic_fetch_add(&link->done, 1);
            }
    }
    CHECK(early.count == 0);
    free(early.messages);
    helios_buf_free(&message);
    return NULL;
}

/* Nobody writes, all feeds were read to their ends, all messages have arrived; and it was so for the whole look. */
static bool is_quiet(struct threaded nodes[NODES], struct pipe_link *links, size_t count)
{
    uint64_t before = 0, sent = 0;
    bool quiet = true;

    for (size_t i = 0; i < count; i++)
        before += atomic_load(&links[i].sent);
    for (int i = 0; i < NODES; i++)
        quiet &= atomic_load(&nodes[i].wrote_all) &&
                 atomic_load(&nodes[i].drained) == helios_latest(nodes[i].node.db);
    for (size_t i = 0; i < count; i++) {
        quiet &= atomic_load(&links[i].done) == atomic_load(&links[i].sent);
        sent += atomic_load(&links[i].sent);
    }
    for (int i = 0; i < NODES; i++)
        quiet &= atomic_load(&nodes[i].drained) == helios_latest(nodes[i].node.db);
    return quiet && sent == before;
}

static void threads(void)
{
    static struct threaded nodes[NODES];
    static struct pipe_link links[NODES * NODES];
    struct node plain[NODES];
    size_t count = 0;
    int ends[2];

    memset(nodes, 0, sizeof(nodes));
    memset(links, 0, sizeof(links));
    atomic_store(&over, false);
    for (int i = 0; i < NODES; i++) {
        begin_node(&nodes[i].node, (unsigned)i, false);
        nodes[i].node.apply.resolve = rules[round_number % 4];
        nodes[i].writes = 300;
    }
    for (int i = 0; i < NODES; i++)
        for (int j = 0; j < NODES; j++) {
            if (i == j || (round_number % 3 == 2 && i + j == NODES - 1)) /* at times in a line */
                continue;
            CHECK(pipe(ends) == 0);
            links[count] =
                (struct pipe_link){.from = &nodes[i], .to = &nodes[j], .in = ends[1], .out = ends[0]};
            nodes[i].links[j] = &links[count];
            CHECK(pthread_create(&links[count].thread, NULL, run_reader, &links[count]) == 0);
            count++;
        }
    for (int i = 0; i < NODES; i++)
        CHECK(pthread_create(&nodes[i].thread, NULL, run_writer, &nodes[i]) == 0);
    while (!is_quiet(nodes, links, count))
        thread_sleep(1000);
    atomic_store(&over, true);
    for (int i = 0; i < NODES; i++)
        pthread_join(nodes[i].thread, NULL);
    for (size_t i = 0; i < count; i++) {
        close(links[i].in);
        pthread_join(links[i].thread, NULL);
        close(links[i].out);
    }
    for (int i = 0; i < NODES; i++)
        plain[i] = nodes[i].node;
    check_equal(plain);
    for (int i = 0; i < NODES; i++) {
        end_node(&plain[i]);
        for (int j = 0; j < NODES; j++)
            free(nodes[i].shelf[j].messages);
    }
}

int main(int argc, char **argv)
{
    uint64_t rounds = 40;
    const char *mode = argc > 1 ? argv[1] : "exchange";

    for (int i = 2; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--rounds") == 0)
            rounds = strtoull(argv[i + 1], NULL, 10);
    }
    printf("%s, seed %" PRIu64 "\n", mode, seed);
    for (round_number = 0; round_number < rounds; round_number++)
        strcmp(mode, "threads") == 0 ? threads() : exchange();
    return 0;
}
