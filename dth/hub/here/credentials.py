"""What opens stores, by name. The hub keeps no key."""

from __future__ import annotations

import asyncio
import configparser
import os
from collections.abc import Sequence
from pathlib import Path

from dth.hub.base import Refused


class NamedCredentials:
    """See `base.Credentials`: sections of the AWS configuration, and unsigned requests."""

    async def names(self) -> Sequence[tuple[str, str]]:
        """See `base.Credentials`."""
        profiles = await asyncio.to_thread(_profiles)
        return [("anonymous", "unsigned requests, for public buckets"), *((name, "AWS profile") for name in profiles)]

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
