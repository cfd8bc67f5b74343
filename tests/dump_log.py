#!/usr/bin/python3
"""dump_log.py DATABASE | MANIFEST | SEGMENT | ARCHIVE - identity, manifest and log, read with nothing but docs/format.md.

Of a database it prints what the tree and the log hold and where the log ends; of a file, its edits or records. Exit
status 1: damage. Shares no line with the library; used by test_dump.py."""
import glob
import os
import re
import struct
import sys

import zstandard

from dump_table import (HEADER_SIZE, PROPERTY_NAMES, RANGE_DELETE, SEQ_MAX, TOMBSTONE, VALUE, Damaged, FileHeader, Reader,
                        check, read_table, salted, xxh3)

LEVELS = 7
STATE_NAMES = ["next_file", "log_floor", "log_synced", "last_synced", "flushed", "ceiling", "horizon", "time", "last",
               "clean", "clean_end", "user_bytes", "zero"]
SIZE_CHECK = 0x5D8A1F3B96C2E047
COMMIT, INGEST, VOID, END = 1, 2, 3, 4
MANY = 0xFFFFFFFF
FIRST_RECORD = 4096


def read_file(path):
    with open(path, "rb") as file:
        return file.read()


# ---- identity and manifest ----

def read_identity(directory):
    data = read_file(os.path.join(directory, "HELIOS"))
    check(len(data) == 128, "HELIOS has %d bytes", len(data))
    header = FileHeader(data, b"HELIOSDB")
    check(salted(data[64:120], header.salt, 64) == struct.unpack_from("<Q", data, 120)[0], "HELIOS: bad checksum")
    check(data[104:120] == bytes(16), "HELIOS: bytes set that must be zero")
    return {"uuid": data[64:80].hex(), "node": data[80:96].hex(), "created": struct.unpack_from("<Q", data, 96)[0]}


def read_current(directory):
    data = read_file(os.path.join(directory, "CURRENT"))
    match = re.fullmatch(rb"(MANIFEST-\d{8}) ([0-9a-f]{16})\n", data)
    check(match and int(match[2], 16) == xxh3(match[1]), "CURRENT: %r", data)
    return match[1].decode()


class File:
    """A table as an edit or an ingest record names it."""

    def bounds_and_properties(self, reader):
        self.smallest, self.largest = reader.slice(), reader.slice()
        check(reader.varint() == 17, "a file with another count of properties")
        self.properties = {PROPERTY_NAMES[tag]: reader.varint() for tag in range(1, 18)}
        check(len(self.smallest) >= 5 and self.smallest <= self.largest, "a file with impossible bounds")
        return self


def numbers(reader, count):
    check(reader.varint() == count, "a field with another count than %d", count)
    return [reader.varint() for _ in range(count)]


