"""What shared uploads leave in a ledger, as text: the same for every ledger."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from dth.ledgers.base import MovedPart, Sharing


def from_sharing(sharing: Sharing | None) -> str:
    """JSON, "" for None."""
    return json.dumps(asdict(sharing)) if sharing else ""


def to_sharing(text: str) -> Sharing | None:
    """The reverse."""
    return Sharing(**json.loads(text)) if text else None


def from_parts(parts: Sequence[MovedPart]) -> str:
    """JSON: a list of `[etag, crc or null, answered, digest in hex, opaque]`."""
    rows = [[part.etag, part.crc, int(part.answered), part.digest.hex(), int(part.opaque_etag)] for part in parts]
    return json.dumps(rows, separators=(",", ":"))


def to_parts(text: str) -> tuple[MovedPart, ...]:
    """The reverse."""
    return tuple(
        MovedPart(etag, crc, bool(answered), bytes.fromhex(digest), bool(opaque))
        for etag, crc, answered, digest, opaque in json.loads(text)
    )
