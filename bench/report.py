"""Make docs/speed.md and its charts from the newest results: `python -m bench.report`.

The page says nothing that the file doesn't hold, so that it is the same whoever makes it.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.bounds import BOUNDS, Verdict
from bench.charts import Bar, Block, chart
from bench.floors import FLOORS, floor_of
from bench.interpreter import named
from bench.profiles import profile_of
from bench.results import ROOT, Report, Result, Row, load, newest
from bench.table import in_words, proof_in_words

DOCS = ROOT / "docs"
PAGE, CHARTS = "speed.md", "speed"


@dataclass(frozen=True, slots=True)
class Family:
    """Workloads that are read together, and their chart."""

    name: str
    title: str
    workloads: tuple[str, ...]


FAMILIES = (
    Family("small", "Small objects", ("small", "small-tls", "small-200k")),
    Family("medium", "Objects of 1 and 5 MiB", ("1mib", "1mib-tls", "5mib", "5mib-tls")),
    Family("large", "Large objects, in parts", ("bulk", "bulk-tls", "giant", "giant-tls")),
    Family("mix", "A mix", ("mix", "mix-tls")),
    Family(
        "finding",
        "Finding out what to do",
        ("unchanged-1m", "unchanged-100k", "unchanged-100k-tls", "missing", "listing"),
    ),
    Family("distance", "Far away, and over a bad network", ("small-100ms", "small-loss")),
    Family("images", "Images", ("images-cold", "images-warm")),
    Family("startup", "Starting up", ("startup-help", "startup-version", "startup-one")),
    Family("fleet", "A fleet, and one process beside two", ("fleet", "processes")),
    Family(
        "defaults",
        "Defaults beside settings by hand",
        ("defaults-small", "defaults-5mib", "defaults-bulk", "defaults-100ms"),
    ),
    Family("verify", "What verifying costs", ("verify-single", "verify-parts")),
)


def pages(source: Path) -> dict[str, str]:
    """Each file below docs/ that is made of this one, by its name."""
    report = load(source)
    shown = [(family, _of(report, family)) for family in FAMILIES]
    measured = [(family, results) for family, results in shown if results]
    text = "\n\n".join(
        [
            _head(report, source.name),
            _bounds(report),
            *(_family(family, results) for family, results in measured),
            _foot(report),
        ]
    )
    charts = {f"{CHARTS}/{family.name}.svg": _chart(family, results) for family, results in measured}
    return {PAGE: text + "\n"} | charts


def _of(report: Report, family: Family) -> list[Result]:
    return [result for name in family.workloads if (result := report.result(name))]


def _head(report: Report, name: str) -> str:
    on = report.machine
    rounds = sorted({result.rounds for result in report.results})
    said = f"{rounds[0]} to {rounds[-1]}" if len(rounds) > 1 else str(rounds[0])
    lines = [
        "# Speed",
        "",
        f"<!-- Made by python -m bench.report from bench/results/{name}: change nothing here. -->",
        "",
        (
            "How much work dth is for a machine, beside its peers. The figure is **CPU time** (user and system) of the whole"
            " process tree, because that hardly depends on what else a machine does; where the network decides, it is time on the"
            " clock. Less is better."
        ),
        "",
        "| | |",
        "|---|---|",
        f"| measured | {report.date.replace('T', ' ').replace('Z', ' UTC')}, commit `{report.commit}` |",
        f"| processor | {on['cpu']}, {on['cores']} cores, kernel {on['kernel']} |",
        f"| interpreter | {named(on)} |",
        f"| rounds | {said}; tools take turns in each, and the median counts |",
        "| store | the bench's own (`bench/store.c`), on the same machine: it costs next to nothing and checks every byte |",
        "| settings | dth with its defaults; of each peer the best of up to three settings |",
    ]
    if busy := [result for result in report.results if result.load > on["cores"]]:
        most = max(result.load for result in busy)
        lines += [
            "",
            (
                f"**The machine was busy** before {len(busy)} of {len(report.results)} workloads were measured (load up to {most:.0f} on"
                f" {on['cores']} cores). Ratios of CPU stand that, absolute figures and times on the clock don't."
            ),
        ]
    return "\n".join(lines)


def _bounds(report: Report) -> str:
    verdicts = [bound.verdict(report) for bound in BOUNDS]
    counts = [(verdicts.count(verdict), verdict.value.strip("*")) for verdict in Verdict]
    rows = [
        f"| {bound.text} | {bound.wanted()} | {bound.measured(report) or '-'} | {verdict.value} |"
        for bound, verdict in zip(BOUNDS, verdicts, strict=True)
    ]
    said = ", ".join(f"{count} {what}" for count, what in counts)
    return "\n".join(
        [
            "## What it should show, and does it",
            "",
            f"Of {len(BOUNDS)}: {said}.",
            "",
            "| | wanted | measured | |",
            "|---|---|---|---|",
            *rows,
        ]
    )


def _family(family: Family, results: Sequence[Result]) -> str:
    chart_line = f"![{family.title}: CPU of each tool]({CHARTS}/{family.name}.svg)"
    return "\n\n".join([f"## {family.title}", chart_line, *map(_result, results)])


def _result(result: Result) -> str:
    by = "time on the clock" if result.metric == "wall" else "CPU"
    rounds = "one round" if result.rounds == 1 else f"{result.rounds} rounds"
    heads = (
        "",
        f"{by} a unit",
        "x dth",
        "CPU s",
        "clock s",
        "rounds",
        "MiB of memory",
        "requests",
        "connections",
        "hashed",
    )
    best = result.best()
    rows = [_row(result, row, best=row in best) for row in result.rows]
    lines = [
        f"### {result.title}",
        "",
        f"`{result.name}`, {rounds}.",
        "",
        _cells(heads),
        "|---" * len(heads) + "|",
        *rows,
    ]
    if line := _floor(result):
        lines += ["", line]
    if profile := profile_of(result.name):
        lines += ["", f"What is left ({profile.how}): {profile.said}"]
    hashes = dict.fromkeys(row.hashes for row in result.rows)
    lines += ["", *(f"- ({letter}) {text}" for letter, text in zip("abcdefgh", hashes, strict=False))]
    lines += [f"- dth's report ({row.setting}): {proof_in_words(row)}" for row in result.rows if row.proof]
    lines += [f"- {note}" for note in dict.fromkeys(result.notes)]
    return "\n".join(lines)


def _row(result: Result, row: Row, *, best: bool) -> str:
    name = f"{row.tool}, {row.setting}"
    times = result.times_ours(row)
    letters = dict(zip(dict.fromkeys(one.hashes for one in result.rows), "abcdefgh", strict=False))
    return _cells(
        (
            f"**{name}**" if best else name,
            in_words(result.unit, row.per_unit(result.metric)),
            f"{times:.2f}" if times else "",
            f"{row.cpu:.2f}",
            f"{row.wall:.2f}",
            str(len(row.runs)),
            f"{row.tree_rss / 2**20:.0f}",
            f"{row.requests:,}",
            f"{row.connections:,}" if row.connections else "",
            letters[row.hashes],
        )
    )


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _floor(result: Result) -> str:
    floor, ours = floor_of(result.name), result.row("dth")
    if not floor or not ours:
        return ""
    times = ours.per_unit("cpu") / floor.seconds
    return (
        f"The floor is {in_words(floor.unit, floor.seconds)}, {floor.source}. dth takes {times:.1f} times as much CPU."
    )


def _foot(report: Report) -> str:
    absent = [name for family in FAMILIES for name in family.workloads if not report.result(name)]
    lines = [
        "## How to read it",
        "",
        "- **Bold** rows are the best setting of their tool. The others are shown so that you can check the choice.",
        "- Memory is the peak of all the tool's processes together, a shared page counted once.",
        "- A setting that was 15% dearer than its tool's best in one round is not repeated: its rounds are fewer.",
        "- What a tool hashes is part of the cost of what it protects, so it stands in each table.",
        (
            "- The orange line in a chart is the floor: what a program without any promise takes. Floors were measured on"
            " another day, so a ratio to them is good to a tenth at best."
        ),
        *(f"- {note}" for note in report.notes),
        *([f"- Not measured: {', '.join(absent)}."] if absent else []),
        "",
        "| floor | workloads | source |",
        "|---|---|---|",
        *(
            f"| {in_words(floor.unit, floor.seconds)} | {', '.join(floor.workloads)} | {floor.source} |"
            for floor in FLOORS
        ),
        "",
        (
            "To measure it on your machine: `make bench` in a checkout, or `python -m bench.all --only small --rounds 3`; its"
            " README tells more."
        ),
    ]
    return "\n".join(lines)


def _chart(family: Family, results: Sequence[Result]) -> str:
    blocks = []
    for result in results:
        bars = [
            Bar(
                row.tool if row.counts else f"{row.tool}, {row.setting}",
                value,
                in_words(result.unit, value),
                ours=row.tool == "dth",
            )
            for row in result.best()
            if (value := row.per_unit(result.metric))
        ]
        floor = floor_of(result.name) if result.metric == "cpu" else None
        blocks.append(Block(result.title, bars, floor.seconds if floor else 0.0))
    return chart(family.title, blocks)


def main() -> None:
    source = newest()
    if not source:
        sys.exit("bench/results holds no results yet: python -m bench.all makes some")
    made = pages(source)
    (DOCS / CHARTS).mkdir(exist_ok=True)
    for old in (DOCS / CHARTS).glob("*.svg"):
        old.unlink()
    for name, text in made.items():
        (DOCS / name).write_text(text)
    print(f"docs/{PAGE} and {len(made) - 1} charts, from {source.name}")


if __name__ == "__main__":
    main()