class Manifest:
    def __init__(self, data):
        self.header = FileHeader(data, b"HELIOSMF")
        self.state, self.lost, self.files, self.edits = {}, [], {}, []
        at = HEADER_SIZE
        while at < len(data) and self.edit_at(data, at) is not None:
            body = self.edit_at(data, at)
            self.edits.append((at, self.apply(Reader(body))))
            check(len(self.edits) > 1 or self.edits[0][1][0] == "snapshot", "the first edit is no snapshot")
            at = at + 16 + len(body) + 7 & ~7
        check(self.edits, "no edit at 64")
        self.torn = len(data) - at if at < len(data) else 0
        for later in range(at + 8, len(data), 8):
            check(self.edit_at(data, later) is None, "the edit at %d is damaged, one at %d is whole", at, later)

    def edit_at(self, data, at):
        if len(data) - at < 16:
            return None
        size, zero, checksum = struct.unpack_from("<IIQ", data, at)
        if size == 0 or zero != 0 or at + 16 + size > len(data):
            return None
        body = data[at + 16:at + 16 + size]
        head = data[at:at + 8] + struct.pack("<Q", xxh3(body))
        return body if salted(head, self.header.salt, at) == checksum else None

    def apply(self, reader):
        told = []
        while not reader.done():
            tag = reader.number(1)
            if tag == 1:
                self.files = {}
                told.append("snapshot")
            elif tag == 2:
                self.state, self.lost = dict(zip(STATE_NAMES, numbers(reader, 13))), []
                self.state.update(timeline_flushed=self.state["flushed"], clock=0, feed_first=0, feed_segment=0, drops_settled=None)
                told.append(f"state {self.state}")
            elif tag == 3:
                file = File()
                file.level, file.number, file.size, file.override, exclusive, file.collected = numbers(reader, 6)
                check(file.level < LEVELS and exclusive <= 1, "a file with impossible numbers")
                file.exclusive = exclusive == 1
                file.bounds_and_properties(reader)
                check((file.level, file.number) not in self.files, "table %d is added twice", file.number)
                self.files[file.level, file.number] = file
                told.append(f"add table {file.number} to level {file.level}: {file.size} bytes, {file.smallest} .. {file.largest}")
            elif tag == 4:
                level, number = numbers(reader, 2)
                check(self.files.pop((level, number), None) is not None, "table %d, to be removed, is not there", number)
                told.append(f"remove table {number} from level {level}")
            elif tag == 5:
                self.lost.append(tuple(numbers(reader, 2)))
                told.append(f"lost numbers {self.lost[-1]}")
            elif tag == 6:
                self.state["timeline_flushed"], self.state["clock"] = numbers(reader, 2)
                told.append(f"timeline flushed up to {self.state['timeline_flushed']}, clock {self.state['clock']}")
            elif tag == 7:
                self.state["feed_first"], self.state["feed_segment"] = numbers(reader, 2)
                check(self.state["feed_first"] > 0, "a feed that begins nowhere")
                told.append(f"feed from {self.state['feed_first']}, segment {self.state['feed_segment']}")
            elif tag == 8:
                self.state["drops_settled"], = numbers(reader, 1)
                told.append(f"drops settled up to {self.state['drops_settled']}")
            else:
                raise Damaged(f"field {tag}")
        return told

    def check_levels(self):
        for level in range(1, LEVELS):
            files = sorted((f for f in self.files.values() if f.level == level), key=lambda f: (f.smallest, -f.properties["seq_max"]))
            for a, b in zip(files, files[1:]):
                check(a.largest <= b.smallest, "tables %d and %d of level %d overlap", a.number, b.number, level)


# ---- log ----

class Record:
    def __init__(self, at, end, first, count, kind, time, synced, branch, body):
        self.at, self.end, self.first, self.count, self.kind, self.time = at, end, first, count, kind, time
        self.synced, self.branch, self.body = synced, branch, body

    @property
    def last(self):
        return self.first + self.count - 1

    def operations(self):
        """(kind, key with its layer, value) in order."""
        reader, found = Reader(self.body), []
        for _ in range(self.count):
            kind, space = reader.number(1), reader.number(1)
            branch = reader.number(4) if self.branch == MANY else self.branch
            check(kind in (VALUE, TOMBSTONE, RANGE_DELETE), "record at %d: operation %d", self.at, kind)
            key_size = reader.varint()
            value_size = 0 if kind == TOMBSTONE else reader.varint()
            layer = struct.pack(">IB", branch, space)
            key, value = layer + reader.raw(key_size), reader.raw(value_size)
            found.append((kind, key, layer + value if kind == RANGE_DELETE else value))
        check(reader.done(), "record at %d: more bytes than operations", self.at)
        return found

    def reduced(self):
        """What it comes to in the tree: {key: (kind, value)} and range deletes, all numbered `last`."""
        keys, ranges = {}, []
        for kind, key, value in self.operations():
            if kind == RANGE_DELETE:
                keys = {k: v for k, v in keys.items() if not key <= k < value}
                ranges.append((key, value))
            else:
                keys[key] = (kind, value)
        return keys, ranges

    def tables(self):
        reader, files = Reader(self.body), []
        for _ in range(reader.varint()):
            file = File()
            file.number, file.size, exclusive = reader.varint(), reader.varint(), reader.varint()
            file.exclusive = exclusive == 1
            files.append(file.bounds_and_properties(reader))
        self.user_bytes = None if reader.done() else reader.varint()
        check(files and reader.done(), "record at %d: its tables", self.at)
        return files

    def bytes_of_users(self):
        if self.kind == INGEST:
            self.tables()
            return self.user_bytes
        layers = {RANGE_DELETE: 10, VALUE: 5, TOMBSTONE: 5}
        return sum(len(key) + len(value) - layers[kind] for kind, key, value in self.operations())


