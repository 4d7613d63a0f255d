"""Worker processes by fork: a warm process that does nothing but fork itself.

Python needs a quarter of a second of CPU to load what a worker needs, in each process anew. A zygote is a fork of the
command that has loaded it all, made before the command has a thread, an event loop, a connection or a database: nothing
that a fork could tear or share is there yet. Each worker is a fork of the zygote and begins where a spawned one would,
in `dth.cli.child.main`.

    command ──fork──▶ zygote ──fork──▶ worker, worker, ...
       │  ◀─ socket ─▶  │                │
       └───── a worker's stdin and stdout, through the socket as descriptors

- The zygote ends when its socket does, that is, when the command is gone. A worker ends when its stdin does.
- It reports each worker's exit code. Where it died itself, its workers go on; of those that end later nobody knows the
  code, so they count as killed.
- Signals that mean "stop" pass it by: the command tells its workers what to do.

`start` raises OSError where it cannot fork; `dth.children` then spawns.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import selectors
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

LINE_BYTES = 1 << 20  # a worker's event with the longest key and error fits many times
UNKNOWN = -int(signal.SIGKILL)  # the exit code of a worker whose zygote is gone
_MODES = ("rb", "wb")
_FDS = 3  # a worker's stdin, its stdout and the lock that it shares


class ForkedProcess:
    """A worker that the zygote forked. It is used like `asyncio.subprocess.Process`, as far as that is needed."""

    def __init__(
        self, pid: int, stdin: asyncio.WriteTransport, stdout: asyncio.StreamReader, reading: asyncio.BaseTransport
    ) -> None:
        self.pid = pid
        self._reading = reading
        self.stdin = stdin
        self.stdout = stdout
        self._pidfd = _pidfd(pid)
        self.code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def outlives_zygote(self) -> None:
        """Nobody will tell its exit code: it has ended when its descriptor, or its stdout, says so."""
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(self._pidfd)
            if not self.code.done():
                self.code.set_result(UNKNOWN)

        if self._pidfd >= 0:
            loop.add_reader(self._pidfd, ended)
        elif not self.code.done():
            self.code.set_result(UNKNOWN)

    async def wait(self) -> int:
        """Its exit code; negative: the signal that killed it."""
        code = await asyncio.shield(self.code)
        self.stdin.close()
        self._reading.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        return code

    def kill(self) -> None:
        """End it now. By its descriptor, not by its number: somebody else may have that by now."""
        if self.code.done():
            return
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            else:
                os.kill(self.pid, signal.SIGKILL)


class Zygote:
    """The command's side. Made by `fork` before the event loop runs; `start` belongs to the loop."""

    def __init__(self, control: socket.socket, pid: int) -> None:
        self.pid = pid
        self._control = control
        self._turn = asyncio.Lock()
        self._answer: asyncio.Future[int] | None = None
        self._workers: dict[int, ForkedProcess] = {}
        self._codes: dict[int, int] = {}
        self._unread = b""
        self._listening = False

    @classmethod
    def fork(cls, main: Callable[[], object]) -> Zygote | None:
        """Fork one whose workers run `main`. None where forking is not safe, or not to be had: spawn there."""
        if not sys.platform.startswith("linux") or threading.active_count() > 1:
            return None
        ours, its = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            its.close()
            return None
        if pid == 0:
            ours.close()
            _Nursery(its, main).live()
        its.close()
        os.set_blocking(ours.fileno(), False)
        return cls(ours, pid)

    async def start(self, lock: int) -> ForkedProcess:
        """A new worker, which holds `lock` (-1: there is none). Raises OSError where none can be forked."""
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as opened:
            stdin, to_stdin = (
                opened.enter_context(os.fdopen(fd, mode, 0)) for fd, mode in zip(os.pipe(), _MODES, strict=True)
            )
            from_stdout, stdout = (
                opened.enter_context(os.fdopen(fd, mode, 0)) for fd, mode in zip(os.pipe(), _MODES, strict=True)
            )
            async with self._turn:
                pid = await self._ask([stdin.fileno(), stdout.fileno(), *((lock,) if lock >= 0 else ())])
            stdin.close()
            stdout.close()
            opened.pop_all()  # the transports close the two that are left
        reader = asyncio.StreamReader(LINE_BYTES)
        reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), from_stdout)
        writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, to_stdin)
        worker = self._workers[pid] = ForkedProcess(pid, writer, reader, reading)
        if pid in self._codes:
            worker.code.set_result(self._codes.pop(pid))
        return worker

    async def _ask(self, descriptors: list[int]) -> int:
        loop = asyncio.get_running_loop()
        if not self._listening:
            loop.add_reader(self._control, self._hear)
            self._listening = True
        self._answer = loop.create_future()
        socket.send_fds(self._control, [b"F"], descriptors)
        return await self._answer

    def _hear(self) -> None:
        """`forked PID`, `failed ERRNO` or `ended PID CODE`, a line each; or the zygote's end."""
        try:
            data = self._control.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            word, first, *rest = line.split()
            if word == b"ended":
                self._ended(int(first), int(rest[0]))
            elif self._answer and not self._answer.done():
                if word == b"forked":
                    self._answer.set_result(int(first))
                else:
                    self._answer.set_exception(OSError(int(first), os.strerror(int(first))))

    def _ended(self, pid: int, code: int) -> None:
        worker = self._workers.pop(pid, None)
        if worker is None:
            self._codes[pid] = code  # it ended before `start` had made anything of it
        elif not worker.code.done():
            worker.code.set_result(code)

    def _lost(self) -> None:
        """The zygote died. Its workers live on until they end, or their stdin does."""
        asyncio.get_running_loop().remove_reader(self._control)
        self._listening = False
        if self._answer and not self._answer.done():
            self._answer.set_exception(ConnectionError("the process that forks workers has died"))
        for worker in self._workers.values():
            worker.outlives_zygote()
        self._workers.clear()

    def close(self) -> None:
        """End the zygote, when the event loop is over. Its workers are not touched."""
        self._control.close()
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)  # its own child, not waited for yet: the number is its own
            os.waitpid(self.pid, 0)


