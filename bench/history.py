#!/usr/bin/env python3
"""What history and transactions cost: runs the bench-* programs in turn and prints each figure beside what is
asked of it. A figure is a ratio of medians over rounds within this run; what is compared alternates.

    history --dir /var/tmp                       # 5 rounds, some ten minutes
    history --engines helios,rocksdb             # the peer where it has the like: transactions, snapshots
    history --only txn --rounds 9 --json out     # one part; every line measured, and the figures at the end
    history --quick                              # does it run? half a minute; the figures mean nothing
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

PARTS = ("cost", "past", "txn", "snapshot")
VERSIONS_IN_ALL = 2000000  # of all keys together, when the past is read
SNAPSHOTS = 1000000


class Runs:
    """Runs programs and keeps their lines: (engine, label of the run, workload) -> one line per time."""

    def __init__(self, options, programs, scratch):
        self.options, self.programs, self.scratch = options, programs, scratch
        self.lines, self.settings = {}, {}

    def run(self, engine, label, workloads, *arguments):
        print(f"{engine} {label}: {workloads}", file=sys.stderr, flush=True)
        done = subprocess.run([self.programs / f"bench-{engine}", f"--dir={self.scratch}", *arguments, workloads],
                              stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"bench-{engine}: exit code {done.returncode}")
        for line in map(json.loads, done.stdout.splitlines()):
            self.keep({"label": label, "arguments": arguments, **line})

    def keep(self, line):
        if "settings" in line:
            self.settings[line["engine"]] = line["settings"]
        else:
            self.lines.setdefault((line["engine"], line["label"], line["workload"]), []).append(line)
        self.write(line)

    def write(self, line):
        if self.options.json:
            with self.options.json.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def values(self, engine, label, workload, *path):
        found = []
        for line in self.lines.get((engine, label, workload), []):
            for name in path:
                line = line[name]
            found.append(line)
        return found

    def median(self, engine, label, workload, *path):
        values = self.values(engine, label, workload, *path or ("ops_per_second",))
        return statistics.median(values) if values else None


class Figures:
    """Rows of the table: name, value, what is asked of it."""

    def __init__(self):
        self.rows = []

    def add(self, engine, name, value, unit, asked=None, at_least=False):
        if value is None:
            return
        asked = asked if engine == "helios" else None
        met = None if asked is None else value >= asked if at_least else value <= asked
        self.rows.append({"engine": engine, "figure": name, "value": value, "unit": unit, "asked": asked,
                          "at_least": at_least, "met": met})

    def ratio(self, runs, engine, name, over, under, asked, at_least=False):
        """over and under: (label, workload), of which the medians of operations/s are divided."""
        a, b = runs.median(engine, *over), runs.median(engine, *under)
        self.add(engine, name, a / b if a and b else None, "x", asked, at_least)

    def print(self):
        def plain(value, unit):
            return f"{value:.2f}" + unit if unit == "x" else f"{value:.4g} {unit}" if value < 1000 else \
                f"{value:.0f} {unit}"

        rows = [["engine", "figure", "value", "asked", ""]]
        for row in self.rows:
            sign = ">=" if row["at_least"] else "<="
            rows.append([row["engine"], row["figure"], plain(row["value"], row["unit"]),
                         "" if row["asked"] is None else f"{sign} {plain(row['asked'], row['unit'])}",
                         {None: "", True: "met", False: "missed"}[row["met"]]])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            cells = [cell.rjust(width) if i in (2, 3) else cell.ljust(width)
                     for i, (cell, width) in enumerate(zip(row, widths))]
            print("  ".join(cells).rstrip())


# ---- the parts: each runs its rounds, then adds its figures ----


def cost(runs, figures, options):
    """What keeping history costs those who never look at it."""
    workloads = "fillrandom,readrandom,overwrite"
    for number in range(options.rounds):
        for retention in ("none", "24h") if number % 2 == 0 else ("24h", "none"):
            runs.run("helios", retention, workloads, f"--retention={retention}", f"--num={options.num}")
    for workload, asked in (("fillrandom", 1.10), ("overwrite", 1.10), ("readrandom", 1.05)):
        figures.ratio(runs, "helios", f"{workload}: time with 24 h of history / with none", ("none", workload),
                      ("24h", workload), asked)


def past(runs, figures, options):
    """Reads at a point half-way through the versions against reads of the newest."""
    in_all = min(VERSIONS_IN_ALL, options.num)
    for versions, newest, older in ((2, "readrandom", "readrandom-at"), (10, "readrandom", "readrandom-at"),
                                    (2, "readseq", "scan-at"), (100, "readseq", "scan-at")):
        keys = max(in_all // versions, 10)
        turns = ",".join([newest, older] * options.rounds)
        runs.run("helios", f"{versions} versions", f"fillversions,{turns}", "--retention=24h", f"--num={keys}",
                 f"--versions={versions}", f"--reads={max(in_all // 4, 1)}")
    for versions in (2, 10):
        label = f"{versions} versions"
        figures.ratio(runs, "helios", f"get at an older point / at the newest, {label} a key", (label, "readrandom"),
                      (label, "readrandom-at"), 2)
    figures.ratio(runs, "helios", "scan at an older point / at the newest, 2 versions a key", ("2 versions", "readseq"),
                  ("2 versions", "scan-at"), 3)
    figures.add("helios", "scan at an older point, 100 versions a key",
                runs.median("helios", "100 versions", "scan-at"), "keys/s", 300000, at_least=True)


def txn(runs, figures, options):
    turns = ["updaterandom,txn-rmw", "txn-disjoint@1,txn-disjoint@2", "txn-counter@16"]
    for number in range(options.rounds):
        for engine in options.engines:
            for turn in turns:
                runs.run(engine, "txn", f"fillrandom,{turn}", f"--num={options.num // 4}", f"--reads={options.num}")
    for engine in options.engines:
        figures.ratio(runs, engine, "read and write of a key in a transaction / get and put", ("txn", "updaterandom"),
                      ("txn", "txn-rmw"), 1.5)
        figures.ratio(runs, engine, "transactions on disjoint keys, 2 threads / 1", ("txn", "txn-disjoint@2"),
                      ("txn", "txn-disjoint@1"), 1.7, at_least=True)
        waits = runs.values(engine, "txn", "txn-counter@16", "nanos", "max")
        figures.add(engine, "longest wait of 16 threads for one counter", max(waits) / 1e9, "s", 1)


def snapshot(runs, figures, options):
    count = min(SNAPSHOTS, options.num)
    for number in range(options.rounds):
        for engine in options.engines:
            runs.run(engine, "snapshot", "fillrandom,snapshot,snapshots", "--num=100000", f"--reads={count}")
    for engine in options.engines:
        figures.add(engine, "a snapshot made or freed", runs.median(engine, "snapshot", "snapshot", "nanos", "mean"),
                    "ns", 200)
        for name, path in (("made", "seconds"), ("freed", "seconds_free")):
            figures.add(engine, f"{count} snapshots at once, {name}",
                        runs.median(engine, "snapshot", "snapshots", path), "s")
        figures.add(engine, "memory of each of them", runs.median(engine, "snapshot", "snapshots", "bytes_each"), "bytes")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, help="where the bench-* programs are (beside this, or build/bench)")
    parser.add_argument("--engines", default="helios", help="helios, and rocksdb for transactions and snapshots")
    parser.add_argument("--only", help="parts, of " + ",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--num", type=int, default=2000000, help="keys of a fill; of transactions a quarter")
    parser.add_argument("--quick", action="store_true", help="one round of 4000 keys: does it run at all?")
    parser.add_argument("--json", type=pathlib.Path, help="append every line that was measured, then the figures")
    parser.add_argument("--dir", default=".", help="where the scratch directory is made: choose the disk (.)")
    options = parser.parse_args()
    options.engines = options.engines.split(",")
    if options.quick:
        options.rounds, options.num = 1, 4000
    return options


def find_programs(given):
    here = pathlib.Path(__file__).resolve().parent
    for place in [given] if given else [here, here.parent / "build" / "bench"]:
        if (place / "bench-helios").exists():
            return place
    sys.exit("history: no bench-helios here: say where with --bin")


def main():
    options = parse()
    programs = find_programs(options.bin)
    parts = {"cost": cost, "past": past, "txn": txn, "snapshot": snapshot}
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.dir) as scratch:
        runs = Runs(options, programs, scratch)
        for name in options.only.split(",") if options.only else PARTS:
            parts[name](runs, figures, options)
    print(f"Medians of {options.rounds} rounds, {options.num} keys; {os.cpu_count()} processors")
    figures.print()
    runs.write({"figures": figures.rows})


if __name__ == "__main__":
    main()
