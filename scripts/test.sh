#!/bin/bash
# test.sh - builds with assertions in ./build-test and runs every test. On a bare Debian 12 it installs
# what it needs first. Arguments go to `meson test`: scripts/test.sh wal, scripts/test.sh --suite model. With --soak in
# front the fault tests leave nothing out, in ./build-soak, which takes hours.
set -u
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2086
need_packages $build_packages $test_packages || exit 1
directory=build-test
soak=false
if [ "${1:-}" = --soak ]; then
    directory=build-soak
    soak=true
    shift
fi
build $directory --buildtype=debugoptimized -Db_ndebug=false -Dbench=false -Dsoak=$soak || exit 1
count_tests tests $directory "$@"
finish
