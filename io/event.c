/* event.c - a descriptor that a program's poll() can wait for: an eventfd. Not of a file system, so the same under all of
 * them. */
#include "io/io.h"
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

helios_status io_event_new(int *fd_out)
{
    int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0)
        return fail_io(errno, "make", "a descriptor for poll()");
    *fd_out = fd;
    return HELIOS_OK;
}

/* It does not block: EAGAIN says that it is as wanted. */
void io_event_set(int fd)
{
    const uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof(one));

    assert(n == sizeof(one) || errno == EAGAIN);
    (void)n;
}

void io_event_clear(int fd)
{
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof(count));

    assert(n == sizeof(count) || errno == EAGAIN);
    (void)n;
}

void io_event_close(int fd)
{
    close(fd);
}
