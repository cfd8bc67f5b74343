#!/bin/bash
# quickstart.sh - builds Helios and shows it at work on real data: loads two files, reads, kills a
# writer in the middle of its work, recovers, verifies. On a bare Debian 12 it installs what it needs.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2086
need_packages $build_packages || exit 1
say "building (release) in ./build"
build build --buildtype=release -Dtests=false -Dbench=false >build-quickstart.log 2>&1 ||
    { tail -n 40 build-quickstart.log; exit 1; }
rm -f build-quickstart.log

scratch=$(mktemp -d "${TMPDIR:-/tmp}/helios-quickstart.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
db=$scratch/db
export PATH=$PWD/build/tools:$PATH

run() {
    printf '\n$ %s\n' "${*//$scratch\//}"
    "$@"
}

say "Real data: 3,376 airports and 10,000 bird strikes, each file one commit"
run heliosctl create "$db"
run heliosctl load "$db" examples/data/airports.csv --key iata --prefix airport:
run heliosctl load "$db" examples/data/birdstrikes.csv --key "Origin State" --row-number --prefix strike:

say "One key, a range, counts"
run heliosctl get "$db" airport:JFK
run heliosctl scan "$db" --prefix airport:SE --limit 5
run heliosctl scan "$db" --prefix strike:Alaska --reverse --limit 2 --keys-only
run heliosctl count "$db" --prefix airport:
run heliosctl count "$db" --prefix strike:Texas

say "The tree, as it lies on the disk"
run heliosctl flush "$db"
run heliosctl compact "$db"
run heliosctl tree "$db"
run heliosctl stats "$db"

say "kill -9 in the middle of a load"
# Fifty times the strikes, 100 rows a commit; the loader prints a line for each commit it was granted.
{
    head -n 1 examples/data/birdstrikes.csv
    for _ in $(seq 50); do tail -n +2 examples/data/birdstrikes.csv; printf '\n'; done
} >"$scratch/many.csv"
heliosctl load "$db" "$scratch/many.csv" --row-number --prefix many: --batch 100 --keep-going --replace \
    --durability async --acknowledge >"$scratch/acknowledged" 2>"$scratch/errors" &
writer=$!
granted() { awk '/^committed [0-9]+$/ {last = $2} END {print last + 0}' "$scratch/acknowledged"; }
for _ in $(seq 1000); do
    [ "$(granted)" -ge 20000 ] && break
    kill -0 "$writer" 2>/dev/null || break
    sleep 0.01
done
kill -9 "$writer" 2>/dev/null || { echo "the load ended before it could be killed:"; cat "$scratch/errors"; exit 1; }
wait "$writer" 2>/dev/null || true
granted=$(granted)
echo "The loader was killed after it had been told that $granted rows are in."
run heliosctl count "$db" --prefix many:
found=$(heliosctl count "$db" --prefix many:)
if [ "$found" -lt "$granted" ] || [ $((found % 100)) -ne 0 ]; then
    echo "LOST: $granted rows were acknowledged, $found are there"
    exit 1
fi
echo "Everything acknowledged is there, and no commit by half."

say "Every byte checked"
run heliosctl verify "$db"

cat <<'END'

Next:
  export PATH=$PWD/build/tools:$PATH
  heliosctl --help                      the other commands: export, dump, checkpoint, bench, shell
  heliosctl shell my.db --create        a prompt on a database of your own
  heliosctl bench /tmp/scratch          what this machine does
  examples/first.c                      the first program; README.md says how to compile it
  scripts/test.sh                       all tests
END
