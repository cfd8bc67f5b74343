#!/usr/bin/env python3
"""Makes one HTML page, with charts and nothing from outside, of what `compare --json` wrote.

    compare.py --rounds 5 --json results.jsonl --dir /var/tmp
    report.py results.jsonl > report.html

For each workload a bar per engine, the median of its rounds with the least and the largest marked; below, latencies
and costs as tables. Several files are read as one.
"""
import collections
import html
import json
import os
import statistics
import sys

COLOURS = {"helios": "#c2410c", "rocksdb": "#475569", "leveldb": "#0f766e", "lmdb": "#6d28d9"}
BAR, GAP, LABEL, WIDTH, ROOM = 16, 4, 70, 640, 190  # pixels of the charts
PERCENTILES = ["mean", "p50", "p99", "p99.9", "p99.99", "max"]
STYLE = """body { font: 15px/1.5 system-ui, sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #1e293b }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em } figure { margin: 1.2em 0 } figcaption { font-weight: 600 }
table { border-collapse: collapse; font-size: 13px } td, th { padding: .15em .7em; text-align: right; white-space: nowrap }
td:first-child, th:first-child, td:nth-child(2), th:nth-child(2) { text-align: left } tr:nth-child(even) { background: #f1f5f9 }
pre { white-space: pre-wrap; font-size: 12px; background: #f1f5f9; padding: .8em } svg text { font: 12px system-ui, sans-serif }"""


def read(paths):
    """Settings by engine, and lines by (workload, engine), in the order in which they came."""
    settings, lines = {}, collections.OrderedDict()
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for line in map(json.loads, file):
                if "settings" in line:
                    settings[line["engine"]] = line["settings"]
                else:
                    lines.setdefault(line["workload"], {}).setdefault(line["engine"], []).append(line)
    return settings, lines


def values(lines, *path):
    found = []
    for line in lines:
        for name in path:
            line = line.get(name) if isinstance(line, dict) else None
        if line is not None:
            found.append(line)
    return found


def rate(value):
    for limit, unit in ((1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.0f}"


def time(nanos):
    for limit, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if nanos >= limit:
            return f"{nanos / limit:.3g} {unit}"
    return f"{nanos:.0f} ns"


def chart(workload, engines):
    """Bars as an SVG image; None where nothing was counted per second."""
    bars = [(engine, values(lines, "ops_per_second")) for engine, lines in engines.items()]
    bars = [(engine, rates) for engine, rates in bars if rates]
    if not bars:
        return None
    scale = (WIDTH - LABEL - ROOM) / max(max(rates) for _, rates in bars)
    base = next((statistics.median(rates) for engine, rates in bars if engine == "rocksdb"), None)
    parts = []
    for i, (engine, rates) in enumerate(bars):
        y, middle = i * (BAR + GAP), statistics.median(rates)
        text = f"{rate(middle)}/s" + (f" ({middle / base:.2f}× RocksDB)" if base and engine != "rocksdb" else "")
        least, most = LABEL + min(rates) * scale, LABEL + max(rates) * scale
        parts.append(f'<text x="0" y="{y + 12}">{html.escape(engine)}</text>'
                     f'<rect x="{LABEL}" y="{y}" width="{middle * scale:.1f}" height="{BAR}" '
                     f'fill="{COLOURS.get(engine, "#64748b")}"/>'
                     f'<path d="M{least:.1f} {y + BAR / 2}H{most:.1f}" stroke="#000" stroke-width="1.5"/>'
                     f'<text x="{max(most, LABEL + middle * scale) + 6:.1f}" y="{y + 12}">{text}</text>')
    return (f'<figure><figcaption>{html.escape(workload)}</figcaption><svg width="{WIDTH}" '
            f'height="{len(bars) * (BAR + GAP)}" role="img" aria-label="{html.escape(workload)}">{"".join(parts)}</svg>'
            "</figure>")


def table(head, rows):
    def line(cells, tag):
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
    return "<table>" + line(head, "th") + "".join(line(row, "td") for row in rows) + "</table>"


def latencies(lines):
    rows = []
    for workload, engines in lines.items():
        for engine, runs in engines.items():
            if values(runs, "nanos"):
                rows.append([workload, engine] + [time(statistics.median(values(runs, "nanos", p))) for p in PERCENTILES])
    return table(["workload", "engine", *PERCENTILES], rows)


def costs(lines):
    columns = [("write_amplification", 1, ".2f"), ("space_amplification", 1, ".2f"), ("settle_seconds", 1, ".2f"),
               ("space_bytes", 1 << 20, ".0f"), ("peak_bytes", 1 << 20, ".0f")]
    rows = []
    for workload, engines in lines.items():
        for engine, runs in engines.items():
            cells = []
            for name, unit, form in columns:
                found = values(runs, name)
                cells.append(format(statistics.median(found) / unit, form) if found else "–")
            if cells[0] != "–":
                rows.append([workload, engine, *cells])
    return table(["workload", "engine", "write amplification", "space amplification", "seconds until idle", "MiB on disk",
                  "peak MiB in memory"], rows)


def page(settings, lines):
    rounds = max(len(runs) for engines in lines.values() for runs in engines.values())
    described = "\n".join(html.escape(f"{engine}: {text}") for engine, text in settings.items())
    charts = [figure for figure in (chart(w, e) for w, e in lines.items()) if figure]
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Helios beside its peers</title><style>{STYLE}</style></head><body>
<h1>Helios beside its peers</h1>
<p>Medians of {rounds} rounds, each engine in a process and directory of its own, in turn; the thin line is from the least to the
largest round. {os.cpu_count()} processors.</p>
<h2>Operations per second</h2>
{chr(10).join(charts)}
<h2>Latency of an operation</h2>
{latencies(lines)}
<h2>What writing costs</h2>
{costs(lines)}
<h2>Settings</h2>
<pre>{described}</pre>
</body></html>"""


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    settings, lines = read(sys.argv[1:])
    if not lines:
        sys.exit("report: no measurements in " + " ".join(sys.argv[1:]))
    print(page(settings, lines))


if __name__ == "__main__":
    main()
