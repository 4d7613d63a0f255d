"""The policies of `dth policy`, enforced by an emulator: each suffices for its part, and every action in it is needed.

Each part runs once, under its policy; what it asks is recorded. An action is needed where the emulator refuses one of these
requests to a user whose policy lacks that action and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from dth.app import verbs
from dth.app.build import Lock, open_embedded
from dth.app.limit import change_limits
from dth.app.sides import open_store
from dth.errors import DthError
from dth.events import BytesMoved, Event
from dth.finder import checkpoint
from dth.ledgers.dynamodb_setup import make_table
from dth.policy import Role, policy
from dth.queues.sqs_setup import make_queue
from dth.settings import TransferJob
from dth.settings.identity import dest_location, source_location
from dth.stores.base import PutOptions
from tests.servers import aws_rules, iam
from tests.servers.aws import session_with_known_models
from tests.servers.iam import Asked, Guarded, Refusals, one_of_each

pytestmark = [pytest.mark.slow, pytest.mark.ministack]
MIB = 1 << 20
BATCHES = (
    "sqs:SendMessage",
    "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibility",
)  # AWS knows no action of their batches
_numbers = itertools.count(1)
Document = dict[str, Any]
ROOT: Document = {
    "Version": "2012-10-17",
    "Statement": [{"Sid": "All", "Effect": "Allow", "Action": ["*"], "Resource": ["*"]}],
}


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    with iam.started() as running:
        yield running


@dataclass(frozen=True, slots=True)
class Place:
    """A job of its own: `job` reaches everything through the proxy, `named` is the same as AWS would have it."""

    guarded: Guarded
    proxy: Refusals
    job: TransferJob
    named: TransferJob
    dead: str

    @property
    def queue(self) -> str:
        """Its URL at the emulator."""
        return self.dead.removesuffix("-dead")

    @contextlib.contextmanager
    def as_user(self, document: Document) -> Iterator[None]:
        """This process's environment is that of a new user with that policy."""
        with self.guarded.user(document) as env, pytest.MonkeyPatch.context() as patch:
            for name, value in {**env, "AWS_ENDPOINT_URL": self.proxy.endpoint}.items():
                patch.setenv(name, value)
            patch.setattr("aiobotocore.session.get_session", session_with_known_models)
            yield

    def run(self, role: Role, document: Document, events: list[Event], seconds: float = 60) -> str:
        """What the part of `role` does under the policy; how it ended ("" for complete). One that may not receive waits for
        ever: `seconds` end it."""
        with self.as_user(for_the_emulator(document)):
            self.proxy.refused.clear()
            try:
                return asyncio.run(asyncio.wait_for(self._part(role, events), seconds))
            except (DthError, TimeoutError) as error:
                return f"{type(error).__name__}: {error}"

    async def _part(self, role: Role, events: list[Event]) -> str:
        if ended := await PARTS[role](self, events):
            return ended
        if role in RARE:
            await RARE[role](self)
        return ""


async def _find(place: Place, events: list[Event]) -> str:
    done = await verbs.find(place.job, events.append, asyncio.Event(), dry_run=False)
    return "" if done.exit_code == 0 else f"exit {done.exit_code}"


async def _work(place: Place, events: list[Event]) -> str:
    settings = place.job.model_dump_json(exclude_unset=True)
    counts = await verbs.run_child(
        settings, "p/1", strict=True, until_empty=True, emit=events.append, stop=asyncio.Event()
    )
    return "" if counts.done else repr(counts)


async def _status(place: Place, events: list[Event]) -> str:
    (run,) = (await verbs.status(place.job)).runs
    await change_limits(place.job, lambda limits: replace(limits, paused=True))
    return "" if run.found else f"{events}"


async def _mend(place: Place, events: list[Event]) -> str:
    done = await verbs.complete_multipart(place.job, events.append, asyncio.Event(), every=0, older_than=0.001)
    if done.exit_code not in {0, 3}:
        return f"exit {done.exit_code}"
    sent = await verbs.redrive(place.job, events.append, asyncio.Event(), run_id="", prefix="", reason="", rate=0)
    return "" if sent.exit_code in {0, 3} else f"exit {sent.exit_code}"


