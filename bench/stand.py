"""What a benchmark stands on: the store, running, and the CPU time of whole process trees."""

import contextlib
import ctypes
import http.client
import json
import os
import resource
import select
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import build, tree
from bench.network import DEST_HOST, SOURCE_HOST, Link, Network, lossy, relay

_SAMPLE_SECONDS = 0.25  # between two looks at a tree's memory: one costs some ms, of our CPU and not of the tree's
_REAP_TRIES, _REAP_SECONDS = 100, 0.02
_PR_SET_CHILD_SUBREAPER = 36
_MEMORY = "/dev/shm"
HERE = Network()


@dataclass(frozen=True, slots=True)
class Store:
    """A running store, as clients see it. With a `certificate` it speaks HTTPS, and clients must trust that file.

    Both ends of a copy are this store under two names, so that no tool asks it to copy by itself. Clients run behind the
    words of `inside`, where they need them to reach it.
    """

    port: int
    certificate: Path | None = None
    direct_port: int = 0  # past the relay; 0: there is none
    link: Link | None = None
    aws: str = ""  # URL of the emulated AWS services, where a workload needs them

    @property
    def scheme(self) -> str:
        return "https" if self.certificate else "http"

    @property
    def source_host(self) -> str:
        return SOURCE_HOST if self.link else "127.0.0.1"

    @property
    def dest_host(self) -> str:
        return DEST_HOST if self.link else "localhost"

    @property
    def inside(self) -> list[str]:
        """Words before a client's command."""
        return self.link.inside(self.link.client) if self.link else []

    def stats(self) -> dict[str, int]:
        """What it counted since it was reset."""
        return self._reach(lambda: self._ask("GET", "/-/stats"))

    def reset(self) -> None:
        """Forget what was written and counted."""
        self._reach(lambda: self._ask("POST", "/-/reset"))

    def _reach(self, question: Callable[[], dict[str, int]]) -> dict[str, int]:
        return self.link.visit(self.link.store, question) if self.link else question()

    def _ask(self, method: str, path: str) -> dict[str, int]:
        connection: http.client.HTTPConnection
        port = self.direct_port or self.port
        if self.certificate:
            trusted = ssl.create_default_context(cafile=str(self.certificate))
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=trusted)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request(method, path)
            counts: dict[str, int] = json.load(connection.getresponse())
        finally:
            connection.close()
        return counts


@contextlib.contextmanager
def store(
    spaces: Sequence[str], *, remember: bool = True, network: Network = HERE, tls: bool = False
) -> Iterator[Store]:
    """A store with these key spaces (`BUCKET:PREFIX:COUNT:SIZE[:PER_FOLDER[:PART]]`), until the block ends."""
    folder = tempfile.TemporaryDirectory(prefix="dth-bench-")
    certificate = _certificate(Path(folder.name)) if tls else None
    command = [str(build.store(tls=tls)), *(["-r"] if remember else [])]
    command += ["-s", str(certificate)] if certificate else []
    for space in spaces:
        command += ["-k", space]
    with folder, contextlib.ExitStack() as stack:
        link = stack.enter_context(lossy(network.loss)) if network.loss else None
        if link:
            command = [*link.inside(link.store), *command, "-a", "0.0.0.0"]
        port = stack.enter_context(_running(command))
        if network.round_trip:
            far = stack.enter_context(relay(port, network.round_trip))
            yield Store(far, certificate, port, link)
        else:
            yield Store(port, certificate, 0, link)


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[int]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().split()[1])
        finally:
            process.send_signal(signal.SIGTERM)


def _certificate(folder: Path) -> Path:
    """A self-signed certificate and its key in one file, made anew each time."""
    pem, key = folder / "loopback.pem", folder / "loopback.key"
    names = f"subjectAltName=DNS:localhost,IP:127.0.0.1,IP:{SOURCE_HOST},IP:{DEST_HOST}"
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command = [*new, "-addext", names, "-keyout", str(key), "-out", str(pem)]
    subprocess.run(command, check=True, capture_output=True)
    pem.write_text(pem.read_text() + key.read_text())
    key.unlink()
    return pem


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run cost. CPU in seconds of the whole process tree. Bytes: `rss` is the peak of its largest process, exact;
    `tree_rss` that of all together, sampled."""

    user: float
    system: float
    wall: float
    rss: int
    tree_rss: int
    exit_code: int
    output: str

    @property
    def cpu(self) -> float:
        return self.user + self.system


def run(command: Sequence[str], env: Mapping[str, str], seconds: float = 600) -> Cost:
    """Run to the end and count. Children that outlive their parent come to us and count too.

    The environment is exactly `env` with PATH and a home (`{home}` in the command) that is empty and goes away, as does
    `{memory}`, a folder in memory. Killed with all its children after `seconds`, or where we are.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with contextlib.ExitStack() as stack:
        home, memory = (
            stack.enter_context(tempfile.TemporaryDirectory(prefix="dth-bench-", dir=place))
            for place in (None, _MEMORY if os.access(_MEMORY, os.W_OK) else None)
        )
        out = stack.enter_context(tempfile.TemporaryFile())
        full = {"PATH": os.environ["PATH"], "HOME": home, "AWS_EC2_METADATA_DISABLED": "true", **env}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.monotonic()
        process = subprocess.Popen(
            [part.replace("{home}", home).replace("{memory}", memory) for part in command],
            env=full,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        exit_code, rss, tree_rss = _wait(process, seconds)
        wall = time.monotonic() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # Not all of it: that may be large, and a process that we start begins with our peak of memory.
        out.seek(max(out.seek(0, os.SEEK_END) - 4000, 0))
        output = out.read().decode(errors="replace")
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return Cost(user, system, wall, rss, max(rss, tree_rss), exit_code, output)


def _wait(process: "subprocess.Popen[bytes]", seconds: float) -> tuple[int, int, int]:
    """Its exit code, and the peak memory of its largest process and of its whole tree. Killed with its session when
    overdue."""
    peak, overdue = 0, time.monotonic() + seconds
    try:
        with open(os.pidfd_open(process.pid), "rb") as ended:  # noqa: PTH123 - a descriptor, not a path
            while not select.select([ended], [], [], _SAMPLE_SECONDS)[0]:
                peak = max(peak, tree.memory(process.pid))
                if time.monotonic() > overdue:
                    os.killpg(process.pid, signal.SIGKILL)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        _reap(process.pid)
    return process.returncode, usage.ru_maxrss * 1024, peak


def _reap(group: int) -> None:
    """Wait for what it left behind, which is ours now: only who was waited for is counted."""
    for _ in range(_REAP_TRIES):
        try:
            pid, _ = os.waitpid(-group, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            time.sleep(_REAP_SECONDS)
