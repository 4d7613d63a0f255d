"""A limited sync. A lower bound of its duration is no race: a busy machine only makes it longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.s3server import S3Server

from .harness import between

MIB = 1 << 20


@pytest.mark.parametrize("processes", [1, 2])
def test_a_sync_reads_no_faster_than_it_was_told(rgw: S3Server, tmp_path: Path, processes: int) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    for number in range(6):
        rgw.client("a").put_object(Bucket=source, Key=f"{number}", Body=bytes(MIB))
    dth = between(tmp_path, rgw, rgw, "--processes", str(processes), "--pack-objects", "1")
    limited = dth("sync", f"s3://{source}", f"s3://{destination}", "--bandwidth", "2MiB")
    assert limited.summary["done"] == 6
    assert limited.summary["seconds"] > 6 / 2 - 2 * 0.25
