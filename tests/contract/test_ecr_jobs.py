"""What an image job is told: which images, of which registries, by whose credentials, and what may be removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dth.errors import SettingsError
from dth.events import Planned, RunStarted
from tests.servers.aws import REGION, Aws
from tests.servers.imaging import list_images, sync_images
from tests.servers.registry import Registry, digest_of


@pytest.fixture
def source() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


@pytest.fixture
def destination() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


# Which images


async def test_a_list_asks_the_source_alone_and_names_what_would_be_looked_at(source: Registry, tmp_path: Path) -> None:
    for tag in ("1.0", "1.1", "2.0-rc1", "edge"):
        source.add_image("team/app", tag, layers=(tag.encode(),))
    ran = await list_images(tmp_path, source.address, tag_filter="semver:<2")
    names = [event.key.partition("/")[2] for event in ran.events if isinstance(event, Planned)]
    assert names == ["team/app:1.0", "team/app:1.1"]
    assert (ran.summary.listed, ran.summary.noun, ran.summary.exit_code) == (2, "image", 0)
    assert set(source.asked()) == {"GET _catalog", "GET tags"}


async def test_the_list_may_be_a_file_with_what_editors_of_any_system_leave_in_it(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    source.add_image("app", "v1")
    source.add_image("app", "latest", layers=(b"latest",))
    source.add_image("lib", "v1", layers=(b"lib",))
    file = tmp_path / "list.txt"
    file.write_bytes(b"\xef\xbb\xbfapp:v1,\r\n\r\n  app\r\nlib:ALL_TAGS\r\n")
    given: dict[str, Any] = {"src_list": "SELECTED", "src_image_list": f"@{file}"}
    ran = await sync_images(tmp_path, source.address, destination.address, **given)
    assert ran.summary.exit_code == 0
    assert destination.content() == source.content()


@pytest.mark.parametrize(
    ("text", "message"),
    [("@/nowhere/list", "cannot read /nowhere/list"), (" ,\\n ", "names no image"), ("Upper:v1", "is no image")],
)
async def test_a_list_that_says_nothing_is_refused_by_name(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        await list_images(tmp_path, "http://127.0.0.1:9", src_list="SELECTED", src_image_list=text)


async def test_an_image_is_tried_again_as_often_as_told_and_the_others_meanwhile(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    source.add_image("bad", "v1", layers=(b"broken" * 100,))
    source.add_image("good", "v1", layers=(b"good",))
    source.faults.corrupt.add(digest_of(b"broken" * 100))
    ran = await sync_images(tmp_path, source.address, destination.address)
    assert ran.again == ["body_mismatch"] * 3
    assert [line["attempt"] for line in ran.report] == [1, 4]
    assert list(ran.failures.values()) == ["body_mismatch"]


async def test_a_list_of_referrers_is_read_to_its_last_page(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    image = source.add_image("app", "v1")
    signatures = [
        source.add_image("app", layers=(bytes([n]),), subject=image, artifactType="application/x-signature")
        for n in range(5)
    ]
    source.faults.page = 2
    await sync_images(tmp_path, source.address, destination.address)
    assert {one["digest"] for one in signatures} <= set(destination.repositories["app"].manifests)


# What may be removed


@pytest.mark.parametrize("why", ["failed", "selected", "empty", "unlisted"])
async def test_no_tag_is_removed_on_the_word_of_a_repository_that_was_not_wholly_copied(
    source: Registry, destination: Registry, tmp_path: Path, why: str
) -> None:
    source.add_image("app", "v1", layers=(b"one" * 100,))
    destination.add_image("app", "stale", layers=(b"stale",))
    given: dict[str, Any] = {"prune": "true", "retries": 0}
    if why == "failed":
        source.faults.corrupt.add(digest_of(b"one" * 100))
    elif why == "selected":
        given |= {"src_list": "SELECTED", "src_image_list": "app:v1"}
    elif why == "empty":
        source.repositories["app"].tags.clear()
    else:
        source.faults.fail = 10_000
        source.faults.only = lambda _method, path: "tags/list" in path
    await sync_images(tmp_path, source.address, destination.address, **given)
    assert "stale" in destination.repositories["app"].tags


# By whose credentials


@pytest.fixture
def secrets(ministack: Aws) -> Iterator[Any]:
    with ministack.ambient():
        client = ministack.client("secretsmanager")
        yield client
        client.close()


def keep(secrets: Any, name: str, **fields: str) -> str:
    secrets.create_secret(Name=name, SecretString=json.dumps(fields))
    return name


async def test_two_partitions_in_one_run_each_have_a_login_of_their_own(
    secrets: Any, source: Registry, tmp_path: Path
) -> None:
    word = tmp_path.name.replace("_", "").lower()
    one = keep(secrets, f"{word}-one", access_key_id="111111111111", secret_access_key="one")
    two = keep(secrets, f"{word}-two", access_key_id="222222222222", secret_access_key="two")
    source.add_image("app", "v1")
    given: dict[str, Any] = {"dest_region": REGION, "dest_credentials": one, "dest_repository_prefix": word}
    assert (await sync_images(tmp_path, source.address, "", **given)).summary.done == 1
    ran = await sync_images(
        tmp_path, "", "", src_region=REGION, src_credentials=one, dest_region="cn-north-1", dest_credentials=two,
        src_list="SELECTED", src_image_list=f"{word}/app:v1",
    )  # fmt: skip
    assert ran.summary.exit_code == 0, ran.failures
    assert (ran.summary.done, ran.summary.failed) == (1, 0)
    (started,) = [event for event in ran.events if isinstance(event, RunStarted)]
    assert started.source.startswith("111111111111.dkr.ecr.us-east-1.")
    assert started.destination.startswith("222222222222.dkr.ecr.cn-north-1.")
    assert [ran.requests(side)["GetAuthorizationToken"] for side in ("source", "destination")] == [1, 1]


@pytest.mark.parametrize("address", ["", "123456789012.dkr.ecr.eu-west-1.amazonaws.com"])
async def test_a_user_and_a_password_do_not_open_ecr_and_keys_open_nothing_else(
    secrets: Any, tmp_path: Path, address: str
) -> None:
    user = keep(secrets, f"{tmp_path.name}-user", username="me", password="pa55-w0rd")
    keys = keep(secrets, f"{tmp_path.name}-keys", access_key_id="AKIA", secret_access_key="s")
    with pytest.raises(SettingsError, match="ECR needs AWS keys") as error:
        await sync_images(tmp_path, address, "http://127.0.0.1:9", src_credentials=user)
    assert "pa55-w0rd" not in str(error.value)
    with pytest.raises(SettingsError, match="needs username and password"):
        await sync_images(tmp_path, "http://127.0.0.1:9", address, src_credentials=keys)
    with pytest.raises(SettingsError, match="anonymously"):
        await sync_images(tmp_path, address, "http://127.0.0.1:9", src_credentials="anonymous")


async def test_a_registry_named_by_its_ecr_address_is_that_account_and_region(
    secrets: Any, source: Registry, tmp_path: Path
) -> None:
    del secrets
    word = tmp_path.name.replace("_", "").lower()
    source.add_image("app", "v1")
    address = f"000000000000.dkr.ecr.{REGION}.amazonaws.com"
    ran = await sync_images(tmp_path, source.address, address, dest_repository_prefix=word)
    assert ran.summary.exit_code == 0, ran.failures
    (started,) = [event for event in ran.events if isinstance(event, RunStarted)]
    assert started.destination == address
    assert ran.requests("destination")["GetAuthorizationToken"] == 1
