#!/bin/sh
# test_view_example.sh PROGRAM SOURCE - the program that keeps a view runs twice, says what it should, and is at most 120
# lines long.
set -eu
program=$(realpath "$1") source=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cat >"$scratch/wanted" <<'WANTED'
first:
view:Germany 2
view:Norway 2
then:
view:Denmark 1
view:Germany 1
view:Norway 2
WANTED
for time in first second; do
    (cd "$scratch" && "$program") >"$scratch/output"
    diff -u "$scratch/wanted" "$scratch/output" || { echo "the $time run differs"; exit 1; }
done
[ "$(wc -l <"$source")" -le 120 ] || { echo "$source is longer than 120 lines"; exit 1; }
