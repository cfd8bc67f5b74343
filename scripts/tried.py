#!/usr/bin/env python3
"""What the last test runs tried: the lines "tried: 12345 power cuts" that tests print at their end, added up.

tried.py BUILD-DIRECTORY... reads meson-logs/testlog.json of each and prints a row of a Markdown table for each class."""
import collections
import json
import pathlib
import re
import sys

LINE = re.compile(r"^tried: (\d+) (.+)$", re.M)

totals = collections.Counter()
tests = collections.defaultdict(set)
for directory in sys.argv[1:]:
    for line in (pathlib.Path(directory) / "meson-logs/testlog.json").read_text().splitlines():
        test = json.loads(line)
        for count, what in LINE.findall(test.get("stdout", "")):
            totals[what] += int(count)
            tests[what].add(test["name"].split(" / ")[-1])
print("| what | how often | by |\n| --- | ---: | --- |")
for what, count in sorted(totals.items()):
    print(f"| {what} | {count:,} | {', '.join(sorted(tests[what]))} |")
