"""The policy of image jobs, enforced by an emulator: ECR to ECR works under it, and no action of ECR's API is left over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from dth.errors import BadCredentials
from dth.policy import Role, policy
from dth.settings import TransferJob
from dth.stores.secrets import read_secret
from tests.servers import aws_rules, iam
from tests.servers.aws import session_with_known_models
from tests.servers.iam import Asked, Guarded, Refusals, one_of_each
from tests.servers.imaging import Ran, sync_images
from tests.servers.registry import Registry

pytestmark = [pytest.mark.slow, pytest.mark.ministack]
REGION, FAR = "us-east-1", "eu-west-1"
JOB = TransferJob(src_bucket="src", dest_bucket="dst", src_region=FAR, dest_region=REGION)
WIRE = {
    "BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer", "CompleteLayerUpload", "InitiateLayerUpload",
    "PutImage", "UploadLayerPart",
}  # fmt: skip
"""What ECR asks of those who pull and push; the emulator's registry asks nobody (`tests.servers.aws_rules`)."""
WITH_TAGS = "TagResource"  # AWS asks for it where a repository is made with tags; the emulator does not
REGIONS = {"here": FAR, "there": REGION}
LIFECYCLE = {
    "rules": [{
        "rulePriority": 1,
        "selection": {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 9},
        "action": {"type": "expire"},
    }]
}  # fmt: skip
ANYWHERE = ("ecr:DescribeRepositories", "ecr:ListTagsForResource")
"""The emulator does not see which repository these ask for: there, either side's permission is as good as the other's."""
NEEDED = [
    (statement["Sid"], action)
    for statement in policy(Role.IMAGES, JOB)["Statement"]
    for action in statement["Action"]
    if action.removeprefix("ecr:") not in {*WIRE, WITH_TAGS}
]
BY_RULE = [
    (statement["Sid"], action)
    for statement in policy(Role.IMAGES, JOB)["Statement"]
    for action in statement["Action"]
    if action.removeprefix("ecr:") in {*WIRE, WITH_TAGS}
]


def document(*, without: tuple[str, str] = ("", "")) -> dict[str, Any]:
    """The policy as the emulator understands it, less one action of one statement (of all, for those of `ANYWHERE`)."""
    made = policy(Role.IMAGES, JOB)
    sid, action = without
    for one in made["Statement"]:
        if action in one["Action"] and (one["Sid"] == sid or action in ANYWHERE):
            one["Action"].remove(action)
    held = [action for action in ANYWHERE if any(action in one["Action"] for one in made["Statement"])]
    made["Statement"] = [one for one in made["Statement"] if one["Action"]]
    made["Statement"].append({"Sid": "Anywhere", "Effect": "Allow", "Action": held, "Resource": ["*"]})
    return made


@dataclass(frozen=True, slots=True)
class Recorded:
    guarded: Guarded
    ran: list[Ran]
    asked: list[Asked]
    refused: list[str]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """Two syncs under the policy: from ECR to repositories of another region that do not exist yet, and from elsewhere to one
    that does."""
    folder = tmp_path_factory.mktemp("images")
    with iam.started() as guarded, Refusals(guarded.endpoint) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setattr("aiobotocore.session.get_session", session_with_known_models)
        root = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": guarded.endpoint}
        for name, value in root.items():
            patch.setenv(name, value)
        template = folder / "template.json"
        template.write_text(json.dumps({"lifecyclePolicyText": LIFECYCLE, "tags": [{"Key": "a", "Value": "b"}]}))

        def sync(source: str, **words: Any) -> Ran:
            return asyncio.run(sync_images(folder, source, "", **words))

        with Registry() as outside:
            for repository in ("app", "tool"):
                outside.add_image(repository, "v1")
            made = sync(outside.address, dest_region=FAR, dest_repository_prefix="here", repository_template=template)
            assert made.summary.exit_code == 0, made.failures
            outside.add_image("here/app", "v2", layers=(b"another layer",))
            with guarded.user(document()) as env:
                for name, value in {**env, "AWS_ENDPOINT_URL": proxy.endpoint}.items():
                    patch.setenv(name, value)
                words: dict[str, Any] = {"dest_region": REGION, "dest_repository_prefix": "there"}
                images = {"src_list": "SELECTED", "src_image_list": "here/app:ALL_TAGS,here/tool:ALL_TAGS"}
                first = sync("", src_region=FAR, **images, **words)
                more = sync(outside.address, src_list="SELECTED", src_image_list="here/app:v2", **words)
        yield Recorded(guarded, [first, more], one_of_each(proxy.asked), list(proxy.refused))


def test_the_policy_of_image_jobs_suffices(recorded: Recorded) -> None:
    assert recorded.refused == []
    assert [(ran.summary.exit_code, ran.summary.done) for ran in recorded.ran] == [(0, 2), (0, 1)], recorded.ran


@pytest.mark.parametrize(("sid", "action"), NEEDED, ids=str)
def test_each_action_of_ecr_s_api_is_needed(sid: str, action: str, recorded: Recorded) -> None:
    with recorded.guarded.user(document(without=(sid, action))) as env:
        asked = [one for one in recorded.asked if one.target.endswith(f".{action.removeprefix('ecr:')}")]
        regions = (FAR, REGION) if sid == "Login" else ((FAR,) if sid == "SourceImages" else (REGION,))
        refused = any(
            one.send(recorded.guarded.endpoint, {**env, "AWS_REGION": region}) for one in asked for region in regions
        )
    assert refused, f"nothing that an image job asks needs {action} on {sid}"


@pytest.mark.parametrize(("sid", "action"), BY_RULE, ids=str)
def test_each_action_of_pulls_and_pushes_is_needed(sid: str, action: str, recorded: Recorded) -> None:
    needs = aws_rules.demands(recorded.asked, REGIONS)
    whole = policy(Role.IMAGES, JOB)
    assert aws_rules.permits(whole, needs)
    less = json.loads(json.dumps(whole))
    for one in less["Statement"]:
        if one["Sid"] == sid:
            one["Action"].remove(action)
    assert not aws_rules.permits(less, needs), f"nothing that an image job asks needs {action} on {sid}"


def test_the_policy_reads_the_secrets_that_a_job_names_and_no_others(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = recorded.guarded.root("secretsmanager")
    for name in ("mine", "other"):
        client.create_secret(Name=name, SecretString='{"access_key_id": "AKIAKEY", "secret_access_key": "s"}')
    job = JOB.model_copy(update={"src_credentials": "mine", "dest_credentials": "anonymous"})
    with recorded.guarded.user(policy(Role.WORKER, job)) as env:
        for name, value in {**env, "AWS_ENDPOINT_URL": recorded.guarded.endpoint}.items():
            monkeypatch.setenv(name, value)
        assert read_secret("mine").access_key == "AKIAKEY"
        with pytest.raises(BadCredentials, match="GetSecretValue"):
            read_secret("other")
