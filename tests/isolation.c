/* isolation.c - see isolation.h. Versions of each key in order of commit numbers; the point that explains the reads
 * of each transaction; the graph; strongly connected components (Tarjan 1972) of parts of it. */
#undef NDEBUG
#include "tests/isolation.h"
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void *grown(void *array, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return array;
    *room = *room ? *room * 2 : 64;
    array = realloc(array, *room * size);
    assert(array);
    return array;
}

/* ---- recording ---- */

void iso_begin(struct iso_log *log, uint32_t id, enum iso_level level, uint64_t begin_min, uint64_t begin_max)
{
    assert(id != 0);
    log->txns = grown(log->txns, log->txn_count, &log->txn_room, sizeof(*log->txns));
    log->txns[log->txn_count++] = (struct iso_txn){.id = id,
                                                   .level = level,
                                                   .outcome = ISO_ABORTED,
                                                   .begin_min = begin_min,
                                                   .begin_max = begin_max,
                                                   .read_first = log->read_count,
                                                   .write_first = log->write_count};
}

void iso_read(struct iso_log *log, uint32_t key, uint32_t writer, uint16_t op, bool in_range)
{
    log->reads = grown(log->reads, log->read_count, &log->read_room, sizeof(*log->reads));
    log->reads[log->read_count++] = (struct iso_read){key, writer, op, in_range};
    log->txns[log->txn_count - 1].read_count++;
}

void iso_write(struct iso_log *log, uint32_t key, uint16_t op, bool deleted)
{
    log->writes = grown(log->writes, log->write_count, &log->write_room, sizeof(*log->writes));
    log->writes[log->write_count++] = (struct iso_write){0, key, op, deleted};
    log->txns[log->txn_count - 1].write_count++;
}

void iso_end(struct iso_log *log, enum iso_outcome outcome, uint64_t commit)
{
    log->txns[log->txn_count - 1].outcome = outcome;
    log->txns[log->txn_count - 1].commit = commit;
}

void iso_log_release(struct iso_log *log)
{
    free(log->txns);
    free(log->reads);
    free(log->writes);
    *log = (struct iso_log){0};
}

/* ---- what the check works on ---- */

struct version {
    uint64_t seq;
    uint32_t txn; /* index of the writer + 1; 0: the absence before all */
    uint16_t op;
    bool deleted;
};
struct key {
    struct version *versions; /* ascending; the first is the absence before all */
    size_t count, room;
};
struct node {
    const struct iso_txn *txn;
    const struct iso_log *log;
    uint64_t point; /* that explains its reads */
    bool explained;
};

enum edge_kind { EDGE_WW, EDGE_WR, EDGE_RW_ITEM, EDGE_RW_RANGE, EDGE_KINDS };
static const char *const edge_names[] = {"ww", "wr", "rw", "rw by range"};
struct edge {
    uint32_t from, to, key;
    enum edge_kind kind;
};

struct check {
    struct node *nodes;
    uint32_t node_count, id_max;
    uint32_t *index_of; /* id -> index + 1 */
    struct key *keys;
    uint32_t key_count;
    struct edge *edges;
    size_t edge_count, edge_room;
    unsigned found;
    FILE *out;
};

const char *iso_name(enum iso_anomaly anomaly)
{
    static const char *const names[] = {"broken record",
                                        "G0 (write cycle)",
                                        "G1a (read of what was rolled back)",
                                        "G1b (intermediate read)",
                                        "G1c (circular information flow)",
                                        "reads of no one commit number",
                                        "not the first to commit a key",
                                        "G-single",
                                        "fork (no two rw in a row)",
                                        "G2-item",
                                        "G2"};
    int bit = 0;

    while (anomaly >> (bit + 1))
        bit++;
    return names[bit];
}

/* Notes an anomaly; true if it is the first of its kind and to be told. */
static bool first_of(struct check *c, enum iso_anomaly anomaly)
{
    bool first = !(c->found & anomaly);

    c->found |= anomaly;
    if (first && c->out)
        fprintf(c->out, "%s: ", iso_name(anomaly));
    return first && c->out;
}

