"""The hub's files below the state root, readable by their owner only.

```
STATE/hub/hub.db                       tasks, runs, series, sessions
STATE/hub/tasks/TASK/job.json          what `dth sync --job` reads
STATE/hub/tasks/TASK/runs/RUN/         output.jsonl, errors.txt, records.jsonl of all its processes together
STATE/hub/tasks/TASK/runs/RUN/N/       pid and exit code of its Nth process
STATE/hub/answers/ID/                  the same of a plan or a check
STATE/JOB/                             the engine's own state, as the command line has it
```
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class HubFolder:
    """Paths. `root` is the state root, which the command line uses as well."""

    root: Path

    @property
    def path(self) -> Path:
        """The hub's own folder."""
        return self.root / "hub"

    @property
    def database(self) -> Path:
        """The hub's database."""
        return self.path / "hub.db"

    def make(self) -> None:
        """Create the folders."""
        for folder in (self.path, self.path / "tasks", self.path / "answers"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)

    def task(self, task_id: str) -> Path:
        """A task's folder."""
        return self.path / "tasks" / _plain(task_id)

    def job_file(self, task_id: str) -> Path:
        """A task's job file."""
        return self.task(task_id) / "job.json"

    def run(self, task_id: str, run_id: str) -> Path:
        """A run's folder."""
        return self.task(task_id) / "runs" / _plain(run_id)

    def answer(self, answer_id: str) -> Path:
        """A plan's or check's folder."""
        return self.path / "answers" / _plain(answer_id)

    def write_job(self, path: Path, settings: Mapping[str, str]) -> None:
        """Write a job file, whole or not at all."""
        fields = {**settings, "state": str(self.root)}
        write_private(path, json.dumps(fields, indent=1, sort_keys=True) + "\n")


def _plain(name: str) -> str:
    """Ids are the hub's own; this is the second line of defence."""
    if not name or not all(letter.isalnum() or letter == "-" for letter in name):
        raise ValueError(f"{name!r} is no id")
    return name


def write_private(path: Path, text: str) -> None:
    """A file that only its owner reads, in place at once."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def remove(path: Path) -> None:
    """Remove a folder with all that is in it, where there is one."""
    shutil.rmtree(path, ignore_errors=True)
