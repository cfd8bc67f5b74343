/* codec.c - see codec.h. */
#include "table/codec.h"
#include <math.h>

static uint64_t zigzag(int64_t n)
{
    return (uint64_t)n << 1 ^ (uint64_t)(n >> 63);
}

static int64_t unzigzag(uint64_t n)
{
    return (int64_t)(n >> 1) ^ -(int64_t)(n & 1);
}

static helios_status append_varint(helios_buf *out, uint64_t n)
{
    unsigned char bytes[VARINT_MAX];

    return buf_append(out, bytes, put_varint(bytes, n));
}

/* ---- values ---- */

static helios_status append_bytes(helios_buf *out, helios_slice bytes)
{
    helios_status status = append_varint(out, bytes.size);

    return status == HELIOS_OK ? buf_append(out, bytes.data, bytes.size) : status;
}

static helios_status append_float(helios_buf *out, float f)
{
    unsigned char bytes[4];
    uint32_t bits;

    memcpy(&bits, &f, sizeof(bits));
    put_u32(bytes, bits);
    return buf_append(out, bytes, sizeof(bytes));
}

static helios_status append_double(helios_buf *out, double d)
{
    unsigned char bytes[8];
    uint64_t bits;

    memcpy(&bits, &d, sizeof(bits));
    put_u64(bytes, bits);
    return buf_append(out, bytes, sizeof(bytes));
}

/* Size, then as many of the low bytes, little-endian, as tell it with its sign. */
static helios_status append_decimal(helios_buf *out, const helios_decimal *d)
{
    decimal_number n = decimal_of(d);
    unsigned char bytes[17] = {0};

    for (decimal_number left = n;; left >>= 8) {
        bytes[++bytes[0]] = (unsigned char)left;
        if (left >> 7 == 0 || left >> 7 == -1)
            break;
    }
    return buf_append(out, bytes, 1u + bytes[0]);
}

static helios_status append_vector(helios_buf *out, const helios_value *v)
{
    helios_status status = append_varint(out, v->as.vector.count);

    for (size_t i = 0; i < v->as.vector.count && status == HELIOS_OK; i++)
        status = append_float(out, v->as.vector.at[i]);
    return status;
}

helios_status value_encode(helios_buf *out, const helios_value *v)
{
    unsigned char byte;

    switch (v->type) {
    case HELIOS_TYPE_BOOL: byte = v->as.boolean; return buf_append(out, &byte, 1);
    case HELIOS_TYPE_INT16:
    case HELIOS_TYPE_INT32:
    case HELIOS_TYPE_INT64:
    case HELIOS_TYPE_DATE:
    case HELIOS_TYPE_TIMESTAMP: return append_varint(out, zigzag(v->as.integer));
    case HELIOS_TYPE_FLOAT32: return append_float(out, (float)v->as.real);
    case HELIOS_TYPE_FLOAT64: return append_double(out, v->as.real);
    case HELIOS_TYPE_TEXT:
    case HELIOS_TYPE_BYTES:
    case HELIOS_TYPE_JSON: return append_bytes(out, v->as.bytes);
    case HELIOS_TYPE_UUID: return buf_append(out, v->as.uuid, sizeof(v->as.uuid));
    case HELIOS_TYPE_DECIMAL: return append_decimal(out, &v->as.decimal);
    case HELIOS_TYPE_VECTOR: return append_vector(out, v);
    default: return fail(HELIOS_INVALID, "a value of type %s cannot be stored", helios_type_name(v->type));
    }
}

static bool in_type(int64_t n, helios_type type)
{
    switch (type) {
    case HELIOS_TYPE_INT16: return n >= INT16_MIN && n <= INT16_MAX;
    case HELIOS_TYPE_INT32:
    case HELIOS_TYPE_DATE: return n >= INT32_MIN && n <= INT32_MAX;
    default: return true;
    }
}

static double read_real(struct reader *r, bool narrow)
{
    uint32_t bits32;
    uint64_t bits64;
    float f;
    double d;

    if (narrow) {
        bits32 = read_u32(r);
        memcpy(&f, &bits32, sizeof(f));
        return (double)f;
    }
    bits64 = read_u64(r);
    memcpy(&d, &bits64, sizeof(d));
    return d;
}

