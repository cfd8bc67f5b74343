#!/bin/bash
# benchmark.sh [--dir DIR] [argument of compare]... - runs the whole comparison on a quiet machine, hours, and writes
# docs/benchmark.html and docs/benchmark.md. What was measured is appended to build-bench/benchmark.jsonl, line by line: a run
# that was broken off, or made of pieces (--scenario ycsb --engines lmdb --rounds 1), goes on there; `--report` only writes
# the pages again, `--fresh` forgets what is there.
set -eu
cd "$(dirname "$0")/.."

build=build-bench results=build-bench/benchmark.jsonl measure=yes arguments=()
for argument in "$@"; do
    case $argument in
    --fresh) rm -f "$results" ;;
    --report) measure=no ;;
    *) arguments+=("$argument") ;;
    esac
done
[ -d $build ] || meson setup $build --buildtype=release -Dtests=false
ninja -C $build
[[ " ${arguments[*]} " = *" --scenario"* ]] || arguments=(--all "${arguments[@]}")
[[ " ${arguments[*]} " = *" --rounds"* ]] || arguments=(--rounds 5 "${arguments[@]}")
[ $measure = no ] || $build/bench/compare --json "$results" "${arguments[@]}"
$build/bench/report "$results" >docs/benchmark.html
$build/bench/report --markdown "$results" >docs/benchmark.md
