"""What others have named or said, on its way to a terminal, a log or a report."""

from __future__ import annotations

import io
import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dth.cli.output import streams
from dth.cli.output.console import PlainOutput
from dth.cli.output.json import JsonOutput
from dth.cli.run import _explain
from dth.ecr.answers import refusal
from dth.errors import DthError, NoSuchKey, QueueError, SettingsError
from dth.events import (
    Difference,
    Event,
    Explained,
    Notice,
    ObjectFailed,
    Planned,
    Probed,
    ProbeOver,
    RunAbandoned,
    RunStarted,
    SortProgress,
    WorkerStarted,
    WorkerStopped,
)
from dth.stores.answers import Question, error_of, read_refusal
from dth.text import printable, word
from dth.worker.outcomes import error_text

HOSTILE = "k\x1b]0;PWN\x07\x1b[2J\nforged: all copied\r\x9b31m\x7f\u202e\u2028\u2066\u200b\x00\udc80"
"""A title, a cleared screen, lines of its own, C1 controls, DEL, turned writing, an invisible character, no UTF-8."""


def assert_harmless(shown: str, lines: int = 1) -> None:
    """No control character but the feeds of so many lines, and none of the hostile text begins a line."""
    assert shown.endswith("\n")
    assert all(line.isprintable() for line in shown[:-1].split("\n")), repr(shown)
    assert shown.count("\n") == lines, repr(shown)
    assert "\nforged" not in shown


@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_foreign_text_becomes_one_printable_line_and_stays_so(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    assert text != shown or text.isprintable()


def test_line_feeds_stay_only_where_they_are_asked_for() -> None:
    assert printable("a\nb\x1b", lines=True) == "a\nb\\x1b"
    assert printable("a\nb") == "a\\nb"


def test_a_line_without_end_is_cut() -> None:
    assert len(printable("x" * 100_000)) < 17_000
    assert len(printable("\u202e" * 100_000)) < 100_000


@pytest.mark.parametrize("text", ["AccessDenied\x1b[2J", "\u009b\u202e", "a b", "x" * 500, "\nforged"])
def test_a_code_is_a_word(text: str) -> None:
    assert len(word(text)) <= 64
    assert word(text).isascii()
    assert word(text).isprintable()
    assert " " not in word(text)


def test_every_error_spells_out_what_its_message_holds() -> None:
    for kind in (DthError, QueueError, NoSuchKey):
        assert str(kind(f"of {HOSTILE}")).isprintable(), kind
    assert str(SettingsError("one\ntwo\x1b")) == "one\ntwo\\x1b"
    assert error_text(ValueError(HOSTILE)).isprintable()


EVENTS: list[tuple[Event, int]] = [
    (Notice("warning", "x", f"of {HOSTILE}"), 1),
    (Notice("info", "x", HOSTILE), 1),
    (ObjectFailed(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1, final=True), 1),
    (ObjectFailed(HOSTILE, HOSTILE, HOSTILE, HOSTILE, 1, final=False), 1),
    (RunAbandoned(HOSTILE, HOSTILE), 1),
    (RunStarted(HOSTILE, HOSTILE, HOSTILE), 1),
    (SortProgress(HOSTILE, 1, 1), 1),
    (WorkerStarted(HOSTILE, 1), 1),
    (WorkerStopped(HOSTILE, 1, 1), 1),
    (Planned("copy", HOSTILE, HOSTILE + "2", 1, "missing"), 1),
    (Explained(HOSTILE, HOSTILE, "keep", f"not selected: {HOSTILE}"), 1),
    (Difference("size", HOSTILE, HOSTILE + "2", HOSTILE), 1),
    (Probed("x", "yes", HOSTILE, assumed=None), 1),
    (ProbeOver("generic", HOSTILE, [HOSTILE], 0), 2),
]


@pytest.mark.parametrize(("event", "lines"), EVENTS, ids=lambda v: type(v).__name__)
def test_no_event_shows_more_lines_than_its_own_nor_anything_that_a_terminal_obeys(
    event: Event, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with PlainOutput(verbose=True) as output:
        output.event(event)
    assert_harmless("".join(capsys.readouterr()), lines)


@pytest.mark.parametrize(("event", "_lines"), EVENTS, ids=lambda v: type(v).__name__)
def test_json_lines_are_ascii_and_one_an_event(event: Event, _lines: int) -> None:
    out = io.StringIO()
    with JsonOutput(out) as output:
        output.event(event)
    assert out.getvalue().isascii()
    assert out.getvalue().count("\n") == 1
    json.loads(out.getvalue())


@pytest.mark.parametrize("error", [QueueError(HOSTILE), ValueError(HOSTILE), OSError(5, HOSTILE)])
@pytest.mark.parametrize("verbose", [False, True])
def test_an_error_that_ends_the_command_forges_no_line(
    error: Exception, verbose: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with PlainOutput(verbose=verbose) as output:
        try:
            raise error
        except Exception as caught:  # noqa: BLE001 - so that it has a traceback
            _explain(output, caught, verbose=verbose)
    shown = capsys.readouterr().err
    assert "k\\x1b" in shown
    assert all(line.isprintable() for line in shown.split("\n"))
    assert all(line.startswith(("dth: error: ", "| ")) for line in shown.splitlines())


def test_what_python_says_itself_of_an_error_that_nobody_caught_is_printable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    streams.hush()
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
        assert logging.lastResort
        said = logging.lastResort.format(
            logging.LogRecord("x", 40, "", 0, "of %s", (HOSTILE,), (ValueError, error, None))
        )
    for shown in (capsys.readouterr().err, said):
        assert "k\\x1b" in shown
        assert all(line.isprintable() for line in shown.split("\n"))
        assert "\nforged" not in shown
    logging.lastResort.setFormatter(None)


def test_a_stores_code_message_and_request_id_are_harmless() -> None:
    body = "<Error><Code>Odd\u009b\u202eCode\n</Code><Message>no\u202e\u2028way</Message><RequestId>a\u009b</RequestId></Error>"
    refused = read_refusal(400, {}, body.encode())
    error = error_of(Question("source", "GetObject", f"s3://b/{HOSTILE}"), refused)
    assert str(error).isprintable()
    assert error.store_code == "Odd__Code"
    assert error.request_id.isprintable()


def test_a_registrys_code_and_message_are_harmless() -> None:
    body = json.dumps({"errors": [{"code": "DEN\x1bIED\n", "message": f"no {HOSTILE}"}]}).encode()
    error = refusal(operation="GetManifest", what=HOSTILE, push=False, status=400, headers={}, body=body)
    assert str(error).isprintable()
    assert error.store_code == "DEN_IED_"
