#!/bin/bash
# quickstart.sh - builds Helios and shows it at work on real data: loads two files, reads, corrects a
# value and reads it as it was, kills a writer in the middle of its work, recovers, forks a branch and
# merges it back, reads the changes, makes a table, verifies. On a bare Debian 12 it installs what it needs.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2086
need_packages $build_packages || exit 1
say "Building a release in ./build"
build build --buildtype=release -Dtests=false -Dbench=false >build-quickstart.log 2>&1 ||
    { tail -n 40 build-quickstart.log; exit 1; }
rm -f build-quickstart.log

root=$PWD
scratch=$(mktemp -d "${TMPDIR:-/tmp}/helios-quickstart.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
ln -s "$root/examples/data" data
export PATH=$root/build/tools:$PATH
# The tree is drawn with lines where the terminal's text can be UTF-8.
[ -n "${LC_ALL:-}${LC_CTYPE:-}${LANG:-}" ] || export LC_CTYPE=C.UTF-8

# run COMMAND... - shows it as one would type it, then runs it.
run() {
    local word line='$'
    for word in "$@"; do
        case $word in *'"'*) word="'$word'" ;; *' '*) word="\"$word\"" ;; esac
        line="$line $word"
    done
    printf '\n%s\n' "$line"
    "$@"
}
explain() {
    echo
    printf '   %s\n' "$@"
}

say "Real data: airports and bird strikes. Each file is one commit: all of it or nothing"
run heliosctl create db --feed
run heliosctl load db data/airports.csv --key iata --prefix airport:
run heliosctl flush db
run heliosctl load db data/birdstrikes.csv --key "Origin State" --row-number --prefix strike:
run heliosctl flush db

say "One key, a range of keys, counts"
run heliosctl get db airport:JFK
run heliosctl scan db --prefix airport:SE --limit 3
run heliosctl scan db --prefix strike:Texas --reverse --limit 2 --keys-only
run heliosctl count db --prefix airport:
run heliosctl count db --prefix strike:Texas

say "History: a correction, and the value before it"
explain "Every state stays readable for as long as the database is opened to keep it: by a tag, a time, a number."
run heliosctl tag create db before-correction
before=$(date -u '+%F %T.%3N')
run heliosctl put db airport:JFK "$(heliosctl get db airport:JFK |
    sed 's/John F Kennedy Intl/John F. Kennedy International/')"
run heliosctl get db airport:JFK
run heliosctl get db airport:JFK --at tag:before-correction
run heliosctl get db airport:JFK --at "$before"
run heliosctl history db airport:JFK
run heliosctl log db --limit 5
run heliosctl pins db

say "The tree, as it lies on the disk"
explain "Each flush made one table of level 0. A compaction moves them into the last level, merged where they overlap."
run heliosctl tree db
run heliosctl compact db
run heliosctl tree db
run heliosctl stats db

say "kill -9 in the middle of a load"
explain "The strikes, fifty times over, 100 rows a commit. The loader prints a line for each commit" \
    "that it was told is in; when it has printed 200 of them, it is killed."
{
    head -n 1 data/birdstrikes.csv
    for _ in $(seq 50); do tail -n +2 data/birdstrikes.csv; printf '\n'; done
} >many.csv
printf '\n%s\n' '$ heliosctl load db many.csv --row-number --prefix many: --batch 100 --keep-going --durability async --acknowledge'
heliosctl load db many.csv --row-number --prefix many: --batch 100 --keep-going --durability async \
    --acknowledge >acknowledged 2>errors &
writer=$!
granted() { awk '/^committed [0-9]+$/ {last = $2} END {print last + 0}' acknowledged; }
for _ in $(seq 3000); do
    [ "$(granted)" -ge 20000 ] && break
    kill -0 "$writer" 2>/dev/null || break
    sleep 0.01
