/* data.c - the pool of values and the zipfian draws. */
#include "bench/data.h"
#include "base/random.h"
#include "bench/engine.h"
#include <math.h>
#include <stdlib.h>

enum { POOL_BYTES = 1 << 20, POOL_SEED = 20240229 };

static void value_make(unsigned char *at, size_t size, struct random *random)
{
    size_t half = (size + 1) / 2;

    for (size_t i = 0; i < half; i++)
        at[i] = (unsigned char)random_next(random);
    memcpy(at + half, at, size - half);
}

void data_init(struct data *data, uint64_t count, size_t value_bytes, bool binary_keys)
{
    uint64_t slots = 16;
    struct random random;

    *data = (struct data){.count = count, .bits = 4, .binary_keys = binary_keys, .value_bytes = value_bytes};
    while (UINT64_C(1) << data->bits < count)
        data->bits++;
    while (slots * 2 * value_bytes <= POOL_BYTES)
        slots *= 2;
    data->pool_mask = slots - 1;
    data->pool = malloc(slots * value_bytes);
    if (!data->pool)
        bench_die("no memory for the values");
    random_seed(&random, POOL_SEED);
    for (uint64_t i = 0; i < slots; i++)
        value_make(data->pool + i * value_bytes, value_bytes, &random);
}

void data_release(struct data *data)
{
    free(data->pool);
}

/* Gray et al., "Quickly generating billion-record synthetic databases", SIGMOD 1994. */
uint32_t *data_zipfian(const struct data *data, uint64_t keys, uint64_t draws, uint64_t seed, bool scattered)
{
    const double theta = 0.99;
    double count = (double)keys, zeta = 0, eta;
    uint32_t *indexes = malloc(draws * sizeof(*indexes));
    struct random random;

    if (!indexes || keys > UINT32_MAX)
        bench_die("no memory for %zu zipfian draws", (size_t)draws);
    for (uint64_t i = 1; i <= keys; i++)
        zeta += 1 / pow((double)i, theta);
    eta = (1 - pow(2 / count, 1 - theta)) / (1 - (1 + pow(0.5, theta)) / zeta);
    random_seed(&random, seed);
    for (uint64_t i = 0; i < draws; i++) {
        double u = (double)(random_next(&random) >> 11) / (double)(UINT64_C(1) << 53);
        double rank = count * pow(eta * u - eta + 1, 1 / (1 - theta));

        if (u * zeta < 1)
            rank = 0;
        else if (u * zeta < 1 + pow(0.5, theta))
            rank = 1;
        if (rank >= count)
            rank = count - 1;
        indexes[i] = (uint32_t)(scattered ? data_scatter(data, (uint64_t)rank % data->count) : (uint64_t)rank);
    }
    return indexes;
}
