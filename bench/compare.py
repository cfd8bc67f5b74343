#!/usr/bin/env python3
"""Runs the bench-* programs in turn, several rounds, and prints medians side by side.

In each round every engine runs the whole sequence of workloads in a process and directory of its own; the order
of the engines moves on by one from round to round. Ratios are of medians, against RocksDB where it takes part.
bench-null does nothing, so that its time per operation is the driver's own. Examples:

    compare.py --engines helios,rocksdb --rounds 3
    compare.py --scenario memory
    compare.py --quick --engines helios
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ENGINES = ["helios", "rocksdb", "leveldb", "lmdb"]
MAIN = ("fillseq,fillbatch,fillrandom@8,fillsync,fillsync@16,fillrandom,readrandom,readmissing,readhot,readseq,"
        "readreverse,seekrandom,seekrandom100,seekrandomnew,readwhilewriting,updaterandom,overwrite,deleterandom")
# name: workloads, arguments of bench-*; what is given on the command line comes later and wins.
SCENARIOS = {
    "main": (MAIN, []),
    "kb": ("fillseq,fillrandom,readrandom,readmissing,readseq,readreverse,seekrandom,overwrite",
           ["--value=1000", "--num=500000"]),
    "ycsb": ("fillrandom,ycsba,ycsbb,ycsbc,ycsbf,ycsbd,ycsbe", ["--value=1000", "--num=1000000"]),
    "ycsb4": ("fillrandom,ycsba@4,ycsbb@4,ycsbc@4,ycsbf@4,ycsbd@4,ycsbe@4", ["--value=1000", "--num=1000000"]),
    "memory": ("fillrandom,readrandom,seekrandom,readseq,readreverse,readrandom-cold,seekrandom-cold,readseq-cold",
               ["--num=10000000", "--reads=2000000", "--cache=64M"]),
    "open": ("fillseq,open", ["--num=9500000", "--value=1000", "--memtable=4M", "--file=2500K"]),
    "replay": ("replay", ["--memtable=256M"]),
    "replay1k": ("replay", ["--memtable=256M", "--value=1000"]),
}
# What Helios is to reach, in units of RocksDB.
GOALS = {"fillseq": 3, "fillrandom": 2.5, "fillbatch": 3, "overwrite": 2.5, "fillrandom@8": 3, "fillsync": 1,
         "fillsync@16": 1.3, "readrandom": 2, "readmissing": 1.5, "readseq": 2, "readreverse": 2, "seekrandom": 2,
         "readwhilewriting": 2, "deleterandom": 2.5}
BASE = "rocksdb"
SIZES = ("num", "reads", "synced", "value", "keys", "memtable", "cache", "file")


def run(program, arguments, workloads):
    """The parsed lines of one run; a failure ends everything."""
    done = subprocess.run([program, *arguments, workloads], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{program}: exit code {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


class Results:
    """What was measured: (engine, workload) -> one line per round."""

    def __init__(self, engines):
        self.engines = engines
        self.lines = {}
        self.settings = {}
        self.workloads = []

    def add(self, lines):
        for line in lines:
            if "settings" in line:
                self.settings[line["engine"]] = line["settings"]
                continue
            if line["workload"] not in self.workloads:
                self.workloads.append(line["workload"])
            self.lines.setdefault((line["engine"], line["workload"]), []).append(line)

    def values(self, engine, workload, *path):
        """One number per round, or none."""
        found = []
        for line in self.lines.get((engine, workload), []):
            for name in path:
                line = line.get(name) if isinstance(line, dict) else None
            if line is not None:
                found.append(line)
        return found

    def median(self, engine, workload, *path):
        values = self.values(engine, workload, *path)
        return statistics.median(values) if values else None


def print_table(title, head, rows):
    if not rows:
        return
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    print(f"\n{title}")
    for row in [head, *rows]:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  ".join(cells).rstrip())


def rate(value):
    if value is None:
        return "-"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.0f}"


def time(nanos):
    if nanos is None:
        return "-"
    for limit, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if nanos >= limit:
            return f"{nanos / limit:.3g}{unit}"
    return f"{nanos:.0f}ns"


def plain(value, form):
    return "-" if value is None else format(value, form)


def ratio_cell(results, engine, workload, *path):
    mine, base = results.median(engine, workload, *path), results.median(BASE, workload, *path)
    return f"{mine / base:.2f}x" if mine and base else "-"


def spread(values):
    """(max - min) / median, in percent."""
    if len(values) < 2 or not statistics.median(values):
        return "-"
    return f"{100 * (max(values) - min(values)) / statistics.median(values):.0f}%"


def print_rates(results, path, title, driver=None):
    against = [e for e in results.engines if e != BASE] if BASE in results.engines else []
    goals = "helios" in against
    head = ["workload"]
    for engine in results.engines:
        head += [engine, "spread"]
    head += [f"{engine}/{BASE}" for engine in against] + (["goal"] if goals else []) + (["driver"] if driver else [])
    rows = []
    for workload in results.workloads:
        if not any(results.values(engine, workload, path) for engine in results.engines):
            continue
        row = [workload]
        for engine in results.engines:
            row += [rate(results.median(engine, workload, path)), spread(results.values(engine, workload, path))]
        row += [ratio_cell(results, engine, workload, path) for engine in against]
        if goals:
            goal = GOALS.get(workload) if path == "ops_per_second" else None
            row.append(f"{goal}x" if goal else "-")
        if driver:
            row.append(time(driver.median("null", workload, "nanos", "mean")))
        rows.append(row)
    print_table(title, head, rows)


def print_per_engine(results, title, names, cells, wanted):
    """A row per workload and engine."""
    rows = []
    for workload in results.workloads:
        for engine in results.engines:
            if results.values(engine, workload, *wanted):
                rows.append([workload, engine, *cells(engine, workload)])
    print_table(title, ["workload", "engine", *names], rows)


def print_latencies(results):
    names = ["mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"]
    print_per_engine(results, "Latency of an operation (of a batch in fillbatch), medians of rounds", names,
                     lambda e, w: [time(results.median(e, w, "nanos", name)) for name in names], ("nanos",))


def print_costs(results):
    def cells(engine, workload):
        def median(name, scale=1.0):
            value = results.median(engine, workload, name)
            return None if value is None else value / scale
        return [plain(median("write_amplification"), ".2f"), plain(median("written", 1 << 20), ".0f"),
                plain(median("settle_written", 1 << 20), ".0f"), plain(median("settle_seconds"), ".2f"),
                plain(median("space_amplification"), ".2f"), plain(median("space_bytes", 1 << 20), ".0f"),
                plain(median("files"), ".0f"), plain(median("peak_bytes", 1 << 20), ".0f")]

    print_per_engine(results, "Costs, medians of rounds: bytes written while the clock ran and by the work left then",
                     ["write amp", "written MiB", "after MiB", "after s", "space amp", "disk MiB", "files",
                      "peak RSS MiB"], cells, ("space_bytes",))


def print_scenarios(results):
    def cells(engine, workload):
        return [time(results.median(engine, workload, "seconds") * 1e9),
                rate(results.median(engine, workload, "ops_per_second")),
                rate(results.median(engine, workload, "bytes_per_second")),
                plain(results.median(engine, workload, "files"), ".0f")]

    shown = [w for w in results.workloads if w in ("open", "replay")]
    rows = [[w, e, *cells(e, w)] for w in shown for e in results.engines if results.values(e, w, "seconds")]
    print_table("Opening, medians of rounds (a log replayed: records/s and bytes/s)",
                ["scenario", "engine", "time", "records/s", "bytes/s", "files"], rows)


def report(results, driver, arguments):
    print(f"\nSettings ({' '.join(arguments)}; {os.cpu_count()} processors):")
    for engine in results.engines:
        print(f"  {results.settings[engine]}")
    print_rates(results, "ops_per_second", "Operations/s, medians of rounds; spread: (max - min) / median", driver)
    print_rates(results, "writer_ops_per_second", "Writes/s beside the readers of readwhilewriting")
    print_scenarios(results)
    print_latencies(results)
    print_costs(results)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, help="where the bench-* programs are (beside this, or build/bench)")
    parser.add_argument("--engines", help="those that were built, of " + ",".join(ENGINES))
    parser.add_argument("--scenario", choices=SCENARIOS, default="main")
    parser.add_argument("--workloads", help="instead of the scenario's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of 200000 keys: does it run at all?")
    parser.add_argument("--json", type=pathlib.Path, help="append every line that was measured to this file")
    parser.add_argument("--dir", default=".", help="where the scratch directory is made: choose the disk (.)")
    for name in SIZES:
        parser.add_argument(f"--{name}", help="as bench-*: see bench-null --help")
    return parser.parse_args()


def find_programs(given):
    here = pathlib.Path(__file__).resolve().parent
    for place in [given] if given else [here, here.parent / "build" / "bench"]:
        if (place / "bench-null").exists():
            return place
    sys.exit("compare: no bench-null here: say where with --bin")


def measure(options, programs, engines, workloads, arguments, scratch):
    """All rounds; the results of the engines, and of the driver alone."""
    results, driver = Results(engines), Results(["null"])
    arguments = [f"--dir={scratch}", *arguments]
    loops = ",".join(w for w in workloads.split(",") if w not in ("open", "replay"))
    if loops:
        driver.add(run(programs / "bench-null", arguments, loops))
    for number in range(options.rounds):
        turn = number % len(engines)
        for engine in engines[turn:] + engines[:turn]:
            print(f"round {number + 1} of {options.rounds}: {engine}", file=sys.stderr, flush=True)
            lines = run(programs / f"bench-{engine}", arguments, workloads)
            results.add(lines)
            if options.json:
                with options.json.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps({"round": number, **line}) + "\n" for line in lines)
    return results, driver


def main():
    options = parse()
    programs = find_programs(options.bin)
    built = [engine for engine in ENGINES if (programs / f"bench-{engine}").exists()]
    engines = options.engines.split(",") if options.engines else built
    workloads, arguments = SCENARIOS[options.scenario]
    workloads = options.workloads or workloads
    if options.quick:
        options.rounds = 1
        arguments = [*arguments, "--num=200000"]
    arguments = arguments + [f"--{name}={getattr(options, name)}" for name in SIZES if getattr(options, name)]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.dir) as scratch:
        results, driver = measure(options, programs, engines, workloads, arguments, scratch)
    report(results, driver, arguments)


if __name__ == "__main__":
    main()
