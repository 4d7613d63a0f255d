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
from tests.servers import iam
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
"""What ECR asks of those who pull and push (its user guide names them); the emulator's registry asks nobody."""
WITH_TAGS = "TagResource"  # AWS asks for it where a repository is made with tags; the emulator does not
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
    ran: Ran
    asked: list[Asked]
    refused: list[str]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """One sync from ECR to a repository that does not exist yet, in another region, under the policy."""
    folder = tmp_path_factory.mktemp("images")
    with iam.started() as guarded, Refusals(guarded.endpoint) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setattr("aiobotocore.session.get_session", session_with_known_models)
        root = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": guarded.endpoint}
        for name, value in root.items():
            patch.setenv(name, value)
        words: dict[str, Any] = {"dest_region": FAR, "dest_repository_prefix": "here"}
        template = folder / "template.json"
        template.write_text(json.dumps({"lifecyclePolicyText": LIFECYCLE, "tags": [{"Key": "a", "Value": "b"}]}))
        with Registry() as source:
            source.add_image("app", "v1")
            made = asyncio.run(sync_images(folder, source.address, "", **words, repository_template=template))
        assert made.summary.exit_code == 0, made.failures
        with guarded.user(document()) as env:
            for name, value in {**env, "AWS_ENDPOINT_URL": proxy.endpoint}.items():
                patch.setenv(name, value)
            words = {"src_region": FAR, "dest_region": REGION, "dest_repository_prefix": "there"}
            words |= {"src_list": "SELECTED", "src_image_list": "here/app:ALL_TAGS"}
            ran = asyncio.run(sync_images(folder, "", "", **words))
        yield Recorded(guarded, ran, one_of_each(proxy.asked), list(proxy.refused))


def test_the_policy_of_image_jobs_suffices(recorded: Recorded) -> None:
    assert recorded.refused == []
    assert (recorded.ran.summary.exit_code, recorded.ran.summary.done) == (0, 1), recorded.ran.failures


@pytest.mark.parametrize(("sid", "action"), NEEDED, ids=str)
def test_each_action_of_ecr_s_api_is_needed(sid: str, action: str, recorded: Recorded) -> None:
    with recorded.guarded.user(document(without=(sid, action))) as env:
        asked = [one for one in recorded.asked if one.target.endswith(f".{action.removeprefix('ecr:')}")]
        regions = (FAR, REGION) if sid == "Login" else ((FAR,) if sid == "SourceImages" else (REGION,))
        refused = any(
            one.send(recorded.guarded.endpoint, {**env, "AWS_REGION": region}) for one in asked for region in regions
        )
    assert refused, f"nothing that an image job asks needs {action} on {sid}"


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
