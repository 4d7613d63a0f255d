"""The tasks of an emulated cluster, run: the emulator keeps a record of each and starts nothing.

A task's command, environment, overrides and role are those that were deployed. How it is run, as a process or as a container,
is for the test to say.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .stacks import Deployed, exit_reason

POLL_SECONDS = 0.3
STOP_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Task:
    """One to be run. `environment` holds the role's keys too; `volumes` are empty folders that it may write to."""

    name: str
    family: str
    image: str
    command: Sequence[str]
    environment: Mapping[str, str]
    volumes: Sequence[str]


Run = Callable[[Task], subprocess.Popen[Any]]


@dataclass
class Fargate:
    """Used in a `with` block: runs what the cluster is asked to run, and stops what it is asked to stop. `ended` holds the
    family and exit code of each task that came to an end, `settings` go over the deployed ones."""

    stack: Deployed
    cluster: str
    run: Run
    settings: Mapping[str, str] = field(default_factory=dict)
    ended: list[tuple[str, int]] = field(default_factory=list)
    _running: dict[str, tuple[Task, subprocess.Popen[Any]]] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)
    _failure: list[BaseException] = field(default_factory=list)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Fargate:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread
        self._thread.join(2 * STOP_SECONDS)
        assert not self._thread.is_alive(), "a task does not stop"
        if self._failure:
            raise self._failure[0]

    def _watch(self) -> None:
        try:
            while not self._stop.wait(POLL_SECONDS):
                self._look()
        except BaseException as exc:  # noqa: BLE001 - raised where the block ends
            self._failure.append(exc)
        finally:
            for arn in list(self._running):
                self._end(arn)

    def _look(self) -> None:
        ecs = self.stack.guarded.root("ecs")
        wanted = ecs.list_tasks(cluster=self.cluster)["taskArns"]
        for arn in set(wanted) - self._seen:
            self._seen.add(arn)
            task = self._task(arn)
            self._running[arn] = task, self.run(task)
        for arn, (task, process) in list(self._running.items()):
            if process.poll() is not None:
                del self._running[arn]
                _close(process)
                self.ended.append((task.family, process.returncode))
                ecs.stop_task(cluster=self.cluster, task=arn, reason=exit_reason(process.returncode))
            elif arn not in wanted:
                self._end(arn)

    def _task(self, arn: str) -> Task:
        ecs = self.stack.guarded.root("ecs")
        (task,) = ecs.describe_tasks(cluster=self.cluster, tasks=[arn])["tasks"]
        found = ecs.describe_task_definition(taskDefinition=task["taskDefinitionArn"])["taskDefinition"]
        (container,) = found["containerDefinitions"]
        assert container["readonlyRootFilesystem"]
        own = {one["name"]: one["value"] for one in container["environment"]}
        for override in task["overrides"].get("containerOverrides", []):
            own |= {one["name"]: one["value"] for one in override.get("environment", [])}
        keys = self.stack.keys(found["taskRoleArn"].rpartition("/")[2])
        volumes = [one["containerPath"] for one in container["mountPoints"]]
        return Task(
            arn.rpartition("/")[2],
            found["family"],
            container["image"],
            container["command"],
            {**keys, **own, **self.settings},
            volumes,
        )

    def _end(self, arn: str) -> None:
        """As ECS ends a task: SIGTERM, and SIGKILL where that does not help."""
        task, process = self._running.pop(arn)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _close(process)
        self.ended.append((task.family, process.returncode))


def _close(process: subprocess.Popen[Any]) -> None:
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
