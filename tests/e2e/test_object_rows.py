"""A row for each object, as a person would query it after a sync."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.servers.s3server import S3Server

from .harness import between


def rows(folder: Path) -> dict[str, tuple[Any, ...]]:
    (file,) = folder.rglob("objects.db")
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("SELECT key, outcome, reason, size, verified_by, error_code FROM objects").fetchall()
    return {row[0]: row[1:] for row in found}


def test_a_sync_leaves_a_row_for_each_object_that_it_had_to_do_with(rgw: S3Server, tmp_path: Path) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    client = rgw.client("a")
    for number in range(20):
        client.put_object(Bucket=source, Key=f"a b/{number}", Body=b"x" * number)
    client.put_object(Bucket=source, Key="long/" + "x" * 1015, Body=b"x")  # 1,028 bytes at the destination
    dth = between(tmp_path, rgw, rgw, "--ledger-records", "object")
    dth("sync", f"s3://{source}", f"s3://{destination}/copy", expect=3)
    found = rows(tmp_path)
    good = {f"a b/{n}": ("done", "missing", n, "content_md5", "") for n in range(20)}
    assert {key: row for key, row in found.items() if key in good} == good
    assert found["long/" + "x" * 1015] == ("failed", "missing", 1, None, "key_refused")
    client.put_object(Bucket=source, Key="a b/7", Body=b"longer by far")
    dth("sync", f"s3://{source}", f"s3://{destination}/copy", expect=3)
    assert rows(tmp_path) == found | {"a b/7": ("done", "size", 13, "content_md5", "")}
