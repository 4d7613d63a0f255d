"""The hub's password, kept as scrypt makes it (RFC 7914)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets

from dth.hub.base import Refused

SHORTEST = 12
_N, _R, _P = 1 << 15, 8, 1  # 32 MiB and a tenth of a second a try
_MEMORY = 64 << 20


def hashed(password: str) -> str:
    """As it is kept. Refused where it is too short to be safe."""
    if len(password) < SHORTEST:
        raise Refused("short_password", f"a password has at least {SHORTEST} characters")
    salt = secrets.token_bytes(16)
    return "$".join(("scrypt", str(_N), str(_R), str(_P), _text(salt), _text(_derived(password, salt, _N, _R, _P))))


async def matches(password: str, kept: str) -> bool:
    """Whether it is the one that was kept so."""
    try:
        name, n, r, p, salt, wanted = kept.split("$")
        if name != "scrypt":
            return False
        numbers = int(n), int(r), int(p)
        found = await asyncio.to_thread(_derived, password, base64.b64decode(salt), *numbers)
        return hmac.compare_digest(found, base64.b64decode(wanted))
    except ValueError:
        return False


def _derived(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=32)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