class Segment:
    def __init__(self, data):
        check(len(data) >= FIRST_RECORD, "ends within its first page")
        header = FileHeader(data, b"HELIOSWL")
        self.data, self.number, self.salt = data, header.number, header.salt
        check(salted(data[64:120], self.salt, 64) == struct.unpack_from("<Q", data, 120)[0], "bad checksum of the link")
        (self.predecessor, self.predecessor_end, self.predecessor_last, self.first, self.size, self.created,
         self.copied_end) = struct.unpack_from("<7Q", data, 64)
        check(self.size % 4096 == 0 and self.predecessor < self.number, "an impossible link")
        magic, end, last, self.sealed_time = struct.unpack_from("<8sQQQ", data, 512)
        good = (magic == b"SEALSEAL" and end % 8 == 0 and FIRST_RECORD <= end <= self.size and
                salted(data[512:568], self.salt, 512) == struct.unpack_from("<Q", data, 568)[0])
        self.sealed_end, self.sealed_last = (end, last) if good else (None, None)
        self.limit = self.sealed_end if good else self.size
        check(len(data) >= self.limit, "has %d bytes, should have %d", len(data), self.limit)

    def record_at(self, at, above=0):
        """The record at an offset, or None if what stands there is none. An end record is one too."""
        if self.limit - at < 64:
            return None
        size, count, checksum, tagged, time, synced, body_hash, branch, flags, size_check = struct.unpack_from(
            "<IIQQQQQIIQ", self.data, at)
        end = at + (size + 7 & ~7)
        if struct.unpack_from("<Q", self.data, at)[0] ^ SIZE_CHECK != size_check or size < 64 or end > self.limit:
            return None
        if salted(self.data[at + 16:at + 64], self.salt, at) != checksum:
            return None
        kind, first = tagged & 0xFF, tagged >> 8
        check(COMMIT <= kind <= END and flags in (0, 1), "record at %d: type %d, flags %x", at, kind, flags)
        body = b"" if kind == VOID else self.data[at + 64:at + size]
        if kind != VOID and xxh3(body) != body_hash:
            return None
        if kind == END:
            return Record(at, end, first, 0, kind, time, synced, branch, body) if count == 0 and size == 64 else None
        if count == 0 or first <= above or first + count - 1 > SEQ_MAX:
            return None
        return Record(at, end, first, count, kind, time, synced, branch, body)

    def records(self, above=0, end=None):
        """Those in order; where they end; and whether that is a natural end."""
        found, at = [], FIRST_RECORD
        while True:
            if end is not None and at >= end:
                return found, at, True
            record = self.record_at(at, above)
            if record is None:
                natural = self.limit - at < 64 and (self.sealed_end is None or at == self.sealed_end)
                return found, at, natural
            if record.kind == END:
                return found, at, True
            found.append(record)
            above, at = record.last, record.end


def unpack_list(data):
    reader, frames = Reader(data), []
    while not reader.done():
        step = reader.varint()
        check(not frames or step > 0, "a list with a frame twice")
        frames.append((frames[-1] if frames else 0) + step)
    return frames


