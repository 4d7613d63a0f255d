"""Prefixes and keys from lists, on a real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.s3server import S3Server

from .corpus import inventory
from .harness import between

pytestmark = [pytest.mark.slow, pytest.mark.seaweed]


def test_lists_from_disk_and_from_a_bucket_move_what_they_name_and_a_dry_run_says_so(
    seaweed: S3Server, tmp_path: Path
) -> None:
    client = seaweed.client("a")
    source, lists = seaweed.make_bucket("a"), seaweed.make_bucket("a")
    for key in ("x/1", "x/2", "x/y/3", "z+ ü", "alone", "other"):
        client.put_object(Bucket=source, Key=key, Body=b"x")
    content = "\ufeffx/y/\r\n\r\nx/1\r\nz+ ü\r\nx/1\r\nmissing\r\n".encode()
    (tmp_path / "keys").write_bytes(content)
    client.put_object(Bucket=lists, Key="keys", Body=content)
    client.put_object(Bucket=source, Key="prefixes", Body=b"x/y\nx/\nal\n")
    dth = between(tmp_path, seaweed, seaweed)
    cases = {
        f"--from-file={tmp_path / 'keys'}": {"x/1", "x/y/3", "z+ ü"},
        f"--from-file=s3://{lists}/keys": {"x/1", "x/y/3", "z+ ü"},
        "--src-prefix-list=prefixes": {"x/1", "x/2", "x/y/3", "alone"},
    }
    for option, expected in cases.items():
        env = {**dth.env, "AWS_PROFILE": "src-a"}  # ambient credentials open the bucket of lists
        run = type(dth)(env, dth.flags)
        destination = seaweed.make_bucket("a")
        urls = f"s3://{source}", f"s3://{destination}"
        dry = run("sync", *urls, option, "--dry-run")
        assert {event["key"] for event in dry.events if event["event"] == "Planned"} == expected
        assert run("sync", *urls, option).summary["done"] == len(expected)
        assert set(inventory(client, destination)) == expected
        assert run("sync", *urls, option).summary["found"] == 0
    broken = dth("sync", *urls, f"--from-file={tmp_path / 'none'}", expect=2)
    assert "cannot read the list" in broken.stdout
