"""Runs the installed `dth` as a stranger would: a subprocess with flags, its exit code, its JSON lines."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.s3server import S3Server

FULL = os.environ.get("DTH_TEST_FULL") == "1"
HANG_SECONDS = 900 if FULL else 300  # no test asserts a duration; this only ends one that would never end


def scaled(full: int, share: int = 10) -> int:
    """The size of a scenario: full under DTH_TEST_FULL=1 (`make scenarios`), a tenth elsewhere."""
    return full if FULL else full // share


def command() -> list[str]:
    """The console script where dth is installed, else the module of the checkout."""
    script = Path(sys.executable).with_name("dth")
    return [str(script)] if script.exists() else [sys.executable, "-m", "dth"]


def environment(folder: Path, servers: Mapping[str, S3Server]) -> dict[str, str]:
    """An environment with a profile for each (name, server's account) and nothing else of the caller's."""
    package = importlib.util.find_spec("dth")
    assert package
    assert package.origin
    lines = []
    for profile, server in servers.items():
        who = server.account("b" if profile.endswith("b") else "a")
        lines += [f"[{profile}]", f"aws_access_key_id = {who.access_key}"]
        lines += [f"aws_secret_access_key = {who.secret_key}", ""]
    file = folder / "credentials"
    file.write_text("\n".join(lines))
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AWS_SHARED_CREDENTIALS_FILE": str(file),
        "AWS_CONFIG_FILE": str(folder / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": str(Path(package.origin).parents[1]),
        "PYTHONWARNINGS": "error",
    }


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def summary(self) -> dict[str, Any]:
        """The last Summary event."""
        found = [event for event in self.events if event["event"] == "Summary"]
        assert found, f"no summary: exit {self.code}\n{self.stdout[-2000:]}\n{self.stderr[-2000:]}"
        return found[-1]

    @property
    def failed_keys(self) -> set[str]:
        """Keys that ended FAILED."""
        return {e["key"] for e in self.events if e["event"] == "ObjectFailed" and e["final"]}


@dataclass(frozen=True, slots=True)
class Dth:
    """The command with its fixed flags."""

    env: Mapping[str, str]
    flags: Sequence[str]

    def argv(self, *arguments: str) -> list[str]:
        """The whole command line."""
        return [*command(), *arguments, *self.flags]

    def __call__(self, *arguments: str, expect: int | None = 0) -> Finished:
        """Run to the end; `expect` is the exit code that it must have (None: any)."""
        done = subprocess.run(
            self.argv(*arguments),
            env=dict(self.env),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=HANG_SECONDS,
            check=False,
        )
        events = []
        if "--json" in arguments or "--json" in self.flags:
            events = [json.loads(line) for line in done.stdout.splitlines()]
        finished = Finished(done.returncode, done.stdout, done.stderr, events)
        assert "Traceback" not in done.stderr, done.stderr
        if expect is not None:
            assert done.returncode == expect, f"exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return finished


def between(folder: Path, source: S3Server, destination: S3Server, *extra: str) -> Dth:
    """`dth` with endpoints and profiles for both sides: account a of the source, account b (where there is one) of the
    destination; JSON lines, state in `folder`."""
    dest_profile = "dest-b" if destination.second else "dest-a"
    flags = [
        *("--src-endpoint", source.endpoint, "--src-region", source.region, "--src-profile", "src-a"),
        *("--dest-endpoint", destination.endpoint, "--dest-region", destination.region),
        *("--dest-profile", dest_profile, "--state", str(folder / "state"), "--json", *extra),
    ]
    return Dth(environment(folder, {"src-a": source, dest_profile: destination}), flags)
