"""`dth complete-multipart` and the receive limit on one machine: what kills its workers ends as FAILED, and leaves nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.servers.s3server import S3Server

from .corpus import inventory, open_uploads
from .harness import between
from .test_kills import start_and_kill

pytestmark = pytest.mark.slow


def test_an_upload_is_left_while_its_message_waits_and_ended_once_nobody_will_go_on(
    rgw: S3Server, tmp_path: Path
) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    rgw.client("a").put_object(Bucket=source, Key="large", Body=random.Random(1).randbytes(60 << 20))
    dth = between(tmp_path, rgw, rgw, "--src-bucket", source, "--dest-bucket", destination)

    def uploads() -> bool:
        return bool(open_uploads(rgw.client("b"), destination))

    dth("find", "--part-size", "5MiB")
    slow = ["work", "--processes", "1", "--worker-number", "1"]
    assert start_and_kill(dth, slow, target="tree", moment=60.0, until=uploads)
    dth("complete-multipart")
    assert uploads()  # its message waits, and goes on with the parts that are there

    worked = dth("work", "--receive-limit", "1", "--until-empty", "--processes", "1", expect=3)
    assert (worked.summary["done"], worked.summary["failed"]) == (0, 1)
    assert worked.failed_keys == {"large"}
    assert uploads()

    dth("complete-multipart")
    assert not uploads()
    assert dth("redrive").summary["found"] == 1
    assert dth("work", "--until-empty", "--processes", "1").summary["done"] == 1
    assert inventory(rgw.client("b"), destination) == inventory(rgw.client("a"), source)
    assert dth("complete-multipart").summary["failed"] == 0
