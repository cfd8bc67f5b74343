/* feed.c - bench-feed: what it costs to keep the change feed, to read it back, to seek in it and to follow it. Helios
 * alone, through its public header.
 *
 * Each comparison takes turns, so that a busy machine slows both sides of a ratio. */
#include "bench/feed.h"

helios_db *feed_db_open(const char *name, bool feed)
{
    helios_options options = HELIOS_OPTIONS_INIT;
    helios_db *db = NULL;
    char path[PATH_BYTES];

    path_of(name, path);
    options.feed_retention = feed ? HELIOS_FOREVER : 0;
    must(helios_open(path, &options, &db), "open");
    return db;
}

void feed_fill(helios_db *db, uint64_t from, uint64_t count, unsigned generation, size_t batch_size)
{
    helios_batch *batch = helios_batch_new();

    for (uint64_t i = 0; i < count; i++) {
        uint64_t index = data_scatter(&data, (from + i) % data.count);
        char key[KEY_BYTES];

        data_key(&data, index * 2, key);
        if (batch_size == 1) {
            must(helios_put(db, NULL, slice_make(key, sizeof(key)), data_value(&data, index, generation)),
                 "put");
            continue;
        }
        helios_batch_put(batch, slice_make(key, sizeof(key)), data_value(&data, index, generation));
        if ((i + 1) % batch_size == 0 || i + 1 == count) {
            must(helios_write(db, NULL, batch, NULL), "write");
            helios_batch_clear(batch);
        }
    }
    helios_batch_free(batch);
}

helios_changes *changes_open(helios_db *db, const helios_changes_options *options)
{
    helios_changes *changes = NULL;

    must(helios_changes_new(db, options, &changes), "changes");
    return changes;
}

static const struct part parts[] = {{"scan", measure_scans},
                                    {"seek", measure_seeks},
                                    {"filter", measure_filter},
                                    {"follow", measure_follow},
                                    {"overhead", measure_overhead}};
static const struct suite suite = {"bench-feed", parts, sizeof(parts) / sizeof(parts[0]), NULL, 0};

int main(int argc, char **argv)
{
    return suite_main(&suite, argc, argv);
}
