"""Kinds 3 and 6: what a listing tells is not what the object's own answer tells, or a store refuses the ETag that it told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults.foreign.stand import Stand, stand
from tests.servers.wire import Answer, Request, error

pytestmark = pytest.mark.slow

UNTRUE = {
    "sizes": (rb"<Size>(\d+)", lambda found: b"<Size>%d" % (int(found[1]) + 16)),
    "ETags": (rb"<ETag>&quot;....", lambda found: b"<ETag>&quot;0123"),
    "ETags that are no MD5s": (rb"<ETag>&quot;[0-9a-f]*", lambda found: b"<ETag>&quot;listed"),
}


def lists_untruly(s: Stand, what: str) -> None:
    pattern, instead = UNTRUE[what]

    def before(operation: str, request: Request) -> Answer | None:
        if operation != "list":
            return None
        answer = s.source._list(request, b"")
        assert isinstance(answer.body, bytes)
        answer.body = re.sub(pattern, instead, answer.body)
        return answer

    s.source.before = before


@pytest.mark.parametrize("what", UNTRUE)
def test_objects_are_sent_once_where_the_listing_is_not_true_and_that_is_said(tmp_path: Path, what: str) -> None:
    with stand(tmp_path) as s:
        s.fill(5)
        lists_untruly(s, what)
        for item in s.source.objects.values():
            assert item.modified == 1714564800.0  # as listed
        first = s.sync().summary
        assert first["untrue"] == 5
        again = s.sync().summary
        assert (again["done"], again["failed"]) == (0, 0)
        assert s.destination.count("put") == 5
        assert s.arrived == s.there


@pytest.mark.parametrize("refused", [("get",), ("get", "head")], ids=["GET alone", "GET and HEAD"])
def test_a_store_that_refuses_the_etag_that_it_tells_is_read_without_and_checked_by_its_answer(
    tmp_path: Path, refused: tuple[str, ...]
) -> None:
    with stand(tmp_path) as s:
        s.fill(8)
        s.source.before = lambda operation, request: (
            error(412, "PreconditionFailed") if operation in refused and "if-match" in request.headers else None
        )
        s.sync()
        assert s.arrived == s.there
