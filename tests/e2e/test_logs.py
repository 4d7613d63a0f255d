"""`--log json`, as a shipper of logs reads it: standard error is JSON alone, with one line for each transfer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.servers.quirky import Quirky
from tests.servers.s3server import S3Server

from .harness import Dth, between

pytestmark = [pytest.mark.slow]
PAGE = Path(__file__).parents[2] / "docs" / "logs.md"
KEYS = {"plain": 10, "dir/ümlaut": 0, "esc\x1b[2Jape": 3, "new\nline": 4, "quote\"'": 5}


def test_every_transfer_is_one_line_as_the_page_shows_it_and_nothing_else_is_said(tmp_path: Path) -> None:
    with Quirky() as reading, Quirky() as writing:
        for key, size in KEYS.items():
            reading.hold("from-here", key, b"x" * size)
        reading.hold("from-here", "large", b"y" * (18 << 20))  # in parts
        check(between(tmp_path, reading.server, writing.server, "--processes", "2"), reading.server)


def check(dth: Dth, server: S3Server) -> None:
    plain = Dth(dth.env, [flag for flag in dth.flags if flag != "--json"])
    (command,) = re.findall(r"^dth (.*)$", PAGE.read_text(), re.MULTILINE)
    words = command.replace("s3://photos", "s3://from-here").replace("s3://backup", "s3://to-there").split()
    done = plain(*words)
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stderr.splitlines()]
    shown = json.loads(re.findall(r"```json\n(.*?)\n```", PAGE.read_text(), re.DOTALL)[0])
    transfers = [one for one in lines if one["event"] == "transfer"]
    assert all(list(one) == list(shown) for one in transfers)
    sizes = {
        **{key.replace("\x1b", r"\x1b").replace("\n", r"\n"): size for key, size in KEYS.items()},
        "large": 18 << 20,
    }
    assert {one["key"]: one["bytes"] for one in transfers} == sizes
    assert {one["outcome"] for one in transfers} == {"done"}
    assert len(transfers) == len(sizes)
    assert all(one["verified_by"] and one["seconds"] > 0 and one["attempts"] == 1 for one in transfers)
    (summary,) = [one for one in lines if one["event"] == "summary"]
    assert (summary["done"], summary["bytes"], summary["complete"]) == (len(sizes), sum(sizes.values()), True)
    assert server.account("a").secret_key not in done.stderr
    assert "\x1b" not in done.stderr
    assert done.stdout.startswith("Complete: 6 objects copied")  # the summary for people is as ever


def test_a_failure_is_a_line_with_its_code(seaweed: S3Server, tmp_path: Path) -> None:
    source = seaweed.make_bucket("a")
    dth = between(tmp_path, seaweed, seaweed)
    done = dth("sync", f"s3://{source}", "s3://nobody-has-made-this-one", "--log", "json", expect=4)
    (line,) = [json.loads(line) for line in done.stderr.splitlines() if json.loads(line)["event"] == "error"]
    assert (line["code"], line["exit_code"], line["level"]) == ("no_such_bucket", 4, "error")
    assert done.events[-1]["event"] == "error"
