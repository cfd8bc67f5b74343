#!/bin/sh
# test_history_example.sh PROGRAM SOURCE - the program about history runs twice, says what it should, and is at most
# 60 lines long.
set -eu
program=$(realpath "$1") source=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cat >"$scratch/wanted" <<'END'
now            113 ft
by tag         34 ft
by time        34 ft
by number      34 ft
commit N       113 ft
commit N       34 ft
END
for time in first second; do
    (cd "$scratch" && "$program") | sed 's/^commit [0-9]* */commit N       /' >"$scratch/output"
    diff -u "$scratch/wanted" "$scratch/output" || { echo "the $time run differs"; exit 1; }
done
[ "$(wc -l <"$source")" -le 60 ] || { echo "$source is longer than 60 lines"; exit 1; }
