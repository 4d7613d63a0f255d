"""Signatures of messages: who may send to a queue is not believed for that.

Every run has 32 random bytes in the ledger. Its messages carry an HMAC-SHA256 over their text, made with these, as their
last field: `{"kind":"objects",...,"mac":"<43 characters>"}`. The signed text is what stands there without this field, byte
for byte, so nothing is written anew to check it; and a worker that knows no signatures reads the message all the same.
Pure.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64encode

KEY_BYTES = 32
_MARK = ',"mac":"'
_MAC_CHARACTERS = 43  # 32 bytes in base64 without the padding
_TAIL = len(_MARK) + _MAC_CHARACTERS + len('"}')
MAC_BYTES = _TAIL - 1
"""What a signature adds to a message."""


def new_key() -> bytes:
    """A key for one run."""
    return secrets.token_bytes(KEY_BYTES)


def signed(text: str, key: bytes) -> str:
    """The message with its signature; as it is where there is no key. `text` is a JSON object in ASCII, as
    `messages.encode` writes it."""
    return f'{text[:-1]}{_MARK}{_mac(text, key)}"}}' if key else text


def is_signed(body: str, key: bytes) -> bool:
    """Whether the message is, byte for byte, one that somebody signed who has the key. Takes the same time for every
    wrong signature."""
    tail = body[-_TAIL:]
    if not key or not tail.startswith(_MARK) or not tail.endswith('"}') or not body.isascii():
        return False
    given = tail[len(_MARK) : len(_MARK) + _MAC_CHARACTERS]
    return hmac.compare_digest(given, _mac(body[:-_TAIL] + "}", key))


def _mac(text: str, key: bytes) -> str:
    return urlsafe_b64encode(hmac.digest(key, text.encode("ascii"), "sha256")).rstrip(b"=").decode("ascii")
