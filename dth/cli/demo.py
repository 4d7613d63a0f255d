"""`dth demo`."""

from __future__ import annotations

from typing import Annotated

import typer

from dth.cli.options import AsJson, Common, Verbose
from dth.cli.run import Verb, execute

Objects = Annotated[int, typer.Option("--objects", metavar="NUMBER", help="How many objects.", min=20, max=1_000_000)]


def demo(*, objects: Objects = 10_000, json: AsJson = False, verbose: Verbose = False) -> None:
    """See it work, without an account.

    Starts two object stores on this machine, fills one, syncs it to the other twice, and checks the result
    independently. Needs the extra `dth[demo]`; leaves nothing behind.

    Example: `dth demo --objects 2000`
    """
    common = Common(None, json, verbose)

    def make() -> Verb:
        from dth.demo.run import demo as show  # noqa: PLC0415 - the engine is loaded only where it is needed

        return lambda emit, stop: show(emit, stop, objects=objects)

    execute(common, make)
