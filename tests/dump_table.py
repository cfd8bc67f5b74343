#!/usr/bin/python3
"""dump_table.py FILE... - what is in a table, read with nothing but docs/format.md.

Prints every entry and range delete; --quiet only checks. Exit status 1: damage. The independent witness of the
format: it shares no line with the library, checks everything that the page promises, and is used by test_dump.py.
Needs python3-xxhash, python3-lz4, python3-zstandard."""
import bisect
import struct
import sys

import lz4.block
import xxhash
import zstandard

GOLDEN = 0x9E3779B97F4A7C15
MASK64 = (1 << 64) - 1
HEADER_SIZE = 64
VALUE, TOMBSTONE, RANGE_DELETE = 1, 2, 5
SEQ_MAX = (1 << 56) - 1
KEY_MAX = 65541


class Damaged(Exception):
    pass


def check(good, text, *arguments):
    if not good:
        raise Damaged(text % arguments if arguments else text)


def xxh3(data, seed=0):
    return xxhash.xxh3_64_intdigest(data, seed)


def salted(data, salt, offset):
    return xxh3(data, salt ^ (offset * GOLDEN & MASK64))


class Reader:
    """Numbers, varints and slices from bytes, never past the end."""

    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def raw(self, size):
        check(self.at + size <= len(self.data), "%d bytes wanted at %d, %d are there", size, self.at, len(self.data) - self.at)
        self.at += size
        return self.data[self.at - size:self.at]

    def number(self, size):
        return int.from_bytes(self.raw(size), "little")

    def varint(self):
        value = 0
        for i in range(10):
            byte = self.number(1)
            check(i < 9 or byte <= 1, "a varint of more than 64 bits")
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                return value
        raise Damaged("a varint without end")

    def slice(self):
        return self.raw(self.varint())

    def done(self):
        return self.at == len(self.data)


class FileHeader:
    def __init__(self, data, magic):
        check(len(data) >= HEADER_SIZE, "ends within its header")
        check(data[:8] == magic, "does not begin with %s", magic)
        check(xxh3(data[:56]) == struct.unpack_from("<Q", data, 56)[0], "bad checksum of the header")
        version, flags = struct.unpack_from("<II", data, 8)
        check(version == 1, "version %d", version)
        check(flags == 0, "flags %x", flags)
        self.number, = struct.unpack_from("<Q", data, 32)
        self.salt = xxh3(data[16:32])


class Handle:
    def __init__(self, data, at):
        self.offset, self.stored, self.size = struct.unpack_from("<QII", data, at)

    def is_none(self):
        return self.offset == self.stored == self.size == 0


def order(key, tag):
    """Sorts by internal order."""
    return (key, -tag)


NONE, LZ4, ZSTD = 0, 1, 2
DATA, HISTORY, INDEX, TOP_INDEX, FILTER, RANGE_DELETES, PROPERTIES, VALUES = range(1, 9)
IMAGE_MAX = {FILTER: (1 << 32) - 1, VALUES: 1 << 30}


class Entry:
    def __init__(self, key, seq, kind, history, value):
        self.key, self.seq, self.kind, self.history, self.value = key, seq, kind, history, value

    @property
    def tag(self):
        return self.seq << 8 | self.kind


class IndexEntry:
    def __init__(self, separator, handle, seq_max, last_tag, entries, tombstones):
        self.separator, self.handle, self.seq_max, self.last_tag = separator, handle, seq_max, last_tag
        self.entries, self.tombstones = entries, tombstones


PROPERTY_NAMES = {1: "entries", 2: "keys", 3: "tombstones", 4: "range_deletes", 5: "key_bytes", 6: "value_bytes",
                  7: "data_bytes", 8: "history_bytes", 9: "index_bytes", 10: "filter_bytes", 11: "value_block_bytes",
                  12: "seq_min", 13: "seq_max", 14: "time_min", 15: "time_max", 16: "history_seq_max", 17: "shadow_min"}


