"""`dth verify` on real stores: every kind of difference is found and named, and nothing is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.servers.s3server import S3Server

from .corpus import corpus, fill, longest_keys, sizes
from .harness import Dth, Finished, between

pytestmark = pytest.mark.slow

MIB = 1 << 20


def differences(finished: Finished) -> dict[str, str]:
    """What each key that differs was called, by the events; the report must say the same."""
    named = {event["key"]: event["kind"] for event in finished.events if event["event"] == "Difference"}
    assert named == {line["key"]: line["comparison"] for line in lines(finished) if line["comparison"] in KINDS}
    assert len(named) == finished.summary["differences"]
    return named


KINDS = {"missing", "extra", "size", "content", "metadata", "changed", "needs_restore", "failed"}


def lines(finished: Finished) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(finished.summary["report"]).read_text().splitlines()]


def synced(server: S3Server, folder: Path, count: int = 120) -> tuple[Dth, str, str]:
    """Two buckets that a sync has made equal."""
    second = "b" if server.second else "a"
    source, destination = server.make_bucket("a"), server.make_bucket(second)
    fill(server.client("a"), source, corpus(count, odd=False))
    dth = between(folder, server, server)
    dth("sync", f"s3://{source}", f"s3://{destination}/copy")
    return dth, source, destination


def owner(server: S3Server) -> Any:
    return server.client("b" if server.second else "a")


def flip(client: Any, bucket: str, key: str, at: int) -> None:
    """Change one byte and nothing else that a listing shows, but the ETag."""
    answer = client.get_object(Bucket=bucket, Key=key)
    body = bytearray(answer["Body"].read())
    body[at] ^= 1
    kept = {name: answer[name] for name in ("ContentType", "CacheControl", "ContentEncoding") if name in answer}
    client.put_object(Bucket=bucket, Key=key, Body=bytes(body), Metadata=answer["Metadata"], **kept)


def small_and_large(server: S3Server, bucket: str) -> tuple[str, str]:
    """A key of some bytes, and one that is larger than a read of it would be."""
    held = sizes(server.client("a"), bucket)
    return min(key for key, size in held.items() if 0 < size < MIB), max(held, key=lambda key: held[key])


@pytest.mark.parametrize("kind", ["rgw", "seaweed"])
def test_every_kind_of_difference_is_named_and_an_equal_pair_is_not(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: S3Server = request.getfixturevalue(kind)
    dth, source, destination = synced(server, tmp_path)
    client = owner(server)
    where = f"s3://{source}", f"s3://{destination}/copy"
    before = sizes(client, destination)
    fine = dth("verify", *where, "--download", "--metadata")
    assert differences(fine) == {}
    assert fine.summary["counts"] == {"equal": fine.summary["source_objects"]}
    assert lines(fine) == []
    assert not {"PutObject", "DeleteObject", "CreateMultipartUpload"} & set(fine.summary["requests"]["destination"])
    assert sizes(client, destination) == before

    small, large = small_and_large(server, source)
    rest = sorted(set(sizes(server.client("a"), source)) - {small, large})
    flip(client, destination, f"copy/{small}", 0)
    client.delete_object(Bucket=destination, Key=f"copy/{rest[0]}")
    client.put_object(Bucket=destination, Key="copy/zz/extra", Body=b"x")
    client.put_object(Bucket=destination, Key="elsewhere", Body=b"not below the prefix")
    client.put_object(Bucket=destination, Key=f"copy/{rest[1]}", Body=b"of another size, surely")
    wanted = {small: "content", rest[0]: "missing", "zz/extra": "extra", rest[1]: "size"}
    assert differences(dth("verify", *where, expect=3)) == wanted

    flip(client, destination, f"copy/{large}", 7 * MIB + 11)
    client.copy_object(
        Bucket=destination, Key=f"copy/{rest[2]}", CopySource={"Bucket": destination, "Key": f"copy/{rest[2]}"},
        MetadataDirective="REPLACE", Metadata={"someone": "else"},
    )  # fmt: skip
    wanted |= {large: "content", rest[2]: "metadata"}
    found = dth("verify", *where, "--download", "--metadata", "--report", str(tmp_path / "all"), expect=3)
    assert differences(found) == wanted
    by_key = {line["key"]: line for line in lines(found)}
    assert by_key[large]["offset"] == 7 * MIB + 11
    assert by_key[small]["offset"] == 0
    assert "x-amz-meta-someone" in by_key[rest[2]]["detail"]


def test_the_report_of_all_objects_says_what_proved_each(rgw: S3Server, tmp_path: Path) -> None:
    dth, source, destination = synced(rgw, tmp_path)
    where = f"s3://{source}", f"s3://{destination}/copy"
    report = ("--report", str(tmp_path / "report"), "--report-level", "all")
    listed = lines(dth("verify", *where, *report))
    read = lines(dth("verify", *where, "--download", *report))
    held = sizes(rgw.client("a"), source)
    for found in (listed, read):
        assert {line["key"]: line["size"] for line in found} == held
        assert len(found) == len(held)
    # Uploaded in parts there and by one PUT, or in other parts, here: such ETags cannot be compared.
    unlike = {line["key"] for line in listed if line["comparison"] == "not_verifiable"}
    in_parts = {"big/one-part", "big/aligned", "big/last-part-of-one-byte"}
    assert in_parts <= unlike <= in_parts | {"big/parts-of-six"}
    proven = [line for line in listed if line["key"] not in unlike]
    assert {line["verified_by"] for line in proven if line["size"]} == {"etag"}
    assert {line["verified_by"] for line in proven if not line["size"]} == {
        "compared"
    }  # two times nothing is equal, whatever ETags say
    assert {line["comparison"] for line in read} == {"equal"}
    assert {line["verified_by"] for line in read if line["size"]} == {"compared"}


def test_what_etags_cannot_tell_is_counted_not_called_equal(rgw: S3Server, tmp_path: Path) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    client, other = rgw.client("a"), rgw.client("b")
    body = bytes(5 * MIB)
    client.put_object(Bucket=source, Key="parts", Body=body)
    upload = other.create_multipart_upload(Bucket=destination, Key="parts")["UploadId"]
    target = {"Bucket": destination, "Key": "parts", "UploadId": upload}
    part = other.upload_part(**target, PartNumber=1, Body=body)["ETag"]
    other.complete_multipart_upload(**target, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})
    dth = between(tmp_path, rgw, rgw)
    where = f"s3://{source}", f"s3://{destination}"
    assert dth("verify", *where).summary["counts"] == {"not_verifiable": 1}
    assert dth("verify", *where, "--download").summary["counts"] == {"equal": 1}


def test_a_side_that_cannot_be_listed_is_an_error_never_equal(rgw: S3Server, tmp_path: Path) -> None:
    source, foreign = rgw.make_bucket("a"), rgw.make_bucket("a")
    dth = between(tmp_path, rgw, rgw)
    finished = dth("verify", f"s3://{source}", f"s3://{foreign}", expect=4)  # account b may not look into it
    assert not [event for event in finished.events if event["event"] == "Summary"]
    dth("verify", f"s3://{source}", "s3://no-such-bucket-anywhere", expect=4)


def test_a_sync_reports_each_object_once_and_verify_names_what_it_could_not_copy(rgw: S3Server, tmp_path: Path) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    count = fill(rgw.client("a"), source, corpus(150))
    too_long = set(longest_keys(1024))  # once `to/` stands before them
    report = tmp_path / "report"
    dth = between(tmp_path, rgw, rgw)
    where = f"s3://{source}", f"s3://{destination}/to"
    dth("sync", *where, "--report", str(report), "--report-level", "all", expect=3)
    written = [json.loads(line) for line in report.read_text().splitlines()]
    assert {line["key"]: line["size"] for line in written} == sizes(rgw.client("a"), source)
    assert len(written) == count
    for line in written:
        failed = line["key"] in too_long
        assert line["dest_key"] == "to/" + line["key"]
        assert (line["outcome"], line["error_code"]) == (("failed", "key_refused") if failed else ("done", ""))
        assert (line["reason"], line["attempt"]) == ("missing", 1)
        assert line["source_etag"]
        assert failed or line["dest_etag"]
        # A source that was uploaded in parts has no MD5, and this store keeps no checksums.
        assert failed or line["verified_by"] != "not_verifiable" or line["key"].startswith("big/")
        assert failed or line["verified_by"]
    compared = dth("verify", *where, "--download", "--metadata", expect=3)
    assert differences(compared) == dict.fromkeys(too_long, "missing")
    assert {line["error_code"] for line in lines(compared)} == {"key_refused"}


def test_without_a_word_about_the_report_a_sync_keeps_its_failures(rgw: S3Server, tmp_path: Path) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    for key in ("fine", longest_keys(1024)[0]):
        rgw.client("a").put_object(Bucket=source, Key=key, Body=b"x")
    dth = between(tmp_path, rgw, rgw)
    where = f"s3://{source}", f"s3://{destination}/to"
    dth("sync", *where, expect=3)
    (kept,) = (tmp_path / "state").glob("*/report.jsonl")
    assert [json.loads(line)["error_code"] for line in kept.read_text().splitlines()] == ["key_refused"]
    dth("sync", *where, "--report", str(tmp_path / "no" / "such" / "folder"), expect=2)
