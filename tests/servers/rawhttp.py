"""A server that says exactly the bytes it is told to, for peers that must survive anything."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from dth.transport.base import Origin


@dataclass
class Peer:
    """One accepted connection, the `number`-th from 1."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int

    async def request(self) -> tuple[str, bytes]:
        """The next request's first line and body. Raises IncompleteReadError when the client has closed."""
        head = await self.head()
        length = 0
        for line in head.split("\r\n"):
            if line.lower().startswith("content-length:"):
                length = int(line.split(":")[1])
        return head.split("\r\n")[0], await self.reader.readexactly(length)

    async def head(self) -> str:
        return (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class RawServer:
    origin: Origin
    connections: int = 0
    open: int = 0
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    errors: list[BaseException] = field(default_factory=list)

    async def all_closed(self) -> None:
        """Returns once every client has gone; raises TimeoutError where one stays."""
        async with asyncio.timeout(10):
            while self.tasks:
                await asyncio.wait(self.tasks)


@contextlib.asynccontextmanager
async def raw_server(
    script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[RawServer]:
    """Runs `script` for every connection and closes it afterwards; what went wrong there is raised at the end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        server.tasks.add(task)
        server.connections += 1
        server.open += 1
        try:
            await script(Peer(reader, writer, server.connections))
        except (asyncio.IncompleteReadError, OSError, RuntimeError):
            pass  # the client has gone; uvloop says it by RuntimeError
        except AssertionError as exc:
            server.errors.append(exc)
        finally:
            server.open -= 1
            server.tasks.discard(task)
            writer.transport.abort() if tls else writer.close()

    listener = await asyncio.start_server(serve, host, 0, ssl=tls, limit=1 << 20)
    port = listener.sockets[0].getsockname()[1]
    server = RawServer(Origin("https" if tls else "http", host, port))
    try:
        yield server
    finally:
        listener.close()
        for task in list(server.tasks):
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)
        await asyncio.sleep(0)
    if server.errors:
        raise server.errors[0]


def answering(*answers: bytes) -> Script:
    """Reads one request per answer, says the answer, and waits for the client to close."""

    async def script(peer: Peer) -> None:
        for answer in answers:
            await peer.request()
            await peer.say(answer)
        await peer.reader.read()

    return script


def echo_forever(extra_headers: bytes = b"") -> Script:
    """Answers every request with the request's body."""

    async def script(peer: Peer) -> None:
        while True:
            _, body = await peer.request()
            await peer.say(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (extra_headers, len(body), body))

    return script
