"""Which of a repository's tags are wanted: globs, semantic version ranges, the latest few. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cmp_to_key

from dth.errors import SettingsError

_VERSION = re.compile(
    r"v?(0|[1-9]\d*)(?:\.(0|[1-9]\d*))?(?:\.(0|[1-9]\d*))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?"
)
_TERM = re.compile(r"(>=|<=|>|<|=|\^|~)?\s*v?(\d+|[xX*])(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:-([0-9A-Za-z.-]+))?")
_LONGEST = 128  # characters of a tag; Python refuses to read numbers of thousands of digits
_BOUND = "a bound looks like >=1.2, <3, ^1.4, ~2.0.1 or 1.x"

Version = tuple[int, int, int, tuple[str, ...]]
"""Major, minor, patch, and the parts of the pre-release, none for a release (Semantic Versioning 2.0.0)."""


def parse_version(tag: str) -> Version | None:
    """The version that a tag stands for, missing numbers as 0; None for any other tag."""
    match = _VERSION.fullmatch(tag) if len(tag) <= _LONGEST else None
    if match is None:
        return None
    return int(match[1]), int(match[2] or 0), int(match[3] or 0), tuple(match[4].split(".")) if match[4] else ()


def compare_versions(one: Version, other: Version) -> int:
    """Negative, 0 or positive, by the specification's precedence (11): a pre-release comes before its release."""
    if one[:3] != other[:3]:
        return -1 if one[:3] < other[:3] else 1
    if not one[3] or not other[3]:
        return bool(other[3]) - bool(one[3]) if one[3] != other[3] else 0
    for a, b in zip(one[3], other[3], strict=False):
        if a != b:
            return _compare_parts(a, b)
    return len(one[3]) - len(other[3])


def _compare_parts(a: str, b: str) -> int:
    if a.isdigit() and b.isdigit():
        return int(a) - int(b)
    if a.isdigit() != b.isdigit():
        return -1 if a.isdigit() else 1
    return -1 if a < b else 1


version_key = cmp_to_key(compare_versions)


@dataclass(frozen=True, slots=True)
class _Bound:
    sign: str  # >=, <=, >, <, =
    version: Version

    def holds(self, version: Version) -> bool:
        """Whether the version is on the right side."""
        order = compare_versions(version, self.version)
        return {">=": order >= 0, "<=": order <= 0, ">": order > 0, "<": order < 0, "=": order == 0}[self.sign]


@dataclass(frozen=True, slots=True)
class Range:
    """Alternatives (`||`) of bounds that must all hold (white space between)."""

    alternatives: tuple[tuple[_Bound, ...], ...]

    def holds(self, version: Version) -> bool:
        """Whether the version is within. A pre-release only where a bound of the same numbers names one, as npm has it."""
        return any(
            all(bound.holds(version) for bound in bounds)
            and (not version[3] or any(b.version[3] and b.version[:3] == version[:3] for b in bounds))
            for bounds in self.alternatives
        )


def parse_range(text: str) -> Range:
    """Raises SettingsError that says what a bound looks like."""
    alternatives = []
    for part in text.split("||"):
        terms = re.sub(r"([<>=^~])\s+", r"\1", part).split()
        if not terms:
            raise SettingsError(f"semver:{text!r} holds no bound: {_BOUND}")
        alternatives.append(tuple(bound for term in terms for bound in _bounds(term)))
    return Range(tuple(alternatives))


def _bounds(term: str) -> list[_Bound]:  # noqa: PLR0911 - a table of signs
    match = _TERM.fullmatch(term) if len(term) <= _LONGEST else None
    if match is None:
        raise SettingsError(f"{term[:_LONGEST]!r} is no bound of versions: {_BOUND}")
    sign, pre = match[1] or "", tuple(match[5].split(".")) if match[5] else ()
    numbers = [None if one is None or one in "xX*" else int(one) for one in match.group(2, 3, 4)]
    known = next((at for at, one in enumerate(numbers) if one is None), 3)  # how many numbers are given
    low: Version = (numbers[0] or 0, numbers[1] or 0 if known > 1 else 0, numbers[2] or 0 if known > 2 else 0, pre)  # noqa: PLR2004
    if not known:
        return [_Bound(">=", (0, 0, 0, ()))]
    if sign in {">=", "<"} or (sign in {">", "<="} and known == 3):  # noqa: PLR2004 - all numbers given
        return [_Bound(sign, low)]
    if sign == ">":
        return [_Bound(">=", _next(low, known - 1))]
    if sign == "<=":
        return [_Bound("<", _next(low, known - 1))]
    if sign == "^":
        first = next((at for at in range(known) if low[at]), known - 1)
        return [_Bound(">=", low), _Bound("<", _next(low, first))]
    if sign == "~":
        return [_Bound(">=", low), _Bound("<", _next(low, min(known - 1, 1)))]
    return [_Bound("=", low)] if known == 3 else [_Bound(">=", low), _Bound("<", _next(low, known - 1))]  # noqa: PLR2004


def _next(version: Version, at: int) -> Version:
    """The lowest version above all that share the numbers up to `at`; its pre-releases are not below it."""
    major, minor, patch, _ = version
    return ((major + 1, 0, 0, ()), (major, minor + 1, 0, ()), (major, minor, patch + 1, ()))[at]


@dataclass(frozen=True, slots=True)
class TagFilter:
    """Rules as written in the setting. A tag passes if it matches a glob or a range (where there are any) and no `!` glob;
    `latest:N` then keeps the N highest versions, and of tags that are none the N last by name."""

    globs: tuple[str, ...] = ()
    barred: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()
    latest: int = 0

    def choose(self, tags: Iterable[str]) -> list[str]:
        """The wanted ones, in the order given."""
        passed = [tag for tag in tags if self._passes(tag)]
        if not self.latest:
            return passed
        versions = [(parsed, tag) for tag in passed if (parsed := parse_version(tag)) is not None]
        newest = [tag for _, tag in sorted(versions, key=lambda one: version_key(one[0]))][-self.latest :]
        if not newest:
            newest = sorted(passed)[-self.latest :]
        kept = set(newest)
        return [tag for tag in passed if tag in kept]

    def _passes(self, tag: str) -> bool:
        if any(fnmatch.fnmatchcase(tag, glob) for glob in self.barred):
            return False
        if not self.globs and not self.ranges:
            return True
        version = parse_version(tag)
        in_range = version is not None and any(one.holds(version) for one in self.ranges)
        return in_range or any(fnmatch.fnmatchcase(tag, glob) for glob in self.globs)

    def __bool__(self) -> bool:
        return bool(self.globs or self.barred or self.ranges or self.latest)


def parse_filter(rules: Sequence[str]) -> TagFilter:
    """The filter that the rules mean. Raises SettingsError."""
    globs, barred, ranges, latest = [], [], [], 0
    for rule in rules:
        if rule.startswith("semver:"):
            ranges.append(parse_range(rule.removeprefix("semver:")))
        elif rule.startswith("latest:"):
            count = rule.removeprefix("latest:")
            if not count.isdigit() or not int(count):
                raise SettingsError(f"tag_filter: {rule!r} needs a number of at least 1: latest:5")
            latest = int(count)
        elif rule.startswith("!"):
            barred.append(rule[1:])
        else:
            globs.append(rule)
    return TagFilter(tuple(globs), tuple(barred), tuple(ranges), latest)
