"""What a person sees on terminals of 80, 100 and 140 columns: nothing is cut, and what matters is always there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.servers.s3server import S3Server
from tests.servers.terminal import in_terminal

from .corpus import Made, fill
from .harness import Dth, between

WIDTHS = [80, 100, 140]


@pytest.mark.parametrize("columns", WIDTHS)
def test_progress_shows_counts_bytes_rates_failures_and_time_left(
    columns: int, seaweed: S3Server, tmp_path: Path
) -> None:
    source, destination = seaweed.make_bucket("a"), seaweed.make_bucket("a")
    count = fill(seaweed.client("a"), source, [Made(f"{n:04}", 65_536, n) for n in range(300)])
    dth = between(tmp_path, seaweed, seaweed, "--bandwidth", "8MiB", "--no-server-side-copy", "--processes", "1")
    flags = [flag for flag in dth.flags if flag != "--json"]
    argv = Dth(dth.env, flags).argv("sync", f"s3://{source}", f"s3://{destination}")
    shown = in_terminal(argv, dth.env, columns)
    assert shown.code == 0, shown.lines
    assert any(line.startswith(f"Complete: {count} objects copied") for line in shown.lines), shown.lines
    progress = [line for line in shown.lines if " failed" in line]
    assert len(progress) > 1, shown.lines
    for line in progress:
        assert len(line) <= columns
        assert "…" not in line
        objects, size, rates, *_, failed, left = line.split(" | ")
        assert re.search(r"\d+(?: of |/)\d", objects), line
        assert re.search(r"B(?: of |/)\d.*B", size), line
        assert rates.count("/s") == 2, line
        assert failed == "0 failed"
        assert left.endswith(" left")
    assert any(" of 300 objects" in line or "/300 " in line or " of 300 " in line for line in progress), progress


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_comparison_shows_what_was_compared_and_what_differs(columns: int, seaweed: S3Server, tmp_path: Path) -> None:
    bucket = seaweed.make_bucket("a")
    fill(seaweed.client("a"), bucket, [Made(f"{side}/{n:04}", 65_536, n) for side in "ab" for n in range(150)])
    dth = between(tmp_path, seaweed, seaweed, "--bandwidth", "5MiB")
    flags = [flag for flag in dth.flags if flag != "--json"]
    argv = Dth(dth.env, flags).argv("verify", f"s3://{bucket}/a", f"s3://{bucket}/b", "--download")
    shown = in_terminal(argv, dth.env, columns)
    assert shown.code == 0, shown.lines
    progress = [line for line in shown.lines if " differ" in line and "compared, " in line and "/s" in line]
    assert progress, shown.lines
    assert all(len(line) <= columns and "…" not in line for line in progress), progress