static helios_decimal read_decimal(struct reader *r, uint32_t scale)
{
    uint8_t size = read_u8(r);
    const unsigned char *bytes = size && size <= 16 ? read_raw(r, size) : NULL;
    unsigned __int128 n = 0;

    if (!bytes) {
        r->bad = true;
        return (helios_decimal){0};
    }
    if (bytes[size - 1] & 0x80)
        n = ~(unsigned __int128)0;
    for (unsigned i = size; i-- > 0;)
        n = n << 8 | bytes[i];
    r->bad |= !decimal_in_range((decimal_number)n);
    return decimal_make((decimal_number)n, scale);
}

static void read_vector(struct reader *r, float **floats, helios_value *out)
{
    uint64_t count = read_varint(r);
    const unsigned char *at = count <= reader_left(r) / 4 ? read_raw(r, (size_t)count * 4) : NULL;

    if (!at) {
        r->bad = true;
        return;
    }
    out->as.vector.at = *floats;
    out->as.vector.count = (size_t)count;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t bits = get_u32(at + i * 4);

        memcpy((*floats)++, &bits, sizeof(bits));
    }
}

void value_decode(struct reader *r, helios_type type, uint32_t scale, float **floats, helios_value *out)
{
    const unsigned char *bytes;
    uint8_t byte;

    *out = (helios_value){.type = type};
    switch (type) {
    case HELIOS_TYPE_BOOL:
        byte = read_u8(r);
        out->as.boolean = byte == 1;
        r->bad |= byte > 1;
        break;
    case HELIOS_TYPE_INT16:
    case HELIOS_TYPE_INT32:
    case HELIOS_TYPE_INT64:
    case HELIOS_TYPE_DATE:
    case HELIOS_TYPE_TIMESTAMP:
        out->as.integer = unzigzag(read_varint(r));
        r->bad |= !in_type(out->as.integer, type);
        break;
    case HELIOS_TYPE_FLOAT32:
    case HELIOS_TYPE_FLOAT64: out->as.real = read_real(r, type == HELIOS_TYPE_FLOAT32); break;
    case HELIOS_TYPE_TEXT:
    case HELIOS_TYPE_BYTES:
    case HELIOS_TYPE_JSON: out->as.bytes = read_slice(r); break;
    case HELIOS_TYPE_UUID:
        bytes = read_raw(r, sizeof(out->as.uuid));
        if (bytes)
            memcpy(out->as.uuid, bytes, sizeof(out->as.uuid));
        break;
    case HELIOS_TYPE_DECIMAL: out->as.decimal = read_decimal(r, scale); break;
    case HELIOS_TYPE_VECTOR: read_vector(r, floats, out); break;
    default: r->bad = true; break;
    }
}

/* ---- rows ----
 *
 *   format u8 (1) | layout varint | NULL bitmap, a bit a column, low bits first | values of those that are not NULL */

helios_status row_encode(helios_buf *out, uint32_t layout, const helios_value *values, size_t count)
{
    unsigned char head[1 + VARINT_MAX + (COLUMNS_MAX + 7) / 8] = {ROW_FORMAT};
    size_t size = 1 + put_varint(head + 1, layout), bitmap = size;
    helios_status status;

    size += (count + 7) / 8;
    for (size_t i = 0; i < count; i++)
        if (values[i].type == HELIOS_TYPE_NULL)
            head[bitmap + i / 8] |= (unsigned char)(1u << i % 8);
    out->size = 0;
    status = buf_append(out, head, size);
    for (size_t i = 0; i < count && status == HELIOS_OK; i++)
        if (values[i].type != HELIOS_TYPE_NULL)
            status = value_encode(out, &values[i]);
    return status;
}

static uint32_t read_head(struct reader *r)
{
    uint8_t format = read_u8(r);
    uint64_t layout = read_varint(r);

    return format == ROW_FORMAT && !r->bad && layout <= UINT32_MAX ? (uint32_t)layout : 0;
}

uint32_t row_layout(helios_slice row)
{
    struct reader r = reader_make(row.data, row.size);

    return read_head(&r);
}

