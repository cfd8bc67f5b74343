"""What the bench-* programs printed, as `compare` and `report` see it: lines by scenario, engine and workload, medians of
rounds, and the ratios that Helios is to reach."""
import json
import statistics
import sys

ENGINES = ["helios", "rocksdb", "leveldb", "lmdb"]
BASE = "rocksdb"
OPS = ("ops_per_second",)
WRITER = ("writer_ops_per_second",)
BEST = "best peer"  # the best of all that take part

# What Helios is to reach: (scenario, workload, figure): Helios's median over that of each peer.
GOALS = {
    ("main", "fillseq", OPS): {"rocksdb": 4.5, "lmdb": 1.2},
    ("main", "fillrandom", OPS): {"rocksdb": 5, "lmdb": 1.7},
    ("main", "fillrandom@8", OPS): {"rocksdb": 6, "lmdb": 1.3},
    ("main", "fillbatch", OPS): {"rocksdb": 6},
    ("main", "overwrite", OPS): {"rocksdb": 5, "lmdb": 1.2},
    ("main", "updaterandom", OPS): {"rocksdb": 5.3, "lmdb": 1},
    ("main", "deleterandom", OPS): {"rocksdb": 5},
    ("main", "bulkload", OPS): {"rocksdb": 1.9, "lmdb": 1},
    ("main", "fillsync", OPS): {"rocksdb": 1.05},
    ("main", "fillsync@16", OPS): {"rocksdb": 1.6},
    ("main", "readrandom", OPS): {"rocksdb": 3.4, "lmdb": 1},
    ("main", "readmissing", OPS): {"rocksdb": 3},
    ("main", "readhot", OPS): {"rocksdb": 3.8, "lmdb": 1},
    ("main", "readseq", OPS): {"rocksdb": 3, "lmdb": 1},
    ("main", "readreverse", OPS): {"rocksdb": 4, "lmdb": 1},
    ("main", "seekrandom", OPS): {"rocksdb": 4, "lmdb": 1},
    ("main", "seekrandom100", OPS): {"rocksdb": 3.6, "lmdb": 1},
    ("main", "readwhilewriting", OPS): {"rocksdb": 5},
    ("main", "readwhilewriting", WRITER): {"rocksdb": 2},
    **{(scenario, f"ycsb{letter}{threads}", OPS): {BEST: 1}
       for scenario, threads in (("ycsb", ""), ("ycsb4", "@4")) for letter in "abcdef"},
    ("memory", "readrandom", OPS): {"rocksdb": 2},
    ("memory", "seekrandom", OPS): {"rocksdb": 2},
    ("memory", "readseq", OPS): {"rocksdb": 2},
    ("memory", "readrandom-cold", OPS): {BEST: 1},
    ("memory", "seekrandom-cold", OPS): {BEST: 1},
    ("memory", "readseq-cold", OPS): {BEST: 1},
}

# What is to be no larger, of Helios alone or over the peer: (scenario, workload, its name, path, peer, most, unit's size, unit).
LIMITS = [
    ("overwrites", "overwrites", "write amplification", ("write_amplification",), BASE, 0.7, 1, "x"),
    ("overwrites", "overwrites", "space over live data", ("space_amplification",), None, 1.15, 1, "x"),
    ("overwrites", "overwrites", "until idle", ("settle_seconds",), None, 60, 1, " s"),
    ("mixed", "mixed", "longest pause", ("nanos", "max"), None, 100, 1e6, " ms"),
    ("mixed", "mixed", "gets, p99.99", ("get_nanos", "p99.99"), None, 5, 1e6, " ms"),
]


def median(values):
    return statistics.median(values) if values else None


def spread(values):
    """(max - min) / median, in percent; None of one value."""
    middle = median(values)
    return 100 * (max(values) - min(values)) / middle if len(values) > 1 and middle else None


