"""Foreign text on its way to a terminal, a log or a report: keys, names, and what stores and registries say. Pure.

A terminal obeys control characters, and a log takes a new line for a new entry. So whoever names an object could move
the cursor, change the window's title, or write a line that dth never wrote. All such text goes through `printable`.
"""

from __future__ import annotations

import re

LINE_LIMIT = 16_384
"""Characters of one line that are shown: a key of 1,024 bytes fits into it in any spelling, several times."""

_WORD_LIMIT = 64
_NO_WORD = re.compile(r"[^A-Za-z0-9._-]")


def printable(text: str, *, lines: bool = False, limit: int = LINE_LIMIT) -> str:
    r"""The text on one line, with nothing in it that a terminal would obey.

    Control characters, line and paragraph separators, marks that turn the direction of writing, invisible characters
    and lone surrogates are spelt out (`\x1b`, `\u202e`). Lines longer than `limit` characters are cut. With `lines`, line
    feeds stay: use it only where dth itself has put them there. Applying it twice changes nothing more.
    """
    if lines:
        return "\n".join(printable(line, limit=limit) for line in text.split("\n"))
    if len(text) > limit:
        text = text[:limit] + "..."
    if text.isprintable():
        return text
    return "".join(ch if ch.isprintable() else ch.encode("unicode_escape").decode("ascii") for ch in text)


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold it. JSON can spell half a surrogate pair, and no file, database or request can hold that."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def word(text: str) -> str:
    """A code or an identifier that somebody else has chosen: up to 64 of `A-Za-z0-9._-`; others become `_`."""
    return _NO_WORD.sub("_", text[:_WORD_LIMIT])
