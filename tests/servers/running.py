"""A server that was started: its end, and, for developers, its life beyond one run of pytest.

With DTH_TEST_KEEP=1 servers stay up between runs, found again through `.servers/<kind>.json` at the project's root;
`python -m tests.servers.running` ends them all.
"""

import fcntl
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from .processes import alive, belongs, end
from .s3server import Account, S3Server

STATE = Path(__file__).parents[2] / ".servers"


@dataclass(frozen=True, slots=True)
class Running:
    """What to talk to and what to end."""

    server: S3Server
    folder: Path
    pids: tuple[int, ...]

    def stop(self) -> None:
        """Kill it, wait for its processes, remove its data."""
        self.server.close()
        end(self.pids, self.folder)


class Start(Protocol):
    """How a kind of server is started."""

    def __call__(self, folder: Path, *, keep: bool) -> Running:
        """Start with data in the empty `folder`; with `keep` it must outlive this process."""
        ...


def obtain(kind: str, start: Start) -> tuple[S3Server, Callable[[], None]]:
    """A server of that kind, and how to let go of it: a new one that ends then, or with DTH_TEST_KEEP the kept one."""
    if os.environ.get("DTH_TEST_KEEP") != "1":
        running = start(_new_folder(kind), keep=False)
        return running.server, running.stop
    STATE.mkdir(exist_ok=True)
    with (STATE / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs at once share one server
        kept = _load(kind)
        if kept is None or not all(alive(pid) and belongs(pid, kept.folder) for pid in kept.pids):
            if kept is not None:
                kept.stop()
            kept = start(_new_folder(kind), keep=True)
            _save(kind, kept)
    return kept.server, kept.server.close


def _new_folder(kind: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"dth-{kind}-"))


def _save(kind: str, running: Running) -> None:
    server = running.server
    fields = {
        "kind": server.kind,
        "endpoint": server.endpoint,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "region": server.region,
        "second": asdict(server.second) if server.second else None,
    }
    state = {"server": fields, "folder": str(running.folder), "pids": running.pids}
    (STATE / f"{kind}.json").write_text(json.dumps(state, indent=1))


def _load(kind: str) -> Running | None:
    path = STATE / f"{kind}.json"
    if not path.exists():
        return None
    state = json.loads(path.read_text())
    fields = state["server"]
    if fields["second"]:
        fields["second"] = Account(**fields["second"])
    return Running(S3Server(**fields), Path(state["folder"]), tuple(state["pids"]))


def end_kept() -> list[str]:
    """End every kept server; their kinds."""
    ended = []
    for path in sorted(STATE.glob("*.json")):
        running = _load(path.stem)
        if running is not None:
            running.stop()
            ended.append(path.stem)
        path.unlink()
    return ended


if __name__ == "__main__":
    print("ended:", ", ".join(end_kept()) or "nothing was kept")  # noqa: T201 - a command for developers
