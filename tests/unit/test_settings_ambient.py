"""Where AWS's environment and configuration files say that S3 is: heard for each side, or refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import botocore.session
import pytest

from dth.errors import SettingsError
from dth.settings import TransferJob, contradicted, job_id, load_settings, run_settings_json

HERE, THERE, ELSEWHERE = "http://127.0.0.1:9001", "http://127.0.0.1:9002", "http://127.0.0.1:9003"
CONFIG = f"""
[default]
region = eu-west-1

[profile minio]
region = mars-1
endpoint_url = {HERE}/

[profile "with services"]
services = mine
endpoint_url = {ELSEWHERE}

[profile deaf]
endpoint_url = {HERE}
ignore_configured_endpoint_urls = true

[profile china]
region = cn-northwest-1

[profile fips]
use_fips_endpoint = true

[services mine]
sqs =
  endpoint_url = {ELSEWHERE}
s3 =
  addressing_style = path
  endpoint_url = {THERE}
"""
CREDENTIALS = f"""
[keys]
aws_access_key_id = A
aws_secret_access_key = B
endpoint_url = {THERE}
region = us-gov-west-1
"""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "config").write_text(CONFIG)
    (tmp_path / "credentials").write_text(CREDENTIALS)
    return {
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }


def load(environ: dict[str, str], notes: list[str] | None = None, **flags: Any) -> TransferJob:
    return load_settings({"src_bucket": "photos", "dest_bucket": "backup", **flags}, environ, None, notes=notes)


def places(job: TransferJob) -> tuple[str, str, str, str]:
    return job.src_endpoint, job.src_region, job.dest_endpoint, job.dest_region


def test_nothing_is_made_up_where_nothing_is_said(files: dict[str, str]) -> None:
    for environ in ({}, files, {**files, "AWS_REGION": "eu-central-1"}):
        assert places(load({"HOME": "/nonexistent", **environ})) == ("", "", "", "")


@pytest.mark.parametrize("variables", [
    {"AWS_ENDPOINT_URL": HERE},
    {"AWS_ENDPOINT_URL_S3": HERE, "AWS_ENDPOINT_URL": ELSEWHERE},
    {"AWS_ENDPOINT_URL_S3": HERE, "AWS_PROFILE": "keys"},  # the environment beats a profile that it names
    {"AWS_PROFILE": "minio"},
    {"AWS_DEFAULT_PROFILE": "minio", "AWS_ENDPOINT_URL_SQS": ELSEWHERE},
])  # fmt: skip
def test_both_sides_hear_the_environment(files: dict[str, str], variables: dict[str, str]) -> None:
    job = load({**files, **variables})
    assert (job.src_endpoint, job.dest_endpoint) == (HERE, HERE)


@pytest.mark.parametrize(("profile", "endpoint", "region"), [
    ("minio", HERE, "mars-1"), ("with services", THERE, ""), ("keys", THERE, "us-gov-west-1"),
    ("deaf", "", ""), ("china", "", "cn-northwest-1"), ("default", "", ""), ("missing", "", ""),
])  # fmt: skip
def test_each_side_hears_its_own_profile(files: dict[str, str], profile: str, endpoint: str, region: str) -> None:
    assert places(load(files, src_profile=profile)) == (endpoint, region, "", "")
    assert places(load(files, dest_profile=profile)) == ("", "", endpoint, region)


@pytest.mark.parametrize("environ", [
    {}, {"AWS_ENDPOINT_URL": HERE}, {"AWS_ENDPOINT_URL_S3": THERE, "AWS_ENDPOINT_URL": HERE},
    {"AWS_ENDPOINT_URL": HERE, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
    {"AWS_PROFILE": "minio"}, {"AWS_PROFILE": "with services"}, {"AWS_PROFILE": "deaf"}, {"AWS_PROFILE": "keys"},
    {"AWS_PROFILE": "minio", "AWS_ENDPOINT_URL_S3": THERE}, {"AWS_PROFILE": "minio", "AWS_DEFAULT_REGION": "here-1"},
])  # fmt: skip
def test_dth_goes_where_aws_s_own_tools_go(
    files: dict[str, str], environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**files, **environ}.items():
        monkeypatch.setenv(name, value)
    client = botocore.session.Session().create_client("s3", aws_access_key_id="A", aws_secret_access_key="B")
    job = load({**files, **environ})
    theirs = client.meta.endpoint_url
    assert job.dest_endpoint == ("" if "amazonaws" in theirs else theirs.rstrip("/"))
    if job.dest_region:
        assert job.dest_region == client.meta.region_name


def test_what_the_job_says_is_nearer(files: dict[str, str]) -> None:
    environ = {**files, "AWS_ENDPOINT_URL_S3": HERE, "AWS_REGION": "eu-central-1"}
    job = load(environ, src_endpoint=THERE, dest_type="Aliyun_OSS", dest_region="cn-hangzhou")
    assert places(job) == (THERE, "", "", "cn-hangzhou")
    job = load(environ, src_endpoint=THERE, src_profile="china", dest_region="here-1")
    assert places(job) == (THERE, "cn-northwest-1", HERE, "here-1")


def test_two_endpoints_for_one_side_are_refused_rather_than_chosen_from(files: dict[str, str]) -> None:
    environ = {**files, "AWS_ENDPOINT_URL_S3": THERE}
    with pytest.raises(SettingsError, match=r"AWS_ENDPOINT_URL_S3 and endpoint_url of .*minio.*dest_endpoint"):
        load(environ, dest_profile="minio")
    assert load(environ, src_profile="keys").src_endpoint == THERE  # they agree


@pytest.mark.parametrize("environ", [
    {"AWS_USE_FIPS_ENDPOINT": "true"}, {"AWS_USE_DUALSTACK_ENDPOINT": "TRUE"}, {"AWS_PROFILE": "fips"},
])  # fmt: skip
def test_variants_that_are_not_followed_are_refused_with_the_endpoint_to_name(
    files: dict[str, str], environ: dict[str, str]
) -> None:
    with pytest.raises(
        SettingsError, match=r"AWS_USE_\w+ is set.*dest_endpoint = https://s3\S+us-gov-west-1\.amazonaws\.com"
    ):
        load({**files, **environ}, src_endpoint=HERE, dest_region="us-gov-west-1")
    assert load({**files, **environ}, src_endpoint=HERE, dest_endpoint=THERE)


@pytest.mark.parametrize("value", ["ftp://x", "http://u:secret@h", "http://h/path"])
def test_an_endpoint_that_is_none_is_named_by_where_it_stands(files: dict[str, str], value: str) -> None:
    with pytest.raises(SettingsError, match="AWS_ENDPOINT_URL is no endpoint") as caught:
        load({**files, "AWS_ENDPOINT_URL": value})
    assert "secret" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_an_error_with_its_name(files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config").write_text("endpoint_url = of nobody\n")
    with pytest.raises(SettingsError, match=r"cannot read the AWS configuration .*config"):
        load(files)


def test_what_was_heard_is_told_with_where_it_stands(files: dict[str, str]) -> None:
    notes: list[str] = []
    load({**files, "AWS_ENDPOINT_URL": THERE}, notes, dest_endpoint=HERE, dest_profile="minio")
    assert notes == [
        f"src_endpoint = {THERE}, from AWS_ENDPOINT_URL",
        "src_region = eu-west-1, from region of the AWS profile default",
        "dest_region = mars-1, from region of the AWS profile minio",
    ]


def test_the_same_place_is_noticed_whoever_names_it(files: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="the same place"):
        load({**files, "AWS_ENDPOINT_URL": HERE}, dest_bucket="photos", dest_endpoint=HERE)
    assert load({**files, "AWS_ENDPOINT_URL": HERE}, dest_bucket="photos", dest_endpoint=THERE)


def test_the_job_is_the_one_whose_endpoint_was_given_as_a_flag(files: dict[str, str]) -> None:
    heard = load({**files, "AWS_ENDPOINT_URL": HERE})
    assert job_id(heard) == job_id(load({}, src_endpoint=HERE, dest_endpoint=HERE)) != job_id(load({}))


def test_workers_in_another_region_of_the_partition_work_on_the_same_run(files: dict[str, str]) -> None:
    run = run_settings_json(load({**files, "AWS_REGION": "cn-north-1"}))
    assert contradicted(load({**files, "AWS_REGION": "cn-northwest-1"}), run) == []
    assert contradicted(load({}, src_region="eu-west-1"), run) == ["src_region"]
    assert contradicted(load({}, src_region="eu-west-1"), run_settings_json(load({}))) == []
    elsewhere = run_settings_json(load({}, src_endpoint=HERE, src_region="one"))
    assert contradicted(load({}, src_endpoint=HERE, src_region="two"), elsewhere) == ["src_region"]
