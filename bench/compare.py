#!/usr/bin/env python3
"""Runs the bench-* programs in turn, several rounds, and prints medians side by side.

In each round every engine runs the whole sequence of workloads in a process and directory of its own; the order
of the engines moves on by one from round to round. Ratios are of medians, each beside what is asked. Examples:

    compare --engines helios,rocksdb --rounds 3
    compare --scenario memory
    compare --all --rounds 5 --json r.jsonl        # everything that is in the report: hours
    compare --scenario ycsb --engines lmdb --rounds 1 --json r.jsonl     # or piece by piece, into one file
    compare --from r.jsonl                         # the tables of what was measured before
    compare --quick --engines helios
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile

from results import ENGINES, Results, goals_table, scenario_tables

MAIN = ("fillseq,fillbatch,bulkload,fillrandom@8,fillsync,fillsync@16,fillsyncbatch,fillrandom,readrandom,readmissing,"
        "readhot,readseq,readreverse,seekrandom,seekrandom100,seekrandomnew,readwhilewriting,updaterandom,overwrite,"
        "deleterandom")
# name: workloads, arguments of bench-*, engines (None: all); what is given on the command line comes later and wins.
SCENARIOS = {
    "main": (MAIN, [], None),
    # As Helios is without any setting: 24 h of history, which no peer has.
    "history": (MAIN, ["--retention=24h"], ["helios"]),
    "kb": ("fillseq,fillrandom,readrandom,readmissing,readseq,readreverse,seekrandom,overwrite",
           ["--value=1000", "--num=500000"], None),
    "ycsb": ("fillrandom,ycsba,ycsbb,ycsbc,ycsbf,ycsbd,ycsbe", ["--value=1000", "--num=1000000"], None),
    "ycsb4": ("fillrandom,ycsba@4,ycsbb@4,ycsbc@4,ycsbf@4,ycsbd@4,ycsbe@4", ["--value=1000", "--num=1000000"], None),
    "memory": ("fillrandom,readrandom,seekrandom,readseq,readreverse,readrandom-cold,seekrandom-cold,readseq-cold",
               ["--num=10000000", "--reads=2000000", "--cache=64M"], None),
    # Write amplification, and what is left of the old versions once the process is idle.
    "overwrites": ("fillrandom,overwrites", ["--num=10000000", "--versions=5"], ["helios", "rocksdb"]),
    "mixed": ("fillrandom,mixed", ["--seconds=600"], None),
    "open": ("fillseq,open", ["--num=9500000", "--value=1000", "--memtable=4M", "--file=2500K"], None),
    "replay": ("replay", ["--memtable=256M"], None),
    "replay1k": ("replay", ["--memtable=256M", "--value=1000"], None),
}
ALL = ["main", "history", "kb", "ycsb", "ycsb4", "memory", "overwrites", "mixed", "replay", "scaling"]
SIZES = ("num", "reads", "synced", "value", "keys", "memtable", "cache", "file", "retention", "versions",
         "seconds")


def run(program, arguments, workloads):
    """The parsed lines of one run; a failure ends everything."""
    done = subprocess.run([program, *arguments, *([workloads] if workloads else [])], stdout=subprocess.PIPE, text=True,
                          check=False)
    if done.returncode != 0:
        sys.exit(f"{program}: exit code {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def print_table(title, head, rows):
    if not rows:
        return
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    print(f"\n{title}")
    for row in [head, *rows]:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  ".join(cells).rstrip())


def report(results):
    print("\nSettings:")
    for engine in results.engines():
        print(f"  {results.settings.get(engine, engine)}")
    for scenario in results.scenarios():
        print(f"\n==== {scenario}")
        for table in scenario_tables(results, scenario):
            print_table(*table)
    print_table(*goals_table(results))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, help="where the bench-* programs are (beside this, or build/bench)")
    parser.add_argument("--engines", help="those that were built, of " + ",".join(ENGINES))
    parser.add_argument("--scenario", default="main", help="names with commas between, of " +
                        ",".join([*SCENARIOS, "scaling"]) + " (main)")
    parser.add_argument("--all", action="store_true", help="the scenarios of the report: " + ",".join(ALL))
    parser.add_argument("--workloads", help="instead of the scenario's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of 200000 keys: does it run at all?")
    parser.add_argument("--json", type=pathlib.Path, help="append every line that was measured to this file")
    parser.add_argument("--from", dest="old", type=pathlib.Path, help="measure nothing: the tables of such a file")
    parser.add_argument("--dir", default=".", help="where the scratch directory is made: choose the disk (.)")
    for name in SIZES:
        parser.add_argument(f"--{name}", help="as bench-*: see bench-null --help")
    options = parser.parse_args()
    options.scenarios = ALL if options.all else options.scenario.split(",")
    for name in options.scenarios:
        if name not in SCENARIOS and name != "scaling":
            parser.error(f"there is no scenario {name}")
    return options


def find_programs(given):
    here = pathlib.Path(__file__).resolve().parent
    for place in [given] if given else [here, here.parent / "build" / "bench"]:
        if (place / "bench-null").exists():
            return place
    sys.exit("compare: no bench-null here: say where with --bin")


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def disk_of(path):
    """The file system under a path, and the device that it is on."""
    best = ("", "?", "?")
    with open("/proc/self/mounts", encoding="utf-8") as file:
        for device, mount, kind in (line.split()[:3] for line in file):
            inside = os.path.realpath(path) + "/"
            if inside.startswith(mount.rstrip("/") + "/") and len(mount) >= len(best[0]):
                best = (mount, kind, device)
    return f"{best[1]} on {best[2]}"


def commit_of():
    done = subprocess.run(["git", "-C", str(pathlib.Path(__file__).resolve().parent), "describe", "--always", "--dirty"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return done.stdout.strip()


def this_run(options):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), "commit": commit_of(),
            "processor": processor(), "cores": os.cpu_count(), "memory_bytes": memory,
            "kernel": f"{platform.system()} {platform.release()}", "disk": disk_of(options.dir),
            "command": " ".join(sys.argv[1:])}


class Recorder:
    """Takes every line into the results, and into the file where one was given."""

    def __init__(self, path):
        self.results, self.path = Results(), path

    def keep(self, lines, **more):
        lines = [{**more, **line} for line in lines]
        for line in lines:
            self.results.add(line)
        if self.path:
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)


def arguments_of(options, defaults):
    quick = ["--num=200000"] if options.quick else []
    return [*defaults, *quick, *(f"--{name}={getattr(options, name)}" for name in SIZES if getattr(options, name))]


def measure(options, programs, name, engines, scratch, recorder):
    """All rounds of one scenario, and the driver alone."""
    workloads, arguments, only = SCENARIOS[name]
    workloads = options.workloads or workloads
    arguments = [f"--dir={scratch}", *arguments_of(options, arguments)]
    engines = [engine for engine in engines if not only or engine in only]
    loops = ",".join(w for w in workloads.split(",") if w not in ("open", "replay", "mixed"))
    if loops and not only:
        recorder.keep(run(programs / "bench-null", arguments, loops), scenario=name)
    for number in range(options.rounds):
        turn = number % max(len(engines), 1)
        for engine in engines[turn:] + engines[:turn]:
            print(f"{name}, round {number + 1} of {options.rounds}: {engine}", file=sys.stderr, flush=True)
            recorder.keep(run(programs / f"bench-{engine}", arguments, workloads), scenario=name, round=number,
                          arguments=arguments[1:])


def measure_all(options):
    programs, recorder = find_programs(options.bin), Recorder(options.json)
    built = [engine for engine in ENGINES if (programs / f"bench-{engine}").exists()]
    engines = options.engines.split(",") if options.engines else built
    options.rounds = 1 if options.quick else options.rounds
    recorder.keep([{"run": this_run(options)}])
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.dir) as scratch:
        for name in options.scenarios:
            if name != "scaling":
                measure(options, programs, name, engines, scratch, recorder)
            elif "helios" in engines:
                print("scaling", file=sys.stderr, flush=True)
                quick = ["--quick"] if options.quick else []
                recorder.keep(run(programs / "bench-scaling", [f"--dir={scratch}", *quick], None), scenario=name)
    return recorder.results


def main():
    options = parse()
    if options.old:
        results = Results()
        results.read(options.old)
    else:
        results = measure_all(options)
    report(results)


if __name__ == "__main__":
    main()
