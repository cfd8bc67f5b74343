#!/bin/bash
# check-install.sh BUILD - installs into an empty prefix and uses what lies there as a stranger would:
# the first program by pkg-config, shared and static; the tool; the SONAME.
set -euo pipefail
build=$(realpath "$1")
root=$(realpath "$(dirname "$0")/..")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

DESTDIR="$scratch/root" meson install -C "$build" --no-rebuild --quiet
pc=$(find "$scratch/root" -name helios.pc)
prefix="$scratch/root$(sed -n 's/^prefix=//p' "$pc")"
libdir=$(dirname "$(dirname "$pc")")
export PKG_CONFIG_PATH=$libdir/pkgconfig
flags() { pkg-config --define-variable=prefix="$prefix" "$@" helios; }

cd "$scratch"
# shellcheck disable=SC2046
gcc -Wall -Wextra -Werror -std=c11 -o first "$root/examples/first.c" $(flags --cflags --libs)
LD_LIBRARY_PATH=$libdir ./first
# shellcheck disable=SC2046
gcc -static -std=c11 -o first-static "$root/examples/first.c" $(flags --cflags --libs --static)
./first-static
printf '#include <helios/helios.h>\nint main(void) { return helios_version_string() == 0; }\n' >pedantic.c
# shellcheck disable=SC2046
gcc -std=c11 -pedantic -Wall -Wextra -Werror -c -o pedantic.o pedantic.c $(flags --cflags)
objdump -p "$libdir/libhelios.so" | grep -q 'SONAME *libhelios.so.0$'
"$root/scripts/check-exports.sh" "$libdir/libhelios.so" "$libdir/libhelios.a" "$prefix/include/helios/helios.h"
"$prefix/bin/heliosctl" get first.db city:oslo
"$prefix/bin/heliosctl" --version
