#!/bin/bash
# format.sh [--check] - brings all C sources into the shape of .clang-format, or says which are not.
set -u
. "$(dirname "$0")/lib.sh"

tool=clang-format-14
command -v $tool >/dev/null || need_packages $tool || exit 1
mapfile -t files < <(find . -name 'build*' -prune -o \( -name '*.c' -o -name '*.h' \) -print | sort)
if [ "${1:-}" = --check ]; then
    $tool --dry-run --Werror "${files[@]}"
else
    $tool -i "${files[@]}"
fi
