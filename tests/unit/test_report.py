"""The report keeps every line whole, whoever else writes to the file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from dth.errors import SettingsError
from dth.model import ObjectRecord
from dth.report import JsonlReport, NullReport, ReportFailed, ReportLevel
from dth.states import Outcome, Reason, VerifiedBy


def record(key: str, outcome: Outcome = Outcome.DONE) -> ObjectRecord:
    return ObjectRecord(
        run_id="run",
        key=key,
        dest_key="to/" + key,
        size=3,
        outcome=outcome,
        reason=Reason.MISSING,
        source_etag="a",
        dest_etag="b",
        verified_by=VerifiedBy.CONTENT_MD5,
        attempt=1,
        error_code="",
        error="",
        seconds=0.12345,
    )


async def test_each_object_is_one_ascii_line_whatever_its_key(tmp_path: Path) -> None:
    keys = ["plain", "ümlaut", "new\nline", "bytes-\udcff", 'quo"te', "\U0001f600"]
    path = tmp_path / "report.jsonl"
    await JsonlReport(path, ReportLevel.ALL).write([record(key) for key in keys])
    lines = path.read_bytes().decode("ascii").splitlines()
    assert [json.loads(line)["key"] for line in lines] == keys
    assert json.loads(lines[0]) == {
        "run_id": "run",
        "key": "plain",
        "dest_key": "to/plain",
        "size": 3,
        "outcome": "done",
        "reason": "missing",
        "source_etag": "a",
        "dest_etag": "b",
        "verified_by": "content_md5",
        "attempt": 1,
        "error_code": "",
        "error": "",
        "seconds": 0.123,
    }


async def test_failures_alone_are_kept_where_only_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    report = JsonlReport(path, ReportLevel.FAILED)
    await report.write([record("a")])
    assert not path.exists()
    await report.write([record("a"), record("b", Outcome.FAILED), record("c", Outcome.SKIPPED)])
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["b"]


async def test_batches_written_at_once_leave_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    reports = [JsonlReport(path, ReportLevel.ALL) for _ in range(4)]
    await asyncio.gather(
        *(
            report.write([record(f"{r}-{b}-{n}" * 20) for n in range(20)])
            for r, report in enumerate(reports)
            for b in range(5)
        )
    )
    lines = path.read_text().splitlines()
    assert len({json.loads(line)["key"] for line in lines}) == len(lines) == 400


async def test_a_report_that_cannot_be_written_names_its_file(tmp_path: Path) -> None:
    report = JsonlReport(tmp_path / "nowhere" / "report.jsonl", ReportLevel.ALL)
    with pytest.raises(SettingsError, match=r"nowhere.*--report"):
        report.check()
    with pytest.raises(ReportFailed, match="nowhere"):
        await report.write([record("a")])


async def test_no_report_keeps_nothing() -> None:
    await NullReport().write([record("a")])