class _Nursery:
    """The zygote's side: one thread, no loop; waits for orders and for the ends of its workers."""

    def __init__(self, control: socket.socket, main: Callable[[], object]) -> None:
        self._control = control
        self._main = main

    def live(self) -> NoReturn:
        """Fork workers until the command is gone."""
        try:
            _name("dth-zygote")
            for stop in (signal.SIGINT, signal.SIGTERM):
                signal.signal(stop, signal.SIG_IGN)
            wake, waker = os.pipe()
            for end in (wake, waker):
                os.set_blocking(end, False)
            signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
            signal.signal(signal.SIGCHLD, lambda *_: None)
            for descriptor in range(3):
                _hold(descriptor)
            gc.freeze()  # what is loaded stays shared with the workers: no collection touches it
            with selectors.DefaultSelector() as selector:
                selector.register(self._control, selectors.EVENT_READ)
                selector.register(wake, selectors.EVENT_READ)
                while True:
                    ready = [key.fd for key, _ in selector.select()]
                    if wake in ready:
                        os.read(wake, 4096)
                        self._reap()
                    if self._control.fileno() in ready:
                        self._serve(selector, (wake, waker))
        finally:
            os._exit(0)

    def _serve(self, selector: selectors.BaseSelector, pipe: tuple[int, int]) -> None:
        """One order, which is there to be read; the end of the socket ends this process."""
        order, descriptors, _, _ = socket.recv_fds(self._control, 1, _FDS)
        if not order:
            os._exit(0)
        try:
            pid = os.fork()
        except OSError as exc:
            self._say(f"failed {exc.errno}")
            pid = -1
        if pid == 0:
            selector.close()
            for end in pipe:
                os.close(end)
            self._worker(descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        if pid > 0:
            self._say(f"forked {pid}")

    def _worker(self, descriptors: list[int]) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for default in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(default, signal.SIG_DFL)
            self._control.close()
            _name("dth-worker")
            stdin, stdout, *_lock = descriptors
            os.dup2(stdin, 0)
            os.dup2(stdout, 1)
            os.close(stdin)
            os.close(stdout)
            sys.stdin = os.fdopen(0, closefd=False)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            self._main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:  # noqa: BLE001 - the last gate of a process: said as the interpreter would say it
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.flush()
            os._exit(code)  # not through `exit`: its clean-up belongs to the command that was forked

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                self._say(f"ended {pid} {os.waitstatus_to_exitcode(status)}")

    def _say(self, line: str) -> None:
        try:
            self._control.sendall(line.encode("ascii") + b"\n")
        except OSError:
            os._exit(0)


def _hold(descriptor: int) -> None:
    """Keep 0, 1 and 2 taken, so that no pipe of a worker's can land there."""
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)


def _name(name: str) -> None:
    """As `ps` and `top` show it beside the command that all share."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name, encoding="ascii")


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:  # an old kernel, or gone already
        return -1
