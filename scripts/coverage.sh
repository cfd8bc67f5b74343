#!/bin/bash
# coverage.sh - branch coverage by room, as Markdown rows: builds with gcov in ./build-cov, runs the tests (or those named:
# scripts/coverage.sh wal table), and adds up. Takes about ten minutes of two cores, so CI does not run it. Assertions are
# compiled out: their other branch is never taken.
set -u
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2086
need_packages $build_packages $test_packages gcovr || exit 1
directory=build-cov
build $directory --buildtype=debug -Db_coverage=true -Db_ndebug=true -Dbench=false || exit 1
find $directory -name '*.gcda' -delete
meson test -C $directory --no-rebuild --timeout-multiplier 4 "$@" || true
gcovr --root . --object-directory $directory --json-summary $directory/coverage.json \
    --exclude 'tests/.*' --exclude 'fuzz/.*' --exclude 'bench/.*' --exclude 'examples/.*' || exit 1
python3 - $directory/coverage.json <<'END'
import collections
import json
import sys

rooms = collections.defaultdict(lambda: [0, 0, 0, 0])
for file in json.load(open(sys.argv[1]))["files"]:
    room = rooms[file["filename"].split("/")[0]]
    for i, key in enumerate(("line_covered", "line_total", "branch_covered", "branch_total")):
        room[i] += file[key]
print("| room | lines | branches |\n| --- | ---: | ---: |")
for room, (lines, all_lines, branches, all_branches) in sorted(rooms.items()):
    print(f"| {room} | {100 * lines / max(all_lines, 1):.1f} % of {all_lines:,} "
          f"| {100 * branches / max(all_branches, 1):.1f} % of {all_branches:,} |")
END
