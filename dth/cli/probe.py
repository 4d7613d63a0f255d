"""`dth probe LOCATION`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from dth.cli.options import PLACE, AsJson, Common, JobFile, Verbose, with_settings
from dth.cli.output.base import Output
from dth.cli.run import guarded, load
from dth.errors import SettingsError
from dth.settings import parse_s3_url
from dth.states import Side

_OTHERS = ("connect_seconds", "first_byte_seconds", "idle_seconds", "ca_bundle")
_SPELT = {Side.SOURCE: "src", Side.DESTINATION: "dest"}

Location = Annotated[
    str, typer.Argument(metavar="LOCATION", help="s3://bucket or s3://bucket/prefix.", show_default=False)
]
AsSide = Annotated[Side, typer.Option("--side", help="Which side's settings open it.", show_default=True)]
Write = Annotated[
    bool, typer.Option("--write", help="Write, read and delete objects in a folder of a random name there.")
]


@with_settings(only=(*(f"{side}_{name}" for side in ("src", "dest") for name in PLACE), "src_request_payer", *_OTHERS))
def probe(
    location: Location,
    *,
    side: AsSide = Side.SOURCE,
    write: Write = False,
    job: JobFile = None,
    json: AsJson = False,
    verbose: Verbose = False,
    flags: dict[str, Any],
) -> None:
    """Ask an endpoint what it can do, and say which permission is missing.

    It only reads, unless you give `--write`: then it writes a few small objects below the prefix, as a copy would, and
    removes them again, even if it is interrupted. Each question gets one line: yes, no, denied (with the action to
    allow), unknown or broken, and what dth assumes where that differs. Exit code 4: a permission is missing that a job
    would need.

    Example: `dth probe s3://backup/photos --side destination --dest-profile backup --write`
    """
    common = Common(job, json, verbose)

    async def verb(output: Output, stop: asyncio.Event) -> int:
        try:
            place = parse_s3_url(location)
        except SettingsError as error:
            raise SettingsError(f"{error}\nUsage: dth probe s3://BUCKET/PREFIX") from error
        spelt = _SPELT[side]
        where = {f"{spelt}_bucket": place.bucket, f"{spelt}_prefix": place.prefix}
        settings = load(
            common, {**flags, **where}, origins=dict.fromkeys(where, "LOCATION"), required=(f"{spelt}_bucket",)
        )
        from dth.app import verbs  # noqa: PLC0415 - the engine is loaded once its settings are known to be right

        return await verbs.probe(settings, side, output.event, stop, write=write)

    guarded(common, verb)
