"""What one worker process is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Settings of one worker process. `worker_number` 0 adapts what is in flight, up to `max_in_flight`; bytes and
    seconds otherwise. `until_empty`: return when the job's runs are over; `stall_seconds`: how long an empty queue is
    watched for a run whose messages are lost to the dead letters."""

    process: str
    job_id: str
    worker_number: int
    max_in_flight: int
    memory_budget: int
    lease_seconds: float
    lease_cap_seconds: float
    grace_seconds: float
    max_attempts: int
    until_empty: bool
    poll_seconds: float
    stall_seconds: float
