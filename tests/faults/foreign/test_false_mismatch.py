"""Kind 3, form is taken for proof, over whole runs: stores whose ETags look like MD5s and are none."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.foreign.stand import DEST, SOURCE, Stand, stand
from tests.servers.wire import Answer, Request, error

pytestmark = pytest.mark.slow


def invents_etags(s: Stand) -> None:
    for place, item in s.source.objects.items():
        s.source.objects[place] = replace(item, etag=hashlib.md5(repr(place).encode()).hexdigest())


@pytest.mark.parametrize("who", ["destination", "source"])
def test_right_copies_are_made_once_and_called_right(tmp_path: Path, who: str) -> None:
    with stand(tmp_path) as s:
        s.fill(5)
        s.source.hold(SOURCE, "large", b"x" * 1_200_000)
        if who == "source":
            invents_etags(s)
        else:
            s.destination.quirks.random_etags = True
        s.sync()
        taken = s.destination.count("put")
        assert who == "source" or taken == 6, "no object is written twice for its answer's sake"
        again = s.sync().summary
        assert (again["done"], again["failed"]) == (0, 0)
        assert s.destination.count("put") == taken, "nothing is sent again"
        assert s.arrived == s.there
        assert again["undecided"] == 6
        assert s.run("verify").summary["differences"] == 0


def test_a_store_that_ignores_the_md5_and_keeps_damaged_bytes_is_found_out(tmp_path: Path) -> None:
    def before(operation: str, request: Request) -> Answer | None:
        if operation != "put":
            return None
        body = b"damaged" + request.body()[7:]
        s.destination.hold(DEST, request.key, body)
        return Answer(headers={"ETag": f'"{hashlib.md5(b"other").hexdigest()}"'})

    with stand(tmp_path) as s:
        s.fill(2)
        s.destination.before = before
        s.sync(expect=3)


def test_what_the_destination_says_is_absent_is_never_the_source_s_object(tmp_path: Path) -> None:
    """With `--verify full` the copy is read back: a 404 there is no reason to call the source's object gone."""
    with stand(tmp_path) as s:
        s.fill(4)
        s.destination.quirks.random_etags = True
        s.destination.before = lambda operation, request: (
            error(404, "NoSuchKey") if operation == "get" and request.key == "k001" else None
        )
        done = s.sync("--verify", "full", expect=3)
    assert done.failed_keys == {"k001"}
    assert done.summary["skipped"] == 0
