"""Logs as JSON: whole lines, safe whatever a key holds, one for each transfer."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dth import logs
from dth.cli.output.base import choose
from dth.events import BytesMoved, Moved, Notice, ObjectFailed, RunStarted, WorkerStopped
from dth.logs import TransferLog, log_line
from dth.model import ObjectRecord
from dth.report import NullReport
from dth.states import Outcome, Reason, VerifiedBy
from dth.summary import Summary

PAGE = Path(__file__).parents[2] / "docs" / "logs.md"


def record(key: str, outcome: Outcome = Outcome.DONE, error: str = "") -> ObjectRecord:
    code = "access_denied" if error else ""
    return ObjectRecord(
        "run",
        key,
        "copy/" + key,
        7,
        outcome,
        Reason.MISSING,
        "e",
        "e",
        VerifiedBy.CONTENT_MD5,
        2,
        code,
        error,
        seconds=0.12345,
    )


async def logged(*records: ObjectRecord) -> list[str]:
    lines: list[str] = []

    def write(some: Sequence[str]) -> None:
        lines.extend(some)

    await TransferLog(NullReport(), job_id="job", process="host/1", write=write, clock=lambda: 1.5).write(records)
    return lines


async def test_a_transfer_is_one_line_with_what_the_page_shows() -> None:
    shown = json.loads(re.findall(r"```json\n(.*?)\n```", PAGE.read_text(), re.DOTALL)[0])
    (line,) = await logged(record("a/b"))
    told = json.loads(line)
    assert list(told) == list(shown)
    assert {name: type(value) for name, value in told.items()} == {name: type(value) for name, value in shown.items()}
    assert told == {
        "time": "1970-01-01T00:00:01.500Z", "level": "info", "event": "transfer", "run_id": "run", "key": "a/b", "bytes": 7,
        "reason": "missing", "verified_by": "content_md5", "seconds": 0.123, "outcome": "done", "code": "", "error": "",
        "attempts": 2, "job_id": "job", "process": "host/1",
    }  # fmt: skip


async def test_a_failure_says_why_and_is_an_error() -> None:
    (line,) = await logged(record("k", Outcome.FAILED, "no right to write"))
    told = json.loads(line)
    assert (told["level"], told["code"], told["error"]) == ("error", "access_denied", "no right to write")


@given(key=st.text(max_size=1200), error=st.text(max_size=5000))
def test_whatever_a_key_or_an_error_holds_the_line_is_whole_and_obeyed_by_nobody(key: str, error: str) -> None:
    line = log_line("transfer", "info", {"key": key, "error": error, "run_id": "r" * 16}, now=0.0)
    assert line.isascii()
    assert len(line) <= 4096
    assert line.endswith("}\n")
    assert line[:-1].isprintable()
    told = json.loads(line)
    assert told["key"].isprintable()  # what is read out of the line again is harmless, too
    if key.isprintable() and len(key) <= 200:
        assert told["key"] == key


@pytest.mark.parametrize("key", ["\x1b[2J", "a\nb", "\u202egpj.exe", "\ud800", "x" * 900 + "\x01" * 124, "\x01" * 1024])
async def test_a_hostile_key_is_spelt_out(key: str) -> None:
    (line,) = await logged(record(key, Outcome.FAILED, key * 4))
    assert len(line) <= 4096
    assert "\x1b" not in line
    assert line.count("\n") == 1
    assert json.loads(line)["key"].isprintable()


@pytest.mark.parametrize("as_json", [False, True])
def test_what_people_would_read_on_standard_error_is_json_and_progress_is_left_out(
    capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    with choose(as_json=as_json, verbose=False, log="json") as output:
        for event in (
            RunStarted("run", "s3://a", "s3://b"),
            Notice("warning", "plain_http", "the \x1b[31mendpoint"),
            Moved("run", 3, 0, 0, 10),
            BytesMoved("run", 10),
            ObjectFailed("run", "k\n", "reset", "cut", 1, final=False),
            WorkerStopped("host/1", 5, -9),
        ):
            output.event(event)
        output.tick()
        output.summary(Summary(runs=(), compared=0, seconds=1.0, exit_code=3))
        output.error("queue", "a\nb", 1)
        output.trace("Traceback: x\n")
    out, err = capsys.readouterr()
    told = [json.loads(line) for line in err.splitlines()]
    assert [(one["event"], one["level"]) for one in told] == [
        ("run_started", "info"), ("notice", "warning"), ("attempt_failed", "warning"), ("worker_stopped", "error"),
        ("summary", "error"), ("error", "error"), ("traceback", "error"),
    ]  # fmt: skip
    assert "\x1b" not in err
    if as_json:
        assert {json.loads(line)["event"] for line in out.splitlines()} >= {"Moved", "Summary", "error"}
    else:
        assert len(out.splitlines()) >= 1
        assert "{" not in out


def test_a_log_whose_reader_went_away_fails_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(logs, "STDERR", writing)
    logs.write_lines(["{}\n"])
    os.close(writing)


def test_lines_reach_a_pipe_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setattr(logs, "STDERR", writing)
    written: list[int] = []
    write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        written.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counted)
    lines = [log_line("transfer", "info", {"key": "k" * size}, now=0.0) for size in range(0, 1000, 50)]
    logs.write_lines(lines)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read().decode() == "".join(lines)
    assert max(written) <= 4096
    assert 1 < len(written) < len(lines)
