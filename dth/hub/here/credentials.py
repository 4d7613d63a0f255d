"""What opens stores, by name. The hub keeps no key."""

from __future__ import annotations

import asyncio
import configparser
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

from dth.errors import DthError
from dth.hub.base import Refused
from dth.stores.secrets import list_secrets

PROFILE = "AWS profile"


SECONDS = 60.0  # for which a list of secrets is good
_log = logging.getLogger("dth.hub")


class NamedCredentials:
    """See `base.Credentials`: sections of the AWS configuration, secrets of its Secrets Manager, and unsigned requests."""

    def __init__(self) -> None:
        self._secrets: list[tuple[str, str]] = []
        self._listed_at = -SECONDS
        self._one_at_a_time = asyncio.Lock()

    async def names(self) -> Sequence[tuple[str, str]]:
        """See `base.Credentials`."""
        profiles = await asyncio.to_thread(_profiles)
        anonymous = ("anonymous", "unsigned requests, for public buckets")
        return [anonymous, *((name, PROFILE) for name in profiles), *await self._of_aws()]

    async def _of_aws(self) -> Sequence[tuple[str, str]]:
        """Secrets, where this machine may list them. Where it may not, a form still takes their names."""
        async with self._one_at_a_time:
            if time.monotonic() - self._listed_at > SECONDS:
                try:
                    self._secrets = await asyncio.to_thread(list_secrets)
                except DthError as error:
                    _log.info("no secrets are shown: %s", error)
                    self._secrets = []
                self._listed_at = time.monotonic()
            return self._secrets

    async def save(self, name: str, description: str, access_key_id: str, secret_access_key: str) -> None:
        """Refused: keys stay where the AWS tools keep them."""
        del description, access_key_id, secret_access_key
        raise Refused(
            "not_here",
            "this hub keeps no keys",
            f"run `aws configure --profile {name}` on its machine, or keep them in Secrets Manager, and name them here",
        )


def _profiles() -> list[str]:
    """Sections of the AWS configuration; only their names are kept."""
    home = Path.home() / ".aws"
    files = {
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or str(home / "credentials"): "",
        os.environ.get("AWS_CONFIG_FILE") or str(home / "config"): "profile ",
    }
    found: set[str] = set()
    for path, before in files.items():
        parser = configparser.RawConfigParser(strict=False, default_section="\0")
        try:
            parser.read_string(Path(path).expanduser().read_text("utf-8", errors="replace"))
        except (OSError, configparser.Error):
            continue
        found |= {
            section.removeprefix(before)
            for section in parser.sections()
            if section == "default" or section.startswith(before)
        }
    return sorted(found)
