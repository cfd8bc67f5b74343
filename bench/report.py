#!/usr/bin/env python3
"""Makes one page, with charts and nothing from outside, of what `compare --json` wrote; or the same tables as Markdown.

    compare --all --rounds 5 --json results.jsonl --dir /var/tmp
    report results.jsonl >report.html
    report --markdown results.jsonl >report.md

First what is asked and what was reached; then for each workload a bar per engine, the median of its rounds with the least
and the largest marked; latencies, processor time and costs as tables; curves of the cost as things grow. Several files are
read as one.
"""
import html
import math
import sys

from results import (BASE, OPS, Results, goals_table, median, rate, scenario_tables, time, verdicts)

COLOURS = {"helios": "#c2410c", "rocksdb": "#475569", "leveldb": "#0f766e", "lmdb": "#6d28d9"}
LINES = ["#c2410c", "#475569", "#0f766e", "#6d28d9", "#b45309", "#0369a1", "#be185d", "#4d7c0f"]
BAR, GAP, LABEL, WIDTH, ROOM = 16, 4, 70, 640, 210  # pixels of the charts
LEFT, RIGHT, TOP, BOTTOM, HEIGHT = 70, 170, 10, 40, 260  # of the curves
TITLES = {
    "main": "Data in cache: 2 M records of 116 bytes", "history": "The same with 24 h of history, as Helios is by default",
    "kb": "Values of 1 KB", "ycsb": "YCSB A to F, one thread, records of 1 KB", "ycsb4": "YCSB A to F, four threads",
    "memory": "Larger than the cache: 10 M records, 64 MiB",
    "overwrites": "10 M records overwritten five times", "mixed": "Ten minutes of everything at once",
    "open": "Opening a large database",
    "replay": "Opening with a log to replay", "replay1k": "Opening with a log of 1 KB values"}
STYLE = """body { font: 15px/1.5 system-ui, sans-serif; max-width: 66em; margin: 2em auto; padding: 0 1em; color: #1e293b }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em } figure { margin: 1.2em 0 } figcaption { font-weight: 600 }
table { border-collapse: collapse; font-size: 13px } td, th { padding: .15em .7em; text-align: right; white-space: nowrap }
td:first-child, th:first-child, td:nth-child(2), th:nth-child(2) { text-align: left } tr:nth-child(even) { background: #f1f5f9 }
caption { text-align: left; font-weight: 600; padding: .8em 0 .3em } tr.missed td:last-child { color: #b91c1c; font-weight: 600 }
summary { cursor: pointer; font-weight: 600; margin: 1em 0 .4em } div.wide { overflow-x: auto }
pre { white-space: pre-wrap; font-size: 12px; background: #f1f5f9; padding: .8em } svg text { font: 12px system-ui, sans-serif }"""


# ---- charts ----


def bars(results, scenario, workload):
    """Bars as an SVG image; None where nothing was counted per second."""
    found = [(engine, results.values(scenario, engine, workload, *OPS)) for engine in results.engines(scenario)]
    found = [(engine, rates) for engine, rates in found if rates]
    if not found:
        return None
    scale = (WIDTH - LABEL - ROOM) / max(max(rates) for _, rates in found)
    base = results.median(scenario, BASE, workload, *OPS)
    parts = []
    for i, (engine, rates) in enumerate(found):
        y, middle = i * (BAR + GAP), median(rates)
        text = f"{rate(middle)}/s" + (f" ({middle / base:.2f}× RocksDB)" if base and engine != BASE else "")
        least, most = LABEL + min(rates) * scale, LABEL + max(rates) * scale
        parts.append(f'<text x="0" y="{y + 12}">{html.escape(engine)}</text>'
                     f'<rect x="{LABEL}" y="{y}" width="{middle * scale:.1f}" height="{BAR}" '
                     f'fill="{COLOURS.get(engine, "#64748b")}"/>'
                     f'<path d="M{least:.1f} {y + BAR / 2}H{most:.1f}" stroke="#000" stroke-width="1.5"/>'
                     f'<text x="{max(most, LABEL + middle * scale) + 6:.1f}" y="{y + 12}">{text}</text>')
    return (f'<figure><figcaption>{html.escape(workload)}</figcaption><svg width="{WIDTH}" '
            f'height="{len(found) * (BAR + GAP)}" role="img" aria-label="{html.escape(workload)}">{"".join(parts)}</svg>'
            "</figure>")


def curves_by_name(results):
    """curve -> (unit of x, operation -> [(x, nanoseconds)]), medians where a point was measured several times."""
    found = {}
    for line in results.curves:
        unit, series = found.setdefault(line["curve"], (line["unit"], {}))
        series.setdefault(line["operation"], {}).setdefault(line["x"], []).append(line["nanos"])
    return {name: (unit, {operation: sorted((x, median(values)) for x, values in points.items())
                          for operation, points in series.items()})
            for name, (unit, series) in found.items()}


class Axis:
    """Logarithmic, from a power of ten to another."""

    def __init__(self, values, start, end):
        self.low = math.floor(math.log10(max(min(values), 1)) + 1e-9)
        self.high = max(math.ceil(math.log10(max(max(values), 1)) - 1e-9), self.low + 1)
        self.start, self.end = start, end

    def at(self, value):
        return self.start + (math.log10(max(value, 1)) - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self):
        return [10 ** power for power in range(self.low, self.high + 1)]


