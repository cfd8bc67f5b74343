#!/bin/bash
# test.sh - builds with assertions in ./build-test and runs every test. On a bare Debian 12 it installs
# what it needs first. Arguments go to `meson test`: scripts/test.sh wal, scripts/test.sh --suite model.
set -u
. "$(dirname "$0")/lib.sh"

# shellcheck disable=SC2086
need_packages $build_packages $test_packages || exit 1
build build-test --buildtype=debugoptimized -Db_ndebug=false -Dbench=false || exit 1
count_tests tests build-test "$@"
finish
