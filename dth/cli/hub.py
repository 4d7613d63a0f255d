"""`dth hub`."""

from __future__ import annotations

import asyncio
import getpass
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dth.cli.options import AsJson, Common, Verbose
from dth.cli.output.base import Output
from dth.cli.run import guarded
from dth.errors import SettingsError
from dth.events import Notice
from dth.settings.transfer import default_state
from dth.summary import ExitCode

if TYPE_CHECKING:
    from dth.hub.run import Options

NEEDS = ("graphql", "starlette", "uvicorn", "jwt")

What = Annotated[
    str, typer.Argument(metavar="password", help="`password`: set the hub's password, and end.", show_default=False)
]
Port = Annotated[
    int, typer.Option("--port", metavar="NUMBER", help="Port to listen on; 0: a free one.", min=0, max=65_535)
]
Host = Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")]
ReadOnly = Annotated[bool, typer.Option("--read-only", help="Show everything, change nothing.")]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Print the link; open no browser.")]
State = Annotated[
    str, typer.Option("--state", metavar="FOLDER", help="State directory, as of other commands.", show_default=False)
]
Name = Annotated[
    list[str] | None,
    typer.Option("--name", metavar="HOST:PORT", help="A name by which browsers reach it.", show_default=False),
]
Demo = Annotated[bool, typer.Option("--demo", help="Start two stores to try things on (extra dth[demo]).")]
Certificate = Annotated[
    str, typer.Option("--tls-cert", metavar="FILE", help="TLS certificate and its chain, PEM.", show_default=False)
]
Key = Annotated[str, typer.Option("--tls-key", metavar="FILE", help="Its private key, PEM.", show_default=False)]
Issuer = Annotated[
    str, typer.Option("--oidc-issuer", metavar="URL", help="Identity provider (OpenID Connect).", show_default=False)
]
Client = Annotated[
    str, typer.Option("--oidc-client-id", metavar="TEXT", help="The hub's client id there.", show_default=False)
]
Users = Annotated[
    list[str] | None,
    typer.Option("--oidc-user", metavar="EMAIL", help="Let only these users in.", show_default=False),
]
Command = Annotated[
    str,
    typer.Option("--notify-command", metavar="COMMAND", help="Run when a task ends; gets JSON.", show_default=False),
]
Webhook = Annotated[
    str, typer.Option("--notify-webhook", metavar="URL", help="POST JSON there when a task ends.", show_default=False)
]
Smtp = Annotated[
    str,
    typer.Option("--notify-smtp", metavar="URL", help="Mail: smtp://user@host:587/?to=me@host.", show_default=False),
]
AtOnce = Annotated[
    int, typer.Option("--at-once", metavar="NUMBER", help="Runs at the same time; 0: twice the cores.", min=0, max=1000)
]

KeepRuns = Annotated[int, typer.Option("--keep-runs", metavar="NUMBER", help="Runs of a task that are kept.", min=1)]
KeepDays = Annotated[int, typer.Option("--keep-days", metavar="NUMBER", help="Days for which runs are kept.", min=1)]


def hub(
    what: What = "",
    *,
    port: Port = 0,
    host: Host = "127.0.0.1",
    read_only: ReadOnly = False,
    no_browser: NoBrowser = False,
    demo: Demo = False,
    state: State = "",
    name: Name = None,
    certificate: Certificate = "",
    key: Key = "",
    oidc_issuer: Issuer = "",
    oidc_client_id: Client = "",
    oidc_user: Users = None,
    notify_command: Command = "",
    notify_webhook: Webhook = "",
    notify_smtp: Smtp = "",
    at_once: AtOnce = 0,
    keep_runs: KeepRuns = 100,
    keep_days: KeepDays = 90,
    json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Manage transfers in a browser: plan, run, schedule, understand.

    Opens the console on this machine. The link signs in once; run the command again for another one. Tasks go on when the hub
    is stopped, and it finds them again. Other machines reach it only with TLS and a password or an identity provider.
    Needs the extra `dth[hub]`.

    Example: `dth hub --port 8480`
    """
    common = Common(None, json, verbose)

    root = Path(state).absolute() if state else default_state(os.environ)

    async def verb(output: Output, stop: asyncio.Event) -> int:
        _check_installed()
        if what == "password":
            return await _password(output, root)
        if what:
            raise SettingsError(f"dth hub {what} is unknown: it is `dth hub`, or `dth hub password`")
        from dth.hub.here.notify import Notify  # noqa: PLC0415 - the hub is loaded where it is wanted
        from dth.hub.oidc import OidcSettings  # noqa: PLC0415
        from dth.hub.run import Options  # noqa: PLC0415
        from dth.hub.run import hub as serve  # noqa: PLC0415

        oidc = (
            OidcSettings(oidc_issuer, oidc_client_id, tuple(oidc_user or ())) if oidc_issuer or oidc_client_id else None
        )
        options: Options = Options(
            state=root,
            host=host,
            port=port,
            read_only=read_only,
            browser=not no_browser,
            demo=demo,
            names=tuple(name or ()),
            certificate=certificate,
            key=key,
            oidc=oidc,
            notify=Notify(notify_command, notify_webhook, notify_smtp),
            at_once=at_once or 2 * len(os.sched_getaffinity(0)),
            keep_runs=keep_runs,
            keep_days=keep_days,
        )

        def say(code: str, text: str) -> None:
            output.event(Notice("info", code, text))
            output.tick()

        await serve(options, say, stop)
        return ExitCode.COMPLETE

    guarded(common, verb)


def _check_installed() -> None:
    if missing := [one for one in NEEDS if importlib.util.find_spec(one) is None]:
        raise SettingsError(f"the hub needs more packages ({', '.join(missing)}): pip install 'dth[hub]'")


async def _password(output: Output, root: Path) -> int:
    """Ask twice on a terminal; else read one line of standard input."""
    from dth.hub.run import set_password  # noqa: PLC0415 - the hub is loaded where it is wanted

    if sys.stdin.isatty():
        password = getpass.getpass("New password of the hub: ")
        if password != getpass.getpass("Once more: "):
            raise SettingsError("these were two different passwords; nothing was changed")
    else:
        password = sys.stdin.readline().rstrip("\n")
    await set_password(root, password)
    output.event(Notice("info", "hub_password", "the password is set" if password else "the password is taken away"))
    return ExitCode.COMPLETE