def curve(name, unit, series):
    points = [point for each in series.values() for point in each]
    across = Axis([x for x, _ in points], LEFT, WIDTH - RIGHT + 60)
    up = Axis([y for _, y in points], HEIGHT - BOTTOM, TOP)
    right = WIDTH - RIGHT + 60
    parts = [f'<path d="M{LEFT} {up.at(y):.1f}H{right}" stroke="#cbd5e1"/><text x="{LEFT - 6}" y="{up.at(y) + 4:.1f}" '
             f'text-anchor="end">{time(y)}</text>' for y in up.ticks()]
    parts += [f'<text x="{across.at(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{rate(x)}</text>'
              for x in across.ticks()]
    parts.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 4}" text-anchor="middle">{html.escape(unit)}</text>')
    taken = []
    for i, (operation, each) in enumerate(series.items()):
        colour, (x, y) = LINES[i % len(LINES)], each[-1]
        path = "L".join(f"{across.at(x):.1f} {up.at(y):.1f}" for x, y in each)
        label = up.at(y) + 4
        while any(abs(label - other) < 13 for other in taken):  # below those that are there
            label += 1
        taken.append(label)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>' + "".join(
            f'<circle cx="{across.at(x):.1f}" cy="{up.at(y):.1f}" r="3" fill="{colour}"/>' for x, y in each) +
            f'<text x="{across.at(x) + 8:.1f}" y="{label:.1f}" fill="{colour}">{html.escape(operation)}</text>')
    return (f'<figure><figcaption>{html.escape(name)}</figcaption><svg width="{WIDTH + 60}" height="{HEIGHT + 40}" role="img" '
            f'aria-label="{html.escape(name)}">{"".join(parts)}</svg></figure>')


def curve_tables(results):
    for name, (unit, series) in curves_by_name(results).items():
        steps = sorted({x for each in series.values() for x, _ in each})
        rows = [[operation, *(time(dict(each).get(x)) for x in steps)] for operation, each in series.items()]
        yield f"Time of an operation by {name}", [unit, *(rate(x) for x in steps)], rows


# ---- the page ----


def table(title, head, rows, missed=()):
    def line(cells, tag, name=""):
        return f"<tr{name}>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
    body = "".join(line(row, "td", ' class="missed"' if i in missed else "") for i, row in enumerate(rows))
    return f'<div class="wide"><table><caption>{html.escape(title)}</caption>{line(head, "th")}{body}</table></div>'


def described(results):
    """Date and machine of each run that differs from the one before, and every engine's settings."""
    lines = []
    for run in results.runs:
        text = (f"{run['date']}, {run['commit'] or 'no commit'}: {run['processor']}, {run['cores']} cores, "
                f"{run['memory_bytes'] / (1 << 30):.0f} GiB; {run['kernel']}; {run['disk']}")
        if not lines or lines[-1].split(", ", 1)[1] != text.split(", ", 1)[1]:
            lines.append(text)
    return lines, [f"{engine}: {results.settings[engine]}" for engine in results.engines() if engine in results.settings]


def intro(results):
    return (f"Medians of up to {results.rounds()} rounds, each engine in a process and directory of its own, in turn. A ratio is "
            "Helios's median over the peer's. Nothing is set that a user would not get, but that history is off where the "
            "peers have none.")


def section(results, scenario):
    charts = [figure for figure in (bars(results, scenario, w) for w in results.workloads(scenario)) if figure]
    tables = "".join(table(*each) for each in scenario_tables(results, scenario))
    return (f"<h2>{html.escape(TITLES.get(scenario, scenario))}</h2>{''.join(charts)}"
            f"<details><summary>Figures</summary>{tables}</details>")


def page(results):
    machine, settings = described(results)
    missed = {i for i, verdict in enumerate(verdicts(results)) if not verdict.reached}
    goals = goals_table(results)
    sections = [section(results, scenario) for scenario in results.scenarios()]
    curves = "".join(curve(name, *each) for name, each in curves_by_name(results).items())
    curves += "".join(table(*each) for each in curve_tables(results))
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Helios beside its peers</title><style>{STYLE}</style></head><body>
<h1>Helios beside its peers</h1>
<p>{html.escape(intro(results))} The thin line in a chart is from the least to the largest round.</p>
<pre>{html.escape(chr(10).join(machine))}</pre>
{table(*goals, missed=missed) if goals[2] else ""}
{chr(10).join(sections)}
{"<h2>As things grow</h2>" + curves if curves else ""}
<h2>Settings</h2>
<pre>{html.escape(chr(10).join(settings))}</pre>
</body></html>"""


def markdown_table(title, head, rows):
    def line(cells):
        return "| " + " | ".join(cells) + " |"
    return "\n".join([f"\n{title}:\n", line(head), line(["---"] * len(head)), *map(line, rows)])


def markdown(results):
    machine, settings = described(results)
    parts = ["# Helios beside its peers\n", intro(results) + " The same with charts, latencies and costs: `benchmark.html`.\n",
             *(f"- {line}" for line in machine)]
    if goals_table(results)[2]:
        parts.append(markdown_table(*goals_table(results)))
    for scenario in results.scenarios():
        tables = scenario_tables(results, scenario)
        parts += [f"\n## {TITLES.get(scenario, scenario)}", *(markdown_table(*each) for each in tables[:1])]
    curves = list(curve_tables(results))
    parts += (["\n## As things grow"] if curves else []) + [markdown_table(*each) for each in curves]
    return "\n".join([*parts, "\n## Settings\n", *(f"- {line}" for line in settings)])


def main():
    arguments = sys.argv[1:]
    as_markdown = "--markdown" in arguments
    paths = [argument for argument in arguments if argument != "--markdown"]
    if not paths or any(path.startswith("-") for path in paths):
        sys.exit(__doc__)
    results = Results()
    for path in paths:
        results.read(path)
    if not results.lines and not results.curves:
        sys.exit("report: no measurements in " + " ".join(paths))
    print(markdown(results) if as_markdown else page(results))


if __name__ == "__main__":
    main()
