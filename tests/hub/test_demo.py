"""One click on the first page: two stores are started, a task between them is made, run and verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from .hubs import HubProcess, Told, alone, until

pytestmark = [pytest.mark.seaweed, pytest.mark.slow]

START = "mutation { startDemo { id name state source { url } destination { url } latest { id kind } } }"
LATEST = "latest { state exitCode found done failed reconciles endedAt proofs { name count } }"


def stores_of(hub: HubProcess) -> list[int]:
    """The processes of the stores that this hub has started."""
    inside = str(hub.state / "hub" / "demo").encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if inside in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_a_first_task_is_made_run_and_verified_in_one_request(tmp_path: Path) -> None:
    hub = alone(tmp_path, "--demo").start()
    try:
        assert hub.ask("{ hub { demo } }") == {"hub": {"demo": True}}
        task = hub.ask(START)["startDemo"]
        assert task["source"]["url"] != task["destination"]["url"]
        done = hub.wait(task["id"], "DONE", "FAILED")
        assert done["state"] == "DONE", done
        latest = hub.task(task["id"], LATEST)["latest"]
        assert (latest["found"], latest["done"], latest["failed"], latest["reconciles"]) == (501, 501, 0, True)
        assert {"name": "equal", "count": 501} in latest["proofs"]

        again = hub.ask(START)["startDemo"]
        assert again["id"] == task["id"]
        with pytest.raises(Told) as told:
            hub.ask(START)
        assert told.value.code == "under_way"
        assert hub.wait(task["id"], "DONE", "FAILED")["latest"]["done"] == 0

        assert stores_of(hub)
        hub.kill()
        until(lambda: stores_of(hub) == [], lambda: str(stores_of(hub)))
        assert not (hub.state / "hub" / "demo").exists()
    finally:
        hub.end()
