/* buf.c - growing a helios_buf. */
#include "base/buf.h"
#include "base/mem.h"
#include <stdio.h>

enum { BUF_BYTES_MIN = 64 };

helios_status buf_reserve(helios_buf *buf, size_t capacity)
{
    size_t wanted = buf->capacity + buf->capacity / 2; /* so that appending costs O(1) a byte */
    char *data;

    if (capacity <= buf->capacity)
        return HELIOS_OK;
    if (wanted < capacity)
        wanted = capacity;
    if (wanted < BUF_BYTES_MIN)
        wanted = BUF_BYTES_MIN;
    data = mem_realloc(buf->data, wanted);
    if (!data)
        return fail_no_memory(wanted);
    buf->data = data;
    buf->capacity = wanted;
    return HELIOS_OK;
}

helios_status buf_append(helios_buf *buf, const void *data, size_t size)
{
    helios_status status;

    if (size > SIZE_MAX - buf->size)
        return fail_no_memory(size);
    status = buf_reserve(buf, buf->size + size);
    if (status != HELIOS_OK)
        return status;
    if (size)
        memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    return HELIOS_OK;
}

helios_status buf_set(helios_buf *buf, const void *data, size_t size)
{
    helios_status status = buf_reserve(buf, size);

    if (status != HELIOS_OK)
        return status;
    if (size)
        memmove(buf->data, data, size);
    buf->size = size;
    return HELIOS_OK;
}

helios_status helios_buf_set(helios_buf *buf, helios_slice bytes)
{
    if (!buf || !bytes.data)
        return fail(HELIOS_INVALID, "no %s given", buf ? "bytes were" : "buffer was");
    return buf_set(buf, bytes.data, bytes.size);
}

helios_status buf_printf(helios_buf *buf, const char *format, ...)
{
    va_list args;
    int size;
    helios_status status;

    va_start(args, format);
    size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size < 0)
        return fail(HELIOS_INVALID, "cannot format \"%s\"", format);
    status = buf_reserve(buf, buf->size + (size_t)size + 1);
    if (status != HELIOS_OK)
        return status;
    va_start(args, format);
    vsnprintf(buf->data + buf->size, (size_t)size + 1, format, args);
    va_end(args);
    buf->size += (size_t)size;
    return HELIOS_OK;
}
