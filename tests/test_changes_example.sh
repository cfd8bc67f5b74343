#!/bin/sh
# test_changes_example.sh PROGRAM SOURCE - the program that follows changes runs twice, says what it should, and is at most
# 90 lines long.
set -eu
program=$(realpath "$1") source=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cat >"$scratch/wanted" <<'WANTED'
first:
stock:apples   -> 10.
stock:pears    -> 4.
then:
stock:apples  10 -> 7,
sold:apples    -> 3.
stock:pears   4.
WANTED
for time in first second; do
    (cd "$scratch" && "$program") >"$scratch/output"
    diff -u "$scratch/wanted" "$scratch/output" || { echo "the $time run differs"; exit 1; }
done
[ "$(wc -l <"$source")" -le 90 ] || { echo "$source is longer than 90 lines"; exit 1; }
