"""The settings of an image job: every parameter of the guide's table for the ECR plugin, in all four spellings."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from dth.app.images.registries import open_registries
from dth.app.images.work import refusal
from dth.errors import SettingsError
from dth.messages import ImageMessage
from dth.settings import (
    IMAGE_NOT_YET,
    ImageJob,
    TransferJob,
    from_image_run_settings,
    image_contradicted,
    image_job_id,
    image_registries,
    image_run_settings_json,
    image_settings_json,
    load_image_settings,
    settings_of,
)

# Guide's name, our name, a value to set, its default. With srcList SELECTED, without which some contradict each other.
GUIDE = [
    ("sourceType", "source_type", "Public", "Amazon_ECR"),
    ("srcRegion", "src_region", "us-west-1", ""),
    ("srcAccountId", "src_account_id", "123456789012", ""),
    ("srcList", "src_list", "SELECTED", "ALL"),
    ("srcImageList", "src_image_list", "ubuntu:latest,alpine:latest", ""),
    ("srcCredential", "src_credentials", "a-secret", ""),
    ("destRegion", "dest_region", "cn-north-1", ""),
    ("destAccountId", "dest_account_id", "210987654321", ""),
    ("destPrefix", "dest_repository_prefix", "mirror/x", ""),
    ("destCredential", "dest_credentials", "other-secret", ""),
    ("includeUntagged", "include_untagged", "false", True),
]
DEPLOYMENT = ["ecsClusterName", "ecsVpcId", "ecsSubnetA", "ecsSubnetB", "alarmEmail"]


def around(name: str) -> dict[str, Any]:
    """What else must be set so that the setting contradicts nothing."""
    if name in {"src_list", "source_type"}:
        return {"src_list": "SELECTED", "src_image_list": "ubuntu"}
    return {"src_list": "SELECTED"} if name == "src_image_list" else {}


@pytest.mark.parametrize(("guide", "name", "value", "default"), GUIDE)
def test_every_parameter_of_the_guide_is_a_setting_in_four_spellings(
    guide: str, name: str, value: str, default: object, tmp_path: Path
) -> None:
    setting = settings_of(ImageJob)[name]
    assert (setting.guide, setting.default) == (guide, default)
    more = {other: text for other, text in around(name).items() if other != name}
    wanted = False if name == "include_untagged" else value
    env = {f"DTH_{other.upper()}": text for other, text in more.items()}
    assert getattr(load_image_settings({name: value}, env, None), name) == wanted
    assert getattr(load_image_settings({}, {**env, setting.env: value}, None), name) == wanted
    for spelling in (name, guide):
        file = tmp_path / f"{spelling}.json"
        file.write_text(json.dumps({spelling: value}))
        assert getattr(load_image_settings({}, env, file), name) == wanted


def test_a_parameter_file_of_the_original_is_read_as_it_is(tmp_path: Path) -> None:
    values = {guide: value for guide, _, value, _ in GUIDE if guide != "sourceType"}
    values |= dict.fromkeys(DEPLOYMENT, "anything")
    file = tmp_path / "parameters.json"
    file.write_text(json.dumps([{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]))
    job = load_image_settings({}, {}, file)
    assert job.dest_repository_prefix == "mirror/x"
    assert job.src_image_list == "ubuntu:latest,alpine:latest"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"source_type": "Public"}, "nobody can list a public registry"),
        ({"src_list": "SELECTED"}, "needs src_image_list"),
        ({"src_image_list": "ubuntu"}, "needs src_list"),
        ({"source_type": "Other"}, "one of Amazon_ECR, Public"),
        ({"src_account_id": "12"}, "12 digits"),
        ({"dest_repository_prefix": "Upper"}, "repository's name"),
        ({"src_credentials": "AKIAABCDEFGHIJKLMNOP"}, "never the keys themselves"),
        ({"src_credentials": "x", "src_profile": "y"}, "set one of them"),
        ({"src_registry": "x", "src_account_id": "123456789012"}, "which registry"),
        ({"platforms": "linux"}, "is no platform"),
        ({"prune": "true", "platforms": "linux/amd64"}, "contradict"),
        ({"images_at_once": "0"}, "from 1 to 100"),
        ({"queue": "images"}, "needs table as well"),
        ({"queue": "images", "table": "t", "message_bytes": "512KiB"}, "a row of a DynamoDB table"),
        ({"memory_budget": "1GiB"}, "no meaning for images"),
    ],
)
def test_what_cannot_be_is_refused_with_its_name(given: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        load_image_settings(given, {}, None)


def test_a_key_in_place_of_a_secrets_name_is_not_repeated() -> None:
    with pytest.raises(SettingsError) as error:
        load_image_settings({"src_credentials": "AKIAABCDEFGHIJKLMNOP"}, {}, None)
    assert "AKIA" not in str(error.value)


def test_an_environment_made_for_the_other_command_is_let_pass_and_a_misspelt_one_is_not() -> None:
    assert load_image_settings({}, {"DTH_SRC_BUCKET": "photos"}, None).src_list == "ALL"
    with pytest.raises(SettingsError, match="did you mean DTH_SRC_LIST"):
        load_image_settings({}, {"DTH_SRC_LISTS": "ALL"}, None)


def test_the_job_is_named_by_its_places_and_kept_without_what_is_the_processs() -> None:
    one = load_image_settings({"dest_region": "cn-north-1", "images_at_once": "3"}, {}, None)
    other = load_image_settings({"dest_region": "cn-north-1", "src_profile": "x"}, {}, None)
    assert image_job_id(one) == image_job_id(other)
    assert image_job_id(one) != image_job_id(load_image_settings({"dest_region": "cn-northwest-1"}, {}, None))
    kept = json.loads(image_settings_json(one))
    assert kept["dest_region"] == "cn-north-1"
    assert not {"retries", "state", "report", "lease_seconds"} & set(kept)


def test_a_run_keeps_all_that_workers_elsewhere_need_and_no_list_or_file_of_this_machine() -> None:
    given = {
        "src_list": "SELECTED", "src_image_list": "a, b", "dest_registry": "reg:5000", "images_at_once": "3",
        "insecure_registry": "reg:5000", "platforms": "linux/amd64", "repository_template": "/etc/template.json",
    }  # fmt: skip
    job = load_image_settings({**given, "lease_seconds": "7"}, {}, None)
    text = image_run_settings_json(job, '{"tags": []}')
    assert json.loads(text)["src_image_list"] == ""
    read = from_image_run_settings(text, TransferJob(lease_seconds=9, connect_seconds=3))
    assert image_job_id(read) == image_job_id(job)
    assert (read.dest_registry, read.images_at_once, read.platforms) == ("reg:5000", 3, ("linux/amd64",))
    assert (read.insecure_registry, read.repository_template) == (("reg:5000",), '{"tags": []}')
    assert (read.lease_seconds, read.connect_seconds) == (9, 3), "those are the worker's own"
    with pytest.raises(SettingsError, match="no image run"):
        from_image_run_settings(text.replace("src_list", "src_lists"))


@pytest.mark.parametrize(
    ("worker", "names"),
    [
        ({"job_id": "mirror"}, []),
        ({"dest_region": "cn-north-1", "job_id": "mirror"}, []),
        ({"dest_region": "eu-west-1"}, ["dest_region"]),
        ({"src_bucket": "photos", "dest_bucket": "copies"}, ["dest_bucket", "src_bucket"]),
        ({"job_id": "other"}, ["job_id"]),
        ({"lease_seconds": 5.0}, []),
    ],
)
def test_a_worker_that_was_started_for_something_else_contradicts_an_image_run(
    worker: dict[str, Any], names: list[str]
) -> None:
    job = load_image_settings({"dest_region": "cn-north-1", "job_id": "mirror"}, {}, None)
    assert image_contradicted(TransferJob(**worker), image_run_settings_json(job, "")) == names


def test_settings_that_are_refused_exist() -> None:
    assert set(IMAGE_NOT_YET) <= set(settings_of(ImageJob))


async def test_public_ecr_is_a_source_for_anyone_and_a_destination_only_with_a_login_of_docker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    job = load_image_settings({"src_registry": "public.ecr.aws", "dest_registry": "public.ecr.aws"}, {}, None)
    async with open_registries(job) as opener:
        assert (await opener.source("")).registry.name == "public.ecr.aws"
        with pytest.raises(SettingsError, match="ecr-public get-login-password"):
            await opener.destination()
        auth = base64.b64encode(b"AWS:word").decode()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {"public.ecr.aws": {"auth": auth}}}))
        assert (await opener.destination()).registry.name == "public.ecr.aws"


# What a message may ask of a run


def message(source: str, destination: str, registry: str = "", digest: str = "") -> ImageMessage:
    return ImageMessage(
        job_id="j",
        run_id="r",
        message_id="r-1",
        source=source,
        destination=destination,
        registry=registry,
        digest=digest,
    )


SHA = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    "allowed",
    [
        message("app:v1", "mirror/app:v1"),
        message("team/app:v1", "mirror/team/app:v1", "quay.io"),
        message("library/nginx:1", "mirror/nginx:1", "docker.io"),
        message(f"app@{SHA}", "mirror/app:v1", digest=SHA),
        message(f"app@{SHA}", f"mirror/app@{SHA}", digest=SHA),
    ],
)
def test_an_image_of_the_run_is_worked(allowed: ImageMessage) -> None:
    assert not refusal(allowed, "mirror", frozenset({"", "quay.io", "docker.io"}))


@pytest.mark.parametrize(
    "forged",
    [
        message("app:v1", "prod/app:v1"),
        message("app:v1", "mirror/../prod/app:v1"),
        message("app:v1", "mirror/other:v1"),
        message("app:v1", "mirrors/app:v1"),
        message("app:v1", "mirror/app:latest"),
        message("app:v1", "mirror/app:v1", "evil.example:443"),
        message("app:v1", "mirror/app:v1", "http://quay.io"),
        message("library/app:v1", "mirror/app:v1", "quay.io"),
        message("../../x:v1", "mirror/../../x:v1"),
        message("app", ""),
        message(f"app@{SHA}", "mirror/app:v1"),
        message("app:" + "9" * 500, "mirror/app:" + "9" * 500),
        message("quay.io/app:v1", "mirror/app:v1"),
    ],
)
def test_an_image_that_the_run_does_not_bring_is_refused_with_a_reason(forged: ImageMessage) -> None:
    assert refusal(forged, "mirror", frozenset({"", "quay.io", "docker.io"}))


def test_a_run_keeps_which_registries_it_reads_from() -> None:
    job = ImageJob(src_registry="r.example", dest_registry="d.example")
    text = image_run_settings_json(job, "", ["", "quay.io"])
    assert image_registries(text) == {"", "quay.io"}
    assert from_image_run_settings(text).src_registry == "r.example"
    assert image_registries(image_settings_json(job)) == {""}
