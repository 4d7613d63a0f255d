"""Tells people how tasks end: by a command, a webhook, or e-mail. What cannot be told is logged, and changes nothing else."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import smtplib
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from dth.errors import SettingsError
from dth.hub.here.supervisor import Ended
from dth.hub.states import RunKind

SECONDS = 30.0
_log = logging.getLogger("dth.hub")


@dataclass(frozen=True, slots=True)
class Notify:
    """How. `command` gets the result as JSON on its standard input; `webhook` as the body of a POST; `smtp` looks like
    `smtp://user@mail.example:587/?from=dth@example.org&to=me@example.org` (smtps: TLS from the start), its password stands in
    the environment as SMTP_PASSWORD."""

    command: str = ""
    webhook: str = ""
    smtp: str = ""

    def __post_init__(self) -> None:
        if self.webhook and urlsplit(self.webhook).scheme not in {"http", "https"}:
            raise SettingsError("--notify-webhook is a URL that begins with http:// or https://")
        if self.smtp:
            mail = urlsplit(self.smtp)
            if mail.scheme not in {"smtp", "smtps"} or not mail.hostname or not parse_qs(mail.query).get("to"):
                raise SettingsError("--notify-smtp looks like smtp://user@mail.example:587/?to=me@example.org")


class Notifier:
    """Sends them, one after the other, beside the hub's own work."""

    def __init__(self, how: Notify) -> None:
        self._how = how
        self._sending: set[asyncio.Task[None]] = set()

    async def __call__(self, ended: Ended) -> None:
        """See `supervisor.Tell`. Returns at once."""
        how = self._how
        if not (how.command or how.webhook or how.smtp) or ended.run.kind is RunKind.PLAN:
            return
        sending = asyncio.create_task(self._send(body_of(ended)))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _send(self, body: Mapping[str, Any]) -> None:
        for name, way in (("command", self._command), ("webhook", self._webhook), ("smtp", self._smtp)):
            if getattr(self._how, name):
                try:
                    await asyncio.wait_for(way(body), SECONDS)
                except Exception as error:  # noqa: BLE001 - whatever it is, the task has ended all the same
                    _log.warning("the %s about task %s could not be sent: %s", name, body["task"], error)

    async def _command(self, body: Mapping[str, Any]) -> None:
        process = await asyncio.create_subprocess_exec(
            *shlex.split(self._how.command), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            await process.communicate(json.dumps(body).encode())
        except asyncio.CancelledError:
            process.kill()
            raise
        if process.returncode:
            _log.warning("the notification command ended with %s", process.returncode)

    async def _webhook(self, body: Mapping[str, Any]) -> None:
        request = urllib.request.Request(  # noqa: S310 - http and https only, see Notify
            self._how.webhook, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )

        def post() -> None:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
                answer.read(1024)

        await asyncio.to_thread(post)

    async def _smtp(self, body: Mapping[str, Any]) -> None:
        await asyncio.to_thread(send_mail, self._how.smtp, message_of(body))


def body_of(ended: Ended) -> dict[str, Any]:
    """What is told: plain values."""
    figures = ended.run.figures
    return {
        "task": ended.task.id,
        "name": ended.task.name,
        "run": ended.run.id,
        "kind": ended.run.kind.value,
        "state": ended.state.value,
        "cause": ended.cause,
        "detail": ended.detail,
        "found": figures.found,
        **{name: figures.sum(name) for name in ("done", "skipped", "failed", "bytes", "deleted")},
        "failures": {code: cause.final for code, cause in figures.causes.items() if cause.final},
    }


def message_of(body: Mapping[str, Any]) -> EmailMessage:
    """The same as an e-mail. Header values lose what would end them."""
    name = " ".join(str(body["name"] or body["task"]).split())
    message = EmailMessage()
    message["Subject"] = f"dth: {name} {str(body['state']).lower()}"
    lines = [f"{key}: {value}" for key, value in body.items() if value not in ("", None, {})]
    message.set_content("\n".join(lines) + "\n")
    return message


def send_mail(url: str, message: EmailMessage) -> None:
    """Send it by the server that the URL names."""
    where = urlsplit(url)
    query = parse_qs(where.query)
    message["To"] = ", ".join(query["to"])
    message["From"] = query.get("from", [f"dth@{where.hostname}"])[0]
    assert where.hostname
    context = ssl.create_default_context()
    if where.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(where.hostname, where.port or 465, timeout=SECONDS, context=context)
    else:
        server = smtplib.SMTP(where.hostname, where.port or 587, timeout=SECONDS)
    with server:
        server.ehlo()
        if where.scheme == "smtp" and server.has_extn("starttls"):
            server.starttls(context=context)
        if where.username:
            server.login(unquote(where.username), os.environ.get("SMTP_PASSWORD", ""))
        server.send_message(message)
