/* mixed.c - what a busy database sees, for as long as asked: does anybody ever wait? Reads, overwrites, scans, deletes and
 * batches, drawn uniformly over all keys; beside the latency of each operation that of the gets alone is kept. */
#include "bench/operations.h"

enum {
    PERCENT = 100,
    GETS = 50,
    PUTS = 30,
    SCANS = 8,
    DELETES = 8,
    SCAN_RECORDS = 50,
    MIXED_BATCH = 20,
    LOOK = 64
};

/* Each scan sees what is there when it begins: one cursor for all would hold every version since the first. */
static void scan(struct worker *w)
{
    void *cursor = w->engine->cursor_open(w->session);
    struct record record;
    char key[KEY_BYTES];
    bool valid;

    data_key(w->data, draw(w) * 2, key);
    valid = w->engine->seek(cursor, slice_make(key, KEY_BYTES), &record);
    for (int i = 0; valid && i < SCAN_RECORDS; i++) {
        touch(w, record.value);
        valid = w->engine->next(cursor, &record);
    }
    w->engine->cursor_close(cursor);
}

static void batch(struct worker *w)
{
    struct record records[MIXED_BATCH];
    char keys[MIXED_BATCH][KEY_BYTES];

    for (size_t i = 0; i < MIXED_BATCH; i++) {
        uint64_t index = draw(w);

        data_key(w->data, index * 2, keys[i]);
        records[i] = (struct record){slice_make(keys[i], KEY_BYTES), data_value(w->data, index, w->generation)};
    }
    w->engine->put_batch(w->session, records, MIXED_BATCH);
    count_written(w, records, MIXED_BATCH);
}

void mixed(struct worker *w)
{
    double end = seconds_now() + w->seconds;
    uint64_t start = ticks_now(), before;

    for (; w->ops % LOOK || seconds_now() < end; w->ops++) {
        unsigned coin = (unsigned)random_below(&w->random, PERCENT);
        bool read = coin < GETS;

        before = start;
        if (read)
            get(w, draw(w) * 2);
        else if (coin < GETS + PUTS)
            put(w, draw(w));
        else if (coin < GETS + PUTS + SCANS)
            scan(w);
        else if (coin < GETS + PUTS + SCANS + DELETES)
            del(w, draw(w));
        else
            batch(w);
        start = lap(w, start);
        if (read)
            histogram_add(&w->get_ticks, start - before);
    }
}
