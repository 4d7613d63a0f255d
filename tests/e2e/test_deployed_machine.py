"""The user data of a deployed launch template boots a machine to a worker that takes its work from the stack's queue."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.servers import templates, tools
from tests.servers.iam import Guarded
from tests.servers.nspawn import Machine
from tests.servers.podman import Podman
from tests.servers.processes import wait_until
from tests.servers.stacks import Deployed, account, deployed

from .harness import HANG_SECONDS
from .test_deployed import DEST, SOURCE, arrived, count, part
from .test_service import exported, served

pytestmark = [pytest.mark.slow, pytest.mark.ministack, pytest.mark.templates, pytest.mark.nspawn]
PARAMETERS = {
    "srcBucket": SOURCE, "srcInCurrentAccount": "true", "destBucket": DEST, "destPrefix": "copy", "launchType": "EC2",
    "destStorageClass": "STANDARD", "alarmEmail": "you@example.com",
}  # fmt: skip


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    with account() as running:
        yield running


def user_data(stack: Deployed) -> str:
    """What the launch template hands to an instance."""
    resources = stack.guarded.root("cloudformation").describe_stack_resources(StackName=stack.name)["StackResources"]
    (own,) = [one["PhysicalResourceId"] for one in resources if one["ResourceType"] == "AWS::EC2::LaunchTemplate"]
    found = stack.guarded.root("ec2").describe_launch_template_versions(LaunchTemplateId=own)
    (version,) = found["LaunchTemplateVersions"]
    return base64.b64decode(version["LaunchTemplateData"]["UserData"]).decode()


def logged(stack: Deployed) -> list[str]:
    """What the instances' log group holds."""
    found = stack.guarded.root("logs").filter_log_events(logGroupName=f"/dth/{stack.name}/worker")
    return [one["message"] for one in found["events"]]


def metrics(lines: list[str]) -> list[dict[str, Any]]:
    """Those of the lines that CloudWatch makes metrics of."""
    return [json.loads(line) for line in lines if line.startswith('{"_aws"')]


def aws(root: Path, folder: Path) -> dict[Path, str]:
    """The `aws` that an instance has: the real one, with an interpreter that nothing else in the machine sees."""
    (python,) = (root.parent / "rootfs/usr/bin").glob("python3.[0-9]*[0-9]")
    (packages,) = tools.folder().parent.glob("lib/python3*/site-packages")
    script = folder / "aws"
    script.write_text('#!/bin/sh\nPYTHONPATH=/opt/aws/packages exec /opt/aws/python -m awscli "$@"\n')
    script.chmod(0o755)
    return {python: "/opt/aws/python", packages: "/opt/aws/packages", script: "/usr/local/bin/aws"}


def surroundings(folder: Path, stack: Deployed, authority: trustme.CA) -> dict[Path, str]:
    """What an instance finds on AWS and not here: keys of its role, the services' addresses, an authority that it trusts."""
    trusted, manager = folder / "authority.pem", folder / "emulator.conf"
    authority.cert_pem.write_to_path(str(trusted))
    values = " ".join(f'"{name}={value}"' for name, value in stack.role("WorkerRole").items())
    manager.write_text(f"[Manager]\nDefaultEnvironment={values} DTH_PROCESSES=1\n")
    return {trusted: "/etc/ssl/certs/ca-certificates.crt", manager: "/etc/systemd/system.conf.d/emulator.conf"}


def test_an_instances_user_data_makes_a_worker_of_the_deployed_queue(
    nspawn: Path, podman: Podman, guarded: Guarded, tmp_path: Path
) -> None:
    s3 = guarded.root("s3")
    for bucket in (SOURCE, DEST):
        s3.create_bucket(Bucket=bucket)
    objects = {f"in/{number}": bytes([number]) * number for number in range(100)}
    for key, content in objects.items():
        s3.put_object(Bucket=SOURCE, Key=key, Body=content)
    (tmp_path / "artefact").mkdir()
    artefact = exported(podman, tmp_path / "artefact")
    digest = hashlib.sha256(artefact.read_bytes()).hexdigest()
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with (
        served(artefact.parent, tls) as address,
        deployed(
            guarded, templates.S3, "machines", {**PARAMETERS, "artefact": f"{address}/{artefact.name}#{digest}"}
        ) as stack,
    ):
        command, finder = part(stack, tmp_path / "finder", "finder", "FinderRole")
        finder(*command)
        script = tmp_path / "user-data.sh"
        script.write_text(user_data(stack))
        files = {**surroundings(tmp_path, stack, authority), **aws(nspawn, tmp_path)}
        machine = Machine.boot(nspawn, script, tmp_path, files)
        try:
            wait_until(lambda: count(guarded) >= len(objects), "objects", HANG_SECONDS, machine.console)
            assert machine.show("dth-worker", "ActiveState") == "active"
            wait_until(lambda: bool(logged(stack)), "lines in the log group", 120, machine.console)
            before = len(logged(stack))
            machine.power_off()
        finally:
            machine.end()
        assert len(logged(stack)) > before  # the last words, too
        assert metrics(logged(stack))
        assert arrived(guarded) == {key: hashlib.sha256(content).hexdigest() for key, content in objects.items()}
