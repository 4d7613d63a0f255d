"""EC2's notices of an instance's end, from a service that speaks IMDSv2, one that misbehaves, and none at all."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dth.app import instance
from dth.app.instance import Metadata, heeding_notices, is_wanted
from dth.errors import SettingsError
from dth.events import Event, Notice
from tests.servers.wire import Answer, HttpServer, Request

SPOT = "/latest/meta-data/spot/instance-action"
SCALING = "/latest/meta-data/autoscaling/target-lifecycle-state"


class Imds:
    """The metadata service: what it says by path, and how it was asked. A token holds for `uses` requests."""

    def __init__(self) -> None:
        self.says: dict[str, bytes] = {SCALING: b"InService"}
        self.status = 200
        self.asked: list[str] = []
        self.uses = 1000
        self._left = 0
        self.server = HttpServer(self._respond)

    def _respond(self, request: Request) -> Answer:
        self.asked.append(f"{request.method} {request.path}")
        if request.path == "/latest/api/token":
            if request.method != "PUT" or not request.headers.get("x-aws-ec2-metadata-token-ttl-seconds"):
                return Answer(400)
            self._left = self.uses
            return Answer(self.status, b"token==")
        self._left -= 1
        if request.headers.get("x-aws-ec2-metadata-token") != "token==" or self._left < 0:
            return Answer(401)
        return Answer(200, self.says[request.path]) if request.path in self.says else Answer(404)


@pytest.fixture
def imds(monkeypatch: pytest.MonkeyPatch) -> Iterator[Imds]:
    found = Imds()
    with found.server as server:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.endpoint)
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
        yield found


async def asked() -> str:
    metadata = Metadata()
    try:
        return await metadata.notice()
    finally:
        await metadata.close()


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        (SPOT, b'{"action": "terminate", "time": "2026-11-28T08:22:00Z"}', "terminate at 2026-11-28T08:22:00Z"),
        (SPOT, b'{"action": "stop"}', "stop at soon"),
        (SPOT, b'{"action": "hibernate", "time": "x\\u001b[31m"}', "hibernate at x"),
        (SCALING, b"Terminated", "Auto Scaling group"),
        (SCALING, b"Terminated\n", "Auto Scaling group"),
    ],
)
async def test_a_notice_is_told_in_words(imds: Imds, path: str, text: bytes, said: str) -> None:
    assert await asked() == ""
    imds.says[path] = text
    notice = await asked()
    assert said in notice
    assert "\x1b" not in notice


@pytest.mark.parametrize(
    ("path", "text"),
    [
        *((SPOT, text) for text in (b"", b"<html>Log in</html>", b"{}", b"[]", b'"terminate"', b'{"action": "none"}')),
        *(
            (SPOT, text)
            for text in (
                b'{"action": ["terminate"]}',
                b'{"action": "terminate"',
                b"\xff\xfe",
                b"{" * 10_000,
                b"[" * 4000,
            )
        ),
        *((SCALING, text) for text in (b"", b"<html>Terminated</html>", b"Pending", b"Standby", b"terminated" * 1000)),
    ],
)
async def test_an_answer_that_is_no_notice_ends_nothing(imds: Imds, path: str, text: bytes) -> None:
    imds.says[path] = text
    assert await asked() == ""


async def test_a_token_that_is_over_is_replaced(imds: Imds) -> None:
    imds.uses = 1
    imds.says[SCALING] = b"Terminated"
    assert await asked()
    assert imds.asked.count("PUT /latest/api/token") == 2
    imds.uses = 0  # a service that takes no token of its own
    assert await asked() == ""


async def test_a_service_that_is_not_there_or_hangs_costs_moments_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(instance, "ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert await asked() == ""
    assert await asked() == ""


async def test_stop_is_set_once_the_notice_comes_and_before_any_work_where_it_is_there_already(imds: Imds) -> None:
    events: list[Event] = []
    stop = asyncio.Event()
    async with heeding_notices("on", stop, events.append, every=0.01), asyncio.timeout(60):
        assert not stop.is_set()
        imds.says[SPOT] = b'{"action": "terminate", "time": "2026-11-28T08:22:00Z"}'
        await stop.wait()
    assert [event.code for event in events if isinstance(event, Notice)] == ["instance_ending"]
    again = asyncio.Event()
    async with heeding_notices("on", again, events.append):
        assert again.is_set()


async def test_nobody_is_asked_where_it_is_off_disabled_or_no_ec2_instance(
    imds: Imds, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with heeding_notices("off", asyncio.Event(), lambda _: None):
        pass
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "True")
    async with heeding_notices("on", asyncio.Event(), lambda _: None):
        pass
    assert imds.asked == []


def test_an_ec2_instance_is_known_by_its_firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    assert not is_wanted("auto", tmp_path)
    (tmp_path / "sys_vendor").write_text("QEMU\n")
    assert not is_wanted("auto", tmp_path)
    assert is_wanted("on", tmp_path)
    (tmp_path / "sys_vendor").write_text("Amazon EC2\n")
    assert is_wanted("auto", tmp_path)
    assert not is_wanted("off", tmp_path)
    with pytest.raises(SettingsError, match="auto, on or off"):
        is_wanted("yes", tmp_path)
