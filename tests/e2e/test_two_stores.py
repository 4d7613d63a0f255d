"""Between two different stores, both ways: what the destination can hold arrives, the rest is named, nothing is folded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.s3server import S3Server

from .corpus import corpus, fill, inventory, open_uploads, sizes
from .harness import between, scaled

pytestmark = pytest.mark.slow


def seaweed_cannot_hold(key: str, size: int, keys: set[str]) -> bool:
    """What SeaweedFS 4.48 was seen to refuse, fold, or lose without a word."""
    segments = key.split("/")
    return (
        "" in segments[:-1]
        or not {".", ".."}.isdisjoint(segments)
        or any(len(segment.encode()) > 255 for segment in segments)
        or "\\" in key
        or (key.endswith("/") and (size > 0 or key[:-1] in keys))
    )


def test_ceph_to_seaweedfs_moves_all_that_fits_and_names_the_rest(
    rgw: S3Server, seaweed: S3Server, tmp_path: Path
) -> None:
    source, destination = rgw.make_bucket("a"), seaweed.make_bucket("b")
    fill(rgw.client("a"), source, corpus(scaled(20_000)))
    dth = between(tmp_path, rgw, seaweed)
    first = dth("sync", f"s3://{source}", f"s3://{destination}", expect=3)
    wanted = inventory(rgw.client("a"), source)
    impossible = {key for key, held in wanted.items() if seaweed_cannot_hold(key, held.size, set(wanted))}
    assert impossible
    assert first.failed_keys == impossible
    assert first.summary["done"] == len(wanted) - len(impossible)
    expected = {key: held for key, held in wanted.items() if key not in impossible}
    assert inventory(seaweed.client("b"), destination) == expected
    assert open_uploads(seaweed.client("b"), destination) == []
    second = dth("sync", f"s3://{source}", f"s3://{destination}", expect=3)
    assert second.summary["done"] == 0
    assert second.failed_keys == impossible


def test_seaweedfs_to_ceph_moves_everything(rgw: S3Server, seaweed: S3Server, tmp_path: Path) -> None:
    source, destination = seaweed.make_bucket("a"), rgw.make_bucket("b")
    made = list(corpus(scaled(20_000)))
    names = {item.key for item in made}
    count = fill(
        seaweed.client("a"), source, [item for item in made if not seaweed_cannot_hold(item.key, item.size, names)]
    )
    assert len(sizes(seaweed.client("a"), source)) == count, "the source lost what it said that it had stored"
    dth = between(tmp_path, seaweed, rgw)
    first = dth("sync", f"s3://{source}", f"s3://{destination}")
    assert first.summary["found"] == first.summary["done"] == count
    assert inventory(rgw.client("b"), destination) == inventory(seaweed.client("a"), source)
    second = dth("sync", f"s3://{source}", f"s3://{destination}")
    assert second.summary["found"] == second.summary["done"] == 0
