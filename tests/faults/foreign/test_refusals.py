"""Kind 4, one object's refusal is taken for the whole store's: a refusal that keeps to few keys fails these by name, and one that
is everyone's still ends the run quickly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.foreign.stand import DEST, SOURCE, stand
from tests.servers.wire import Answer, Request, error

pytestmark = pytest.mark.slow

REFUSALS = {
    "SignatureDoesNotMatch": lambda: error(403, "SignatureDoesNotMatch"),
    "AccessDenied": lambda: error(403, "AccessDenied"),
    "a bad request": lambda: error(400, "InvalidArgument"),
    "not implemented": lambda: error(501, "NotImplemented"),
    "not allowed": lambda: error(405, "MethodNotAllowed"),
    "NoSuchKey": lambda: error(404, "NoSuchKey"),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_an_object_that_the_destination_refuses_fails_by_name_and_all_others_arrive(
    tmp_path: Path, refusal: type[Answer]
) -> None:
    def before(operation: str, request: Request) -> Answer | None:
        return refusal() if operation == "put" and request.key == "k007" else None

    with stand(tmp_path) as s:
        s.fill()
        s.destination.before = before
        done = s.sync(expect=3)
        assert done.failed_keys == {"k007"}
        assert len(s.arrived) == 39
        s.source.hold(SOURCE, "later", b"x")
        assert s.sync(expect=3).failed_keys == {"k007"}
        assert "later" in s.arrived, "what comes later is not held up by it"


@pytest.mark.parametrize("code", ["AccessDenied", "SignatureDoesNotMatch", "InvalidArgument"])
def test_a_destination_that_refuses_everything_ends_the_run_with_4(tmp_path: Path, code: str) -> None:
    with stand(tmp_path) as s:
        s.fill()
        s.destination.before = lambda operation, _: (
            error(400 if code[0] == "I" else 403, code) if operation == "put" else None
        )
        s.sync(expect=4)
        assert s.destination.count("put") < 100


def test_one_object_that_the_source_refuses_to_give_fails_by_name(tmp_path: Path) -> None:
    with stand(tmp_path) as s:
        s.fill()
        s.source.before = lambda operation, request: (
            error(403, "SignatureDoesNotMatch") if operation == "get" and request.key == "k001" else None
        )
        assert s.sync(expect=3).failed_keys == {"k001"}
        assert len(s.arrived) == 39


def test_one_delete_that_is_refused_fails_by_name(tmp_path: Path) -> None:
    with stand(tmp_path) as s:
        s.fill(20)
        s.sync()
        for key in ("k003", "k004", "k005"):
            s.source.objects.pop((SOURCE, key))
        s.destination.before = lambda operation, request: (
            error(403, "AccessDenied") if operation == "delete" and request.key == "k004" else None
        )
        assert s.sync("--delete", expect=3).failed_keys == {"k004"}
        assert "k003" not in s.arrived
        assert "k005" not in s.arrived


def test_metadata_that_is_not_ascii_travels_as_encoded_words_and_verifies_as_the_same(tmp_path: Path) -> None:
    def before(operation: str, request: Request) -> Answer | None:
        odd = operation == "put" and any(not value.isascii() for value in request.headers.values())
        return error(403, "SignatureDoesNotMatch") if odd else None

    with stand(tmp_path) as s:
        s.fill(3)
        s.source.hold(
            SOURCE, "odd", b"x", x_amz_meta_title="Größe".encode().decode("latin-1"), x_amz_meta_plain="as it is"
        )
        s.destination.before = before
        s.sync()
        sent = s.destination.objects[DEST, "odd"].headers
        assert sent["x-amz-meta-title"] == "=?UTF-8?B?R3LDtsOfZQ==?="
        assert sent["x-amz-meta-plain"] == "as it is"
        s.run("verify", "--metadata")


@pytest.mark.parametrize("status", [403, 405, 501])
def test_a_source_that_refuses_head_and_answers_get_is_read(tmp_path: Path, status: int) -> None:
    """Kind 6, of objects: the cheap look fails, the real thing would not."""
    with stand(tmp_path) as s:
        s.fill(6)
        s.source.hold(SOURCE, "empty", b"")
        s.source.before = lambda operation, _: error(status, "MethodNotAllowed") if operation == "head" else None
        names = tmp_path / "names.txt"
        names.write_text("empty\nk001\nk002\nno such key\n")
        listed = s.sync("--from-file", str(names)).summary
        assert (listed["done"], listed["failed"]) == (3, 0)
        assert s.sync().summary["failed"] == 0
        assert s.arrived == s.there


def test_a_listed_object_that_may_not_be_read_fails_by_its_name_and_stops_no_other(tmp_path: Path) -> None:
    with stand(tmp_path) as s:
        s.fill(6)
        s.source.before = lambda operation, request: (
            error(403, "AccessDenied") if operation in {"head", "get"} and request.key == "k001" else None
        )
        names = tmp_path / "names.txt"
        names.write_text("k000\nk001\nk002\n")
        done = s.sync("--from-file", str(names), expect=3)
        assert done.failed_keys == {"k001"}
        assert set(s.arrived) == {"k000", "k002"}
