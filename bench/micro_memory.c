/* micro_memory.c - what one cache miss costs, by how much memory is in use, and what copying costs. */
#include "bench/micro.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LINE = 64, STEPS = 4000000, COPY_BYTES = 256 << 20 };

struct chain {
    unsigned char *lines; /* each holds the number of the next: one cycle through all */
    uint64_t count;
};

static struct chain chain_make(size_t bytes, bool huge)
{
    struct chain chain = {aligned_alloc((size_t)2 << 20, bytes), bytes / LINE};
    uint64_t *order = micro_alloc(chain.count * sizeof(*order));
    struct random random;

    if (!chain.lines)
        micro_die("no memory");
    if (huge)
        madvise(chain.lines, bytes, MADV_HUGEPAGE);
    random_seed(&random, 1);
    for (uint64_t i = 0; i < chain.count; i++)
        order[i] = i;
    for (uint64_t i = chain.count; i > 1; i--) {
        uint64_t other = random_below(&random, i), swap = order[i - 1];

        order[i - 1] = order[other];
        order[other] = swap;
    }
    for (uint64_t i = 0; i < chain.count; i++)
        memcpy(chain.lines + order[i] * LINE, &order[(i + 1) % chain.count], sizeof(*order));
    free(order);
    return chain;
}

static double chase(void *arg)
{
    const struct chain *chain = arg;
    uint64_t at = 0, steps = micro_times(STEPS);
    double start = seconds_now();

    for (uint64_t i = 0; i < steps; i++)
        memcpy(&at, chain->lines + at * LINE, sizeof(at));
    start = seconds_now() - start;
    micro_sink(at);
    return start;
}

static double copy(void *arg)
{
    unsigned char *memory = arg;
    double start = seconds_now();

    memcpy(memory + COPY_BYTES, memory, COPY_BYTES);
    start = seconds_now() - start;
    micro_sink(memory[COPY_BYTES + 4711]);
    return start;
}

void micro_memory(void)
{
    static const struct {
        const char *name;
        size_t bytes;
        bool huge;
    } cases[] = {
        {"dependent load, 256 KiB", 256 << 10, false},
        {"dependent load, 16 MiB", 16 << 20, false},
        {"dependent load, 256 MiB", 256 << 20, false},
        {"dependent load, 256 MiB, huge pages", 256 << 20, true},
    };
    unsigned char *memory;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct chain chain = chain_make(cases[i].bytes, cases[i].huge);

        chase(&chain);
        micro_measure(cases[i].name, micro_times(STEPS), 0, chase, &chain);
        free(chain.lines);
    }
    memory = micro_alloc((size_t)COPY_BYTES * 2);
    micro_measure("copy of 256 MiB, a cache line", COPY_BYTES / LINE, LINE, copy, memory);
    free(memory);
}
