"""A stranger's walk: the command lines of docs/deploy-aws.md, and those of the original's guide, as they stand there.

What is changed is the address of the templates, which is the emulator's, and the templates as `tests/servers/stacks.py` says.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.documentation import ROOT, shell_lines
from tests.servers import templates, tools
from tests.servers.fargate import Fargate, Task
from tests.servers.iam import Guarded
from tests.servers.ministack import REGION
from tests.servers.stacks import Deployed, account, failures, for_the_emulator, settled
from tests.servers.templates import ECR, S3

from .harness import command, environment, scaled
from .test_deployed import listening, until
from .test_deployed_machine import user_data

pytestmark = [pytest.mark.slow, pytest.mark.ministack, pytest.mark.templates, pytest.mark.tools]
PAGE = ROOT / "docs/deploy-aws.md"
ADDRESS = "https://my-artefacts.s3.eu-west-1.amazonaws.com/"
GUIDE = {
    S3: {
        "alarmEmail": "your_email@example.com", "destBucket": "dth-receive-cn-north-1", "destPrefix": "test-prefix",
        "destCredentials": "drh-cn-secret-key", "destInCurrentAccount": "false", "destRegion": "cn-north-1",
        "destStorageClass": "STANDARD", "destPutObjectSSEType": "None", "destPutObjectSSEKmsKeyId": "",
        "srcBucket": "dth-us-west-2", "srcInCurrentAccount": "true", "srcCredentials": "", "srcRegion": "us-west-2",
        "srcPrefix": "case1", "srcType": "Amazon_S3", "ec2VpcId": "vpc-040bbab85f0e4e088",
        "ec2Subnets": "subnet-0d1bf2725ab8e94ee\\,subnet-06d17b2b3286be40e", "finderEc2Memory": "8",
        "ec2CronExpression": "0/60 * * * ? *", "includeMetadata": "false", "srcEvent": "No", "maxCapacity": "20",
        "minCapacity": "1", "desiredCapacity": "1",
    },
    ECR: {
        "sourceType": "Amazon_ECR", "srcRegion": "us-east-1", "srcAccountId": "123456789012", "srcList": "ALL",
        "includeUntagged": "false", "srcImageList": "", "srcCredential": "dev-us-credential", "destAccountId": "",
        "destRegion": "us-west-2", "destCredential": "", "destPrefix": "", "alarmEmail": "your_email@example.com",
        "ecsVpcId": "vpc-07f56e8e21630a2a0", "ecsClusterName": "dth-v22-01-TaskCluster-eHzKkHatj0tN",
        "ecsSubnetA": "subnet-034c58fe0e696eb0b", "ecsSubnetB": "subnet-0487ae5a1d3badde7",
    },
}  # fmt: skip
"""What the guide's two `create-stack` commands give, word for word."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """Somebody with a checkout, the AWS command line and an account."""

    guarded: Guarded
    folder: Path
    env: Mapping[str, str]

    def __call__(self, *words: str) -> str:
        """What a command prints; AssertionError where it fails."""
        done = subprocess.run(
            words, env=dict(self.env), cwd=self.folder, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def follow(self, line: str) -> str:
        """A line of the page, with the emulator's address for that of the templates."""
        return self(*shlex.split(line.replace(ADDRESS, f"{self.guarded.endpoint}/my-artefacts/")))

    def made(self, name: str) -> Deployed:
        """The stack, once it is complete."""
        stack = settled(self.guarded, name)
        assert stack["StackStatus"] in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}, failures(self.guarded, name)
        return Deployed(self.guarded, name, {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]})

    def kinds(self, name: str) -> set[str]:
        """Types of the stack's resources."""
        found = self.guarded.root("cloudformation").describe_stack_resources(StackName=name)["StackResources"]
        return {one["ResourceType"] for one in found}


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stranger]:
    folder = tmp_path_factory.mktemp("stranger")
    (folder / "dist/templates").mkdir(parents=True)
    for name in (S3, ECR):
        text = json.dumps(for_the_emulator(templates.read(name), at_once=True))
        (folder / f"dist/templates/{name}.template.json").write_text(text)
    (folder / "dist/dth-root-aarch64.tar.gz").write_bytes(b"a file system")
    for name in ("Makefile", "deploy", "dth"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "build/deploy/bin").mkdir(parents=True)
    (folder / "build/deploy/bin/python").symlink_to(sys.executable)
    with account() as guarded:
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION}
        path = f"{tools.folder()}{os.pathsep}{os.environ['PATH']}"
        env = environment(folder, {}) | keys | {"PATH": path, "AWS_ENDPOINT_URL": guarded.endpoint, "AWS_PAGER": ""}
        env |= {"AWS_DEFAULT_REGION": REGION, "PYTHONWARNINGS": "ignore"}
        for bucket in ("my-artefacts", "photos", "photos-copy"):
            guarded.root("s3").create_bucket(Bucket=bucket)
        yield Stranger(guarded, folder, env)


