"""Bad input ends with one clear message and the right exit code, before anything is written."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from tests.servers.s3server import S3Server

from .corpus import sizes
from .harness import Dth, Finished, between

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def places(rgw: S3Server) -> tuple[str, str]:
    """A source with a few objects, and an empty destination, in two accounts."""
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    for number in range(12):
        rgw.client("a").put_object(Bucket=source, Key=f"k/{number}", Body=b"x" * number)
    return source, destination


@pytest.fixture
def dth(rgw: S3Server, tmp_path: Path) -> Dth:
    return between(tmp_path, rgw, rgw)


def without(dth: Dth, *flags: str) -> Dth:
    """The same without these flags (and their values)."""
    kept, skip = [], False
    for flag in dth.flags:
        if skip:
            skip = False
        elif flag in flags:
            skip = True
        else:
            kept.append(flag)
    return replace(dth, flags=kept)


def the_error(done: Finished) -> str:
    """The one error of a --json run: a single object, with a code and a message, and nothing else that looks like one."""
    errors = [event for event in done.events if event["event"] == "error"]
    assert len(errors) == 1, done.stdout
    assert errors[0]["code"]
    return str(errors[0]["message"])


def test_an_unknown_bucket_is_named(dth: Dth, places: tuple[str, str]) -> None:
    message = the_error(dth("sync", "s3://no-such-bucket-here", f"s3://{places[1]}", expect=4))
    assert "no-such-bucket-here" in message
    message = the_error(dth("sync", f"s3://{places[0]}", "s3://no-such-bucket-there", expect=4))
    assert "no-such-bucket-there" in message


def test_a_wrong_secret_is_said_and_never_shown(rgw: S3Server, places: tuple[str, str], dth: Dth) -> None:
    env = {**dth.env, "AWS_ACCESS_KEY_ID": rgw.access_key, "AWS_SECRET_ACCESS_KEY": "not-the-secret-at-all"}
    wrong = replace(without(dth, "--src-profile"), env=env)
    done = wrong("sync", f"s3://{places[0]}", f"s3://{places[1]}", expect=4)
    assert "credential" in the_error(done).lower() or "signature" in the_error(done).lower()
    assert "not-the-secret-at-all" not in done.stdout + done.stderr


def test_an_unknown_access_key_is_said(places: tuple[str, str], dth: Dth) -> None:
    env = {**dth.env, "AWS_ACCESS_KEY_ID": "AKIANOBODYKNOWS", "AWS_SECRET_ACCESS_KEY": "x"}
    done = replace(without(dth, "--src-profile"), env=env)("sync", f"s3://{places[0]}", f"s3://{places[1]}", expect=4)
    assert places[0] in the_error(done)


def test_an_unknown_profile_is_named(places: tuple[str, str], dth: Dth) -> None:
    done = without(dth, "--src-profile")(
        "sync", f"s3://{places[0]}", f"s3://{places[1]}", "--src-profile", "nobody", expect=None
    )
    assert done.code in {2, 4}
    assert "nobody" in the_error(done)


def test_an_endpoint_where_nobody_listens_is_named(places: tuple[str, str], dth: Dth) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    nowhere = without(dth, "--dest-endpoint")
    done = nowhere(
        "sync", f"s3://{places[0]}", f"s3://{places[1]}", "--dest-endpoint", f"http://127.0.0.1:{port}", expect=4
    )
    assert str(port) in the_error(done)


@pytest.mark.parametrize(
    "url", ["bucket", "s3://", "s3:///key", "http://host/bucket", "gs://bucket", "s3://UPPER_/x", "s3://b?x=1"]
)
def test_a_malformed_url_is_a_usage_error_that_shows_a_right_one(url: str, dth: Dth) -> None:
    assert "s3://" in the_error(dth("sync", url, "s3://destination", expect=2))


def test_unknown_and_contradictory_settings_are_named(dth: Dth, tmp_path: Path, places: tuple[str, str]) -> None:
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"srcBukcet": places[0]}))
    urls = ["sync", f"s3://{places[0]}", f"s3://{places[1]}"]
    assert "srcBukcet" in the_error(dth(*urls, "--job", str(job), expect=2))
    assert dth(*urls, "--no-such-option", expect=2).code == 2
    assert "kms" in the_error(dth(*urls, "--dest-sse-kms-key-id", "abc", expect=2)).lower()
    assert "part" in the_error(dth(*urls, "--part-size", "7XB", expect=2)).lower()


def test_neither_side_may_contain_the_other(rgw: S3Server, dth: Dth, places: tuple[str, str]) -> None:
    source = places[0]
    for src, dest in [("", ""), ("", "copy/"), ("a/", ""), ("a/", "a/b/")]:
        done = dth("sync", f"s3://{source}/{src}", f"s3://{source}/{dest}", "--dest-profile", "src-a", expect=2)
        assert source in the_error(done)
    assert set(sizes(rgw.client("a"), source)) == {f"k/{n}" for n in range(12)}


def test_a_destination_that_may_not_be_written_ends_with_the_missing_action(
    rgw: S3Server, tmp_path: Path, places: tuple[str, str]
) -> None:
    destination = rgw.make_bucket("a")  # b may read and list it, not write
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": ["arn:aws:iam:::user/b"]},
                "Action": ["s3:ListBucket", "s3:GetObject"],
                "Resource": [f"arn:aws:s3:::{destination}", f"arn:aws:s3:::{destination}/*"],
            }
        ],
    }
    rgw.client("a").put_bucket_policy(Bucket=destination, Policy=json.dumps(policy))
    dth = between(tmp_path, rgw, rgw)
    done = dth("sync", f"s3://{places[0]}", f"s3://{destination}", expect=4)
    assert "s3:PutObject" in the_error(done)
    assert sizes(rgw.client("a"), destination) == {}


def test_help_and_errors_never_need_a_network(dth: Dth) -> None:
    plain = replace(dth, flags=[])
    assert "dth sync" in plain("sync", "--help").stdout
    assert plain("sync", expect=2).code == 2
