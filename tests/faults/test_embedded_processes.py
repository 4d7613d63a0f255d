"""Several processes share the embedded files, and any of them may be killed at any instruction."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from dth.ledgers.sqlite import SqliteLedger
from dth.model import Counts
from tests.faults.embedded_writers import BATCH, open_queue, outcome

ROUNDS = 6


async def start(program: str, path: Path, who: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.embedded_writers", program, str(path), str(who)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )


async def kill_in_the_middle(program: str, path: Path, who: int, pause: float) -> list[str]:
    """Kill the program after its first word and a pause; returns everything that it said."""
    process = await start(program, path, who)
    assert process.stdout
    try:
        async with asyncio.timeout(60):
            said = await process.stdout.readline()
        await asyncio.sleep(pause)
    finally:
        process.kill()
    rest = await process.stdout.read()
    assert await process.wait() == -9
    return [line for line in (said + rest).decode().splitlines(keepends=True) if line.endswith("\n")]


async def run_to_the_end(program: str, path: Path) -> list[str]:
    processes = [await start(program, path, who) for who in range(4)]
    outputs = await asyncio.gather(*(process.communicate() for process in processes))
    assert [process.returncode for process in processes] == [0] * 4
    return [output.decode() for output, _ in outputs]


def whole(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def test_a_sender_killed_at_any_moment_leaves_whole_batches_and_all_that_it_was_promised(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queue"
    chance = random.Random(1)
    promised: set[str] = set()
    for turn in range(ROUNDS):
        pauses = [chance.uniform(0, 0.1) for _ in range(2)]
        said = await asyncio.gather(
            *(kill_in_the_middle("send_for_ever", path, 2 * turn + n, pause) for n, pause in enumerate(pauses))
        )
        promised |= {line.strip() for lines in said for line in lines}
    assert whole(path)
    queue = await open_queue(path, "checker")
    batches: Counter[str] = Counter()
    while deliveries := await queue.receive(500, 0):
        batches.update(delivery.body.rsplit(":", 2)[0] for delivery in deliveries)
        await queue.ack(deliveries)
    assert (await queue.depth()).leased == 0
    await queue.close()
    assert len(promised) >= 2 * ROUNDS
    assert promised <= set(batches)
    assert set(batches.values()) == {BATCH}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM bodies").fetchone() == (0,)


async def test_a_recorder_killed_at_any_moment_leaves_counters_that_equal_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    chance = random.Random(2)
    promised: set[str] = set()
    for turn in range(ROUNDS):
        pauses = [chance.uniform(0, 0.1) for _ in range(2)]
        said = await asyncio.gather(
            *(kill_in_the_middle("record_for_ever", path, 2 * turn + n, pause) for n, pause in enumerate(pauses))
        )
        promised |= {line.strip() for lines in said for line in lines}
    assert whole(path)
    columns = "coalesce(sum(done), 0), coalesce(sum(skipped), 0), coalesce(sum(failed), 0), coalesce(sum(bytes), 0)"
    with closing(sqlite3.connect(path)) as connection:
        of_rows = connection.execute(f"SELECT {columns} FROM outcomes").fetchone()
        of_counters = connection.execute(f"SELECT {columns} FROM counters").fetchone()
        written = {row[0] for row in connection.execute("SELECT message_id FROM outcomes")}
    assert of_rows == of_counters
    assert promised
    assert promised <= written


async def test_counters_are_exact_when_four_processes_record_the_same_messages(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    in_force = set(await run_to_the_end("record_all", path))
    assert len(in_force) == 1  # everybody learned of the same first writers
    winners = in_force.pop().split()
    expected = sum((outcome(number, who).counts for number, who in enumerate(winners)), Counts())
    ledger = await SqliteLedger.open(path)
    assert [row.bitmap for n in range(200) if (row := await ledger.outcome(f"m{n}"))] == winners
    await ledger.close()
    with closing(sqlite3.connect(path)) as connection:
        sums = connection.execute("SELECT sum(done), sum(skipped), sum(failed), sum(bytes) FROM counters").fetchone()
    assert Counts(*sums) == expected


async def test_four_processes_work_a_queue_without_losing_or_sharing_a_message(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    queue = await open_queue(path, "sender")
    bodies = [str(number) for number in range(1000)]
    await queue.send(bodies)
    outputs = await run_to_the_end("work_all", path)
    assert Counter(line for output in outputs for line in output.split()) == Counter(bodies)
    depth = await queue.depth()
    assert (depth.visible, depth.leased, depth.dead) == (0, 0, 0)
    await queue.close()
