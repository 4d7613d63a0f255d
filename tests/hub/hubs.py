"""A `dth hub` of its own process, spoken to over HTTP as a browser would."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.harness import command, environment
from tests.servers.s3server import S3Server

WAIT_SECONDS = 120.0

TASK = "id state revision progress nextRunAt latest { id kind state found done skipped failed bytes deleted reconciles exitCode endedAt } problems { code level detail }"


class Told(AssertionError):
    """The hub answered with an error; its first one."""

    def __init__(self, errors: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(json.dumps(errors))
        self.code = errors[0]["extensions"]["code"]
        self.message = errors[0]["message"]
        self.hint = errors[0]["extensions"].get("hint", "")


@dataclass
class HubProcess:
    """The process, and the session of who signed in."""

    folder: Path
    env: Mapping[str, str]
    arguments: Sequence[str] = ()
    port: int = 0
    cookie: str = ""
    process: subprocess.Popen[bytes] | None = None
    links: list[str] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *, sign_in: bool = True) -> HubProcess:
        """Start it, wait until it serves, and sign in by the link that it prints."""
        out = self.folder / "hub.out"
        before = out.stat().st_size if out.exists() else 0
        argv = [*command(), "hub", "--no-browser", "--json", "--state", str(self.state), "--port", str(self.port)]
        with out.open("ab") as file, (self.folder / "hub.err").open("ab") as errors:
            process = self.process = subprocess.Popen(
                [*argv, *self.arguments], env=dict(self.env), stdout=file, stderr=errors
            )
        until(lambda: process.poll() is not None or b"hub_link" in out.read_bytes()[before:], self.complaint)
        assert process.poll() is None, self.complaint()
        for line in out.read_bytes()[before:].splitlines():
            event = json.loads(line)
            if event.get("code") == "hub_address":
                self.port = int(event["text"].rpartition(":")[2])
            if event.get("code") == "hub_link":
                self.links.append(event["text"])
        if sign_in and not self.cookie:
            self.sign_in()
        return self

    def complaint(self) -> str:
        return (self.folder / "hub.err").read_text()[-3000:] + (self.folder / "hub.out").read_text()[-1000:]

    def sign_in(self) -> None:
        status, headers, _ = self.post("/login/token", {"token": self.links[-1].partition("#t=")[2]})
        assert status == 200
        self.cookie = headers["set-cookie"].partition(";")[0]

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Any request, with just these headers (and Host, unless given)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def headers(self, **others: str) -> dict[str, str]:
        """Those of a good request, changed by others ("": left out); `_` stands for `-`."""
        own = {"Content-Type": "application/json", "X-Dth-Hub": "1", "Origin": self.base, "Cookie": self.cookie}
        own |= {name.replace("_", "-"): value for name, value in others.items()}
        return {name: value for name, value in own.items() if value}

    def post(self, path: str, body: Mapping[str, Any], **headers: str) -> tuple[int, dict[str, str], bytes]:
        return self.request("POST", path, json.dumps(body).encode(), self.headers(**headers))

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer. Raises Told where it has errors."""
        status, _, body = self.post("/graphql", {"query": query, "variables": variables})
        told = json.loads(body)
        if told.get("errors"):
            raise Told(told["errors"])
        assert status == 200
        data: dict[str, Any] = told["data"]
        return data

    def task(self, task_id: str, fields: str = TASK) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(f"query($id: ID!) {{ getTask(id: $id) {{ {fields} }} }}", id=task_id)[
            "getTask"
        ]
        return found

    def save(
        self, settings: Mapping[str, str], *, run: bool = True, task_id: str | None = None, **others: Any
    ) -> dict[str, Any]:
        """Save a task."""
        revision = others.pop("revision", None)
        given = {"type": "S3EC2", "settings": [{"name": n, "value": v} for n, v in settings.items()], **others}
        query = f"""mutation($input: TaskInput!, $id: ID, $revision: Int, $run: Boolean) {{
            saveTask(input: $input, id: $id, revision: $revision, run: $run) {{ {TASK} }} }}"""
        found: dict[str, Any] = self.ask(query, input=given, id=task_id, revision=revision, run=run)["saveTask"]
        return found

    def change(self, verb: str, task_id: str, fields: str = "id state") -> dict[str, Any]:
        """`pauseTask` and its like."""
        kind = "String" if verb == "stopTask" else "ID!"  # the original's
        found: dict[str, Any] = self.ask(f"mutation($id: {kind}) {{ {verb}(id: $id) {{ {fields} }} }}", id=task_id)[
            verb
        ]
        return found

    def wait(self, task_id: str, *states: str, seconds: float = WAIT_SECONDS) -> dict[str, Any]:
        """The task, once it is in one of these states."""
        found: dict[str, Any] = {}

        def there() -> bool:
            found.update(self.task(task_id))
            return found["state"] in states

        until(there, lambda: f"{found}\n{self.complaint()}", seconds)
        return found

    def kill(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        assert self.process
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(60)

    def end(self) -> None:
        """Stop it, and whatever it has started and not stopped."""
        self.stop()
        for pid in self.children():
            os.kill(pid, signal.SIGKILL)

    def children(self) -> list[int]:
        """Processes that belong to this hub's state, whoever their parent is."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                line = (entry / "cmdline").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if str(self.state).encode() in line and state != "Z" and b"\0hub\0" not in line:
                found.append(int(entry.name))
        return found


def until(true: Callable[[], bool], complaint: Callable[[], str], seconds: float = WAIT_SECONDS) -> None:
    """Wait for it; this only ends what would never end."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.2)


def hub_between(
    folder: Path, source: S3Server, destination: S3Server, *arguments: str
) -> tuple[HubProcess, dict[str, str]]:
    """A hub whose environment knows both stores, and the settings of a task between them (without buckets)."""
    settings = {
        "src_endpoint": source.endpoint, "src_region": source.region, "src_profile": "src-a",
        "dest_endpoint": destination.endpoint, "dest_region": destination.region, "dest_profile": "dest-a",
        "processes": "1", "server_side_copy": "false",
    }  # fmt: skip
    return HubProcess(folder, environment(folder, {"src-a": source, "dest-a": destination}), arguments), settings


def alone(folder: Path, *arguments: str) -> HubProcess:
    """A hub without stores."""
    return HubProcess(folder, environment(folder, {}), arguments)
