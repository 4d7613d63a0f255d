"""What the console says in a language, by key, so that a test need not know the words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache

from dth.settings.catalog import entries

from .site import source

LANGUAGES = ("en", "zh")
Say = Callable[..., str]
_TEXT = re.compile(r'^\s+"?([\w.]+)"?:\s*("(?:[^"\\]|\\.)*")', re.MULTILINE)
_SETTING = re.compile(r'^\s+(\w+): \[\s*("(?:[^"\\]|\\.)*"),', re.MULTILINE)


@cache
def _texts(file: str) -> dict[str, str]:
    return {key: json.loads(text) for key, text in _TEXT.findall(source(f"console/src/i18n/{file}.ts"))}


def say(language: str) -> Say:
    """A function from a key and its values to what the console shows. Of `one|many` it takes the part that suits `n`."""

    def spoken(key: str, **values: object) -> str:
        one, _, many = _texts(language)[key].partition("|")
        text = many if many and values.get("n") != 1 else one
        return re.sub(
            r"\{(\w+)\}",
            lambda found: f"{values[found[1]]:,}" if isinstance(values[found[1]], int) else str(values[found[1]]),
            text,
        )

    return spoken


def phrase(language: str, text: str) -> str:
    """A word of the hub or the engine, such as the name of a panel, as the console shows it."""
    return _texts("zh-catalogue").get(text, text) if language == "zh" else text


def title(language: str, name: str, job: str = "objects") -> str:
    """The label of a setting's field."""
    if language == "zh":
        found = dict(_SETTING.findall(source("console/src/i18n/zh-catalogue.ts")))
        return str(json.loads(found[name]))
    return next(one.title for one in entries(job) if one.name == name)
