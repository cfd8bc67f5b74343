/* bench_workloads.c - what one thread does in each workload of `heliosctl bench`.
 *
 * Keys are 16 digits; those that exist are even, those asked for in vain odd, so that a miss falls
 * between hits. Values are half random, so that they compress about two to one. */
#include "tools/bench.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t nanos_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static helios_slice make_key(char key[BENCH_KEY_BYTES], uint64_t number)
{
    for (int i = BENCH_KEY_BYTES - 1; i >= 0; i--) {
        key[i] = (char)('0' + number % 10);
        number /= 10;
    }
    return (helios_slice){key, BENCH_KEY_BYTES};
}

/* A permutation of [0, count): four Feistel rounds on the next power of four, walked until in range. */
static uint64_t permute(uint64_t index, uint64_t count)
{
    unsigned half = 1;

    while (half < 32 && (uint64_t)1 << (2 * half) < count)
        half++;
    do {
        uint64_t mask = ((uint64_t)1 << half) - 1, left = index >> half, right = index & mask;

        for (uint64_t round = 1; round <= 4; round++) {
            uint64_t mixed = (right + round * 0x9E3779B97F4A7C15u) * 0xD1B54A32D192ED03u,
                     next = left ^ (mixed >> 32 & mask);

            left = right;
            right = next;
        }
        index = left << half | right;
    } while (index >= count);
    return index;
}

static char *make_value(struct bench_job *job)
{
    size_t size = (size_t)job->setup->value_bytes, half = (size + 1) / 2;
    char *value = xalloc(size + 1);

    for (size_t i = 0; i < half; i++)
        value[i] = (char)random_next(&job->random);
    if (size > half)
        memcpy(value + half, value, size - half);
    return value;
}

/* A few of the value's bytes change from one operation to the next. */
static helios_slice next_value(struct bench_job *job, char *value)
{
    uint64_t mark = random_next(&job->random);

    if (job->setup->value_bytes >= sizeof(mark))
        memcpy(value, &mark, sizeof(mark));
    return (helios_slice){value, (size_t)job->setup->value_bytes};
}

static helios_status put_numbers(struct bench_job *job, uint64_t (*number)(struct bench_job *, uint64_t index))
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    char key[BENCH_KEY_BYTES], *value = make_value(job);
    helios_status status = HELIOS_OK;

    options.durability = job->workload->durability;
    for (uint64_t i = job->from; i < job->to && status == HELIOS_OK; i++) {
        helios_slice key_slice = make_key(key, number(job, i) * 2), value_slice = next_value(job, value);
        uint64_t start = nanos_now();

        status = helios_put(job->db, &options, key_slice, value_slice);
        histogram_add(&job->nanos, nanos_now() - start);
        job->bytes += key_slice.size + value_slice.size;
    }
    free(value);
    return status;
}

static uint64_t number_sequential(struct bench_job *job, uint64_t index)
{
    return index;
}

static uint64_t number_permuted(struct bench_job *job, uint64_t index)
{
    return permute(index, job->setup->count);
}

static uint64_t number_random(struct bench_job *job, uint64_t index)
{
    return random_below(&job->random, job->setup->count);
}

static helios_status run_fillseq(struct bench_job *job)
{
    return put_numbers(job, number_sequential);
}

static helios_status run_fillrandom(struct bench_job *job)
{
    return put_numbers(job, number_permuted);
}

static helios_status run_overwrite(struct bench_job *job)
{
    return put_numbers(job, number_random);
}

static helios_status run_fillbatch(struct bench_job *job)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    char key[BENCH_KEY_BYTES], *value = make_value(job);
    helios_batch *batch = helios_batch_new();
    helios_status status = batch ? HELIOS_OK : HELIOS_NO_MEMORY;

    options.durability = job->workload->durability;
    for (uint64_t i = job->from; i < job->to && status == HELIOS_OK; i++) {
        uint64_t start = nanos_now();

        helios_batch_clear(batch);
        for (uint64_t k = 0; k < BENCH_BATCH; k++) {
            helios_slice value_slice = next_value(job, value);

            helios_batch_put(batch, make_key(key, permute(i * BENCH_BATCH + k, job->setup->count) * 2),
                             value_slice);
            job->bytes += BENCH_KEY_BYTES + value_slice.size;
        }
        status = helios_write(job->db, &options, batch, NULL);
        histogram_add(&job->nanos, nanos_now() - start);
    }
    helios_batch_free(batch);
    free(value);
    return status;
}

