/* buf.h - helios_buf inside the library: bytes that grow. All fail only with HELIOS_NO_MEMORY, and
 * then change nothing. Freed by helios_buf_free(). */
#ifndef HELIOS_BASE_BUF_H
#define HELIOS_BASE_BUF_H
#include "base/slice.h"
#include "base/status.h"

helios_status buf_reserve(helios_buf *, size_t capacity) CHECKED; /* at least; keeps the content */
helios_status buf_append(helios_buf *, const void *data, size_t size) CHECKED;
helios_status buf_set(helios_buf *, const void *data, size_t size) CHECKED;
/* Appends; no NUL is counted in size, one is kept behind. */
helios_status buf_printf(helios_buf *, const char *format, ...) CHECKED PRINTF_LIKE(2, 3);

static inline helios_slice buf_slice(const helios_buf *buf)
{
    return slice_make(buf->data ? buf->data : "", buf->size);
}

#endif
