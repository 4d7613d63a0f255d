"""The bench's arithmetic: medians, ratios, merging, bounds, and what is left out when time is short."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bench import bounds, build, catalogue, floors, profiles, report, small, startup
from bench.all import refusal
from bench.bounds import Bound, Verdict
from bench.catalogue import Entry
from bench.charts import Bar, Block, chart
from bench.compare import StoreMeasurement
from bench.contenders import dth
from bench.interpreter import machine, named
from bench.peers import awscli_copies, rclone
from bench.results import FOLDER, Report, Result, Row, Run, load, merged, newest, save
from bench.schedule import Schedule, Turn

MACHINE = {
    "cpu": "a processor",
    "cores": 2,
    "kernel": "6.1",
    "python": "3.11.2",
    "debian": True,
    "pgo": True,
    "lto": True,
}


def a_run(cpu: float = 1.0, wall: float = 2.0) -> Run:
    return Run(cpu, wall, 50 << 20, 60 << 20, 400, 8)


def a_row(tool: str, *cpus: float, setting: str = "defaults", counts: bool = True, units: float = 100) -> Row:
    return Row(tool, setting, "nothing", counts, units, tuple(a_run(cpu) for cpu in cpus))


def a_result(name: str = "small", *rows: Row) -> Result:
    rows = rows or (a_row("dth", 1.0), a_row("rclone", 4.0))
    return Result(name, f"Title of {name}", "object", "cpu", 100, 1000, tls=False, rows=rows)


def a_report(*results: Result, date: str = "2026-11-28T12:00Z", commit: str = "abcdef12") -> Report:
    return Report(date, commit, MACHINE, results)


def test_a_row_is_the_median_of_its_runs_and_the_peak_of_their_memory() -> None:
    row = a_row("dth", 9.0, 1.0, 2.0)
    assert (row.cpu, row.per_unit("cpu"), row.per_unit("wall"), row.spread) == (2.0, 0.02, 0.02, 4.0)
    assert (row.rss, row.connections) == (50 << 20, 8)


def test_the_best_setting_of_a_tool_is_the_cheapest_a_unit_of_those_that_count() -> None:
    part = a_row("rclone", 1.0, setting="a part", units=10)
    unproven = a_row("rclone", 1.0, setting="unproven", counts=False)
    whole = a_row("rclone", 4.0, setting="whole")
    result = a_result("small", a_row("dth", 2.0), part, unproven, whole)
    assert [row.setting for row in result.best()] == ["defaults", "whole"]
    assert result.times_ours(whole) == 2.0


def test_what_is_saved_is_loaded_again_and_holds_neither_path_nor_host(tmp_path: Path) -> None:
    saved = save(a_report(a_result()), tmp_path)
    assert load(saved) == a_report(a_result())
    assert saved.name == "2026-11-28-abcdef12.json"
    assert set(json.loads(saved.read_text())) == {"date", "commit", "machine", "results", "notes"}


def test_a_later_run_of_a_commit_adds_to_its_file_and_fewer_rounds_replace_nothing(tmp_path: Path) -> None:
    save(a_report(a_result("small", a_row("dth", 1.0, 1.0, 1.0))), tmp_path)
    save(a_report(a_result("small", a_row("dth", 9.0)), a_result("bulk"), date="2026-11-29T08:00Z"), tmp_path)
    (only,) = tmp_path.glob("*.json")
    kept = load(only)
    assert [(one.name, one.rounds) for one in kept.results] == [("small", 3), ("bulk", 1)]
    assert kept.date == "2026-11-29T08:00Z"
    assert merged(kept.results, [a_result("small", a_row("dth", 9.0, 9.0, 9.0))])[0].row("dth") == a_row(
        "dth", 9.0, 9.0, 9.0
    )


def test_the_newest_results_are_those_measured_last_whatever_their_commit(tmp_path: Path) -> None:
    late = save(a_report(a_result(), date="2026-11-28T12:01Z", commit="00000000"), tmp_path)
    save(a_report(a_result(), date="2026-11-28T12:00Z", commit="ffffffff"), tmp_path)
    assert newest(tmp_path) == late
    assert newest(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("ours", "least", "verdict"),
    [(0.9, False, Verdict.MET), (1.0, True, Verdict.MET), (1.1, False, Verdict.MISSED), (0.9, True, Verdict.MISSED)],
)
def test_a_bound_says_whether_it_is_met_and_with_what_figure(ours: float, *, least: bool, verdict: Verdict) -> None:
    bound = Bound("CPU", "small", bounds.ratio("rclone"), 1.0, least=least)
    found = a_report(a_result("small", a_row("dth", ours), a_row("rclone", 1.0)))
    assert bound.verdict(found) is verdict
    assert bound.measured(found) == f"{ours:.2f}"


def test_a_bound_of_what_was_not_measured_is_neither_met_nor_missed() -> None:
    without = a_report(a_result("small", a_row("dth", 1.0)))
    for found in (without, a_report()):
        assert Bound("CPU", "small", bounds.ratio("rclone"), 1.0).verdict(found) is Verdict.UNKNOWN


def test_a_rate_is_the_others_time_in_terms_of_ours() -> None:
    rows = (replace(a_row("dth", 1.0), runs=(a_run(1, 2),)), replace(a_row("rclone", 1.0), runs=(a_run(1, 6),)))
    assert bounds.speed("rclone")(a_result("small-100ms", *rows)) == 3.0


def test_every_bound_and_floor_is_of_a_workload_and_every_workload_has_its_place_on_the_page() -> None:
    names = {entry.name for entry in catalogue.CATALOGUE} - {"images"} | {"images-cold", "images-warm"}
    assert {bound.workload for bound in bounds.BOUNDS} <= names
    assert {name for floor in floors.FLOORS for name in floor.workloads} <= names
    assert {name for profile in profiles.PROFILES for name in profile.workloads} <= names
    shown = [name for family in report.FAMILIES for name in family.workloads]
    assert sorted(shown) == sorted(names)
    assert all(entry.bound for entry in catalogue.CATALOGUE if entry.name in {one.workload for one in bounds.BOUNDS})


def test_every_workload_can_be_made_small_and_names_what_it_is_called() -> None:
    for entry in catalogue.CATALOGUE:
        if entry.name != "images":
            work = entry.make(entry.full)
            assert work.job.name == entry.name
            assert work.job.units > 0
            assert work.contenders[0].tool.startswith("dth")


def test_workloads_are_chosen_by_name_or_by_its_front() -> None:
    assert [entry.name for entry in catalogue.chosen("startup, mix-tls")] == [
        "startup-help", "startup-version", "startup-one", "mix-tls",
    ]  # fmt: skip
    with pytest.raises(KeyError, match="smal"):
        catalogue.chosen("smal")


def test_whoever_moves_a_part_alone_has_a_folder_and_units_of_its_own() -> None:
    work = small.workload(1000, tls=False).only("awscli")
    assert work.all_spaces() == ["source:data/:1000:10240", "source:data-20/:50:10240"]
    part = work.job.part(awscli_copies(20)[0].share)
    assert (part.source, part.objects, part.units) == ("source/data-20/", 50, 50)


def test_a_setting_that_is_far_from_its_tools_best_is_not_repeated_but_dth_always_is() -> None:
    work = replace(small.workload(100, tls=False), contenders=(dth(), replace(dth(), setting="b"), *rclone(16)))
    one = StoreMeasurement(work, {number: [a_run(cpu)] for number, cpu in enumerate((1, 9, 3, 2.1, 2))})
    one.fewer()
    assert one.out == {2}
    assert one.expected() > 0


def test_nobody_begins_after_the_end_of_the_time() -> None:
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    one = StoreMeasurement(startup.version().only("dth"))
    one.round(ends=1.0)
    assert one.results() == []


def test_a_contender_without_a_run_is_named_and_so_is_one_that_failed() -> None:
    one = StoreMeasurement(small.workload(100, tls=False).only("dth,rclone"), {0: [a_run()]})
    one.out.add(1)
    one.failures.append("rclone (16 transfers): exit 1")
    (result,) = one.results()
    assert "failed: rclone (16 transfers): exit 1" in result.notes
    assert [note for note in result.notes if note.endswith(": no time")] == [
        "rclone (fewer requests): no time",
        "rclone (fewer requests and hashes): no time",
    ]


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Fake:
    name: str
    clock: Clock
    takes: float
    rounds: list[str] = field(default_factory=list)

    def round(self, ends: float = math.inf) -> None:
        assert self.clock.now < ends
        self.clock.now += self.takes
        self.rounds.append(self.name)

    def fewer(self) -> None: ...

    def expected(self) -> float:
        return self.takes

    def prove(self) -> None: ...

    def results(self) -> list[Result]:
        return []

    def close(self) -> None: ...


def a_schedule(seconds: float, **takes: float) -> tuple[Schedule, list[str]]:
    """Workloads that take so long; those whose names are in capitals have a bound. What was measured, in order."""
    clock, done = Clock(), list[str]()
    turns = [
        Turn(Entry(name, small.many, 1, 1, 1, bound=name.isupper()), Fake(name, clock, took, done), took)
        for name, took in takes.items()
    ]
    return Schedule(turns, 3, seconds, clock=clock), done


def test_without_a_budget_every_workload_gets_all_rounds_in_turn() -> None:
    schedule, done = a_schedule(0, A=1, b=1, C=1)
    assert len(list(schedule.run())) == 9
    assert done == ["A", "b", "C", "A", "C", "A", "C", "b", "b"]
    assert schedule.left_out == []


def test_with_a_budget_rounds_are_left_out_before_workloads_and_it_is_said() -> None:
    schedule, done = a_schedule(6.0, A=1, b=1, C=1)
    list(schedule.run())
    assert done == ["A", "b", "C", "A", "C"]
    assert schedule.left_out == [
        f"{name} had {count} of 3 rounds: no time" for name, count in (("A", 2), ("b", 1), ("C", 2))
    ]


def test_a_workload_that_would_not_end_in_time_makes_room_for_smaller_ones() -> None:
    schedule, done = a_schedule(4, A=1, LONG=100, c=1)
    list(schedule.run())
    assert done == ["A", "c", "A"]
    assert "LONG was left out: no time" in schedule.left_out


def test_a_workload_that_breaks_off_keeps_its_rounds_and_stops_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    schedule, done = a_schedule(0, A=1, b=1)
    broken = schedule.turns[0].measurement

    def breaks(ends: float = math.inf) -> None:
        raise OSError("no store")

    for turn in schedule.run():
        if turn.entry.name == "A":
            broken.round = breaks  # type: ignore[method-assign]
    assert done == ["A", "b", "b", "b"]
    assert schedule.left_out == ["A broke off: OSError: no store"]
    assert "no store" in capsys.readouterr().out


def test_a_busy_machine_is_refused_in_words_unless_it_shall_be_measured_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    monkeypatch.setattr(build, "missing", lambda: "")
    assert re.search(r"load was 99.0 .*--anyway", refusal(anyway=False))
    assert refusal(anyway=True) == ""
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 99.0, 99.0))
    assert refusal(anyway=False) == ""


def test_the_interpreter_is_named_with_how_it_was_built() -> None:
    assert named(MACHINE) == "Python 3.11.2, Debian's, built with PGO"
    assert "not Debian's, built without PGO" in named(MACHINE | {"debian": False, "pgo": False})
    assert set(machine()) == set(MACHINE)


def test_a_chart_is_well_formed_has_a_text_for_who_cannot_see_it_and_two_colour_schemes() -> None:
    from xml.etree import ElementTree as ET

    drawn = chart(
        "Small & fast",
        [Block("One <kind>", [Bar("dth", 1.0, "1 µs", ours=True), Bar("x", 4, "4 µs", ours=False)], 0.5)],
    )
    root = ET.fromstring(drawn)
    assert "dth 1 µs" in (root.findtext("{http://www.w3.org/2000/svg}desc") or "")
    lengths = [float(one.get("width", 0)) for one in root.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert lengths[1] == pytest.approx(4 * lengths[0], rel=0.01)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}line"))) == 1
    assert "prefers-color-scheme:dark" in drawn


def test_a_bar_that_is_far_out_is_cut_and_says_so() -> None:
    bars = [Bar("dth", 1.0, "1 µs", ours=True), Bar("x", 5.0, "5 µs", ours=False), Bar("y", 90.0, "90 µs", ours=False)]
    drawn = chart("Far", [Block("One", bars)])
    lengths = [float(one) for one in re.findall(r'class="(?:ours|peer)" .* width="([\d.]+)"', drawn)]
    assert lengths == pytest.approx([lengths[1] / 5, lengths[1], lengths[1]], rel=0.01)
    assert ">90 µs (cut)<" in drawn
    assert ">5 µs<" in drawn


def test_the_page_prints_every_bound_with_its_verdict_and_figure(tmp_path: Path) -> None:
    made = report.pages(save(a_report(a_result("small")), tmp_path))[report.PAGE]
    rows = [line for line in made.splitlines() if line.startswith("| ")]
    for bound in bounds.BOUNDS:
        (row,) = [line for line in rows if line.startswith(f"| {bound.text} |")]
        assert bound.wanted() in row
        assert any(verdict.value in row for verdict in Verdict)
    assert "| 0.25 | met |" in made


def test_the_page_says_that_the_machine_was_busy(tmp_path: Path) -> None:
    busy = replace(a_result(), load=7.5)
    assert "The machine was busy" in report.pages(save(a_report(busy), tmp_path))[report.PAGE]
    assert "The machine was busy" not in report.pages(save(a_report(a_result()), tmp_path / "b"))[report.PAGE]


def test_the_page_and_its_charts_are_those_of_the_newest_results() -> None:
    source = newest()
    assert source, "bench/results is empty"
    made = report.pages(source)
    for name, text in made.items():
        assert (report.DOCS / name).read_text() == text, f"docs/{name} is stale: python -m bench.report makes it anew"
    assert {path.name for path in (report.DOCS / report.CHARTS).iterdir()} == {Path(name).name for name in made} - {
        report.PAGE
    }


def test_results_name_no_machine_and_no_path() -> None:
    for path in sorted(FOLDER.glob("*.json")):
        said = path.read_text()
        assert not {"/home", "/root", "/tmp", "/work", "/usr"} & set(said.split('"'))
        assert "/root/" not in said
        assert set(json.loads(said)["machine"]) == set(MACHINE)
