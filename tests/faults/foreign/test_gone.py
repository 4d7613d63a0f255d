"""Kind 5, a key that was listed a moment ago and is not there is taken for one that was deleted meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.foreign.stand import DEST, SOURCE, stand
from tests.servers.wire import Answer, Request, error

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "claims", [True, False], ids=["its word that keys are encoded is false", "it encodes and does not say so"]
)
def test_keys_that_a_listing_shows_under_another_name_are_failures(tmp_path: Path, *, claims: bool) -> None:
    def misnames(operation: str, request: Request) -> Answer | None:
        if operation != "list":
            return None
        s.source.quirks.ignores_encoding_type = claims
        answer = s.source._list(request, b"")
        assert isinstance(answer.body, bytes)
        if claims:
            answer.body = answer.body.replace(b"<IsTruncated>", b"<EncodingType>url</EncodingType><IsTruncated>")
        else:
            answer.body = answer.body.replace(b"<EncodingType>url</EncodingType>", b"")
        return answer

    with stand(tmp_path) as s:
        s.fill(3)
        s.source.hold(SOURCE, "docs/a+b%41", b"x")
        s.source.before = misnames
        done = s.sync(expect=3)
        assert {event["error_code"] for event in done.events if event["event"] == "ObjectFailed"} == {
            "listed_but_absent"
        }
        assert len(s.arrived) == 3


def test_objects_deleted_since_the_listing_are_counted_apart_and_are_no_failure(tmp_path: Path) -> None:
    with stand(tmp_path) as s:
        s.fill(3)

        def deletes(operation: str, request: Request) -> Answer | None:
            if operation == "get" and request.key == "k001":
                s.source.objects.pop((SOURCE, "k001"), None)
            return None

        s.source.before = deletes
        summary = s.sync().summary
    assert (summary["done"], summary["skipped"], summary["gone"]) == (2, 1, 1)


def test_an_extra_that_is_listed_and_cannot_be_found_is_a_failure(tmp_path: Path) -> None:
    with stand(tmp_path) as s:
        s.fill(3)
        s.sync()
        s.destination.hold(DEST, "extra", b"x")
        s.destination.before = lambda operation, request: (
            error(404, "NoSuchKey") if operation in {"head", "get"} and request.key == "extra" else None
        )
        assert s.sync("--delete", expect=3).failed_keys == {"extra"}
