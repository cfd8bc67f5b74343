#!/usr/bin/env python3
"""Single mutations of the recovery core, and whether the tests see them.

mutate.py [--seed S] [--count N] [--files GLOB...] draws N places in the files (default: log, manifest and block decoding,
recovery, merge), changes one thing at each (a comparison, a constant, a condition, a call that is left out), builds in
./build-mutate and runs the tests that should see it. Prints each survivor with its line; the last line says how many were
seen. A mutation that does not compile is drawn anew. Slow: half a minute each; not part of CI."""
import argparse
import pathlib
import random
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORE = ["wal/recover.c", "wal/reader.c", "wal/record.c", "wal/open.c", "engine/manifest.c", "engine/manifest_format.c",
        "engine/recovery.c", "sstable/block.c", "sstable/format.c", "base/merge.c"]
# What runs for a file: its own unit tests, then the crash tests.
TESTS = {"wal": ["wal", "archive"], "sstable": ["block", "table_format", "table", "fuzz_block"], "base": ["merge"],
         "engine": ["fuzz_manifest", "model day"]}
COMMON = ["fixtures", "flips", "branch powercut", "faults"]

SWAPS = [(r"(?<![<>=!\-])<(?![<=])", "<="), (r"<=", "<"), (r"(?<![<>=\-])>(?![>=])", ">="), (r">=", ">"), (r"==", "!="),
         (r"!=", "=="), (r"&&", "||"), (r"\|\|", "&&"), (r"(?<=\w) \+ (?=\w)", " - "), (r"(?<=\w) - (?=\w)", " + "),
         (r"\+\+", "--"), (r"\btrue\b", "false"), (r"\bfalse\b", "true"), (r"\b1\b", "2"), (r"\b0\b", "1")]


def places(path):
    """(line number, changed line) for all that can be changed, comments and assertions aside."""
    comment = False
    for number, line in enumerate(path.read_text().splitlines()):
        begins = "/*" in line
        if comment or begins or line.startswith(("#", "}", "{")) or "assert" in line or not line.startswith(" "):
            comment = (comment or begins) and "*/" not in line
            continue
        code = re.sub(r'"[^"]*"', lambda m: "\0" * len(m.group()), line)
        for pattern, other in SWAPS:
            for match in re.finditer(pattern, code):
                yield number, line[:match.start()] + other + line[match.end():]
        if re.match(r"\s+[\w>.\-\[\]]+(\(.*\)| [-+|]?= .*|\+\+);$", line) and " = " not in line.split("=")[0][:0]:
            yield number, re.match(r"\s+", line).group() + ";"


def run(command, timeout):
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, timeout=timeout).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def seen(build, tests):
    return not run(["meson", "test", "-C", build, "--no-rebuild", "--maxfail", "1", *tests], 900)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--build", default="build-mutate")
    parser.add_argument("--files", nargs="*", default=CORE)
    args = parser.parse_args()
    if not (ROOT / args.build / "build.ninja").exists():
        run(["meson", "setup", args.build, "-Db_ndebug=false", "--buildtype=debugoptimized", "-Dbench=false"], 600)
    candidates = [(file, *place) for file in args.files for place in places(ROOT / file)]
    random.Random(args.seed).shuffle(candidates)
    tried = caught = 0
    for file, number, changed in candidates:
        if tried == args.count:
            break
        path = ROOT / file
        original = path.read_text()
        lines = original.splitlines()
        before, lines[number] = lines[number], changed
        try:
            path.write_text("\n".join(lines) + "\n")
            if not run(["ninja", "-C", args.build], 900):
                continue
            tried += 1
            if seen(args.build, TESTS[file.split("/")[0]] + COMMON):
                caught += 1
            else:
                print(f"{file}:{number + 1}: nobody saw\n  {before.strip()}\n  {changed.strip()}", flush=True)
        finally:
            path.write_text(original)
    print(f"seed {args.seed}: {caught} of {tried} mutations were seen")
    sys.exit(tried == 0)


main()
