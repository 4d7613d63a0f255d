"""The pure decisions about entries: verdicts, rows, remainders, dead letters."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dth import errors
from dth.errors import AccessDenied, ConnectFailed, DthError, ServerFault
from dth.messages import ObjectEntry, ObjectsMessage, decode, encode
from dth.model import Counts
from dth.states import Outcome
from dth.transfer.result import Copied
from dth.worker import outcomes
from dth.worker.outcomes import Ended, Verdict

TREE = sorted(
    (kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, DthError)),
    key=lambda kind: kind.__name__,
)


def message(count: int, attempt: int = 1, message_id: str = "run-7") -> ObjectsMessage:
    return ObjectsMessage(
        job_id="job",
        run_id="run",
        message_id=message_id,
        attempt=attempt,
        objects=[ObjectEntry(key=f"k{n}", size=n, etag="e", attempt=n % 3) for n in range(count)],
    )


def ended_done(size: int = 5) -> Ended:
    return Ended(Outcome.DONE, 1, Copied(Outcome.DONE, size, "e", "f", None))


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_every_error_that_may_be_sent_again_is_never_final_at_once(kind: type[DthError]) -> None:
    error = kind.__new__(kind)
    verdict = outcomes.judge(error)
    if error.retryable:
        assert verdict in {Verdict.RETRY, Verdict.WAIT}
    if verdict is Verdict.FAIL:
        assert not error.retryable


def test_a_defect_counts_as_a_failed_attempt() -> None:
    assert outcomes.after_error(KeyError("x"), 1, 5, patient=False) == Ended(
        None, 2, None, "internal", "internal error: KeyError('x')"
    )


@given(attempt=st.integers(1, 20), limit=st.integers(1, 20))
def test_the_last_attempt_that_fails_is_final_and_no_earlier_one(attempt: int, limit: int) -> None:
    end = outcomes.after_error(ServerFault("x"), attempt, limit, patient=False)
    assert (end.outcome is Outcome.FAILED) == (attempt >= limit)
    assert end.attempt == (attempt if attempt >= limit else attempt + 1)


def test_a_denial_is_final_only_once_something_has_succeeded() -> None:
    assert outcomes.after_error(AccessDenied("x"), 1, 5, patient=True).outcome is None
    assert outcomes.after_error(AccessDenied("x"), 1, 5, patient=False).outcome is Outcome.FAILED


def test_an_unreachable_endpoint_uses_up_no_attempt_even_the_last() -> None:
    end = outcomes.after_error(ConnectFailed("x"), 5, 5, patient=False)
    assert (end.outcome, end.attempt) == (None, 5)


def test_ids_of_remainders_count_generations() -> None:
    assert outcomes.next_id("run-12") == "run-12/1"
    assert outcomes.next_id("run-12/1") == "run-12/2"
    assert outcomes.next_id("run-12/9") == "run-12/10"
    assert not outcomes.is_remainder("run-12")
    assert not outcomes.is_remainder("run-12/dead-3")


ENDS = st.one_of(
    st.none(),
    st.just(ended_done()),
    st.just(Ended(Outcome.SKIPPED, 1)),
    st.just(Ended(Outcome.SPLIT, 1)),
    st.builds(Ended, st.just(Outcome.FAILED), st.integers(1, 5)),
    st.builds(Ended, st.none(), st.integers(1, 9)),
)


@given(ends=st.lists(ENDS, min_size=1, max_size=40), attempt=st.integers(1, 5))
def test_every_entry_is_either_counted_split_or_in_the_remainder(ends: list[Ended | None], attempt: int) -> None:
    sent = message(len(ends), attempt)
    row = outcomes.row_of(sent, ends)
    left = [(entry, end) for entry, end in zip(sent.objects, ends, strict=True) if not (end and end.outcome)]
    split = sum(bool(end and end.outcome is Outcome.SPLIT) for end in ends)
    assert row.counts.ended + len(left) + split == len(ends)
    assert bool(row.remainder) == bool(left)
    if left:
        rest = decode(row.remainder)
        assert isinstance(rest, ObjectsMessage)
        assert rest.message_id == "run-7/1"
        assert [entry.key for entry in rest.objects] == [entry.key for entry, _ in left]
        for entry, (was, end) in zip(rest.objects, left, strict=True):
            wanted = end.attempt if end else outcomes.attempt_of(was, sent)
            assert outcomes.attempt_of(entry, rest) == wanted


@given(ends=st.lists(ENDS, min_size=1, max_size=200))
def test_the_bitmap_names_exactly_the_failed(ends: list[Ended | None]) -> None:
    bitmap = outcomes.bitmap_of([end.outcome if end else None for end in ends])
    failed = [index for index, end in enumerate(ends) if end and end.outcome is Outcome.FAILED]
    assert outcomes.failed_in(bitmap, len(ends)) == failed
    assert len(bitmap) <= len(ends) // 2 + 1


def test_a_remainder_is_hardly_larger_than_its_message() -> None:
    sent = message(500)
    rest = outcomes.remainder_of(sent, [Ended(None, 4) for _ in sent.objects])
    assert len(rest) <= len(encode(sent))


def test_counts_take_the_bytes_of_what_was_done() -> None:
    ends = [ended_done(5), ended_done(7), Ended(Outcome.SKIPPED, 1), Ended(Outcome.FAILED, 5), None]
    assert outcomes.counts_of(ends) == Counts(done=2, skipped=1, failed=1, bytes=12)


def test_a_dead_letter_holds_its_entry_its_reason_and_an_id_that_repeats() -> None:
    sent = message(3)
    bitmap = outcomes.bitmap_of([Outcome.DONE, Outcome.FAILED, Outcome.FAILED])
    once = outcomes.letters_of(sent, bitmap, {1: "why"})
    assert once[0][1] == "why"
    assert "report" in once[1][1]
    assert [body for body, _ in once] == [body for body, _ in outcomes.letters_of(sent, bitmap, {})]
    letter = decode(once[1][0])
    assert isinstance(letter, ObjectsMessage)
    assert (letter.message_id, letter.attempt) == ("run-7/dead-2", 1)
    assert [(entry.key, entry.attempt) for entry in letter.objects] == [("k2", 0)]


def test_giving_back_is_enough_only_where_nothing_ended_and_no_attempt_was_used_up() -> None:
    sent = message(2, attempt=2)
    assert outcomes.nothing_happened(sent, [None, None])
    assert outcomes.nothing_happened(sent, [Ended(None, 2), None])
    assert not outcomes.nothing_happened(sent, [Ended(None, 3), None])
    assert not outcomes.nothing_happened(sent, [None, ended_done()])
