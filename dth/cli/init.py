"""`dth init`."""

from __future__ import annotations

import asyncio
import json as jsonlib
import os
import re
import sys
from typing import Annotated, Any

import typer

from dth.cli.options import AsJson, Common, Verbose
from dth.cli.output.base import Output
from dth.cli.run import guarded
from dth.settings import TransferJob, load_settings, settings_of
from dth.summary import ExitCode

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Name of the queues (NAME and NAME-dead) and the table; without it, DTH_QUEUE and DTH_TABLE if they are set, else dth.",
        show_default=False,
    ),
]
Delete = Annotated[bool, typer.Option("--delete", help="Remove all three, with everything in them.")]


_known = settings_of(TransferJob)
_RECEIVE_LIMIT: Any = _known["receive_limit"].default
_LEASE_SECONDS: Any = _known["lease_seconds"].default
Limit = Annotated[
    int, typer.Option("--receive-limit", min=1, max=1000, help="Deliveries after which a message is a dead letter.")
]


def init(
    name: Name = "",
    *,
    delete: Delete = False,
    receive_limit: Limit = _RECEIVE_LIMIT,
    json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Make the queue, the dead-letter queue and the table of a fleet.

    It makes them in the account and region of the environment (AWS_REGION, AWS_PROFILE), and keeps what is already there.
    It prints the settings for `dth find` and `dth work` as lines of a job file. Without NAME, it makes what DTH_QUEUE
    and DTH_TABLE say (a name, a URL or an ARN).

    Example: `dth init photos >> job.toml`
    """

    async def verb(_output: Output, _stop: asyncio.Event) -> int:
        from dth.app import verbs  # noqa: PLC0415 - the engine is loaded when it is needed

        if delete:
            made = await verbs.remove(*_names(name))
        else:
            made = await verbs.init(*_names(name), lease_seconds=_LEASE_SECONDS, receive_limit=receive_limit)
        fields = {"queue": made.queue, "dead_letter_queue": made.dead_letter_queue, "table": made.table}
        if json:
            print(jsonlib.dumps({"event": "Removed" if delete else "Made", **fields}), file=sys.stdout)  # noqa: T201
        elif delete:
            gone = ", ".join(filter(None, fields.values())) or "nothing: none of them was there"
            print(f"removed {gone}", file=sys.stdout)  # noqa: T201 - this verb's answer
        else:
            print(f"# messages given up: {made.dead_letter_queue}", file=sys.stdout)  # noqa: T201
            print(f'queue = "{made.queue}"\ntable = "{made.table}"', file=sys.stdout)  # noqa: T201
        return ExitCode.COMPLETE

    guarded(Common(None, json, verbose), verb)


def _names(name: str) -> tuple[str, str]:
    """Queue and table: NAME, else what the environment says. Where that says one of them, the other is called like it."""
    said = [("NAME", name)] if name else []
    queues, tables = ([*said, (f"DTH_{one}", os.environ.get(f"DTH_{one}", ""))] for one in ("QUEUE", "TABLE"))
    (asked, queue), (of, table) = (next((each for each in some if each[1]), ("", "")) for some in (queues, tables))
    given = {
        "queue": queue or re.split("[/:]", table)[-1] or "dth",
        "table": table or re.split("[/:]", queue)[-1] or "dth",
        "job_id": "init",
    }
    job = load_settings(given, {}, None, origins={"queue": asked, "table": of}, locations_required=False)
    return job.queue, job.table
