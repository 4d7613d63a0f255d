"""Memory while comparing does not follow the number of objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.harness import Dth
from tests.e2e.test_large import Watched, between_endpoints
from tests.servers.lister import Flat, Lister

pytestmark = pytest.mark.slow


def peak(folder: Path, objects: int, *, same: bool) -> int:
    """The largest resident size of a dry run over `objects` on each side (or on the source's side alone)."""
    with Lister(Flat(objects)) as source, Lister(Flat(objects if same else 0)) as destination:
        base = between_endpoints(folder, source.endpoint)
        flags = list(base.flags)
        flags[flags.index("--dest-endpoint") + 1] = destination.endpoint
        dth = Dth({**base.env, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}, flags)
        watched = Watched(dth, "sync", "s3://bucket", "s3://other", "--dry-run")
        assert watched.wait() == 0
        return max(watched.peaks.values())


@pytest.mark.parametrize("same", [True, False], ids=["equal sides", "all missing"])
def test_ten_times_the_objects_take_no_more_memory(tmp_path: Path, *, same: bool) -> None:
    small, large = peak(tmp_path, 10_000, same=same), peak(tmp_path, 100_000, same=same)
    assert large < small * 1.2, (small, large)
