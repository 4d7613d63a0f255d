"""WWW-Authenticate by its grammar: each challenge keeps its own parameters, in a time that grows with the header alone."""

from __future__ import annotations

import pytest

from dth.ecr.challenge import HEADER_LIMIT, Challenge, parse_challenge

TOKENS = Challenge(bearer=True, realm="https://t/x", service="reg")
BASIC = Challenge(bearer=False)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Bearer realm="https://t/x",service="reg", Basic realm="other",service="none"', TOKENS),
        ('Basic realm="other", Bearer service=reg, realm=https://t/x', TOKENS),
        ('BEARER Service="reg" , REALM = "https://t/x"', TOKENS),
        ('Digest qop="auth, Bearer realm=evil", nonce="n", Bearer realm="https://t/x",service="reg"', TOKENS),
        ('Negotiate YII=, Bearer realm="https://t/x", service="reg", realm="https://late/"', TOKENS),
        ('Bearer scope="a", Bearer realm="https://t/x",service="reg"', TOKENS),
        (', ,Bearer realm="https://t/x" service="reg"', TOKENS),
        ('Bearer realm="https://t/x",service="r\\eg"', TOKENS),
        ('Bearer error="no Basic here"', None),
        ('Digest realm="Basic"', None),
        ("basic", BASIC),
        ('Bearer realm="", Basic realm="x"', BASIC),
        ('Bearer realm="https://t/x', None),
        ('realm="https://t/x", Basic', BASIC),
        ("\x00Bearer realm=x", None),
    ],
)
def test_each_challenge_has_its_own_parameters(header: str, expected: Challenge | None) -> None:
    assert parse_challenge(header) == expected


def test_what_follows_four_thousand_characters_is_not_read() -> None:
    padding = "Digest x=" + "y" * HEADER_LIMIT
    assert parse_challenge(f"{padding}, Basic") is None
    assert parse_challenge(f"{'a' * 60_000}=") is None