done
kill -9 "$writer" 2>/dev/null || { echo "the load ended before it could be killed:"; cat errors; exit 1; }
wait "$writer" 2>/dev/null || true
granted=$(granted)
echo "Killed; the last line it printed: committed $granted"

explain "The next to open the database recovers it; it says so in the file LOG."
run heliosctl count db --prefix many:
found=$(heliosctl count db --prefix many:)
run heliosctl flush db
run tail -n 3 db/LOG
if [ "$found" -lt "$granted" ] || [ $((found % 100)) -ne 0 ]; then
    echo "LOST: $granted rows were acknowledged, $found are there"
    exit 1
fi
explain "All $granted acknowledged rows are there ($found found), and no commit by half."

say "Branches: airports are corrected on a fork, and meanwhile on main"
explain "Making one costs a small record, whatever the database holds. What main gets afterwards does not show on it."
# rename BRANCH AIRPORT OLD NEW
rename() {
    run heliosctl put db "airport:$2" "$(heliosctl get db "airport:$2" --branch "$1" | sed "s/$3/$4/")" --branch "$1"
}
run heliosctl branch create db names
rename names ATL 'William B Hartsfield-Atlanta Intl' 'Hartsfield-Jackson Atlanta International'
rename names LAS 'McCarran International' 'Harry Reid International'
run heliosctl delete db airport:00M --branch names
rename main ATL 'William B Hartsfield-Atlanta Intl' 'Hartsfield Atlanta'
rename main SEA 'Seattle-Tacoma Intl' 'Seattle-Tacoma International'
explain "What differs: exit code 9, as there is something. Then the merge: one airport was changed on both sides," \
    "so nothing is merged and the exit code is 8, until it is said which value is right."
run heliosctl diff db main..names || [ $? -eq 9 ]
run heliosctl merge db names || [ $? -eq 8 ]
run heliosctl merge db names --theirs
run heliosctl get db airport:ATL
run heliosctl log db --graph

say "The change feed: what was done to airports since the tag, and what was there before"
explain "It is the log, kept: every operation on every branch, in order; * is the last one of its commit." \
    "A broker's producer reads JSON from the pipe, and a consumer's name makes it go on where it stopped."
run heliosctl changes db --from tag:before-correction --prefix airport: --before
run heliosctl changes db --from tag:before-correction --prefix airport: --before --limit 1 --json
printf '\n%s\n' '$ heliosctl changes db --from tag:before-correction --prefix airport: --consumer mirror --json | wc -l'
heliosctl changes db --from tag:before-correction --prefix airport: --consumer mirror --json | wc -l
run heliosctl put db airport:XHE Heliosport
run heliosctl changes db --prefix airport: --consumer mirror
run heliosctl consumer list db
run heliosctl feed stats db

say "Tables: airports in typed columns, and no code twice"
explain "The types are those that the values have. A row and its index entries are one commit; exit code 2 for a code" \
    "that is there. An index is in its columns' order, and a table at a point is as it was."
run heliosctl load db data/airports.csv --table airports --unique iata
run heliosctl table describe db airports
run heliosctl row insert db airports iata=SEA "name=Another Seattle" || [ $? -eq 2 ]
run heliosctl index create db airports state city
run heliosctl rows db airports --index state_city --from WA,Se --to WA,Sp --columns iata,name,city,latitude
run heliosctl tag create db before-renaming
run heliosctl row update db airports SEA --index iata "name=Seattle-Tacoma International"
run heliosctl rows db airports --index iata --from SEA --to SEA
run heliosctl rows db airports --index iata --from SEA --to SEA --at tag:before-renaming --json

say "Every byte checked"
run heliosctl verify db

cat <<END

What to try next, from $root:

  export PATH=\$PWD/build/tools:\$PATH
  heliosctl --help                      all commands: export, dump, checkpoint, ...
  heliosctl shell my.db --create        a prompt on a database of your own
  heliosctl bench /tmp/scratch          what this machine and disk do
  less README.md                        the first program in C, and how to compile it
  scripts/test.sh                       all tests
END
