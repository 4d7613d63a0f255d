"""The forwarder of OSS's events does what the documentation says: it is taken from there and run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dth.queues.bucket_events import Happened, events_in
from tests.servers.aws import REGION, Aws, queue_url
from tests.unit.test_bucket_events import OSS_EVENT

PAGE = Path(__file__).parents[2] / "docs/events.md"


@pytest.mark.moto
async def test_the_documented_forwarder_hands_oss_s_events_on_as_they_are(
    moto: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    with moto.ambient():
        url = await queue_url()
        monkeypatch.setenv("QUEUE_URL", url)
        monkeypatch.setenv("QUEUE_REGION", REGION)
        function: dict[str, object] = {}
        exec(code, function)
        function["handler"](json.dumps(OSS_EVENT).encode(), None)  # type: ignore[operator]
        function["sqs"].close()  # type: ignore[attr-defined]
        client = moto.client("sqs")
        (message,) = client.receive_message(QueueUrl=url)["Messages"]
        client.close()
    (event,) = events_in(message["Body"]).events
    assert (event.happened, event.bucket, event.key) == (Happened.CREATED, "bucketname", "image/a b.jpg")
