"""TLS in front of a server that has none: a thread that decrypts and passes on. `Host` stays what the client said."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator

from .processes import free_ports


@contextlib.contextmanager
def tls_front(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """Listens on 127.0.0.1 for as long as the block runs; its port."""
    (own,) = free_ports(1)
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def passing(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ahead, behind = await asyncio.open_connection("127.0.0.1", port)
        ways = [asyncio.ensure_future(passing(reader, behind)), asyncio.ensure_future(passing(ahead, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.transport.abort()
            behind.transport.abort()

    async def listening() -> None:
        listener = await asyncio.start_server(serve, "127.0.0.1", own, ssl=context)
        ready.set()
        await over.wait()
        listener.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def run() -> None:
        loop.run_until_complete(listening())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(20)
    try:
        yield own
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