static void tell_txn(FILE *out, const struct node *n)
{
    const struct iso_txn *t = n->txn;

    fprintf(out, "  T%" PRIu32 " %s, %s %" PRIu64 ", begun in [%" PRIu64 ", %" PRIu64 "]\n    reads", t->id,
            t->level == ISO_SERIALIZABLE ? "serializable" : "snapshot",
            t->outcome == ISO_COMMITTED ? "commit" : "rolled back", t->commit, t->begin_min, t->begin_max);
    for (size_t i = 0; i < t->read_count && i < 200; i++) {
        const struct iso_read *r = &n->log->reads[t->read_first + i];

        fprintf(out, " %" PRIu32 "%s", r->key, r->in_range ? "~" : "=");
        if (r->writer)
            fprintf(out, "T%" PRIu32 ".%u", r->writer, r->op);
        else
            fprintf(out, "absent");
    }
    fprintf(out, "\n    writes");
    for (size_t i = 0; i < t->write_count && i < 200; i++) {
        const struct iso_write *w = &n->log->writes[t->write_first + i];

        fprintf(out, " %" PRIu32 "%s", w->key, w->deleted ? "-" : "");
    }
    fprintf(out, "\n");
}

static void tell_key(const struct check *c, uint32_t key, uint64_t near)
{
    const struct key *k = &c->keys[key];

    fprintf(c->out, "  versions of %" PRIu32 " near %" PRIu64 ":", key, near);
    for (size_t i = 0; i < k->count; i++)
        if (k->versions[i].seq + 60 >= near && k->versions[i].seq <= near + 60)
            fprintf(c->out, " %" PRIu64 "=T%" PRIu32 "%s", k->versions[i].seq,
                    k->versions[i].txn ? c->nodes[k->versions[i].txn - 1].txn->id : 0,
                    k->versions[i].deleted ? "-" : "");
    fprintf(c->out, "\n");
}

/* ---- nodes and versions ---- */

static void number_txns(struct check *c, const struct iso_log *logs, size_t count)
{
    for (size_t l = 0; l < count; l++) {
        c->node_count += (uint32_t)logs[l].txn_count;
        for (size_t i = 0; i < logs[l].txn_count; i++)
            if (logs[l].txns[i].id > c->id_max)
                c->id_max = logs[l].txns[i].id;
    }
    c->nodes = calloc(c->node_count + 1, sizeof(*c->nodes));
    c->index_of = calloc((size_t)c->id_max + 1, sizeof(*c->index_of));
    assert(c->nodes && c->index_of);
    c->node_count = 0;
    for (size_t l = 0; l < count; l++) {
        for (size_t i = 0; i < logs[l].txn_count; i++) {
            const struct iso_txn *t = &logs[l].txns[i];

            if (c->index_of[t->id] && first_of(c, ISO_BROKEN))
                fprintf(c->out, "T%" PRIu32 " is there twice\n", t->id);
            c->nodes[c->node_count++] = (struct node){.txn = t, .log = &logs[l]};
            c->index_of[t->id] = c->node_count;
        }
    }
}

static void add_version(struct key *k, struct version version)
{
    k->versions = grown(k->versions, k->count, &k->room, sizeof(*k->versions));
    k->versions[k->count++] = version;
}

static int compare_versions(const void *a, const void *b)
{
    const struct version *va = a, *vb = b;

    return va->seq < vb->seq ? -1 : va->seq > vb->seq;
}

/* In order, and without deletions of what was absent. */
static void settle_key(struct check *c, uint32_t key)
{
    struct key *k = &c->keys[key];
    size_t kept = 1;

    qsort(k->versions, k->count, sizeof(*k->versions), compare_versions);
    for (size_t i = 1; i < k->count; i++) {
        if (k->versions[i].seq == k->versions[i - 1].seq && first_of(c, ISO_BROKEN))
            fprintf(c->out, "two versions of key %" PRIu32 " are numbered %" PRIu64 "\n", key,
                    k->versions[i].seq);
        if (k->versions[i].deleted && k->versions[kept - 1].deleted)
            continue;
        k->versions[kept++] = k->versions[i];
    }
    k->count = kept;
}

