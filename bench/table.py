"""Results for people, as tables, and for programs, as JSON in `bench/out/`."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

from bench.build import OUT
from bench.interpreter import machine, named
from bench.results import Result, Row

_HEADS = (
    f"{'':>22} {'x dth':>6} {'CPU s':>7} {'spread':>6} {'wall s':>7} {'rounds':>6} {'RSS MiB':>7} {'tree':>5}"
    f" {'requests':>8} {'connections':>11}  hashed"
)


def show(results: Sequence[Result], name: str, *, notes: Sequence[str] = ()) -> None:
    """One table on stdout, and `bench/out/<name>.json`."""
    write(results, notes)
    OUT.mkdir(exist_ok=True)
    report = {"machine": machine(), "results": [asdict(result) for result in results], "notes": list(notes)}
    path = OUT / f"{name}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"as JSON: {path.relative_to(OUT.parent.parent)}")


def write(results: Sequence[Result], notes: Sequence[str] = ()) -> None:
    """One table on stdout."""
    hashes = list(dict.fromkeys(row.hashes for result in results for row in result.rows))
    width = max((len(_name(row, best=True)) for result in results for row in result.rows), default=0) + 1
    print(f"\n{'':{width}}{_HEADS}")
    for result in results:
        _show(result, hashes, width)
    print("\n* the best setting of its tool, which counts. x dth: its seconds in terms of dth's.")
    print("RSS: peak of its largest process; tree: of all its processes together. spread: of the CPU over the rounds.")
    print("hashed, besides TLS itself:")
    for number, text in enumerate(hashes):
        _note(f"  {_letter(number)}  {text}", "     ")
    for note in dict.fromkeys((*(note for result in results for note in result.notes), *notes)):
        _note(f"- {note}", "  ")
    on = machine()
    print(f"machine: {on['cpu']}, {on['cores']} cores, kernel {on['kernel']}; {named(on)}")


def _show(result: Result, hashes: Sequence[str], width: int) -> None:
    what = "by the clock" if result.metric == "wall" else "by CPU"
    print(f"\n{result.name} ({what}). {result.title}")
    best = result.best()
    for row in result.rows:
        per = in_words(result.unit, row.per_unit(result.metric))
        times = result.times_ours(row)
        ratio = f"{times:6.2f}" if times else f"{'':6}"
        rss = f"{row.rss / 2**20:7.0f} {row.tree_rss / 2**20:5.0f}"
        cost = f"{row.cpu:7.2f} {row.spread:6.0%} {row.wall:7.2f} {len(row.runs):6} {rss}"
        counts = f"{row.requests:8,} {row.connections:11,}"
        print(
            f"{_name(row, best=row in best):{width}}{per:>22} {ratio} {cost} {counts}  {_letter(hashes.index(row.hashes))}"
        )
    for row in result.rows:
        if row.proof:
            print(f"  the report of {row.tool}, {row.setting}: {proof_in_words(row)}")


def in_words(unit: str, seconds: float) -> str:
    """Seconds a unit, as people would say them."""
    if seconds < 0.01:
        return f"{seconds * 1e6:,.0f} µs/{unit}"
    return f"{seconds * 1e3:,.0f} ms/{unit}" if seconds < 1 else f"{seconds:,.2f} s/{unit}"


def proof_in_words(row: Row) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in sorted(row.proof.items()))


def _name(row: Row, *, best: bool) -> str:
    return f"{'*' if best else ' '}{row.tool}, {row.setting}"


def _letter(number: int) -> str:
    return chr(ord("a") + number)


def _note(text: str, indent: str) -> None:
    print(textwrap.fill(text, 120, subsequent_indent=indent))
