"""`dth ecr-sync --enqueue` and `dth work`: workers that are killed are replaced, every image arrives, the counts are exact."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import FULL, HANG_SECONDS, Dth, environment
from tests.e2e.test_kills import processes_below
from tests.servers.aws import REGION, Aws, new_name
from tests.servers.registry import Pattern, Registry

pytestmark = [pytest.mark.slow]

JOB = ("--job-id", "mirror")
KILLS = 10 if FULL else 2
IMAGES = 600 if FULL else 24
LAYER = 1 << 20


@pytest.fixture
def source() -> Iterator[Registry]:
    with Registry() as registry:
        for number in range(IMAGES):
            layers = (Pattern(number, LAYER), b"shared by all" * 1000)
            ones = [registry.add_image(f"team{number % 5}/app", layers=(*layers, bytes([n]))) for n in range(2)]
            index = registry.add_index(f"team{number % 5}/app", f"v{number}", ones)
            registry.add_image(
                f"team{number % 5}/app", "", layers=(b"signed",), subject=index, artifactType="application/x-signature"
            )
        registry.faults.slow = (
            0.1  # s for 64 KiB: 1.6 an image, so that deaths come in its middle, however fast the machine
        )
        yield registry


class Workers:
    """`dth work`, whose children are killed; it replaces them."""

    def __init__(self, dth: Dth, folder: Path) -> None:
        words = dth.argv("work", *JOB, "--until-empty", "--processes", "2", "--lease-seconds", "5")
        self._told = folder / "work.log"  # a pipe that nobody reads would hold it up
        with self._told.open("wb") as log:
            self._parent = subprocess.Popen(words, env=dict(dth.env), stdout=log, stderr=log)
        self.killed = 0

    def kill(self, times: int, landed: Any) -> None:
        """Kill one child each time that something more has landed since there was one."""
        while self.killed < times:
            self._wait(self._children)
            before = landed()
            self._wait(lambda before=before: landed() > before)
            if children := self._children():
                os.kill(children[self.killed % len(children)], signal.SIGKILL)
                self.killed += 1

    def _children(self) -> list[int]:
        return [pid for pid in processes_below(self._parent.pid) if _is_worker(pid)]

    def _wait(self, happened: Any) -> None:
        deadline = time.monotonic() + HANG_SECONDS
        while not happened():
            assert self._parent.poll() is None, f"ended after {self.killed} kills: {self._tail()}"
            assert time.monotonic() < deadline, "nothing arrives"
            time.sleep(0.02)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exc: object) -> None:
        self._parent.kill()  # where a test failed; its children end with it
        self._parent.wait()

    def _tail(self) -> str:
        return self._told.read_text()[-3000:]

    def end(self) -> None:
        """Once all is over, and nothing failed."""
        self._parent.wait(HANG_SECONDS)
        assert self._parent.returncode == 0, f"exit {self._parent.returncode}: {self._tail()}"


def _is_worker(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text() == "dth-worker\n"
    return False


def test_killed_workers_of_one_machine_lose_no_image(source: Registry, tmp_path: Path) -> None:
    with Registry() as destination:
        places = ["--src-registry", source.address, "--dest-registry", destination.address]
        dth = Dth(environment(tmp_path, {}), ["--state", str(tmp_path / "state"), "--json"])
        planned = dth("ecr-sync", *places, *JOB, "--enqueue").summary
        assert planned["found"] == IMAGES
        with Workers(dth, tmp_path) as workers:
            workers.kill(KILLS, lambda: destination.received)
            workers.end()
        assert workers.killed == KILLS
        ends_exactly(dth)
        assert destination.content() == source.content()
        assert signatures(destination) == signatures(source)
        again = dth("ecr-sync", *places, *JOB, "--enqueue").summary
        assert again["found"] == 0


def test_killed_workers_of_a_fleet_lose_no_image_on_their_way_to_ecr(
    source: Registry, ministack: Aws, tmp_path: Path
) -> None:
    env = {**environment(tmp_path, {}), **ministack.environment()}
    made = Dth(env, ["--json"])("init", new_name("images")).events[-1]
    shared = ["--queue", made["queue"], "--table", made["table"]]
    dth = Dth(env, ["--state", str(tmp_path / "state"), "--json", *shared])
    prefix = new_name("mirror").lower()
    places = ["--src-registry", source.address, "--dest-region", REGION, "--dest-repository-prefix", prefix]
    planned = dth("ecr-sync", *places, *JOB, "--enqueue").summary
    assert planned["found"] == IMAGES
    with Workers(dth, tmp_path) as workers:
        workers.kill(KILLS, lambda: source.sent)
        workers.end()
    assert workers.killed == KILLS
    ends_exactly(dth)
    again = dth("ecr-sync", *places, *JOB, "--enqueue").summary
    assert (again["found"], again["exit_code"]) == (0, 0)
    client = ministack.client("ecr")
    there = {
        (name, tag): one["imageDigest"]
        for name in source.content()
        for one in client.describe_images(repositoryName=f"{prefix}/{name}")["imageDetails"]
        for tag in one.get("imageTags", [])
    }
    client.close()
    wanted = {(name, tag): digest for name, tags in source.content().items() for tag, digest in tags.items()}
    assert {key: digest for key, digest in there.items() if key in wanted} == wanted


def ends_exactly(dth: Dth) -> None:
    """The run is sealed and counted, and nothing is left in the queue."""
    run, queue = dth("status", *JOB).events
    assert run["state"] == "sealed"
    assert run["found"] == IMAGES == run["done"] + run["skipped"] + run["failed"]
    assert run["failed"] == 0
    assert (queue["visible"], queue["leased"], queue["dead"]) == (0, 0, 0)


def signatures(registry: Registry) -> dict[str, set[str]]:
    """Digests of all manifests by repository."""
    return {name: set(one.manifests) for name, one in registry.repositories.items()}