bool row_decode(helios_slice row, const struct layout *layout, float *floats, helios_value *values)
{
    struct reader r = reader_make(row.data, row.size);
    const unsigned char *nulls;

    if (read_head(&r) != layout->id)
        return false;
    nulls = read_raw(&r, (layout->count + 7) / 8);
    for (uint32_t i = 0; i < layout->count && !r.bad; i++) {
        if (nulls[i / 8] >> i % 8 & 1)
            values[i] = (helios_value){.type = HELIOS_TYPE_NULL};
        else
            value_decode(&r, layout->columns[i].type, layout->columns[i].scale, &floats, &values[i]);
    }
    return reader_done(&r);
}

void row_key_put(unsigned char out[ROW_KEY_SIZE], uint32_t table, uint64_t row)
{
    put_u32_be(out, table);
    put_u64_be(out + 4, row);
}

/* ---- keys: a tag, 0 for NULL and 1 for a value, then the value ---- */

/* A zero byte becomes 0 255, the end is 0 0: it sorts below every byte that could follow. */
static helios_status append_escaped(helios_buf *out, helios_slice bytes)
{
    const char *at = bytes.data, *end = at + bytes.size;
    helios_status status = HELIOS_OK;

    while (status == HELIOS_OK) {
        const char *zero = at < end ? memchr(at, 0, (size_t)(end - at)) : NULL;

        status = buf_append(out, at, (size_t)((zero ? zero : end) - at));
        if (status == HELIOS_OK)
            status = buf_append(out, zero ? "\0\xff" : "\0\0", 2);
        if (!zero)
            break;
        at = zero + 1;
    }
    return status;
}

static helios_status append_integer(helios_buf *out, int64_t n, unsigned size)
{
    unsigned char bytes[8];

    put_u64_be(bytes, (uint64_t)n ^ (uint64_t)1 << (8 * size - 1));
    return buf_append(out, bytes + 8 - size, size);
}

/* Positive ones with the sign set, negative ones with all bits turned over: then bytes order them. */
static helios_status append_real(helios_buf *out, double real, bool narrow)
{
    unsigned char bytes[8];
    float f = (float)real;
    uint64_t bits;
    uint32_t bits32;

    if (narrow) {
        memcpy(&bits32, &f, sizeof(bits32));
        put_u32_be(bytes, bits32 & 0x80000000u ? ~bits32 : bits32 | 0x80000000u);
        return buf_append(out, bytes, 4);
    }
    memcpy(&bits, &real, sizeof(bits));
    put_u64_be(bytes, bits >> 63 ? ~bits : bits | (uint64_t)1 << 63);
    return buf_append(out, bytes, 8);
}

helios_status key_encode(helios_buf *out, const helios_value *v)
{
    unsigned char tag = v->type != HELIOS_TYPE_NULL, bytes[16];
    helios_status status = buf_append(out, &tag, 1);

    if (status != HELIOS_OK || !tag)
        return status;
    switch (v->type) {
    case HELIOS_TYPE_BOOL: bytes[0] = v->as.boolean; return buf_append(out, bytes, 1);
    case HELIOS_TYPE_INT16: return append_integer(out, v->as.integer, 2);
    case HELIOS_TYPE_INT32:
    case HELIOS_TYPE_DATE: return append_integer(out, v->as.integer, 4);
    case HELIOS_TYPE_INT64:
    case HELIOS_TYPE_TIMESTAMP: return append_integer(out, v->as.integer, 8);
    case HELIOS_TYPE_FLOAT32: return append_real(out, v->as.real, true);
    case HELIOS_TYPE_FLOAT64: return append_real(out, v->as.real, false);
    case HELIOS_TYPE_TEXT:
    case HELIOS_TYPE_BYTES: return append_escaped(out, v->as.bytes);
    case HELIOS_TYPE_UUID: return buf_append(out, v->as.uuid, sizeof(v->as.uuid));
    case HELIOS_TYPE_DECIMAL:
        put_u64_be(bytes, (uint64_t)v->as.decimal.high ^ (uint64_t)1 << 63);
        put_u64_be(bytes + 8, v->as.decimal.low);
        return buf_append(out, bytes, sizeof(bytes));
    default: return fail(HELIOS_INVALID, "a value of type %s cannot be in a key", helios_type_name(v->type));
    }
}
