#!/bin/sh
# archive.sh LD OBJCOPY OUTPUT SCRATCH ARCHIVE... - one static library from those of the rooms.
# The rooms' objects become one, and what only they share becomes local to it: a program that links
# the result sees helios_* and nothing else.
set -eu
ld=$1 objcopy=$2 output=$3 scratch=$4
shift 4
mkdir -p "$scratch"
"$ld" -r -o "$scratch/helios.o" --whole-archive "$@"
"$objcopy" --localize-hidden "$scratch/helios.o"
rm -f "$output"
ar rcs "$output" "$scratch/helios.o"