def lines(start: str) -> list[str]:
    """Command lines of the page that start so."""
    return [line for line in shell_lines(PAGE) if line.startswith(start)]


def process(folder: Path, task: Task) -> subprocess.Popen[bytes]:
    """A task as a process of this machine."""
    home = folder / task.name
    home.mkdir()
    env = environment(home, {}) | dict(task.environment) | {"DTH_STATE": str(home / "state")}
    with (home / "said").open("wb") as said:
        return subprocess.Popen([*command(), *task.command], env=env, stdout=said, stderr=said)


def test_the_pages_command_lines_end_with_a_transfer_that_ran(stranger: Stranger, tmp_path: Path) -> None:
    guarded = stranger.guarded
    (publish,) = lines("make publish")
    stranger(*shlex.split(publish), "-o", "dist/templates")  # they are made; the line after it would make them anew
    photos, once, mirror = lines("aws cloudformation create-stack")
    stranger.follow(photos)
    assert "AWS::AutoScaling::AutoScalingGroup" in stranger.kinds(stranger.made("photos").name)
    tells_of_memory_and_disk(stranger, tmp_path)
    (update,) = lines("aws cloudformation update-stack")
    stranger.follow(update)
    stranger.made("photos")
    stranger.follow(mirror)
    stranger.made("mirror")

    wanted = {f"in/{number}": bytes([number % 256]) * number for number in range(scaled(1_000))}
    for key, body in wanted.items():
        guarded.root("s3").put_object(Bucket="photos", Key=key, Body=body)
    stranger.follow(once)
    stack = stranger.made("photos-once")
    settings = {"DTH_LEASE_SECONDS": "30", "DTH_PROCESSES": "1"}
    run = Fargate(stack, stack.outputs["ClusterName"], lambda task: process(tmp_path, task), settings)
    with listening(guarded, stack) as hear, run:
        until(lambda: any("Dead letters: 0" in one for one in hear()), "nobody was told of the end")
    found = guarded.root("s3").list_objects_v2(Bucket="photos-copy")
    assert {one["Key"]: one["Size"] for one in found["Contents"]} == {key: len(body) for key, body in wanted.items()}
    assert ("photos-once-finder", 0) in run.ended
    (delete,) = lines("aws cloudformation delete-stack")
    for name in ("photos", "photos-once", "mirror"):
        stranger.follow(delete.replace("photos", name))
        assert gone(guarded, name)


def tells_of_memory_and_disk(stranger: Stranger, folder: Path) -> None:
    """What the user data runs each minute, in the instances' role, gives the dashboard its figures."""
    stack = stranger.made("photos")
    head, _, rest = user_data(stack).partition("<<'END-OF-VITALS'\n")
    script, _, run = rest.partition("END-OF-VITALS\n")
    (folder / "vitals").write_text(script)
    arguments = run.split("/usr/local/sbin/dth-vitals ")[1].splitlines()[0].split()
    assert head
    Stranger(stranger.guarded, folder, {**stranger.env, **stack.role("WorkerRole")})("sh", "vitals", *arguments)
    found = stranger.guarded.root("cloudwatch").list_metrics(Namespace="CWAgent")["Metrics"]
    assert {one["MetricName"] for one in found} == {"mem_used_percent", "disk_used_percent"}
    assert {one["Dimensions"][0]["Value"] for one in found} == {stack.outputs["WorkerGroup"]}


def gone(guarded: Guarded, name: str) -> bool:
    """Whether the stack is deleted, in the end."""
    found = guarded.root("cloudformation").list_stacks()["StackSummaries"]
    (stack,) = [one for one in found if one["StackName"] == name]
    return bool(settled(guarded, stack["StackId"])["StackStatus"] == "DELETE_COMPLETE")


@pytest.mark.parametrize(("name", "published"), [(S3, False), (S3, True), (ECR, False)])
def test_the_originals_command_line_is_accepted(name: str, published: bool, stranger: Stranger) -> None:
    template = for_the_emulator(templates.read(name))
    if published:
        artefact = f"s3://my-artefacts/root.tar.gz#{'0' * 64}"
        template["Parameters"].get("artefact", {})["Default"] = artefact
    stranger.guarded.root("s3").put_object(Bucket="my-artefacts", Key="theirs.json", Body=json.dumps(template))
    called = {S3: "dth-s3-task", ECR: "dth-ecr-task"}[name]
    words = ["aws", "cloudformation", "create-stack", "--stack-name", called, "--capabilities", "CAPABILITY_NAMED_IAM"]
    words += ["--template-url", f"{stranger.guarded.endpoint}/my-artefacts/theirs.json", "--parameters"]
    stranger(*words, *(f"ParameterKey={key},ParameterValue={value}" for key, value in GUIDE[name].items()))
    stranger.made(called)
    if name == S3:
        on_ec2 = "AWS::AutoScaling::AutoScalingGroup" in stranger.kinds(called)
        assert on_ec2 == published  # without an artefact for instances, workers are containers
    stranger("aws", "cloudformation", "delete-stack", "--stack-name", called)
    assert gone(stranger.guarded, called)
