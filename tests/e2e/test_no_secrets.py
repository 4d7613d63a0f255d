"""No secret that a run uses is in anything that others may read: output, reports, state, command lines, queue, table.

Runs with `-vv`, with failures of every side, on this machine and as a fleet, and with images. What is allowed: the ledger on
this machine holds the key of its own runs, in a file that is its owner's alone.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.servers import ministack as ministack_server
from tests.servers.ministack import Ministack
from tests.servers.registry import Registry

from .harness import HANG_SECONDS, command, environment
from .test_kills import processes_below

pytestmark = [pytest.mark.slow, pytest.mark.ministack]

SECRETS = {
    "key of the source": "aaS0urceSecretKey/with+odd=characters",
    "token of the source": "aaSourceSessionToken0123456789/+=",
    "key of the destination": "bbDestinationSecretKey/with+odd=chars",
    "key of the environment": "ccEnvironmentSecretKey/with+odd=chars",
    "token of the environment": "ccEnvironmentSessionToken0123456789",
    "password of the source's registry": "ddSource:Registry%Password",
    "password of the destination's registry": "eeDestination@RegistryPassword",
    "password of the proxy": "ffProxyPassword",
}
USER = "somebody"
LONG = "k" * 1000  # together with the destination's prefix it is longer than any key


class Said:
    """Everything that was seen, by where it was seen."""

    def __init__(self) -> None:
        self.seen: dict[str, bytes] = {}

    def run(self, env: dict[str, str], *words: str, expect: int, stdin: str = "") -> str:
        """Run `dth`; keep its output and the command lines of its whole tree."""
        name = " ".join(words[:2]) + f" #{len(self.seen)}"
        process = subprocess.Popen(
            [*command(), *words], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        lines: set[bytes] = set()
        watching = threading.Thread(target=self._watch, args=(process, lines))
        watching.start()
        out, err = process.communicate(stdin.encode(), HANG_SECONDS)
        watching.join()
        assert process.returncode == expect, (words, process.returncode, out[-2000:], err[-2000:])
        assert lines
        self.seen |= {f"{name}: output": out, f"{name}: errors": err, f"{name}: command lines": b"\n".join(lines)}
        return out.decode()

    @staticmethod
    def _watch(process: subprocess.Popen[bytes], lines: set[bytes]) -> None:
        while process.poll() is None:
            for pid in [process.pid, *processes_below(process.pid)]:
                try:
                    lines.add(Path(f"/proc/{pid}/cmdline").read_bytes())
                except OSError:
                    continue  # it has ended
            time.sleep(0.05)

    def add_files(self, folder: Path) -> None:
        """Every file below the folder."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.seen[str(path)] = path.read_bytes()

    def holding(self, secret: str) -> list[str]:
        """Where a secret is, in any of the forms in which it may travel."""
        login = base64.b64encode(f"{USER}:{secret}".encode()).decode()
        alone = base64.b64encode(secret.encode()).decode().rstrip("=")
        forms = {secret, login, alone, urllib.parse.quote(secret), urllib.parse.quote(secret, safe="")}
        escaped = {json.dumps(form)[1:-1] for form in forms} | {repr(form)[1:-1] for form in forms}
        return [where for where, text in self.seen.items() if any(one.encode() in text for one in forms | escaped)]


@pytest.fixture(scope="module")
def services() -> Iterator[Ministack]:
    started = ministack_server.start()
    yield started
    started.stop()


def a_home(folder: Path, services: Ministack) -> dict[str, str]:
    """The environment: profiles of both sides in a file, keys of the services in the environment itself."""
    env = environment(folder, {})
    (folder / "credentials").write_text(
        f"[source]\naws_access_key_id = SOURCE\naws_secret_access_key = {SECRETS['key of the source']}\n"
        f"aws_session_token = {SECRETS['token of the source']}\n"
        f"[dest]\naws_access_key_id = DEST\naws_secret_access_key = {SECRETS['key of the destination']}\n"
    )
    return {
        **env,
        "AWS_ACCESS_KEY_ID": "AMBIENT",
        "AWS_SECRET_ACCESS_KEY": SECRETS["key of the environment"],
        "AWS_SESSION_TOKEN": SECRETS["token of the environment"],
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": services.endpoint,
        "DTH_PROCESSES": "1",
        "DTH_REPORT_LEVEL": "all",
    }


def client(service: str, services: Ministack) -> Any:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    return boto3.client(service, endpoint_url=services.endpoint, **keys)


