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
    return Kept(source, clock=lambda: now[0])


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


def test_a_secrets_name_is_an_error_and_no_silent_fall_back() -> None:
    with pytest.raises(SettingsError, match="'my-secret'"):
        credentials_for(replace(LOCATION, credentials="my-secret"))


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
