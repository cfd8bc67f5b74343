#!/usr/bin/env python3
"""Every call of the public API is made by some scenario of the fault tests, where power fails and calls fail, or stands
below with its reason. Prints each that is not, and exits with 1 if there is one."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# The reason why no scenario makes the call itself.
ELSEWHERE = {
    "helios_open": "engine_open() is its body, on a file system of the test's",
    "helios_destroy": "test_destroy in test_powercut.c, by its body",
    "helios_version_string": "a constant",
    "helios_batch_status": "of memory alone: test_alloc.c",
    "helios_batch_count": "a number",
    "helios_batch_delete": "of memory alone",
    "helios_batch_clear": "of memory alone",
    "helios_clock_get": "pure",
    "helios_clock_compare": "pure",
    "helios_clock_merge": "pure",
    "helios_horizon": "a number",
    "helios_key_rotate": "test_encryption.c stops the machine at every step of it",
    "helios_key_info_get": "of memory alone: test_encryption.c",
    "helios_deltas_upto": "a number",
    "helios_salvage": "test_salvage.c damages every file of what it reads; what it writes is a database of its own",
}

# Tables are a program of the calls below them, which make the scenarios; test_tables.c tries them themselves.
TABLES = re.compile(r"helios_(table|column|index|rows?|value|type)_")

header = (ROOT / "include/helios/helios.h").read_text()
header = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
calls = sorted(set(re.findall(r"\b(helios_\w+)\(", header)))
scenarios = "".join(path.read_text() for path in sorted((ROOT / "tests").glob("fault_*.c")))
used = set(re.findall(r"\b(helios_\w+)\b", scenarios))
missing = [call for call in calls if call not in used and call not in ELSEWHERE and not TABLES.match(call)]
gone = [call for call in ELSEWHERE if call not in calls]
for call in missing:
    print(f"{call}: no scenario in tests/fault_*.c makes it")
for call in gone:
    print(f"{call}: listed in scripts/check-scenarios.py, and not in the header")
print(f"{len(calls)} calls, {len(missing)} without a scenario")
sys.exit(bool(missing or gone))