class Results:
    """Every line that was measured, in the order in which scenarios and workloads came."""

    def __init__(self):
        self.lines = {}  # (scenario, workload) -> engine -> one line per round
        self.settings = {}  # engine -> its own words
        self.runs = []  # when and on what
        self.curves = []

    def add(self, line, scenario=None):
        if "run" in line:
            self.runs.append(line["run"])
        elif "settings" in line:
            self.settings[line["engine"]] = line["settings"]
        elif "curve" in line:
            self.curves.append(line)
        elif "workload" in line and "engine" in line:
            key = (line.get("scenario", scenario or "main"), line["workload"])
            self.lines.setdefault(key, {}).setdefault(line["engine"], []).append(line)

    def read(self, path):
        with open(path, encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                try:
                    self.add(json.loads(text))
                except ValueError as error:
                    sys.exit(f"{path}:{number}: {error}")

    def scenarios(self):
        return list(dict.fromkeys(scenario for scenario, _ in self.lines))

    def workloads(self, scenario):
        return [workload for each, workload in self.lines if each == scenario]

    def engines(self, scenario=None):
        found = {engine for (each, _), engines in self.lines.items() for engine in engines
                 if scenario in (None, each) and engine != "null"}
        return [e for e in ENGINES if e in found] + sorted(found - set(ENGINES))

    def values(self, scenario, engine, workload, *path):
        """One number per round, or none."""
        found = []
        for line in self.lines.get((scenario, workload), {}).get(engine, []):
            for name in path:
                line = line.get(name) if isinstance(line, dict) else None
            if line is not None:
                found.append(line)
        return found

    def median(self, scenario, engine, workload, *path):
        return median(self.values(scenario, engine, workload, *path))

    def rounds(self):
        return max((len(lines) for engines in self.lines.values() for lines in engines.values()), default=0)

    def ratio(self, scenario, workload, peer, *path):
        """Helios over the peer, and the name of the best one; (None, peer) where one of both did not run."""
        peers = [e for e in self.engines(scenario) if e != "helios"] if peer == BEST else [peer]
        theirs = [(self.median(scenario, e, workload, *path) or 0, e) for e in peers]
        best, name = max(theirs, default=(0, peer))
        mine = self.median(scenario, "helios", workload, *path)
        return (mine / best if mine and best else None), (name if best else peer)


class Verdict:
    """One ratio beside what is asked of it. at_least False: it is to be no larger."""

    def __init__(self, scenario, workload, figure, peer, value, goal, at_least=True, unit="x"):
        self.scenario, self.workload, self.figure, self.peer = scenario, workload, figure, peer
        self.value, self.goal, self.at_least, self.unit = value, goal, at_least, unit
        self.reached = value >= goal if at_least else value <= goal

    def name(self):
        return f"{self.workload} ({self.figure})" if self.figure else self.workload

    def sign(self):
        return "≥" if self.at_least else "≤"

    def word(self):
        return "reached" if self.reached else "not reached"


def peak(results, engine, writes):
    """The largest of the medians of the main table's fills, or of its reads, in bytes."""
    found = [results.median("main", engine, workload, "peak_bytes") for workload in results.workloads("main")
             if bool(results.values("main", engine, workload, "user_bytes")) == writes]
    return max((value for value in found if value), default=None)


def limit_verdicts(results):
    for scenario, workload, figure, path, peer, most, size, unit in LIMITS:
        value = results.median(scenario, "helios", workload, *path)
        theirs = results.median(scenario, peer, workload, *path) if peer else size
        if value is not None and theirs:
            yield Verdict(scenario, workload, figure, peer or "", value / theirs, most, at_least=False, unit=unit)


def memory_verdicts(results):
    mine, theirs = peak(results, "helios", False), peak(results, BASE, False)
    if mine and theirs:
        yield Verdict("main", "reads", "peak memory", BASE, mine / theirs, 1, at_least=False)
    mine = peak(results, "helios", True)
    if mine:
        yield Verdict("main", "fills", "peak memory", "", mine / 1e6, 200, at_least=False, unit=" MB")


def verdicts(results):
    """All that was measured of what is asked."""
    found = []
    for (scenario, workload, path), goals in GOALS.items():
        for peer, goal in goals.items():
            value, name = results.ratio(scenario, workload, peer, *path)
            if value is not None:
                found.append(Verdict(scenario, workload, "writer" if path == WRITER else "", name, value, goal))
    return found + list(memory_verdicts(results)) + list(limit_verdicts(results))


# ---- numbers for people ----


def rate(value):
    if value is None:
        return "–"
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}" if value < 999.5 * limit else f"{value / limit:.0f}{unit}"
    return f"{value:.0f}"


def time(nanos):
    if nanos is None:
        return "–"
    for limit, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if nanos >= limit:
            return f"{nanos / limit:.3g} {unit}"
    return f"{nanos:.0f} ns"


def plain(value, form):
    return "–" if value is None else format(value, form)


def percent(value):
    return "–" if value is None else f"{value:.0f}%"


# ---- tables that the text and the page have in common: (title, head, rows) ----

PERCENTILES = ["mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"]


