"""`dth probe`: what it asks, what it leaves, and how it ends. The stores answer from a script."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import cast

import pytest

from dth.cli.output.probe import answer, probed
from dth.errors import AccessDenied, AnswerInvalid, ConnectFailed, DthError
from dth.events import Event, Probed, ProbeOver, from_json, to_json
from dth.probe.canary import Canary
from dth.probe.findings import Answer, Findings, Verdict
from dth.stores.base import PutOptions, Written
from dth.stores.s3 import S3Store


class Store:
    """What a canary needs of one."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.uploads: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.refuses: dict[str, DthError] = {}
        self.holds = asyncio.Event()
        self.holds.set()

    async def _call(self, name: str) -> None:
        self.calls[name] += 1
        await asyncio.sleep(0)
        if name in self.refuses:
            raise self.refuses[name]

    async def put(self, key: str, body: bytes, length: int, options: PutOptions) -> Written:
        await self.holds.wait()
        self.keys.add(key)  # it lands, whatever becomes of the answer
        await self._call("put")
        return Written("e")

    async def create_upload(self, key: str, options: PutOptions) -> str:
        await self._call("create")
        self.uploads.add(key)
        return key

    async def abort_upload(self, key: str, upload_id: str) -> None:
        await self._call("abort")
        self.uploads.discard(upload_id)

    async def delete(self, key: str) -> None:
        await self._call("delete")
        self.keys.discard(key)


def canary_of(store: Store) -> Canary:
    return Canary(cast("S3Store", store), "p/")


async def test_what_a_canary_wrote_or_may_have_written_is_removed() -> None:
    store = Store()
    canary = canary_of(store)
    await canary.put("a", b"", 0, PutOptions())
    await canary.create_upload("u", PutOptions())
    store.refuses["put"] = AnswerInvalid("the answer was lost")
    with pytest.raises(AnswerInvalid):
        await canary.put("b", b"", 0, PutOptions())
    assert all(key.startswith("p/dth-probe-") for key in store.keys)
    assert await canary.remove() == ([], None)
    assert not store.keys
    assert not store.uploads


async def test_two_canaries_never_share_a_folder() -> None:
    assert canary_of(Store()).folder != canary_of(Store()).folder


async def test_what_may_not_be_removed_is_named_with_the_reason() -> None:
    store = Store()
    canary = canary_of(store)
    await canary.put("a", b"", 0, PutOptions())
    store.refuses["delete"] = AccessDenied("allow s3:DeleteObject")
    left, reason = await canary.remove()
    assert left == [canary.folder + "a"]
    assert isinstance(reason, AccessDenied)


async def test_an_interrupted_canary_is_removed_however_often_it_is_cancelled() -> None:
    store = Store()
    store.holds.clear()
    canary = canary_of(store)

    async def work() -> None:
        try:
            await canary.put("a", b"", 0, PutOptions())
        finally:
            await canary.remove()

    working = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    for _ in range(3):
        working.cancel()
        await asyncio.sleep(0.01)
    store.holds.set()  # only now the store lands what it had received
    await asyncio.gather(working, return_exceptions=True)
    assert (store.calls["put"], store.calls["delete"]) == (1, 1)
    assert not store.keys


def asked(result: Answer | DthError) -> Callable[[], Awaitable[Answer]]:
    async def question() -> Answer:
        if isinstance(result, DthError):
            raise result
        return result

    return question


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        ((True, "x"), Verdict.YES),
        ((False, ""), Verdict.NO),
        ((None, ""), Verdict.UNKNOWN),
        (AccessDenied("allow s3:GetObject"), Verdict.DENIED),
        (AnswerInvalid("nonsense"), Verdict.BROKEN),
    ],
)
async def test_every_question_has_one_answer_that_is_told_at_once(result: Answer | DthError, verdict: Verdict) -> None:
    told: list[Event] = []
    findings = Findings(told.append, {"get"})
    assert await findings.ask("get", asked(result), assumed=True) is verdict
    detail = str(result) if isinstance(result, DthError) else result[1]
    code = result.code if isinstance(result, DthError) else ""
    assert told == [Probed("get", verdict.value, detail, assumed=True, code=code)]
    assert from_json(to_json(told[0])) == told[0]
    assert findings.missing(Verdict.DENIED) == (["get"] if verdict is Verdict.DENIED else [])


async def test_an_endpoint_that_is_away_ends_the_probe() -> None:
    findings = Findings(lambda _: None)
    with pytest.raises(ConnectFailed):
        await findings.ask("list", asked(ConnectFailed("refused")))


def test_a_line_says_what_dth_assumes_only_where_that_is_another() -> None:
    assert answer(Probed("ordered", "no", "x y", assumed=True)).endswith("no       dth assumes yes; x y")
    assert answer(Probed("ordered", "no", "", assumed=True)).endswith("no       dth assumes yes")
    assert answer(Probed("ordered", "no", "x y", assumed=False)).endswith("no       x y")
    assert answer(Probed("ordered", "unknown", "x", assumed=True)).endswith("unknown  x")
    assert "\x1b" not in answer(Probed("get", "yes", "\x1b[31m", None))
    assert "deleted by hand: p/a" in probed(ProbeOver("MinIO", "s3://b/p", ["p/a"], 4))