async def _sync(place: Place, events: list[Event]) -> str:
    job = place.job.model_copy(update={"queue": "", "table": ""})
    done = await verbs.sync(job, events.append, asyncio.Event(), dry_run=False)
    return "" if done.exit_code == 0 else f"exit {done.exit_code}"


PARTS = {Role.FINDER: _find, Role.WORKER: _work, Role.OPERATOR: _status, Role.MULTIPART: _mend, Role.HUB: _sync}


def for_the_emulator(document: Document) -> Document:
    """It asks for actions that AWS does not have, those of batches."""
    changed: Document = json.loads(json.dumps(document))
    for one in changed["Statement"]:
        one["Action"] += [f"{action}Batch" for action in one["Action"] if action in BATCHES]
    return changed


def without(document: Document, sid: str, action: str) -> Document:
    changed: Document = json.loads(json.dumps(document))
    for one in changed["Statement"]:
        if one["Sid"] == sid:
            one["Action"].remove(action)
    changed["Statement"] = [one for one in changed["Statement"] if one["Action"]]
    return changed


@contextlib.contextmanager
def made(guarded: Guarded, folder: Path, **settings: Any) -> Iterator[Place]:
    """Buckets, a queue with dead letters and a table; in the source a small object, one of parts, one for all workers."""
    number = next(_numbers)
    names = [f"source-{number}", f"dest-{number}", f"queue-{number}", f"table-{number}"]
    source, dest, queue, table = names
    s3 = guarded.root("s3")
    for bucket in (source, dest):
        s3.create_bucket(Bucket=bucket)
    for key, size in {"in/small": 10, "in/large": 6 * MIB, "in/giant": 11 * MIB}.items():
        s3.put_object(Bucket=source, Key=key, Body=bytes(size), Tagging="a=b" if settings else "")
    if settings:
        s3.put_object(Bucket=dest, Key="in/extra", Body=b"to be deleted")
    root = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch, Refusals(guarded.endpoint) as proxy:
        for name, value in {**root, "AWS_ENDPOINT_URL": guarded.endpoint}.items():
            patch.setenv(name, value)
        patch.setattr("aiobotocore.session.get_session", session_with_known_models)

        async def services() -> tuple[str, str]:
            await make_table(table)
            return await make_queue(queue, lease_seconds=30, receive_limit=5)

        url, dead = asyncio.run(services())
        public = f"https://sqs.us-east-1.amazonaws.com{urlsplit(url).path}"
        common: dict[str, Any] = {
            "job_id": f"job-{number}",
            "table": table,
            "src_bucket": source,
            "src_prefix": "in/",
            "src_region": "us-east-1",
            "dest_bucket": dest,
            "dest_region": "us-east-1",
            **settings,
        }
        job = TransferJob(
            **common,
            queue=proxy.endpoint + urlsplit(url).path,
            src_endpoint=proxy.endpoint,
            dest_endpoint=proxy.endpoint,
            src_type="S3_Compatible",
            dest_type="S3_Compatible",
            server_side_copy=False,
            part_size=5 * MIB,
            multipart_threshold=5 * MIB,
            giant_threshold=10 * MIB,
            lease_seconds=1.5,
            processes=1,
            state=folder / "state",
        )
        yield Place(guarded, proxy, job, TransferJob(**common, queue=public), dead)


def prepare(place: Place, role: Role) -> None:
    """What a part finds when it begins, done by root: for those who work on messages a run, and something that is none."""
    if role in {Role.FINDER, Role.HUB}:
        return
    assert place.run(Role.FINDER, ROOT, []) == ""
    if role is Role.WORKER:
        place.guarded.root("sqs").send_message(QueueUrl=place.queue, MessageBody="garbage")


def bereave(place: Place) -> None:
    """What others left who died, done by root: uploads that are begun, of a source that is another by now, and a dead letter."""
    s3, client = place.guarded.root("s3"), place.guarded.root("sqs")
    s3.put_object(Bucket=place.job.src_bucket, Key="in/large", Body=b"x" * (6 * MIB))
    s3.put_object(Bucket=place.job.src_bucket, Key="in/giant", Body=b"x" * (11 * MIB))
    prepare(place, Role.MULTIPART)
    (message,) = client.receive_message(QueueUrl=place.queue, MaxNumberOfMessages=1)["Messages"]
    client.send_message(QueueUrl=place.queue + "-dead", MessageBody=message["Body"])
    client.delete_message(QueueUrl=place.queue, ReceiptHandle=message["ReceiptHandle"])
    with place.as_user(ROOT):
        asyncio.run(_killed(place))
    s3.put_object(Bucket=place.job.src_bucket, Key="in/large", Body=b"y" * (6 * MIB))


