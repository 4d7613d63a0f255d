"""Ctrl-C in the middle: what is in flight is finished or given back, and the next sync sends nothing twice."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.corpus import corpus, fill, inventory, open_uploads
from tests.e2e.harness import HANG_SECONDS, between
from tests.servers.s3server import S3Server

pytestmark = pytest.mark.slow


def test_an_interrupted_sync_goes_on_without_sending_a_finished_object_again(rgw: S3Server, tmp_path: Path) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    count = fill(rgw.client("a"), source, corpus(700, big=False))
    dth = between(tmp_path, rgw, rgw, "--worker-number", "2", "--pack-objects", "20")
    arguments = ["sync", f"s3://{source}", f"s3://{destination}"]
    process = subprocess.Popen(
        dth.argv(*arguments), env=dict(dth.env), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    first, asked = None, False
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "Moved" and not asked:
            process.send_signal(signal.SIGINT)
            asked = True
        if event["event"] == "Summary":
            first = event
    process.stdout.close()
    assert process.wait(HANG_SECONDS) == 130
    assert first is not None
    assert 0 < first["done"] < count
    assert not first["complete"]
    again = dth(*arguments)
    assert again.summary["failed"] == 0
    puts = first["requests"]["destination"]["PutObject"] + again.summary["requests"]["destination"]["PutObject"]
    assert puts == count
    assert inventory(rgw.client("b"), destination) == inventory(rgw.client("a"), source)
    assert open_uploads(rgw.client("b"), destination) == []
