"""What people see who typed something else than was wanted, and what `dth init` takes from the environment."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner, Result

from dth.cli.init import _names
from dth.cli.main import app as command
from dth.cli.output.console import PlainOutput
from dth.errors import SettingsError
from dth.events import Requests, RunOver, RunSealed
from dth.summary import Tally

ARN = "arn:aws:sqs:eu-west-1:123456789012:photos"
URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/photos"


def dth(*words: str) -> Result:
    return CliRunner().invoke(command, list(words))


@pytest.mark.parametrize("name", ["sync", "verify"])
@pytest.mark.parametrize(
    "words",
    [
        [],
        ["s3://photos"],
        ["photos", "s3://backup"],
        ["s3://photos", "backup"],
        ["./folder", "s3://backup"],
        ["s3://photos", "/srv/folder"],
        ["s3://photos", "https://backup"],
        ["s3://a", "s3://backup"],
    ],
    ids=" ".join,
)
def test_an_error_about_the_two_places_ends_with_a_usage_line_that_names_the_command(
    name: str, words: list[str]
) -> None:
    done = dth(name, *words)
    assert done.exit_code == 2
    assert f"Usage: dth {name} SOURCE DEST [OPTIONS]" in done.stderr.splitlines()
    assert done.stdout == ""


def test_the_usage_line_of_probe_names_its_one_place() -> None:
    assert "Usage: dth probe s3://BUCKET/PREFIX" in dth("probe", "photos").stderr.splitlines()


@pytest.mark.parametrize("words", [["./folder", "s3://backup/p"], ["s3://backup/p", "../folder"], ["/srv/a", "s3://b"]])
def test_a_command_with_a_folder_says_that_files_come_later_and_what_copies_them_now(words: list[str]) -> None:
    done = dth("sync", *words)
    assert done.exit_code == 2
    said = " ".join(done.stderr.split())
    assert "local files come in a later version" in said
    assert "aws s3 sync" in said
    assert "rclone sync" in said
    assert "Traceback" not in said


# dth init


@pytest.mark.parametrize(
    ("name", "variables", "expected"),
    [
        ("", {}, ("dth", "dth")),
        ("photos", {}, ("photos", "photos")),
        ("", {"DTH_QUEUE": "q"}, ("q", "q")),
        ("", {"DTH_TABLE": "t"}, ("t", "t")),
        ("", {"DTH_QUEUE": "q", "DTH_TABLE": "t"}, ("q", "t")),
        ("", {"DTH_QUEUE": ARN, "DTH_TABLE": "t"}, (ARN, "t")),
        ("", {"DTH_QUEUE": ARN}, (ARN, "photos")),
        ("", {"DTH_QUEUE": URL}, (URL, "photos")),
        ("mine", {"DTH_QUEUE": URL, "DTH_TABLE": "t"}, ("mine", "mine")),
    ],
)
def test_init_makes_what_it_is_told_and_else_what_the_environment_names(
    name: str, variables: dict[str, str], expected: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert _names(name) == expected


@pytest.mark.parametrize("variable", ["DTH_QUEUE", "DTH_TABLE"])
def test_init_names_the_variable_whose_value_is_none(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "no name/at all?")
    with pytest.raises(SettingsError, match=variable):
        _names("")


# Retries


def test_a_summary_says_how_often_each_side_was_asked_again_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    """Without that, more requests than objects look like a fault."""
    tally = Tally()
    tally(RunSealed("r", 10, 100, 0, {"missing": 10}))
    for process, throttled in (("p/1", 3), ("p/2", 4)):
        retries = {"source": {"reset": 1}, "destination": {"throttled": throttled, "timed_out": 1}}
        tally(Requests(process, {"GetObject": 6}, {"PutObject": 10}, retries=retries))
    tally(RunOver("r", "sealed", 10, 10, 0, 0, 100))
    with PlainOutput(verbose=False) as output:
        output.summary(tally.summary())
    shown = "".join(capsys.readouterr()).splitlines()
    assert [line.strip() for line in shown if "again" in line] == [
        "asked the source again: connection cut in the middle 2",
        "asked the destination again: asked to slow down 7, no answer in time 2",
    ]
