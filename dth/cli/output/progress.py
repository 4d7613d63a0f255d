"""Where a command stands: what the outputs show while it runs, from the same events for all of them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator

from dth.cli.output.format import counted, short_bytes, short_count, shown_bytes, shown_seconds
from dth.events import BytesMoved, Event, InFlight, Moved, VerifyProgress, WorkerStopped
from dth.summary import Tally
from dth.values import value

WINDOW_SECONDS = 10.0  # rates are means over this time: calm enough to read, quick enough to show a stall
MIN_WINDOW_SECONDS = 0.5
LONGEST_LEFT = 100 * 86_400.0  # seconds; more is no forecast


@value
class View:
    """One moment. `found` and `found_bytes` grow while listing goes on, until `listed_all`. Rates are per second;
    `left_seconds` is None while nobody can know."""

    listed_source: int
    listed_destination: int
    listed_all: bool
    found: int
    found_bytes: int
    ended: int
    bytes: int
    failed: int
    in_flight: int
    objects_rate: float
    bytes_rate: float
    left_seconds: float | None
    noun: str = "object"

    @property
    def line(self) -> str:
        """As one line of text."""
        seen = "" if self.listed_all else f"listed {self.listed_source:,} and {self.listed_destination:,}, "
        parts = [
            f"{seen}{self.ended:,} of {counted(self.found, self.noun)}{'' if self.listed_all else ' so far'}",
            f"{shown_bytes(self.bytes)} of {shown_bytes(self.found_bytes)}",
            f"{self.objects_rate:,.0f} {self.noun}s/s, {shown_bytes(self.bytes_rate)}/s",
            f"{self.in_flight:,} in flight",
            f"{self.failed:,} failed",
        ]
        if self.left_seconds is not None:
            parts.append(f"{shown_seconds(self.left_seconds)} left")
        return " | ".join(parts)

    def line_in(self, columns: int) -> str:
        """As one line of so many columns at most, 80 or more: whatever else has to go, objects, bytes, rates, failures and
        time left are told."""
        return next((line for line in self._lines() if len(line) <= columns), self._compact(short_count))

    def _lines(self) -> Iterator[str]:
        """From the longest to the shortest but one."""
        left = "" if self.left_seconds is not None else " | ? left"
        yield self.line + left
        quiet = self.line.replace(f" | {self.in_flight:,} in flight", "", 1) + left
        yield quiet
        more = "" if self.listed_all else "+"
        yield " | ".join([
            f"{self.ended:,} of {self.found:,}{more}",
            f"{shown_bytes(self.bytes)} of {shown_bytes(self.found_bytes)}{more}",
            f"{self.objects_rate:,.0f}/s, {shown_bytes(self.bytes_rate)}/s",
            f"{self.failed:,} failed",
            f"{self._left()} left",
        ])  # fmt: skip
        yield self._compact("{:,.0f}".format)

    def _compact(self, count: Callable[[float], str]) -> str:
        more = "" if self.listed_all else "+"
        return " | ".join([
            f"{count(self.ended)}/{count(self.found)}{more}",
            f"{short_bytes(self.bytes)}/{short_bytes(self.found_bytes)}{more}",
            f"{count(self.objects_rate)}/s {short_bytes(self.bytes_rate)}/s",
            f"{count(self.failed)} failed",
            f"{self._left()} left",
        ])  # fmt: skip

    def _left(self) -> str:
        if self.left_seconds is None:
            return "?"
        return shown_seconds(self.left_seconds) if self.left_seconds < LONGEST_LEFT else "over 99 d"


class Meter:
    """Turns events into views."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.tally = Tally()
        self.verifying: VerifyProgress | None = None
        self._clock = clock
        self._in_flight: dict[str, int] = {}
        self._part_bytes = 0  # of objects still under way
        self._samples: deque[tuple[float, int, int]] = deque([(clock(), 0, 0)])

    def __call__(self, event: Event) -> None:
        """Take one event."""
        self.tally(event)
        match event:
            case InFlight():
                self._in_flight[event.process] = event.objects
            case WorkerStopped():
                self._in_flight.pop(event.process, None)
            case VerifyProgress():
                self.verifying = event
            case BytesMoved():
                self._part_bytes += event.bytes
            case Moved(done=1):
                # A large object travels alone: its end counts all its bytes, so those of its parts count no more.
                self._part_bytes -= min(self._part_bytes, event.bytes)
            case _:
                pass

    def sample(self) -> None:
        """Remember the sums of now; rates come from these. Call it about once a second."""
        now = self._clock()
        self._samples.append((now, *self._sums()))
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW_SECONDS:  # noqa: PLR2004 - a rate needs two
            self._samples.popleft()

    def line(self, columns: int = 0) -> str:
        """The state of now as one line; "" while there is nothing to say. Of a comparison: in so many columns, 0: any."""
        if self.verifying:
            return _verifying(self.verifying, self._rates(), columns)
        view = self.view()
        return view.line if view.found or view.listed_source else ""

    def _rates(self) -> tuple[float, float]:
        """Objects and bytes a second, of late."""
        began, ended_then, moved_then = self._samples[0]
        ended, moved = self._sums()
        seconds = max(self._clock() - began, MIN_WINDOW_SECONDS)
        return max(ended - ended_then, 0) / seconds, max(moved - moved_then, 0) / seconds

    def _sums(self) -> tuple[int, int]:
        if self.verifying:
            return self.verifying.compared, self.verifying.bytes
        runs = list(self.tally.runs.values())
        ended = sum(run.done + run.skipped + run.failed for run in runs)
        return ended, sum(run.bytes for run in runs) + self._part_bytes

    def view(self) -> View:
        """The state of now."""
        tally, runs = self.tally, list(self.tally.runs.values())
        ended, moved = self._sums()
        listed_all = bool(runs) and all(run.found is not None for run in runs)
        found = sum(run.found or 0 for run in runs) if listed_all else max(tally.found_so_far, ended)
        rates = self._rates()
        return View(
            listed_source=tally.listed[0],
            listed_destination=tally.listed[1],
            listed_all=listed_all,
            found=found,
            found_bytes=max(tally.found_bytes, moved),
            ended=ended,
            bytes=moved,
            failed=sum(run.failed for run in runs),
            in_flight=sum(list(self._in_flight.values())),  # a copy: displays draw in a thread of their own
            objects_rate=rates[0],
            bytes_rate=rates[1],
            left_seconds=_left(found - ended, max(tally.found_bytes - moved, 0), *rates) if listed_all else None,
            noun=tally.noun,
        )


def _verifying(now: VerifyProgress, rates: tuple[float, float], columns: int) -> str:
    parts = [
        f"listed {now.source_objects:,} and {now.destination_objects:,}",
        f"{counted(now.compared, 'object')} compared, {rates[0]:,.0f}/s",
        f"{now.differences:,} differ",
    ]
    if now.bytes:
        parts.insert(2, f"{shown_bytes(now.bytes)} read on each side, {shown_bytes(rates[1])}/s")
    line = " | ".join(parts)
    if columns and len(line) > columns:
        moved = f" | {short_bytes(now.bytes)} read, {short_bytes(rates[1])}/s" if now.bytes else ""
        line = f"{short_count(now.compared)} compared, {short_count(rates[0])}/s{moved} | {now.differences:,} differ"
    return line


def _left(objects: int, size: int, objects_rate: float, bytes_rate: float) -> float | None:
    """Seconds left: small objects cost requests and large ones bytes, so the slower of both decides."""
    waits = [count / rate for count, rate in ((objects, objects_rate), (size, bytes_rate)) if rate]
    if objects <= 0:
        return 0.0
    return max(waits) if waits else None
