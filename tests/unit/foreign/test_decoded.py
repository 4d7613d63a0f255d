"""Kind 12, `identity` is sent to stores that then decode."""

from __future__ import annotations

import pytest

from dth.errors import ObjectChanged
from dth.model import Generation
from tests.unit.store_fakes import FakeAnswer, Sent, fake_store

STORED, ETAG = b"\x1f\x8bgzip", "900150983cd24fb0d6963f7d28e17f72"
PINNED = Generation(ETAG, len(STORED))


def answer(body: bytes, **headers: str) -> FakeAnswer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return FakeAnswer(200, {"etag": f'"{ETAG}"', **named}, body)


def decodes(sent: Sent) -> FakeAnswer:
    """A store that decompresses for whoever does not take gzip."""
    if sent.headers["accept-encoding"] == "gzip":
        return answer(STORED, content_length=str(len(STORED)), content_encoding="gzip")
    return answer(b"much longer text", content_length="16")


def decodes_in_chunks(sent: Sent) -> FakeAnswer:
    """As Cloud Storage does: without a length, but it says so."""
    if sent.headers["accept-encoding"] == "gzip":
        return decodes(sent)
    return answer(b"much longer text", x_goog_stored_content_encoding="gzip")


def warns(sent: Sent) -> FakeAnswer:
    if sent.headers["accept-encoding"] == "gzip":
        return decodes(sent)
    return answer(b"much longer text", warning='214 UploadServer "gunzipped"')


@pytest.mark.parametrize("store_of", [decodes, decodes_in_chunks, warns])
async def test_bytes_come_as_they_are_stored_from_a_store_that_decodes_for_others(store_of: object) -> None:
    store, net = fake_store(store_of)  # type: ignore[arg-type]
    for _ in range(3):
        stream = await store.get("k", pinned=PINNED)
        assert await stream.read() == STORED
        assert stream.head.attributes.headers == (("content-encoding", "gzip"),)
    assert len(net.sent) == 4, "it is found out once"


async def test_a_store_that_decodes_for_everybody_is_an_error_and_no_short_object() -> None:
    store, net = fake_store(lambda _: answer(b"much longer text", content_length="16"))
    for _ in range(3):
        with pytest.raises(ObjectChanged, match="decodes what it sends"):
            await store.get("k", pinned=PINNED)
    assert len(net.sent) == 4
    assert net.sent[-1].headers["accept-encoding"] == "identity"


async def test_cloud_storage_is_asked_for_gzip_from_the_first_request_on() -> None:
    store, net = fake_store(decodes_in_chunks, profile="Google_GCS")
    assert await (await store.get("k", pinned=PINNED)).read() == STORED
    assert len(net.sent) == 1
