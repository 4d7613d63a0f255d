"""User data boots a bare machine to a worker: it moves a bucket, survives a kill, and gives its work back on shutdown."""

from __future__ import annotations

import hashlib
import http.server
import ssl
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.servers import tools
from tests.servers.aws import Aws
from tests.servers.aws_recorder import AwsRecorder
from tests.servers.nspawn import Machine
from tests.servers.podman import IMAGE, Podman
from tests.servers.processes import wait_until
from tests.servers.s3server import S3Server

from .corpus import inventory
from .harness import Dth, between

pytestmark = [pytest.mark.slow, pytest.mark.nspawn]
DEPLOY = Path(__file__).parents[2] / "deploy/ec2"
MIB = 1 << 20


@pytest.fixture(scope="module")
def artefact(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's file system: what `make image-root` makes, not compressed."""
    return exported(podman, tmp_path_factory.mktemp("artefact"))


def exported(podman: Podman, folder: Path) -> Path:
    """The file system of the image as one file in the folder."""
    target = folder / "dth.tar"
    name = f"export-{uuid.uuid4().hex[:8]}"
    podman("create", "-q", "--name", name, IMAGE)
    podman("export", "-o", str(target), name)
    podman("rm", name)
    return target


@contextmanager
def served(folder: Path, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The folder over HTTP, or over HTTPS."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def user_data(folder: Path, **values: str) -> Path:
    """The script with the lines before it that a launch template writes."""
    target = folder / "user-data.sh"
    lines = [f"{name}='{value}'" for name, value in values.items()]
    target.write_text("\n".join(["#!/bin/sh", *lines, (DEPLOY / "user-data.sh").read_text()]))
    return target


def test_a_machine_boots_to_a_worker_that_comes_back_when_killed_and_gives_back_its_work_when_shut_down(
    nspawn: Path, artefact: Path, ministack: Aws, rgw: S3Server, tmp_path: Path
) -> None:
    source, destination = rgw.make_bucket("a"), rgw.make_bucket("b")
    client = rgw.client("a")
    plain = between(tmp_path, rgw, rgw)
    name = f"dth-{uuid.uuid4().hex[:8]}"
    env = {**plain.env, **ministack.environment()}
    made = Dth(env, ["--json"])("init", name).events[-1]
    queue = ("--queue", made["queue"], "--table", name, "--src-bucket", source, "--dest-bucket", destination)
    dth = Dth(env, [*plain.flags, *queue])
    recorder = AwsRecorder(ministack.endpoint)
    credentials = (tmp_path / "credentials").read_text()
    settings = [
        f"DTH_QUEUE={recorder.url(made['queue'])}",
        f"DTH_TABLE={name}",
        f"DTH_SRC_BUCKET={source}",
        f"DTH_DEST_BUCKET={destination}",
        *settings_of(plain),
        "DTH_BANDWIDTH=4MiB",
        "DTH_GRACE_SECONDS=1",
        "DTH_PROCESSES=1",
        "DTH_LEASE_SECONDS=20",  # the poll of a worker that was killed may take a message with it
        "AWS_SHARED_CREDENTIALS_FILE=/var/lib/dth/credentials",
        *(f"{key}={value}" for key, value in ministack.environment().items()),
    ]
    put(client, source, {f"small/{number}": b"x" * number for number in range(200)})
    assert dth("find", "--pack-objects", "10").summary["found"] == 200
    with served(artefact.parent) as address, recorder:
        script = user_data(
            tmp_path,
            ARTEFACT=f"{address}/{artefact.name}",
            SHA256=hashlib.sha256(artefact.read_bytes()).hexdigest(),
            SETTINGS="\n".join(settings),
        )
        with script.open("a") as more:  # credentials by name, where the worker alone may read them
            more.write(
                f"mkdir -p /var/lib/private/dth\ncat >/var/lib/private/dth/credentials <<'EOF'\n{credentials}\nEOF\n"
            )
        machine = Machine.boot(nspawn, script, tmp_path)
        try:
            wait_until(lambda: done(dth) == 200, "the bucket moved", 60, machine.console)
            assert inventory(rgw.client("b"), destination) == inventory(client, source)
            security = machine("systemd-analyze", "security", "--no-pager", "dth-worker.service").splitlines()[-1]
            print(security)  # noqa: T201
            assert float(security.split(":")[1].split()[0]) < 1.6

            pid = machine.show("dth-worker", "MainPID")
            machine("sh", "-c", f"kill -KILL {pid}")
            wait_until(lambda: machine.show("dth-worker", "NRestarts") == "1", "the restart", 60, machine.console)
            put(client, source, {"after": b"the kill"})
            assert dth("find").summary["found"] == 1
            wait_until(lambda: done(dth) == 1, "what came after the kill", 60, machine.console)
            assert machine.show("dth-worker", "MainPID") not in {"0", pid}

            put(client, source, {f"large/{number}": bytes([number]) * (40 * MIB) for number in range(4)})
            assert dth("find", "--pack-objects", "1").summary["found"] == 4
            wait_until(lambda: depth(dth)["leased"] > 0, "work in hand", 60, machine.console)
            assert recorder.given_back == 0
            machine.power_off()
        finally:
            machine.end()
    assert recorder.given_back > 0, machine.console.read_text(errors="replace")[-6000:]
    assert dth("work", "--until-empty").summary["failed"] == 0
    assert inventory(rgw.client("b"), destination) == inventory(client, source)
    Dth(env, ["--json"])("init", name, "--delete")


def settings_of(plain: Dth) -> list[str]:
    """The flags of endpoints and profiles as settings."""
    words = plain.flags[: plain.flags.index("--state")]
    pairs = zip(words[::2], words[1::2], strict=True)
    return [f"DTH_{flag[2:].replace('-', '_').upper()}={value}" for flag, value in pairs]


def put(client: object, bucket: str, objects: dict[str, bytes]) -> None:
    for key, body in objects.items():
        client.put_object(Bucket=bucket, Key=key, Body=body)  # type: ignore[attr-defined]


def done(dth: Dth) -> int:
    return int(dth("status").events[0]["done"])


def depth(dth: Dth) -> dict[str, int]:
    found: dict[str, int] = dth("status").events[-1]
    return found


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"SHA256": "0" * 64, "ARTEFACT": "/proc/version"}, "nothing was installed"),
        ({"SHA256": "0" * 64, "ARTEFACT": "ftp://x/y"}, "cannot be fetched|is no s3"),
        ({"SHA256": "0" * 64, "ARTEFACT": "/etc/hostname", "ROLE": "wrker"}, "no role is called wrker"),
        ({"SHA256": "", "ARTEFACT": "/etc/hostname"}, "the SHA-256 digest of the artefact"),
    ],
)
def test_user_data_that_is_wrong_installs_nothing_and_says_why(
    values: dict[str, str], complaint: str, nspawn: Path, tmp_path: Path
) -> None:
    script = user_data(tmp_path, SETTINGS="DTH_JOB_ID=x", **values)
    words = [
        "systemd-nspawn",
        "-q",
        "-D",
        str(nspawn),
        "--register=no",
        "--keep-unit",
        "--volatile=overlay",
        "--console=pipe",
    ]
    words += [f"--bind-ro={script}:/s", "sh", "-c", "sleep() { :; }; . /s; ls /opt/dth/root"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode not in {0, 127}
    assert any(part in ended.stderr for part in complaint.split("|")), ended.stderr


@pytest.mark.tools
def test_the_boot_script_is_clean() -> None:
    tools.check("shellcheck", str(DEPLOY / "user-data.sh"))


def test_units_are_what_systemd_takes(tmp_path: Path) -> None:
    units = []
    for unit in (DEPLOY / "systemd").glob("dth-*.[st]*"):
        if unit.suffix not in {".service", ".timer"}:
            continue
        target = tmp_path / unit.name
        target.write_text(unit.read_text().replace("/usr/local/bin/dth", "/bin/true"))
        units.append(str(target))
    assert len(units) == 4
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False, timeout=60
    )
    assert (checked.returncode, checked.stderr) == (0, "")
