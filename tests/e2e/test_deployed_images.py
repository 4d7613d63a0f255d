"""The ECR plugin's template, deployed on an emulator: its schedule and its events run the real container."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.servers import templates
from tests.servers.fargate import Fargate, Task
from tests.servers.iam import Guarded
from tests.servers.ministack import REGION
from tests.servers.podman import IMAGE, Podman
from tests.servers.stacks import Deployed, account, deployed

from .test_deployed import listening, until

pytestmark = [pytest.mark.slow, pytest.mark.ministack, pytest.mark.templates, pytest.mark.podman]
NAME, THERE, CLUSTER = "mirror", "eu-west-1", "tasks"
PARAMETERS = {
    "sourceType": "Amazon_ECR", "srcRegion": REGION, "srcList": "ALL", "destRegion": THERE, "destPrefix": "copied",
    "ecsClusterName": CLUSTER, "ecsVpcId": "vpc-0", "ecsSubnetA": "subnet-a", "ecsSubnetB": "subnet-b",
    "alarmEmail": "you@example.com", "image": IMAGE,
}  # fmt: skip


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    with account() as running:
        yield running


def contained(podman: Podman, folder: Path, task: Task) -> subprocess.Popen[bytes]:
    """A task as Fargate runs it: read-only but for its volumes, which belong to root unless the image names them."""
    (image,) = json.loads(podman("inspect", task.image))
    named = image["Config"].get("Volumes") or {}
    words = ["run", "--rm", "--pull=never", "--name", task.name, "--read-only", "--read-only-tmpfs=false"]
    for path in task.volumes:
        words += ["-v", path] if path in named else ["--tmpfs", f"{path}:mode=0755"]
    for name, value in task.environment.items():
        words += ["-e", f"{name}={value}"]
    with (folder / f"{task.family}.log").open("ab") as said:
        return subprocess.Popen(
            podman.words(*words, task.image, *task.command), env=podman.env, stdout=said, stderr=said
        )


def push(podman: Podman, folder: Path, guarded: Guarded, name: str) -> None:
    """A new image into the source, by a tool that is not ours."""
    (folder / "file").write_text(name)
    subprocess.run(["tar", "-C", str(folder), "-cf", str(folder / "layer.tar"), "file"], check=True)
    podman("import", "-q", str(folder / "layer.tar"), "localhost/made")
    guarded.root("ecr").create_repository(repositoryName=name.partition(":")[0])
    host = guarded.endpoint.removeprefix("http://")
    podman("push", "-q", "--tls-verify=false", "localhost/made", f"docker://{host}/{name}")
    podman("rmi", "-f", "localhost/made")


def push_broken(guarded: Guarded) -> None:
    """An image whose one layer is missing."""
    guarded.root("ecr").create_repository(repositoryName="broken")
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": 9, "digest": "sha256:" + "0" * 64}
    config = {**layer, "mediaType": "application/vnd.oci.image.config.v1+json"}
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]})
    url = f"{guarded.endpoint}/v2/broken/manifests/1"
    request = urllib.request.Request(url, manifest.encode(), {"Content-Type": kind}, method="PUT")
    urllib.request.urlopen(request, timeout=30).close()


def copied(guarded: Guarded) -> dict[str, str]:
    """Digest by `repository:tag` of what is at the destination."""
    client = boto3.session.Session().client(
        "ecr", endpoint_url=guarded.endpoint, region_name=THERE, aws_access_key_id="test", aws_secret_access_key="test"
    )
    try:
        return images(client)
    finally:
        client.close()


def images(client: Any) -> dict[str, str]:
    found = {}
    for repository in client.describe_repositories()["repositories"]:
        name = repository["repositoryName"]
        for one in client.list_images(repositoryName=name)["imageIds"]:
            found[f"{name}:{one.get('imageTag')}"] = one["imageDigest"]
    return found


def said(folder: Path) -> str:
    """The end of what the tasks wrote."""
    return "\n".join(f"{path.name}: {path.read_text()[-3000:]}" for path in folder.glob("*.log"))


def ended(stack: Deployed) -> list[str]:
    """How executions of the state machine ended, the first one first."""
    found = stack.guarded.root("stepfunctions").list_executions(stateMachineArn=stack.outputs["StateMachineArn"])
    runs = sorted(found["executions"], key=lambda one: one["startDate"])
    return [one["status"] for one in runs if one["status"] != "RUNNING"]


def test_the_schedule_and_a_push_copy_images_and_one_that_fails_stops_no_other(
    podman: Podman, guarded: Guarded, tmp_path: Path
) -> None:
    ecr = guarded.root("ecr")
    for name in ("one:1", "team/two:1", "three:1"):
        push(podman, tmp_path, guarded, name)
    wanted = {f"copied/{name}": digest for name, digest in images(ecr).items()}
    assert len(wanted) == 3
    push_broken(guarded)
    with (
        deployed(guarded, templates.ECR, NAME, PARAMETERS, at_once=True) as stack,
        listening(guarded, stack) as hear,
        Fargate(stack, CLUSTER, lambda task: contained(podman, tmp_path, task), {"DTH_LEASE_SECONDS": "30"}) as fargate,
    ):
        until(lambda: len(ended(stack)) == 1, "the schedule's run does not end")
        assert copied(guarded).items() >= wanted.items(), said(tmp_path)
        assert [family for family, _ in fargate.ended] == ["mirror-plan", "mirror-copy"]
        assert ended(stack) == ["FAILED"], (fargate.ended, said(tmp_path))
        until(lambda: any("broken:1" in one for one in hear()), "nobody was told of the image that fails")

        push(podman, tmp_path, guarded, "later:2")
        detail = {"action-type": "PUSH", "result": "SUCCESS", "repository-name": "later", "image-tag": "2"}
        event = {"Source": "emulated.ecr", "DetailType": "ECR Image Action", "Detail": json.dumps(detail)}
        assert guarded.root("events").put_events(Entries=[event])["FailedEntryCount"] == 0
        until(lambda: len(ended(stack)) >= 2, "the push started nothing")
        assert copied(guarded)["copied/later:2"] == images(ecr)["later:2"]
        assert ended(stack)[1] == "SUCCEEDED"
        assert fargate.ended[2:] == [("mirror-plan", 0), ("mirror-copy", 0)]
