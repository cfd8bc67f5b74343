/* term.c - what the terminal can show, numbers for people, the progress bar. */
#include "tools/heliosctl.h"
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

int term_width(void)
{
    struct winsize size;

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40)
        return size.ws_col;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40)
        return size.ws_col;
    return 100;
}

bool term_colours(FILE *file)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

    return isatty(fileno(file)) && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
}

bool term_utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

void human_bytes(uint64_t bytes, char out[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit < 6) {
        value /= 1024;
        unit++;
    }
    if (unit == 0)
        snprintf(out, 32, "%u B", (unsigned)bytes);
    else
        snprintf(out, 32, "%.1f %s", value, units[unit]);
}

void human_count(uint64_t count, char out[32])
{
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)count), at = 0;

    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
}

uint64_t clock_micros(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t wall_micros(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Can a line there be written over? */
static bool term_redraws(FILE *file)
{
    const char *term = getenv("TERM");

    return isatty(fileno(file)) && term && strcmp(term, "dumb") != 0;
}

void progress_begin(struct progress *progress, const struct args *args, const char *label, const char *unit,
                    uint64_t total)
{
    *progress = (struct progress){.label = label, .unit = unit, .total = total, .start = clock_micros()};
    progress->shown = term_redraws(stderr) && !args->json;
    progress->last = progress->start;
}

static void draw_bar(double part, int width, helios_buf *line)
{
    int full = (int)(part * width);

    buf_add_text(line, "[");
    for (int i = 0; i < width; i++)
        buf_add_text(line, i < full ? "#" : i == full ? ">" : " ");
    buf_add_text(line, "]");
}

/* "123,456 rows  98,000/s", or "12.3 MiB  45.6 MiB/s" */
static void add_amounts(const struct progress *progress, uint64_t units, double seconds, helios_buf *line)
{
    void (*human)(uint64_t, char *) = progress->unit ? human_count : human_bytes;
    char number[32], rate[32];

    human(units, number);
    human((uint64_t)((double)units / seconds), rate);
    buf_add_text(line, number);
    if (progress->unit) {
        buf_add_text(line, " ");
        buf_add_text(line, progress->unit);
    }
    buf_add_text(line, "  ");
    buf_add_text(line, rate);
    buf_add_text(line, "/s");
}

/* "label [####>    ]  42 %  123,456 rows  98,000/s  0:12 left" */
static void compose(const struct progress *progress, uint64_t done, uint64_t units, uint64_t now,
                    helios_buf *line)
{
    double seconds = (double)(now - progress->start) / 1e6 + 1e-6;
    double part = progress->total ? (double)done / (double)progress->total : 0;
    char text[32];
    unsigned left;

    part = part > 1 ? 1 : part;
    left = part > 0 ? (unsigned)(seconds * (1 - part) / part + 0.5) : 0;
    buf_add_text(line, progress->label);
    buf_add_text(line, " ");
    if (!progress->total) {
        add_amounts(progress, units, seconds, line);
        return;
    }
    draw_bar(part, term_width() > 90 ? 30 : 12, line);
    snprintf(text, sizeof(text), " %3d %%  ", (int)(part * 100));
    buf_add_text(line, text);
    add_amounts(progress, units, seconds, line);
    if (part > 0) {
        snprintf(text, sizeof(text), "  %u:%02u left", left / 60, left % 60);
        buf_add_text(line, text);
    }
}

/* One line that stays within the terminal, or the next one would not write over it. */
static void put_line(struct progress *progress, const char *text)
{
    fprintf(stderr, "\r%.*s\033[K", term_width() - 1, text);
    fflush(stderr);
    progress->drawn = true;
}

void progress_update(struct progress *progress, uint64_t done, uint64_t units)
{
    helios_buf line = {0};
    uint64_t now;

    if (!progress->shown)
        return;
    now = clock_micros();
    if (now - progress->last < 100000)
        return;
    progress->last = now;
    compose(progress, done, units, now, &line);
    put_line(progress, line.data);
    free(line.data);
}

void progress_say(struct progress *progress, const char *text)
{
    if (progress->shown)
        put_line(progress, text);
}

void progress_clear(struct progress *progress)
{
    if (progress->drawn)
        fputs("\r\033[K", stderr);
    progress->drawn = false;
}

void progress_end(struct progress *progress)
{
    progress_clear(progress);
    progress->shown = false;
}
