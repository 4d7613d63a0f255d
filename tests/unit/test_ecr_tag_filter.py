"""Which tags pass: globs, version ranges, the latest few."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dth.ecr.tag_filter import compare_versions, parse_filter, parse_range, parse_version, version_key
from dth.errors import SettingsError

TAGS = ["1.0.0", "1.2.3", "v1.10.0", "2.0.0-rc.1", "2.0.0", "latest", "nightly-1", "3"]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], TAGS),
        (["1.*"], ["1.0.0", "1.2.3"]),
        (["!*-rc*", "!nightly-*"], ["1.0.0", "1.2.3", "v1.10.0", "2.0.0", "latest", "3"]),
        (["semver:>=1.2 <2"], ["1.2.3", "v1.10.0"]),
        (["semver:^1.2"], ["1.2.3", "v1.10.0"]),
        (["semver:>=2.0.0-rc.0 <3"], ["2.0.0-rc.1", "2.0.0"]),
        (["semver:<1.2 || >2"], ["1.0.0", "3"]),
        (["latest:2"], ["2.0.0", "3"]),
        (["semver:1.x", "latest:1"], ["v1.10.0"]),
        (["latest", "semver:3"], ["latest", "3"]),
        (["nightly-*", "latest:1"], ["nightly-1"]),
    ],
)
def test_rules_choose(rules: list[str], expected: list[str]) -> None:
    assert parse_filter(rules).choose(TAGS) == expected


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("^1.2.3", ["1.2.3", "1.9.9"], ["1.2.2", "2.0.0"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0", "1.0.0"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4"]),
        ("~1.2.3", ["1.2.3", "1.2.9"], ["1.3.0"]),
        ("~1.2", ["1.2.0", "1.2.9"], ["1.3.0"]),
        ("~1", ["1.0.0", "1.9.0"], ["2.0.0"]),
        ("1.2", ["1.2.0", "1.2.7"], ["1.3.0", "1.1.9"]),
        ("1.2.x", ["1.2.0", "1.2.7"], ["1.3.0"]),
        ("<=1.2", ["1.2.9", "0.1.0"], ["1.3.0"]),
        (">1.2", ["1.3.0", "2.0.0"], ["1.2.9"]),
        (">1.2.3", ["1.2.4"], ["1.2.3"]),
        ("*", ["0.0.1", "9.0.0"], ["1.0.0-rc.1"]),
        (">= 1.0 < 2.0", ["1.5.0"], ["2.0.0"]),
    ],
)
def test_a_range_holds_what_npm_says_that_it_holds(text: str, inside: list[str], outside: list[str]) -> None:
    known = parse_range(text)
    for tag in inside + outside:
        version = parse_version(tag)
        assert version is not None
        assert known.holds(version) is (tag in inside), tag


def test_versions_are_ordered_as_the_specification_shows() -> None:
    ordered = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"]
    ordered += ["1.0.0-rc.1", "1.0.0", "1.0.1", "1.1.0", "2.0.0"]
    versions = [parse_version(tag) for tag in ordered]
    shuffled = versions[5:] + versions[:5]
    assert sorted(shuffled, key=lambda one: version_key(one or (0, 0, 0, ()))) == versions


@given(st.tuples(*[st.integers(0, 3)] * 3), st.tuples(*[st.integers(0, 3)] * 3))
def test_comparing_releases_is_comparing_numbers(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    sign = compare_versions((*one, ()), (*other, ()))
    assert (sign > 0) - (sign < 0) == (one > other) - (one < other)


@pytest.mark.parametrize("rule", ["semver:", "semver:>=x.y", "semver:1.2.3.4", "latest:", "latest:0", "latest:many"])
def test_a_rule_that_means_nothing_is_refused(rule: str) -> None:
    with pytest.raises(SettingsError):
        parse_filter([rule])