async def _killed(place: Place) -> None:
    """A worker that dies while the parts of an object move."""
    settings, moving = place.job.model_dump_json(exclude_unset=True), asyncio.Event()

    def emit(event: Event) -> None:
        if isinstance(event, BytesMoved):
            moving.set()

    worker = asyncio.create_task(
        verbs.run_child(settings, "p/0", strict=True, until_empty=True, emit=emit, stop=asyncio.Event())
    )
    await asyncio.wait_for(moving.wait(), 60)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def _after_rare_deaths(place: Place) -> None:
    """What is asked only where a creation's answer got lost, where parts are there already, or where all messages of parts
    are lost."""
    source = open_store(source_location(place.job), place.job, 1)
    try:
        assert (await source.head("in/small")).generation.size == 10
    finally:
        await source.close()
    store = open_store(dest_location(place.job), place.job, 1)
    try:
        upload = await store.create_upload("in/rare", PutOptions())
        assert [one.upload_id async for one in store.open_uploads("in/rare")] == [upload]
        assert [one async for one in store.uploaded_parts("in/rare", upload)] == []
        await store.abort_upload("in/rare", upload)
    finally:
        await store.close()


async def _forget_checkpoint(place: Place) -> None:
    """What a finder does at its end where one before it died far into a long listing."""
    async with open_embedded(place.job, lock=Lock.NONE) as here:
        await checkpoint.forget(here.ledger, here.job_id)


RARE: dict[Role, Callable[[Place], Awaitable[None]]] = {
    Role.FINDER: _forget_checkpoint,
    Role.WORKER: _after_rare_deaths,
    Role.MULTIPART: _after_rare_deaths,
    Role.HUB: _after_rare_deaths,
}
ROLES = (Role.FINDER, Role.WORKER, Role.MULTIPART, Role.OPERATOR, Role.HUB)
EXTRA: dict[Role, dict[str, Any]] = {Role.HUB: {"tags": True, "delete": True, "verify": "full"}}
"""Settings that bring actions of their own, tried with one part for all."""
SAMPLE: dict[str, Any] = {
    "job_id": "j", "queue": "https://sqs.us-east-1.amazonaws.com/000000000000/q", "table": "t", "src_bucket": "src",
    "src_prefix": "in/", "src_region": "us-east-1", "dest_bucket": "dst", "dest_region": "us-east-1",
}  # fmt: skip
NEEDED = [
    (role, statement["Sid"], action)
    for role in ROLES
    for statement in policy(role, TransferJob(**SAMPLE, **EXTRA.get(role, {})))["Statement"]
    for action in statement["Action"]
]
OPTIONAL = "HEAD /dest-"  # of a destination object: without s3:GetObject there, dth lists instead


