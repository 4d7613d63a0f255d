"""The original's ways to make a task, done by keyboard alone; what is kept is what the command line would have kept."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page
from typer.testing import CliRunner

import dth.cli.ecr_sync
import dth.cli.sync
from dth.cli.main import app
from dth.hub import forms
from dth.hub.schedule import parse_schedule
from dth.hub.states import TaskType
from dth.settings import JobBase, TransferJob
from tests.hub.hubs import alone

from .site import Site, settled

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FOCUSED = """() => {
    const focused = document.activeElement;
    return (focused.labels?.[0]?.innerText || focused.getAttribute('aria-label') || focused.innerText || '').trim();
}"""
PRESS = "press "
MOST_TABS = 120


def reach(page: Page, name: str) -> None:
    """Press Tab until the control of this name has the focus."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUSED) == name:
            return
    raise AssertionError(f"no Tab leads to {name}")


def walk(page: Page, steps: list[tuple[str, str]]) -> None:
    """From control to control ("": where the focus is). What stands beside a name is typed, or is keys to press: `press ArrowRight ArrowRight`."""
    for name, text in steps:
        if name:
            reach(page, name)
        if text.startswith(PRESS):
            for key in text.removeprefix(PRESS).split():
                page.keyboard.press(key)
        else:
            page.keyboard.type(text)


@dataclass(frozen=True)
class Flow:
    """A way through the form, and what somebody would have typed in a terminal."""

    name: str
    steps: list[tuple[str, str]]
    command: str
    schedule: str = ""
    kind: TaskType = TaskType.S3EC2
    extras: dict[str, str] = field(default_factory=dict)


