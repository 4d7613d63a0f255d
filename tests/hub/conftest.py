"""A hub between two buckets of one store, and a front of that store which refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.s3server import S3Server

from .hubs import HubProcess, hub_between
from .refusing import Refusing


@pytest.fixture
def refusing(seaweed: S3Server) -> Iterator[Refusing]:
    front = Refusing(seaweed)
    yield front
    front.close()


@pytest.fixture
def hub(tmp_path: Path, seaweed: S3Server) -> Iterator[tuple[HubProcess, dict[str, str]]]:
    running, settings = hub_between(tmp_path, seaweed, seaweed)
    yield running.start(), settings
    running.end()
