#!/bin/sh
# test_replicas_example.sh PROGRAM SOURCE - the program with three databases says what it should, and is at most 110 lines
# long.
set -eu
program=$(realpath "$1") source=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cat >"$scratch/wanted" <<'WANTED'
0: 150, by the sea
1: 150, by the sea
2: 150, by the sea
WANTED
(cd "$scratch" && "$program") >"$scratch/output"
diff -u "$scratch/wanted" "$scratch/output"
[ "$(wc -l <"$source")" -le 110 ] || { echo "$source is longer than 110 lines"; exit 1; }
