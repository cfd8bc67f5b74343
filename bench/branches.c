/* branches.c - bench-branches: what branches cost those who make them, those who read through them, and those who never
 * look at them; what differences and merges cost. Helios alone, through its public header.
 *
 * Each comparison takes turns, so that a busy machine slows both sides of a ratio. */
#include "bench/branches.h"

static const struct part parts[] = {{"create", measure_creates},
                                    {"many", measure_many},
                                    {"reads", measure_reads},
                                    {"diff", measure_diffs},
                                    {"merge", measure_merges}};
static const struct probe probes[] = {{"probe-open", probe_open}, {"probe-merge", probe_merge}};
static const struct suite suite = {"bench-branches", parts, sizeof(parts) / sizeof(parts[0]), probes,
                                   sizeof(probes) / sizeof(probes[0])};

int main(int argc, char **argv)
{
    return suite_main(&suite, argc, argv);
}
