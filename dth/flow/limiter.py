"""How much a worker process has in flight: a fixed number, or as much as the two stores take and throughput rewards.

The adaptive limit doubles with each turn of its slots while that pays (the slow start of TCP), and then grows by small
steps. A growth pays where objects take about as long as before: a slot that is given to each of twice as many then moves as
much as before, so that all together move twice as much (Little's law). Where they take longer, because they wait for
each other, the limit goes back. A store that asks to slow down halves it (Chiu and Jain, 1989). It doesn't grow while more
requests would only wait for a processor: because this process could use more of a core than it gets, or because a store
runs on the same machine and all its cores are taken.

Only objects that set out and ended within the window are looked at, and of these the median. A connection that
had to be opened first, or a packet that was lost and sent again a fifth of a second later, says nothing of how much a store
takes. Counting what ended in a window would: few windows hold a whole number of turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import ContextVar, Token
from types import TracebackType

START = (
    16  # keeps a core busy where the store is near, in few connections (TLS: a handshake each); doubles where it isn't
)
WINDOW_SECONDS = 0.5  # shortest time over which throughput is judged
DOUBLING_SECONDS = 0.2  # and while doubling, so that far stores are soon met with enough
JUDGED = 8  # so many objects at least are judged, and half as many as may be in flight; or as many as may be
CORE_BUSY = 0.7  # of a window running or waiting for the processor; the rest of a busy core is the kernel's
CROWDED = 0.2  # of a window waiting for the processor, and longer than running: the machine has too much to do
PATIENCE_SECONDS = 5.0  # how long a limit that did not grow stands before it is probed again
PAYS = 0.2  # a growth stays where it brings this much of what was put in
NEAR_TURNS = 2  # of each slot in a window, or what ended in it tells of halves of turns
DOUBTS = 2  # windows in a row that say that a growth did not pay, before it is believed
CAREFUL = 1 / 8  # a step's share of the limit, once doubling has ended
HEADROOM = 1.25  # beyond what far stores took, when the limit goes back
INSTANT = 1e-6  # seconds: nothing takes less, even where the clock did not move
PAUSE_CAP_SECONDS = 30.0  # a Retry-After is honoured up to here
WEIGHT_BYTES = 1 << 20  # throughput counts an object as one plus its mebibytes

FULL = 0.1  # of the machine's processor time idle, or less: a store that runs here can do no more
NEAR_SECONDS = 0.03  # if no object ever took less, the stores are far, even where something on this machine answers
QUEUED = 4  # times as long as the fastest took the median one: most of that it stood in a line

THREADS = "/proc/self/task"
MACHINE_STAT = "/proc/stat"


def processor_seconds() -> tuple[float, float]:
    """Seconds for which this process has run, and for which its threads were ready to run and waited for a processor, all
    together: the second field of Linux's `schedstat` of each, in nanoseconds. Elsewhere that is 0.

    Beside other busy processes the first number alone says little: then the stores look slow, and are not.
    """
    waited = 0
    with contextlib.suppress(OSError):
        for thread in os.listdir(THREADS):  # noqa: PTH208 - as below
            waited += _waited(f"{THREADS}/{thread}/schedstat")
    return time.process_time(), waited * 1e-9


def _waited(path: str) -> int:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - it costs half as much
            return int(file.read(128).split()[1])
    except (OSError, IndexError, ValueError):
        return 0  # the thread has ended, or the kernel does not tell


def machine_ticks() -> tuple[int, int]:
    """Of all processors of this machine since it started, in the kernel's ticks: those spent idle, and all. Waiting for a
    disk counts as idle. (0, 0) where the kernel does not tell."""
    try:
        with open(MACHINE_STAT, "rb", buffering=0) as file:  # noqa: PTH123 - as above
            ticks = [int(field) for field in file.read(256).split(b"\n", 1)[0].split()[1:9]]
        return ticks[3] + ticks[4], sum(ticks)
    except (OSError, IndexError, ValueError):
        return 0, 0


def _median(values: Iterable[float]) -> float:
    """The lower one of two. The library's would load much that a worker does without."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]


Turn = asyncio.Future[bool]
"""A place in the line; its result says whether it rides on a slot that is held already."""


