"""How values look to people. Pure."""

from __future__ import annotations

from dth.text import printable

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_THOUSAND = 1024.0
_KILO = 1000.0
_SHORT = 10


shown_key = printable


def shown_bytes(count: float) -> str:
    """`1.5 GiB`, three digits at most."""
    unit = "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if abs(count) < _THOUSAND or unit == "PiB":
            break
        count /= _THOUSAND
    if unit == "B":
        return f"{count:.0f} B"
    return f"{count:.1f} {unit}" if count < _SHORT else f"{count:.0f} {unit}"


def short_bytes(count: float) -> str:
    """`1.5GiB`, for narrow lines."""
    return shown_bytes(count).replace(" ", "")


def short_count(count: float) -> str:
    """`999`, `12k`, `1.2M`: four characters at most, up to 999 trillion."""
    unit = ""
    for unit in ("", "k", "M", "G", "T"):
        if count < _KILO - 0.5 or unit == "T":
            break
        count /= _KILO
    return f"{count:.1f}{unit}" if unit and count < _SHORT - 0.05 else f"{count:.0f}{unit}"


def shown_seconds(seconds: float) -> str:
    """`0.42 s`, `12 s`, `3 min 05 s`, `2 h 10 min`, `3 d 04 h`."""
    if seconds < _SHORT:
        return f"{seconds:.2f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR:02d} h"


def counted(count: int, one: str, many: str = "") -> str:
    """`1 object`, `1,234 objects`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