class Archive(Segment):
    """A segment from its archive; also which frames hold which beginnings of keys."""

    def __init__(self, data):
        header = FileHeader(data, b"HELIOSAR")
        self.archive, self.salt, foot = data, header.salt, len(data) - 64
        check(data[foot + 56:] == b"ARCHIVED", "no footer")
        count, index, postings, directory, end, zero, _ = struct.unpack_from("<7Q", data, foot)
        self.checked(foot, foot + 56)
        self.checked(64, 648)
        check(zero == 0 and 648 <= index < postings <= directory < foot, "impossible sections")
        image, at, self.frames, first = bytearray(data[64:640].ljust(FIRST_RECORD, b"\0")), 648, [], 0
        reader = Reader(self.checked(index, postings))
        for _ in range(count):
            size, stored, step = 8 * reader.varint(), reader.varint(), reader.varint()
            first += step
            frame = self.checked(at, at + stored + 8)
            self.frames.append((len(image), first))
            if stored != size:
                frame = zstandard.ZstdDecompressor().decompress(frame, max_output_size=size)
            check(len(frame) == size and step > 0, "frame %d at %d", len(self.frames) - 1, at)
            image, at = image + frame, at + stored + 8
        check(reader.done() and at == index and len(image) == end, "frames that are not all of the segment")
        super().__init__(bytes(image))
        check(self.number == header.number and self.sealed_end == end, "of another segment")
        self.read_terms(Reader(self.checked(directory, foot)), postings, directory)

    def checked(self, begin, end):
        """What stands there, without its checksum."""
        check(end - begin >= 8, "no room for a checksum at %d", begin)
        body = self.archive[begin:end - 8]
        check(salted(body, self.salt, begin) == struct.unpack_from("<Q", self.archive, end - 8)[0], "bad checksum of %d", begin)
        return body

    def read_terms(self, reader, at, end):
        self.always, self.depths, self.terms = None, {}, {}
        if reader.done():
            return

        def next_list():
            nonlocal at
            begin, at = at, at + reader.varint() + 8
            check(at <= end, "a list beyond the postings")
            return unpack_list(self.checked(begin, at))

        self.always = set(next_list())
        for _ in range(reader.varint()):
            space, depth = reader.number(1), reader.number(1)
            self.depths[space], term = depth, b""
            for _ in range(reader.varint()):
                shared, more = reader.varint(), reader.varint()
                before, term = term, term[:shared] + reader.raw(more)
                check(before < term or not any(s == space for s, _ in self.terms), "terms out of order")
                check(len(term) <= depth, "a term that is too long")
                self.terms[space, term] = set(next_list())
        check(reader.done() and at == end, "postings without a term")

    def check_terms(self):
        """Each key of each record is among the terms of its frame."""
        frame, found = -1, 0
        for record in self.records()[0]:
            while frame + 1 < len(self.frames) and self.frames[frame + 1][0] <= record.at:
                frame += 1
                check(self.frames[frame][1] == record.first or self.frames[frame][0] != record.at, "a frame's first number")
            if self.always is None or frame in self.always or record.kind == VOID:
                continue
            for _, key, _ in record.operations():
                space, user = key[4], key[5:]
                check(frame in self.terms[space, user[:self.depths[space]]], "frame %d: a key that its terms lack", frame)
                found += 1
        return found


def read_log(directory, floor):
    """The segments from the floor on, oldest first, and the records of all."""
    names = {int(os.path.basename(p)[:-4]): p for p in glob.glob(os.path.join(directory, "wal", "*.wal"))}
    segments = []
    number = max(names, default=0)
    while number and number >= floor:
        check(number in names, "segment %d is missing", number)
        segments.insert(0, Segment(read_file(names[number])))
        check(segments[0].number == number, "segment %d calls itself %d", number, segments[0].number)
        number = segments[0].predecessor
    check(not floor or (segments and segments[0].number == floor), "segment %d, the floor, is missing", floor)
    records, end = [], 0
    for i, segment in enumerate(segments):
        behind = segments[i + 1:]
        cut = behind[0].predecessor_end or None if behind else None
        above = max([segment.predecessor_last] + [r.last for r in records])
        found, at, natural = segment.records(above, cut)
        records += found
        end = segment.number << 32 | at
        if not natural or cut is not None and at > cut:
            check_end(segment, at, behind, above)
            break
    return segments, records, end