class Limiter:
    """Bounds what is in flight; slots are handed out first come, first served.

    The worker holds a slot for each object while it is copied. Inside that, parts that move in parallel take a slot
    each; the first of them at any time rides on the object's own, so that nesting can never block itself: with a limit
    of one an object's parts move one after the other.

    `fixed` > 0 holds the limit there; 0 adapts it between 1 and `upper`. Set `store_is_here` where a store runs on this
    machine: it and this process then share the processors.
    """

    def __init__(
        self,
        *,
        fixed: int,
        upper: int,
        clock: Callable[[], float] = time.monotonic,
        processor: Callable[[], tuple[float, float]] = processor_seconds,
        machine: Callable[[], tuple[int, int]] = machine_ticks,
    ) -> None:
        if upper < 1 or fixed < 0:
            raise ValueError("a limiter lets at least one through")
        self._adaptive = fixed == 0
        self._upper = upper
        self._limit = min(fixed or START, upper)
        self._clock = self.now = clock
        self._processor = processor
        self._machine = machine
        self.store_is_here = False
        self._fastest = (
            math.inf
        )  # seconds that the fastest object took; of all, because a window on a crowded machine tells little
        self._in_flight = 0
        self._waiting: deque[Turn] = deque()
        self._paused_until = 0.0
        self._wake: asyncio.TimerHandle | None = None
        # Judging throughput, window by window.
        self._opened = clock()
        self._processor_opened = processor()
        self._machine_opened = machine()
        self._trips: list[tuple[float, int]] = []  # of the window: how long each took, and its size
        self._first_turn = self._limit  # objects of it that have not ended
        self._ended, self._work = 0, 0.0
        self._saturated = False
        self._share = 1.0  # of the limit, that the next step adds
        self._rate_before = 0.0  # the step that is being judged
        self._best_pace = 0.0  # work a second of a slot, while doubling
        self._step_back_to = 0  # the limit before the last step, 0 where no step is being judged
        self._doubts = 0
        self._stand_until = 0.0
        self._halved_at = -WINDOW_SECONDS
        self.throttles = 0
        """How often a store asked to slow down, or kept silent."""

    @property
    def limit(self) -> int:
        """How many may be in flight now."""
        return self._limit

    @property
    def in_flight(self) -> int:
        """How many are."""
        return self._in_flight

    def hold(self, fixed: int) -> None:
        """Hold the limit there from now on; 0 adapts it again, from where it is. What is in flight above it ends first."""
        adaptive = fixed == 0
        if adaptive == self._adaptive and (adaptive or self._limit == min(fixed, self._upper)):
            return
        self._adaptive = adaptive
        self._limit = min(fixed or self._limit, self._upper)
        self._share = CAREFUL
        self._step_back_to = 0
        self._open_window(self._clock())
        self._admit()

    def slot(self, size: int = 0) -> Slot:
        """`async with limiter.slot(size):` one object or part of `size` bytes in flight."""
        return Slot(self, size)

    def throttled(self, retry_after: float | None = None) -> None:
        """A store asked to slow down, or kept silent: halve, once per window, because what is in flight together is
        refused together. Nothing new starts for `retry_after` seconds (at most 30)."""
        now = self._clock()
        self.throttles += 1
        if retry_after:
            self._paused_until = max(self._paused_until, now + min(retry_after, PAUSE_CAP_SECONDS))
        if not self._adaptive or now - self._halved_at < WINDOW_SECONDS:
            return
        self._halved_at = now
        self._limit = max(1, self._limit // 2)
        self._share = CAREFUL
        self._step_back_to = 0
        self._stand_until = now + PATIENCE_SECONDS
        self._open_window(now)

    async def acquire(self, rider: Rider | None = None) -> bool:
        """Wait for a slot, or for the ride on `rider`, whichever is free first; True for the ride. Cancellation frees
        what was given."""
        if rider is not None and rider.board():
            return True
        if self.take():
            return False
        turn: Turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        if rider is not None:
            rider.waiting = rider.waiting or deque()
            rider.waiting.append(turn)
        self._admit()
        try:
            return await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                if rider is not None and turn.result():
                    rider.leave()
                else:
                    self._in_flight -= 1
            self._admit()
            raise

    def take(self) -> bool:
        """Take a slot if one is free now and nobody waits for it; else false, and the limiter knows that more is wanted."""
        if not self._waiting and self._in_flight < self._limit and self._clock() >= self._paused_until:
            self._in_flight += 1
            return True
        self._saturated = True
        return False

    def release(self, size: int = 0, *, succeeded: bool = True, since: float = -math.inf) -> None:
        """Give the slot back, held `since` then; what succeeded counts as throughput."""
        self._in_flight -= 1
        if succeeded and self._adaptive:
            self._judge(size, since)
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._in_flight < self._limit:
            if self._waiting[0].done():  # cancelled, or it rides already
                self._waiting.popleft()
                continue
            pause = self._paused_until - self._clock()
            if pause > 0:
                self._wake_in(pause)
                return
            self._in_flight += 1
            self._waiting.popleft().set_result(False)

    def _wake_in(self, seconds: float) -> None:
        if self._wake is None:
            self._wake = asyncio.get_running_loop().call_later(seconds, self._woken)

    def _woken(self) -> None:
        self._wake = None
        self._admit()

    def _judge(self, size: int, since: float) -> None:
        """Take note of an object; close the window once it is long enough and has seen enough of them. The first turn is not
        judged: connections are opened in it, and stores make what they need for a new bucket."""
        now = self._clock()
        took = now - since
        self._fastest = min(self._fastest, took)
        if self._first_turn:
            self._first_turn -= 1
            if not self._first_turn:
                self._open_window(now)
            return
        self._ended += 1
        self._work += 1 + size / WEIGHT_BYTES
        if since >= self._opened:
            self._trips.append((took, size))
        seconds = now - self._opened
        if seconds < (DOUBLING_SECONDS if self._share == 1 else WINDOW_SECONDS) or not self._has_seen_enough():
            return
        if self._saturated and now >= self._stand_until:
            self._step(self._rate(seconds), now, busy=self._is_busy(seconds))
        self._open_window(now)

    def _is_near(self) -> bool:
        return self._fastest < NEAR_SECONDS

    def _has_seen_enough(self) -> bool:
        whole = len(self._trips) >= max(self._limit // 2, min(self._limit, JUDGED))
        return whole and (self._ended >= NEAR_TURNS * self._limit or not self._is_near())

    def _rate(self, seconds: float) -> float:
        """Work a second in this window: counted where the stores are near, so that it holds many turns; else the median's."""
        if self._is_near():
            return self._work / seconds
        return self._limit * _median((1 + size / WEIGHT_BYTES) / max(took, INSTANT) for took, size in self._trips)

    def _is_busy(self, seconds: float) -> bool:
        """Whether more in flight would only wait for the processor, as the window's `seconds` went."""
        ran, waited = (now - then for now, then in zip(self._processor(), self._processor_opened, strict=True))
        if ran + waited >= CORE_BUSY * seconds:
            return True
        idle, ticks = (now - then for now, then in zip(self._machine(), self._machine_opened, strict=True))
        full = self.store_is_here and ticks > 0 and idle <= FULL * ticks
        if waited >= max(CROWDED * seconds, ran):
            return full or self._is_near()
        if not self.store_is_here or not self._is_near():
            return False
        return full or _median(took for took, _ in self._trips) > QUEUED * self._fastest

    def _step(self, rate: float, now: float, *, busy: bool) -> None:
        """Judge the last step, and make the next one."""
        if self._step_back_to and rate < self._rate_before * (1 + PAYS * (self._limit / self._step_back_to - 1)):
            self._doubts += 1
            if self._doubts >= DOUBTS:
                self._step_back(rate, now)
            return
        self._doubts = self._step_back_to = 0
        if busy:
            return
        self._best_pace = max(self._best_pace, rate / self._limit)
        grown = min(self._limit + max(1, int(self._limit * self._share)), self._upper)
        if grown > self._limit:
            self._step_back_to, self._limit, self._rate_before = self._limit, grown, rate

    def _step_back(self, rate: float, now: float) -> None:
        """To the limit before the step. To less where doubling at a distance went on while a line was forming already: to what
        would be under way if nobody waited, and a little more."""
        back = self._step_back_to
        if self._share == 1 and not self._is_near():
            back = min(back, max(START, math.ceil(HEADROOM * rate / self._best_pace)))  # Little's law
        self._limit, self._step_back_to, self._doubts = back, 0, 0
        self._share = CAREFUL
        self._stand_until = now + PATIENCE_SECONDS

    def _open_window(self, now: float) -> None:
        self._opened = now
        self._trips.clear()
        self._ended, self._work = 0, 0.0
        self._processor_opened = self._processor()
        self._machine_opened = self._machine()
        self._saturated = bool(self._waiting)


class Rider:
    """An object's slot, which one of its parts at a time may use."""

    __slots__ = ("_taken", "limiter", "waiting")

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.waiting: deque[Turn] | None = None  # most objects have one part, and never a line
        self._taken = False

    def board(self) -> bool:
        """Take the ride where it is free."""
        if self._taken:
            return False
        self._taken = True
        return True

    def leave(self) -> None:
        """Hand the ride to the next part that waits, or free it."""
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():  # else cancelled, or it got a slot of its own
                turn.set_result(True)
                return
        self._taken = False


_rider: ContextVar[Rider | None] = ContextVar("rider", default=None)


class Slot:
    """One slot, held for the length of an `async with` block."""

    __slots__ = ("_limiter", "_riding", "_since", "_size", "_token")

    def __init__(self, limiter: Limiter, size: int) -> None:
        self._limiter = limiter
        self._size = size
        self._since = 0.0
        self._riding: Rider | None = None
        self._token: Token[Rider | None] | None = None

    async def __aenter__(self) -> None:
        rider = _rider.get()
        if rider is None or rider.limiter is not self._limiter:
            await self._limiter.acquire()
            self._token = _rider.set(Rider(self._limiter))
        elif await self._limiter.acquire(rider):
            self._riding = rider
        self._since = self._limiter.now()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._riding is not None:
            self._riding.leave()
            return
        if self._token is not None:
            _rider.reset(self._token)
        self._limiter.release(self._size, succeeded=error is None, since=self._since)