static struct version version_of_write(const struct check *c, uint32_t index, const struct iso_write *w)
{
    return (struct version){w->seq ? w->seq : c->nodes[index].txn->commit, index + 1, w->op, w->deleted};
}

static void collect_versions(struct check *c)
{
    c->keys = calloc(c->key_count, sizeof(*c->keys));
    assert(c->keys);
    for (uint32_t key = 0; key < c->key_count; key++)
        add_version(&c->keys[key], (struct version){.deleted = true});
    for (uint32_t i = 0; i < c->node_count; i++) {
        const struct node *n = &c->nodes[i];

        if (n->txn->outcome != ISO_COMMITTED)
            continue;
        if ((n->txn->commit == 0) != (n->txn->write_count == 0) && first_of(c, ISO_BROKEN))
            fprintf(c->out, "T%" PRIu32 " has %zu writes and commit %" PRIu64 "\n", n->txn->id,
                    n->txn->write_count, n->txn->commit);
        for (size_t w = 0; w < n->txn->write_count; w++) {
            const struct iso_write *write = &n->log->writes[n->txn->write_first + w];

            assert(write->key < c->key_count);
            add_version(&c->keys[write->key], version_of_write(c, i, write));
        }
    }
    for (uint32_t key = 0; key < c->key_count; key++)
        settle_key(c, key);
}

