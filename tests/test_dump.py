#!/usr/bin/python3
"""test_dump.py DUMP_MAKER - docs/format.md against the library: databases that it wrote, read by dump_table.py and
dump_log.py, which know the page alone, show at every point what the API showed."""
import glob
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

try:
    import lz4.block  # noqa: F401
    import xxhash  # noqa: F401
    import zstandard  # noqa: F401
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import dump_log  # noqa: E402
import dump_table  # noqa: E402
from dump_table import Damaged, Table, xxh3  # noqa: E402

MAIN_USER = bytes(5)  # branch 0, space 0

# name, compression, filter bits, keep history, how it ends
CASES = [
    ("plain", 0, "0", 1, "close"),
    ("lz4", 1, "14", 1, "feed"),
    ("zstd", 2, "5.5", 1, "unlogged"),
    ("no history", 1, "20", 0, "close"),
    ("killed", 1, "10", 1, "kill"),
]


def told_by_api(maker, path, case):
    """{point: {user key: (size, hash)}}, {commit: (time, operations, bytes)}"""
    command = [maker, path] + [str(value) for value in case[1:]]
    points, shown, commits = {}, None, {}
    for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
        fields = line.split(" ")
        if fields[0] == "point":
            shown = points.setdefault(int(fields[1]), {})
        elif fields[0] == "commit":
            commits[int(fields[1])] = tuple(int(field) for field in fields[2:])
        else:
            shown[bytes.fromhex(fields[0])] = (int(fields[1]), int(fields[2], 16))
    return points, commits


def compare(db, points):
    compared = 0
    for point, shown in points.items():
        if point < db.manifest.state["horizon"]:
            continue
        read = {key[5:]: (len(value), xxh3(value)) for key, value in db.visible(point).items() if key[:5] == MAIN_USER}
        assert read == shown, f"at {point}: {len(read)} keys read, {len(shown)} shown, " \
                              f"{sorted(k for k in read.keys() | shown.keys() if read.get(k) != shown.get(k))[:3]}"
        compared += 1
    return compared


def look_up(table):
    """Finding by the indexes, and the filter, as the page describes them."""
    for entry, older in zip(table.entries, table.entries[1:] + [None]):
        assert table.find(entry.key, entry.seq) is entry
        expected = older if older and older.key == entry.key else None
        assert table.find(entry.key, entry.seq - 1) is expected
    absent = [MAIN_USER + b"absent %d" % i for i in range(2000)]
    assert all(table.find(key, dump_table.SEQ_MAX) is None for key in absent)
    if table.filter is not None:
        return sum(table.filter_may_hold(key) for key in absent) / len(absent)
    return None


def flipped(data, at, rng):
    return data[:at] + bytes([data[at] ^ rng.randrange(1, 256)]) + data[at + 1:]


def refuses(parse, data, what):
    try:
        parse(data)
    except Damaged:
        return
    raise AssertionError(f"not noticed: {what}")


def damage(db, rng):
    """A flipped byte anywhere in a table, an edit or a record is noticed."""
    for _, table in db.tables[:4]:
        for at in [rng.randrange(len(table.data)) for _ in range(60)]:
            refuses(Table, flipped(table.data, at, rng), f"a flip at {at} of table {table.number}")
        refuses(Table, table.data[:-1], "a table without its last byte")
    for segment in db.segments:
        for record in segment.records(segment.predecessor_last)[0][:100]:
            size = struct.unpack_from("<I", segment.data, record.at)[0]
            at = record.at + rng.randrange(size)
            broken = dump_log.Segment(flipped(segment.data, at, rng))
            assert broken.record_at(record.at) is None, f"a flip at {at} of segment {segment.number}"


def damage_manifest(path, db, rng):
    data = dump_log.read_file(path)
    edits = [at for at, _ in db.manifest.edits]
    for begin, end in zip(edits, edits[1:]):  # all but the last, which could be a torn one
        size = struct.unpack_from("<I", data, begin)[0]
        refuses(dump_log.Manifest, flipped(data, begin + rng.randrange(16 + size), rng), f"a flip in the edit at {begin}")
    torn = dump_log.Manifest(data[:-9])
    assert torn.torn and len(torn.edits) == len(edits) - 1


def archives(path, rng):
    """All there are: whole, with terms for every key; and not whole with a byte flipped."""
    found = sorted(glob.glob(os.path.join(path, "wal", "*.arc")))
    assert len(found) >= 3
    read = [dump_log.Archive(dump_log.read_file(name)) for name in found]
    keys = sum(archive.check_terms() for archive in read)
    assert keys > 100 and any(len(archive.terms) > 10 for archive in read)
    for archive in read:
        for _ in range(20):
            refuses(dump_log.Archive, flipped(archive.archive, rng.randrange(16, len(archive.archive)), rng), "a flip in an archive")
    print(f"{len(read)} archives, {sum(len(archive.frames) for archive in read)} frames, {keys} keys")


def run(maker, case, path):
    rng = random.Random(1)
    points, commits = told_by_api(maker, path, case)
    db = dump_log.Database(path)
    clean = case[4] != "kill"
    assert db.manifest.state["clean"] == clean and (db.segments[-1].sealed_end is not None) == clean
    compared = compare(db, points)
    if case[4] == "feed":
        archives(path, rng)
    first = min(commits)
    timeline = {seq: commit for seq, commit in db.timeline().items() if seq >= first}
    assert timeline == commits, f"{len(timeline)} commits read, {len(commits)} told"
    assert len(commits) > 2000 or not case[3]
    assert compared == len(points) if case[3] else compared >= 1
    rates = [rate for _, table in db.tables for rate in [look_up(table)] if rate is not None]
    assert bool(rates) == (case[2] != "0") and all(rate < 0.15 for rate in rates)
    compressions = {c for _, table in db.tables for c in table.compressions}
    assert compressions == {0, case[1]}, compressions
    damage(db, rng)
    damage_manifest(os.path.join(path, dump_log.read_current(path)), db, rng)
    kinds = {record.kind for record in db.records}
    print(f"{case[0]}: {len(db.tables)} tables on levels {sorted({f.level for f, _ in db.tables})}, "
          f"{sum(len(t.older) for _, t in db.tables)} old versions, {len(db.range_deletes)} range deletes, "
          f"{sum(1 for f, _ in db.tables if f.override)} ingested, records {len(db.records)} of types {sorted(kinds)}, "
          f"{compared} points")
    return db


def main():
    scratch = tempfile.mkdtemp()
    try:
        databases = [run(sys.argv[1], case, os.path.join(scratch, case[0].replace(" ", "_"))) for case in CASES]
        # What the cases are for has come up.
        tables = [pair for db in databases for pair in db.tables]
        assert any(table.older for _, table in tables) and any(table.range_deletes for _, table in tables)
        assert any(len(entry.value) > 256 * 1024 for _, table in tables for entry in table.entries)
        assert any(file.override for file, _ in tables) and {f.level for f, _ in tables} >= {0, 6}
        assert any(record.last > db.manifest.state["flushed"] for db in databases for record in db.records)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
