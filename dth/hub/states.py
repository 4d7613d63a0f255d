"""The closed sets that the schema speaks in; each name is the schema's own."""

from __future__ import annotations

from enum import StrEnum


class TaskType(StrEnum):
    """What a task moves: objects between buckets, or images between registries."""

    S3EC2 = "S3EC2"
    ECR = "ECR"


class TaskState(StrEnum):
    """Where a task stands in its life."""

    DRAFT = "DRAFT"  # saved, never started, no schedule
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    WAITING = "WAITING"  # for its schedule
    PAUSED = "PAUSED"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    DONE = "DONE"
    FAILED = "FAILED"


class RunKind(StrEnum):
    """What a run does."""

    SYNC = "SYNC"
    VERIFY = "VERIFY"
    PLAN = "PLAN"
    REDRIVE = "REDRIVE"
    IMAGES = "IMAGES"
    EVENTS = "EVENTS"


class RunState(StrEnum):
    """How far a run is. OVER: ended, and its totals are final; ABANDONED: ended before it was complete."""

    LISTING = "LISTING"
    SEALED = "SEALED"
    OVER = "OVER"
    ABANDONED = "ABANDONED"
    STANDING = "STANDING"


class PlanState(StrEnum):
    """How far a plan or a check is."""

    LISTING = "LISTING"
    READY = "READY"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class LogLevel(StrEnum):
    """How much a line matters."""

    ERROR = "ERROR"
    WARNING = "WARNING"
    INFO = "INFO"
    DEBUG = "DEBUG"


class SeriesName(StrEnum):
    """What is drawn over time."""

    BYTES = "BYTES"
    OBJECTS = "OBJECTS"
    FAILED = "FAILED"
    WAITING = "WAITING"
    IN_HAND = "IN_HAND"
    WORKERS = "WORKERS"
    LAG = "LAG"
    COST = "COST"
    REQUESTS = "REQUESTS"
    THROTTLED = "THROTTLED"
    CPU = "CPU"
    MEMORY = "MEMORY"


class TaskSort(StrEnum):
    """The order of a list of tasks."""

    CREATED_DESC = "CREATED_DESC"
    UPDATED_DESC = "UPDATED_DESC"
    NAME = "NAME"
    STATE = "STATE"
    FAILED_DESC = "FAILED_DESC"


PROGRESS: dict[TaskState, str | None] = {
    TaskState.DRAFT: None,  # the original shows a task without progress as unknown
    TaskState.STARTING: "STARTING",
    TaskState.RUNNING: "IN_PROGRESS",
    TaskState.WAITING: "IN_PROGRESS",
    TaskState.PAUSED: "IN_PROGRESS",
    TaskState.STOPPING: "STOPPING",
    TaskState.STOPPED: "STOPPED",
    TaskState.DONE: "DONE",
    TaskState.FAILED: "ERROR",
}
"""What clients of the original see; its enum has no new values."""
