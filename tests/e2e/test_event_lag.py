"""What status says of events with known times that came through SQS: how late they were done, and that no more come."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.servers.aws import Aws
from tests.servers.quirky import Quirky
from tests.servers.wire import Request
from tests.unit.test_bucket_events import s3_record

from .harness import HANG_SECONDS, Dth, between

pytestmark = [pytest.mark.slow, pytest.mark.ministack]

BUCKET = "from-here"
AGES = [float(age) for age in range(20)]  # seconds: how long ago each event happened when it is sent
WHERE = ("--src-bucket", BUCKET, "--dest-bucket", "to-there")


class Heard:
    """A worker that goes on for ever, and the events that it has written so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        assert process.stdout
        self._reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, lines: Any) -> None:
        for line in lines:
            self._lines.put(line)

    def until(self, name: str, done: int = 0) -> dict[str, Any]:
        """Wait for an event of that name, or for several that have `done` so many together; the last of them."""
        sum_done = 0
        while True:
            event: dict[str, Any] = json.loads(self._lines.get(timeout=HANG_SECONDS))
            if event["event"] == "Notice" and event["code"] == name:
                return event
            if event["event"] == name:
                sum_done += event.get("done", 0)
                if sum_done >= done:
                    return event


@contextmanager
def working(dth: Dth) -> Iterator[Heard]:
    """`dth work` until the block ends."""
    words = dth.argv("work", *WHERE, "--src-event", "Create", "--event-silence-seconds", "2", "--processes", "1")
    with subprocess.Popen(words, env=dict(dth.env), stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Heard(process)
            process.send_signal(signal.SIGTERM)
            assert process.wait(HANG_SECONDS) == 0
        finally:
            process.kill()


def happened(key: str, at: float) -> str:
    """S3's notification of an object that was created then."""
    said = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record = s3_record("ObjectCreated:Put", key, size=len(key)) | {"eventTime": said}
    record["s3"]["bucket"]["name"] = BUCKET
    return json.dumps({"Records": [record]})


def looked_at(dth: Dth, events: int) -> tuple[dict[str, Any], dict[str, Any], float | None]:
    """The standing run once so many events are in its lag, the queue, and the longest wait that was told meanwhile."""
    oldest: float | None = None
    for _ in range(30):
        *runs, depth = dth("status", *WHERE).events
        oldest = max((wait for wait in (oldest, depth["oldest_seconds"]) if wait is not None), default=None)
        if runs and runs[0]["lag"] and runs[0]["lag"]["events"] >= events:
            return runs[0], depth, oldest
        time.sleep(0.5)
    raise AssertionError(runs)


def test_reported_lag_is_the_true_one_and_silence_is_warned_of(ministack: Aws, tmp_path: Path) -> None:
    copied: dict[str, float] = {}
    times: dict[str, float] = {}

    def note(operation: str, request: Request) -> None:
        if operation == "put":
            copied[request.key] = time.time()

    with Quirky() as source, Quirky(before=note) as destination:
        plain = between(tmp_path, source.server, destination.server)
        env = {**plain.env, **ministack.environment()}
        made = Dth(env, ["--json"])("init", f"dth-{uuid.uuid4().hex[:8]}").events[-1]
        dth = Dth(env, [*plain.flags, "--queue", made["queue"], "--table", made["table"]])
        sqs = ministack.client("sqs")

        def send(key: str, age: float) -> float:
            source.hold(BUCKET, key, key.encode())
            now = time.time()
            times[key] = now - age
            sqs.send_message(QueueUrl=made["queue"], MessageBody=happened(key, times[key]))
            return now

        first_sent = min([send(f"k{number:02}", age) for number, age in enumerate(AGES)])
        started = time.time()
        with working(dth) as heard:
            all_done = heard.until("Moved", done=len(AGES))["at"]
            first_received = min(copied.values())
            run, _, oldest = looked_at(dth, len(AGES))
            assert run["state"] == "standing"
            assert oldest is not None
            assert started - first_sent - 1 <= oldest <= first_received - first_sent + 1

            send("last", 40.0)
            last_done = heard.until("Moved", done=1)["at"]
            run, depth, _ = looked_at(dth, len(AGES) + 1)
            silent = heard.until("events_silent")
        sqs.close()
    assert f"no event of bucket {BUCKET} has come since" in silent["text"]
    assert silent["at"] - last_done > 1
    assert (depth["visible"], depth["leased"], depth["dead"]) == (0, 0, 0)

    lag = run["lag"]
    ends = dict.fromkeys(times, all_done) | {"last": last_done}
    lows = sorted(copied[key] - at for key, at in times.items())
    highs = sorted(ends[key] - at for key, at in times.items())
    assert copied["last"] - times["last"] - 1 <= lag["last_seconds"] <= last_done - times["last"] + 1
    assert lows[10] - 1 <= lag["p50_seconds"] <= highs[10] + 1
    assert lows[-1] - 1 <= lag["p99_seconds"] <= highs[-1] + 1
    print(f"p50 {lag['p50_seconds']:.2f} s, true {lows[10]:.2f} to {highs[10]:.2f}; p99 {lag['p99_seconds']:.2f} s, true "  # noqa: T201
          f"{lows[-1]:.2f} to {highs[-1]:.2f}; last {lag['last_seconds']:.2f} s; oldest {oldest:.2f} s")  # fmt: skip