/* Index of the newest version numbered at or below. */
static size_t version_at(const struct key *k, uint64_t point)
{
    size_t low = 0, high = k->count;

    while (low + 1 < high) {
        size_t middle = (low + high) / 2;

        if (k->versions[middle].seq <= point)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The number of the version that a transaction wrote of a key; 0: none. */
static uint64_t number_of(const struct check *c, uint32_t index, uint32_t key)
{
    const struct node *n = &c->nodes[index];

    for (size_t i = 0; i < n->txn->write_count; i++) {
        const struct iso_write *w = &n->log->writes[n->txn->write_first + i];

        if (w->key == key)
            return version_of_write(c, index, w).seq;
    }
    return 0;
}

/* ---- each read by itself ---- */

/* The index of the version that was read; 0 for a read that is wrong in itself or of nothing. */
static size_t version_read(struct check *c, const struct node *n, const struct iso_read *r)
{
    uint32_t writer = r->writer <= c->id_max ? c->index_of[r->writer] : 0;
    const struct iso_txn *w;
    const struct version *v;
    size_t at;

    if (writer == 0) {
        if (first_of(c, ISO_BROKEN))
            fprintf(c->out, "T%" PRIu32 " read key %" PRIu32 " of T%" PRIu32 ", which never was\n", n->txn->id,
                    r->key, r->writer);
        return 0;
    }
    w = c->nodes[writer - 1].txn;
    if (w->outcome != ISO_COMMITTED) {
        if (first_of(c, ISO_G1A))
            fprintf(c->out, "T%" PRIu32 " read key %" PRIu32 " of T%" PRIu32 "\n", n->txn->id, r->key, w->id);
        return 0;
    }
    at = version_at(&c->keys[r->key], number_of(c, writer - 1, r->key));
    v = &c->keys[r->key].versions[at];
    if (v->txn != writer || v->deleted || v->op != r->op) {
        if (first_of(c, ISO_G1B))
            fprintf(c->out, "T%" PRIu32 " read key %" PRIu32 " of T%" PRIu32 ", operation %u\n", n->txn->id,
                    r->key, w->id, r->op);
        return 0;
    }
    return at;
}

/* ---- the point that explains all reads of a transaction ---- */

static uint64_t version_end(const struct key *k, size_t at)
{
    return at + 1 < k->count ? k->versions[at + 1].seq - 1 : UINT64_MAX;
}

/* The range of points that its present reads allow; false if a read is wrong by itself, which was told. */
static bool narrow_point(struct check *c, const struct node *n, uint64_t *low, uint64_t *high)
{
    bool right = true;

    for (size_t i = 0; i < n->txn->read_count; i++) {
        const struct iso_read *r = &n->log->reads[n->txn->read_first + i];
        const struct key *k = &c->keys[r->key];
        size_t at;

        assert(r->key < c->key_count);
        if (r->writer == 0)
            continue;
        at = version_read(c, n, r);
        right &= at != 0;
        if (at == 0)
            continue;
        *low = k->versions[at].seq > *low ? k->versions[at].seq : *low;
        *high = version_end(k, at) < *high ? version_end(k, at) : *high;
    }
    return right;
}

/* The largest point in [low, high] at which all that was found absent is absent. Any point that explains the
 * reads is as good as the true one; the largest has the fewest rw edges. */
static bool lower_point(struct check *c, const struct node *n, uint64_t low, uint64_t *point)
{
    for (bool moved = true; moved;) {
        moved = false;
        for (size_t i = 0; i < n->txn->read_count; i++) {
            const struct iso_read *r = &n->log->reads[n->txn->read_first + i];
            const struct key *k = &c->keys[r->key];
            size_t at;

            if (r->writer != 0)
                continue;
            at = version_at(k, *point);
            if (k->versions[at].deleted)
                continue;
            *point = k->versions[at].seq - 1; /* what is before a value is absent or another value */
            moved = true;
            if (*point < low || *point == UINT64_MAX)
                return false;
        }
    }
    return true;
}

static void explain_reads(struct check *c, struct node *n)
{
    uint64_t low = n->txn->begin_min, high = n->txn->begin_max, commit = n->txn->commit;
    bool right;

    if (n->txn->outcome == ISO_COMMITTED && commit && commit - 1 < high)
        high = commit - 1;
    right = narrow_point(c, n, &low, &high);
    n->point = high;
    n->explained = right && low <= high && lower_point(c, n, low, &n->point);
    if (n->explained || !right)
        return;
    if (first_of(c, ISO_NO_SNAPSHOT)) {
        fprintf(c->out, "T%" PRIu32 ": present reads want [%" PRIu64 ", %" PRIu64 "]\n", n->txn->id, low, high);
        tell_txn(c->out, n);
        for (size_t i = 0; i < n->txn->read_count && i < 40; i++)
            tell_key(c, n->log->reads[n->txn->read_first + i].key, high);
    }
}

/* A key that it wrote was committed by another between its begin and its commit. */
static void check_first(struct check *c, uint32_t index)
{
    const struct node *n = &c->nodes[index];

    for (size_t i = 0; i < n->txn->write_count; i++) {
        const struct iso_write *w = &n->log->writes[n->txn->write_first + i];
        const struct key *k = &c->keys[w->key];
        const struct version *v = &k->versions[version_at(k, n->txn->commit - 1)];

        if (v->seq > n->txn->begin_max && v->txn != index + 1 && first_of(c, ISO_NOT_FIRST)) {
            fprintf(c->out, "T%" PRIu32 " wrote key %" PRIu32 ", which T%" PRIu32 " committed at %" PRIu64 "\n",
                    n->txn->id, w->key, c->nodes[v->txn - 1].txn->id, v->seq);
            tell_txn(c->out, n);
        }
    }
}

/* ---- the graph ---- */

static void add_edge(struct check *c, uint32_t from, uint32_t to, uint32_t key, enum edge_kind kind)
{
    if (from == to)
        return;
    c->edges = grown(c->edges, c->edge_count, &c->edge_room, sizeof(*c->edges));
    c->edges[c->edge_count++] = (struct edge){from, to, key, kind};
}

/* The version that a read is of. Absence without an explaining point is taken at its latest, which accuses least. */
static size_t version_of(const struct check *c, const struct node *n, const struct iso_read *r)
{
    const struct key *k = &c->keys[r->key];
    size_t at;

    if (r->writer != 0)
        return version_at(k, number_of(c, c->index_of[r->writer] - 1, r->key));
    at = version_at(k, n->explained || !n->txn->commit ? n->point : n->txn->commit - 1);
    while (!k->versions[at].deleted)
        at--;
    return at;
}

static void add_reads(struct check *c, uint32_t index)
{
    const struct node *n = &c->nodes[index];

    for (size_t i = 0; i < n->txn->read_count; i++) {
        const struct iso_read *r = &n->log->reads[n->txn->read_first + i];
        const struct key *k = &c->keys[r->key];
        uint32_t writer = r->writer <= c->id_max ? c->index_of[r->writer] : 0;
        size_t at;

        if (r->writer && (!writer || c->nodes[writer - 1].txn->outcome != ISO_COMMITTED))
            continue; /* told already */
        at = version_of(c, n, r);
        if (k->versions[at].txn)
            add_edge(c, k->versions[at].txn - 1, index, r->key, EDGE_WR);
        if (at + 1 < k->count)
            add_edge(c, index, k->versions[at + 1].txn - 1, r->key, r->in_range ? EDGE_RW_RANGE : EDGE_RW_ITEM);
    }
}

static void build_graph(struct check *c)
{
    for (uint32_t key = 0; key < c->key_count; key++)
        for (size_t i = 2; i < c->keys[key].count; i++)
            add_edge(c, c->keys[key].versions[i - 1].txn - 1, c->keys[key].versions[i].txn - 1, key, EDGE_WW);
    for (uint32_t i = 0; i < c->node_count; i++)
        if (c->nodes[i].txn->outcome == ISO_COMMITTED)
            add_reads(c, i);
}

/* ---- components ---- */

/* A part of the graph as lists of targets. With no_two, a node is two: reached by a dependency (2n) or by an rw
 * (2n + 1), from where no other rw leaves; so its cycles are those without two rw in a row. */
struct part {
    uint32_t node_count;
    size_t *first; /* of a node's edges; node_count + 1 */
    uint32_t *to, *edge;
};

static bool takes(const struct check *c, const struct edge *e, unsigned kinds, bool strict_only)
{
    bool is_rw = e->kind == EDGE_RW_ITEM || e->kind == EDGE_RW_RANGE;

    return (kinds >> e->kind & 1) &&
           !(strict_only && is_rw && c->nodes[e->from].txn->level != ISO_SERIALIZABLE);
}

static void part_place(struct part *p, size_t *at, uint32_t from, uint32_t to, uint32_t edge)
{
    if (p->to) {
        p->to[at[from]] = to;
        p->edge[at[from]] = edge;
    }
    at[from]++;
}

static void part_walk(const struct check *c, struct part *p, size_t *at, unsigned kinds, bool strict_only,
                      bool no_two)
{
    for (size_t i = 0; i < c->edge_count; i++) {
        const struct edge *e = &c->edges[i];
        bool is_rw = e->kind == EDGE_RW_ITEM || e->kind == EDGE_RW_RANGE;

        if (!takes(c, e, kinds, strict_only))
            continue;
        if (!no_two) {
            part_place(p, at, e->from, e->to, (uint32_t)i);
            continue;
        }
        part_place(p, at, e->from * 2, e->to * 2 + is_rw, (uint32_t)i);
        if (!is_rw)
            part_place(p, at, e->from * 2 + 1, e->to * 2, (uint32_t)i);
    }
}

static struct part part_new(const struct check *c, unsigned kinds, bool strict_only, bool no_two)
{
    struct part p = {.node_count = c->node_count * (no_two ? 2 : 1)};
    size_t *at = calloc((size_t)p.node_count + 1, sizeof(*at)), sum = 0;

    p.first = calloc((size_t)p.node_count + 1, sizeof(*p.first));
    assert(at && p.first);
    part_walk(c, &p, at, kinds, strict_only, no_two);
    for (uint32_t i = 0; i < p.node_count; i++) {
        p.first[i] = sum;
        sum += at[i];
        at[i] = p.first[i];
    }
    p.first[p.node_count] = sum;
    p.to = malloc((sum + 1) * sizeof(*p.to));
    p.edge = malloc((sum + 1) * sizeof(*p.edge));
    assert(p.to && p.edge);
    part_walk(c, &p, at, kinds, strict_only, no_two);
    free(at);
    return p;
}

static void part_free(struct part *p)
{
    free(p->first);
    free(p->to);
    free(p->edge);
}

struct tarjan {
    uint32_t *index, *low, *stack, *path;
    size_t *next;
    bool *on_stack;
    uint32_t stack_count, path_count, counter;
};

static void tarjan_enter(struct tarjan *t, const struct part *p, uint32_t node)
{
    t->index[node] = t->low[node] = ++t->counter;
    t->next[node] = p->first[node];
    t->stack[t->stack_count++] = node;
    t->on_stack[node] = true;
    t->path[t->path_count++] = node;
}

/* Goes on at the end of the path; a node of a component of more than one, or UINT32_MAX. The first will do. */
static uint32_t tarjan_step(struct tarjan *t, const struct part *p)
{
    uint32_t node = t->path[t->path_count - 1], other, size = 0;

    while (t->next[node] < p->first[node + 1]) {
        other = p->to[t->next[node]++];
        if (!t->index[other]) {
            tarjan_enter(t, p, other);
            return UINT32_MAX;
        }
        if (t->on_stack[other] && t->index[other] < t->low[node])
            t->low[node] = t->index[other];
    }
    t->path_count--;
    if (t->path_count && t->low[node] < t->low[t->path[t->path_count - 1]])
        t->low[t->path[t->path_count - 1]] = t->low[node];
    if (t->low[node] != t->index[node])
        return UINT32_MAX;
    do {
        other = t->stack[--t->stack_count];
        t->on_stack[other] = false;
        size++;
    } while (other != node);
    return size > 1 ? node : UINT32_MAX;
}

static uint32_t find_component(const struct part *p)
{
    size_t n = (size_t)p->node_count + 1;
    struct tarjan t = {.index = calloc(n, sizeof(uint32_t)),
                       .low = calloc(n, sizeof(uint32_t)),
                       .stack = calloc(n, sizeof(uint32_t)),
                       .path = calloc(n, sizeof(uint32_t)),
                       .next = calloc(n, sizeof(size_t)),
                       .on_stack = calloc(n, sizeof(bool))};
    uint32_t found = UINT32_MAX;

    assert(t.index && t.low && t.stack && t.path && t.next && t.on_stack);
    for (uint32_t i = 0; i < p->node_count && found == UINT32_MAX; i++) {
        if (t.index[i])
            continue;
        tarjan_enter(&t, p, i);
        while (t.path_count && found == UINT32_MAX)
            found = tarjan_step(&t, p);
    }
    free(t.index);
    free(t.low);
    free(t.stack);
    free(t.path);
    free(t.next);
    free(t.on_stack);
    return found;
}

/* The shortest way from a node that is on a cycle back to it, as edges, last first. */
static size_t shortest_cycle(const struct part *p, uint32_t start, uint32_t *edges)
{
    uint32_t *queue = malloc(((size_t)p->node_count + 1) * sizeof(*queue)), head = 0, tail = 0;
    size_t *by = calloc((size_t)p->node_count + 1, sizeof(*by)); /* place of the edge it was reached by, + 1 */
    uint32_t *before = calloc((size_t)p->node_count + 1, sizeof(*before));
    size_t count = 0;

    assert(queue && by && before);
    queue[tail++] = start;
    while (head < tail && !by[start]) {
        uint32_t node = queue[head++];

        for (size_t i = p->first[node]; i < p->first[node + 1]; i++) {
            if (by[p->to[i]])
                continue;
            by[p->to[i]] = i + 1;
            before[p->to[i]] = node;
            queue[tail++] = p->to[i];
        }
    }
    assert(by[start]);
    for (uint32_t node = start; count == 0 || node != start; node = before[node])
        edges[count++] = p->edge[by[node] - 1];
    free(queue);
    free(by);
    free(before);
    return count;
}

static void tell_cycle(const struct check *c, const uint32_t *edges, size_t count)
{
    fprintf(c->out, "a cycle of %zu\n", count);
    for (size_t i = count; i > 0; i--) {
        const struct edge *e = &c->edges[edges[i - 1]];

        fprintf(c->out, "  T%" PRIu32 " -%s, key %" PRIu32 "-> T%" PRIu32 "\n", c->nodes[e->from].txn->id,
                edge_names[e->kind], e->key, c->nodes[e->to].txn->id);
    }
    for (size_t i = count; i > 0; i--)
        tell_txn(c->out, &c->nodes[c->edges[edges[i - 1]].from]);
}

/* Looks for a cycle in a part of the graph; the fewer rw edges it has, the worse its name. */
static void look_for(struct check *c, unsigned kinds, bool strict_only, bool no_two)
{
    struct part p = part_new(c, kinds, strict_only, no_two);
    uint32_t at = find_component(&p), *edges;
    unsigned items = 0, ranges = 0, reads = 0;
    enum iso_anomaly name;
    size_t count;

    if (at == UINT32_MAX) {
        part_free(&p);
        return;
    }
    edges = malloc(((size_t)p.node_count + 1) * sizeof(*edges));
    assert(edges);
    count = shortest_cycle(&p, at, edges);
    for (size_t i = 0; i < count; i++) {
        items += c->edges[edges[i]].kind == EDGE_RW_ITEM;
        ranges += c->edges[edges[i]].kind == EDGE_RW_RANGE;
        reads += c->edges[edges[i]].kind == EDGE_WR;
    }
    if (items + ranges == 0)
        name = reads ? ISO_G1C : ISO_G0;
    else if (items + ranges == 1)
        name = ISO_G_SINGLE;
    else if (no_two)
        name = ISO_FORK;
    else
        name = ranges ? ISO_G2 : ISO_G2_ITEM;
    if (first_of(c, name))
        tell_cycle(c, edges, count);
    free(edges);
    part_free(&p);
}

/* ---- the whole ---- */

static void check_release(struct check *c)
{
    for (uint32_t key = 0; key < c->key_count; key++)
        free(c->keys[key].versions);
    free(c->keys);
    free(c->edges);
    free(c->nodes);
    free(c->index_of);
}

unsigned iso_check(const struct iso_log *logs, size_t count, uint32_t keys, FILE *out)
{
    enum { DEPENDENCIES = 1 << EDGE_WW | 1 << EDGE_WR, ITEMS = DEPENDENCIES | 1 << EDGE_RW_ITEM };
    enum { ALL = ITEMS | 1 << EDGE_RW_RANGE };
    struct check c = {.key_count = keys, .out = out};

    number_txns(&c, logs, count);
    collect_versions(&c);
    for (uint32_t i = 0; i < c.node_count; i++) {
        explain_reads(&c, &c.nodes[i]);
        if (c.nodes[i].txn->outcome == ISO_COMMITTED)
            check_first(&c, i);
    }
    build_graph(&c);
    look_for(&c, 1 << EDGE_WW, false, false);
    look_for(&c, DEPENDENCIES, false, false);
    look_for(&c, ALL, false, true);
    look_for(&c, ITEMS, true, false);
    look_for(&c, ALL, true, false);
    check_release(&c);
    return c.found;
}

void iso_versions(const struct iso_log *logs, size_t count, uint32_t key,
                  void (*each)(void *arg, uint32_t writer, uint16_t op, bool deleted), void *arg)
{
    struct check c = {.key_count = key + 1};

    number_txns(&c, logs, count);
    c.keys = calloc(c.key_count, sizeof(*c.keys));
    assert(c.keys);
    for (uint32_t i = 0; i < c.node_count; i++) {
        const struct node *n = &c.nodes[i];

        for (size_t w = 0; w < n->txn->write_count && n->txn->outcome == ISO_COMMITTED; w++) {
            const struct iso_write *write = &n->log->writes[n->txn->write_first + w];

            if (write->key == key)
                add_version(&c.keys[key], version_of_write(&c, i, write));
        }
    }
    qsort(c.keys[key].versions, c.keys[key].count, sizeof(struct version), compare_versions);
    for (size_t i = 0; i < c.keys[key].count; i++) {
        const struct version *v = &c.keys[key].versions[i];

        each(arg, c.nodes[v->txn - 1].txn->id, v->op, v->deleted);
    }
    check_release(&c);
}
