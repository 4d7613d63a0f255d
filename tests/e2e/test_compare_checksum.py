"""`--compare checksum` on a real store that keeps checksums of whole objects: what no ETag can tell."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from dth.multipart.checksum import Crc
from tests.servers.s3server import S3Server

from .harness import between

pytestmark = pytest.mark.slow

MIB = 1 << 20


def crc(data: bytes) -> str:
    sums = Crc("crc64nvme")
    sums.update(data)
    return sums.base64


def put_whole(client: Any, bucket: str, key: str, data: bytes) -> None:
    client.put_object(Bucket=bucket, Key=key, Body=data, ChecksumCRC64NVME=crc(data))


def put_parts(client: Any, bucket: str, key: str, data: bytes) -> None:
    """In parts, so that its ETag is of another kind, and with a checksum of the whole."""
    place = {"Bucket": bucket, "Key": key}
    how = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"}
    upload = client.create_multipart_upload(**place, **how)["UploadId"]
    parts = []
    for number, at in enumerate(range(0, len(data), 5 * MIB), 1):
        part = data[at : at + 5 * MIB]
        sent = client.upload_part(**place, UploadId=upload, PartNumber=number, Body=part, ChecksumCRC64NVME=crc(part))
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    client.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})


def test_equal_bytes_under_different_etags_are_kept_and_different_ones_are_copied(
    seaweed: S3Server, tmp_path: Path
) -> None:
    source, destination = seaweed.make_bucket("a"), seaweed.make_bucket("b")
    ours, theirs = seaweed.client("a"), seaweed.client("b")
    dice = random.Random(3)
    data, other = dice.randbytes(6 * MIB), dice.randbytes(6 * MIB)
    for key in ("equal", "damaged"):
        put_whole(ours, source, key, data)
    put_whole(ours, source, "small", b"bytes")
    put_whole(theirs, destination, "small", b"bytes")
    put_parts(theirs, destination, "equal", data)
    put_parts(theirs, destination, "damaged", other)
    dth = between(tmp_path, seaweed, seaweed, "--src-type", "SeaweedFS", "--dest-type", "SeaweedFS")
    places = "sync", f"s3://{source}", f"s3://{destination}"
    by_ladder = dth(*places, "--dry-run").summary  # equal sizes, ETags of two kinds, and nothing is newer
    assert by_ladder["planned"] == 0
    planned = dth(*places, "--compare", "checksum", "--dry-run")
    assert [(e["key"], e["reason"]) for e in planned.events if e["event"] == "Planned"] == [("damaged", "checksum")]
    done = dth(*places, "--compare", "checksum").summary
    assert (done["found"], done["done"]) == (1, 1)
    assert done["requests"]["source"]["HeadObject"] == 2  # the finder's; small's ETags suffice
    assert theirs.get_object(Bucket=destination, Key="damaged")["Body"].read() == data
    assert dth(*places, "--compare", "checksum").summary["found"] == 0
