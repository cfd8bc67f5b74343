#!/bin/sh
# check-exports.sh SHARED STATIC HEADER - both libraries export exactly the functions that the header
# declares, and nothing else.
set -eu
shared=$1 static=$2 header=$3
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Names followed by a parenthesis on lines that are no comment, no macro, no typedef of a call-back.
sed -e 's|/\*.*\*/||' -e '/^ \*/d' -e '/^\/\*/d' -e '/^#/d' "$header" |
    grep -o '\bhelios_[a-z0-9_]*(' | tr -d '(' | sort -u >"$scratch/declared"
nm -D --defined-only "$shared" | awk '{print $NF}' | sort -u >"$scratch/shared"
nm -g --defined-only "$static" | awk 'NF == 3 {print $3}' | sort -u >"$scratch/static"

bad=0
for library in shared static; do
    if grep -v '^helios_' "$scratch/$library"; then
        echo "^ the $library library exports these, which are no helios_ names"
        bad=1
    fi
    if comm -13 "$scratch/declared" "$scratch/$library" | grep '^helios_'; then
        echo "^ the $library library exports these, which helios.h does not declare"
        bad=1
    fi
    if comm -23 "$scratch/declared" "$scratch/$library" | grep .; then
        echo "^ helios.h declares these, which the $library library does not have"
        bad=1
    fi
done
exit $bad
