/* random.h - xoshiro256** (Blackman, Vigna) seeded by splitmix64: for skip list heights and tests. */
#ifndef HELIOS_BASE_RANDOM_H
#define HELIOS_BASE_RANDOM_H
#include <stdint.h>

struct random {
    uint64_t s[4];
};
void random_seed(struct random *, uint64_t seed);
uint64_t random_next(struct random *);
static inline uint64_t random_below(struct random *r, uint64_t limit) /* limit > 0 */
{
    return (uint64_t)(((unsigned __int128)random_next(r) * limit) >> 64);
}

#endif
