"""Large objects: flat memory whatever the size of a part, and a resume that sends only what is missing."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.corpus import inventory, open_uploads
from tests.e2e.harness import FULL, HANG_SECONDS, Dth, between
from tests.e2e.test_kills import processes_below
from tests.servers.generator import Generator
from tests.servers.s3server import S3Server

pytestmark = pytest.mark.slow

MIB = 1 << 20
GIB = 1 << 30
LARGE = 2 * GIB if FULL else 256 * MIB
MOST_RSS = 256 * MIB


class Watched:
    """Runs a command and remembers the largest resident size that any process of its tree had."""

    def __init__(self, dth: Dth, *arguments: str, output: Path = Path(os.devnull)) -> None:
        with output.open("wb") as stdout:
            self._process = subprocess.Popen(
                dth.argv(*arguments), env=dict(dth.env), stdout=stdout, stderr=subprocess.DEVNULL
            )
        self.peaks: dict[int, int] = {}
        self._watching = threading.Thread(target=self._watch)
        self._watching.start()

    def _watch(self) -> None:
        while self._process.poll() is None:
            for pid in [self._process.pid, *_safely_below(self._process.pid)]:
                self.peaks[pid] = max(self.peaks.get(pid, 0), peak_rss(pid))
            time.sleep(0.02)

    def kill_tree(self) -> None:
        """SIGKILL every process of it."""
        for pid in [*_safely_below(self._process.pid), self._process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.wait()

    def wait(self) -> int:
        """Its exit code."""
        self._process.wait(HANG_SECONDS)
        self._watching.join()
        return self._process.returncode

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def assert_flat(self) -> None:
        """No process was ever larger than it may be."""
        assert self.peaks
        assert max(self.peaks.values()) < MOST_RSS, {pid: rss // MIB for pid, rss in self.peaks.items()}


def _safely_below(pid: int) -> list[int]:
    try:
        return processes_below(pid)
    except OSError:
        return []


def peak_rss(pid: int) -> int:
    """The kernel's high-water mark, in bytes; 0 for a process that is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def test_a_large_object_killed_half_way_is_finished_without_sending_a_part_twice(rgw: S3Server, tmp_path: Path) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    put_large(rgw, source)
    dth = between(tmp_path, rgw, rgw, "--part-size", "8MiB", "--worker-number", "2")  # slow enough to be caught
    arguments = ["sync", f"s3://{source}", f"s3://{destination}"]
    parts = LARGE // (8 * MIB)
    first = Watched(dth, *arguments)
    half_way = False
    while first.running and not half_way:
        half_way = len(parts_held(rgw, destination)) > parts // 3
        time.sleep(0.02)
    assert half_way
    first.kill_tree()
    first.assert_flat()
    held = -1
    while held != (held := len(parts_held(rgw, destination))):
        time.sleep(1)  # what the store had received whole when the sender died may still land
    assert parts // 3 < held < parts
    again = dth(*arguments)
    assert again.summary["failed"] == 0
    assert again.summary["requests"]["destination"]["UploadPart"] == parts - held
    assert inventory(rgw.client("b"), destination) == inventory(rgw.client("a"), source)
    assert open_uploads(rgw.client("b"), destination) == []


