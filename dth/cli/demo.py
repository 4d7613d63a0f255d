"""`dth demo`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from dth.cli.options import AsJson, Common, Verbose
from dth.cli.run import Verb, execute
from dth.events import Emit
from dth.summary import Summary

Objects = Annotated[int, typer.Option("--objects", metavar="NUMBER", help="How many objects.", min=20, max=1_000_000)]


def demo(*, objects: Objects = 10_000, json: AsJson = False, verbose: Verbose = False) -> None:
    """See it work, without an account.

    Starts two object stores on this machine, fills one, syncs it to the other twice, and checks the result
    independently. Needs the extra `dth[demo]`; leaves nothing behind.

    Example: `dth demo --objects 2000`
    """
    common = Common(None, json, verbose)

    def make() -> Verb:
        return lambda emit, stop: _until_stopped(emit, stop, objects)

    execute(common, make)


async def _until_stopped(emit: Emit, stop: asyncio.Event, objects: int) -> Summary:
    """The demo; cancelled by the first signal already, because there is nothing to go on with later."""
    from dth.demo.run import demo as show  # noqa: PLC0415 - the engine is loaded only where it is needed

    showing = asyncio.ensure_future(show(emit, stop, objects=objects))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({showing, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        showing.cancel()  # no-op where it has ended; else its servers and files go with it
        await asyncio.wait({showing})
    return showing.result()
