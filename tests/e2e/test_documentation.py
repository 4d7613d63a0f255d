"""Every command of the documentation is executed, as it stands there, one page after the other.

Names of servers become those of two emulators, and what stands for a name (QUEUE_URL) becomes one. Commands that run until
they are stopped are stopped once they listen to signals.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
import trustme

from tests.documentation import PAGES, ROOT, shell_lines, without_shell
from tests.servers import ministack as ministack_server
from tests.servers.ministack import ACCOUNT
from tests.servers.processes import free_ports, wait_until

from .harness import HANG_SECONDS, command, environment

pytestmark = [pytest.mark.slow, pytest.mark.ministack]
PROFILES = ("home", "backup", "global", "china", "oss", "lab", "minio", "new")
BUCKETS = ("photos", "backup", "photos-copy", "my-data", "my-copy", "my-oss-bucket", "lab")
STOPPED = r"^dth (hub(?! password)|work(?!.*--until-empty)|status .*--watch|complete-multipart .*--every)"
OTHER_CODES = {r"^dth verify .*--report": 3}
"""The page shows how differences are reported, and there is one."""
ELSEWHERE = {
    r"^dth ecr-sync": "test_fifty_images_go_to_ecr_and_come_back",
    r"^dth work --job-id mirror": "test_killed_workers_of_one_machine_lose_no_image",
    r"^dth hub password": "test_a_password_signs_in_and_wrong_ones_are_refused_and_then_not_even_looked_at",
}
"""What needs more than two stores, and the test that executes its like."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Two emulators, a home, and a folder to stand in."""

    env: dict[str, str]
    folder: Path
    first: str
    second: str

    def words(self, line: str) -> list[str]:
        """The command as it is executed here."""
        queue = f"{self.first}/{ACCOUNT}"
        for name, value in {
            "EVENT_QUEUE_URL": f"{queue}/photos-events",
            "QUEUE_URL": f"{queue}/photos",
            "TABLE_NAME": "photos",
            "--queue URL": f"--queue {queue}/dth",
            "https://minio.example:9000": self.second,
            "http://127.0.0.1:9000": self.first,
            "http://127.0.0.1:8333": self.second,
            "0.0.0.0:9464": f"127.0.0.1:{free_ports(1)[0]}",
            "--metrics 9464": f"--metrics {free_ports(1)[0]}",
            "--port 8480": f"--port {free_ports(1)[0]}",
            "8443": str(free_ports(1)[0]),
            "--host 0.0.0.0": "--host 127.0.0.1",
            "--src-type Aliyun_OSS": f"--src-type Aliyun_OSS --src-endpoint {self.first} --src-addressing path",
            "--objects 2000": "--objects 100",
            "/usr/local/bin/page-me": "/bin/true",
        }.items():
            line = re.sub(rf"(?<![\w:]){re.escape(name)}(?!\w)", value, line)
        more = ["--no-browser"] if line.startswith("dth hub") else []
        return [*command(), *shlex.split(line)[1:], *more]

    def run(self, line: str) -> tuple[int, str]:
        """Its exit code and what it said."""
        out = self.folder / "said"
        with out.open("wb") as file:
            process = subprocess.Popen(
                self.words(line), env=self.env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )
            try:
                if re.search(STOPPED, line):
                    wait_until(lambda: process.poll() is not None or listens(process.pid), line, HANG_SECONDS, out)
                    process.send_signal(signal.SIGTERM)
                process.wait(HANG_SECONDS)
            finally:
                process.kill()
                process.wait()
        return process.returncode, out.read_text(errors="replace")


def listens(pid: int) -> bool:
    """Whether it handles SIGTERM by now."""
    try:
        (caught,) = re.findall(r"SigCgt:\s+(\w+)", Path(f"/proc/{pid}/status").read_text())
    except (OSError, ValueError):
        return False
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("documentation")
    first, second = ministack_server.start(), ministack_server.start()
    env = environment(folder, {})
    sections = "".join(f"[{name}]\naws_access_key_id = test\naws_secret_access_key = test\n" for name in PROFILES)
    (folder / "credentials").write_text(sections)
    (folder / "photos.toml").write_text('src_bucket = "photos"\ndest_bucket = "photos-copy"\n')
    (folder / "config.yaml").write_text(
        "srcBucket: photos\nsrcPrefix: 2026/\ndestBucket: my-copy\noptions:\n  maxKeys: 1000\n"
    )
    env |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
    env |= {"AWS_ENDPOINT_URL": first.endpoint, "COLUMNS": "100"}
    for server in (first, second):
        client = boto3.client(
            "s3",
            endpoint_url=server.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        for bucket in BUCKETS:
            client.create_bucket(Bucket=bucket)
        if server is first:
            for bucket, key in (("photos", "2026/a.jpg"), ("photos", "in/a.jpg"), ("my-data", "2026/a"), ("lab", "a")):
                client.put_object(Bucket=bucket, Key=key, Body=b"content")
        client.close()
    stage = Stage(env, folder, first.endpoint, second.endpoint)
    authority = trustme.CA()
    certificate = authority.issue_cert("hub.example.org")
    certificate.private_key_pem.write_to_path(str(folder / "hub.key"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "hub.pem"))
    for line in ("dth init dth", "dth init photos-events", "dth sync s3://photos s3://backup --job-id photos"):
        code, said = stage.run(line)
        assert code == 0, said
    yield stage
    first.stop()
    second.stop()


def lines_by_page() -> dict[str, list[str]]:
    """Each command of `dth` where it comes first; a page removes what it made at its end."""
    seen: set[str] = set()
    found: dict[str, list[str]] = {}
    for page in PAGES:
        lines = [without_shell(line) for line in shell_lines(page)]
        new = [line for line in dict.fromkeys(lines) if line not in seen and line.startswith("dth ")]
        seen.update(new)
        if new:
            found[str(page.relative_to(ROOT))] = sorted(new, key=lambda line: line.endswith("--delete"))
    return found


def elsewhere(line: str) -> bool:
    return any(re.search(pattern, line) for pattern in ELSEWHERE)


@pytest.mark.parametrize("page", lines_by_page())
def test_every_command_of_a_page_does_what_the_page_says(page: str, stage: Stage) -> None:
    wrong = []
    lines = lines_by_page()[page]
    if any("QUEUE_URL" in line for line in lines):
        lines.insert(0, "dth init photos")  # a page before this one has removed it
    for line in lines:
        if elsewhere(line):
            continue
        code, said = stage.run(line)
        expected = {code for pattern, code in OTHER_CODES.items() if re.search(pattern, line)} or {0}
        if code not in ({0, 130} if re.search(STOPPED, line) else expected):
            wrong.append(f"{line}: exit {code}: {said[-700:]}")
    assert wrong == []


def test_what_is_executed_elsewhere_is() -> None:
    defined = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in ELSEWHERE.values() if f"def {name}(" not in defined] == []