def test_an_object_that_its_source_cut_unevenly_is_copied_once(rgw: S3Server, tmp_path: Path) -> None:
    """As many parts on both sides, of other sizes: the ETags differ for ever, and say nothing."""
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    client = rgw.client("a")
    upload = client.create_multipart_upload(Bucket=source, Key="uneven")["UploadId"]
    sent = []
    for number, size in enumerate((12 * MIB, 8 * MIB), 1):
        answer = client.upload_part(
            Bucket=source, Key="uneven", UploadId=upload, PartNumber=number, Body=bytes([number]) * size
        )
        sent.append({"PartNumber": number, "ETag": answer["ETag"]})
    client.complete_multipart_upload(Bucket=source, Key="uneven", UploadId=upload, MultipartUpload={"Parts": sent})
    dth = between(tmp_path, rgw, rgw, "--src-type", "Ceph_RGW", "--dest-type", "Ceph_RGW", "--part-size", "16MiB")
    where = f"s3://{source}", f"s3://{destination}"
    assert dth("sync", *where).summary["done"] == 1
    etags = [
        server.head_object(Bucket=bucket, Key="uneven")["ETag"]
        for server, bucket in ((client, source), (rgw.client("b"), destination))
    ]
    assert etags[0] != etags[1]
    assert [etag.rpartition("-")[2] for etag in etags] == ['2"', '2"']
    assert dth("sync", *where).summary["found"] == 0
    client.put_object(Bucket=source, Key="uneven", Body=bytes(20 * MIB))
    assert dth("sync", *where).summary["done"] == 1


def put_large(server: S3Server, bucket: str) -> None:
    """One object of LARGE bytes, in parts of 64 MiB, without holding it."""
    client = server.client("a")
    upload = client.create_multipart_upload(Bucket=bucket, Key="large", Metadata={"kind": "large"})["UploadId"]
    sent = []
    for number in range(LARGE // (64 * MIB)):
        body = bytes([number % 251]) * (64 * MIB)
        answer = client.upload_part(Bucket=bucket, Key="large", UploadId=upload, PartNumber=number + 1, Body=body)
        sent.append({"PartNumber": number + 1, "ETag": answer["ETag"]})
    client.complete_multipart_upload(Bucket=bucket, Key="large", UploadId=upload, MultipartUpload={"Parts": sent})


def parts_held(server: S3Server, bucket: str) -> list[int]:
    """Numbers of the parts that the destination has of its one open upload."""
    client = server.client("b")
    numbers = []
    for key, upload in open_uploads(client, bucket):
        for page in client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload):
            numbers += [part["PartNumber"] for part in page.get("Parts", ())]
    return numbers


@contextmanager
def generator_and_sink(size: int) -> Iterator[Generator]:
    with Generator({"big": size}) as server:
        yield server


@pytest.mark.parametrize("part_mib", [64, 512])
def test_memory_stays_flat_whatever_the_size_of_a_part(part_mib: int, tmp_path: Path) -> None:
    size = (8 if part_mib == 512 else 16) * part_mib * MIB // (1 if FULL else 4) + 12_345
    with generator_and_sink(size) as server:
        env = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
        base = between_endpoints(tmp_path, server.endpoint)
        dth = Dth({**base.env, **env}, [*base.flags, "--part-size", f"{part_mib}MiB"])
        first = Watched(dth, "sync", "s3://source", "s3://target")
        while first.running and server.counts["part"] < 1:
            time.sleep(0.01)
        first.kill_tree()
        first.assert_flat()
        assert not server.landed
        whole = settled(server, part_mib * MIB, size % (part_mib * MIB))
        before = server.counts["part"]
        second = Watched(dth, "sync", "s3://source", "s3://target")
        assert second.wait() == 0
        second.assert_flat()
        assert server.landed["target", "big"].equals("big")
        assert not server.open_uploads
        assert server.counts["part"] - before == -(-size // (part_mib * MIB)) - whole


def settled(server: Generator, part_size: int, last_size: int) -> int:
    """How many whole parts the sink holds, once it has noticed that nobody sends any more."""
    last = -1
    while last != (last := server.counts["part"]):
        time.sleep(0.5)
    return sum(part.size in {part_size, last_size} for part in server.parts_held)


def between_endpoints(folder: Path, endpoint: str) -> Dth:
    """`dth` with one endpoint on both sides and keys from the environment."""
    server = S3Server("generator", endpoint, "k", "s")
    base = between(folder, server, server)
    dropped = {"--src-profile", "--dest-profile", "src-a", "dest-a"}
    return Dth(base.env, [flag for flag in base.flags if flag not in dropped])
