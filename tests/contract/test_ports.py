"""What the settings say of queue and ledger holds for those that a job opens, embedded or services."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from dth.app.ports import open_ports
from dth.embedded import StateFolder
from dth.settings import TransferJob, job_id
from tests.servers.aws import Aws, queue_url, table_name


@pytest.mark.parametrize("place", ["embedded", pytest.param("moto", marks=pytest.mark.moto)])
async def test_a_jobs_queue_is_opened_with_its_limits(
    request: pytest.FixtureRequest, place: str, tmp_path: Path
) -> None:
    aws: Aws | None = None if place == "embedded" else request.getfixturevalue(place)
    with aws.ambient() if aws else nullcontext():
        job = TransferJob(
            src_bucket="source",
            dest_bucket="destination",
            state=tmp_path,
            receive_limit=2,
            message_bytes=10_000,
            lease_seconds=7.0,
            queue=await queue_url() if aws else "",
            table=await table_name() if aws else "",
        )
        folder = StateFolder(tmp_path, job_id(job))
        folder.make()
        async with open_ports(job, folder, "me") as ports:
            assert ports.queue.message_bytes == 10_000
            await ports.queue.send(["poison"])
            for _ in range(2):
                (delivery,) = await ports.queue.receive(1, 1)
                assert delivery.lease_seconds == 7.0
                await ports.queue.release([delivery])
            assert await ports.queue.receive(1, 0) == []
            assert [letter.body for letter in await ports.queue.dead_letters(10)] == ["poison"]