def check_end(segment, at, behind, above):
    """The log ends at a place that is no record: does anything say that it had been synced?"""
    where = f"segment {segment.number}: no record at {at}"
    check(segment.sealed_end is None and at >= segment.copied_end, "%s, which was synced", where)
    check(all(s.sealed_end is None and s.predecessor_end == 0 for s in behind), "%s, and a later segment says it was synced", where)
    for later in [segment] + behind:
        for offset in range(at + 8 if later is segment else FIRST_RECORD, later.limit - 63, 8):
            record = later.record_at(offset, above)
            check(record is None or record.synced <= (segment.number << 32 | at),
                  "%s, and the record at %d of segment %d knows that it was synced", where, offset, later.number)


# ---- timeline ----

def unpack_run(value, time, last):
    reader, commits = Reader(value), {}
    check(reader.number(1) == 1, "a timeline run of another version")
    count, seq, at = reader.varint(), reader.varint(), 0
    check(1 <= count <= 256, "a timeline run of %d commits", count)
    for _ in range(count):
        at += reader.varint()
        step, gap, size = reader.varint(), reader.varint(), reader.varint()
        seq += step
        check(gap < step, "commit %d of the timeline has no number", seq)
        commits[seq] = (at, step - gap, size)
    check(reader.done() and (at, seq) == (time, last), "a timeline run that does not end at %d", last)
    return commits


# ---- a database ----

class Database:
    """All versions that tables and log hold, and what is visible at a point."""

    def __init__(self, directory):
        self.identity = read_identity(directory)
        self.manifest = Manifest(read_file(os.path.join(directory, read_current(directory))))
        self.manifest.check_levels()
        self.versions, self.range_deletes, self.tables = {}, [], []
        known = set()
        for file in self.manifest.files.values():
            self.add_table(directory, file, file.override)
            known.add(file.number)
        state = self.manifest.state
        self.segments, self.records, self.log_end = read_log(directory, state["log_floor"])
        check(self.log_end >= state["log_synced"] and (not state["clean"] or self.log_end >= state["clean_end"]),
              "the log ends before what the manifest knows of it")
        self.last = max([state["flushed"], state["last"] if state["clean"] else 0] +
                        [f.properties["seq_max"] for f in self.manifest.files.values()] + [r.last for r in self.records])
        for record in self.records:
            if record.last <= state["flushed"]:
                continue
            if record.kind == COMMIT:
                self.add_commit(record)
            elif record.kind == INGEST:
                for file in record.tables():
                    if file.number not in known:
                        self.add_table(directory, file, record.last)

    def timeline(self):
        """{commit: (time, operations, bytes)}, of tables and log."""
        commits = {}
        system = b"\0\0\0\0\xff"
        for key, versions in self.versions.items():
            if key[:6] == system + b"t":
                time, last = struct.unpack(">QQ", key[6:])
                check(list(versions) == [last], "a timeline entry of %d with other versions", last)
                commits.update(unpack_run(versions[last], time, last))
            elif key[:6] == system + b"s":
                last, = struct.unpack(">Q", key[6:])
                time, = struct.unpack(">Q", versions[last])
                check(system + b"t" + struct.pack(">QQ", time, last) in self.versions or last < self.manifest.state["horizon"],
                      "the timeline's entry by number of %d has none by time", last)
        for record in self.records:
            if record.kind in (COMMIT, INGEST) and record.last > self.manifest.state["timeline_flushed"]:
                check(record.last not in commits, "commit %d is twice in the timeline", record.last)
                commits[record.last] = (record.time, record.count, record.bytes_of_users())
        return dict(sorted(commits.items()))

    def add_version(self, key, seq, kind, value):
        self.versions.setdefault(key, {})[seq] = None if kind == TOMBSTONE else value

    def add_commit(self, record):
        keys, ranges = record.reduced()
        for key, (kind, value) in keys.items():
            self.add_version(key, record.last, kind, value)
        self.range_deletes += [(start, end, record.last) for start, end in ranges]

    def add_table(self, directory, file, override):
        table = read_table(os.path.join(directory, "sst", f"{file.number:08}.sst"))
        check(table.number == file.number and len(table.data) == file.size, "table %d is another", file.number)
        check((table.smallest, table.largest, table.largest_exclusive) == (file.smallest, file.largest, file.exclusive),
              "table %d: its bounds are not those recorded", file.number)
        for name, value in file.properties.items():
            check(table.properties[name] == value or (override and name in ("seq_min", "seq_max")),
                  "table %d: property %s is not the recorded one", file.number, name)
        self.tables.append((file, table))
        for e in table.entries:
            self.add_version(e.key, override or e.seq, e.kind, e.value)
        self.range_deletes += [(start, end, override or seq) for start, end, seq in table.range_deletes]

    def visible(self, seq):
        """{key with layer: value} at a point."""
        shown = {}
        ranges = [r for r in self.range_deletes if r[2] <= seq]
        for key, versions in self.versions.items():
            newest = max((s for s in versions if s <= seq), default=None)
            if newest is None or versions[newest] is None:
                continue
            if not any(s > newest and start <= key < end for start, end, s in ranges):
                shown[key] = versions[newest]
        return shown


