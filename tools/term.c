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

void progress_begin(struct progress *progress, const struct args *args, const char *label, const char *unit,
                    uint64_t total)
{
    progress->shown = isatty(STDERR_FILENO) && !args->json;
    progress->label = label;
    progress->unit = unit;
    progress->total = total;
    progress->start = clock_micros();
    progress->last = 0;
}

static void draw_bar(double part, int width, helios_buf *line)
{
    int full = (int)(part * width);

    buf_add_text(line, "[");
    for (int i = 0; i < width; i++)
        buf_add_text(line, i < full ? "#" : i == full ? ">" : " ");
    buf_add_text(line, "]");
}

/* "label [####>    ]  42 %  123,456 rows  98,000/s  0:12 left" */
static void draw(const struct progress *progress, uint64_t done, uint64_t units, uint64_t now)
{
    double seconds = (double)(now - progress->start) / 1e6 + 1e-6;
    double part = progress->total ? (double)done / (double)progress->total : 0;
    helios_buf line = {0};
    char number[32], rate[32], tail[160];
    unsigned left;

    if (part > 1)
        part = 1;
    left = part > 0 ? (unsigned)(seconds * (1 - part) / part + 0.5) : 0;
    human_count(units, number);
    human_count((uint64_t)((double)units / seconds), rate);
    buf_add_text(&line, "\r\033[K");
    buf_add_text(&line, progress->label);
    buf_add_text(&line, " ");
    if (progress->total) {
        draw_bar(part, term_width() > 90 ? 30 : 12, &line);
        snprintf(tail, sizeof(tail), " %3d %%  %s %s  %s/s  %u:%02u left", (int)(part * 100), number, progress->unit,
                 rate, left / 60, left % 60);
    } else {
        snprintf(tail, sizeof(tail), "%s %s  %s/s", number, progress->unit, rate);
    }
    buf_add_text(&line, tail);
    fwrite(line.data, 1, line.size, stderr);
    fflush(stderr);
    free(line.data);
}

void progress_update(struct progress *progress, uint64_t done, uint64_t units)
{
    uint64_t now;

    if (!progress->shown)
        return;
    now = clock_micros();
    if (now - progress->last < 100000)
        return;
    progress->last = now;
    draw(progress, done, units, now);
}

void progress_end(struct progress *progress)
{
    if (progress->shown && progress->last)
        fputs("\r\033[K", stderr);
    progress->shown = false;
}
