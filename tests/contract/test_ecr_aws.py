"""ECR's own side: lists with digests, untagged images, repositories made as the source has them, secrets, SSM, immutable tags."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dth.ecr.aws import Aws as EcrAws
from dth.ecr.aws import AwsLogin
from dth.errors import BadCredentials
from tests.servers.aws import REGION, Aws
from tests.servers.imaging import Ran, sync_images
from tests.servers.registry import Faults, Registry, Request

_RULE = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14}
LIFECYCLE = {
    "rules": [{"rulePriority": 1, "description": "old ones", "selection": _RULE, "action": {"type": "expire"}}]
}


@pytest.fixture
def ambient(ministack: Aws) -> Iterator[Aws]:
    with ministack.ambient():
        yield ministack


@pytest.fixture
def client(ambient: Aws) -> Iterator[Any]:
    made = ambient.client("ecr")
    yield made
    made.close()


@pytest.fixture
def source() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    """A prefix of one test, for the session shares one ECR."""
    return tmp_path.name.replace("_", "").lower()


async def to_ecr(folder: Path, source: Registry, prefix: str, **given: Any) -> Ran:
    return await sync_images(folder, source.address, "", dest_region=REGION, dest_repository_prefix=prefix, **given)


async def test_repositories_are_made_by_a_template(source: Registry, client: Any, prefix: str, tmp_path: Path) -> None:
    source.add_image("team/app", "v1")
    template = tmp_path / "template.json"
    fields = {"imageTagMutability": "IMMUTABLE", "imageScanningConfiguration": {"scanOnPush": True}}
    template.write_text(json.dumps({**fields, "lifecyclePolicyText": LIFECYCLE, "tags": [{"Key": "a", "Value": "b"}]}))
    ran = await to_ecr(tmp_path, source, prefix, repository_template=template)
    assert ran.summary.exit_code == 0, ran.failures
    name = f"{prefix}/team/app"
    (made,) = client.describe_repositories(repositoryNames=[name])["repositories"]
    assert (made["imageTagMutability"], made["imageScanningConfiguration"]) == ("IMMUTABLE", {"scanOnPush": True})
    assert json.loads(client.get_lifecycle_policy(repositoryName=name)["lifecyclePolicyText"]) == LIFECYCLE
    assert client.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"] == [{"Key": "a", "Value": "b"}]
    source.add_image("team/app", "v1", layers=(b"other",))
    conflict = await to_ecr(tmp_path, source, prefix)
    assert list(conflict.failures.values()) == ["tag_conflict"]


async def test_from_ecr_to_ecr_settings_untagged_images_and_digests_are_the_sources(
    source: Registry, client: Any, prefix: str, tmp_path: Path
) -> None:
    source.add_image("app", "v1")
    source.add_image("app", "v2", layers=(b"two",))
    await to_ecr(tmp_path, source, f"{prefix}/a")
    name = f"{prefix}/a/app"
    client.put_image_tag_mutability(repositoryName=name, imageTagMutability="IMMUTABLE")
    client.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=json.dumps(LIFECYCLE))
    raw = client.batch_get_image(repositoryName=name, imageIds=[{"imageTag": "v1"}])["images"][0]["imageManifest"]
    untagged = source.add_image("app", "moved", layers=(b"untagged",))
    source.repositories["app"].tags = {"moved": untagged["digest"]}
    client.put_image_tag_mutability(repositoryName=name, imageTagMutability="MUTABLE")
    await to_ecr(tmp_path, source, f"{prefix}/a")
    source.add_image("app", "moved", layers=(b"tagged",))
    await to_ecr(tmp_path, source, f"{prefix}/a")
    client.put_image_tag_mutability(repositoryName=name, imageTagMutability="IMMUTABLE")
    words: dict[str, Any] = {"src_region": REGION, "dest_region": REGION, "dest_repository_prefix": f"{prefix}/b"}
    words |= {"src_list": "SELECTED", "src_image_list": f"{name}:ALL_TAGS"}
    ran = await sync_images(tmp_path, "", "", **words)
    assert ran.summary.exit_code == 0, ran.failures
    copied = f"{prefix}/b/{name}"
    (made,) = client.describe_repositories(repositoryNames=[copied])["repositories"]
    assert made["imageTagMutability"] == "IMMUTABLE"
    assert client.get_lifecycle_policy(repositoryName=copied)["lifecyclePolicyText"] == json.dumps(LIFECYCLE)
    held = {one["imageDigest"] for one in client.describe_images(repositoryName=copied)["imageDetails"]}
    assert untagged["digest"] in held
    assert (
        client.batch_get_image(repositoryName=copied, imageIds=[{"imageTag": "v1"}])["images"][0]["imageManifest"]
        == raw
    )
    assert not ran.requests("source").get("HeadManifest"), "the list gave the digests"
    again = await sync_images(tmp_path, "", "", **words)
    assert (again.summary.done, again.summary.failed) == (0, 0)
    assert again.summary.skipped == 4
    assert not again.requests("source").get("HeadManifest")
    assert not again.requests("destination").get("HeadManifest"), "one list of the repository takes the place of all"
    assert again.requests("destination")["DescribeImages"] == 1
    client.batch_delete_image(repositoryName=copied, imageIds=[{"imageTag": "v2"}])
    assert (await sync_images(tmp_path, "", "", **words)).summary.done == 1, "what the list does not show is asked for"
    tagged_only = await sync_images(
        tmp_path, "", "", **{**words, "dest_repository_prefix": f"{prefix}/c"}, include_untagged="false"
    )
    assert tagged_only.summary.done == 3
    held = {one["imageDigest"] for one in client.describe_images(repositoryName=f"{prefix}/c/{name}")["imageDetails"]}
    assert untagged["digest"] not in held


async def test_a_missing_repository_that_may_not_be_made_is_named(
    source: Registry, client: Any, prefix: str, tmp_path: Path
) -> None:
    source.add_image("app", "v1")
    ran = await to_ecr(tmp_path, source, prefix, create_repositories="false")
    assert ran.summary.exit_code == 3
    assert "--no-create-repositories" in ran.summary.failures[0].error
    assert client.exceptions


async def test_the_list_comes_from_ssm_and_the_login_from_a_secret(ambient: Aws, tmp_path: Path) -> None:
    ssm, secrets = ambient.client("ssm"), ambient.client("secretsmanager")
    ssm.put_parameter(Name=f"/list/{tmp_path.name}", Value="app:v1,\r\nother\\n", Type="String", Overwrite=True)
    secrets.create_secret(Name=f"login-{tmp_path.name}", SecretString='{"username": "me", "password": "secret-word"}')
    ssm.close()
    secrets.close()
    with Registry(token_seconds=60, user="me", password="secret-word") as source, Registry() as destination:
        source.add_image("app", "v1")
        source.add_image("app", "v2", layers=(b"not listed",))
        source.add_image("other", "latest", layers=(b"other",))
        words: dict[str, Any] = {"src_list": "SELECTED", "src_image_list": f"ssm:/list/{tmp_path.name}"}
        ran = await sync_images(
            tmp_path, source.address, destination.address, src_credentials=f"login-{tmp_path.name}", **words
        )
        assert ran.summary.exit_code == 0, ran.failures
        assert set(destination.content()["app"]) == {"v1"}
        assert set(destination.content()["other"]) == {"latest"}
        assert "secret-word" not in repr(ran)


async def test_a_secret_rotated_after_it_was_read_is_read_again_when_the_registry_refuses_it(
    ambient: Aws, tmp_path: Path
) -> None:
    name, secrets = f"login-{tmp_path.name}", ambient.client("secretsmanager")
    secrets.create_secret(Name=name, SecretString='{"username": "me", "password": "old-word"}')
    with Registry(token_seconds=60, user="me", password="old-word") as source, Registry() as destination:
        for tag in ("v1", "v2"):
            source.add_image("app", tag, layers=(tag.encode(),))

        def rotate(request: Request) -> None:
            del request
            source.faults = Faults()
            secrets.put_secret_value(SecretId=name, SecretString='{"username": "me", "password": "new-word"}')
            source.login = ("me", "new-word")

        source.faults.instead = rotate
        ran = await sync_images(tmp_path, source.address, destination.address, src_credentials=name)
        assert source.login == ("me", "new-word")
        assert (ran.summary.exit_code, ran.summary.done) == (0, 2), ran.failures
        assert set(destination.content()["app"]) == {"v1", "v2"}
        assert not {"old-word", "new-word"} & set(repr(ran).split('"'))
    secrets.close()


async def test_keys_rotated_in_their_secret_are_read_again_once_when_aws_refuses_them(ambient: Aws) -> None:
    del ambient
    read: list[AwsLogin] = []

    async def renewed() -> AwsLogin:
        read.append(AwsLogin("", "new", "new"))
        return read[-1]

    aws = EcrAws(AwsLogin("", "old", "old"), "us-east-1", renewed=renewed)
    real = aws._call

    async def call(service: str, operation: str, arguments: Any) -> dict[str, Any]:
        if aws._login.access_key == "old":
            await asyncio.sleep(0)
            raise BadCredentials("UnrecognizedClientException")
        return await real(service, operation, arguments)

    aws._call = call  # type: ignore[method-assign]
    try:
        answers = await asyncio.gather(*(aws.call("ecr", "DescribeRepositories") for _ in range(5)))
        assert all("repositories" in answer for answer in answers)
        assert len(read) == 1
    finally:
        await aws.close()


async def test_keys_of_a_secret_open_ecr_and_stale_tags_are_pruned(
    source: Registry, ambient: Aws, client: Any, prefix: str, tmp_path: Path
) -> None:
    secrets = ambient.client("secretsmanager")
    keys = {"access_key_id": "test", "secret_access_key": "test"}
    secrets.create_secret(Name=f"keys-{tmp_path.name}", SecretString=json.dumps(keys))
    secrets.close()
    source.add_image("app", "old")
    source.add_image("app", "new", layers=(b"new",))
    given = {"dest_credentials": f"keys-{tmp_path.name}", "dest_account_id": "000000000000"}
    await to_ecr(tmp_path, source, prefix, **given)
    del source.repositories["app"].tags["old"]
    ran = await to_ecr(tmp_path, source, prefix, prune="true", **given)
    assert ran.summary.exit_code == 0
    details = client.describe_images(repositoryName=f"{prefix}/app")["imageDetails"]
    assert {tag for one in details for tag in one.get("imageTags", [])} == {"new"}
