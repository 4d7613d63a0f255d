"""One bit flips on its way between real stores, at a random place, on either leg.

Each object is struck once, on one leg: read damaged from the source, or damaged towards the destination. What a store
offers to find it by differs by how its object was made, and so does what the report must say.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Dth, between
from tests.servers.fault_proxy import Action, Fault, FaultProxy, Way
from tests.servers.s3server import S3Server

MIB = 1 << 20
LEGS = ("source", "destination")
FLAGS = ("--multipart-threshold", "8MiB", "--processes", "1")


@dataclass(frozen=True, slots=True)
class Kind:
    """How an object was made: by one PUT (no parts), or in parts of these sizes, keeping checksums or not."""

    parts: tuple[int, ...] = ()
    size: int = 0
    checksum: str = ""


SMALL, STREAMED = Kind(size=100_000), Kind(size=3 * MIB)
PARTS = Kind(parts=(7 * MIB, 7 * MIB, 6 * MIB))  # nobody's usual size: it can be learnt, but not guessed
UNEQUAL = Kind(parts=(5 * MIB, 9 * MIB, 6 * MIB))
UNEQUAL_CRC = replace(UNEQUAL, checksum="CRC64NVME")
SHA = replace(PARTS, checksum="SHA256")

Table = dict[str, tuple[Kind, str, tuple[str, ...]]]

# What the report says of each, and on which legs a flip is found by it.
RGW_TO_SEAWEED: Table = {
    "small": (SMALL, "content_md5", LEGS),
    "streamed": (STREAMED, "content_md5", LEGS),
    "parts": (PARTS, "part_crc", ("destination",)),  # Ceph 16.2 tells neither parts nor checksums
}
SEAWEED_TO_RGW: Table = {
    "small": (SMALL, "content_md5", LEGS),
    "streamed": (STREAMED, "content_md5", LEGS),
    "learnt": (PARTS, "etag", LEGS),
    "sha": (SHA, "etag", LEGS),
    "crc": (UNEQUAL_CRC, "crc", LEGS),
    "unequal": (UNEQUAL, "not_verifiable", ()),
}
SEAWEED_TO_SEAWEED: Table = {
    "learnt": (PARTS, "etag", LEGS),
    "crc": (UNEQUAL_CRC, "crc", LEGS),
}
PAIRS: dict[str, tuple[str, str, Table]] = {
    "rgw to seaweed": ("rgw", "seaweed", RGW_TO_SEAWEED),
    "seaweed to rgw": ("seaweed", "rgw", SEAWEED_TO_RGW),
    "seaweed to seaweed": ("seaweed", "seaweed", SEAWEED_TO_SEAWEED),
}


@dataclass
class Stage:
    """Both stores filled; `sync` runs once with one flip for each object, into a bucket of its own."""

    folder: Path
    source: S3Server
    destination: S3Server
    table: Table
    bucket: str
    data: dict[str, bytes]

    def sync(self, *flags: str) -> tuple[str, dict[str, dict[str, Any]], list[dict[str, Any]]]:
        """The destination's bucket, the report's last line for each key, the events."""
        account = "b" if self.destination.second else "a"
        target = self.destination.make_bucket(account)
        report = self.folder / f"{target}.jsonl"
        with flipping(self, target) as dth:
            done = dth("sync", f"s3://{self.bucket}", f"s3://{target}", "--report", str(report), *FLAGS, *flags)
        lines = [json.loads(line) for line in report.read_text().splitlines()]
        return target, {line["key"]: line for line in lines}, done.events

    def landed(self, target: str, key: str) -> bytes:
        account = "b" if self.destination.second else "a"
        body: bytes = self.destination.client(account).get_object(Bucket=target, Key=key)["Body"].read()
        return body


@contextmanager
def flipping(stage: Stage, target: str) -> Iterator[Dth]:
    """dth, and between it and the stores what flips one bit of each object, on the leg that its key names."""
    places = random.Random(os.urandom(8))
    faults: dict[str, list[Fault]] = {leg: [] for leg in LEGS}
    for key, body in stage.data.items():
        at = places.randrange(min(len(body), 4 * MIB))  # no part is smaller, of theirs or of ours
        # With a range or without; `?` would be another request about this key.
        get, put = f"GET /{stage.bucket}/{key} ".encode(), f"PUT /{target}/{key}".encode()
        faults["source"] += [Fault(Action.CORRUPT, get, after=at, in_body=True)] * key.startswith("source")
        faults["destination"] += [Fault(Action.CORRUPT, put, way=Way.UP, after=at, in_body=True)] * key.startswith(
            "dest"
        )
    with (
        FaultProxy(stage.source.endpoint, faults["source"]) as one,
        FaultProxy(stage.destination.endpoint, faults["destination"]) as other,
    ):
        kinds = {"rgw": "Ceph_RGW", "seaweed": "SeaweedFS"}
        yield between(
            stage.folder,
            replace(stage.source, endpoint=one.endpoint),
            replace(stage.destination, endpoint=other.endpoint),
            *("--src-type", kinds[stage.source.kind], "--dest-type", kinds[stage.destination.kind]),
        )
    struck = [fault.struck for each in faults.values() for fault in each]
    assert struck == [1] * len(stage.data), f"every object was to be struck once: {struck}"


@pytest.fixture(params=PAIRS)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Stage:
    first, second, table = PAIRS[request.param]
    source: S3Server = request.getfixturevalue(first)
    destination: S3Server = request.getfixturevalue(second)
    bucket = source.make_bucket()
    data = {}
    for name, (kind, _, _) in table.items():
        for leg in LEGS:
            data[f"{leg}-{name}"] = make(source, bucket, f"{leg}-{name}", kind)
    return Stage(tmp_path, source, destination, table, bucket, data)


def make(server: S3Server, bucket: str, key: str, kind: Kind) -> bytes:
    client = server.client()
    if not kind.parts:
        data = os.urandom(kind.size)
        client.put_object(Bucket=bucket, Key=key, Body=data)
        return data
    pieces = [os.urandom(size) for size in kind.parts]
    said = {"ChecksumAlgorithm": kind.checksum} if kind.checksum else {}
    whole = {"ChecksumType": "FULL_OBJECT" if kind.checksum.startswith("CRC") else "COMPOSITE"} if said else {}
    upload = client.create_multipart_upload(Bucket=bucket, Key=key, **said, **whole)["UploadId"]
    parts = []
    for number, piece in enumerate(pieces, 1):
        sent = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=piece, **said)
        kept = {name: value for name, value in sent.items() if name.startswith("Checksum") and name != "ChecksumType"}
        parts.append({"PartNumber": number, "ETag": sent["ETag"], **kept})
    client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    return b"".join(pieces)


def bits_apart(one: bytes, other: bytes) -> int:
    assert len(one) == len(other)
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def test_a_flipped_bit_is_found_by_what_the_stores_offer_and_the_report_says_by_what_or_that_nothing_could(
    stage: Stage,
) -> None:
    target, report, events = stage.sync()
    for name, (_, proof, found_on) in stage.table.items():
        for leg in LEGS:
            key = f"{leg}-{name}"
            assert (report[key]["outcome"], report[key]["verified_by"]) == ("done", proof), key
            apart = bits_apart(stage.landed(target, key), stage.data[key])
            assert apart == (0 if leg in found_on else 1), key
    warned = [event for event in events if event["event"] == "Notice" and event["code"] == "sent_again"]
    failed = [event for event in events if event["event"] == "ObjectFailed"]
    assert {event["error_code"] for event in failed} <= {"body_mismatch"}
    found = sum(len(found_on) for _, _, found_on in stage.table.values())
    # Nothing goes to SeaweedFS by the express: there the store's own retry sends a small body again, without a word.
    silent = "small" in stage.table and stage.destination.kind == "seaweed"
    assert len(warned) + len(failed) == found - silent, (warned, failed)


def test_without_the_check_every_flipped_bit_becomes_the_object(stage: Stage) -> None:
    target, report, _ = stage.sync("--verify", "off")
    for key, data in stage.data.items():
        assert report[key]["outcome"] == "done"
        assert bits_apart(stage.landed(target, key), data) == 1, key


def test_verify_full_finds_every_flipped_bit_on_either_leg(stage: Stage) -> None:
    target, report, _ = stage.sync("--verify", "full")
    for key, data in stage.data.items():
        assert report[key]["outcome"] == "done"
        assert report[key]["verified_by"] not in {"not_verifiable", "part_crc"}
        assert stage.landed(target, key) == data, key
