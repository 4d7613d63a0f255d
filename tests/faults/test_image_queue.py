"""Images planned by one process and copied by others: what arrives, what is counted, and what the source says by then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dth.app.images.enqueue import enqueue_images as enqueue
from dth.cli.output.summary import details
from dth.errors import ConnectFailed, RunUnderWay, SettingsError, WrongJob
from dth.events import ListingProgress, RunSealed
from dth.ledgers.base import Run
from dth.ledgers.sqlite import SqliteLedger
from dth.queues.sqlite import SqliteQueue
from dth.settings import load_image_settings
from dth.states import RunState
from dth.summary import ExitCode
from tests.servers.imaging import JOB, enqueue_images, sync_images, work_images
from tests.servers.registry import Pattern, Registry, digest_of


@pytest.fixture
def source() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


@pytest.fixture
def destination() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry


async def runs(folder: Path) -> list[Run]:
    """The newest first."""
    ledger = await SqliteLedger.open(folder / JOB / "ledger.db")
    try:
        return await ledger.runs(JOB, 10)
    finally:
        await ledger.close()


async def letters(folder: Path) -> list[str]:
    queue = await SqliteQueue.open(
        folder / JOB / "queue.db", owner="test", lease_seconds=60, message_bytes=100_000, receive_limit=20
    )
    try:
        return [letter.reason for letter in await queue.dead_letters(100)]
    finally:
        await queue.close()


async def test_what_was_enqueued_workers_bring_byte_for_byte_and_a_second_plan_sends_nothing(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    one = source.add_image("team/app", layers=(b"one", b"shared"))
    two = source.add_image("team/app", layers=(b"two", b"shared", b""))
    source.add_index("team/app", "v1", [one, two])
    for number in range(5):
        source.add_image(f"other/{number}", "v1", layers=(b"shared" * 1000, f"own {number}".encode()))
    planned = await enqueue_images(tmp_path, source.address, destination.address)
    assert (planned.summary.exit_code, planned.summary.found) == (0, 6)
    assert set(destination.asked()) <= {"HEAD manifests", "GET ping"}, "planning writes nothing"
    with pytest.raises(RunUnderWay):
        await enqueue_images(tmp_path, source.address, destination.address)
    worked = await work_images(tmp_path)
    assert (worked.summary.done, worked.summary.failed, worked.summary.noun) == (6, 0, "image")
    assert destination.content() == source.content()
    assert sum(line["moved_bytes"] for line in worked.report) == destination.received
    assert sum(line["blobs_mounted"] for line in worked.report) == 4, "one process knows what it has brought already"
    (run,) = await runs(tmp_path)
    assert (run.state, run.found, run.counts.done, run.counts.bytes) == (RunState.SEALED, 6, 6, destination.received)
    assert run.reasons == {"missing": 6}
    destination.forget()
    again = await enqueue_images(tmp_path, source.address, destination.address)
    assert (again.summary.found, again.summary.exit_code) == (0, 0)
    assert not [one for one in destination.log if one[0] in {"PUT", "POST", "PATCH"}]


async def test_one_bad_image_fails_alone_and_only_its_run_says_so(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    for number in range(4):
        source.add_image(f"app{number}", "v1", layers=(f"layer {number}".encode() * 100,))
    source.faults.corrupt.add(digest_of(b"layer 2" * 100))
    await enqueue_images(tmp_path, source.address, destination.address)
    worked = await work_images(tmp_path, max_attempts=2)
    assert (worked.summary.done, worked.summary.failed, worked.summary.exit_code) == (3, 1, 3)
    assert {name.split("/", 1)[1]: code for name, code in worked.failures.items()} == {"app2:v1": "body_mismatch"}
    assert [line["attempt"] for line in worked.report if line["outcome"] == "failed"] == [2]
    assert len(await letters(tmp_path)) == 1
    assert "app2" not in destination.content()
    source.faults.corrupt.clear()
    again = await enqueue_images(tmp_path, source.address, destination.address)
    assert again.summary.found == 1
    assert (await work_images(tmp_path)).summary.failed == 0
    assert destination.content() == source.content()


async def test_an_image_that_cannot_be_compared_is_sent_and_fails_where_the_ledger_sees_it(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    source.add_image("app", "v1")
    given: dict[str, Any] = {"src_list": "SELECTED", "src_image_list": "app:v1, app:never, nowhere:v1"}
    planned = await enqueue_images(tmp_path, source.address, destination.address, **given)
    assert (planned.summary.found, len(planned.warnings)) == (3, 2)
    worked = await work_images(tmp_path)
    assert (worked.summary.done, worked.summary.failed) == (1, 2)
    assert set(worked.failures.values()) == {"not_found"}
    assert (await runs(tmp_path))[0].reasons == {"missing": 1, "uncompared": 2}


async def test_a_tag_that_moved_or_went_since_the_plan_ends_as_the_source_has_it_now(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    source.add_image("app", "moves", layers=(b"old",))
    source.add_image("app", "goes", layers=(b"gone",))
    pinned = source.add_image("app", "kept", layers=(b"kept",))
    names = f"app:moves, app:goes, app:kept@{pinned['digest']}"
    given: dict[str, Any] = {"src_list": "SELECTED", "src_image_list": names}
    assert (await enqueue_images(tmp_path, source.address, destination.address, **given)).summary.found == 3
    moved = source.add_image("app", "moves", layers=(b"new",))
    source.add_image("app", "kept", layers=(b"another",))
    del source.repositories["app"].tags["goes"]
    worked = await work_images(tmp_path)
    assert (worked.summary.done, worked.summary.skipped, worked.summary.failed) == (2, 1, 0)
    assert (worked.summary.gone, (await runs(tmp_path))[0].breakdown.skips) == (1, {"gone": 1})
    said = "\n".join(details(worked.summary, verbose=False))
    assert "1 image had been deleted since the listing" in said
    assert "equal digests" not in said
    assert destination.content() == {"app": {"moves": moved["digest"], "kept": pinned["digest"]}}


async def test_images_without_a_tag_go_by_digest(source: Registry, destination: Registry, tmp_path: Path) -> None:
    image = source.add_image("app", layers=(b"untagged",))
    given: dict[str, Any] = {"src_list": "SELECTED", "src_image_list": f"app@{image['digest']}"}
    assert (await enqueue_images(tmp_path, source.address, destination.address, **given)).summary.found == 1
    assert (await work_images(tmp_path)).summary.done == 1
    assert image["digest"] in destination.repositories["app"].manifests


@pytest.mark.parametrize("api", [True, False], ids=["referrers API", "fallback tag"])
async def test_signatures_follow_through_the_queue_and_a_new_one_brings_its_image_back_into_the_plan(
    source: Registry, destination: Registry, tmp_path: Path, *, api: bool
) -> None:
    destination.faults.referrers = api
    image = source.add_image("app", "v1")
    first = source.add_image("app", "", layers=(b"signed",), subject=image, artifactType="application/x-signature")
    await enqueue_images(tmp_path, source.address, destination.address)
    worked = await work_images(tmp_path)
    assert worked.summary.done == 1, "referrers are reported, not counted"
    assert [line["referrer_of"] for line in worked.report] == ["", first["digest"]]
    assert first["digest"] in destination.repositories["app"].manifests
    assert (await enqueue_images(tmp_path, source.address, destination.address)).summary.found == 0
    second = source.add_image("app", "", layers=(b"again",), subject=image, artifactType="application/x-signature")
    assert (await enqueue_images(tmp_path, source.address, destination.address)).summary.found == 1
    assert (await runs(tmp_path))[0].reasons == {"referrer": 1}
    assert (await work_images(tmp_path)).summary.done == 1
    assert second["digest"] in destination.repositories["app"].manifests
    if not api:
        tag = str(image["digest"]).replace(":", "-")
        fallback = destination.repositories["app"].tags[tag]
        index = json.loads(destination.repositories["app"].manifests[fallback][1])
        assert {one["digest"] for one in index["manifests"]} == {first["digest"], second["digest"]}
    assert (await enqueue_images(tmp_path, source.address, destination.address)).summary.found == 0


async def test_platforms_and_prefix_come_from_the_run_not_from_the_worker(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    ones = [
        {
            **source.add_image("app", layers=(name.encode(),)),
            "platform": {"os": "linux", "architecture": name},
        }
        for name in ("amd64", "arm64")
    ]
    source.add_index("app", "v1", ones)
    given: dict[str, Any] = {"platforms": "linux/amd64", "dest_repository_prefix": "mirror"}
    await enqueue_images(tmp_path, source.address, destination.address, **given)
    assert (await work_images(tmp_path)).summary.done == 1
    assert set(destination.repositories["mirror/app"].manifests) >= {ones[0]["digest"]}
    assert ones[1]["digest"] not in destination.repositories["mirror/app"].manifests
    assert (await enqueue_images(tmp_path, source.address, destination.address, **given)).summary.found == 0


async def test_images_of_several_registries_need_not_all_answer(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    with Registry() as other:
        source.add_image("app", "v1", layers=(b"one",))
        other.add_image("lib", "v1", layers=(b"two",))
        other.add_image("lib", "v2", layers=(b"three",))
        given: dict[str, Any] = {
            "src_list": "SELECTED", "src_image_list": f"app:v1, {other.host}/lib:v1, {other.host}/lib:v2",
            "insecure_registry": other.address,
        }  # fmt: skip
        planned = await enqueue_images(tmp_path, source.address, destination.address, **given)
        assert planned.summary.found == 3
        other.faults.fail = 10_000
        other.faults.only = lambda _method, path: path.endswith("v2")
        worked = await work_images(tmp_path, max_attempts=1)
    assert (worked.summary.done, worked.summary.failed) == (2, 1)
    assert set(destination.content()) == {"app", "lib"}


async def test_a_worker_of_another_job_gives_the_message_back_and_one_without_a_destination_too(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    source.add_image("app", "v1")
    with Registry() as gone:
        await enqueue_images(tmp_path, source.address, gone.address)
    with pytest.raises(WrongJob, match="src_bucket"):
        await work_images(tmp_path, src_bucket="photos", dest_bucket="copies")
    with pytest.raises(ConnectFailed):
        await work_images(tmp_path)
    (run,) = await runs(tmp_path)
    assert run.counts.ended == 0
    assert await letters(tmp_path) == []


async def test_a_plan_that_fails_leaves_its_run_abandoned_and_what_it_sent_is_copied(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    for number in range(6):
        source.add_image(f"app{number}", "v1")
    source.faults.page = 2
    source.faults.circle = True
    with pytest.raises(Exception, match="circle"):
        await enqueue_images(tmp_path, source.address, destination.address)
    (run,) = await runs(tmp_path)
    assert (run.state, run.found) == (RunState.ABANDONED, None)
    worked = await work_images(tmp_path)
    assert worked.summary.failed == 0
    source.faults.circle = False
    await enqueue_images(tmp_path, source.address, destination.address)
    await work_images(tmp_path)
    assert destination.content() == source.content()


async def test_a_plan_that_is_stopped_is_abandoned_and_the_next_one_sends_the_rest(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    for number in range(5):
        source.add_image(f"app{number}", "v1")
    stopped = await enqueue_images(tmp_path, source.address, destination.address, stop_at=ListingProgress)
    assert stopped.summary.exit_code == ExitCode.INTERRUPTED
    (run,) = await runs(tmp_path)
    assert (run.state, run.found) == (RunState.ABANDONED, None)
    assert (await enqueue_images(tmp_path, source.address, destination.address)).summary.found == 5
    await work_images(tmp_path)
    assert destination.content() == source.content()


async def test_a_repository_that_cannot_be_listed_stops_no_other_and_the_exit_code_says_so(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    source.add_image("app", "v1")
    source.add_image("bad", "v1")
    source.faults.fail = 10_000
    source.faults.only = lambda _method, path: "bad/tags" in path
    planned = await enqueue_images(tmp_path, source.address, destination.address)
    assert (planned.summary.found, planned.summary.exit_code) == (1, 3)
    assert [one.found for one in planned.events if isinstance(one, RunSealed)] == [1]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"prune": "true"}, "cannot be combined with --enqueue"),
        ({"repository_template": '{"nonsense": 1}'}, "nonsense"),
    ],
)
async def test_what_workers_could_not_do_is_refused_before_anything_is_sent(
    given: dict[str, str], text: str, tmp_path: Path
) -> None:
    job = load_image_settings({"state": str(tmp_path), **given}, {}, None)
    with pytest.raises(SettingsError, match=text):
        await enqueue(job, lambda _event: None, asyncio.Event())


async def test_copying_by_itself_with_a_fleets_queue_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="use --enqueue"):
        await sync_images(
            tmp_path,
            "http://127.0.0.1:9",
            "http://127.0.0.1:9",
            queue="https://sqs.us-east-1.amazonaws.com/123456789012/q",
            table="t",
        )


async def test_a_large_layer_goes_on_in_the_queue_as_without_it(
    source: Registry, destination: Registry, tmp_path: Path
) -> None:
    layer = Pattern(7, 20 << 20)
    source.add_image("app", "v1", layers=(layer,))
    source.faults.cut_reads = [70_000, layer.size // 2]
    await enqueue_images(tmp_path, source.address, destination.address)
    worked = await work_images(tmp_path)
    assert (worked.summary.done, worked.again) == (1, [])
    assert destination.content() == source.content()