static helios_status get_numbers(struct bench_job *job, uint64_t odd)
{
    helios_buf value = {0};
    char key[BENCH_KEY_BYTES];
    helios_status status = HELIOS_OK;

    for (uint64_t i = job->from; i < job->to; i++) {
        helios_slice key_slice = make_key(key, random_below(&job->random, job->setup->count) * 2 + odd);
        uint64_t start = nanos_now();

        status = helios_get(job->db, NULL, key_slice, &value);
        histogram_add(&job->nanos, nanos_now() - start);
        if (status == HELIOS_OK) {
            job->found++;
            job->bytes += value.size;
        } else if (status != HELIOS_NOT_FOUND) {
            break;
        }
        status = HELIOS_OK;
    }
    helios_buf_free(&value);
    return status;
}

static helios_status run_readrandom(struct bench_job *job)
{
    return get_numbers(job, 0);
}

static helios_status run_readmissing(struct bench_job *job)
{
    return get_numbers(job, 1);
}

static helios_status walk(struct bench_job *job, bool reverse)
{
    helios_iter *iter;
    helios_status status = helios_iter_new(job->db, NULL, &iter);

    if (status != HELIOS_OK)
        return status;
    if (reverse)
        helios_iter_last(iter);
    else
        helios_iter_first(iter);
    for (uint64_t i = job->from; i < job->to && helios_iter_valid(iter); i++) {
        uint64_t start = nanos_now();

        job->bytes += helios_iter_key(iter).size + helios_iter_value(iter).size;
        job->found++;
        if (reverse)
            helios_iter_prev(iter);
        else
            helios_iter_next(iter);
        histogram_add(&job->nanos, nanos_now() - start);
    }
    status = helios_iter_status(iter);
    helios_iter_free(iter);
    return status;
}

static helios_status run_readseq(struct bench_job *job)
{
    return walk(job, false);
}

static helios_status run_readreverse(struct bench_job *job)
{
    return walk(job, true);
}

static helios_status run_seekrandom(struct bench_job *job)
{
    helios_iter *iter;
    char key[BENCH_KEY_BYTES];
    helios_status status = helios_iter_new(job->db, NULL, &iter);

    if (status != HELIOS_OK)
        return status;
    for (uint64_t i = job->from; i < job->to; i++) {
        uint64_t start = nanos_now();

        helios_iter_seek(iter, make_key(key, random_below(&job->random, job->setup->count) * 2));
        for (int k = 0; k < BENCH_NEXTS && helios_iter_valid(iter); k++) {
            job->bytes += helios_iter_key(iter).size + helios_iter_value(iter).size;
            helios_iter_next(iter);
        }
        histogram_add(&job->nanos, nanos_now() - start);
    }
    status = helios_iter_status(iter);
    helios_iter_free(iter);
    return status;
}

static helios_status run_deleterandom(struct bench_job *job)
{
    helios_write_options options = HELIOS_WRITE_OPTIONS_INIT;
    char key[BENCH_KEY_BYTES];
    helios_status status = HELIOS_OK;

    options.durability = job->workload->durability;
    for (uint64_t i = job->from; i < job->to && status == HELIOS_OK; i++) {
        helios_slice key_slice = make_key(key, number_random(job, i) * 2);
        uint64_t start = nanos_now();

        status = helios_delete(job->db, &options, key_slice);
        histogram_add(&job->nanos, nanos_now() - start);
        job->bytes += key_slice.size;
    }
    return status;
}

const struct bench_workload bench_workloads[] = {
    {"fillsync", "put, on disk before it returns", false, 1000, 1, HELIOS_DURABILITY_SYNC, run_overwrite},
    {"fillsync16", "the same, 16 threads", false, 100, 16, HELIOS_DURABILITY_SYNC, run_overwrite},
    {"fillseq", "put in order, new database", true, 1, 0, HELIOS_DURABILITY_DEFAULT, run_fillseq},
    {"fillrandom", "put in random order, new database", true, 1, 0, HELIOS_DURABILITY_DEFAULT, run_fillrandom},
    {"fillbatch", "the same, 100 puts a commit", true, BENCH_BATCH, 0, HELIOS_DURABILITY_DEFAULT,
     run_fillbatch},
    {"overwrite", "put over keys that exist", false, 1, 0, HELIOS_DURABILITY_DEFAULT, run_overwrite},
    {"readrandom", "get keys that exist", false, 1, 0, HELIOS_DURABILITY_DEFAULT, run_readrandom},
    {"readmissing", "get keys that do not", false, 1, 0, HELIOS_DURABILITY_DEFAULT, run_readmissing},
    {"readseq", "walk forward", false, 1, 0, HELIOS_DURABILITY_DEFAULT, run_readseq},
    {"readreverse", "walk backward", false, 1, 0, HELIOS_DURABILITY_DEFAULT, run_readreverse},
    {"seekrandom", "seek and 10 next", false, 10, 0, HELIOS_DURABILITY_DEFAULT, run_seekrandom},
    {"deleterandom", "delete keys", false, 1, 0, HELIOS_DURABILITY_DEFAULT, run_deleterandom},
    {0},
};
