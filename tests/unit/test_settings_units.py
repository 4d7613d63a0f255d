"""Sizes, S3 URLs and endpoints, over any text."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dth.errors import SettingsError
from dth.settings import folder, format_size, parse_s3_url, parse_size
from dth.settings.urls import parse_endpoint

BUCKETS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("1048576", 2**20), ("64MiB", 64 * 2**20), ("64mib", 64 * 2**20), ("64 MiB", 64 * 2**20),
        ("1GB", 10**9), ("1G", 2**30), ("512k", 512 * 1024), ("1.5KiB", 1536), ("0.1KB", 100), ("2TiB", 2**41),
    ],
)  # fmt: skip
def test_sizes_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1e6", "1.MiB", "64 furlongs", "٣", "1_000", None, True, 1.5])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@given(st.integers(0, 2**60))
def test_a_size_written_is_the_size_read(size: int) -> None:
    assert parse_size(format_size(size)) == size
    assert parse_size(str(size)) == size


@given(st.text())
def test_any_text_is_a_size_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_size(text) >= 0


@given(BUCKETS, st.text(st.characters(exclude_characters="?"), max_size=40))
def test_bucket_and_prefix_come_back_as_written(bucket: str, prefix: str) -> None:
    assert parse_s3_url(f"s3://{bucket}/{prefix}") == (bucket, prefix)


def test_a_bucket_alone_has_no_prefix() -> None:
    assert parse_s3_url("s3://photos") == parse_s3_url("s3://photos/") == ("photos", "")


def test_a_question_mark_may_be_part_of_a_key() -> None:
    assert parse_s3_url("s3://photos/who?/when").prefix == "who?/when"


@given(st.text())
def test_any_text_is_a_location_or_a_settings_error(text: str) -> None:
    with contextlib.suppress(SettingsError):
        assert parse_s3_url(text).bucket


@pytest.mark.parametrize(
    ("url", "lesson"),
    [
        ("photos/2026", "did you mean s3://photos/2026?"),
        ("", "a location looks like s3://bucket"),
        ("s3://", "names no bucket"),
        ("s3:///key", "names no bucket"),
        ("gs://photos", "the scheme 'gs' is not known"),
        ("S3://photos", "the scheme 'S3' is not known"),
        ("https://s3.amazonaws.com/photos", "is a web address"),
        ("s3://photos?region=eu-west-1", "takes no query"),
        ("s3://photos/a?endpoint=x", "takes no query"),
        ("s3://AKIA:secret@photos/a", "credentials do not belong"),
        ("s3://a/b", "is no bucket name"),
        ("s3://my bucket/b", "is no bucket name"),
    ],
)
def test_a_wrong_url_teaches_the_right_one(url: str, lesson: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_s3_url(url)
    assert lesson in str(caught.value)
    assert "secret" not in str(caught.value)


@given(st.text(max_size=20))
def test_a_folder_ends_in_one_slash_more_or_is_everything(prefix: str) -> None:
    made = folder(prefix)
    assert made == "" if not prefix else made.endswith("/")
    assert made.startswith(prefix)
    assert folder(made) == made


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("", ""), ("minio:9000", "https://minio:9000"), ("HTTP://Minio:80/", "http://minio"),
        ("https://[::1]:9000", "https://[::1]:9000"), ("s3.example.org", "https://s3.example.org"),
    ],
)  # fmt: skip
def test_one_endpoint_has_one_spelling(text: str, endpoint: str) -> None:
    assert parse_endpoint(text) == endpoint


@given(st.text(max_size=30))
def test_any_text_is_an_endpoint_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_endpoint(parse_endpoint(text)) == parse_endpoint(text)


@pytest.mark.parametrize(
    "text",
    ["./folder", "../folder", "/srv/data", "~/photos", ".", "..", "C:\\\\photos", "D:/photos", "file:///srv/data"],
)
def test_a_folder_is_told_that_local_files_come_later_and_what_to_use_meanwhile(text: str) -> None:
    with pytest.raises(SettingsError, match=r"place on this machine.*come in a later version.*rclone serve s3"):
        parse_s3_url(text)
