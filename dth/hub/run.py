"""Serves the hub: a socket, the application, a link to sign in with."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import webbrowser
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from uvicorn import Config, Server

from dth.errors import SettingsError
from dth.hub.base import Demo, Hub, Refused
from dth.hub.guards import Guards
from dth.hub.here.folder import HubFolder, write_private
from dth.hub.here.keep import SqliteKeep
from dth.hub.here.notify import Notifier, Notify
from dth.hub.here.open import Taken, open_database, open_here
from dth.hub.http import Site
from dth.hub.login import Login
from dth.hub.oidc import Oidc, OidcSettings
from dth.hub.password import hashed
from dth.hub.resolve import table

PASSWORD = "password"  # noqa: S105 - the name of a note
Say = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What `dth hub` was told. `names` are further names, with port, by which it may be addressed."""

    state: Path
    host: str = "127.0.0.1"
    port: int = 0
    read_only: bool = False
    browser: bool = True
    demo: bool = False
    names: Sequence[str] = ()
    certificate: str = ""
    key: str = ""
    oidc: OidcSettings | None = None
    notify: Notify = Notify()
    at_once: int = 4
    confined: bool = False
    keep_runs: int = 100
    keep_days: int = 90

    @property
    def local(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


async def hub(options: Options, say: Say, stop: asyncio.Event) -> None:
    """Serve until `stop`. `say` takes a stable word and a text. Where a hub of this state runs already, a link to that one
    is said, and that is all."""
    folder = HubFolder(options.state)
    if not options.local and not options.certificate:
        raise SettingsError(
            f"--host {options.host} is reached from other machines: that needs TLS (--tls-cert and --tls-key), and a password "
            "(dth hub password) or --oidc-issuer"
        )
    notifier = Notifier(options.notify)
    try:
        async with open_here(
            folder,
            at_once=options.at_once,
            tell=notifier,
            confined=options.confined,
            keep_runs=options.keep_runs,
            keep_days=options.keep_days,
        ) as here:
            await _serve(options, here.hub, here.keep, folder, say, stop)
    except Taken as taken:
        if not taken.address:
            raise
        async with open_database(folder) as database:
            login = _login(options, SqliteKeep(database), taken.address, "", None)
            link = await login.new_link(taken.address)
        say("hub_link", link)
        _browse(options, link)


async def _serve(
    options: Options, hub: Hub, keep: SqliteKeep, folder: HubFolder, say: Say, stop: asyncio.Event
) -> None:
    password = await keep.note(PASSWORD)
    if not options.local and not (password or options.oidc):
        raise SettingsError(
            f"--host {options.host} is reached from other machines: set a password first (dth hub password), or --oidc-issuer"
        )
    _check_tls(options)
    bound = _bind(options)
    port = bound.getsockname()[1]
    scheme = "https" if options.certificate else "http"
    shown = f"[{options.host}]" if ":" in options.host else options.host
    base = f"{scheme}://{shown}:{port}"
    oidc = Oidc(options.oidc, base if not options.names else f"{scheme}://{options.names[0]}") if options.oidc else None
    login = _login(options, keep, base, password, oidc)
    guarded = Guards(Site(table(hub), login).app(), hosts=_hosts(options, shown, port), scheme=scheme)
    write_private(folder.path / "address", base)
    config = Config(
        guarded, log_level="warning", access_log=False, server_header=False, ws="none", lifespan="off",
        proxy_headers=False, timeout_graceful_shutdown=3, limit_concurrency=500,
        ssl_certfile=options.certificate or None, ssl_keyfile=options.key or None,
    )  # fmt: skip
    server = _Server(config)
    async with _stopping(server, stop), _with_demo(options, hub, say):
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.02)
        say("hub_address", base)
        if options.local:
            link = await login.new_link(base)
            say("hub_link", link)
            _browse(options, link)
        await serving


def _check_tls(options: Options) -> None:
    """Certificate and key are there, can be read, and belong together."""
    if bool(options.certificate) != bool(options.key):
        raise SettingsError(
            "--tls-cert and --tls-key come together: the certificate's file, and that of its private key"
        )
    if not options.certificate:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options.certificate, options.key)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        reason = error.strerror if isinstance(error, FileNotFoundError | PermissionError) else error.__class__.__name__
        raise SettingsError(
            f"{options.certificate} and {options.key} cannot be used for TLS ({reason}): the first holds a certificate in PEM, "
            "the second its private key without a passphrase"
        ) from error


class _Server(Server):
    """Signals are the command's own business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield


@contextlib.asynccontextmanager
async def _stopping(server: Server, stop: asyncio.Event) -> AsyncIterator[None]:
    async def wait() -> None:
        await stop.wait()
        server.should_exit = True

    waiting = asyncio.create_task(wait())
    try:
        yield
    finally:
        waiting.cancel()


@contextlib.asynccontextmanager
async def _with_demo(options: Options, hub: Hub, say: Say) -> AsyncIterator[None]:
    """The stores for a first task come up beside the hub, if they were asked for."""

    async def start(demo: Demo) -> None:
        try:
            await demo.settings()
        except Refused as error:
            say("hub_demo", str(error))
        else:
            say("hub_demo", "two stores for a first task are ready")

    if not options.demo or hub.demo is None:
        yield
        return
    starting = asyncio.create_task(start(hub.demo))
    try:
        yield
    finally:
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting


def _login(options: Options, keep: SqliteKeep, base: str, password: str, oidc: Oidc | None) -> Login:
    port = base.rpartition(":")[2]
    return Login(
        keep,
        cookie=f"dth_hub_{port}",  # cookies know no ports: two hubs of a machine must not take each other's
        secure=bool(options.certificate),
        trusted=options.local,
        can_write=not options.read_only,
        password=password,
        oidc=oidc,
    )


def _hosts(options: Options, shown: str, port: int) -> set[str]:
    names = {shown, *(("localhost", "127.0.0.1", "[::1]") if options.local else ())}
    return {f"{name}:{port}" for name in names} | set(options.names)


def _bind(options: Options) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((options.host, options.port))
    except OSError as error:
        bound.close()
        raise SettingsError(
            f"cannot listen on {options.host} port {options.port}: {error.strerror}; choose another with --port"
        ) from error
    return bound


def _browse(options: Options, link: str) -> None:
    if options.browser and options.local:
        with contextlib.suppress(Exception):  # no browser is no error: the link was printed
            webbrowser.open(link)


async def set_password(state: Path, password: str) -> None:
    """Keep a new password; "" takes it away. Sessions that are open end."""
    folder = HubFolder(state)
    async with open_database(folder) as database:
        keep = SqliteKeep(database)
        await keep.set_note(PASSWORD, hashed(password) if password else "")
        await database.write(lambda db: db.execute("DELETE FROM sessions"), durable=True)