class Table:
    """All of a table, read and checked."""

    def __init__(self, data):
        self.data = data
        check(len(data) >= HEADER_SIZE + 128, "too short for a table")
        header = FileHeader(data, b"HELIOSST")
        self.number, self.salt = header.number, header.salt
        self.end = len(data) - 128
        self.used = []  # (offset, end) of every block
        self.compressions = {}
        self.read_footer()
        self.read_properties()
        self.range_deletes = self.read_range_deletes()
        self.filter = None if self.footer["filter"].is_none() else self.block(self.footer["filter"], FILTER)
        self.read_blocks()
        self.check_all()

    # ---- blocks ----

    def block(self, handle, kind):
        check(HEADER_SIZE <= handle.offset and handle.offset + handle.stored + 16 <= self.end,
              "a block at %d that is not within the file", handle.offset)
        check(0 < handle.size <= IMAGE_MAX.get(kind, 64 << 20), "block at %d: an image of %d bytes", handle.offset, handle.size)
        stored = self.data[handle.offset:handle.offset + handle.stored]
        trailer = self.data[handle.offset + handle.stored:handle.offset + handle.stored + 16]
        compression, block_kind, zero, size, checksum = struct.unpack("<BBHIQ", trailer)
        check(salted(stored + trailer[:8], self.salt, handle.offset) == checksum, "block at %d: bad checksum", handle.offset)
        check(block_kind == kind and zero == 0 and size == handle.size, "block at %d: another trailer", handle.offset)
        check((compression == NONE) == (handle.stored == size), "block at %d: sizes", handle.offset)
        self.used.append((handle.offset, handle.offset + handle.stored + 16))
        self.compressions[compression] = self.compressions.get(compression, 0) + 1
        if compression == NONE:
            return stored
        check(kind != FILTER, "a compressed filter")
        if compression == LZ4:
            image = lz4.block.decompress(stored, uncompressed_size=size)
        else:
            check(compression == ZSTD, "compression %d", compression)
            image = zstandard.ZstdDecompressor().decompress(stored, max_output_size=size)
        check(len(image) == size, "block at %d: %d bytes decompressed", handle.offset, len(image))
        return image

    def read_footer(self):
        footer = self.data[self.end:]
        check(footer[120:] == b"HELIOSTE", "does not end with HELIOSTE")
        check(salted(footer[:112], self.salt, self.end) == struct.unpack_from("<Q", footer, 112)[0], "bad checksum of the footer")
        check(struct.unpack_from("<I", footer, 80)[0] == 1, "another version of the footer")
        check(footer[84:112] == bytes(28), "footer: bytes set that must be zero")
        names = ["filter", "range_deletes", "history_index", "top_index", "properties"]
        self.footer = {name: Handle(footer, 16 * i) for i, name in enumerate(names)}

    def read_properties(self):
        reader = Reader(self.block(self.footer["properties"], PROPERTIES))
        self.properties = {name: 0 for name in PROPERTY_NAMES.values()}
        self.smallest = self.largest = b""
        self.largest_exclusive = self.layers_many = False
        self.layers = None
        last = 0
        while not reader.done():
            tag = reader.varint()
            check(tag > last, "properties: tags do not ascend")
            last, item = tag, reader.slice()
            if tag < 32 or tag in (34, 36):
                number = Reader(item)
                value = number.varint()
                check(number.done(), "properties: item %d is longer than its number", tag)
            if tag in PROPERTY_NAMES:
                self.properties[PROPERTY_NAMES[tag]] = value
            elif tag == 32:
                self.smallest = item
            elif tag == 33:
                self.largest = item
            elif tag == 34:
                self.largest_exclusive = value == 1
            elif tag == 35:
                check(len(item) % 5 == 0 and len(item) <= 64 * 5, "properties: layers")
                self.layers = [item[i:i + 5] for i in range(0, len(item), 5)]
                check(self.layers == sorted(set(self.layers)), "properties: layers do not ascend")
            elif tag == 36:
                self.layers_many = value == 1

    def read_range_deletes(self):
        if self.footer["range_deletes"].is_none():
            return []
        reader = Reader(self.block(self.footer["range_deletes"], RANGE_DELETES))
        items = []
        for _ in range(reader.number(4)):
            start, end = reader.slice(), reader.slice()
            items.append((start, end, reader.varint()))
            check(start < end, "a range delete that ends before it begins")
        check(items and reader.done(), "range deletes: %d, and more bytes than they take", len(items))
        return items

    def read_index(self, handle, kind):
        image = self.block(handle, kind)
        count, size, width = struct.unpack_from("<IIB", image)
        check(count > 0 and size == len(image) and width == 4 and image[9:16] == bytes(7), "index at %d: header", handle.offset)
        ends_at = 16 + 40 * count
        keys_at = ends_at + 4 * count
        check(keys_at <= size, "index at %d: its entries pass its end", handle.offset)
        entries, begin = [], 0
        for i in range(count):
            at = 16 + 40 * i
            end, = struct.unpack_from("<I", image, ends_at + 4 * i)
            check(begin <= end <= size - keys_at, "index at %d: key ends", handle.offset)
            entries.append(IndexEntry(image[keys_at + begin:keys_at + end], Handle(image, at),
                                      *struct.unpack_from("<QQII", image, at + 16)))
            begin = end
        check(keys_at + begin == size, "index at %d: bytes behind its keys", handle.offset)
        return entries

    def read_entries(self, handle, kind):
        image = self.block(handle, kind)
        count, size, shared, offset_width, version_width, zero, base = struct.unpack_from("<IIIBBHQ", image)
        check(count > 0 and size == len(image) and zero == 0, "block at %d: header", handle.offset)
        check(offset_width in (2, 4) and version_width <= 8 and 1 <= base <= SEQ_MAX, "block at %d: widths", handle.offset)
        reader = Reader(image, 24)
        common = reader.raw(shared)
        key_ends = [reader.number(offset_width) for _ in range(count)]
        value_ends = [reader.number(offset_width) for _ in range(count)]
        kinds, hashes = reader.raw(count), reader.raw(count)
        versions = [base + reader.number(version_width) for _ in range(count)]
        suffixes, values = reader.raw(key_ends[-1]), reader.raw(value_ends[-1])
        check(reader.done(), "block at %d: bytes behind its values", handle.offset)
        check(key_ends == sorted(key_ends) and value_ends == sorted(value_ends), "block at %d: ends", handle.offset)
        entries = []
        for i in range(count):
            key = common + suffixes[key_ends[i - 1] if i else 0:key_ends[i]]
            value = values[value_ends[i - 1] if i else 0:value_ends[i]]
            bits = kinds[i]
            check(5 <= len(key) <= KEY_MAX and 1 <= versions[i] <= SEQ_MAX, "block at %d: entry %d", handle.offset, i)
            check(bits & 0x3F in (VALUE, TOMBSTONE), "block at %d: kind %x", handle.offset, bits)
            check(hashes[i] == xxh3(key) >> 56, "block at %d: the hash of entry %d", handle.offset, i)
            check(kind == DATA or not bits & 0x80, "history block at %d: has history", handle.offset)
            if bits & 0x40:
                check(bits & 0x3F == VALUE and len(value) == 16, "block at %d: large entry %d", handle.offset, i)
                value = self.block(Handle(value, 0), VALUES)
                check(len(value) > 256 * 1024, "a large value of %d bytes", len(value))
            else:
                check(len(value) <= 256 * 1024, "a value of %d bytes within a block", len(value))
            entries.append(Entry(key, versions[i], bits & 0x3F, bool(bits & 0x80), value))
        return entries

    # ---- the whole ----

    def read_blocks(self):
        self.top = self.partitions = self.history_index = ()
        if not self.footer["top_index"].is_none():
            self.top = self.read_index(self.footer["top_index"], TOP_INDEX)
            self.partitions = [self.read_index(entry.handle, INDEX) for entry in self.top]
        if not self.footer["history_index"].is_none():
            self.history_index = self.read_index(self.footer["history_index"], INDEX)
        self.data_blocks = [[self.read_entries(e.handle, DATA) for e in p] for p in self.partitions]
        self.history_blocks = [self.read_entries(e.handle, HISTORY) for e in self.history_index]
        self.newest = [e for partition in self.data_blocks for block in partition for e in block]
        self.older = [e for block in self.history_blocks for e in block]
        self.entries = sorted(self.newest + self.older, key=lambda e: order(e.key, e.tag))

    def check_index_entry(self, index, blocks, seq_max_exact=True):
        for entry, block in zip(index, blocks):
            check(entry.entries == len(block) and entry.tombstones == sum(e.kind == TOMBSTONE for e in block),
                  "index: counts of the block at %d", entry.handle.offset)
            check(entry.seq_max == max(e.seq for e in block), "index: largest version of the block at %d", entry.handle.offset)
            check(entry.last_tag == block[-1].tag, "index: last tag of the block at %d", entry.handle.offset)
            check(entry.separator >= block[-1].key, "index: a separator below its block at %d", entry.handle.offset)

    def check_all(self):
        properties = self.properties
        partitions = [[e for block in p for e in block] for p in self.data_blocks]
        for index, blocks in zip(self.partitions, self.data_blocks):
            self.check_index_entry(index, blocks)
        self.check_index_entry(self.history_index, self.history_blocks)
        self.check_index_entry(self.top, partitions)
        blocks = [block for p in self.data_blocks for block in p]
        separators = [e.separator for p in self.partitions for e in p]
        for separator, block in zip(separators, blocks[1:]):
            check(separator < block[0].key, "index: a separator at or above the next block")
        for entry, block in zip(self.history_index, self.history_blocks[1:]):
            check(entry.separator <= block[0].key, "history index: a separator above the next block")
        keys = [e.key for e in self.newest]
        check(all(a < b for a, b in zip(keys, keys[1:])), "keys of data blocks do not ascend")
        check([(e.key, e.tag) for e in self.older] == sorted([(e.key, e.tag) for e in self.older], key=lambda p: order(*p)),
              "history is out of order")
        newest = {e.key: e for e in self.newest}
        older = {}
        for e in self.older:
            older.setdefault(e.key, []).append(e)
        for key, versions in older.items():
            check(key in newest and newest[key].history and newest[key].seq > versions[0].seq, "history of a key that has none")
        check(all(e.history == (e.key in older) for e in self.newest), "a key without its history")

        every = self.newest + self.older
        seqs = [e.seq for e in every] + [seq for _, _, seq in self.range_deletes]
        counts = {"entries": len(every), "keys": len(self.newest),
                  "tombstones": sum(e.kind == TOMBSTONE for e in every), "range_deletes": len(self.range_deletes),
                  "key_bytes": sum(len(e.key) for e in every), "value_bytes": sum(len(e.value) for e in every),
                  "seq_min": min(seqs), "seq_max": max(seqs),
                  "history_seq_max": max((e.seq for e in self.older), default=0)}
        for name, value in counts.items():
            check(properties[name] == value, "property %s is %d, counted %d", name, properties[name], value)
        check(properties["shadow_min"] in self.shadow_mins(newest, older), "property shadow_min is %d", properties["shadow_min"])
        self.check_bounds()
        if self.filter is not None:
            check(all(self.filter_may_hold(key) for key in keys), "the filter denies a key that is there")
        # Every byte lies in exactly one block.
        at = HEADER_SIZE
        for begin, end in sorted(self.used):
            check(begin == at, "%d bytes at %d are in no block", begin - at, at)
            at = end
        check(at == self.end, "%d bytes before the footer are in no block", self.end - at)

    def shadow_mins(self, newest, older):
        """What it may be: by versions alone, or by some range delete below that."""
        versions = [newer.seq for key, versions in older.items() for newer in [newest[key]] + versions[:-1]]
        known = min(versions, default=0)
        ranges = {seq for e in self.newest + self.older for start, end, seq in self.range_deletes
                  if seq > e.seq and start <= e.key < end and (seq < known or not known)}
        return {known} | ranges

    def check_bounds(self):
        starts = [e.key for e in self.newest[:1]] + [start for start, _, _ in self.range_deletes]
        ends = [(end, True) for _, end, _ in self.range_deletes]
        last = max(ends, default=None)
        if self.newest and (last is None or self.newest[-1].key >= last[0]):
            last = (self.newest[-1].key, False)
        check(self.smallest == min(starts), "smallest key")
        check((self.largest, self.largest_exclusive) == last, "largest key")
        layers = {e.key[:5] for e in self.newest}
        if self.layers is not None:
            check(layers | {start[:5] for start, _, _ in self.range_deletes} == set(self.layers), "layers")
        else:
            check(self.layers_many, "neither layers nor that there are many")

    def filter_may_hold(self, key):
        lines, probes = struct.unpack_from("<IB", self.filter, len(self.filter) - 8)
        check(lines > 0 and 1 <= probes <= 14 and self.filter[-3:] == bytes(3) and len(self.filter) == 64 * lines + 8, "filter")
        hash_ = xxh3(key)
        line = self.filter[64 * ((hash_ >> 32) * lines >> 32):][:64]
        word1 = hash_ * GOLDEN & MASK64
        word2 = (word1 ^ word1 >> 32) * GOLDEN & MASK64
        for i in range(probes):
            bit = ((word1 if i < 7 else word2) >> (55 - 9 * (i % 7))) % 512
            if not line[bit // 8] >> (bit % 8) & 1:
                return False
        return True

    # ---- looking up, as the page says it is done ----

    def find(self, key, seq):
        """The newest version of key at or below seq, by the indexes; None."""
        top = bisect.bisect_left([e.separator for e in self.top], key)
        if top == len(self.top):
            return None
        part = bisect.bisect_left([e.separator for e in self.partitions[top]], key)
        if part == len(self.partitions[top]):
            return None
        found = next((e for e in self.data_blocks[top][part] if e.key == key), None)
        if found is None or found.seq <= seq:
            return found
        return self.find_older(key, seq) if found.history else None

    def find_older(self, key, seq):
        target = order(key, seq << 8 | 0xFF)
        index = [order(e.separator, e.last_tag) for e in self.history_index]
        at = bisect.bisect_left(index, target)
        if at == len(index):
            return None
        behind = [e for block in self.history_blocks[at:at + 2] for e in block if order(e.key, e.tag) >= target]
        return behind[0] if behind and behind[0].key == key else None


def read_table(path):
    with open(path, "rb") as file:
        return Table(file.read())


def main(arguments):
    quiet = "--quiet" in arguments
    paths = [a for a in arguments if not a.startswith("--")]
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    for path in paths:
        try:
            table = read_table(path)
        except Damaged as damage:
            print(f"{path}: {damage}", file=sys.stderr)
            return 1
        print(f"{path}: table {table.number}, {len(table.entries)} entries, {len(table.newest)} keys, "
              f"{len(table.range_deletes)} range deletes")
        if quiet:
            continue
        for e in table.entries:
            what = "put" if e.kind == VALUE else "delete"
            print(f"{what} @{e.seq} {e.key[:5].hex()} {e.key[5:]!r}" + (f" = {e.value!r}" if e.kind == VALUE else ""))
        for start, end, seq in table.range_deletes:
            print(f"delete_range @{seq} {start[:5].hex()} {start[5:]!r} .. {end[5:]!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
