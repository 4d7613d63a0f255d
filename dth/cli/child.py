"""The worker process that a parent spawns: `python -m dth.cli.child`. See `dth.children` for what goes through the pipes.

Kept light: it must not import the command line's libraries, because every core pays for this start.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

import uvloop

from dth.children import WORDS
from dth.cli.gc_tuning import collect_less
from dth.cli.output import streams
from dth.errors import DthError
from dth.events import Event, Notice, WorkerFailed, to_json
from dth.text import printable

PARENT_GONE = 70


def main() -> None:
    """Read the task, work, end. Ctrl-C reaches the whole group of processes: the parent decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    streams.hush()
    line, behind = _first_line()
    sys.exit(uvloop.run(_work(json.loads(line), behind)))


def _first_line() -> tuple[bytes, bytes]:
    """The task, and what came behind it. Not through `sys.stdin`: its buffer would swallow an order that is already there,
    and a parent that was stopped just now would wait for a worker that never heard of it."""
    data = b""
    while b"\n" not in data:
        piece = os.read(0, 65_536)
        if not piece:
            _vanish()
        data += piece
    line, _, behind = data.partition(b"\n")
    return line, behind


async def _work(task: dict[str, str | bool], orders_so_far: bytes) -> int:
    from dth.app import verbs  # noqa: PLC0415 - after the signal handler: importing takes a moment

    collect_less()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, _show_tasks)
    live = verbs.Live()
    orders = _Orders(stop, live.order)
    orders.data_received(orders_so_far)
    transport, _ = await loop.connect_read_pipe(lambda: orders, sys.stdin)
    process = str(task["process"])
    try:
        await verbs.run_child(
            str(task["settings"]),
            process,
            strict=bool(task["strict"]),
            until_empty=bool(task["until_empty"]),
            emit=_tell,
            stop=stop,
            live=live,
        )
    except DthError as error:
        _tell(WorkerFailed(process, error.code, str(error)))
        return error.exit_code
    except Exception as error:
        _tell(Notice("warning", WORDS, printable(f"{type(error).__name__}: {error}", limit=1000)))
        raise
    finally:
        orders.ended = True
        transport.close()
    return 0


class _Orders(asyncio.Protocol):
    """What the parent says, a line each: `drain`, limits (see `app.live`), or, by its death, the end."""

    def __init__(self, stop: asyncio.Event, order: Callable[[str], None]) -> None:
        self._stop = stop
        self._order = order
        self._unread = b""
        self.ended = False  # the work is over: the pipe's end means nothing any more

    def data_received(self, data: bytes) -> None:
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            if line == b"drain":
                self._stop.set()
            else:
                self._order(line.decode("ascii", "replace"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        if not self.ended:
            _vanish()

    def eof_received(self) -> None:
        if not self.ended:
            _vanish()


def _vanish() -> NoReturn:
    """End at once: whatever is under way is safe to repeat, and a worker without a parent must not go on."""
    os._exit(PARENT_GONE)


def _show_tasks() -> None:
    """On SIGUSR1, write to standard error where every task waits. It helps to find out why nothing moves."""
    for task in asyncio.all_tasks():
        task.print_stack(file=sys.stderr)


def _tell(event: Event) -> None:
    line = to_json(event).encode("ascii") + b"\n"
    try:
        os.write(1, line) if len(line) <= 4096 else _write_all(line)  # noqa: PLR2004 - PIPE_BUF: atomic up to here
    except BrokenPipeError:
        _vanish()


def _write_all(line: bytes) -> None:
    view = memoryview(line)
    while view:
        view = view[os.write(1, view) :]


if __name__ == "__main__":
    main()
