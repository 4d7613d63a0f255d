"""What may be changed while a job runs: one small row of its ledger, written by `dth limit` and by the hub.

Every field may be absent: then what the processes were started with holds.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from dth.errors import SettingsError
from dth.flow.timetable import Timetable
from dth.values import value

ROW = "limits"
"""The name of the note that holds it."""

MOST_PROCESSES, MOST_IN_FLIGHT = 256, 1000


@value
class Limits:
    """`bandwidth` is for all machines together: a rate or a timetable (see `flow.timetable`) with its `time_zone`.
    `processes` are those of each machine; `worker_number` is the number of objects in flight in each process, 0: adaptive.
    `changed_at` is in seconds since the epoch, `changed_by` a user and host."""

    bandwidth: str | None = None
    time_zone: str = "UTC"
    processes: int | None = None
    worker_number: int | None = None
    paused: bool = False
    changed_at: float = 0.0
    changed_by: str = ""

    def __post_init__(self) -> None:
        """Raises SettingsError for what makes no sense, wherever it comes from."""
        if self.processes is not None and not 1 <= self.processes <= MOST_PROCESSES:
            raise SettingsError(f"processes {self.processes}: a whole number from 1 to {MOST_PROCESSES}")
        if self.worker_number is not None and not 0 <= self.worker_number <= MOST_IN_FLIGHT:
            raise SettingsError(f"worker number {self.worker_number}: a whole number from 0 to {MOST_IN_FLIGHT}")
        self.timetable()

    def timetable(self) -> Timetable | None:
        """The rates; None where the processes keep to what they were started with."""
        return None if self.bandwidth is None else Timetable.parse(self.bandwidth, self.time_zone)

    @property
    def empty(self) -> bool:
        """Whether nothing is changed."""
        return not self.paused and (self.bandwidth, self.processes, self.worker_number) == (None, None, None)

    def to_json(self) -> str:
        """As the row has it."""
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Limits:
        """The reverse. Raises SettingsError for a row that this version does not understand whole."""
        try:
            fields: Any = json.loads(text)
        except ValueError:
            raise SettingsError("the row is no JSON") from None
        if not isinstance(fields, dict):
            raise SettingsError("the row is no JSON object")
        for name, held in fields.items():
            if name not in _KINDS:
                raise SettingsError(f"the row holds {name!r}, which this version does not know")
            if type(held) not in _KINDS[name]:
                raise SettingsError(f"the row holds a {name} that is a {type(held).__name__}")
        return cls(**fields)


_KINDS: dict[str, tuple[type, ...]] = {
    "bandwidth": (str,),
    "time_zone": (str,),
    "processes": (int,),
    "worker_number": (int,),
    "paused": (bool,),
    "changed_at": (int, float),
    "changed_by": (str,),
}
