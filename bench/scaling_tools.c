/* scaling_tools.c - the database of a part and the loops over it. */
#include "bench/scaling.h"

enum { NEXTS = 10, LINE = 64, QUICK = 100 };

uint64_t at_most(uint64_t count)
{
    return settings.quick && count > QUICK * 10 ? count / QUICK : count;
}

void point_add(const char *curve, const char *operation, const char *unit, uint64_t x, double seconds,
               uint64_t count)
{
    printf("{\"curve\": \"%s\", \"operation\": \"%s\", \"unit\": \"%s\", \"x\": %" PRIu64
           ", \"nanos\": %.1f}\n",
           curve, operation, unit, x, seconds * 1e9 / (double)count);
    fflush(stdout);
}

void scaled_reopen(struct scaled *s)
{
    helios_options options = HELIOS_OPTIONS_INIT;

    options.history_retention = s->retention;
    must(helios_open(s->path, &options, &s->db), "open");
}

void scaled_open(struct scaled *s, const char *name, uint64_t keys, size_t value_bytes, uint64_t retention)
{
    *s = (struct scaled){.retention = retention};
    data_init(&s->data, keys, value_bytes, false);
    path_of(name, s->path);
    scaled_reopen(s);
}

void scaled_settle(struct scaled *s)
{
    must(helios_flush(s->db), "flush");
    process_wait_idle();
}

void scaled_close(struct scaled *s)
{
    must(helios_close(s->db), "close");
    must(helios_destroy(s->path), "destroy");
    data_release(&s->data);
}

/* A byte in each cache line, so that a value that was left on disk is loaded. */
static void touch(helios_slice value)
{
    volatile const unsigned char *bytes = value.data;

    for (size_t i = 0; i < value.size; i += LINE)
        (void)bytes[i];
}

static void put_index(struct scaled *s, const helios_write_options *options, uint64_t index,
                      unsigned generation)
{
    char key[KEY_BYTES];

    data_key(&s->data, index * 2, key);
    must(helios_put(s->db, options, slice_make(key, KEY_BYTES), data_value(&s->data, index, generation)),
         "put");
}

static helios_write_options writing(const struct scaled *s, helios_durability durability)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;

    options.branch = s->branch;
    options.durability = durability;
    return options;
}

static helios_read_options reading(const struct scaled *s)
{
    helios_read_options options = HELIOS_READ_OPTIONS_INIT;

    options.branch = s->branch;
    options.at = s->at;
    return options;
}

double put_all(struct scaled *s, unsigned generation)
{
    helios_write_options options = writing(s, HELIOS_DURABILITY_DEFAULT);
    double start = seconds_now();

    for (uint64_t i = 0; i < s->data.count; i++)
        put_index(s, &options, data_scatter(&s->data, i), generation);
    return seconds_now() - start;
}

double put_drawn(struct scaled *s, uint64_t count, helios_durability durability, uint64_t seed)
{
    helios_write_options options = writing(s, durability);
    struct random random;
    double start;

    random_seed(&random, seed);
    start = seconds_now();
    for (uint64_t i = 0; i < count; i++)
        put_index(s, &options, random_below(&random, s->data.count), 1);
    return seconds_now() - start;
}

double get_drawn(struct scaled *s, uint64_t count, bool absent, uint64_t seed)
{
    helios_read_options options = reading(s);
    helios_buf value = {0};
    uint64_t found = 0;
    struct random random;
    double start;

    random_seed(&random, seed);
    start = seconds_now();
    for (uint64_t i = 0; i < count; i++) {
        char key[KEY_BYTES];
        helios_status status;

        data_key(&s->data, random_below(&random, s->data.count) * 2 + absent, key);
        status = helios_get(s->db, &options, slice_make(key, KEY_BYTES), &value);
        if (status != HELIOS_NOT_FOUND)
            must(status, "get");
        found += status == HELIOS_OK;
    }
    start = seconds_now() - start;
    if (found != (absent ? 0 : count))
        bench_die("%" PRIu64 " of %" PRIu64 " keys were found", found, count);
    helios_buf_free(&value);
    return start;
}

double seek_drawn(struct scaled *s, uint64_t count)
{
    helios_read_options options = reading(s);
    helios_iter *iter = NULL;
    struct random random;
    double start;

    random_seed(&random, 1);
    must(helios_iter_new(s->db, &options, &iter), "iterator");
    start = seconds_now();
    for (uint64_t i = 0; i < count; i++) {
        char key[KEY_BYTES];

        data_key(&s->data, random_below(&random, s->data.count) * 2, key);
        helios_iter_seek(iter, slice_make(key, KEY_BYTES));
        for (int k = 0; k < NEXTS && helios_iter_valid(iter); k++)
            helios_iter_next(iter);
    }
    start = seconds_now() - start;
    must(helios_iter_status(iter), "iterator");
    helios_iter_free(iter);
    return start;
}

double scan_steps(struct scaled *s, uint64_t count)
{
    helios_read_options options = reading(s);
    helios_iter *iter = NULL;
    double start = seconds_now();

    must(helios_iter_new(s->db, &options, &iter), "iterator");
    for (uint64_t i = 0; i < count; i++) {
        if (helios_iter_valid(iter))
            helios_iter_next(iter);
        else
            helios_iter_first(iter);
        if (helios_iter_valid(iter))
            touch(helios_iter_value(iter));
    }
    start = seconds_now() - start;
    must(helios_iter_status(iter), "iterator");
    helios_iter_free(iter);
    return start;
}