# ---- printing ----

NAMES = {COMMIT: "commit", INGEST: "ingest", VOID: "void", END: "end"}


def print_segment(segment):
    print(f"segment {segment.number} of {segment.size} bytes, created {segment.created}, first number {segment.first}, "
          f"copied up to {segment.copied_end}")
    print(f"  follows {segment.predecessor}, cut at {segment.predecessor_end}, last number {segment.predecessor_last}")
    if segment.sealed_end is not None:
        print(f"  sealed at {segment.sealed_end}, last number {segment.sealed_last}")
    records, at, natural = segment.records(segment.predecessor_last)
    for r in records:
        print(f"  {r.at}: {NAMES[r.kind]} {r.first}..{r.last} at {r.time}")
        if r.kind == COMMIT:
            for kind, key, value in r.operations():
                print(f"    {kind} {key[:5].hex()} {key[5:]!r} {value[:40]!r}")
        elif r.kind == INGEST:
            print(f"    tables {[f.number for f in r.tables()]}")
    print(f"  {at}: {'the end' if natural else 'no record here'}")


def print_manifest(manifest):
    for at, fields in manifest.edits:
        print(f"edit at {at}")
        for field in fields:
            print(f"  {field}")
    if manifest.torn:
        print(f"{manifest.torn} bytes behind the last edit are none")


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    path = arguments[0]
    try:
        if os.path.isdir(path):
            db = Database(path)
            print(f"{path}: {db.identity}")
            print_manifest(db.manifest)
            for segment in db.segments:
                print_segment(segment)
            print(f"last commit {db.last}, {len(db.visible(db.last))} keys in all spaces and branches")
        elif os.path.basename(path).startswith("MANIFEST-"):
            print_manifest(Manifest(read_file(path)))
        elif path.endswith(".arc"):
            archive = Archive(read_file(path))
            print(f"archive: {len(archive.frames)} frames, {len(archive.terms)} terms, {archive.check_terms()} keys have theirs")
            print_segment(archive)
        else:
            print_segment(Segment(read_file(path)))
    except Damaged as damage:
        print(f"{path}: {damage}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