OPEN = PRESS + "Enter"
ON = PRESS + "Space"
ALL = PRESS + "Control+A"
FLOWS = [
    Flow(
        "Amazon S3 in the own account, with events and cron",
        [
            ("Bucket", "photos"), ("Prefix", "2026/"), ("Kind of store", "Amazon S3"), ("Region", "eu-west-1"), ("Credentials", "src-keys"),
            ("3 more settings", OPEN), ("Requester pays", ON),
            ("Bucket", "backup"), ("Prefix", "copies/"), ("Region", "eu-central-1"), ("Credentials", "dest-keys"),
            ("Storage class", "INTELLIGENT_TIERING"), ("Strip the source prefix", ON),
            ("5 more settings", OPEN), ("ACL", "bucket-owner-full"), ("Encryption", "AWS KMS"), ("KMS key", "1234abcd"),
            ("9 more settings", OPEN), ("Events", "CreateAndDelete"), ("Metadata", ON),
            ("When I start it", PRESS + "ArrowRight ArrowRight ArrowRight"), ("Cron expression", ALL), ("", "30 2 * * 1-5"),
            ("Alarm e-mail (optional)", "me@example.org"),
            ("Capacity and network of a deployment", OPEN), ("Fewest workers", "1"), ("Most workers", "20"),
        ],
        "sync s3://photos/2026/ s3://backup/copies/ --src-type Amazon_S3 --src-region eu-west-1 --src-credentials src-keys"
        " --src-request-payer --dest-region eu-central-1 --dest-credentials dest-keys --dest-storage-class INTELLIGENT_TIERING"
        " --dest-acl bucket-owner-full-control --dest-sse AWS_KMS --dest-sse-kms-key-id 1234abcd --src-event CreateAndDelete"
        " --no-include-metadata",
        "30 2 * * 1-5 Europe/Berlin",
        extras={"alarmEmail": "me@example.org", "minCapacity": "1", "maxCapacity": "20"},
    ),
    Flow(
        "Aliyun OSS, once",
        [
            ("Bucket", "oss-bucket"), ("Kind of store", "Aliyun OSS"), ("Region", "cn-hangzhou"), ("Credentials", "oss-keys"),
            ("Bucket", "backup"), ("Region", "us-east-1"),
            ("When I start it", PRESS + "ArrowRight"), ("Date and time", "12012030"), ("", PRESS + "ArrowRight"), ("", "0330AM"),
        ],
        "sync s3://oss-bucket s3://backup --src-type Aliyun_OSS --src-region cn-hangzhou --src-credentials oss-keys --dest-region us-east-1",
        "once 2030-12-01T03:30 Europe/Berlin",
    ),
    Flow(
        "Tencent COS, at a fixed rate, without comparing",
        [
            ("Bucket", "cos-1250000000"), ("Kind of store", "Tencent COS"), ("Region", "ap-guangzhou"), ("Credentials", "cos-keys"),
            ("Bucket", "backup"), ("Region", "us-east-1"),
            ("4 more settings", OPEN), ("Skip comparing", ON),
            ("When I start it", PRESS + "ArrowRight ArrowRight"), ("Every", ALL), ("", "2"), ("Unit", "days"),
        ],
        "sync s3://cos-1250000000 s3://backup --src-type Tencent_COS --src-region ap-guangzhou --src-credentials cos-keys"
        " --dest-region us-east-1 --skip-compare",
        "every 2 days",
    ),
    Flow(
        "Qiniu Kodo, a list of prefixes",
        [
            ("Bucket", "kodo-bucket"), ("Kind of store", "Qiniu Kodo"), ("Region", "cn-east-1"), ("Credentials", "kodo-keys"),
            ("Bucket", "backup"), ("Region", "us-east-1"),
            ("9 more settings", OPEN), ("Prefix list", "lists/prefixes.txt"), ("Bucket of the prefix list", "logging-bucket"),
        ],
        "sync s3://kodo-bucket s3://backup --src-type Qiniu_Kodo --src-region cn-east-1 --src-credentials kodo-keys --dest-region us-east-1"
        " --src-prefix-list lists/prefixes.txt --src-prefix-list-bucket logging-bucket",
    ),
    Flow(
        "a store that speaks S3, by its endpoint",
        [
            ("Bucket", "minio-bucket"), ("Prefix", "in"), ("Endpoint", "https://minio.example:9000"), ("Credentials", "anonymous"),
            ("Bucket", "backup"), ("Region", "us-east-1"), ("Bandwidth", "64MiB"),
        ],
        "sync --job typed.toml --src-endpoint https://minio.example:9000 --src-credentials anonymous --dest-region us-east-1"
        " --bandwidth 64MiB",
    ),
    Flow(
        "ECR of another account, all images",
        [
            ("Kind of source", "Amazon ECR"), ("Region", "us-east-1"), ("Account", "123456789012"), ("Credentials", "ecr-keys"),
            ("Region", "cn-north-1"), ("Account", "210987654321"), ("Credentials", "china-keys"), ("Repository prefix", "mirror"),
            ("Untagged images", ON), ("When I start it", PRESS + "ArrowRight ArrowRight"), ("Every", ALL), ("", "1"), ("Unit", "days"),
        ],
        "ecr-sync --src-region us-east-1 --src-account-id 123456789012 --src-credentials ecr-keys --dest-region cn-north-1"
        " --dest-account-id 210987654321 --dest-credentials china-keys --dest-repository-prefix mirror --no-include-untagged",
        "every 1 days",
        TaskType.ECR,
    ),
    Flow(
        "public images, chosen ones",
        [
            ("Kind of source", "Public"), ("Registry", ""), ("Registry", "registry.example:5000"),
            ("Which images", "SELECTED"), ("Image list", "ubuntu:24.04,nginx:ALL_TAGS"),
        ],
        "ecr-sync --source-type Public --dest-registry registry.example:5000 --src-list SELECTED"
        " --src-image-list ubuntu:24.04,nginx:ALL_TAGS",
        "",
        TaskType.ECR,
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A hub without stores: what is made here is kept and not begun."""
    hub = alone(tmp_path_factory.mktemp("keyboard")).start()
    yield Site(hub, None, None, {})  # type: ignore[arg-type]
    hub.end()


def as_typed(argv: list[str], patch: pytest.MonkeyPatch) -> JobBase:
    """The whole job, defaults and all, that the command line makes of its arguments; it is not begun."""
    found: list[JobBase] = []

    class Enough(Exception):
        """The settings are known."""

    for module, name in ((dth.cli.sync, "load"), (dth.cli.ecr_sync, "load_image_settings")):
        load = getattr(module, name)

        def caught(*args: Any, load: Any = load, **others: Any) -> JobBase:
            found.append(load(*args, **others))
            raise Enough

        patch.setattr(module, name, caught)
    told = CliRunner().invoke(app, argv)
    patch.undo()
    assert found, told.output
    return found[0]


def whole(job: JobBase) -> dict[str, Any]:
    """Every setting of a job. The URLs of a command line replace prefixes; where there is none, that says nothing."""
    found = job.model_dump()
    if isinstance(job, TransferJob) and not job.src_prefix:
        del found["strip_src_prefix"]
    return found


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_a_task_is_made_by_keyboard_as_the_command_line_would_make_it(
    page: Page, site: Site, flow: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.goto(f"{site.hub.base}/tasks/new{'?type=ECR' if flow.kind is TaskType.ECR else ''}")
    settled(page)
    walk(page, [*flow.steps, ("Save without running", OPEN)])
    page.wait_for_url(re.compile("/tasks/[0-9a-f-]{36}$"))
    task_id = page.url.rpartition("/")[2]
    task = site.hub.task(task_id, "schedule settings { name value } parameters { ParameterKey ParameterValue }")
    assert (task["schedule"] or "") == flow.schedule
    assert parse_schedule(flow.schedule) or not flow.schedule
    parameters = {one["ParameterKey"]: one["ParameterValue"] for one in task["parameters"]}
    assert flow.extras.items() <= parameters.items()

    query = "query($id: ID!) { spellings(taskId: $id) { command jobFile } }"
    spelt = site.hub.ask(query, id=task_id)["spellings"]
    verb = flow.command.split()[0]
    typed_file = 'src_bucket = "minio-bucket"\nsrc_prefix = "in"\ndest_bucket = "backup"\n'
    for name, text in (("job.toml", spelt["jobFile"]), ("typed.toml", typed_file)):
        (tmp_path / name).write_text(text)
    for name in [name for name in os.environ if name.startswith(("DTH_", "AWS_"))]:
        monkeypatch.delenv(name)
    kept = whole(forms.job_of(flow.kind, {one["name"]: one["value"] for one in task["settings"]}))
    ways = {
        "as somebody types it": shlex.split(flow.command),
        "by its job file": [verb, "--job", "job.toml"],
        "by its command": shlex.split(spelt["command"].replace("\\\n", ""))[1:],
    }
    for way, argv in ways.items():
        with pytest.MonkeyPatch.context() as patch:
            monkeypatch.chdir(tmp_path)
            assert whole(as_typed(argv, patch)) == kept, way