def optional(asked: Asked) -> bool:
    return f"{asked.method} {asked.path}".startswith(OPTIONAL)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a part asked under its policy: one request of each kind."""

    document: Document
    asked: list[Asked]


@pytest.fixture(scope="module")
def recorded(guarded: Guarded, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Role], Recorded]:
    """Runs each part once."""
    known: dict[Role, Recorded] = {}

    def run(place: Place, role: Role, document: Document) -> list[Asked]:
        events: list[Event] = []
        place.proxy.asked.clear()
        assert place.run(role, document, events) == "", (place.proxy.refused, events[-5:])
        assert [one for one in place.proxy.refused if not one.startswith(OPTIONAL)] == []
        return list(place.proxy.asked)

    def record(role: Role) -> Recorded:
        if role not in known:
            with made(guarded, tmp_path_factory.mktemp(role), **EXTRA.get(role, {})) as place:
                document = policy(role, place.named)
                asked = []
                if role is not Role.MULTIPART:
                    prepare(place, role)
                    asked += run(place, role, document)
                if role in {Role.WORKER, Role.MULTIPART}:
                    bereave(place)
                    asked += run(place, role, document)
                known[role] = Recorded(document, [one for one in one_of_each(asked) if not optional(one)])
        return known[role]

    return record


@pytest.mark.parametrize("role", ROLES)
def test_the_policy_of_a_part_suffices(role: Role, guarded: Guarded, recorded: Callable[[Role], Recorded]) -> None:
    found = recorded(role)
    with guarded.user(for_the_emulator(found.document)) as env:
        assert [one for one in found.asked if one.send(guarded.endpoint, env)] == []


@pytest.mark.parametrize(("role", "sid", "action"), NEEDED, ids=str)
def test_each_action_of_a_policy_is_needed(
    role: Role, sid: str, action: str, guarded: Guarded, recorded: Callable[[Role], Recorded]
) -> None:
    found = recorded(role)
    service, name = action.split(":")
    likely_first = sorted(found.asked, key=lambda one: name not in one.target)
    with guarded.user(for_the_emulator(without(found.document, sid, action))) as env:
        refused = any(one.send(guarded.endpoint, env) for one in likely_first if one.service == service)
    assert refused, f"nothing that {role} asks needs {action} on {sid}"


KEY = "arn:aws:kms:us-east-1:000000000000:key/k"
WRITTEN = {"dest_acl": "bucket-owner-full-control", "dest_sse": "AWS_KMS", "dest_sse_kms_key_id": KEY}
BY_RULE = [
    ("DestinationObjects", "s3:PutObjectAcl"),
    ("DestinationKey", "kms:GenerateDataKey"),
    ("DestinationKey", "kms:Decrypt"),
]
"""What AWS asks for where objects get an ACL and a key; the emulator does not (`tests.servers.aws_rules`)."""


def test_what_acls_and_keys_need_is_in_the_policy_and_nothing_else(guarded: Guarded, tmp_path: Path) -> None:
    with made(guarded, tmp_path, **WRITTEN) as place:
        document = policy(Role.HUB, place.named)
        events: list[Event] = []
        assert place.run(Role.HUB, document, events) == "", (place.proxy.refused, events[-5:])
        needs = aws_rules.demands(place.proxy.asked, {}, KEY)
    assert {action for _, action in BY_RULE} == {need.action for need in needs}
    assert aws_rules.permits(document, needs)
    for sid, action in BY_RULE:
        assert not aws_rules.permits(without(document, sid, action), needs), action
    plain = policy(Role.HUB, TransferJob(**SAMPLE))
    held = {action for statement in plain["Statement"] for action in statement["Action"]}
    assert not held & {action for _, action in BY_RULE}


GUIDE_SOURCE = ("s3:GetObject", "s3:ListBucket")
GUIDE_DESTINATION = (
    "s3:PutObject", "s3:ListBucket", "s3:PutObjectAcl", "s3:AbortMultipartUpload", "s3:ListBucketMultipartUploads",
    "s3:ListMultipartUploadParts",
)  # fmt: skip


def test_a_sync_needs_no_more_than_the_guides_two_minimal_policies(guarded: Guarded, tmp_path: Path) -> None:
    with made(guarded, tmp_path) as place:
        document: Document = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "dth",
                    "Effect": "Allow",
                    "Action": list(actions),
                    "Resource": [f"arn:aws:s3:::{bucket}/*", f"arn:aws:s3:::{bucket}"],
                }
                for bucket, actions in (
                    (place.job.src_bucket, GUIDE_SOURCE),
                    (place.job.dest_bucket, GUIDE_DESTINATION),
                )
            ],
        }
        job = place.job.model_copy(update={"queue": "", "table": ""})
        with place.as_user(document):
            done = asyncio.run(verbs.sync(job, lambda _: None, asyncio.Event(), dry_run=False))
        assert (done.exit_code, done.runs[0].done) == (0, 3)
        s3 = guarded.root("s3")
        for key in ("in/small", "in/large", "in/giant"):
            both = [
                s3.get_object(Bucket=bucket, Key=key)["Body"].read() for bucket in (job.src_bucket, job.dest_bucket)
            ]
            assert both[0] == both[1]
