"""Tells somebody that a command ended badly: a command gets the result on its standard input, or an SNS topic gets it as a message.

What cannot be told changes nothing else: the exit code stays the command's own.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dth.errors import SettingsError
from dth.events import Emit, Notice
from dth.text import printable

SECONDS = 30.0
_TOPIC = re.compile(r"arn:aws[a-z0-9-]*:sns:(?P<region>[a-z0-9-]+):\d{12}:[A-Za-z0-9_.-]{1,256}")
_MESSAGE_BYTES = 200_000  # SNS takes 256 KiB


@dataclass(frozen=True, slots=True)
class OnFailure:
    """Whom to tell: `command` is an argument list, which no shell reads; `topic` an ARN in `region`."""

    command: tuple[str, ...] = ()
    topic: str = ""
    region: str = ""

    @classmethod
    def parse(cls, text: str) -> OnFailure:
        """From `--on-failure`. Raises SettingsError where nothing could be told, so that it is known before the run."""
        if text.startswith("arn:"):
            found = _TOPIC.fullmatch(text)
            if not found:
                raise SettingsError(
                    f"--on-failure {text!r} is no ARN of an SNS topic, such as arn:aws:sns:eu-west-1:123456789012:alarms"
                )
            return cls(topic=text, region=found["region"])
        try:
            command = tuple(shlex.split(text))
        except ValueError as error:
            raise SettingsError(f"--on-failure {text!r}: {error}") from None
        if not command or not shutil.which(command[0]):
            name = command[0] if command else ""
            raise SettingsError(
                f"--on-failure: there is no command {name!r}; give its path, or the ARN of an SNS topic"
            )
        return cls(command)

    async def tell(self, result: Mapping[str, Any], emit: Emit) -> None:
        """Tell it, within `SECONDS`. Where that fails, a notice says so."""
        text = json.dumps(result)
        try:
            async with asyncio.timeout(SECONDS):
                await (self._publish(text, result) if self.topic else self._run(text))
        except TimeoutError:
            self._failed("it took too long", emit)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run has ended all the same
            self._failed(f"{type(error).__name__}: {error}", emit)

    async def _run(self, text: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *self.command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            await process.communicate(text.encode("ascii"))
        except BaseException:
            if process.returncode is None:
                process.kill()
                await process.wait()
            raise
        if process.returncode:
            raise RuntimeError(f"{self.command[0]} ended with exit code {process.returncode}")

    async def _publish(self, text: str, result: Mapping[str, Any]) -> None:
        from aiobotocore.session import get_session  # noqa: PLC0415 - costly, and seldom needed

        async with get_session().create_client("sns", region_name=self.region) as client:
            subject = printable(f"dth {result['command']}: exit code {result['exit_code']}", limit=90)
            message = text if len(text) <= _MESSAGE_BYTES else json.dumps({**result, "failures": []})
            await client.publish(TopicArn=self.topic, Subject=subject, Message=message)

    def _failed(self, why: str, emit: Emit) -> None:
        whom = self.topic or self.command[0]
        emit(Notice("warning", "on_failure", printable(f"--on-failure {whom} could not be told: {why}", limit=500)))
