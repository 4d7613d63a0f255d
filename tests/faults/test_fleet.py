"""A fleet whose workers are killed again and again, on a queue that delivers twice, ends exactly."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dth.ledgers.dynamodb import DynamoLedger
from dth.ledgers.dynamodb_setup import make_table
from dth.queues.sqs import SqsQueue
from dth.queues.sqs_setup import make_queue
from dth.settings import TransferJob, job_id
from tests.e2e.corpus import corpus, fill, inventory, open_uploads
from tests.e2e.harness import Dth, environment
from tests.servers.aws import Aws, new_name
from tests.servers.s3server import S3Server

pytestmark = [pytest.mark.slow]

SEEDS = int(os.environ.get("DTH_TEST_SEEDS", "0"))  # `make fleet-faults SEEDS=5`; one small seed without
COUNT = 20_000 if SEEDS else 2_000
LARGE = COUNT // 100  # in parts
WORKERS = 4
FEWEST_KILLS = 15 if SEEDS else 2
MOST_KILLS = 30  # then the rest is left in peace
PATIENCE = 3600 if SEEDS else 280


@pytest.mark.parametrize("seed", range(max(SEEDS, 1)))
async def test_a_fleet_that_loses_workers_ends_with_an_equal_destination_and_exact_totals(
    seed: int, ministack: Aws, rgw: S3Server, tmp_path: Path
) -> None:
    dice = random.Random(seed)
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    await asyncio.to_thread(fill, rgw.client("a"), source, corpus(COUNT, seed=seed))
    for number in range(LARGE):
        body = dice.randbytes(6 << 20)
        await asyncio.to_thread(rgw.client("a").put_object, Bucket=source, Key=f"large/{number:04}", Body=body)
    name = new_name("fleet")
    env = {**environment(tmp_path, {"src-a": rgw, "dest-b": rgw}), **ministack.environment()}
    with ministack.ambient():
        url, _ = await make_queue(name, lease_seconds=10, receive_limit=20)
        await make_table(name)
        job = TransferJob(
            src_bucket=source, src_endpoint=rgw.endpoint, src_region=rgw.region, src_profile="src-a",
            dest_bucket=destination, dest_endpoint=rgw.endpoint, dest_region=rgw.region, dest_profile="dest-b",
            state=tmp_path / "state", queue=url, table=name, lease_seconds=10, pack_objects=20, worker_number=8,
            multipart_threshold=5 << 20, part_size=5 << 20,
        )  # fmt: skip
        fleet = Fleet(job, env, dice)
        queue = await SqsQueue.open(url, lease_seconds=10, message_bytes=100_000, receive_limit=20)
        ledger = await DynamoLedger.open(name)
        try:
            kills = await fleet.play(ledger)
            mend(job, env)
            (run,) = await ledger.runs(job_id(job), 10)
            depth = await queue.depth()
            letters = await queue.dead_letters(100)
        finally:
            fleet.end()
            await queue.close()
            await ledger.close()
    print(f"seed {seed}: {run.found} found, {run.counts}, {kills} kills, {depth}")  # noqa: T201
    assert kills >= FEWEST_KILLS
    assert run.found == run.counts.done + run.counts.skipped + run.counts.failed
    assert run.counts.failed == 0
    assert letters == []
    assert (depth.visible, depth.leased) == (0, 0)
    assert open_uploads(rgw.client("b"), destination) == []
    assert inventory(rgw.client("b"), destination) == inventory(rgw.client("a"), source)


class Fleet:
    """A finder and workers as processes, killed and replaced."""

    def __init__(self, job: TransferJob, env: dict[str, str], dice: random.Random) -> None:
        self._settings = job.model_dump_json(exclude_unset=True)
        self._job_id = job_id(job)
        self._env = {**env, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), env["PYTHONPATH"]])}
        self._dice = dice
        self._workers: list[subprocess.Popen[bytes]] = []

    def _start(self, verb: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "tests.faults.fleet_process", verb, self._settings]
        return subprocess.Popen(words, env=self._env, stdout=subprocess.DEVNULL)

    async def play(self, ledger: DynamoLedger) -> int:
        """Until the run is counted and all workers have ended by themselves; how many were killed."""
        finder = self._start("find")
        self._workers = [self._start("work") for _ in range(WORKERS)]
        kills, deadline, next_kill = 0, time.monotonic() + PATIENCE, time.monotonic() + 4
        over = False
        while not over or any(worker.poll() is None for worker in self._workers):
            assert time.monotonic() < deadline, f"not over after {PATIENCE} s: {await ledger.runs(self._job_id, 5)}"
            await asyncio.sleep(0.2)
            over = over or (finder.poll() is not None and await self._counted(ledger))
            if not over and kills < MOST_KILLS and time.monotonic() > next_kill:
                next_kill = time.monotonic() + self._dice.uniform(2, 4)
                victim = self._dice.randrange(WORKERS)
                self._workers[victim].kill()
                self._workers[victim].wait()
                kills += 1
                self._workers[victim] = self._start("work")
            for index, worker in enumerate(self._workers):
                if not over and worker.poll() is not None:  # the finder had not begun: nothing was under way yet
                    self._workers[index] = self._start("work")
        assert finder.returncode == 0
        return kills

    async def _counted(self, ledger: DynamoLedger) -> bool:
        runs = await ledger.runs(self._job_id, 5)
        return bool(runs) and all(run.counted for run in runs)

    def end(self) -> None:
        """Whatever happened, no process is left."""
        for worker in self._workers:
            worker.kill()
            worker.wait()


def mend(job: TransferJob, env: dict[str, str]) -> None:
    flags = ["--job-id", job_id(job), "--queue", job.queue, "--table", job.table, "--state", str(job.state), "--json"]
    Dth(env, flags)("complete-multipart")
