/* block_reader.c - blocks of a table read in order and outside the cache. Called by the table cursor
 * when it reads ahead, and by verify. */
#include "base/mem.h"
#include "sstable/sstable_internal.h"

enum { READER_GAP = 64 * 1024 }; /* read along rather than skipped */

void block_reader_init(struct block_reader *reader, struct table *table, size_t read_ahead)
{
    *reader = (struct block_reader){.table = table, .read_ahead = read_ahead};
}

void block_reader_release(struct block_reader *reader)
{
    mem_free(reader->buffer);
    mem_free(reader->image);
    mem_free(reader->room);
    *reader = (struct block_reader){0};
}

/* Room for size bytes; the content is lost. */
static helios_status make_room(unsigned char **buffer, size_t *capacity, size_t size)
{
    unsigned char *larger;

    if (size <= *capacity)
        return HELIOS_OK;
    larger = mem_alloc(size);
    if (!larger)
        return fail_no_memory(size);
    mem_free(*buffer);
    *buffer = larger;
    *capacity = size;
    return HELIOS_OK;
}

/* Where the run of blocks that one read takes ends: it begins with block `first`. Only handles that are
 * good and follow each other are taken; what is wrong with another is told when its turn comes. */
static uint64_t run_end(const struct block_reader *reader, const struct table_part *part, uint32_t first)
{
    struct block_handle handle = index_handle(&part->index, first);
    uint64_t begin = handle.offset, end = begin + handle_bytes(&handle);

    for (uint32_t i = first + 1; i < part->index.count; i++) {
        uint64_t next_end;

        handle = index_handle(&part->index, i);
        next_end = handle.offset + handle_bytes(&handle);
        if (handle.offset < end || handle.offset - end > READER_GAP || next_end > reader->table->size ||
            next_end - begin > reader->read_ahead)
            break;
        end = next_end;
    }
    return end;
}

static helios_status fill_buffer(struct block_reader *reader, const struct table_part *part, uint32_t first)
{
    uint64_t offset = index_handle(&part->index, first).offset;
    size_t size = (size_t)(run_end(reader, part, first) - offset);
    helios_status status;

    reader->buffer_size = 0;
    status = make_room(&reader->buffer, &reader->buffer_capacity, size);
    if (status != HELIOS_OK)
        return status;
    status = io_read(reader->table->file, offset, reader->buffer, size);
    if (status != HELIOS_OK)
        return status;
    reader->buffer_offset = offset;
    reader->buffer_size = size;
    return HELIOS_OK;
}

static bool in_buffer(const struct block_reader *reader, const struct block_handle *handle)
{
    return handle->offset >= reader->buffer_offset && reader->buffer_size > 0 &&
           handle->offset + handle_bytes(handle) <= reader->buffer_offset + reader->buffer_size;
}

helios_status block_reader_get(struct block_reader *reader, const struct table_part *part, uint32_t block)
{
    struct block_handle handle = index_handle(&part->index, block);
    const char *path = io_path(reader->table->file);
    helios_compression compression;
    helios_status status = block_check_handle(&handle, part->type, reader->table->size, path);
    const unsigned char *sealed;

    if (status == HELIOS_OK && !in_buffer(reader, &handle))
        status = fill_buffer(reader, part, block);
    if (status == HELIOS_OK)
        status = make_room(&reader->image, &reader->image_capacity, handle.size);
    if (status == HELIOS_OK && crypt_is_on(&reader->table->crypt))
        status = make_room(&reader->room, &reader->room_capacity, handle.stored);
    if (status != HELIOS_OK)
        return status;
    sealed = reader->buffer + (handle.offset - reader->buffer_offset);
    status = block_unseal(sealed, &handle, part->type, reader->table->salt, &reader->table->crypt, path,
                          reader->room, reader->image, &compression);
    if (status == HELIOS_OK)
        status = block_open(reader->image, handle.size, part->type == BLOCK_HISTORY, path, handle.offset,
                            &reader->block);
    if (status == HELIOS_OK)
        status = block_check_layers(&reader->block, path, handle.offset);
    return status;
}
