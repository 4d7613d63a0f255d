"""When a worker gives up: after refusals that are about everything, never for one key's sake."""

from __future__ import annotations

import pytest

from dth.errors import AccessDenied, BadCredentials, ConnectFailed, ServerFault, TlsFailed
from dth.flow.breaker import IN_A_ROW, OUTAGE_SECONDS, Breaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _fail(breaker: Breaker, error: Exception, times: int) -> None:
    for _ in range(times):
        breaker.failed(error)


@pytest.mark.parametrize("error", [AccessDenied("x"), BadCredentials("x"), ConnectFailed("x"), TlsFailed("x")])
def test_it_trips_after_so_many_in_a_row_where_nothing_ever_worked(error: Exception) -> None:
    breaker = Breaker()
    _fail(breaker, error, IN_A_ROW - 1)
    with pytest.raises(type(error)):
        breaker.failed(error)


def test_denials_after_a_success_are_about_single_keys() -> None:
    breaker = Breaker()
    breaker.succeeded()
    _fail(breaker, AccessDenied("x"), 100)


def test_a_success_in_between_starts_the_count_again() -> None:
    breaker = Breaker()
    for _ in range(5):
        _fail(breaker, BadCredentials("x"), IN_A_ROW - 1)
        breaker.succeeded()


def test_credentials_that_stop_working_trip_it_although_they_worked_before() -> None:
    breaker = Breaker()
    breaker.succeeded()
    _fail(breaker, BadCredentials("x"), IN_A_ROW - 1)
    with pytest.raises(BadCredentials):
        breaker.failed(BadCredentials("x"))


def test_an_endpoint_that_worked_before_may_be_away_for_a_while() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    breaker.succeeded()
    clock.now += OUTAGE_SECONDS - 1
    _fail(breaker, ConnectFailed("x"), 100)
    clock.now += 2
    with pytest.raises(ConnectFailed):
        breaker.failed(ConnectFailed("x"))


def test_errors_of_single_objects_never_trip_it() -> None:
    _fail(Breaker(), ServerFault("x"), 1000)