def goals_table(results):
    rows = [[v.scenario, v.name(), v.peer, f"{v.value:.2f}{v.unit}", f"{v.sign()} {v.goal:g}{v.unit}", v.word()]
            for v in verdicts(results)]
    return "What is asked, and what was reached", ["scenario", "workload", "against", "ratio", "asked", ""], rows


def rates_table(results, scenario, path, title):
    engines = results.engines(scenario)
    against = [e for e in engines if e != "helios"] if "helios" in engines else []
    with_null = any(results.values(scenario, "null", w, "nanos", "mean") for w in results.workloads(scenario))
    head = ["workload"] + [cell for e in engines for cell in (e, "spread")] + [f"helios/{e}" for e in against]
    rows = []
    for workload in results.workloads(scenario):
        if not any(results.values(scenario, engine, workload, *path) for engine in engines):
            continue
        row = [workload]
        for engine in engines:
            values = results.values(scenario, engine, workload, *path)
            row += [rate(median(values)), percent(spread(values))]
        row += [plain(results.ratio(scenario, workload, e, *path)[0], ".2f") for e in against]
        if with_null and path == OPS:
            row.append(time(results.median(scenario, "null", workload, "nanos", "mean")))
        rows.append(row)
    return title, head + (["driver"] if with_null and path == OPS else []), rows


def engine_rows(results, scenario, wanted, cells):
    """A row per workload and engine that has the wanted figure."""
    return [[workload, engine, *cells(engine, workload)]
            for workload in results.workloads(scenario) for engine in results.engines(scenario)
            if results.values(scenario, engine, workload, *wanted)]


def latency_table(results, scenario, figure, title):
    rows = engine_rows(results, scenario, (figure,), lambda e, w: [
        time(results.median(scenario, e, w, figure, name)) for name in PERCENTILES])
    return title, ["workload", "engine", *PERCENTILES], rows


def cpu_table(results, scenario):
    def cells(engine, workload):
        def cpu(name):
            return time(results.median(scenario, engine, workload, "cpu_nanos", name))
        count = results.median(scenario, engine, workload, "instructions")
        return [cpu("threads"), cpu("process"), cpu("with_settling"), "no counters" if count is None else f"{count:.0f}"]

    return ("Processor time of an operation: measuring threads, all threads, and with the work left at the end",
            ["workload", "engine", "threads", "process", "until idle", "instructions"],
            engine_rows(results, scenario, ("cpu_nanos",), cells))


def costs_table(results, scenario):
    def cells(engine, workload):
        def cell(name, form, unit=1):
            value = results.median(scenario, engine, workload, name)
            return plain(None if value is None else value / unit, form)
        mib = 1 << 20
        return [cell("write_amplification", ".2f"), cell("written", ".0f", mib), cell("settle_written", ".0f", mib),
                cell("settle_seconds", ".2f"), cell("space_amplification", ".2f"), cell("space_bytes", ".0f", mib),
                cell("files", ".0f"), cell("peak_bytes", ".0f", mib)]

    return ("Costs: bytes written while the clock ran and by the work left then, space, memory",
            ["workload", "engine", "write amp", "written MiB", "after MiB", "after s", "space amp", "disk MiB", "files",
             "peak MiB"], engine_rows(results, scenario, ("space_bytes",), cells))


def opening_table(results, scenario):
    rows = [[w, e, time(results.median(scenario, e, w, "seconds") * 1e9),
             rate(results.median(scenario, e, w, "ops_per_second")),
             rate(results.median(scenario, e, w, "bytes_per_second")), plain(results.median(scenario, e, w, "files"), ".0f")]
            for w in results.workloads(scenario) if w in ("open", "replay") for e in results.engines(scenario)
            if results.values(scenario, e, w, "seconds")]
    return ("Opening (a log replayed: records/s and bytes/s)", ["scenario", "engine", "time", "records/s", "bytes/s", "files"],
            rows)


def scenario_tables(results, scenario):
    """Those that have rows."""
    tables = [rates_table(results, scenario, OPS, "Operations/s, medians of rounds; spread: (max - min) / median"),
              rates_table(results, scenario, WRITER, "Writes/s beside the readers of readwhilewriting"),
              opening_table(results, scenario),
              latency_table(results, scenario, "nanos", "Latency of an operation (of a batch in fillbatch), medians of rounds"),
              latency_table(results, scenario, "get_nanos", "Latency of the gets among them"), cpu_table(results, scenario),
              costs_table(results, scenario)]
    return [table for table in tables if table[2]]
