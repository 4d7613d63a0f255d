"""Which workload is measured next, when time is short: fewer rounds before fewer workloads.

Each workload gets one round, the most telling first. Then those get more on which a bound hangs, round by round, then the
others. A round that would not end in time is left out, and said. All of it is decided from what rounds took so far.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from bench.catalogue import Entry
from bench.compare import Measurement

_SLACK = 1.1  # rounds differ


@dataclass(slots=True)
class Turn:
    """A workload's place in the plan; `seconds` of its next round, by the last one once there was one."""

    entry: Entry
    measurement: Measurement
    seconds: float
    done: int = 0
    broken: str = ""  # why it is not measured any more


@dataclass(slots=True)
class Schedule:
    """`seconds` is the budget, 0 for none; `rounds` of each workload is the aim."""

    turns: Sequence[Turn]
    rounds: int
    seconds: float = 0.0
    prove: bool = True  # ask dth after its first round what proved the bytes
    clock: Callable[[], float] = time.monotonic
    left_out: list[str] = field(default_factory=list)
    ends: float = 0.0

    def remaining(self) -> float:
        """Seconds of the budget."""
        return self.ends - self.clock()

    def run(self) -> Iterator[Turn]:
        """Measures, round by round, and yields each workload that has just had one."""
        self.ends = self.clock() + (self.seconds or math.inf)
        for turn in self.order():
            if turn.seconds * _SLACK > self.remaining():
                continue
            if turn.broken:
                continue
            try:
                turn.measurement.round(self.ends)
                if self.prove and not turn.done and turn.seconds < self.remaining():
                    turn.measurement.prove()
            except Exception as failed:  # noqa: BLE001 - the others can still be measured
                turn.broken = f"{turn.entry.name} broke off: {type(failed).__name__}: {failed}"
                print(turn.broken, flush=True)
                continue
            turn.done += 1
            turn.measurement.fewer()
            turn.seconds = turn.measurement.expected()
            yield turn
        for turn in self.turns:
            if turn.broken:
                self.left_out.append(turn.broken)
            elif turn.done < self.rounds:
                some = f"had {turn.done} of {self.rounds} rounds" if turn.done else "was left out"
                self.left_out.append(f"{turn.entry.name} {some}: no time")

    def order(self) -> list[Turn]:
        first, later = list(self.turns), range(1, self.rounds)
        bound = [turn for _ in later for turn in self.turns if turn.entry.bound]
        others = [turn for _ in later for turn in self.turns if not turn.entry.bound]
        return first + bound + others