def test_no_secret_is_in_anything_that_a_run_leaves_or_shows(services: Ministack, tmp_path: Path) -> None:
    s3, said = client("s3", services), Said()
    for bucket in ("source", "dest"):
        s3.create_bucket(Bucket=bucket)
    for key in ("a", "b/c", LONG):
        s3.put_object(Bucket="source", Key=key, Body=b"content", Metadata={"who": "me"})
    home, out = tmp_path / "home", tmp_path / "out"
    home.mkdir()
    out.mkdir()
    env = a_home(home, services)
    sides = ["s3://source", f"s3://dest/{'p' * 50}", "--src-profile", "source", "--dest-profile", "dest"]
    state = ["--state", str(out / "state")]
    report = ["--report", str(out / "report.jsonl")]
    assert "key" in said.run(env, "sync", *sides, *state, *report, "-vv", expect=3)
    said.run(env, "sync", *sides, *state, "-vv", "--json", expect=3)
    said.run(env, "verify", *sides, *state, "-vv", "--json", "--download", expect=3)
    said.run(env, "status", *sides[:2], *state, "--json", expect=0)
    proxied = {**env, "DTH_SRC_PROXY": f"http://{USER}:{SECRETS['password of the proxy']}@127.0.0.1:1"}
    said.run(proxied, "sync", *sides, *state, "-vv", expect=4)
    said.run(env, "probe", "s3://dest", "--side", "destination", "--dest-profile", "dest", "--json", expect=0)
    keys = _a_fleet(said, env, sides, services, out)
    _images(said, env, home, out)
    said.add_files(out)
    known = dict(SECRETS)
    known |= {f"key of messages {number}": key for number, key in enumerate(keys)}
    found = {name: where for name, secret in known.items() if (where := said.holding(secret))}
    assert found == {}
    assert len(said.seen) > 30, "there was something to look through"
    s3.close()


def _a_fleet(said: Said, env: dict[str, str], sides: list[str], services: Ministack, out: Path) -> list[str]:
    """Find and work over SQS and DynamoDB; the keys of the runs, in the forms in which they could be written."""
    queue = client("sqs", services)
    said.run(env, "init", "fleet", expect=0)
    url = queue.get_queue_url(QueueName="fleet")["QueueUrl"]
    where = ["--queue", url, "--table", "fleet", "--job-id", "fleet", "--state", str(out / "fleet"), "-vv", "--json"]
    places = ["--src-bucket", "source", "--dest-bucket", "dest", "--dest-prefix", "p" * 50, *sides[2:]]
    said.run(env, "find", *where, *places, expect=0)
    waiting = queue.receive_message(QueueUrl=url, VisibilityTimeout=0, MaxNumberOfMessages=10)["Messages"]
    said.seen["messages"] = json.dumps(waiting).encode()
    queue.send_message(QueueUrl=url, MessageBody="garbage")
    said.run(env, "work", *where, "--until-empty", expect=3)
    said.run(env, "status", *where, expect=0)
    queue.close()
    table = client("dynamodb", services)
    rows = table.scan(TableName="fleet")["Items"]
    table.close()
    secret = [row for row in rows if row["pk"]["S"].startswith("secret#")]
    said.seen["table"] = repr([row for row in rows if row not in secret]).encode()
    keys = [value["B"] for row in secret for name, value in row.items() if name not in {"pk", "sk"} and "B" in value]
    assert keys
    return [form for key in keys for form in (key.hex(), base64.b64encode(key).decode(), repr(key)[2:-1])]


def _images(said: Said, env: dict[str, str], home: Path, out: Path) -> None:
    """Between registries that give tokens for a password; one image lacks a part."""
    passwords = (SECRETS["password of the source's registry"], SECRETS["password of the destination's registry"])
    with (
        Registry(token_seconds=300, user=USER, password=passwords[0]) as source,
        Registry(token_seconds=300, user=USER, password=passwords[1]) as dest,
    ):
        logins = {
            one.host: {"auth": base64.b64encode(f"{USER}:{password}".encode()).decode()}
            for one, password in zip((source, dest), passwords, strict=True)
        }
        (home / ".docker").mkdir()
        (home / ".docker" / "config.json").write_text(json.dumps({"auths": logins}))
        source.add_image("app", "v1")
        source.add_image("broken", "v1", layers=(b"this one is missing",))
        blobs = source.repositories["broken"].blobs
        for digest in [digest for digest, blob in blobs.items() if blob == b"this one is missing"]:
            del blobs[digest]
        env = {name: value for name, value in env.items() if name != "DTH_PROCESSES"}
        words = ["--src-registry", source.address, "--dest-registry", dest.address, "--state", str(out / "images")]
        more = ["--report", str(out / "images.jsonl"), "--retries", "0"]
        said.run(env, "ecr-sync", *words, *more, "-vv", expect=3)
        said.run(env, "ecr-sync", *words, *more, "-vv", "--json", expect=3)
        tokens = {*source._tokens, *dest._tokens}
        assert tokens
        assert "app" in dest.repositories
        bearers = [where for token in tokens for where in said.holding(token)]
        assert bearers == []


def test_a_secret_in_any_form_would_be_found(tmp_path: Path) -> None:
    said, secret = Said(), SECRETS["password of the source's registry"]
    (tmp_path / "raw").write_text(f"a line with {secret} in it")
    (tmp_path / "login").write_bytes(b"\0" + base64.b64encode(f"{USER}:{secret}".encode()))
    (tmp_path / "url").write_text(f"http://{USER}:{urllib.parse.quote(secret, safe='')}@host")
    (tmp_path / "clean").write_text("nothing")
    said.add_files(tmp_path)
    assert {Path(one).name for one in said.holding(secret)} == {"raw", "login", "url"}
    said.run({"PATH": os.environ["PATH"]}, "--version", "--help", expect=0)
    assert any("dth" in text.decode() for where, text in said.seen.items() if where.endswith("command lines"))
