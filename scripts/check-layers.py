#!/usr/bin/env python3
"""The direction of dependencies, and the one door to the operating system.

Includes point down the list of rooms; a *_internal.h stays inside its folder; only io/ makes system
calls on files. Prints each offence as FILE:LINE and exits with 1 if there is one."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# A room may include from rooms on a lower line, and from itself. Everybody may include the public header.
ROOMS = [["base"], ["io"], ["wal", "memtable", "sstable"], ["compaction", "mvcc", "branch"], ["engine"],
         ["changelog", "table"]]
HEIGHT = {room: height for height, rooms in enumerate(ROOMS) for room in rooms}
# These stand outside the house: a unit test, fuzz target or bench looks into the module it is about.
FREE = {"tests", "fuzz", "bench"}
# The tool and the examples are programs of users: the public header, and base/ for the tool.
USERS = {"tools": {"tools", "base"}, "examples": set()}
# dump shows files of a database that may not open.
MAY_LOOK_INSIDE = {"tools/dump.c"}
MAY_CALL_THE_SYSTEM = FREE | set(USERS) | {"io"}
# Memory straight from the system is no file.
ALLOWED_CALLS = {("base/mem.c", "mmap"), ("base/mem.c", "munmap")}

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
CALLS = ("open openat open64 creat fopen freopen read readv pread preadv write writev pwrite pwritev fsync fdatasync "
         "sync_file_range rename renameat renameat2 unlink unlinkat remove link linkat symlink mkdir mkdirat rmdir "
         "mmap munmap msync ftruncate truncate fallocate posix_fallocate posix_fadvise readahead stat lstat fstat "
         "fstatat opendir fdopendir readdir scandir flock lockf statvfs fstatvfs statfs").split()
CALL = re.compile(r"(?<![\w.>])(" + "|".join(CALLS) + r")\s*\(")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)


def blank(match):
    """Comments and strings become blanks, lines stay where they are."""
    return re.sub(r"[^\n]", " ", match.group(0))


def room_of(path):
    return path.split("/")[0]


def include_offence(path, target):
    room, target_room = room_of(path), room_of(target)
    if target.startswith("helios/"):
        return None
    if "/" not in target:
        return f'"{target}" has no folder: write "room/{target}"' if (ROOT / room / target).exists() else None
    if target.endswith("_internal.h") and target_room != room and room not in {"tests", "fuzz"}:
        return f"{target} is private to {target_room}/"
    if room in FREE or target_room == room or path in MAY_LOOK_INSIDE:
        return None
    if room in USERS:
        return None if target_room in USERS[room] else f"{room}/ sees only the public header, not {target}"
    if room not in HEIGHT:
        return f"{room}/ is no room that scripts/check-layers.py knows"
    if target_room not in HEIGHT or HEIGHT[target_room] >= HEIGHT[room]:
        return f"{room}/ is not above {target_room}/ and may not include {target}"
    return None


def offences(file):
    path = file.relative_to(ROOT).as_posix()
    text = file.read_text(encoding="utf-8")
    for number, line in enumerate(text.split("\n"), 1):
        found = INCLUDE.match(line)
        offence = include_offence(path, found.group(1)) if found else None
        if offence:
            yield path, number, offence
    if room_of(path) in MAY_CALL_THE_SYSTEM:
        return
    for number, line in enumerate(COMMENT.sub(blank, text).split("\n"), 1):
        for call in CALL.findall(line):
            if (path, call) not in ALLOWED_CALLS:
                yield path, number, f"{call}() outside io/: every call on files goes through io/io.h"


def main():
    count = 0
    files = sorted(f for f in ROOT.rglob("*.[ch]") if not f.relative_to(ROOT).parts[0].startswith((".", "build", "include")))
    for file in files:
        for path, number, offence in offences(file):
            print(f"{path}:{number}: {offence}")
            count += 1
    print(f"{len(files)} files, {count} offences")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
