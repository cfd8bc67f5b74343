#!/usr/bin/env python3
"""Counts the results of the last `meson test` and keeps what failed tests printed.

count-tests.py NAME BUILD-DIRECTORY LOG prints "PASSED FAILED"; for each failed test, its name and the end
of its output are added to LOG, so that a reader of a long run finds them at its end.
"""
import json
import os
import sys

GOOD = ("OK", "EXPECTEDFAIL")
TAIL = 60  # lines of each output

name, directory, log = sys.argv[1:]
good = bad = 0
path = os.path.join(directory, "meson-logs", "testlog.json")
if os.path.exists(path):
    for line in open(path):
        test = json.loads(line)
        if test["result"] in GOOD:
            good += 1
        elif test["result"] != "SKIP":
            bad += 1
            output = test.get("stdout", "") + test.get("stderr", "")
            with open(log, "a") as out:
                print(f"\n== {name}: {test['name']}: {test['result']} after {test['duration']:.1f} s", file=out)
                print("\n".join(output.splitlines()[-TAIL:]), file=out)
else:
    bad = 1
print(good, bad + (good + bad == 0))
