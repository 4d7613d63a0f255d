"""Kind 10, one wait for an answer that takes minutes: what a store is completing is waited for, and never aborted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from dth.errors import AnswerInvalid, ConnectionLost, DthError, NoSuchUpload, ServerFault, TimedOut
from dth.multipart import complete
from dth.multipart.complete import sweep_uploads
from dth.stores.base import UploadedPart
from dth.transfer.copy import abandon_upload
from tests.faults.test_copy_large import DATA, copy, make, no_waiting
from tests.servers.copying import Make
from tests.unit.store_fakes import FakeAnswer, fake_store

__all__ = ["make", "no_waiting"]  # fixtures

SILENCES = {
    "it does not answer": TimedOut("no answer"),
    "the connection is cut": ConnectionLost("cut"),
    "a gateway gives up": ServerFault("504", status=504),
    "a 200 and nothing": AnswerInvalid("no result", status=200),
}


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(complete, "FIRST_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(complete, "LAST_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(complete, "COMES_ABOUT_SECONDS", 0.3)


@pytest.mark.parametrize("silence", SILENCES.values(), ids=SILENCES)
@pytest.mark.parametrize("then", ["silence", "no such upload"])
async def test_an_upload_that_the_store_finishes_behind_its_silence_is_awaited(
    make: Make, silence: DthError, then: str
) -> None:
    """Meanwhile the store says nothing, or that it knows no such upload."""
    here = make()
    looks = 0

    def comes_about(operation: str, _key: str) -> None:
        nonlocal looks
        if operation == "CompleteMultipartUpload":
            asked.append(operation)
            raise silence if len(asked) == 1 or then == "silence" else NoSuchUpload("unknown", status=404)
        if operation == "HeadObject" and asked:
            looks += 1
            if looks == 8:
                here.destination.seed("key", DATA, parts=64 << 10)
                here.destination.uploads.clear()

    asked: list[str] = []
    here.destination.faults.append(comes_about)
    await copy(here)
    assert here.destination.calls["AbortMultipartUpload"] == 0
    assert here.destination.calls["CreateMultipartUpload"] == 1
    assert here.destination.objects["key"].data == DATA


async def test_an_upload_that_may_be_completing_is_aborted_neither_by_who_gives_up_nor_by_a_sweep(make: Make) -> None:
    here = make()
    here.destination.fail("CompleteMultipartUpload", TimedOut("no answer"), times=100)
    with pytest.raises(TimedOut):
        await copy(here)
    await abandon_upload("key", here.context())
    now = 0.0
    async for row in here.ledger.uploads("job"):
        now = max(now, row.owned_until, row.created_at) + 1
    assert now, "the row stays, for whoever comes later"
    await sweep_uploads(here.job(), here.ledger, now=now, emit=here.events.append)
    assert here.destination.calls["AbortMultipartUpload"] == 0
    await sweep_uploads(here.job(), here.ledger, now=now + 2 * complete.LEFT_ALONE_SECONDS, emit=here.events.append)
    assert here.destination.calls["AbortMultipartUpload"] == 1


async def test_an_upload_whose_completion_was_refused_is_aborted_as_ever(make: Make) -> None:
    here = make()
    here.destination.fail("CompleteMultipartUpload", ServerFault("500", status=500), times=100)
    with pytest.raises(ServerFault):
        await copy(here)
    await abandon_upload("key", here.context())
    assert here.destination.calls["AbortMultipartUpload"] == 1


class Padded(FakeAnswer):
    """An answer that comes after white space, for as long as it takes."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'<?xml version="1.0" encoding="UTF-8"?>'
        for _ in range(20):
            yield b" \n" * (1 << 19)
        yield self.body


async def test_any_amount_of_white_space_may_come_before_the_result() -> None:
    done = b"<CompleteMultipartUploadResult><ETag>e-1</ETag></CompleteMultipartUploadResult>"
    store, _ = fake_store([Padded(200, {}, done)])
    written = await store.complete_upload("k", "u", [UploadedPart(1, 1, "p")])
    assert written.etag == "e-1"


async def test_white_space_before_an_error_hides_no_error() -> None:
    store, _ = fake_store(lambda _: Padded(200, {}, b"<Error><Code>NoSuchUpload</Code></Error>"))
    with pytest.raises(NoSuchUpload):
        await store.complete_upload("k", "u", [UploadedPart(1, 1, "p")])
