"""Results for people, as tables, and for programs, as JSON."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

from bench.build import OUT
from bench.compare import Result, Row
from bench.stand import machine

_HEADS = (
    f"{'CPU':>8} {'':<17} {'x dth':>6} {'CPU s':>7} {'spread':>6} {'wall s':>7} {'RSS MiB':>7} {'tree':>5}"
    f" {'requests':>8} {'connections':>11}  hashed"
)


def show(results: Sequence[Result], name: str, *, notes: Sequence[str] = ()) -> None:
    """One table on stdout, and `bench/out/<name>.json`."""
    hashes = list(dict.fromkeys(row.hashes for result in results for row in result.rows))
    width = max(len(_name(row)) for result in results for row in result.rows) + 1
    print(f"\n{'':{width}}{_HEADS}")
    for result in results:
        _show(result, hashes, width)
    print("\n* the best setting of its tool, which counts. x dth: its CPU in terms of dth's.")
    print("RSS: peak of its largest process; tree: of all its processes together. spread: of the CPU over the rounds.")
    print("hashed, besides TLS itself:")
    for number, text in enumerate(hashes):
        _note(f"  {_letter(number)}  {text}", "     ")
    for note in dict.fromkeys((*(note for result in results for note in result.notes), *notes)):
        _note(f"- {note}", "  ")
    on = machine()
    print(f"machine: {on['cpu']}, {on['cores']} cores, kernel {on['kernel']}")
    OUT.mkdir(exist_ok=True)
    report = {"machine": on, "results": [asdict(result) for result in results], "notes": list(notes)}
    path = OUT / f"{name}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"as JSON: {path.relative_to(OUT.parent.parent)}")


def _show(result: Result, hashes: Sequence[str], width: int) -> None:
    job = result.job
    size = f", {job.bytes / 2**20:,.0f} MiB" if job.bytes else ""
    rounds = f"medians of {result.rounds}" if result.rounds > 1 else "one round"
    print(f"\n{job.name}, {'HTTPS' if result.tls else 'HTTP'}: {job.objects:,} objects{size}; {rounds}")
    micro = job.unit.startswith("µs")
    for row in result.rows:
        per = f"{row.cpu_per_unit * 1e6:8,.0f}" if micro else f"{row.cpu_per_unit:8.3f}"
        times = result.times_ours(row)
        ratio = f"{times:6.2f}" if times else f"{'':6}"
        rss = f"{row.rss_bytes / 2**20:7.0f} {row.tree_rss_bytes / 2**20:5.0f}"
        cost = f"{row.cpu_seconds:7.2f} {row.spread:6.0%} {row.wall_seconds:7.2f} {rss}"
        hashed = _letter(hashes.index(row.hashes))
        counts = f"{row.requests:8,} {row.connections:11,}"
        print(f"{_name(row):{width}}{per} {job.unit:<17} {ratio} {cost} {counts}  {hashed}")
    for row in result.rows:
        if row.proof:
            proof = ", ".join(f"{count:,} {what}" for what, count in sorted(row.proof.items()))
            print(f"  the report of {row.tool}, {row.setting}: {proof}")


def _name(row: Row) -> str:
    return f"{'*' if row.best else ' '}{row.tool}, {row.setting}"


def _letter(number: int) -> str:
    return chr(ord("a") + number)


def _note(text: str, indent: str) -> None:
    print(textwrap.fill(text, 120, subsequent_indent=indent))
