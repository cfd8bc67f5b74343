#!/bin/sh
# test_first.sh PROGRAM SOURCE README - the first program runs twice (new database, existing one), says
# what it should, is at most 30 lines long, and stands in the README word for word.
set -eu
program=$(realpath "$1") source=$2 readme=$3
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cat >"$scratch/wanted" <<'END'
Lima is in Peru
city:kyoto
city:lima
city:oslo
END
for time in first second; do
    (cd "$scratch" && "$program") >"$scratch/output"
    diff -u "$scratch/wanted" "$scratch/output" || { echo "the $time run differs"; exit 1; }
done

[ "$(wc -l <"$source")" -le 30 ] || { echo "$source is longer than 30 lines"; exit 1; }
awk '/^```c$/ {inside = 1; next} /^```$/ {if (inside) exit} inside' "$readme" | diff -u "$source" - ||
    { echo "the README shows another program"; exit 1; }
