"""What a benchmark stands on: the store, running, and the CPU time of whole process trees."""

import contextlib
import ctypes
import http.client
import json
import os
import platform
import resource
import select
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import build, tree

_SAMPLE_SECONDS = 0.25  # between two looks at a tree's memory: one costs some ms, of our CPU and not of the tree's
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Store:
    """A running store. With a `certificate` it speaks HTTPS, and clients must trust that file."""

    port: int
    certificate: Path | None = None

    @property
    def scheme(self) -> str:
        return "https" if self.certificate else "http"

    def stats(self) -> dict[str, int]:
        """What it counted since it was reset."""
        return self._ask("GET", "/-/stats")

    def reset(self) -> None:
        """Forget what was written and counted."""
        self._ask("POST", "/-/reset")

    def _ask(self, method: str, path: str) -> dict[str, int]:
        connection: http.client.HTTPConnection
        if self.certificate:
            trusted = ssl.create_default_context(cafile=str(self.certificate))
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=trusted)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path)
            counts: dict[str, int] = json.load(connection.getresponse())
        finally:
            connection.close()
        return counts


@contextlib.contextmanager
def store(spaces: Sequence[str], *, remember: bool = True, latency_ms: int = 0, tls: bool = False) -> Iterator[Store]:
    """A store with these key spaces (`BUCKET:PREFIX:COUNT:SIZE[:PER_FOLDER[:PART]]`), until the block ends."""
    certificate = _certificate() if tls else None
    command = [str(build.store(tls=tls)), "-l", str(latency_ms), *(["-r"] if remember else [])]
    command += ["-s", str(certificate)] if certificate else []
    for space in spaces:
        command += ["-k", space]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Store(int(process.stdout.readline().split()[1]), certificate)
        finally:
            process.send_signal(signal.SIGTERM)


def _certificate() -> Path:
    """A self-signed certificate and its key in one file, for loopback only, made anew each time."""
    build.OUT.mkdir(exist_ok=True)
    pem, key = build.OUT / "loopback.pem", build.OUT / "loopback.key"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
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

    The environment is exactly `env` with PATH and a home that is empty and goes away.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with tempfile.TemporaryDirectory(prefix="dth-bench-") as home, tempfile.TemporaryFile() as out:
        full = {"PATH": os.environ["PATH"], "HOME": home, "AWS_EC2_METADATA_DISABLED": "true", **env}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.monotonic()
        process = subprocess.Popen(
            [part.replace("{home}", home) for part in command],
            env=full,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        exit_code, rss, tree_rss = _wait(process, seconds)
        wall = time.monotonic() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        out.seek(0)
        output = out.read()[-4000:].decode(errors="replace")
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return Cost(user, system, wall, rss, max(rss, tree_rss), exit_code, output)


def _wait(process: "subprocess.Popen[bytes]", seconds: float) -> tuple[int, int, int]:
    """Its exit code, and the peak memory of its largest process and of its whole tree. Killed with its session when
    overdue."""
    peak, overdue = 0, time.monotonic() + seconds
    with open(os.pidfd_open(process.pid), "rb") as ended:  # noqa: PTH123 - a descriptor, not a path
        while not select.select([ended], [], [], _SAMPLE_SECONDS)[0]:
            peak = max(peak, tree.memory(process.pid))
            if time.monotonic() > overdue:
                os.killpg(process.pid, signal.SIGKILL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * 1024, peak


def machine() -> dict[str, str | int]:
    """What the figures depend on, and nothing that names the machine."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")), "")
    return {
        "cpu": model or platform.machine(),
        "cores": os.cpu_count() or 0,
        "kernel": os.uname().release.partition("-")[0],
    }
