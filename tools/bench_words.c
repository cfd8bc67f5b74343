/* bench_words.c - what the figures of `heliosctl bench` mean, in sentences. */
#include "tools/bench.h"
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

/* No disk keeps a write in less; no good one takes longer. */
enum { SYNC_SUSPICIOUS = 20000, SYNC_SLOW = 3000000, PAUSE_LONG = 100000000, READ_FROM_DISK = 30000 };

#ifdef NDEBUG
static const bool has_asserts = false;
#else
static const bool has_asserts = true;
#endif

struct sentences {
    const struct bench_summary *summary;
    struct json_object *said, *warned;
    bool as_json;
};

static void say_text(struct sentences *s, bool warning, const char *format, va_list values)
{
    char text[512];

    vsnprintf(text, sizeof(text), format, values);
    if (s->as_json)
        json_object_array_add(warning ? s->warned : s->said, json_object_new_string(text));
    else
        printf("%s%s\n", warning ? "Warning: " : "", text);
}

static void __attribute__((format(printf, 2, 3))) say(struct sentences *s, const char *format, ...)
{
    va_list values;

    va_start(values, format);
    say_text(s, false, format, values);
    va_end(values);
}

static void __attribute__((format(printf, 2, 3))) warn(struct sentences *s, const char *format, ...)
{
    va_list values;

    va_start(values, format);
    say_text(s, true, format, values);
    va_end(values);
}

static const struct bench_result *result_of(const struct sentences *s, const char *name)
{
    for (size_t i = 0; i < s->summary->count; i++)
        if (strcmp(s->summary->results[i].workload->name, name) == 0)
            return &s->summary->results[i];
    return NULL;
}

static double rate_of(const struct bench_result *result)
{
    return (double)result->ops / result->seconds;
}

struct text {
    char bytes[32];
};

static struct text count_text(double count)
{
    struct text text;

    human_count((uint64_t)count, text.bytes);
    return text;
}

static struct text time_text(uint64_t nanos)
{
    struct text text;

    if (nanos < 1000)
        snprintf(text.bytes, sizeof(text.bytes), "%u ns", (unsigned)nanos);
    else if (nanos < 1000000)
        snprintf(text.bytes, sizeof(text.bytes), "%.3g us", (double)nanos / 1e3);
    else
        snprintf(text.bytes, sizeof(text.bytes), "%.3g ms", (double)nanos / 1e6);
    return text;
}

static void explain_synced(struct sentences *s)
{
    const struct bench_result *one = result_of(s, "fillsync"), *many = result_of(s, "fillsync16");
    uint64_t disk = s->summary->disk->p50;

    if (!one)
        return;
    say(s,
        "Commits that wait for the disk: %s/s from one thread, %s each at the median; the disk alone takes %s "
        "for a sync%s.",
        count_text(rate_of(one)).bytes, time_text(one->p50).bytes, time_text(disk).bytes,
        one->p50 < disk * 2 ? ": it is the limit" : "");
    if (many)
        say(s, "%u threads share the syncs: %s commits/s, %.1f times as many.", many->threads,
            count_text(rate_of(many)).bytes, rate_of(many) / rate_of(one));
}

static void explain_writes(struct sentences *s)
{
    const struct bench_result *writes = result_of(s, "fillrandom"), *again = result_of(s, "overwrite");

    if (!writes)
        return;
    say(s,
        "Commits that survive the process, not at once a power loss (the default): %s/s in random order; the "
        "longest took %s.",
        count_text(rate_of(writes)).bytes, time_text(writes->max).bytes);
    if (again)
        say(s,
            "Over data that is there: %s/s; what is merged in the background takes its share of processor and "
            "disk.",
            count_text(rate_of(again)).bytes);
    if (writes->max > PAUSE_LONG || (again && again->max > PAUSE_LONG))
        warn(s, "a writer was held up for more than 100 ms: the disk, or another program on it, is slower than "
                "what is written.");
}

static void explain_reads(struct sentences *s)
{
    const struct bench_result *found = result_of(s, "readrandom"), *absent = result_of(s, "readmissing");
    uint64_t data = s->summary->setup->count * (BENCH_KEY_BYTES + s->summary->setup->value_bytes);

    if (!found)
        return;
    say(s, "A get takes %s at the median, %s at the 99th percentile%s%s.", time_text(found->p50).bytes,
        time_text(found->p99).bytes, absent ? "; of a key that is not there, which filters tell, " : "",
        absent ? time_text(absent->p50).bytes : "");
    if (data > s->summary->cache_bytes)
        warn(s,
             "the data is larger than the block cache (%u MiB), so that gets read files too: block_cache_bytes "
             "decides.",
             (unsigned)(s->summary->cache_bytes >> 20));
    else if (found->p50 > READ_FROM_DISK)
        warn(s, "gets are as slow as reads of a disk although all data fits into the cache: is the machine "
                "short of memory, or busy?");
    else
        say(s, "All of it fits into the block cache (%u MiB); --count %llu would not.",
            (unsigned)(s->summary->cache_bytes >> 20),
            (unsigned long long)(s->summary->cache_bytes * 2 /
                                 (BENCH_KEY_BYTES + s->summary->setup->value_bytes)));
}

static void explain_scans(struct sentences *s)
{
    const struct bench_result *seek = result_of(s, "seekrandom"), *scan = result_of(s, "readseq");

    if (seek)
        say(s, "A seek with %d steps takes %s at the median.", BENCH_NEXTS, time_text(seek->p50).bytes);
    if (scan)
        say(s, "A scan gives %s records/s, %.0f MB/s.", count_text(rate_of(scan)).bytes,
            (double)scan->bytes / scan->seconds / 1e6);
}

static void explain_machine(struct sentences *s)
{
    const struct bench_disk *disk = s->summary->disk;

    if (disk->in_memory)
        warn(s, "this directory is in memory: its figures say nothing of a disk; --dir names another.");
    else if (disk->p50 < SYNC_SUSPICIOUS)
        warn(s,
             "a sync takes %s: no disk is that fast. A cache that a power loss empties answers for it, and "
             "commits that were "
             "said to be safe may be lost; look for write caches of the disk or the hypervisor.",
             time_text(disk->p50).bytes);
    else if (disk->p50 > SYNC_SLOW)
        warn(
            s,
            "a sync takes %s: this is a slow disk (or a disk over a network). Commits that wait for it gain by "
            "being larger or made by several threads.",
            time_text(disk->p50).bytes);
    if (has_asserts)
        warn(s, "this is a debug build, with its checks on: build with --buildtype=release to measure.");
}

void bench_explain(const struct bench_summary *summary, bool as_json)
{
    struct sentences s = {.summary = summary, .as_json = as_json};
    struct json_object *object = json_object_new_object();

    s.said = json_object_new_array();
    s.warned = json_object_new_array();
    if (!as_json)
        putchar('\n');
    explain_synced(&s);
    explain_writes(&s);
    explain_reads(&s);
    explain_scans(&s);
    explain_machine(&s);
    json_object_object_add(object, "sync_p50_nanos", json_object_new_uint64(summary->disk->p50));
    json_object_object_add(object, "sync_p99_nanos", json_object_new_uint64(summary->disk->p99));
    json_object_object_add(object, "explanation", s.said);
    json_object_object_add(object, "warnings", s.warned);
    if (as_json)
        json_print(stdout, object);
    json_free(object);
}
