"""Credentials are read once, refreshed ahead of their end, and never shown."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dth.errors import BadCredentials, SettingsError
from dth.stores.credentials import Anonymous, Kept, ambient, credentials_for, from_environment
from dth.stores.secrets import parse_secret, read_secret
from dth.stores.sign import Credentials
from tests.unit.store_fakes import LOCATION


class Source:
    def __init__(self, *answers: Credentials | Exception | None) -> None:
        self.answers = list(answers)
        self.reads = 0

    def __call__(self) -> Credentials | None:
        self.reads += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def kept(source: Callable[[], Credentials | None], now: list[float]) -> Kept:
    return Kept(source, clock=lambda: now[0], jitter=lambda: 0.0)


A, B = Credentials("A", "s", "t", expires_at=3600.0), Credentials("B", "s", "t", expires_at=7200.0)


async def test_credentials_are_read_once_while_they_are_fresh() -> None:
    source = Source(Credentials("A", "s"))
    provider = kept(source, [0.0])
    assert await provider.get() == await provider.get() == Credentials("A", "s")
    assert source.reads == 1


async def test_they_are_refreshed_ahead_of_their_end() -> None:
    now, source = [0.0], Source(A, B)
    provider = kept(source, now)
    assert await provider.get() == A
    now[0] = 3600 - 601
    assert await provider.get() == A
    now[0] = 3600 - 599
    assert await provider.get() == B


async def test_a_refresh_that_fails_ahead_of_time_leaves_the_old_ones_until_their_end() -> None:
    now, source = [0.0], Source(A, BadCredentials("no"), BadCredentials("no"), BadCredentials("no"))
    provider = kept(source, now)
    assert await provider.get() == A
    now[0] = 3100
    assert await provider.get() == await provider.get() == A
    assert source.reads == 2
    now[0] = 3601
    with pytest.raises(BadCredentials):
        await provider.get()


async def test_refused_credentials_are_read_again_but_not_in_a_storm() -> None:
    now, source = [1000.0], Source(A, A, B)
    provider = kept(source, now)
    assert await provider.get() == A
    now[0] += 60
    assert await provider.renew(A) == A
    assert await provider.renew(A) == A
    assert source.reads == 2
    now[0] += 60
    assert await provider.renew(A) == B
    now[0] += 60
    assert await provider.renew(A) == B  # a late refusal of the old ones: the new ones are at hand
    assert source.reads == 3


async def test_none_at_all_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(BadCredentials, match="AWS_ACCESS_KEY_ID"):
        await Kept(lambda: None).get()


async def test_credentials_that_live_for_seconds_are_read_once_a_life_and_before_its_end() -> None:
    now, reads = [1000.0], []

    def source() -> Credentials:
        reads.append(now[0])
        return Credentials("A", "s", f"t{len(reads)}", expires_at=now[0] + 20)

    provider = Kept(source, clock=lambda: now[0], jitter=lambda: 1.0)
    for _ in range(600):  # a minute
        found = await provider.get()
        assert found
        assert found.expires_at
        assert found.expires_at - now[0] > 4
        now[0] += 0.1
    assert len(reads) == 5  # each after 14 seconds: a quarter of the life ahead, and the jitter


async def test_a_source_that_has_no_newer_ones_yet_is_not_asked_all_the_time_and_refusals_do_not_wait() -> None:
    now, source = [0.0], Source(A, A, A, B)
    provider = kept(source, now)
    await provider.get()
    for seconds in range(3001, 3046):
        now[0] = seconds
        assert await provider.get() == A
    assert source.reads == 3
    now[0] += 0.1
    assert await provider.renew(A) == B


async def test_a_malformed_secret_ahead_of_the_end_leaves_the_old_keys_in_use() -> None:
    now, texts = [0.0], ['{"access_key_id": "A", "secret_access_key": "s", "expiration": "1970-01-01T01:00:00Z"}', "{"]
    provider = kept(lambda: parse_secret(texts[min(1, int(now[0] > 0))], "mine"), now)
    first = await provider.get()
    now[0] = 3500
    assert await provider.get() == first
    now[0] = 3601
    with pytest.raises(BadCredentials, match="no JSON text"):
        await provider.get()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "is no JSON text"),
        ("", "is no JSON text"),
        ("AKIAVERYSECRET:topsecret", "is no JSON text"),
        ('["AKIAVERYSECRET", "topsecret"]', "is no JSON object"),
        ('"topsecret"', "is no JSON object"),
        ('{"accessKeyId": "AKIAVERYSECRET", "secretAccessKey": "topsecret"}', "has no access_key_id"),
        ('{"access_key_id": "AKIAVERYSECRET"}', "has no secret_access_key"),
        ('{"access_key_id": "AKIAVERYSECRET", "secret_access_key": ""}', "is no key"),
        ('{"access_key_id": 5, "secret_access_key": "topsecret"}', "is no key"),
        ('{"access_key_id": "AKIAVERYSECRET\\n", "secret_access_key": "topsecret"}', "is no key"),
        ('{"access_key_id": "AKIAVERYSECRET", "secret_access_key": "topsecret", "session_token": 3}', "is no token"),
        ('{"access_key_id": "A", "secret_access_key": "topsecret", "expiration": "soon"}', "2026-01-31T12:00:00Z"),
        ('{"access_key_id": "A", "secret_access_key": "topsecret", "expiration": 12}', "2026-01-31T12:00:00Z"),
        ('{"access_key_id": "A", "secret_access_key": "topsecret", "expiration": "2026-01-31T12:00:00"}', "zone"),
    ],
)
def test_a_malformed_secret_is_told_with_the_form_it_must_have_and_never_its_value(text: str | None, said: str) -> None:
    with pytest.raises(BadCredentials) as refused:
        parse_secret(text, "mine")
    message = str(refused.value)
    assert said in message
    assert '{"access_key_id": "...", "secret_access_key": "..."}' in message
    assert "'mine'" in message
    for value in ("AKIAVERYSECRET", "topsecret", "soon"):
        assert value not in message


def test_a_secret_is_understood_with_and_without_an_end() -> None:
    plain = '{"access_key_id": "A", "secret_access_key": "s/+="}'
    assert parse_secret(plain, "mine") == Credentials("A", "s/+=")
    whole = (
        '{"access_key_id": "A", "secret_access_key": "s", "session_token": "t", "expiration": "1970-01-01T01:00:00Z"}'
    )
    assert parse_secret(whole, "mine") == Credentials("A", "s", "t", 3600.0)


def test_a_secret_needs_a_region(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="AWS_REGION"):
        read_secret("my-secret")


async def test_anonymous_has_none_and_nothing_to_renew() -> None:
    provider = credentials_for(replace(LOCATION, credentials="anonymous"))
    assert isinstance(provider, Anonymous)
    assert await provider.get() is None
    assert await provider.renew(None) is None


def test_the_environment_needs_both_keys() -> None:
    assert from_environment({"AWS_ACCESS_KEY_ID": "a"}) is None
    both = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}
    assert from_environment(both) == Credentials("a", "s", None)
    assert from_environment(both | {"AWS_SESSION_TOKEN": "t"}) == Credentials("a", "s", "t")


def test_a_profile_is_read_by_botocore_and_wins_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "credentials"
    file.write_text("[other]\naws_access_key_id = P\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "E")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    assert ambient("other")() == Credentials("P", "s", None)
    assert ambient("")() == Credentials("E", "s", None)
    with pytest.raises(SettingsError, match="'missing'"):
        ambient("missing")()


def test_the_environment_is_read_without_importing_botocore() -> None:
    code = """
        import os, sys
        os.environ.update(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="s")
        import dth.stores.s3
        from dth.stores.credentials import ambient
        assert ambient("")().access_key == "a"
        assert "botocore" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)
